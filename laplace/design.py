"""How a formula turns the columns of a table into y, X and groups.

The language of the covariates is that of `formulaic`, which is imported where it is used, since
most programs that import the package need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from laplace.arguments import (
    RowNames,
    and_more,
    as_labels,
    common_index,
    plain_words,
    quoted,
    shown,
)
from laplace.cells import Cells, column_of, empty_cells_of, left_out, levels_of
from laplace.families import NAMES, Bernoulli, Binomial
from laplace.frames import (
    NOBODY,
    Caller,
    Columns,
    check_columns,
    check_covariate,
    check_literals,
    check_missing,
    check_unique,
    hint,
    names_in,
    with_levels_that_occur,
)
from laplace.outcomes import needs_trials, outcomes
from laplace.parse import (
    FormulaText,
    parse,
    with_quoted_names,
    without_backticks,
)
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
            raise ValueError(f"{name} must be 'raise' or 'drop', got {value!r}")
    data = as_frame(data)
    names = list(map(str, data.columns))
    text = parse(formula, names)
    data = _with_columns_of(caller, data, text)
    given = {
        name: with_quoted_names(value, names) if isinstance(value, str) else value
        for name, value in (("offset", offset), ("weights", weights))
    }
    columns = Columns(data, caller)
    keys = _keys(text, groups, data)
    sides = [text.outcome, *([text.trials] if text.trials else []), *text.offsets]
    sides += [value for value in given.values() if isinstance(value, str)]
    terms, used, named = _terms(text.right, columns, sides, keys)
    check_unique(used, data)
    labels = _labels(keys, groups, data)
    values = {
        name: _as_rows(name, value, data)
        for name, value in given.items()
        if value is not None and not isinstance(value, str)
    }

    absent = _absent(columns, [*sides, *_expressions(terms)], used, values)
    absent += [(key, data[key].isna().to_numpy()) for key in keys]
    if not keys:
        absent.append(("groups", labels.isna().to_numpy()))
    if missing == "raise":
        check_missing(absent, data.index)
    present = ~np.any([of for _, of in absent], axis=0)
    everyone = bool(present.all())
    kept = data if everyone else data[present]
    kept = with_plain_columns(kept, used)
    covariates = sorted({name for factor in _expressions(terms)
                         for name in columns.named(factor)[0]})  # fmt: skip
    if not apart:  # a level that does not occur is none, as in R; places agree on their levels
        kept = with_levels_that_occur(kept, covariates)
    here = Columns(kept, caller)
    if not len(kept):
        empty = [name for name, of in absent if of.all()]
        raise ValueError(
            "data has no rows without missing values that the formula needs"
            + (f"; {quoted(empty)} has none at all" if empty else "")
        )
    for needed in (*sides, *_expressions(terms)):
        check_literals(needed, here)
    y, trials, event = outcomes(here, text)
    shift = None if given["offset"] is None else _kept("offset", given, values, here, present)
    times = None if given["weights"] is None else _kept("weights", given, values, here, present)
    if family == Binomial.name and trials is None and needs_trials(y, times is not None):
        raise ValueError(
            f"family='binomial' needs a number of trials where {shown(text.outcome)} is not 0 or "
            "1; write 'successes / trials ~ ...' or 'cbind(successes, failures) ~ ...' with their "
            "columns, or give weights with the numbers of trials where it is a proportion"
        )
    for term in text.offsets:
        added = plain(here.column("the offset", term)).astype(float)
        shift = added if shift is None else shift + added

    for factor in _lookups(terms):
        if factor in kept.columns and not is_number(values_of := kept[factor]):
            check_covariate(factor, values_of)
    matrix = _model_matrix(terms, kept, caller)
    X = pd.DataFrame(getattr(matrix, "__wrapped__", matrix), copy=False)
    _check_levels(matrix)
    cells = empty_cells_of(matrix.model_spec, kept)
    out = left_out(X, cells, matrix.model_spec, drop=empty_cells == "drop")
    if out is not None:
        X = X.drop(columns=list(out.columns))
    spec = matrix.model_spec
    design = Design(
        spec=spec,
        offset=given["offset"] if isinstance(offset, str) else None,
        offsets=text.offsets,
        has_own_offset=offset is not None and not isinstance(offset, str),
        caller=caller.only(named),
        stateful=_stateful(spec, kept, caller, remembered=apart),
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
    names += sorted({name for factor in _expressions(terms) for name in names_in(factor)})
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
        Whether the fit had an offset that was given row by row.
    caller : Caller
        Functions and variables of the calling code that the formula names.
    stateful : tuple of str
        Transformations whose values depend on other rows, and that do not remember them; for a part
        of a data set, also those that do.
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
    stateful: tuple[str, ...] = ()
    event: str = ""
    cells: Cells | None = None

    @cached_property
    def coding(self) -> tuple[str, ...]:
        """How categories were coded: a text for each, with its levels."""
        texts = []
        for factor, levels in sorted(levels_of(self.spec).items()):
            texts.append(f"{factor} with the levels {', '.join(map(str, levels))}")
        return tuple(texts)

    @cached_property
    def terms(self) -> dict[str, list[str]]:
        """Columns of X by the term of the formula that made them."""
        dropped = () if self.cells is None else self.cells.columns
        of = {str(term): [name for name in columns if name not in dropped]
              for term, _, columns in self.spec.structure}  # fmt: skip
        return {"Intercept" if term == "1" else term: names for term, names in of.items() if names}

    def rows(self, data: Any, groups: Any, offset: Any) -> tuple[pd.DataFrame, Any, Any]:
        """Return X, groups and offset for new rows, the last two by column where named.

        Raises
        ------
        ValueError
            If a column is not there, or holds a missing value or a level that the fit has not
            seen; if a transformation does not remember the rows of the fit; or if rows have a
            combination of levels that no row of the fit had.
        """
        data = as_frame(data)
        if self.stateful:
            raise ValueError(
                f"{quoted(self.stateful)} of the formula takes its values from all rows together: "
                "new rows would have others; write center(x) or scale(x), which remember the rows "
                "of the fit, or make the column before"
            )
        columns = Columns(data, self.caller)
        factors = [factor for factor in _expressions(self.spec.formula)]
        if isinstance(offset, str):
            offset = with_quoted_names(offset, map(str, data.columns))
        added = [] if offset is not None else [*self.offsets, *filter(None, [self.offset])]
        added += [offset] if isinstance(offset, str) else []
        used = {name for text in [*factors, *added] for name in columns.named(text)[0]}
        keys = _columns_of_groups(groups, data)
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
        self._check_levels(kept)
        X = pd.DataFrame(_model_matrix(self.spec, kept, self.caller))
        if self.cells is not None:
            X = self.cells.kept(X)
        labels = groups if not keys else _labels(keys, groups, data)
        return X, labels, self._offset(offset, Columns(kept, self.caller))

    def _offset(self, given: Any, columns: Columns) -> Any:
        """Return the offset of new rows: what is given, or what the fit had."""
        if given is not None and not isinstance(given, str):
            return given
        if given is None and self.has_own_offset:
            raise ValueError(
                "offset must be given for new rows, as the fit had one: an entry for each row, or "
                "a number for all, such as offset=0"
            )
        terms = [given] if given is not None else [*self.offsets, *filter(None, [self.offset])]
        parts = [plain(columns.column("the offset", term)).astype(float) for term in terms]
        return sum(parts[1:], parts[0]) if parts else None

    def _check_levels(self, data: pd.DataFrame) -> None:
        """Refuse levels that the fit has not seen."""
        for factor, levels in levels_of(self.spec).items():
            name = column_of(factor, data)
            if name is None:
                continue
            new = np.flatnonzero(~data[name].isin(list(levels)))
            if new.size:
                raise ValueError(
                    f"column {shown(name)} has the level {shown(data[name].iloc[new[0]])} in "
                    f"{RowNames(data.index)(new[0])}{and_more(new)}, which the rows of the fit do "
                    f"not have; they have {quoted(list(levels))}"
                )


def _absent(
    columns: Columns, needed: list[str], used: set[str], values: dict[str, pd.Series]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return where what a formula needs is missing, by row; nothing where nothing is."""
    absent = [(name, value.isna().to_numpy()) for name, value in values.items()]
    if any(map(has_missing, (columns.data[name] for name in used))):
        absent += [(without_backticks(text), columns.missing(text)) for text in needed]
    return absent


# Terms and factors --------------------------------------------------------------------------------


def _terms(
    right: str, columns: Columns, sides: list[str], keys: Sequence[str]
) -> tuple[Any, set[str], set[str]]:
    """Return the covariates as terms, the columns that are needed, and names of the caller."""
    import formulaic

    used, named = set(keys), set()
    for side in sides:
        of_data, of_caller = columns.named(side)
        used |= of_data
        named |= of_caller
    context = {
        "__formulaic_variables_available__": [c for c in columns.data.columns if c not in used],
        "__formulaic_variables_used_lhs__": [],
    }
    terms = _read(lambda: formulaic.Formula(right, _context=context), right)
    for factor in _expressions(terms):
        of_data, of_caller = columns.named(factor)
        used |= of_data
        named |= of_caller
    return terms, used, named


def _factors(terms: Any) -> list[Any]:
    """Return the factors of the terms, each once, without numbers."""
    found = {factor.expr: factor for term in terms for factor in term.factors
             if factor.eval_method.value != "literal"}  # fmt: skip
    return list(found.values())


def _expressions(terms: Any) -> list[str]:
    """Return the factors as expressions; those that are names in backticks."""
    return [f"`{factor.expr}`" if factor.eval_method.value == "lookup" else factor.expr
            for factor in _factors(terms)]  # fmt: skip


def _lookups(terms: Any) -> list[str]:
    """Return the factors that are names of columns."""
    return [factor.expr for factor in _factors(terms) if factor.eval_method.value == "lookup"]


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


def _stateful(
    spec: Any, data: pd.DataFrame, caller: Caller, *, remembered: bool
) -> tuple[str, ...]:
    """Name the transformations that give a row other values without some of the other rows.

    Those whose state formulaic remembers, as centres and knots, are named where that is asked for.
    """
    half = data.iloc[::2]
    whole, part = Columns(data, caller), Columns(half, caller)
    levels = levels_of(spec)
    named = []
    for factor in _factors(spec.formula):
        name = factor.expr
        if factor.eval_method.value == "lookup" or name in levels or name in data.columns:
            continue
        if spec.transform_state.get(name):
            if remembered:
                named.append(name)
            continue
        if not _may_depend_on_rows(name):
            continue
        # others, such as x - x.mean(), are found by trying
        alone, together = (np.asarray(of.evaluate(name)) for of in (part, whole))
        if alone.shape != together[::2].shape or not np.array_equal(
            alone, together[::2], equal_nan=together.dtype.kind == "f"
        ):
            named.append(name)
    return tuple(sorted(named))


def _may_depend_on_rows(expression: str) -> bool:
    """Whether an expression calls a function that is not known to work row by row."""
    import ast

    from formulaic.utils.code import sanitize_variable_names

    tree = ast.parse(sanitize_variable_names(expression.strip("{}"), {}, {}), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            function = text.removeprefix("np.")
            if function in BY_ROW or (
                text != function and isinstance(getattr(np, function, None), np.ufunc)
            ):
                continue
            return True
    return False


BY_ROW = frozenset(["I", "log", "log10", "log2", "exp", "exp10", "exp2"])


# Groups, offsets, weights -------------------------------------------------------------------------


def _keys(text: FormulaText, groups: Any, data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns whose combinations are the groups; none where labels are given."""
    given = _columns_of_groups(groups, data)
    if not text.groups:
        if groups is None:
            raise ValueError(
                "groups must name the column of groups, or the formula must have a random "
                "intercept, such as (1 | ward)"
            )
        return given
    check_columns(set(text.groups) - set(data.columns), data)
    if groups is not None and set(given) != set(text.groups):
        differ = True
        if not given:
            labels = pd.factorize(_labels((), groups, data))[0]
            differ = not np.array_equal(labels, pd.factorize(_labels(text.groups, None, data))[0])
        if differ:
            raise ValueError(
                f"groups differs from the random intercept of the formula, (1 | "
                f"{':'.join(text.groups)}); leave one of the two out"
            )
    return text.groups


def _columns_of_groups(groups: Any, data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that `groups` names; none where it holds labels."""
    if isinstance(groups, str):
        names: tuple[str, ...] = (groups,)
    elif (
        isinstance(groups, list | tuple)
        and groups
        and all(isinstance(name, str) for name in groups)
        and (len(groups) != len(data) or set(groups) <= set(map(str, data.columns)))
    ):
        names = tuple(groups)
    else:
        return ()
    names = tuple(dict.fromkeys(names))
    absent = set(names) - set(data.columns)
    if len(names) == 1 and absent and ":" in names[0]:
        several = tuple(part.strip().strip("`") for part in names[0].split(":"))
        if set(several) <= set(data.columns):
            return several
    if absent and len(names) == 1 and names[0] in NAMES:
        raise ValueError(
            f"groups must name the column of groups, got {names[0]!r}; write family={names[0]!r}"
        )
    check_columns(absent, data, "; groups is a column, or a list with a label for each row")
    return names


def _labels(keys: Sequence[str], groups: Any, data: pd.DataFrame) -> pd.Series:
    """Return each row's group: a label, or the combination of several columns' labels."""
    if not keys:
        return _as_rows("groups", groups, data)
    if len(keys) == 1:
        return data[keys[0]]
    plain_keys = [data[key].astype(object) for key in keys]
    labels = pd.Series(list(zip(*plain_keys, strict=True)), index=data.index, dtype=object)
    labels[np.any([key.isna() for key in plain_keys], axis=0)] = None
    return labels


def _kept(
    name: str, given: Any, values: Any, columns: Columns, present: NDArray[np.bool_]
) -> pd.Series:
    """Return an offset or weights of the rows that are used."""
    if isinstance(given[name], str):
        return plain(columns.column(name, given[name]))
    of_all: pd.Series = values[name]
    return of_all[present]


def _as_rows(name: str, given: Any, data: pd.DataFrame) -> pd.Series:
    """Return values of the same length as a table, with its rows' labels."""
    if name == "groups":
        values: Any = as_labels(given).to_flat_index()
    else:
        values = given if isinstance(given, pd.Series) else np.asarray(given)
        if values.ndim != 1:
            raise ValueError(f"{name} must have one dimension, got shape {values.shape}")
    if len(values) != len(data):
        raise ValueError(f"{name} has length {len(values)}, but data has {len(data)} rows")
    common_index(data=data, **{name: given})
    return pd.Series(values, index=data.index)


def _with_columns_of(caller: Caller, data: pd.DataFrame, text: FormulaText) -> pd.DataFrame:
    """Add variables of the caller that have a value for each row, where the formula names them.

    Then they are columns like the others: rows with missing values are left out of them, too, and
    new rows need them.
    """
    names = {
        word
        for side in (text.outcome, text.trials, text.right, *text.offsets)
        for word in _words(side)
        if word in caller.values and word not in data.columns
    }
    added = {
        name: np.asarray(value) if not isinstance(value, pd.Series) else value
        for name in names
        if isinstance(value := caller.values[name], np.ndarray | pd.Series | list)
        and np.shape(value) == (len(data),)
    }
    return data.assign(**added) if added else data


def _words(text: str) -> set[str]:
    import re

    return set(re.findall(r"(?<![\w.`\"'])[^\W\d]\w*", text))


def _read(evaluate: Any, formula: Any) -> Any:
    """Evaluate what formulaic does with a formula; word its refusal."""
    try:
        return evaluate()
    except Exception as error:
        raise ValueError(
            f"formula {shown(str(formula))} cannot be used: {plain_words(error)}{hint(formula)}"
        ) from error
