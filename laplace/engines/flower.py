"""Letters carried by Flower: the coordinator's end, which a ServerApp calls.

Flower's SuperLink and SuperNodes carry texts between machines, over TLS, and know each other by
keys. A SuperNode runs code that the coordinator sends; so no rule inside that code protects a site.
It can only hand letters to the site's gate, `laplace.engines.gate`, a process of another user who
alone can read the data.

Letters and answers lie in the coordinator's folder, as with `laplace.engines.files`: a coordinator
that is started again goes on where it was. The folder ``flower/`` of the repository has the app,
and a script that tries all of it on one machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from laplace.arguments import quoted
from laplace.engines.asking import by_letters, fit_run
from laplace.engines.files import ANSWERS, TROUBLE, Folder, keep_result, keys_of, name_of, write
from laplace.result import Fit

LOG = logging.getLogger(__name__)
# How often is looked for replies, in seconds.
PAUSE = 0.2


class SiteLostError(RuntimeError):
    """Sites that did not answer.

    Attributes
    ----------
    sites : list of str
        Their names.
    """

    def __init__(self, sites: Sequence[str], why: str) -> None:
        super().__init__(
            f"{quoted(list(sites))} {why}. Nothing is lost: start the app again to go on with the "
            "answers that came; or begin again without the site, by its name: "
            "python -m laplace.engines.files ask FOLDER --without SITE"
        )
        self.sites = list(sites)


def fit(grid: Any, folder: str | Path, keys: str | None = None, patience: float = 600.0) -> Fit:
    """Fit the run that was begun in a folder, and write down the result there, or what went wrong.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        Reaches the nodes.
    folder : path
        The coordinator's folder; ``python -m laplace.engines.files ask`` begins a run in it.
    keys : path, optional
        Folder with the key of each site, SITE.key.
    patience : float
        Seconds to wait for all sites, and for each of their answers.

    Returns
    -------
    Fit

    Raises
    ------
    SiteLostError
        If a site is not there, or does not answer in time.
    SiteRefusedError, LetterError, ValueError
        As `laplace.engines.files` does.
    """
    place = Folder(folder)
    run, trouble = place.run, place.path / TROUBLE
    trouble.unlink(missing_ok=True)
    nodes = Nodes(grid, run.sites, patience)

    def carry(number: int, asked: dict[str, str]) -> dict[str, str]:
        began = time.monotonic()
        place.leave(number, asked)
        open_letters = {
            site: text for site, text in asked.items() if place.answered(number, site) is None
        }
        nodes.exchange(
            open_letters,
            lambda site, text: write(place.path / ANSWERS / name_of(number, site), text),
        )
        if open_letters:
            LOG.info("question %d: %.1f s", number, time.monotonic() - began)
        return {site: place.answered(number, site) or "" for site in asked}

    try:
        found = fit_run(run, by_letters(run, keys_of(keys, run.sites), carry))
    except Exception as error:
        # where Flower keeps what an app says is another matter
        write(trouble, f"{type(error).__name__}: {error}\n")
        raise
    keep_result(place, found, run)
    LOG.info("the fit is done: %s", found)
    return found


class Nodes:
    """The nodes of the sites, found by asking each for which site it carries letters.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        Reaches the nodes.
    sites : sequence of str
        The sites that are needed.
    patience : float
        Seconds to wait.
    """

    def __init__(self, grid: Any, sites: Sequence[str], patience: float) -> None:
        self._grid = grid
        self._sites = sites
        self._patience = patience
        self._node: dict[str, int] = {}

    def exchange(self, asked: Mapping[str, str], keep: Callable[[str, str], None]) -> None:
        """Send a letter to each site, and keep the answers that come.

        Raises
        ------
        SiteLostError
            If a site is not there, or does not answer in time.
        """
        if not asked:
            return
        if not self._node:
            self._find()
        replies = self._sent("query.letter", {self._node[s]: text for s, text in asked.items()})
        came = {s: replies[self._node[s]] for s in asked if replies.get(self._node[s])}
        for site, text in came.items():
            keep(site, text)
        lost = [site for site in asked if site not in came]
        if lost:
            raise SiteLostError(lost, "gave no answer; look at the gate and the SuperNode there")

    def _find(self) -> None:
        until = time.monotonic() + self._patience
        known: dict[int, str] = {}
        while True:
            new = {node: "" for node in self._grid.get_node_ids() if node not in known}
            known |= self._sent("query.site", new) if new else {}
            by_site: dict[str, int] = {}
            for node, site in known.items():
                if site in self._sites and by_site.setdefault(site, node) != node:
                    raise SiteLostError([site], "has two nodes, of which only one can be right")
            missing = [site for site in self._sites if site not in by_site]
            if not missing:
                self._node = by_site
                return
            if time.monotonic() > until:
                raise SiteLostError(missing, "has no node that is connected")
            time.sleep(PAUSE)

    def _sent(self, kind: str, texts: Mapping[int, str]) -> dict[int, str]:
        """Send texts to nodes; return theirs, as far as they come in time."""
        from flwr.app import ConfigRecord, Message, RecordDict

        messages = [
            Message(RecordDict({"letter": ConfigRecord({"text": text})}), node, kind)
            for node, text in texts.items()
        ]
        waiting = set(self._grid.push_messages(messages))
        until, replies = time.monotonic() + self._patience, {}
        while waiting and time.monotonic() < until:
            for reply in self._grid.pull_messages(list(waiting)):
                waiting.discard(reply.metadata.reply_to_message_id)
                if reply.has_error():
                    LOG.warning("a node answered with an error: %s", reply.error.reason)
                else:
                    replies[reply.metadata.src_node_id] = str(reply.content["letter"]["text"])
            time.sleep(PAUSE)
        return replies
