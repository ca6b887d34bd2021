"""What is altered by one line is noticed: a few of the alterations of `sabotage.py`, one a kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import sabotage

QUICK = [one for one in sabotage.ALTERATIONS if not one.runs_a_notebook]
# All are tried by `make sabotage`, in some minutes; here the first of each type of file.
FIRST = list({Path(one.file).suffix: one for one in reversed(QUICK)}.values())


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy")
    try:
        sabotage.copied(target)
    except (OSError, sabotage.subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout, so there are no tracked files to copy")
    return target


@pytest.mark.parametrize("alteration", FIRST, ids=lambda one: one.file)
def test_an_alteration_is_noticed(alteration: sabotage.Alteration, copy: Path) -> None:
    assert sabotage.is_noticed(alteration, copy)


@pytest.mark.parametrize("alteration", sabotage.ALTERATIONS, ids=lambda one: one.file)
def test_every_alteration_can_be_applied(alteration: sabotage.Alteration) -> None:
    text = (sabotage.ROOT / alteration.file).read_text(encoding="utf-8")
    assert alteration.applied(text) != text


def test_there_are_alterations_of_every_kind() -> None:
    assert len(sabotage.ALTERATIONS) >= 25
    files = {Path(one.file).suffix for one in sabotage.ALTERATIONS}
    assert files >= {".ipynb", ".md", ".py", ".csv", ".svg", ".json", ".cff"}


def test_what_is_not_altered_is_green(copy: Path) -> None:
    same = sabotage.Alteration("LICENSE", "BSD 3-Clause License", "BSD 3-Clause License ", ())
    assert not sabotage.is_noticed(
        sabotage.Alteration(same.file, same.old, same.new, ("tests/test_prose.py",)), copy
    )
