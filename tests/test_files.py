"""Sites as processes of their own, reached by files; and the fit made again from their logs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import SITES, study, written
from studies import opened as opened_gates

import laplace
from laplace.engines import files, gate, manifest, policy, replay
from laplace.engines.asking import Run

PATIENCE = 60.0
# What is compared is digits; that of toenail is not to be trusted is another matter.
pytestmark = pytest.mark.filterwarnings("ignore::laplace.ApproximationWarning")


def start(*arguments: Any) -> subprocess.Popen[str]:
    """Start a command of the package in a process of its own."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )


class Hospitals:
    """Gates and messengers of some sites, and a folder between them and the coordinator."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.folder = folder / "shared"
        self._running: list[subprocess.Popen[str]] = []

    def socket(self, site: str) -> Path:
        return self.home / f"{site}.socket"

    def open(self, site: str) -> subprocess.Popen[str]:
        """Open the gate of a site, and wait until it answers."""
        process = start(
            "laplace.engines.gate",
            "serve",
            self.home / f"{site}.toml",
            "--socket",
            self.socket(site),
        )
        self._running.append(process)
        line = process.stdout.readline()
        assert "answers at" in line, line
        return process

    def carry(self, site: str) -> subprocess.Popen[str]:
        """Start the process that carries letters for a site."""
        process = start(
            *("laplace.engines.files", "answer", self.folder, "--watch"),
            *("--site", site, "--gate", self.socket(site)),
        )
        self._running.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._running.remove(process)

    def end_all(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture
def hospitals(tmp_path: Path) -> Iterator[Hospitals]:
    found = Hospitals(tmp_path)
    yield found
    found.end_all()


def begin(*arguments: Any) -> int:
    return files.main([str(argument) for argument in arguments])


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / files.RESULT).read_text())


def close_to(found: dict[str, Any], expected: laplace.Fit, relative: float) -> bool:
    return found["estimates"] == pytest.approx(expected.params.to_dict(), rel=relative)


def test_three_hospitals_and_a_coordinator(hospitals: Hospitals, capsys) -> None:
    of, sites = study("toenail"), SITES[:3]
    for site in sites:
        (hospitals.home / f"{site}.key").write_text(site * 10)
    written(hospitals.home, of, sites, policy_lines="")
    for site in sites:
        path = hospitals.home / f"{site}.toml"
        path.write_text(f'key = "{site}.key"\n' + path.read_text())
        assert gate.main(["approve", str(path), "--yes"]) == 0
        hospitals.open(site)
        hospitals.carry(site)
    code = begin(
        *("fit", hospitals.folder, "--manifest", hospitals.home / "manifest.toml"),
        *("--sites", *sites, "--keys", hospitals.home, "--patience", PATIENCE),
    )
    assert code == 0
    said = capsys.readouterr().out
    assert "Sites            3, which were asked" in said
    found = result(hospitals.folder)
    assert close_to(found, of.pooled(), 1e-12)
    assert found["converged"]

    # everything again, from the logs: the same digits, and no site is asked
    run = Run.from_json((hospitals.folder / "run.json").read_text())
    logs = [hospitals.home / f"{site}.log" for site in sites]
    again = replay.replay(run, logs)
    assert dict(again.params) == found["estimates"]
    assert again.bse.to_dict() == found["standard_errors"]
    assert replay.main([str(hospitals.folder / "run.json"), *map(str, logs)]) == 0
    assert json.loads(capsys.readouterr().out) == found
    with pytest.raises(ValueError, match="no answer of 'east' to question 1; give the logs of all"):
        replay.replay(run, logs[:2])
    other = Run(**{**run.__dict__, "nodes": 9})
    with pytest.raises(ValueError, match=r"question \d+ in the log of 'north' is not the one"):
        replay.replay(other, logs)
    assert gate.main(["log", str(hospitals.home / "north.toml")]) == 0
    assert "AskAt, 21 numbers" in capsys.readouterr().out


def carried(folder: Path, gates: dict[str, gate.Gate], sites: Any) -> None:
    """Carry the open letters of some sites by hand."""
    for site in sites:
        for path in sorted((folder / files.QUESTIONS).glob(f"*.{site}.json")):
            reply = folder / files.ANSWERS / path.name
            if not reply.exists():
                files.write(reply, gates[site].answer(path.read_text()))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[dict[str, gate.Gate]]:
    paths = written(tmp_path, study("cbpp"), SITES[:2])
    gates = {site: gate.Gate(policy.read(path)) for site, path in zip(SITES, paths, strict=False)}
    yield gates
    for each in gates.values():
        each.close()


def test_letters_carried_by_hand(tmp_path: Path, opened: dict[str, gate.Gate], capsys) -> None:
    """The coordinator is a new process each time: what was answered is read, not asked."""
    folder, sites = tmp_path / "stick", SITES[:2]
    first = ["ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", *sites]
    code, rounds = begin(*first, "--nodes", 1), 0
    while code == 2:
        rounds += 1
        said = capsys.readouterr().out
        assert f"Waiting: question {rounds} waits for north, south: carry the files" in said
        assert begin("ask", folder) == 2  # nothing new came
        capsys.readouterr()
        carried(folder, opened, sites[:1])
        code = begin("ask", folder)
        if code == 2:
            assert f"question {rounds} waits for south:" in capsys.readouterr().out
        carried(folder, opened, sites)  # south, and north for the second time
        code = begin("ask", folder)
    assert code == 0
    of = study("cbpp")
    assert close_to(result(folder), of.pooled(nodes=1), 1e-12)
    assert result(folder)["questions"] == rounds
    assert len(list((folder / files.QUESTIONS).iterdir())) == 2 * rounds
    # the fit as an object, and what it says of a table
    fit = files.fit_of(folder)
    agreed = manifest.read(tmp_path / "manifest.toml")
    np.testing.assert_allclose(
        fit.predict(agreed.covariates(of.data)), of.pooled(nodes=1).predict(of.data), rtol=1e-10
    )
    with pytest.raises(ValueError, match=r"for which a manifest has covariates\(table\)"):
        fit.predict(of.data)
    # a run that is over is read again, to the last digit
    before = (folder / files.RESULT).read_text()
    assert begin("ask", folder) == 0
    assert (folder / files.RESULT).read_text() == before


def begun_and_carried(folder: Path, gates: dict[str, gate.Gate], *options: Any) -> int:
    """Begin a fit that waits for answers, while a thread carries the letters."""
    over = threading.Event()

    def carry() -> None:
        while not over.wait(0.01):
            carried(folder, gates, gates)

    messenger = threading.Thread(target=carry)
    messenger.start()
    try:
        agreed = ("--manifest", folder.parent / "manifest.toml", "--sites", *gates)
        return begin("fit", folder, *agreed, *options, "--patience", PATIENCE)
    finally:
        over.set()
        messenger.join()


@pytest.mark.parametrize(("name", "sites"), [("published", 2), ("5x500", 5)])
def test_a_restricted_fit_by_files(tmp_path: Path, capsys, name: str, sites: int) -> None:
    of, names, folder = study(name), SITES[:sites], tmp_path / "stick"
    lines = 'approve = "unattended"\nquestions = ["variation"]'
    # the interval of tau in the summary takes questions, too
    limits = {"more": "rounds = 300", "rules": "numbers_per_unknown = 3"}
    with opened_gates(written(tmp_path, of, names, policy_lines=lines, **limits)) as gates:
        code = begun_and_carried(folder, gates, "--nodes", 1, "--reml")
    assert code == 0
    together, found = of.pooled(nodes=1, reml=True), result(folder)
    # tau is the root of a slope that is taken by differences
    assert close_to(found, together, 1e-9)
    assert found["restricted_criterion"] == pytest.approx(together.reml_criterion, rel=1e-12)
    # and each figure of the summary is the same, but for the lines that speak of sites
    said = capsys.readouterr().out
    tables = [text.split("estimate", 1)[1] for text in (said, str(together.summary()))]
    assert tables[0].split("\n\n")[0].split() == tables[1].split("\n\n")[0].split()
    run = Run.from_json((folder / "run.json").read_text())
    again = replay.replay(run, [tmp_path / f"{site}.log" for site in names])
    assert dict(again.params) == found["estimates"]
    assert again.reml_criterion == found["restricted_criterion"]


def test_a_restricted_fit_of_which_the_interval_is_refused(tmp_path: Path, capsys) -> None:
    of, names, folder = study("published"), SITES[:2], tmp_path / "stick"
    lines = 'approve = "unattended"\nquestions = ["variation"]'
    with opened_gates(written(tmp_path, of, names, policy_lines=lines)) as gates:
        code = begun_and_carried(folder, gates, "--nodes", 1, "--reml")
    assert code == 1
    said = capsys.readouterr()
    assert "The estimates, to the last digit, are in" in said.out
    assert "The fit is done, but not its summary: 'north', 'south' refused" in said.err
    assert close_to(result(folder), of.pooled(nodes=1, reml=True), 1e-9)


def test_a_gate_and_a_coordinator_that_are_killed(hospitals: Hospitals) -> None:
    of, sites = study("toenail"), SITES[:2]
    written(hospitals.home, of, sites)
    gates = {site: hospitals.open(site) for site in sites}
    messenger = hospitals.carry("north")  # nobody carries for the south
    asking = start(
        *("laplace.engines.files", "fit", hospitals.folder, "--nodes", 1),
        *("--manifest", hospitals.home / "manifest.toml", "--sites", *sites),
    )
    answer = hospitals.folder / files.ANSWERS / files.name_of(1, "north")
    until = time.monotonic() + PATIENCE
    while not answer.exists() and time.monotonic() < until:
        time.sleep(0.05)
    asking.kill()
    asking.wait()
    hospitals.end(gates["north"])
    letter = answer.read_text()
    answer.unlink()  # it was lost on the way
    time.sleep(1.0)
    assert messenger.poll() is None  # it waits for the gate to be opened again
    hospitals.open("north")
    hospitals.carry("south")
    assert begin("fit", hospitals.folder, "--patience", PATIENCE) == 0
    assert answer.read_text() == letter
    assert close_to(result(hospitals.folder), of.pooled(nodes=1), 1e-12)


def test_a_site_that_is_lost_stops_the_fit_until_it_is_left_out_by_name(
    tmp_path: Path, opened: dict[str, gate.Gate], capsys
) -> None:
    folder = tmp_path / "stick"
    manifest_path = tmp_path / "manifest.toml"
    sites = ["north", "south", "lost"]
    code = begin("ask", folder, "--manifest", manifest_path, "--sites", *sites, "--nodes", 1)
    carried(folder, opened, SITES[:2])
    assert code == 2
    assert begin("fit", folder, "--patience", 0.3) == 2
    assert "question 1 waits for lost" in capsys.readouterr().out
    assert begin("ask", folder, "--without", "west") == 1
    assert "'west' is no site of the run" in capsys.readouterr().err
    code = begin("ask", folder, "--without", "lost")
    while code == 2:
        carried(folder, opened, SITES[:2])
        code = begin("ask", folder)
    assert code == 0
    assert result(folder)["sites"] == ["north", "south"]
    assert close_to(result(folder), study("cbpp").pooled(nodes=1), 1e-12)
    (before,) = folder.glob("before-*")
    assert (before / files.QUESTIONS / files.name_of(1, "lost")).exists()


def test_a_refusal_stops_the_fit_and_is_explained_at_the_site(
    tmp_path: Path, opened: dict[str, gate.Gate], capsys
) -> None:
    folder = tmp_path / "stick"
    object.__setattr__(opened["south"].rows.thresholds, "least_rows", 10_000)
    assert (
        begin("ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", *SITES[:2]) == 2
    )
    carried(folder, opened, SITES[:2])
    assert begin("ask", folder) == 1
    said = capsys.readouterr().err
    assert "'south' refused the question AskCensus. Why stands in the log of the site" in said
    assert "begin a new run: by --manifest and --sites with --again, or by --without" in said
    assert "least_rows" not in said
    assert gate.main(["log", str(tmp_path / "south.toml")]) == 0
    assert "the site has at least 10000 individuals" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["altered", "of another question", "cut", "empty"])
def test_an_answer_that_was_altered_is_not_used(
    tmp_path: Path, opened: dict[str, gate.Gate], capsys, change: str
) -> None:
    folder = tmp_path / "stick"
    first = ["ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", *SITES[:2]]
    begin(*first)
    carried(folder, opened, SITES[:2])
    begin("ask", folder)
    carried(folder, opened, SITES[:2])
    path = folder / files.ANSWERS / files.name_of(2, "south")
    text = path.read_text()
    if change == "altered":
        number = json.loads(text)["answer"]["value"]
        text = text.replace(repr(number), repr(number + 1.0))
    elif change == "of another question":
        text = (folder / files.ANSWERS / files.name_of(1, "south")).read_text()
    path.write_text({"cut": text[:-30], "empty": ""}.get(change, text))
    capsys.readouterr()
    assert begin("ask", folder) == 1
    words = {
        "altered": "the seal is broken: the letter was altered, or sealed with another key; "
        "compare the key of 'south' here with the one at the site",
        "of another question": "the letter of 'south' answers another question",
    }.get(change, "the answer of 'south' cannot be read")
    said = capsys.readouterr().out
    assert f"An answer cannot be used: {words}" in said
    assert f"delete its file in {folder / files.ANSWERS}, and have it made again." in said
    path.unlink()
    carried(folder, opened, SITES[:2])
    assert begin("ask", folder) == 2  # it goes on


def test_a_run_is_not_begun_twice_by_accident(tmp_path: Path, capsys) -> None:
    written(tmp_path, study("cbpp"), SITES[:2])
    folder = tmp_path / "stick"
    first = ["ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", *SITES[:2]]
    assert begin("ask", folder) == 1
    assert "no run was begun in" in capsys.readouterr().err
    assert begin(*first[:4]) == 1
    assert "a run needs both --manifest and --sites" in capsys.readouterr().err
    assert begin("ask", folder, *first[2:4], "--sites", "north", "north") == 1
    assert "all different" in capsys.readouterr().err
    assert begin(*first) == 2
    assert begin(*first) == 1
    assert "a run was begun in" in capsys.readouterr().err
    assert begin(*first, "--again") == 2
    assert len(list(folder.glob("before-*"))) == 1


def test_answers_that_change_between_two_calls_are_noticed(
    tmp_path: Path, opened: dict[str, gate.Gate], capsys
) -> None:
    folder = tmp_path / "stick"
    begin("ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", *SITES[:2])
    for _ in range(3):
        carried(folder, opened, SITES[:2])
        begin("ask", folder)
    for site in SITES[:2]:  # an answer of another question is not one; other answers are
        path = folder / files.QUESTIONS / files.name_of(3, site)
        path.write_text(path.read_text().replace("AskWithout", "AskMoments"))
    capsys.readouterr()
    assert begin("ask", folder) == 1
    assert "holds another question than the fit asks now" in capsys.readouterr().err


def test_a_gate_that_is_not_there(tmp_path: Path, capsys) -> None:
    written(tmp_path, study("cbpp"), SITES[:1])
    folder = tmp_path / "stick"
    begin("ask", folder, "--manifest", tmp_path / "manifest.toml", "--sites", "north")
    assert begin("answer", folder, "--site", "north", "--gate", tmp_path / "no.socket") == 1
    assert "no gate answers at" in capsys.readouterr().err
    assert begin("answer", folder) == 1
    assert "answer needs --site and --gate" in capsys.readouterr().err


def test_a_gate_outlives_bad_connections(hospitals: Hospitals) -> None:
    written(hospitals.home, study("cbpp"), SITES[:1])
    hospitals.open("north")
    path = hospitals.socket("north")
    assert path.stat().st_mode & 0o077 == 0
    for content in (b"", b"half a letter", b"\xff\xfe\n", b"{}\n"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            connection.sendall(content)
    assert json.loads(gate.exchange(path, "no letter"))["answer"] is None
    # a second one for the same site is refused, whatever its socket
    second = start(
        *("laplace.engines.gate", "serve", hospitals.home / "north.toml"),
        *("--socket", hospitals.home / "second.socket"),
    )
    assert "is open in another process" in second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 1


def test_a_socket_that_was_left_behind_is_taken(hospitals: Hospitals) -> None:
    written(hospitals.home, study("cbpp"), SITES[:1])
    hospitals.end(hospitals.open("north"))
    assert hospitals.socket("north").exists()
    hospitals.open("north")
    assert json.loads(gate.exchange(hospitals.socket("north"), "no letter"))["answer"] is None


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path, capsys) -> None:
    (path,) = written(tmp_path, study("cbpp"), SITES[:1])
    long = tmp_path / ("x" * 120)
    assert gate.main(["serve", str(path), "--socket", str(long)]) == 1
    assert "its path may be too long" in capsys.readouterr().err


def test_what_talks_to_the_outside_opens_no_data(hospitals: Hospitals) -> None:
    """The messenger reads letters and a socket; the table is not even where it runs."""
    of, sites = study("cbpp"), SITES[:1]
    written(hospitals.home, of, sites)
    hospitals.open("north")
    begin(
        *("ask", hospitals.folder, "--manifest", hospitals.home / "manifest.toml"),
        *("--sites", *sites, "--nodes", 1),
    )
    (hospitals.home / "north.csv").rename(hospitals.home / "away.csv")
    assert files.Folder(hospitals.folder).answer("north", hospitals.socket("north")) == 1
    source = Path(files.__file__).read_text()
    assert "read_csv" not in source
    assert "read_parquet" not in source
    assert manifest.read(hospitals.home / "manifest.toml").study == "a study"


def test_the_same_digits_in_another_order_of_carrying(tmp_path: Path, opened) -> None:
    results = []
    for name, order in (("one", SITES[:2]), ("two", SITES[1::-1])):
        folder = tmp_path / name
        code = begin(
            *("ask", folder, "--manifest", tmp_path / "manifest.toml"),
            *("--sites", *SITES[:2], "--nodes", 9),
        )
        while code == 2:
            carried(folder, opened, order)
            code = begin("ask", folder)
        results.append(result(folder)["estimates"])
    assert results[0] == results[1]
