"""Many data sets of the plainest kind, checked together.

What is plain, and right, is taken in here, with the same result as `GroupedData.from_arrays` and
`Site.census` have: 0/1 outcomes, columns that lie row after row in memory, and whole numbers for
groups that do not decrease. All else is checked one by one, where what is wrong is said in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from laplace.answers import Census
from laplace.arguments import column_names, same_in_rows
from laplace.families import BERNOULLI, Bernoulli, read_only
from laplace.grouped import LARGEST_SQUARES, LEAST_SQUARE, Columns, GroupedData
from laplace.later import pd
from laplace.many.stack import Stack
from laplace.matrices import diagonals
from laplace.plan import Plan, compiled
from laplace.site import Site


@dataclass(frozen=True, eq=False)
class TakenIn:
    """Data sets that were taken in together.

    Attributes
    ----------
    sites, censuses : list of Site, of Census
        Each of them, and its counts; None where it has to be checked by itself.
    stack : Stack
        The rows of all.
    """

    sites: list[Site | None]
    censuses: list[Census | None]
    stack: Stack


def is_plain(rows: Mapping[str, Any]) -> bool:
    """Return whether the arguments of a design are of the plain kind, as far as types tell."""
    y, X, groups = rows.get("y"), rows.get("X"), rows.get("groups")
    return (
        type(y) is type(X) is type(groups) is np.ndarray
        and X.ndim == 2
        and y.ndim == groups.ndim == 1
        and 0 < len(X) <= compiled().CHUNK
        and len(y) == len(groups) == len(X)
        and X.shape[1] > 0
        and X.dtype == np.float64
        and X.flags.c_contiguous
        and X.flags.aligned
        and y.dtype.kind in "biuf"
        and groups.dtype.kind in "iu"
        and groups.dtype.isnative
        and groups.dtype != np.uint64
        and rows.get("trials") is None
        and rows.get("offset") is None
        and rows.get("weights") is None
        and isinstance(family := rows.get("family", Bernoulli.name), str)
        and family == Bernoulli.name
    )


def take_in(rows: Sequence[Mapping[str, Any]], threads: int | None = None) -> TakenIn:
    """Check data sets of the plain kind that have as many columns.

    Parameters
    ----------
    rows : sequence of mapping
        Arguments of `GroupedData.from_arrays`, for which `is_plain` holds.
    threads : int, optional
        How many threads may be used; by default all.
    """
    sizes = np.array([len(of["X"]) for of in rows], np.int64)
    first = np.append(0, np.cumsum(sizes)).astype(np.int64)
    total, first = int(first[-1]), first[:-1]
    X = np.concatenate([of["X"] for of in rows])
    y = np.concatenate([of["y"] for of in rows], dtype=np.float64)
    labels = np.concatenate([of["groups"] for of in rows], dtype=np.int64)
    new, wrong = np.empty(total, bool), np.empty(total, bool)
    new[1:], wrong[1:] = labels[1:] != labels[:-1], labels[1:] < labels[:-1]
    new[first], wrong[first] = True, False
    wrong |= (y != 0.0) & (y != 1.0)
    good = ~np.logical_or.reduceat(wrong, first)

    begin = np.flatnonzero(new)
    groups = np.add.reduceat(new, first, dtype=np.int64)
    first_group = np.append(0, np.cumsum(groups)[:-1]).astype(np.int64)
    of_group = np.diff(np.append(begin, total))
    sums = np.add.reduceat(y, begin)
    mixed = np.add.reduceat((sums > 0.0) & (sums < of_group), first_group, dtype=np.int64)
    smallest = np.minimum.reduceat(of_group, first_group)
    largest = np.maximum.reduceat(of_group, first_group)
    # the first rows of the groups of each data set, and its number of rows
    starts = np.empty(len(begin) + len(rows), np.int64)
    at = np.arange(len(begin)) + np.repeat(np.arange(len(rows)), groups)
    starts[at] = begin - np.repeat(first, groups)
    ends = first_group + groups + np.arange(len(rows))
    starts[ends] = sizes

    stack = Stack.of_sorted(sizes, groups, starts, X, y, threads)
    lower, column_sums = stack.columns()
    squares = diagonals(lower)
    grams = lower + np.tril(lower, -1).transpose(0, 2, 1)
    known = (squares > LEAST_SQUARE * sizes[:, None]) & (squares < LARGEST_SQUARES)
    good &= known.all(axis=1)
    roots = np.sqrt(np.where(known, squares, 1.0))
    counts = np.array([sizes, groups, smallest, largest, mixed, ends]).T.tolist()
    outcomes = np.add.reduceat(y, first).tolist()
    ones, zeros = np.ones(X.shape[1]), np.zeros(X.shape[1])

    sites: list[Site | None] = [None] * len(rows)
    censuses: list[Census | None] = [None] * len(rows)
    shared = _Shared()
    for k in np.flatnonzero(good).tolist():
        n, m, fewest, most, both, end = counts[k]
        own = starts[end - m : end + 1]
        X_k, y_k, titles = rows[k]["X"], rows[k]["y"], shared.titles(rows[k])
        plan, index = shared.plan(own), shared.labels(rows[k]["groups"], own)
        columns = Columns(grams[k], column_sums[k], True)
        outcome = y_k if y_k.dtype == np.float64 else y_k.astype(np.float64)
        data = GroupedData(
            read_only(np.ascontiguousarray(outcome)),
            read_only(X_k),
            shared.nothing(n),
            BERNOULLI,
            plan,
            index,
            titles,
            None,
            columns,
            None,
            None,
        )
        sites[k] = Site(data)
        censuses[k] = Census(
            names=tuple(titles),
            family=Bernoulli.name,
            n=n,
            m=m,
            nobs=float(n),
            smallest=fewest,
            largest=most,
            outcomes=outcomes[k],
            trials=float(n),
            single=True,
            mixed_groups=both,
            has_offset=False,
            gram=grams[k],
            sums=column_sums[k],
            with_offset=zeros,
            plain=True,
            unit=roots[k],
            squares=ones,
            only_group=repr(index.tolist()[0]) if m == 1 else "",
            coding=(),
            stateful=(),
            labels=(),
        )
    return TakenIn(sites, censuses, stack)


class _Shared:
    """What data sets of the same sizes and labels share."""

    def __init__(self) -> None:
        self._plans: dict[bytes, Plan] = {}
        self._labels: dict[tuple[Any, bytes], pd.Index[Any]] = {}
        self._nothing: dict[int, Any] = {}
        self._titles: list[str] = []

    def titles(self, rows: Mapping[str, Any]) -> list[str]:
        """Return the names of the columns."""
        names = rows.get("names")
        if names is None and self._titles:
            return list(self._titles)
        titles = column_names(rows["X"], names, rows["X"].shape[1])
        if names is None:
            self._titles = titles
        return list(titles)

    def plan(self, starts: Any) -> Plan:
        """Return the plan of some groups."""
        key = starts.tobytes()
        if key not in self._plans:
            self._plans[key] = Plan(starts.copy())
        return self._plans[key]

    def labels(self, groups: Any, starts: Any) -> pd.Index[Any]:
        """Return the labels of the groups."""
        labels = groups[starts[:-1]]
        key = (labels.dtype, labels.tobytes())
        if key not in self._labels:
            self._labels[key] = pd.Index(labels)
        return self._labels[key]

    def nothing(self, rows: int) -> Any:
        """Return the offset where there is none."""
        if rows not in self._nothing:
            self._nothing[rows] = same_in_rows(0.0, rows)
        return self._nothing[rows]
