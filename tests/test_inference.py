"""Profile intervals, likelihood-ratio tests and predictions: against R, brute force, quad."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from designs import REFERENCE, built_penalty, many_groups, reference_design
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit
from scipy.stats import chi2, norm

import laplace
from compendium import datasets
from laplace.families import BERNOULLI, POISSON

Y, X, GROUPS = many_groups(8, groups=30)
CUT = chi2.isf(0.05, 1) / 2


def reference() -> dict:
    """Values computed in R by `reference/inference.R`."""
    return json.loads((REFERENCE / "inference.json").read_text())


# Profile intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 25])
def test_profile_in_r(nodes: int) -> None:
    """Against a profile by Newton's method and uniroot() on lme4's deviance function."""
    truth = reference()["profile"]["simulated"][str(nodes)]
    fit = laplace.fit(*reference_design("simulated"), nodes=nodes)
    interval = fit.conf_int(method="profile")
    np.testing.assert_allclose(interval["lower"], truth["lower"], atol=1e-9)
    np.testing.assert_allclose(interval["upper"], truth["upper"], atol=1e-9)
    # lme4's confint() interpolates by splines between points of a grid
    np.testing.assert_allclose(interval["lower"], truth["confint"]["lower"], atol=5e-4)
    np.testing.assert_allclose(interval["upper"], truth["confint"]["upper"], atol=5e-4)


def test_profile_of_tau_on_the_boundary_in_r() -> None:
    fit = laplace.fit(*reference_design("boundary"), nodes=1)
    assert fit.boundary
    assert np.all(np.isnan(fit.conf_int().loc["tau"]))
    lower, upper = fit.conf_int(method="profile").loc["tau"]
    assert lower == 0.0
    truth = reference()["profile"]["boundary"]["1"]["upper"]
    assert upper == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"penalty": "soft"}, {"penalty": "ridge", "strength": 3}])
@pytest.mark.parametrize(("family", "nodes"), [("bernoulli", 1), ("binomial", 5), ("poisson", 1)])
def test_profile_by_brute_force(family: str, nodes: int, options: dict) -> None:
    """Fits with one coefficient as an offset, or tau fixed, and Brent's method on top of them."""
    if family == "poisson" and options.get("penalty") == "soft":
        return
    trials = 3 if family == "binomial" else None
    y, design, groups = many_groups(3, groups=15)
    if family == "poisson":
        y = np.random.default_rng(3).poisson(2 + y)
    offset = np.linspace(-0.5, 0.5, len(y))
    data = {"family": family, "trials": trials, "nodes": nodes}
    fit = laplace.fit(y, design, groups, offset=offset, **data, **options)
    interval = fit.conf_int(method="profile", alpha=0.1)
    cut = chi2.isf(0.1, 1) / 2

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        beta, tau = theta[:-1], float(np.exp(theta[-1]))
        at = laplace.loglik(y, design, groups, beta, tau, offset=offset, **data)
        if fit.penalty is not None:
            strength = options.get("strength")
            at += built_penalty(fit.penalty, strength, fit.data, True).at(beta, tau)
        return -at.value, -at.gradient

    def profile(value: float, place: int) -> float:
        free = np.delete(np.arange(4), place)
        theta = np.append(fit.beta, np.log(max(fit.tau, 0.1)))
        theta[place] = value

        def inner(others: np.ndarray) -> tuple[float, np.ndarray]:
            full = theta.copy()
            full[free] = others
            full[-1] = max(full[-1], -15.0)
            found, gradient = objective(full)
            return found, gradient[free]

        found = minimize(inner, theta[free], method="BFGS", jac=True, options={"gtol": 1e-8})
        return fit.penalized_llf + found.fun - cut

    for place in (1, 3):
        estimate = np.append(fit.beta, np.log(fit.tau) if fit.tau > 0 else -np.inf)[place]
        for end, side in zip(interval.iloc[place], (-1, 1), strict=True):
            if end == 0.0 and place == 3:
                zero = laplace.fit(y, design, groups, offset=offset, tau=0, **data, **options)
                assert zero.penalized_llf >= fit.penalized_llf - cut
                continue
            end = np.log(end) if place == 3 else end
            bracket = sorted([end - 0.1 * side, end + 0.1 * side])
            assert side * (end - estimate) > 0
            found = brentq(profile, *bracket, args=(place,), xtol=1e-9)
            assert found == pytest.approx(end, abs=1e-8)


def test_profile_at_a_fixed_tau() -> None:
    """Fits with the coefficient as an offset."""
    for tau in (0.0, 1.5):
        fit = laplace.fit(Y, X, GROUPS, tau=tau, nodes=1)
        interval = fit.conf_int(method="profile")
        assert list(interval.index) == ["x0", "x1", "x2"]
        for end in interval.loc["x1"]:
            held = laplace.fit(Y, X[:, [0, 2]], GROUPS, tau=tau, offset=end * X[:, 1], nodes=1)
            assert fit.llf - held.llf == pytest.approx(CUT, abs=1e-9)


@pytest.mark.parametrize("nodes", [1, 5])
def test_likelihood_at_the_ends(nodes: int) -> None:
    """Fits with the parameter held there have a log-likelihood that is lower by the cut."""
    fit = laplace.fit(Y, X, GROUPS, nodes=nodes)
    interval = fit.conf_int(method="profile")
    for k, name in enumerate(("x0", "x1", "x2")):
        for end in interval.loc[name]:
            others = np.delete(X, k, axis=1)
            held = laplace.fit(Y, others, GROUPS, offset=end * X[:, k], nodes=nodes)
            assert fit.llf - held.llf == pytest.approx(CUT, abs=1e-9)
    for end in interval.loc["tau"]:
        held = laplace.fit(Y, X, GROUPS, tau=end, nodes=nodes)
        assert fit.llf - held.llf == pytest.approx(CUT, abs=1e-9)


def test_an_inner_maximum_at_zero() -> None:
    """Held away from its estimate, a coefficient leaves no tau: the inner maximum is at 0."""
    found = 0
    for seed in range(40):
        y, design, groups = laplace.simulate.random_intercepts(
            [6] * 25, [0.0, 1.0], 0.35, seed=seed
        )
        fit = laplace.fit(y, design, groups, nodes=1)
        interval = fit.conf_int(method="profile")
        for end in interval.iloc[1]:
            held = laplace.fit(y, design[:, :1], groups, offset=end * design[:, 1], nodes=1)
            assert fit.llf - held.llf == pytest.approx(CUT, abs=1e-9)
            found += held.boundary != fit.boundary
    assert found > 0


def test_profile_lower_end_of_tau_is_exactly_zero() -> None:
    """Where the likelihood at zero is within the cut, though the estimate is not zero."""
    for seed in range(20):
        data = laplace.simulate.random_intercepts([6] * 25, [0.0, 1.0], 0.5, seed=seed)
        fit, zero = laplace.fit(*data, nodes=1), laplace.fit(*data, tau=0)
        if 0.1 < fit.llf - zero.llf < CUT:
            break
    assert fit.tau > 0.0
    assert 0.1 < fit.llf - zero.llf < CUT
    assert fit.conf_int(method="profile").loc["tau", "lower"] == 0.0
    # at a level at which it is not, the lower end is where the likelihood says
    alpha = float(chi2.sf(1.6 * (fit.llf - zero.llf), 1))
    lower = fit.conf_int(alpha, method="profile").loc["tau", "lower"]
    assert 0.0 < lower < fit.tau
    held = laplace.fit(*data, tau=lower, nodes=1)
    assert fit.llf - held.llf == pytest.approx(0.8 * (fit.llf - zero.llf), abs=1e-9)


def test_profile_upper_end_may_be_infinite() -> None:
    """One group with both outcomes: the likelihood falls as 1 / tau, and no faster."""
    y, groups = np.array([0.0] * 5 + [1.0] * 4 + [0.0]), np.repeat([0, 1], 5)
    fit = laplace.fit(y, np.ones((10, 1)), groups, nodes=25)
    assert fit.converged
    assert fit.conf_int(method="profile").loc["tau", "upper"] < 100.0
    assert fit.conf_int(1e-6, method="profile").loc["tau", "upper"] == np.inf


def test_profile_of_one_column() -> None:
    fit = laplace.fit(Y, X[:, :1], GROUPS, nodes=1)
    for end in fit.conf_int(method="profile").iloc[0]:
        found = minimize_scalar(
            lambda x, end=end: -laplace.loglik(Y, X[:, :1], GROUPS, [end], np.exp(x)).value,
            bounds=(-4.0, 4.0),
            method="bounded",
            options={"xatol": 1e-8},
        )
        assert fit.llf + found.fun == pytest.approx(CUT, abs=1e-9)


def test_profile_invariances() -> None:
    base = laplace.fit(Y, X, GROUPS, nodes=1).conf_int(method="profile")
    scale = np.array([1e-4, -1.0, 1e6])
    other = laplace.fit(Y, X * scale, GROUPS, nodes=1).conf_int(method="profile")
    np.testing.assert_allclose(other.iloc[[0, 2]].mul(scale[[0, 2]], axis=0), base.iloc[[0, 2]])
    np.testing.assert_allclose(-other.iloc[1, ::-1], base.iloc[1])
    np.testing.assert_allclose(other.loc["tau"], base.loc["tau"], rtol=1e-8)
    shifted = laplace.fit(Y, X + np.array([0.0, 2026.0, 0.0]), GROUPS, nodes=1).conf_int(
        method="profile"
    )
    np.testing.assert_allclose(shifted.iloc[1:], base.iloc[1:], rtol=1e-7)


def test_profile_intervals_are_nested_and_near_wald_for_many_rows() -> None:
    data = laplace.simulate.random_intercepts([10] * 400, [0.3, 0.8], 1.0, seed=2)
    fit = laplace.fit(*data, nodes=1)
    wide, narrow = (fit.conf_int(alpha, method="profile") for alpha in (0.01, 0.3))
    assert np.all(wide["lower"] < narrow["lower"])
    assert np.all(narrow["upper"] < wide["upper"])
    assert np.all(narrow["lower"] < fit.params)
    wald = fit.conf_int(0.3)
    assert np.all(np.abs(wald - narrow).to_numpy() < 0.02 * fit.bse.to_numpy()[:, None])
    pd.testing.assert_frame_equal(fit.conf_int(), fit.conf_int(method="wald"))


def test_profile_says_what_is_wrong() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    for alpha in (0.0, 1.0, -0.1, 95):
        with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
            fit.conf_int(alpha, method="profile")
    with pytest.raises(ValueError, match="alpha must be finite"):
        fit.conf_int(np.nan)
    with pytest.raises(TypeError, match="alpha must be a number"):
        fit.conf_int("profile")
    with pytest.raises(ValueError, match="method must be 'wald' or 'profile', got 'boot'"):
        fit.conf_int(method="boot")
    groups = np.repeat(np.arange(10), 4)
    with pytest.warns(laplace.ConvergenceWarning):
        fit = laplace.fit((groups % 2).astype(float), np.ones((40, 1)), groups, nodes=1)
    with pytest.raises(ValueError, match="method='profile' needs a fit that reached a maximum"):
        fit.conf_int(method="profile")


# Likelihood-ratio tests --------------------------------------------------------------------------


def test_compare_in_r() -> None:
    y, design, groups = reference_design("simulated")
    large = laplace.fit(y, design, groups, nodes=25)
    small = laplace.fit(y, design[["(Intercept)", "x1"]], groups, nodes=25)
    truth = reference()["test"]
    for test in (large.compare(small), small.compare(large)):
        # glmer() ends within 1e-7 of the maximum
        assert test.statistic == pytest.approx(truth["statistic"], abs=1e-6)
        assert test.pvalue == pytest.approx(truth["pvalue"], abs=1e-6)
        assert test.df == truth["df"]
        assert not test.mixture
    against_zero = large.test_tau()
    assert against_zero.statistic == pytest.approx(truth["tau_statistic"], abs=1e-6)
    assert against_zero.pvalue == pytest.approx(chi2.sf(truth["tau_statistic"], 1) / 2, rel=1e-5)


def test_mixtures() -> None:
    full = laplace.fit(Y, X, GROUPS, nodes=1)
    zero = laplace.fit(Y, X, GROUPS, tau=0)
    test = full.compare(zero)
    statistic = 2 * (full.llf - zero.llf)
    assert test.mixture
    assert test.df == 1
    assert test.statistic == pytest.approx(statistic, rel=1e-12)
    assert test.pvalue == pytest.approx(norm.sf(np.sqrt(statistic)), rel=1e-10)
    assert full.test_tau().pvalue == pytest.approx(test.pvalue, rel=1e-7)
    # two coefficients fewer, too
    small = laplace.fit(Y, X[:, :1], GROUPS, tau=0)
    test = full.compare(small)
    statistic = 2 * (full.llf - small.llf)
    assert test.df == 3
    expected = 0.5 * chi2.sf(statistic, 2) + 0.5 * chi2.sf(statistic, 3)
    assert test.pvalue == pytest.approx(expected, rel=1e-12)
    assert test.distribution == "1/2 chi2(2) + 1/2 chi2(3)"
    # tau fixed at a value that is not the end of its range
    test = full.compare(laplace.fit(Y, X, GROUPS, tau=0.5, nodes=1))
    assert not test.mixture
    assert test.distribution == "chi2(1)"
    # tau fixed in both
    test = zero.compare(small)
    assert (test.df, test.mixture) == (2, False)
    assert list(test.table["parameters"]) == [1, 3]


def test_on_the_boundary_the_p_value_is_one() -> None:
    fit = laplace.fit(*reference_design("boundary"), nodes=1)
    test = fit.test_tau()
    assert (test.statistic, test.pvalue) == (0.0, 1.0)
    test = fit.compare(laplace.fit(*reference_design("boundary"), tau=0, nodes=5))
    assert (test.statistic, test.pvalue) == (0.0, 1.0)
    assert "chi2 = 0.0000, p = 1.0000" in str(fit.summary())


def test_null_distribution_of_the_test_of_tau() -> None:
    """Without random intercepts, half of the statistics are zero and the others are chi2(1).

    300 data sets from a fixed seed. The share of zeros tends to 1/2 with the number of groups: with
    100 of them it is within five standard errors (0.029 each), and so are the rejections at 5 %.
    """
    statistics, pvalues = [], []
    rng = np.random.default_rng(1987)
    design = np.column_stack([np.ones(500), rng.normal(size=500)])
    groups = np.repeat(np.arange(100), 5)
    for _ in range(300):
        y = (rng.random(500) < expit(design @ [0.2, 0.5])).astype(float)
        test = laplace.fit(y, design, groups, nodes=1).test_tau()
        statistics.append(test.statistic)
        pvalues.append(test.pvalue)
    zero = np.mean(np.array(statistics) == 0.0)
    assert abs(zero - 0.5) < 5 * np.sqrt(0.25 / 300)
    assert np.mean(np.array(pvalues) == 1.0) == zero
    for level in (0.05, 0.2, 0.4):
        rejected = np.mean(np.array(pvalues) < level)
        assert abs(rejected - level) < 5 * np.sqrt(level * (1 - level) / 300)
    # half the size that chi2(1) would give
    assert np.mean(chi2.sf(statistics, 1) < 0.2) < 0.16


def test_compare_goes_by_the_space_that_the_columns_span() -> None:
    small = laplace.fit(Y, X[:, :2], GROUPS, nodes=1)
    rotated = X @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1e5]])
    test = laplace.fit(Y, rotated, GROUPS, nodes=1).compare(small)
    base = laplace.fit(Y, X, GROUPS, nodes=1).compare(small)
    assert test.pvalue == pytest.approx(base.pvalue, rel=1e-8)
    # rows in their order, whatever the groups are called
    labels = pd.Series(GROUPS).map("ward {}".format).to_numpy()
    relabelled = laplace.fit(Y, X[:, :2], labels, nodes=1)
    assert relabelled.compare(laplace.fit(Y, X, GROUPS, nodes=1)).pvalue == pytest.approx(
        base.pvalue
    )


def test_compare_prints_well() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    full, small = (
        laplace.fit(Y, frame, GROUPS, nodes=1),
        laplace.fit(Y, frame[["one"]], GROUPS, nodes=1),
    )
    test = full.compare(small)
    text, html = str(test), test._repr_html_()
    for word in (
        "Likelihood-ratio test: chi2 = ",
        f"{test.statistic:.4f}",
        "by chi2(2)",
        "one + age + dose, tau estimated",
        f"{small.llf:.4f}",
    ):
        assert word in text
        assert word in html
    assert repr(test) == text
    assert f"chi2 = {full.test_tau().statistic:.4f}" in str(full.summary())
    assert "Test of tau" not in str(laplace.fit(Y, X, GROUPS, tau=1, nodes=1).summary())
    wide = laplace.fit(Y, X, GROUPS, names=["a" * 30, "b" * 30, "c"], nodes=1)
    assert "3 columns, tau estimated" in str(wide.test_tau().table) or "3 columns" in str(
        wide.compare(laplace.fit(Y, X[:, :1], GROUPS, nodes=1))
    )


def test_compare_takes_both_to_the_larger_number_of_nodes() -> None:
    larger, smaller = (laplace.fit(Y, X[:, :k], GROUPS, nodes=9) for k in (3, 2))
    expected = larger.compare(smaller)
    for one, other in ((1, 9), (9, 1)):
        a = laplace.fit(Y, X, GROUPS, nodes=one)
        b = laplace.fit(Y, X[:, :2], GROUPS, nodes=other)
        for found in (a.compare(b), b.compare(a)):
            assert found.nodes == 9
            assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
    # without random intercepts the log-likelihood is the same for any rule
    zero = laplace.fit(Y, X, GROUPS, tau=0)
    assert larger.compare(zero).statistic == pytest.approx(larger.test_tau().statistic, abs=1e-9)
    assert larger.compare(zero).nodes == 9


def test_criteria_say_with_which_rule_they_were_computed() -> None:
    for nodes, words in ((1, ", with 1 node"), (9, ", with 9 nodes")):
        overview = laplace.fit(Y, X, GROUPS, nodes=nodes).summary().overview
        assert overview["AIC, BIC"].endswith(words)
    assert "node" not in laplace.fit(Y, X, GROUPS, tau=0).summary().overview["AIC, BIC"]


def test_compare_refuses() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    for other in (None, 3.0, fit.summary(), fit.params):
        with pytest.raises(TypeError, match="other must be a Fit, got"):
            fit.compare(other)
    changed = Y.copy()
    changed[0] = 1 - changed[0]
    order = np.random.default_rng(1).permutation(len(Y))
    elsewhere = np.where(GROUPS == 3, 4, GROUPS)
    small = X[:, :2]
    offset = np.linspace(0, 1, len(Y))
    fixed = laplace.fit(Y, X, GROUPS, tau=1, nodes=1)
    for other, message in (
        (laplace.fit(Y[1:], small[1:], GROUPS[1:], nodes=1), "different data: .* rows"),
        (laplace.fit(changed, small, GROUPS, nodes=1), "different data: y differs"),
        (laplace.fit(Y[order], small[order], GROUPS[order], nodes=1), "different data: y differs"),
        (laplace.fit(Y, small, elsewhere, nodes=1), "different data: groups differs"),
        (laplace.fit(Y, small, GROUPS, offset=offset, nodes=1), "different data: offset differs"),
        (laplace.fit(Y, small, GROUPS, family="poisson", nodes=1), "different families"),
        (laplace.fit(Y, small, GROUPS, family="binomial", trials=1, nodes=1), "different families"),
        (laplace.fit(Y, small, GROUPS, penalty="soft", nodes=1), "a fit has penalty='soft'"),
        (
            laplace.fit(Y, np.c_[small, offset], GROUPS, nodes=1),
            "the models are the same|not nested: col",
        ),
        (
            laplace.fit(Y, np.c_[X[:, 0], offset], GROUPS, nodes=1),
            "not nested: column 'x1' of the smaller",
        ),
        (laplace.fit(Y, X[:, ::-1], GROUPS, nodes=1), "the models are the same"),
    ):
        with pytest.raises(ValueError, match=message):
            fit.compare(other)
        with pytest.raises(ValueError, match=message):
            other.compare(fit)
    with pytest.raises(ValueError, match=r"not nested: that with fewer columns .* fixed at 1"):
        fixed.compare(laplace.fit(Y, small, GROUPS, nodes=1))
    with pytest.raises(ValueError, match="not nested: tau is fixed at 2 and 1"):
        fixed.compare(laplace.fit(Y, small, GROUPS, tau=2, nodes=1))
    binomial = [
        laplace.fit(Y, X[:, : 3 - k], GROUPS, family="binomial", trials=3 + k, nodes=1)
        for k in (0, 1)
    ]
    with pytest.raises(ValueError, match="different data: trials differs"):
        binomial[0].compare(binomial[1])
    with pytest.raises(ValueError, match="tau was fixed at 1; the test of tau = 0 needs"):
        fixed.test_tau()
    with pytest.raises(ValueError, match="a fit has penalty='soft'"):
        laplace.fit(Y, X, GROUPS, penalty="soft", nodes=1).test_tau()
    groups = np.repeat(np.arange(10), 4)
    with pytest.warns(laplace.ConvergenceWarning):
        stopped = laplace.fit((groups % 2).astype(float), np.ones((40, 1)), groups, nodes=1)
    with pytest.raises(ValueError, match="a fit did not converge, so that it is at no maximum"):
        stopped.test_tau()


def test_a_larger_model_below_the_smaller_is_not_at_its_maximum() -> None:
    from laplace.inference.ratio import likelihood_ratio

    with pytest.raises(ValueError, match=r"below that of the smaller, -10\.000000: it is not at"):
        likelihood_ratio(("a", 1, -10.0), ("b", 2, -10.1), mixture=False, nodes=1)
    assert (
        likelihood_ratio(("a", 1, -10.0), ("b", 2, -10.0 - 1e-9), mixture=False, nodes=1).pvalue
        == 1.0
    )


# Predictions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [1e-8, 1e-3, 0.3, 0.99, 1.0, 1.01, 3.0, 20.0, 1e3])
def test_marginal_mean(tau: float) -> None:
    """Against scipy.integrate.quad, piece by piece."""
    eta = np.array([-30.0, -12.0, -3.0, -0.4, 0.0, 0.7, 5.0, 25.0])
    values = BERNOULLI.marginal(eta, tau)
    for e, value in zip(eta, values, strict=True):
        breaks = np.unique(
            np.clip([-39.0, -e / tau - 40 / tau, -e / tau, 40 / tau - e / tau, 39.0], -39.0, 39.0)
        )
        truth = sum(
            quad(lambda z, e=e: expit(e + tau * z) * norm.pdf(z), a, b, epsabs=1e-14, limit=500)[0]
            for a, b in pairwise(breaks)
        )
        assert value == pytest.approx(truth, abs=1e-11)
    np.testing.assert_allclose(BERNOULLI.marginal(-eta, tau), 1 - values, atol=1e-12)
    np.testing.assert_array_equal(BERNOULLI.marginal(eta, 0.0), expit(eta))


def test_marginal_mean_of_rare_events() -> None:
    """Relative to the mean: as eta falls it tends to exp(eta + tau^2 / 2)."""
    for tau in (0.2, 0.9):
        assert BERNOULLI.marginal(-30.0, tau) == pytest.approx(np.exp(-30 + tau**2 / 2), rel=1e-11)


def test_marginal_mean_of_counts() -> None:
    for tau in (0.1, 1.0, 2.0):
        truth = quad(lambda z, t=tau: np.exp(0.4 + t * z) * norm.pdf(z), -30, 30, epsabs=1e-13)[0]
        assert POISSON.marginal(np.array([0.4]), tau)[0] == pytest.approx(truth, rel=1e-11)


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_kinds_of_prediction(family: str) -> None:
    trials = 4 if family == "binomial" else None
    fit = laplace.fit(Y, X, GROUPS, family=family, trials=trials, nodes=1)
    mean = np.exp if family == "poisson" else expit
    eta, modes = X @ fit.beta, fit.random_effects["mode"].to_numpy()
    offset = np.linspace(-1, 1, len(Y))

    own = mean(eta + modes[GROUPS])
    np.testing.assert_allclose(fit.predict(kind="group"), own, rtol=1e-12)
    np.testing.assert_allclose(fit.predict(X, GROUPS, kind="group"), own, rtol=1e-12)
    for rows in (None, X):
        np.testing.assert_allclose(fit.predict(rows, kind="typical"), mean(eta), rtol=1e-12)
        marginal = fit.predict(rows, kind="marginal")
        for row in (0, 7):
            truth = quad(
                lambda z, e=eta[row]: mean(e + fit.tau * z) * norm.pdf(z), -20, 20, epsabs=1e-13
            )[0]
            assert marginal.iloc[row] == pytest.approx(truth, abs=1e-11)
    shifted = fit.predict(X, offset=offset, kind="typical")
    np.testing.assert_allclose(shifted, mean(eta + offset), rtol=1e-12)
    assert fit.predict(X[:0], kind="marginal").empty


def test_kinds_agree_where_tau_is_zero() -> None:
    fit = laplace.fit(Y, X, GROUPS, tau=0)
    for kind in ("typical", "marginal", "group"):
        np.testing.assert_allclose(fit.predict(kind=kind), expit(X @ fit.beta), rtol=1e-12)


def test_kinds_after_a_formula() -> None:
    data = datasets.toenail()
    fit = laplace.fit_formula("outcome ~ treatment * month", data, groups="patient", nodes=1)
    rows = data.iloc[:3]
    typical, marginal = fit.predict(rows), fit.predict(rows, kind="marginal")
    assert np.all((marginal - 0.5).abs() < (typical - 0.5).abs())
    np.testing.assert_allclose(
        fit.predict(rows, "patient", kind="group"), fit.predict().iloc[:3], rtol=1e-12
    )
    # the mean over a group's new rows is that of many groups drawn
    u = norm.ppf((np.arange(100_000) + 0.5) / 100_000) * fit.tau
    eta = np.log(typical / (1 - typical)).to_numpy()
    drawn = [expit(e + u).mean() for e in eta]
    np.testing.assert_allclose(marginal, drawn, atol=1e-6)


def test_kinds_say_what_is_wrong() -> None:
    fit = laplace.fit(Y, X, GROUPS, nodes=1)
    for kind in ("mean", 1, True):
        with pytest.raises(
            ValueError, match="kind must be 'group', 'typical', 'marginal' or 'link', got"
        ):
            fit.predict(X, kind=kind)
    with pytest.raises(ValueError, match="groups must be given with kind='group'"):
        fit.predict(X, kind="group")
    for kind in ("typical", "marginal"):
        with pytest.raises(ValueError, match=f"groups must be left out with kind='{kind}'"):
            fit.predict(X, GROUPS, kind=kind)
    with pytest.raises(ValueError, match=r"does not know; give new_groups='typical' .*'marginal'"):
        fit.predict(X[:1], [99])
