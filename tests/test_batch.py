"""Many fits in one call: what `fit` finds, whatever else is in the call."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace
from laplace import batch, matrices, parallel
from laplace.contribution import Stacked
from laplace.many import intake
from laplace.many.convoy import Convoy
from laplace.many.lockstep import GIVEN_UP, MAXIMUM, TOO_LONG, maximise_each, newton_steps
from laplace.many.stack import Stack
from laplace.newton import maximise, newton_step
from laplace.site import Site
from laplace.sites import Sites
from tests import hard_designs
from tests.designs import many_groups

DESIGNS = [
    laplace.simulate.random_intercepts([12] * 15, [-0.3, 0.6], 1.0, seed=seed) for seed in range(4)
]
SEPARATED = (np.repeat([0.0, 1.0], 10), np.repeat([[-1.0], [1.0]], 10, axis=0), np.arange(20) % 4)
KINDS: list[Callable[[np.random.Generator], dict[str, Any]]] = [
    hard_designs.rare,
    hard_designs.two_sites,
    hard_designs.ten_sites,
    hard_designs.singletons,
    hard_designs.agreeing,
    hard_designs.counts,
    hard_designs.nearly_separated,
    hard_designs.fixed,
    hard_designs.few_mixed,
    hard_designs.large_counts,
    hard_designs.unequal,
]


def _regular(seed: int) -> Iterator[dict[str, Any]]:
    """Yield designs on the usual road, of several shapes and families."""
    r = np.random.default_rng([14, seed])
    for m, n, p in ((2, 200, 4), (30, 12, 3), (25, 60, 2), (2, 40, 2)):
        data = laplace.simulate.random_intercepts(
            [n] * m, r.normal(size=p) / 2, float(r.choice([0.0, 0.5, 1.0])), seed=r
        )
        rows = {"y": data.y, "X": data.X, "groups": data.groups}
        yield rows
        yield {**rows, "offset": r.normal(size=m * n)}
        trials = r.integers(1, 5, m * n)
        yield {**rows, "y": r.binomial(trials, 0.3), "trials": trials, "family": "binomial"}
        yield {**rows, "y": r.poisson(np.exp(0.5 * data.y)), "family": "poisson"}
        yield {**rows, "tau": float(r.choice([0.0, 0.3, 1.0]))}


def _shuffled_types(seed: int) -> Iterator[dict[str, Any]]:
    """Yield one design in several types and orders of the rows."""
    y, X, groups = many_groups(seed)
    yield {"y": y, "X": X, "groups": groups}
    yield {"y": y.astype(bool), "X": pd.DataFrame(X, columns=["a", "b", "c"]), "groups": groups}
    order = np.argsort(groups, kind="stable")
    y, X, groups = y[order], X[order], groups[order]
    yield {"y": y.astype(int), "X": X, "groups": groups.astype(np.int16)}
    yield {"y": y, "X": X.astype(np.float32), "groups": groups.astype(str)}
    yield {"y": y, "X": np.asfortranarray(X), "groups": groups, "names": ["one", "two", "three"]}
    yield {"y": y, "X": X[::-1], "groups": groups[::-1], "weights_of_none": None}


def _refused() -> list[Any]:
    """Return designs that `fit` refuses, each in its own way."""
    y, X, groups = DESIGNS[0]
    bad = y.copy()
    bad[3] = 2.0
    missing = X.copy()
    missing[5, 1] = np.nan
    return [
        SEPARATED,
        (bad, X, groups),
        (y, missing, groups),
        (y, np.column_stack([X, X[:, 1]]), groups),
        (y[:-1], X, groups),
        (np.zeros(len(y)), X, groups),
        (y, X, np.zeros(len(y), int)),
        (y, X, np.arange(len(y))),
        {"y": y, "X": X, "groups": groups, "names": ["one", "tau"]},
        {"y": y, "X": X, "groups": groups, "names": ["one", "one"]},
        {"y": y, "X": X, "groups": groups, "nodes": 0},
        {"y": y, "X": X, "groups": groups, "nodes": "many"},
        {"y": y, "X": X, "groups": groups, "tau": "much"},
        {"y": y, "X": X, "groups": groups, "family": "gaussian"},
        {"y": y, "X": X, "groups": groups, "nonsense": 1},
        {"y": y, "X": X, "groups": groups, "penalty": "soft", "strength": 2},
        {"y": ["a"] * len(y), "X": X, "groups": groups},
        {"y": y, "X": X},
        (y, X),
        7,
        None,
        "ab",
    ]


def _alone(design: Any, options: dict[str, Any]) -> laplace.Fit | Exception:
    """Return what a loop over `fit` has."""
    try:
        arguments = batch._read(design, options)
        if isinstance(arguments, TypeError):
            return arguments
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return laplace.fit(**arguments, **options)
    except (TypeError, ValueError, ArithmeticError) as error:
        return error


def assert_same(found: laplace.Fit | Exception, alone: laplace.Fit | Exception) -> None:
    """Compare two fits, or refusals; estimates to 1e-9 standard errors."""
    if isinstance(alone, Exception):
        assert type(found) is type(alone)
        assert str(found) == str(alone)
        return
    assert isinstance(found, laplace.Fit), found
    for name in ("converged", "boundary", "nodes", "message", "stages", "nobs", "tau_is_free"):
        assert getattr(found, name) == getattr(alone, name), name
    assert list(found.params.index) == list(alone.params.index)
    assert found.doubt() == alone.doubt()
    assert len(found.other_maxima) == len(alone.other_maxima)
    if not alone.converged:
        return
    unit = alone.bse.fillna(1.0)
    assert np.all(np.abs(found.params - alone.params) <= 1e-9 * unit)
    # standard errors are worth as many digits as the information has
    np.testing.assert_allclose(found.bse, alone.bse, rtol=1e-8)
    # the log-likelihood of large counts has no more digits
    size = 1.0 + abs(alone.llf) + alone._census.size_of_terms
    assert abs(found.llf - alone.llf) <= 1e-12 * size
    # what a verdict predicts to be far away is uncertain
    close = np.abs(found.verdict.shift - alone.verdict.shift)
    assert np.all(np.isnan(close) | (close <= 1e-8 * (1.0 + np.abs(alone.verdict.shift))))


@cache
def _bag(seed: int) -> list[Any]:
    """Return designs of all kinds, in no order."""
    hard = [dict(kind(np.random.default_rng([14, seed]))) for kind in KINDS]
    bag = [*_regular(seed), *_shuffled_types(seed), *hard, *DESIGNS, *_refused()]
    random.Random(seed).shuffle(bag)
    return bag


@pytest.mark.parametrize("nodes", [1, 5, 30, "auto", 120])
def test_a_mixed_bag_is_fitted_as_in_a_loop(nodes: int | str) -> None:
    bag = [design for design in _bag(0) if not (isinstance(design, dict) and "nodes" in design)]
    found = laplace.fit_many(bag, errors="return", nodes=nodes)
    assert len(found) == len(bag)
    for design, one in zip(bag, found, strict=True):
        assert_same(one, _alone(design, {"nodes": nodes}))


@pytest.mark.parametrize("seed", [1, 2])
def test_another_mixed_bag(seed: int) -> None:
    bag = _bag(seed)
    for design, one in zip(bag, laplace.fit_many(bag, errors="return"), strict=True):
        assert_same(one, _alone(design, {}))


@pytest.mark.parametrize("tau", [0.0, 0.8])
def test_options_for_all(tau: float) -> None:
    bag = [design for design in _bag(3) if not (isinstance(design, dict) and "nodes" in design)]
    options: dict[str, Any] = {"tau": tau, "nodes": 1}
    for design, one in zip(bag, laplace.fit_many(bag, errors="return", **options), strict=True):
        assert_same(one, _alone(design, options))


def test_a_penalty_goes_through_fit() -> None:
    bag = [*DESIGNS, SEPARATED]
    found = laplace.fit_many(bag, penalty="soft", nodes=1)
    for design, one in zip(bag, found, strict=True):
        assert_same(one, _alone(design, {"penalty": "soft", "nodes": 1}))


def _bits(fit: laplace.Fit | Exception) -> bytes | str:
    if isinstance(fit, Exception):
        return str(fit)
    numbers = [fit.params, fit.bse, [fit.llf], fit.verdict.shift, fit.gradient, fit.hessian.ravel()]
    return np.concatenate([np.asarray(part, dtype=float) for part in numbers]).tobytes()


def test_a_result_does_not_depend_on_its_companions() -> None:
    bag = [*_regular(5), *DESIGNS, SEPARATED, *_shuffled_types(5)]
    together = [_bits(fit) for fit in laplace.fit_many(bag, errors="return", nodes=1)]
    assert [
        _bits(fit) for fit in laplace.fit_many(bag[::-1], errors="return", nodes=1)
    ] == together[::-1]
    for k, design in enumerate(bag):
        assert _bits(laplace.fit_many([design], errors="return", nodes=1)[0]) == together[k]
    twice = laplace.fit_many([bag[0], bag[1], bag[0]], nodes=1)
    assert [_bits(fit) for fit in twice] == [together[0], together[1], together[0]]


def test_the_same_bits_for_any_number_of_workers(monkeypatch) -> None:
    bag = [*_regular(6), *DESIGNS, SEPARATED]
    once = [_bits(fit) for fit in laplace.fit_many(bag, errors="return")]
    monkeypatch.setattr(batch, "MOST_DESIGNS_OF_A_PROCESS", 7)
    assert [_bits(fit) for fit in laplace.fit_many(bag, errors="return", workers=2)] == once


def test_large_data_sets_stay_in_this_process(monkeypatch) -> None:
    """Threads share them: rows that travel to other processes take longer than their fits."""
    large = [
        laplace.simulate.random_intercepts([500] * 2, [-0.5] * 10, 1.0, seed=s) for s in (1, 2)
    ]
    once = [_bits(fit) for fit in laplace.fit_many(large, nodes=1)]
    monkeypatch.setitem(sys.modules, "joblib", None)  # without it, no process can be started
    assert [_bits(fit) for fit in laplace.fit_many(large, nodes=1, workers=2)] == once
    with pytest.raises(ImportError, match="workers=2 needs joblib"):
        laplace.fit_many(DESIGNS, nodes=1, workers=2)


def test_the_same_bits_for_any_number_of_parts_and_threads(monkeypatch) -> None:
    bag = [*_regular(6), *DESIGNS, SEPARATED]
    once = [_bits(fit) for fit in laplace.fit_many(bag, errors="return")]
    monkeypatch.setattr(batch, "MOST_DESIGNS", 5)
    assert [_bits(fit) for fit in laplace.fit_many(bag, errors="return")] == once
    # as where the data sets are large: several parts at a time, on threads
    monkeypatch.setattr(parallel, "LARGE", 0)
    monkeypatch.setattr(parallel, "threads", lambda: 3)
    assert [_bits(fit) for fit in laplace.fit_many(iter(bag), errors="return")] == once


def test_most_designs_stay_in_the_convoy(monkeypatch) -> None:
    """Those that leave are fitted twice, in part; more than a few would be a loss."""
    left = []
    monkeypatch.setattr(
        batch, "fit_alone", lambda design, options: left.append(design) or ValueError("left")
    )
    beta = np.append(-0.5, np.full(9, 0.3))
    small = [laplace.simulate.random_intercepts([30] * 2, beta, 1.0, seed=s) for s in range(200)]
    large = [laplace.simulate.random_intercepts([500] * 2, beta, 1.0, seed=s) for s in range(50)]
    laplace.fit_many(large, nodes=1, errors="return")
    assert not left
    laplace.fit_many(small, nodes=1, errors="return")
    assert len(left) <= 0.05 * len(small)


def test_what_a_fit_is_used_for_works_as_ever() -> None:
    (fit,) = laplace.fit_many([DESIGNS[1]], nodes=1)
    alone = laplace.fit(*DESIGNS[1], nodes=1)
    profile = {"method": "profile"}
    np.testing.assert_allclose(fit.conf_int(**profile), alone.conf_int(**profile), rtol=1e-8)
    np.testing.assert_allclose(fit.random_effects, alone.random_effects, rtol=1e-9)
    np.testing.assert_allclose(fit.predict(), alone.predict(), rtol=1e-9)
    assert fit.test_tau().describe() == alone.test_tau().describe()
    assert (
        fit.summary().overview.drop("Converged").equals(alone.summary().overview.drop("Converged"))
    )
    assert fit.evaluations == alone.evaluations
    assert fit.rounds == fit.evaluations + 1
    assert len(fit.history) == fit.iterations + 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_fits_in_the_same_order(workers: int) -> None:
    fits = laplace.fit_many(iter(DESIGNS), workers=workers, nodes=3)
    for design, fit in zip(DESIGNS, fits, strict=True):
        assert_same(fit, laplace.fit(*design, nodes=3))


def test_designs_may_have_arguments_of_their_own() -> None:
    y, X, groups = DESIGNS[0]
    (fit,) = laplace.fit_many(
        [{"y": y, "X": X, "groups": groups, "names": ["one", "x"]}], tau=0.5, nodes=1
    )
    assert list(fit.params.index) == ["one", "x"]
    assert fit.tau == 0.5


def test_refused_data_are_raised_or_returned() -> None:
    designs = [DESIGNS[0], SEPARATED]
    with pytest.raises(laplace.SeparationError, match="X separates y completely"):
        laplace.fit_many(designs, tau=1, nodes=1)
    fit, error = laplace.fit_many(designs, tau=1, errors="return", nodes=1)
    assert fit.converged
    assert isinstance(error, laplace.SeparationError)


def test_the_first_refusal_is_raised_wherever_it_is_noticed() -> None:
    y, X, groups = DESIGNS[0]
    later = (y[:-1], X, groups)  # which is noticed before any search
    with pytest.raises(laplace.SeparationError):
        laplace.fit_many([DESIGNS[0], SEPARATED, later], nodes=1)
    with pytest.raises(ValueError, match="y has length"):
        laplace.fit_many([DESIGNS[0], later, SEPARATED], nodes=1)


def test_an_error_of_the_designs_themselves_is_theirs() -> None:
    def designs() -> Iterator[Any]:
        yield DESIGNS[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        laplace.fit_many(designs(), nodes=1, errors="return")


def test_parts_on_threads_end_with_the_first_refusal(monkeypatch) -> None:
    monkeypatch.setattr(batch, "MOST_DESIGNS", 2)
    monkeypatch.setattr(parallel, "LARGE", 0)
    monkeypatch.setattr(parallel, "threads", lambda: 2)
    read = []

    def designs() -> Iterator[Any]:
        for k in range(100):
            read.append(k)
            yield SEPARATED if k == 5 else DESIGNS[k % 4]

    with pytest.raises(laplace.SeparationError):
        laplace.fit_many(designs(), nodes=1)
    assert len(read) < 20  # no part is begun long before it is needed


def test_no_designs() -> None:
    assert laplace.fit_many([]) == []
    assert laplace.fit_many(iter(()), workers=2) == []


def test_no_warning_of_what_the_fit_says(recwarn: pytest.WarningsRecorder) -> None:
    groups = np.repeat(np.arange(10), 4)
    (fit,) = laplace.fit_many([((groups % 2) * 1.0, np.ones((40, 1)), groups)], nodes=1)
    assert not fit.converged
    assert not recwarn.list


def test_bad_designs() -> None:
    with pytest.raises(ValueError, match=r"errors must be 'raise' or 'return', got 'ignore'"):
        laplace.fit_many(DESIGNS, errors="ignore", nodes=1)
    with pytest.raises(TypeError, match=r"designs must hold \(y, X, groups\) .* got int"):
        laplace.fit_many([1], nodes=1)
    with pytest.raises(TypeError, match="got ndarray"):
        laplace.fit_many([DESIGNS[0].X], nodes=1)
    with pytest.raises(TypeError, match="designs must be a list of designs, got NoneType"):
        laplace.fit_many(None, nodes=1)
    with pytest.raises(TypeError, match="progress must be True or False, got 'yes'"):
        laplace.fit_many(DESIGNS, progress="yes")
    with pytest.raises(ValueError, match="workers must be a number of processes, or -1, got 0"):
        laplace.fit_many(DESIGNS, workers=0, nodes=1)
    for workers in ("2", 1.5, True):
        with pytest.raises(TypeError, match="workers must be a whole number, a number of proc"):
            laplace.fit_many(DESIGNS, workers=workers, nodes=1)
    assert len(laplace.fit_many(DESIGNS, workers=np.int64(1), nodes=1)) == len(DESIGNS)


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        ("joblib", {"workers": 2}, "workers=2 needs joblib, which is not installed"),
        ("tqdm.auto", {"progress": True}, "progress=True needs tqdm, which is not installed"),
    ],
)
def test_what_is_not_installed_is_refused_in_words(
    monkeypatch, module: str, options: dict[str, Any], words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=words):
        laplace.fit_many(DESIGNS, nodes=1, **options)


def test_progress_is_shown_where_it_is_wanted(capsys) -> None:
    laplace.fit_many(DESIGNS, nodes=1)
    assert capsys.readouterr().err == ""
    laplace.fit_many(DESIGNS, nodes=1, progress=True)
    assert "4/4" in capsys.readouterr().err


# the rooms below ----------------------------------------------------------------------------------


def test_what_is_taken_in_together_is_as_checked_one_by_one() -> None:
    r = np.random.default_rng(3)
    rows = []
    for n, m in ((40, 5), (7, 7), (300, 2), (40, 5)):
        groups = np.sort(r.integers(-2, m - 2, n)).astype(r.choice(["int64", "int8", "uint16"]))
        y = r.integers(0, 2, n).astype(r.choice(["float64", "bool", "int32"]))
        rows.append({"y": y, "X": r.normal(size=(n, 3)), "groups": groups})
    rows[1]["names"] = ["a", "b", "c"]
    assert all(intake.is_plain(of) for of in rows)
    taken = intake.take_in(rows)
    for of, site, census in zip(rows, taken.sites, taken.censuses, strict=True):
        if np.any(np.diff(of["groups"].astype(int)) < 0):  # what was negative is not, unsigned
            assert site is None
            continue
        alone = Site.from_arrays(**of)
        for name, value in vars(alone.census()).items():
            mine = getattr(census, name)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(mine, value, err_msg=name)
            else:
                assert mine == value, name
        for name in ("y", "X", "offset", "codes", "order"):
            theirs = getattr(alone.data, name)
            np.testing.assert_array_equal(getattr(site.data, name), theirs)
            assert getattr(site.data, name).dtype == theirs.dtype
        assert site.data.labels.equals(alone.data.labels)
        assert site.data.labels.dtype == alone.data.labels.dtype
        assert site.data.names == alone.data.names
        assert not site.data.X.flags.writeable
        assert of["X"].flags.writeable


def test_only_what_is_plain_and_right_is_taken_in() -> None:
    y, X, groups = DESIGNS[0]
    plain = {"y": y, "X": X, "groups": groups}
    assert intake.is_plain(plain)
    other = [
        {"family": "poisson"},
        {"trials": 1},
        {"offset": y},
        {"X": X.astype(np.float32)},
        {"X": np.asfortranarray(X)},
        {"X": X[:, :0]},
        {"X": pd.DataFrame(X)},
        {"y": list(y)},
        {"y": y[:-1]},
        {"y": y.astype(">f8").astype(object)},
        {"groups": groups.astype(float)},
        {"groups": groups.astype(str)},
        {"groups": groups.astype(np.uint64)},
    ]
    for change in other:
        assert not intake.is_plain({**plain, **change}), change
    wrong = [
        {"y": np.where(np.arange(len(y)) == 3, 2.0, y)},
        {"y": np.where(np.arange(len(y)) == 3, np.nan, y)},
        {"X": np.where(np.arange(len(y))[:, None] == 3, np.inf, X)},
        {"X": X * [1.0, 0.0]},
        {"X": X * [1.0, 1e-160]},
        {"groups": groups[::-1].copy()},
    ]
    taken = intake.take_in([plain, *({**plain, **change} for change in wrong)])
    assert [site is None for site in taken.sites] == [False] + [True] * len(wrong)


def test_newton_for_many_takes_the_steps_of_newton_for_one() -> None:
    """Of each log-likelihood, from several starts, one of them far away."""
    data = [laplace.GroupedData.from_arrays(*design) for design in DESIGNS]
    stack, alone = Stack.of(data), [laplace.likelihood.Likelihood(one) for one in data]
    starts = np.array([[0.0, 0.0, 0.0], [3.0, -3.0, -2.0], [0.1, 0.1, 1.0], [-9.0, 9.0, 3.0]])
    most = np.array([np.inf, np.inf, 1.5])

    def evaluate(which: Any, theta: Any) -> Any:
        return stack.at(which, theta[:, :-1], np.exp(theta[:, -1]), 1)

    ends = maximise_each(evaluate, starts, max_step=most)
    for k, start in enumerate(starts):
        one = maximise(alone[k], start, max_step=most)
        assert (ends.ending[k] == MAXIMUM) == one.converged
        np.testing.assert_allclose(ends.theta[k], one.theta, rtol=1e-10)
        mine, theirs = ends.history(k), one.history
        # at the last steps the decrement is rounding
        for a, b in zip(mine, theirs[: len(mine)], strict=False):
            assert a.value == pytest.approx(b.value, rel=1e-11)
    short = maximise_each(evaluate, starts, max_step=most, max_iterations=1)
    assert set(short.ending) == {TOO_LONG}

    def broken(which: Any, theta: Any) -> Any:
        found = evaluate(which, theta)
        found.gradients[which == 2] = np.nan
        return found

    given_up = maximise_each(broken, starts, max_step=most)
    assert list(given_up.ending == GIVEN_UP) == [False, False, True, False]
    np.testing.assert_array_equal(given_up.theta[[0, 1, 3]], ends.theta[[0, 1, 3]])


def test_matrices_are_treated_as_if_each_were_alone() -> None:
    r = np.random.default_rng(2)
    good = r.normal(size=(5, 3, 3))
    good = good @ good.transpose(0, 2, 1)
    bad = good.copy()
    bad[1], bad[4] = -np.eye(3), 0.0
    right = r.normal(size=(5, 3))
    lower, found = matrices.factors(bad), matrices.solved(bad, right)
    for k in (0, 2, 3):
        np.testing.assert_array_equal(lower[k], np.linalg.cholesky(good[k]))
        np.testing.assert_array_equal(found[k], np.linalg.solve(good[k], right[k]))
        product = matrices.times(good[k : k + 1], right[k : k + 1])[0]
        np.testing.assert_array_equal(matrices.times(good, right)[k], product)
        assert matrices.dot(right, right)[k] == pytest.approx(right[k] @ right[k], rel=1e-15)
    assert not lower[1].any()
    assert not lower[4].any()
    np.testing.assert_array_equal(found[1], -right[1])
    assert np.isnan(found[4]).all()
    assert matrices.bordered(good)[2].tolist()[3] == [0.0, 0.0, 0.0, 1.0]
    np.testing.assert_array_equal(matrices.bordered(good)[2][:3, :3], good[2])


def test_steps_are_those_of_newton_also_where_there_is_no_maximum() -> None:
    r = np.random.default_rng(9)
    hessians = r.normal(size=(40, 4, 4))
    hessians = -hessians @ hessians.transpose(0, 2, 1) * 10.0 ** r.uniform(-4, 4, (40, 1, 1))
    hessians[::3] += 20.0 * np.diag([0, 0, 0, 1.0])  # which curves upward
    hessians[1::7, 3, :] = hessians[1::7, :, 3] = 0.0  # flat
    hessians[5] = np.nan
    hessians[8] = 0.0
    gradients = r.normal(size=(40, 4))
    steps, concave = newton_steps(Stacked(np.zeros(40), gradients, hessians))
    kinds = set()
    for k in range(40):
        step, is_concave = newton_step(laplace.Contribution(0.0, gradients[k], hessians[k]))
        assert concave[k] == is_concave
        np.testing.assert_allclose(steps[k], step, rtol=1e-7)
        kinds.add((is_concave, bool(np.isnan(step).any())))
    assert kinds == {(True, False), (False, False), (False, True)}


def test_a_stack_has_what_each_likelihood_has() -> None:
    """To the bits, for data sets of one block and of several, and of all families."""
    r = np.random.default_rng(4)
    sizes = [(50, 4), (5000, 40), (9000, 2), (60, 60)]
    data = []
    for k, (n, m) in enumerate(sizes):
        groups = np.append(np.arange(m), r.integers(0, m, n - m))
        family = ["bernoulli", "poisson", "bernoulli", "binomial"][k]
        data.append(
            laplace.GroupedData.from_arrays(
                r.integers(0, 2, n), r.normal(size=(n, 3)), groups, family=family,
                trials=3 if family == "binomial" else None,
                offset=r.normal(size=n) if k % 2 else None,
            )
        )  # fmt: skip
    stack, which = Stack.of(data), np.array([3, 1, 0, 2, 1])
    betas, taus = r.normal(size=(5, 3)) / 3, np.array([0.5, 1.0, 2.0, 0.1, 0.7])
    for nodes in (1, 5):
        found = stack.at(which, betas, taus, nodes)
        for i, k in enumerate(which):
            alone = laplace.likelihood.Likelihood(data[k], nodes).at(betas[i], taus[i])
            assert found.values[i] == alone.value
            np.testing.assert_array_equal(found.gradients[i], alone.gradient)
            np.testing.assert_array_equal(found.hessians[i], alone.hessian)
    found = stack.take(which).without(np.arange(5), betas)
    for i, k in enumerate(which):
        alone = laplace.likelihood.without_random_intercepts(data[k], betas[i])
        assert found.values[i] == alone.value
        np.testing.assert_array_equal(found.hessians[i], alone.hessian[:-1, :-1])
        spread = [alone.slope, alone.squares, alone.least, alone.most]
        np.testing.assert_array_equal(found.spread[i], spread)
    np.testing.assert_array_equal(stack.take(which).columns()[1][2], data[0].columns.sums)


def test_a_mode_that_is_lost_is_no_value() -> None:
    data = laplace.GroupedData.from_arrays(*DESIGNS[0])
    stack = Stack.of([data, data])
    betas = np.array([[0.0, 0.0], [np.nan, 0.0]])
    found = stack.at(np.arange(2), betas, np.ones(2), 1)
    assert np.isfinite(found.values[0])
    assert found.values[1] == np.inf
    assert np.isnan(found.gradients[1]).all()

    def evaluate(which: Any, theta: Any) -> Any:
        there = stack.at(which, theta[:, :-1], np.exp(theta[:, -1]), 1)
        there.values[(which == 1) & (theta[:, -1] != 0.0)] = np.inf
        return there

    ends = maximise_each(evaluate, np.zeros((2, 3)))
    assert list(ends.ending) == [MAXIMUM, GIVEN_UP]


def test_the_convoy_says_which_have_left() -> None:
    groups = np.repeat(np.arange(6), 5)
    wild = ((groups >= 3) * 1.0, np.column_stack([np.ones(30), np.tile(np.arange(5), 6)]), groups)
    problems, sites = [], []
    for design in (DESIGNS[0], wild):
        site = Site.from_arrays(*design)
        place = Sites([site])
        problems.append(laplace.objective.problem_of(place, place.census(), None, None, None))
        sites.append(site.data)
    assert [laplace.many.convoy.may_join(problem) for problem in problems] == [True, False]
    fine, left = Convoy(problems, Stack.of(sites)).run((1,))
    assert fine is not None
    assert left is None
