"""The derivation, with its appendix, and the code: every formula is in both, by the same name."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import sympy as sp
from latex import parse

from compendium import symbolic
from laplace import derivatives, quadrature
from laplace.families import Bernoulli

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CELLS = [
    "".join(cell["source"])
    for name in ("02_derivation", "A_derivatives")
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
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


# The formulas themselves: what is typeset is read, and compared with the derivation -------------

# a display without a label may stand before one that has one
FORMULA = re.compile(r"^\$\$\n((?:(?!\$\$).)*?)\n\$\$ \(eq-(\w+)\)$", re.MULTILINE | re.DOTALL)
TYPESET = {label: latex for cell in CELLS for latex, label in FORMULA.findall(cell)}
# b and g define, mode is an equation to solve, and quadrature is compared as text.
DEFINED = {"b", "g", "mode", "ordinary", "adaptive", "adaptive_nodes"}


def derivation(name: str) -> sp.Expr:
    """Return what a formula has to be: for partial derivatives of g, those of a single row."""
    if name.startswith("g_"):
        suffix = name[2:]
        x_1, x_2, y = sp.symbols("x_1 x_2 y")
        linear = symbolic.BETA_1 * x_1 + symbolic.BETA_2 * x_2 + symbolic.MU
        row = y * linear - symbolic.B(0, linear) + symbolic.LOG_NORMAL
        betas = [symbolic.BETA_1, symbolic.BETA_2][: suffix.count("b")]
        variables = [symbolic.MU] * suffix.count("u") + betas + [symbolic.TAU] * suffix.count("t")
        orders = {symbolic.B(r, linear): sp.Symbol(f"b_{r}") for r in range(1, 5)}
        return row.diff(*variables).subs(orders)
    return symbolic.derive(name)


def without_mixing(expression: sp.Expr) -> sp.Expr:
    """Set to zero what is zero: nothing mixes tau with beta, or with mu beyond the second power."""
    zero = {
        atom: 0
        for atom in expression.atoms(symbolic.G)
        if atom.args[3] > 0 and (atom.args[1] + atom.args[2] > 0 or atom.args[0] > 2)
    }
    return expression.subs(zero)


@pytest.mark.parametrize("name", [name for name in derivatives.__all__ if name not in DEFINED])
def test_what_is_typeset_is_what_is_derived(name: str) -> None:
    """In the chapter or its appendix; and in the docstring, where it has a formula."""
    expected = derivation(name)
    for latex in [TYPESET[name], *formulas_of(name)]:
        assert symbolic.is_zero(without_mixing(parse(latex) - expected)), latex


def formulas_of(name: str) -> list[str]:
    """Return the formula in a docstring: the display, or else the first in the text."""
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    display = re.search(r"^\.\. math:: (.*?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    if display:
        return [display.group(1)]
    return [latex for latex in re.findall(r":math:`([^`]*)`", doc) if "=" in latex][:1]


@pytest.mark.parametrize("name", ["b_1", "b_2", "b_3", "b_4"])
def test_derivatives_of_the_cumulant_function_as_typeset(name: str) -> None:
    e = sp.Symbol("e", positive=True)
    b = sp.log(1 + sp.exp(symbolic.ETA))
    derived = [b.diff(symbolic.ETA, r).subs(sp.exp(symbolic.ETA), e) for r in range(5)]
    stated = parse(TYPESET[name])
    stated = stated.subs({sp.Symbol(f"c_{r}"): derived[r] for r in range(1, 5)})
    assert sp.simplify(stated.subs(sp.Symbol("p"), e / (1 + e)) - derived[int(name[-1])]) == 0


@pytest.mark.parametrize("name", ["ordinary", "adaptive_nodes", "adaptive"])
def test_quadrature_is_typeset_alike_in_chapter_and_docstring(name: str) -> None:
    def plain(latex: str) -> str:
        latex = re.sub(r"\\begin\{aligned\}|\\end\{aligned\}|\\\\|&", "", latex)  # lines
        latex = re.sub(r"\\left|\\right|\\Big|\\big|\\,|[\s{},.]", "", latex)
        return latex.rpartition("approx")[2].rpartition("u_k=")[2]

    assert plain(TYPESET[name]) == plain(formulas_of(name)[0])


def test_a_wrong_sign_would_be_seen() -> None:
    for name in ("g_uub", "mu_bb", "omega_bt", "l_2", "remainder"):
        wrong = (
            TYPESET[name].replace("+", "-", 1)
            if "+" in TYPESET[name]
            else TYPESET[name].replace("-", "", 1)
        )
        assert not symbolic.is_zero(without_mixing(parse(wrong) - derivation(name))), name
