r"""What groups contribute to the log-likelihood: a value, a gradient and a Hessian, which add.

The parameter is :math:`\theta = (\beta, \log\tau)`. Nothing here knows of data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from laplace.arguments import Array

# All parameters but log tau, which is the last.
COEFFICIENTS = slice(-1)


@dataclass(frozen=True, eq=False)
class Contribution:
    r"""What one or more groups contribute to the log-likelihood. Contributions add.

    Attributes
    ----------
    value : float
        Log-likelihood, with all constants.
    gradient : ndarray of shape (p + 1,)
        Derivative in :math:`\theta = (\beta, \log\tau)`.
    hessian : ndarray of shape (p + 1, p + 1)
        Second derivative; symmetric.
    """

    value: float
    gradient: Array
    hessian: Array

    def _with(self, value: float, gradient: Array, hessian: Array) -> Self:
        """Return it with another value and derivatives."""
        return type(self)(value, gradient, hessian)

    def __add__(self, other: Contribution) -> Self:
        """Add the contribution of other groups."""
        if not isinstance(other, Contribution):
            return NotImplemented
        if self.gradient.shape != other.gradient.shape:
            raise ValueError(
                f"contributions of {len(self.gradient)} and {len(other.gradient)} parameters "
                "cannot be added: the groups must share the columns of X"
            )
        return self._with(
            self.value + other.value,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )

    def __radd__(self, other: object) -> Contribution:
        """Let sum() start from 0."""
        return self if other == 0 else NotImplemented

    def transformed(self, jacobian: Array) -> Self:
        """Return the same value as a function of other parameters.

        Parameters
        ----------
        jacobian : ndarray of shape (q, q)
            Constant derivative of these parameters in the others.
        """
        turned = jacobian.T
        return self._with(
            self.value, turned.dot(self.gradient), turned.dot(self.hessian).dot(jacobian)
        )

    def of(self, free: Any) -> Self:
        """Return it as a function of some of its parameters, the others held.

        Parameters
        ----------
        free : slice or ndarray of int
            Which.
        """
        if isinstance(free, slice):
            return self._with(self.value, self.gradient[free], self.hessian[free, free])
        return self._with(self.value, self.gradient[free], self.hessian[np.ix_(free, free)])


@dataclass(frozen=True, eq=False)
class AtZero(Contribution):
    r"""The log-likelihood without random intercepts: its limit as tau falls to zero.

    Its derivatives in :math:`\log\tau` are zero.

    Attributes
    ----------
    slope : float
        Derivative of the log-likelihood in :math:`\tau^2` at zero,
        :math:`\tfrac12 \sum_i [(\sum_j (y_{ij} - b'_{ij}))^2 - \sum_j b''_{ij}]`. It is the same
        for the exact likelihood and for every adaptive rule, Laplace's included. At the
        coefficients of logistic regression it is the score of the test of no random intercepts.
    squares : float
        Sum over groups of the squared information :math:`i = \sum_j b''_{ij}` on the intercept.
    least, most : float
        Least and largest information of a group.
    """

    slope: float
    squares: float
    least: float
    most: float

    def _with(self, value: float, gradient: Array, hessian: Array) -> Self:
        """Return it with another value and derivatives."""
        return type(self)(value, gradient, hessian, self.slope, self.squares, self.least, self.most)

    def __add__(self, other: Contribution) -> Self:
        """Add the contribution of other groups; a penalty has a value and derivatives only."""
        total = super().__add__(other)
        if not isinstance(other, AtZero):
            return total
        return type(self)(
            total.value,
            total.gradient,
            total.hessian,
            self.slope + other.slope,
            self.squares + other.squares,
            min(self.least, other.least),
            max(self.most, other.most),
        )


@dataclass(frozen=True, eq=False)
class Stacked:
    r"""Contributions of many data sets, one after the other, of as many parameters.

    Attributes
    ----------
    values : ndarray of shape (k,)
        Log-likelihoods.
    gradients : ndarray of shape (k, q)
        Gradients.
    hessians : ndarray of shape (k, q, q)
        Second derivatives.
    spread : ndarray of shape (k, 4) or None
        Without random intercepts, slope, squares, least and most, as in `AtZero`.
    """

    values: Array
    gradients: Array
    hessians: Array
    spread: Array | None = None

    def transformed(self, jacobians: Array) -> Stacked:
        """Return the same values as functions of other parameters, as `Contribution` does.

        Parameters
        ----------
        jacobians : ndarray of shape (k, q, q)
            Constant derivatives of these parameters in the others.
        """
        turned = jacobians.transpose(0, 2, 1)
        return Stacked(
            self.values,
            (turned @ self.gradients[:, :, None])[:, :, 0],
            turned @ self.hessians @ jacobians,
            self.spread,
        )

    def of_coefficients(self) -> Stacked:
        """Return it as a function of all parameters but the last, which is log tau."""
        return Stacked(self.values, self.gradients[:, :-1], self.hessians[:, :-1, :-1], self.spread)

    def take(self, which: Any) -> Stacked:
        """Return some of them."""
        spread = None if self.spread is None else self.spread[which]
        return Stacked(self.values[which], self.gradients[which], self.hessians[which], spread)

    def put(self, which: Any, other: Stacked) -> None:
        """Set some of them, in place."""
        self.values[which] = other.values
        self.gradients[which] = other.gradients
        self.hessians[which] = other.hessians
        if self.spread is not None:
            self.spread[which] = other.spread


Evaluate = Callable[[Array], Contribution]
