"""Checks of one argument each: what is wrong is said in words, with the argument's name."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.later import is_categorical, is_frame, is_series, pd

Array = NDArray[np.float64]

# Here tau squared and its inverse are exact enough, next to the information of a group, that no
# formula overflows or cancels. Nobody's random intercepts are outside.
SMALLEST_TAU = 1e-8
LARGEST_TAU = 1e6
# Beyond these, squares of a column's entries leave the range of floating point numbers.
LARGEST_ENTRY = 1e151
SMALLEST_ENTRY = 1e-151
# No list of names in a message has more characters, and no name or label.
LONGEST_LIST = 240
LONGEST_NAME = 60
# Nor are the words of another library.
LONGEST_WORDS = 400


@dataclass(frozen=True, eq=False)
class RowNames:
    """What rows are called in messages: by the labels of the user, or by their position.

    Attributes
    ----------
    index : pandas.Index or None
        The labels, where a pandas object carried them.
    """

    index: pd.Index[Any] | None = None

    def __call__(self, row: Any) -> str:
        """Return the name of the row at a position; the position, too, where labels repeat."""
        if self.index is None:
            return f"row {row}"
        label = shown(self.index[row : row + 1].tolist()[0])
        return f"row {label}" if self.index.is_unique else f"row {label} (position {row})"


ANY_ROWS = RowNames()


def whole_number(
    name: str,
    value: object,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    of: str = "",
    hint: str = "",
) -> int:
    """Return `value` as an int within the bounds, or say what is wrong.

    Parameters
    ----------
    of : str
        What it counts, as words that follow "a whole number".
    hint : str
        What can be given instead, where it is no whole number.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number{of}, got {shown(value)}{hint}") from None
    if minimum is not None and maximum is not None and not minimum <= count <= maximum:
        raise ValueError(f"{name} must be between {minimum} and {maximum}, got {count}")
    if minimum is not None and count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    return count


def number(name: str, value: Any, *, minimum: float | None = None) -> float:
    """Return `value` as a finite float that is not below `minimum`, or say what is wrong."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        result = float(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be finite, got a number beyond {np.finfo(float).max:.2g}"
        ) from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None
    if not np.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}")
    if minimum is not None and result < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, got {result:g}")
    return result


def confidence(alpha: Any) -> float:
    """Return one minus the level of an interval, or say what is wrong with it."""
    result = number("alpha", alpha)
    if not 0.0 < result < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}; 0.05 gives 95 %")
    return result


def standard_deviation(name: str, value: Any) -> float:
    """Return `value` as 0.0, or a standard deviation in the range that is computed with."""
    result = number(name, value, minimum=0.0)
    if result == 0.0:
        return 0.0  # also for -0.0
    if not SMALLEST_TAU <= result <= LARGEST_TAU:
        raise ValueError(
            f"{name} must be 0, or between {SMALLEST_TAU:g} and {LARGEST_TAU:g}, got {result:g}"
        )
    return result


def flag(name: str, value: Any) -> bool:
    """Return `value` as True or False, or say that it is neither."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def coefficients(beta: Any, names: list[str], *, named_columns: bool = False) -> Array:
    """Return `beta` as p finite numbers, or say what is wrong.

    A Series with labels of its own goes by them where the columns of X have names, too.
    """
    if named_columns and is_series(beta) and not _unlabelled(beta.index):
        labels = [str(label) for label in beta.index]
        if sorted(labels) != sorted(names):
            raise ValueError(
                f"beta has the labels {quoted(labels)}, but the columns of X are {quoted(names)}; "
                "rename them, or pass an array to use them by position"
            )
        beta = beta.iloc[[labels.index(name) for name in names]]
    vector = as_vector("beta", beta, len(names), of="columns in X", check=False)
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ValueError(
            f"beta holds {vector[bad[0]]} for {shown(names[bad[0]])}; it must be finite"
        )
    return vector


def _unlabelled(index: pd.Index[Any]) -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def as_vector(
    name: str,
    values: Any,
    length: int,
    of: str = "rows in X",
    check: bool = True,
    rows: RowNames = ANY_ROWS,
) -> Array:
    """Return `values` as a finite vector with an entry for each row, or each column.

    A single column of shape (n, 1), as some makers of design matrices return it, is a vector.
    """
    vector = _floats(name, values, rows=rows)
    if vector.ndim == 2 and vector.shape[1] == 1:
        vector = vector[:, 0]
    if vector.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {vector.shape}")
    if len(vector) != length:
        raise ValueError(f"{name} has length {len(vector)}, but there are {length} {of}")
    if check:
        check_finite(name, vector, rows=rows)
    return vector


def exactly(value: float) -> str:
    """Return a number in as many digits as tell it from every other."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def as_matrix(X: Any, rows: RowNames = ANY_ROWS) -> Array:
    """Return X as floats of two dimensions; float32 stays what it is."""
    if is_frame(X):
        return (
            np.column_stack(
                [_floats(f"column {name!r} of X", X[name], rows=rows) for name in X.columns]
                if X.columns.is_unique
                else [
                    _floats(f"column {k} of X", X.iloc[:, k], rows=rows) for k in range(X.shape[1])
                ]
            )
            if X.shape[1]
            else np.empty(X.shape)
        )
    matrix = _floats("X", X, keep_single=True, rows=rows)
    if matrix.ndim != 2:
        hint = "; for a single covariate use X.reshape(-1, 1)" if matrix.ndim == 1 else ""
        raise ValueError(
            f"X must have two dimensions, rows and columns, got shape {matrix.shape}{hint}"
        )
    return matrix


def _floats(name: str, values: Any, keep_single: bool = False, rows: RowNames = ANY_ROWS) -> Array:
    """Return `values` as float64; NaN and infinity pass, text and objects do not."""
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse matrix; use {name}.toarray()")
    check_mask(name, values, rows)
    try:
        if values is None or is_categorical(getattr(values, "dtype", None)):
            raise TypeError
        array = np.asarray(values)
        if array.dtype == object:
            array = _floats_of_objects(array)
        if array.dtype.kind not in "biuf":
            raise TypeError
        if keep_single and array.dtype == np.float32:
            return array
        return array.astype(np.float64, copy=False)
    except OverflowError:
        raise ValueError(
            f"{name} holds a number beyond {np.finfo(float).max:.2g}, the largest of floating point"
        ) from None
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must hold numbers only, got {_kind(values)}; "
            "encode text and categories as numbers first"
        ) from None


def _floats_of_objects(array: NDArray[Any]) -> Array:
    """Return objects as floats; pandas' NA becomes NaN, and is refused as such by the caller."""
    flat = array.ravel()
    if any(isinstance(value, str | bytes) for value in flat):  # even "1" is text
        raise TypeError
    extension = pd.array(flat)
    if getattr(extension.dtype, "kind", "O") not in "biufO":  # dates and durations
        raise TypeError
    return np.asarray(extension.to_numpy(dtype=float, na_value=np.nan)).reshape(array.shape)


def check_mask(name: str, values: Any, rows: RowNames = ANY_ROWS) -> None:
    """Refuse a masked array with a masked entry: NumPy would hand on what is under the mask."""
    if not isinstance(values, np.ma.MaskedArray):
        return
    masked = np.argwhere(np.ma.getmaskarray(values))
    if len(masked):
        where = f" in {rows(masked[0][0])}" if values.ndim else ""
        raise ValueError(
            f"{name} is masked{where}{and_more(masked)}; remove or impute such rows first"
        )


def _kind(values: Any) -> str:
    """Name what was given instead of numbers."""
    dtype = getattr(values, "dtype", None)
    if dtype is not None:
        return f"values of type {dtype}"
    return f"{type(values).__name__} {str(values)[:LONGEST_NAME]!r}"


def check_finite(
    name: str, array: Array, columns: list[str] | None = None, rows: RowNames = ANY_ROWS
) -> None:
    """Refuse NaN and infinity, naming the first place."""
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = np.argwhere(~finite)
    where = rows(int(bad[0][0]))
    if columns is not None:
        where += f", column {shown(columns[bad[0][1]])}"
    raise ValueError(
        f"{name} holds {array[tuple(bad[0])]} in {where}{and_more(bad)}; remove or impute such rows"
    )


def check_range(matrix: Array, columns: list[str]) -> None:
    """Refuse columns whose squares overflow or underflow."""
    largest = np.maximum(matrix.max(axis=0), -matrix.min(axis=0))
    small = (largest > 0.0) & (largest < SMALLEST_ENTRY)
    wrong = np.flatnonzero(small | (largest > LARGEST_ENTRY))
    if wrong.size:
        raise ValueError(
            f"X has a largest value of {largest[wrong[0]]:.3g} in column "
            f"{shown(columns[wrong[0]])}; "
            f"it must be between {SMALLEST_ENTRY:g} and {LARGEST_ENTRY:g}: use another unit"
        )


def same_in_rows(value: float, rows: int) -> Array:
    """Return a number for each row, the same for all; it takes no memory, and cannot be written."""
    return np.ndarray(rows, float, np.float64(value).tobytes(), strides=(0,))


def row_labels(groups: Any, n: int, rows: RowNames = ANY_ROWS) -> pd.Index[Any]:
    """Return each row's group label; refuse labels that are missing."""
    check_mask("groups", groups, rows)
    labels_of_rows = as_labels(groups)
    if len(labels_of_rows) != n:
        raise ValueError(f"groups has length {len(labels_of_rows)}, but there are {n} rows in X")
    missing = np.flatnonzero(labels_of_rows.isna())
    if missing.size:
        raise ValueError(
            f"groups has no label in {rows(missing[0])}{and_more(missing)}; "
            "give every row a group, or remove such rows"
        )
    _check_labels(labels_of_rows, getattr(groups, "name", None), rows)
    return labels_of_rows


def _check_labels(labels: pd.Index[Any], column: Any, rows: RowNames) -> None:
    """Refuse labels that can change, as a list can: nothing tells which of them are the same."""
    # so that only what may hold them is gone through
    if labels.dtype != object or not pd.api.types.infer_dtype(labels).startswith("mixed"):
        return
    wrong = [row for row, label in enumerate(labels) if not _can_be_label(label)]
    if wrong:
        of = f" (column {shown(column)})" if isinstance(column, str) else ""
        label = labels[wrong[0]]
        while isinstance(label, tuple):  # in which one entry is at fault
            label = next(entry for entry in label if not _can_be_label(entry))
        raise TypeError(
            f"groups{of} must hold labels that do not change, such as text, numbers or tuples of "
            f"them, got the {type(label).__name__} {shown(label)} in {rows(wrong[0])}"
            f"{and_more(wrong)}; make each of them text, by str, or a tuple"
        )


def _can_be_label(label: Any) -> bool:
    try:
        hash(label)
    except TypeError:
        return False
    return True


def as_labels(groups: Any) -> pd.Index[Any]:
    """Return labels as an index; a tuple in a list is one label."""
    if isinstance(groups, list | tuple) and all(isinstance(label, tuple) for label in groups):
        return pd.Index(groups, dtype=object, tupleize_cols=False)
    try:
        dimensions = np.ndim(groups)
    except ValueError:  # lists of different lengths
        raise TypeError(
            f"groups must hold labels, got {_kind(groups)}; a list is no label, but a tuple is"
        ) from None
    if dimensions > 1:
        raise ValueError(
            f"groups must have one dimension, got shape {np.shape(groups)}; where several columns "
            "make a group, give a list of tuples, a tuple a row"
        )
    if dimensions == 0:
        raise TypeError(f"groups must be a list or array, a label a row, got {_kind(groups)}")
    dtype = getattr(groups, "dtype", None)
    if isinstance(dtype, np.dtype) and not dtype.isnative:  # which pandas cannot sort
        groups = np.asarray(groups).astype(dtype.newbyteorder("="))
    labels: pd.Index[Any]
    try:
        labels = pd.Index(groups)
    except NotImplementedError:  # pandas has no index of float16
        labels = pd.Index(np.asarray(groups, dtype=float))
    return labels


def text_of(label: Any) -> str:
    """Return a text that two labels share where they are equal, as 1, 1.0 and True are.

    Text has itself, so that the text '1' shares that of the number. Entries of a tuple are told
    apart also by whether they are text.
    """
    if type(label) is int or isinstance(label, str):  # as most are
        return str(label)
    if isinstance(label, tuple):
        entries = [repr(str(x)) if isinstance(x, str) else text_of(x) for x in label]
        return f"({', '.join(entries)})"
    if isinstance(label, frozenset):  # whose order differs from process to process
        return f"frozenset({sorted(map(text_of, [(x,) for x in label]))})"
    if isinstance(label, pd.Interval):
        return f"{text_of((label.left, label.right))} {label.closed}"
    if isinstance(label, np.datetime64 | datetime):
        moment = pd.Timestamp(label)
        return str(moment if moment.tz is None else moment.tz_convert("UTC"))
    if isinstance(label, np.timedelta64 | timedelta):
        return str(pd.Timedelta(label))
    return _text_of_number(label) if isinstance(label, Number | np.bool_) else str(label)


def _text_of_number(label: Any) -> str:
    """Return the text of a number, which does not depend on its type."""
    if isinstance(label, complex | np.complexfloating):
        if label.imag != 0:
            return str(complex(label))
        label = label.real
    if not -np.inf < label < np.inf:
        return str(float(label))
    if label == int(label):
        return str(int(label))
    # every float is a fraction, and so is a Decimal
    return str(float(label)) if float(label) == label else str(Fraction(*label.as_integer_ratio()))


def column_names(X: Any, names: Sequence[str] | None, p: int) -> list[str]:
    """Return the names of the columns: the given ones, a DataFrame's own, or x0, x1, ..."""
    if names is not None:
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence of column names, got the string {names!r}")
        if not isinstance(names, Sequence | np.ndarray | pd.Index | pd.Series) or isinstance(
            names, bytes | bytearray
        ):
            raise TypeError(
                f"names must be a sequence of column names, as a list, got {_kind(names)}"
            )
        result = [str(name) for name in names]
        if len(result) != p:
            raise ValueError(f"names has {len(result)} names, but X has {p} columns")
    elif is_frame(X):
        result = [str(name) for name in X.columns]
    else:
        result = [f"x{k}" for k in range(p)]
    if len(set(result)) < p:
        twice = sorted({name for name in result if result.count(name) > 1})
        where = "the columns of X" if names is None else "names: the columns of X"
        raise ValueError(
            f"{where} must have different names, but {quoted(twice)} "
            f"{'repeat' if len(twice) > 1 else 'repeats'}"
        )
    return result


def common_index(**arguments: Any) -> pd.Index[Any] | None:
    """Return the row labels that the pandas arguments share; refuse labels that differ."""
    first: tuple[str, pd.Index[Any]] | None = None
    for name, argument in arguments.items():
        if not (is_series(argument) or is_frame(argument)):
            continue
        if first is None:
            first = name, argument.index
        elif len(argument.index) == len(first[1]) and not argument.index.equals(first[1]):
            raise ValueError(
                f"the index of {name} differs from that of {first[0]}: align their rows first, "
                "or pass arrays to use them by position"
            )
    return None if first is None else first[1]


def quoted(names: Sequence[Any]) -> str:
    """Return names in quotes; of many, the first ones and how many there are beside."""
    return listed([shown(name) for name in names], ", ")


def listed(texts: Sequence[str], joint: str, rest: str = " and {} more") -> str:
    """Join texts; of many, the first ones and how many there are beside."""
    count, size = 0, 0
    for text in texts:
        size += len(text) + len(joint)
        if count and size > LONGEST_LIST:
            break
        count += 1
    first = joint.join(texts[:count])
    return first if count == len(texts) else first + rest.format(len(texts) - count)


def cut(text: str) -> str:
    """Return a text that is no longer than a name in a message."""
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 4]} ..."


def shown(value: Any) -> str:
    """Return a name, a label or a value as it is written in Python, and no longer than a line."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 4]} ...{text[-1:]}"


def and_more(places: Any) -> str:
    """Return how many more places there are, as words that follow the first."""
    return f" (and in {len(places) - 1} more places)" if len(places) > 1 else ""


def plain_words(error: Exception) -> str:
    """Return formulaic's words without colours and marks, and not too many of them."""
    words = re.sub("\x1b\\[[0-9;]*m|[⧛⧚]", "", str(error)).split("\n\n")[0].rstrip(".")
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]} ..."
