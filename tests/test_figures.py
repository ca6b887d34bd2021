"""Stored figures are checked: coordinates, letters and colours, and the code that draws them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from book import picture
from compendium import plots, plots_answer, svg

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURE = "image/svg+xml"


def stored_figures() -> list[tuple[str, str]]:
    """Return the stored figures of all notebooks, with their names."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if FIGURE in output.get("data", {}):
                    found.append((f"{path.stem}-{len(found)}", output["data"][FIGURE]))
    return found


STORED = stored_figures()


@pytest.mark.parametrize("text", [text for _, text in STORED], ids=[name for name, _ in STORED])
def test_stored_figures_are_rounded_and_their_names_counted(text: str) -> None:
    assert svg.stable(text) == text
    assert svg.same(text, text)
    digits = [len(n.partition(".")[2]) for _, part in svg.PLACES.findall(text)
              for n in svg.NUMBER.findall(part) if not n.startswith("scale")]  # fmt: skip
    assert max(digits) <= svg.DECIMALS
    assert re.search(r'id="[mp][0-9a-f]{10}"', text) is None


TEXT = STORED[0][1]


def moved(by: float) -> str:
    """Move the first coordinate of the last path."""
    place = TEXT.rindex(' d="M ') + len(' d="M ')
    number = re.match(r"-?[\d.]+", TEXT[place:])
    assert number is not None
    return TEXT[:place] + f"{float(number[0]) + by:.2f}" + TEXT[place + len(number[0]) :]


@pytest.mark.parametrize(
    "changed",
    [
        moved(0.03),
        moved(-3.0),
        TEXT.replace(plots.COLOURS["laplace"].lower(), "#0072b3"),
        TEXT.replace("stroke-width: 2", "stroke-width: 3", 1),
        re.sub(r"(?<=#DejaVuSans-)\w+", "41", TEXT, count=1),
        re.sub(r'<use xlink:href="#m1"[^>]*/>', "", TEXT, count=1),
        TEXT.replace("<path ", "<path><path ", 1),
    ],
    ids=["a little", "much", "colour", "width", "letter", "tick", "path"],
)
def test_a_changed_figure_is_another(changed: str) -> None:
    assert changed != TEXT
    assert not svg.same(changed, TEXT)


def test_what_processors_do_is_no_change() -> None:
    assert svg.same(moved(0.01), TEXT)
    names = {"m1": "m0a1b2c3d4e", "p2": "p00aabbccdd"}
    renamed = '<use xlink:href="#m0a1b2c3d4e"/><g id="m0a1b2c3d4e"/><clipPath id="p00aabbccdd"/>'
    counted = '<use xlink:href="#m1"/><g id="m1"/><clipPath id="p2"/>'
    assert svg.stable(renamed) == counted
    assert len(names) == 2
    assert svg.stable('<path d="M 1.2345678 -0.0000001 L 10.005 3"/>') == '<path d="M 1.23 0 L 10.01 3"/>'  # fmt: skip # noqa: E501


@pytest.mark.parametrize("change", ["", "coordinate", "formula"])
def test_a_notebook_whose_figure_or_formula_changed_is_red(tmp_path: Path, change: str) -> None:
    source = (
        "from compendium import plots\nimport numpy as np\nplots.show_as_svg()",
        "from IPython.display import Math\nMath('x = 1')",
        "x = np.ones((3, 1))\nplots.integrand({'a': (x, np.ones(3))}, np.zeros(1), 1.0, 3)",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in source])
    path = tmp_path / "one.ipynb"
    nbformat.write(notebook, path)
    environment = {**os.environ, "PYTHONPATH": str(NOTEBOOKS)}
    nbconvert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    subprocess.run([*nbconvert, str(path)], check=True, capture_output=True, env=environment)
    notebook = nbformat.read(path, as_version=4)
    if change == "coordinate":
        data = notebook.cells[2].outputs[0]["data"]
        data[FIGURE] = re.sub(r'(?<= d="M )\d+', "7", data[FIGURE])
    elif change == "formula":
        data = notebook.cells[1].outputs[0]["data"]
        data["text/latex"] = data["text/latex"].replace("1", "2")
    nbformat.write(notebook, path)
    shutil.copy(NOTEBOOKS / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-n", "0"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, env=environment)
    assert ("failed" in done.stdout) == bool(change), done.stdout


# What no notebook draws --------------------------------------------------------------------------


def test_the_picture_of_the_readme_is_what_its_code_draws() -> None:
    assert svg.same(picture.PICTURE.read_text(encoding="utf-8"), svg.drawn(picture.integrand()))


def test_the_map_of_the_first_page_is_that_of_its_chapter() -> None:
    """The chapter's is compared with what its code draws when the chapter is computed again."""
    drawn = picture.MAP.read_text(encoding="utf-8")
    chapter = [text for name, text in STORED if name.startswith("04_")]
    assert any(svg.same(text, drawn) for text in chapter)


def test_the_flow_chart_is_what_its_code_draws() -> None:
    drawn = svg.drawn(plots_answer.flow_chart())
    assert svg.same(picture.CHART.read_text(encoding="utf-8"), drawn)


def test_the_logo_is_what_its_code_draws() -> None:
    assert picture.LOGO.read_text(encoding="utf-8") == picture.logo()
