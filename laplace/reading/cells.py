"""Combinations of levels that no row has, and the columns of an interaction that they cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from laplace.arguments import Array, RowNames, and_more, quoted, shown
from laplace.later import pd
from laplace.rank import RANK_TOLERANCE, own_parts

# New rows agree with the combination up to rounding.
AGREES = 1e-8
# Natural and cyclic cubic splines, whose columns add up to one.
HOLDS_CONSTANT = re.compile(r"c[rsc]\(.*\)")
# So many empty cells are named.
NAMED = 3


@dataclass(frozen=True)
class EmptyCell:
    """A combination of levels of an interaction that no row has.

    Attributes
    ----------
    term : str
        The interaction.
    levels : tuple of tuple
        Factor and level, a pair a factor.
    """

    term: str
    levels: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return " and ".join(f"{factor} {level}" for factor, level in self.levels)


@dataclass(frozen=True, eq=False)
class Cells:
    """Columns that were left out for empty cells.

    Attributes
    ----------
    columns : tuple of str
        Their names.
    empty : tuple of EmptyCell
        The cells.
    weights : ndarray of shape (p, k)
        Each such column of the rows of the fit, as a combination of the p others.
    """

    columns: tuple[str, ...]
    empty: tuple[EmptyCell, ...]
    weights: Array

    def __str__(self) -> str:
        return f"{', '.join(self.columns)}, as no rows have {words(self.empty)}"

    def kept(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the other columns of new rows.

        Raises
        ------
        ValueError
            If a row is in an empty cell, so that the fit says nothing of it.
        """
        rest = X.drop(columns=list(self.columns))
        expected = rest.to_numpy(dtype=float) @ self.weights
        size = 1.0 + np.abs(rest.to_numpy(dtype=float)).max(axis=1, initial=0.0)
        apart = np.abs(X[list(self.columns)].to_numpy(dtype=float) - expected).max(axis=1)
        bad = np.flatnonzero(apart > AGREES * size)
        if bad.size:
            raise ValueError(
                f"X has a combination of levels in {RowNames(X.index)(bad[0])}{and_more(bad)} that "
                f"no row of the fit had, which says nothing of it: {words(self.empty)}"
            )
        return rest


def words(cells: tuple[EmptyCell, ...]) -> str:
    """Return the cells in words, the first of many."""
    text = ", or ".join(str(cell) for cell in cells[:NAMED])
    rest = len(cells) - NAMED
    return text if rest <= 0 else f"{text}, or {rest} other combinations"


def empty_cells_of(spec: Any, data: pd.DataFrame) -> tuple[EmptyCell, ...]:
    """Return the combinations of levels, of each interaction of categories, that no row has.

    Parameters
    ----------
    spec : formulaic.ModelSpec
        The formula as it was used.
    data : DataFrame
        The rows.
    """
    levels = levels_of(spec)
    found = []
    for term, _, _ in spec.structure:
        factors = [f.expr for f in term.factors if f.expr in levels]
        columns = [column_of(factor, data) for factor in factors]
        if len(factors) < 2 or None in columns:
            continue
        codes = [
            pd.Categorical(data[column], categories=levels[factor]).codes
            for factor, column in zip(factors, columns, strict=True)
        ]
        shape = [len(levels[factor]) for factor in factors]
        counts = np.bincount(np.ravel_multi_index(codes, shape), minlength=int(np.prod(shape)))
        for cell in np.flatnonzero(counts == 0):
            places = np.unravel_index(cell, shape)
            pairs = [
                (str(column), levels[factor][place])
                for factor, column, place in zip(factors, columns, places, strict=True)
            ]
            found.append(EmptyCell(str(term), tuple(pairs)))
    return tuple(found)


def levels_of(spec: Any) -> dict[str, list[Any]]:
    """Return the levels of each category of a formula, by its factor."""
    return {
        factor: list(state["categories"])
        for factor, (kind, state) in spec.encoder_state.items()
        if kind.value == "categorical" and "categories" in state
    }


def column_of(factor: str, data: pd.DataFrame) -> str | None:
    """Return the column of a category that is one, by itself or in C(); None of others."""
    if factor in data.columns:
        return factor
    inside = factor[2:-1].partition(",")[0].strip().strip("`") if factor.startswith("C(") else ""
    return inside if inside in data.columns else None


def left_out(
    X: pd.DataFrame, cells: tuple[EmptyCell, ...], spec: Any, *, drop: bool
) -> Cells | None:
    """Return the columns that empty cells make combinations of others; None where there are none.

    Parameters
    ----------
    X : DataFrame of shape (n, p)
        The columns of the formula.
    cells : tuple of EmptyCell
        The combinations that no row has.
    spec : formulaic.ModelSpec
        The formula as it was used.
    drop : bool
        Whether such columns may be left out.

    Raises
    ------
    ValueError
        If there are, and they may not.
    """
    if not cells:
        return None
    terms = {cell.term for cell in cells}
    of_terms = [name for term, _, names in spec.structure if str(term) in terms for name in names]
    r, unit = _decomposed(X)
    dependent = own_parts(r) < RANK_TOLERANCE
    out = [name for name, bad in zip(X.columns, dependent, strict=True) if bad and name in of_terms]
    if not out:
        return None
    if not drop:
        term = cells[0].term
        raise ValueError(
            f"no rows have {words(cells)}, so that {quoted(out)} cannot be estimated: leave "
            f"{shown(term)} out of the formula, merge levels, make one category of the "
            "combinations, or leave such columns out by empty_cells='drop'"
        )
    kept = X.columns.difference(out, sort=False)
    places = [list(X.columns).index(name) for name in kept]
    gone = [list(X.columns).index(name) for name in out]
    weights = np.linalg.lstsq(r[:, places], r[:, gone], rcond=None)[0]
    return Cells(tuple(out), cells, weights * unit[gone] / unit[places][:, None])


def _decomposed(X: pd.DataFrame) -> tuple[Array, Array]:
    """Return the triangle of columns of unit length, and the lengths; 1 of columns of zeros."""
    matrix = X.to_numpy(dtype=float)
    length = np.linalg.norm(matrix, axis=0)
    unit = np.where(length > 0.0, length, 1.0)
    return np.asarray(np.linalg.qr(matrix / unit, mode="r")), unit


def check_splines(X: pd.DataFrame, spec: Any) -> None:
    """Refuse a spline that holds a constant which other columns hold, too; say how to write it.

    Parameters
    ----------
    X : DataFrame of shape (n, p)
        The columns of the formula.
    spec : formulaic.ModelSpec
        The formula as it was used.

    Raises
    ------
    ValueError
        If columns of the spline are combinations of others; one of them cannot be left out.
    """
    splines = dict.fromkeys(
        factor.expr
        for term in spec.formula
        for factor in term.factors
        if HOLDS_CONSTANT.fullmatch(factor.expr) and "constraints" not in factor.expr
    )
    for spline in splines:
        own = [
            name
            for term, _, names in spec.structure
            for name in names
            if any(factor.expr == spline for factor in term.factors)
        ]
        r, _ = _decomposed(X[[*X.columns.difference(own, sort=False), *own]])
        if np.any(own_parts(r)[-len(own) :] < RANK_TOLERANCE):
            centred = f"{spline[:-1]}, constraints='center')"
            raise ValueError(
                f"the columns of {spline} add up to one in every row, and the formula has a "
                f"constant besides, so that they cannot all be estimated; write {centred}, a "
                "spline without the constant"
            )
