r"""The outcome's distribution: its cumulant function b and the derivatives of b.

With a canonical link, :math:`\log f(y \mid \eta) = y\eta - b(\eta) + c(y)`, so that everything in
the derivation is made of sums of :math:`b', b'', b'''` and :math:`b''''`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from laplace.arguments import ANY_ROWS, RowNames, and_more, exactly, same_in_rows, shown
from laplace.arguments import Array as Array
from laplace.later import logit, special

# (16 sqrt(3) / (15 pi))^2, as Zeger, Liang and Albert (1988) round it: averaged over intercepts
# with variance tau^2, a logit shrinks by the root of 1 + this times tau^2.
ATTENUATION = 0.346
# Where the trapezoidal rule takes the means over groups: standard normal deviates, and logits.
DEVIATES = np.arange(-10.0, 10.25, 0.5)
LOGITS = np.arange(-40.0, 40.25, 0.5)


def _normal(z: Array) -> Array:
    """Return the standard normal density."""
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi))


def read_only(array: Array) -> Array:
    """Return a view that cannot be written to; the kernels are compiled for such arrays."""
    view = array.view()
    view.flags.writeable = False
    return view


class Family(Protocol):
    """What the derivation needs of a distribution; functions of eta are elementwise, by row."""

    name: str
    title: str

    def b(self, eta: Array) -> Array:
        """Cumulant function."""

    def b_1(self, eta: Array) -> Array:
        """First derivative of b: the mean of y."""

    def b_2(self, eta: Array) -> Array:
        """Second derivative of b: the variance of y."""

    def b_3(self, eta: Array) -> Array:
        """Third derivative of b."""

    def b_4(self, eta: Array) -> Array:
        """Fourth derivative of b."""

    def log_density(self, y: Array, eta: Array) -> Array:
        """Log of f(y | eta), with its constant."""

    def constant(self, y: Array) -> float:
        """Sum over rows of the part of the log density that is free of eta."""

    def residual(self, y: Array, eta: Array) -> Array:
        """Return y minus its mean, the derivative of the log density in eta."""

    def predicted(self, eta: Array) -> Array:
        """Mean of y, of a single trial where there are trials."""

    def marginal(self, eta: Array, tau: float) -> Array:
        """Mean of `predicted` at eta + u, with u normal with mean 0 and standard deviation tau."""

    def marginal_slopes(self, eta: Array, tau: float) -> tuple[Array, Array]:
        """Return the derivatives of `marginal` in eta and in tau."""

    def link(self, mean: Array) -> Array:
        """Linear predictor at which `predicted` has a mean."""

    def typical(self, y: Array) -> float:
        """Linear predictor of the mean outcome: where `predicted` has the mean of y."""

    def attenuation(self, tau: float) -> tuple[float, float]:
        """Factor and shift of the linear predictor when random intercepts are averaged out."""

    def largest(self, y: Array) -> Array:
        """Largest value that each outcome could have had."""

    def rows(self, index: NDArray[np.intp] | slice) -> Family:
        """Return the family of these rows."""

    def check(self, y: Array, rows: RowNames = ANY_ROWS) -> None:
        """Refuse outcomes that the distribution does not have."""

    def repeated(self, y: Array, weights: Array) -> tuple[Array, Array, Family]:
        """Return outcomes, offsets to add, and family of rows that stand for several rows each.

        A row with weight w has the likelihood of one row to the power of w. That is the likelihood
        of one row of the same kind of outcome, with a constant of its own.
        """

    def directions(self, y: Array, X: Array) -> Array:
        """Rows r: along d with all r'd >= 0 the likelihood never falls, and > 0 it rises."""


class Bernoulli:
    r"""A 0/1 outcome with :math:`\pi = e^\eta / (1 + e^\eta)`: :math:`b(\eta) = \log(1 + e^\eta)`.

    Every form is accurate for any finite eta: none takes exp of a large number, and none subtracts
    two numbers that are nearly equal when eta is far from zero.
    """

    name = "bernoulli"
    title = "logistic regression"

    def b(self, eta: Array) -> Array:
        r"""Return :math:`b = \log(1 + e^\eta)`; :eq:`eq-b`."""
        return np.logaddexp(0.0, eta)

    def b_1(self, eta: Array) -> Array:
        r"""Return :math:`b' = \pi`; :eq:`eq-b_1`."""
        return np.asarray(special().expit(eta))

    def b_2(self, eta: Array) -> Array:
        r"""Return :math:`b'' = \pi(1 - \pi)`, with 1 - pi as expit(-eta); :eq:`eq-b_2`."""
        return np.asarray(special().expit(eta) * special().expit(-np.asarray(eta)))

    def b_3(self, eta: Array) -> Array:
        r"""Return :math:`b''' = b''(1 - 2\pi)`, with 1 - 2 pi as -tanh(eta/2); :eq:`eq-b_3`."""
        return -self.b_2(eta) * np.tanh(np.asarray(eta) / 2.0)

    def b_4(self, eta: Array) -> Array:
        r"""Return :math:`b'''' = b''(1 - 6b'')`; :eq:`eq-b_4`."""
        b_2 = self.b_2(eta)
        return b_2 * (1.0 - 6.0 * b_2)

    def log_density(self, y: Array, eta: Array) -> Array:
        r"""Return :math:`y\log\pi + (1 - y)\log(1 - \pi)`."""
        return -np.logaddexp(0.0, np.where(y > 0.5, -eta, eta))

    def constant(self, y: Array) -> float:
        """Return zero."""
        return 0.0

    def residual(self, y: Array, eta: Array) -> Array:
        r"""Return :math:`y - \pi`, where 1 - pi is expit(-eta)."""
        one = y > 0.5
        return np.asarray(np.where(one, 1.0, -1.0) * special().expit(np.where(one, -eta, eta)))

    def predicted(self, eta: Array) -> Array:
        """Return the probability that y is 1."""
        return self.b_1(eta)

    def marginal(self, eta: Array, tau: float) -> Array:
        r"""Return :math:`\int \pi(\eta + u)\, \varphi(u; 0, \tau^2)\, du`, to 1e-12.

        By the trapezoidal rule, whose error falls exponentially for analytic functions (Trefethen
        and Weideman 2014): on the integral as it stands while tau is below one, and from there on
        its integral by parts, :math:`\int b''(t)\, \Phi((\eta - t)/\tau)\, dt`, as the poles of
        :math:`\pi` come close to the nodes where tau is large.

        References
        ----------
        Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal
        rule. SIAM Review 56, 385-458. doi:10.1137/130932132
        """
        eta = np.asarray(eta, dtype=float)
        if tau == 0.0:
            return self.b_1(eta)
        total = np.zeros_like(eta)
        if tau < 1.0:
            for z, weight in zip(DEVIATES, 0.5 * _normal(DEVIATES), strict=True):
                total += weight * self.b_1(eta + tau * z)
            return total
        for t, weight in zip(LOGITS, 0.5 * self.b_2(LOGITS), strict=True):
            total += weight * special().ndtr((eta - t) / tau)
        return total

    def marginal_slopes(self, eta: Array, tau: float) -> tuple[Array, Array]:
        """Return the derivatives of the same sums, term by term."""
        eta = np.asarray(eta, dtype=float)
        if tau == 0.0:
            return self.b_2(eta), np.zeros_like(eta)
        in_eta, in_tau = np.zeros_like(eta), np.zeros_like(eta)
        if tau < 1.0:
            for z, weight in zip(DEVIATES, 0.5 * _normal(DEVIATES), strict=True):
                slope = weight * self.b_2(eta + tau * z)
                in_eta += slope
                in_tau += z * slope
            return in_eta, in_tau
        for t, weight in zip(LOGITS, 0.5 * self.b_2(LOGITS), strict=True):
            z = (eta - t) / tau
            slope = weight * _normal(z) / tau
            in_eta += slope
            in_tau -= z * slope
        return in_eta, in_tau

    def link(self, mean: Array) -> Array:
        """Return the logit."""
        return np.asarray(special().logit(mean))

    def typical(self, y: Array) -> float:
        """Return the logit of the share of ones."""
        return logit(float(np.mean(y)))

    def attenuation(self, tau: float) -> tuple[float, float]:
        """Return the factor of Zeger, Liang and Albert (1988), equation 3.1, about right."""
        return float(1.0 / np.sqrt(1.0 + ATTENUATION * tau**2)), 0.0

    def largest(self, y: Array) -> Array:
        """Return ones, which take no memory."""
        return same_in_rows(1.0, len(y))

    def rows(self, index: NDArray[np.intp] | slice) -> Bernoulli:
        """Return the family itself: it has nothing that differs between rows."""
        return self

    def check(self, y: Array, rows: RowNames = ANY_ROWS) -> None:
        """Refuse outcomes other than 0 and 1."""
        if not ((y == 0.0) | (y == 1.0)).all():
            wrong = np.flatnonzero((y != 0.0) & (y != 1.0))
            advice = "recode the outcome, or give another family"
            if np.all((y >= 0.0) & (y == np.floor(y))):
                advice += ": 'poisson' for counts, 'binomial' for successes among trials"
            if np.all((y >= 0.0) & (y <= 1.0)):
                advice = (
                    "recode the outcome; in the place of a proportion, give the numbers of "
                    "successes and of trials, with family='binomial'"
                )
            raise ValueError(
                f"y must be 0 or 1, got {exactly(y[wrong[0]])} in {rows(wrong[0])}"
                f"{and_more(wrong)}; {advice}"
            )

    def repeated(self, y: Array, weights: Array) -> tuple[Array, Array, Family]:
        """Return w successes, or none, in w trials, of which the order is known."""
        family = Repeated(weights, np.zeros(len(y)), self.name)
        return y * weights, np.zeros(len(y)), family

    def directions(self, y: Array, X: Array) -> Array:
        """Return x where y is 1, and -x where y is 0."""
        return np.where(y > 0.5, 1.0, -1.0)[:, None] * X


BERNOULLI = Bernoulli()


class Binomial:
    r"""Successes among trials: :math:`b(\eta) = n\log(1 + e^\eta)`, with n trials in a row.

    Parameters
    ----------
    trials : ndarray
        Number of trials of each row; one without trials carries nothing.
    """

    name = "binomial"
    title = "binomial logistic regression"

    def __init__(self, trials: Array) -> None:
        self.trials = read_only(np.asarray(trials))

    def b(self, eta: Array) -> Array:
        r"""Return :math:`n\log(1 + e^\eta)`."""
        return self.trials * BERNOULLI.b(eta)

    def b_1(self, eta: Array) -> Array:
        """Return n times the derivative for one trial."""
        return self.trials * BERNOULLI.b_1(eta)

    def b_2(self, eta: Array) -> Array:
        """Return n times the derivative for one trial."""
        return self.trials * BERNOULLI.b_2(eta)

    def b_3(self, eta: Array) -> Array:
        """Return n times the derivative for one trial."""
        return self.trials * BERNOULLI.b_3(eta)

    def b_4(self, eta: Array) -> Array:
        """Return n times the derivative for one trial."""
        return self.trials * BERNOULLI.b_4(eta)

    def log_density(self, y: Array, eta: Array) -> Array:
        """Return the log of the binomial probability, its coefficient included."""
        return np.asarray(
            self._log_coefficient(y)
            - y * np.logaddexp(0.0, -eta)
            - (self.trials - y) * np.logaddexp(0.0, eta)
        )

    def _log_coefficient(self, y: Array) -> Array:
        failures = self.trials - y
        return np.asarray(
            special().gammaln(self.trials + 1.0)
            - special().gammaln(y + 1.0)
            - special().gammaln(failures + 1.0)
        )

    def constant(self, y: Array) -> float:
        """Return the sum of the logs of the binomial coefficients."""
        return float(np.sum(self._log_coefficient(y)))

    def residual(self, y: Array, eta: Array) -> Array:
        r"""Return :math:`y - n\pi`, as y (1 - pi) - (n - y) pi."""
        return np.asarray(y * special().expit(-eta) - (self.trials - y) * special().expit(eta))

    def predicted(self, eta: Array) -> Array:
        """Return the probability of a success in one trial."""
        return BERNOULLI.b_1(eta)

    def marginal(self, eta: Array, tau: float) -> Array:
        """Return the mean of one trial over groups."""
        return BERNOULLI.marginal(eta, tau)

    def marginal_slopes(self, eta: Array, tau: float) -> tuple[Array, Array]:
        """Return the derivatives of the mean of one trial over groups."""
        return BERNOULLI.marginal_slopes(eta, tau)

    def link(self, mean: Array) -> Array:
        """Return the logit."""
        return BERNOULLI.link(mean)

    def typical(self, y: Array) -> float:
        """Return the logit of the share of successes."""
        return logit(float(np.sum(y) / np.sum(self.trials)))

    def attenuation(self, tau: float) -> tuple[float, float]:
        """Return factor and shift for one trial."""
        return BERNOULLI.attenuation(tau)

    def largest(self, y: Array) -> Array:
        """Return the number of trials."""
        return self.trials

    def rows(self, index: NDArray[np.intp] | slice) -> Binomial:
        """Return the family with the trials of these rows."""
        return Binomial(np.ascontiguousarray(self.trials[index]))

    def check(self, y: Array, rows: RowNames = ANY_ROWS) -> None:
        """Refuse counts that are negative, fractional, or above the number of trials."""
        _check_counts("y", y, rows=rows)
        wrong = np.flatnonzero(y > self.trials)
        if wrong.size:
            first = wrong[0]
            raise ValueError(
                f"y must not exceed trials, got {exactly(y[first])} successes in "
                f"{exactly(self.trials[first])} trials in {rows(first)}{and_more(wrong)}; y counts "
                "successes, not proportions"
            )

    def repeated(self, y: Array, weights: Array) -> tuple[Array, Array, Family]:
        """Return w times the successes in w times the trials, with w times the constant."""
        family = Repeated(weights * self.trials, weights * self._log_coefficient(y), self.name)
        return y * weights, np.zeros(len(y)), family

    def directions(self, y: Array, X: Array) -> Array:
        """Return x where there are successes, and -x where there are failures."""
        return np.concatenate([X[y > 0.0], -X[y < self.trials]])


class Repeated(Binomial):
    """Rows that stand for several rows of 0/1 or binomial outcomes each.

    Parameters
    ----------
    trials : ndarray
        Number of trials of each row, of all rows that it stands for together.
    coefficient : ndarray
        Log of the binomial coefficients of each row, of all that it stands for together.
    name : {"bernoulli", "binomial"}
        Family of the outcomes.
    """

    def __init__(self, trials: Array, coefficient: Array, name: str) -> None:
        super().__init__(trials)
        self.name = name
        self.coefficient = read_only(coefficient)

    def _log_coefficient(self, y: Array) -> Array:
        return self.coefficient

    def rows(self, index: NDArray[np.intp] | slice) -> Repeated:
        """Return the family with the trials of these rows."""
        trials, coefficient = self.trials[index], self.coefficient[index]
        return Repeated(np.ascontiguousarray(trials), np.ascontiguousarray(coefficient), self.name)


class Poisson:
    r"""A count with mean :math:`e^\eta`: :math:`b(\eta) = e^\eta`, as are all its derivatives.

    No count is above :math:`e^{230} = 10^{100}`, but a long Newton step or an outer quadrature node
    may be. There the derivatives stay at this value, and the log density falls on as a straight
    line: it is far below any that counts, and nothing that is computed from it overflows.
    """

    name = "poisson"
    title = "Poisson regression"
    largest_eta = 230.0

    def b(self, eta: Array) -> Array:
        r"""Return :math:`e^\eta`."""
        return np.asarray(self.b_1(eta) * (1.0 + np.maximum(0.0, eta - self.largest_eta)))

    def b_1(self, eta: Array) -> Array:
        r"""Return :math:`e^\eta`."""
        return np.asarray(np.exp(np.minimum(eta, self.largest_eta)))

    b_2 = b_3 = b_4 = b_1

    def log_density(self, y: Array, eta: Array) -> Array:
        r"""Return :math:`y\eta - e^\eta - \log y!`."""
        return np.asarray(y * eta - self.b(eta) - special().gammaln(y + 1.0))

    def constant(self, y: Array) -> float:
        r"""Return the sum of :math:`-\log y!`."""
        return -float(np.sum(special().gammaln(y + 1.0)))

    def residual(self, y: Array, eta: Array) -> Array:
        r"""Return :math:`y - e^\eta`."""
        return np.asarray(y - self.b_1(eta))

    def predicted(self, eta: Array) -> Array:
        """Return the mean."""
        return self.b_1(eta)

    def marginal(self, eta: Array, tau: float) -> Array:
        r"""Return :math:`e^{\eta + \tau^2 / 2}`."""
        return self.b_1(eta + 0.5 * tau**2)

    def marginal_slopes(self, eta: Array, tau: float) -> tuple[Array, Array]:
        """Return the mean, and tau times the mean."""
        mean = self.marginal(eta, tau)
        return mean, tau * mean

    def link(self, mean: Array) -> Array:
        """Return the logarithm."""
        return np.log(mean)

    def typical(self, y: Array) -> float:
        """Return the log of the mean count."""
        return float(np.log(np.mean(y)))

    def attenuation(self, tau: float) -> tuple[float, float]:
        r"""Return the shift: the mean of :math:`e^{u}` is :math:`e^{\tau^2/2}`."""
        return 1.0, 0.5 * tau**2

    def largest(self, y: Array) -> Array:
        """Return infinity, which takes no memory: counts have no bound."""
        return same_in_rows(np.inf, len(y))

    def rows(self, index: NDArray[np.intp] | slice) -> Poisson:
        """Return the family itself: it has nothing that differs between rows."""
        return self

    def check(self, y: Array, rows: RowNames = ANY_ROWS) -> None:
        """Refuse counts that are negative or fractional."""
        _check_counts("y", y, rows=rows)

    def repeated(self, y: Array, weights: Array) -> tuple[Array, Array, Family]:
        r"""Return w times the count, with :math:`\log w` added to the linear predictor.

        .. math:: w (y\eta - e^\eta) = wy(\eta + \log w) - e^{\eta + \log w} - wy\log w.
        """
        shift = np.log(weights)
        coefficient = -weights * (special().gammaln(y + 1.0) + y * shift)
        return y * weights, shift, RepeatedPoisson(coefficient)

    def directions(self, y: Array, X: Array) -> Array:
        """Return -x where y is 0, and both x and -x elsewhere: there x'd has to be zero."""
        some = y > 0.0
        return np.concatenate([-X[~some], X[some], -X[some]])


class RepeatedPoisson(Poisson):
    """Rows that stand for several rows of counts each.

    Parameters
    ----------
    coefficient : ndarray
        What is free of the parameters in the log density of each row.
    """

    def __init__(self, coefficient: Array) -> None:
        self.coefficient = read_only(coefficient)

    def log_density(self, y: Array, eta: Array) -> Array:
        """Return the log density of all rows that each row stands for."""
        return np.asarray(y * eta - self.b(eta) + self.coefficient)

    def constant(self, y: Array) -> float:
        """Return the sum over rows of what is free of the parameters."""
        return float(np.sum(self.coefficient))

    def rows(self, index: NDArray[np.intp] | slice) -> RepeatedPoisson:
        """Return the family with the constants of these rows."""
        return RepeatedPoisson(np.ascontiguousarray(self.coefficient[index]))


POISSON = Poisson()

NAMES = (Bernoulli.name, Binomial.name, Poisson.name)


def of_one_trial(name: str) -> Family:
    """Return the family of a single trial of this family, or of a count."""
    return POISSON if name == Poisson.name else BERNOULLI


def typical_of_means(name: str, means: Array) -> Array:
    """Return the linear predictors of mean outcomes of one trial, or of mean counts.

    `Family.typical` is that of the mean outcome of some rows.
    """
    return np.asarray(np.log(means) if name == Poisson.name else special().logit(means))


def title(name: str) -> str:
    """Return what a regression of this family is called."""
    families: tuple[type[Family], ...] = (Bernoulli, Binomial, Poisson)
    return {family.name: family.title for family in families}[name]


def named(name: Any, trials: Array | None, rows: RowNames = ANY_ROWS) -> Family:
    """Return the family of a name, or say what is wrong.

    Parameters
    ----------
    name : {"bernoulli", "binomial", "poisson"}
        Name of the family.
    trials : ndarray or None
        Number of trials of each row: needed for binomial outcomes, refused for others.
    rows : RowNames
        What rows are called.

    Returns
    -------
    Family

    Raises
    ------
    ValueError
        If the name is unknown, or trials do not go with it, or are not whole or all zero.
    """
    if name not in NAMES:
        raise ValueError(f"family must be one of {', '.join(map(repr, NAMES))}, got {shown(name)}")
    if name == Binomial.name:
        if trials is None:
            raise ValueError(
                "trials must be given with family='binomial' where y is not 0 or 1: the number of "
                "trials of each row, of which y is the number of successes"
            )
        trials = whole(trials)
        _check_counts("trials", trials, rows=rows)
        if not np.any(trials):
            raise ValueError("trials is 0 in every row; rows with trials are needed")
        return Binomial(trials)
    if trials is not None:
        raise ValueError(f"trials must be left out with family={name!r}; it is for 'binomial'")
    return BERNOULLI if name == Bernoulli.name else POISSON


def whole(values: Array) -> Array:
    """Return numbers that were computed, as 0.07 * 100, as the whole numbers that they are.

    That are those within 1e-9 of a whole number, relative to its size, and within 0.01.
    """
    nearest = np.round(values)
    distance = np.abs(values - nearest)
    near = distance <= np.minimum(1e-9 * np.maximum(1.0, np.abs(nearest)), 0.01)
    return values if not np.any(distance) else np.where(near, nearest, values)


def _check_counts(name: str, values: Array, rows: RowNames = ANY_ROWS) -> None:
    """Refuse numbers that are fractional or negative."""
    wrong = np.flatnonzero((values < 0.0) | (values != np.floor(values)))
    if wrong.size:
        raise ValueError(
            f"{name} must hold whole numbers of at least 0, got "
            f"{exactly(values[wrong[0]])} in {rows(wrong[0])}{and_more(wrong)}"
        )


def successes_of(proportions: Array, trials: Array, rows: RowNames = ANY_ROWS) -> Array:
    """Return the number of successes of each row, from proportions and trials.

    Raises
    ------
    ValueError
        If a proportion is not one of so many trials.
    """
    successes = whole(proportions * trials)
    wrong = np.flatnonzero(successes != np.floor(successes))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"y must be a proportion of weights trials, got {exactly(proportions[first])} of "
            f"{exactly(trials[first])} in {rows(first)}{and_more(wrong)}, which is no whole number "
            "of successes; correct one of the two, or fit numbers of successes and of trials"
        )
    return successes
