r"""Profile-likelihood intervals, and likelihood-ratio tests with a variance at its bound.

The profile log-likelihood of a parameter is the log-likelihood maximised over all others. With
:math:`\hat\ell` the maximum and :math:`\ell_p(v)` the profile at the value v, the ends of the
interval of level :math:`1 - \alpha` are where

.. math:: r(v) = \sqrt{2(\hat\ell - \ell_p(v))}

reaches :math:`\sqrt{\chi^2_{1, 1-\alpha}}`. The derivative of :math:`\ell_p` is the partial
derivative of the log-likelihood at the inner maximum, so that r, which is nearly straight, is
solved by Newton's method, inside a bracket.

A coefficient is held in a rotation of the orthogonal columns of the fit in which it is the last
coefficient, but for a factor, whatever the others are. Inner searches end at a tau of zero where
the likelihood is highest there.

References
----------
Cox, D. R. and Snell, E. J. (1989). Analysis of Binary Data, 2nd edition, appendix 1. Chapman and
Hall.

Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and
likelihood ratio tests under nonstandard conditions. Journal of the American Statistical
Association 82, 605-610. doi:10.1080/01621459.1987.10478472

Venzon, D. J. and Moolgavkar, S. H. (1988). A method for computing profile-likelihood-based
confidence intervals. Journal of the Royal Statistical Society: Series C 37, 87-94.
doi:10.2307/2347496
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri

from laplace.families import Array
from laplace.grouped import SMALLEST_TAU, Basis, GroupedData
from laplace.likelihood import Contribution, WithoutRandomIntercepts
from laplace.newton import Maximum, maximise

if TYPE_CHECKING:
    from laplace.fit import Fit

# Those of every search over tau, the fit's own and those inside a profile:
# a step of log tau beyond this leaves the region where the quadratic model means anything.
MAX_STEP_LOG_TAU = 1.5
# Here a group's random intercept adds at most this to the variance of its linear score: the
# log-likelihood is linear in tau squared, and its slope at zero decides.
NEGLIGIBLE_VARIANCE = 1e-3
TAU_LIMIT = 1e4
# The profile interval of tau ends at 0 below the first, and is infinite beyond the second.
SMALLEST_LOG_TAU = float(np.log(SMALLEST_TAU))
LARGEST_LOG_TAU = float(np.log(TAU_LIMIT))
LONGEST_STEP = 5.0
# A coefficient of this size on a column of unit mean square moves the predictor of a typical row
# by as much: where the profile has not fallen by then, it never does.
LARGEST_EFFECT = 1e3
ROOT_TOLERANCE = 1e-11  # of the step, relative to the distance from the estimate
MAX_ROOT_STEPS = 100
# An estimate whose inner searches find a value above its own by more than this is no maximum.
HIGHER = 1e-6
# Next to the end of an interval the profile is this near to the cut, unless it jumps over it.
JUMP = 1e-6
# A column is in the span of others when this little of its length is outside.
SPAN_TOLERANCE = 1e-8

Profile = Callable[[float], tuple[float, float]]


class Objective(Protocol):
    """What a fit maximised, as a function of the coefficients of orthogonal columns."""

    basis: Basis

    def at(self, coefficients: Array, tau: float) -> Contribution:
        """Evaluate at the coefficients and tau."""

    def without(self, coefficients: Array) -> tuple[Contribution, WithoutRandomIntercepts]:
        """Evaluate without random intercepts."""


# Profile intervals -----------------------------------------------------------------------------


def profile_interval(fit: Fit, objective: Objective, alpha: float) -> Array:
    """Return the ends of the profile-likelihood intervals of a fit; shape (q, 2).

    Parameters
    ----------
    fit : Fit
        A fit that converged.
    objective : Objective
        What it maximised. Where it has a penalty, the penalised log-likelihood is profiled.
    alpha : float
        One minus the level.

    Returns
    -------
    ndarray
        Lower and upper end for each of `fit.params`; the lower end of `tau` is 0 where the
        likelihood there is within the cut, and an end is infinite where the profile never falls
        to it.

    Raises
    ------
    ArithmeticError
        If an inner search did not converge, or found a higher likelihood than that of the fit.
    """
    cut = float(np.sqrt(chdtri(1, alpha)))
    ends = [_coefficient_ends(fit, objective, k, cut) for k in range(fit.data.p)]
    if fit.tau_is_free:
        ends.append(_tau_ends(fit, objective, cut))
    return np.array(ends)


def _coefficient_ends(fit: Fit, objective: Objective, k: int, cut: float) -> tuple[float, float]:
    """Return the ends of the interval of coefficient k."""
    p = fit.data.p
    # coefficient k is this row times those of the orthogonal columns
    row = objective.basis.inverse[k]
    q, _ = np.linalg.qr(row[:, None], mode="complete")
    rotation = q[:, np.roll(np.arange(p), -1)].T
    unit = float(row @ q[:, 0])
    estimate = rotation @ objective.basis.forward(fit.beta)

    def side(sign: float) -> float:
        inner = _Inner(fit, objective, rotation)

        def profile(distance: float) -> tuple[float, float]:
            value, slope = inner.at_coefficient(estimate[-1] + sign * distance)
            return fit.penalized_llf - value, -sign * slope

        # the curvature of the likelihood there, which exceeds that of the profile: a lower bound
        curvature = -float(inner.evaluate(estimate, fit.tau).hessian[p - 1, p - 1])
        first = cut / np.sqrt(curvature) if curvature > 0.0 else cut
        furthest = LARGEST_EFFECT + abs(float(estimate[-1]))
        end = _solve(profile, cut, first, furthest, _rounding(fit, cut))
        return float((estimate[-1] + sign * end) * unit)

    sign = float(np.sign(unit))
    return side(-sign), side(sign)


def _tau_ends(fit: Fit, objective: Objective, cut: float) -> tuple[float, float]:
    """Return the ends of the interval of tau."""
    rotation = np.eye(fit.data.p)

    def side(sign: float, start: float, furthest: float, first: float) -> float:
        inner = _Inner(fit, objective, rotation)

        def profile(distance: float) -> tuple[float, float]:
            value, slope = inner.at_tau(float(np.exp(start + sign * distance)))
            return fit.penalized_llf - value, -sign * slope

        end = _solve(profile, cut, first, furthest, _rounding(fit, cut))
        return float(np.exp(start + sign * end))

    inner = _Inner(fit, objective, rotation)
    if fit.boundary:
        # the log-likelihood falls from tau = 0 as slope * tau^2 at first, and faster later
        slope = min(objective.without(inner.estimate)[1].slope, -1.0)
        start = float(np.log(cut / np.sqrt(-2.0 * slope))) - 3.0
        while 2.0 * (fit.penalized_llf - inner.at_tau(float(np.exp(start)))[0]) >= cut**2:
            start -= 3.0
        return 0.0, side(1.0, start, LARGEST_LOG_TAU - start, 2.5)
    start = float(np.log(fit.tau))
    curvature = -float(fit.hessian[-1, -1])
    first = float(np.clip(cut / np.sqrt(curvature), 0.05, 1.0)) if curvature > 0.0 else 0.5
    upper = side(1.0, start, LARGEST_LOG_TAU - start, first)
    if not inner.always_inside:
        short = fit.penalized_llf - inner.at_tau(0.0)[0]
        if np.sqrt(2.0 * max(short, 0.0)) <= cut:
            return 0.0, upper
    return side(-1.0, start, start - SMALLEST_LOG_TAU, first), upper


def _rounding(fit: Fit, cut: float) -> float:
    """Relative error of a distance that the rounding of the log-likelihood leaves."""
    return max(ROOT_TOLERANCE, 16.0 * float(np.finfo(float).eps) * abs(fit.llf) / cut**2)


class _Inner:
    """The maximum over the other parameters, each search from where the last one ended.

    Parameters
    ----------
    fit : Fit
        Where the searches start.
    objective : Objective
        What is maximised.
    rotation : ndarray of shape (p, p)
        Orthogonal; takes the coefficients of the orthogonal columns to those of the searches.
    """

    def __init__(self, fit: Fit, objective: Objective, rotation: Array) -> None:
        self.objective = objective
        self.rotation = rotation
        self.jacobian = np.eye(len(rotation) + 1)
        self.jacobian[:-1, :-1] = rotation.T
        self.tau_is_free = fit.tau_is_free
        self.always_inside = fit._penalty is not None and fit._penalty.always_inside
        self.tau = fit.tau
        self.estimate = rotation @ objective.basis.forward(fit.beta)
        self.beta = self.estimate
        self.beta_at_zero = self.estimate

    def at_tau(self, tau: float) -> tuple[float, float]:
        """Return the maximum over the coefficients, and its derivative in log tau."""

        def evaluate(beta: Array) -> Contribution:
            at = self.evaluate(beta, tau)
            return Contribution(at.value, at.gradient[:-1], at.hessian[:-1, :-1])

        found = _converged(maximise(evaluate, self.beta, max_step=_longest(self.beta)))
        self.beta = found.theta
        return found.contribution.value, float(self.evaluate(self.beta, tau).gradient[-1])

    def at_coefficient(self, value: float) -> tuple[float, float]:
        """Return the maximum with the last coefficient held, and its derivative in it."""
        candidates = []
        if not self.tau_is_free:
            self.beta = self._over_others(self._ahead(self.beta, value), self.tau)
            candidates.append(self.evaluate(self.beta, self.tau))
        else:
            zero = None
            if not self.always_inside:
                self.beta_at_zero = self._over_others(self._ahead(self.beta_at_zero, value), 0.0)
                there, zero = self.objective.without(self.rotation.T @ self.beta_at_zero)
                if zero.slope <= 0.0:
                    candidates.append(there.transformed(self.jacobian))
            inside = self._over_others_and_tau(value, zero)
            if inside is not None:
                candidates.append(inside)
        best = max(candidates, key=lambda at: at.value)
        return best.value, float(best.gradient[-2])

    def _ahead(self, beta: Array, value: float) -> Array:
        """Follow the line from the estimate through the last maximum to the value held."""
        gone = beta[-1] - self.estimate[-1]
        if gone == 0.0:
            return np.append(beta[:-1], value)
        line = self.estimate + (beta - self.estimate) * (value - self.estimate[-1]) / gone
        return np.append(line[:-1], value)

    def evaluate(self, beta: Array, tau: float) -> Contribution:
        """Evaluate at the coefficients of the searches."""
        coefficients = self.rotation.T @ beta
        if tau == 0.0:
            there = self.objective.without(coefficients)[0]
        else:
            there = self.objective.at(coefficients, tau)
        return there.transformed(self.jacobian)

    def _over_others(self, start: Array, tau: float) -> Array:
        """Maximise over all coefficients but the last, at a fixed tau."""
        value = start[-1]
        if len(start) == 1:
            return start

        def evaluate(others: Array) -> Contribution:
            at = self.evaluate(np.append(others, value), tau)
            return Contribution(at.value, at.gradient[:-2], at.hessian[:-2, :-2])

        found = maximise(evaluate, start[:-1], max_step=_longest(start)[:-1])
        return np.append(_converged(found).theta, value)

    def _over_others_and_tau(
        self, value: float, zero: WithoutRandomIntercepts | None
    ) -> Contribution | None:
        """Maximise over all parameters but the last coefficient; None where that leads to zero."""
        start = self._ahead(self.beta, value)
        p = len(start)
        free = np.append(np.arange(p - 1), p)

        def full(theta: Array) -> Contribution:
            return self.evaluate(np.append(theta[:-1], value), float(np.exp(theta[-1])))

        def evaluate(theta: Array) -> Contribution:
            at = full(theta)
            return Contribution(at.value, at.gradient[free], at.hessian[np.ix_(free, free)])

        falls_at_zero = zero is not None and zero.slope <= 0.0
        information = 0.0 if zero is None else float(np.max(zero.information))

        def stop(theta: Array, at: Contribution) -> str | None:
            if theta[-1] > LARGEST_LOG_TAU:
                return "infinity"
            variance = float(np.exp(2.0 * theta[-1])) * information
            falls = falls_at_zero and at.gradient[-1] < 0.0
            return "zero" if falls and variance < NEGLIGIBLE_VARIANCE else None

        tau = self.tau if self.tau > 0.0 else 0.5
        found = maximise(
            evaluate,
            np.append(start[:-1], np.log(tau)),
            max_step=np.append(_longest(start)[:-1], MAX_STEP_LOG_TAU),
            stop=stop,
        )
        if found.message == "zero":
            return None
        if found.message != "infinity":
            _converged(found)
        self.beta = np.append(found.theta[:-1], value)
        self.tau = float(np.exp(found.theta[-1]))
        return full(found.theta)


def _longest(start: Array) -> Array:
    """Return the longest step of each coefficient.

    Far out, where every probability is 0 or 1 to rounding, Newton's step has any length.
    """
    return np.full(len(start), LONGEST_STEP + 0.2 * float(np.max(np.abs(start))))


def _converged(found: Maximum) -> Maximum:
    if not found.converged:
        raise ArithmeticError(
            "the profile likelihood could not be followed: an inner search ended with "
            f"{found.message!r}; use method='wald'"
        )
    return found


def _solve(profile: Profile, cut: float, first: float, furthest: float, tolerance: float) -> float:
    r"""Distance at which :math:`r = \sqrt{2 \, \mathrm{fall}}` reaches the cut, or infinity.

    `profile` maps a distance to how far the profile has fallen, and to the derivative of that.
    """
    low, high = 0.0, np.inf
    at = min(first, furthest)
    for _ in range(MAX_ROOT_STEPS):
        fall, slope = profile(at)
        if fall < -HIGHER:
            raise ArithmeticError(
                "a profile found a higher likelihood than that of the fit, which is not its "
                "maximum; fit again with more nodes, or use method='wald'"
            )
        root = np.sqrt(2.0 * max(fall, 0.0))
        if root < cut:
            if at >= furthest:
                return np.inf
            low = at
        else:
            high = at
        # dr/dv = fall' / r
        step = (cut - root) * root / slope if slope > 0.0 and root > 0.0 else np.inf
        if abs(step) <= tolerance * at:
            return at
        new = at + step
        if np.isfinite(high):
            if high - low <= tolerance * high:
                if abs(root - cut) > JUMP * cut:
                    raise ArithmeticError(
                        "a profile jumps over the cut, as the approximate likelihood has several "
                        "maxima; fit again with more nodes, or use method='wald'"
                    )
                return at
            if not low < new < high:
                new = 0.5 * (low + high)
        elif not new > at:
            new = np.inf
        at = float(min(new, 3.0 * at, furthest))
    raise ArithmeticError(
        f"the end of a profile interval was not found in {MAX_ROOT_STEPS} steps; use method='wald'"
    )


# Likelihood-ratio tests ------------------------------------------------------------------------


@dataclass(frozen=True)
class LikelihoodRatioTest:
    r"""A likelihood-ratio test of one model within another.

    Where the smaller model has tau = 0, which is the end of its range, and the larger one estimates
    it, the statistic's distribution under the smaller model is, for many groups,
    :math:`\tfrac12\chi^2_k + \tfrac12\chi^2_{k+1}`, with k the number of coefficients by which they
    differ and :math:`\chi^2_0 = 0` (Self and Liang 1987, cases 5 and 6). Otherwise it is
    :math:`\chi^2_k`, if tau is above zero where both estimate it. With few groups neither is
    accurate.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df : int
        Number of parameters by which the models differ, a tau that the smaller one has at zero
        included.
    pvalue : float
        Probability, under the smaller model, of a statistic at least as large.
    mixture : bool
        Whether the distribution is the mixture.
    table : DataFrame
        The two models: a row each, the smaller first, with the number of parameters and the
        log-likelihood.

    References
    ----------
    Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and
    likelihood ratio tests under nonstandard conditions. Journal of the American Statistical
    Association 82, 605-610. doi:10.1080/01621459.1987.10478472
    """

    statistic: float
    df: int
    pvalue: float
    mixture: bool
    table: pd.DataFrame

    @property
    def distribution(self) -> str:
        """The distribution under the smaller model, in words."""
        if self.mixture:
            return f"1/2 chi2({self.df - 1}) + 1/2 chi2({self.df})"
        return f"chi2({self.df})"

    def describe(self) -> str:
        """Return the test in one line."""
        p = "p < 0.0001" if self.pvalue < 1e-4 else f"p = {self.pvalue:.4f}"
        return f"chi2 = {self.statistic:.4f}, {p}, by {self.distribution}"

    def _formatted(self) -> pd.DataFrame:
        shown = self.table.copy()
        shown["log-likelihood"] = [f"{value:.4f}" for value in shown["log-likelihood"]]
        return shown

    def __str__(self) -> str:
        return f"Likelihood-ratio test: {self.describe()}\n\n{self._formatted().to_string()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>Likelihood-ratio test: {self.describe()}</p>\n{self._formatted().to_html()}"


def likelihood_ratio(
    smaller: tuple[str, int, float], larger: tuple[str, int, float], mixture: bool
) -> LikelihoodRatioTest:
    """Return the test, from name, number of parameters and log-likelihood of both models.

    Raises
    ------
    ValueError
        If the larger model has the lower log-likelihood: then it is not at its maximum.
    """
    statistic = 2.0 * (larger[2] - smaller[2])
    if statistic < -HIGHER:
        raise ValueError(
            f"the larger model has a log-likelihood of {larger[2]:.6f}, below that of the smaller, "
            f"{smaller[2]:.6f}: it is not at its maximum; fit it again with more nodes"
        )
    statistic = max(statistic, 0.0)
    df = larger[1] - smaller[1]
    tail = _tail(statistic, df)
    pvalue = 0.5 * (_tail(statistic, df - 1) + tail) if mixture else tail
    table = pd.DataFrame(
        {
            "parameters": [smaller[1], larger[1]],
            "log-likelihood": [smaller[2], larger[2]],
        },
        index=pd.Index([smaller[0], larger[0]], name="model"),
    )
    return LikelihoodRatioTest(statistic, df, pvalue, mixture, table)


def _tail(statistic: float, df: int) -> float:
    """Probability that chi-squared is at least this; with no degrees of freedom it is 0."""
    if df == 0:
        return float(statistic <= 0.0)
    return float(chdtrc(df, statistic))


def against_zero(fit: Fit, objective: Objective) -> LikelihoodRatioTest:
    """Test tau = 0 by the maximum of the model without random intercepts."""
    if not fit.tau_is_free:
        raise ValueError(
            f"tau was fixed at {fit.tau:g}; the test of tau = 0 needs a fit that estimates it"
        )
    _refuse(fit)
    p = fit.data.p
    if fit.boundary:
        llf = fit.llf
    else:
        inner = _Inner(fit, objective, np.eye(p))
        llf = inner.at_tau(0.0)[0]
    return likelihood_ratio(("tau = 0", p, llf), ("tau estimated", p + 1, fit.llf), mixture=True)


def compare(first: Fit, second: Any) -> LikelihoodRatioTest:
    """Test the smaller of two models within the larger."""
    from laplace.fit import Fit

    if not isinstance(second, Fit):
        raise TypeError(f"other must be a Fit, got {type(second).__name__}")
    for fit in (first, second):
        _refuse(fit)
    _same_rows(first.data, second.data)
    if first.nodes != second.nodes and first.tau > 0.0 and second.tau > 0.0:
        raise ValueError(
            f"the fits have {first.nodes} and {second.nodes} nodes: their log-likelihoods differ "
            "by the error of the approximation, too; fit both with the same nodes"
        )
    smaller, larger = sorted((first, second), key=lambda fit: (fit.data.p, fit.tau_is_free))
    _nested(smaller, larger)
    mixture = larger.tau_is_free and not smaller.tau_is_free and smaller.tau == 0.0
    names = [_name(smaller), _name(larger)]
    return likelihood_ratio(
        (names[0], smaller.df_model, smaller.llf), (names[1], larger.df_model, larger.llf), mixture
    )


def _name(fit: Fit) -> str:
    """Name a model by its columns and its tau."""
    columns = " + ".join(fit.data.names)
    if len(columns) > 40:
        columns = f"{fit.data.p} columns"
    return f"{columns}, tau " + ("estimated" if fit.tau_is_free else f"= {fit.tau:g}")


def _refuse(fit: Fit) -> None:
    """Refuse a fit that is not at a maximum of its log-likelihood."""
    if not fit.converged:
        raise ValueError(
            f"a fit did not converge, so that it is at no maximum to compare: {fit.message}"
        )
    if fit.penalty is not None:
        raise ValueError(
            f"a fit has penalty={fit.penalty!r}: its log-likelihood is not a maximum, and has no "
            "chi-squared distribution; compare fits without a penalty"
        )


def _same_rows(one: GroupedData, two: GroupedData) -> None:
    """Refuse fits of different rows, in the order in which they were given."""
    if one.n != two.n:
        raise ValueError(f"the fits are of different data: {one.n} and {two.n} rows")
    if one.family.name != two.family.name:
        raise ValueError(
            f"the fits have different families: {one.family.name!r} and {two.family.name!r}"
        )
    for name, first, second in (
        ("y", one.y, two.y),
        ("offset", one.offset, two.offset),
        ("trials", one.family.largest(one.y), two.family.largest(two.y)),
    ):
        if not np.array_equal(_as_given(one, first), _as_given(two, second)):
            raise ValueError(f"the fits are of different data: {name} differs")
    # labels may differ, but not which rows share one
    first_groups, _ = pd.factorize(_as_given(one, one.codes))
    second_groups, _ = pd.factorize(_as_given(two, two.codes))
    if not np.array_equal(first_groups, second_groups):
        raise ValueError("the fits are of different data: groups differs")


def _as_given(data: GroupedData, rows: NDArray[Any]) -> NDArray[Any]:
    """Return what there is for each row in the user's order."""
    result = np.empty_like(rows)
    result[data.order] = rows
    return result


def _nested(smaller: Fit, larger: Fit) -> None:
    """Refuse models of which neither contains the other."""
    free = larger.tau_is_free
    if smaller.tau_is_free and not free:
        raise ValueError(
            "the models are not nested: that with fewer columns of X estimates tau, and the other "
            f"has it fixed at {larger.tau:g}"
        )
    if not free and smaller.tau != larger.tau:
        raise ValueError(
            f"the models are not nested: tau is fixed at {smaller.tau:g} and {larger.tau:g}"
        )
    small, large = (
        _as_given(fit.data, fit.data.X / fit.data.column_scale) for fit in (smaller, larger)
    )
    q, _ = np.linalg.qr(large)
    outside = np.sqrt(np.mean((small - q @ (q.T @ small)) ** 2, axis=0))
    if np.any(outside > SPAN_TOLERANCE):
        column = smaller.data.names[int(np.argmax(outside))]
        raise ValueError(
            f"the models are not nested: column {column!r} of the smaller is no combination of "
            f"the columns of the larger, {larger.data.names}"
        )
    if smaller.data.p == larger.data.p and smaller.tau_is_free == free:
        raise ValueError(
            "the models are the same: their columns of X span the same space, and tau is "
            f"{'estimated' if free else 'fixed'} in both"
        )
