"""Restricted fits: tau by the adjusted profile likelihood, and what is made of it.

The truth is the criterion programmed here from `laplace.loglik` alone; the integral over the
coefficients of an exact likelihood that shares nothing with the package; and glmmTMB with REML =
TRUE, whose values are recorded in tests/reference/restricted.json with their script.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from criteria import CUT, HERE, SITES, TWO_MAXIMA, counted, directly, few_sites, of_family, profiled
from designs import many_groups
from exact import Exact
from proxies import split
from scipy.integrate import quad
from scipy.stats import chi2

import laplace
from laplace import restricted
from laplace.strategy import STRATEGY

pytestmark = [
    pytest.mark.filterwarnings("error::laplace.ConvergenceWarning"),
    pytest.mark.filterwarnings("error::laplace.ApproximationWarning"),
]

REFERENCE = json.loads((HERE / "reference" / "restricted.json").read_text())


# the criterion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 9])
@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson", "few sites"])
def test_tau_maximises_the_criterion(family: str, nodes: int) -> None:
    rows = few_sites() if family == "few sites" else of_family(family)
    fit = laplace.fit(**rows, nodes=nodes, reml=True)
    value, tau = directly(rows, nodes)
    assert fit.converged
    assert fit.reml
    assert fit.tau > 0.1
    assert fit.reml_criterion == pytest.approx(value, abs=1e-9)
    # a maximum that is found by values alone has half of their digits
    assert np.log(fit.tau / tau) == pytest.approx(0.0, abs=1e-6)
    value, beta, hessian = profiled(rows, fit.tau, nodes)
    np.testing.assert_allclose(fit.beta, beta, rtol=0, atol=1e-10)
    p = len(beta)
    np.testing.assert_allclose(
        fit.cov_params().iloc[:p, :p], np.linalg.inv(-hessian), rtol=1e-9, atol=1e-12
    )
    # it is where the derivative vanishes, taken by differences here
    ahead, behind = (profiled(rows, fit.tau * np.exp(h), nodes)[0] for h in (1e-3, -1e-3))
    assert (ahead - behind) / 2e-3 == pytest.approx(0.0, abs=1e-6)
    curvature = (ahead + behind - 2 * value) / 1e-6
    # second differences of values keep about five digits
    assert fit.bse["tau"] == pytest.approx(fit.tau / np.sqrt(-curvature), rel=1e-4)


def test_the_log_likelihood_stays_what_it_is() -> None:
    rows = few_sites()
    fit = laplace.fit(**rows, nodes=9, reml=True)
    arguments = {name: value for name, value in rows.items() if name != "names"}
    at = laplace.loglik(**arguments, beta=fit.beta, tau=fit.tau, nodes=9)
    assert fit.llf == pytest.approx(at.value, abs=1e-11)
    np.testing.assert_allclose(fit.contribution.gradient, at.gradient, atol=1e-9)
    ml = laplace.fit(**rows, nodes=9)
    assert fit.llf < ml.llf
    assert fit.tau > ml.tau
    assert np.isnan(ml.reml_criterion)
    assert not ml.reml
    # what was maximised has no slope, and its profile over the coefficients is the criterion
    np.testing.assert_allclose(fit.gradient, 0.0, atol=1e-9)
    schur = fit.hessian[-1, -1] - fit.hessian[-1, :-1] @ np.linalg.solve(
        fit.hessian[:-1, :-1], fit.hessian[:-1, -1]
    )
    assert fit.bse["tau"] == pytest.approx(fit.tau / np.sqrt(-schur), rel=1e-9)
    np.testing.assert_allclose(fit.hessian[:-1, :-1], at.hessian[:-1, :-1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_against_the_integral_over_one_coefficient(family: str) -> None:
    """The exact likelihood, integrated over the coefficient by adaptive quadrature."""
    rows = of_family(family)
    rows["X"] = rows["X"][:, :1]
    fit = laplace.fit(**rows, nodes=25, reml=True)
    exact = Exact(**rows)

    def integral(tau: float) -> float:
        top, beta, _ = exact.profile(tau, fit.beta)
        width = 1.0 / np.sqrt(-exact.at(beta, tau)[1 + 1][0, 0])
        found, _ = quad(
            lambda b: np.exp(exact.value([b], tau) - top),
            beta[0] - 12 * width,
            beta[0] + 12 * width,
            points=[beta[0]],
            epsabs=0,
            epsrel=1e-9,
        )
        return top + np.log(found)

    near_integral(fit, integral, 0.002)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_against_the_integral_over_two_coefficients(seed: int) -> None:
    """The exact likelihood, summed over a grid of 41 by 41 points.

    The sum of a smooth function that vanishes at the ends converges faster than any power.
    """
    y, X, groups = many_groups(seed, groups=7)
    rows = {"y": y, "X": X[:, :2], "groups": groups}
    fit = laplace.fit(**rows, nodes=25, reml=True)
    exact = Exact(**rows)
    z = np.linspace(-8.0, 8.0, 41)

    def integral(tau: float) -> float:
        top, beta, _ = exact.profile(tau, fit.beta)
        root = np.linalg.cholesky(np.linalg.inv(-exact.at(beta, tau)[2][:2, :2]))
        values = [exact.value(beta + root @ [a, b], tau) - top for a in z for b in z]
        cell = (z[1] - z[0]) ** 2 * np.linalg.det(root)
        return float(top + np.log(np.sum(np.exp(values)) * cell))

    near_integral(fit, integral, 0.05)


def near_integral(fit: laplace.Fit, integral: Any, near: float) -> None:
    """Check the criterion against the integral, and tau to so many of its standard errors.

    The error of Laplace over beta is of the order of one over the number of groups, and it hardly
    depends on tau. The largest, 0.035 standard errors, is where tau is 0.16 and its error 1.3.
    """
    p = len(fit.beta)
    assert fit.tau > 0.0
    constant = 0.5 * p * np.log(2 * np.pi)
    assert fit.reml_criterion + constant == pytest.approx(integral(fit.tau), abs=0.05)
    step = 0.05
    low, here, high = (integral(fit.tau * np.exp(h)) for h in (-step, 0.0, step))
    slope, curvature = (high - low) / (2 * step), (high + low - 2 * here) / step**2
    shift = -slope / curvature
    assert abs(shift) < near * fit.bse["tau"] / fit.tau


def test_the_tau_of_glmmtmb() -> None:
    """Another Laplace approximation, at the joint mode of coefficients and intercepts.

    With five and 15 groups of many outcomes the two differ by less than 0.2 %, in 60 districts by
    0.3 %, and in 40 groups of 1 to 12 rows by 1.3 %: there Laplace itself is rough, and 25 nodes
    move tau by 4 %.
    """
    folder = HERE.parent / "notebooks" / "data"
    cbpp = pd.read_csv(folder / "cbpp.csv").astype({"period": "category"})
    simulated = pd.read_csv(HERE / "reference" / "simulated.csv")
    districts = pd.read_csv(folder / "contraception.csv")
    contraception = "use ~ age + I(age**2) + urban + livch"
    fits = {
        "few_sites": (("y ~ x + z", SITES, "group"), 0.001),
        "cbpp": (("incidence / size ~ period", cbpp, "herd"), 0.002),
        "contraception": ((contraception, districts, "district"), 0.003),
        "simulated": (("y ~ x1 + x2", simulated, "group"), 0.013),
    }
    for name, (arguments, near) in fits.items():
        fit = laplace.fit_formula(*arguments, nodes=1, reml=True)
        ml = laplace.fit_formula(*arguments, nodes=1)
        assert ml.tau == pytest.approx(REFERENCE[name]["ml"], rel=1e-4)
        assert fit.tau == pytest.approx(REFERENCE[name]["tau"], rel=near)
        constant = 0.5 * len(fit.beta) * np.log(2 * np.pi)
        assert fit.reml_criterion + constant == pytest.approx(
            REFERENCE[name]["criterion"], abs=0.15
        )


# invariances --------------------------------------------------------------------------------------


def same(one: laplace.Fit, other: laplace.Fit, shift: float = 0.0) -> None:
    """Two fits of the same model: tau, its error, and the criterion but for a constant."""
    assert other.tau == pytest.approx(one.tau, rel=1e-8)
    assert other.bse["tau"] == pytest.approx(one.bse["tau"], rel=1e-6)
    assert other.reml_criterion == pytest.approx(one.reml_criterion + shift, abs=1e-9)
    assert other.llf == pytest.approx(one.llf, abs=1e-9)
    np.testing.assert_allclose(
        other.conf_int().loc["tau"], one.conf_int().loc["tau"], rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("nodes", [1, 9, "auto"])
def test_rows_groups_outcomes_and_columns_may_change(nodes: int | str) -> None:
    rows = few_sites()
    fit = laplace.fit(**rows, nodes=nodes, reml=True)
    order = np.random.default_rng(1).permutation(len(rows["y"]))
    mixed = {name: rows[name][order] for name in ("y", "X", "groups")}
    permuted = laplace.fit(**mixed, nodes=nodes, reml=True)
    same(fit, permuted)
    np.testing.assert_allclose(permuted.beta, fit.beta, rtol=1e-8)
    labels = np.array(["e", "c", "d", "b", "a"])[rows["groups"] - 1]
    same(fit, laplace.fit(rows["y"], rows["X"], labels, nodes=nodes, reml=True))
    flipped = laplace.fit(1 - rows["y"], rows["X"], rows["groups"], nodes=nodes, reml=True)
    same(fit, flipped)
    np.testing.assert_allclose(flipped.beta, -fit.beta, rtol=1e-8)
    # other columns that span the same space shift the criterion by a constant
    for matrix in (np.diag([1.0, 1e5, 1e-4]), np.array([[1.0, 2, 0], [0, 1, 0], [0, -1, 3]])):
        other = laplace.fit(rows["y"], rows["X"] @ matrix, rows["groups"], nodes=nodes, reml=True)
        same(fit, other, -np.log(abs(np.linalg.det(matrix))))
        np.testing.assert_allclose(matrix @ other.beta, fit.beta, rtol=1e-7)


def test_columns_that_are_nearly_combinations() -> None:
    """Where the engine computes in other columns, the criterion is still that of X as given."""
    rows = few_sites()
    fit = laplace.fit(**rows, nodes=9, reml=True)
    matrix = np.array([[1.0, 1e6, 0], [0, 1.0, 0], [0, 0, 1.0]])
    other = laplace.fit(rows["y"], rows["X"] @ matrix, rows["groups"], nodes=9, reml=True)
    assert other._problem.basis.computed
    assert other.tau == pytest.approx(fit.tau, rel=1e-7)
    assert other.reml_criterion == pytest.approx(fit.reml_criterion, abs=1e-8)


def test_outcomes_may_be_counted() -> None:
    """0/1 rows, and the same outcomes as successes out of trials; the intervals too."""
    rng = np.random.default_rng(4)
    cells = pd.DataFrame({"group": np.repeat(np.arange(6), 3), "x": np.tile([-1.0, 0.0, 1.0], 6)})
    trials = rng.integers(5, 15, 18)
    eta = 0.5 * cells.x + rng.normal(size=6)[cells.group]
    y = rng.binomial(trials, 1 / (1 + np.exp(-eta)))
    X = np.column_stack([np.ones(18), cells.x])
    few = laplace.fit(y, X, cells.group, family="binomial", trials=trials, nodes=9, reml=True)
    long = np.repeat(np.arange(18), trials)
    ones = np.concatenate([np.arange(n) < k for n, k in zip(trials, y, strict=True)])
    many = laplace.fit(
        ones.astype(float), X[long], cells.group[long].to_numpy(), nodes=9, reml=True
    )
    assert many.tau == pytest.approx(few.tau, rel=1e-8)
    pd.testing.assert_series_equal(many.df_resid, few.df_resid)
    np.testing.assert_allclose(many.conf_int(), few.conf_int(), rtol=1e-6)
    np.testing.assert_allclose(many.pvalues, few.pvalues, rtol=1e-6)


@pytest.mark.parametrize("nodes", [1, "auto"])
@pytest.mark.parametrize("places", [2, 5])
def test_rows_may_be_at_sites(places: int, nodes: int | str) -> None:
    rows = {name: value for name, value in few_sites().items() if name != "names"}
    together = laplace.fit(**rows, nodes=nodes, reml=True)
    for seed in range(3):
        sites = [laplace.Site.from_arrays(**part) for part in split(rows, places, seed)]
        apart = laplace.fit_sites(sites, nodes=nodes, reml=True)
        assert apart.nodes == together.nodes
        same(together, apart)
        np.testing.assert_allclose(apart.beta, together.beta, rtol=0, atol=1e-9)
        np.testing.assert_allclose(apart.bse, together.bse, rtol=1e-6)
        # z is constant within every group, but not at a site
        pd.testing.assert_series_equal(apart.df_resid, together.df_resid)
        np.testing.assert_allclose(apart.conf_int(), together.conf_int(), rtol=1e-6)
        assert apart.test_tau().pvalue == pytest.approx(together.test_tau().pvalue, rel=1e-6)
        assert "Sites" in apart.summary().overview


def test_a_fit_is_a_value() -> None:
    fit = laplace.fit(**few_sites(), nodes=9, reml=True)
    again = pickle.loads(pickle.dumps(fit))
    assert again.reml_criterion == fit.reml_criterion
    pd.testing.assert_frame_equal(again.conf_int(), fit.conf_int())
    for array in (fit.beta, fit.gradient, fit.hessian, fit.contribution.hessian):
        assert not array.flags.writeable


# several maxima, and the boundary -----------------------------------------------------------------


@pytest.mark.parametrize("name", TWO_MAXIMA)
def test_of_two_maxima_the_higher_is_found(name: str) -> None:
    counts, successes, maxima = TWO_MAXIMA[name]
    rows = counted(counts, successes)
    fit = laplace.fit(**rows, nodes=9, reml=True)
    value, tau = directly(rows, 9)
    assert fit.tau == pytest.approx(maxima[0], abs=1e-4)
    assert fit.tau == pytest.approx(tau, abs=1e-4)
    assert fit.reml_criterion == pytest.approx(value, abs=1e-9)
    assert [other.tau for other in fit.other_maxima] == pytest.approx(maxima[1:], abs=1e-4)
    for other in fit.other_maxima:
        lower, _, _ = profiled(rows, other.tau, 9)
        assert other.value == pytest.approx(lower, abs=1e-9)
        assert other.value < fit.reml_criterion
        if other.tau > 0.0:  # it is a maximum
            near = [profiled(rows, other.tau * np.exp(h), 9)[0] for h in (-0.02, 0.02)]
            assert max(near) < lower
    assert "Other maxima" in fit.summary().overview


@pytest.mark.parametrize("name", TWO_MAXIMA)
def test_the_interval_holds_all_pieces(name: str) -> None:
    counts, successes, _ = TWO_MAXIMA[name]
    rows = counted(counts, successes)
    fit = laplace.fit(**rows, nodes=9, reml=True)
    # far beyond, nodes are too far apart for groups with one outcome, and the rule is jagged
    furthest = 1.3 * fit.conf_int().loc["tau", "upper"]
    taus = np.append(0.0, np.exp(np.linspace(np.log(0.01), np.log(furthest), 150)))
    level = fit.reml_criterion - CUT
    inside = np.array([profiled(rows, tau, 9)[0] >= level for tau in taus])
    interval = fit.conf_int()
    pieces = interval.attrs["pieces"]["tau"]
    held = np.array([any(low <= tau <= high for low, high in pieces) for tau in taus])
    np.testing.assert_array_equal(held, inside)
    lower, upper = interval.loc["tau"]
    assert (lower, upper) == (pieces[0][0], pieces[-1][1])


def test_values_in_two_pieces_are_said() -> None:
    """Two groups that agree and a third; the criterion falls below the cut between its maxima."""
    rows = counted((12, 370, 299), (1, 206, 170))
    fit = laplace.fit(**rows, nodes=9, reml=True)
    with pytest.warns(UserWarning, match="tau that are not rejected lie in 2 pieces"):
        interval = fit.conf_int()
    level = fit.reml_criterion - CUT
    ends = [end for piece in interval.attrs["pieces"]["tau"] for end in piece]
    assert ends[0] == 0.0
    for end in ends[1:]:
        assert profiled(rows, end, 9)[0] == pytest.approx(level, abs=1e-9)
    assert profiled(rows, np.sqrt(ends[1] * ends[2]), 9)[0] < level
    assert len(fit.conf_int(alpha=0.2).attrs["pieces"]["tau"]) == 1


@pytest.mark.parametrize("seed", range(8))
def test_the_boundary_is_decided_by_the_criterion(seed: int) -> None:
    """Little variation between 4 groups: at zero, or inside, whichever is higher."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), 15)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    eta = 0.4 * X[:, 1] + 0.3 * rng.normal(size=4)[groups]
    rows = {"X": X, "groups": groups, "y": (rng.random(60) < 1 / (1 + np.exp(-eta))).astype(float)}
    fit = laplace.fit(**rows, nodes=9, reml=True)
    value, tau = directly(rows, 9)
    assert fit.boundary == (tau == 0.0)
    assert fit.reml_criterion == pytest.approx(value, abs=1e-9)
    zero, beta, _ = profiled(rows, 0.0, 9)
    statistic = 2 * (fit.reml_criterion - zero)
    test = fit.test_tau()
    assert test.statistic == pytest.approx(statistic, abs=1e-9)
    assert test.pvalue == pytest.approx(0.5 * chi2.sf(statistic, 1) if tau else 1.0)
    if fit.boundary:
        plain = laplace.fit(**rows, tau=0)
        np.testing.assert_allclose(fit.beta, beta, atol=1e-10)
        np.testing.assert_allclose(fit.bse[:2], plain.bse, rtol=1e-9)
        assert np.isnan(fit.bse["tau"])


def test_both_kinds_of_boundary_were_tried() -> None:
    at_zero = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(4), 15)
        X = np.column_stack([np.ones(60), rng.normal(size=60)])
        eta = 0.4 * X[:, 1] + 0.3 * rng.normal(size=4)[groups]
        y = (rng.random(60) < 1 / (1 + np.exp(-eta))).astype(float)
        at_zero.append(laplace.fit(y, X, groups, nodes=9, reml=True).boundary)
    assert 0 < sum(at_zero) < 8


@pytest.mark.parametrize("nodes", [1, 9])
def test_at_the_ends_of_the_interval_of_tau(nodes: int) -> None:
    for rows in (few_sites(), of_family("poisson")):
        fit = laplace.fit(**rows, nodes=nodes, reml=True)
        for alpha in (0.05, 0.5):
            for end in fit.conf_int(alpha).loc["tau"]:
                value, _, _ = profiled(rows, end, nodes)
                fallen = fit.reml_criterion - value
                if end == 0.0:
                    assert fallen <= chi2.isf(alpha, 1) / 2
                else:
                    assert fallen == pytest.approx(chi2.isf(alpha, 1) / 2, abs=1e-9)


# approximation ------------------------------------------------------------------------------------


def rough() -> dict[str, Any]:
    """Twelve groups of 4 rows with few events, where Laplace is rough."""
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(12), 4)
    X = np.column_stack([np.ones(48), rng.normal(size=48)])
    eta = X @ [-0.5, 0.7] + 1.5 * rng.normal(size=12)[groups]
    return {"X": X, "groups": groups, "y": (rng.random(48) < 1 / (1 + np.exp(-eta))).astype(float)}


@pytest.mark.filterwarnings("ignore::laplace.ApproximationWarning")
def test_the_verdict_predicts_what_more_nodes_change() -> None:
    """A Newton step towards the maximum of the criterion by more nodes, at the estimate."""
    rows = rough()
    few, many = (laplace.fit(**rows, nodes=k, reml=True) for k in (3, 25))
    assert few.verdict.nodes == 25
    moved = np.append(many.beta - few.beta, np.log(many.tau / few.tau))
    errors = np.append(few.bse[:2], few.bse["tau"] / few.tau)
    shift = few.approximation_error(25)
    assert np.max(np.abs(moved / errors)) > 0.005
    # a step is not the way: the largest shift is known to a tenth
    np.testing.assert_allclose(shift, moved / errors, atol=0.1 * np.max(np.abs(moved / errors)))
    np.testing.assert_allclose(few.approximation_error(), shift)
    # its value is the criterion by the reference, at this estimate
    value = profiled(rows, few.tau, 25)[0]
    assert few.verdict.value == pytest.approx(value, abs=1e-3)


def test_more_nodes_until_nothing_counts() -> None:
    for rows in (rough(), few_sites(), of_family("binomial")):
        fit = laplace.fit(**rows, reml=True)
        assert fit.doubt() is None
        assert fit.verdict.largest_shift <= STRATEGY.enough
        reference = laplace.fit(**rows, nodes=99, reml=True)
        assert np.log(fit.tau / reference.tau) == pytest.approx(0.0, abs=0.02)
        assert np.max(np.abs(fit.beta - reference.beta) / reference.bse[:-1]) < 0.02


def test_a_bad_approximation_warns() -> None:
    """Rare outcomes in groups of two rows: by Laplace, tau is far off."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 2)
    eta = -1.0 + 3.0 * rng.normal(size=40)[groups]
    y = (rng.random(80) < 1 / (1 + np.exp(-eta))).astype(float)
    with pytest.warns(laplace.ApproximationWarning, match="not to be trusted"):
        laplace.fit(y, np.ones((80, 1)), groups, nodes=1, reml=True)


# many groups --------------------------------------------------------------------------------------


def test_near_the_likelihood_where_groups_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the maximum of the likelihood uphill, or over all tau: the same maximum."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 20)
    X = np.column_stack([np.ones(1200), rng.normal(size=1200)])
    eta = X @ [-0.5, 0.7] + rng.normal(size=60)[groups]
    y = (rng.random(1200) < 1 / (1 + np.exp(-eta))).astype(float)
    near = laplace.fit(y, X, groups, nodes=9, reml=True)
    monkeypatch.setattr(restricted, "MANY_GROUPS", 10**9)
    over_tau = laplace.fit(y, X, groups, nodes=9, reml=True)
    assert near.evaluations < 0.7 * over_tau.evaluations
    same(near, over_tau)
    ml = laplace.fit(y, X, groups, nodes=9)
    assert near.tau > ml.tau
    assert near.tau == pytest.approx(ml.tau, rel=0.02)
