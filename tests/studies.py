"""Studies over several sites: files, manifests and policies in a folder, and their gates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import laplace
from compendium import datasets
from compendium.simulate import published_setting, two_sites
from laplace import questions
from laplace.engines import asking, gate, letters, manifest, policy
from laplace.questions import ALL
from laplace.starts import AskStart

SITES = ("north", "south", "east", "west", "centre")


@dataclass(frozen=True)
class Study:
    """What sites could agree on for a data set."""

    data: pd.DataFrame
    formula: str
    groups: str
    family: str = "bernoulli"

    @property
    def pooled_formula(self) -> str:
        """The formula as `laplace.fit_formula` takes it."""
        return self.formula.replace("square(age)", "I(age**2)")

    def levels(self) -> dict[str, list[str]]:
        """Return the levels of each category."""
        return {
            name: [str(level) for level in self.data[name].cat.categories]
            for name in self.data
            if isinstance(self.data[name].dtype, pd.CategoricalDtype) and name in self.formula
        }

    def manifest(self, name: str, more: str = "") -> str:
        """Return the manifest, with further lines at its top."""
        lines = [
            f"study = {name!r}",
            f"package = {laplace.__version__!r}",
            f"formula = {self.formula!r}",
            f"groups = {self.groups!r}",
            f"family = {self.family!r}",
            more,
        ]
        for column, levels in self.levels().items():
            lines += [f"[columns.{column}]", f"levels = {json.dumps(levels)}"]
        return "\n".join(lines) + "\n"

    def pooled(self, **options: Any) -> laplace.Fit:
        """Fit all rows in one place."""
        return laplace.fit_formula(
            self.pooled_formula, self.data, self.groups, family=self.family, **options
        )


def study(name: str) -> Study:
    """Return the study of a data set, or of a published setting as "10x500"."""
    if name == "toenail":
        return Study(datasets.toenail(), "outcome ~ treatment * month", "patient")
    if name == "cbpp":
        return Study(datasets.cbpp(), "incidence / size ~ period", "herd", "binomial")
    if name == "contraception":
        formula = "use ~ age + square(age) + urban + livch"
        return Study(datasets.contraception(), formula, "district")
    if name == "published":
        drawn = two_sites()
    else:
        sites, patients = map(int, name.split("x"))
        drawn = published_setting(sites, patients, 1.0, seed=1)
    columns = [f"x{k}" for k in range(drawn.X.shape[1])]
    data = pd.DataFrame(drawn.X, columns=columns).assign(y=drawn.y, hospital=drawn.groups)
    return Study(data, f"y ~ 0 + {' + '.join(columns)}", "hospital")


def with_cell(count: int) -> Study:
    """Rows where two binary columns are both 1 in so many rows."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"smokes": np.arange(300) < 60, "rare": np.zeros(300, bool)}).astype(int)
    data.loc[: count - 1, "rare"] = 1
    data.loc[200:219, "rare"] = 1
    data = data.assign(y=rng.integers(0, 2, 300), ward=np.arange(300) // 30)
    return Study(data, "y ~ smokes + rare", "ward")


def written(
    folder: Path,
    of: Study,
    sites: Sequence[str],
    *,
    more: str = "",
    policy_lines: str = 'approve = "unattended"',
    rules: str = "",
) -> list[Path]:
    """Write the files of each site, the groups dealt out to them in turn; return the policies."""
    (folder / "manifest.toml").write_text(of.manifest("a study", more))
    labels = pd.unique(of.data[of.groups])
    place = pd.Series(np.arange(len(labels)) % len(sites), index=labels)
    at = np.asarray(place[of.data[of.groups].to_numpy()])
    paths = []
    for k, site in enumerate(sites):
        of.data[at == k].to_csv(folder / f"{site}.csv", index=False)
        path = folder / f"{site}.toml"
        path.write_text(
            f'site = "{site}"\ndata = "first"\nfile = "{site}.csv"\nmanifest = "manifest.toml"\n'
            f"{policy_lines}\n[rules]\n{rules}\n"
        )
        paths.append(path)
    return paths


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[dict[str, gate.Gate]]:
    """Open the gates of some policies in this process."""
    gates = {}
    try:
        for path in paths:
            own = policy.read(path)
            gates[own.site] = gate.Gate(own)
        yield gates
    finally:
        for each in gates.values():
            each.close()


def new_run(folder: Path, sites: Sequence[str], **options: Any) -> asking.Run:
    """Return a run of the manifest in a folder."""
    agreed = manifest.read(folder / "manifest.toml")
    return asking.Run.new(agreed.study, agreed.digest, sites, **options)


def fitted(gates: dict[str, gate.Gate], run: asking.Run) -> laplace.Fit:
    """Fit through gates, every letter as text."""

    def carry(_: int, asked: dict[str, str]) -> dict[str, str]:
        return {site: gates[site].answer(text) for site, text in asked.items()}

    keys = {site: each.policy.key for site, each in gates.items()}
    return asking.fit_run(run, asking.by_letters(run, keys, carry))


def distance(one: laplace.Fit, other: laplace.Fit) -> float:
    """Return the largest relative difference of estimates and standard errors."""
    found = [one.params / other.params, one.bse / other.bse]
    return float(max(np.nanmax(np.abs(ratio.to_numpy() - 1.0)) for ratio in found))


def ask(
    one: gate.Gate,
    question: Any,
    number: int | None = None,
    run: str = "run",
    **changes: Any,
) -> Any:
    """Put a question to a gate by a letter; return the answer, or None where it was refused."""
    if number is None:
        number = one._last.get(run, 0) + 1
    parts = {
        "study": one.manifest.study,
        "manifest": one.manifest.digest,
        "run": run,
        "number": number,
        "site": one.policy.site,
        "question": question,
        "key": one.policy.key,
    }
    text = letters.question_letter(**{**parts, **changes})
    return letters.read(one.answer(text), letters.ANSWER, one.policy.key)[1]


def one_of_each(site: laplace.Site) -> list[Any]:
    """Return a question of each kind that a gate may answer, which honest fits ask of rows."""
    zero, ones = np.zeros(site.data.p), np.ones(site.data.p)
    triangle = site.triangle(ALL, ones, zero).r
    return [
        questions.AskCensus(ALL, ""),
        questions.AskTriangle(ALL, ones, np.empty(0)),
        questions.AskMoments(ALL),
        questions.AskWithout(ALL, zero),
        questions.AskAt(ALL, zero, 1.0, 1),
        questions.AskMargins(ALL, ones),
        questions.AskJeffreys(ALL, zero, triangle),
        questions.AskVariation(ALL),
        AskStart(),
    ]


def last(one: gate.Gate) -> dict[str, Any]:
    return one.log.entries[-1]


def refused_by(one: gate.Gate, rule: str) -> bool:
    """Whether the last entry of the log is a refusal by a rule, said in words."""
    entry = last(one)
    return (
        entry["kind"] == "refused"
        and entry["rule"] == rule
        and f"rule {rule!r}" in entry["why"]
        and "The coordinator learns only that this question was refused." in entry["why"]
        and len(entry["why"]) < 1000
    )
