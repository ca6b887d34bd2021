"""The figures of the chapter on the published experiment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from compendium.plots import COLOURS, beside, drawn_in_style, figure_of

LEAST = 1e-7  # in standard errors; what is nearer is rounding
ROOM_BESIDE = 1.45  # by which the axis of steps is longer, so that names fit beside the curves


@drawn_in_style
def convergence(distances: Mapping[str, pd.Series]) -> Figure:
    """Draw how far an algorithm is from the maximum after each step, a curve a variant.

    Parameters
    ----------
    distances : mapping of str to Series
        Name; the distance by step, in standard errors. The first is drawn as published.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.6)
    looks = [
        (COLOURS["published"], "D"),
        (COLOURS["laplace"], "o"),
        (COLOURS["other arm"], "^"),
    ]
    for (name, curve), (colour, marker) in zip(distances.items(), looks, strict=False):
        drawn = curve.clip(lower=LEAST)
        ax.plot(drawn.index, drawn, marker=marker, color=colour, markersize=5)
        beside(ax, drawn, name)
    ax.set(
        yscale="log",
        xlabel="steps in β",
        ylabel="distance from the maximum,\nin standard errors",
        xlim=(-0.5, ROOM_BESIDE * max(curve.index[-1] for curve in distances.values())),
    )
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


@drawn_in_style
def touched(effects: pd.DataFrame) -> Figure:
    """Draw a grid of what each error touches: a filled square says by how much, an empty one not.

    Parameters
    ----------
    effects : DataFrame
        A row an error, a column what it could touch; zero where it does not.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 1.2 + 0.38 * len(effects))
    for (i, j), value in np.ndenumerate(effects.to_numpy()):
        colour = COLOURS["published"] if value else "white"
        ax.fill_between([j - 0.46, j + 0.46], i - 0.44, i + 0.44, color=colour, lw=0)
        ax.text(j, i, f"{value:.2g}" if value else "–", ha="center", va="center", fontsize=11)
        if value:
            ax.texts[-1].set_color("white")
    ax.set(
        xticks=range(effects.shape[1]),
        xticklabels=effects.columns,
        yticks=range(len(effects)),
        yticklabels=effects.index,
        xlim=(-0.5, effects.shape[1] - 0.5),
        ylim=(len(effects) - 0.5, -0.5),
    )
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    return figure
