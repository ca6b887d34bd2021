"""Where a search starts that places help by the fits of their own rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laplace.arguments import Array
from laplace.contribution import COEFFICIENTS, AtZero
from laplace.objective import Problem
from laplace.questions import ALL


@dataclass(frozen=True, eq=False)
class OwnFits:
    """The fits of all places, combined by their information.

    Where places have such fits, X separates the outcomes of no place whose information counts, and
    so not those of all: a direction that did would be flat at each of these places.

    Attributes
    ----------
    plain : ndarray of shape (p,)
        Coefficients of the orthogonal columns, without random intercepts.
    coefficients : ndarray of shape (p,)
        Those with random intercepts; the same where no place could estimate tau.
    tau : float or None
        Standard deviation of the random intercepts; None where no place could estimate it.
    seen : AtZero
        What the fits without random intercepts tell, with a value that no fit of all rows exceeds.
    """

    plain: Array
    coefficients: Array
    tau: float | None
    seen: AtZero


def own_fits(problem: Problem) -> OwnFits | None:
    """Ask the places for their own fits; None where they are not to be asked, or have none."""
    p, basis = problem.census.p, problem.basis
    if not problem.sites.starts or basis.rows is not ALL or problem.penalty is not None:
        return None
    total = problem.sites.start()
    plain = _combined(total.plain, total.plain_weighted)
    if plain is None:
        return None
    hessian = np.zeros((p + 1, p + 1))
    hessian[:p, :p] = -total.plain
    seen = AtZero(total.highest, np.zeros(p + 1), hessian, 0.0, 0.0, total.least, total.most)
    seen = seen.transformed(basis.inverse_with_tau).of(COEFFICIENTS)
    whole = _combined(total.information, total.weighted)
    if whole is None:
        return OwnFits(basis.forward(plain), basis.forward(plain), None, seen)
    return OwnFits(basis.forward(plain), basis.forward(whole[:p]), float(np.exp(whole[p])), seen)


def _combined(information: Array, weighted: Array) -> Array | None:
    """Return estimates combined by their information; None where that is not positive."""
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(np.linalg.solve(information, weighted))
