"""A figure that the reader moves: the integrand of one group, its approximations, their errors.

`laplace.derivatives` and `laplace.quadrature` compute every setting beforehand, and the figure
carries the results as a table. Its script looks numbers up and places them on the axes, so that no
formula is written a second time, in another language. It needs no library and no network.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from scipy.integrate import quad

from compendium.plots import COLOURS
from laplace import derivatives, quadrature
from laplace.arguments import whole_number
from laplace.families import Array
from laplace.nodes import check_nodes, gauss_hermite

SIZES = (1, 2, 3, 5, 8, 12, 20, 30)
TAUS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
REACH = 4.1  # of the axis of u, in the largest tau: the hill comes down within it
MAX_ROWS = 40  # the table holds every number of events, so it grows with each row

# The grid of t = (u - mode) / omega: finer around the top, where the curve bends, and wide enough
# for the hill to come down on its heavier side.
FINE = np.arange(-42, 43, 3) / 20
COARSE = np.array([2.4, 2.7, 3.0, 3.3, 3.7, 4.1, 4.6, 5.2, 6.0, 7.0, 8.0])
GRID = np.concatenate([-COARSE[::-1], FINE, COARSE])
BETA = np.zeros(1)  # the intercept: the group differs from one half by its own u alone

LEFT, RIGHT, TOP, BOTTOM = (
    40,
    432,
    50,
    244,
)  # of the axes; the viewBox is 440 by 290


@dataclass(frozen=True, repr=False)
class Explorer:
    """An interactive figure; a notebook shows it by itself.

    Attributes
    ----------
    html : str
        The figure, to be put into a page as it is.
    """

    html: str

    def __repr__(self) -> str:
        return "An interactive figure, which a page in a browser shows."

    def _repr_html_(self) -> str:
        return self.html


def explorer(
    rows: int = 12,
    events: int = 0,
    tau: float = 3.0,
    nodes: int = 5,
    *,
    sizes: Iterable[int] = SIZES,
    taus: Iterable[float] = TAUS,
) -> Explorer:
    """Build a figure in which the reader moves the rows, the events and tau of one group.

    It shows the integrand, its Laplace Gaussian, the nodes of the adaptive rule, and the absolute
    errors of the log-likelihood. The model is an intercept of zero and a random intercept. The
    same arguments give the same bytes.

    Parameters
    ----------
    rows, events : int
        The group to begin with: its rows, at most 40, and those whose y is 1.
    tau : float
        Standard deviation of the random intercepts to begin with.
    nodes : int
        Number of nodes that are drawn. The errors are those of Laplace, of so many nodes, and of
        5 and 10.
    sizes : iterable of int
        Values of `rows` to choose from; the one to begin with need not be among them.
    taus : iterable of float
        Values of `tau` to choose from; the one to begin with need not be among them.

    Returns
    -------
    Explorer

    Raises
    ------
    TypeError
        If a number of rows, events or nodes is not whole, or a tau is not a number.
    ValueError
        If one is out of its range.
    """
    nodes = check_nodes(nodes)
    rows = whole_number("rows", rows, minimum=1, maximum=MAX_ROWS)
    events = whole_number("events", events, minimum=0, maximum=rows)
    tau = _positive("tau", tau)
    # A chapter may be run with any tau: what it begins with joins the table.
    all_sizes = sorted(
        {
            rows,
            *(whole_number("each of sizes", n, minimum=1, maximum=MAX_ROWS) for n in sizes),
        }
    )
    all_taus = sorted({tau, *(_positive("each of taus", t) for t in taus)})
    size_at, tau_at = all_sizes.index(rows), all_taus.index(tau)

    counts = sorted({5, 10, nodes} - {1})  # one node is Laplace
    at = _adaptive_t(nodes)
    settings = [
        [[_setting(n, k, t, at, counts) for k in range(n + 1)] for t in all_taus] for n in all_sizes
    ]
    limit = REACH * all_taus[-1]
    unit = (RIGHT - LEFT) / (2 * limit)
    table = {
        "sizes": all_sizes,
        "taus": [f"{t:g}" for t in all_taus],
        "rules": ["Laplace", *map(_nodes, counts)],
        "x": [
            (LEFT + RIGHT) / 2,
            round(unit, 6),
        ],  # of u: origin, and length of one
        "y": [
            BOTTOM,
            (BOTTOM - TOP) / 1000,
        ],  # of the height: origin, and length of 1/1000
        "t": GRID.tolist(),
        "gaussian": _per_mille(np.exp(-0.5 * GRID**2)),
        "nodes": at.round(4).tolist(),
        "settings": settings,
    }
    beginning = settings[size_at][tau_at][events]
    mode, omega, loglik, errors, *_ = beginning
    embedded = _embedded(table)
    blanks = {
        "id": "laplace-explorer-"
        + hashlib.sha256(f"{beginning}{embedded}".encode()).hexdigest()[:8],
        "rows": rows,
        "events": events,
        "tau": f"{tau:g}",
        "nodes": _nodes(nodes),
        "size_at": size_at,
        "tau_at": tau_at,
        "last_size": len(all_sizes) - 1,
        "last_tau": len(all_taus) - 1,
        "mode": _signed(mode, 2),
        "omega": f"{omega:.2f}",
        "loglik": _signed(loglik, 4),
        "errors": "".join(
            f'<p style="border-color: {COLOURS["quadrature" if i else "laplace"]}">{rule} '
            f'<strong data-show="{rule}">{escape(error)}</strong></p>'
            for i, (rule, error) in enumerate(zip(table["rules"], errors, strict=True))
        ),
        "left": LEFT,
        "width": RIGHT - LEFT,
        "axes": _axes(limit, unit),
        "table": embedded,
    }
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    return Explorer(Template(template).substitute(blanks | _drawing(table, beginning) | COLOURS))


# The numbers -----------------------------------------------------------------------------------


def _setting(rows: int, events: int, tau: float, at: Array, counts: list[int]) -> list[Any]:
    """Give mode, omega, log-likelihood, errors, heights on the grid and at the nodes."""
    x, y = (
        np.ones((rows, 1)),
        np.repeat([1.0, 0.0], [events, rows - events]),
    )
    mode = derivatives.mode(x, y, BETA, tau)
    omega = derivatives.omega(x, y, BETA, tau)
    top = derivatives.g(x, y, mode, BETA, tau)

    def height(t: float) -> float:
        return math.exp(derivatives.g(x, y, mode + omega * t, BETA, tau) - top)

    # The truth, as in the chapter. Against 40 digits, quad is right to 1e-14 where 200 adaptive
    # nodes are to 1e-11, and so can judge errors down to 1e-10.
    area, _ = quad(height, -np.inf, np.inf, epsabs=0, epsrel=1e-12)
    truth = top + math.log(omega * area)
    approximate = [
        derivatives.l(x, y, BETA, tau),
        *(quadrature.adaptive(x, y, BETA, tau, count) for count in counts),
    ]
    return [
        round(mode, 2) + 0.0,  # never -0.0
        round(omega, 3),
        round(truth, 4),
        [_error(abs(value - truth)) for value in approximate],
        _per_mille([height(t) for t in GRID]),
        _per_mille([height(t) for t in at]),
    ]


def _adaptive_t(nodes: int) -> Array:
    """Places of the adaptive rule's nodes in t, those within the grid."""
    at = np.sqrt(2.0) * gauss_hermite(nodes)[0]
    return np.asarray(at[np.abs(at) <= GRID[-1]])


def _per_mille(heights: Iterable[float]) -> list[int]:
    return [round(1000 * float(height)) for height in heights]


def _error(error: float) -> str:
    return f"{error:.1e}" if error > 1e-10 else "< 1e-10"


def _embedded(table: dict[str, Any]) -> str:
    """Write the table as JSON that can stand in a page, a line for each size and tau."""
    compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
    head = compact({k: v for k, v in table.items() if k != "settings"})
    settings = ",\n".join(
        "[" + ",\n".join(map(compact, of_size)) + "]" for of_size in table["settings"]
    )
    # "</" would end the script that holds it
    return f'{head[:-1]},"settings":[\n{settings}]}}'.replace("</", "<\\/")


# The drawing, before anything is moved ---------------------------------------------------------


def _drawing(table: dict[str, Any], setting: list[Any]) -> dict[str, str]:
    """Place the curves and nodes of one setting, as the script does for all others."""
    mode, omega, _, _, heights, tops = setting

    def x(t: float) -> str:
        return f"{table['x'][0] + table['x'][1] * (mode + omega * t):.1f}"

    def y(height: float) -> str:
        return f"{table['y'][0] - table['y'][1] * height:.1f}"

    def points(all_heights: list[int]) -> str:
        return " ".join(f"{x(t)},{y(h)}" for t, h in zip(table["t"], all_heights, strict=True))

    curve = points(heights)
    return {
        "curve": curve,
        "area": f"{x(GRID[0])},{y(0)} {curve} {x(GRID[-1])},{y(0)}",
        "gaussian": points(table["gaussian"]),
        "stems": "".join(
            f"M{x(t)} {y(0)}V{y(h)}m-3 -3h6v6h-6z"
            for t, h in zip(table["nodes"], tops, strict=True)
        ),
    }


def _axes(limit: float, unit: float) -> str:
    """Draw the axes; they stay where they are, so that only the hill moves."""
    power = 10.0 ** math.floor(math.log10(limit / 2))
    step = power * max(m for m in (1, 2, 5) if m * power <= limit / 2)
    ticks = step * np.arange(-int(limit / step), int(limit / step) + 1)
    middle, label = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    drawn = [f'<path d="M{LEFT} {TOP - 12}V{BOTTOM}H{RIGHT}" fill="none" stroke="#000"/>']
    for u in ticks:
        at = f"{middle + unit * u:.1f}"
        drawn.append(f'<path d="M{at} {BOTTOM}v5" stroke="#000"/>')
        words = f"{u:g}".replace("-", "−")
        drawn.append(f'<text x="{at}" y="{BOTTOM + 20}" text-anchor="middle">{words}</text>')
    for height, words in ((BOTTOM, "0"), (TOP, "1")):
        drawn.append(f'<path d="M{LEFT} {height}h-5" stroke="#000"/>')
        drawn.append(f'<text x="{LEFT - 9}" y="{height + 5}" text-anchor="end">{words}</text>')
    drawn.append(
        f'<text x="{middle}" y="{BOTTOM + 41}" text-anchor="middle">random intercept u</text>'
    )
    drawn.append(
        f'<text transform="translate(16 {label}) rotate(-90)" text-anchor="middle">'
        "relative height</text>"
    )
    return "\n    ".join(drawn)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _signed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


# What is refused -------------------------------------------------------------------------------


def _positive(name: str, value: object) -> float:
    try:
        if isinstance(value, str | bool | np.bool_):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return number
