"""A maximum in the columns of X, and its precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laplace.arguments import Array
from laplace.basis import Basis, with_log_tau
from laplace.contribution import Contribution
from laplace.later import linalg
from laplace.local import Found
from laplace.objective import Problem


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
    likelihood, maximised : Contribution
        The log-likelihood in the coefficients of the orthogonal columns and log tau; and what was
        maximised, with the penalty if there is one, in those that were estimated and are not on the
        boundary.
    covariance : ndarray of shape (q, q)
        Inverse of the observed information in the parameters that were estimated and are not on the
        boundary; NaN where there is none.
    """

    problem: Problem
    nodes: int
    beta: Array
    tau: float
    contribution: Contribution
    likelihood: Contribution
    maximised: Contribution
    covariance: Array

    @property
    def estimated(self) -> slice:
        """The entries of (beta, log tau) that were estimated and are not on the boundary."""
        inside = self.problem.tau_is_free and self.tau > 0.0
        return slice(None) if inside else slice(self.problem.census.p)

    @property
    def standard_errors(self) -> Array:
        """Roots of the diagonal of the covariance; NaN where there is none."""
        return np.sqrt(self.covariance.diagonal())


def estimate_of(problem: Problem, found: Found) -> Estimate:
    """Return what was found, in the columns of X."""
    basis, p = problem.basis, problem.census.p
    coefficients = found.coefficients(p)
    there = found.maximum.contribution
    q = len(there.gradient)
    if q == p or problem.penalty is not None:
        # with a fixed tau, or none, its derivatives were left out; a penalty was added
        there = problem.likelihood(found.nodes).at(coefficients, found.tau)
    contribution = there.transformed(with_log_tau(basis.triangle))
    maximised = found.maximum.contribution
    informs = problem.penalty is None or problem.penalty.informs
    covariance = covariance_of(maximised.hessian if informs else there.hessian[:q, :q], basis)
    beta = basis.back(coefficients)
    for array in (beta, contribution.gradient, contribution.hessian, covariance):
        array.flags.writeable = False
    return Estimate(
        problem, found.nodes, beta, found.tau, contribution, there, maximised, covariance
    )


def covariance_of(hessian: Array, basis: Basis) -> Array:
    """Inverse of the information that is minus `hessian`, of the basis, for the columns of X."""
    q, p = len(hessian), len(basis.triangle)
    lapack = linalg().lapack
    scale = np.sqrt(np.abs(hessian.diagonal()))
    with np.errstate(invalid="ignore", divide="ignore"):  # a curvature may be zero
        scaled = -hessian / (scale[:, None] * scale)
    factor, failed = lapack.dpotrf(scaled, clean=0) if np.isfinite(scaled).all() else (None, 1)
    if failed:  # not at a maximum: there are no standard errors
        return np.full((q, q), np.nan)
    back = (basis.inverse if q == p else basis.inverse_with_tau) / scale
    solved, _ = lapack.dpotrs(factor, back.T)
    return np.asarray(back @ solved)
