"""The walk: the maximum over the coefficients, followed over values of tau.

Its slope in log tau says between which values of tau the likelihood has its maxima, and so from
where to search. The quick look of `laplace.search` and the walk of many problems at once, in
`laplace.many.walks`, ask the same of such slopes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laplace.arguments import Array
from laplace.contribution import Contribution, Evaluate
from laplace.local import LocalSearch
from laplace.newton import Maximum, maximise, newton_step
from laplace.objective import Objective
from laplace.strategy import Strategy
from laplace.verdict import spacing

# Of an orthogonal column, whose mean square is one: from no coefficient beyond does a search start.
LARGEST_COEFFICIENT = 1e3
# Newton decrement at which the maximum over the coefficients is near enough, on the walk: what is
# left of the way, of value and of slope is then told by the derivatives.
TOLERANCE_OF_WALK = 0.1
# On the walk, nodes at most this far apart are enough. The error of equally spaced nodes falls like
# exp(-2 pi d / spacing), with d the distance to where the integrand is no longer smooth: pi for one
# row, and not below pi / 2 for many, or for counts. It is below 1e-4 of the integral of a group,
# where slopes of one sign and of the other differ by much more.
SPACING_OF_WALK = 1.0


@dataclass(frozen=True, eq=False)
class Profiled(Contribution):
    """What is maximised over the coefficients at a fixed tau.

    Attributes
    ----------
    slope : float
        Its derivative in log tau.
    cross : ndarray of shape (p,)
        The derivatives of the slope in the coefficients.
    """

    slope: float
    cross: Array

    @classmethod
    def of_both(cls, at: Contribution) -> Profiled:
        """Return what is maximised over the coefficients, of a function of these and log tau."""
        slope, cross = float(at.gradient[-1]), at.hessian[-1, :-1]
        return cls(at.value, at.gradient[:-1], at.hessian[:-1, :-1], slope, cross)

    def _with(self, value: float, gradient: Array, hessian: Array) -> Profiled:
        """Return it with another value and derivatives."""
        return Profiled(value, gradient, hessian, self.slope, self.cross)


@dataclass(frozen=True, eq=False)
class Station:
    """The maximum over the coefficients at a value of tau, on the walk.

    Attributes
    ----------
    tau : float
        The value.
    coefficients : ndarray of shape (p,)
        Of the orthogonal columns.
    along : ndarray of shape (p,)
        How they move with log tau.
    value, slope : float
        What is maximised, and its derivative in log tau.
    """

    tau: float
    coefficients: Array
    along: Array
    value: float
    slope: float

    @classmethod
    def of(cls, tau: float, found: Maximum) -> Station:
        """Return where a search over the coefficients leads: a step beyond where it ended."""
        at, theta = found.contribution, found.theta
        assert isinstance(at, Profiled)  # which is what was maximised
        along, _ = newton_step(Contribution(0.0, at.cross, at.hessian))
        if not found.converged:
            return cls(tau, theta, along, at.value, at.slope)
        step, _ = newton_step(at)
        value, slope = 0.5 * float(at.gradient @ step), float(at.cross @ step)
        return cls(tau, theta + step, along, at.value + value, at.slope + slope)


def follow(local: LocalSearch, taus: Array, nodes: int) -> list[Station]:
    """Follow the maximum over the coefficients from a small tau to a large one.

    At each tau a search starts from the higher of two points to which the last maxima lead: along
    the curve in log tau that they lie on, and by the attenuation, corrected by what it missed at
    the tau before.

    Parameters
    ----------
    local : LocalSearch
        What the first stages know of the problem.
    taus : ndarray
        The values of tau, in their order.
    nodes : int
        Number of nodes of the walk; where tau is small, fewer tell as much.
    """
    stations: list[Station] = []
    for tau in taus.tolist():
        objective = local.problem.objective(nodes_at(local.strategy, tau, nodes))

        def evaluate(beta: Array, tau: float = tau, objective: Objective = objective) -> Profiled:
            return Profiled.of_both(objective.at(beta, tau))

        start, there = _start(evaluate, local, stations, tau)
        found = maximise(
            evaluate,
            start,
            max_iterations=local.strategy.steps_of_walk,
            tolerance=TOLERANCE_OF_WALK,
            there=there,
        )
        stations.append(Station.of(tau, found))
    return stations


def nodes_at(strategy: Strategy, tau: float, nodes: int) -> int:
    """Return the fewest nodes that tell at a value of tau what the rule of a walk does."""
    fewer = sorted(k for _, k in strategy.reference_rules if k < nodes)
    return next((k for k in fewer if spacing(tau, k) <= SPACING_OF_WALK), nodes)


def walked_taus(first: float, last: float, ratio: float) -> Array:
    """Return values of tau from the first to the last, at most so many times apart."""
    steps = max(1, int(np.ceil(np.log(last / first) / np.log(ratio))))
    taus: Array = first * (last / first) ** (np.arange(steps + 1) / steps)
    return taus


def sees_only(
    slopes: Array, taus: Array, found: float, ratio: float, always_inside: bool = False
) -> bool:
    """Return whether slopes in log tau, at some values of it, tell of one maximum: that found.

    Parameters
    ----------
    slopes, taus : ndarray of shape (k,)
        The slopes, and where.
    found : float
        The maximum's tau.
    ratio : float
        It may lie so many times beyond the two values between which the slope changes its sign.
    always_inside : bool
        Whether a penalty keeps tau above zero.
    """
    rises = slopes > 0.0
    tops = np.flatnonzero(rises[:-1] & ~rises[1:])
    if rises[-1]:
        return False
    if found == 0.0:
        return not tops.size
    if tops.size != 1 or not (rises[0] or always_inside):
        return False
    return bool(taus[tops[0]] / ratio < found < taus[tops[0] + 1] * ratio)


def _start(
    evaluate: Evaluate, local: LocalSearch, stations: list[Station], tau: float
) -> tuple[Array, Contribution]:
    """Return from where to search at the next tau, and what was evaluated there."""
    if not stations:
        plain = local.plain().maximum.theta
        return plain, evaluate(plain)
    last = stations[-1]
    step = np.log(tau / last.tau)
    ahead = last.coefficients + step * last.along
    by_attenuation = local.moved(last.coefficients, last.tau, tau)
    if len(stations) > 1:
        before = stations[-2]
        pace = np.log(last.tau / before.tau)
        secant = (last.coefficients - before.coefficients) / pace
        ahead = ahead + step**2 / pace * (last.along - secant)
        by_attenuation = by_attenuation + (
            last.coefficients - local.moved(before.coefficients, before.tau, last.tau)
        )
    reached = []
    for start in (ahead, by_attenuation):
        tried = start if np.max(np.abs(start)) <= LARGEST_COEFFICIENT else last.coefficients
        reached.append((tried, evaluate(tried)))
    return max(reached, key=lambda pair: np.nan_to_num(pair[1].value, nan=-np.inf))
