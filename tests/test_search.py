"""The search: what it decides by, what it says of its result, and that it says so when it should.

The truth is the exact likelihood of `exact`, unless a test says otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from typing import Any

import numpy as np
import pytest
from exact import Exact
from hard_designs import REFERENCE, named
from scipy.special import expit
from scipy.stats import chi2

import laplace
from compendium import datasets, published
from compendium.simulate import published_setting
from compendium.study.definition import generator
from compendium.study.scenarios import SCENARIOS
from laplace import restricted, search, verdict
from laplace.local import Stage
from laplace.search import search_with
from laplace.site import spread
from laplace.strategy import STRATEGY, Strategy

Rows = dict[str, Any]


def rare(seed: int) -> Rows:
    """Draw 20 groups of five rows with rare outcomes; Laplace may have its maximum far away."""
    r = np.random.default_rng(seed)
    groups = np.repeat(np.arange(20), 5)
    X = np.c_[np.ones(100), r.normal(size=(100, 4))]
    eta = X @ [-3, 1, 1, 1, 1] + 1.5 * r.normal(size=20)[groups]
    return {"y": (r.random(100) < expit(eta)) * 1.0, "X": X, "groups": groups}


def agreeing() -> Rows:
    """Return five large groups that agree, and eighteen small ones that vary."""
    exposure = np.r_[[3000.0] * 5, [3.0] * 18]
    y = [2890, 3050, 3160, 2960, 3110, 0, 12, 1, 4, 0, 0, 14, 3, 0, 8, 0, 9, 1, 0, 2, 10, 0, 1]
    return {
        "y": np.array(y, dtype=float),
        "X": np.ones((23, 1)),
        "groups": np.arange(23),
        "family": "poisson",
        "offset": np.log(exposure),
    }


def pairs() -> Rows:
    """Return 40 pairs, most of which agree."""
    y = np.r_[np.ones(60), np.zeros(12), np.tile([0.0, 1.0], 4)]
    return {"y": y, "X": np.ones((80, 1)), "groups": np.repeat(np.arange(40), 2)}


def one_huge(huge: int, ones: int, singles: int, ones_of_singles: int, seed: int) -> Rows:
    """Return one huge group and singletons, with a covariate of both signs."""
    r = np.random.default_rng(seed)
    y = np.zeros(huge + singles)
    y[:ones] = y[huge : huge + ones_of_singles] = 1.0
    X = np.c_[np.ones(len(y)), r.choice([-1.0, 1.0], len(y))]
    groups = np.r_[np.zeros(huge, dtype=int), 1 + np.arange(singles)]
    return {"y": y, "X": X, "groups": groups}


def quiet(rows: Rows, **options: Any) -> laplace.Fit:
    """Fit, with the warnings of the approximation left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        return laplace.fit(**rows, **options)


def highest(rows: Rows) -> Any:
    peaks, _ = Exact(**rows).peaks()
    return peaks[0]


# The default is right ----------------------------------------------------------------------------


def test_the_default_finds_the_maximum_of_the_likelihood_and_not_that_of_laplace() -> None:
    """Laplace alone has its maximum at tau = 316; the exact likelihood at 4.06."""
    rows = rare(48)
    best = highest(rows)
    fit = laplace.fit(**rows)
    assert fit.nodes > 1
    assert fit.tau == pytest.approx(best.tau, rel=0.01)
    assert fit.llf == pytest.approx(best.value, abs=1e-3)
    assert fit.pvalues.min() > 0.02
    with pytest.warns(laplace.ApproximationWarning, match="by 199 nodes, .* fit with nodes='auto'"):
        far = laplace.fit(**rows, nodes=1)
    assert far.tau > 100.0
    assert far.converged
    assert "DOUBTFUL" in far.summary().overview["Approximation"]


@pytest.mark.parametrize("seed", range(0, 300, 4))
def test_no_rare_outcomes_lead_away(seed: int) -> None:
    """Of 300 such data sets, 16 once ended at a tau above 20 without a word."""
    rows = rare(seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = laplace.fit(**rows)
        except laplace.SeparationError:
            return
    best = highest(rows)
    if not caught:
        assert fit.llf == pytest.approx(best.value, abs=0.02)
        assert Exact(**rows).value(fit.beta, fit.tau) > best.value - 0.01
    # a maximum that the data tell is found in silence
    assert not caught or best.tau > 10.0


def test_the_default_does_not_stay_where_laplace_goes_far_and_predicts_no_shift() -> None:
    """Replicate 548 of this scenario: Laplace's maximum is at tau = 742; the exact one is not."""
    scenario = SCENARIOS["sites-2x30-tau1"]
    data = scenario.data(generator(1, scenario, 548))
    rows = {"y": data.y, "X": data.X, "groups": data.groups}
    with pytest.warns(laplace.ApproximationWarning, match="the nodes|are too far apart|nodes, "):
        fit = laplace.fit(**rows)
    assert fit.nodes == max(STRATEGY.rules)
    peaks, _ = Exact(**rows).peaks()
    assert peaks[0].tau > 100.0
    assert Exact(**rows).value(fit.beta, fit.tau) > peaks[0].value - 0.5


def test_a_maximum_below_the_first_tau_of_the_walk_is_found() -> None:
    """Replicate 1 of this scenario: where the walk begins, at tau = 0.3, the profile falls already.

    The default once ended at tau = 0, and was lower by 0.027.
    """
    scenario = SCENARIOS["groups-500x5-tau0.5-prev5"]
    data = scenario.data(generator(1, scenario, 1))
    fit = quiet({"y": data.y, "X": data.X, "groups": data.groups})
    assert not fit.boundary
    # the maximum by `Exact`, which takes half a minute for these rows
    assert fit.tau == pytest.approx(0.27966, abs=1e-4)
    assert fit.llf == pytest.approx(-460.884699, abs=1e-6)


@pytest.mark.parametrize("nodes", ["auto", 51])
@pytest.mark.parametrize(
    "rows", [one_huge(820, 500, 79, 40, 1), one_huge(1500, 957, 79, 38, 2)], ids=["900", "1579"]
)
def test_one_huge_group_does_not_hide_what_the_singletons_say(rows: Rows, nodes: Any) -> None:
    fit = quiet(rows, nodes=nodes)
    best = highest(rows)
    assert Exact(**rows).value(fit.beta, fit.tau) > best.value - 0.01


def test_every_door_has_the_same_default() -> None:
    rows = rare(48)
    expected = laplace.fit(**rows, nodes="auto")
    site = laplace.Site.from_arrays(**rows)
    frame = datasets.cbpp()
    formula = laplace.fit_formula("incidence / size ~ period", frame, "herd")
    many = laplace.fit_many([(rows["y"], rows["X"], rows["groups"])])
    for fit in (laplace.fit(**rows), laplace.fit_sites([site]), many[0]):
        assert isinstance(fit, laplace.Fit)
        assert (fit.nodes, fit.llf) == (expected.nodes, expected.llf)
    assert formula.nodes > 1


# A fixed tau -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.3, 1.0, 5.0, 20.0, 100.0, 1000.0])
def test_at_a_fixed_tau_there_is_one_maximum(tau: float) -> None:
    rows = pairs()
    exact = Exact(**rows)
    value, beta, _ = exact.profile(tau, np.zeros(1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = laplace.fit(**rows, tau=tau)
    assert fit.converged
    # where nodes are too far apart it says so
    assert bool(caught) == (tau > 30.0)
    if not caught:
        assert exact.value(fit.beta, tau) > value - 0.1
        assert abs(fit.beta[0] - beta[0]) < fit.bse.iloc[0]


# What a fit says of itself -----------------------------------------------------------------------


def toenail() -> Rows:
    frame = datasets.toenail()
    treated, month = frame["treatment"].astype("category").cat.codes.to_numpy(), frame["month"]
    return {
        "y": frame["outcome"].astype("category").cat.codes.to_numpy().astype(float),
        "X": np.c_[np.ones(len(frame)), treated, month, treated * month],
        "groups": frame["patient"].to_numpy(),
    }


def test_laplace_on_toenail_is_warned_of() -> None:
    with pytest.warns(laplace.ApproximationWarning) as caught:
        fit = laplace.fit(**toenail(), nodes=1)
    (only,) = caught
    text = str(only.message)
    assert "\n" not in text
    assert re.search(r"^Laplace approximation is not to be trusted here: by 25 nodes, ", text)
    assert text.endswith("; fit with nodes='auto'")
    assert fit.doubt() == text
    assert fit.converged


def test_a_good_fit_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = laplace.fit(**toenail())
        assert fit.doubt() is None
        assert laplace.fit(**toenail(), nodes=50).doubt() is None
        data = published.two_sites()
        assert laplace.fit(*data, tau=1, nodes=1).doubt() is None
    assert not fit.verdict.is_doubtful
    assert fit.other_maxima == ()
    assert "Other maxima" not in fit.summary().overview


@pytest.mark.parametrize("nodes", [1, 5])
def test_the_verdict_is_what_the_reference_has(nodes: int) -> None:
    """Shift, gain and standard errors against derivatives by the reference, from `loglik`."""
    rows = {**rare(3)}
    fit = quiet(rows, nodes=nodes)
    found = fit.verdict
    assert found.nodes is not None
    assert found.nodes >= verdict.REFERENCE_NODES
    assert found.nodes > 2 * nodes
    at = laplace.loglik(rows["y"], rows["X"], rows["groups"], fit.beta, fit.tau, nodes=found.nodes)
    inverse = np.linalg.inv(-at.hessian)
    scale = np.append(fit.bse.iloc[:-1], fit.bse["tau"] / fit.tau)
    np.testing.assert_allclose(found.shift, inverse @ at.gradient / scale, rtol=1e-8, atol=1e-9)
    assert found.gain == pytest.approx(0.5 * at.gradient @ inverse @ at.gradient, rel=1e-8)
    np.testing.assert_allclose(found.ratio, scale / np.sqrt(np.diag(inverse)), rtol=1e-8)
    assert found.value == pytest.approx(at.value, abs=1e-9)
    np.testing.assert_array_equal(fit.approximation_error(), found.shift)


def test_the_error_of_a_rule_without_a_reference_is_not_known() -> None:
    rows = rare(3)
    fit = laplace.fit(**rows, nodes=200)
    assert fit.verdict.nodes is None
    assert not fit.verdict.is_known
    assert np.all(np.isnan(fit.approximation_error()))
    assert "its error is not known: no rule has more than twice its 200 nodes" in str(fit.summary())
    assert fit.doubt() is None
    with pytest.raises(ValueError, match="nodes must differ from the 200 of the fit"):
        fit.approximation_error(200)
    assert np.all(np.isfinite(fit.approximation_error(50)))


def test_a_standard_error_that_the_approximation_spoils_is_said() -> None:
    """By location alone, nothing would be wrong. The truth is the exact Hessian at the estimate."""
    said = 0
    families = ("counts", "no_intercept", "few_mixed", "small")
    for name in [name for name in json.loads(REFERENCE.read_text()) if name.startswith(families)]:
        rows = named(name)
        fit = quiet(rows, nodes=1)
        reason = fit.doubt() or ""
        if "the standard error of" not in reason or fit.tau > 10.0:
            continue
        said += 1
        assert fit.verdict.largest_shift <= verdict.SHIFT_LIMIT
        assert fit.verdict.gain <= verdict.GAIN_LIMIT
        _, _, hessian = Exact(**rows).at(fit.beta, fit.tau)
        own = np.append(fit.bse.iloc[:-1], fit.bse["tau"] / fit.tau)
        ratio = own / np.sqrt(np.diag(np.linalg.inv(-hessian)))
        assert np.exp(np.max(np.abs(np.log(ratio)))) > 1.2
        np.testing.assert_allclose(fit.verdict.ratio, ratio, rtol=0.05)
    assert said >= 2


@pytest.mark.parametrize("limit", ["SHIFT_LIMIT", "GAIN_LIMIT", "RATIO_LIMIT", "SPACING_LIMIT"])
def test_each_limit_brings_the_warning(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = toenail()
    fit = laplace.fit(**rows, nodes=9)
    assert fit.doubt() is None
    monkeypatch.setattr(verdict, limit, 1.0 if limit == "RATIO_LIMIT" else 1e-9)
    with pytest.warns(laplace.ApproximationWarning):
        laplace.fit(**rows, nodes=9)


def test_an_estimate_below_tau_of_zero_is_said() -> None:
    fit = laplace.fit(**toenail(), nodes=9)
    candidate = fit._result.candidate
    judged = verdict.judge(candidate.estimate, candidate.verdict.value + 3.0, 25)
    assert judged.below_zero == pytest.approx(3.0)
    assert judged.is_doubtful
    words = judged.reason(["a"] * 5)
    assert words is not None
    assert "higher by 3 without random intercepts, at tau=0" in words


def test_some_groups_stand_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of groups the reference is taken on some of them: the verdict is the same."""
    r = np.random.default_rng(5)
    groups = np.repeat(np.arange(9000), 3)
    X = np.c_[np.ones(27_000), r.normal(size=27_000)]
    y = (r.random(27_000) < expit(X @ [-0.5, 0.7] + r.normal(size=9000)[groups])) * 1.0
    some = quiet({"y": y, "X": X, "groups": groups}, nodes=1).verdict
    monkeypatch.setattr(verdict, "STRATEGY", Strategy(groups_of_reference=9000))
    every = quiet({"y": y, "X": X, "groups": groups}, nodes=1).verdict
    # the shift of tau is some standard errors here; sampling leaves a few hundredths of it
    np.testing.assert_allclose(some.shift, every.shift, atol=0.05 * np.max(np.abs(every.shift)))
    np.testing.assert_allclose(some.ratio, every.ratio, rtol=0.01)
    assert some.is_doubtful
    assert every.is_doubtful


def in_turn(family: str, groups: int, every: int) -> Rows:
    """Draw groups of two kinds in turn: every so many-th tells next to nothing."""
    r = np.random.default_rng(1)
    of = np.repeat(np.arange(groups), 2)
    sure = of % every == 0
    u = 1.5 * r.normal(size=groups)[of]
    if family == "poisson":
        exposure = np.where(sure, 1e-4, 1.0)
        y = r.poisson(exposure * np.exp(u - 1.0)).astype(float)
        offset = np.log(exposure)
    else:
        offset = np.where(sure, -12.0, 0.0)
        y = (r.random(len(of)) < expit(offset + u)) * 1.0
    return {"y": y, "X": np.ones((len(of), 1)), "groups": of, "family": family, "offset": offset}


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_groups_in_turn_do_not_fool_the_verdict(family: str, every: int) -> None:
    """The groups that stand for all are spread, so that no period of the labels is hit."""
    rows = in_turn(family, 2000 * every, every)
    many, fit = laplace.fit(**rows, nodes=51), laplace.fit(**rows)
    scale = np.append(many.bse.iloc[:-1], many.bse["tau"] / many.tau)
    assert np.max(np.abs(fit.theta - many.theta) / scale) < 0.05
    one = quiet(rows, nodes=1)
    shift = (many.theta - one.theta) / np.append(one.bse.iloc[:-1], one.bse["tau"] / one.tau)
    assert (one.doubt() is not None) == (np.max(np.abs(shift)) > verdict.SHIFT_LIMIT)


def test_groups_that_stand_for_all_are_spread() -> None:
    for groups, every in ((1, 5), (7, 3), (4000, 2), (20_000, 10), (999, 7)):
        taken = spread(groups, every)
        assert len(taken) == -(-groups // every)
        assert np.all(np.diff(taken) > 0)
        for period in (2, 3, 5, 10):
            shares = np.bincount(taken % period, minlength=period) / len(taken)
            assert len(taken) < 100 or np.max(np.abs(shares - 1.0 / period)) < 0.03
    np.testing.assert_array_equal(spread(9, 1), np.arange(9))


# Several maxima of the likelihood itself ---------------------------------------------------------


@pytest.mark.parametrize(("groups", "tau"), [(1000, 2.0), (2000, 1.5)])
def test_a_quick_walk_by_few_nodes_is_no_judge(groups: int, tau: float) -> None:
    """Unequal Poisson groups: the walk's few nodes have an error of their own, and say nothing."""
    r = np.random.default_rng(0)
    offset = r.normal(0.0, 1.3, groups)
    X = np.column_stack([np.ones(groups), r.normal(size=groups)])
    y = r.poisson(np.exp(X @ [-1.0, 0.5] + offset + tau * r.normal(size=groups))).astype(float)
    rows = {"y": y, "X": X, "groups": np.arange(groups), "family": "poisson", "offset": offset}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = laplace.fit(**rows)
    exact = Exact(**rows)
    top = exact.value(fit.beta, fit.tau)
    for factor in (0.9, 0.95, 1.05, 1.1):
        value, _, _ = exact.profile(factor * fit.tau, fit.beta)
        assert value < top + 0.01


@pytest.mark.parametrize("nodes", ["auto", 1, 9])
def test_the_higher_of_two_maxima_is_returned_and_the_other_is_said(nodes: Any) -> None:
    rows = agreeing()
    peaks, _ = Exact(**rows).peaks()
    fit = laplace.fit(**rows, nodes=nodes)
    assert [peak.tau for peak in peaks] == pytest.approx([1.118, 0.02846], rel=1e-3)
    assert fit.tau == pytest.approx(peaks[0].tau, rel=0.02)
    (other,) = fit.other_maxima
    assert other.tau == pytest.approx(peaks[1].tau, rel=1e-3)
    gap = peaks[0].value - peaks[1].value
    assert fit.verdict.value - other.value == pytest.approx(gap, abs=0.01)
    assert re.search(r"at tau = 0.02847, lower by 12.28", fit.summary().overview["Other maxima"])
    assert fit.test_tau().pvalue < 1e-7
    interval = fit.conf_int(method="profile").loc["tau"]
    assert 0.6 < interval["lower"] < 1.0 < interval["upper"] < 2.0


def two_pieces(seed: int) -> Rows:
    r = np.random.default_rng(seed)
    exposure = np.array([3000.0] * 4 + [3.0] * 6)
    spread = np.r_[0.02 * r.normal(size=4), 0.8 * r.normal(size=6)]
    return {
        "y": r.poisson(exposure * np.exp(spread)).astype(float),
        "X": np.ones((10, 1)),
        "groups": np.arange(10),
        "family": "poisson",
        "offset": np.log(exposure),
    }


@pytest.mark.parametrize("seed", [15, 26, 53, 87, 127])
def test_profile_intervals_hold_all_that_is_not_rejected(seed: int) -> None:
    """Two pieces, against the exact profile over a fine grid of tau."""
    rows = two_pieces(seed)
    fit = laplace.fit(**rows)
    with pytest.warns(UserWarning, match="the values of tau that are not rejected lie in 2 pieces"):
        interval = fit.conf_int(method="profile")
    pieces = interval.attrs["pieces"]["tau"]
    assert len(pieces) == 2
    assert tuple(interval.loc["tau"]) == (pieces[0][0], pieces[1][1])
    exact = Exact(**rows)
    cut = highest(rows).value - 0.5 * chi2.ppf(0.95, 1)
    beta = fit.beta
    for low, high in pieces:
        for end in (low, high):
            if end > 0.0:
                value, beta, _ = exact.profile(end, beta)
                # the error of the fit's rule is not the same at both maxima
                assert value == pytest.approx(cut, abs=0.05)
    for tau in np.geomspace(1e-3, 5.0, 60):
        value, beta, _ = exact.profile(float(tau), beta)
        inside = any(low <= tau <= high for low, high in pieces)
        assert inside == (value > cut) or abs(value - cut) < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 15, 26, 53, 87, 127])
def test_profile_intervals_of_coefficients_follow_all_maxima(seed: int) -> None:
    rows = two_pieces(seed)
    fit = laplace.fit(**rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pieces = fit.conf_int(method="profile").attrs["pieces"]["x0"]
    exact = Exact(**rows)
    cut = highest(rows).value - 0.5 * chi2.ppf(0.95, 1)
    taus = np.r_[0.0, np.geomspace(1e-4, 5.0, 400)]
    for low, high in pieces:
        for end in (low, high):
            profile = max(exact.value([end], float(tau)) for tau in taus)
            # the grid over tau leaves a little
            assert profile == pytest.approx(cut, abs=0.02)


def test_maxima_are_compared_by_a_rule_whose_own_error_is_small() -> None:
    """With 20,000 groups the error of seven nodes is tens of units; both maxima are far apart."""
    a, b = np.random.default_rng(1), np.random.default_rng(2)
    trials = np.repeat([1_000_000.0, 4.0], [1991, 10_000])
    agree = a.binomial(1_000_000, expit(0.005 * a.normal(size=1991)))
    vary = b.binomial(4, expit(8.0 * b.normal(size=10_000)))
    y = np.append(agree, vary).astype(float)
    groups = np.arange(len(y))
    rows = {"y": y, "X": np.ones((len(y), 1)), "groups": groups, "family": "binomial"}
    rows["trials"] = trials
    fit = laplace.fit(**rows)
    exact = Exact(**rows)
    top = exact.value(fit.beta, fit.tau)
    for tau in (0.005, 4.0):
        assert top > exact.value(quiet(rows, tau=tau, nodes=25).beta, tau) - 0.5


def test_an_interval_of_one_piece_is_given_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = laplace.fit(**agreeing()).conf_int(method="profile")
    assert [len(of) for of in interval.attrs["pieces"].values()] == [1, 1]


# Outcomes that are all the same ------------------------------------------------------------------


def test_outcomes_that_are_all_the_same_may_have_a_maximum() -> None:
    """Whether they have is what separation decides."""
    r = np.random.default_rng(1)
    X, groups = r.normal(size=(60, 1)), np.repeat(np.arange(12), 5)
    for family, more in (("bernoulli", {}), ("binomial", {"trials": 4}), ("poisson", {})):
        rows = {"y": np.zeros(60), "X": X, "groups": groups, "family": family, **more}
        fit = laplace.fit(**rows, tau=1)
        value, beta, fine = Exact(**rows).profile(1.0, np.zeros(1))
        assert fine
        assert fit.converged
        assert Exact(**rows).value(fit.beta, 1.0) == pytest.approx(value, abs=1e-4)
        assert fit.beta == pytest.approx(beta, abs=0.01)
        with pytest.raises(ValueError, match="y is 0 in every row: the likelihood has no finite"):
            laplace.fit(**{**rows, "X": np.abs(X)}, tau=1)
        with pytest.warns(laplace.ConvergenceWarning, match="no group has both outcomes"):
            laplace.fit(**rows)
    # a ridge bounds every coefficient but that of a constant column
    fit = laplace.fit(np.zeros(60), np.abs(X), groups, tau=1, penalty="ridge", strength=1.0)
    assert fit.converged
    with pytest.raises(ValueError, match="y is 0 in every row"):
        laplace.fit(
            np.zeros(60), np.c_[np.ones(60), X], groups, tau=1, penalty="ridge", strength=1.0
        )


# Penalties take the same road --------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"penalty": "soft"}, {"penalty": "ridge", "strength": 0.1}])
def test_penalised_fits_are_judged_too(options: dict[str, Any]) -> None:
    rows = rare(48)
    with pytest.warns(laplace.ApproximationWarning):
        laplace.fit(**toenail(), nodes=1, **options)
    fit = laplace.fit(**rows, **options)
    assert fit.verdict.is_known
    assert fit.doubt() is None
    # the maximum of the penalised likelihood, by the exact one and the penalty
    exact = Exact(**rows)
    penalty = fit._problem.penalty
    assert penalty is not None
    top = exact.value(fit.beta, fit.tau) + penalty.at(fit.beta, fit.tau).value
    for tau in np.geomspace(0.05, 50.0, 25):
        beta = quiet(rows, tau=float(tau), **options).beta
        assert exact.value(beta, float(tau)) + penalty.at(beta, float(tau)).value < top + 0.05


@pytest.mark.parametrize("options", [{"penalty": "soft"}, {"penalty": "ridge", "strength": 1.0}])
def test_penalised_fits_find_the_higher_of_two_maxima(options: dict[str, Any]) -> None:
    truth = json.loads(REFERENCE.read_text())
    names = [name for name, of in truth.items() if "unequal" in name and len(of["peaks"]) == 2]
    assert len(names) >= 5
    for name in names:
        rows = named(name)
        if rows["X"].shape[1] == 1:  # a ridge needs something to act on
            rows["X"] = np.c_[rows["X"], np.random.default_rng(3).normal(size=len(rows["y"]))]
        fit = laplace.fit(**rows, **options)
        exact, penalty = Exact(**rows), fit._problem.penalty
        assert penalty is not None
        top = exact.value(fit.beta, fit.tau) + penalty.at(fit.beta, fit.tau).value
        for tau in np.geomspace(0.01, 5.0, 12):
            beta = quiet(rows, tau=float(tau), **options).beta
            there = exact.value(beta, float(tau)) + penalty.at(beta, float(tau)).value
            assert there < top + 0.2, name


# The record --------------------------------------------------------------------------------------


def test_the_record_of_a_search() -> None:
    fit = laplace.fit(**rare(48))
    assert fit.evaluations <= fit.rounds
    assert fit.evaluations > fit.iterations
    assert fit.stages[-1] == "verdict"
    assert set(fit.stages) <= {stage.value for stage in Stage} | {"verdict"}
    table = fit.candidates
    assert list(table.columns) == ["stage", "nodes", "tau", "converged", "log-likelihood", "below"]
    assert fit.tau in list(table["tau"])
    assert table["below"].min() >= -1e-6
    plain = laplace.fit(**rare(48), tau=0)
    assert plain.stages == ("without random intercepts", "verdict")


def test_the_strategy_is_what_the_docstring_says() -> None:
    """Every constant that the table names, with its value."""
    text = " ".join((search.__doc__ or "").split())
    named = dict(re.findall(r"``(\w+)`` = ([\d.]+(?:, [\d.]+)*(?: and [\d.]+)?)", text))
    fields = {field.name: getattr(STRATEGY, field.name) for field in dataclasses.fields(STRATEGY)}
    assert len(named) >= 10
    for name, said in named.items():
        values = [float(value) for value in re.findall(r"\d+(?:\.\d+)?", said)]
        stored = fields[name]
        assert values == (list(stored) if isinstance(stored, tuple) else [float(stored)]), name
    # every stage has a row, in order
    rows = re.findall(r"^([a-z][a-z ]*?)  +\S", search.__doc__ or "", flags=re.MULTILINE)
    assert rows == [
        *("without", "fixed tau", "some rows", "near", "highest", "verdict", "walk", "more nodes"),
    ]
    rows += re.findall(r"^([a-z]+)  +\S", restricted.__doc__ or "", flags=re.MULTILINE)
    assert {stage.value.split()[0] for stage in Stage} <= {row.split()[0] for row in rows}


@pytest.mark.parametrize(
    ("name", "changed"),
    [("large_tau", 0.01), ("few_mixed_groups", 10_000), ("near_separation", 1e9)],
)
def test_each_sign_brings_the_walk(name: str, changed: float) -> None:
    """And without it there is none: an ordinary design is not walked."""
    data = laplace.simulate.random_intercepts([12] * 30, [-0.5, 1.0], 1.0)
    problem = laplace.fit(*data)._problem
    assert Stage.WALK.value not in search_with(problem, STRATEGY.rules).stages
    strategy = dataclasses.replace(STRATEGY, **{name: changed, "enough_information": 1e9})
    found = search_with(problem, (1,), strategy)
    before = problem.sites.evaluations
    search_with(problem, (1,), strategy)
    walked = problem.sites.evaluations - before
    search_with(problem, (1,))
    assert walked > 2 * (problem.sites.evaluations - before - walked)
    assert found.candidate.found.converged


def test_published_settings_are_not_walked_twice() -> None:
    data = published_setting(10, 500, 1.0, seed=3)
    fit = laplace.fit(data.y, data.X, data.groups)
    assert fit.stages == ("near", "verdict")
