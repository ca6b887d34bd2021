"""Fitting a regression with random intercepts, and its result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr, ndtri

from laplace import inference, penalties
from laplace.families import Array
from laplace.grouped import (
    Basis,
    GroupedData,
    as_matrix,
    as_vector,
    check_finite,
    common_index,
    number,
    row_labels,
    standard_deviation,
)
from laplace.inference import (
    MAX_STEP_LOG_TAU,
    NEGLIGIBLE_VARIANCE,
    TAU_LIMIT,
    LikelihoodRatioTest,
)
from laplace.likelihood import Contribution, Likelihood, WithoutRandomIntercepts
from laplace.newton import DECREMENT_TOLERANCE, Maximum, maximise
from laplace.penalties import Penalty
from laplace.quadrature import MAX_NODES, check_nodes

if TYPE_CHECKING:
    from laplace.formula import Design

TAU_STARTS = (1.0, 0.3, 3.0)
# ... tried after a first guess, which lies between these.
LEAST_START, LARGEST_START = 0.1, 5.0
# The log-likelihood may have several maxima in tau, and Laplace's has more than the exact one. In
# 6,000 random designs of 2 to 15 groups a higher one than the first was found only where the first
# was at a large tau, or few groups had both outcomes and one of all told little of its intercept
# (its sum of b'' was below 2). These signs, and outcomes that X nearly separates, bring further
# starts and a walk over fixed values of tau, at about eight times the cost. Beyond `FEW_ROWS`
# rows only a large tau does.
LARGE_TAU = 5.0
FEW_MIXED_GROUPS = 12
FEW_ROWS = 1000
ENOUGH_INFORMATION = 4.0
# From so many rows on, the search starts from a fit to about so many of them, in so many groups.
MANY_ROWS = 50_000
ROWS_OF_START = 10_000
GROUPS_OF_START = 250
# ... unless the maximum is this far from it, in log tau.
FAR_FROM_START = 3.0
# There, a ten-millionth of a standard error is below a ten-millionth of an estimate's third digit,
# and an evaluation takes time.
MANY_ROWS_TOLERANCE = 1e-14
# The maximum over some rows is far less certain than this.
START_TOLERANCE = 1e-2
# Numbers of nodes on the way to many, and how near their maxima have to be found.
FEWER_NODES = (1, 6)
NEARBY_TOLERANCE = 1e-4
FURTHER_TAU_STARTS = (3.0, 10.0, 30.0, 100.0)
TAU_WALK = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
STEPS_OF_WALK = 4
# At a random intercept of this size, one standard deviation takes a probability from 1/2 to 1e-9:
# of several maxima, one there is the approximation's.
IMPLAUSIBLE_TAU = 20.0
AUTO = "auto"
# The numbers of nodes that nodes="auto" tries, and what it accepts, in standard errors.
AUTO_NODES = (1, 3, 5, 9, 15, 25, 51, 101)
AUTO_TOLERANCE = 0.01
# The fewest nodes that an approximation is compared with.
REFERENCE_NODES = 25
SEVERAL_MAXIMA = (
    "the approximate log-likelihood has several maxima, and the highest that was found is at "
    "tau={tau:.3g}, where it is not to be trusted; use more nodes, for instance nodes={nodes}, or "
    "fix tau"
)
CONSTANT_GROUPS = (
    "no group has both outcomes: the exact likelihood does not fall as tau grows, so that tau has "
    "no finite estimate, and that of the approximation means nothing; fix tau, or use groups with "
    "both outcomes"
)
# Separation leaves almost no information in some direction; ordinary data keep far more.
SEPARATION_SIGN = 1e-5
NEAR_SEPARATION = 0.05
# Two searches that end closer than this, in log-likelihood, ended at the same maximum.
SAME_MAXIMUM = 1e-6
# The most digits that the numbers of a column may need in a summary, to share their decimals.
MOST_DIGITS = 7


class ConvergenceWarning(UserWarning):
    """The fit did not reach a maximum."""


def fit(
    y: Any,
    X: Any,
    groups: Any,
    *,
    family: str = "bernoulli",
    trials: Any = None,
    offset: Any = None,
    nodes: int | str = 1,
    tau: Any = None,
    names: Sequence[str] | None = None,
    penalty: str | None = None,
    strength: Any = None,
) -> Fit:
    r"""Fit a regression with random intercepts by maximum likelihood.

    The approximate log-likelihood may have several maxima in `tau`. The fit is the highest of those
    that Newton's method reaches, from one start where the data leave little doubt, and from many
    where few groups have both outcomes or `tau` is large; that no start leads higher is not
    proved. If the highest is one of several and at a `tau` where the approximation fails, the
    result says that it did not converge.

    The linear predictor of row j of group i is :math:`x_{ij}'\beta + u_i` with
    :math:`u_i \sim N(0, \tau^2)`. For 0/1 outcomes it is the logit of the probability of a 1: the
    random-intercept logistic regression.

    Parameters
    ----------
    y : array_like of shape (n,)
        Outcomes: 0 or 1, numbers of successes, or counts, as `family` says.
    X : array_like or DataFrame of shape (n, p)
        Covariates, used as given: no intercept is added.
    groups : array_like of shape (n,)
        Group labels of any kind, in any order; a tuple in a list is one label.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes, with the canonical link (logit, logit, log).
    trials : int or array_like of shape (n,), optional
        Numbers of trials of binomial outcomes.
    offset : array_like of shape (n,), optional
        Added to the linear predictor.
    nodes : int or "auto"
        1 is the Laplace approximation, K adaptive Gauss-Hermite quadrature with K nodes. "auto"
        raises K until no parameter is predicted to move by more than a hundredth of its standard
        error, up to 101 nodes; `Fit.nodes` says where it ended.
    tau : float, optional
        Fixes the standard deviation of the random intercepts, at 0 or from 1e-8 to 1e6; by default
        it is estimated.
    names : sequence of str, optional
        Names of the columns of X; by default a DataFrame's own, or x0, x1, ...
    penalty : {"ridge", "soft"}, optional
        Added to the log-likelihood, for data whose likelihood has no maximum: see Notes. By default
        there is none.
    strength : float, optional
        Strength of a ridge penalty, above 0; "soft" has its own.

    Returns
    -------
    Fit

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the parameters cannot be estimated from the data:
        one outcome only, columns of X that are combinations of others, one group with `tau` to
        estimate, or 0/1 outcomes in groups of one row. The message names the argument.
    SeparationError
        If a combination of the columns separates the outcomes, so that no finite maximum exists,
        and there is no penalty.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached, or, with `tau` estimated, no group has both outcomes;
        `Fit.message` says why.

    Notes
    -----
    ``penalty="ridge"`` takes
    :math:`\tfrac12 \mathrm{strength} \sum_k (s_k\beta_k)^2` from the log-likelihood, where
    :math:`s_k` is the standard deviation of column k, so that a constant column is not penalised.
    That is, but for a constant, the log density of normal priors with standard deviation
    :math:`\mathrm{strength}^{-1/2}` on the coefficients of standardised columns. `tau` is not
    penalised, and may be estimated at zero. Standard errors come from the curvature of the
    penalised log-likelihood; as for any prior, they do not count the shrinkage as an error.

    ``penalty="soft"``, for 0/1 and binomial outcomes, is the maximum softly-penalised likelihood of
    Sterzinger and Kosmidis (2023): Jeffreys' prior of the model without random intercepts for the
    coefficients, and a negative Huber loss for :math:`\log\tau`, both times
    :math:`2\sqrt{p/n}`, where n counts 0/1 outcomes (trials). Its estimates always exist, with
    `tau` above zero, also where all outcomes are the same; and they have the asymptotic
    distribution of maximum likelihood. Standard errors come from the curvature of the
    log-likelihood itself at the estimate, as in the paper; where it does not fall in every
    direction there, they are NaN, and ``conf_int(method="profile")`` is left.

    `laplace.penalties` says more, and holds the derivatives.

    Rows that come sorted by group are read where they are, also from a memory-mapped file, if `y`
    is float64 and `X` is float64 or float32 and lies row after row in memory; sums are in float64.
    Everything else is copied once: rows in another order, DataFrames, other types, and X in
    Fortran's order. Do not change arrays that were not copied while the fit is in use. The
    computation runs on as many threads as `NUMBA_NUM_THREADS` says, by default one a core, and
    gives the same bits for any number. The first call on a machine compiles for some seconds.

    References
    ----------
    Sterzinger, P. and Kosmidis, I. (2023). Maximum softly-penalized likelihood for mixed effects
    logistic regression. Statistics and Computing 33, 53. doi:10.1007/s11222-023-10217-3

    Examples
    --------
    >>> import laplace
    >>> data = laplace.simulate.published_two_sites()
    >>> fit = laplace.fit(data.y, data.X, data.groups, tau=1)
    >>> fit.converged, round(fit.llf, 4)
    (True, -72.1423)
    """
    if isinstance(nodes, str) and nodes != AUTO:
        raise TypeError(f"nodes must be a whole number or {AUTO!r}, got {nodes!r}")
    rules = AUTO_NODES if isinstance(nodes, str) else (check_nodes(nodes),)
    fixed_tau = None if tau is None else standard_deviation("tau", tau)
    penalty, strength = penalties.check(penalty, strength)
    data = GroupedData.from_arrays(
        y, X, groups, family=family, trials=trials, offset=offset, names=names
    )
    if fixed_tau is None and "tau" in data.names:
        raise ValueError(
            "names: 'tau' is the name of the standard deviation; rename the column of X"
        )
    # The search is for coefficients of orthogonal columns; what is reported is in the user's.
    added = None
    if penalty is not None:
        added = penalties.build(penalty, strength, data, tau_is_free=fixed_tau is None)
    basis = data.check_estimable(
        tau_is_free=fixed_tau is None, any_outcome=added is not None and added.always_inside
    )
    search = _Search(data, basis, fixed_tau, added)
    start: tuple[Array, float] | None = None
    for count in rules:
        last = count == rules[-1]
        found, estimate = search.maximum(count, start, thorough=len(rules) == 1)
        result = _result(found, estimate, count, search)
        if found.converged and estimate > 0.0:
            start = found.theta[: data.p], estimate
        if len(rules) > 1 and search.doubt and (last or _is_enough(result)):
            # further maxima are looked for only where the climb may end
            steps = found.iterations
            found, estimate = search.maximum(count, start)
            found = replace(found, iterations=steps + found.iterations)
            result = _result(found, estimate, count, search)
        if len(rules) > 1 and _is_enough(result):
            break
    if not result.converged:
        warnings.warn(f"the fit did not converge: {result.message}", ConvergenceWarning, 2)
    return result


def _is_enough(result: Fit) -> bool:
    """Return whether more nodes would change nothing that counts."""
    error = result.approximation_error()
    return result.converged and bool(np.max(np.abs(error)) <= AUTO_TOLERANCE)


def _result(found: Maximum, tau: float, nodes: int, search: _Search) -> Fit:
    """Return what was found, in the columns of X."""
    data, basis = search.data, search.basis
    beta = basis.back(found.theta[: data.p])
    there = found.contribution
    q = len(there.gradient)
    if q == data.p or search.penalty is not None:
        # with a fixed tau, or none, its derivatives were left out; a penalty was added
        there = _Objective(basis, nodes).at(found.theta[: data.p], tau)
    contribution = there.transformed(_with_tau(basis.triangle))
    inverse = covariance = _covariance(found.contribution.hessian, basis)
    if search.penalty is not None and not search.penalty.informs:
        covariance = _covariance(there.hessian[:q, :q], basis)
    for array in (beta, inverse, contribution.gradient, contribution.hessian, covariance):
        array.flags.writeable = False
    return Fit(
        data=data,
        nodes=nodes,
        beta=beta,
        tau=tau,
        tau_is_free=search.tau is None,
        boundary=search.tau is None and tau == 0.0,
        contribution=contribution,
        converged=found.converged,
        iterations=found.iterations,
        message=found.message,
        history=found.history,
        _covariance=covariance,
        _inverse=inverse,
        _penalty=search.penalty,
    )


def _with_tau(matrix: Array) -> Array:
    """Append a row and a column for log tau, which is left as it is."""
    q = len(matrix) + 1
    result = np.eye(q)
    result[:-1, :-1] = matrix
    return result


def _covariance(hessian: Array, basis: Basis) -> Array:
    """Inverse of the information that is minus `hessian`, of the basis, for the columns of X."""
    q, p = len(hessian), basis.data.p
    scale = np.sqrt(np.abs(np.diag(hessian)))
    try:
        with np.errstate(invalid="ignore", divide="ignore"):  # refused by the factorisation
            factor = cho_factor(-hessian / np.outer(scale, scale))
    except (np.linalg.LinAlgError, ValueError):  # not at a maximum: there are no standard errors
        return np.full((q, q), np.nan)
    back = basis.inverse if q == p else _with_tau(basis.inverse)
    back = back / scale
    return np.asarray(back @ cho_solve(factor, back.T))


class _Objective:
    """The log-likelihood as a function of the coefficients of the orthogonal columns.

    Parameters
    ----------
    basis : Basis
        The columns.
    nodes : int
        Number of quadrature nodes.
    penalty : Penalty, optional
        Added to it; for the columns of X.
    """

    def __init__(self, basis: Basis, nodes: int = 1, penalty: Penalty | None = None) -> None:
        self.basis = basis
        self.nodes = nodes
        self._rows = basis.computed or basis.data
        self._likelihood = Likelihood(self._rows, nodes)
        self._jacobian = None if basis.computed else _with_tau(basis.inverse)
        self._penalty = penalty
        if penalty is not None and basis.computed:
            self._penalty = penalty.on(self._rows.X, basis.inverse)

    def _beta(self, coefficients: Array) -> Array:
        return coefficients if self._jacobian is None else self.basis.back(coefficients)

    def _transformed(self, there: Contribution) -> Contribution:
        return there if self._jacobian is None else there.transformed(self._jacobian)

    def __call__(self, theta: Array) -> Contribution:
        """Evaluate at the coefficients and log tau."""
        return self.at(theta[:-1], float(np.exp(theta[-1])))

    def at(self, coefficients: Array, tau: float) -> Contribution:
        """Evaluate at the coefficients and tau."""
        beta = self._beta(coefficients)
        there = self._likelihood.at(beta, tau)
        if self._penalty is not None:
            there = there + self._penalty.at(beta, tau)
        return self._transformed(there)

    def without(self, coefficients: Array) -> tuple[Contribution, WithoutRandomIntercepts]:
        """Evaluate without random intercepts; return also what that knows of the groups.

        A penalty of tau is left out.
        """
        beta = self._beta(coefficients)
        plain = WithoutRandomIntercepts(self._rows, beta)
        there = plain.contribution
        if self._penalty is not None:
            there = there + self._penalty.at(beta, 1.0)
        return self._transformed(there), plain


@dataclass(frozen=True, eq=False)
class _Plain:
    """The fit without random intercepts.

    Attributes
    ----------
    found : Maximum
        Its coefficients, of the orthogonal columns.
    slope : float
        Derivative of the log-likelihood in tau squared there; infinite where a penalty keeps tau
        above zero.
    information : ndarray of shape (m,)
        What each group tells of its random intercept: the sum of its b''.
    least : float
        Least information on a coefficient, in units of that of a regression on nothing.
    """

    found: Maximum
    slope: float
    information: Array
    least: float


class _Search:
    """The search for the maximum of one set of rows.

    Parameters
    ----------
    data : GroupedData
        The rows.
    basis : Basis
        Orthogonal columns for them.
    tau : float or None
        The standard deviation, where it is fixed.
    penalty : Penalty, optional
        Added to the log-likelihood.
    tolerance : float
        Of `maximise`.

    Attributes
    ----------
    doubt : bool
        Whether the last search left doubt that its maximum is the highest.
    """

    def __init__(
        self,
        data: GroupedData,
        basis: Basis,
        tau: float | None,
        penalty: Penalty | None = None,
        tolerance: float = DECREMENT_TOLERANCE,
    ) -> None:
        self.data = data
        self.basis = basis
        self.tau = tau
        self.penalty = penalty
        self._tolerance = tolerance
        self.doubt = False
        self._always_inside = penalty is not None and penalty.always_inside
        self._max_step = np.append(np.full(data.p, np.inf), MAX_STEP_LOG_TAU)

    def maximum(
        self, nodes: int, start: tuple[Array, float] | None = None, *, thorough: bool = True
    ) -> tuple[Maximum, float]:
        """Return the maximum with a number of nodes, and its tau.

        Parameters
        ----------
        nodes : int
            Number of nodes.
        start : (ndarray, float), optional
            Coefficients and tau of a maximum with fewer nodes.
        thorough : bool
            Whether to look for further maxima where there may be some.
        """
        objective = self._objective(nodes)
        if self.tau == 0.0:
            return self._plain.found, 0.0
        start = start or self._start_of_some_rows
        if self.tau is not None:
            coefficients = self._plain.found.theta if start is None else start[0]
            there = _at_fixed_tau(objective, coefficients, self.tau)
            if start is not None and not self._is_regular(there):
                there = _at_fixed_tau(objective, self._plain.found.theta, self.tau)
            return there, self.tau
        if self.data.n > FEW_ROWS and self.penalty is None:
            nearby = start or self._rough_start
            found = None if nearby is None else self._near(objective, nearby)
            if found is not None:
                return self._said(found), float(np.exp(found.theta[-1]))
        found, tau = self._highest(objective, start, thorough)
        return self._said(found), tau

    def _objective(self, nodes: int = 1) -> _Objective:
        """Return what is maximised with a number of nodes."""
        return _Objective(self.basis, nodes, self.penalty)

    def _said(self, found: Maximum) -> Maximum:
        """Return the maximum, not converged where the data have none."""
        if self.data.mixed_groups == 0 and not self._always_inside:
            return replace(found, converged=False, message=CONSTANT_GROUPS)
        return found

    @cached_property
    def _zero(self) -> Array:
        """Coefficients where the linear predictor, the offset included, is nearest to zero."""
        data = self.data
        if not data.has_offset:
            return np.zeros(data.p)
        return np.asarray(-self.basis.inverse.T @ data.products(data.offset) / data.n)

    @cached_property
    def _one(self) -> Array:
        """Coefficients where the linear predictor, without an offset, is nearest to one."""
        return np.asarray(self.basis.inverse.T @ self.data.columns.sums / self.data.n)

    def _without(self, coefficients: Array, tau: float) -> Array:
        """Return about what the coefficients without random intercepts are, of those with."""
        factor, shift = self.data.family.attenuation(tau)
        return self._zero + factor * (coefficients - self._zero) + shift * self._one

    def _with(self, coefficients: Array, tau: float) -> Array:
        """Return the inverse of `_without`."""
        factor, shift = self.data.family.attenuation(tau)
        return self._zero + (coefficients - self._zero - shift * self._one) / factor

    @cached_property
    def _plain(self) -> _Plain:
        """The fit without random intercepts; separated data are refused here."""
        data, basis = self.data, self.basis
        found, at = self._maximise_without(self._tolerance)
        there = found.contribution
        if self.penalty is not None:  # which has no part in what the data tell
            there = _Objective(basis).without(found.theta)[0]
        least = self._least_information(there)
        if self.penalty is None and (least < SEPARATION_SIGN or not found.converged):
            data.check_separation(basis)
        slope = np.inf if self._always_inside else at.slope
        return _Plain(found, slope, at.information, least)

    def _maximise_without(self, tolerance: float) -> tuple[Maximum, WithoutRandomIntercepts]:
        """Maximise without random intercepts; return also what that knows of the groups."""
        objective = self._objective()
        last: list[Any] = [None, None]

        def evaluate(coefficients: Array) -> Contribution:
            contribution, last[1] = objective.without(coefficients)
            last[0] = coefficients
            return _of_beta(contribution)

        # from where the linear predictor is nearest to that of the mean outcome
        found = maximise(evaluate, self._zero + self._typical * self._one, tolerance=tolerance)
        at = last[1] if last[0] is found.theta else objective.without(found.theta)[1]
        return found, at

    @property
    def _rough_start(self) -> tuple[Array, float] | None:
        """Coefficients and tau from about the fit without random intercepts; None at tau = 0."""
        found, at = self._maximise_without(START_TOLERANCE)
        tau = _first_tau(at.slope, at.information)
        return None if at.slope <= 0.0 else (self._with(found.theta, tau), tau)

    @property
    def _typical(self) -> float:
        """Linear predictor of the mean outcome; 0 where all are the same, as with a penalty."""
        typical = self.data.family.typical(self.data.y)
        return typical if np.isfinite(typical) else 0.0

    def _least_information(self, there: Contribution) -> float:
        """Return the least eigenvalue of the information on the coefficients, as in `_Plain`."""
        data, p = self.data, self.data.p
        reference = data.n * float(np.mean(data.family.b_2(np.array([self._typical]))))
        return float(np.linalg.eigvalsh(-there.hessian[:p, :p] / reference)[0])

    def _is_regular(self, found: Maximum) -> bool:
        """Return whether a search ended at a maximum, and without a sign of separation."""
        least = self._least_information(found.contribution)
        return found.converged and least >= SEPARATION_SIGN

    @cached_property
    def _start_of_some_rows(self) -> tuple[Array, float] | None:
        """Coefficients and tau of a fit to some of many rows; None where there is no such fit."""
        data = self.data
        if data.n < MANY_ROWS:
            return None
        groups = np.arange(0, data.m, max(1, data.m // GROUPS_OF_START))
        rows = max(ROWS_OF_START // len(groups), 1)
        some = data.some(groups, rows)
        if some.n > data.n // 4:
            return None
        try:
            free, penalty = self.tau is None, self.penalty
            if penalty is not None:
                penalty = penalties.build(penalty.name, penalty.strength, some, free)
            basis = some.check_estimable(tau_is_free=free, any_outcome=self._always_inside)
            found, tau = _Search(some, basis, self.tau, penalty, START_TOLERANCE).maximum(1)
        except ValueError:  # SeparationError is one: all rows may still be fine
            return None
        if not found.converged or (self.tau is None and tau == 0.0):
            return None
        return self.basis.forward(basis.back(found.theta[: data.p])), tau

    def _near(self, objective: _Objective, start: tuple[Array, float]) -> Maximum | None:
        """Return the maximum near a good start, where it is clearly the one; None where not."""
        log_tau = float(np.log(start[1]))

        def stop(theta: Array, at: Contribution) -> str | None:
            return "far from the start" if abs(theta[-1] - log_tau) > FAR_FROM_START else None

        theta = np.append(start[0], log_tau)
        for fewer in FEWER_NODES:  # most of the way is cheaper with them
            if fewer * 3 < objective.nodes:
                nearby = self._objective(fewer)
                found = maximise(
                    nearby, theta, max_step=self._max_step, stop=stop, tolerance=NEARBY_TOLERANCE
                )
                theta = found.theta
        tolerance = MANY_ROWS_TOLERANCE if self.data.n >= MANY_ROWS else self._tolerance
        found = maximise(objective, theta, max_step=self._max_step, stop=stop, tolerance=tolerance)
        tau = float(np.exp(found.theta[-1]))
        if tau > LARGE_TAU or not self._is_regular(found):
            return None
        # Is it above the best without random intercepts? Near that, the decrement bounds the gain.
        there = _of_beta(objective.without(self._without(found.theta[:-1], tau))[0])
        gain = there.gradient @ np.linalg.solve(-there.hessian, there.gradient)
        return found if found.contribution.value > there.value + gain else None

    def _highest(
        self, objective: _Objective, start: tuple[Array, float] | None, thorough: bool
    ) -> tuple[Maximum, float]:
        """Maximise over both, from several starts where needed, and compare with tau = 0."""
        data, plain = self.data, self._plain
        largest_information = float(np.max(plain.information))

        def stop(theta: Array, at: Contribution) -> str | None:
            tau = float(np.exp(theta[-1]))
            if tau > TAU_LIMIT:
                return (
                    f"tau rose beyond {TAU_LIMIT:g}: the outcomes hardly vary within groups, so "
                    "that the data do not bound it; fix tau, or use groups with both outcomes"
                )
            if (
                plain.slope <= 0.0
                and at.gradient[-1] < 0.0
                and tau**2 * largest_information < NEGLIGIBLE_VARIANCE
            ):
                return "boundary"
            return None

        def search(coefficients: Array, tau: float, of: _Objective = objective) -> Maximum | None:
            theta = np.append(coefficients, np.log(tau))
            found = maximise(
                of, theta, max_step=self._max_step, stop=stop, tolerance=self._tolerance
            )
            return None if found.message == "boundary" else found

        def start_at(tau: float, of: _Objective = objective) -> Maximum | None:
            return search(self._with(plain.found.theta, tau), tau, of)

        interior: list[Maximum | None] = []
        first = _first_tau(plain.slope, plain.information)
        if start is None and objective.nodes > 1 and data.mixed_groups > 0:
            # most of the way is cheaper with one node
            nearby = start_at(first, self._objective())
            if nearby is not None and nearby.converged:
                start = nearby.theta[:-1], float(np.exp(nearby.theta[-1]))
        if start is not None:
            interior.append(search(*start))
        # where every group tells much of its intercept, the log-likelihood has no second maximum
        # above the boundary (none in 1,800 random designs): one search has to confirm it
        informative = float(np.min(plain.information)) >= ENOUGH_INFORMATION
        for tau in TAU_STARTS[:1] if plain.slope <= 0.0 and informative else (first, *TAU_STARTS):
            if any(interior):
                break
            interior.append(start_at(tau))
        unsure = any(f and (not f.converged or np.exp(f.theta[-1]) > LARGE_TAU) for f in interior)
        self.doubt = unsure or (data.n <= FEW_ROWS and self._may_have_several_maxima)
        if thorough and self.doubt:
            interior += [start_at(tau) for tau in FURTHER_TAU_STARTS]
            interior.append(search(*_best_of_walk(objective, plain.found)))

        ended = [found for found in interior if found]
        best = _best_of(ended)
        at_zero = plain.found.contribution.value
        if plain.slope <= 0.0 and (best is None or best.contribution.value <= at_zero):
            return plain.found, 0.0
        assert best is not None  # with a positive slope no search ends at the boundary
        tau = float(np.exp(best.theta[-1]))
        others = [found.contribution.value for found in ended if found.converged]
        value = best.contribution.value
        several = plain.slope <= 0.0 or min(others, default=np.inf) < value - SAME_MAXIMUM
        if best.converged and several and tau > IMPLAUSIBLE_TAU and not self._always_inside:
            more = min(max(25, 4 * objective.nodes), MAX_NODES)
            message = SEVERAL_MAXIMA.format(tau=tau, nodes=more)
            best = replace(best, converged=False, message=message)
        return best, tau

    @property
    def _may_have_several_maxima(self) -> bool:
        """Whether the groups or the columns leave doubt that the first maximum is the highest."""
        few = self.data.mixed_groups < FEW_MIXED_GROUPS
        return (few and float(np.min(self._plain.information)) < ENOUGH_INFORMATION) or (
            self._plain.least < NEAR_SEPARATION
        )


def _first_tau(slope: float, information: Array) -> float:
    """Return where a step of Fisher's scoring from tau squared at zero leads, or near that."""
    curvature = float(np.sum(information**2))  # zero where every outcome is sure to rounding
    squared = 2.0 * slope / curvature if curvature > 0.0 else np.inf
    return float(np.sqrt(np.clip(squared, LEAST_START**2, LARGEST_START**2)))


def _at_fixed_tau(objective: _Objective, start: Array, tau: float, **options: Any) -> Maximum:
    """Maximise over the coefficients at a fixed tau."""
    return maximise(lambda beta: _of_beta(objective.at(beta, tau)), start, **options)


def _best_of(found: list[Maximum]) -> Maximum | None:
    """Return the first of the highest maxima; one that converged, of those that are the same."""
    best: Maximum | None = None
    for other in found:
        if best is None:
            best = other
            continue
        gain = other.contribution.value - best.contribution.value
        better_end = other.converged and not best.converged
        if gain > (-SAME_MAXIMUM if better_end else SAME_MAXIMUM):
            best = other
    return best


def _best_of_walk(objective: _Objective, plain: Maximum) -> tuple[Array, float]:
    """Follow beta over fixed values of tau; return the best pair."""
    beta, best = plain.theta, (-np.inf, plain.theta, 1.0)
    for tau in TAU_WALK:
        found = _at_fixed_tau(objective, beta, tau, max_iterations=STEPS_OF_WALK)
        beta = found.theta
        best = max(best, (found.contribution.value, beta, tau), key=lambda pair: pair[0])
    return best[1:]


def _of_beta(full: Contribution) -> Contribution:
    """Leave out log tau."""
    return Contribution(full.value, full.gradient[:-1], full.hessian[:-1, :-1])


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    r"""A fitted regression with random intercepts.

    Named as in statsmodels. Where `tau` was estimated it is the last of the parameters, also on the
    boundary, where it has no standard error.

    Standard errors come from the observed information. On the boundary, where `boundary` is true,
    that is the information of the model without random intercepts: they are right if tau is zero,
    and say nothing of the chance that it is not, which `conf_int(method="profile")` and `test_tau`
    do. With a penalty, see `fit`.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts; exactly 0.0 on the boundary.
    tau_is_free : bool
        Whether `tau` was estimated.
    boundary : bool
        Whether the maximum is at tau = 0: the fit is then that without random intercepts.
    nodes : int
        Number of quadrature nodes; 1 is the Laplace approximation.
    converged : bool
        Whether a maximum was reached.
    iterations : int
        Number of Newton steps in the last search, which may start from that with fewer nodes, or
        from one over some of many rows.
    message : str
        How the search ended.
    history : list of (float, float)
        Value and Newton decrement at each step.
    contribution : Contribution
        Value, gradient and Hessian of the log-likelihood in (beta, log tau) at the estimate.
    data : GroupedData
        The rows.
    design : Design or None
        How a formula made X, where one did.
    dropped : int
        Number of rows that were left out, when asked to, for missing values.
    """

    data: GroupedData
    nodes: int
    beta: Array
    tau: float
    tau_is_free: bool
    boundary: bool
    contribution: Contribution
    converged: bool
    iterations: int
    message: str
    history: list[tuple[float, float]]
    design: Design | None = None
    dropped: int = 0
    # inverse of the observed information, in the parameters of `gradient`
    _covariance: Array = field(kw_only=True)
    # inverse of minus `hessian`: the same but for penalty="soft"
    _inverse: Array = field(kw_only=True)
    _penalty: Penalty | None = field(kw_only=True, default=None)

    # the parameters and their precision ------------------------------------------------------

    @property
    def _tau_estimated(self) -> bool:
        return self.tau_is_free and not self.boundary

    @property
    def _free(self) -> slice:
        """The entries of (beta, log tau) that were estimated and are not on the boundary."""
        return slice(None) if self._tau_estimated else slice(self.data.p)

    @property
    def theta(self) -> Array:
        """Parameters as (beta, log tau); log tau is -inf where tau is zero. Shape (p + 1,)."""
        with np.errstate(divide="ignore"):
            return np.append(self.beta, np.log(self.tau))

    @property
    def penalty(self) -> str | None:
        """Name of the penalty, or None."""
        return None if self._penalty is None else self._penalty.name

    @property
    def strength(self) -> float | None:
        """Strength of the penalty, or None; of a soft one the factor of its two parts."""
        return None if self._penalty is None else self._penalty.strength

    @property
    def llf(self) -> float:
        """Log-likelihood at the estimate, with all constants, and without a penalty."""
        return self.contribution.value

    @cached_property
    def _penalised(self) -> Contribution:
        """What was maximised, at the estimate."""
        if self._penalty is None:
            return self.contribution
        total = self.contribution + self._penalty.at(self.beta, self.tau)
        for array in (total.gradient, total.hessian):
            array.flags.writeable = False
        return total

    @property
    def penalized_llf(self) -> float:
        """Log-likelihood at the estimate with the penalty added: what was maximised."""
        return self._penalised.value

    @property
    def gradient(self) -> Array:
        """Derivative of what was maximised, in beta, and log tau where it was estimated."""
        return self._penalised.gradient[self._free]

    @property
    def hessian(self) -> Array:
        """Exact second derivative of what was maximised, in the parameters of `gradient`."""
        return self._penalised.hessian[self._free, self._free]

    @property
    def _names(self) -> list[str]:
        return self.data.names + (["tau"] if self.tau_is_free else [])

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, and `tau` where it was estimated."""
        values = np.append(self.beta, self.tau) if self.tau_is_free else self.beta.copy()
        return pd.Series(values, index=self._names, name="params")

    def cov_params(self) -> pd.DataFrame:
        """Covariance of `params` from the observed information; NaN for a `tau` at zero."""
        q = len(self._names)
        result = np.full((q, q), np.nan)
        jacobian = np.ones(self.data.p + 1)
        jacobian[-1] = self.tau  # from log tau to tau
        jacobian = jacobian[self._free]
        k = len(jacobian)
        result[:k, :k] = self._covariance * np.outer(jacobian, jacobian)
        return pd.DataFrame(result, index=self._names, columns=self._names)

    @property
    def bse(self) -> pd.Series:
        """Standard errors of `params`."""
        return pd.Series(np.sqrt(np.diag(self.cov_params())), index=self._names, name="bse")

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients over their standard errors; NaN for `tau`, whose test is not normal."""
        values = self.params / self.bse
        if self.tau_is_free:
            values.iloc[-1] = np.nan
        return values.rename("tvalues")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients being zero, from the normal distribution."""
        values = 2.0 * ndtr(-np.abs(self.tvalues))
        return pd.Series(values, index=self._names, name="pvalues")

    def conf_int(self, alpha: float = 0.05, method: str = "wald") -> pd.DataFrame:
        """Confidence intervals.

        Parameters
        ----------
        alpha : float
            One minus the level.
        method : {"wald", "profile"}
            Wald intervals come from the standard errors; that of `tau` is symmetric in log tau, and
            NaN on the boundary. Profile-likelihood intervals hold the values that a
            likelihood-ratio test on one degree of freedom does not reject. They need not be
            symmetric, they say as much of `tau` as the data do, also on the boundary, and they take
            a few fits for each end. With a penalty, the penalised log-likelihood is profiled. For
            `tau` the cut is the same at every value, also at 0, where `test_tau` is sharper: its 5
            % point is 2.71 and not 3.84, so that an interval may begin at 0 where the test rejects.

        Returns
        -------
        DataFrame
            Columns `lower` and `upper`, a row a parameter. A profile interval of `tau` begins at
            exactly 0 where the data allow it; an end is infinite where the likelihood never falls
            to the cut.

        Raises
        ------
        ValueError
            If `alpha` is not between 0 and 1, the method is unknown, or a profile is asked of a fit
            that did not converge.
        ArithmeticError
            If a profile could not be followed.

        References
        ----------
        Venzon, D. J. and Moolgavkar, S. H. (1988). A method for computing profile-likelihood-based
        confidence intervals. Journal of the Royal Statistical Society: Series C 37, 87-94.
        doi:10.2307/2347496
        """
        level = number("alpha", alpha)
        if not 0.0 < level < 1.0:
            raise ValueError(f"alpha must be between 0 and 1, got {alpha}; 0.05 gives 95 %")
        if method not in ("wald", "profile"):
            raise ValueError(f"method must be 'wald' or 'profile', got {method!r}")
        if method == "profile":
            if not self.converged:
                raise ValueError(
                    "method='profile' needs a fit that reached a maximum, but this one did not "
                    f"converge: {self.message}"
                )
            ends = inference.profile_interval(self, self._objective(), level)
            return pd.DataFrame(ends, index=self._names, columns=["lower", "upper"])
        half = -ndtri(level / 2.0) * self.bse
        result = pd.DataFrame({"lower": self.params - half, "upper": self.params + half})
        if self._tau_estimated:
            with np.errstate(over="ignore"):  # without a bound, to rounding
                factor = np.exp(half.iloc[-1] / self.tau)
            result.iloc[-1] = [self.tau / factor, self.tau * factor]
        return result

    def _objective(self) -> _Objective:
        """Return what was maximised."""
        basis = self.data.check_estimable(tau_is_free=False, any_outcome=True)
        return _Objective(basis, self.nodes, self._penalty)

    def compare(self, other: Fit) -> LikelihoodRatioTest:
        """Test the smaller of two models within the larger by the likelihood ratio.

        Which of the two is the larger does not depend on which is given first. Where the smaller
        has tau = 0 and the larger estimates it, the distribution is the mixture for a parameter at
        the end of its range (Self and Liang 1987).

        Parameters
        ----------
        other : Fit
            A fit of the same rows with other columns of X, or with tau fixed where this one
            estimates it.

        Returns
        -------
        LikelihoodRatioTest

        Raises
        ------
        TypeError
            If `other` is not a Fit.
        ValueError
            If the fits differ in their rows, outcomes, groups, offset, family or nodes; if one has
            a penalty, or did not converge; or if neither model contains the other.
        """
        return inference.compare(self, other)

    def test_tau(self) -> LikelihoodRatioTest:
        r"""Test tau = 0, no random intercepts, by the likelihood ratio.

        The model without random intercepts is fitted, too. As zero is the end of the range of tau,
        the statistic is compared with :math:`\tfrac12\chi^2_0 + \tfrac12\chi^2_1` (Self and
        Liang 1987): its p-value is half that of :math:`\chi^2_1`, and 1 on the boundary. That is
        its distribution for many groups; with ten, say, it is not accurate.

        Returns
        -------
        LikelihoodRatioTest

        Raises
        ------
        ValueError
            If tau was fixed, or the fit has a penalty.
        """
        return inference.against_zero(self, self._objective())

    def approximation_error(self, nodes: int | None = None) -> pd.Series:
        r"""Predict how far each parameter would move with more nodes, in standard errors.

        One Newton step towards the maximum of the log-likelihood with more nodes: its gradient at
        the estimate, times the covariance of the estimates. It costs one evaluation, and no fit.

        Parameters
        ----------
        nodes : int, optional
            Number of nodes to compare with; by default twice those of the fit and one, and at
            least 25.

        Returns
        -------
        Series
            Predicted shift of each of `params`, that of `tau` on the log scale; zero on the
            boundary, where the likelihood is the same for any number of nodes, and NaN where there
            are no standard errors.
        """
        shift = self._shift if nodes is None else self._shift_to(check_nodes(nodes))
        return pd.Series(shift.copy(), index=self._names, name="approximation_error")

    @cached_property
    def _shift(self) -> Array:
        return self._shift_to(self._reference_nodes())

    def _shift_to(self, nodes: int) -> Array:
        """Predict the shift to a number of nodes, in standard errors."""
        shift = np.zeros(len(self._names))
        if self.tau > 0.0:
            at = Likelihood(self.data, nodes).at(self.beta, self.tau)
            if self._penalty is not None:
                at = at + self._penalty.at(self.beta, self.tau)
            gradient = at.gradient[self._free]
            shift[: len(gradient)] = (self._inverse @ gradient) / np.sqrt(np.diag(self._covariance))
        return shift

    def _reference_nodes(self) -> int:
        return min(max(REFERENCE_NODES, 2 * self.nodes + 1), MAX_NODES)

    # the fit as a whole -----------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self.data.n

    @property
    def df_model(self) -> int:
        """Number of estimated parameters, `tau` included."""
        return len(self._names)

    @property
    def aic(self) -> float:
        """Akaike's information criterion; NaN with a ridge penalty.

        Compare it between fits with the same number of nodes only. That of a ridge is not defined
        by its number of parameters, of which the penalty leaves less than it counts. With a soft
        penalty, which vanishes as the data grow, it is taken at the penalised estimate.
        """
        if self.penalty == "ridge":
            return float("nan")
        return 2.0 * self.df_model - 2.0 * self.llf

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows as sample size; NaN with a ridge penalty.

        lme4 counts rows, too; other programs count groups, or trials of binomial outcomes.
        """
        if self.penalty == "ridge":
            return float("nan")
        return float(np.log(self.nobs)) * self.df_model - 2.0 * self.llf

    @cached_property
    def _effects(self) -> tuple[Array, Array]:
        """Mode of each group's random intercept, and its standard deviation."""
        if self.tau == 0.0:
            return np.zeros(self.data.m), np.zeros(self.data.m)
        return Likelihood(self.data).modes(self.beta, self.tau)

    @property
    def random_effects(self) -> pd.DataFrame:
        r"""Mode of each group's random intercept given its rows, and its standard deviation.

        The standard deviation is :math:`\hat\omega`, from the curvature at the mode; it does not
        include the uncertainty of the parameters.
        """
        mode, sd = self._effects
        labels = self.data.labels.rename("group")
        return pd.DataFrame({"mode": mode.copy(), "sd": sd.copy()}, index=labels)

    def predict(
        self, X: Any = None, groups: Any = None, offset: Any = None, *, kind: str | None = None
    ) -> pd.Series:
        """Predict the mean: the probability of a 1 or of a success, or the mean count.

        Parameters
        ----------
        X : array_like of shape (k, p), optional
            Rows to predict; by default the rows of the fit, each with its group's mode. After
            `fit_formula`, a DataFrame with the columns of the formula.
        groups : str or array_like of shape (k,), optional
            Their groups, which the fit must know, or a column of X after `fit_formula`.
        offset : str or array_like of shape (k,), optional
            Their offsets; after `fit_formula` by default the column that the fit used.
        kind : {"group", "typical", "marginal"}, optional
            The random intercept of a row: the mode of its group; zero, as in a typical group; or
            any, so that the mean is over groups, integrated over the normal distribution of random
            intercepts (for 0/1 outcomes, nearer to 1/2 than that of a typical group). By default
            "group" where groups are given or X is not, and "typical" otherwise.

        Returns
        -------
        Series
            Means, a row each.

        Raises
        ------
        TypeError, ValueError
            If rows are not as those of the fit, a group is unknown, or `kind` does not go with
            `groups`.
        """
        data = self.data
        kind = _kind_of_prediction(kind, X is None, groups is None)
        if X is None:
            if groups is not None or offset is not None:
                raise ValueError("X must be given where groups or offset is")
            in_order = np.empty(data.n)
            in_order[data.order] = self._mean(data.X @ self.beta + data.offset, kind, data.codes)
            return pd.Series(in_order, index=data.index, name="predicted")
        if self.design is not None and isinstance(X, pd.DataFrame):
            X, groups, offset = self.design.rows(X, groups, offset)
        if isinstance(X, pd.DataFrame) and [str(name) for name in X.columns] != data.names:
            raise ValueError(
                f"X must have the columns of the fit, {data.names}, in that order, "
                f"got {list(X.columns)}"
            )
        index = common_index(X=X, groups=groups, offset=offset)
        rows = as_matrix(X)
        n, p = rows.shape
        if p != data.p:
            raise ValueError(f"X has {p} columns, but the fit has {data.p}: {data.names}")
        check_finite("X", rows, data.names)
        eta = rows @ self.beta
        if offset is not None:
            eta = eta + as_vector("offset", offset, n)
        places = None
        if groups is not None:
            labels = row_labels(groups, n)
            places = data.labels.get_indexer(labels)
            unknown = np.flatnonzero(places < 0)
            if unknown.size:
                raise ValueError(
                    f"groups names {labels[unknown[:1]].tolist()[0]!r}, which the fit does not "
                    "know; leave groups out to predict for a group whose random intercept is zero "
                    "(kind='typical'), or for the mean over groups (kind='marginal')"
                )
        return pd.Series(self._mean(eta, kind, places), index=index, name="predicted")

    def _mean(self, eta: Array, kind: str, places: NDArray[np.intp] | None) -> Array:
        """Mean outcome at a linear predictor without random intercept."""
        family = self.data.family
        if kind == "marginal":
            return family.marginal(eta, self.tau)
        if kind == "group":
            modes, _ = self._effects
            eta = eta + modes[places]
        return family.predicted(eta)

    def summary(self) -> Summary:
        """Tables of the model, the data, the method and the estimates; print or display it."""
        return Summary(self)

    def __repr__(self) -> str:
        return f"<laplace.Fit: {self.summary().describe()}>"


def _kind_of_prediction(kind: str | None, own_rows: bool, no_groups: bool) -> str:
    """Return the kind of a prediction, or say why it does not go with the other arguments."""
    if kind is None:
        return "group" if own_rows or not no_groups else "typical"
    if kind not in ("group", "typical", "marginal"):
        raise ValueError(f"kind must be 'group', 'typical' or 'marginal', got {kind!r}")
    if kind == "group" and not own_rows and no_groups:
        raise ValueError("groups must be given with kind='group': the group of each row of X")
    if kind != "group" and not no_groups:
        raise ValueError(f"groups must be left out with kind={kind!r}, which is for new groups")
    return kind


class Summary:
    """A fit in two tables, as text in a terminal and as HTML in a notebook."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    def describe(self) -> str:
        """Return the fit in one line."""
        fit = self._fit
        return (
            f"{fit.nobs} rows, {fit.data.m} groups, {self._method()}, "
            f"log-likelihood {fit.llf:.4f}, tau {_digits(fit.tau)}"
        )

    def _method(self) -> str:
        if self._fit.nodes == 1:
            return "Laplace approximation"
        return f"adaptive Gauss-Hermite quadrature, {self._fit.nodes} nodes"

    def _approximation(self) -> str:
        """Return the largest entry of the approximation's error, in words."""
        fit = self._fit
        if fit.tau == 0.0:
            return "exact, as there is nothing to integrate at tau = 0"
        error = fit.approximation_error().abs()
        if error.isna().any():
            return "its error is not known, as there are no standard errors"
        size = error.max()
        amount = f"{size:.2g}" if size >= 1e-4 else "less than 0.0001"
        return (
            f"largest predicted shift {amount} standard errors ({error.idxmax()}), by "
            f"{fit._reference_nodes()} nodes"
        )

    def _tau(self) -> str:
        fit = self._fit
        if not fit.tau_is_free:
            return f"{fit.tau:g} (fixed)"
        if fit.boundary:
            return f"0 (estimated; on the boundary, the fit is plain {fit.data.family.title})"
        return f"{_digits(fit.tau)} (estimated)"

    @property
    def overview(self) -> pd.Series:
        """The model, the data, the method and how it went."""
        fit, penalty, test = self._fit, self._fit._penalty, self._test
        sizes = fit.data.sizes
        return pd.Series(
            {
                "Model": f"{fit.data.family.title} with random intercepts",
                "Rows": f"{fit.nobs}"
                + (f", and {fit.dropped} dropped for missing values" if fit.dropped else ""),
                "Groups": f"{fit.data.m}, of {sizes.min()} to {sizes.max()} rows",
                "Method": f"maximum {'' if penalty is None else 'penalised '}likelihood, "
                f"{self._method()}",
                **({} if penalty is None else {"Penalty": penalty.describe()}),
                "Converged": f"yes, in {fit.iterations} steps"
                if fit.converged
                else f"NO: {fit.message}",
                "Approximation": self._approximation(),
                "Log-likelihood": f"{fit.llf:.4f}"
                + ("" if penalty is None else f", penalised {fit.penalized_llf:.4f}"),
                "AIC, BIC": "not defined with a ridge penalty"
                if np.isnan(fit.aic)
                else f"{fit.aic:.4f}, {fit.bic:.4f}",
                "tau": self._tau(),
                **({} if test is None else {"Test of tau = 0": test}),
            }
        )

    @cached_property
    def _test(self) -> str | None:
        """Return the likelihood-ratio test of tau = 0 in words; None where there is none."""
        fit = self._fit
        if not fit.tau_is_free or fit.penalty is not None or not fit.converged:
            return None
        return fit.test_tau().describe()

    @property
    def estimates(self) -> pd.DataFrame:
        """Estimates, standard errors, z, p-values and 95 % Wald intervals."""
        fit = self._fit
        return pd.DataFrame(
            {
                "estimate": fit.params,
                "std. error": fit.bse,
                "z": fit.tvalues,
                "P>|z|": fit.pvalues,
                "2.5 %": fit.conf_int()["lower"],
                "97.5 %": fit.conf_int()["upper"],
            }
        )

    def _formatted(self) -> pd.DataFrame:
        """Return the estimates as text, in as many decimals as their standard errors need."""
        estimates = self.estimates
        shared = _decimals(estimates["std. error"])
        columns = {name: _column(estimates[name], shared) for name in estimates.columns}
        columns["z"] = _column(estimates["z"], 3)
        columns["P>|z|"] = [_p_value(p) for p in estimates["P>|z|"]]
        return pd.DataFrame(columns, index=estimates.index)

    def __str__(self) -> str:
        width = max(len(name) for name in self.overview.index) + 2
        head = "\n".join(f"{name:{width}}{text}" for name, text in self.overview.items())
        return f"{head}\n\n{self._formatted().to_string()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            head = self.overview.to_frame().to_html(header=False)
        return f"{head}\n{self._formatted().to_html()}"


def _decimals(values: pd.Series) -> int | None:
    """Return the decimals that show four digits of the largest number and three of the smallest.

    None where they differ so much in size that this takes many digits.
    """
    finite = np.abs(values[np.isfinite(values) & (values != 0.0)].to_numpy())
    if not len(finite):
        return 4
    largest, smallest = np.floor(np.log10([finite.max(), finite.min()])).astype(int)
    decimals = int(max(0, 3 - largest, 2 - smallest))
    return decimals if max(largest + 1, 1) + decimals <= MOST_DIGITS else None


def _column(values: pd.Series, decimals: int | None) -> list[str]:
    """Format numbers with common decimals, or with four digits each."""
    if decimals is None:
        texts = [f"{value:#.4g}".rstrip(".") for value in values]
    else:
        texts = [f"{value:.{decimals}f}" for value in values]
    return ["" if np.isnan(value) else text for value, text in zip(values, texts, strict=True)]


def _digits(value: float) -> str:
    """Format a number with four decimals, or four significant digits where that is more."""
    return f"{value:.4f}" if value == 0.0 or abs(value) >= 0.1 else f"{value:.4g}"


def _p_value(p: float) -> str:
    if np.isnan(p):
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
