"""What the book needs beyond Jupyter Book: its chapters, its MathJax and its commit.

A Sphinx extension, named in `_config.yml`, so that a plain `jupyter-book build book` does it all.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "notebooks"))
from provenance import commit, mathjax  # noqa: E402


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


def configure(app: Sphinx, config: Config) -> None:
    """Serve MathJax from the book itself, and sign every page with the commit."""
    config.html_static_path.append(str(mathjax()))
    config.mathjax_path = mathjax().name
    config.html_theme_options["extra_footer"] = (
        f'<p class="built-from">Built from commit {commit()}.</p>'
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx; the chapters must lie there before it looks for them."""
    copy_chapters(ROOT / "notebooks", Path(app.srcdir) / "notebooks")
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
