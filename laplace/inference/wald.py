r"""Wald tests of coefficients: :math:`(R\hat\beta - r)' (R V R')^{-1} (R\hat\beta - r)`.

Under the hypothesis :math:`R\beta = r` the statistic is, for many groups, chi-squared with as many
degrees of freedom as R has rows; V is the covariance matrix of the estimates. With ``reml=True``
the statistic over the number k of rows is compared with an F distribution with k degrees of freedom
and the least of those of the t distributions of the coefficients that enter.

References
----------
Wald, A. (1943). Tests of statistical hypotheses concerning several parameters when the number of
observations is large. Transactions of the American Mathematical Society 54, 426-482.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from laplace.arguments import Array, plain_words, quoted
from laplace.later import pd, special
from laplace.rank import RANK_TOLERANCE, own_parts


@dataclass(frozen=True)
class WaldTest:
    """A Wald test; the names are those of statsmodels.

    Attributes
    ----------
    statistic : float
        The quadratic form; with ``reml=True``, over the number of combinations.
    df : int
        Number of combinations that are tested together.
    pvalue : float
        Probability of a statistic at least as large, under the hypothesis; NaN where no degrees of
        freedom are left.
    df_denom : float
        Degrees of freedom of the denominator of F; infinite where the distribution is chi-squared.
    """

    statistic: float
    df: int
    pvalue: float
    df_denom: float = float("inf")

    def __str__(self) -> str:
        p = "p < 0.0001" if self.pvalue < 1e-4 else f"p = {self.pvalue:.4f}"
        if np.isinf(self.df_denom):
            return f"Wald test: chi2 = {self.statistic:.4f}, {p}, by chi2({self.df})"
        return f"Wald test: F = {self.statistic:.4f}, {p}, by F({self.df}, {self.df_denom:g})"

    __repr__ = __str__


def wald_test(params: pd.Series, covariance: Array, r_matrix: Any, degrees: Array) -> WaldTest:
    """Test that combinations of the coefficients have given values.

    Parameters
    ----------
    params : Series of length p
        The coefficients by name.
    covariance : ndarray of shape (p, p)
        Of the coefficients.
    r_matrix : str, mapping, array_like of shape (k, p), or matrix and values
        As formulaic's `LinearConstraints` reads them.
    degrees : ndarray of shape (p,)
        Degrees of freedom of the t distributions of the coefficients; infinite for normal ones.

    Returns
    -------
    WaldTest

    Raises
    ------
    ValueError
        If the combinations cannot be read, are none, or one follows from others.
    """
    names = [str(name) for name in params.index]
    matrix, values = _read(r_matrix, names)
    if not len(matrix) or not np.all(np.isfinite(matrix)) or not np.all(np.isfinite(values)):
        raise ValueError("r_matrix must hold at least one combination, of finite numbers")
    length = np.linalg.norm(matrix, axis=1)
    rows = matrix / np.where(length > 0.0, length, 1.0)[:, None]
    if np.any(own_parts(np.asarray(np.linalg.qr(rows.T, mode="r"))) < RANK_TOLERANCE):
        raise ValueError(
            "r_matrix has a combination that is zero or follows from the others; leave it out"
        )
    difference = matrix @ params.to_numpy() - values
    spread = matrix @ covariance @ matrix.T
    statistic = float(difference @ np.linalg.solve(spread, difference))
    k, denominator = len(matrix), float(np.min(degrees[np.any(matrix != 0.0, axis=0)]))
    if np.isinf(denominator):
        return WaldTest(statistic, k, float(special().chdtrc(k, statistic)))
    pvalue = float(special().fdtrc(k, denominator, statistic / k))
    return WaldTest(statistic / k, k, pvalue, denominator)


def _read(r_matrix: Any, names: list[str]) -> tuple[Array, Array]:
    """Return the combinations as a matrix, and their values."""
    from formulaic.utils.constraints import LinearConstraints

    if isinstance(r_matrix, pd.DataFrame):
        if sorted(map(str, r_matrix.columns)) != sorted(names):
            raise ValueError(
                f"r_matrix has the columns {quoted(list(r_matrix.columns))}, but the "
                f"coefficients are {quoted(names)}"
            )
        r_matrix = r_matrix.rename(columns=str)[names].to_numpy(dtype=float)
    if isinstance(r_matrix, list) and all(isinstance(one, str) for one in r_matrix):
        r_matrix = ", ".join(r_matrix)
    if isinstance(r_matrix, np.ndarray | list):
        r_matrix = np.atleast_2d(np.asarray(r_matrix))
        if r_matrix.ndim != 2 or r_matrix.shape[1] != len(names):
            raise ValueError(
                f"r_matrix must have a column for each of the {len(names)} coefficients, "
                f"{quoted(names)}, got shape {r_matrix.shape}"
            )
    if isinstance(r_matrix, str):
        r_matrix = _written_out(r_matrix, names)
    try:
        read = LinearConstraints.from_spec(r_matrix, variable_names=names)
        matrix = np.asarray(read.constraint_matrix, dtype=float)
        return matrix, np.asarray(read.constraint_values, dtype=float)
    except Exception as error:
        raise ValueError(
            f"r_matrix cannot be read: {plain_words(error)}; the coefficients are {quoted(names)}; "
            "for all of a term use wald_test_terms(), and for tau test_tau()"
        ) from error


def _written_out(text: str, names: list[str]) -> str:
    """Return combinations as formulaic reads them.

    Names of coefficients that are written as the summary prints them are put into backticks, and
    ``a = b = 0`` becomes ``a = b, b = 0``.
    """
    special = sorted((name for name in names if not name.isidentifier()), key=len, reverse=True)
    if special:
        pattern = "|".join(["`[^`]*`", *map(re.escape, special)])
        text = re.sub(pattern, lambda of: of[0] if of[0].startswith("`") else f"`{of[0]}`", text)
    # formulaic reads no exponents
    text = re.sub(
        r"(?<![\w.`])\d+\.?\d*[eE][-+]?\d+", lambda of: f"{float(of[0]):.20f}".rstrip("0"), text
    )
    parts = []
    for part in _split(text, ","):
        sides = _split(part, "=")
        parts += [" = ".join(pair) for pair in pairwise(sides)] if len(sides) > 2 else [part]
    # formulaic reads "= -" as one operator
    return re.sub(r"=\s*([-+])", r"= 0 \1", ", ".join(parts))


def _split(text: str, mark: str) -> list[str]:
    """Split a text at a mark that is in no backticks."""
    pieces = re.findall(rf"(?:`[^`]*`|[^`{mark}])+", text)
    return [piece.strip() for piece in pieces]


def wald_test_terms(
    params: pd.Series, covariance: Array, terms: Mapping[str, list[str]], degrees: Array
) -> pd.DataFrame:
    """Test each term: that all its coefficients are zero.

    Parameters
    ----------
    params : Series of length p
        The coefficients by name.
    covariance : ndarray of shape (p, p)
        Of the coefficients.
    terms : mapping
        Names of the coefficients by term, without those that are not to be tested.
    degrees : ndarray of shape (p,)
        As in `wald_test`.

    Returns
    -------
    DataFrame
        `statistic`, `pvalue` and `df_constraint`, and `df_denom` where F is used, a row a term.
    """
    names = [str(name) for name in params.index]
    rows = {}
    for term, columns in terms.items():
        matrix = np.eye(len(names))[[names.index(column) for column in columns]]
        test = wald_test(params, covariance, matrix, degrees)
        rows[term] = {"statistic": test.statistic, "pvalue": test.pvalue, "df_constraint": test.df}
        if not np.isinf(test.df_denom):
            rows[term]["df_denom"] = test.df_denom
    table = pd.DataFrame.from_dict(rows, orient="index")
    return (
        table.rename_axis("term")
        if len(table)
        else pd.DataFrame(columns=["statistic", "pvalue", "df_constraint"])
    )
