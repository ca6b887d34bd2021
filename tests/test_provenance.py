"""What a page of a run and a result of the benchmarks say of what computed them."""

from __future__ import annotations

import platform
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
