"""The runner of notebooks: what it accepts, what it refuses in which words, what it keeps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import run
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
tau: float = 1.0  # standard deviation of the intercepts
seed: int = 1  # seed of the generator
nodes: list[int] = [1, 5]  # numbers of nodes
steps: list[float] = [0.5]  # step sizes
names: list[str] = ["a"]  # column names
verbose: bool = False  # say more
label: str = "a"  # a word
odd: dict = {}  # something that has no simple type
"""


@pytest.fixture
def folder(tmp_path):
    """Make a folder with one small notebook, `tiny`."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A tiny notebook\n\nIt shows $\\tau$."),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            new_code_cell("# the first step\nassert tau > 0, 'tau is not positive'"),
            new_code_cell("print(tau, seed, nodes, verbose)"),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, tmp_path / "tiny.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["tiny", "-p", "tao", "2"],
            "tiny has no parameter 'tao'; did you mean 'tau'?\nIt has: tau,",
        ),
        (["tiny", "-p", "zzzz", "2"], "tiny has no parameter 'zzzz'.\nIt has: tau, seed,"),
        (
            ["tiny", "-p", "seed", "2.5"],
            "seed must be a whole number (int), not '2.5'.\nIt is: seed",
        ),
        (["tiny", "-p", "tau", "1", "-p", "tau", "2"], "tau is given twice."),
        (["-p", "tau", "tiny"], "Which notebook? Its name comes first, for instance:"),
        (["-p", "tau:2", "tiny"], "Which notebook? Its name comes first, for instance:"),
        (["tiny", "-p", "tau="], "tau must be a finite number (float), not ''.\nIt is: standard"),
        (["tiny", "-p", "=2"], "tiny has no parameter ''"),
        (["tinny"], "There is no notebook 'tinny'; did you mean 'tiny'?\nThere are: tiny."),
        (["other/tiny.ipynb"], "There is no notebook 'other/tiny.ipynb'"),
        (["tinny", "--help"], "There is no notebook 'tinny'; did you mean 'tiny'?"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_computed(
    folder, capsys, arguments, words
):
    output = folder / "runs"
    assert run.main([*arguments, "--output", str(output)], folder) == run.REFUSED
    assert words in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    "after",
    [
        [],
        ["--output", "x"],
        ["-p", "seed", "7"],
        ["-p", "seed=7"],
        ["-pseed=7"],
        ["--help"],
        ["-h"],
    ],
    ids=" ".join,
)
def test_a_parameter_without_a_value_is_a_usage_error_and_swallows_no_option(folder, capsys, after):
    with pytest.raises(SystemExit):
        run.main(["tiny", "-p", "tau", *after], folder)
    assert "needs a name and a value, for instance -p tau 2" in capsys.readouterr().err


def test_a_parameter_without_a_name_is_a_usage_error(folder, capsys):
    with pytest.raises(SystemExit):
        run.main(["tiny", "-p", "--output", "x"], folder)
    assert "expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "pairs"),
    [
        ("-p tau 2", [("tau", "2")]),
        ("-p tau=2", [("tau", "2")]),
        ("-ptau=2", [("tau", "2")]),
        ("--parameter tau=2", [("tau", "2")]),
        ("--parameter=tau=2", [("tau", "2")]),
        ("-p tau -1e-3", [("tau", "-1e-3")]),
        ("-p tau=-1e-3", [("tau", "-1e-3")]),
        ("-p tau -inf", [("tau", "-inf")]),
        ("-p label a=b", [("label", "a=b")]),
        ("-p label=a=b", [("label", "a=b")]),
        ("-p tau=2 -p seed 7", [("tau", "2"), ("seed", "7")]),
        ("-p tau=2 -p seed=7", [("tau", "2"), ("seed", "7")]),
    ],
)
def test_a_parameter_is_written_as_a_pair_or_with_an_equals_sign(
    folder, monkeypatch, arguments, pairs
):
    seen = []

    def instead(given, known, notebook):
        seen.append(given)
        raise run.RefusalError("enough")

    monkeypatch.setattr(run, "validate", instead)
    output = str(folder / "runs")
    assert run.main(["tiny", *arguments.split(" "), "--output", output], folder) == run.REFUSED
    assert seen == [pairs]


@pytest.mark.parametrize("name", ["tiny", "tiny.ipynb", "{folder}/tiny.ipynb"])
def test_help_lists_the_parameters(folder, capsys, name):
    assert run.main([name.format(folder=folder), "--help"], folder) == 0
    said = capsys.readouterr().out
    assert said.startswith("tiny: A tiny notebook\n")
    assert re.search(r"tau +float +1\.0 +standard deviation of the intercepts\n", said)
    assert re.search(r"nodes +list\[int\] +\[1, 5\] +numbers of nodes\n", said)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_without_a_name_lists_the_notebooks(folder, capsys, arguments):
    assert run.main(arguments, folder) == 0
    assert re.search(r"tiny +A tiny notebook\n", capsys.readouterr().out)


def test_names_of_runs_are_readable_and_safe():
    assert run.run_name("a", {}) == "a"
    assert run.run_name("a", {"tau": 0.5, "nodes": [1, 5]}) == "a_tau=0.5_nodes=1,5"
    unsafe = [run.run_name("a", {"label": text}) for text in ("x/y", "x:y", "../y", "z" * 300)]
    assert len(set(unsafe)) == len(unsafe)
    for name in unsafe:
        assert re.fullmatch(r"[\w.,=+-]{1,120}", name, flags=re.ASCII)


def test_what_only_the_book_renders_is_made_plain():
    text = "See {numref}`fig-a`, {doc}`that <b>` and `{x}`.\n\n$$\nx\n$$ (eq-a)\n\n$y$ (sic)"
    assert run.plain(text) == "See fig-a, that and `{x}`.\n\n$$\nx\n$$\n\n$y$ (sic)"


def test_a_run_keeps_a_notebook_and_a_page(folder, capfd):
    source = folder / "tiny.ipynb"
    before = source.read_bytes()
    # the order of the parameters does not matter, and a value may begin with a minus sign
    arguments = ["tiny", "-p", "seed", "-7", "-p", "tau", "2", "--output", str(folder / "runs")]
    assert run.main(arguments, folder) == 0
    assert source.read_bytes() == before
    said = capfd.readouterr()
    assert "100%" in said.err  # progress
    copy = folder / "runs" / "tiny_tau=2.0_seed=-7.ipynb"
    page = copy.with_suffix(".html")
    assert str(copy) in said.out
    assert str(page) in said.out

    notebook = nbformat.read(copy, as_version=4)
    nbformat.validate(notebook)
    facts = notebook.metadata["provenance"]
    assert facts["parameters"]["tau"] == "2.0"
    assert facts["parameters"]["nodes"] == "[1, 5]"
    assert {"commit", "python", "laplace", "numpy", "scipy", "pandas", "platform"} <= facts.keys()
    assert "| parameter `seed` | `-7` |" in notebook.cells[-1].source
    assert "2.0 -7 [1, 5] False" in str(notebook.cells[-2].outputs)

    html = page.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src=|href=|url\(|import\()\s*["']?(?:https?:)?//""", html)
    assert (page.parent / "_static" / "tex-svg-full.js").is_file()


def test_a_failed_run_says_where_and_why_and_keeps_what_there_is(folder, capfd):
    assert (
        run.main(["tiny", "-p", "tau", "0", "--output", str(folder / "runs")], folder) == run.FAILED
    )
    said = capfd.readouterr()
    assert (
        "The run failed at In [3]: # the first step\nAssertionError: tau is not positive"
        in said.err
    )
    copy = folder / "runs" / "tiny_tau=0.0.ipynb"
    notebook = nbformat.read(copy, as_version=4)
    assert "AssertionError" in notebook.metadata["provenance"]["failure"]
    assert "tau is not positive" in copy.with_suffix(".html").read_text(encoding="utf-8")


def change(folder, source, number=2):
    """Write another cell into the small notebook."""
    notebook = nbformat.read(folder / "tiny.ipynb", as_version=4)
    notebook.cells[number].source = source
    nbformat.write(notebook, folder / "tiny.ipynb")


def contents(output):
    """Give what lies in a folder of runs, and check that nothing half done is left."""
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


def test_a_run_whose_process_dies_is_a_failed_run(folder, capfd):
    change(folder, "import os\nos._exit(1)")
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == run.FAILED
    assert "The run failed at In [2]: import os\nThe Python process died" in capfd.readouterr().err
    assert (folder / "runs" / "tiny.ipynb").is_file()


@pytest.fixture
def earlier(folder):
    """Make a result of an earlier run, and give what is in its folder."""
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == 0
    found = contents(folder / "runs")
    assert found.keys() == {"tiny.ipynb", "tiny.html"}
    return found


@pytest.mark.parametrize("source", ["import os\nos._exit(1)", "1 / 0", "raise SystemExit(3)"])
def test_a_run_that_fails_keeps_the_earlier_result(folder, earlier, capfd, source):
    change(folder, source)
    for _ in range(2):  # a failed copy takes the place of a failed copy
        assert run.main(["tiny", "--output", str(folder / "runs")], folder) == run.FAILED
        said = capfd.readouterr().err
        assert "The run failed at In [2]: " in said
        assert f"The earlier result is as it was: {folder / 'runs' / 'tiny.ipynb'}" in said
        assert "Traceback" not in said
        found = contents(folder / "runs")
        assert found.keys() == {*earlier, "tiny_failed.ipynb", "tiny_failed.html"}
        assert found.items() >= earlier.items()


@pytest.mark.parametrize("text", ["", "{}", "not a notebook"])
def test_what_is_no_copy_of_a_failed_run_is_kept(folder, text):
    change(folder, "1 / 0")
    (folder / "runs").mkdir()
    (folder / "runs" / "tiny.ipynb").write_text(text)
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == run.FAILED
    assert (folder / "runs" / "tiny.ipynb").read_text() == text


def test_a_run_that_comes_to_its_end_takes_the_place_of_a_failed_one(folder):
    output = folder / "runs"
    for source, status in (("1 / 0", run.FAILED), ("print(1)", 0)):
        change(folder, source)
        assert run.main(["tiny", "--output", str(output)], folder) == status
        notebook = nbformat.read(output / "tiny.ipynb", as_version=4)
        assert bool(notebook.metadata["provenance"]["failure"]) == (status != 0)
    assert contents(output).keys() == {"tiny.ipynb", "tiny.html"}


def test_a_kernel_that_cannot_be_started_is_said_in_a_sentence(folder, earlier, capfd):
    notebook = nbformat.read(folder / "tiny.ipynb", as_version=4)
    notebook.metadata.kernelspec.name = "none-such"
    nbformat.write(notebook, folder / "tiny.ipynb")
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == run.FAILED
    said = capfd.readouterr().err
    assert "The Python process could not be started: No such kernel named none-such" in said
    assert "Traceback" not in said
    assert contents(folder / "runs").items() >= earlier.items()


@pytest.mark.parametrize("damage", [b"", b"half of it"])
def test_a_damaged_script_is_mended(folder, earlier, damage):
    script = folder / "runs" / "_static" / "tex-svg-full.js"
    whole = script.read_bytes()
    assert whole == run.mathjax().read_bytes()
    script.write_bytes(damage)
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == 0
    assert script.read_bytes() == whole


def _file(path):
    path.write_text("mine")


def _below_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("mine")


def _link_to_nothing(path):
    path.symlink_to(path.parent / "nothing")


def _link_to_itself(path):
    path.symlink_to(path)


def _folder_of_that_name(path):
    (path / "tiny.html").mkdir(parents=True)


def _script_is_a_folder(path):
    (path / "_static" / "tex-svg-full.js").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_file, "it is a file"),
        (_below_a_file, "Not a directory"),
        (_link_to_nothing, "File exists"),
        (_link_to_itself, ""),
        (_folder_of_that_name, "tiny.html is a folder"),
        (_script_is_a_folder, "Is a directory"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_refused(folder, capfd, make, words):
    output = folder / "place" / "output"
    output.parent.mkdir()
    make(output)
    assert run.main(["tiny", "--output", str(output)], folder) == run.REFUSED
    said = capfd.readouterr().err
    assert f"The result cannot be kept in {output}: {words}" in said
    assert "name another folder: --output DIR." in said
    assert "Executing" not in said  # nothing was computed


def test_a_folder_may_be_a_link_and_have_braces_in_its_name(folder):
    (folder / "true").mkdir()
    (folder / "a {link}").symlink_to(folder / "true")
    assert run.main(["tiny", "--output", str(folder / "a {link}")], folder) == 0
    assert contents(folder / "true").keys() == {"tiny.ipynb", "tiny.html"}


# --- disks --------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """Give a function that mounts a small disk, where the one who tests may do that."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options, *more):
        command = ["mount", *more, "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount a tmpfs")
        if not mounted:
            mounted.append(place)
        return place

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


SCRIPT = run.mathjax().stat().st_size


def fill(place):
    """Fill what is left of a disk."""
    with open(place / "rest", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_a_full_disk_is_noticed_before_anything_is_computed(folder, disk, capfd):
    place = disk("size=1m")
    assert run.main(["tiny", "--output", str(place)], folder) == run.REFUSED
    said = capfd.readouterr().err
    assert f"The result cannot be kept in {place}: No space left on device." in said
    assert "Executing" not in said


def test_a_disk_that_fills_during_a_run_leaves_the_earlier_result(folder, disk, capfd):
    place = disk(f"size={SCRIPT + 2_000_000}")
    assert run.main(["tiny", "--output", str(place)], folder) == 0
    earlier = contents(place)
    change(
        folder,
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from test_run import Path, fill\nfill(Path({str(place)!r}))\nprint('x' * 20_000)",
    )
    assert run.main(["tiny", "--output", str(place)], folder) == run.FAILED
    said = capfd.readouterr().err
    assert f"The result cannot be kept in {place}: No space left on device." in said
    assert "Traceback" not in said
    (place / "rest").unlink()
    assert contents(place) == earlier


def test_a_page_for_which_there_is_no_room_costs_neither_result(folder, disk, capfd):
    place = disk(f"size={SCRIPT + 2_000_000}")
    assert run.main(["tiny", "--output", str(place)], folder) == 0
    earlier = contents(place)
    assert len(earlier["tiny.html"]) > 200_000
    left = os.statvfs(place).f_bavail * 4096
    (place / "other").write_bytes(bytes(left - 100_000))
    assert run.main(["tiny", "--output", str(place)], folder) == run.FAILED
    said = capfd.readouterr().err
    assert "The page could not be written: No space left on device" in said
    assert "Traceback" not in said
    found = contents(place)
    assert found.items() >= earlier.items()
    copy = nbformat.reads(found["tiny_failed.ipynb"].decode(), as_version=4)
    assert "1.0 1 [1, 5] False" in str(copy.cells)
    assert "tiny_failed.html" not in found


def test_a_disk_that_may_only_be_read_is_refused(folder, disk, capfd):
    place = disk("size=1m,ro")
    output = place / "runs"
    assert run.main(["tiny", "--output", str(output)], folder) == run.REFUSED
    said = capfd.readouterr().err
    assert f"The result cannot be kept in {output}: Read-only file system." in said


# --- from outside -------------------------------------------------------------------------------

START = "import sys, pathlib, run; sys.exit(run.main(sys.argv[2:], pathlib.Path(sys.argv[1])))"


def start(folder):
    """Start a run of the small notebook in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(folder), "tiny", "--output", str(folder / "runs")],
        env=os.environ | {"PYTHONPATH": str(Path(run.__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_ended_from_outside_keeps_the_earlier_result(folder, earlier, name):
    begun = folder / "begun"
    change(folder, f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(300)")
    process = start(folder)
    try:
        end = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert begun.exists()
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + getattr(signal, name)
    assert "The run failed at In [2]: import pathlib, time\nInterrupted." in said
    assert "The earlier result is as it was" in said
    assert "Traceback" not in said
    found = contents(folder / "runs")
    assert found.items() >= earlier.items()
    assert "tiny_failed.ipynb" in found


def test_two_runs_at_once_leave_whole_files(folder):
    change(folder, "print('x' * 100_000)")
    processes = [start(folder) for _ in range(2)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    found = contents(folder / "runs")
    assert found.keys() == {"tiny.ipynb", "tiny.html"}
    nbformat.validate(nbformat.reads(found["tiny.ipynb"].decode(), as_version=4))
    assert found["tiny.html"].rstrip().endswith(b"</html>")


def test_commit_is_unknown_outside_of_a_checkout(tmp_path, monkeypatch):
    import provenance

    monkeypatch.setattr(provenance, "ROOT", Path(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
