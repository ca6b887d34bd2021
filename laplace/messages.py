"""Questions and answers as JSON: what is read is bit for bit what was written."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from laplace import answers, questions
from laplace.arguments import Array
from laplace.contribution import AtZero, Contribution
from laplace.starts import AskStart, Start
from laplace.together import AskTogether, Together

RECORDS: dict[str, type] = {
    record.__name__: record
    for record in (
        questions.View,
        answers.Census,
        answers.Triangle,
        answers.Known,
        answers.Moments,
        AtZero,
        Contribution,
        answers.Margins,
        answers.Direction,
        answers.Jeffreys,
        answers.Digests,
        answers.Sketch,
        answers.Variation,
        Start,
        AskStart,
        Together,
        AskTogether,
        *get_args(questions.Question),
    )
}
# JSON has no numbers for these.
NOT_FINITE = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}


def to_json(record: Any) -> str:
    """Return a question or an answer as JSON, from which `from_json` reads the same bits.

    A record is an object with its name under ``"record"``, an array one with its ``"shape"`` and
    its ``"values"`` row after row; infinities and NaN are texts.
    """
    return json.dumps(_plain(record), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return a value as what JSON has."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "values": [_plain(x) for x in value.ravel().tolist()]}
    if is_dataclass(value):
        parts = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"record": type(value).__name__, **parts}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return number if np.isfinite(number) else str(number)


def from_json(text: str) -> Any:
    """Return the question or the answer that `to_json` wrote.

    Raises
    ------
    ValueError
        If the text is no such record; the message says where.
    """
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the message is not JSON: {error}") from None
    return _record(found, "the message")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the message holds {name}, which is not JSON; write it as a text")


def _record(found: Any, where: str) -> Any:
    """Return the record that an object describes."""
    if not isinstance(found, dict) or found.get("record") not in RECORDS:
        raise ValueError(f"{where} must be one of the records {', '.join(RECORDS)}")
    record = RECORDS[found["record"]]
    hints = _hints(record)
    given = {name: value for name, value in found.items() if name != "record"}
    if given.keys() != hints.keys():
        raise ValueError(
            f"{where} is a {record.__name__}, which has {', '.join(hints)}; got {', '.join(given)}"
        )
    return record(
        **{name: _value(hints[name], given[name], f"{name} of {record.__name__}") for name in hints}
    )


@cache
def _hints(record: type) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in fields(record)}


def _value(hint: Any, given: Any, where: str) -> Any:
    """Return a value of the type of a field, or say what is wrong."""
    if get_origin(hint) in (Union, types.UnionType):
        return None if given is None else _value(get_args(hint)[0], given, where)
    if get_origin(hint) is np.ndarray:
        return _array(given, where)
    if get_origin(hint) is tuple:
        if not isinstance(given, list):
            raise ValueError(f"{where} must be a list")
        return tuple(_value(get_args(hint)[0], entry, where) for entry in given)
    if hint is float:
        return _float(given, where)
    if is_dataclass(hint) or hint is Any:
        return _record(given, where)
    if type(given) is not hint:  # True is an int, too
        raise ValueError(f"{where} must be of type {hint.__name__}, got {given!r:.60}")
    return given


def _float(given: Any, where: str) -> float:
    if isinstance(given, str) and given in NOT_FINITE:
        return NOT_FINITE[given]
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"{where} must hold numbers, got {given!r:.60}")
    return float(given)


def _array(given: Any, where: str) -> Array:
    parts = given if isinstance(given, dict) else {}
    shape, values = parts.get("shape"), parts.get("values")
    if (
        not isinstance(shape, list)
        or not isinstance(values, list)
        or not all(type(size) is int and size >= 0 for size in shape)
        or len(values) != int(np.prod(shape, dtype=int))
    ):
        raise ValueError(f"{where} must be an array: its shape, and as many values")
    return np.array([_float(value, where) for value in values], dtype=float).reshape(shape)
