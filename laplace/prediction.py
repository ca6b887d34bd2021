"""Means that a fit predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from laplace.arguments import (
    Array,
    as_matrix,
    as_vector,
    check_finite,
    common_index,
    number,
    row_labels,
)
from laplace.objective import Problem


@dataclass(frozen=True, eq=False)
class Rows:
    """What predictions are made from.

    Attributes
    ----------
    problem : Problem
        What was fitted.
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts.
    design : Design or None
        How a formula made X, where one did.
    here : callable
        Returns what holds the rows of the fit, or says where they are; takes what needs them.
    """

    problem: Problem
    beta: Array
    tau: float
    design: Any
    here: Callable[[str], Any]


def predicted(
    source: Rows, X: Any, groups: Any, offset: Any, kind: str | None, new_groups: str | None
) -> pd.Series:
    """Predict means; the arguments are those of `laplace.Fit.predict`."""
    if new_groups not in (None, "typical", "marginal"):
        raise ValueError(f"new_groups must be 'typical' or 'marginal', got {new_groups!r}")
    if new_groups is not None and groups is None:
        raise ValueError("new_groups is for groups that the fit does not know; give groups, too")
    if new_groups == "marginal" and kind == "link":
        raise ValueError(
            "new_groups='marginal' is a mean over groups, which kind='link' is not; give "
            "new_groups='typical'"
        )
    kind = _kind_of_prediction(kind, X is None, groups is None)
    names = list(source.problem.census.names)
    if X is None:
        if groups is not None or offset is not None:
            raise ValueError("X must be given where groups or offset is")
        data = source.here("predict() without X").data
        eta = data.X @ source.beta + data.given_offset
        means = data.as_given(_mean(source, eta, kind, data.codes))
        return pd.Series(means, index=data.index, name="predicted")
    if source.design is not None and isinstance(X, pd.DataFrame):
        X, groups, offset = source.design.rows(X, groups, offset)
    if isinstance(X, pd.DataFrame) and [str(name) for name in X.columns] != names:
        raise ValueError(
            f"X must have the columns of the fit, {names}, in that order, got {list(X.columns)}"
        )
    index = common_index(X=X, groups=groups, offset=offset)
    matrix = as_matrix(X)
    n, p = matrix.shape
    if p != len(names):
        raise ValueError(f"X has {p} columns, but the fit has {len(names)}: {names}")
    check_finite("X", matrix, names)
    eta = matrix @ source.beta
    if offset is not None:
        shift = np.full(n, number("offset", offset)) if np.ndim(offset) == 0 else offset
        eta = eta + as_vector("offset", shift, n)
    elif source.problem.census.has_offset:
        raise ValueError(
            "offset must be given for new rows, as the fit had one: an entry for each row, or a "
            "number for all, such as offset=0"
        )
    places = None
    if groups is not None:
        labels = row_labels(groups, n)
        places = source.here("predict() with groups").data.labels.get_indexer(labels)
        unknown = np.flatnonzero(places < 0)
        if unknown.size and new_groups is None:
            raise ValueError(
                f"groups names {labels[unknown[:1]].tolist()[0]!r}, which the fit does not "
                "know; give new_groups='typical' to predict for a group whose random intercept is "
                "zero, or new_groups='marginal' for the mean over groups"
            )
    means = _mean(source, eta, kind, places)
    if places is not None and new_groups == "marginal":
        new = places < 0
        means = np.where(new, source.problem.family.marginal(eta, source.tau), means)
    return pd.Series(means, index=index, name="predicted")


def _mean(source: Rows, eta: Array, kind: str, places: NDArray[np.intp] | None) -> Array:
    """Return the mean outcome at a linear predictor without random intercept; or that, with it.

    A group that the fit does not know, at place -1, has a random intercept of zero.
    """
    family = source.problem.family
    if kind == "marginal":
        return family.marginal(eta, source.tau)
    if places is not None and kind != "typical":
        modes, _ = source.here("predict() by group").modes(source.beta, source.tau)
        eta = eta + np.where(places < 0, 0.0, modes[places])
    return eta if kind == "link" else family.predicted(eta)


def _kind_of_prediction(kind: str | None, own_rows: bool, no_groups: bool) -> str:
    """Return the kind of a prediction, or say why it does not go with the other arguments."""
    if kind is None:
        return "group" if own_rows or not no_groups else "typical"
    if kind not in ("group", "typical", "marginal", "link"):
        raise ValueError(f"kind must be 'group', 'typical', 'marginal' or 'link', got {kind!r}")
    if kind == "group" and not own_rows and no_groups:
        raise ValueError("groups must be given with kind='group': the group of each row of X")
    if kind not in ("group", "link") and not no_groups:
        raise ValueError(f"groups must be left out with kind={kind!r}, which is for new groups")
    return kind
