r"""The textbook: each formula of the Laplace approximation as one function, for one group.

The rows of a group are `x`, of shape (n, p), and `y`, of shape (n,), zeros and ones. With
:math:`\eta_j = x_j'\beta + \mu` and the cumulant function :math:`b(\eta) = \log(1 + e^\eta)`,
whose first derivative is :math:`\pi`, the log of the integrand is

.. math:: g(\mu; \beta, \tau) = \sum_j [y_j \eta_j - b(\eta_j)]
          - \frac{\mu^2}{2\tau^2} - \log(\tau\sqrt{2\pi}).

A subscript is a partial derivative: `u` in the random intercept :math:`\mu`, `b` in
:math:`\beta`. The functions of ``(x, y, u, beta, tau)`` hold :math:`\mu = u` fixed; the functions
of ``(x, y, beta, tau)`` are evaluated at the mode :math:`\hat\mu(\beta, \tau)`, and their
derivatives in :math:`\beta` are total: the mode moves along.

These functions are written to be read. `laplace.likelihood` computes the same for all groups at
once.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from laplace.families import BERNOULLI as FAMILY
from laplace.families import Array

__all__ = [
    "g",
    "g_b",
    "g_bb",
    "g_u",
    "g_ub",
    "g_ubb",
    "g_uu",
    "g_uub",
    "g_uubb",
    "g_uuu",
    "g_uuub",
    "g_uuuu",
    "l",
    "l_1",
    "l_2",
    "mode",
    "mu_b",
    "mu_bb",
    "omega",
    "omega_b",
    "omega_bb",
]


# The log of the integrand and its partial derivatives ------------------------------------------


def g(x: Array, y: Array, u: float, beta: Array, tau: float) -> float:
    r"""Log of the integrand, :math:`g`, with all constants; shape ()."""
    log_normal = -0.5 * (u / tau) ** 2 - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
    return float(np.sum(FAMILY.log_density(y, x @ beta + u)) + log_normal)


def g_b(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_\beta = \sum_j (y_j - b'_j) x_j`; shape (p,)."""
    return np.asarray(x.T @ FAMILY.residual(y, x @ beta + u))


def g_u(x: Array, y: Array, u: float, beta: Array, tau: float) -> float:
    r""":math:`g_\mu = \sum_j (y_j - b'_j) - \mu/\tau^2`; shape ()."""
    return float(np.sum(FAMILY.residual(y, x @ beta + u)) - u / tau**2)


def g_uu(x: Array, y: Array, u: float, beta: Array, tau: float) -> float:
    r""":math:`g_{\mu\mu} = -\sum_j b''_j - 1/\tau^2`; shape ()."""
    return float(-np.sum(FAMILY.b_2(x @ beta + u)) - 1.0 / tau**2)


def g_ub(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\mu\beta} = -\sum_j b''_j x_j`; shape (p,)."""
    return np.asarray(-x.T @ FAMILY.b_2(x @ beta + u))


def g_bb(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\beta\beta'} = -\sum_j b''_j x_j x_j'`; shape (p, p)."""
    return _weighted_cross_product(x, -FAMILY.b_2(x @ beta + u))


def g_uuu(x: Array, y: Array, u: float, beta: Array, tau: float) -> float:
    r""":math:`g_{\mu\mu\mu} = -\sum_j b'''_j`; shape ()."""
    return float(-np.sum(FAMILY.b_3(x @ beta + u)))


def g_uub(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\mu\mu\beta} = -\sum_j b'''_j x_j`; shape (p,)."""
    return np.asarray(-x.T @ FAMILY.b_3(x @ beta + u))


def g_ubb(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\mu\beta\beta'} = -\sum_j b'''_j x_j x_j'`; shape (p, p)."""
    return _weighted_cross_product(x, -FAMILY.b_3(x @ beta + u))


def g_uuuu(x: Array, y: Array, u: float, beta: Array, tau: float) -> float:
    r""":math:`g_{\mu\mu\mu\mu} = -\sum_j b''''_j`; shape ()."""
    return float(-np.sum(FAMILY.b_4(x @ beta + u)))


def g_uuub(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\mu\mu\mu\beta} = -\sum_j b''''_j x_j`; shape (p,)."""
    return np.asarray(-x.T @ FAMILY.b_4(x @ beta + u))


def g_uubb(x: Array, y: Array, u: float, beta: Array, tau: float) -> Array:
    r""":math:`g_{\mu\mu\beta\beta'} = -\sum_j b''''_j x_j x_j'`; shape (p, p)."""
    return _weighted_cross_product(x, -FAMILY.b_4(x @ beta + u))


# The mode, and how it moves with beta ----------------------------------------------------------


def mode(x: Array, y: Array, beta: Array, tau: float) -> float:
    r"""Mode of the integrand, :math:`\hat\mu = \arg\max_\mu g(\mu; \beta, \tau)`; shape ().

    :math:`g_\mu` falls strictly in :math:`\mu`, and as :math:`0 < b' < 1`, its only root lies
    between :math:`-\tau^2 \sum_j (1 - y_j)` and :math:`\tau^2 \sum_j y_j`.
    """
    lower = -(tau**2) * float(np.sum(1.0 - y))
    upper = tau**2 * float(np.sum(y))
    root = brentq(lambda u: g_u(x, y, u, beta, tau), lower, upper, xtol=1e-14)
    # one Newton step takes the last digits from the bracket's width to rounding
    return float(root - g_u(x, y, root, beta, tau) / g_uu(x, y, root, beta, tau))


def mu_b(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r""":math:`\hat\mu_\beta = \hat\omega^2 g_{\mu\beta}`; shape (p,).

    From :math:`g_\mu(\hat\mu(\beta); \beta) = 0` by the implicit function theorem.
    """
    u = mode(x, y, beta, tau)
    return omega(x, y, beta, tau) ** 2 * g_ub(x, y, u, beta, tau)


def mu_bb(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r"""Second derivative of the mode; symmetric, of shape (p, p).

    .. math:: \hat\mu_{\beta\beta'} = \hat\omega^2 (\hat\mu_\beta \hat\mu_{\beta'} g_{\mu\mu\mu}
              + \hat\mu_\beta g_{\mu\mu\beta'} + g_{\mu\mu\beta} \hat\mu_{\beta'}
              + g_{\mu\beta\beta'})
    """
    u = mode(x, y, beta, tau)
    u_b = mu_b(x, y, beta, tau)
    cross = np.outer(u_b, g_uub(x, y, u, beta, tau))
    return omega(x, y, beta, tau) ** 2 * (
        np.outer(u_b, u_b) * g_uuu(x, y, u, beta, tau) + cross + cross.T + g_ubb(x, y, u, beta, tau)
    )


# The width of the integrand at its mode --------------------------------------------------------


def omega(x: Array, y: Array, beta: Array, tau: float) -> float:
    r""":math:`\hat\omega = (-g_{\mu\mu}(\hat\mu))^{-1/2}`; shape ()."""
    return float((-g_uu(x, y, mode(x, y, beta, tau), beta, tau)) ** -0.5)


def omega_b(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r""":math:`\hat\omega_\beta = \frac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_\beta +
    g_{\mu\mu\beta})`; shape (p,).
    """  # noqa: D205
    return 0.5 * omega(x, y, beta, tau) ** 3 * _g_uu_along_mode(x, y, beta, tau)


def omega_bb(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r"""Second derivative of the width; symmetric, of shape (p, p).

    .. math:: \hat\omega_{\beta\beta'} = \tfrac34 \hat\omega^5
              (g_{\mu\mu\mu}\hat\mu_\beta + g_{\mu\mu\beta})
              (g_{\mu\mu\mu}\hat\mu_{\beta'} + g_{\mu\mu\beta'})
              + \tfrac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_{\beta\beta'}
              + g_{\mu\mu\mu\mu}\hat\mu_\beta\hat\mu_{\beta'}
              + \hat\mu_\beta g_{\mu\mu\mu\beta'} + g_{\mu\mu\mu\beta}\hat\mu_{\beta'}
              + g_{\mu\mu\beta\beta'})
    """
    u = mode(x, y, beta, tau)
    w = omega(x, y, beta, tau)
    u_b = mu_b(x, y, beta, tau)
    first = _g_uu_along_mode(x, y, beta, tau)
    cross = np.outer(u_b, g_uuub(x, y, u, beta, tau))
    second = (
        g_uuu(x, y, u, beta, tau) * mu_bb(x, y, beta, tau)
        + g_uuuu(x, y, u, beta, tau) * np.outer(u_b, u_b)
        + cross
        + cross.T
        + g_uubb(x, y, u, beta, tau)
    )
    return 0.75 * w**5 * np.outer(first, first) + 0.5 * w**3 * second


# The Laplace approximation of one group's log-likelihood ---------------------------------------


def l(x: Array, y: Array, beta: Array, tau: float) -> float:  # noqa: E743
    r""":math:`l = \log(\sqrt{2\pi}\,\hat\omega) + g(\hat\mu)`; shape ().

    The log of the Laplace approximation of :math:`\int e^{g(\mu)}\,d\mu`, with all constants.
    """
    u = mode(x, y, beta, tau)
    log_width = 0.5 * np.log(2.0 * np.pi) + np.log(omega(x, y, beta, tau))
    return float(log_width + g(x, y, u, beta, tau))


def l_1(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r""":math:`l' = \hat\omega_\beta/\hat\omega + g_\beta(\hat\mu)`; shape (p,).

    The term :math:`g_\mu \hat\mu_\beta` is absent, since :math:`g_\mu(\hat\mu) = 0`.
    """
    u = mode(x, y, beta, tau)
    return omega_b(x, y, beta, tau) / omega(x, y, beta, tau) + g_b(x, y, u, beta, tau)


def l_2(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r"""Hessian of `l` in :math:`\beta`; symmetric, of shape (p, p).

    .. math:: l'' = \frac{\hat\omega_{\beta\beta'}}{\hat\omega}
              - \frac{\hat\omega_\beta\hat\omega_{\beta'}}{\hat\omega^2}
              + g_{\beta\beta'} + g_{\mu\beta}\hat\mu_{\beta'}
    """
    u = mode(x, y, beta, tau)
    w = omega(x, y, beta, tau)
    w_b = omega_b(x, y, beta, tau)
    return (
        omega_bb(x, y, beta, tau) / w
        - np.outer(w_b, w_b) / w**2
        + g_bb(x, y, u, beta, tau)
        + np.outer(g_ub(x, y, u, beta, tau), mu_b(x, y, beta, tau))
    )


# Helpers ---------------------------------------------------------------------------------------


def _weighted_cross_product(x: Array, weights: Array) -> Array:
    """Return the sum over rows of weight times x x'."""
    return np.asarray(x.T @ (weights[:, None] * x))


def _g_uu_along_mode(x: Array, y: Array, beta: Array, tau: float) -> Array:
    r"""Total derivative of :math:`g_{\mu\mu}(\hat\mu(\beta); \beta)`; shape (p,)."""
    u = mode(x, y, beta, tau)
    return g_uuu(x, y, u, beta, tau) * mu_b(x, y, beta, tau) + g_uub(x, y, u, beta, tau)
