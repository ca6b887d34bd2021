"""Random designs, from ordinary to hopeless: each is fitted, or refused for a true reason.

They are drawn from a fixed generator: sizes, units, families, prevalences, numbers of nodes, and
standard deviations of the random intercepts.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from designs import numerical_derivative, relative_error

import laplace
from laplace import local, search
from laplace.families import named
from laplace.grouped import GroupedData
from laplace.likelihood import Likelihood
from laplace.local import Doubt
from laplace.strategy import Strategy

DESIGNS, BATCH = 1000, 50
FAMILIES = ("bernoulli", "binomial", "poisson")
MOST_ROWS = 4000


def random_rows(seed: int) -> dict[str, Any]:
    """Draw the arguments of `laplace.fit`."""
    r = np.random.default_rng([2026, seed])
    m = int(np.exp(r.uniform(np.log(2.0), np.log(200.0))))
    sizes = 1 + r.poisson(np.exp(r.uniform(0.0, np.log(40.0))) * r.gamma(0.7, 1 / 0.7, m))
    if sizes.sum() > MOST_ROWS:
        sizes = np.maximum(1, sizes * MOST_ROWS // sizes.sum())
    groups = np.repeat(np.arange(m), sizes)
    n, p = len(groups), int(r.integers(1, 7))
    units = 10.0 ** r.uniform(-6.0, 6.0, p - 1)
    columns = [
        (
            r.normal(size=n),
            (r.random(n) < r.uniform(0.05, 0.5)) * 1.0,
            r.normal(size=m)[groups],
        )[kind]
        for kind in r.integers(0, 3, p - 1)
    ]
    covariates = np.column_stack([np.ones(n), *columns])[:, 1:] * units
    tau = 0.0 if r.random() < 0.1 else float(np.exp(r.uniform(np.log(0.05), np.log(20.0))))
    family = FAMILIES[int(r.integers(0, 3))]
    prevalence = float(np.exp(r.uniform(np.log(0.01), np.log(0.5))))
    if r.random() < 0.5:
        prevalence = 1.0 - prevalence
    beta = r.normal(size=p - 1) * r.choice([0.2, 1.0]) / units
    u = tau * r.normal(size=m)
    rows: dict[str, Any] = {"family": family, "nodes": int(r.choice([1, 1, 1, 3, 9, 25]))}
    if family == "poisson":
        eta = r.uniform(-3.0, 3.0) + covariates @ beta + np.minimum(u, 6.0)[groups]
        rows["y"] = r.poisson(np.exp(np.clip(eta, -30.0, 12.0))).astype(float)
    else:
        eta = np.log(prevalence / (1.0 - prevalence)) + covariates @ beta + u[groups]
        trials = np.ones(n) if family == "bernoulli" else r.integers(1, 30, n).astype(float)
        rows["y"] = r.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-eta))).astype(float)
        if family == "binomial":
            rows["trials"] = trials
    return {**rows, "X": np.column_stack([np.ones(n), covariates]), "groups": groups}


def check_separation(rows: dict[str, Any], error: laplace.SeparationError) -> None:
    """Check that no row's likelihood falls along the direction, and that some rows' rises."""
    family = named(rows["family"], rows.get("trials"))
    columns = np.abs(rows["X"]).max(axis=0)
    margins = family.directions(rows["y"], rows["X"]) @ error.direction.to_numpy()
    size = np.max(columns * np.abs(error.direction.to_numpy()))
    assert margins.min() >= -1e-7 * size
    assert margins.max() > 1e-7 * size


def check_refusal(rows: dict[str, Any], message: str) -> None:
    """Check what the message says: outcomes all the same, or columns that are combinations."""
    y, X = rows["y"], rows["X"]
    if "in every row: the likelihood has no finite maximum" in message:
        most = rows.get("trials", 1.0 if rows["family"] == "bernoulli" else np.inf)
        assert np.all(y == 0.0) or np.all(y == most)
    elif message.startswith("X has rank"):
        scale = np.abs(X).max(axis=0)
        rank = np.linalg.matrix_rank(X / np.where(scale > 0.0, scale, 1.0), tol=1e-9)
        assert rank < X.shape[1]
    else:
        assert message.startswith("groups has one row in every group")
        assert len(np.unique(rows["groups"])) == len(y)


def check_no_maximum_that_counts(rows: dict[str, Any], fit: laplace.Fit) -> None:
    """Check what the fit says of why it did not converge."""
    if fit.message == Doubt.CONSTANT_GROUPS.value:
        totals = np.array([rows["y"][rows["groups"] == g].sum() for g in fit.data.labels])
        most = np.array(
            [
                np.sum(rows.get("trials", np.ones(fit.nobs))[rows["groups"] == g])
                for g in fit.data.labels
            ]
        )
        assert np.all((totals == 0.0) | (totals == most))
        return
    assert fit.message == local.Stop.UNBOUNDED.value


@pytest.mark.parametrize("first", range(0, DESIGNS, BATCH))
def test_each_design_is_fitted_or_refused_for_a_true_reason(first: int) -> None:
    ended: Counter[str] = Counter()
    for seed in range(first, first + BATCH):
        rows = random_rows(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", laplace.ConvergenceWarning)
            warnings.simplefilter("ignore", laplace.ApproximationWarning)
            try:
                fit = laplace.fit(**rows)
            except laplace.SeparationError as error:
                check_separation(rows, error)
                ended["separated"] += 1
                continue
            except ValueError as error:
                check_refusal(rows, str(error))
                ended["refused"] += 1
                continue
            assert np.all(np.isfinite(fit.params))
            assert np.isfinite(fit.llf)
            if not fit.converged:
                check_no_maximum_that_counts(rows, fit)
                ended["not converged"] += 1
                continue
        ended["converged"] += 1
        # per unit of each column's size: in units of 1e6, rounding alone leaves more
        score = (
            fit.gradient
            / np.append(np.sqrt(np.mean(rows["X"] ** 2, axis=0)), 1.0)[: len(fit.gradient)]
        )
        assert np.max(np.abs(score)) <= 1e-8 * fit.nobs, seed
        assert np.all(np.isfinite(fit.bse[: fit.data.p])), seed
        assert fit.boundary or np.isfinite(fit.bse["tau"]), seed
    assert ended["converged"] >= 0.7 * BATCH
    assert ended["not converged"] <= 0.1 * BATCH


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("nodes", [1, 2, 5, 25])
def test_derivatives_of_fifty_designs(family: str, nodes: int) -> None:
    """Against `scipy.differentiate` of the value, and of the gradient."""
    for seed in range(50):
        r = np.random.default_rng([50, FAMILIES.index(family), seed])
        groups = np.repeat(np.arange(6), r.integers(1, 9, 6))
        n, p = len(groups), int(r.integers(1, 4))
        X = np.column_stack([np.ones(n), r.normal(size=(n, p - 1))])
        beta, tau = 0.5 * r.normal(size=p), float(np.exp(r.uniform(np.log(0.1), np.log(4.0))))
        eta = X @ beta + tau * np.minimum(r.normal(size=6), 1.5)[groups]
        trials = r.integers(1, 9, n).astype(float) if family == "binomial" else None
        if family == "poisson":
            y = r.poisson(np.exp(eta)).astype(float)
        else:
            count = np.ones(n) if trials is None else trials
            y = r.binomial(count.astype(int), 1.0 / (1.0 + np.exp(-eta))).astype(float)
        data = GroupedData.from_arrays(y, X, groups, family=family, trials=trials)
        evaluate, theta = Likelihood(data, nodes), np.append(beta, np.log(tau))
        at = evaluate(theta)
        gradient = numerical_derivative(lambda t: evaluate(t).value, theta)  # noqa: B023
        hessian = numerical_derivative(lambda t: evaluate(t).gradient, theta)  # noqa: B023
        assert relative_error(at.gradient, gradient) <= 1e-7, seed
        assert relative_error(at.hessian, hessian) <= 1e-7, seed


# Invariances of the fit --------------------------------------------------------------------------


def ordinary_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(laplace.simulate.random_intercepts([9] * 40, [-0.4, 0.8, -0.5], 1.2, seed=5))


@pytest.mark.parametrize("nodes", [1, 7])
def test_a_rotation_of_the_columns(nodes: int) -> None:
    y, X, groups = ordinary_rows()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    fit = laplace.fit(y, X, groups, nodes=nodes)
    rotated = laplace.fit(y, X @ rotation, groups, nodes=nodes)
    assert rotated.llf == pytest.approx(fit.llf, abs=1e-10)
    np.testing.assert_allclose(rotation @ rotated.beta, fit.beta, rtol=1e-8)
    assert rotated.tau == pytest.approx(fit.tau, rel=1e-8)
    covariance = fit.cov_params().to_numpy()[:3, :3]
    rotated_covariance = rotated.cov_params().to_numpy()[:3, :3]
    np.testing.assert_allclose(rotation @ rotated_covariance @ rotation.T, covariance, rtol=1e-8)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("nodes", [1, 7])
def test_other_units(unit: float, nodes: int) -> None:
    y, X, groups = ordinary_rows()
    scale = np.array([1.0, unit, 1.0 / unit])
    fit = laplace.fit(y, X, groups, nodes=nodes)
    other = laplace.fit(y, X * scale, groups, nodes=nodes)
    assert other.llf == pytest.approx(fit.llf, abs=1e-10)
    np.testing.assert_allclose(other.beta * scale, fit.beta, rtol=1e-8)
    np.testing.assert_allclose(other.bse.iloc[:3] * scale, fit.bse.iloc[:3], rtol=1e-8)
    assert other.tau == pytest.approx(fit.tau, rel=1e-8)


@pytest.mark.parametrize("nodes", [1, 7])
@pytest.mark.parametrize("parts", [2, 3, 40])
def test_a_fit_of_sums_over_any_parts(nodes: int, parts: int) -> None:
    y, X, groups = ordinary_rows()
    fit = laplace.fit(y, X, groups, nodes=nodes)
    sites = [
        Likelihood(GroupedData.from_arrays(y[at], X[at], groups[at]), nodes)
        for at in (np.isin(groups, some) for some in np.array_split(np.arange(40), parts))
    ]
    found = laplace.maximise(lambda theta: sum(site(theta) for site in sites), np.zeros(4))
    assert found.converged
    np.testing.assert_allclose(found.theta, fit.theta, rtol=1e-8)
    assert found.contribution.value == pytest.approx(fit.llf, abs=1e-10)


# Many rows: the search starts from some of them --------------------------------------------------


def many_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(laplace.simulate.random_intercepts([60] * 1200, [-0.4, 0.8, -0.5], 1.2, seed=6))


def test_a_start_from_some_rows_leads_to_the_same_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = many_rows()
    quick = laplace.fit(*rows, nodes=1)
    assert quick.converged
    assert quick.iterations <= 4
    monkeypatch.setattr(search, "STRATEGY", Strategy(many_rows=10**9))
    slow = laplace.fit(*rows, nodes=1)
    assert quick.llf == pytest.approx(slow.llf, abs=1e-8)
    # with many rows the search ends a ten-millionth of a standard error from the maximum
    np.testing.assert_allclose(quick.theta, slow.theta, rtol=1e-8)


def test_many_rows_without_random_intercepts() -> None:
    """Some rows may show random intercepts where all rows show none."""
    y, X, groups = many_rows()
    rng = np.random.default_rng(8)
    y = (rng.random(len(y)) < 0.3) * 1.0
    fit = laplace.fit(y, X, groups, nodes=1)
    zero = laplace.fit(y, X, groups, tau=0)
    assert fit.converged
    assert fit.llf >= zero.llf
    if fit.boundary:
        assert fit.llf == zero.llf


@pytest.mark.parametrize("tau", [None, 1.0])
def test_many_rows_that_are_separated(tau: float | None) -> None:
    y, X, groups = many_rows()
    rare = np.zeros(len(y))
    rare[np.flatnonzero(y == 1.0)[:3]] = 1.0
    with pytest.raises(laplace.SeparationError, match="never negative where y = 1"):
        laplace.fit(y, np.column_stack([X, rare]), groups, tau=tau, nodes=1)
    # not rare: also some of the rows show it
    common = y * (np.arange(len(y)) % 3 == 0)
    with pytest.raises(laplace.SeparationError, match="never negative where y = 1"):
        laplace.fit(y, np.column_stack([X, common]), groups, tau=tau, nodes=1)
