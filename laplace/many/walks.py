"""The walk over values of tau, for many problems at once.

Where there is doubt, `laplace.search` follows the maximum over the coefficients from a small tau to
a large one, by a rule with many nodes, and looks for further maxima. Here the same walk is taken by
many problems together, and it confirms what was found for those where it sees one maximum, and the
rule that was asked for comes from there to where it had been. All others leave the convoy.
"""

from __future__ import annotations

import numpy as np

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.local import Stage
from laplace.many.finds import Finds, Mask
from laplace.many.local_searches import LocalSearches
from laplace.many.lockstep import MAXIMUM, TOO_LONG, maximise_each
from laplace.many.stack import Which
from laplace.search import (
    LARGEST_COEFFICIENT,
    SAME_LOG_TAU,
    SAME_PEAK,
    SAME_VALUE,
    TOLERANCE_OF_WALK,
    walked_taus,
)
from laplace.verdict import FurtherMaximum


class Walks:
    """Walks of some problems by one rule.

    Parameters
    ----------
    local : LocalSearches
        What the first stages know of the problems.
    nodes : int
        Number of nodes of the walk.
    """

    def __init__(self, local: LocalSearches, nodes: int) -> None:
        self.local = local
        self.nodes = nodes

    def confirm(self, finds: Finds, again: bool) -> tuple[Mask, list[FurtherMaximum | None]]:
        """Return for which problems the walk confirms what was found, and its maximum there.

        Parameters
        ----------
        finds : Finds
            What was found, of problems whose fits without random intercepts are known.
        again : bool
            Whether the rule of these has to come to the same maximum from that of the walk.
        """
        which, count = finds.which, len(finds.which)
        peaks: list[FurtherMaximum | None] = [None] * count
        confirmed = np.zeros(count, bool)
        alone, top, at_top = self._walk(which)
        # at zero the fit without random intercepts is the maximum, of any rule
        zero = alone & (top < 0)
        for i in np.flatnonzero(zero & finds.at_zero).tolist():
            peaks[i] = FurtherMaximum(
                0.0, float(finds.there.values[i]), self.nodes, self._beta(finds, i)
            )
            confirmed[i] = True
        some = np.flatnonzero(alone & (top >= 0) & ~finds.at_zero)
        if not some.size:
            return confirmed, peaks
        theta, tau = at_top
        peak = self._from(which[some], theta[some], tau[some], self.nodes)
        place = some[np.searchsorted(which[some], peak.which)]
        near = np.abs(np.log(finds.tau[place] / peak.tau)) < SAME_PEAK
        same = near
        if again and self.nodes != finds.nodes:
            back = self._from(peak.which, peak.coefficients(self.local.p), peak.tau, finds.nodes)
            at = np.searchsorted(peak.which, back.which)
            same = np.zeros(len(place), bool)
            own = finds.take(place[at])
            same[at] = (np.abs(np.log(own.tau / back.tau)) < SAME_LOG_TAU) & (
                np.abs(own.there.values - back.there.values) < SAME_VALUE
            )
        for j in np.flatnonzero(near & same).tolist():
            i = int(place[j])
            confirmed[i] = True
            peaks[i] = FurtherMaximum(
                float(peak.tau[j]), float(peak.there.values[j]), self.nodes, self._beta(peak, j)
            )
        return confirmed, peaks

    def _beta(self, finds: Finds, i: int) -> Array:
        """Return the coefficients of the columns of X."""
        return np.asarray(self.local.inverse[finds.which[i]] @ finds.coefficients(self.local.p)[i])

    def _from(self, which: Which, start: Array, tau: Array, nodes: int) -> Finds:
        return self.local.from_start(which, start, tau, nodes, Stage.WALK)

    def _walk(self, which: Which) -> tuple[Mask, Which, tuple[Array, Array]]:
        """Follow the maximum over the coefficients, where tau is free.

        Returns
        -------
        alone : ndarray of bool, shape (k,)
            Where the walk saw one maximum.
        top : ndarray of int, shape (k,)
            The value of tau at which it was highest; -1 where it fell from the beginning.
        at_top : tuple of ndarray of shapes (k, p), (k,)
            Coefficients and tau there.
        """
        local, strategy, count = self.local, self.local.strategy, len(which)
        first = strategy.walk_from / np.sqrt(np.maximum(local.most[which], 1.0))
        taus = [walked_taus(tau, strategy.walk_to, strategy.walk_ratio) for tau in first.tolist()]
        steps = np.array([len(of) for of in taus])
        longest = int(steps.max(initial=0))
        theta: Array = np.full((longest, count, local.p), np.nan)
        value, slope = np.full((2, longest, count), np.nan)
        fine = np.full(count, True)
        coefficients = local.plain_coefficients(which)
        before = first
        for k in range(longest):
            some = np.flatnonzero(fine & (k < steps))
            tau = np.array([taus[i][k] for i in some.tolist()])
            coefficients[some], value[k, some], slope[k, some], ended = self._station(
                which[some], coefficients[some], before[some], tau
            )
            theta[k, some] = coefficients[some]
            fine[some] = ended
            before[some] = tau
        top, alone = np.full(count, -1), fine.copy()
        at_top, tau_there = np.zeros((count, local.p)), np.ones(count)
        for i in np.flatnonzero(fine).tolist():
            end = int(steps[i])
            rises = slope[:end, i] > 0.0
            tops = np.flatnonzero(rises[:-1] & ~rises[1:])
            alone[i] = not rises[-1] and (not rises[0]) + tops.size == 1
            if alone[i] and tops.size:
                low = int(tops[0])
                top[i] = low + 1 if value[low + 1, i] > value[low, i] else low
                at_top[i], tau_there[i] = theta[top[i], i], taus[i][top[i]]
        return alone, top, (at_top, tau_there)

    def _station(
        self, which: Which, start: Array, before: Array, tau: Array
    ) -> tuple[Array, Array, Array, Mask]:
        """Return coefficients, value and slope at the next tau, and whether all is in order."""
        local = self.local

        def evaluate(some: Which, coefficients: Array) -> Stacked:
            at = local.at(which[some], coefficients, tau[some], self.nodes)
            slope = at.gradients[:, -1:]
            return Stacked(at.values, at.gradients[:, :-1], at.hessians[:, :-1, :-1], slope)

        there = evaluate(np.arange(len(which)), start)
        moved = local.moved(which, start, before, tau)
        tried = np.flatnonzero(np.abs(moved).max(axis=1, initial=0.0) <= LARGEST_COEFFICIENT)
        other = evaluate(tried, moved[tried])
        higher = other.values > there.values[tried]
        start[tried[higher]] = moved[tried[higher]]
        there = Stacked(there.values, there.gradients.copy(), there.hessians.copy(), there.spread)
        there.put(tried[higher], other.take(higher))
        ends = maximise_each(
            evaluate,
            start,
            max_iterations=local.strategy.steps_of_walk,
            tolerance=TOLERANCE_OF_WALK,
            there=there,
        )
        fine = (ends.ending == MAXIMUM) | (ends.ending == TOO_LONG)
        assert ends.there.spread is not None
        return ends.theta, ends.there.values, ends.there.spread[:, 0], fine
