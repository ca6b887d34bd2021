"""The address of the repository, which stands in `pyproject.toml` and nowhere else by hand.

Called as a script, it writes the address, the version and its day where they are repeated: in
CITATION.cff and in the README.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = re.compile(r"^## (\d\S*), of (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def project() -> dict[str, object]:
    """Read what `pyproject.toml` says of the project."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def repository() -> str:
    """Give the address of the repository."""
    urls = project()["urls"]
    assert isinstance(urls, dict)
    return str(urls["Repository"]).rstrip("/")


def release() -> tuple[str, str]:
    """Give the newest version in the list of changes, and its day."""
    found = RELEASE.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("CHANGELOG.md has no heading such as `## 1.0.0, of 2026-12-31`.")
    return found[1], found[2]


def texts() -> dict[Path, str]:
    """Give each file that repeats the address, as it has to be."""
    address, (version, day) = repository(), release()
    name = address.rpartition("/")[2]
    changes = {
        "CITATION.cff": {
            r"^version: .*$": f"version: {version}",
            r"^date-released: .*$": f"date-released: {day}",
            r"^repository-code: .*$": f'repository-code: "{address}"',
        },
        "README.md": {
            r"^git clone https://\S+ && cd \S+$": f"git clone {address} && cd {name}",
            r"^  year    = \{.*$": f"  year    = {{{day[:4]}}},",
            r"^  version = \{.*$": f"  version = {{{version}}},",
            r"^  url     = \{.*$": f"  url     = {{{address}}}",
        },
    }
    found = {}
    for file, lines in changes.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        for old, new in lines.items():
            text, count = re.subn(old, new.replace("\\", r"\\"), text, flags=re.MULTILINE)
            if count != 1:
                raise ValueError(f"{file} has {count} lines like {old!r}, and not one.")
        found[ROOT / file] = text
    return found


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
