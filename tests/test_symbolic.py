"""The textbook against values derived by SymPy, with 50 digits; and those against mpmath alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from designs import Group, relative_error

import laplace
from compendium import symbolic
from compendium.symbolic import BETA_1, BETA_2, TAU, Point
from laplace import derivatives
from laplace.families import NAMES, Family, named

# 50 sizes from 1 to 1,000, in two geometric progressions: rows cost time, so that few are large
SIZES = [*np.geomspace(1, 220, 48).round().astype(int), 470, 1000]
TAUS = np.geomspace(0.05, 10.0, len(SIZES))
TOLERANCE = 1e-10


def of_rows(family: str, trials: np.ndarray | None) -> Family:
    return named(family, trials if family == "binomial" else None)


def random_design(family: str, seed: int, size: int, tau: float) -> tuple[Group, Family]:
    """Draw rows from the model; the intercept is not in the tails that a large tau has.

    For Poisson outcomes the linear predictor is shorter. Where tau^2 times the sum of the means
    is 1e8, say, omega_b and omega_bb are differences of terms that agree in eight digits, and lose
    as many: the formulas hold, but their terms cancel.
    """
    rng = np.random.default_rng([50, len(family), seed])
    p = int(rng.integers(1, 4)) if size < 100 else 2
    length = 0.5 if family == "poisson" else 1.0
    x, beta = rng.normal(size=(size, p)), length * rng.normal(size=p)
    eta = x @ beta + length * min(tau, 2.0) * rng.normal()
    trials, pi = rng.integers(1, 31, size), 1.0 / (1.0 + np.exp(-eta))
    if family == "poisson":
        y = rng.poisson(np.exp(eta))
    else:
        y = rng.binomial(trials if family == "binomial" else 1, pi)
    group = Group(x, y.astype(float), float(rng.normal()), beta, tau)
    return group, of_rows(family, trials.astype(float))


def errors(group: Group, family: Family) -> dict[str, float]:
    """Relative error of every function of the textbook at a design."""
    rows, parameters = (group.x, group.y), (group.beta, group.tau, family)
    at_mode = Point(group.x, group.y, group.beta, group.tau, family)
    at_u = Point(group.x, group.y, group.beta, group.tau, family, u=group.u)
    result = {}
    for name in derivatives.__all__:
        function = getattr(derivatives, name)
        if "u" in inspect.signature(function).parameters:
            value, truth = function(*rows, group.u, *parameters), at_u.value(name)
        else:
            value, truth = function(*rows, *parameters), at_mode.value(name)
        assert np.shape(value) == truth.shape, name
        np.testing.assert_allclose(truth, truth.T, rtol=1e-14, atol=0.0)
        result[name] = relative_error(value, truth)
    return result


class OfOneFamily:
    """A class for each family, so that they are tested side by side."""

    family: str

    @pytest.mark.parametrize("seed", range(len(SIZES)))
    def test_every_function(self, seed: int) -> None:
        tau = np.random.default_rng(50).permutation(TAUS)[seed]
        found = errors(*random_design(self.family, seed, SIZES[seed], float(tau)))
        assert {name: error for name, error in found.items() if not error <= TOLERANCE} == {}


class TestBernoulli(OfOneFamily):
    family = "bernoulli"


class TestBinomial(OfOneFamily):
    family = "binomial"


class TestPoisson(OfOneFamily):
    family = "poisson"


# The derivations themselves, against numerical differentiation at 50 digits, without SymPy ------

AT = (
    [[1.0, 0.4], [1.0, -1.3], [1.0, 0.8], [1.0, 0.1]],
    [0.3, -0.7],
    0.9,
    [3.0, 7.0, 1.0, 12.0],
)
OUTCOMES = {"bernoulli": [1, 0, 1, 1], "binomial": [1, 6, 0, 5], "poisson": [2, 0, 9, 1]}


class Direct:
    """The integrand of one group as one would write it down, and what Laplace makes of it."""

    def __init__(self, family: str) -> None:
        x, _, _, trials = AT
        self.family = family
        self.rows = list(zip(x, OUTCOMES[family], trials, strict=True))

    def log_density(self, y: int, n: float, eta: Any) -> Any:
        if self.family == "poisson":
            return mpmath.log(mpmath.exp(-mpmath.exp(eta)) * mpmath.exp(eta) ** y / mpmath.fac(y))
        pi, n = 1 / (1 + mpmath.exp(-eta)), 1 if self.family == "bernoulli" else int(n)
        return mpmath.log(mpmath.binomial(n, y) * pi**y * (1 - pi) ** (n - y))

    def mean_and_variance(self, n: float, eta: Any) -> tuple[Any, Any]:
        if self.family == "poisson":
            return mpmath.exp(eta), mpmath.exp(eta)
        pi, n = 1 / (1 + mpmath.exp(-eta)), 1 if self.family == "bernoulli" else int(n)
        return n * pi, n * pi * (1 - pi)

    def g(self, u: Any, b1: Any, b2: Any, tau: Any) -> Any:
        normal = mpmath.log(mpmath.npdf(u, 0, tau))
        return normal + sum(
            self.log_density(y, n, x[0] * b1 + x[1] * b2 + u) for x, y, n in self.rows
        )

    def mode(self, b1: Any, b2: Any, tau: Any) -> Any:
        def score(u: Any) -> Any:
            means = [self.mean_and_variance(n, x[0] * b1 + x[1] * b2 + u) for x, _, n in self.rows]
            return sum(y for _, y, _ in self.rows) - sum(m for m, _ in means) - u / tau**2

        return mpmath.findroot(score, 0.0)

    def omega(self, b1: Any, b2: Any, tau: Any) -> Any:
        u = self.mode(b1, b2, tau)
        variances = [self.mean_and_variance(n, x[0] * b1 + x[1] * b2 + u) for x, _, n in self.rows]
        return 1 / mpmath.sqrt(sum(v for _, v in variances) + 1 / tau**2)

    def l(self, b1: Any, b2: Any, tau: Any) -> Any:  # noqa: E743
        top = self.g(self.mode(b1, b2, tau), b1, b2, tau)
        return mpmath.log(mpmath.sqrt(2 * mpmath.pi) * self.omega(b1, b2, tau)) + top


def differentiated(f: Callable[..., Any], at: tuple[Any, ...], name: str) -> np.ndarray:
    """Differentiate f(..., b1, b2, tau) as a name says, numerically; (2,) for each b in it."""
    suffix = {"l_1": "b", "l_2": "bb"}.get(name, name.partition("_")[2])
    orders = [suffix.count("u")] if len(at) == 4 else []
    result = np.empty((2,) * suffix.count("b"))
    with mpmath.workdps(50):
        for entry in np.ndindex(result.shape):
            in_beta = [entry.count(0), entry.count(1)]
            point = tuple(mpmath.mpf(value) for value in at)
            order = (*orders, *in_beta, suffix.count("t"))
            result[entry] = float(mpmath.diff(f, point, order) if any(order) else f(*point))
    return result


@pytest.mark.parametrize("name", [name for name in derivatives.__all__ if name != "remainder"])
@pytest.mark.parametrize("family", NAMES)
def test_derived_is_what_numerical_differentiation_gives(family: str, name: str) -> None:
    x, beta, tau, trials = AT
    base = name.partition("_")[0].replace("mu", "mode")
    u = 0.6 if base == "g" else None
    group = np.array(x), np.array(OUTCOMES[family], dtype=float), np.array(beta), tau
    value = Point(*group, of_rows(family, np.array(trials)), u=u).value(name)
    at = (*beta, tau) if u is None else (u, *beta, tau)
    truth = differentiated(getattr(Direct(family), base), at, name)
    assert relative_error(value, truth) <= 1e-15  # both are rounded to a double at the end


@pytest.mark.parametrize("family", NAMES)
def test_the_remainder_is_the_next_term(family: str) -> None:
    """With each row k times, what the remainder leaves of the error falls like 1/k^2, or faster.

    For Poisson outcomes it falls like 1/k^3: where tau hardly matters the integral is a gamma
    function, and Stirling's series has no term in 1/k^2.
    """
    x, beta, tau, trials = (np.array(part) for part in AT)
    left = []
    for k in (32, 64, 128):
        X, y = np.tile(x, (k, 1)), np.tile(np.array(OUTCOMES[family], dtype=float), k)
        n = np.tile(trials, k) if family == "binomial" else None
        exact, approximate = (
            laplace.loglik(
                y, X, np.zeros(4 * k), beta, tau, nodes=nodes, family=family, trials=n
            ).value
            for nodes in (60, 1)
        )
        next_term = float(Point(X, y, beta, float(tau), of_rows(family, n)).value("remainder"))
        left.append(exact - approximate - next_term)
        assert abs(left[-1]) <= 2e-3 * abs(next_term)
    assert left[0] / left[1] >= 3.5
    assert left[1] / left[2] >= 3.5


SECOND = [(BETA_1, BETA_2), (BETA_1, TAU), (BETA_2, TAU)]


@pytest.mark.parametrize("variables", SECOND, ids=str)
@pytest.mark.parametrize("base", ["mu", "omega", "l"])
def test_the_order_of_differentiation_does_not_matter(base: str, variables: Any) -> None:
    def second(first: sp.Symbol, then: sp.Symbol) -> sp.Expr:
        if base == "mu":
            return symbolic.total(symbolic.slope(first), then)
        return symbolic.total(symbolic.BASES[base](), first, then)

    assert sp.simplify(second(*variables) - second(*variables[::-1])) == 0


def test_the_slope_of_the_mode_keeps_the_score_at_zero() -> None:
    for variable in (BETA_1, BETA_2, TAU):
        assert sp.simplify(symbolic.total(symbolic.g(u=1), variable)) == 0
