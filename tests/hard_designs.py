"""Data on which a search for the maximum goes wrong easily, in families, with what they are for.

Each is drawn from a fixed generator, by its family and its number. The exact maxima of all of them
are in `reference/hard_designs.json`; `python tests/hard_designs.py` computes them anew by `exact`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

from compendium.simulate import published_setting

REFERENCE = Path(__file__).parent / "reference" / "hard_designs.json"

Rows = dict[str, Any]


def _outcomes(
    r: np.random.Generator,
    family: str,
    X: np.ndarray,
    groups: np.ndarray,
    eta: np.ndarray,
    most_trials: int = 20,
    **more: Any,
) -> Rows:
    """Draw outcomes of a family with these linear predictors."""
    rows: Rows = {"X": X, "groups": groups, "family": family, **more}
    if family == "poisson":
        rows["y"] = r.poisson(np.exp(np.clip(eta, -30.0, 19.0))).astype(float)
        return rows
    if family == "binomial":
        rows["trials"] = r.integers(1, most_trials + 1, len(eta)).astype(float)
        rows["y"] = r.binomial(rows["trials"].astype(int), expit(eta)).astype(float)
        return rows
    rows["y"] = (r.random(len(eta)) < expit(eta)).astype(float)
    return rows


def _with_ones(r: np.random.Generator, n: int, p: int) -> np.ndarray:
    return np.column_stack([np.ones(n), r.normal(size=(n, p - 1))])


def rare(r: np.random.Generator) -> Rows:
    """Draw few groups with rare outcomes, and 3 to 15 columns."""
    m, n, p = int(r.integers(8, 40)), int(r.integers(3, 9)), int(r.integers(3, 16))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, p)
    eta = X @ np.append(r.uniform(-4.0, -1.5), r.choice([0.3, 1.0]) * r.normal(size=p - 1))
    eta += r.choice([0.5, 1.5, 3.0]) * r.normal(size=m)[groups]
    return _outcomes(r, str(r.choice(["bernoulli", "bernoulli", "binomial"])), X, groups, eta, 3)


def two_sites(r: np.random.Generator) -> Rows:
    """Draw a published setting with two sites of 30 patients."""
    data = published_setting(
        2, 30, float(r.choice([1.0, 2.0])), noise=float(r.choice([0, 1])), seed=r
    )
    return {"y": data.y, "X": data.X, "groups": data.groups}


def ten_sites(r: np.random.Generator) -> Rows:
    """Draw a published setting with ten sites of 30 patients."""
    data = published_setting(10, 30, float(r.choice([1.0, 2.0])), seed=r)
    return {"y": data.y, "X": data.X, "groups": data.groups}


def singletons(r: np.random.Generator) -> Rows:
    """Draw one huge group, or two, with many of one row or two."""
    huge, single = int(r.integers(1, 3)), int(r.integers(20, 100))
    size = int(np.exp(r.uniform(np.log(50), np.log(2000))))
    sizes = np.append(np.full(huge, size), r.integers(1, 3, single))
    groups = np.repeat(np.arange(huge + single), sizes)
    n = len(groups)
    X = np.column_stack([np.ones(n), r.choice([-1.0, 1.0], n)])
    u = r.choice([0.3, 2.0, 6.0]) * r.normal(size=huge + single)
    u[:huge] *= r.choice([0.1, 1.0])
    eta = X @ np.array([r.uniform(-1.0, 1.0), r.uniform(-1.0, 1.0)]) + u[groups]
    more: Rows = {"offset": np.full(n, 0.75)} if r.random() < 0.3 else {}
    return _outcomes(r, str(r.choice(["bernoulli", "binomial"])), X, groups, eta, 2, **more)


def agreeing(r: np.random.Generator) -> Rows:
    """Draw large groups that agree, and small ones that vary; of all families."""
    large, small = int(r.integers(3, 8)), int(r.integers(10, 40))
    family = str(r.choice(["bernoulli", "binomial", "poisson"]))
    spread = np.append(
        r.choice([0.01, 0.03, 0.1]) * r.normal(size=large),
        r.choice([1.0, 1.5]) * r.normal(size=small),
    )
    if family == "poisson":
        groups = np.arange(large + small)
        exposure = np.append(np.full(large, 3000.0), np.full(small, float(r.integers(1, 6))))
        return _outcomes(
            r, family, np.ones((large + small, 1)), groups,
            np.log(exposure) + spread, offset=np.log(exposure),
        )  # fmt: skip
    sizes = np.append(r.integers(200, 500, large), r.integers(2, 6, small))
    groups = np.repeat(np.arange(large + small), sizes)
    X = _with_ones(r, len(groups), int(r.integers(1, 3)))
    eta = X @ np.append(r.uniform(-1.5, 0.5), 0.5 * r.normal(size=X.shape[1] - 1))
    return _outcomes(r, family, X, groups, eta + spread[groups], 10)


def counts(r: np.random.Generator) -> Rows:
    """Draw zero-inflated and overdispersed counts."""
    m, n = int(r.integers(5, 40)), int(r.integers(1, 8))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, int(r.integers(1, 4)))
    eta = X @ np.append(r.uniform(-1.5, 2.5), 0.5 * r.normal(size=X.shape[1] - 1))
    eta += r.choice([0.2, 1.0, 2.0]) * r.normal(size=m)[groups]
    eta += r.choice([0.0, 1.0]) * r.normal(size=m * n)
    rows = _outcomes(r, "poisson", X, groups, eta)
    kept = r.random(m * n) >= r.choice([0.3, 0.6, 0.85])
    rows["y"] = rows["y"] * kept
    return rows


def nearly_separated(r: np.random.Generator) -> Rows:
    """Draw a column that nearly separates the outcomes."""
    m, n, p = int(r.integers(4, 30)), int(r.integers(4, 12)), int(r.integers(2, 5))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, p)
    if r.random() < 0.5:
        X[:, 1] = r.random(m * n) < 0.1
    eta = X @ np.append(r.uniform(-2, 2), r.normal(size=p - 1)) + r.normal(size=m)[groups]
    rows = _outcomes(r, "bernoulli", X, groups, eta)
    ones = np.flatnonzero(X[:, 1] > np.median(X[:, 1]))
    rows["y"][ones] = 1.0
    rows["y"][ones[: int(r.integers(1, 3))]] = 0.0
    return rows


def fixed(r: np.random.Generator) -> Rows:
    """Fix tau at 0.3 to 1,000, with small groups of all families."""
    tau = float(np.exp(r.uniform(np.log(0.3), np.log(1000.0))))
    m, n = int(r.integers(3, 50)), int(r.integers(1, 9))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, int(r.integers(1, 4)))
    eta = X @ np.append(r.uniform(-2, 2), r.normal(size=X.shape[1] - 1))
    eta += min(tau, 10.0) * r.normal(size=m)[groups]
    family = str(r.choice(["bernoulli", "bernoulli", "binomial", "poisson"]))
    if family == "poisson":
        eta = np.minimum(eta, 6.0)
    return _outcomes(r, family, X, groups, eta, 6, tau=tau)


def few_mixed(r: np.random.Generator) -> Rows:
    """Draw one to three groups with both outcomes."""
    m, n, mixed = int(r.integers(4, 40)), int(r.integers(2, 8)), int(r.integers(1, 4))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, int(r.integers(1, 4)))
    y = np.repeat((r.random(m) < r.choice([0.1, 0.5])) * 1.0, n)
    for i in range(mixed):
        rows = np.flatnonzero(groups == i)
        y[rows] = 0.0
        y[rows[: int(r.integers(1, n))]] = 1.0
    return {"y": y, "X": X, "groups": groups}


def large_counts(r: np.random.Generator) -> Rows:
    """Draw counts and trials to 1e8."""
    m, n = int(r.integers(5, 40)), int(r.integers(1, 10))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, int(r.integers(1, 4)))
    u = r.choice([0.01, 0.1, 0.5]) * r.normal(size=m)
    size = 10.0 ** r.uniform(2.0, 8.0)
    slopes = 0.3 * r.normal(size=X.shape[1] - 1)
    if r.random() < 0.5:
        eta = np.log(size) + X[:, 1:] @ slopes + u[groups]
        return {"y": r.poisson(np.exp(eta)).astype(float), "X": X, "groups": groups,
                "family": "poisson"}  # fmt: skip
    trials = np.full(m * n, np.floor(size))
    share = expit(r.uniform(-2, 2) + X[:, 1:] @ slopes + u[groups])
    return {"y": r.binomial(trials.astype(int), share).astype(float), "X": X, "groups": groups,
            "family": "binomial", "trials": trials}  # fmt: skip


def three_scales(r: np.random.Generator) -> Rows:
    """Draw groups of three sizes, each with a spread of its own."""
    parts = [int(r.integers(3, 6)), int(r.integers(4, 10)), int(r.integers(10, 30))]
    family = str(r.choice(["binomial", "poisson"]))
    groups = np.arange(sum(parts))
    sizes = np.repeat([10.0 ** r.uniform(5, 7), 10.0 ** r.uniform(2.5, 4), r.integers(2, 8)], parts)
    spread = np.repeat(r.choice([0.003, 0.03, 0.3, 1.5], 3), parts) * r.normal(size=len(groups))
    if family == "poisson":
        return _outcomes(r, family, np.ones((len(groups), 1)), groups, np.log(sizes) + spread,
                         offset=np.log(sizes))  # fmt: skip
    trials = np.floor(sizes)
    y = r.binomial(trials.astype(int), expit(-0.5 + spread)).astype(float)
    return {"y": y, "X": np.ones((len(groups), 1)), "groups": groups, "family": family,
            "trials": trials}  # fmt: skip


def small(r: np.random.Generator) -> Rows:
    """Draw two to eight groups of two to six rows."""
    m, n = int(r.integers(2, 9)), int(r.integers(2, 7))
    groups = np.repeat(np.arange(m), n)
    X = _with_ones(r, m * n, int(r.integers(1, 4)))
    eta = X @ np.append(r.uniform(-2, 2), r.normal(size=X.shape[1] - 1))
    eta += r.choice([0.5, 2.0, 5.0]) * r.normal(size=m)[groups]
    family = str(r.choice(["bernoulli", "binomial", "poisson"]))
    return _outcomes(r, family, X, groups, eta, 5)


def no_intercept(r: np.random.Generator) -> Rows:
    """Leave out the intercept: draw columns of both signs, and offsets."""
    m, n = int(r.integers(5, 30)), int(r.integers(2, 10))
    groups = np.repeat(np.arange(m), n)
    X = r.normal(size=(m * n, int(r.integers(1, 4))))
    offset = r.uniform(-3, 3) * np.ones(m * n) + r.normal(size=m)[groups]
    eta = offset + X @ r.normal(size=X.shape[1]) + r.choice([0.5, 2.0]) * r.normal(size=m)[groups]
    family = str(r.choice(["bernoulli", "binomial", "poisson"]))
    return _outcomes(r, family, X, groups, np.minimum(eta, 8.0), 5, offset=offset)


def unequal(r: np.random.Generator) -> Rows:
    """Draw groups of two sizes, none of them large: those that tell more agree."""
    more, less = int(r.integers(10, 60)), int(r.integers(40, 400))
    large = int(r.choice([60, 78, 160, 240]))
    sizes = np.repeat([large, max(2, large // int(r.choice([18, 30, 60])))], [more, less])
    spread = np.repeat([r.choice([0.05, 0.1, 0.2]), r.choice([1.0, 2.0, 4.0])], [more, less])
    u = spread * r.normal(size=more + less)
    intercept = r.uniform(-0.7, 0.7)
    if r.random() < 0.3:
        groups = np.repeat(np.arange(more + less), sizes)
        X = np.ones((len(groups), 1))
        return _outcomes(r, "bernoulli", X, groups, intercept + u[groups])
    X = _with_ones(r, more + less, int(r.integers(1, 3)))
    y = r.binomial(sizes, expit(intercept + u)).astype(float)
    return {"y": y, "X": X, "groups": np.arange(more + less), "family": "binomial",
            "trials": sizes.astype(float)}  # fmt: skip


def nearly_alike(r: np.random.Generator) -> Rows:
    """Draw small groups that hardly vary, with rare outcomes: tau may be below any walk over it."""
    groups = np.repeat(np.arange(int(r.integers(20, 80))), int(r.integers(2, 6)))
    X = _with_ones(r, len(groups), int(r.integers(1, 3)))
    u = r.uniform(0.1, 0.7) * r.normal(size=groups[-1] + 1)
    slopes = r.uniform(-0.7, 0.7, X.shape[1] - 1)
    eta = r.uniform(-3.0, -1.0) + X[:, 1:] @ slopes + u[groups]
    return _outcomes(r, "bernoulli", X, groups, eta)


FAMILIES: dict[str, Callable[[np.random.Generator], Rows]] = {
    make.__name__: make
    for make in (
        rare,
        two_sites,
        ten_sites,
        singletons,
        agreeing,
        counts,
        nearly_separated,
        fixed,
        few_mixed,
        large_counts,
        three_scales,
        small,
        no_intercept,
        unequal,
        nearly_alike,
    )
}


def design(family: str, number: int, seed: int = 2026) -> Rows:
    """Draw the arguments of `laplace.fit` for a design."""
    return FAMILIES[family](np.random.default_rng([seed, list(FAMILIES).index(family), number]))


def named(name: str) -> Rows:
    """Return the design of a name such as ``rare-12``."""
    family, number = name.rsplit("-", 1)
    return design(family, int(number))


def is_separated(rows: Rows) -> bool:
    """Whether a linear combination of the columns separates the outcomes, by a linear program."""
    y, X = rows["y"], rows["X"]
    none = y == 0.0
    every = np.zeros(len(y), dtype=bool)
    if rows.get("family") != "poisson":
        every = y == rows.get("trials", np.ones(len(y)))
    signed = np.vstack([-X[none], X[every]])
    between = X[~none & ~every]
    found = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=between if len(between) else None,
        b_eq=np.zeros(len(between)) if len(between) else None,
        bounds=(-1.0, 1.0),
    )
    return bool(-found.fun > 1e-7)


def record(of: list[str]) -> dict[str, Any]:
    """Return the exact maxima of designs, those without a finite one left out."""
    from exact import Exact

    found: dict[str, Any] = {}
    for name in of:
        rows = named(name)
        if is_separated(rows):
            continue
        exact = Exact(**rows)
        p = rows["X"].shape[1]
        try:
            if "tau" in rows:
                zero = exact.profile(0.0, np.zeros(p))
                value, _, fine = exact.profile(rows["tau"], zero[1])
                if not (zero[2] and fine):
                    continue
                peaks, bounded = [(rows["tau"], value)], True
            else:
                maxima, bounded = exact.peaks()
                peaks = [(peak.tau, peak.value) for peak in maxima]
        except (ArithmeticError, np.linalg.LinAlgError):
            continue
        found[name] = {
            "bounded": bounded,
            "peaks": [[float(f"{tau:.5g}"), round(value, 6)] for tau, value in peaks],
        }
    return found


def main() -> None:
    """Record designs of all families, or of those that are named: about as many of each."""
    from joblib import Parallel, delayed

    each, families = 90, sys.argv[1:] or list(FAMILIES)
    names = [f"{family}-{k}" for k in range(each) for family in families]
    parts = [names[i : i + 13] for i in range(0, len(names), 13)]
    done = Parallel(n_jobs=-1)(delayed(record)(part) for part in parts)
    stored = json.loads(REFERENCE.read_text(encoding="utf-8")) if REFERENCE.exists() else {}
    found = {name: of for name, of in stored.items() if name not in names}
    found |= {name: peaks for part in done for name, peaks in part.items()}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(found.items())]
    REFERENCE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(len(found), "designs")


if __name__ == "__main__":
    main()
