"""What the book needs beyond Jupyter Book: its chapters, its MathJax, its commit and its links.

A Sphinx extension, named in `_config.yml`, so that a plain `jupyter-book build book` does it all.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "notebooks"))
sys.path.append(str(ROOT))
from provenance import commit, mathjax  # noqa: E402

from book.address import repository  # noqa: E402

BINDER = "https://mybinder.org"  # runs a chapter without anything to be installed


def copy_chapters(source: Path, target: Path) -> None:
    """Bring the notebooks into the book's folder, since Sphinx reads nothing outside of it.

    Only what differs is written, so that only changed chapters are rendered again.
    """
    target.mkdir(exist_ok=True)
    chapters = {path.name: path.read_bytes() for path in source.glob("*.ipynb")}
    for stale in {path.name for path in target.iterdir()} - chapters.keys():
        (target / stale).unlink()
    for name, content in chapters.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)


def links() -> dict[str, object]:
    """Give the theme's options that lead to the sources, and to where a chapter runs."""
    return {
        "repository_url": repository(),
        "repository_branch": "main",
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_source_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {"binderhub_url": BINDER, "notebook_interface": "jupyterlab"},
    }


def mend(buttons: list[dict[str, object]]) -> None:
    """Let the links of the chapters lead to where they are kept, beside the book's folder."""
    for button in buttons:
        if isinstance(button.get("url"), str):
            button["url"] = str(button["url"]).replace("/book/notebooks/", "/notebooks/")
        inner = button.get("buttons")
        if isinstance(inner, list):
            mend(inner)


def mend_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Mend what was made for one page: its links, and its list of references if it has one.

    The list's entries have a role that ARIA no longer has, so that the list would have no items.
    """
    mend(context.get("header_buttons", []))
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def configure(app: Sphinx, config: Config) -> None:
    """Serve MathJax from the book itself, and sign every page with the commit."""
    config.html_static_path.append(str(mathjax()))
    config.mathjax_path = mathjax().name
    config.html_theme_options.update(links())
    config.html_theme_options["extra_footer"] = (
        f'<p class="built-from">Built from commit {commit()}.</p>'
    )


def attribute_by_line(lines: list[str]) -> list[str]:
    """Give each name of ``value, slope : float`` among the attributes of a docstring its own entry.

    Napoleon does so for parameters alone, and takes the first of several attributes for a type.
    """
    result: list[str] = []
    inside = False
    for k, line in enumerate(lines):
        following = lines[k + 1] if k + 1 < len(lines) else ""
        if following and set(following) == {"-"}:
            inside = line == "Attributes"
        if inside and re.match(r"\w+(, \w+)+ :", line):
            names, kind = line.split(" : ", 1)
            end = next(
                (j for j in range(k + 1, len(lines)) if lines[j] and lines[j][0] != " "), len(lines)
            )
            for name in names.split(", ")[:-1]:
                result += [f"{name} : {kind}", *lines[k + 1 : end]]
            line = f"{names.split(', ')[-1]} : {kind}"
        result.append(line)
    return result


def split_attributes(
    app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    """Mend a docstring before Napoleon reads it."""
    lines[:] = attribute_by_line(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx; the chapters must lie there before it looks for them."""
    copy_chapters(ROOT / "notebooks", Path(app.srcdir) / "notebooks")
    app.connect("config-inited", configure)
    app.connect("autodoc-process-docstring", split_attributes, priority=400)  # Napoleon has 500
    app.connect("html-page-context", mend_page, priority=900)  # after the theme has made them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
