"""How far approximations are off, and how well that is predicted: designs, fitted twice."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from compendium.simulate import share_with_one_outcome, small_groups
from laplace.fit import ConvergenceWarning, fit
from laplace.simulate import Simulated, random_intercepts
from laplace.verdict import ApproximationWarning

__all__ = ["map_of_designs", "predicted_shifts", "random_design"]

GROUPS = (20, 80)
ROWS_OF_A_GROUP = (2, 8)
TAU = (0.3, 4.0)
# The map: so many patients with a few visits each, at a prevalence, over values of tau.
MAP_GROUPS = (50, 100, 200, 500, 1000, 2000)
MAP_TAUS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
MAP_ROWS = 6
MAP_PREVALENCE = 0.3
MAP_DRAWS = 15
MAP_OF = {
    "shift of within": "shift of a coefficient within groups, in SE",
    "shift of tau": "shift of τ, in SE",
}
# Both fits are exact to about 1e-12 standard errors; of a shift that is not far above, nothing can
# be said.
NO_SHIFT = 1e-9


def random_design(seed: int, number: int = 0) -> tuple[Simulated, float]:
    """Draw a random-intercept design of its own size, coefficients and tau.

    Parameters
    ----------
    seed, number : int
        Seed of all designs, and which of them to draw.

    Returns
    -------
    data : Simulated
        20 to 80 groups of 2 to 8 rows, with an intercept and a slope from the standard normal
        distribution.
    tau : float
        The true standard deviation of its random intercepts, from 0.3 to 4, uniform in log tau.
    """
    rng = np.random.default_rng([seed, number])
    groups = int(rng.integers(*GROUPS, endpoint=True))
    sizes = rng.integers(*ROWS_OF_A_GROUP, groups, endpoint=True)
    tau = float(np.exp(rng.uniform(*np.log(TAU))))
    return random_intercepts(sizes, rng.normal(size=2), tau, seed=rng), tau


def map_of_designs(
    groups: Sequence[int] = MAP_GROUPS,
    taus: Sequence[float] = MAP_TAUS,
    rows: int = MAP_ROWS,
    prevalence: float = MAP_PREVALENCE,
    draws: int = MAP_DRAWS,
) -> pd.DataFrame:
    """Say how far Laplace is off, and how many nodes are enough, over groups and tau.

    Parameters
    ----------
    groups, taus : sequence of int and of float
        Numbers of groups, and standard deviations of their random intercepts.
    rows : int
        Rows of each group.
    prevalence : float
        Expected proportion of ones.
    draws : int
        Number of data sets of each design, drawn by `compendium.simulate.small_groups` with the
        seeds 0, 1, ...

    Returns
    -------
    DataFrame
        Indexed by `groups` and `tau`, medians over the draws: `nodes`, the number that
        ``nodes="auto"`` takes; `one outcome`, the share of groups with one outcome only; and
        `shift of ...` for each parameter, how far Laplace is from that fit, in its standard errors,
        without the sign. Draws with an estimate of tau at zero count for `nodes` and
        `one outcome` only.
    """
    records = [
        {"groups": m, "tau": tau, **_mapped(m, tau, rows, prevalence, seed)}
        for m, tau in product(groups, taus)
        for seed in range(draws)
    ]
    return pd.DataFrame(records).groupby(["groups", "tau"]).median()


def _mapped(m: int, tau: float, rows: int, prevalence: float, seed: int) -> dict[str, float]:
    """Fit one data set by Laplace and with the nodes that are enough."""
    data = small_groups(m, rows, tau, prevalence, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ApproximationWarning)
        by_laplace, best = fit(*data, nodes=1, names=data.names), fit(*data, names=data.names)
    found = {
        "nodes": float(best.nodes),
        "one outcome": share_with_one_outcome(data),
    }
    if by_laplace.boundary or best.boundary or not (by_laplace.converged and best.converged):
        return found
    off = ((by_laplace.params - best.params) / best.bse).abs()
    return {**found, **{f"shift of {name}": float(value) for name, value in off.items()}}


def predicted_shifts(
    designs: int = 200,
    *,
    nodes: int = 1,
    reference_nodes: int = 50,
    seed: int = 12,
) -> pd.DataFrame:
    """Compare `Fit.approximation_error` with what a fit with many nodes shows, on random designs.

    Parameters
    ----------
    designs : int
        Number of designs, drawn by `random_design`.
    nodes : int
        Number of nodes of the fit whose error is predicted; 1 is Laplace.
    reference_nodes : int
        Number of nodes of the fit that it is compared with.
    seed : int
        Seed of the designs.

    Returns
    -------
    DataFrame
        A row a design: `rows`, `groups` and the true `tau`; `outcome`, which is ``"compared"``,
        ``"tau = 0"`` where one of the fits is on the boundary, ``"elsewhere"`` where the fit itself
        says that its maximum is not that of the likelihood, ``"no shift"`` where they agree to
        1e-9 standard errors, or ``"no estimate"`` where one is refused or did not converge; and
        where compared `parameter`, the one that moves most, its
        `predicted` and `actual` shift in standard errors, log tau for tau, and their `ratio`.
    """
    return pd.DataFrame(
        [_compare(seed, number, nodes, reference_nodes) for number in range(designs)]
    ).rename_axis("design")


def _compare(seed: int, number: int, nodes: int, reference_nodes: int) -> dict[str, object]:
    data, tau = random_design(seed, number)
    about = {
        "rows": len(data.y),
        "groups": len(data.intercepts),
        "tau": tau,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ApproximationWarning)
            warnings.simplefilter("error", ConvergenceWarning)
            result = fit(data.y, data.X, data.groups, nodes=nodes)
            best = fit(data.y, data.X, data.groups, nodes=reference_nodes)
    except (ValueError, ConvergenceWarning):
        return {**about, "outcome": "no estimate"}
    if result.boundary or best.boundary:
        return {**about, "outcome": "tau = 0"}
    if result.verdict.is_lost or result.verdict.elsewhere is not None:
        return {**about, "outcome": "elsewhere"}
    scale = np.append(result.bse.iloc[:-1], result.bse["tau"] / result.tau)
    actual = (best.theta - result.theta) / scale
    most = int(np.argmax(np.abs(actual)))
    if abs(actual[most]) < NO_SHIFT:
        return {**about, "outcome": "no shift"}
    predicted = float(result.approximation_error().iloc[most])
    return {
        **about,
        "outcome": "compared",
        "parameter": result.params.index[most],
        "predicted": predicted,
        "actual": actual[most],
        "ratio": predicted / actual[most],
    }
