"""The book as one PDF: all of its figures as vectors, all of its formulas, and nothing cut off."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import pypdf
import pypdfium2
import pytest
from reading import HTML, PAGES

from book import pdf

# What is said of pictures and formulas on a page, in words and in TeX.
TOLD = """() => [
    ...[...document.querySelectorAll("article img")].map(e => e.alt),
    ...[...window.MathJax?.startup.document.math ?? []]
        .filter(item => item.typesetRoot.closest("article"))
        .map(item => item.math.trim()),
].map(text => text.replace(/\\s+/g, " ").trim())"""
INTERACTIVE = "The integrand of one group, its Laplace Gaussian and the nodes of the adaptive rule"

BEYOND = """() => {
    const paper = document.querySelector("article").getBoundingClientRect();
    return [...document.querySelectorAll("article *")]
        .filter(e => !e.closest("svg") && e.checkVisibility())
        .map(e => [e, e.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0 && (box.right > paper.right + 2 || box.left < -2))
        .map(([e, box]) => `${e.outerHTML.slice(0, 80)}: ${box.left} to ${box.right}`);
}"""
FURNITURE = """() => [...document.querySelectorAll(
    "button, input, details, .copybtn, .prev-next-area, #pst-skip-link")]
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().height > 2)
    .map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def document(printed: Path) -> pypdf.PdfReader:
    """Open the PDF."""
    return pypdf.PdfReader(printed)


def elements(document: pypdf.PdfReader) -> list[pypdf.generic.DictionaryObject]:
    """List the tagged elements of the PDF."""
    found, rest = [], [document.trailer["/Root"]["/StructTreeRoot"]]
    while rest:
        element = rest.pop().get_object()
        if isinstance(element, list):
            rest += element
        elif isinstance(element, dict):
            found.append(element)
            rest += [element["/K"]] if "/K" in element else []
    return found


def test_every_figure_and_every_formula_of_the_pages_is_in_the_pdf(document, site, visit):
    on_pages = Counter()
    for name in PAGES:
        on_pages.update(visit(f"{site}{name}.html").page.evaluate(TOLD))
    in_pdf = Counter(
        " ".join(str(element["/Alt"]).split())
        for element in elements(document)
        if element.get("/S") == "/Figure" and "/Alt" in element
    )
    (interactive,) = [text for text in in_pdf if text.startswith(INTERACTIVE)]
    assert in_pdf.pop(interactive) == 1
    assert sum(on_pages.values()) > 500
    assert in_pdf == on_pages


def test_no_figure_is_of_pixels(document):
    kinds = Counter(
        element.get("/Subtype")
        for number in range(1, document.trailer["/Size"])
        if isinstance(element := document.get_object(number), dict)
    )
    assert kinds["/Image"] == 0
    assert kinds["/Link"] > 100


def test_the_outline_names_every_page_and_each_begins_on_its_own_sheet(document):
    def entries(level, depth=0):
        for entry in level:
            if isinstance(entry, list):
                yield from entries(entry, depth + 1)
            elif depth <= 1:
                yield words(entry.title), document.get_destination_page_number(entry)

    def words(title):
        return re.sub(r"\s+", "", html.unescape(title))

    outline = list(entries(document.outline))
    sheets = []
    for name in PAGES[1:]:
        text = (HTML / f"{name}.html").read_text(encoding="utf-8")
        title = words(re.search(r"<title>(.*?) (?:—|&#8212;) ", text, re.DOTALL)[1])
        sheets.append(next(sheet for found, sheet in outline if found.endswith(title)))
    assert sheets == sorted(set(sheets))


def test_nothing_on_paper_is_cut_off_or_to_be_pressed(printed, browser):
    page, shrunk = pdf.prepare(browser, pdf.SINGLE)
    try:
        assert page.evaluate(BEYOND) == []
        assert page.evaluate(FURNITURE) == []
        # what is too wide is made smaller, but still can be read
        assert [(what, by) for what, by, _ in shrunk if float(by) < 0.5] == []
    finally:
        page.close()


def test_the_margins_of_every_sheet_are_white(printed):
    """A browser that finds something too wide draws into the margin, or shrinks all sheets."""
    scale = 0.5
    margin = int(scale * pdf.MARGIN * 72 / 96) - 1
    with pypdfium2.PdfDocument(printed) as document:
        for number, sheet in enumerate(document, start=1):
            assert sheet.get_size() == pytest.approx((595.5, 842.25), abs=1)
            image = sheet.render(scale=scale, grayscale=True).to_numpy()
            body = image[: -2 * margin]  # the number of the sheet stands below
            assert body[:, :margin].min() > 250, number
            assert body[:, -margin:].min() > 250, number
            assert image.min() < 128, f"sheet {number} is empty"
