"""Fitting from a formula and a DataFrame."""

from __future__ import annotations

from typing import Any

from laplace.fit import AUTO, checked, fit_rows
from laplace.reading.design import read
from laplace.reading.frames import calling
from laplace.result import Fit
from laplace.site import Site
from laplace.sites import Sites


def fit_formula(
    formula: str,
    data: Any,
    groups: Any = None,
    *,
    family: str | None = None,
    offset: Any = None,
    weights: Any = None,
    nodes: int | str = AUTO,
    tau: Any = None,
    missing: str = "raise",
    empty_cells: str = "raise",
    penalty: str | None = None,
    strength: Any = None,
    reml: bool = False,
) -> Fit:
    """Fit a regression with random intercepts from a formula.

    Parameters
    ----------
    formula : str
        ``"y ~ x + z"``: the outcomes, an expression of the columns, and covariates as `formulaic`
        reads them (``a * b`` for interactions, ``poly(x, 2)``, ``C(x)``, ``.`` for all other
        columns); an intercept is added unless ``- 1`` says otherwise. ``"successes / trials ~ x"``
        and ``"cbind(successes, failures) ~ x"`` make the family binomial. A term ``(1 | ward)``
        names the column of groups, as in lme4, and ``offset(log(time))`` an offset. Names with
        other characters stand in backticks; with dots, they need none. Functions and variables of
        the calling code may be used.
    data : DataFrame
        The columns that the formula names, a row each; of pandas, polars or another library that
        `narwhals` knows, or a mapping of columns. Outcomes may be 0 and 1, booleans, or a category
        of two levels, of which the second is the event; of text, ``I(y == "Yes")`` says which.
        Levels that no row has are none.
    groups : str, list of str or array_like, optional
        Column of group labels; several columns, whose combinations are the groups, as of classes
        with the same names in several schools, which ``(1 | class:school)`` says, too; or the
        labels. Needed where the formula has no ``(1 | ward)``.
    family : {"bernoulli", "binomial", "poisson"}, optional
        Distribution of the outcomes; by default binomial with trials on the left, else Bernoulli.
    offset : str or array_like, optional
        Column or expression added to the linear predictor, or its values. As in a covariate,
        ``center(z)`` and ``scale(z)`` remember the rows of the fit, so that new rows can be
        predicted; ``z - z.mean()`` does not, and `predict` asks for the values of new rows.
    weights : str or array_like, optional
        Column or expression of how many rows each row stands for, or its values, as in `fit`; of
        proportions with ``family="binomial"``, numbers of trials.
    nodes, tau, penalty, strength, reml
        As in `fit`.
    missing : {"raise", "drop"}
        What to do with rows where a column that is used has no value: refuse them, naming the
        rows; or leave them out, which the summary counts. A comparison with a missing value is
        missing, too, unless the formula says what becomes of it, as by ``x.fillna(0)``.
    empty_cells : {"raise", "drop"}
        What to do where an interaction of categories has a combination of levels that no row has:
        refuse it; or leave out the columns that cannot be estimated, which the summary names.

    Returns
    -------
    Fit
        Its `predict` takes a DataFrame with the columns of the formula, and the name of the column
        of groups.

    Raises
    ------
    TypeError, ValueError
        As `fit` does; and if the formula cannot be read, names a column that `data` does not
        have, or rows have missing values that are not to be dropped; for random slopes, or more
        than one random intercept; and for covariates that are dates, or names of rows.

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
    rows = read(
        formula,
        data,
        groups,
        family=family,
        offset=offset,
        weights=weights,
        missing=missing,
        empty_cells=empty_cells,
        caller=calling(1),
    )
    site = Site.of(rows)
    return fit_rows(Sites([site]), site, options)
