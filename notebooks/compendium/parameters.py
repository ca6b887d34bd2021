"""The parameters of a notebook: from what is given to what the notebook declares, or a refusal.

A notebook declares them in one cell, as in ``nodes: list[int] = [1, 5]  # numbers of nodes``, and
calls `check` in the next one. The runner, `notebooks/run.py`, calls `read` before it starts.
"""

import ast
import difflib
import math
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import yaml

__all__ = ["ParameterError", "check", "read", "unknown"]

# What papermill writes above the values that it is given, and what it adds when it is asked to.
INJECTED = "# Parameters\n"
ADDED = {"PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"}


class ParameterError(ValueError):
    """A value is not of the declared type, or there is no such parameter."""


def _int(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        return {"true": True, "false": False}[value.lower()]
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


SCALARS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "int": ("a whole number", _int),
    "float": ("a finite number", _float),
    "bool": ("true or false", _bool),
    "str": ("text", _str),
}


def _items(value: Any) -> list[Any]:
    """Give the items of a list, of the text of one, or of one value alone."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str):
        return [value]
    text = value.strip()
    if not text.startswith("["):
        text = f"[{text}]"
    # This reader leaves every item the text that it is; the declared type says what it means.
    items = yaml.load(text, Loader=yaml.BaseLoader)
    if not isinstance(items, list):
        raise ValueError(value)
    return items


def read(value: Any, kind: str) -> Any:
    """Give a value as the declared type, or refuse it.

    Parameters
    ----------
    value : object
        A value, or text that means one. A list is written ``1,2,5`` or ``[1, 2, 5]``.
    kind : str
        The annotation in the notebook: ``int``, ``float``, ``bool``, ``str``, or ``list`` of one
        of these, for instance ``list[int]``.

    Returns
    -------
    int, float, bool, str or list
        The value.

    Raises
    ------
    ParameterError
        With what was expected, for instance ``"must be a whole number (int), not '2.5'"``.

    Examples
    --------
    >>> read("[1, 5]", "list[int]"), read("1e-3", "float"), read(2, "float")
    ([1, 5], 0.001, 2.0)
    """
    element = re.fullmatch(r"list\[(\w+)\]", kind)
    name = element[1] if element else kind
    if name not in SCALARS:
        raise ParameterError(
            f"is declared as {kind!r}, which cannot be given here; edit a copy instead"
        )
    words, convert = SCALARS[name]
    try:
        if not element:
            return convert(value)
        return [convert(item) for item in _items(value)]
    except (ValueError, KeyError, OverflowError, yaml.YAMLError):
        what = f"a list of which each item is {words}" if element else words
        raise ParameterError(f"must be {what} ({kind}), not {value!r}") from None


def unknown(name: str, known: Iterable[str], notebook: str = "This notebook") -> ParameterError:
    """Say that a notebook has no such parameter, and which it has.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        The parameters that there are.
    notebook : str
        What to call the notebook.

    Returns
    -------
    ParameterError
        To be raised.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return ParameterError(
        f"{notebook} has no parameter {name!r}{hint}\nIt has: {', '.join(known)}."
    )


def _injected(cells: Iterable[str]) -> list[str]:
    """Give the names that papermill has set, from the sources of the cells that were run."""
    return [
        target.id
        for source in cells
        if source.startswith(INJECTED)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]


def check(namespace: MutableMapping[str, Any]) -> None:
    """Make every parameter of a notebook what it is declared as, or refuse it.

    However a value is given, it may arrive as text: papermill's ``-p nodes "[1, 5]"`` does, and so
    does ``1e-3`` in YAML.

    Parameters
    ----------
    namespace : dict
        The ``globals()`` of the notebook, in the cell after the parameters.

    Raises
    ------
    ParameterError
        If a value is of another type, or papermill was given a parameter that is not declared.

    Examples
    --------
    >>> notebook = {"__annotations__": {"tau": float}, "tau": "1e-3"}
    >>> check(notebook)
    >>> notebook["tau"]
    0.001
    """
    declared = namespace["__annotations__"]
    for name in _injected(namespace.get("In", [])):
        if name not in declared and name not in ADDED:
            raise unknown(name, declared)
    for name, annotation in declared.items():
        # list[int] has a name too, but only that of the list
        simple = type(annotation) is type
        kind = annotation.__name__ if simple else str(annotation)
        try:
            namespace[name] = read(namespace[name], kind)
        except ParameterError as refusal:
            raise ParameterError(f"{name} {refusal}.") from None
