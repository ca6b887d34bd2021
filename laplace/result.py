"""The result of a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from laplace.arguments import Array, confidence, quoted, shown
from laplace.contribution import Contribution
from laplace.criterion import judge_restricted
from laplace.ends import confirmed_intervals
from laplace.estimate import Estimate
from laplace.inference.degrees import quantile
from laplace.inference.described import Described
from laplace.inference.intervals import ConfidenceIntervals
from laplace.inference.ratio import (
    LikelihoodRatioTest,
    Model,
    against_zero,
    check_testable,
    compare,
)
from laplace.inference.summary import digits
from laplace.later import pd
from laplace.local import LocalSearch
from laplace.newton import Step
from laplace.nodes import check_nodes
from laplace.profile import Peak, Piece, profile_intervals
from laplace.restricted import RestrictedResult
from laplace.search import Result
from laplace.sites import Asked
from laplace.strategy import STRATEGY
from laplace.verdict import FurtherMaximum, Verdict, judge

# What can be done where the rows of a fit are elsewhere, by what needs them.
AT_EACH_SITE = "ask each site, where its rows are: fit.at(site).{}"
IN_ONE_PLACE = "it is for a fit of rows in one place"


@dataclass(frozen=True, eq=False, repr=False)
class Fit(Described):
    r"""A fitted regression with random intercepts.

    Named as in statsmodels. Where `tau` was estimated it is the last of the parameters, also on the
    boundary, where it has no standard error.

    Standard errors come from the observed information. On the boundary, where `boundary` is true,
    that is the information of the model without random intercepts: they are right if tau is zero,
    and say nothing of the chance that it is not, which `conf_int(method="profile")` and `test_tau`
    do. With a penalty, or ``reml=True``, see `fit`.

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
        from one over some of many rows. With ``reml=True``, of all that were taken in the
        coefficients, for any tau.
    message : str
        How the search ended.
    history : tuple of Step
        `value` and Newton `decrement` at each step; with ``reml=True``, at the estimate alone.
    contribution : Contribution
        Value, gradient and Hessian of the log-likelihood in (beta, log tau) at the estimate.
    rounds : int
        Number of questions that the fit put to the rows, each to all sites at once.
    evaluations : int
        How many of them asked for the log-likelihood and its derivatives.
    numbers : int
        How many numbers the sites sent for that, all together; 0 where the rows are in one place.
    stages : tuple of str
        The stages of the search that were used, in their order, as `laplace.search` names them.
    other_maxima : tuple
        Further maxima of the likelihood by the reference rule, which are lower: `tau` and `value`;
        with ``reml=True``, of the criterion by the rule of the fit.
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
    evaluations: int
    numbers: int
    stages: tuple[str, ...]
    other_maxima: tuple[FurtherMaximum, ...]
    # what draws replicates and fits them, which `laplace.batch` attaches
    bootstrap: ClassVar[Callable[..., Any]]
    _simulated_test: ClassVar[Callable[..., LikelihoodRatioTest]]

    _result: Result = field(kw_only=True)
    # what holds the rows, where they are at one site, and it is here
    _site: Any = field(kw_only=True, default=None)

    @classmethod
    def of(cls, result: Result, asked: Asked, site: Any = None) -> Fit:
        """Return the result of a search.

        Parameters
        ----------
        result : Result
            What the search found.
        asked : Asked
            What the fit asked of the rows.
        site : Site, optional
            The rows, where they are here.
        """
        found, estimate = result.candidate.found, result.candidate.estimate
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
            rounds=asked.rounds,
            evaluations=asked.evaluations,
            numbers=asked.numbers,
            stages=result.stages,
            other_maxima=result.others,
            _result=result,
            _site=site,
        )

    def _has_offset(self) -> bool:
        """Say whether the rows were given with an offset."""
        given = getattr(self._site, "has_given_offset", None)
        return self._problem.census.has_offset if given is None else bool(given)

    @property
    def _estimate(self) -> Estimate:
        return self._result.candidate.estimate

    @property
    def _restricted(self) -> RestrictedResult | None:
        return self._result if isinstance(self._result, RestrictedResult) else None

    @property
    def candidates(self) -> pd.DataFrame:
        """The maxima that were compared, a row each in the order in which they were found.

        Columns are the stage, the number of nodes, tau, whether it converged, the log-likelihood
        (with the penalty, if there is one; the criterion, with ``reml=True``), and by how much the
        reference rule puts it below the one that was returned.
        """
        return self._result.table()

    @property
    def verdict(self) -> Verdict:
        """What a rule with more nodes says of the estimate, a `laplace.verdict.Verdict`."""
        return self._result.candidate.verdict

    # the rows -----------------------------------------------------------------------------------

    def _rows(self, what: str) -> Any:
        """Return what holds the rows, or those of one site; or say where they are."""
        if self._site is None:
            raise self._elsewhere(what, AT_EACH_SITE.format(what.split()[0]))
        return self._site

    def _all_rows(self, what: str) -> Any:
        """Return all rows of the fit as a `GroupedData`, or say where they are."""
        parts = self._problem.sites.parts
        if len(parts) > 1 or parts[0] is not self._site:
            raise self._elsewhere(what, IN_ONE_PLACE)
        return self._site.data

    def _elsewhere(self, what: str, remedy: str) -> ValueError:
        """Return the refusal of what needs rows that are not here."""
        count = len(self._problem.sites)
        where = f"{count} site{'s' * (count > 1)}"
        return ValueError(f"{what} needs the rows, which are at {where} and not here; {remedy}")

    def at(self, site: Any) -> Fit:
        """Return the fit with the rows of one site, for what needs rows, as predictions, there.

        Parameters
        ----------
        site : Site
            One of those that were fitted, or one with all rows of some of their groups.

        Returns
        -------
        Fit
            The same numbers; what needs rows is for those of this site alone.

        Raises
        ------
        ValueError
            If the columns of the site are not those of the fit; or if it is not one of those that
            were fitted, and something of its formula takes its values from all rows of the site.
        """
        if list(site.data.names) != list(self._census.names):
            raise ValueError(
                f"site has the columns {site.data.names}, but the fit has "
                f"{list(self._census.names)}; give a site of the fit"
            )
        made = () if site.design is None else site.design.made_of_rows
        if made and not any(site is fitted for fitted in self._problem.sites.parts):
            raise ValueError(
                f"{quoted(made)} of the site takes its values from all rows of that site, and not "
                "from those of the fit; give a site of the fit, or make it a column of the table "
                "before both are made"
            )
        return replace(self, _site=site)

    @property
    def data(self) -> Any:
        """The rows, a `GroupedData`, where they are here.

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
        """How a formula made X, a `Design`; None where none did."""
        return (self._problem.sites if self._site is None else self._site).design

    # intervals and tests ----------------------------------------------------------------------

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
            With ``reml=True`` Wald intervals of coefficients are by t with `df_resid` degrees of
            freedom, and NaN where none are left; that of `tau` is by the profile of the restricted
            criterion; and a profile is refused, as the criterion is a function of `tau` alone.

        Returns
        -------
        DataFrame
            Columns `lower` and `upper`, a row a parameter. A profile interval of `tau` begins at
            exactly 0 where the data allow it; an end is infinite where the likelihood never falls
            to the cut. Where the likelihood has several maxima, the values that are not rejected
            may lie in several pieces: the interval holds all of them, a warning names them, and
            ``attrs["pieces"]`` has the ends of each, by parameter.

        Raises
        ------
        ValueError
            If `alpha` is not between 0 and 1, the method is unknown, or a profile is asked of a fit
            that did not converge, or of one with ``reml=True``.
        ArithmeticError
            If a profile could not be followed.

        Warns
        -----
        ApproximationWarning
            With ``nodes="auto"``, the ends of profile intervals are by as many nodes as they need,
            which may be more than the estimate needs. The warning says that none are enough. Sites
            behind a gate are not asked again for that.

        References
        ----------
        Venzon, D. J. and Moolgavkar, S. H. (1988). A method for computing profile-likelihood-based
        confidence intervals. Journal of the Royal Statistical Society: Series C 37, 87-94.
        doi:10.2307/2347496
        """
        intervals = self._intervals(alpha, method)
        intervals.warn(self._names)
        return intervals.table

    def _intervals(self, alpha: float, method: str) -> ConfidenceIntervals:
        level = confidence(alpha)
        if method not in ("wald", "profile"):
            raise ValueError(f"method must be 'wald' or 'profile', got {shown(method)}")
        if method == "profile":
            if self.reml:
                raise ValueError(
                    "method='profile' is not defined for the coefficients of a fit with reml=True; "
                    "use method='wald', which has t intervals of these, and that of tau by the "
                    "profile of the restricted criterion"
                )
            if not self.converged:
                raise ValueError(
                    "method='profile' needs a fit that reached a maximum, but this one did not "
                    f"converge: {self.message}"
                )
            pieces, rough = self._profiled(level)
            ends = [(of[0][0], of[-1][1]) for of in pieces]
            result = pd.DataFrame(ends, index=self._names, columns=["lower", "upper"])
            result.attrs["pieces"] = dict(zip(self._names, pieces, strict=True))
            names = [self._names[k] for k in rough]
            return ConfidenceIntervals(result, result.attrs["pieces"], names)
        degrees = np.append(self.df_resid, np.inf)[: len(self._names)]
        half = quantile(degrees, level) * self.bse
        result = pd.DataFrame({"lower": self.params - half, "upper": self.params + half})
        if self._restricted is not None:
            of_tau = self._restricted.interval(level)
            result.iloc[-1] = [of_tau[0][0], of_tau[-1][1]]
            result.attrs["pieces"] = {"tau": of_tau}
            rough_tau = ["tau"] if self._restricted.is_rough(level) else []
            return ConfidenceIntervals(result, {"tau": of_tau}, rough_tau)
        if self._tau_estimated:
            with np.errstate(over="ignore"):  # without a bound, to rounding
                factor = np.exp(half.iloc[-1] / self.tau)
            result.iloc[-1] = [self.tau / factor, self.tau * factor]
        return ConfidenceIntervals(result)

    def _profiled(self, alpha: float) -> tuple[list[list[Piece]], tuple[int, ...]]:
        """Return profile intervals, and the parameters of which they are rough.

        With ``nodes="auto"``, they are by as many nodes as their ends need.
        """
        if not self._result.is_automatic or self._problem.sites.guarded:
            objective = self._problem.objective(self.nodes)
            return profile_intervals(self._peak(), objective, alpha), ()
        found = confirmed_intervals(self._peak(), self._problem, self.nodes, alpha)
        return found.pieces, found.rough

    def _peak(self) -> Peak:
        return Peak(
            self.beta,
            self.tau,
            self.tau_is_free,
            self.penalized_llf,
            self.llf,
            self.hessian,
            self._problem.always_inside,
            abs(self.llf) + self._census.size_of_terms,
            tuple((other.beta, other.tau) for other in self.other_maxima),
        )

    def _model(self) -> Model:
        return Model(
            self._problem,
            self.nodes,
            self.tau,
            self.beta,
            self.llf,
            self.converged,
            self.message,
            self._result.rules,
        )

    def compare(
        self, other: Fit, bootstrap: int | None = None, seed: Any = 0, workers: int = 1
    ) -> LikelihoodRatioTest:
        """Test the smaller of two models within the larger by the likelihood ratio.

        Which of the two is the larger does not depend on which is given first. Where the smaller
        has tau = 0 and the larger estimates it, the distribution is the mixture for a parameter at
        the end of its range (Self and Liang 1987). Log-likelihoods by rules with different numbers
        of nodes cannot be compared: the model with fewer is fitted again with those of the other.

        Parameters
        ----------
        other : Fit
            A fit of the same rows with other columns of X, or with tau fixed where this one
            estimates it.
        bootstrap : int, optional
            Take the p-value from so many data sets that are drawn from the smaller model, and to
            which both are fitted: for few groups, where the distribution for many is not accurate.
        seed, workers
            Of the simulation, as in `bootstrap`.

        Returns
        -------
        LikelihoodRatioTest
            With a bootstrap, its `simulation` has the Monte Carlo error of the p-value, and what
            was left out.

        Raises
        ------
        TypeError
            If `other` is not a Fit, or an argument of the simulation is not as described.
        ValueError
            If the fits differ in their rows, outcomes, groups, offset or family; if one has
            a penalty, is restricted, or did not converge; if neither model contains the other; or
            if a bootstrap is asked of rows that are at several sites.
        """
        if not isinstance(other, Fit):
            raise TypeError(f"other must be a Fit, got {type(other).__name__}")
        if self.reml or other.reml:
            raise ValueError(
                "a fit has reml=True: its criterion depends on the columns of X, and its "
                "log-likelihood is not a maximum; compare fits without reml, and for tau = 0 use "
                "test_tau()"
            )
        test = compare(self._model(), other._model())
        return self._simulated_test(test, self, other, bootstrap, seed, workers)

    def test_tau(
        self, bootstrap: int | None = None, seed: Any = 0, workers: int = 1
    ) -> LikelihoodRatioTest:
        r"""Test tau = 0, no random intercepts, by the likelihood ratio.

        It needs the fit without random intercepts, which most searches made on their way. As zero
        is the end of the range of tau, the statistic is compared with
        :math:`\tfrac12\chi^2_0 + \tfrac12\chi^2_1` (Self and Liang 1987): its p-value is half that
        of :math:`\chi^2_1`, and 1 on the boundary. That is its distribution for many groups; with
        ten, say, it is not accurate, and a simulation is better. With ``reml=True`` it is the ratio
        of the restricted criteria, of which both are with the same X.

        Parameters
        ----------
        bootstrap : int, optional
            Take the p-value from so many data sets that are drawn without random intercepts.
        seed, workers
            Of the simulation, as in `bootstrap`.

        Returns
        -------
        LikelihoodRatioTest
            With a bootstrap, its `simulation` has the Monte Carlo error of the p-value, and what
            was left out.

        Raises
        ------
        TypeError
            If an argument of the simulation is not as described.
        ValueError
            If tau was fixed, or the fit has a penalty; with ``reml=True``, if as many columns are
            constant within groups as there are groups, or a bootstrap is asked for; or if one is
            asked of rows that are at several sites.
        """
        check_testable(self._model())
        if self._restricted is not None:
            test = self._restricted_test(bootstrap)
            return self._simulated_test(test, self, None, None, seed, workers)
        test = against_zero(self._model(), self._llf_at_zero())
        return self._simulated_test(test, self, None, bootstrap, seed, workers)

    def _restricted_test(self, bootstrap: int | None) -> LikelihoodRatioTest:
        """Test tau = 0 by the restricted criteria."""
        assert self._restricted is not None
        if bootstrap is not None:
            raise ValueError(
                "bootstrap is for fits without reml=True; test tau = 0 by that of such a fit"
            )
        if self._restricted.is_saturated:
            raise ValueError(
                "the restricted criterion says nothing of tau, as many columns are constant "
                "within groups as there are groups; leave out such columns"
            )
        model = replace(self._model(), llf=self._restricted.criterion)
        return against_zero(model, self._restricted.at_zero)

    def _llf_at_zero(self) -> float:
        """Return the maximum without random intercepts, from the search where it made that fit."""
        if self.boundary:
            return self.llf
        if self._result.plain is not None:
            return self._result.plain.maximum.contribution.value
        return LocalSearch(self._problem).value_without(self._result.nearly)

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

        Raises
        ------
        TypeError, ValueError
            If `nodes` is no number of nodes, or that of the fit.
        """
        verdict = self.verdict
        if nodes is not None:
            if check_nodes(nodes) == self.nodes:
                raise ValueError(
                    f"nodes must differ from the {self.nodes} of the fit: a rule says nothing of "
                    "its own error"
                )
            if self._restricted is not None:
                verdict = judge_restricted(self._restricted.local, self._estimate, nodes)
            else:
                verdict = judge(self._estimate, -np.inf, nodes)
        return pd.Series(verdict.shift.copy(), index=self._names, name="approximation_error")

    def doubt(self) -> str | None:
        """Say in a sentence why the approximation is not to be trusted; None where it is.

        That is so where a rule with more nodes predicts that a parameter moves by more than half a
        standard error, or the log-likelihood rises by more than a half; where a standard error is
        off by more than a quarter; where that rule has no maximum near; or where it knows a better
        maximum elsewhere, or at tau = 0.
        """
        reason = self._reason()
        if reason is None:
            return None
        automatic = self._result.is_automatic
        if not automatic and self.nodes < max(STRATEGY.rules):
            advice = "fit with nodes='auto'"
        elif self.tau_is_free:
            advice = "fix tau, or use groups of more rows"
        else:
            advice = "use a smaller tau, or groups of more rows"
        return f"{self._method()} is not to be trusted here: {reason}; {advice}"

    def __repr__(self) -> str:
        return (
            f"<laplace.Fit: {self.nobs} rows, {self._census.m} groups, {self._method()}, "
            f"log-likelihood {self.llf:.4f}, tau {digits(self.tau)}>"
        )
