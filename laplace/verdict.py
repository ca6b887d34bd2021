r"""What a rule with more nodes says of an estimate: how far off it is, and in which way.

At the estimate, the derivatives of the log-likelihood by a reference rule are g and H. Its maximum
is predicted one Newton step away, at :math:`(-H)^{-1} g`, and higher by
:math:`\tfrac12 g'(-H)^{-1} g`; its standard errors come from H. The difference of the two rules'
log-likelihoods says nothing: an error that is the same at all parameters moves no estimate.

As a maximum of the likelihood is above every other point, an estimate that the reference puts below
the maximum without random intercepts, or below another maximum, is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from laplace.arguments import Array
from laplace.basis import Basis
from laplace.contribution import Contribution
from laplace.estimate import Estimate, covariance_of
from laplace.newton import newton_step
from laplace.nodes import MAX_NODES
from laplace.objective import Problem
from laplace.questions import View
from laplace.strategy import STRATEGY

# The fewest nodes that an approximation is compared with.
REFERENCE_NODES = 25
# An estimate is doubtful that is predicted to move further than this, in standard errors;
SHIFT_LIMIT = 0.5
# if the log-likelihood would rise by more;
GAIN_LIMIT = 0.5
# if a standard error is off by more than this factor;
RATIO_LIMIT = 1.25
# or if some group has one outcome only, whose integrand is a plateau with an edge, and nodes are
# so far apart, where the logistic function goes from 0.02 to 0.98. Of 500 random designs with a tau
# of 10 to 1,000, all that were wrong unsaid had nodes twice as far apart.
SPACING_LIMIT = 8.0


class ApproximationWarning(UserWarning):
    """A result is that of an approximation that is not to be trusted there."""


def reference_nodes(nodes: int) -> int | None:
    """Return the number of nodes that a rule is compared with; None where there is none."""
    reference = max(REFERENCE_NODES, 2 * nodes + 1)
    return reference if reference <= MAX_NODES else None


def spacing(tau: float, nodes: int) -> float:
    r"""Return about how far apart nodes can be, where a group tells nothing of its intercept.

    The middle zeros of the Hermite polynomial of degree K are :math:`\pi / \sqrt{2K + 1}` apart;
    nodes lie :math:`\sqrt2\tau` times as far.
    """
    return float(np.sqrt(2.0) * np.pi * tau / np.sqrt(2.0 * nodes + 1.0))


@dataclass(frozen=True, eq=False)
class FurtherMaximum:
    """A maximum of the log-likelihood by the reference rule.

    Attributes
    ----------
    tau : float
        Standard deviation of the random intercepts there.
    value : float
        What was maximised, there.
    nodes : int
        Number of nodes of the reference.
    beta : ndarray of shape (p,)
        Coefficients there.
    """

    tau: float
    value: float
    nodes: int
    beta: Array


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a reference rule says of an estimate.

    Attributes
    ----------
    nodes : int or None
        Number of nodes of the reference; None where there is none, or none is needed.
    exact : bool
        Whether there is nothing to integrate, as tau is zero.
    shift : ndarray of shape (q,)
        How far each coefficient, and log tau where it is free, is predicted to move, in standard
        errors of the fit; NaN where that is not known.
    gain : float
        By how much the log-likelihood is predicted to rise on the way.
    ratio : ndarray of shape (q,)
        Standard errors of the fit, over those by the reference; NaN where they are not known.
    step : ndarray
        The predicted change of the coefficients of the orthogonal columns, and of log tau where it
        was estimated and is not zero.
    resolves : bool
        Whether the nodes of the reference are near enough to each other for groups that have one
        outcome only.
    has_maximum : bool
        Whether the reference curves downward in every direction, as near a maximum.
    below_zero : float
        By how much the reference puts the estimate below the fit without random intercepts; zero
        where it does not.
    value : float
        What was maximised, by the reference.
    elsewhere : FurtherMaximum or None
        A maximum of a reference that is higher by more than is predicted near by.
    lower_by : float
        By how much that reference puts it above the estimate.
    """

    nodes: int | None
    exact: bool
    shift: Array
    gain: float
    ratio: Array
    step: Array
    has_maximum: bool
    below_zero: float
    resolves: bool
    value: float
    elsewhere: FurtherMaximum | None = None
    lower_by: float = 0.0

    @cached_property
    def is_known(self) -> bool:
        """Whether there was a rule to compare with, and standard errors to measure in."""
        return self.exact or (self.nodes is not None and not np.any(np.isnan(self.shift)))

    @property
    def distance(self) -> float:
        """The largest predicted change of a coefficient of an orthogonal column, or of log tau."""
        return float(np.abs(self.step).max(initial=0.0))

    @cached_property
    def largest_shift(self) -> float:
        """Size of the largest predicted shift, in standard errors.

        Where the fit has none, it is that along the direction that moves most, in those of the
        reference: the root of twice the gain.
        """
        if not self.is_known:
            return float(np.sqrt(max(2.0 * self.gain, 0.0)))
        return float(np.abs(self.shift).max())

    @cached_property
    def largest_ratio(self) -> float:
        """By what factor the standard error that is most off is so; 1 where none is known."""
        known = self.ratio[np.isfinite(self.ratio) & (self.ratio > 0.0)]
        return float(np.exp(np.max(np.abs(np.log(known))))) if known.size else 1.0

    @property
    def is_lost(self) -> bool:
        """Whether the estimate is no maximum of the reference, not even roughly."""
        if self.exact or self.nodes is None:
            return False
        return not self.has_maximum or self.below_zero > 0.0

    @property
    def is_doubtful(self) -> bool:
        """Whether something speaks against the estimate."""
        if self.exact or self.nodes is None:
            return self.lower_by > GAIN_LIMIT
        return (
            self.is_lost
            or not self.resolves
            or self.largest_shift > SHIFT_LIMIT
            or self.gain > GAIN_LIMIT
            or self.largest_ratio > RATIO_LIMIT
            or self.lower_by > GAIN_LIMIT
        )

    def reason(self, names: list[str], maximised: str = "log-likelihood") -> str | None:
        """Say what speaks against the estimate, the gravest first; None where nothing does.

        Parameters
        ----------
        names : list of str
            Of the parameters.
        maximised : str
            Of what the estimate is a maximum.
        """
        if not self.is_doubtful:
            return None
        by = f"by {self.nodes} nodes, "
        if self.elsewhere is not None and self.lower_by > GAIN_LIMIT:
            return (
                f"by {self.elsewhere.nodes} nodes, the {maximised} has a maximum at "
                f"tau={self.elsewhere.tau:.3g} that is higher by {self.lower_by:.2g}"
            )
        if self.below_zero > 0.0:
            return (
                f"{by}the {maximised} is higher by {self.below_zero:.2g} without random "
                "intercepts, at tau=0"
            )
        if not self.has_maximum:
            return f"{by}there is no maximum near"
        if not self.resolves:
            return (
                f"tau is so large that even {self.nodes} nodes are too far apart for groups with "
                "one outcome only"
            )
        if self.largest_shift > SHIFT_LIMIT and self.is_known:
            most = names[int(np.argmax(np.abs(self.shift)))]
            return f"{by}{most} is predicted to move by {self.largest_shift:.2g} standard errors"
        if self.gain > GAIN_LIMIT or not self.is_known:
            return f"{by}the {maximised} is predicted to rise by {self.gain:.2g}"
        k = int(np.nanargmax(np.abs(np.log(self.ratio))))
        return (
            f"the standard error of {names[k]} is {self.ratio[k]:.2g} times that by {self.nodes} "
            "nodes"
        )

    def compared(self, peaks: tuple[FurtherMaximum, ...], value: float) -> Verdict:
        """Return the verdict in view of maxima of a reference; `value` is its own, here."""
        best = max(peaks, key=lambda peak: peak.value, default=None)
        gain = 0.0 if self.exact or np.isnan(self.gain) else self.gain
        if best is None or not best.value > value + gain:
            return self
        return replace(self, elsewhere=best, lower_by=best.value - value)


def judge(estimate: Estimate, bound_at_zero: float, nodes: int | None) -> Verdict:
    """Return what a reference rule says of an estimate, by one evaluation.

    Parameters
    ----------
    estimate : Estimate
        The estimate.
    bound_at_zero : float
        The maximum without random intercepts, or a bound of it; minus infinity where nothing is
        known of it.
    nodes : int or None
        Number of nodes of the reference.
    """
    problem, maximised = estimate.problem, estimate.maximised
    q = problem.census.p + problem.tau_is_free
    if estimate.tau == 0.0:
        return Verdict(
            None, True, np.zeros(q), 0.0, np.ones(q), np.zeros(0), True, 0.0, True, maximised.value
        )
    unknown = np.full(q, np.nan)
    if nodes is None:
        return Verdict(None, False, unknown, np.nan, unknown, unknown, True, 0.0, True, np.nan)
    more = difference(estimate, nodes)
    by_reference = _plain(maximised) + more.of(estimate.estimated)
    free = len(by_reference.gradient)
    informs = problem.penalty is None or problem.penalty.informs
    information = by_reference if informs else (_plain(estimate.likelihood) + more)
    covariance = covariance_of(information.hessian[:free, :free], problem.basis)
    return judge_by(estimate, by_reference, np.sqrt(np.diag(covariance)), bound_at_zero, nodes)


def judge_by(
    estimate: Estimate,
    by_reference: Contribution,
    standard_errors: Array,
    bound_at_zero: float,
    nodes: int,
) -> Verdict:
    """Return the verdict on an estimate above tau = 0, in view of what a reference rule has there.

    Parameters
    ----------
    estimate : Estimate
        The estimate.
    by_reference : Contribution
        What was maximised, by the reference, in the parameters that were estimated.
    standard_errors : ndarray
        Those by the reference.
    bound_at_zero, nodes
        As in `judge`.
    """
    problem = estimate.problem
    q = problem.census.p + problem.tau_is_free
    step, has_maximum = newton_step(by_reference)
    gain = 0.5 * float(by_reference.gradient @ step)
    own, free = estimate.standard_errors, len(step)
    shift, ratio = np.full(q, np.nan), np.full(q, np.nan)
    if has_maximum:
        ratio[:free] = own / standard_errors
        shift = np.zeros(q)
        shift[:free] = _to_columns(step, problem.basis) / own
    below = bound_at_zero - by_reference.value if problem.tau_is_free else 0.0
    constant = problem.census.mixed_groups < problem.census.m
    return Verdict(
        nodes=nodes,
        exact=False,
        shift=shift,
        gain=gain,
        ratio=ratio,
        step=step,
        has_maximum=has_maximum,
        below_zero=max(0.0, below),
        resolves=not constant or spacing(estimate.tau, nodes) <= SPACING_LIMIT,
        value=by_reference.value,
    )


def apart(estimate: Estimate, verdict: Verdict, nodes: int) -> float:
    """Return how far from that of the reference some nodes would have their maximum.

    In standard errors, by one evaluation at the estimate.
    """
    at = _plain(estimate.maximised) + difference(estimate, nodes).of(estimate.estimated)
    step, _ = newton_step(at)
    change = _to_columns(verdict.step - step, estimate.problem.basis)
    return float(np.max(np.abs(change / estimate.standard_errors)))


def difference(estimate: Estimate, nodes: int) -> Contribution:
    """Return what more nodes add to the log-likelihood at an estimate: see `more_nodes`."""
    problem = estimate.problem
    coefficients = problem.basis.forward(estimate.beta)
    own = (estimate.nodes, estimate.likelihood)
    return more_nodes(problem, own, nodes, coefficients, estimate.tau)


def more_nodes(
    problem: Problem, own: tuple[int, Contribution], nodes: int, coefficients: Array, tau: float
) -> Contribution:
    """Return what more nodes add to the log-likelihood that a rule has.

    Of many groups at a single place, or in partitions, some are taken for all: those differ little
    in what more nodes add, while the log-likelihood itself would differ much.

    Parameters
    ----------
    problem : Problem
        What is fitted.
    own : (int, Contribution)
        The number of nodes of the rule, and the log-likelihood that it has there.
    nodes : int
        More of them.
    coefficients : ndarray of shape (p,)
        Of the orthogonal columns.
    tau : float
        Standard deviation of the random intercepts.

    Returns
    -------
    Contribution
        In the coefficients of the orthogonal columns, and log tau.
    """
    groups, every = problem.census.m, problem.census.m // STRATEGY.groups_of_reference
    sites = problem.sites
    if every < 2 or not sites.some_for_all:
        return problem.likelihood(nodes).at(coefficients, tau) + _times(-1.0, own[1])
    few, many = (problem.likelihood(k, every).at(coefficients, tau) for k in (own[0], nodes))
    taken = -(-groups // every)
    if len(sites) > 1:
        taken = sites.census(View(every)).m
    return _times(groups / taken, many + _times(-1.0, few))


def _to_columns(step: Array, basis: Basis) -> Array:
    """Return a step in the parameters of the columns of X."""
    p = len(basis.triangle)
    return np.append(basis.back(step[:p]), step[p:])


def _plain(at: Contribution) -> Contribution:
    return Contribution(at.value, at.gradient, at.hessian)


def _times(factor: float, at: Contribution) -> Contribution:
    return Contribution(factor * at.value, factor * at.gradient, factor * at.hessian)
