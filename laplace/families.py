"""The outcome's distribution: its cumulant function b and the derivatives of b.

With a canonical link, log f(y | eta) = y eta - b(eta) + c(y), so that everything in the derivation
is made of sums of b', b'', b''' and b''''.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]


class Family(Protocol):
    """What the derivation needs of a distribution; all functions are elementwise."""

    name: str

    def b(self, eta: Array) -> Array:
        """Cumulant function."""

    def b_1(self, eta: Array) -> Array:
        """First derivative of b: the mean, pi."""

    def b_2(self, eta: Array) -> Array:
        """Second derivative of b: the variance."""

    def b_3(self, eta: Array) -> Array:
        """Third derivative of b."""

    def b_4(self, eta: Array) -> Array:
        """Fourth derivative of b."""

    def log_density(self, y: Array, eta: Array) -> Array:
        """Log of f(y | eta), with its constant."""

    def residual(self, y: Array, eta: Array) -> Array:
        """Y - b'(eta), the derivative of the log density in eta."""


class Bernoulli:
    """A 0/1 outcome with pi = expit(eta): b(eta) = log(1 + exp(eta)).

    Every form is accurate for any finite eta: none takes exp of a large number, and none subtracts
    two numbers that are nearly equal when eta is far from zero.
    """

    name = "bernoulli"

    def b(self, eta: Array) -> Array:
        """Return log(1 + exp(eta))."""
        return np.logaddexp(0.0, eta)

    def b_1(self, eta: Array) -> Array:
        """Return pi."""
        return np.asarray(expit(eta))

    def b_2(self, eta: Array) -> Array:
        """Return pi (1 - pi), where 1 - pi is taken as expit(-eta)."""
        return np.asarray(expit(eta) * expit(-np.asarray(eta)))

    def b_3(self, eta: Array) -> Array:
        """Return pi (1 - pi)(1 - 2 pi), where 1 - 2 pi is taken as -tanh(eta / 2)."""
        return -self.b_2(eta) * np.tanh(np.asarray(eta) / 2.0)

    def b_4(self, eta: Array) -> Array:
        """Return pi (1 - pi)(1 - 6 pi (1 - pi))."""
        b_2 = self.b_2(eta)
        return b_2 * (1.0 - 6.0 * b_2)

    def log_density(self, y: Array, eta: Array) -> Array:
        """Return y log(pi) + (1 - y) log(1 - pi)."""
        return -np.logaddexp(0.0, np.where(y > 0.5, -eta, eta))

    def residual(self, y: Array, eta: Array) -> Array:
        """Return y - pi: 1 - pi is expit(-eta) where y is 1."""
        one = y > 0.5
        return np.where(one, 1.0, -1.0) * expit(np.where(one, -eta, eta))


BERNOULLI = Bernoulli()
