"""Orthogonal columns that span those of X, made of answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from laplace.answers import Census
from laplace.arguments import Array, listed, quoted, shown
from laplace.matrices import diagonals, factors
from laplace.questions import ALL, View
from laplace.rank import RANK_TOLERANCE, own_parts
from laplace.sites import Sites

# As long as more than this is its own, X'X tells a basis as well as X does: in squares, a column
# keeps more than half of its digits.
OWN_OF_GRAM = 1e-3
# A combination names the columns whose weight is above this.
NAMED_WEIGHT = 1e-8


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthogonal columns that span those of X; the fit searches for their coefficients.

    There, no column is nearly a combination of others, whatever the columns of X are, and the
    guards of the search mean the same for any unit. The columns themselves are only computed where
    rounding asks for it: elsewhere their coefficients are those of X, transformed.

    Attributes
    ----------
    triangle : ndarray of shape (p, p)
        Upper triangle R with X = Q R, where Q has orthogonal columns of unit mean square.
    rows : View
        The rows that it is a basis for, in the columns of X.
    computed : bool
        Whether questions are asked in the columns Q, as X'X alone does not tell them well.
    """

    triangle: Array
    rows: View
    computed: bool

    @cached_property
    def view(self) -> View:
        """The rows, in the columns in which questions are asked."""
        if not self.computed:
            return self.rows
        return View(self.rows.every, self.rows.rows, self.triangle)

    @cached_property
    def inverse(self) -> Array:
        """Inverse of the triangle, the derivative of beta in the coefficients; shape (p, p)."""
        return np.asarray(np.linalg.inv(self.triangle))

    @cached_property
    def inverse_with_tau(self) -> Array:
        """The inverse with a row and a column for log tau, which is left as it is."""
        return with_log_tau(self.inverse)

    def forward(self, beta: Array) -> Array:
        """Return the coefficients of the orthogonal columns."""
        return np.asarray(self.triangle.dot(beta))

    def back(self, coefficients: Array) -> Array:
        """Return the coefficients of the columns of X; also for columns of several vectors."""
        return np.asarray(self.inverse.dot(coefficients))


def orthogonal(sites: Sites, census: Census, rows: View) -> Basis:
    """Return an orthogonal basis of the columns of X; refuse columns that have none.

    Parameters
    ----------
    sites : Sites
        Where the rows are.
    census : Census
        Their answer.
    rows : View
        Which rows.

    Raises
    ------
    ValueError
        If some columns are combinations of others; the message names them.
    """
    root = np.sqrt(census.n)
    scale = census.scale * root
    # the length that the columns before it leave of a column is its diagonal entry
    triangle = _root(census.gram / np.outer(scale, scale))
    if triangle is not None and np.min(np.diag(triangle)) > OWN_OF_GRAM:
        return Basis(triangle * scale / root, rows, computed=False)
    r = sites.triangle(scale, rows)
    dependent = np.flatnonzero(own_parts(r) < RANK_TOLERANCE)
    if not dependent.size:
        return Basis(r * scale / root, rows, computed=True)
    names = census.names
    kept = np.setdiff1d(np.arange(census.p), dependent)
    clauses = []
    for j in dependent:
        weights = np.linalg.lstsq(r[:, kept], r[:, j], rcond=None)[0]
        others = [names[k] for k in kept[np.abs(weights) > NAMED_WEIGHT]]
        clauses.append(
            f"{shown(names[j])} is a linear combination of {quoted(others)}"
            if others
            else f"{shown(names[j])} is zero in every row"
        )
    raise ValueError(
        f"X has rank {kept.size} but {census.p} columns: "
        f"{listed(clauses, '; ', '; and {} more')}; "
        f"leave out {quoted([names[j] for j in dependent])}"
    )


def orthogonal_each(grams: Array, rows: Sequence[int]) -> list[Basis | None]:
    """Return the bases of the columns of many data sets, as `orthogonal` does.

    Parameters
    ----------
    grams : ndarray of shape (k, p, p)
        X'X of each, whose squares have lost no digits.
    rows : sequence of int
        Their numbers of rows.

    Returns
    -------
    list of Basis
        None where X'X alone does not tell it well.
    """
    n = np.asarray(rows)[:, None]
    root = np.sqrt(n)
    scale = np.sqrt(diagonals(grams) / n) * root
    lower = factors(grams / (scale[:, :, None] * scale[:, None, :]))
    enough = diagonals(lower).min(axis=1) > OWN_OF_GRAM
    triangles = lower.transpose(0, 2, 1) * scale[:, None, :] / root[:, :, None]
    return [
        Basis(triangle, ALL, computed=False) if told else None
        for triangle, told in zip(triangles, enough.tolist(), strict=True)
    ]


def with_log_tau(matrix: Array) -> Array:
    """Append a row and a column for log tau, which is left as it is."""
    q = len(matrix) + 1
    result = np.eye(q)
    result[:-1, :-1] = matrix
    return result


def _root(matrix: Array) -> Array | None:
    """Return the upper triangle R with R'R = matrix; None where it is not positive definite."""
    if not np.all(np.isfinite(matrix)):
        return None
    try:
        return np.asarray(np.linalg.cholesky(matrix).T)
    except np.linalg.LinAlgError:
        return None
