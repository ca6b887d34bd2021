"""`maximise` over functions with a known maximum; it never sees data."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

import numpy as np
import pytest
from designs import many_groups

import laplace
from laplace.contribution import Contribution
from laplace.likelihood import Likelihood
from laplace.newton import Ending, maximise


def rosenbrock(theta: np.ndarray) -> Contribution:
    """Minus Rosenbrock's function: its maximum is 0, at (1, 1)."""
    a, b = theta
    return Contribution(
        -((1 - a) ** 2) - 100 * (b - a**2) ** 2,
        np.array([2 * (1 - a) + 400 * a * (b - a**2), -200 * (b - a**2)]),
        np.array([[-2 + 400 * (b - 3 * a**2), 400 * a], [400 * a, -200.0]]),
    )


def softened(theta: np.ndarray) -> Contribution:
    """Minus log cosh: Newton's method alone diverges from |theta| > 1.09."""
    t = theta[0]
    value = -(np.abs(t) + np.log1p(np.exp(-2 * np.abs(t))) - np.log(2))
    return Contribution(value, np.array([-np.tanh(t)]), np.array([[-(1 - np.tanh(t) ** 2)]]))


def test_a_curved_valley() -> None:
    found = maximise(rosenbrock, np.array([-1.2, 1.0]))
    assert found.converged
    np.testing.assert_allclose(found.theta, [1.0, 1.0], rtol=1e-12)
    assert found.iterations < 40
    assert len(found.history) == found.iterations + 1


@pytest.mark.parametrize("start", [0.5, 3.0, -12.0])
def test_where_plain_newton_diverges(start: float) -> None:
    found = maximise(softened, np.array([start]))
    assert found.converged
    assert abs(found.theta[0]) <= 1e-12


def test_values_never_fall_far_from_the_maximum() -> None:
    found = maximise(rosenbrock, np.array([-1.2, 1.0]))
    values = [value for value, decrement in found.history if decrement > 1e-8]
    assert np.all(np.diff(values) > 0)


def test_max_step_is_kept() -> None:
    seen: list[np.ndarray] = []

    def watched(theta: np.ndarray) -> Contribution:
        seen.append(theta)
        return rosenbrock(theta)

    found = maximise(watched, np.array([-1.2, 1.0]), max_step=np.array([0.1, np.inf]))
    assert found.converged
    assert max(np.max(np.abs(np.diff([s[0] for s in seen]))), 0) <= 0.2  # 0.1 from each iterate


def test_stop_ends_with_its_reason() -> None:
    class Reason(Enum):
        FAR = "far from the maximum"

    found = maximise(
        rosenbrock, np.array([-1.2, 1.0]), stop=lambda t, at: Reason.FAR if t[0] < 0 else None
    )
    assert not found.converged
    assert found.ending is Ending.STOPPED
    assert found.reason is Reason.FAR
    assert found.message == "far from the maximum"


def test_a_saddle_is_left() -> None:
    """At (0, 0) the gradient is zero and the value rises along the second axis only."""

    def two_hills(theta: np.ndarray) -> Contribution:
        a, b = theta
        return Contribution(
            -(a**2) - (b**2 - 1) ** 2,
            np.array([-2 * a, -4 * b * (b**2 - 1)]),
            np.diag([-2.0, 4 - 12 * b**2]),
        )

    found = maximise(two_hills, np.zeros(2), max_step=np.array([0.5, 0.5]))
    assert found.converged
    np.testing.assert_allclose(np.abs(found.theta), [0.0, 1.0], atol=1e-12)


def test_a_flat_top_that_is_no_maximum_is_said() -> None:
    found = maximise(lambda t: Contribution(0.0, np.zeros(1), np.zeros((1, 1))), np.zeros(1))
    assert not found.converged
    assert "the gradient is zero, but not at a maximum" in found.message


def test_no_maximum_is_said() -> None:
    found = maximise(
        lambda t: Contribution(float(t[0]), np.ones(1), np.array([[-1e-3]])),
        np.zeros(1),
        max_iterations=7,
    )
    assert not found.converged
    assert "no convergence in 7 steps" in found.message
    assert found.iterations == 7


def test_derivatives_that_are_not_finite_are_said() -> None:
    found = maximise(lambda t: Contribution(0.0, np.array([np.nan]), -np.eye(1)), np.zeros(1))
    assert not found.converged
    assert "not finite" in found.message


@pytest.mark.filterwarnings("error")
def test_a_step_beyond_floating_point_is_said() -> None:
    found = maximise(
        lambda t: Contribution(0.0, np.ones(2), np.diag([-1e-310, 1e-310])), np.zeros(2)
    )
    assert not found.converged
    assert "not finite" in found.message


def test_sites_that_send_only_sums_give_the_same_fit() -> None:
    """The seam of the architecture: a coordinator that adds contributions needs nothing else."""
    y, X, groups = many_groups(8, groups=30)
    sites = [groups % 3 == s for s in range(3)]
    data = [laplace.GroupedData.from_arrays(y[at], X[at], groups[at]) for at in sites]
    parts = [Likelihood(site) for site in data]
    found = maximise(
        lambda theta: sum((part(theta) for part in parts[1:]), parts[0](theta)), np.zeros(4)
    )
    fit = laplace.fit(y, X, groups, nodes=1)
    assert found.converged
    np.testing.assert_allclose(found.theta, fit.theta, rtol=1e-10)
    assert found.contribution.value == pytest.approx(fit.llf, rel=1e-13)


# Rounding ----------------------------------------------------------------------------------------


def of_large_terms(size: float) -> Callable[[np.ndarray], Contribution]:
    """Return a concave function of two parameters whose value has lost its digits to large terms.

    Its derivatives keep theirs, as those of a log-likelihood of large counts do.
    """
    maximum = np.array([0.3, -0.2])

    def evaluate(theta: np.ndarray) -> Contribution:
        gone = np.asarray(theta) - maximum
        value = -0.5 * float(gone @ gone) - float(np.sum(gone**4))
        value = (value + size) - size
        gradient = -gone - 4.0 * gone**3
        return Contribution(value, gradient, np.diag(-1.0 - 12.0 * gone**2))

    return evaluate


@pytest.mark.parametrize("size", [0.0, 1e6, 1e9, 1e12])
def test_a_value_without_digits_is_maximised_by_its_gradient(size: float) -> None:
    found = laplace.maximise(of_large_terms(size), np.zeros(2))
    assert found.converged
    np.testing.assert_allclose(found.theta, [0.3, -0.2], atol=1e-8)


def test_a_gradient_without_digits_ends_in_rounding() -> None:
    """Noise that is the same at the same point, as rounding is."""
    exact = of_large_terms(0.0)

    def evaluate(theta: np.ndarray) -> Contribution:
        at = exact(theta)
        noise = 1e-5 * np.sin(1e9 * np.asarray(theta))
        return Contribution(at.value + 1e-5 * noise[0], at.gradient + noise, at.hessian)

    found = laplace.maximise(evaluate, np.zeros(2))
    assert found.converged
    assert found.ending is Ending.ROUNDING
    distance = float(re.search(r"within about (\S+) standard errors", found.message).group(1))
    assert 1e-7 < distance < 1e-4
    assert np.max(np.abs(found.theta - [0.3, -0.2])) < 1e-4


def test_a_value_that_does_not_rise_far_from_a_maximum_is_no_rounding() -> None:
    """The gradient is wrong: no step along it raises the value."""

    def evaluate(theta: np.ndarray) -> Contribution:
        return Contribution(-float(theta[0]), np.array([1.0]), np.array([[-1.0]]))

    found = laplace.maximise(evaluate, np.zeros(1))
    assert found.ending is Ending.NO_RISE
    assert not found.converged


@pytest.mark.parametrize("mean", [1e6, 1e7, 5e8])
@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_large_counts_converge_and_have_profiles(family: str, mean: float) -> None:
    """The estimates against those of the same rates in a thousandth of the counts' precision."""
    for seed in range(4):
        r = np.random.default_rng(seed)
        groups = np.repeat(np.arange(50), 10)
        X = np.c_[np.ones(500), r.normal(size=500)]
        eta = 0.3 * X[:, 1] + 0.5 * r.normal(size=50)[groups]
        if family == "poisson":
            rows = {"y": r.poisson(mean * np.exp(eta)).astype(float)}
        else:
            rows = {"y": r.binomial(int(mean), 1 / (1 + np.exp(-eta))).astype(float)}
            rows["trials"] = np.full(500, mean)
        fit = laplace.fit(**rows, X=X, groups=groups, family=family)
        assert fit.converged
        assert fit.message.startswith("converged")
        # the slope is known to its standard error, and tau to that of 50 groups
        assert abs(fit.beta[1] - 0.3) < 5 * fit.bse["x1"]
        assert abs(fit.tau - 0.5) < 4 * fit.bse["tau"]
        wald, profile = fit.conf_int(), fit.conf_int(method="profile")
        scale = fit.bse.to_numpy()[:, None]
        assert np.max(np.abs(wald - profile).to_numpy()[:2] / scale[:2]) < 0.2
