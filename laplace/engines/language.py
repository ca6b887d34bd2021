"""The language of formulas that several sites agree on: nothing in it is ever run as Python.

A general formula may call any function, so that a formula from elsewhere is a program. Here it is
made of names of columns, 0 and 1, the signs ``+ - * :``, ``C(column)`` and the functions of
`FUNCTIONS`, each of one column. It is checked piece by piece, and columns are computed here. What
`formulaic` reads after that is made of names alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from laplace.arguments import Array, quoted

FUNCTIONS: dict[str, Callable[[Any], Array]] = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "square": np.square,
    "cube": lambda x: np.asarray(x**3),
}
CATEGORY = "C"
PIECE = re.compile(r"\s*(?:(`[^`\n]+`|[^\W\d]\w*)|([01])(?!\w)|([-+*:()/~]))")
LONGEST = 2000


@dataclass(frozen=True)
class Formula:
    """A formula that was checked.

    Attributes
    ----------
    outcome : str
        Column of the outcomes.
    trials : str
        Column of the trials; empty where there is none.
    right : str
        The right side, made of names in backticks, 0, 1 and signs.
    computed : dict
        Columns to be computed: a name, and the function and the column that it is made of.
    columns : tuple of str
        All columns that have to be there.
    covariates : tuple of str
        Those that the right side is made of.
    categories : tuple of str
        Those that were written as ``C(column)``.
    """

    outcome: str
    trials: str
    right: str
    computed: dict[str, tuple[str, str]]
    columns: tuple[str, ...]
    covariates: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def text(self) -> str:
        """The formula as `laplace.Site.from_formula` takes it."""
        left = f"`{self.outcome}`" + (f" / `{self.trials}`" if self.trials else "")
        return f"{left} ~ {self.right}"


def parse(formula: Any) -> Formula:
    """Check a formula, and return what it is made of.

    Raises
    ------
    ValueError
        If it is not made of names, signs and known functions alone.
    """
    if not isinstance(formula, str) or len(formula) > LONGEST:
        raise ValueError(f"formula must be a text of at most {LONGEST} characters")
    pieces = _pieces(formula)
    if pieces.count("~") != 1:
        raise ValueError(f"formula must read 'outcome ~ covariates', got {formula!r:.200}")
    at = pieces.index("~")
    left, right = pieces[:at], pieces[at + 1 :]
    if not (len(left) in (1, 3) and all(map(_is_name, left[::2])) and left[1:2] in ([], ["/"])):
        raise ValueError(
            f"formula must have 'outcome' or 'successes / trials' on the left, got {formula!r:.200}"
        )
    outcome, trials = left[0].strip("`"), left[2].strip("`") if len(left) == 3 else ""
    written, computed, used, categories = _right(right, formula)
    columns = dict.fromkeys([outcome, *([trials] if trials else []), *used])
    right_side = " ".join(written)
    return Formula(
        outcome, trials, right_side, computed, tuple(columns), tuple(used), tuple(categories)
    )


def _pieces(formula: str) -> list[str]:
    """Cut a formula into names, numbers and signs."""
    found, at = [], 0
    while formula[at:].strip():
        match = PIECE.match(formula, at)
        if match is None:
            raise ValueError(
                f"formula must be made of columns, 0, 1, + - * : and functions of one column, "
                f"{quoted(sorted(FUNCTIONS))}; in {formula!r:.200} it cannot go on with "
                f"{formula[at:].strip()[:40]!r}. A power is written as square(x) or cube(x)"
            )
        found.append(match[match.lastindex or 0])
        at = match.end()
    return found


def _is_name(piece: str) -> bool:
    return piece[0] == "`" or piece[0].isalpha() or piece[0] == "_"


def _right(
    pieces: list[str], formula: str
) -> tuple[list[str], dict[str, tuple[str, str]], list[str], list[str]]:
    """Check the right side; return it with names in backticks, and what it needs."""
    written: list[str] = []
    computed: dict[str, tuple[str, str]] = {}
    used: list[str] = []
    categories: list[str] = []
    expects, at = True, 0
    while at < len(pieces):
        piece = pieces[at]
        if expects and piece in "01":
            written.append(piece)
        elif expects and _is_name(piece):
            name, steps = piece.strip("`"), 0
            if pieces[at + 1 : at + 2] == ["("]:
                inside = pieces[at + 2 : at + 4]
                if len(inside) < 2 or not _is_name(inside[0]) or inside[1] != ")":
                    raise ValueError(f"formula must give {piece}() the name of one column")
                column, steps = inside[0].strip("`"), 3
                if piece == CATEGORY:
                    categories.append(column)
                    name = column
                elif piece in FUNCTIONS:
                    name = f"{piece}({column})"
                    computed[name] = piece, column
                else:
                    raise ValueError(
                        f"formula has the function {piece!r}; those that are known are "
                        f"{quoted([CATEGORY, *FUNCTIONS])}"
                    )
                used.append(column)
            else:
                used.append(name)
            written.append(f"`{name}`")
            at += steps
        elif not expects and piece in "+-*:":
            written.append(piece)
        elif expects and piece == "-" and not written:
            written.append(piece)  # "- 1 + x"
            at += 1
            continue
        else:
            raise ValueError(f"formula cannot have {piece!r} there: {formula!r:.200}")
        expects, at = not expects, at + 1
    if expects:
        raise ValueError(f"formula ends in a sign, or its right side is empty: {formula!r:.200}")
    return written, computed, list(dict.fromkeys(used)), categories
