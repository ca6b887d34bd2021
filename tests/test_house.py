"""What holds the files of the repository together: packages, lock, licence, commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import laplace

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def declared() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    return [r for r in requirements if r.name != PROJECT["name"]]


def locked() -> dict[str, list[str]]:
    """Give the versions that the lock holds of each package; some differ between Pythons."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", LOCK, flags=re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def tracked() -> list[Path]:
    """List the files that git knows or would take up."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout, so there are no tracked files to look at")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


# --- packages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_the_lock_satisfies_what_is_declared(requirement):
    versions = locked().get(canonicalize_name(requirement.name))
    assert versions, "run `make lock`"
    for version in versions:
        assert requirement.specifier.contains(version, prereleases=True)


def test_the_lock_has_hashes_and_nothing_else():
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == sum(map(len, locked().values()))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert not re.search(r"^(?:-|git\+|https?:)", LOCK, flags=re.MULTILINE)


def test_every_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = [") : text.index("\n[tool.")]
    lines = re.findall(r'^  "(.*)$', block, flags=re.MULTILINE)
    assert len(lines) >= len(declared())
    for line in lines:
        assert re.search(r"# .{4,}", line) or line.startswith(PROJECT["name"]), line


def test_conda_takes_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    version = re.fullmatch(r"python=(3\.\d+)", python)
    assert version
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version[1]}.0")
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.lock"]}


# --- words --------------------------------------------------------------------------------------

# Written in pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "ana" + "conda.org",
    "npm" + "js.",
    "--index" + "-url",
    "--extra-index" + "-url",
    "--find" + "-links",
    "/sim" + "ple/",
]
PLACES = ["/wo" + "rk/", "../sha" + "red"]


def test_no_file_names_a_registry_or_a_place_outside():
    found = [
        (path.name, word)
        for path in tracked()
        for word in [*REGISTRIES, *PLACES]
        if word in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert found == []


# The results of the Monte Carlo study: half an hour of two cores, on which a chapter rests.
LARGE = {"notebooks/data/monte_carlo.parquet": 20_000_000}


def test_no_file_is_large():
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked()}
    assert [name for name, size in sizes.items() if size > LARGE.get(name, 2_000_000)] == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "type", "abstract", "keywords"} <= citation.keys()
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    assert citation["version"] == PROJECT["version"] == laplace.__version__


def test_code_and_text_have_their_licences():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")
    assert "CC BY 4.0" in (ROOT / "LICENSE-text").read_text(encoding="utf-8")


# --- commands -----------------------------------------------------------------------------------


def test_make_alone_lists_every_target():
    if shutil.which("make") is None:
        pytest.skip("make is not on the PATH")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split())
    command = ["make", "--no-print-directory"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^make (\w+) +\S", said, flags=re.MULTILINE)) == targets - {"FORCE"}
    assert len(said.splitlines()) == len(targets) - 1


def test_ci_runs_what_the_reader_runs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    for command in ("make test", "make lint", "make book"):
        assert f"\n{command}\n" in script.read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    for version in job["strategy"]["matrix"]["python"]:
        assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")
