"""The methods that the study compares, and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

import laplace
from compendium import simulate
from compendium.study import as_published
from compendium.study.definition import Method
from laplace.families import ATTENUATION, Array
from laplace.likelihood import Likelihood
from laplace.newton import Maximum, maximise
from laplace.simulate import Simulated

# The ordinary rule: where its search for tau begins, how far it steps, and where tau counts as 0.
FIRST_TAU = 1.0
MAX_STEP_LOG_TAU = 1.0
SMALLEST_TAU = 0.01
LARGEST_TAU = 1e3
# The reference: its nodes, those with which its searches begin, and where these begin. The taus of
# the starts span what the study draws. From so many rows on, the likelihood has one maximum in all
# that was looked at, and the true tau is the one start.
REFERENCE_NODES = 99
START_NODES = 9
STARTS = (0.3, 1.0, 3.0, 10.0)
FEW_ROWS = 2000
# Of all intervals, and the replicates of a bootstrap.
LEVEL = 0.95
BOOTSTRAPPED = 199
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
    interval : ndarray of shape (2, p + 1), optional
        Ends of 95 % intervals that do not follow from the standard errors; NaN where there is none.
    """

    value: Array
    se: Array
    error: Array
    converged: bool
    boundary: bool = False
    iterations: int = 0
    nodes: int = 0
    message: str = ""
    interval: Array | None = None

    @property
    def lower(self) -> Array:
        """Lower ends of the intervals, or NaN."""
        return np.full(len(self.value), np.nan) if self.interval is None else self.interval[0]

    @property
    def upper(self) -> Array:
        """Upper ends of the intervals, or NaN."""
        return np.full(len(self.value), np.nan) if self.interval is None else self.interval[1]

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


def maximum_likelihood(
    data: Sequence[Simulated], *, predict_error: bool = False, **options: Any
) -> list[Estimate | Exception]:
    """Fit by `laplace.fit_many`, which takes the options; predict the approximation's error."""
    fits = laplace.fit_many(data, errors="return", **options)
    return [
        fit if isinstance(fit, Exception) else _estimate(fit, predict_error=predict_error)
        for fit in fits
    ]


def with_intervals(data: Simulated, *, kind: str, **options: Any) -> Estimate:
    """Fit by `laplace.fit`, which takes the options, with intervals of a kind of `Fit.conf_int`."""
    fit = laplace.fit(*data, **options)
    return (
        _with_ends(fit, fit.conf_int(1.0 - LEVEL, method=kind)) if fit.converged else _estimate(fit)
    )


def bootstrapped(data: Simulated, *, replicates: int, **options: Any) -> Estimate:
    """Fit by `laplace.fit`, with percentile intervals of a parametric bootstrap."""
    fit = laplace.fit(*data, **options)
    if not fit.converged:
        return _estimate(fit)
    return _with_ends(fit, fit.bootstrap(replicates).conf_int(1.0 - LEVEL))


def _with_ends(fit: laplace.Fit, ends: pd.DataFrame) -> Estimate:
    """Put the ends of intervals beside an estimate."""
    found = _estimate(fit)
    interval = np.full((2, len(found.value)), np.nan)
    interval[:, : len(ends)] = ends.to_numpy().T
    return replace(found, interval=interval)


def reference(data: Simulated) -> Estimate:
    """Maximise the likelihood by very many nodes from several starts.

    It shares the engine's integrals with `laplace.fit`, and nothing of its search. Every search
    begins with few nodes at a tau of `STARTS`, and is ended with `REFERENCE_NODES`; the highest
    maximum is taken, or tau = 0 where logistic regression is higher.
    """
    plain = laplace.fit(*data, tau=0)
    rows = plain.data
    found = [
        last
        for tau in (STARTS if len(data.y) <= FEW_ROWS else (data.tau or FIRST_TAU,))
        if (first := _by_rule(rows, START_NODES, _attenuated(plain, tau))).converged
        if (last := _by_rule(rows, REFERENCE_NODES, first.theta)).converged
    ]
    best = max(found, key=lambda one: one.contribution.value, default=None)
    if best is None or best.contribution.value < plain.llf:
        return _at_zero(plain, REFERENCE_NODES)
    return _inside(best, REFERENCE_NODES)


def _by_rule(rows: Any, nodes: int, start: Array, *, adaptive: bool = True) -> Maximum:
    """Search for the maximum of a rule, as far as tau = 0 or without bound."""

    def stop(theta: Array, at: laplace.Contribution) -> Stop | None:
        if theta[-1] < np.log(SMALLEST_TAU) and at.gradient[-1] < 0.0:
            return Stop.BOUNDARY
        return Stop.UNBOUNDED if theta[-1] > np.log(LARGEST_TAU) else None

    steps = np.append(np.full(len(start) - 1, np.inf), MAX_STEP_LOG_TAU)
    return maximise(Likelihood(rows, nodes, adaptive), start, max_step=steps, stop=stop)


def _attenuated(plain: laplace.Fit, tau: float) -> Array:
    """Return where a search begins: coefficients grow with tau.

    Zeger, Liang and Albert (1988), equation 3.1.
    """
    return np.append(plain.beta * np.sqrt(1.0 + ATTENUATION * tau**2), np.log(tau))


def _at_zero(plain: laplace.Fit, nodes: int) -> Estimate:
    unknown = np.full(len(plain.beta) + 1, np.nan)
    value, se = np.append(plain.beta, 0.0), np.append(plain.bse.to_numpy(), np.nan)
    return Estimate(value, se, unknown, True, True, plain.iterations, nodes)


def _inside(found: Maximum, nodes: int) -> Estimate:
    tau, unknown = float(np.exp(found.theta[-1])), np.full(len(found.theta), np.nan)
    se = unknown
    if found.converged:
        se = np.sqrt(np.diag(np.linalg.inv(-found.contribution.hessian)))
        se[-1] *= tau
    return Estimate(
        np.append(found.theta[:-1], tau),
        se,
        unknown,
        found.converged,
        False,
        found.iterations,
        nodes,
        "" if found.converged else found.message,
    )


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
    found = _by_rule(plain.data, nodes, _attenuated(plain, FIRST_TAU), adaptive=False)
    if found.reason is Stop.BOUNDARY or found.contribution.value < plain.llf:
        return replace(_at_zero(plain, nodes), iterations=found.iterations)
    return _inside(found, nodes)


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
    such a column every group has an effect of its own. Any other column that is constant within
    groups is left out, and has no estimate. A group with one outcome only has no finite effect:
    that is looked for first, and nothing is fitted, although coefficients of what varies within
    groups may still have estimates.
    """
    y, X, groups = data.y, data.X, data.groups
    if simulate.share_with_one_outcome(data) > 0.0:
        raise ValueError("a site with one outcome only separates y: its effect has no estimate")
    _, first = np.unique(groups, return_index=True)
    effects = (groups[:, None] == np.arange(len(first))).astype(float)
    has_ones = bool(np.all(X[:, 0] == 1.0))
    if has_ones:
        effects = effects[:, :-1] - effects[:, -1:]
    p = X.shape[1]
    used = np.flatnonzero(np.any(X[first][groups] != X, axis=0) | (has_ones & (np.arange(p) == 0)))
    whole = _estimate(laplace.fit(y, np.column_stack([X[:, used], effects]), groups, tau=0))
    kept, place = np.append(np.arange(len(used)), -1), np.append(used, p)

    def spread(values: Array) -> Array:
        every = np.full(p + 1, np.nan)
        every[place] = values[kept]
        return every

    return replace(
        whole,
        value=spread(whole.value),
        se=spread(whole.se),
        error=spread(whole.error),
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


def _by_laplace(name: str, *, predict_error: bool = False, **options: Any) -> Method:
    given = {"predict_error": True, **options} if predict_error else options
    return Method(name, maximum_likelihood, given, together=True)


METHODS: dict[str, Method] = {
    method.name: method
    for method in [
        _by_laplace("laplace", predict_error=True, nodes=1),
        _by_laplace("quadrature-9", nodes=9),
        _by_laplace("auto", nodes="auto"),
        Method("reference", reference),
        Method("profile", with_intervals, {"kind": "profile"}, every=2),
        Method("reml", with_intervals, {"kind": "wald", "reml": True}),
        Method("bootstrap", bootstrapped, {"replicates": BOOTSTRAPPED}, every=20),
        _by_laplace("soft", nodes=9, penalty="soft"),
        Method("site-dummies", site_dummies),
        Method("ignoring-sites", ignoring_sites),
        Method("ordinary-10", ordinary_quadrature, {"nodes": 10}),
        Method("as-published", published_algorithm),
        _by_laplace("laplace-tau1", nodes=1, tau=1.0),
    ]
}
"""The methods of the study, by name."""
