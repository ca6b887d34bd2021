"""The figures of the book, one function each; every one returns a `matplotlib.figure.Figure`.

One visual language: the truth is black, Laplace blue, quadrature orange, what was published purple.
The colours are Okabe and Ito's, which colour-blind readers can tell apart; markers differ, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import chdtri

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"compendium.plots needs {missing.name}: install the extra, pip install '.[plots]' in a "
        "clone"
    ) from missing

from compendium import svg
from laplace import derivatives, quadrature
from laplace.families import Array

COLOURS = {
    "truth": "#000000",
    "laplace": "#0072B2",
    "quadrature": "#D55E00",
    "published": "#AA4499",
    "faint": "#999999",
    "one arm": "#555555",
    "other arm": "#009E73",
}
MARKERS = {
    "truth": "_",
    "laplace": "o",
    "quadrature": "s",
    "published": "D",
}
FEW_GROUPS = 20  # so many labels fit below an axis
ROOM_FOR_LABEL = 1.4  # ratio of two numbers on a logarithmic axis whose labels do not touch
ROOM_IN_HALF = 2.0  # the same in a panel of half the width
# Four curves of one kind: colour, marker and line.
FOUR = [
    (COLOURS["laplace"], "o", "-"),
    (COLOURS["quadrature"], "s", "--"),
    (COLOURS["other arm"], "^", "-."),
    (COLOURS["one arm"], "D", ":"),
]
CUT_95 = chdtri(1, 0.05) / 2  # how far the ends of a 95 % profile interval lie below the maximum
SHIFTS = (0.1, 0.25, 0.5, 1.0)  # in standard errors, where a map of shifts becomes darker
ROOM_BESIDE = 30  # ratio by which a logarithmic axis is longer, so that names fit beside curves
DEEPER = 0.88  # by which a map is darker than a curve: white can be read on its darkest cells
WIDTH = 5.6  # inches; text stays legible when a phone shrinks the figure

STYLE: Any = {
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "font.size": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "laplace",  # the same figure gives the same file
}


P = ParamSpec("P")


def show_as_svg() -> None:
    """Make a notebook show figures as SVG: sharp at any width, the same at every run."""
    from IPython import get_ipython
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    mpl.rcParams.update(STYLE)
    set_matplotlib_formats("svg")  # type: ignore[no-untyped-call]
    shell = get_ipython()
    shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, svg.drawn)


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same figure gives the same file."""
    with mpl.rc_context(STYLE):
        path.write_text(svg.drawn(figure), encoding="utf-8")


def drawn_in_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a function draw in the book's style, whatever the caller's settings are."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def figure_of(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of the book's width, and its axes."""
    layout = ConstrainedLayoutEngine(hspace=0.06)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    return figure, figure.subplots(rows, columns, **options)


def _node_ticks(ax: Any, nodes: pd.Index, room: float = ROOM_FOR_LABEL) -> None:
    """Mark numbers of nodes on a logarithmic axis, and name those that have room for it."""
    labels, last = [], 0.0
    for count in nodes:
        named = count >= room * last
        labels.append(str(count) if named else "")
        last = count if named else last
    ax.set_xticks(nodes, labels)
    ax.minorticks_off()


@drawn_in_style
def integrand(
    groups: Mapping[str, tuple[Array, Array]],
    beta: Array,
    tau: float,
    nodes: int,
) -> Figure:
    """Draw the integrand of each group, its Laplace Gaussian and the nodes of the adaptive rule.

    Parameters
    ----------
    groups : mapping of str to (x, y)
        Title and rows of each group.
    beta : ndarray of shape (p,)
        Coefficients.
    tau : float
        Standard deviation of the random intercepts.
    nodes : int
        Number of nodes of the adaptive rule.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(len(groups), 1, 2.9 * len(groups), squeeze=False)
    for ax, (title, (x, y)) in zip(axes[:, 0], groups.items(), strict=True):
        mode = derivatives.mode(x, y, beta, tau)
        omega = derivatives.omega(x, y, beta, tau)
        top = derivatives.g(x, y, mode, beta, tau)
        u = np.linspace(mode - 5 * omega, mode + 6 * omega, 400)
        curve = np.exp([derivatives.g(x, y, v, beta, tau) - top for v in u])
        gaussian = np.exp(-0.5 * ((u - mode) / omega) ** 2)
        at = quadrature.adaptive_nodes(x, y, beta, tau, nodes)
        at = at[(at > u[0]) & (at < u[-1])]
        height = np.exp([derivatives.g(x, y, v, beta, tau) - top for v in at])
        ax.fill_between(u, curve, color=COLOURS["faint"], alpha=0.3, linewidth=0)
        ax.plot(u, curve, color=COLOURS["truth"], label="integrand")
        ax.plot(u, gaussian, "--", color=COLOURS["laplace"], label="Laplace")
        ax.vlines(at, 0, height, color=COLOURS["quadrature"], linewidth=1.2)
        ax.plot(
            at,
            height,
            MARKERS["quadrature"],
            color=COLOURS["quadrature"],
            markersize=5,
            label=f"{nodes} nodes",
        )
        ax.set(
            title=title,
            ylim=(0, 1.08),
            yticks=[0, 1],
            ylabel="relative height",
        )
    axes[-1, 0].set_xlabel("random intercept u")
    axes[0, 0].legend(loc="upper right")
    return figure


@drawn_in_style
def quadrature_error(errors: pd.DataFrame, ylabel: str = "error of the log-likelihood") -> Figure:
    """Draw an absolute error against the number of nodes, of the ordinary and the adaptive rule.

    Parameters
    ----------
    errors : DataFrame
        Index: number of nodes; columns `ordinary` and `adaptive`: absolute errors, NaN where there
        are none.
    ylabel : str
        What the error is of.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.4)
    floor = 1e-16  # an error of exactly zero has no place on a log scale
    lines = {
        "ordinary": (":", "v", COLOURS["faint"]),
        "adaptive": ("-", MARKERS["quadrature"], COLOURS["quadrature"]),
    }
    for name, (line, marker, colour) in lines.items():
        curve = errors[name].dropna().clip(lower=floor)
        ax.plot(
            curve.index,
            curve,
            line,
            marker=marker,
            color=colour,
            label=f"{name} rule",
        )
    if 1 in errors.index:
        ax.plot(
            1,
            errors.loc[1, "adaptive"],
            MARKERS["laplace"],
            color=COLOURS["laplace"],
            markersize=9,
            label="Laplace",
            zorder=3,
        )
    ax.set(
        yscale="log",
        xlabel="number of nodes K",
        ylabel=ylabel,
    )
    ax.legend()
    return figure


@drawn_in_style
def errors_by_group(errors: Mapping[str, pd.DataFrame], kinds: pd.Series) -> Figure:
    """Draw each group's absolute error against the number of nodes, a panel a rule.

    Parameters
    ----------
    errors : mapping of str to DataFrame
        Name of the rule; index: number of nodes, a column a group.
    kinds : Series
        The kind of each group, one of at most three, by the columns of `errors`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are more than three kinds.
    """
    figure, axes = figure_of(len(errors), 1, 2.9 * len(errors), sharex=True, sharey=True)
    colours = {
        "ordinary": COLOURS["faint"],
        "adaptive": COLOURS["quadrature"],
    }
    lines = dict(zip(kinds.unique(), ["-", ":", "--"], strict=False))
    if len(lines) < kinds.nunique():
        raise ValueError(
            f"kinds must be of at most {len(lines)} kinds, got {kinds.nunique()}: "
            "put some of them together"
        )
    for ax, (name, table) in zip(np.atleast_1d(axes), errors.items(), strict=True):
        for kind, line in lines.items():
            members = table.loc[:, kinds == kind]
            place = members.index.to_numpy(dtype=float)
            ax.plot(
                place,
                members,
                line,
                color=colours[name],
                linewidth=0.5,
                alpha=0.25,
            )
            middle = members.median(axis=1)
            ax.plot(
                place,
                middle,
                line,
                color=COLOURS["truth"],
                linewidth=2.2,
                label=kind,
            )
        ax.set(
            title=f"{name} rule",
            xscale="log",
            yscale="log",
            ylabel="error of a group",
        )
        _node_ticks(ax, table.index)
    first = np.atleast_1d(axes)[0]
    first.legend(title="median of the groups", loc="lower left")
    ax.set_xlabel("number of nodes K")
    return figure


@drawn_in_style
def predicted_shifts(shifts: pd.DataFrame, factor: float) -> Figure:
    """Draw predicted against actual shifts, with the band of a factor about equality.

    Parameters
    ----------
    shifts : DataFrame
        Columns `predicted` and `actual`, in standard errors, of the same sign.
    factor : float
        Half the width of the band.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 4.2)
    predicted, actual = shifts["predicted"].abs(), shifts["actual"].abs()
    both = pd.concat([predicted, actual])
    ends = np.array([both.min() / 1.5, both.max() * 1.5])
    ax.fill_between(
        ends,
        ends / factor,
        ends * factor,
        color=COLOURS["faint"],
        alpha=0.25,
    )
    ax.plot(ends, ends, color=COLOURS["truth"], linewidth=1)
    ax.plot(
        actual,
        predicted,
        ".",
        color=COLOURS["laplace"],
        markersize=5,
        alpha=0.5,
    )
    ax.set(
        xscale="log",
        yscale="log",
        xlim=ends,
        ylim=ends,
        xlabel="actual shift, in standard errors",
        ylabel="predicted shift",
    )
    return figure


@drawn_in_style
def by_nodes(panels: Mapping[str, pd.DataFrame], references: Mapping[str, float]) -> Figure:
    """Draw estimates against the number of nodes, a small panel each, of both rules.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        What is estimated; index: number of nodes; columns `ordinary` and `adaptive`, NaN where
        there is none.
    references : mapping of str to float
        The estimates with many nodes.

    Returns
    -------
    Figure
    """
    rows = -(-len(panels) // 2)
    figure, axes = figure_of(rows, 2, 0.9 + 1.7 * rows, squeeze=False, sharex=True)
    lines = {
        "ordinary": (":", "v", COLOURS["faint"]),
        "adaptive": ("-", MARKERS["quadrature"], COLOURS["quadrature"]),
    }
    for ax, (title, estimates) in zip(axes.flat, panels.items(), strict=False):
        ax.axhline(references[title], color=COLOURS["truth"], linewidth=1, label="many nodes")
        for name, (line, marker, colour) in lines.items():
            curve = estimates[name].dropna()
            ax.plot(
                curve.index,
                curve,
                line,
                marker=marker,
                color=colour,
                markersize=5,
                label=f"{name} rule",
            )
        if 1 in estimates.index:
            ax.plot(
                1,
                estimates.loc[1, "adaptive"],
                MARKERS["laplace"],
                color=COLOURS["laplace"],
                markersize=8,
                zorder=3,
                linestyle="none",
                label="Laplace",
            )
        ax.set(xscale="log", title=title)
        _node_ticks(ax, estimates.index, ROOM_IN_HALF)
        ax.tick_params(labelbottom=True, labelsize=9)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax in axes.flat[max(len(panels) - 2, 0) : len(panels)]:
        ax.set_xlabel("number of nodes K")
    legend_above(figure, axes[0, 0], 2)
    return figure


@drawn_in_style
def map_of_designs(panels: Mapping[str, pd.DataFrame], nodes: pd.DataFrame) -> Figure:
    """Draw tables over the number of groups and tau as maps: of shifts, and of nodes.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        What is shifted; a row a number of groups, a column a value of tau: the shift by Laplace, in
        standard errors. Darker beyond each of `SHIFTS`.
    nodes : DataFrame
        The same of the numbers of nodes that are enough.

    Returns
    -------
    Figure
    """
    tables = [*panels.items(), ("nodes that are enough", nodes)]
    figure, axes = figure_of(len(tables), 1, 0.5 + 2.3 * len(tables), squeeze=False)
    for ax, (title, table) in zip(axes[:, 0], tables, strict=True):
        of_nodes = table is nodes
        colour = COLOURS["quadrature" if of_nodes else "laplace"]
        steps = np.unique(nodes) if of_nodes else SHIFTS
        depth = np.searchsorted(steps, table.round(2), side="left") / len(steps)
        words = table.map(lambda value, of_nodes=of_nodes: f"{value:.{0 if of_nodes else 2}f}")
        shaded(ax, words, depth, colour, 0.85, 11)
        ax.set(title=title, ylabel="groups")
    axes[-1, 0].set_xlabel("τ")
    return figure


def shaded(
    ax: Any,
    words: pd.DataFrame,
    depth: Array,
    colour: str,
    opacity: float,
    fontsize: float,
) -> None:
    """Draw a table as a map: what stands in each cell, and how deep its colour is.

    Parameters
    ----------
    ax : Axes
        Where.
    words : DataFrame
        A row a number, a column a value of tau.
    depth : ndarray
        Of each cell, from 0 to 1; NaN where it has no colour.
    colour : str
        Of the map.
    opacity : float
        Of the deepest cell.
    fontsize : float
        Of what stands in the cells.
    """
    deeper = DEEPER * np.array(mpl.colors.to_rgb(colour))
    for (i, j), text in np.ndenumerate(words.to_numpy()):
        shade = 0.0 if np.isnan(depth[i, j]) else opacity * float(depth[i, j])
        if not np.isnan(depth[i, j]):
            ax.fill_between(
                [j - 0.5, j + 0.5],
                i - 0.5,
                i + 0.5,
                color=deeper,
                alpha=shade,
                lw=0,
            )
        ax.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            color=legible_on(deeper, shade),
            fontsize=fontsize,
        )
    ax.set(
        xticks=range(words.shape[1]),
        xticklabels=[f"{tau:g}" for tau in words.columns],
        yticks=range(words.shape[0]),
        yticklabels=[f"{count:,}" for count in words.index],
        xlim=(-0.5, words.shape[1] - 0.5),
        ylim=(words.shape[0] - 0.5, -0.5),
    )
    ax.tick_params(length=0)


def legible_on(colour: Array, opacity: float) -> str:
    """Return whichever of black and white has more contrast with a colour that lies on white.

    The contrast is that of the Web Content Accessibility Guidelines, from their relative luminance.
    """
    mixed = 1.0 - opacity * (1.0 - colour)
    linear = np.where(mixed <= 0.04045, mixed / 12.92, ((mixed + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    on_white, on_black = 1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05
    return "white" if on_white > on_black else "black"


@drawn_in_style
def remainder(errors: pd.DataFrame) -> Figure:
    """Draw what Laplace leaves out against the number of rows, and what its next term leaves.

    Parameters
    ----------
    errors : DataFrame
        Index: number of rows; columns `Laplace` and `with the next term`: absolute errors.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.6)
    kinds = {"Laplace": "laplace", "with the next term": "quadrature"}
    for (name, kind), order in zip(kinds.items(), (1, 2), strict=True):
        colour, curve = COLOURS[kind], errors[name]
        ax.plot(curve.index, curve, MARKERS[kind], color=colour, label=name)
        guide = curve.iloc[-1] * (curve.index[-1] / curve.index) ** order
        ax.plot(
            curve.index,
            guide,
            "-",
            color=colour,
            linewidth=1,
            label=f"slope −{order}",
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="rows of the group",
        ylabel="error",
    )
    ax.legend()
    return figure


@drawn_in_style
def errors_by_events(by_rows: pd.DataFrame, by_events: pd.DataFrame) -> Figure:
    """Draw what Laplace leaves out of one group: by its rows, and by its rarer outcome.

    Parameters
    ----------
    by_rows : DataFrame
        Index: number of rows; a column a kind of group, at most four, in falling order at the end.
    by_events : DataFrame
        Index: number of rows with the rarer outcome, from zero on; a column a number of rows, at
        most four; NaN where a group cannot be.

    Returns
    -------
    Figure
    """
    figure, (above, below) = figure_of(2, 1, 6.6)
    for name, look in zip(by_rows.columns, FOUR, strict=False):
        curve = by_rows[name].dropna()
        above.plot(curve.index, curve, color=look[0], marker=look[1], linestyle=look[2])
        beside(above, curve, str(name))
    above.set(xscale="log", yscale="log", xlabel="rows of the group", ylabel="error of Laplace")
    above.set_xlim(by_rows.index.min() / 1.3, by_rows.index.max() * ROOM_BESIDE)
    above.set_xticks(by_rows.index, [f"{n:,}" for n in by_rows.index])
    above.minorticks_off()
    for name, look in zip(by_events.columns, FOUR, strict=False):
        curve = by_events[name].dropna()
        below.plot(
            curve.index,
            curve,
            color=look[0],
            marker=look[1],
            linestyle=look[2],
            label=f"{name:,} rows",
        )
    counts = by_events.index.to_numpy(dtype=float)
    below.plot(
        counts[counts > 0],
        1 / (12 * counts[counts > 0]),
        ":",
        color=COLOURS["truth"],
        linewidth=1.2,
        label="1 / (12 × rarer outcome)",
    )
    below.set_xscale("symlog", linthresh=1, linscale=0.6)
    below.set(
        yscale="log",
        xlabel="rows with the rarer outcome",
        ylabel="error of Laplace",
    )
    below.set_xticks(by_events.index, [str(k) for k in by_events.index])
    below.set_xlim(-0.2, counts.max() * 1.2)
    below.minorticks_off()
    below.legend(fontsize=10)
    return figure


def beside(ax: Any, curve: pd.Series, label: str) -> None:
    """Write the name of a curve beside its last point."""
    ax.annotate(
        label,
        (curve.index[-1], curve.iloc[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=11,
    )


@drawn_in_style
def published_distances(distances: pd.DataFrame, limit: float = 1.0) -> Figure:
    """Draw how far published results are from a maximum: a row a method, a dot a data set.

    Parameters
    ----------
    distances : DataFrame
        A column a method, a row a data set: the largest distance of a coefficient, in standard
        errors; NaN where there is none.
    limit : float
        Where a line is drawn.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 0.9 + 0.8 * distances.shape[1])
    least = 1e-6  # what is nearer is drawn there
    ax.axvline(limit, color=COLOURS["truth"], linewidth=1)
    for place, (name, column) in enumerate(distances.items()):
        dots = column.dropna().clip(lower=least)
        spread = np.linspace(-0.3, 0.3, len(dots))
        colour = COLOURS["faint" if name == "lme4" else "published"]
        ax.plot(dots, place + spread, "o", color=colour, markersize=4, alpha=0.5)
        ax.vlines(dots.median(), place - 0.4, place + 0.4, color=COLOURS["truth"])
    ax.set(
        xscale="log",
        xlabel="largest distance of a coefficient,\nin standard errors",
        yticks=range(distances.shape[1]),
        yticklabels=distances.columns,
        ylim=(distances.shape[1] - 0.5, -0.5),
    )
    ax.tick_params(axis="y", length=0)
    return figure


@drawn_in_style
def coefficients(
    estimates: Mapping[str, tuple[ArrayLike, ArrayLike | None]],
    names: Sequence[str],
) -> Figure:
    """Draw estimates of the same coefficients side by side, with intervals where there are.

    Parameters
    ----------
    estimates : mapping of str to (values, half_widths)
        Keys begin with "truth", "published", "laplace" or "quadrature", which gives the colour.
    names : sequence of str
        Names of the coefficients.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 4.2)
    places = np.arange(len(names), dtype=float)
    offsets = np.linspace(-0.27, 0.27, len(estimates))
    ax.axhline(0, color=COLOURS["faint"], linewidth=0.8)
    for shift, (label, (values, half)) in zip(offsets, estimates.items(), strict=True):
        kind = label.split()[0].rstrip(",").lower()
        ax.errorbar(
            places if kind == "truth" else places + shift,
            np.asarray(values, dtype=float),
            yerr=None if half is None else np.asarray(half, dtype=float),
            fmt=MARKERS[kind],
            color=COLOURS[kind],
            markersize=26 if kind == "truth" else 5,
            elinewidth=1.2,
            label=label,
        )
    ax.set(xticks=places, xticklabels=names, ylabel="coefficient")
    legend = ax.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=2)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_markersize"):
            handle.set_markersize(8)
    return figure


@drawn_in_style
def profile(curves: Mapping[str, pd.Series], maxima: Mapping[str, float]) -> Figure:
    """Draw the profile log-likelihood of tau, a panel a data set, and the end of a 95 % interval.

    Parameters
    ----------
    curves : mapping of str to Series
        Title; log-likelihood minus its maximum, indexed by tau.
    maxima : mapping of str to float
        Title; the tau of the maximum, at which the curve is zero.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(1, len(curves), 3.2, squeeze=False)
    for ax, (title, curve) in zip(axes[0], curves.items(), strict=True):
        ax.plot(curve.index, curve, color=COLOURS["laplace"])
        ax.axhline(-CUT_95, color=COLOURS["truth"], linewidth=1, linestyle="--")
        best = maxima[title]
        ax.plot(
            best,
            0.0,
            MARKERS["laplace"],
            color=COLOURS["laplace"],
            markersize=8,
            clip_on=False,
        )
        ax.annotate(
            f"maximum at {best:.2f}",
            (best, 0.0),
            xytext=(8, 10),
            textcoords="offset points",
        )
        ax.set(
            title=title,
            xlabel="τ",
            ylim=(None, 0.16 * np.ptp(curve)),
        )
    axes[0, 0].set_ylabel("profile log-likelihood")
    return figure


@drawn_in_style
def random_effects(effects: pd.DataFrame, group: str = "groups") -> Figure:
    """Draw each group's random intercept, sorted, with an interval.

    Parameters
    ----------
    effects : DataFrame
        Columns `mode` and `sd`, as `Fit.random_effects` has them: the interval is two conditional
        standard deviations to each side. With columns `low` and `high`, these are its ends.
    group : str
        What the groups are, in the plural; few of them are named.

    Returns
    -------
    Figure
    """
    figure, ax = figure_of(1, 1, 3.6)
    ordered = effects.sort_values("mode", kind="stable")
    place = np.arange(len(ordered))
    own = {"low", "high"} <= set(ordered)
    low = ordered["low"] if own else ordered["mode"] - 2 * ordered["sd"]
    high = ordered["high"] if own else ordered["mode"] + 2 * ordered["sd"]
    few = len(ordered) <= FEW_GROUPS
    colour = COLOURS["quadrature" if own else "laplace"]
    ax.vlines(
        place,
        low,
        high,
        color=colour,
        alpha=0.35,
        linewidth=3 if few else 1,
    )
    ax.plot(place, ordered["mode"], ".", color=colour, markersize=9 if few else 4)
    ax.axhline(0, color=COLOURS["truth"], linewidth=0.8)
    if few:
        ax.set_xticks(place, ordered.index.astype(str))
    what = "95 % interval" if own else "± 2 sd"
    ax.set(xlabel=f"{group}, sorted", ylabel=f"random intercept, {what}")
    return figure


@drawn_in_style
def curves(panels: Mapping[str, pd.DataFrame], xlabel: str, ylabel: str) -> Figure:
    """Draw fitted curves, such as probabilities, of a few kinds of rows; a panel a model.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Title; index: the covariate; a column a curve, at most four; NaN where it is not drawn.
    xlabel, ylabel : str
        What the covariate is, and what is fitted.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(
        len(panels), 1, 0.7 + 2.7 * len(panels), squeeze=False, sharex=True, sharey=True
    )
    for ax, (title, fitted) in zip(axes[:, 0], panels.items(), strict=True):
        for name, (colour, _, line) in zip(fitted.columns, FOUR, strict=False):
            curve = fitted[name].dropna()
            ax.plot(curve.index, curve, linestyle=line, color=colour, label=str(name))
        ax.set(title=title, ylabel=ylabel)
    axes[0, 0].set_ylim(0, 1.05 * max(float(fitted.max().max()) for fitted in panels.values()))
    axes[-1, 0].set_xlabel(xlabel)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    of_what = next(iter(panels.values())).columns.name
    figure.legend(handles, labels, title=of_what, loc="outside upper center", ncols=4)
    return figure


@drawn_in_style
def proportions(observed: pd.DataFrame, panels: Mapping[str, pd.DataFrame], ylabel: str) -> Figure:
    """Draw observed proportions over time and the fitted population average, a colour an arm.

    Parameters
    ----------
    observed : DataFrame
        Index: time; a column an arm.
    panels : mapping of str to DataFrame
        Title; what a model has, a panel each, in the same form.
    ylabel : str
        What the proportion is of.

    Returns
    -------
    Figure
    """
    figure, axes = figure_of(
        len(panels), 1, 0.9 + 2.5 * len(panels), squeeze=False, sharex=True, sharey=True
    )
    styles = [
        ("o", "-", COLOURS["one arm"]),
        ("^", "--", COLOURS["other arm"]),
    ]
    for ax, (title, fitted) in zip(axes[:, 0], panels.items(), strict=True):
        for arm, (marker, line, colour) in zip(observed.columns, styles, strict=False):
            ax.plot(
                observed.index,
                observed[arm],
                marker,
                color=colour,
                label=f"{arm}, observed",
            )
            ax.plot(
                fitted.index,
                fitted[arm],
                line,
                color=colour,
                label=f"{arm}, fitted",
            )
        ax.set(title=title, ylabel=ylabel, ylim=(0, None))
    axes[-1, 0].set_xlabel("months")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


@drawn_in_style
def speed(peers: pd.DataFrame, growth: pd.DataFrame) -> Figure:
    """Draw the time of a fit, here and elsewhere, and how ours grows with the number of rows.

    Parameters
    ----------
    peers : DataFrame
        A row a data set, a column a program, ours first: seconds, NaN where there are none.
    growth : DataFrame
        Index: number of rows; columns `as drawn` and `sorted`: seconds of our fit.

    Returns
    -------
    Figure
    """
    height = 0.75 * len(peers)
    figure, (above, below) = figure_of(
        2,
        1,
        5.0 + height,
        gridspec_kw={"height_ratios": [1.2 + height, 2.6]},
    )
    places = np.arange(len(peers))
    offsets = np.linspace(-0.32, 0.32, peers.shape[1])  # so that no marker covers another
    for k, name in enumerate(peers.columns):
        ours = k == 0
        above.plot(
            peers[name],
            places + offsets[k],
            MARKERS["laplace"] if ours else "^v<>DXph"[(k - 1) % 8],
            color=COLOURS["laplace"] if ours else COLOURS["one arm"],
            markerfacecolor=COLOURS["laplace"] if ours else "none",
            linestyle="none",
            markersize=9 if ours else 7,
            label=name,
        )
    above.set(
        xscale="log",
        xlabel="seconds",
        yticks=places,
        yticklabels=peers.index,
        ylim=(len(peers) - 0.5, -0.5),
    )
    above.tick_params(axis="y", length=0)
    above.grid(axis="y", color=COLOURS["faint"], alpha=0.4)
    above.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2)
    for name, line, filled in (
        ("as drawn", "-", True),
        ("sorted", "--", False),
    ):
        if name in growth.columns:
            curve = growth[name].dropna()
            below.plot(
                curve.index,
                curve,
                line,
                marker=MARKERS["laplace"],
                color=COLOURS["laplace"],
                markerfacecolor=COLOURS["laplace"] if filled else "white",
                label=f"rows {name}",
            )
    if len(growth):
        rows, top = (
            growth.index.to_numpy(dtype=float),
            growth.iloc[-1].min(),
        )
        guide = top * rows / rows[-1]
        below.plot(
            rows,
            guide,
            ":",
            color=COLOURS["faint"],
            zorder=0,
            label="in proportion",
        )
    below.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    below.legend()
    return figure


def legend_above(figure: Figure, ax: Any, columns: int = 3) -> None:
    """Put the legend of one panel above all of them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), columns),
    )
