"""The parameters of a fit, their precision, and what the log-likelihood at them says."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from laplace.answers import Census
from laplace.arguments import Array
from laplace.contribution import Contribution
from laplace.estimate import Estimate
from laplace.inference.degrees import degrees_of_freedom, pvalue
from laplace.later import pd, special
from laplace.objective import Problem
from laplace.penalties import Penalty
from laplace.restricted import RestrictedResult


class Parameters:
    """What follows from an estimate alone, named as in statsmodels.

    A `Fit` is one; it says what the estimate is.
    """

    beta: Array
    tau: float
    tau_is_free: bool
    boundary: bool
    nodes: int
    contribution: Contribution

    @property
    def _estimate(self) -> Estimate:
        raise NotImplementedError

    @property
    def _restricted(self) -> RestrictedResult | None:
        raise NotImplementedError

    @property
    def _problem(self) -> Problem:
        return self._estimate.problem

    @property
    def _census(self) -> Census:
        return self._problem.census

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

    @property
    def reml(self) -> bool:
        """Whether tau maximises the adjusted profile likelihood; see `fit`."""
        return self._restricted is not None

    @property
    def reml_criterion(self) -> float:
        """Adjusted profile log-likelihood at the estimate; NaN for a fit without `reml`.

        It is ``llf`` minus half the log determinant of the information on the coefficients, in the
        columns of X as given. Compare it only between fits with the same X.
        """
        return float("nan") if self._restricted is None else self._restricted.criterion

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
        """Log-likelihood at the estimate with the penalty added, which was maximised."""
        return self._penalised.value

    @property
    def _maximised(self) -> Contribution:
        return self._penalised if self._restricted is None else self._restricted.maximised

    @property
    def gradient(self) -> Array:
        """Derivative of what was maximised, in beta, and log tau where it was estimated.

        With ``reml=True`` that is the log-likelihood minus half the log determinant, which is a
        function of tau alone: its maximum over beta is `reml_criterion`.
        """
        return self._maximised.gradient[self._free]

    @property
    def hessian(self) -> Array:
        """Second derivative of what was maximised, in the parameters of `gradient`.

        It is exact, but for that of the log determinant of ``reml=True`` in log tau, which is
        taken by differences.
        """
        return self._maximised.hessian[self._free, self._free]

    @property
    def _names(self) -> list[str]:
        return [*self._census.names, *(["tau"] if self.tau_is_free else [])]

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, and `tau` where it was estimated."""
        values = np.append(self.beta, self.tau) if self.tau_is_free else self.beta.copy()
        return pd.Series(values, index=self._names, name="params")

    def cov_params(self) -> pd.DataFrame:
        """Covariance of `params` from the observed information; NaN for a `tau` at zero.

        With ``reml=True`` that of the coefficients is from the information at the estimate of
        `tau`, and their covariances with `tau`, which are not defined, are NaN.
        """
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
    def df_resid(self) -> pd.Series:
        """Degrees of freedom of the t distribution of each coefficient, with ``reml=True``.

        They are m - q for the q columns that are constant within groups, of m groups, and n - m -
        (p - q) for the others: see `laplace.inference.degrees`. NaN where none are left; infinite
        without `reml`, where the distribution is the normal one.
        """
        values = np.full(self._census.p, np.inf)
        if self._restricted is not None:
            values = degrees_of_freedom(self._census, self._restricted.between)
        return pd.Series(values, index=list(self._census.names), name="df_resid")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients being zero.

        They come from the normal distribution; with ``reml=True`` from t with `df_resid` degrees of
        freedom, and NaN where none are left.
        """
        values = 2.0 * special().ndtr(-np.abs(self.tvalues))
        if self.reml:
            values[: self._census.p] = pvalue(
                self.df_resid.to_numpy(), self.tvalues.to_numpy()[: self._census.p]
            )
        return pd.Series(values, index=self._names, name="pvalues")

    # the fit as a whole -----------------------------------------------------------------------

    @property
    def nobs(self) -> int | float:
        """Number of rows; with weights, of the rows that they stand for."""
        count = self._census.nobs
        return int(count) if count == int(count) else count

    @property
    def df_model(self) -> int:
        """Number of estimated parameters, `tau` included."""
        return len(self._names)

    @property
    def aic(self) -> float:
        """Akaike's information criterion; NaN with a ridge penalty, and with ``reml=True``.

        Compare it between fits with the same number of nodes only. That of a ridge is not defined
        by its number of parameters, of which the penalty leaves less than it counts. With a soft
        penalty, which vanishes as the data grow, it is taken at the penalised estimate. A fit with
        ``reml=True`` is not at the maximum of the likelihood.
        """
        if self.penalty == "ridge" or self.reml:
            return float("nan")
        return 2.0 * self.df_model - 2.0 * self.llf

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows as sample size; NaN where `aic` is.

        lme4 counts rows, too; other programs count groups, or trials of binomial outcomes.
        """
        if self.penalty == "ridge" or self.reml:
            return float("nan")
        return float(np.log(self.nobs)) * self.df_model - 2.0 * self.llf
