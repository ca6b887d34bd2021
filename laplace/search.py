r"""The search for the maximum with one number of nodes, in stages.

What is searched (`Problem`), the constants (`Strategy`), what the fit without random intercepts
tells of the data (`Plain`) and what was found (`Found`) are different things. The stages, in their
order; the first that ends at a maximum which nothing speaks against is the last:

1. *Without random intercepts*, where tau is fixed at zero.
2. *Some rows*: from `many_rows` rows on, a fit to about `rows_of_start` of them is the start.
3. *Fixed tau*: one search from the start, or from the fit without random intercepts.
4. *Near*: beyond `few_rows` rows, one search from a good start; it is believed if it ends at a
   regular maximum, at a tau of at most `large_tau`, above the best without random intercepts.
5. *Highest*: searches from several values of tau, each compared with the fit without random
   intercepts, which is the limit as tau falls to zero.
6. *Further*: where a search ended badly or at a large tau, or few groups have both outcomes and one
   of all tells little of its intercept, or X nearly separates the outcomes, searches from
   `further_tau_starts` and from the best of a walk over fixed values of tau. The highest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from laplace import separation
from laplace.arguments import Array
from laplace.contribution import COEFFICIENTS, AtZero, Contribution
from laplace.newton import DECREMENT_TOLERANCE, Ending, Maximum, maximise
from laplace.nodes import MAX_NODES
from laplace.objective import Objective, Problem, problem_of
from laplace.questions import View

# Those of every search over tau, also of those inside a profile:
# a step of log tau beyond this leaves the region where the quadratic model means anything.
MAX_STEP_LOG_TAU = 1.5
# Here a group's random intercept adds at most this to the variance of its linear score: the
# log-likelihood is linear in tau squared, and its slope at zero decides.
NEGLIGIBLE_VARIANCE = 1e-3
TAU_LIMIT = 1e4


@dataclass(frozen=True)
class Strategy:
    """The constants of the search, by stage.

    The log-likelihood may have several maxima in tau, and Laplace's has more than the exact one. In
    6,000 random designs of 2 to 15 groups a higher one than the first was found only where the
    first was at a large tau, or few groups had both outcomes and one of all told little of its
    intercept (its sum of b'' was below 2). These signs, and outcomes that X nearly separates, bring
    the stage *further*, at about eight times the cost. Beyond `few_rows` rows only a large tau
    does.

    Attributes
    ----------
    many_rows, rows_of_start, groups_of_start : int
        From so many rows on, the search starts from a fit to about so many of them, in so many
        groups.
    start_tolerance : float
        Of that fit: the maximum over some rows is far less certain than this.
    value_tolerance : float
        Of a maximum of which the value alone is wanted, to ten digits.
    many_rows_tolerance : float
        With many rows, a ten-millionth of a standard error is below a ten-millionth of an
        estimate's third digit, and an evaluation takes time.
    few_rows : int
        Up to here, the stage *near* is left out.
    fewer_nodes, nearby_tolerance : tuple of int, float
        Numbers of nodes on the way to many, and how near their maxima have to be found.
    far_from_start : float
        A search that ends this far from its start, in log tau, is not *near*.
    tau_starts : tuple of float
        Tried after a first guess, which lies between `least_start` and `largest_start`.
    large_tau : float
        A maximum beyond is looked at again.
    few_mixed_groups : int
        Fewer groups with both outcomes leave doubt.
    enough_information : float
        Where every group tells at least this of its intercept, the log-likelihood has no second
        maximum above the boundary (none in 1,800 random designs).
    near_separation, separation_sign : float
        Separation leaves almost no information in some direction; ordinary data keep far more.
    further_tau_starts, tau_walk, steps_of_walk : tuple of float, tuple of float, int
        Of the stage *further*.
    implausible_tau : float
        At a random intercept of this size, one standard deviation takes a probability from 1/2 to
        1e-9: of several maxima, one there is the approximation's.
    same_maximum : float
        Two searches that end closer than this, in log-likelihood, ended at the same maximum.
    """

    many_rows: int = 50_000
    rows_of_start: int = 10_000
    groups_of_start: int = 250
    start_tolerance: float = 1e-2
    value_tolerance: float = 1e-8
    many_rows_tolerance: float = 1e-14
    few_rows: int = 1000
    fewer_nodes: tuple[int, ...] = (1, 6)
    nearby_tolerance: float = 1e-4
    far_from_start: float = 3.0
    tau_starts: tuple[float, ...] = (1.0, 0.3, 3.0)
    least_start: float = 0.1
    largest_start: float = 5.0
    large_tau: float = 5.0
    few_mixed_groups: int = 12
    enough_information: float = 4.0
    near_separation: float = 0.05
    separation_sign: float = 1e-5
    further_tau_starts: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0)
    tau_walk: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    steps_of_walk: int = 4
    implausible_tau: float = 20.0
    same_maximum: float = 1e-6


STRATEGY = Strategy()


class Stop(Enum):
    """Why a search over tau was stopped; the value says it in words."""

    BOUNDARY = "tau falls to zero"
    FAR = "far from the start"
    UNBOUNDED = (
        f"tau rose beyond {TAU_LIMIT:g}: the outcomes hardly vary within groups, so "
        "that the data do not bound it; fix tau, or use groups with both outcomes"
    )


class Doubt(Enum):
    """Why a maximum is not to be trusted; the value says it in words."""

    CONSTANT_GROUPS = (
        "no group has both outcomes: the exact likelihood does not fall as tau grows, so that tau "
        "has no finite estimate, and that of the approximation means nothing; fix tau, or use "
        "groups with both outcomes"
    )
    SEVERAL_MAXIMA = (
        "the approximate log-likelihood has several maxima, and the highest that was found is at "
        "tau={tau:.3g}, where it is not to be trusted; use more nodes, for instance nodes={nodes}, "
        "or fix tau"
    )


class Stage(Enum):
    """The stage that ended a search."""

    WITHOUT = "without random intercepts"
    FIXED_TAU = "fixed tau"
    NEAR = "near"
    HIGHEST = "highest"
    FURTHER = "further"


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


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes
    ----------
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
    several : bool
        Whether there may be further maxima.
    plain : Plain or None
        The fit without random intercepts, where the search made it.
    without : ndarray or None
        Otherwise, coefficients of the orthogonal columns near that.
    """

    maximum: Maximum
    tau: float
    converged: bool
    message: str
    stage: Stage
    several: bool = False
    plain: Plain | None = None
    without: Array | None = None

    @classmethod
    def of(cls, maximum: Maximum, tau: float, stage: Stage) -> Found:
        """Return what a search ended at."""
        return cls(maximum, tau, maximum.converged, maximum.message, stage)

    def doubted(self, doubt: Doubt, **details: Any) -> Found:
        """Return it as no maximum that means anything."""
        return replace(self, converged=False, message=doubt.value.format(**details))


Start = tuple[Array, float]  # coefficients of the orthogonal columns, and tau


class Search:
    """The search for the maximum of one problem.

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
        # a point near the fit without random intercepts, where that was only made roughly
        self._nearly: Array | None = None
        p = problem.census.p
        self._max_step = np.append(np.full(p, np.inf), MAX_STEP_LOG_TAU)
        # coefficients where the linear predictor, the offset included, is nearest to zero; and
        # where, without an offset, it is nearest to one
        census, inverse = problem.census, problem.basis.inverse
        self._zero = np.zeros(p)
        if census.has_offset:
            self._zero = np.asarray(-inverse.T @ census.with_offset / census.n)
        self._one = np.asarray(inverse.T @ census.sums / census.n)

    def maximum(self, nodes: int, start: Start | None = None, *, thorough: bool = True) -> Found:
        """Return the maximum with a number of nodes.

        Parameters
        ----------
        nodes : int
            Number of nodes.
        start : (ndarray, float), optional
            Coefficients and tau of a maximum with fewer nodes.
        thorough : bool
            Whether to look for further maxima where there may be some.
        """
        found = self._maximum(nodes, start, thorough)
        return replace(found, plain=self._known, without=self._nearly)

    def _maximum(self, nodes: int, start: Start | None, thorough: bool) -> Found:
        problem, objective = self.problem, self.problem.objective(nodes)
        if problem.tau == 0.0:
            return Found.of(self.plain().maximum, 0.0, Stage.WITHOUT)
        start = start or self._start_of_some_rows()
        if problem.tau is not None:
            return self._at_fixed_tau(objective, problem.tau, start)
        if problem.census.n > self.strategy.few_rows and problem.penalty is None:
            nearby = start or self._rough_start()
            found = None if nearby is None else self._near(objective, nearby)
            if found is not None:
                return self._judged(found)
        return self._judged(self._highest(objective, start, thorough))

    def _judged(self, found: Found) -> Found:
        """Return what was found, not converged where the data have no maximum in tau."""
        if self.problem.census.mixed_groups == 0 and not self.problem.always_inside:
            return found.doubted(Doubt.CONSTANT_GROUPS)
        return found

    # without random intercepts ------------------------------------------------------------------

    def plain(self) -> Plain:
        """Return the fit without random intercepts; separated data are refused here."""
        if self._known is None:
            self._known = self._fit_without()
        return self._known

    def _fit_without(self) -> Plain:
        problem = self.problem
        maximum, at = self._maximise_without(self._tolerance)
        there: Contribution = at
        if problem.penalty is not None:  # which has no part in what the data tell
            there = problem.likelihood(1).without(maximum.theta)
        information = self._least_information(there)
        nearly = information < self.strategy.separation_sign
        if problem.penalty is None and (nearly or not maximum.converged):
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
        variance = float(problem.family.b_2(np.array([problem.typical]))[0])
        reference = problem.census.trials * variance
        return float(np.linalg.eigvalsh(-there.hessian[:p, :p] / reference)[0])

    def _is_regular(self, found: Maximum) -> bool:
        """Return whether a search ended at a maximum, and without a sign of separation."""
        least = self._least_information(found.contribution)
        return found.converged and least >= self.strategy.separation_sign

    # starts -------------------------------------------------------------------------------------

    def _rough_start(self) -> Start | None:
        """Coefficients and tau from about the fit without random intercepts; None at tau = 0."""
        found, at = self._maximise_without(self.strategy.start_tolerance)
        self._nearly = _next_of(found.theta, at)
        tau = self._first_tau(at.slope, at.squares)
        return None if at.slope <= 0.0 else (self._with(found.theta, tau), tau)

    def _first_tau(self, slope: float, squares: float) -> float:
        """Return where a step of Fisher's scoring from tau squared at zero leads, or near that."""
        least, most = self.strategy.least_start, self.strategy.largest_start
        # no group tells anything where every outcome is sure to rounding
        squared = 2.0 * slope / squares if squares > 0.0 else np.inf
        return float(np.sqrt(np.clip(squared, least**2, most**2)))

    def _start_of_some_rows(self) -> Start | None:
        """Coefficients and tau of a fit to some of many rows; None where there is no such fit."""
        problem, strategy = self.problem, self.strategy
        census, penalty = problem.census, problem.penalty
        if census.n < strategy.many_rows:
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
            found = Search(part, strategy, strategy.start_tolerance).maximum(1)
        except ValueError:  # SeparationError is one: all rows may still be fine
            return None
        if not found.converged or (problem.tau_is_free and found.tau == 0.0):
            return None
        return problem.basis.forward(part.basis.back(found.maximum.theta[: census.p])), found.tau

    # stages -------------------------------------------------------------------------------------

    def _at_fixed_tau(self, objective: Objective, tau: float, start: Start | None) -> Found:
        coefficients = self.plain().maximum.theta if start is None else start[0]
        there = _maximise_at(objective, coefficients, tau)
        if start is not None and not self._is_regular(there):
            there = _maximise_at(objective, self.plain().maximum.theta, tau)
        return Found.of(there, tau, Stage.FIXED_TAU)

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
        many = census.n >= strategy.many_rows
        tolerance = strategy.many_rows_tolerance if many else self._tolerance
        found = maximise(objective, theta, max_step=self._max_step, stop=stop, tolerance=tolerance)
        tau = float(np.exp(found.theta[-1]))
        if tau > strategy.large_tau or not self._is_regular(found):
            return None
        # Is it above the best without random intercepts? Near that, the decrement bounds the gain.
        near = self._without(found.theta[:-1], tau) if self._nearly is None else self._nearly
        there = objective.without(near).of(COEFFICIENTS)
        gain = there.gradient @ np.linalg.solve(-there.hessian, there.gradient)
        above = found.contribution.value > there.value + gain
        self._nearly = _next_of(near, there)
        return Found.of(found, tau, Stage.NEAR) if above else None

    def _highest(self, objective: Objective, start: Start | None, thorough: bool) -> Found:
        """Maximise over both, from several starts where needed, and compare with tau = 0."""
        problem, strategy, plain = self.problem, self.strategy, self.plain()

        def stop(theta: Array, at: Contribution) -> Stop | None:
            tau = float(np.exp(theta[-1]))
            if tau > TAU_LIMIT:
                return Stop.UNBOUNDED
            falls = plain.slope <= 0.0 and at.gradient[-1] < 0.0
            return Stop.BOUNDARY if falls and tau**2 * plain.most < NEGLIGIBLE_VARIANCE else None

        def search(coefficients: Array, tau: float, of: Objective = objective) -> Maximum | None:
            theta = np.append(coefficients, np.log(tau))
            found = maximise(
                of, theta, max_step=self._max_step, stop=stop, tolerance=self._tolerance
            )
            return None if found.reason is Stop.BOUNDARY else found

        def start_at(tau: float, of: Objective = objective) -> Maximum | None:
            return search(self._with(plain.maximum.theta, tau), tau, of)

        ended: list[Maximum | None] = []
        first = self._first_tau(plain.slope, plain.squares)
        if start is None and objective.nodes > 1 and problem.census.mixed_groups > 0:
            # most of the way is cheaper with one node
            nearby = start_at(first, problem.objective(1))
            if nearby is not None and nearby.converged:
                start = nearby.theta[:-1], float(np.exp(nearby.theta[-1]))
        if start is not None:
            ended.append(search(*start))
        # where every group tells much of its intercept, one search has to confirm the boundary
        informative = plain.least >= strategy.enough_information
        starts = strategy.tau_starts
        for tau in starts[:1] if plain.slope <= 0.0 and informative else (first, *starts):
            if any(ended):
                break
            ended.append(start_at(tau))
        several = self._may_have_several(ended)
        further = thorough and several
        if further:
            ended += [start_at(tau) for tau in strategy.further_tau_starts]
            ended.append(search(*self._best_of_walk(objective)))
        stage = Stage.FURTHER if further else Stage.HIGHEST
        return replace(self._best(objective, [e for e in ended if e], stage), several=several)

    def _best(self, objective: Objective, inside: list[Maximum], stage: Stage) -> Found:
        """Return the highest of the maxima inside and of that at tau = 0."""
        strategy, plain = self.strategy, self.plain()
        best = _highest_of(inside, strategy.same_maximum)
        at_zero = plain.maximum.contribution.value
        if plain.slope <= 0.0 and (best is None or best.contribution.value <= at_zero):
            return Found.of(plain.maximum, 0.0, stage)
        assert best is not None  # with a positive slope no search ends at the boundary
        tau = float(np.exp(best.theta[-1]))
        values = [found.contribution.value for found in inside if found.converged]
        lower = min(values, default=np.inf) < best.contribution.value - strategy.same_maximum
        found = Found.of(best, tau, stage)
        far = tau > strategy.implausible_tau and not self.problem.always_inside
        if best.converged and (plain.slope <= 0.0 or lower) and far:
            more = min(max(25, 4 * objective.nodes), MAX_NODES)
            return found.doubted(Doubt.SEVERAL_MAXIMA, tau=tau, nodes=more)
        return found

    def _may_have_several(self, ended: list[Maximum | None]) -> bool:
        """Whether there may be further maxima that are higher than those where searches ended."""
        strategy, census, plain = self.strategy, self.problem.census, self.plain()
        log_large = np.log(strategy.large_tau)
        if any(e and (not e.converged or e.theta[-1] > log_large) for e in ended):
            return True
        if census.n > strategy.few_rows:
            return False
        few = census.mixed_groups < strategy.few_mixed_groups
        uninformative = plain.least < strategy.enough_information
        return (few and uninformative) or plain.information < strategy.near_separation

    def _best_of_walk(self, objective: Objective) -> Start:
        """Follow the coefficients over fixed values of tau; return the best pair."""
        coefficients = self.plain().maximum.theta
        best = (-np.inf, coefficients, 1.0)
        for tau in self.strategy.tau_walk:
            found = _maximise_at(
                objective, coefficients, tau, max_iterations=self.strategy.steps_of_walk
            )
            coefficients = found.theta
            value = found.contribution.value
            best = max(best, (value, coefficients, tau), key=lambda pair: pair[0])
        return best[1:]


def _next_of(coefficients: Array, there: Contribution) -> Array:
    """Return where Newton's method goes from some coefficients."""
    return np.asarray(coefficients + np.linalg.solve(-there.hessian, there.gradient))


def _maximise_at(objective: Objective, start: Array, tau: float, **options: Any) -> Maximum:
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
        better_end = other.ending is Ending.MAXIMUM and best.ending is not Ending.MAXIMUM
        if gain > (-same if better_end else same):
            best = other
    return best
