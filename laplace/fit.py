"""Fitting a regression with random intercepts, and its result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.stats import norm

from laplace.families import Array
from laplace.grouped import GroupedData, number
from laplace.likelihood import (
    Contribution,
    Likelihood,
    slope_in_variance,
    without_random_intercepts,
)
from laplace.newton import Maximum, maximise
from laplace.quadrature import check_nodes

# A step of log tau beyond this leaves the region where the quadratic model means anything.
MAX_STEP_LOG_TAU = 1.5
# Here a group's random intercept adds at most this to the variance of its linear score: the
# log-likelihood is linear in tau squared, and its slope at zero decides.
NEGLIGIBLE_VARIANCE = 1e-3
TAU_LIMIT = 1e4
TAU_STARTS = (1.0, 0.3, 3.0)
# Separation leaves almost no information in some direction; ordinary data keep far more.
SEPARATION_SIGN = 1e-5


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
    nodes: int = 1,
    tau: Any = None,
    names: Sequence[str] | None = None,
) -> Fit:
    r"""Fit a regression with random intercepts by maximum likelihood.

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
    nodes : int
        1 is the Laplace approximation, K adaptive Gauss-Hermite quadrature with K nodes.
    tau : float, optional
        Fixes the standard deviation of the random intercepts; by default it is estimated.
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
        estimate. The message names the argument.
    SeparationError
        If a combination of the columns separates the outcomes, so that no finite maximum exists.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached; `Fit.message` says why.

    Examples
    --------
    >>> import laplace
    >>> data = laplace.simulate.published_two_sites()
    >>> fit = laplace.fit(data.y, data.X, data.groups, tau=1)
    >>> fit.converged, round(fit.llf, 4)
    (True, -132.3613)
    """
    count = check_nodes(nodes)
    fixed_tau = None if tau is None else number("tau", tau, minimum=0.0)
    data = GroupedData.from_arrays(
        y, X, groups, family=family, trials=trials, offset=offset, names=names
    )
    data.check_estimable(tau_is_free=fixed_tau is None)

    # The search runs on columns of unit size: its guards then mean the same for any unit.
    scale = data.column_scale()
    scaled = data.scaled(scale)
    plain = _fit_without_random_intercepts(data, scaled)
    likelihood = Likelihood(scaled, count)
    if fixed_tau is not None:
        found = _fit_beta(likelihood, plain, fixed_tau)
        estimate, boundary = fixed_tau, False
    else:
        found, estimate = _fit_both(likelihood, plain)
        boundary = estimate == 0.0
    if not found.converged:
        warnings.warn(f"the fit did not converge: {found.message}", ConvergenceWarning, 2)

    beta = found.theta[: data.p] / scale
    likelihood = Likelihood(data, count)
    return Fit(
        data=data,
        nodes=count,
        beta=beta,
        tau=estimate,
        tau_is_free=fixed_tau is None,
        boundary=boundary,
        contribution=likelihood.at(beta, estimate),
        converged=found.converged,
        iterations=found.iterations,
        message=found.message,
        history=found.history,
    )


def _fit_without_random_intercepts(data: GroupedData, scaled: GroupedData) -> Maximum:
    """Maximise the likelihood without random intercepts; refuse separated data."""
    found = maximise(
        lambda beta: _of_beta(without_random_intercepts(scaled, beta)), np.zeros(data.p)
    )
    information = -found.contribution.hessian
    at_zero = -without_random_intercepts(scaled, np.zeros(data.p)).hessian[:-1, :-1]
    least = float(eigvalsh(information, at_zero, subset_by_index=(0, 0))[0])
    if least < SEPARATION_SIGN or not found.converged:
        data.check_separation()
    return found


def _fit_beta(likelihood: Likelihood, plain: Maximum, tau: float) -> Maximum:
    """Maximise over beta at a fixed tau."""
    return maximise(lambda beta: _of_beta(likelihood.at(beta, tau)), plain.theta)


def _fit_both(likelihood: Likelihood, plain: Maximum) -> tuple[Maximum, float]:
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
            and tau**2 * largest_information < (NEGLIGIBLE_VARIANCE)
        ):
            return "boundary"
        return None

    interior = None
    for start in TAU_STARTS:
        # coefficients grow with tau (Zeger, Liang and Albert 1988, equation 3.1)
        beta = plain.theta * np.sqrt(1.0 + 0.346 * start**2)
        found = maximise(likelihood, np.append(beta, np.log(start)), max_step=max_step, stop=stop)
        if found.message != "boundary":
            interior = found
            break
    if slope <= 0.0 and (
        interior is None
        or (interior.converged and interior.contribution.value <= plain.contribution.value)
    ):
        return plain, 0.0
    assert interior is not None  # with a positive slope no search ends at the boundary
    return interior, float(np.exp(interior.theta[-1]))


def _of_beta(full: Contribution) -> Contribution:
    """Leave out log tau."""
    return Contribution(full.value, full.gradient[:-1], full.hessian[:-1, :-1])


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    r"""A fitted regression with random intercepts.

    Named as in statsmodels. Where `tau` was estimated and is not on the boundary, it is the last
    of the parameters.

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

    @cached_property
    def _covariance(self) -> Array:
        """Inverse of the observed information, in the parameters of `gradient`."""
        information = -self.hessian
        scale = np.sqrt(np.abs(np.diag(information)))
        try:
            factor = cho_factor(information / np.outer(scale, scale))
        except np.linalg.LinAlgError:  # not at a maximum: there are no standard errors
            return np.full_like(information, np.nan)
        inverse = np.asarray(cho_solve(factor, np.eye(len(scale))))
        return np.asarray(inverse / np.outer(scale, scale))

    @property
    def _names(self) -> list[str]:
        return self.data.names + (["tau"] if self.tau_is_free else [])

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, and `tau` where it was estimated."""
        values = np.append(self.beta, self.tau) if self.tau_is_free else self.beta
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
            values["tau"] = np.nan
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
            factor = np.exp(half["tau"] / self.tau)
            result.loc["tau"] = [self.tau / factor, self.tau * factor]
        return result

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
    def random_effects(self) -> pd.DataFrame:
        r"""Mode of each group's random intercept given its rows, and its standard deviation.

        The standard deviation is :math:`\hat\omega`, from the curvature at the mode; it does not
        include the uncertainty of the parameters.
        """
        if self.tau == 0.0:
            mode = sd = np.zeros(self.data.m)
        else:
            at_mode = Likelihood(self.data).at_mode(self.beta, self.tau)
            mode, sd = at_mode.u, at_mode.omega
        return pd.DataFrame({"mode": mode, "sd": sd}, index=self.data.labels.rename("group"))

    def predict(self, X: Any = None, groups: Any = None, offset: Any = None) -> pd.Series:
        """Predict the mean: the probability of a 1 or of a success, or the mean count.

        Parameters
        ----------
        X : array_like of shape (k, p), optional
            Rows to predict; by default the rows of the fit, each with its group's mode.
        groups : array_like of shape (k,), optional
            Their groups, which the fit must know; by default rows are of a group whose random
            intercept is zero.
        offset : array_like of shape (k,), optional
            Their offsets.

        Returns
        -------
        Series
            Means, a row each.
        """
        data = self.data
        modes = self.random_effects["mode"]
        if X is None:
            if groups is not None or offset is not None:
                raise ValueError("X must be given where groups or offset is")
            in_fit = data.family.predicted(
                data.X @ self.beta + data.offset + modes.to_numpy()[data.codes]
            )
            in_order = np.empty(data.n)
            in_order[data.order] = in_fit
            return pd.Series(in_order, index=data.index, name="predicted")
        if isinstance(X, pd.DataFrame) and [str(name) for name in X.columns] != data.names:
            raise ValueError(
                f"X must have the columns of the fit, {data.names}, in that order, "
                f"got {list(X.columns)}"
            )
        length = len(X)
        new = GroupedData.from_arrays(
            np.zeros(length),
            X,
            np.zeros(length) if groups is None else groups,
            offset=offset,
            names=data.names,
        )
        if groups is None:
            u = np.zeros(new.m)
        else:
            unknown = new.labels.difference(data.labels)
            if len(unknown):
                raise ValueError(
                    f"groups names {unknown.tolist()[0]!r}, which the fit does not know; "
                    "leave groups out to predict for a group whose random intercept is zero"
                )
            u = modes.loc[new.labels].to_numpy()
        values = np.empty(length)
        values[new.order] = data.family.predicted(new.X @ self.beta + new.offset + u[new.codes])
        return pd.Series(values, index=new.index, name="predicted")

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
            f"log-likelihood {fit.llf:.4f}, tau {fit.tau:.4f}"
        )

    def _method(self) -> str:
        if self._fit.nodes == 1:
            return "Laplace approximation"
        return f"adaptive Gauss-Hermite quadrature, {self._fit.nodes} nodes"

    def _tau(self) -> str:
        fit = self._fit
        if not fit.tau_is_free:
            return f"{fit.tau:g} (fixed)"
        if fit.boundary:
            return f"0 (estimated; on the boundary, the fit is plain {fit.data.family.title})"
        return f"{fit.tau:.4f} (estimated)"

    @property
    def overview(self) -> pd.Series:
        """The model, the data, the method and how it went."""
        fit = self._fit
        sizes = fit.data.sizes
        return pd.Series(
            {
                "Model": f"{fit.data.family.title} with random intercepts",
                "Rows": f"{fit.nobs}",
                "Groups": f"{fit.data.m}, of {sizes.min()} to {sizes.max()} rows",
                "Method": f"maximum likelihood, {self._method()}",
                "Converged": f"yes, in {fit.iterations} steps"
                if fit.converged
                else f"NO: {fit.message}",
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

    def __str__(self) -> str:
        width = max(len(name) for name in self.overview.index) + 2
        head = "\n".join(f"{name:{width}}{text}" for name, text in self.overview.items())
        return f"{head}\n\n{self.estimates.to_string(float_format=_four_decimals, na_rep='')}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            head = self.overview.to_frame().to_html(header=False)
        return f"{head}\n{self.estimates.to_html(float_format=_four_decimals, na_rep='')}"


def _four_decimals(value: float) -> str:
    return f"{value:.4f}"
