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
    def curvature(self) -> Array:
        """What `covariance` is minus the inverse of, in the coefficients of the basis."""
        return _informing(self.problem, self.maximised, self.likelihood, len(self.covariance))

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
    covariance = covariance_of(_informing(problem, maximised, there, q), basis)
    beta = basis.back(coefficients)
    for array in (beta, contribution.gradient, contribution.hessian, covariance):
        array.flags.writeable = False
    return Estimate(
        problem, found.nodes, beta, found.tau, contribution, there, maximised, covariance
    )


def _informing(
    problem: Problem, maximised: Contribution, likelihood: Contribution, q: int
) -> Array:
    """Return the Hessian that tells the precision of q parameters; of some penalties it is none."""
    informs = problem.penalty is None or problem.penalty.informs
    return (maximised if informs else likelihood).hessian[:q, :q]


def covariance_of(hessian: Array, basis: Basis) -> Array:
    """Inverse of the information that is minus `hessian`, of the basis, for the columns of X."""
    q, p = len(hessian), len(basis.triangle)
    factor, scale = _factor(hessian)
    if factor is None:  # not at a maximum: there are no standard errors
        return np.full((q, q), np.nan)
    back = (basis.inverse if q == p else basis.inverse_with_tau) / scale
    solved, _ = linalg().lapack.dpotrs(factor, back.T)
    return np.asarray(back @ solved)


def roots_of(hessian: Array, basis: Basis, combinations: Array) -> Array:
    """Return B, whose B'B is the covariance of combinations of the parameters.

    The covariance itself loses their digits where a column lies far from zero: there, the large
    variances of coefficients that depend on each other cancel.

    Parameters
    ----------
    hessian : ndarray of shape (q, q)
        Of the basis, as in `covariance_of`.
    basis : Basis
        Of the columns of X.
    combinations : ndarray of shape (k, p) or (k, q)
        A row each, in the columns of X, and log tau.

    Returns
    -------
    ndarray of shape (q, k)
        A column each, whose length is the standard error; NaN where there is none.
    """
    (k, width), q, p = combinations.shape, len(hessian), len(basis.triangle)
    factor, scale = _factor(hessian)
    if factor is None:
        return np.full((q, k), np.nan)
    if k == 0:
        return np.zeros((q, 0))
    lapack, there = linalg().lapack, np.zeros((q, k))
    there[:width] = combinations.T
    there[:p], _ = lapack.dtrtrs(basis.triangle, there[:p], trans=1)
    solved, _ = lapack.dtrtrs(factor, there / scale[:, None], trans=1)
    return np.asarray(solved)


def _factor(hessian: Array) -> tuple[Array | None, Array]:
    """Return the Cholesky factor of the scaled information, None where it has none; the scale."""
    scale = np.sqrt(np.abs(hessian.diagonal()))
    with np.errstate(invalid="ignore", divide="ignore"):  # a curvature may be zero
        scaled = -hessian / (scale[:, None] * scale)
    if not np.isfinite(scaled).all():
        return None, scale
    factor, failed = linalg().lapack.dpotrf(scaled, clean=0)
    return (None if failed else factor), scale
