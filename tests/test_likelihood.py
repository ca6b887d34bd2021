"""The log-likelihood of all groups: against the textbook, R, numerical derivatives; invariances."""

from __future__ import annotations

import numpy as np
import pytest
from designs import lme4, many_groups, numerical_derivative, reference_design, relative_error

import laplace
from laplace import derivatives
from laplace.grouped import GroupedData
from laplace.likelihood import Likelihood, without_random_intercepts

BETA = np.array([-0.4, 0.7, -1.1])
RULES = [(1, True), (2, True), (9, True), (2, False), (9, False)]


def all_parts(c: laplace.Contribution) -> np.ndarray:
    return np.concatenate([[c.value], c.gradient, c.hessian.ravel()])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_textbook_summed_over_groups(seed: int, tau: float) -> None:
    y, X, groups = many_groups(seed)
    total = laplace.loglik(y, X, groups, BETA, tau)
    rows = [(X[groups == i], y[groups == i]) for i in np.unique(groups)]
    value = sum(derivatives.l(*group, BETA, tau) for group in rows)
    gradient = sum(derivatives.l_1(*group, BETA, tau) for group in rows)
    hessian = sum(derivatives.l_2(*group, BETA, tau) for group in rows)
    assert total.value == pytest.approx(value, rel=1e-13)
    assert relative_error(total.gradient[:-1], gradient) <= 1e-12
    assert relative_error(total.hessian[:-1, :-1], hessian) <= 1e-12


@pytest.mark.parametrize(("nodes", "adaptive"), RULES)
@pytest.mark.parametrize("tau", [0.2, 1.0, 4.0])
def test_gradient_and_hessian_are_exact(nodes: int, adaptive: bool, tau: float) -> None:
    y, X, groups = many_groups(1)
    evaluate = Likelihood(GroupedData.from_arrays(y, X, groups), nodes, adaptive)
    theta = np.append(BETA, np.log(tau))
    at = evaluate(theta)
    gradient = numerical_derivative(lambda t: evaluate(t).value, theta)
    hessian = numerical_derivative(lambda t: evaluate(t).gradient, theta)
    # central differences of a value near 100 lose a few digits
    assert relative_error(at.gradient, gradient) <= 1e-9
    assert relative_error(at.hessian, hessian) <= 1e-9
    np.testing.assert_array_equal(at.hessian, at.hessian.T)


@pytest.mark.parametrize("name", ["simulated", "boundary"])
def test_values_in_r(name: str) -> None:
    """At fixed parameters: lme4's deviance function, and R's `integrate` of each group."""
    y, X, groups = reference_design(name)
    fixed = lme4()[name]["fixed"]
    for nodes, value in fixed["lme4"].items():
        ours = laplace.loglik(y, X, groups, fixed["beta"], fixed["tau"], nodes=int(nodes)).value
        # lme4 stops its search for the modes early, which leaves about 1e-11 of the value
        assert ours == pytest.approx(value, rel=1e-10)
    for nodes, value in fixed["ordinary"].items():
        ours = laplace.loglik(
            y, X, groups, fixed["beta"], fixed["tau"], nodes=int(nodes), adaptive=False
        ).value
        assert ours == pytest.approx(value, rel=1e-12)
    ours = laplace.loglik(y, X, groups, fixed["beta"], fixed["tau"], nodes=60).value
    assert ours == pytest.approx(fixed["integral"], rel=1e-11)


@pytest.mark.parametrize(("nodes", "adaptive"), RULES)
def test_tau_zero_is_logistic_regression_and_the_limit(nodes: int, adaptive: bool) -> None:
    y, X, groups = many_groups(2)
    rule = {"nodes": nodes, "adaptive": adaptive}
    zero = laplace.loglik(y, X, groups, BETA, 0.0, **rule)
    pi = 1 / (1 + np.exp(-X @ BETA))
    assert zero.value == pytest.approx(np.sum(np.log(np.where(y == 1, pi, 1 - pi))), rel=1e-13)
    np.testing.assert_allclose(zero.gradient, np.append(X.T @ (y - pi), 0), rtol=1e-12, atol=1e-13)
    assert np.all(zero.hessian[-1] == 0)
    near = laplace.loglik(y, X, groups, BETA, 1e-6, **rule)
    np.testing.assert_allclose(all_parts(near), all_parts(zero), rtol=1e-8, atol=1e-8)


def test_slope_in_the_variance_at_zero() -> None:
    y, X, groups = many_groups(2)
    slope = without_random_intercepts(GroupedData.from_arrays(y, X, groups), BETA).slope
    tau = 1e-3
    for nodes in (1, 9):
        at = laplace.loglik(y, X, groups, BETA, tau, nodes=nodes)
        # d l / d log tau = 2 tau^2 d l / d tau^2, and the next term is of order tau^2
        assert at.gradient[-1] / (2 * tau**2) == pytest.approx(slope, rel=1e-4)


def test_slope_in_the_variance_is_the_score_in_r() -> None:
    y, X, groups = reference_design("boundary")
    reference = lme4()["boundary"]
    data = GroupedData.from_arrays(y, X, groups)
    slope = without_random_intercepts(data, np.array(reference["glm"]["beta"])).slope
    assert slope == pytest.approx(reference["score_tau2"], rel=1e-9)


# Invariances: the answer follows exactly, up to the rounding of sums in another order -----------

TIGHT = {"rtol": 1e-11, "atol": 1e-11}


@pytest.mark.parametrize(("nodes", "adaptive"), RULES)
def test_invariances(nodes: int, adaptive: bool) -> None:
    y, X, groups = many_groups(3)
    rule = {"nodes": nodes, "adaptive": adaptive}
    base = laplace.loglik(y, X, groups, BETA, 0.8, **rule)

    order = np.random.default_rng(1).permutation(len(y))
    permuted = laplace.loglik(y[order], X[order], groups[order], BETA, 0.8, **rule)
    np.testing.assert_allclose(all_parts(permuted), all_parts(base), **TIGHT)

    names = np.array([f"site {(7 * i) % 12}" for i in range(12)])[groups]
    renamed = laplace.loglik(y, X, names, BETA, 0.8, **rule)
    np.testing.assert_allclose(all_parts(renamed), all_parts(base), **TIGHT)

    flipped = laplace.loglik(1 - y, X, groups, -BETA, 0.8, **rule)
    sign = np.append(-np.ones(3), 1.0)
    assert flipped.value == pytest.approx(base.value, rel=1e-13)
    np.testing.assert_allclose(sign * flipped.gradient, base.gradient, **TIGHT)
    np.testing.assert_allclose(np.outer(sign, sign) * flipped.hessian, base.hessian, **TIGHT)

    scale = np.array([1.0, 1000.0, 1e-3])
    scaled = laplace.loglik(y, X * scale, groups, BETA / scale, 0.8, **rule)
    unit = np.append(scale, 1.0)
    assert scaled.value == pytest.approx(base.value, rel=1e-13)
    np.testing.assert_allclose(scaled.gradient / unit, base.gradient, **TIGHT)
    np.testing.assert_allclose(scaled.hessian / np.outer(unit, unit), base.hessian, **TIGHT)

    for sites in (2, 5):
        parts = [
            laplace.loglik(y[at], X[at], groups[at], BETA, 0.8, **rule)
            for at in (groups % sites == s for s in range(sites))
        ]
        np.testing.assert_allclose(all_parts(sum(parts)), all_parts(base), **TIGHT)

    offset = X @ np.array([0.2, -0.5, 1.0])
    shifted = laplace.loglik(y, X, groups, BETA - [0.2, -0.5, 1.0], 0.8, offset=offset, **rule)
    np.testing.assert_allclose(all_parts(shifted), all_parts(base), **TIGHT)


def test_contributions_of_different_models_do_not_add() -> None:
    y, X, groups = many_groups(3)
    one = laplace.loglik(y, X, groups, BETA, 1.0)
    other = laplace.loglik(y, X[:, :2], groups, BETA[:2], 1.0)
    with pytest.raises(ValueError, match="4 and 3 parameters cannot be added"):
        one + other
    with pytest.raises(TypeError):
        one + 1.0
    with pytest.raises(TypeError):
        1.0 + one


def modes(data: GroupedData, eta: np.ndarray, tau: float) -> np.ndarray:
    """Find the modes with the linear predictor as the only column, and beta = 1."""
    return Likelihood(data.with_columns(eta[:, None])).modes(np.ones(1), tau)[0]


@pytest.mark.parametrize("tau", [1e-3, 1.0, 100.0, 1e4])
def test_modes_are_found_from_anywhere(tau: float) -> None:
    y, X, groups = many_groups(4)
    data = GroupedData.from_arrays(y, X, groups)
    for shift in (-600.0, -30.0, 0.0, 30.0, 600.0):
        eta = data.X @ BETA + shift
        found = modes(data, eta, tau)
        for i, start in enumerate(data.starts):
            rows = slice(start, start + data.sizes[i])
            # beta = 1 and the linear predictor as the only column: the textbook's mode
            truth = derivatives.mode(eta[rows, None], data.y[rows], np.ones(1), tau)
            assert found[i] == pytest.approx(truth, rel=1e-10, abs=1e-12)


def test_modes_that_rounding_hides() -> None:
    """Far from zero, the linear predictor itself is rounded to more than a step may be."""
    for seed in range(6):
        y, X, groups = many_groups(seed)
        data = GroupedData.from_arrays(y, X, groups)
        eta = data.X @ BETA * 1e3
        u = modes(data, eta, 1e6)
        residual = data.family.residual(data.y, eta + u[data.codes])
        terms = data.sum_by_group(np.abs(residual)) + np.abs(u) / 1e12
        # a linear predictor of thousands is rounded to 1e-12, and so is its residual, relatively
        assert np.all(np.abs(data.sum_by_group(residual) - u / 1e12) <= 1e-11 * terms)
    for tau in (1e2, 1e6):  # Newton's step from above is of size one, however far the mode is
        data = GroupedData.from_arrays(3 * y, X, groups, family="poisson")
        eta = data.X @ BETA - 24.0
        found = modes(data, eta, tau)
        mean = data.sum_by_group(np.exp(eta + found[data.codes]))
        np.testing.assert_allclose(mean, data.sum_by_group(data.y) - found / tau**2, rtol=1e-9)


@pytest.mark.parametrize("nodes", [1, 5])
def test_a_value_does_not_depend_on_what_was_asked_before(nodes: int) -> None:
    for seed in range(10):
        y, X, groups = many_groups(seed, groups=60)
        likelihood = Likelihood(GroupedData.from_arrays(y, X, groups), nodes)
        rng = np.random.default_rng(seed)
        thetas = [np.append(BETA[:3] + 2.0 * rng.normal(size=3), rng.normal()) for _ in range(4)]
        alone = [laplace.loglik(y, X, groups, t[:3], np.exp(t[3]), nodes=nodes) for t in thetas]
        for theta, expected in [*zip(thetas, alone, strict=True)][::-1] * 2:
            found = likelihood(theta)
            np.testing.assert_array_equal(all_parts(found), all_parts(expected), strict=True)


def test_extreme_linear_predictors_stay_finite() -> None:
    y, X, groups = many_groups(4)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for nodes in (1, 5):
            at = laplace.loglik(y, X * 700, groups, BETA, 2.0, nodes=nodes)
            assert np.all(np.isfinite(all_parts(at)))
