r"""The exact likelihood of a regression with random intercepts, and all its maxima.

Nothing here comes from the package. The integral over each random intercept is a sum over
Gauss-Legendre panels that are halved until halving changes nothing; the integrand is log-concave,
so that its mode and the range that counts are found by bisection. The derivatives come from the
same nodes, by Louis' identities: the gradient is the mean of the score of rows and intercept given
the outcomes, and the Hessian the mean of its derivative plus its variance.

Louis, T. A. (1982). Finding the observed information matrix when using the EM algorithm. Journal of
the Royal Statistical Society: Series B 44, 226-233.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.polynomial.legendre import leggauss
from scipy.special import gammaln

Array = np.ndarray

# What the integrand may fall to, in logarithms, at the ends of its range.
DEPTH = 46.0
PANEL_NODES, PANEL_WEIGHTS = leggauss(10)
# Of the integral, for a panel to be halved no further.
PANEL_TOLERANCE = 1e-9
MOST_NODES = 60_000
# Of a sum, relative to its terms: some units in the last place.
ROUNDING = 1e-15
# Values of tau at which the profile is taken, to find where its maxima are.
TAUS = np.exp(np.linspace(np.log(1e-4), np.log(1e4), 41))
MAX_STEPS = 60


@njit(cache=True)
def _b(eta: float, poisson: bool) -> tuple[float, float, float]:
    if poisson:
        e = np.exp(min(eta, 700.0))
        return e, e, e
    e = np.exp(-abs(eta))
    b = max(eta, 0.0) + np.log1p(e)
    one = 1.0 / (1.0 + e) if eta >= 0.0 else e / (1.0 + e)
    return b, one, e / (1.0 + e) ** 2


@njit(cache=True)
def _h(u: float, y: Array, t: Array, eta: Array, tau: float, poisson: bool) -> float:
    total = -0.5 * (u / tau) ** 2
    for j in range(len(y)):
        total += y[j] * (eta[j] + u) - t[j] * _b(eta[j] + u, poisson)[0]
    return total


@njit(cache=True)
def _slope(u: float, y: Array, t: Array, eta: Array, tau: float, poisson: bool) -> float:
    total = -u / tau**2
    for j in range(len(y)):
        total += y[j] - t[j] * _b(eta[j] + u, poisson)[1]
    return total


@njit(cache=True)
def _mode(y: Array, t: Array, eta: Array, tau: float, poisson: bool) -> float:
    step = 1.0
    low, high = 0.0, 0.0
    if _slope(0.0, y, t, eta, tau, poisson) > 0.0:
        while _slope(high + step, y, t, eta, tau, poisson) > 0.0:
            high += step
            step *= 2.0
        low, high = high, high + step
    else:
        while _slope(low - step, y, t, eta, tau, poisson) < 0.0:
            low -= step
            step *= 2.0
        low, high = low - step, low
    for _ in range(80):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        if _slope(middle, y, t, eta, tau, poisson) > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@njit(cache=True)
def _end(
    sign: float, mode: float, top: float, y: Array, t: Array, eta: Array, tau: float, poisson: bool
) -> float:
    step = min(tau, 1.0)
    while _h(mode + sign * step, y, t, eta, tau, poisson) > top - DEPTH:
        step *= 2.0
    low, high = 0.0, step
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _h(mode + sign * middle, y, t, eta, tau, poisson) > top - DEPTH:
            low = middle
        else:
            high = middle
        if high - low < 1e-3 * high:
            break
    return mode + sign * high


@njit(cache=True)
def _panel(
    a: float, b: float, top: float, y: Array, t: Array, eta: Array, tau: float, poisson: bool
) -> float:
    total = 0.0
    for k in range(len(PANEL_NODES)):
        u = 0.5 * (a + b) + 0.5 * (b - a) * PANEL_NODES[k]
        total += PANEL_WEIGHTS[k] * np.exp(_h(u, y, t, eta, tau, poisson) - top)
    return 0.5 * (b - a) * total


@njit(cache=True)
def _rule(y: Array, t: Array, eta: Array, tau: float, poisson: bool) -> tuple[float, Array, Array]:
    """Return the largest log integrand, and nodes and weights whose sum is the integral."""
    mode = _mode(y, t, eta, tau, poisson)
    top = _h(mode, y, t, eta, tau, poisson)
    left = _end(-1.0, mode, top, y, t, eta, tau, poisson)
    right = _end(1.0, mode, top, y, t, eta, tau, poisson)
    nodes, weights = np.empty(MOST_NODES), np.empty(MOST_NODES)
    count = 0
    # what rounding leaves of the integrand, relative to its top
    size_of_terms = 1.0
    for j in range(len(y)):
        size_of_terms += abs(y[j] * (eta[j] + mode)) + t[j] * _b(eta[j] + mode, poisson)[0]
    tolerance = max(PANEL_TOLERANCE, ROUNDING * size_of_terms)
    stack = np.empty((400, 3))
    size = 0
    whole = 0.0
    for a, b in ((left, mode), (mode, right)):
        for i in range(3):
            lo, hi = a + (b - a) * i / 3.0, a + (b - a) * (i + 1) / 3.0
            value = _panel(lo, hi, top, y, t, eta, tau, poisson)
            stack[size, 0], stack[size, 1], stack[size, 2] = lo, hi, value
            whole += value
            size += 1
    while size > 0:
        size -= 1
        lo, hi, value = stack[size]
        middle = 0.5 * (lo + hi)
        one = _panel(lo, middle, top, y, t, eta, tau, poisson)
        two = _panel(middle, hi, top, y, t, eta, tau, poisson)
        whole = max(whole, one + two)
        full = size > 390 or count > MOST_NODES - 20 * (size + 2)
        if full or abs(one + two - value) <= tolerance * whole:
            for a, b in ((lo, middle), (middle, hi)):
                for k in range(len(PANEL_NODES)):
                    u = 0.5 * (a + b) + 0.5 * (b - a) * PANEL_NODES[k]
                    nodes[count] = u
                    weights[count] = (
                        0.5
                        * (b - a)
                        * PANEL_WEIGHTS[k]
                        * np.exp(_h(u, y, t, eta, tau, poisson) - top)
                    )
                    count += 1
        else:
            stack[size, 0], stack[size, 1], stack[size, 2] = lo, middle, one
            stack[size + 1, 0], stack[size + 1, 1], stack[size + 1, 2] = middle, hi, two
            size += 2
    return top, nodes[:count], weights[:count]


@njit(cache=True)
def _groups(
    y: Array,
    t: Array,
    X: Array,
    eta: Array,
    ends: Array,
    tau: float,
    poisson: bool,
    derivatives: bool,
) -> tuple[float, Array, Array]:
    p = X.shape[1]
    value = 0.0
    gradient, hessian = np.zeros(p + 1), np.zeros((p + 1, p + 1))
    begin = 0
    for i in range(len(ends)):
        end = ends[i]
        yi, ti, ei = y[begin:end], t[begin:end], eta[begin:end]
        top, nodes, weights = _rule(yi, ti, ei, tau, poisson)
        total = weights.sum()
        value += top + np.log(total) - np.log(tau) - 0.5 * np.log(2.0 * np.pi)
        if derivatives:
            mean, square = np.zeros(p + 1), np.zeros((p + 1, p + 1))
            score = np.empty(p + 1)
            curvature = np.zeros(end - begin)
            for k in range(len(nodes)):
                share = weights[k] / total
                if share < 1e-18:
                    continue
                score[:] = 0.0
                for j in range(end - begin):
                    _, one, two = _b(ei[j] + nodes[k], poisson)
                    residual = yi[j] - ti[j] * one
                    for c in range(p):
                        score[c] += residual * X[begin + j, c]
                    curvature[j] += share * ti[j] * two
                score[p] = (nodes[k] / tau) ** 2 - 1.0
                mean += share * score
                hessian[p, p] -= 2.0 * share * (nodes[k] / tau) ** 2
                for c in range(p + 1):
                    for d in range(p + 1):
                        square[c, d] += share * score[c] * score[d]
            gradient += mean
            hessian += square
            for c in range(p + 1):
                for d in range(p + 1):
                    hessian[c, d] -= mean[c] * mean[d]
            for j in range(end - begin):
                for c in range(p):
                    for d in range(p):
                        hessian[c, d] -= curvature[j] * X[begin + j, c] * X[begin + j, d]
        begin = end
    return value, gradient, hessian


@dataclass(frozen=True, eq=False)
class Peak:
    """A maximum in all parameters: (beta, tau), and the log-likelihood there."""

    beta: Array
    tau: float
    value: float


class Exact:
    """The exact log-likelihood of some rows, with all constants.

    Parameters
    ----------
    y, X, groups, family, trials, offset
        As `laplace.fit` takes them.
    """

    def __init__(
        self,
        y: Any,
        X: Any,
        groups: Any,
        family: str = "bernoulli",
        trials: Any = None,
        offset: Any = None,
        **_: Any,
    ) -> None:
        order = np.argsort(np.asarray(groups), kind="stable")
        self.y = np.asarray(y, dtype=float)[order]
        self.X = np.ascontiguousarray(np.asarray(X, dtype=float)[order])
        n = len(self.y)
        self.offset = np.zeros(n) if offset is None else np.asarray(offset, dtype=float)[order]
        self.poisson = family == "poisson"
        self.trials = np.ones(n)
        if trials is not None:
            self.trials = np.broadcast_to(np.asarray(trials, dtype=float), (n,))[order].copy()
        _, sizes = np.unique(np.asarray(groups), return_counts=True)
        self.ends = np.cumsum(sizes)
        self.size = float(
            np.sum(self.y * np.log1p(self.y)) + np.sum(self.trials) * (trials is not None)
        )
        if self.poisson:
            self.constant = -float(np.sum(gammaln(self.y + 1.0)))
        else:
            t, k = self.trials, self.y
            self.constant = float(
                np.sum(gammaln(t + 1.0) - gammaln(k + 1.0) - gammaln(t - k + 1.0))
            )

    def at(self, beta: Any, tau: float) -> tuple[float, Array, Array]:
        """Value, gradient and Hessian in (beta, log tau); at tau = 0 without random intercepts."""
        eta = self.X @ np.asarray(beta, dtype=float) + self.offset
        if tau == 0.0:
            return self._without(eta)
        value, gradient, hessian = _groups(
            self.y, self.trials, self.X, eta, self.ends, tau, self.poisson, True
        )
        return value + self.constant, gradient, hessian

    def value(self, beta: Any, tau: float) -> float:
        """Value alone."""
        eta = self.X @ np.asarray(beta, dtype=float) + self.offset
        if tau == 0.0:
            return self._without(eta)[0]
        found = _groups(self.y, self.trials, self.X, eta, self.ends, tau, self.poisson, False)
        return float(found[0]) + self.constant

    def _without(self, eta: Array) -> tuple[float, Array, Array]:
        if self.poisson:
            b = one = two = np.exp(np.minimum(eta, 700.0))
        else:
            b = np.logaddexp(0.0, eta)
            one = np.exp(-np.logaddexp(0.0, -eta))
            two = one * np.exp(-np.logaddexp(0.0, eta))
        p = self.X.shape[1]
        gradient, hessian = np.zeros(p + 1), np.zeros((p + 1, p + 1))
        gradient[:p] = self.X.T @ (self.y - self.trials * one)
        hessian[:p, :p] = -(self.X.T * (self.trials * two)) @ self.X
        value = float(np.sum(self.y * eta - self.trials * b)) + self.constant
        return value, gradient, hessian

    def profile(self, tau: float, beta: Array) -> tuple[float, Array, bool]:
        """Maximise over beta at a tau, where the log-likelihood is concave in beta.

        Returns the value, beta, and whether the gradient vanished.
        """
        p = len(beta)
        value, gradient, hessian = self.at(beta, tau)
        for _ in range(MAX_STEPS):
            step = _uphill(-hessian[:p, :p], gradient[:p])
            decrement = float(gradient[:p] @ step)
            # what rounding leaves of the value
            noise = 1e-9 + 10.0 * ROUNDING * (abs(value) + self.size)
            if not np.isfinite(decrement) or decrement < noise:
                return value, beta, bool(decrement < noise)
            size = 1.0
            while True:
                there = self.at(beta + size * step, tau)
                if there[0] >= value + 1e-4 * size * decrement or size < 1e-8:
                    break
                size *= 0.5
            if size < 1e-8:
                return value, beta, decrement < 1e-4 + 1e3 * noise
            beta = beta + size * step
            value, gradient, hessian = there
        return value, beta, False

    def peaks(self) -> tuple[list[Peak], bool]:
        """Return all local maxima, the highest first, and whether the likelihood is bounded in tau.

        Raises
        ------
        ArithmeticError
            Without random intercepts there is no finite maximum.
        """
        zero, beta, fine = self.profile(0.0, np.zeros(self.X.shape[1]))
        if not fine:
            raise ArithmeticError("no finite maximum without random intercepts")
        values, betas = [zero], [beta]
        for tau in TAUS:
            value, beta, fine = self.profile(float(tau), beta)
            if not fine:
                break
            values.append(value)
            betas.append(beta)
        found = []
        if len(values) < 2 or values[0] >= values[1] - 1e-9:
            found.append(Peak(betas[0], 0.0, zero))
        for k in range(1, len(values) - 1):
            if values[k] > values[k - 1] + 1e-9 and values[k] >= values[k + 1]:
                found.append(self._refined(betas[k], k - 1))
        bounded = len(values) > 1 and values[-1] < max(values) - 1e-3
        if not bounded:
            found.append(Peak(betas[-1], float(TAUS[len(values) - 2]), values[-1]))
        return sorted(found, key=lambda peak: -peak.value), bounded

    def _refined(self, beta: Array, k: int) -> Peak:
        """Maximise between the neighbours of a value of tau, by golden section on its log."""
        low, high = np.log(TAUS[max(k - 1, 0)]), np.log(TAUS[min(k + 1, len(TAUS) - 1)])
        ratio = 0.5 * (np.sqrt(5.0) - 1.0)
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        at_a, at_b = self.profile(float(np.exp(a)), beta), self.profile(float(np.exp(b)), beta)
        while high - low > 1e-3:
            if at_a[0] > at_b[0]:
                high, b, at_b = b, a, at_a
                a = high - ratio * (high - low)
                at_a = self.profile(float(np.exp(a)), at_b[1])
            else:
                low, a, at_a = a, b, at_b
                b = low + ratio * (high - low)
                at_b = self.profile(float(np.exp(b)), at_a[1])
        log_tau, best = max(((a, at_a), (b, at_b)), key=lambda pair: pair[1][0])
        return Peak(best[1], float(np.exp(log_tau)), best[0])


def _uphill(information: Array, gradient: Array) -> Array:
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    scaled = information / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(np.abs(values), 1e-12)
    return np.asarray((vectors @ ((vectors.T @ (gradient / scale)) / values)) / scale)
