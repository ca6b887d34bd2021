"""Draw what stands on no chapter: pictures of the README and of two pages, and the logo.

Called as a script, it writes them where the README and the book look for them.
"""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from papermill import inspect_notebook

from compendium import plots, plots_answer, validation

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "book" / "_static" / "integrand.svg"
MAP = ROOT / "book" / "_static" / "map.svg"
CHART = ROOT / "book" / "_static" / "chart.svg"
LOGO = ROOT / "book" / "_static" / "logo.svg"


def integrand() -> Figure:
    """Draw the first figure of the first chapter, at its own parameters."""
    inspected = inspect_notebook(ROOT / "notebooks" / "01_integral.ipynb")
    value = {name: literal_eval(found["default"]) for name, found in inspected.items()}
    rows, events = value["rows"], value["events"]
    x = np.ones((rows, 1))
    groups = {
        f"{rows} rows, {events} events": (x, np.repeat([1.0, 0.0], [events, rows - events])),
        f"{rows} rows, no event": (x, np.zeros(rows)),
    }
    return plots.integrand(groups, np.array([value["intercept"]]), value["tau"], value["nodes"])


def map_of_designs() -> Figure:
    """Draw the map of the chapter on the number of nodes, for the first page."""
    found = validation.map_of_designs()
    shifts = {title: found[name].unstack() for name, title in validation.MAP_OF.items()}
    return plots.map_of_designs(shifts, found["nodes"].unstack())


def logo() -> str:
    """Return the logo: a skewed curve, and the Gaussian at its mode in the colour of Laplace."""
    line = 'fill="none" stroke="{}" stroke-width="4" stroke-linecap="round"'
    truth, laplace = (plots.COLOURS[name].lower() for name in ("truth", "laplace"))
    what = "A skewed curve and the Gaussian at its mode"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img" '
            f'aria-label="{what}">',
            '  <rect width="64" height="64" rx="10" fill="#ffffff"/>',
            f'  <path d="M4 54 C16 54 17 12 26 12 S40 54 60 54" {line.format(truth)}/>',
            f'  <path d="M6 54 C17 54 18 12 26 12 S35 54 46 54" {line.format(laplace)} '
            'stroke-dasharray="1 7"/>',
            "</svg>\n",
        ]
    )


def main() -> None:
    """Write all of them."""
    plots.save_svg(integrand(), PICTURE)
    plots.save_svg(map_of_designs(), MAP)
    plots.save_svg(plots_answer.flow_chart(), CHART)
    LOGO.write_text(logo(), encoding="utf-8")


if __name__ == "__main__":
    main()
