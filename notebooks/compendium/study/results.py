"""The results of a study: one tidy table, kept as Parquet."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from compendium.study.definition import OWN, Scenario, canonical, digest
from laplace.families import Array

if TYPE_CHECKING:
    from compendium.study.runner import Study

_CATEGORY = pa.dictionary(pa.int16(), pa.string())
COLUMNS = pa.schema(
    [
        ("scenario", _CATEGORY),
        ("replicate", pa.int32()),
        ("method", _CATEGORY),
        ("estimand", _CATEGORY),
        ("estimate", pa.float32()),
        ("standard_error", pa.float32()),
        ("lower", pa.float32()),  # ends of an interval that is not Wald's
        ("upper", pa.float32()),
        ("truth", pa.float32()),
        ("one_outcome", pa.float32()),  # share of the groups
        (
            "approximation_error",
            pa.float32(),
        ),  # predicted, in standard errors
        ("converged", pa.bool_()),
        ("wild", pa.bool_()),  # see `Estimate.is_wild`
        ("boundary", pa.bool_()),
        ("iterations", pa.int16()),
        ("nodes", pa.int16()),
        ("message", _CATEGORY),
        ("seconds", pa.float32()),
    ]
)
"""The columns of the results; a row a scenario, replicate, method and estimand."""

# How long a fit took is the one thing that differs between runs: no digest includes it.
TIMED = "seconds"
NUMBERS = [field.name for field in COLUMNS if field.type == pa.float32()]
# Numbers that are the same in many rows.
REPEATED = ("truth", "one_outcome", TIMED)
CATEGORIES = [field.name for field in COLUMNS if field.type == _CATEGORY]
# Of an estimate, 17 bits are kept: five significant digits; Monte Carlo error leaves three.
# Of what is only summarised, 13 bits and four digits are enough.
KEPT_BITS = 17
FEWER_BITS = 13
SUMMARISED = ("standard_error", "lower", "upper", "approximation_error", TIMED)
LARGEST = 1e30
ENDS = ("lower", "upper")
# A predicted error below this is rounding, which differs between machines.
SMALLEST_ERROR = 1e-6
# Where the definition and the digest of the content are found in a file.
DEFINITION, CONTENT = b"study", b"content"
# What draws and what fits: the estimates depend on these modules and on what they import.
DRAWS_AND_FITS = ("compendium.study.scenarios", "compendium.study.methods")


class DamagedResultsWarning(UserWarning):
    """A file of results cannot be read, and is computed again."""


@dataclass(frozen=True)
class Part:
    """Replicates `start` to `stop` of a scenario."""

    scenario: Scenario
    start: int
    stop: int

    @property
    def replicates(self) -> int:
        """Their number."""
        return self.stop - self.start


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Make a table of the results' columns."""
    arrays = []
    errors = np.asarray(columns["approximation_error"])
    columns = {
        **columns,
        "approximation_error": np.where(abs(errors) < SMALLEST_ERROR, 0.0, errors),
    }
    for column in COLUMNS:
        values = columns[column.name]
        if column.name in NUMBERS:
            numbers = np.asarray(values, dtype=float)
            values = _rounded(numbers, FEWER_BITS if column.name in SUMMARISED else KEPT_BITS)
            if column.name in ENDS:  # an interval may have no end
                values = np.where(np.isinf(numbers), numbers.astype(np.float32), values)
        array = pa.array(values, from_pandas=True)
        arrays.append(array.dictionary_encode() if column.type == _CATEGORY else array)
    return pa.table(
        [a.cast(c.type) for a, c in zip(arrays, COLUMNS, strict=True)],
        schema=COLUMNS,
    )


def _rounded(values: Array, kept: int) -> Any:
    """Round to the bits that are kept; what is no sensible number is NaN."""
    numbers = np.where(np.abs(values) < LARGEST, values, np.nan).astype(np.float32)
    dropped = 24 - kept
    bits = numbers.view(np.uint32) + np.uint32(1 << (dropped - 1))
    rounded = (bits & ~np.uint32((1 << dropped) - 1)).view(np.float32)
    return np.where(np.isnan(numbers), np.float32(np.nan), rounded)


def frame(tables: Sequence[pa.Table], definition: Mapping[str, Any]) -> pd.DataFrame:
    """Put tables together, in their order; categories in the order of the study."""
    whole: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    order = {
        "scenario": [scenario["name"] for scenario in definition["scenarios"]],
        "method": [method["name"] for method in definition["methods"]],
        "message": sorted(whole["message"].cat.categories),
        "estimand": list(whole["estimand"].cat.categories),
    }
    for name, categories in order.items():
        whole[name] = whole[name].cat.set_categories(categories)
    whole.attrs["study"] = canonical(definition)
    return whole


def content(whole: pd.DataFrame) -> str:
    """Digest the results, all but how long they took."""
    total = hashlib.sha256()
    for name in whole.columns.drop(TIMED):
        column = whole[name]
        total.update(name.encode())
        if name in CATEGORIES:
            total.update(canonical(list(column.cat.categories)).encode())
            column = column.cat.codes
        total.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return total.hexdigest()


def save(whole: pd.DataFrame, path: str | Path) -> None:
    """Write results with their definition and the digest of their content.

    Parameters
    ----------
    whole : DataFrame
        What `Study.run` returned.
    path : path
        A Parquet file, written whole or not at all.
    """
    data = pa.Table.from_pandas(whole, COLUMNS, preserve_index=False)
    _write(
        data,
        Path(path),
        {DEFINITION: whole.attrs["study"], CONTENT: content(whole)},
    )


def load(path: str | Path, study: Study | None = None) -> pd.DataFrame:
    """Read results that were saved, and check them.

    Parameters
    ----------
    path : path
        A file that `save` or `Study.run` wrote.
    study : Study, optional
        The study whose results they should be.

    Returns
    -------
    DataFrame
        What `Study.run` returned.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds the results of another study.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: `make study` computes the study's results")
    again = "run the study again, which computes what is missing"
    try:
        data = _read(path)
        metadata = data.schema.metadata or {}
        definition = json.loads(metadata[DEFINITION])
        whole = frame([data], definition)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path} is damaged, or holds no results of a study; {again}") from error
    if study is not None and definition != study.definition:
        raise ValueError(
            f"{path} holds the results of another study: {_difference(definition, study)}; {again}"
        )
    if content(whole) != metadata[CONTENT].decode():
        raise ValueError(f"{path} is not as it was written; {again}")
    return whole


def _difference(found: Mapping[str, Any], study: Study) -> str:
    """Say in which way a definition is not that of the study."""
    said = []
    for name, wanted in study.definition.items():
        there = found.get(name)
        if there == wanted:
            continue
        if not isinstance(wanted, list):
            said.append(f"{name} is {there}, not {wanted}")
            continue
        old, new = ({one["name"]: one for one in many} for many in (there or [], wanted))
        changed = [key for key in [*old, *(new.keys() - old)] if old.get(key) != new.get(key)]
        said.append(f"other {name} ({', '.join(sorted(changed)[:3]) or 'their order'})")
    return ", ".join(said)


class Store:
    """Finished parts, in memory and in a folder.

    ``parts/<scenario>-<key>/<start>-<stop>.parquet`` holds a part, ``<hash>.parquet`` the whole and
    ``<hash>.json`` its definition. A key stands for the definition of the scenario, the methods and
    the seed, and for the code.
    """

    def __init__(self, folder: Path | None, definition: Mapping[str, Any]) -> None:
        self.folder, self.definition = folder, definition
        self._finished: dict[tuple[str, int], pa.Table] = {}
        self._keys = {}
        for scenario in definition["scenarios"]:
            meant = {
                **definition,
                "scenarios": [{**scenario, "replicates": None}],
                "methods": [m for m in definition["methods"] if m["name"] in scenario["methods"]],
                "replicates": None,
                "code": code(),
            }
            self._keys[scenario["name"]] = digest(meant)

    def _place(self, part: Part) -> Path | None:
        if self.folder is None:
            return None
        folder = f"{part.scenario.name}-{self._keys[part.scenario.name]}"
        return self.folder / "parts" / folder / f"{part.start:06}-{part.stop:06}.parquet"

    def take_up(self, part: Part) -> bool:
        """Take up a part that was finished before; whether it was."""
        path = self._place(part)
        if path is None or not path.exists():
            return False
        try:
            found = _read(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            warnings.warn(
                f"{path} is damaged, and is computed again ({error})",
                DamagedResultsWarning,
                3,
            )
            return False
        self._finished[part.scenario.name, part.start] = found
        return True

    def keep(self, part: Part, data: pa.Table) -> None:
        """Take up a part that was finished now."""
        self._finished[part.scenario.name, part.start] = data
        if (path := self._place(part)) is not None:
            self._or_say(lambda: _write(data, path, {}))

    def finish(self, parts: Sequence[Part]) -> pd.DataFrame:
        """Put the parts together, and write the whole."""
        tables = [self._finished[part.scenario.name, part.start] for part in parts]
        whole = frame(tables, self.definition)
        if self.folder is not None:
            path = self.folder / digest(self.definition)
            text = json.dumps(self.definition, indent=1) + "\n"
            self._or_say(lambda: save(whole, path.with_suffix(".parquet")))
            self._or_say(lambda: path.with_suffix(".json").write_text(text, encoding="utf-8"))
        return whole

    def _or_say(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error}. The results could not be written; what was finished "
                "before is kept. Make room, and run the same again",
                str(self.folder),
            ) from error


def _write(data: pa.Table, path: Path, metadata: Mapping[bytes, str]) -> None:
    """Write a Parquet file whole or not at all, the same table always as the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        pq.write_table(
            data.replace_schema_metadata(dict(metadata)),
            partial,
            compression="zstd",
            compression_level=9,
            use_dictionary=[*CATEGORIES, *REPEATED],
            use_byte_stream_split=[name for name in NUMBERS if name not in REPEATED],
            write_page_checksum=True,
        )
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read(path: Path) -> pa.Table:
    """Read a Parquet file of results; what is cut off or altered is an error."""
    data = pq.read_table(path, page_checksum_verification=True)
    return data.cast(COLUMNS.with_metadata(data.schema.metadata))


@cache
def code() -> str:
    """Digest the modules on which the estimates depend: those that draw and fit, and their own."""
    total = hashlib.sha256()
    for name, path in sorted(_modules(DRAWS_AND_FITS).items()):
        total.update(name.encode() + path.read_bytes())
    return total.hexdigest()


def _modules(roots: Sequence[str]) -> dict[str, Path]:
    """Return the files of these modules, and of all of our own that they import, one by another."""
    found: dict[str, Path] = {}
    left = list(roots)
    while left:
        name = left.pop()
        spec = None if name in found or name.partition(".")[0] not in OWN else _spec(name)
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[name].read_bytes())):
            if isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [
                    node.module,
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
    return found


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError:  # a name inside a module
        return None
