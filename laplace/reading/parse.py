"""The text of a formula: its outcome, its covariates, its random intercept and its offsets.

Formulas are read in the tokens of `formulaic`, whose language is that of the covariates. What it
does not know is taken out before: the left side, which is an expression; a random intercept, as
``(1 | ward)`` in lme4; and offsets, as ``offset(log(time))`` in R.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from laplace.arguments import cut, plain_words, quoted, shown

OFFSET = "offset("
PAIR = "cbind("
ONE_INTERCEPT = "this package fits one random intercept, as (1 | ward)"
# Texts, names in backticks, and words with dots.
PIECES = re.compile(r"""`[^`]*`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[\w.]+""")


@dataclass(frozen=True)
class FormulaText:
    """A formula in its parts, each as text.

    Attributes
    ----------
    outcome : str
        Expression of the outcomes, or of the successes.
    trials : str
        Expression of the trials; empty where there is none.
    right : str
        The covariates, as `formulaic` reads them.
    groups : tuple of str
        Columns whose combinations are the groups; empty where there is no random intercept.
    offsets : tuple of str
        Expressions that are added to the linear predictor.
    """

    outcome: str
    trials: str
    right: str
    groups: tuple[str, ...]
    offsets: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """A token with its place: what it is, and how deep in parentheses."""

    text: str
    kind: str
    first: int
    last: int
    depth: int


def parse(formula: Any, columns: Iterable[str] = ()) -> FormulaText:
    """Take a formula apart.

    Parameters
    ----------
    formula : str
        ``"outcome ~ covariates"``.
    columns : iterable of str
        Names of columns; those with dots need no backticks.

    Raises
    ------
    TypeError, ValueError
        If it is no text, or cannot be read.
    """
    if not isinstance(formula, str):
        raise TypeError(f"formula must be a string, got {type(formula).__name__}")
    text = with_quoted_names(formula, columns)
    pieces = _pieces(text)
    tildes = [(piece, k) for piece in pieces if piece.kind == "operator" and piece.depth == 0
              for k in range(piece.first, piece.last + 1) if text[k] == "~"]  # fmt: skip
    if len(tildes) != 1 or not text[: tildes[0][1]].strip() or not text[tildes[0][1] + 1 :].strip():
        raise ValueError(f"formula must read 'outcome ~ covariates', got {shown(formula)}")
    middle = tildes[0][1]
    outcome, trials = _outcome(text[:middle], [p for p in pieces if p.first < middle])
    right, groups, offsets = _right(text, middle, pieces)
    return FormulaText(outcome, trials, right, groups, offsets)


def with_quoted_names(text: str, columns: Iterable[str]) -> str:
    """Put names of columns that have dots into backticks, where they are not in any."""
    dotted = {name for name in columns if "." in name.strip(".") and not _is_number(name)}
    if not dotted:
        return text

    def quote(match: re.Match[str]) -> str:
        word = match.group()
        is_call = text[match.end() :].lstrip().startswith("(")
        return f"`{word}`" if word in dotted and not is_call else word

    return PIECES.sub(quote, text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def without_backticks(expression: str) -> str:
    """Return the name in backticks, or the expression itself."""
    name = re.fullmatch(r"\s*`([^`]*)`\s*", expression)
    return expression.strip() if name is None else name.group(1)


def _pieces(text: str) -> list[Piece]:
    """Return the tokens of a formula, with their depth in parentheses."""
    from formulaic.errors import FormulaicError
    from formulaic.parser.algos.tokenize import tokenize

    try:
        tokens = list(tokenize(text))
    except FormulaicError as error:
        raise ValueError(f"formula {shown(text)} cannot be read: {plain_words(error)}") from error
    pieces, depth = [], 0
    for token in tokens:
        kind = token.kind.value
        closes = kind == "context" and token.token in ")]"
        depth -= closes
        if depth < 0:
            raise ValueError(f"formula {shown(text)} closes a parenthesis that it did not open")
        pieces.append(Piece(token.token, kind, token.source_start, token.source_end, depth))
        depth += kind == "context" and not closes
    if depth:
        raise ValueError(f"formula {shown(text)} does not close a parenthesis")
    return pieces


# The left side ------------------------------------------------------------------------------------


def _outcome(left: str, pieces: list[Piece]) -> tuple[str, str]:
    """Return the expressions of the outcomes and of the trials."""
    marks = [(k, left[k]) for p in pieces if p.kind == "operator" and p.depth == 0
             for k in range(p.first, min(p.last + 1, len(left)))]  # fmt: skip
    divided = [k for k, mark in marks if mark == "/"]
    if divided and any(not mark.isspace() and mark != "/" for _, mark in marks):
        raise ValueError(
            f"formula must have an outcome, or 'successes / trials', on the left, got "
            f"{shown(left.strip())}; write I({cut(left.strip())}) for a number that is computed, "
            "or parentheses around successes and trials"
        )
    if len(divided) > 1:
        raise ValueError(
            f"formula must have 'outcome' or 'successes / trials' on the left, got "
            f"{shown(left.strip())}; write I({left.strip()[:40]}) for a quotient"
        )
    if divided:
        k = divided[0]
        sides = left[:k].strip(), left[k + 1 :].strip()
        if not all(sides):
            raise ValueError(
                f"formula must have 'successes / trials' on the left, got {shown(left.strip())}"
            )
        return sides
    if len(pieces) == 1 and pieces[0].kind == "python" and pieces[0].text.startswith(PAIR):
        return _pair(pieces[0].text)
    return left.strip(), ""


def _pair(text: str) -> tuple[str, str]:
    """Read ``cbind(successes, failures)``, which is how R writes them."""
    aliases: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        if not match.group().startswith("`"):
            return match.group()
        return aliases.setdefault(match.group(), f"_column_{len(aliases)}")

    call = _parsed(PIECES.sub(named, text))
    if not isinstance(call, ast.Call) or len(call.args) != 2 or call.keywords:
        raise ValueError(f"formula must have cbind(successes, failures), got {shown(text)}")
    sides = [ast.unparse(argument) for argument in call.args]
    for name, alias in aliases.items():
        sides = [side.replace(alias, name) for side in sides]
    return sides[0], f"({sides[0]}) + ({sides[1]})"


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


# The right side -----------------------------------------------------------------------------------


def _right(
    text: str, middle: int, pieces: list[Piece]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the covariates, the columns of the random intercept, and the offsets."""
    start = next(k for k, piece in enumerate(pieces) if piece.last >= middle)
    intercepts: list[tuple[str, ...]] = []
    offsets: list[str] = []
    spans: list[tuple[int, int]] = []
    for k in range(start, len(pieces)):
        piece = pieces[k]
        if piece.kind == "python" and piece.text.startswith(OFFSET) and piece.text.endswith(")"):
            offsets.append(piece.text[len(OFFSET) : -1].strip())
            spans.append(_with_plus(text, middle, pieces, k, k, "an offset"))
        elif piece.kind == "context" and piece.text == "(":
            end = _closing(pieces, k)
            inside = pieces[k + 1 : end]
            if any("|" in p.text and _is_bar(p, piece.depth + 1) for p in inside):
                intercepts.append(_groups(text[piece.first : pieces[end].last + 1], inside))
                spans.append(_with_plus(text, middle, pieces, k, end, "a random intercept"))
        elif _is_bar(piece, 0) and "|" in piece.text:
            raise ValueError(
                f"formula must not hold '|' outside of parentheses, got "
                f"{shown(text[middle + 1 :].strip())}; write (1 | ward) for a random intercept"
            )
    _check_removed(pieces[start:])
    if len(intercepts) > 1:
        raise ValueError(
            f"formula has {len(intercepts)} random intercepts, but {ONE_INTERCEPT}; groups within "
            "groups, as classes with the same names in several schools, are (1 | class:school)"
        )
    if not all(offsets):
        raise ValueError("formula has an empty offset(); write a column or an expression in it")
    right, last = [], middle + 1
    for first, end_of_span in sorted(spans):
        right.append(text[last:first])
        last = end_of_span + 1
    right.append(text[last:])
    groups = intercepts[0] if intercepts else ()
    return "".join(right).strip() or "1", groups, tuple(offsets)


def _check_removed(pieces: list[Piece]) -> None:
    """Refuse to take out what is no term, as in ``x - x.mean()``, which is meant as a number."""
    for before, piece in pairwise(pieces):
        if before.kind == "value" and piece.kind == "operator" and piece.text.startswith("/"):
            raise ValueError("formula divides a number; write I(1 / x) for a quotient")
        if (
            before.kind == "operator"
            and before.text.endswith("-")
            and piece.kind == "python"
            and [p.text for p in pieces].count(piece.text) == 1
        ):
            raise ValueError(
                f"formula takes out {cut(piece.text)}, which is no term of it; for a difference of "
                f"numbers write I(... - {cut(piece.text)})"
            )


def _closing(pieces: list[Piece], opening: int) -> int:
    """Return the place of the parenthesis that closes another."""
    depth = pieces[opening].depth
    return next(
        k
        for k in range(opening + 1, len(pieces))
        if pieces[k].kind == "context" and pieces[k].depth == depth
    )


def _is_bar(piece: Piece, depth: int) -> bool:
    return piece.kind == "operator" and piece.depth == depth and "|" in piece.text


def _with_plus(
    text: str, middle: int, pieces: list[Piece], first: int, last: int, what: str
) -> tuple[int, int]:
    """Return from where to where a term stands, with the plus that adds it."""
    begin, end = pieces[first].first, pieces[last].last
    before, after = pieces[first - 1], pieces[last + 1 : last + 2]
    follows = after[0].text[0] if after else ""
    sign = text[before.last] if before.kind == "operator" else ""
    if sign not in ("+", "~") or follows not in ("", "+", "-") or pieces[first].depth:
        raise ValueError(
            f"formula must add {what} to the covariates, as in "
            f"'... + {cut(text[begin : end + 1])}', got {shown(text[middle + 1 :].strip())}"
        )
    if sign == "+":
        return before.last, end
    return (begin, after[0].first) if follows == "+" else (begin, end)


def _groups(term: str, inside: list[Piece]) -> tuple[str, ...]:
    """Return the columns of a random intercept, or say that it is something else."""
    bar = next(k for k, p in enumerate(inside) if p.kind == "operator" and "|" in p.text)
    effects, names = inside[:bar], inside[bar + 1 :]
    if inside[bar].text != "|" or [p.text for p in effects] != ["1"]:
        raise ValueError(
            f"formula asks for {cut(term)}, but {ONE_INTERCEPT}: no random slopes, and none "
            "without an intercept"
        )
    columns, joints = names[::2], names[1::2]
    if any(p.text == "/" for p in joints):
        raise ValueError(
            f"formula asks for {cut(term)}, which is two random intercepts, but {ONE_INTERCEPT}; "
            "groups within groups are (1 | class:school)"
        )
    if (
        len(names) % 2 == 0
        or any(p.kind != "name" for p in columns)
        or any(p.text != ":" for p in joints)
    ):
        raise ValueError(
            f"formula has {cut(term)}; right of the bar name a column of groups, or several joined "
            f"by ':', got {quoted([p.text for p in names])}"
        )
    return tuple(p.text for p in columns)
