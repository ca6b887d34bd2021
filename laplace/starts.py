r"""A question that saves rounds: what places find by their own rows alone.

A search that starts from the fits of the places, combined by their information, takes fewer rounds.
It finds the same maximum. What the places answer are estimates of their own, which a place may not
want to give away; no search needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from laplace.arguments import Array


@dataclass(frozen=True, eq=False)
class Start:
    r"""The fits that places made of their own rows, as sums from which a start is made.

    They disclose the estimates of each place, and how precise these are.

    Attributes
    ----------
    information : ndarray of shape (p + 1, p + 1)
        Information on the coefficients and on :math:`\log\tau`; zero where a place has no estimate.
    weighted : ndarray of shape (p + 1,)
        That times the estimates.
    plain, plain_weighted : ndarray of shape (p, p), (p,)
        The same of the fits without random intercepts.
    highest : float
        Sum of the maxima without random intercepts, which no common coefficients exceed; infinite
        where a place has no such fit.
    least, most : float
        At these, least and largest information of a group; see `laplace.contribution.AtZero`.
    """

    information: Array
    weighted: Array
    plain: Array
    plain_weighted: Array
    highest: float
    least: float
    most: float

    def __add__(self, other: Start) -> Start:
        """Add those of other places."""
        return Start(
            self.information + other.information,
            self.weighted + other.weighted,
            self.plain + other.plain,
            self.plain_weighted + other.plain_weighted,
            self.highest + other.highest,
            min(self.least, other.least),
            max(self.most, other.most),
        )


class Fits(Protocol):
    """What fits the rows of one place by themselves."""

    def start(self) -> Start:
        """Fit them."""


@dataclass(frozen=True, eq=False)
class AskStart:
    """Ask places for the fits of their own rows, by the Laplace approximation.

    A `Site` alone does not know how to fit: `laplace.engines.own.Own` does.
    """

    def of(self, place: Fits) -> Start:
        """Put the question to a place."""
        return place.start()
