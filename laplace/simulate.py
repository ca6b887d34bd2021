"""Data with a known truth: the published two-site experiment, and random-intercept designs."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.families import BERNOULLI, Array
from laplace.grouped import coefficients, standard_deviation

# The range of coefficients and covariates in the published experiment.
PUBLISHED_RANGE = 10.0


@dataclass(frozen=True, eq=False)
class Simulated:
    """Simulated rows; unpacks as ``y, X, groups``, the arguments of `laplace.fit`.

    Attributes
    ----------
    y : ndarray of shape (n,)
        Outcomes, 0.0 or 1.0.
    X : ndarray of shape (n, p)
        Covariates.
    groups : ndarray of shape (n,)
        Groups, 0, 1, ...
    beta : ndarray of shape (p,)
        The true coefficients.
    intercepts : ndarray of shape (m,)
        The true random intercept of each group; zero in the published experiment.
    noise : ndarray of shape (m,)
        Standard deviation of the noise that was added to each row's linear predictor, by group.
    """

    y: Array
    X: Array
    groups: NDArray[np.intp]
    beta: Array
    intercepts: Array
    noise: Array

    def __iter__(self) -> Iterator[Array | NDArray[np.intp]]:
        """Unpack as y, X, groups."""
        return iter((self.y, self.X, self.groups))


def published_two_sites(
    seed: int = 1,
    rows_per_site: int = 1000,
    covariates: int = 10,
    sites: int = 2,
    *,
    site_intercepts: bool = False,
    tau: float = 1.0,
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

    Returns
    -------
    Simulated
    """
    sizes = {
        name: _count(name, value)
        for name, value in [
            ("rows_per_site", rows_per_site),
            ("covariates", covariates),
            ("sites", sites),
        ]
    }
    n, p, m = sizes["rows_per_site"], sizes["covariates"], sizes["sites"]
    tau = standard_deviation("tau", tau)
    stream = np.random.RandomState(_seed(seed))  # the published data need this legacy stream
    beta = PUBLISHED_RANGE * (stream.rand(p) - stream.rand(p))
    noise = stream.rand(m)
    # a stream of its own, so that drawing intercepts changes nothing else
    intercepts = np.random.default_rng(_seed(seed)).normal(0.0, tau, m)
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
        np.concatenate(y), np.concatenate(X), np.repeat(np.arange(m), n), beta, intercepts, noise
    )


def random_intercepts(
    sizes: Any, beta: Any, tau: float, *, seed: int | np.random.Generator = 0
) -> Simulated:
    """Simulate the model that is fitted: standard normal covariates, an intercept a group.

    Parameters
    ----------
    sizes : array_like of int, shape (m,)
        Number of rows of each group.
    beta : array_like of shape (p,)
        Coefficients; the first is that of a column of ones.
    tau : float
        Standard deviation of the random intercepts.
    seed : int or Generator
        Source of the random numbers.

    Returns
    -------
    Simulated
    """
    counts = [_count("sizes", size) for size in np.atleast_1d(sizes)]
    if not counts:
        raise ValueError("sizes is empty: give the number of rows of at least one group")
    length = np.size(beta)
    if length == 0:
        raise ValueError("beta is empty: give at least the coefficient of the column of ones")
    beta = coefficients(beta, [f"x{k}" for k in range(length)])
    tau = standard_deviation("tau", tau)
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(counts)), counts)
    X = np.column_stack([np.ones(len(groups)), rng.normal(size=(len(groups), length - 1))])
    intercepts = rng.normal(0.0, tau, len(counts))
    pi = BERNOULLI.b_1(X @ beta + intercepts[groups])
    y = (rng.random(len(groups)) < pi).astype(float)
    return Simulated(y, X, groups, beta, intercepts, np.zeros(len(counts)))


def _count(name: str, value: Any) -> int:
    """Return a whole number of at least 1, or say what is wrong."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    return count


def _seed(seed: Any) -> int:
    """Return a seed that NumPy's legacy generator takes."""
    try:
        result = operator.index(seed)
    except TypeError:
        raise TypeError(f"seed must be a whole number, got {seed!r}") from None
    if not 0 <= result < 2**32:
        raise ValueError(f"seed must be between 0 and 2**32 - 1, got {result}")
    return result
