"""What the chapter on sites is made of: processes, attacks, a meta-analysis, a model of costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import laplace
from compendium import costs, hospitals
from compendium.plots_sites import what_leaves
from laplace.questions import ALL, AskCensus, AskWithout

RNG = np.random.default_rng(2)


def rows(n: int) -> pd.DataFrame:
    x = RNG.normal(size=(n, 3))
    return pd.DataFrame(x, columns=["x1", "x2", "x3"]).assign(
        y=np.arange(n) % 2, ward=np.arange(n) // 15
    )


def test_hospitals_are_processes_that_end(tmp_path) -> None:
    parts = [rows(300), rows(420).assign(ward=lambda d: d["ward"] + 100)]
    with hospitals.hospitals(parts, "y ~ x1 + x2", "ward") as two:
        fit = two.fit(nodes=1)
        assert two.ask("site-1", AskCensus(ALL, "")).n == 300
        kinds = [entry["kind"] for entry in two.log("site-2")]
        assert kinds.count("answered") == fit.rounds
        folder = two.folder
    assert not folder.exists()
    together = laplace.fit_formula("y ~ x1 + x2", pd.concat(parts), "ward", nodes=1)
    np.testing.assert_allclose(fit.params, together.params, rtol=1e-10, atol=1e-12)
    with (
        pytest.raises(RuntimeError, match="a gate did not open"),
        hospitals.hospitals([rows(90)], "y ~ absent", "ward"),
    ):
        pass


def test_one_row_is_read_off_an_open_answer() -> None:
    data = rows(300)
    site = laplace.Site.from_formula("y ~ x1 + x2 + x3", data, "ward")
    X = site.data.X
    row = int(X[:, 3].argmax())
    answer = site.answer(AskWithout(ALL, hospitals.singling_out(X, row)))
    np.testing.assert_allclose(hospitals.one_row(answer), X[row], rtol=1e-10)


def test_rows_are_solved_for() -> None:
    data = rows(6)
    site = laplace.Site.from_formula("y ~ x1 + x2 + x3", data, "ward")
    betas = list(RNG.normal(size=(5, 4)))
    answers = [site.answer(AskWithout(ALL, beta)) for beta in betas]
    found = hospitals.solved_from_answers(answers, betas, 3, 6)
    truth = hospitals.sorted_rows(data[["x1", "x2", "x3"]].to_numpy(), data["y"].to_numpy())
    np.testing.assert_allclose(found, truth, atol=1e-7)


def test_a_meta_analysis_of_one_site_is_its_fit() -> None:
    data = rows(300)
    fit = laplace.fit_formula("y ~ x1 + x2", data, "ward", nodes=1)
    meta = hospitals.meta_analysis([fit, fit])
    np.testing.assert_allclose(meta["estimate"], fit.params[:-1])
    np.testing.assert_allclose(meta["std. error"], fit.bse[:-1] / np.sqrt(2.0))


def test_the_model_of_costs_is_fitted_to_what_is_stored() -> None:
    model, found = costs.fitted(), costs.stored()
    assert min(model.fixed, model.per_partition, model.per_row) >= 0.0
    off = [
        model.seconds(r["rows"], r["partitions"], found["workers"]) / r["seconds"]
        for r in found["rounds"]
    ]
    assert 0.5 < np.exp(np.mean(np.log(off))) < 1.5
    table = model.table([10**9, 10**10], 1000, 1000, 16)
    assert table["seconds a round"].is_monotonic_increasing
    assert table.index.tolist() == ["1e09", "1e10"]


def test_areas_are_to_scale() -> None:
    figure = what_leaves(10_000, {"once": 100, "a fit": 2500})
    boxes = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_width")][:3]
    areas = [box.get_width() * box.get_height() for box in boxes]
    np.testing.assert_allclose(areas, [10_000, 100, 2500])
