"""Partitions on a Dask cluster: the fit is that of all rows in one place.

The truth is `laplace.fit` of all rows, which other tests hold against R.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.dataframe
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from studies import Study, distance, study

import laplace
from laplace.engines import dask as partitions
from laplace.engines.dask import rounds_left

pytestmark = pytest.mark.filterwarnings("ignore::laplace.ApproximationWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Start two processes, and end them."""
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    with cluster, Client(cluster) as found:
        yield found


def parts_of(of: Study, count: int) -> list[pd.DataFrame]:
    """Divide the rows, all rows of a group in one part."""
    labels = pd.unique(of.data[of.groups])
    place = pd.Series(np.arange(len(labels)) % count, index=labels)
    at = np.asarray(place[of.data[of.groups].to_numpy()])
    return [of.data[at == k] for k in range(count)]


def delayed(frames: list[pd.DataFrame]) -> list[Any]:
    return [dask.delayed(frame) for frame in frames]


@pytest.mark.parametrize("nodes", [1, 9, "auto"])
@pytest.mark.parametrize("name", ["toenail", "cbpp", "contraception"])
def test_a_formula_over_partitions(client: Client, name: str, nodes: int | str) -> None:
    of = study(name)
    data = dask.dataframe.from_delayed(delayed(parts_of(of, 11)))
    fit = partitions.fit_formula(
        of.pooled_formula, data, of.groups, family=of.family, nodes=nodes, client=client
    )
    assert distance(fit, of.pooled(nodes=nodes)) < 1e-11
    assert fit.nobs == len(of.data)
    assert "11, which were asked" in str(fit.summary())


def test_columns_over_partitions(client: Client) -> None:
    of = study("cbpp")
    data = of.data.assign(one=1.0, late=(of.data["period"] == "4") * 1.0)
    rows = {"trials": data["size"], "family": "binomial", "offset": np.full(len(data), 0.1)}
    expected = laplace.fit(data["incidence"], data[["one", "late"]], data["herd"], **rows)
    for keep in (True, False):
        fit = partitions.fit(
            delayed(parts_of(Study(data.assign(shift=0.1), "", "herd"), 4)),
            *("incidence", ["one", "late"], "herd"),
            family="binomial",
            trials="size",
            offset="shift",
            keep=keep,
            client=client,
        )
        assert distance(fit, expected) < 1e-11


def test_a_folder_of_parquet_files_in_float32(client: Client, tmp_path: Path) -> None:
    of = study("10x500")
    columns = [f"x{k}" for k in range(10)]
    data = of.data.astype(dict.fromkeys(columns, np.float32))
    for k, part in enumerate(parts_of(Study(data, "", "hospital"), 4)):
        part.to_parquet(tmp_path / f"{k}.parquet")
    fit = partitions.fit(tmp_path, "y", columns, "hospital", nodes=1, client=client)
    expected = laplace.fit(data["y"], data[columns].to_numpy(), data["hospital"], nodes=1)
    assert distance(fit, expected) < 1e-11
    with pytest.raises(ValueError, match=r"holds no Parquet files; their names end in .parquet"):
        partitions.fit(tmp_path / "none", "y", columns, "hospital", client=client)


def test_levels_are_agreed_on_before_anything_is_coded(client: Client) -> None:
    """Partitions without a level, categories in other orders, text, and C() of numbers."""
    of = study("contraception")
    data = of.data.assign(livch=of.data["livch"].astype(str), kind=of.data["district"] % 3)
    frames = parts_of(Study(data, "", "district"), 5)
    frames[0] = frames[0][frames[0]["livch"] != "2"]
    frames[1] = frames[1][frames[1]["urban"] == "N"].assign(urban=lambda d: d["urban"].astype(str))
    formula = "use ~ age + urban + livch + C(kind)"
    fit = partitions.fit_formula(formula, delayed(frames), "district", nodes=1, client=client)
    whole = pd.concat(frames).assign(urban=lambda d: d["urban"].astype(str))
    assert distance(fit, laplace.fit_formula(formula, whole, "district", nodes=1)) < 1e-11


def test_a_level_that_occurs_nowhere_is_none(client: Client) -> None:
    of = study("cbpp")
    data = of.data.assign(period=of.data["period"].cat.add_categories(["9"]))
    fit = partitions.fit_formula(
        of.formula, delayed(parts_of(Study(data, "", "herd"), 3)), "herd", nodes=1, client=client
    )
    assert list(fit.params.index) == list(of.pooled(nodes=1).params.index)


def test_groups_in_two_partitions_are_refused_with_the_remedy(client: Client) -> None:
    of = study("toenail")
    data = dask.dataframe.from_pandas(of.data.sample(frac=1.0, random_state=1), npartitions=3)
    with pytest.raises(ValueError, match=r"has rows in partition \d and partition \d; .*shuffle"):
        partitions.fit_formula(of.formula, data, "patient", client=client)
    fit = partitions.fit_formula(
        of.formula, data.shuffle(on="patient"), "patient", nodes=1, client=client
    )
    assert distance(fit, of.pooled(nodes=1)) < 1e-11


def test_empty_partitions_are_left_out(client: Client) -> None:
    of = study("cbpp")
    frames = [of.data.iloc[:0], *parts_of(of, 2), of.data.iloc[:0]]
    fit = partitions.fit_formula(of.formula, delayed(frames), "herd", nodes=1, client=client)
    assert distance(fit, of.pooled(nodes=1)) < 1e-11
    with pytest.raises(ValueError, match="data has no rows"):
        partitions.fit_formula(of.formula, delayed(frames[:1]), "herd", client=client)


@pytest.mark.parametrize(
    ("change", "formula", "words"),
    [
        ({"month": np.nan}, "outcome ~ month", r"partition 2: missing values in row"),
        (
            {"month": "x"},
            "outcome ~ month",
            "partition 2: column 'month' .* holds 'x', but the first",
        ),
        ({"outcome": 7}, "outcome ~ month", "partition 2: y must be 0 or 1"),
        ({}, "outcome ~ scale(month)", "would take constants from the rows of each site"),
        ({}, "outcome ~ months", "has no column 'months'"),
        ({}, "outcome ~ month +", "cannot be used"),
    ],
)
def test_bad_rows_name_their_partition(
    client: Client, change: dict[str, Any], formula: str, words: str
) -> None:
    frames = parts_of(study("toenail"), 3)
    frames[1] = frames[1].assign(**change)
    with pytest.raises((ValueError, TypeError), match=words):
        partitions.fit_formula(formula, delayed(frames), "patient", client=client)


def test_what_is_no_collection_is_refused(client: Client) -> None:
    for data in (study("cbpp").data, [], [1, 2], 7):
        with pytest.raises(TypeError, match="data must be a Dask DataFrame, a list of delayed"):
            partitions.fit(data, "y", ["x"], "g", client=client)
    data = dask.dataframe.from_pandas(study("cbpp").data, npartitions=2)
    with pytest.raises(ValueError, match=r"data has no column 'g', 'x', 'y'; it has .*'herd'"):
        partitions.fit(data, "y", ["x"], "g", client=client)


def test_missing_rows_are_dropped_and_counted(client: Client) -> None:
    of = study("toenail")
    data = of.data.assign(month=of.data["month"].where(of.data.index % 50 != 0))
    frames = parts_of(Study(data, "", "patient"), 3)
    options = {"missing": "drop", "nodes": 1}
    fit = partitions.fit_formula(
        "outcome ~ month", delayed(frames), "patient", **options, client=client
    )
    expected = laplace.fit_formula("outcome ~ month", data, "patient", **options)
    assert fit.dropped == expected.dropped > 0
    assert distance(fit, expected) < 1e-11


def test_predictions_are_lazy(client: Client) -> None:
    of = study("toenail")
    data = dask.dataframe.from_delayed(delayed(parts_of(of, 3)))
    fit = partitions.fit_formula(of.formula, data, "patient", nodes=9, client=client)
    expected = of.pooled(nodes=9)
    for kind in ("typical", "marginal"):
        later = fit.predict(data, kind=kind)
        assert isinstance(later, dask.dataframe.Series)
        rows = data.compute()
        np.testing.assert_allclose(later.compute(), expected.predict(rows, kind=kind), rtol=1e-9)
    # a fit of one process predicts for partitions, too
    np.testing.assert_array_equal(
        expected.predict(data).compute(), expected.predict(data.compute())
    )


@pytest.mark.parametrize("door", ["fit", "fit_formula"])
def test_what_needs_the_rows_says_where_they_are_and_how_to_go_on(
    client: Client, door: str
) -> None:
    of = study("toenail")
    data = of.data.assign(one=1.0)
    columns, parts = ["one", "month"], parts_of(Study(data, "", "patient"), 3)
    if door == "fit":
        arguments: tuple[Any, ...] = ("outcome", columns, "patient")
        fit = partitions.fit(delayed(parts), *arguments, nodes=9, client=client)
        whole = laplace.fit(data["outcome"], data[columns], data["patient"], nodes=9)
        rows = parts[1]
        site = laplace.Site.from_arrays(rows["outcome"], rows[columns], rows["patient"])
    else:
        fit = partitions.fit_formula(of.formula, delayed(parts), "patient", nodes=9, client=client)
        whole = of.pooled(nodes=9)
        site = laplace.Site.from_formula(of.formula, parts[1], "patient")
    for call, what in (
        (lambda: fit.random_effects, "random_effects"),
        (lambda: fit.data, "data"),
        (lambda: fit.predict(), r"predict\(\) without X"),
        (lambda: fit.resid(), r"resid\(\)"),
    ):
        words = f"^{what} needs the rows, which are in partitions on workers.*ask fit.at.site.,"
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(ValueError, match=r"in partitions on workers.*a fit of rows in one place"):
        fit.bootstrap(10)
    # what it says can be done
    there = fit.at(site)
    mine = whole.random_effects.loc[site.data.labels]
    np.testing.assert_allclose(there.random_effects, mine, rtol=1e-7)
    np.testing.assert_allclose(
        there.predict().sort_index(), whole.predict().loc[parts[1].index].sort_index(), rtol=1e-7
    )
    assert len(there.resid()) == len(there.simulate(1)) == len(parts[1])


def test_a_single_partition_is_no_place_here(client: Client) -> None:
    of = study("cbpp")
    fit = partitions.fit_formula(of.formula, delayed([of.data]), "herd", nodes=1, client=client)
    with pytest.raises(ValueError, match=r"in partitions on workers.*a fit of rows in one place"):
        fit.bootstrap(10)
    with pytest.raises(
        ValueError, match=r"^random_effects needs the rows, which are in partitions"
    ):
        _ = fit.random_effects


def test_a_fit_travels_without_its_rows(client: Client) -> None:
    of = study("cbpp")
    fit = partitions.fit_formula(
        of.formula, delayed(parts_of(of, 3)), "herd", nodes=1, client=client
    )
    again = pickle.loads(pickle.dumps(fit))
    assert str(again.params) == str(fit.params)
    np.testing.assert_array_equal(again.predict(of.data), fit.predict(of.data))
    with pytest.raises(ValueError, match="on workers that this fit has lost"):
        again.conf_int(method="profile")
    assert fit.conf_int(method="profile").notna().all().all()


def large() -> tuple[pd.DataFrame, list[str]]:
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(600), 200)
    X = rng.normal(size=(len(groups), 5))
    eta = X @ [0.5, -0.3, 0.2, 0.0, 0.1] - 1.0 + rng.normal(size=600)[groups]
    columns = [f"x{k}" for k in range(5)]
    data = pd.DataFrame(X, columns=columns).assign(y=rng.random(len(eta)) < 1 / (1 + np.exp(-eta)))
    return data.assign(ward=groups), columns


def test_a_worker_that_dies_and_partitions_that_are_made_again(tmp_path: Path) -> None:
    """The same bits, whether the rows are kept, read again each round, or lost on the way."""
    data, columns = large()
    for k, part in enumerate(parts_of(Study(data, "", "ward"), 8)):
        part.to_parquet(tmp_path / f"{k}.parquet")
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    with cluster, Client(cluster) as client:

        def fit(**options: Any) -> laplace.Fit:
            return partitions.fit(tmp_path, "y", columns, "ward", nodes=9, client=client, **options)

        expected = fit()
        again = fit(keep=False)
        np.testing.assert_array_equal(again.theta, expected.theta)
        rounds = []

        class Killer(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                rounds.append(record.getMessage())
                if len(rounds) == 4:
                    worker = next(iter(cluster.workers.values()))
                    threading.Thread(target=worker.process.process._process.kill).start()
                    time.sleep(0.5)

        killer = Killer()
        partitions.LOG.addHandler(killer)
        partitions.LOG.setLevel(logging.INFO)
        try:
            survived = fit()
        finally:
            partitions.LOG.removeHandler(killer)
            partitions.LOG.setLevel(logging.NOTSET)
        np.testing.assert_array_equal(survived.theta, expected.theta)
        np.testing.assert_array_equal(survived.hessian, expected.hessian)
        assert len(rounds) > 8
    together = laplace.fit(data["y"], data[columns].to_numpy(), data["ward"], nodes=9)
    assert distance(expected, together) < 1e-6  # the search of many rows stops at 1e-7


def test_of_many_groups_some_are_taken_for_the_verdict(client: Client) -> None:
    """They are others than those of a single place, and say the same."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(6000), 6)
    x = rng.normal(size=len(groups))
    y = rng.random(len(groups)) < 1 / (1 + np.exp(-(x - 0.5 + rng.normal(size=6000)[groups])))
    data = pd.DataFrame({"y": y, "x": x, "one": 1.0, "ward": groups})
    parts = delayed(parts_of(Study(data, "", "ward"), 4))
    fit = partitions.fit(parts, "y", ["one", "x"], "ward", nodes=3, client=client)
    together = laplace.fit(y, data[["one", "x"]], groups, nodes=3)
    assert distance(fit, together) < 1e-9
    np.testing.assert_allclose(fit.verdict.shift, together.verdict.shift, rtol=0.1, atol=0.01)
    np.testing.assert_allclose(fit.verdict.ratio, together.verdict.ratio, rtol=0.01)


def test_each_round_has_a_line(client: Client, caplog) -> None:
    of = study("cbpp")
    caplog.set_level(logging.INFO, logger="laplace.engines.dask")
    fit = partitions.fit_formula(
        of.formula, delayed(parts_of(of, 3)), "herd", nodes=1, client=client
    )
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "56 rows in 15 groups, in 3 partitions"
    assert any("log-likelihood" in line and "s left" in line for line in said)
    assert "nearly done" in said[-2] + said[-1]
    assert len(said) == 1 + fit.evaluations


def test_rows_that_do_not_fit_are_read_again_and_it_says_so(
    client: Client, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(partitions, "PART_OF_MEMORY", 0.0)
    monkeypatch.setattr(partitions, "memory_limit", _a_gibibyte)
    of = study("cbpp")
    fit = partitions.fit_formula(
        of.formula, delayed(parts_of(of, 3)), "herd", nodes=1, client=client
    )
    assert "the workers have 2.0 GiB: they are read again in each round" in caplog.text
    assert distance(fit, of.pooled(nodes=1)) < 1e-11


def _a_gibibyte(dask_worker: Any) -> float:
    return 2.0**30


def test_the_time_that_is_left() -> None:
    assert rounds_left(0.0) == rounds_left(1e-25) == rounds_left(np.nan) == 0
    assert [rounds_left(d) for d in (1e-11, 1e-6, 1e-3, 0.1, 100.0)] == [1, 2, 3, 5, 8]


def test_without_a_client_it_says_how_to_start_one(monkeypatch) -> None:
    def none() -> None:
        raise ValueError("No global client found")

    monkeypatch.setattr(dask.distributed, "get_client", none)
    monkeypatch.setattr("distributed.get_client", none)
    with pytest.raises(ValueError, match="there is no Dask client: start one"):
        partitions._client(None)
