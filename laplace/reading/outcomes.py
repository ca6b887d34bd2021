"""What the left side of a formula says: outcomes as numbers, trials, and which outcome is a 1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from laplace.arguments import quoted, shown
from laplace.later import pd
from laplace.reading.frames import Columns
from laplace.reading.parse import FormulaText, without_backticks
from laplace.tables import plain


class Outcomes(NamedTuple):
    """The left side of a formula.

    Attributes
    ----------
    y : Series
        Numbers.
    trials : Series or None
        Numbers of trials, where the formula names them.
    event : str
        Which outcome is a 1, in words; empty where outcomes are numbers.
    """

    y: pd.Series
    trials: pd.Series | None
    event: str


def outcomes(columns: Columns, text: FormulaText, *, apart: bool) -> Outcomes:
    """Evaluate the left side of a formula.

    Parameters
    ----------
    columns : Columns
        Of the rows that are used.
    text : FormulaText
        The formula.
    apart : bool
        Whether these rows are a part of a data set, so that the levels that occur say nothing.

    Raises
    ------
    TypeError, ValueError
        If outcomes are neither numbers nor of two kinds of which it is known which is the event.
    """
    values = plain(columns.column("the left side of the formula,", text.outcome))
    name = without_backticks(text.outcome)
    if text.trials:
        trials = plain(columns.column("the trials of the formula,", text.trials, single=True))
        return Outcomes(values, trials, "")
    if values.dtype == bool:
        return Outcomes(values, None, "" if name in columns.data.columns else name)
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = _two_levels(name, values, apart)
        one = pd.Series((values == levels[1]).to_numpy(dtype=float), index=values.index)
        return Outcomes(one, None, f"{name} is {levels[1]!s}, not {levels[0]!s}")
    _refuse_text(name, values)
    return Outcomes(values, None, "")


def _two_levels(name: str, values: pd.Series, apart: bool) -> Any:
    """Return the two levels of a category, of which the second is the event."""
    levels = values.cat.categories
    if len(levels) != 2 and not apart:
        levels = values.cat.remove_unused_categories().cat.categories
    if len(levels) != 2:
        raise TypeError(
            f"column {shown(name)} of data has {len(levels)} levels, {quoted(list(levels))}; an "
            "outcome has two, of which the second is the event"
        )
    return levels


def inside(name: str) -> str:
    """Return what stands in I(), or the expression itself."""
    return name[2:-1] if name.startswith("I(") and name.endswith(")") else name


def _refuse_text(name: str, values: pd.Series) -> None:
    """Refuse text, of which nothing says what is the event."""
    if values.dtype != object and not pd.api.types.is_string_dtype(values.dtype):
        return
    seen = [value for value in pd.unique(values)[:3] if isinstance(value, str)]
    if seen:
        raise TypeError(
            f"column {shown(name)} of data holds text, such as {shown(seen[0])}: say which is the "
            f"event, by I({inside(name)} == {shown(max(seen))}) on the left of the formula, or "
            "make it a category whose second level is the event"
        )


def needs_trials(y: pd.Series, weighted: bool) -> bool:
    """Whether outcomes are other numbers than 0 and 1, and no proportions with weights."""
    values = y.to_numpy(dtype=float)
    if weighted:
        return not bool(np.all((values >= 0.0) & (values <= 1.0)))
    return not bool(np.all(np.isin(values, (0.0, 1.0))))
