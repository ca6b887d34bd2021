"""What all tests that read the book share: its pages, and what it is to open one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
HTML = ROOT / "book" / "_build" / "html"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def pages() -> list[str]:
    """List the pages in the order of the table of contents."""

    def files(entry):
        if isinstance(entry, list):
            return [name for item in entry for name in files(item)]
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [n for k in ("parts", "chapters", "sections") for n in files(entry.get(k, []))]

    return files(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")))


PAGES = pages()


@dataclass
class Visit:
    """A page that was opened, and all that went wrong on it."""

    page: Page
    status: int | None = None
    problems: list[str] = field(default_factory=list)
