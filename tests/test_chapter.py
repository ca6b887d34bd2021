"""The chapter of the derivation and the code: every formula is in both, by the same name."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from laplace import derivatives, quadrature
from laplace.families import Bernoulli

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "02_derivation.ipynb"
CELLS = [
    "".join(cell["source"])
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "markdown"
]
LABEL = re.compile(r"^\$\$ \(eq-(\w+)\)$", re.MULTILINE)
LABELS = [label for cell in CELLS for label in LABEL.findall(cell)]

FUNCTIONS = {
    **{name: getattr(derivatives, name) for name in derivatives.__all__},
    **{name: getattr(quadrature, name) for name in ("ordinary", "adaptive", "adaptive_nodes")},
    **{name: getattr(Bernoulli, name) for name in ("b", "b_1", "b_2", "b_3", "b_4")},
}


def test_no_label_is_given_twice() -> None:
    assert len(LABELS) == len(set(LABELS))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_cites_its_equation(name: str) -> None:
    assert re.findall(r":eq:`eq-(\w+)`", inspect.getdoc(FUNCTIONS[name])) == [name]
    assert name in LABELS


@pytest.mark.parametrize("label", LABELS)
def test_every_labelled_equation_has_a_function_and_names_it(label: str) -> None:
    assert label in FUNCTIONS
    cell = next(cell for cell in CELLS if f"(eq-{label})" in cell)
    spans = re.findall(r"`(\w+)`(?: to `(\w+)`)?", cell)
    named = {first for first, _ in spans} | {last for _, last in spans}
    if "b_1" in named and "b_4" in named:  # "`b_1` to `b_4`"
        named |= {"b_2", "b_3"}
    assert label in named


def test_every_public_function_of_the_textbook_is_listed() -> None:
    public = {
        name
        for name, value in vars(derivatives).items()
        if inspect.isfunction(value)
        and value.__module__ == derivatives.__name__
        and not name.startswith("_")
    }
    assert public == set(derivatives.__all__)


@pytest.mark.parametrize("name", derivatives.__all__)
def test_every_function_takes_a_family(name: str) -> None:
    parameters = list(inspect.signature(getattr(derivatives, name)).parameters)
    assert parameters in (
        ["x", "y", "u", "beta", "tau", "family"],
        ["x", "y", "beta", "tau", "family"],
    )
