r"""Profile-likelihood intervals.

The profile log-likelihood of a parameter is the log-likelihood maximised over all others. With
:math:`\hat\ell` the maximum and :math:`\ell_p(v)` the profile at the value v, the ends of the
interval of level :math:`1 - \alpha` are where

.. math:: r(v) = \sqrt{2(\hat\ell - \ell_p(v))}

reaches :math:`\sqrt{\chi^2_{1, 1-\alpha}}`. The derivative of :math:`\ell_p` is the partial
derivative of the log-likelihood at the inner maximum, so that r, which is nearly straight, is
solved by Newton's method, inside a bracket.

A coefficient is held in a rotation of the orthogonal columns of the fit in which it is the last
coefficient, but for a factor, whatever the others are. Inner searches end at a tau of zero where
the likelihood is highest there.

Where the likelihood has other maxima, inner searches start from all of them, and the profile is the
highest of what they find. The values that are not rejected may then lie in two pieces, around two
of the maxima: each is followed from its own.

References
----------
Cox, D. R. and Snell, E. J. (1989). Analysis of Binary Data, 2nd edition, appendix 1. Chapman and
Hall.

Venzon, D. J. and Moolgavkar, S. H. (1988). A method for computing profile-likelihood-based
confidence intervals. Journal of the Royal Statistical Society: Series C 37, 87-94.
doi:10.2307/2347496
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from laplace.arguments import SMALLEST_TAU, Array
from laplace.contribution import COEFFICIENTS, AtZero, Contribution
from laplace.later import special
from laplace.local import MAX_STEP_LOG_TAU, NEGLIGIBLE_VARIANCE, TAU_LIMIT
from laplace.newton import Maximum, maximise
from laplace.objective import Objective

# The profile interval of tau ends at 0 below the first, and is infinite beyond the second.
SMALLEST_LOG_TAU = float(np.log(SMALLEST_TAU))
LARGEST_LOG_TAU = float(np.log(TAU_LIMIT))
LONGEST_STEP = 5.0
# A coefficient of this size on a column of unit mean square moves the predictor of a typical row
# by as much: where the profile has not fallen by then, it never does.
LARGEST_EFFECT = 1e3
# Of a sum, relative to the sizes of its terms.
ROUNDING = 16.0 * float(np.finfo(float).eps)
ROOT_TOLERANCE = 1e-11  # of the step, relative to the distance from the estimate
MAX_ROOT_STEPS = 100
# An estimate whose inner searches find a value above its own by more than this is no maximum.
HIGHER = 1e-6
# Next to the end of an interval the profile is this near to the cut, unless it jumps over it.
JUMP = 1e-6

Profile = Callable[[float], tuple[float, float]]

# The parameters but the last coefficient, which is held; and without log tau, too.
OTHERS = slice(-2)


class Stop(Enum):
    """Why an inner search was stopped."""

    ZERO = "tau falls to zero"
    INFINITY = "tau rises without end"


@dataclass(frozen=True, eq=False)
class Peak:
    """The maximum whose likelihood is profiled.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts.
    tau_is_free : bool
        Whether it was estimated.
    value : float
        What was maximised: the log-likelihood, with a penalty if there is one.
    llf : float
        The log-likelihood alone.
    hessian : ndarray of shape (q, q)
        Second derivative of what was maximised, in the parameters that were estimated and are not
        on the boundary.
    always_inside : bool
        Whether a penalty keeps tau above zero.
    size : float
        About the sum of the sizes of the terms of the log-likelihood, of whose digits it loses the
        last.
    others : tuple of (ndarray, float)
        Coefficients and tau near other maxima.
    """

    beta: Array
    tau: float
    tau_is_free: bool
    value: float
    llf: float
    hessian: Array
    always_inside: bool
    size: float
    others: tuple[tuple[Array, float], ...] = ()

    @property
    def boundary(self) -> bool:
        """Whether tau was estimated at zero."""
        return self.tau_is_free and self.tau == 0.0

    @property
    def rounding(self) -> float:
        """What rounding may leave of a difference of two values."""
        return ROUNDING * self.size


Piece = tuple[float, float]


def profile_intervals(peak: Peak, objective: Objective, alpha: float) -> list[list[Piece]]:
    """Return what the profile likelihood does not reject, for each parameter of a fit.

    Parameters
    ----------
    peak : Peak
        A maximum.
    objective : Objective
        What was maximised. Where it has a penalty, the penalised log-likelihood is profiled.
    alpha : float
        One minus the level.

    Returns
    -------
    list of list of (float, float)
        For each coefficient, and for tau where it is free, the ends of the pieces, in increasing
        order: one, or more where there are several maxima. The lower end of `tau` is 0 where the
        likelihood there is within the cut, and an end is infinite where the profile never falls to
        it.

    Raises
    ------
    ArithmeticError
        If an inner search did not converge, or found a higher likelihood than that of the peak.
    """
    cut = float(np.sqrt(special().chdtri(1, alpha)))
    pieces = [_coefficient_pieces(peak, objective, k, cut) for k in range(len(peak.beta))]
    if peak.tau_is_free:
        pieces.append(_tau_pieces(peak, objective, cut))
    return [joined(of) for of in pieces]


def joined(pieces: list[Piece]) -> list[Piece]:
    """Return pieces in increasing order, those that overlap as one."""
    result: list[Piece] = []
    for low, high in sorted(pieces):
        if result and low <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], high)
        else:
            result.append((low, high))
    return result


def rotation_of(objective: Objective, k: int) -> tuple[Array, float]:
    """Return the rotation in which coefficient k is the last one times a factor, and the factor."""
    # coefficient k is this row times those of the orthogonal columns
    row = objective.basis.inverse[k]
    q, _ = np.linalg.qr(row[:, None], mode="complete")
    rotation = q[:, np.roll(np.arange(len(row)), -1)].T
    return np.asarray(rotation), float(row @ q[:, 0])


def _coefficient_pieces(peak: Peak, objective: Objective, k: int, cut: float) -> list[Piece]:
    """Return the pieces of the interval of coefficient k."""
    p = len(peak.beta)
    rotation, unit = rotation_of(objective, k)

    def side(estimate: Array, tau: float, sign: float) -> float:
        inner = Inner(peak, objective, rotation)

        def profile(distance: float) -> tuple[float, float]:
            value, slope = inner.at_coefficient(estimate[-1] + sign * distance)
            return peak.value - value, -sign * slope

        # the curvature of the likelihood there, which exceeds that of the profile: a lower bound
        curvature = -float(inner.evaluate(estimate, tau).hessian[p - 1, p - 1])
        first = cut / np.sqrt(curvature) if curvature > 0.0 else cut
        furthest = LARGEST_EFFECT + abs(float(estimate[-1]))
        end = _solve(profile, cut, first, furthest, peak)
        return float((estimate[-1] + sign * end) * unit)

    sign = float(np.sign(unit))
    pieces = []
    for beta, tau in [(peak.beta, peak.tau), *peak.others]:
        estimate = rotation @ objective.basis.forward(beta)
        value, _ = Inner(peak, objective, rotation).at_coefficient(estimate[-1])
        if 2.0 * (peak.value - value) < cut**2:
            pieces.append((side(estimate, tau, -sign), side(estimate, tau, sign)))
    return pieces


def _tau_pieces(peak: Peak, objective: Objective, cut: float) -> list[Piece]:
    """Return the pieces of the interval of tau."""
    rotation = np.eye(len(peak.beta))

    def inner_at(beta: Array) -> Inner:
        inner = Inner(peak, objective, rotation)
        inner.beta = objective.basis.forward(beta)
        return inner

    def side(beta: Array, sign: float, start: float, furthest: float, first: float) -> float:
        inner = inner_at(beta)

        def profile(distance: float) -> tuple[float, float]:
            value, slope = inner.at_tau(float(np.exp(start + sign * distance)))
            return peak.value - value, -sign * slope

        end = _solve(profile, cut, first, furthest, peak)
        return float(np.exp(start + sign * end))

    def from_zero() -> Piece:
        # the log-likelihood falls from tau = 0 as slope * tau^2 at first, and faster later
        inner = Inner(peak, objective, rotation)
        slope = min(objective.without(inner.estimate).slope, -1.0)
        start = float(np.log(cut / np.sqrt(-2.0 * slope))) - 3.0
        while start > SMALLEST_LOG_TAU:
            if 2.0 * (peak.value - inner.at_tau(float(np.exp(start)))[0]) < cut**2:
                break
            start -= 3.0
        return 0.0, side(peak.beta, 1.0, start, LARGEST_LOG_TAU - start, 2.5)

    inner = Inner(peak, objective, rotation)
    zero_is_in = False
    if not peak.always_inside:
        zero_is_in = peak.boundary or 2.0 * (peak.value - inner.at_tau(0.0)[0]) <= cut**2
    zero_is_a_maximum = peak.boundary or any(tau == 0.0 for _, tau in peak.others)
    pieces = []
    if zero_is_in and zero_is_a_maximum:
        pieces.append(from_zero())
    for beta, tau in [(peak.beta, peak.tau), *peak.others]:
        if tau == 0.0 or 2.0 * (peak.value - inner_at(beta).at_tau(tau)[0]) >= cut**2:
            continue
        start = float(np.log(tau))
        curvature = -float(peak.hessian[-1, -1]) if tau == peak.tau else 0.0
        first = float(np.clip(cut / np.sqrt(curvature), 0.05, 1.0)) if curvature > 0.0 else 0.5
        upper = side(beta, 1.0, start, LARGEST_LOG_TAU - start, first)
        if zero_is_in and not zero_is_a_maximum:
            pieces.append((0.0, upper))
        else:
            lower = side(beta, -1.0, start, start - SMALLEST_LOG_TAU, first)
            pieces.append((lower if np.isfinite(lower) else 0.0, upper))
    return pieces


@dataclass(eq=False)
class _Branch:
    """Where inner searches that began at one maximum have come to.

    Attributes
    ----------
    estimate : ndarray of shape (p,)
        Coefficients of the searches at that maximum.
    beta, tau : ndarray of shape (p,), float
        Where the last search ended.
    """

    estimate: Array
    beta: Array
    tau: float


class Inner:
    """The maximum over the other parameters, each search from where the last one ended.

    Parameters
    ----------
    peak : Peak
        Where the searches start.
    objective : Objective
        What is maximised.
    rotation : ndarray of shape (p, p)
        Orthogonal; takes the coefficients of the orthogonal columns to those of the searches.
    """

    def __init__(self, peak: Peak, objective: Objective, rotation: Array) -> None:
        self.objective = objective
        self.rotation = rotation
        self.jacobian = np.eye(len(rotation) + 1)
        self.jacobian[:-1, :-1] = rotation.T
        self.tau_is_free = peak.tau_is_free
        self.always_inside = peak.always_inside
        self.tau = peak.tau
        self.estimate = rotation @ objective.basis.forward(peak.beta)
        self.beta = self.estimate
        self.beta_at_zero = self.estimate
        self.branches = []
        for beta, tau in [(peak.beta, peak.tau), *peak.others]:
            other = rotation @ objective.basis.forward(beta)
            self.branches.append(_Branch(other, other, tau))

    def at_tau(self, tau: float) -> tuple[float, float]:
        """Return the maximum over the coefficients, and its derivative in log tau."""

        def evaluate(beta: Array) -> Contribution:
            return self.evaluate(beta, tau).of(COEFFICIENTS)

        found = _converged(maximise(evaluate, self.beta, max_step=_longest(self.beta)))
        self.beta = found.theta
        return found.contribution.value, float(self.evaluate(self.beta, tau).gradient[-1])

    def at_coefficient(self, value: float) -> tuple[float, float]:
        """Return the maximum with the last coefficient held, and its derivative in it."""
        candidates = []
        if not self.tau_is_free:
            start = _ahead(self.estimate, self.beta, value)
            self.beta = self._over_others(start, self.tau)
            candidates.append(self.evaluate(self.beta, self.tau))
        else:
            zero = None
            if not self.always_inside:
                start = _ahead(self.estimate, self.beta_at_zero, value)
                self.beta_at_zero = self._over_others(start, 0.0)
                zero = self.objective.without(self.rotation.T @ self.beta_at_zero)
                if zero.slope <= 0.0:
                    candidates.append(zero.transformed(self.jacobian))
            for branch in self.branches:
                inside = self._over_others_and_tau(branch, value, zero)
                if inside is not None:
                    candidates.append(inside)
        best = max(candidates, key=lambda at: at.value)
        return best.value, float(best.gradient[-2])

    def evaluate(self, beta: Array, tau: float) -> Contribution:
        """Evaluate at the coefficients of the searches."""
        coefficients = self.rotation.T @ beta
        if tau == 0.0:
            return self.objective.without(coefficients).transformed(self.jacobian)
        return self.objective.at(coefficients, tau).transformed(self.jacobian)

    def _over_others(self, start: Array, tau: float) -> Array:
        """Maximise over all coefficients but the last, at a fixed tau."""
        value = start[-1]
        if len(start) == 1:
            return start

        def evaluate(others: Array) -> Contribution:
            return self.evaluate(np.append(others, value), tau).of(OTHERS)

        found = maximise(evaluate, start[:-1], max_step=_longest(start)[:-1])
        return np.append(_converged(found).theta, value)

    def _over_others_and_tau(
        self, branch: _Branch, value: float, zero: AtZero | None
    ) -> Contribution | None:
        """Maximise over all parameters but the last coefficient; None where that leads to zero."""
        start = _ahead(branch.estimate, branch.beta, value)
        p = len(start)
        free = np.append(np.arange(p - 1), p)

        def full(theta: Array) -> Contribution:
            return self.evaluate(np.append(theta[:-1], value), float(np.exp(theta[-1])))

        def evaluate(theta: Array) -> Contribution:
            return full(theta).of(free)

        falls_at_zero = zero is not None and zero.slope <= 0.0
        information = 0.0 if zero is None else zero.most

        def stop(theta: Array, at: Contribution) -> Stop | None:
            if theta[-1] > LARGEST_LOG_TAU:
                return Stop.INFINITY
            variance = float(np.exp(2.0 * theta[-1])) * information
            falls = falls_at_zero and at.gradient[-1] < 0.0
            return Stop.ZERO if falls and variance < NEGLIGIBLE_VARIANCE else None

        tau = branch.tau
        if tau == 0.0:  # from the boundary, the first step is one of Fisher's scoring
            assert zero is not None
            squared = 2.0 * zero.slope / zero.squares if zero.squares > 0.0 else 0.0
            tau = float(np.clip(np.sqrt(max(squared, 0.0)), SMALLEST_TAU, 0.5))
            if squared <= 0.0:
                tau = 0.5
        found = maximise(
            evaluate,
            np.append(start[:-1], np.log(tau)),
            max_step=np.append(_longest(start)[:-1], MAX_STEP_LOG_TAU),
            stop=stop,
        )
        if found.reason is Stop.ZERO:
            return None
        if found.reason is not Stop.INFINITY:
            _converged(found)
        branch.beta = np.append(found.theta[:-1], value)
        branch.tau = float(np.exp(found.theta[-1]))
        return full(found.theta)


def _ahead(estimate: Array, beta: Array, value: float) -> Array:
    """Follow the line from an estimate through the last maximum to the value held."""
    gone = beta[-1] - estimate[-1]
    if gone == 0.0:
        return np.append(beta[:-1], value)
    line = estimate + (beta - estimate) * (value - estimate[-1]) / gone
    return np.append(line[:-1], value)


def _longest(start: Array) -> Array:
    """Return the longest step of each coefficient.

    Far out, where every probability is 0 or 1 to rounding, Newton's step has any length.
    """
    return np.full(len(start), LONGEST_STEP + 0.2 * float(np.max(np.abs(start))))


def _converged(found: Maximum) -> Maximum:
    if not found.converged:
        raise ArithmeticError(
            "the profile likelihood could not be followed: an inner search ended with "
            f"{found.message!r}; use method='wald'"
        )
    return found


def _solve(profile: Profile, cut: float, first: float, furthest: float, peak: Peak) -> float:
    r"""Distance at which :math:`r = \sqrt{2 \, \mathrm{fall}}` reaches the cut, or infinity.

    `profile` maps a distance to how far the profile has fallen, and to the derivative of that.
    """
    # the relative error of a distance that the rounding of the log-likelihood leaves
    tolerance = max(ROOT_TOLERANCE, peak.rounding / cut**2)
    higher = max(HIGHER, peak.rounding)
    low, high = 0.0, np.inf
    at = min(first, furthest)
    for _ in range(MAX_ROOT_STEPS):
        fall, slope = profile(at)
        if fall < -higher:
            raise ArithmeticError(
                "a profile found a higher likelihood than that of the fit, which is not its "
                "maximum; fit again with more nodes, or use method='wald'"
            )
        root = np.sqrt(2.0 * max(fall, 0.0))
        if root < cut:
            if at >= furthest:
                return np.inf
            low = at
        else:
            high = at
        # dr/dv = fall' / r
        step = (cut - root) * root / slope if slope > 0.0 and root > 0.0 else np.inf
        if abs(step) <= tolerance * at:
            return at
        new = at + step
        if np.isfinite(high):
            if high - low <= tolerance * high:
                if abs(root - cut) > max(JUMP, peak.rounding) * cut:
                    raise ArithmeticError(
                        "a profile jumps over the cut, as the approximate likelihood has several "
                        "maxima; fit again with more nodes, or use method='wald'"
                    )
                return at
            if not low < new < high:
                new = 0.5 * (low + high)
        elif not new > at:
            new = np.inf
        at = float(min(new, 3.0 * at, furthest))
    raise ArithmeticError(
        f"the end of a profile interval was not found in {MAX_ROOT_STEPS} steps; use method='wald'"
    )
