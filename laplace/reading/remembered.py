"""Transformations that do not remember the rows of a fit: new rows would have other values."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from laplace.later import pd
from laplace.reading.frames import Caller, Columns, parsed
from laplace.reading.terms import factors
from laplace.tables import is_number

# Functions that work row by row.
BY_ROW = frozenset(["I", "log", "log10", "log2", "exp", "exp10", "exp2"])


def not_remembered(
    spec: Any, data: pd.DataFrame, caller: Caller, *, remembered: bool
) -> tuple[str, ...]:
    """Name the transformations that give a row other values without some of the other rows.

    Those whose state formulaic remembers, as centres and knots, are named where that is asked for.
    """
    whole = Columns(data, caller)
    named = []
    for factor in factors(spec.formula):
        name = factor.expr
        if factor.eval_method.value == "lookup" or name in data.columns:
            continue
        if spec.transform_state.get(name) and not name.startswith("C("):
            if remembered:
                named.append(name)
            continue
        if _may_depend_on_rows(name) and _depends_on_rows(name, whole):
            named.append(name)
    return tuple(sorted(named))


def _depends_on_rows(expression: str, whole: Columns) -> bool:
    """Whether an expression has other values for a row where some of the other rows are gone."""
    together = _plain_values(whole.evaluate(expression))
    if np.ndim(together) == 0 or len(together) != len(whole.data):
        return False  # formulaic says so
    rows = np.arange(len(whole.data))
    parts = [rows[::2], rows[1::2]]
    for name in whole.named(expression)[0]:
        values = whole.data[name]
        if is_number(values):
            middle = values.median()
            parts += [np.flatnonzero(values > middle), np.flatnonzero(values < middle)]
    for part in (part for part in parts if len(part)):
        try:
            alone = _plain_values(Columns(whole.data.iloc[part], whole.caller).evaluate(expression))
        except ValueError:  # it cannot do without the others
            return True
        if np.shape(alone) != np.shape(together[part]) or not _same(alone, together[part]):
            return True
    return False


def _plain_values(values: Any) -> Any:
    """Return what an expression gives as an array; categories by their values."""
    values = getattr(values, "__wrapped__", values)
    dtype = getattr(values, "dtype", None)
    return np.asarray(values, dtype=object if isinstance(dtype, pd.CategoricalDtype) else None)


def _same(one: Any, other: Any) -> bool:
    """Whether two arrays hold the same, missing values included."""
    return bool(np.all((one == other) | (pd.isna(one) & pd.isna(other))))


def _may_depend_on_rows(expression: str) -> bool:
    """Whether an expression calls a function that is not known to work row by row."""
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
            return True
    return False
