"""From a start to a maximum of one rule: the stages of the search that look near by.

What is searched (`Problem`), what the fit without random intercepts tells of the data (`Plain`,
`Signs`) and what was found (`Found`) are different things. `laplace.search` says which stage comes
when, and judges what they find.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from laplace import separation
from laplace.arguments import Array
from laplace.contribution import COEFFICIENTS, AtZero, Contribution
from laplace.newton import DECREMENT_TOLERANCE, Maximum, maximise, newton_step
from laplace.objective import Objective, Problem, problem_of
from laplace.places import OwnFits, own_fits
from laplace.questions import View
from laplace.strategy import STRATEGY, Strategy

# Those of every search over tau, also of those inside a profile:
# a step of log tau beyond this leaves the region where the quadratic model means anything.
MAX_STEP_LOG_TAU = 1.5
# Here a group's random intercept adds at most this to the variance of its linear score: the
# log-likelihood is linear in tau squared, and its slope at zero decides.
NEGLIGIBLE_VARIANCE = 1e-3
# Up to here, it is about a cubic in tau squared; and that over the coefficients is known where no
# more than this is to be gained by them.
CUBIC_VARIANCE, CUBIC_GAIN = 1.0, 0.01
TAU_LIMIT = 1e4


class Stop(Enum):
    """Why a search over tau was stopped; the value says it in words."""

    BOUNDARY = "tau falls to zero"
    FAR = "far from the start"
    UNBOUNDED = (
        f"tau rose beyond {TAU_LIMIT:g}: the outcomes hardly vary within groups, so "
        "that the data do not bound it; fix tau, or use groups with both outcomes (or, of counts, "
        "with events)"
    )


class Doubt(Enum):
    """Why a maximum is not to be trusted; the value says it in words."""

    CONSTANT_GROUPS = (
        "no group has both outcomes (or, of counts, an event): the exact likelihood does not fall "
        "as tau grows, so that tau has no finite estimate, and that of the approximation means "
        "nothing; fix tau, or use groups with both outcomes (or with events)"
    )


class Stage(Enum):
    """The stage that ended a search."""

    WITHOUT = "without random intercepts"
    FIXED_TAU = "fixed tau"
    NEAR = "near"
    HIGHEST = "highest"
    WALK = "walk"
    MORE_NODES = "more nodes"
    RESTRICTED = "restricted"


@dataclass(frozen=True, eq=False)
class Plain:
    """The fit without random intercepts, and what it tells of the data.

    Attributes
    ----------
    maximum : Maximum
        Its coefficients, of the orthogonal columns.
    slope : float
        Derivative of the log-likelihood in tau squared there; infinite where a penalty keeps tau
        above zero.
    squares, least, most : float
        What the groups tell of their random intercepts: sum of squares, least and largest sum of a
        group's b''.
    information : float
        Least information on a coefficient, in units of that of a regression on nothing.
    """

    maximum: Maximum
    slope: float
    squares: float
    least: float
    most: float
    information: float


@dataclass(frozen=True)
class Signs:
    """What the data say of how hard the search is.

    Attributes
    ----------
    mixed_groups : int
        Groups with both outcomes; of counts, groups that have any.
    least, most : float
        Least and largest sum of a group's b'', near the fit without random intercepts.
    information : float
        As in `Plain`.
    """

    mixed_groups: int
    least: float
    most: float
    information: float


@dataclass(frozen=True, eq=False)
class Found:
    """What a search with one number of nodes found.

    Attributes
    ----------
    nodes : int
        The number.
    maximum : Maximum
        Coefficients of the orthogonal columns, and log tau where it was searched.
    tau : float
        Standard deviation of the random intercepts.
    converged : bool
        Whether it is a maximum that means something.
    message : str
        How the search ended.
    stage : Stage
        Where.
    """

    nodes: int
    maximum: Maximum
    tau: float
    converged: bool
    message: str
    stage: Stage

    @classmethod
    def of(cls, nodes: int, maximum: Maximum, tau: float, stage: Stage) -> Found:
        """Return what a search ended at."""
        return cls(nodes, maximum, tau, maximum.converged, maximum.message, stage)

    @property
    def value(self) -> float:
        """What was maximised, there."""
        return self.maximum.contribution.value

    def coefficients(self, p: int) -> Array:
        """Return the coefficients of the orthogonal columns."""
        return self.maximum.theta[:p]

    def doubted(self, doubt: Doubt) -> Found:
        """Return it as no maximum that means anything."""
        return replace(self, converged=False, message=doubt.value)


Start = tuple[Array, float]  # coefficients of the orthogonal columns, and tau


class LocalSearch:
    """The search for a maximum of one problem from near starts.

    It remembers the fit without random intercepts, which several stages need.

    Parameters
    ----------
    problem : Problem
        What is searched.
    strategy : Strategy, optional
        The constants; by default `STRATEGY`.
    tolerance : float
        Of `maximise`.
    """

    def __init__(
        self,
        problem: Problem,
        strategy: Strategy | None = None,
        tolerance: float = DECREMENT_TOLERANCE,
    ) -> None:
        self.problem = problem
        self.strategy = STRATEGY if strategy is None else strategy
        self._tolerance = tolerance
        self._known: Plain | None = None
        # a point near the fit without random intercepts, where that was only made roughly, and what
        # was evaluated before it
        self._nearly: Array | None = None
        self._seen: AtZero | None = None
        # what the places found by their own rows, where they were asked: it shows that there is no
        # separation
        self._own: OwnFits | None = None
        p = problem.census.p
        self._max_step = np.append(np.full(p, np.inf), MAX_STEP_LOG_TAU)
        # coefficients where the linear predictor, the offset included, is nearest to zero; and
        # where, without an offset, it is nearest to one
        census, inverse = problem.census, problem.basis.inverse
        self._zero = np.zeros(p)
        if census.has_offset:
            self._zero = np.asarray(-inverse.T @ census.with_offset / census.n)
        self._one = np.asarray(inverse.T @ census.sums / census.n)

    def first(self, nodes: int) -> Found:
        """Return the maximum with a number of nodes to which the first stages lead.

        Raises
        ------
        ValueError
            If there is none: all outcomes are the same, or X separates them.
        """
        separation.check_variation(self.problem)
        problem, objective = self.problem, self.problem.objective(nodes)
        if problem.tau == 0.0:
            return Found.of(nodes, self.plain().maximum, 0.0, Stage.WITHOUT)
        start = self._start_of_places() or self._start_of_some_rows()
        if problem.tau is not None:
            return self._at_fixed_tau(objective, problem.tau, start)
        if problem.census.n > self.strategy.few_rows or (start and self._own is not None):
            # the places' own fits are a rough start, and where these lead to tau = 0, it does
            nearby = start or (None if self._own is not None else self._rough_start())
            found = None if nearby is None else self._near(objective, nearby)
            if found is not None:
                return self._judged(found)
        return self._judged(self._highest(objective, start))

    def from_start(self, nodes: int, start: Start, stage: Stage) -> Found | None:
        """Return the maximum to which a start leads; None where it leads to tau = 0."""
        objective = self.problem.objective(nodes)
        if self.problem.tau is not None:
            there = maximise_at(objective, start[0], self.problem.tau)
            return Found.of(nodes, there, self.problem.tau, stage)
        found = self.search(objective, *start)
        if found is None:
            return None
        return self._judged(Found.of(nodes, found, float(np.exp(found.theta[-1])), stage))

    def at_zero(self, nodes: int, stage: Stage) -> Found:
        """Return the fit without random intercepts as the maximum."""
        return self._judged(Found.of(nodes, self.plain().maximum, 0.0, stage))

    def _judged(self, found: Found) -> Found:
        """Return what was found, not converged where the data have no maximum in tau."""
        if self.problem.census.mixed_groups == 0 and not self.problem.always_inside:
            return found.doubted(Doubt.CONSTANT_GROUPS)
        return found

    def signs(self) -> Signs:
        """Return what the data say, as far as the stages so far have seen it."""
        mixed = self.problem.census.mixed_groups
        if self._known is not None:
            plain = self._known
            return Signs(mixed, plain.least, plain.most, plain.information)
        if self._seen is None:
            return Signs(mixed, np.inf, 0.0, np.inf)
        information = self._least_information(self._seen)
        return Signs(mixed, self._seen.least, self._seen.most, information)

    @property
    def bound_at_zero(self) -> float:
        """What no fit without random intercepts exceeds by more than rounding."""
        if self.problem.always_inside:
            return -np.inf
        if self._known is not None:
            return self._known.maximum.contribution.value
        return -np.inf if self._seen is None else self._seen.value + _gain(self._seen)

    @property
    def known(self) -> Plain | None:
        """The fit without random intercepts, where a stage made it."""
        return self._known

    def about_plain(self) -> Array:
        """Return coefficients near those without random intercepts, as far as they are known."""
        return self.plain().maximum.theta if self._nearly is None else self._nearly

    @property
    def nearly(self) -> Array | None:
        """Otherwise, coefficients of the orthogonal columns near that."""
        return self._nearly

    # without random intercepts ------------------------------------------------------------------

    def plain(self) -> Plain:
        """Return the fit without random intercepts; separated data are refused here."""
        if self._known is None:
            self._known = self._fit_without()
        return self._known

    def _fit_without(self) -> Plain:
        problem = self.problem
        # where a penalty keeps tau above zero, this is a start and nothing else
        own = None if self._own is None else self._own.plain
        a_start = problem.always_inside and problem.tau != 0.0
        tolerance = self.strategy.start_tolerance if a_start else self._tolerance
        if own is not None:  # to a ten-millionth of a standard error, as everywhere from there
            tolerance = max(tolerance, self.strategy.many_rows_tolerance)
        maximum, at = self._maximise_without(tolerance, own)
        there: Contribution = at
        if problem.penalty is not None:  # which has no part in what the data tell
            there = problem.likelihood(1).without(maximum.theta)
        information = self._least_information(there)
        nearly = information < self.strategy.separation_sign
        if problem.penalty is None and ((nearly and self._own is None) or not maximum.converged):
            separation.check(problem)
        slope = np.inf if problem.always_inside else at.slope
        return Plain(maximum, slope, at.squares, at.least, at.most, information)

    def value_without(self, start: Array | None) -> float:
        """Return the highest log-likelihood without random intercepts.

        The last step is not taken: what it would bring is known.

        Raises
        ------
        ArithmeticError
            If it was not found.
        """
        found, _ = self._maximise_without(self.strategy.value_tolerance, start)
        if not found.converged:
            raise ArithmeticError(
                f"the fit without random intercepts ended with {found.message!r}; compare with a "
                "fit at tau=0"
            )
        return found.contribution.value + 0.5 * found.history[-1].decrement

    def _maximise_without(
        self, tolerance: float, start: Array | None = None
    ) -> tuple[Maximum, AtZero]:
        """Maximise without random intercepts; return also what that knows of the groups."""
        objective = self.problem.objective(1)

        def evaluate(coefficients: Array) -> AtZero:
            return objective.without(coefficients).of(COEFFICIENTS)

        if start is None:  # from where the linear predictor is nearest to that of the mean outcome
            start = self._zero + self.problem.typical * self._one
        found = maximise(evaluate, start, tolerance=tolerance)
        at = found.contribution
        assert isinstance(at, AtZero)  # which is what `evaluate` returns
        return found, at

    def _without(self, coefficients: Array, tau: float) -> Array:
        """Return about what the coefficients without random intercepts are, of those with."""
        factor, shift = self.problem.family.attenuation(tau)
        return self._zero + factor * (coefficients - self._zero) + shift * self._one

    def _with(self, coefficients: Array, tau: float) -> Array:
        """Return the inverse of `_without`."""
        factor, shift = self.problem.family.attenuation(tau)
        return self._zero + (coefficients - self._zero - shift * self._one) / factor

    def _least_information(self, there: Contribution) -> float:
        """Return the least eigenvalue of the information on the coefficients, as in `Plain`."""
        problem, p = self.problem, self.problem.census.p
        reference = problem.census.trials * problem.variance
        return float(np.linalg.eigvalsh(-there.hessian[:p, :p] / reference)[0])

    def _is_regular(self, found: Maximum) -> bool:
        """Return whether a search ended at a maximum, and without a sign of separation."""
        least = np.inf if self._own else self._least_information(found.contribution)
        return found.converged and least >= self.strategy.separation_sign

    # starts -------------------------------------------------------------------------------------

    def _rough_start(self) -> Start | None:
        """Coefficients and tau from about the fit without random intercepts; None at tau = 0."""
        found, at = self._maximise_without(self.strategy.start_tolerance)
        self._nearly = _next_of(found.theta, at)
        tau = self._first_tau(at.slope, at.squares)
        if at.slope <= 0.0 and not self.problem.always_inside:
            return None
        return self._with(found.theta, tau), tau

    def _first_tau(self, slope: float, squares: float) -> float:
        """Return where a step of Fisher's scoring from tau squared at zero leads, or near that."""
        least, most = self.strategy.least_start, self.strategy.largest_start
        # no group tells anything where every outcome is sure to rounding
        squared = 2.0 * slope / squares if squares > 0.0 else np.inf
        return float(np.sqrt(np.clip(squared, least**2, most**2)))

    def _start_of_places(self) -> Start | None:
        """Coefficients and tau of the places' own fits; None where they lead to tau = 0.

        Where no place could estimate tau, it is guessed from the fit without random intercepts.
        """
        problem, strategy = self.problem, self.strategy
        self._own = own = own_fits(problem)
        if own is None:
            return None
        if problem.tau is not None:
            return own.coefficients, problem.tau
        if own.tau is not None:
            self._nearly, self._seen = own.plain, own.seen
            return own.coefficients, float(
                np.clip(own.tau, strategy.least_start, strategy.large_tau)
            )
        self._seen = at = problem.objective(1).without(own.plain).of(COEFFICIENTS)
        self._nearly = _next_of(own.plain, at)
        tau = self._first_tau(at.slope, at.squares)
        return (self._with(self._nearly, tau), tau) if at.slope > 0.0 else None

    def _start_of_some_rows(self) -> Start | None:
        """Coefficients and tau of a fit to some of many rows; None where there is no such fit."""
        problem, strategy = self.problem, self.strategy
        census, penalty = problem.census, problem.penalty
        if census.n < strategy.many_rows or problem.sites.guarded:
            return None
        every = max(1, census.m // strategy.groups_of_start)
        groups = -(-census.m // every)
        rows = View(every, max(strategy.rows_of_start // groups, 1))
        some = problem.sites.census(rows)
        if some.n > census.n // 4:
            return None
        name, strength = (None, None) if penalty is None else (penalty.name, penalty.strength)
        try:
            part = problem_of(problem.sites, some, problem.tau, name, strength, rows)
            found = LocalSearch(part, strategy, strategy.start_tolerance).first(1)
        except ValueError:  # SeparationError is one: all rows may still be fine
            return None
        if not found.converged or (problem.tau_is_free and found.tau == 0.0):
            return None
        return problem.basis.forward(part.basis.back(found.maximum.theta[: census.p])), found.tau

    # stages -------------------------------------------------------------------------------------

    def _at_fixed_tau(self, objective: Objective, tau: float, start: Start | None) -> Found:
        """Return the maximum over the coefficients."""
        coefficients = self.plain().maximum.theta if start is None else start[0]
        tolerance = self._tolerance if self._own is None else self.strategy.many_rows_tolerance
        there = maximise_at(objective, coefficients, tau, tolerance=tolerance)
        if start is not None and not self._is_regular(there):
            there = maximise_at(objective, self.plain().maximum.theta, tau)
        return Found.of(objective.nodes, there, tau, Stage.FIXED_TAU)

    def _near(self, objective: Objective, start: Start) -> Found | None:
        """Return the maximum near a good start, where it is clearly the one; None where not."""
        strategy, census = self.strategy, self.problem.census
        log_tau = float(np.log(start[1]))

        def stop(theta: Array, _: Contribution) -> Stop | None:
            return Stop.FAR if abs(theta[-1] - log_tau) > strategy.far_from_start else None

        theta = np.append(start[0], log_tau)
        for fewer in strategy.fewer_nodes:  # most of the way is cheaper with them
            if fewer * 3 < objective.nodes:
                nearby = self.problem.objective(fewer)
                theta = maximise(
                    nearby,
                    theta,
                    max_step=self._max_step,
                    stop=stop,
                    tolerance=strategy.nearby_tolerance,
                ).theta
        many = census.n >= strategy.many_rows or self._own is not None
        tolerance = strategy.many_rows_tolerance if many else self._tolerance
        found = maximise(objective, theta, max_step=self._max_step, stop=stop, tolerance=tolerance)
        tau = float(np.exp(found.theta[-1]))
        if tau > strategy.large_tau or not self._is_regular(found):
            return None
        # Is it above the best without random intercepts? Near that, the decrement bounds the gain.
        if self._seen is not None and found.contribution.value > self.bound_at_zero:
            return Found.of(objective.nodes, found, tau, Stage.NEAR)
        near = self._without(found.theta[:-1], tau) if self._nearly is None else self._nearly
        self._seen = there = objective.without(near).of(COEFFICIENTS)
        self._nearly = _next_of(near, there)
        above = self.problem.always_inside or found.contribution.value > self.bound_at_zero
        return Found.of(objective.nodes, found, tau, Stage.NEAR) if above else None

    def search(self, objective: Objective, coefficients: Array, tau: float) -> Maximum | None:
        """Maximise over both from a start; None where that leads to tau = 0."""
        plain = self._known

        def stop(theta: Array, at: Contribution) -> Stop | None:
            tau = float(np.exp(theta[-1]))
            if tau > TAU_LIMIT:
                return Stop.UNBOUNDED
            if plain is None:  # a search of all rows, near a maximum that is above tau = 0
                return None
            if plain.slope > 0.0 or at.gradient[-1] >= 0.0:
                return None
            near = tau**2 * plain.most < NEGLIGIBLE_VARIANCE
            # places that are far away are not asked along the whole way
            seen = self._own is not None and _falls_between(plain, tau, at)
            return Stop.BOUNDARY if near or seen else None

        theta = np.append(coefficients, np.log(tau))
        found = maximise(
            objective, theta, max_step=self._max_step, stop=stop, tolerance=self._tolerance
        )
        return None if found.reason is Stop.BOUNDARY else found

    def _highest(self, objective: Objective, start: Start | None) -> Found:
        """Maximise over both, from several starts where needed, and compare with tau = 0."""
        problem, strategy, plain = self.problem, self.strategy, self.plain()

        def start_at(tau: float, of: Objective = objective) -> Maximum | None:
            return self.search(of, self._with(plain.maximum.theta, tau), tau)

        ended: list[Maximum | None] = []
        first = self._first_tau(plain.slope, plain.squares)
        if start is None and objective.nodes > 1 and problem.census.mixed_groups > 0:
            # most of the way is cheaper with one node
            nearby = start_at(first, problem.objective(1))
            if nearby is not None and nearby.converged:
                start = nearby.theta[:-1], float(np.exp(nearby.theta[-1]))
        if start is not None:
            ended.append(self.search(objective, *start))
        # where every group tells much of its intercept, one search has to confirm the boundary
        informative = plain.least >= strategy.enough_information
        starts = (first, *strategy.tau_starts)
        if plain.slope <= 0.0 and informative:
            starts = strategy.tau_starts[:1]
            tau = starts[0]  # and zero is where it is to end, and is judged
            objective.ahead(
                [(plain.maximum.theta, 0.0), (self._with(plain.maximum.theta, tau), tau)]
            )
        for tau in starts:
            if any(ended):
                break
            ended.append(start_at(tau))
        best = _highest_of([e for e in ended if e], strategy.same_maximum)
        at_zero = plain.maximum.contribution.value
        if plain.slope <= 0.0 and (best is None or best.contribution.value <= at_zero):
            return Found.of(objective.nodes, plain.maximum, 0.0, Stage.HIGHEST)
        assert best is not None  # with a positive slope no search ends at the boundary
        return Found.of(objective.nodes, best, float(np.exp(best.theta[-1])), Stage.HIGHEST)

    # from one tau to another --------------------------------------------------------------------

    def moved(self, coefficients: Array, tau: float, to: float) -> Array:
        """Return about what the best coefficients at another tau are."""
        return self._with(self._without(coefficients, tau), to)


def _falls_between(plain: Plain, tau: float, at: Contribution) -> bool:
    """Whether the log-likelihood, over the coefficients, falls all the way from zero to a tau.

    It is taken for the cubic in tau squared that has its values and slopes at both ends; by the
    condition of Fritsch and Carlson, that is monotone.

    References
    ----------
    Fritsch, F. N. and Carlson, R. E. (1980). Monotone piecewise cubic interpolation. SIAM Journal
    on Numerical Analysis 17, 238-246. doi:10.1137/0717021
    """
    variance = tau**2
    if variance * plain.most > CUBIC_VARIANCE:
        return False
    inner, concave = newton_step(at.of(COEFFICIENTS))
    gain = 0.5 * float(at.gradient[:-1] @ inner)
    fall = plain.maximum.contribution.value - (at.value + gain)
    slope = float(at.gradient[-1] + at.hessian[-1, :-1] @ inner) / (2.0 * variance)
    if not concave or gain > CUBIC_GAIN or not fall > 0.0 or slope > 0.0:
        return False
    ratios = np.array([plain.slope, slope]) * -variance / fall
    return bool(np.sum(ratios**2) <= 9.0)


def _next_of(coefficients: Array, there: Contribution) -> Array:
    """Return where Newton's method goes from some coefficients."""
    return np.asarray(coefficients + np.linalg.solve(-there.hessian, there.gradient))


def _gain(there: Contribution) -> float:
    """Return the decrement, which near a maximum is more than what is still to be gained."""
    return float(there.gradient @ np.linalg.solve(-there.hessian, there.gradient))


def maximise_at(objective: Objective, start: Array, tau: float, **options: Any) -> Maximum:
    """Maximise over the coefficients at a fixed tau."""
    return maximise(lambda beta: objective.at(beta, tau).of(COEFFICIENTS), start, **options)


def _highest_of(found: list[Maximum], same: float) -> Maximum | None:
    """Return the first of the highest maxima; one that converged, of those that are the same."""
    best: Maximum | None = None
    for other in found:
        if best is None:
            best = other
            continue
        gain = other.contribution.value - best.contribution.value
        if gain > (-same if other.converged and not best.converged else same):
            best = other
    return best
