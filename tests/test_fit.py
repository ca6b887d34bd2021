"""Fitting: against lme4 and R, at the boundary, its invariances, and the result object."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from designs import lme4, many_groups, reference_design
from scipy.stats import norm

import laplace

Y, X, GROUPS = many_groups(8, groups=30)


def toenail_design() -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    """Return y, X and groups: treatment, month and their interaction, as in the R script."""
    data = laplace.datasets.toenail()
    treated = (data["treatment"] == "terbinafine").astype(float)
    columns = lme4()["toenail"]["columns"]
    design = pd.concat(
        [pd.Series(1.0, index=data.index), treated, data["month"], treated * data["month"]], axis=1
    )
    return data["outcome"], design.set_axis(columns, axis=1), data["patient"]


def design_of(name: str) -> tuple[object, pd.DataFrame, object]:
    return toenail_design() if name == "toenail" else reference_design(name)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [("simulated", k) for k in (1, 2, 5, 25)] + [("toenail", k) for k in (1, 5, 9, 25, 50)],
)
def test_lme4(name: str, nodes: int) -> None:
    """At lme4's maximum, taken to a gradient below 1e-9 in R."""
    y, design, groups = design_of(name)
    reference = lme4()[name]["fits"][str(nodes)]
    fit = laplace.fit(y, design, groups, nodes=nodes)
    assert fit.converged
    assert fit.llf == pytest.approx(reference["loglik"], abs=1e-10)
    np.testing.assert_allclose(fit.beta, reference["beta"], atol=1e-8)
    assert fit.tau == pytest.approx(reference["tau"], abs=1e-8)
    # R's standard errors come from differences of the deviance with a step of 0.01, good to 2e-7;
    # the Hessian itself is checked to 1e-9 in test_likelihood.py
    np.testing.assert_allclose(fit.bse.iloc[:-1], reference["se"], rtol=1e-6)
    assert fit.bse["tau"] / fit.tau == pytest.approx(reference["se_log_tau"], rel=1e-6)
    modes = fit.random_effects["mode"].rename(index=str)
    for label, mode in reference["modes"].items():
        assert modes[label] == pytest.approx(mode, abs=1e-7)


@pytest.mark.parametrize("name", ["simulated", "toenail"])
def test_not_below_what_glmer_reaches(name: str) -> None:
    """Our maximum is never below the value at the estimates that glmer() gives by default."""
    y, design, groups = design_of(name)
    for nodes, reference in lme4()[name]["fits"].items():
        fit = laplace.fit(y, design, groups, nodes=int(nodes))
        assert fit.llf >= reference["glmer_default"]["loglik_tight"] - 1e-8


@pytest.mark.parametrize("nodes", [1, 2, 5, 25])
def test_score_is_zero_at_the_maximum(nodes: int) -> None:
    for tau in (None, 0.3, 1.0, 6.0):
        fit = laplace.fit(Y, X, GROUPS, nodes=nodes, tau=tau)
        assert fit.converged
        assert np.max(np.abs(fit.gradient)) <= 1e-10
        assert np.max(np.linalg.eigvalsh(fit.hessian)) < 0


def test_published_data_with_tau_fixed() -> None:
    data = laplace.simulate.published_two_sites()
    fit = laplace.fit(*data, tau=1)
    assert fit.converged
    assert np.max(np.abs(fit.gradient)) <= 1e-8
    parts = [
        (data.X[data.groups == site], data.y[data.groups == site], fit.beta, 1.0) for site in (0, 1)
    ]
    at = laplace.loglik(*data, fit.beta, 1.0)
    l_1 = sum(laplace.derivatives.l_1(*part) for part in parts)
    l_2 = sum(laplace.derivatives.l_2(*part) for part in parts)
    np.testing.assert_allclose(l_1, at.gradient[:-1], atol=1e-10)
    np.testing.assert_allclose(l_2, at.hessian[:-1, :-1], rtol=1e-10, atol=1e-10)


# The boundary ----------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 5])
def test_boundary_in_r(nodes: int) -> None:
    y, design, groups = reference_design("boundary")
    reference = lme4()["boundary"]
    fit = laplace.fit(y, design, groups, nodes=nodes)
    assert fit.tau == 0.0
    assert fit.boundary
    assert fit.converged
    assert fit.llf == pytest.approx(reference["glm"]["loglik"], abs=1e-10)
    np.testing.assert_allclose(fit.beta, reference["glm"]["beta"], atol=1e-8)
    # glm stops at a deviance change of 1e-8, which its weights, and so its errors, remember
    np.testing.assert_allclose(fit.bse.iloc[:-1], reference["glm"]["se"], rtol=1e-6)
    assert np.isnan(fit.bse["tau"])
    assert np.all(fit.random_effects == 0.0)
    assert fit.theta[-1] == -np.inf
    assert len(fit.gradient) == 2
    assert "on the boundary" in str(fit.summary())


def test_boundary_of_the_published_data(recwarn: pytest.WarningsRecorder) -> None:
    data = laplace.simulate.published_two_sites()
    fit = laplace.fit(*data)
    assert fit.boundary
    assert fit.tau == 0.0
    assert not recwarn.list
    for tau in np.logspace(-3, 1, 9):
        assert laplace.fit(*data, tau=tau).llf < fit.llf


def test_an_interior_maximum_is_above_the_boundary() -> None:
    for seed in range(6):
        data = laplace.simulate.random_intercepts([6] * 40, [0.3, 0.8], 1.0, seed=seed)
        fit = laplace.fit(*data)
        zero = laplace.fit(*data, tau=0)
        assert not fit.boundary
        assert fit.llf > zero.llf


def test_small_but_positive_tau_is_found() -> None:
    """The slope at zero is positive but small; the maximum lies close to the boundary."""
    found = []
    for seed in range(40):
        data = laplace.simulate.random_intercepts([8] * 30, [0.0], 0.1, seed=seed)
        fit = laplace.fit(*data)
        assert fit.converged
        assert fit.boundary == (fit.tau == 0.0)
        grid = max(laplace.fit(*data, tau=tau).llf for tau in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8))
        assert fit.llf >= grid - 1e-10
        found.append(fit.tau)
    assert 0 < np.sum(np.array(found) == 0.0) < 40


def test_a_likelihood_without_a_bound_for_tau_is_said() -> None:
    """No group has both outcomes: with 60 nodes the log-likelihood rises towards 10 log(1/2)."""
    groups = np.repeat(np.arange(10), 6)
    y = (groups % 2).astype(float)
    design = np.random.default_rng(2).normal(size=(60, 1))
    with pytest.warns(laplace.ConvergenceWarning, match="tau rose beyond"):
        fit = laplace.fit(y, design, groups, nodes=60)
    assert not fit.converged
    assert fit.llf == pytest.approx(10 * np.log(0.5), abs=0.05)
    assert "NO: tau rose beyond" in str(fit.summary())


# Invariances -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 5])
def test_invariances(nodes: int) -> None:
    base = laplace.fit(Y, X, GROUPS, nodes=nodes)

    order = np.random.default_rng(3).permutation(len(Y))
    other = laplace.fit(Y[order], X[order], GROUPS[order], nodes=nodes)
    np.testing.assert_allclose(other.theta, base.theta, rtol=1e-10)

    other = laplace.fit(1 - Y, X, GROUPS, nodes=nodes)
    np.testing.assert_allclose(other.beta, -base.beta, rtol=1e-10)
    assert other.tau == pytest.approx(base.tau, rel=1e-10)

    scale = np.array([1e-4, 1.0, 1e6])
    other = laplace.fit(Y, X * scale, GROUPS, nodes=nodes)
    np.testing.assert_allclose(other.beta * scale, base.beta, rtol=1e-10)
    np.testing.assert_allclose(other.bse.iloc[:3] * scale, base.bse.iloc[:3], rtol=1e-10)
    assert other.llf == pytest.approx(base.llf, rel=1e-13)

    rotate = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    other = laplace.fit(Y, X @ rotate, GROUPS, nodes=nodes)
    np.testing.assert_allclose(rotate @ other.beta, base.beta, rtol=1e-10)


def test_a_shifted_covariate_moves_the_intercept_only() -> None:
    shifted = X + np.array([0.0, 2026.0, 0.0])
    base, other = laplace.fit(Y, X, GROUPS), laplace.fit(Y, shifted, GROUPS)
    np.testing.assert_allclose(other.beta[1:], base.beta[1:], rtol=1e-8)
    assert other.beta[0] + 2026.0 * other.beta[1] == pytest.approx(base.beta[0], rel=1e-7)
    assert other.tau == pytest.approx(base.tau, rel=1e-8)


def test_offset_is_a_coefficient_of_one() -> None:
    base = laplace.fit(Y, X, GROUPS)
    other = laplace.fit(Y, X[:, :2], GROUPS, offset=base.beta[2] * X[:, 2])
    np.testing.assert_allclose(other.beta, base.beta[:2], atol=1e-9)
    assert other.llf == pytest.approx(base.llf, rel=1e-12)


# The result ------------------------------------------------------------------------------------


def test_results_are_named_as_the_data_are() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    fit = laplace.fit(Y, frame, pd.Series(GROUPS).map("ward {}".format))
    names = ["one", "age", "dose", "tau"]
    for result in (fit.params, fit.bse, fit.tvalues, fit.pvalues, fit.conf_int()):
        assert list(result.index) == names
    assert list(fit.cov_params().columns) == names
    assert fit.random_effects.index.name == "group"
    assert "ward 7" in fit.random_effects.index
    assert list(laplace.fit(Y, X, GROUPS, tau=1).params.index) == ["x0", "x1", "x2"]
    named = laplace.fit(Y, X, GROUPS, tau=1, names=["a", "b", "c"])
    assert list(named.params.index) == ["a", "b", "c"]


def test_standard_errors_and_intervals() -> None:
    fit = laplace.fit(Y, X, GROUPS)
    covariance = np.linalg.inv(-fit.hessian)
    np.testing.assert_allclose(fit.cov_params().iloc[:3, :3], covariance[:3, :3], rtol=1e-10)
    assert fit.bse["tau"] == pytest.approx(fit.tau * np.sqrt(covariance[3, 3]), rel=1e-10)
    np.testing.assert_allclose(fit.tvalues.iloc[:3], fit.beta / fit.bse.iloc[:3])
    np.testing.assert_allclose(fit.pvalues.iloc[:3], 2 * norm.sf(np.abs(fit.tvalues.iloc[:3])))
    assert np.isnan(fit.tvalues["tau"])
    interval = fit.conf_int(alpha=0.1)
    half = norm.ppf(0.95) * fit.bse
    np.testing.assert_allclose(interval["upper"].iloc[:3], (fit.params + half).iloc[:3])
    assert np.log(interval.loc["tau", "upper"] / fit.tau) == pytest.approx(half["tau"] / fit.tau)
    assert interval.loc["tau", "lower"] > 0
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        fit.conf_int(alpha=95)


def test_criteria() -> None:
    fit = laplace.fit(Y, X, GROUPS)
    assert fit.nobs == len(Y)
    assert fit.df_model == 4
    assert fit.aic == pytest.approx(-2 * fit.llf + 8)
    assert fit.bic == pytest.approx(-2 * fit.llf + 4 * np.log(len(Y)))
    assert laplace.fit(Y, X, GROUPS, tau=1).df_model == 3
    assert fit.llf == laplace.loglik(Y, X, GROUPS, fit.beta, fit.tau).value


def test_predictions_of_known_rows() -> None:
    index = [f"row {i}" for i in range(len(Y))]
    frame = pd.DataFrame(X, columns=["one", "age", "dose"], index=index)
    fit = laplace.fit(pd.Series(Y, index=index), frame, pd.Series(GROUPS, index=index))
    u = fit.random_effects["mode"].to_numpy()
    truth = 1 / (1 + np.exp(-(X @ fit.beta + u[GROUPS])))
    predicted = fit.predict()
    assert list(predicted.index) == index
    np.testing.assert_allclose(predicted, truth, rtol=1e-12)
    np.testing.assert_allclose(fit.predict(frame, GROUPS), truth, rtol=1e-12)
    typical = 1 / (1 + np.exp(-(X @ fit.beta)))
    np.testing.assert_allclose(fit.predict(frame), typical, rtol=1e-12)


def test_predictions_of_what_the_fit_does_not_know() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    fit = laplace.fit(Y, frame, GROUPS)
    with pytest.raises(ValueError, match="groups names 77, which the fit does not know"):
        fit.predict(frame.iloc[:2], [0, 77])
    with pytest.raises(ValueError, match="X must have the columns of the fit"):
        fit.predict(frame[["one", "dose", "age"]])
    with pytest.raises(ValueError, match="names has 3 names, but X has 2 columns"):
        fit.predict(X[:, :2])
    with pytest.raises(ValueError, match="X must be given"):
        fit.predict(groups=GROUPS)


def test_summary_as_text_and_html() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=5, names=["one", "age", "dose"])
    text, html = str(fit.summary()), fit.summary()._repr_html_()
    for word in (
        f"{len(Y)}",
        "30, of",
        "adaptive Gauss-Hermite quadrature, 5 nodes",
        f"{fit.llf:.4f}",
        "age",
        f"{fit.tau:.4f} (estimated)",
        "97.5 %",
    ):
        assert word in text
        assert word in html
    assert html.count("<table") == 2
    assert "nan" not in text.lower()
    assert "30 groups" in repr(fit)
    assert "1 (fixed)" in str(laplace.fit(Y, X, GROUPS, tau=1).summary())
