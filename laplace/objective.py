"""The problem that some rows pose, and what is maximised: a function of the coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from laplace import penalties
from laplace.answers import Census
from laplace.arguments import Array
from laplace.basis import Basis, orthogonal
from laplace.contribution import AtZero, Contribution
from laplace.families import Bernoulli, Family, Poisson, of_one_trial
from laplace.later import expit
from laplace.penalties import Penalty
from laplace.questions import ALL, AskAt, View
from laplace.sites import Sites


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted.

    Attributes
    ----------
    sites : Sites
        Where the rows are.
    census : Census
        Their counts and sums.
    basis : Basis
        Orthogonal columns.
    tau : float or None
        The standard deviation of the random intercepts, where it is fixed.
    penalty : Penalty or None
        Added to the log-likelihood; for the columns of X.
    """

    sites: Sites
    census: Census
    basis: Basis
    tau: float | None
    penalty: Penalty | None

    @property
    def tau_is_free(self) -> bool:
        """Whether tau is estimated."""
        return self.tau is None

    @property
    def always_inside(self) -> bool:
        """Whether a penalty keeps all estimates finite, and tau above zero."""
        return self.penalty is not None and self.penalty.always_inside

    @property
    def family(self) -> Family:
        """Distribution of a single trial, or of a count."""
        return of_one_trial(self.census.family)

    @cached_property
    def typical(self) -> float:
        """Linear predictor of the mean outcome; 0 where all are the same, as with a penalty."""
        share = np.array([self.census.outcomes / self.census.trials])
        with np.errstate(divide="ignore"):
            typical = self.family.typical(share)
        return typical if np.isfinite(typical) else 0.0

    @cached_property
    def variance(self) -> float:
        """Variance of a single trial, or of a count, at that linear predictor."""
        if self.census.family == Poisson.name:
            return float(self.family.b_2(np.array([self.typical]))[0])
        return expit(self.typical) * expit(-self.typical)

    def objective(self, nodes: int, every: int = 1) -> Objective:
        """Return what is maximised with a number of nodes; of one of so many groups, where asked.

        Of some groups, the penalty is left out.
        """
        if every > 1:
            return self.likelihood(nodes, every)
        return Objective(self.sites, self.basis, nodes, self.penalty)

    def likelihood(self, nodes: int, every: int = 1) -> Objective:
        """Return that without the penalty; of every so many-th group, where asked to."""
        return Objective(self.sites, self.basis, nodes, every=every)


def problem_of(
    sites: Sites,
    census: Census,
    tau: float | None,
    penalty: str | None,
    strength: float | None,
    rows: View = ALL,
) -> Problem:
    """Return the problem that some rows pose, or refuse it.

    Raises
    ------
    ValueError
        If the parameters cannot be estimated: columns of X are combinations of others, tau is free
        with one group, or with 0/1 outcomes of which no two are of one group;
        or if the penalty is not for such data.
    """
    free = tau is None
    if rows is ALL:
        sites.check_known(census)
    added = None
    if penalty is not None:
        added = penalties.build(penalty, strength, sites, census, rows, free)
    if free and census.m < 2:
        raise ValueError(
            f"groups has one group only ({census.only_group}): tau cannot be "
            "estimated from it; give a number, for instance tau=1"
        )
    basis = orthogonal(sites, census, rows)
    if free and census.m == census.n and census.single:
        raise ValueError(
            "groups has one row in every group: with 0/1 outcomes nothing tells a random "
            "intercept from the outcome's own variation, so that tau cannot be estimated; "
            "give a number, for instance tau=1, or groups of several rows"
        )
    return Problem(sites, census, basis, tau, added)


def all_the_same(census: Census) -> str | None:
    """Say in which way all outcomes are at the same end of their range; None where they are not."""
    if census.outcomes == 0.0:
        return "y is 0 in every row"
    if census.family == Poisson.name or census.outcomes < census.trials:
        return None
    return (
        "y is 1 in every row" if census.family == Bernoulli.name else "y equals trials in every row"
    )


class Objective:
    """The log-likelihood as a function of the coefficients of the orthogonal columns.

    Parameters
    ----------
    sites : Sites
        Where the rows are.
    basis : Basis
        The columns.
    nodes : int
        Number of quadrature nodes.
    penalty : Penalty, optional
        Added to it; for the columns of X.
    every : int
        Of every so many-th group only.
    """

    def __init__(
        self,
        sites: Sites,
        basis: Basis,
        nodes: int,
        penalty: Penalty | None = None,
        every: int = 1,
    ) -> None:
        self.sites = sites
        self.basis = basis
        self.nodes = nodes
        self._view = basis.view
        if every > 1:
            self._view = View(every * basis.view.every, basis.view.rows, basis.view.triangle)
        self._jacobian = None if basis.computed else basis.inverse_with_tau
        self._penalty = penalty
        if penalty is not None and basis.computed:
            self._penalty = penalty.on(basis.view, basis.inverse)

    def __call__(self, theta: Array) -> Contribution:
        """Evaluate at the coefficients and log tau."""
        return self.at(theta[:-1], float(np.exp(theta[-1])))

    def at(self, coefficients: Array, tau: float) -> Contribution:
        """Evaluate at the coefficients and tau."""
        beta = self._beta(coefficients)
        total = self.sites.at(beta, tau, self.nodes, self._view)
        if self._penalty is not None:
            total = total + self._penalty.at(beta, tau)
        return total if self._jacobian is None else total.transformed(self._jacobian)

    def ahead(self, points: list[tuple[Array, float]]) -> None:
        """Say at which coefficients and tau it is evaluated next, whatever comes out."""
        self.sites.ahead(
            [AskAt(self._view, self._beta(one), tau, self.nodes) for one, tau in points]
        )

    def without(self, coefficients: Array) -> AtZero:
        """Evaluate without random intercepts; a penalty of tau is left out."""
        beta = self._beta(coefficients)
        total = self.sites.without(beta, self._view)
        if self._penalty is not None:
            total = total + self._penalty.at(beta, 1.0)
        return total if self._jacobian is None else total.transformed(self._jacobian)

    def _beta(self, coefficients: Array) -> Array:
        return coefficients if self._jacobian is None else self.basis.back(coefficients)
