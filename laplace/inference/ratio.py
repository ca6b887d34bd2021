r"""Likelihood-ratio tests, also with a variance at the end of its range.

References
----------
Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and
likelihood ratio tests under nonstandard conditions. Journal of the American Statistical
Association 82, 605-610. doi:10.1080/01621459.1987.10478472
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import numpy as np

from laplace.arguments import Array
from laplace.later import pd, special
from laplace.objective import Problem
from laplace.search import search_with

# A larger model whose log-likelihood is lower by more than this is not at its maximum.
LOWER = 1e-6
# A column is in the span of others when this little is outside of what is its own beside the other
# columns of its model: of one that lies far from zero, that is little of its length.
SPAN_TOLERANCE = 1e-8
# So little of its length may be outside by rounding alone.
SPAN_ROUNDING = 1e-12
# Rows of a sketch beyond the number of columns: what is left of a column outside the span of others
# is estimated from so many, and is near zero by chance with no probability that counts.
ROWS_OF_SKETCH = 12


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model, as far as a test needs it.

    Attributes
    ----------
    problem : Problem
        What was fitted.
    nodes : int
        Number of quadrature nodes.
    tau : float
        Standard deviation of the random intercepts.
    beta : ndarray of shape (p,)
        Coefficients.
    llf : float
        Log-likelihood at the maximum.
    converged : bool
        Whether it is a maximum.
    message : str
        How the search ended.
    rules : tuple of int
        Numbers of nodes that were to be tried.
    """

    problem: Problem
    nodes: int
    tau: float
    beta: Array
    llf: float
    converged: bool
    message: str
    rules: tuple[int, ...]

    @property
    def tau_is_free(self) -> bool:
        """Whether tau was estimated."""
        return self.problem.tau_is_free

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return self.problem.census.p

    @property
    def parameters(self) -> int:
        """Number of estimated parameters."""
        return self.p + self.tau_is_free

    @property
    def name(self) -> str:
        """The model's columns and its tau."""
        columns = " + ".join(self.problem.census.names)
        if len(columns) > 40:
            columns = f"{self.p} columns"
        return f"{columns}, tau " + ("estimated" if self.tau_is_free else f"= {self.tau:g}")


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a test by simulation under the smaller model adds.

    Attributes
    ----------
    statistics : ndarray of shape (R,)
        The statistic of each of the data sets that were drawn from the smaller model and to which
        both models could be fitted.
    error : float
        Monte Carlo standard error of the p-value.
    failures : dict
        How many data sets had no statistic, by the reason; they are left out.
    asymptotic : float
        The p-value by the distribution for many groups.
    """

    statistics: Array
    error: float
    failures: dict[str, int]
    asymptotic: float


@dataclass(frozen=True)
class LikelihoodRatioTest:
    r"""A likelihood-ratio test of one model within another.

    Where the smaller model has tau = 0, which is the end of its range, and the larger one estimates
    it, the statistic's distribution under the smaller model is, for many groups,
    :math:`\tfrac12\chi^2_k + \tfrac12\chi^2_{k+1}`, with k the number of coefficients by which they
    differ and :math:`\chi^2_0 = 0` (Self and Liang 1987, cases 5 and 6). Otherwise it is
    :math:`\chi^2_k`, if tau is above zero where both estimate it. With few groups neither is
    accurate.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df : int
        Number of parameters by which the models differ, a tau that the smaller one has at zero
        included.
    pvalue : float
        Probability, under the smaller model, of a statistic at least as large: by its distribution
        for many groups, or by simulation, where asked for.
    mixture : bool
        Whether the distribution is the mixture.
    nodes : int
        Number of quadrature nodes of both log-likelihoods; 1 is the Laplace approximation.
    table : DataFrame
        The two models: a row each, the smaller first, with the number of parameters and the
        log-likelihood.
    simulation : Simulation or None
        What the simulation found, where the p-value is by one.

    References
    ----------
    Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and
    likelihood ratio tests under nonstandard conditions. Journal of the American Statistical
    Association 82, 605-610. doi:10.1080/01621459.1987.10478472
    """

    statistic: float
    df: int
    pvalue: float
    mixture: bool
    nodes: int
    table: pd.DataFrame
    simulation: Simulation | None = None

    @property
    def distribution(self) -> str:
        """The distribution under the smaller model, in words."""
        if self.simulation is not None:
            failures = self.simulation.failures
            left_out = f", {sum(failures.values())} more left out" if failures else ""
            return f"{len(self.simulation.statistics)} simulations{left_out}"
        if self.mixture:
            return f"1/2 chi2({self.df - 1}) + 1/2 chi2({self.df})"
        return f"chi2({self.df})"

    def describe(self) -> str:
        """Return the test in one line."""
        p = "p < 0.0001" if self.pvalue < 1e-4 else f"p = {self.pvalue:.4f}"
        if self.simulation is not None:
            p += f" (Monte Carlo error {self.simulation.error:.4f})"
        return f"chi2 = {self.statistic:.4f}, {p}, by {self.distribution}"

    def _formatted(self) -> pd.DataFrame:
        shown = self.table.copy()
        shown["log-likelihood"] = [f"{value:.4f}" for value in shown["log-likelihood"]]
        return shown

    def __str__(self) -> str:
        return f"Likelihood-ratio test: {self.describe()}\n\n{self._formatted().to_string()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>Likelihood-ratio test: {self.describe()}</p>\n{self._formatted().to_html()}"


def likelihood_ratio(
    smaller: tuple[str, int, float],
    larger: tuple[str, int, float],
    mixture: bool,
    nodes: int,
) -> LikelihoodRatioTest:
    """Return the test, from name, number of parameters and log-likelihood of both models.

    Both log-likelihoods are by a rule with so many nodes.

    Raises
    ------
    ValueError
        If the larger model has the lower log-likelihood: then it is not at its maximum.
    """
    statistic = 2.0 * (larger[2] - smaller[2])
    if statistic < -LOWER:
        raise ValueError(
            f"the larger model has a log-likelihood of {larger[2]:.6f}, below that of the smaller, "
            f"{smaller[2]:.6f}: it is not at its maximum; fit it again with more nodes"
        )
    statistic = max(statistic, 0.0)
    df = larger[1] - smaller[1]
    tail = _tail(statistic, df)
    pvalue = 0.5 * (_tail(statistic, df - 1) + tail) if mixture else tail
    table = pd.DataFrame(
        {
            "parameters": [smaller[1], larger[1]],
            "log-likelihood": [smaller[2], larger[2]],
        },
        index=pd.Index([smaller[0], larger[0]], name="model"),
    )
    return LikelihoodRatioTest(statistic, df, pvalue, mixture, nodes, table)


def _tail(statistic: float, df: int) -> float:
    """Probability that chi-squared is at least this; with no degrees of freedom it is 0."""
    if df == 0:
        return float(statistic <= 0.0)
    return float(special().chdtrc(df, statistic))


def against_zero(model: Model, llf_at_zero: float) -> LikelihoodRatioTest:
    """Test tau = 0 by the maximum of the model without random intercepts."""
    smaller, larger = ("tau = 0", model.p, llf_at_zero), ("tau estimated", model.p + 1, model.llf)
    return likelihood_ratio(smaller, larger, True, model.nodes)


def check_testable(model: Model) -> None:
    """Refuse a fit that is not at a maximum of its log-likelihood, or has none to test."""
    if not model.tau_is_free:
        raise ValueError(
            f"tau was fixed at {model.tau:g}; the test of tau = 0 needs a fit that estimates it"
        )
    _refuse(model)


def without_intercepts(model: Model) -> Model:
    """Return the model without random intercepts on the same rows, fitted."""
    problem = replace(model.problem, tau=0.0)
    found = search_with(problem, (model.nodes,)).candidate
    estimate = found.estimate
    return Model(
        problem,
        model.nodes,
        0.0,
        estimate.beta,
        estimate.contribution.value,
        found.found.converged,
        found.found.message,
        (model.nodes,),
    )


def compare(first: Model, second: Model) -> LikelihoodRatioTest:
    """Test the smaller of two models within the larger."""
    smaller, larger, nodes = nested(first, second)
    mixture = larger.tau_is_free and not smaller.tau_is_free and smaller.tau == 0.0
    return likelihood_ratio(
        (smaller.name, smaller.parameters, smaller.llf),
        (larger.name, larger.parameters, larger.llf),
        mixture,
        nodes,
    )


def nested(first: Model, second: Model) -> tuple[Model, Model, int]:
    """Return the smaller of two models, the larger, and the number of nodes of both.

    Raises
    ------
    ValueError
        If they cannot be compared.
    """
    for model in (first, second):
        _refuse(model)
    _same_rows(first.problem, second.problem)
    nodes = max(first.nodes, second.nodes)
    first, second = (_with_nodes(model, nodes) for model in (first, second))
    smaller, larger = sorted((first, second), key=lambda model: (model.p, model.tau_is_free))
    _nested(smaller, larger)
    return smaller, larger, nodes


def _with_nodes(model: Model, nodes: int) -> Model:
    """Return the model fitted with more nodes, whose log-likelihoods can be compared."""
    fixed_at_zero = not model.tau_is_free and model.tau == 0.0
    if model.nodes == nodes or fixed_at_zero:
        return model
    found = search_with(model.problem, (nodes,)).candidate
    result = Model(
        model.problem,
        nodes,
        found.estimate.tau,
        found.estimate.beta,
        found.estimate.contribution.value,
        found.found.converged,
        f"with the {nodes} nodes of the other fit, {found.found.message}",
        (nodes,),
    )
    _refuse(result)
    return result


def _refuse(model: Model) -> None:
    """Refuse a fit that is not at a maximum of its log-likelihood."""
    if not model.converged:
        raise ValueError(
            f"a fit did not converge, so that it is at no maximum to compare: {model.message}"
        )
    penalty = model.problem.penalty
    if penalty is not None:
        raise ValueError(
            f"a fit has penalty={penalty.name!r}: its log-likelihood is not a maximum, and has no "
            "chi-squared distribution; compare fits without a penalty"
        )


def _same_rows(one: Problem, two: Problem) -> None:
    """Refuse fits of different rows, in the order in which they were given."""
    if one.census.n != two.census.n:
        raise ValueError(
            f"the fits are of different data: {one.census.n} and {two.census.n} rows; where values "
            "are missing, fit both to the same rows, as to data.dropna(subset=[...]) with the "
            "columns of both"
        )
    if one.census.nobs != two.census.nobs:
        raise ValueError(
            "the fits are of different data: their rows stand for "
            f"{one.census.nobs:.10g} and {two.census.nobs:.10g} rows by their weights"
        )
    if one.census.family != two.census.family:
        raise ValueError(
            f"the fits have different families: {one.census.family!r} and {two.census.family!r}"
        )
    if len(one.sites) != len(two.sites):
        raise ValueError(
            f"the fits are of different data: at {len(one.sites)} and {len(two.sites)} sites"
        )
    key = secrets.token_hex(16)
    first, second = one.sites.digests(key), two.sites.digests(key)
    for name in ("y", "offset", "trials", "groups"):
        for site, a, b in zip(
            one.sites.names, getattr(first, name), getattr(second, name), strict=True
        ):
            if a != b:
                where = "" if len(one.sites) == 1 else f" at {site}"
                raise ValueError(f"the fits are of different data: {name} differs{where}")


def _nested(smaller: Model, larger: Model) -> None:
    """Refuse models of which neither contains the other."""
    free = larger.tau_is_free
    if smaller.tau_is_free and not free:
        raise ValueError(
            "the models are not nested: that with fewer columns of X estimates tau, and the other "
            f"has it fixed at {larger.tau:g}"
        )
    if not free and smaller.tau != larger.tau:
        raise ValueError(
            f"the models are not nested: tau is fixed at {smaller.tau:g} and {larger.tau:g}"
        )
    key, rows = secrets.token_hex(16), larger.p + ROWS_OF_SKETCH
    small, large = (
        model.problem.sites.sketch(
            key, rows, model.problem.census.scale * np.sqrt(model.problem.census.n)
        )
        for model in (smaller, larger)
    )
    q, _ = np.linalg.qr(large)
    outside = np.sqrt(np.sum((small - q @ (q.T @ small)) ** 2, axis=0))
    inverse = np.linalg.inv(np.asarray(np.linalg.qr(small, mode="r")))
    own = 1.0 / np.linalg.norm(inverse, axis=1)
    excess = outside / np.maximum(SPAN_TOLERANCE * own, SPAN_ROUNDING)
    if np.any(excess > 1.0):
        column = smaller.problem.census.names[int(np.argmax(excess))]
        raise ValueError(
            f"the models are not nested: column {column!r} of the smaller is no combination of "
            f"the columns of the larger, {list(larger.problem.census.names)}"
        )
    if smaller.p == larger.p and smaller.tau_is_free == free:
        raise ValueError(
            "the models are the same: their columns of X span the same space, and tau is "
            f"{'estimated' if free else 'fixed'} in both"
        )
