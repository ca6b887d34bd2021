"""The usual road of the search, for many problems at once.

The stages are those of `laplace.search` and `laplace.local`, with the same constants and the same
verdict, and each is taken by all problems together: *without*, *fixed tau*, *near*, *highest*,
*more nodes*, the verdict, and the quick look along tau where groups are unequal. A problem leaves
the convoy as soon as anything is out of the ordinary: outcomes that are all the same or separated,
a search that does not converge, a doubt that asks for the walk. Nothing is concluded for it here;
it has to be searched by `laplace.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.local import Stage
from laplace.many.finds import Finds, Judged, Mask
from laplace.many.local_searches import Answering, LocalSearches
from laplace.many.lockstep import newton_steps
from laplace.many.stack import Which
from laplace.many.walks import Walks
from laplace.matrices import diagonals, dot, solved, times
from laplace.objective import Problem, all_the_same
from laplace.search import LONGEST_PROBE, SAME_PEAK, Result, nodes_of_walk
from laplace.strategy import STRATEGY, Strategy
from laplace.verdict import SPACING_LIMIT, FurtherMaximum, reference_nodes, spacing
from laplace.walk import sees_only, walked_taus


def may_join(problem: Problem) -> bool:
    """Return whether the search of a problem may begin on the usual road."""
    census = problem.census
    return (
        len(problem.sites) == 1
        and problem.penalty is None
        and not problem.basis.computed
        and census.n < STRATEGY.many_rows
        and census.m < 2 * STRATEGY.groups_of_probe
        and (census.mixed_groups > 0 or not problem.tau_is_free)
        and all_the_same(census) is None
    )


class Convoy:
    """The usual road of the search, for problems with as many columns.

    Parameters
    ----------
    problems : sequence of Problem
        Problems that `may_join`: all with tau free, all with it fixed above zero, or all at zero;
        and all of counts without a bound, or none.
    answering : Answering
        What answers for their rows, in the same order.
    strategy : Strategy, optional
        The constants; by default `STRATEGY`.
    """

    def __init__(
        self, problems: Sequence[Problem], answering: Answering, strategy: Strategy | None = None
    ) -> None:
        self.strategy = STRATEGY if strategy is None else strategy
        self.local = LocalSearches(problems, answering, self.strategy)
        # the maximum of the walk, where one confirmed what was found
        self._peaks: dict[int, FurtherMaximum] = {}

    @property
    def evaluations(self) -> NDArray[np.int64]:
        """How often the log-likelihood of each problem was evaluated."""
        return self.local.evaluations

    def run(self, rules: tuple[int, ...]) -> list[Result | None]:
        """Return what `laplace.search.search_with` would; None for a problem that has left."""
        searched = self._searched(rules)
        return [
            None if compared is None else self._result(k, compared, rules)
            for k, compared in enumerate(searched)
        ]

    def estimates(self, rules: tuple[int, ...]) -> tuple[Mask, Array, Array, Mask]:
        """Search, and return the estimates alone; see `run`.

        Returns
        -------
        found : ndarray of bool, shape (D,)
            Whether a problem came to its end; the others have left.
        theta : ndarray of shape (D, p + 1)
            Coefficients and tau.
        values : ndarray of shape (D,)
            Log-likelihoods.
        doubtful : ndarray of bool, shape (D,)
            Whether the verdict on an estimate is that it is not to be trusted.
        """
        count, p = len(self.local.problems), self.local.p
        found, doubtful = np.zeros(count, bool), np.zeros(count, bool)
        values, theta = np.full(count, np.nan), np.full((count, p + 1), np.nan)
        for k, compared in enumerate(self._searched(rules)):
            if compared is not None:
                judged, i = compared[-1]
                found[k], values[k] = True, judged.contribution.values[i]
                theta[k, :p], theta[k, p] = judged.beta[i], judged.finds.tau[i]
                doubtful[k] = judged.verdict(i).is_doubtful
        return found, theta, values, doubtful

    def _searched(self, rules: tuple[int, ...]) -> list[list[tuple[Judged, int]] | None]:
        """Return the maxima that were compared for each problem; None for one that has left."""
        compared: list[list[tuple[Judged, int]]] = [[] for _ in self.local.problems]

        def note(judged: Judged) -> None:
            for i, k in enumerate(judged.finds.which.tolist()):
                compared[k].append((judged, i))

        done: list[Which] = []
        waiting: list[tuple[Judged, bool]] = []  # and whether it has to be doubted still
        for finds in self.local.first(rules[0]):
            judged = self._judge(finds)
            trusted = np.full(len(judged.gain), True)
            if self.local.problems[0].tau != 0.0:
                trusted = self._trusted(judged)
            some = judged.take(trusted)
            note(some)
            waiting.append((some, False))
            for walked in self._confirmed(judged.take(~trusted), len(rules) == 1):
                note(walked)
                waiting.append((walked, False))
        while waiting:
            judged, to_doubt = waiting.pop()
            enough = self._enough(judged)
            if judged.finds.nodes >= rules[-1]:
                enough[:] = True
            ended = judged.take(enough)
            if to_doubt:
                trusted = self._trusted(ended) | self._walked(ended)
                done += [w.finds.which for w in self._confirmed(ended.take(~trusted), False)]
                ended = ended.take(trusted)
            done.append(ended.finds.which)
            for further in self._with_more_nodes(judged.take(~enough), rules):
                note(further)
                waiting.append((further, True))
        ended_at: list[list[tuple[Judged, int]] | None] = [None] * len(self.local.problems)
        for which in done:
            for k in which.tolist():
                ended_at[k] = compared[k]
        return ended_at

    def _result(self, k: int, compared: list[tuple[Judged, int]], rules: tuple[int, ...]) -> Result:
        candidates = tuple(judged.candidate(i, self.local.problems[k]) for judged, i in compared)
        best, peak = candidates[-1], self._peaks.get(k)
        reference = reference_nodes(best.found.nodes)
        if peak is not None and reference is not None and peak.nodes >= reference:
            verdict = best.verdict.compared((peak,), best.value_by(peak.nodes))
            best = replace(best, verdict=verdict)
        nearly = self.local.nearly[k]
        return Result(
            best,
            candidates,
            (),
            self.local.plain_of(k),
            None if np.isnan(nearly[0]) else nearly,
            rules,
        )

    def _walked(self, judged: Judged) -> Mask:
        """Return which the walk has confirmed before: where more nodes lead is not doubted."""
        return np.array([k in self._peaks for k in judged.finds.which.tolist()], bool)

    def _confirmed(self, judged: Judged, one_rule: bool) -> list[Judged]:
        """Walk over tau where there is doubt; return what that confirms.

        With a single rule it is judged again, by the rule of the walk.
        """
        if not self.local.free:
            return []
        result = []
        nodes = self._nodes_of_walk(judged)
        for k in np.unique(nodes).tolist():
            some = np.flatnonzero(
                (nodes == k) & self.local.has_plain(judged.finds.which) & self._stays(judged)
            )
            some = some[np.argsort(judged.finds.which[some])]
            part = judged.take(some)
            confirmed, peaks = Walks(self.local, k).confirm(part.finds, one_rule)
            for place in np.flatnonzero(confirmed).tolist():
                peak = peaks[place]
                assert peak is not None
                self._peaks[int(part.finds.which[place])] = peak
            part = part.take(confirmed)
            if one_rule and not part.finds.at_zero:
                part = self._judge(part.finds, k)
            result.append(part)
        return result

    def _stays(self, judged: Judged) -> Mask:
        """Return where the verdict's maximum is about where the estimate is.

        Elsewhere the walk would hardly confirm it, and another would have to follow.
        """
        if not judged.step.shape[1]:
            return np.full(len(judged.gain), True)
        return np.asarray(np.abs(judged.step[:, -1]) <= 0.5 * SAME_PEAK)

    # the verdict, and doubt ---------------------------------------------------------------------

    def _judge(self, finds: Finds, least: int = 0) -> Judged:
        """Judge what was found by the reference of its number of nodes, or one with more."""
        p = self.local.p
        q = p + 1 if self.local.free and not finds.at_zero else p
        own = self._covariances(finds.which, finds.there.hessians[:, :q, :q])
        told: Mask = np.all(np.isfinite(own), axis=(1, 2))
        if not told.all():  # a maximum without standard errors is none of the usual road
            finds, own = finds.take(told), own[told]
        which = finds.which
        beta = times(self.local.inverse[which], finds.coefficients(p))
        contribution = finds.there.transformed(self.local.triangle[which])
        for array in (beta, contribution.gradients, contribution.hessians, own):
            array.flags.writeable = False
        count, width = len(which), p + self.local.free
        if finds.at_zero:
            zero, true = np.zeros(count), np.full(count, True)
            return Judged(
                finds, beta, contribution, own, None, np.zeros((count, width)), zero,
                np.ones((count, width)), np.zeros((count, 0)), true, zero, true,
                finds.there.values,
            )  # fmt: skip
        reference = reference_nodes(finds.nodes)
        assert reference is not None
        reference = max(reference, least)
        step, has_maximum, by_reference = self._step_by(finds, reference, q)
        gain = 0.5 * dot(by_reference.gradients, step)
        ratio = np.full((count, width), np.nan)
        shift = np.full((count, width), np.nan)
        errors = np.sqrt(diagonals(own))
        seen = np.flatnonzero(has_maximum)
        theirs = self._covariances(which[seen], by_reference.hessians[seen])
        ratio[seen, :q] = errors[seen] / np.sqrt(diagonals(theirs))
        shift[seen] = 0.0
        shift[seen, :q] = self._to_columns(which[seen], step[seen]) / errors[seen]
        below = np.zeros(count)
        if self.local.free:
            below = np.maximum(0.0, self.local.bound[which] - by_reference.values)
        spaced = np.array([spacing(tau, reference) for tau in finds.tau.tolist()])
        resolves = ~self.local.constant[which] | (spaced <= SPACING_LIMIT)
        return Judged(
            finds, beta, contribution, own, reference, shift, gain, ratio, step, has_maximum,
            below, resolves, by_reference.values,
        )  # fmt: skip

    def _step_by(self, finds: Finds, nodes: int, q: int) -> tuple[Array, Mask, Stacked]:
        """Return the Newton step by another rule, whether it has a maximum, and what it has."""
        which, there = finds.which, finds.there
        other = self.local.at(which, finds.coefficients(self.local.p), finds.tau, nodes)
        # in the same order as `laplace.verdict`, which adds what more nodes add
        at = Stacked(
            there.values + (other.values - there.values),
            (there.gradients + (other.gradients - there.gradients))[:, :q],
            (there.hessians + (other.hessians - there.hessians))[:, :q, :q],
        )
        step, has_maximum = newton_steps(at)
        return step, has_maximum, at

    def _covariances(self, which: Which, hessians: Array) -> Array:
        """Return the covariances of the columns of X; NaN where the Hessian is no maximum's."""
        q = hessians.shape[1]
        scale = np.sqrt(np.abs(diagonals(hessians)))
        scaled = -hessians / (scale[:, :, None] * scale[:, None, :])
        back = self.local.inverse if q == self.local.p else self.local.jacobian
        back = back[which] / scale[:, None, :]
        return np.asarray(back @ solved(scaled, back.transpose(0, 2, 1)))

    def _to_columns(self, which: Which, step: Array) -> Array:
        """Return steps in the parameters of the columns of X."""
        p = self.local.p
        return np.hstack([times(self.local.inverse[which], step[:, :p]), step[:, p:]])

    def _trusted(self, judged: Judged) -> Mask:
        """Return which leave no doubt, so that there is nothing to walk for."""
        trusted, unequal = ~self._doubted(judged), self._unequal(judged)
        if self.local.free and (unequal & trusted).any():
            some = np.flatnonzero(unequal & trusted)
            trusted[some] = self._probe_confirms(judged.finds.take(some))
        return trusted

    def _doubted(self, judged: Judged) -> Mask:
        """Return where the data, the place or the verdict leave doubt."""
        strategy, which, local = self.strategy, judged.finds.which, self.local
        few = local.mixed[which] < strategy.few_mixed_groups
        small = local.n[which] <= strategy.few_rows
        doubted = (
            (judged.finds.tau > strategy.large_tau)
            | (few & (local.least[which] < strategy.enough_information))
            | (small & (local.information[which] < strategy.near_separation))
            | ~judged.has_maximum
            | (judged.below_zero > 0.0)
        )
        if judged.step.shape[1]:
            far = np.abs(judged.step).max(axis=1) > strategy.far_by_reference
            for i in np.flatnonzero(~doubted & far).tolist():
                doubted[i] = not judged.verdict(i).is_doubtful
        return np.asarray(doubted)

    def _unequal(self, judged: Judged) -> Mask:
        """Return where some groups tell so much more than others that they may disagree."""
        strategy, which = self.strategy, judged.finds.which
        enough = np.maximum(strategy.telling, strategy.unequal * self.local.least[which])
        return np.asarray(self.local.most[which] >= enough)

    def _nodes_of_walk(self, judged: Judged) -> NDArray[np.int64]:
        """Return with how many nodes to walk over tau, where there is doubt."""
        own = judged.finds.nodes
        few = max(self.strategy.rule_for_unequal, own)
        least = reference_nodes(own) or own
        rows = self.local.n[judged.finds.which].tolist()
        many = np.array([max(nodes_of_walk(self.strategy, n), least) for n in rows], np.int64)
        return np.where(self._doubted(judged), many, few)

    def _probe_confirms(self, finds: Finds) -> Mask:
        """Return for which one quick look along tau sees the maximum found, and no other."""
        strategy, which, p = self.strategy, finds.which, self.local.p
        beta = self.local.nearly[which]
        plain = np.flatnonzero(np.isnan(beta[:, 0]))
        if plain.size:
            beta[plain] = self.local.plain_coefficients(which[plain])
        first = strategy.walk_from / np.sqrt(np.maximum(self.local.most[which], 1.0))
        taus = [self._taus(tau) for tau in first.tolist()]
        count = np.array([len(of) for of in taus])
        slopes = np.full((len(which), int(count.max())), np.nan)
        step_of_log = np.array([float(np.log(of[1] / of[0])) for of in taus])[:, None]
        for k in range(slopes.shape[1]):
            some = np.flatnonzero(k < count)
            there = np.array([taus[i][k] for i in some])
            at = self.local.at(which[some], beta[some], there, strategy.rule_for_probe)
            cross = at.hessians[:, :p, p]
            inner, _ = newton_steps(at.of_coefficients())
            along, _ = newton_steps(Stacked(at.values, cross, at.hessians[:, :p, :p]))
            inner = np.clip(inner, -LONGEST_PROBE, LONGEST_PROBE)
            slopes[some, k] = at.gradients[:, p] + dot(cross, inner)
            move = inner + step_of_log[some] * along
            beta[some] += np.clip(move, -LONGEST_PROBE, LONGEST_PROBE)
        confirmed = np.zeros(len(which), bool)
        for i, tau in enumerate(finds.tau.tolist()):
            own = slopes[i, : count[i]]
            seen = sees_only(own, taus[i], tau, strategy.walk_ratio)
            confirmed[i] = seen and bool(np.isfinite(own).all())
        return confirmed

    def _taus(self, first: float) -> Array:
        """Return the values of tau of the quick look."""
        strategy = self.strategy
        taus = walked_taus(first, strategy.walk_to, strategy.walk_ratio)
        return taus[taus <= strategy.probe_to * strategy.walk_ratio]

    # more nodes ---------------------------------------------------------------------------------

    def _enough(self, judged: Judged) -> Mask:
        """Return where more nodes would change nothing that counts."""
        if judged.finds.at_zero:
            return np.full(len(judged.gain), True)
        with np.errstate(invalid="ignore"):
            largest = np.exp(np.abs(np.log(judged.ratio)).max(axis=1))
            near = np.abs(judged.shift).max(axis=1) <= self.strategy.enough
        return np.asarray(judged.resolves & near & (largest <= self.strategy.enough_ratio))

    def _with_more_nodes(self, judged: Judged, rules: tuple[int, ...]) -> list[Judged]:
        """Search with the next rule, from where each problem is."""
        known = judged.has_maximum & (judged.below_zero <= 0.0)
        judged = judged.take(known)  # the others have left
        finds, reference = judged.finds, judged.reference or 0
        result: list[Judged] = []
        waiting = np.arange(len(judged.gain))
        errors = np.sqrt(diagonals(judged.covariance))
        more = [k for k in rules if k > finds.nodes]
        for nodes in more:
            if not waiting.size:
                break
            chosen = waiting
            if nodes < reference and nodes != more[-1]:
                part = finds.take(waiting)
                step, _, _ = self._step_by(part, nodes, judged.step.shape[1])
                change = self._to_columns(part.which, judged.step[waiting] - step)
                apart = np.abs(change / errors[waiting]).max(axis=1)
                chosen = waiting[apart <= 0.5 * self.strategy.enough]
            waiting = np.setdiff1d(waiting, chosen)
            if chosen.size:
                result.append(self._judge(self._next(finds.take(chosen), nodes)))
        return result

    def _next(self, finds: Finds, nodes: int) -> Finds:
        """Return the maxima of a rule with more nodes, from those of one with fewer."""
        start = finds.coefficients(self.local.p)
        return self.local.from_start(finds.which, start, finds.tau, nodes, Stage.MORE_NODES)
