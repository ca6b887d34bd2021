"""Validated rows, sorted by group. Every bad input is caught here, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from laplace.families import Array, Bernoulli, Family, and_more, named, read_only
from laplace.plan import Plan

# A column is called a combination of others when this little of its length is its own.
RANK_TOLERANCE = 1e-10
# As long as more than this is its own, X'X tells a basis as well as X does: in squares, a column
# keeps more than half of its digits.
OWN_OF_GRAM = 1e-3
# The linear programming solver's own tolerance: a margin below it is zero.
SOLVER_TOLERANCE = 1e-7
# Beyond these, squares of a column's entries leave the range of floating point numbers.
LARGEST_ENTRY = 1e151
SMALLEST_ENTRY = 1e-151
# A mean square above this has lost nothing to underflow, and with a sum of squares below this no
# entry is beyond the largest.
LEAST_SQUARE = 1e-280
LARGEST_SQUARES = 1e300
# Here tau squared and its inverse are exact enough, next to the information of a group, that no
# formula overflows or cancels. Nobody's random intercepts are outside.
SMALLEST_TAU = 1e-8
LARGEST_TAU = 1e6
# Rows are converted this many at a time where a product with X needs them in float64.
ROWS_AT_A_TIME = 65_536

EMPTY: Array = read_only(np.empty(0))


class SeparationError(ValueError):
    """The rows are separated by X, so that no finite maximum exists.

    Attributes
    ----------
    direction : pandas.Series
        Coefficients, one a column of X, along which the likelihood never falls.
    complete : bool
        True where the direction classifies every row without a tie.
    """

    def __init__(self, message: str, direction: pd.Series, complete: bool) -> None:
        super().__init__(message)
        self.direction = direction
        self.complete = complete

    def __reduce__(self) -> tuple[type[SeparationError], tuple[str, pd.Series, bool]]:
        """Pickle all arguments, so that the error can come back from another process."""
        return type(self), (str(self), self.direction, self.complete)


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
    labels : pandas.Index of length m
        Group labels as the user gave them.
    names : list of str
        Names of the p columns.
    index : pandas.Index or None
        Row labels in the user's order, where a pandas object carried them.
    columns : Columns
        What one pass over X found.
    """

    y: Array
    X: Array
    offset: Array
    family: Family
    plan: Plan
    labels: pd.Index[Any]
    names: list[str]
    index: pd.Index[Any] | None
    columns: Columns
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
            Distribution of the outcomes.
        trials : int or array_like of shape (n,), optional
            Numbers of trials, for binomial outcomes.
        offset : array_like of shape (n,), optional
            Added to the linear predictor.
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
        index = common_index(y=y, X=X, groups=groups, offset=offset, trials=trials)
        matrix = as_matrix(X)
        n, p = matrix.shape
        column_names = _column_names(X, names, p)
        if n == 0:
            raise ValueError("X has no rows: at least one row of data is needed")
        if p == 0:
            raise ValueError("X has no columns: give at least one, for instance np.ones((n, 1))")
        outcome = as_vector("y", y, n)
        if np.ndim(trials) == 0 and trials is not None:
            trials = np.full(n, number("trials", trials))
        if not isinstance(family, str):
            raise TypeError(f"family must be a name, such as {Bernoulli.name!r}, got {family!r}")
        counts = None if trials is None else as_vector("trials", trials, n)
        distribution = named(family, counts)
        distribution.check(outcome)
        shift = None if offset is None else as_vector("offset", offset, n)
        if shift is not None and (largest := float(np.max(np.abs(shift)))) > LARGEST_ENTRY:
            raise ValueError(
                f"offset has a largest value of {largest:.3g}; it must be at most {LARGEST_ENTRY:g}"
            )

        order, starts, labels = _sort(groups, n)
        rows = np.require(matrix, requirements=["C", "A"])
        if order is not None:
            rows, outcome = np.take(rows, order, axis=0), outcome[order]
            shift = None if shift is None else shift[order]
        plan = Plan(starts)
        columns = Columns.of(plan, rows)
        if not columns.plain:
            check_finite("X", matrix, column_names)
            _check_range(matrix, column_names)
        return cls(
            read_only(np.ascontiguousarray(outcome)),
            read_only(rows),
            np.broadcast_to(0.0, n) if shift is None else read_only(np.ascontiguousarray(shift)),
            distribution.rows(slice(None) if order is None else order),
            plan,
            labels,
            column_names,
            index,
            columns,
            order,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out an offset that is a single zero: a pickle would write it out n times."""
        return self.__dict__ if self.has_offset else {**self.__dict__, "offset": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the rows read-only again, as the kernels are compiled for them."""
        offset = state["offset"]
        rows = {
            "y": read_only(state["y"]),
            "X": read_only(state["X"]),
            "offset": np.broadcast_to(0.0, len(state["y"]))
            if offset is None
            else read_only(offset),
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
        return len(self.labels)

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

    @cached_property
    def constant(self) -> float:
        """Part of the log-likelihood that depends on no parameter."""
        return self.family.constant(self.y)

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
            offset=np.broadcast_to(0.0, len(at))
            if not self.has_offset
            else read_only(self.offset[at]),
            family=self.family.rows(at),
            plan=plan,
            labels=self.labels[groups],
            index=None,
            columns=Columns.of(plan, X),
            _order=None,
        )

    @property
    def has_offset(self) -> bool:
        """Whether an offset was given; without one, it is a single zero that all rows share."""
        return self.offset.strides != (0,)

    @cached_property
    def zero_one(self) -> bool:
        """Whether every row is a single trial: 0 or 1."""
        return bool(np.all(self.family.largest(self.y) == 1.0))

    @cached_property
    def mixed_groups(self) -> int:
        """Number of groups that have both outcomes; of counts, number of groups that have any.

        These are the groups that bound the standard deviation of the random intercepts.
        """
        total = self.sum_by_group(self.y)
        most = self.sum_by_group(self.family.largest(self.y))
        return int(np.sum((total > 0.0) & (total < most)))

    @cached_property
    def column_scale(self) -> Array:
        """Root mean square of each column of X, or 1 where a column is zero; shape (p,)."""
        if self.columns.plain:
            return np.asarray(np.sqrt(np.diag(self.columns.gram) / self.n))
        largest = np.asarray(np.abs(self.X).max(axis=0), dtype=float)
        largest[largest == 0.0] = 1.0  # taken out first, so that squares cannot overflow
        scale: Array = largest * np.sqrt(np.mean((self.X / largest) ** 2, axis=0))
        scale[scale == 0.0] = 1.0
        return scale

    def check_estimable(self, *, tau_is_free: bool, any_outcome: bool = False) -> Basis:
        """Refuse data from which the parameters cannot be estimated; return a basis of X.

        Outcomes without variation pass where `any_outcome` says that a penalty bounds the estimates
        for them, too.

        Raises
        ------
        ValueError
            If y has no variation, X has columns that are combinations of others, or the standard
            deviation of the random intercepts is to be estimated from one group, or from 0/1
            outcomes of which no two are of one group.
        """
        reason = self.family.no_maximum(self.y)
        if reason is not None and not any_outcome:
            raise ValueError(
                f"{reason}: the likelihood has no finite maximum; "
                "rows with other outcomes are needed"
            )
        if tau_is_free and self.m < 2:
            raise ValueError(
                f"groups has one group only ({self.labels.tolist()[0]!r}): tau cannot be "
                "estimated from it; give a number, for instance tau=1"
            )
        basis = self._basis()
        if tau_is_free and self.m == self.n and self.zero_one:
            raise ValueError(
                "groups has one row in every group: with 0/1 outcomes nothing tells a random "
                "intercept from the outcome's own variation, so that tau cannot be estimated; "
                "give a number, for instance tau=1, or groups of several rows"
            )
        return basis

    def _basis(self) -> Basis:
        """Return an orthogonal basis of the columns of X; refuse columns that have none."""
        scale = self.column_scale * np.sqrt(self.n)
        # the length that the columns before it leave of a column is its diagonal entry
        triangle = _root(self.columns.gram / np.outer(scale, scale))
        if triangle is not None and np.min(np.diag(triangle)) > OWN_OF_GRAM:
            return Basis(self, triangle * scale / np.sqrt(self.n), None)
        scaled = self.X / scale
        q, r = np.linalg.qr(scaled)
        own = np.zeros(self.p)
        own[: len(r)] = np.abs(np.diag(r))
        dependent = np.flatnonzero(own < RANK_TOLERANCE)
        if not dependent.size:
            orthogonal = self.with_columns(q * np.sqrt(self.n))
            return Basis(self, r * scale / np.sqrt(self.n), orthogonal)
        kept = np.setdiff1d(np.arange(self.p), dependent)
        clauses = []
        for j in dependent:
            weights = np.linalg.lstsq(scaled[:, kept], scaled[:, j], rcond=None)[0]
            others = [self.names[k] for k in kept[np.abs(weights) > 1e-8]]
            clauses.append(
                f"{self.names[j]!r} is a linear combination of {_quoted(others)}"
                if others
                else f"{self.names[j]!r} is zero in every row"
            )
        raise ValueError(
            f"X has rank {kept.size} but {self.p} columns: {'; '.join(clauses)}; "
            f"leave out {_quoted([self.names[j] for j in dependent])}"
        )

    def check_separation(self, basis: Basis) -> None:
        """Refuse data whose outcomes a linear combination of the columns of X separates.

        Exact: a linear program looks for a direction d along which no row's likelihood falls and
        some rows' rise for ever (Albert and Anderson 1984); for 0/1 outcomes, (2 y - 1) x'd >= 0
        in every row and > 0 in some. It does so with or without random intercepts.

        Raises
        ------
        SeparationError
            If there is one. The message and the attribute `direction` name it.

        References
        ----------
        Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in
        logistic regression models. Biometrika 71, 1-10.
        """
        # the orthogonal basis decides: columns that are nearly combinations of others, as a year
        # beside a constant, leave margins in the columns of X that the solver takes for zero
        signed = self.family.directions(self.y, basis.rows.X)
        search = _widest_margin
        found = search(signed)
        complete = found is not None
        if found is None:
            search = _largest_total_margin
            found = search(signed)
        if found is None:
            return
        strict = int(np.sum(signed @ found > SOLVER_TOLERANCE))
        # the columns of X name it, where they can: their direction uses as few as it needs
        scale = self.column_scale

        def separates(weights: Array) -> bool:
            margins = signed @ basis.forward(weights / scale)
            margins = margins / np.abs(margins).max()
            return bool(np.min(margins) > (0.0 if complete else -SOLVER_TOLERANCE))

        weights = search(self.family.directions(self.y, self.X / scale))
        if weights is None or not separates(weights):
            weights = basis.back(found) * scale
        clean = np.where(np.abs(weights) > SOLVER_TOLERANCE * np.abs(weights).max(), weights, 0.0)
        weights = (clean if separates(clean) else weights) / scale
        direction = pd.Series(weights / np.abs(weights).max(), index=self.names, name="direction")
        used = direction[direction != 0.0]
        line = " + ".join(f"{weight:.4g}*{name}" for name, weight in used.items())
        line = line.replace("+ -", "- ")
        if self.family.name != Bernoulli.name:
            what = (
                f"X separates y: along {line} the likelihood of no row falls, and that of some "
                "rises for ever"
            )
        elif complete:
            what = (
                f"X separates y completely: {line} is positive in every row with y = 1 and "
                "negative in every row with y = 0"
            )
        else:
            what = (
                f"X separates y: {line} is never negative where y = 1 and never positive where "
                f"y = 0, and not zero in {strict} of {self.n} rows"
            )
        raise SeparationError(
            f"{what}; so no finite maximum of the likelihood exists. Leave out or merge "
            f"{_quoted(list(used.index))}, collect more rows, or add a penalty: {_remedies(self)}",
            direction,
            complete,
        )


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
        from laplace import kernels

        p, slabs = X.shape[1], plan.count
        grams, sums = np.zeros((slabs, p, p)), np.zeros((slabs, p))
        plan.run(kernels.look_through, plan.starts, X, grams, sums, work=X.size)
        lower = np.add.reduce(grams, axis=0)
        squares = lower.diagonal()
        gram = lower + np.tril(lower, -1).T
        plain = bool(np.all((squares > LEAST_SQUARE * len(X)) & (squares < LARGEST_SQUARES)))
        return cls(gram, np.add.reduce(sums, axis=0), plain)


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthogonal columns that span those of X; the fit searches for their coefficients.

    There, no column is nearly a combination of others, whatever the columns of X are, and the
    guards of the search mean the same for any unit. The columns themselves are only computed where
    rounding asks for it: elsewhere their coefficients are those of X, transformed.

    Attributes
    ----------
    data : GroupedData
        The rows, as given.
    triangle : ndarray of shape (p, p)
        Upper triangle R with X = Q R, where Q has orthogonal columns of unit mean square.
    computed : GroupedData or None
        The rows with the columns Q, where X'X alone does not tell them well.
    """

    data: GroupedData
    triangle: Array
    computed: GroupedData | None

    @cached_property
    def inverse(self) -> Array:
        """Inverse of the triangle: derivative of beta in the coefficients; shape (p, p)."""
        return np.asarray(np.linalg.inv(self.triangle))

    @cached_property
    def rows(self) -> GroupedData:
        """The rows with the columns Q."""
        return self.computed or self.data.with_columns(self.data.X @ self.inverse)

    def forward(self, beta: Array) -> Array:
        """Return the coefficients of the orthogonal columns."""
        return np.asarray(self.triangle @ beta)

    def back(self, coefficients: Array) -> Array:
        """Return the coefficients of the columns of X; also for columns of several vectors."""
        return np.asarray(self.inverse @ coefficients)


def _root(matrix: Array) -> Array | None:
    """Return the upper triangle R with R'R = matrix; None where it is not positive definite."""
    if not np.all(np.isfinite(matrix)):
        return None
    try:
        return np.asarray(np.linalg.cholesky(matrix).T)
    except np.linalg.LinAlgError:
        return None


def _remedies(data: GroupedData) -> str:
    """Name the penalties with which the rows of a SeparationError can be fitted."""
    ridge = "penalty='ridge' with a strength"
    bounded = np.all(np.isfinite(data.family.largest(data.y)))
    return f"penalty='soft', or {ridge}" if bounded else ridge


def _widest_margin(signed: Array) -> Array | None:
    """Return the direction whose smallest margin is largest; None where that is not positive."""
    n, p = signed.shape
    objective = np.append(np.zeros(p), -1.0)
    constraints = np.column_stack([-signed, np.ones(n)])  # margin of every row at least t
    return _direction(objective, constraints, p)


def _largest_total_margin(signed: Array) -> Array | None:
    """Return the direction of largest mean margin, none negative; None where all are zero."""
    return _direction(-signed.mean(axis=0), -signed, signed.shape[1])


def _direction(objective: Array, constraints: Array, p: int) -> Array | None:
    """Minimise the objective in a box; return the first p variables if it falls below zero."""
    from scipy.optimize import linprog

    result = linprog(objective, A_ub=constraints, b_ub=np.zeros(len(constraints)), bounds=(-1, 1))
    if result.x is None or result.fun is None:  # zero is feasible, so only the solver can fail
        raise ArithmeticError(f"the search for a separating direction failed: {result.message}")
    return np.asarray(result.x[:p]) if -result.fun > SOLVER_TOLERANCE else None


# Checks of one argument ------------------------------------------------------------------------


def number(name: str, value: Any, *, minimum: float | None = None) -> float:
    """Return `value` as a finite float that is not below `minimum`, or say what is wrong."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        result = float(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be finite, got a number beyond {np.finfo(float).max:.2g}"
        ) from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not np.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}")
    if minimum is not None and result < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, got {result:g}")
    return result


def standard_deviation(name: str, value: Any) -> float:
    """Return `value` as 0.0, or a standard deviation in the range that is computed with."""
    result = number(name, value, minimum=0.0)
    if result == 0.0:
        return 0.0  # also for -0.0
    if not SMALLEST_TAU <= result <= LARGEST_TAU:
        raise ValueError(
            f"{name} must be 0, or between {SMALLEST_TAU:g} and {LARGEST_TAU:g}, got {result:g}"
        )
    return result


def flag(name: str, value: Any) -> bool:
    """Return `value` as True or False, or say that it is neither."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def coefficients(beta: Any, names: list[str], *, named_columns: bool = False) -> Array:
    """Return `beta` as p finite numbers, or say what is wrong.

    A Series with labels of its own goes by them where the columns of X have names, too.
    """
    if named_columns and isinstance(beta, pd.Series) and not _unlabelled(beta.index):
        labels = [str(label) for label in beta.index]
        if sorted(labels) != sorted(names):
            raise ValueError(
                f"beta has the labels {labels}, but the columns of X are {names}; "
                "rename them, or pass an array to use them by position"
            )
        beta = beta.iloc[[labels.index(name) for name in names]]
    vector = as_vector("beta", beta, len(names), of="columns in X", check=False)
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ValueError(f"beta holds {vector[bad[0]]} for {names[bad[0]]!r}; it must be finite")
    return vector


def _unlabelled(index: pd.Index[Any]) -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def as_vector(
    name: str, values: Any, length: int, of: str = "rows in X", check: bool = True
) -> Array:
    """Return `values` as a finite vector with an entry for each row, or each column."""
    vector = _floats(name, values)
    if vector.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {vector.shape}")
    if len(vector) != length:
        raise ValueError(f"{name} has length {len(vector)}, but there are {length} {of}")
    if check:
        check_finite(name, vector)
    return vector


def as_matrix(X: Any) -> Array:
    """Return X as floats of two dimensions; float32 stays what it is."""
    if isinstance(X, pd.DataFrame):
        return (
            np.column_stack(
                [_floats(f"column {name!r} of X", X[name]) for name in X.columns]
                if X.columns.is_unique
                else [_floats(f"column {k} of X", X.iloc[:, k]) for k in range(X.shape[1])]
            )
            if X.shape[1]
            else np.empty(X.shape)
        )
    matrix = _floats("X", X, keep_single=True)
    if matrix.ndim != 2:
        hint = "; for a single covariate use X.reshape(-1, 1)" if matrix.ndim == 1 else ""
        raise ValueError(
            f"X must have two dimensions, rows and columns, got shape {matrix.shape}{hint}"
        )
    return matrix


def _floats(name: str, values: Any, keep_single: bool = False) -> Array:
    """Return `values` as float64; NaN and infinity pass, text and objects do not."""
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; use {name}.toarray()")
    _check_mask(name, values)
    try:
        if values is None:
            raise TypeError
        array = np.asarray(values)
        if array.dtype == object:
            array = _floats_of_objects(array)
        if array.dtype.kind not in "biuf":
            raise TypeError
        if keep_single and array.dtype == np.float32:
            return array
        return array.astype(np.float64, copy=False)
    except OverflowError:
        raise ValueError(
            f"{name} holds a number beyond {np.finfo(float).max:.2g}, the largest of floating point"
        ) from None
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must hold numbers only, got {_kind(values)}; "
            "encode text and categories as numbers first"
        ) from None


def _floats_of_objects(array: NDArray[Any]) -> Array:
    """Return objects as floats; pandas' NA becomes NaN, and is refused as such by the caller."""
    flat = array.ravel()
    if any(isinstance(value, str | bytes) for value in flat):  # even "1" is text
        raise TypeError
    extension = pd.array(flat)
    if getattr(extension.dtype, "kind", "O") not in "biufO":  # dates and durations
        raise TypeError
    return np.asarray(extension.to_numpy(dtype=float, na_value=np.nan)).reshape(array.shape)


def _check_mask(name: str, values: Any) -> None:
    """Refuse a masked array with a masked entry: NumPy would hand on what is under the mask."""
    if not isinstance(values, np.ma.MaskedArray):
        return
    masked = np.argwhere(np.ma.getmaskarray(values))
    if len(masked):
        where = f" in row {masked[0][0]}" if values.ndim else ""
        raise ValueError(
            f"{name} is masked{where}{and_more(masked)}; remove or impute such rows first"
        )


def _kind(values: Any) -> str:
    """Name what was given instead of numbers."""
    dtype = getattr(values, "dtype", None)
    if dtype is not None:
        return f"values of type {dtype}"
    return f"{type(values).__name__} {str(values)[:60]!r}"


def check_finite(name: str, array: Array, columns: list[str] | None = None) -> None:
    """Refuse NaN and infinity, naming the first place."""
    bad = np.argwhere(~np.isfinite(array))
    if not len(bad):
        return
    row = int(bad[0][0])
    where = f"row {row}" if columns is None else f"row {row}, column {columns[bad[0][1]]!r}"
    raise ValueError(
        f"{name} holds {array[tuple(bad[0])]} in {where}{and_more(bad)}; remove or impute such rows"
    )


def _check_range(matrix: Array, columns: list[str]) -> None:
    """Refuse columns whose squares overflow or underflow."""
    largest = np.maximum(matrix.max(axis=0), -matrix.min(axis=0))
    small = (largest > 0.0) & (largest < SMALLEST_ENTRY)
    wrong = np.flatnonzero(small | (largest > LARGEST_ENTRY))
    if wrong.size:
        raise ValueError(
            f"X has a largest value of {largest[wrong[0]]:.3g} in column {columns[wrong[0]]!r}; "
            f"it must be between {SMALLEST_ENTRY:g} and {LARGEST_ENTRY:g}: use another unit"
        )


def row_labels(groups: Any, n: int) -> pd.Index[Any]:
    """Return each row's group label; refuse labels that are missing."""
    _check_mask("groups", groups)
    labels_of_rows = as_labels(groups)
    if len(labels_of_rows) != n:
        raise ValueError(f"groups has length {len(labels_of_rows)}, but there are {n} rows in X")
    missing = np.flatnonzero(labels_of_rows.isna())
    if missing.size:
        raise ValueError(
            f"groups has no label in row {missing[0]}{and_more(missing)}; "
            "give every row a group, or remove such rows"
        )
    return labels_of_rows


def as_labels(groups: Any) -> pd.Index[Any]:
    """Return labels as an index; a tuple in a list is one label."""
    if isinstance(groups, list | tuple) and all(isinstance(label, tuple) for label in groups):
        return pd.Index(groups, dtype=object, tupleize_cols=False)
    try:
        dimensions = np.ndim(groups)
    except ValueError:  # lists of different lengths
        raise TypeError(
            f"groups must hold labels, got {_kind(groups)}; a list is no label, but a tuple is"
        ) from None
    if dimensions > 1:
        raise ValueError(
            f"groups must have one dimension, got shape {np.shape(groups)}; where several columns "
            "make a group, give a list of tuples, a tuple a row"
        )
    if dimensions == 0:
        raise TypeError(f"groups must be a list or array, a label a row, got {_kind(groups)}")
    dtype = getattr(groups, "dtype", None)
    if isinstance(dtype, np.dtype) and not dtype.isnative:  # which pandas cannot sort
        groups = np.asarray(groups).astype(dtype.newbyteorder("="))
    labels: pd.Index[Any] = pd.Index(groups)
    return labels


def _sort(groups: Any, n: int) -> tuple[NDArray[np.int64] | None, NDArray[np.int64], pd.Index[Any]]:
    """Return the order that sorts the rows by group, the first row of each group, and the labels.

    The order is None where the rows are sorted; the first rows end with the number of rows.
    """
    labels_of_rows = row_labels(groups, n)
    values = labels_of_rows.to_numpy()
    if isinstance(labels_of_rows.dtype, np.dtype) and values.dtype.kind in "iu":
        if np.all(values[1:] >= values[:-1]):
            starts = np.append(_changes(values), n)
            return None, starts, pd.Index(values[starts[:-1]])
        codes, names = _code_whole_numbers(values)
        labels = pd.Index(names)
    else:
        codes, labels = pd.factorize(labels_of_rows, sort=True)
        if np.all(codes[1:] >= codes[:-1]):
            return None, np.append(_changes(codes), n), pd.Index(labels)
    from laplace import kernels

    order, starts = np.empty(n, np.int64), np.empty(len(labels) + 1, np.int64)
    kernels.sort_by_code(codes.astype(np.int64, copy=False), len(labels), order, starts)
    return order, starts, pd.Index(labels)


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


def _changes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the places where a sorted array takes a new value, the first place included."""
    return np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1).astype(np.int64)


def _column_names(X: Any, names: Sequence[str] | None, p: int) -> list[str]:
    """Return the names of the columns: the given ones, a DataFrame's own, or x0, x1, ..."""
    if names is not None:
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence of column names, got the string {names!r}")
        if not isinstance(names, Sequence | np.ndarray | pd.Index | pd.Series) or isinstance(
            names, bytes | bytearray
        ):
            raise TypeError(
                f"names must be a sequence of column names, as a list, got {_kind(names)}"
            )
        result = [str(name) for name in names]
        if len(result) != p:
            raise ValueError(f"names has {len(result)} names, but X has {p} columns")
    elif isinstance(X, pd.DataFrame):
        result = [str(name) for name in X.columns]
    else:
        result = [f"x{k}" for k in range(p)]
    if len(set(result)) < p:
        twice = sorted({name for name in result if result.count(name) > 1})
        raise ValueError(f"the columns of X must have different names, but {_quoted(twice)} repeat")
    return result


def common_index(**arguments: Any) -> pd.Index[Any] | None:
    """Return the row labels that the pandas arguments share; refuse labels that differ."""
    first: tuple[str, pd.Index[Any]] | None = None
    for name, argument in arguments.items():
        if not isinstance(argument, pd.Series | pd.DataFrame):
            continue
        if first is None:
            first = name, argument.index
        elif len(argument.index) == len(first[1]) and not argument.index.equals(first[1]):
            raise ValueError(
                f"the index of {name} differs from that of {first[0]}: align their rows first, "
                "or pass arrays to use them by position"
            )
    return None if first is None else first[1]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
