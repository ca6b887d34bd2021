"""Several questions in one message: what does not depend on another answer need not wait for it.

Where a message takes long, as by hand, its number is what counts. Each question has its own answer,
the same as if it had been asked alone, and discloses neither more nor less.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import Any, Protocol


@dataclass(frozen=True, eq=False)
class Together:
    """Answers to several questions, in their order; each discloses what it says of itself."""

    answers: tuple[Any, ...]

    def __add__(self, other: Together) -> Together:
        """Add those of another place, each to its own."""
        return Together(tuple(map(add, self.answers, other.answers)))


class Answers(Protocol):
    """What answers questions."""

    def answer(self, question: Any) -> Any:
        """Answer a question."""


@dataclass(frozen=True, eq=False)
class AskTogether:
    """Ask several questions at once."""

    questions: tuple[Any, ...]

    def of(self, place: Answers) -> Together:
        """Put the questions to a place, one after the other."""
        return Together(tuple(place.answer(question) for question in self.questions))


def each_of(question: Any) -> tuple[Any, ...]:
    """Return the questions in a message: several, or that one."""
    return question.questions if isinstance(question, AskTogether) else (question,)


def paired(question: Any, answer: Any) -> list[tuple[Any, Any]]:
    """Return each question in a message, and its answer."""
    answers = answer.answers if isinstance(question, AskTogether) else (answer,)
    return list(zip(each_of(question), answers, strict=True))
