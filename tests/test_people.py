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
    with pytest.raises(ValueError, match=r"write 'successes / trials ~ \.\.\.' or 'cbind"):
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
    one = at.args[0] if family == "binomial" else 1.0
    np.testing.assert_allclose(fit.resid(), (y - at.mean()) / one, rtol=1e-9, atol=1e-12)
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


# Formulas ----------------------------------------------------------------------------------------


def wide() -> pd.DataFrame:
    """Return the same rows with further columns, as people have them."""
    r = np.random.default_rng(11)
    data = DATA.copy()
    data["yes"] = np.where(data["y"] == 1, "Yes", "No")
    data["age.c"] = r.normal(size=400)
    data["a b"] = 2.0 * data["x"]
    data["time"] = r.uniform(1.0, 9.0, 400)
    data["n"] = r.integers(1, 9, 400)
    data["s"] = r.binomial(data["n"], 0.4)
    data["school"] = np.repeat(list("ABCD"), 100)
    data["class"] = np.tile(np.repeat(np.arange(10), 10), 4)
    data["when"] = pd.date_range("2020-01-01", periods=400)
    data["z"] = r.choice([1, 2], 400)
    return data


WIDE = wide()


def squared(values: Any) -> Any:
    return values**2


@pytest.mark.parametrize(
    "left",
    ['I(yes == "Yes")', '(yes == "Yes")', "yes == 'Yes'", 'yes.isin(["Yes"])', "{1 * (yes > 'P')}"],
)
def test_the_left_side_is_an_expression(left: str) -> None:
    fit = laplace.fit_formula(f"{left} ~ x + arm", WIDE, "g")
    same(fit)
    event = "" if left.startswith("{") else left
    assert fit.summary().overview.get("Event", "") == event


def test_successes_and_trials_are_expressions_too() -> None:
    base = laplace.fit_formula("s / n ~ x", WIDE, "g")
    failures = WIDE.assign(f=WIDE["n"] - WIDE["s"])
    for left in ("s / (s + f)", "cbind(s, f)", "cbind(s, n - s)", "`s` / `n`"):
        same(laplace.fit_formula(f"{left} ~ x", failures, "g"), base)
    share = failures.assign(p=failures["s"] / failures["n"])
    for left in ("p", "I(s / n)"):
        fit = laplace.fit_formula(f"{left} ~ x", share, "g", family="binomial", weights="n")
        same(fit, base)
    for wrong, words in (
        ({"family": "binomial"}, r"write 'successes / trials ~ \.\.\.' or 'cbind.* their columns$"),
        ({}, "in the place of a proportion, give the numbers of successes and of trials, with fam"),
        (
            {"weights": "n"},
            "in the place of a proportion, give the numbers of successes and of tri",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            laplace.fit_formula("p ~ x", share, "g", **wrong)
    with pytest.raises(ValueError, match="; weights are numbers of trials where it is a proportio"):
        laplace.fit_formula("s ~ x", share, "g", family="binomial", weights="n")


def test_names_with_dots_and_other_characters() -> None:
    renamed = WIDE.rename(columns={"age.c": "age", "a b": "ab"})
    base = laplace.fit_formula("y ~ age + ab + np.exp(age)", renamed, "g")
    for text in ("age.c + `a b` + np.exp(age.c)", "`age.c` + `a b` + np.exp(`age.c`)"):
        fit = laplace.fit_formula(f"y ~ {text}", WIDE, "g")
        np.testing.assert_array_equal(fit.params, base.params)
    dotted = WIDE.rename(columns={"y": "y.1", "g": "g.1"})
    same(laplace.fit_formula("y.1 ~ x + arm + (1 | g.1)", dotted))
    same(laplace.fit_formula("y.1 ~ x + arm", dotted, groups="g.1"))


def test_functions_and_variables_of_the_caller() -> None:
    factor, shift = 3.0, WIDE["time"].to_numpy()
    fit = laplace.fit_formula("y ~ squared(x) + I(x * factor) + shift", WIDE, "g")
    by_hand = WIDE.assign(s2=WIDE["x"] ** 2, x3=WIDE["x"] * 3.0, t=WIDE["time"])
    base = laplace.fit_formula("y ~ s2 + x3 + t", by_hand, "g")
    np.testing.assert_allclose(fit.params, base.params, rtol=1e-12)
    assert factor * shift.size > 0
    # a variable with a value for each row is a column: its rows are dropped with the others
    holes = WIDE.assign(x=WIDE["x"].where(WIDE.index != 7))
    dropped = laplace.fit_formula("y ~ x + shift", holes, "g", missing="drop")
    base = laplace.fit_formula("y ~ x + time", WIDE.drop(index=7), "g")
    np.testing.assert_array_equal(dropped.params, base.params)


def test_what_a_fit_remembers_of_the_caller_survives_a_pickle() -> None:
    import pickle

    number = 2.0
    fit = laplace.fit_formula("y ~ squared(x) + np.log(time) + I(x / number)", WIDE, "g")
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(WIDE.head()), fit.predict(WIDE.head()))
    assert number == 2.0

    def local(values: Any) -> Any:
        return values + 1.0

    fit = laplace.fit_formula("y ~ local(x)", WIDE, "g")
    np.testing.assert_allclose(fit.predict(WIDE.head()), fit.predict(kind="typical").head())
    lost = pickle.loads(pickle.dumps(fit))
    with pytest.raises(ValueError, match=r"calls local\(\), which is no function"):
        lost.predict(WIDE.head())
    assert local(1.0) == 2.0


def test_offsets_are_terms_or_expressions() -> None:
    counts = WIDE.assign(k=np.random.default_rng(4).poisson(WIDE["time"]), t=np.log(WIDE["time"]))
    base = laplace.fit_formula("k ~ x", counts, "g", family="poisson", offset="t")
    for formula, offset in (
        ("k ~ x", "np.log(time)"),
        ("k ~ x", "log(time)"),
        ("k ~ x + offset(log(time))", None),
        ("k ~ offset(t) + x", None),
        ("k ~ x + offset(t / 2)", "t / 2"),
    ):
        fit = laplace.fit_formula(formula, counts, "g", family="poisson", offset=offset)
        np.testing.assert_allclose(fit.params, base.params, rtol=1e-12)
        assert list(fit.params.index) == ["Intercept", "x", "tau"]
        np.testing.assert_allclose(
            fit.predict(counts.head()), base.predict(counts.head()), rtol=1e-12
        )
    by_array = laplace.fit_formula(
        "k ~ x + offset(t / 2)", counts, "g", family="poisson", offset=counts["t"] / 2
    )
    with pytest.raises(ValueError, match="offset must be given for new rows"):
        by_array.predict(counts.head())
    np.testing.assert_allclose(
        by_array.predict(counts.head(), offset=counts["t"].head()),  # in all
        base.predict(counts.head()),
        rtol=1e-12,
    )
    unit = base.predict(counts.head(), offset=0.0)
    terms = laplace.fit_formula("k ~ x + offset(log(time))", counts, "g", family="poisson")
    for given in (0, 0.0, np.zeros(5)):
        found = terms.predict(counts.head().drop(columns="time"), offset=given)
        np.testing.assert_allclose(found, unit, rtol=1e-12)
    np.testing.assert_allclose(
        terms.predict(counts.head(), offset="log(time)"), base.predict(counts.head()), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"no column 'tim'; .* is 'time' meant"):
        laplace.fit_formula("k ~ x", counts, "g", family="poisson", offset="log(tim)")


def test_a_dot_is_all_that_has_no_other_use() -> None:
    few = WIDE[["y", "x", "arm", "g", "time", "n"]]
    fit = laplace.fit_formula("y ~ .", few, "g", weights="n", offset="time")
    assert list(fit.params.index) == ["Intercept", "x", "arm[T.b]", "arm[T.c]", "tau"]
    fit = laplace.fit_formula("I(y == 1) ~ . - arm + (1 | g)", few[["y", "x", "arm", "g"]])
    assert list(fit.params.index) == ["Intercept", "x", "tau"]
    fit = laplace.fit_formula("s / n ~ .", WIDE[["s", "n", "x", "school", "class"]],
                              groups=["class", "school"])  # fmt: skip
    assert list(fit.params.index) == ["Intercept", "x", "tau"]


def test_a_random_intercept_is_understood_as_in_lme4() -> None:
    for formula in ("y ~ x + arm + (1 | g)", "y ~ (1|g) + x + arm", "y ~ x + (1 | g) + arm"):
        same(laplace.fit_formula(formula, DATA))
        same(laplace.fit_formula(formula, DATA, groups="g"))
        same(laplace.fit_formula(formula, DATA, groups=DATA["g"]))
        same(laplace.fit_formula(formula, DATA, groups=pd.factorize(DATA["g"])[0]))
    for other in ("arm", DATA["arm"], ["g", "arm"]):
        with pytest.raises(ValueError, match="differs from the random intercept of the formula"):
            laplace.fit_formula("y ~ x + (1 | g)", DATA, groups=other)


def test_nested_labels_make_combinations() -> None:
    base = laplace.fit_formula("y ~ x", WIDE, groups="g")
    for options in (
        {"groups": ["class", "school"]},
        {"groups": ("school", "class")},
        {"groups": "class:school"},
    ):
        fit = laplace.fit_formula("y ~ x", WIDE, **options)
        np.testing.assert_allclose(fit.params, base.params, rtol=1e-10)
        assert fit.random_effects.shape[0] == 40
        np.testing.assert_allclose(
            fit.predict(WIDE.head(), options["groups"]), fit.predict().head(), rtol=1e-12
        )
    fit = laplace.fit_formula("y ~ x + (1 | class:school)", WIDE)
    np.testing.assert_allclose(fit.params, base.params, rtol=1e-10)
    assert fit.random_effects.index[0] == (0, "A")
    holes = WIDE.assign(school=WIDE["school"].where(WIDE.index != 3))
    with pytest.raises(ValueError, match="missing values in row 3 of data, in 'school'"):
        laplace.fit_formula("y ~ x + (1 | class:school)", holes)


def test_a_comparison_with_a_missing_value_is_missing() -> None:
    """In Python it is false, which would be a value of its own."""
    holes = WIDE.assign(yes=WIDE["yes"].where(WIDE.index != 2), x=WIDE["x"].where(WIDE.index != 5))
    with pytest.raises(ValueError, match=r"in row 2 of data, in 'I.yes == .Yes..'"):
        laplace.fit_formula('I(yes == "Yes") ~ arm', holes, "g")
    with pytest.raises(ValueError, match=r"in row 5 of data, in 'I.x > 0.'"):
        laplace.fit_formula("y ~ I(x > 0)", holes, "g")
    fit = laplace.fit_formula('I(yes == "Yes") ~ I(x > 0)', holes, "g", missing="drop")
    assert fit.dropped == 2
    filled = laplace.fit_formula("y ~ x.fillna(0)", holes, "g")
    base = laplace.fit_formula("y ~ x", WIDE.assign(x=holes["x"].fillna(0.0)), "g")
    np.testing.assert_allclose(filled.params, base.params, rtol=1e-12)


def test_transformations_that_do_not_remember_the_rows_are_refused_in_predictions() -> None:
    new = WIDE.head(3)
    for text in ("I(x - x.mean())", "x.rank()", "{x / x.std()}", "squared(x - np.mean(x))"):
        fit = laplace.fit_formula(f"y ~ {text}", WIDE, "g")
        fit.predict()
        with pytest.raises(ValueError, match="takes its values from all rows together"):
            fit.predict(new)
    for text in ("center(x)", "scale(x)", "poly(x, 2)", "bs(x, df=4)", "log(time)", "squared(x)"):
        fit = laplace.fit_formula(f"y ~ {text}", WIDE, "g")
        np.testing.assert_allclose(
            fit.predict(new), fit.predict(kind="typical").head(3), rtol=1e-10
        )


def test_new_levels_name_column_level_and_row() -> None:
    new = pd.DataFrame({"x": [0.0, 1.0], "arm": ["a", "z"]}, index=["p1", "p2"])
    with pytest.raises(ValueError, match=r"'arm' has the level 'z' in row 'p2', .* have 'a', 'b'"):
        FIT.predict(new)
    coded = laplace.fit_formula("y ~ C(z)", WIDE, "g")
    with pytest.raises(ValueError, match="column 'z' has the level 3 in row 0"):
        coded.predict(pd.DataFrame({"z": [3]}))


# Covariates that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (WIDE["when"], TypeError, "column 'v' of data holds dates"),
        (WIDE["when"].dt.tz_localize("UTC"), TypeError, "holds dates"),
        (WIDE["when"].dt.date, TypeError, "holds dates"),
        (WIDE["when"].dt.to_period("M"), TypeError, "holds periods"),
        (WIDE["when"] - WIDE["when"].min(), TypeError, "holds durations"),
        (pd.cut(WIDE["x"], 3).astype(object), TypeError, "holds intervals"),
        (
            [f"patient {k}" for k in range(400)],
            ValueError,
            "400 different values in 400 rows, such",
        ),
        ([[1]] * 400, TypeError, "holds values of type list"),
        (WIDE["x"] + 1j, TypeError, "complex128"),
    ],
)
def test_dates_and_names_are_no_covariates(values: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        laplace.fit_formula("y ~ x + v", WIDE.assign(v=values), "g")
    assert len(str(caught.value)) < 400


def test_numbers_of_dates_are_covariates() -> None:
    days = WIDE.assign(days=(WIDE["when"] - WIDE["when"].min()).dt.days)
    base = laplace.fit_formula("y ~ days", days, "g")
    fit = laplace.fit_formula("y ~ {(when - when.min()).dt.days}", WIDE, "g")
    np.testing.assert_allclose(fit.params, base.params, rtol=1e-12)


def test_an_attribute_of_a_column_is_written_in_braces() -> None:
    with pytest.raises(ValueError, match=r"no column 'when.dt.year'; write {when.dt.year} in"):
        laplace.fit_formula("y ~ when.dt.year", WIDE, "g")
    laplace.fit_formula("y ~ {when.dt.month}", WIDE, "g")


def test_no_message_is_longer_than_a_thousand_characters() -> None:
    r = np.random.default_rng(8)
    names = [f"a_rather_long_name_of_a_column_number_{k}_" + "x" * 60 for k in range(300)]
    data = pd.DataFrame(r.normal(size=(60, 300)), columns=names)
    data["y"], data["g"] = r.integers(0, 2, 60), np.repeat(np.arange(6), 10)
    data["text"] = ["v" * 500 + str(k) for k in range(60)]
    fit = laplace.fit_formula("y ~ 1", data, "g", nodes=1)
    long = "long" * 600
    calls = [
        lambda: laplace.fit_formula("y ~ . - text", data, "g"),
        lambda: laplace.fit_formula("y ~ nope", data, "g"),
        lambda: laplace.fit_formula("y ~ text", data, "g"),
        lambda: laplace.fit_formula("y ~ C(text)", data, "g"),
        lambda: laplace.fit_formula("text ~ 1", data, "g"),
        lambda: laplace.fit_formula("y ~ 1", data, "text"),
        lambda: laplace.fit_formula("y ~ " + " + ".join(names) + " + nope", data, "g"),
        lambda: laplace.fit_formula("y ~ (", data, "g"),
        lambda: laplace.fit_formula("~ " + " + ".join(names), data, "g"),
        lambda: laplace.fit_formula("y ~ 1", data.assign(y=data["text"].astype("category")), "g"),
        lambda: laplace.fit(data["y"], data[names], data["g"]),
        lambda: laplace.fit(data["y"], data[names[:1] * 2], data["g"]),
        lambda: laplace.fit(data["y"], data[["text"]], data["g"]),
        lambda: fit.predict(pd.DataFrame({name: [0.0] for name in names}), groups=["nowhere"]),
        lambda: laplace.fit_formula(f"y ~ {names[0]}", data, "g", nodes=1).predict(data[["y"]]),
        lambda: laplace.loglik(data["y"], data[names], data["g"], pd.Series(0.0, names[1:]), 1.0),
        lambda: fit.wald_test("nope" * 300 + " = 0"),
        lambda: laplace.fit_formula("y ~ I(text) + nope(text)", data, "g"),
        lambda: laplace.fit_formula("y ~ 1", data, "g", family=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", missing=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", nodes=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", tau=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", penalty=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", penalty="ridge", strength=long),
        lambda: laplace.fit_formula("y ~ 1", data, "g", reml=long),
        lambda: laplace.fit_formula(f"y ~ 1 + ({long} | g)", data),
        lambda: laplace.fit_formula(f"y ~ 1 + (1 | {long})", data),
        lambda: fit.resid(long),
        lambda: fit.conf_int(method=long),
        lambda: fit.conf_int(alpha=long),
        lambda: fit.predict(kind=long),
        lambda: fit.get_prediction(data, "g", new_groups=long),
        lambda: laplace.fit_many([], errors=long),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert len(str(caught.value)) <= 1000, str(caught.value)


# Rows in messages --------------------------------------------------------------------------------


LABELS = [f"p{k}" for k in range(400)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": 2}, r"y must be 0 or 1, got 2 in row 'p17'"),
        ({"x": np.inf}, "X holds inf in row 'p17', column 'x'"),
        ({"w": -1.0}, "weights must be above 0, got -1 in row 'p17'"),
        ({"o": np.inf}, "offset holds inf in row 'p17'"),
    ],
)
@pytest.mark.parametrize("dropped", [False, True])
def test_rows_are_named_by_their_labels(change: dict, words: str, dropped: bool) -> None:
    """Also after rows before them were left out for missing values."""
    data = DATA.assign(w=1.0, o=0.0).set_axis(LABELS)
    data["y"] = data["y"].astype(float)
    for name, value in change.items():
        data.loc["p17", name] = value
    if dropped:
        data.loc["p3", "x"] = np.nan
    with pytest.raises(ValueError, match=words):
        laplace.fit_formula("y ~ x", data, "g", weights="w", offset="o", missing="drop")
    kept = data.dropna()
    with pytest.raises(ValueError, match=words):
        laplace.fit(kept["y"], kept[["x"]], kept["g"], weights=kept["w"], offset=kept["o"])


def test_positions_are_named_where_there_are_no_labels_or_they_repeat() -> None:
    y = DATA["y"].to_numpy(dtype=float).copy()
    y[17] = 2.0
    X = np.ones((400, 1))
    with pytest.raises(ValueError, match="got 2 in row 17;"):
        laplace.fit(y, X, DATA["g"].to_numpy())
    repeated = pd.Series(y, index=np.arange(400) // 2)
    with pytest.raises(ValueError, match=r"got 2 in row 8 \(position 17\)"):
        laplace.fit(repeated, X, DATA["g"].to_numpy())
    shuffled = DATA.assign(y=y).sample(frac=1.0, random_state=1)
    with pytest.raises(ValueError, match="got 2 in row 17;"):
        laplace.fit_formula("y ~ x", shuffled, "g")
    holes = DATA.assign(x=DATA["x"].where(DATA.index != 9)).set_axis(np.arange(400) // 2)
    with pytest.raises(ValueError, match=r"missing values in row 4 \(position 9\) of data, in 'x'"):
        laplace.fit_formula("y ~ x", holes, "g")
    trials = pd.Series(1.5, index=LABELS)
    with pytest.raises(ValueError, match=r"trials must hold whole .* got 1.5 in row 'p0'"):
        laplace.fit(DATA["y"].to_numpy(), X, DATA["g"].to_numpy(), family="binomial", trials=trials)
    groups = DATA["g"].where(DATA.index != 5).set_axis(LABELS)
    with pytest.raises(ValueError, match="groups has no label in row 'p5'"):
        laplace.fit(DATA["y"].to_numpy(), X, groups)


# Empty cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arm", "z"), [("c", 2), ("a", 1)])
def test_empty_cells_of_an_interaction_are_named(arm: str, z: int) -> None:
    """Also where the cell is that of the reference levels, and no column is zero."""
    few = WIDE[~((WIDE["arm"] == arm) & (WIDE["z"] == z))]
    with pytest.raises(ValueError, match=f"no rows have arm {arm} and z {z}, .*empty_cells='drop'"):
        laplace.fit_formula("y ~ arm * C(z)", few, "g")
    fit = laplace.fit_formula("y ~ arm * C(z)", few, "g", empty_cells="drop")
    assert fit.summary().overview["Left out"] == (
        f"arm[T.c]:C(z)[T.2], as no rows have arm {arm} and z {z}"
    )
    # the model of the five cells that there are
    five = few.assign(cell=few["arm"].astype(str) + few["z"].astype(str))
    base = laplace.fit_formula("y ~ cell", five, "g")
    assert fit.llf == pytest.approx(base.llf, abs=1e-9)
    np.testing.assert_allclose(fit.predict(few), base.predict(five), rtol=1e-8)
    inside = WIDE[(WIDE["arm"] == arm) & (WIDE["z"] == z)].head(2)
    with pytest.raises(ValueError, match=f"no row of the fit had.*: arm {arm} and z {z}"):
        fit.predict(inside)


def test_cells_that_lie_within_others_are_left_out_together() -> None:
    nested = WIDE.assign(within=WIDE["school"] + (WIDE["class"] % 2).astype(str))
    with pytest.raises(ValueError, match=r"no rows have school A and within B0, or .* or 21 other"):
        laplace.fit_formula("y ~ school * within", nested, "g")
    fit = laplace.fit_formula("y ~ school:within", nested, "g", empty_cells="drop")
    base = laplace.fit_formula("y ~ within", nested, "g")
    assert fit.llf == pytest.approx(base.llf, abs=1e-9)
    full = laplace.fit_formula("y ~ arm * C(z)", WIDE, "g", empty_cells="drop")
    assert "Left out" not in full.summary().overview
    with pytest.raises(ValueError, match="empty_cells must be 'raise' or 'drop', got 'keep'"):
        laplace.fit_formula("y ~ x", WIDE, "g", empty_cells="keep")


# Separation --------------------------------------------------------------------------------------


def separated(cells: dict[str, int]) -> tuple[str, dict[str, int]]:
    """Return the message where arms have one outcome each, and the numbers of their rows."""
    data = WIDE.copy()
    for arm, outcome in cells.items():
        data.loc[data["arm"] == arm, "y"] = outcome
    with pytest.raises(laplace.SeparationError) as caught:
        laplace.fit_formula("y ~ arm", data, "g")
    return str(caught.value), data["arm"].value_counts().to_dict()


def test_the_direction_that_is_named_separates_the_rows_that_are_counted() -> None:
    text, rows = separated({"b": 1})
    assert f"1*arm[T.b] is never negative where y = 1 and never positive where y = 0, and not " \
        f"zero in {rows['b']} of 400 rows" in text  # fmt: skip
    text, rows = separated({"b": 1, "c": 0})  # two cells, of which one is named
    named = "b" if "1*arm[T.b] is" in text else "c"
    assert f"arm[T.{named}] is never" in text
    assert f"not zero in {rows[named]} of 400 rows" in text
    text, rows = separated({"a": 0})  # the reference level
    assert "-1*Intercept + 1*arm[T.b] + 1*arm[T.c] is never" in text
    assert f"not zero in {rows['a']} of 400 rows" in text


# Tables of other makes ---------------------------------------------------------------------------


def test_tables_of_other_libraries_are_read() -> None:
    import pyarrow as pa

    plain = DATA.assign(arm=DATA["arm"].astype(str))
    for table in (pa.table(plain), {name: plain[name].tolist() for name in plain}):
        fit = laplace.fit_formula(FORMULA, table, "g")
        same(fit)
        np.testing.assert_allclose(fit.predict(table), FIT.predict(DATA), rtol=1e-12)
    coded = pa.table(DATA)  # whose arm is a dictionary
    same(laplace.fit_formula(FORMULA, coded, "g"))
    X = pa.table({"one": np.ones(400), "x": DATA["x"].to_numpy()})
    fit = laplace.fit(DATA["y"].to_numpy(), X, DATA["g"].to_numpy())
    assert list(fit.params.index) == ["one", "x", "tau"]
    for wrong in (DATA.to_numpy(), [1, 2], "data.csv", None):
        with pytest.raises(TypeError, match="data must be a DataFrame, got"):
            laplace.fit_formula(FORMULA, wrong, "g")


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_nullable_and_arrow_columns(backend: Any) -> None:
    data = DATA.assign(arm=DATA["arm"].astype(str)).convert_dtypes(dtype_backend=backend)
    fit = laplace.fit_formula(FORMULA, data, "g")
    same(fit)
    np.testing.assert_allclose(fit.predict(data, "g"), FIT.predict(), rtol=1e-12)
    same(laplace.fit_formula(FORMULA, data.assign(y=data["y"] == 1), "g"))
    X = pd.DataFrame({"one": 1.0, "x": data["x"], "b": data["arm"] == "b", "c": data["arm"] == "c"})
    same(laplace.fit(data["y"], X, data["g"]))
    data.loc[3, "x"] = data.loc[5, "arm"] = data.loc[6, "y"] = data.loc[8, "g"] = pd.NA
    with pytest.raises(
        ValueError, match=r"in row 3 \(and in 3 more places\) of data, in 'arm', 'g'"
    ):
        laplace.fit_formula(FORMULA, data, "g")
    assert laplace.fit_formula(FORMULA, data, "g", missing="drop").dropped == 4


def test_numbers_in_columns_of_objects_are_numbers() -> None:
    import decimal

    for values in (
        DATA["x"].astype(object),
        [decimal.Decimal(repr(float(value))) for value in DATA["x"]],
    ):
        same(laplace.fit_formula(FORMULA, DATA.assign(x=values), "g"))


def test_masked_and_sparse_arrays() -> None:
    import scipy.sparse

    X = np.c_[np.ones(400), DATA["x"]]
    y, g = DATA["y"].to_numpy(), DATA["g"].to_numpy()
    base = laplace.fit(y, X, g)
    same(laplace.fit(np.ma.masked_array(y), np.ma.masked_array(X), g), base)
    holes = np.ma.masked_array(X, mask=np.arange(800).reshape(400, 2) == 15)
    with pytest.raises(ValueError, match="X is masked in row 7"):
        laplace.fit(y, holes, g)
    with pytest.raises(TypeError, match=r"X is a sparse matrix; use X.toarray\(\)"):
        laplace.fit(y, scipy.sparse.csr_matrix(X), g)


def test_a_fit_survives_copies_and_other_processes() -> None:
    import copy
    import pickle

    import joblib

    fits = [copy.copy(FIT), copy.deepcopy(FIT), pickle.loads(pickle.dumps(FIT))]
    fits += joblib.Parallel(n_jobs=2)(joblib.delayed(copy.copy)(FIT) for _ in range(1))
    for fit in fits:
        same(fit)
        pd.testing.assert_frame_equal(fit.summary().estimates, FIT.summary().estimates)
        np.testing.assert_array_equal(fit.predict(DATA, "g"), FIT.predict(DATA, "g"))
        np.testing.assert_array_equal(fit.resid("deviance"), FIT.resid("deviance"))


# What people type by habit -----------------------------------------------------------------------


def test_trials_are_not_counted_twice() -> None:
    """As ``glmer(s / n ~ x, weights = n)`` would be in R."""
    for options in ({}, {"family": "binomial"}):
        with pytest.raises(ValueError, match="same as the trials, which are counted already"):
            laplace.fit_formula("s / n ~ x", WIDE, "g", weights="n", **options)
    laplace.fit_formula("s / n ~ x", WIDE, "g", weights="z")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ factor(arm)", r"calls factor\(\), which is no function here; write C\(...\)"),
        ("y ~ as.factor(arm)", r"cannot be .*; a category is C\(...\)"),
        ("y ~ sqrt(time)", r"calls sqrt\(\), .* write np.sqrt"),
        ("y ~ I(x^2)", r"holds \^, which is no power; write \*\* for one"),
        ("y ~ a b", "; a name with spaces stands in backticks"),
        ("y ~ nothing(x)", r"calls nothing\(\), which is no function here$"),
        ("s + n ~ x", "0 or 1, got"),
        ("I(yes == 'yes') ~ x", "no row has 'yes' in .*; column 'yes' has '(Yes|No)', '(Yes|No)'"),
        ("y ~ I(arm == 'd')", "no row has 'd' in .*; column 'arm' has 'a', 'b', 'c'"),
    ],
)
def test_what_is_meant_is_said(formula: str, words: str) -> None:
    data = WIDE.assign(arm=WIDE["arm"].cat.as_unordered())
    with pytest.raises(ValueError, match=words):
        laplace.fit_formula(formula, data.sort_values("arm"), "g")


def test_text_that_is_numbers_or_dates_is_no_category() -> None:
    age = pd.Series(np.random.default_rng(2).integers(20, 60, 400)).astype(str)
    age[7] = "?"
    words = r"are numbers but for such as '\?' in row 7: .*; a category is C\(age\)"
    with pytest.raises(TypeError, match=words):
        laplace.fit_formula("y ~ age", WIDE.assign(age=age), "g")
    with pytest.raises(TypeError, match=r"numbers with decimal commas as text; .*decimal=','"):
        laplace.fit_formula("y ~ age", WIDE.assign(age=age.where(age != "?", "5") + ",5"), "g")
    with pytest.raises(TypeError, match=r"holds dates as text; read them by pandas.to_datetime"):
        laplace.fit_formula("y ~ when", WIDE.assign(when=WIDE["when"].astype(str)), "g")
    # a code of few numbers is a category, and so is a mixture of words and a number
    laplace.fit_formula("y ~ z", WIDE.assign(z=WIDE["z"].astype(str)), "g")
    mixed = np.random.default_rng(3).choice(["none", "some", "3"], 400)
    laplace.fit_formula("y ~ z", WIDE.assign(z=mixed), "g")


def test_arguments_in_another_order_say_so() -> None:
    X, y = np.c_[np.ones(400), DATA["x"]], DATA["y"].to_numpy()
    with pytest.raises(ValueError, match="the other way round; the order is y, X, groups"):
        laplace.fit(X, y, DATA["g"])
    with pytest.raises(
        ValueError, match="groups must name the column of groups, got 'binomial'; wri"
    ):
        laplace.fit_formula("y ~ x", DATA, "binomial")
    with pytest.raises(ValueError, match="groups is a column, or a list with a label for each row"):
        FIT.predict(DATA.head(2), groups="ward 3")
    numbers = laplace.fit_formula("y ~ x", DATA.assign(g=np.repeat(np.arange(40), 10)), "g")
    with pytest.raises(ValueError, match="its labels are of type int, not str"):
        numbers.predict(DATA.head(1), groups=["3"])
    with pytest.raises(ValueError, match="; 'x' has none at all"):
        laplace.fit_formula("y ~ x", DATA.assign(x=np.nan), "g", missing="drop")


def test_one_row_may_be_a_mapping_of_values() -> None:
    found = FIT.predict({"x": 0.5, "arm": "b"})
    expected = FIT.predict(pd.DataFrame({"x": [0.5], "arm": ["b"]}))
    np.testing.assert_array_equal(found, expected)


def test_fits_of_rows_that_were_dropped_are_not_compared_and_it_says_how() -> None:
    holes = DATA.assign(x=DATA["x"].where(DATA.index != 3))
    large = laplace.fit_formula("y ~ x", holes, "g", missing="drop")
    with pytest.raises(ValueError, match=r"399 and 400 rows; .* data.dropna\(subset=\[...\]\)"):
        large.compare(laplace.fit_formula("y ~ 1", holes, "g"))


def test_fitted_values_are_predictions_and_predictions_are_shown_as_a_table() -> None:
    pd.testing.assert_series_equal(FIT.fittedvalues, FIT.predict(), check_names=False)
    shown = FIT.get_prediction(DATA.head(2))
    assert repr(shown) == repr(shown.summary_frame())
    assert shown._repr_html_() == shown.summary_frame().to_html()
