"""The engine's parts, timed by pytest-benchmark for its developers: `make timings`.

Nothing is asserted about a time; what is asserted is that the work was done.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import laplace
from benchmarks.designs import PUBLISHED_SIZE, Design

SMALL = Design(10_000, 100, 5).draw(seed=1)
MANY_GROUPS = Design(20_000, 4_000, 5).draw(seed=1)
ROWS = {"100 groups": SMALL, "4,000 groups": MANY_GROUPS}

rows = pytest.mark.parametrize("data", ROWS.values(), ids=ROWS)


@rows
@pytest.mark.parametrize("nodes", [1, "auto"])
def test_fit(benchmark: Any, data: Any, nodes: Any) -> None:
    assert benchmark(laplace.fit, *data, nodes=nodes).converged


def test_fit_of_the_published_size(benchmark: Any) -> None:
    assert benchmark(laplace.fit, *PUBLISHED_SIZE.draw(seed=1), tau=1.0, nodes=1).converged


@rows
@pytest.mark.parametrize("nodes", [1, 5, 25])
def test_evaluation(benchmark: Any, data: Any, nodes: int) -> None:
    checked = laplace.GroupedData.from_arrays(*data)
    likelihood = laplace.likelihood.Likelihood(checked, nodes)
    found = benchmark(likelihood.at, np.zeros(checked.p), 1.0)
    assert np.isfinite(found.value)


@rows
def test_checks_and_sorting(benchmark: Any, data: Any) -> None:
    assert benchmark(laplace.GroupedData.from_arrays, *data).n == len(data[0])


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_other_families(benchmark: Any, family: str) -> None:
    y, X, groups = SMALL
    trials = 1 if family == "binomial" else None
    found = benchmark(laplace.fit, y, X, groups, family=family, trials=trials, nodes=1)
    assert found.converged


SIZES = {"500": 500, "30": 30}


@pytest.mark.parametrize("rows", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_many_fits_of_two_sites(benchmark: Any, rows: int, together: bool) -> None:
    """The convoy, and a loop over the same data: two sites, ten columns, tau estimated."""
    beta = np.append(-0.5, np.full(9, 0.3))
    designs = [
        laplace.simulate.random_intercepts([rows] * 2, beta, 1.0, seed=seed) for seed in range(100)
    ]
    if rows < 100:  # what is separated, or needs a walk over tau, is another matter
        fits = laplace.fit_many(designs, nodes=1, errors="return")
        designs = [
            data
            for data, fit in zip(designs, fits, strict=True)
            if isinstance(fit, laplace.Fit) and fit.evaluations < 30
        ]

    def fit() -> list[Any]:
        if together:
            return laplace.fit_many(designs, nodes=1)
        return [laplace.fit(*data, nodes=1) for data in designs]

    assert all(one.converged for one in benchmark(fit))


@pytest.mark.parametrize("nodes", [1, 5])
def test_bootstrap(benchmark: Any, nodes: int) -> None:
    fit = laplace.fit(*PUBLISHED_SIZE.draw(seed=1), nodes=nodes)
    assert benchmark(fit.bootstrap, 100).replicates == 100
