"""Gauss-Hermite nodes and weights, for the textbook and for the engine."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.polynomial.hermite import hermgauss

from laplace.arguments import Array, whole_number

# With more nodes the outer weights underflow to zero in double precision.
MAX_NODES = 200


def check_nodes(nodes: object) -> int:
    """Return `nodes` as an int, or say what is wrong with it.

    Raises
    ------
    TypeError
        If `nodes` is not a whole number.
    ValueError
        If it is not between 1 and `MAX_NODES`.
    """
    return whole_number(
        "nodes",
        nodes,
        minimum=1,
        maximum=MAX_NODES,
        of=" of quadrature nodes",
        hint="; use nodes=1 for the Laplace approximation",
    )


@cache
def gauss_hermite(nodes: int) -> tuple[Array, Array]:
    r"""Nodes :math:`z_k` and log weights :math:`\log w_k` for the weight :math:`e^{-z^2}`.

    Parameters
    ----------
    nodes : int
        Number of nodes, K.

    Returns
    -------
    z, log_w : ndarray of shape (K,)
        Read-only, in increasing order of `z`.
    """
    z, w = hermgauss(check_nodes(nodes))
    log_w = np.log(w)
    z.flags.writeable = log_w.flags.writeable = False
    return z, log_w
