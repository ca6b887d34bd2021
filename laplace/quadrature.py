r"""Gauss-Hermite quadrature of one group's likelihood, ordinary and adaptive: the textbook.

Both rules replace :math:`\int e^{g(\mu)}\,d\mu`, the likelihood of one group, by a weighted sum.
The ordinary rule puts its nodes where the random intercept is likely *a priori*: around zero, with
scale :math:`\tau`. The adaptive rule puts them where the integrand is: around its mode
:math:`\hat\mu`, with scale :math:`\hat\omega`. With one node the adaptive rule is the Laplace
approximation. Rows are given as in `laplace.derivatives`.

References
----------
Liu, Q. and Pierce, D. A. (1994). A note on Gauss-Hermite quadrature. Biometrika 81, 624-629.
"""

from __future__ import annotations

import numpy as np

from laplace import derivatives
from laplace.arguments import Array
from laplace.families import BERNOULLI, Family
from laplace.later import special
from laplace.nodes import gauss_hermite


def ordinary(
    x: Array, y: Array, beta: Array, tau: float, nodes: int, family: Family = BERNOULLI
) -> float:
    r"""Log-likelihood of one group by the ordinary rule. :eq:`eq-ordinary`.

    .. math:: \log \sum_k \frac{w_k}{\sqrt\pi} \prod_j f(y_j \mid x_j'\beta + \sqrt2\,\tau z_k)
    """
    z, log_w = gauss_hermite(nodes)
    log_f = [np.sum(family.log_density(y, x @ beta + np.sqrt(2.0) * tau * z_k)) for z_k in z]
    return float(special().logsumexp(log_w - 0.5 * np.log(np.pi) + log_f))


def adaptive_nodes(
    x: Array, y: Array, beta: Array, tau: float, nodes: int, family: Family = BERNOULLI
) -> Array:
    r"""Nodes :math:`u_k = \hat\mu + \sqrt2\,\hat\omega z_k`; (K,). :eq:`eq-adaptive_nodes`."""
    z, _ = gauss_hermite(nodes)
    scale = np.sqrt(2.0) * derivatives.omega(x, y, beta, tau, family)
    return np.asarray(derivatives.mode(x, y, beta, tau, family) + scale * z)


def adaptive(
    x: Array, y: Array, beta: Array, tau: float, nodes: int, family: Family = BERNOULLI
) -> float:
    r"""Log-likelihood of one group by the adaptive rule. :eq:`eq-adaptive`.

    .. math:: \log \Big(\sqrt2\,\hat\omega \sum_k w_k e^{z_k^2 + g(u_k)}\Big)
    """
    z, log_w = gauss_hermite(nodes)
    u = adaptive_nodes(x, y, beta, tau, nodes, family)
    terms = log_w + z**2 + [derivatives.g(x, y, u_k, beta, tau, family) for u_k in u]
    scale = np.sqrt(2.0) * derivatives.omega(x, y, beta, tau, family)
    return float(np.log(scale) + special().logsumexp(terms))
