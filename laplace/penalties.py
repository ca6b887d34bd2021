r"""Penalties for data whose likelihood has no maximum, with exact first and second derivatives.

A penalty is added to the log-likelihood, as a `Contribution` in :math:`\theta = (\beta, \log\tau)`.

`Ridge` is :math:`-\tfrac{\lambda}{2} \sum_k (s_k \beta_k)^2`, with :math:`s_k` the standard
deviation of column k of X, over rows (over trials, for binomial outcomes). It is the log density,
but for a constant, of independent normal priors with mean 0 and variance :math:`1/\lambda` on the
coefficients of the standardised columns; with glmnet's `alpha = 0`, standardised columns and no
random intercepts, its lambda is this one divided by n. A constant column has :math:`s_k = 0` and
is not penalised; nor is :math:`\log\tau`. Rescaling a column rescales its estimate and nothing
else.

`Soft` is the penalty of maximum softly-penalised likelihood (Sterzinger and Kosmidis 2023),

.. math:: c \big\{\tfrac12 \log\det(X'WX) + D(\log\tau)\big\}, \qquad c = 2\sqrt{p/n},

where W has the weights :math:`b''(x_j'\beta + \mathrm{offset}_j)` of the model without random
intercepts, so that the first term is Jeffreys' prior of that model; D is the negative Huber loss,
:math:`-\tfrac12 x^2` for :math:`|x| \le 1` and :math:`\tfrac12 - |x|` beyond; and n is the number
of 0/1 outcomes: rows, or trials of binomial outcomes, so that the same outcomes have the same
estimates however they are put in rows. The factor c is the root of the average variance of the
linear predictors of that model at :math:`\beta = 0`; it falls so fast that the estimates keep the
asymptotic distribution of maximum likelihood. The first term falls to :math:`-\infty` wherever a
coefficient goes to infinity (Kosmidis and Firth 2021), and the second wherever tau goes to zero or
infinity, so that the estimates exist, with tau above zero. Linear transformations of the columns
of X transform the estimates of their coefficients, and nothing else.

References
----------
Kosmidis, I. and Firth, D. (2021). Jeffreys-prior penalty, finiteness and shrinkage in
binomial-response generalized linear models. Biometrika 108, 71-82.
doi:10.1093/biomet/asaa052

Le Cessie, S. and van Houwelingen, J. C. (1992). Ridge estimators in logistic regression. Journal of
the Royal Statistical Society: Series C 41, 191-201. doi:10.2307/2347628

Sterzinger, P. and Kosmidis, I. (2023). Maximum softly-penalized likelihood for mixed effects
logistic regression. Statistics and Computing 33, 53. doi:10.1007/s11222-023-10217-3
"""

from __future__ import annotations

import difflib
from typing import Any, Protocol

import numpy as np

from laplace.answers import Census
from laplace.arguments import Array, number, shown
from laplace.contribution import Contribution
from laplace.families import Poisson
from laplace.questions import View
from laplace.sites import Sites

NAMES = ("ridge", "soft")


class Penalty(Protocol):
    """What is added to the log-likelihood; a function of (beta, log tau)."""

    name: str
    strength: float
    # whether its maximum always exists, with tau between zero and infinity where tau is free
    always_inside: bool
    # whether it falls without end along every direction of the coefficients
    bounds_all: bool
    # whether its curvature is part of the information that standard errors come from
    informs: bool

    def at(self, beta: Array, tau: float) -> Contribution:
        """Value, gradient and Hessian in (beta, log tau)."""

    def on(self, view: View, back: Array) -> Penalty:
        """Return the same penalty for the coefficients of other columns.

        Parameters
        ----------
        view : View
            The rows, in columns that span those of the penalty.
        back : ndarray of shape (p, p)
            Coefficients of the penalty's columns, for each of those of the view.
        """

    def describe(self) -> str:
        """Return the penalty and its strength in words, for the summary."""


def check(penalty: Any, strength: Any) -> tuple[str | None, float | None]:
    """Return a known name and its strength, or say what is wrong.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or the strength is missing, not positive, or does not go with it.
    """
    if penalty is None:
        if strength is not None:
            raise ValueError(
                "strength must be left out without a penalty; give penalty='ridge' with it"
            )
        return None, None
    if not isinstance(penalty, str):
        raise TypeError(f"penalty must be None, 'ridge' or 'soft', got {shown(penalty)}")
    if penalty not in NAMES:
        near = difflib.get_close_matches(penalty.lower(), NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"penalty must be None, 'ridge' or 'soft', got {shown(penalty)}{hint}")
    if penalty == "soft":
        if strength is not None:
            raise ValueError(
                "strength must be left out with penalty='soft', which sets its own: 2 * sqrt(p / n)"
            )
        return penalty, None
    if strength is None:
        raise ValueError(
            "strength must be given with penalty='ridge'; strength=1 is as much as a normal prior "
            "with standard deviation 1 on the coefficient of each standardised column"
        )
    value = number("strength", strength)
    if value <= 0.0:
        raise ValueError(
            f"strength must be above 0, got {value:g}; leave out penalty and strength for a fit "
            "without a penalty"
        )
    return penalty, value


def build(
    name: str, strength: float | None, sites: Sites, census: Census, rows: View, tau_is_free: bool
) -> Penalty:
    """Return the penalty of a name for these rows; "soft" has its own strength.

    Raises
    ------
    ValueError
        If the penalty is not for outcomes of this kind, or has nothing to act on.
    """
    if name == "soft":
        if census.family == Poisson.name:
            raise ValueError(
                f"penalty='soft' is for 0/1 and binomial outcomes, not for family="
                f"{census.family!r}; use penalty='ridge' with a strength"
            )
        return Soft(sites, rows, 2.0 * float(np.sqrt(census.p / census.trials)), tau_is_free)
    assert strength is not None
    deviations = sites.moments(rows).deviations
    if not np.any(deviations):
        raise ValueError(
            "penalty='ridge' has nothing to act on: every column of X is constant, and constant "
            "columns are not penalised"
        )
    return Ridge(strength, np.sqrt(strength) * np.diag(deviations))


class Ridge:
    r"""The ridge penalty, :math:`-\tfrac12 |A\beta|^2`.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, above 0.
    root : ndarray of shape (p, p)
        A; for the columns of X it is diagonal, with entries :math:`\sqrt\lambda s_k`.
    """

    name = "ridge"
    always_inside = False
    informs = True

    def __init__(self, strength: float, root: Array) -> None:
        self.strength = strength
        self.root = root
        # the columns of another basis span the same space, so that this is a matter of rank
        self.bounds_all = bool(np.all(np.any(root != 0.0, axis=0)))

    def at(self, beta: Array, tau: float) -> Contribution:
        """Value, gradient and Hessian in (beta, log tau)."""
        p = len(beta)
        scaled = self.root @ beta
        hessian = np.zeros((p + 1, p + 1))
        hessian[:p, :p] = -self.root.T @ self.root
        return Contribution(
            -0.5 * float(scaled @ scaled), np.append(-self.root.T @ scaled, 0.0), hessian
        )

    def on(self, view: View, back: Array) -> Ridge:
        """Return the same penalty for the coefficients of other columns."""
        return Ridge(self.strength, self.root @ back)

    def describe(self) -> str:
        """Return the penalty and its strength in words."""
        return (
            f"ridge, strength {self.strength:g}, on the coefficients of standardised columns; "
            "none on tau"
        )


class Soft:
    r"""The penalty of maximum softly-penalised likelihood.

    Parameters
    ----------
    sites : Sites
        Where the rows are.
    view : View
        Which rows, in which columns.
    strength : float
        The factor c.
    tau_is_free : bool
        Whether :math:`\log\tau` is penalised: where tau is fixed it is not.
    constant : float
        Added to the value, so that it is the same for all columns that span the same space.
    """

    name = "soft"
    always_inside = True
    bounds_all = True
    informs = False

    def __init__(
        self, sites: Sites, view: View, strength: float, tau_is_free: bool, constant: float = 0.0
    ) -> None:
        self.sites = sites
        self.view = view
        self.strength = strength
        self.tau_is_free = tau_is_free
        self.constant = constant

    def at(self, beta: Array, tau: float) -> Contribution:
        """Value, gradient and Hessian in (beta, log tau)."""
        p, c = len(beta), self.strength
        value, gradient, hessian = self._jeffreys(beta)
        full_gradient, full_hessian = np.zeros(p + 1), np.zeros((p + 1, p + 1))
        full_gradient[:p], full_hessian[:p, :p] = c * gradient, c * hessian
        value = c * (value + self.constant)
        if self.tau_is_free:
            huber, full_gradient[p], full_hessian[p, p] = (c * d for d in negative_huber(tau))
            value += huber
        return Contribution(value, full_gradient, full_hessian)

    def _jeffreys(self, beta: Array) -> tuple[float, Array, Array]:
        r"""Half the log determinant of :math:`X'WX`, and its derivatives in beta.

        With :math:`W^{1/2}X = QR`, rows :math:`q_j` of Q, leverages :math:`h_j = q_j'q_j`, and
        :math:`A_k = \sum_j (b'''/b'')_j x_{jk} q_j q_j'` they are
        :math:`\tfrac12 \sum_j (b'''/b'')_j h_j x_{jk}` and
        :math:`\tfrac12 \sum_j (b''''/b'')_j h_j x_{jk} x_{jl} - \tfrac12 \mathrm{tr}(A_k A_l)`.
        The ratios are bounded, however small the weights are.
        """
        p = len(beta)
        r = self.sites.triangle(np.ones(p), self.view, beta)
        diagonal = np.abs(np.diag(r))
        if not np.all(diagonal > 0.0):  # every weight has underflowed in some direction
            return -np.inf, np.zeros(p), np.zeros((p, p))
        sums = self.sites.jeffreys(beta, r, self.view)
        A = sums.products.reshape(p, -1)
        hessian = 0.5 * sums.second - 0.5 * A @ A.T
        return (
            float(np.sum(np.log(diagonal))),
            0.5 * sums.first,
            0.5 * (hessian + hessian.T),
        )

    def on(self, view: View, back: Array) -> Soft:
        """Return the same penalty for the coefficients of other columns."""
        _, log_determinant = np.linalg.slogdet(back)
        constant = self.constant - float(log_determinant)
        return Soft(self.sites, view, self.strength, self.tau_is_free, constant)

    def describe(self) -> str:
        """Return the penalty and its strength in words."""
        on_tau = ", and a Huber loss on log tau" if self.tau_is_free else ""
        return f"soft, strength {self.strength:.4g}, Jeffreys' prior on the coefficients{on_tau}"


def negative_huber(tau: float) -> tuple[float, float, float]:
    r"""Return :math:`D(\log\tau)` and its first two derivatives in :math:`\log\tau`.

    The second derivative is not defined where :math:`|\log\tau| = 1`; there it is -1.
    """
    if tau == 0.0:
        return -np.inf, np.inf, 0.0
    x = float(np.log(tau))
    if abs(x) <= 1.0:
        return -0.5 * x**2, -x, -1.0
    return 0.5 - abs(x), -float(np.sign(x)), 0.0
