"""`make portable`: which settings it chooses, that they take, and that it notices where not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import portable
import pytest
from portable import GENERIC, Facts, Setting, plan

X86 = Facts("znver5", "+avx512f", ("X86_V3", "X86_V4"), ("Haswell",))
KERNELS = ["Nehalem", "Sandybridge", "Haswell", "SkylakeX"]
TRIVIAL = "def test_trivial():\n    pass\n"


def test_an_x86_processor_is_made_old_middling_and_new():
    settings, remarks = plan(X86, KERNELS)
    assert settings == [
        Setting("old", GENERIC, ("X86_V3", "X86_V4"), "Nehalem"),
        Setting("middle", GENERIC, ("X86_V4",), "Haswell"),
        Setting("new", None, (), "SkylakeX"),
    ]
    assert remarks == []


@pytest.mark.parametrize(
    ("here", "kernels", "words"),
    [
        (
            Facts(GENERIC, "", X86.numpy, X86.blas),
            KERNELS,
            "NUMBA_CPU_NAME has no effect: numba compiles for a generic processor here.",
        ),
        (
            Facts("apple-m1", "+neon", (), X86.blas),
            KERNELS,
            "NPY_DISABLE_CPU_FEATURES has no effect: NumPy has nothing here that can be left out.",
        ),
        (
            Facts("znver5", "", X86.numpy, ()),
            [],
            "OPENBLAS_CORETYPE has no effect: NumPy's linear algebra is not OpenBLAS.",
        ),
        (
            X86,
            ["Haswell"],
            "OPENBLAS_CORETYPE has no effect: of its kernels, OpenBLAS takes Haswell only.",
        ),
        (
            X86,
            [],
            "OPENBLAS_CORETYPE has no effect: of its kernels, OpenBLAS takes none of the kernels "
            "that are known.",
        ),
    ],
)
def test_what_has_no_effect_is_said(here, kernels, words):
    settings, remarks = plan(here, kernels)
    assert remarks == [words]
    assert len(settings) == 3


def test_an_arm_mac_is_told_what_has_no_effect():
    settings, remarks = plan(Facts("apple-m1", "+neon", (), ()), [])
    assert [remark.split()[0] for remark in remarks] == [
        "NPY_DISABLE_CPU_FEATURES",
        "OPENBLAS_CORETYPE",
    ]
    assert [setting.numba for setting in settings] == [GENERIC, GENERIC, None]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts("znver5", "+avx2", (), ("Nehalem",)), "numba compiles for 'znver5' with features"),
        (Facts(GENERIC, "+avx2", (), ("Nehalem",)), "numba compiles for 'generic' with features"),
        (Facts(GENERIC, "", ("X86_V4",), ("Nehalem",)), "NumPy still uses X86_V4"),
        (Facts(GENERIC, "", (), ("Haswell", "Nehalem")), "OpenBLAS has the kernels ['Haswell', "),
        (Facts(GENERIC, "", (), ()), "OpenBLAS has the kernels [], not 'Nehalem'"),
    ],
)
def test_what_did_not_take_is_said(facts, words):
    (said,) = Setting("old", GENERIC, ("X86_V3", "X86_V4"), "Nehalem").not_taken(facts)
    assert words in said


def test_every_setting_takes_on_this_machine():
    here = portable.facts_with(Setting("as it is"))
    settings, _ = plan(here, portable.kernels())
    for setting in settings:
        assert setting.not_taken(portable.facts_with(setting)) == []


def session(tmp_path: Path, setting: Setting, **changed: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_it.py").write_text(TRIVIAL)
    environment = setting.environment(tmp_path / "cache")
    environment |= {"PYTHONPATH": str(Path(portable.__file__).parent), **changed}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "portable", "test_it.py"]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)


def test_the_tests_do_not_start_where_a_setting_did_not_take(tmp_path):
    setting = Setting("old", GENERIC)
    assert session(tmp_path, setting).returncode == 0
    refused = session(tmp_path, setting, NUMBA_CPU_FEATURES="+sse3")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "the setting 'old' did not take: numba compiles for 'generic'" in refused.stderr


def test_what_the_caller_has_set_does_not_reach_a_setting(monkeypatch, tmp_path):
    for name in portable.VARIABLES:
        monkeypatch.setenv(name, "of the caller")
    environment = Setting("new").environment(tmp_path)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path)
    assert "of the caller" not in environment.values()
    assert os.environ["OPENBLAS_CORETYPE"] == "of the caller"


def test_what_was_compiled_for_is_read_from_the_cache(tmp_path):
    module = tmp_path / "compiled.py"
    module.write_text(
        "import numba\n\n@numba.njit(cache=True)\ndef twice(x):\n    return 2 * x\n\ntwice(1.0)\n"
    )
    cache = tmp_path / "cache"
    environment = Setting("old", GENERIC).environment(cache)
    subprocess.run([sys.executable, str(module)], env=environment, check=True)
    assert portable.compiled_for(cache) == {(GENERIC, "")}


def test_a_failure_and_a_wrong_target_are_both_told(monkeypatch):
    monkeypatch.setattr(portable, "compiled_for", lambda cache: {("znver5", "+avx2")})
    fails = [sys.executable, "-c", "raise SystemExit(1)"]
    assert portable.run(Setting("old", GENERIC), fails) == [
        "old: not all tests passed.",
        "old: compiled for [('znver5', '+avx2')], not generic.",
    ]
    assert portable.run(Setting("new"), [sys.executable, "-c", ""]) == []


def test_every_file_of_tests_and_every_notebook_is_run_or_named():
    names = {path.stem for path in portable.TESTS.glob("test_*.py")}
    assert names >= portable.WITHOUT_NUMBERS
    whole = portable.command(only_notebooks=False)
    for path in (portable.ROOT / "notebooks").glob("*.ipynb"):
        assert str(path) in whole
        assert str(path) in portable.command(only_notebooks=True)
    for name in names - portable.WITHOUT_NUMBERS:
        assert str(portable.TESTS / f"{name}.py") in whole


def test_a_process_computes_before_it_tells_its_facts(monkeypatch, capsys):
    """A kernel whose instructions the processor lacks ends it there, and so is not chosen."""
    told = []
    monkeypatch.setattr(portable, "compute", lambda: told.append(capsys.readouterr().out))
    assert portable.main(["--facts"]) == 0
    assert told == [""]
    assert capsys.readouterr().out.startswith("{")


def test_a_setting_that_changes_nothing_is_left_out_where_that_is_asked_for(monkeypatch, capsys):
    own = Facts("znver5", "+avx2", ("X86_V3",), ("Haswell",))
    old = Facts(GENERIC, "", (), ("Nehalem",))
    ran = []
    monkeypatch.setattr(portable, "kernels", lambda: ["Nehalem", "Haswell"])
    monkeypatch.setattr(
        portable, "facts_with", lambda setting: old if setting.name == "old" else own
    )
    monkeypatch.setattr(portable, "run", lambda setting, arguments: ran.append(setting.name) or [])
    assert portable.main(["--notebooks", "--others"]) == 0
    assert ran == ["old"]
    assert capsys.readouterr().out.count("This machine computes so by itself") == 2
    assert portable.main(["--notebooks"]) == 0
    assert ran == ["old", "old", "middle", "new"]
