"""The groups of rows: a column, several whose combinations they are, or labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from laplace.arguments import as_labels, check_mask, common_index
from laplace.families import NAMES
from laplace.later import pd
from laplace.reading.frames import check_columns
from laplace.reading.parse import FormulaText


def keys_of(text: FormulaText, groups: Any, data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns whose combinations are the groups; none where labels are given."""
    given = columns_of_groups(groups, data)
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
            labels = pd.factorize(labels_of((), groups, data))[0]
            differ = not np.array_equal(labels, pd.factorize(labels_of(text.groups, None, data))[0])
        if differ:
            raise ValueError(
                f"groups differs from the random intercept of the formula, (1 | "
                f"{':'.join(text.groups)}); leave one of the two out"
            )
    return text.groups


def columns_of_groups(groups: Any, data: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that `groups` names; none where it holds labels."""
    if isinstance(groups, str):
        names: tuple[str, ...] = (groups,)
    elif (
        isinstance(groups, list | tuple)
        and groups
        and all(isinstance(name, str) for name in groups)
        and len(groups) != len(data)
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


def labels_of(keys: Sequence[str], groups: Any, data: pd.DataFrame) -> pd.Series:
    """Return each row's group: a label, or the combination of several columns' labels."""
    if not keys:
        check_mask("groups", groups)
        return _of_rows("groups", groups, as_labels(groups).to_flat_index(), data)
    if len(keys) == 1:
        return data[keys[0]]
    plain_keys = [data[key].astype(object) for key in keys]
    labels = pd.Series(list(zip(*plain_keys, strict=True)), index=data.index, dtype=object)
    labels[np.any([key.isna() for key in plain_keys], axis=0)] = None
    return labels


def as_rows(name: str, given: Any, data: pd.DataFrame) -> pd.Series:
    """Return numbers of the same length as a table, with its rows' labels.

    Raises
    ------
    ValueError
        If they are masked, of more than one dimension, or those of other rows.
    """
    check_mask(name, given)
    values = given if isinstance(given, pd.Series) else np.asarray(given)
    if values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {values.shape}")
    return _of_rows(name, given, values, data)


def _of_rows(name: str, given: Any, values: Any, data: pd.DataFrame) -> pd.Series:
    """Return what was given for each row with the labels of the rows, if these are its own."""
    if len(values) != len(data):
        raise ValueError(f"{name} has length {len(values)}, but data has {len(data)} rows")
    common_index(data=data, **{name: given})
    return pd.Series(values, index=data.index)
