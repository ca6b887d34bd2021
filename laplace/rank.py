"""Columns that are combinations of others: what is left of a column beside those before it."""

from __future__ import annotations

import numpy as np

from laplace.arguments import Array

# A column is called a combination of others when this little of its length is its own.
RANK_TOLERANCE = 1e-10


def combinations(triangle: Array) -> list[int]:
    """Return the columns that are combinations of those before them, in any units.

    Parameters
    ----------
    triangle : ndarray of shape (k, p)
        Upper triangle of a QR decomposition; with fewer rows than columns, k of them.

    Returns
    -------
    list of int
    """
    p = triangle.shape[1]
    size = np.sqrt(np.sum(triangle**2, axis=0))
    scaled = triangle / np.where(size > 0.0, size, 1.0)
    ranks = [0] + [
        int(np.linalg.matrix_rank(scaled[:, : k + 1], rtol=RANK_TOLERANCE)) for k in range(p)
    ]
    return [k for k in range(p) if ranks[k + 1] == ranks[k]]


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
