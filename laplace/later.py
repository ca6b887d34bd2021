"""What is imported when it is first needed, as importing it takes a while: pandas, parts of SciPy.

A fit of arrays needs nothing of pandas. What a value of pandas is, is asked by `is_frame` and its
like: where nobody has imported pandas, no value is one of its.
"""

from __future__ import annotations

import importlib
import math
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import TypeIs

__all__ = [
    "expit",
    "is_categorical",
    "is_frame",
    "is_series",
    "linalg",
    "logit",
    "pd",
    "special",
]

# No exponential of less than this overflows.
FARTHEST_LOGIT = 709.0


class Later(ModuleType):
    """A module that is imported when something of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by a name."""
        module = importlib.import_module(self.__name__)
        value = getattr(module, name)
        self.__dict__[name] = value
        return value


if not TYPE_CHECKING:
    pd = Later("pandas")


def is_frame(value: Any) -> TypeIs[pd.DataFrame]:
    """Whether a value is a DataFrame of pandas."""
    return "pandas" in sys.modules and isinstance(value, pd.DataFrame)


def is_series(value: Any) -> TypeIs[pd.Series]:
    """Whether a value is a Series of pandas."""
    return "pandas" in sys.modules and isinstance(value, pd.Series)


def is_categorical(dtype: Any) -> TypeIs[pd.CategoricalDtype]:
    """Whether a type of values is pandas' categories."""
    return "pandas" in sys.modules and isinstance(dtype, pd.CategoricalDtype)


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


# Of single numbers, the logit and the logistic function are those of SciPy, bit for bit. A fit of
# arrays needs no more of `scipy.special`, whose import takes a while.


def logit(mean: float) -> float:
    """Return the logit of a number from 0 to 1."""
    if not 0.0 < mean < 1.0:
        return math.inf if mean == 1.0 else -math.inf if mean == 0.0 else math.nan
    if 0.3 <= mean <= 0.65:  # near zero, in digits that a quotient would lose
        twice = 2.0 * (mean - 0.5)
        return math.log1p(twice) - math.log1p(-twice)
    return math.log(mean / (1.0 - mean))


def expit(eta: float) -> float:
    """Return the logistic function of a number; as good as zero for one far below it."""
    return 1.0 / (1.0 + math.exp(min(-eta, FARTHEST_LOGIT)))
