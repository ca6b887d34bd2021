"""Confidence intervals of the parameters, and what is to be said of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from laplace.arguments import quoted
from laplace.ends import MORE_NODES
from laplace.later import pd
from laplace.profile import Piece
from laplace.verdict import ApproximationWarning


@dataclass(frozen=True, eq=False)
class ConfidenceIntervals:
    """Intervals by one method at one level.

    Attributes
    ----------
    table : DataFrame
        Their ends, `lower` and `upper`, a row a parameter.
    pieces : dict of str to list of (float, float)
        Of each parameter that was followed, the pieces in which its values lie.
    rough : list of str
        The parameters at whose ends no rule tells the likelihood.
    """

    table: pd.DataFrame
    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    rough: list[str] = field(default_factory=list)

    def words(self) -> list[tuple[str, type[Warning]]]:
        """Return what is to be said, and of which kind it is."""
        said: list[tuple[str, type[Warning]]] = []
        for name, pieces in self.pieces.items():
            if len(pieces) > 1:
                parts = " and ".join(f"{low:.4g} to {high:.4g}" for low, high in pieces)
                text = (
                    f"the values of {name} that are not rejected lie in {len(pieces)} pieces, "
                    f"{parts}, as the likelihood has several maxima; the interval holds all"
                )
                said.append((text, UserWarning))
        if self.rough:
            text = (
                f"the interval of {quoted(self.rough)} is rough: at its ends, where tau may be "
                f"large, quadrature by up to {max(MORE_NODES)} nodes does not tell the likelihood"
            )
            said.append((text, ApproximationWarning))
        return said

    def warn(self, names: list[str]) -> None:
        """Say it of some parameters, to the caller of what calls this."""
        some = ConfidenceIntervals(
            self.table,
            {name: pieces for name, pieces in self.pieces.items() if name in names},
            [name for name in self.rough if name in names],
        )
        for text, kind in some.words():
            warnings.warn(text, kind, stacklevel=3)
