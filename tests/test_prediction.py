"""Predictions with their precision, and Wald tests: differences, draws, SciPy, and R."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import laplace
from compendium import datasets
from laplace.families import BERNOULLI, POISSON, Binomial
from laplace.inference.wald import wald_test

HERE = Path(__file__).parent / "reference"
R = json.loads((HERE / "people.json").read_text(encoding="utf-8"))
CBPP = datasets.cbpp()
FIT = laplace.fit_formula("incidence / size ~ period + (1 | herd)", CBPP, nodes=1)
PERIODS = pd.DataFrame({"period": CBPP["period"].unique()}).sort_values("period")


@pytest.mark.parametrize("tau", [0.0, 0.05, 0.99, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("family", [BERNOULLI, POISSON])
def test_slopes_of_means_over_groups_are_integrals(family: Any, tau: float) -> None:
    if family is POISSON and tau > 3.0:
        pytest.skip("no such mean has digits")
    eta = np.array([-5.0, -0.7, 0.0, 2.5])
    in_eta, in_tau = family.marginal_slopes(eta, tau)

    def mean(function: Any) -> list[float]:
        ends = (-12.0, 12.0)
        return [integrate.quad(lambda z, e=e: stats.norm.pdf(z) * function(e, z), *ends, limit=500,
                               epsabs=1e-13, points=[0.0])[0] for e in eta]  # fmt: skip

    # normal deviates beyond 12 have no share that counts
    np.testing.assert_allclose(
        in_eta, mean(lambda e, z: float(family.b_2(np.array(e + tau * z)))), rtol=1e-8
    )
    np.testing.assert_allclose(
        in_tau,
        mean(lambda e, z: z * float(family.b_2(np.array(e + tau * z)))),
        rtol=1e-7,
        atol=1e-9,
    )
    np.testing.assert_allclose(
        Binomial(np.ones(4)).marginal_slopes(eta, tau), BERNOULLI.marginal_slopes(eta, tau)
    )


def test_the_link_undoes_the_mean() -> None:
    eta = np.linspace(-5, 5, 11)
    for family in (BERNOULLI, Binomial(np.full(11, 3.0)), POISSON):
        np.testing.assert_allclose(family.link(family.predicted(eta)), eta, rtol=1e-12, atol=1e-12)


def test_typical_groups_and_groups_of_the_fit_are_those_of_glmmtmb() -> None:
    """R's own convergence limits the agreement, to about 1e-6."""
    typical, own = (R["predict"][name] for name in ("typical", "own"))
    found = FIT.get_prediction(PERIODS)
    np.testing.assert_allclose(found.linear, typical["fit"], rtol=1e-6)
    np.testing.assert_allclose(found.se_linear, typical["se.fit"], rtol=1e-6)
    for found in (FIT.get_prediction(CBPP, "herd"), FIT.get_prediction()):
        np.testing.assert_allclose(found.linear, own["fit"], rtol=2e-6)
        np.testing.assert_allclose(found.se_linear, own["se.fit"], rtol=1e-6)


def test_residuals_are_those_of_lme4() -> None:
    """R's own convergence limits the agreement, to about 1e-6."""
    for kind, truth in R["residuals"].items():
        found = FIT.resid(kind)
        np.testing.assert_allclose(found, truth, atol=1e-6)


def test_frames_have_the_columns_of_statsmodels() -> None:
    found = FIT.get_prediction(PERIODS)
    frame = found.summary_frame(alpha=0.1)
    assert list(frame.columns) == ["mean", "mean_se", "mean_ci_lower", "mean_ci_upper"]
    assert list(frame.index) == list(PERIODS.index)
    np.testing.assert_allclose(frame["mean"], FIT.predict(PERIODS), rtol=1e-12)
    half = stats.norm.ppf(0.95) * found.se_linear
    for name, end in (("lower", found.linear - half), ("upper", found.linear + half)):
        np.testing.assert_allclose(frame[f"mean_ci_{name}"], stats.logistic.cdf(end), rtol=1e-12)
    p = frame["mean"]
    np.testing.assert_allclose(frame["mean_se"], p * (1 - p) * found.se_linear, rtol=1e-12)
    for alpha in (0.0, 1.0, "5 %"):
        with pytest.raises((ValueError, TypeError), match="alpha must be"):
            found.conf_int(alpha)


@pytest.mark.parametrize("kind", ["typical", "marginal", "link"])
def test_standard_errors_are_by_the_delta_method(kind: str) -> None:
    """Differences of the prediction in every parameter give the same standard error."""
    found = FIT.get_prediction(PERIODS, kind=kind)
    covariance = np.asarray(FIT.cov_params())
    step = 1e-5
    X = laplace.fit_formula(
        "incidence / size ~ period", CBPP, "herd", tau=1.0, nodes=1
    ).design.rows(PERIODS, None, None)[0].to_numpy()  # fmt: skip

    def linear(parameters: np.ndarray) -> np.ndarray:
        eta = X @ parameters[:-1]
        if kind != "marginal":
            return eta
        return BERNOULLI.link(BERNOULLI.marginal(eta, parameters[-1]))

    at = FIT.params.to_numpy()
    slopes = np.column_stack(
        [(linear(at + step * e) - linear(at - step * e)) / (2 * step) for e in np.eye(len(at))]
    )
    expected = np.sqrt(np.einsum("ij,jk,ik->i", slopes, covariance, slopes))
    np.testing.assert_allclose(found.se_linear, expected, rtol=1e-7)  # differences
    np.testing.assert_allclose(found.linear, linear(at), rtol=1e-10)
    if kind == "link":
        pd.testing.assert_series_equal(found.se_mean, found.se_linear, check_names=False)
        assert np.all(found.conf_int()["lower"] < found.predicted_mean)


def test_new_groups_have_the_precision_of_what_is_said_of_them() -> None:
    new = CBPP.iloc[[0, 5]].assign(herd=["elsewhere", CBPP["herd"].iloc[5]])
    own = FIT.get_prediction(CBPP.iloc[[5]], "herd").summary_frame()
    for how in ("typical", "marginal"):
        found = FIT.get_prediction(new, "herd", new_groups=how).summary_frame()
        alone = FIT.get_prediction(new, kind=how).summary_frame()
        np.testing.assert_allclose(found.iloc[0], alone.iloc[0], rtol=1e-12)
        np.testing.assert_allclose(found.iloc[1], own.iloc[0], rtol=1e-12)


def test_a_fixed_tau_and_the_boundary_have_no_uncertainty_of_tau() -> None:
    fixed = laplace.fit_formula("incidence / size ~ period", CBPP, "herd", tau=FIT.tau, nodes=1)
    of_fixed = fixed.get_prediction(PERIODS, kind="marginal").se_linear
    assert np.all(of_fixed < FIT.get_prediction(PERIODS, kind="marginal").se_linear)
    zero = laplace.fit_formula("incidence / size ~ period", CBPP, "herd", tau=0)
    kinds = [zero.get_prediction(PERIODS, kind=kind).se_linear for kind in ("typical", "marginal")]
    np.testing.assert_allclose(*kinds, rtol=1e-12)
    np.testing.assert_allclose(
        zero.get_prediction().se_linear, zero.get_prediction(CBPP).se_linear, rtol=1e-12
    )


def test_counts_and_several_places() -> None:
    r = np.random.default_rng(3)
    g = np.repeat(np.arange(20), 8)
    X = np.column_stack([np.ones(160), r.normal(size=160)])
    y = r.poisson(np.exp(X @ [0.4, 0.3] + 0.5 * r.normal(size=20)[g]))
    fit = laplace.fit(y, X, g, family="poisson")
    mean = fit.get_prediction(X[:3], kind="marginal")
    np.testing.assert_allclose(mean.linear, X[:3] @ fit.beta + fit.tau**2 / 2, rtol=1e-12)
    parts = [laplace.Site.from_arrays(y[k], X[k], g[k], family="poisson") for k in (g < 9, g >= 9)]
    apart = laplace.fit_sites(parts)
    np.testing.assert_allclose(
        apart.get_prediction(X[:3], kind="marginal").summary_frame(), mean.summary_frame(),
        rtol=1e-8)  # fmt: skip
    for call, what in (
        (apart.predict, r"predict\(\) without X"),
        (apart.get_prediction, r"get_prediction\(\) without X"),
        (lambda: apart.predict(X[:3], g[:3]), r"predict\(\) with groups"),
        (lambda: apart.get_prediction(X[:3], g[:3]), r"get_prediction\(\) with groups"),
        (lambda: apart.fittedvalues, "fittedvalues"),
    ):
        with pytest.raises(ValueError, match=f"^{what} needs the rows, which are at 2 sites"):
            call()


# Wald tests ---------------------------------------------------------------------------------------


def test_terms_have_the_wald_statistics_of_glmmtmb() -> None:
    table = FIT.wald_test_terms()
    assert list(table.index) == ["period"]
    assert table.loc["period", "df_constraint"] == 3
    assert table.loc["period", "statistic"] == pytest.approx(R["terms"]["period"], rel=1e-5)
    statistic = table.loc["period", "statistic"]
    assert table.loc["period", "pvalue"] == pytest.approx(stats.chi2.sf(statistic, 3), rel=1e-10)


def test_a_single_coefficient_has_its_z_squared() -> None:
    for k, name in enumerate(FIT.params.index[:-1]):
        test = FIT.wald_test(np.eye(4)[k])
        assert test.statistic == pytest.approx(FIT.tvalues[name] ** 2, rel=1e-12)
        assert test.pvalue == pytest.approx(FIT.pvalues[name], rel=1e-9)
        assert FIT.wald_test(f"`{name}` = 0") == test


def test_combinations_are_read_as_formulaic_reads_them() -> None:
    b, V = FIT.params.to_numpy()[:-1], np.asarray(FIT.cov_params())[:-1, :-1]
    R_ = np.array([[0, 1.0, -1.0, 0], [0, 0, 1.0, 2.0]])
    r = np.array([0.0, -0.5])
    text = "`period[T.2]` = `period[T.3]`, `period[T.3]` + 2 * `period[T.4]` = -0.5"
    found = FIT.wald_test(text)
    difference = R_ @ b - r
    expected = difference @ np.linalg.inv(R_ @ V @ R_.T) @ difference
    assert found.statistic == pytest.approx(expected, rel=1e-10)
    assert found.df == 2
    assert str(found).startswith("Wald test: chi2 = ")
    # another basis of the same hypothesis has the same statistic
    mixed = np.array([[2.0, 1.0], [-1.0, 3.0]])
    again = FIT.wald_test((mixed @ R_, mixed @ r))
    assert again.statistic == pytest.approx(expected, rel=1e-9)


def test_names_are_those_of_the_summary_and_chains_are_written_out() -> None:
    joint = FIT.wald_test("`period[T.2]` = 0, `period[T.3]` = 0")
    for same_test in (
        "period[T.2] = period[T.3] = 0",
        "period[T.2]=0,period[T.3]=0",
        ["period[T.2] = 0", "period[T.3] = 0"],
        "`period[T.2]` = period[T.3] = 0",
    ):
        assert FIT.wald_test(same_test).statistic == pytest.approx(joint.statistic, rel=1e-12)
    with pytest.raises(ValueError, match="r_matrix"):
        FIT.wald_test("period[T.2] = 1 = 5")
    data = datasets.contraception()
    fit = laplace.fit_formula("use ~ age * livch", data, "district", nodes=1)
    name = "age:livch[T.1]"
    assert fit.wald_test(f"{name} = 0").pvalue == pytest.approx(fit.pvalues[name], rel=1e-9)


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ("nope = 0", "r_matrix cannot be read: .*the coefficients are 'Intercept', 'period"),
        ([[0, 1.0, 0]], r"a column for each of the 4 coefficients, .* got shape \(1, 3\)"),
        ([[0, 1.0, 0, 0], [0, 2.0, 0, 0]], "is zero or follows from the others"),
        ([[0, 0, 0, 0]], "is zero or follows from the others"),
        ([[np.nan, 0, 0, 0]], "of finite numbers"),
        ("tau = 0", "r_matrix cannot be read"),
    ],
)
def test_what_is_no_hypothesis(constraints: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FIT.wald_test(constraints)


def test_without_a_formula_each_column_is_a_term() -> None:
    r = np.random.default_rng(5)
    g = np.repeat(np.arange(20), 10)
    X = pd.DataFrame({"one": 1.0, "x": r.normal(size=200)})
    y = r.integers(0, 2, 200)
    fit = laplace.fit(y, X, g)
    table = fit.wald_test_terms()
    assert list(table.index) == ["one", "x"]
    np.testing.assert_allclose(table["pvalue"], fit.pvalues.iloc[:2], rtol=1e-9)
    # a name makes no intercept of it
    renamed = X.rename(columns={"one": "Intercept"})
    again = laplace.fit(y, renamed, g).wald_test_terms()
    assert list(again.index) == ["Intercept", "x"]
    np.testing.assert_array_equal(again, table)
    of_formula = laplace.fit_formula("y ~ Intercept + x - 1", renamed.assign(y=y), g)
    assert list(of_formula.wald_test_terms().index) == ["Intercept", "x"]
    assert len(laplace.fit_formula("y ~ 1", renamed.assign(y=y), g).wald_test_terms()) == 0


def test_messages_name_the_argument_as_it_is_called() -> None:
    assert FIT.wald_test(r_matrix=np.eye(4)[1]).df == 1
    for function in (FIT.wald_test, wald_test):
        assert "r_matrix" in signature(function).parameters


def test_terms_do_not_depend_on_the_coding() -> None:
    """Of the last interaction, whatever the reference levels are."""
    data = datasets.contraception()
    one = laplace.fit_formula("use ~ age * livch", data, "district", nodes=1)
    two = laplace.fit_formula("use ~ age * C(livch, Treatment('1'))", data, "district", nodes=1)
    assert one.wald_test_terms()["statistic"].iloc[-1] == pytest.approx(
        two.wald_test_terms()["statistic"].iloc[-1], rel=1e-8
    )


# Restricted fits ----------------------------------------------------------------------------------


RESTRICTED = laplace.fit_formula("incidence / size ~ period + (1 | herd)", CBPP, nodes=1, reml=True)


def test_restricted_fits_are_tested_by_t_and_f() -> None:
    fit = RESTRICTED
    for k, name in enumerate(fit.params.index[:-1]):
        test = fit.wald_test(np.eye(4)[k])
        assert test.df_denom == fit.df_resid[name]
        assert test.pvalue == pytest.approx(fit.pvalues[name], rel=1e-9)
    table = fit.wald_test_terms()
    (row,) = table.to_dict("records")
    expected = stats.f.sf(row["statistic"], 3, row["df_denom"])
    assert row["pvalue"] == pytest.approx(expected, rel=1e-9)
    assert row["df_denom"] == fit.df_resid["period[T.2]"]
    b, V = fit.params.to_numpy()[1:-1], np.asarray(fit.cov_params())[1:-1, 1:-1]
    assert row["statistic"] == pytest.approx(b @ np.linalg.inv(V) @ b / 3, rel=1e-10)
    assert "by F(3, " in str(fit.wald_test(np.eye(4)[1:]))


def test_intervals_of_restricted_predictions_are_by_t() -> None:
    """The least degrees of freedom are those of the intercept, which all rows have."""
    fit = RESTRICTED
    for kind in ("typical", "marginal"):
        found = fit.get_prediction(PERIODS, kind=kind)
        assert np.all(found.df == fit.df_resid["Intercept"])
        half = stats.t.ppf(0.975, fit.df_resid["Intercept"]) * found.se_linear
        ends = stats.logistic.cdf([found.linear - half, found.linear + half])
        np.testing.assert_allclose(found.conf_int().to_numpy().T, ends, rtol=1e-9)
    assert np.all(np.isfinite(fit.get_prediction().se_linear))
    assert np.all(np.isinf(FIT.get_prediction(PERIODS).df))


def test_degrees_of_freedom_count_the_rows_that_rows_stand_for() -> None:
    r = np.random.default_rng(9)
    g = np.repeat(np.arange(6), 8)
    X = np.column_stack([np.ones(48), r.normal(size=48)])
    w = r.integers(1, 4, 48)
    e = np.repeat(np.arange(48), w)
    for family, y in (("poisson", r.poisson(2.0, 48)), ("bernoulli", r.integers(0, 2, 48))):
        fit = laplace.fit(y, X, g, family=family, weights=w, reml=True, nodes=1)
        written = laplace.fit(y[e], X[e], g[e], family=family, reml=True, nodes=1)
        np.testing.assert_array_equal(fit.df_resid, written.df_resid)
        np.testing.assert_allclose(fit.beta, written.beta, rtol=1e-7)
        assert fit.reml_criterion == pytest.approx(written.reml_criterion, abs=1e-8)


def test_a_bootstrap_needs_single_rows_at_the_maximum_of_the_likelihood() -> None:
    with pytest.raises(ValueError, match="one with reml=True is not"):
        RESTRICTED.bootstrap(10)
    with pytest.raises(ValueError, match="bootstrap is for fits without reml=True"):
        RESTRICTED.test_tau(bootstrap=10)
    weighted = laplace.fit_formula(
        "y ~ x + (1 | g)",
        {"y": [0, 1] * 20, "x": list(range(40)), "g": [k // 8 for k in range(40)]},
        weights=[1, 2] * 20,
        nodes=1,
        tau=1.0,
    )
    with pytest.raises(ValueError, match="stand for several by their weights"):
        weighted.bootstrap(10)
