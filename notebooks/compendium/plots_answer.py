"""The one-page answer as a flow chart: which method for which data."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from compendium.plots import COLOURS, drawn_in_style, figure_of

__all__ = ["STEPS", "Step", "flow_chart"]

LEFT, RIGHT = 0.2, 0.8  # where questions and answers stand, as shares of the width
HALF = 0.195  # half the width of a box
LETTERS = 24  # of a line in a box
TALL = 0.72  # height of a box, of the room that a step has


@dataclass(frozen=True)
class Step:
    """A question of the flow chart.

    Attributes
    ----------
    question : str
        What to look at.
    when : str
        What leads to the answer.
    answer : str
        What to do then.
    otherwise : str
        What leads to the next step; empty at the last.
    """

    question: str
    when: str
    answer: str
    otherwise: str = ""


# The numbers are those of the chapters on nodes and on the study; a test compares them.
STEPS = (
    Step(
        "How many groups are there?",
        "two or three",
        "A column for each, as a fixed effect. It holds for these groups only.",
        "more",
    ),
    Step(
        "Are they about ten or fewer?",
        "yes",
        "reml=True: t intervals, and an interval of τ.",
        "no",
    ),
    Step(
        "How many groups have one outcome only?",
        "at most a fifth",
        "Laplace will do for a treatment effect, up to 500 groups.",
        "more than a fifth, more than 500 groups, or τ matters",
    ),
    Step(
        "Fit with 9 nodes. How large is τ?",
        "at most 1",
        "9 nodes are enough.",
        "larger",
    ),
    Step(
        "Is τ at most 2?",
        "yes",
        "25 nodes are enough.",
        "no",
    ),
    Step(
        "τ above 2",
        "",
        "51 nodes or more. Compare with twice as many.",
    ),
)


@drawn_in_style
def flow_chart(steps: Sequence[Step] = STEPS) -> Figure:
    """Draw questions below each other, each with its answer beside it.

    Parameters
    ----------
    steps : sequence of Step
        From the first question to the last.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 1.05 * len(steps))
    ax.set(xlim=(0, 1), ylim=(len(steps), 0))
    ax.axis("off")
    for row, step in enumerate(steps):
        middle = row + 0.5
        _box(ax, LEFT, middle, step.question, COLOURS["truth"])
        _box(ax, RIGHT, middle, step.answer, COLOURS["laplace"])
        _arrow(ax, (LEFT + HALF, middle), (RIGHT - HALF, middle))
        ax.text(0.5, middle - 0.1, step.when, ha="center", va="bottom", fontsize=9)
        if step.otherwise:
            _arrow(ax, (LEFT, middle + TALL / 2), (LEFT, middle + 1 - TALL / 2))
            ax.text(LEFT + 0.02, row + 1, step.otherwise, ha="left", va="center", fontsize=9)
    return figure


def _box(ax: Any, x: float, y: float, words: str, colour: str) -> None:
    ax.fill_between(
        [x - HALF, x + HALF],
        y - TALL / 2,
        y + TALL / 2,
        facecolor="white",
        edgecolor=colour,
        linewidth=1.5,
    )
    ax.text(x, y, textwrap.fill(words, LETTERS), ha="center", va="center", fontsize=10)


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": COLOURS["one arm"]})
