r"""The marginal log-likelihood of grouped data, with its exact gradient and Hessian.

The parameter is :math:`\theta = (\beta, \log\tau)`. All groups are computed at once. The p x p
matrices of `laplace.derivatives` are never formed for a group: in the Hessian each of them has a
scalar weight, so that a single cross-product of the rows, with a combined weight a row, sums them
all. What remains for a group is a product of two vectors.

Symbols, for a group with mode :math:`\hat\mu`: ``s_r`` is :math:`\sum_j b^{(r)}_j`, ``a_r`` is
:math:`\sum_j b^{(r)}_j x_j` (b differentiated r times, at the mode), and
``D`` is :math:`-g_{\mu\mu} = s_2 + 1/\tau^2 = \hat\omega^{-2}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from laplace.families import Array
from laplace.grouped import GroupedData, coefficients, flag, standard_deviation
from laplace.quadrature import check_nodes, gauss_hermite

SQRT_2 = np.sqrt(2.0)
MODE_ITERATIONS = 200
MODE_STEP_TOLERANCE = 1e-9
# ... relative to the mode, but no more than to this: far above a mode, a Poisson mean is so steep
# that Newton's steps are all of size one.
MODE_SIZE = 1e3
# Most modes take four to six steps; only those that are left pay for the test of rounding.
MODE_ITERATIONS_WITHOUT_TEST = 12
MODE_ROUNDING = 8.0 * np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Contribution:
    r"""What one or more groups contribute to the log-likelihood. Contributions add.

    Attributes
    ----------
    value : float
        Log-likelihood, with all constants.
    gradient : ndarray of shape (p + 1,)
        Derivative in :math:`\theta = (\beta, \log\tau)`.
    hessian : ndarray of shape (p + 1, p + 1)
        Second derivative; symmetric.
    """

    value: float
    gradient: Array
    hessian: Array

    def __add__(self, other: Contribution) -> Contribution:
        """Add the contribution of other groups."""
        if not isinstance(other, Contribution):
            return NotImplemented
        if self.gradient.shape != other.gradient.shape:
            raise ValueError(
                f"contributions of {len(self.gradient)} and {len(other.gradient)} parameters "
                "cannot be added: the groups must share the columns of X"
            )
        return Contribution(
            self.value + other.value,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )

    def __radd__(self, other: object) -> Contribution:
        """Let sum() start from 0."""
        return self if other == 0 else NotImplemented


def loglik(
    y: Any,
    X: Any,
    groups: Any,
    beta: Any,
    tau: Any,
    *,
    family: str = "bernoulli",
    trials: Any = None,
    offset: Any = None,
    nodes: int = 1,
    adaptive: bool = True,
) -> Contribution:
    r"""Marginal log-likelihood of a regression with random intercepts at given parameters.

    Parameters
    ----------
    y : array_like of shape (n,)
        Outcomes: 0 or 1, numbers of successes, or counts, as `family` says.
    X : array_like of shape (n, p)
        Covariates, used as given: no intercept is added.
    groups : array_like of shape (n,)
        Group labels: rows with the same label share one random intercept.
    beta : array_like of shape (p,)
        Coefficients. A labelled Series goes by its labels where X is a DataFrame.
    tau : float
        Standard deviation of the random intercepts: 0, or from 1e-8 to 1e6. At 0 the likelihood is
        that of logistic regression, and the derivatives in :math:`\log\tau` are zero.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes, with the canonical link (logit, logit, log).
    trials : int or array_like of shape (n,), optional
        Numbers of trials of binomial outcomes.
    offset : array_like of shape (n,), optional
        Added to the linear predictor.
    nodes : int
        1 is the Laplace approximation, K the Gauss-Hermite rule with K nodes.
    adaptive : bool
        False is the ordinary Gauss-Hermite rule, centred at zero with scale `tau`.

    Returns
    -------
    Contribution
        Value, gradient and Hessian, with respect to :math:`(\beta, \log\tau)`. All constants are
        kept, so values with different numbers of nodes are comparable.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.

    References
    ----------
    Liu, Q. and Pierce, D. A. (1994). A note on Gauss-Hermite quadrature. Biometrika 81, 624-629.

    Examples
    --------
    >>> import numpy as np, laplace
    >>> y, groups = [0, 1, 1, 1, 0, 0], ["a", "a", "a", "b", "b", "b"]
    >>> part = laplace.loglik(y, np.ones((6, 1)), groups, beta=[0.0], tau=1.0)
    >>> round(part.value, 6), part.gradient.shape, part.hessian.shape
    (-4.566717, (2,), (2, 2))
    """
    data = GroupedData.from_arrays(y, X, groups, family=family, trials=trials, offset=offset)
    beta = coefficients(beta, data.names, named_columns=isinstance(X, pd.DataFrame))
    tau = standard_deviation("tau", tau)
    return Likelihood(data, check_nodes(nodes), flag("adaptive", adaptive)).at(beta, tau)


class Likelihood:
    """The log-likelihood of some rows as a function of its parameters.

    It carries the modes from one evaluation to the next, as their starting values: that changes
    the time an evaluation takes, and its result by rounding only.

    Parameters
    ----------
    data : GroupedData
        The rows.
    nodes : int
        Number of quadrature nodes; 1 is the Laplace approximation.
    adaptive : bool
        Whether the nodes follow the mode of each group.
    """

    def __init__(self, data: GroupedData, nodes: int = 1, adaptive: bool = True) -> None:
        self.data = data
        self.nodes = nodes
        self.adaptive = adaptive
        self._modes = np.zeros(data.m)

    def __call__(self, theta: Array) -> Contribution:
        r"""Evaluate at :math:`\theta = (\beta, \log\tau)`."""
        return self.at(theta[:-1], float(np.exp(theta[-1])))

    def at(self, beta: Array, tau: float) -> Contribution:
        """Evaluate at coefficients and a standard deviation."""
        if tau == 0.0:
            return without_random_intercepts(self.data, beta)
        if not self.adaptive:
            return _ordinary(self.data, beta, tau, self.nodes)
        at_mode = self.at_mode(beta, tau)
        return _laplace(at_mode) if self.nodes == 1 else _adaptive(at_mode, self.nodes)

    def at_mode(self, beta: Array, tau: float) -> AtMode:
        """Find the mode of every group, and what the formulas need there."""
        eta = self.data.X @ beta + self.data.offset
        self._modes = modes(self.data, eta, tau, self._modes)
        return AtMode(self.data, eta, tau, self._modes)


def modes(data: GroupedData, eta: Array, tau: float, start: Array) -> Array:
    r"""Mode of the integrand of every group, by Newton's method inside a bracket; shape (m,).

    :math:`g_\mu` falls strictly in :math:`\mu`, so its sign says on which side the mode lies. A
    Newton step that leaves the bracket, or is not half the step before, gives way to the bracket's
    middle: Newton's method alone can cycle. Where g_u is so flat that rounding hides the mode, a
    point where it is zero to rounding is taken, or the bracket's end when it has closed.
    """
    upper = tau**2 * data.sum_by_group(data.y)  # as the mean of y is positive
    # ... and below sum_j m_j exp(eta_j + mu): further down than this, g_mu is positive
    log_mass = np.logaddexp.reduceat(data.family.log_mean_bound(eta), data.starts)
    lower = -(np.maximum(1.0, log_mass + 2.0 * np.log(tau)) + 1.0)
    u = np.clip(start, lower, upper)
    last = upper - lower
    family = data.family
    for iteration in range(MODE_ITERATIONS):
        at_row = eta + u[data.codes]
        with np.errstate(over="ignore"):  # far above the mode, a Poisson mean may be infinite
            residual = family.residual(data.y, at_row)
            g_u = data.sum_by_group(residual) - u / tau**2
            g_uu = -data.sum_by_group(family.b_2(at_row)) - 1.0 / tau**2
        lower = np.where(g_u > 0.0, u, lower)
        upper = np.where(g_u < 0.0, u, upper)
        with np.errstate(invalid="ignore"):
            new = u - g_u / g_uu
        # Newton's error is squared by a step: after one this small, it is at rounding
        small = np.abs(new - u) <= MODE_STEP_TOLERANCE * (1.0 + np.minimum(np.abs(u), MODE_SIZE))
        if np.all(small):
            return np.asarray(new)
        if iteration >= MODE_ITERATIONS_WITHOUT_TEST:
            terms = data.sum_by_group(np.abs(residual)) + np.abs(u) / tau**2
            at_rounding = np.isfinite(g_u) & (np.abs(g_u) <= MODE_ROUNDING * terms)
            closed = upper - lower <= MODE_ROUNDING * np.abs(u)
            if np.all(small | at_rounding | closed):
                return np.asarray(np.where(small, new, u))
            small = small | at_rounding | closed
            new = np.where(at_rounding | closed, u, new)
        good = (new > lower) & (new < upper) & (np.abs(new - u) <= 0.5 * last)
        new = np.where(good | small, new, 0.5 * (lower + upper))
        last = np.abs(new - u)
        u = new
    raise ArithmeticError(
        f"the modes of {int(np.sum(~small))} groups were not found in {MODE_ITERATIONS} steps at "
        f"tau={tau:g}; rescale X if its values are extreme"
    )


class AtMode:
    r"""Sums over the rows of each group, at its mode, and the mode's derivatives in theta.

    Arrays of shape (m,) hold a number a group; arrays of shape (m, p + 1) a vector a group, whose
    last entry belongs to :math:`\log\tau`.
    """

    def __init__(self, data: GroupedData, eta: Array, tau: float, u: Array) -> None:
        self.data = data
        self.eta = eta  # the linear predictor without the random intercept; shape (n,)
        self.tau = tau
        self.u = u
        self.at_row = eta + u[data.codes]

    # the derivatives of b at the mode, a number a row

    @cached_property
    def b_2(self) -> Array:
        return self.data.family.b_2(self.at_row)

    @cached_property
    def b_3(self) -> Array:
        return self.data.family.b_3(self.at_row)

    @cached_property
    def b_4(self) -> Array:
        return self.data.family.b_4(self.at_row)

    @cached_property
    def s_2(self) -> Array:
        return self.data.sum_by_group(self.b_2)

    @cached_property
    def D(self) -> Array:  # noqa: N802
        return self.s_2 + self.tau**-2

    @cached_property
    def omega(self) -> Array:
        return np.asarray(self.D**-0.5)

    @cached_property
    def g_uuu(self) -> Array:
        return -self.data.sum_by_group(self.b_3)

    @cached_property
    def g_uuuu(self) -> Array:
        return -self.data.sum_by_group(self.b_4)

    # with respect to theta = (beta, log tau): the Gaussian term alone depends on log tau

    @cached_property
    def g_u_theta(self) -> Array:
        return _with_tau(-self._a(self.b_2), 2.0 * self.u / self.tau**2)

    @cached_property
    def g_uu_theta(self) -> Array:
        return _with_tau(-self._a(self.b_3), np.full(self.data.m, 2.0 / self.tau**2))

    @cached_property
    def g_uuu_theta(self) -> Array:
        return _with_tau(-self._a(self.b_4), np.zeros(self.data.m))

    @cached_property
    def mu_theta(self) -> Array:
        r""":math:`\hat\mu_\theta = \hat\omega^2 g_{\mu\theta}`."""
        return self.g_u_theta / self.D[:, None]

    @cached_property
    def D_theta(self) -> Array:  # noqa: N802
        r""":math:`D_\theta = -(g_{\mu\mu\mu}\hat\mu_\theta + g_{\mu\mu\theta})`, the total one."""
        return -(self.g_uuu[:, None] * self.mu_theta + self.g_uu_theta)

    def _a(self, weight: Array) -> Array:
        return self.data.sum_by_group(weight[:, None] * self.data.X)


class _Hessian:
    r"""A Hessian being summed: row weights for :math:`x_j x_j'`, and everything else.

    Parameters
    ----------
    data : GroupedData
        The rows.
    """

    def __init__(self, data: GroupedData) -> None:
        self.data = data
        self.row_weight = np.zeros(data.n)
        self.matrix = np.zeros((data.p + 1, data.p + 1))

    def add_outer(self, weight: Array, left: Array, right: Array | None = None) -> None:
        """Add the sum over groups of weight times left right', made symmetric."""
        if right is None:
            self.matrix += (weight[:, None] * left).T @ left
        else:
            half = (weight[:, None] * left).T @ right
            self.matrix += half + half.T

    def add_tau(self, value: float) -> None:
        r"""Add to the entry of :math:`(\log\tau, \log\tau)`."""
        self.matrix[-1, -1] += value

    def add_mode(self, weight: Array, at: AtMode) -> None:
        r"""Add the sum over groups of weight times :math:`\hat\mu_{\theta\theta'}`.

        :math:`D\,\hat\mu_{\theta\theta'} = g_{\mu\mu\mu}\hat\mu_\theta\hat\mu_{\theta'} +
        \hat\mu_\theta g_{\mu\mu\theta'} + g_{\mu\mu\theta}\hat\mu_{\theta'} +
        g_{\mu\theta\theta'}`
        """
        weight = weight / at.D
        self.row_weight -= weight[self.data.codes] * at.b_3
        self.add_outer(weight * at.g_uuu, at.mu_theta)
        self.add_outer(weight, at.mu_theta, at.g_uu_theta)
        self.add_tau(float(np.sum(weight * -4.0 * at.u)) / at.tau**2)

    def add_D(self, weight: Array, at: AtMode) -> None:  # noqa: N802
        r"""Add the sum over groups of weight times :math:`D_{\theta\theta'}`.

        :math:`-D_{\theta\theta'} = g_{\mu\mu\mu}\hat\mu_{\theta\theta'} +
        g_{\mu\mu\mu\mu}\hat\mu_\theta\hat\mu_{\theta'} + \hat\mu_\theta g_{\mu\mu\mu\theta'} +
        g_{\mu\mu\mu\theta}\hat\mu_{\theta'} + g_{\mu\mu\theta\theta'}`
        """
        self.row_weight += weight[self.data.codes] * at.b_4
        self.add_outer(-weight * at.g_uuuu, at.mu_theta)
        self.add_outer(-weight, at.mu_theta, at.g_uuu_theta)
        self.add_tau(4.0 * float(np.sum(weight)) / at.tau**2)
        self.add_mode(-weight * at.g_uuu, at)

    def total(self) -> Array:
        """Return the sum, of shape (p + 1, p + 1)."""
        X = self.data.X
        result = self.matrix.copy()
        result[:-1, :-1] += X.T @ (self.row_weight[:, None] * X)
        return 0.5 * (result + result.T)


def without_random_intercepts(data: GroupedData, beta: Array) -> Contribution:
    """Evaluate the model without them: the limit of the likelihood as tau falls to zero."""
    eta = data.X @ beta + data.offset
    hessian = _Hessian(data)
    hessian.row_weight = -data.family.b_2(eta)
    return Contribution(
        float(np.sum(data.family.log_density(data.y, eta))),
        np.append(data.X.T @ data.family.residual(data.y, eta), 0.0),
        hessian.total(),
    )


def slope_in_variance(data: GroupedData, beta: Array) -> float:
    r"""Return the derivative of the log-likelihood in :math:`\tau^2` at :math:`\tau = 0`.

    .. math:: \tfrac12 \sum_i \Big[\Big(\sum_j (y_{ij} - b'_{ij})\Big)^2 - \sum_j b''_{ij}\Big]

    It is the same for the exact likelihood and for every adaptive rule, Laplace's included. At the
    coefficients of logistic regression it is the score of the test of no random intercepts.
    """
    eta = data.X @ beta + data.offset
    score = data.sum_by_group(data.family.residual(data.y, eta))
    return 0.5 * float(np.sum(score**2) - np.sum(data.family.b_2(eta)))


def _laplace(at: AtMode) -> Contribution:
    data, tau, u = at.data, at.tau, at.u
    residual = data.family.residual(data.y, at.at_row)
    # log(sqrt(2 pi) omega) + g with the constants cancelled, which stays exact as tau falls
    value = (
        np.sum(data.family.log_density(data.y, at.at_row))
        - 0.5 * np.sum((u / tau) ** 2)
        - 0.5 * np.sum(np.log1p(tau**2 * at.s_2))
    )
    in_beta = data.X.T @ residual - 0.5 * np.sum(at.D_theta[:, :-1] / at.D[:, None], axis=0)
    # the -1 of g_tau and the 1 of -D_tau / 2D are cancelled by hand, too
    in_tau = np.sum((u / tau) ** 2 - at.s_2 / at.D + 0.5 * at.g_uuu * at.mu_theta[:, -1] / at.D)

    hessian = _Hessian(data)
    hessian.row_weight -= at.b_2
    hessian.add_tau(-2.0 * float(np.sum((u / tau) ** 2)))
    hessian.add_outer(1.0 / at.D, at.g_u_theta)
    hessian.add_outer(0.5 / at.D**2, at.D_theta)
    hessian.add_D(-0.5 / at.D, at)
    return Contribution(float(value), np.append(in_beta, in_tau), hessian.total())


def _adaptive(at: AtMode, nodes: int) -> Contribution:
    r"""Adaptive rule; its nodes :math:`\hat\mu + \sqrt2\,\hat\omega z_k` move with theta."""
    data, tau = at.data, at.tau
    z, log_w = gauss_hermite(nodes)
    u = at.u[:, None] + SQRT_2 * at.omega[:, None] * z
    log_normal = -0.5 * (u / tau) ** 2 - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
    terms = log_w + z**2 + log_normal
    for k in range(nodes):
        terms[:, k] += data.sum_by_group(data.family.log_density(data.y, at.eta + u[data.codes, k]))
    log_sum = np.asarray(logsumexp(terms, axis=1))
    value = float(np.sum(np.log(SQRT_2 * at.omega) + log_sum))
    weights = np.exp(terms - log_sum[:, None])

    omega_theta = -0.5 * at.omega[:, None] ** 3 * at.D_theta
    hessian = _Hessian(data)
    mean = np.zeros((data.m, data.p + 1))
    along_mode, along_omega = np.zeros(data.m), np.zeros(data.m)
    for k in range(nodes):
        u_k, weight = u[:, k], weights[:, k]
        node = _Node(data, at.eta, u_k)
        g_u = node.score - u_k / tau**2
        g_uu = -node.s_2 - tau**-2
        g_theta = _with_tau(node.g_b, (u_k / tau) ** 2 - 1.0)
        g_u_theta = _with_tau(-node.a_2, 2.0 * u_k / tau**2)
        u_theta = at.mu_theta + SQRT_2 * z[k] * omega_theta
        term_theta = g_theta + g_u[:, None] * u_theta
        mean += weight[:, None] * term_theta
        hessian.row_weight -= weight[data.codes] * node.b_2
        hessian.add_tau(-2.0 * float(np.sum(weight * (u_k / tau) ** 2)))
        hessian.add_outer(weight, g_u_theta, u_theta)
        hessian.add_outer(weight * g_uu, u_theta)
        hessian.add_outer(weight, term_theta)
        along_mode += weight * g_u
        along_omega += SQRT_2 * z[k] * weight * g_u
    hessian.add_outer(-np.ones(data.m), mean)
    # log omega, and the second derivatives of the nodes: all that is left are sums of
    # the second derivatives of mu and D with a weight a group
    hessian.add_mode(along_mode, at)
    hessian.add_D(-0.5 / at.D - 0.5 * along_omega * at.omega**3, at)
    hessian.add_outer(0.5 / at.D**2 + 0.75 * along_omega * at.omega**5, at.D_theta)
    gradient = np.sum(mean - 0.5 * at.D_theta / at.D[:, None], axis=0)
    return Contribution(value, gradient, hessian.total())


def _ordinary(data: GroupedData, beta: Array, tau: float, nodes: int) -> Contribution:
    r"""Ordinary rule: nodes :math:`u_k = \sqrt2\,\tau z_k`, the same for every group."""
    z, log_w = gauss_hermite(nodes)
    u = SQRT_2 * tau * z
    eta = data.X @ beta + data.offset
    terms = np.tile(log_w - 0.5 * np.log(np.pi), (data.m, 1))
    for k in range(nodes):
        terms[:, k] += data.sum_by_group(data.family.log_density(data.y, eta + u[k]))
    log_sum = np.asarray(logsumexp(terms, axis=1))
    weights = np.exp(terms - log_sum[:, None])

    hessian = _Hessian(data)
    mean = np.zeros((data.m, data.p + 1))
    for k in range(nodes):
        weight = weights[:, k]
        node = _Node(data, eta, np.full(data.m, u[k]))
        term_theta = _with_tau(node.g_b, node.score * u[k])  # the node moves by u_k with log tau
        mean += weight[:, None] * term_theta
        hessian.row_weight -= weight[data.codes] * node.b_2
        hessian.add_outer(weight, term_theta)
        hessian.add_tau(float(np.sum(weight * (node.score * u[k] - node.s_2 * u[k] ** 2))))
        cross = -u[k] * weight @ node.a_2
        hessian.matrix[:-1, -1] += cross
        hessian.matrix[-1, :-1] += cross
    hessian.add_outer(-np.ones(data.m), mean)
    return Contribution(float(np.sum(log_sum)), mean.sum(axis=0), hessian.total())


class _Node:
    """Sums over the rows of each group at one quadrature node."""

    def __init__(self, data: GroupedData, eta: Array, u: Array) -> None:
        at_row = eta + u[data.codes]
        residual = data.family.residual(data.y, at_row)
        self.b_2 = data.family.b_2(at_row)
        self.score = data.sum_by_group(residual)
        self.s_2 = data.sum_by_group(self.b_2)
        self.g_b = data.sum_by_group(residual[:, None] * data.X)
        self.a_2 = data.sum_by_group(self.b_2[:, None] * data.X)


def _with_tau(in_beta: Array, in_tau: Array) -> Array:
    r"""Append the entry of :math:`\log\tau`; shape (m, p + 1)."""
    return np.column_stack([in_beta, in_tau])


Evaluate = Callable[[Array], Contribution]
