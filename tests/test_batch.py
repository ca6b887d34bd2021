"""Many fits in one call."""

from __future__ import annotations

import numpy as np
import pytest

import laplace

DESIGNS = [
    laplace.simulate.random_intercepts([12] * 15, [-0.3, 0.6], 1.0, seed=seed) for seed in range(4)
]
SEPARATED = (np.repeat([0.0, 1.0], 10), np.repeat([[-1.0], [1.0]], 10, axis=0), np.arange(20) % 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_fits_in_the_same_order(workers: int) -> None:
    fits = laplace.fit_many(iter(DESIGNS), workers=workers, nodes=3)
    for design, fit in zip(DESIGNS, fits, strict=True):
        alone = laplace.fit(*design, nodes=3)
        # in another process, BLAS may sum in another order
        assert fit.llf == pytest.approx(alone.llf, rel=1e-14)
        np.testing.assert_allclose(fit.params, alone.params, rtol=1e-12)


def test_designs_may_have_arguments_of_their_own() -> None:
    y, X, groups = DESIGNS[0]
    (fit,) = laplace.fit_many(
        [{"y": y, "X": X, "groups": groups, "names": ["one", "x"]}], tau=0.5, nodes=1
    )
    assert list(fit.params.index) == ["one", "x"]
    assert fit.tau == 0.5


def test_refused_data_are_raised_or_returned() -> None:
    designs = [DESIGNS[0], SEPARATED]
    with pytest.raises(laplace.SeparationError, match="X separates y completely"):
        laplace.fit_many(designs, tau=1, nodes=1)
    fit, error = laplace.fit_many(designs, tau=1, errors="return", nodes=1)
    assert fit.converged
    assert isinstance(error, laplace.SeparationError)


def test_no_warning_of_what_the_fit_says(recwarn: pytest.WarningsRecorder) -> None:
    groups = np.repeat(np.arange(10), 4)
    (fit,) = laplace.fit_many([((groups % 2) * 1.0, np.ones((40, 1)), groups)], nodes=1)
    assert not fit.converged
    assert not recwarn.list


def test_bad_designs() -> None:
    with pytest.raises(ValueError, match=r"errors must be 'raise' or 'return', got 'ignore'"):
        laplace.fit_many(DESIGNS, errors="ignore", nodes=1)
    with pytest.raises(TypeError, match=r"designs must hold \(y, X, groups\) .* got int"):
        laplace.fit_many([1], nodes=1)
    with pytest.raises(TypeError, match="got ndarray"):
        laplace.fit_many([DESIGNS[0].X], nodes=1)
    with pytest.raises(TypeError, match="designs must be a list of designs, got NoneType"):
        laplace.fit_many(None, nodes=1)
    for workers in (0, "2", 1.5, True):
        with pytest.raises(ValueError, match="workers must be a number of processes, or -1, got"):
            laplace.fit_many(DESIGNS, workers=workers, nodes=1)
