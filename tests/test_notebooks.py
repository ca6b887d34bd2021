"""What every notebook keeps to, so that it can be re-run, re-checked and read by everyone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import papermill
import pytest

from compendium import parameters

FOLDER = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
LIMIT = 2_000_000  # bytes

pytestmark = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path):
    return [(cell, output) for cell in code_cells(path) for output in cell.outputs]


def parameters_cell(path):
    tagged = [c for c in code_cells(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1, "there has to be exactly one cell tagged 'parameters'"
    return tagged[0]


def test_is_valid_and_small(path):
    nbformat.validate(read(path))
    assert path.stat().st_size < LIMIT


def test_begins_with_a_title(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S", first.source)


def test_was_executed_once_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


def test_has_no_error_and_no_warning_in_its_outputs(path):
    for _, output in outputs(path):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


def test_every_parameter_is_typed_and_explained(path):
    cell = parameters_cell(path)
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.AnnAssign), "only lines like `tau: float = 1.0  # meaning`"
    names = [statement.target.id for statement in ast.parse(cell.source).body]
    known = papermill.inspect_notebook(path)
    assert list(known) == names, "papermill passes over a line with `=` in its comment"
    for parameter in known.values():
        assert parameter["help"], parameter["name"]
        # the runner has to understand what the notebook declares, its default included
        default = parameter["default"].strip("\"'")
        assert parameters.read(default, parameter["inferred_type_name"]) == ast.literal_eval(
            parameter["default"]
        )


def test_the_parameters_are_checked_in_the_next_cell(path):
    cells = code_cells(path)
    checking = cells[cells.index(parameters_cell(path)) + 1]
    assert "\nparameters.check(globals())\n" in checking.source


def test_no_file_is_looked_for_from_the_folder_of_the_caller(path):
    texts = {
        node.value
        for cell in code_cells(path)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    paths = [text for text in texts if re.fullmatch(r"[\w./-]*[./][\w./-]*", text)]
    assert [text for text in paths if (FOLDER / text).exists() and text.strip("./")] == []


def test_metadata_says_nothing_of_the_machine_or_the_time(path):
    notebook = read(path)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}, "run `make notebooks`"
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in code_cells(path):
        assert cell.metadata.keys() <= {"tags", "mystnb"}, "run `make notebooks`"


def test_outputs_name_no_place_on_a_machine(path):
    text = str([output for _, output in outputs(path)])
    found = re.search(
        r"(?:/home/|/Users/|/root/|/tmp/|site-packages|[A-Z]:\\\\Users)[^\s\"']*", text
    )
    assert found is None
    assert str(FOLDER.parent) not in text


def test_figures_are_vectors_with_caption_and_alternative_text(path):
    for cell, output in outputs(path):
        formats = {kind for kind in output.get("data", {}) if kind.startswith("image/")}
        if not formats:
            continue
        assert formats == {"image/svg+xml"}
        options = cell.metadata.get("mystnb", {})
        assert options.get("image", {}).get("alt"), cell.source
        assert options.get("figure", {}).get("caption"), cell.source
        svg = output.data["image/svg+xml"]
        assert "<dc:date>" not in svg, "a date makes every run another file"


# Tags that a cell may have. Whatever keeps a cell from being run or compared, or lets it fail, is
# not among them; such a cell would have to be listed here, with its reason.
TAGS = {"parameters", "hide-input", "hide-output", "remove-cell", "remove-input", "remove-output"}
OPT_OUTS: dict[tuple[str, int], str] = {}
COMMENTS = re.compile(r"#\s*(?:NBVAL_|PYTEST_VALIDATE)|%%capture|doctest:\s*\+SKIP", re.IGNORECASE)


def opts_out(cell) -> bool:
    return bool(COMMENTS.search(cell.source)) or not set(cell.metadata.get("tags", [])) <= TAGS


def test_no_cell_opts_out_of_the_comparison(path):
    found = {(path.stem, n) for n, cell in enumerate(code_cells(path), 1) if opts_out(cell)}
    assert found == {key for key in OPT_OUTS if key[0] == path.stem}
    for cell in read(path).cells:
        assert cell.cell_type in ("markdown", "code"), "a raw cell is run by nobody"


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("# NBVAL_IGNORE_OUTPUT\n1 + 1", []),
        ("1 + 1  #NBVAL_SKIP", []),
        ("# nbval_raises_exception\n1 / 0", []),
        ("# PYTEST_VALIDATE_IGNORE_OUTPUT\n1 + 1", []),
        ("%%capture\nprint(1)", []),
        ("1 + 1", ["nbval-ignore-output"]),
        ("1 + 1", ["nbval-skip"]),
        ("1 / 0", ["raises-exception"]),
        ("1 + 1", ["skip-execution"]),
    ],
)
def test_opting_out_is_noticed(path, source, tags):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": tags})
    assert opts_out(cell)
    assert not opts_out(nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["parameters"]}))


def test_the_commands_compare_everything(path):
    root = FOLDER.parent
    for name in ("Makefile", ".ci/run", "tests/portable.py", "pyproject.toml"):
        text = (root / name).read_text(encoding="utf-8")
        assert "--nbval-lax" not in text
        assert "nbval-sanitize" not in text
