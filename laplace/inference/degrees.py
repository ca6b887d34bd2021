r"""Degrees of freedom of the t distributions of a restricted fit.

Of the p columns of X, q are constant within every group, the intercept included. What is known of
their coefficients comes from the m groups, so that m - q degrees of freedom are left for them; for
the other columns, :math:`n - m - (p - q)` are. That is the rule of nlme (Pinheiro and Bates 2000,
section 2.4.2) with one level of groups. n counts 0/1 outcomes, rows or trials, so that the same
outcomes have the same intervals however they are put in rows; of counts, it is the number of rows,
or of those that they stand for.
The rule goes by the columns as they are given: a column that varies a little within groups and much
between them is one of the others.

References
----------
Pinheiro, J. C. and Bates, D. M. (2000). Mixed-Effects Models in S and S-PLUS. Springer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laplace.answers import Census
from laplace.arguments import Array, quoted
from laplace.families import Poisson
from laplace.later import special


def degrees_of_freedom(census: Census, between: NDArray[np.bool_]) -> Array:
    """Return the degrees of freedom of each coefficient; NaN where none are left.

    Parameters
    ----------
    census : Census
        Counts.
    between : ndarray of bool, shape (p,)
        Which columns are constant within groups.

    Returns
    -------
    ndarray of shape (p,)
    """
    q = int(np.sum(between))
    n = census.nobs if census.family == Poisson.name else census.trials
    degrees = np.where(between, census.m - q, n - census.m - (census.p - q))
    return np.where(degrees >= 1, degrees, np.nan)


def describe(census: Census, between: NDArray[np.bool_]) -> str:
    """Say what the degrees of freedom are, and which coefficients have none left."""
    degrees = degrees_of_freedom(census, between)
    q, parts = int(np.sum(between)), []
    no_groups_left = (
        f"as many columns are constant within groups as there are groups, {q}, so that they have "
        "no intervals and no tests, and nothing is left from which to estimate tau"
    )
    of_rows = "n - m - (p - q)"
    for of, rule, none_left in (
        (between, "m - q", no_groups_left),
        (~between, of_rows, f"{of_rows} is not above zero"),
    ):
        names = quoted([name for name, one in zip(census.names, of, strict=True) if one])
        if not names:
            continue
        value = degrees[of][0]
        if np.isfinite(value):
            parts.append(f"{rule} = {value:.0f} for {names}")
        else:
            parts.append(f"none for {names}: {none_left}")
    return "; ".join(parts)


def quantile(degrees: Array, alpha: float) -> Array:
    """Return the two-sided quantile of the t distribution; NaN without degrees of freedom."""
    return np.asarray(-special().stdtrit(degrees, alpha / 2.0))


def pvalue(degrees: Array, t: Array) -> Array:
    """Return the two-sided p-value by the t distribution; NaN without degrees of freedom."""
    return np.asarray(2.0 * special().stdtr(degrees, -np.abs(t)))
