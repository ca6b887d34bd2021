"""Columns that lie far from zero: what does not depend on where zero is, does not change.

A column of which s is added to every entry spans the same space beside a constant. Its doubles have
lost s times 1e-16 of what was there, and so has what follows from them: no sharper result can be
asked for, and the tolerances are a small multiple of that.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace

R = np.random.default_rng(5)
GROUPS = np.repeat(np.arange(14), 6)
N = len(GROUPS)
COLUMN, OTHER = R.normal(size=(2, N))
Y = (R.random(N) < 1 / (1 + np.exp(0.5 - COLUMN - R.normal(size=14)[GROUPS]))) * 1.0
KINDS: list[dict[str, Any]] = [
    {"kind": "typical"},
    {"kind": "marginal"},
    {"groups": GROUPS[:9]},
    {"groups": np.arange(9) + 10, "new_groups": "marginal"},
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reml": True},
    {"tau": 0.7},
    {"tau": 0.0},
    {"penalty": "soft"},
]


def _columns(shift: float, order: list[int]) -> np.ndarray:
    return np.column_stack([np.ones(N), COLUMN + shift, OTHER])[:, order]


@pytest.mark.parametrize("shift", [1e5, 1e7, 1e9])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_precision_does_not_depend_on_where_zero_is(
    shift: float, order: list[int], options: dict[str, Any]
) -> None:
    here, far = _columns(0.0, order), _columns(shift, order)
    reach = 1e-14 * shift
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near, moved = (laplace.fit(Y, X, GROUPS, nodes=9, **options) for X in (here, far))
        for kind in KINDS:
            one, other = (
                fit.get_prediction(X[:9], **kind) for fit, X in ((near, here), (moved, far))
            )
            np.testing.assert_allclose(other.se_linear, one.se_linear, rtol=reach)
            np.testing.assert_allclose(other.se_mean, one.se_mean, rtol=reach)
        own = moved.get_prediction().se_linear
        np.testing.assert_allclose(own, near.get_prediction().se_linear, rtol=reach)
        # the mean at a column of zero, and more
        slope, level = np.eye(3)[order.index(1)], np.eye(3)[order.index(0)]
        other = np.eye(3)[order.index(2)]
        for pairs in (
            [(level, level + shift * slope)],
            [(level, level + shift * slope), (slope, slope)],
            [(slope + 1000.0 * other, slope + 1000.0 * other)],
            [(row, row) for row in (slope, other)],
        ):
            one, other_test = (
                fit.wald_test(np.array([pair[k] for pair in pairs]))
                for k, fit in enumerate((near, moved))
            )
            # a statistic is a square, also of an estimate that is small beside its error
            assert other_test.statistic == pytest.approx(one.statistic, rel=20 * reach)
            assert other_test.df_denom == one.df_denom


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_near_zero_the_precision_is_that_of_the_covariance(options: dict[str, Any]) -> None:
    X = _columns(0.0, [0, 1, 2])
    fit = laplace.fit(Y, X, GROUPS, nodes=9, **options)
    covariance = fit.cov_params().to_numpy()[:3, :3]
    expected = np.sqrt(np.einsum("ij,jk,ik->i", X, covariance, X))
    np.testing.assert_allclose(
        fit.get_prediction(X, kind="typical").se_linear, expected, rtol=1e-11
    )
    rows = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]])
    difference = rows @ fit.beta
    statistic = difference @ np.linalg.solve(rows @ covariance @ rows.T, difference)
    test = fit.wald_test(rows)
    assert test.statistic * (2 if fit.reml else 1) == pytest.approx(statistic, rel=1e-10)


def test_no_rows_have_no_standard_errors() -> None:
    fit = laplace.fit(Y, _columns(0.0, [0, 1, 2]), GROUPS, nodes=1)
    assert len(fit.get_prediction(np.zeros((0, 3))).se_linear) == 0


def test_a_combination_does_not_follow_by_the_units_of_columns() -> None:
    """Of a column in a small unit, the coefficient is large, and so are its standard errors."""
    X = _columns(0.0, [0, 1, 2])
    near = laplace.fit(Y, X, GROUPS, nodes=9)
    tiny = laplace.fit(Y, X * [1.0, 1.0, 1e-13], GROUPS, nodes=9)
    rows = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    found = tiny.wald_test(rows * [1.0, 1.0, 1e-13])
    assert found.statistic == pytest.approx(near.wald_test(rows).statistic, rel=1e-9)
    for scale in (1.0, 1e-13):
        with pytest.raises(ValueError, match="is zero or follows from the others"):
            tiny.wald_test(np.vstack([rows, rows.sum(axis=0)]) * [1.0, 1.0, scale])


def test_draws_and_predictions_of_a_frame_are_by_name() -> None:
    frame = pd.DataFrame({"y": Y, "x": COLUMN + 1e8, "g": GROUPS})
    far = laplace.fit_formula("y ~ x", frame, "g", nodes=9)
    near = laplace.fit_formula("y ~ x", frame.assign(x=frame["x"] - 1e8), "g", nodes=9)
    one, other = (
        fit.get_prediction(data) for fit, data in ((near, frame.assign(x=COLUMN)), (far, frame))
    )
    np.testing.assert_allclose(other.se_linear, one.se_linear, rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e8, 1e9])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_far_column_is_none_of_others_for_lying_far(shift: float, order: list[int]) -> None:
    """A column far from zero is nearly constant, but no combination of the constant and others."""
    third = R.normal(size=N)
    one, x = np.ones(N), COLUMN + shift
    small = laplace.fit(Y, np.column_stack([one, x])[:, order], GROUPS, nodes=3)
    others = laplace.fit(Y, np.column_stack([one, OTHER, third]), GROUPS, nodes=3)
    with pytest.raises(ValueError, match="the models are not nested: column"):
        small.compare(others)
    expected = laplace.fit(Y, np.column_stack([one, COLUMN, OTHER]), GROUPS, nodes=3)
    plain = laplace.fit(Y, np.column_stack([one, COLUMN]), GROUPS, nodes=3)
    truth = plain.compare(expected).statistic
    for larger in (
        np.column_stack([one, x, OTHER]),
        np.column_stack([OTHER, 3.0 * x + OTHER, one]),
        np.column_stack([one, OTHER, x - shift]),
    ):
        found = small.compare(laplace.fit(Y, larger, GROUPS, nodes=3))
        assert found.statistic == pytest.approx(truth, rel=1e-5)
