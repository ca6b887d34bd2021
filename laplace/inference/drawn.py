"""Outcomes drawn from a fitted model, for the same rows and with new random intercepts."""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.arguments import Array, whole_number
from laplace.later import pd

# What numpy takes as a source of random numbers besides a whole number.
SOURCES = np.random.SeedSequence | np.random.Generator | np.random.BitGenerator


def source_of(seed: Any) -> np.random.Generator:
    """Return the random numbers that a seed gives.

    Raises
    ------
    TypeError, ValueError
        If it is neither a whole number that is not negative, nor a SeedSequence or Generator.
    """
    if seed is not None and not isinstance(seed, SOURCES):
        hint = "; a numpy SeedSequence or Generator will do, too"
        seed = whole_number("seed", seed, minimum=0, hint=hint)
    return np.random.default_rng(seed)


def check_single(data: Any, what: str) -> None:
    """Refuse rows that stand for several, whose outcomes would differ.

    Parameters
    ----------
    data : GroupedData
        The rows.
    what : str
        What draws, as the caller knows it.

    Raises
    ------
    ValueError
        If a weight is not one.
    """
    if data.weights is not None and np.any(data.weights != 1.0):
        raise ValueError(
            f"{what} draws an outcome for each row, but the rows of this fit stand for several by "
            "their weights; fit the rows written out, by numpy.repeat"
        )


def drawn_outcomes(data: Any, fixed: Array, tau: float, seed: Any) -> Array:
    """Draw outcomes for the sorted rows, each of which stands for itself alone.

    Parameters
    ----------
    data : GroupedData
        The rows, as `check_single` lets them pass.
    fixed : ndarray of shape (n,)
        Linear predictor of the sorted rows without random intercept.
    tau : float
        Standard deviation of the random intercepts.
    seed : int, SeedSequence, Generator or None
        Source of the random numbers.

    Returns
    -------
    ndarray of shape (n,)
        In the order of the sorted rows.
    """
    generator = source_of(seed)
    eta = fixed + generator.normal(0.0, tau, data.m)[data.codes]
    mean, largest = data.family.predicted(eta), data.largest
    if not np.all(np.isfinite(largest)):
        return np.asarray(generator.poisson(mean), dtype=float)
    return np.asarray(generator.binomial(largest.astype(int), mean), dtype=float)


def simulated(data: Any, fixed: Array, tau: float, seed: Any) -> pd.Series:
    """Return drawn outcomes, a row each, in the order in which the rows were given.

    Parameters
    ----------
    data, fixed, tau, seed
        As in `drawn_outcomes`.

    Returns
    -------
    Series

    Raises
    ------
    TypeError, ValueError
        If rows stand for several each, or the seed is no source of random numbers.
    """
    check_single(data, "simulate()")
    drawn = drawn_outcomes(data, fixed, tau, seed)
    return pd.Series(data.as_given(drawn), index=data.index, name="simulated")
