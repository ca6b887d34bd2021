"""Python's packages for mixed models, on the same data: where each ends, and what each is for.

``python -m benchmarks.mixed_models --python PYTHON`` calls every package of `PACKAGES` in a process
of its own, in the environment of that Python, and evaluates the log-likelihood at what it returned
by one and the same function, `laplace.loglik`. Beside them stand this package's own maximum and
what R's lme4 returned, which is stored with the data sets. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import laplace
from benchmarks.report import SAME, brief

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "notebooks"))
from compendium import datasets  # noqa: E402

RESULTS = Path(__file__).with_name("mixed_models.json")
PROGRAM = Path(__file__).with_name("packages.py")
TIMEOUT = 600.0  # seconds that one package may take for one data set
NEAR = 0.01  # so far below the maximum, no estimate is visibly elsewhere
OURS, LME4 = "laplace", "lme4"

Results = dict[str, Any]


@dataclass(frozen=True)
class Package:
    """A package, and what its own documentation says that it can do.

    Attributes
    ----------
    label : str
        Name in tables.
    what : str
        What is called, and what it computes.
    slopes, crossed : str
        Whether it takes random slopes and crossed effects in a model of 0/1 outcomes.
    links : str
        Links for 0/1 outcomes.
    families : str
        Other outcomes.
    nodes : str
        Where it takes adaptive quadrature nodes.
    documentation : str
        Where that is said.
    """

    label: str
    what: str
    slopes: str
    crossed: str
    links: str
    families: str
    nodes: str
    documentation: str


PACKAGES = {
    OURS: Package(
        "laplace",
        "`laplace.fit` with `nodes=1`",
        "no",
        "no",
        "logit",
        "Poisson",
        "any number, chosen by default",
        "",
    ),
    "glmm": Package(
        "glmm",
        "`glmm.fit`",
        "yes",
        "yes",
        "logit, probit, complementary log-log",
        "normal, Poisson, negative binomial, gamma",
        "with one grouping of up to three effects",
        "https://github.com/pawlenartowicz/glmm",
    ),
    "mixedlm": Package(
        "mixedlm",
        "`mixedlm.glmer`",
        "yes",
        "yes",
        "logit, probit, complementary log-log, Cauchit, log",
        "normal, Poisson, negative binomial, gamma, inverse Gaussian, one's own; non-linear models",
        "with one random intercept",
        "https://github.com/Cameron-Lyons/mixedlm",
    ),
    "lme-python": Package(
        "lme-python",
        "`lme_python.glmer`",
        "yes",
        "yes",
        "logit, probit, complementary log-log",
        "normal, Poisson, gamma; non-linear models",
        "with few effects a group",
        "https://github.com/x4g4p3x/lme-rs",
    ),
    "interlace": Package(
        "interlace",
        "`interlace.glmer`",
        "yes",
        "yes",
        "logit",
        "normal, Poisson, negative binomial, gamma, beta, with excess zeros; ordinal; survival",
        "with one random intercept",
        "https://github.com/heliopais/interlace",
    ),
    "gpboost": Package(
        "GPBoost",
        "`gpboost.GPModel.fit`",
        "yes",
        "yes",
        "logit, probit",
        "many, the normal, Poisson and gamma among them; spatial effects; boosted trees",
        "no",
        "https://github.com/fabsig/GPBoost",
    ),
    "statsmodels": Package(
        "statsmodels",
        "`BinomialBayesMixedGLM.fit_vb`, no maximum likelihood: means of a variational posterior",
        "yes, uncorrelated",
        "yes",
        "logit",
        "normal, Poisson",
        "no",
        "https://github.com/statsmodels/statsmodels",
    ),
}


# --- the data ------------------------------------------------------------------------------------


def rows(name: str) -> pd.DataFrame:
    """Give a data set as everybody gets it: outcome, group, and covariates that are numbers.

    There is one so far, `toenail`: patients differ much there, which is hard for an algorithm.
    """
    data = getattr(datasets, name)()
    treatment = (data["treatment"] == "terbinafine").astype(float)
    columns = {
        "outcome": data["outcome"],
        "group": data["patient"].astype(str),
        "treatment": treatment,
        "month": data["month"],
        "treatment_month": treatment * data["month"],
    }
    return pd.DataFrame(columns)


def arrays(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give outcomes, the matrix with a column of ones before the covariates, and groups."""
    covariates = data.drop(columns=["outcome", "group"]).to_numpy(dtype=float)
    X = np.column_stack([np.ones(len(data)), covariates])
    return data["outcome"].to_numpy(dtype=float), X, data["group"].to_numpy()


DATA = ("toenail",)


# --- a run ---------------------------------------------------------------------------------------


def loglik(data: pd.DataFrame, record: dict[str, Any]) -> float | None:
    """Evaluate the Laplace approximation at what a package returned; None if it is no number."""
    estimates = [*record.get("beta", []), record.get("tau", math.nan)]
    if not all(map(math.isfinite, estimates)):
        return None
    return float(laplace.loglik(*arrays(data), record["beta"], record["tau"], nodes=1).value)


def ours(data: pd.DataFrame) -> dict[str, Any]:
    """Fit by `laplace.fit`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = laplace.fit(*arrays(data), nodes=1)
    errors = fit.bse.to_numpy()
    return {
        "version": version("laplace-glmm"),
        "beta": fit.beta.tolist(),
        "tau": float(fit.tau),
        "se": errors[:-1].tolist(),
        "se_tau": float(errors[-1]),
        "converged": bool(fit.converged),
        "own": float(fit.llf),
        "warnings": [str(warning.message) for warning in caught],
    }


def in_r(name: str) -> dict[str, Any]:
    """Give what is stored of lme4's `glmer`."""
    stored = datasets.in_r(name)
    found = stored["glmer"]["1"]
    return {
        "version": stored["about"]["lme4"],
        **{key: found[key] for key in ("beta", "tau", "se")},
        "se_tau": None,
        "converged": not any("failed to converge" in words for words in found["messages"]),
        "own": found["loglik"],
        "warnings": found["messages"],
    }


def elsewhere(python: Path, name: str, data: pd.DataFrame) -> dict[str, Any]:
    """Fit by one package, in a process of its own in its environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "data.csv"), Path(folder, "found.json")
        data.to_csv(source, index=False)
        command = [str(python), str(PROGRAM), name, str(source), str(output)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return {"failed": f"no result in {TIMEOUT:.0f} seconds"}
        if not output.exists():
            said = ended.stderr.strip().splitlines() or [f"ended with {ended.returncode}"]
            return {"failed": said[-1]}
        return dict(json.loads(output.read_text(encoding="utf-8")))


def measure(python: Path, names: Sequence[str]) -> Results:
    """Fit every data set by every package."""
    found: Results = {"date": datetime.now(UTC).date().isoformat(), "fits": {}}
    for name in names:
        data = rows(name)
        fits = {OURS: ours(data)}
        for package in PACKAGES:
            if package != OURS:
                fits[package] = elsewhere(python, package, data)
        fits[LME4] = in_r(name)
        for record in fits.values():
            record["loglik"] = loglik(data, record)
        found["fits"][name] = fits
    return found


# --- what is shown -------------------------------------------------------------------------------


def load(path: Path | str = RESULTS) -> Results:
    """Read a file of results."""
    return dict(json.loads(Path(path).read_text(encoding="utf-8")))


def label(name: str) -> str:
    """Name a package in tables."""
    return "lme4 (R)" if name == LME4 else PACKAGES[name].label


def below(results: Results, data: str) -> dict[str, float]:
    """Say how far each package ended below the highest log-likelihood; NaN where it did not end."""
    fits = results["fits"][data]
    values = {
        name: math.nan if record["loglik"] is None else record["loglik"]
        for name, record in fits.items()
    }
    highest = np.nanmax(list(values.values()))
    return {name: float(highest - value) for name, value in values.items()}


def comparison(results: Results, data: str) -> pd.DataFrame:
    """Give the table of one data set, as text: a row a package."""
    fits, distances = results["fits"][data], below(results, data)
    reference = fits[OURS]
    errors = np.array([*reference["se"], reference["se_tau"]])
    shown = {}
    for name, record in fits.items():
        row = dict.fromkeys(("below", "tau", "furthest", "errors"), "")
        row["converged"] = "failed"
        if record["loglik"] is not None:
            at = np.array([*record["beta"], record["tau"]])
            off = np.abs(at - [*reference["beta"], reference["tau"]]) / errors
            ratios = np.array(record["se"]) / errors[:-1]
            row = {
                "below": "0" if distances[name] < SAME else brief(distances[name]),
                "tau": f"{record['tau']:.2f}",
                "furthest": f"{off.max():.2f}",
                "errors": f"{ratios.min():.2f} to {ratios.max():.2f}",
                "converged": {True: "yes", False: "no", None: "does not say"}[record["converged"]],
            }
        shown[f"{label(name)} {record.get('version', '')}".strip()] = row
    table = pd.DataFrame.from_dict(shown, orient="index")
    return table.rename(
        columns={
            "below": "below the maximum",
            "tau": "τ",
            "furthest": "furthest estimate",
            "errors": "standard errors",
            "converged": "says that it converged",
        }
    )


def remarks(results: Results, data: str) -> list[str]:
    """Say in sentences who reached the maximum, who did not and what it said, and who failed."""
    fits, distances = results["fits"][data], below(results, data)
    others = [name for name in fits if name != OURS]
    reached = [label(name) for name in others if distances[name] < SAME]
    lines = []
    if reached:
        verb = "end" if len(reached) > 1 else "ends"
        lines.append(f"{', '.join(reached)} {verb} at the same maximum as `laplace.fit`.")
    near = [name for name in others if SAME <= distances[name] < NEAR]
    if near:
        verb = "end" if len(near) > 1 else "ends"
        most = brief(max(distances[name] for name in near))
        lines.append(f"{', '.join(map(label, near))} {verb} {most} below it at most.")
    for name in others:
        record, distance = fits[name], distances[name]
        if "failed" in record:
            lines.append(f"{label(name)} raised `{record['failed']}`.")
        elif distance >= NEAR:
            said = {
                True: ", and says that it converged",
                False: ", and says that it did not converge",
            }
            lines.append(
                f"{label(name)} ends {brief(distance)} below it{said.get(record['converged'], '')}."
            )
    return lines


def abilities() -> str:
    """Give a table in Markdown of what each package can do, as its documentation says."""
    head = (
        "package",
        "random slopes",
        "crossed effects",
        "links for 0/1",
        "other outcomes",
        "nodes",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for package in PACKAGES.values():
        at = package.documentation
        name = f"[{package.label}]({at})" if at else package.label
        cells = (name, package.slopes, package.crossed, package.links, package.families)
        lines.append(f"| {' | '.join((*cells, package.nodes))} |")
    return "\n".join(lines)


def main(terms: Sequence[str] | None = None) -> int:
    """Fit, write the file, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixed_models", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="of the packages' environment")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    options = parser.parse_args(terms)
    results = measure(options.python, options.data)
    text = json.dumps(results, indent=1, allow_nan=False)
    options.output.write_text(f"{text}\n", encoding="utf-8")
    for name in options.data:
        print(f"{name}\n{comparison(results, name).to_string()}")
        print("\n".join(remarks(results, name)), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
