"""The study's methods and scenarios: each against what it claims to be."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from designs import REFERENCE
from hard_designs import named

import laplace
from compendium import published, simulate
from compendium.simulate import published_setting, small_groups, two_sites
from compendium.study import A_DOZEN, METHODS, SCENARIOS, Study, as_published, designs, methods
from laplace.simulate import Simulated

SMALL = small_groups(50, 5, 1.0, 0.2, seed=3)
DESIGNS = {
    "published": two_sites(),
    "setting": published_setting(10, 30, 2.0, seed=4),
    "small": small_groups(20, 5, 1.0, 0.2, seed=3),
}


# --- the published algorithm, compiled -----------------------------------------------------------


@pytest.mark.parametrize("name", DESIGNS)
def test_its_formulas_are_those_of_the_record(name):
    data = laplace.GroupedData.from_arrays(*DESIGNS[name])
    rng = np.random.default_rng(1)
    modes, beta = rng.normal(size=data.m), rng.normal(size=data.p) / 9
    ends = np.append(data.starts, data.n)
    sites = [published.Site(data.X[i:k], data.y[i:k], 1.0) for i, k in itertools.pairwise(ends)]
    at = list(zip(sites, modes, strict=True))
    l_1, l_2 = as_published.derivatives(data.y, data.X, ends, modes, beta)
    for ours, record in (
        (l_1, sum(site.l_1(u, beta) for site, u in at)),
        (l_2, sum(site.l_2(u, beta) for site, u in at)),
    ):
        np.testing.assert_allclose(ours, record, rtol=0, atol=1e-12 * np.abs(record).max())


@pytest.mark.parametrize("name", DESIGNS)
def test_it_ends_where_the_record_ends(name):
    record = published.fit(DESIGNS[name])
    ours = as_published.fit(laplace.GroupedData.from_arrays(*DESIGNS[name]))
    assert (ours.converged, ours.steps) == (record.converged, record.steps)
    assert record.converged
    np.testing.assert_allclose(ours.beta, record.beta, rtol=1e-9)
    np.testing.assert_allclose(ours.modes, record.modes, rtol=1e-8, atol=1e-9)


def test_it_prints_the_published_digits():
    estimate = METHODS["as-published"](DESIGNS["published"])
    digits = published.PRINTED_DECIMALS
    assert np.array_equal(estimate.value[:-1].round(digits), published.PRINTED_BETA)
    assert np.isnan(estimate.value[-1])  # tau is not estimated
    assert np.isnan(estimate.se).all()


def test_where_the_record_diverges_it_does_too():
    data = published_setting(2, 500, 1.0, seed=4)
    assert not published.fit(data).converged
    estimate = METHODS["as-published"](data)
    assert not estimate.converged
    assert "did not converge" in estimate.message


# --- the ordinary rule ---------------------------------------------------------------------------


def test_ordinary_quadrature_ends_at_a_maximum():
    estimate = METHODS["ordinary-10"](SMALL)
    beta, tau = estimate.value[:-1], estimate.value[-1]

    def at(beta, tau):
        return laplace.loglik(*SMALL, beta, tau, nodes=10, adaptive=False)

    best = at(beta, tau)
    assert estimate.converged
    # the score is zero to rounding: the value is about 100
    np.testing.assert_allclose(best.gradient, 0.0, atol=1e-9)
    for k in range(len(beta)):
        for step in (-0.05, 0.05):
            moved = beta + step * (np.arange(len(beta)) == k)
            assert at(moved, tau).value < best.value
    assert max(at(beta, 0.9 * tau).value, at(beta, 1.1 * tau).value) < best.value
    # many ordinary nodes are exact, so that they agree with many adaptive ones
    many = methods.ordinary_quadrature(SMALL, nodes=150)
    exact = laplace.fit(*SMALL, nodes=100)
    np.testing.assert_allclose(many.value, exact.params, rtol=1e-5)
    np.testing.assert_allclose(many.se, exact.bse, rtol=1e-5)


def test_ordinary_quadrature_finds_the_boundary():
    found = 0
    for seed in range(20):
        data = small_groups(20, 5, 0.0, 0.4, seed=seed)
        exact, estimate = laplace.fit(*data, nodes=25), METHODS["ordinary-10"](data)
        if exact.boundary:
            found += 1
            assert estimate.boundary
            assert estimate.value[-1] == 0.0
            np.testing.assert_allclose(estimate.value[:-1], exact.beta, rtol=1e-8)
    assert found > 5


# --- the others ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("laplace", {"nodes": 1}),
        ("quadrature-9", {"nodes": 9}),
        ("auto", {"nodes": "auto"}),
        ("soft", {"nodes": 9, "penalty": "soft"}),
        ("reml", {"reml": True}),
    ],
)
def test_maximum_likelihood_is_the_packages_fit(method, options):
    fit, estimate = laplace.fit(*SMALL, **options), METHODS[method](SMALL)
    # in lock step the last digits may differ, which is far below what is kept
    np.testing.assert_allclose(estimate.value, fit.params, rtol=1e-9)
    np.testing.assert_allclose(estimate.se, fit.bse, rtol=1e-8)
    if method == "laplace":
        np.testing.assert_allclose(estimate.error, fit.approximation_error(), rtol=1e-6)
    assert (estimate.nodes, estimate.iterations) == (fit.nodes, fit.iterations)
    assert estimate.converged
    assert not estimate.boundary


@pytest.mark.parametrize(
    ("method", "options", "kind"),
    [("profile", {}, "profile"), ("reml", {"reml": True}, "wald")],
)
def test_intervals_are_those_of_the_package(method, options, kind):
    ends = laplace.fit(*SMALL, **options).conf_int(method=kind)
    estimate = METHODS[method](SMALL)
    np.testing.assert_allclose(estimate.lower, ends["lower"], rtol=1e-9)
    np.testing.assert_allclose(estimate.upper, ends["upper"], rtol=1e-9)


def test_the_bootstrap_is_that_of_the_package():
    ends = laplace.fit(*SMALL).bootstrap(methods.BOOTSTRAPPED).conf_int()
    estimate = METHODS["bootstrap"](SMALL)
    # another call may end with other last digits
    np.testing.assert_allclose(estimate.lower, ends["lower"], rtol=1e-9)
    np.testing.assert_allclose(estimate.upper, ends["upper"], rtol=1e-9)
    assert np.isnan(METHODS["laplace"](SMALL).lower).all()


def test_the_reference_is_the_highest_maximum_of_the_likelihood():
    # two maxima of the likelihood itself, stored with their exact values
    stored = json.loads((REFERENCE / "hard_designs.json").read_text(encoding="utf-8"))
    tried = 0
    for name, exact in stored.items():
        rows = named(name)
        plain = set(rows) == {"y", "X", "groups"} and exact["bounded"]
        peaks = exact["peaks"]
        # of designs as the study draws them: its reference stops at a tau of 1000
        if not plain or not name.startswith(("rare", "ten_sites", "two_sites", "small")):
            continue
        best = max(value for _, value in peaks)
        p = rows["X"].shape[1]
        data = Simulated(
            rows["y"], rows["X"], rows["groups"], np.zeros(p), np.zeros(1), np.zeros(1), 1.0
        )
        found = methods.reference(data)
        if not found.converged or max(tau for tau, _ in peaks) > 10.0:
            continue
        value = laplace.loglik(
            rows["y"], rows["X"], rows["groups"], found.value[:-1], found.value[-1], nodes=199
        ).value
        tried += 1
        assert value > best - 1e-4, name
    assert tried > 50


def test_the_reference_ends_at_the_boundary_where_the_likelihood_does():
    found = 0
    for seed in range(20):
        data = small_groups(20, 5, 0.0, 0.4, seed=seed)
        exact, estimate = laplace.fit(*data, nodes=25), methods.reference(data)
        assert exact.boundary == estimate.boundary
        found += exact.boundary
        np.testing.assert_allclose(estimate.value, exact.params, rtol=1e-6, atol=1e-9)
    assert found > 5


def test_ignoring_sites_is_logistic_regression():
    estimate = METHODS["ignoring-sites"](SMALL)
    pi = 1.0 / (1.0 + np.exp(-SMALL.X @ estimate.value[:-1]))
    np.testing.assert_allclose(SMALL.X.T @ (SMALL.y - pi), 0.0, atol=1e-9)
    information = SMALL.X.T @ ((pi * (1 - pi))[:, None] * SMALL.X)
    np.testing.assert_allclose(
        estimate.se[:-1], np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-9
    )
    assert np.isnan([estimate.value[-1], estimate.se[-1]]).all()


@pytest.mark.parametrize("with_intercept", [True, False])
def test_site_dummies_are_an_effect_a_site(with_intercept):
    data = published_setting(10, 500, 1.0, seed=2)
    X = data.X if with_intercept else data.X[:, 1:]
    given = Simulated(data.y, X, data.groups, data.beta, data.intercepts, data.noise)
    estimate = METHODS["site-dummies"](given)
    # every site an effect of its own; the intercept is their average
    dummies = (data.groups[:, None] == np.arange(10)).astype(float)
    full = laplace.fit(data.y, np.column_stack([data.X[:, 1:], dummies]), data.groups, tau=0)
    slopes = estimate.value[1:-1] if with_intercept else estimate.value[:-1]
    np.testing.assert_allclose(slopes, full.beta[:9], rtol=1e-7)
    if with_intercept:
        mean = np.append(np.zeros(9), np.full(10, 0.1))
        assert estimate.value[0] == pytest.approx(full.beta[9:].mean(), rel=1e-7)
        variance = mean @ full.cov_params().to_numpy() @ mean
        assert estimate.se[0] == pytest.approx(np.sqrt(variance), rel=1e-7)


def test_site_dummies_leave_out_what_is_constant_within_sites():
    data = simulate.few_sites(5, 100, 1.0, seed=4)
    estimate = METHODS["site-dummies"](data)
    assert data.names == ("intercept", "within", "between")
    assert np.isnan(estimate.value).tolist() == [False, False, True, True]
    dummies = (data.groups[:, None] == np.arange(5)).astype(float)
    full = laplace.fit(data.y, np.column_stack([data.X[:, 1], dummies]), data.groups, tau=0)
    assert estimate.value[1] == pytest.approx(full.beta[0], rel=1e-7)
    assert estimate.se[1] == pytest.approx(full.bse.iloc[0], rel=1e-7)


def test_a_site_with_one_outcome_is_refused_before_anything_is_fitted():
    data = small_groups(500, 2, 1.0, 0.2, seed=1)
    with pytest.raises(ValueError, match="a site with one outcome only separates y"):
        METHODS["site-dummies"](data)


# --- scenarios -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_draws_what_its_name_says(name):
    data = Study([name]).data(name, 7)
    sizes = np.bincount(data.groups)
    parameters = SCENARIOS[name].parameters
    if name.startswith("sites-"):
        assert name.startswith(f"sites-{len(sizes)}x{sizes[0]}-tau{data.tau:g}")
        assert ("noise" in name) == (data.noise > 0).any()
        assert data.beta.tolist() == list(simulate.SETTING_BETA)
    elif name.startswith("groups-"):
        percent = 100 * parameters["prevalence"]
        assert name == f"groups-{len(sizes)}x{sizes[0]}-tau{data.tau:g}-prev{percent:g}"
    elif name.startswith(("few-", "unequal-")):
        kind = "few" if len(set(sizes)) == 1 else "unequal"
        assert name == f"{kind}-{len(sizes)}x{sizes.mean():.0f}-tau{data.tau:g}"
        assert ("between" in data.names) == (len(sizes) >= simulate.LEAST_FOR_BETWEEN)
        if kind == "unequal":  # sizes are rounded
            assert sizes.max() / sizes.min() == pytest.approx(parameters["ratio"], rel=0.1)
            return
    else:
        assert (len(sizes), data.tau) == (2, 1.0 if name.endswith("intercepts") else 0.0)
        assert data.beta.round(8).tolist() == list(published.PRINTED_TRUTH)
    assert set(sizes) == {sizes[0]}


def test_the_table_of_designs_says_what_is_drawn():
    table = designs()
    assert list(table.index) == list(SCENARIOS)
    for name in SCENARIOS:
        data = Study([name]).data(name, 0)
        sizes = np.bincount(data.groups)
        assert table.loc[name, "groups"] == len(sizes)
        assert table.loc[name, "rows"] == round(sizes.mean())
        assert table.loc[name, "tau"] == data.tau
    assert len(A_DOZEN) == 12
    assert set(table.loc[list(A_DOZEN), "kind"]) == {
        *("groups", "few sites", "sites", "two sites"),
    }
