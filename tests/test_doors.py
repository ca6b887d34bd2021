"""What could be silently wrong where rows come in: each test is the kind of a fit that was."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import laplace
from laplace.engines.manifest import Manifest
from laplace.engines.recipes import Arrays, Formula

ff = laplace.fit_formula


def frame() -> pd.DataFrame:
    """Draw 400 rows in 40 groups."""
    r = np.random.default_rng(21)
    g = np.repeat(np.arange(40), 10)
    data = pd.DataFrame(
        {
            "g": g,
            "x": r.normal(size=400),
            "t": r.uniform(1.0, 9.0, 400),
            "age": r.integers(20, 90, 400),
            "k": r.integers(0, 3, 400),
            "arm": r.choice(list("abc"), 400),
            "sex": r.choice(["m", "f"], 400),
            "b": r.random(400) < 0.5,
            "n": r.integers(1, 9, 400),
            "A": np.repeat([1, 2, 1, 2], 100),
            "B": np.tile(np.repeat(np.arange(1, 11), 10), 4) % 3,
        }
    )
    eta = 0.5 * data["x"] + 0.4 * (data["k"] == 1) - 0.2 + r.normal(size=40)[g]
    data["y"] = (r.random(400) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    data["s"] = r.binomial(data["n"], 0.4)
    data["c"] = r.poisson(data["t"])
    return data


D = frame()


def close(one: laplace.Fit, other: laplace.Fit, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(one.params, other.params, rtol=rtol)


# Fits that new rows must not change, and rows that are not as those of the fit ---


def test_a_prediction_that_is_refused_leaves_the_fit_as_it_was() -> None:
    fit = ff("y ~ x + arm", D, "g", nodes=1)
    before = fit.predict(D.head(3))
    for change in ({"x": ["1", "2"]}, {"arm": ["a", "z"]}, {"x": [np.nan, 1.0]}):
        with pytest.raises((TypeError, ValueError)):
            fit.predict(D.head(2).assign(**change))
        np.testing.assert_array_equal(fit.predict(D.head(3)), before)


@pytest.mark.parametrize("text", ["v", "C(v)"])
def test_categories_of_numbers_are_known_again_whatever_their_type(text: str) -> None:
    """As after a way through a file."""
    fit = ff(f"y ~ {text}", D.assign(v=D["k"].astype("category")), "g", nodes=1)
    expected = fit.predict(kind="typical")
    for v in (D["k"], D["k"].astype(float), D["k"].astype(object), D["k"].astype("category")):
        np.testing.assert_allclose(fit.predict(D.assign(v=v)), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="column 'v' has the level '0' in row"):
        fit.predict(D.assign(v="0"))


def test_booleans_are_known_again_whatever_their_type() -> None:
    for text in ("b", "C(b)"):
        fit = ff(f"y ~ {text}", D, "g", nodes=1)
        for b in (D["b"].astype(object), D["b"].astype("boolean"), D["b"].astype(int)):
            np.testing.assert_allclose(
                fit.predict(D.assign(b=b)), fit.predict(kind="typical"), rtol=1e-12
            )
    close(ff("y ~ b", D.assign(b=D["b"].astype(object)), "g"), ff("y ~ b", D, "g"))
    with pytest.raises(TypeError, match="column 'x' holds 'high', but numbers in the rows"):
        ff("y ~ x", D, "g", nodes=1).predict(pd.DataFrame({"x": ["high"]}))


def test_tables_are_taken_by_the_names_of_their_columns() -> None:
    X = pd.DataFrame({"one": 1.0, "x": D["x"], "t": D["t"]})
    fit = laplace.fit(D["y"], X, D["g"], nodes=1)
    mixed = pa.table(X[["x", "one", "t"]])
    with pytest.raises(ValueError, match="X must have the columns of the fit, 'one', 'x', 't'"):
        fit.predict(mixed)
    np.testing.assert_allclose(fit.predict(pa.table(X)), fit.predict(X), rtol=1e-12)
    R = pd.DataFrame([[0.0, 1.0, 0.0]], columns=["one", "x", "t"])
    assert fit.wald_test(R[["t", "x", "one"]]) == fit.wald_test(R)
    with pytest.raises(ValueError, match="r_matrix has the columns 'z', but the coefficients are"):
        fit.wald_test(pd.DataFrame({"z": [1.0]}))


def test_an_offset_is_asked_for_where_columns_are_given_as_an_array() -> None:
    fit = ff("c ~ x + offset(log(t))", D, "g", family="poisson", nodes=1)
    with pytest.raises(ValueError, match="offset must be given for new rows"):
        fit.predict(np.array([[1.0, 0.0]]))


def test_nested_groups_are_known_in_any_order() -> None:
    fit = ff("y ~ x + (1 | A:B)", D, nodes=1)
    own = fit.predict()
    for groups in (["A", "B"], ["B", "A"], "B:A", "A:B"):
        np.testing.assert_allclose(fit.predict(D, groups), own, rtol=1e-12)
    fit = ff("y ~ x + (1 | A:B)", D, groups=["B", "A"], nodes=1)
    np.testing.assert_allclose(fit.predict(D, ["B", "A"]), own, rtol=1e-12)


def test_labels_that_are_also_names_of_columns_are_labels() -> None:
    labels = np.where(D["g"] < 20, "x", "t").tolist()
    assert len(ff("y ~ age", D, labels, tau=1, nodes=1).random_effects) == 2


@pytest.mark.parametrize(
    "text",
    [
        "pd.qcut(x, 4, labels=list('abcd'))",
        "pd.cut(x, 3, labels=list('abc'))",
        "C(x > x.mean())",
        "{x - x.iloc[0]}",
        "{x - x.values[0]}",
        "I(age - age.min())",
        "I(age / age.max())",
        "minmax(age)",
        "pd.factorize(sex)[0]",
        "I(D.x)",
        "x.rank(pct=True)",
    ],
)
def test_what_depends_on_the_other_rows_is_noticed(text: str) -> None:
    def minmax(v: Any) -> Any:
        return (v - v.min()) / (v.max() - v.min())

    fit = ff(f"y ~ {text}", D, "g", nodes=1)
    assert minmax is not None
    with pytest.raises(ValueError, match="takes its values from all rows together"):
        fit.predict(D.head(7))


@pytest.mark.parametrize(
    "text", ["I(x**2)", "np.log(t)", "{x.abs()}", "doubled(x)", "{sex == 'm'}"]
)
def test_what_works_row_by_row_is_predicted(text: str) -> None:
    def doubled(v: Any) -> Any:
        return 2 * v

    fit = ff(f"y ~ {text}", D, "g", nodes=1)
    assert doubled is not None
    np.testing.assert_allclose(fit.predict(D.head(5)), fit.predict(kind="typical").head(5))


# Advice that can be followed where it is given ---


def without_weights() -> list[Any]:
    """Return the doors that take no weights, each with proportions."""
    rows = D.assign(one=1.0, p=D["s"] / D["n"], g=D["g"].astype(str))
    families = ("bernoulli", "binomial")
    partitions: list[Any] = [Arrays("p", ("one", "x"), "g", f, None, None) for f in families]
    partitions += [Formula("p ~ x", "g", f, None, "raise", (), ()) for f in families]
    manifest = Manifest("trial", "0.1.0", "p ~ x", "g")
    return [lambda of=of: of.site(rows) for of in (*partitions, manifest)]


@pytest.mark.parametrize("door", without_weights())
def test_weights_are_not_advised_where_there_are_none(door: Any) -> None:
    with pytest.raises(ValueError, match="trials") as caught:
        door()
    assert "weights" not in str(caught.value)


def test_the_left_side_of_a_formula_is_not_called_an_argument() -> None:
    shares = D.assign(p=0.97 * D["s"] / D["n"])
    with pytest.raises(ValueError, match="no whole number of successes; correct one of") as caught:
        ff("p ~ x", shares, "g", family="binomial", weights="n")
    assert "as y" not in str(caught.value)


# Numbers that a formula computes ---


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "UInt8", "uint8[pyarrow]", "float32"])
@pytest.mark.parametrize("text", ["age * n", "I(age**2)", "I(age - 50)", "poly(age, 2, raw=True)"])
def test_small_integers_do_not_overflow(kind: str, text: str) -> None:
    small = D.astype({"age": kind, "n": kind})
    fit, base = ff(f"y ~ {text}", small, "g", nodes=1), ff(f"y ~ {text}", D, "g", nodes=1)
    close(fit, base, 1e-8)
    np.testing.assert_allclose(fit.predict(small.head()), base.predict(D.head()), rtol=1e-8)


def test_sums_of_small_integers_are_trials() -> None:
    small = D.assign(f=D["n"] - D["s"]).astype({"s": "uint8", "f": "uint8"})
    small = pd.concat([small] * 40).assign(s=lambda d: d["s"] * np.uint8(30), f=np.uint8(200))
    wide = small.astype({"s": int, "f": int})
    close(ff("s / (s + f) ~ x", small, "g", nodes=1), ff("s / (s + f) ~ x", wide, "g", nodes=1))


def test_numbers_are_no_names_of_columns() -> None:
    data = D.rename(columns={"t": "0.5"})
    close(ff("y ~ I(x * 0.5)", data, "g", nodes=1), ff("y ~ I(x * 0.5)", D, "g", nodes=1))
    data = D.rename(columns={"t": 0.5})
    close(ff("y ~ I(x * 0.5)", data, "g", nodes=1), ff("y ~ I(x * 0.5)", D, "g", nodes=1))


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ I(age^2)", r"holds \^, which is no power"),
        ("y ~ {age^2}", r"holds \^, which is no power"),
        ("1 - y / n ~ x", "write I.* for a number that is computed, or parentheses"),
        ("s / n * 2 ~ x", "write I.* for a number that is computed"),
        ("s / n > 0.5 ~ x", "write I.* for a number that is computed"),
        ("y ~ 1/x", r"divides a number; write I\(1 / x\)"),
        ("y ~ (1 | g) x", "must add a random intercept"),
        ("s / n ~ x", "has no trials, but the left side has"),
    ],
)
def test_what_means_something_else_is_refused(formula: str, words: str) -> None:
    family = "poisson" if formula == "s / n ~ x" else None
    with pytest.raises(ValueError, match=words):
        ff(formula, D, "g", family=family)


def test_trials_may_be_a_number() -> None:
    data = D.assign(nine=9)
    close(ff("s / 9 ~ x", data, "g", nodes=1), ff("s / nine ~ x", data, "g", nodes=1))
    total = 9
    close(ff("s / total ~ x", data, "g", nodes=1), ff("s / nine ~ x", data, "g", nodes=1))
    assert total == 9


# Columns that would be lost ---


@pytest.mark.parametrize(
    ("names", "formula", "words"),
    [
        ({"t": "1"}, "y ~ x + `1`", "a column called '1' cannot be named in a formula; rename it"),
        ({"t": "1"}, "y ~ .", "a column called '1' cannot be named"),
        (
            {"t": "Intercept"},
            "y ~ x + Intercept",
            "several columns of X that are called 'Intercept'",
        ),
        ({"t": "arm[T.b]"}, "y ~ arm + `arm[T.b]`", r"several columns .* 'arm\[T.b\]'"),
        ({"t": "x:age"}, "y ~ x * age + `x:age`", "several columns of X that are called 'x:age'"),
    ],
)
def test_no_column_is_lost_by_its_name(names: dict, formula: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ff(formula, D.rename(columns=names), "g")


def test_a_column_that_reads_like_a_call_is_named_in_backticks() -> None:
    data = D.assign(**{"log(t)": D["x"]})
    base = ff("c ~ age + offset(log(t))", D, "g", family="poisson", nodes=1)
    close(ff("c ~ age + offset(log(t))", data, "g", family="poisson", nodes=1), base)
    close(ff("y ~ `log(t)`", data, "g", nodes=1), ff("y ~ x", D, "g", nodes=1))


def test_only_rows_with_trials_tell() -> None:
    none = D.assign(n=np.where(D["arm"] == "c", 0, D["n"]))
    none["s"] = np.minimum(none["s"], none["n"])
    with pytest.raises(ValueError, match=r"only the \d+ rows without trials tell from the others"):
        ff("s / n ~ arm", none, "g")
    rest = none[none["n"] > 0]
    close(ff("s / n ~ x", none, "g", nodes=1), ff("s / n ~ x", rest, "g", nodes=1))


def test_a_category_is_no_number() -> None:
    X = pd.DataFrame({"one": 1.0, "k": D["k"].astype("category")})
    with pytest.raises(TypeError, match="column 'k' of X must hold numbers only"):
        laplace.fit(D["y"], X, D["g"])


# Rows that would be mixed up ---


def test_rows_of_another_index_are_not_taken_by_position() -> None:
    mixed = D.sample(frac=1.0, random_state=4)
    lt = np.log(D["t"])
    for formula, options in (
        ("c ~ x", {"offset": "lt"}),
        ("c ~ x + offset(lt)", {}),
        ("c ~ x + lt", {}),
        ("c ~ x", {"weights": "lt"}),
        ("c ~ x + I(D.t)", {}),
        ("D.c ~ x", {}),
        ("c ~ x.sort_values()", {}),
    ):
        with pytest.raises(ValueError, match="another index than data"):
            ff(formula, mixed, "g", family="poisson", **options)
    values = lt.to_numpy()
    by_position = ff("c ~ x", D, "g", family="poisson", offset="values", nodes=1)
    close(by_position, ff("c ~ x + offset(log(t))", D, "g", family="poisson", nodes=1))
    assert len(values) == 400


def test_masked_values_are_not_used() -> None:
    masked = np.ma.masked_array(np.log(D["t"]), mask=np.arange(400) == 5)
    for name in ("offset", "weights"):
        with pytest.raises(ValueError, match=f"{name} is masked in row 5"):
            ff("c ~ x", D, "g", family="poisson", **{name: masked})


def test_values_that_are_lost_in_a_computation_are_missing() -> None:
    few = D.assign(t=D["t"] - 1.2)
    lost = int((few["t"] <= 0).sum())
    assert lost > 0
    rows = few.index[few["t"] < 0]
    with pytest.raises(ValueError, match=rf"missing values in row {rows[0]} .*'log\(t\)'"):
        ff("y ~ log(t)", few, "g")
    fit = ff("y ~ log(t)", few, "g", missing="drop", nodes=1)
    assert fit.dropped == len(rows)
    close(fit, ff("y ~ log(t)", few.drop(index=rows), "g", nodes=1))
    bins = "pd.cut(x, [-1, 0, 1])"
    outside = int((~D["x"].between(-1, 1, inclusive="right")).sum())
    assert ff(f"y ~ {bins}", D, "g", missing="drop", nodes=1).dropped == outside
    shifted = ff("c ~ x + offset(log(t))", few, "g", family="poisson", missing="drop", nodes=1)
    assert shifted.dropped == len(rows)


# Places ---


def test_places_agree_on_the_event() -> None:
    def site(rows: pd.DataFrame, levels: list[str]) -> laplace.Site:
        o = pd.Categorical(np.where(rows["y"] == 1, "yes", "no"), categories=levels)
        return laplace.Site.from_formula("o ~ x", rows.assign(o=o), "g")

    one, two = D[D["g"] < 20], D[D["g"] >= 20]
    laplace.fit_sites([site(one, ["no", "yes"]), site(two, ["no", "yes"])])
    with pytest.raises(ValueError, match=r"o is yes, not no.* o is no, not yes"):
        laplace.fit_sites([site(one, ["no", "yes"]), site(two, ["yes", "no"])])
    with pytest.raises(TypeError, match="has 3 levels"):
        site(one, ["no", "yes", "perhaps"])


def test_cells_that_are_empty_at_a_place_are_not_empty() -> None:
    lacks = [(D["arm"] == "c") & (D["sex"] == sex) for sex in ("m", "f")]
    parts = [D[(D["g"] < 20) & ~lacks[0]], D[(D["g"] >= 20) & ~lacks[1]]]
    levels = {"arm": list("abc"), "sex": ["f", "m"]}
    coded = [
        part.assign(**{k: pd.Categorical(part[k], categories=v) for k, v in levels.items()})
        for part in parts
    ]
    sites = [laplace.Site.from_formula("y ~ arm * sex", part, "g") for part in coded]
    close(laplace.fit_sites(sites), ff("y ~ arm * sex", pd.concat(coded), "g"), 1e-8)
    with pytest.raises(ValueError, match="empty_cells='drop' is for the rows of one place"):
        laplace.Site.from_formula("y ~ arm * sex", coded[0], "g", empty_cells="drop")
    none = [part[part["y"] == 0] if k == 0 else part for k, part in enumerate(parts)]
    text = [part.assign(o=np.where(part["y"] == 1, "Yes", "No")) for part in none]
    laplace.fit_sites([laplace.Site.from_formula("I(o == 'Yes') ~ x", part, "g") for part in text])


# Other texts ---


def test_computed_texts_may_be_compared_and_codes_are_categories() -> None:
    base = ff("y ~ I(sex == 'm')", D, "g", nodes=1)
    close(ff("y ~ I(sex.str.upper() == 'M')", D, "g", nodes=1), base)
    r = np.random.default_rng(6)
    kids = r.choice(["0", "1", "2", "3", "4", "5+"], 400)
    icd = r.choice(["250", "401", "414", "427", "428", "V27"], 400)
    for values in (kids, icd):
        assert len(ff("y ~ v", D.assign(v=values), "g", nodes=1).params) == 7


def test_names_of_an_enclosing_function_are_seen_from_a_comprehension() -> None:
    factor = 2.0
    fits = [ff("y ~ I(x * factor)", D, "g", nodes=1) for _ in range(1)]
    close(fits[0], ff("y ~ I(x * 2.0)", D, "g", nodes=1))
    assert factor == 2.0


def test_functions_of_formulas_mean_what_they_mean_there() -> None:
    from math import log  # which takes no columns

    close(ff("y ~ log(t)", D, "g", nodes=1), ff("y ~ np.log(t)", D, "g", nodes=1))
    assert log(1.0) == 0.0


def test_a_fit_that_names_a_function_of_a_script_is_read_without_it(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pickle, sys, numpy as np, pandas as pd, laplace\n"
        "r = np.random.default_rng(1)\n"
        "d = pd.DataFrame({'y': r.integers(0, 2, 60), 'x': r.normal(size=60),\n"
        "                  'g': np.repeat(np.arange(6), 10)})\n"
        "def sq(v):\n    return v ** 2\n"
        "fit = laplace.fit_formula('y ~ sq(x)', d, 'g', nodes=1)\n"
        "pickle.dump(fit, open(sys.argv[1], 'wb'))\n"
    )
    path = tmp_path / "fit.pickle"
    subprocess.run([sys.executable, str(script), str(path)], check=True)
    import pickle

    fit = pickle.loads(path.read_bytes())
    assert fit.params.shape == (3,)
    with pytest.raises(ValueError, match=r"calls sq\(\), which is no function here"):
        fit.predict(pd.DataFrame({"x": [1.0]}))


@pytest.mark.parametrize("text", ["x.foo()", "np.foo(x)", "x.str.len()", "max(x)", "len(sex)"])
def test_what_cannot_be_computed_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=r"\w+ \w+ \w+") as caught:
        ff(f"y ~ {text}", D, "g")
    assert "Traceback" not in str(caught.value)


def test_offsets_are_numbers() -> None:
    for text in ("arm", "sex"):
        with pytest.raises(TypeError, match=f"offset {text} must hold numbers only"):
            ff(f"y ~ x + offset({text})", D, "g")
