"""The house: which room may import which, how large a room may be, and what is installed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import laplace

PACKAGE = Path(laplace.__file__).parent
ROOT = PACKAGE.parent

# From the ground up; a room imports only from rooms named before it.
FLOORS = {
    "base": ["later", "arguments", "tables", "matrices", "rank", "contribution"],
    "mathematics": ["families", "nodes"],
    "textbook": ["derivatives", "quadrature"],
    "seam": ["answers", "questions", "starts", "together", "messages", "sites"],
    "reading": [
        *("reading.parse", "reading.frames", "reading.outcomes", "reading.cells"),
        *("reading.terms", "reading.labels", "reading.remembered", "reading.design"),
    ],
    "engine": ["kernels", "plan", "grouped", "likelihood", "directions", "site"],
    "fit": [
        *("newton", "basis", "penalties", "objective", "separation", "strategy", "places"),
        *(
            "local",
            "estimate",
            "verdict",
            "walk",
            "search",
            "profile",
            "ends",
            "criterion",
            "restricted",
        ),
    ],
    "inference": [
        *("inference.degrees", "inference.few_groups", "inference.parameters"),
        "inference.intervals",
        *("inference.ratio", "inference.summary", "inference.prediction", "inference.wald"),
        *("inference.drawn", "inference.residuals", "inference.uses", "inference.described"),
        "result",
    ],
    "many": [
        *("many.stack", "many.intake", "many.lockstep", "many.finds"),
        *("many.local_searches", "many.walks", "many.convoy"),
    ],
    "doors": ["fit", "formula", "simulate", "parallel", "replicates", "bootstrap", "batch"],
}
# How sites are reached; these import from every floor, and no floor imports them.
ENGINES = [
    *("entries", "language", "thresholds", "manifest", "policy", "own"),
    *("rules", "blunted", "letters", "audit", "preview", "gate"),
    *("asking", "files", "replay", "recipes", "dask", "flower"),
]
ROOMS = [room for floor in FLOORS.values() for room in floor]
# Folders of rooms, each with one purpose.
FOLDERS = ["reading", "inference", "many"]
# Floors that a floor may import from, besides itself.
ALLOWED = {
    "base": set(),
    "mathematics": {"base"},
    "textbook": {"base", "mathematics"},
    "seam": {"base"},
    "reading": {"base", "mathematics"},
    "engine": {"base", "mathematics", "seam", "reading"},
    "fit": {"base", "mathematics", "seam"},
    "inference": {"base", "mathematics", "seam", "fit"},
    "many": {"base", "mathematics", "seam", "engine", "fit"},
    "doors": {"base", "mathematics", "seam", "reading", "engine", "fit", "inference", "many"},
}
# Rooms that know of no data, of no place, and of no question.
KNOW_NO_DATA = {"contribution": {"arguments"}, "newton": {"later", "arguments", "contribution"}}


def floor_of(room: str) -> str:
    return next(floor for floor, rooms in FLOORS.items() if room in rooms)


def modules(path: Path) -> list[list[str]]:
    """Return the modules that a file imports, also for types, and also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "rooms are imported by their whole names"
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        parts = [name.split(".") for name in names]
        found += [part[1:] for part in parts if part[0] == "laplace" and len(part) > 1]
    return found


def file_of(room: str) -> Path:
    return PACKAGE / f"{room.replace('.', '/')}.py"


def imported(room: str) -> set[str]:
    """Return the rooms that a room imports."""
    found = modules(file_of(room))
    names = {".".join(module[:2]) if module[0] in FOLDERS else module[0] for module in found}
    return names & {*ROOMS, "engines"}


def test_every_room_has_its_floor() -> None:
    found = [path.stem for path in PACKAGE.glob("*.py")]
    for folder in FOLDERS:
        found += [f"{folder}.{path.stem}" for path in (PACKAGE / folder).glob("*.py")]
    beginnings = ["__init__", *(f"{folder}.__init__" for folder in FOLDERS)]
    assert sorted(found) == sorted([*ROOMS, *beginnings])


def test_every_folder_has_its_rooms() -> None:
    """A folder that nobody named here would hide its rooms from the tests of this file."""
    found = {path.parent.name for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    assert found == {*FOLDERS, "engines"}


@pytest.mark.parametrize("room", ENGINES)
def test_engines_import_one_another_one_way(room: str) -> None:
    within = [
        m[1] for m in modules(PACKAGE / "engines" / f"{room}.py") if m[0] == "engines" and m[1:]
    ]
    for other in within:
        assert ENGINES.index(other) < ENGINES.index(room), f"{room} imports {other}, further up"


def test_every_engine_has_its_place() -> None:
    found = sorted(path.stem for path in (PACKAGE / "engines").glob("*.py"))
    assert found == sorted([*ENGINES, "__init__"])


def test_no_room_imports_an_engine() -> None:
    assert [room for room in ROOMS if "engines" in imported(room)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    for other in imported(room):
        assert ROOMS.index(other) < ROOMS.index(room), f"{room} imports {other}, further up"
        own, floor = floor_of(room), floor_of(other)
        assert floor == own or floor in ALLOWED[own], f"{room} imports {other}, on floor {floor}"
    if room in KNOW_NO_DATA:
        assert imported(room) <= KNOW_NO_DATA[room]


def test_the_reader_of_imports_sees_all_kinds(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "search.py").write_text(
        "from typing import TYPE_CHECKING\nimport laplace.plan\nfrom laplace import grouped\n"
        "if TYPE_CHECKING:\n    from laplace.kernels import evaluate\n"
        "def f():\n    from laplace.likelihood import Likelihood\n"
        "from laplace.many.stack import Stack\nfrom laplace.reading import parse\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    near = {"plan", "grouped", "kernels", "likelihood"}
    assert imported("search") == {*near, "many.stack", "reading.parse"}


def test_rooms_are_small() -> None:
    lines = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {room: n for room, n in lines.items() if n > 600 and room != "kernels.py"} == {}


def test_importing_the_package_loads_no_optimiser() -> None:
    """Nor what else takes long: it is imported where it is first needed."""
    slow = (
        "scipy.optimize",
        "scipy.special",
        "scipy.linalg",
        "pandas",
        "numba",
        "email",
        "formulaic",
        "joblib",
        "laplace.engines",
    )
    code = f"import sys, laplace; print(*(m for m in sys.modules if m.startswith({slow})))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_a_first_fit_of_arrays_loads_what_it_needs_and_no_more() -> None:
    """It takes the compiler and the factorisations; labels and special functions come later."""
    code = (
        "import sys, laplace, numpy as np\n"
        "rng = np.random.default_rng(1)\n"
        "X, groups = rng.normal(size=(1000, 2)), np.repeat(np.arange(20), 50)\n"
        "u = rng.normal(size=20)[groups]\n"
        "y = (rng.random(1000) < 1.0 / (1.0 + np.exp(-u - X[:, 0]))).astype(float)\n"
        "for nodes in (1, 'auto'):\n"
        "    fit = laplace.fit(y, X, groups, nodes=nodes)\n"
        "assert fit.converged\n"
        "late = ('pandas', 'scipy.special', 'scipy.optimize', 'scipy.stats', 'formulaic',\n"
        "        'joblib', 'laplace.engines')\n"
        "print(*(m for m in sys.modules if m.startswith(late)))\n"
        "assert list(fit.params.index) == ['x0', 'x1', 'tau']\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split("\n") == ["", "True", ""]


def test_the_wheel_holds_the_method_and_nothing_else(tmp_path: Path) -> None:
    build = importlib.import_module("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    (wheel,) = build.build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    of_package = {name for name in names if ".dist-info/" not in name}
    rooms = [*(room.replace(".", "/") for room in ROOMS), "__init__"]
    rooms += [f"{folder}/__init__" for folder in [*FOLDERS, "engines"]]
    rooms += [f"engines/{room}" for room in ENGINES]
    assert of_package == {f"laplace/{room}.py" for room in rooms} | {"laplace/py.typed"}
    assert Path(wheel).stat().st_size < 400_000
    metadata = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("/METADATA")))
    assert b"License-Expression: BSD-3-Clause\n" in metadata
    assert [n for n in names if "licenses" in n] == [n for n in names if n.endswith("/LICENSE")]
