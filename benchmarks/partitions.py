"""What a round over partitions takes, from which the chapter on sites makes its model of costs.

`python -m benchmarks.partitions` measures on this machine, with a worker for each core, and writes
`benchmarks/partitions.json`. Do it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster

from benchmarks.__main__ import machine
from laplace.engines import dask as partitions
from laplace.messages import to_json
from laplace.questions import ALL, AskAt

PATH = Path(__file__).with_name("partitions.json")
COLUMNS = [f"x{k}" for k in range(10)]
ROWS_OF_A_GROUP = 1000
# rows, and partitions
DESIGNS = [(200_000, 20), (200_000, 100), (1_000_000, 20), (1_000_000, 100), (4_000_000, 20)]
REPEATS = 5


def part(number: int, rows: int) -> pd.DataFrame:
    """Draw the rows of a partition."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(rows, len(COLUMNS)))
    X[:, 0] = 1.0
    groups = number * rows + np.arange(rows) // ROWS_OF_A_GROUP
    return pd.DataFrame(X, columns=COLUMNS).assign(y=rng.integers(0, 2, rows), group=groups)


def measured(client: Client, rows: int, count: int) -> dict[str, Any]:
    """Return the seconds of a round, the least of some."""
    parts = [dask.delayed(part)(k, rows // count) for k in range(count)]
    used = ["y", *COLUMNS, "group"]
    recipe = partitions.Arrays("y", tuple(COLUMNS), "group", "bernoulli", None, None)
    sites, _ = partitions._partitions(parts, used, {*used}, recipe, True, client)
    question = AskAt(ALL, np.full(len(COLUMNS), 0.01), 1.0, 1)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        answer = sites.total(question)
        seconds.append(time.perf_counter() - began)
    return {
        "rows": rows,
        "partitions": count,
        "seconds": round(min(seconds), 4),
        "bytes": len(pickle.dumps(answer)),
        "characters": len(to_json(answer)),
    }


def main() -> None:
    """Measure, and write the file."""
    cores = machine()["cores"]
    cluster = LocalCluster(
        n_workers=cores, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, Client(cluster) as client:
        measured(client, 20_000, 20)  # compiles, and warms up
        found = [measured(client, rows, count) for rows, count in DESIGNS]
    PATH.write_text(
        json.dumps({"machine": machine(), "workers": cores, "rounds": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
