"""Fitting from a formula and a DataFrame."""

from __future__ import annotations

from typing import Any

import pandas as pd

from laplace.design import read
from laplace.fit import AUTO, checked, fit_rows
from laplace.result import Fit
from laplace.site import Site
from laplace.sites import Sites


def fit_formula(
    formula: str,
    data: pd.DataFrame,
    groups: Any,
    *,
    family: str | None = None,
    offset: Any = None,
    nodes: int | str = AUTO,
    tau: Any = None,
    missing: str = "raise",
    penalty: str | None = None,
    strength: Any = None,
    reml: bool = False,
) -> Fit:
    """Fit a regression with random intercepts from a formula.

    Parameters
    ----------
    formula : str
        ``"y ~ x + z"``: a column of outcomes, and covariates as `formulaic` reads them (``a * b``
        for interactions, ``poly(x, 2)``, ``C(x)``); an intercept is added unless ``- 1`` says
        otherwise. ``"successes / trials ~ x"`` names two columns and makes the family binomial.
    data : DataFrame
        The columns that the formula names, a row each. Outcomes may be a category of two levels, of
        which the second is the event. Levels that no row has are none.
    groups : str or array_like
        Column of group labels, or the labels.
    family : {"bernoulli", "binomial", "poisson"}, optional
        Distribution of the outcomes; by default binomial with trials on the left, else Bernoulli.
    offset : str or array_like, optional
        Column added to the linear predictor, or its values.
    nodes, tau, penalty, strength, reml
        As in `fit`.
    missing : {"raise", "drop"}
        What to do with rows where a column that is used has no value: refuse them, naming the
        rows; or leave them out, which the summary counts.

    Returns
    -------
    Fit
        Its `predict` takes a DataFrame with the columns of the formula, and the name of the column
        of groups.

    Raises
    ------
    TypeError, ValueError
        As `fit` does; and if the formula cannot be read, names a column that `data` does not
        have, or rows have missing values that are not to be dropped.

    Warns
    -----
    ConvergenceWarning
        If no maximum was reached.
    ApproximationWarning
        If the approximation is not to be trusted at the maximum.

    Examples
    --------
    >>> import pandas as pd, laplace
    >>> drawn = laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0)
    >>> data = pd.DataFrame({"y": drawn.y, "dose": drawn.X[:, 1], "ward": drawn.groups})
    >>> fit = laplace.fit_formula("y ~ dose", data, groups="ward", nodes=25)
    >>> fit.params.round(3).to_dict()
    {'Intercept': -0.541, 'dose': 0.983, 'tau': 1.228}
    """
    options = checked(nodes, tau, penalty, strength, reml)
    rows = read(formula, data, groups, family=family, offset=offset, missing=missing)
    site = Site.of(rows)
    return fit_rows(Sites([site]), site, options)
