"""Columns that are combinations of others: what is left of a column beside those before it."""

from __future__ import annotations

import numpy as np

from laplace.arguments import Array

# A column is called a combination of others when this little of its length is its own.
RANK_TOLERANCE = 1e-10


def rank_of(triangle: Array) -> int:
    """Return how many columns are no combinations of others, in any units.

    Parameters
    ----------
    triangle : ndarray of shape (k, p)
        As that of `own_parts`.
    """
    size = np.linalg.norm(triangle, axis=0)
    scaled = triangle / np.where(size > 0.0, size, 1.0)
    return int(np.linalg.matrix_rank(scaled, rtol=RANK_TOLERANCE))


def own_parts(triangle: Array) -> Array:
    """Return the length that the columns before it leave of each column.

    Parameters
    ----------
    triangle : ndarray of shape (k, p)
        Upper triangle of a QR decomposition; with fewer rows than columns, k of them.

    Returns
    -------
    ndarray of shape (p,)
    """
    own = np.zeros(triangle.shape[1])
    own[: len(triangle)] = np.abs(np.diag(triangle))
    return own
