"""How often intervals of few groups hold the truth: the evidence of `laplace.inference.few_groups`.

Run from the root of the repository:  python tests/reference/few_groups.py       (about ten minutes)
Writes  tests/reference/few_groups.csv    (the same each time, but for last digits of estimates)

Outcomes are drawn from the model by NumPy alone: logit = -0.5 + x + 0.5 z + u, with x standard
normal within groups, z alternating between 0 and 1 from group to group (from five groups on; left
out before), and u normal with standard deviation tau. A row of the file is a cell; its columns:
  groups, rows, tau     of the cell; rows are those of each group
  drawn, refused        data sets; those that `laplace.fit` refuses, as they are separated
  failed                fits with reml=True that did not converge
  ml_z, reml_z, reml_t  how many 95 % intervals of the coefficient between groups (of z; of the
                        intercept where there is no z) held the truth
  ml_within, reml_within   the same for x, z intervals of ML and t intervals of reml
  reml_tau              the same for tau, by the profile of the restricted criterion
  at_zero_ml, at_zero_reml   estimates of tau that are zero
  median_ml, median_reml     median of the estimates of tau, over tau
Shares are of the data sets that are neither refused nor failed.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

import laplace

HERE = Path(__file__).parent
GROUPS, ROWS, TAUS = (2, 3, 5, 10), (30, 100, 500), (0.5, 1.0, 2.0)
NODES, DRAWN = 9, 300
INTERCEPT, WITHIN, BETWEEN = -0.5, 1.0, 0.5


def draw(
    groups: int, rows: int, tau: float, replicate: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a data set: outcomes, columns of X, and groups."""
    rng = np.random.default_rng([groups, rows, int(10 * tau), replicate])
    of = np.repeat(np.arange(groups), rows)
    columns = [np.ones(len(of)), rng.normal(size=len(of))]
    beta = [INTERCEPT, WITHIN]
    if groups >= 5:
        columns.append((of % 2).astype(float))
        beta.append(BETWEEN)
    X = np.column_stack(columns)
    eta = X @ beta + tau * rng.normal(size=groups)[of]
    return (rng.random(len(of)) < 1.0 / (1.0 + np.exp(-eta))).astype(float), X, of


def look(groups: int, rows: int, tau: float, replicate: int) -> dict[str, float] | None:
    """Fit a data set; return what held the truth, or None where it is refused."""
    y, X, of = draw(groups, rows, tau, replicate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not converge is counted
        try:
            ml = laplace.fit(y, X, of, nodes=NODES)
            reml = laplace.fit(y, X, of, nodes=NODES, reml=True)
        except ValueError:
            return None
        ends = reml.conf_int().to_numpy()
    k, truth = (2, BETWEEN) if groups >= 5 else (0, INTERCEPT)
    z = -ndtri(0.025)

    def by_z(fit: laplace.Fit, k: int, truth: float) -> bool:
        return bool(abs(fit.beta[k] - truth) <= z * fit.bse.iloc[k])

    def by_t(k: int, truth: float) -> bool:
        return bool(ends[k, 0] <= truth <= ends[k, 1])

    return {
        "failed": not reml.converged,
        "ml_z": by_z(ml, k, truth),
        "reml_z": by_z(reml, k, truth),
        "reml_t": by_t(k, truth),
        "ml_within": by_z(ml, 1, WITHIN),
        "reml_within": by_t(1, WITHIN),
        "reml_tau": by_t(-1, tau),
        "ml": ml.tau,
        "reml": reml.tau,
    }


def cell(groups: int, rows: int, tau: float, drawn: int = DRAWN) -> dict[str, Any]:
    """Return the row of a cell."""
    looked = [look(groups, rows, tau, replicate) for replicate in range(drawn)]
    table = pd.DataFrame([one for one in looked if one is not None])
    failed = table["failed"].astype(bool)
    fitted = table[~failed]
    held = ["ml_z", "reml_z", "reml_t", "ml_within", "reml_within", "reml_tau"]
    return {
        "groups": groups,
        "rows": rows,
        "tau": tau,
        "drawn": drawn,
        "refused": drawn - len(table),
        "failed": int(failed.sum()),
        **{name: int(fitted[name].sum()) for name in held},
        "at_zero_ml": int((fitted["ml"] == 0.0).sum()),
        "at_zero_reml": int((fitted["reml"] == 0.0).sum()),
        "median_ml": round(float((fitted["ml"] / tau).median()), 4),
        "median_reml": round(float((fitted["reml"] / tau).median()), 4),
    }


def main() -> None:
    """Run all cells, and write the file."""
    cells = []
    for groups, rows, tau in itertools.product(GROUPS, ROWS, TAUS):
        cells.append(cell(groups, rows, tau))
        print(cells[-1], flush=True)
    pd.DataFrame(cells).to_csv(HERE / "few_groups.csv", index=False)


if __name__ == "__main__":
    main()
