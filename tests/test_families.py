"""The cumulant function and its derivatives, against mpmath with 50 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from laplace.families import BERNOULLI

ETA = [-800.0, -700.0, -40.0, -3.0, -0.1, 0.0, 0.7, 5.0, 40.0, 700.0, 800.0]
ORDERS = ["b", "b_1", "b_2", "b_3", "b_4"]


def precise(order: int, eta: float) -> float:
    """Return derivatives of log(1 + e^eta), written in pi at 400 digits, enough for eta = 800."""
    with mpmath.workdps(400):
        e = mpmath.exp(mpmath.mpf(eta))
        pi = e / (1 + e)
        v = 1 / (2 + e + 1 / e)
        forms = [mpmath.log1p(e), pi, v, v * (1 - 2 * pi), v * (1 - 6 * v)]
        return float(forms[order])


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("eta", ETA)
def test_derivatives_are_precise(order: int, eta: float) -> None:
    value = float(getattr(BERNOULLI, ORDERS[order])(np.array(eta)))
    assert value == pytest.approx(precise(order, eta), rel=1e-14, abs=1e-320)


@pytest.mark.parametrize("order", range(4))
def test_each_is_the_derivative_of_the_one_below(order: int) -> None:
    for eta in [-3.0, -0.4, 0.0, 1.3, 6.0]:
        with mpmath.workdps(50):
            slope = mpmath.diff(lambda e: mpmath.log1p(mpmath.exp(e)), eta, order + 1)
        value = float(getattr(BERNOULLI, ORDERS[order + 1])(np.array(eta)))
        assert value == pytest.approx(float(slope), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("eta", ETA)
def test_log_density_and_residual_are_precise(eta: float) -> None:
    for y in (0.0, 1.0):
        with mpmath.workdps(400):
            pi = mpmath.exp(mpmath.mpf(eta)) / (1 + mpmath.exp(mpmath.mpf(eta)))
            log_density = float(mpmath.log(pi if y else 1 - pi))
            residual = float(y - pi)
        at = np.array(y), np.array(eta)
        assert float(BERNOULLI.log_density(*at)) == pytest.approx(log_density, rel=1e-14, abs=0)
        assert float(BERNOULLI.residual(*at)) == pytest.approx(residual, rel=1e-14, abs=1e-320)


def test_no_overflow_is_even_warned_of() -> None:
    eta = np.array([-1e6, -1e3, 1e3, 1e6])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for name in ORDERS:
            assert np.all(np.isfinite(getattr(BERNOULLI, name)(eta)))
        assert np.all(np.isfinite(BERNOULLI.log_density(np.ones(4), eta)))
