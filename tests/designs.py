"""Random designs, numerical derivatives and reference values that several tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.differentiate import jacobian

from laplace import penalties
from laplace.grouped import GroupedData
from laplace.questions import ALL
from laplace.site import Site
from laplace.sites import Sites

REFERENCE = Path(__file__).parent / "reference"


@dataclass(frozen=True)
class Group:
    """Rows and parameters of one group."""

    x: np.ndarray
    y: np.ndarray
    u: float
    beta: np.ndarray
    tau: float


def random_group(seed: int) -> Group:
    """Draw a group of 1 to 40 rows and tau from 0.1 to 5, log-uniformly."""
    rng = np.random.default_rng([2022, seed])
    n, p = int(rng.integers(1, 41)), int(rng.integers(1, 4))
    return Group(
        x=rng.normal(size=(n, p)),
        y=rng.integers(0, 2, n).astype(float),
        u=float(rng.normal()),
        beta=rng.normal(size=p),
        tau=float(np.exp(rng.uniform(np.log(0.1), np.log(5.0)))),
    )


def many_groups(seed: int = 0, groups: int = 12, p: int = 3) -> tuple[np.ndarray, ...]:
    """Draw y, X and group labels in no order, with groups of unequal size."""
    rng = np.random.default_rng([7, seed])
    labels = rng.permutation(np.repeat(np.arange(groups), rng.integers(1, 15, groups)))
    X = np.column_stack([np.ones(len(labels)), rng.normal(size=(len(labels), p - 1))])
    eta = X @ rng.normal(size=p) + rng.normal(size=groups)[labels]
    y = (rng.random(len(labels)) < 1 / (1 + np.exp(-eta))).astype(float)
    return y, X, labels


def numerical_derivative(f: Callable[[np.ndarray], Any], point: Any) -> np.ndarray:
    """Differentiate f of a vector by `scipy.differentiate`; shape of f(point) plus (q,)."""
    at = np.atleast_1d(np.asarray(point, dtype=float))
    shape = np.shape(f(at))

    def columns(z: np.ndarray) -> np.ndarray:
        flat = z.reshape(len(at), -1)
        values = np.array([np.ravel(f(column)) for column in flat.T]).T
        return values.reshape(-1, *z.shape[1:])

    result = jacobian(columns, at, initial_step=0.1)
    return result.df.reshape(*shape, len(at))


def relative_error(value: Any, truth: Any) -> float:
    """Largest absolute error over the largest absolute value of the truth."""
    value, truth = np.asarray(value, dtype=float), np.asarray(truth, dtype=float)
    scale = float(np.max(np.abs(truth)))
    return float(np.max(np.abs(value - truth))) / (scale if scale > 0 else 1.0)


def lme4() -> dict[str, Any]:
    """Values computed in R by `reference/lme4.R`."""
    result: dict[str, Any] = json.loads((REFERENCE / "lme4.json").read_text())
    return result


def reference_design(name: str) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Return y, X with an intercept, and groups of a design stored for R and Python."""
    data = pd.read_csv(REFERENCE / f"{name}.csv")
    X = data.filter(regex=r"^x\d$")
    X.insert(0, "(Intercept)", 1.0)
    return data["y"].to_numpy(), X, data["group"].to_numpy()


def built_penalty(
    name: str, strength: float | None, data: GroupedData, free: bool
) -> penalties.Penalty:
    """Return the penalty for the rows of a single place."""
    sites = Sites([Site(data)])
    return penalties.build(name, strength, sites, sites.census(), ALL, free)
