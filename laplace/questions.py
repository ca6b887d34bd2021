r"""What a fit asks of its rows: plain records. What is answered is in `laplace.answers`.

A fit never sees a row. It puts questions to the places that hold them, and adds the answers:

==================  ===========================  ==============================================
Question            Answer                       Adds by
==================  ===========================  ==============================================
`AskCensus`         `Census`                     sums, least and most
`AskTriangle`       `Triangle`                   QR of the two, one on the other
`AskKnown`          `Known`                      sums, and QR of the two
`AskMoments`        `Moments`                    Chan, Golub and LeVeque (1983)
`AskWithout`        `AtZero`                     sums, least and most
`AskAt`             `Contribution`               sums
`AskMargins`        `Margins`                    least, most, and a sum
`AskJeffreys`       `Jeffreys`                   sums
`AskDigests`        `Digests`                    one after the other
`AskSketch`         `Sketch`                     sums
`AskVariation`      `Variation`                  or
`AskDirection`      `Direction`                  does not: it is for a single place
==================  ===========================  ==============================================

One more question, which a search can do without, is in `laplace.starts`; and `laplace.together`
puts several into one message.

An answer depends on the rows and the question alone, not on what was asked before. If every group
lies wholly at one place, the answers are exact sums of what one process computes; only the order of
the additions differs.

Every record has a JSON form, see `laplace.messages`, from which it is read bit for bit as it was
written. What each answer discloses is said in its docstring. Sums of few rows, and sums at
parameters that somebody chose to single a row out, can give rows away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from laplace.answers import (
    Census,
    Digests,
    Direction,
    Jeffreys,
    Known,
    Margins,
    Moments,
    Sketch,
    Triangle,
    Variation,
)
from laplace.arguments import Array
from laplace.contribution import AtZero, Contribution

# Which rows, in which columns -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class View:
    """Which rows a question is about, and in which columns.

    Attributes
    ----------
    every : int
        Only one of so many groups is meant; 1 is all. With all their rows, no period is hit.
    rows : int
        At most so many rows of each group, evenly spaced; 0 is all of them.
    triangle : ndarray of shape (p, p) or None
        Upper triangle R: the columns are those of X R^-1.
    """

    every: int = 1
    rows: int = 0
    triangle: Array | None = None


ALL = View()


# Questions --------------------------------------------------------------------------------------


class Place(Protocol):
    """What answers questions for the rows of one place."""

    def census(self, view: View, key: str) -> Census:
        """Count."""

    def triangle(self, view: View, scale: Array, beta: Array) -> Triangle:
        """Decompose the columns."""

    def known(self, scale: Array) -> Known:
        """Decompose the columns of the rows with trials."""

    def moments(self, view: View) -> Moments:
        """Mean and variance of the columns."""

    def without(self, view: View, beta: Array) -> AtZero:
        """Evaluate without random intercepts."""

    def at(self, view: View, beta: Array, tau: float, nodes: int) -> Contribution:
        """Evaluate with them."""

    def margins(self, view: View, direction: Array) -> Margins:
        """Project the signed rows."""

    def direction(self, view: View, triangle: Array, scale: Array) -> Direction:
        """Search a separating direction."""

    def jeffreys(self, view: View, beta: Array, triangle: Array) -> Jeffreys:
        """Sum what the soft penalty's derivatives need."""

    def digests(self, key: str) -> Digests:
        """Make keyed digests of the rows."""

    def sketch(self, key: str, rows: int, scale: Array) -> Sketch:
        """Map the columns to few rows."""

    def variation(self, view: View) -> Variation:
        """Say which columns vary within groups."""


@dataclass(frozen=True, eq=False)
class AskCensus:
    """Ask for counts and sums; with a key that is not empty, for digests of the group labels."""

    view: View
    key: str

    def of(self, place: Place) -> Census:
        """Put the question to a place."""
        return place.census(self.view, self.key)


@dataclass(frozen=True, eq=False)
class AskTriangle:
    r"""Ask for the triangle of X / scale; of :math:`W^{1/2} X` where `beta` is not empty.

    W has the weights :math:`b''` of the model without random intercepts.
    """

    view: View
    scale: Array
    beta: Array

    def of(self, place: Place) -> Triangle:
        """Put the question to a place."""
        return place.triangle(self.view, self.scale, self.beta)


@dataclass(frozen=True, eq=False)
class AskKnown:
    """Ask for the triangle of X / scale of the rows with trials, and how many have none."""

    scale: Array

    def of(self, place: Place) -> Known:
        """Put the question to a place."""
        return place.known(self.scale)


@dataclass(frozen=True, eq=False)
class AskMoments:
    """Ask for the mean and the variance of each column."""

    view: View

    def of(self, place: Place) -> Moments:
        """Put the question to a place."""
        return place.moments(self.view)


@dataclass(frozen=True, eq=False)
class AskWithout:
    """Ask for the log-likelihood without random intercepts."""

    view: View
    beta: Array

    def of(self, place: Place) -> AtZero:
        """Put the question to a place."""
        return place.without(self.view, self.beta)


@dataclass(frozen=True, eq=False)
class AskAt:
    """Ask for the log-likelihood with random intercepts."""

    view: View
    beta: Array
    tau: float
    nodes: int

    def of(self, place: Place) -> Contribution:
        """Put the question to a place."""
        return place.at(self.view, self.beta, self.tau, self.nodes)


@dataclass(frozen=True, eq=False)
class AskMargins:
    """Ask for the margins of the signed rows along a direction."""

    view: View
    direction: Array

    def of(self, place: Place) -> Margins:
        """Put the question to a place."""
        return place.margins(self.view, self.direction)


@dataclass(frozen=True, eq=False)
class AskDirection:
    """Ask a single place for a separating direction that uses few columns.

    The triangle is that of an orthogonal basis of X, and the scale that of its columns.
    """

    view: View
    triangle: Array
    scale: Array

    def of(self, place: Place) -> Direction:
        """Put the question to a place."""
        return place.direction(self.view, self.triangle, self.scale)


@dataclass(frozen=True, eq=False)
class AskJeffreys:
    """Ask for the sums that the derivatives of the soft penalty are made of.

    The triangle is that of the weighted columns at `beta`, of the rows of all places.
    """

    view: View
    beta: Array
    triangle: Array

    def of(self, place: Place) -> Jeffreys:
        """Put the question to a place."""
        return place.jeffreys(self.view, self.beta, self.triangle)


@dataclass(frozen=True, eq=False)
class AskDigests:
    """Ask for keyed digests of the rows."""

    key: str

    def of(self, place: Place) -> Digests:
        """Put the question to a place."""
        return place.digests(self.key)


@dataclass(frozen=True, eq=False)
class AskSketch:
    """Ask for random signed sums of X / scale; the signs come from the key."""

    key: str
    rows: int
    scale: Array

    def of(self, place: Place) -> Sketch:
        """Put the question to a place."""
        return place.sketch(self.key, self.rows, self.scale)


@dataclass(frozen=True, eq=False)
class AskVariation:
    """Ask which columns of X vary within groups."""

    view: View

    def of(self, place: Place) -> Variation:
        """Put the question to a place."""
        return place.variation(self.view)


Question = (
    AskCensus
    | AskTriangle
    | AskKnown
    | AskMoments
    | AskWithout
    | AskAt
    | AskMargins
    | AskDirection
    | AskJeffreys
    | AskDigests
    | AskSketch
    | AskVariation
)
