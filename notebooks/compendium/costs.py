"""A model of what a fit over partitions costs, fitted to measurements that are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "partitions.json"


@dataclass(frozen=True)
class Costs:
    """Seconds of a round: a constant, one for each partition, and one for the rows of a worker.

    Attributes
    ----------
    fixed, per_partition, per_row : float
        In seconds; the last one for each row of a worker.
    bytes_of_answer : int
        Of one partition, as it travels between processes.
    """

    fixed: float
    per_partition: float
    per_row: float
    bytes_of_answer: int

    def seconds(self, rows: float, partitions: int, workers: int) -> float:
        """Return the seconds of a round."""
        return self.fixed + self.per_partition * partitions + self.per_row * rows / workers

    def table(self, rows: list[int], partitions: int, workers: int, rounds: int) -> pd.DataFrame:
        """Return what fits would cost, a row for each number of rows."""
        return pd.DataFrame(
            {
                "seconds a round": [self.seconds(n, partitions, workers) for n in rows],
                "seconds a fit": [rounds * self.seconds(n, partitions, workers) for n in rows],
                "megabytes sent a fit": [
                    rounds * partitions * self.bytes_of_answer / 1e6 for _ in rows
                ],
                "gigabytes a worker": [8.0 * 12 * n / workers / 1e9 for n in rows],
            },
            index=pd.Index([f"{n:.0e}".replace("e+", "e") for n in rows], name="rows"),
        )


def stored() -> dict[str, Any]:
    """Return the measurements."""
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def fitted() -> Costs:
    """Return the model, by least squares of relative errors; no cost is negative."""
    found = stored()
    rounds = pd.DataFrame(found["rounds"])
    design = np.column_stack(
        [np.ones(len(rounds)), rounds["partitions"], rounds["rows"] / found["workers"]]
    )
    seconds = rounds["seconds"].to_numpy()
    coefficients, _ = nnls(design / seconds[:, None], np.ones(len(rounds)))
    fixed, per_partition, per_row = coefficients.tolist()
    return Costs(fixed, per_partition, per_row, int(rounds["bytes"].max()))
