"""Figures: drawn from the numbers given, the same file at every run, in the book's colours."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import chi2

import laplace
from compendium import plots, plots_answer, plots_experiment, plots_study

RNG = np.random.default_rng(1)
GROUP = RNG.normal(size=(8, 1)), (np.arange(8) % 3 == 0).astype(float)
NAMES = ["x0", "x1"]
# a measure and the ends of its bar, of two methods in two scenarios; one value is off the axis
MEASURED = pd.DataFrame(
    {
        "value": [0.94, 0.90, 0.96, 0.5],
        "lower": [0.92, 0.86, 0.94, 0.4],
        "upper": [0.96, 0.94, 0.98, 0.9],
    },
    index=pd.MultiIndex.from_product(
        [["small", "large"], ["laplace", "quadrature-9"]], names=["scenario", "method"]
    ),
)
MAPPED = pd.DataFrame([[0.02, 0.1, 3.0], [0.3, 0.6, 0.7]], [50, 1000], [0.5, 1.0, 4.0])
DESIGNS = pd.DataFrame({"rows": [2, 2], "groups": [50, 500], "τ": [1.0, 1.0]}, ["small", "large"])
SITES = pd.DataFrame(
    {"value": [70.0, 90.0, 95.0], "mcse": [2.0, 1.0, 1.0]},
    index=pd.MultiIndex.from_tuples([("auto", 2), ("auto", 10), ("reml", 2)]),
)
CELLS = pd.Series(
    np.linspace(0.0, 1.6, 16),
    pd.MultiIndex.from_product(
        [[0.05, 0.5], [10, 500], [2, 30], [1.0, 4.0]],
        names=["prevalence", "groups", "rows", "tau"],
    ),
)
ONE_OUTCOME = pd.DataFrame(
    {"one outcome": [5.0, 60.0, 90.0], "error": [1.0, 20.0, 500.0], "groups": [10, 50, 500]}
)


def every_figure() -> dict[str, Figure]:
    effects = pd.DataFrame({"mode": RNG.normal(size=9), "sd": RNG.random(9)})
    curve = pd.Series([-2.0, 0.0, -1.0], index=[0.5, 1.0, 1.5])
    arms = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.1]}, index=[0, 12])
    errors = pd.DataFrame({"ordinary": [1e-1, 0.0], "adaptive": [1e-2, 1e-9]}, index=[1, 9])
    terms = pd.DataFrame(
        {"Laplace": [1e-2, 1e-3], "with the next term": [1e-3, 1e-5]}, index=[10, 100]
    )
    moved = pd.DataFrame({"predicted": [0.1, -0.3], "actual": [0.12, -0.2]})
    return {
        "integrand": plots.integrand({"eight rows": GROUP}, np.array([0.3]), 1.0, 5),
        "quadrature_error": plots.quadrature_error(errors),
        "remainder": plots.remainder(terms),
        "errors_by_events": plots.errors_by_events(
            pd.DataFrame({"no event": [0.1, 0.2], "both": [0.1, 0.01]}, index=[10, 100]),
            pd.DataFrame({10: [0.1, np.nan], 100: [0.2, 0.01]}, index=[0, 8]),
        ),
        "errors_by_group": plots.errors_by_group(
            {"ordinary": errors, "adaptive": errors / 10}, pd.Series(["x", "y"], errors.columns)
        ),
        "predicted_shifts": plots.predicted_shifts(moved, 2.0),
        "curves": plots.curves({"a model": arms, "another": arms}, "age", "probability"),
        "by_nodes": plots.by_nodes(
            {"an estimate": errors, "another": errors}, {"an estimate": 0.1, "another": 0}
        ),
        "map_of_designs": plots.map_of_designs({"τ": MAPPED}, 10 * MAPPED + 1),
        "coefficients": plots.coefficients(
            {
                "truth": ([1, 2], None),
                "published": ([1.5, 2.5], None),
                "Laplace": ([1.1, 2.1], [0.1, 0.2]),
                "quadrature, 5 nodes": ([1.2, 2.2], [0.1, 0.2]),
            },
            NAMES,
        ),
        "published_distances": plots.published_distances(
            pd.DataFrame({"lme4": [0.0, 0.001, 0.002], "LA": [0.5, 2.0, np.nan]})
        ),
        "profile": plots.profile({"one": curve, "two": curve}, {"one": 1.0, "two": 1.1}),
        "random_effects": plots.random_effects(effects),
        "speed": plots.speed(
            pd.DataFrame({"ours": [0.1, 0.2], "theirs": [1.0, np.nan]}, index=["one", "two"]),
            pd.DataFrame({"as drawn": [0.1, 1.0], "sorted": [0.05, 0.8]}, index=[10, 100]),
        ),
        "proportions": plots.proportions(arms, {"a model": arms}, "proportion"),
        "by_design": plots_study.by_design(MEASURED, DESIGNS, 0.95, "coverage", (0.8, 1.0)),
        "against": plots_study.against(
            {"a pair": pd.DataFrame({"a": [1.0, 2.0], "b": [1.5, 1.0]})}
        ),
        "factorial": plots_study.factorial(CELLS, (0.1, 0.5, 1.0), "laplace", ".1f"),
        "over_one_outcome": plots_study.over_one_outcome(ONE_OUTCOME, (-50.0, 100.0)),
        "convergence": plots_experiment.convergence(
            {"as published": pd.Series([1.0, 0.2]), "corrected": pd.Series([1.0, 1e-9])}
        ),
        "touched": plots_experiment.touched(
            pd.DataFrame({"score": [0.03, 0.0], "Hessian": [0.0, 0.001]}, ["a", "b"])
        ),
        "flow_chart": plots_answer.flow_chart(),
        "by_sites": plots_study.by_sites(
            {"between": SITES, "within": SITES}, 95.0, "coverage", (50, 100)
        ),
        "run_times": plots_study.run_times(
            pd.DataFrame({"laplace": [0.001, 0.003], "mine": [0.1, 0.2]})
        ),
    }


def test_every_figure_is_written_the_same_way_twice(tmp_path: Path) -> None:
    global RNG
    written: list[dict[str, bytes]] = []
    for _ in range(2):
        RNG = np.random.default_rng(2)
        files = {}
        for name, figure in every_figure().items():
            assert isinstance(figure, Figure)
            plots.save_svg(figure, tmp_path / f"{name}.svg")
            files[name] = (tmp_path / f"{name}.svg").read_bytes()
        written.append(files)
    assert written[0] == written[1]
    rooms = (plots, plots_answer, plots_experiment, plots_study)
    drawn = {n for room in rooms for n, f in vars(room).items() if hasattr(f, "__wrapped__")}
    assert drawn == set(written[0])


def test_the_integrand_and_its_gaussian_touch_at_the_mode() -> None:
    x, y = GROUP
    figure = plots.integrand({"eight rows": GROUP}, np.array([0.3]), 1.0, 5)
    curve, gaussian, nodes = (line.get_xydata() for line in figure.axes[0].lines)
    mode = laplace.derivatives.mode(x, y, np.array([0.3]), 1.0)
    for line in (curve, gaussian):
        assert abs(line[np.argmax(line[:, 1]), 0] - mode) < 0.05
        assert abs(line[:, 1].max() - 1.0) < 1e-2
    at = laplace.quadrature.adaptive_nodes(x, y, np.array([0.3]), 1.0, 5)
    assert set(nodes[:, 0]) <= set(at)


def test_colours_mean_the_same_in_every_figure() -> None:
    figure = every_figure()["coefficients"]
    handles, labels = figure.axes[0].get_legend_handles_labels()
    colours = [handle.lines[0].get_color() for handle in handles]
    assert labels == ["truth", "published", "Laplace", "quadrature, 5 nodes"]
    kinds = ("truth", "published", "laplace", "quadrature")
    assert colours == [plots.COLOURS[kind] for kind in kinds]


def test_predicted_shifts_are_drawn_by_their_size() -> None:
    _, points = (line.get_xydata() for line in every_figure()["predicted_shifts"].axes[0].lines)
    np.testing.assert_allclose(points, [[0.12, 0.1], [0.2, 0.3]])


def test_errors_by_events_are_drawn_where_they_are_and_named_beside() -> None:
    above, below = every_figure()["errors_by_events"].axes
    np.testing.assert_allclose(above.lines[1].get_xydata(), [[10, 0.1], [100, 0.01]])
    assert [text.get_text() for text in above.texts] == ["no event", "both"]
    assert [text.xy[1] for text in above.texts] == [0.2, 0.01]
    few, many, guide = (line.get_xydata() for line in below.lines)
    np.testing.assert_allclose(few, [[0, 0.1]])  # ten rows cannot hold eight of the rarer outcome
    np.testing.assert_allclose(many, [[0, 0.2], [8, 0.01]])
    np.testing.assert_allclose(guide, [[8, 1 / 96]])


def test_a_maximum_is_drawn_where_it_is() -> None:
    one, two = every_figure()["profile"].axes
    _, level, best = one.lines
    assert best.get_xydata().tolist() == [[1.0, 0.0]]
    assert two.lines[2].get_xydata().tolist() == [[1.1, 0.0]]
    np.testing.assert_allclose(level.get_ydata(), -chi2.isf(0.05, 1) / 2, rtol=1e-12)
    assert two.texts[0].get_text() == "maximum at 1.10"


def test_published_distances_are_drawn_by_method_with_their_medians() -> None:
    ax = every_figure()["published_distances"].axes[0]
    _, lme4, own = ax.lines
    np.testing.assert_allclose(lme4.get_xdata(), [1e-6, 0.001, 0.002])  # what is nearer, at the end
    np.testing.assert_allclose(own.get_xdata(), [0.5, 2.0])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["lme4", "LA"]
    medians = [c.get_segments()[0][0, 0] for c in ax.collections]
    np.testing.assert_allclose(medians, [0.001, 1.25])


def test_each_kind_of_group_has_its_own_line() -> None:
    errors = pd.DataFrame([[1.0, 3.0, 0.1, 0.5], [0.5, 1.5, 0.2, 0.3]], index=[1, 9])
    kinds = pd.Series(["a", "a", "b", "c"], errors.columns)
    (ax,) = plots.errors_by_group({"ordinary": errors}, kinds).axes
    medians = {
        line.get_label(): (line.get_linestyle(), line.get_ydata().tolist())
        for line in ax.lines
        if line.get_color() == plots.COLOURS["truth"]
    }
    assert medians == {"a": ("-", [2.0, 1.0]), "b": (":", [0.1, 0.2]), "c": ("--", [0.5, 0.3])}
    with pytest.raises(ValueError, match=r"at most 3 kinds, got 4: put some of them together"):
        plots.errors_by_group({"ordinary": errors}, pd.Series(list("abcd"), errors.columns))


def test_an_error_that_is_not_known_is_not_drawn() -> None:
    errors = pd.DataFrame({"ordinary": [np.nan, 0.1], "adaptive": [0.2, 0.0]}, index=[1, 9])
    ordinary, adaptive, _ = plots.quadrature_error(errors, "distance").axes[0].lines
    np.testing.assert_allclose(ordinary.get_xydata(), [[9, 0.1]])
    np.testing.assert_allclose(adaptive.get_xydata(), [[1, 0.2], [9, 1e-16]])


def test_numbers_of_nodes_are_named_where_there_is_room() -> None:
    nodes = [1, 3, 20, 25, 50]
    estimates = pd.DataFrame({"ordinary": 0.0, "adaptive": 0.1}, index=nodes)
    ax = plots.by_nodes({"an estimate": estimates}, {"an estimate": 0.1}).axes[0]
    assert list(ax.get_xticks()) == nodes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "3", "20", "", "50"]


def test_few_groups_are_named_in_the_order_drawn() -> None:
    effects = pd.DataFrame({"mode": [0.5, -1.0, 0.1], "sd": 0.2}, index=[7, 8, 9])
    ax = plots.random_effects(effects, "herds").axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "9", "7"]
    assert ax.get_xlabel() == "herds, sorted"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [-1.0, 0.1, 0.5])


def test_intervals_that_are_given_are_drawn_as_they_are() -> None:
    effects = pd.DataFrame({"mode": [0.5, -1.0], "sd": 9.0, "low": [0.1, -3.0], "high": [0.7, 0.0]})
    (bars,) = plots.random_effects(effects).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[-3.0, 0.0], [0.1, 0.7]]


def test_four_curves_have_four_colours_and_end_where_they_end() -> None:
    fitted = pd.DataFrame({k: [0.1 * k, 0.2, np.nan] for k in range(1, 5)}, index=[0, 1, 2])
    (ax,) = plots.curves({"a model": fitted}, "age", "probability").axes
    assert len({line.get_color() for line in ax.lines}) == 4
    assert {tuple(line.get_xdata()) for line in ax.lines} == {(0, 1)}
    lower = plots.curves({"a": fitted / 2, "b": fitted}, "age", "probability").axes[1]
    assert lower.get_ylim() == (0.0, 1.05 * 0.4)  # the higher of both fits


def test_a_map_says_each_number_and_is_darker_where_it_is_larger() -> None:
    shifts, nodes = every_figure()["map_of_designs"].axes
    said = [text.get_text() for text in shifts.texts]
    assert said == ["0.02", "0.10", "3.00", "0.30", "0.60", "0.70"]
    assert [text.get_text() for text in nodes.texts] == ["1", "2", "31", "4", "7", "8"]
    depth = [part.get_alpha() for part in shifts.collections]
    np.testing.assert_allclose(depth, 0.85 * np.array([0, 0, 4, 2, 3, 3]) / 4)  # 0.10 is white
    assert [t.get_text() for t in shifts.get_yticklabels()] == ["50", "1,000"]
    assert [t.get_text() for t in nodes.get_xticklabels()] == ["0.5", "1", "4"]


def test_the_users_settings_are_left_alone() -> None:
    before = mpl.rcParams["font.size"]
    every_figure()
    assert mpl.rcParams["font.size"] == before


def test_measures_are_drawn_where_they_are_with_their_bars() -> None:
    figure = plots_study.by_design(MEASURED, DESIGNS, 0.95, "coverage", (0.8, 1.0))
    assert [ax.get_title() for ax in figure.axes] == [
        "2 rows, 50 groups",
        "2 rows, 500 groups",
    ]
    first = {line.get_label(): line for line in figure.axes[0].lines}
    assert first["laplace"].get_ydata() == [0.94]
    assert first["laplace"].get_color() == plots.COLOURS["laplace"]
    bars = [c.get_segments()[0][:, 1].tolist() for c in figure.axes[0].collections]
    assert bars == [[0.92, 0.96], [0.86, 0.94]]
    labels = figure.legends[0].get_texts()
    assert [label.get_text() for label in labels] == ["laplace", "quadrature-9"]
    # what is off the axis is drawn at its end, and so is what its bar has there
    exact = [line for line in figure.axes[1].lines if line.get_label() == "quadrature-9"]
    assert exact[0].get_ydata() == [0.8]
    assert figure.axes[1].collections[1].get_segments()[0][:, 1].tolist() == [0.8, 0.9]


def test_the_factorial_has_a_map_for_each_prevalence_and_number_of_groups() -> None:
    figure = plots_study.factorial(CELLS, (0.1, 0.5, 1.0), "laplace", ".1f")
    assert [ax.get_title() for ax in figure.axes] == [
        "10 groups, 5 % ones",
        "500 groups, 5 % ones",
        "10 groups, 50 % ones",
        "500 groups, 50 % ones",
    ]
    last = figure.axes[-1]
    assert [text.get_text() for text in last.texts] == ["1.3", "1.4", "1.5", "1.6"]
    assert [t.get_text() for t in last.get_xticklabels()] == ["1", "4"]
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()] == ["2", "30"]
    # darker beyond each step, and white text where it is dark
    depths = {round(patch.get_alpha(), 9) for ax in figure.axes for patch in ax.collections}
    assert depths == {0.0, 0.3, 0.6, 0.9}
    assert {text.get_color() for text in last.texts} == {"white"}
    missing = plots_study.factorial(CELLS.where(CELLS < 1.45), (0.1,), "laplace", ".1f")
    assert [text.get_text() for text in missing.axes[-1].texts] == ["1.3", "1.4", "–", "–"]


def test_an_error_over_groups_with_one_outcome_is_drawn_for_each_number_of_groups() -> None:
    (ax,) = plots_study.over_one_outcome(ONE_OUTCOME, (-50.0, 100.0)).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines[1:]}
    assert drawn == {
        "10 groups": [[5.0, 1.0]],
        "50 groups": [[60.0, 20.0]],
        "500 groups": [[90.0, 100.0]],  # at the end of the axis
    }


def test_a_flow_chart_has_a_question_and_an_answer_in_each_row() -> None:
    steps = [
        plots_answer.Step("How many?", "few", "Stop here.", "many"),
        plots_answer.Step("Many", "", "Go on."),
    ]
    (ax,) = plots_answer.flow_chart(steps).axes
    words = [text.get_text() for text in ax.texts if text.get_text()]
    assert words == ["How many?", "Stop here.", "few", "many", "Many", "Go on."]
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert heights["How many?"] == heights["Stop here."] < heights["many"] < heights["Go on."]


def test_methods_for_few_sites_are_drawn_at_their_number_of_sites() -> None:
    figure = plots_study.by_sites({"between": SITES, "within": SITES}, 95.0, "coverage", (50, 100))
    assert [ax.get_title() for ax in figure.axes] == ["between", "within"]
    ax = figure.axes[0]
    of = {line.get_label(): line for line in ax.lines}
    assert of["auto"].get_ydata().tolist() == [70.0, 90.0]
    assert of["auto"].get_xdata().round().tolist() == [0, 1]
    assert of["reml"].get_color() == plots.COLOURS["other arm"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2 sites", "10 sites"]
    ends = ax.collections[0].get_segments()[0][:, 1]
    np.testing.assert_allclose(ends, [70.0 - 2 * 1.96, 70.0 + 2 * 1.96])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["auto", "reml"]


def test_pairs_and_times_are_drawn_as_they_are() -> None:
    identity, dots = every_figure()["against"].axes[0].lines
    assert identity.get_xydata().tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert dots.get_xydata().tolist() == [[1.0, 1.5], [2.0, 1.0]]
    ax = every_figure()["run_times"].axes[0]
    np.testing.assert_allclose([line.get_xdata() for line in ax.lines], [[1, 3], [100, 200]])
    medians = [c.get_segments()[0][0, 0] for c in ax.collections]
    np.testing.assert_allclose(medians, [2.0, 150.0])
    assert ax.lines[1].get_color() == plots.COLOURS["faint"]  # a method of the user's own


def test_an_algorithm_is_drawn_by_its_steps_down_to_rounding() -> None:
    slow, fast = pd.Series([1.0, 0.2, 0.2]), pd.Series([1.0, 1e-12])
    ax = plots_experiment.convergence({"as published": slow, "corrected": fast}).axes[0]
    published, corrected = ax.lines
    assert published.get_xydata().tolist() == [[0, 1.0], [1, 0.2], [2, 0.2]]
    assert corrected.get_ydata().tolist() == [1.0, plots_experiment.LEAST]
    assert published.get_color() == plots.COLOURS["published"]
    assert [text.get_text() for text in ax.texts] == ["as published", "corrected"]


def test_a_grid_says_what_is_touched_and_by_how_much() -> None:
    effects = pd.DataFrame({"score": [0.033, 0.0], "Hessian": [0.0, 0.00084]}, ["sign", "fourth"])
    ax = plots_experiment.touched(effects).axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.033", "–", "–", "0.00084"]
    filled = [tuple(square.get_facecolor()[0][:3]) for square in ax.collections]
    assert [colour == (1.0, 1.0, 1.0) for colour in filled] == [False, True, True, False]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["sign", "fourth"]
