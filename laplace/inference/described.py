"""What the summary of a fit says: the model, the data, the method and how it went, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.families import title
from laplace.inference.degrees import describe
from laplace.inference.few_groups import words
from laplace.inference.ratio import LikelihoodRatioTest
from laplace.inference.summary import Summary, digits
from laplace.inference.uses import Uses
from laplace.later import pd
from laplace.verdict import FurtherMaximum, Verdict

# One minus the level of the intervals of a summary.
ALPHA = 0.05


class Described(Uses):
    """A fit that says in words what it is.

    A `Fit` is one; it says how the search ended, and where the rows are.
    """

    converged: bool
    message: str
    iterations: int
    rounds: int
    numbers: int
    other_maxima: tuple[FurtherMaximum, ...]

    @property
    def _site(self) -> Any:
        raise NotImplementedError

    @property
    def dropped(self) -> int:
        """Number of rows that were left out, when asked to, for missing values."""
        raise NotImplementedError

    @property
    def verdict(self) -> Verdict:
        """What a rule with more nodes says of the estimate."""
        raise NotImplementedError

    def test_tau(self) -> LikelihoodRatioTest:
        """Test tau = 0."""
        raise NotImplementedError

    def _test_in_words(self) -> str:
        """Say what the test of tau = 0 says, or why there is none: a summary is of any fit."""
        try:
            return self.test_tau().describe()
        except ValueError as error:
            return f"not available: {error}"

    def summary(self) -> Summary:
        """Tables of the model, the data, the method and the estimates; print or display it."""
        return Summary(pd.Series(self._overview()), self._table())

    def _overview(self) -> dict[str, str]:
        """Say in words what the model, the data and the method are, and how it went."""
        census, penalty = self._census, self._penalty
        tested = self.tau_is_free and penalty is None and self.converged
        if self._restricted is not None and self._restricted.is_saturated:
            tested = False
        sizes = f"of {census.smallest} to {census.largest} rows"
        several = len(self._problem.sites) > 1
        approximation = self._approximation()
        test = self._test_in_words() if tested else ""
        return {
            "Model": f"{title(census.family)} with random intercepts",
            **self._event(),
            "Rows": self._rows_in_words(),
            **({"Left out": str(self.design.cells)} if self._left_out else {}),
            "Groups": f"{census.m}, {sizes}",
            **({"Sites": self._at_sites()} if several else {}),
            "Method": f"{self._maximum_of()}, {self._method()}",
            **({} if penalty is None else {"Penalty": penalty.describe()}),
            "Converged": f"yes, in {self.iterations} steps"
            if self.converged
            else f"NO: {self.message}",
            "Approximation": approximation,
            **({"Other maxima": self._others_in_words()} if self.other_maxima else {}),
            "Log-likelihood": f"{self.llf:.4f}"
            + ("" if penalty is None else f", penalised {self.penalized_llf:.4f}")
            + (f"; restricted criterion {self.reml_criterion:.4f}" if self.reml else ""),
            "AIC, BIC": f"not defined with {'reml=True' if self.reml else 'a ridge penalty'}"
            if np.isnan(self.aic)
            else f"{self.aic:.4f}, {self.bic:.4f}{self._by_rule()}",
            "tau": self._tau_in_words(),
            **({"Test of tau = 0": test} if tested else {}),
            **self._on_intervals(),
            **self._on_few_groups(),
        }

    def _on_intervals(self) -> dict[str, str]:
        """Say what is to be said of the intervals of the table."""
        said = [text for text, _ in self._intervals(ALPHA, "wald").words()]
        return {"Intervals": "; ".join(said)} if said else {}

    def _on_few_groups(self) -> dict[str, str]:
        """Say what the t distributions are, and what rests on few groups."""
        said = {}
        if self._restricted is not None:
            said["t intervals"] = describe(self._census, self._restricted.between)
        penalised = self._penalty is not None
        few = words(self._census.m, reml=self.reml, penalised=penalised) if self.tau_is_free else ""
        if few:
            said["Few groups"] = few
        return said

    def _table(self) -> pd.DataFrame:
        """Return estimates, standard errors, z or t, p-values and 95 % Wald intervals."""
        interval = self._intervals(ALPHA, "wald").table
        statistic = "t" if self.reml else "z"
        return pd.DataFrame(
            {
                "estimate": self.params,
                "std. error": self.bse,
                **({"df": self.df_resid.reindex(self._names)} if self.reml else {}),
                statistic: self.tvalues,
                f"P>|{statistic}|": self.pvalues,
                "2.5 %": interval["lower"],
                "97.5 %": interval["upper"],
            }
        )

    def _maximum_of(self) -> str:
        if self.reml:
            return "adjusted profile likelihood for tau (reml)"
        return f"maximum {'' if self._penalty is None else 'penalised '}likelihood"

    def _reason(self) -> str | None:
        """Say what speaks against the estimate, if something does."""
        return self.verdict.reason(self._names, "criterion" if self.reml else "log-likelihood")

    def _method(self) -> str:
        if self.nodes == 1:
            return "Laplace approximation"
        return f"adaptive Gauss-Hermite quadrature, {self.nodes} nodes"

    def _rows_in_words(self) -> str:
        """Say how many rows there are, what they stand for, and which carry nothing."""
        text = f"{self._census.n}"
        if self.nobs != self._census.n:
            text += f", which stand for {self.nobs:.10g} by their weights"
        if self._site is not None and (empty := self._site.without_trials):
            text += f", of which {empty} without trials"
        if self.dropped:
            text += f", and {self.dropped} dropped for missing values"
        return text

    @property
    def _left_out(self) -> bool:
        """Whether columns of the formula were left out."""
        return self.design is not None and self.design.cells is not None

    def _event(self) -> dict[str, str]:
        """Say which outcome is a 1, where that was a level of a category."""
        event = "" if self.design is None else self.design.event
        return {"Event": event} if event else {}

    def _by_rule(self) -> str:
        """Say with how many nodes the criteria were computed, where that matters."""
        if self.tau == 0.0:
            return ""
        return f", with {self.nodes} node{'s' if self.nodes > 1 else ''}"

    def _at_sites(self) -> str:
        count = len(self._problem.sites)
        return f"{count}, which were asked {self.rounds} times and sent {self.numbers} numbers"

    def _approximation(self) -> str:
        """Return the verdict on the approximation in words."""
        verdict, reason = self.verdict, self._reason()
        if reason is not None:
            return f"DOUBTFUL: {reason}"
        if verdict.exact:
            return "exact, as there is nothing to integrate at tau = 0"
        if verdict.nodes is None:
            return f"its error is not known: no rule has more than twice its {self.nodes} nodes"
        if not verdict.is_known:
            return "its error is not known, as there are no standard errors"
        size = verdict.largest_shift
        amount = f"{size:.2g}" if size >= 1e-4 else "less than 0.0001"
        most = self._names[int(np.argmax(np.abs(verdict.shift)))]
        off = 100.0 * (verdict.largest_ratio - 1.0)
        accuracy = f"at most {off:.2g} %" if off >= 0.01 else "less than 0.01 %"
        return (
            f"largest predicted shift {amount} standard errors ({most}); these are off by "
            f"{accuracy}, by {verdict.nodes} nodes"
        )

    def _others_in_words(self) -> str:
        """Return the other maxima of the likelihood, and how much lower or higher they are."""
        top = self.penalized_llf if self.verdict.exact else self.verdict.value
        if self.reml:
            top = self.reml_criterion
        return "; ".join(
            f"at tau = {digits(peak.tau)}, {'lower' if peak.value <= top else 'higher'} by "
            f"{abs(top - peak.value):.4g}"
            for peak in self.other_maxima
        )

    def _tau_in_words(self) -> str:
        if not self.tau_is_free:
            return f"{self.tau:g} (fixed)"
        if self._restricted is not None and self._restricted.is_saturated:
            return "0 (as the criterion says nothing of it)"
        if self._restricted is not None and self.boundary:
            upper = self._restricted.interval(ALPHA)[-1][1]
            return (
                "0 (estimated): variation between groups was not detected, which is no evidence "
                f"that there is none; the 95 % interval ends at {digits(upper)}"
            )
        if self.boundary:
            plain = title(self._census.family)
            return f"0 (estimated; on the boundary, the fit is plain {plain})"
        return f"{digits(self.tau)} (estimated)"
