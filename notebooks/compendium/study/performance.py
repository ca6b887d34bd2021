"""How well methods do over replicates, with Monte Carlo standard errors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from compendium.study.methods import WILD
from compendium.study.runner import TAU
from laplace.arguments import number
from laplace.families import Array

CELL = ["scenario", "method", "estimand"]
BOUNDARY = "boundary"


def performance(
    results: pd.DataFrame,
    *,
    exclude: Collection[str] = (),
    reference: str | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    r"""Summarise each estimand of each method in each scenario.

    With :math:`e_r` the estimate of replicate r less the truth, n the number of replicates used:

    =====================  ===================================================================
    `bias`                 mean of e
    `relative_bias`        bias over the truth; NaN where the truth is 0 or varies
    `empirical_se`         standard deviation of e
    `mse`                  mean of e squared
    `median_error`         median of e
    `lower_error`          lower quartile of e
    `upper_error`          upper quartile of e
    `beyond`               proportion of estimates beyond ten times the truth; NaN where that is 0
    `model_se`             root mean square of the standard errors
    `relative_error`       of the model SE against the empirical SE, in percent
    `coverage`             proportion of intervals that contain the truth
    `coverage_of_mean`     bias-eliminated: that contain the truth plus the bias
    `power`                proportion of intervals that exclude zero
    `relative_precision`   gain over `reference`, in percent
    `convergence`          proportion of all replicates that converged
    `boundary`             proportion of the converged with tau = 0
    =====================  ===================================================================

    Each has its Monte Carlo standard error beside it, in a column that ends in ``_mcse``; that of a
    quantile is half the distance of the order statistics that are one standard error of a
    proportion away on either side. Where a method gives no intervals of its own they are Wald's,
    that of tau symmetric in log tau; for tau there is no power. `intervals` says how many
    replicates have one. The Monte Carlo
    errors of `empirical_se`, `relative_error` and `relative_precision` are those of estimates with
    a normal distribution.

    All but the last two measures are conditional on convergence, so that methods which fail at
    different rates are measured on different data sets. For tau, `model_se` and `coverage` are
    those of the estimates above zero, but `bias`, `empirical_se` and `mse` those of all;
    ``exclude={"boundary"}`` has all of them on the same.

    Parameters
    ----------
    results : DataFrame
        What `Study.run` returned, or some of its rows.
    exclude : collection of {"boundary"}
        Which replicates that converged are left out of all but the last two measures; the columns
        `replicates` and `used` say how many there are and how many are left. A replicate that did
        not converge has no estimate, and is never used.
    reference : str, optional
        Method whose precision others are compared with, on the replicates that both have.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        Indexed by scenario, method and estimand. What a method has no single estimate of has no row
        here; `failures` counts those fits.

    References
    ----------
    Morris, T. P., White, I. R. and Crowther, M. J. (2019). Using simulation studies to evaluate
    statistical methods. Statistics in Medicine 38, 2074-2102. Table 6.
    """
    unknown = set(exclude) - {BOUNDARY}
    if isinstance(exclude, str) or unknown:
        raise ValueError(f"exclude holds {sorted(unknown)!r}, but may hold {BOUNDARY!r} only")
    level = number("level", level)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
    if reference is not None and reference not in set(results["method"]):
        raise ValueError(f"reference: {reference!r} is not a method of these results")
    z = float(norm.isf((1.0 - level) / 2.0))
    cells = {
        cell: _Cell(rows, exclude)
        for cell, rows in results.groupby(CELL, observed=True, sort=False)
    }
    table = {}
    for (scenario, method, estimand), cell in cells.items():
        if not cell.estimated:
            continue
        measures = cell.measures(z, on_log_scale=estimand == TAU)
        if reference is not None:
            base = cells.get((scenario, reference, estimand))
            measures |= _relative_precision(cell, base)
        table[scenario, method, estimand] = measures
    whole = pd.DataFrame(list(table.values()), columns=list(next(iter(table.values()), [])))
    index = pd.MultiIndex.from_tuples(list(table) or [("", "", "")], names=CELL)
    return whole.set_index(index[: len(table)])


class _Cell:
    """The replicates of an estimand, for a method in a scenario."""

    def __init__(self, rows: pd.DataFrame, exclude: Collection[str]) -> None:
        self.replicate = rows["replicate"].to_numpy()
        estimate = rows["estimate"].to_numpy(dtype=float)
        self.converged = rows["converged"].to_numpy()
        self.boundary = rows["boundary"].to_numpy() & self.converged
        used = np.isfinite(estimate) & self.converged
        self.estimated = bool(np.any(used))
        if BOUNDARY in exclude:
            used = used & ~self.boundary
        self.used = used
        self.estimate = estimate[used]
        self.se = rows["standard_error"].to_numpy(dtype=float)[used]
        self.ends = rows[["lower", "upper"]].to_numpy(dtype=float)[used].T
        self.truth = rows["truth"].to_numpy(dtype=float)[used]
        self.error = self.estimate - self.truth

    def measures(self, z: float, *, on_log_scale: bool) -> dict[str, Any]:
        """Compute every measure but the relative precision."""
        n, e = len(self.error), self.error
        lower, upper = _wald(self.estimate, self.se, z, on_log_scale=on_log_scale)
        own = ~np.isnan(self.ends).any(axis=0)
        lower, upper = np.where(own, self.ends[0], lower), np.where(own, self.ends[1], upper)
        has_se = np.isfinite(self.se) & (self.se > 0.0)
        has_interval = has_se | own
        k, of_se = int(np.sum(has_interval)), int(np.sum(has_se))
        measures: dict[str, Any] = {
            "replicates": len(self.replicate),
            "used": n,
            "intervals": k,
        }

        def add(name: str, value: float, mcse: float) -> None:
            measures[name], measures[f"{name}_mcse"] = value, mcse

        bias, empirical = _mean(e), _sd(e)
        bias_mcse = _over(empirical, np.sqrt(n))
        add("bias", bias, bias_mcse)
        truth = self.truth[0] if n and np.ptp(self.truth) == 0.0 else 0.0
        add(
            "relative_bias",
            _over(bias, truth),
            _over(bias_mcse, abs(truth)),
        )
        add(
            "empirical_se",
            empirical,
            _over(empirical, np.sqrt(2.0 * (n - 1.0))) if n > 1 else NAN,
        )
        add("mse", _mean(e**2), _over(_sd(e**2), np.sqrt(n)))
        for name, share in QUANTILES.items():
            add(name, *_quantile(e, share))
        beyond = np.abs(self.estimate) > WILD * np.abs(self.truth)
        add("beyond", *(_proportion(beyond[self.truth != 0.0])))

        variance = self.se[has_se] ** 2
        model = np.sqrt(_mean(variance))
        model_mcse = _over(_sd(variance), 2.0 * np.sqrt(of_se) * model)
        add("model_se", model, model_mcse)
        ratio = _over(model, empirical)
        of_ratio = np.sqrt(_over(model_mcse, model) ** 2 + 0.5 / (n - 1.0)) if n > 1 else NAN
        add(
            "relative_error",
            100.0 * (ratio - 1.0),
            100.0 * ratio * of_ratio,
        )

        inside = (lower <= self.truth) & (self.truth <= upper)
        centre = self.truth + bias
        inside_mean = (lower <= centre) & (centre <= upper)
        excludes_zero = (lower >= 0.0) | (upper <= 0.0)
        add("coverage", *_proportion(inside[has_interval]))
        add("coverage_of_mean", *_proportion(inside_mean[has_interval]))
        power = (NAN, NAN) if on_log_scale else _proportion(excludes_zero[has_interval])
        add("power", *power)
        add("convergence", *_proportion(self.converged))
        add("boundary", *_proportion(self.boundary[self.converged]))
        return measures


NAN = float("nan")
QUANTILES = {"median_error": 0.5, "lower_error": 0.25, "upper_error": 0.75}


def _relative_precision(cell: _Cell, base: _Cell | None) -> dict[str, float]:
    """Compare the precision of two methods on the replicates that both use."""
    names = ("relative_precision", "relative_precision_mcse")
    if base is None:
        return dict.fromkeys(names, NAN)
    if base is cell:
        return dict.fromkeys(names, 0.0)
    _, ours, theirs = np.intersect1d(
        cell.replicate[cell.used],
        base.replicate[base.used],
        return_indices=True,
    )
    n, a, b = len(ours), base.error[theirs], cell.error[ours]
    ratio = _over(_sd(a), _sd(b)) ** 2
    if n < 3 or not np.isfinite(ratio):
        return dict.fromkeys(names, NAN)
    correlation = np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0)
    mcse = 200.0 * ratio * np.sqrt((1.0 - correlation**2) / (n - 1.0))
    return dict(zip(names, (100.0 * (ratio - 1.0), mcse), strict=True))


def _wald(estimate: Array, se: Array, z: float, *, on_log_scale: bool) -> tuple[Array, Array]:
    """Return the ends of the intervals."""
    if not on_log_scale:
        return estimate - z * se, estimate + z * se
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.exp(z * se / estimate)
        return estimate / factor, estimate * factor


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else NAN


def _sd(values: Array) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def _quantile(values: Array, share: float) -> tuple[float, float]:
    """Return a quantile and its Monte Carlo standard error."""
    n = len(values)
    if n < 2:
        return _mean(values), NAN
    of_share = np.sqrt(share * (1.0 - share) / n)
    low, high = np.quantile(values, np.clip([share - of_share, share + of_share], 0.0, 1.0))
    return float(np.quantile(values, share)), float(0.5 * (high - low))


def _over(a: float, b: float) -> float:
    return float(a / b) if b else NAN


def _proportion(events: Array) -> tuple[float, float]:
    p = _mean(events)
    return p, float(np.sqrt(p * (1.0 - p) / len(events))) if len(events) else NAN


def intervals(results: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the rows that have an interval, with its ends and whether it contains the truth.

    Parameters
    ----------
    results : DataFrame
        What `Study.run` returned, or some of its rows.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        With columns `lower`, `upper` and `covers`.
    """
    own = results["lower"].notna() & results["upper"].notna()
    rows = results[own | (results["standard_error"] > 0.0)].copy()
    z = float(norm.isf((1.0 - level) / 2.0))
    estimate, se = (rows[name].to_numpy(dtype=float) for name in ("estimate", "standard_error"))
    is_tau = (rows["estimand"] == TAU).to_numpy()
    plain, logarithmic = (_wald(estimate, se, z, on_log_scale=log) for log in (False, True))
    for k, end in enumerate(("lower", "upper")):
        rows[end] = rows[end].where(own, np.where(is_tau, logarithmic[k], plain[k]))
    rows["covers"] = (rows["lower"] <= rows["truth"]) & (rows["truth"] <= rows["upper"])
    return rows


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """Count what went wrong, or ended at the boundary.

    Parameters
    ----------
    results : DataFrame
        What `Study.run` returned, or some of its rows.

    Returns
    -------
    DataFrame
        A row a scenario and method; the number of `replicates`, of those that `converged`, that
        ended at the `boundary`, and a column for each message.
    """
    fits = results.drop_duplicates(["scenario", "replicate", "method"])
    by = fits.groupby(["scenario", "method"], observed=True)
    counts = by.agg(
        replicates=("converged", "size"),
        converged=("converged", "sum"),
        boundary=("boundary", "sum"),
    )
    said = fits[fits["message"] != ""]
    messages = said.groupby(["scenario", "method", "message"], observed=True).size().unstack()
    return counts.join(messages).fillna(0).astype(int)


def distances(results: pd.DataFrame, method: str, reference: str) -> pd.DataFrame:
    """Say how far the estimates of a method are from a reference, on the data that both have.

    Parameters
    ----------
    results : DataFrame
        What `Study.run` returned, or some of its rows.
    method, reference : str
        Methods to compare. The distance is without its sign, in standard errors of the reference;
        that of tau is on the log scale.

    Returns
    -------
    DataFrame
        Indexed by scenario and estimand. `drawn` data sets were given to both; of these `compared`
        have an estimate of both that is not at tau = 0, `apart` have tau = 0 by one only, and in
        `alone` one only converged.
        `median` and `upper` (95 %) are of the distances, and `median_mcse` is the Monte Carlo
        standard error.
    """
    both = _paired(results, method, reference)
    one, other = both["converged"], both["converged_r"]
    both["apart"] = one & other & (both["boundary"] != both["boundary_r"])
    both["alone"] = one != other
    both["distance"] = (both["shift"].abs() / _scale(both, "_r")).where(both["inside"])
    by = both.groupby(["scenario", "estimand"], observed=True)
    table = by.agg(
        drawn=("converged", "size"),
        compared=("distance", "count"),
        apart=("apart", "sum"),
        alone=("alone", "sum"),
    )
    found = by["distance"]
    table["median"], table["upper"] = found.median(), found.quantile(0.95)
    table["median_mcse"] = found.agg(lambda values: _quantile(values.dropna().to_numpy(), 0.5)[1])
    return table


def shifts(results: pd.DataFrame, method: str, reference: str) -> pd.DataFrame:
    """Return how far each estimate of a method is from that of another, and what was predicted.

    Parameters
    ----------
    results : DataFrame
        What `Study.run` returned, or some of its rows.
    method, reference : str
        Methods to compare.

    Returns
    -------
    DataFrame
        Where both converged, and not at tau = 0: `actual`, the shift from the method to the
        reference in standard errors of the method, that of tau on the log scale; and `predicted`,
        the method's `approximation_error`.
    """
    both = _paired(results, method, reference)
    both = both[both["inside"]].reset_index(drop=True)
    both["actual"] = both["shift"] / _scale(both)
    both["predicted"] = both["approximation_error"]
    return both[[*PAIR, "predicted", "actual"]].dropna(subset="actual")


PAIR = ["scenario", "replicate", "estimand"]


def _paired(results: pd.DataFrame, method: str, reference: str) -> pd.DataFrame:
    """Put the estimates of two methods side by side, those of the reference with the suffix _r.

    `shift` leads from the method to the reference, on the log scale for tau; `inside` says where
    both converged, and not at tau = 0.
    """
    ours, theirs = (
        results[results["method"] == name].set_index(PAIR) for name in (method, reference)
    )
    theirs = theirs[["estimate", "standard_error", "converged", "boundary"]].add_suffix("_r")
    both = ours.join(theirs, how="inner").reset_index()
    numbers = [f"{name}{of}" for name in ("estimate", "standard_error") for of in ("", "_r")]
    both[numbers] = both[numbers].astype(float)  # of which the difference loses digits
    both["inside"] = both["converged"] & both["converged_r"]
    both["inside"] &= ~both["boundary"] & ~both["boundary_r"]
    both["shift"] = both["estimate_r"] - both["estimate"]
    of_tau = both["inside"] & (both["estimand"] == TAU)
    both.loc[of_tau, "shift"] = np.log(both["estimate_r"][of_tau] / both["estimate"][of_tau])
    return both


def _scale(both: pd.DataFrame, suffix: str = "") -> pd.Series:
    """Return the standard errors of one of two methods, on the log scale for tau."""
    error, estimate = both[f"standard_error{suffix}"], both[f"estimate{suffix}"]
    return error.mask(both["estimand"] == TAU, error / estimate)
