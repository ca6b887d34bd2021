"""Run the study from a command line: ``python -m compendium.study --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compendium.study import METHODS, SCENARIOS, Study, save


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit status is 0 only if all was computed."""
    parser = argparse.ArgumentParser(
        prog="python -m compendium.study",
        description="Run the Monte Carlo study. Stopped and called again, it goes on.",
    )
    parser.add_argument("--replicates", type=int, help="data sets a scenario")
    parser.add_argument("--seed", type=int, help="seed of the study")
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="by default all")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="by default all")
    parser.add_argument("--workers", type=int, help="processes; by default one a core")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/study"),
        help="where finished parts are kept",
    )
    parser.add_argument("--output", type=Path, help="a Parquet file for the results")
    parser.add_argument(
        "--list",
        action="store_true",
        help="list scenarios and methods, and end",
    )
    options = parser.parse_args(arguments)
    if options.list:
        print("scenarios:", *SCENARIOS, "\nmethods:", *METHODS, sep="\n  ")
        return 0
    given = {name: getattr(options, name) for name in ("replicates", "seed")}
    try:
        study = Study(
            options.scenarios,
            options.methods,
            **{name: value for name, value in given.items() if value is not None},
        )
        results = study.run(options.folder, workers=options.workers)
        if options.output is not None:
            save(results, options.output)
    except (OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    kept = options.output or options.folder / f"{study.hash}.parquet"
    print(f"{len(results)} rows of {study!r}: {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
