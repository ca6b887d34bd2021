"""Places that hold the rows of whole groups: all are asked, and their answers are added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    numbers_of,
)
from laplace.arguments import Array, quoted
from laplace.contribution import AtZero, Contribution
from laplace.questions import (
    ALL,
    AskAt,
    AskCensus,
    AskDigests,
    AskDirection,
    AskJeffreys,
    AskKnown,
    AskMargins,
    AskMoments,
    AskSketch,
    AskTriangle,
    AskVariation,
    AskWithout,
    View,
)
from laplace.rank import rank_of
from laplace.starts import AskStart, Start

Ask = Callable[[Sequence[Any], Any], Iterable[Any]]


def ask_each(parts: Sequence[Any], question: Any) -> list[Any]:
    """Put a question to one place after the other."""
    return [part.answer(question) for part in parts]


class Asked(NamedTuple):
    """How many questions were put to the rows.

    `rounds` of all kinds, `evaluations` of the log-likelihood, and how many `numbers` places sent:
    none, where there is one place.
    """

    rounds: int
    evaluations: int
    numbers: int

    def since(self, before: Asked) -> Asked:
        """Return what was asked since a time before."""
        return Asked(*(now - then for now, then in zip(self, before, strict=True)))


class Sites:
    """Places that hold the rows of whole groups; asks all of them, and adds their answers.

    Parameters
    ----------
    parts : sequence
        Places: of `Site`, or of anything with a method `answer`, that takes a question and returns
        its answer.
    names : sequence of str, optional
        Their names, for messages; by default "site 1", "site 2", ...
    ask : callable, optional
        Puts a question to all parts, and returns their answers in the same order: a loop by
        default, or a map over a cluster, or a messenger. Answers are added in that order.
    guarded : bool
        Whether the places refuse what could spell out rows: questions about some of them alone, and
        linear programs.
    starts : bool
        Whether a search starts from the fits that the places make of their own rows.

    Attributes
    ----------
    rounds : int
        How many questions were put so far. A question goes to all places at once.
    evaluations : int
        How many of them asked for the log-likelihood.
    numbers : int
        How many numbers the places sent, all together.
    """

    # whether some groups of each place are taken for all where that is enough, as of a single place
    sampled = False

    def __init__(
        self,
        parts: Sequence[Any],
        *,
        names: Sequence[str] | None = None,
        ask: Ask = ask_each,
        guarded: bool = False,
        starts: bool = False,
    ) -> None:
        self.parts = list(parts)
        self.guarded = guarded
        self.starts = starts
        self.names = (
            [f"site {k + 1}" for k in range(len(self.parts))] if names is None else list(names)
        )
        if not self.parts:
            raise ValueError("parts must hold at least one site")
        if len(self.names) != len(self.parts):
            raise ValueError(f"names has {len(self.names)} names, but there are {len(self)} sites")
        self._ask = ask
        self._rounds: Counter[type] = Counter()
        self._first: dict[type, list[Any]] = {}

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def design(self) -> Any:
        """How a formula made X at the first place, where that is known here; or None.

        The places agree on it, as `census` has seen.
        """
        return getattr(self.parts[0], "design", None)

    @property
    def some_for_all(self) -> bool:
        """Whether some groups may be asked about where that is enough, instead of all."""
        return (len(self) == 1 or self.sampled) and not self.guarded

    @property
    def asked(self) -> Asked:
        """What was asked so far, to be compared with what will have been."""
        return Asked(self.rounds, self.evaluations, self.numbers if len(self) > 1 else 0)

    @property
    def rounds(self) -> int:
        """How many questions were put so far."""
        return self._rounds.total()

    @property
    def evaluations(self) -> int:
        """How many of them asked for the log-likelihood."""
        return self._rounds[AskAt] + self._rounds[AskWithout]

    @property
    def numbers(self) -> int:
        """How many numbers the places sent so far, all together."""
        sizes = {kind: sum(map(numbers_of, answers)) for kind, answers in self._first.items()}
        return sum(count * sizes[kind] for kind, count in self._rounds.items())

    def each(self, question: Any) -> list[Any]:
        """Put a question to all places; return their answers, one each."""
        answers = self._ask(self.parts, question)
        if not isinstance(answers, list):
            answers = list(answers)
        if len(answers) != len(self.parts):
            raise ValueError(
                f"{len(self.parts)} sites were asked, but {len(answers)} answers came back"
            )
        kind = type(question)
        self._rounds[kind] += 1
        if kind not in self._first:  # the next ones are of the same size
            self._first[kind] = answers
        return answers

    def note(self, kind: type, answer: Any, times: int) -> None:
        """Count questions that were put to the rows in another way, together with those of others.

        Parameters
        ----------
        kind : type
            Of the questions.
        answer : object
            The answer to one of them.
        times : int
            How many there were.
        """
        self._rounds[kind] += times
        self._first.setdefault(kind, [answer])

    def total(self, question: Any) -> Any:
        """Put a question to all places; return the sum of their answers."""
        answers = self.each(question)
        return answers[0] if len(answers) == 1 else reduce(add, answers)

    def ahead(self, questions: Sequence[Any]) -> None:
        """Say which questions come next, none of which waits for the answer to another.

        Nothing is done here; places that are far away are asked all of them at once.
        """

    # the questions, in short -------------------------------------------------------------------

    def census(self, view: View = ALL, key: str = "") -> Census:
        """Ask for counts and sums; places that disagree are refused, by their names.

        Raises
        ------
        ValueError
            If they differ in their columns, the order of these, the family or the levels of a
            category; if a transformation takes its constants from the rows of each place; or if, as
            the digests of a key tell, a group is at two places.
        """
        answers = self.each(AskCensus(view, key))
        if len(answers) > 1:
            check_agreement(self.names, answers)
        total: Census = reduce(add, answers)
        return total

    def triangle(self, scale: Array, view: View = ALL, beta: Array | None = None) -> Array:
        """Ask for the triangle of X / scale, or of the weighted columns at `beta`."""
        answer: Triangle = self.total(
            AskTriangle(view, scale, np.empty(0) if beta is None else beta)
        )
        return answer.r

    def check_known(self, census: Census) -> None:
        """Refuse columns that only rows without trials tell from the others, at all places.

        Raises
        ------
        ValueError
            If there are such columns.
        """
        if not census.some_empty:
            return
        scale = census.scale * np.sqrt(census.n)
        known: Known = self.total(AskKnown(scale))
        rank = rank_of(known.r)
        if rank < census.p and rank < rank_of(self.triangle(scale)):
            raise ValueError(
                f"X has columns that only the {known.empty} rows without trials tell from the "
                "others, so that nothing is known of their coefficients; leave these rows out, or "
                "merge levels"
            )

    def moments(self, view: View = ALL) -> Moments:
        """Ask for the mean and the variance of each column."""
        answer: Moments = self.total(AskMoments(view))
        return answer

    def without(self, beta: Array, view: View = ALL) -> AtZero:
        """Ask for the log-likelihood without random intercepts."""
        answer: AtZero = self.total(AskWithout(view, beta))
        return answer

    def at(self, beta: Array, tau: float, nodes: int, view: View = ALL) -> Contribution:
        """Ask for the log-likelihood; at tau = 0, that without random intercepts."""
        answer: Contribution = self.total(AskAt(view, beta, tau, nodes))
        return answer

    def margins(self, direction: Array, view: View = ALL) -> Margins:
        """Ask for the margins along a direction."""
        answer: Margins = self.total(AskMargins(view, direction))
        return answer

    def direction(self, triangle: Array, scale: Array, view: View = ALL) -> Direction:
        """Ask the only place for a separating direction."""
        answer: Direction = self.total(AskDirection(view, triangle, scale))
        return answer

    def jeffreys(self, beta: Array, triangle: Array, view: View = ALL) -> Jeffreys:
        """Ask for the sums of the soft penalty's derivatives."""
        answer: Jeffreys = self.total(AskJeffreys(view, beta, triangle))
        return answer

    def digests(self, key: str) -> Digests:
        """Ask for keyed digests of the rows."""
        answer: Digests = self.total(AskDigests(key))
        return answer

    def start(self) -> Start:
        """Ask for the fits that the places make of their own rows."""
        answer: Start = self.total(AskStart())
        return answer

    def sketch(self, key: str, rows: int, scale: Array) -> Array:
        """Ask for random signed sums of the rows of X / scale."""
        answer: Sketch = self.total(AskSketch(key, rows, scale))
        return answer.sums

    def variation(self, view: View = ALL) -> NDArray[np.bool_]:
        """Ask which columns of X vary within groups."""
        answer: Variation = self.total(AskVariation(view))
        return np.array(answer.within, dtype=bool)


def check_agreement(names: Sequence[str], answers: Sequence[Census]) -> None:
    """Refuse places whose rows cannot be parts of one data set."""
    first = answers[0]
    for name, other in zip(names[1:], answers[1:], strict=True):
        both = f"{names[0]} and {name}"
        if other.family != first.family:
            raise ValueError(
                f"{both} have different families: {first.family!r} and {other.family!r}; binomial "
                "outcomes need trials at every site"
            )
        if other.names != first.names:
            raise ValueError(_different_columns(both, first.names, other.names))
        for mine, theirs in zip(first.coding, other.coding, strict=False):
            if mine != theirs:
                raise ValueError(
                    f"{both} code a category differently: {mine}, and {theirs}; give every site "
                    "the same levels, in the same order"
                )
    stateful = [text for answer in answers for text in answer.stateful]
    if stateful:
        raise ValueError(
            f"{quoted(sorted(set(stateful)))} would take constants from the rows of each site, so "
            "that the columns would differ between sites; transform the columns before, with "
            "constants that the sites agree on"
        )
    places: dict[str, str] = {}
    for name, answer in zip(names, answers, strict=True):
        for digest in answer.labels:
            if places.setdefault(digest, name) != name:
                raise ValueError(
                    f"{places[digest]} and {name} have rows of the same group; all rows of a group "
                    "must be at one site"
                )


def _different_columns(both: str, first: tuple[str, ...], other: tuple[str, ...]) -> str:
    """Say how the columns of two places differ."""
    if sorted(first) == sorted(other):
        return (
            f"{both} have the same columns in a different order: {quoted(first)}, and "
            f"{quoted(other)}; give them in the same order"
        )
    missing = [name for name in first if name not in other]
    extra = [name for name in other if name not in first]
    parts = [f"only the first has {quoted(missing)}"] if missing else []
    parts += [f"only the second has {quoted(extra)}"] if extra else []
    return (
        f"{both} have different columns: {' and '.join(parts)}; give every site the same columns, "
        "and the same levels of each category"
    )
