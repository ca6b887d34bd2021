"""The book, a server and a browser, for all tests that read the book."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from reading import DESKTOP, HTML, ROOT, Visit

from book.pdf import BROWSERS, FLAGS, PDF, find_browser

# Fits by all kernels, with each type of X that these are compiled for.
EVERY_KERNEL = """
import numpy as np, laplace
r = np.random.default_rng(0)
groups = np.repeat(np.arange(9), 20)
for kind in (np.float64, np.float32):
    X = np.column_stack([np.ones(180), r.normal(size=180)]).astype(kind)
    y = r.binomial(1, 1 / (1 + np.exp(-X[:, 1] - r.normal(size=9)[groups])))
    laplace.fit(y, X, groups)
    laplace.fit_many([(y, X, groups)] * 2)
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have one process compile, before several run tests.

    Two that compile a kernel at the same time may find other last digits.
    """
    several = getattr(session.config.option, "numprocesses", None)
    if several and not hasattr(session.config, "workerinput"):
        command = [sys.executable, "-W", "ignore", "-c", EVERY_KERNEL]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)


def make(target: str) -> subprocess.CompletedProcess[str]:
    """Call make with the packages that the tests run on; only one process at a time builds."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    stamp = Path(sys.prefix) / ".installed"
    place = sha256(str(ROOT).encode()).hexdigest()[:16]
    with Path(tempfile.gettempdir(), f"book-{place}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(
            # --old-file: the tests install nothing
            ["make", target, f"VENV={sys.prefix}", f"--old-file={stamp}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def book():
    """Build the book exactly as `make book` does, with the packages that the tests run on."""
    if shutil.which("make") is None:
        pytest.skip("make, which builds the book, is not on the PATH")
    return make("book")


class Quiet(SimpleHTTPRequestHandler):
    """A file server that does not log."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def site(book):
    """Serve the built book, and give its address."""
    if book.returncode:
        pytest.fail("The book could not be built.")
    handler = functools.partial(Quiet, directory=str(HTML))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """Start whichever Chromium is installed."""
    with sync_playwright() as playwright:
        found = find_browser(playwright)
        if found is None:
            words = f"No browser was found: neither Playwright's own nor any of {BROWSERS}."
            if os.environ.get("CI") == "true":
                pytest.fail(words)
            pytest.skip(words)
        with playwright.chromium.launch(executable_path=found, args=FLAGS) as started:
            yield started


@pytest.fixture(scope="module")
def printed(book, browser):
    """Print the book as `make pdf` does, and give the path of the PDF."""
    if book.returncode:
        pytest.fail("The book could not be built.")
    done = make("pdf")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Open {PDF}" in done.stdout
    return PDF


@pytest.fixture
def visit(browser, request):
    """Give a function that opens an address with everything else on the network blocked."""

    def go(url: str, viewport=DESKTOP, color_scheme="light") -> Visit:
        context = browser.new_context(viewport=viewport, color_scheme=color_scheme)
        request.addfinalizer(context.close)
        local = url.partition("?")[0].rpartition("/")[0] if url.startswith("file:") else url[:21]
        seen = Visit(context.new_page())

        def guard(route):
            if route.request.url.startswith((local, "data:")):
                route.continue_()
            else:
                seen.problems.append(f"request to elsewhere: {route.request.url}")
                route.abort()

        context.route("**/*", guard)
        seen.page.on(
            "console",
            lambda message: message.type == "error" and seen.problems.append(message.text),
        )
        seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
        seen.page.on("requestfailed", lambda r: seen.problems.append(f"failed: {r.url}"))
        seen.page.on(
            "response",
            lambda r: r.status >= 400 and seen.problems.append(f"{r.status}: {r.url}"),
        )
        answer = seen.page.goto(url, wait_until="load")
        seen.status = answer and answer.status
        seen.page.evaluate("() => window.MathJax?.startup?.promise")
        return seen

    return go
