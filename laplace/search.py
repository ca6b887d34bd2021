r"""The search for the maximum, in stages, and its verdict.

The stages, in their order, with what brings them and the constants that they read from `STRATEGY`:

=================  ================================================================================
Stage              What it does, and when
=================  ================================================================================
without            tau is fixed at zero: the fit without random intercepts.
fixed tau          tau is fixed above zero: one search over the coefficients.
some rows          From ``many_rows`` = 50000 rows on, a fit to about ``rows_of_start`` = 10000 of
                   them is the start.
near               Beyond ``few_rows`` = 1000 rows: one search from a good start. It is believed if
                   it ends at a regular maximum, at a tau of at most ``large_tau`` = 5, above the
                   best without random intercepts.
highest            Otherwise: a search from a first guess of tau and, until one converges, from
                   ``tau_starts`` = 1, 0.3 and 3. It is compared with the fit without random
                   intercepts, which is the limit as tau falls to zero.
verdict            Always: one evaluation at the estimate by a reference rule (`laplace.verdict`).
walk               Where there is doubt: the maximum over the coefficients is followed over values
                   of tau by the reference rule (`laplace.walk`), and the search begins again at
                   each maximum found.
more nodes         With ``nodes="auto"``: until no parameter is predicted to move by more than
                   ``enough`` = 0.01 standard errors, and none of these is off by a factor of more
                   than ``enough_ratio`` = 1.05.
=================  ================================================================================

Where `Sites` asks the places for fits of their own rows, these, combined by their information, are
the start of *near* or *fixed tau* for any number of rows, and *some rows* is left out. A search
then ends at tau = 0 as soon as the log-likelihood is seen to fall all the way from there.

There is doubt where

- the search did not converge, or ended at a tau above ``large_tau`` = 5;
- the verdict has no maximum near, or puts the estimate below the best without random intercepts;
  or it predicts that a coefficient of the orthogonal columns or log tau changes by more than
  ``far_by_reference`` = 1, and that this is little in standard errors, which are large. (Where it
  is much, the fit is doubtful, and a warning says so.)
- fewer than ``few_mixed_groups`` = 12 groups have both outcomes, and one of all groups tells less
  than ``enough_information`` = 4 of its intercept, in sums of b'';
- X nearly separates the outcomes of at most ``few_rows`` rows: some coefficient keeps less than
  ``near_separation`` = 0.05 of the information that a regression on nothing has;
- groups are unequal: one tells at least ``telling`` = 2 of its intercept, and ``unequal`` = 6
  times as much as another; and one quick look along tau, with ``rule_for_probe`` = 3 nodes, does
  not see the maximum found alone. The large groups may agree where the small ones vary, and the
  likelihood itself may have a maximum for each. (For normal outcomes no less than six times will
  do.)

The maximum is looked for by the likelihood, and found by the rule: the walk is by a reference with
many nodes, ``reference_rules``, and the rule that was asked for starts from the maxima of the
walk. Where unequal groups are the only sign, the walk is by ``rule_for_unequal`` = 7 nodes, and the
reference compares the maxima, if there are several. Of the maxima that the rule has there, that is
returned which the reference puts highest. A maximum of the rule alone, far from those of the
reference, is an artefact, however high it is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from laplace.arguments import Array
from laplace.contribution import COEFFICIENTS, Contribution
from laplace.estimate import Estimate, estimate_of
from laplace.later import pd
from laplace.local import Found, LocalSearch, Plain, Stage, Start
from laplace.newton import maximise, newton_step
from laplace.objective import Objective, Problem
from laplace.strategy import STRATEGY, Strategy
from laplace.verdict import REFERENCE_NODES, FurtherMaximum, Verdict, apart, judge, reference_nodes
from laplace.walk import Station, follow, sees_only, walked_taus

# A maximum of the walk is that of a candidate when log tau differs by less; two searches with the
# same rule ended at the same maximum when log tau, and the log-likelihood, do.
SAME_PEAK, SAME_LOG_TAU, SAME_VALUE = 0.5, 1e-4, 1e-6
# And no quick look goes further than this from one tau to the next.
LONGEST_PROBE = 2.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A maximum of a rule, in the columns of X, and what a reference says of it."""

    found: Found
    estimate: Estimate
    verdict: Verdict

    def value_by(self, nodes: int) -> float:
        """Return what a rule has there; rules are never compared with each other."""
        found, problem = self.found, self.estimate.problem
        if found.tau == 0.0 or found.nodes == nodes:
            return found.value
        if self.verdict.nodes == nodes:
            return self.verdict.value
        coefficients = found.coefficients(problem.census.p)
        return problem.objective(nodes).at(coefficients, found.tau).value


@dataclass(frozen=True, eq=False)
class Result:
    """What the search returns.

    Attributes
    ----------
    candidate : Candidate
        The maximum.
    compared : tuple of Candidate
        All that were compared, in the order in which they were found.
    others : tuple of FurtherMaximum
        Further maxima of the likelihood by the reference, the highest first.
    plain : Plain or None
        The fit without random intercepts, where the search made it.
    nearly : ndarray or None
        Otherwise, coefficients of the orthogonal columns near that.
    rules : tuple of int
        The numbers of nodes that it was to try.
    """

    candidate: Candidate
    compared: tuple[Candidate, ...]
    others: tuple[FurtherMaximum, ...]
    plain: Plain | None
    nearly: Array | None
    rules: tuple[int, ...]

    @property
    def is_automatic(self) -> bool:
        """Whether more nodes were to be tried until they were enough."""
        return len(self.rules) > 1

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that led to candidates, in their order, and the verdict."""
        used = [candidate.found.stage.value for candidate in self.compared]
        return tuple(dict.fromkeys([*used, "verdict"]))

    def table(self) -> pd.DataFrame:
        """Return the candidates, a row each."""
        best = self.candidate.verdict.value
        return pd.DataFrame(
            {
                "stage": [c.found.stage.value for c in self.compared],
                "nodes": [c.found.nodes for c in self.compared],
                "tau": [c.found.tau for c in self.compared],
                "converged": [c.found.converged for c in self.compared],
                "log-likelihood": [c.found.value for c in self.compared],
                "below": [best - c.verdict.value for c in self.compared],
            }
        )


def search_with(
    problem: Problem, rules: tuple[int, ...], strategy: Strategy | None = None
) -> Result:
    """Search with one number of nodes after the other, until more would change nothing.

    Parameters
    ----------
    problem : Problem
        What is searched.
    rules : tuple of int
        Numbers of nodes.
    strategy : Strategy, optional
        The constants; by default `STRATEGY`.

    Returns
    -------
    Result
    """
    return Search(problem, STRATEGY if strategy is None else strategy).run(rules)


class Search:
    """The stages beyond the first, for one problem.

    Parameters
    ----------
    problem : Problem
        What is searched.
    strategy : Strategy
        The constants.
    """

    def __init__(self, problem: Problem, strategy: Strategy) -> None:
        self.problem = problem
        self.strategy = strategy
        self.local = LocalSearch(problem, strategy)

    def run(self, rules: tuple[int, ...]) -> Result:
        """Return the maximum of the first rule that is enough, or of the last."""
        asked = rules
        first = self._candidate(self.local.first(rules[0]))
        if self.problem.tau == 0.0:
            return self._result(first, (first,), asked)
        compared: tuple[Candidate, ...] = (first,)
        walked = self._walk_rule(first)
        if walked is None:
            compared = self._with_more_nodes(compared, rules)
            if len(compared) > 1:
                walked = self._walk_rule(compared[-1])
        if walked is None:
            return self._result(compared[-1], compared, asked)
        peaks = self._peaks(walked)
        if len(rules) > 1 and peaks and self._is_at(compared[-1], self._peak(peaks[0])):
            # the walk confirms where the search has come to
            compared = self._with_more_nodes(compared, rules)
            return self._with_peaks(compared[-1], compared, asked, peaks)
        if peaks:
            walked = max(walked, peaks[0].nodes)
        if len(rules) > 1:
            rules = tuple(k for k in rules if k >= min(walked, REFERENCE_NODES))
        # all are compared by the rule of the walk
        compared = tuple(
            self._candidate(c.found, walked) for c in compared if c.found.nodes == rules[0]
        )
        best, compared = self._best_of(peaks, rules[0], walked, compared)
        if len(rules) > 1 and not self._is_enough(best):
            more = self._with_more_nodes((best,), rules)
            best, compared = more[-1], compared + more[1:]
        return self._with_peaks(best, compared, asked, peaks)

    def _peak(self, found: Found) -> FurtherMaximum:
        """Return a maximum of the walk in the columns of X."""
        coefficients = found.coefficients(self.problem.census.p)
        return FurtherMaximum(
            found.tau, found.value, found.nodes, self.problem.basis.back(coefficients)
        )

    def _with_peaks(
        self,
        best: Candidate,
        compared: tuple[Candidate, ...],
        rules: tuple[int, ...],
        peaks: list[Found],
    ) -> Result:
        """Return the result, in view of the maxima of the walk."""
        reference = reference_nodes(best.found.nodes)
        elsewhere = bool(peaks) and not self._is_at(best, self._peak(peaks[0]))
        if elsewhere and reference is not None and peaks[0].nodes < reference:
            # the few nodes of a walk between unequal groups do not decide
            peaks = self._by_rule(reference, peaks)
        known = tuple(self._peak(found) for found in peaks)
        if peaks and reference is not None and peaks[0].nodes >= reference:
            value = best.value_by(peaks[0].nodes)
            best = replace(best, verdict=best.verdict.compared(known, value))
        others = tuple(peak for peak in known if not self._is_at(best, peak))
        return self._result(best, compared, rules, others)

    def _by_rule(self, nodes: int, peaks: list[Found]) -> list[Found]:
        """Return the maxima that a rule has near those of another, the highest first."""
        found = [
            replace(peak, nodes=nodes)
            if peak.tau == 0.0
            else self.local.from_start(
                nodes, (peak.coefficients(self.problem.census.p), peak.tau), Stage.WALK
            )
            for peak in peaks
        ]
        converged = [peak for peak in found if peak is not None and peak.converged]
        return sorted(converged, key=lambda peak: -peak.value)

    def _result(
        self,
        best: Candidate,
        compared: tuple[Candidate, ...],
        rules: tuple[int, ...],
        others: tuple[FurtherMaximum, ...] = (),
    ) -> Result:
        return Result(best, compared, others, self.local.known, self.local.nearly, rules)

    def _candidate(self, found: Found, reference: int | None = None) -> Candidate:
        """Judge what was found, by a given reference or by that of its own number of nodes."""
        own = reference_nodes(found.nodes)
        if own is not None and reference is not None:
            own = max(own, reference)
        estimate = estimate_of(self.problem, found)
        return Candidate(found, estimate, judge(estimate, self.local.bound_at_zero, own))

    # doubt --------------------------------------------------------------------------------------

    def _has_signs(self, found: Found) -> bool:
        """Return whether the data, or where a search ended, leave doubt."""
        strategy, signs = self.strategy, self.local.signs()
        few_rows = self.problem.census.n <= strategy.few_rows
        few_mixed = signs.mixed_groups < strategy.few_mixed_groups
        return (
            not found.converged
            or found.tau > strategy.large_tau
            or (few_mixed and signs.least < strategy.enough_information)
            or (few_rows and signs.information < strategy.near_separation)
        )

    def _walk_rule(self, candidate: Candidate) -> int | None:
        """Return with how many nodes to walk over tau; None where there is no doubt."""
        strategy, found, verdict = self.strategy, candidate.found, candidate.verdict
        doubt = (
            self._has_signs(found)
            or verdict.is_lost
            or (verdict.distance > strategy.far_by_reference and not verdict.is_doubtful)
        )
        if doubt:
            return max(self._reference_rule(), reference_nodes(found.nodes) or found.nodes)
        disagree = self._unequal() and not self._probe_confirms(found)
        return max(strategy.rule_for_unequal, found.nodes) if disagree else None

    def _unequal(self) -> bool:
        """Return whether some groups tell so much more than others that they may disagree."""
        strategy, signs = self.strategy, self.local.signs()
        enough = signs.most >= max(strategy.telling, strategy.unequal * signs.least)
        return self.problem.tau is None and enough

    def _probe_confirms(self, found: Found) -> bool:
        """Return whether one quick look along tau sees the maximum found, and no other.

        At each value of tau the derivatives by a rule with few nodes are taken once, where the
        coefficients are predicted to be from the last value; the slope in log tau is corrected by
        the Newton step that is left.
        """
        strategy, p = self.strategy, self.problem.census.p
        many = self.problem.census.m // strategy.groups_of_probe
        nodes = strategy.rule_for_probe
        every = max(many, 1) if self.problem.sites.some_for_all else 1
        objective = self.problem.objective(nodes, every)
        taus, beta = self._taus(), self.local.about_plain()
        taus = taus[taus <= strategy.probe_to * strategy.walk_ratio]
        step_of_log = float(np.log(taus[1] / taus[0]))
        slopes = []
        for tau in taus:
            at = objective.at(beta, float(tau))
            inner, _ = newton_step(at.of(COEFFICIENTS))
            cross = at.hessian[:p, p]
            along, _ = newton_step(
                Contribution(0.0, cross, at.hessian[:p, :p])  # how they move with log tau
            )
            inner = np.clip(inner, -LONGEST_PROBE, LONGEST_PROBE)
            slopes.append(float(at.gradient[p] + cross @ inner))
            beta = beta + np.clip(inner + step_of_log * along, -LONGEST_PROBE, LONGEST_PROBE)
        inside = self.problem.always_inside
        return sees_only(np.array(slopes), taus, found.tau, strategy.walk_ratio, inside)

    # the walk -----------------------------------------------------------------------------------

    def _peaks(self, nodes: int) -> list[Found]:
        """Return the maxima by a rule with many nodes, the highest first."""
        stations = follow(self.local, self._taus(), nodes)
        if self.problem.tau is not None:
            found = self.local.from_start(
                nodes, (stations[-1].coefficients, self.problem.tau), Stage.WALK
            )
            return [] if found is None else [found]
        falls, rises_at_zero = stations[0].slope <= 0.0, self.local.plain().slope > 0.0
        zero = falls and not rises_at_zero
        tops = [stations[0]] if falls and rises_at_zero else []  # the maximum is below the first
        tops += [
            max(low, high, key=lambda station: station.value)
            for low, high in itertools.pairwise(stations)
            if low.slope > 0.0 >= high.slope
        ]
        if zero + len(tops) > 1:  # they are compared by a rule whose own error is small
            nodes = max(nodes, self._reference_rule())
        peaks = [self.local.at_zero(nodes, Stage.WALK)] if zero else []
        tops = sorted(tops, key=lambda station: -station.value)[: self.strategy.peaks]
        for top in tops:
            found = self.local.from_start(nodes, (top.coefficients, top.tau), Stage.WALK)
            if found is not None and found.converged:
                peaks.append(found)
        if stations[-1].slope > 0.0:
            peaks.append(self._unbounded(stations[-1], self.problem.objective(nodes)))
        distinct: list[Found] = []
        for peak in sorted(peaks, key=lambda found: -found.value):
            if all(
                abs(np.log(peak.tau / q.tau)) > 0.01 for q in distinct if peak.tau * q.tau > 0.0
            ):
                distinct.append(peak)
        return [p for p in distinct if p.value > distinct[0].value - self.strategy.lowest_peak]

    def _reference_rule(self) -> int:
        """Return the number of nodes of a walk where there is doubt."""
        return nodes_of_walk(self.strategy, self.problem.census.n)

    def _taus(self) -> Array:
        """Return the values of tau of the walk."""
        strategy = self.strategy
        first = strategy.walk_from / np.sqrt(max(self.local.signs().most, 1.0))
        if self.problem.always_inside:  # there is no fit at tau = 0 to begin with
            first *= strategy.walk_below
        last = strategy.walk_to if self.problem.tau is None else self.problem.tau
        return walked_taus(float(first), last, strategy.walk_ratio)

    def _unbounded(self, last: Station, objective: Objective) -> Found:
        """Return where the walk ended, while the likelihood still rose."""
        theta = np.append(last.coefficients, np.log(last.tau))
        found = maximise(objective, theta, max_iterations=0)
        return Found(objective.nodes, found, last.tau, False, found.message, Stage.WALK)

    # candidates ---------------------------------------------------------------------------------

    def _best_of(
        self, peaks: list[Found], nodes: int, walked: int, compared: tuple[Candidate, ...]
    ) -> tuple[Candidate, tuple[Candidate, ...]]:
        """Let a rule find its maxima from those of the walk; return that of the highest."""
        p = self.problem.census.p
        for peak in peaks:
            if peak.tau == 0.0:
                found: Found | None = self.local.at_zero(nodes, Stage.WALK)
            elif peak.nodes == nodes:
                found = peak
            else:
                found = self.local.from_start(nodes, (peak.coefficients(p), peak.tau), Stage.WALK)
            if found is not None and not any(_same(found, c.found) for c in compared):
                compared = (*compared, self._candidate(found, walked))
        if not compared:
            compared = (self._candidate(self.local.first(nodes), walked),)
        converged = [c for c in compared if c.found.converged] or list(compared)
        # where its nodes are too far apart, a reference compares nothing
        converged = [c for c in converged if c.verdict.resolves] or converged
        best = converged[0]
        for candidate in converged[1:]:
            if candidate.verdict.value > best.verdict.value + self.strategy.same_maximum:
                best = candidate
        return best, compared

    def _is_at(self, candidate: Candidate, peak: FurtherMaximum) -> bool:
        """Whether a maximum of the walk is that of a candidate."""
        tau = candidate.found.tau
        if tau == 0.0 or peak.tau == 0.0:
            return tau == peak.tau
        return bool(abs(np.log(tau / peak.tau)) < SAME_PEAK)

    # more nodes ---------------------------------------------------------------------------------

    def _is_enough(self, candidate: Candidate) -> bool:
        """Return whether more nodes would change nothing that counts."""
        verdict = candidate.verdict
        if verdict.exact:
            return True
        return (
            candidate.found.converged
            and verdict.resolves
            and verdict.largest_shift <= self.strategy.enough
            and verdict.largest_ratio <= self.strategy.enough_ratio
        )

    def _with_more_nodes(
        self, compared: tuple[Candidate, ...], rules: tuple[int, ...]
    ) -> tuple[Candidate, ...]:
        """Raise the number of nodes until it is enough; each search starts from the last."""
        p = self.problem.census.p
        while compared[-1].found.nodes < rules[-1] and not self._is_enough(compared[-1]):
            last = compared[-1]
            nodes = self._next_rule(last, [k for k in rules if k > last.found.nodes])
            if nodes is None:
                break
            start: Start = last.found.coefficients(p), last.found.tau
            found = self.local.from_start(nodes, start, Stage.MORE_NODES)
            if found is None:
                found = self.local.at_zero(nodes, Stage.MORE_NODES)
            compared = (*compared, self._candidate(found))
        return compared

    def _next_rule(self, last: Candidate, rules: list[int]) -> int | None:
        """Return the first rule that is predicted to be enough, or the last; None without one."""
        verdict = last.verdict
        near = last.found.converged and not verdict.is_lost and verdict.nodes is not None
        for nodes in rules:
            if not near or not verdict.is_known or nodes >= (verdict.nodes or 0):
                return nodes
            if apart(last.estimate, verdict, nodes) <= 0.5 * self.strategy.enough:
                return nodes
        return rules[-1] if rules else None


def nodes_of_walk(strategy: Strategy, rows: int) -> int:
    """Return the number of nodes of a walk where there is doubt, for so many rows."""
    return next(k for most, k in strategy.reference_rules if rows <= most)


def _same(one: Found, two: Found) -> bool:
    """Whether two searches with the same rule ended at the same maximum."""
    if one.nodes != two.nodes:
        return False
    if one.tau == 0.0 or two.tau == 0.0:
        return one.tau == two.tau
    near = abs(np.log(one.tau / two.tau)) < SAME_LOG_TAU
    return bool(near and abs(one.value - two.value) < SAME_VALUE)
