r"""Means that a fit predicts, and their precision.

Standard errors are by the delta method on the scale of the linear predictor, and intervals are
symmetric there, so that those of a probability stay between 0 and 1. With the mode
:math:`\hat u(\beta, \tau)` of a group, the linear predictor :math:`x'\beta + \hat u` has the
derivatives :math:`x - \omega^2 \sum_j b''_j x_j` in :math:`\beta` and
:math:`2 \hat u \omega^2 / \tau^2` in :math:`\log\tau`, and the random intercept itself varies
about the mode by :math:`\omega^2` (Booth and Hobert 1998).

References
----------
Booth, J. G. and Hobert, J. P. (1998). Standard errors of prediction in generalized linear mixed
models. Journal of the American Statistical Association 93, 262-272.
doi:10.1080/01621459.1998.10474107
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import (
    Array,
    RowNames,
    as_matrix,
    as_vector,
    check_finite,
    common_index,
    confidence,
    number,
    quoted,
    row_labels,
    shown,
)
from laplace.estimate import roots_of
from laplace.families import Family
from laplace.inference.degrees import quantile
from laplace.later import pd
from laplace.objective import Problem
from laplace.tables import as_frame


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model, as far as predictions need it.

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
    curvature : ndarray of shape (p, p) or (p + 1, p + 1)
        Minus the information on the coefficients of the basis, and on log tau where it was
        estimated.
    degrees : ndarray of shape (p,)
        Degrees of freedom of the t distribution of each coefficient; infinite for normal ones.
    has_offset : bool
        Whether rows were given with an offset.
    what : str
        What was called, for messages.
    here : callable
        Returns what holds the rows of the fit, or says where they are; takes what needs them.
    """

    problem: Problem
    beta: Array
    tau: float
    design: Any
    curvature: Array
    degrees: Array
    has_offset: bool
    what: str
    here: Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Asked:
    """The rows that are predicted, and what of them.

    Attributes
    ----------
    X : ndarray of shape (k, p)
        Covariates.
    eta : ndarray of shape (k,)
        Linear predictor without random intercept.
    places : ndarray of shape (k,) or None
        Position of the group of each row, -1 where the fit does not know it; None where random
        intercepts do not enter by group.
    marginal : ndarray of shape (k,)
        Whether the mean over groups is meant, by row.
    link : bool
        Whether the linear predictor is meant instead of the mean.
    index : pandas.Index or None
        Labels of the rows.
    """

    X: Array
    eta: Array
    places: NDArray[np.intp] | None
    marginal: NDArray[np.bool_]
    link: bool
    index: pd.Index[Any] | None


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Predicted means with their precision; the names are those of statsmodels.

    Attributes
    ----------
    predicted_mean : Series
        The means, a row each; or linear predictors, where these were asked for.
    se_mean : Series
        Their standard errors.
    linear : Series
        The means on the scale of the linear predictor.
    se_linear : Series
        Standard errors there.
    df : Series
        Degrees of freedom of t; infinite where the distribution is normal.
    """

    predicted_mean: pd.Series
    se_mean: pd.Series
    linear: pd.Series
    se_linear: pd.Series
    df: pd.Series
    _back: Callable[[Array], Array]

    def __repr__(self) -> str:
        """Show the frame."""
        return repr(self.summary_frame())

    def _repr_html_(self) -> str:
        return str(self.summary_frame().to_html())

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return intervals, symmetric on the scale of the linear predictor.

        Parameters
        ----------
        alpha : float
            One minus the level.
        """
        level = confidence(alpha)
        half = quantile(self.df.to_numpy(), level) * self.se_linear
        ends = {"lower": self.linear - half, "upper": self.linear + half}
        return pd.DataFrame({name: self._back(end.to_numpy()) for name, end in ends.items()},
                            index=self.linear.index)  # fmt: skip

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return means, standard errors and intervals, in the columns of statsmodels.

        Parameters
        ----------
        alpha : float
            One minus the level.
        """
        ends = self.conf_int(alpha)
        return pd.DataFrame(
            {
                "mean": self.predicted_mean,
                "mean_se": self.se_mean,
                "mean_ci_lower": ends["lower"],
                "mean_ci_upper": ends["upper"],
            }
        )


def predicted(fitted: Fitted, asked: Asked) -> pd.Series:
    """Return means, a row each."""
    linear = _linear(fitted, asked)
    family = fitted.problem.family
    values = linear if asked.link else family.predicted(linear)
    if np.any(asked.marginal):
        values = np.where(asked.marginal, family.marginal(asked.eta, fitted.tau), values)
    return pd.Series(values, index=asked.index, name="predicted")


def prediction(fitted: Fitted, asked: Asked) -> Prediction:
    """Return means with their precision."""
    family, tau = fitted.problem.family, fitted.tau
    linear = _linear(fitted, asked)
    slopes = np.column_stack([asked.X, np.zeros(len(linear))])
    own = np.zeros(len(linear))  # variance of the random intercept about its mode
    if asked.places is not None and tau > 0.0:
        known = asked.places >= 0
        at_groups, variances = _slopes_of_modes(fitted)
        slopes[known] += at_groups[asked.places[known]]
        own[known] = variances[asked.places[known]]
    if np.any(asked.marginal):
        linear, slopes = linear.copy(), slopes.copy()
        some = asked.marginal
        linear[some], slopes[some] = _marginal(family, asked.X[some], asked.eta[some], tau)
    roots = roots_of(fitted.curvature, fitted.problem.basis, slopes[:, : len(fitted.curvature)])
    se = np.sqrt(own + np.sum(roots**2, axis=0))
    means, factor = (linear, 1.0) if asked.link else (family.predicted(linear), family.b_2(linear))
    return Prediction(
        pd.Series(means, index=asked.index, name="mean"),
        pd.Series(factor * se, index=asked.index, name="mean_se"),
        pd.Series(linear, index=asked.index, name="linear"),
        pd.Series(se, index=asked.index, name="linear_se"),
        pd.Series(_degrees(fitted, asked), index=asked.index, name="df"),
        _same if asked.link else family.predicted,
    )


def _degrees(fitted: Fitted, asked: Asked) -> Array:
    """Return the least degrees of freedom of the coefficients that enter, by row."""
    return np.asarray(np.min(np.where(asked.X != 0.0, fitted.degrees, np.inf), axis=1))


def _same(linear: Array) -> Array:
    return linear


def _linear(fitted: Fitted, asked: Asked) -> Array:
    """Return the linear predictor with the modes of the groups that are known."""
    if asked.places is None:
        return asked.eta
    modes, _ = fitted.here(f"{fitted.what} by group").modes(fitted.beta, fitted.tau)
    return np.asarray(asked.eta + np.where(asked.places < 0, 0.0, modes[asked.places]))


def _slopes_of_modes(fitted: Fitted) -> tuple[Array, Array]:
    """Return the derivatives of each group's mode in (beta, log tau), and its variance."""
    site = fitted.here(f"{fitted.what} by group")
    data = site.data
    modes, sd = site.modes(fitted.beta, fitted.tau)
    eta = data.X @ fitted.beta + data.offset + modes[data.codes]
    weighted = data.sum_by_group(data.family.b_2(eta)[:, None] * data.X)
    variance = sd**2
    in_log_tau = 2.0 * modes * variance / fitted.tau**2
    return np.column_stack([-variance[:, None] * weighted, in_log_tau]), variance


def _marginal(family: Family, X: Array, eta: Array, tau: float) -> tuple[Array, Array]:
    """Return means over groups on the scale of the linear predictor, and their derivatives."""
    linear = family.link(family.marginal(eta, tau))
    in_eta, in_tau = family.marginal_slopes(eta, tau)
    scale = family.b_2(linear)
    return linear, np.column_stack([X * (in_eta / scale)[:, None], tau * in_tau / scale])


def asked_of(
    fitted: Fitted, X: Any, groups: Any, offset: Any, kind: str | None, new_groups: str | None
) -> Asked:
    """Return the rows that are meant; the arguments are those of `laplace.Fit.predict`."""
    if new_groups not in (None, "typical", "marginal"):
        raise ValueError(f"new_groups must be 'typical' or 'marginal', got {shown(new_groups)}")
    if new_groups is not None and groups is None:
        raise ValueError("new_groups is for groups that the fit does not know; give groups, too")
    if new_groups == "marginal" and kind == "link":
        raise ValueError(
            "new_groups='marginal' is a mean over groups, which kind='link' is not; give "
            "new_groups='typical'"
        )
    kind = _kind_of_prediction(kind, X is None, groups is None)
    if X is None:
        if groups is not None or offset is not None:
            raise ValueError("X must be given where groups or offset is")
        data = fitted.here(f"{fitted.what} without X").data
        order = np.argsort(data.order)
        matrix = np.asarray(data.X, dtype=float)[order]
        eta = matrix @ fitted.beta + data.given_offset[order]
        return _asked(kind, matrix, eta, data.codes[order], data.index)
    matrix, eta, groups, index = _new_rows(fitted, X, groups, offset)
    if groups is None:
        return _asked(kind, matrix, eta, None, index)
    labels = row_labels(groups, len(eta), RowNames(index))
    places = fitted.here(f"{fitted.what} with groups").data.labels.get_indexer(labels)
    unknown = np.flatnonzero(places < 0)
    if unknown.size and new_groups is None:
        raise ValueError(
            f"groups names {shown(labels[unknown[:1]].tolist()[0])}, which the fit does not "
            "know; give new_groups='typical' to predict for a group whose random intercept is "
            "zero, or new_groups='marginal' for the mean over groups"
            f"{_of_another_type(fitted, labels)}"
        )
    result = _asked(kind, matrix, eta, places, index)
    return replace(result, marginal=places < 0) if new_groups == "marginal" else result


def _of_another_type(fitted: Fitted, labels: pd.Index[Any]) -> str:
    """Say so where labels that the fit knows are of another type than those that are given."""
    known = fitted.here(f"{fitted.what} with groups").data.labels
    kinds = [type(of[:1].tolist()[0]).__name__ for of in (known, labels)]
    return "" if kinds[0] == kinds[1] else f"; its labels are of type {kinds[0]}, not {kinds[1]}"


def _asked(
    kind: str,
    X: Array,
    eta: Array,
    places: NDArray[np.intp] | None,
    index: pd.Index[Any] | None,
) -> Asked:
    by_group = kind in ("group", "link")
    marginal = np.full(len(eta), kind == "marginal")
    return Asked(X, eta, places if by_group else None, marginal, kind == "link", index)


def _new_rows(
    fitted: Fitted, X: Any, groups: Any, offset: Any
) -> tuple[Array, Array, Any, pd.Index[Any] | None]:
    """Return covariates, linear predictor, groups and labels of rows that are given."""
    names = list(fitted.problem.census.names)
    by_design = fitted.design is not None and not _is_array(X)
    if by_design:
        X, groups, offset = fitted.design.rows(X, groups, offset)
    elif hasattr(X, "columns") and not isinstance(X, pd.DataFrame):
        X = as_frame(X)
    if isinstance(X, pd.DataFrame) and [str(name) for name in X.columns] != names:
        raise ValueError(
            f"X must have the columns of the fit, {quoted(names)}, in that order, got "
            f"{quoted(list(X.columns))}{_at_the_sites(fitted, list(X.columns), names)}"
        )
    index = common_index(X=X, groups=groups, offset=offset)
    called = RowNames(index)
    matrix = as_matrix(X, called)
    n, p = matrix.shape
    if p != len(names):
        raise ValueError(f"X has {p} columns, but the fit has {len(names)}: {quoted(names)}")
    check_finite("X", matrix, names, called)
    eta = matrix @ fitted.beta
    if offset is not None:
        shift = np.full(n, number("offset", offset)) if np.ndim(offset) == 0 else offset
        eta = eta + as_vector("offset", shift, n, rows=called)
    # a design knows its own terms: what the fit had besides was given row by row
    elif fitted.design.has_own_offset if by_design else fitted.has_offset:
        raise ValueError(
            "offset must be given for new rows, as the fit had one: an entry for each row, or a "
            "number for all, such as offset=0"
        )
    return matrix, eta, groups, index


def _at_the_sites(fitted: Fitted, given: list[Any], names: list[str]) -> str:
    """Say so where columns of a formula may be meant, which only the sites know."""
    places = len(fitted.problem.sites)
    if places == 1 or sorted(map(str, given)) == sorted(names):
        return ""
    return (
        f"; if they are columns of a formula, that is known at the {places} sites alone: make the "
        "columns of the fit here, for which a manifest has covariates(table), or call "
        "site.predict(fit, X) at a site"
    )


def _is_array(X: Any) -> bool:
    """Whether rows come as numbers, the columns of X in their order."""
    return isinstance(X, np.ndarray | list | tuple)


def _kind_of_prediction(kind: str | None, own_rows: bool, no_groups: bool) -> str:
    """Return the kind of a prediction, or say why it does not go with the other arguments."""
    if kind is None:
        return "group" if own_rows or not no_groups else "typical"
    if kind not in ("group", "typical", "marginal", "link"):
        raise ValueError(
            f"kind must be 'group', 'typical', 'marginal' or 'link', got {shown(kind)}"
        )
    if kind == "group" and not own_rows and no_groups:
        raise ValueError("groups must be given with kind='group': the group of each row of X")
    if kind not in ("group", "link") and not no_groups:
        raise ValueError(f"groups must be left out with kind={kind!r}, which is for new groups")
    return kind
