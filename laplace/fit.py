"""Fitting a regression with random intercepts, and its result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.stats import norm

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
from laplace.likelihood import (
    Contribution,
    Likelihood,
    slope_in_variance,
    without_random_intercepts,
)
from laplace.newton import Maximum, maximise
from laplace.quadrature import MAX_NODES, check_nodes

if TYPE_CHECKING:
    from laplace.formula import Design

# A step of log tau beyond this leaves the region where the quadratic model means anything.
MAX_STEP_LOG_TAU = 1.5
# Here a group's random intercept adds at most this to the variance of its linear score: the
# log-likelihood is linear in tau squared, and its slope at zero decides.
NEGLIGIBLE_VARIANCE = 1e-3
TAU_LIMIT = 1e4
TAU_STARTS = (1.0, 0.3, 3.0)
# The log-likelihood may have several maxima in tau, and Laplace's has more than the exact one. In
# 1,200 random designs a higher one was found only where the first was at a large tau, or few groups
# with both outcomes bounded tau. These signs, and outcomes that X nearly separates, bring further
# starts and a walk over fixed values of tau, at about eight times the cost. Beyond this number of
# rows only a large tau does.
LARGE_TAU = 5.0
FEW_MIXED_GROUPS = 12
FEW_ROWS = 1000
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
        Group labels of any kind, in any order.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes, with the canonical link (logit, logit, log).
    trials : int or array_like of shape (n,), optional
        Numbers of trials of binomial outcomes.
    offset : array_like of shape (n,), optional
        Added to the linear predictor.
    nodes : int or "auto"
        1 is the Laplace approximation, K adaptive Gauss-Hermite quadrature with K nodes. "auto"
        raises K until no parameter would move by more than a hundredth of its standard error;
        `Fit.nodes` says where it ended.
    tau : float, optional
        Fixes the standard deviation of the random intercepts, at 0 or from 1e-8 to 1e6; by default
        it is estimated.
    names : sequence of str, optional
        Names of the columns of X; by default a DataFrame's own, or x0, x1, ...

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
        If a combination of the columns separates the outcomes, so that no finite maximum exists.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached, or, with `tau` estimated, no group has both outcomes;
        `Fit.message` says why.

    Examples
    --------
    >>> import laplace
    >>> data = laplace.simulate.published_two_sites()
    >>> fit = laplace.fit(data.y, data.X, data.groups, tau=1)
    >>> fit.converged, round(fit.llf, 4)
    (True, -72.1423)
    """
    rules = AUTO_NODES if isinstance(nodes, str) and nodes == AUTO else (check_nodes(nodes),)
    fixed_tau = None if tau is None else standard_deviation("tau", tau)
    data = GroupedData.from_arrays(
        y, X, groups, family=family, trials=trials, offset=offset, names=names
    )
    if fixed_tau is None and "tau" in data.names:
        raise ValueError(
            "names: 'tau' is the name of the standard deviation; rename the column of X"
        )
    # The search runs on orthogonal columns; what is reported is in the user's.
    basis = data.check_estimable(tau_is_free=fixed_tau is None)
    plain, least_information = _fit_without_random_intercepts(data, basis)
    for count in rules:
        result = _fit_with(count, data, basis, plain, least_information, fixed_tau)
        if count == rules[-1]:
            break
        error = result.approximation_error()
        if result.converged and np.max(np.abs(error)) <= AUTO_TOLERANCE:
            break
    if not result.converged:
        warnings.warn(f"the fit did not converge: {result.message}", ConvergenceWarning, 2)
    return result


def _fit_with(
    nodes: int,
    data: GroupedData,
    basis: Basis,
    plain: Maximum,
    least_information: float,
    fixed_tau: float | None,
) -> Fit:
    """Fit with a given number of nodes, from the fit without random intercepts."""
    likelihood = Likelihood(basis.data, nodes)
    if fixed_tau is not None:
        found = _fit_beta(likelihood, plain, fixed_tau)
        estimate = fixed_tau
    else:
        found, estimate = _fit_both(likelihood, plain, least_information)
        if found.converged and data.mixed_groups == 0:
            found = replace(found, converged=False, message=CONSTANT_GROUPS)

    beta = basis.back(found.theta[: data.p])
    contribution = Likelihood(data, nodes).at(beta, estimate)
    covariance = _covariance(found.contribution.hessian, basis)
    for array in (beta, contribution.gradient, contribution.hessian, covariance):
        array.flags.writeable = False
    return Fit(
        data=data,
        nodes=nodes,
        beta=beta,
        tau=estimate,
        tau_is_free=fixed_tau is None,
        boundary=fixed_tau is None and estimate == 0.0,
        contribution=contribution,
        converged=found.converged,
        iterations=found.iterations,
        message=found.message,
        history=found.history,
        _covariance=covariance,
    )


def _fit_without_random_intercepts(data: GroupedData, basis: Basis) -> tuple[Maximum, float]:
    """Maximise the likelihood without random intercepts; refuse separated data.

    Return the maximum, and the least information on a coefficient of the basis, in units of that
    of a regression on nothing.
    """
    rows = basis.data
    typical = rows.family.typical(rows.y)
    # where the linear predictor is nearest to that of the mean outcome, whatever the offset is
    start = rows.X.T @ (typical - rows.offset) / rows.n
    found = maximise(lambda beta: _of_beta(without_random_intercepts(rows, beta)), start)
    reference = rows.X.T @ (rows.family.b_2(np.full(rows.n, typical))[:, None] * rows.X)
    information = -found.contribution.hessian
    least = float(eigvalsh(information, reference, subset_by_index=(0, 0))[0])
    if least < SEPARATION_SIGN or not found.converged:
        data.check_separation(basis)
    return found, least


def _covariance(hessian: Array, basis: Basis) -> Array:
    """Inverse of the information that is minus `hessian`, of the basis, for the columns of X."""
    q, p = len(hessian), basis.data.p
    scale = np.sqrt(np.abs(np.diag(hessian)))
    try:
        factor = cho_factor(-hessian / np.outer(scale, scale))
    except (np.linalg.LinAlgError, ValueError):  # not at a maximum: there are no standard errors
        return np.full((q, q), np.nan)
    back = np.eye(q)
    back[:p, :p] = basis.back(np.eye(p))
    back = back / scale
    return np.asarray(back @ cho_solve(factor, back.T))


def _fit_beta(likelihood: Likelihood, plain: Maximum, tau: float) -> Maximum:
    """Maximise over beta at a fixed tau."""
    return maximise(lambda beta: _of_beta(likelihood.at(beta, tau)), plain.theta)


def _fit_both(
    likelihood: Likelihood, plain: Maximum, least_information: float
) -> tuple[Maximum, float]:
    """Maximise over (beta, log tau), and compare with the boundary tau = 0."""
    data = likelihood.data
    slope = slope_in_variance(data, plain.theta)
    eta = data.X @ plain.theta + data.offset
    largest_information = float(np.max(data.sum_by_group(data.family.b_2(eta))))
    max_step = np.append(np.full(data.p, np.inf), MAX_STEP_LOG_TAU)

    def stop(theta: Array, at: Contribution) -> str | None:
        tau = float(np.exp(theta[-1]))
        if tau > TAU_LIMIT:
            return (
                f"tau rose beyond {TAU_LIMIT:g}: the outcomes hardly vary within groups, so that "
                "the data do not bound it; fix tau, or use groups with both outcomes"
            )
        if (
            slope <= 0.0
            and at.gradient[-1] < 0.0
            and tau**2 * largest_information < NEGLIGIBLE_VARIANCE
        ):
            return "boundary"
        return None

    interior: list[Maximum] = []

    def search(beta: Array, tau: float) -> None:
        start = np.append(beta, np.log(tau))
        found = maximise(likelihood, start, max_step=max_step, stop=stop)
        if found.message != "boundary":
            interior.append(found)

    def start_at(tau: float) -> None:
        # coefficients grow with tau (Zeger, Liang and Albert 1988, equation 3.1)
        search(plain.theta * np.sqrt(1.0 + 0.346 * tau**2), tau)

    for tau in TAU_STARTS:
        start_at(tau)
        if interior:
            break
    few = data.mixed_groups < FEW_MIXED_GROUPS and data.n <= FEW_ROWS
    unsure = any(not f.converged or np.exp(f.theta[-1]) > LARGE_TAU for f in interior)
    near_separation = least_information < NEAR_SEPARATION and data.n <= FEW_ROWS
    if few or unsure or near_separation:
        for tau in FURTHER_TAU_STARTS:
            start_at(tau)
        search(*_best_of_walk(likelihood, plain))

    best = _highest(interior)
    if slope <= 0.0 and (best is None or best.contribution.value <= plain.contribution.value):
        return plain, 0.0
    assert best is not None  # with a positive slope no search ends at the boundary
    tau = float(np.exp(best.theta[-1]))
    others = [found.contribution.value for found in interior if found.converged]
    several = slope <= 0.0 or min(others, default=np.inf) < best.contribution.value - SAME_MAXIMUM
    if best.converged and several and tau > IMPLAUSIBLE_TAU:
        more = min(max(25, 4 * likelihood.nodes), MAX_NODES)
        best = replace(best, converged=False, message=SEVERAL_MAXIMA.format(tau=tau, nodes=more))
    return best, tau


def _highest(found: list[Maximum]) -> Maximum | None:
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


def _best_of_walk(likelihood: Likelihood, plain: Maximum) -> tuple[Array, float]:
    """Follow beta over fixed values of tau; return the best pair."""
    beta, best = plain.theta, (-np.inf, plain.theta, 1.0)
    for tau in TAU_WALK:
        found = maximise(
            lambda beta, tau=tau: _of_beta(likelihood.at(beta, tau)),  # type: ignore[misc]
            beta,
            max_iterations=STEPS_OF_WALK,
        )
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
        Number of Newton steps.
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
    _covariance: Array = field(
        kw_only=True
    )  # inverse of the observed information, in the parameters of `gradient`

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
    def llf(self) -> float:
        """Log-likelihood at the estimate, with all constants."""
        return self.contribution.value

    @property
    def gradient(self) -> Array:
        """Score at the estimate, in beta, and log tau where it was estimated."""
        return self.contribution.gradient[self._free]

    @property
    def hessian(self) -> Array:
        """Exact second derivative at the estimate, in the parameters of `gradient`."""
        return self.contribution.hessian[self._free, self._free]

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
        values = 2.0 * norm.sf(np.abs(self.tvalues))
        return pd.Series(values, index=self._names, name="pvalues")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Wald confidence intervals; that of `tau` is symmetric in log tau.

        Parameters
        ----------
        alpha : float
            One minus the level.

        Returns
        -------
        DataFrame
            Columns `lower` and `upper`, a row a parameter.
        """
        level = number("alpha", alpha)
        if not 0.0 < level < 1.0:
            raise ValueError(f"alpha must be between 0 and 1, got {alpha}; 0.05 gives 95 %")
        half = norm.isf(level / 2.0) * self.bse
        result = pd.DataFrame({"lower": self.params - half, "upper": self.params + half})
        if self._tau_estimated:
            factor = np.exp(half.iloc[-1] / self.tau)
            result.iloc[-1] = [self.tau / factor, self.tau * factor]
        return result

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
        shift = np.zeros(len(self._names))
        if self.tau > 0.0:
            more = self._reference_nodes() if nodes is None else check_nodes(nodes)
            gradient = Likelihood(self.data, more).at(self.beta, self.tau).gradient[self._free]
            shift[: len(gradient)] = (self._covariance @ gradient) / np.sqrt(
                np.diag(self._covariance)
            )
        return pd.Series(shift, index=self._names, name="approximation_error")

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
        """Akaike's information criterion."""
        return 2.0 * self.df_model - 2.0 * self.llf

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows as sample size."""
        return float(np.log(self.nobs)) * self.df_model - 2.0 * self.llf

    @cached_property
    def _effects(self) -> tuple[Array, Array]:
        """Mode of each group's random intercept, and its standard deviation."""
        if self.tau == 0.0:
            return np.zeros(self.data.m), np.zeros(self.data.m)
        at_mode = Likelihood(self.data).at_mode(self.beta, self.tau)
        return at_mode.u, at_mode.omega

    @property
    def random_effects(self) -> pd.DataFrame:
        r"""Mode of each group's random intercept given its rows, and its standard deviation.

        The standard deviation is :math:`\hat\omega`, from the curvature at the mode; it does not
        include the uncertainty of the parameters.
        """
        mode, sd = self._effects
        labels = self.data.labels.rename("group")
        return pd.DataFrame({"mode": mode.copy(), "sd": sd.copy()}, index=labels)

    def predict(self, X: Any = None, groups: Any = None, offset: Any = None) -> pd.Series:
        """Predict the mean: the probability of a 1 or of a success, or the mean count.

        Parameters
        ----------
        X : array_like of shape (k, p), optional
            Rows to predict; by default the rows of the fit, each with its group's mode. After
            `fit_formula`, a DataFrame with the columns of the formula.
        groups : str or array_like of shape (k,), optional
            Their groups, which the fit must know, or a column of X after `fit_formula`; by default
            rows are of a group whose random intercept is zero.
        offset : str or array_like of shape (k,), optional
            Their offsets; after `fit_formula` by default the column that the fit used.

        Returns
        -------
        Series
            Means, a row each.
        """
        data = self.data
        modes, _ = self._effects
        if X is None:
            if groups is not None or offset is not None:
                raise ValueError("X must be given where groups or offset is")
            in_order = np.empty(data.n)
            in_order[data.order] = data.family.predicted(
                data.X @ self.beta + data.offset + modes[data.codes]
            )
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
        if groups is not None:
            labels = row_labels(groups, n)
            places = data.labels.get_indexer(labels)
            unknown = np.flatnonzero(places < 0)
            if unknown.size:
                raise ValueError(
                    f"groups names {labels[unknown[:1]].tolist()[0]!r}, which the fit does not "
                    "know; leave groups out to predict for a group whose random intercept is zero"
                )
            eta = eta + modes[places]
        return pd.Series(data.family.predicted(eta), index=index, name="predicted")

    def summary(self) -> Summary:
        """Tables of the model, the data, the method and the estimates; print or display it."""
        return Summary(self)

    def __repr__(self) -> str:
        return f"<laplace.Fit: {self.summary().describe()}>"


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
            f"{amount} standard errors off at most ({error.idxmax()}), by {fit._reference_nodes()} "
            "nodes"
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
        fit = self._fit
        sizes = fit.data.sizes
        return pd.Series(
            {
                "Model": f"{fit.data.family.title} with random intercepts",
                "Rows": f"{fit.nobs}"
                + (f", and {fit.dropped} dropped for missing values" if fit.dropped else ""),
                "Groups": f"{fit.data.m}, of {sizes.min()} to {sizes.max()} rows",
                "Method": f"maximum likelihood, {self._method()}",
                "Converged": f"yes, in {fit.iterations} steps"
                if fit.converged
                else f"NO: {fit.message}",
                "Approximation": self._approximation(),
                "Log-likelihood": f"{fit.llf:.4f}",
                "AIC, BIC": f"{fit.aic:.4f}, {fit.bic:.4f}",
                "tau": self._tau(),
            }
        )

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
