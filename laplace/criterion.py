r"""The criterion of a restricted fit: the adjusted profile likelihood of tau.

The adjusted profile log-likelihood of Cox and Reid (1987) takes from the profile log-likelihood
of tau what the coefficients cost,

.. math:: A(\tau) = l(\hat\beta_\tau, \tau) - \tfrac12 \log\det(-l_{\beta\beta'}), \qquad
   \hat\beta_\tau = \arg\max_\beta l(\beta, \tau),

with the Hessian at :math:`(\hat\beta_\tau, \tau)`. But for the constant
:math:`\tfrac{p}{2}\log 2\pi` it is the Laplace approximation to the logarithm of
:math:`\int e^{l(\beta, \tau)} d\beta`, the likelihood integrated over the coefficients with a flat
prior. For normal outcomes that is the restricted likelihood, so that this is its idea for the
present model, and not an exact restricted likelihood. It depends on the columns of X: another unit
of a column adds a constant, and other columns change it; so it is compared only between models with
the same X.

The estimate of tau is the highest maximum over all tau, zero included: the criterion there is that
of the model without random intercepts. The coefficients are :math:`\hat\beta_\tau`, and their
covariance :math:`(-l_{\beta\beta'})^{-1}`, both at that tau.

Values of l, its gradient and its Hessian are all that is asked of the rows. The derivative of A in
:math:`\log\tau` is :math:`l_{\log\tau}` minus half that of the log determinant along the path of
:math:`\hat\beta_\tau`, whose tangent is :math:`(-l_{\beta\beta'})^{-1} l_{\beta\log\tau}`; it is
taken by differences of points on the tangent, which have the same derivative.

References
----------
Cox, D. R. and Reid, N. (1987). Parameter orthogonality and approximate conditional inference.
Journal of the Royal Statistical Society: Series B 49, 1-39.
doi:10.1111/j.2517-6161.1987.tb01422.x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from laplace.arguments import SMALLEST_TAU, Array
from laplace.contribution import Contribution
from laplace.estimate import Estimate, covariance_of
from laplace.later import linalg
from laplace.local import NEGLIGIBLE_VARIANCE, TAU_LIMIT, LocalSearch
from laplace.newton import DECREMENT_TOLERANCE, maximise
from laplace.objective import Problem
from laplace.strategy import STRATEGY
from laplace.verdict import Verdict, judge, judge_by, more_nodes, spacing

# From so many groups on, the search begins at the maximum of the likelihood where nothing is
# doubtful there: the adjustment moves log tau by about the number of columns over twice that of
# groups. And errors of the log determinant count for little.
MANY_GROUPS = 50
# With fewer, nodes have to be as near to each other as this where some group has one outcome only.
# At a distance of 2, in 60 random designs, the criterion was off by at most 0.07, and its
# derivative in log tau by 0.8, which moved one estimate by 0.7 standard errors; at 4, by 1 and 16.
FINE_SPACING = 1.5
# And of counts as near as this: the error of equally spaced nodes falls like exp(-pi^2 / spacing)
# for them, and for one row like exp(-2 pi^2 / spacing).
FINE_SPACING_OF_COUNTS = 1.0
# The ratio of the values of tau at which the criterion is followed.
RATIO = STRATEGY.walk_ratio
# First factor of tau on the way uphill from a start; it is squared at every step.
FIRST_FACTOR = 1.1
# Of log tau.
TOLERANCE = 1e-13
# A value at one end of a bracket is zero but for rounding below this part of that at the other.
ROUNDING = 1e-6
# Step in log tau of a second derivative, which is only needed for standard errors: to 1e-6.
STEP_OF_SLOPE = 1e-3


class Stencil(NamedTuple):
    """Points of a first derivative in log tau: a step, and how many steps with which weights."""

    step: float
    weights: tuple[tuple[float, float], ...]


# With an error near 1e-11; and near 1e-4, for a sign or for what is small itself.
FINE = Stencil(5e-3, ((-2.0, 1 / 12), (-1.0, -2 / 3), (1.0, 2 / 3), (2.0, -1 / 12)))
ROUGH = Stencil(2e-2, ((-1.0, -0.5), (1.0, 0.5)))


class Stop(Enum):
    """Why a search for the maximum of the criterion ended without one; the value says it."""

    UNBOUNDED = (
        "the criterion of reml=True still rises at a large tau: hardly any group has both "
        "outcomes (or, of counts, an event), so that the data do not bound tau; fix tau without "
        "reml, or use groups with both outcomes (or with events)"
    )
    FEW_MIXED = (
        "fewer groups have both outcomes than columns are constant within groups (of counts, fewer "
        "have an event): the criterion of reml=True rises without end as tau grows, so that tau "
        "has no estimate; leave out such columns, or fix tau without reml"
    )
    LOST = (
        "the criterion of reml=True could not be followed over tau, as a search for the "
        "coefficients did not converge; fit with more nodes, or without reml"
    )


@dataclass(frozen=True, eq=False)
class Held(Contribution):
    """The log-likelihood as a function of the coefficients, and as one of log tau, too."""

    whole: Contribution


@dataclass(frozen=True, eq=False)
class Point:
    """The criterion at a tau.

    Attributes
    ----------
    tau : float
        Where.
    coefficients : ndarray of shape (p,)
        Of the orthogonal columns: the best ones.
    whole : Contribution
        The log-likelihood there, in these and log tau.
    value : float
        The criterion, in the columns of X.
    """

    tau: float
    coefficients: Array
    whole: Contribution
    value: float

    @property
    def tangent(self) -> Array:
        """Derivative of the best coefficients in log tau; shape (p,)."""
        hessian = self.whole.hessian
        return np.asarray(np.linalg.solve(-hessian[:-1, :-1], hessian[:-1, -1]))


class Criterion:
    """The criterion by a number of nodes, as a function of tau.

    Parameters
    ----------
    local : LocalSearch
        Knows the problem, and its fit without random intercepts.
    nodes : int
        Number of quadrature nodes.

    Attributes
    ----------
    steps : int
        Newton steps for the coefficients, so far.
    """

    def __init__(self, local: LocalSearch, nodes: int) -> None:
        self.local = local
        self.nodes = nodes
        self.problem = local.problem
        self.objective = self.problem.likelihood(nodes)
        self.steps = 0

    def at(
        self, tau: float, near: Point | None, tolerance: float = DECREMENT_TOLERANCE
    ) -> Point | None:
        """Return the criterion at a tau, from a point near; None where it could not be found."""

        def evaluate(coefficients: Array) -> Held:
            whole = self.objective.at(coefficients, tau)
            return Held(whole.value, whole.gradient[:-1], whole.hessian[:-1, :-1], whole)

        plain = self.local.plain().maximum.theta
        start = self.local.moved(plain, 0.0, tau) if near is None else near.coefficients
        if near is not None:
            start = start + near.tangent * np.log(tau / near.tau)
        found = maximise(evaluate, start, tolerance=tolerance)
        self.steps += found.iterations
        if not found.converged:
            return None
        assert isinstance(found.contribution, Held)  # which is what `evaluate` returns
        whole = found.contribution.whole
        value = whole.value + adjustment(self.problem, whole.hessian)
        return Point(tau, found.theta, whole, value) if np.isfinite(value) else None

    def at_zero(self) -> float:
        """Return the criterion without random intercepts."""
        maximum = self.local.plain().maximum
        there = maximum.contribution
        return there.value + adjustment(self.problem, there.hessian)

    def slope(self, at: Point, stencil: Stencil = FINE) -> float:
        """Return the derivative of the criterion in log tau."""

        def added(coefficients: Array, tau: float) -> float:
            return adjustment(self.problem, self.objective.at(coefficients, tau).hessian)

        self.objective.ahead([point[:2] for point in on_tangent(at, stencil)])
        return float(at.whole.gradient[-1]) + along_tangent(at, added, stencil)

    def curvature(self, at: Point) -> float:
        """Return the second derivative of the criterion in log tau; NaN where it is not found."""
        sides = [self.at(at.tau * float(np.exp(h * STEP_OF_SLOPE)), at) for h in (-1.0, 1.0)]
        before, after = (np.nan if side is None else self.slope(side) for side in sides)
        return (after - before) / (2.0 * STEP_OF_SLOPE)

    def climb(self, start: Point) -> Point | Stop | None:
        """Return the maximum uphill from a point; None where that leads to tau = 0."""
        at, factor = start, FIRST_FACTOR
        slope = self.slope(start)
        rises = slope > 0.0
        while np.isfinite(slope):
            tau = at.tau * factor if rises else at.tau / factor
            if tau > TAU_LIMIT:
                return Stop.UNBOUNDED
            if not rises and tau < least_tau(self.local):
                return None
            there = self.at(tau, at)
            if there is None:
                return Stop.LOST
            slope = self.slope(there)
            if np.isfinite(slope) and (slope > 0.0) != rises:
                return self._between(at, there)
            at, factor = there, min(factor**2, RATIO)
        return Stop.LOST

    def _between(self, one: Point, other: Point) -> Point | Stop:
        """Return the maximum between two points, of which one is on each side."""
        last = one

        def slope_at(log_tau: float) -> float:
            nonlocal last
            there = self.at(float(np.exp(log_tau)), last)
            if there is None:
                raise _LostError
            last, slope = there, self.slope(there)
            if not np.isfinite(slope):
                raise _LostError
            return slope

        ends = sorted(float(np.log(point.tau)) for point in (one, other))
        try:
            log_tau = root(slope_at, *ends)
            there = self.at(float(np.exp(log_tau)), last)
        except _LostError:
            return Stop.LOST
        return Stop.LOST if there is None else there


class _LostError(Exception):
    """An inner search did not converge."""


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return a zero of a function of log tau between two values with different signs.

    Where one of them is the zero itself, rounding may give both the same sign; any other two of the
    same sign have no zero that is known to lie between them.
    """
    from scipy.optimize import brentq

    known = {end: function(end) for end in (low, high)}
    if known[low] * known[high] >= 0.0:
        nearest, other = sorted(known, key=lambda end: abs(known[end]))
        if abs(known[nearest]) > ROUNDING * abs(known[other]):
            raise _LostError
        return nearest

    def evaluate(log_tau: float) -> float:
        return known[log_tau] if log_tau in known else function(log_tau)

    return float(brentq(evaluate, low, high, xtol=TOLERANCE, rtol=4.0 * np.finfo(float).eps))


def adjustment(problem: Problem, hessian: Array) -> float:
    """Return minus half the log determinant, of the columns of X; NaN where there is none.

    The Hessian is that of the log-likelihood in the coefficients of the orthogonal columns, and
    further parameters after these.
    """
    p = problem.census.p
    factor, failed = linalg().lapack.dpotrf(-hessian[:p, :p], lower=1)
    if failed or not np.all(np.isfinite(factor)):
        return float("nan")
    diagonal = np.abs(np.diag(factor) * np.diag(problem.basis.triangle))
    return -float(np.sum(np.log(diagonal)))


def along_tangent(at: Point, function: Callable[[Array, float], float], stencil: Stencil) -> float:
    """Return the derivative of a function of coefficients and tau, along the path of the best."""
    total = 0.0
    for coefficients, tau, weight in on_tangent(at, stencil):
        total += weight * function(coefficients, tau)
    return total / stencil.step


def on_tangent(at: Point, stencil: Stencil) -> list[tuple[Array, float, float]]:
    """Return points on the tangent: coefficients, tau, and their weights in a derivative."""
    tangent = at.tangent
    steps = [(steps * stencil.step, weight) for steps, weight in stencil.weights]
    return [
        (at.coefficients + step * tangent, at.tau * float(np.exp(step)), weight)
        for step, weight in steps
    ]


def least_tau(local: LocalSearch) -> float:
    """Return up to where the criterion is linear in tau squared, but for what is negligible."""
    return float(np.sqrt(NEGLIGIBLE_VARIANCE / max(local.signs().most, 1.0)))


def end_of(criterion: Criterion, start: Point, sign: float, level: float) -> float:
    """Return where the criterion falls to a level, upward or downward from a tau."""
    at, factor = start, FIRST_FACTOR
    if start.value < level:  # this near to zero the criterion is linear in tau squared
        sign = -1.0
    while True:
        tau = at.tau * factor**sign
        if not SMALLEST_TAU < tau < TAU_LIMIT:
            return 0.0 if sign < 0.0 else np.inf
        there = criterion.at(tau, at)
        if there is None:
            return np.nan
        if (there.value < level) != (start.value < level):
            break
        at, factor = there, min(factor**2, RATIO if tau > least_tau(criterion.local) else 1e3)
    last = at

    def above(log_tau: float) -> float:
        nonlocal last
        there = criterion.at(float(np.exp(log_tau)), last)
        if there is None:
            raise _LostError
        last = there
        return there.value - level

    ends = sorted(float(np.log(point.tau)) for point in (at, there))
    try:
        return float(np.exp(root(above, *ends)))
    except _LostError:
        return np.nan


def judge_restricted(local: LocalSearch, estimate: Estimate, nodes: int | None) -> Verdict:
    """Return what a reference rule says of an estimate, by some evaluations near it.

    It is that of `laplace.verdict`, with the criterion in the place of the log-likelihood; the
    second derivative of the adjustment is that of the fit.

    Parameters
    ----------
    local : LocalSearch
        Knows the problem.
    estimate : Estimate
        A maximum of the criterion.
    nodes : int or None
        Number of nodes of the reference.
    """
    if estimate.tau == 0.0 or nodes is None:
        return judge(estimate, -np.inf, nodes)
    problem, own = estimate.problem, estimate.likelihood
    p = problem.census.p
    criterion = Criterion(local, estimate.nodes)
    coefficients = problem.basis.forward(estimate.beta)
    at = Point(estimate.tau, coefficients, own, estimate.maximised.value)

    def more(likelihood: Contribution, coefficients: Array, tau: float) -> Contribution:
        return more_nodes(problem, (estimate.nodes, likelihood), nodes, coefficients, tau)

    def added(coefficients: Array, tau: float) -> float:
        there = criterion.objective.at(coefficients, tau)
        by_reference = there.hessian + more(there, coefficients, tau).hessian
        return adjustment(problem, by_reference) - adjustment(problem, there.hessian)

    here = more(own, coefficients, estimate.tau)
    hessian = own.hessian + here.hessian
    value = own.value + here.value + adjustment(problem, hessian)
    slopes = np.append(np.zeros(p), along_tangent(at, added, ROUGH))
    by_reference = Contribution(
        value,
        estimate.maximised.gradient + here.gradient + slopes,
        estimate.maximised.hessian + here.hessian,
    )
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where there is no maximum near
        cross = by_reference.hessian[:p, p]
        curvature = by_reference.hessian[p, p] + cross @ np.linalg.solve(-hessian[:p, :p], cross)
        standard_errors = np.sqrt(
            np.append(
                np.diag(covariance_of(hessian[:p, :p], problem.basis)),
                -1.0 / curvature if curvature < 0.0 else np.nan,
            )
        )
    verdict = judge_by(estimate, by_reference, standard_errors, criterion.at_zero(), nodes)
    census = problem.census
    if census.m >= MANY_GROUPS or census.mixed_groups == census.m:
        return verdict
    return replace(verdict, resolves=spacing(estimate.tau, nodes) <= FINE_SPACING)
