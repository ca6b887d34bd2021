"""How a formula turns the columns of a DataFrame into y, X and groups.

The formula's language is that of `formulaic`, which is imported where it is used, since most
programs that import the package need none.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from laplace.arguments import and_more, as_labels, common_index, quoted
from laplace.families import Bernoulli, Binomial


@dataclass(frozen=True, eq=False)
class Rows:
    """What a formula makes of a DataFrame.

    Attributes
    ----------
    arguments : dict
        ``y``, ``X``, ``groups``, ``family``, ``trials`` and ``offset``, as for `laplace.fit`.
    design : Design
        How X was made.
    dropped : int
        Number of rows that were left out for missing values.
    """

    arguments: dict[str, Any]
    design: Design
    dropped: int


def read(
    formula: str,
    data: pd.DataFrame,
    groups: Any,
    *,
    family: str | None,
    offset: Any,
    missing: str,
    apart: bool = False,
) -> Rows:
    """Make y, X and groups of a DataFrame; the arguments are those of `laplace.fit_formula`.

    With `apart`, the rows are a part of a data set, and the design says which transformations
    depend on the other rows of the part.

    Raises
    ------
    TypeError, ValueError
        If the formula cannot be read, names a column that `data` does not have, or rows have
        missing values that are not to be dropped.
    """
    if not isinstance(data, pd.DataFrame):
        raise TypeError(f"data must be a DataFrame, got {type(data).__name__}")
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop', got {missing!r}")
    left, right = _sides(formula)
    outcome, trials = _outcome(left)
    used = {outcome, *([trials] if trials else []), *_columns(right)}
    used |= {name for name in (groups, offset) if isinstance(name, str)}
    _check_columns(used, data)
    labels = _values("groups", groups, data)
    shift = None if offset is None else _values("offset", offset, data)

    absent = data[sorted(used)].isna()
    if not isinstance(groups, str):
        absent["groups"] = absent.get("groups", False) | labels.isna()
    if shift is not None and not isinstance(offset, str):
        absent["offset"] = absent.get("offset", False) | shift.isna()
    rows = np.flatnonzero(absent.any(axis=1))
    if rows.size and missing == "raise":
        first = data.index[rows[:1]].tolist()[0]
        raise ValueError(
            f"missing values in row {first!r}{and_more(rows)} of data, in "
            f"{list(absent.columns[absent.any()])}; complete them, or leave the rows out with "
            "missing='drop'"
        )
    present = ~absent.any(axis=1)
    kept = _with_plain_text(data[present], _columns(right))
    if not apart:  # a level that does not occur is none, as in R; places agree on their levels
        kept = _with_levels_that_occur(kept, _columns(right))
    y, event = _numbers(outcome, kept[outcome], trials)
    if family == Binomial.name and not trials and not np.all(np.isin(y, (0.0, 1.0))):
        raise ValueError(
            f"family='binomial' needs a number of trials where {outcome!r} is not 0 or 1; write "
            f"'{outcome} / trials ~ ...' with the column of the trials"
        )
    import formulaic

    matrix = _read(lambda: formulaic.model_matrix(right, kept, na_action="raise"), right)
    _check_levels(matrix)
    stateful = _stateful(matrix.model_spec, kept) if apart else ()
    named_offset = offset if isinstance(offset, str) else None
    design = Design(matrix.model_spec, named_offset, stateful, event)
    return Rows(
        {
            "y": y,
            "X": pd.DataFrame(matrix),
            "groups": labels[present],
            "family": family or (Binomial.name if trials else Bernoulli.name),
            "trials": kept[trials] if trials else None,
            "offset": None if shift is None else shift[present],
        },
        design,
        rows.size,
    )


def named_columns(formula: str) -> list[str]:
    """Return the columns that a formula names, the outcome first.

    Raises
    ------
    TypeError, ValueError
        If it cannot be read.
    """
    left, right = _sides(formula)
    outcome, trials = _outcome(left)
    return [outcome, *([trials] if trials else []), *sorted(_columns(right))]


@dataclass(frozen=True)
class Design:
    """How a formula turns columns into X, remembered for new rows.

    Attributes
    ----------
    spec : formulaic.ModelSpec
        The formula with what it remembers of the data: levels, centres, knots.
    offset : str or None
        Column of the offset, where a column was named.
    stateful : tuple of str
        Transformations whose values depend on other rows, where that was asked for.
    event : str
        Which outcome counts as a 1, in words; empty where outcomes are numbers.
    """

    spec: Any
    offset: str | None
    stateful: tuple[str, ...] = ()
    event: str = ""

    @cached_property
    def coding(self) -> tuple[str, ...]:
        """How categories were coded: a text for each, with its levels."""
        texts = []
        for factor, (kind, state) in sorted(self.spec.encoder_state.items()):
            if kind.value == "categorical":
                levels = ", ".join(map(str, state["categories"]))
                texts.append(f"{factor} with the levels {levels}")
        return tuple(texts)

    def rows(self, data: pd.DataFrame, groups: Any, offset: Any) -> tuple[pd.DataFrame, Any, Any]:
        """Return X, groups and offset for new rows, the last two by column where named.

        Raises
        ------
        ValueError
            If a column is not there, or holds a missing value or a level that the fit has not
            seen.
        """
        offset = self.offset if offset is None else offset
        named = {name for name in (groups, offset) if isinstance(name, str)}
        covariates = set(map(str, self.spec.required_variables))
        _check_columns(named | covariates, data)
        from formulaic.errors import DataMismatchWarning

        with warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            plain = _with_plain_text(data, covariates)
            X = pd.DataFrame(_read(lambda: self.spec.get_model_matrix(plain), self.spec.formula))
        return (
            X,
            data[groups] if isinstance(groups, str) else groups,
            data[offset] if isinstance(offset, str) else offset,
        )


def _numbers(name: str, values: pd.Series, trials: str) -> tuple[Any, str]:
    """Return outcomes as numbers, and which of two levels is a 1, in words.

    Raises
    ------
    TypeError
        If they are text, of which nothing says what is the event, or a category of other than two
        levels.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        levels = values.cat.remove_unused_categories().cat.categories
        if len(values.cat.categories) == 2:
            levels = values.cat.categories
        if len(levels) != 2:
            raise TypeError(
                f"column {name!r} of data has {len(levels)} levels, {quoted(list(levels)[:5])}; an "
                "outcome has two, of which the second is the event"
            )
        one = (values == levels[1]).to_numpy(dtype=float)
        return pd.Series(one, index=values.index), f"{name} is {levels[1]!s}, not {levels[0]!s}"
    if pd.api.types.is_string_dtype(values.dtype) and not trials:
        seen = [v for v in pd.unique(values)[:3] if isinstance(v, str)]
        if seen:
            raise TypeError(
                f"column {name!r} of data holds text, such as {seen[0]!r}: say which is the event, "
                f"by data[{name!r}] = data[{name!r}] == {seen[-1]!r} before, or make it a category "
                "whose second level is the event"
            )
    return values, ""


def _with_levels_that_occur(data: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Return categories without levels that no row has."""
    unused = {
        name: data[name].cat.remove_unused_categories()
        for name in names
        if isinstance(data[name].dtype, pd.CategoricalDtype)
        and len(data[name].cat.categories) > data[name].nunique()
    }
    return data.assign(**unused) if unused else data


def _check_levels(matrix: Any) -> None:
    """Refuse a category of one level, which would leave no column beside an intercept."""
    if "Intercept" not in matrix.columns:
        return
    for factor, (kind, state) in sorted(matrix.model_spec.encoder_state.items()):
        if kind.value == "categorical" and len(state["categories"]) == 1:
            raise ValueError(
                f"column {factor!r} of data has one level only, {state['categories'][0]!r}, in the "
                "rows that are used, so that it tells nothing; leave it out of the formula"
            )


def _stateful(spec: Any, data: pd.DataFrame) -> tuple[str, ...]:
    """Name the transformations that give a row other values without some of the other rows."""
    import formulaic

    named = []
    for factor, (kind, _) in spec.encoder_state.items():
        if kind.value == "categorical" or factor in data.columns:
            continue
        if spec.transform_state.get(factor):  # as centres and knots
            named.append(factor)
            continue
        half = data.iloc[::2]  # others, such as x - x.mean(), are found by trying
        whole, part = (formulaic.model_matrix(f"0 + {factor}", d) for d in (data, half))
        if not np.array_equal(np.asarray(whole)[::2], np.asarray(part)):
            named.append(factor)
    return tuple(sorted(named))


def _sides(formula: Any) -> tuple[str, str]:
    """Split a formula at its tilde."""
    if not isinstance(formula, str):
        raise TypeError(f"formula must be a string, got {type(formula).__name__}")
    left, tilde, right = formula.partition("~")
    if not tilde or not left.strip() or not right.strip() or "~" in right:
        raise ValueError(f"formula must read 'outcome ~ covariates', got {formula!r}")
    if "|" in right:
        raise ValueError(
            f"formula must not hold '|', got {formula!r}; random intercepts, as (1 | ward), are "
            "asked for by groups='ward'"
        )
    return left.strip(), right.strip()


def _outcome(left: str) -> tuple[str, str]:
    """Return the columns of outcomes and of trials, or nothing; in backticks, a name is any."""
    column = "(`[^`]+`|[^`/]+)"
    sides = re.fullmatch(f"{column}(?:/{column})?", left.replace("` ", "`").replace(" `", "`"))
    if sides is None:
        raise ValueError(
            f"formula must have 'outcome' or 'successes / trials' on the left, got {left!r}"
        )
    outcome, trials = ((name or "").strip().strip("`") for name in sides.groups())
    return outcome, trials


def _columns(right: str) -> set[str]:
    """Return the columns that the right side names."""
    import formulaic

    variables = _read(lambda: formulaic.Formula(right).required_variables, right)
    return set(map(str, variables))


def _check_columns(names: set[str], data: pd.DataFrame) -> None:
    absent = sorted(names - set(data.columns))
    if absent:
        raise ValueError(
            f"data has no column {', '.join(map(repr, absent))}; it has {list(data.columns)}"
        )
    twice = sorted(names & set(data.columns[data.columns.duplicated()]))
    if twice:
        raise ValueError(f"data has several columns named {', '.join(map(repr, twice))}")


def _with_plain_text(data: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Return text columns as objects: formulaic knows no other type of text in every version."""
    types = {name: data[name].dtype for name in names}
    text = [
        name
        for name, dtype in types.items()
        if pd.api.types.is_string_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype)
    ]
    return data.astype(dict.fromkeys(text, object))


def _values(name: str, given: Any, data: pd.DataFrame) -> pd.Series:
    """Return a column by its name, or values of the same length, with the rows' labels."""
    if isinstance(given, str):
        return data[given]
    if name == "groups":
        values: Any = as_labels(given).to_flat_index()
    else:
        values = np.asarray(given)
        if values.ndim != 1:
            raise ValueError(f"{name} must have one dimension, got shape {values.shape}")
    if len(values) != len(data):
        raise ValueError(f"{name} has length {len(values)}, but data has {len(data)} rows")
    common_index(data=data, **{name: given})
    return pd.Series(values, index=data.index)


def _read(evaluate: Any, formula: Any) -> Any:
    """Evaluate what formulaic does with a formula; word its refusal."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    try:
        return evaluate()
    except (FormulaicError, DataMismatchWarning, ValueError, SyntaxError) as error:
        words = re.sub("\x1b\\[[0-9;]*m|[⧛⧚]", "", str(error))  # without colours
        raise ValueError(f"formula {str(formula)!r} cannot be used: {words}") from error
