"""The figures of the chapter on sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from compendium.plots import COLOURS, WIDTH, drawn_in_style, figure_of


@drawn_in_style
def what_leaves(stays: int, sent: Mapping[str, int]) -> Figure:
    """Draw how many numbers stay at a hospital and how many leave it, as areas.

    Parameters
    ----------
    stays : int
        Numbers in its rows.
    sent : mapping
        Numbers that are sent, by what they are.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.4)
    side = np.sqrt(stays)
    ax.add_patch(Rectangle((0.0, 0.0), side, side, color=COLOURS["one arm"], linewidth=0))
    ax.text(
        side / 2,
        side / 2,
        f"rows\n{stays:,} numbers\nstay",
        color="white",
        ha="center",
        va="center",
    )
    left, low = 1.35 * side, side
    for name, count in sent.items():
        edge = np.sqrt(count)
        low -= max(edge, 0.2 * side)
        ax.add_patch(Rectangle((left, low), edge, edge, color=COLOURS["laplace"], linewidth=0))
        ax.text(left + 0.45 * side, low + edge / 2, f"{name}: {count:,}", va="center")
        low -= 0.08 * side
    ax.annotate(
        "",
        (left - 0.04 * side, side / 2),
        (side * 1.03, side / 2),
        arrowprops={"arrowstyle": "->", "color": COLOURS["truth"]},
    )
    ax.set_xlim(-0.02 * side, WIDTH / 3.4 * 1.9 * side)
    ax.set_ylim(-0.05 * side, 1.05 * side)
    ax.set_aspect("equal")
    ax.axis("off")
    return figure
