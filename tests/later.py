"""Checks of bits over processes: what compiles may have other last digits than what is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def holds_once_compiled(module: str, check: str) -> None:
    """Run a function of a test module in a process of its own, after one that compiles.

    Parameters
    ----------
    module, check : str
        Names of the module and of the function, which asserts.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        f"from tests.{module} import {check}; {check}()",
    ]
    folder = Path(__file__).parents[1]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
