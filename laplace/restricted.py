r"""The search for the maximum of the restricted criterion, and its result.

`laplace.criterion` says what the criterion is. The estimate of tau is its highest maximum over all
tau, zero included: there it is that of the model without random intercepts. The coefficients are
the best at that tau, and their covariance is the inverse of their information there.

=================  ================================================================================
Stage              What it does, and when
=================  ================================================================================
likelihood         Always: the search of `laplace.search`, which refuses what has no maximum, and
                   says how many nodes its maximum needs.
near               Beyond ``few_rows`` rows, where that search left no doubt, from its tau uphill:
                   in at least ``MANY_GROUPS`` = 50 groups; or where every group has both outcomes
                   and tells enough of its intercept, and none much more than another.
restricted         Otherwise: the criterion is followed over values of tau from where it is linear
                   in tau squared to ``walk_to``, by a rule with many nodes where groups tell
                   little, and as far as this can be trusted; and the rule that was asked for looks
                   for its maximum from each found.
                   Where no more groups have both outcomes than columns are constant within
                   groups, the criterion may be highest as tau grows: then there is no estimate.
verdict            Always: what a reference rule says of the estimate, as of a maximum of the
                   likelihood: the criterion by that rule takes the place of the log-likelihood.
more nodes         With ``nodes="auto"``: as in `laplace.search`.
=================  ================================================================================
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from laplace.basis import with_log_tau
from laplace.contribution import Contribution
from laplace.criterion import (
    FINE_SPACING,
    FINE_SPACING_OF_COUNTS,
    MANY_GROUPS,
    RATIO,
    ROUGH,
    Criterion,
    Point,
    Stop,
    end_of,
    judge_restricted,
    least_tau,
)
from laplace.ends import ROUGH_END, is_far, rules_after
from laplace.estimate import Estimate, covariance_of, estimate_of
from laplace.families import Poisson
from laplace.later import special
from laplace.local import TAU_LIMIT, Doubt, Found, LocalSearch, Stage
from laplace.newton import DECREMENT_ROUNDING, Ending, Maximum, Step
from laplace.objective import Problem
from laplace.profile import Piece, joined
from laplace.search import Candidate, Result, Search
from laplace.strategy import STRATEGY
from laplace.verdict import SPACING_LIMIT, FurtherMaximum, judge, reference_nodes, spacing

# Of the coefficients, where only the sign of a derivative is wanted.
ROUGHLY = 1e-8
# Where all is decided by a limit as tau grows, the criterion is followed with so many nodes.
NODES_TOWARDS_LIMIT = 199
# Where nodes are further apart than this at the end of an interval, and some group has one outcome
# only, the end is rough: at twice the distance, ends missed the cut by 0.2 to 0.4 standard errors.
ROUGH_SPACING = 2.0
# Two values of log tau nearer than this are the same maximum.
SAME = 1e-4


@dataclass(frozen=True, eq=False)
class RestrictedResult(Result):
    """What the search returns.

    Attributes
    ----------
    criterion, at_zero : float
        The criterion at the estimate, and without random intercepts.
    between : ndarray of bool, shape (p,)
        Which columns of X are constant within groups.
    local : LocalSearch
        Where the criterion can be evaluated again.
    """

    criterion: float
    at_zero: float
    between: NDArray[np.bool_]
    local: LocalSearch

    def interval(self, alpha: float) -> list[Piece]:
        """Return what the criterion does not reject, in pieces.

        These are the values of tau at which twice the criterion is below its maximum by less than
        the quantile of chi-squared on one degree of freedom: a piece around each maximum.

        Parameters
        ----------
        alpha : float
            One minus the level.

        Returns
        -------
        list of (float, float)
            The ends of each piece. The lower is 0 where the criterion there is within the cut; an
            end is infinite where the criterion does not fall to the cut, and NaN where it could not
            be followed.
        """
        return self._followed(alpha)[0]

    def is_rough(self, alpha: float) -> bool:
        """Return whether no rule confirms the ends of the interval; see `laplace.ends`."""
        return self._followed(alpha)[1]

    def _followed(self, alpha: float) -> tuple[list[Piece], bool]:
        if alpha not in self._intervals:
            self._intervals[alpha] = self._interval(alpha)
        return self._intervals[alpha]

    @cached_property
    def _intervals(self) -> dict[float, tuple[list[Piece], bool]]:
        """What was asked for already, by alpha: each takes a hundred evaluations or so."""
        return {}

    def _interval(self, alpha: float) -> tuple[list[Piece], bool]:
        found = self.candidate.found
        if np.all(np.isnan(self.candidate.estimate.standard_errors)) or not found.converged:
            return [(np.nan, np.nan)], False
        if self.is_saturated:
            return [(0.0, np.inf)], False
        criterion = Criterion(self.local, found.nodes)
        estimate = self.candidate.estimate
        here = Point(
            found.tau,
            estimate.problem.basis.forward(estimate.beta),
            estimate.likelihood,
            self.criterion,
        )
        tops = [here] if found.tau > 0.0 else []
        tops += [
            top
            for other in self.others
            if other.tau > 0.0 and (top := criterion.at(other.tau, None)) is not None
        ]
        fall = 0.5 * float(special().chdtri(1, alpha))
        pieces = self._pieces(criterion, tops, self.criterion - fall)
        guarded = self.local.problem.sites.guarded
        if not self.is_automatic or guarded or not is_far(pieces, found.tau):
            return pieces, False
        off = np.inf
        for more in rules_after(found.nodes):
            criterion = Criterion(self.local, more)
            finer = [self._top(criterion, top) for top in tops]
            tops = [top for top in finer if top is not None]
            if len(tops) < len(finer):
                return pieces, True
            height = tops[0].value if found.tau > 0.0 else self.at_zero
            off = self._off(criterion, pieces, height, fall)
            if off <= STRATEGY.enough and not self._is_coarse(pieces, more):
                break
            pieces = self._pieces(criterion, tops, height - fall)
        return pieces, not off <= ROUGH_END or self._is_coarse(pieces, criterion.nodes)

    def _is_coarse(self, pieces: list[Piece], nodes: int) -> bool:
        """Return whether nodes are too far apart at the end of an interval."""
        census, end = self.local.problem.census, pieces[-1][1]
        some_tell_nothing = census.m < MANY_GROUPS and census.mixed_groups < census.m
        return bool(some_tell_nothing and np.isfinite(end) and spacing(end, nodes) > ROUGH_SPACING)

    def _pieces(self, criterion: Criterion, tops: list[Point], level: float) -> list[Piece]:
        """Return where the criterion is above a level, around zero and its maxima."""
        pieces = []
        if self.at_zero >= level:
            first = criterion.at(least_tau(self.local), None)
            pieces.append((0.0, np.nan if first is None else end_of(criterion, first, 1.0, level)))
        for top in tops:
            if top.value > level:
                lower = end_of(criterion, top, -1.0, level)
                upper = end_of(criterion, top, 1.0, level)
                pieces.append((lower, upper))
        return joined(pieces)

    def _top(self, criterion: Criterion, near: Point) -> Point | None:
        """Return the maximum of a criterion near that of another."""
        start = criterion.at(near.tau, near)
        top = None if start is None else criterion.climb(start)
        return top if isinstance(top, Point) else None

    def _off(self, criterion: Criterion, pieces: list[Piece], height: float, fall: float) -> float:
        """Return by how much the ends of the interval miss the cut, in standard errors."""
        missed = 0.0
        for end in {end for piece in pieces for end in piece} - {0.0, np.inf}:
            there = None if np.isnan(end) else criterion.at(end, None)
            if there is None:
                return np.inf
            root = np.sqrt(2.0 * max(height - there.value, 0.0))
            missed = max(missed, abs(float(root - np.sqrt(2.0 * fall))))
        return missed

    @cached_property
    def maximised(self) -> Contribution:
        """The log-likelihood minus half the log determinant, the latter as a function of tau alone.

        In (beta, log tau), or in beta at tau = 0; its maximum over beta is the criterion.
        """
        estimate = self.candidate.estimate
        triangle = estimate.problem.basis.triangle
        jacobian = triangle if estimate.tau == 0.0 else with_log_tau(triangle)
        there = estimate.maximised.transformed(jacobian)
        for array in (there.gradient, there.hessian):
            array.flags.writeable = False
        return Contribution(there.value, there.gradient, there.hessian)

    @property
    def is_saturated(self) -> bool:
        """Whether as many columns are constant within groups as there are groups."""
        return bool(np.sum(self.between) >= self.candidate.estimate.problem.census.m)


def search_restricted(problem: Problem, rules: tuple[int, ...]) -> RestrictedResult:
    """Search for the maximum of the criterion over tau.

    Parameters
    ----------
    problem : Problem
        What is searched; tau is free, and there is no penalty.
    rules : tuple of int
        Numbers of nodes, tried until more would change nothing.

    Returns
    -------
    RestrictedResult
    """
    return RestrictedSearch(problem, STRATEGY).restricted(rules)


@dataclass(frozen=True, eq=False)
class Walked:
    """What following the criterion over tau tells.

    Attributes
    ----------
    starts : list of Point
        From which its maxima are uphill.
    last : Point or None
        The largest tau, where the criterion still rises.
    falls_from_zero : bool
        Whether tau = 0 is a maximum.
    has_maximum : bool
        Whether none of them is below what the criterion rises to as tau grows.
    """

    starts: list[Point]
    last: Point | None
    falls_from_zero: bool
    has_maximum: bool = True


class RestrictedSearch(Search):
    """The search for the maximum of the criterion, which begins with that of the likelihood."""

    @cached_property
    def between(self) -> NDArray[np.bool_]:
        """Which columns of X are constant within groups."""
        return ~self.problem.sites.variation()

    def restricted(self, rules: tuple[int, ...]) -> RestrictedResult:
        """Return the maximum of the first rule that is enough, or of the last."""
        problem = self.problem
        saturated = np.sum(self.between) >= problem.census.m  # then the criterion tells no tau
        likelihood = self.run(rules)
        nodes = likelihood.candidate.found.nodes if len(rules) > 1 else rules[0]
        best = zero = self._zero(nodes)
        compared: list[Candidate] = []
        others: list[Candidate] = []
        if not saturated:
            walked = self._walked(likelihood, nodes)
            while True:
                found = self._maxima(walked, nodes)
                best, others = self._highest(zero, found, walked)
                compared += found
                if self._is_enough(best) and best.verdict.lower_by == 0.0:
                    break
                following = self._next_rule(best, [k for k in rules if k > nodes])
                if following is None:
                    break
                nodes = following
        return RestrictedResult(
            best,
            (*compared, zero),
            tuple(_further(other, other.found.value, other.found.nodes) for other in others),
            self.local.known,
            self.local.nearly,
            rules,
            best.found.value,
            zero.found.value,
            self.between,
            self.local,
        )

    # where to start -----------------------------------------------------------------------------

    def _walked(self, likelihood: Result, nodes: int) -> Walked:
        """Return points from which the maxima of the criterion are uphill."""
        census, best = self.problem.census, likelihood.candidate
        many = census.m >= MANY_GROUPS and likelihood.compared[0].found.stage is Stage.NEAR
        near = (
            census.n > self.strategy.few_rows
            and (many or (self._every_group_tells and not self._unequal()))
            and best.found.converged
            and best.found.tau > 0.0
            and not likelihood.others
            and not best.verdict.is_doubtful
        )
        if near:
            start = Criterion(self.local, nodes).at(best.found.tau, None)
            if start is not None:
                return Walked([start], None, False)
        if self._every_group_tells:
            return self._over_tau(max(nodes, self.strategy.rule_for_unequal), TAU_LIMIT)
        if census.mixed_groups <= np.sum(self.between):
            return self._with_limit(max(nodes, NODES_TOWARDS_LIMIT))
        nodes = max(nodes, self._reference_rule())
        few = census.m < MANY_GROUPS and census.mixed_groups < census.m
        return self._over_tau(nodes, SPACING_LIMIT / spacing(1.0, nodes) if few else TAU_LIMIT)

    @property
    def _every_group_tells(self) -> bool:
        """Whether every group has both outcomes, and tells enough of its intercept."""
        signs = self.local.signs()
        every = signs.mixed_groups == self.problem.census.m
        return every and signs.least >= self.strategy.enough_information

    def _with_limit(self, nodes: int) -> Walked:
        """Follow the criterion where it need not fall as tau grows, but may near a limit.

        As tau grows, the log-likelihood falls by log tau for every group with both outcomes, and
        half the log determinant rises by log tau for every column that is constant within groups.
        Where these cancel, the criterion nears a limit as one over tau falls, so that its slope is
        what is left. The last value of tau is one where the nodes are near enough to each other.
        """
        counts = self.problem.family.name == Poisson.name
        finest = FINE_SPACING_OF_COUNTS if counts else FINE_SPACING
        walked = self._over_tau(nodes, finest / spacing(1.0, nodes))
        last = walked.last
        if last is not None:
            limit = last.value + Criterion(self.local, nodes).slope(last)
            inside = [start.value for start in walked.starts]
            if limit > max([self._zero(nodes).found.value, *inside]):
                return Walked([], last, walked.falls_from_zero, has_maximum=False)
        return replace(walked, last=None)

    def _over_tau(self, nodes: int, limit: float) -> Walked:
        """Follow the criterion from a small tau to a large one."""
        criterion = Criterion(self.local, nodes)
        tau, at = least_tau(self.local), None
        steps = np.ceil(np.log(limit / tau) / np.log(RATIO))
        ratio = float((limit / tau) ** (1.0 / max(steps, 1.0)))
        stations: list[tuple[Point, float]] = []
        while tau < limit * np.sqrt(ratio):
            there = criterion.at(tau, at, ROUGHLY)
            slope = np.nan if there is None else criterion.slope(there, ROUGH)
            if there is not None and np.isfinite(slope):
                at = there
                stations.append((there, slope))
                if tau > self.strategy.walk_to and stations[-1][1] <= 0.0:
                    break
            tau *= ratio
        if not stations:
            return Walked([], None, True)
        starts = [
            max(low, high, key=lambda point: point.value)
            for (low, slope), (high, next_slope) in itertools.pairwise(stations)
            if slope > 0.0 >= next_slope
        ]
        last, slope = stations[-1]
        return Walked(starts, last if slope > 0.0 else None, stations[0][1] <= 0.0)

    # candidates ---------------------------------------------------------------------------------

    def _maxima(self, walked: Walked, nodes: int) -> list[Candidate]:
        """Return the maxima that a rule has uphill from some points, judged."""
        found: list[Candidate] = []
        for start in walked.starts:
            criterion = Criterion(self.local, nodes)
            at = criterion.at(start.tau, start)
            top = Stop.LOST if at is None else criterion.climb(at)
            if isinstance(top, Stop):
                found.append(self._judged(criterion, at or start, top))
            elif top is not None and all(
                abs(np.log(top.tau / other.found.tau)) > SAME for other in found
            ):
                found.append(self._judged(criterion, top, None))
        if walked.last is not None:
            criterion = Criterion(self.local, nodes)
            there = criterion.at(walked.last.tau, walked.last) or walked.last
            found.append(self._judged(criterion, there, Stop.UNBOUNDED))
        return found

    def _highest(
        self, zero: Candidate, found: list[Candidate], walked: Walked
    ) -> tuple[Candidate, list[Candidate]]:
        """Return the highest by the rule, in view of the reference; and the other maxima."""
        if not walked.has_maximum:
            return found[-1], []
        best = zero
        for candidate in found:
            if candidate.found.value > best.found.value:
                best = candidate
        others = [c for c in (zero, *found) if c is not best and c.found.converged]
        others = [c for c in others if c is not zero or walked.falls_from_zero]
        by_reference = tuple(
            _further(c, c.verdict.value, best.verdict.nodes or c.found.nodes) for c in others
        )
        verdict = best.verdict.compared(by_reference, best.verdict.value)
        others.sort(key=lambda other: -other.found.value)
        return replace(best, verdict=verdict), others

    def _zero(self, nodes: int) -> Candidate:
        """Return the fit without random intercepts, with the criterion as its value."""
        found = self._doubted(self.local.at_zero(nodes, Stage.RESTRICTED))
        there = replace(found.maximum.contribution, value=Criterion(self.local, nodes).at_zero())
        found = replace(found, maximum=replace(found.maximum, contribution=there))
        estimate = estimate_of(self.problem, found)
        return Candidate(found, estimate, judge(estimate, -np.inf, None))

    def _doubted(self, found: Found) -> Found:
        """Return what was found, not converged where the criterion has no maximum in tau."""
        mixed, between = self.problem.census.mixed_groups, int(np.sum(self.between))
        if between >= self.problem.census.m:  # it says nothing of tau, which is zero by convention
            return found
        if mixed == 0:
            return found.doubted(Doubt.CONSTANT_GROUPS)
        if mixed < between:
            return replace(found, converged=False, message=Stop.FEW_MIXED.value)
        return found

    def _judged(self, criterion: Criterion, at: Point, stop: Stop | None) -> Candidate:
        """Return a point as an estimate, and what a reference says of it."""
        problem, basis, nodes = self.problem, self.problem.basis, criterion.nodes
        p = problem.census.p
        slope, curvature = criterion.slope(at), criterion.curvature(at)
        decrement = -(slope**2) / curvature if curvature < 0.0 else np.nan
        if stop is None and not 0.0 <= decrement <= DECREMENT_ROUNDING:
            stop = Stop.LOST
        ending = Ending.MAXIMUM if stop is None else Ending.STOPPED
        hessian = at.whole.hessian.copy()
        hessian[p, p] = curvature - float(hessian[p, :p] @ at.tangent)
        maximised = Contribution(at.value, np.append(at.whole.gradient[:p], slope), hessian)
        maximum = Maximum(
            np.append(at.coefficients, np.log(at.tau)),
            maximised,
            ending,
            criterion.steps,
            ending.value.format(reason="" if stop is None else stop.value),
            (Step(at.value, decrement),),
            stop,
        )
        found = self._doubted(Found.of(nodes, maximum, at.tau, Stage.RESTRICTED))
        covariance = np.full((p + 1, p + 1), np.nan)
        covariance[:p, :p] = covariance_of(hessian[:p, :p], basis)
        covariance[p, p] = -1.0 / curvature if curvature < 0.0 else np.nan
        contribution = at.whole.transformed(with_log_tau(basis.triangle))
        beta = basis.back(at.coefficients)
        for array in (beta, contribution.gradient, contribution.hessian, covariance):
            array.flags.writeable = False
        estimate = Estimate(
            problem, nodes, beta, at.tau, contribution, at.whole, maximised, covariance
        )
        verdict = judge_restricted(self.local, estimate, reference_nodes(nodes))
        return Candidate(found, estimate, verdict)


def _further(candidate: Candidate, value: float, nodes: int) -> FurtherMaximum:
    """Return a candidate as a maximum beside the one that was returned."""
    return FurtherMaximum(candidate.found.tau, value, nodes, candidate.estimate.beta)
