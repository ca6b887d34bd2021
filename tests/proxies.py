"""Places in other processes, which answer questions and nothing else, as JSON."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import laplace
from laplace.messages import from_json, to_json

ROWS = ("y", "X", "groups", "trials", "offset")


def serve(connection: Connection) -> None:
    """Answer questions for the rows of places that are handed over first, each by its number.

    It also fits all rows by itself, when asked to, for a comparison of bits: the code that a
    process has compiled can differ in the last digit from the same code as it was stored.
    """
    sites: list[laplace.Site] = []
    while (message := connection.recv()) is not None:
        kind, content = message
        if kind == "rows":
            sites.append(laplace.Site.from_arrays(**content))
            connection.send(len(sites) - 1)
            continue
        if kind == "fit":
            fit = laplace.fit(**content)
            connection.send((fit.theta, np.asarray(fit.hessian)))
            continue
        place, question = content
        try:
            connection.send(("answer", to_json(sites[place].answer(from_json(question)))))
        except Exception as error:
            connection.send(("error", f"{type(error).__name__}: {error}"))


class Proxy:
    """All that a coordinator has of a place: something that takes a question."""

    def __init__(self, connection: Connection, place: int) -> None:
        self._connection = connection
        self._place = place

    def answer(self, question: Any) -> Any:
        """Send a question as JSON; read the answer."""
        self._connection.send(("question", (self._place, to_json(question))))
        kind, text = self._connection.recv()
        if kind == "error":
            raise RuntimeError(text)
        return from_json(text)


class Hospitals:
    """Processes, in each of which the rows of one place of several data sets can be."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    def fit(self, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        """Fit all rows in the first process; return the estimate and the Hessian."""
        self._connections[0].send(("fit", arguments))
        theta, hessian = self._connections[0].recv()
        return theta, hessian

    def __call__(self, arrays: dict[str, Any], seed: int = 0) -> list[Proxy]:
        """Hand each process the rows of some of the groups; return what answers for them."""
        parts = split(arrays, len(self._connections), seed)
        proxies = []
        for connection, part in zip(self._connections, parts, strict=True):
            connection.send(("rows", part))
            proxies.append(Proxy(connection, connection.recv()))
        return proxies


@contextmanager
def hospitals(count: int) -> Iterator[Hospitals]:
    """Start so many processes, and end them."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=serve, args=(there,), daemon=True) for _, there in pairs]
    for process in processes:
        process.start()
    try:
        yield Hospitals([here for here, _ in pairs])
    finally:
        for here, _ in pairs:
            here.send(None)
        for process in processes:
            process.join(10)


def split(arrays: dict[str, Any], places: int, seed: int = 0) -> list[dict[str, Any]]:
    """Divide the rows between places, all rows of a group at one; no place is left empty.

    Where there are fewer groups than places, there are fewer places.
    """
    groups = np.asarray(arrays["groups"])
    labels, of_row = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    place = rng.integers(0, places, len(labels))
    some = min(places, len(labels))
    place[rng.permutation(len(labels))[:some]] = np.arange(some)
    return [
        {
            name: np.asarray(value)[place[of_row] == k]
            if name in ROWS and np.ndim(value) > 0
            else value
            for name, value in arrays.items()
        }
        for k in range(places)
        if np.any(place == k)
    ]
