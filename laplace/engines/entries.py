"""TOML tables, entries with a typo, and what holds where an entry is left out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from laplace.arguments import quoted


def table_of(path: str | Path) -> dict[str, Any]:
    """Return what stands in a TOML file.

    Raises
    ------
    ValueError
        If it is not TOML; the message says where.
    """
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{Path(path).name} is not TOML: {error}") from None


def defaults_of(record: Any) -> dict[str, Any]:
    """Return what the fields of a dataclass are where an entry is left out."""
    found = {}
    for one in fields(record):
        if one.default is not MISSING:
            found[one.name] = one.default
        elif one.default_factory is not MISSING:
            found[one.name] = one.default_factory()
    return found


def check_names(table: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse entries that are not known, and name the nearest that is."""
    names = list(known)
    for name in table:
        if name not in names:
            close = get_close_matches(name, names, 1)
            hint = f"is {close[0]!r} meant?" if close else f"it may have {quoted(names)}"
            raise ValueError(f"{where} has {name!r}, which is not known; {hint}")


def texts(table: dict[str, Any], names: Iterable[str], where: str) -> None:
    """Refuse entries that have to be texts and are none, or empty."""
    for name in names:
        if not isinstance(table.get(name), str) or not table[name].strip():
            raise ValueError(f"{where} must have {name!r}, a text")
