"""Rows at several places: the fit is that of all rows in one, and never sees one.

The truth here is `laplace.fit` of all rows, which other tests hold against R.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pyarrow
import pytest
from proxies import Hospitals, hospitals, split
from test_random_designs import random_rows

import laplace
from compendium import datasets
from compendium.simulate import published_setting, small_groups
from laplace.answers import Census
from laplace.arguments import text_of
from laplace.questions import AskAt, View
from laplace.sites import Sites

PLACES = (2, 3, 10, 50)
OPTIONS: list[dict[str, Any]] = [
    {"nodes": 1},
    {"nodes": 9},
    {"nodes": 25},
    {"nodes": "auto"},
    {"tau": 1},
    {"tau": 0},
    {"penalty": "ridge", "strength": 1.0},
    {"penalty": "soft"},
]


def arrays(name: str) -> dict[str, Any]:
    """Return a data set as arrays."""
    if name == "toenail":
        data = datasets.toenail()
        X = formulaic.model_matrix("treatment * month", data)
        return {"y": data.outcome, "X": np.asarray(X), "groups": data.patient}
    if name == "cbpp":
        data = datasets.cbpp()
        rows = {"y": data.incidence, "trials": data["size"], "family": "binomial"}
        X = formulaic.model_matrix("period", data)
        return {**rows, "X": np.asarray(X), "groups": data.herd}
    if name == "contraception":
        data = datasets.contraception()
        X = formulaic.model_matrix("age + I(age**2) + urban + livch", data)
        return {"y": data.use, "X": np.asarray(X), "groups": data.district}
    sites, patients = map(int, name.split("x"))
    drawn = published_setting(sites, patients, 1.0, seed=1)
    return {"y": drawn.y, "X": drawn.X, "groups": drawn.groups}


NAMES = ("toenail", "cbpp", "contraception", "2x500", "10x500", "2x30", "10x30")


def at_places(rows: dict[str, Any], places: int, seed: int = 0) -> list[laplace.Site]:
    return [laplace.Site.from_arrays(**part) for part in split(rows, places, seed)]


def distance(one: laplace.Fit, other: laplace.Fit) -> float:
    """Return the largest difference of estimates and standard errors, in standard errors."""
    assert (one.converged, one.boundary, one.message) == (
        other.converged,
        other.boundary,
        other.message,
    )
    assert one.nodes == other.nodes
    shift = np.nanmax(np.abs(one.params - other.params) / one.bse)
    return float(max(shift, np.nanmax(np.abs(one.bse / other.bse - 1.0))))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_those_of_all_rows(name: str, options: dict[str, Any]) -> None:
    rows = arrays(name)
    soft = options.get("penalty") == "soft"
    if soft and len(rows["y"]) > 2 * 500:
        pytest.skip("takes long, and is the same as with fewer rows")
    together = laplace.fit(**rows, **options)
    for places in PLACES[1:2] if soft else PLACES:
        if places <= len(np.unique(rows["groups"])):
            apart = laplace.fit_sites(at_places(rows, places), **options)
            assert distance(together, apart) <= 1e-10


@pytest.mark.parametrize("options", [o for o in OPTIONS if o != {"nodes": "auto"}], ids=str)
@pytest.mark.parametrize("name", ["toenail", "cbpp", "contraception"])
def test_intervals_and_tests_are_those_of_all_rows(name: str, options: dict[str, Any]) -> None:
    rows = arrays(name)
    if options.get("penalty") == "soft" and name != "cbpp":
        pytest.skip("takes long, and is the same as with fewer rows")
    together = laplace.fit(**rows, **options)
    apart = laplace.fit_sites(at_places(rows, 3), **options)
    one, other = (fit.conf_int(method="profile").to_numpy() for fit in (together, apart))
    finite = np.isfinite(one)
    np.testing.assert_array_equal(finite, np.isfinite(other))
    scale = np.broadcast_to(together.bse.fillna(1.0).to_numpy()[:, None], one.shape)
    assert np.max(np.abs(one - other)[finite] / scale[finite]) <= 1e-10
    error = together.approximation_error() - apart.approximation_error()
    assert np.max(np.abs(error)) <= 1e-10
    if together.tau_is_free and together.penalty is None:
        assert apart.test_tau().statistic == pytest.approx(together.test_tau().statistic, rel=1e-10)
    assert str(apart.aic), str(apart.bic) == (str(together.aic), str(together.bic))


def test_random_designs_at_three_places() -> None:
    """Every fifth of the random designs; all thousand give the same, with a largest of 1e-9."""
    distances = []
    for seed in range(0, 1000, 5):
        rows = random_rows(seed)
        nodes = rows.pop("nodes")
        ends: list[Any] = []
        for fit in (
            lambda: laplace.fit(**rows, nodes=nodes),  # noqa: B023
            lambda: laplace.fit_sites(at_places(rows, 3, seed), nodes=nodes),  # noqa: B023
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", laplace.ConvergenceWarning)
                warnings.simplefilter("ignore", laplace.ApproximationWarning)
                try:
                    ends.append(fit())
                except ValueError as error:
                    ends.append(error)
        one, other = ends
        if isinstance(one, ValueError):
            assert type(one) is type(other), seed
            if isinstance(one, laplace.SeparationError):
                assert one.complete == other.complete, seed
            else:
                assert str(one) == str(other)
        elif one.converged:
            distances.append(distance(one, other))
        else:
            assert one.message == other.message
    assert len(distances) > 150
    assert np.median(distances) <= 1e-13
    assert max(distances) <= 1e-8


# Nothing but questions ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three() -> Iterator[Hospitals]:
    with hospitals(3) as found:
        yield found


@pytest.fixture(scope="module")
def one() -> Iterator[Hospitals]:
    with hospitals(1) as found:
        yield found


COMBINATIONS = [*OPTIONS, {"nodes": 5, "tau": 2.0}]


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
@pytest.mark.parametrize("name", ["cbpp", "10x30"])
def test_everything_public_works_on_proxies(
    three: Hospitals, name: str, options: dict[str, Any]
) -> None:
    rows = arrays(name)
    together = laplace.fit(**rows, **options)
    apart = laplace.fit_sites(three(rows), **options)
    assert distance(together, apart) <= 1e-10
    shared = {line.split("  ")[0] for line in str(together.summary()).splitlines()}
    assert shared | {"Sites"} == {line.split("  ")[0] for line in str(apart.summary()).splitlines()}
    if name == "cbpp":
        one, other = (fit.conf_int(method="profile") for fit in (together, apart))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(together.cov_params(), apart.cov_params(), rtol=1e-9, atol=1e-14)
    new = rows["X"][:3]
    for kind in ("typical", "marginal"):
        np.testing.assert_allclose(
            together.predict(new, kind=kind), apart.predict(new, kind=kind), rtol=1e-10
        )
    assert apart.aic == pytest.approx(together.aic, rel=1e-12, nan_ok=True)
    assert "Fit: " in repr(apart)


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
def test_questions_to_one_place_give_the_bits_of_a_fit_there(
    one: Hospitals, options: dict[str, Any]
) -> None:
    rows = arrays("cbpp")
    theta, hessian = one.fit(**rows, **options)
    by_questions = laplace.fit_sites(one(rows), **options)
    np.testing.assert_array_equal(by_questions.theta, theta)
    np.testing.assert_array_equal(by_questions.hessian, hessian)


def test_refusals_come_from_answers_alone(three: Hospitals, one: Hospitals) -> None:
    rows = arrays("10x30")
    X = np.column_stack([rows["X"], rows["X"][:, 1] + 2.0 * rows["X"][:, 4]])
    words = "'x10' is a linear combination of 'x1', 'x4'; leave out 'x10'"
    rare = np.column_stack([rows["X"], np.asarray(rows["y"]) * (np.arange(len(X)) % 7 == 0)])
    for places in (three, one):
        with pytest.raises(ValueError, match=words):
            laplace.fit_sites(places({**rows, "X": X}), nodes=1)
        with pytest.raises(
            laplace.SeparationError, match="X separates y: 1\\*x10 is never"
        ) as said:
            laplace.fit_sites(places({**rows, "X": rare}), nodes=1)
        assert not said.value.complete
        with pytest.raises(ValueError, match="y is 1 in every row: the likelihood has no finite"):
            laplace.fit_sites(places({**rows, "y": np.ones(len(X))}), nodes=1)
        count = int(np.sum(rare[:, -1]))
        assert f"not zero in {count} of {len(X)} rows" in str(said.value)


def test_nearly_collinear_columns(three: Hospitals) -> None:
    rows = arrays("10x30")
    r = np.random.default_rng(3)
    X = np.column_stack([rows["X"], rows["X"][:, 4] + 1e-6 * r.normal(size=len(rows["y"]))])
    for options in ({}, {"penalty": "soft"}, {"penalty": "ridge", "strength": 0.5}):
        together = laplace.fit(**{**rows, "X": X}, **options)
        apart = laplace.fit_sites(three({**rows, "X": X}), **options)
        # the last column is known to six digits fewer than the others
        assert distance(together, apart) <= 1e-8


def test_compare_by_digests_and_sketches(three: Hospitals) -> None:
    rows = arrays("10x30")
    fewer = {**rows, "X": rows["X"][:, :4]}
    small, large = (laplace.fit_sites(three(r), nodes=1) for r in (fewer, rows))
    truth = laplace.fit(**fewer, nodes=1).compare(laplace.fit(**rows, nodes=1))
    assert small.compare(large).pvalue == pytest.approx(truth.pvalue, rel=1e-9)
    other = np.array(rows["y"])
    other[17] = 1.0 - other[17]
    moved = laplace.fit_sites(three({**rows, "y": other}), nodes=1)
    with pytest.raises(ValueError, match=r"different data: y differs at site \d"):
        small.compare(moved)
    strange = {**rows, "X": np.column_stack([rows["X"][:, :3], np.sin(np.arange(300.0))])}
    with pytest.raises(ValueError, match="column 'x3' of the smaller is no combination"):
        laplace.fit_sites(three(strange), nodes=1).compare(large)
    labels = {**rows, "groups": np.array([f"ward {g}" for g in rows["groups"]])}
    with pytest.raises(ValueError, match="the models are the same"):
        laplace.fit_sites(three(labels), nodes=1).compare(large)


def test_rows_are_asked_of_their_site(three: Hospitals) -> None:
    rows = arrays("cbpp")
    sites = at_places(rows, 3)
    fit, together = laplace.fit_sites(sites, nodes=1), laplace.fit(**rows, nodes=1)
    effects = pd.concat([site.random_effects(fit) for site in sites]).sort_index()
    np.testing.assert_allclose(effects, together.random_effects, rtol=1e-9)
    parts = split(rows, 3)
    for site, part in zip(sites, parts, strict=True):
        group = part["groups"][:1]
        expected = together.predict(part["X"][:1], groups=group)
        np.testing.assert_allclose(
            site.predict(fit, part["X"][:1], groups=group), expected, rtol=1e-9
        )
    for ask in (
        lambda: fit.random_effects,
        lambda: fit.predict(),
        lambda: fit.data,
        lambda: fit.predict(rows["X"][:1], groups=[1]),
    ):
        with pytest.raises(ValueError, match=r"rows, which are at 3 sites and not here; ask each"):
            ask()
    with pytest.raises(ValueError, match="site has the columns"):
        at_places(arrays("10x30"), 2)[0].random_effects(fit)


# Rounds ------------------------------------------------------------------------------------------


def test_rounds_and_numbers_are_on_the_record() -> None:
    rows = arrays("toenail")
    sites = Sites(at_places(rows, 5))
    fit = laplace.fit_sites(sites, nodes=1)
    assert fit.rounds == sites.rounds <= 16  # one of them for the verdict
    assert fit.numbers == sites.numbers
    said = f"5, which were asked {fit.rounds} times and sent {fit.numbers} numbers"
    assert said in str(fit.summary())
    p = 4
    assert fit.numbers > fit.rounds * 5 * (p + 1)
    # what is asked later, here by the summary and by another fit, is not the fit's
    again = laplace.fit_sites(sites, nodes=1)
    assert (again.rounds, again.numbers) == (fit.rounds, fit.numbers)
    assert sites.rounds > 2 * fit.rounds
    assert said in str(fit.summary())
    assert laplace.fit(**rows, nodes=1).numbers == 0
    assert "Sites" not in str(laplace.fit(**rows, nodes=1).summary())
    assert pickle.loads(pickle.dumps(fit)).rounds == fit.rounds


def test_ask_may_be_any_map() -> None:
    asked = []

    def ask(parts: Any, question: Any) -> Iterator[Any]:
        asked.append(type(question).__name__)
        return map(lambda part: part.answer(question), reversed(parts))

    rows = arrays("cbpp")
    parts = at_places(rows, 3)
    fit = laplace.fit_sites(Sites(parts, ask=ask), nodes=1)
    assert len(asked) == fit.rounds
    assert distance(laplace.fit(**rows, nodes=1), fit) <= 1e-10
    with pytest.raises(ValueError, match="3 sites were asked, but 2 answers came back"):
        laplace.fit_sites(
            Sites(parts, ask=lambda parts, q: [p.answer(q) for p in parts[:2]]), nodes=1
        )


def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    rows = arrays("10x30")
    site = laplace.Site.from_arrays(**rows)
    triangle = np.triu(np.random.default_rng(2).normal(size=(10, 10)) + 3.0 * np.eye(10))
    views = [View(), View(every=2, rows=20), View(triangle=triangle)]
    rng = np.random.default_rng(4)
    asks = [AskAt(view, rng.normal(size=10), 1.3, nodes) for view in views for nodes in (1, 7)]
    first = [laplace.Site.from_arrays(**rows).answer(ask) for ask in asks]
    for _ in range(2):
        for ask, expected in reversed(list(zip(asks, first, strict=True))):
            found = site.answer(ask)
            assert found.value == expected.value
            np.testing.assert_array_equal(found.hessian, expected.hessian)


# Sites that disagree -----------------------------------------------------------------------------


def herds(part: int, **changes: Any) -> laplace.Site:
    rows = {**split(arrays("cbpp"), 2)[part], **changes}
    return laplace.Site.from_arrays(**rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ["a", "b", "c", "e"]}, "only the first has 'd' and only the second has 'e'"),
        ({"names": ["a", "c", "b", "d"]}, "the same columns in a different order"),
        ({"family": "poisson", "trials": None}, "different families: 'binomial' and 'poisson'"),
    ],
)
def test_sites_that_disagree_are_named(changes: dict[str, Any], words: str) -> None:
    names = ["a", "b", "c", "d"]
    sites = Sites(
        [herds(0, names=names), herds(1, **{"names": names, **changes})], names=["A", "B"]
    )
    with pytest.raises(ValueError, match=f"A and B have .*{words}"):
        laplace.fit_sites(sites, nodes=1)


def test_a_group_at_two_places_is_refused() -> None:
    rows = arrays("cbpp")
    half = np.arange(len(rows["y"])) < 29
    parts = [
        laplace.Site.from_arrays(
            rows["y"][w],
            rows["X"][w],
            rows["groups"][w],
            family="binomial",
            trials=rows["trials"][w],
        )
        for w in (half, ~half)
    ]
    with pytest.raises(ValueError, match="site 1 and site 2 have rows of the same group"):
        laplace.fit_sites(parts, nodes=1)


def by_formula(formula: str, *frames: pd.DataFrame) -> list[laplace.Site]:
    return [laplace.Site.from_formula(formula, frame, "district") for frame in frames]


MOMENT = pd.Timestamp("2020-01-01 01:00:00.5")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, np.float32(1)),
        (1, True),
        (Decimal("1.0"), 1),
        (Decimal("0.10"), Fraction(1, 10)),
        (-0.0, 0),
        ("a", np.str_("a")),
        ((1, "a"), (1.0, np.str_("a"))),
        (MOMENT.as_unit("ms"), MOMENT.as_unit("ns")),
        (MOMENT.tz_localize("UTC"), MOMENT.tz_localize("UTC").tz_convert("Asia/Tokyo")),
        (pd.Timedelta("36h"), timedelta(days=1.5)),
        (pd.Interval(0, 1), pd.Interval(0.0, 1.0)),
        (frozenset("abc"), frozenset("cba")),
    ],
    # the text of a set differs between processes
    ids=lambda label: type(label).__name__,
)
def test_equal_labels_have_one_digest(one: Any, other: Any) -> None:
    assert one == other
    assert text_of(one) == text_of(other)


def test_labels_that_differ_have_different_digests() -> None:
    labels = [0, 1, -1, 2**53, 2**53 + 1, 0.1, np.float32(0.1), Decimal("0.1"), 1j, np.inf]
    labels += ["a", "A", (1,), ("1",), ("a, b",), ("a", "b"), MOMENT, MOMENT.tz_localize("UTC")]
    labels += [pd.Interval(0, 1), pd.Interval(0, 1, "left"), MOMENT + pd.Timedelta("1ns")]
    assert len({text_of(label) for label in labels}) == len(labels) == len(set(labels))


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.astype(float),
        lambda g: g.astype("f4"),
        lambda g: g.astype("f2"),
        lambda g: g.astype("u1"),
        lambda g: pd.array(g, dtype="Int64"),
        lambda g: pd.Categorical(g),
        lambda g: pd.Categorical(g.astype(float)),
        lambda g: [Decimal(int(k)) for k in g],
        lambda g: g.astype(str),
    ],
)
def test_a_group_whose_label_is_of_two_types_is_refused(change: Any) -> None:
    rows = arrays("2x30")
    rows = {name: np.asarray(values) for name, values in rows.items()}
    groups = np.arange(60) // 5
    first = groups < 6
    other = groups[~first] - 5  # among which is one of the first
    sites = [
        laplace.Site.from_arrays(rows["y"][first], rows["X"][first], groups[first]),
        laplace.Site.from_arrays(rows["y"][~first], rows["X"][~first], change(other)),
    ]
    with pytest.raises(ValueError, match="site 1 and site 2 have rows of the same group"):
        laplace.fit_sites(sites, nodes=1)


def without_trials(everywhere: bool) -> pd.DataFrame:
    """Return binomial rows with level 'c' at the first place only in rows without trials."""
    rng = np.random.default_rng(5)
    ward = np.repeat(np.arange(14), 6)
    arm = rng.choice(list("abc"), 84).astype(object)
    here = ward < 5
    arm[here] = rng.choice(list("ab"), here.sum())
    arm[:2] = "c"
    trials = np.where((arm == "c") & (here | everywhere), 0, 3)
    data = {"s": rng.binomial(trials, 0.4), "t": trials, "x": rng.normal(size=84), "w": ward}
    return pd.DataFrame({**data, "arm": pd.Categorical(arm, categories=list("abc"))})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_column_that_one_place_does_not_know_another_may(options: dict[str, Any]) -> None:
    data, formula = without_trials(everywhere=False), "s / t ~ x + arm + (1 | w)"
    sites = [laplace.Site.from_formula(formula, data[k]) for k in (data.w < 5, data.w >= 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apart = laplace.fit_sites(sites, **options)
        assert distance(apart, laplace.fit_formula(formula, data, **options)) < 1e-6
        rest = laplace.fit_formula(formula, data[data.t > 0], **options)
    if "penalty" not in options:  # which counts rows, and their spread
        assert distance(apart, rest) < 1e-6


@pytest.mark.parametrize("options", OPTIONS[3:], ids=str)
def test_a_column_that_no_place_knows_is_refused_as_in_one(options: dict[str, Any]) -> None:
    data, formula = without_trials(everywhere=True), "s / t ~ x + arm + (1 | w)"
    sites = [laplace.Site.from_formula(formula, data[k]) for k in (data.w < 5, data.w >= 5)]
    words = (
        rf"^X has columns that only the {np.sum(data.t == 0)} rows without trials tell from the "
        "others, so that nothing is known of their coefficients; leave these rows out, or merge"
    )
    for parts in (sites, sites[:1], sites[1:]):
        with pytest.raises(ValueError, match=words if len(parts) == 2 else "rows without trials"):
            laplace.fit_sites(parts, **options)
    with pytest.raises(ValueError, match=words):
        laplace.fit_formula(formula, data, **options)


def test_columns_that_are_combinations_in_all_rows_are_called_so() -> None:
    data, formula = without_trials(everywhere=False), "s / t ~ x + double + arm + (1 | w)"
    data["double"] = 2.0 * data.x
    sites = [laplace.Site.from_formula(formula, data[k]) for k in (data.w < 5, data.w >= 5)]
    for attempt in (
        lambda: laplace.fit_sites(sites),
        lambda: laplace.fit_formula(formula, data),
    ):
        with pytest.raises(ValueError, match="'double' is a linear combination of 'x'"):
            attempt()


def test_a_large_offset_does_not_hide_what_a_place_knows() -> None:
    data, formula = without_trials(everywhere=False), "s / t ~ x + arm + (1 | w)"
    data["o"] = np.where(data.arm == "c", -60.0, 0.0)
    data.loc[data.arm == "c", "s"] = 0
    sites = [
        laplace.Site.from_formula(formula, data[k], offset="o") for k in (data.w < 5, data.w >= 5)
    ]
    options: dict[str, Any] = {"penalty": "ridge", "strength": 1.0, "nodes": 1}
    one = laplace.fit_formula(formula, data, offset="o", **options)
    assert distance(laplace.fit_sites(sites, **options), one) < 1e-6


def test_weighted_rows_without_trials_at_one_place() -> None:
    data = without_trials(everywhere=False)
    X = np.column_stack([np.ones(84), data.x, data.arm == "c"])
    weights = np.arange(84) % 3 + 1
    rows = {"y": data.s.to_numpy(), "X": X, "groups": data.w.to_numpy(), "weights": weights}
    rows["trials"] = data.t.to_numpy()
    sites = [
        laplace.Site.from_arrays(**{n: v[k] for n, v in rows.items()}, family="binomial")
        for k in (data.w < 5, data.w >= 5)
    ]
    again = np.repeat(np.arange(84), weights)
    del rows["weights"]
    written = laplace.fit(**{n: v[again] for n, v in rows.items()}, family="binomial", nodes=5)
    np.testing.assert_allclose(laplace.fit_sites(sites, nodes=5).params, written.params, rtol=1e-6)


def test_formulas_over_places() -> None:
    data = datasets.contraception()
    here = data["district"] < 25
    frames = data[here], data[~here]
    fit = laplace.fit_sites(by_formula("use ~ age + np.exp(age / 10) + urban", *frames), nodes=1)
    together = laplace.fit_formula(
        "use ~ age + np.exp(age / 10) + urban", data, "district", nodes=1
    )
    assert distance(together, fit) <= 1e-10
    for term in ("scale(age)", "poly(age, 2)", "bs(age, df=4)", "I(age - age.mean())"):
        with pytest.raises(ValueError, match="would take constants from the rows of each site"):
            laplace.fit_sites(by_formula(f"use ~ {term}", *frames), nodes=1)
        assert laplace.fit_sites(by_formula(f"use ~ {term}", data), nodes=1).converged
    renamed = frames[1].assign(urban=frames[1]["urban"].cat.rename_categories({"N": "rural"}))
    with pytest.raises(
        ValueError, match=r"code a category differently: urban with the levels N, Y"
    ):
        laplace.fit_sites(by_formula("use ~ urban", frames[0], renamed), nodes=1)


def test_predictions_of_new_rows_of_a_formula() -> None:
    data = datasets.contraception()
    here = data["district"] < 25
    formula = "use ~ np.exp(age / 10) + livch * urban"
    sites = by_formula(formula, data[here], data[~here])
    fit = laplace.fit_sites(sites, nodes=1)
    together = laplace.fit_formula(formula, data, "district", nodes=1)
    new = data.iloc[5:400:40].drop(columns=["use", "district"])
    columns = laplace.Site.from_formula(formula, data, "district").data
    by_columns = columns.as_given(columns.X)[5:400:40]
    for kind in ("typical", "marginal", "link"):
        found = fit.predict(new, kind=kind)
        pd.testing.assert_series_equal(found, together.predict(new, kind=kind), rtol=1e-8)
        np.testing.assert_allclose(found, fit.predict(by_columns, kind=kind), rtol=1e-13)
    other = pyarrow.table({name: new[name].to_list() for name in ("age", "livch", "urban")})
    np.testing.assert_array_equal(fit.predict(other), fit.predict(new))
    np.testing.assert_allclose(
        fit.get_prediction(new).se_mean, together.get_prediction(new).se_mean, rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"rows, which are at 2 sites and not here; ask each"):
        fit.predict(data[:3], groups="district")
    with pytest.raises(ValueError, match="livch"):
        fit.predict(new.assign(livch="9"))
    # where the places are far, nothing is known of the formula
    proxies = laplace.fit_sites([_Far(site) for site in sites], nodes=1)
    with pytest.raises(ValueError, match=r"is known at the 2 sites alone: make the columns"):
        proxies.predict(new)
    np.testing.assert_array_equal(proxies.predict(by_columns), fit.predict(by_columns))


class _Far:
    """A place that answers, and of which nothing else is known."""

    def __init__(self, site: laplace.Site) -> None:
        self.answer = site.answer


@pytest.mark.parametrize(
    ("sites", "error", "words"),
    [
        ([], ValueError, "sites must hold at least one site"),
        ("abc", TypeError, "sites must be Sites or a list of sites, got str"),
        ([1, 2], TypeError, "site 1 is of type int; make it by Site.from_arrays"),
    ],
)
def test_what_is_no_site_is_refused(sites: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        laplace.fit_sites(sites, nodes=1)


def test_a_census_of_parts_is_that_of_the_whole() -> None:
    rows = arrays("contraception")
    whole: Census = Sites([laplace.Site.from_arrays(**rows)]).census()
    parts: Census = Sites(at_places(rows, 7)).census()
    for name in ("n", "m", "smallest", "largest", "outcomes", "trials", "single", "mixed_groups"):
        assert getattr(whole, name) == getattr(parts, name)
    np.testing.assert_allclose(whole.gram, parts.gram, rtol=1e-13)
    np.testing.assert_allclose(whole.scale, parts.scale, rtol=1e-13)


def test_a_site_with_constants_of_its_own_rows_is_not_of_the_fit() -> None:
    """Random effects there, by the centre of the site's rows, are not those of the fit."""
    data = small_groups(14, 6, 1.0, 0.4)
    table = pd.DataFrame({"y": data.y, "x": data.X[:, 1], "group": data.groups})
    half = table[table["group"] < 7]
    formula = "y ~ center(x) + (1 | group)"
    fit = laplace.fit_formula(formula, table, nodes=3)
    with pytest.raises(ValueError, match=r"'center\(x\)' of the site takes its values from all"):
        fit.at(laplace.Site.from_formula(formula, half))
    # what was made before, and the site of the fit itself, are taken
    for rows in (table, half):
        rows = rows.assign(x=rows["x"] - table["x"].mean())
        plain = laplace.fit_formula("y ~ x + (1 | group)", rows, nodes=3)
        site = laplace.Site.from_formula("y ~ x + (1 | group)", rows)
        assert plain.at(site).random_effects.equals(plain.random_effects)
    own = laplace.Site.from_formula(formula, half)
    alone = laplace.fit_sites([own], nodes=3)
    assert len(alone.at(own).random_effects) == 7
