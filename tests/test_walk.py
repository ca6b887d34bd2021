"""The walk over tau: its stations are maxima of the exact likelihood, and it asks few questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import Exact
from hard_designs import named

from compendium import simulate
from laplace.local import LocalSearch
from laplace.objective import problem_of
from laplace.search import Search, nodes_of_walk
from laplace.site import Site
from laplace.sites import Sites
from laplace.strategy import STRATEGY
from laplace.verdict import spacing
from laplace.walk import SPACING_OF_WALK, follow, nodes_at

# Beyond this, also the rule of the walk has nodes too far apart.
RESOLVED = 2.0


def searched(rows: dict[str, Any]) -> Search:
    """Return the search of some rows, before it has begun."""
    sites = Sites([Site.from_arrays(**rows)])
    return Search(problem_of(sites, sites.census(), None, None, None), STRATEGY)


def drawn(groups: int, rows: int, tau: float, prevalence: float, seed: int) -> dict[str, Any]:
    r = np.random.default_rng(seed)
    data = simulate.small_groups(groups=groups, rows=rows, tau=tau, prevalence=prevalence, seed=r)
    return {"y": data.y, "X": data.X, "groups": data.groups}


DESIGNS = {
    "rare, groups far apart": drawn(50, 30, 4.0, 0.05, 5),
    "many groups": drawn(200, 10, 2.0, 0.2, 6),
    "few groups": drawn(10, 5, 1.0, 0.2, 5),
    "pairs": drawn(60, 2, 1.0, 0.5, 7),
    **{name: named(name) for name in ("two_sites-3", "counts-4", "unequal-5", "nearly_alike-2")},
}


@pytest.mark.parametrize("name", DESIGNS)
def test_stations_are_maxima_of_the_exact_likelihood(name: str) -> None:
    """Where nodes tell it: value and slope, the latter by differences of the exact one."""
    rows = DESIGNS[name]
    search = searched(rows)
    taus, basis = search._taus(), search.problem.basis
    nodes = nodes_of_walk(STRATEGY, search.problem.census.n)
    stations, exact = follow(search.local, taus, nodes), Exact(**rows)
    assert [station.tau for station in stations] == taus.tolist()
    told = [station for station in stations if spacing(station.tau, nodes) <= RESOLVED]
    assert len(told) >= 3
    for station in told:
        beta = basis.back(station.coefficients)
        value, best, converged = exact.profile(station.tau, beta)
        assert converged
        # what a Newton step leaves of a decrement of a tenth
        assert station.value == pytest.approx(value, abs=0.02)
        low, high = (exact.profile(station.tau * np.exp(h), best)[0] for h in (-0.02, 0.02))
        slope = (high - low) / 0.04
        assert station.slope == pytest.approx(slope, abs=0.1 + 0.05 * abs(slope))


@pytest.mark.parametrize("name", DESIGNS)
def test_the_walk_asks_few_questions(name: str) -> None:
    """Two a station say from which of two points to search, and some Newton steps follow."""
    search = searched(DESIGNS[name])
    taus = search._taus()
    search.local.plain()
    sites = search.problem.sites
    before = sites.asked
    follow(search.local, taus, nodes_of_walk(STRATEGY, search.problem.census.n))
    assert sites.asked.since(before).evaluations <= 5 * len(taus)


def test_fewer_nodes_where_tau_is_small_and_never_more_than_the_walk_has() -> None:
    rules = [nodes for _, nodes in STRATEGY.reference_rules]
    for nodes in (7, *rules):
        used = [nodes_at(STRATEGY, tau, nodes) for tau in np.geomspace(0.01, 300.0, 40)]
        assert used == sorted(used)
        assert used[-1] == nodes
        assert set(used) <= {nodes, *rules}
        for tau, k in zip(np.geomspace(0.01, 300.0, 40), used, strict=True):
            assert k == nodes or spacing(tau, k) <= SPACING_OF_WALK
    assert nodes_at(STRATEGY, 0.1, 199) == min(rules)


def test_a_walk_begins_at_the_fit_without_random_intercepts() -> None:
    search = searched(DESIGNS["many groups"])
    local = LocalSearch(search.problem, STRATEGY)
    (first,) = follow(local, search._taus()[:1], 25)
    np.testing.assert_allclose(first.coefficients, local.plain().maximum.theta, atol=0.05)
