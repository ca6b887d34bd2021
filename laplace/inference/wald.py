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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from laplace.arguments import Array, common_index, number, plain_words, quoted, shown
from laplace.later import is_series, pd, special
from laplace.rank import RANK_TOLERANCE, own_parts
from laplace.tables import as_frame

# A name of a column that text cannot tell from a number.
NUMERAL = re.compile(r"\d+(\.\d*)?")


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


def wald_test(
    params: pd.Series, roots: Callable[[Array], Array], r_matrix: Any, degrees: Array
) -> WaldTest:
    """Test that combinations of the coefficients have given values.

    Parameters
    ----------
    params : Series of length p
        The coefficients by name.
    roots : callable
        Returns, of combinations of the coefficients, a row each, a matrix B whose B'B is their
        covariance.
    r_matrix : str, mapping, table, array_like of shape (k, p), or matrix and values
        As formulaic's `LinearConstraints` reads them; what has labels is taken by them, and a name
        that is a key of a mapping is that of a coefficient first.
    degrees : ndarray of shape (p,)
        Degrees of freedom of the t distributions of the coefficients; infinite for normal ones.

    Returns
    -------
    WaldTest

    Raises
    ------
    TypeError, ValueError
        If the combinations cannot be read, are none, or one follows from others.
    """
    names = [str(name) for name in params.index]
    matrix, values = _read(r_matrix, names)
    if not len(matrix) or not np.all(np.isfinite(matrix)) or not np.all(np.isfinite(values)):
        raise ValueError("r_matrix must hold at least one combination, of finite numbers")
    spread = np.linalg.norm(roots(np.eye(len(names))), axis=0)
    spread = np.where(np.isfinite(spread), spread, 1.0)
    # coefficients of columns in small units are large, which makes no combination follow
    if _has_one_that_follows(matrix) and _has_one_that_follows(matrix * spread):
        raise ValueError(
            "r_matrix has a combination that is zero or follows from the others; leave it out"
        )
    difference = matrix @ params.to_numpy() - values
    triangle = np.asarray(np.linalg.qr(roots(matrix), mode="r"))
    statistic = float(np.sum(np.linalg.solve(triangle.T, difference) ** 2))
    k, denominator = len(matrix), float(np.min(degrees[np.any(matrix != 0.0, axis=0)]))
    if np.isinf(denominator):
        return WaldTest(statistic, k, float(special().chdtrc(k, statistic)))
    pvalue = float(special().fdtrc(k, denominator, statistic / k))
    return WaldTest(statistic / k, k, pvalue, denominator)


def _has_one_that_follows(matrix: Array) -> bool:
    """Whether a row is zero, or follows from the others."""
    length = np.linalg.norm(matrix, axis=1)
    rows = matrix / np.where(length > 0.0, length, 1.0)[:, None]
    triangle = np.asarray(np.linalg.qr(rows.T, mode="r"))
    return bool(np.any(own_parts(triangle) < RANK_TOLERANCE))


def _read(r_matrix: Any, names: list[str]) -> tuple[Array, Array]:
    """Return the combinations as a matrix, and their values."""
    if isinstance(r_matrix, Mapping):
        read = [_of_key(key, value, names) for key, value in r_matrix.items()]
        matrices = [np.zeros((0, len(names))), *(matrix for matrix, _ in read)]
        return np.concatenate(matrices), np.concatenate([np.zeros(0), *(of for _, of in read)])
    if isinstance(r_matrix, list) and r_matrix and all(isinstance(one, str) for one in r_matrix):
        r_matrix = ", ".join(r_matrix)
    if isinstance(r_matrix, str):
        return _by_formulaic(_written_out(r_matrix, names), names)
    if isinstance(r_matrix, tuple) and len(r_matrix) == 2:
        if not is_series(r_matrix[0]):  # whose index has the coefficients
            common_index(r_matrix=r_matrix[0], values=r_matrix[1])
        return _by_formulaic((_in_order(r_matrix[0], names), np.asarray(r_matrix[1])), names)
    return _by_formulaic(_in_order(r_matrix, names), names)


def _of_key(key: Any, value: Any, names: list[str]) -> tuple[Array, Array]:
    """Return what a mapping says of a coefficient, or of combinations that are written out."""
    wanted = number(f"r_matrix[{shown(key)}]", value)
    if str(key) in names:
        return np.eye(len(names))[[names.index(str(key))]], np.array([wanted])
    if not isinstance(key, str):
        raise ValueError(
            f"r_matrix names {shown(key)}, but the coefficients are {quoted(names)}; give one of "
            "them, or a combination as text"
        )
    matrix, values = _by_formulaic(_written_out(key, names), names)
    return matrix, values + wanted


def _by_formulaic(constraints: Any, names: list[str]) -> tuple[Array, Array]:
    """Return what formulaic reads."""
    from formulaic.utils.constraints import LinearConstraints

    try:
        read = LinearConstraints.from_spec(constraints, variable_names=names)
        matrix = np.asarray(read.constraint_matrix, dtype=float)
        return matrix, np.asarray(read.constraint_values, dtype=float)
    except Exception as error:
        raise ValueError(
            f"r_matrix cannot be read: {plain_words(error)}; the coefficients are {quoted(names)}; "
            "for all of a term use wald_test_terms(), and for tau test_tau()"
        ) from error


def _in_order(rows: Any, names: list[str]) -> Any:
    """Return rows of combinations as an array with a column a coefficient, in their order.

    What has labels is taken by them: a table by its columns; a Series, also one of a list, by its
    index.
    """
    if is_series(rows):
        rows = [rows]
    if hasattr(rows, "columns"):
        rows = as_frame(rows)
        rows = rows.iloc[:, _places(rows.columns, names, "columns")].to_numpy()
    elif isinstance(rows, list | tuple):
        rows = [_of_series(row, names) if is_series(row) else row for row in rows]
    if hasattr(rows, "constraint_matrix"):
        return rows  # formulaic's own
    if not isinstance(rows, list) and not hasattr(rows, "__array__"):
        raise TypeError(
            "r_matrix must say which combinations of the coefficients are tested, by a text such "
            f"as '{names[-1]} = 0', a mapping or a matrix, got {shown(rows)}"
        )
    try:
        matrix = np.atleast_2d(np.asarray(rows, dtype=float))
    except (TypeError, ValueError):
        raise ValueError(
            "r_matrix must hold numbers, in each row one for each of the coefficients, "
            f"{quoted(names)}"
        ) from None
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise ValueError(
            f"r_matrix must have a column for each of the {len(names)} coefficients, "
            f"{quoted(names)}, got shape {matrix.shape}"
        )
    return matrix


def _of_series(row: pd.Series, names: list[str]) -> Any:
    """Return a combination in the order of the coefficients; by position where it has no labels."""
    if isinstance(row.index, pd.RangeIndex) and len(row) == len(names):
        return row.to_numpy()
    return row.iloc[_places(row.index, names, "labels")].to_numpy()


def _places(labels: pd.Index[Any], names: list[str], what: str) -> list[int]:
    """Return where each coefficient is among labels; refuse others than those of all of them."""
    given = [str(label) for label in labels]
    if sorted(given) != sorted(names):
        raise ValueError(
            f"r_matrix has the {what} {quoted(list(labels))}, but the coefficients are "
            f"{quoted(names)}; give a number for each, 0 where it does not enter, or a mapping of "
            "some of them to the values that are tested"
        )
    return [given.index(name) for name in names]


def _written_out(text: str, names: list[str]) -> str:
    """Return combinations as formulaic reads them.

    Names of coefficients that are written as the summary prints them are put into backticks, and
    ``a = b = 0`` becomes ``a = b, b = 0``. A name that is a number, as of a column 1, is one where
    it stands alone on the left side; elsewhere it is the number.
    """
    special = sorted((name for name in names if not name.isidentifier()), key=len, reverse=True)
    numerals = [re.escape(name) for name in special if NUMERAL.fullmatch(name)]
    if numerals:
        text = re.sub(rf"(^|,)(\s*)({'|'.join(numerals)})(?=\s*(=|,|$))", r"\1\2`\3`", text)
    patterns = [_whole(name) for name in special if not NUMERAL.fullmatch(name)]
    if patterns:
        pattern = "|".join(["`[^`]*`", *patterns])
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


def _whole(name: str) -> str:
    """Return a pattern that finds a name, and not a part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w$", name) else ""
    return before + re.escape(name) + after


def _split(text: str, mark: str) -> list[str]:
    """Split a text at a mark that is in no backticks."""
    pieces = re.findall(rf"(?:`[^`]*`|[^`{mark}])+", text)
    return [piece.strip() for piece in pieces]


def wald_test_terms(
    params: pd.Series,
    roots: Callable[[Array], Array],
    terms: Mapping[str, list[str]],
    degrees: Array,
) -> pd.DataFrame:
    """Test each term: that all its coefficients are zero.

    Parameters
    ----------
    params : Series of length p
        The coefficients by name.
    roots : callable
        As in `wald_test`.
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
        test = wald_test(params, roots, matrix, degrees)
        rows[term] = {"statistic": test.statistic, "pvalue": test.pvalue, "df_constraint": test.df}
        if not np.isinf(test.df_denom):
            rows[term]["df_denom"] = test.df_denom
    table = pd.DataFrame.from_dict(rows, orient="index")
    return (
        table.rename_axis("term")
        if len(table)
        else pd.DataFrame(columns=["statistic", "pvalue", "df_constraint"])
    )
