"""The walk over values of tau, for many problems at once.

Where there is doubt, `laplace.search` follows the maximum over the coefficients from a small tau to
a large one, by a rule with many nodes, and looks for further maxima. Here the same walk is taken by
many problems together, and it confirms what was found for those where it sees one maximum, and the
rule that was asked for comes from there to where it had been. All others leave the convoy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from laplace.arguments import Array
from laplace.contribution import Stacked
from laplace.local import Stage
from laplace.many.finds import Finds, Mask
from laplace.many.local_searches import LocalSearches
from laplace.many.lockstep import MAXIMUM, TOO_LONG, EvaluateEach, maximise_each, newton_steps
from laplace.many.stack import Which
from laplace.matrices import dot
from laplace.search import SAME_LOG_TAU, SAME_PEAK, SAME_VALUE
from laplace.verdict import FurtherMaximum
from laplace.walk import LARGEST_COEFFICIENT, TOLERANCE_OF_WALK, nodes_at, walked_taus


@dataclass(frozen=True, eq=False)
class Stations:
    """Stations of some problems on their walks, an entry each; see `laplace.walk.Station`."""

    taus: Array
    coefficients: Array
    along: Array
    values: Array
    slopes: Array

    @classmethod
    def none(cls, count: int, p: int) -> Stations:
        """Return those of walks that have not come so far: all is NaN."""
        shapes = (count, (count, p), (count, p), count, count)
        return cls(*(np.full(shape, np.nan) for shape in shapes))

    def take(self, some: Which) -> Stations:
        """Return those of some problems."""
        return Stations(*(getattr(self, field.name)[some] for field in fields(self)))

    def put(self, some: Which, others: Stations) -> None:
        """Set those of some problems, in place."""
        for field in fields(self):
            getattr(self, field.name)[some] = getattr(others, field.name)


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
        fine = np.full(count, True)
        stations = [Stations.none(count, local.p) for _ in range(longest)]
        for k, station in enumerate(stations):
            going = np.flatnonzero(fine & (k < steps))
            there = np.array([taus[i][k] for i in going.tolist()])
            rules = np.array([nodes_at(strategy, tau, self.nodes) for tau in there.tolist()])
            for nodes in np.unique(rules).tolist():
                some = going[rules == nodes]
                last = [before.take(some) for before in stations[max(0, k - 2) : k]]
                reached, fine[some] = self._station(which[some], last, there[rules == nodes], nodes)
                station.put(some, reached)
        value = np.array([station.values for station in stations])
        slope = np.array([station.slopes for station in stations])
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
                at_top[i], tau_there[i] = stations[top[i]].coefficients[i], taus[i][top[i]]
        return alone, top, (at_top, tau_there)

    def _station(
        self, which: Which, last: list[Stations], tau: Array, nodes: int
    ) -> tuple[Stations, Mask]:
        """Return the stations at the next tau, after the last two, and where all is in order."""
        local = self.local

        def evaluate(some: Which, coefficients: Array) -> Stacked:
            at = local.at(which[some], coefficients, tau[some], nodes)
            # the slope in log tau, and its derivatives in the coefficients
            slope = np.hstack([at.gradients[:, -1:], at.hessians[:, -1, :-1]])
            return Stacked(at.values, at.gradients[:, :-1], at.hessians[:, :-1, :-1], slope)

        start, there = self._start(evaluate, which, last, tau)
        ends = maximise_each(
            evaluate,
            start,
            max_iterations=local.strategy.steps_of_walk,
            tolerance=TOLERANCE_OF_WALK,
            there=there,
        )
        at = ends.there
        assert at.spread is not None
        slope, cross = at.spread[:, 0], at.spread[:, 1:]
        along, _ = newton_steps(Stacked(at.values, cross, at.hessians))
        # a step beyond where it ended, as in `laplace.walk.Station`
        step, _ = newton_steps(at)
        step[ends.ending != MAXIMUM] = 0.0
        reached = Stations(
            tau,
            ends.theta + step,
            along,
            at.values + 0.5 * dot(at.gradients, step),
            slope + dot(cross, step),
        )
        return reached, (ends.ending == MAXIMUM) | (ends.ending == TOO_LONG)

    def _start(
        self, evaluate: EvaluateEach, which: Which, last: list[Stations], tau: Array
    ) -> tuple[Array, Stacked]:
        """Return from where to search at the next tau, as in `laplace.walk`, and what is there."""
        everyone = np.arange(len(which))
        if not last:
            plain = self.local.plain_coefficients(which)
            return plain, evaluate(everyone, plain)
        here = last[-1]
        step = np.log(tau / here.taus)[:, None]
        ahead = here.coefficients + step * here.along
        by_attenuation = self.local.moved(which, here.coefficients, here.taus, tau)
        if len(last) > 1:
            before = last[-2]
            pace = np.log(here.taus / before.taus)[:, None]
            secant = (here.coefficients - before.coefficients) / pace
            ahead = ahead + step**2 / pace * (here.along - secant)
            by_attenuation = by_attenuation + (
                here.coefficients
                - self.local.moved(which, before.coefficients, before.taus, here.taus)
            )
        starts = []
        for start in (ahead, by_attenuation):
            near = np.abs(start).max(axis=1, initial=0.0) <= LARGEST_COEFFICIENT
            starts.append(np.where(near[:, None], start, here.coefficients))
        start, other = starts
        there, at_other = evaluate(everyone, start), evaluate(everyone, other)
        values = np.nan_to_num([there.values, at_other.values], nan=-np.inf)
        higher = np.flatnonzero(values[1] > values[0])
        there = Stacked(there.values, there.gradients.copy(), there.hessians.copy(), there.spread)
        start[higher] = other[higher]
        there.put(higher, at_other.take(higher))
        return start, there
