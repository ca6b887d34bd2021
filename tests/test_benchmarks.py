"""The benchmarks: everybody gets the same data, results merge, nothing that is quoted is stale.

No test times anything. Which peers are run is asked for by name, in TEST_PEERS, and does not
depend on what a machine happens to have: `TEST_PEERS=lme4,gpboost make test`. The others are
skipped, and so is one that was asked for and is not there, each with its reason.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import laplace
from benchmarks import __main__ as driver
from benchmarks import peers, report
from benchmarks.designs import COMPARED, Design

TINY = Design(400, 20, 3)
ASKED = [name for name in os.environ.get("TEST_PEERS", "").split(",") if name]
PACKAGES = peers.installed() if ASKED else {}
RESULTS = report.load()


# --- the data ------------------------------------------------------------------------------------


def test_a_design_is_read_from_its_name_and_drawn_the_same_twice() -> None:
    assert Design.parse(TINY.name) == TINY
    assert Design.parse(f"{TINY.name}/sorted") == Design(400, 20, 3, sorted=True)
    for one, other in zip(TINY.draw(seed=1), TINY.draw(seed=1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(TINY.draw(seed=1)[1], TINY.draw(seed=2)[1])


@pytest.mark.parametrize("name", ["400/20", "400/20/3/shuffled", "a/b/c", "400/0/3"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"got {name!r}"):
        Design.parse(name)


def test_sorted_rows_are_the_same_rows() -> None:
    drawn = np.column_stack(TINY.draw(seed=1))
    ordered = np.column_stack(Design(400, 20, 3, sorted=True).draw(seed=1))
    assert np.all(np.diff(ordered[:, -1]) >= 0)
    assert not np.all(np.diff(drawn[:, -1]) >= 0)
    np.testing.assert_array_equal(np.unique(drawn, axis=0), np.unique(ordered, axis=0))


def test_the_data_are_of_the_model() -> None:
    y, X, groups = Design(200_000, 500, 3).draw(seed=1)
    assert set(y) == {0.0, 1.0}
    assert np.all(X[:, 0] == 1.0)
    # six standard errors of a mean and of a standard deviation of 400,000 numbers
    assert abs(X[:, 1:].mean()) < 6 / math.sqrt(400_000)
    assert abs(X[:, 1:].std() - 1.0) < 6 / math.sqrt(800_000)
    # the counts are Poisson but for their sum: 400 rows a group, six standard deviations of 20
    assert np.all(np.abs(np.bincount(groups, minlength=500) - 400) < 120)
    fit = laplace.fit(y, X, groups, nodes=1)
    # tau is one; six standard errors
    assert abs(fit.tau - 1.0) < 6 * fit.bse["tau"]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    TINY.write(tmp_path, seed=1)
    for one, other in zip(TINY.read(tmp_path), TINY.draw(seed=1), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


# --- a run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure ours, and the peers that were asked for, on a tiny data set."""
    output = tmp_path_factory.mktemp("benchmarks") / "results.json"
    terms = ["--output", str(output), "--seed", "3", "--threads", "1", "--budget", "0"]
    only = ["--only", ",".join([peers.OURS, *ASKED])]
    assert driver.main([*terms, "--designs", TINY.name, *only]) == 0
    return output


@pytest.mark.parametrize("name", peers.PEERS)
def test_everybody_fits_the_same_data(measured: Path, name: str) -> None:
    if name not in (peers.OURS, *ASKED):
        pytest.skip(f"{name} was not asked for: TEST_PEERS={name}")
    record = report.load(measured)["measurements"][f"fit {TINY.name} {name}"]
    if name != peers.OURS and (why := peers.missing(name, PACKAGES)):
        assert record["missing"] == why
        pytest.skip(why)
    ours = laplace.fit(*TINY.draw(seed=3), nodes=1)
    assert min(record["seconds"]) > 0.0
    assert record["version"] == peers.installed()[peers.PEERS[name].package]
    # the same rows, coefficients in the same order: nobody is one standard error off, though
    # statsmodels' prior and GPBoost's early stop move its estimates
    distance = (np.array([*record["beta"], record["tau"]]) - ours.params) / ours.bse
    assert np.all(np.abs(distance) < 1.0)
    at = laplace.loglik(*TINY.draw(seed=3), record["beta"], record["tau"])
    assert record["loglik"] == pytest.approx(at.value, abs=1e-9)
    if name in ("ours", *report.PURSUERS):
        # they end where their own rules say, and lme4's inner loop stops early
        assert record["loglik"] == pytest.approx(ours.llf, abs=report.SAME)


def test_a_part_measured_again_joins_the_rest(measured: Path) -> None:
    before = report.load(measured)
    terms = ["--output", str(measured), "--seed", "3", "--threads", "1", "--budget", "0"]
    assert driver.main([*terms, "--designs", TINY.name, "--only", "ours"]) == 0
    after = report.load(measured)
    ours = f"fit {TINY.name} ours"
    assert after["measurements"].keys() == before["measurements"].keys()
    assert after["measurements"][ours]["seconds"] != before["measurements"][ours]["seconds"]
    for key in before["measurements"].keys() - {ours}:
        assert after["measurements"][key] == before["measurements"][key]


@pytest.mark.parametrize("option", ["--seed", "--threads"])
def test_results_of_other_terms_do_not_mix(measured: Path, capsys, option: str) -> None:
    before = measured.read_bytes()
    arguments = ["--output", str(measured), "--seed", "3", option, "4", "--only", "ours"]
    assert driver.main(arguments) == 2
    said = capsys.readouterr().err
    assert f"{option[2:]} there:" in said
    assert "--fresh" in said
    assert measured.read_bytes() == before


def test_another_machine_is_begun_anew_only_when_asked_or_by_a_whole_run(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    terms = {"machine": {"cpu": "this one"}, "seed": 1, "threads": 2}
    elsewhere = {**terms, "machine": {"cpu": "another"}, "measurements": {"a": {}}}
    driver.save(elsewhere, path)
    empty = {**terms, "measurements": {}}
    assert driver.begin(path, terms, fresh=True, whole=False) == empty
    assert driver.begin(path, terms, fresh=False, whole=True) == empty
    with pytest.raises(driver.RefusalError, match=r"machine there: .*another"):
        driver.begin(path, terms, fresh=False, whole=False)
    driver.save({**terms, "measurements": {"a": {}}}, path)
    assert driver.begin(path, terms, fresh=False, whole=True)["measurements"] == {"a": {}}


def test_what_takes_too_long_and_what_fails_is_recorded(tmp_path: Path, capsys) -> None:
    output = tmp_path / "results.json"
    arguments = ["--only", "ours", "--designs", TINY.name, "--output", str(output)]
    assert driver.main([*arguments, "--time-limit", "0.01"]) == 0
    record = report.load(output)["measurements"][f"fit {TINY.name} ours"]
    assert record["failed"] == "stopped after 0.01 s"
    assert "stopped after 0.01 s" in capsys.readouterr().out
    # one row a group: tau cannot be estimated, and the fit says so
    assert driver.main([*arguments[:3], "5/1000/1", *arguments[4:]]) == 0
    record = report.load(output)["measurements"]["fit 5/1000/1 ours"]
    assert "failed" in record
    assert record["failed"].startswith("ValueError: ")


def test_a_peer_that_dies_is_said_to_have_died() -> None:
    found = driver.call(["sh", "-c", "kill -9 $$"], 60.0, driver.environment(1)[0])
    assert found == {"failed": "ended by SIGKILL"}
    found = driver.call(["sh", "-c", "exit 3"], 60.0, driver.environment(1)[0])
    assert found == {"failed": "ended with status 3"}


def test_missing_peers_are_named_each_with_what_it_lacks() -> None:
    without_r = {"gpboost": "1"}
    assert peers.missing("gpboost-tight", without_r) == ""
    assert "statsmodels is not installed" in peers.missing("statsmodels", without_r)
    assert "no Rscript" in peers.missing("lme4", without_r)
    assert "R package glmmTMB" in peers.missing("glmmTMB", {"R": "4", "lme4": "1"})


def test_r_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = peers.installed()
    assert found["laplace-glmm"] == laplace.__version__
    assert not {"R", "lme4", "glmmTMB"} & found.keys()


@pytest.mark.parametrize(
    ("script", "found", "why"),
    [
        ('echo "R 4.4.1"', {"R": "4.4.1"}, "the R package lme4 is not installed"),
        ("echo 'Loading the site profile'; echo; exit 1", {}, "no Rscript on the PATH"),
        ('echo "hello"; echo "R 4.4.1 "; echo "lme4 1.1-35"', {"R": "4.4.1", "lme4": "1.1-35"}, ""),
    ],
    ids=["without lme4", "broken", "talkative"],
)
def test_a_half_installed_r_is_said_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: dict, why: str
) -> None:
    (tmp_path / "Rscript").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    packages = peers.installed()
    assert {name: packages.get(name) for name in found} == found
    assert ("lme4" in packages) == ("lme4" in found)
    assert why in peers.missing("lme4", packages)
    assert bool(why) == bool(peers.missing("lme4", packages))


def test_an_rscript_that_cannot_be_started_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Rscript").write_text("no program\n")
    (tmp_path / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "does not start" in peers.missing("lme4", peers.installed())


def test_a_peer_that_is_not_there_is_on_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    output = tmp_path / "results.json"
    arguments = ["--only", "lme4", "--designs", TINY.name, "--output", str(output)]
    assert driver.main(arguments) == 0
    record = report.load(output)["measurements"][f"fit {TINY.name} lme4"]
    assert "no Rscript on the PATH" in record["missing"]


def test_the_environment_has_the_threads_and_none_of_the_callers_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    env, dropped = driver.environment(2)
    assert {"OPENBLAS_CORETYPE", "OMP_NUM_THREADS"} <= set(dropped)
    assert "OPENBLAS_CORETYPE" not in env
    assert {env[name] for name in driver.THREADS} == {"2"}


def test_quick_leaves_out_the_slow_and_nothing_else() -> None:
    def fits(*arguments: str) -> set[str]:
        return {job.key for job in driver.parse(arguments).jobs}

    slow = {f"fit {design.name} {peer}" for peer, design in driver.SLOW}
    assert fits() - fits("--quick") == slow
    for design in COMPARED:
        for peer in peers.PEERS:
            assert f"fit {design.name} {peer}" in fits()
    starts = {"start empty", "start filled"}
    assert fits("--only", "start") == starts
    assert fits("--only", "start,ours", "--designs", "9/3/2") == starts | {"fit 9/3/2 ours"}
    assert fits("--designs", "9/3/2") == {f"fit 9/3/2 {peer}" for peer in peers.PEERS}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "ours,sas"], "there is no 'sas'"),
        (["--designs", "10/2"], "a design is written rows/groups/columns"),
    ],
)
def test_a_wrong_command_line_is_refused(capsys, arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        driver.parse(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("small", {"seed": 1, "count": 3, "tau": 1.0, "workers": 1}),
        ("validation", {"design": TINY.name}),
        ("fit", {"peer": "ours", "design": TINY.name, "threads": 1, "options": {"nodes": 5}}),
    ],
)
def test_what_is_measured_of_ours(name: str, arguments: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(driver.measure, "BUDGET", 0.0)  # once is enough
    TINY.write(tmp_path, seed=1)
    if "design" in arguments:
        arguments = arguments | {"folder": str(tmp_path)}
    found = driver.measure.MEASURES[name](**arguments)
    times = {
        "small": ("single",),
        "validation": ("ready", "fit"),
        "fit": ("seconds", "unit pass"),
    }[name]
    for key in times:
        assert found[key]
        assert min(found[key]) > 0.0
    json.dumps(report.without_nan(found), allow_nan=False)
    if name == "small":
        assert found["batches"].keys() == {"1"}
    if name == "fit":
        assert found["tau"] == laplace.fit(*TINY.draw(seed=1), nodes=5).tau
        assert found["memory"] >= 0


# --- the report ----------------------------------------------------------------------------------

HAND_MADE = {
    "machine": {"cpu": "A", "cores": 1, "memory GiB": 8, "system": "Linux"},
    "versions": {"gpboost": "1", "lme4": "2"},
    "seed": 1,
    "threads": 2,
    "measurements": {
        f"fit {COMPARED[0].name} ours": {
            "seconds": [1.0, 3.0, 2.0],
            "unit pass": [0.5],
            "memory": 2**20,
            "beta": [1.0],
            "tau": 2.0,
            "bse": [0.5, None],
            "loglik": -10.0,
            "date": "2026-01-02",
        },
        f"fit {COMPARED[0].name} gpboost-tight": {
            "seconds": [20.0],
            "memory": None,
            "beta": [2.0],
            "tau": 9.0,
            "loglik": -10.5,
            "date": "2026-01-01",
        },
        f"fit {COMPARED[0].name} lme4": {"failed": "ended by SIGKILL", "date": "2026-01-02"},
        f"fit {COMPARED[0].name} glmmTMB": {"missing": "no R", "date": "2026-01-02"},
        "rows 10/2/3": {"seconds": [1.0], "date": "2026-01-02"},
        "rows 1000/2/3": {"seconds": [10.0], "date": "2026-01-02"},
        "nodes 1": {"seconds": [2.0], "date": "2026-01-02"},
        "nodes 25": {"seconds": [6.0], "date": "2026-01-02"},
    },
}


def test_ratios_and_differences_by_hand() -> None:
    table = report.fits(HAND_MADE).loc[COMPARED[0].name]
    assert table.loc["ours", "seconds"] == 2.0
    assert table.loc["gpboost-tight", "ratio"] == 10.0
    assert table.loc["gpboost-tight", "below"] == 0.5
    assert table.loc["ours", "below"] == 0.0
    assert table.loc["gpboost-tight", "distance"] == 2.0  # tau has no standard error here
    assert table.loc["ours", "MiB"] == 1.0
    assert table.loc["lme4", ["seconds", "ratio", "below"]].isna().all()
    assert report.passes(HAND_MADE)["fit / unit pass"].tolist() == ["4"]
    assert report.nodes(HAND_MADE)["Laplace fits"].tolist() == [1.0, 3.0]
    powers = report.local_exponents(report.growth(HAND_MADE, "rows")["as drawn"])
    assert powers.to_numpy() == pytest.approx(0.5)
    assert len(powers) == 1


def test_the_table_says_missing_and_failed() -> None:
    table = report.comparison(HAND_MADE).droplevel(0)["seconds"]
    assert table.to_dict() == {
        "laplace": "2",
        "GPBoost, tight": "20",
        "glmmTMB": "missing",
        "lme4": "failed",
    }
    size = report.size(COMPARED[0])
    assert set(report.remarks(HAND_MADE)) == {
        f"lme4: ended by SIGKILL ({size})",
        f"glmmTMB: no R ({size})",
    }


def test_the_sentence_has_the_numbers_the_machine_and_the_days() -> None:
    assert report.sentence(HAND_MADE) == (
        "A fit to 1,000 rows in 2 groups with 10 columns takes 2 s; on the same data, GPBoost 1 "
        "run to the same maximum 20 s (10 times ours). (A, 1 core, 8 GiB, 2 threads; 2026-01-01 to "
        "2026-01-02)"
    )


def test_a_file_of_one_kind_is_enough_for_the_terminal() -> None:
    for kind in ("rows", "nodes", f"fit {COMPARED[0].name} gpboost-tight"):
        kept = {k: v for k, v in HAND_MADE["measurements"].items() if k.startswith(kind)}
        part = {**HAND_MADE, "measurements": kept}
        assert "2026" in report.text(part)
        assert report.quotable(part) == []  # so that nothing is written to the README
    assert report.quotable(HAND_MADE) == COMPARED[:1]


# --- what is committed ---------------------------------------------------------------------------


def test_the_readme_quotes_the_results() -> None:
    text = report.README.read_text(encoding="utf-8")
    quoted = re.findall(f"{re.escape(report.BEGIN)}(.*?){re.escape(report.END)}", text, re.DOTALL)
    assert quoted == [f"{report.quotation(RESULTS)}\n"], (
        "README.md does not quote benchmarks/results.json: "
        "python -c 'from benchmarks import report; report.quote(report.load())'"
    )


def test_quoting_changes_the_sentence_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    text = report.README.read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "README", copy)
    report.quote(HAND_MADE)
    quoted = copy.read_text(encoding="utf-8")
    assert quoted == text.replace(report.quotation(RESULTS), report.quotation(HAND_MADE))
    assert quoted != text


def test_the_committed_results_hold_what_the_page_shows() -> None:
    assert {"machine", "versions", "seed", "threads", "commit", "measurements"} <= RESULTS.keys()
    table = report.fits(RESULTS)
    for design in report.designs(RESULTS, is_sorted=False):
        ours = table.loc[design.name, "ours"]
        assert ours["problem"] == ""
        assert ours["below"] < report.SAME, "someone reached a higher maximum than ours"
    assert isinstance(report.growth(RESULTS, "rows"), pd.DataFrame)
