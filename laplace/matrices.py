"""Arrays of small matrices, of which each is treated as if it were alone."""

from __future__ import annotations

import numpy as np

from laplace.arguments import Array


def times(matrices: Array, vectors: Array) -> Array:
    """Return each matrix times its vector; shapes (k, i, j), (k, j)."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


def dot(left: Array, right: Array) -> Array:
    """Return the product of each pair of vectors; shapes (k, j)."""
    return np.asarray((left[:, None, :] @ right[:, :, None])[:, 0, 0])


def solved(matrices: Array, right: Array) -> Array:
    """Return the solution of each system of equations; NaN where a matrix is singular.

    Shapes are (k, j, j), and (k, j) for vectors or (k, j, i) for matrices on the right.
    """
    if right.ndim == 2:
        return np.asarray(solved(matrices, right[:, :, None])[:, :, 0])
    try:
        return np.asarray(np.linalg.solve(matrices, right), dtype=float)
    except np.linalg.LinAlgError:  # of one of them at least
        if len(matrices) == 1:
            return np.full_like(right, np.nan)
        half = len(matrices) // 2
        first, second = solved(matrices[:half], right[:half]), solved(matrices[half:], right[half:])
        return np.concatenate([first, second])


def diagonals(matrices: Array) -> Array:
    """Return the diagonal of each; shape (k, j)."""
    return np.diagonal(matrices, axis1=1, axis2=2)


def bordered(matrices: Array) -> Array:
    """Append a row and a column of the identity to each; shape (k, j + 1, j + 1)."""
    count, j, _ = matrices.shape
    result = np.zeros((count, j + 1, j + 1))
    result[:, :j, :j] = matrices
    result[:, j, j] = 1.0
    return result


def factors(matrices: Array) -> Array:
    """Return the lower Cholesky factor of each; zero for one that is not positive definite."""
    try:
        return np.asarray(np.linalg.cholesky(matrices), dtype=float)
    except np.linalg.LinAlgError:  # of one of them at least
        if len(matrices) == 1:
            return np.zeros_like(matrices)
        half = len(matrices) // 2
        return np.concatenate([factors(matrices[:half]), factors(matrices[half:])])
