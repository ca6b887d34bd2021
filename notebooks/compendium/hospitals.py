"""Hospitals as processes of their own, for the chapter on sites; and attacks on their answers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

import laplace
from laplace.engines import gate, letters, manifest
from laplace.engines.asking import Run, by_letters, fit_run
from laplace.families import BERNOULLI, Array

STUDY = "hospitals"
ADDRESS = "{site}.socket"


@dataclass
class Hospitals:
    """Sites whose gates answer at sockets, each from a process of its own.

    Attributes
    ----------
    folder : Path
        Where the files of all are; each process reads its own.
    sites : tuple of str
        Their names.
    digest : str
        Of the manifest.
    letters, characters : int
        How many answers came, and how long they were together.
    """

    folder: Path
    sites: tuple[str, ...]
    digest: str
    letters: int = 0
    characters: int = 0
    _number: dict[str, int] = field(default_factory=dict)

    def fit(self, **options: Any) -> laplace.Fit:
        """Fit through the gates; the options are those of `laplace.engines.asking.Run`."""
        run = Run.new(STUDY, self.digest, self.sites, **options)
        return fit_run(run, by_letters(run, {}, self._carry))

    def _carry(self, _: int, asked: dict[str, str]) -> Mapping[str, str]:
        found = {
            s: gate.exchange(self.folder / ADDRESS.format(site=s), t) for s, t in asked.items()
        }
        self.letters += len(found)
        self.characters += sum(map(len, found.values()))
        return found

    def ask(self, site: str, question: Any) -> Any:
        """Put one question to one site; return the answer, or None where it is refused."""
        run = f"by hand {self._number.get(site, 0)}"
        self._number[site] = self._number.get(site, 0) + 1
        text = letters.question_letter(STUDY, self.digest, run, 1, site, question, b"")
        return letters.read(self._carry(1, {site: text})[site], letters.ANSWER, b"")[1]

    def log(self, site: str) -> list[dict[str, Any]]:
        """Return the entries of a site's audit log."""
        from laplace.engines import audit

        return list(audit.read(self.folder / f"{site}.log"))


@contextmanager
def hospitals(
    parts: Sequence[pd.DataFrame],
    formula: str,
    groups: str,
    levels: Mapping[str, Sequence[str]] | None = None,
    policy: str = 'approve = "unattended"',
    rounds: int = 100,
) -> Iterator[Hospitals]:
    """Write the rows of each hospital into a file of its own, and start their gates.

    Parameters
    ----------
    parts : sequence of DataFrame
        Rows of each.
    formula, groups : str
        As in a manifest.
    levels : mapping, optional
        Levels of each category.
    policy : str
        Further lines of each policy.
    rounds : int
        Questions at most, to one hospital.

    Yields
    ------
    Hospitals
        Whose processes end with the block.
    """
    names = tuple(f"site-{k + 1}" for k in range(len(parts)))
    with tempfile.TemporaryDirectory(prefix="h-") as name:
        folder, running = Path(name), []
        text = (
            f'study = "{STUDY}"\npackage = "{version("laplace-glmm")}"\n'
            f"formula = {json.dumps(formula)}\ngroups = {json.dumps(groups)}\nrounds = {rounds}\n"
        )
        for column, of in (levels or {}).items():
            text += f"[columns.{column}]\nlevels = {json.dumps(list(of))}\n"
        (folder / "manifest.toml").write_text(text)
        try:
            for site, rows in zip(names, parts, strict=True):
                rows.to_csv(folder / f"{site}.csv", index=False)
                (folder / f"{site}.toml").write_text(
                    f'site = "{site}"\ndata = "rows of {site}"\nfile = "{site}.csv"\n'
                    f'manifest = "manifest.toml"\n{policy}\n'
                )
                command = [sys.executable, "-m", "laplace.engines.gate", "serve", f"{site}.toml"]
                running.append(
                    subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
                )
            for process in running:
                line = process.stdout.readline() if process.stdout else ""
                if "answers at" not in line:
                    raise RuntimeError(f"a gate did not open: {line}")
            yield Hospitals(folder, names, manifest.read(folder / "manifest.toml").digest)
        finally:
            for process in running:
                process.terminate()
                process.communicate()


def meta_analysis(fits: Sequence[laplace.Fit]) -> pd.DataFrame:
    """Return the inverse-variance mean of the fits of single sites, with its standard errors.

    The fixed-effect meta-analysis of Cochran: each estimate is weighted by the inverse of its
    squared standard error.

    Parameters
    ----------
    fits : sequence of Fit
        One a site, of the same formula.

    Returns
    -------
    DataFrame
        Columns `estimate` and `std. error`, a row a coefficient.
    """
    estimates = pd.DataFrame({k: fit.params[:-1] for k, fit in enumerate(fits)}).T
    weights = pd.DataFrame({k: fit.bse[:-1] ** -2 for k, fit in enumerate(fits)}).T
    return pd.DataFrame(
        {
            "estimate": (weights * estimates).sum() / weights.sum(),
            "std. error": weights.sum() ** -0.5,
        }
    )


# Attacks ------------------------------------------------------------------------------------------


def one_row(answer: Any) -> Array:
    """Read a row off the Hessian of an answer in which that row alone has a weight.

    The Hessian is then minus the weight times the row's own cross-product; its first column is
    one.
    """
    information = -np.asarray(answer.hessian)[:-1, :-1]
    return np.asarray(information[0] / information[0, 0]) + 0.0  # and no minus zero


def singling_out(X: Array, row: int, steep: float = 1e4) -> Array:
    """Return coefficients at which all rows but one are certain.

    Along the row's own place among the others: the intercept makes its linear predictor zero.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Covariates of which the attacker knows what the direction needs: here, that the row is the
        largest in the last column. The first column is one.
    row : int
        The row.
    steep : float
        How certain the others become.
    """
    beta = np.zeros(X.shape[1])
    beta[-1] = steep
    beta[0] = -steep * X[row, -1]
    return beta


def solved_from_answers(
    answers: Sequence[Any], betas: Sequence[Array], events: int, rows: int, seed: int = 0
) -> pd.DataFrame:
    """Find rows that give some answers without random intercepts, by least squares.

    Parameters
    ----------
    answers : sequence of AtZero
        What the site answered.
    betas : sequence of ndarray of shape (p,)
        At which coefficients; the first column is known to be one.
    events, rows : int
        How many of the rows have a 1, as the census says.
    seed : int
        Of the starts.

    Returns
    -------
    DataFrame
        The covariates and the outcome, a row each, sorted.
    """
    p = len(betas[0])
    upper = np.triu_indices(p)
    y: Array = (np.arange(rows) < events).astype(float)
    known = [np.append(a.gradient[:p], a.hessian[:p, :p][upper]) for a in answers]

    def residuals(flat: Array) -> Array:
        X, parts = np.column_stack([np.ones(rows), flat.reshape(rows, p - 1)]), []
        for beta, sent in zip(betas, known, strict=True):
            eta = X @ beta
            gradient = X.T @ (y - BERNOULLI.b_1(eta))
            hessian = -(X.T * BERNOULLI.b_2(eta)) @ X
            parts.append(np.append(gradient, hessian[upper]) - sent)
        return np.concatenate(parts)

    rng = np.random.default_rng(seed)
    best: Any = None
    for _ in range(100):
        found = least_squares(residuals, rng.normal(size=rows * (p - 1)), xtol=1e-15, ftol=1e-15)
        if best is None or found.cost < best.cost:
            best = found
        if best.cost < 1e-20:
            break
    covariates: Array = np.array(best.x, dtype=np.float64).reshape(rows, p - 1)
    return sorted_rows(covariates, y)


def sorted_rows(covariates: Array, y: Array) -> pd.DataFrame:
    """Return rows in an order of their own, by outcome and first covariate."""
    columns = [f"x{k + 1}" for k in range(covariates.shape[1])]
    table = pd.DataFrame(covariates, columns=columns).assign(y=np.asarray(y, dtype=int))
    return table.sort_values(["y", "x1"]).reset_index(drop=True)
