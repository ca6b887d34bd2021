"""What people bring, and what they ask of a fit: written from the user's side.

The truth is SciPy's distributions, a fit of the same rows in other words, or a formula by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import laplace

FORMULA = "y ~ x + arm"


def frame(seed: int = 1) -> pd.DataFrame:
    """Draw 400 rows in 40 groups, with a category of three levels."""
    r = np.random.default_rng(seed)
    g = np.repeat(np.arange(40), 10)
    data = pd.DataFrame(
        {
            "g": [f"ward {k}" for k in g],
            "x": r.normal(size=400),
            "arm": pd.Categorical(r.choice(list("abc"), 400)),
        }
    )
    eta = 0.5 * data["x"] + (data["arm"] == "b") - 0.3 + r.normal(size=40)[g]
    data["y"] = (r.random(400) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return data


DATA = frame()
FIT = laplace.fit_formula(FORMULA, DATA, "g")


def same(fit: laplace.Fit, expected: laplace.Fit = FIT) -> None:
    np.testing.assert_allclose(fit.params, expected.params, rtol=1e-12)
    np.testing.assert_allclose(fit.bse, expected.bse, rtol=1e-9)
    assert fit.llf == pytest.approx(expected.llf, abs=1e-10)


# Outcomes and families ---------------------------------------------------------------------------


def test_binomial_is_what_others_call_the_family_of_zeros_and_ones() -> None:
    same(laplace.fit_formula(FORMULA, DATA, "g", family="binomial"))
    X = pd.DataFrame({"one": 1.0, "x": DATA["x"]})
    same(
        laplace.fit(DATA["y"], X, DATA["g"], family="binomial"),
        laplace.fit(DATA["y"], X, DATA["g"]),
    )


def test_advice_on_trials_can_be_followed_where_it_is_given() -> None:
    counts = DATA.assign(y=DATA["y"] * 3)
    with pytest.raises(ValueError, match=r"write 'y / trials ~ \.\.\.' with the column of the tri"):
        laplace.fit_formula(FORMULA, counts, "g", family="binomial")
    with pytest.raises(ValueError, match=r"trials must be given .* where y is not 0 or 1"):
        laplace.fit(counts["y"], np.ones((400, 1)), DATA["g"], family="binomial")
    laplace.fit_formula("y / trials ~ x + arm", counts.assign(trials=3), "g")


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (DATA["y"] == 1, ""),
        (DATA["y"].astype("boolean"), ""),
        (DATA["y"].astype("Int64"), ""),
        (pd.Categorical(np.where(DATA["y"] == 1, "yes", "no")), "y is yes, not no"),
        (
            pd.Categorical(
                np.where(DATA["y"] == 1, "dead", "well"), categories=["well", "dead"], ordered=True
            ),
            "y is dead, not well",
        ),
        (pd.Categorical(DATA["y"]), "y is 1, not 0"),
    ],
)
def test_outcomes_of_two_values_are_taken_where_there_is_no_doubt(outcome: Any, event: str) -> None:
    fit = laplace.fit_formula(FORMULA, DATA.assign(y=outcome), "g")
    same(fit)
    assert fit.summary().overview.get("Event", "") == event


def test_a_category_of_which_one_level_occurs_keeps_its_event() -> None:
    """The two levels are those of the category, not of the rows at hand."""
    sick = pd.Categorical(["sick"] * 400, categories=["well", "sick"])
    with pytest.raises(ValueError, match="y is 1 in every row"):
        laplace.fit_formula(FORMULA, DATA.assign(y=sick), "g")


def test_text_and_other_categories_are_refused_with_a_remedy() -> None:
    text = np.where(DATA["y"] == 1, "yes", "no")
    with pytest.raises(TypeError, match=r"column 'y' of data holds text, such as .*: say which is"):
        laplace.fit_formula(FORMULA, DATA.assign(y=text), "g")
    remedy = DATA.assign(y=text)
    remedy["y"] = remedy["y"] == "yes"
    same(laplace.fit_formula(FORMULA, remedy, "g"))
    three = pd.Categorical(np.random.default_rng(1).choice(["no", "so", "yes"], 400))
    with pytest.raises(TypeError, match=r"column 'y' of data has 3 levels, .*; an outcome has two"):
        laplace.fit_formula(FORMULA, DATA.assign(y=three), "g")


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_computed_numbers_that_are_whole_but_for_rounding_are_whole(family: str) -> None:
    r = np.random.default_rng(2)
    trials = np.full(400, 100.0)
    y = r.binomial(100, 0.07, 400).astype(float)
    y[0] = 7.0
    computed = y / 100.0 * 100.0
    computed[0] = 0.07 * 100
    assert computed[0] != 7.0
    options = {"trials": trials} if family == "binomial" else {}
    X = np.ones((400, 1))
    rows = {"X": X, "groups": DATA["g"], "family": family, **options}
    same(laplace.fit(computed, **rows), laplace.fit(y, **rows))
    for wrong in (7.0001, 1234567.4, 7.00000001):
        with pytest.raises(ValueError, match="y must hold whole numbers") as caught:
            laplace.fit(np.r_[wrong, y[1:]], **{**rows, "family": "poisson"} | {"trials": None})
        # a message never prints a number that looks right
        assert repr(wrong) in str(caught.value)


def test_a_single_column_is_a_vector() -> None:
    X = np.c_[np.ones(400), DATA["x"]]
    y = DATA["y"].to_numpy()
    same(laplace.fit(y[:, None], X, DATA["g"]), laplace.fit(y, X, DATA["g"]))
    same(laplace.fit(DATA[["y"]], X, DATA["g"].to_numpy()), laplace.fit(y, X, DATA["g"]))


# Levels ------------------------------------------------------------------------------------------


def test_levels_that_do_not_occur_are_none() -> None:
    """A subset of a DataFrame keeps the levels of the whole."""
    subset = DATA[DATA["arm"] != "c"]
    assert "c" in subset["arm"].cat.categories
    fit = laplace.fit_formula(FORMULA, subset, "g")
    plain = subset.assign(arm=subset["arm"].astype(str))
    same(fit, laplace.fit_formula(FORMULA, plain, "g"))
    assert [name for name in fit.params.index if "arm" in name] == ["arm[T.b]"]
    # also where the rows of a level are dropped for missing values
    missing = DATA.assign(x=DATA["x"].where(DATA["arm"] != "c"))
    dropped = laplace.fit_formula(FORMULA, missing, "g", missing="drop")
    same(dropped, fit)


def test_a_category_of_one_level_is_not_lost_in_silence() -> None:
    one = DATA.assign(site=pd.Categorical(["north"] * 400))
    with pytest.raises(ValueError, match="column 'site' of data has one level only, 'north'"):
        laplace.fit_formula("y ~ x + site", one, "g")
    constant = DATA.assign(site=1.0)
    with pytest.raises(ValueError, match="'site' is a linear combination of 'Intercept'"):
        laplace.fit_formula("y ~ x + site", constant, "g")


def test_new_levels_are_named_in_predictions() -> None:
    with pytest.raises(ValueError, match="arm"):
        FIT.predict(pd.DataFrame({"x": [0.0], "arm": ["z"]}))


# Predictions -------------------------------------------------------------------------------------


def test_new_groups_are_predicted_where_it_is_said_how() -> None:
    new = DATA.iloc[[0, 15, 30]].assign(g=["ward 0", "elsewhere", "ward 3"])
    with pytest.raises(ValueError, match=r"'elsewhere', .* give new_groups='typical'"):
        FIT.predict(new, "g")
    known = FIT.predict(new, DATA["g"].iloc[[0, 15, 30]])
    for how in ("typical", "marginal"):
        found = FIT.predict(new, "g", new_groups=how)
        np.testing.assert_allclose(found.iloc[[0, 2]], known.iloc[[0, 2]], rtol=1e-12)
        assert found.iloc[1] == pytest.approx(FIT.predict(new, kind=how).iloc[1], rel=1e-12)


def test_the_link_is_the_linear_predictor() -> None:
    new = DATA.iloc[:5]
    for options in ({}, {"groups": "g"}):
        link, mean = FIT.predict(new, **options, kind="link"), FIT.predict(new, **options)
        np.testing.assert_allclose(1.0 / (1.0 + np.exp(-link)), mean, rtol=1e-12)
    np.testing.assert_allclose(FIT.predict(kind="link").iloc[:5], link, rtol=1e-12)
    unknown = new.assign(g="elsewhere")
    np.testing.assert_allclose(
        FIT.predict(unknown, "g", kind="link", new_groups="typical"),
        FIT.predict(new, kind="link"),
        rtol=1e-12,
    )


def test_an_offset_of_the_fit_is_asked_for() -> None:
    r = np.random.default_rng(3)
    time = r.uniform(1.0, 100.0, 400)
    y = r.poisson(0.5 * time)
    X = np.ones((400, 1))
    fit = laplace.fit(y, X, DATA["g"], family="poisson", offset=np.log(time))
    with pytest.raises(ValueError, match="offset must be given for new rows"):
        fit.predict(X[:2])
    np.testing.assert_allclose(
        fit.predict(X[:2], offset=np.log([10.0, 20.0])),
        np.exp(fit.beta[0]) * np.array([10.0, 20.0]),
        rtol=1e-12,
    )
    np.testing.assert_allclose(fit.predict(X[:2], offset=0), np.exp(fit.beta[0]), rtol=1e-12)


# Ratios, residuals, drawn outcomes ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["wald", "profile"])
def test_odds_ratios_are_exponentials(method: str) -> None:
    table, ends = FIT.odds_ratios(method=method), FIT.conf_int(method=method)
    assert list(table.columns) == ["odds ratio", "lower", "upper"]
    assert "tau" not in table.index
    np.testing.assert_allclose(table["odds ratio"], np.exp(FIT.beta), rtol=1e-12)
    np.testing.assert_allclose(table[["lower", "upper"]], np.exp(ends.iloc[:-1]), rtol=1e-12)
    counts = laplace.fit(DATA["y"], np.ones((400, 1)), DATA["g"], family="poisson", tau=0)
    assert counts.odds_ratios().columns[0] == "rate ratio"


def test_the_intraclass_correlation_is_that_of_the_latent_scale() -> None:
    found = FIT.icc()
    tau = np.array([FIT.tau, *FIT.conf_int().loc["tau"]])
    np.testing.assert_allclose(found, tau**2 / (tau**2 + np.pi**2 / 3.0), rtol=1e-12)
    assert found["lower"] < found["icc"] < found["upper"]
    fixed = laplace.fit_formula(FORMULA, DATA, "g", tau=1)
    assert fixed.icc()["icc"] == pytest.approx(1.0 / (1.0 + np.pi**2 / 3.0), rel=1e-12)
    assert np.isnan(fixed.icc()["lower"])
    assert laplace.fit_formula(FORMULA, DATA, "g", tau=0).icc()["icc"] == 0.0
    with pytest.raises(ValueError, match="counts have no latent scale"):
        laplace.fit(DATA["y"], np.ones((400, 1)), DATA["g"], family="poisson").icc()


def designs() -> dict[str, tuple[laplace.Fit, np.ndarray, Any]]:
    """Return a fit of each family, its outcomes, and SciPy's distribution at a mean."""
    r = np.random.default_rng(5)
    X, g = np.c_[np.ones(400), DATA["x"]], DATA["g"].to_numpy()
    order = r.permutation(400)
    trials = r.integers(1, 9, 400)
    binomial = r.binomial(trials, 0.4)
    counts = r.poisson(np.exp(0.3 * DATA["x"].to_numpy() + 0.5))
    y = DATA["y"].to_numpy()
    return {
        "bernoulli": (
            laplace.fit(y[order], X[order], g[order]),
            y[order],
            lambda mean: stats.bernoulli(mean),
        ),
        "binomial": (
            laplace.fit(binomial[order], X[order], g[order], family="binomial",
                        trials=trials[order]),
            binomial[order],
            lambda mean: stats.binom(trials[order], mean),
        ),
        "poisson": (
            laplace.fit(counts[order], X[order], g[order], family="poisson"),
            counts[order],
            lambda mean: stats.poisson(mean),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_residuals_are_those_of_scipys_distributions(family: str) -> None:
    fit, y, distribution = designs()[family]
    at = distribution(fit.predict().to_numpy())
    np.testing.assert_allclose(fit.resid(), y - at.mean(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.resid("pearson"), (y - at.mean()) / at.std(), rtol=1e-9)
    if family == "bernoulli":
        best = np.zeros(len(y))
    elif family == "binomial":
        trials = at.args[0]
        best = stats.binom(trials, y / trials).logpmf(y)
    else:
        best = stats.poisson(np.maximum(y, 1e-300)).logpmf(y)
    deviance = np.sign(y - at.mean()) * np.sqrt(2.0 * np.maximum(best - at.logpmf(y), 0.0))
    # the square root doubles the digits that a small difference loses
    np.testing.assert_allclose(fit.resid("deviance"), deviance, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="kind must be one of 'response', 'pearson', 'deviance'"):
        fit.resid("working")


@pytest.mark.parametrize("family", ["bernoulli", "binomial", "poisson"])
def test_drawn_outcomes_have_the_mean_of_the_fit_over_groups(family: str) -> None:
    fit, y, distribution = designs()[family]
    first = fit.simulate(1)
    np.testing.assert_array_equal(first, fit.simulate(1))
    assert not np.array_equal(first, fit.simulate(2))
    drawn = np.array([fit.simulate(seed) for seed in range(200)])
    mean = distribution(fit.predict(kind="marginal").to_numpy()).mean()
    error = drawn.std() * np.sqrt(40.0 / 200.0 / 400.0)  # of groups that share an intercept
    assert abs(drawn.mean() - mean.mean()) < 5 * error
    assert drawn.min() >= 0.0
    again = laplace.fit(first, fit.data.X[np.argsort(fit.data.order)], fit.data.labels[
        fit.data.codes[np.argsort(fit.data.order)]], family=family,
        trials=distribution(0.5).args[0] if family == "binomial" else None)  # fmt: skip
    assert again.converged
    assert len(y) == again.nobs


def test_what_needs_the_rows_says_where_they_are() -> None:
    X = np.c_[np.ones(400), DATA["x"]]
    parts = [np.arange(400) < 200, np.arange(400) >= 200]
    sites = [
        laplace.Site.from_arrays(DATA["y"].to_numpy()[k], X[k], DATA["g"].to_numpy()[k])
        for k in parts
    ]
    fit = laplace.fit_sites(sites)
    for ask in (fit.resid, fit.simulate):
        with pytest.raises(ValueError, match="needs the rows, which are at 2 sites"):
            ask()
    assert len(fit.at(sites[0]).resid()) == 200
    assert fit.odds_ratios().shape == (2, 3)
