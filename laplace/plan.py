"""How the rows are cut for the compiled kernels, and the threads that run them."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Below this many numbers to read (rows times columns times nodes), waking a thread costs more than
# it brings.
WORTH_A_THREAD = 60_000

_pool: ThreadPoolExecutor | None = None


class Plan:
    """Blocks of whole groups, and slabs of blocks; they depend on the sizes of the groups alone.

    Parameters
    ----------
    starts : ndarray of shape (m + 1,)
        First row of each group, and the number of rows.
    """

    def __init__(self, starts: NDArray[np.int64]) -> None:
        self.starts = starts

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """First group of each block, and the number of groups."""
        blocks: NDArray[np.int64] = compiled().pack(self.starts)
        return blocks

    @cached_property
    def slabs(self) -> NDArray[np.int64]:
        """First block of each slab, and the number of blocks; slabs are of about equal size."""
        count = len(self.blocks) - 1
        if count == 1:
            return np.arange(2)
        row = self.starts[self.blocks]
        cuts = np.linspace(0, row[-1], min(compiled().MOST_SLABS, count) + 1)
        return np.array(sorted(set(np.searchsorted(row, cuts).tolist())), np.int64)

    @cached_property
    def count(self) -> int:
        """Number of slabs."""
        return len(self.slabs) - 1

    @cached_property
    def m(self) -> int:
        """Number of groups."""
        return len(self.starts) - 1

    def run(self, kernel: Any, *arguments: Any, work: int) -> None:
        """Call a kernel for all slabs, on as many threads as are worth it.

        Parameters
        ----------
        kernel : callable
            Takes the first slab, the end, the slabs, the blocks, and the arguments.
        work : int
            How many numbers it reads.
        """
        in_parts(kernel, self.count, self.slabs, self.blocks, *arguments, work=work)


def in_parts(kernel: Any, count: int, *arguments: Any, work: int, most: int | None = None) -> None:
    """Call a kernel for `count` things that do not depend on each other, on as many threads.

    Parameters
    ----------
    kernel : callable
        Takes the first thing, the end, and the arguments.
    count : int
        How many things there are.
    work : int
        How many numbers it reads.
    most : int, optional
        How many threads it may use; by default all.
    """
    parts = min(count, work // WORTH_A_THREAD)
    if parts > 1:
        parts = min(threads() if most is None else most, parts)
    if parts <= 1:
        kernel(0, count, *arguments)
        return
    cuts = np.linspace(0, count, parts + 1).astype(int).tolist()
    pool = _threads_of(parts - 1)
    others = [
        pool.submit(kernel, low, high, *arguments) for low, high in itertools.pairwise(cuts[1:])
    ]
    kernel(cuts[0], cuts[1], *arguments)
    for other in others:
        other.result()


@cache
def compiled() -> Any:
    """Return the kernels, which are imported when they are first needed: that takes a while."""
    from laplace import kernels

    return kernels


def threads() -> int:
    """Return how many threads may run: NUMBA_NUM_THREADS, by default one a core."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def _threads_of(count: int) -> ThreadPoolExecutor:
    """Return a pool of at least as many threads."""
    global _pool
    if _pool is None or _pool._max_workers < count:
        _pool = ThreadPoolExecutor(count, thread_name_prefix="laplace")
    return _pool


def _forget_threads() -> None:
    """Let a forked process, which has none of its parent's threads, start its own."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
