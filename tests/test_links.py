"""Every link within the book leads somewhere, also to the place on the page that it names."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from reading import HTML, PAGES, ROOT

from book.address import repository


@pytest.fixture(scope="module")
def soups(book):
    """Read every page of the built book."""
    if book.returncode:
        pytest.fail("The book could not be built.")
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in HTML.rglob("*.html")
        if "_static" not in path.parts
    }


def test_every_link_within_the_book_leads_somewhere(soups):
    places = {
        path: {e[key] for key in ("id", "name") for e in soup.find_all(attrs={key: True})}
        for path, soup in soups.items()
    }
    followed, broken = 0, []
    for path, soup in soups.items():
        for link in soup.find_all(["a", "link"], href=True):
            address = urlsplit(link["href"])
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            place = unquote(address.fragment)
            followed += 1
            if not target.is_file() or (place and place not in places.get(target, {place})):
                broken.append(f"{path.relative_to(HTML)}: {link['href']}")
    assert followed > 1000
    assert broken == []


def test_all_links_within_the_book_are_relative(soups):
    """Pages of a project lie below the address of its owner, where /page.html leads elsewhere."""
    for path, soup in soups.items():
        addresses = [e.get("href") or e.get("src") for e in soup.find_all(["a", "link", "img"])]
        assert [a for a in addresses if a and a.startswith("/")] == [], path.name


def test_a_page_leads_to_its_source_and_a_chapter_to_where_it_runs(soups):
    owner = repository().removeprefix("https://github.com/")
    for name in PAGES:
        links = {e["href"] for e in soups[HTML / f"{name}.html"].find_all("a", href=True)}
        (edited,) = [link for link in links if link.startswith(f"{repository()}/edit/main/")]
        source = edited.partition("/edit/main/")[2]
        assert (ROOT / source).is_file(), source
        launched = [link for link in links if link.startswith("https://mybinder.org/")]
        if name.startswith("notebooks/"):
            place = f"https://mybinder.org/v2/gh/{owner}/main?urlpath=lab/tree/{name}.ipynb"
            assert launched == [place]
        else:
            assert launched == []
