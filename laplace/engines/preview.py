"""What a site would send, in words, before anything is sent."""

from __future__ import annotations

import textwrap
from dataclasses import asdict

import numpy as np

from laplace.engines.policy import FURTHER, Policy
from laplace.engines.rules import Rows, size_of_answer
from laplace.engines.thresholds import RULES, Thresholds
from laplace.questions import AskAt, AskCensus, AskWithout

WIDTH = 88
NOT_PRIVATE = (
    "This is not differential privacy. What is sent is exact, and the rules below make it harder "
    "to take sums apart; they do not make it impossible. A hospital that is one group cannot hide "
    "inside its own sum: what it sends is about itself alone. Where two sites take part, each "
    "learns the other's sums by subtracting its own from the total. A refusal tells the "
    "coordinator that some threshold was passed."
)


def preview(rows: Rows, policy: Policy, answered: int, sent: float) -> str:
    """Return in words what a fit of the manifest would send of the rows.

    Parameters
    ----------
    rows : Rows
        The rows.
    policy : Policy
        The policy.
    answered : int
        Questions that were answered before.
    sent : float
        Numbers that were sent before.
    """
    site, manifest, limits = rows.site, rows.manifest, rows.thresholds
    data, p = site.data, rows.p
    binary = [n for k, n in enumerate(data.names) if set(np.unique(rows.X[:, k])) == {0.0, 1.0}]
    pairs = len(binary) * (len(binary) + 1) // 2
    each = size_of_answer(AskAt, p)
    parts = [
        f"WHAT {policy.site!r} WOULD SEND to the study {manifest.study!r}, of the data set "
        f"{policy.data!r}: {data.n} rows in {data.m} groups.",
        f"The formula is {manifest.formula}. Its columns are {', '.join(data.names)}.",
        f"1. Once: counts and sums. {size_of_answer(AskCensus, p)} numbers: how many rows, "
        "groups, events and trials there are, the sizes of the smallest and the largest group, "
        f"how many groups have both outcomes, and the sum and the cross-products of all {p} "
        "columns.",
    ]
    if binary:
        counts = (
            f"{pairs} of these numbers are your one-way and two-way counts, of "
            f"{', '.join(binary)}: how many rows have each level, and each pair of levels"
            if pairs > 1
            else f"One of these numbers is how many rows have {binary[0]}"
        )
        parts.append(
            f"   {counts}. With the answers below, {'they are' if pairs > 1 else 'it is'} known by "
            "outcome, too."
        )
    for name, (least, most) in _spans(rows).items():
        parts.append(
            f"   Of {name} ({least:g} to {most:g} here), the mean and the variance follow."
        )
    parts.append(
        f"2. In each of about 10 to 40 rounds: {each} numbers: the log-likelihood at parameters "
        f"that the coordinator chooses, its {p + 1} slopes and its {(p + 1) * (p + 2) // 2} "
        "curvatures. At zero, the slopes are the sums of each column over the events. Without "
        f"random intercepts, {size_of_answer(AskWithout, p) - each} more: two sums over groups, "
        "and the information of the groups that tell least and most, to about one digit where "
        "groups are small."
    )
    parts.append(
        "3. Only if the outcomes are separated: whether all rows agree with a direction, and then "
        "how many are off its boundary. Never a least or a largest value."
    )
    allowed = [further for name, further in FURTHER.items() if name in policy.questions]
    for k, further in enumerate(allowed, start=4):
        numbers = size_of_answer(further.question, p)
        parts.append(f"{k}. {further.says.format(p=p, numbers=numbers)}")
    labels = (
        "Digests of your group labels are sent, keyed with what the sites share: they tell whether "
        "two sites have the same label."
        if policy.labels_key
        else "No group label is sent, nor a digest of one, so that nothing tells whether a group "
        "is at two sites; make sure of it by other ways, or share a labels_key between the sites."
    )
    never = "Never: a row, a group label, a random effect, a least or largest value of a column."
    most = limits.numbers_per_unknown * rows.unknowns
    budget = (
        f"Sent so far: {answered} answers with {sent:.0f} numbers. The budget is {most:.0f} "
        f"numbers, which are {most // each:.0f} answers, and {manifest.rounds} questions. It "
        "belongs to the name of the data set, and stays used when the gate is started again."
    )
    verdict = (
        "The rows pass the rules."
        if rows.objection is None
        else f"Nothing would be answered. {rows.objection}"
    )
    parts += [labels, never, budget, NOT_PRIVATE, "The rules:"]
    lines = [textwrap.fill(part, WIDTH, subsequent_indent="   ") for part in parts]
    return "\n\n".join([*lines, rules_in_words(limits), textwrap.fill(verdict, WIDTH)])


def _spans(rows: Rows) -> dict[str, tuple[float, float]]:
    """Return the least and largest value of each column that is neither constant nor binary."""
    spans = {}
    for k, name in enumerate(rows.site.data.names):
        values = np.unique(rows.X[:, k])
        if len(values) > 2 or not set(values) <= {0.0, 1.0}:
            spans[name] = float(values[0]), float(values[-1])
    return {name: ends for name, ends in spans.items() if ends[0] < ends[1]}


def rules_in_words(limits: Thresholds) -> str:
    """Return a line for each rule, with its threshold and its reason."""
    lines = []
    for name, value in asdict(limits).items():
        rule = RULES[name]
        text = f"- {name} = {value:g}: {rule.says.format(f'{value:g}')}. Why: {rule.reason}."
        lines.append(textwrap.fill(text, WIDTH, subsequent_indent="    "))
    return "\n".join(lines)
