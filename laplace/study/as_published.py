r"""The published algorithm for many groups at once, all its errors kept.

`laplace.published` is the record: one site at a time, one function a formula. This is the same
arithmetic with sums over the rows of all groups, as a study needs it: the matrices
:math:`\\sum_j b^{(r)} x_j x_j'` of a group enter with a scalar weight, so that one weighted
cross-product sums them over all groups. A test holds the two together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laplace.families import BERNOULLI, Array
from laplace.grouped import GroupedData
from laplace.published import (
    FIRST_MODE,
    MODE_STEPS,
    ROUNDS,
    STEPS_PER_ROUND,
    TOLERANCE,
    PublishedFit,
)


def fit(data: GroupedData) -> PublishedFit:
    """Run the published algorithm, at tau = 1 as published.

    Parameters
    ----------
    data : GroupedData
        Rows, a group a site.

    Returns
    -------
    PublishedFit
        What `laplace.published.fit` returns.
    """
    with np.errstate(all="ignore"):  # where it diverges, `converged` says so
        return _iterate(data, np.zeros(data.p), np.full(data.m, FIRST_MODE))


def _iterate(data: GroupedData, beta: Array, modes: Array) -> PublishedFit:
    steps, small, change = 0, False, np.inf
    for _ in range(ROUNDS):
        before = beta
        modes = _modes(data, data.X @ beta, modes)
        for _ in range(STEPS_PER_ROUND):
            l_1, l_2 = derivatives(data, modes, beta)
            try:
                delta = np.linalg.solve(l_2.T, l_1)
            except np.linalg.LinAlgError:
                delta = np.full_like(beta, np.nan)
            if not np.all(np.isfinite(delta)):
                return PublishedFit(beta, modes, steps, False)
            small = bool(np.max(np.abs(delta)) < TOLERANCE)
            if small:
                break
            beta = beta - delta
            steps += 1
        change = float(np.max(np.abs(beta - before)))
    return PublishedFit(beta, modes, steps, small and change < 1e3 * TOLERANCE)


def _modes(data: GroupedData, eta: Array, start: Array) -> Array:
    """Search for the modes; those found keep the value before their last update."""
    u, found = start, np.zeros(data.m, dtype=bool)
    for _ in range(MODE_STEPS):
        at_row = eta + u[data.codes]
        g_u = data.sum_by_group(data.y - BERNOULLI.b_1(at_row)) - u
        g_uu = -data.sum_by_group(BERNOULLI.b_2(at_row)) - 1.0
        new = u - g_u / g_uu
        found = found | (np.abs(new - u) < TOLERANCE)
        if np.all(found):
            break
        u = np.where(found, u, new)
    return u


def derivatives(data: GroupedData, u: Array, beta: Array) -> tuple[Array, Array]:
    """Return the published l' and l'', summed over the groups, at random intercepts u and tau = 1.

    Names are those of `laplace.published.Site`; arrays of shape (m, p) hold a vector a group.
    """
    X, y, of_group = data.X, data.y, data.codes
    eta = X @ beta + u[of_group]
    b_2, b_3, b_4 = BERNOULLI.b_2(eta), BERNOULLI.b_3(eta), BERNOULLI.b_4(eta)
    residual = y - BERNOULLI.b_1(eta)

    def sums(weight: Array) -> Array:
        return data.sum_by_group(weight[:, None] * X)

    g_u = data.sum_by_group(residual) - u
    D = data.sum_by_group(b_2) + 1.0  # -g_uu
    g_ub = -sums(b_2)
    # the published signs: each of these should be the opposite, g_uuub but for a term
    g_uuu, g_uuuu = data.sum_by_group(b_3), data.sum_by_group(b_4)
    g_uub = sums(b_3)
    g_uuub = 2.0 * g_uub - sums(b_4)

    mu_b = g_ub / D[:, None]
    first = g_uuu[:, None] * mu_b + g_uub
    l_1 = X.T @ residual + np.sum(0.5 / D[:, None] * first + g_u[:, None] * mu_b, axis=0)

    # mu_bb = (mu_b mu_b' g_uuu + 2 mu_b g_uub' + g_ubb) / D, and it counts `weight` times
    weight = (0.5 * (g_uuu + 1.0) / D + g_u) / D
    l_2 = X.T @ ((weight[of_group] * b_3 - b_2)[:, None] * X)
    l_2 += _outer(weight * g_uuu, mu_b, mu_b) + _outer(2.0 * weight, mu_b, g_uub)
    # the rest of omega_bb / omega - omega_b omega_b' / omega^2
    l_2 += _outer(0.5 / D**2, first, first)
    l_2 += _outer(0.5 * g_uuuu / D, mu_b, mu_b) + _outer(0.5 / D, mu_b, g_uuub)
    l_2 += _outer(-D, mu_b, mu_b) + _outer(2.0 * np.ones(data.m), mu_b, g_ub)
    return l_1, l_2


def _outer(weight: Array, left: Array, right: Array) -> Array:
    """Sum over the groups of weight times left right'."""
    return np.asarray((weight[:, None] * left).T @ right)
