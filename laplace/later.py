"""Parts of SciPy that are imported when they are first needed: importing them takes a while."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def special() -> Any:
    """Return `scipy.special`."""
    import scipy.special

    return scipy.special


@cache
def linalg() -> Any:
    """Return `scipy.linalg`."""
    import scipy.linalg

    return scipy.linalg
