"""The study's runner: seeds, failures, what is kept, and that nothing depends on how it runs."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from compendium.simulate import small_groups
from compendium.study import (
    METHODS,
    SCENARIOS,
    DamagedResultsWarning,
    Estimate,
    Method,
    Scenario,
    Study,
    content,
    load,
    results,
    save,
)
from compendium.study.__main__ import main
from compendium.study.definition import REPLICATES
from laplace.simulate import Simulated

DATA = Path(__file__).parents[1] / "notebooks" / "data"
SMALL = "groups-50x2-tau1-prev20"
SITES = "sites-2x30-tau1"
# more replicates than a part holds, and no whole number of parts
STUDY = {"scenarios": [SMALL, SITES], "methods": ["laplace", "ignoring-sites"], "replicates": 60}


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two results agree in all but how long the fits took."""
    texts = [frame.drop(columns="seconds").to_csv() for frame in (one, other)]
    return texts[0] == texts[1]


@pytest.fixture(scope="module")
def unbroken() -> pd.DataFrame:
    return Study(**STUDY).run(workers=1)


# --- the table -----------------------------------------------------------------------------------


def test_a_row_a_scenario_replicate_method_and_estimand(unbroken):
    key = ["scenario", "replicate", "method", "estimand"]
    assert not unbroken.duplicated(key).any()
    sizes = unbroken.groupby(["scenario", "method"], observed=True).size().unstack()
    assert (sizes.loc[SMALL] == 60 * 4).all()  # three coefficients and tau
    assert (sizes.loc[SITES] == 60 * 11).all()
    assert list(unbroken.columns) == results.COLUMNS.names
    assert list(unbroken["method"].cat.categories) == STUDY["methods"]


def test_the_rows_are_what_the_fits_give(unbroken):
    import laplace

    study = Study(**STUDY)
    fit = laplace.fit(*study.data(SMALL, 31), nodes=1)
    rows = unbroken[(unbroken["scenario"] == SMALL) & (unbroken["replicate"] == 31)]
    rows = rows[rows["method"] == "laplace"].set_index("estimand")
    # 17 significant bits are kept of an estimate, 13 of the rest: half a unit is 2^-17, or 2^-13,
    # of the number at most
    np.testing.assert_allclose(rows["estimate"], fit.params, rtol=2**-17)
    np.testing.assert_allclose(rows["standard_error"], fit.bse, rtol=2**-13)
    error = fit.approximation_error()
    np.testing.assert_allclose(rows["approximation_error"], error, rtol=2**-13, atol=1e-6)
    assert list(rows.index) == ["intercept", "within", "between", "tau"]
    np.testing.assert_allclose(rows["truth"], [*study.data(SMALL, 31).beta, 1.0], rtol=2**-17)
    assert (rows["iterations"] == fit.iterations).all()
    assert (rows["seconds"] > 0).all()


def test_the_study_is_the_one_that_was_asked_for():
    settings = [s.parameters for n, s in SCENARIOS.items() if n.startswith("sites-")]
    published = {(s["sites"], s["patients"], s["tau"] ** 2) for s in settings if not s["noise"]}
    assert published == {(m, n, v) for m in (2, 10) for n in (30, 500) for v in (1.0, 4.0)}
    assert [s["noise"] for s in settings if s["noise"]] == [1.0]
    groups = [s.parameters for n, s in SCENARIOS.items() if n.startswith("groups-")]
    factorial = {(s["groups"], s["rows"], s["tau"], s["prevalence"]) for s in groups}
    levels = (10, 50, 500), (2, 5, 10, 30, 100), (0.5, 1.0, 2.0, 4.0), (0.05, 0.2, 0.5)
    assert factorial == set(itertools.product(*levels))
    few = [s.parameters for n, s in SCENARIOS.items() if n.startswith("few-")]
    equal = {(s["sites"], s["rows"], s["tau"]) for s in few}
    assert equal == set(itertools.product((2, 3, 5, 10), (30, 100, 500), (0.5, 1.0)))
    uneven = [s.parameters for n, s in SCENARIOS.items() if n.startswith("unequal-")]
    assert {(s["sites"], s["tau"]) for s in uneven} == set(itertools.product((5, 10), (0.5, 1.0)))
    known = ("sites-", "groups-", "few-", "unequal-")
    assert {name for name in SCENARIOS if not name.startswith(known)} == {
        "two-sites-noise",
        "two-sites-intercepts",
    }
    study = Study()
    assert (study.scenarios, study.methods) == (list(SCENARIOS.values()), list(METHODS.values()))


def test_a_scenario_has_methods_and_a_number_of_data_sets_of_its_own():
    scenarios = [
        SCENARIOS["few-2x30-tau1"],
        replace(SCENARIOS["groups-500x2-tau1-prev20"], replicates=50),
    ]
    study = Study(scenarios)
    few, many = study.definition["scenarios"]
    assert few["methods"] == list(SCENARIOS["few-2x30-tau1"].methods)
    assert few["replicates"] == REPLICATES
    assert many["methods"] == ["laplace", "quadrature-9", "auto", "reference"]
    assert many["replicates"] == 50
    assert {
        one["replicates"] for one in Study(scenarios, replicates=7).definition["scenarios"]
    } == {7}
    assert {part.stop for part in study.parts() if part.scenario.name == many["name"]} == {25, 50}
    # methods that are named are run everywhere
    named = Study(["few-2x30-tau1", SMALL], ["laplace"])
    assert [scenario["methods"] for scenario in named.definition["scenarios"]] == [["laplace"]] * 2


def test_a_method_may_be_run_on_every_so_many_data_sets():
    rare = Method("rare", METHODS["laplace"].fit, {"nodes": 1}, every=7, together=True)
    rows = Study([SMALL], ["laplace", rare], replicates=30).run(workers=1)
    assert rows[rows["method"] == "rare"]["replicate"].unique().tolist() == [0, 7, 14, 21, 28]
    both = rows.drop(columns=["seconds", "approximation_error"]).set_index(["replicate"])
    one, other = (both[both["method"] == name]["estimate"] for name in ("laplace", "rare"))
    assert one.loc[other.index.unique()].tolist() == other.tolist()
    assert rare.definition["every"] == 7
    # a method that fits many together fits one alone in the same way
    data = Study([SMALL]).data(SMALL, 7)
    assert METHODS["laplace"](data).value.tolist() == rare(data).value.tolist()


# --- random numbers ------------------------------------------------------------------------------


def test_a_replicate_alone_gives_the_same_rows(unbroken):
    alone = Study(**STUDY).replicate(SITES, 47)
    there = unbroken[(unbroken["scenario"] == SITES) & (unbroken["replicate"] == 47)]
    assert same(alone, there.reset_index(drop=True))
    assert len(alone) == 22


def test_data_do_not_depend_on_what_else_runs(unbroken):
    other = Study([SITES], ["laplace"], replicates=30).run(workers=1)
    there = unbroken[(unbroken["scenario"] == SITES) & (unbroken["method"] == "laplace")]
    assert same(other, there[there["replicate"] < 30].reset_index(drop=True))
    reversed_ = Study([SITES, SMALL], STUDY["methods"][::-1], replicates=30).run(workers=1)
    key = ["scenario", "replicate", "method", "estimand"]
    both = [frame.set_index(key)["estimate"] for frame in (unbroken, reversed_)]
    pd.testing.assert_series_equal(both[0].reindex(both[1].index), both[1])


def test_seeds_differ_between_studies_scenarios_and_replicates():
    study, other = Study([SMALL, SITES], replicates=2), Study([SMALL], replicates=2, seed=2)
    drawn = [study.data(SMALL, 0), study.data(SMALL, 1), other.data(SMALL, 0)]
    renamed = Scenario("renamed", small_groups, SCENARIOS[SMALL].parameters)
    drawn.append(Study([renamed]).data("renamed", 0))
    assert len({data.X.tobytes() for data in drawn}) == 4


# --- workers and backends ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 4])
def test_results_do_not_depend_on_the_number_of_workers(unbroken, tmp_path, workers):
    found = Study(**STUDY).run(tmp_path, workers=workers)
    assert content(found) == content(unbroken)
    assert same(found, unbroken)


def test_threads_give_the_same(unbroken):
    with joblib.parallel_config(backend="threading"):
        assert content(Study(**STUDY).run(workers=2)) == content(unbroken)


def test_a_dask_cluster_gives_the_same(unbroken, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(tmp_path),
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        found = Study(**STUDY).run(tmp_path / "study")
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2
    assert sum(done.values()) >= 6  # three parts of each scenario
    assert content(found) == content(unbroken)


def test_linear_algebra_keeps_to_one_thread_until_the_last_part_is_done():
    from threadpoolctl import threadpool_info

    from compendium.study.runner import one_thread

    def most():
        return max(pool["num_threads"] for pool in threadpool_info())

    before = most()
    with one_thread():
        with one_thread():
            assert most() == 1
        assert most() == 1
    assert most() == before


# --- stopped and called again --------------------------------------------------------------------


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("parts/*/*.parquet"))


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(unbroken, tmp_path):
    command = [
        sys.executable,
        "-m",
        "compendium.study",
        "--folder",
        str(tmp_path),
        "--workers",
        "2",
    ]
    command += ["--scenarios", *STUDY["scenarios"], "--methods", *STUDY["methods"]]
    command += ["--replicates", str(STUDY["replicates"])]
    running = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not parts_in(tmp_path) and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.005)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    finished = {path: path.stat().st_mtime_ns for path in parts_in(tmp_path)}
    assert 0 < len(finished) < 6
    assert not list(tmp_path.glob("*.parquet"))

    study = Study(**STUDY)
    assert content(study.run(tmp_path, workers=1)) == content(unbroken)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # not computed again
    kept = load(tmp_path / f"{study.hash}.parquet", study)
    assert same(kept, unbroken)


def test_the_files_are_the_same_bytes_but_for_the_seconds(tmp_path):
    study = Study([SMALL], ["laplace"], replicates=30)
    written = []
    for workers in (1, 2):
        found = study.run(tmp_path / str(workers), workers=workers)
        save(found.assign(seconds=np.float32(0)), tmp_path / "whole.parquet")
        written.append((tmp_path / "whole.parquet").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("damage", ["cut", "emptied", "altered"])
def test_a_damaged_part_is_said_and_computed_again(unbroken, tmp_path, damage):
    study = Study(**STUDY)
    study.run(tmp_path, workers=1)
    part = parts_in(tmp_path)[3]
    whole = part.read_bytes()
    wrong = {
        "cut": whole[: len(whole) // 2],
        "emptied": b"",
        "altered": whole[:300] + bytes([whole[300] ^ 255]) + whole[301:],
    }[damage]
    part.write_bytes(wrong)
    with pytest.warns(DamagedResultsWarning, match=f"{part.name} is damaged, and is computed aga"):
        again = study.run(tmp_path, workers=1)
    assert content(again) == content(unbroken)
    pq.read_table(part)


@pytest.mark.parametrize("damage", ["cut", "emptied", "something else"])
def test_a_damaged_whole_is_said_and_made_again(tmp_path, damage):
    study = Study([SMALL], ["laplace"], replicates=5)
    found = study.run(tmp_path, workers=1)
    path = tmp_path / f"{study.hash}.parquet"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-50], "emptied": b"", "something else": b"text"}[damage])
    with pytest.raises(
        ValueError, match=r"is damaged, or holds no results .*; run the study again"
    ):
        load(path, study)
    study.run(tmp_path, workers=1)
    assert same(load(path, study), found)


def test_altered_results_are_noticed(tmp_path):
    study = Study([SMALL], ["laplace"], replicates=5)
    found = study.run(workers=1)
    save(found, tmp_path / "whole.parquet")
    data = pq.read_table(tmp_path / "whole.parquet")
    better = found.assign(estimate=found["truth"])
    changed = data.set_column(4, "estimate", results.pa.array(better["estimate"]))
    pq.write_table(changed, tmp_path / "whole.parquet")
    with pytest.raises(ValueError, match="is not as it was written"):
        load(tmp_path / "whole.parquet")


def test_another_definition_goes_to_another_place_and_is_never_mixed(tmp_path):
    first = Study([SMALL, SITES], ["laplace"], replicates=30)
    first.run(tmp_path, workers=1)
    before = parts_in(tmp_path)

    changed = Scenario(SMALL, small_groups, {**SCENARIOS[SMALL].parameters, "tau": 1.5})
    second = Study([changed, SITES], ["laplace"], replicates=30)
    found = second.run(tmp_path, workers=1)
    new = set(parts_in(tmp_path)) - set(before)
    assert {path.parent.name.rpartition("-")[0] for path in new} == {SMALL}  # and nothing else
    truth = found[(found["scenario"] == SMALL) & (found["estimand"] == "tau")]["truth"]
    assert (truth == 1.5).all()

    old = tmp_path / f"{first.hash}.parquet"
    with pytest.raises(ValueError, match=rf"another study: other scenarios \({SMALL}\); run the"):
        load(old, second)
    other = Study([SMALL, SITES], ["laplace"], replicates=20, seed=3)
    with pytest.raises(ValueError, match="seed is 1, not 3, replicates is 30, not 20"):
        load(old, other)
    assert same(load(old, first), load(old))
    written = json.loads((tmp_path / f"{first.hash}.json").read_text(encoding="utf-8"))
    assert written == first.definition


def test_more_replicates_take_up_those_that_there_are(tmp_path):
    Study([SMALL], ["laplace"], replicates=25).run(tmp_path, workers=1)
    (first,) = parts_in(tmp_path)
    before = first.stat().st_mtime_ns
    more = Study([SMALL], ["laplace"], replicates=40)
    assert same(more.run(tmp_path, workers=1), more.run(workers=1))
    assert first.stat().st_mtime_ns == before


def test_parts_of_other_code_are_not_taken_up(tmp_path, monkeypatch):
    study = Study([SMALL], ["laplace"], replicates=5)
    study.run(tmp_path, workers=1)
    monkeypatch.setattr(results, "code", lambda: "other code")
    study.run(tmp_path, workers=1)
    assert len(parts_in(tmp_path)) == 2


def test_a_users_function_is_part_of_the_definition(tmp_path):
    source = "from compendium.simulate import small_groups\ndef draw(seed):\n    "
    hashes = []
    for tau in (1, 2):
        path = tmp_path / f"own{tau}.py"
        path.write_text(f"{source}return small_groups(9, 4, {tau}, 0.4, seed=seed)\n")
        sys.path.insert(0, str(tmp_path))
        draw = __import__(path.stem).draw
        sys.path.pop(0)
        hashes.append(Scenario("own", draw).definition["code"])
    assert len(set(hashes)) == 2


def test_a_full_disk_loses_nothing_and_is_said(unbroken, tmp_path, monkeypatch):
    write, written = pq.write_table, []

    def fill(table, where, **options):
        if len(written) == 3:
            Path(where).write_bytes(b"PAR1")  # what fits
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(where)
        write(table, where, **options)

    monkeypatch.setattr(pq, "write_table", fill)
    study = Study(**STUDY)
    words = "No space left on device. .* what was finished before is kept. Make room, and run"
    with pytest.raises(OSError, match=words) as raised:
        study.run(tmp_path, workers=1)
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path)
    finished = {path: path.stat().st_mtime_ns for path in parts_in(tmp_path)}
    assert len(finished) == 3
    assert not list(tmp_path.glob("**/*.partial"))
    monkeypatch.undo()
    assert content(study.run(tmp_path, workers=1)) == content(unbroken)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


# --- failures ------------------------------------------------------------------------------------


def separated(*, seed: np.random.Generator) -> Simulated:
    data = small_groups(20, 5, 1.0, 0.5, seed=seed)
    X = np.column_stack([data.X[:, 0], data.y + 0.1 * data.X[:, 1]])
    return Simulated(data.y, X, data.groups, np.zeros(2), data.intercepts, data.noise, 1.0)


def stops(data: Simulated, *, kind: str) -> Estimate:
    raise {"value": ValueError, "key": KeyError, "memory": MemoryError}[kind](f"no luck: {data.y}")


def test_a_failure_is_a_row_that_says_why():
    methods = ["laplace", "ignoring-sites", "site-dummies", Method("key", stops, {"kind": "key"})]
    scenario = Scenario("separated", separated)
    rows = Study([scenario], methods, replicates=2).run(workers=1)
    assert len(rows) == 2 * 4 * 3
    assert not rows["converged"].any()
    assert rows["estimate"].isna().all()
    said = rows.groupby("method", observed=True)["message"].unique().str.join("|")
    assert said["laplace"] == "X separates y completely"
    assert said["ignoring-sites"] == "X separates y completely"
    assert said["key"] == "KeyError 'no luck"


def test_what_says_nothing_of_the_method_stops_the_study():
    with pytest.raises(MemoryError):
        Study([SMALL], [Method("m", stops, {"kind": "memory"})], replicates=1).run(workers=1)


def test_boundary_and_divergence_are_rows():
    rows = Study([SMALL], ["laplace", "as-published"], replicates=40).run(workers=2)
    fits = rows.drop_duplicates(["replicate", "method"]).set_index("method")
    at_boundary = rows[rows["boundary"] & (rows["estimand"] == "tau")]
    assert len(at_boundary) > 3
    assert (at_boundary["estimate"] == 0.0).all()
    assert at_boundary["standard_error"].isna().all()
    diverged = fits.loc["as-published"]
    assert set(diverged.loc[~diverged["converged"], "message"]) == {
        "the published algorithm did not converge"
    }
    assert 0 < diverged["converged"].sum() < 40


NUMBERS = ["estimate", "standard_error", "approximation_error"]


def unsettled(data: Simulated, *, reached: float, converged: bool) -> Estimate:
    value = np.append(data.beta, reached)
    return Estimate(value, value, value, converged, iterations=7, nodes=5, message="no luck")


@pytest.mark.parametrize(
    ("reached", "wild"),
    # the largest of the truth is 1.97, the size of the intercept
    [(1.0, False), (-19.0, False), (20.0, True), (-20.0, True), (1e28, True), (np.inf, True)],
)
@pytest.mark.parametrize("converged", [True, False])
def test_a_fit_that_did_not_converge_leaves_no_number_but_whether_it_was_wild(
    reached, wild, converged
):
    options = {"reached": str(reached), "converged": converged}

    def fit(data: Simulated, *, reached: str, converged: bool) -> Estimate:
        return unsettled(data, reached=float(reached), converged=converged)

    study = Study([SMALL], [Method("unsettled", fit, options)], replicates=2)
    assert 1.9 < max(abs(study.data(SMALL, 0).beta)) < 2.0
    rows = study.run(workers=1)
    assert (rows["wild"] == wild).all()
    assert (rows["message"] == "no luck").all()
    assert (rows["converged"] == converged).all()
    assert rows.loc[rows["estimand"] != "tau", NUMBERS].notna().all(axis=None) == converged
    assert rows[NUMBERS].notna().any(axis=None) == converged
    assert (rows[["iterations", "nodes"]] == [7, 5]).all(axis=None) == converged
    assert (rows[["iterations", "nodes"]] == 0).all(axis=None) != converged


def test_what_was_refused_is_not_wild():
    rows = Study([SMALL], [Method("value", stops, {"kind": "value"})], replicates=1).run(workers=1)
    assert not rows["wild"].any()


def test_the_stored_study_holds_no_number_of_what_did_not_converge():
    stored = load(DATA / "monte_carlo.parquet", Study())
    lost = stored[~stored["converged"]]
    assert lost[NUMBERS].isna().all(axis=None)
    assert (lost[["iterations", "nodes"]] == 0).all(axis=None)
    assert not lost["boundary"].any()
    assert (lost["message"] != "").all()
    assert not lost["message"].str.contains(r"[;:,(]").any()  # first clauses, and whole ones
    # nearly every run of the published algorithm that diverges is wild
    diverged = lost.loc[lost["method"] == "as-published"]
    assert diverged["wild"].mean() > 0.95
    assert stored.loc[stored["converged"] & (stored["method"] != "as-published"), "wild"].any()
    assert (
        stored.groupby(["scenario", "replicate", "method"], observed=True)["wild"].nunique() == 1
    ).all()


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"scenarios": ["two-sites-noize"]},
            "there is no 'two-sites-noize'; did you mean 'two-sit",
        ),
        (
            {"methods": ["quadrature9"]},
            "methods: there is no 'quadrature9'; did you mean 'quadrat",
        ),
        ({"methods": ["xxxxxxxx"]}, "there is no 'xxxxxxxx'; There are: laplace, quadrature-9"),
        ({"methods": []}, "methods is empty; there are: laplace"),
        ({"methods": ["laplace", "laplace"]}, "methods: 'laplace' is given twice"),
        ({"replicates": 0}, "replicates must be at least 1, got 0"),
        ({"replicates": -5}, "replicates must be at least 1, got -5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"scenarios": [Scenario("a/b", small_groups)]}, "'a/b': a name has letters, digits and"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Study(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"replicates": 2.5}, "replicates must be a whole number, got 2.5"),
        ({"replicates": True}, "replicates must be a whole number, got True"),
        ({"scenarios": [Scenario("a", small_groups, {"tau": np.inf})]}, "must be finite numbers"),
        ({"scenarios": [Scenario("a", small_groups, {"tau": object()})]}, "must be finite numbers"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused(arguments, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        Study(**arguments)


def test_replicate_and_workers_are_checked(tmp_path):
    study = Study([SMALL], ["laplace"], replicates=1)
    with pytest.raises(ValueError, match=f"scenario: there is no {SITES!r}"):
        study.replicate(SITES, 0)
    with pytest.raises(ValueError, match="replicate must be at least 0, got -1"):
        study.replicate(SMALL, -1)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        study.run(workers=0)
    with pytest.raises(FileNotFoundError, match="`make study` computes the study's results"):
        load(tmp_path / "none.parquet")


# --- the command line ----------------------------------------------------------------------------


def test_the_command_runs_a_study_and_writes_it(tmp_path, capsys):
    output = tmp_path / "data" / "whole.parquet"
    arguments = ["--scenarios", SMALL, "--methods", "laplace", "--replicates", "3", "--seed", "5"]
    places = ["--folder", str(tmp_path / "kept"), "--output", str(output), "--workers", "1"]
    assert main([*arguments, *places]) == 0
    study = Study([SMALL], ["laplace"], replicates=3, seed=5)
    assert f"12 rows of {study!r}" in capsys.readouterr().out
    assert same(load(output, study), study.run(workers=1))


def test_the_command_refuses_in_words(tmp_path, capsys):
    assert main(["--scenarios", "two-sites", "--folder", str(tmp_path)]) == 1
    assert "there is no 'two-sites'; did you mean 'two-sites-" in capsys.readouterr().err
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [
        "scenarios:",
        *SCENARIOS,
        "methods:",
        *METHODS,
    ]


def test_progress_has_a_bar_and_the_time_left(capsys):
    Study([SMALL], ["ignoring-sites"], replicates=60).run(workers=1, progress=True)
    said = capsys.readouterr().err
    assert re.search(r"\d+%\|.*\| \d+/60 \[\d\d:\d\d<\d\d:\d\d, .* data sets/s\]", said)
    Study([SMALL], ["ignoring-sites"], replicates=2).run(workers=1)
    assert capsys.readouterr().err == ""  # no terminal, no bar
