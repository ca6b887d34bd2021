"""Run a notebook again with other parameters, and keep the result as a notebook and as a page.

Examples
--------
::

    python notebooks/run.py                       # which notebooks there are
    python notebooks/run.py 03_two_sites --help   # which parameters one has
    python notebooks/run.py 03_two_sites -p tau 2 -p seed 7

The notebook itself is never written to.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import hashlib
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from provenance import ROOT, commit, mathjax, versions
from traitlets.config import Config

from compendium.parameters import ParameterError, read, unknown

HERE = Path(__file__).resolve().parent
REFUSED, FAILED, INTERRUPTED = 2, 1, 130


class RefusalError(Exception):
    """What was asked for cannot be run; the text says why and what can be done."""


# --- which notebook, which parameters ---------------------------------------------------------


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


def find(name: str, folder: Path) -> Path:
    """Find a notebook by its name, with or without its ending.

    Parameters
    ----------
    name : str
        For instance ``03_two_sites``, ``03_two_sites.ipynb`` or the path to it.
    folder : Path
        Where the notebooks are.

    Returns
    -------
    Path
        The notebook.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    path = Path(name)
    stem = path.name.removesuffix(".ipynb")
    if stem in known and (
        path.parent == Path() or path.parent.resolve() == folder.resolve()
    ):
        return known[stem]
    raise RefusalError(
        f"There is no notebook {name!r}{_nearest(stem, known)}\nThere are: {', '.join(known)}."
    )


def declared(notebook: Path) -> dict[str, dict[str, str]]:
    """Read the parameters that a notebook declares: type, default and meaning of each."""
    return {
        name: {
            "type": p["inferred_type_name"],
            "default": p["default"],
            "help": p["help"],
        }
        for name, p in papermill.inspect_notebook(notebook).items()
    }


def title(notebook: Path) -> str:
    """Give the heading that a notebook begins with."""
    first = nbformat.read(notebook, as_version=4).cells[0].source
    return first.partition("\n")[0].lstrip("# ").strip()


def validate(
    pairs: Sequence[tuple[str, str]],
    known: dict[str, dict[str, str]],
    notebook: str,
) -> dict[str, Any]:
    """Check parameters against those that the notebook declares, and give their values.

    Parameters
    ----------
    pairs : sequence of (name, text)
        As given on the command line.
    known : dict
        What `declared` returns.
    notebook : str
        Its name, for the message.

    Returns
    -------
    dict
        The values, in the order in which the notebook declares them.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in known:
            raise RefusalError(unknown(name, known, notebook))
        if name in values:
            raise RefusalError(f"{name} is given twice.")
        try:
            values[name] = read(text, known[name]["type"])
        except ParameterError as refusal:
            raise RefusalError(
                f"{name} {refusal}.\nIt is: {known[name]['help']}."
            ) from None
    return {name: values[name] for name in known if name in values}


def run_name(notebook: str, values: dict[str, Any]) -> str:
    """Name a run after its notebook and parameters, in letters that every file system takes.

    Examples
    --------
    >>> run_name("03_two_sites", {"tau": 2.0, "nodes": [1, 5]})
    '03_two_sites_tau=2.0_nodes=1,5'
    """
    texts = [
        f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}"
        for k, v in values.items()
    ]
    full = "_".join([notebook, *texts])
    safe = re.sub(r"[^\w.,=+-]", "-", full, flags=re.ASCII)[:100]
    # What was changed or cut could make two runs share a name, so a digest tells them apart.
    return (
        safe
        if safe == full
        else f"{safe}_{hashlib.sha256(full.encode()).hexdigest()[:8]}"
    )


# --- running, and what is kept -------------------------------------------------------------------


def stopped_at(notebook: nbformat.NotebookNode) -> str:
    """Name the cell at which a run ended: its number, as in ``In [3]``, and its first line."""
    begun = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code"
        and cell.metadata.get("papermill", {}).get("start_time")
    ]
    if not begun:
        return "before the first cell"
    return f"at In [{len(begun)}]: {begun[-1].source.strip().partition(chr(10))[0]}"


def record(
    notebook: nbformat.NotebookNode,
    source: Path,
    parameters: dict[str, str],
    failure: str,
) -> None:
    """Write into a computed copy what it was computed with, for readers and for programs."""
    facts = {
        "notebook": source.name,
        "commit": commit(),
        "computed": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **versions(),
    }
    notebook.metadata["provenance"] = {
        "parameters": parameters,
        "failure": failure,
        **facts,
    }
    rows = [
        *((f"parameter `{k}`", f"`{v}`") for k, v in parameters.items()),
        *facts.items(),
    ]
    cells = [(name, value.replace("|", "\\|")) for name, value in rows]
    table = "\n".join(f"| {name} | {value} |" for name, value in cells)
    stop = (
        f"**The run failed**\n\n```text\n{failure}\n```\n\n"
        if failure
        else ""
    )
    notebook.cells.append(
        nbformat.v4.new_markdown_cell(
            f"---\n\n## How this copy was computed\n\n{stop}| | |\n|:--|:--|\n{table}"
        )
    )


def plain(text: str) -> str:
    """Reduce the book's roles and labels to plain Markdown, which is all that a page renders.

    Examples
    --------
    >>> plain("As {numref}`fig-mode` of {doc}`the chapter <01_integral>` shows")
    'As fig-mode of the chapter shows'
    """
    text = re.sub(r"\{[\w:]+\}`([^`<]+?)(?:\s*<[^`>]*>)?`", r"\1", text)
    return re.sub(r"^\$\$ *\([\w-]+\)$", "$$", text, flags=re.MULTILINE)


def write_page(notebook: nbformat.NotebookNode, page: Path) -> None:
    """Write a notebook as a page that reads without a network."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata["title"] = page.stem
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source)
    static = page.parent / "_static" / mathjax().name
    if not static.exists():
        static.parent.mkdir(exist_ok=True)
        shutil.copyfile(mathjax(), static)
    exporter = HTMLExporter(
        template_name="page", extra_template_basedirs=[str(HERE)]
    )
    html, _ = exporter.from_notebook_node(
        notebook, {"mathjax_file": static.name}
    )
    page.write_text(html, encoding="utf-8")


def run(
    source: Path, values: dict[str, Any], output: Path
) -> tuple[Path, str]:
    """Compute a copy of a notebook, and keep it whether or not it comes to its end.

    Parameters
    ----------
    source : Path
        The notebook, which is only read.
    values : dict
        The parameters that differ from its own.
    output : Path
        The folder to write to.

    Returns
    -------
    page : Path
        The page; the computed notebook lies beside it.
    failure : str
        Which cell failed and why; empty if none did.
    """
    output.mkdir(parents=True, exist_ok=True)
    computed = output / f"{run_name(source.stem, values)}.ipynb"
    failure = ""
    try:
        papermill.execute_notebook(
            source,
            computed,
            values,
            cwd=source.parent,
            # Encrypts the messages to the kernel, and so spares the reader its warning.
            config=Config(
                {"KernelManager": {"transport_encryption": "auto"}}
            ),
        )
    except PapermillExecutionError as error:
        failure = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        failure = "The Python process died; it may have run out of memory."
    except KeyboardInterrupt:
        failure = "Interrupted."
    notebook = nbformat.read(computed, as_version=4)
    if failure:
        failure = f"{stopped_at(notebook)}\n{failure}"
    known = {
        name: parameter["default"]
        for name, parameter in declared(source).items()
    }
    given = {name: repr(value) for name, value in values.items()}
    record(notebook, source, known | given, failure)
    nbformat.write(notebook, computed)
    page = computed.with_suffix(".html")
    write_page(notebook, page)
    return page, failure


# --- the command line ----------------------------------------------------------------------------


def _join_pairs(arguments: Sequence[str]) -> list[str]:
    """Write ``-p NAME VALUE`` as one argument, since argparse takes ``-1e-3`` for an option."""
    joined, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-p", "--parameter") and len(rest) >= 2:
            argument = f"--parameter={rest.pop(0)}={rest.pop(0)}"
        joined.append(argument)
    return joined


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(
            "needs a name and a value, for instance -p tau 2"
        )
    return name, value


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _help(
    parser: argparse.ArgumentParser, name: str | None, folder: Path
) -> str:
    if name is None:
        names = [
            (path.stem, title(path))
            for path in sorted(folder.glob("*.ipynb"))
        ]
        return f"{parser.format_help()}\nnotebooks:\n{_table(names)}"
    notebook = find(name, folder)
    rows = [("name", "type", "default", "meaning")]
    rows += [
        (k, p["type"], p["default"], p["help"])
        for k, p in declared(notebook).items()
    ]
    return f"{notebook.stem}: {title(notebook)}\n\n{_table(rows)}"


def main(
    arguments: Sequence[str] | None = None, folder: Path = HERE
) -> int:
    """Do what the command line asks for; the exit status is 0 only if a run came to its end."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Run a notebook with other parameters; NAME --help lists those that it has.",
        add_help=False,
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="the notebook"
    )
    parser.add_argument(
        "-p",
        "--parameter",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME VALUE",
        help="a parameter and its value; may be repeated",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "runs",
        metavar="DIR",
        help="the folder to write to; runs/ of the repository if not given",
    )
    parser.add_argument(
        "-h", "--help", action="store_true", help="say this, and end"
    )
    options = parser.parse_args(
        _join_pairs(sys.argv[1:] if arguments is None else arguments)
    )
    try:
        if options.help or options.name is None:
            print(_help(parser, options.name, folder))
            return 0
        notebook = find(options.name, folder)
        values = validate(
            options.parameter, declared(notebook), notebook.stem
        )
    except RefusalError as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    page, failure = run(notebook, values, options.output)
    print(f"Notebook: {page.with_suffix('.ipynb')}\nPage:     {page}")
    if failure:
        print(f"\nThe run failed {failure}", file=sys.stderr)
        return INTERRUPTED if failure.endswith("Interrupted.") else FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
