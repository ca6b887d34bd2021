"""Bad input: what raises, and in which words. Good input of every kind: the same answer."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest
from designs import many_groups
from scipy.sparse import csr_array

import laplace
from compendium import published

Y, X, GROUPS = many_groups(5)
N = len(Y)
BETA = np.zeros(3)


def changed(values: np.ndarray, place: object, value: object) -> np.ndarray:
    result = np.array(values, dtype=object if isinstance(value, str) else None)
    result[place] = value
    return result


def both(y: object = Y, X: object = X, groups: object = GROUPS, **options: object) -> None:
    """Call `loglik` and `fit`; each must refuse the rows with the same words."""
    messages = []
    for call in (
        lambda: laplace.loglik(y, X, groups, BETA, 1.0, **options),
        lambda: laplace.fit(y, X, groups, **options),
    ):
        try:
            call()
        except (TypeError, ValueError) as error:
            messages.append((type(error), str(error)))
        else:
            raise AssertionError("nothing was raised")
    assert messages[0] == messages[1]
    kind, text = messages[0]
    raise kind(text)


BAD_ROWS = {
    "y of 2": ({"y": changed(Y, 3, 2.0)}, ValueError, r"y must be 0 or 1, got 2 in row 3"),
    "y of -1": ({"y": 2 * Y - 1}, ValueError, r"y must be 0 or 1, got -1 .* more places"),
    "y of 0.5": ({"y": changed(Y, 0, 0.5)}, ValueError, r"got 0\.5 in row 0; recode the outcome"),
    "y NaN": ({"y": changed(Y, 3, np.nan)}, ValueError, r"y holds nan in row 3"),
    "y inf": ({"y": changed(Y, 3, np.inf)}, ValueError, r"y holds inf in row 3"),
    "y text": ({"y": np.where(Y == 1, "yes", "no")}, TypeError, r"y must hold numbers only"),
    "y None": ({"y": None}, TypeError, r"y must hold numbers only, got NoneType"),
    "y matrix": ({"y": np.c_[Y, Y]}, ValueError, r"y must have one dimension, got shape"),
    "y short": ({"y": Y[:-1]}, ValueError, rf"y has length {N - 1}, but there are {N} rows"),
    "y complex": ({"y": Y + 0j}, TypeError, r"y must hold numbers only, got values of type comp"),
    "X NaN": ({"X": changed(X, (4, 2), np.nan)}, ValueError, r"X holds nan in row 4, column 'x2'"),
    "X inf": (
        {"X": changed(X, (4, 1), -np.inf)},
        ValueError,
        r"X holds -inf in row 4, column 'x1'",
    ),
    "X flat": ({"X": X[:, 0]}, ValueError, r"X must have two dimensions.*X\.reshape\(-1, 1\)"),
    "X cube": ({"X": X[None]}, ValueError, r"X must have two dimensions, rows and columns"),
    "X text": ({"X": changed(X, (0, 0), "a")}, TypeError, r"X must hold numbers only"),
    "X frame with text": (
        {"X": pd.DataFrame(X, columns=["a", "b", "c"]).assign(b="low")},
        TypeError,
        r"column 'b' of X must hold numbers only, .*encode text and categories",
    ),
    "X frame with NA": (
        {"X": pd.DataFrame({"a": pd.array([1, None] * N, dtype="Int64")[:N]})},
        ValueError,
        r"X holds nan in row 1, column 'a' \(and in",
    ),
    "X frame, names repeat": (
        {"X": pd.DataFrame(X, columns=["a", "b", "a"])},
        ValueError,
        r"columns of X must have different names, but 'a' repeats",
    ),
    "X without columns": ({"X": np.empty((N, 0))}, ValueError, r"X has no columns"),
    "no rows": (
        {"y": [], "X": np.empty((0, 3)), "groups": []},
        ValueError,
        r"X has no rows: at least one row",
    ),
    "X short": ({"X": X[:-2]}, ValueError, rf"y has length {N}, but there are {N - 2} rows in X"),
    "groups short": ({"groups": GROUPS[1:]}, ValueError, rf"groups has length {N - 1}, but .* {N}"),
    "groups matrix": ({"groups": GROUPS[:, None]}, ValueError, r"groups must have one dimension"),
    "groups scalar": ({"groups": "site"}, TypeError, r"a label a row, got str 'site'"),
    "groups left out": (
        {"groups": None},
        TypeError,
        r"groups must be a list or array, .* NoneType",
    ),
    "groups columns": (
        {"groups": pd.DataFrame({"a": GROUPS, "b": GROUPS})},
        ValueError,
        r"groups must have one dimension, .* give a list of tuples",
    ),
    "groups ragged": ({"groups": [[1], [1, 2]]}, TypeError, r"groups must hold labels, .* tuple"),
    "offset huge": (
        {"offset": np.full(N, -1e200)},
        ValueError,
        r"offset has a largest value of 1e\+200; it must be at most 1e\+151",
    ),
    "groups NaN": (
        {"groups": changed(GROUPS.astype(float), 2, np.nan)},
        ValueError,
        r"groups has no label in row 2; give every row a group",
    ),
    "groups None": (
        {"groups": pd.Series(GROUPS.astype(str)).where(GROUPS > 2, None)},
        ValueError,
        r"groups has no label in row \d+ \(and in \d+ more places\)",
    ),
    "groups category NA": (
        {"groups": pd.Categorical.from_codes(np.where(GROUPS > 10, -1, GROUPS), range(11))},
        ValueError,
        r"groups has no label in row",
    ),
    "offset NaN": ({"offset": changed(Y, 1, np.nan)}, ValueError, r"offset holds nan in row 1"),
    "offset short": ({"offset": Y[1:]}, ValueError, r"offset has length"),
    "offset text": ({"offset": ["a"] * N}, TypeError, r"offset must hold numbers only"),
    "index differs": (
        {"y": pd.Series(Y), "X": pd.DataFrame(X, index=range(1, N + 1))},
        ValueError,
        r"the index of X differs from that of y: align their rows first",
    ),
    "family": (
        {"family": "gamma"},
        ValueError,
        r"family must be one of 'bernoulli', 'binomial', 'poisson', got 'gamma'",
    ),
    "y masked": (
        {"y": np.ma.array(Y, mask=np.arange(N) == 3)},
        ValueError,
        r"y is masked in row 3; remove or impute",
    ),
    "X masked": (
        {"X": np.ma.array(X, mask=(np.arange(N) % 40 == 7)[:, None] * [False, True, False])},
        ValueError,
        r"X is masked in row 7 \(and in",
    ),
    "offset masked": (
        {"offset": np.ma.array(Y, mask=np.arange(N) == 1)},
        ValueError,
        r"offset is masked in row 1",
    ),
    "trials masked": (
        {"family": "binomial", "trials": np.ma.array(Y + 1, mask=np.arange(N) == 2)},
        ValueError,
        r"trials is masked in row 2",
    ),
    "groups masked": (
        {"groups": np.ma.array(GROUPS, mask=np.arange(N) == 2)},
        ValueError,
        r"groups is masked in row 2",
    ),
    "y text like numbers": (
        {"y": [str(int(v)) for v in Y]},
        TypeError,
        r"y must hold numbers only",
    ),
    "y Series of text like numbers": (
        {"y": pd.Series(Y.astype(int).astype(str))},
        TypeError,
        r"y must hold numbers only",
    ),
    "y objects, text like numbers": (
        {"y": np.array([str(int(v)) for v in Y], dtype=object)},
        TypeError,
        r"y must hold numbers only, got values of type object",
    ),
    "y nullable text": (
        {"y": pd.Series(Y.astype(int).astype(str), dtype="string")},
        TypeError,
        r"y must hold numbers only",
    ),
    "offset dates": (
        {"offset": np.array([pd.Timestamp("2026-01-01")] * N, dtype=object)},
        TypeError,
        r"offset must hold numbers only",
    ),
    "y nullable NA": (
        {"y": pd.Series(Y, dtype="Int64").where(np.arange(N) != 2)},
        ValueError,
        r"y holds nan in row 2",
    ),
    "y objects with NA": (
        {"y": np.array([pd.NA, *Y[1:]], dtype=object)},
        ValueError,
        r"y holds nan in row 0",
    ),
    "y beyond floating point": (
        {"y": [10**400] * N, "family": "poisson"},
        ValueError,
        r"y holds a number beyond 1\.8e\+308",
    ),
    "X sparse": ({"X": csr_array(X)}, TypeError, r"^X is a sparse matrix; use X\.toarray\(\)$"),
    "X huge": (
        {"X": X * [1.0, 1e200, 1.0]},
        ValueError,
        r"X has a largest value of \S+e\+200 in column 'x1'; .* use another unit",
    ),
    "X tiny": (
        {"X": X * [1.0, 1e-200, 1.0]},
        ValueError,
        r"X has a largest value of \S+e-200 in column 'x1'",
    ),
    "family is no name": ({"family": 5}, TypeError, r"family must be a name, such as"),
    "families": ({"family": np.array(["a", "b"])}, TypeError, r"family must be a name"),
    "trials": ({"trials": np.ones(N)}, ValueError, r"trials must be left out"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows(case: str) -> None:
    arguments, error, words = BAD_ROWS[case]
    with pytest.raises(error, match=words):
        both(**arguments)


@pytest.mark.parametrize(
    ("tau", "error", "words"),
    [
        (-1.0, ValueError, r"tau must be at least 0, got -1"),
        (np.nan, ValueError, r"tau must be finite, got nan"),
        (np.inf, ValueError, r"tau must be finite, got inf"),
        ("1", TypeError, r"tau must be a number, got '1'"),
        ("big", TypeError, r"tau must be a number, got 'big'"),
        ([1.0, 2.0], TypeError, r"tau must be a number"),
        (True, TypeError, r"tau must be a number, got True"),
        (1e-9, ValueError, r"tau must be 0, or between 1e-08 and 1e\+06, got 1e-09"),
        (1e200, ValueError, r"tau must be 0, or between 1e-08 and 1e\+06, got 1e\+200"),
        (10**400, ValueError, r"tau must be finite, got a number beyond 1\.8e\+308"),
    ],
)
def test_bad_tau(tau: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        laplace.loglik(Y, X, GROUPS, BETA, tau)
    with pytest.raises(error, match=words):
        laplace.fit(Y, X, GROUPS, tau=tau, nodes=1)
    with pytest.raises(error, match=words):
        published.fit(Y, X, GROUPS, tau=tau)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tau", [1e-8, 1e-4, 1e4, 1e6])
def test_the_whole_range_of_tau(tau: float) -> None:
    for family, trials in (("bernoulli", None), ("binomial", 2), ("poisson", None)):
        options = {"family": family, "trials": trials}
        for nodes in (1, 25):
            at = laplace.loglik(Y, X, GROUPS, BETA, tau, nodes=nodes, **options)
            assert np.isfinite(at.value)
            assert np.all(np.isfinite(at.hessian))
        # where tau is beyond all reason, no number of nodes is enough, and the fit says so
        beyond = tau > 1.0
        expected = pytest.warns(laplace.ApproximationWarning) if beyond else nullcontext()
        with expected:
            fit = laplace.fit(Y, X, GROUPS, tau=tau, **options)
        assert fit.converged


def test_minus_zero_is_zero() -> None:
    assert np.signbit(laplace.fit(Y, X, GROUPS, tau=-0.0, nodes=1).tau) == np.False_


@pytest.mark.parametrize(
    ("beta", "error", "words"),
    [
        ([0.0, 1.0], ValueError, r"beta has length 2, but there are 3 columns in X"),
        ([0.0, 1.0, np.nan], ValueError, r"beta holds nan for 'x2'; it must be finite"),
        ([0.0, 1.0, "a"], TypeError, r"beta must hold numbers only"),
        (0.0, ValueError, r"beta must have one dimension"),
    ],
)
def test_bad_beta(beta: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        laplace.loglik(Y, X, GROUPS, beta, 1.0)


def test_a_labelled_beta_goes_by_its_labels() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    beta = pd.Series([0.1, 0.2, 0.3], index=["one", "age", "dose"])
    value = laplace.loglik(Y, frame, GROUPS, beta.to_numpy(), 1.0).value
    shuffled = beta[["dose", "one", "age"]]
    assert laplace.loglik(Y, frame, GROUPS, shuffled, 1.0).value == value
    assert laplace.loglik(Y, frame, GROUPS, beta.reset_index(drop=True), 1.0).value == value
    assert laplace.loglik(Y, X, GROUPS, beta, 1.0).value == value  # an array has no names
    with pytest.raises(ValueError, match=r"beta has the labels 'one', 'age', 'weight', but"):
        laplace.loglik(Y, frame, GROUPS, beta.rename({"dose": "weight"}), 1.0)


@pytest.mark.parametrize("adaptive", ["no", 1, None])
def test_bad_adaptive(adaptive: object) -> None:
    with pytest.raises(TypeError, match="adaptive must be True or False"):
        laplace.loglik(Y, X, GROUPS, BETA, 1.0, adaptive=adaptive)


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (["a", "b"], ValueError, r"names has 2 names, but X has 3 columns"),
        (
            ["a", "b", "b"],
            ValueError,
            r"^names: the columns of X must have different names, but 'b' repeats",
        ),
        ("abc", TypeError, r"names must be a sequence of column names, got the string 'abc'"),
        (5, TypeError, r"names must be a sequence of column names, as a list, got int '5'"),
        ({"a", "b", "c"}, TypeError, r"names must be a sequence of column names, .* got set"),
        (b"abc", TypeError, r"names must be a sequence of column names, .* got bytes"),
        (["a", "tau", "c"], ValueError, r"names: 'tau' is the name of the standard deviation; ren"),
    ],
)
def test_bad_names(names: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        laplace.fit(Y, X, GROUPS, names=names, nodes=1)


# What cannot be estimated ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_outcome(value: float) -> None:
    with pytest.raises(ValueError, match=rf"y is {value:g} in every row: .* no finite maximum"):
        laplace.fit(np.full(N, value), X, GROUPS, nodes=1)


def test_rank_deficient_columns_are_named() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    frame["both"] = 3 * frame["age"] - 0.001 * frame["dose"]
    with pytest.raises(
        ValueError, match=r"rank 3 but 4 columns: 'both' is a linear combination of 'age', 'dose'"
    ):
        laplace.fit(Y, frame, GROUPS, nodes=1)
    with pytest.raises(ValueError, match=r"'empty' is zero in every row; leave out 'empty'"):
        laplace.fit(Y, frame.drop(columns="both").assign(empty=0.0), GROUPS, nodes=1)
    with pytest.raises(ValueError, match=r"'twice' is a linear combination of 'one'"):
        laplace.fit(Y, frame.drop(columns="both").assign(twice=2.0), GROUPS, nodes=1)


def test_more_columns_than_rows() -> None:
    with pytest.raises(ValueError, match=r"X has rank 2 but 3 columns"):
        laplace.fit([0, 1], [[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]], ["a", "b"], nodes=1)


def test_columns_of_very_different_units_are_not_deficient() -> None:
    units = np.array([1e-150, 1.0, 1e150])
    fit = laplace.fit(Y, X * units, GROUPS, tau=1, nodes=1)
    reference = laplace.fit(Y, X, GROUPS, tau=1, nodes=1)
    np.testing.assert_allclose(fit.beta * units, reference.beta, rtol=1e-9)


def test_complete_separation_names_the_direction() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    y = (frame["age"] > 0.2).astype(float)
    with pytest.raises(laplace.SeparationError, match=r"X separates y completely: ") as caught:
        laplace.fit(y, frame, GROUPS, nodes=1)
    text = str(caught.value)
    assert "no finite maximum" in text
    assert "age" in text
    assert caught.value.complete
    margin = (2 * y - 1) * (frame @ caught.value.direction)
    assert np.all(margin > 0)


def test_quasi_complete_separation() -> None:
    frame = pd.DataFrame(X, columns=["one", "age", "dose"])
    frame["rare"] = 0.0
    ones = np.flatnonzero(Y == 1)[:4]
    frame.loc[ones, "rare"] = 1.0
    with pytest.raises(laplace.SeparationError, match=r"X separates y: 1\*rare is never") as caught:
        laplace.fit(Y, frame, GROUPS, nodes=1)
    assert f"not zero in 4 of {N} rows" in str(caught.value)
    assert not caught.value.complete
    assert list(caught.value.direction[caught.value.direction != 0].index) == ["rare"]


def test_separation_is_found_at_any_fixed_tau() -> None:
    for tau in (0.0, 1.0, 50.0):
        with pytest.raises(laplace.SeparationError):
            laplace.fit((X[:, 1] > 0).astype(float), X, GROUPS, tau=tau, nodes=1)


def test_nearly_separated_data_are_fitted() -> None:
    y = (X[:, 1] > 0).astype(float)
    at = int(np.argmax(X[:, 1]))
    y[at] = 0.0
    fit = laplace.fit(y, X, GROUPS, tau=0.5, nodes=1)
    assert fit.converged


def test_one_group_needs_a_tau() -> None:
    with pytest.raises(ValueError, match=r"one group only \('a'\): tau cannot be estimated"):
        laplace.fit(Y, X, ["a"] * N, nodes=1)
    assert laplace.fit(Y, X, ["a"] * N, tau=1, nodes=1).converged


def test_one_row_groups_of_zeros_and_ones_need_a_tau() -> None:
    each = np.arange(N)
    for options in ({}, {"family": "binomial", "trials": 1}):
        with pytest.raises(ValueError, match=r"groups has one row in every group: .* tau=1"):
            laplace.fit(Y, X, each, **options)
        assert laplace.fit(Y, X, each, tau=1, **options).converged
    rng = np.random.default_rng(1)
    u = rng.normal(size=N)
    successes = rng.binomial(10, 1 / (1 + np.exp(-u)))
    assert laplace.fit(successes, X, each, family="binomial", trials=10, nodes=1).tau > 0.5
    assert laplace.fit(rng.poisson(3 * np.exp(u)), X, each, family="poisson", nodes=1).tau > 0.5


def test_separation_beside_a_large_constant() -> None:
    """The columns are nearly combinations of one another, and their separation is still named."""
    shifted = X + np.array([0.0, 1e7, 0.0])
    y = (X[:, 1] > 0.2).astype(float)
    with pytest.raises(laplace.SeparationError, match="X separates y completely") as caught:
        laplace.fit(y, shifted, GROUPS, nodes=1)
    direction = caught.value.direction.to_numpy()
    assert np.all((2 * y - 1) * (shifted @ direction) > 0)


def test_separation_errors_can_be_pickled() -> None:
    with pytest.raises(laplace.SeparationError) as caught:
        laplace.fit((X[:, 1] > 0.2).astype(float), X, GROUPS, nodes=1)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.complete == caught.value.complete
    pd.testing.assert_series_equal(copy.direction, caught.value.direction)


# Labels of any kind ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        GROUPS.tolist(),
        GROUPS.astype(float) / 7,
        np.array([f"ward {i:02d}" for i in GROUPS]),
        pd.Series(GROUPS).map("ward {:02d}".format),
        pd.Categorical(GROUPS, categories=range(20)),
        pd.Categorical([f"{i}" for i in GROUPS], categories=[f"{i}" for i in range(12)]),
        pd.Series(GROUPS, dtype="Int64"),
        pd.Timestamp("2026-01-01") + pd.to_timedelta(GROUPS, unit="D"),
        GROUPS.astype(">i4"),
        pd.Series(GROUPS.astype(">f8")),
        [("ward", int(i)) for i in GROUPS],
        [(int(i),) if i % 2 else (int(i), int(i)) for i in GROUPS],
    ],
    ids=[
        *("list", "float", "array", "series", "categories", "text", "Int64", "dates"),
        *("big-endian", "big-endian series", "tuples", "tuples of any length"),
    ],
)
def test_labels_of_any_kind(labels: object) -> None:
    fit = laplace.fit(Y, X, labels, tau=1, nodes=1)
    base = laplace.fit(Y, X, GROUPS, tau=1, nodes=1)
    assert fit.llf == pytest.approx(base.llf, rel=1e-13)
    assert len(fit.random_effects) == 12
    np.testing.assert_allclose(fit.random_effects["mode"], base.random_effects["mode"], rtol=1e-9)
    some = [0, 7, 20]
    theirs = [labels[i] for i in some] if isinstance(labels, list) else np.asarray(labels)[some]
    own = fit.predict(X[some], theirs)
    np.testing.assert_allclose(own, base.predict().iloc[some], rtol=1e-9)


@pytest.mark.parametrize(
    "labels",
    [
        (20 * GROUPS - 120).astype(np.int8),
        GROUPS.astype(np.int64) + np.iinfo(np.int64).min,
        GROUPS.astype(np.uint64) + np.uint64(2**63),
        np.where(GROUPS < 6, -(2**62), 2**62) + GROUPS,
    ],
    ids=["int8", "lowest", "above int64", "sparse"],
)
def test_whole_numbers_at_the_ends_of_their_types(labels: np.ndarray) -> None:
    """In an order that has to be sorted: there the differences of the numbers are taken."""
    fit = laplace.fit(Y[::-1], X[::-1], labels[::-1], tau=1, nodes=1)
    base = laplace.fit(Y[::-1], X[::-1], GROUPS[::-1], tau=1, nodes=1)
    assert fit.llf == base.llf
    assert fit.random_effects.index.tolist() == np.unique(labels).tolist()


def test_categories_keep_their_order() -> None:
    labels = pd.Categorical(GROUPS, categories=range(20)[::-1])
    for rows in (slice(None), slice(None, None, -1)):
        fit = laplace.fit(Y[rows], X[rows], labels[rows], tau=1, nodes=1)
        assert fit.random_effects.index.tolist() == list(range(12))[::-1]


def test_labels_that_do_not_sort_together() -> None:
    labels = [int(i) if i % 2 else f"ward {i}" for i in GROUPS]
    fit = laplace.fit(Y, X, labels, tau=1, nodes=1)
    assert fit.llf == pytest.approx(laplace.fit(Y, X, GROUPS, tau=1, nodes=1).llf, rel=1e-13)
    assert set(fit.random_effects.index) == set(labels)


@pytest.mark.parametrize("kind", ["f2", ">f2", "list"])
def test_labels_of_float16_are_those_of_float64(kind: str) -> None:
    y, X, g = many_groups(20)
    X, codes = X[:, :2], pd.factorize(g)[0]
    labels: Any = list(codes.astype("f2")) if kind == "list" else codes.astype(kind)
    half = laplace.fit(y, X, labels, tau=1, nodes=1)
    full = laplace.fit(y, X, codes.astype(float), tau=1, nodes=1)
    pd.testing.assert_frame_equal(half.random_effects, full.random_effects)
    pd.testing.assert_series_equal(
        half.predict(X[:2], groups=np.array([0, 1], "f2")), full.predict(X[:2], groups=[0.0, 1.0])
    )
    frame = pd.DataFrame({"y": y, "x": X[:, -1], "w": codes.astype("f2")})
    whole = frame.assign(w=codes)
    np.testing.assert_array_equal(
        laplace.fit_formula("y ~ x + (1 | w)", frame, tau=1, nodes=1).params,
        laplace.fit_formula("y ~ x + (1 | w)", whole, tau=1, nodes=1).params,
    )
    np.testing.assert_array_equal(
        laplace.fit_formula("y ~ x", whole, codes.astype("f2"), tau=1, nodes=1).params,
        laplace.fit_formula("y ~ x", whole, codes, tau=1, nodes=1).params,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: [v], r"the list \[0\]"),
        (lambda v: {1: v}, r"the dict \{1: 0\}"),
        (lambda v: {v}, r"the set \{0\}"),
        (lambda v: (1, ("a", [v])), r"the list \[0\]"),
    ],
    ids=["list", "dict", "set", "tuple"],
)
def test_labels_that_can_change_are_refused(change: Any, said: str) -> None:
    rng = np.random.default_rng(0)
    rows = [f"r{k}" for k in range(40)]
    data = pd.DataFrame({"x": rng.normal(size=40), "y": rng.integers(0, 2, 40)}, index=rows)
    labels = pd.Series(["a"] * 4 + [change(k // 4) for k in range(36)], index=rows, dtype=object)
    X = np.column_stack([np.ones(40), data.x])
    words = rf"must hold labels that do not change.*, got {said} in row "
    with pytest.raises(TypeError, match=rf"^groups {words}4 \(and in 35 more.*by str, or a tuple$"):
        laplace.fit(data.y.to_numpy(), X, labels.to_numpy())
    with pytest.raises(TypeError, match=rf"^groups \(column 'w'\) {words}'r4'"):
        laplace.fit_formula("y ~ x + (1 | w)", data.assign(w=labels))
    with pytest.raises(TypeError, match=rf"^groups {words}'r4'"):
        laplace.fit_formula("y ~ x + (1 | w:x)", data.assign(w=labels))
    fit = laplace.fit(data.y.to_numpy(), X, np.arange(40) // 4, tau=1, nodes=1)
    with pytest.raises(TypeError, match=rf"^groups {words}1"):
        fit.predict(X[:2], groups=labels.to_numpy()[3:5])


def test_booleans_and_integers_are_outcomes() -> None:
    base = laplace.loglik(Y, X, GROUPS, BETA, 1.0).value
    for y in (Y.astype(bool), Y.astype(int), Y.tolist(), pd.Series(Y, dtype="Int64")):
        assert laplace.loglik(y, X, GROUPS, BETA, 1.0).value == base


def test_arguments_are_left_as_they_were() -> None:
    before = Y.copy(), X.copy(), GROUPS.copy()
    laplace.fit(Y, X, GROUPS, nodes=1)
    for was, now in zip(before, (Y, X, GROUPS), strict=True):
        np.testing.assert_array_equal(was, now)
