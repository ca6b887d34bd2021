"""Parts of some work, in this process or in others; and a bar that shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def check_workers(workers: Any) -> int:
    """Return a number of processes, or -1 for one a core; say what is wrong with others."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers == 0 or workers < -1:
        raise ValueError(f"workers must be a number of processes, or -1, got {workers!r}")
    return workers


def each_part(
    work: Callable[..., Any], parts: Iterable[Any], workers: int, *arguments: Any
) -> Iterator[Any]:
    """Do some work for each part, and yield the results in order.

    Parameters
    ----------
    work : callable
        Takes a part, and the arguments.
    parts : iterable
        The parts.
    workers : int
        Number of processes; 1 is this one.

    Raises
    ------
    ImportError
        If joblib is needed and not installed.
    """
    if workers == 1:
        for part in parts:
            yield work(part, *arguments)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError:
        raise ImportError(
            f"workers={workers} needs joblib, which is not installed: install it, as by "
            "laplace-glmm[study]; or leave workers=1"
        ) from None
    run = Parallel(n_jobs=workers, return_as="generator")
    yield from run(delayed(work)(part, *arguments) for part in parts)


@contextmanager
def progress_bar(wanted: bool, total: int | None) -> Iterator[Callable[[int], Any]]:
    """Show a bar by tqdm, where it is wanted; yield a function that advances it.

    Raises
    ------
    ImportError
        If tqdm is needed and not installed.
    """
    if not wanted:
        yield lambda count: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(
            "progress=True needs tqdm, which is not installed: install it, as by "
            "laplace-glmm[study]; or leave progress=False"
        ) from None
    with tqdm(total=total, unit="fit") as bar:
        yield bar.update
