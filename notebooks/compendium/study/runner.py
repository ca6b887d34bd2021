"""Run a study: every method on every replicate of every scenario."""

from __future__ import annotations

import itertools
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from compendium import simulate
from compendium.study import results
from compendium.study.definition import (
    Method,
    Scenario,
    digest,
    generator,
    named,
)
from compendium.study.methods import METHODS, Estimate
from compendium.study.results import Part, Store
from compendium.study.scenarios import SCENARIOS
from laplace.arguments import whole_number
from laplace.families import Array
from laplace.simulate import Simulated

# Replicates of one scenario that are computed, and kept, together. The boundaries are the same for
# any number of workers.
CHUNK = 25
# Raise it when a study of the same definition would give other results.
VERSION = 3
TAU = "tau"


class Study:
    """Scenarios, methods and a number of replicates.

    Every replicate of a scenario has a seed of its own, from the study's seed, the scenario's name
    and the replicate's number. So its data do not depend on what else runs, where, or in which
    order.

    Parameters
    ----------
    scenarios : sequence of str or Scenario, optional
        By default all `SCENARIOS`.
    methods : sequence of str or Method, optional
        Run on every scenario; by default each scenario has its own.
    replicates : int, optional
        Number of data sets a scenario; by default each scenario has its own.
    seed : int
        Not negative.

    Raises
    ------
    TypeError, ValueError
        If a name is not known (the nearest one is given) or given twice, `replicates` is less than
        1, `seed` is negative, or a parameter cannot be written down.
    """

    def __init__(
        self,
        scenarios: Sequence[str | Scenario] | None = None,
        methods: Sequence[str | Method] | None = None,
        *,
        replicates: int | None = None,
        seed: int = 1,
    ) -> None:
        self.scenarios = named("scenarios", scenarios, SCENARIOS)
        every = named("methods", methods, METHODS)
        self._of = {
            one.name: every
            if methods is not None
            else named("methods", one.methods or None, METHODS)
            for one in self.scenarios
        }
        run = {method.name for of in self._of.values() for method in of}
        self.methods = [method for method in every if method.name in run]
        self.replicates = (
            None if replicates is None else whole_number("replicates", replicates, minimum=1)
        )
        self.seed = whole_number("seed", seed, minimum=0)
        self.definition = {
            "version": VERSION,
            "seed": self.seed,
            "replicates": self.replicates,
            "scenarios": [self._described(scenario) for scenario in self.scenarios],
            "methods": [method.definition for method in self.methods],
        }
        """All that the results depend on, as JSON has it."""
        self.hash = digest(self.definition)
        """Digest of the definition."""

    def __repr__(self) -> str:
        return (
            f"<Study {self.hash}: {len(self.scenarios)} scenarios, {len(self.methods)} methods, "
            f"{sum(map(self.drawn, self.scenarios))} data sets, seed {self.seed}>"
        )

    def _described(self, scenario: Scenario) -> dict[str, Any]:
        methods = [method.name for method in self._of[scenario.name]]
        return {**scenario.definition, "methods": methods, "replicates": self.drawn(scenario)}

    def drawn(self, scenario: Scenario) -> int:
        """Return how many data sets of a scenario are drawn.

        Parameters
        ----------
        scenario : Scenario
            One of the study's scenarios.
        """
        return scenario.replicates if self.replicates is None else self.replicates

    def data(self, scenario: str | Scenario, replicate: int) -> Simulated:
        """Draw the data of one replicate of one scenario.

        Parameters
        ----------
        scenario : str or Scenario
            One of the study's scenarios.
        replicate : int
            Its number, from 0.

        Returns
        -------
        Simulated
        """
        part = self._single(scenario, replicate)
        return part.scenario.data(generator(self.seed, part.scenario, part.start))

    def replicate(self, scenario: str | Scenario, replicate: int) -> pd.DataFrame:
        """Run one replicate of one scenario alone; the rows are those of the whole run.

        Parameters
        ----------
        scenario : str or Scenario
            One of the study's scenarios.
        replicate : int
            Its number, from 0.

        Returns
        -------
        DataFrame
            Rows as those of `run`.
        """
        part = self._single(scenario, replicate)
        return results.frame(
            [compute(part, self._of[part.scenario.name], self.seed)], self.definition
        )

    def _single(self, scenario: str | Scenario, replicate: int) -> Part:
        (found,) = named("scenario", [scenario], {s.name: s for s in self.scenarios})
        place = whole_number("replicate", replicate, minimum=0)
        return Part(found, place, place + 1)

    def parts(self) -> list[Part]:
        """List what is computed together; round after round, so that all scenarios advance."""
        starts = range(0, max(map(self.drawn, self.scenarios)), CHUNK)
        return [
            Part(scenario, start, min(start + CHUNK, self.drawn(scenario)))
            for start, scenario in itertools.product(starts, self.scenarios)
            if start < self.drawn(scenario)
        ]

    def run(
        self,
        folder: str | Path | None = None,
        *,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Compute what is not in the folder yet, and return everything.

        Parts are written to the folder as they are finished, each whole or not at all. A run that
        was stopped, in whatever way, goes on when it is called again, and its results are those of
        an unbroken one. A part belongs to one definition of a scenario, of the methods and of the
        seed, and to the code that computed it: what changes begins in a new place, and nothing else
        is computed again. The whole is written to ``<hash>.parquet``, beside its definition.

        Parameters
        ----------
        folder : path, optional
            Where parts and whole are kept; by default nothing is.
        workers : int, optional
            Number of processes; by default all cores, or the whole cluster where
            ``joblib.parallel_config(backend="dask")`` is active. Results do not depend on it.
        progress : bool, optional
            Show a bar with the time left; by default where the output is a terminal.

        Returns
        -------
        DataFrame
            A row a scenario, replicate, method and estimand: see `results.COLUMNS`.

        Raises
        ------
        OSError
            If a part cannot be written, for instance to a full disk. Those finished are kept.

        Warns
        -----
        DamagedResultsWarning
            If a file in the folder cannot be read; it is computed again.
        """
        count = -1 if workers is None else whole_number("workers", workers, minimum=1)
        store = Store(None if folder is None else Path(folder), self.definition)
        parts = self.parts()
        todo = [part for part in parts if not store.take_up(part)]
        with tqdm(
            total=sum(part.replicates for part in parts),
            unit=" data sets",
            smoothing=0.0,  # the time left by the rate of the whole run
            disable=None if progress is None else not progress,
        ) as bar:
            bar.update(bar.total - sum(part.replicates for part in todo))
            bar.unpause()
            for part, table in _in_parallel(todo, self._of, self.seed, count):
                store.keep(part, table)
                bar.update(part.replicates)
        in_order = sorted(parts, key=lambda part: self.scenarios.index(part.scenario))
        return store.finish(in_order)


def _in_parallel(
    todo: list[Part], methods: Mapping[str, Sequence[Method]], seed: int, workers: int
) -> Iterator[tuple[Part, pa.Table]]:
    """Yield parts as they are finished, in any order."""
    if not todo:
        return
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
    finished = parallel(
        joblib.delayed(_with_part)(part, methods[part.scenario.name], seed) for part in todo
    )
    try:
        yield from finished
    finally:
        finished.close()  # cancels what has not begun


def _with_part(part: Part, methods: Sequence[Method], seed: int) -> tuple[Part, pa.Table]:
    return part, compute(part, methods, seed)


@dataclass(frozen=True)
class _Fitted:
    replicate: int
    method: str
    truth: Array
    one_outcome: float
    estimate: Estimate
    wild: bool
    seconds: float


def compute(part: Part, methods: Sequence[Method], seed: int) -> pa.Table:
    """Fit every method to the replicates of a part that are its own, on one core."""
    fits: list[_Fitted] = []
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the rows
        data = {
            replicate: part.scenario.data(generator(seed, part.scenario, replicate))
            for replicate in range(part.start, part.stop)
        }
        for method in methods:
            of_method = [replicate for replicate in data if replicate % method.every == 0]
            begun = time.perf_counter()
            found = method.each([data[replicate] for replicate in of_method])
            seconds = (time.perf_counter() - begun) / max(len(of_method), 1)
            for replicate, one in zip(of_method, found, strict=True):
                fits.append(_fitted(replicate, method.name, data[replicate], one, seconds))
    order = {method.name: k for k, method in enumerate(methods)}
    fits.sort(key=lambda fit: (fit.replicate, order[fit.method]))
    first = next(iter(data.values()))
    estimands = [
        *(first.names or (f"x{k}" for k in range(len(first.beta)))),
        TAU,
    ]

    def each(values: list[Any]) -> Any:
        return np.repeat(np.array(values), len(estimands))

    def all_of(values: Iterator[Array]) -> Any:
        return np.concatenate([np.empty(0), *values])

    return results.table(
        {
            "scenario": [part.scenario.name] * (len(fits) * len(estimands)),
            "replicate": each([fit.replicate for fit in fits]),
            "method": each([fit.method for fit in fits]),
            "estimand": estimands * len(fits),
            "estimate": all_of(fit.estimate.value for fit in fits),
            "standard_error": all_of(fit.estimate.se for fit in fits),
            "lower": all_of(fit.estimate.lower for fit in fits),
            "upper": all_of(fit.estimate.upper for fit in fits),
            "truth": all_of(fit.truth for fit in fits),
            "one_outcome": each([fit.one_outcome for fit in fits]),
            "approximation_error": all_of(fit.estimate.error for fit in fits),
            "converged": each([fit.estimate.converged for fit in fits]),
            "wild": each([fit.wild for fit in fits]),
            "boundary": each([fit.estimate.boundary for fit in fits]),
            "iterations": each([fit.estimate.iterations for fit in fits]),
            "nodes": each([fit.estimate.nodes for fit in fits]),
            "message": each([_first_clause(fit.estimate.message) for fit in fits]),
            "seconds": each([fit.seconds for fit in fits]),
        }
    )


def _fitted(
    replicate: int, method: str, data: Simulated, found: Estimate | Exception, seconds: float
) -> _Fitted:
    """Put together what is kept of a fit; what was raised becomes a failure that is recorded."""
    truth = np.append(data.beta, data.tau)
    if isinstance(found, Exception):
        expected = isinstance(found, ValueError | ArithmeticError)
        kind = "" if expected else f"{type(found).__name__} "
        found = Estimate.failed(len(data.beta), f"{kind}{found}")
    return _Fitted(
        replicate,
        method,
        truth,
        simulate.share_with_one_outcome(data),
        found.recorded(),
        found.is_wild(truth),
        seconds,
    )


def _first_clause(message: str) -> str:
    """Cut a message before it names what is particular to the data."""
    return re.split(r"\s*[;:,(]", message, maxsplit=1)[0][:100]


_lock = threading.Lock()
_running = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread, in which sums have one order.

    Parts may run in several threads of a process, so that the last one lifts the limit.
    """
    global _running, _limits
    with _lock:
        if _running == 0:
            _limits = threadpool_limits(1)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0:
                _limits.restore_original_limits()
