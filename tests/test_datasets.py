"""The data sets are what they say they are, and fits of them are those of R."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import laplace
from compendium import datasets
from compendium.datasets import DATASETS, cbpp, contraception, in_r, toenail

NAMES = list(DATASETS)
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
# The models of `reference/fits.R`, as a user of laplace writes them.
FORMULAS = {
    "toenail": "outcome ~ treatment * month",
    "cbpp": "incidence / size ~ period",
    "contraception": "use ~ age + I(age**2) + urban + livch",
}
FITS = [(name, int(nodes)) for name in NAMES for nodes in in_r(name)["maximum"]]


def load(name: str) -> pd.DataFrame:
    data: pd.DataFrame = getattr(datasets, name)()
    return data


@cache
def fit_of(name: str, nodes: int) -> laplace.Fit:
    return laplace.fit_formula(FORMULAS[name], load(name), DATASETS[name].group, nodes=nodes)


# What the data are ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_are_as_described(name: str) -> None:
    data, about = load(name), DATASETS[name]
    assert data.shape == (about.rows, len(about.columns))
    assert data[about.group].nunique() == about.groups
    assert about.outcome in data
    assert list(data.columns) == [column.name for column in about.columns]
    for column in about.columns:
        if isinstance(column.kind, tuple):
            assert tuple(data[column.name].cat.categories) == column.kind
        else:
            assert str(data[column.name].dtype) == {int: "int64", float: "float64"}[column.kind]
    assert not data.isna().any(axis=None)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_the_files_that_r_fitted(name: str) -> None:
    data, reference = load(name), in_r(name)
    content = (datasets.DATA / f"{name}.csv").read_bytes()
    content = content.replace(b"\r\n", b"\n")  # git may change the line ends
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == reference["md5"]
    assert list(data.columns) == list(reference["columns"])
    for column, value in reference["columns"].items():
        if isinstance(value, dict):  # how often each category is there
            assert data[column].value_counts().to_dict() == value
        else:
            assert data[column].sum() == pytest.approx(value, rel=1e-13)
    assert reference["groups"] == DATASETS[name].groups


def test_toenail_is_a_trial() -> None:
    data = toenail()
    assert set(data["outcome"]) == {0, 1}
    by_patient = data.groupby("patient")
    assert (by_patient["treatment"].nunique() == 1).all()
    assert not data.duplicated(["patient", "visit"]).any()
    assert data["visit"].between(1, 7).all()
    assert (data.loc[data["visit"] == 1, "month"] == 0).all()
    assert (by_patient["month"].diff().dropna() > 0).all()
    days = 28 * data["month"]
    np.testing.assert_allclose(days, days.round(), atol=2e-4)  # seven digits in the source


def test_cbpp_are_cases_among_herds() -> None:
    data = cbpp()
    assert data["incidence"].between(0, data["size"]).all()
    assert not data.duplicated(["herd", "period"]).any()
    assert set(data["herd"]) == set(range(1, 16))
    assert data["size"].sum() == in_r("cbpp")["rows"]


def test_contraception_is_a_survey() -> None:
    data = contraception()
    assert set(data["use"]) == {0, 1}
    assert data["woman"].is_unique
    assert set(data["district"]) == set(range(1, 62)) - {54}
    assert abs(data["age"].mean()) < 0.01  # centred, up to the rounding of the source
    assert np.ptp(data["age"]) == pytest.approx(33)


@pytest.mark.parametrize("name", NAMES)
def test_attrs_carry_source_and_licence(name: str) -> None:
    about, attrs = DATASETS[name], load(name).attrs
    assert attrs["name"] == name
    for key in ("title", "source", "see_also", "carried_by", "licence", "interest"):
        assert attrs[key] == getattr(about, key)
        assert attrs[key]
    assert list(attrs["columns"]) == list(load(name).columns)
    json.dumps(attrs)  # plain values only, so that it can be stored beside the data


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_carrier_and_licence(name: str) -> None:
    about = DATASETS[name]
    assert about.licence.startswith("GPL")
    package = about.carried_by.split()[2]
    licences = README[README.index("## Licence") :].replace("\n", " ")
    assert f"`{name}` from the R package {package} ({about.licence})" in licences


@pytest.mark.parametrize("name", NAMES)
def test_each_call_returns_its_own_copy(name: str) -> None:
    first, second = load(name), load(name)
    outcome = DATASETS[name].outcome
    first.loc[0, outcome] = 99
    first.attrs["columns"][outcome] = "changed"
    first.attrs["licence"] = "changed"
    for other in (second, load(name)):
        assert other.loc[0, outcome] != 99
        assert other.attrs["licence"] == DATASETS[name].licence
        assert other.attrs["columns"][outcome] != "changed"


def test_descriptions_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        DATASETS["toenail"] = DATASETS["cbpp"]  # type: ignore[index]


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*'contraception'.*, got 'nails'"):
        in_r("nails")


# Against R --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "nodes"), FITS)
def test_lme4(name: str, nodes: int) -> None:
    """At lme4's maximum, taken to a gradient below 1e-9 in R, on rows of 0/1 outcomes.

    What counts add to that log-likelihood, the binomial coefficients, is stored beside it.
    """
    reference = in_r(name)
    at, fit = reference["maximum"][str(nodes)], fit_of(name, nodes)
    assert fit.converged
    assert fit.llf - reference["log_coefficients"] == pytest.approx(at["loglik"], abs=1e-9)
    assert fit.llf - reference["log_coefficients"] == pytest.approx(at["loglik_direct"], abs=1e-9)
    # in standard errors
    assert np.max(np.abs(fit.beta - at["beta"]) / at["se"]) <= 1e-8
    assert abs(np.log(fit.tau / at["tau"])) / at["se_log_tau"] <= 1e-8
    # R's standard errors come from differences of the value, good to about 2e-8
    np.testing.assert_allclose(fit.bse.iloc[:-1], at["se"], rtol=1e-7)
    assert fit.bse["tau"] / fit.tau == pytest.approx(at["se_log_tau"], rel=1e-7)
    modes = fit.random_effects["mode"].rename(index=str)
    for label, mode in at["modes"].items():
        assert modes[label] == pytest.approx(mode, abs=1e-8)


@pytest.mark.parametrize(("name", "nodes"), FITS)
def test_a_maximum_in_few_steps(name: str, nodes: int) -> None:
    """From the automatic start, whatever the scales of the covariates."""
    fit = fit_of(name, nodes)
    assert fit.iterations <= 10
    assert np.max(np.abs(fit.gradient)) <= 1e-8 * fit.nobs
    assert np.max(np.linalg.eigvalsh(fit.hessian)) < 0.0


@pytest.mark.parametrize(("name", "nodes"), FITS)
def test_not_below_what_glmer_reaches(name: str, nodes: int) -> None:
    """Never below lme4's own value at the estimates that glmer() gives by default."""
    reference, fit = in_r(name), fit_of(name, nodes)
    at_glmer = reference["maximum"][str(nodes)]["loglik_glmer"]
    assert fit.llf - reference["log_coefficients"] >= at_glmer - 1e-9
    # What glmer() prints is that, for counts on its own scale, less what its inner loop leaves:
    # 0.0065 with one node on the toenail data.
    printed = reference["glmer"][str(nodes)]["loglik"]
    constant = 0.0 if nodes == 1 else reference["saturated"]
    assert printed + constant == pytest.approx(fit.llf, abs=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_glmmtmb(name: str) -> None:
    """At glmmTMB's maximum; its modes are found to 1e-8, which the value remembers."""
    at, fit = in_r(name)["glmmTMB"], fit_of(name, 1)
    assert fit.llf == pytest.approx(at["loglik"], abs=2e-8)
    assert np.max(np.abs(fit.beta - at["beta"]) / at["se"]) <= 1e-8
    assert abs(np.log(fit.tau / at["tau"])) / at["se_log_tau"] <= 1e-8
    # its standard errors are differences of its gradient, good to 1e-6
    np.testing.assert_allclose(fit.bse.iloc[:-1], at["se"], rtol=1e-5)
    assert fit.bse["tau"] / fit.tau == pytest.approx(at["se_log_tau"], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_integral_itself(name: str) -> None:
    """R's integrate() at the maximum with the most nodes; 100 leave 9e-9 on the toenail data."""
    reference = in_r(name)
    fit = fit_of(name, max(nodes for other, nodes in FITS if other == name))
    value = fit.llf - reference["log_coefficients"]
    assert value == pytest.approx(reference["integral"], abs=2e-8)


def test_counts_taken_apart_into_rows() -> None:
    """lme4's log-likelihood for more than one node can be compared on such rows only."""
    data, reference = cbpp(), in_r("cbpp")
    rows = data.loc[data.index.repeat(data["size"])].reset_index(drop=True)
    place = rows.groupby(["herd", "period"], observed=True).cumcount()
    rows["case"] = (place < rows["incidence"]).astype(int)
    for nodes in (1, 25):
        fit = laplace.fit_formula("case ~ period", rows, groups="herd", nodes=nodes)
        at = reference["maximum"][str(nodes)]
        assert fit.llf == pytest.approx(at["loglik"], abs=1e-9)
        assert np.max(np.abs(fit.beta - at["beta"]) / at["se"]) <= 1e-8


def test_on_the_toenail_data_25_nodes_are_not_enough() -> None:
    """As `DATASETS` says: the log-likelihood settles from about 100 nodes, in lme4 as here."""
    value: dict[str, Any] = {k: at["loglik"] for k, at in in_r("toenail")["maximum"].items()}
    settled = laplace.fit_formula(FORMULAS["toenail"], toenail(), groups="patient", nodes=150).llf
    assert abs(value["25"] - settled) == pytest.approx(0.018, abs=5e-4)
    assert abs(value["50"] - settled) > 1e-4
    assert abs(value["100"] - settled) < 1e-7
    assert value["3"] < value["1"]
    assert value["5"] < value["1"]


@pytest.mark.parametrize("name", NAMES)
def test_source_and_licence_stand_beside_the_file(name: str) -> None:
    text = (datasets.DATA / f"{name}.md").read_text(encoding="utf-8")
    known = DATASETS[name]
    for part in (known.title, known.source, known.carried_by, known.licence):
        assert part in text
    for column in known.columns:
        assert f"| {column.name} | {column.meaning} |" in text


@pytest.mark.parametrize("name", NAMES)
def test_glmer_itself_stops_near_its_maximum(name: str) -> None:
    """Its loops end a little before; the page shows both."""
    reference = in_r(name)
    for nodes, found in reference["glmer"].items():
        if nodes in reference["maximum"]:
            assert found["tau"] == pytest.approx(reference["maximum"][nodes]["tau"], rel=0.02)
