r"""The marginal log-likelihood of grouped data, with its exact gradient and Hessian.

The parameter is :math:`\theta = (\beta, \log\tau)`. `laplace.kernels` computes; here are the
functions that hand it the rows, and add up what comes back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from laplace.arguments import Array, coefficients, flag, standard_deviation
from laplace.contribution import AtZero, Contribution
from laplace.families import read_only
from laplace.grouped import GroupedData
from laplace.later import is_frame
from laplace.nodes import check_nodes, gauss_hermite
from laplace.plan import compiled


def loglik(
    y: Any,
    X: Any,
    groups: Any,
    beta: Any,
    tau: Any,
    *,
    family: str = "bernoulli",
    trials: Any = None,
    offset: Any = None,
    weights: Any = None,
    nodes: int = 1,
    adaptive: bool = True,
) -> Contribution:
    r"""Marginal log-likelihood of a regression with random intercepts at given parameters.

    Parameters
    ----------
    y : array_like of shape (n,)
        Outcomes: 0 or 1, numbers of successes, or counts, as `family` says.
    X : array_like of shape (n, p)
        Covariates, used as given: no intercept is added.
    groups : array_like of shape (n,)
        Group labels: rows with the same label share one random intercept.
    beta : array_like of shape (p,)
        Coefficients. A labelled Series goes by its labels where X is a DataFrame.
    tau : float
        Standard deviation of the random intercepts: 0, or from 1e-8 to 1e6. At 0 the likelihood is
        that of logistic regression, and the derivatives in :math:`\log\tau` are zero.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes, with the canonical link (logit, logit, log).
    trials : int or array_like of shape (n,), optional
        Numbers of trials of binomial outcomes.
    offset : array_like of shape (n,), optional
        Added to the linear predictor.
    weights : array_like of shape (n,), optional
        How many rows each row stands for; of proportions of binomial outcomes, numbers of trials.
    nodes : int
        1 is the Laplace approximation, K the Gauss-Hermite rule with K nodes.
    adaptive : bool
        False is the ordinary Gauss-Hermite rule, centred at zero with scale `tau`.

    Returns
    -------
    Contribution
        Value, gradient and Hessian, with respect to :math:`(\beta, \log\tau)`. All constants are
        kept, so values with different numbers of nodes differ by the error of the approximation
        alone. That is no reason to prefer the higher one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.

    References
    ----------
    Liu, Q. and Pierce, D. A. (1994). A note on Gauss-Hermite quadrature. Biometrika 81, 624-629.

    Examples
    --------
    >>> import numpy as np, laplace
    >>> y, groups = [0, 1, 1, 1, 0, 0], ["a", "a", "a", "b", "b", "b"]
    >>> part = laplace.loglik(y, np.ones((6, 1)), groups, beta=[0.0], tau=1.0)
    >>> round(part.value, 6), part.gradient.shape, part.hessian.shape
    (-4.566717, (2,), (2, 2))
    """
    data = GroupedData.from_arrays(
        y, X, groups, family=family, trials=trials, offset=offset, weights=weights
    )
    beta = coefficients(beta, data.names, named_columns=is_frame(X))
    tau = standard_deviation("tau", tau)
    return Likelihood(data, check_nodes(nodes), flag("adaptive", adaptive)).at(beta, tau)


class Likelihood:
    """The log-likelihood of some rows as a function of its parameters.

    A value depends on the rows and the parameters alone, not on what was asked before.

    Parameters
    ----------
    data : GroupedData
        The rows.
    nodes : int
        Number of quadrature nodes; 1 is the Laplace approximation.
    adaptive : bool
        Whether the nodes follow the mode of each group.
    """

    def __init__(self, data: GroupedData, nodes: int = 1, adaptive: bool = True) -> None:
        self.data = data
        self.nodes = nodes
        self.adaptive = adaptive

    def __call__(self, theta: Array) -> Contribution:
        r"""Evaluate at :math:`\theta = (\beta, \log\tau)`."""
        return self.at(theta[:-1], float(np.exp(theta[-1])))

    def at(self, beta: Array, tau: float) -> Contribution:
        """Evaluate at coefficients and a standard deviation."""
        if tau == 0.0:
            return without_random_intercepts(self.data, beta)
        return self._evaluate(beta, tau)[0]

    def _evaluate(self, beta: Array, tau: float) -> tuple[Contribution, Array, Array]:
        """Return also the modes, and the sum of b'' of each group there."""
        kernels = compiled()
        data, plan = self.data, self.data.plan
        m, slabs = plan.m, plan.count
        u, information, lost = np.empty(m), np.empty(m), np.zeros(slabs, np.int64)
        if not self.adaptive:
            rule = kernels.ORDINARY
        else:
            rule = kernels.LAPLACE if self.nodes == 1 else kernels.ADAPTIVE
        sums = _sums(slabs, data.p + 1)
        plan.run(
            kernels.evaluate,
            data.rows,
            read_only(np.ascontiguousarray(beta, dtype=float)),
            float(tau),
            kernels.Rule(rule, *gauss_hermite(self.nodes)),
            kernels.Modes(u, information, lost),
            sums,
            work=data.X.size * self.nodes,
        )
        if any(lost.tolist()):
            raise ArithmeticError(
                f"the modes of {int(np.sum(lost))} groups were not found in "
                f"{kernels.MODE_ITERATIONS} steps at tau={tau:g}; rescale X if its values are "
                "extreme"
            )
        return Contribution(*_total(sums, data.constant)), u, information

    def modes(self, beta: Array, tau: float) -> tuple[Array, Array]:
        r"""Find the mode of every group, and the width of the integrand there.

        Parameters
        ----------
        beta : ndarray of shape (p,)
            Coefficients.
        tau : float
            Standard deviation, above zero.

        Returns
        -------
        u, omega : ndarray of shape (m,)
            :math:`\hat\mu` and :math:`\hat\omega`, in the order of the labels.
        """
        _, u, information = self._evaluate(beta, tau)
        return u, (information + tau**-2) ** -0.5


def without_random_intercepts(data: GroupedData, beta: Array) -> AtZero:
    """Evaluate the model without them: the limit of the likelihood as tau falls to zero.

    Parameters
    ----------
    data : GroupedData
        The rows.
    beta : ndarray of shape (p,)
        Coefficients.
    """
    plan, p = data.plan, data.p
    slabs = plan.count
    sums, spread = _sums(slabs, p), np.empty((slabs, 4))
    plan.run(
        compiled().evaluate_without,
        data.rows,
        read_only(np.ascontiguousarray(beta, dtype=float)),
        sums,
        spread,
        work=data.X.size,
    )
    value, of_beta, in_beta = _total(sums, data.constant)
    gradient, hessian = np.zeros(p + 1), np.zeros((p + 1, p + 1))
    gradient[:-1], hessian[:-1, :-1] = of_beta, in_beta
    slope, squares, least, most = spread[0].tolist()
    if slabs > 1:
        slope, squares = np.add.reduce(spread[:, :2], axis=0).tolist()
        least, most = float(spread[:, 2].min()), float(spread[:, 3].max())
    return AtZero(value, gradient, hessian, slope, squares, least, most)


def _sums(slabs: int, q: int) -> Any:
    """Return where the kernels leave the sums of each slab, for q parameters."""
    return compiled().Sums(np.empty(slabs), np.empty((slabs, q)), np.empty((slabs, q, q)))


def _total(sums: Any, constant: float) -> tuple[float, Array, Array]:
    """Add the sums of the slabs in their order, and the constant of the log-likelihood."""
    values, gradients, hessians = sums
    if len(values) == 1:
        return values.item() + constant, gradients[0], hessians[0]
    value, gradient, hessian = (np.add.reduce(part, axis=0) for part in sums)
    return float(value) + constant, gradient, hessian
