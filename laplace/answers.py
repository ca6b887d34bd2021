"""What places answer: plain records that add. What each discloses is said in its docstring.

If every group lies wholly at one place, the answers are exact sums of what one process computes;
only the order of the additions differs.

References
----------
Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983). Algorithms for computing the sample variance:
analysis and recommendations. The American Statistician 37, 242-247.
doi:10.1080/00031305.1983.10483115
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from laplace.arguments import Array


@dataclass(frozen=True, eq=False)
class Census:
    """Counts, and sums that no parameter enters: what one pass over the rows gives.

    It discloses all that its attributes say. For binary columns, X'X holds the count of every pair
    of levels.

    Attributes
    ----------
    names : tuple of str
        Names of the p columns.
    family : str
        Distribution of the outcomes.
    n, m : int
        Number of rows and of groups.
    nobs : float
        Number of rows that these stand for by their weights; without weights, n.
    smallest, largest : int
        Least and largest number of rows of a group.
    outcomes : float
        Sum of y.
    trials : float
        Sum of the trials; for outcomes without trials, the number of rows.
    single : bool
        Whether every row is a single trial.
    mixed_groups : int
        Number of groups that have both outcomes; of counts, number of groups that have any. These
        are the groups that bound the standard deviation of the random intercepts.
    has_offset : bool
        Whether there is an offset.
    gram : ndarray of shape (p, p)
        X'X.
    sums, with_offset : ndarray of shape (p,)
        X'1, and X' times the offset.
    plain : bool
        Whether the squares of X lose no digits: no column is zero, or has entries so large or small
        that their squares leave the range of floating point numbers.
    unit, squares : ndarray of shape (p,)
        A unit of each column, and the sum of its squares in that unit: a second form of the
        diagonal of X'X, without overflow.
    only_group : str
        Label of the group, where there is a single one.
    coding : tuple of str
        How categories became columns: a text for each, with its levels.
    stateful : tuple of str
        Transformations of a formula whose constants come from these rows.
    labels : tuple of str
        Keyed digests of the group labels, where a key was given.
    some_empty : bool
        Whether some rows are without trials.
    """

    names: tuple[str, ...]
    family: str
    n: int
    m: int
    nobs: float
    smallest: int
    largest: int
    outcomes: float
    trials: float
    single: bool
    mixed_groups: int
    has_offset: bool
    gram: Array
    sums: Array
    with_offset: Array
    plain: bool
    unit: Array
    squares: Array
    only_group: str
    coding: tuple[str, ...]
    stateful: tuple[str, ...]
    labels: tuple[str, ...]
    some_empty: bool = False

    @property
    def p(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def size_of_terms(self) -> float:
        """About what the large terms of a log-likelihood of counts add up to, before they cancel.

        Zero where every row is a single trial: nothing cancels there.
        """
        if self.single:
            return 0.0
        of_counts = abs(np.log(max(self.outcomes, 1.0) / self.n)) + 1.0
        return float(max(self.outcomes * of_counts, self.trials))

    @property
    def scale(self) -> Array:
        """Root mean square of each column of X, or 1 where a column is zero; shape (p,)."""
        if self.plain:
            return np.asarray(np.sqrt(np.diag(self.gram) / self.n))
        scale: Array = self.unit * np.sqrt(self.squares / self.n)
        scale[scale == 0.0] = 1.0
        return scale

    def __add__(self, other: Census) -> Census:
        """Add the census of another place, which has the same columns and family."""
        unit = np.maximum(self.unit, other.unit)
        squares = self.squares * (self.unit / unit) ** 2 + other.squares * (other.unit / unit) ** 2
        return Census(
            self.names,
            self.family,
            self.n + other.n,
            self.m + other.m,
            self.nobs + other.nobs,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.outcomes + other.outcomes,
            self.trials + other.trials,
            self.single and other.single,
            self.mixed_groups + other.mixed_groups,
            self.has_offset or other.has_offset,
            self.gram + other.gram,
            self.sums + other.sums,
            self.with_offset + other.with_offset,
            self.plain and other.plain,
            unit,
            squares,
            "",
            self.coding,
            self.stateful,
            self.labels + other.labels,
            self.some_empty or other.some_empty,
        )


@dataclass(frozen=True, eq=False)
class Triangle:
    """The upper triangle R of a QR decomposition of rows.

    It discloses R'R, the cross-products of the columns.

    Attributes
    ----------
    r : ndarray of shape (min(n, p), p)
    """

    r: Array

    def __add__(self, other: Triangle) -> Triangle:
        """Return the triangle of both, one on the other."""
        return Triangle(np.asarray(np.linalg.qr(np.vstack([self.r, other.r]), mode="r")))


@dataclass(frozen=True, eq=False)
class Known:
    """What the rows with trials know of the columns: the triangle R of their QR decomposition.

    It discloses R'R, their cross-products, and how many rows are without trials.

    Attributes
    ----------
    empty : int
        Number of rows without trials.
    r : ndarray of shape (k, p)
        With k = min(rows with trials, p).
    """

    empty: int
    r: Array

    def __add__(self, other: Known) -> Known:
        """Return that of both, one on the other."""
        both = Triangle(self.r) + Triangle(other.r)
        return Known(self.empty + other.empty, both.r)


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of each column over trials, for the ridge.

    It discloses them, and the least and largest entry of each column.

    Attributes
    ----------
    weight : float
        Number of trials; of outcomes without trials, number of rows.
    mean : ndarray of shape (p,)
    unit : ndarray of shape (p,)
        Largest size of an entry, or 1 where a column is zero.
    variance : ndarray of shape (p,)
        In that unit.
    least, most : ndarray of shape (p,)
        Least and largest entry.
    """

    weight: float
    mean: Array
    unit: Array
    variance: Array
    least: Array
    most: Array

    @property
    def deviations(self) -> Array:
        """Standard deviation of each column; exactly 0 where it is constant; shape (p,)."""
        result: Array = self.unit * np.sqrt(self.variance)
        result[self.most == self.least] = 0.0
        return result

    def __add__(self, other: Moments) -> Moments:
        """Return those of both."""
        weight = self.weight + other.weight
        one, two = self.weight / weight, other.weight / weight
        unit = np.maximum(self.unit, other.unit)
        apart = (other.mean - self.mean) / unit
        variance = (
            one * self.variance * (self.unit / unit) ** 2
            + two * other.variance * (other.unit / unit) ** 2
            + one * two * apart**2
        )
        return Moments(
            weight,
            one * self.mean + two * other.mean,
            unit,
            variance,
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
        )


# A margin, or a weight, is zero below this part of the largest. It is the tolerance of the solver
# of linear programs that finds directions.
MARGIN_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Margins:
    r"""What the rows say of a direction: the margins r'd of the signed rows r.

    A signed row is x where an outcome can only gain along x, and -x where it can only gain along
    -x. If no margin is negative and some are positive, the direction separates the outcomes. Least
    and most can spell out a row, along a direction that was made for it.

    Attributes
    ----------
    least, most : float
        Least and largest margin.
    positive, rows : int
        Number of margins above zero, but for rounding, and of all.
    """

    least: float
    most: float
    positive: int
    rows: int

    def __add__(self, other: Margins) -> Margins:
        """Return those of both."""
        return Margins(
            min(self.least, other.least),
            max(self.most, other.most),
            self.positive + other.positive,
            self.rows + other.rows,
        )


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction along which the outcomes of a single place are separated, with few columns.

    It discloses that they are, and how many rows are off the boundary.

    Attributes
    ----------
    weights : ndarray of shape (p,)
        Coefficients, the largest of size one; all zero where the outcomes are not separated.
    complete : bool
        Whether it classifies every row without a tie.
    positive : int
        Number of rows off the boundary.
    """

    weights: Array
    complete: bool
    positive: int


@dataclass(frozen=True, eq=False)
class Jeffreys:
    r"""Sums for the derivatives of :math:`\log\det(X'WX)`; see `laplace.penalties.Soft`.

    They disclose sums of products of columns, weighted by functions of the linear predictor.

    Attributes
    ----------
    first : ndarray of shape (p,)
        :math:`\sum_j (b'''/b'')_j h_j x_j`, with the leverages h.
    second : ndarray of shape (p, p)
        :math:`\sum_j (b''''/b'')_j h_j x_j x_j'`.
    products : ndarray of shape (p, p, p)
        :math:`A_k = \sum_j (b'''/b'')_j x_{jk} q_j q_j'`, with the rows q of
        :math:`W^{1/2} X R^{-1}`.
    """

    first: Array
    second: Array
    products: Array

    def __add__(self, other: Jeffreys) -> Jeffreys:
        """Add those of other rows."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Jeffreys(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True, eq=False)
class Digests:
    """Keyed digests of what two fits must share to be compared, a text for each place.

    They tell whether two places hold the same, and nothing else to somebody who cannot guess all
    rows of a place at once.

    Attributes
    ----------
    y, offset, trials, groups : tuple of str
        Of the outcomes, the offsets, the trials, and of which rows share a group; each in the order
        in which the rows were given.
    """

    y: tuple[str, ...]
    offset: tuple[str, ...]
    trials: tuple[str, ...]
    groups: tuple[str, ...]

    def __add__(self, other: Digests) -> Digests:
        """Put those of another place after them."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Digests(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True, eq=False)
class Sketch:
    """Random signed sums of the rows: what is left of X under a random map of few rows.

    Columns of X that are combinations of others are so in the sketch, and with certainty, but for
    chance, only then. It discloses as many sums of each column as it has rows.

    Attributes
    ----------
    sums : ndarray of shape (k, p)
    """

    sums: Array

    def __add__(self, other: Sketch) -> Sketch:
        """Add that of other rows."""
        return Sketch(self.sums + other.sums)


@dataclass(frozen=True, eq=False)
class Variation:
    """Whether each column of X varies within some group: that is all that it discloses."""

    within: tuple[bool, ...]

    def __add__(self, other: Variation) -> Variation:
        """Return whether a column varies at one of the places."""
        return Variation(tuple(map(bool.__or__, self.within, other.within)))


def numbers_of(answer: Any) -> int:
    """Return how many numbers an answer holds, entries that must be the same counted once.

    Square arrays are symmetric or triangular, but for those of a sketch. Texts and flags are no
    numbers, but for whether columns vary, which is all that such an answer says.

    Parameters
    ----------
    answer : record, number, text, ndarray or tuple
        An answer, or a part of one; also several answers in one message.

    Returns
    -------
    int
    """
    if isinstance(answer, np.ndarray):
        if answer.ndim > 1 and answer.shape[-1] == answer.shape[-2]:
            size = answer.shape[-1]
            # of each matrix in a stack
            return int(math.prod(answer.shape[:-2]) * size * (size + 1) // 2)
        return int(answer.size)
    if isinstance(answer, Sketch):
        return answer.sums.size
    if isinstance(answer, Variation):
        return len(answer.within)
    if is_dataclass(answer) and not isinstance(answer, type):
        return sum(numbers_of(getattr(answer, one.name)) for one in fields(answer))
    if isinstance(answer, tuple):
        return sum(map(numbers_of, answer))
    return 0 if isinstance(answer, str | bool) else 1
