r"""The engine: value, gradient and Hessian of all groups in one compiled pass.

`laplace.derivatives` and `laplace.quadrature` are the textbook of one group; here the same formulas
run over blocks of groups, with nothing of the size of X in memory. The comments name the
equations of the derivation, as the functions of the textbook do.

The p x p matrices of the textbook are never formed for a group. In the Hessian each of them is a
sum over rows of :math:`x_j x_j'` with a weight of the row, so that one cross-product with a
combined weight does them all; what remains for a group are products of a few vectors.

How the rows are laid out:

- A *block* is some whole groups of at most `CHUNK` rows together, or one larger group, which is
  read in chunks. The rows of a chunk are held transposed, a column of X after the other, so
  that every loop runs along rows.
- A *slab* is some consecutive blocks with sums of its own. Threads take slabs, and the sums of the
  slabs are added in order. Blocks and slabs depend on the data alone: the result has the
  same bits for any number of threads.

Symbols, for a group with mode :math:`\hat\mu`: ``s_r`` is :math:`\sum_j b^{(r)}_j`, ``a_r`` is
:math:`\sum_j b^{(r)}_j x_j` (b differentiated r times, at the mode), ``D`` is
:math:`-g_{\mu\mu} = s_2 + 1/\tau^2 = \hat\omega^{-2}`; vectors over
:math:`\theta = (\beta, \log\tau)` end in ``_theta``, and their last entry belongs to
:math:`\log\tau`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numba.core import event

# Rows of a chunk: its transposed rows and weights stay in a core's second-level cache.
CHUNK = 2048
# Most slabs, and so the most threads that can be used.
MOST_SLABS = 64
# Groups that are finished together, so that their loops run in vector registers.
BATCH = 128
# Numbers a row and node that are kept from the first look at the nodes to the second.
KEPT = 32 * CHUNK

MODE_ITERATIONS = 200
# The error that Halley's method leaves is less than half the cube of its last step, as no
# derivative of b exceeds the second: after one this small, times the root of the mode, it is at
# rounding.
MODE_STEP_TOLERANCE = 4e-6
# Most modes take four to six steps; only those that are left pay for the test of rounding.
MODE_ITERATIONS_WITHOUT_TEST = 12
# A mode further out is searched from zero: there rounding may hide that the integrand is not flat.
LARGEST_START = 30.0
# Below so many outcomes in a group, a rough start is as good as a better one.
FEW_OUTCOMES = 16.0
# The rows of a block are computed together, which is fast, until so small a part of its groups is
# left: one in this many.
FEW_LEFT = 3
MODE_ROUNDING = 8.0 * np.finfo(float).eps

LAPLACE, ADAPTIVE, ORDINARY = 0, 1, 2
# No Poisson mean is beyond exp of this; see laplace.families.Poisson.
LARGEST_ETA = 230.0

# The rows of the scratch of the search for the modes: a bracket, the last step, and whether it is
# done, for each group of a block; and the sums of a group that is larger than a chunk.
LOWER, UPPER, LAST, DONE, SCORE, S_2, TERMS, S_3 = range(8)


class Rows(NamedTuple):
    """Rows sorted by group, as the kernels take them.

    Attributes
    ----------
    starts : ndarray of int
        First row of each group, and the number of rows.
    X, y, offset, trials : ndarray
        An empty `offset` is zero, and an empty `trials` one for every row.
    poisson : bool
        Whether the outcomes are counts without a bound.
    """

    starts: Any
    X: Any
    y: Any
    offset: Any
    trials: Any
    poisson: bool


class Rule(NamedTuple):
    """A quadrature rule.

    Attributes
    ----------
    kind : int
        `LAPLACE`, `ADAPTIVE` or `ORDINARY`.
    z, log_w : ndarray of shape (K,)
        Nodes and log weights.
    """

    kind: int
    z: Any
    log_w: Any


class Modes(NamedTuple):
    """Where the modes go; the ordinary rule leaves them as they are.

    Attributes
    ----------
    u, information : ndarray of shape (m,)
        Mode of each group, and the sum of b'' there, s_2.
    lost : ndarray of shape (S,)
        Number of groups of a slab whose mode was not found.
    """

    u: Any
    information: Any
    lost: Any


class Sums(NamedTuple):
    """Where the sums of each of S slabs go.

    Attributes
    ----------
    values, gradients, hessians : ndarray of shapes (S,), (S, q), (S, q, q)
    """

    values: Any
    gradients: Any
    hessians: Any


_Function = TypeVar("_Function", bound=Callable[..., Any])


COMPILES = (
    "laplace compiles its kernels for this machine, which takes some seconds; later fits load them"
)


class _Announcement(event.Listener):
    """Says once that the kernels are compiled: by `logging`, or else to a terminal, or not at all.

    What is loaded from the folder of compiled code is not announced.
    """

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        """Take the beginning of a compilation, of whatever function."""
        if self._said or event.data["dispatcher"].py_func.__module__ != __name__:
            return
        self._said = True
        logger = logging.getLogger("laplace")
        if logger.isEnabledFor(logging.INFO):
            logger.info(COMPILES)
        elif sys.stderr is not None and sys.stderr.isatty():
            print(COMPILES, file=sys.stderr)

    def on_end(self, event: Any) -> None:
        """Take the end of a compilation."""


event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]


def _compiled(*fastmath: str) -> Callable[[_Function], _Function]:
    """Return a decorator that compiles a function when it is first called, and keeps the code.

    Where numba finds no folder that it can write to, every process compiles anew. What is called by
    other kernels alone, whose name begins with an underscore, is not made callable from Python,
    which would take longer to compile. Where it may reorder its sums, it becomes a part of what
    calls it: otherwise the process that compiles would call another copy, with other last digits,
    than one that loads.
    """

    def decorator(function: _Function) -> _Function:
        inner = function.__name__.startswith("_")
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": set(fastmath),
            "no_cfunc_wrapper": True,
            "no_cpython_wrapper": inner,
            "forceinline": inner and "reassoc" in fastmath,
        }
        compiler = njit(**options)(function)
        if hasattr(compiler, "enable_caching"):  # it has not where NUMBA_DISABLE_JIT is set
            with contextlib.suppress(RuntimeError):
                compiler.enable_caching()
        return cast(_Function, compiler)

    return decorator


# Where the order of operations is the point, it is kept.
_exact = _compiled("contract")
# Sums may be reordered, so that they run in vector registers; NaN and infinity keep their meaning.
_sums = _compiled("contract", "reassoc", "nsz", "arcp")

LOG2_E = 1.0 / math.log(2.0)
# log 2 in two parts: the first has so few bits that its products with whole numbers are exact
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# With a literal number as an argument, numba would compile a function a second time.
ZERO: Any = np.int64(0)
ONE: Any = np.int64(1)
# Adding 1.5 * 2^52 leaves the nearest whole number in the last bits of a float.
TO_WHOLE = 1.5 * 2.0**52
BIAS = 1023 << 52


# Elementary functions, which vectorise -----------------------------------------------------------


@_exact
def _exp(x: float) -> float:
    """Exponential to an ulp: 2^n times the Taylor polynomial of what is left, below log(2) / 2.

    It is zero where it would lose digits for being nearly so.
    """
    nothing = x < -708.0
    x = min(max(x, -708.0), 709.0)
    shifted = x * LOG2_E + TO_WHOLE
    n = shifted - TO_WHOLE
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    s = 1.0 / 6227020800.0
    s = s * r + 1.0 / 479001600.0
    s = s * r + 1.0 / 39916800.0
    s = s * r + 1.0 / 3628800.0
    s = s * r + 1.0 / 362880.0
    s = s * r + 1.0 / 40320.0
    s = s * r + 1.0 / 5040.0
    s = s * r + 1.0 / 720.0
    s = s * r + 1.0 / 120.0
    s = s * r + 1.0 / 24.0
    s = s * r + 1.0 / 6.0
    s = s * r + 0.5
    s = s * r + 1.0
    s = s * r + 1.0
    bits = np.float64(shifted).view(np.int64)
    power = np.int64((bits << np.int64(52)) + np.int64(BIAS)).view(np.float64)
    return 0.0 if nothing else s * power


@_exact
def _log1p(e: float) -> float:
    """log(1 + e) for e in [0, 1]: 2 artanh(e / (2 + e)), whose argument is at most 1/3."""
    z = e / (2.0 + e)
    t = z * z
    s = 1.0 / 31.0
    s = s * t + 1.0 / 29.0
    s = s * t + 1.0 / 27.0
    s = s * t + 1.0 / 25.0
    s = s * t + 1.0 / 23.0
    s = s * t + 1.0 / 21.0
    s = s * t + 1.0 / 19.0
    s = s * t + 1.0 / 17.0
    s = s * t + 1.0 / 15.0
    s = s * t + 1.0 / 13.0
    s = s * t + 1.0 / 11.0
    s = s * t + 1.0 / 9.0
    s = s * t + 1.0 / 7.0
    s = s * t + 1.0 / 5.0
    s = s * t + 1.0 / 3.0
    s = s * t + 1.0
    return 2.0 * z * s


# Rows --------------------------------------------------------------------------------------------
# All families in two forms: counts of successes among trials (one trial for 0/1), and Poisson.


@_exact
def _scores(poisson: bool, eta: Any, y: Any, trials: Any, r: Any, b_2: Any, b_3: Any) -> None:
    """Fill r = y - b' and the second and third derivatives of b, a number a row."""
    if poisson:
        for j in range(len(eta)):
            mean = _exp(min(eta[j], LARGEST_ETA))
            r[j] = y[j] - mean
            b_2[j] = mean
            b_3[j] = mean
    else:
        for j in range(len(eta)):
            e = _exp(-abs(eta[j]))
            large = 1.0 / (1.0 + e)
            small = e * large
            above = eta[j] >= 0.0
            pi = large if above else small
            not_pi = small if above else large
            r[j] = y[j] * not_pi - (trials[j] - y[j]) * pi
            b_2[j] = trials[j] * (large * small)
            b_3[j] = b_2[j] * (not_pi - pi)


@_exact
def _densities(poisson: bool, eta: Any, y: Any, trials: Any, log_f: Any, r: Any, b_2: Any) -> None:
    """Fill the log density without its constant, too."""
    if poisson:
        for j in range(len(eta)):
            mean = _exp(min(eta[j], LARGEST_ETA))
            log_f[j] = y[j] * eta[j] - mean * (1.0 + max(0.0, eta[j] - LARGEST_ETA))
            r[j] = y[j] - mean
            b_2[j] = mean
    else:
        for j in range(len(eta)):
            size = abs(eta[j])
            e = _exp(-size)
            large = 1.0 / (1.0 + e)
            small = e * large
            above = eta[j] >= 0.0
            pi = large if above else small
            not_pi = small if above else large
            failures = trials[j] - y[j]
            log_f[j] = -((failures if above else y[j]) * size + trials[j] * _log1p(e))
            r[j] = y[j] * not_pi - failures * pi
            b_2[j] = trials[j] * (large * small)


@_exact
def _higher(poisson: bool, eta: Any, trials: Any, b_3: Any, b_4: Any) -> None:
    """Fill b''' and b''''."""
    if poisson:
        for j in range(len(eta)):
            mean = _exp(min(eta[j], LARGEST_ETA))
            b_3[j] = mean
            b_4[j] = mean
    else:
        for j in range(len(eta)):
            e = _exp(-abs(eta[j]))
            large = 1.0 / (1.0 + e)
            variance = large * (e * large)
            tanh = (1.0 - e) * large  # of |eta| / 2
            b_3[j] = trials[j] * (variance * (-tanh if eta[j] >= 0.0 else tanh))
            b_4[j] = trials[j] * (variance * (1.0 - 6.0 * variance))


# Chunks of rows, transposed ----------------------------------------------------------------------


@_exact
def _load(X: Any, first: int, rows: int, XT: Any) -> None:
    """Copy some rows of X, transposed, as float64."""
    part = X[first : first + rows]
    for k in range(X.shape[1]):
        column = XT[k]
        for j in range(rows):
            column[j] = part[j, k]


@_sums
def _linear(XT: Any, rows: int, beta: Any, offset: Any, eta: Any) -> None:
    r"""Fill :math:`\eta = x'\beta` plus the offset; no offset is an empty array."""
    p = len(beta)
    if len(offset) > 0:
        for j in range(rows):
            eta[j] = offset[j]
    else:
        for j in range(rows):
            eta[j] = 0.0
    k = 0
    while k + 1 < p:
        left, right, b_left, b_right = XT[k], XT[k + 1], beta[k], beta[k + 1]
        for j in range(rows):
            eta[j] += left[j] * b_left + right[j] * b_right
        k += 2
    if k < p:
        column, b = XT[k], beta[k]
        for j in range(rows):
            eta[j] += column[j] * b


@_sums
def _add_score(XT: Any, r: Any, rows: int, p: int, total: Any) -> None:
    """Add X'r."""
    for k in range(p):
        column, s = XT[k], 0.0
        for j in range(rows):
            s += r[j] * column[j]
        total[k] += s


@_sums
def _add_cross(XT: Any, w: Any, rows: int, p: int, left: Any, right: Any, matrix: Any) -> None:
    """Add the lower triangle of X' diag(w) X, two columns by two; row p of XT may be anything."""
    for k in range(0, p, 2):
        column, next_column = XT[k], XT[k + 1]
        for j in range(rows):
            left[j] = w[j] * column[j]
        for j in range(rows):
            right[j] = w[j] * next_column[j]
        for h in range(0, k + 1, 2):
            one, two = XT[h], XT[h + 1]
            s_00, s_01, s_10, s_11 = 0.0, 0.0, 0.0, 0.0
            for j in range(rows):
                s_00 += left[j] * one[j]
                s_01 += left[j] * two[j]
                s_10 += right[j] * one[j]
                s_11 += right[j] * two[j]
            matrix[k, h] += s_00
            matrix[k, h + 1] += s_01
            matrix[k + 1, h] += s_10
            matrix[k + 1, h + 1] += s_11


@_sums
def _total(rows: Any, first: int, last: int) -> float:
    part, s = rows[first:last], 0.0
    for j in range(len(part)):
        s += part[j]
    return s


@_sums
def _add_sums(
    XT: Any, b_2: Any, b_3: Any, b_4: Any, first: int, last: int, p: int, i: int, s: Any, a: Any
) -> None:
    """Add the sums s_2, s_3, s_4 and a_2, a_3, a_4 of the rows of a group, the i-th of a batch."""
    rows = last - first  # loops from zero vectorise
    b_2, b_3, b_4 = b_2[first:last], b_3[first:last], b_4[first:last]
    s_2, s_3, s_4 = 0.0, 0.0, 0.0
    for j in range(rows):
        s_2 += b_2[j]
        s_3 += b_3[j]
        s_4 += b_4[j]
    s[0, i] += s_2
    s[1, i] += s_3
    s[2, i] += s_4
    for k in range(p):
        column = XT[k, first:last]
        s_2, s_3, s_4 = 0.0, 0.0, 0.0
        for j in range(rows):
            s_2 += b_2[j] * column[j]
            s_3 += b_3[j] * column[j]
            s_4 += b_4[j] * column[j]
        a[0, k, i] += s_2
        a[1, k, i] += s_3
        a[2, k, i] += s_4


@_exact
def _shift(eta: Any, starts: Any, g_0: int, g_1: int, base: int, u: Any, at_row: Any) -> None:
    """Fill the linear predictor with the random intercepts of the groups g_0 to g_1."""
    for g in range(g_0, g_1):
        u_g = u[g]
        for j in range(starts[g] - base, starts[g + 1] - base):
            at_row[j] = eta[j] + u_g


# Modes -------------------------------------------------------------------------------------------


@_exact
def _first_mode(
    poisson: bool, successes: float, mass: float, eta: float, precision: float
) -> float:
    r"""Return about where the mode is, from the sums of a group alone.

    If all its rows had the same linear predictor, its outcomes would ask for the empirical logit
    (or log), with about their information; the normal distribution pulls towards zero. It is a
    function of the rows and the parameters, so that no answer depends on what was asked before.
    """
    some = successes + 0.5
    if poisson:
        asked, information = np.log(some / mass), some
    else:
        none = mass - successes + 0.5
        if mass < FEW_OUTCOMES:
            share = (some - none) / (some + none)
            asked = 2.0 * share  # near enough to the logarithm, which takes longer
        else:
            asked = np.log(some / none)
        information = some * none / (mass + 1.0)
    start = (asked - eta) * information / (information + precision)
    return start if abs(start) < LARGEST_START else 0.0


@_exact
def _find_modes(
    poisson: bool,
    eta: Any,
    y: Any,
    trials: Any,
    starts: Any,
    g_0: int,
    g_1: int,
    tau: float,
    u: Any,
    at_row: Any,
    r: Any,
    b_2: Any,
    b_3: Any,
    search: Any,
) -> int:
    r"""Find the modes of a block by Halley's method inside brackets; return how many were not.

    Halley's step is Newton's, bent by the third derivative. :math:`g_\mu` falls strictly in
    :math:`\mu`, so its sign says on which side the mode lies. A step that leaves the bracket, or is
    not half the step before, gives way to the bracket's middle: such methods alone can cycle. Where
    g_u is so flat that rounding hides the mode, a point where it is zero to rounding is taken, or
    the bracket's end when it has closed. The groups of a block step together; those that are done
    keep their mode.
    """
    base = starts[g_0]
    rows = starts[g_1] - base
    lower, upper, last, done = search[LOWER], search[UPPER], search[LAST], search[DONE]
    for g in range(g_0, g_1):
        first, end = starts[g] - base, starts[g + 1] - base
        successes, mass, largest, total = 0.0, 0.0, -np.inf, 0.0
        for j in range(first, end):
            successes += y[j]
            mass += trials[j]
            largest = max(largest, eta[j])
            total += trials[j] * eta[j]
        i = g - g_0
        # g_mu is negative above tau^2 sum y, as the mean of y is positive; and positive where even
        # sum_j m_j exp(eta_j + mu), which is above the mean, is small
        upper[i] = tau**2 * successes
        lower[i] = -(max(1.0, largest + np.log(mass) + 2.0 * np.log(tau)) + 1.0)
        u[g] = _first_mode(poisson, successes, mass, total / mass, 1.0 / tau**2)
        u[g] = min(max(u[g], lower[i]), upper[i])
        last[i] = upper[i] - lower[i]
        done[i] = 0.0
    left = g_1 - g_0
    few = left // FEW_LEFT
    for iteration in range(MODE_ITERATIONS):
        for c in range(0, rows, CHUNK):  # a larger group has room for its sums only
            end_of_chunk = min(rows, c + CHUNK)
            size = end_of_chunk - c
            if rows <= CHUNK and left <= few:
                for g in range(g_0, g_1):
                    if done[g - g_0] == 0.0:
                        first, end = starts[g] - base, starts[g + 1] - base
                        for j in range(first, end):
                            at_row[j] = eta[j] + u[g]
                        one = at_row[first:end]
                        _scores(
                            poisson,
                            one,
                            y[first:end],
                            trials[first:end],
                            r[first:],
                            b_2[first:],
                            b_3[first:],
                        )
                continue
            if rows <= CHUNK:
                _shift(eta, starts, g_0, g_1, base, u, at_row)
            else:
                for j in range(size):
                    at_row[j] = eta[c + j] + u[g_0]
            _scores(poisson, at_row[:size], y[c:end_of_chunk], trials[c:end_of_chunk], r, b_2, b_3)
            if rows > CHUNK:
                if c == 0:
                    search[SCORE:, 0] = 0.0
                search[SCORE, 0] += _total(r, ZERO, size)
                search[S_2, 0] += _total(b_2, ZERO, size)
                search[S_3, 0] += _total(b_3, ZERO, size)
                for j in range(size):
                    search[TERMS, 0] += abs(r[j])
        for g in range(g_0, g_1):
            i = g - g_0
            if done[i] != 0.0:
                continue
            if rows > CHUNK:
                score, s_2 = search[SCORE, 0], search[S_2, 0]
                terms, s_3 = search[TERMS, 0], search[S_3, 0]
            else:
                first, end = starts[g] - base, starts[g + 1] - base
                score, s_2, terms = _total(r, first, end), _total(b_2, first, end), 0.0
                s_3 = _total(b_3, first, end)
                if iteration >= MODE_ITERATIONS_WITHOUT_TEST:
                    for j in range(first, end):
                        terms += abs(r[j])
            u_g = u[g]
            g_u = score - u_g / tau**2  # eq-g_u
            g_uu = -s_2 - 1.0 / tau**2  # eq-g_uu
            if g_u > 0.0:
                lower[i] = u_g
            if g_u < 0.0:
                upper[i] = u_g
            step = -g_u / g_uu
            bend = 0.5 * step * -s_3 / g_uu  # half of g_uuu times Newton's step, over g_uu
            if bend > -0.5:
                step /= 1.0 + bend
            new = u_g + step
            if abs(new - u_g) <= MODE_STEP_TOLERANCE * np.sqrt(1.0 + abs(u_g)):
                u[g] = new
                done[i] = 1.0
                left -= 1
                continue
            if iteration >= MODE_ITERATIONS_WITHOUT_TEST:
                terms += abs(u_g) / tau**2
                if (np.isfinite(g_u) and abs(g_u) <= MODE_ROUNDING * terms) or (
                    upper[i] - lower[i] <= MODE_ROUNDING * abs(u_g)
                ):
                    done[i] = 1.0
                    left -= 1
                    continue
            if not (lower[i] < new < upper[i] and abs(new - u_g) <= 0.5 * last[i]):
                new = 0.5 * (lower[i] + upper[i])
            last[i] = abs(new - u_g)
            u[g] = new
        if left == 0:
            return 0
    return left


# A batch of groups, after their sums --------------------------------------------------------------
# Every quantity has an entry a group in its last dimension, along which the loops run.


@_exact
def _at_mode(
    tau: float,
    u: Any,
    s: Any,
    a: Any,
    p: int,
    D: Any,
    mu_theta: Any,
    D_theta: Any,
    g_uu_theta: Any,
    g_uuu_theta: Any,
) -> None:
    """Fill D, the first derivatives of the mode and of D, and what they need."""
    count = len(u)
    s_2, s_3 = s[0], s[1]
    for i in range(count):
        D[i] = s_2[i] + 1.0 / tau**2
    for k in range(p):
        a_2, a_3, a_4 = a[0, k], a[1, k], a[2, k]
        mu, g_uu, g_uuu = mu_theta[k], g_uu_theta[k], g_uuu_theta[k]
        for i in range(count):
            mu[i] = -a_2[i] / D[i]  # eq-mu_b
        for i in range(count):
            g_uu[i] = -a_3[i]  # eq-g_uub
        for i in range(count):
            g_uuu[i] = -a_4[i]  # eq-g_uuub
    mu, g_uu, g_uuu = mu_theta[p], g_uu_theta[p], g_uuu_theta[p]
    for i in range(count):
        mu[i] = (2.0 * u[i] / tau**2) / D[i]  # eq-mu_t
        g_uu[i] = 2.0 / tau**2
        g_uuu[i] = 0.0
    for k in range(p + 1):
        total, mu, g_uu = D_theta[k], mu_theta[k], g_uu_theta[k]
        for i in range(count):
            # the total derivative, along the mode: eq-omega_b is -omega^3 / 2 times this
            total[i] = s_3[i] * mu[i] - g_uu[i]


@_exact
def _add_second(
    weight_mode: Any,
    weight_D: Any,
    tau: float,
    u: Any,
    D: Any,
    s: Any,
    mu_theta: Any,
    g_uu_theta: Any,
    g_uuu_theta: Any,
    p: int,
    along_mu: Any,
    tail: Any,
) -> None:
    r"""Add the second derivatives of the mode and of D, with a weight each.

    .. math::
        D\,\hat\mu_{\theta\theta'} &= g_{\mu\mu\mu}\hat\mu_\theta\hat\mu_{\theta'} +
        \hat\mu_\theta g_{\mu\mu\theta'} + g_{\mu\mu\theta}\hat\mu_{\theta'} + g_{\mu\theta\theta'}
        \\
        -D_{\theta\theta'} &= g_{\mu\mu\mu}\hat\mu_{\theta\theta'} +
        g_{\mu\mu\mu\mu}\hat\mu_\theta\hat\mu_{\theta'} + \hat\mu_\theta g_{\mu\mu\mu\theta'} +
        g_{\mu\mu\mu\theta}\hat\mu_{\theta'} + g_{\mu\mu\theta\theta'}

    (eq-mu_bb and, through D, eq-omega_bb). What is an outer product goes to `along_mu`, the vector
    v in mu_theta v' + v mu_theta'; what is a sum of x x' over rows goes to the weights of b''' and
    b'''' in ``tail[0]`` and ``tail[1]``, and the Gaussian term's own to the entry of log tau,
    ``tail[2]``. The weights are overwritten.
    """
    count = len(u)
    s_3, s_4, in_b_3, in_b_4, in_tau = s[1], s[2], tail[0], tail[1], tail[2]
    for i in range(count):
        w = (weight_mode[i] + weight_D[i] * s_3[i]) / D[i]
        in_b_3[i] -= w
        in_b_4[i] += weight_D[i]
        in_tau[i] += 4.0 * weight_D[i] / tau**2 - 4.0 * w * u[i] / tau**2
        weight_mode[i] = w
    for k in range(p + 1):
        along, mu, g_uu, g_uuu = along_mu[k], mu_theta[k], g_uu_theta[k], g_uuu_theta[k]
        for i in range(count):
            w, w_D = weight_mode[i], weight_D[i]
            scale = 0.5 * (w_D * s_4[i] - w * s_3[i])
            along[i] += scale * mu[i] + w * g_uu[i] - w_D * g_uuu[i]


@_sums
def _add_pairs(q: int, left: Any, right: Any, count: int, matrix: Any) -> None:
    """Add the sum of left right' + right left' to the lower triangle."""
    for k in range(q):
        left_k, right_k = left[k], right[k]
        for h in range(k + 1):
            left_h, right_h, total = left[h], right[h], 0.0
            for i in range(count):
                total += left_k[i] * right_h[i] + right_k[i] * left_h[i]
            matrix[k, h] += total


@_sums
def _add_square(q: int, weight: Any, vector: Any, count: int, matrix: Any) -> None:
    """Add the sum of weight times vector vector' to the lower triangle."""
    for k in range(q):
        vector_k = vector[k]
        for h in range(k + 1):
            vector_h, total = vector[h], 0.0
            for i in range(count):
                total += weight[i] * vector_k[i] * vector_h[i]
            matrix[k, h] += total


@_sums
def _finish_laplace(
    tau: float,
    u: Any,
    s: Any,
    a: Any,
    p: int,
    vectors: Any,
    scalars: Any,
    gradient: Any,
    matrix: Any,
    tail: Any,
) -> float:
    """Add the groups' parts of the gradient and the Hessian, and return that of the value.

    Their log density, and what it gives to the gradient and the Hessian, are summed with the rows.
    """
    count = len(u)
    mu_theta, D_theta, g_uu_theta, g_uuu_theta = vectors[0], vectors[1], vectors[2], vectors[3]
    along_mu = vectors[4]
    D, weight_mode, weight_D, weight_square = scalars[0], scalars[1], scalars[2], scalars[3]
    _at_mode(tau, u, s, a, p, D, mu_theta, D_theta, g_uu_theta, g_uuu_theta)
    # eq-l_1; the -1 of g_tau and the 1 of -D_tau / 2D are cancelled by hand, so that it stays
    # exact as tau falls
    for i in range(count):
        weight_mode[i] = 0.0
        weight_D[i] = -0.5 / D[i]
        weight_square[i] = 0.5 / D[i] ** 2
    for k in range(p):
        in_theta, total = D_theta[k], 0.0
        for i in range(count):
            total += weight_D[i] * in_theta[i]
        gradient[k] += total
    mu, s_2, s_3, total, value = mu_theta[p], s[0], s[1], 0.0, 0.0
    for i in range(count):
        ratio = (u[i] / tau) ** 2
        total += ratio - (s_2[i] + 0.5 * s_3[i] * mu[i]) / D[i]
        tail[0, i] = 0.0
        tail[1, i] = 0.0
        tail[2, i] = -2.0 * ratio
    gradient[p] += total
    # eq-l_2: g_uu mu_theta mu_theta' is the total derivative's, -log(D)/2 gives the rest
    for k in range(p + 1):
        along, mu = along_mu[k], mu_theta[k]
        for i in range(count):
            along[i] = 0.5 * D[i] * mu[i]
    _add_second(
        weight_mode, weight_D, tau, u, D, s, mu_theta, g_uu_theta, g_uuu_theta, p, along_mu, tail
    )
    _add_pairs(p + 1, mu_theta, along_mu, count, matrix)
    _add_square(p + 1, weight_square, D_theta, count, matrix)
    # log(sqrt(2 pi) omega) + g with the constants cancelled; eq-l
    for i in range(count):
        value -= 0.5 * (u[i] / tau) ** 2 + 0.5 * np.log1p(tau**2 * s_2[i])
    return value


@_sums
def _finish_nodes(
    adaptive: bool,
    tau: float,
    u: Any,
    s: Any,
    a: Any,
    p: int,
    z: Any,
    weights: Any,
    scores: Any,
    s_2_nodes: Any,
    g_b_nodes: Any,
    a_2_nodes: Any,
    vectors: Any,
    scalars: Any,
    gradient: Any,
    matrix: Any,
    tail: Any,
) -> float:
    r"""Add a group's part by a rule with nodes :math:`u_k = c + \sqrt2\,\sigma z_k`.

    The adaptive rule has the mode for c and omega for sigma, the ordinary rule 0 and tau; both
    move with theta. The `weights` are the nodes' shares of the sum. The batch is of one group, and
    the arrays of the nodes have an entry a node in their last dimension. Return the log of the
    scale.
    """
    q, nodes = p + 1, len(z)
    mu_theta, D_theta, g_uu_theta, g_uuu_theta = vectors[0], vectors[1], vectors[2], vectors[3]
    along_mu, along_sigma = vectors[4], vectors[5]
    sigma_theta, g_u_0, g_u_1 = vectors[6], vectors[7], vectors[8]
    width, weight_mode, weight_D, weight_square = scalars[0], scalars[1], scalars[2], scalars[3]
    centre, sigma = 0.0, tau
    for h in range(q):
        mu_theta[h, 0] = 0.0
        sigma_theta[h, 0] = 0.0
        g_u_0[h, 0] = 0.0
        g_u_1[h, 0] = 0.0
    sigma_theta[p, 0] = tau
    if adaptive:
        _at_mode(tau, u, s, a, p, width, mu_theta, D_theta, g_uu_theta, g_uuu_theta)
        centre, sigma = u[0], width[0] ** -0.5
        for h in range(q):
            sigma_theta[h, 0] = -0.5 * sigma**3 * D_theta[h, 0]  # eq-omega_b, eq-omega_t
    g_uu_00, g_uu_01, g_uu_11, along_c, along_s = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(nodes):
        weight, zeta = weights[k], math.sqrt(2.0) * z[k]
        u_k = centre + zeta * sigma
        g_u = scores[k] - u_k / tau**2
        g_uu = -s_2_nodes[k] - 1.0 / tau**2
        g_b_nodes[p, k] = (u_k / tau) ** 2 - 1.0
        a_2_nodes[p, k] = -2.0 * u_k / tau**2
        g_uu_00 += weight * g_uu
        g_uu_01 += weight * zeta * g_uu
        g_uu_11 += weight * zeta**2 * g_uu
        along_c += weight * g_u
        along_s += weight * zeta * g_u
        tail[2, 0] -= 2.0 * weight * (u_k / tau) ** 2
        scores[k] = g_u
    for h in range(q):
        total, minus_a_2 = g_b_nodes[h], a_2_nodes[h]
        mu_h, sigma_h = mu_theta[h, 0], sigma_theta[h, 0]
        mean, in_0, in_1 = 0.0, 0.0, 0.0
        for k in range(nodes):
            zeta = math.sqrt(2.0) * z[k]
            # the total derivative of g(u_k), with the node's movement; it replaces g_b
            total[k] += scores[k] * (mu_h + zeta * sigma_h)
            mean += weights[k] * total[k]
            in_0 -= weights[k] * minus_a_2[k]
            in_1 -= weights[k] * zeta * minus_a_2[k]
        for k in range(nodes):
            total[k] -= mean
        gradient[h] += mean
        g_u_0[h, 0], g_u_1[h, 0] = in_0, in_1
    _add_square(q, weights, g_b_nodes, nodes, matrix)
    for h in range(q):
        mu_h, sigma_h = mu_theta[h, 0], sigma_theta[h, 0]
        along_mu[h, 0] = g_u_0[h, 0] + 0.5 * g_uu_00 * mu_h + g_uu_01 * sigma_h
        along_sigma[h, 0] = g_u_1[h, 0] + 0.5 * g_uu_11 * sigma_h
    if adaptive:
        # log omega, and the second derivatives of the nodes: all that is left are those of mu
        # and D with a weight a group
        D = width[0]
        for h in range(q):
            gradient[h] -= 0.5 * D_theta[h, 0] / D
        weight_mode[0] = along_c
        weight_D[0] = -0.5 / D - 0.5 * along_s * sigma**3
        weight_square[0] = 0.5 / D**2 + 0.75 * along_s * sigma**5
        _add_second(
            weight_mode,
            weight_D,
            tau,
            u,
            width,
            s,
            mu_theta,
            g_uu_theta,
            g_uuu_theta,
            p,
            along_mu,
            tail,
        )
        _add_square(q, weight_square, D_theta, ONE, matrix)
        _add_pairs(q, mu_theta, along_mu, ONE, matrix)
    else:
        gradient[p] += 1.0
        tail[2, 0] += along_s * tau
    _add_pairs(q, sigma_theta, along_sigma, ONE, matrix)
    return 0.5 * np.log(2.0) + np.log(sigma)


# One group at its nodes --------------------------------------------------------------------------


@_sums
def _add_node(
    XT: Any, r: Any, b_2: Any, first: int, rows: int, at: int, p: int, i: int, g_b: Any, a_2: Any
) -> None:
    """Add sum r x and sum b'' x of the rows of a group at its i-th node."""
    r, b_2 = r[at : at + rows], b_2[at : at + rows]
    for k in range(p):
        column = XT[k, first : first + rows]
        s, t = 0.0, 0.0
        for j in range(rows):
            s += r[j] * column[j]
            t += b_2[j] * column[j]
        g_b[k, i] += s
        a_2[k, i] += t


@_exact
def _at_nodes(
    eta: Any, y: Any, trials: Any, size: int, centre: float, scale: float, z: Any, flat: Any
) -> None:
    """Lay the rows of a chunk out once for each node in `z`, one copy after the other."""
    at_row, y_flat, trials_flat = flat[0], flat[1], flat[2]
    for i in range(len(z)):
        u_k, at = centre + scale * z[i], i * size
        for j in range(size):
            at_row[at + j] = eta[j] + u_k
        for j in range(size):
            y_flat[at + j] = y[j]
        for j in range(size):
            trials_flat[at + j] = trials[j]


@_exact
def _nodes_of_group(
    poisson: bool,
    X: Any,
    XT: Any,
    loaded: bool,
    eta: Any,
    y: Any,
    trials: Any,
    first: int,
    rows: int,
    x_row: int,
    p: int,
    tau: float,
    centre: float,
    sigma: float,
    z: Any,
    log_w: Any,
    flat: Any,
    kept: Any,
    weights: Any,
    scores: Any,
    s_2_nodes: Any,
    g_b_nodes: Any,
    a_2_nodes: Any,
    weight_2: Any,
) -> float:
    """Fill the sums of a group at its nodes, the nodes' weights, and the rows' mean b''.

    As many nodes at a time as fit in a chunk, so that groups of few rows fill it, too. Return
    the log of the sum over nodes (eq-adaptive and eq-ordinary, without the scale).
    """
    log_f, r = flat[3], flat[4]
    nodes, scale = len(z), math.sqrt(2.0) * sigma
    keep = rows <= CHUNK and rows * nodes <= len(kept)
    for k in range(nodes):
        u_k = centre + scale * z[k]  # eq-adaptive_nodes
        log_normal = -0.5 * (u_k / tau) ** 2 - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
        weights[k] = log_w[k] + z[k] ** 2 + log_normal
        scores[k], s_2_nodes[k] = 0.0, 0.0
        for h in range(p):
            g_b_nodes[h, k] = 0.0
            a_2_nodes[h, k] = 0.0
    for c in range(0, rows, CHUNK):
        size = min(CHUNK, rows - c)
        if not loaded:
            _load(X, x_row + c, size, XT)
        at, together = first + c, CHUNK // size
        for k_0 in range(0, nodes, together):
            count = min(together, nodes - k_0)
            z_part = z[k_0 : k_0 + count]
            _at_nodes(eta[at:], y[at:], trials[at:], size, centre, scale, z_part, flat)
            n = count * size
            b_2 = kept[k_0 * rows :] if keep else flat[5]
            _densities(poisson, flat[0, :n], flat[1], flat[2], log_f, r, b_2)
            for i in range(count):
                k, here, end = k_0 + i, i * size, (i + 1) * size
                weights[k] += _total(log_f, here, end)
                scores[k] += _total(r, here, end)
                s_2_nodes[k] += _total(b_2, here, end)
                row_of_chunk = first if loaded else 0
                _add_node(XT, r, b_2, row_of_chunk, size, here, p, k, g_b_nodes, a_2_nodes)

    largest, total = -np.inf, 0.0
    for k in range(nodes):
        largest = max(largest, weights[k])
    for k in range(nodes):
        weights[k] = np.exp(weights[k] - largest)
        total += weights[k]
    for k in range(nodes):
        weights[k] /= total

    for j in range(first, first + rows):
        weight_2[j] = 0.0
    for c in range(0, rows, CHUNK):
        size = min(CHUNK, rows - c)
        at, together = first + c, CHUNK // size
        for k_0 in range(0, nodes, together):
            count = min(together, nodes - k_0)
            b_2 = kept[k_0 * rows :] if keep else flat[5]
            if not keep:
                z_part = z[k_0 : k_0 + count]
                _at_nodes(eta[at:], y[at:], trials[at:], size, centre, scale, z_part, flat)
                _scores(poisson, flat[0, : count * size], flat[1], flat[2], r, b_2, flat[3])
            for i in range(count):
                weight, here = weights[k_0 + i], i * size
                for j in range(size):
                    weight_2[at + j] += weight * b_2[here + j]
    return largest + np.log(total)


# Slabs -------------------------------------------------------------------------------------------


@_exact
def evaluate(
    first_slab: int,
    last_slab: int,
    slabs: Any,
    blocks: Any,
    data: Rows,
    beta: Any,
    tau: float,
    quadrature: Rule,
    modes: Modes,
    sums: Sums,
) -> None:
    r"""Sum value, gradient and Hessian of the groups of some slabs.

    Parameters
    ----------
    first_slab, last_slab : int
        Which slabs.
    slabs, blocks : ndarray of int
        First block of each slab, first group of each block; each with an end.
    data : Rows
        The rows.
    beta, tau
        Parameters; tau above zero.
    quadrature : Rule
        The rule.
    modes : Modes
        Where the modes go.
    sums : Sums
        Where the sums of each slab go.
    """
    starts, X, y, offset, trials, poisson = data
    rule, z, log_w = quadrature
    u, information, lost = modes
    values, gradients, hessians = sums
    p = len(beta)
    q = p + 1
    nodes = len(z)
    most = 0
    for b in range(slabs[first_slab], slabs[last_slab]):
        most = max(most, starts[blocks[b + 1]] - starts[blocks[b]])
    room = max(most, 1)
    chunk = min(room, CHUNK)
    XT = np.zeros((p + (p & 1), chunk))
    eta = np.empty(room)
    at_row, r, b_2, b_3, b_4 = (
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
    )
    log_f, w, left, right = np.empty(chunk), np.empty(chunk), np.empty(chunk), np.empty(chunk)
    zeros, ones = np.zeros(0), np.ones(room if len(trials) == 0 else 0)
    search = np.empty((8, chunk))
    batch = BATCH if rule == LAPLACE else 1
    s, a, tail = np.empty((3, batch)), np.empty((3, p, batch)), np.empty((3, batch))
    vectors, scalars = np.empty((9, q, batch)), np.empty((4, batch))
    flat = np.empty((6, 0 if rule == LAPLACE else CHUNK))
    kept = np.empty(0 if rule == LAPLACE else KEPT)
    weight_2 = np.empty(room if rule != LAPLACE else 0)
    weights, scores, s_2_nodes = np.empty(nodes), np.empty(nodes), np.empty(nodes)
    g_b_nodes, a_2_nodes = np.empty((q, nodes)), np.empty((q, nodes))

    for slab in range(first_slab, last_slab):
        value = 0.0
        gradient, matrix = np.zeros(q), np.zeros((q, q))
        cross = np.zeros((p + (p & 1), p + (p & 1)))
        in_tau = 0.0
        for b in range(slabs[slab], slabs[slab + 1]):
            g_0, g_1 = blocks[b], blocks[b + 1]
            base = starts[g_0]
            rows = starts[g_1] - base
            y_b = y[base : base + rows]
            trials_b = ones[:rows] if len(trials) == 0 else trials[base : base + rows]
            several = rows > CHUNK  # then the block is one group
            for c in range(0, rows, CHUNK):
                size = min(CHUNK, rows - c)
                _load(X, base + c, size, XT)
                part = zeros if len(offset) == 0 else offset[base + c : base + c + size]
                _linear(XT, size, beta, part, eta[c:])
            if rule != ORDINARY:
                lost[slab] += _find_modes(
                    poisson,
                    eta,
                    y_b,
                    trials_b,
                    starts,
                    g_0,
                    g_1,
                    tau,
                    u,
                    at_row,
                    r,
                    b_2,
                    b_3,
                    search,
                )

            # what the rows give at the mode; a larger group takes its sums chunk by chunk
            if rule != ORDINARY:
                s[:, 0] = 0.0
                a[:, :, 0] = 0.0
                for c in range(0, rows, CHUNK):
                    size = min(CHUNK, rows - c)
                    if several:
                        _load(X, base + c, size, XT)
                        for j in range(size):
                            at_row[j] = eta[c + j] + u[g_0]
                    else:
                        _shift(eta, starts, g_0, g_1, base, u, at_row)
                    part_y, part_trials = y_b[c : c + size], trials_b[c : c + size]
                    _densities(poisson, at_row[:size], part_y, part_trials, log_f, r, b_2)
                    _higher(poisson, at_row[:size], part_trials, b_3, b_4)
                    if rule == LAPLACE:
                        value += _total(log_f, ZERO, size)
                        _add_score(XT, r, size, p, gradient)
                    if several:
                        _add_sums(XT, b_2, b_3, b_4, ZERO, size, p, ZERO, s, a)

            for t_0 in range(g_0, g_1, batch):
                t_1 = min(t_0 + batch, g_1)
                if rule != ORDINARY:
                    if not several:
                        s[:, : t_1 - t_0] = 0.0
                        a[:, :, : t_1 - t_0] = 0.0
                        for g in range(t_0, t_1):
                            first, end = starts[g] - base, starts[g + 1] - base
                            _add_sums(XT, b_2, b_3, b_4, first, end, p, g - t_0, s, a)
                    for g in range(t_0, t_1):
                        information[g] = s[0, g - t_0]
                u_t = u[t_0:t_1]
                if rule == LAPLACE:
                    value += _finish_laplace(
                        tau, u_t, s, a, p, vectors, scalars, gradient, matrix, tail
                    )
                else:
                    first, end = starts[t_0] - base, starts[t_1] - base
                    tail[:, 0] = 0.0
                    centre, sigma = 0.0, tau
                    if rule == ADAPTIVE:
                        centre, sigma = u[t_0], (s[0, 0] + 1.0 / tau**2) ** -0.5
                    value += _nodes_of_group(
                        poisson,
                        X,
                        XT,
                        not several,
                        eta,
                        y_b,
                        trials_b,
                        first,
                        end - first,
                        base + first,
                        p,
                        tau,
                        centre,
                        sigma,
                        z,
                        log_w,
                        flat,
                        kept,
                        weights,
                        scores,
                        s_2_nodes,
                        g_b_nodes,
                        a_2_nodes,
                        weight_2,
                    )
                    value += _finish_nodes(
                        rule == ADAPTIVE,
                        tau,
                        u_t,
                        s,
                        a,
                        p,
                        z,
                        weights,
                        scores,
                        s_2_nodes,
                        g_b_nodes,
                        a_2_nodes,
                        vectors,
                        scalars,
                        gradient,
                        matrix,
                        tail,
                    )
                for i in range(t_1 - t_0):
                    in_tau += tail[2, i]
                # the weight of each row in the one cross-product
                if not several:
                    for g in range(t_0, t_1):
                        first, end = starts[g] - base, starts[g + 1] - base
                        in_b_3, in_b_4 = tail[0, g - t_0], tail[1, g - t_0]
                        if rule == LAPLACE:
                            for j in range(first, end):
                                w[j] = in_b_3 * b_3[j] + in_b_4 * b_4[j] - b_2[j]
                        elif rule == ADAPTIVE:
                            for j in range(first, end):
                                w[j] = in_b_3 * b_3[j] + in_b_4 * b_4[j] - weight_2[j]
                        else:
                            for j in range(first, end):
                                w[j] = -weight_2[j]
            if not several:
                _add_cross(XT, w, rows, p, left, right, cross)
            else:
                for c in range(0, rows, CHUNK):
                    size = min(CHUNK, rows - c)
                    _load(X, base + c, size, XT)
                    if rule == ORDINARY:
                        for j in range(size):
                            w[j] = -weight_2[c + j]
                    else:
                        for j in range(size):
                            at_row[j] = eta[c + j] + u[g_0]
                        part_y, part_trials = y_b[c : c + size], trials_b[c : c + size]
                        _scores(poisson, at_row[:size], part_y, part_trials, r, b_2, b_3)
                        _higher(poisson, at_row[:size], part_trials, b_3, b_4)
                        for j in range(size):
                            w_2 = b_2[j] if rule == LAPLACE else weight_2[c + j]
                            w[j] = tail[0, 0] * b_3[j] + tail[1, 0] * b_4[j] - w_2
                    _add_cross(XT, w, size, p, left, right, cross)
        values[slab] = value
        for k in range(q):
            gradients[slab, k] = gradient[k]
            for h in range(k + 1):
                hessians[slab, k, h] = matrix[k, h] + (cross[k, h] if k < p else 0.0)
                hessians[slab, h, k] = hessians[slab, k, h]
        hessians[slab, p, p] += in_tau


@_exact
def evaluate_without(
    first_slab: int,
    last_slab: int,
    slabs: Any,
    blocks: Any,
    data: Rows,
    beta: Any,
    sums: Sums,
    spread: Any,
) -> None:
    r"""Sum value, gradient and Hessian without random intercepts, as in `evaluate`.

    `spread`, of shape (S, 4), takes what the groups of a slab tell of their random intercepts: with
    the score and the information of a group, the sums of y - b' and of b'', it is the sum of half
    the square of the score less the information, the sum of squares of the information, and the
    least and the largest information.
    """
    starts, X, y, offset, trials, poisson = data
    values, gradients, hessians = sums
    p = len(beta)
    most_rows = 1
    for b in range(slabs[first_slab], slabs[last_slab]):
        most_rows = max(most_rows, starts[blocks[b + 1]] - starts[blocks[b]])
    chunk = min(most_rows, CHUNK)
    scores, information = np.empty(chunk), np.empty(chunk)
    XT = np.zeros((p + (p & 1), chunk))
    eta, log_f, r, b_2, w = (
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
        np.empty(chunk),
    )
    left, right, zeros, ones = np.empty(chunk), np.empty(chunk), np.zeros(0), np.ones(chunk)
    for slab in range(first_slab, last_slab):
        value = 0.0
        slope, squares, least, most = 0.0, 0.0, np.inf, -np.inf
        gradient, cross = np.zeros(p), np.zeros((p + (p & 1), p + (p & 1)))
        for b in range(slabs[slab], slabs[slab + 1]):
            g_0, g_1 = blocks[b], blocks[b + 1]
            base = starts[g_0]
            rows = starts[g_1] - base
            scores[0], information[0] = 0.0, 0.0
            for c in range(0, rows, CHUNK):
                size = min(CHUNK, rows - c)
                at = base + c
                _load(X, at, size, XT)
                part = zeros if len(offset) == 0 else offset[at : at + size]
                _linear(XT, size, beta, part, eta)
                part_trials = ones[:size] if len(trials) == 0 else trials[at : at + size]
                _densities(poisson, eta[:size], y[at : at + size], part_trials, log_f, r, b_2)
                value += _total(log_f, ZERO, size)
                _add_score(XT, r, size, p, gradient)
                for j in range(size):
                    w[j] = -b_2[j]
                _add_cross(XT, w, size, p, left, right, cross)
                if rows > CHUNK:
                    scores[0] += _total(r, ZERO, size)
                    information[0] += _total(b_2, ZERO, size)
                else:
                    for g in range(g_0, g_1):
                        first, end = starts[g] - base, starts[g + 1] - base
                        scores[g - g_0] = _total(r, first, end)
                        information[g - g_0] = _total(b_2, first, end)
            for i in range(g_1 - g_0):
                slope += 0.5 * (scores[i] ** 2 - information[i])
                squares += information[i] ** 2
                least = min(least, information[i])
                most = max(most, information[i])
        values[slab] = value
        spread[slab, 0], spread[slab, 1] = slope, squares
        spread[slab, 2], spread[slab, 3] = least, most
        for k in range(p):
            gradients[slab, k] = gradient[k]
            for h in range(k + 1):
                hessians[slab, k, h] = cross[k, h]
                hessians[slab, h, k] = cross[k, h]


@_sums
def look_through(
    first_slab: int,
    last_slab: int,
    slabs: Any,
    blocks: Any,
    starts: Any,
    X: Any,
    grams: Any,
    sums: Any,
) -> None:
    """Sum X'X and X'1 of the rows of some slabs.

    A NaN or an infinity anywhere makes an entry of the sum's diagonal NaN or infinite.
    """
    p = X.shape[1]
    rows = starts[blocks[slabs[last_slab]]] - starts[blocks[slabs[first_slab]]]
    chunk = max(min(rows, CHUNK), 1)
    XT = np.zeros((p + (p & 1), chunk))
    w, left, right = np.ones(chunk), np.empty(chunk), np.empty(chunk)
    for slab in range(first_slab, last_slab):
        cross = np.zeros((p + (p & 1), p + (p & 1)))
        total = np.zeros(p)
        last_row = starts[blocks[slabs[slab + 1]]]
        for at in range(starts[blocks[slabs[slab]]], last_row, CHUNK):
            size = min(CHUNK, last_row - at)
            _load(X, at, size, XT)
            _add_cross(XT, w, size, p, left, right, cross)
            _add_score(XT, w, size, p, total)
        for k in range(p):
            sums[slab, k] = total[k]
            for h in range(k + 1):
                grams[slab, k, h] = cross[k, h]


@_exact
def sort_by_code(codes: Any, groups: int, order: Any, starts: Any) -> None:
    """Fill the order of the rows by code, which keeps that within a code, and each code's first."""
    counts = np.zeros(groups + 1, np.int64)
    for j in range(len(codes)):
        counts[codes[j] + 1] += 1
    for g in range(groups):
        counts[g + 1] += counts[g]
        starts[g] = counts[g]
    starts[groups] = len(codes)
    for j in range(len(codes)):
        order[counts[codes[j]]] = j
        counts[codes[j]] += 1


@_exact
def pack(starts: Any) -> Any:
    """Return the first group of each block, and the end."""
    m = len(starts) - 1
    blocks = np.empty(m + 1, np.int64)
    count, first = 0, 0
    for g in range(m):
        if g == first or starts[g + 1] - starts[first] <= CHUNK:
            continue
        blocks[count] = first
        count += 1
        first = g
    blocks[count] = first
    blocks[count + 1] = m
    return blocks[: count + 2].copy()


# Many data sets, each at its own parameters -------------------------------------------------------


class Places(NamedTuple):
    """Where each of D data sets lies in arrays that hold the rows of all; shape (D,) each.

    Attributes
    ----------
    row, x_row : ndarray of int
        First row of the outcomes, and of X: the same X may serve many outcomes.
    rows : ndarray of int
        Number of rows.
    with_offset, with_trials : ndarray of int
        How many of them have an offset, and trials: all or none.
    start, groups : ndarray of int
        Where the first rows of its groups begin, and how many groups there are.
    slab, slabs, block, blocks : ndarray of int
        The same for its slabs and its blocks.
    """

    row: Any
    x_row: Any
    rows: Any
    with_offset: Any
    with_trials: Any
    start: Any
    groups: Any
    slab: Any
    slabs: Any
    block: Any
    blocks: Any


class Together(NamedTuple):
    """The rows of many data sets with as many columns, one after the other.

    Attributes
    ----------
    places : Places
        Where each lies.
    starts, slabs, blocks : ndarray of int
        As in `Rows` and in `evaluate`, counted from the first of each data set.
    X, y, offset, trials : ndarray
        Their rows.
    poisson : ndarray of bool
        Whether the outcomes of each are counts without a bound.
    """

    places: Places
    starts: Any
    slabs: Any
    blocks: Any
    X: Any
    y: Any
    offset: Any
    trials: Any
    poisson: Any


@_exact
def _rows_of(d: int, together: Together) -> Any:
    """Return the slabs, the blocks and the rows of a data set."""
    at = together.places
    start, slab, block, row, x = at.start[d], at.slab[d], at.block[d], at.row[d], at.x_row[d]
    rows = Rows(
        together.starts[start : start + at.groups[d] + 1],
        together.X[x : x + at.rows[d]],
        together.y[row : row + at.rows[d]],
        together.offset[row : row + at.with_offset[d]],
        together.trials[row : row + at.with_trials[d]],
        together.poisson[d],
    )
    return (
        together.slabs[slab : slab + at.slabs[d] + 1],
        together.blocks[block : block + at.blocks[d] + 1],
        rows,
    )


@_exact
def _add_slabs(count: int, parts: Sums, i: int, sums: Sums) -> None:
    """Add the sums of the slabs of a data set in their order."""
    q = parts.gradients.shape[1]
    for slab in range(count):
        sums.values[i] += parts.values[slab]
        for k in range(q):
            sums.gradients[i, k] += parts.gradients[slab, k]
            for h in range(q):
                sums.hessians[i, k, h] += parts.hessians[slab, k, h]


@_exact
def evaluate_each(
    first: int,
    last: int,
    which: Any,
    together: Together,
    betas: Any,
    taus: Any,
    quadrature: Rule,
    sums: Sums,
    lost: Any,
) -> None:
    """Evaluate some of many data sets, each at its own parameters, by `evaluate`.

    Parameters
    ----------
    first, last : int
        Which entries of `which`.
    which : ndarray of int, shape (k,)
        Data sets.
    together : Together
        The rows of all.
    betas, taus : ndarray of shapes (k, p), (k,)
        Parameters.
    quadrature : Rule
        The rule, for all the same.
    sums : Sums
        Where the sums of each go.
    lost : ndarray of int, shape (k,)
        Takes how many modes of each were not found.
    """
    q = betas.shape[1] + 1
    for i in range(first, last):
        d = which[i]
        slabs, blocks, rows = _rows_of(d, together)
        count, m = len(slabs) - 1, together.places.groups[d]
        u, information, missing = np.empty(m), np.empty(m), np.zeros(count, np.int64)
        parts = Sums(np.zeros(count), np.zeros((count, q)), np.zeros((count, q, q)))
        modes = Modes(u, information, missing)
        evaluate(ZERO, count, slabs, blocks, rows, betas[i], taus[i], quadrature, modes, parts)
        _add_slabs(count, parts, i, sums)
        for slab in range(count):
            lost[i] += missing[slab]


@_exact
def evaluate_each_without(
    first: int,
    last: int,
    which: Any,
    together: Together,
    betas: Any,
    sums: Sums,
    spread: Any,
) -> None:
    """Evaluate some of many data sets without random intercepts, by `evaluate_without`.

    The arguments are those of `evaluate_each`; `spread`, of shape (k, 4), takes what `spread` of
    `evaluate_without` does, of all slabs.
    """
    p = betas.shape[1]
    for i in range(first, last):
        slabs, blocks, rows = _rows_of(which[i], together)
        count = len(slabs) - 1
        parts = Sums(np.zeros(count), np.zeros((count, p)), np.zeros((count, p, p)))
        own = np.empty((count, 4))
        evaluate_without(ZERO, count, slabs, blocks, rows, betas[i], parts, own)
        _add_slabs(count, parts, i, sums)
        spread[i] = own[0]
        for slab in range(1, count):
            spread[i, 0] += own[slab, 0]
            spread[i, 1] += own[slab, 1]
            spread[i, 2] = min(spread[i, 2], own[slab, 2])
            spread[i, 3] = max(spread[i, 3], own[slab, 3])


@_exact
def look_through_each(first: int, last: int, together: Together, grams: Any, sums: Any) -> None:
    """Sum X'X and X'1 of some of many data sets, by `look_through`."""
    p = together.X.shape[1]
    for d in range(first, last):
        slabs, blocks, rows = _rows_of(d, together)
        count = len(slabs) - 1
        parts, totals = np.zeros((count, p, p)), np.zeros((count, p))
        look_through(ZERO, count, slabs, blocks, rows.starts, rows.X, parts, totals)
        for slab in range(count):
            for k in range(p):
                sums[d, k] += totals[slab, k]
                for h in range(p):
                    grams[d, k, h] += parts[slab, k, h]
