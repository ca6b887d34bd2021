"""Simulated data: reproducible, of the right law, and refused in words."""

from __future__ import annotations

import numpy as np
import pytest

import laplace
from compendium.simulate import two_sites
from laplace.simulate import random_intercepts


def test_unpacks_into_the_arguments_of_fit() -> None:
    data = two_sites(rows_per_site=50, covariates=2)
    y, X, groups = data
    assert y is data.y
    assert X is data.X
    assert groups is data.groups
    assert laplace.fit(*data, tau=1, nodes=1).converged


def test_sizes_and_seed() -> None:
    data = two_sites(seed=7, rows_per_site=30, covariates=4, sites=5)
    assert data.X.shape == (150, 4)
    assert np.bincount(data.groups).tolist() == [30] * 5
    again = two_sites(seed=7, rows_per_site=30, covariates=4, sites=5)
    np.testing.assert_array_equal(again.X, data.X)
    np.testing.assert_array_equal(again.y, data.y)
    assert not np.array_equal(two_sites(seed=8, rows_per_site=30).y, data.y[:60])


def test_the_published_experiment_has_no_site_effect() -> None:
    data = two_sites()
    assert np.all(data.intercepts == 0.0)
    assert np.all(data.noise > 0.0)


def test_site_intercepts_leave_the_design_as_it_is() -> None:
    base, drawn = two_sites(), two_sites(site_intercepts=True, tau=2.0)
    np.testing.assert_array_equal(drawn.beta, base.beta)
    np.testing.assert_array_equal(drawn.X[:1000], base.X[:1000])
    assert np.all(drawn.noise == 0.0)
    assert np.all(drawn.intercepts != 0.0)
    doubled = two_sites(site_intercepts=True, tau=4.0)
    np.testing.assert_allclose(doubled.intercepts, 2 * drawn.intercepts)


def test_random_intercepts_have_the_law_they_name() -> None:
    data = random_intercepts([20] * 2000, [0.5, -1.0], 1.5, seed=4)
    assert data.intercepts.std() == pytest.approx(1.5, rel=0.05)
    fit = laplace.fit(*data, nodes=9)
    # the truth within four standard errors
    assert np.all(np.abs(fit.params - [0.5, -1.0, 1.5]) < 4 * fit.bse)
    assert np.corrcoef(fit.random_effects["mode"], data.intercepts)[0, 1] > 0.85


def test_random_intercepts_take_a_generator() -> None:
    one = random_intercepts([3, 4], [0.0], 1.0, seed=np.random.default_rng(5))
    two = random_intercepts([3, 4], [0.0], 1.0, seed=5)
    np.testing.assert_array_equal(one.y, two.y)
    assert np.bincount(one.groups).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rows_per_site": 0}, ValueError, "rows_per_site must be at least 1, got 0"),
        ({"covariates": 2.5}, TypeError, r"covariates must be a whole number, got 2\.5"),
        ({"sites": "two"}, TypeError, "sites must be a whole number, got 'two'"),
        ({"seed": -1}, ValueError, "seed must be between 0 and"),
        ({"seed": None}, TypeError, "seed must be a whole number, got None"),
        ({"tau": -1.0}, ValueError, "tau must be at least 0"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        two_sites(**arguments)


def test_bad_designs() -> None:
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        random_intercepts([3, 0], [0.0], 1.0)
    with pytest.raises(TypeError, match="sizes must be a whole number"):
        random_intercepts([2.5], [0.0], 1.0)
    with pytest.raises(ValueError, match="beta holds nan for 'x0'"):
        random_intercepts([3], [np.nan], 1.0)


def test_empty_designs_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes is empty"):
        laplace.simulate.random_intercepts([], [1.0], 1.0)
    with pytest.raises(ValueError, match="beta is empty"):
        laplace.simulate.random_intercepts([3, 4], [], 1.0)
