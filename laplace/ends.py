r"""Profile intervals whose ends hold by more nodes.

The number of nodes that is enough at an estimate need not be so at the end of an interval, where
tau may be many times as large. So an end is looked at once more, by a rule with more nodes: there,
too, :math:`r = \sqrt{2(\hat\ell - \ell_p)}` has to be at the cut, to the part of a standard error
that ``nodes="auto"`` allows an estimate to move. Where it is not, the interval is followed anew by
that rule, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from laplace.contribution import Contribution
from laplace.later import special
from laplace.newton import maximise
from laplace.objective import Objective, Problem
from laplace.profile import Inner, Peak, Piece, profile_intervals, rotation_of
from laplace.strategy import STRATEGY
from laplace.verdict import SPACING_LIMIT, spacing

# The rules by which ends are looked at again.
MORE_NODES = (25, 51, 103, 199)
# A rule says something of another only with so many times its nodes: 103 repeat what 99 say.
MUCH_MORE = 1.5
# At a tau of up to so many times the estimate, the nodes that are enough there are enough.
FAR = 2.0
# An end that misses the cut by more than this, in standard errors, by the last rule is rough.
ROUGH_END = 0.1


@dataclass(frozen=True)
class Intervals:
    """What the profile likelihood does not reject.

    Attributes
    ----------
    pieces : list of list of (float, float)
        As of `laplace.profile.profile_intervals`.
    rough : tuple of int
        The parameters whose intervals no rule confirms.
    """

    pieces: list[list[Piece]]
    rough: tuple[int, ...]


def rules_after(nodes: int) -> Iterator[int]:
    """Yield the rules by which the ends of a rule are looked at."""
    return (more for more in MORE_NODES if more >= MUCH_MORE * nodes)


def is_far(pieces: list[Piece], tau: float) -> bool:
    """Return whether an interval of tau reaches far beyond the estimate."""
    return pieces[-1][1] > FAR * tau


def confirmed_intervals(peak: Peak, problem: Problem, nodes: int, alpha: float) -> Intervals:
    """Return profile intervals by as many nodes as their ends need.

    Parameters
    ----------
    peak : Peak
        A maximum by a rule that is enough there.
    problem : Problem
        What was searched.
    nodes : int
        Number of nodes of that rule.
    alpha : float
        One minus the level.

    Raises
    ------
    ArithmeticError
        As `profile_intervals` does.
    """
    pieces = profile_intervals(peak, problem.objective(nodes), alpha)
    if not peak.tau_is_free or not is_far(pieces[-1], peak.tau):
        return Intervals(pieces, ())
    cut = float(np.sqrt(special().chdtri(1, alpha)))
    everything = tuple(range(len(pieces)))
    off = np.zeros(len(pieces))
    for more in rules_after(nodes):
        objective = problem.objective(more)
        finer = _peak_by(peak, objective)
        if finer is None:
            return Intervals(pieces, everything)
        try:
            off = np.array([_off(finer, objective, k, of, cut) for k, of in enumerate(pieces)])
            if np.all(off <= STRATEGY.enough) and not _is_coarse(problem, pieces[-1], more):
                break
            pieces = profile_intervals(finer, objective, alpha)
        except ArithmeticError:  # the rules differ so much that neither can be trusted there
            return Intervals(pieces, everything)
        peak = finer
    rough = off > ROUGH_END
    rough[-1] |= _is_coarse(problem, pieces[-1], more)
    return Intervals(pieces, tuple(np.flatnonzero(rough).tolist()))


def _is_coarse(problem: Problem, of_tau: list[Piece], nodes: int) -> bool:
    """Return whether nodes are too far apart at the end of an interval of tau."""
    end, some_tell_nothing = of_tau[-1][1], problem.census.mixed_groups < problem.census.m
    return bool(some_tell_nothing and np.isfinite(end) and spacing(end, nodes) > SPACING_LIMIT)


def _peak_by(peak: Peak, objective: Objective) -> Peak | None:
    """Return the maximum of another rule near that of one; None where there is none."""
    if peak.boundary:  # nothing is integrated there
        return peak

    def evaluate(theta: np.ndarray) -> Contribution:
        return objective.at(theta[:-1], float(np.exp(theta[-1])))

    start = np.append(objective.basis.forward(peak.beta), np.log(peak.tau))
    found = maximise(evaluate, start)
    if not found.converged:
        return None
    return replace(
        peak,
        beta=objective.basis.back(found.theta[:-1]),
        tau=float(np.exp(found.theta[-1])),
        value=found.contribution.value,
        hessian=found.contribution.hessian,
    )


def _off(peak: Peak, objective: Objective, k: int, pieces: list[Piece], cut: float) -> float:
    """Return by how much the ends of an interval miss the cut at most, in standard errors."""
    p = len(peak.beta)
    rotation, unit = (np.eye(p), 1.0) if k == p else rotation_of(objective, k)
    values = []
    for end in {end for piece in pieces for end in piece if np.isfinite(end)}:
        inner = Inner(peak, objective, rotation)
        if k < p:
            values.append(inner.at_coefficient(end / unit)[0])
        elif end > 0.0:
            values.append(inner.at_tau(end)[0])
    roots = np.sqrt(2.0 * np.maximum(peak.value - np.array(values), 0.0))
    return float(np.max(np.abs(roots - cut), initial=0.0))
