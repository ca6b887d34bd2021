"""Parts of some work, in this process or in others; and a bar that shows how far it is."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from laplace.arguments import whole_number
from laplace.plan import threads

# From so many numbers in X on, most of a fit is compiled code.
LARGE = 4000
# Parts that each process has before all wait for the last.
PARTS_OF_A_PROCESS = 8


def check_workers(workers: Any) -> int:
    """Return a number of processes, or -1 for one a core; say what is wrong with others."""
    processes = whole_number("workers", workers, of=", a number of processes or -1")
    if processes == 0 or processes < -1:
        raise ValueError(f"workers must be a number of processes, or -1, got {processes}")
    return processes


def are_large(numbers: float) -> bool:
    """Say whether threads share data sets with so many numbers in X well."""
    return numbers >= LARGE


def each_part(
    work: Callable[..., Any],
    parts: Iterable[Any],
    workers: int,
    *arguments: Any,
    numbers: float = 0.0,
) -> Iterator[Any]:
    """Do some work for each part, and yield the results in order.

    In this process, where the data sets are large, as many parts are under way as there are
    threads: what one of them does in Python goes on while another runs compiled code. Where they
    are small, threads would wait for each other in Python, and the parts use them one by one.

    Parameters
    ----------
    work : callable
        Takes a part, the arguments, and how many threads it may use for itself: None where it is
        the only one.
    parts : iterable
        The parts.
    workers : int
        Number of processes; 1 is this one.
    numbers : float
        About how many numbers X has in each data set.

    Raises
    ------
    ImportError
        If joblib is needed and not installed.
    """
    if workers == 1:
        count = threads() if are_large(numbers) else 1
        yield from _in_threads(work, iter(parts), count, *arguments)
        return
    try:
        from joblib import Parallel, delayed, effective_n_jobs
    except ImportError:
        raise ImportError(
            f"workers={workers} needs joblib, which is not installed: install it, as by "
            "laplace-glmm[study]; or leave workers=1"
        ) from None
    waiting = iter(parts)
    # some at a time, so that nothing is under way when a caller stops between them
    at_once = PARTS_OF_A_PROCESS * effective_n_jobs(workers)
    with Parallel(n_jobs=workers) as run:
        while some := list(itertools.islice(waiting, at_once)):
            yield from run(delayed(work)(part, *arguments, 1) for part in some)


def _in_threads(
    work: Callable[..., Any], parts: Iterator[Any], count: int, *arguments: Any
) -> Iterator[Any]:
    """Do the work of so many parts at a time; of a single one without another thread."""
    first = list(itertools.islice(parts, 2))
    if count == 1 or len(first) < 2:
        for part in itertools.chain(first, parts):
            yield work(part, *arguments, None)
        return
    under_way: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="laplace-parts") as pool:
        for part in itertools.chain(first, parts):
            under_way.append(pool.submit(work, part, *arguments, 1))
            if len(under_way) > count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


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
