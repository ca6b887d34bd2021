"""Data with a known truth: the published experiment and settings, and many small groups."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from laplace.arguments import coefficients, number, standard_deviation, whole_number
from laplace.families import BERNOULLI
from laplace.simulate import Simulated, with_outcomes

# The range of coefficients and covariates in the published experiment.
PUBLISHED_RANGE = 10.0

# The published settings: what each column is drawn from, and its coefficient.
SETTING_BETA = (-1.5, 0.1, -0.5, -0.3, 0.4, -0.2, -0.25, 0.35, -0.1, 0.5)
SETTING_PROBABILITIES = (0.1, 0.3, 0.5)
SETTING_VARIANCES = (0.5, 1.0, 1.5)
SETTING_RANGES = (0.5, 0.7, 1.0)
# A covariate between sites needs so many of them.
LEAST_FOR_BETWEEN = 5


def two_sites(
    seed: int = 1,
    rows_per_site: int = 1000,
    covariates: int = 10,
    sites: int = 2,
    *,
    site_intercepts: bool = False,
    tau: float = 1.0,
    beta: Any = None,
) -> Simulated:
    """Simulate the published experiment, from NumPy's legacy random stream.

    Coefficients and covariates are differences of two uniform numbers, times ten. The published
    experiment adds normal noise to the linear predictor of every *row*, and no intercept to any
    *site*: the random-intercept model that it fits is not the one that it draws from.

    Parameters
    ----------
    seed : int
        Seed of the stream; 1 is the published one.
    rows_per_site, covariates, sites : int
        Size of the experiment; the defaults are the published ones.
    site_intercepts : bool
        Draw an intercept for each site, and leave out the noise of the rows: the experiment as it
        was meant. The coefficients and covariates stay the same.
    tau : float
        Standard deviation of the site intercepts; not used without them.
    beta : array_like of shape (covariates,), optional
        Coefficients in the place of those that the seed gives; nothing else changes.

    Returns
    -------
    Simulated
    """
    sizes = {
        name: whole_number(name, value, minimum=1)
        for name, value in [
            ("rows_per_site", rows_per_site),
            ("covariates", covariates),
            ("sites", sites),
        ]
    }
    n, p, m = sizes["rows_per_site"], sizes["covariates"], sizes["sites"]
    tau = standard_deviation("tau", tau)
    stream = np.random.RandomState(
        whole_number("seed", seed, minimum=0, maximum=2**32 - 1)
    )  # the published data need this legacy stream
    drawn = PUBLISHED_RANGE * (stream.rand(p) - stream.rand(p))
    beta = drawn if beta is None else coefficients(beta, [f"x{k}" for k in range(p)])
    noise = stream.rand(m)
    # a stream of its own, so that drawing intercepts changes nothing else
    intercepts = np.random.default_rng(
        whole_number("seed", seed, minimum=0, maximum=2**32 - 1)
    ).normal(0.0, tau, m)
    if site_intercepts:
        noise = np.zeros(m)
    else:
        intercepts = np.zeros(m)
    X, y = [], []
    for i in range(m):
        X.append(PUBLISHED_RANGE * (stream.rand(n, p) - stream.rand(n, p)))
        eta = X[i] @ beta + noise[i] * stream.normal(size=n) + intercepts[i]
        y.append(stream.binomial(1, BERNOULLI.b_1(eta)).astype(float))
    return Simulated(
        np.concatenate(y),
        np.concatenate(X),
        np.repeat(np.arange(m), n),
        beta,
        intercepts,
        noise,
        tau if site_intercepts else 0.0,
    )


def published_setting(
    sites: int,
    patients: int,
    tau: float,
    *,
    noise: float = 0.0,
    seed: int | np.random.Generator = 0,
) -> Simulated:
    """Simulate a published setting: few sites, ten coefficients, an intercept drawn for each site.

    The columns are an intercept, three Bernoulli, three normal and three uniform covariates, all
    independent; `SETTING_BETA` holds their coefficients. The published ones have 2 or 10 sites of
    500 or 30 patients, and a variance of the site intercepts of 1 or 4.

    Parameters
    ----------
    sites, patients : int
        Number of sites, and of patients of each site.
    tau : float
        Standard deviation of the site intercepts.
    noise : float
        Standard deviation of normal noise in every patient's linear predictor. The published
        description has 1; the model that is fitted has none.
    seed : int or Generator
        Source of the random numbers.

    Returns
    -------
    Simulated
    """
    m, n = (
        whole_number("sites", sites, minimum=1),
        whole_number("patients", patients, minimum=1),
    )
    tau, noise = (
        standard_deviation("tau", tau),
        standard_deviation("noise", noise),
    )
    rng = np.random.default_rng(seed)
    rows = m * n
    X = np.column_stack(
        [
            np.ones(rows),
            *((rng.random(rows) < p).astype(float) for p in SETTING_PROBABILITIES),
            *(rng.normal(0.0, np.sqrt(v), rows) for v in SETTING_VARIANCES),
            *(rng.uniform(-r, r, rows) for r in SETTING_RANGES),
        ]
    )
    names = (
        "intercept",
        *(f"bernoulli {p:g}" for p in SETTING_PROBABILITIES),
        *(f"normal {v:g}" for v in SETTING_VARIANCES),
        *(f"uniform {r:g}" for r in SETTING_RANGES),
    )
    groups = np.repeat(np.arange(m), n)
    return with_outcomes(rng, X, groups, np.array(SETTING_BETA), tau, names, noise)


def small_groups(
    groups: int,
    rows: int,
    tau: float,
    prevalence: float,
    *,
    within: float = 0.5,
    between: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Simulated:
    """Simulate many small groups, as patients with a few visits each.

    The columns are an intercept, a standard normal covariate that varies within groups, and a 0/1
    covariate that varies between them: every other group has a 1, as the arms of a trial.

    Parameters
    ----------
    groups, rows : int
        Number of groups, and of rows of each group.
    tau : float
        Standard deviation of the random intercepts.
    prevalence : float
        Expected proportion of ones, over both arms; it sets the coefficient of the intercept.
    within, between : float
        Coefficients of the covariates.
    seed : int or Generator
        Source of the random numbers.

    Returns
    -------
    Simulated
    """
    m, n = (
        whole_number("groups", groups, minimum=1),
        whole_number("rows", rows, minimum=1),
    )
    tau = standard_deviation("tau", tau)
    of_row = np.repeat(np.arange(m), n)
    return _with_arms(np.random.default_rng(seed), of_row, tau, prevalence, within, between)


def few_sites(
    sites: int,
    rows: int,
    tau: float,
    *,
    ratio: float = 1.0,
    prevalence: float = 0.3,
    within: float = 0.5,
    between: float = 0.5,
    seed: int | np.random.Generator = 0,
) -> Simulated:
    """Simulate a few sites with many patients each.

    The columns are an intercept, a standard normal covariate that varies within sites and, from
    `LEAST_FOR_BETWEEN` sites on, a 0/1 covariate that is 1 in every other site.

    Parameters
    ----------
    sites, rows : int
        Number of sites, and average number of rows of a site.
    tau : float
        Standard deviation of the random intercepts.
    ratio : float
        Size of the largest site over that of the smallest; sizes form a geometric sequence, in a
        random order.
    prevalence : float
        Expected proportion of ones; it sets the coefficient of the intercept.
    within, between : float
        Coefficients of the covariates.
    seed : int or Generator
        Source of the random numbers.

    Returns
    -------
    Simulated
    """
    m, n = (
        whole_number("sites", sites, minimum=2),
        whole_number("rows", rows, minimum=1),
    )
    tau = standard_deviation("tau", tau)
    spread = number("ratio", ratio)
    if spread < 1.0:
        raise ValueError(f"ratio must be at least 1, got {ratio}")
    share = spread ** np.linspace(0.0, 1.0, m)
    sizes = np.maximum(np.rint(n * m * share / share.sum()).astype(int), 1)
    rng = np.random.default_rng(seed)
    of_row = np.repeat(np.arange(m), rng.permutation(sizes) if spread > 1.0 else sizes)
    of_arms = between if m >= LEAST_FOR_BETWEEN else None
    return _with_arms(rng, of_row, tau, prevalence, within, of_arms)


def _with_arms(
    rng: np.random.Generator,
    of_row: Any,
    tau: float,
    prevalence: float,
    within: float,
    between: float | None,
) -> Simulated:
    """Draw a covariate within groups and the outcomes, with an arm of every other group or none."""
    if not 0.0 < prevalence < 1.0:
        raise ValueError(f"prevalence must be between 0 and 1, got {prevalence}")
    given = {"within": within} if between is None else {"within": within, "between": between}
    slopes = coefficients(list(given.values()), list(given))
    columns = [np.ones(len(of_row)), rng.normal(size=len(of_row)), of_row % 2.0]
    X = np.column_stack(columns[: 1 + len(given)])
    of_arms = 0.0 if between is None else float(slopes[1])
    beta = np.append(_intercept(float(prevalence), tau, float(slopes[0]), of_arms), slopes)
    return with_outcomes(rng, X, of_row, beta, tau, ("intercept", *given))


def share_with_one_outcome(data: Simulated) -> float:
    """Return the share of the groups whose outcomes are all the same.

    Parameters
    ----------
    data : Simulated
        Outcomes that are 0 or 1, and groups that are numbered from 0.
    """
    sizes, ones = np.bincount(data.groups), np.bincount(data.groups, weights=data.y)
    return float(np.mean((ones == 0) | (ones == sizes)))


@cache
def _intercept(prevalence: float, tau: float, within: float, between: float) -> float:
    """Return the intercept that gives the prevalence, on average over two arms."""
    # within an arm the linear predictor is normal; Gauss-Legendre over 12 SD, exact to rounding
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = 12.0 * nodes
    weights = 12.0 * weights * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    spread = np.hypot(within, tau) * z

    def gap(intercept: float) -> float:
        arms = BERNOULLI.b_1(intercept + np.array([[0.0], [between]]) + spread)
        return float(np.mean(arms @ weights)) - prevalence

    reach = 50.0 + abs(between) + 12.0 * np.hypot(within, tau)
    return float(brentq(gap, -reach, reach, xtol=1e-12))
