"""Newton's method for many functions at once, each from its own start.

What `laplace.newton.maximise` does for one, in the same steps: the same direction, the same
halving, the same endings. Each step is taken for all together, as arrays of small matrices. What is
out of the ordinary, as a saddle, is left to that function: such a search is given up here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.many.stack import Which
from laplace.matrices import diagonals, dot, factors, solved, times
from laplace.newton import (
    DECREMENT_ACCEPTED,
    DECREMENT_QUADRATIC,
    DECREMENT_TOLERANCE,
    EIGENVALUE_FLOOR,
    LEAST_PIVOT,
    MAX_HALVINGS,
    SLOWEST_FALL,
    SUFFICIENT_INCREASE,
    Step,
)

EvaluateEach = Callable[[Which, Array], Stacked]
# Why a search is stopped, a number each; zero where it goes on.
StopEach = Callable[[Which, Array, Stacked], NDArray[np.int64]]

# Where rounding ends a search further from the maximum than 1e-9 standard errors, where it ends
# depends on the order of the steps, and the search is given up.
DECREMENT_SURE = 1e-18

# How a search ended: at a maximum; not at one, and its caller has to look by other means; after the
# last step; or by what `stop` returned, a number above these.
MAXIMUM, GIVEN_UP, TOO_LONG = -1, -2, -3


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the searches ended, and how.

    Attributes
    ----------
    theta : ndarray of shape (k, q)
        Parameters.
    there : Stacked
        What was evaluated there.
    ending : ndarray of int, shape (k,)
        `MAXIMUM`, `GIVEN_UP`, `TOO_LONG`, or what `stop` returned.
    iterations : ndarray of int, shape (k,)
        Numbers of Newton steps.
    values, decrements : list of ndarray of shape (k,)
        Value and Newton decrement at each iterate.
    """

    theta: Array
    there: Stacked
    ending: NDArray[np.int64]
    iterations: NDArray[np.int64]
    values: list[Array]
    decrements: list[Array]

    @cached_property
    def _histories(self) -> tuple[list[list[float]], list[list[float]]]:
        """Values and decrements, a list a search."""
        return np.array(self.values).T.tolist(), np.array(self.decrements).T.tolist()

    def history(self, i: int) -> tuple[Step, ...]:
        """Return value and Newton decrement at each iterate of a search."""
        values, decrements = self._histories
        steps = int(self.iterations[i]) + 1
        return tuple(map(Step, values[i][:steps], decrements[i][:steps]))


def maximise_each(
    evaluate: EvaluateEach,
    starts: Array,
    *,
    max_step: Array | None = None,
    stop: StopEach | None = None,
    max_iterations: int = 100,
    tolerance: float = DECREMENT_TOLERANCE,
    there: Stacked | None = None,
) -> Ends:
    """Maximise many smooth functions; see `laplace.newton.maximise`.

    Parameters
    ----------
    evaluate : callable
        Takes the numbers of some searches, shape (j,), and their parameters, shape (j, q). A search
        that meets an infinite value is given up.
    starts : ndarray of shape (k, q)
        First parameters.
    max_step : ndarray of shape (q,), optional
        Largest change of each parameter in one step.
    stop : callable, optional
        Takes the numbers of some searches, their parameters, and what was evaluated there; returns
        a number above zero for those that are to stop.
    max_iterations, tolerance
        As in `laplace.newton.maximise`.
    there : Stacked, optional
        What `evaluate` returns at the first parameters, where it is known; it is written to.
    """
    theta = np.array(starts, dtype=float)
    count = len(theta)
    if there is None:
        there = evaluate(np.arange(count), theta)
    ending = np.zeros(count, np.int64)
    iterations = np.zeros(count, np.int64)
    values: list[Array] = []
    decrements: list[Array] = []
    active = np.arange(count)
    for iteration in range(max_iterations + 1):
        if not active.size:
            break
        at = there if len(active) == count else there.take(active)
        step, concave = newton_steps(at)
        decrement = dot(at.gradients, step)
        last = decrements[-1][active] if decrements else np.full(len(active), np.nan)
        gained = at.values - values[-1][active] if values else np.full(len(active), np.nan)
        before = decrements[-2][active] if len(decrements) > 1 else None
        iterations[active] = iteration
        values.append(_scattered(at.values, active, count))
        decrements.append(_scattered(decrement, active, count))

        slow = decrement >= SLOWEST_FALL * last  # false at the first
        done = concave & ((decrement <= tolerance) | ((decrement <= DECREMENT_ACCEPTED) & slow))
        odd = ~np.isfinite(decrement)
        odd |= done & (decrement > max(tolerance, DECREMENT_SURE))
        done &= ~odd
        if before is not None:  # no more digits: see `laplace.newton`
            promised = 0.5 * last
            told = (0.5 * promised <= gained) & (gained <= 2.0 * promised)
            odd |= concave & slow & (last <= DECREMENT_QUADRATIC) & ~told & ~done
        odd |= ~concave & (decrement <= DECREMENT_ACCEPTED)  # a saddle
        ending[active[done]] = MAXIMUM
        ending[active[odd]] = GIVEN_UP
        if stop is not None:
            reason = stop(active, theta[active], at)
            reason[done | odd] = 0
            ending[active] += reason
        going = ending[active] == 0
        if iteration == max_iterations:
            ending[active[going]] = TOO_LONG
            break
        active, step, decrement = active[going], step[going], decrement[going]
        concave, at = concave[going], at.take(going)
        if not active.size:
            break
        if max_step is not None:
            step = step / np.maximum(1.0, (np.abs(step) / max_step).max(axis=1))[:, None]

        # halve until the value rises enough
        slope = dot(at.gradients, step)
        any_value = concave & (decrement <= DECREMENT_QUADRATIC)
        left = np.arange(len(active))
        for _ in range(MAX_HALVINGS):
            which = active[left]
            candidate = theta[which] + step[left]
            tried = evaluate(which, candidate)
            value = at.values[left]
            rises = (tried.values >= value + SUFFICIENT_INCREASE * slope[left]) & (
                tried.values > value
            )
            taken = np.isfinite(tried.values) & (any_value[left] | rises)
            gone = np.isposinf(tried.values)  # which is no value: something went wrong there
            if gone.any():
                ending[which[gone]] = GIVEN_UP
            if taken.all():
                theta[which] = candidate
                there.put(which, tried)
                left = left[:0]
                break
            theta[which[taken]] = candidate[taken]
            there.put(which[taken], tried.take(taken))
            left = left[~(taken | gone)]
            step[left] *= 0.5
            slope[left] *= 0.5
        if left.size:  # no step raises the value
            near = concave[left] & (decrement[left] <= DECREMENT_SURE)
            ending[active[left]] = np.where(near, MAXIMUM, GIVEN_UP)
        active = active[ending[active] == 0]
    return Ends(theta, there, ending, iterations, values, decrements)


def newton_steps(at: Stacked) -> tuple[Array, NDArray[np.bool_]]:
    """Return the step of each, and whether -H is positive definite; as `newton_step` does."""
    gradients, hessians = at.gradients, at.hessians
    scale = np.sqrt(np.abs(diagonals(hessians)))
    scale[~(scale > 0.0)] = 1.0
    scaled = -hessians / (scale[:, :, None] * scale[:, None, :])
    plain = np.isfinite(scaled.sum(axis=(1, 2)))
    if not plain.all():
        scaled[~plain] = np.eye(scaled.shape[1])
    regular = plain & (diagonals(factors(scaled)).min(axis=1) > LEAST_PIVOT)
    if regular.all():
        step = solved(scaled, gradients / scale) / scale
        return step, regular
    step, concave = np.full_like(gradients, np.nan), regular.copy()
    some = np.flatnonzero(regular)
    step[some] = solved(scaled[some], gradients[some] / scale[some]) / scale[some]
    others = np.flatnonzero(plain & ~regular)
    right = gradients[others] / scale[others]
    step[others], concave[others] = _guarded(scaled[others], right)
    step[others] /= scale[others]
    lost = ~np.isfinite(step).all(axis=1)
    step[lost], concave[lost] = np.nan, False
    return step, concave


def _guarded(scaled: Array, right: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Solve with the eigenvalues in absolute value; also return where all are positive."""
    try:
        values, vectors = np.linalg.eigh(scaled)
    except np.linalg.LinAlgError:  # a search that has no step is given up
        return np.full_like(right, np.nan), np.zeros(len(right), bool)
    size = np.abs(values)
    largest = size.max(axis=1, initial=np.finfo(float).tiny)
    floor = EIGENVALUE_FLOOR * largest[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        along = times(vectors.transpose(0, 2, 1), right) / np.maximum(size, floor)
        return times(vectors, along), (values > floor).all(axis=1)


def _scattered(some: Array, which: Which, count: int) -> Array:
    """Return numbers of some searches as an entry for each; NaN for the others."""
    result = np.full(count, np.nan)
    result[which] = some
    return result
