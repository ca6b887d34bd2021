r"""Parametric bootstrap of a fit, and likelihood-ratio tests by simulation.

New random intercepts and new outcomes are drawn from the fitted model for the same rows, and the
model is fitted to them, many times. What the estimates do there is what they would do in repeated
studies, if the fitted model were the true one.

The percentile interval has the quantiles of the replicates for its ends. The bias-corrected
interval (Efron 1981) takes other quantiles, :math:`\Phi(2 z_0 + z_{\alpha/2})` and
:math:`\Phi(2 z_0 + z_{1 - \alpha/2})`, where :math:`\Phi(z_0)` is the share of replicates below the
estimate.

Neither is the remedy where groups are few. With two to five sites, percentile intervals of an
intercept or of a coefficient between sites cover the truth far too seldom, no better than Wald
intervals, as the study of the book shows: the fitted tau, which is too small there, is what the
replicates are drawn with.

The p-value of a test by simulation is :math:`(1 + b) / (1 + R)`, where b of R statistics, of data
that were drawn from the smaller model, are at least as large as the one observed (Davison and
Hinkley 1997, section 4.2).

References
----------
Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge
University Press.

Efron, B. (1981). Nonparametric standard errors and confidence intervals. Canadian Journal of
Statistics 9, 139-158. doi:10.2307/3314608

Halekoh, U. and Hojsgaard, S. (2014). A Kenward-Roger approximation and parametric bootstrap methods
for tests in linear mixed models: the R package pbkrtest. Journal of Statistical Software 59(9).
doi:10.18637/jss.v059.i09
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from laplace.arguments import Array, confidence, shown, whole_number
from laplace.inference.drawn import check_single
from laplace.inference.ratio import (
    LOWER,
    LikelihoodRatioTest,
    Model,
    Simulation,
    nested,
    without_intercepts,
)
from laplace.inference.summary import digits
from laplace.later import pd, special
from laplace.parallel import check_workers, each_part
from laplace.replicates import (
    Estimates,
    Failure,
    Source,
    Target,
    count_kinds,
    fit_replicates,
    parts_of,
    seeds_of,
)
from laplace.result import Fit

METHODS = ("percentile", "bias-corrected")
# Why a statistic of a test is missing, where both models were fitted.
NOT_HIGHEST = Failure("the larger model ended below the smaller")


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """Estimates of the replicates of a parametric bootstrap.

    Replicates without an estimate, as those whose outcomes X separates, are counted and left out.
    Intervals and standard errors are then those of the estimates that exist: such data would have
    given larger ones, so that they are too short.

    Attributes
    ----------
    params : DataFrame
        Estimates, a row a replicate and a column a parameter; NaN where there is none.
    estimate : Series
        Those of the fit.
    failed : Series
        Why a replicate has no estimate, in words, for those that have none.
    nodes : int
        Number of quadrature nodes; with ``nodes="auto"`` the least, and some replicates have more.
    doubtful : Index
        The replicates whose estimate is not to be trusted, as `Fit.doubt` would say. They count as
        they are: a few of them may make standard errors large, and quantiles less so.
    """

    params: pd.DataFrame
    estimate: pd.Series
    failed: pd.Series
    nodes: int
    doubtful: pd.Index[int]
    # how many failed, by the kind of their reasons
    _kinds: dict[str, int]

    @property
    def replicates(self) -> int:
        """Number of replicates that were drawn."""
        return len(self.params)

    @property
    def failures(self) -> pd.Series:
        """How many replicates have no estimate, by the reason; the most frequent first."""
        return self.failed.value_counts().rename("replicates")

    @property
    def bse(self) -> pd.Series:
        """Standard errors, which are the standard deviations of the replicates."""
        return self.params.std().rename("bse")

    @property
    def bias(self) -> pd.Series:
        """Mean of the replicates, minus the estimate."""
        return (self.params.mean() - self.estimate).rename("bias")

    def cov_params(self) -> pd.DataFrame:
        """Covariance of the replicates."""
        return self.params.cov()

    def conf_int(self, alpha: float = 0.05, method: str = "percentile") -> pd.DataFrame:
        """Confidence intervals from the quantiles of the replicates.

        Parameters
        ----------
        alpha : float
            One minus the level.
        method : {"percentile", "bias-corrected"}
            Which quantiles; see `laplace.bootstrap`. With few groups neither is to be trusted.

        Returns
        -------
        DataFrame
            Columns `lower` and `upper`, a row a parameter. A bias-corrected interval is NaN where
            no replicate, or every one, lies below the estimate.

        Raises
        ------
        ValueError
            If `alpha` is not between 0 and 1, or the method is unknown.
        """
        level = confidence(alpha)
        if method not in METHODS:
            names = " or ".join(map(repr, METHODS))
            raise ValueError(f"method must be {names}, got {shown(method)}")
        shares = np.array([level / 2.0, 1.0 - level / 2.0])
        found = self.params.dropna().to_numpy().T
        ends = [
            _quantiles(values, estimate, shares, method)
            for values, estimate in zip(found, self.estimate.tolist(), strict=True)
        ]
        return pd.DataFrame(ends, index=self.params.columns, columns=["lower", "upper"])

    def _words(self) -> str:
        """Say how many replicates there are, and why some have no estimate."""
        line = (
            f"{self.replicates} replicate{'s' * (self.replicates > 1)}, with {self.nodes} "
            f"node{'s' * (self.nodes > 1)}"
        )
        if count := len(self.doubtful):
            line = f"{line}; {count} of them {'are' if count > 1 else 'is'} not to be trusted"
        if not len(self.failed):
            return f"{line}; all have estimates"
        reasons = "; ".join(f"{count}: {kind}" for kind, count in self._kinds.items())
        return (
            f"{line}; {len(self.failed)} without estimates ({reasons}), so that intervals and "
            "standard errors are those of the others, and too short"
        )

    def _table(self) -> pd.DataFrame:
        ends = self.conf_int()
        return pd.DataFrame(
            {
                "estimate": self.estimate,
                "bias": self.bias,
                "std. error": self.bse,
                "2.5 %": ends["lower"],
                "97.5 %": ends["upper"],
            }
        )

    def __repr__(self) -> str:
        return f"Parametric bootstrap: {self._words()}\n\n{self._table().map(digits).to_string()}"

    def _repr_html_(self) -> str:
        return (
            f"<p>Parametric bootstrap: {self._words()}</p>\n{self._table().map(digits).to_html()}"
        )


def _quantiles(values: Array, estimate: float, shares: Array, method: str) -> list[float]:
    """Return two quantiles of some values."""
    if not len(values):
        return [np.nan, np.nan]
    if method == "bias-corrected":
        below = np.mean(values < estimate) + 0.5 * np.mean(values == estimate)
        if not 0.0 < below < 1.0:
            return [np.nan, np.nan]
        shares = special().ndtr(2.0 * special().ndtri(below) + special().ndtri(shares))
    ends: list[float] = np.quantile(values, shares).tolist()
    return ends


def bootstrap(fit: Fit, replicates: int = 1000, seed: Any = 0, workers: int = 1) -> Bootstrap:
    """Parametric bootstrap: fit the model to outcomes that are drawn from it.

    Each replicate has new random intercepts and new outcomes, at the same X, groups, offset and
    trials; `Fit.simulate` draws the same. It is fitted as the rows were: with the number of nodes
    that was given, or with ``nodes="auto"`` from that of the fit on until they are enough.
    Replicates are searched together (`laplace.fit_many` says how), and the compiled part runs on
    several threads.

    Percentile intervals are not the remedy where groups are few: see `laplace.bootstrap`.

    Parameters
    ----------
    fit : Fit
        What outcomes are drawn from: a fit of rows in one place, without ``reml=True``. As a method
        of a fit, ``fit.bootstrap(...)``, it takes the other arguments alone.
    replicates : int
        How many.
    seed : int or SeedSequence
        Source of the random numbers. Replicate k is drawn by
        ``fit.simulate(numpy.random.SeedSequence(seed, spawn_key=(k,)))``.
    workers : int
        Processes to share the replicates between; -1 is one a core. More than one needs joblib. The
        result is the same for any number.

    Returns
    -------
    Bootstrap
        Estimates, standard errors, intervals, and how many replicates have no estimate, and why.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, the fit did not converge, or the rows are not in this
        place, or stand for several each by their weights.
    ImportError
        If joblib is needed and not installed.

    Examples
    --------
    >>> import laplace
    >>> data = laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0)
    >>> again = laplace.fit(*data, nodes=1).bootstrap(200)
    >>> again.params.shape, len(again.failed)
    ((200, 3), 0)
    """
    if fit.reml:
        raise ValueError(
            "bootstrap() draws from a fit at the maximum of the likelihood, which one with "
            "reml=True is not; use its t intervals, or the bootstrap of a fit without reml"
        )
    model = _with_rows(fit, "bootstrap()")
    _check_converged(model, "bootstrap()")
    target = _target(model)
    (found,) = _simulated(_source(model), [target], replicates, seed, workers, "replicates")
    columns = model.problem.census.p + model.tau_is_free
    names = [*model.problem.census.names, *(["tau"] if model.tau_is_free else [])]
    index = pd.RangeIndex(len(found.llf), name="replicate")
    params = pd.DataFrame(found.theta[:, :columns], index=index, columns=names)
    failed = {k: why for k, why in enumerate(found.reasons) if why is not None}
    return Bootstrap(
        params,
        fit.params.rename("estimate"),
        pd.Series(
            [str(why) for why in failed.values()],
            dtype=object,
            name="failed",
            index=pd.Index(failed, name="replicate"),
        ),
        fit.nodes,
        index[found.doubtful],
        count_kinds(failed.values()),
    )


def simulated_test(
    test: LikelihoodRatioTest,
    first: Fit,
    second: Fit | None,
    replicates: int | None,
    seed: Any,
    workers: int,
) -> LikelihoodRatioTest:
    """Return a likelihood-ratio test with the p-value by simulation under the smaller model.

    Without replicates, the test stays as it is, and the other arguments are checked.

    Parameters
    ----------
    test : LikelihoodRatioTest
        The test.
    first, second : Fit
        The models; None for the model without random intercepts.
    replicates, seed, workers
        As in `bootstrap`.
    """
    if replicates is None:
        seeds_of(seed, 0)
        check_workers(workers)
        return test
    what = "a test with bootstrap"
    if second is None:
        larger = _with_rows(first, what)
        smaller = without_intercepts(larger)
    else:
        smaller, larger, _ = nested(_with_rows(first, what), _with_rows(second, what))
    targets = [_target(smaller, test.nodes), _target(larger, test.nodes)]
    few, many = _simulated(_source(smaller), targets, replicates, seed, workers, "bootstrap")
    reasons = [one or two for one, two in zip(few.reasons, many.reasons, strict=True)]
    statistics = 2.0 * (many.llf - few.llf)
    for k in np.flatnonzero(statistics < -LOWER).tolist():
        reasons[k] = NOT_HIGHEST
    told = np.array([why is None for why in reasons])
    drawn = np.maximum(statistics[told], 0.0)
    # what differs by rounding is the same
    above = int(np.sum(drawn >= test.statistic - LOWER))
    pvalue = (1.0 + above) / (1.0 + len(drawn))
    simulation = Simulation(
        statistics=drawn,
        error=float(np.sqrt(pvalue * (1.0 - pvalue) / (1.0 + len(drawn)))),
        failures=count_kinds(why for why in reasons if why is not None),
        asymptotic=test.pvalue,
    )
    return replace(test, pvalue=pvalue, simulation=simulation)


def _with_rows(fit: Fit, what: str) -> Model:
    """Return a fit as a model of which outcomes can be drawn here, or say why they cannot."""
    check_single(fit._all_rows(what), what)
    return fit._model()


def _check_converged(model: Model, what: str) -> None:
    if not model.converged:
        raise ValueError(
            f"{what} needs a fit that reached a maximum, but this one did not converge: "
            f"{model.message}"
        )


def _data(model: Model) -> Any:
    """Return the rows of a model that `_with_rows` let pass."""
    return model.problem.sites.parts[0].data


def _source(model: Model) -> Source:
    """Return what outcomes are drawn from."""
    data = _data(model)
    fixed = np.asarray(data.X @ model.beta + data.offset)
    return Source(data, fixed, model.tau)


def _target(model: Model, nodes: int | None = None) -> Target:
    """Return what is fitted to them: by the rules of the fit from its nodes on, or by one rule."""
    from_here = tuple(rule for rule in model.rules if rule >= model.nodes)
    return Target(model.problem, _data(model), from_here if nodes is None else (nodes,))


def _simulated(
    source: Source,
    targets: Sequence[Target],
    replicates: Any,
    seed: Any,
    workers: Any,
    name: str,
) -> list[Estimates]:
    """Draw and fit so many replicates; `name` is that of the argument."""
    count = whole_number(name, replicates, minimum=1, of=" of replicates")
    processes = check_workers(workers)
    parts = parts_of(seeds_of(seed, count), source.data.n)
    size = source.data.X.size
    found = list(each_part(fit_replicates, parts, processes, source, targets, numbers=size))
    return [
        Estimates(
            np.concatenate([part[k].theta for part in found]),
            np.concatenate([part[k].llf for part in found]),
            [why for part in found for why in part[k].reasons],
            np.concatenate([part[k].doubtful for part in found]),
        )
        for k in range(len(targets))
    ]
