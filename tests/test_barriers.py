"""Nothing in the book keeps a reader out: neither a look that is too faint, nor a missing mouse.

axe-core looks for what the Web Content Accessibility Guidelines forbid at levels A and AA. It reads
each page as it is on a desk and on a phone, in light and in dark.
"""

from __future__ import annotations

import itertools

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page
from reading import DESKTOP, PAGES, PHONE

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SETTINGS = list(itertools.product((DESKTOP, PHONE), ("light", "dark")))

FIND = """options => axe.run(options).then(found => found.violations.flatMap(
    rule => rule.nodes.map(one => `${rule.id}: ${one.target}: ${one.html.slice(0, 120)}`)
))"""
OPTIONS = {"runOnly": LEVELS, "resultTypes": ["violations"], "preload": False}

# Most of a page's elements are outlines of letters in the pictures of formulas, which are hidden from
# readers by ear, and words of code, which look alike if they are of one kind. Axe takes several times
# as long with them. So the pictures are emptied, and of each kind the first word on a page remains.
THIN = """() => {
    document.querySelectorAll("mjx-container svg").forEach(e => e.replaceChildren());
    const kinds = new Set();
    for (const word of document.querySelectorAll("pre span[class]")) {
        if (kinds.has(word.className)) word.replaceWith(...word.childNodes);
        kinds.add(word.className);
    }
    document.querySelectorAll("pre").forEach(e => e.normalize());
}"""

# What is told that its size has changed has been told after the second frame from now.
SETTLED = """() => new Promise(done =>
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""


def arrange(page: Page, viewport: dict[str, int], theme: str) -> None:
    """Show the page on a screen of this size, in light or in dark."""
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
    page.evaluate(SETTLED)


@pytest.fixture(scope="module")
def tab(browser):
    """Give one tab for all pages: what is loaded for one is there for the next."""
    with browser.new_context(viewport=DESKTOP) as context:
        yield context.new_page()


def open_page(tab: Page, address: str) -> None:
    """Open a page, wait for its formulas, and bring axe to it."""
    tab.set_viewport_size(DESKTOP)
    tab.goto(address, wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise")
    tab.evaluate(THIN)
    tab.evaluate(AXE_SCRIPT)


@pytest.mark.parametrize("name", [*PAGES, "genindex", "py-modindex", "search"])
def test_a_page_has_no_barrier(site, tab, name):
    open_page(tab, f"{site}{name}.html")
    found = []
    for viewport, theme in SETTINGS:
        arrange(tab, viewport, theme)
        found += [f"{viewport['width']} {theme}: {one}" for one in tab.evaluate(FIND, OPTIONS)]
    assert found == []


PUT_IN = {
    "image-alt": '<img src="_static/logo.svg">',
    "color-contrast": '<p style="color: #888; background: #999">faint</p>',
    "scrollable-region-focusable": '<div style="overflow: auto; width: 5em"><p style="width: 9em">long</p></div>',
    "link-name": '<a href="index.html"></a>',
}


@pytest.mark.parametrize("rule", PUT_IN)
def test_a_barrier_that_is_put_in_is_found(site, tab, rule):
    open_page(tab, f"{site}index.html")
    tab.evaluate("html => document.querySelector('article').insertAdjacentHTML('beforeend', html)", PUT_IN[rule])
    for viewport, theme in SETTINGS:
        arrange(tab, viewport, theme)
        assert {one.partition(":")[0] for one in tab.evaluate(FIND, OPTIONS)} == {rule}
