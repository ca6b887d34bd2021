"""Fitting from a formula: the same fit as from arrays, and refusals in words."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from designs import REFERENCE, many_groups

import laplace
from compendium import datasets

Y, X, GROUPS = many_groups(8, groups=30)
DATA = pd.DataFrame(
    {
        "y": Y,
        "age": X[:, 1],
        "dose": X[:, 2],
        "ward": pd.Series(GROUPS).map("ward {}".format),
        "arm": np.where(np.arange(len(Y)) % 3 == 0, "a", "b"),
        "shift": 0.3 * X[:, 1],
    }
)


def test_the_same_fit_as_from_arrays() -> None:
    fit = laplace.fit_formula("y ~ age + dose", DATA, groups="ward", nodes=1)
    base = laplace.fit(Y, X, GROUPS, nodes=1)
    assert list(fit.params.index) == ["Intercept", "age", "dose", "tau"]
    np.testing.assert_allclose(fit.params, base.params, rtol=1e-10)
    assert fit.llf == pytest.approx(base.llf, rel=1e-13)


def test_categories_interactions_and_polynomials() -> None:
    fit = laplace.fit_formula("y ~ arm * age + poly(dose, 2)", DATA, groups="ward", nodes=5)
    treated = (DATA["arm"] == "b").to_numpy(dtype=float)
    columns = [np.ones(len(Y)), treated, X[:, 1], treated * X[:, 1], X[:, 2], X[:, 2] ** 2]
    base = laplace.fit(Y, np.column_stack(columns), GROUPS, nodes=5)
    assert fit.llf == pytest.approx(base.llf, rel=1e-10)
    np.testing.assert_allclose(fit.beta[1], base.beta[1], rtol=1e-6)
    assert "arm[T.b]:age" in fit.params.index


def test_no_intercept() -> None:
    fit = laplace.fit_formula("y ~ age - 1", DATA, groups="ward", tau=1, nodes=1)
    assert list(fit.params.index) == ["age"]


def test_successes_of_trials_on_the_left() -> None:
    herds = datasets.cbpp()
    fit = laplace.fit_formula("incidence / size ~ period", herds, groups="herd", nodes=1)
    design = np.column_stack([np.ones(len(herds)), *(herds["period"] == k for k in "234")])
    base = laplace.fit(
        herds["incidence"],
        design,
        herds["herd"],
        family="binomial",
        trials=herds["size"],
        nodes=1,
    )
    assert fit.llf == pytest.approx(base.llf, rel=1e-12)
    np.testing.assert_allclose(fit.beta, base.beta, rtol=1e-9)


def test_offset_and_groups_by_column_or_by_value() -> None:
    by_name = laplace.fit_formula("y ~ dose", DATA, groups="ward", offset="shift", nodes=1)
    by_value = laplace.fit_formula("y ~ dose", DATA, groups=GROUPS, offset=DATA["shift"], nodes=1)
    assert by_name.llf == pytest.approx(by_value.llf, rel=1e-13)
    base = laplace.fit(Y, X[:, [0, 2]], GROUPS, offset=0.3 * X[:, 1], nodes=1)
    assert by_name.llf == pytest.approx(base.llf, rel=1e-13)


def test_poisson_by_name() -> None:
    counts = pd.read_csv(REFERENCE / "counts.csv")
    fit = laplace.fit_formula("y ~ x1 + x2", counts, groups="group", family="poisson", nodes=1)
    base = laplace.fit(
        counts["y"],
        np.column_stack([np.ones(len(counts)), counts[["x1", "x2"]]]),
        counts["group"],
        family="poisson",
        nodes=1,
    )
    assert fit.llf == pytest.approx(base.llf, rel=1e-12)


def test_predictions_take_the_columns_of_the_formula() -> None:
    fit = laplace.fit_formula("y ~ arm * age", DATA, groups="ward", offset="shift", nodes=1)
    np.testing.assert_allclose(fit.predict(DATA, "ward"), fit.predict(), rtol=1e-12)
    few = DATA.iloc[:3]
    by_hand = 1 / (1 + np.exp(-(fit.data.X[0] @ fit.beta + fit.data.offset[0])))
    first = fit.data.order[0]
    assert fit.predict(DATA).iloc[first] == pytest.approx(by_hand, rel=1e-12)
    assert list(fit.predict(few).index) == [0, 1, 2]
    with pytest.raises(ValueError, match="data has no column 'age'"):
        fit.predict(few.drop(columns="age"))
    with pytest.raises(
        ValueError,
        match=r"column 'arm' has the level 'c' in row 0 \(and in 2 more places\), which the rows",
    ):
        fit.predict(few.assign(arm="c"))
    with pytest.raises(ValueError, match=r"X has missing values in row 0 .*, in 'age'"):
        fit.predict(few.assign(age=np.nan))


def test_missing_values_are_refused_with_the_rows() -> None:
    holes = DATA.copy()
    holes.loc[[4, 9], "dose"] = np.nan
    holes.loc[7, "ward"] = None
    holes["unused"] = np.nan
    with pytest.raises(
        ValueError,
        match=r"values in row 4 \(and in 2 more places\) of data, in 'dose', 'ward'",
    ):
        laplace.fit_formula("y ~ age + dose", holes, groups="ward", nodes=1)
    fit = laplace.fit_formula("y ~ age + dose", holes, groups="ward", missing="drop", nodes=1)
    kept = np.setdiff1d(np.arange(len(Y)), [4, 7, 9])
    base = laplace.fit(Y[kept], X[kept], GROUPS[kept], nodes=1)
    assert fit.llf == pytest.approx(base.llf, rel=1e-12)
    assert fit.dropped == 3
    assert f"{len(kept)}, and 3 dropped for missing values" in str(fit.summary())
    values = DATA["shift"].where(DATA.index != 2)
    with pytest.raises(ValueError, match="missing values in row 2"):
        laplace.fit_formula("y ~ age", DATA, groups="ward", offset=values, nodes=1)


@pytest.mark.parametrize(
    ("formula", "options", "error", "words"),
    [
        ("y", {}, ValueError, r"formula must read 'outcome ~ covariates', got 'y'"),
        (" ~ age", {}, ValueError, "formula must read"),
        ("y ~ age ~ dose", {}, ValueError, "formula must read"),
        (3, {}, TypeError, "formula must be a string, got int"),
        ("y ~ weight", {}, ValueError, r"data has no column 'weight'; it has 'y', 'age'"),
        ("z ~ age", {}, ValueError, "data has no column 'z'"),
        ("y / n ~ age", {}, ValueError, "data has no column 'n'"),
        (
            "y ~ age +* dose",
            {},
            ValueError,
            r"'age \+\* dose' cannot be used: Operator .* is incorrectly used$",
        ),
        ("y ~ age + np.abs(age).max()", {}, ValueError, "cannot be used: .*syntax"),
        ("y ~ age + (1 | arm)", {}, ValueError, r"groups differs from .* \(1 \| arm\); leave one"),
        ("y / n / m ~ age", {}, ValueError, "formula must have 'outcome' or 'successes / trials'"),
        ("y ~ age", {"groups": None}, ValueError, r"or the formula must have .* as \(1 \| w"),
        ("y ~ age", {"groups": DATA[["ward"]]}, ValueError, "groups must have one dimension"),
        ("y ~ age", {"offset": 1.0}, ValueError, "offset must have one dimension"),
        (
            "y ~ age",
            {"data": pd.concat([DATA, DATA["age"]], axis=1)},
            ValueError,
            "data has several columns named 'age'",
        ),
        ("y ~ age", {"groups": "clinic"}, ValueError, "data has no column 'clinic'"),
        ("y ~ age", {"groups": GROUPS[1:]}, ValueError, "groups has length"),
        ("y ~ age", {"missing": "skip"}, ValueError, "missing must be 'raise' or 'drop'"),
        ("y ~ age", {"family": "gamma"}, ValueError, "family must be one of"),
        ("y ~ age", {"tau": -1}, ValueError, "tau must be"),
        ("y ~ age", {"nodes": 0}, ValueError, "nodes must be between"),
        ("y ~ age", {"data": X}, TypeError, "data must be a DataFrame, got ndarray"),
    ],
)
def test_bad_arguments(formula: object, options: dict, error: type[Exception], words: str) -> None:
    arguments = {"data": DATA, "groups": "ward", **options}
    with pytest.raises(error, match=words):
        laplace.fit_formula(formula, **arguments)


def test_labels_of_rows_that_repeat_and_labels_that_differ() -> None:
    repeated = DATA.set_axis(np.zeros(len(Y), dtype=int))
    base = laplace.fit_formula("y ~ age", DATA, groups="ward", nodes=1)
    fit = laplace.fit_formula("y ~ age", repeated, groups=repeated["ward"], nodes=1)
    assert fit.llf == pytest.approx(base.llf, rel=1e-13)
    moved = DATA["ward"].set_axis(range(1, len(Y) + 1))
    with pytest.raises(ValueError, match="the index of groups differs from that of data"):
        laplace.fit_formula("y ~ age", DATA, groups=moved, nodes=1)


def test_a_covariate_may_have_the_name_of_an_argument() -> None:
    holes = DATA.rename(columns={"age": "groups"})
    holes.loc[3, "groups"] = np.nan
    with pytest.raises(ValueError, match=r"values in row 3 of data, in 'groups'"):
        laplace.fit_formula("y ~ groups", holes, groups=GROUPS, nodes=1)


@pytest.mark.parametrize("text", ["str", "string", "string[pyarrow]", "large_string[pyarrow]"])
def test_text_of_any_type_is_categories(text: str) -> None:
    base = laplace.fit_formula("y ~ arm", DATA, groups="ward", nodes=1)
    data = DATA.astype({"arm": text, "ward": text})
    fit = laplace.fit_formula("y ~ arm", data, groups="ward", nodes=1)
    pd.testing.assert_series_equal(fit.params, base.params)
    np.testing.assert_array_equal(fit.predict(data, "ward"), base.predict(DATA, "ward"))
    data.loc[3, "arm"] = None
    with pytest.raises(ValueError, match="missing values in row 3"):
        laplace.fit_formula("y ~ arm", data, groups="ward", nodes=1)


def test_the_order_of_categories_is_kept() -> None:
    levels = sorted(set(DATA["arm"]), reverse=True)
    data = DATA.assign(arm=pd.Categorical(DATA["arm"], categories=levels))
    fit = laplace.fit_formula("y ~ arm", data, groups="ward", nodes=1)
    assert fit.params.index[1] == f"arm[T.{levels[1]}]"


def test_names_in_backticks() -> None:
    data = DATA.rename(columns={"y": "got / well", "age": "age at entry"}).assign(**{"of all": 1})
    base = laplace.fit_formula("y ~ age", DATA, groups="ward", nodes=1)
    fit = laplace.fit_formula("`got / well` ~ `age at entry`", data, groups="ward", nodes=1)
    assert fit.llf == base.llf
    fit = laplace.fit_formula(
        "`got / well` / `of all` ~ `age at entry`", data, groups="ward", nodes=1
    )
    assert fit.data.family.name == "binomial"
    assert fit.llf == pytest.approx(base.llf, rel=1e-13)


def test_several_columns_make_a_group() -> None:
    base = laplace.fit_formula("y ~ age", DATA, groups="ward", nodes=1)
    pairs = DATA.assign(site=1)[["site", "ward"]]
    for groups in (list(pairs.itertuples(index=False, name=None)), pd.MultiIndex.from_frame(pairs)):
        fit = laplace.fit_formula("y ~ age", DATA, groups=groups, nodes=1)
        assert fit.llf == pytest.approx(base.llf, rel=1e-13)


# What is computed across rows ---------------------------------------------------------------------


def across_rows() -> pd.DataFrame:
    """Return rows of two places, one of which has another height."""
    rng = np.random.default_rng(5)
    ward = np.repeat(np.arange(14), 6)
    x, n = rng.normal(size=84), 84
    chance = 1.0 / (1.0 + np.exp(0.5 - x - rng.normal(size=14)[ward]))
    return pd.DataFrame(
        {
            "y": (rng.random(n) < chance) * 1.0,
            "x": x,
            "z": rng.gamma(2.0, 1.0, n),
            "ward": ward,
            "times": rng.integers(1, 4, n),
            "s": rng.binomial(5, 0.4, n),
            "n": rng.integers(5, 9, n),
            "height": np.where(ward < 7, 1.5, 3.0),
            "town": np.where(ward < 7, "p", "q"),
        }
    )


ACROSS = across_rows()
OF_ALL_ROWS = "takes its values from all rows together"


def row_by_row(fit: Any, rows: pd.DataFrame) -> Any:
    return [fit.predict(rows.iloc[[k]]).iloc[0] for k in range(len(rows))]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("center(z)", lambda z, of: z - of.mean()),
        ("scale(z)", lambda z, of: (z - of.mean()) / of.std()),
        ("2 * center(z) + np.log(z)", lambda z, of: 2.0 * (z - of.mean()) + np.log(z)),
        ("center(center(z))", lambda z, of: z - of.mean()),
    ],
)
@pytest.mark.parametrize("as_term", [True, False])
def test_an_offset_remembers_the_rows_of_the_fit(text: str, value: Any, as_term: bool) -> None:
    formula = f"y ~ x + offset({text}) + (1 | ward)" if as_term else "y ~ x + (1 | ward)"
    fit = laplace.fit_formula(formula, ACROSS, offset=None if as_term else text, nodes=3)
    new = ACROSS.iloc[[3, 50, 8]].assign(z=[0.2, 7.0, 1.0])
    eta = fit.params["Intercept"] + fit.params["x"] * new["x"] + value(new["z"], ACROSS["z"])
    by_hand = 1.0 / (1.0 + np.exp(-eta))
    np.testing.assert_allclose(fit.predict(new, kind="typical"), by_hand, rtol=1e-10)
    np.testing.assert_allclose(row_by_row(fit, new), fit.predict(new), rtol=1e-12)
    copied = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(row_by_row(copied, new), row_by_row(fit, new))


@pytest.mark.parametrize("text", ["z - z.mean()", "log(z / z.sum())", "center(z) / z.max()"])
@pytest.mark.parametrize("as_term", [True, False])
def test_an_offset_that_does_not_remember_is_asked_for(text: str, as_term: bool) -> None:
    formula = f"y ~ x + offset({text}) + (1 | ward)" if as_term else "y ~ x + (1 | ward)"
    fit = laplace.fit_formula(formula, ACROSS, offset=None if as_term else text, nodes=3)
    assert np.all(np.isfinite(fit.predict()))
    with pytest.raises(ValueError, match="of the offset " + OF_ALL_ROWS + ".* as offset$"):
        fit.predict(ACROSS.head(1))
    with pytest.raises(ValueError, match="of the offset " + OF_ALL_ROWS):
        fit.predict(ACROSS.head(1), offset=text)
    with pytest.raises(ValueError, match="'scale.x.' of the offset " + OF_ALL_ROWS):
        fit.predict(ACROSS.head(1), offset="scale(x)")
    by_value = fit.predict(ACROSS.head(3), offset=np.log(ACROSS["z"].head(3)))
    np.testing.assert_array_equal(fit.predict(ACROSS.head(3), offset="log(z)"), by_value)


def test_what_is_remembered_of_rows_that_are_not_is_refused() -> None:
    for text in ("center(x - x.mean())", "poly(x / x.max(), 2)", "bs(x.rank(), df=4)"):
        fit = laplace.fit_formula(f"y ~ {text} + (1 | ward)", ACROSS, nodes=3)
        with pytest.raises(ValueError, match="of the formula " + OF_ALL_ROWS):
            fit.predict(ACROSS.head(1))
    for text in ("I(2 * center(x))", "poly(x, 2)", "bs(np.exp(x), df=4)", "scale(x.abs())"):
        fit = laplace.fit_formula(f"y ~ {text} + (1 | ward)", ACROSS, nodes=3)
        known = fit.predict(kind="typical").head(5)
        np.testing.assert_allclose(row_by_row(fit, ACROSS.head(5)), known, rtol=1e-10)


def two_places(formula: str, **options: Any) -> Any:
    parts = [ACROSS[ACROSS["town"] == town] for town in ("p", "q")]
    sites = [laplace.Site.from_formula(formula, part, "ward", **options) for part in parts]
    return laplace.fit_sites(sites, nodes=3)


@pytest.mark.parametrize(
    ("formula", "options", "named"),
    [
        ("y ~ x + offset(center(z))", {}, "center(z)"),
        ("y ~ x", {"offset": "z - z.mean()"}, "z - z.mean()"),
        ("I(z > z.median()) ~ x", {}, "I(z > z.median())"),
        ("y ~ x", {"weights": "times / times.mean()"}, "times / times.mean()"),
        ("s / (n + n.max()) ~ x", {}, "(n + n.max())"),
        ("s.clip(upper=s.quantile(0.9)) / n ~ x", {}, "s.clip(upper=s.quantile(0.9))"),
        ("y ~ I(2 * center(x))", {}, "I(2 * center(x))"),
        # a property of a place is constant there
        ("y ~ x + offset(height - height.mean())", {}, "height - height.mean()"),
        ("y ~ x + offset(height / height.max())", {}, "height / height.max()"),
        ("y ~ x + offset((town == town.mode()[0]) * 1.0)", {}, "(town == town.mode()[0]) * 1.0"),
    ],
)
def test_places_refuse_what_takes_constants_of_their_rows(
    formula: str, options: Any, named: str
) -> None:
    words = re.escape(repr(named)) + " would take constants from the rows of each site"
    with pytest.raises(ValueError, match=words):
        two_places(formula, **options)


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("I(z > 2) ~ x.abs() + C(town)", {"offset": "np.log(z)"}),
        ("y ~ x + offset(z.clip(upper=2))", {"weights": "times.astype(float)"}),
        ("s.clip(upper=4) / n.abs() ~ x", {}),
        ("y ~ x + offset(town.map({'p': 0.0, 'q': 1.0}) + town.str.len())", {}),
    ],
)
def test_places_agree_with_all_rows_on_what_works_row_by_row(formula: str, options: Any) -> None:
    rows = ACROSS.assign(town=pd.Categorical(ACROSS["town"])) if "C(town)" in formula else ACROSS
    sites = [
        laplace.Site.from_formula(formula, part, "ward", **options)
        for part in (rows[rows["ward"] < 7], rows[rows["ward"] >= 7])
    ]
    together = laplace.fit_formula(formula, rows, "ward", nodes=3, **options)
    np.testing.assert_allclose(laplace.fit_sites(sites, nodes=3).params, together.params, rtol=1e-8)


def test_outcomes_and_weights_across_rows_are_not_needed_for_new_rows() -> None:
    for formula, options in (
        ("I(z > z.median()) ~ x", {}),
        ("y ~ x", {"weights": "times / times.mean()"}),
        ("s / (n + n.max()) ~ x", {}),
    ):
        fit = laplace.fit_formula(formula, ACROSS, "ward", nodes=3, **options)
        eta = fit.params["Intercept"] + fit.params["x"] * ACROSS["x"].head(3)
        expected = 1.0 / (1.0 + np.exp(-eta))
        new = ACROSS[["x"]].head(3)
        np.testing.assert_allclose(fit.predict(new, kind="typical"), expected, rtol=1e-10)
        site = laplace.Site.from_formula(formula, ACROSS, "ward", **options)
        alone = laplace.fit_sites([site], nodes=3)
        np.testing.assert_allclose(alone.predict(new, kind="typical"), expected, rtol=1e-5)


@pytest.mark.parametrize("term", ["cr(x, df=3)", "cs(x, df=4)", "cc(x, df=4)"])
@pytest.mark.parametrize("rest", ["", " + C(town)", " + C(town) - 1"])
def test_a_spline_that_holds_the_constant_is_refused_with_one_that_does_not(
    term: str, rest: str
) -> None:
    with pytest.raises(ValueError, match="add up to one in every row") as caught:
        laplace.fit_formula(f"y ~ {term}{rest}", ACROSS, "ward", nodes=3)
    advised = re.search(r"write (c.\(.*'center'\)), a", str(caught.value))
    assert advised is not None
    fit = laplace.fit_formula(f"y ~ {advised.group(1)}{rest}", ACROSS, "ward", nodes=3)
    if not rest:  # the same curves, whose degrees of freedom are counted with the constant
        more = term.replace("4", "5").replace("3", "4")
        whole = laplace.fit_formula(f"y ~ {more} - 1", ACROSS, "ward", nodes=3)
        assert fit.llf == pytest.approx(whole.llf, rel=1e-9)
