"""The columns of a table, and expressions that are made of them."""

from __future__ import annotations

import ast
import difflib
import pickle
import re
import sys
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import RowNames, and_more, listed, plain_words, quoted, shown
from laplace.later import pd
from laplace.reading.parse import without_backticks

# A column of text with more levels than this, or than half of the rows, is taken for a name.
MOST_LEVELS = 1000
FEW_LEVELS = 20
# Functions that are there to say what becomes of missing values.
FOR_MISSING = frozenset(
    [
        *("fillna", "isna", "isnull", "notna", "notnull", "isnan", "nan_to_num"),
        *("combine_first", "ffill", "bfill", "interpolate"),
    ]
)
# Kinds of values, by pandas' names, that are times.
TIMES = frozenset(
    ["datetime", "datetime64", "date", "timedelta", "timedelta64", "period", "interval"]
)


@dataclass(frozen=True, eq=False)
class Caller:
    """Functions and variables of the code that called, as far as a formula names them.

    Attributes
    ----------
    values : mapping
        By name.
    """

    values: Mapping[str, Any]

    def only(self, names: set[str]) -> Caller:
        """Return those that a formula names."""
        return Caller({name: self.values[name] for name in sorted(names) if name in self.values})

    def __getstate__(self) -> dict[str, Any]:
        """Keep modules by their names, and leave out what cannot be pickled."""
        kept: dict[str, Any] = {}
        for name, value in self.values.items():
            if isinstance(value, ModuleType):
                kept[name] = value.__name__
                continue
            # what cannot be pickled is named later, by the expression that needs it
            with suppress(pickle.PicklingError, TypeError, AttributeError):
                kept[name] = pickle.dumps(value)
        return {"kept": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Import the modules again; what is not to be found here is left out."""
        values = {}
        for name, kept in state["kept"].items():
            with suppress(ImportError, AttributeError, pickle.UnpicklingError):
                values[name] = import_module(kept) if isinstance(kept, str) else pickle.loads(kept)
        self.__dict__["values"] = values


NOBODY = Caller({})
# Names of frames that are written within a function.
COMPREHENSIONS = frozenset(["<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"])
# Functions of R, and what there is instead.
INSTEAD = {
    "factor": "C(...) for a category",
    "relevel": "C(x, Treatment('b')) for another reference level",
    "sqrt": "np.sqrt(...)",
    "abs": "np.abs(...)",
    "ifelse": "np.where(...)",
    "ns": "bs(x, df=4) or cr(x, df=4, constraints='center') for splines",
    "cut": "the column of intervals before, by pandas.cut, as text",
    "cbind": "cbind(successes, failures) on the left alone",
}
# Text of which so many different values are numbers was to be numbers.
NUMBERS_IN_TEXT = 5
# What stands for a missing value in files.
MISSING_MARKS = frozenset(
    ["", "?", ".", "-", "--", "*", "x", "na", "n/a", "nan", "none", "null", "missing", "unknown"]
)
# What else was to be read as something: its pattern, its name, and what can be done.
READ_AS_TEXT = (
    (r"[-+]?\d+,\d+", "numbers with decimal commas", "read them by pandas.read_csv(decimal=',')"),
    (r"\d{4}-\d\d-\d\d.*", "dates", "read them by pandas.to_datetime, and make days of them"),
)


def calling(depth: int) -> Caller:
    """Return the names of the function that called, so many calls up; 1 is its caller.

    Names that formulas have themselves, as ``log``, mean what they mean there.
    """
    from formulaic.transforms import TRANSFORMS

    frame: Any = sys._getframe(depth + 1)
    layers = [frame.f_locals]
    while frame.f_code.co_name in COMPREHENSIONS:  # which are functions of their own
        frame = frame.f_back
        layers.append(frame.f_locals)
    names = ChainMap(*layers, frame.f_globals)
    return Caller({name: value for name, value in names.items() if name not in TRANSFORMS})


class Columns:
    """The columns of a table and the names around it, in which expressions are evaluated.

    Parameters
    ----------
    data : DataFrame
        The table.
    caller : Caller
        Functions and variables of the code that called.
    """

    def __init__(self, data: pd.DataFrame, caller: Caller = NOBODY) -> None:
        from formulaic.transforms import TRANSFORMS
        from formulaic.utils.layered_mapping import LayeredMapping

        self.data = data
        self.caller = caller
        self._layers = LayeredMapping(
            LayeredMapping(data, name="data"),
            LayeredMapping(caller.values, name="context"),
            LayeredMapping(TRANSFORMS, name="transforms"),
        )

    def named(self, expression: str) -> tuple[set[str], set[str]]:
        """Return the columns and the names of the caller that an expression needs.

        Raises
        ------
        ValueError
            If it names what there is not.
        """
        name = without_backticks(expression)
        if self.is_column(expression):
            return {name}, set()
        columns, others, unknown = set(), set(), set()
        if expression.strip().startswith("`") and name == expression.strip().strip("`"):
            return self._alone(name)
        for variable in _variables(expression, self._layers):
            root = str(variable).partition(".")[0]
            if str(variable) in self.data.columns:
                columns.add(str(variable))
            elif root in self.data.columns:
                columns.add(root)
            elif root in self.caller.values:
                others.add(root)
            elif root not in self._layers and not _is_builtin(root):
                unknown.add(str(variable))
        _check_functions(expression, unknown)
        check_columns(unknown, self.data)
        return columns, others

    def is_column(self, expression: str) -> bool:
        """Whether an expression is the name of a column, and no call."""
        name = without_backticks(expression)
        return name in self.data.columns and (name != expression.strip() or "(" not in name)

    def _alone(self, name: str) -> tuple[set[str], set[str]]:
        """Return the columns and the names of the caller that a name needs which is no column.

        Raises
        ------
        ValueError
            If the caller does not have it, either.
        """
        if name in self.caller.values:
            return set(), {name}
        root = name.partition(".")[0]
        if root in self.data.columns and root != name:
            raise ValueError(
                f"data has no column {shown(name)}; write {{{name}}} in the formula for what is "
                f"computed from column {shown(root)}"
            )
        check_columns({name}, self.data)
        return set(), set()

    def evaluate(self, expression: str, state: dict[str, Any] | None = None) -> Any:
        """Evaluate an expression, or return the column of this name.

        Parameters
        ----------
        expression : str
            The expression.
        state : dict, optional
            What formulaic remembers, as centres and knots, by the call; what it meets is added.

        Raises
        ------
        ValueError
            If it cannot be evaluated.
        """
        from formulaic.utils.stateful_transforms import stateful_eval

        if self.is_column(expression):
            return self.data[without_backticks(expression)]
        try:
            return stateful_eval(_code(expression), self._layers, None, state, None)
        except Exception as error:
            raise ValueError(
                f"{shown(expression)} cannot be evaluated in the columns of data: "
                f"{type(error).__name__}: {plain_words(error)}{hint(expression)}"
            ) from error

    def column(
        self,
        what: str,
        expression: str,
        *,
        single: bool = False,
        state: dict[str, Any] | None = None,
    ) -> pd.Series:
        """Evaluate an expression that has a value for each row, or a single one, where it may.

        The state is that of `evaluate`.

        Raises
        ------
        ValueError
            If it has not.
        """
        values = self.evaluate(expression, state)
        values = getattr(values, "__wrapped__", values)  # what formulaic's own functions return
        if isinstance(values, pd.Series):
            self._check_index(expression, values)
            return values
        if single and np.ndim(values) == 0 and values is not None:
            values = np.full(len(self.data), values)
        if np.shape(values) != (len(self.data),):
            raise ValueError(
                f"{what} {shown(expression)} must have a value for each of the {len(self.data)} "
                f"rows of data, got {_shape(values)}"
            )
        return pd.Series(values, index=self.data.index)

    def _check_index(self, expression: str, values: pd.Series) -> None:
        """Refuse values whose rows are others, or in another order."""
        if values.index is not self.data.index and not values.index.equals(self.data.index):
            raise ValueError(
                f"{shown(expression)} has another index than data: align its rows with those of "
                "data first, or use its .to_numpy() to take them by position"
            )

    def lost(self, expression: str) -> NDArray[np.bool_]:
        """Whether a computation gives no value where its columns have one, by row."""
        values = self.evaluate(expression)
        values = getattr(values, "__wrapped__", values)
        if isinstance(values, pd.Series):
            self._check_index(expression, values)
        if np.shape(values) != (len(self.data),):
            return np.zeros(len(self.data), dtype=bool)
        return np.asarray(pd.isna(values), dtype=bool)

    def missing(self, expression: str) -> NDArray[np.bool_]:
        """Whether what an expression needs is missing, by row.

        A comparison with a missing value is false, and not missing: so the columns themselves are
        looked at, but where the expression says what becomes of missing values.
        """
        names, _ = self.named(expression)
        absent = np.zeros(len(self.data), dtype=bool)
        for name in names:
            absent |= self.data[name].isna().to_numpy()
        if not np.any(absent) or not FOR_MISSING & _functions(expression):
            return absent
        evaluated = self.column("the formula's", expression)
        return np.asarray(absent & evaluated.isna().to_numpy())


def _shape(values: Any) -> str:
    shape = np.shape(values)
    return "a single value" if shape == () else f"shape {shape}"


def is_text(values: pd.Series) -> bool:
    """Whether a column holds text, also as a category."""
    of: Any = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    return bool(pd.api.types.is_string_dtype(of))


def _variables(expression: str, layers: Any) -> set[Any]:
    from formulaic.utils.variables import get_required_variables

    try:
        found = set(get_required_variables(_code(expression), layers))
    except Exception:  # of syntax, or of what it reads of the columns
        raise ValueError(
            f"{shown(expression)} is no expression that Python can read{hint(expression)}"
        ) from None
    simple = {v for v in found if all(part.isidentifier() for part in str(v).split("."))}
    for text in found - simple:  # an attribute of an expression: its names are within it
        if str(text) in layers:
            simple.add(text)
        else:
            simple |= {n.id for n in ast.walk(ast.parse(str(text))) if isinstance(n, ast.Name)}
    for power in (n for n in ast.walk(parsed(expression)) if isinstance(n, ast.BinOp)):
        if isinstance(power.op, ast.BitXor) and isinstance(power.right, ast.Constant):
            raise ValueError(f"{shown(expression)} holds ^, which is no power; write ** for one")
    return simple


def _code(expression: str) -> str:
    """Return an expression without the braces in which a formula may have it."""
    code = expression.strip()
    return code[1:-1] if code.startswith("{") and code.endswith("}") else code


def parsed(expression: str) -> ast.Expression:
    """Return an expression as Python reads it, with other names for those in backticks."""
    from formulaic.utils.code import sanitize_variable_names

    code = sanitize_variable_names(_code(expression).strip(), {}, {})
    tree: ast.Expression = ast.parse(code, mode="eval")
    return tree


def names_in(expression: str) -> set[str]:
    """Return the names that an expression needs, but for functions that formulas have."""
    from formulaic.transforms import TRANSFORMS
    from formulaic.utils.layered_mapping import LayeredMapping

    alone = without_backticks(expression)
    if alone != expression.strip():
        return {alone}
    roots = {str(name).partition(".")[0] for name in _variables(expression, LayeredMapping())}
    return {name for name in roots if name not in TRANSFORMS and not _is_builtin(name)}


def _functions(expression: str) -> set[str]:
    """Return the last parts of the names that an expression calls or reads."""
    return {str(v).rpartition(".")[2] for v in _variables(expression, {})}


def _is_builtin(name: str) -> bool:
    import builtins

    return hasattr(builtins, name)


def _check_functions(expression: str, unknown: set[str]) -> None:
    """Refuse calls of functions that are none here, with those that are."""
    called = sorted(name for name in unknown if re.search(rf"\b{re.escape(name)}\s*\(", expression))
    if called:
        instead = f"; write {INSTEAD[called[0]]}" if called[0] in INSTEAD else ""
        raise ValueError(f"the formula calls {called[0]}(), which is no function here{instead}")


def hint(formula: Any) -> str:
    """Return what may be meant by what Python or formulaic cannot read."""
    text = str(formula)
    if "^" in text:
        return "; a power is written **"
    if re.search(r"\bas\.factor\b", text):
        return "; a category is C(...)"
    if re.search(r"\b(and|or|not)\b", text):
        return "; write & | ~ between conditions in parentheses"
    if re.search(r"\bin\b", text):
        return "; write .isin([...])"
    if re.search(r"\w\s+\w", text):
        return "; a name with spaces stands in backticks"
    return ""


def check_literals(expression: str, columns: Columns) -> None:
    """Refuse to compare columns of text with a text that none of them holds.

    It is misspelt: the comparison would be false of every row.
    """
    if '"' not in expression and "'" not in expression:
        return
    for name, text in _compared(expression):
        if name not in columns.data.columns or not is_text(columns.data[name]):
            continue
        values = columns.data[name]
        if not (values == text).any():
            seen = [shown(value) for value in values.unique()]
            raise ValueError(
                f"no row has {shown(text)} in {shown(expression)}; column {shown(name)} has "
                f"{listed(seen, ', ')}"
            )


def _compared(expression: str) -> list[tuple[str, str]]:
    """Return the names that an expression compares with a text, and the texts."""
    tree = parsed(expression)
    pairs = [
        (node.left, node.comparators[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Eq | ast.NotEq)
    ]
    return [
        (one.id, other.value)
        for pair in pairs
        for one, other in (pair, pair[::-1])
        if isinstance(one, ast.Name)
        and isinstance(other, ast.Constant)
        and isinstance(other.value, str)
    ]


def check_columns(unknown: set[str], data: pd.DataFrame, advice: str = "") -> None:
    """Refuse names that are no columns, with the nearest that are."""
    if not unknown:
        return
    names = sorted(unknown)
    text = [str(name) for name in data.columns]
    near = [match for name in names for match in difflib.get_close_matches(name, text, 1)]
    nearest = f"; is {quoted(near)} meant?" if near else ""
    raise ValueError(f"data has no column {quoted(names)}; it has {quoted(text)}{nearest}{advice}")


def check_unique(names: set[str], data: pd.DataFrame) -> None:
    """Refuse names of several columns."""
    if data.columns.is_unique:
        return
    twice = sorted(names & set(data.columns[data.columns.duplicated()]))
    if twice:
        raise ValueError(f"data has several columns named {quoted(twice)}")


def check_missing(absent: list[tuple[str, NDArray[np.bool_]]], index: pd.Index[Any]) -> None:
    """Refuse rows with missing values; of each name, its rows are given."""
    rows = np.flatnonzero(np.any([of for _, of in absent], axis=0))
    if rows.size:
        where = sorted({name for name, of in absent if np.any(of)})
        raise ValueError(
            f"missing values in {RowNames(index)(rows[0])}{and_more(rows)} of data, in "
            f"{quoted(where)}; complete them, or leave the rows out with missing='drop'"
        )


def with_levels_that_occur(data: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return categories without levels that no row has."""
    dtypes = data.dtypes
    unused = {
        name: data[name].cat.remove_unused_categories()
        for name in names
        if isinstance(dtypes[name], pd.CategoricalDtype)
        and len(data[name].cat.categories) > data[name].nunique()
    }
    return data.assign(**unused) if unused else data


def check_covariate(name: str, values: pd.Series) -> None:
    """Refuse a column that is no number and no category of few levels.

    Raises
    ------
    TypeError, ValueError
        If it holds dates or intervals, or text that is different in nearly every row.
    """
    dtype = values.dtype
    if _are_times(values):
        raise TypeError(
            f"column {shown(name)} of data holds {_what(values)}, which are no numbers; make a "
            f"number of them before{_as_number(name, values)}"
        )
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype):
        try:
            levels = int(values.nunique())
        except TypeError:
            raise TypeError(
                f"column {shown(name)} of data holds values of type "
                f"{type(values.iloc[0]).__name__}; a covariate is a number or a category"
            ) from None
        _check_text(name, values)
        if levels > MOST_LEVELS or levels > max(FEW_LEVELS, len(values) // 2):
            raise ValueError(
                f"column {shown(name)} of data has {levels} different values in {len(values)} "
                f"rows, such as {shown(values.iloc[0])}: it names rows or groups, and is no "
                "category; leave it out of the formula, or give it as groups"
            )


def _as_number(name: str, values: pd.Series) -> str:
    """Say how, for dates and durations."""
    of = f"data[{shown(name)}]"
    if values.dtype.kind == "M":
        return f", as days by ({of} - {of}.min()).dt.days"
    return f", as days by {of}.dt.days" if values.dtype.kind == "m" else ""


def _check_text(name: str, values: pd.Series) -> None:
    """Refuse text that is mostly numbers or dates: it was not read as what it is."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return
    levels = pd.Series(values.unique())
    texts = levels.astype(str)
    numbers = pd.to_numeric(levels, errors="coerce").notna()
    others = texts[~numbers].str.strip().str.lower()
    if numbers.sum() >= NUMBERS_IN_TEXT and len(others) and others.isin(MISSING_MARKS).all():
        other = levels[~numbers].iloc[0]
        row = RowNames(values.index)(int(np.flatnonzero(values == other)[0]))
        raise TypeError(
            f"column {shown(name)} of data holds text, but all of it are numbers but for such as "
            f"{shown(other)} in {row}: read that as a missing value, as by pandas.to_numeric("
            f"..., errors='coerce'); a category is C({name})"
        )
    for pattern, what, advice in READ_AS_TEXT:
        if len(levels) > 2 and texts.str.fullmatch(pattern).mean() > 0.5:
            raise TypeError(f"column {shown(name)} of data holds {what} as text; {advice}")


def _are_times(values: pd.Series) -> bool:
    """Whether a column holds dates, durations, periods or intervals."""
    dtype: Any = values.dtype
    if getattr(dtype, "kind", "O") in "mM" or isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        return True
    return bool(
        pd.api.types.is_object_dtype(dtype)
        and pd.api.types.infer_dtype(values, skipna=True) in TIMES
    )


def _what(values: pd.Series) -> str:
    """Name what a column holds, that is no number."""
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if "timedelta" in kind:
        return "durations"
    return f"{kind}s" if kind in ("period", "interval") else "dates"
