"""Many fits in one call."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from laplace.fit import ApproximationWarning, ConvergenceWarning, fit
from laplace.result import Fit


def fit_many(
    designs: Iterable[Any], *, workers: int = 1, errors: str = "raise", **options: Any
) -> list[Fit | ValueError]:
    """Fit the same model to many sets of rows.

    Parameters
    ----------
    designs : iterable
        Each is ``y, X, groups`` (as a tuple, or what `laplace.simulate` returns), or a mapping of
        arguments of `fit`.
    workers : int
        Processes to share the work between; -1 is one a core. More than one needs joblib, takes a
        second or two to start, and is worth it from about a thousand fits on.
    errors : {"raise", "return"}
        What to do with data that `fit` refuses, as those that are separated: raise its error; or
        put the error in the list, in the place of the fit.
    **options
        Further arguments of `fit`, the same for all.

    Returns
    -------
    list of Fit
        In the order of the designs. A fit that did not converge says so in `converged` and
        `message`, and one whose approximation is not to be trusted in `doubt()`; there is no
        warning.

    Raises
    ------
    TypeError, ValueError
        As `fit` does; and if `errors` is not one of the above, or a design is not.

    Examples
    --------
    >>> import laplace
    >>> designs = [laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0, seed=seed)
    ...            for seed in (1, 2)]
    >>> [round(fit.llf, 4) for fit in laplace.fit_many(designs, tau=1)]
    [-346.5551, -324.1172]
    """
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', got {errors!r}")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers == 0 or workers < -1:
        raise ValueError(f"workers must be a number of processes, or -1, got {workers!r}")
    if not isinstance(designs, Iterable):
        raise TypeError(f"designs must be a list of designs, got {type(designs).__name__}")
    if workers == 1:
        return [_fit_one(design, errors, options) for design in designs]
    from joblib import Parallel, delayed

    run = Parallel(n_jobs=workers)
    return list(run(delayed(_fit_one)(design, errors, options) for design in designs))


def _fit_one(design: Any, errors: str, options: Mapping[str, Any]) -> Fit | ValueError:
    """Fit one design, or return why not."""
    if isinstance(design, Mapping):
        arguments: Mapping[str, Any] = design
    else:
        try:
            y, X, groups = design
        except (TypeError, ValueError):
            raise TypeError(
                f"designs must hold (y, X, groups) or mappings of arguments of fit, got "
                f"{type(design).__name__}"
            ) from None
        arguments = {"y": y, "X": X, "groups": groups}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", ApproximationWarning)
        try:
            return fit(**arguments, **options)
        except ValueError as error:
            if errors == "raise":
                raise
            return error
