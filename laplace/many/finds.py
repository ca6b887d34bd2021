"""What the search of many problems found, as arrays with an entry a problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import Array
from laplace.contribution import AtZero, Contribution, Stacked
from laplace.estimate import Estimate
from laplace.local import Found, Stage
from laplace.many.lockstep import Ends
from laplace.many.stack import Which
from laplace.newton import Ending, Maximum
from laplace.objective import Problem
from laplace.search import Candidate
from laplace.verdict import Verdict

CONVERGED = Ending.MAXIMUM.value

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Finds:
    """Maxima of one rule for some problems, in the coefficients of the orthogonal columns.

    Attributes
    ----------
    which : ndarray of int, shape (k,)
        The problems.
    nodes : int
        Number of quadrature nodes.
    stage : Stage
        Where they were found.
    ends : Ends
        The searches that found them.
    place : ndarray of int, shape (k,)
        Which of these.
    tau : ndarray of shape (k,)
        Standard deviations of the random intercepts; all zero, or all above.
    there : Stacked
        The log-likelihood in the coefficients and log tau.
    """

    which: Which
    nodes: int
    stage: Stage
    ends: Ends
    place: Which
    tau: Array
    there: Stacked

    @property
    def at_zero(self) -> bool:
        """Whether they are fits without random intercepts."""
        return self.there.spread is not None

    def coefficients(self, p: int) -> Array:
        """Return the coefficients of the orthogonal columns."""
        return self.ends.theta[self.place, :p]

    def take(self, some: Which | Mask) -> Finds:
        """Return some of them."""
        return Finds(
            self.which[some],
            self.nodes,
            self.stage,
            self.ends,
            self.place[some],
            self.tau[some],
            self.there.take(some),
        )


@dataclass(frozen=True, eq=False)
class Judged:
    """The same, in the columns of X, with what a reference says; arrays have an entry a problem.

    The attributes are those of `Estimate` and `Verdict`.
    """

    finds: Finds
    beta: Array
    contribution: Stacked
    covariance: Array
    reference: int | None
    shift: Array
    gain: Array
    ratio: Array
    step: Array
    has_maximum: Mask
    below_zero: Array
    resolves: Mask
    value: Array

    def take(self, some: Which | Mask) -> Judged:
        """Return some of them."""
        return Judged(
            self.finds.take(some),
            self.beta[some],
            self.contribution.take(some),
            self.covariance[some],
            self.reference,
            self.shift[some],
            self.gain[some],
            self.ratio[some],
            self.step[some],
            self.has_maximum[some],
            self.below_zero[some],
            self.resolves[some],
            self.value[some],
        )

    def verdict(self, i: int) -> Verdict:
        """Return the verdict on one of them."""
        exact = self.finds.at_zero
        return Verdict(
            nodes=None if exact else self.reference,
            exact=exact,
            shift=self.shift[i],
            gain=float(self.gain[i]),
            ratio=self.ratio[i],
            step=self.step[i],
            has_maximum=bool(self.has_maximum[i]),
            below_zero=float(self.below_zero[i]),
            resolves=bool(self.resolves[i]),
            value=float(self.value[i]),
        )

    def candidate(self, i: int, problem: Problem) -> Candidate:
        """Return one of them as `laplace.search` has it."""
        finds, p = self.finds, problem.census.p
        ends, place = finds.ends, int(finds.place[i])
        there = one_of(finds.there, i)
        estimated = len(ends.theta[place])
        maximised = there if estimated == len(there.gradient) else there.of(slice(p))
        maximum = maximum_of(ends, place, maximised)
        tau = float(finds.tau[i])
        found = Found(finds.nodes, maximum, tau, True, maximum.message, finds.stage)
        estimate = Estimate(
            problem,
            finds.nodes,
            self.beta[i],
            tau,
            one_of(self.contribution, i),
            there,
            maximised,
            self.covariance[i],
        )
        return Candidate(found, estimate, self.verdict(i))


def one_of(there: Stacked, i: int) -> Contribution:
    """Return one of many contributions."""
    value, gradient, hessian = float(there.values[i]), there.gradients[i], there.hessians[i]
    if there.spread is None:
        return Contribution(value, gradient, hessian)
    return AtZero(value, gradient, hessian, *there.spread[i].tolist())


def maximum_of(ends: Ends, place: int, there: Contribution) -> Maximum:
    """Return where one of many searches ended at a maximum."""
    return Maximum(
        ends.theta[place],
        there,
        Ending.MAXIMUM,
        int(ends.iterations[place]),
        CONVERGED,
        ends.history(place),
    )
