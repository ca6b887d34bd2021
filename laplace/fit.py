"""Fitting a regression with random intercepts: the doors for arrays, and for several sites."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from laplace import penalties
from laplace.arguments import flag, shown, standard_deviation
from laplace.nodes import check_nodes
from laplace.objective import problem_of
from laplace.restricted import search_restricted
from laplace.result import Fit
from laplace.search import search_with
from laplace.site import Site
from laplace.sites import Sites
from laplace.strategy import STRATEGY
from laplace.verdict import ApproximationWarning

AUTO = "auto"


class ConvergenceWarning(UserWarning):
    """The fit did not reach a maximum."""


def fit(
    y: Any,
    X: Any,
    groups: Any,
    *,
    family: str = "bernoulli",
    trials: Any = None,
    offset: Any = None,
    weights: Any = None,
    nodes: int | str = AUTO,
    tau: Any = None,
    names: Sequence[str] | None = None,
    penalty: str | None = None,
    strength: Any = None,
    reml: bool = False,
) -> Fit:
    r"""Fit a regression with random intercepts by maximum likelihood.

    With default arguments the fit is the maximum of the likelihood: the number of quadrature nodes
    is raised until more would change nothing that counts. Where the data leave doubt, the
    likelihood is followed over values of `tau` with many nodes, and the search begins at the
    highest maximum there; `laplace.search` says when, and a likelihood with several maxima may
    still hide one. What a reference with more nodes says of the result is `Fit.verdict`, and a
    fit that is not to be trusted warns.

    The linear predictor of row j of group i is :math:`x_{ij}'\beta + u_i` with
    :math:`u_i \sim N(0, \tau^2)`. For 0/1 outcomes it is the logit of the probability of a 1: the
    random-intercept logistic regression.

    Parameters
    ----------
    y : array_like of shape (n,)
        Outcomes: 0 or 1, numbers of successes, or counts, as `family` says.
    X : array_like or DataFrame of shape (n, p)
        Covariates, used as given: no intercept is added.
    groups : array_like of shape (n,)
        Group labels of any kind, in any order; a tuple in a list is one label.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes, with the canonical link (logit, logit, log). Binomial
        outcomes that are 0 or 1 need no trials.
    trials : int or array_like of shape (n,), optional
        Numbers of trials of binomial outcomes; a row with none carries nothing.
    offset : array_like of shape (n,), optional
        Added to the linear predictor.
    weights : array_like of shape (n,), optional
        How many rows each row stands for, above zero: rows of the same group with the same outcome,
        covariates and offset. The fit is that of the rows written out. Where `family` is binomial,
        there are no `trials` and y holds proportions, they are the numbers of trials.
    nodes : "auto" or int
        1 is the Laplace approximation, K adaptive Gauss-Hermite quadrature with K nodes. "auto"
        raises K until no parameter is predicted to move by more than a hundredth of its standard
        error, up to 99 nodes; `Fit.nodes` says where it ended.
    tau : float, optional
        Fixes the standard deviation of the random intercepts, at 0 or from 1e-8 to 1e6; by default
        it is estimated.
    names : sequence of str, optional
        Names of the columns of X; by default a DataFrame's own, or x0, x1, ...
    penalty : {"ridge", "soft"}, optional
        Added to the log-likelihood, for data whose likelihood has no maximum: see Notes. By default
        there is none.
    strength : float, optional
        Strength of a ridge penalty, above 0; "soft" has its own.
    reml : bool
        Whether `tau` maximises the adjusted profile likelihood instead of the likelihood, and
        intervals and tests of coefficients use t distributions. It is for few groups, from which
        maximum likelihood takes `tau` too small and its intervals too short: see Notes.

    Returns
    -------
    Fit

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the parameters cannot be estimated from the data:
        one outcome only, where that leaves no finite maximum, columns of X that are combinations
        of others, one group with `tau` to estimate, or 0/1 outcomes in groups of one row. The
        message names the argument.
    SeparationError
        If a combination of the columns separates the outcomes, so that no finite maximum exists,
        and there is no penalty.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached, or, with `tau` estimated, no group has both outcomes;
        `Fit.message` says why.
    ApproximationWarning
        If the approximation is not to be trusted at the maximum: a rule with at least 25 and more
        than twice the nodes predicts that a parameter moves by more than half a standard error, or
        that the log-likelihood rises by more than a half; a standard error is off by more than a
        quarter; that rule has no maximum near, or a better one elsewhere, or puts the estimate
        below the fit without random intercepts; or `tau` is so large that its nodes miss the
        integrand. `Fit.doubt` says which.

    Notes
    -----
    ``penalty="ridge"`` takes
    :math:`\tfrac12 \mathrm{strength} \sum_k (s_k\beta_k)^2` from the log-likelihood, where
    :math:`s_k` is the standard deviation of column k, so that a constant column is not penalised.
    That is, but for a constant, the log density of normal priors with standard deviation
    :math:`\mathrm{strength}^{-1/2}` on the coefficients of standardised columns. `tau` is not
    penalised, and may be estimated at zero. Standard errors come from the curvature of the
    penalised log-likelihood; as for any prior, they do not count the shrinkage as an error.

    ``penalty="soft"``, for 0/1 and binomial outcomes, is the maximum softly-penalised likelihood of
    Sterzinger and Kosmidis (2023): Jeffreys' prior of the model without random intercepts for the
    coefficients, and a negative Huber loss for :math:`\log\tau`, both times
    :math:`2\sqrt{p/n}`, where n counts 0/1 outcomes (trials). Its estimates always exist, with
    `tau` above zero, also where all outcomes are the same; and they have the asymptotic
    distribution of maximum likelihood. Standard errors come from the curvature of the
    log-likelihood itself at the estimate, as in the paper; where it does not fall in every
    direction there, they are NaN, and ``conf_int(method="profile")`` is left.

    `laplace.penalties` says more, and holds the derivatives.

    ``reml=True`` estimates `tau` by the adjusted profile log-likelihood of Cox and Reid (1987),
    :math:`\max_\beta l(\beta, \tau) - \tfrac12 \log\det(-l_{\beta\beta'})`. But for a constant
    that is the logarithm of the Laplace approximation to the likelihood integrated over the
    coefficients with a flat prior. For normal outcomes this is restricted maximum likelihood; here
    it is the same idea, and not an exact restricted likelihood. The coefficients are the best at
    that `tau`, and their standard errors are from :math:`(-l_{\beta\beta'})^{-1}` there.
    Intervals and p-values of coefficients are by t distributions with `Fit.df_resid` degrees of
    freedom, and the interval of `tau` is by the profile of the criterion. `Fit.llf` stays the
    log-likelihood, which is not at its maximum, so that AIC, BIC, `Fit.compare` and profile
    intervals of coefficients are not defined; `Fit.test_tau` compares values of the criterion,
    `Fit.reml_criterion`. With a penalty, or a fixed `tau`, it is refused. `laplace.criterion`
    says more.

    Rows that come sorted by group are read where they are, also from a memory-mapped file, if `y`
    is float64 and `X` is float64 or float32 and lies row after row in memory; sums are in float64.
    Everything else is copied once: rows in another order, DataFrames, other types, and X in
    Fortran's order. Do not change arrays that were not copied while the fit is in use. The
    computation runs on as many threads as `NUMBA_NUM_THREADS` says, by default one a core, and
    gives the same bits for any number. The first call on a machine compiles for some seconds, and
    says so where the standard error is a terminal, or by `logging`.

    References
    ----------
    Cox, D. R. and Reid, N. (1987). Parameter orthogonality and approximate conditional inference.
    Journal of the Royal Statistical Society: Series B 49, 1-39.
    doi:10.1111/j.2517-6161.1987.tb01422.x

    Sterzinger, P. and Kosmidis, I. (2023). Maximum softly-penalized likelihood for mixed effects
    logistic regression. Statistics and Computing 33, 53. doi:10.1007/s11222-023-10217-3

    Examples
    --------
    >>> import laplace
    >>> data = laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0)
    >>> fit = laplace.fit(data.y, data.X, data.groups, tau=1)
    >>> fit.converged, fit.nodes, round(fit.llf, 4)
    (True, 3, -327.1559)
    """
    options = checked(nodes, tau, penalty, strength, reml)
    site = Site.from_arrays(
        y,
        X,
        groups,
        family=family,
        trials=trials,
        offset=offset,
        weights=weights,
        names=names,
    )
    return fit_rows(Sites([site]), site, options)


def fit_sites(
    sites: Sites | Sequence[Any],
    *,
    nodes: int | str = AUTO,
    tau: Any = None,
    penalty: str | None = None,
    strength: Any = None,
    reml: bool = False,
) -> Fit:
    """Fit a regression to rows that stay where they are.

    The fit asks the questions of `laplace.questions`, adds the answers, and never sees a row. It is
    the same as that of all rows in one place, but for the order of the additions, if all rows of a
    group are at one site.

    Parameters
    ----------
    sites : Sites or sequence
        The places: of `Site`, or of anything with a method `answer` that takes a question and
        returns its answer; or `Sites` with names, and a way to ask.
    nodes, tau, penalty, strength, reml
        As in `fit`.

    Returns
    -------
    Fit
        `Fit.rounds` says how often the sites were asked. Where there are several, random effects
        and predictions by group are asked of each: ``site.random_effects(fit)``,
        ``site.predict(fit)``. Of sites that were made from a formula, ``fit.predict`` takes a table
        with the columns of the formula. Profile intervals take hundreds of questions, and so does a
        fit with ``reml=True``.

    Raises
    ------
    TypeError, ValueError
        As `fit` does; and if the sites disagree in their columns, their family or the levels of a
        category, or a group is at two of them. The message names the sites.
    SeparationError
        If a combination of the columns separates the outcomes, and there is no penalty.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached, or, with `tau` estimated, no group has both outcomes.
    ApproximationWarning
        If the approximation is not to be trusted at the maximum.

    Examples
    --------
    >>> import numpy as np, laplace
    >>> rng = np.random.default_rng(2)
    >>> X, u = np.column_stack([np.ones(300), rng.normal(size=300)]), rng.normal(size=30)
    >>> groups = np.repeat(np.arange(30), 10)
    >>> y = rng.random(300) < 1 / (1 + np.exp(-X @ [-0.5, 1.0] - u[groups]))
    >>> sites = [laplace.Site.from_arrays(y[k], X[k], groups[k])
    ...          for k in (groups < 10, (groups >= 10) & (groups < 17), groups >= 17)]
    >>> fit = laplace.fit_sites(sites)
    >>> together = laplace.fit(y, X, groups)
    >>> bool(np.allclose(fit.params, together.params, rtol=1e-10))
    True
    """
    options = checked(nodes, tau, penalty, strength, reml)
    if not isinstance(sites, Sites):
        if isinstance(sites, str) or not isinstance(sites, Sequence):
            raise TypeError(f"sites must be Sites or a list of sites, got {type(sites).__name__}")
        if not sites:
            raise ValueError("sites must hold at least one site")
        sites = Sites(sites)
    for name, part in zip(sites.names, sites.parts, strict=True):
        if not callable(getattr(part, "answer", None)):
            raise TypeError(
                f"sites must answer questions, but {name} is of type {type(part).__name__}; make "
                "it by Site.from_arrays or Site.from_formula"
            )
    only = sites.parts[0]
    site = only if len(sites) == 1 and isinstance(only, Site) else None
    return fit_rows(sites, site, options)


class Options(NamedTuple):
    """What was asked for.

    Numbers of nodes to try, a fixed tau, a penalty and its strength, and whether the fit is
    restricted.
    """

    rules: tuple[int, ...]
    tau: float | None
    penalty: str | None
    strength: float | None
    reml: bool


def checked(nodes: Any, tau: Any, penalty: Any, strength: Any, reml: Any = False) -> Options:
    """Return what was asked for, or say what is wrong with it."""
    if isinstance(nodes, str) and nodes != AUTO:
        raise TypeError(f"nodes must be a whole number or {AUTO!r}, got {shown(nodes)}")
    rules = STRATEGY.rules if isinstance(nodes, str) else (check_nodes(nodes),)
    fixed_tau = None if tau is None else standard_deviation("tau", tau)
    name, value = penalties.check(penalty, strength)
    restricted = flag("reml", reml)
    if restricted and fixed_tau is not None:
        raise ValueError(
            f"reml=True is a way to estimate tau, which is fixed at {fixed_tau:g}; leave out one "
            "of the two"
        )
    if restricted and name is not None:
        raise ValueError(
            f"reml=True does not go with penalty={name!r}: the criterion is made of the likelihood "
            "alone; leave out one of the two"
        )
    return Options(rules, fixed_tau, name, value, restricted)


def fit_rows(sites: Sites, site: Site | None, options: Options) -> Fit:
    """Take the census, search, and return the result; a warning names the caller of the caller."""
    result = fit_quietly(sites, site, options)
    if not result.converged:
        warnings.warn(f"the fit did not converge: {result.message}", ConvergenceWarning, 3)
    elif (doubt := result.doubt()) is not None:
        warnings.warn(doubt, ApproximationWarning, 3)
    return result


def fit_quietly(sites: Sites, site: Site | None, options: Options) -> Fit:
    """Take the census, search, and return the result, without a warning."""
    rules, tau, penalty, strength, reml = options
    before = sites.asked
    census = sites.census(key=secrets.token_hex(16) if len(sites) > 1 else "")
    if tau is None and "tau" in census.names:
        raise ValueError(
            "names: 'tau' is the name of the standard deviation; rename the column of X"
        )
    problem = problem_of(sites, census, tau, penalty, strength)
    found = search_restricted(problem, rules) if reml else search_with(problem, rules)
    return Fit.of(found, sites.asked.since(before), site)
