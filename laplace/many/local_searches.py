"""From starts to maxima of one rule, for many problems at once: `laplace.local` in arrays.

The stages are those of `laplace.local`, with the same constants, and each is taken by all problems
together. A problem that meets anything out of the ordinary is in no answer: outcomes that are all
the same or separated, or a search that does not converge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.families import typical_of_means
from laplace.local import MAX_STEP_LOG_TAU, NEGLIGIBLE_VARIANCE, TAU_LIMIT, Plain, Stage
from laplace.many.finds import Finds, maximum_of, one_of
from laplace.many.lockstep import MAXIMUM, Ends, maximise_each
from laplace.many.stack import Which
from laplace.matrices import bordered, dot, solved, times
from laplace.newton import DECREMENT_TOLERANCE
from laplace.objective import Problem
from laplace.strategy import Strategy

# What `stop` returns to `maximise_each`; those that end elsewhere leave the convoy.
BOUNDARY, ELSEWHERE = 1, 2


class Answering(Protocol):
    """What answers for the rows of many problems."""

    def at(self, which: Which, betas: Array, taus: Array, nodes: int) -> Stacked:
        """Evaluate some of them with random intercepts."""

    def without(self, which: Which, betas: Array) -> Stacked:
        """Evaluate some of them without."""


class LocalSearches:
    """What `laplace.local.LocalSearch` is for one problem, for problems with as many columns.

    Parameters
    ----------
    problems : sequence of Problem
        All with tau free, all with it fixed above zero, or all at zero; and all of counts without a
        bound, or none.
    answering : Answering
        What answers for their rows, in the same order.
    strategy : Strategy
        The constants.

    Attributes
    ----------
    evaluations : ndarray of int, shape (D,)
        How often the log-likelihood of each was evaluated.
    least, most, information : ndarray of shape (D,)
        What the fit without random intercepts, or what was evaluated near, says of each problem: as
        in `Plain`.
    bound : ndarray of shape (D,)
        What no fit without random intercepts exceeds by more than rounding.
    nearly : ndarray of shape (D, p)
        Coefficients near that fit, where it was only made roughly; NaN elsewhere.
    """

    def __init__(
        self, problems: Sequence[Problem], answering: Answering, strategy: Strategy
    ) -> None:
        self.problems = problems
        self.answering = answering
        self.strategy = strategy
        self.p, count = problems[0].census.p, len(problems)
        self.evaluations = np.zeros(count, np.int64)
        self._family = problems[0].family
        self.free = problems[0].tau_is_free
        triangle = np.array([problem.basis.triangle for problem in problems])
        inverse = np.linalg.inv(triangle)
        self.inverse = inverse
        self.jacobian = bordered(inverse)
        self.triangle = bordered(triangle)
        census = [problem.census for problem in problems]
        self.n = np.array([c.n for c in census])
        self.mixed = np.array([c.mixed_groups for c in census])
        self.constant = self.mixed < np.array([c.m for c in census])
        # as in `LocalSearch`
        turned = inverse.transpose(0, 2, 1)
        self._zero = -times(turned, np.array([c.with_offset for c in census])) / self.n[:, None]
        self._one = times(turned, np.array([c.sums for c in census])) / self.n[:, None]
        means = np.array([c.outcomes / c.trials for c in census])
        typical = typical_of_means(self._family.name, means)
        self._typical = self._zero + typical[:, None] * self._one
        self._reference = np.array([c.trials for c in census]) * self._family.b_2(typical)
        self._max_step = np.append(np.full(self.p, np.inf), MAX_STEP_LOG_TAU)
        # the fits without random intercepts, of those that have one
        self._plain: Finds | None = None
        self._place = np.full(count, -1)
        # what these, or what was evaluated near, say of the data
        nothing: Array = np.full(count, np.nan)
        self._slope, self._squares = nothing.copy(), nothing.copy()
        self.least, self.most = nothing.copy(), nothing.copy()
        self.information, self.bound = nothing.copy(), nothing.copy()
        self.nearly: Array = np.full((count, self.p), np.nan)

    def plain_of(self, k: int) -> Plain | None:
        """Return the fit without random intercepts of a problem, where it was made."""
        place = int(self._place[k])
        if place < 0 or self._plain is None:
            return None
        there = one_of(self._plain.there, place).of(slice(self.p))
        maximum = maximum_of(self._plain.ends, place, there)
        return Plain(
            maximum,
            float(self._slope[k]),
            float(self._squares[k]),
            float(self.least[k]),
            float(self.most[k]),
            float(self.information[k]),
        )

    # what is asked ------------------------------------------------------------------------------

    def at(self, which: Which, coefficients: Array, taus: Array, nodes: int) -> Stacked:
        """Evaluate in the coefficients of the orthogonal columns and log tau."""
        self.evaluations[which] += 1
        betas = times(self.inverse[which], coefficients)
        return self.answering.at(which, betas, taus, nodes).transformed(self.jacobian[which])

    def without(self, which: Which, coefficients: Array) -> Stacked:
        """Evaluate without random intercepts, in the coefficients alone."""
        self.evaluations[which] += 1
        inverse = self.inverse[which]
        return self.answering.without(which, times(inverse, coefficients)).transformed(inverse)

    # from one tau to another, as in `LocalSearch` -----------------------------------------------

    def _attenuation(self, taus: Array) -> tuple[Array, Array]:
        """Return factor and shift of the linear predictor at some values of tau."""
        pairs = [self._family.attenuation(tau) for tau in taus.tolist()]
        factor, shift = np.array(pairs).reshape(-1, 2).T
        return factor[:, None], shift[:, None]

    def _to(self, which: Which, coefficients: Array, taus: Array) -> Array:
        """Return about what the coefficients with random intercepts are, of those without."""
        factor, shift = self._attenuation(taus)
        zero = self._zero[which]
        return np.asarray(zero + (coefficients - zero - shift * self._one[which]) / factor)

    # without random intercepts ------------------------------------------------------------------

    def _fit_without(self, which: Which) -> Which:
        """Make the fits without random intercepts; return the problems that have a regular one."""

        def evaluate(some: Which, coefficients: Array) -> Stacked:
            return self.without(which[some], coefficients)

        ends = maximise_each(evaluate, self._typical[which])
        information = self._least_information(which, ends.there.hessians)
        regular = (ends.ending == MAXIMUM) & (information >= self.strategy.separation_sign)
        self._see(which, ends.there)
        self.information[which] = information
        self.bound[which] = ends.there.values
        there = _with_zeros(ends.there)
        place = np.arange(len(which))
        zero = np.zeros(len(which))
        self._plain = Finds(which, 1, Stage.WITHOUT, ends, place, zero, there)
        self._place[which] = place
        return np.asarray(which[regular])

    def plain_coefficients(self, which: Which) -> Array:
        assert self._plain is not None
        return np.asarray(self._plain.ends.theta[self._place[which]])

    def _see(self, which: Which, there: Stacked) -> None:
        """Keep what an evaluation without random intercepts tells of the groups."""
        assert there.spread is not None
        self._slope[which], self._squares[which] = there.spread[:, 0], there.spread[:, 1]
        self.least[which], self.most[which] = there.spread[:, 2], there.spread[:, 3]

    def _least_information(self, which: Which, hessians: Array) -> Array:
        """Return the least eigenvalue of the information on the coefficients, as in `Plain`."""
        information = -hessians[:, : self.p, : self.p] / self._reference[which][:, None, None]
        finite = np.isfinite(information).all(axis=(1, 2))
        information[~finite] = 0.0
        return np.asarray(np.linalg.eigvalsh(information)[:, 0])

    def _first_tau(self, which: Which) -> Array:
        """Return where a step of Fisher's scoring from tau squared at zero leads, or near that."""
        least, most = self.strategy.least_start, self.strategy.largest_start
        slope, squares = self._slope[which], self._squares[which]
        told = squares > 0.0
        squared = np.full(len(which), np.inf)
        squared[told] = 2.0 * slope[told] / squares[told]
        return np.asarray(np.sqrt(np.clip(squared, least**2, most**2)))

    # the first stages ---------------------------------------------------------------------------

    def first(self, nodes: int) -> list[Finds]:
        """Return the maxima with a number of nodes to which the first stages lead."""
        everyone = np.arange(len(self.problems))
        if self.free:
            return self._with_tau_free(everyone, nodes)
        which = self._fit_without(everyone)
        if self.problems[0].tau == 0.0:
            return self._found_at_zero(which, nodes, Stage.WITHOUT)
        taus = np.array([float(problem.tau or 0.0) for problem in self.problems])[which]
        start = self.plain_coefficients(which)
        return [self._at_fixed_tau(which, start, taus, nodes, Stage.FIXED_TAU)]

    def _at_fixed_tau(
        self, which: Which, start: Array, taus: Array, nodes: int, stage: Stage
    ) -> Finds:
        """Return the maxima over the coefficients."""

        def evaluate(some: Which, coefficients: Array) -> Stacked:
            return self.at(which[some], coefficients, taus[some], nodes).of_coefficients()

        ends = maximise_each(evaluate, start)
        place = np.flatnonzero(ends.ending == MAXIMUM)
        some, tau = which[place], taus[place]
        there = self.at(some, ends.theta[place], tau, nodes)
        return Finds(some, nodes, stage, ends, place, tau, there)

    def _with_tau_free(self, everyone: Which, nodes: int) -> list[Finds]:
        many = self.n[everyone] > self.strategy.few_rows
        result, rest = [], everyone[~many]
        if many.any():
            near, not_near = self._near(everyone[many], nodes)
            result.append(near)
            rest = np.concatenate([rest, not_near])
        rest = self._fit_without(rest)
        return result + self._highest(rest, nodes)

    def _found_at_zero(self, which: Which, nodes: int, stage: Stage) -> list[Finds]:
        if not which.size:
            return []
        assert self._plain is not None
        plain = self._plain.take(self._place[which])
        return [Finds(which, nodes, stage, plain.ends, plain.place, plain.tau, plain.there)]

    def _near(self, which: Which, nodes: int) -> tuple[Finds, Which]:
        """Return the maxima near good starts where they are clearly the ones, and the others."""
        strategy, everyone = self.strategy, which

        def without(some: Which, coefficients: Array) -> Stacked:
            return self.without(which[some], coefficients)

        rough = maximise_each(without, self._typical[which], tolerance=strategy.start_tolerance)
        information = self._least_information(which, rough.there.hessians)
        fine = (rough.ending == MAXIMUM) & (information >= strategy.separation_sign)
        which, gone = which[fine], which[~fine]
        self._see(which, rough.there.take(fine))
        self.nearly[which] = _next_of(rough.theta[fine], rough.there.take(fine))
        rises = self._slope[which] > 0.0
        start, which = rough.theta[fine][rises], which[rises]
        tau = self._first_tau(which)
        log_tau = np.log(tau)
        theta = np.column_stack([self._to(which, start, tau), log_tau])

        def stop(some: Which, at: Array, _: Stacked) -> NDArray[np.int64]:
            far = np.abs(at[:, -1] - log_tau[some]) > strategy.far_from_start
            return np.where(far, ELSEWHERE, 0)

        for fewer in strategy.fewer_nodes:
            if fewer * 3 < nodes:
                theta = self._maximise(
                    which, fewer, theta, stop, tolerance=strategy.nearby_tolerance
                ).theta
        ends = self._maximise(which, nodes, theta, stop)
        tau = np.exp(ends.theta[:, -1])
        regular = (
            (ends.ending == MAXIMUM)
            & (tau <= strategy.large_tau)
            & (self._least_information(which, ends.there.hessians) >= strategy.separation_sign)
        )
        place = np.flatnonzero(regular)
        some = which[place]
        seen = self.without(some, self.nearly[some])
        self._see(some, seen)
        self.information[some] = self._least_information(some, seen.hessians)
        fine = self.information[some] >= strategy.separation_sign
        gone = np.concatenate([gone, some[~fine]])
        some, place, seen = some[fine], place[fine], seen.take(fine)
        step = _next_of(np.zeros_like(seen.gradients), seen)
        self.bound[some] = seen.values + dot(seen.gradients, step)
        self.nearly[some] += step
        above = ends.there.values[place] > self.bound[some]
        place, some = place[above], some[above]
        found = Finds(some, nodes, Stage.NEAR, ends, place, tau[place], ends.there.take(place))
        return found, np.setdiff1d(everyone, np.concatenate([some, gone]))

    def _maximise(
        self,
        which: Which,
        nodes: int,
        starts: Array,
        stop: Callable[[Which, Array, Stacked], NDArray[np.int64]],
        tolerance: float = DECREMENT_TOLERANCE,
    ) -> Ends:
        """Maximise over the coefficients and log tau."""

        def evaluate(some: Which, theta: Array) -> Stacked:
            return self.at(which[some], theta[:, :-1], np.exp(theta[:, -1]), nodes)

        return maximise_each(
            evaluate, starts, max_step=self._max_step, stop=stop, tolerance=tolerance
        )

    def search(self, which: Which, nodes: int, coefficients: Array, taus: Array) -> Ends:
        """Maximise over both from a start; some end with `BOUNDARY`."""
        plain = self._place[which] >= 0
        falling = plain & (self._slope[which] <= 0.0)
        most = self.most[which]

        def stop(some: Which, theta: Array, at: Stacked) -> NDArray[np.int64]:
            tau = np.exp(theta[:, -1])
            falls = falling[some] & (at.gradients[:, -1] < 0.0)
            reason = np.where(falls & (tau**2 * most[some] < NEGLIGIBLE_VARIANCE), BOUNDARY, 0)
            reason[tau > TAU_LIMIT] = ELSEWHERE
            return reason

        return self._maximise(which, nodes, np.column_stack([coefficients, np.log(taus)]), stop)

    def from_start(self, which: Which, start: Array, tau: Array, nodes: int, stage: Stage) -> Finds:
        """Return the maxima to which starts lead."""
        if not self.free:
            return self._at_fixed_tau(which, start, tau, nodes, stage)
        return self._found(which, nodes, self.search(which, nodes, start, tau), stage)

    def moved(self, which: Which, coefficients: Array, tau: Array, to: Array) -> Array:
        """Return about what the best coefficients at another tau are."""
        factor, shift = self._attenuation(tau)
        zero = self._zero[which]
        without = zero + factor * (coefficients - zero) + shift * self._one[which]
        return self._to(which, without, to)

    def has_plain(self, which: Which) -> NDArray[np.bool_]:
        """Return where the fit without random intercepts was made."""
        return np.asarray(self._place[which] >= 0)

    def _found(self, which: Which, nodes: int, ends: Ends, stage: Stage) -> Finds:
        """Return the maxima over both at which searches ended."""
        place = np.flatnonzero(ends.ending == MAXIMUM)
        tau, there = np.exp(ends.theta[place, -1]), ends.there.take(place)
        return Finds(which[place], nodes, stage, ends, place, tau, there)

    def _highest(self, which: Which, nodes: int) -> list[Finds]:
        """Maximise over both, from several starts where needed, and compare with tau = 0."""
        strategy = self.strategy
        first = self._first_tau(which)
        found: list[Finds] = []
        waiting = which

        def start_at(some: Which, taus: Array, of: int) -> Ends:
            start = self._to(some, self.plain_coefficients(some), taus)
            return self.search(some, of, start, taus)

        def keep(some: Which, ends: Ends) -> Which:
            """Keep the maxima; return the problems whose search ended at the boundary."""
            found.append(self._found(some, nodes, ends, Stage.HIGHEST))
            return np.asarray(some[ends.ending == BOUNDARY])

        if nodes > 1:  # most of the way is cheaper with one node
            near = start_at(waiting, first, 1)
            place = np.flatnonzero(near.ending == MAXIMUM)
            others = waiting[(near.ending == BOUNDARY) | (near.ending == ELSEWHERE)]
            some, theta = waiting[place], near.theta[place]
            ends = self.search(some, nodes, theta[:, :-1], np.exp(theta[:, -1]))
            waiting = np.concatenate([others, keep(some, ends)])
        # where every group tells much of its intercept, one search has to confirm the boundary
        one = (self._slope <= 0.0) & (self.least >= strategy.enough_information)
        at_zero = [waiting[:0]]
        first_of = np.zeros(len(self.problems))
        first_of[which] = first
        starts: Iterable[float | None] = (None, *strategy.tau_starts)
        for k, tau in enumerate(starts):
            some = waiting
            if tau is None:  # from the first guess, where one search is not enough
                some = waiting[~one[waiting]]
            elif k > 1:
                at_zero.append(waiting[one[waiting]])
                some = waiting = waiting[~one[waiting]]
            if not some.size:
                continue
            taus = first_of[some] if tau is None else np.full(len(some), tau)
            left = keep(some, start_at(some, taus, nodes))
            waiting = np.setdiff1d(waiting, np.setdiff1d(some, left))
        at_zero.append(waiting)
        # the higher of both; with a positive slope no search ends at the boundary
        zero = np.concatenate(at_zero)
        inside = []
        for finds in found:
            better = (self._slope[finds.which] > 0.0) | (
                finds.there.values > self.bound[finds.which]
            )
            zero = np.concatenate([zero, finds.which[~better]])
            inside.append(finds.take(better))
        zero = zero[self._slope[zero] <= 0.0]
        return inside + self._found_at_zero(zero, nodes, Stage.HIGHEST)


def _with_zeros(there: Stacked) -> Stacked:
    """Append the derivatives in log tau, which are zero without random intercepts."""
    count, p = there.gradients.shape
    gradients, hessians = np.zeros((count, p + 1)), np.zeros((count, p + 1, p + 1))
    gradients[:, :p], hessians[:, :p, :p] = there.gradients, there.hessians
    return Stacked(there.values, gradients, hessians, there.spread)


def _next_of(coefficients: Array, there: Stacked) -> Array:
    """Return where Newton's method goes from some coefficients."""
    return coefficients + solved(-there.hessians, there.gradients)
