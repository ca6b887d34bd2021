"""The criterion of reml=True, programmed from `laplace.loglik` alone, and data that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

import laplace

HERE = Path(__file__).parent
CUT = chi2.isf(0.05, 1) / 2
SITES = pd.read_csv(HERE / "reference" / "few_sites.csv")
# Groups of few rows that are unlike two large ones, which agree: rows and successes of each, and
# the maxima of the criterion with 9 nodes, the highest first.
TWO_MAXIMA = {
    "3 groups, near zero higher": ((6, 263, 290), (6, 144, 172), (0.0726, 1.1782)),
    "3 groups, large higher": ((347, 5, 5), (161, 4, 1), (0.6038, 0.0361)),
    "5 groups": ((120, 6, 167, 4, 4), (54, 1, 65, 4, 3), (0.1350, 0.9658)),
    "3 groups, zero lower": ((10, 370, 299), (1, 206, 174), (1.1610, 0.0)),
    "5 groups, zero higher": ((7, 286, 4, 347, 7), (1, 129, 0, 151, 6), (0.0, 1.3739)),
}


def few_sites() -> dict[str, Any]:
    """Five groups of 40 rows, with a column that varies within groups and one that does not."""
    X = np.column_stack([np.ones(len(SITES)), SITES.x, SITES.z])
    names = ["Intercept", "x", "z"]
    return {"y": SITES.y.to_numpy(), "X": X, "groups": SITES.group.to_numpy(), "names": names}


def counted(rows: tuple[int, ...], successes: tuple[int, ...]) -> dict[str, Any]:
    """Return 0/1 outcomes with an intercept alone."""
    y = np.concatenate([np.arange(n) < k for n, k in zip(rows, successes, strict=True)])
    groups = np.repeat(np.arange(len(rows)), rows)
    return {"y": y.astype(float), "X": np.ones((len(y), 1)), "groups": groups}


def of_family(family: str) -> dict[str, Any]:
    """Return eight groups with outcomes of a family, and an offset where they are counts."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), 12)
    z = (np.arange(8) % 2)[groups]
    X = np.column_stack([np.ones(96), rng.normal(size=96), z])
    eta = X @ [-0.2, 0.6, 0.3] + rng.normal(size=8)[groups]
    rows: dict[str, Any] = {"X": X, "groups": groups, "family": family}
    if family == "poisson":
        offset = rng.normal(size=96) * 0.3
        return {**rows, "y": rng.poisson(np.exp(eta + offset)), "offset": offset}
    trials = rng.integers(1, 5, 96) if family == "binomial" else np.ones(96, dtype=int)
    y = rng.binomial(trials, 1 / (1 + np.exp(-eta)))
    return {**rows, "y": y, **({"trials": trials} if family == "binomial" else {})}


def profiled(rows: dict[str, Any], tau: float, nodes: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the criterion at a tau, from `laplace.loglik` alone, the coefficients and the Hessian.

    By Newton's method, with halved steps.
    """
    arguments = {name: value for name, value in rows.items() if name != "names"}
    p = rows["X"].shape[1]

    def at(beta: np.ndarray) -> laplace.Contribution:
        return laplace.loglik(**arguments, beta=beta, tau=tau, nodes=nodes)

    beta = np.zeros(p)
    there = at(beta)
    for _ in range(60):
        step = np.linalg.solve(-there.hessian[:p, :p], there.gradient[:p])
        if there.gradient[:p] @ step < 1e-22:
            break
        new = at(beta + step)
        while new.value < there.value - 1e-12 * abs(there.value):
            step = step / 2
            new = at(beta + step)
        beta, there = beta + step, new
    hessian = there.hessian[:p, :p]
    return there.value - 0.5 * np.linalg.slogdet(-hessian)[1], beta, hessian


def directly(rows: dict[str, Any], nodes: int) -> tuple[float, float]:
    """Return the highest criterion over a grid of tau from zero on, refined; and its tau."""
    taus = np.exp(np.linspace(np.log(0.01), np.log(100.0), 60))
    values = [profiled(rows, tau, nodes)[0] for tau in taus]
    k = int(np.argmax(values))
    zero = profiled(rows, 0.0, nodes)[0]
    if k == 0:
        return zero, 0.0
    ends = np.log(taus[[k - 1, min(k + 1, 59)]])
    found = minimize_scalar(
        lambda s: -profiled(rows, float(np.exp(s)), nodes)[0],
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return max((-found.fun, float(np.exp(found.x))), (zero, 0.0))
