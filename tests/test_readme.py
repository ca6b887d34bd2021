"""The README: its code gives the output that it shows, and its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_examples_give_the_output_shown() -> None:
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 2
    names: dict[str, object] = {}
    for number, (code, shown) in enumerate(examples):
        if number == 0:
            assert sum(bool(line.strip()) for line in code.splitlines()) == 7  # as the README says
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.chdir(ROOT):
            exec(compile(code, "README.md", "exec"), names)
        trimmed = [line.rstrip() for line in output.getvalue().splitlines()]
        assert trimmed == [line.rstrip() for line in shown.splitlines()]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_to_files(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_commands_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z]+)\b", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_bibtex_entry_agrees_with_the_citation_file() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    title = re.search(r"title\s*=\s*\{(.*)\}", README)
    version = re.search(r"version\s*=\s*\{(.*)\}", README)
    assert title is not None
    assert version is not None
    assert f'"{title.group(1)}"' in citation
    assert f"version: {version.group(1)}" in citation
