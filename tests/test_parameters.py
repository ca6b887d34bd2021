"""The parameters of a notebook: what is understood, what is refused, in the runner's words."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from compendium import parameters
from compendium.parameters import ParameterError, read

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2", "int", 2),
        ("-3", "int", -3),
        ("2", "float", 2.0),
        ("1e-1", "float", 0.1),
        ("-.5", "float", -0.5),
        ("true", "bool", True),
        ("False", "bool", False),
        ("1", "str", "1"),
        ("1,2,5", "list[int]", [1, 2, 5]),
        ("[1, 2.5]", "list[float]", [1.0, 2.5]),
        ("['a', b]", "list[str]", ["a", "b"]),
        ("[]", "list[int]", []),
    ],
)
def test_the_declared_type_decides(text, kind, value):
    parsed = read(text, kind)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("2.5", "int", "must be a whole number (int), not '2.5'"),
        ("2.0", "int", "must be a whole number (int), not '2.0'"),
        ("1_000", "int", "must be a whole number (int), not '1_000'"),
        ("", "int", "must be a whole number (int), not ''"),
        ("two", "float", "must be a finite number (float), not 'two'"),
        ("nan", "float", "must be a finite number (float), not 'nan'"),
        ("inf", "float", "must be a finite number (float), not 'inf'"),
        ("1", "bool", "must be true or false (bool), not '1'"),
        ("1,x", "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ("1,,2", "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ("{}", "dict", "is declared as 'dict', which cannot be given here"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(text, kind, words):
    with pytest.raises(ParameterError, match=re.escape(words)):
        read(text, kind)


@pytest.mark.parametrize(
    ("value", "kind", "meant"),
    [
        (2, "float", 2.0),
        ("1e-3", "float", 0.001),  # a text in YAML
        ([1, "5"], "list[int]", [1, 5]),
        (["1e-3", 1], "list[float]", [0.001, 1.0]),
        ((1, 5), "list[int]", [1, 5]),
        (5, "list[int]", [5]),  # what papermill makes of a list of one
        ("", "list[int]", []),
        ("['a, b', c]", "list[str]", ["a, b", "c"]),
        ("[null, 1, yes]", "list[str]", ["null", "1", "yes"]),
    ],
)
def test_a_value_that_is_no_text_is_what_is_declared(value, kind, meant):
    found = read(value, kind)
    assert found == meant
    assert type(found) is type(meant)
    if isinstance(found, list):
        assert [type(item) for item in found] == [type(item) for item in meant]


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (2.0, "int", "must be a whole number (int), not 2.0"),
        (True, "int", "must be a whole number (int), not True"),
        (None, "int", "must be a whole number (int), not None"),
        (True, "float", "must be a finite number (float), not True"),
        (float("inf"), "float", "must be a finite number (float), not inf"),
        (float("nan"), "float", "must be a finite number (float), not nan"),
        ([1.0], "float", "must be a finite number (float), not [1.0]"),
        (10**400, "float", "must be a finite number (float), not 1000"),
        (1, "bool", "must be true or false (bool), not 1"),
        (5, "str", "must be text (str), not 5"),
        ([1, 2.5], "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ([[1]], "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ("[1, [2]]", "list[int]", "must be a list of which each item is a whole number"),
        ("[1, 5", "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ("1, 5]", "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ("1 5", "list[int]", "must be a list of which each item is a whole number (list[int])"),
        ({"a": 1}, "list[str]", "must be a list of which each item is text (list[str])"),
        ("[a: b]", "list[str]", "must be a list of which each item is text (list[str])"),
        ([True], "list[float]", "must be a list of which each item is a finite number"),
    ],
)
def test_a_value_that_is_no_text_is_refused_in_the_same_words(value, kind, words):
    with pytest.raises(ParameterError, match=re.escape(words)):
        read(value, kind)


def test_a_notebook_is_checked_wherever_its_annotations_come_from():
    objects = {"nodes": list[int], "tau": float}
    texts = {"nodes": "list[int]", "tau": "float"}  # with `from __future__ import annotations`
    for declared in (objects, texts):
        namespace = {"__annotations__": declared, "nodes": "[1, 5]", "tau": 2}
        parameters.check(namespace)
        assert namespace["nodes"] == [1, 5]
        assert isinstance(namespace["tau"], float)


def test_only_what_papermill_sets_is_unknown():
    namespace = {"__annotations__": {"tau": float}, "tau": 1.0}
    typed = "# a cell of one's own\ntao = 2"
    added = '# Parameters\nPAPERMILL_INPUT_PATH = "a.ipynb"\nPAPERMILL_OUTPUT_PATH = "b.ipynb"\n'
    parameters.check(namespace | {"In": ["", typed, "# Parameters\ntau = 2\n", added]})
    words = "This notebook has no parameter 'tao'; did you mean 'tau'?\nIt has: tau."
    with pytest.raises(ParameterError, match=re.escape(words)):
        parameters.check(namespace | {"In": ["", "tau = 1.0", "# Parameters\ntao = 2\n"]})


# --- papermill as a reader calls it -----------------------------------------------------------


def call(*arguments, cwd=ROOT):
    """Call papermill on a command line, and give what it said."""
    command = [sys.executable, "-m", "papermill", *map(str, arguments), "--no-progress-bar"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Make a notebook with the cells that all notebooks begin with."""
    cells = [
        new_code_cell(
            "tau: float = 1.0  # a number\nseed: int = 1  # a seed\n"
            "nodes: list[int] = [1]  # numbers of nodes\nlabel: str = 'a'  # a word",
            metadata={"tags": ["parameters"]},
        ),
        new_code_cell("from compendium import parameters\n\nparameters.check(globals())"),
        new_code_cell("print(tau, seed, nodes, label)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("small") / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_papermill_gives_what_is_declared(small, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("tau: 1e-3\nlabel: b\n", encoding="utf-8")
    given = ["-f", values, "-y", "seed: 7", "-p", "nodes", "[1, 5]", "--inject-paths"]
    status, said = call(small, tmp_path / "out.ipynb", *given, cwd=tmp_path)
    assert status == 0, said
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "0.001 7 [1, 5] b\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["-p", "seed", "2.5"], "ParameterError: seed must be a whole number (int), not 2.5."),
        (["-r", "seed", "x"], "ParameterError: seed must be a whole number (int), not 'x'."),
        (["-y", "nodes: [1, x]"], "each item is a whole number (list[int]), not [1, 'x']."),
        (["-y", "tao: 1"], "ParameterError: This notebook has no parameter 'tao'; did you mean"),
    ],
)
def test_papermill_is_refused_by_the_notebook(small, tmp_path, given, words):
    status, said = call(small, tmp_path / "out.ipynb", *given, cwd=tmp_path)
    assert status != 0
    assert words in said


# The cheap ones; that no other one holds a relative path is a test of every notebook.
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("B_speed", "root"),
        ("B_speed", "notebooks"),
        ("B_speed", "elsewhere"),
        ("01_integral", "elsewhere"),
    ],
)
def test_papermill_works_from_everywhere(name, place, tmp_path):
    folder = {"root": ROOT, "notebooks": ROOT / "notebooks", "elsewhere": tmp_path}[place]
    notebook = {
        "root": f"notebooks/{name}.ipynb",
        "notebooks": f"{name}.ipynb",
        "elsewhere": ROOT / f"notebooks/{name}.ipynb",
    }[place]
    status, said = call(notebook, tmp_path / "out.ipynb", cwd=folder)
    assert status == 0, said


def stock_commands():
    """Give the calls of papermill that the README and the page on re-running show."""
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "book/rerun.md")]
    found = re.findall(r"^(papermill .*?)\s+#", "\n".join(pages), flags=re.MULTILINE)
    return sorted(set(found))


def test_the_pages_show_a_list_and_yaml():
    text = "\n".join(stock_commands())
    assert ' -p nodes "[' in text
    assert " -y " in text


@pytest.mark.parametrize("command", stock_commands())
def test_the_stock_commands_do_what_the_pages_say(command, tmp_path):
    _, notebook, out, *options = shlex.split(command)
    status, said = call(notebook, tmp_path / out, *options)
    assert status == 0, said
    with_values = nbformat.read(tmp_path / out, as_version=4)
    assert with_values.metadata.papermill.parameters  # by another value, as the pages say
