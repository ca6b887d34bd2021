"""Figures as SVG text that is the same wherever it is drawn.

The last digits of a coordinate differ between processors, and Matplotlib names a clip or a marker
by a digest of all its digits. Here coordinates are rounded to a hundredth of a point, which nobody
sees, and names are counted. `same` compares a stored figure with a fresh one.
"""

from __future__ import annotations

import io
import re
from typing import Any

DECIMALS = 2
# Attributes that hold coordinates; a scale, as that of the letters, is kept as it is.
PLACES = re.compile(r'\b(d|x|y|width|height|viewBox|points|transform)="([^"]*)"')
NUMBER = re.compile(r"scale\([^)]*\)|-?\d+\.\d+")
NAME = re.compile(r'\bid="([mp])([0-9a-f]{10})"')
NO_DATE = {"Date": None}


def drawn(figure: Any) -> str:
    """Return a figure as SVG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What is drawn.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=NO_DATE, bbox_inches="tight")
    return stable(buffer.getvalue())


def stable(text: str) -> str:
    """Round the coordinates of SVG, and count the names of clips and markers."""
    for count, (kind, digest) in enumerate(dict.fromkeys(NAME.findall(text)), 1):
        text = text.replace(kind + digest, f"{kind}{count}")
    return PLACES.sub(lambda found: f'{found[1]}="{NUMBER.sub(_rounded, found[2])}"', text)


def _rounded(found: re.Match[str]) -> str:
    if found[0].startswith("scale"):
        return found[0]
    text = f"{float(found[0]):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


# Rounding may go either way where processors differ in the last digits.
TOLERANCE = 1.5 * 10.0**-DECIMALS
ANY_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def same(one: str, other: str) -> bool:
    """Whether two figures show the same.

    All but the coordinates has to be equal to the letter, and no coordinate may differ by more than
    a hundredth of a point.
    """
    parts_of_one, parts_of_other = (list(PLACES.finditer(text)) for text in (one, other))
    if len(parts_of_one) != len(parts_of_other):
        return False
    if PLACES.sub(r"\1", one) != PLACES.sub(r"\1", other):
        return False
    return all(
        a[1] == b[1] and _near(a[2], b[2])
        for a, b in zip(parts_of_one, parts_of_other, strict=True)
    )


def _near(one: str, other: str) -> bool:
    """Whether two lists of coordinates are the same but for the tolerance."""
    if one == other:
        return True
    if ANY_NUMBER.sub("0", one) != ANY_NUMBER.sub("0", other):
        return False
    pairs = zip(ANY_NUMBER.findall(one), ANY_NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs)
