"""The table of Python's packages for mixed models is what they returned, and nothing is typed.

No package is called here: they have an environment of their own. What is stored is held to the
data and to `laplace.loglik`, and the page to what is stored.
"""

from __future__ import annotations

import copy
import math
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest

import laplace
from benchmarks import mixed_models, packages
from compendium import datasets

ROOT = Path(__file__).resolve().parents[1]
RESULTS = mixed_models.load()
FITS = [(data, name) for data, fits in RESULTS["fits"].items() for name in fits]


def outputs(cell_id: str) -> list[dict]:
    page = nbformat.read(ROOT / "notebooks" / "B_speed.ipynb", as_version=4)
    (cell,) = (cell for cell in page.cells if cell.id == cell_id)
    return [output["data"] for output in cell.outputs]


def test_every_package_is_there_for_every_data_set() -> None:
    assert RESULTS["fits"].keys() == set(mixed_models.DATA)
    assert mixed_models.PACKAGES.keys() == {mixed_models.OURS, *packages.CALLS}
    for fits in RESULTS["fits"].values():
        assert fits.keys() == {*mixed_models.PACKAGES, mixed_models.LME4}


@pytest.mark.parametrize(("data", "name"), FITS)
def test_a_record_is_whole(data: str, name: str) -> None:
    record = RESULTS["fits"][data][name]
    assert record["version"]
    assert "seconds" not in record  # nothing is timed
    if "failed" in record:
        assert record["failed"]
        assert record["loglik"] is None
        return
    columns = mixed_models.arrays(mixed_models.rows(data))[1].shape[1]
    assert len(record["beta"]) == len(record["se"]) == columns
    assert record["tau"] > 0.0
    assert min(record["se"]) > 0.0
    assert record["converged"] in (True, False, None)


@pytest.mark.parametrize(("data", "name"), FITS)
def test_the_log_likelihood_is_that_of_the_stored_estimates(data: str, name: str) -> None:
    record = RESULTS["fits"][data][name]
    if "failed" in record:
        assert "beta" not in record
        return
    y, X, groups = mixed_models.arrays(mixed_models.rows(data))
    at = laplace.loglik(y, X, groups, record["beta"], record["tau"], nodes=1)
    assert record["loglik"] == pytest.approx(at.value, abs=1e-9)


@pytest.mark.parametrize("data", RESULTS["fits"])
def test_ours_is_a_fit_of_today_and_nobody_is_above_it(data: str) -> None:
    record = RESULTS["fits"][data][mixed_models.OURS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", laplace.ApproximationWarning)  # it is what is compared
        fit = laplace.fit(*mixed_models.arrays(mixed_models.rows(data)), nodes=1)
    np.testing.assert_allclose([*record["beta"], record["tau"]], fit.params, rtol=1e-7)
    np.testing.assert_allclose([*record["se"], record["se_tau"]], fit.bse, rtol=1e-6)
    assert mixed_models.below(RESULTS, data)[mixed_models.OURS] < 1e-8


@pytest.mark.parametrize("data", RESULTS["fits"])
def test_lme4_is_what_is_stored_of_it(data: str) -> None:
    stored = datasets.in_r(data)
    record = RESULTS["fits"][data][mixed_models.LME4]
    assert record["version"] == stored["about"]["lme4"]
    assert record["beta"] == stored["glmer"]["1"]["beta"]
    assert record["tau"] == stored["glmer"]["1"]["tau"]


def test_the_page_shows_what_is_stored() -> None:
    ((abilities,), (table,), (remarks,)) = map(outputs, ("07-29", "07-31", "07-32"))
    assert abilities["text/markdown"] == mixed_models.abilities()
    shown = mixed_models.comparison(RESULTS, "toenail")
    assert table["text/html"] == shown._repr_html_()
    lines = mixed_models.remarks(RESULTS, "toenail")
    assert remarks["text/markdown"] == "\n".join(f"- {line}" for line in lines)


def test_tables_and_remarks_follow_the_numbers() -> None:
    results = copy.deepcopy(RESULTS)
    fits = results["fits"]["toenail"]
    ours = fits[mixed_models.OURS]
    same = {key: ours[key] for key in ("beta", "tau", "se", "se_tau", "loglik")}
    results["fits"]["toenail"] = {
        mixed_models.OURS: ours,
        "glmm": {"version": "1", "converged": True, **same},
        "mixedlm": {
            "version": "2",
            "converged": True,
            **same,
            "tau": ours["tau"] + 2 * ours["se_tau"],
            "loglik": ours["loglik"] - 3.0,
        },
        "interlace": {"version": "3", "failed": "ValueError: no", "loglik": None},
    }
    table = mixed_models.comparison(results, "toenail")
    assert table.loc["glmm 1"].tolist() == [
        "0",
        f"{ours['tau']:.2f}",
        "0.00",
        "1.00 to 1.00",
        "yes",
    ]
    assert table.loc["mixedlm 2", "below the maximum"] == "3"
    assert table.loc["mixedlm 2", "furthest estimate"] == "2.00"
    assert table.loc["interlace 3"].tolist() == ["", "", "", "", "failed"]
    assert mixed_models.remarks(results, "toenail") == [
        "glmm ends at the same maximum as `laplace.fit`.",
        "mixedlm ends 3 below it, and says that it converged.",
        "interlace raised `ValueError: no`.",
    ]


def test_what_is_no_number_has_no_log_likelihood() -> None:
    data = mixed_models.rows("toenail")
    assert mixed_models.loglik(data, {"failed": "ValueError: no"}) is None
    assert mixed_models.loglik(data, {"beta": [0.0, math.nan, 0.0, 0.0], "tau": 1.0}) is None


def test_a_program_that_cannot_start_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2; echo 'no such package' >&2; exit 3\n")
    python.chmod(0o755)
    record = mixed_models.elsewhere(python, "glmm", mixed_models.rows("toenail"))
    assert record == {"failed": "no such package"}
