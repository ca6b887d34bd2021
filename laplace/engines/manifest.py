"""What all sites of a study agree on before anything is sent: the manifest, a TOML file.

.. code-block:: toml

    study = "toenail"
    package = "0.1.0"                  # of laplace; the same at all places
    formula = "outcome ~ treatment * month"
    groups = "patient"
    family = "bernoulli"
    nodes = [1, 25]                    # to fit with; left out, any number of quadrature nodes
    rounds = 60                        # questions at most, for the study at one data set

    [columns.treatment]
    levels = ["itraconazole", "terbinafine"]

    [columns.month]
    unit = "months"
    range = [0, 24]

    [rules]                            # what no policy may undercut; see laplace.engines.policy
    least_rows = 20
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from laplace.arguments import and_more, quoted
from laplace.engines.entries import check_names, defaults_of, table_of, texts
from laplace.engines.language import FUNCTIONS, Formula, parse
from laplace.engines.thresholds import checked_rules
from laplace.families import NAMES, Bernoulli, Binomial
from laplace.nodes import MAX_NODES
from laplace.reading import design
from laplace.site import Site
from laplace.strategy import STRATEGY
from laplace.verdict import reference_nodes

PACKAGE = "laplace-glmm"
# Numbers of nodes that a search asks for on its way, whatever it was asked for.
ON_THE_WAY = {
    *STRATEGY.fewer_nodes,
    STRATEGY.rule_for_unequal,
    *(nodes for _, nodes in STRATEGY.reference_rules),
}
MISSING = ("raise", "drop")


@dataclass(frozen=True)
class Column:
    """What is agreed on about a column.

    Attributes
    ----------
    levels : tuple of str
        All levels of a category, the first of which is the reference; empty for numbers.
    unit : str
        What its numbers count or measure; it is shown, and checked by nobody.
    range : tuple of float
        Least and largest value that it can have; empty where that was left open.
    """

    levels: tuple[str, ...] = ()
    unit: str = ""
    range: tuple[float, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What sites agreed on; read one with `read`.

    Attributes
    ----------
    study : str
        Name of the study.
    package : str
        Version of laplace at all places.
    formula : str
        Outcome and covariates, in the language of `laplace.engines.language`.
    groups : str
        Column of group labels.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes.
    nodes : tuple of int
        Numbers of quadrature nodes to fit with; empty where any will do, as "auto" needs.
    rounds : int
        Questions at most, to one data set.
    offset : str
        Column of the offset; empty where there is none.
    missing : {"raise", "drop"}
        What happens to rows with missing values.
    columns : dict of Column
        By name.
    rules : dict
        Thresholds that no policy may undercut.
    """

    study: str
    package: str
    formula: str
    groups: str
    family: str = Bernoulli.name
    nodes: tuple[int, ...] = ()
    rounds: int = 100
    offset: str = ""
    missing: str = "raise"
    columns: dict[str, Column] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)

    @cached_property
    def parsed(self) -> Formula:
        """The formula, checked."""
        return parse(self.formula)

    @cached_property
    def digest(self) -> str:
        """What stands in every message; two manifests with the same digest are the same."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def needed(self) -> list[str]:
        """Columns that a file has to have."""
        others = [self.groups, *([self.offset] if self.offset else [])]
        return list(dict.fromkeys([*self.parsed.columns, *others]))

    def may_ask(self, nodes: int) -> bool:
        """Return whether a fit of the manifest may ask for so many nodes.

        It asks for those that it was agreed to fit with, for those that judge them, and for others
        on its way.
        """
        judges = {reference_nodes(k) for k in self.nodes}
        return not self.nodes or nodes in {*self.nodes, *judges, *ON_THE_WAY}

    def site(self, frame: pd.DataFrame) -> Site:
        """Return the site of the rows of a file.

        Parameters
        ----------
        frame : DataFrame
            The columns of the file.

        Raises
        ------
        ValueError
            If a column is not there or not as agreed on; the message names the column and the row.
        """
        self._check_columns(frame, self.needed)
        if not len(frame):
            raise ValueError("the file has no rows, so that this site cannot take part in the fit")
        return Site.of(self._read(self._agreed(frame, self.needed)))

    def covariates(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of the fit for new rows, as `laplace.Fit.predict` takes them.

        Parameters
        ----------
        frame : DataFrame
            A table with the columns that the right side of the formula names.

        Returns
        -------
        DataFrame of shape (k, p)
            As the sites made them of their own rows.

        Raises
        ------
        ValueError
            If a column is not there, not as agreed on, or has a missing value.
        """
        names = list(self.parsed.covariates)
        self._check_columns(frame, names)
        made = self._design.rows(self._agreed(frame, names), None, 0.0)
        return made[0]

    @cached_property
    def _design(self) -> design.Design:
        """How the formula makes the columns of the fit, which the rows have no part in.

        It is read off a made row: the levels of a category are those agreed on, and of numbers it
        only matters that they are some.
        """
        made: dict[str, Any] = {name: [1.0] for name in (*self.needed, *self.parsed.computed)}
        for name, column in self.columns.items():
            if column.levels:
                made[name] = pd.Categorical(column.levels[:1], categories=list(column.levels))
        return self._read(pd.DataFrame(made)).design

    def _check_columns(self, frame: pd.DataFrame, needed: list[str]) -> None:
        """Refuse a table that lacks a column, and name the nearest that it has."""
        absent = [name for name in needed if name not in frame.columns]
        if absent:
            lower = {str(name).lower(): str(name) for name in frame.columns}
            near = [get_close_matches(n.lower(), lower, 1) for n in absent]
            hints = [f"; is {lower[close[0]]!r} meant?" for close in near if close]
            raise ValueError(
                f"the file has no column {quoted(absent)}; it has {quoted(list(frame.columns))}"
                + "".join(hints)
            )

    def _agreed(self, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
        """Return columns as what was agreed on, with those that the formula computes of them."""
        made = {name: self._column(name, frame[name]) for name in names}
        for name, (function, column) in self.parsed.computed.items():
            with np.errstate(all="ignore"):
                made[name] = FUNCTIONS[function](made[column].astype(float))
        return pd.DataFrame(made, index=frame.index)

    def _read(self, rows: pd.DataFrame) -> design.Rows:
        """Return what the formula makes of rows; names of this code are none of the formula's."""
        return design.read(
            self.parsed.text,
            rows,
            self.groups,
            family=self.family,
            offset=self.offset or None,
            missing=self.missing,
            weights=None,
            empty_cells="raise",
            apart=True,
        )

    def _column(self, name: str, values: pd.Series) -> Any:
        """Return a column as what was agreed on."""
        agreed = self.columns.get(name, Column())
        gone = values.isna()
        if name == self.groups and name not in self.parsed.columns:
            # numbers lose what depends on how a file was read: 7 and 7.0 are the same label
            if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
                values = values.astype("Int64")
            return values.astype(str).where(~gone, None)
        if agreed.levels:
            if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
                values = values.astype("Int64")
            texts = values.astype(str)
            unknown = np.flatnonzero(~texts.isin(agreed.levels) & ~gone)
            if unknown.size:
                first = values.index[unknown[:1]].tolist()[0]
                raise ValueError(
                    f"column {name!r} has {texts.iloc[unknown[0]]!r} in row {first!r}"
                    f"{and_more(unknown)}, which the manifest does not know; its levels are "
                    f"{quoted(agreed.levels)}. Correct the file, or agree on a new manifest"
                )
            return pd.Categorical(texts.where(~gone, None), categories=list(agreed.levels))
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        wrong = np.flatnonzero(numbers.isna() & ~gone)
        if wrong.size:
            first = values.index[wrong[:1]].tolist()[0]
            raise ValueError(
                f"column {name!r} has {values.iloc[wrong[0]]!r:.60} in row {first!r}"
                f"{and_more(wrong)}, where a number belongs; correct the file, or give the column "
                "levels in the manifest"
            )
        if agreed.range:
            low, high = agreed.range
            outside = np.flatnonzero((numbers < low) | (numbers > high))
            if outside.size:
                first = values.index[outside[:1]].tolist()[0]
                unit = f" {agreed.unit}" if agreed.unit else ""
                raise ValueError(
                    f"column {name!r} has {numbers.iloc[outside[0]]:g} in row {first!r}"
                    f"{and_more(outside)}, but lies between {low:g} and {high:g}{unit} by the "
                    "manifest; look at the unit"
                )
        return numbers


def read(path: str | Path) -> Manifest:
    """Read a manifest from a TOML file, and check all of it.

    Raises
    ------
    ValueError
        If it is not as described; the message names the entry.
    """
    return of(table_of(path), f"the manifest {Path(path).name}")


def of(table: dict[str, Any], where: str = "the manifest") -> Manifest:
    """Return the manifest that a table describes."""
    check_names(table, [f.name for f in fields(Manifest)], where)
    texts(table, ("study", "package", "formula", "groups"), where)
    given = {**defaults_of(Manifest), **table}
    for name in ("offset", "family", "missing"):
        if not isinstance(given[name], str):
            raise ValueError(f"{name} of {where} must be a text")
    if given["family"] not in NAMES:
        raise ValueError(
            f"family of {where} must be one of {quoted(NAMES)}, got {given['family']!r}"
        )
    if given["missing"] not in MISSING:
        raise ValueError(f"missing of {where} must be one of {quoted(MISSING)}")
    nodes, rounds, columns = given["nodes"], given["rounds"], given["columns"]
    if not isinstance(nodes, list | tuple) or not all(_is_rule(k) for k in nodes):
        raise ValueError(
            f"nodes of {where} must be a list of whole numbers from 1 to {MAX_NODES}, got {nodes!r}"
        )
    if type(rounds) is not int or rounds < 1:
        raise ValueError(f"rounds of {where} must be a whole number above zero, got {rounds!r}")
    if not isinstance(columns, dict):
        raise ValueError(f"columns of {where} must be tables, as [columns.age]")
    given |= {
        "nodes": tuple(sorted(set(nodes))),
        "columns": {name: _column_of(name, table, where) for name, table in columns.items()},
        "rules": checked_rules(given["rules"], f"rules of {where}"),
    }
    made = Manifest(**given)
    _check_together(made, where)
    return made


def _is_rule(nodes: Any) -> bool:
    return type(nodes) is int and 1 <= nodes <= MAX_NODES


def _column_of(name: str, table: Any, where: str) -> Column:
    """Return what is agreed on about one column."""
    if not isinstance(table, dict):
        raise ValueError(f"column {name!r} of {where} must be a table, as [columns.{name}]")
    check_names(table, [f.name for f in fields(Column)], f"column {name!r} of {where}")
    given = {**defaults_of(Column), **table}
    levels, unit, ends = given["levels"], given["unit"], given["range"]
    if not isinstance(levels, list | tuple) or not all(isinstance(x, str) for x in levels):
        raise ValueError(f"levels of column {name!r} of {where} must be a list of texts")
    if len(set(levels)) != len(levels) or len(levels) == 1:
        raise ValueError(f"levels of column {name!r} of {where} must be two or more, all different")
    numbers = isinstance(ends, list | tuple) and all(type(x) in (int, float) for x in ends)
    if not numbers or len(ends) not in (0, 2) or (ends and not ends[0] < ends[1]):
        raise ValueError(
            f"range of column {name!r} of {where} must be two numbers, the least first"
        )
    if not isinstance(unit, str):
        raise ValueError(f"unit of column {name!r} of {where} must be a text")
    return Column(tuple(levels), unit, tuple(map(float, ends)))


def _check_together(manifest: Manifest, where: str) -> None:
    """Check what concerns more than one entry."""
    parsed = manifest.parsed
    unused = [name for name in manifest.columns if name not in manifest.needed]
    if unused:
        close = get_close_matches(unused[0], manifest.needed, 1)
        raise ValueError(
            f"columns of {where} has {unused[0]!r}, which is neither in the formula, nor the "
            f"groups or the offset, which need {quoted(manifest.needed)}"
            + (f"; is {close[0]!r} meant?" if close else f"; leave [columns.{unused[0]}] out")
        )
    for name in parsed.categories:
        if not manifest.columns.get(name, Column()).levels:
            raise ValueError(f"C({name}) needs the levels: add [columns.{name}] with levels")
    for column in (column for _, column in parsed.computed.values()):
        if manifest.columns.get(column, Column()).levels:
            raise ValueError(f"column {column!r} of {where} is a category, and has no logarithm")
    if bool(parsed.trials) != (manifest.family == Binomial.name):
        raise ValueError(
            f"the formula of {where} must be 'successes / trials ~ ...' where, and only where, "
            f"family is {Binomial.name!r}"
        )
    if manifest.groups in parsed.columns:
        raise ValueError(f"groups of {where} is {manifest.groups!r}, which is in the formula, too")


def check_package(manifest: Manifest) -> None:
    """Refuse a manifest for another version of the package: digits may differ between versions."""
    if manifest.package != version(PACKAGE):
        raise ValueError(
            f"the manifest is for version {manifest.package} of laplace, but this is "
            f"{version(PACKAGE)}; install that version, or agree on a new manifest"
        )
