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

# Contrast takes axe by far the longest, word by word. It depends on an element's colours, its
# letters and what lies behind it, so that of all that look alike the first and the last are read.
# Dark and light differ in their colours alone, so that all other rules are asked in the light.
FIND = """async options => {
    const behind = new Map([[null, ""]]);
    const ground = e => {
        if (!behind.has(e)) {
            const {backgroundColor, backgroundImage, opacity} = getComputedStyle(e);
            const own = `${backgroundColor} ${backgroundImage} ${opacity};`;
            const clear = own === "rgba(0, 0, 0, 0) none 1;";
            behind.set(e, ground(e.parentElement) + (clear ? "" : own));
        }
        return behind.get(e);
    };
    const first = new Map(), last = new Map();
    for (const e of document.querySelectorAll("body *:not(svg *)")) {
        const text = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
        if (!text || !e.checkVisibility()) continue;
        const {color, fontSize, fontWeight} = getComputedStyle(e);
        const look = [e.tagName, e.className, color, fontSize, fontWeight, ground(e)].join("|");
        if (!first.has(look)) first.set(look, e);
        last.set(look, e);
    }
    const alike = {include: [...new Set([...first.values(), ...last.values()])]};
    const colours = ["color-contrast", "link-in-text-block"];
    const off = Object.fromEntries(colours.map(rule => [rule, {enabled: false}]));
    const found = (await axe.run(alike, {...options, runOnly: colours})).violations;
    const dark = document.documentElement.dataset.theme === "dark";
    if (!dark) found.push(...(await axe.run({...options, rules: off})).violations);
    return found.flatMap(rule =>
        rule.nodes.map(one => `${rule.id}: ${one.target}: ${one.html.slice(0, 120)}`)
    );
}"""
OPTIONS = {"runOnly": LEVELS, "resultTypes": ["violations"], "preload": False}

# Most of a page's elements are outlines of letters in the pictures of formulas, which are hidden
# from readers by ear, and of which axe says nothing.
THIN = """() => document.querySelectorAll("mjx-container svg").forEach(e => e.replaceChildren())"""

# What is told that its size has changed has been told after the second frame from now.
SETTLED = """() => new Promise(done =>
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""

# What a reader sees of tables, code and formulas that are wider than their place: each has to take
# the focus of the keyboard and to fade where there is more. What fits must do neither.
UNMARKED = """() => [...document.querySelectorAll(
    '.bd-article :is(table, pre, mjx-container[display="true"])'
)].filter(e => e.checkVisibility({contentVisibilityAuto: true})).filter(e => {
    const wide = e.scrollWidth > e.clientWidth + 1;
    const fades = getComputedStyle(e).maskImage !== "none";
    return (e.tabIndex === 0) !== wide || fades !== wide;
}).map(e => `${e.tagName}, ${e.scrollWidth} in ${e.clientWidth}: ${e.textContent.slice(0, 80)}`)"""


def arrange(page: Page, viewport: dict[str, int], theme: str) -> None:
    """Show the page on a screen of this size, in light or in dark."""
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.wait_for_function(
        "now => innerWidth === now[0] && document.documentElement.dataset.theme === now[1]",
        arg=[viewport["width"], theme],
    )
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
        unmarked = tab.evaluate(UNMARKED)
        barriers = tab.evaluate(FIND, OPTIONS)
        found += [f"{viewport['width']} {theme}: {one}" for one in unmarked + barriers]
    assert found == []


# What each rule of axe forbids, so that it is known to look for it.
PUT_IN = {
    "image-alt": '<img src="_static/logo.svg">',
    "color-contrast": '<p style="color: #888; background: #999">faint</p>',
    "scrollable-region-focusable": (
        '<div style="overflow: auto; width: 5em"><p style="width: 99em">'
        + "long " * 20
        + "</p></div>"
    ),
    "link-name": '<a href="index.html"></a>',
}


@pytest.mark.parametrize("rule", PUT_IN)
def test_a_barrier_that_is_put_in_is_found(site, tab, rule):
    open_page(tab, f"{site}index.html")
    tab.evaluate(
        "html => document.querySelector('article').insertAdjacentHTML('beforeend', html)",
        PUT_IN[rule],
    )
    in_colours = rule == "color-contrast"
    for viewport, theme in SETTINGS if in_colours else SETTINGS[::2]:
        arrange(tab, viewport, theme)
        assert {one.partition(":")[0] for one in tab.evaluate(FIND, OPTIONS)} == {rule}


@pytest.mark.parametrize("kind", ["table", "pre", "mjx-container[display='true']"])
def test_what_is_too_wide_scrolls_by_keyboard(site, visit, kind):
    # every formula of the page fits a phone, and so the screen is narrower than any
    narrow = {**PHONE, "width": 240}
    seen = visit(f"{site}notebooks/02_derivation.html", viewport=narrow)
    boxes = seen.page.locator(f".bd-article {kind}[data-more='right']").locator("visible=true")
    box = boxes.first.element_handle()  # which stays the same when its attribute changes
    box.focus()
    seen.page.keyboard.press("ArrowRight")
    seen.page.wait_for_function("() => document.activeElement.scrollLeft > 0")
    assert box.evaluate("e => e === document.activeElement")
    assert box.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    for _ in range(100):
        if box.get_attribute("data-more") == "left":
            break
        seen.page.keyboard.press("ArrowRight")
    assert box.get_attribute("data-more") == "left"
    assert seen.problems == []
