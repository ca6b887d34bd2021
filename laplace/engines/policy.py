"""A site's own policy, a TOML file: where its rows are, and what its gate allows.

.. code-block:: toml

    site = "north"
    data = "toenail, export of November"   # the budget belongs to this name, not to the file
    file = "toenail.csv"                   # CSV or Parquet
    manifest = "manifest.toml"
    approve = "once"                       # "once", "each" question, or "unattended"
    log = "north.log"                      # the audit log
    key = "north.key"                      # shared with the coordinator: seals every message
    labels_key = "sites.key"               # shared by the sites alone: finds groups at two sites
    questions = ["start"]                  # asked for beyond what every fit needs

    [rules]
    least_rows = 20

Paths are relative to the file. Without ``key`` whoever can write to the gate can ask; without
``labels_key`` nothing tells whether a group is at two sites.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from laplace.arguments import quoted
from laplace.engines.entries import check_names, defaults_of, table_of, texts
from laplace.engines.thresholds import checked_rules
from laplace.questions import AskJeffreys, AskVariation
from laplace.starts import AskStart


class Further(NamedTuple):
    """A question that a policy may allow beyond what every fit needs.

    `says` is what its answer tells, for the preview; ``{p}`` stands for the number of columns, and
    ``{numbers}`` for how many numbers an answer holds.
    """

    question: type
    says: str


APPROVALS = ("once", "each", "unattended")
# By the names that a policy has for them.
FURTHER = {
    "start": Further(
        AskStart,
        "Your own fit, as you allow it: {numbers} numbers, your estimates and how precise they "
        "are.",
    ),
    "jeffreys": Further(
        AskJeffreys, "The sums of the soft penalty, as you allow it: {numbers} numbers a round."
    ),
    "variation": Further(
        AskVariation,
        "For reml=True, as you allow it: of each of the {p} columns, whether it varies within some "
        "group here, yes or no, and nothing else. Such a fit asks for about 100 to 200 answers of "
        "the second kind, with its summary, rather than 10 to 40: compare with the budget below.",
    ),
}
SHORTEST_KEY = 16


@dataclass(frozen=True)
class Policy:
    """A site's own policy; read one with `read`.

    Attributes
    ----------
    site : str
        Name of the site.
    data : str
        Name of the data set, to which the budget belongs.
    file, manifest, log : Path
        Where they are.
    approve : {"once", "each", "unattended"}
        When somebody at the site has to agree: once for a manifest and a policy, to each question,
        or never.
    key, labels_key : bytes
        Keys; empty where there is none.
    questions : tuple of str
        What is answered beyond what every fit needs: "start", the site's own fit; "jeffreys", for
        the soft penalty; "variation", for ``reml=True``.
    rules : dict
        Thresholds that differ from the defaults.
    """

    site: str
    data: str
    file: Path
    manifest: Path
    log: Path
    approve: str = "once"
    key: bytes = field(default=b"", repr=False)
    labels_key: bytes = field(default=b"", repr=False)
    questions: tuple[str, ...] = ()
    rules: dict[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Two policies with the same digest allow the same; keys are left out."""
        parts = {k: v for k, v in asdict(self).items() if not k.endswith("key")}
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def read(path: str | Path) -> Policy:
    """Read a policy from a TOML file, and check all of it.

    Raises
    ------
    ValueError
        If an entry is missing, not known, or not as described; the message names it.
    """
    table, folder = table_of(path), Path(path).resolve().parent
    where = f"the policy {Path(path).name}"
    check_names(table, [f.name for f in fields(Policy)], where)
    texts(table, ("site", "data", "file", "manifest"), where)
    site = table["site"]
    if not site.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"site of {where} must be letters, digits, - and _ alone, got {site!r}")
    given = {**defaults_of(Policy), "log": f"{site}.log", **table}
    approve, further, log = given["approve"], given["questions"], given["log"]
    if approve not in APPROVALS:
        raise ValueError(f"approve of {where} must be one of {quoted(APPROVALS)}, got {approve!r}")
    if not isinstance(further, list | tuple):
        raise ValueError(f"questions of {where} must be a list")
    check_names(map(str, further), FURTHER, f"questions of {where}")
    for name in ("key", "labels_key"):
        if name in table:
            texts(table, (name,), where)
            given[name] = read_key(folder / table[name])
    if not isinstance(log, str):
        raise ValueError(f"log of {where} must be a text")
    given |= {name: folder / given[name] for name in ("file", "manifest", "log")}
    given["questions"] = tuple(further)
    given["rules"] = checked_rules(given["rules"], f"rules of {where}")
    return Policy(**given)


def read_key(path: Path) -> bytes:
    """Return the key in a file, of at least 16 characters."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"the key {path.name} cannot be read: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise ValueError(
            f"the key {path.name} has {len(key)} characters, but needs {SHORTEST_KEY}; make one by "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return key
