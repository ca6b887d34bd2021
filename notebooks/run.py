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

import os
import signal

if __name__ == "__main__":  # before the imports below, which take a second
    signal.signal(
        signal.SIGINT,
        lambda *_: (os.write(2, b"Interrupted.\n"), os._exit(130)),
    )

import argparse
import copy
import difflib
import filecmp
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EISDIR
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from provenance import ROOT, commit, mathjax, versions
from traitlets import Unicode
from traitlets.config import Config

from compendium.parameters import ParameterError, read, unknown

HERE = Path(__file__).resolve().parent
REFUSED, FAILED = 2, 1
# What ends a run from outside: Ctrl-C, `kill`, a terminal that is closed (not on Windows).
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


class RefusalError(Exception):
    """What was asked for cannot be run; the text says why and what can be done."""

    def __init__(self, text: object, status: int = REFUSED) -> None:
        super().__init__(text)
        self.status = status


class InterruptError(KeyboardInterrupt):
    """A signal has asked for the end; `status` is the exit status that is usual for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise InterruptError(number)


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


def _literal(path: Path) -> str:
    """Write a path for papermill, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def declared(notebook: Path) -> dict[str, dict[str, str]]:
    """Read the parameters that a notebook declares: type, default and meaning of each."""
    return {
        name: {
            "type": p["inferred_type_name"],
            "default": p["default"],
            "help": p["help"],
        }
        for name, p in papermill.inspect_notebook(
            _literal(notebook)
        ).items()
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


def write_page(
    notebook: nbformat.NotebookNode, title: str, page: Path
) -> None:
    """Write a notebook as a page that reads without a network."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata["title"] = title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source)
    exporter = HTMLExporter(
        template_name="page", extra_template_basedirs=[str(HERE)]
    )
    html, _ = exporter.from_notebook_node(
        notebook, {"mathjax_file": mathjax().name}
    )
    page.write_text(html, encoding="utf-8")


# A run writes into a folder of its own and renames what is whole, so that nothing that was there
# before is ever half overwritten, also not by two runs at once.


def place_script(output: Path, own: Path) -> None:
    """Lay the one script that pages need beside them, unless it is there and whole."""
    script = output / "_static" / mathjax().name
    if script.is_file() and filecmp.cmp(mathjax(), script, shallow=False):
        return
    script.parent.mkdir(exist_ok=True)
    shutil.copyfile(mathjax(), own / script.name)
    os.replace(own / script.name, script)


def is_result(path: Path) -> bool:
    """Tell whether a copy is there that has to be kept: any but one of a run that failed."""
    if not os.path.lexists(path):
        return os.path.lexists(path.with_suffix(".html"))
    try:
        notebook = nbformat.read(path, as_version=4)
        return not notebook.metadata["provenance"]["failure"]
    except Exception:  # whatever cannot be read is not ours to replace
        return True


class QuietKernel(AsyncKernelManager):
    """A kernel whose own messages, as that it is ended while it computes, go to a file.

    What a cell prints is no such message.
    """

    messages = Unicode(os.devnull).tag(config=True)

    async def start_kernel(self, **options: Any) -> None:
        """Start the process."""
        with open(self.messages, "w", encoding="utf-8") as file:
            await super().start_kernel(**options, stderr=file)


def execute(
    source: Path, values: dict[str, Any], computed: Path
) -> tuple[str, int]:
    """Compute a copy of a notebook, and say why it ended early, with the exit status.

    Parameters
    ----------
    source : Path
        The notebook, which is only read.
    values : dict
        The parameters that differ from its own.
    computed : Path
        Where to write the copy, after every cell.

    Returns
    -------
    failure : str
        Why the run ended early; empty if it did not.
    status : int
        0 only if the run came to its end.
    """
    messages = computed.with_suffix(".txt")
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(computed),
            values,
            cwd=source.parent,
            kernel_manager_class=QuietKernel,
            config=Config({"QuietKernel": {"messages": str(messages)}}),
        )
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}", FAILED
    except DeadKernelError:
        return (
            "The Python process died; it may have run out of memory.",
            FAILED,
        )
    except (RuntimeError, NoSuchKernel) as error:
        said = (
            messages.read_text(encoding="utf-8")
            if messages.exists()
            else ""
        )
        why = said.strip().rpartition("\n")[2] or error
        return f"The Python process could not be started: {why}", FAILED
    except InterruptError as interrupt:
        return "Interrupted.", interrupt.status
    return "", 0


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes
    ----------
    notebook
        The computed copy.
    page
        The page beside it; None if it could not be written.
    failure
        Why the run ended early, and where; empty if it came to its end.
    status
        The exit status of the command.
    kept
        The earlier result under the name of this run, if it was kept since this run failed.
    """

    notebook: Path
    page: Path | None
    failure: str
    status: int
    kept: Path | None


def run(source: Path, values: dict[str, Any], output: Path) -> Run:
    """Compute a copy of a notebook, and keep it whether or not it comes to its end.

    A run that fails never takes the place of one that did not: its copy is then named
    ``..._failed``.

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
    Run
        Where the copy is, and what came of it.

    Raises
    ------
    RefusalError
        If nothing can be written there; what was there before is as it was.
    """
    target = output / f"{run_name(source.stem, values)}.ipynb"
    with _refused(output, REFUSED):
        output.mkdir(parents=True, exist_ok=True)
        for path in (target, target.with_suffix(".html")):
            if path.is_dir():
                raise IsADirectoryError(EISDIR, f"{path.name} is a folder")
        folder = tempfile.TemporaryDirectory(
            prefix=".run-", dir=output, ignore_cleanup_errors=True
        )
    with folder as own:
        with _refused(output, REFUSED):
            place_script(output, Path(own))
        with _refused(output, FAILED):
            return _run(source, values, target, Path(own))


@contextmanager
def _refused(output: Path, status: int) -> Iterator[None]:
    """Say in a sentence that a folder cannot be written to."""
    try:
        yield
    except OSError as error:
        why = (
            "it is a file" if output.is_file() else error.strerror or error
        )
        raise RefusalError(
            f"The result cannot be kept in {output}: {why}.\nWhat was there before is as it was. "
            "Make room there, or name another folder: --output DIR.",
            status,
        ) from None


def _run(
    source: Path, values: dict[str, Any], target: Path, own: Path
) -> Run:
    """Compute and write in a folder of this run's own; rename last."""
    draft = own / "run.ipynb"
    failure, status = execute(source, values, draft)
    try:
        notebook = nbformat.read(draft, as_version=4)
    except (
        FileNotFoundError,
        ValueError,
    ):  # ended before or while it was written
        raise RefusalError(
            f"There is nothing to keep of the run. {failure}", status
        ) from None
    if failure:
        failure = f"{stopped_at(notebook)}\n{failure}"
    defaults = {
        name: parameter["default"]
        for name, parameter in declared(source).items()
    }
    given = {name: repr(value) for name, value in values.items()}
    record(notebook, source, defaults | given, failure)
    nbformat.write(notebook, draft)

    draft_of_page = own / "run.html"
    try:
        write_page(notebook, target.stem, draft_of_page)
    except OSError as error:
        failure = (
            failure or f"\nThe page could not be written: {error.strerror}"
        )
        status = status or FAILED
        draft_of_page.unlink(missing_ok=True)
    kept = target if failure and is_result(target) else None
    if kept:
        target = target.with_stem(f"{target.stem}_failed")
    page = target.with_suffix(".html")
    os.replace(draft, target)
    if draft_of_page.exists():
        os.replace(draft_of_page, page)
    else:
        page.unlink(missing_ok=True)  # that of another run
        page = None
    return Run(target, page, failure, status, kept)


# --- the command line ----------------------------------------------------------------------------


PAIR = ("-p", "--parameter")


def _join_pairs(arguments: Sequence[str]) -> list[str]:
    """Write ``-p NAME VALUE`` as one argument, since argparse takes ``-1e-3`` for an option."""
    joined, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in PAIR and rest and not _is_option(rest[0]):
            argument = f"--parameter={rest.pop(0)}"
            whole = "=" in argument.removeprefix("--parameter=")
            if not whole and rest and not _is_option(rest[0]):
                argument += f"={rest.pop(0)}"
        joined.append(argument)
    return joined


def _is_option(argument: str) -> bool:
    """Tell an option of this command from a value that begins with a minus sign."""
    return argument.startswith("--") or argument[:2] in ("-p", "-h")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(
            "needs a name and a value, for instance -p tau 2 or -p tau=2"
        )
    return name.strip(), value.strip()


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Run a notebook with other parameters; NAME --help lists those that it has.",
        add_help=False,
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="the notebook"
    )
    parser.add_argument(
        *PAIR,
        type=_pair,
        action="append",
        default=[],
        metavar="NAME VALUE",
        help="a parameter and its value, also NAME=VALUE; may be repeated",
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
    return parser


def _report(done: Run) -> None:
    """Say where the copy is, and why the run ended early if it did."""
    print(f"Notebook: {done.notebook}")
    if done.page:
        print(f"Page:     {done.page}")
    if done.failure:
        print(f"\nThe run failed {done.failure}", file=sys.stderr)
    if done.kept:
        print(
            f"The earlier result is as it was: {done.kept}", file=sys.stderr
        )


def main(
    arguments: Sequence[str] | None = None, folder: Path = HERE
) -> int:
    """Do what the command line asks for; the exit status is 0 only if a run came to its end."""
    parser = _parser()
    options = parser.parse_args(
        _join_pairs(sys.argv[1:] if arguments is None else arguments)
    )
    before = {
        number: signal.signal(number, _interrupt) for number in SIGNALS
    }
    try:
        if options.name is None and options.parameter:
            raise RefusalError(
                "Which notebook? Its name comes first, for instance: 03_two_sites -p tau 2."
            )
        if options.help or options.name is None:
            print(_help(parser, options.name, folder))
            return 0
        notebook = find(options.name, folder)
        values = validate(
            options.parameter, declared(notebook), notebook.stem
        )
        done = run(notebook, values, options.output)
    except RefusalError as refusal:
        print(refusal, file=sys.stderr)
        return refusal.status
    except InterruptError as interrupt:
        print(
            "Interrupted. What was there before is as it was.",
            file=sys.stderr,
        )
        return interrupt.status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _report(done)
    return done.status


if __name__ == "__main__":
    sys.exit(main())
