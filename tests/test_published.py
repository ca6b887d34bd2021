"""The replay of the published experiment: its printed digits, and each error by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from designs import REFERENCE

import laplace
from compendium import published
from compendium.published import ERRORS
from laplace import derivatives

PRINTED = published.PRINTED_BETA
DECIMALS = published.PRINTED_DECIMALS


def test_the_data_are_the_published_ones() -> None:
    data = published.two_sites()
    np.testing.assert_array_equal(data.beta.round(DECIMALS), published.PRINTED_TRUTH)
    assert data.X.shape == (2000, 10)
    assert np.bincount(data.groups).tolist() == [1000, 1000]


def test_the_replay_gives_the_printed_digits() -> None:
    fit = published.fit(*published.two_sites())
    np.testing.assert_array_equal(fit.beta.round(DECIMALS), PRINTED)
    assert fit.converged
    np.testing.assert_array_equal(np.asarray(published.fit()), fit.beta)
    whole = published.fit(published.two_sites())
    np.testing.assert_array_equal(whole.beta, fit.beta)


def test_the_replay_is_not_a_maximum() -> None:
    """The true score at the printed coefficients, and the distance to the maximum."""
    data = published.two_sites()
    score = laplace.loglik(*data, PRINTED, 1.0).gradient[:-1]
    assert np.max(np.abs(score)) == pytest.approx(0.476, abs=5e-4)
    fit = laplace.fit(*data, tau=1, nodes=1)
    assert np.max(np.abs(fit.beta - PRINTED)) == pytest.approx(0.139, abs=5e-4)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_with_every_error_corrected_it_is_the_maximum(tau: float) -> None:
    data = published.two_sites(rows_per_site=200, covariates=3)
    corrected = published.fit(*data, tau=tau, correct="all")
    truth = laplace.fit(*data, tau=tau, nodes=1)
    assert corrected.converged
    np.testing.assert_allclose(corrected.beta, truth.beta, rtol=1e-9)
    modes = truth.random_effects["mode"]
    np.testing.assert_allclose(corrected.modes, modes, atol=1e-8)


def test_every_error_changes_a_formula() -> None:
    """Correcting one error changes a formula of a site, or the search; and only towards truth."""
    group = published.two_sites(rows_per_site=40, covariates=2, sites=1)
    x, y, beta, tau = group.X, group.y, np.array([0.1, -0.2]), 2.0
    u = derivatives.mode(x, y, beta, tau)
    formulas = {
        "third_derivatives": "omega_b",
        "g_uuuu": "omega_bb",
        "g_uuub": "omega_bb",
        "omega": "omega",
        "mu_bb": "mu_bb",
        "omega_bb": "omega_bb",
    }
    right = published.Site(x, y, tau, frozenset(ERRORS))
    for error, formula in formulas.items():
        wrong = published.Site(x, y, tau, frozenset(ERRORS) - {error})
        truth = getattr(derivatives, formula)(x, y, beta, tau)
        np.testing.assert_allclose(getattr(right, formula)(u, beta), truth, rtol=1e-10)
        error_size = np.max(np.abs(getattr(wrong, formula)(u, beta) - truth))
        assert error_size > 1e-6 * np.max(np.abs(truth)), error
    for name in ("l_1", "l_2"):
        truth = getattr(derivatives, name)(x, y, beta, tau)
        np.testing.assert_allclose(getattr(right, name)(u, beta), truth, rtol=1e-9, atol=1e-9)
    late = published.Site(x, y, tau, frozenset(ERRORS) - {"returned_mode"})
    assert late.mode(0.5, beta) != right.mode(0.5, beta)
    assert late.mode(0.5, beta) == pytest.approx(u, abs=published.TOLERANCE)
    fresh = published.fit(*group, tau=tau, correct="stale_modes")
    assert fresh.steps != published.fit(*group, tau=tau).steps
    assert set(formulas) | {"returned_mode", "stale_modes"} == set(ERRORS)


def test_the_sign_alone_decides_at_tau_one() -> None:
    """At tau = 1 the score has one error; the others change the path, not where it ends."""
    data = published.two_sites()
    truth = laplace.fit(*data, tau=1, nodes=1).beta
    sign_corrected = published.fit(*data, correct="third_derivatives")
    np.testing.assert_allclose(sign_corrected.beta, truth, rtol=1e-9)
    for error in ERRORS.keys() - {"third_derivatives"}:
        other = published.fit(*data, correct=error)
        np.testing.assert_allclose(other.beta, PRINTED, atol=1e-8)


def test_the_path_goes_from_the_start_to_the_answer() -> None:
    fit = published.fit()
    assert fit.path is not None
    assert fit.path.shape == (fit.steps + 1, 10)
    assert not fit.path[0].any()
    assert np.array_equal(fit.path[-1], fit.beta)


def test_divergence_is_said() -> None:
    data = published.two_sites(seed=3, rows_per_site=8, covariates=4)
    fit = published.fit(*data)
    assert not fit.converged


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"correct": "g_uuuuu"},
            ValueError,
            r"'g_uuuuu', which is no error .* the names are third",
        ),
        ({"correct": ["omega", "sign"]}, ValueError, r"correct names 'sign'"),
        ({"tau": 0}, ValueError, r"tau must be positive"),
        ({"tau": -1}, ValueError, r"tau must be at least 0"),
        ({"tau": "1"}, TypeError, r"tau must be a number"),
        ({"y": [0, 1]}, ValueError, r"give y, X and groups, or none of them"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        published.fit(**arguments)


def test_the_formulas_are_those_of_the_circulated_code() -> None:
    """Values that the circulated functions returned, stored in reference/published.json."""
    stored = json.loads((REFERENCE / "published.json").read_text(encoding="utf-8"))
    x, y, beta = (np.array(stored[name]) for name in ("x", "y", "beta"))
    site = published.Site(x, y, stored["tau"])
    for name, value in stored["values"].items():
        ours = site.mode(0.1, beta) if name == "mode" else getattr(site, name)(stored["u"], beta)
        np.testing.assert_allclose(ours, value, rtol=1e-12, atol=1e-14, err_msg=name)
    assert len(stored["values"]) == 18
