"""Rows drawn from the model that is fitted, for power calculations and for checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import coefficients, standard_deviation, whole_number
from laplace.families import BERNOULLI, Array
from laplace.inference.drawn import source_of


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
    tau : float
        The true standard deviation of the random intercepts; zero in the published experiment.
    names : tuple of str
        Names of the p columns, where they have any.
    """

    y: Array
    X: Array
    groups: NDArray[np.intp]
    beta: Array
    intercepts: Array
    noise: Array
    tau: float = 0.0
    names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Array | NDArray[np.intp]]:
        """Unpack as y, X, groups."""
        return iter((self.y, self.X, self.groups))


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
    counts = [whole_number("sizes", size, minimum=1) for size in np.atleast_1d(sizes)]
    if not counts:
        raise ValueError("sizes is empty: give the number of rows of at least one group")
    length = np.size(beta)
    if length == 0:
        raise ValueError("beta is empty: give at least the coefficient of the column of ones")
    beta = coefficients(beta, [f"x{k}" for k in range(length)])
    tau = standard_deviation("tau", tau)
    rng = source_of(seed)
    groups = np.repeat(np.arange(len(counts)), counts)
    X = np.column_stack([np.ones(len(groups)), rng.normal(size=(len(groups), length - 1))])
    return with_outcomes(rng, X, groups, beta, tau)


def with_outcomes(
    rng: np.random.Generator,
    X: Array,
    groups: NDArray[np.intp],
    beta: Array,
    tau: float,
    names: tuple[str, ...] = (),
    noise: float = 0.0,
) -> Simulated:
    """Draw an intercept for each group, and the outcomes.

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    X : ndarray of shape (n, p)
        Covariates.
    groups : ndarray of shape (n,)
        Groups, 0, 1, ..., in that order.
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts.
    names : tuple of str
        Names of the columns.
    noise : float
        Standard deviation of normal noise in the linear predictor of every row.
    """
    m = int(groups[-1]) + 1
    intercepts = rng.normal(0.0, tau, m)
    eta = X @ beta + intercepts[groups]
    if noise:
        eta = eta + rng.normal(0.0, noise, len(eta))
    y = (rng.random(len(eta)) < BERNOULLI.b_1(eta)).astype(float)
    return Simulated(y, X, groups, beta, intercepts, np.full(m, noise), tau, names)
