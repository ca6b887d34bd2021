"""Tables of any make as DataFrames, and columns of any type as plain ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from laplace.later import pd

# Types in which nothing overflows that a formula computes.
AS_THEY_ARE = (np.dtype(np.float64), np.dtype(np.int64), np.dtype(bool))
# What a column of objects may hold that is a number, by pandas' names.
NUMBERS = frozenset(["integer", "floating", "mixed-integer-float", "decimal"])


def as_frame(data: Any) -> pd.DataFrame:
    """Return a table as a DataFrame of pandas.

    Parameters
    ----------
    data : DataFrame, or mapping of columns
        Of pandas, or of any library that `narwhals` knows, as polars and pyarrow.

    Raises
    ------
    TypeError
        If it is no table that is in memory.
    """
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping):
        single = all(np.ndim(value) == 0 for value in data.values())
        return pd.DataFrame([dict(data)] if single else dict(data))
    if hasattr(data, "collect") and not hasattr(data, "to_numpy"):
        raise TypeError("data is read only when it is needed; give data.collect()")
    import narwhals.stable.v1 as nw  # which formulaic brings

    try:
        table = nw.from_native(data, eager_only=True)
        frame: pd.DataFrame = table.to_pandas()
    except TypeError:
        raise TypeError(f"data must be a DataFrame, got {type(data).__name__}") from None
    except ImportError as error:
        raise TypeError(
            f"data of type {type(data).__module__.partition('.')[0]} needs another package to be "
            f"read here ({error}); install it, or give a DataFrame of pandas"
        ) from None
    for name, dtype in table.schema.items():  # levels in the order of their first rows say nothing
        if dtype == nw.Categorical:
            frame[name] = frame[name].astype(object).astype("category")
    return frame


def with_plain_columns(data: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return a table whose columns of these names are plain; the same where they are already."""
    dtypes = data.dtypes
    given = {name: data[name] for name in sorted(names) if dtypes[name] not in AS_THEY_ARE}
    changed = {name: new for name, of in given.items() if (new := plain(of)) is not of}
    return data.assign(**changed) if changed else data


def is_number(values: pd.Series) -> bool:
    """Whether a column is of one of NumPy's real numbers or booleans."""
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf"


def has_missing(values: pd.Series) -> bool:
    """Whether a column has a missing value."""
    if is_number(values):
        return values.dtype.kind == "f" and bool(np.isnan(values.to_numpy()).any())
    return bool(values.isna().any())


def plain(values: pd.Series) -> pd.Series:
    """Return a column without missing values as NumPy's or pandas' own types hold it.

    Nullable and Arrow's numbers become numbers, and text becomes objects: `formulaic` does not know
    them in every version.
    """
    dtype = values.dtype
    if (
        pd.api.types.is_object_dtype(dtype)
        and pd.api.types.infer_dtype(values, skipna=True) in NUMBERS
    ):
        return values.astype(float)
    if pd.api.types.is_object_dtype(dtype) and pd.api.types.infer_dtype(values) == "boolean":
        return values.astype(bool)
    if isinstance(dtype, pd.CategoricalDtype) or (
        isinstance(dtype, np.dtype) and (dtype in AS_THEY_ARE or dtype.kind not in "iuf")
    ):
        return values
    if pd.api.types.is_bool_dtype(dtype):
        return values.astype(bool)
    if pd.api.types.is_numeric_dtype(dtype):
        kind = getattr(dtype, "kind", "f")
        if kind == "u" and len(values) and values.max() > np.iinfo(np.int64).max:
            kind = "f"
        return values.astype(np.int64 if kind in "iu" else np.float64)
    if pd.api.types.is_string_dtype(dtype):
        return values.astype(object)
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is not None:
        name = str(arrow)
        if name.startswith("dictionary"):
            return values.astype(object).astype("category")
        if name.startswith("decimal"):
            return values.astype(float)
        if name == "null":
            return values.astype(object)
    return values
