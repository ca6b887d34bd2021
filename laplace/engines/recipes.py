"""How a partition becomes a site, and what is asked of it; all of this runs on the workers."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd

from laplace.arguments import quoted, text_of
from laplace.questions import ALL, Question
from laplace.reading import design
from laplace.site import Site


@dataclass(frozen=True)
class Arrays:
    """Columns by name."""

    y: str
    X: tuple[str, ...]
    groups: str
    family: str
    trials: str | None
    offset: str | None

    def agreed(self, levels: dict[str, tuple[Any, ...]], numeric: list[str]) -> Arrays:
        """Return it with the levels that all partitions agree on: there are none."""
        return self

    def looks_at(self, dtypes: Any) -> list[str]:
        """Return the columns whose levels have to be agreed on: numbers have none."""
        return []

    def site(self, part: pd.DataFrame) -> Site:
        """Return the site of a partition."""
        return Site.from_arrays(
            part[self.y],
            part[list(self.X)],
            part[self.groups],
            family=self.family,
            trials=part[self.trials] if self.trials else None,
            offset=part[self.offset] if self.offset else None,
        )


@dataclass(frozen=True)
class Formula:
    """A formula, and the levels that all partitions agree on."""

    formula: str
    groups: str
    family: str | None
    offset: str | None
    missing: str
    names: tuple[str, ...]
    numbers: tuple[str, ...]  # written as C(name)
    levels: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    numeric: tuple[str, ...] = ()

    def agreed(self, levels: dict[str, tuple[Any, ...]], numeric: list[str]) -> Formula:
        """Return it with what all partitions agree on: levels, and columns of numbers."""
        return replace(self, levels=tuple(levels.items()), numeric=tuple(numeric))

    def looks_at(self, dtypes: Any) -> list[str]:
        """Return the columns whose levels have to be agreed on."""
        return [
            name
            for name in self.names
            if name in dtypes
            and name != self.groups
            and (name in self.numbers or not is_numeric(dtypes[name]))
            and not pd.api.types.is_datetime64_any_dtype(dtypes[name])
        ]

    def site(self, part: pd.DataFrame) -> Site:
        """Return the site of a partition."""
        for name in self.numeric:
            if not is_numeric(part[name].dtype) and name != self.groups:
                raise TypeError(
                    f"column {name!r} of data holds {part[name].iloc[0]!r:.60}, but the first "
                    "partition has numbers there"
                )
        coded = {
            name: pd.Categorical(part[name], categories=list(levels))
            for name, levels in self.levels
            if name in part
        }
        # names of this code are none of the formula's
        made_of = design.read(
            self.formula,
            part.assign(**coded),
            self.groups,
            family=self.family,
            offset=self.offset,
            missing=self.missing,
            weights=None,
            empty_cells="raise",
            apart=True,
        )
        return Site.of(made_of)


def site_of(part: Any, number: int, recipe: Any, used: list[str]) -> Site | None:
    """Return the site of a partition; None where it has no rows."""
    _one_thread()
    try:
        absent = [name for name in used if name not in part.columns]
        if absent:
            raise ValueError(f"data has no column {quoted(absent)}; it has {list(part.columns)}")
        return recipe.site(part[used]) if len(part) else None
    except (ValueError, TypeError) as error:
        raise type(error)(f"partition {number}: {error}") from None


def _one_thread() -> None:
    """Let a worker process use its threads for partitions, and not each of them for all cores."""
    if multiprocessing.parent_process() is not None:
        import numba

        numba.config.NUMBA_NUM_THREADS = 1  # type: ignore[attr-defined]


def look(site: Site | None) -> dict[str, Any] | None:
    """Return what the coordinator has to know of a site before it asks anything."""
    if site is None:
        return None
    data = site.data
    return {
        "census": site.census(ALL, ""),
        "bytes": data.X.nbytes + data.y.nbytes + 8 * data.n * (1 + (data._order is not None)),
        "dropped": site.dropped,
    }


def digests_of_labels(site: Site | None) -> tuple[Any, None]:
    """Return digests of the labels of the groups, sorted."""
    if site is None:
        return np.empty(0, np.uint64), None
    return np.sort(_digests(site)), None


def _digests(site: Site) -> Any:
    """Return a digest of each group's label, which labels share that are equal."""
    texts = np.array([text_of(label) for label in site.data.labels], dtype=object)
    return pd.util.hash_array(texts, categorize=False)


def merged(*parts: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the digests of several partitions, and one that is in two of them."""
    digests = np.sort(np.concatenate([each for each, _ in parts]))
    twice = digests[1:][digests[1:] == digests[:-1]]
    known = [found for _, found in parts if found is not None]
    return digests, known[0] if known else (int(twice[0]) if twice.size else None)


def twice_of(found: tuple[Any, Any]) -> Any:
    """Return the digest that is in two partitions, or None."""
    return found[1]


def label_with(site: Site | None, digest: int) -> str | None:
    """Return the label with a digest, as text."""
    if site is None:
        return None
    at = np.flatnonzero(_digests(site) == np.uint64(digest))
    return repr(site.data.labels[at[:1]].tolist()[0]) if at.size else None


def answered(site: Site, question: Question) -> Any:
    """Answer a question."""
    return site.answer(question)


def added(*answers: Any) -> Any:
    """Add up answers, in their order."""
    return reduce(add, answers)


def is_numeric(dtype: Any) -> bool:
    """Return whether a type of a column is one of numbers."""
    return bool(pd.api.types.is_numeric_dtype(dtype))


def dtypes_of(part: pd.DataFrame) -> dict[str, Any]:
    """Return the types of the columns of a partition."""
    return dict(part.dtypes)


def read_parquet(file: str, used: list[str]) -> pd.DataFrame:
    """Return those of some columns that a Parquet file has."""
    from pyarrow.parquet import read_schema

    there = set(read_schema(file).names)
    return pd.read_parquet(file, columns=[name for name in used if name in there])


def levels_of(part: Any, names: list[str]) -> dict[str, tuple[Any, list[Any]]]:
    """Return the categories of some columns, and the levels that occur."""
    found = {}
    for name in names:
        values = part[name]
        categorical = isinstance(values.dtype, pd.CategoricalDtype)
        categories = tuple(values.cat.categories) if categorical else None
        found[name] = categories, list(pd.unique(values.dropna().astype(object)))
    return found


def design_of(site: Site | None) -> Any:
    """Return how a formula made the columns."""
    return None if site is None else site.design


def memory_limit(dask_worker: Any) -> float:
    """Return how much memory a worker may take, in bytes; 0 without a limit."""
    return float(dask_worker.memory_manager.memory_limit or 0)
