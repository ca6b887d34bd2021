"""What is measured, each in a process of its own.

``python -m benchmarks.measure NAME ARGUMENTS BUDGET OUTPUT`` calls one of the functions of
`MEASURES` with arguments in JSON and writes what it returns to a file, in JSON; the driver,
`__main__.py`, does so.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

import laplace
from benchmarks.designs import PUBLISHED_SIZE, Design
from benchmarks.peers import PEERS, Fit, ours
from laplace.objective import problem_of

# A measurement is repeated while its repetitions take less than this in all, in seconds.
BUDGET = 3.0
REPETITIONS = 15
SINGLE = 50  # small data sets that are also fitted one by one
WARM_UP = Design(200, 10, 2)


# --- time and memory -----------------------------------------------------------------------------


def seconds_of(call: Callable[[], Any]) -> list[float]:
    """Time a call, several times where it is quick."""
    taken: list[float] = []
    while not taken or (len(taken) < REPETITIONS and sum(taken) < BUDGET):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return taken


def forget_peak() -> None:
    """Let the kernel's record of the largest resident size begin again, where it can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak() -> int:
    """Give the largest resident size of this process so far, in bytes."""
    # not ru_maxrss where there is this: that one also knows the process that began this one
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


# --- a fit ---------------------------------------------------------------------------------------


def fit(
    peer: str, design: str, folder: str, threads: int, options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Time the fit of a peer written in Python, with the memory that the first one takes."""
    setup = PEERS[peer].prepare
    assert setup is not None, f"{peer} runs in R"

    def prepared(data: Any) -> Fit:
        return setup(data, threads, **(options or {}))

    prepared(WARM_UP.draw(seed=1))()
    data = Design.parse(design).read(Path(folder))
    forget_peak()
    before = peak()
    before_it: list[float] = []
    taken: list[float] = []
    while not taken or (len(taken) < REPETITIONS and sum(taken) < BUDGET):
        begin = time.perf_counter()
        call = prepared(data)  # anew each time: a model that was fitted would start at its end
        ready = time.perf_counter()
        estimates = call()
        taken.append(time.perf_counter() - ready)
        before_it.append(ready - begin)
        if len(taken) == 1:
            memory = peak() - before
    result = {"seconds": taken, "before": before_it, "memory": memory, **estimates()}
    if setup is ours:
        result["unit pass"] = unit_pass(*data[:2])
    return result


def unit_pass(y: Any, X: Any) -> list[float]:
    """Time the least that a Newton step has to do, in NumPy: predictor, expit, cross-product."""
    b = np.zeros(X.shape[1])

    def once() -> Any:
        w = expit(X @ b)
        return X.T @ (w[:, None] * X)

    once()
    return seconds_of(once)


# --- ours, in more detail ------------------------------------------------------------------------


def validation(design: str, folder: str) -> dict[str, Any]:
    """Time what a fit does before it evaluates anything: all checks, and sorting."""
    data = Design.parse(design).read(Path(folder))
    laplace.fit(*WARM_UP.draw(seed=1), nodes=1)

    def ready() -> None:
        site = laplace.Site.from_arrays(*data)
        problem_of(laplace.Sites([site]), site.census(), None, None, None)

    return {"ready": seconds_of(ready), "fit": seconds_of(lambda: laplace.fit(*data, nodes=1))}


def small(seed: int, count: int, tau: float | None, workers: int) -> dict[str, Any]:
    """Time fits of the published size: one by one, and many in one call of `laplace.fit_many`."""
    warnings.simplefilter("ignore", laplace.ConvergenceWarning)
    data_sets = [PUBLISHED_SIZE.draw(seed + k) for k in range(count)]
    single: list[float] = []
    batches: dict[str, list[float]] = {}
    for data in data_sets[:SINGLE]:
        begin = time.perf_counter()
        laplace.fit(*data, tau=tau, nodes=1)
        single.append(time.perf_counter() - begin)
    for processes in sorted({1, workers}):

        def batch(count: int = count, processes: int = processes) -> list[Any]:
            return laplace.fit_many(data_sets[:count], workers=processes, tau=tau, nodes=1)

        batch(2 * workers)  # starts the processes
        batches[str(processes)] = seconds_of(batch)
    return {"single": single, "count": count, "batches": batches}


def blas() -> dict[str, Any]:
    """Name the linear algebra that NumPy has loaded, and the kind of processor it is for."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return {}
    return {
        "blas": sorted(
            {
                f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
                for pool in threadpool_info()
                if pool["user_api"] == "blas"
            }
        )
    }


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "fit": fit,
    "validation": validation,
    "small": small,
    "blas": blas,
}

if __name__ == "__main__":
    name, arguments, budget, output = sys.argv[1:]
    BUDGET = float(budget)
    answer = MEASURES[name](**json.loads(arguments))
    Path(output).write_text(json.dumps(answer), encoding="utf-8")
