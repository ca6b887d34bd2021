"""The rows of many data sets in one place: evaluated in one compiled call, each at its own point.

What is computed of a data set is what `laplace.likelihood` computes, by the same kernels, and does
not depend on what else is in the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.families import Poisson, read_only
from laplace.grouped import EMPTY, GroupedData
from laplace.nodes import gauss_hermite
from laplace.plan import compiled, in_parts

Which = NDArray[np.intp]
Integers = NDArray[np.int64]


# Types of columns for which the kernels are loaded.
_LOADED: set[np.dtype[Any]] = set()
_LOADING = Lock()


class Stack:
    """Data sets with as many columns; make one with `of`, `of_outcomes` or `of_sorted`.

    Parameters
    ----------
    together : Together
        Their rows, as the kernels take them.
    constants : ndarray of shape (D,)
        Parts of their log-likelihoods that depend on no parameter.
    threads : int, optional
        How many threads may be used; by default all.
    """

    def __init__(self, together: Any, constants: Array, threads: int | None = None) -> None:
        self._together = together
        self._constants = constants
        self._threads = threads
        _load_kernels(together)
        rows = together.places.rows
        # about how many numbers of X are read for a data set
        self._work = int(rows.mean()) * together.X.shape[1] if len(rows) else 0

    @classmethod
    def of(cls, data: Sequence[GroupedData], threads: int | None = None) -> Stack:
        """Return the stack of some data sets, whose columns are of one type."""
        rows = np.array([d.n for d in data], np.int64)
        trials = [getattr(d.family, "trials", EMPTY) for d in data]
        tried = np.array([len(part) > 0 for part in trials])
        shifted = np.array([d.has_offset for d in data])
        together = _together(
            [d.plan.starts for d in data],
            [d.plan.slabs for d in data],
            [d.plan.blocks for d in data],
            (_first(rows), _first(rows), rows, rows * shifted, rows * tried),
            np.concatenate([d.X for d in data]),
            np.concatenate([d.y for d in data]),
            np.concatenate([d.offset for d in data]) if shifted.any() else EMPTY,
            _padded(trials, rows) if tried.any() else EMPTY,
            np.array([d.family.name == Poisson.name for d in data]),
        )
        return cls(together, np.array([d.constant for d in data]), threads)

    @classmethod
    def of_outcomes(cls, data: GroupedData, y: Array, threads: int | None = None) -> Stack:
        """Return the stack of data sets that differ in their outcomes alone; y is of shape (D, n).

        The rows of X are there once, for all.
        """
        count, n, plan = len(y), data.n, data.plan
        everyone = np.full(count, n, np.int64)
        trials = getattr(data.family, "trials", EMPTY)
        together = _together(
            [plan.starts],
            [plan.slabs],
            [plan.blocks],
            (
                np.arange(count) * n,
                np.zeros(count, np.int64),
                everyone,
                everyone * data.has_offset,
                everyone * (len(trials) > 0),
            ),
            data.X,
            np.ascontiguousarray(y).ravel(),
            np.tile(data.offset, count) if data.has_offset else EMPTY,
            np.tile(trials, count) if len(trials) else EMPTY,
            np.full(count, data.family.name == Poisson.name),
        )
        return cls(together, np.array([data.family.constant(one) for one in y]), threads)

    @classmethod
    def of_sorted(
        cls,
        rows: Integers,
        groups: Integers,
        starts: Integers,
        X: Array,
        y: Array,
        threads: int | None = None,
    ) -> Stack:
        """Return the stack of data sets of 0/1 outcomes that are one block each.

        Parameters
        ----------
        rows, groups : ndarray of int, shape (D,)
            Numbers of rows and of groups of each.
        starts : ndarray of int
            First row of each group, counted in its data set, and the number of rows of this.
        X, y : ndarray
            All rows.
        """
        count = len(rows)
        first, zero, pair = _first(rows), np.zeros(count, np.int64), 2 * np.arange(count)
        kernels = compiled()
        one = np.ones(count, np.int64)
        places = kernels.Places(
            first, first, rows, zero, zero, _first(groups + 1), groups, pair, one, pair, one
        )
        blocks = np.zeros(2 * count, np.int64)
        blocks[1::2] = groups
        slabs = np.tile(np.array([0, 1], np.int64), count)
        together = kernels.Together(
            places, starts, slabs, blocks, read_only(X), read_only(y), EMPTY, EMPTY,
            np.zeros(count, bool),
        )  # fmt: skip
        return cls(together, np.zeros(count), threads)

    def take(self, which: Which) -> Stack:
        """Return the stack of some of the data sets; their rows stay where they are."""
        together = self._together
        places = type(together.places)(*(place[which] for place in together.places))
        return Stack(
            together._replace(places=places, poisson=together.poisson[which]),
            self._constants[which],
            self._threads,
        )

    def columns(self) -> tuple[Array, Array]:
        """Return X'X (its lower triangle) and X'1 of each; shapes (D, p, p), (D, p)."""
        count, p = len(self._constants), self._together.X.shape[1]
        grams, sums = np.zeros((count, p, p)), np.zeros((count, p))
        look = compiled().look_through_each
        in_parts(
            look, count, self._together, grams, sums, work=count * self._work, most=self._threads
        )
        return grams, sums

    def at(self, which: Which, betas: Array, taus: Array, nodes: int) -> Stacked:
        """Evaluate some data sets with random intercepts.

        Where a mode was not found the value is infinite, and the derivatives are NaN.

        Parameters
        ----------
        which : ndarray of int, shape (k,)
            The data sets.
        betas, taus : ndarray of shapes (k, p), (k,)
            Parameters.
        nodes : int
            Number of quadrature nodes.
        """
        kernels = compiled()
        count, q = len(which), betas.shape[1] + 1
        sums = kernels.Sums(np.zeros(count), np.zeros((count, q)), np.zeros((count, q, q)))
        lost = np.zeros(count, np.int64)
        kind = kernels.LAPLACE if nodes == 1 else kernels.ADAPTIVE
        in_parts(
            kernels.evaluate_each,
            count,
            which,
            self._together,
            read_only(np.ascontiguousarray(betas)),
            taus,
            kernels.Rule(kind, *gauss_hermite(nodes)),
            sums,
            lost,
            work=count * self._work * nodes,
            most=self._threads,
        )
        values = sums.values + self._constants[which]
        some = lost > 0
        values[some] = np.inf  # which no log-likelihood is
        sums.gradients[some], sums.hessians[some] = np.nan, np.nan
        return Stacked(values, sums.gradients, sums.hessians)

    def without(self, which: Which, betas: Array) -> Stacked:
        """Evaluate some data sets without random intercepts."""
        kernels = compiled()
        count, p = betas.shape
        sums = kernels.Sums(np.zeros(count), np.zeros((count, p)), np.zeros((count, p, p)))
        spread = np.empty((count, 4))
        in_parts(
            kernels.evaluate_each_without,
            count,
            which,
            self._together,
            read_only(np.ascontiguousarray(betas)),
            sums,
            spread,
            work=count * self._work,
            most=self._threads,
        )
        values = sums.values + self._constants[which]
        return Stacked(values, sums.gradients, sums.hessians, spread)


def _load_kernels(together: Any) -> None:
    """Load the kernels of one data set before those that call them.

    The code of these holds a copy of the others, which may differ in its last digits; of all copies
    that a process has, the one is used that was loaded first.
    """
    with _LOADING:
        if together.X.dtype not in _LOADED:
            _call_for_no_rows(together)
            _LOADED.add(together.X.dtype)


def _call_for_no_rows(together: Any) -> None:
    """Call the kernels of one data set with the types of some rows, but for none of them."""
    kernels, X = compiled(), together.X
    p = X.shape[1]
    none, zeros, beta = np.zeros(1, np.int64), np.zeros(0), read_only(np.zeros(p))
    rows = kernels.Rows(
        together.starts, X, together.y, together.offset, together.trials, bool(together.poisson[0])
    )
    sums = kernels.Sums(zeros, np.zeros((0, p + 1)), np.zeros((0, p + 1, p + 1)))
    rule = kernels.Rule(kernels.LAPLACE, *gauss_hermite(1))
    modes = kernels.Modes(zeros, zeros, none)
    kernels.evaluate(0, 0, none, none, rows, beta, 1.0, rule, modes, sums)
    kernels.evaluate_without(0, 0, none, none, rows, beta, sums, np.zeros((0, 4)))
    kernels.look_through(
        0, 0, none, none, together.starts, X, np.zeros((0, p, p)), np.zeros((0, p))
    )


def _together(
    starts: Sequence[Integers],
    slabs: Sequence[Integers],
    blocks: Sequence[Integers],
    rows: tuple[Integers, ...],
    X: Array,
    y: Array,
    offset: Array,
    trials: Array,
    poisson: NDArray[np.bool_],
) -> Any:
    """Return the rows as the kernels take them; what is there once serves all data sets."""
    kernels, count = compiled(), len(rows[0])
    ends: list[Integers] = []
    for parts in (starts, slabs, blocks):
        sizes = np.array([len(part) for part in parts], np.int64)
        first, size = _first(sizes), sizes - 1
        ends += [first, size] if len(parts) == count else [first.repeat(count), size.repeat(count)]
    return kernels.Together(
        kernels.Places(*rows, *ends),
        np.concatenate(starts),
        np.concatenate(slabs),
        np.concatenate(blocks),
        read_only(X),
        read_only(y),
        read_only(offset),
        read_only(trials),
        poisson,
    )


def _first(sizes: NDArray[Any]) -> Integers:
    """Return where each of some parts begins, of their sizes."""
    return np.append(0, np.cumsum(sizes)[:-1]).astype(np.int64)


def _padded(parts: Sequence[Array], rows: NDArray[Any]) -> Array:
    """Lay parts out one after the other; those that are empty get ones, which nobody reads."""
    full = [part if len(part) else np.ones(n) for part, n in zip(parts, rows, strict=True)]
    return np.concatenate(full)
