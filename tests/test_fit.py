"""Fitting: against lme4 and R, at the boundary, its invariances, and the result object."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from designs import lme4, many_groups, reference_design
from scipy.stats import norm

import laplace
from compendium import datasets, published
from laplace import local, search
from laplace.strategy import STRATEGY, Strategy

Y, X, GROUPS = many_groups(8, groups=30)


def toenail_design() -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    """Return y, X and groups: treatment, month and their interaction, as in the R script."""
    data = datasets.toenail()
    treated = (data["treatment"] == "terbinafine").astype(float)
    columns = datasets.in_r("toenail")["terms"]
    design = pd.concat(
        [pd.Series(1.0, index=data.index), treated, data["month"], treated * data["month"]], axis=1
    )
    return data["outcome"], design.set_axis(columns, axis=1), data["patient"]


def design_of(name: str) -> tuple[object, pd.DataFrame, object]:
    return toenail_design() if name == "toenail" else reference_design(name)


@pytest.mark.parametrize("nodes", [1, 2, 5, 25])
def test_lme4(nodes: int) -> None:
    """At lme4's maximum, taken to a gradient below 1e-9 in R; test_datasets.py has more data."""
    reference = lme4()["simulated"]["fits"][str(nodes)]
    fit = laplace.fit(*reference_design("simulated"), nodes=nodes)
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


def test_not_below_what_glmer_reaches() -> None:
    """Our maximum is never below the value at the estimates that glmer() gives by default."""
    for nodes, reference in lme4()["simulated"]["fits"].items():
        fit = laplace.fit(*reference_design("simulated"), nodes=int(nodes))
        assert fit.llf >= reference["glmer_default"]["loglik_tight"] - 1e-8


@pytest.mark.parametrize("nodes", [1, 2, 5, 25])
def test_score_is_zero_at_the_maximum(nodes: int) -> None:
    for tau in (None, 0.3, 1.0, 6.0):
        fit = laplace.fit(Y, X, GROUPS, nodes=nodes, tau=tau)
        assert fit.converged
        assert np.max(np.abs(fit.gradient)) <= 1e-10
        assert np.max(np.linalg.eigvalsh(fit.hessian)) < 0


def test_published_data_with_tau_fixed() -> None:
    data = published.two_sites()
    fit = laplace.fit(*data, tau=1, nodes=1)
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
    data = published.two_sites()
    fit = laplace.fit(*data, nodes=1)
    assert fit.boundary
    assert fit.tau == 0.0
    assert not recwarn.list
    for tau in np.logspace(-3, 1, 9):
        assert laplace.fit(*data, tau=tau, nodes=1).llf < fit.llf


def test_an_interior_maximum_is_above_the_boundary() -> None:
    for seed in range(6):
        data = laplace.simulate.random_intercepts([6] * 40, [0.3, 0.8], 1.0, seed=seed)
        fit = laplace.fit(*data, nodes=1)
        zero = laplace.fit(*data, tau=0)
        assert not fit.boundary
        assert fit.llf > zero.llf


def test_small_but_positive_tau_is_found() -> None:
    """The slope at zero is positive but small; the maximum lies close to the boundary."""
    found = []
    for seed in range(40):
        data = laplace.simulate.random_intercepts([8] * 30, [0.0], 0.1, seed=seed)
        fit = laplace.fit(*data, nodes=1)
        assert fit.converged
        assert fit.boundary == (fit.tau == 0.0)
        grid = max(
            laplace.fit(*data, tau=tau, nodes=1).llf for tau in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
        )
        assert fit.llf >= grid - 1e-10
        found.append(fit.tau)
    assert 0 < np.sum(np.array(found) == 0.0) < 40


def test_a_likelihood_without_a_bound_for_tau_is_said() -> None:
    """No group has both outcomes: with 60 nodes the log-likelihood rises towards 10 log(1/2)."""
    groups = np.repeat(np.arange(10), 6)
    y = (groups % 2).astype(float)
    design = np.random.default_rng(2).normal(size=(60, 1))
    with pytest.warns(laplace.ConvergenceWarning, match="no group has both outcomes"):
        fit = laplace.fit(y, design, groups, nodes=60)
    assert not fit.converged
    assert fit.llf == pytest.approx(10 * np.log(0.5), abs=0.05)
    assert "NO: no group has both outcomes" in str(fit.summary())


def test_a_search_that_leaves_every_likely_tau_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STRATEGY", Strategy(large_tau=1.0))
    monkeypatch.setattr(local, "TAU_LIMIT", 2.0)
    with pytest.warns(laplace.ConvergenceWarning, match="tau rose beyond 10000: the outcomes hard"):
        fit = laplace.fit(*toenail_design(), nodes=1)
    assert not fit.converged
    assert "NO: tau rose beyond 10000" in str(fit.summary())


@pytest.mark.parametrize("tau", [1, 2])
def test_groups_that_do_not_vary_do_not_bound_tau(tau: int) -> None:
    """The exact likelihood rises with tau, also where Laplace's has a maximum."""
    groups = np.repeat(np.arange(10), 4)
    y = (groups % 2).astype(float)
    with pytest.warns(laplace.ConvergenceWarning, match="no group has both outcomes"):
        fit = laplace.fit(y, np.ones((40, 1)), groups, nodes=1)
    assert not fit.converged
    assert laplace.fit(y, np.ones((40, 1)), groups, tau=tau, nodes=1).converged
    successes = 3 * y
    with pytest.warns(laplace.ConvergenceWarning, match="no group has both outcomes"):
        laplace.fit(successes, np.ones((40, 1)), groups, family="binomial", trials=3, nodes=1)


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
    base, other = laplace.fit(Y, X, GROUPS, nodes=1), laplace.fit(Y, shifted, GROUPS, nodes=1)
    np.testing.assert_allclose(other.beta[1:], base.beta[1:], rtol=1e-8)
    assert other.beta[0] + 2026.0 * other.beta[1] == pytest.approx(base.beta[0], rel=1e-7)
    assert other.tau == pytest.approx(base.tau, rel=1e-8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shift", [1e6, 1e7, 1e8])
def test_a_covariate_far_from_zero(shift: float) -> None:
    """The columns are nearly collinear: X itself is rounded to eps times the shift."""
    for tau in (None, 0.0, 1.0):
        base = laplace.fit(Y, X, GROUPS, tau=tau, nodes=1)
        other = laplace.fit(Y, X + np.array([0.0, shift, 0.0]), GROUPS, tau=tau, nodes=1)
        assert other.converged
        np.testing.assert_allclose(other.beta[1:], base.beta[1:], rtol=1e-15 * shift)
        np.testing.assert_allclose(other.bse.iloc[1:3], base.bse.iloc[1:3], rtol=1e-15 * shift)
        assert other.llf == pytest.approx(base.llf, abs=1e-14 * shift)
        assert other.tau == pytest.approx(base.tau, rel=1e-15 * shift)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shift", [-1000.0, -40.0, 40.0, 1000.0])
@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_a_constant_offset_moves_the_intercept_only(family: str, shift: float) -> None:
    options = {"family": family, "trials": 3 if family == "binomial" else None}
    for tau in (None, 0.0):
        base = laplace.fit(Y, X, GROUPS, tau=tau, **options)
        other = laplace.fit(Y, X, GROUPS, tau=tau, offset=np.full(len(Y), shift), **options)
        assert other.converged
        assert other.llf == pytest.approx(base.llf, abs=1e-10)
        np.testing.assert_allclose(other.beta + shift * np.eye(3)[0], base.beta, atol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e3, 1e10, 1e150])
@pytest.mark.parametrize("options", [{}, {"tau": 1}, {"tau": 0}, {"penalty": "soft"}])
@pytest.mark.filterwarnings("ignore::laplace.ConvergenceWarning")
def test_offsets_that_no_coefficient_makes_up_for_are_said(size: float, options: object) -> None:
    """Here no row's outcome has a variance; the answer is a fit, or why there is none."""
    offset = np.where(np.arange(len(Y)) % 2, size, -size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", laplace.ConvergenceWarning)
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        fit = laplace.fit(Y, X, GROUPS, offset=offset, nodes=1, **options)
    assert np.isfinite(fit.llf)
    assert fit.converged == (fit.message == "converged")
    assert fit.converged or "NO: " in str(fit.summary())


def test_offset_is_a_coefficient_of_one() -> None:
    base = laplace.fit(Y, X, GROUPS, nodes=1)
    other = laplace.fit(Y, X[:, :2], GROUPS, offset=base.beta[2] * X[:, 2], nodes=1)
    np.testing.assert_allclose(other.beta, base.beta[:2], atol=1e-9)
    assert other.llf == pytest.approx(base.llf, rel=1e-12)


# The result ------------------------------------------------------------------------------------


def test_results_are_named_as_the_data_are() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    fit = laplace.fit(Y, frame, pd.Series(GROUPS).map("ward {}".format), nodes=1)
    names = ["one", "age", "dose", "tau"]
    for result in (fit.params, fit.bse, fit.tvalues, fit.pvalues, fit.conf_int()):
        assert list(result.index) == names
    assert list(fit.cov_params().columns) == names
    assert fit.random_effects.index.name == "group"
    assert "ward 7" in fit.random_effects.index
    assert list(laplace.fit(Y, X, GROUPS, tau=1, nodes=1).params.index) == ["x0", "x1", "x2"]
    named = laplace.fit(Y, X, GROUPS, tau=1, names=["a", "b", "c"], nodes=1)
    assert list(named.params.index) == ["a", "b", "c"]


def test_results_cannot_be_changed() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    before, effects = fit.predict(), fit.random_effects
    effects["mode"] = 7.0
    assert fit.random_effects["mode"].max() < 7.0
    for array in (fit.beta, fit.gradient, fit.hessian, fit.data.X, fit.data.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    params = laplace.fit(Y, X, GROUPS, tau=1, nodes=1).params
    params.iloc[0] = 1.0  # a copy
    pd.testing.assert_series_equal(fit.predict(), before)


def test_a_column_may_be_called_tau_where_tau_is_fixed() -> None:
    fit = laplace.fit(Y, X, GROUPS, tau=1, names=["one", "tau", "dose"], nodes=1)
    assert np.all(np.isfinite(fit.conf_int()))
    assert np.isfinite(fit.tvalues["tau"])


def test_standard_errors_and_intervals() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
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
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    assert fit.nobs == len(Y)
    assert fit.df_model == 4
    assert fit.aic == pytest.approx(-2 * fit.llf + 8)
    assert fit.bic == pytest.approx(-2 * fit.llf + 4 * np.log(len(Y)))
    assert laplace.fit(Y, X, GROUPS, tau=1, nodes=1).df_model == 3
    # the modes were found from another start, which leaves rounding
    again = laplace.loglik(Y, X, GROUPS, fit.beta, fit.tau).value
    assert fit.llf == pytest.approx(again, rel=1e-14)


def test_predictions_of_known_rows() -> None:
    index = [f"row {i}" for i in range(len(Y))]
    frame = pd.DataFrame(X, columns=["one", "age", "dose"], index=index)
    fit = laplace.fit(pd.Series(Y, index=index), frame, pd.Series(GROUPS, index=index), nodes=1)
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
    fit = laplace.fit(Y, frame, GROUPS, nodes=1)
    with pytest.raises(ValueError, match="groups names 77, which the fit does not know"):
        fit.predict(frame.iloc[:2], [0, 77])
    with pytest.raises(ValueError, match="X must have the columns of the fit"):
        fit.predict(frame[["one", "dose", "age"]])
    with pytest.raises(ValueError, match="X has 2 columns, but the fit has 3"):
        fit.predict(X[:, :2])
    with pytest.raises(ValueError, match="X must be given"):
        fit.predict(groups=GROUPS)


def test_predictions_say_what_is_wrong() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    for labels in ([True, False], ["a", 0], pd.Categorical(["a", "b"]), [0.5, 1.5]):
        with pytest.raises(ValueError, match="which the fit does not know"):
            fit.predict(X[:2], labels)
    with pytest.raises(ValueError, match=r"X holds nan in row 1, column 'x2'; remove or imp") as at:
        fit.predict([[1.0, 0.0, 0.0], [1.0, 0.0, np.nan]])
    assert "fitting" not in str(at.value)
    with pytest.raises(
        ValueError, match=r"X must have two dimensions, rows and columns, got shape"
    ):
        fit.predict(3.0)
    with pytest.raises(TypeError, match="groups must be a list or array, a label a row, got int"):
        fit.predict(X[:2], 1)
    with pytest.raises(TypeError, match="offset must be a number, got 'time'"):
        fit.predict(X[:2], offset="time")
    with pytest.raises(ValueError, match="offset must have one dimension"):
        fit.predict(X[:2], offset=np.ones((2, 2)))
    for options, words in (
        ({"new_groups": "any"}, "new_groups must be 'typical' or 'marginal'"),
        ({"new_groups": "typical"}, "give groups, too"),
        ({"groups": [0, 1], "new_groups": "marginal", "kind": "link"}, "a mean over groups"),
        ({"kind": "probability"}, "kind must be 'group', 'typical', 'marginal' or 'link'"),
    ):
        with pytest.raises(ValueError, match=words):
            fit.predict(X[:2], **options)
    assert fit.predict(X[:0]).empty


def test_predictions_for_groups_that_are_true_or_false() -> None:
    side = GROUPS % 2 == 1
    fit = laplace.fit(Y, X, side, tau=1, nodes=1)
    np.testing.assert_allclose(fit.predict(X, side), fit.predict(), rtol=1e-13)


def test_summary_shows_significant_digits() -> None:
    fit = laplace.fit(Y, X * [1.0, 1e7, 1.0], GROUPS, nodes=1)
    text = str(fit.summary())
    line = next(row for row in text.splitlines() if row.startswith("x1"))
    assert f"{fit.params['x1']:.3e}" in line
    assert "0.0000" not in text.replace("<0.0001", "")
    strong = laplace.fit(*laplace.simulate.random_intercepts([20] * 30, [1.0, 2.0], 1.0), nodes=1)
    assert "<0.0001" in str(strong.summary())
    assert "&lt;0.0001" in strong.summary()._repr_html_()


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
    assert "1 (fixed)" in str(laplace.fit(Y, X, GROUPS, tau=1, nodes=1).summary())


# The price of the approximation ------------------------------------------------------------------


def test_approximation_error_vanishes_with_nodes() -> None:
    sizes = [
        laplace.fit(Y, X, GROUPS, nodes=nodes).approximation_error().abs().max()
        for nodes in (1, 5, 25)
    ]
    assert sizes[0] > 3 * sizes[1]
    assert sizes[1] > 100 * sizes[2]
    fit = laplace.fit(Y, X, GROUPS, nodes=25)
    assert fit.approximation_error(60).abs().max() < 1e-5
    with pytest.raises(ValueError, match="nodes must differ from the 25 of the fit"):
        fit.approximation_error(25)


def test_approximation_error_is_named_and_zero_on_the_boundary() -> None:
    fit = laplace.fit(Y, X, GROUPS, names=["a", "b", "c"], nodes=1)
    assert list(fit.approximation_error().index) == ["a", "b", "c", "tau"]
    assert len(laplace.fit(Y, X, GROUPS, tau=1, nodes=1).approximation_error()) == 3
    y, design, groups = reference_design("boundary")
    assert np.all(laplace.fit(y, design, groups, nodes=1).approximation_error() == 0.0)
    with pytest.raises(TypeError, match="nodes must be a whole number"):
        fit.approximation_error(2.5)


@pytest.mark.parametrize("name", ["simulated", "toenail"])
def test_auto_nodes_reach_the_tolerance_and_no_more(name: str) -> None:
    y, design, groups = design_of(name)
    fit = laplace.fit(y, design, groups, nodes="auto")
    assert fit.approximation_error().abs().max() <= STRATEGY.enough
    fewer = STRATEGY.rules[STRATEGY.rules.index(fit.nodes) - 1]
    coarse = laplace.fit(y, design, groups, nodes=fewer)
    assert coarse.approximation_error().abs().max() > STRATEGY.enough
    best = laplace.fit(y, design, groups, nodes=150)
    assert np.all(np.abs(fit.params - best.params) <= 2 * STRATEGY.enough * best.bse)


def test_only_auto_is_a_word_for_nodes() -> None:
    with pytest.raises(TypeError, match="nodes must be a whole number or 'auto', got 'AUTO'"):
        laplace.fit(Y, X, GROUPS, nodes="AUTO")


def test_auto_nodes_stay_at_laplace_where_it_is_enough() -> None:
    data = published.two_sites()
    assert laplace.fit(*data, tau=1, nodes="auto").nodes == 1
    assert laplace.fit(*data, nodes="auto").boundary


def test_summary_says_the_price_of_the_approximation() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    size = fit.approximation_error().abs()
    ratio = fit.verdict.largest_ratio
    words = (
        f"largest predicted shift {size.max():.2g} standard errors ({size.idxmax()}); these are "
        f"off by at most {100 * (ratio - 1):.2g} %, by 25 nodes"
    )
    assert words in str(fit.summary())
    assert "its error is not known: no rule has more than twice its 100 nodes" in str(
        laplace.fit(Y, X, GROUPS, nodes=100).summary()
    )
    y, design, groups = reference_design("boundary")
    assert "exact, as there is nothing to integrate" in str(
        laplace.fit(y, design, groups, nodes=1).summary()
    )
