"""Gauss-Hermite quadrature of one group, against `scipy.integrate`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from designs import random_group
from scipy.integrate import quad

import laplace
from laplace import derivatives, quadrature
from laplace.nodes import MAX_NODES, gauss_hermite


def integral(x: np.ndarray, y: np.ndarray, beta: np.ndarray, tau: float) -> float:
    """Log of a group's likelihood by adaptive Gauss-Kronrod, piece by piece around the mode."""
    mode = derivatives.mode(x, y, beta, tau)
    omega = derivatives.omega(x, y, beta, tau)
    top = derivatives.g(x, y, mode, beta, tau)

    def height(t: float) -> float:
        return float(np.exp(derivatives.g(x, y, mode + omega * t, beta, tau) - top))

    edges = [-16.0, -4.0, -1.0, 1.0, 4.0, 16.0]
    pieces = [
        quad(height, low, high, epsabs=0, epsrel=1e-13, limit=400)[0]
        for low, high in pairwise(edges)
    ]
    return top + float(np.log(omega * sum(pieces)))


def group_of(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([rows, seed])
    return rng.normal(size=(rows, 2)), rng.integers(0, 2, rows).astype(float), rng.normal(size=2)


@pytest.mark.parametrize("rows", [1, 3, 30])
@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 2.0])
def test_fifty_nodes_are_the_integral(rows: int, tau: float) -> None:
    for seed in range(3):
        x, y, beta = group_of(rows, seed)
        value = laplace.loglik(y, x, np.zeros(rows), beta, tau, nodes=50).value
        assert value == pytest.approx(integral(x, y, beta, tau), abs=1e-10)


@pytest.mark.parametrize("rows", [1, 3, 30])
def test_at_a_large_tau_the_rule_converges_slowly(rows: int) -> None:
    """At tau = 5 the integrand of few rows is far from Gaussian: 50 nodes leave 1e-6.

    One tail falls like the random intercept's density, the other like the logistic function, whose
    poles come near to the nodes when measured in units of omega. More nodes reach 1e-9.
    """
    for seed in range(3):
        x, y, beta = group_of(rows, seed)
        truth = integral(x, y, beta, 5.0)
        error = {
            nodes: abs(quadrature.adaptive(x, y, beta, 5.0, nodes) - truth)
            for nodes in (10, 50, MAX_NODES)
        }
        assert error[50] <= 2e-6
        assert error[50] <= 1e-2 * error[10]
        assert error[MAX_NODES] <= 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_one_adaptive_node_is_the_laplace_approximation(seed: int) -> None:
    group = random_group(seed)
    at = group.x, group.y, group.beta, group.tau
    assert quadrature.adaptive(*at, nodes=1) == pytest.approx(derivatives.l(*at), rel=1e-13)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("nodes", [1, 2, 7, 30])
def test_all_groups_at_once_are_the_textbook(nodes: int, adaptive: bool) -> None:
    rule = quadrature.adaptive if adaptive else quadrature.ordinary
    for seed in range(10):
        group = random_group(seed)
        at = group.beta, group.tau
        value = laplace.loglik(
            group.y, group.x, np.zeros(len(group.y)), *at, nodes=nodes, adaptive=adaptive
        ).value
        assert value == pytest.approx(rule(group.x, group.y, *at, nodes), rel=1e-12, abs=1e-12)


def test_nodes_are_those_of_numpy() -> None:
    z, w = np.polynomial.hermite.hermgauss(9)
    ours, log_w = gauss_hermite(9)
    np.testing.assert_array_equal(ours, z)
    np.testing.assert_allclose(np.exp(log_w), w, rtol=1e-14)
    assert np.all(np.isfinite(gauss_hermite(MAX_NODES)[1]))


def test_adaptive_nodes_centre_on_the_mode() -> None:
    group = random_group(5)
    at = group.x, group.y, group.beta, group.tau
    nodes = quadrature.adaptive_nodes(*at, nodes=3)
    assert nodes[1] == pytest.approx(derivatives.mode(*at), abs=1e-14)
    assert nodes[2] - nodes[1] == pytest.approx(np.sqrt(3) * derivatives.omega(*at), rel=1e-14)


@pytest.mark.parametrize(
    ("nodes", "error", "words"),
    [
        (0, ValueError, "nodes must be between 1"),
        (-3, ValueError, "got -3"),
        (2.5, TypeError, r"whole number of quadrature nodes, got 2\.5"),
        ("5", TypeError, "nodes must be a whole number"),
        (True, TypeError, "nodes must be a whole number"),
        (None, TypeError, "nodes must be a whole number"),
        (10_000, ValueError, "nodes must be between 1"),
    ],
)
def test_bad_nodes(nodes: object, error: type[Exception], words: str) -> None:
    y, X, groups = [0, 1, 1, 0], np.ones((4, 1)), [0, 0, 1, 1]
    with pytest.raises(error, match=words):
        laplace.loglik(y, X, groups, [0.0], 1.0, nodes=nodes)
    with pytest.raises(error, match=words):
        laplace.fit(y, X, groups, nodes=nodes)
