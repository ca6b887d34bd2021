"""How a formula turns the columns of a table into y, X and groups.

The language of the covariates is that of `formulaic`, which is imported where it is used, since
most programs that import the package need none.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import (
    RowNames,
    and_more,
    as_vector,
    check_mask,
    plain_words,
    quoted,
    shown,
)
from laplace.families import Bernoulli, Binomial
from laplace.later import pd
from laplace.reading.cells import (
    Cells,
    check_splines,
    column_of,
    empty_cells_of,
    left_out,
    levels_of,
)
from laplace.reading.frames import (
    NOBODY,
    Caller,
    Columns,
    check_covariate,
    check_literals,
    check_missing,
    check_unique,
    hint,
    names_in,
    with_levels_that_occur,
)
from laplace.reading.labels import as_rows, columns_of_groups, keys_of, labels_of
from laplace.reading.outcomes import needs_trials, outcomes
from laplace.reading.parse import (
    parse,
    with_quoted_names,
    without_backticks,
)
from laplace.reading.remembered import made_of_rows, not_remembered
from laplace.reading.terms import expressions, lookups
from laplace.tables import as_frame, has_missing, is_number, plain, with_plain_columns


@dataclass(frozen=True, eq=False)
class Rows:
    """What a formula makes of a table.

    Attributes
    ----------
    arguments : dict
        ``y``, ``X``, ``names``, ``groups``, ``family``, ``trials``, ``offset`` and ``weights``, as
        for `laplace.fit`.
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
    data: Any,
    groups: Any,
    *,
    family: str | None,
    offset: Any,
    weights: Any,
    missing: str,
    empty_cells: str,
    caller: Caller = NOBODY,
    apart: bool = False,
) -> Rows:
    """Make y, X and groups of a table; the arguments are those of `laplace.fit_formula`.

    With `apart`, the rows are a part of a data set, and the design says which transformations
    depend on the other rows of the part.

    Raises
    ------
    TypeError, ValueError
        If the formula cannot be read, names a column that `data` does not have, or rows have
        missing values that are not to be dropped.
    """
    for name, value in (("missing", missing), ("empty_cells", empty_cells)):
        if value not in ("raise", "drop"):
            raise ValueError(f"{name} must be 'raise' or 'drop', got {shown(value)}")
    data = as_frame(data)
    names = [name for name in data.columns if isinstance(name, str)]
    text = parse(formula, names)
    given = {
        name: with_quoted_names(value, names) if isinstance(value, str) else value
        for name, value in (("offset", offset), ("weights", weights))
    }
    written = [text.outcome, text.trials, text.right, *text.offsets]
    written += [value for value in given.values() if isinstance(value, str)]
    data = _with_columns_of(caller, data, written)
    columns = Columns(data, caller)
    keys = keys_of(text, groups, data)
    sides = [text.outcome, *([text.trials] if text.trials else []), *text.offsets]
    sides += [value for value in given.values() if isinstance(value, str)]
    terms, used, covariates, named = _terms(text.right, columns, sides, keys)
    factors = expressions(terms)
    needed = [*sides, *factors]
    check_unique(used, data)
    labels = labels_of(keys, groups, data)
    values = {
        name: as_rows(name, value, data)
        for name, value in given.items()
        if value is not None and not isinstance(value, str)
    }

    absent = _absent(columns, needed, used, values)
    absent += [(key, data[key].isna().to_numpy()) for key in keys]
    if not keys:
        absent.append(("groups", labels.isna().to_numpy()))
    if missing == "raise":
        check_missing(absent, data.index)
    present = ~np.any([of for _, of in absent], axis=0)
    computed = [part for part in needed if not columns.is_column(part)]
    lost = _lost(data[present], used, computed, caller) if computed else []
    if lost:
        if missing == "raise":
            check_missing(lost, data.index[present])
        present[np.flatnonzero(present)[np.any([of for _, of in lost], axis=0)]] = False
    everyone = bool(present.all())
    kept = data if everyone else data[present]
    kept = with_plain_columns(kept, used)
    if not apart:  # a level that does not occur is none, as in R; places agree on their levels
        kept = with_levels_that_occur(kept, sorted(covariates))
    here = Columns(kept, caller)
    if not len(kept):
        empty = [name for name, of in absent if of.all()]
        raise ValueError(
            "data has no rows without missing values that the formula needs"
            + (f"; {quoted(empty)} has none at all" if empty else "")
        )
    if not apart:  # another place may have what no row here has
        for part in needed:
            check_literals(part, here)
    y, trials, event = outcomes(here, text, apart=apart)
    if trials is not None and family not in (None, Binomial.name):
        raise ValueError(
            f"family={shown(family)} has no trials, but the left side has 'successes / trials'; "
            "for a rate of counts write 'counts ~ ... + offset(log(exposure))'"
        )
    state: dict[str, Any] = {}
    shift = (
        None if given["offset"] is None else _kept("offset", given, values, here, present, state)
    )
    times = None if given["weights"] is None else _kept("weights", given, values, here, present)
    if family == Binomial.name and trials is None and needs_trials(y, times is not None):
        # not every door takes weights: they are named to those alone who gave some
        taken = "" if times is None else "; weights are numbers of trials where it is a proportion"
        raise ValueError(
            f"family='binomial' needs a number of trials where {shown(text.outcome)} is not 0 or "
            "1; write 'successes / trials ~ ...' or 'cbind(successes, failures) ~ ...' with their "
            f"columns{taken}"
        )
    for term in text.offsets:
        added = _offset_of(here, term, state)
        shift = added if shift is None else shift + added

    for factor in lookups(terms):
        if factor in kept.columns and not is_number(values_of := kept[factor]):
            check_covariate(factor, values_of)
    matrix = _model_matrix(terms, kept, caller)
    X = pd.DataFrame(getattr(matrix, "__wrapped__", matrix), copy=False)
    _check_levels(matrix)
    _check_names(matrix.model_spec, X)
    out = None
    if not apart:  # another place may have the cells that are empty here
        check_splines(X, matrix.model_spec)
        cells = empty_cells_of(matrix.model_spec, kept)
        out = left_out(X, cells, matrix.model_spec, drop=empty_cells == "drop")
    elif empty_cells == "drop":
        raise ValueError(
            "empty_cells='drop' is for the rows of one place, as several may have different empty "
            "cells; leave the interaction out of the formula, or merge levels"
        )
    if out is not None:
        X = X.drop(columns=list(out.columns))
    spec = matrix.model_spec
    shifts = [*text.offsets, *([given["offset"]] if isinstance(offset, str) else [])]
    design = Design(
        spec=spec,
        offset=given["offset"] if isinstance(offset, str) else None,
        offsets=text.offsets,
        state=state,
        has_own_offset=offset is not None and not isinstance(offset, str),
        caller=caller.only(named),
        keys=keys,
        stateful=not_remembered(factors, here, spec.transform_state),
        stateful_offsets=not_remembered(shifts, here, state),
        made_of_rows=made_of_rows(needed, here, {}) if apart else (),
        event=event,
        cells=out,
    )
    return Rows(
        {
            "y": y,
            "X": X.to_numpy(dtype=float),
            "names": list(map(str, X.columns)),
            "groups": labels if everyone else labels[present],
            "family": family or (Bernoulli.name if trials is None else Binomial.name),
            "trials": trials,
            "offset": shift,
            "weights": times,
        },
        design,
        len(data) - len(kept),
    )


def named_columns(formula: str) -> list[str]:
    """Return the columns that a formula names, before there are any to look at.

    Raises
    ------
    TypeError, ValueError
        If it cannot be read, or asks for all other columns.
    """
    import formulaic

    text = parse(formula)
    terms = _read(lambda: formulaic.Formula(text.right), text.right)
    sides = [text.outcome, *([text.trials] if text.trials else []), *text.offsets]
    names = [name for side in sides for name in sorted(names_in(side))]
    names += sorted({name for factor in expressions(terms) for name in names_in(factor)})
    return list(dict.fromkeys([*names, *text.groups]))


@dataclass(frozen=True, eq=False)
class Design:
    """How a formula turns columns into X, remembered for new rows.

    Attributes
    ----------
    spec : formulaic.ModelSpec
        The formula with what it remembers of the data: levels, centres, knots.
    offset : str or None
        The offset of the fit, where a column or an expression was given.
    offsets : tuple of str
        Offsets that are terms of the formula.
    has_own_offset : bool
        Whether the fit had an offset that was given row by row, so that new rows need theirs.
    caller : Caller
        Functions and variables of the calling code that the formula names.
    keys : tuple of str
        Columns whose combinations are the groups.
    state : dict
        What the transformations in offsets remember of the data, by the call.
    stateful, stateful_offsets : tuple of str
        Covariates and offsets whose values depend on other rows, and that do not remember them.
    made_of_rows : tuple of str
        For a part of a data set, all that takes constants from its rows, remembered or not: also
        outcomes, trials and weights.
    event : str
        Which outcome counts as a 1, in words; empty where outcomes are numbers.
    cells : Cells or None
        Columns that were left out, as no row has their combination of levels.
    """

    spec: Any
    offset: str | None
    offsets: tuple[str, ...] = ()
    has_own_offset: bool = False
    caller: Caller = NOBODY
    keys: tuple[str, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    stateful: tuple[str, ...] = ()
    stateful_offsets: tuple[str, ...] = ()
    made_of_rows: tuple[str, ...] = ()
    event: str = ""
    cells: Cells | None = None

    @cached_property
    def coding(self) -> tuple[str, ...]:
        """How categories were coded, in a text for each, with its levels."""
        texts = [f"the event {self.event}"] if self.event else ["outcomes that are numbers"]
        for factor, levels in sorted(levels_of(self.spec).items()):
            texts.append(f"{factor} with the levels {', '.join(map(str, levels))}")
        return tuple(texts)

    @cached_property
    def terms(self) -> dict[str, list[str]]:
        """Columns of X by the term of the formula that made them; the intercept is none."""
        dropped = () if self.cells is None else self.cells.columns
        of = {str(term): [name for name in columns if name not in dropped]
              for term, _, columns in self.spec.structure}  # fmt: skip
        return {term: names for term, names in of.items() if names and term != "1"}

    def rows(self, data: Any, groups: Any, offset: Any) -> tuple[pd.DataFrame, Any, Any]:
        """Return X, groups and offset for new rows, the last two by column where named.

        The offset is None where there is none, and where that of the fit is not known for new
        rows: see `has_own_offset`.

        Raises
        ------
        ValueError
            If a column is not there, or holds a missing value or a level that the fit has not
            seen; if a transformation does not remember the rows of the fit; or if rows have a
            combination of levels that no row of the fit had.
        """
        data = as_frame(data)
        if self.stateful:
            raise ValueError(_of_all_rows(self.stateful, "formula", "make the column before"))
        columns = Columns(data, self.caller)
        factors = [factor for factor in expressions(self.spec.formula)]
        if isinstance(offset, str):
            offset = with_quoted_names(offset, map(str, data.columns))
        added = [] if offset is not None else [*self.offsets, *filter(None, [self.offset])]
        added += [offset] if isinstance(offset, str) else []
        used = {name for text in [*factors, *added] for name in columns.named(text)[0]}
        keys = columns_of_groups(groups, data)
        if set(keys) == set(self.keys):
            keys = self.keys  # whose labels are in this order
        check_unique(used | set(keys), data)
        absent = {
            without_backticks(factor): columns.missing(factor) for factor in (*factors, *added)
        }
        bad = np.flatnonzero(np.any(list(absent.values()), axis=0)) if absent else np.empty(0)
        if bad.size:
            where = [factor for factor, of in absent.items() if np.any(of)]
            raise ValueError(
                f"X has missing values in {RowNames(data.index)(bad[0])}{and_more(bad)}, in "
                f"{quoted(where)}; predict complete rows"
            )
        kept = with_plain_columns(data, used)
        kept = self._as_fitted(kept)
        # formulaic notes in it what it meets, also of rows that are refused
        X = pd.DataFrame(_model_matrix(copy.deepcopy(self.spec), kept, self.caller))
        if self.cells is not None:
            X = self.cells.kept(X)
        labels = groups if not keys else labels_of(keys, groups, data)
        return X, labels, self._offset(offset, Columns(kept, self.caller))

    def _offset(self, given: Any, columns: Columns) -> Any:
        """Return the offset of new rows: what is given, or what the fit had; None if not known."""
        if given is not None and not isinstance(given, str):
            return given
        if given is None and self.has_own_offset:
            return None
        terms = [given] if given is not None else [*self.offsets, *filter(None, [self.offset])]
        stateful = {*self.stateful_offsets} & {*terms}
        if given is not None:
            stateful |= {*made_of_rows(terms, columns, self.state)}
        if stateful:
            raise ValueError(
                _of_all_rows(sorted(stateful), "offset", "give the values of these rows as offset")
            )
        parts = [_offset_of(columns, term, copy.deepcopy(self.state)) for term in terms]
        return sum(parts[1:], parts[0]) if parts else None

    def _as_fitted(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return columns of the kind that they had in the fit; refuse levels that it has not seen.

        Raises
        ------
        TypeError, ValueError
            If a number is text now, or a level is new.
        """
        coded = {}
        for factor, levels in levels_of(self.spec).items():
            name = column_of(factor, data)
            if name is None:
                continue
            values = data[name].astype(object).map({level: level for level in levels})
            new = np.flatnonzero(values.isna())
            if new.size:
                raise ValueError(
                    f"column {shown(name)} has the level {shown(data[name].iloc[new[0]])} in "
                    f"{RowNames(data.index)(new[0])}{and_more(new)}, which the rows of the fit do "
                    f"not have; they have {quoted(list(levels))}"
                )
            coded[name] = pd.Categorical(values, categories=levels)
        for name in lookups(self.spec.formula):
            if name not in coded and not is_number(data[name]):
                raise TypeError(
                    f"column {shown(name)} holds {shown(data[name].iloc[0])}, but numbers in the "
                    "rows of the fit"
                )
        return data.assign(**coded) if coded else data


def _of_all_rows(named: Sequence[str], of: str, remedy: str) -> str:
    """Say that new rows would have other values of what is computed across rows."""
    return (
        f"{quoted(named)} of the {of} takes its values from all rows together: new rows would have "
        "others; write center(x) or scale(x), which remember the rows of the fit, or "
        f"{remedy}"
    )


def _absent(
    columns: Columns, needed: list[str], used: set[str], values: dict[str, pd.Series]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return where what a formula needs is missing, by row; nothing where nothing is."""
    absent = [(name, value.isna().to_numpy()) for name, value in values.items()]
    if any(map(has_missing, (columns.data[name] for name in used))):
        absent += [(without_backticks(text), columns.missing(text)) for text in needed]
    return absent


def _lost(
    data: pd.DataFrame, used: set[str], computed: list[str], caller: Caller
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return where a computation has no value although its columns have, as log(-1)."""
    if not len(data):
        return []
    columns = Columns(with_plain_columns(data, used), caller)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [(text, columns.lost(text)) for text in computed]
    return [(text, of) for text, of in found if of.any()]


# Terms and factors --------------------------------------------------------------------------------


class Named(NamedTuple):
    """The covariates of a formula as terms, and what it names.

    Attributes
    ----------
    terms : formulaic.Formula
        The covariates.
    used, covariates : set of str
        All columns that are needed, and those of the covariates.
    of_caller : set of str
        Names of the calling code.
    """

    terms: Any
    used: set[str]
    covariates: set[str]
    of_caller: set[str]


def _terms(right: str, columns: Columns, sides: list[str], keys: Sequence[str]) -> Named:
    """Read the right side, and find the names that all sides need."""
    import formulaic

    used, named = set(keys), set()
    for side in sides:
        of_data, of_caller = columns.named(side)
        used |= of_data
        named |= of_caller
    context = {
        "__formulaic_variables_available__": [
            c for c in columns.data.columns if c not in used and isinstance(c, str)
        ],
        "__formulaic_variables_used_lhs__": [],
    }
    terms = _read(lambda: formulaic.Formula(right, _context=context), right)
    asked = {name for name in ("0", "1", "") if f"`{name}`" in right}
    if re.search(r"(?<![\w.`])\.(?![\w.`])", right):  # all other columns
        asked = {"0", "1", ""} - used
    nameless = asked & set(columns.data.columns)
    if nameless:
        raise ValueError(
            f"a column called {quoted(sorted(nameless))} cannot be named in a formula; rename it"
        )
    covariates: set[str] = set()
    for factor in expressions(terms):
        of_data, of_caller = columns.named(factor)
        covariates |= of_data
        named |= of_caller
    return Named(terms, used | covariates, covariates, named)


def _model_matrix(terms: Any, data: pd.DataFrame, caller: Caller) -> Any:
    """Return formulaic's matrix of the covariates; word its refusals."""
    from formulaic.errors import DataMismatchWarning

    def make() -> Any:
        import formulaic

        with warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            if hasattr(terms, "get_model_matrix"):
                return terms.get_model_matrix(data, context=caller.values, na_action="raise")
            return formulaic.model_matrix(terms, data, context=caller.values, na_action="raise")

    matrix = _read(make, getattr(terms, "formula", terms))
    for name, dtype in zip(matrix.columns, matrix.dtypes, strict=True):
        if dtype.kind not in "biuf":
            raise TypeError(
                f"{shown(str(name))} of the formula is of type {dtype}, which is no number; take a "
                "number of it, such as .dt.days of a duration"
            )
    return matrix


def _check_names(spec: Any, X: pd.DataFrame) -> None:
    """Refuse columns of X of which several have the same name: formulaic keeps the last one."""
    names = [name for _, _, columns in spec.structure for name in columns]
    if names != list(map(str, X.columns)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"formula makes several columns of X that are called {quoted(twice)}; rename the "
            "column of data that has this name"
        )


def _check_levels(matrix: Any) -> None:
    """Refuse a category of one level, which would leave no column beside an intercept."""
    if "Intercept" not in matrix.columns:
        return
    for factor, levels in sorted(levels_of(matrix.model_spec).items()):
        if len(levels) == 1:
            raise ValueError(
                f"column {shown(factor)} of data has one level only, {shown(levels[0])}, in the "
                "rows that are used, so that it tells nothing; leave it out of the formula"
            )


def _kept(
    name: str,
    given: Any,
    values: Any,
    columns: Columns,
    present: NDArray[np.bool_],
    state: dict[str, Any] | None = None,
) -> pd.Series:
    """Return an offset or weights of the rows that are used."""
    if isinstance(given[name], str):
        return plain(columns.column(name, given[name], state=state))
    of_all: pd.Series = values[name]
    return of_all[present]


def _offset_of(columns: Columns, expression: str, state: dict[str, Any]) -> pd.Series:
    """Return the offset that an expression gives, which must be numbers; the state notes more."""
    values = plain(columns.column("the offset", expression, single=True, state=state))
    vector = as_vector(f"offset {expression}", values, len(values), check=False)
    return pd.Series(vector, index=values.index)


def _with_columns_of(caller: Caller, data: pd.DataFrame, sides: list[str]) -> pd.DataFrame:
    """Add variables of the caller that have a value for each row, where the formula names them.

    Then they are columns like the others: rows with missing values are left out of them, too, and
    new rows need them.
    """
    words = {word for side in sides for word in _words(side)}
    added: dict[str, Any] = {}
    for name in sorted(words & set(caller.values) - set(data.columns)):
        value = caller.values[name]
        if isinstance(value, pd.Series) or (
            isinstance(value, np.ndarray | list) and np.shape(value) == (len(data),)
        ):
            if isinstance(value, pd.Series) and not value.index.equals(data.index):
                raise ValueError(
                    f"the variable {name!r} of the caller has another index than data: align its "
                    "rows first, or use .to_numpy() to take them by position"
                )
            check_mask(name, value)
            added[name] = value
    return data.assign(**added) if added else data


def _words(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.`\"'])[^\W\d]\w*", text))


def _read(evaluate: Any, formula: Any) -> Any:
    """Evaluate what formulaic does with a formula; word its refusal."""
    try:
        return evaluate()
    except Exception as error:
        raise ValueError(
            f"formula {shown(str(formula))} cannot be used: {plain_words(error)}{hint(formula)}"
        ) from error
