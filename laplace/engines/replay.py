"""The fit once more, from the audit logs of all sites: nothing is asked.

.. code-block:: bash

    python -m laplace.engines.replay FOLDER/run.json north.log south.log

Each log is checked line by line. The coordinator's arithmetic runs again on the answers that the
logs hold; each question has to be, to the last bit, the one that the log has. The estimates that it
prints are those of the fit, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from laplace.engines import audit, letters
from laplace.engines.asking import Run, SiteRefusedError, fit_run
from laplace.engines.files import result_of
from laplace.messages import to_json
from laplace.result import Fit


def replay(run: Run, logs: Sequence[Path]) -> Fit:
    """Fit by what stands in the logs of all sites.

    Parameters
    ----------
    run : Run
        The run, as the coordinator planned it.
    logs : sequence of Path
        The audit logs.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If a log is missing, or holds another question than the fit asks.
    LogError
        If one was altered.
    """
    known: dict[tuple[str, int], tuple[str, Any]] = {}
    for path in logs:
        for entry in audit.read(path):
            if entry["kind"] == "answered" and entry["run"] == run.run:
                letter, answer = letters.content_of(entry["answer"])
                known[letter["site"], entry["place"]] = entry["question"], answer

    def exchange(number: int, question: Any) -> Mapping[str, Any]:
        text = to_json(question)
        for site in run.sites:
            asked, _ = known.get((site, number), ("", None))
            if not asked:
                raise ValueError(
                    f"the logs have no answer of {site!r} to question {number}; give the logs of "
                    "all sites, of a run that was finished"
                )
            if asked != text:
                raise ValueError(
                    f"question {number} in the log of {site!r} is not the one that the fit asks: "
                    "the coordinator asked for something else, or used another version of a package"
                )
        return {site: known[site, number][1] for site in run.sites}

    return fit_run(run, exchange)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m laplace.engines.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="run.json of the coordinator")
    parser.add_argument("logs", nargs="+", help="the audit logs of all sites")
    given = parser.parse_args(arguments)
    try:
        run = Run.from_json(Path(given.run).read_text(encoding="utf-8"))
        fit = replay(run, [Path(path) for path in given.logs])
    except (ValueError, OSError, SiteRefusedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result_of(fit, run), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
