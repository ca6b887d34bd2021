"""A maximum in the columns of X, its precision, and how far more nodes would move it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from laplace.arguments import Array
from laplace.basis import Basis, with_log_tau
from laplace.contribution import Contribution
from laplace.later import linalg
from laplace.nodes import MAX_NODES
from laplace.objective import Problem
from laplace.search import Found, Search, Start

# The numbers of nodes that nodes="auto" tries, and what it accepts, in standard errors.
AUTO_NODES = (1, 3, 5, 9, 15, 25, 51, 101)
AUTO_TOLERANCE = 0.01
# The fewest nodes that an approximation is compared with.
REFERENCE_NODES = 25


@dataclass(frozen=True, eq=False)
class Estimate:
    """A maximum in the columns of X.

    Attributes
    ----------
    problem : Problem
        What was fitted.
    nodes : int
        Number of quadrature nodes.
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts.
    contribution : Contribution
        Value, gradient and Hessian of the log-likelihood in (beta, log tau), without a penalty.
    covariance : ndarray of shape (q, q)
        Inverse of the observed information in the parameters that were estimated and are not on the
        boundary; NaN where there is none.
    inverse : ndarray of shape (q, q)
        Inverse of minus the Hessian of what was maximised: the same but for the soft penalty.
    """

    problem: Problem
    nodes: int
    beta: Array
    tau: float
    contribution: Contribution
    covariance: Array
    inverse: Array

    @property
    def estimated(self) -> slice:
        """The entries of (beta, log tau) that were estimated and are not on the boundary."""
        inside = self.problem.tau_is_free and self.tau > 0.0
        return slice(None) if inside else slice(self.problem.census.p)

    def shift_to(self, nodes: int) -> Array:
        """Predict how far more nodes would move each estimate, in standard errors.

        One Newton step towards the maximum with these nodes. The shift of tau is on the log scale;
        on the boundary all are zero, as the likelihood there is the same for any number of nodes.

        Parameters
        ----------
        nodes : int
            Number of nodes.

        Returns
        -------
        ndarray
            For each coefficient, and for tau where it is free; NaN where there is no covariance.
        """
        problem = self.problem
        shift = np.zeros(problem.census.p + problem.tau_is_free)
        if self.tau > 0.0:
            at = problem.sites.at(self.beta, self.tau, nodes)
            if problem.penalty is not None:
                at = at + problem.penalty.at(self.beta, self.tau)
            gradient = at.gradient[self.estimated]
            standard_errors = np.sqrt(np.diag(self.covariance))
            shift[: len(gradient)] = (self.inverse @ gradient) / standard_errors
        return shift


def reference_nodes(nodes: int) -> int:
    """Return the number of nodes that a rule is compared with."""
    return min(max(REFERENCE_NODES, 2 * nodes + 1), MAX_NODES)


def estimate_of(problem: Problem, found: Found, nodes: int) -> Estimate:
    """Return what was found, in the columns of X."""
    basis, p = problem.basis, problem.census.p
    coefficients = found.maximum.theta[:p]
    there = found.maximum.contribution
    q = len(there.gradient)
    if q == p or problem.penalty is not None:
        # with a fixed tau, or none, its derivatives were left out; a penalty was added
        there = problem.likelihood(nodes).at(coefficients, found.tau)
    contribution = there.transformed(with_log_tau(basis.triangle))
    inverse = covariance = _covariance(found.maximum.contribution.hessian, basis)
    if problem.penalty is not None and not problem.penalty.informs:
        covariance = _covariance(there.hessian[:q, :q], basis)
    beta = basis.back(coefficients)
    for array in (beta, inverse, contribution.gradient, contribution.hessian, covariance):
        array.flags.writeable = False
    return Estimate(problem, nodes, beta, found.tau, contribution, covariance, inverse)


def _covariance(hessian: Array, basis: Basis) -> Array:
    """Inverse of the information that is minus `hessian`, of the basis, for the columns of X."""
    q, p = len(hessian), len(basis.triangle)
    scale = np.sqrt(np.abs(np.diag(hessian)))
    try:
        with np.errstate(invalid="ignore", divide="ignore"):  # refused by the factorisation
            factor = linalg().cho_factor(-hessian / np.outer(scale, scale))
    except (np.linalg.LinAlgError, ValueError):  # not at a maximum: there are no standard errors
        return np.full((q, q), np.nan)
    back = basis.inverse if q == p else with_log_tau(basis.inverse)
    back = back / scale
    return np.asarray(back @ linalg().cho_solve(factor, back.T))


def search_with(problem: Problem, rules: tuple[int, ...]) -> tuple[Found, Estimate]:
    """Search with one number of nodes after the other, until more would change nothing.

    Parameters
    ----------
    problem : Problem
        What is searched.
    rules : tuple of int
        Numbers of nodes; with a single one the search is thorough at once.

    Returns
    -------
    found : Found
    estimate : Estimate
    """
    search = Search(problem)
    start: Start | None = None
    for nodes in rules:
        found = search.maximum(nodes, start, thorough=len(rules) == 1)
        estimate = estimate_of(problem, found, nodes)
        if found.converged and found.tau > 0.0:
            start = found.maximum.theta[: problem.census.p], found.tau
        last = nodes == rules[-1]
        if len(rules) > 1 and found.several and (last or _is_enough(found, estimate)):
            # further maxima are looked for only where the climb may end
            steps = found.maximum.iterations
            found = search.maximum(nodes, start)
            maximum = found.maximum
            found = replace(found, maximum=replace(maximum, iterations=steps + maximum.iterations))
            estimate = estimate_of(problem, found, nodes)
        if len(rules) > 1 and _is_enough(found, estimate):
            break
    return found, estimate


def _is_enough(found: Found, estimate: Estimate) -> bool:
    """Return whether more nodes would change nothing that counts."""
    shift = estimate.shift_to(reference_nodes(estimate.nodes))
    return found.converged and bool(np.max(np.abs(shift)) <= AUTO_TOLERANCE)
