"""Questions and answers as files in a folder: over SFTP, a USB stick, or a shared drive.

.. code-block:: bash

    # the coordinator
    python -m laplace.engines.files ask FOLDER --manifest manifest.toml --sites north south
    # each site, with its gate open
    python -m laplace.engines.files answer FOLDER --site north --gate north.socket
    # the coordinator, again and again, until the fit is there
    python -m laplace.engines.files ask FOLDER

``fit`` does the same as ``ask``, and waits for the answers; ``answer --watch`` waits for questions.
A folder that is carried by hand needs neither. The process can be ended at any time: called again,
it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from laplace.engines import letters, manifest
from laplace.engines.asking import Run, SiteRefusedError, by_letters, fit_run
from laplace.engines.gate import exchange
from laplace.engines.policy import read_key
from laplace.fit import AUTO
from laplace.result import Fit

QUESTIONS, ANSWERS, RUN, RESULT = "questions", "answers", "run.json", "result.json"
TROUBLE = "trouble.txt"
# How often a folder is looked into, in seconds; and how often an answer may look half written.
PAUSE = 0.05
HALF_WRITTEN = 50


class WaitingError(Exception):
    """Answers that are not there yet.

    Attributes
    ----------
    number : int
        Number of the question.
    sites : list of str
        Whose answers.
    """

    def __init__(self, number: int, sites: list[str]) -> None:
        super().__init__(
            f"question {number} waits for {', '.join(sites)}: carry the files of {QUESTIONS}/ to "
            f"them, and theirs of {ANSWERS}/ back"
        )
        self.number = number
        self.sites = sites


def write(path: Path, text: str) -> None:
    """Write a file so that nobody sees it half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def name_of(number: int, site: str) -> str:
    """Return the name of the file of a question, or of its answer."""
    return f"{number:04d}.{site}.json"


class Folder:
    """A folder in which letters lie.

    Parameters
    ----------
    path : path
        The folder.
    patience : float, optional
        How long to wait for answers, in seconds; by default not at all.
    """

    def __init__(self, path: str | Path, patience: float | None = None) -> None:
        self.path = Path(path)
        self._patience = patience

    @property
    def run(self) -> Run:
        """The run that was begun in the folder."""
        try:
            return Run.from_json((self.path / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(
                f"no run was begun in {self.path}: give --manifest and --sites"
            ) from None

    def begin(self, run: Run) -> None:
        """Begin a run; what lies there of an older one is put aside."""
        if (self.path / RUN).exists():
            old = self.path / f"before-{self.run.run}"
            old.mkdir()
            for name in (RUN, QUESTIONS, ANSWERS, RESULT, TROUBLE):
                if (self.path / name).exists():
                    (self.path / name).rename(old / name)
        write(self.path / RUN, run.to_json())

    def leave(self, number: int, asked: dict[str, str]) -> None:
        """Leave letters in the folder.

        Raises
        ------
        ValueError
            If another question lies there under the same number.
        """
        for site, text in asked.items():
            path = self.path / QUESTIONS / name_of(number, site)
            if not path.exists():
                write(path, text)
            elif path.read_text(encoding="utf-8") != text:
                raise ValueError(
                    f"{path} holds another question than the fit asks now: the answers before it, "
                    "the keys, or the version of a package have changed. Begin a new run"
                )

    def answered(self, number: int, site: str) -> str | None:
        """Return the answer of a site that lies in the folder, or None."""
        path = self.path / ANSWERS / name_of(number, site)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def carry(self, number: int, asked: dict[str, str]) -> dict[str, str]:
        """Leave letters in the folder, and return their answers.

        Raises
        ------
        WaitingError
            If some are not there, or not in time.
        ValueError
            If another question lies there under the same number.
        """
        self.leave(number, asked)
        until = time.monotonic() + (self._patience or 0.0)
        found: dict[str, str] = {}
        half_written = 0
        while True:
            for site in asked.keys() - found.keys():
                text = self.answered(number, site)
                if text is not None:
                    half_written += not _is_whole(text)
                    if _is_whole(text) or half_written > HALF_WRITTEN or not self._patience:
                        found[site] = text
            missing = [site for site in asked if site not in found]
            if not missing:
                return found
            if time.monotonic() >= until:
                raise WaitingError(number, missing)
            time.sleep(PAUSE)

    def fit(self, keys: dict[str, bytes]) -> Fit:
        """Fit as far as the answers in the folder go, and write down the result."""
        run = self.run
        fit = fit_run(run, by_letters(run, keys, self.carry))
        keep_result(self, fit, run)
        return fit

    def answer(self, site: str, gate: str | Path) -> int:
        """Hand the open questions of a site to its gate; return how many were answered."""
        count = 0
        for path in sorted((self.path / QUESTIONS).glob(f"*.{site}.json")):
            reply = self.path / ANSWERS / path.name
            if not reply.exists():
                write(reply, exchange(gate, path.read_text(encoding="utf-8", errors="replace")))
                count += 1
        return count


def keep_result(folder: Folder, fit: Fit, run: Run) -> None:
    """Write down the result of a run in its folder."""
    write(folder.path / RESULT, json.dumps(result_of(fit, run), indent=2) + "\n")


def fit_of(folder: str | Path, keys: str | Path | None = None) -> Fit:
    """Return the fit that was made in a folder, from the answers that lie there.

    Parameters
    ----------
    folder : path
        The coordinator's folder.
    keys : path, optional
        Folder with SITE.key for each site; none where letters were not sealed.

    Returns
    -------
    Fit
        `laplace.engines.manifest.Manifest.covariates` turns a table into what its `predict` takes.

    Raises
    ------
    WaitingError
        If the fit, or what is asked of it later, needs an answer that is not there.
    SiteRefusedError, LetterError, ValueError
        As the fit itself.
    """
    place = Folder(folder)
    return place.fit(keys_of(keys, place.run.sites))


def _is_whole(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def result_of(fit: Fit, run: Run) -> dict[str, Any]:
    """Return the estimates of a fit, for JSON; numbers are exact."""
    names = list(fit.params.index)
    return {
        "study": run.study,
        "manifest": run.manifest,
        "run": run.run,
        "sites": list(run.sites),
        "converged": fit.converged,
        "nodes": fit.nodes,
        "estimates": dict(zip(names, fit.params.tolist(), strict=True)),
        "standard_errors": {
            name: None if se != se else se for name, se in zip(names, fit.bse.tolist(), strict=True)
        },
        "log_likelihood": fit.llf,
        **({"restricted_criterion": fit.reml_criterion} if run.reml else {}),
        "questions": fit.rounds,
    }


def keys_of(folder: str | Path | None, sites: Sequence[str]) -> dict[str, bytes]:
    """Return the keys in a folder, SITE.key each; empty ones without a folder."""
    if folder is None:
        return {}
    return {site: read_key(Path(folder) / f"{site}.key") for site in sites}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0; 1 where something is wrong; 2 where answers are not there yet.
    """
    given = _parser().parse_args(arguments)
    try:
        return _answer(given) if given.command == "answer" else _ask(given)
    except WaitingError as waiting:
        print(f"Waiting: {waiting}.")
        return 2
    except letters.LetterError as error:
        print(
            f"An answer cannot be used: {error}. If nothing is wrong here, delete its file in "
            f"{Path(given.folder) / ANSWERS}, and have it made again."
        )
        return 1
    except SiteRefusedError as error:
        print(f"{error}: by --manifest and --sites with --again, or by --without", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Ended; call it again to go on.")
        return 1


def _ask(given: argparse.Namespace) -> int:
    folder = Folder(given.folder, given.patience if given.command == "fit" else None)
    if given.without:
        folder.begin(folder.run.without(given.without))
    elif given.manifest or given.sites:
        if not (given.manifest and given.sites):
            raise ValueError("a run needs both --manifest and --sites")
        if (folder.path / RUN).exists() and not given.again:
            raise ValueError(
                f"a run was begun in {folder.path}: leave out --manifest and --sites to go on with "
                "it, or add --again to begin anew"
            )
        agreed = manifest.read(given.manifest)
        manifest.check_package(agreed)
        options = {name: getattr(given, name) for name in OPTIONS}
        folder.begin(Run.new(agreed.study, agreed.digest, given.sites, **options))
    if given.only_begin:
        print(f"A run is begun in {folder.path}.")
        return 0
    fit = folder.fit(keys_of(given.keys, folder.run.sites))
    where = f"The estimates, to the last digit, are in {folder.path / RESULT}."
    try:
        summary = str(fit.summary())  # an interval of tau takes questions of its own
    except SiteRefusedError as refused:
        print(where)
        print(f"The fit is done, but not its summary: {refused}", file=sys.stderr)
        return 1
    print(f"{summary}\n\n{where}")
    return 0


def _answer(given: argparse.Namespace) -> int:
    if not given.site or not given.gate:
        raise ValueError("answer needs --site and --gate")
    folder, count = Folder(given.folder), 0
    silent = False
    while True:
        try:
            count += folder.answer(given.site, given.gate)
            silent = False
        except ConnectionError as error:
            if not given.watch:
                raise
            if not silent:  # said once; the gate may be opened again at any time
                print(f"{error}; the question waits", file=sys.stderr, flush=True)
            silent = True
        if not given.watch:
            print(
                f"Letters answered: {count}. A refusal is an answer, too; the log of the gate says "
                "which they were."
            )
            return 0
        time.sleep(PAUSE if not silent else 1.0)


OPTIONS = ("nodes", "tau", "penalty", "strength", "starts", "reml")


def _nodes(text: str) -> int | str:
    return text if text == AUTO else int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m laplace.engines.files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("ask", "answer", "fit"))
    parser.add_argument("folder", help="where the letters lie")
    begin = parser.add_argument_group("to begin a run (ask, fit)")
    begin.add_argument("--manifest", help="what was agreed on, a TOML file")
    begin.add_argument("--sites", nargs="+", help="names of the sites")
    begin.add_argument("--nodes", type=_nodes, default=AUTO, help="as in laplace.fit_sites")
    begin.add_argument("--tau", type=float, help="fixes tau")
    begin.add_argument("--penalty", choices=("ridge", "soft"))
    begin.add_argument("--strength", type=float)
    begin.add_argument(
        "--reml", action="store_true", help="estimate tau by the restricted criterion"
    )
    begin.add_argument("--starts", action="store_true", help="start from the sites' own fits")
    begin.add_argument("--without", nargs="+", help="begin again without these sites")
    begin.add_argument(
        "--only-begin", action="store_true", help="begin a run that Flower is to carry"
    )
    begin.add_argument("--again", action="store_true", help="begin anew; the old run is put aside")
    parser.add_argument("--keys", help="folder with SITE.key for each site (ask, fit)")
    parser.add_argument(
        "--patience", type=float, default=3600.0, help="seconds to wait for an answer (fit)"
    )
    answer = parser.add_argument_group("to answer")
    answer.add_argument("--site", help="name of the site")
    answer.add_argument("--gate", help="socket of its gate")
    answer.add_argument("--watch", action="store_true", help="wait for further questions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
