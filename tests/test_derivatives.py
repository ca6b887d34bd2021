"""The textbook: every formula against `scipy.differentiate` of the one below it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from designs import numerical_derivative, random_group, relative_error

from laplace import derivatives as d

SEEDS = range(20)
TOLERANCE = 1e-8

# name: (the function below it, and the variable in which it is differentiated)
PARTIAL = {
    "g_u": ("g", "u"),
    "g_b": ("g", "beta"),
    "g_uu": ("g_u", "u"),
    "g_ub": ("g_u", "beta"),
    "g_bb": ("g_b", "beta"),
    "g_uuu": ("g_uu", "u"),
    "g_uub": ("g_uu", "beta"),
    "g_ubb": ("g_ub", "beta"),
    "g_uuuu": ("g_uuu", "u"),
    "g_uuub": ("g_uuu", "beta"),
    "g_uubb": ("g_uub", "beta"),
    "g_t": ("g", "tau"),
    "g_ut": ("g_u", "tau"),
    "g_uut": ("g_uu", "tau"),
    "g_tt": ("g_t", "tau"),
    "g_utt": ("g_ut", "tau"),
    "g_uutt": ("g_uut", "tau"),
}
TOTAL = {
    "mu_b": ("mode", "beta"),
    "mu_bb": ("mu_b", "beta"),
    "mu_t": ("mode", "tau"),
    "mu_bt": ("mu_b", "tau"),
    "mu_tt": ("mu_t", "tau"),
    "omega_b": ("omega", "beta"),
    "omega_bb": ("omega_b", "beta"),
    "omega_t": ("omega", "tau"),
    "omega_bt": ("omega_b", "tau"),
    "omega_tt": ("omega_t", "tau"),
    "l_1": ("l", "beta"),
    "l_2": ("l_1", "beta"),
    "l_t": ("l", "tau"),
    "l_bt": ("l_1", "tau"),
    "l_tt": ("l_t", "tau"),
}


def shape_of(name: str, p: int) -> tuple[int, ...]:
    """Shape by the name: (p,) for each b, and l_1, l_2 are gradient and Hessian."""
    order = {"l_1": 1, "l_2": 2}.get(name, name.partition("_")[2].count("b"))
    return (p,) * order


@pytest.mark.parametrize("name", PARTIAL)
@pytest.mark.parametrize("seed", SEEDS)
def test_partial_derivative(name: str, seed: int) -> None:
    group = random_group(seed)
    below, variable = PARTIAL[name]
    x, y, u, beta, tau = group.x, group.y, group.u, group.beta, group.tau
    if variable == "tau":
        below_at_tau = lambda z: getattr(d, below)(x, y, u, beta, tau * np.exp(z[0]))  # noqa: E731
        truth = numerical_derivative(below_at_tau, 0.0)[..., 0] / tau
    elif variable == "u":
        truth = numerical_derivative(lambda z: getattr(d, below)(x, y, z[0], beta, tau), u)[..., 0]
    else:
        truth = numerical_derivative(lambda z: getattr(d, below)(x, y, u, z, tau), beta)
    value = getattr(d, name)(x, y, u, beta, tau)
    assert np.shape(value) == shape_of(name, len(beta))
    assert relative_error(value, truth) <= TOLERANCE


@pytest.mark.parametrize("name", TOTAL)
@pytest.mark.parametrize("seed", SEEDS)
def test_derivative_along_the_mode(name: str, seed: int) -> None:
    group = random_group(seed)
    x, y, beta, tau = group.x, group.y, group.beta, group.tau
    below, variable = TOTAL[name]
    if variable == "tau":
        below_at_tau = lambda z: getattr(d, below)(x, y, beta, tau * np.exp(z[0]))  # noqa: E731
        truth = numerical_derivative(below_at_tau, 0.0)[..., 0] / tau
    else:
        truth = numerical_derivative(lambda z: getattr(d, below)(x, y, z, tau), beta)
    value = getattr(d, name)(x, y, beta, tau)
    assert np.shape(value) == shape_of(name, len(beta))
    assert relative_error(value, truth) <= TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_definitions(seed: int) -> None:
    """The functions that are no derivative of another: g, mode, omega and l."""
    group = random_group(seed)
    x, y, u, beta, tau = group.x, group.y, group.u, group.beta, group.tau
    pi = 1 / (1 + np.exp(-(x @ beta + u)))
    likelihood = np.prod(np.where(y == 1, pi, 1 - pi))
    density = np.exp(-(u**2) / (2 * tau**2)) / (tau * np.sqrt(2 * np.pi))
    assert d.g(x, y, u, beta, tau) == pytest.approx(np.log(likelihood * density), rel=1e-12)
    mode, omega = d.mode(x, y, beta, tau), d.omega(x, y, beta, tau)
    assert abs(d.g_u(x, y, mode, beta, tau)) <= 1e-13 * (len(y) + 1 / tau**2)
    assert omega == pytest.approx(1 / np.sqrt(-d.g_uu(x, y, mode, beta, tau)), rel=1e-14)
    height = np.sqrt(2 * np.pi) * omega * np.exp(d.g(x, y, mode, beta, tau))
    assert d.l(x, y, beta, tau) == pytest.approx(np.log(height), rel=1e-12)


@pytest.mark.parametrize("name", ["g_bb", "g_ubb", "g_uubb", "mu_bb", "omega_bb", "l_2"])
def test_second_derivatives_are_symmetric(name: str) -> None:
    group = random_group(3)
    arguments = [group.x, group.y, group.beta, group.tau]
    function = getattr(d, name)
    if "u" in inspect.signature(function).parameters:
        arguments.insert(2, group.u)
    value = function(*arguments)
    np.testing.assert_allclose(value, value.T, rtol=1e-14, atol=1e-14)


def test_tables_name_every_function() -> None:
    definitions = {"g", "mode", "omega", "l", "remainder"}
    assert set(PARTIAL) | set(TOTAL) | definitions == set(d.__all__)


def test_the_random_designs_vary_tau() -> None:
    taus = np.array([random_group(seed).tau for seed in SEEDS])
    assert np.all(taus != 1.0)
    assert taus.min() < 0.5
    assert taus.max() > 2.0
