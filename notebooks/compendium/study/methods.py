"""The methods that the study compares, and what they return."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

import laplace
from compendium.study import as_published
from compendium.study.definition import Method
from laplace.families import ATTENUATION, Array
from laplace.likelihood import Likelihood
from laplace.newton import maximise
from laplace.simulate import Simulated

# The ordinary rule: where its search for tau begins, how far it steps, and where tau counts as 0.
FIRST_TAU = 1.0
MAX_STEP_LOG_TAU = 1.0
SMALLEST_TAU = 0.01
LARGEST_TAU = 1e3
# A fit is called wild where a number of it is more than this many times the largest of the truth.
WILD = 10.0


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a method makes of a data set. The last entry of each array belongs to tau.

    Attributes
    ----------
    value, se : ndarray of shape (p + 1,)
        Estimates and standard errors; NaN where the method has none.
    error : ndarray of shape (p + 1,)
        Predicted shift with more nodes, in standard errors; NaN where it is not known.
    converged, boundary : bool
        Whether a maximum was reached, and whether it is at tau = 0.
    iterations, nodes : int
        Number of steps, and of quadrature nodes; 0 nodes where nothing is integrated.
    message : str
        Why the method failed; empty where it did not.
    """

    value: Array
    se: Array
    error: Array
    converged: bool
    boundary: bool = False
    iterations: int = 0
    nodes: int = 0
    message: str = ""

    @classmethod
    def failed(cls, p: int, message: str) -> Estimate:
        """Return what is left of a fit of p coefficients that stopped with a message."""
        unknown = np.full(p + 1, np.nan)
        return cls(unknown, unknown, unknown, converged=False, message=message)

    def is_wild(self, truth: Array) -> bool:
        """Whether the largest number is beyond `WILD` times the largest of the truth."""
        known = np.abs(self.value[~np.isnan(self.value)])
        return bool(np.any(known > WILD * np.max(np.abs(truth))))

    def recorded(self) -> Estimate:
        """Return what the study keeps: of a fit that did not converge, its message alone.

        Where a search that does not converge stops depends on the last digits of every step, which
        differ between processors. It is no estimate of anything, and nothing may compare it.
        """
        if self.converged:
            return self
        return Estimate.failed(len(self.value) - 1, self.message)


def maximum_likelihood(data: Simulated, *, predict_error: bool = True, **options: Any) -> Estimate:
    """Fit by `laplace.fit`, which takes the options, and predict the approximation's error."""
    return _estimate(laplace.fit(*data, **options), predict_error=predict_error)


class Stop(Enum):
    """Why a search over tau was stopped; the value says it in words."""

    BOUNDARY = "tau falls to zero"
    UNBOUNDED = "tau rose without bound"


def ordinary_quadrature(data: Simulated, *, nodes: int) -> Estimate:
    """Maximise the log-likelihood of the ordinary rule: nodes around zero, with scale tau.

    The search begins at logistic regression and tau = 1. Where it ends at a tau below 0.01, or
    lower than logistic regression, tau is 0.
    """
    plain = laplace.fit(*data, tau=0)
    p = len(plain.beta)
    steps = np.append(np.full(p, np.inf), MAX_STEP_LOG_TAU)

    def stop(theta: Array, at: laplace.Contribution) -> Stop | None:
        if theta[-1] < np.log(SMALLEST_TAU) and at.gradient[-1] < 0.0:
            return Stop.BOUNDARY
        return Stop.UNBOUNDED if theta[-1] > np.log(LARGEST_TAU) else None

    found = maximise(
        Likelihood(plain.data, nodes, adaptive=False),
        # coefficients grow with tau (Zeger, Liang and Albert 1988, equation 3.1)
        np.append(
            plain.beta * np.sqrt(1.0 + ATTENUATION * FIRST_TAU**2),
            np.log(FIRST_TAU),
        ),
        max_step=steps,
        stop=stop,
    )
    unknown = np.full(p + 1, np.nan)
    if found.reason is Stop.BOUNDARY or found.contribution.value < plain.llf:
        value, se = (
            np.append(plain.beta, 0.0),
            np.append(plain.bse.to_numpy(), np.nan),
        )
        return Estimate(value, se, unknown, True, True, found.iterations, nodes)
    tau, se = float(np.exp(found.theta[-1])), unknown
    if found.converged:
        se = np.sqrt(np.diag(np.linalg.inv(-found.contribution.hessian)))
        se[-1] *= tau
    value, message = (
        np.append(found.theta[:-1], tau),
        "" if found.converged else found.message,
    )
    return Estimate(
        value,
        se,
        unknown,
        found.converged,
        False,
        found.iterations,
        nodes,
        message,
    )


def published_algorithm(data: Simulated) -> Estimate:
    """Run the published algorithm, at tau = 1 as published; it gives no standard errors."""
    rows = laplace.GroupedData.from_arrays(*data)
    found = as_published.fit(rows)
    unknown = np.full(rows.p + 1, np.nan)
    return Estimate(
        np.append(found.beta, np.nan),
        unknown,
        unknown,
        found.converged,
        iterations=found.steps,
        nodes=1,
        message="" if found.converged else "the published algorithm did not converge",
    )


def ignoring_sites(data: Simulated) -> Estimate:
    """Fit a logistic regression as if there were no groups."""
    return _estimate(laplace.fit(*data, tau=0))


def site_dummies(data: Simulated) -> Estimate:
    """Fit a logistic regression with a fixed effect for each group.

    The effects sum to zero, so that the coefficient of a column of ones is their average; without
    such a column every group has an effect of its own. A group with one outcome only has no finite
    effect: that is looked for first, and nothing is fitted, although coefficients of what varies
    within groups may still have estimates.
    """
    y, X, groups = data.y, data.X, data.groups
    m = int(groups[-1]) + 1
    ones, sizes = (
        np.bincount(groups, weights=y, minlength=m),
        np.bincount(groups, minlength=m),
    )
    if np.any((ones == 0) | (ones == sizes)):
        raise ValueError("a site with one outcome only separates y: its effect has no estimate")
    effects = (groups[:, None] == np.arange(m)).astype(float)
    if np.all(X[:, 0] == 1.0):
        effects = effects[:, :-1] - effects[:, -1:]
    p = X.shape[1]
    fit = laplace.fit(y, np.column_stack([X, effects]), groups, tau=0)
    whole = _estimate(fit)
    kept = np.append(np.arange(p), -1)
    return replace(
        whole,
        value=whole.value[kept],
        se=whole.se[kept],
        error=whole.error[kept],
    )


def _estimate(fit: laplace.Fit, *, predict_error: bool = False) -> Estimate:
    p = len(fit.beta)
    value, se = np.append(fit.beta, np.nan), np.full(p + 1, np.nan)
    error = np.full(p + 1, np.nan)
    known = p + fit.tau_is_free
    se[:known] = fit.bse.to_numpy()
    if fit.tau_is_free:
        value[-1] = fit.tau
    if predict_error and fit.converged:
        error[:known] = fit.approximation_error().to_numpy()
    return Estimate(
        value,
        se,
        error,
        fit.converged,
        fit.boundary,
        fit.iterations,
        fit.nodes if fit.tau_is_free else 0,
        "" if fit.converged else fit.message,
    )


METHODS: dict[str, Method] = {
    method.name: method
    for method in [
        Method("laplace", maximum_likelihood, {"nodes": 1}),
        Method("quadrature-5", maximum_likelihood, {"nodes": 5}),
        Method("quadrature-25", maximum_likelihood, {"nodes": 25}),
        Method("auto", maximum_likelihood, {"nodes": "auto"}),
        Method("ordinary-10", ordinary_quadrature, {"nodes": 10}),
        Method("as-published", published_algorithm),
        Method(
            "laplace-tau1",
            maximum_likelihood,
            {"nodes": 1, "tau": 1.0, "predict_error": False},
        ),
        Method(
            "soft",
            maximum_likelihood,
            {"nodes": 25, "penalty": "soft", "predict_error": False},
        ),
        Method("ignoring-sites", ignoring_sites),
        Method("site-dummies", site_dummies),
    ]
}
"""The methods of the study, by name."""
