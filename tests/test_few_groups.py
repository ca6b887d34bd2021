"""What a summary says of few groups, and that what it says is so.

The figures come from a simulation that is stored with its script, tests/reference/few_groups.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace
from laplace.inference.few_groups import COVERED, FEW, WIDTH, words

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE))
import few_groups  # noqa: E402

CELLS = pd.read_csv(REFERENCE / "few_groups.csv")


def shares(cells: pd.DataFrame) -> pd.Series:
    """Return how often intervals held the truth, in per cent of the data sets that were fitted."""
    names = ["ml_z", "reml_z", "reml_t", "ml_within", "reml_within", "reml_tau"]
    total = cells.sum(numeric_only=True)
    return 100.0 * total[names] / (total["drawn"] - total["refused"] - total["failed"])


def drawn(groups: int, rows: int = 30, seed: int = 1) -> dict[str, Any]:
    """Draw a data set with an intercept and a column that varies within groups."""
    rng = np.random.default_rng([groups, seed])
    of = np.repeat(np.arange(groups), rows)
    X = np.column_stack([np.ones(len(of)), rng.normal(size=len(of))])
    eta = X @ [-0.3, 0.8] + rng.normal(size=groups)[of]
    y = (rng.random(len(of)) < 1 / (1 + np.exp(-eta))).astype(float)
    return {"y": y, "X": X, "groups": of}


# the figures --------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_simulation() -> None:
    assert set(COVERED) == set(CELLS["groups"])
    for groups, cells in CELLS.groupby("groups"):
        assert len(cells) == 9
        found = shares(cells)
        assert COVERED[groups].z == round(found["ml_z"])
        assert COVERED[groups].t == round(found["reml_t"])
        assert 94 <= found["ml_within"] <= 96
        assert 94 <= found["reml_within"] <= 96
        # the restricted profile is near its level; maximum likelihood takes tau too small
        assert 93 <= found["reml_tau"] <= 97
        assert (cells["median_reml"] > cells["median_ml"]).all()
    # hardly any data set was refused, or had no maximum, but where one of two groups has one
    # outcome only
    without = (CELLS["refused"] + CELLS["failed"]).groupby(CELLS["groups"]).sum()
    assert without.to_dict() == {2: 60, 3: 2, 5: 1, 10: 0}


def test_t_intervals_hold_the_truth_as_often_as_they_should() -> None:
    """With 5 and 10 groups, 92 to 98 %, pooled and in each cell but one.

    That one is cautious: with 30 rows a group and tau of 0.5, most of what is not known of a
    coefficient between groups is variation within them, and m - q degrees of freedom are too few.
    """
    for groups in (5, 10):
        assert 92 <= shares(CELLS[CELLS["groups"] == groups])["reml_t"] <= 98
    outside = []
    for _, cell in CELLS[CELLS["groups"] >= 5].iterrows():
        found = shares(pd.DataFrame([cell]))
        if not 92 <= found["reml_t"] <= 98:
            outside.append((cell["groups"], cell["rows"], cell["tau"], round(found["reml_t"])))
    assert outside == [(5, 30, 0.5, 99)]


def test_a_cell_is_what_its_script_draws() -> None:
    row = CELLS[(CELLS["groups"] == 5) & (CELLS["rows"] == 30) & (CELLS["tau"] == 1.0)].iloc[0]
    again = few_groups.cell(5, 30, 1.0)
    for name, value in again.items():
        # an end of an interval may lie on the other side of the truth on another processor
        near = 1e-3 if name.startswith("median") else 1
        assert value == pytest.approx(row[name], abs=near), name


# the words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"reml": True}, {"penalty": "soft"}])
@pytest.mark.parametrize("groups", [2, 3, 4, 5, 9, 10, 30])
def test_the_summary_says_what_rests_on_few_groups(groups: int, options: dict[str, Any]) -> None:
    fit = laplace.fit(**drawn(groups), **options, nodes=9)
    overview = fit.summary().overview
    assert ("Few groups" in overview) == (groups < FEW)
    if groups >= FEW:
        return
    said = overview["Few groups"].replace("\n", " ")
    assert said.startswith(f"tau rests on {groups} groups only. In simulations")
    assert ("reml=True" in said) != bool(options.get("reml"))
    assert ("without a penalty" in said) == ("penalty" in options)
    assert ("can hardly be estimated" in said) == (groups <= 3)
    assert ("a column of indicators for each group, with tau=0" in said) == (groups <= 3)
    assert ("vary within groups are not affected" in said) == (groups <= 3)
    if groups in COVERED and not options:
        assert f"covered {COVERED[groups].z} % instead of 95 %" in said
        assert f"and the t intervals of reml=True {COVERED[groups].t} %" in said


def test_between_two_numbers_of_groups_both_are_said() -> None:
    said = (words(9, reml=False, penalised=False) or "").replace("\n", " ")
    five, ten = COVERED[5], COVERED[10]
    assert f"covered {five.z} % (with 5 groups) to {ten.z} % (with 10) instead of 95 %" in said
    # or one, where they are the same
    assert five.t == ten.t
    assert f"reml=True {five.t} %." in said


@pytest.mark.parametrize("tau", [0, 1])
def test_nothing_is_said_where_tau_is_fixed(tau: float) -> None:
    assert "Few groups" not in laplace.fit(**drawn(3), tau=tau, nodes=9).summary().overview


def test_the_lines_fit() -> None:
    for groups in range(2, FEW):
        for reml in (True, False):
            lines = (words(groups, reml=reml, penalised=False) or "").split("\n")
            assert max(map(len, lines)) <= WIDTH
    text = str(laplace.fit(**drawn(3), nodes=9).summary())
    head = text.split("\n\n")[0].split("\n")
    at = next(k for k, line in enumerate(head) if line.startswith("Few groups"))
    indent = len(head[at]) - len(head[at].removeprefix("Few groups").lstrip())
    # the text goes on below its beginning
    assert len(head) > at + 2
    assert all(line.startswith(" " * indent) and line[indent] != " " for line in head[at + 1 :])
    assert "<table" in laplace.fit(**drawn(3), nodes=9).summary()._repr_html_()


def test_no_variation_detected_is_no_evidence() -> None:
    """At tau = 0 a restricted fit says so, with the upper end; t intervals stay."""
    y = np.tile([0.0, 1.0, 1.0], 20)
    X, groups = np.ones((60, 1)), np.repeat(np.arange(5), 12)
    fit = laplace.fit(y, X, groups, reml=True)
    assert fit.boundary
    upper = fit.conf_int().loc["tau", "upper"]
    assert 0.1 < upper < 2.0
    said = fit.summary().overview["tau"]
    assert "variation between groups was not detected, which is no evidence" in said
    assert f"the 95 % interval ends at {upper:.4f}" in said
    assert fit.df_resid.to_list() == [4.0]
    ml = laplace.fit(y, X, groups)
    assert ml.boundary
    assert "no evidence" not in ml.summary().overview["tau"]
    # the same estimate and standard error, and a wider interval
    assert fit.bse.iloc[0] == pytest.approx(ml.bse.iloc[0], rel=1e-9)
    width = [np.ptp(one.conf_int().iloc[0]) for one in (fit, ml)]
    assert width[0] / width[1] == pytest.approx(2.7764451 / 1.9599640, rel=1e-6)
