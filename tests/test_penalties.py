"""Penalties: their derivatives, the estimates against R and brute force, and what they are for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from designs import (
    REFERENCE,
    built_penalty,
    many_groups,
    numerical_derivative,
    reference_design,
    relative_error,
)
from scipy.optimize import minimize

import laplace
from laplace.grouped import GroupedData
from laplace.questions import View

PENALTIES = [{"penalty": "soft"}, {"penalty": "ridge", "strength": 0.7}]


def culcita() -> dict:
    """Values computed in R by `reference/inference.R`."""
    return json.loads((REFERENCE / "inference.json").read_text())["culcita"]


def random_data(seed: int, family: str) -> GroupedData:
    rng = np.random.default_rng([31, seed])
    y, X, groups = many_groups(seed, p=int(rng.integers(2, 5)))
    trials = rng.integers(1, 9, len(y)) if family == "binomial" else None
    if family == "binomial":
        y = rng.binomial(trials, 0.3)
    return GroupedData.from_arrays(
        y, X, groups, family=family, trials=trials, offset=rng.normal(size=len(y))
    )


def separated(kind: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return y, X and groups whose likelihood has no maximum."""
    rng = np.random.default_rng([32, seed])
    groups = np.repeat(np.arange(10), 6)
    X = np.column_stack([np.ones(60), rng.normal(size=60), np.zeros(60)])
    X[rng.permutation(60)[:8], 2] = 1.0
    u = rng.normal(size=10)
    y = (rng.random(60) < 1 / (1 + np.exp(-X[:, 1] - u[groups]))).astype(float)
    if kind == "quasi":  # a rare binary covariate, always with an event
        y[X[:, 2] == 1.0] = 1.0
    elif kind == "complete":
        y = (X[:, 1] - 0.5 * X[:, 2] > 0.1).astype(float)
    elif kind == "constant":
        y[:] = 1.0
    return y, X, groups


# The penalties themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bernoulli", "soft"),
        ("bernoulli", "ridge"),
        ("binomial", "soft"),
        ("binomial", "ridge"),
        ("poisson", "ridge"),
    ],
)
def test_derivatives(family: str, name: str, seed: int) -> None:
    """Against scipy.differentiate, for the columns of X and for others that span the same."""
    data = random_data(seed, family)
    rng = np.random.default_rng([33, seed])
    p = data.p
    penalty = built_penalty(name, None if name == "soft" else 0.7, data, True)
    triangle = np.triu(rng.normal(size=(p, p)))
    for one in (penalty, penalty.on(View(triangle=triangle), np.linalg.inv(triangle))):
        # log tau away from -1 and 1, where the second derivative of the Huber loss jumps
        for log_tau in (-2.5, -0.3, 0.4, 1.8):
            theta = np.append(rng.normal(size=p), log_tau)

            def at(theta: np.ndarray, one=one) -> laplace.Contribution:
                return one.at(theta[:-1], float(np.exp(theta[-1])))

            exact = at(theta)
            gradient = numerical_derivative(lambda theta: at(theta).value, theta)
            hessian = numerical_derivative(lambda theta: at(theta).gradient, theta)
            assert relative_error(exact.gradient, gradient) < 1e-8
            assert relative_error(exact.hessian, hessian) < 1e-8
            np.testing.assert_array_equal(exact.hessian, exact.hessian.T)


@pytest.mark.parametrize("family", ["bernoulli", "binomial"])
def test_value_of_the_soft_penalty(family: str) -> None:
    """As the paper writes it; the same for any columns that span those of X."""
    data = random_data(3, family)
    beta = np.random.default_rng(4).normal(size=data.p)
    trials = data.family.trials if family == "binomial" else np.ones(data.n)
    prob = 1 / (1 + np.exp(-(data.X @ beta + data.offset)))
    weighted = (trials * prob * (1 - prob))[:, None] * data.X
    jeffreys = 0.5 * np.linalg.slogdet(data.X.T @ weighted)[1]
    c = 2 * np.sqrt(data.p / trials.sum())
    penalty = built_penalty("soft", None, data, True)
    assert penalty.strength == pytest.approx(c, rel=1e-14)
    for tau, huber in ((0.5, -(np.log(0.5) ** 2) / 2), (20.0, 0.5 - np.log(20.0))):
        assert penalty.at(beta, tau).value == pytest.approx(c * (jeffreys + huber), rel=1e-12)
    fixed = built_penalty("soft", None, data, False)
    assert fixed.at(beta, 20.0).value == pytest.approx(c * jeffreys, rel=1e-12)
    triangle = np.triu(np.random.default_rng(5).normal(size=(data.p, data.p)))
    on_others = penalty.on(View(triangle=triangle), np.linalg.inv(triangle))
    other = on_others.at(triangle @ beta, 0.5)
    assert other.value == pytest.approx(penalty.at(beta, 0.5).value, rel=1e-10)


def test_value_of_the_ridge_penalty() -> None:
    data = random_data(2, "bernoulli")
    beta = np.random.default_rng(4).normal(size=data.p)
    deviations = data.X.std(axis=0)
    assert deviations[0] == 0.0
    truth = -0.5 * 0.7 * np.sum((deviations * beta) ** 2)
    for tau in (0.0, 0.1, 10.0):
        at = built_penalty("ridge", 0.7, data, True).at(beta, tau)
        assert at.value == pytest.approx(truth, rel=1e-13)
        assert at.gradient[-1] == 0.0
    # a column far from zero and nearly constant, whose rounding must not count
    frame = np.column_stack([np.full(60, 0.1), np.arange(60.0) + 1e9])
    data = GroupedData.from_arrays(np.arange(60) % 2, frame, np.repeat(np.arange(10), 6))
    hessian = built_penalty("ridge", 1.0, data, True).at(np.ones(2), 1.0).hessian
    np.testing.assert_allclose(np.diag(hessian), [0.0, -np.var(np.arange(60.0)), 0.0], rtol=1e-12)


def test_the_soft_penalty_falls_without_bound() -> None:
    """Along every direction in which a coefficient goes to infinity; and for tau to 0."""
    y, X, groups = separated("quasi")
    penalty = built_penalty("soft", None, GroupedData.from_arrays(y, X, groups), True)
    rng = np.random.default_rng(6)
    for _ in range(50):
        direction = rng.normal(size=3)
        values = [penalty.at(size * direction, 1.0).value for size in (1e1, 1e2, 1e3)]
        assert values[0] > values[1] > values[2]
        assert penalty.at(1e6 * direction, 1.0).value < -1e3
    assert penalty.at(np.zeros(3), 0.0).value == -np.inf
    far = [penalty.at(np.zeros(3), tau).value for tau in (1.0, 1e-2, 1e-5)]
    assert np.all(np.diff(far) < 0)


# The estimates -----------------------------------------------------------------------------------


def test_culcita_in_r() -> None:
    """On lme4's log-likelihood with 100 nodes, the penalty programmed in R."""
    y, X, groups = reference_design("culcita")
    fit = laplace.fit(y, X, groups, nodes=100, penalty="soft")
    truth = culcita()
    np.testing.assert_allclose(fit.beta, truth["beta"], atol=1e-8)
    assert fit.tau == pytest.approx(truth["tau"], abs=1e-8)
    assert fit.llf == pytest.approx(truth["loglik"], abs=1e-9)
    assert fit.penalized_llf == pytest.approx(truth["penalised"], abs=1e-9)
    np.testing.assert_allclose(fit.bse.iloc[:-1], truth["se"], rtol=1e-7)
    assert fit.bse["tau"] / fit.tau == pytest.approx(truth["se_log_tau"], rel=1e-7)


def test_culcita_as_published() -> None:
    """Table 2 of Sterzinger and Kosmidis (2023), column MSPL.

    Their optimiser stops early: their estimates from two sets of contrasts, which have to agree,
    differ by a unit of the last digit, and so do theirs and those of R's Newton steps above.
    """
    y, X, groups = reference_design("culcita")
    fit = laplace.fit(y, X, groups, nodes=100, penalty="soft")
    np.testing.assert_allclose(fit.beta, [8.05, -6.90, -7.87, -9.64], atol=0.015)
    np.testing.assert_allclose(fit.bse.iloc[:-1], [3.21, 3.00, 3.26, 3.61], atol=0.015)
    assert np.log(fit.tau) == pytest.approx(1.72, abs=0.015)
    assert fit.bse["tau"] / fit.tau == pytest.approx(0.44, abs=0.005)


@pytest.mark.parametrize("kind", ["none", "quasi", "complete"])
@pytest.mark.parametrize("options", PENALTIES)
def test_brute_force(kind: str, options: dict) -> None:
    """Against scipy.optimize on the value of `loglik` and the penalty's formula."""
    y, X, groups = separated(kind)
    fit = laplace.fit(y, X, groups, nodes=9, **options)

    def objective(theta: np.ndarray) -> float:
        beta, tau = theta[:-1], float(np.exp(theta[-1]))
        value = laplace.loglik(y, X, groups, beta, tau, nodes=9).value
        if options["penalty"] == "ridge":
            return -value + 0.5 * options["strength"] * np.sum((X.std(axis=0) * beta) ** 2)
        prob = 1 / (1 + np.exp(-X @ beta))
        jeffreys = 0.5 * np.linalg.slogdet(X.T @ ((prob * (1 - prob))[:, None] * X))[1]
        x = abs(theta[-1])
        huber = -0.5 * x**2 if x <= 1 else 0.5 - x
        return -value - 2 * np.sqrt(3 / 60) * (jeffreys + huber)

    start = np.append(fit.beta * 0.8, -0.5)
    found = minimize(objective, start, method="BFGS", options={"gtol": 1e-6})
    found = minimize(objective, found.x, method="Nelder-Mead", options={"xatol": 1e-9})
    assert fit.penalized_llf >= -found.fun - 1e-10
    if not fit.boundary:
        # the simplex stops where the value no longer changes: at the root of its rounding
        np.testing.assert_allclose(fit.theta, found.x, rtol=1e-5, atol=1e-5)
        assert fit.penalized_llf == pytest.approx(-found.fun, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("nodes", [1, 9])
@pytest.mark.parametrize("kind", ["none", "quasi", "complete", "constant"])
def test_soft_estimates_always_exist_off_the_boundary(kind: str, nodes: int) -> None:
    for seed in range(6):
        fit = laplace.fit(*separated(kind, seed), nodes=nodes, penalty="soft")
        assert fit.converged
        assert not fit.boundary
        assert 1e-3 < fit.tau < 1e3
        assert np.max(np.abs(fit.beta)) < 1e3
        assert np.max(np.abs(fit.gradient)) < 1e-8
        assert np.max(np.linalg.eigvalsh(fit.hessian)) < 0
        assert np.all(np.isfinite(fit.bse))


@pytest.mark.filterwarnings("error")
def test_soft_estimates_where_tau_would_be_zero_or_infinite() -> None:
    y, X, groups = reference_design("boundary")
    assert laplace.fit(y, X, groups, nodes=1).tau == 0.0
    fit = laplace.fit(y, X, groups, penalty="soft", nodes=1)
    assert fit.converged
    assert 0.01 < fit.tau < 1.0
    assert np.max(np.abs(fit.gradient)) < 1e-10
    assert np.isfinite(fit.bse["tau"])
    # groups that do not vary: the likelihood has no maximum in tau, and the fit says so elsewhere
    groups = np.repeat(np.arange(10), 6)
    y = (groups % 2).astype(float)
    with pytest.warns(laplace.ApproximationWarning, match="maximum at tau=.* higher by"):
        fit = laplace.fit(y, np.ones((60, 1)), groups, penalty="soft", nodes=1)
    assert fit.converged
    assert fit.tau < 1e2
    assert np.max(np.abs(fit.gradient)) < 1e-8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["quasi", "complete"])
def test_ridge_estimates_exist_where_x_separates_y(kind: str) -> None:
    for seed in range(6):
        y, X, groups = separated(kind, seed)
        sizes = []
        for strength in (0.01, 1.0, 100.0):
            fit = laplace.fit(y, X, groups, penalty="ridge", strength=strength, nodes=1)
            assert fit.converged
            assert np.max(np.abs(fit.gradient)) < 1e-8
            assert np.all(np.isfinite(fit.bse.iloc[:-1]))
            sizes.append(fit.penalized_llf - fit.llf)
        assert np.all(np.array(sizes) < 0)


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_a_ridge_of_vanishing_strength_is_no_penalty(family: str) -> None:
    y, X, groups = many_groups(8, groups=30)
    options = {"family": family, "trials": 3 if family == "binomial" else None}
    base = laplace.fit(y, X, groups, **options)
    fit = laplace.fit(y, X, groups, penalty="ridge", strength=1e-12, **options)
    np.testing.assert_allclose(fit.params, base.params, rtol=1e-9)
    strong = laplace.fit(y, X, groups, penalty="ridge", strength=1e9, **options)
    assert np.max(np.abs(strong.beta[1:])) < 1e-6
    alone = laplace.fit(y, X[:, :1], groups, **options)
    assert strong.beta[0] == pytest.approx(alone.beta[0], abs=1e-6)
    assert strong.tau == pytest.approx(alone.tau, abs=1e-6)


def test_poisson_rows_that_x_separates() -> None:
    """A rare covariate that always has a count of zero; only a ridge is for counts."""
    rng = np.random.default_rng(9)
    X = np.column_stack([np.ones(60), np.arange(60) < 6])
    y, groups = rng.poisson(2.0, 60), np.repeat(np.arange(10), 6)
    y[:6] = 0
    with pytest.raises(laplace.SeparationError, match="or add a penalty: penalty='ridge' with a"):
        laplace.fit(y, X, groups, family="poisson", nodes=1)
    assert laplace.fit(
        y, X, groups, family="poisson", penalty="ridge", strength=1, nodes=1
    ).converged
    with pytest.raises(ValueError, match=r"penalty='soft' is for 0/1 and binomial .*='poisson'"):
        laplace.fit(y, X, groups, family="poisson", penalty="soft", nodes=1)


def test_binomial_rows_and_their_trials_agree() -> None:
    y, X, groups = many_groups(5, groups=20)
    rng = np.random.default_rng(10)
    trials = rng.integers(1, 6, len(y))
    successes = rng.binomial(trials, 0.3 + 0.4 * y)
    rows = np.repeat(np.arange(len(y)), trials)
    each = np.concatenate([np.arange(n) < k for n, k in zip(trials, successes, strict=True)])
    for options in PENALTIES:
        grouped = laplace.fit(successes, X, groups, family="binomial", trials=trials, **options)
        single = laplace.fit(each, X[rows], groups[rows], **options)
        np.testing.assert_allclose(grouped.params, single.params, rtol=1e-9)
        np.testing.assert_allclose(grouped.bse, single.bse, rtol=1e-9)
        assert grouped.strength == pytest.approx(single.strength, rel=1e-14)


@pytest.mark.parametrize("kind", ["none", "quasi", "complete"])
def test_soft_estimates_follow_contrasts(kind: str) -> None:
    y, X, groups = separated(kind)
    base = laplace.fit(y, X, groups, penalty="soft", nodes=1)
    rotate = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [0.5, 0.0, 1.0]]) @ np.diag([1e-5, 1, 1e6])
    other = laplace.fit(y, X @ rotate, groups, penalty="soft", nodes=1)
    np.testing.assert_allclose(rotate @ other.beta, base.beta, rtol=1e-8)
    assert other.tau == pytest.approx(base.tau, rel=1e-8)
    spread = rotate @ other.cov_params().iloc[:3, :3].to_numpy() @ rotate.T
    np.testing.assert_allclose(spread, base.cov_params().iloc[:3, :3], rtol=1e-7)


@pytest.mark.parametrize("kind", ["none", "quasi", "complete"])
def test_ridge_estimates_follow_units_and_origins(kind: str) -> None:
    y, X, groups = separated(kind)
    options = {"penalty": "ridge", "strength": 2.0}
    base = laplace.fit(y, X, groups, **options)
    scale = np.array([1e-4, 1e6, 1e-3])
    other = laplace.fit(y, X * scale, groups, **options)
    np.testing.assert_allclose(other.beta * scale, base.beta, rtol=1e-8)
    np.testing.assert_allclose(other.bse.iloc[:3] * scale, base.bse.iloc[:3], rtol=1e-8)
    other = laplace.fit(y, X + np.array([0.0, 7.0, 0.0]), groups, **options)
    np.testing.assert_allclose(other.beta[1:], base.beta[1:], rtol=1e-8)
    assert other.penalized_llf == pytest.approx(base.penalized_llf, rel=1e-12)


def test_invariances() -> None:
    y, X, groups = separated("quasi")
    order = np.random.default_rng(3).permutation(60)
    for options in PENALTIES:
        base = laplace.fit(y, X, groups, **options)
        other = laplace.fit(y[order], X[order], groups[order], **options)
        np.testing.assert_allclose(other.params, base.params, rtol=1e-9, atol=1e-12)
        other = laplace.fit(1 - y, X, groups, **options)
        np.testing.assert_allclose(other.beta, -base.beta, rtol=1e-9)


def test_soft_estimates_approach_maximum_likelihood() -> None:
    """In standard errors, the difference falls with the number of rows."""
    gaps = []
    for m in (30, 300, 3000):
        data = laplace.simulate.random_intercepts([8] * m, [0.4, -0.8], 1.0, seed=1)
        plain, soft = laplace.fit(*data, nodes=1), laplace.fit(*data, penalty="soft", nodes=1)
        gaps.append(np.max(np.abs(soft.params - plain.params) / plain.bse))
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-3


def test_tau_fixed() -> None:
    """The penalty of tau falls away, and the estimates are Jeffreys' of the paper's GLM at 0."""
    y, X, groups = separated("complete")
    for tau in (0.0, 0.5, 3.0):
        for options in PENALTIES:
            fit = laplace.fit(y, X, groups, tau=tau, **options)
            assert fit.converged
            assert len(fit.params) == 3
            assert np.max(np.abs(fit.gradient)) < 1e-9
    text = str(laplace.fit(y, X, groups, tau=0.5, penalty="soft", nodes=1).summary())
    assert "Jeffreys' prior on the coefficients" in text
    assert "Huber" not in text


# The result --------------------------------------------------------------------------------------


def test_values_and_standard_errors() -> None:
    y, X, groups = separated("quasi")
    soft = laplace.fit(y, X, groups, nodes=5, penalty="soft")
    ridge = laplace.fit(y, X, groups, nodes=5, penalty="ridge", strength=0.7)
    for fit in (soft, ridge):
        at = laplace.loglik(y, X, groups, fit.beta, fit.tau, nodes=5)
        assert fit.llf == pytest.approx(at.value, abs=1e-10)
        assert fit.penalized_llf != fit.llf
    # of the log-likelihood for the soft penalty, of what was maximised for the ridge
    at = laplace.loglik(y, X, groups, soft.beta, soft.tau, nodes=5)
    covariance = np.linalg.inv(-at.hessian)
    jacobian = np.append(np.ones(3), soft.tau)
    np.testing.assert_allclose(
        soft.cov_params(), covariance * np.outer(jacobian, jacobian), rtol=1e-7
    )
    q = 3 if ridge.boundary else 4
    covariance = np.linalg.inv(-ridge.hessian)
    np.testing.assert_allclose(ridge.bse.iloc[:3], np.sqrt(np.diag(covariance))[:3], rtol=1e-8)
    assert ridge.hessian.shape == (q, q)
    plain = laplace.fit(*many_groups(8), nodes=1)
    assert plain.penalty is None
    assert plain.strength is None
    assert plain.penalized_llf == plain.llf


def test_approximation_error_of_a_penalised_fit() -> None:
    y, X, groups = many_groups(8, groups=30)
    for options in PENALTIES:
        fit = laplace.fit(y, X, groups, **options)
        best = laplace.fit(y, X, groups, nodes=25, **options)
        actual = (best.theta - fit.theta) / np.append(fit.bse.iloc[:3], fit.bse["tau"] / fit.tau)
        np.testing.assert_allclose(fit.approximation_error(), actual, rtol=0.2, atol=0.003)
        auto = laplace.fit(y, X, groups, nodes="auto", **options)
        assert auto.approximation_error().abs().max() <= 0.01


def test_summary_says_the_penalty() -> None:
    y, X, groups = separated("quasi")
    soft = laplace.fit(y, X, groups, penalty="soft", nodes=1)
    text = str(soft.summary())
    assert f"soft, strength {2 * np.sqrt(3 / 60):.4g}, Jeffreys' prior on the coeff" in text
    assert "maximum penalised likelihood" in text
    assert f"{soft.llf:.4f}, penalised {soft.penalized_llf:.4f}" in text
    assert "Test of tau" not in text
    ridge = laplace.fit(y, X, groups, penalty="ridge", strength=0.7, nodes=1)
    text, html = str(ridge.summary()), ridge.summary()._repr_html_()
    for word in ("ridge, strength 0.7, on the coefficients of standardised columns", "not defined"):
        assert word in text
        assert word in html
    assert np.isnan(ridge.aic)
    assert np.isnan(ridge.bic)
    assert soft.aic == pytest.approx(8 - 2 * soft.llf)
    assert "Penalty" not in str(laplace.fit(*many_groups(8), nodes=1).summary())


def test_formula() -> None:
    y, X, groups = separated("quasi")
    frame = pd.DataFrame({"y": y, "x": X[:, 1], "rare": X[:, 2], "g": groups})
    for options in PENALTIES:
        fit = laplace.fit_formula("y ~ x + rare", frame, "g", **options)
        base = laplace.fit(y, X, groups, **options)
        np.testing.assert_allclose(fit.params, base.params, rtol=1e-10, atol=1e-12)
        assert fit.penalty == options["penalty"]


# What is wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["quasi", "complete"])
def test_the_separation_error_names_the_remedies(kind: str) -> None:
    with pytest.raises(
        laplace.SeparationError,
        match="or add a penalty: penalty='soft', or penalty='ridge' with a strength",
    ):
        laplace.fit(*separated(kind), nodes=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"penalty": "sofft"}, ValueError, "'ridge' or 'soft', got 'sofft'; did you mean 'soft'?"),
        ({"penalty": "Ridge"}, ValueError, "got 'Ridge'; did you mean 'ridge'?"),
        ({"penalty": "lasso"}, ValueError, "penalty must be None, 'ridge' or 'soft', got 'lasso'"),
        ({"penalty": 1.0}, TypeError, "penalty must be None, 'ridge' or 'soft', got 1.0"),
        ({"strength": 1.0}, ValueError, "strength must be left out without a penalty"),
        ({"penalty": "ridge"}, ValueError, "strength must be given with penalty='ridge'"),
        ({"penalty": "ridge", "strength": -1}, ValueError, "strength must be above 0, got -1"),
        ({"penalty": "ridge", "strength": 0}, ValueError, "above 0, got 0; leave out penalty"),
        ({"penalty": "ridge", "strength": np.nan}, ValueError, "strength must be finite, got nan"),
        ({"penalty": "ridge", "strength": "1"}, TypeError, "strength must be a number, got '1'"),
        ({"penalty": "soft", "strength": 1}, ValueError, "left out with penalty='soft'"),
    ],
)
def test_wrong_options(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        laplace.fit(*many_groups(8), **options)
    assert message in str(raised.value)


def test_what_no_penalty_mends() -> None:
    y, X, groups = separated("constant")
    with pytest.raises(ValueError, match="y is 1 in every row"):
        laplace.fit(y, X, groups, penalty="ridge", strength=1, nodes=1)
    with pytest.raises(ValueError, match="nothing to act on: every column of X is constant"):
        laplace.fit(*many_groups(8, p=1), penalty="ridge", strength=1, nodes=1)
    with pytest.raises(ValueError, match="groups has one group only"):
        laplace.fit(y, X, np.zeros(60), penalty="soft", nodes=1)
    with pytest.raises(ValueError, match="linear combination"):
        laplace.fit(y, X[:, [0, 1, 1]], groups, penalty="soft", nodes=1)
