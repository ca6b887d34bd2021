"""Hypotheses as they are given: by labels, by names, and refused in words; seeds, and sites."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace

R = np.random.default_rng(5)
GROUPS = np.repeat(np.arange(14), 6)
N = len(GROUPS)
X = R.normal(size=N)
Y = (R.random(N) < 1 / (1 + np.exp(0.5 - X - R.normal(size=14)[GROUPS]))) * 1.0
DATA = pd.DataFrame({"y": Y, "x": X, "arm": R.choice(list("abc"), N), "w": GROUPS})
FIT = laplace.fit_formula("y ~ x * arm + (1 | w)", DATA, nodes=3)
NAMES = list(FIT.params.index[:-1])
ROW = pd.Series(0.0, NAMES).add(pd.Series({"x": 1.0}), fill_value=0.0)  # sorted by label


@pytest.mark.parametrize(
    "same",
    [
        ROW,
        ROW[NAMES],
        ROW[NAMES[::-1]],
        ROW.to_frame().T,
        [ROW],
        (ROW, [0.0]),
        (ROW.to_frame().T, [0.0]),
        ([ROW], 0.0),
        ROW[NAMES].reset_index(drop=True),
        ROW[NAMES].tolist(),
        {"x": 0},
        {"`x`": 0.0},
    ],
)
def test_what_has_labels_is_taken_by_them(same: Any) -> None:
    assert list(ROW.index) != NAMES
    expected = (FIT.params["x"] / FIT.bse["x"]) ** 2
    assert FIT.wald_test(same).statistic == pytest.approx(expected, rel=1e-11)


def test_rows_with_labels_stand_together() -> None:
    two = pd.Series(0.0, NAMES).add(pd.Series({"arm[T.b]": 1.0, "arm[T.c]": -1.0}), fill_value=0)
    text = FIT.wald_test("x = 0, arm[T.b] = arm[T.c]").statistic
    for same in ([ROW, two[NAMES]], pd.DataFrame([ROW, two]), {"x": 0, "arm[T.b] - arm[T.c]": 0}):
        assert FIT.wald_test(same).statistic == pytest.approx(text, rel=1e-11)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (pd.Series({"x": 1.0}), r"labels 'x', but .*give a number for each.*or a mapping"),
        (ROW.rename({"x": "z"}), "r_matrix has the labels .*'z', .*, but the coefficients are"),
        ([ROW, ROW.drop("x")], "r_matrix has the labels"),
        (ROW.to_frame().T.drop(columns="x"), "r_matrix has the columns"),
        ({"nope": 0}, "cannot be read: 'nope'; the coefficients are"),
        ({3: 0}, "r_matrix names 3, but the coefficients are 'Intercept'"),
        ({}, "at least one combination"),
        ([[1.0, 2.0], [1.0]], "must hold numbers, in each row one for each"),
        ([["a"] * 6], "must hold numbers, in each row one for each"),
        (
            (ROW.to_frame("a").T, pd.Series([0.0], ["b"])),
            "index of values differs from that of r_matrix",
        ),
    ],
)
def test_what_labels_do_not_tell_is_refused(rows: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FIT.wald_test(rows)


@pytest.mark.parametrize("nothing", [None, 3, True, object(), {"x"}])
def test_what_is_no_hypothesis_at_all(nothing: Any) -> None:
    with pytest.raises(TypeError, match=r"^r_matrix must say .*, by a text such as .*, got "):
        FIT.wald_test(nothing)
    with pytest.raises(TypeError, match=r"^r_matrix\['x'\] must be a number, got 'a'"):
        FIT.wald_test({"x": "a"})


def test_keys_of_a_mapping_are_names_first() -> None:
    names: list[Any] = ["a:b", "x,z", "a=b", "größe 🐄", "aa:b", "a`b", "2 + 3", 1]
    columns = pd.DataFrame(R.normal(size=(N, len(names))), columns=names)
    fit = laplace.fit(Y, columns, GROUPS, nodes=1)
    for k, name in enumerate(names):
        for value in (0.0, 0.5):
            expected = ((fit.beta[k] - value) / fit.bse.iloc[k]) ** 2
            found = [fit.wald_test({key: value}) for key in (name, str(name))]
            if name != "a`b":  # which a text cannot tell from marks around a name
                found.append(fit.wald_test(f"{name} = {value}"))
            for test in found:
                assert test.statistic == pytest.approx(expected, rel=1e-10), name
    both = fit.wald_test({"a:b": 0, "aa:b": 1})
    assert fit.wald_test("a:b = 0, aa:b = 1").statistic == pytest.approx(both.statistic, rel=1e-10)


def test_a_number_is_a_number_where_a_column_is_named_by_it() -> None:
    columns = pd.DataFrame(R.normal(size=(N, 3)), columns=["x1", 0, 1])
    fit = laplace.fit(Y, columns, GROUPS, nodes=1)
    for text, values in {
        "1 = 0": {"1": 0},
        "x1 = 1": {"x1": 1},
        "x1 = 10, 0 = 1": {"x1": 10, "0": 1},
        "2 * `1` = 1": {"1": 0.5},
    }.items():
        expected = fit.wald_test(values).statistic
        assert fit.wald_test(text).statistic == pytest.approx(expected, rel=1e-10), text


@pytest.mark.parametrize("seed", ["a", 1.5, True, np.True_, [1, 2]])
def test_a_seed_is_a_source_of_random_numbers(seed: Any) -> None:
    words = r"^seed must be a whole number, got .*; a numpy SeedSequence or Generator will do, too$"
    with pytest.raises(TypeError, match=words):
        FIT.simulate(seed)
    with pytest.raises(TypeError, match=words):
        laplace.simulate.random_intercepts([3, 4], [0.0], 1.0, seed=seed)
    with pytest.raises(ValueError, match=r"^seed must be at least 0, got -1"):
        FIT.simulate(-1)


def test_sources_of_random_numbers_are_those_of_numpy() -> None:
    for one, other in (
        (3, np.random.default_rng(3)),
        (np.int64(3), np.random.SeedSequence(3)),
        (3, np.random.PCG64(3)),
    ):
        np.testing.assert_array_equal(FIT.simulate(one), FIT.simulate(other))
    assert not FIT.simulate().equals(FIT.simulate())


def test_sites_are_asked_for_what_is_asked_of_the_fit() -> None:
    parts, columns = [GROUPS < 7, GROUPS >= 7], np.column_stack([np.ones(N), X])
    sites = [laplace.Site.from_arrays(Y[k], columns[k], GROUPS[k]) for k in parts]
    fit, pooled = laplace.fit_sites(sites, nodes=9), laplace.fit(Y, columns, GROUPS, nodes=9)
    for name in ("resid", "simulate", "predict", "get_prediction", "random_effects",
                 "fittedvalues", "data"):  # fmt: skip
        called = f"{name}()" if callable(getattr(laplace.Fit, name)) else name
        words = rf"^{re.escape(called)} .*fit\.at\(site\)\.{re.escape(called)}$"
        with pytest.raises(ValueError, match=words):
            getattr(fit, name)()
    for site, own in zip(sites, parts, strict=True):
        there = fit.at(site)
        for kind in ("response", "pearson", "deviance"):
            np.testing.assert_allclose(there.resid(kind), pooled.resid(kind)[own], atol=1e-6)
        drawn = there.simulate(1)
        assert len(drawn) == own.sum()
        assert set(drawn) <= {0.0, 1.0}
        mean = np.mean([there.simulate(seed) for seed in range(400)], axis=0)
        expected = pooled.predict(columns[own], kind="marginal")
        assert np.abs(mean - expected).max() < 5 * np.sqrt(0.25 / 400)
        se = there.get_prediction().se_linear
        np.testing.assert_allclose(se, pooled.get_prediction().se_linear[own], rtol=1e-6)
