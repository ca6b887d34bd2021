"""No fit is silently far below the exact maximum: over a thousand hard designs.

The exact maxima are those of `exact`, which shares nothing with the package; they are recorded in
`reference/hard_designs.json`, and some are computed anew here.
"""

from __future__ import annotations

import itertools
import json
import warnings
from typing import Any

import numpy as np
import pytest
from exact import Exact
from hard_designs import REFERENCE, named, record
from scipy.integrate import quad
from scipy.special import expit

import laplace

TRUTH = json.loads(REFERENCE.read_text(encoding="utf-8"))
# A fit may be below the exact maximum by as much without a word.
ALLOWED = 0.5
# A maximum at a tau below this is regular: the data tell it.
REGULAR_TAU = 10.0
# Most regular designs that the default may warn of.
MOST_WARNED = 0.05
BATCH = 60
NAMES = sorted(TRUTH)


def fitted(rows: dict[str, Any], nodes: int | str) -> tuple[laplace.Fit, bool]:
    """Return the fit, and whether it warned of the approximation."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = laplace.fit(**rows, nodes=nodes)
    return fit, any(w.category is laplace.ApproximationWarning for w in caught)


@pytest.mark.parametrize("nodes", ["auto", 1, 9, 25])
@pytest.mark.parametrize("first", range(0, len(NAMES), BATCH))
def test_none_is_silently_far_below_the_maximum(first: int, nodes: int | str) -> None:
    """A design that has a maximum is fitted, too: none is refused."""
    silent, lost = [], []
    for name in NAMES[first : first + BATCH]:
        rows = named(name)
        fit, warned = fitted(rows, nodes)
        short = TRUTH[name]["peaks"][0][1] - Exact(**rows).value(fit.beta, fit.tau)
        if short > ALLOWED and fit.converged and not warned:
            silent.append((name, short))
        regular = TRUTH[name]["bounded"] and TRUTH[name]["peaks"][0][0] < REGULAR_TAU
        if regular and not fit.converged:
            lost.append((name, fit.message))
    assert silent == []
    assert lost == []


def test_the_default_seldom_warns_of_a_regular_maximum() -> None:
    warned = [
        fitted(named(name), "auto")[1]
        for name in NAMES
        if TRUTH[name]["bounded"] and TRUTH[name]["peaks"][0][0] < REGULAR_TAU
    ]
    assert len(warned) >= 1000
    assert np.mean(warned) <= MOST_WARNED


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("-3", "-31"))])
def test_the_truth_that_is_stored_is_what_the_exact_likelihood_has(name: str) -> None:
    (found,) = record([name]).values()
    stored = TRUTH[name]
    assert found["bounded"] == stored["bounded"]
    for (_, value), (_, other) in zip(found["peaks"], stored["peaks"], strict=True):
        assert value == pytest.approx(other, abs=1e-5 * max(1.0, abs(other) * 1e-4))


@pytest.mark.parametrize("tau", [0.1, 1.0, 20.0, 1000.0])
@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_the_exact_likelihood_is_what_scipy_integrates(family: str, tau: float) -> None:
    r = np.random.default_rng(4)
    X, beta = np.column_stack([np.ones(6), r.normal(size=6)]), np.array([0.3, -0.7])
    y = (
        np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
        if family == "bernoulli"
        else r.poisson(2.0, 6) * 1.0
    )
    exact = Exact(y, X, np.zeros(6), family)

    def integrand(u: float) -> float:
        eta = X @ beta + u
        if family == "bernoulli":
            rows = np.where(y == 1.0, expit(eta), expit(-eta))
            density = float(np.prod(rows))
        else:
            density = float(np.exp(np.sum(y * eta - np.exp(np.minimum(eta, 50.0)))))
        return density * float(np.exp(-0.5 * (u / tau) ** 2)) / (tau * np.sqrt(2.0 * np.pi))

    reach = min(9.0 * tau, 60.0)
    ends = [-9.0 * tau, -reach, -3.0, 0.0, 3.0, reach, 9.0 * tau]
    total = sum(
        quad(integrand, a, b, limit=400, epsabs=0.0, epsrel=1e-11)[0]
        for a, b in itertools.pairwise(ends)
        if b > a
    )
    assert exact.value(beta, tau) - exact.constant == pytest.approx(np.log(total), abs=1e-8)


def test_the_derivatives_of_the_exact_likelihood() -> None:
    rows = named("rare-0")
    exact, p = Exact(**rows), rows["X"].shape[1]
    theta, step = np.append(0.1 * np.arange(p), np.log(1.3)), 1e-5

    def at(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        return exact.at(theta[:-1], float(np.exp(theta[-1])))

    _, gradient, hessian = at(theta)
    for k, e in enumerate(np.eye(p + 1)):
        (up, slope_up, _), (down, slope_down, _) = at(theta + step * e), at(theta - step * e)
        # central differences lose half of the digits
        assert gradient[k] == pytest.approx((up - down) / (2.0 * step), abs=1e-6)
        np.testing.assert_allclose(hessian[k], (slope_up - slope_down) / (2.0 * step), atol=1e-5)
