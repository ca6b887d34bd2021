"""What a fit is used for: random effects, predictions, residuals, ratios."""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.arguments import Array
from laplace.estimate import roots_of
from laplace.families import Poisson
from laplace.inference.drawn import simulated
from laplace.inference.intervals import ConfidenceIntervals
from laplace.inference.parameters import Parameters
from laplace.inference.prediction import Fitted, Prediction, asked_of, predicted, prediction
from laplace.inference.residuals import check_kind, residuals
from laplace.inference.wald import WaldTest, wald_test, wald_test_terms
from laplace.later import pd


class Uses(Parameters):
    """What follows from an estimate and, for most of it, from the rows.

    A `Fit` is one; it says what the estimate is, and where the rows are.
    """

    def _rows(self, what: str) -> Any:
        """Return what holds the rows, or say where they are."""
        raise NotImplementedError

    @property
    def design(self) -> Any:
        """How a formula made X, where one did."""
        raise NotImplementedError

    def conf_int(self, alpha: float = 0.05, method: str = "wald") -> pd.DataFrame:
        """Return confidence intervals."""
        raise NotImplementedError

    def _intervals(self, alpha: float, method: str) -> ConfidenceIntervals:
        """Return confidence intervals, and what is to be said of them."""
        raise NotImplementedError

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
        self,
        X: Any = None,
        groups: Any = None,
        offset: Any = None,
        *,
        kind: str | None = None,
        new_groups: str | None = None,
    ) -> pd.Series:
        """Predict the mean: the probability of a 1 or of a success, or the mean count.

        Parameters
        ----------
        X : array_like of shape (k, p), optional
            Rows to predict; by default the rows of the fit, each with its group's mode. After
            `fit_formula`, a table with the columns of the formula. For a
            Dask DataFrame the result is lazy.
        groups : str, list of str or array_like of shape (k,), optional
            Their groups, which the fit must know, or their column, or columns, of X after
            `fit_formula`.
        offset : str or array_like of shape (k,), optional
            Their offsets, in all, or a number for all rows; after `fit_formula` by default the
            columns and terms that the fit used. A fit to arrays with an offset needs it.
        kind : {"group", "typical", "marginal", "link"}, optional
            The random intercept of a row: the mode of its group; zero, as in a typical group; or
            any, so that the mean is over groups, integrated over the normal distribution of random
            intercepts (for 0/1 outcomes, nearer to 1/2 than that of a typical group). By default
            "group" where groups are given or X is not, and "typical" otherwise. "link" is the
            linear predictor instead of the mean: with the mode of the group where groups are given
            or X is not.
        new_groups : {"typical", "marginal"}, optional
            What to predict for groups that the fit does not know; by default they are refused.

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
        if hasattr(X, "map_partitions"):  # a Dask DataFrame: later, a partition at a time
            options = {"groups": groups, "offset": offset, "kind": kind, "new_groups": new_groups}
            meta = pd.Series(dtype=float, name="predicted")
            return X.map_partitions(_predicted, self, meta=meta, **options)  # type: ignore[no-any-return]
        fitted = self._fitted("predict()")
        return predicted(fitted, asked_of(fitted, X, groups, offset, kind, new_groups))

    @property
    def fittedvalues(self) -> pd.Series:
        """Means of the rows of the fit, each with its group's mode, as by `predict`.

        Raises
        ------
        ValueError
            If the rows are at several sites: ask each, by ``fit.at(site).fittedvalues``.
        """
        self._rows("fittedvalues")  # a refusal names what was asked for
        return self.predict().rename("fittedvalues")

    def get_prediction(
        self,
        X: Any = None,
        groups: Any = None,
        offset: Any = None,
        *,
        kind: str | None = None,
        new_groups: str | None = None,
    ) -> Prediction:
        """Predict means with standard errors and intervals.

        Those of a group's mean count the uncertainty of its random intercept, too. Those of a
        typical group do not: they are for a random intercept of zero. Where `tau` was fixed, or is
        estimated at zero, or with ``reml=True``, no uncertainty of it is counted. With
        ``reml=True`` intervals are by t, with the least degrees of freedom of the coefficients that
        enter.

        Parameters
        ----------
        X, groups, offset, kind, new_groups
            As in `predict`.

        Returns
        -------
        Prediction
            Its ``summary_frame()`` has the means, standard errors and 95 % intervals.

        Raises
        ------
        TypeError, ValueError
            As `predict` does.
        """
        fitted = self._fitted("get_prediction()")
        return prediction(fitted, asked_of(fitted, X, groups, offset, kind, new_groups))

    def _fitted(self, what: str) -> Fitted:
        """Return the model that predictions are made from, for what was called."""
        degrees = self.df_resid.to_numpy()
        return Fitted(
            self._problem,
            self.beta,
            self.tau,
            self.design,
            self._curvature,
            degrees,
            self._has_offset(),
            what,
            self._rows,
        )

    def _has_offset(self) -> bool:
        """Say whether the rows were given with an offset."""
        raise NotImplementedError

    def wald_test(self, r_matrix: Any) -> WaldTest:
        """Test that combinations of the coefficients have given values, together.

        Parameters
        ----------
        r_matrix : str, mapping, DataFrame, Series or array_like of shape (k, p)
            As ``"x = 0, arm[T.b] = arm[T.c]"``, with the names of the summary; or a mapping of
            names, or of combinations that are written so, to their values, as ``{"x": 0}``. Or a
            row for each combination of the coefficients that is zero, taken by its labels where it
            has them: a Series is one such row. `tau` is none of the coefficients.

        Returns
        -------
        WaldTest
            With `statistic`, `df` and `pvalue`, by chi-squared; by F with ``reml=True``.

        Raises
        ------
        TypeError, ValueError
            If the combinations cannot be read, or one follows from others.
        """
        return wald_test(
            self.params.iloc[: self._census.p],
            self._roots,
            r_matrix,
            self.df_resid.to_numpy(),
        )

    def wald_test_terms(self) -> pd.DataFrame:
        """Test each term of the formula, but for its intercept: that all its coefficients are zero.

        Without a formula, each column of X is a term, whatever its name. A term of an interaction
        that stays in the model has the meaning that the coding of categories gives it.

        Returns
        -------
        DataFrame
            `statistic`, `pvalue` and `df_constraint`, and `df_denom` with ``reml=True``, a row a
            term.
        """
        names = list(self._census.names)
        terms = {name: [name] for name in names} if self.design is None else self.design.terms
        return wald_test_terms(
            self.params.iloc[: self._census.p],
            self._roots,
            terms,
            self.df_resid.to_numpy(),
        )

    def _roots(self, matrix: Array) -> Array:
        """Return B, whose B'B is the covariance of combinations of the coefficients."""
        return roots_of(self._curvature, self._problem.basis, matrix)

    @property
    def _curvature(self) -> Array:
        """Minus the information on the coefficients of the basis, and on log tau if estimated."""
        p, curvature = self._census.p, self._estimate.curvature
        # with reml=True, the covariance of tau and the coefficients is not defined
        return curvature[:p, :p] if self.reml else curvature

    def resid(self, kind: str = "response") -> pd.Series:
        """Residuals of the rows, at the modes of their groups.

        Parameters
        ----------
        kind : {"response", "pearson", "deviance"}
            Outcome minus mean, of binomial outcomes the share of successes minus its mean; that
            over the standard deviation of the outcome; or the signed root of what the row adds to
            the deviance.

        Returns
        -------
        Series
            A row each.

        Raises
        ------
        ValueError
            If the kind is unknown, or the rows are at several sites: ask each, by
            ``fit.at(site).resid()``.
        """
        kind = check_kind(kind)
        site = self._rows("resid()")
        data, (modes, _) = site.data, site.modes(self.beta, self.tau)
        return residuals(data, data.X @ self.beta + data.offset + modes[data.codes], kind)

    def simulate(self, seed: Any = None) -> pd.Series:
        """Draw outcomes for the rows of the fit, with new random intercepts for the groups.

        Of binomial outcomes, numbers of successes are drawn.

        Parameters
        ----------
        seed : int, SeedSequence or Generator, optional
            Source of the random numbers; by default, another one at each call.

        Returns
        -------
        Series
            A row each.

        Raises
        ------
        TypeError
            If the seed is no source of random numbers.
        ValueError
            If the seed is negative, if the rows stand for several each by their weights, or if
            they are at several sites: ask each, by ``fit.at(site).simulate()``.
        """
        data = self._rows("simulate()").data
        return simulated(data, data.X @ self.beta + data.given_offset, self.tau, seed)

    def odds_ratios(self, alpha: float = 0.05, method: str = "wald") -> pd.DataFrame:
        """Exponentials of the coefficients: odds ratios, or rate ratios of counts.

        They are those within a group, at the same random intercept.

        Parameters
        ----------
        alpha, method
            As in `conf_int`.

        Returns
        -------
        DataFrame
            The ratio and its interval, a row a coefficient; `tau` is left out.
        """
        of = "rate ratio" if self._census.family == Poisson.name else "odds ratio"
        intervals = self._intervals(alpha, method)
        ends = intervals.table.iloc[: self._census.p]
        intervals.warn(list(ends.index))
        table = pd.DataFrame({of: self.beta, **ends}, index=ends.index)
        with np.errstate(over="ignore"):
            return pd.DataFrame(np.exp(table))

    def icc(self, alpha: float = 0.05, method: str = "wald") -> pd.Series:
        r"""Intraclass correlation on the latent scale, with its interval.

        A 0/1 outcome is thought of as a latent logistic variable above a threshold, whose variance
        within groups is :math:`\pi^2/3`: of the latent variance, the share
        :math:`\tau^2 / (\tau^2 + \pi^2/3)` is between groups. Its interval is that of `tau`.

        Parameters
        ----------
        alpha, method
            As in `conf_int`.

        Returns
        -------
        Series
            `icc`, `lower` and `upper`; the ends are NaN where `tau` was fixed, or has no interval.

        Raises
        ------
        ValueError
            If the outcomes are counts, which have no latent scale with a known variance.
        """
        if self._census.family == Poisson.name:
            raise ValueError("icc() is for 0/1 and binomial outcomes; counts have no latent scale")
        ends = [np.nan, np.nan]
        if self.tau_is_free:
            intervals = self._intervals(alpha, method)
            intervals.warn(["tau"])
            ends = intervals.table.to_numpy()[-1].tolist()
        tau = np.array([self.tau, *ends])
        share = 1.0 / (1.0 + np.pi**2 / 3.0 / np.where(tau == 0.0, 1.0, tau) ** 2)
        return pd.Series(np.where(tau == 0.0, 0.0, share), index=["icc", "lower", "upper"])


def _predicted(part: pd.DataFrame, fit: Uses, **options: Any) -> pd.Series:
    """Predict for a partition."""
    if not len(part):
        return pd.Series(dtype=float, name="predicted")
    return fit.predict(part, **options)
