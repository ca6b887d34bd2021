"""Print the book as one PDF: vector figures, formulas with their text, and an outline.

Jupyter Book's builder for LaTeX leaves out every SVG without a word. So Sphinx puts all pages into
one, and a browser prints it. `make pdf` does both.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

BOOK = Path(__file__).resolve().parent
SINGLE = BOOK / "_build" / "singlehtml" / "index.html"
PDF = BOOK / "_build" / "book.pdf"

BROWSERS = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "msedge",
    "chrome",
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 600_000  # milliseconds for the mathematics, or the printing, of all pages

# A4 in CSS pixels, of which an inch has 96, and the margins on it.
PAPER = {"width": 794, "height": 1123}
MARGIN = 58
FOOTER = (
    '<div style="width: 100%; text-align: center; font: 8px sans-serif; color: #444">'
    '<span class="pageNumber"></span></div>'
)

# A reader of the PDF by ear, and the tests, are told what a formula says: its TeX. It and whatever
# else is wider than the paper are made smaller; in Chromium one wide table would shrink all pages.
# What follows the last line of a chapter takes no room, which may be that of another, empty sheet.
PREPARE = r"""() => {
    for (const item of MathJax.startup.document.math) {
        const picture = item.typesetRoot.querySelector("svg");
        picture.removeAttribute("aria-hidden");
        picture.setAttribute("aria-label", item.math.trim());
        item.typesetRoot.querySelector("mjx-assistive-mml")?.remove();
    }
    const chapters = 'article :is(section:has(> h1), span[id^="document-"] + section)';
    for (const chapter of document.querySelectorAll(chapters)) {
        for (let last = chapter; last; last = last.lastElementChild) {
            last.style.marginBottom = last.style.paddingBottom = "0";
        }
    }
    const shrunk = [];
    const article = document.querySelector("article");
    const paper = article.getBoundingClientRect();
    const wide = e => {
        const box = e.getBoundingClientRect();
        const seen = Math.min(box.right, paper.right) - Math.max(box.left, paper.left);
        return Math.max(e.scrollWidth / e.clientWidth || 1, box.width / seen);
    };
    for (const e of article.querySelectorAll("table, pre, mjx-container")) {
        let by = 1;
        while (by > 0.4 && wide(e) > 1.001) {
            by -= 0.04;
            e.style.fontSize = `${100 * by}%`;
        }
        if (by < 1) shrunk.push([e.tagName, by.toFixed(2), e.textContent.slice(0, 60)]);
    }
    return shrunk;
}"""


def find_browser(playwright: Playwright) -> str | None:
    """Find whichever Chromium is installed; Playwright's own comes first."""
    own = Path(playwright.chromium.executable_path)
    return str(own) if own.exists() else next(filter(None, map(shutil.which, BROWSERS)), None)


def prepare(browser: Browser, source: Path) -> tuple[Page, list[list[str]]]:
    """Open the page of all pages as it is on paper; give it, and what was made smaller."""
    width = PAPER["width"] - 2 * MARGIN
    page = browser.new_page(viewport={"width": width, "height": PAPER["height"]})
    page.set_default_timeout(PATIENCE)
    page.emulate_media(media="print", color_scheme="light")
    page.goto(source.as_uri(), wait_until="load")
    page.evaluate("() => MathJax.startup.promise")
    return page, page.evaluate(PREPARE)


def write(page: Page, target: Path) -> None:
    """Print a page that was prepared; the file is there whole or not at all."""
    part = target.with_suffix(".part")
    page.pdf(
        path=part,
        width=f"{PAPER['width']}px",
        height=f"{PAPER['height']}px",
        margin=dict.fromkeys(("top", "right", "bottom", "left"), f"{MARGIN}px"),
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        tagged=True,
        outline=True,
    )
    os.replace(part, target)


def main() -> int:
    """Print what `jupyter-book build --builder singlehtml` has built."""
    with sync_playwright() as playwright:
        found = find_browser(playwright)
        if found is None:
            print(
                f"A browser prints the book, and none was found: neither Playwright's own nor any "
                f"of {', '.join(BROWSERS)}.",
                file=sys.stderr,
            )
            return 1
        with playwright.chromium.launch(executable_path=found, args=FLAGS) as browser:
            page, _ = prepare(browser, SINGLE)
            write(page, PDF)
    print(f"Open {PDF}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
