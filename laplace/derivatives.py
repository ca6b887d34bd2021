r"""The textbook: each formula of the Laplace approximation as one function, for one group.

The rows of a group are `x`, of shape (n, p), and `y`, of shape (n,). With the linear predictor
:math:`\eta_j = x_j'\beta + \mu` and the cumulant function :math:`b` of a canonical family, the log
of the integrand is

.. math:: g(\mu; \beta, \tau) = \sum_j [y_j \eta_j - b(\eta_j) + c(y_j)]
          - \frac{\mu^2}{2\tau^2} - \log(\tau\sqrt{2\pi}).

A subscript is a partial derivative: `u` in the random intercept :math:`\mu`, `b` in
:math:`\beta`, `t` in :math:`\tau`. The functions of ``(x, y, u, beta, tau)`` hold
:math:`\mu = u` fixed; the functions of ``(x, y, beta, tau)`` are evaluated at the mode
:math:`\hat\mu(\beta, \tau)`, and their derivatives are total: the mode moves along. Each takes a
last argument `family`, which is `laplace.families.BERNOULLI` unless given. Each names the equation
of the chapter "Every formula, derived and checked", or of its appendix, that it computes.

These functions are written to be read. `laplace.likelihood` computes the same for all groups at
once, with :math:`\log\tau` in the place of :math:`\tau`.
"""

from __future__ import annotations

import numpy as np

from laplace.families import BERNOULLI, Array, Family

__all__ = [
    "g",
    "g_b",
    "g_bb",
    "g_t",
    "g_tt",
    "g_u",
    "g_ub",
    "g_ubb",
    "g_ut",
    "g_utt",
    "g_uu",
    "g_uub",
    "g_uubb",
    "g_uut",
    "g_uutt",
    "g_uuu",
    "g_uuub",
    "g_uuuu",
    "l",
    "l_1",
    "l_2",
    "l_bt",
    "l_t",
    "l_tt",
    "mode",
    "mu_b",
    "mu_bb",
    "mu_bt",
    "mu_t",
    "mu_tt",
    "omega",
    "omega_b",
    "omega_bb",
    "omega_bt",
    "omega_t",
    "omega_tt",
    "remainder",
]


# The log of the integrand and its partial derivatives ------------------------------------------


def g(x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Log of the integrand, :math:`g`, with all constants; shape (). :eq:`eq-g`."""
    log_normal = -0.5 * (u / tau) ** 2 - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
    return float(np.sum(family.log_density(y, x @ beta + u)) + log_normal)


def g_b(x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r""":math:`g_\beta = \sum_j (y_j - b'_j) x_j`; shape (p,). :eq:`eq-g_b`."""
    return np.asarray(x.T @ family.residual(y, x @ beta + u))


def g_u(x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`g_\mu = \sum_j (y_j - b'_j) - \mu/\tau^2`; shape (). :eq:`eq-g_u`."""
    return float(np.sum(family.residual(y, x @ beta + u)) - u / tau**2)


def g_uu(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\mu} = -\sum_j b''_j - 1/\tau^2`; shape (). :eq:`eq-g_uu`."""
    return float(-np.sum(family.b_2(x @ beta + u)) - 1.0 / tau**2)


def g_ub(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\mu\beta} = -\sum_j b''_j x_j`; shape (p,). :eq:`eq-g_ub`."""
    return np.asarray(-x.T @ family.b_2(x @ beta + u))


def g_bb(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\beta\beta'} = -\sum_j b''_j x_j x_j'`; shape (p, p). :eq:`eq-g_bb`."""
    return _weighted_cross_product(x, -family.b_2(x @ beta + u))


def g_uuu(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\mu\mu} = -\sum_j b'''_j`; shape (). :eq:`eq-g_uuu`."""
    return float(-np.sum(family.b_3(x @ beta + u)))


def g_uub(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\mu\mu\beta} = -\sum_j b'''_j x_j`; shape (p,). :eq:`eq-g_uub`."""
    return np.asarray(-x.T @ family.b_3(x @ beta + u))


def g_ubb(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\mu\beta\beta'} = -\sum_j b'''_j x_j x_j'`; shape (p, p). :eq:`eq-g_ubb`."""
    return _weighted_cross_product(x, -family.b_3(x @ beta + u))


def g_uuuu(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\mu\mu\mu} = -\sum_j b''''_j`; shape (). :eq:`eq-g_uuuu`."""
    return float(-np.sum(family.b_4(x @ beta + u)))


def g_uuub(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\mu\mu\mu\beta} = -\sum_j b''''_j x_j`; shape (p,). :eq:`eq-g_uuub`."""
    return np.asarray(-x.T @ family.b_4(x @ beta + u))


def g_uubb(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r""":math:`g_{\mu\mu\beta\beta'} = -\sum_j b''''_j x_j x_j'`; shape (p, p). :eq:`eq-g_uubb`."""
    return _weighted_cross_product(x, -family.b_4(x @ beta + u))


# ... and in tau: of g, the normal density alone depends on it ------------------------------------


def g_t(x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`g_\tau = \mu^2/\tau^3 - 1/\tau`; shape (). :eq:`eq-g_t`."""
    return u**2 / tau**3 - 1.0 / tau


def g_ut(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\tau} = 2\mu/\tau^3`; shape (). :eq:`eq-g_ut`."""
    return 2.0 * u / tau**3


def g_uut(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\mu\tau} = 2/\tau^3`; shape (). :eq:`eq-g_uut`."""
    return 2.0 / tau**3


def g_tt(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\tau\tau} = -3\mu^2/\tau^4 + 1/\tau^2`; shape (). :eq:`eq-g_tt`."""
    return -3.0 * u**2 / tau**4 + 1.0 / tau**2


def g_utt(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\tau\tau} = -6\mu/\tau^4`; shape (). :eq:`eq-g_utt`."""
    return -6.0 * u / tau**4


def g_uutt(
    x: Array, y: Array, u: float, beta: Array, tau: float, family: Family = BERNOULLI
) -> float:
    r""":math:`g_{\mu\mu\tau\tau} = -6/\tau^4`; shape (). :eq:`eq-g_uutt`."""
    return -6.0 / tau**4


# The mode, and how it moves with beta ----------------------------------------------------------


def mode(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Mode of the integrand, :math:`\hat\mu`, where :math:`g_\mu = 0`; shape (). :eq:`eq-mode`.

    :math:`g_\mu` falls strictly in :math:`\mu`, so that it has one root.
    """
    from scipy.optimize import brentq  # here, since the import takes longer than most fits

    lower, upper = -1.0, 1.0
    while g_u(x, y, lower, beta, tau, family) <= 0.0:
        lower *= 2.0
    while g_u(x, y, upper, beta, tau, family) >= 0.0:
        upper *= 2.0
    root = brentq(lambda u: g_u(x, y, u, beta, tau, family), lower, upper, xtol=1e-14)
    # one Newton step takes the last digits from the bracket's width to rounding
    slope = g_uu(x, y, root, beta, tau, family)
    return float(root - g_u(x, y, root, beta, tau, family) / slope)


def mu_b(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r""":math:`\hat\mu_\beta = \hat\omega^2 g_{\mu\beta}`; shape (p,). :eq:`eq-mu_b`.

    From :math:`g_\mu(\hat\mu(\beta); \beta) = 0` by the implicit function theorem.
    """
    u = mode(x, y, beta, tau, family)
    return omega(x, y, beta, tau, family) ** 2 * g_ub(x, y, u, beta, tau, family)


def mu_bb(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Second derivative of the mode; symmetric, of shape (p, p). :eq:`eq-mu_bb`.

    .. math:: \hat\mu_{\beta\beta'} = \hat\omega^2 (\hat\mu_\beta \hat\mu_{\beta'} g_{\mu\mu\mu}
              + \hat\mu_\beta g_{\mu\mu\beta'} + g_{\mu\mu\beta} \hat\mu_{\beta'}
              + g_{\mu\beta\beta'})
    """
    u = mode(x, y, beta, tau, family)
    u_b = mu_b(x, y, beta, tau, family)
    cross = np.outer(u_b, g_uub(x, y, u, beta, tau, family))
    return omega(x, y, beta, tau, family) ** 2 * (
        np.outer(u_b, u_b) * g_uuu(x, y, u, beta, tau, family)
        + cross
        + cross.T
        + g_ubb(x, y, u, beta, tau, family)
    )


def mu_t(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`\hat\mu_\tau = \hat\omega^2 g_{\mu\tau}`; shape (). :eq:`eq-mu_t`."""
    u = mode(x, y, beta, tau, family)
    return omega(x, y, beta, tau, family) ** 2 * g_ut(x, y, u, beta, tau, family)


def mu_bt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Mixed derivative of the mode; shape (p,). :eq:`eq-mu_bt`.

    .. math:: \hat\mu_{\beta\tau} = \hat\omega^2 (\hat\mu_\beta \hat\mu_\tau g_{\mu\mu\mu}
              + \hat\mu_\beta g_{\mu\mu\tau} + g_{\mu\mu\beta} \hat\mu_\tau)
    """
    u = mode(x, y, beta, tau, family)
    u_b, u_t = mu_b(x, y, beta, tau, family), mu_t(x, y, beta, tau, family)
    return omega(x, y, beta, tau, family) ** 2 * (
        u_b * u_t * g_uuu(x, y, u, beta, tau, family)
        + u_b * g_uut(x, y, u, beta, tau, family)
        + g_uub(x, y, u, beta, tau, family) * u_t
    )


def mu_tt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Second derivative of the mode in :math:`\tau`; shape (). :eq:`eq-mu_tt`.

    .. math:: \hat\mu_{\tau\tau} = \hat\omega^2 (\hat\mu_\tau^2 g_{\mu\mu\mu}
              + 2 \hat\mu_\tau g_{\mu\mu\tau} + g_{\mu\tau\tau})
    """
    u = mode(x, y, beta, tau, family)
    u_t = mu_t(x, y, beta, tau, family)
    return omega(x, y, beta, tau, family) ** 2 * (
        u_t**2 * g_uuu(x, y, u, beta, tau, family)
        + 2.0 * u_t * g_uut(x, y, u, beta, tau, family)
        + g_utt(x, y, u, beta, tau, family)
    )


# The width of the integrand at its mode --------------------------------------------------------


def omega(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`\hat\omega = (-g_{\mu\mu}(\hat\mu))^{-1/2}`; shape (). :eq:`eq-omega`."""
    u = mode(x, y, beta, tau, family)
    return float((-g_uu(x, y, u, beta, tau, family)) ** -0.5)


def omega_b(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r""":math:`\hat\omega_\beta = \frac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_\beta +
    g_{\mu\mu\beta})`; shape (p,). :eq:`eq-omega_b`.
    """  # noqa: D205
    return 0.5 * omega(x, y, beta, tau, family) ** 3 * _g_uu_along_mode(x, y, beta, tau, family)


def omega_bb(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Second derivative of the width; symmetric, of shape (p, p). :eq:`eq-omega_bb`.

    .. math:: \hat\omega_{\beta\beta'} = \tfrac34 \hat\omega^5
              (g_{\mu\mu\mu}\hat\mu_\beta + g_{\mu\mu\beta})
              (g_{\mu\mu\mu}\hat\mu_{\beta'} + g_{\mu\mu\beta'})
              + \tfrac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_{\beta\beta'}
              + g_{\mu\mu\mu\mu}\hat\mu_\beta\hat\mu_{\beta'}
              + \hat\mu_\beta g_{\mu\mu\mu\beta'} + g_{\mu\mu\mu\beta}\hat\mu_{\beta'}
              + g_{\mu\mu\beta\beta'})
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    u_b = mu_b(x, y, beta, tau, family)
    first = _g_uu_along_mode(x, y, beta, tau, family)
    cross = np.outer(u_b, g_uuub(x, y, u, beta, tau, family))
    second = (
        g_uuu(x, y, u, beta, tau, family) * mu_bb(x, y, beta, tau, family)
        + g_uuuu(x, y, u, beta, tau, family) * np.outer(u_b, u_b)
        + cross
        + cross.T
        + g_uubb(x, y, u, beta, tau, family)
    )
    return 0.75 * w**5 * np.outer(first, first) + 0.5 * w**3 * second


def omega_t(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`\hat\omega_\tau = \frac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_\tau +
    g_{\mu\mu\tau})`; shape (). :eq:`eq-omega_t`.
    """  # noqa: D205
    u = mode(x, y, beta, tau, family)
    return (
        0.5
        * omega(x, y, beta, tau, family) ** 3
        * (
            g_uuu(x, y, u, beta, tau, family) * mu_t(x, y, beta, tau, family)
            + g_uut(x, y, u, beta, tau, family)
        )
    )


def omega_bt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Mixed derivative of the width; shape (p,). :eq:`eq-omega_bt`.

    .. math:: \hat\omega_{\beta\tau} = \frac{3 \hat\omega_\beta \hat\omega_\tau}{\hat\omega}
              + \tfrac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_{\beta\tau}
              + g_{\mu\mu\mu\mu}\hat\mu_\beta\hat\mu_\tau
              + g_{\mu\mu\mu\beta}\hat\mu_\tau)
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    u_b, u_t = mu_b(x, y, beta, tau, family), mu_t(x, y, beta, tau, family)
    second = (
        g_uuu(x, y, u, beta, tau, family) * mu_bt(x, y, beta, tau, family)
        + g_uuuu(x, y, u, beta, tau, family) * u_b * u_t
        + g_uuub(x, y, u, beta, tau, family) * u_t
    )
    first = omega_b(x, y, beta, tau, family) * omega_t(x, y, beta, tau, family)
    return 3.0 * first / w + 0.5 * w**3 * second


def omega_tt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Second derivative of the width in :math:`\tau`; shape (). :eq:`eq-omega_tt`.

    .. math:: \hat\omega_{\tau\tau} = \frac{3 \hat\omega_\tau^2}{\hat\omega}
              + \tfrac12 \hat\omega^3 (g_{\mu\mu\mu}\hat\mu_{\tau\tau}
              + g_{\mu\mu\mu\mu}\hat\mu_\tau^2 + g_{\mu\mu\tau\tau})
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    second = (
        g_uuu(x, y, u, beta, tau, family) * mu_tt(x, y, beta, tau, family)
        + g_uuuu(x, y, u, beta, tau, family) * mu_t(x, y, beta, tau, family) ** 2
        + g_uutt(x, y, u, beta, tau, family)
    )
    return 3.0 * omega_t(x, y, beta, tau, family) ** 2 / w + 0.5 * w**3 * second


# The Laplace approximation of one group's log-likelihood ---------------------------------------


def l(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:  # noqa: E743
    r""":math:`l = \log(\sqrt{2\pi}\,\hat\omega) + g(\hat\mu)`; shape (). :eq:`eq-l`.

    The log of the Laplace approximation of :math:`\int e^{g(\mu)}\,d\mu`, with all constants.
    """
    u = mode(x, y, beta, tau, family)
    log_width = 0.5 * np.log(2.0 * np.pi) + np.log(omega(x, y, beta, tau, family))
    return float(log_width + g(x, y, u, beta, tau, family))


def l_1(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r""":math:`l' = \hat\omega_\beta/\hat\omega + g_\beta(\hat\mu)`; shape (p,). :eq:`eq-l_1`.

    The term :math:`g_\mu \hat\mu_\beta` is absent, since :math:`g_\mu(\hat\mu) = 0`.
    """
    u = mode(x, y, beta, tau, family)
    return omega_b(x, y, beta, tau, family) / omega(x, y, beta, tau, family) + g_b(
        x, y, u, beta, tau, family
    )


def l_2(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Hessian of `l` in :math:`\beta`; symmetric, of shape (p, p). :eq:`eq-l_2`.

    .. math:: l'' = \frac{\hat\omega_{\beta\beta'}}{\hat\omega}
              - \frac{\hat\omega_\beta\hat\omega_{\beta'}}{\hat\omega^2}
              + g_{\beta\beta'} + g_{\mu\beta}\hat\mu_{\beta'}
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    w_b = omega_b(x, y, beta, tau, family)
    return (
        omega_bb(x, y, beta, tau, family) / w
        - np.outer(w_b, w_b) / w**2
        + g_bb(x, y, u, beta, tau, family)
        + np.outer(g_ub(x, y, u, beta, tau, family), mu_b(x, y, beta, tau, family))
    )


def l_t(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r""":math:`l_\tau = \hat\omega_\tau/\hat\omega + g_\tau(\hat\mu)`; shape (). :eq:`eq-l_t`."""
    u = mode(x, y, beta, tau, family)
    width = omega_t(x, y, beta, tau, family) / omega(x, y, beta, tau, family)
    return width + g_t(x, y, u, beta, tau, family)


def l_bt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> Array:
    r"""Mixed derivative of `l`; shape (p,). :eq:`eq-l_bt`.

    .. math:: l_{\beta\tau} = \frac{\hat\omega_{\beta\tau}}{\hat\omega}
              - \frac{\hat\omega_\beta\hat\omega_\tau}{\hat\omega^2} + g_{\mu\beta}\hat\mu_\tau
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    return (
        omega_bt(x, y, beta, tau, family) / w
        - omega_b(x, y, beta, tau, family) * omega_t(x, y, beta, tau, family) / w**2
        + g_ub(x, y, u, beta, tau, family) * mu_t(x, y, beta, tau, family)
    )


def l_tt(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Second derivative of `l` in :math:`\tau`; shape (). :eq:`eq-l_tt`.

    .. math:: l_{\tau\tau} = \frac{\hat\omega_{\tau\tau}}{\hat\omega}
              - \frac{\hat\omega_\tau^2}{\hat\omega^2} + g_{\tau\tau} + g_{\mu\tau}\hat\mu_\tau
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    return (
        omega_tt(x, y, beta, tau, family) / w
        - omega_t(x, y, beta, tau, family) ** 2 / w**2
        + g_tt(x, y, u, beta, tau, family)
        + g_ut(x, y, u, beta, tau, family) * mu_t(x, y, beta, tau, family)
    )


# What the approximation leaves out ---------------------------------------------------------------


def remainder(x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI) -> float:
    r"""Leading term of the log-likelihood minus `l`; shape (). :eq:`eq-remainder`.

    .. math:: \tfrac18 g_{\mu\mu\mu\mu}\hat\omega^4 + \tfrac5{24} g_{\mu\mu\mu}^2\hat\omega^6

    In a group of n rows it is of order 1/n, and what follows it of order 1/n^2.
    """
    u = mode(x, y, beta, tau, family)
    w = omega(x, y, beta, tau, family)
    return (
        g_uuuu(x, y, u, beta, tau, family) * w**4 / 8.0
        + 5.0 * g_uuu(x, y, u, beta, tau, family) ** 2 * w**6 / 24.0
    )


# Helpers ---------------------------------------------------------------------------------------


def _weighted_cross_product(x: Array, weights: Array) -> Array:
    """Return the sum over rows of weight times x x'."""
    return np.asarray(x.T @ (weights[:, None] * x))


def _g_uu_along_mode(
    x: Array, y: Array, beta: Array, tau: float, family: Family = BERNOULLI
) -> Array:
    r"""Total derivative of :math:`g_{\mu\mu}(\hat\mu(\beta); \beta)`; shape (p,)."""
    u = mode(x, y, beta, tau, family)
    return g_uuu(x, y, u, beta, tau, family) * mu_b(x, y, beta, tau, family) + g_uub(
        x, y, u, beta, tau, family
    )
