"""Values that depend on other rows: new rows, and those of another place, would have others."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.later import pd
from laplace.reading.frames import Columns, parsed
from laplace.tables import is_number

# Functions that work row by row.
BY_ROW = frozenset(["I", "log", "log10", "log2", "exp", "exp10", "exp2"])
# Values are the same up to rounding, relative to the largest of them.
SAME = 1e-12


def not_remembered(
    expressions: Iterable[str], whole: Columns, state: Mapping[str, Any]
) -> tuple[str, ...]:
    """Name the expressions that give a row other values where some of the other rows are gone.

    Parameters
    ----------
    expressions : iterable of str
        Names of columns are in backticks, or are alone.
    whole : Columns
        All rows.
    state : mapping
        What formulaic remembers of the rows, as centres and knots, by the call.
    """
    return _named(text for text in expressions if _depends_on_rows(text, whole, state))


def made_of_rows(
    expressions: Iterable[str], whole: Columns, state: Mapping[str, Any]
) -> tuple[str, ...]:
    """Name the expressions that take constants from these rows, remembered for others or not.

    The parameters are those of `not_remembered`; what the state holds comes from elsewhere.
    """
    return _named(
        text
        for text in expressions
        if _takes_constants(text, whole, state) or _depends_on_rows(text, whole, state)
    )


def _named(expressions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(expressions)))


def _takes_constants(expression: str, whole: Columns, state: Mapping[str, Any]) -> bool:
    """Whether formulaic has something to remember of these rows that it did not know."""
    if whole.is_column(expression) or not _may_depend_on_rows(expression, state):
        return False
    known = _copied(state)
    _values(expression, whole, known)
    return any(of for call, of in known.items() if not state.get(call))


def _depends_on_rows(expression: str, whole: Columns, state: Mapping[str, Any]) -> bool:
    """Whether a row has another value where some of the other rows are gone, or more are there."""
    if whole.is_column(expression) or not _may_depend_on_rows(expression, state):
        return False
    together = _values(expression, whole, _copied(state))
    if np.ndim(together) == 0 or len(together) != len(whole.data):
        return False  # formulaic says so
    for part in _parts(expression, whole):
        try:
            some = Columns(whole.data.iloc[part], whole.caller)
            alone = _values(expression, some, _copied(state))
        except ValueError:  # it cannot do without the others
            return True
        if np.shape(alone) != np.shape(together[part]) or not _same(alone, together[part]):
            return True
    return any(
        _changes(expression, more, together, state) for more in _with_others(expression, whole)
    )


def _changes(expression: str, more: Columns, alone: Any, state: Mapping[str, Any]) -> bool:
    """Whether the first rows have other values than alone."""
    try:
        together = _values(expression, more, _copied(state))
    except ValueError:  # the rows that are added are made, and need not be any that can be
        return False
    if np.shape(together)[:1] != (len(more.data),):
        return False
    return not _same(together[: len(alone)], alone)


def _with_others(expression: str, whole: Columns) -> Iterator[Columns]:
    """Return the rows with others, whose values are all above these, then all below.

    A column may be constant here, as a property of a place is at that place: then no part of the
    rows tells its mean from its values.
    """
    names = sorted(whole.named(expression)[0])
    for sign in (1, -1):
        others = whole.data.assign(**{name: _other(whole.data[name], sign) for name in names})
        yield Columns(pd.concat([whole.data, others]), whole.caller)


def _other(values: pd.Series, sign: int) -> Any:
    """Return a column with other values, of the same kind."""
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        moved = np.where(codes < 0, -1, (codes + sign) % max(len(dtype.categories), 1))
        return pd.Categorical.from_codes(moved, dtype=dtype)
    if pd.api.types.is_bool_dtype(dtype):
        return ~values
    if dtype.kind in "iufmM":
        unit: Any = pd.Timedelta(days=1) if dtype.kind in "mM" else 1
        return values + sign * (unit + (values.max() - values.min()))
    if pd.api.types.is_string_dtype(dtype):
        return values + "~" if sign > 0 else "!" + values
    return values


def _parts(expression: str, whole: Columns) -> list[NDArray[np.intp]]:
    """Return parts of the rows in which what is computed across them is likely to be another."""
    rows = np.arange(len(whole.data))
    parts = [rows[::2], rows[1::2]]
    for name in whole.named(expression)[0]:
        values = whole.data[name]
        if is_number(values):
            middle = values.median()
            parts += [np.flatnonzero(values > middle), np.flatnonzero(values < middle)]
        elif len(values):
            first = np.asarray((values == values.iloc[0]).fillna(False), dtype=bool)
            parts += [np.flatnonzero(first), np.flatnonzero(~first)]
    return [part for part in parts if len(part)]


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is remembered, to which an evaluation may add."""
    return copy.deepcopy(dict(state))


def _values(expression: str, columns: Columns, known: dict[str, Any]) -> Any:
    """Return what an expression gives as an array; what it remembers is added to what is known."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = columns.evaluate(expression, known)
    values = getattr(values, "__wrapped__", values)
    if isinstance(values, dict):  # a column each
        return np.column_stack([np.asarray(column) for column in values.values()])
    dtype = getattr(values, "dtype", None)
    return np.asarray(values, dtype=object if isinstance(dtype, pd.CategoricalDtype) else None)


def _same(one: Any, other: Any) -> bool:
    """Whether two arrays hold the same up to rounding, missing values included."""
    same = (one == other) | (pd.isna(one) & pd.isna(other))
    if one.dtype.kind == other.dtype.kind == "f" and not np.all(same):
        with np.errstate(all="ignore"):
            largest = np.max(np.abs(other), initial=0.0, where=np.isfinite(other))
            same |= np.abs(one - other) <= SAME * largest
    return bool(np.all(same))


def _may_depend_on_rows(expression: str, state: Mapping[str, Any]) -> bool:
    """Whether an expression calls a function that is not known to work row by row.

    A call whose constants are remembered is one that is known to.
    """
    nodes = list(ast.walk(parsed(expression)))
    functions = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Subscript):
            return True
        if isinstance(node, ast.Attribute) and id(node) not in functions:
            return True
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            function = text.removeprefix("np.")
            if function in BY_ROW or (
                text != function and isinstance(getattr(np, function, None), np.ufunc)
            ):
                continue
            if not state.get(ast.unparse(node)):
                return True
    return False
