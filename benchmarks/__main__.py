"""The command behind `make benchmark`: measures, keeps each result as it comes, prints the tables.

Every measurement runs in a process of its own with the threads said in its environment. A peer that
is missing, one that fails and one that takes too long are recorded as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import laplace
from benchmarks import measure, report
from benchmarks.designs import COMPARED, LARGE, MIDDLE, SORTED, Design
from benchmarks.peers import OURS, PEERS, R_SCRIPT, installed, missing

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "notebooks"))
from provenance import PACKAGES, commit, processor, versions  # noqa: E402

# Settings of the caller that would change what is measured: numbers of threads, and the kind of
# processor that a library compiled for several is told to believe in.
DROPPED = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_", "GOTO_", "NUMBA_")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

# What takes longer than a minute, and is left out by --quick.
SLOW = {("lme4", MIDDLE), ("lme4", LARGE), ("glmmTMB", LARGE), ("statsmodels", LARGE)}
# Peers that are also measured on sorted rows.
ORDER_MATTERS = (OURS, "gpboost", "gpboost-tight")

ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
GROUPS = (10, 100, 1_000, 10_000, 100_000)
COLUMNS = (2, 5, 10, 20, 50)
NODES = (1, 3, 5, 9, 25, 51)
BATCH = 2_000  # data sets
STARTS = 3


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes
    ----------
    kind : str
        What `--only` calls it: a peer, or one of the kinds of `OTHERS`.
    key : str
        Its name in the file of results; the first word says where `report` reads it.
    design : Design or None
        The data that it needs.
    measure : str
        Function of `measure.MEASURES`, or "R" or "start".
    arguments : dict
        Its arguments, less those that say where the data are.
    """

    kind: str
    key: str
    design: Design | None
    measure: str
    arguments: dict[str, Any] = field(default_factory=dict)


def fits(designs: Sequence[Design], quick: bool) -> Iterator[Job]:
    """List the fits of ours and of the peers."""
    for design in designs:
        for name, peer in PEERS.items():
            if (design.sorted and name not in ORDER_MATTERS) or (quick and (name, design) in SLOW):
                continue
            what = "R" if peer.prepare is None else "fit"
            yield Job(name, f"fit {design.name} {name}", design, what, {"peer": name})


def others(seed: int, threads: int) -> Iterator[Job]:
    """List what is measured of ours alone."""
    of_ours = {"peer": OURS}
    for is_sorted in (False, True):
        for rows in ROWS:
            design = Design(rows, LARGE.groups, LARGE.columns, is_sorted)
            yield Job("rows", f"rows {design.name}", design, "fit", of_ours)
        design = Design(LARGE.rows, LARGE.groups, LARGE.columns, is_sorted)
        yield Job("validation", f"validation {design.name}", design, "validation")
    for groups in GROUPS:
        design = Design(LARGE.rows, groups, LARGE.columns)
        yield Job("groups", f"groups {design.name}", design, "fit", of_ours)
    for columns in COLUMNS:
        design = Design(MIDDLE.rows, MIDDLE.groups, columns)
        yield Job("columns", f"columns {design.name}", design, "fit", of_ours)
    for nodes in NODES:
        arguments = of_ours | {"options": {"nodes": nodes}}
        yield Job("nodes", f"nodes {nodes}", MIDDLE, "fit", arguments)
    for name, tau in {"estimated": None, "fixed": 1.0}.items():
        arguments = {"seed": seed, "count": BATCH, "tau": tau, "workers": threads}
        yield Job("small", f"small {name}", None, "small", arguments)
    for cache in ("empty", "filled"):
        yield Job("start", f"start {cache}", None, "start", {"cache": cache})


OTHERS = ("rows", "groups", "columns", "nodes", "validation", "small", "start")


# --- the processes that measure ------------------------------------------------------------------


def environment(threads: int) -> tuple[dict[str, str], list[str]]:
    """Give the environment of what is measured, and the settings of the caller that it drops."""
    dropped = sorted(name for name in os.environ if name.startswith(DROPPED))
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | dict.fromkeys(THREADS, str(threads)), dropped


def call(command: Sequence[str], limit: float, env: dict[str, str]) -> dict[str, Any]:
    """Run a command that writes JSON to the file named last; say what went wrong if it does not."""
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder, "output"), Path(folder, "log")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [*command, str(output)],
                cwd=ROOT,
                env=env,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it starts can be ended with it
            )
        try:
            status = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return {"failed": f"stopped after {limit:g} s"}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status < 0:
            return {"failed": f"ended by {signal.Signals(-status).name}"}
        if status > 0:
            lines = log.read_text(errors="replace").strip().splitlines()
            return {"failed": lines[-1] if lines else f"ended with status {status}"}
        return dict(json.loads(output.read_text(encoding="utf-8")))


class Runner:
    """Runs the jobs on one set of data and settings."""

    def __init__(self, threads: int, limit: float, budget: float, packages: dict[str, str]) -> None:
        self.threads, self.limit, self.budget, self.packages = threads, limit, budget, packages
        self.env, self.dropped = environment(threads)

    def python(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a function of `measure` in a process of its own."""
        command = [sys.executable, "-m", measure.__name__, name, json.dumps(arguments)]
        return call([*command, str(self.budget)], self.limit, self.env)

    def start(self, cache: str) -> dict[str, Any]:
        """Time import and first fits; in a cache that is filled, several times."""
        command = [sys.executable, "-m", "benchmarks.start"]
        with tempfile.TemporaryDirectory() as folder:
            env = self.env | {"NUMBA_CACHE_DIR": folder}
            found = call(command, self.limit, env)
            if cache == "filled":
                times = [call(command, self.limit, env) for _ in range(STARTS)]
                found = next((t for t in times if "failed" in t), {}) or {
                    name: statistics.median(t[name] for t in times) for name in times[0]
                }
        return found

    def run(self, job: Job, folder: Path) -> dict[str, Any]:
        """Run one job, and evaluate the log-likelihood where it gives estimates."""
        why = missing(job.kind, self.packages) if job.kind in PEERS else ""
        if why:
            return {"missing": why}
        if job.measure == "start":
            return self.start(**job.arguments)
        data = {}
        if job.design is not None:
            data = {"design": job.design.name, "folder": str(folder)}
        if job.measure == "R":
            assert job.design is not None
            sizes = [job.design.rows, job.design.columns, self.threads]
            numbers = [*sizes, self.budget, measure.REPETITIONS]
            command = ["Rscript", "--vanilla", str(R_SCRIPT), job.kind, str(folder)]
            found = call([*command, *map(str, numbers)], self.limit, self.env)
        elif job.measure == "fit":
            threads = {"threads": self.threads}
            found = self.python("fit", {**job.arguments, **data, **threads})
        else:
            found = self.python(job.measure, {**job.arguments, **data})
        if job.design is not None and job.kind in PEERS and "beta" in found:
            try:
                at = laplace.loglik(*job.design.read(folder), found["beta"], found["tau"])
                found["loglik"] = at.value
            except (TypeError, ValueError) as error:  # estimates that are no numbers
                found["failed"] = str(error)
        if job.kind in PEERS:
            found["version"] = self.packages[PEERS[job.kind].package]
        return found


# --- the file of results -------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Name the processor, the cores that may be used, the memory and the system."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": processor(),
        "cores": cores,
        "memory GiB": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def software() -> dict[str, str]:
    """Give the versions of what ours computes with."""
    found = versions()
    return {name: found[name] for name in ("python", *PACKAGES)}


def save(results: dict[str, Any], path: Path) -> None:
    """Write the file whole or not at all."""
    part = path.with_suffix(".part")
    text = json.dumps(report.without_nan(results), indent=1, ensure_ascii=False)
    part.write_text(f"{text}\n", encoding="utf-8")
    part.replace(path)


class RefusalError(Exception):
    """The results cannot be merged; the text says why and what can be done."""


def begin(path: Path, same: dict[str, Any], *, fresh: bool, whole: bool) -> dict[str, Any]:
    """Give the results to add to: those in the file, if they were measured under the same terms."""
    empty = {**same, "measurements": {}}
    if fresh or not path.exists():
        return empty
    old = report.load(path)
    differ = [name for name in same if old.get(name) != same[name]]
    if not differ:
        return old
    if whole:
        return empty
    told = "; ".join(f"{name} there: {old.get(name)}, here: {same[name]}" for name in differ)
    raise RefusalError(
        f"{path} cannot take up these results ({told}). Give another file with --output, or begin "
        "it anew with --fresh."
    )


# --- the command line ----------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure laplace and its peers."
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="leave out what takes longer than a minute")
    add(
        "--only",
        metavar="NAMES",
        help=f"some of {', '.join([*PEERS, *OTHERS])}, separated by commas",
    )
    add(
        "--designs",
        nargs="+",
        metavar="DESIGN",
        help=f"rows/groups/columns, with /{SORTED} for sorted rows; only these, and any size",
    )
    add("--output", type=Path, default=report.RESULTS, metavar="FILE", help="file of the results")
    add("--fresh", action="store_true", help="begin the file anew")
    add("--seed", type=int, default=1, help="seed of the data")
    add("--threads", type=int, default=2, help="threads for everybody who can use them")
    add("--time-limit", type=float, default=1500.0, metavar="S", help="seconds for a measurement")
    add(
        "--budget",
        type=float,
        default=measure.BUDGET,
        metavar="S",
        help="seconds that the repetitions of one measurement may take; 0 for a single one",
    )
    options = parser.parse_args(arguments)
    known = (*PEERS, *OTHERS)
    options.only = options.only.split(",") if options.only else None
    for name in options.only or []:
        if name not in known:
            parser.error(f"--only: there is no {name!r}; there are {', '.join(known)}")
    try:
        designs = options.designs and [Design.parse(name) for name in options.designs]
    except ValueError as error:
        parser.error(f"--designs: {error}")
    options.whole = not (options.quick or options.only or designs)
    jobs = [
        *fits(designs or report.all_designs(COMPARED), options.quick),
        *others(options.seed, options.threads),
    ]
    kinds = options.only or (PEERS if designs else known)
    options.jobs = [
        job
        for job in jobs
        if job.kind in kinds and (not designs or job.design is None or job.design in designs)
    ]
    return options


def size(job: Job) -> tuple[int, str]:
    """Order jobs by size and data, so that results begin to come at once."""
    return (job.design.rows, job.design.name) if job.design else (0, "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    options = parse(arguments)
    packages = installed()
    runner = Runner(options.threads, options.time_limit, options.budget, packages)
    same = {"machine": machine(), "seed": options.seed, "threads": options.threads}
    try:
        results = begin(options.output, same, fresh=options.fresh, whole=options.whole)
    except RefusalError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    results["versions"] = software() | packages
    results["commit"] = commit()
    results |= runner.python("blas", {})
    print(f"{report.hardware(results)}; {', '.join(results.get('blas', []))}")
    print(f"Dropped from the environment: {', '.join(runner.dropped) or 'nothing'}")

    # the data of a design are written once, and deleted when all who need them are done
    jobs = sorted(options.jobs, key=size)
    for design, group in groupby(jobs, key=lambda job: job.design):
        with tempfile.TemporaryDirectory() as folder:
            if design is not None:
                design.write(Path(folder), options.seed)
            for job in group:
                print(f"{job.key} ... ", end="", flush=True)
                begun = time.perf_counter()
                found = runner.run(job, Path(folder))
                found["date"] = datetime.now(UTC).date().isoformat()
                results["measurements"][job.key] = found
                save(results, options.output)
                word = next((found[w] for w in ("missing", "failed") if w in found), "done")
                print(f"{word}, after {time.perf_counter() - begun:.0f} s")
    print(f"\n{report.text(results)}\n\nWritten to {options.output}")
    if options.output.resolve() == report.RESULTS.resolve() and report.quotable(results):
        report.quote(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
