"""Validated rows, sorted by group. Every bad input is caught here, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import (
    LARGEST_ENTRY,
    Array,
    RowNames,
    and_more,
    as_matrix,
    as_vector,
    check_finite,
    check_range,
    column_names,
    common_index,
    number,
    row_labels,
    same_in_rows,
    shown,
)
from laplace.families import (
    Bernoulli,
    Binomial,
    Family,
    Poisson,
    named,
    read_only,
    successes_of,
    whole,
)
from laplace.later import is_frame, pd
from laplace.plan import Plan, compiled
from laplace.tables import as_frame

# A mean square above this has lost nothing to underflow, and with a sum of squares below this no
# entry is beyond the largest.
LEAST_SQUARE = 1e-280
LARGEST_SQUARES = 1e300
# Rows are converted this many at a time where a product with X needs them in float64.
ROWS_AT_A_TIME = 65_536

EMPTY: Array = read_only(np.empty(0))
# What the log of a weight may leave of an offset that was not given, relative to its size.
ROUNDING_OF_OFFSET = 1e-13
MADE_AGAIN = ("labels", "rows", "largest", "trials")


@dataclass(frozen=True, eq=False)
class GroupedData:
    """Rows sorted by group; build one with `from_arrays`.

    Attributes
    ----------
    y : ndarray of shape (n,)
        Outcomes: 0 or 1, successes, or counts.
    X : ndarray of shape (n, p)
        Covariates, float64 or float32, row after row in memory.
    offset : ndarray of shape (n,)
        Known part of the linear predictor.
    family : Family
        Distribution of the outcomes.
    plan : Plan
        First row of each group, and how the rows are cut for the kernels.
    names : list of str
        Names of the p columns.
    index : pandas.Index or None
        Row labels in the user's order, where a pandas object carried them.
    columns : Columns
        What one pass over X found.
    weights : ndarray of shape (n,) or None
        How many rows each row stands for, where that was given. Then `y`, `offset` and the trials
        of `family` are those of all of them together.
    """

    y: Array
    X: Array
    offset: Array
    family: Family
    plan: Plan
    _labels: Any  # an index, or an array of whole numbers
    names: list[str]
    index: pd.Index[Any] | None
    columns: Columns
    weights: Array | None
    _order: NDArray[np.int64] | None  # None where the rows came sorted

    @classmethod
    def from_arrays(
        cls,
        y: Any,
        X: Any,
        groups: Any,
        *,
        family: Any = Bernoulli.name,
        trials: Any = None,
        offset: Any = None,
        weights: Any = None,
        names: Sequence[str] | None = None,
    ) -> GroupedData:
        """Check the rows and sort them by group; rows of one group keep their order.

        Rows that come sorted by group are not copied where `y` and `X` are float64 (or `X` is
        float32) and X lies row after row in memory; then the arrays must not be changed as long as
        a result that was made of them is used. Rows in another order, other types, DataFrames and
        X in Fortran's order are copied.

        Parameters
        ----------
        y : array_like of shape (n,)
            Outcomes: 0 or 1 (or booleans), successes, or counts.
        X : array_like or DataFrame of shape (n, p)
            Covariates, used as given: no intercept is added.
        groups : array_like of shape (n,)
            Group labels of any kind, in any order: strings, integers, a pandas categorical, tuples
            in a list.
        family : {"bernoulli", "binomial", "poisson"}
            Distribution of the outcomes; binomial outcomes that are 0 or 1 need no trials.
        trials : int or array_like of shape (n,), optional
            Numbers of trials, for binomial outcomes.
        offset : array_like of shape (n,), optional
            Added to the linear predictor.
        weights : array_like of shape (n,), optional
            How many rows of its group each row stands for; of proportions, numbers of trials.
        names : sequence of str, optional
            Names of the columns of X; by default a DataFrame's own, or x0, x1, ...

        Raises
        ------
        TypeError
            If an argument holds text or other objects where numbers are needed.
        ValueError
            If an argument has the wrong shape or length, is empty, holds NaN or infinity, or if
            pandas arguments disagree in their index.
        """
        index = common_index(y=y, X=X, groups=groups, offset=offset, trials=trials, weights=weights)
        called = RowNames(index)
        if np.ndim(X) == 1 and np.ndim(y) == 2:
            raise ValueError(
                "y must have one dimension and X two, but it is the other way round; the order is "
                "y, X, groups"
            )
        if hasattr(X, "columns") and not is_frame(X):
            X = as_frame(X)
        matrix = as_matrix(X, called)
        n, p = matrix.shape
        titles = column_names(X, names, p)
        if n == 0:
            raise ValueError("X has no rows: at least one row of data is needed")
        if p == 0:
            raise ValueError("X has no columns: give at least one, for instance np.ones((n, 1))")
        outcome = as_vector("y", y, n, rows=called)
        if np.ndim(trials) == 0 and trials is not None:
            trials = np.full(n, number("trials", trials))
        if not isinstance(family, str):
            raise TypeError(
                f"family must be a name, such as {Bernoulli.name!r}, got {shown(family)}"
            )
        counts = None if trials is None else as_vector("trials", trials, n, rows=called)
        times = None if weights is None else as_vector("weights", weights, n, rows=called)
        if family == Binomial.name and counts is None:
            zero_one = bool(np.all((outcome == 0) | (outcome == 1)))
            if times is not None and np.all((outcome >= 0) & (outcome <= 1)):
                whole_times = whole(times)
                if not zero_one or np.all(whole_times == np.floor(whole_times)):
                    counts, times = whole_times, None
                    outcome = successes_of(outcome, counts, called)
            if counts is None and zero_one:
                family = Bernoulli.name  # which is what others call binomial, too
        if family != Bernoulli.name:
            outcome = whole(outcome)
        distribution = named(family, counts, called)
        distribution.check(outcome, called)
        shift = None if offset is None else as_vector("offset", offset, n, rows=called)
        if shift is not None and (largest := float(np.max(np.abs(shift)))) > LARGEST_ENTRY:
            raise ValueError(
                f"offset has a largest value of {largest:.3g}; it must be at most {LARGEST_ENTRY:g}"
            )

        if times is not None:
            _check_weights(times, called)
            if counts is not None and np.array_equal(times, counts) and np.any(counts != 1.0):
                raise ValueError(
                    "weights are the same as the trials, which are counted already; leave weights "
                    "out: they say how many rows a row stands for"
                )
            outcome, added, distribution = distribution.repeated(outcome, times)
            if np.any(added):
                shift = added if shift is None else shift + added

        order, starts, labels = _sort(groups, n, called)
        rows = np.require(matrix, requirements=["C", "A"])
        if order is not None:
            rows, outcome = np.take(rows, order, axis=0), outcome[order]
            shift = None if shift is None else shift[order]
            times = None if times is None else times[order]
        plan = Plan(starts)
        columns = Columns.of(plan, rows)
        if not columns.plain:
            check_finite("X", matrix, titles, called)
            check_range(matrix, titles)
        return cls(
            read_only(np.ascontiguousarray(outcome)),
            read_only(rows),
            same_in_rows(0.0, n) if shift is None else read_only(np.ascontiguousarray(shift)),
            distribution.rows(slice(None) if order is None else order),
            plan,
            labels,
            titles,
            index,
            columns,
            None if times is None else read_only(np.ascontiguousarray(times)),
            order,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again and is large: also a number that is written n times."""
        state = {name: value for name, value in self.__dict__.items() if name not in MADE_AGAIN}
        return state if self.has_offset else {**state, "offset": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the rows read-only again, as the kernels are compiled for them."""
        offset = state["offset"]
        rows = {
            "y": read_only(state["y"]),
            "X": read_only(state["X"]),
            "offset": same_in_rows(0.0, len(state["y"])) if offset is None else read_only(offset),
        }
        self.__dict__.update(state, **rows)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of columns of X."""
        return int(self.X.shape[1])

    @property
    def m(self) -> int:
        """Number of groups."""
        return self.plan.m

    @cached_property
    def labels(self) -> pd.Index[Any]:
        """Group labels as the user gave them; length m."""
        labels: pd.Index[Any] = pd.Index(self._labels)
        return labels

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each group; shape (m,)."""
        return self.plan.starts[:-1]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of rows of each group; shape (m,)."""
        return np.diff(self.plan.starts)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Position of each row's group in `labels`; never decreasing; shape (n,)."""
        return np.repeat(np.arange(self.m), self.sizes)

    @property
    def order(self) -> NDArray[np.int64]:
        """The user's row number of each sorted row; shape (n,)."""
        return np.arange(self.n) if self._order is None else self._order

    def as_given(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return what there is for each row in the order in which the rows were given."""
        result = np.empty_like(rows)
        result[self.order] = rows
        return result

    @cached_property
    def constant(self) -> float:
        """Part of the log-likelihood that depends on no parameter."""
        return self.family.constant(self.y)

    @cached_property
    def rows(self) -> Any:
        """The rows as the kernels take them."""
        return compiled().Rows(
            self.plan.starts,
            self.X,
            self.y,
            self.offset if self.has_offset else EMPTY,
            read_only(getattr(self.family, "trials", EMPTY)),
            self.family.name == Poisson.name,
        )

    @cached_property
    def largest(self) -> Array:
        """Largest value that each outcome could have had; shape (n,)."""
        return self.family.largest(self.y)

    def sum_by_group(self, rows: Array) -> Array:
        """Sum an array of n rows over the rows of each group; shape (m, ...)."""
        return np.asarray(np.add.reduceat(rows, self.starts, axis=0))

    def products(self, rows: Array) -> Array:
        """Return X' times a number a row; shape (p,)."""
        total = np.zeros(self.p)
        for first in range(0, self.n, ROWS_AT_A_TIME):
            part = slice(first, first + ROWS_AT_A_TIME)
            total += rows[part] @ np.asarray(self.X[part], dtype=float)
        return total

    def with_columns(self, X: Array) -> GroupedData:
        """Return the same rows with other columns, as many as before."""
        rows = read_only(np.ascontiguousarray(X, dtype=float))
        return replace(self, X=rows, columns=Columns.of(self.plan, rows))

    def with_outcomes(self, y: Array) -> GroupedData:
        """Return the same rows with other outcomes, which the family has."""
        return replace(self, y=read_only(np.ascontiguousarray(y, dtype=float)))

    def some(self, groups: NDArray[np.intp], rows: int) -> GroupedData:
        """Return some groups with at most so many of their rows each, evenly spaced."""
        sizes = np.minimum(self.sizes[groups], rows)
        starts = np.append(0, np.cumsum(sizes)).astype(np.int64)
        place = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        within = (place * np.repeat(self.sizes[groups], sizes)) // np.repeat(sizes, sizes)
        at = np.repeat(self.starts[groups], sizes) + within
        plan, X = Plan(starts), read_only(self.X[at])
        return replace(
            self,
            y=read_only(self.y[at]),
            X=X,
            offset=same_in_rows(0.0, len(at))
            if not self.has_offset
            else read_only(self.offset[at]),
            family=self.family.rows(at),
            plan=plan,
            _labels=self.labels[groups],
            index=None,
            columns=Columns.of(plan, X),
            weights=None if self.weights is None else read_only(self.weights[at]),
            _order=None,
        )

    @property
    def has_offset(self) -> bool:
        """Whether an offset was given; without one, it is a single zero that all rows share."""
        return self.offset.strides != (0,)

    @cached_property
    def zero_one(self) -> bool:
        """Whether every row is a single trial, 0 or 1."""
        most = self.largest[:1] if _is_one_number(self.largest) else self.largest
        return bool((most == 1.0).all())

    @cached_property
    def mixed_groups(self) -> int:
        """Number of groups that have both outcomes; of counts, number of groups that have any.

        These are the groups that bound the standard deviation of the random intercepts.
        """
        total = self.sum_by_group(self.y)
        largest = self.largest
        most = largest[0] * self.sizes if _is_one_number(largest) else self.sum_by_group(largest)
        return int(np.count_nonzero((total > 0.0) & (total < most)))

    @cached_property
    def trials(self) -> Array:
        """Number of trials of each row; counts without a bound are one each; shape (n,)."""
        if np.isfinite(self.largest[0]):
            return self.largest
        return same_in_rows(1.0, self.n)

    @property
    def nobs(self) -> float:
        """Number of rows, or of those that the rows stand for."""
        return float(self.n if self.weights is None else np.sum(self.weights))

    @property
    def given_offset(self) -> Array:
        """Known part of the linear predictor of a single row; shape (n,)."""
        if self.weights is None or self.family.name != Poisson.name:
            return self.offset
        return self.offset - np.log(self.weights)

    @property
    def has_given_offset(self) -> bool:
        """Whether an offset was given, besides what weights of counts add to it."""
        if self.weights is None or self.family.name != Poisson.name:
            return self.has_offset
        scale = 1.0 + float(np.max(np.abs(self.offset)))
        return bool(np.max(np.abs(self.given_offset)) > ROUNDING_OF_OFFSET * scale)

    @property
    def multiplicity(self) -> Array:
        """Trials of each row, or how many counts it stands for; shape (n,)."""
        if self.weights is None or self.family.name != Poisson.name:
            return self.trials
        return self.weights

    @cached_property
    def column_sizes(self) -> tuple[Array, Array]:
        """Unit of each column of X, and the sum of its squares in that unit; shapes (p,)."""
        if self.columns.plain:
            return np.sqrt(self.columns.gram.diagonal()), np.ones(self.p)
        largest = np.asarray(np.abs(self.X).max(axis=0), dtype=float)
        largest[largest == 0.0] = 1.0  # taken out first, so that squares cannot overflow
        return largest, np.sum((self.X / largest) ** 2, axis=0)


def _check_weights(weights: Array, called: RowNames) -> None:
    """Refuse numbers of rows that are not above zero."""
    wrong = np.flatnonzero(weights <= 0.0)
    if wrong.size:
        raise ValueError(
            f"weights must be above 0, got {weights[wrong[0]]:g} in {called(wrong[0])}"
            f"{and_more(wrong)}: they say how many rows a row stands for; leave such rows out"
        )


def _is_one_number(rows: Array) -> bool:
    """Whether an array holds the same number for all rows, and takes no memory."""
    return rows.strides == (0,)


@dataclass(frozen=True, eq=False)
class Columns:
    """What one pass over the columns of X found.

    Attributes
    ----------
    gram : ndarray of shape (p, p)
        X'X.
    sums : ndarray of shape (p,)
        Sum of each column.
    plain : bool
        Whether the squares tell all that is to be known: every entry is finite, no column is zero,
        and none is so large or small that its squares lose digits.
    """

    gram: Array
    sums: Array
    plain: bool

    @classmethod
    def of(cls, plan: Plan, X: Array) -> Columns:
        """Read X once."""
        kernels = compiled()
        p, slabs = X.shape[1], plan.count
        grams, sums = np.zeros((slabs, p, p)), np.zeros((slabs, p))
        plan.run(kernels.look_through, plan.starts, X, grams, sums, work=X.size)
        lower = np.add.reduce(grams, axis=0)  # zero above its diagonal
        squares = lower.diagonal()
        gram = lower + lower.T
        gram.flat[:: p + 1] = squares
        plain = bool(squares.min() > LEAST_SQUARE * len(X) and squares.max() < LARGEST_SQUARES)
        return cls(gram, np.add.reduce(sums, axis=0), plain)


def _sort(
    groups: Any, n: int, called: RowNames
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64], Any]:
    """Return the order that sorts the rows by group, the first row of each group, and the labels.

    The order is None where the rows are sorted; the first rows end with the number of rows.
    """
    if _are_whole_numbers(groups) and groups.shape == (n,):
        values: Any = groups  # among which none is missing
    else:
        values = row_labels(groups, n, called)
        if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iu":
            values = values.to_numpy()
    if isinstance(values, np.ndarray):
        if (values[1:] >= values[:-1]).all():
            starts = _starts(values)
            return None, starts, values[starts[:-1]]
        codes, labels = _code_whole_numbers(values)
    else:
        codes, labels = pd.factorize(values, sort=True)
        if (codes[1:] >= codes[:-1]).all():
            return None, _starts(codes), labels
    kernels = compiled()
    order, starts = np.empty(n, np.int64), np.empty(len(labels) + 1, np.int64)
    kernels.sort_by_code(codes.astype(np.int64, copy=False), len(labels), order, starts)
    return order, starts, labels


def _are_whole_numbers(groups: Any) -> bool:
    """Whether labels are an array of whole numbers, and need no other form."""
    return type(groups) is np.ndarray and groups.dtype.kind in "iu" and groups.dtype.isnative


def _code_whole_numbers(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each number's position among the sorted distinct ones, and these."""
    lowest, highest = int(values.min()), int(values.max())
    if highest - lowest >= 4 * len(values):  # too sparse for a table
        return pd.factorize(values, sort=True)
    # so that no difference leaves its type's range
    wide = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64, copy=False)
    least = wide.dtype.type(lowest)
    shifted = (wide - least).astype(np.int64)
    there = np.bincount(shifted) > 0
    position = np.cumsum(there) - 1
    labels = np.flatnonzero(there).astype(wide.dtype) + least
    return position[shifted], labels.astype(values.dtype)


def _starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the places where a sorted array takes a new value, the first one and the end too."""
    changes = (values[1:] != values[:-1]).nonzero()[0]
    starts = np.empty(len(changes) + 2, np.int64)
    starts[0], starts[-1] = 0, len(values)
    np.add(changes, 1, out=starts[1:-1])
    return starts
