"""Outcomes drawn from a fitted model, and models fitted to them: many replicates at once.

All replicates share the rows but for the outcomes: they are checked, sorted and made orthogonal
once. Each replicate has a seed of its own, so that it does not depend on how the replicates are
shared between processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.answers import Census
from laplace.arguments import Array, whole_number
from laplace.fit import Options, fit_quietly
from laplace.grouped import GroupedData
from laplace.inference.drawn import drawn_outcomes
from laplace.many.convoy import Convoy, may_join
from laplace.many.stack import Stack
from laplace.objective import Problem
from laplace.separation import SeparationError
from laplace.site import Site
from laplace.sites import Sites
from laplace.verdict import reference_nodes

# Replicates are fitted up to so many at a time, and up to so many outcomes.
MOST_REPLICATES = 250
MOST_OUTCOMES = 2_000_000

# Kinds of reasons why a replicate has no estimate.
SEPARATED = "outcomes are separated"
REFUSED = "refused"
NOT_CONVERGED = "did not converge"


@dataclass(frozen=True, eq=False)
class Source:
    """The model that outcomes are drawn from.

    Attributes
    ----------
    data : GroupedData
        The rows.
    fixed : ndarray of shape (n,)
        Linear predictor of the sorted rows without random intercept.
    tau : float
        Standard deviation of the random intercepts.
    """

    data: GroupedData
    fixed: Array
    tau: float

    def draw(self, seed: np.random.SeedSequence) -> Array:
        """Return outcomes in the order in which the rows were given."""
        drawn = drawn_outcomes(self.data, self.fixed, self.tau, seed)
        return self.data.as_given(drawn)


@dataclass(frozen=True, eq=False)
class Target:
    """A model that is fitted to the outcomes, on the same rows in the same order.

    Attributes
    ----------
    problem : Problem
        Its rows at a single place, and what is estimated.
    data : GroupedData
        These rows.
    rules : tuple of int
        Numbers of nodes to try.
    """

    problem: Problem
    data: GroupedData
    rules: tuple[int, ...]


@dataclass(frozen=True)
class Failure:
    """Why a replicate has no estimate.

    Attributes
    ----------
    kind : str
        In few words; failures of a kind are counted together.
    details : str
        What the fit said; empty where the kind says all.
    """

    kind: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.details}" if self.details else self.kind


def count_kinds(failures: Iterable[Failure]) -> dict[str, int]:
    """Return how many failures there are of each kind; the most frequent first."""
    return dict(Counter(failure.kind for failure in failures).most_common())


@dataclass(frozen=True, eq=False)
class Estimates:
    """What was found for each replicate.

    Attributes
    ----------
    theta : ndarray of shape (R, p + 1)
        Coefficients and tau; NaN where there are none.
    llf : ndarray of shape (R,)
        Log-likelihoods.
    reasons : list of Failure or None
        Why there is no estimate; None where there is one.
    doubtful : ndarray of bool, shape (R,)
        Whether the verdict on an estimate is that it is not to be trusted.
    """

    theta: Array
    llf: Array
    reasons: list[Failure | None]
    doubtful: NDArray[np.bool_]


def seeds_of(seed: Any, count: int) -> list[np.random.SeedSequence]:
    """Return a source of random numbers for each replicate.

    Raises
    ------
    TypeError, ValueError
        If the seed is neither a whole number that is not negative nor a SeedSequence.
    """
    if not isinstance(seed, np.random.SeedSequence):
        hint = "; a numpy SeedSequence will do, too"
        seed = np.random.SeedSequence(whole_number("seed", seed, minimum=0, hint=hint))
    # not by `spawn`, which would count in the caller's
    return [
        np.random.SeedSequence(
            seed.entropy, spawn_key=(*seed.spawn_key, k), pool_size=seed.pool_size
        )
        for k in range(count)
    ]


def parts_of(
    seeds: Sequence[np.random.SeedSequence], rows: int
) -> Iterator[Sequence[np.random.SeedSequence]]:
    """Cut the replicates into parts that are fitted together."""
    size = max(1, min(MOST_REPLICATES, MOST_OUTCOMES // rows))
    for first in range(0, len(seeds), size):
        yield seeds[first : first + size]


def fit_replicates(
    seeds: Sequence[np.random.SeedSequence],
    source: Source,
    targets: Sequence[Target],
    threads: int | None = None,
) -> list[Estimates]:
    """Draw outcomes with each seed, and fit each model to them, on so many threads."""
    given = np.array([source.draw(seed) for seed in seeds])
    return [_fitted(target, given[:, target.data.order], threads) for target in targets]


def _fitted(target: Target, outcomes: Array, threads: int | None) -> Estimates:
    """Fit a model to outcomes of the sorted rows, one set in each row."""
    problem, data, count = target.problem, target.data, len(outcomes)
    theta, llf = np.full((count, data.p + 1), np.nan), np.full(count, np.nan)
    problems = [
        replace(problem, census=census) for census in _censuses(problem.census, data, outcomes)
    ]
    joining = np.array([k for k, one in enumerate(problems) if may_join(one)], dtype=int)
    alone, doubtful = np.ones(count, bool), np.zeros(count, bool)
    if joining.size and reference_nodes(target.rules[0]) is not None:
        convoy = Convoy(
            [problems[k] for k in joining.tolist()],
            Stack.of_outcomes(data, outcomes[joining], threads),
        )
        found, theta[joining], llf[joining], doubtful[joining] = convoy.estimates(target.rules)
        alone[joining[found]] = False
    reasons: list[Failure | None] = [None] * count
    for k in np.flatnonzero(alone).tolist():
        theta[k], llf[k], reasons[k], doubtful[k] = _fitted_alone(target, outcomes[k])
    return Estimates(theta, llf, reasons, doubtful)


def _censuses(census: Census, data: GroupedData, outcomes: Array) -> Iterator[Census]:
    """Return the census of the rows with each set of outcomes."""
    sums = np.add.reduceat(outcomes, data.starts, axis=1)
    most = data.sum_by_group(data.largest)
    mixed = np.sum((sums > 0.0) & (sums < most), axis=1).tolist()
    for total, both in zip(sums.sum(axis=1).tolist(), mixed, strict=True):
        yield replace(census, outcomes=total, mixed_groups=both)


def _fitted_alone(target: Target, outcomes: Array) -> tuple[Array, float, Failure | None, bool]:
    """Fit a model to one set of outcomes, by the whole search."""
    nothing = np.full(target.data.p + 1, np.nan)
    site, problem = Site(target.data.with_outcomes(outcomes)), target.problem
    penalty = problem.penalty
    name = None if penalty is None else penalty.name
    strength = penalty.strength if penalty is not None and name == "ridge" else None
    options = Options(target.rules, problem.tau, name, strength, False)
    try:
        fit = fit_quietly(Sites([site]), site, options)
    except SeparationError:
        return nothing, np.nan, Failure(SEPARATED), False
    except (ValueError, ArithmeticError) as error:
        return nothing, np.nan, Failure(REFUSED, str(error)), False
    if not fit.converged:
        return nothing, np.nan, Failure(NOT_CONVERGED, fit.message), False
    return np.append(fit.beta, fit.tau), fit.llf, None, fit.verdict.is_doubtful
