r"""Residuals at the modes of the random intercepts.

With the mean :math:`\mu` of a row at the mode of its group, and v its variance, the residuals are
:math:`y - \mu` (response), that over :math:`\sqrt v` (Pearson), and the signed root of what the
row adds to the deviance, :math:`2 (\log f(y \mid y) - \log f(y \mid \mu))` (deviance).

References
----------
McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd edition, section 2.4. Chapman
and Hall.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.arguments import Array, shown
from laplace.later import pd, special

KINDS = ("response", "pearson", "deviance")


def check_kind(kind: Any) -> str:
    """Return a known kind of residuals.

    Raises
    ------
    ValueError
        If it is none.
    """
    if kind not in KINDS:
        names = ", ".join(map(repr, KINDS))
        raise ValueError(f"kind must be one of {names}, got {shown(kind)}")
    return str(kind)


def residuals(data: Any, eta: Array, kind: str) -> pd.Series:
    """Return the residuals of rows at a linear predictor.

    Parameters
    ----------
    data : GroupedData
        The rows.
    eta : ndarray of shape (n,)
        Linear predictor of the sorted rows, the offset and the mode of the group included.
    kind : {"response", "pearson", "deviance"}
        Which.

    Returns
    -------
    Series
        A row each, in the order in which they were given. As in R, the response of binomial
        outcomes is the share of successes, a row that stands for several has the response residual
        of one of them, and its others are those of all together. Rows without trials have residuals
        of zero.
    """
    family, y = data.family, data.y
    mean, variance = family.b_1(eta), family.b_2(eta)
    found = y - mean
    if kind == "response":
        found = found / np.where(data.multiplicity > 0.0, data.multiplicity, 1.0)
    if kind == "pearson":
        found = found / np.sqrt(np.where(data.largest > 0.0, variance, 1.0))
    if kind == "deviance":
        found = np.sign(found) * np.sqrt(2.0 * np.maximum(_lost(data, mean), 0.0))
    return pd.Series(data.as_given(found), index=data.index, name=f"{kind} residuals")


def _lost(data: Any, mean: Array) -> Array:
    """Return the log density at the outcome itself, minus that at the mean."""
    y, largest = data.y, data.largest
    xlogy = special().xlogy
    if not np.all(np.isfinite(largest)):  # counts
        return np.asarray(xlogy(y, y / mean) - (y - mean))
    some = largest > 0.0
    mean, largest = np.where(some, mean, 0.5), np.where(some, largest, 1.0)
    rest = np.where(some, largest - y, 0.0)
    return np.asarray(xlogy(y, y / mean) + xlogy(rest, rest / (largest - mean)))
