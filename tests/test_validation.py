"""The predicted error of an approximation against what many nodes show, on random designs."""

from __future__ import annotations

import numpy as np
import pytest

import laplace
from compendium.simulate import small_groups
from compendium.validation import (
    GROUPS,
    ROWS_OF_A_GROUP,
    TAU,
    map_of_designs,
    predicted_shifts,
    random_design,
)

COLUMNS = ["rows", "groups", "tau", "outcome", "parameter", "predicted", "actual", "ratio"]


@pytest.mark.parametrize("nodes", [1, 3, 5])
def test_the_shift_is_predicted(nodes: int) -> None:
    """The parameter that moves most, on other designs than those of the chapter on quadrature."""
    shifts = predicted_shifts(250, nodes=nodes, seed=11)
    assert set(shifts["outcome"]) <= {
        *("compared", "tau = 0", "elsewhere", "no shift", "no estimate"),
    }
    compared = shifts[shifts["outcome"] == "compared"]
    assert len(compared) >= 200
    ratio = compared["ratio"]
    assert abs(ratio.median() - 1.0) < 0.05
    assert ratio.between(0.5, 2.0).mean() >= 0.99
    # the exceptions are far from their maximum, and are said to be: one Newton step is not enough
    small = compared["predicted"].abs() < 0.25
    assert small.sum() >= 100
    assert ratio[small].between(0.5, 2.0).all()


def test_each_row_is_what_it_says() -> None:
    shifts = predicted_shifts(8, reference_nodes=25, seed=3)
    assert list(shifts.columns) == COLUMNS
    assert set(shifts["outcome"]) == {"compared", "tau = 0"}
    for number, row in shifts.iterrows():
        data, tau = random_design(3, number)
        assert (row["rows"], row["groups"], row["tau"]) == (len(data.y), data.groups.max() + 1, tau)
        fit, best = laplace.fit(*data, nodes=1), laplace.fit(*data, nodes=25)
        assert (row["outcome"] == "tau = 0") == (fit.boundary or best.boundary)
        if row["outcome"] == "compared":
            assert row["predicted"] == fit.approximation_error()[row["parameter"]]
            moved = best.params - fit.params
            scaled = (moved / fit.bse).abs()
            scaled["tau"] = abs(np.log(best.tau / fit.tau)) * fit.tau / fit.bse["tau"]
            assert scaled.idxmax() == row["parameter"]
            assert abs(row["actual"]) == pytest.approx(scaled.max(), rel=1e-9)
            assert row["ratio"] == row["predicted"] / row["actual"]


def test_designs_are_drawn_as_described() -> None:
    drawn = [random_design(5, number) for number in range(30)]
    sizes = np.concatenate([np.bincount(data.groups) for data, _ in drawn])
    assert set(sizes) == set(range(ROWS_OF_A_GROUP[0], ROWS_OF_A_GROUP[1] + 1))
    assert all(GROUPS[0] <= len(data.intercepts) <= GROUPS[1] for data, _ in drawn)
    assert all(TAU[0] <= tau <= TAU[1] for _, tau in drawn)
    again, _ = random_design(5, 7)
    np.testing.assert_array_equal(again.y, drawn[7][0].y)


def test_a_design_without_an_estimate_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the outcomes of every design are separated by its slope."""
    import compendium.validation

    def separated(seed: int, number: int) -> tuple[laplace.simulate.Simulated, float]:
        data, tau = random_design(seed, number)
        y = (data.X[:, 1] > 0).astype(float)
        return type(data)(y, data.X, data.groups, data.beta, data.intercepts, data.noise), tau

    monkeypatch.setattr(compendium.validation, "random_design", separated)
    assert list(predicted_shifts(2)["outcome"]) == ["no estimate", "no estimate"]


def test_the_map_has_the_medians_of_fits() -> None:
    found = map_of_designs([60, 80], [1.0], rows=4, prevalence=0.4, draws=3)
    assert found.index.tolist() == [(60, 1.0), (80, 1.0)]
    shifts, nodes, alone = [], [], []
    for seed in range(3):
        data = small_groups(80, 4, 1.0, 0.4, seed=seed)
        one, best = laplace.fit(*data, nodes=1), laplace.fit(*data)
        assert not one.boundary
        shifts.append(abs(one.tau - best.tau) / best.bse["tau"])
        nodes.append(best.nodes)
        by_group = np.reshape(data.y, (80, 4)).mean(axis=1)
        alone.append(np.mean((by_group == 0) | (by_group == 1)))
    row = found.loc[(80, 1.0)]
    assert row["shift of tau"] == pytest.approx(np.median(shifts), rel=1e-12)
    assert row["nodes"] == np.median(nodes)
    assert row["one outcome"] == np.median(alone)
    assert {"shift of intercept", "shift of within", "shift of between"} <= set(found)
