"""What a page of a run and a result of the benchmarks say of what computed them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.metadata import version

import provenance
import pytest

from benchmarks import __main__ as driver


@pytest.mark.parametrize("package", ["numpy", "scipy", "pandas", "formulaic", "numba", "llvmlite"])
@pytest.mark.parametrize("facts", [provenance.versions, driver.software])
def test_what_computes_is_named_with_its_version(facts, package):
    assert facts()[package] == version(package)


def test_pages_and_benchmarks_name_the_same_processor():
    assert provenance.versions()["processor"] == driver.machine()["cpu"] == provenance.processor()
    assert provenance.processor().strip()


def test_linux_names_the_processor_in_its_makers_words(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(provenance, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast 9: one\nmodel name\t: B\n"
    )
    assert provenance.processor() == "Fast 9: one"


@pytest.mark.parametrize("text", [None, "", "Features : asimd\n", "model name\t:\n"])
def test_where_the_system_knows_no_more_it_is_the_architecture(monkeypatch, tmp_path, text):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(provenance, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert provenance.processor() == "aarch64"


def test_macos_is_asked_by_its_command(monkeypatch):
    def told(command, **options):
        assert command == ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.CompletedProcess(command, 0, "Apple M1\n", "")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", told)
    assert provenance.processor() == "Apple M1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1a2b3c4 of 2026-05-01\n", "1a2b3c4 of 2026-05-01"),
        ("$" + "Format:%h of %cs$\n", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_archive_knows_its_commit(monkeypatch, tmp_path, text, told):
    """Also within the checkout of something else, whose commit it does not take for its own."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "unpacked")
    monkeypatch.setattr(provenance, "ARCHIVED", tmp_path / "unpacked" / "archived_commit.txt")
    provenance.ARCHIVED.parent.mkdir()
    if text is not None:
        provenance.ARCHIVED.write_text(text)
    assert provenance.commit() == told


def test_git_writes_the_commit_into_an_archive(tmp_path):
    """As it does where somebody loads a zip down."""
    root = provenance.ROOT
    if not (root / ".git").exists():
        pytest.skip("this is not a git checkout")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    name = provenance.ARCHIVED.relative_to(root)
    for file in (name, ".gitattributes"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((root / file).read_bytes())
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    archive = subprocess.run([*git, "archive", "HEAD"], check=True, capture_output=True).stdout
    assert re.search(rb"\n?[0-9a-f]{7,} of \d{4}-\d\d-\d\d\n", archive)
    assert b"Format" not in archive.replace(b".gitattributes", b"")
