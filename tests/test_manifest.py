"""What sites agree on, and what each allows: mistakes are refused in words."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies import (
    SITES,
    distance,
    fitted,
    new_run,
    opened,
    study,
    written,
)

import laplace
from laplace.engines import gate, manifest, policy
from laplace.engines.thresholds import RULES, Thresholds, strictest

# The manifest and the policy --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('aprove = "once"', "has 'aprove', which is not known; is 'approve' meant"),
        ('approve = "always"', "approve of the policy north.toml must be one of 'once', 'each'"),
        ("questions = ['starts']", "has 'starts', which is not known; is 'start' meant"),
        ('key = "missing.key"', "the key missing.key cannot be read"),
        ("site = 'a/b'", "Cannot overwrite a value"),
        ("[rules]\nleast_row = 3", "has 'least_row', which is not known; is 'least_rows' meant"),
        ("[rules]\nleast_rows = -1", "least_rows of rules of the policy .* at least 0, got -1"),
        ("[rules]\nleast_rows = 'ten'", "must be a number of at least 0, got 'ten'"),
        ("[rules]\nleast_rows = 1.5", "must be a whole number, got 1.5"),
        ("[rules]\nlargest_share = nan", "must be a number of at least 0"),
        ("[rules", "north.toml is not TOML"),
    ],
)
def test_a_policy_with_a_mistake_is_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "north.toml"
    path.write_text(
        'site = "north"\ndata = "d"\nfile = "f.csv"\nmanifest = "manifest.toml"\n' + line + "\n"
    )
    with pytest.raises(ValueError, match=words):
        policy.read(path)


@pytest.mark.parametrize("name", ["site", "data", "file", "manifest"])
def test_a_policy_needs_its_entries(tmp_path: Path, name: str) -> None:
    given = {"site": "north", "data": "d", "file": "f.csv", "manifest": "manifest.toml"}
    path = tmp_path / "north.toml"
    lines = [f'{key} = "{value}"' for key, value in given.items() if key != name]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"must have {name!r}, a text"):
        policy.read(path)


GOOD: dict[str, Any] = {
    "study": "s",
    "package": laplace.__version__,
    "formula": "y ~ x + C(kind)",
    "groups": "ward",
    "columns": {"kind": {"levels": ["a", "b"]}, "x": {"unit": "years", "range": [0, 120]}},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"formular": "y ~ x"}, "has 'formular', which is not known; is 'formula' meant"),
        ({"study": ""}, "must have 'study', a text"),
        ({"nodes": [0]}, "nodes of the manifest must be a list of whole numbers from 1 to 200"),
        ({"nodes": 25}, "nodes of the manifest must be a list"),
        ({"rounds": 0}, "rounds of the manifest must be a whole number above zero"),
        ({"rounds": True}, "rounds of the manifest must be a whole number above zero"),
        ({"family": "normal"}, "family of the manifest must be one of 'bernoulli'"),
        ({"family": "binomial"}, "must be 'successes / trials ~ ...' where, and only where"),
        ({"missing": "omit"}, "missing of the manifest must be one of 'raise', 'drop'"),
        ({"groups": "x"}, "groups of the manifest is 'x', which is in the formula, too"),
        ({"columns": {}}, r"C\(kind\) needs the levels: add \[columns.kind\] with levels"),
        ({"columns": {"kinds": {}}}, "has 'kinds', which is neither in .*; is 'kind' meant"),
        ({"columns": {**GOOD["columns"], "stage": {}}}, r"; leave \[columns.stage\] out"),
        ({"columns": {"x": {"levels": ["a"]}}}, "must be two or more, all different"),
        ({"columns": {"x": {"range": [2, 1]}}}, "must be two numbers, the least first"),
        ({"columns": {"x": {"unit": 1}}}, "unit of column 'x' of the manifest must be a text"),
        ({"columns": {"x": {"level": []}}}, "has 'level', which is not known; is 'levels' meant"),
        ({"rules": {"least_rows": "1"}}, "least_rows of rules of the manifest must be a number"),
        ({"formula": "y ~ x + log(kind)"}, "column 'kind' of the manifest is a category"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(changes: dict[str, Any], words: str) -> None:
    manifest.of(GOOD)
    with pytest.raises(ValueError, match=words):
        manifest.of({**GOOD, **changes})


def test_what_is_left_out_is_what_the_record_has(tmp_path: Path) -> None:
    needed = {name: GOOD[name] for name in ("study", "package", "groups")} | {"formula": "y ~ x"}
    assert manifest.of(needed) == manifest.Manifest(**needed)
    agreed = manifest.of({**needed, "columns": {"x": {}}})
    assert agreed.columns == {"x": manifest.Column()}
    path = tmp_path / "north.toml"
    path.write_text('site = "north"\ndata = "d"\nfile = "f.csv"\nmanifest = "m.toml"\n')
    own = policy.read(path)
    files = {"file": "f.csv", "manifest": "m.toml", "log": "north.log"}
    places = {name: tmp_path.resolve() / file for name, file in files.items()}
    assert own == policy.Policy(site="north", data="d", **places)


def frame(**changes: Any) -> pd.DataFrame:
    columns = {
        "y": [0, 1] * 20,
        "x": np.linspace(20, 80, 40),
        "kind": ["a", "b"] * 20,
        "ward": np.repeat(np.arange(4), 10),
    }
    return pd.DataFrame({**columns, **changes}).dropna(axis=1, how="all")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ward": None, "Ward": 1}, r"no column 'ward'; it has .*; is 'Ward' meant\?"),
        ({"kind": ["a", "c"] * 20}, "column 'kind' has 'c' in row 1 .and in 19 more.*, which the"),
        ({"x": ["12", "old"] * 20}, "column 'x' has 'old' in row 1 .*where a number belongs"),
        ({"x": np.linspace(20, 800, 40)}, "lies between 0 and 120 years by the manifest; look at"),
        ({"x": [np.nan, *range(39)]}, r"missing values in row 0 of data, in 'x'"),
        ({"y": [0, 2] * 20}, "y must be 0 or 1"),
    ],
)
def test_a_file_that_is_not_as_agreed_on(changes: dict[str, Any], words: str) -> None:
    agreed = manifest.of(GOOD)
    assert agreed.site(frame()).data.n == 40
    with pytest.raises(ValueError, match=words):
        agreed.site(frame(**changes))


def test_columns_in_another_order_and_of_another_type_are_the_same() -> None:
    agreed = manifest.of(GOOD)
    data = frame()
    first = agreed.site(data)
    for other in (
        data[data.columns[::-1]],
        data.assign(x=data["x"].astype(str), ward=data["ward"].astype(float)),
        data.assign(kind=pd.Categorical(data["kind"], categories=["b", "a", "z"])),
    ):
        site = agreed.site(other)
        np.testing.assert_array_equal(site.data.X, first.data.X)
        assert list(site.data.labels) == list(first.data.labels)


def test_new_rows_become_the_columns_of_the_fit() -> None:
    """As a site makes them of its own rows, for formulas of every kind; no outcome is needed."""
    for formula in (
        "y ~ x * C(kind)",
        "y ~ log(x) + C(kind):x - 1",
        "y ~ square(x) + `x`",
        "y ~ 1",
    ):
        columns = {name: of for name, of in GOOD["columns"].items() if name in formula}
        agreed = manifest.of({**GOOD, "formula": formula, "columns": columns})
        site = agreed.site(frame())
        made = agreed.covariates(frame()[["kind", "x"]])
        assert list(made.columns) == list(site.data.names)
        expected = np.empty_like(site.data.X)
        expected[site.data.order] = site.data.X
        np.testing.assert_array_equal(made.to_numpy(), expected)
        alone = agreed.covariates(frame().iloc[[3]])  # one row has one level only
        np.testing.assert_array_equal(alone.to_numpy(), expected[[3]])
    agreed = manifest.of(GOOD)
    for changes, words in (
        ({"kind": ["a", "c"] * 20}, "which the manifest does not know"),
        ({"x": np.linspace(20, 800, 40)}, "lies between 0 and 120 years"),
        ({"x": [np.nan, *range(39)]}, "X has missing values in row 0"),
    ):
        with pytest.raises(ValueError, match=words):
            agreed.covariates(frame(**changes))
    with pytest.raises(ValueError, match=r"no column 'x'; it has .*; is 'X' meant\?"):
        agreed.covariates(frame().rename(columns={"x": "X"}))


def test_new_rows_need_the_covariates_alone_whatever_the_outcome() -> None:
    """Trials that are a covariate, too; ranges of outcomes; outcomes and offsets of every kind."""
    n = np.tile([4.0, 9.0], 20)
    counts = frame(k=np.tile([1, 2, 3, 0], 10), n=n, z=0.5)
    for changes, names in (
        ({"formula": "k / n ~ x + log(n)", "family": "binomial"}, ["x", "n"]),
        ({"formula": "k ~ x", "family": "poisson", "offset": "z"}, ["x"]),
        ({"formula": "kind ~ x"}, ["x"]),
    ):
        ranges = {"k": {"range": [0, 50]}, "n": {"range": [1, 20]}, **GOOD["columns"]}
        columns = {c: of for c, of in ranges.items() if c in changes["formula"].split()}
        if changes["formula"].startswith("kind"):
            columns["kind"] = GOOD["columns"]["kind"]
        agreed = manifest.of({**GOOD, "columns": columns, **changes})
        site = agreed.site(counts)
        made = agreed.covariates(counts[names])
        expected = np.empty_like(site.data.X)
        expected[site.data.order] = site.data.X
        assert list(made.columns) == list(site.data.names)
        np.testing.assert_array_equal(made.to_numpy(), expected)


def test_an_empty_site_and_one_without_a_level_or_an_event() -> None:
    agreed = manifest.of(GOOD)
    with pytest.raises(ValueError, match=r"no rows, so that this site cannot take part"):
        agreed.site(frame().iloc[:0])
    site = agreed.site(frame(kind="a", y=0))
    assert site.data.names == agreed.site(frame()).data.names
    assert site.data.X[:, 2].tolist() == [0.0] * 40


def test_a_site_without_events_or_without_a_level_takes_part(tmp_path: Path) -> None:
    of = study("contraception")
    data = of.data.copy()
    labels = pd.unique(data["district"])
    quiet = data["district"].isin(labels[1::3])
    data.loc[quiet, "use"] = 0
    data.loc[data["district"].isin(labels[2::3]), "urban"] = "N"
    of = replace(of, data=data)
    with opened(written(tmp_path, of, SITES[:3])) as gates:
        assert gates["south"].rows.site.data.y.sum() == 0
        assert gates["east"].rows.site.data.X[:, 3].sum() == 0
        fit = fitted(gates, new_run(tmp_path, SITES[:3], nodes=1))
    assert distance(fit, of.pooled(nodes=1)) < 1e-11


def test_another_version_of_the_package_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    text = (tmp_path / "manifest.toml").read_text()
    (tmp_path / "manifest.toml").write_text(text.replace(laplace.__version__, "9.9.9"))
    with pytest.raises(ValueError, match=r"for version 9.9.9 of laplace, but this is"):
        gate.Gate(policy.read(path[0]))


def test_the_stricter_of_policy_and_manifest_counts() -> None:
    agreed = {"least_rows": 50, "largest_share": 0.5, "most_margins": 4}
    limits = strictest({"least_rows": 20, "largest_share": 0.1}, agreed)
    assert (limits.least_rows, limits.largest_share, limits.most_margins) == (50, 0.1, 4)
    assert {f.name for f in fields(Thresholds)} == RULES.keys()


def test_the_manifest_is_known_by_its_digest() -> None:
    first = manifest.of(GOOD).digest
    assert manifest.of({**GOOD, "nodes": []}).digest == first
    for changes in ({"rounds": 5}, {"nodes": [3]}, {"rules": {"least_rows": 20}}):
        assert manifest.of({**GOOD, **changes}).digest != first
