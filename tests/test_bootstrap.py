"""The parametric bootstrap, and tests by simulation under the smaller model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

import laplace
from laplace import parallel, replicates
from laplace.bootstrap import Bootstrap
from laplace.replicates import Failure, count_kinds, seeds_of
from tests.designs import many_groups

ROWS = laplace.simulate.random_intercepts([15] * 20, [-0.4, 0.7], 0.8, seed=2)


def _child(seed: int, k: int) -> np.random.SeedSequence:
    """Return the source of random numbers of a replicate, as numpy spawns it."""
    return np.random.SeedSequence(seed).spawn(k + 1)[k]


@cache
def _fits() -> dict[str, tuple[laplace.Fit, dict[str, Any], dict[str, Any]]]:
    """Return fits of several kinds, with their rows and options."""
    r = np.random.default_rng(8)
    y, X, groups = many_groups(3, groups=30)
    n = len(y)
    trials = r.integers(1, 6, n)
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "plain": (dict(zip(("y", "X", "groups"), ROWS, strict=True)), {"nodes": 1}),
        "shuffled": ({"y": y, "X": X, "groups": groups.astype(str)}, {"nodes": 5}),
        "offset": ({"y": y, "X": X, "groups": groups, "offset": r.normal(size=n)}, {"nodes": 1}),
        "trials": (
            {"X": X, "groups": groups, "trials": trials, "family": "binomial",
             "y": r.binomial(trials, expit(X @ [0.3, 0.5, -0.5]))},
            {"nodes": 1},
        ),
        "counts": (
            {"X": X, "groups": groups, "family": "poisson",
             "y": r.poisson(np.exp(X @ [0.3, 0.2, -0.2] + r.normal(size=30)[groups] / 2))},
            {"nodes": 3},
        ),
        "fixed tau": ({"y": y, "X": X, "groups": groups}, {"nodes": 1, "tau": 0.7}),
        "no intercepts": ({"y": y, "X": X, "groups": groups}, {"nodes": 1, "tau": 0.0}),
        "many nodes": ({"y": y, "X": X, "groups": groups}, {"nodes": 110}),
        "soft": ({"y": y, "X": X, "groups": groups}, {"nodes": 1, "penalty": "soft"}),
        "ridge": (
            {"y": y, "X": X, "groups": groups},
            {"nodes": 1, "penalty": "ridge", "strength": 2.0},
        ),
    }  # fmt: skip
    return {k: (laplace.fit(**rows, **of), rows, of) for k, (rows, of) in kinds.items()}


@pytest.mark.parametrize("kind", _fits())
def test_replicates_are_what_a_loop_over_fit_finds(kind: str) -> None:
    fit, rows, options = _fits()[kind]
    again = fit.bootstrap(8, seed=5)
    for k in range(8):
        drawn = fit.simulate(_child(5, k)).to_numpy()
        alone = laplace.fit(**{**rows, "y": drawn}, **options)
        unit = alone.bse.fillna(1.0).to_numpy()
        found = again.params.loc[k].to_numpy()
        assert np.all(np.abs(found - alone.params.to_numpy()) <= 1e-9 * unit)
    assert list(again.params.columns) == list(fit.params.index)
    assert not len(again.failed)


def test_replicates_are_distributed_as_in_a_simulation_of_ones_own() -> None:
    """Drawn here with numpy alone; Kolmogorov and Smirnov's test has a level of 0.001 in all."""
    fit = laplace.fit(*ROWS, nodes=1)
    r, count = np.random.default_rng(99), 600
    designs = []
    for _ in range(count):
        u = fit.tau * r.standard_normal(20)[ROWS.groups]
        y = (r.random(300) < expit(ROWS.X @ fit.beta + u)).astype(float)
        designs.append((y, ROWS.X, ROWS.groups))
    mine = np.array([one.params for one in laplace.fit_many(designs, nodes=1)])
    theirs = fit.bootstrap(count, seed=1).params.to_numpy()
    for k in range(3):
        assert stats.ks_2samp(mine[:, k], theirs[:, k]).pvalue > 0.001 / 3


def _assert_same_replicates(workers: int) -> None:
    """Assert that replicates are the same, of more of them and in more processes, too."""
    fit = laplace.fit(*ROWS, nodes=1)
    once = fit.bootstrap(40, seed=3)
    more = fit.bootstrap(60, seed=3, workers=workers)
    np.testing.assert_array_equal(more.params[:40], once.params)
    test = fit.test_tau(bootstrap=20, workers=workers)
    np.testing.assert_array_equal(
        test.simulation.statistics, fit.test_tau(bootstrap=20).simulation.statistics
    )


def test_the_same_for_any_number_of_workers() -> None:
    _assert_same_replicates(workers=2)


def test_the_same_for_any_number_of_replicates_and_threads(monkeypatch) -> None:
    fit = laplace.fit(*ROWS, nodes=1)
    once = fit.bootstrap(40, seed=3)
    monkeypatch.setattr(replicates, "MOST_REPLICATES", 7)
    monkeypatch.setattr(parallel, "LARGE", 0)
    monkeypatch.setattr(parallel, "threads", lambda: 2)
    _assert_same_replicates(workers=1)
    np.testing.assert_array_equal(fit.bootstrap(40, seed=3).params, once.params)
    assert not np.array_equal(fit.bootstrap(40, seed=4).params, once.params)
    sequence = np.random.SeedSequence(3)
    np.testing.assert_array_equal(fit.bootstrap(40, seed=sequence).params, once.params)
    assert sequence.n_children_spawned == 0


def _bootstrap_of(values: np.ndarray, estimate: float) -> Bootstrap:
    params = pd.DataFrame({"x": values})
    return Bootstrap(
        params, pd.Series({"x": estimate}), pd.Series(dtype=object), 1, pd.Index([]), {}
    )


def test_intervals_are_the_quantiles_of_the_replicates() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=500)
    again = _bootstrap_of(values, 1.5)
    for alpha in (0.05, 0.2):
        np.testing.assert_allclose(
            again.conf_int(alpha).loc["x"], np.quantile(values, [alpha / 2, 1 - alpha / 2])
        )
        # Efron (1981), by scipy's normal distribution; `scipy.stats.bootstrap` has this with an
        # acceleration of zero
        z_0 = stats.norm.ppf(np.mean(values < 1.5))
        shares = stats.norm.cdf(2 * z_0 + stats.norm.ppf([alpha / 2, 1 - alpha / 2]))
        np.testing.assert_allclose(
            again.conf_int(alpha, "bias-corrected").loc["x"], np.quantile(values, shares)
        )
    assert again.bse["x"] == pytest.approx(np.std(values, ddof=1))
    assert again.bias["x"] == pytest.approx(np.mean(values) - 1.5)
    assert again.cov_params().loc["x", "x"] == pytest.approx(np.var(values, ddof=1))


def test_without_bias_both_intervals_are_the_same() -> None:
    values = np.linspace(-1.0, 3.0, 401)
    again = _bootstrap_of(values, 1.0)
    pd.testing.assert_frame_equal(again.conf_int(), again.conf_int(method="bias-corrected"))


def test_a_bias_corrected_interval_does_not_depend_on_the_scale() -> None:
    """But for interpolation between two replicates."""
    values = np.random.default_rng(2).lognormal(size=20_000)
    plain = _bootstrap_of(values, 1.2).conf_int(method="bias-corrected")
    log = _bootstrap_of(np.log(values), np.log(1.2)).conf_int(method="bias-corrected")
    np.testing.assert_allclose(np.exp(log), plain, rtol=1e-3)


@pytest.mark.parametrize("estimate", [-1.0, 9.0])
def test_no_bias_corrected_interval_where_all_replicates_are_on_one_side(estimate: float) -> None:
    again = _bootstrap_of(np.linspace(0.0, 1.0, 50), estimate)
    assert again.conf_int(method="bias-corrected").isna().all(axis=None)
    assert again.conf_int().notna().all(axis=None)


def test_an_estimate_on_the_boundary_has_intervals() -> None:
    data = laplace.simulate.random_intercepts([30] * 6, [0.2], 0.0, seed=1)
    fit = laplace.fit(*data, nodes=1)
    assert fit.boundary
    again = fit.bootstrap(200)
    assert (again.params["tau"] == 0.0).mean() > 0.3
    for method in ("percentile", "bias-corrected"):
        ends = again.conf_int(method=method)
        assert ends.loc["tau", "lower"] == 0.0
        assert ends.notna().all(axis=None)


@cache
def _rare() -> laplace.Fit:
    """Return a fit with an exposure so rare that some replicates are separated."""
    r = np.random.default_rng(6)
    groups = np.repeat(np.arange(12), 10)
    exposed = (np.arange(120) % 24 == 0).astype(float)
    y = (r.random(120) < 0.4).astype(float)
    y[exposed > 0] = [1, 0, 0, 1, 0]
    X = pd.DataFrame({"one": 1.0, "exposed": exposed}, index=range(120))
    return laplace.fit(y, X, groups, tau=0.5, nodes=1)


def test_replicates_that_are_separated_are_counted_and_left_out() -> None:
    fit = _rare()
    again = fit.bootstrap(60)
    separated = []
    for k in range(60):
        y = fit.simulate(_child(0, k))
        ones = y[fit.data.X[:, 1] > 0]
        if ones.nunique() == 1:
            separated.append(k)
    assert len(separated) > 3
    assert list(again.failed.index) == separated
    assert set(again.failed) == {replicates.SEPARATED}
    assert again.failures.to_dict() == {replicates.SEPARATED: len(separated)}
    assert list(again.params.index[again.params.isna().any(axis=1)]) == separated
    left = again.params.dropna()
    np.testing.assert_allclose(again.conf_int(), left.quantile([0.025, 0.975]).T)
    text = f"{len(separated)} without estimates ({len(separated)}: outcomes are separated)"
    assert text in repr(again)
    assert "those of the others, and too short" in repr(again)
    assert text in again._repr_html_()
    assert "all have estimates" in repr(laplace.fit(*ROWS, nodes=1).bootstrap(3))


def test_replicates_that_are_refused_or_do_not_converge_say_why() -> None:
    groups = np.repeat(np.arange(6), 3)
    y = np.zeros(18)
    y[[0, 4, 9]] = 1.0
    again = laplace.fit(y, np.ones((18, 1)), groups, nodes=1, tau=0.5).bootstrap(40)
    assert set(again.failed) == {
        "refused: y is 0 in every row: the likelihood has no finite maximum; rows with other "
        "outcomes are needed"
    }
    y[:3] = 1.0
    again = laplace.fit(y, np.ones((18, 1)), groups, nodes=1).bootstrap(40)
    assert any(why.startswith(replicates.NOT_CONVERGED) for why in again.failed)
    assert again.params.loc[again.failed.index].isna().all(axis=None)
    assert sum(again.failures) == len(again.failed)


def test_none_has_an_estimate() -> None:
    why = Failure("refused", "so")
    again = Bootstrap(
        pd.DataFrame({"x": [np.nan]}),
        pd.Series({"x": 1.0}),
        pd.Series({0: str(why)}),
        1,
        pd.Index([]),
        count_kinds([why]),
    )
    assert again.conf_int().isna().all(axis=None)
    assert "1 without estimates (1: refused)" in repr(again)


def test_failures_are_counted_by_their_kind_whatever_their_details_say() -> None:
    failures = [Failure("refused", "y: 0"), Failure("at a place: ward 3"), Failure("refused", "x")]
    assert count_kinds(failures) == {"refused": 2, "at a place: ward 3": 1}
    assert [*map(str, failures)] == ["refused: y: 0", "at a place: ward 3", "refused: x"]
    assert list(count_kinds(failures[1:])) == ["at a place: ward 3", "refused"]


def test_bad_arguments() -> None:
    fit = laplace.fit(*ROWS, nodes=1)
    for seed, kind in ((1.5, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError)):
        with pytest.raises(kind, match=r"seed must be a whole number, got .*Sequence will do"):
            fit.bootstrap(10, seed=seed)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        fit.bootstrap(10, seed=-1)
    with pytest.raises(ValueError, match="workers must be a number of processes, or -1, got 0"):
        fit.bootstrap(10, workers=0)
    for workers in ("2", 1.5, True, None):
        with pytest.raises(TypeError, match="workers must be a whole number, a number of proc"):
            fit.bootstrap(10, workers=workers)
    # an argument of the simulation is checked where there is none, too
    with pytest.raises(TypeError, match="seed must be a whole number, got 'x'"):
        fit.test_tau(seed="x")
    with pytest.raises(ValueError, match="workers must be a number of processes, or -1, got -7"):
        fit.compare(laplace.fit(ROWS.y, ROWS.X[:, :1], ROWS.groups, nodes=1), workers=-7)
    with pytest.raises(ValueError, match="replicates must be at least 1, got 0"):
        fit.bootstrap(0)
    with pytest.raises(TypeError, match=r"replicates must be a whole number of .*, got 2\.5"):
        fit.bootstrap(2.5)
    with pytest.raises(ValueError, match="bootstrap must be at least 1, got 0"):
        fit.test_tau(bootstrap=0)
    with pytest.raises(TypeError, match="bootstrap must be a whole number of replicates, got True"):
        fit.test_tau(bootstrap=True)
    assert "1 replicate, with 1 node;" in repr(fit.bootstrap(1))
    again = fit.bootstrap(5)
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, got 2"):
        again.conf_int(2)
    with pytest.raises(ValueError, match="'percentile' or 'bias-corrected', got 'wald'"):
        again.conf_int(method="wald")


def test_a_fit_that_did_not_converge_is_refused() -> None:
    groups = np.repeat(np.arange(10), 4)
    with pytest.warns(laplace.ConvergenceWarning):
        fit = laplace.fit((groups % 2) * 1.0, np.ones((40, 1)), groups, nodes=1)
    with pytest.raises(ValueError, match=r"bootstrap\(\) needs a fit that reached a maximum, but"):
        fit.bootstrap(10)
    with pytest.raises(ValueError, match="did not converge"):
        fit.test_tau(bootstrap=10)


def test_rows_at_several_sites_are_refused() -> None:
    parts = [(ROWS.groups < 8), (ROWS.groups >= 8)]
    sites = [laplace.Site.from_arrays(ROWS.y[k], ROWS.X[k], ROWS.groups[k]) for k in parts]
    fit = laplace.fit_sites(sites, nodes=1)
    for one in (fit, fit.at(sites[0])):
        with pytest.raises(ValueError, match=r"bootstrap\(\) needs the rows, which are at 2 sites"):
            one.bootstrap(10)
        with pytest.raises(ValueError, match="which are at 2 sites and not here"):
            one.test_tau(bootstrap=10)
    smaller = laplace.fit_sites(sites, nodes=1, tau=0)
    with pytest.raises(ValueError, match="which are at 2 sites and not here"):
        fit.compare(smaller, bootstrap=10)
    assert fit.compare(smaller).simulation is None


class Far:
    """A place that answers, and shows no row."""

    def __init__(self, site: laplace.Site) -> None:
        self._site = site

    def answer(self, question: Any) -> Any:
        return self._site.answer(question)


def test_rows_at_one_place_that_is_elsewhere_are_refused_in_words() -> None:
    """As a Dask DataFrame of a single partition has them."""
    site = laplace.Site.from_arrays(*ROWS)
    fit = laplace.fit_sites([Far(site)], nodes=1)
    words = "which are at 1 site and not here; it is for a fit of rows in one place"
    for one in (fit, fit.at(site)):
        with pytest.raises(ValueError, match=words):
            one.bootstrap(10)
        with pytest.raises(ValueError, match=words):
            one.test_tau(bootstrap=10)
    with pytest.raises(ValueError, match=r"resid\(\) needs the rows, which are at 1 site and not"):
        fit.resid()


def test_rows_of_another_place_are_not_those_of_the_fit() -> None:
    some = ROWS.groups < 8
    other = laplace.Site.from_arrays(ROWS.y[some], ROWS.X[some], ROWS.groups[some])
    fit = laplace.fit(*ROWS, nodes=1)
    assert len(fit.at(other).resid()) == some.sum()
    with pytest.raises(ValueError, match="which are at 1 site and not here"):
        fit.at(other).bootstrap(10)


def test_rows_that_stand_for_several_are_refused_by_the_name_of_what_was_called() -> None:
    fit = laplace.fit(*ROWS, nodes=1, weights=np.full(300, 2.0))
    for call, name in (
        (fit.simulate, r"simulate\(\)"),
        (fit.bootstrap, r"bootstrap\(\)"),
        (lambda: fit.test_tau(bootstrap=5), "a test with bootstrap"),
    ):
        with pytest.raises(ValueError, match=f"^{name} draws an outcome for each row, but the row"):
            call()


# tests by simulation ------------------------------------------------------------------------------


def test_the_p_value_is_that_of_a_loop_over_fits() -> None:
    """As `PBmodcomp` of R's pbkrtest has it: both models are fitted to each drawn data set."""
    data = laplace.simulate.random_intercepts([60] * 4, [-0.4, 0.3], 1.5, seed=3)
    X = np.column_stack([data.X, data.groups % 2])
    larger = laplace.fit(data.y, X, data.groups, nodes=1)
    smaller = laplace.fit(data.y, data.X, data.groups, nodes=1)
    test = larger.compare(smaller, bootstrap=99, seed=7)
    plain = larger.compare(smaller)
    drawn = []
    for k in range(99):
        y = smaller.simulate(_child(7, k)).to_numpy()
        two = [laplace.fit(y, of, data.groups, nodes=1).llf for of in (X, data.X)]
        drawn.append(2.0 * (two[0] - two[1]))
    np.testing.assert_allclose(test.simulation.statistics, np.maximum(drawn, 0.0), atol=1e-9)
    p = (1 + np.sum(np.array(drawn) >= plain.statistic)) / 100
    assert test.pvalue == pytest.approx(p)
    assert test.simulation.error == pytest.approx(np.sqrt(p * (1 - p) / 100))
    assert test.simulation.asymptotic == plain.pvalue
    assert (test.statistic, test.df) == (plain.statistic, plain.df)
    assert not test.simulation.failures
    # with four groups the statistic is larger than chi-squared has it
    assert np.quantile(test.simulation.statistics, 0.9) > 1.2 * stats.chi2.ppf(0.9, 1)
    assert test.describe().endswith("by 99 simulations")
    assert f"Monte Carlo error {test.simulation.error:.4f}" in str(test)
    # whichever is asked
    again = smaller.compare(larger, bootstrap=99, seed=7)
    np.testing.assert_array_equal(again.simulation.statistics, test.simulation.statistics)


def test_the_test_of_tau_draws_without_random_intercepts() -> None:
    fit = laplace.fit(*ROWS, nodes=3)
    zero = laplace.fit(*ROWS, nodes=3, tau=0)
    test = fit.test_tau(bootstrap=19, seed=2)
    drawn = []
    for k in range(19):
        y = zero.simulate(_child(2, k)).to_numpy()
        free, none = (laplace.fit(y, *list(ROWS)[1:], nodes=3, tau=tau).llf for tau in (None, 0))
        drawn.append(2.0 * (free - none))
    np.testing.assert_allclose(test.simulation.statistics, np.maximum(drawn, 0.0), atol=1e-9)
    assert test.pvalue == pytest.approx((1 + np.sum(np.array(drawn) >= test.statistic)) / 20)
    assert fit.compare(zero, bootstrap=19, seed=2).pvalue == test.pvalue


def test_a_statistic_of_zero_says_nothing() -> None:
    data = laplace.simulate.random_intercepts([30] * 6, [0.2], 0.0, seed=1)
    assert laplace.fit(*data, nodes=1).test_tau(bootstrap=50).pvalue == 1.0


def test_p_values_of_the_test_of_tau_are_uniform_under_it() -> None:
    """With five groups, where the mixture is not accurate.

    Of 150 data sets as many as 0.3 have p up to 0.3, with a standard error of 0.037; three of these
    are allowed, for three levels.
    """
    r = np.random.default_rng(12)
    groups = np.repeat(np.arange(5), 40)
    X = np.column_stack([np.ones(200), r.normal(size=200)])
    eta = X @ [-0.3, 0.5]
    designs = [((r.random(200) < expit(eta)).astype(float), X, groups) for _ in range(150)]
    p = [fit.test_tau(bootstrap=79).pvalue for fit in laplace.fit_many(designs, nodes=1)]
    for level in (0.1, 0.2, 0.3):
        assert abs(np.mean(np.array(p) <= level) - level) < 3 * np.sqrt(level * (1 - level) / 150)


def test_the_order_of_the_groups_does_not_matter() -> None:
    """The two fits may have other labels for the same groups, and so another order of the rows."""
    y, X, groups = many_groups(4, groups=20)
    names = np.random.default_rng(0).permutation(20).astype(str)[groups]
    larger = laplace.fit(y, X, groups, nodes=1)
    one, two = (laplace.fit(y, X[:, :2], labels, nodes=1) for labels in (groups, names))
    first = larger.compare(one, bootstrap=5)
    other = larger.compare(two, bootstrap=5)
    # the groups take their intercepts in another order, but both models see the same outcomes
    assert np.all(other.simulation.statistics < 20.0)
    assert other.statistic == pytest.approx(first.statistic, rel=1e-9)


def test_data_that_cannot_be_fitted_are_counted() -> None:
    fit = _rare()
    smaller = laplace.fit(fit.data.y, fit.data.X[:, :1], fit.data.codes, tau=0.5, nodes=1)
    larger = laplace.fit(fit.data.y, fit.data.X, fit.data.codes, tau=0.5, nodes=1)
    test = larger.compare(smaller, bootstrap=60)
    failures = test.simulation.failures
    assert set(failures) == {replicates.SEPARATED}
    assert len(test.simulation.statistics) + failures[replicates.SEPARATED] == 60
    assert f", {failures[replicates.SEPARATED]} more left out" in test.distribution
    b = np.sum(test.simulation.statistics >= test.statistic - 1e-6)
    assert test.pvalue == (1 + b) / (1 + len(test.simulation.statistics))


def test_a_larger_model_below_the_smaller_has_no_statistic(monkeypatch) -> None:
    """As where a search ended at a lower maximum."""
    real = replicates._fitted

    def lower(target: Any, *more: Any) -> Any:
        found = real(target, *more)
        if target.problem.tau is None:
            found.llf[0] -= 100.0
        return found

    fit = laplace.fit(*ROWS, nodes=1)
    monkeypatch.setattr(replicates, "_fitted", lower)
    test = fit.test_tau(bootstrap=5)
    assert test.simulation.failures == {"the larger model ended below the smaller": 1}
    assert len(test.simulation.statistics) == 4


def test_children_are_those_that_numpy_spawns() -> None:
    for ours, theirs in zip(seeds_of(11, 4), np.random.SeedSequence(11).spawn(4), strict=True):
        assert ours.generate_state(4).tolist() == theirs.generate_state(4).tolist()
    nested = np.random.SeedSequence(11).spawn(2)[1]
    (first,) = seeds_of(nested, 1)
    assert first.generate_state(2).tolist() == nested.spawn(1)[0].generate_state(2).tolist()


def test_rows_are_shared_between_replicates() -> None:
    fit = laplace.fit(*ROWS, nodes=1)
    other = fit.data.with_outcomes(1.0 - fit.data.y)
    assert other.X is fit.data.X
    assert other.plan is fit.data.plan
    assert not other.y.flags.writeable
    assert replace(other, y=fit.data.y).mixed_groups == fit.data.mixed_groups
