"""How pytest compares a notebook's outputs: figures by their coordinates, formulas to the letter.

nbval by itself compares text exactly, which no two processors agree on for a figure, and passes over
typeset formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from nbval.plugin import IPyNbCell

from compendium import svg

FIGURE = "image/svg+xml"
# What says nothing of a result.
NOT_COMPARED = (
    "metadata",
    "traceback",
    "output_type",
    "name",
    "execution_count",
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a cell of a notebook compare its outputs in our way."""
    if isinstance(item, IPyNbCell):
        item.compare_outputs = compared_by(item.compare_outputs)


def compared_by(exactly: Callable[..., bool]) -> Callable[..., bool]:
    """Return a comparison in which figures that show the same are equal."""

    def compare(
        test: list[Any], ref: list[Any], skip_compare: Any = None
    ) -> bool:
        fresh = deepcopy(test)
        stored_figures, fresh_figures = (
            [
                output["data"]
                for output in outputs
                if FIGURE in output.get("data", {})
            ]
            for outputs in (ref, fresh)
        )
        for stored, new in zip(stored_figures, fresh_figures, strict=False):
            if svg.same(stored[FIGURE], new[FIGURE]):
                new[FIGURE] = stored[FIGURE]
        return exactly(fresh, ref, NOT_COMPARED)

    return compare
