"""The fit of a place's own rows, from which a search of all places can start."""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.arguments import Array
from laplace.fit import checked, fit_quietly
from laplace.questions import ALL
from laplace.result import Fit
from laplace.site import Site
from laplace.sites import Sites
from laplace.starts import AskStart, Start
from laplace.together import AskTogether


class Own:
    """A place that answers all questions of a `Site`, and fits its own rows when it is asked to.

    Parameters
    ----------
    site : laplace.Site
        The rows.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def design(self) -> Any:
        """How a formula made X, where one did."""
        return self.site.design

    def answer(self, question: Any) -> Any:
        """Answer a question."""
        mine = isinstance(question, AskStart | AskTogether)
        return question.of(self if mine else self.site)

    def start(self) -> Start:
        """Fit the rows here by the Laplace approximation, with and without random intercepts.

        Where there is no such fit, as with outcomes that are separated or with a single group, its
        information is zero.
        """
        p = self.site.data.p
        without = self._fit(tau=0.0)
        plain, of_plain = _information(without, p)
        highest, least, most = np.inf, 0.0, 0.0
        if without is not None:
            there = self.site.without(ALL, without.beta)
            highest, least, most = there.value, there.least, there.most
        whole, of_whole = np.zeros((p + 1, p + 1)), np.zeros(p + 1)
        fitted = self._fit() if self.site.data.m > 1 else None
        if fitted is not None and not fitted.boundary:
            whole, of_whole = _information(fitted, p + 1)
        return Start(whole, of_whole, plain, of_plain, highest, least, most)

    def _fit(self, tau: float | None = None) -> Fit | None:
        """Return a fit; None where there is none."""
        # linear programs, and fits to some of the rows, are of no use for a start
        sites = Sites([self.site], guarded=True)
        options = checked(nodes=1, tau=tau, penalty=None, strength=None)
        try:
            fit = fit_quietly(sites, self.site, options)
        except (ValueError, ArithmeticError):
            return None
        return fit if fit.converged else None


def _information(fit: Fit | None, q: int) -> tuple[Array, Array]:
    """Return the information on the first parameters, and that times their estimates."""
    if fit is None:
        return np.zeros((q, q)), np.zeros(q)
    information = -np.asarray(fit.contribution.hessian)[:q, :q]
    tau = np.log(fit.tau) if fit.tau > 0.0 else 0.0
    return information, information @ np.append(fit.beta, tau)[:q]
