"""The result of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from laplace.arguments import (
    Array,
    number,
)
from laplace.contribution import Contribution
from laplace.estimate import Estimate, reference_nodes
from laplace.families import title
from laplace.later import special
from laplace.newton import Step
from laplace.nodes import check_nodes
from laplace.objective import Objective, Problem
from laplace.penalties import Penalty
from laplace.prediction import Rows, predicted
from laplace.profile import Peak, profile_interval
from laplace.questions import Census
from laplace.ratio import LikelihoodRatioTest, Model, against_zero, check_testable, compare
from laplace.search import Found, Search
from laplace.summary import Summary, digits


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
    history : tuple of Step
        `value` and Newton `decrement` at each step.
    contribution : Contribution
        Value, gradient and Hessian of the log-likelihood in (beta, log tau) at the estimate.
    rounds : int
        Number of questions that the search put to the rows, each to all sites at once.
    """

    nodes: int
    beta: Array
    tau: float
    tau_is_free: bool
    boundary: bool
    contribution: Contribution
    converged: bool
    iterations: int
    message: str
    history: tuple[Step, ...]
    rounds: int
    _estimate: Estimate = field(kw_only=True)
    _found: Found = field(kw_only=True)
    # what holds the rows, where they are at one site, and it is here
    _site: Any = field(kw_only=True, default=None)

    @classmethod
    def of(cls, found: Found, estimate: Estimate, site: Any = None) -> Fit:
        """Return the result of a search.

        Parameters
        ----------
        found : Found
            Where it ended.
        estimate : Estimate
            The same, in the columns of X.
        site : Site, optional
            The rows, where they are here.
        """
        problem = estimate.problem
        return cls(
            nodes=estimate.nodes,
            beta=estimate.beta,
            tau=estimate.tau,
            tau_is_free=problem.tau_is_free,
            boundary=problem.tau_is_free and estimate.tau == 0.0,
            contribution=estimate.contribution,
            converged=found.converged,
            iterations=found.maximum.iterations,
            message=found.message,
            history=found.maximum.history,
            rounds=problem.sites.rounds,
            _estimate=estimate,
            _found=found,
            _site=site,
        )

    # the rows -----------------------------------------------------------------------------------

    @property
    def _problem(self) -> Problem:
        return self._estimate.problem

    @property
    def _census(self) -> Census:
        return self._problem.census

    def _rows(self, what: str) -> Any:
        """Return what holds the rows, or say where they are."""
        if self._site is None:
            raise ValueError(
                f"{what} needs the rows, which are at {len(self._problem.sites)} sites and not "
                "here; ask each site: site.random_effects(fit), site.predict(fit)"
            )
        return self._site

    def at(self, site: Any) -> Fit:
        """Return the fit with the rows of one site, for random effects and predictions there."""
        if list(site.data.names) != list(self._census.names):
            raise ValueError(
                f"site has the columns {site.data.names}, but the fit has "
                f"{list(self._census.names)}; give a site of the fit"
            )
        return replace(self, _site=site)

    @property
    def data(self) -> Any:
        """The rows, where they are here: a `GroupedData`.

        Raises
        ------
        ValueError
            If they are at several sites.
        """
        return self._rows("data").data

    @property
    def dropped(self) -> int:
        """Number of rows that were left out, when asked to, for missing values."""
        return 0 if self._site is None else int(self._site.dropped)

    @property
    def design(self) -> Any:
        """How a formula made X, where one did: a `Design`, or None."""
        return None if self._site is None else self._site.design

    # the parameters and their precision ------------------------------------------------------

    @property
    def _tau_estimated(self) -> bool:
        return self.tau_is_free and not self.boundary

    @property
    def _free(self) -> slice:
        """The entries of (beta, log tau) that were estimated and are not on the boundary."""
        return self._estimate.estimated

    @property
    def _penalty(self) -> Penalty | None:
        return self._problem.penalty

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
        return [*self._census.names, *(["tau"] if self.tau_is_free else [])]

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, and `tau` where it was estimated."""
        values = np.append(self.beta, self.tau) if self.tau_is_free else self.beta.copy()
        return pd.Series(values, index=self._names, name="params")

    def cov_params(self) -> pd.DataFrame:
        """Covariance of `params` from the observed information; NaN for a `tau` at zero."""
        q = len(self._names)
        result = np.full((q, q), np.nan)
        jacobian = np.ones(self._census.p + 1)
        jacobian[-1] = self.tau  # from log tau to tau
        jacobian = jacobian[self._free]
        k = len(jacobian)
        result[:k, :k] = self._estimate.covariance * np.outer(jacobian, jacobian)
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
        values = 2.0 * special().ndtr(-np.abs(self.tvalues))
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
            ends = profile_interval(self._peak(), self._objective(), level)
            return pd.DataFrame(ends, index=self._names, columns=["lower", "upper"])
        half = -special().ndtri(level / 2.0) * self.bse
        result = pd.DataFrame({"lower": self.params - half, "upper": self.params + half})
        if self._tau_estimated:
            with np.errstate(over="ignore"):  # without a bound, to rounding
                factor = np.exp(half.iloc[-1] / self.tau)
            result.iloc[-1] = [self.tau / factor, self.tau * factor]
        return result

    def _objective(self) -> Objective:
        """Return what was maximised."""
        return self._problem.objective(self.nodes)

    def _peak(self) -> Peak:
        return Peak(
            self.beta,
            self.tau,
            self.tau_is_free,
            self.penalized_llf,
            self.llf,
            self.hessian,
            self._problem.always_inside,
        )

    def _model(self) -> Model:
        return Model(self._problem, self.nodes, self.tau, self.llf, self.converged, self.message)

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
        if not isinstance(other, Fit):
            raise TypeError(f"other must be a Fit, got {type(other).__name__}")
        return compare(self._model(), other._model())

    def test_tau(self) -> LikelihoodRatioTest:
        r"""Test tau = 0, no random intercepts, by the likelihood ratio.

        It needs the fit without random intercepts, which most searches made on their way. As zero
        is the end of the range of tau, the statistic is compared with
        :math:`\tfrac12\chi^2_0 + \tfrac12\chi^2_1` (Self and Liang 1987): its p-value is half that
        of :math:`\chi^2_1`, and 1 on the boundary. That is its distribution for many groups; with
        ten, say, it is not accurate.

        Returns
        -------
        LikelihoodRatioTest

        Raises
        ------
        ValueError
            If tau was fixed, or the fit has a penalty.
        """
        check_testable(self._model())
        return against_zero(self._model(), self._llf_at_zero())

    def _llf_at_zero(self) -> float:
        """Return the maximum without random intercepts, from the search where it made that fit."""
        if self.boundary:
            return self.llf
        if self._found.plain is not None:
            return self._found.plain.maximum.contribution.value
        return Search(self._problem).value_without(self._found.without)

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
        shift = self._shift if nodes is None else self._estimate.shift_to(check_nodes(nodes))
        return pd.Series(shift.copy(), index=self._names, name="approximation_error")

    @cached_property
    def _shift(self) -> Array:
        return self._estimate.shift_to(reference_nodes(self.nodes))

    # the fit as a whole -----------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self._census.n

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

    @property
    def random_effects(self) -> pd.DataFrame:
        r"""Mode of each group's random intercept given its rows, and its standard deviation.

        The standard deviation is :math:`\hat\omega`, from the curvature at the mode; it does not
        include the uncertainty of the parameters.

        Raises
        ------
        ValueError
            If the rows are at several sites: ask each, by ``site.random_effects(fit)``.
        """
        site = self._rows("random_effects")
        mode, sd = site.modes(self.beta, self.tau)
        labels = site.data.labels.rename("group")
        return pd.DataFrame({"mode": mode, "sd": sd}, index=labels)

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
        rows = Rows(self._problem, self.beta, self.tau, self.design, self._rows)
        return predicted(rows, X, groups, offset, kind)

    def summary(self) -> Summary:
        """Tables of the model, the data, the method and the estimates; print or display it."""
        return Summary(pd.Series(self._overview()), self._table())

    def _overview(self) -> dict[str, str]:
        """Say in words what the model, the data and the method are, and how it went."""
        census, penalty = self._census, self._penalty
        tested = self.tau_is_free and penalty is None and self.converged
        sizes = f"of {census.smallest} to {census.largest} rows"
        several = len(self._problem.sites) > 1
        approximation = self._approximation()
        test = self.test_tau().describe() if tested else ""
        return {
            "Model": f"{title(census.family)} with random intercepts",
            "Rows": f"{self.nobs}"
            + (f", and {self.dropped} dropped for missing values" if self.dropped else ""),
            "Groups": f"{census.m}, {sizes}",
            **({"Sites": self._at_sites()} if several else {}),
            "Method": f"maximum {'' if penalty is None else 'penalised '}likelihood, "
            f"{self._method()}",
            **({} if penalty is None else {"Penalty": penalty.describe()}),
            "Converged": f"yes, in {self.iterations} steps"
            if self.converged
            else f"NO: {self.message}",
            "Approximation": approximation,
            "Log-likelihood": f"{self.llf:.4f}"
            + ("" if penalty is None else f", penalised {self.penalized_llf:.4f}"),
            "AIC, BIC": "not defined with a ridge penalty"
            if np.isnan(self.aic)
            else f"{self.aic:.4f}, {self.bic:.4f}",
            "tau": self._tau_in_words(),
            **({"Test of tau = 0": test} if tested else {}),
        }

    def _table(self) -> pd.DataFrame:
        """Return estimates, standard errors, z, p-values and 95 % Wald intervals."""
        interval = self.conf_int()
        return pd.DataFrame(
            {
                "estimate": self.params,
                "std. error": self.bse,
                "z": self.tvalues,
                "P>|z|": self.pvalues,
                "2.5 %": interval["lower"],
                "97.5 %": interval["upper"],
            }
        )

    def _method(self) -> str:
        if self.nodes == 1:
            return "Laplace approximation"
        return f"adaptive Gauss-Hermite quadrature, {self.nodes} nodes"

    def _at_sites(self) -> str:
        sites = self._problem.sites
        return (
            f"{len(sites)}, which were asked {sites.rounds} times and sent {sites.numbers} numbers"
        )

    def _approximation(self) -> str:
        """Return the largest entry of the approximation's error, in words."""
        if self.tau == 0.0:
            return "exact, as there is nothing to integrate at tau = 0"
        error = self.approximation_error().abs()
        if error.isna().any():
            return "its error is not known, as there are no standard errors"
        size = error.max()
        amount = f"{size:.2g}" if size >= 1e-4 else "less than 0.0001"
        return (
            f"largest predicted shift {amount} standard errors ({error.idxmax()}), by "
            f"{reference_nodes(self.nodes)} nodes"
        )

    def _tau_in_words(self) -> str:
        if not self.tau_is_free:
            return f"{self.tau:g} (fixed)"
        if self.boundary:
            plain = title(self._census.family)
            return f"0 (estimated; on the boundary, the fit is plain {plain})"
        return f"{digits(self.tau)} (estimated)"

    def __repr__(self) -> str:
        return (
            f"<laplace.Fit: {self.nobs} rows, {self._census.m} groups, {self._method()}, "
            f"log-likelihood {self.llf:.4f}, tau {digits(self.tau)}>"
        )
