"""Read the formulas of the chapter and of the docstrings: LaTeX in, SymPy out.

Only the notation of this project is read; anything else is an error, so that no formula is passed
over. A beta without a prime is beta_1, and one with a prime is beta_2.
"""

from __future__ import annotations

import re

import sympy as sp
from sympy.parsing.sympy_parser import (
    implicit_multiplication,
    parse_expr,
    standard_transformations,
)

from compendium import symbolic

LETTERS = {r"\mu": "u", r"\beta'": "b2", r"\beta": "b1", r"\tau": "t"}
LETTER = re.compile(r"\\mu|\\beta'|\\beta(?!')|\\tau")
SYMBOL = re.compile(
    r"(?P<base>\\hat\\mu|\\hat\\omega|(?<![a-z])g)"
    r"(?:_(?:\{(?P<braced>[^}]*)\}|(?P<plain>\\(?:mu|tau|beta'?))))?"
    r"(?P<at>\(\\hat\\mu[^)]*\))?"
)
OTHERS = {
    r"\\sum_j": "",
    r"\\sqrt\{2\\pi\}": " root ",
    r"x_j'": " x_2 ",
    r"x_j(?!')": " x_1 ",
    r"y_j": " y ",
    r"b('{1,4})_j": lambda m: f" b_{len(m.group(1))} ",
    r"b('{1,4})\(\\eta\)": lambda m: f" c_{len(m.group(1))} ",
    r"\\pi": " p ",
    r"\\tau": " tau ",
    r"\\mu": " mu ",
    r"\\log": " log ",
}
LAYOUT = re.compile(r"\\left|\\right|\\big|\\begin\{aligned\}|\\end\{aligned\}|\{\}|&|\\\\|\\,|\\!")


def parse(latex: str) -> sp.Expr:
    """Return the right-hand side of a formula; of partial derivatives of g, for a single row."""
    text = latex.strip().rstrip(" .,;")
    text = re.split(r"\\approx|(?<![<>])=", text, maxsplit=1)[-1]
    text = LAYOUT.sub(" ", text)
    known: dict[str, sp.Expr] = {}

    def name_of(match: re.Match[str]) -> str:
        index = match.group("braced") or match.group("plain") or ""
        letters = [LETTERS[letter] for letter in LETTER.findall(index)]
        if LETTER.sub("", index).strip():
            raise ValueError(f"{match.group(0)} has an index that is not read")
        name = f"s{len(known)}"
        known[name] = _meaning(match.group("base"), letters)
        return f" {name} "

    text = SYMBOL.sub(name_of, text)
    text = _fractions(text)
    for pattern, replacement in OTHERS.items():
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"\^\{([^}]*)\}", r"**(\1)", text)
    text = re.sub(r"\^(\d)", r"**\1 ", text)
    if re.search(r"[\\{}_^]", re.sub(r"\b[a-z]+_?\d\b", "", text)):
        raise ValueError(f"the formula is not read to its end: {text}")
    names = {
        "x_1": sp.Symbol("x_1"),
        "x_2": sp.Symbol("x_2"),
        "y": sp.Symbol("y"),
        "p": sp.Symbol("p"),
        "root": sp.sqrt(2 * sp.pi),
        "log": sp.log,
        "mu": symbolic.MU,
        "tau": symbolic.TAU,
        **{f"b_{r}": sp.Symbol(f"b_{r}") for r in range(1, 5)},
        **{f"c_{r}": sp.Symbol(f"c_{r}") for r in range(1, 5)},
        **known,
    }
    transformations = (*standard_transformations, implicit_multiplication)
    return parse_expr(" ".join(text.split()), local_dict=names, transformations=transformations)


def _meaning(base: str, letters: list[str]) -> sp.Expr:
    """Return what a symbol stands for, from the derivation."""
    if base == "g":
        return symbolic.g(**{letter: letters.count(letter) for letter in set(letters)})
    variables = {"b1": symbolic.BETA_1, "b2": symbolic.BETA_2, "t": symbolic.TAU}
    along = [variables[letter] for letter in letters]
    if base == r"\hat\omega":
        return symbolic.total(symbolic.omega(), *along)
    if not along:
        return symbolic.MODE
    return symbolic.total(symbolic.slope(along[0]), *along[1:])


def _fractions(text: str) -> str:
    r"""Write \frac{a}{b}, \frac1\tau, \tfrac12 and \tfrac5{24} with a stroke."""
    while match := re.search(r"\\t?frac", text):
        above, rest = _argument(text[match.end() :])
        below, rest = _argument(rest)
        text = f"{text[: match.start()]} (({above})/({below})) {rest}"
    return text


def _argument(text: str) -> tuple[str, str]:
    """Split a macro's argument off: a group in braces, a macro, or a character."""
    text = text.lstrip()
    if not text.startswith("{"):
        match = re.match(r"\\[a-z]+|.", text)
        assert match is not None
        return match.group(0), text[match.end() :]
    depth = 0
    for k, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[1:k], text[k + 1 :]
    raise ValueError(f"a brace is not closed: {text}")
