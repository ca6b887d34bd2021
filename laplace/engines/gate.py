"""The gate of a site: the process that alone opens the rows, and answers under the site's policy.

.. code-block:: bash

    python -m laplace.engines.gate preview north.toml    # what would be sent, in words
    python -m laplace.engines.gate approve north.toml    # the same, and agree to it
    python -m laplace.engines.gate serve north.toml --socket north.socket
    python -m laplace.engines.gate log north.toml        # what was asked, and answered

What talks to the outside, such as ``python -m laplace.engines.files answer``, hands letters to the
socket and carries answers away; it never opens the data.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import socketserver
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from laplace.answers import numbers_of
from laplace.engines import audit, letters, manifest, policy, rules
from laplace.engines.blunted import blunted
from laplace.engines.own import Own
from laplace.engines.preview import preview
from laplace.engines.thresholds import strictest
from laplace.messages import from_json, to_json
from laplace.together import AskTogether, Together, each_of, paired

Approve = Callable[[str], bool]
PARQUET = (".parquet", ".pq")
# A peer that sends half a letter is not waited for any longer, in seconds.
PATIENCE = 60.0


class Gate:
    """A site's gate.

    Parameters
    ----------
    given : Policy
        The site's policy.
    approve : callable, optional
        Asks somebody at the site about one question, in words; by default nobody agrees.

    Raises
    ------
    ValueError
        If the file or the manifest is not as agreed on, or the rows have changed under the name of
        the data set.
    LogError
        If the log cannot be written.
    """

    def __init__(self, given: policy.Policy, approve: Approve | None = None) -> None:
        self.policy = given
        self.manifest = manifest.read(given.manifest)
        manifest.check_package(self.manifest)
        frame = table(given.file)
        site = self.manifest.site(frame)
        self._frame_digest = _digest_of_rows(frame)
        limits = strictest(given.rules, self.manifest.rules)
        self.rows = rules.Rows(site, self.manifest, limits)
        self._place = Own(site)
        self._approve = approve
        self.log = audit.Log(given.log)
        try:
            self._open()
        except ValueError:
            self.log.close()
            raise

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def _open(self) -> None:
        """Read what was asked about this data set before."""
        self._past = rules.Past()
        self._letters: dict[tuple[str, int], tuple[str, str]] = {}
        self._last: dict[str, int] = {}
        self._repeated: set[str] = set()
        self._answers = self._untold = 0
        mine = [e for e in self.log.entries if e.get("data") == self.policy.data]
        for entry in mine:
            if entry["kind"] in ("answered", "refused"):
                self._remember(entry)
            elif entry["kind"] == "repeated":
                self._repeated.add(entry["of"])
            elif entry["kind"] == "approved":
                self._looked_at()
        salt, known = self._known_rows(mine)
        now = hashlib.blake2b(self._frame_digest, key=salt.encode(), digest_size=32).hexdigest()
        if known not in ("", now):
            raise ValueError(
                f"the rows of {self.policy.file.name} have changed since they were first asked "
                f"about as {self.policy.data!r}: the difference of two answers would be the rows "
                "that changed. Restore the file; or, if the new rows may be asked about as others, "
                "give the data set a new name in the policy, which begins a new budget"
            )
        self.log.add("opened", data=self.policy.data, salt=salt, rows=now)

    def _known_rows(self, mine: list[dict[str, Any]]) -> tuple[str, str]:
        """Return the salt and the digest of the rows when they were first opened."""
        for entry in mine:
            if entry["kind"] == "opened":
                return entry["salt"], entry["rows"]
        return secrets.token_hex(16), ""

    def _remember(self, entry: dict[str, Any]) -> None:
        if entry["kind"] == "refused":
            self._past.refusals += entry["rule"] not in UNCOUNTED
        else:
            question = from_json(entry["question"])
            letter, answer = letters.content_of(entry["answer"])
            if letter["manifest"] == self.manifest.digest:
                for one, its in paired(question, answer):
                    self._past.add(to_json(one), one, its)
            else:  # of another study of the same rows: the numbers that were sent still count
                self._past.numbers += numbers_of(answer)
        if entry["run"]:
            place = entry["run"], entry["place"]
            self._letters[place] = entry["of"], entry["answer"]
            if entry["kind"] == "answered":
                self._answers += 1
                self._last[place[0]] = max(self._last.get(place[0], 0), place[1])

    # approval -----------------------------------------------------------------------------------

    @property
    def terms(self) -> str:
        """What is agreed to, which is the manifest and the policy."""
        return hashlib.sha256((self.manifest.digest + self.policy.digest).encode()).hexdigest()

    @property
    def approved(self) -> bool:
        """Whether somebody at the site agreed to the manifest and the policy."""
        if self.policy.approve != "once":
            return True
        return any(e["kind"] == "approved" and e["terms"] == self.terms for e in self.log.entries)

    def approve(self) -> None:
        """Write down that somebody at the site agrees to the manifest and the policy."""
        self.log.add("approved", data=self.policy.data, terms=self.terms)
        self._looked_at()

    def _looked_at(self) -> None:
        """Begin to count anew, as somebody at the site has looked."""
        self._past.refusals = self._answers = self._untold = 0

    def preview(self) -> str:
        """Return in words what would be sent."""
        return preview(self.rows, self.policy, len(self._past.answered), self._past.numbers)

    # answers ------------------------------------------------------------------------------------

    def answer(self, text: str) -> str:
        """Return the letter that answers a letter; whatever came, there is an answer.

        Raises
        ------
        LogError
            If the log cannot be written: nothing leaves the gate then.
        """
        try:
            letter, question = letters.read(text, letters.QUESTION, self.policy.key)
        except letters.LetterError as error:
            return self._refuse(text, _nobody(), rules.RefusedError("letter", str(error)))
        place = letter["run"], letter["number"]
        try:
            self._check_letter(letter)
            if place in self._letters:
                asked, answered = self._letters[place]
                if asked != letters.digest_of(text):
                    raise rules.RefusedError(
                        "letter", "another question came under the same number"
                    )
                if asked not in self._repeated:  # however often it comes, it is written down once
                    self.log.add("repeated", data=self.policy.data, of=asked)
                    self._repeated.add(asked)
                return answered
            if letter["number"] != self._last.get(place[0], 0) + 1:
                raise rules.RefusedError(
                    "letter", "the questions of a run come one after the other"
                )
            written = to_json(question)
            answer, past = self._answered(question)
            self._check_approval(question)
        except rules.RefusedError as refused:
            return self._refuse(text, letter, refused)
        self._past = past
        reply = letters.answer_letter(letter, text, answer, self.log.last, self.policy.key)
        self._write("answered", text, letter, reply, question=written)
        self._letters[place] = letters.digest_of(text), reply
        self._last[place[0]] = place[1]
        self._answers += 1
        return reply

    def _check_letter(self, letter: dict[str, Any]) -> None:
        for name, own in (
            ("site", self.policy.site),
            ("manifest", self.manifest.digest),
            ("study", self.manifest.study),
        ):
            if letter[name] != own:
                raise rules.RefusedError("letter", f"it is for another {name}")

    def _answered(self, question: Any) -> tuple[Any, rules.Past]:
        """Return the answer, and what is known once it was sent; several are answered or none."""
        past, answers = self._past.copy(), []
        asked, most = each_of(question), MOST_AGAIN * self.manifest.rounds
        if self._answers >= most:
            raise rules.RefusedError(
                "rounds",
                f"{most} letters were answered, {MOST_AGAIN} times as many as the manifest has "
                "questions; look at the log, and approve again",
            )
        if not 1 <= len(asked) <= MOST_TOGETHER:
            raise rules.RefusedError("form", f"a letter holds from 1 to {MOST_TOGETHER} questions")
        for one in asked:
            written = to_json(one)
            rules.check(one, written, self.rows, self.policy.questions, past)
            answers.append(self._computed(one))
            rules.check_budget(answers[-1], written, self.rows, past)
            past.add(written, one, answers[-1])
        several = isinstance(question, AskTogether)
        return Together(tuple(answers)) if several else answers[0], past

    def _check_approval(self, question: Any) -> None:
        if not self.approved:
            raise rules.RefusedError(
                "approval",
                "nobody at the site agreed to this manifest under this policy yet; "
                "look at the preview, and approve it",
            )
        if self.policy.approve == "each":
            words = "\n".join(
                f"{type(one).__name__}: {to_json(one)[:SHOWN_OF_QUESTION]}"
                for one in each_of(question)
            )
            if self._approve is None or not self._approve(words):
                raise rules.RefusedError("approval", "nobody at the site agreed to this question")

    def _computed(self, question: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                exact = self._place.answer(question)
                return blunted(question, exact, self.rows, self.policy.labels_key)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise rules.RefusedError(
                "form", f"it cannot be computed: {type(error).__name__}"
            ) from None

    def _refuse(self, text: str, letter: dict[str, Any], refused: rules.RefusedError) -> str:
        reply = letters.answer_letter(letter, text, None, self.log.last, self.policy.key)
        if refused.rule in UNTOLD:
            self._untold += 1
            if self._untold == MOST_UNTOLD + 1:
                self.log.add("silent", data=self.policy.data, why=SILENT)
            if self._untold > MOST_UNTOLD:
                return reply
        self._write("refused", text, letter, reply, rule=refused.rule, why=str(refused))
        self._past.refusals += refused.rule not in UNCOUNTED
        return reply

    def _write(
        self, kind: str, text: str, letter: dict[str, Any], reply: str, **parts: str
    ) -> None:
        answered = kind == "answered"
        shown = {} if answered else {"letter": ascii(text[:SHOWN])}
        self.log.add(
            kind,
            data=self.policy.data,
            run=letter["run"] if answered else "",
            place=letter["number"],
            of=letters.digest_of(text),
            answer=reply,
            **shown,
            **parts,
        )


# Letters that cannot be read, and questions that wait for somebody, tell nothing of the rows.
UNCOUNTED = ("letter", "approval")
# Nor do questions to a gate that was closed. So many of these are written down, and no more before
# somebody has looked, so that nobody can fill the disk with them.
UNTOLD = (*UNCOUNTED, "most_refusals")
MOST_UNTOLD = 200
SILENT = (
    f"{MOST_UNTOLD} letters were refused that told nothing of the rows; further ones are refused, "
    "and not written down before the gate is opened or approved again"
)
# What was answered may be asked again, as for a fit that is made again; so many times as often.
MOST_AGAIN = 20
# So much of a letter that is refused is kept, in characters; and of a question that somebody has to
# agree to, shown.
SHOWN = 2000
SHOWN_OF_QUESTION = 400
# Questions in one letter, at most; a fit puts no more than this.
MOST_TOGETHER = 8


def _nobody() -> dict[str, Any]:
    """Return the parts of an answer to what is no letter."""
    return {"study": "", "manifest": "", "run": "", "number": 1, "site": ""}


def _digest_of_rows(frame: pd.DataFrame) -> bytes:
    """Return a digest of all rows and columns of a file; it stays in this process."""
    digest = hashlib.blake2b("\0".join(map(str, frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.digest()


def table(path: Path) -> pd.DataFrame:
    """Return the rows of a file; rows are numbered as in the file, the first below the names.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        if path.suffix.lower() in PARQUET:
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{path.name} cannot be read: {error!s:.300}") from None
    return frame.set_axis(pd.RangeIndex(2, len(frame) + 2, name="line"))


# the process --------------------------------------------------------------------------------------


def exchange(path: str | Path, text: str, patience: float = 600.0) -> str:
    """Hand a letter to the gate behind a socket, and return its answer.

    Raises
    ------
    ConnectionError
        If there is no gate, or it went away.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            connection.connect(str(path))
            connection.sendall(text.replace("\n", " ").encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply: bytes = stream.readline()
    except OSError as error:
        raise ConnectionError(f"no gate answers at {path}: {error}; start it by serve") from None
    if not reply.endswith(b"\n"):
        raise ConnectionError(f"the gate at {path} gave no answer; look at its terminal")
    return reply.decode().rstrip("\n")


class _Handler(socketserver.StreamRequestHandler):
    """Reads a letter, a line, and writes its answer."""

    timeout = PATIENCE

    def handle(self) -> None:
        """Answer one letter."""
        line = self.rfile.readline(4 * letters.LONGEST)
        if not line.endswith(b"\n"):
            return  # half a letter
        answer: Callable[[str], str] = self.server.answer  # type: ignore[attr-defined]
        try:
            reply = answer(line.decode("utf-8", errors="replace").rstrip("\n"))
        except audit.LogError as error:
            print(error, file=sys.stderr)
            return
        self.wfile.write(reply.encode() + b"\n")


class Server(socketserver.UnixStreamServer):
    """Answers letters at a Unix socket, one after the other.

    Only this user can reach it, and the members of a group of users, where one is given.
    """

    def __init__(self, gate: Gate, path: Path, group: str | None = None) -> None:
        self.answer = gate.answer
        if path.exists():
            try:
                exchange(path, "")
            except ConnectionError:
                path.unlink()  # left by a process that was killed
            else:
                raise ValueError(f"a gate answers at {path} already; end it before")
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        except OSError as error:
            raise ValueError(
                f"no socket can be made at {path}: {error}; its path may be too long"
            ) from None
        finally:
            os.umask(before)
        if group is not None:
            try:
                shutil.chown(path, group=group)
            except (LookupError, OSError) as error:
                path.unlink()
                raise ValueError(f"the socket cannot be given to {group!r}: {error}") from None
            os.chmod(path, 0o660)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say that a peer went away; the gate stays open."""
        print(f"a connection ended: {sys.exc_info()[1]!r:.200}", file=sys.stderr)


def _ask_terminal(words: str) -> bool:
    """Ask somebody at the terminal whether to agree; without a terminal, nobody does."""
    return sys.stdin.isatty() and input(f"{words}\nAgree? Type yes: ").strip() == "yes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m laplace.engines.gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("preview", "approve", "serve", "log"))
    parser.add_argument("policy", help="the site's policy, a TOML file")
    parser.add_argument("--socket", help="where the gate answers; by default SITE.socket")
    parser.add_argument(
        "--group", help="group of users whose programs may hand letters to the socket"
    )
    parser.add_argument("--yes", action="store_true", help="approve without being asked")
    given = parser.parse_args(arguments)
    try:
        own = policy.read(given.policy)
        if given.command == "log":
            _print_log(own.log)
            return 0
        gate = Gate(own, _ask_terminal)
        with contextlib.closing(gate):
            return _run(gate, given)
    except (ValueError, OSError) as error:
        print(f"The gate stays closed: {error}", file=sys.stderr)
        return 1


def _run(gate: Gate, given: argparse.Namespace) -> int:
    if given.command in ("preview", "approve"):
        print(gate.preview())
        if given.command == "approve":
            if not (given.yes or _ask_terminal("This is what would be sent.")):
                print("Not approved: that takes a yes at a terminal, or --yes.")
                return 1
            gate.approve()
            print("Approved, and written down.")
        return 0
    path = Path(given.socket or f"{gate.policy.site}.socket")
    with Server(gate, path, given.group) as server:
        if not gate.approved:
            print("Nothing is answered before somebody approves: stop, and run approve.")
        print(f"The gate of {gate.policy.site!r} answers at {path}.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("The gate is closed.")
        finally:
            path.unlink(missing_ok=True)
    return 0


def _print_log(path: Path) -> None:
    """Print a line for each entry, once the log has been checked."""
    entries = list(audit.read(path)) if path.exists() else []
    for entry in entries:
        what = ""
        if entry["kind"] == "answered":
            question = from_json(entry["question"])
            answer = letters.content_of(entry["answer"])[1]
            kinds = ", ".join(type(one).__name__ for one in each_of(question))
            what = f"{kinds}, {numbers_of(answer)} numbers"
        elif entry["kind"] in ("refused", "silent"):
            what = entry["why"]
        print(f"{entry['number']:>5} {entry['time']} {entry['kind']:<9} {what}")
    print(f"{len(entries)} entries; each follows the one before it.")


if __name__ == "__main__":
    sys.exit(main())
