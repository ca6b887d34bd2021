"""The sentences of the book, the README and the captions that hold a number.

A sentence is taken with its formulas and its roles, but without code: what stands in backticks are
names. Number words count. The reviewed list, `prose.toml`, holds each such sentence and why its
numbers may be typed: they are a definition, a name, a citation, or tested. A result of a
computation that nothing tests may not be listed; it is computed on the page that states it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from compendium import datasets

ROOT = Path(__file__).resolve().parents[1]
WORDS = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("twenty", "thirty", "forty", "fifty", "sixty", "hundred", "hundreds", "thousand"),
    *("thousands", "million", "millions", "dozen", "twice", "thrice", "double", "doubles"),
    *("half", "halves", "third", "thirds", "quarter", "quarters", "tenth", "hundredth"),
    *("thousandth", "millionth", "percent"),
)
NUMBER = re.compile(rf"\d|\b(?:{'|'.join(WORDS)})\b|\\(?:tfrac|frac|sqrt)\d", re.IGNORECASE)
# Code, targets of links and of roles, and labels: names, which other tests hold.
NAMES = re.compile(
    r"`[^`]*`|\]\([^)]*\)|^\([\w-]+\)=$|^\s*:[\w-]+:.*$|<https?://[^>]*>", flags=re.MULTILINE
)
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1 *$", flags=re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", flags=re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$(?: *\([\w-]+\))?", flags=re.DOTALL)
END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z`$*_{\[(\d])")


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences and the displayed formulas of some Markdown that hold a number."""
    text = COMMENT.sub("", FENCE.sub("\n\n", markdown))
    for formula in FORMULA.findall(text):
        if NUMBER.search(formula):
            yield " ".join(formula.split())
    for block in re.split(r"\n\s*\n|\n(?=\s*[-*|#] |\s*\d+\. |\|)", FORMULA.sub("\n\n", text)):
        for sentence in END.split(" ".join(block.split())):
            if NUMBER.search(NAMES.sub("", sentence)):
                yield sentence


def pages() -> dict[str, list[str]]:
    """Return the sentences with numbers of every page, in their order."""
    found = {}
    for path in [
        *sorted((ROOT / "book").glob("*.md")),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]:
        found[path.relative_to(ROOT).as_posix()] = list(sentences(path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        texts = []
        for cell in cells:
            if cell.cell_type == "markdown":
                texts += sentences(cell.source)
                continue
            options = cell.metadata.get("mystnb", {})
            texts += sentences(options.get("figure", {}).get("caption", ""))
            texts += sentences(options.get("image", {}).get("alt", ""))
        found[path.relative_to(ROOT).as_posix()] = texts
    works = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    found["book/references.bib"] = [
        " ".join(entry.split()) for entry in re.split(r"\n(?=@)", works) if entry.strip()
    ]
    for name, data in datasets.DATASETS.items():
        parts = [data.title, data.source, data.see_also, data.carried_by, data.interest]
        parts += [column.meaning for column in data.columns]
        found[f"the data set {name}"] = [s for part in parts for s in sentences(part)]
    return found
