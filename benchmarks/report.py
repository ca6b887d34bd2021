"""What the file of results says: tables, the sentence in the README; nothing is measured here."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.designs import COMPARED, LARGE, Design
from benchmarks.peers import OURS, PEERS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results.json")
README = ROOT / "README.md"
BEGIN, END = "<!-- speed: written by make benchmark -->\n", "<!-- end of speed -->"

Results = dict[str, Any]
MIB = 2**20
SIZE = "rows / groups / columns"
# Below this, a difference of log-likelihoods is the rounding of their sums over a million rows.
ROUNDING = 1e-6
# Below this, one and the same maximum was reached: no estimate differs visibly.
SAME = 1e-4


def load(path: Path | str = RESULTS) -> Results:
    """Read a file of results."""
    return dict(json.loads(Path(path).read_text(encoding="utf-8")))


def without_nan(value: Any) -> Any:
    """Replace what JSON does not know by null, in lists and dictionaries."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def all_designs(designs: Iterable[Design]) -> list[Design]:
    """Give the designs as they are drawn, each followed by the same rows sorted by group."""
    return [Design(d.rows, d.groups, d.columns, order) for d in designs for order in (False, True)]


def records(results: Results, kind: str) -> dict[str, Any]:
    """Give the measurements of a kind, by the rest of their names."""
    found = {}
    for key, record in results["measurements"].items():
        first, _, rest = key.partition(" ")
        if first == kind:
            found[rest] = record
    return found


def brief(value: float | None, digits: int = 2) -> str:
    """Write a number with few digits and no exponent.

    Examples
    --------
    >>> brief(441.7), brief(0.02389), brief(5.0), brief(None)
    ('440', '0.024', '5', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    return np.format_float_positional(float(f"{value:.{digits}g}"), trim="-")


def seconds(value: float) -> str:
    """Write a time in the unit that suits it.

    Examples
    --------
    >>> seconds(442.1), seconds(0.0123)
    ('440 s', '12 ms')
    """
    return f"{brief(value)} s" if value >= 1.0 else f"{brief(1000 * value)} ms"


# --- ours beside the peers -----------------------------------------------------------------------


def fits(results: Results) -> pd.DataFrame:
    """Give a row a fit: what it took, and where it ended.

    Returns
    -------
    DataFrame
        Index: `design` (its name) and `peer`. Columns: `seconds` (the median), `ratio` (to ours),
        `MiB` (above the data), `below` (log-likelihood below the highest that anyone reached),
        `distance` (of the estimate that is furthest from ours, in standard errors) and `problem`.
    """
    rows = []
    by_key = records(results, "fit")
    for key, record in by_key.items():
        design, peer = key.split(" ")
        row = dict.fromkeys(("seconds", "MiB", "loglik", "distance"), math.nan)
        row |= {"design": design, "peer": peer}
        row["problem"] = record.get("missing") or record.get("failed") or ""
        if "seconds" in record:
            row["seconds"] = float(np.median(record["seconds"]))
            row["loglik"] = record.get("loglik", math.nan)
            row["distance"] = _distance(record, by_key.get(f"{design} {OURS}", {}))
            if record["memory"] is not None:
                row["MiB"] = record["memory"] / MIB
        rows.append(row)
    table = pd.DataFrame(rows).set_index(["design", "peer"])
    highest = table.groupby(level="design")["loglik"].transform("max")
    table["below"] = highest - table["loglik"]
    ours = table["seconds"].xs(OURS, level="peer") if (OURS in table.index.levels[1]) else {}
    designs = table.index.get_level_values("design")
    table["ratio"] = table["seconds"] / designs.map(ours)
    return table


def _distance(record: dict[str, Any], ours: dict[str, Any]) -> float:
    """Largest distance of an estimate from ours, in our standard errors."""
    if "bse" not in ours:
        return math.nan
    at, of_ours = ([*r["beta"], r["tau"]] for r in (record, ours))
    errors = [math.nan if e is None else e for e in ours["bse"]]  # none on the boundary
    return float(np.nanmax(np.abs(np.subtract(at, of_ours)) / errors))


def designs(results: Results, *, is_sorted: bool) -> list[Design]:
    """Give the designs on which fits were measured, the small ones first."""
    found = {Design.parse(key.split(" ")[0]) for key in records(results, "fit")}
    kept = [design for design in found if design.sorted == is_sorted]
    return sorted(kept, key=lambda d: (d.rows, d.groups, d.columns))


def comparison(results: Results, *, is_sorted: bool = False) -> pd.DataFrame:
    """Give the table of the page: ours and the peers on each design, as text."""
    table, shown = fits(results), []
    for design in designs(results, is_sorted=is_sorted):
        for peer, row in table.loc[design.name].reindex(list(PEERS)).dropna(how="all").iterrows():
            of_maximum = "0" if row["below"] < ROUNDING else brief(row["below"], 1)
            missing = "missing" in records(results, "fit")[f"{design.name} {peer}"]
            problem = "missing" if missing else "failed"
            shown.append(
                {
                    SIZE: size(design),
                    "fitted by": PEERS[str(peer)].label,
                    "seconds": problem if row["problem"] else brief(row["seconds"]),
                    "× ours": brief(row["ratio"]),
                    "MiB": brief(row["MiB"]),
                    "below": of_maximum,
                    "from ours": brief(row["distance"], 1) if row["distance"] > 1e-4 else "",
                }
            )
    index = [SIZE, "fitted by"]
    return pd.DataFrame(shown, columns=None if shown else index).set_index(index)


def size(design: Design) -> str:
    """Write the size of a design.

    Examples
    --------
    >>> size(Design(100_000, 1_000, 10, sorted=True))
    '100,000 / 1,000 / 10'
    """
    return f"{design.rows:,} / {design.groups:,} / {design.columns}"


def remarks(results: Results) -> list[str]:
    """Say what is missing or was left out, which fits failed and how, and what was warned of."""
    told: dict[str, list[str]] = {}
    by_key = records(results, "fit")
    for design in designs(results, is_sorted=False):
        for peer in dict.fromkeys(key.split(" ")[1] for key in by_key):
            if f"{design.name} {peer}" not in by_key:
                told.setdefault(f"{PEERS[peer].label}: not measured", []).append(size(design))
    for key, record in by_key.items():
        design, peer = key.split(" ")
        words = [record[what] for what in ("missing", "failed") if what in record]
        words += [f"“{warning}”" for warning in record.get("said", [])]
        if not record.get("converged", True):
            words.append("did not converge")
        for word in words:
            told.setdefault(f"{PEERS[peer].label}: {word}", []).append(size(Design.parse(design)))
    return [f"{what} ({'; '.join(dict.fromkeys(where))})" for what, where in told.items()] or [
        "No program is missing, and no fit failed."
    ]


def passes(results: Results) -> pd.DataFrame:
    """Give the fit of ours beside the unit pass, for rows as drawn and sorted."""
    shown = []
    for design in designs(results, is_sorted=False) + designs(results, is_sorted=True):
        record = records(results, "fit").get(f"{design.name} {OURS}", {})
        if "unit pass" in record:
            fit, unit = (float(np.median(record[what])) for what in ("seconds", "unit pass"))
            of_X = record["memory"] / (8 * design.rows * design.columns)
            shown.append(
                {
                    SIZE: size(design),
                    "rows": _order(design),
                    "unit pass": seconds(unit),
                    "fit": seconds(fit),
                    "fit / unit pass": brief(fit / unit),
                    "memory / that of X": brief(of_X),
                }
            )
    return pd.DataFrame(shown, columns=None if shown else [SIZE, "rows"]).set_index([SIZE, "rows"])


def _order(design: Design) -> str:
    return "sorted" if design.sorted else "as drawn"


# --- how ours grows ------------------------------------------------------------------------------


def growth(results: Results, kind: str) -> pd.DataFrame:
    """Give the seconds of a fit by `kind`, "rows", "groups" or "columns".

    Returns
    -------
    DataFrame
        Index: the size; columns `as drawn` and, where it was measured, `sorted`.
    """
    found: dict[str, dict[int, float]] = {}
    for name, record in records(results, kind).items():
        if "seconds" in record:
            design = Design.parse(name)
            order = _order(design)
            at = found.setdefault(order, {})
            at[getattr(design, kind)] = float(np.median(record["seconds"]))
    return pd.DataFrame(found).sort_index().rename_axis(kind)


def local_exponents(curve: pd.Series) -> pd.Series:
    """Give the exponent of a power law between one size and the next, by the larger of them.

    Examples
    --------
    >>> local_exponents(pd.Series([1.0, 2.0, 8.0], index=[10, 20, 40])).round(6).tolist()
    [1.0, 2.0]
    """
    kept = curve.dropna()
    sizes = np.log(kept.index.to_numpy(float))
    return pd.Series(np.diff(np.log(kept)) / np.diff(sizes), kept.index[1:])


def nodes(results: Results) -> pd.DataFrame:
    """Give the seconds of a fit by the number of nodes, and how many Laplace fits that is."""
    times = {
        int(name): float(np.median(record["seconds"]))
        for name, record in records(results, "nodes").items()
        if "seconds" in record
    }
    table = pd.DataFrame({"seconds": times}).sort_index().rename_axis("K")
    table["Laplace fits"] = table["seconds"] / times.get(1, math.nan)
    return table


def details(results: Results) -> pd.Series:
    """Give what else was measured of ours, a line each, as text."""
    lines = {}
    for name, record in records(results, "rows").items():
        design = Design.parse(name)
        if "memory" in record and design.rows == max(growth(results, "rows").index):
            order = _order(design)
            lines[f"memory, {design.rows:,} rows {order}"] = (
                f"{brief(record['memory'] / 2**30)} GiB"
            )
    made = records(results, "fit").get(f"{LARGE.name} gpboost", {}).get("before")
    if made:
        lines[f"GPModel made before its fit, {LARGE.rows:,} rows"] = seconds(float(np.median(made)))
    for name, record in records(results, "validation").items():
        if "fit" in record:
            design = Design.parse(name)
            what = "checks" if design.sorted else "checks and sorting"
            share = float(np.median(record["ready"])) / float(np.median(record["fit"]))
            lines[f"{what}, {design.rows:,} rows {_order(design)}"] = (
                f"{100 * share:.0f} % of the fit"
            )
    for name, record in records(results, "small").items():
        if "batches" in record:
            lines[f"2 × 500 × 10, τ {name}"] = seconds(float(np.median(record["single"])))
            for processes, taken in record["batches"].items():
                rate = record["count"] / float(np.median(taken))
                words = f"many of them, {processes} process{'es' if processes != '1' else ''}"
                lines[f"{words}, τ {name}"] = f"{brief(rate)} a second"
    for name, record in records(results, "start").items():
        for what, words in STARTS.items():
            if what in record:
                lines[f"{words}, {name} cache"] = seconds(record[what])
    return pd.Series(lines, dtype=object)


STARTS = {
    "import": "import laplace",
    "first": "the first fit",
    "all": "all that is compiled",
}


# --- words ---------------------------------------------------------------------------------------


def hardware(results: Results) -> str:
    """Name the machine and the threads."""
    of, threads = results["machine"], results["threads"]
    return (
        f"{of['cpu']}, {of['cores']} core{'s' if of['cores'] != 1 else ''}, "
        f"{of['memory GiB']} GiB, {threads} thread{'s' if threads != 1 else ''}"
    )


def machine(results: Results) -> str:
    """Name the machine, the threads and the days of the measurements."""
    days = sorted({record["date"] for record in results["measurements"].values()})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{hardware(results)}; {when}"


def quotable(results: Results) -> list[Design]:
    """Give the compared designs on which ours was measured."""
    by_key = records(results, "fit")
    return [d for d in COMPARED if "loglik" in by_key.get(f"{d.name} {OURS}", {})]


def sentence(results: Results) -> str:
    """Say in the README how long the largest compared fit takes, here and elsewhere."""
    design = max(quotable(results), key=lambda d: d.rows * d.columns)
    of = fits(results).loc[design.name].dropna(subset="seconds")
    others = [
        f"{_name(results, peer)} {seconds(of.loc[peer, 'seconds'])} "
        f"({brief(of.loc[peer, 'ratio'])} times ours)"
        for peer in PURSUERS
        if peer in of.index
    ]
    told = f"; on the same data, {', '.join(others)}" if others else ""
    return (
        f"A fit to {design.rows:,} rows in {design.groups:,} groups with {design.columns} columns "
        f"takes {seconds(of.loc[OURS, 'seconds'])}{told}. ({machine(results)})"
    )


# Those that maximise the same likelihood to the end, and how they are named in sentences.
PURSUERS = {
    "gpboost-tight": "GPBoost {} run to the same maximum",
    "glmmTMB": "glmmTMB {}",
    "lme4": "lme4 {}",
}


def _name(results: Results, peer: str) -> str:
    version = results["versions"].get(PEERS[peer].package, "")
    return {"gpboost": "GPBoost {} at its defaults", **PURSUERS}[peer].format(version)


def found(results: Results) -> list[str]:
    """Say what was found, a line each."""
    table, lines = fits(results).reset_index(), []
    drawn = [design.name for design in designs(results, is_sorted=False)]
    table = table[table["design"].isin(drawn)].dropna(subset="ratio")
    for peer in ("gpboost", *PURSUERS):
        of = table[table["peer"] == peer]
        if of.empty:
            continue
        span = dict.fromkeys(brief(ratio) for ratio in (of["ratio"].min(), of["ratio"].max()))
        worst = of["below"].max()
        end = "at the maximum" if worst < SAME else f"up to {brief(worst, 1)} below the maximum"
        whole = len(of) == len(drawn)
        measured = f"all {len(of)}" if whole else f"{len(of)} of {len(drawn)}"
        lines.append(
            f"{_name(results, peer)} takes {' to '.join(span)} times as long as `laplace.fit`, and "
            f"its log-likelihood ends {end}; {measured} data sets were measured."
        )
    for order, curve in growth(results, "rows").items():
        rows, powers = curve.dropna().index, local_exponents(curve)
        lines.append(
            f"From {rows.min():,} to {rows.max():,} rows, {order}, the time grows with the rows to "
            f"a power that is between {powers.min():.2f} and {powers.max():.2f}, from one size to "
            "the next."
        )
    by_nodes = nodes(results)
    if len(by_nodes) > 1:
        last = by_nodes.iloc[-1]
        lines.append(
            f"A fit with {by_nodes.index[-1]} adaptive nodes costs {brief(last['Laplace fits'])} "
            "Laplace fits."
        )
    return lines


def quotation(results: Results) -> str:
    """Give the lines of the README between its marks."""
    return textwrap.fill(sentence(results), 100, break_long_words=False, break_on_hyphens=False)


def quote(results: Results) -> None:
    """Write the sentence into the README, between its marks."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", re.DOTALL)
    quoted = pattern.sub(lambda _: f"{quotation(results)}\n", text)
    README.write_text(quoted, encoding="utf-8")


def text(results: Results) -> str:
    """Give all tables, as the terminal shows them."""
    parts = [machine(results)]
    if records(results, "fit"):
        parts += [comparison(results).to_string(), *remarks(results)]
        ordered = comparison(results, is_sorted=True)
        if len(ordered):
            parts += ["Rows sorted by group:", ordered.to_string()]
        of_ours = passes(results)
        if len(of_ours):
            parts.append(of_ours.to_string())
    for kind in ("rows", "groups", "columns"):
        if records(results, kind):
            table = growth(results, kind)
            powers = pd.DataFrame({name: local_exponents(table[name]) for name in table})
            parts += [
                table.map(brief).to_string(),
                f"local exponents\n{powers.round(2).to_string()}",
            ]
    if records(results, "nodes"):
        parts.append(nodes(results).map(brief).to_string())
    rest = details(results)
    if len(rest):
        parts.append(rest.to_string())
    return "\n\n".join(parts)
