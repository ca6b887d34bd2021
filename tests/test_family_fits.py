"""Binomial and Poisson outcomes: against R, the textbook and numerical derivatives; bad input."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from designs import REFERENCE, many_groups, numerical_derivative, relative_error
from scipy.special import gammaln

import laplace
from compendium import datasets
from laplace import derivatives, quadrature
from laplace.families import named
from laplace.grouped import GroupedData
from laplace.likelihood import Likelihood

BETA = np.array([-0.4, 0.7, -1.1])
RULES = [(1, True), (5, True), (5, False)]
FAMILIES = ["binomial", "poisson"]


@dataclass(frozen=True)
class Design:
    """Rows of one family."""

    y: np.ndarray
    X: Any
    groups: np.ndarray
    options: dict[str, Any]  # family, trials and offset, as `loglik` and `fit` take them

    def loglik(self, beta: Any, tau: float, **rule: Any) -> laplace.Contribution:
        return laplace.loglik(self.y, self.X, self.groups, beta, tau, **self.options, **rule)

    def fit(self, **options: Any) -> laplace.Fit:
        return laplace.fit(self.y, self.X, self.groups, **{**self.options, **options})

    def data(self) -> GroupedData:
        return GroupedData.from_arrays(self.y, self.X, self.groups, **self.options)


def simulated(family: str, seed: int = 0) -> Design:
    """Draw outcomes of a family in groups of 1 to 14 rows, with an offset."""
    _, X, groups = many_groups(seed)
    rng = np.random.default_rng([8, len(family), seed])
    offset = 0.3 * rng.normal(size=len(groups))
    eta = X @ [0.2, 0.4, -0.6] + offset + 0.8 * rng.normal(size=12)[groups]
    options: dict[str, Any] = {"family": family, "offset": offset}
    if family == "poisson":
        return Design(rng.poisson(np.exp(eta)).astype(float), X, groups, options)
    options["trials"] = rng.integers(1, 21, len(groups)).astype(float)
    y = rng.binomial(options["trials"].astype(int), 1.0 / (1.0 + np.exp(-eta)))
    return Design(y.astype(float), X, groups, options)


def all_parts(c: laplace.Contribution) -> np.ndarray:
    return np.concatenate([[c.value], c.gradient, c.hessian.ravel()])


# Against R --------------------------------------------------------------------------------------


@cache
def reference() -> dict[str, Any]:
    """Values computed in R by `reference/families.R`."""
    result: dict[str, Any] = json.loads((REFERENCE / "families.json").read_text())
    return result


def rows_in_r(name: str) -> Design:
    """Return the rows that R fitted."""
    if name == "cbpp":
        data = datasets.cbpp()
        X = pd.DataFrame({f"period{k}": (data["period"] == k) * 1.0 for k in "234"})
        y, groups = data["incidence"], data["herd"]
        options: dict[str, Any] = {"family": "binomial", "trials": data["size"].to_numpy()}
    else:
        data = pd.read_csv(REFERENCE / f"{name}.csv")
        X = data.filter(regex=r"^x\d$")
        y, groups = data["y"], data["group"]
        options = {"family": "poisson", "offset": np.log(data["exposure"])}
    X.insert(0, "(Intercept)", 1.0)
    assert list(X.columns) == reference()[name]["columns"]
    return Design(y.to_numpy(), X, groups.to_numpy(), options)


@pytest.mark.parametrize("nodes", [1, 9, 25])
@pytest.mark.parametrize("name", ["cbpp", "counts"])
def test_lme4(name: str, nodes: int) -> None:
    """At lme4's maximum, taken to a gradient below 1e-9 in R."""
    at = reference()[name]["fits"][str(nodes)]
    fit = rows_in_r(name).fit(nodes=nodes)
    assert fit.converged
    assert fit.llf == pytest.approx(at["loglik"], abs=1e-9)
    assert fit.llf == pytest.approx(at["loglik_direct"], abs=1e-9)
    np.testing.assert_allclose(fit.beta, at["beta"], atol=1e-7)
    assert fit.tau == pytest.approx(at["tau"], abs=1e-7)
    # R's standard errors come from differences of the deviance with a step of 0.01
    np.testing.assert_allclose(fit.bse.iloc[:-1], at["se"], rtol=1e-6)
    assert fit.bse["tau"] / fit.tau == pytest.approx(at["se_log_tau"], rel=1e-6)
    modes = fit.random_effects["mode"].rename(index=str)
    for label, mode in at["modes"].items():
        assert modes[label] == pytest.approx(mode, abs=1e-7)
    assert fit.llf >= at["glmer_default"]["loglik"] - 1e-6


@pytest.mark.parametrize("name", ["cbpp", "counts"])
def test_values_in_r(name: str) -> None:
    """At fixed parameters: lme4 with its constant put back, rules and `integrate` in R alone."""
    fixed, design = reference()[name]["fixed"], rows_in_r(name)
    at = fixed["beta"], fixed["tau"]
    for nodes in ("1", "9", "25"):
        ours = design.loglik(*at, nodes=int(nodes)).value
        assert ours == pytest.approx(fixed["lme4"][nodes], abs=1e-10, rel=0)
        assert ours == pytest.approx(fixed["direct"][nodes], abs=1e-10, rel=0)
    for nodes, value in fixed["ordinary"].items():
        ours = design.loglik(*at, nodes=int(nodes), adaptive=False).value
        assert ours == pytest.approx(value, abs=1e-10, rel=0)
    ours = design.loglik(*at, nodes=60).value
    assert ours == pytest.approx(fixed["integral"], abs=1e-10, rel=0)


@pytest.mark.parametrize("name", ["cbpp", "counts"])
def test_without_random_intercepts_as_in_r(name: str) -> None:
    glm, fit = reference()[name]["glm"], rows_in_r(name).fit(tau=0)
    assert fit.llf == pytest.approx(glm["loglik"], abs=1e-10, rel=0)
    np.testing.assert_allclose(fit.beta, glm["beta"], atol=1e-8)
    np.testing.assert_allclose(fit.bse, glm["se"], rtol=1e-6)


# Against the textbook and numerical derivatives -------------------------------------------------


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_textbook_summed_over_groups(family: str, tau: float) -> None:
    for seed in range(3):
        design = simulated(family, seed)
        parts = []
        for i in np.unique(design.groups):
            rows = design.groups == i
            trials = design.options.get("trials")
            # the textbook has no offset: a column with a coefficient of one is the same
            x = np.column_stack([design.X, design.options["offset"]])[rows]
            of_rows = named(family, None if trials is None else trials[rows])
            parts.append((x, design.y[rows], np.append(BETA, 1.0), tau, of_rows))
        total = design.loglik(BETA, tau)
        value = sum(derivatives.l(*part) for part in parts)
        l_1 = np.sum([derivatives.l_1(*part) for part in parts], axis=0)
        l_2 = np.sum([derivatives.l_2(*part) for part in parts], axis=0)
        # theta holds log tau
        l_t = sum(derivatives.l_t(*part) for part in parts)
        l_bt = np.sum([derivatives.l_bt(*part) for part in parts], axis=0)
        l_tt = sum(derivatives.l_tt(*part) for part in parts)
        hessian = np.zeros((4, 4))
        hessian[:3, :3] = l_2[:3, :3]
        hessian[:3, 3] = hessian[3, :3] = tau * l_bt[:3]
        hessian[3, 3] = tau**2 * l_tt + tau * l_t
        assert total.value == pytest.approx(value, rel=1e-13)
        assert relative_error(total.gradient, np.append(l_1[:3], tau * l_t)) <= 1e-12
        assert relative_error(total.hessian, hessian) <= 1e-12
        for nodes, rule in ((5, quadrature.adaptive), (5, quadrature.ordinary)):
            ours = design.loglik(BETA, tau, nodes=nodes, adaptive=rule is quadrature.adaptive)
            value = sum(rule(*part[:4], nodes, part[4]) for part in parts)
            assert ours.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("nodes", "adaptive"), RULES)
@pytest.mark.parametrize("tau", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_and_hessian_are_exact(
    family: str, tau: float, nodes: int, adaptive: bool
) -> None:
    evaluate = Likelihood(simulated(family, 1).data(), nodes, adaptive)
    theta = np.append(BETA, np.log(tau))
    at = evaluate(theta)
    gradient = numerical_derivative(lambda t: evaluate(t).value, theta)
    hessian = numerical_derivative(lambda t: evaluate(t).gradient, theta)
    # central differences of a value of several hundred lose a few digits
    assert relative_error(at.gradient, gradient) <= 1e-9
    assert relative_error(at.hessian, hessian) <= 1e-9
    np.testing.assert_array_equal(at.hessian, at.hessian.T)


@pytest.mark.parametrize(("nodes", "adaptive"), RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_tau_zero_is_the_limit(family: str, nodes: int, adaptive: bool) -> None:
    design = simulated(family, 2)
    zero = design.loglik(BETA, 0.0, nodes=nodes, adaptive=adaptive)
    of_rows = named(family, design.options.get("trials"))
    eta = design.X @ BETA + design.options["offset"]
    assert zero.value == pytest.approx(np.sum(of_rows.log_density(design.y, eta)), rel=1e-13)
    score = design.X.T @ (design.y - of_rows.b_1(eta))
    np.testing.assert_allclose(zero.gradient, np.append(score, 0.0), rtol=1e-11)
    near = design.loglik(BETA, 1e-6, nodes=nodes, adaptive=adaptive)
    np.testing.assert_allclose(all_parts(near), all_parts(zero), rtol=1e-7, atol=1e-7)


# A row of n trials is n rows of one -------------------------------------------------------------


def test_trials_are_rows() -> None:
    """The value differs by the binomial coefficients; the gradient and the Hessian do not."""
    design = simulated("binomial", 4)
    trials = design.options["trials"].astype(int)
    rows = np.repeat(np.arange(len(trials)), trials)
    y = np.concatenate([np.arange(n) < k for n, k in zip(trials, design.y, strict=True)])
    single = Design(
        y.astype(float),
        design.X[rows],
        design.groups[rows],
        {"offset": design.options["offset"][rows]},
    )
    log_coefficients = np.sum(
        gammaln(trials + 1) - gammaln(design.y + 1) - gammaln(trials - design.y + 1)
    )
    for nodes, adaptive in RULES:
        for tau in (0.0, 0.5, 2.0):
            together = design.loglik(BETA, tau, nodes=nodes, adaptive=adaptive)
            apart = single.loglik(BETA, tau, nodes=nodes, adaptive=adaptive)
            assert together.value == pytest.approx(apart.value + log_coefficients, rel=1e-13)
            assert relative_error(together.gradient, apart.gradient) <= 1e-12
            assert relative_error(together.hessian, apart.hessian) <= 1e-12
    fit, fit_apart = design.fit(nodes=5), single.fit(nodes=5)
    np.testing.assert_allclose(fit.theta, fit_apart.theta, rtol=1e-10)
    np.testing.assert_allclose(fit.bse, fit_apart.bse, rtol=1e-10)
    assert fit.llf == pytest.approx(fit_apart.llf + log_coefficients, rel=1e-13)


def test_single_trials_are_bernoulli() -> None:
    y, X, groups = many_groups(5)
    bernoulli = laplace.fit(y, X, groups, nodes=1)
    for trials in (1, np.array(1), np.ones(len(y)), [1] * len(y), pd.Series(1, range(len(y)))):
        one = laplace.fit(y, X, groups, family="binomial", trials=trials, nodes=1)
        np.testing.assert_allclose(one.theta, bernoulli.theta, rtol=1e-10)
        assert one.llf == pytest.approx(bernoulli.llf, rel=1e-13)


def test_one_number_of_trials_is_of_every_row() -> None:
    design = simulated("binomial", 4)
    y = np.minimum(design.y, 6.0)
    one = laplace.fit(y, design.X, design.groups, family="binomial", trials=6, nodes=1)
    each = laplace.fit(
        y,
        design.X,
        design.groups,
        family="binomial",
        trials=np.full(len(design.y), 6),
        nodes=1,
    )
    assert one.llf == each.llf
    np.testing.assert_array_equal(one.beta, each.beta)


# Invariances ------------------------------------------------------------------------------------


def permuted(design: Design, order: np.ndarray) -> Design:
    options = {
        name: value[order] if isinstance(value, np.ndarray) else value
        for name, value in design.options.items()
    }
    return Design(design.y[order], design.X[order], design.groups[order], options)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_order_of_rows_does_not_matter(family: str) -> None:
    """Trials and offsets are sorted by group together with their rows."""
    design = simulated(family, 3)
    other = permuted(design, np.random.default_rng(3).permutation(len(design.y)))
    for nodes, adaptive in RULES:
        rule = {"nodes": nodes, "adaptive": adaptive}
        np.testing.assert_allclose(
            all_parts(other.loglik(BETA, 0.7, **rule)),
            all_parts(design.loglik(BETA, 0.7, **rule)),
            rtol=1e-11,
            atol=1e-11,
        )
    np.testing.assert_allclose(other.fit().theta, design.fit().theta, rtol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_add(family: str) -> None:
    design = simulated(family, 3)
    parts = [permuted(design, np.flatnonzero(design.groups % 3 == k)) for k in range(3)]
    for nodes, adaptive in RULES:
        rule = {"nodes": nodes, "adaptive": adaptive}
        first, second, third = (part.loglik(BETA, 0.7, **rule) for part in parts)
        whole = design.loglik(BETA, 0.7, **rule)
        np.testing.assert_allclose(
            all_parts(first + second + third), all_parts(whole), rtol=1e-11, atol=1e-11
        )


def test_failures_for_successes() -> None:
    design = simulated("binomial", 3)
    base = design.fit(nodes=5)
    options = {**design.options, "offset": -design.options["offset"]}
    failures = Design(options["trials"] - design.y, design.X, design.groups, options)
    other = failures.fit(nodes=5)
    np.testing.assert_allclose(other.beta, -base.beta, rtol=1e-9)
    assert other.tau == pytest.approx(base.tau, rel=1e-9)
    assert other.llf == pytest.approx(base.llf, rel=1e-13)


@pytest.mark.parametrize("nodes", [1, 5])
def test_twice_the_exposure_is_half_the_rate(nodes: int) -> None:
    design = simulated("poisson", 3)
    base = design.fit(nodes=nodes)
    twice = design.fit(nodes=nodes, offset=design.options["offset"] + np.log(2.0))
    np.testing.assert_allclose(twice.beta - base.beta, [-np.log(2.0), 0.0, 0.0], atol=1e-10)
    assert twice.tau == pytest.approx(base.tau, rel=1e-9)
    assert twice.llf == pytest.approx(base.llf, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_offset_is_a_coefficient_of_one(family: str) -> None:
    design = simulated(family, 3)
    base = design.fit()
    offset = design.options["offset"] + base.beta[2] * design.X[:, 2]
    options = {**design.options, "offset": offset}
    other = Design(design.y, design.X[:, :2], design.groups, options).fit()
    np.testing.assert_allclose(other.beta, base.beta[:2], atol=1e-9)
    assert other.llf == pytest.approx(base.llf, rel=1e-12)


# Fits: the maximum, the boundary, predictions ---------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2, 5, 25])
@pytest.mark.parametrize("family", FAMILIES)
def test_score_is_zero_at_the_maximum(family: str, nodes: int) -> None:
    for tau in (None, 0.3, 2.0):
        fit = simulated(family, 6).fit(nodes=nodes, tau=tau)
        assert fit.converged
        assert np.max(np.abs(fit.gradient)) <= 1e-9
        assert np.max(np.linalg.eigvalsh(fit.hessian)) < 0.0


def alike(family: str) -> Design:
    """Return groups that are more alike than chance makes them: each has the same outcomes."""
    x = np.tile([-1.0, -0.4, 0.1, 0.6, 1.2], 10)
    X, groups = np.column_stack([np.ones(50), x]), np.repeat(np.arange(10), 5)
    if family == "poisson":
        return Design(np.tile([1.0, 2.0, 2.0, 4.0, 6.0], 10), X, groups, {"family": family})
    options = {"family": family, "trials": 10}
    return Design(np.tile([2.0, 3.0, 5.0, 6.0, 8.0], 10), X, groups, options)


@pytest.mark.parametrize("nodes", [1, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_boundary(family: str, nodes: int) -> None:
    design = alike(family)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = design.fit(nodes=nodes)
    assert fit.tau == 0.0
    assert fit.boundary
    assert fit.converged
    assert len(fit.gradient) == 2
    assert np.max(np.abs(fit.gradient)) <= 1e-10
    assert fit.llf == design.fit(tau=0).llf
    assert np.isnan(fit.bse["tau"])
    assert np.all(fit.random_effects == 0.0)
    for tau in (0.01, 0.1, 1.0):
        assert design.fit(nodes=nodes, tau=tau).llf < fit.llf


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions(family: str) -> None:
    """Probabilities of a success in one trial, and mean counts; offsets count."""
    design = simulated(family, 6)
    fit = design.fit()
    eta = design.X @ fit.beta
    u = fit.random_effects["mode"].to_numpy()[design.groups]
    offset = design.options["offset"]
    mean = np.exp if family == "poisson" else lambda eta: 1.0 / (1.0 + np.exp(-eta))
    np.testing.assert_allclose(fit.predict(), mean(eta + offset + u), rtol=1e-12)
    with pytest.raises(ValueError, match="offset must be given for new rows, as the fit had one"):
        fit.predict(design.X)
    at_zero = {"offset": 0}
    np.testing.assert_allclose(fit.predict(design.X, **at_zero), mean(eta), rtol=1e-12)
    np.testing.assert_allclose(
        fit.predict(design.X, design.groups, **at_zero), mean(eta + u), rtol=1e-12
    )
    np.testing.assert_allclose(
        fit.predict(design.X[:4], design.groups[:4], offset=offset[:4]),
        mean((eta + offset + u)[:4]),
        rtol=1e-12,
    )
    # at the mode of a group its rows' residuals add up to u / tau^2
    residual = design.y - fit.predict().to_numpy() * design.options.get("trials", 1.0)
    total = np.bincount(design.groups, residual)
    np.testing.assert_allclose(total, fit.random_effects["mode"] / fit.tau**2, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "title"),
    [("binomial", "binomial logistic regression"), ("poisson", "Poisson regression")],
)
def test_the_summary_names_the_model(family: str, title: str) -> None:
    assert f"{title} with random intercepts" in str(simulated(family, 6).fit().summary())
    assert f"the fit is plain {title}" in str(alike(family).fit().summary())


# Counts of any size -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.05, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("nodes", [1, 9])
def test_counts_of_any_size_are_fitted_without_a_warning(size: float, nodes: int) -> None:
    """From zero the first Newton step for a count of a million is a million long."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 6)
    X = np.column_stack([np.ones(180), rng.normal(size=180)])
    y = rng.poisson(size * np.exp(0.3 * X[:, 1] + 0.5 * rng.normal(size=30)[groups]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = laplace.fit(y, X, groups, family="poisson", nodes=nodes)
    assert fit.converged
    if size > 1.0:
        assert fit.beta[0] == pytest.approx(np.log(size), abs=0.4)
        assert fit.beta[1] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("adaptive", [True, False])
def test_nodes_far_above_every_count_have_no_weight(adaptive: bool) -> None:
    """At tau = 1000 they reach means of exp(10,000), whose weight is zero, not undefined."""
    design = simulated("poisson", 6)
    design.y[design.groups == 3] = 0.0  # its mode is far down, and omega wide
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tau in (50.0, 1000.0):
            for nodes in (5, 25, 100):
                at = design.loglik(BETA, tau, nodes=nodes, adaptive=adaptive)
                assert np.all(np.isfinite(all_parts(at)))


# Bad input --------------------------------------------------------------------------------------


def refused(design: Design, words: str, error: type[Exception] = ValueError, **change: Any) -> None:
    """Both functions refuse the rows, in the same words."""
    y = change.pop("y", design.y)
    options = {**design.options, **change}
    with pytest.raises(error, match=words):
        laplace.loglik(y, design.X, design.groups, np.zeros(3), 1.0, **options)
    with pytest.raises(error, match=words):
        laplace.fit(y, design.X, design.groups, **options)


def changed(values: np.ndarray, place: int, value: float) -> np.ndarray:
    result = values.copy()
    result[place] = value
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_that_are_none(family: str) -> None:
    design = simulated(family)
    words = "y must hold whole numbers of at least 0, got "
    refused(design, rf"{words}-1 in row 3", y=changed(design.y, 3, -1.0))
    refused(design, rf"{words}0\.5 in row 3", y=changed(design.y, 3, 0.5))
    refused(design, r"y holds nan in row 3", y=changed(design.y, 3, np.nan))


def test_wrong_successes_and_trials() -> None:
    design = simulated("binomial")
    trials, n = design.options["trials"], len(design.y)
    more = changed(design.y, 2, trials[2] + 1)
    refused(
        design, rf"y must not exceed trials, got {more[2]:g} successes in {trials[2]:g} ", y=more
    )
    refused(design, r"y must hold whole numbers", y=design.y / trials)
    refused(design, r"trials must be given with family='binomial'", trials=None)
    words = "trials must hold whole numbers of at least 0, got "
    refused(
        design,
        rf"got {design.y[5]:g} successes in 0 trials in row 5",
        trials=changed(trials, 5, 0.0),
    )
    refused(design, rf"{words}2\.5 in row 5", trials=changed(trials, 5, 2.5))
    refused(design, rf"{words}-1 in row 5", trials=changed(trials, 5, -1.0))
    refused(design, "trials is 0 in every row", trials=0)
    refused(design, r"trials must be a number, got 'many'", TypeError, trials="many")
    refused(design, r"trials must be a number, got True", TypeError, trials=True)
    refused(design, r"trials must hold numbers only", TypeError, trials=["a"] * n)
    refused(design, rf"trials has length {n - 1}, but there are {n} rows", trials=trials[1:])
    refused(design, r"trials holds nan in row 1", trials=changed(trials, 1, np.nan))
    refused(design, r"trials must have one dimension", trials=np.c_[trials, trials])


@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_trials_of_what_has_none(family: str) -> None:
    y, X, groups = many_groups(0)
    design = Design(y, X, groups, {"family": family})
    for trials in (1, np.ones(len(y))):
        refused(design, rf"trials must be left out with family='{family}'", trials=trials)


def test_counts_are_no_bernoulli_outcomes() -> None:
    design = simulated("poisson")
    refused(design, r"y must be 0 or 1, got .* or give another family", family="bernoulli")
    refused(design, r"family must be one of 'bernoulli', 'binomial', 'poisson'", family="normal")


@pytest.mark.parametrize("family", FAMILIES)
def test_outcomes_that_are_all_zero(family: str) -> None:
    design = simulated(family)
    zero = Design(np.zeros(len(design.y)), design.X, design.groups, design.options)
    assert np.isfinite(zero.loglik(BETA, 1.0).value)
    with pytest.raises(ValueError, match=r"y is 0 in every row: .* no finite maximum"):
        zero.fit()
    if family == "binomial":
        full = Design(design.options["trials"], design.X, design.groups, design.options)
        with pytest.raises(ValueError, match=r"y equals trials in every row: .* no finite maximum"):
            full.fit()


@pytest.mark.parametrize("tau", [None, 0.0, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_separation(family: str, tau: float | None) -> None:
    """A column that is not zero where all trials succeed, or where all counts are zero, only."""
    design = simulated(family)
    frame = pd.DataFrame(design.X, columns=["one", "age", "dose"]).assign(rare=0.0)
    at, y = [2, 9, 20], design.y.copy()
    frame.loc[at, "rare"] = [1.0, 2.0, 0.5]
    y[at] = design.options["trials"][at] if family == "binomial" else 0.0
    with pytest.raises(laplace.SeparationError, match=r"rare.* no finite maximum") as caught:
        laplace.fit(y, frame, design.groups, tau=tau, **design.options)
    direction = caught.value.direction
    assert list(direction[direction != 0.0].index) == ["rare"]
    assert direction["rare"] == (1.0 if family == "binomial" else -1.0)

    y[2] = design.options["trials"][2] - 1.0 if family == "binomial" else 1.0
    if tau is not None:
        assert laplace.fit(y, frame, design.groups, tau=tau, **design.options).converged
