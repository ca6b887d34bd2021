"""The data sets are what they say they are."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from laplace.datasets import DATASETS, toenail

REFERENCE = json.loads((Path(__file__).parent / "reference" / "lme4.json").read_text())["toenail"]


def test_toenail_has_the_rows_and_columns_it_describes():
    data = toenail()
    about = DATASETS["toenail"]
    assert data.shape == (about.rows, len(about.columns)) == (1908, 5)
    assert data[about.group].nunique() == about.groups == 294
    assert list(data.columns) == [name for name, _ in about.columns]
    assert {name: str(dtype) for name, dtype in data.dtypes.items()} == {
        "patient": "int64",
        "treatment": "category",
        "month": "float64",
        "visit": "int64",
        "outcome": "int64",
    }
    assert not data.isna().any(axis=None)


def test_toenail_is_the_file_that_lme4_fitted():
    data = toenail()
    content = files("laplace.datasets").joinpath("toenail.csv").read_bytes()
    content = content.replace(b"\r\n", b"\n")  # git may change the line ends
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == REFERENCE["md5"]
    assert (REFERENCE["rows"], REFERENCE["groups"]) == (len(data), data["patient"].nunique())
    counts = data.groupby(["treatment", "outcome"], observed=False).size()
    for treatment, by_outcome in REFERENCE["outcome_by_treatment"].items():
        for outcome, count in by_outcome.items():
            assert counts[treatment, int(outcome)] == count
    assert data["month"].sum() == pytest.approx(REFERENCE["month_sum"], rel=1e-14)


def test_toenail_is_a_trial():
    data = toenail()
    assert set(data["outcome"]) == {0, 1}
    assert list(data["treatment"].cat.categories) == ["itraconazole", "terbinafine"]
    by_patient = data.groupby("patient")
    assert (by_patient["treatment"].nunique() == 1).all()
    assert not data.duplicated(["patient", "visit"]).any()
    assert data["visit"].between(1, 7).all()
    assert (data.loc[data["visit"] == 1, "month"] == 0).all()
    assert (by_patient["month"].diff().dropna() > 0).all()
    days = 28 * data["month"]
    np.testing.assert_allclose(days, days.round(), atol=2e-4)  # seven digits in the source


def test_attrs_carry_source_and_licence():
    about = toenail().attrs
    assert about["name"] == "toenail"
    assert "De Backer" in about["source"]
    assert about["licence"] == "GPL-2"
    assert "HSAUR3" in about["carried_by"]
    assert list(about["columns"]) == list(toenail().columns)


def test_each_call_returns_its_own_copy():
    first, second = toenail(), toenail()
    first.loc[0, "outcome"] = 99
    first.attrs["columns"]["patient"] = "changed"
    first.attrs["licence"] = "changed"
    for other in (second, toenail()):
        assert other.loc[0, "outcome"] == 1
        assert other.attrs["licence"] == "GPL-2"
        assert other.attrs["columns"]["patient"] != "changed"


def test_every_data_set_has_a_loader():
    import laplace.datasets

    for name in DATASETS:
        assert getattr(laplace.datasets, name)().attrs["name"] == name
