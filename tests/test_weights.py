"""Rows that stand for several rows: the truth is the fit of the rows written out, and R."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace

HERE = Path(__file__).parent / "reference"
R = json.loads((HERE / "people.json").read_text(encoding="utf-8"))
N = 240
RNG = np.random.default_rng(7)
GROUPS = np.repeat(np.arange(24), 10)
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
OFFSET = RNG.normal(size=N) / 2
ETA = X @ [-0.3, 0.8] + RNG.normal(size=24)[GROUPS] + OFFSET
TRIALS = RNG.integers(1, 6, N)
OUTCOMES: dict[str, np.ndarray] = {
    "bernoulli": (RNG.random(N) < 1 / (1 + np.exp(-ETA))).astype(float),
    "binomial": RNG.binomial(TRIALS, 1 / (1 + np.exp(-ETA))),
    "poisson": RNG.poisson(np.exp(0.5 * ETA)),
}
WEIGHTS = RNG.integers(1, 5, N)
WRITTEN = np.repeat(np.arange(N), WEIGHTS)


def both(family: str, **options: Any) -> tuple[laplace.Fit, laplace.Fit]:
    """Fit the rows with weights, and written out."""
    y, options = OUTCOMES[family], {"family": family, **options}
    trials = {"trials": TRIALS} if family == "binomial" else {}
    weighted = laplace.fit(y, X, GROUPS, weights=WEIGHTS, offset=OFFSET, **trials, **options)
    trials = {name: of[WRITTEN] for name, of in trials.items()}
    rows = y[WRITTEN], X[WRITTEN], GROUPS[WRITTEN]
    return weighted, laplace.fit(*rows, offset=OFFSET[WRITTEN], **trials, **options)


@pytest.mark.parametrize("family", list(OUTCOMES))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nodes": 1},
        {"nodes": 9},
        {"tau": 0.7},
        {"tau": 0.0},
        {"penalty": "ridge", "strength": 2.0},
        {"penalty": "soft"},
    ],
)
def test_a_fit_with_weights_is_that_of_the_rows_written_out(family: str, options: dict) -> None:
    if family == "poisson" and options.get("penalty") == "soft":
        pytest.skip("the soft penalty is not for counts")
    weighted, written = both(family, **options)
    assert weighted.nodes == written.nodes
    np.testing.assert_allclose(weighted.params, written.params, rtol=1e-12)
    np.testing.assert_allclose(weighted.bse, written.bse, rtol=1e-12)
    assert weighted.llf == pytest.approx(written.llf, abs=1e-10)
    assert weighted.nobs == written.nobs == int(WEIGHTS.sum())
    assert isinstance(weighted.nobs, int)
    np.testing.assert_allclose([weighted.aic, weighted.bic], [written.aic, written.bic], rtol=1e-12)


@pytest.mark.parametrize("family", list(OUTCOMES))
def test_what_follows_from_the_fit_is_that_of_a_single_row(family: str) -> None:
    weighted, written = both(family)
    np.testing.assert_allclose(weighted.predict().iloc[WRITTEN], written.predict(), rtol=1e-10)
    np.testing.assert_allclose(
        weighted.resid().iloc[WRITTEN], written.resid(), rtol=1e-9, atol=1e-11
    )
    np.testing.assert_allclose(weighted.random_effects, written.random_effects, rtol=1e-10)
    # as in R, the residuals of a row that stands for w rows are the root of w times larger
    for kind in ("pearson", "deviance"):
        larger = written.resid(kind) * np.sqrt(WEIGHTS[WRITTEN])
        np.testing.assert_allclose(weighted.resid(kind).iloc[WRITTEN], larger, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match=r"stand for several by their weights; fit the rows writ"):
        weighted.simulate()
    assert f"{N}, which stand for {WEIGHTS.sum()} by their" in weighted.summary().overview["Rows"]


def test_intervals_and_tests_are_those_of_the_rows_written_out() -> None:
    weighted, written = both("bernoulli")
    ends = weighted.conf_int(method="profile"), written.conf_int(method="profile")
    np.testing.assert_allclose(*ends, rtol=1e-8)  # the profile's own tolerance
    assert weighted.test_tau().pvalue == pytest.approx(written.test_tau().pvalue, rel=1e-8)


def test_weights_add_over_places() -> None:
    y = OUTCOMES["poisson"]
    together = laplace.fit(y, X, GROUPS, family="poisson", weights=WEIGHTS)
    parts = [GROUPS < 9, (GROUPS >= 9) & (GROUPS < 16), GROUPS >= 16]
    sites = [
        laplace.Site.from_arrays(y[k], X[k], GROUPS[k], family="poisson", weights=WEIGHTS[k])
        for k in parts
    ]
    apart = laplace.fit_sites(sites)
    np.testing.assert_allclose(apart.params, together.params, rtol=1e-10)
    assert apart.nobs == together.nobs


def test_weights_need_not_be_whole_and_ones_change_nothing() -> None:
    y = OUTCOMES["bernoulli"]
    plain = laplace.fit(y, X, GROUPS)
    ones = laplace.fit(y, X, GROUPS, weights=np.ones(N))
    np.testing.assert_allclose(ones.params, plain.params, rtol=1e-11)
    assert "weights" not in ones.summary().overview["Rows"]
    ones.simulate(1)
    halves = laplace.fit(y, X, GROUPS, weights=np.full(N, 0.5), tau=0)
    np.testing.assert_allclose(halves.params, laplace.fit(y, X, GROUPS, tau=0).params, rtol=1e-9)
    assert halves.nobs == N / 2


def test_the_order_of_weighted_rows_does_not_matter() -> None:
    y, order = OUTCOMES["bernoulli"], RNG.permutation(N)
    base = laplace.fit(y, X, GROUPS, weights=WEIGHTS)
    mixed = laplace.fit(y[order], X[order], GROUPS[order], weights=WEIGHTS[order])
    np.testing.assert_allclose(mixed.params, base.params, rtol=1e-10)
    np.testing.assert_allclose(mixed.resid("pearson"), base.resid("pearson").iloc[order], rtol=1e-8)


def test_weights_of_lme4_and_glmmtmb() -> None:
    """R's own convergence limits the agreement, to about 1e-7."""
    for data, options in (("simulated", {"nodes": 25}), ("counts", {"nodes": 1})):
        rows = pd.read_csv(HERE / f"{data}.csv")
        weights = 1 + np.arange(len(rows)) % 3
        offset = " + offset(log(exposure))" if data == "counts" else ""
        fit = laplace.fit_formula(
            f"y ~ x1 + x2{offset} + (1 | group)",
            rows,
            weights=weights,
            family="poisson" if data == "counts" else None,
            **options,
        )
        truth = R["weights"][data]
        np.testing.assert_allclose(fit.beta, truth["beta"], rtol=2e-7)
        assert fit.tau == pytest.approx(truth["tau"], rel=2e-7)
        assert fit.llf == pytest.approx(truth["loglik"], abs=1e-9)


def test_proportions_with_their_trials_as_weights_are_binomial() -> None:
    y = OUTCOMES["binomial"]
    counts = laplace.fit(y, X, GROUPS, family="binomial", trials=TRIALS)
    shares = laplace.fit(y / TRIALS, X, GROUPS, family="binomial", weights=TRIALS)
    assert shares.llf == counts.llf
    np.testing.assert_array_equal(shares.params, counts.params)
    assert shares.nobs == N  # rows, as in R
    with pytest.raises(
        ValueError,
        match=r"a proportion of weights trials, got 0\.31 of 3 in row 5, which is no whole number "
        "of successes; correct one of the two, or fit numbers of successes and of trials$",
    ):
        laplace.fit(np.where(np.arange(N) == 5, 0.31, 0.0), X, GROUPS, family="binomial",
                    weights=np.full(N, 3))  # fmt: skip
    with pytest.raises(ValueError, match="give the numbers of successes and of trials, with fam"):
        laplace.fit(y / TRIALS, X, GROUPS)


def test_rows_without_trials_carry_nothing_and_are_counted() -> None:
    y, trials = OUTCOMES["binomial"].copy(), TRIALS.copy()
    empty = RNG.choice(N, 30, replace=False)
    y[empty] = trials[empty] = 0
    fit = laplace.fit(y, X, GROUPS, family="binomial", trials=trials)
    rest = np.setdiff1d(np.arange(N), empty)
    without = laplace.fit(y[rest], X[rest], GROUPS[rest], family="binomial", trials=trials[rest])
    np.testing.assert_allclose(fit.params, without.params, rtol=1e-10)
    assert fit.llf == pytest.approx(without.llf, abs=1e-10)
    assert fit.summary().overview["Rows"] == f"{N}, of which 30 without trials"
    for kind in ("response", "pearson", "deviance"):
        residuals = fit.resid(kind)
        assert np.all(residuals.iloc[empty] == 0.0)
        np.testing.assert_allclose(residuals.iloc[rest], without.resid(kind), rtol=1e-6, atol=1e-8)
    assert np.all(fit.simulate(1).iloc[empty] == 0.0)
    np.testing.assert_allclose(fit.predict().iloc[rest], without.predict(), rtol=1e-10)
    whole_group = np.where(GROUPS == 3, 0, trials)
    laplace.fit(np.minimum(y, whole_group), X, GROUPS, family="binomial", trials=whole_group)
    with pytest.raises(ValueError, match="trials is 0 in every row"):
        laplace.fit(0 * y, X, GROUPS, family="binomial", trials=0 * trials)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.where(np.arange(N) == 4, 0, 1), ValueError, "above 0, got 0 in row 4.*leave such rows"),
        (
            np.where(np.arange(N) == 4, -2, 1),
            ValueError,
            "weights must be above 0, got -2 in row 4",
        ),
        (np.full(N, np.nan), ValueError, "weights holds nan in row 0"),
        (np.ones(N - 1), ValueError, "weights has length 239, but there are 240 rows"),
        (["1"] * N, TypeError, "weights must hold numbers only"),
        (2, ValueError, "weights must have one dimension"),
    ],
)
def test_bad_weights(weights: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        laplace.fit(OUTCOMES["bernoulli"], X, GROUPS, weights=weights)


def test_fits_of_other_weights_are_not_compared() -> None:
    y = OUTCOMES["bernoulli"]
    small = laplace.fit(y, X[:, :1], GROUPS, weights=WEIGHTS)
    with pytest.raises(ValueError, match=r"stand for 240 and \d+ rows by their weights"):
        laplace.fit(y, X, GROUPS).compare(small)
    assert laplace.fit(y, X, GROUPS, weights=WEIGHTS).compare(small).df == 1
    with pytest.raises(ValueError, match="different data: y differs"):
        laplace.fit(y, X, GROUPS, weights=WEIGHTS[::-1]).compare(small)
