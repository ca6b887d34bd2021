"""What holds the files of the repository together: packages, lock, licence, commands."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import laplace
from book import address

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Five locks: whoever reads, runs and tests needs neither the peers of the benchmarks, which some
# platforms do not have, nor other packages for mixed models, nor what carries letters between
# sites, nor an editor.
LOCKS = {
    "requirements.lock": {*EXTRAS} - {"benchmarks", "flower", "lab", "mixed_models"},
    "benchmarks/requirements.lock": {"benchmarks"},
    "benchmarks/mixed_models.lock": {"mixed_models"},
    "flower/requirements.lock": {"flower", "build"},
    "lab.lock": {"lab"},
}


def declared(extras: set[str]) -> list[Requirement]:
    groups = [PROJECT["dependencies"], *(EXTRAS[name] for name in sorted(extras))]
    requirements = [Requirement(text) for group in groups for text in group]
    return [r for r in requirements if r.name != PROJECT["name"]]


def lock(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def locked(lock_name: str) -> dict[str, list[str]]:
    """Give the versions that a lock holds of each package; some differ between Pythons."""
    found: dict[str, list[str]] = {}
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock(lock_name), flags=re.MULTILINE)
    for name, version in pins:
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


@pytest.mark.parametrize(
    ("name", "requirement"),
    [(name, requirement) for name, extras in LOCKS.items() for requirement in declared(extras)],
    ids=str,
)
def test_the_lock_satisfies_what_is_declared(name, requirement):
    versions = locked(name).get(canonicalize_name(requirement.name))
    assert versions, "run `make lock`"
    for version in versions:
        assert requirement.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_has_hashes_and_nothing_else(name):
    entries = re.split(r"^(?=[A-Za-z0-9])", lock(name), flags=re.MULTILINE)[1:]
    assert len(entries) == sum(map(len, locked(name).values()))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert not re.search(r"^(?:-|git\+|https?:)", lock(name), flags=re.MULTILINE)


def test_readers_do_not_need_the_peers_and_the_locks_agree():
    readers, *others = (locked(name) for name in LOCKS)
    for extra in ("benchmarks", "flower", "lab", "mixed_models"):
        assert not {Requirement(text).name for text in EXTRAS[extra]} & readers.keys()
    for other in others[:2]:  # that of Flower is for an environment of its own
        for name in readers.keys() & other.keys():
            assert set(other[name]) <= set(readers[name]), name


def test_an_extra_enters_a_lock_only_by_name():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--all-extras" not in makefile
    named = re.search(r"\$\(foreach extra,([a-z ]+),", makefile)[1].split()
    assert named == ["notebooks", "book", "test", "lint", "build"]
    # plots and study come with the notebooks, and dask with the tests
    assert {*named, "plots", "study", "dask"} == LOCKS["requirements.lock"]


def test_every_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = [") : text.index("\n[tool.")]
    lines = re.findall(r'^  "(.*)$', block, flags=re.MULTILINE)
    assert len(lines) >= len(declared(set(EXTRAS)))
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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the wheel and the sdist, and list what is in them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_is_the_package_and_nothing_else(built):
    wheel, _ = built
    assert wheel.stat().st_size < 400_000  # code alone: a single data set or figure is as large
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"laplace", metadata.split("/")[0]}
    assert "laplace/py.typed" in names
    of_package = {Path(name).suffix for name in names if name.startswith("laplace/")}
    assert of_package == {".py", ".typed"}  # no data
    assert "License-Expression: BSD-3-Clause\n" in text
    assert re.findall(r"^License-File: (.*)$", text, flags=re.MULTILINE) == ["LICENSE"]
    assert "Classifier: License" not in text
    assert "GPL" not in text.split("\n\n")[0]


def test_the_sdist_leaves_the_data_out(built):
    _, sdist = built
    with tarfile.open(sdist) as archive:
        inside = [name.split("/", 1)[-1] for name in archive.getnames()]
    assert "laplace/fit.py" in inside
    assert "notebooks/compendium/datasets.py" in inside
    assert not [name for name in inside if name.startswith("notebooks/data")]


def test_every_data_set_has_its_source_and_licence_beside_it():
    tables = sorted((ROOT / "notebooks/data").glob("*.csv"))
    assert len(tables) >= 3
    for table in tables:
        note = table.with_suffix(".md").read_text(encoding="utf-8")
        assert re.search(r"GPL", note), table.name
        assert re.search(r"HSAUR3|lme4|mlmRev", note), table.name


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
    assert citation["version"] == PROJECT["version"] == laplace.__version__ == address.release()[0]
    assert str(citation["date-released"]) == address.release()[1]
    assert citation["repository-code"] == address.repository() == PROJECT["urls"]["Repository"]


def test_the_address_of_the_repository_is_written_from_one_place(monkeypatch):
    for path, text in address.texts().items():
        assert path.read_text(encoding="utf-8") == text, "run `make address`"
    written = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if address.repository() in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert sorted(written) == ["CITATION.cff", "README.md", "pyproject.toml"]
    monkeypatch.setattr(address, "repository", lambda: "https://github.com/somebody/fork")
    for path, text in address.texts().items():
        assert "https://github.com/somebody/fork" in text
        assert PROJECT["urls"]["Repository"] not in text, path.name


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


def test_an_environment_that_was_copied_or_moved_is_made_again(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not on the PATH")
    first = tmp_path / "first place"
    first.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, first)
    # a Python that writes down how it is called, and makes an environment of itself
    log = tmp_path / "log"
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> "{log}"\n'
        f'[ "$2" = venv ] && mkdir -p .venv/bin && cp "{fake}" .venv/bin/python\n'
        "exit 0\n"
    )
    fake.chmod(0o755)

    def made(folder):
        log.write_text("")
        command = ["make", "setup", f"PYTHON={fake}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        calls = log.read_text()
        assert ("-m venv --clear .venv" in calls) == ("-m pip install" in calls)
        return "-m venv --clear .venv" in calls

    assert made(first)
    assert not made(first)
    shutil.copytree(first, tmp_path / "copy")  # with the times of its files
    assert made(tmp_path / "copy")
    assert not made(tmp_path / "copy")
    first.rename(tmp_path / "moved")
    assert made(tmp_path / "moved")
    assert not made(tmp_path / "moved")


def test_binder_and_the_container_install_the_package():
    binder = ROOT / ".binder"
    (line,) = [
        line
        for line in (binder / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert (binder / line.removeprefix("-r ")).resolve() == ROOT / "requirements.lock"
    python = (binder / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    script = binder / "postBuild"
    assert os.access(script, os.X_OK)
    assert re.search(r"pip install .*--no-deps.* --editable \.$", script.read_text(), re.MULTILINE)
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"] == "make setup"
    assert f":{python}-" in container["image"]


WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github/workflows").glob("*.yml")
}


def test_workflows_call_what_there_is_by_pinned_actions():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split())
    assert WORKFLOWS.keys() == {"ci", "pages"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        for step in (step for job in workflow["jobs"].values() for step in job["steps"]):
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
            else:
                command = step["run"].split()
                if command[0] == "make":
                    assert set(command[1:]) <= targets
                else:
                    assert command[0] in (".ci/run", ".venv/bin/python")


def test_the_book_is_published_from_main_alone():
    pages = WORKFLOWS["pages"]
    assert pages[True]["push"] == {"branches": ["main"]}  # YAML reads the key `on` as true
    build, publish = pages["jobs"]["build"], pages["jobs"]["publish"]
    runs = [step["run"] for step in build["steps"] if "run" in step]
    assert runs[-2:] == ["make site", "make links"]
    assert "permissions" not in build
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert "github.ref == 'refs/heads/main'" in publish["if"]
    kept = {s["uses"].split("@")[0]: s for s in build["steps"] if "upload" in s.get("uses", "")}
    preview, site = (kept[f"actions/upload-{name}artifact"] for name in ("", "pages-"))
    assert preview["if"] == "github.event_name == 'pull_request'"
    assert "github.ref == 'refs/heads/main'" in site["if"]
    assert preview["with"]["path"] == site["with"]["path"] == "book/_build/html"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\n\t@touch $(HTML)/.nojekyll\n" in makefile
    assert not [path for path in tracked() if path.name == "CNAME"]


WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def test_ci_runs_what_the_reader_runs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    for command in ("make test", "make lint", "make book"):
        assert f"\n{command}\n" in script.read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make test +# runs all tests", readme, flags=re.MULTILINE)
    runs = {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for name, job in WORKFLOW["jobs"].items()
    }
    # more jobs than one: the lower bounds and the peers need environments of their own
    assert runs == {"all": [".ci/run"], "bounds": ["make bounds"], "peers": ["make peers"]}


def test_ci_runs_on_every_platform_and_python():
    matrix = WORKFLOW["jobs"]["all"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    for version in matrix["python"]:
        assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0")
    systems = [*matrix["os"], *(entry["os"] for entry in matrix["include"])]
    assert [re.sub(r"-[\d.]+", "", name) for name in systems] == ["ubuntu", "ubuntu-arm", "macos"]
    assert WORKFLOW["jobs"]["all"]["strategy"]["fail-fast"] is False


def test_ci_trusts_nobody_more_than_it_has_to():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in WORKFLOW[True]  # YAML reads the key `on` as true
    assert {"push", "pull_request", "schedule"} <= WORKFLOW[True].keys()
    for job in WORKFLOW["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 45
        actions = [step for step in job["steps"] if "uses" in step]
        for step in actions:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        checkout, python, *_ = actions
        assert checkout["uses"].startswith("actions/checkout@")
        assert checkout["with"] == {"persist-credentials": False}
        assert python["uses"].startswith("actions/setup-python@")
        assert python["with"]["cache"] == "pip"
        for name in python["with"]["cache-dependency-path"].split():
            assert (ROOT / name).is_file()


def test_ci_is_not_run_twice_at_once_runs_weekly_and_keeps_the_book():
    assert "${{ github.ref }}" in WORKFLOW["concurrency"]["group"]
    (weekly,) = WORKFLOW[True]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", weekly["cron"])
    (upload,) = [
        step
        for job in WORKFLOW["jobs"].values()
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]
    assert upload["with"]["path"] == "book/_build/html"
    assert upload["with"]["if-no-files-found"] == "error"


def test_no_property_begins_with_what_napoleon_takes_for_a_type() -> None:
    """Of the first line of a property's docstring, it takes what is before a colon for its type."""
    torn = []
    for path in [*(ROOT / "laplace").rglob("*.py"), *(ROOT / "notebooks/compendium").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                "property" in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                if ": " in first and not node.name.startswith("_"):
                    torn.append((path.name, node.name))
    assert torn == []


def test_attributes_that_share_a_line_are_each_given_an_entry() -> None:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        chapters = importlib.import_module("chapters")
    finally:
        sys.path.pop(0)
    lines = [
        *("A.", "", "Attributes", "----------", "a, b_2 : int", "    Two.", "c : float", "    C."),
        *("", "Notes", "-----", "d, e : no entries"),
    ]
    assert chapters.attribute_by_line(lines) == [
        *("A.", "", "Attributes", "----------", "a : int", "    Two.", "b_2 : int", "    Two."),
        *("c : float", "    C.", "", "Notes", "-----", "d, e : no entries"),
    ]
