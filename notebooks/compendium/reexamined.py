"""The data sets of Li et al. (2022), fitted again from a clone of their repository.

Neither their data nor their code is here. ``notebooks/data/reexamined.json`` holds the figures that
`examine` computed, and names the commits that they were read from. With a clone at hand,

    git clone https://github.com/Li-Wentao/Simulation_data_GLMM
    python -m compendium.reexamined Simulation_data_GLMM

computes them anew.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import laplace
from laplace import Contribution
from laplace.families import Array

STORED = Path(__file__).parents[1] / "data" / "reexamined.json"
SOURCES = {
    "data": {
        "repository": "Li-Wentao/Simulation_data_GLMM",
        "commit": "b2dddadd558f8624c04841e6603298df40e7f69e",
    },
    "code": {
        "repository": "Li-Wentao/Federated-GLMM",
        "commit": "7e377bc4ace4f35a6c821e46106e302c2e8a99eb",
    },
}
"""The public repositories, and the states of them that were read."""

SETTINGS = range(1, 9)
COLUMNS = [f"X{k}" for k in range(1, 11)]
TAU = 1.0  # fixed so in their scripts
STRENGTHS = range(11)  # of the ridge penalty that their scripts try
MANY_NODES = 25
METHODS = {"lme4": "Result_R", "LA": "Result_LA", "GH": "Result_GH"}
DECIMALS = 6


def examine(clone: Path | str) -> pd.DataFrame:
    """Fit every data set of a clone, and measure how far the published results are.

    Parameters
    ----------
    clone : path
        Folder of a clone of the repository ``SOURCES["data"]``.

    Returns
    -------
    DataFrame
        A row a data set, with its `setting`, `number`, `sites` and `rows`, and

        - `has_maximum`: whether X leaves the outcomes unseparated, so that there is a maximum;
        - `nodes`: how far Laplace is from 25 nodes, both at tau = 1;
        - `lme4`: how far the results of lme4 in the clone are from `laplace.fit`, both with the
          Laplace approximation and tau estimated;
        - `LA`, `GH`: how far the published results are from the maximum with 25 nodes at tau = 1;
        - `LA_ridge`: the same of LA, from the nearest of the maxima with a ridge penalty of
          `STRENGTHS`, and `LA_strength`, which that is;
        - `LA_seconds`, `GH_seconds`: the run times that are stored with the results;
        - `files`: which of the three have a result.

        A distance is the largest over the coefficients, in standard errors; NaN where there is no
        maximum or no result.

    Raises
    ------
    FileNotFoundError
        If the folder does not hold the data sets.
    """
    records = []
    with warnings.catch_warnings():  # Laplace is judged here on purpose
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        for setting, number, data in _data_sets(Path(clone)):
            results = _results(Path(clone), setting, number)
            records.append(
                {
                    "setting": setting,
                    "number": number,
                    "sites": int(data["Site_ID"].nunique()),
                    "rows": len(data),
                    **_distances(data, results),
                    **{
                        f"{name}_seconds": round(float(results[name]["RunTime"].iloc[0]), 1)
                        for name in ("LA", "GH")
                        if name in results
                    },
                    "files": ", ".join(results),
                }
            )
    return pd.DataFrame(records)


def _data_sets(clone: Path) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Yield the setting, the number and the rows of each data set."""
    for setting in SETTINGS:
        paths = list((clone / f"Setting_{setting}").glob("*_Dataset*.csv"))
        if not paths:
            raise FileNotFoundError(
                f"{clone} holds no data sets in a folder Setting_{setting}: "
                f"give the folder of a clone of {SOURCES['data']['repository']}"
            )
        numbered = {int(path.stem.rpartition("Dataset")[2]): path for path in paths}
        for number in sorted(numbered):
            yield setting, number, pd.read_csv(numbered[number])


def _results(clone: Path, setting: int, number: int) -> dict[str, pd.DataFrame]:
    """Return the published results of one data set, by the method."""
    paths = {name: clone / f / f"Setting_{setting}_{number}.csv" for name, f in METHODS.items()}
    return {name: pd.read_csv(path) for name, path in paths.items() if path.exists()}


def _distances(data: pd.DataFrame, results: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Fit one data set, and say how far each published result is."""
    X, y = data[COLUMNS].to_numpy(), data["y"].to_numpy(dtype=float)
    rows = y, X, data["Site_ID"].to_numpy()
    try:
        exact = laplace.fit(*rows, tau=TAU, nodes=MANY_NODES)
    except laplace.SeparationError:
        return {"has_maximum": False}
    by_laplace, free = laplace.fit(*rows, tau=TAU, nodes=1), laplace.fit(*rows, nodes=1)
    p = len(COLUMNS)

    def off(beta: Array, fit: laplace.Fit, center: Array | None = None) -> float:
        apart = beta - (fit.beta if center is None else center)
        return round(float(np.max(np.abs(apart / fit.bse.iloc[:p]))), DECIMALS)

    published = {name: table["Coef"].to_numpy() for name, table in results.items()}
    found: dict[str, Any] = {
        "has_maximum": exact.converged and by_laplace.converged and free.converged,
        "nodes": off(by_laplace.beta, exact),
    }
    if "lme4" in published:
        found["lme4"] = off(published["lme4"], free)
    for name in ("LA", "GH"):
        if name in published:
            found[name] = off(published[name], exact)
    if "LA" in published:
        ridged = {
            strength: off(published["LA"], exact, _ridge(rows, float(strength), exact.beta))
            for strength in STRENGTHS
        }
        nearest = min(ridged, key=lambda strength: ridged[strength])
        found |= {"LA_ridge": ridged[nearest], "LA_strength": nearest}
    return found


def _ridge(rows: tuple[Array, Array, Array], strength: float, start: Array) -> Array:
    """Maximise the Laplace approximation less a ridge penalty of all coefficients."""
    p = len(start)

    def evaluate(beta: Array) -> Contribution:
        at = laplace.loglik(*rows, beta, TAU)
        return Contribution(
            at.value - strength * float(beta @ beta),
            at.gradient[:p] - 2.0 * strength * beta,
            at.hessian[:p, :p] - 2.0 * strength * np.eye(p),
        )

    found = laplace.maximise(evaluate, start)
    if not found.converged:
        raise ArithmeticError(f"the penalised fit of strength {strength:g} did not converge")
    return found.theta


def save(examined: pd.DataFrame, path: Path = STORED) -> None:
    """Write figures and where they come from."""
    rows = [
        {name: value for name, value in record.items() if pd.notna(value)}
        for record in examined.to_dict(orient="records")
    ]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    path.write_text(
        f'{{"sources": {json.dumps(SOURCES)},\n "data_sets": [\n{lines}\n ]}}\n', encoding="utf-8"
    )


def stored(path: Path = STORED) -> pd.DataFrame:
    """Return the stored figures, as `examine` returns them."""
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["data_sets"])


def main() -> None:
    """Compute the figures from a clone, and store them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path, help="folder of a clone of the data sets")
    parser.add_argument("--output", type=Path, default=STORED, help="the file to write")
    options = parser.parse_args()
    save(examine(options.clone), options.output)


if __name__ == "__main__":
    main()
