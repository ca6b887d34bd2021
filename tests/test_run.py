"""The runner of notebooks: what it accepts, what it refuses in which words, what it keeps."""

from __future__ import annotations

import re
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


def test_a_parameter_without_a_value_is_a_usage_error(folder, capsys):
    with pytest.raises(SystemExit):
        run.main(["tiny", "-p", "tau"], folder)
    assert "needs a name and a value, for instance -p tau 2" in capsys.readouterr().err


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


def test_a_run_whose_process_dies_is_a_failed_run(folder, capfd):
    notebook = nbformat.read(folder / "tiny.ipynb", as_version=4)
    notebook.cells[2].source = "import os\nos._exit(1)"
    nbformat.write(notebook, folder / "tiny.ipynb")
    assert run.main(["tiny", "--output", str(folder / "runs")], folder) == run.FAILED
    assert "The run failed at In [2]: import os\nThe Python process died" in capfd.readouterr().err
    assert (folder / "runs" / "tiny.ipynb").is_file()


def test_commit_is_unknown_outside_of_a_checkout(tmp_path, monkeypatch):
    import provenance

    monkeypatch.setattr(provenance, "ROOT", Path(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
