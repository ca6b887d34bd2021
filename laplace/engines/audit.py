"""The audit log of a gate: one line an event, each with the digest of the line before it.

The log is the memory of the gate, too. What was asked about a data set before, and what was
approved, is read from it when the gate opens. An answer leaves only after its line is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

FIRST = "0" * 64


class LogError(OSError):
    """The log cannot be read or written; the message says what can be done."""


class Log:
    """An audit log, open for this process alone.

    Parameters
    ----------
    path : Path
        The file; it is made if it is not there.

    Raises
    ------
    LogError
        If it was altered, is open in another process, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import fcntl

        self.path = path
        try:
            self._file: TextIO = path.open("a+", encoding="utf-8")
            os.chmod(path, 0o600)
        except OSError as error:
            raise LogError(
                f"the log {path.name} cannot be written: {error.strerror}; the gate stays closed"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise LogError(
                f"the log {path.name} is open in another process; end that gate before"
            ) from None
        _cut_unfinished(path)
        try:
            self.entries = list(read(path))
        except LogError:
            self._file.close()
            raise
        self.last = self.entries[-1]["digest"] if self.entries else FIRST

    def add(self, kind: str, **parts: Any) -> dict[str, Any]:
        """Write an entry, and return it once it is on the disk.

        Time is written down for people; nothing depends on it.

        Raises
        ------
        LogError
            If it cannot be written; nothing may leave the gate then.
        """
        entry = {
            "number": len(self.entries) + 1,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time())),
            "kind": kind,
            **parts,
            "previous": self.last,
        }
        entry["digest"] = _digest(entry)
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._take_back(size)
            raise LogError(
                f"the log {self.path.name} cannot be written: {error.strerror}; nothing is "
                "answered before it can"
            ) from None
        self.entries.append(entry)
        self.last = entry["digest"]
        return entry

    def _take_back(self, size: int) -> None:
        """Leave no part of a line that could not be written, now or when the file is closed."""
        try:
            self._file.truncate(size)
        except OSError:
            return

    def close(self) -> None:
        """Close the file, so that another process can open it."""
        self._file.close()


def _cut_unfinished(path: Path) -> None:
    """Cut off a last line that was not finished: what it was about never left the gate."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a log, and check that each follows the one before it.

    Raises
    ------
    LogError
        If a line was altered, left out or put in.
    """
    last = FIRST
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                whole = entry["digest"] == _digest(entry) and entry["previous"] == last
            except (ValueError, KeyError, TypeError):
                whole = False
            if not whole or entry["number"] != number:
                raise LogError(
                    f"the log {path.name} was altered at line {number}: it does not follow the "
                    "line before it. Nothing is answered; restore it from a copy, or name the data "
                    "set anew, with a new log"
                )
            last = entry["digest"]
            yield entry


def _digest(entry: dict[str, Any]) -> str:
    rest = {name: value for name, value in entry.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
