"""The ends of profile intervals: the exact likelihood is at the cut there, or a warning says not.

The truth is the exact likelihood of `tests/exact.py`, maximised over the coefficients.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from exact import Exact
from scipy.stats import chi2

import laplace
from compendium import datasets
from laplace import ends
from laplace.criterion import _LostError, root
from laplace.sites import Sites

CUT = chi2.isf(0.05, 1)


def sparse(seed: int) -> dict[str, Any]:
    """Draw a few groups of one to eight rows, some of which have one outcome only."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(4, 14))
    groups = np.repeat(np.arange(m), rng.integers(1, 9, m))
    columns = [np.ones(len(groups))]
    if rng.random() < 0.5:
        columns.append((rng.random(m) < 0.5).astype(float)[groups])
    if rng.random() < 0.7:
        columns.append(rng.normal(size=len(groups)))
    X = np.column_stack(columns)
    fixed = X @ rng.normal(size=X.shape[1])
    eta = fixed + rng.choice([0.5, 1.0, 2.0, 4.0]) * rng.normal(size=m)[groups]
    return {"y": rng.binomial(1, 1 / (1 + np.exp(-eta))), "X": X, "groups": groups}


def interval(fit: laplace.Fit, **options: Any) -> tuple[Any, bool]:
    """Return the intervals of a fit, and whether a warning says that one is rough."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = fit.conf_int(**options)
    return found, any("is rough: at its ends" in str(one.message) for one in caught)


def fitted(rows: dict[str, Any], **options: Any) -> laplace.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        return laplace.fit(**rows, **options)


@pytest.mark.parametrize("seed", [20, 25, 33, 87])
def test_the_likelihood_is_at_the_cut_where_the_interval_of_tau_ends(seed: int) -> None:
    """By the nodes that are enough at the estimate, it is off by up to 0.26."""
    rows = sparse(seed)
    exact, fit = Exact(**rows), fitted(rows)
    assert fit.doubt() is None
    found, rough = interval(fit, method="profile")
    assert not rough
    upper = found.loc["tau", "upper"]
    assert upper > ends.FAR * fit.tau
    top = exact.profile(fit.tau, fit.beta)[0] if fit.tau else fit.llf
    value, _, _ = exact.profile(upper, fit.beta)
    assert 2.0 * (top - value) == pytest.approx(CUT, abs=0.05)
    # what is asked for by its number of nodes is by that
    one = fitted(rows, nodes=1)
    by_one = interval(one, method="profile")[0].loc["tau", "upper"]
    assert abs(by_one / upper - 1.0) > 0.01


@pytest.mark.parametrize("seed", [19, 23, 36, 47, 54, 65, 78, 81])
def test_the_restricted_interval_ends_at_the_cut_or_is_called_rough(seed: int) -> None:
    rows = sparse(seed)
    exact, fit = Exact(**rows), fitted(rows, reml=True)
    p = rows["X"].shape[1]
    found, rough = interval(fit)
    upper = found.loc["tau", "upper"]

    def criterion(tau: float) -> float:
        value, beta, _ = exact.profile(tau, fit.beta)
        _, _, hessian = exact.at(beta, tau)
        return float(value - 0.5 * np.linalg.slogdet(hessian[:p, :p])[1])

    height = fit.reml_criterion if fit.tau == 0.0 else criterion(fit.tau)
    off = abs(2.0 * (height - criterion(upper)) - CUT)
    assert rough or off < 0.1
    assert not rough or off > 0.1
    assert rough == (seed != 78)


def test_regular_data_need_no_second_look(monkeypatch) -> None:
    """Where the interval is near the estimate, the nodes that are enough there are enough."""
    fit = laplace.fit_formula("incidence / size ~ period", datasets.cbpp(), "herd")
    expected = fit.conf_int(method="profile")
    assert expected.loc["tau", "upper"] < ends.FAR * fit.tau
    monkeypatch.setattr(ends, "MORE_NODES", ())
    again = laplace.fit_formula("incidence / size ~ period", datasets.cbpp(), "herd")
    assert again.conf_int(method="profile").equals(expected)


@pytest.mark.parametrize("nodes", [1, 3, 5, 9, 15, 25, 51, 99])
def test_a_rule_is_judged_by_one_with_many_more_nodes(nodes: int) -> None:
    """With 103 nodes one would repeat what 99 say."""
    assert next(ends.rules_after(nodes)) >= 1.5 * nodes


def test_two_values_of_the_same_sign_hold_no_zero() -> None:
    assert root(lambda x: x - 0.3, 0.0, 1.0) == pytest.approx(0.3, abs=1e-12)
    assert root(lambda x: x + 1e-12, 0.0, 1.0) == 0.0  # the zero itself, but for rounding
    with pytest.raises(_LostError):
        root(lambda x: x + 0.5, 0.0, 1.0)


def test_no_further_questions_go_to_guarded_sites() -> None:
    """Each costs numbers of a site's budget."""
    rows = sparse(33)
    counts = {}
    for guarded in (False, True):
        sites = Sites([laplace.Site.from_arrays(**rows)], guarded=guarded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", laplace.ApproximationWarning)
            fit = laplace.fit_sites(sites)
        asked = sites.rounds
        interval(fit, method="profile")
        counts[guarded] = sites.rounds - asked
    assert counts[True] < counts[False]


def test_replicates_have_as_many_nodes_as_they_need() -> None:
    """By the single node that is enough at tau = 0, a replicate has tau = 227 instead of 2.5."""
    fit = fitted(sparse(20))
    assert (fit.tau, fit.nodes) == (0.0, 1)
    again = fit.bootstrap(150, seed=1)
    largest = int(again.params["tau"].idxmax())
    assert again.params["tau"].max() < 3.0
    drawn = fit.simulate(np.random.SeedSequence(1, spawn_key=(largest,)))
    alone = fitted({**sparse(20), "y": drawn})
    assert alone.tau == pytest.approx(again.params.loc[largest, "tau"], rel=1e-9)
    # those of a given number of nodes are by that number
    by_one = fitted(sparse(20), nodes=1).bootstrap(150, seed=1)
    assert by_one.params["tau"].max() > 100.0


def test_replicates_that_are_not_to_be_trusted_are_counted() -> None:
    rows = sparse(33)
    fit = fitted(rows)
    again = fit.bootstrap(60, seed=1)
    assert 0 < len(again.doubtful) < 60
    assert f"{len(again.doubtful)} of them are not to be trusted" in repr(again)
    for k in again.params.index[:25]:
        if k in again.failed.index:
            continue
        drawn = fit.simulate(np.random.SeedSequence(1, spawn_key=(k,)))
        alone = fitted({**rows, "y": drawn})
        same = abs(alone.tau - again.params.loc[k, "tau"]) < 1e-6 * (1.0 + alone.tau)
        assert not same or alone.verdict.is_doubtful == (k in again.doubtful)
    quiet = laplace.fit(*laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0))
    none = quiet.bootstrap(50)
    assert not len(none.doubtful)
    assert "trusted" not in repr(none)


def test_a_summary_is_of_any_fit() -> None:
    """Also where the test of tau = 0 has no answer, as the fit is not at its maximum."""
    y = [1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1]
    x = [-0.728609, 1.370451, -0.326832, 0.174449, 0.56448, 1.095489, -0.050609, -0.163176]
    x += [0.792063, 0.112594, 0.339245, 1.022218, -0.476611, 0.706089, 1.2901, 1.189807, 0.124078]
    groups = np.repeat(np.arange(5), [1, 3, 4, 5, 4])
    X = np.column_stack([np.ones(17), x])
    with pytest.warns(laplace.ApproximationWarning, match="higher by"):
        fit = laplace.fit(y, X, groups)
    with pytest.raises(ValueError, match="below that of the smaller"):
        fit.test_tau()
    said = str(fit.summary())
    assert "not available: the larger model has a log-likelihood of" in said
    assert re.search(r"Other maxima +at tau = [0-9.]+, higher by 2\.\d", said)


def test_weights_of_counts_are_no_offset() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(40), rng.normal(size=40)])
    rows = {"y": rng.poisson(1.0, 40), "X": X, "groups": np.repeat(np.arange(8), 5)}
    fit = laplace.fit(**rows, family="poisson", weights=np.full(40, 2.0))
    new = X[:3]
    np.testing.assert_allclose(fit.predict(new), fit.predict(new, offset=0), rtol=1e-12)
    shifted = laplace.fit(
        **rows, family="poisson", weights=np.full(40, 2.0), offset=np.linspace(0, 1, 40)
    )
    with pytest.raises(ValueError, match="offset must be given for new rows"):
        shifted.predict(new)


def test_a_rough_interval_is_said_in_the_summary_and_to_the_caller() -> None:
    groups = np.repeat([0, 1, 2], [6, 9, 7])
    r = np.random.default_rng(6)
    y = (r.random(22) < 1 / (1 + np.exp(-2.0 * r.normal(size=3)[groups]))) * 1.0
    fit = laplace.fit(y, np.ones((22, 1)), groups, reml=True)
    for told in (fit.conf_int, fit.icc):
        with pytest.warns(laplace.ApproximationWarning, match="interval of 'tau' is rough") as said:
            told()
        assert [one.filename for one in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "the interval of 'tau' is rough" in " ".join(str(fit.summary()).split())
        assert list(fit.odds_ratios().index) == ["x0"]  # of which nothing is rough
    fine = laplace.fit(*laplace.simulate.random_intercepts([9] * 30, [0.2], 1.0, seed=1), reml=True)
    assert "rough" not in str(fine.summary())
