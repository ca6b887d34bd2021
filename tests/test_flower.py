"""The coordinator's end of Flower, with a grid of our own; `make flower` tries the real one."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from studies import SITES, study, written

from laplace.engines import files, flower, gate, policy

SITES_OF_THREE = SITES[:3]


@dataclass
class Metadata:
    reply_to_message_id: str = ""
    src_node_id: int = 0


class Message:
    """As much of Flower's message as is used."""

    def __init__(self, content: Any, node: int, kind: str, error: str = "") -> None:
        self.content, self.node, self.kind, self.reason = content, node, kind, error
        self.metadata = Metadata()

    def has_error(self) -> bool:
        return bool(self.reason)

    @property
    def error(self) -> Any:
        return types.SimpleNamespace(reason=self.reason)


@dataclass
class Grid:
    """Nodes that carry letters to gates in this process."""

    gates: dict[str, gate.Gate]
    nodes: dict[int, str]
    away: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    sent: list[tuple[str, int]] = field(default_factory=list)
    _replies: dict[str, Message] = field(default_factory=dict)

    def get_node_ids(self) -> list[int]:
        return [node for node in self.nodes if node not in self.away]

    def push_messages(self, messages: list[Message]) -> list[str]:
        names = []
        for message in messages:
            name = str(len(self.sent))
            names.append(name)
            self.sent.append((message.kind, message.node))
            if message.node in self.away:
                continue
            site, text = self.nodes[message.node], message.content["letter"]["text"]
            asked = message.kind == "query.letter"
            text = self.gates[site].answer(text) if asked else site
            reply = Message({"letter": {"text": text}}, 0, message.kind)
            if message.node in self.broken and message.kind == "query.letter":
                reply = Message({}, 0, message.kind, "no socket")
            reply.metadata = Metadata(name, message.node)
            self._replies[name] = reply
        return names

    def pull_messages(self, names: list[str]) -> list[Message]:
        return [self._replies.pop(name) for name in names if name in self._replies]


@pytest.fixture
def grid(tmp_path: Path, monkeypatch) -> Iterator[Grid]:
    app = types.ModuleType("flwr.app")
    app.Message, app.RecordDict, app.ConfigRecord = Message, dict, dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flwr", types.ModuleType("flwr"))
    monkeypatch.setitem(sys.modules, "flwr.app", app)
    monkeypatch.setattr(flower, "PAUSE", 0.0)
    paths = written(tmp_path, study("cbpp"), SITES_OF_THREE)
    gates = {site: gate.Gate(policy.read(path)) for site, path in zip(SITES, paths, strict=False)}
    first = ["ask", str(tmp_path / "folder"), "--manifest", str(tmp_path / "manifest.toml")]
    assert files.main([*first, "--sites", *SITES_OF_THREE, "--nodes", "1", "--only-begin"]) == 0
    yield Grid(gates, {10: "east", 11: "north", 12: "south", 13: "somewhere else"})
    for each in gates.values():
        each.close()


def test_a_fit_over_nodes(grid: Grid, tmp_path: Path) -> None:
    fit = flower.fit(grid, tmp_path / "folder", patience=5.0)
    expected = study("cbpp").pooled(nodes=1).params.to_dict()
    assert fit.params.to_dict() == pytest.approx(expected, rel=1e-12)
    found = json.loads((tmp_path / "folder" / files.RESULT).read_text())
    assert found["estimates"] == fit.params.to_dict()
    # four nodes were asked who they are, and three of them the questions
    assert len(grid.sent) == 4 + 3 * fit.rounds
    sent = len(grid.sent)
    flower.fit(grid, tmp_path / "folder", patience=5.0)  # all of it is there already
    assert len(grid.sent) == sent


def test_a_node_that_is_not_there_and_one_that_goes_away(grid: Grid, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    grid.away.add(12)
    with pytest.raises(flower.SiteLostError, match="'south' has no node that is connected") as said:
        flower.fit(grid, folder, patience=0.05)
    assert said.value.sites == ["south"]
    assert "SiteLostError: 'south'" in (folder / files.TROUBLE).read_text()
    grid.away.clear()
    grid.broken.add(10)
    with pytest.raises(flower.SiteLostError, match="'east' gave no answer; look at the gate"):
        flower.fit(grid, folder, patience=0.05)
    grid.broken.clear()
    kept = sorted(path.name for path in (folder / files.ANSWERS).iterdir())
    assert kept == ["0001.north.json", "0001.south.json"]
    fit = flower.fit(grid, folder, patience=5.0)
    assert not (folder / files.TROUBLE).exists()
    assert fit.converged


def test_two_nodes_for_one_site(grid: Grid, tmp_path: Path) -> None:
    grid.nodes[14] = "north"
    with pytest.raises(flower.SiteLostError, match="'north' has two nodes, of which only one"):
        flower.fit(grid, tmp_path / "folder", patience=1.0)


def test_a_refusal_comes_through(grid: Grid, tmp_path: Path) -> None:
    object.__setattr__(grid.gates["east"].rows.thresholds, "least_rows", 10_000)
    with pytest.raises(RuntimeError, match="'east' refused the question AskCensus"):
        flower.fit(grid, tmp_path / "folder", patience=1.0)
