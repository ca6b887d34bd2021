"""What a restricted fit refuses, and its t distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from criteria import SITES, counted, directly, few_sites, profiled
from exact import Exact
from proxies import split
from scipy.stats import norm, t

import laplace
from laplace import criterion

pytestmark = [
    pytest.mark.filterwarnings("error::laplace.ConvergenceWarning"),
    pytest.mark.filterwarnings("error::laplace.ApproximationWarning"),
]


# refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reml": "yes"}, TypeError, "reml must be True or False, got 'yes'"),
        ({"reml": 1}, TypeError, "reml must be True or False, got 1"),
        ({"reml": None}, TypeError, "reml must be True or False, got None"),
        ({"reml": True, "tau": 1}, ValueError, "which is fixed at 1; leave out one"),
        ({"reml": True, "tau": 0}, ValueError, "which is fixed at 0; leave out one"),
        ({"reml": True, "penalty": "soft"}, ValueError, "does not go with penalty='soft'"),
        (
            {"reml": True, "penalty": "ridge", "strength": 1},
            ValueError,
            "does not go with penalty='ridge'",
        ),
    ],
)
def test_bad_arguments_are_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    rows = few_sites()
    with pytest.raises(error, match=words):
        laplace.fit(**rows, **options)
    with pytest.raises(error, match=words):
        laplace.fit_formula("y ~ x + z", SITES, "group", **options)
    site = laplace.Site.from_arrays(**rows)
    with pytest.raises(error, match=words):
        laplace.fit_sites([site], **options)
    with pytest.raises(error, match=words):
        laplace.fit_many([rows], **options)


def test_many_fits_are_single_fits() -> None:
    rows = few_sites()
    fit = laplace.fit(**rows, nodes=9, reml=True)
    for other in laplace.fit_many([rows, rows], nodes=9, reml=True):
        assert isinstance(other, laplace.Fit)
        assert other.reml_criterion == fit.reml_criterion
        pd.testing.assert_frame_equal(other.conf_int(), fit.conf_int())


def test_what_is_not_defined_is_refused() -> None:
    rows = few_sites()
    fit, ml = (laplace.fit(**rows, nodes=9, reml=reml) for reml in (True, False))
    smaller = laplace.fit(rows["y"], rows["X"][:, :2], rows["groups"], nodes=9)
    for one, other in ((fit, smaller), (smaller, fit), (fit, fit)):
        with pytest.raises(ValueError, match="reml=True: its criterion depends on the columns"):
            one.compare(other)
    assert ml.compare(smaller).df == 1
    with pytest.raises(ValueError, match="method='profile' is not defined for the coefficients"):
        fit.conf_int(method="profile")
    assert np.isnan(fit.aic)
    assert np.isnan(fit.bic)
    assert fit.summary().overview["AIC, BIC"] == "not defined with reml=True"
    assert "restricted criterion" in fit.summary().overview["Log-likelihood"]
    assert "restricted criterion" not in ml.summary().overview["Log-likelihood"]


def test_separated_outcomes_are_refused_as_ever() -> None:
    rows = few_sites()
    X = np.column_stack([rows["X"], rows["y"] * 2.0])
    with pytest.raises(laplace.SeparationError):
        laplace.fit(rows["y"], X, rows["groups"], reml=True)
    with pytest.raises(ValueError, match="one group only"):
        laplace.fit(rows["y"], rows["X"][:, :2], np.zeros(200), reml=True)


def test_no_group_with_both_outcomes() -> None:
    y = np.repeat([0.0, 1, 0, 1, 1], 8)
    groups = np.repeat(np.arange(5), 8)
    with pytest.warns(laplace.ConvergenceWarning, match="no group has both outcomes"):
        fit = laplace.fit(y, np.ones((40, 1)), groups, reml=True)
    assert not fit.converged
    assert "NO: no group" in str(fit.summary())


@pytest.mark.parametrize("nodes", [1, 9, 51, 99, 200, "auto"])
def test_a_criterion_that_nears_a_limit_from_below_has_no_maximum(nodes: int | str) -> None:
    """One group of counts with an event, and one column between groups; see `exact`."""
    y, groups = np.array([0, 0, 0, 0, 0, 1.0, 0, 0, 0]), np.repeat([0, 1, 2], 3)
    rows: dict[str, Any] = {"y": y, "X": np.ones((9, 1)), "groups": groups, "family": "poisson"}
    with pytest.warns(laplace.ConvergenceWarning, match="or, of counts, an event") as said:
        fit = laplace.fit(**rows, nodes=nodes, reml=True)
    assert "still rises at a large tau" in str(said[0].message)
    assert not fit.converged
    # by an exact likelihood, the criterion rises all the way
    exact, rising = Exact(**rows), []
    for tau in (0.3, 1.0, 3.0, 5.0, 10.0, 20.0):
        value, beta, _ = exact.profile(tau, fit.beta)
        rising.append(value - 0.5 * np.log(-exact.at(beta, tau)[2][0, 0]))
    assert np.all(np.diff(rising) > 0.0)


def test_groups_that_do_not_bound_tau() -> None:
    """Two coefficients between groups, and one group with both outcomes: no maximum in tau."""
    rows = counted((8, 8, 8, 8), (0, 8, 4, 0))
    rows["X"] = np.column_stack([rows["X"], np.repeat([0.0, 0, 1, 1], 8)])
    with pytest.warns(laplace.ConvergenceWarning, match="fewer groups have both outcomes than"):
        fit = laplace.fit(**rows, nodes=25, reml=True)
    assert not fit.converged
    assert np.all(np.isnan(fit.conf_int().loc["tau"]))
    # the exact likelihood, integrated over both coefficients, still rises: log tau for each two
    # columns less one group
    far = [profiled(rows, tau, 199)[0] for tau in (3.0, 6.0, 12.0)]
    assert np.all(np.diff(far) > 0.0)
    # with as many it rises to a limit
    for nodes in (1, 25, "auto"):
        with pytest.warns(laplace.ConvergenceWarning, match="still rises at a large tau"):
            laplace.fit(**counted((8, 8, 8), (0, 8, 4)), nodes=nodes, reml=True)
    # or that limit is lower than what is inside, or at zero
    at_zero = laplace.fit(**counted((2, 2, 60), (2, 2, 57)), nodes=25, reml=True)
    assert at_zero.boundary
    inside = laplace.fit(**counted((3, 100), (3, 99)), nodes=25, reml=True)
    assert inside.tau == pytest.approx(directly(counted((3, 100), (3, 99)), 25)[1], rel=1e-5)


# t distributions ----------------------------------------------------------------------------------


def test_degrees_of_freedom() -> None:
    fit = laplace.fit(**few_sites(), nodes=9, reml=True)
    assert fit.df_resid.to_dict() == {"Intercept": 3.0, "x": 200.0 - 5 - 1, "z": 3.0}
    interval, bse = fit.conf_int(0.1), fit.bse
    for name, df in fit.df_resid.items():
        half = t.isf(0.05, df) * bse[name]
        estimate = fit.params[name]
        np.testing.assert_allclose(interval.loc[name], [estimate - half, estimate + half])
        assert fit.pvalues[name] == pytest.approx(2 * t.sf(abs(estimate / bse[name]), df))
        np.testing.assert_allclose(
            fit.odds_ratios(0.1).loc[name], np.exp([estimate, estimate - half, estimate + half])
        )
    assert np.isnan(fit.pvalues["tau"])
    table = fit.summary().estimates
    assert list(table.columns) == [
        *("estimate", "std. error", "df", "t", "P>|t|", "2.5 %", "97.5 %"),
    ]
    assert list(table.index) == ["Intercept", "x", "z", "tau"]
    assert "m - q = 3 for 'Intercept', 'z'; n - m - (p - q) = 194 for 'x'" in str(fit.summary())
    upper = fit.conf_int().loc["tau", "upper"]
    share = upper**2 / (upper**2 + np.pi**2 / 3)
    assert fit.icc()["upper"] == pytest.approx(share)


def test_without_reml_the_normal_distribution_is_used() -> None:
    fit = laplace.fit(**few_sites(), nodes=9)
    assert np.all(np.isinf(fit.df_resid))
    half = norm.isf(0.025) * fit.bse["z"]
    estimate = fit.params["z"]
    np.testing.assert_allclose(fit.conf_int().loc["z"], [estimate - half, estimate + half])
    assert fit.pvalues["z"] == pytest.approx(2 * norm.sf(abs(estimate / fit.bse["z"])))
    assert "df" not in fit.summary().estimates
    assert "t intervals" not in fit.summary().overview


def test_as_many_columns_between_as_groups() -> None:
    """No degrees of freedom are left for these columns, and nothing to estimate tau from."""
    rows = few_sites()
    indicators = (rows["groups"][:, None] == np.arange(1, 6)).astype(float)
    X = np.column_stack([indicators, rows["X"][:, 1]])
    fit = laplace.fit(rows["y"], X, rows["groups"], reml=True)
    plain = laplace.fit(rows["y"], X, rows["groups"], tau=0)
    np.testing.assert_allclose(fit.beta, plain.beta, atol=1e-9)
    assert np.all(np.isnan(fit.df_resid[:5]))
    assert np.all(np.isnan(fit.pvalues[:5]))
    assert np.all(np.isnan(fit.conf_int()[:5]))
    assert fit.df_resid["x5"] == 200 - 5 - 1
    assert np.all(np.isfinite(fit.conf_int().loc["x5"]))
    assert fit.conf_int().loc["tau"].to_list() == [0.0, np.inf]
    text = str(fit.summary())
    assert "none for 'x0', 'x1', 'x2', 'x3', 'x4': as many columns are constant" in text
    assert "n - m - (p - q) = 194 for 'x5'" in text
    assert "Test of tau" not in text
    with pytest.raises(ValueError, match="criterion says nothing of tau"):
        fit.test_tau()


def test_no_degrees_of_freedom_within_groups() -> None:
    """Two rows a group, and as many columns that vary within groups as groups."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(3), 2)
    X = rng.normal(size=(6, 3))
    fit = laplace.fit(np.array([3, 1, 4, 1, 5, 9]), X, groups, family="poisson", reml=True)
    assert np.all(np.isnan(fit.df_resid))
    assert np.all(np.isnan(fit.conf_int().iloc[:3]))
    assert "n - m - (p - q) is not above zero" in str(fit.summary())


def test_constant_within_groups_is_a_matter_of_the_rows() -> None:
    """By the columns as given, in any unit and with rounding, at all sites together."""
    rows = few_sites()
    y, X, groups = rows["y"], rows["X"], rows["groups"]
    first = np.where(groups == 1, X[:, 1], X[:, 2])  # varies within one group only
    for column, df in (
        (X[:, 2] * 1e-120, 3.0),
        (X[:, 2] * (1.0 + 1e-15 * np.arange(200)), 3.0),
        (X[:, 2] + 1e-3 * X[:, 1], 194.0),
        (first, 194.0),
    ):
        changed = np.column_stack([X[:, 0], X[:, 1], column])
        if df == 194.0:
            df, rest = 200.0 - 5 - 2, 4.0
        else:
            rest = 3.0
        fit = laplace.fit(y, changed, groups, nodes=1, reml=True)
        assert fit.df_resid.to_list() == [rest, fit.df_resid["x1"], df]
        parts = split({"y": y, "X": changed, "groups": groups}, 3, 1)
        apart = laplace.fit_sites(
            [laplace.Site.from_arrays(**part) for part in parts], nodes=1, reml=True
        )
        pd.testing.assert_series_equal(apart.df_resid, fit.df_resid)


def test_the_derivative_of_the_criterion() -> None:
    """Five points on the tangent, against differences of the criterion itself."""
    rows = few_sites()
    fit = laplace.fit(**rows, nodes=9, reml=True)
    local = fit._result.local
    curve = criterion.Criterion(local, 9)
    for tau in (0.05, 0.5, 1.0, 5.0, 50.0):
        at = curve.at(tau, None)
        assert at is not None
        assert at.value == pytest.approx(profiled(rows, tau, 9)[0], abs=1e-9)
        h = 4e-3
        values = [profiled(rows, tau * np.exp(k * h), 9)[0] for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        # differences of values near 100 have a rounding of about 1e-11
        assert curve.slope(at) == pytest.approx(slope, abs=1e-8)
