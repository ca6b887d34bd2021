"""What made a page: the commit, the versions, and the one script that a page needs.

The runner (`run.py`, beside this file) and the book (`book/_ext/chapters.py`) both use it.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "laplace": "laplace-glmm",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "formulaic": "formulaic",
    "numba": "numba",
    "llvmlite": "llvmlite",
}
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
# Git writes the commit into this file where it makes an archive, as for a download as a zip.
ARCHIVED = ROOT / "notebooks" / "archived_commit.txt"
MATHJAX = "tex-svg-full.js"  # the one file that needs neither fonts nor further scripts


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def commit() -> str:
    """Name the commit of the checkout, its day, and whether files differ from it.

    Returns
    -------
    str
        For instance ``"1a2b3c4 of 2026-05-01, with uncommitted changes"``; in an archive the commit
        that it was made of; ``"unknown"`` where there is no git, no checkout or no commit.
    """
    if not (
        ROOT / ".git"
    ).exists():  # git would name the commit of a folder further up
        archived = ARCHIVED.read_text().strip() if ARCHIVED.exists() else ""
        return archived if archived and "$" not in archived else "unknown"
    try:
        name = _git("log", "-1", "--date=short", "--format=%h of %cd")
        changed = _git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}, with uncommitted changes" if changed else name


def processor() -> str:
    """Name the processor by its maker's words.

    Returns
    -------
    str
        For instance ``"AMD EPYC"``; the architecture, such as ``"arm64"``, where the system knows
        no more.
    """
    try:
        if sys.platform == "darwin":
            ask = ["sysctl", "-n", "machdep.cpu.brand_string"]
            told = subprocess.run(
                ask, check=True, capture_output=True, text=True
            )
            names = [told.stdout]
        else:
            fields = (
                line.partition(":")
                for line in CPU_INFO.read_text().splitlines()
            )
            names = [
                name
                for what, _, name in fields
                if what.strip() == "model name"
            ]
    except (OSError, subprocess.CalledProcessError):
        names = []
    known = [name.strip() for name in names if name.strip()]
    return (
        known[0]
        if known
        else platform.processor() or platform.machine() or "unknown"
    )


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that compute, the platform, the processor."""
    return {
        "python": platform.python_version(),
        **{name: version(package) for name, package in PACKAGES.items()},
        "platform": platform.platform(),
        "processor": processor(),
    }


def mathjax() -> Path:
    """Find the MathJax script in the installed package that carries it."""
    files = distribution("sphinx-mathjax-offline").files or []
    return Path(str(next(f for f in files if f.name == MATHJAX).locate()))
