"""The data of the benchmarks: drawn from a fixed seed, written once, read by everybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Data = tuple[Array, Array, NDArray[np.int64]]  # y, X, groups

SORTED = "sorted"


@dataclass(frozen=True)
class Design:
    """Size of a data set, and whether its rows come sorted by group.

    The first column of X is one everywhere, the others are standard normal. The coefficients are
    half a standard normal, the random intercepts standard normal, and each row's group is drawn
    uniformly, so that the groups differ in size.
    """

    rows: int
    groups: int
    columns: int
    sorted: bool = False

    @classmethod
    def parse(cls, name: str) -> Design:
        """Read a name such as ``10000/100/5`` or ``10000/100/5/sorted``."""
        *sizes, last = name.split("/")
        is_sorted = last == SORTED
        try:
            rows, groups, columns = map(int, sizes if is_sorted else [*sizes, last])
        except ValueError:
            raise ValueError(
                f"a design is written rows/groups/columns, as in 10000/100/5, with /{SORTED} at "
                f"its end for rows sorted by group; got {name!r}"
            ) from None
        if min(rows, groups, columns) < 1:
            raise ValueError(f"a design has at least one row, group and column; got {name!r}")
        return cls(rows, groups, columns, is_sorted)

    @property
    def name(self) -> str:
        """Name that `parse` reads."""
        name = f"{self.rows}/{self.groups}/{self.columns}"
        return f"{name}/{SORTED}" if self.sorted else name

    def draw(self, seed: int) -> Data:
        """Draw y, X and groups; sorted or not, they are the same rows."""
        rng = np.random.default_rng([seed, self.rows, self.groups, self.columns])
        beta = 0.5 * rng.normal(size=self.columns)
        u = rng.normal(size=self.groups)
        groups = rng.integers(self.groups, size=self.rows)
        X = rng.normal(size=(self.rows, self.columns))
        X[:, 0] = 1.0
        y = (rng.random(self.rows) < expit(X @ beta + u[groups])).astype(float)
        if self.sorted:
            order = np.argsort(groups, kind="stable")
            y, X, groups = y[order], X[order], groups[order]
        return y, X, groups

    def write(self, folder: Path, seed: int) -> None:
        """Write y, X and groups as plain numbers, which R reads as fast as NumPy does."""
        y, X, groups = self.draw(seed)
        y.tofile(folder / "y")
        X.tofile(folder / "X")
        groups.astype(np.int32).tofile(folder / "groups")

    def read(self, folder: Path) -> Data:
        """Read what `write` wrote."""
        return (
            np.fromfile(folder / "y"),
            np.fromfile(folder / "X").reshape(self.rows, self.columns),
            np.fromfile(folder / "groups", dtype=np.int32).astype(np.int64),
        )


PUBLISHED_SIZE = Design(1_000, 2, 10)  # two sites of 500 rows, 10 covariates
LARGE = Design(1_000_000, 1_000, 10)
MIDDLE = Design(100_000, 1_000, 10)
COMPARED = [
    PUBLISHED_SIZE,
    Design(10_000, 100, 5),
    MIDDLE,
    Design(100_000, 20_000, 5),
    LARGE,
]
