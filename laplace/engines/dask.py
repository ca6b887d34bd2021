"""Partitions on Dask: more rows than one machine holds, all of them trusted.

Partitions hold whole groups. Workers make the columns of their partitions, check them and keep
them; a fit puts its questions to all, and the answers are added up in a tree on the workers, so
that one comes back. A fit is about ten rounds. The partitions of a worker that dies are made again
elsewhere, to the same bits. Rows that do not fit into the workers' memory are read again in each
round, and the log says so. The logger ``laplace.engines.dask`` has a line for each round.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NoReturn

from laplace.answers import Census
from laplace.arguments import quoted
from laplace.contribution import Contribution
from laplace.engines.recipes import (
    Arrays,
    Formula,
    added,
    answered,
    design_of,
    digests_of_labels,
    dtypes_of,
    is_numeric,
    label_with,
    levels_of,
    look,
    memory_limit,
    merged,
    read_parquet,
    site_of,
    twice_of,
)
from laplace.fit import AUTO, fit_sites
from laplace.newton import newton_step
from laplace.questions import (
    ALL,
    AskAt,
    AskCensus,
    AskWithout,
    View,
)
from laplace.reading.design import named_columns
from laplace.result import IN_ONE_PLACE, Fit
from laplace.sites import Sites, check_agreement

LOG = logging.getLogger(__name__)
# Answers that one task adds up.
BRANCHES = 8
# Rows are kept on the workers if they take at most this part of their memory.
PART_OF_MEMORY = 0.4
# Decrement at which a search ends, nearly; for the time that is left.
NEARLY_DONE = 1e-20


def fit(
    data: Any,
    y: str,
    X: Sequence[str],
    groups: str,
    *,
    family: str = "bernoulli",
    trials: str | None = None,
    offset: str | None = None,
    nodes: int | str = AUTO,
    tau: Any = None,
    penalty: str | None = None,
    strength: Any = None,
    keep: bool | None = None,
    client: Any = None,
) -> Fit:
    """Fit columns of partitions, as `laplace.fit` does arrays.

    Parameters
    ----------
    data : dask DataFrame, list of delayed DataFrames, or path
        The partitions; of a folder, its Parquet files. All rows of a group have to be in one.
    y, groups, trials, offset : str
        Names of columns.
    X : sequence of str
        Names of the covariates, used as given: no intercept is added.
    family, nodes, tau, penalty, strength
        As in `laplace.fit`.
    keep : bool, optional
        Whether the workers keep the rows between rounds; by default where these fit into their
        memory.
    client : distributed.Client, optional
        By default the current one.

    Returns
    -------
    Fit
        Its rows are on the workers; it goes on asking for them as long as the client is there. For
        random effects and residuals, make a site of some of the rows, and ask ``fit.at(site)``.

    Raises
    ------
    TypeError, ValueError
        As `laplace.fit` does, with the number of the partition; and if a group is in two
        partitions.
    """
    columns = [*X] if not isinstance(X, str) else [X]
    used = [y, *columns, groups, *([trials] if trials else []), *([offset] if offset else [])]
    recipe = Arrays(y, tuple(columns), groups, family, trials, offset)
    sites, _ = _partitions(data, used, {*used}, recipe, keep, client)
    found = fit_sites(sites, nodes=nodes, tau=tau, penalty=penalty, strength=strength)
    return FitElsewhere.of_partitions(found, Elsewhere(None, sites.dropped))


def fit_formula(
    formula: str,
    data: Any,
    groups: str,
    *,
    family: str | None = None,
    offset: str | None = None,
    nodes: int | str = AUTO,
    tau: Any = None,
    missing: str = "raise",
    penalty: str | None = None,
    strength: Any = None,
    keep: bool | None = None,
    client: Any = None,
) -> Fit:
    """Fit a formula to partitions, as `laplace.fit_formula` does to a DataFrame.

    Levels of categories are collected from all partitions before anything is coded: those that
    occur, in the order of the categories where all partitions have the same, else sorted.

    Parameters
    ----------
    formula : str
        As in `laplace.fit_formula`. Transformations that take constants from the rows, such as
        ``scale(x)``, are refused.
    data : dask DataFrame, list of delayed DataFrames, or path
        The partitions; of a folder, its Parquet files. All rows of a group have to be in one.
    groups, offset : str
        Names of columns.
    family, nodes, tau, missing, penalty, strength
        As in `laplace.fit_formula`.
    keep, client
        As in `fit`.

    Returns
    -------
    Fit
        Its `predict` takes DataFrames, and Dask DataFrames, for which it is lazy. Its rows are as
        those of `fit`.

    Raises
    ------
    TypeError, ValueError
        As `laplace.fit_formula` does, with the number of the partition; and if a group is in two
        partitions.
    """
    names = named_columns(formula)
    # a function of a column may hide its name from the reader of formulas
    words = [word.strip("`") for word in re.findall(r"`[^`]+`|[^\W\d]\w*", formula)]
    used = list(dict.fromkeys([*names, *words, groups, *([offset] if offset else [])]))
    needed = {*names, groups, *([offset] if offset else [])}
    numbers = tuple(re.findall(r"\bC\(\s*`?([^`(),]+?)`?\s*[,)]", formula))
    recipe = Formula(formula, groups, family, offset, missing, tuple(used), numbers)
    sites, design = _partitions(data, used, needed, recipe, keep, client)
    found = fit_sites(sites, nodes=nodes, tau=tau, penalty=penalty, strength=strength)
    return FitElsewhere.of_partitions(found, Elsewhere(design, sites.dropped))


@dataclass(frozen=True)
class Elsewhere:
    """What a fit knows of rows that are on workers.

    Attributes
    ----------
    design : Design or None
        How a formula made the columns, where one did.
    dropped : int
        Number of rows that were left out for missing values.
    """

    design: Any
    dropped: int
    without_trials: int = 0  # not counted there


# What can be done with rows that are brought here.
AT_A_SITE = (
    "of a DataFrame of pandas with all rows of some groups make a site, by "
    "laplace.Site.from_arrays(...) or from_formula(...), and ask fit.at(site), as in "
    "fit.at(site).random_effects; rows without groups predict() takes as they are"
)


class FitElsewhere(Fit):
    """A fit of rows that are on workers; `at` gives it those of a site that is made here."""

    @classmethod
    def of_partitions(cls, found: Fit, there: Elsewhere) -> FitElsewhere:
        """Return what was found, with what is known of its rows."""
        parts = {one.name: getattr(found, one.name) for one in fields(found)}
        return cls(**{**parts, "_site": there})

    def _rows(self, what: str) -> Any:
        """Return what holds the rows that `at` gave, or say where they are."""
        if isinstance(self._site, Elsewhere):
            raise self._elsewhere(what, AT_A_SITE)
        return super()._rows(what)

    def _all_rows(self, what: str) -> Any:
        """Say where they are."""
        raise self._elsewhere(what, IN_ONE_PLACE)

    def _elsewhere(self, what: str, remedy: str) -> ValueError:
        """Return the refusal of what needs rows that are not here."""
        return ValueError(
            f"{what} needs the rows, which are in partitions on workers, and not here; {remedy}"
        )


# The coordinator ----------------------------------------------------------------------------------


class _Partition:
    """A partition, which is asked together with the others."""

    def answer(self, question: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("a partition is asked together with the others")


class Partitions(Sites):
    """Partitions on the workers of a Dask cluster; asks all of them, and adds in a tree.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    sites : list
        A future, or what makes it again, for each partition with rows.
    names : list of str
        Names of the partitions.
    kept : bool
        Whether these are futures, so that the workers keep the rows.
    total : Census
        The census of all.
    dropped : int
        Number of rows that were left out for missing values.
    """

    sampled = True

    def __init__(
        self,
        client: Any,
        sites: list[Any],
        names: list[str],
        kept: bool,
        total: Census,
        dropped: int,
    ) -> None:
        super().__init__([_Partition() for _ in sites], names=names)
        self.dropped = dropped
        self._client = client
        self._sites = sites
        self._kept = kept
        self._census = total
        self._began = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the cluster: a fit that travels has its numbers, and no rows."""
        return {**self.__dict__, "_client": None, "_sites": []}

    def census(self, view: View = ALL, key: str = "") -> Census:
        """Return the counts and sums; those of all rows were taken at the beginning."""
        if view is ALL:
            self._count(AskCensus(view, ""), self._census)
            return self._census
        answer: Census = self.total(AskCensus(view, ""))
        return answer

    def each(self, question: Any) -> list[Any]:
        """Put a question to all partitions; return their answers, one each."""
        answers = self._gathered(self._asked(question))
        self._count(question, answers[0])
        return list(answers)

    def total(self, question: Any) -> Any:
        """Put a question to all partitions; return the sum, which is made on the workers."""
        began = time.monotonic()
        answer = self._gathered([_tree(self._client, added, self._asked(question))])[0]
        self._count(question, answer)
        if isinstance(question, AskAt | AskWithout) and LOG.isEnabledFor(logging.INFO):
            self._say(question, answer, time.monotonic() - began)
        return answer

    def _asked(self, question: Any) -> list[Any]:
        """Return a future of the answer of each partition."""
        if self._client is None:
            raise ValueError(
                "the rows are on workers that this fit has lost, as it came from another process; "
                "fit again for what needs them"
            )
        if self._kept:
            return [
                self._client.submit(answered, site, question, pure=False) for site in self._sites
            ]
        from dask.delayed import delayed

        return list(
            self._client.compute([delayed(answered)(site, question) for site in self._sites])
        )

    def _gathered(self, futures: list[Any]) -> list[Any]:
        return list(self._client.gather(futures))

    def _count(self, question: Any, answer: Any) -> None:
        kind = type(question)
        self._rounds[kind] += 1
        self._first.setdefault(kind, [answer] * len(self.parts))

    def _say(self, question: Any, answer: Contribution, seconds: float) -> None:
        """Write a line about a round."""
        free = slice(None) if isinstance(question, AskAt) and question.tau > 0.0 else slice(-1)
        at = answer.of(free)
        step, _ = newton_step(at)
        left = rounds_left(float(at.gradient @ step))
        LOG.info(
            "round %d: log-likelihood %.6f; %.2f s, %s",
            self.rounds,
            answer.value,
            seconds,
            f"about {left * seconds:.0f} s left" if left else "nearly done",
        )


def rounds_left(decrement: float) -> int:
    """Return about how many rounds are left of a search with a Newton decrement.

    Far from the maximum each step takes off a factor of ten; near it, each squares the decrement.
    """
    if not math.isfinite(decrement) or decrement <= NEARLY_DONE:
        return 0
    far = max(0.0, math.log10(max(decrement, 0.1) / 0.1))
    near = math.log2(math.log(NEARLY_DONE) / math.log(min(decrement, 0.1)))
    return math.ceil(far) + math.ceil(near)


def _tree(client: Any, function: Any, futures: list[Any]) -> Any:
    """Add up futures, neighbours first; the order is the same whichever worker does what."""
    while len(futures) > 1:
        groups = [futures[k : k + BRANCHES] for k in range(0, len(futures), BRANCHES)]
        futures = [client.submit(function, *group, pure=False) for group in groups]
    return futures[0]


def _partitions(
    data: Any,
    used: list[str],
    needed: set[str],
    recipe: Any,
    keep: bool | None,
    client: Any,
) -> tuple[Partitions, Any]:
    """Have the workers make the sites of all partitions; return these, and the formula's design."""
    from dask.delayed import delayed

    client = _client(client)
    parts = _parts(data, used)
    dtypes = client.compute(delayed(dtypes_of)(parts[0])).result()
    absent = sorted(needed - dtypes.keys())
    if absent:
        there = list(getattr(data, "columns", dtypes))
        raise ValueError(f"data has no column {quoted(absent)}; it has {there}")
    used = [name for name in used if name in dtypes]
    names = recipe.looks_at(dtypes)
    levels = _agreed(client, parts, names) if names else {}
    recipe = recipe.agreed(levels, [n for n in used if n not in levels and is_numeric(dtypes[n])])
    lazy = [
        delayed(site_of)(part, number, recipe, used) for number, part in enumerate(parts, start=1)
    ]
    if keep is None:
        keep = _fits(client, lazy[0], len(lazy))
    sites: list[Any] = list(client.compute(lazy)) if keep else lazy

    def asked(function: Any, *arguments: Any) -> list[Any]:
        if keep:
            return [client.submit(function, site, *arguments, pure=False) for site in sites]
        return list(client.compute([delayed(function)(site, *arguments) for site in sites]))

    looks = client.gather(asked(look))
    there = [k for k, each in enumerate(looks) if each is not None]
    if not there:
        raise ValueError("data has no rows: at least one row of data is needed")
    titles = [f"partition {k + 1}" for k in there]
    found = [looks[k]["census"] for k in there]
    check_agreement(titles, found)
    digests = _tree(client, merged, asked(digests_of_labels))
    twice = client.submit(twice_of, digests, pure=False).result()
    if twice is not None:
        labels = client.gather(asked(label_with, twice))
        where = [f"partition {k + 1}" for k, label in enumerate(labels) if label is not None]
        label = next(label for label in labels if label is not None)
        raise ValueError(
            f"group {label} has rows in {' and '.join(where[:2])}; all rows of a group must be in "
            f"one partition: data = data.shuffle(on={recipe.groups!r}) before"
        )
    total = reduce(add, found)
    LOG.info("%d rows in %d groups, in %d partitions", total.n, total.m, len(there))
    dropped = sum(looks[k]["dropped"] for k in there)
    design = client.gather(asked(design_of)[there[0]]) if hasattr(recipe, "formula") else None
    kept = [sites[k] for k in there]
    return Partitions(client, kept, titles, keep, total, dropped), design


def _client(client: Any) -> Any:
    """Return the client, or say how to get one."""
    if client is not None:
        return client
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        raise ValueError(
            "there is no Dask client: start one, client = distributed.Client(), or give client="
        ) from None


def _parts(data: Any, used: list[str]) -> list[Any]:
    """Return a delayed DataFrame for each partition."""
    from dask.delayed import delayed

    if isinstance(data, str | Path):
        files = sorted(Path(data).glob("*.parquet"))
        if not files:
            raise ValueError(f"{data} holds no Parquet files; their names end in .parquet")
        return [delayed(read_parquet)(str(file), used) for file in files]
    if hasattr(data, "to_delayed"):
        return list(data[[name for name in used if name in data.columns]].to_delayed())
    if isinstance(data, list | tuple) and data and all(hasattr(d, "dask") for d in data):
        return list(data)
    raise TypeError(
        "data must be a Dask DataFrame, a list of delayed DataFrames, or a folder of Parquet "
        f"files, got {type(data).__name__}; dask.dataframe.from_pandas makes one of a DataFrame"
    )


def _agreed(client: Any, parts: list[Any], names: list[str]) -> dict[str, tuple[Any, ...]]:
    """Return the levels of some columns over all partitions."""
    from dask.delayed import delayed

    found = client.gather(client.compute([delayed(levels_of)(part, names) for part in parts]))
    agreed = {}
    for name in names:
        orders = {categories for categories, _ in (each[name] for each in found)}
        seen = {level for each in found for level in each[name][1]}
        order = orders.pop() if len(orders) == 1 else None
        if order is None:
            try:
                order = tuple(sorted(seen))
            except TypeError:
                raise TypeError(
                    f"column {name!r} of data mixes levels that cannot be sorted, such as "
                    f"{quoted(list(seen)[:2])}; make them all text"
                ) from None
        agreed[name] = tuple(level for level in order if level in seen)
    return agreed


def _fits(client: Any, first: Any, count: int) -> bool:
    """Return whether the workers can keep all rows, judged by the first partition."""
    from dask.delayed import delayed

    found = client.compute(delayed(look)(first)).result()
    needed = (found["bytes"] if found else 0) * count
    limits = list(client.run(memory_limit).values())
    memory = sum(limits) if all(limits) else math.inf
    if needed <= PART_OF_MEMORY * memory:
        return True
    LOG.warning(
        "the rows take about %.1f GiB, and the workers have %.1f GiB: they are read again in each "
        "round; use more workers, or X in float32",
        needed / 2**30,
        memory / 2**30,
    )
    return False
