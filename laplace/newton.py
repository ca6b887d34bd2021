"""A safeguarded Newton method over any function that returns value, gradient and Hessian.

It never sees data: `evaluate` may run here, in other processes, or be a sum of what sites send.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from laplace.arguments import Array
from laplace.contribution import Contribution, Evaluate
from laplace.later import linalg

# The decrement is twice the gain still to be had; at this size the gain is far below rounding, and
# the parameters are within 1e-12 standard errors of the maximum.
DECREMENT_TOLERANCE = 1e-24
# Where rounding keeps the decrement from falling further, this is still a maximum (1e-6 SE).
DECREMENT_ACCEPTED = 1e-12
# Below this decrement the value cannot tell steps apart; Newton steps are taken as they are.
DECREMENT_QUADRATIC = 1e-8
# Up to here, where the value has no more digits to tell whether a step rises, the gradient does;
DECREMENT_BY_GRADIENT = 0.1
# and up to here it is the rounding of the value that ends a search.
DECREMENT_ROUNDING = 1e-3
# With rounding alone in the way, each Newton step makes the decrement less by more than this.
SLOWEST_FALL = 0.25
SUFFICIENT_INCREASE = 1e-4
EIGENVALUE_FLOOR = 1e-12
# The pivots of a matrix with a unit diagonal, when its smallest eigenvalue is near the floor, are
# not all above this.
LEAST_PIVOT = 1e-3
MAX_HALVINGS = 40
# Where the gradient is zero, but the value curves upward by more than this, is a saddle.
SADDLE_CURVATURE = 1e-6


class Ending(Enum):
    """How a search ended; the value says it in words."""

    MAXIMUM = "converged"
    ROUNDING = (
        "converged to the rounding of the log-likelihood; the estimates are within about "
        "{distance:.0e} standard errors"
    )
    NOT_FINITE = "the derivatives are not finite; rescale X or the offset"
    SADDLE = "the gradient is zero, but not at a maximum; start from other values"
    NO_RISE = "no step along the Newton direction raises the value"
    TOO_LONG = "no convergence in {steps} steps; the maximum may lie at infinity"
    STOPPED = "{reason}"


class Step(NamedTuple):
    """A point on the way to the maximum.

    Attributes
    ----------
    value : float
        Value there.
    decrement : float
        Newton decrement: about the square of the distance to the maximum, in standard errors.
    """

    value: float
    decrement: float


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where `maximise` ended, and how.

    Attributes
    ----------
    theta : ndarray
        Parameters.
    contribution : Contribution
        Value, gradient and Hessian there: what `evaluate` returned.
    ending : Ending
        How it ended.
    iterations : int
        Number of Newton steps taken.
    message : str
        What happened, and what to do where it did not converge.
    history : tuple of Step
        Value and Newton decrement at each iterate.
    reason : Enum or None
        What `stop` returned, where it ended the search.
    """

    theta: Array
    contribution: Contribution
    ending: Ending
    iterations: int
    message: str
    history: tuple[Step, ...] = ()
    reason: Enum | None = None

    @property
    def converged(self) -> bool:
        """Whether it is a maximum to rounding."""
        return self.ending in (Ending.MAXIMUM, Ending.ROUNDING)


def maximise(
    evaluate: Evaluate,
    start: Array,
    *,
    max_step: Array | None = None,
    stop: Callable[[Array, Contribution], Enum | None] | None = None,
    max_iterations: int = 100,
    tolerance: float = DECREMENT_TOLERANCE,
    there: Contribution | None = None,
) -> Maximum:
    """Maximise a smooth function by Newton's method with its exact Hessian.

    Each iteration (1) evaluates gradient g and Hessian H; (2) takes the eigenvalues of -H, scaled
    to a unit diagonal, in absolute value, so that the step d points uphill even where H is
    not negative definite; (3) shortens d to `max_step`; (4) halves it until the value rises by
    a fraction of what its slope promises; (5) stops when the Newton decrement g'd is at rounding.
    Where it is, but the value curves upward in some direction, the point is a saddle (or a
    minimum), and the search goes on along that direction.

    A value that is a sum of large numbers, as of counts of a million, loses its last digits: then
    no step seems to raise it, although the gradient still has digits. Near a maximum, steps are
    then taken for as long as the decrement falls, and the ending is `Ending.ROUNDING`; the root of
    the last decrement is about the distance from the maximum, in standard errors.

    Parameters
    ----------
    evaluate : callable
        Maps theta to a Contribution (any object with `value`, `gradient` and `hessian`).
    start : ndarray of shape (q,)
        First parameters.
    max_step : ndarray of shape (q,), optional
        Largest change of each parameter in one step.
    stop : callable, optional
        Called with theta and the contribution before each step; a member of an Enum that it returns
        ends the iteration, not converged, with its value as the message.
    max_iterations : int
        Largest number of steps.
    tolerance : float
        Newton decrement at which the point is called the maximum: the square of its distance from
        the maximum in standard errors.
    there : Contribution, optional
        What `evaluate` returns at the first parameters, where it is known.

    Returns
    -------
    Maximum

    References
    ----------
    Nocedal, J. and Wright, S. J. (2006). Numerical Optimization, 2nd edition, chapter 3. Springer.
    """
    theta = np.array(start, dtype=float)
    current = evaluate(theta) if there is None else there
    history: list[Step] = []

    def ended(ending: Ending, reason: Enum | None = None) -> Maximum:
        message = ending.value.format(
            steps=max_iterations,
            reason=None if reason is None else reason.value,
            distance=math.sqrt(max(decrement, 0.0)),
        )
        return Maximum(theta, current, ending, iteration, message, tuple(history), reason)

    for iteration in range(max_iterations + 1):
        step, concave = newton_step(current)
        decrement = float(current.gradient.dot(step))
        history.append(Step(current.value, decrement))
        if not math.isfinite(decrement):
            return ended(Ending.NOT_FINITE)
        if concave and decrement <= tolerance:
            return ended(Ending.MAXIMUM)
        at_rounding = (
            concave
            and decrement <= DECREMENT_ACCEPTED
            and len(history) > 1
            and decrement >= SLOWEST_FALL * history[-2].decrement
        )
        if at_rounding:
            return ended(Ending.MAXIMUM)
        if concave and _has_no_more_digits(history):
            return ended(Ending.ROUNDING)
        if stop is not None and (reason := stop(theta, current)) is not None:
            return ended(Ending.STOPPED, reason)
        if iteration == max_iterations:
            break
        if not concave and decrement <= DECREMENT_ACCEPTED:
            left = _leave_saddle(evaluate, theta, current, max_step)
            if left is None:
                return ended(Ending.SADDLE)
            theta, current = left
            continue

        if max_step is not None:
            step = step / max(1.0, *(np.abs(step) / max_step).tolist())
        moved = _search_line(
            evaluate, theta, current, step, any_value=concave and decrement <= DECREMENT_QUADRATIC
        )
        if moved is None:
            if concave and decrement <= DECREMENT_ACCEPTED:
                return ended(Ending.MAXIMUM)
            if not concave or decrement > DECREMENT_BY_GRADIENT:
                return ended(Ending.NO_RISE)
            there = evaluate(theta + step)
            next_step, still_concave = newton_step(there)
            falls = float(there.gradient @ next_step) < SLOWEST_FALL * decrement
            if not (still_concave and falls):
                last = decrement <= DECREMENT_ROUNDING
                return ended(Ending.ROUNDING if last else Ending.NO_RISE)
            moved = theta + step, there
        theta, current = moved
    return ended(Ending.TOO_LONG)


def _has_no_more_digits(history: list[Step]) -> bool:
    """Return whether the last steps changed the value by rounding alone, and no longer lead on."""
    if len(history) < 3 or history[-2].decrement > DECREMENT_QUADRATIC:
        return False
    slow = history[-1].decrement >= SLOWEST_FALL * history[-2].decrement
    promised = 0.5 * history[-2].decrement
    gained = history[-1].value - history[-2].value
    return slow and not 0.5 * promised <= gained <= 2.0 * promised


def _leave_saddle(
    evaluate: Evaluate, theta: Array, current: Contribution, max_step: Array | None
) -> tuple[Array, Contribution] | None:
    """Step along the direction of largest upward curvature; None where the value never rises."""
    scale = _scale(-current.hessian)
    values, vectors = np.linalg.eigh(current.hessian / np.outer(scale, scale))
    if values[-1] <= SADDLE_CURVATURE:
        return None
    step = vectors[:, -1] / scale
    if max_step is not None:
        step = step / max(1.0, float(np.max(np.abs(step) / max_step)))
    for _ in range(MAX_HALVINGS):
        tries = [(theta + sign * step, evaluate(theta + sign * step)) for sign in (1.0, -1.0)]
        best = max(tries, key=lambda there: there[1].value)
        if best[1].value > current.value:
            return best
        step = 0.5 * step
    return None


def _scale(information: Array) -> Array:
    """Return what brings the diagonal to one; one where it is zero."""
    scale: Array = np.sqrt(np.abs(information.diagonal()))
    if 0.0 in scale.tolist():
        scale[scale == 0.0] = 1.0
    return scale


def newton_step(at: Contribution) -> tuple[Array, bool]:
    """Return the step, and whether -H is positive definite."""
    information = -at.hessian
    if not math.isfinite(information.sum()):
        return np.full(len(information), np.nan), False
    scale = _scale(information)
    scaled = information / (scale[:, None] * scale)
    # far from singular, as nearly always, its Cholesky factor tells all that its eigenvalues would
    lapack = linalg().lapack
    factor, failed = lapack.dpotrf(scaled, lower=1)
    if not failed and factor.diagonal().min() > LEAST_PIVOT:
        solution, _ = lapack.dpotrs(factor, at.gradient / scale, lower=1)
        return solution / scale, True
    values, vectors = np.linalg.eigh(scaled)
    floor = EIGENVALUE_FLOOR * max(float(np.max(np.abs(values))), np.finfo(float).tiny)
    guarded = np.maximum(np.abs(values), floor)
    with np.errstate(over="ignore", invalid="ignore"):  # a step that is not finite is said above
        step = (vectors @ ((vectors.T @ (at.gradient / scale)) / guarded)) / scale
    if not np.all(np.isfinite(step)):
        return np.full(len(step), np.nan), False
    return step, bool(np.all(values > floor))


def _search_line(
    evaluate: Evaluate, theta: Array, current: Contribution, step: Array, any_value: bool
) -> tuple[Array, Contribution] | None:
    """Halve the step until the value rises enough; None where it never does."""
    slope = float(current.gradient.dot(step))
    for _ in range(MAX_HALVINGS):
        candidate = theta + step
        there = evaluate(candidate)
        enough = current.value + SUFFICIENT_INCREASE * slope
        # below the last digit of the value, a short step is "enough" without any rise
        rises = there.value >= enough and there.value > current.value
        if math.isfinite(there.value) and (any_value or rises):
            return candidate, there
        step, slope = 0.5 * step, 0.5 * slope
    return None
