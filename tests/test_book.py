"""The book as a reader meets it: built strictly, then read in a browser, without a network."""

from __future__ import annotations

import json
import re

import nbformat
import provenance
import pytest
import run
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reading import HTML, PAGES, PHONE, ROOT

# --- what is read off a page -------------------------------------------------------------------

# Text that a reader would see as mathematics or markup that was not rendered; code is meant.
UNRENDERED = r"""() => {
    const article = (document.querySelector("article") ?? document.body).cloneNode(true);
    article.querySelectorAll("pre, code, script, style, mjx-container").forEach(e => e.remove());
    const text = article.textContent;
    return text.match(/\\\(|\\\[|\\begin|\$[^\s$][^$]*\$|\{[a-z:]+\}`|\[@\w+/g) ?? [];
}"""
BAD_MATH = """() => [...document.querySelectorAll(
    '[data-mml-node="merror"], mjx-container [fill="red"], mjx-container [data-mjx-error]'
)].map(e => e.closest("mjx-container").textContent)"""
UNTYPESET = """() => [...document.querySelectorAll(".math")]
    .filter(e => !e.querySelector("mjx-container")).map(e => e.textContent)"""
BAD_IMAGES = """() => [...document.querySelectorAll("img")]
    .filter(e => !(e.complete && e.naturalWidth > 0 && e.alt.trim())).map(e => e.outerHTML)"""
TOO_WIDE = """() => [document.documentElement, document.body, document.querySelector("article")]
    .filter(e => e && e.scrollWidth > e.clientWidth + 1)
    .map(e => `${e.tagName}: ${e.scrollWidth} > ${e.clientWidth}`)"""


# Displayed formulas are broken so that they fit. What is left of one may scroll where a fading edge
# says so, and is short.
CUT_OFF = """() => [...document.querySelectorAll('mjx-container[display="true"]')]
    .filter(e => e.scrollWidth > e.clientWidth + (e.dataset.more ? 60 : 1))
    .map(e => e.textContent)"""

# Of a cell whose code is folded, nothing is to be left on paper but what it shows.
EMPTY_BOXES = """() => [...document.querySelectorAll("article .cell, article .cell > div, pre")]
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().height > 2)
    .filter(e => !e.innerText.trim() && !e.querySelector("img, svg"))
    .map(e => e.outerHTML.slice(0, 200))"""


def images_stored(name: str) -> int:
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    return sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


# --- the tests -------------------------------------------------------------------------------


def test_the_book_builds_without_a_warning_and_says_what_to_open(book):
    assert book.returncode == 0, book.stdout + book.stderr
    assert f"Open {HTML}/index.html" in book.stdout


def test_nothing_in_the_book_comes_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["'](?:https?:)?//[^"']*"""
        r"""|<link\b[^>]*\shref=["'](?:https?:)?//[^"']*|\bimport\(["']https?://[^"']*"""
        r"""|url\(["']?(?:https?:)?//[^)]*"""
    )
    found = {
        (path.name, match)
        for path in [*HTML.rglob("*.html"), *HTML.rglob("*.css")]
        for match in loads.findall(path.read_text(encoding="utf-8"))
    }
    assert not found


@pytest.mark.parametrize("name", [*PAGES, "genindex", "search"])
def test_page_reads_without_fault(site, visit, name):
    seen = visit(f"{site}{name}.html")
    assert seen.status == 200
    assert seen.page.evaluate(UNTYPESET) == []
    assert seen.page.evaluate(BAD_MATH) == []
    assert seen.page.evaluate(UNRENDERED) == []
    assert seen.page.evaluate(BAD_IMAGES) == []
    if name.startswith("notebooks/"):
        assert seen.page.locator("div.cell_output img").count() == images_stored(name)
        assert seen.page.locator("mjx-container svg").count() > 0
    assert provenance.commit().split()[0] in seen.page.locator(".built-from").inner_text()
    assert seen.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone_in_the_dark(site, visit, name):
    seen = visit(f"{site}{name}.html", viewport=PHONE, color_scheme="dark")
    assert seen.page.evaluate(TOO_WIDE) == []
    if not name.startswith("api"):
        assert seen.page.evaluate(CUT_OFF) == []
    for figure in seen.page.locator("div.cell_output img").all():  # drawn for white paper
        ground = figure.evaluate("e => getComputedStyle(e).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
    assert seen.problems == []


def test_a_figure_that_is_drawn_smaller_opens_by_itself(site, visit):
    page = f"{site}notebooks/06_monte_carlo.html"
    wide = visit(page).page
    assert wide.locator("article figure img").count() == 6
    assert wide.locator("article figure a img").count() == 0
    seen = visit(page, viewport=PHONE)
    links = seen.page.locator("article figure a:has(img)")
    assert links.count() == 6
    with seen.page.expect_navigation():
        links.first.click()
    assert seen.page.url.endswith(".svg")
    assert seen.problems == []


def test_what_belongs_together_stays_on_one_line(site, visit):
    """Punctuation stays with the formula before it, and short code is not broken."""
    page = visit(f"{site}notebooks/02_derivation.html", viewport=PHONE).page
    strays = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article span.math")]
            .filter(e => e.nextSibling?.nodeType === Node.TEXT_NODE)
            .filter(e => /^[.,;:!?)]/.test(e.nextSibling.data) && !e.closest(".together"))
            .map(e => e.textContent)"""
    )
    assert strays == []
    broken = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article .together")]
            .filter(e => e.getClientRects().length > 1).map(e => e.textContent)"""
    )
    assert broken == []
    assert page.locator(".bd-article span.together").count() > 20


def test_the_names_of_rows_stay_where_a_table_scrolls(site, visit):
    page = visit(f"{site}notebooks/05_real_data.html", viewport=PHONE).page
    table = page.locator("table.dataframe[data-more]:has(tbody th)").first
    name = table.locator("tbody th").first
    left = name.bounding_box()["x"]
    table.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
    assert abs(name.bounding_box()["x"] - left) <= 1
    long = page.locator("tbody th", has_text="treatment[T.terbinafine]:month").first
    assert long.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_chapter_on_paper_is_short_and_has_no_folded_code(site, visit):
    seen = visit(f"{site}notebooks/05_real_data.html")
    seen.page.emulate_media(media="print")
    folded = seen.page.locator("details.hide")
    assert folded.count() > 5
    assert not any(one.is_visible() for one in folded.all())
    assert seen.page.evaluate(EMPTY_BOXES) == []
    pages = re.findall(rb"/Type /Page\b(?!s)", seen.page.pdf(format="A4"))
    assert 5 < len(pages) <= 15


def test_search_finds_laplace(site, visit):
    seen = visit(f"{site}search.html?q=Laplace")
    seen.page.locator("#search-results ul.search li a").first.wait_for()
    assert seen.page.locator("#search-results ul.search li").count() >= 3
    assert seen.problems == []


def test_next_leads_from_the_first_page_to_the_last(site, visit):
    seen = visit(f"{site}{PAGES[0]}.html")
    visited = [PAGES[0]]
    while seen.page.locator("a.right-next").count():
        # a page that is left while it loads has its requests cut off, which is no fault of its own
        seen.page.wait_for_load_state("networkidle")
        with seen.page.expect_navigation(wait_until="load"):
            seen.page.locator("a.right-next").click()
        visited.append(seen.page.url.removeprefix(site).partition(".html")[0])
        assert len(visited) <= len(PAGES)
    assert visited == PAGES
    assert seen.problems == []


def test_page_of_a_run_reads_without_a_network(visit, tmp_path):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9"/></svg>'
    options = {"image": {"alt": "a bar"}, "figure": {"caption": "A bar of width $\\tau$."}}
    figure = new_code_cell("show()", execution_count=1, metadata={"mystnb": options})
    figure.outputs = [new_output("display_data", {"image/svg+xml": svg})]
    text = new_markdown_cell("# A run\n\nHere $\\hat u$ and\n\n$$\\int e^{g(u)}\\,du$$")
    run.write_page(new_notebook(cells=[text, figure]), "run", tmp_path / "run.html")
    run.place_script(tmp_path, tmp_path)
    seen = visit((tmp_path / "run.html").as_uri())
    assert seen.page.locator("mjx-container svg").count() == 3
    assert seen.page.locator("figure img").get_attribute("alt") == "a bar"
    assert seen.page.evaluate(BAD_MATH) == []
    assert seen.page.evaluate(UNRENDERED) == []
    assert seen.page.evaluate(BAD_IMAGES) == []
    assert seen.problems == []


# --- the figure that moves -----------------------------------------------------------------------


def drawn(figure) -> list[float]:
    """Read the coordinates of the integrand off the interactive figure."""
    points = figure.locator(".curve").get_attribute("points")
    return [float(number) for number in re.split("[ ,]", points)]


def shown(figure) -> dict[str, str]:
    """Read the words and numbers beside it."""
    told = figure.locator("[aria-live=polite] [data-show]").all()
    return {span.get_attribute("data-show"): span.inner_text() for span in told}


def tabled(figure, i: int, j: int, events: int) -> tuple[list[float], dict[str, str]]:
    """Look up what both have to be, at the positions of the sliders."""
    table = json.loads(figure.locator("script[type='application/json']").text_content())
    mode, omega, loglik, errors, heights, _ = table["settings"][i][j][events]
    (origin, unit), (bottom, per_mille) = table["x"], table["y"]
    xy = [
        (origin + unit * (mode + omega * t), bottom - per_mille * height)
        for t, height in zip(table["t"], heights, strict=True)
    ]
    words = {
        "events": f"{events} of {table['sizes'][i]}",
        "tau": table["taus"][j],
        "mode": f"{mode:.2f}".replace("-", "−"),
        "omega": f"{omega:.2f}",
        "loglik": f"{loglik:.4f}".replace("-", "−"),
    }
    return [number for pair in xy for number in pair], words | dict(
        zip(table["rules"], errors, strict=True)
    )


def test_the_interactive_figure_moves_by_keyboard_and_stands_without_scripts(site, visit, browser):
    address = f"{site}notebooks/01_integral.html"
    seen = visit(address, viewport=PHONE)
    figure = seen.page.locator(".laplace-explorer")
    assert figure.count() == 1, "the first chapter has to show the interactive figure"
    assert figure.get_by_role("img", name="integrand").count() == 1
    rows, events, tau = (figure.get_by_role("slider", name=n) for n in ("rows", "events", "τ"))
    beginning = drawn(figure), shown(figure)

    rows.focus()
    keys = "Tab ArrowRight ArrowRight Tab ArrowLeft Shift+Tab End Shift+Tab ArrowLeft Home End"
    for key in keys.split():
        before = drawn(figure), shown(figure)
        seen.page.keyboard.press(key)
        ring = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring == "solid"
        curve, words = tabled(figure, *(int(e.input_value()) for e in (rows, tau, events)))
        assert drawn(figure) == pytest.approx(curve, abs=0.06)
        assert shown(figure) == words
        assert events.get_attribute("aria-valuetext") == words["events"]
        for slider, text in zip((rows, events, tau), figure.locator("output").all(), strict=True):
            assert text.inner_text() == slider.get_attribute("aria-valuetext")
        if not key.endswith("Tab"):
            assert (drawn(figure), shown(figure)) != before
    assert seen.problems == []

    with browser.new_context(viewport=PHONE, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        figure = page.locator(".laplace-explorer")
        assert (drawn(figure), shown(figure)) == beginning
        assert figure.locator("svg").first.is_visible()
        assert figure.locator(".curve").bounding_box()["height"] > 100
        assert figure.locator("noscript p").is_visible()
        assert figure.get_by_role("slider").count() == 0
