"""Draw the picture of the README: the first figure of the first chapter, at its own parameters."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

import numpy as np
from papermill import inspect_notebook

from compendium import plots

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "book" / "_static" / "integrand.svg"


def main() -> None:
    """Write the picture where the README looks for it."""
    inspected = inspect_notebook(ROOT / "notebooks" / "01_integral.ipynb")
    value = {name: literal_eval(found["default"]) for name, found in inspected.items()}
    rows, events = value["rows"], value["events"]
    x = np.ones((rows, 1))
    groups = {
        f"{rows} rows, {events} events": (x, np.repeat([1.0, 0.0], [events, rows - events])),
        f"{rows} rows, no event": (x, np.zeros(rows)),
    }
    figure = plots.integrand(groups, np.array([value["intercept"]]), value["tau"], value["nodes"])
    plots.save_svg(figure, PICTURE)


if __name__ == "__main__":
    main()
