"""Directions that separate outcomes, by linear programming: with few columns, where they can.

References
----------
Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in logistic
regression models. Biometrika 71, 1-10.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from laplace.answers import MARGIN_TOLERANCE, Direction
from laplace.arguments import Array

# So many rows are tried in the search for a direction with few columns.
ROWS_TRIED = 12


def separating(signed: Array, columns: Array, triangle: Array, scale: Array) -> Direction:
    """Return a direction that separates the rows; one of zeros where there is none.

    Parameters
    ----------
    signed : ndarray of shape (k, p)
        Signed rows of orthogonal columns: x where an outcome can only gain along x, and -x where it
        can only gain along -x.
    columns : ndarray of shape (k, p)
        The same of the columns of X / scale.
    triangle : ndarray of shape (p, p)
        Upper triangle R with X = Q R, where Q has the orthogonal columns.
    scale : ndarray of shape (p,)
        Units of the columns of X.
    """
    search = _widest_margin
    found = search(signed)
    complete = found is not None
    if found is None:
        search = _largest_total_margin
        found = search(signed)
    if found is None:
        return Direction(np.zeros(signed.shape[1]), False, 0)

    def separates(weights: Array) -> bool:
        margins = signed @ (triangle @ (weights / scale))
        margins = margins / np.abs(margins).max()
        return bool(np.min(margins) > (0.0 if complete else -MARGIN_TOLERANCE))

    # the columns of X name it, where they can: their direction uses as few as it needs
    weights = search(columns)
    if weights is None or not separates(weights):
        weights = np.asarray(np.linalg.inv(triangle) @ found) * scale
    weights = _without_rounding(weights, separates)
    if not complete:  # of several, as of several empty cells, one is named
        single = [_without_rounding(w, separates) for w in _single_directions(columns, weights)]
        weights = min([*filter(separates, single), weights], key=np.count_nonzero)
    margins = signed @ (triangle @ (weights / scale))
    strict = int(np.sum(margins > MARGIN_TOLERANCE * np.abs(margins).max()))
    weights = weights / scale
    return Direction(weights / np.abs(weights).max(), complete, strict)


def _widest_margin(signed: Array) -> Array | None:
    """Return the direction whose smallest margin is largest; None where that is not positive."""
    n, p = signed.shape
    objective = np.append(np.zeros(p), -1.0)
    constraints = np.column_stack([-signed, np.ones(n)])  # margin of every row at least t
    return _minimised(objective, constraints, p)


def _largest_total_margin(signed: Array) -> Array | None:
    """Return the direction of largest mean margin, none negative; None where all are zero."""
    return _minimised(-signed.mean(axis=0), -signed, signed.shape[1])


def _single_directions(signed: Array, weights: Array) -> list[Array]:
    """Return directions that separate as few rows as they can, each with a row that one separates.

    A direction that separates the rows of several cells is a sum of one for each.
    """
    from scipy.optimize import linprog

    rows = np.unique(signed[signed @ weights > MARGIN_TOLERANCE], axis=0)
    places = np.linspace(0, len(rows) - 1, min(len(rows), ROWS_TRIED)).astype(int)
    found = []
    for row in rows[np.unique(places)]:
        result = linprog(
            signed.sum(axis=0),
            A_ub=-signed,
            b_ub=np.zeros(len(signed)),
            A_eq=row[None, :],
            b_eq=[1.0],
            bounds=(None, None),
        )
        if result.x is not None:
            found.append(np.asarray(result.x))
    return found


def _without_rounding(weights: Array, separates: Callable[[Array], bool]) -> Array:
    """Return weights with zeros for what rounding alone brought in, if they separate as well."""
    largest = np.abs(weights).max()
    clean = np.where(np.abs(weights) > MARGIN_TOLERANCE * largest, weights, 0.0) / largest
    return np.asarray(clean if separates(clean) else weights / largest)


def _minimised(objective: Array, constraints: Array, p: int) -> Array | None:
    """Minimise the objective in a box; return the first p variables if it falls below zero."""
    from scipy.optimize import linprog

    result = linprog(objective, A_ub=constraints, b_ub=np.zeros(len(constraints)), bounds=(-1, 1))
    if result.x is None or result.fun is None:  # zero is feasible, so only the solver can fail
        raise ArithmeticError(f"the search for a separating direction failed: {result.message}")
    return np.asarray(result.x[:p]) if -result.fun > MARGIN_TOLERANCE else None
