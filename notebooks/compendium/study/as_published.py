r"""The published algorithm for many groups at once, all its errors kept.

`compendium.published` is the record: one site at a time, one function a formula. This is the same
arithmetic in compiled loops, as thousands of data sets need it. The matrices of a group,
:math:`\sum_j b^{(r)} x_j x_j'`, enter with a scalar weight, so that one weighted cross-product sums
them over all groups. A test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from compendium.published import (
    FIRST_MODE,
    MODE_STEPS,
    ROUNDS,
    STEPS_PER_ROUND,
    TOLERANCE,
    PublishedFit,
)
from laplace.families import Array
from laplace.grouped import GroupedData

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    return cast(
        _Function,
        njit(cache=True, nogil=True, error_model="numpy")(function),
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
        What `compendium.published.fit` returns.
    """
    beta, modes = np.zeros(data.p), np.full(data.m, FIRST_MODE)
    ends = np.append(data.starts, data.n)
    steps, small, change = 0, False, np.inf
    for _ in range(ROUNDS):
        before = beta
        _search_modes(data.y, data.X, ends, beta, modes)
        for _ in range(STEPS_PER_ROUND):
            l_1, l_2 = derivatives(data.y, data.X, ends, modes, beta)
            try:
                with np.errstate(all="ignore"):  # where it diverges, `converged` says so
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


@_compiled
def _b(eta: float) -> tuple[float, float, float, float]:
    """Return the first four derivatives of b, without overflow."""
    e = math.exp(-abs(eta))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    b_1 = large if eta >= 0.0 else small
    b_2 = small * large
    return b_1, b_2, b_2 * (1.0 - 2.0 * b_1), b_2 * (1.0 - 6.0 * b_2)


@_compiled
def _search_modes(y: Array, X: Array, ends: Any, beta: Array, modes: Array) -> None:
    """Search for each mode from where it is; keep the value before the last update."""
    eta = X @ beta
    for i in range(len(modes)):
        u = modes[i]
        for _ in range(MODE_STEPS):
            g_u, g_uu = -u, -1.0
            for j in range(ends[i], ends[i + 1]):
                b_1, b_2, _, _ = _b(eta[j] + u)
                g_u += y[j] - b_1
                g_uu -= b_2
            new = u - g_u / g_uu
            if abs(new - u) < TOLERANCE:
                break
            u = new
        modes[i] = u


@_compiled
def derivatives(y: Array, X: Array, ends: Any, modes: Array, beta: Array) -> tuple[Array, Array]:
    """Return the published l' and l'', summed over the groups, at tau = 1.

    Names are those of `compendium.published.Site`. Rows ends[i] to
    ends[i + 1] are those of group i.
    """
    p = X.shape[1]
    l_1, l_2 = np.zeros(p), np.zeros((p, p))
    eta = X @ beta
    row_2, row_3 = np.zeros(len(y)), np.zeros(len(y))
    g_ub, g_uub, g_uuub = np.zeros(p), np.zeros(p), np.zeros(p)
    mu_b, first, right = np.zeros(p), np.zeros(p), np.zeros(p)
    for i in range(len(modes)):
        u = modes[i]
        g_u, D, g_uuu, g_uuuu = -u, 1.0, 0.0, 0.0  # D is -g_uu
        g_ub[:], g_uub[:], g_uuub[:] = 0.0, 0.0, 0.0
        for j in range(ends[i], ends[i + 1]):
            b_1, b_2, b_3, b_4 = _b(eta[j] + u)
            row_2[j], row_3[j] = b_2, b_3
            residual = y[j] - b_1
            g_u += residual
            D += b_2
            g_uuu += b_3  # this sign, and those of g_uub, g_ubb and g_uuuu, should be the opposite
            g_uuuu += b_4
            for k in range(p):
                l_1[k] += residual * X[j, k]
                g_ub[k] -= b_2 * X[j, k]
                g_uub[k] += b_3 * X[j, k]
                g_uuub[k] += (2.0 * b_3 - b_4) * X[j, k]  # without 2 b_3 it would be right
        # mu_bb = (mu_b mu_b' g_uuu + 2 mu_b g_uub' + g_ubb) / D, and it counts `weight` times
        weight = (0.5 * (g_uuu + 1.0) / D + g_u) / D
        of_mu = weight * g_uuu + 0.5 * g_uuuu / D - D
        for k in range(p):
            mu_b[k] = g_ub[k] / D
            first[k] = g_uuu * mu_b[k] + g_uub[k]
            l_1[k] += 0.5 / D * first[k] + g_u * mu_b[k]
            # ... with the rest of omega_bb / omega - omega_b omega_b' / omega^2
            right[k] = of_mu * mu_b[k] + 2.0 * weight * g_uub[k] + 0.5 / D * g_uuub[k]
            right[k] += 2.0 * g_ub[k]
        for k in range(p):
            for l in range(p):  # noqa: E741
                l_2[k, l] += 0.5 / D**2 * first[k] * first[l] + mu_b[k] * right[l]
        for j in range(ends[i], ends[i + 1]):
            of_row = weight * row_3[j] - row_2[j]
            for k in range(p):
                for l in range(k + 1):  # noqa: E741
                    both = of_row * X[j, k] * X[j, l]
                    l_2[k, l] += both
                    if l < k:
                        l_2[l, k] += both
    return l_1, l_2
