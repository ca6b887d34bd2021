"""Performance measures: against the R package rsimsum, and how they treat failures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from designs import REFERENCE

from compendium.study import Study, distances, failures, intervals, performance, shifts

# Our names, and those of rsimsum.
NAMES = {
    "bias": "bias",
    "relative_bias": "rbias",
    "empirical_se": "empse",
    "mse": "mse",
    "model_se": "modelse",
    "relative_error": "relerror",
    "coverage": "cover",
    "coverage_of_mean": "becover",
    "power": "power",
    "relative_precision": "relprec",
}


def made_up() -> pd.DataFrame:
    rows = pd.read_csv(REFERENCE / "simsum.csv")
    return rows.assign(
        scenario="s", estimand="x", converged=True, boundary=False, lower=np.nan, upper=np.nan
    )


@pytest.mark.parametrize("method", ["a", "b"])
@pytest.mark.parametrize("measure", NAMES)
def test_measures_and_their_monte_carlo_errors_are_those_of_rsimsum(method, measure):
    # tests/reference/simsum.R ran rsimsum 0.13.1 on the same rows
    with (REFERENCE / "simsum.json").open(encoding="utf-8") as file:
        reference = json.load(file)[method][NAMES[measure]]
    ours = performance(made_up(), reference="a").loc["s", method, "x"]
    # ten digits: R writes fifteen, and its correlation of a method with itself is 1 to rounding
    assert ours[measure] == pytest.approx(reference["est"], rel=1e-10, abs=1e-10)
    assert ours[f"{measure}_mcse"] == pytest.approx(reference["mcse"], rel=1e-10, abs=1e-5)


def rows_of(estimate, se, *, truth=1.0, estimand="x", converged=True, boundary=False):
    n = len(estimate)
    return pd.DataFrame(
        {
            "scenario": "s",
            "replicate": np.arange(n),
            "method": "m",
            "estimand": estimand,
            "estimate": estimate,
            "standard_error": se,
            "lower": np.nan,
            "upper": np.nan,
            "truth": truth,
            "converged": converged,
            "boundary": boundary,
            "approximation_error": 0.0,
            "message": "",
        }
    )


def only(table):
    assert len(table) == 1
    return table.iloc[0]


def test_failures_are_left_out_even_where_a_number_is_left_of_them():
    rows = rows_of([1.0, 1.2, 9.0, np.nan, 0.0], [0.1, 0.1, np.nan, np.nan, np.nan])
    rows["converged"] = [True, True, False, False, True]
    rows["boundary"] = [False, False, False, False, True]
    default = only(performance(rows))
    assert (default["replicates"], default["used"], default["intervals"]) == (5, 3, 2)
    assert default["bias"] == pytest.approx(2.2 / 3 - 1.0)
    assert default["coverage"] == 0.5
    assert default["convergence"] == 0.6
    assert default["boundary"] == pytest.approx(1 / 3)
    strict = only(performance(rows, exclude=("boundary",)))
    assert strict["used"] == 2
    assert strict["bias"] == pytest.approx(0.1)
    # of all replicates, in any case
    assert (strict["convergence"], strict["boundary"]) == (0.6, pytest.approx(1 / 3))


def test_where_nothing_converged_there_is_nothing_to_measure():
    assert performance(rows_of([1e20, -1e28], [np.nan, np.nan], converged=False)).empty


def test_the_interval_of_tau_is_symmetric_on_the_log_scale_and_has_no_power():
    rows = rows_of([2.0], [0.5], truth=1.25, estimand="tau")
    found = only(intervals(rows))
    factor = np.exp(1.959963984540054 * 0.5 / 2.0)
    assert found["lower"] == pytest.approx(2.0 / factor, rel=1e-12)
    assert found["upper"] == pytest.approx(2.0 * factor, rel=1e-12)
    assert found["covers"]
    assert not only(intervals(rows.assign(estimand="x", truth=0.9)))["covers"]
    measures = only(performance(pd.concat([rows, rows.assign(replicate=1)])))
    assert measures["coverage"] == 1.0
    assert np.isnan(measures["power"])


def test_where_the_truth_varies_errors_are_summarised():
    truth = np.array([1.0, 3.0, 5.0])
    measures = only(
        performance(rows_of(truth + np.array([0.1, -0.1, 0.3]), [0.2] * 3, truth=truth))
    )
    assert measures["bias"] == pytest.approx(0.1)
    assert measures["empirical_se"] == pytest.approx(0.2)
    assert np.isnan(measures["relative_bias"])


def test_few_replicates_have_no_monte_carlo_error_and_no_warning():
    with np.errstate(all="raise"):
        one = only(performance(rows_of([1.1], [0.1]), reference="m"))
    assert one["bias"] == pytest.approx(0.1)
    assert np.isnan([one["bias_mcse"], one["empirical_se"], one["relative_error"]]).all()
    none = performance(rows_of([np.nan], [np.nan], converged=False))
    assert none.empty


def test_the_coverage_of_a_known_proportion():
    z = 1.959963984540054
    rng = np.random.default_rng(4)
    rows = rows_of(1.0 + rng.normal(size=4000), np.ones(4000))
    measures = only(performance(rows))
    # 4,000 draws from the distribution that the interval is made for
    assert abs(measures["coverage"] - 0.95) < 4 * measures["coverage_mcse"]
    assert measures["coverage"] == np.mean(np.abs(rows["estimate"] - 1.0) <= z)
    half = only(performance(rows, level=0.5))
    assert abs(half["coverage"] - 0.5) < 4 * half["coverage_mcse"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exclude": ("failed",)}, r"exclude holds \['failed'\], but may hold 'boundary' only"),
        ({"exclude": ("not converged",)}, "exclude holds"),  # they have no estimate to keep or not
        ({"exclude": "boundary"}, "exclude holds"),
        ({"reference": "q"}, "reference: 'q' is not a method of these results"),
        ({"level": 95}, "level must be between 0 and 1, got 95"),
    ],
)
def test_what_is_wrong_is_said(options, words):
    with pytest.raises(ValueError, match=words):
        performance(rows_of([1.0], [1.0]), **options)


def test_a_methods_own_intervals_are_used_and_may_have_no_end():
    rows = rows_of([1.2, 1.2, 1.2, 1.2], [0.1, 0.1, 0.1, 0.1])
    rows["lower"], rows["upper"] = [0.9, 1.1, -np.inf, np.nan], [1.3, 1.3, np.inf, 1.3]
    found = intervals(rows)
    # the last has no lower end of its own, so that its interval is Wald's
    assert found["covers"].tolist() == [True, False, True, False]
    measures = only(performance(rows))
    assert (measures["coverage"], measures["intervals"]) == (0.5, 4)
    assert measures["power"] == 0.75
    # at the boundary there is an interval, although there is no standard error
    at_zero = rows_of([0.0], [np.nan], estimand="tau", boundary=True)
    at_zero["lower"], at_zero["upper"] = 0.0, 1.5
    assert only(performance(at_zero))["coverage"] == 1.0
    assert only(intervals(at_zero))["covers"]


def test_quantiles_and_wild_estimates():
    rows = rows_of([1.0, 1.1, 1.2, 1.3, 50.0], [0.1] * 5)
    measures = only(performance(rows))
    assert measures["median_error"] == pytest.approx(0.2)
    assert measures["lower_error"] == pytest.approx(0.1)
    assert measures["upper_error"] == pytest.approx(0.3)
    assert measures["beyond"] == 0.2
    assert measures["bias"] > 9.0
    assert np.isnan(only(performance(rows_of([1.0, 2.0], [0.1] * 2, truth=0.0)))["beyond"])
    # of normal errors, the standard error of the median is sqrt(pi / 2n)
    rng = np.random.default_rng(2)
    many = only(performance(rows_of(rng.normal(size=20_000), np.ones(20_000), truth=0.0)))
    assert many["median_error_mcse"] == pytest.approx(np.sqrt(np.pi / 40_000), rel=0.1)


def test_distances_are_those_between_estimates_that_both_have():
    ours = rows_of([1.0, 1.3, 9.0, 0.0], [0.1, 0.2, 0.1, np.nan], estimand="tau")
    ours["converged"] = [True, True, False, True]
    ours["boundary"] = [False, False, False, True]
    theirs = rows_of([1.1, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5], estimand="tau")
    both = pd.concat([ours.assign(method="a"), theirs.assign(method="b")])
    found = only(distances(both, "a", "b"))
    assert (found["drawn"], found["compared"]) == (4, 2)
    assert (found["apart"], found["alone"]) == (1, 1)
    # in log tau, whose standard error is 0.5 / tau of the reference
    each = [abs(np.log(1.0 / 1.1)) / (0.5 / 1.1), np.log(1.3) / 0.5]
    assert found["median"] == pytest.approx(np.mean(each))
    of_x = both.assign(estimand="x", boundary=False, converged=True)
    assert only(distances(of_x, "a", "b"))["upper"] > 10.0


def test_failures_are_counted_by_what_they_say():
    rows = Study(["sites-2x30-tau2"], ["laplace", "site-dummies"], replicates=60).run(workers=2)
    counts = failures(rows)
    fits = rows.drop_duplicates(["replicate", "method"])
    for method in ("laplace", "site-dummies"):
        of_method = fits[fits["method"] == method]
        row = counts.loc["sites-2x30-tau2", method]
        assert row["replicates"] == 60
        assert row["converged"] == of_method["converged"].sum()
        assert row["boundary"] == of_method["boundary"].sum()
        said = row.drop(["replicates", "converged", "boundary"])
        assert said.sum() == 60 - row["converged"]
    assert counts["X separates y"].sum() > 0


def test_shifts_put_the_predicted_error_beside_the_actual_one():
    study = Study(["groups-50x10-tau1-prev20"], ["laplace", "reference"], replicates=20)
    found = shifts(study.run(workers=1), "laplace", "reference")
    import laplace

    data = study.data("groups-50x10-tau1-prev20", 4)
    fit, exact = laplace.fit(*data, nodes=1), laplace.fit(*data, nodes=99)
    scale = np.append(fit.bse.iloc[:-1], fit.bse["tau"] / fit.tau)
    rows = found[found["replicate"] == 4].set_index("estimand")
    # estimates are kept to five digits, of which the difference loses some
    np.testing.assert_allclose(rows["actual"], (exact.theta - fit.theta) / scale, atol=2e-4)
    # 13 bits are kept of what was predicted
    error = fit.approximation_error()
    np.testing.assert_allclose(rows["predicted"], error, rtol=2**-13, atol=1e-6)
    # one Newton step goes nearly all the way where the error is small
    assert (found["predicted"] - found["actual"]).abs().max() < 0.1 * found["actual"].abs().max()
