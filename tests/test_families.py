"""The cumulant functions and their derivatives, against mpmath with enough digits."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

from laplace.families import (
    BERNOULLI,
    NAMES,
    POISSON,
    Binomial,
    Family,
    and_more,
    named,
)
from laplace.later import expit, logit

ETA = [-800.0, -700.0, -40.0, -3.0, -0.1, 0.0, 0.7, 5.0, 40.0, 700.0, 800.0]
LOG_ETA = [-800.0, -700.0, -40.0, -3.0, -0.1, 0.0, 0.7, 5.0, 40.0, 200.0, POISSON.largest_eta]
ORDERS = ["b", "b_1", "b_2", "b_3", "b_4"]
TRIALS = [1.0, 2.0, 7.0, 1000.0]
COUNTS = [0.0, 1.0, 3.0, 170.0, 10_000.0]
EPS = np.finfo(float).eps


def precise(order: int, eta: float) -> Any:
    """Return derivatives of log(1 + e^eta), written in pi at 400 digits, enough for eta = 800."""
    with mpmath.workdps(400):
        e = mpmath.exp(mpmath.mpf(eta))
        pi = e / (1 + e)
        v = 1 / (2 + e + 1 / e)
        forms = [mpmath.log1p(e), pi, v, v * (1 - 2 * pi), v * (1 - 6 * v)]
        return forms[order]


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("eta", ETA)
def test_derivatives_are_precise(order: int, eta: float) -> None:
    truth = precise(order, eta)
    value = float(getattr(BERNOULLI, ORDERS[order])(np.array(eta)))
    assert value == pytest.approx(float(truth), rel=1e-14, abs=1e-320)
    with mpmath.workdps(400):
        truths = [float(int(n) * truth) for n in TRIALS]
    values = getattr(Binomial(np.array(TRIALS)), ORDERS[order])(np.full(len(TRIALS), eta))
    # below the smallest normal number a double has few digits, and n times it has no more
    np.testing.assert_allclose(values, truths, rtol=1e-14, atol=1e-320 * max(TRIALS))


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("eta", LOG_ETA)
def test_derivatives_of_poisson_are_precise(order: int, eta: float) -> None:
    with mpmath.workdps(50):
        truth = float(mpmath.exp(mpmath.mpf(eta)))
    value = float(getattr(POISSON, ORDERS[order])(np.array(eta)))
    assert value == pytest.approx(truth, rel=1e-14, abs=1e-320)


CUMULANTS: dict[str, tuple[Family, Any]] = {
    "bernoulli": (BERNOULLI, lambda e: mpmath.log1p(mpmath.exp(e))),
    "binomial": (Binomial(np.array(7.0)), lambda e: 7 * mpmath.log1p(mpmath.exp(e))),
    "poisson": (POISSON, mpmath.exp),
}


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_each_is_the_derivative_of_the_one_below(name: str, order: int) -> None:
    family, b = CUMULANTS[name]
    for eta in [-3.0, -0.4, 0.0, 1.3, 6.0]:
        with mpmath.workdps(50):
            slope = mpmath.diff(b, eta, order + 1)
        value = float(getattr(family, ORDERS[order + 1])(np.array(eta)))
        assert value == pytest.approx(float(slope), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("eta", ETA)
def test_log_density_and_residual_are_precise(eta: float) -> None:
    for y in (0.0, 1.0):
        with mpmath.workdps(400):
            pi = mpmath.exp(mpmath.mpf(eta)) / (1 + mpmath.exp(mpmath.mpf(eta)))
            log_density = float(mpmath.log(pi if y else 1 - pi))
            residual = float(y - pi)
        at = np.array(y), np.array(eta)
        assert float(BERNOULLI.log_density(*at)) == pytest.approx(log_density, rel=1e-14, abs=0)
        assert float(BERNOULLI.residual(*at)) == pytest.approx(residual, rel=1e-14, abs=1e-320)


@pytest.mark.parametrize("eta", ETA)
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_binomial_log_density_and_residual_are_precise(n: int, eta: float) -> None:
    family = Binomial(np.array(float(n)))
    for y in sorted({0, 1, n // 2, n - 1, n}):
        with mpmath.workdps(400):
            pi = 1 / (1 + mpmath.exp(-mpmath.mpf(eta)))
            not_pi = 1 / (1 + mpmath.exp(mpmath.mpf(eta)))
            parts = [
                mpmath.log(mpmath.binomial(n, y)),
                y * mpmath.log(pi),
                (n - y) * mpmath.log(not_pi),
            ]
            log_density, residual = float(mpmath.fsum(parts)), float(y - n * pi)
            rounding = 8 * EPS * float(sum(map(abs, [*parts, mpmath.loggamma(n + 1)])))
        at = np.array(float(y)), np.array(eta)
        # where the terms cancel the error is of their size, not of that of the sum
        assert float(family.log_density(*at)) == pytest.approx(log_density, rel=1e-14, abs=rounding)
        assert float(family.residual(*at)) == pytest.approx(
            residual, rel=1e-13, abs=1e-14 * min(y, n - y) + 1e-317
        )


@pytest.mark.parametrize("eta", LOG_ETA)
@pytest.mark.parametrize("y", COUNTS)
def test_poisson_log_density_and_residual_are_precise(y: float, eta: float) -> None:
    with mpmath.workdps(400):
        mean = mpmath.exp(mpmath.mpf(eta))
        parts = [y * mpmath.mpf(eta), -mean, -mpmath.log(mpmath.factorial(int(y)))]
        log_density, residual = float(mpmath.fsum(parts)), float(y - mean)
        rounding = 4 * EPS * float(sum(map(abs, parts)))
    at = np.array(y), np.array(eta)
    assert float(POISSON.log_density(*at)) == pytest.approx(log_density, rel=1e-14, abs=rounding)
    assert float(POISSON.residual(*at)) == pytest.approx(residual, rel=1e-14, abs=1e-320)


@pytest.mark.parametrize("name", NAMES)
def test_no_overflow_is_even_warned_of(name: str) -> None:
    family, _ = CUMULANTS[name]
    eta = np.array([-1e6, -1e3, 1e3, 1e6])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for order in ORDERS:
            assert np.all(np.isfinite(getattr(family, order)(eta)))
        for y in (np.zeros(4), np.ones(4)):
            assert np.all(np.isfinite(family.log_density(y, eta)))
            assert np.all(np.isfinite(family.residual(y, eta)))


def test_poisson_falls_on_where_no_count_is() -> None:
    """Beyond exp(230) the log density is a straight line: it falls, faster than y could rise."""
    eta = np.array([229.0, 230.0, 231.0, 300.0, 709.0, 711.0, 1e4])
    for y in (0.0, 1e15):
        values = POISSON.log_density(np.full(len(eta), y), eta)
        assert np.all(np.diff(values) < 0.0)
        assert np.all(values < -1e99)
    with np.errstate(over="raise"):
        assert np.all(np.isfinite(POISSON.b_2(eta) ** 2 * 1e50))


@pytest.mark.parametrize("eta", ETA)
def test_one_trial_is_bernoulli(eta: float) -> None:
    eta_ = np.full(2, eta)
    y, one = np.array([0.0, 1.0]), Binomial(np.ones(2))
    for order in ORDERS:
        np.testing.assert_array_equal(
            getattr(one, order)(eta_), getattr(BERNOULLI, order)(eta_), order
        )
    np.testing.assert_allclose(
        one.log_density(y, eta_), BERNOULLI.log_density(y, eta_), rtol=1e-15, atol=0
    )
    np.testing.assert_array_equal(one.residual(y, eta_), BERNOULLI.residual(y, eta_))
    np.testing.assert_array_equal(one.predicted(eta_), BERNOULLI.predicted(eta_))


@pytest.mark.parametrize("family", [BERNOULLI, Binomial(np.array(12.0)), POISSON])
def test_predictions_are_means_of_a_trial(family: Family) -> None:
    eta = np.linspace(-30.0, 30.0, 61)
    mean = family.b_1(eta)
    per_trial = mean / 12.0 if isinstance(family, Binomial) else mean
    np.testing.assert_allclose(family.predicted(eta), per_trial, rtol=1e-15)


def test_a_density_adds_up_to_one() -> None:
    for eta in (-2.0, 0.3, 1.5):
        for n in (1, 5, 40):
            y = np.arange(n + 1.0)
            family = Binomial(np.full(n + 1, float(n)))
            assert np.exp(family.log_density(y, np.full(n + 1, eta))).sum() == pytest.approx(1.0)
        y = np.arange(100.0)
        assert np.exp(POISSON.log_density(y, np.full(100, eta))).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("family", [BERNOULLI, Binomial(np.array([1.0, 3.0, 9.0])), POISSON])
def test_the_constant_is_what_is_left_without_eta(family: Family) -> None:
    y, eta = np.array([1.0, 0.0, 1.0]), np.array([-0.3, 0.7, 2.0])
    free = np.sum(family.log_density(y, eta) - y * eta + family.b(eta))
    assert family.constant(y) == pytest.approx(free, abs=1e-13)


def test_rows_take_their_trials_along() -> None:
    family = Binomial(np.array([3.0, 5.0, 8.0, 2.0]))
    np.testing.assert_array_equal(family.rows(np.array([2, 0])).trials, [8.0, 3.0])
    np.testing.assert_array_equal(family.rows(slice(1, 3)).trials, [5.0, 8.0])
    np.testing.assert_array_equal(family.trials, [3.0, 5.0, 8.0, 2.0])
    assert BERNOULLI.rows(slice(0, 1)) is BERNOULLI
    assert POISSON.rows(np.array([1])) is POISSON


# What is refused, and in which words ------------------------------------------------------------

FOUR = Binomial(np.array([3.0, 5.0, 8.0, 2.0]))


@pytest.mark.parametrize(
    ("family", "y", "words"),
    [
        (BERNOULLI, [0, 1, 2, 1], r"^y must be 0 or 1, got 2 in row 2; recode the outcome"),
        (BERNOULLI, [0.5, 1, -1, 1], r"got 0\.5 in row 0 \(and in 1 more places\)"),
        (FOUR, [0, 6, 0, 2], r"^y must not exceed trials, got 6 successes in 5 trials in row 1; y"),
        (FOUR, [4, 6, 9, 2], r"4 successes in 3 trials in row 0 \(and in 2 more places\)"),
        (FOUR, [0, 5, -1, 2], r"^y must hold whole numbers of at least 0, got -1 in row 2$"),
        (FOUR, [0.2, 0.4, 1, 0], r"got 0\.2 in row 0 \(and in 1 more places\)"),
        (POISSON, [0, 5, -1, 2], r"^y must hold whole numbers of at least 0, got -1 in row 2$"),
        (POISSON, [0, 5, 7, 2.5], r"got 2\.5 in row 3"),
    ],
)
def test_wrong_outcomes(family: Family, y: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        family.check(np.array(y, dtype=float))


def test_right_outcomes() -> None:
    BERNOULLI.check(np.array([0.0, 1.0]))
    FOUR.check(np.array([0.0, 5.0, 8.0, 1.0]))
    POISSON.check(np.array([0.0, 1e12]))


def test_families_by_name() -> None:
    assert NAMES == ("bernoulli", "binomial", "poisson")
    assert named("bernoulli", None) is BERNOULLI
    assert named("poisson", None) is POISSON
    family = named("binomial", np.array([2.0, 3.0]))
    assert isinstance(family, Binomial)
    np.testing.assert_array_equal(family.trials, [2.0, 3.0])
    assert [named(name, np.ones(1) if name == "binomial" else None).name for name in NAMES] == [
        *NAMES
    ]


@pytest.mark.parametrize(
    ("name", "trials", "words"),
    [
        ("gamma", None, r"^family must be one of 'bernoulli', 'binomial', 'poisson', got 'gamma'$"),
        ("Poisson", None, r"got 'Poisson'"),
        (
            "binomial",
            None,
            r"^trials must be given with family='binomial' where y is not 0 or 1: the number",
        ),
        ("binomial", [0, 0, 0], r"^trials is 0 in every row; rows with trials are needed$"),
        ("binomial", [2.5, 1, 3], r"trials must hold whole numbers of at least 0, got 2\.5 in row"),
        ("binomial", [-1, -1, 3], r"got -1 in row 0 \(and in 1 more places\)"),
        ("bernoulli", [1, 1], r"^trials must be left out with family='bernoulli'; it is for 'bin"),
        ("poisson", [1, 1], r"^trials must be left out with family='poisson'"),
    ],
)
def test_wrong_names_and_trials(name: str, trials: list[float] | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        named(name, None if trials is None else np.array(trials, dtype=float))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", NAMES)
def test_directions_tell_where_the_likelihood_rises_for_ever(name: str, seed: int) -> None:
    """Far along d the log-likelihood is flat or rises exactly where all r'd are at least 0."""
    rng = np.random.default_rng([3, len(name), seed])
    X = rng.integers(-1, 2, (4, 3)).astype(float)
    trials = rng.integers(1, 4, 4).astype(float)
    y = {
        "bernoulli": rng.integers(0, 2, 4),
        "binomial": rng.binomial(trials.astype(int), 0.5),
        "poisson": rng.poisson(0.6, 4),
    }[name].astype(float)
    family = named(name, trials if name == "binomial" else None)
    rows = family.directions(y, X)
    assert rows.shape[1] == 3
    for d in np.stack(np.meshgrid(*[[-2.0, -1.0, 0.0, 1.0, 2.0]] * 3), axis=-1).reshape(-1, 3):
        path = [family.log_density(y, t * X @ d) for t in (0.0, 10.0, 20.0)]
        margins = rows @ d
        assert bool(np.all(margins >= 0.0)) == all(
            np.all(later >= before) for before, later in pairwise(path)
        )
        rises = bool(np.any(path[1] > path[0])) and bool(np.all(path[1] >= path[0]))
        assert rises == (bool(np.all(margins >= 0.0)) and bool(np.any(margins > 0.0)))


def test_and_more() -> None:
    assert and_more([1]) == ""
    assert and_more([1, 2, 3]) == " (and in 2 more places)"


def test_single_logits_are_those_of_scipy_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    means = np.concatenate([rng.random(2000), 10.0 ** -rng.uniform(0.0, 300.0, 500), [0.0, 1.0]])
    expected = scipy.special.logit(means)
    assert [logit(mean) for mean in means.tolist()] == expected.tolist()
    assert math.isnan(logit(-0.1))
    etas = np.concatenate([rng.normal(0.0, 20.0, 2000), [0.0, 700.0, -700.0]])
    assert [expit(eta) for eta in etas.tolist()] == scipy.special.expit(etas).tolist()
    assert expit(-1e4) < 1e-300
