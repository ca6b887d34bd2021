"""The figures of the study, one function each, in the style of `compendium.plots`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compendium.plots import COLOURS, MARKERS, drawn_in_style, figure_of, legend_above, shaded

__all__ = ["against", "by_design", "by_sites", "factorial", "over_one_outcome", "run_times"]

# The methods of the study: those of the book as they are, the others told apart by marker, too.
METHODS = {
    "laplace": (COLOURS["laplace"], MARKERS["laplace"]),
    "quadrature-9": ("#E69F00", "^"),
    "auto": (COLOURS["quadrature"], MARKERS["quadrature"]),
    "reference": (COLOURS["truth"], "d"),
    "profile": ("#AA7733", "p"),
    "reml": (COLOURS["other arm"], "P"),
    "bootstrap": (COLOURS["faint"], "<"),
    "soft": ("#6A51A3", "h"),
    "site-dummies": ("#56B4E9", "*"),
    "ignoring-sites": (COLOURS["one arm"], "X"),
    "ordinary-10": (COLOURS["faint"], "v"),
    "as-published": (COLOURS["published"], MARKERS["published"]),
    "laplace-tau1": ("#6699CC", "H"),
}
# Monte Carlo intervals: this many standard errors to each side.
Z_95 = 1.96

# Colours and markers of numbers of groups.
OF_GROUPS = ((COLOURS["other arm"], "^"), (COLOURS["laplace"], "o"), (COLOURS["quadrature"], "s"))
OPACITY = 0.9  # of the darkest cell


@drawn_in_style
def factorial(values: pd.Series, steps: Sequence[float], colour: str, form: str) -> Figure:
    """Draw what was found in each cell of the factorial, as a map for each group of panels.

    Parameters
    ----------
    values : Series
        Indexed by `prevalence`, `groups`, `rows` and `tau`; NaN where there is none.
    steps : sequence of float
        A cell is darker beyond each of these.
    colour : str
        Of the maps, from `compendium.plots.COLOURS`.
    form : str
        Format of the numbers.

    Returns
    -------
    Figure
        A row of panels a prevalence, a column a number of groups.
    """
    down = values.index.unique("prevalence").sort_values()
    across = values.index.unique("groups").sort_values()
    figure, axes = figure_of(
        len(down), len(across), 0.7 + 1.75 * len(down), squeeze=False, sharex=True, sharey=True
    )
    for i, prevalence in enumerate(down):
        for k, groups in enumerate(across):
            table = values.xs((prevalence, groups), level=("prevalence", "groups")).unstack("tau")
            depth = (np.searchsorted(steps, table, side="right") / len(steps)).astype(float)
            words = table.map(lambda value: "–" if np.isnan(value) else format(value, form))
            depth[table.isna()] = np.nan
            shaded(axes[i, k], words, depth, COLOURS[colour], OPACITY, 8)
            axes[i, k].set_title(f"{groups} groups, {100 * prevalence:.0f} % ones", fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("τ")
    for ax in axes[:, 0]:
        ax.set_ylabel("rows of a group")
    return figure


@drawn_in_style
def over_one_outcome(points: pd.DataFrame, limits: tuple[float, float]) -> Figure:
    """Draw an error of tau over the share of groups with one outcome only: a marker a scenario.

    Parameters
    ----------
    points : DataFrame
        Columns `one outcome` and `error`, in percent, and `groups`, their number.
    limits : (float, float)
        Ends of the vertical axis; what is beyond is drawn there.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.8)
    ax.axhline(0.0, color=COLOURS["truth"], linewidth=1)
    for (groups, some), (colour, marker) in zip(points.groupby("groups"), OF_GROUPS, strict=False):
        ax.plot(
            some["one outcome"],
            some["error"].clip(*limits),
            marker,
            color=colour,
            alpha=0.7,
            markersize=5,
            clip_on=False,
            label=f"{groups} groups",
        )
    ax.set(
        xlim=(0, 100),
        ylim=limits,
        xlabel="groups with one outcome only, %",
        ylabel="τ by Laplace, against the\nmaximum likelihood's, %",
    )
    ax.legend(loc="upper left")
    return figure


@drawn_in_style
def by_sites(
    panels: dict[str, pd.DataFrame], reference: float, ylabel: str, limits: tuple[float, float]
) -> Figure:
    """Draw a measure over the number of sites, a panel an estimand, a marker a method.

    Parameters
    ----------
    panels : dict of str to DataFrame
        Each indexed by method and number of sites; columns `value` and `mcse`, in percent. The
        bars are 95 % Monte Carlo intervals.
    reference : float
        Where a line is drawn.
    ylabel : str
        What is measured.
    limits : (float, float)
        Ends of the vertical axis, at which the bars end, too; and at 100.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(len(panels), 1, 0.9 + 2.1 * len(panels), squeeze=False, sharey=True)
    every = list(dict.fromkeys(m for table in panels.values() for m in table.index.unique(0)))
    offsets = dict(zip(every, np.linspace(-0.32, 0.32, len(every)), strict=True))
    for ax, (title, table) in zip(axes[:, 0], panels.items(), strict=True):
        ax.axhline(reference, color=COLOURS["truth"], linewidth=1)
        sites = sorted(table.index.unique(1))
        for method in table.index.unique(0):
            some = table.loc[method]
            colour, marker = METHODS[method]
            place = np.searchsorted(sites, some.index) + offsets[method]
            low, high = limits[0], min(limits[1], 100.0)
            ends = [(some["value"] + z * some["mcse"]).clip(low, high) for z in (-Z_95, Z_95)]
            ax.vlines(place, *ends, color=colour, linewidth=1.6)
            ax.plot(place, some["value"], marker, color=colour, markersize=6, label=method)
        ax.set(xticks=range(len(sites)), xticklabels=[f"{m} sites" for m in sites], ylabel=ylabel)
        ax.set_xlim(-0.5, len(sites) - 0.5)
        ax.set_ylim(*limits)
        ax.set_title(title, fontsize=11)
    handles = {
        label: handle
        for ax in axes[:, 0]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        [handles[m] for m in every], every, loc="outside upper center", ncols=3, fontsize=10
    )
    return figure


@drawn_in_style
def by_design(
    table: pd.DataFrame,
    designs: pd.DataFrame,
    reference: float,
    ylabel: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw a measure of several methods in a grid of panels, with a bar about each.

    Parameters
    ----------
    table : DataFrame
        Indexed by scenario and method; columns `value`, `lower` and `upper`: the measure, and the
        ends of a bar about it.
    designs : DataFrame
        Indexed by scenario; three columns: what differs between rows, between columns of panels,
        and along the horizontal axis of each.
    reference : float
        Where a line is drawn.
    ylabel : str
        What is measured.
    limits : (float, float)
        Ends of the vertical axis; what is beyond is drawn there.

    Returns
    -------
    Figure
    """
    row, column, along = designs.columns
    rows, columns, places = (sorted(designs[name].unique()) for name in designs.columns)
    figure, axes = figure_of(
        len(rows),
        len(columns),
        2.1 * len(rows) + 0.8,
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    offsets = np.linspace(-0.2, 0.2, len(methods))
    low, high = limits
    for (i, a), (k, b) in itertools.product(enumerate(rows), enumerate(columns)):
        ax = axes[i, k]
        ax.axhline(reference, color=COLOURS["truth"], linewidth=1)
        cell = designs[(designs[row] == a) & (designs[column] == b)].sort_values(along)
        at = np.searchsorted(places, cell[along])
        for shift, method in zip(offsets, methods, strict=True):
            colour, marker = _look(method)
            some = table.xs(method, level="method").reindex(cell.index)
            value, place = some["value"], at + shift
            ends = some[["lower", "upper"]].clip(low, high)
            ax.vlines(place, ends["lower"], ends["upper"], color=colour, linewidth=1.6)
            ax.plot(
                place,
                value.clip(low, high),
                marker,
                color=colour,
                markersize=5,
                clip_on=False,
                label=method,
                zorder=3,
            )
        ax.set_title(f"{a:g} {row}, {b:g} {column}", fontsize=9)
        ax.set(
            xticks=range(len(places)),
            xticklabels=[f"{place:g}" for place in places],
        )
        ax.set_ylim(low, high)
    for ax in axes[-1]:
        ax.set_xlabel(along)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    legend_above(figure, axes[0, 0])
    return figure


def _look(method: str) -> tuple[str, str]:
    """Return the colour and the marker of a method; of one that the book does not know, grey."""
    return METHODS.get(method, (COLOURS["faint"], "o"))


@drawn_in_style
def against(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw one column against another, and where both are equal; a panel a pair.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Title; two columns, whose names are those of the axes.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(1, len(panels), 3.4, squeeze=False)
    for ax, (title, pair) in zip(axes[0], panels.items(), strict=True):
        low, high = float(pair.min().min()), float(pair.max().max())
        ax.plot([low, high], [low, high], color=COLOURS["truth"], linewidth=1)
        ax.plot(
            pair.iloc[:, 0],
            pair.iloc[:, 1],
            "o",
            color=COLOURS["laplace"],
            markersize=2.5,
        )
        ax.set_title(title, fontsize=11)
        ax.set(xlabel=pair.columns[0], ylabel=pair.columns[1])
        ax.set_box_aspect(1)
        ax.locator_params(nbins=4)
    return figure


@drawn_in_style
def run_times(seconds: pd.DataFrame) -> Figure:
    """Draw how long methods take: a dot a scenario, a line at the median.

    Parameters
    ----------
    seconds : DataFrame
        A row a scenario, a column a method.

    Returns
    -------
    Figure
    """
    methods = list(seconds.columns)
    figure, ax = figure_of(1, 1, 0.9 + 0.36 * len(methods))
    for place, method in enumerate(methods):
        colour, marker = _look(method)
        times = 1000.0 * seconds[method].dropna()
        ax.plot(
            times,
            np.full(len(times), place),
            marker,
            color=colour,
            alpha=0.5,
            markersize=5,
        )
        ax.vlines(
            times.median(),
            place - 0.32,
            place + 0.32,
            color=COLOURS["truth"],
            linewidth=1.5,
        )
    ax.set(
        xscale="log",
        yticks=range(len(methods)),
        yticklabels=methods,
        ylim=(len(methods) - 0.5, -0.5),
        xlabel="milliseconds a fit",
    )
    ax.tick_params(axis="y", length=0)
    return figure
