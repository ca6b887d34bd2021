"""Questions and answers as JSON: exact, and refused in words where they are not what they say."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from designs import many_groups

import laplace
from laplace import questions
from laplace.messages import RECORDS, from_json, to_json
from laplace.questions import AskAt, AskCensus, View
from laplace.starts import AskStart
from laplace.together import AskTogether

RNG = np.random.default_rng(8)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to the last bit, and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.tobytes() == other.tobytes()
    if type(one).__name__ in RECORDS:
        names = [field.name for field in fields(one)]
        return all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, tuple) and len(one) == len(other):
        return all(map(same, one, other))
    return one == other or (one != one and other != other)


def a_site() -> laplace.Site:
    y, X, groups = many_groups(5)
    return laplace.Site.from_arrays(y, X, groups, offset=np.linspace(-1, 1, len(y)))


def all_questions() -> list[Any]:
    triangle = np.triu(RNG.normal(size=(3, 3)) + 3 * np.eye(3))
    views = [View(), View(every=2, rows=3), View(triangle=triangle)]
    beta, scale = RNG.normal(size=3) * 1e-3, np.ones(3)
    asked: list[Any] = [questions.AskDigests("key"), questions.AskSketch("key", 5, scale)]
    for view in views:
        asked += [
            questions.AskCensus(view, "key"),
            questions.AskTriangle(view, scale, np.empty(0)),
            questions.AskTriangle(view, scale, beta),
            questions.AskKnown(scale),
            questions.AskMoments(view),
            questions.AskWithout(view, beta),
            questions.AskAt(view, beta, 1.5, 7),
            questions.AskMargins(view, beta),
            questions.AskDirection(view, triangle, scale),
            questions.AskJeffreys(view, beta, triangle),
            questions.AskVariation(view),
        ]
    return [*asked, AskTogether(tuple(asked[:4])), AskTogether(())]


@pytest.mark.parametrize("question", all_questions(), ids=lambda q: type(q).__name__)
def test_what_is_read_is_what_was_written(question: Any) -> None:
    assert same(from_json(to_json(question)), question)
    answer = a_site().answer(question)
    again = from_json(to_json(answer))
    assert same(again, answer)
    assert same(a_site().answer(from_json(to_json(question))), answer)


def test_every_question_is_tried() -> None:
    asked = {type(question) for question in all_questions()} | {AskStart}  # see test_starts
    assert asked == {record for name, record in RECORDS.items() if name.startswith("Ask")}
    for record in RECORDS.values():
        assert record.__doc__


@pytest.mark.parametrize(
    "number", [0.1, -0.0, 5e-324, 1.7976931348623157e308, np.inf, -np.inf, np.nan, 1 / 3]
)
def test_every_number_is_exact(number: float) -> None:
    ask = AskAt(View(), np.array([number, 1.0]), number, 1)
    assert same(from_json(to_json(ask)), ask)
    json.loads(to_json(ask), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def altered(**changes: Any) -> str:
    ask = json.loads(to_json(AskAt(View(), np.zeros(2), 1.0, 1)))
    return json.dumps({name: value for name, value in {**ask, **changes}.items() if value != "-"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the message is not JSON"),
        ("[1, 2]", "the message must be one of the records View, Census"),
        ('{"record": "Popen"}', "the message must be one of the records"),
        (altered(nodes=1.5), "nodes of AskAt must be of type int, got 1.5"),
        (altered(nodes=True), "nodes of AskAt must be of type int, got True"),
        (altered(tau="one"), "tau of AskAt must hold numbers, got 'one'"),
        (altered(tau="-"), "AskAt, which has view, beta, tau, nodes; got view, beta, nodes"),
        (altered(code="import os"), "got view, beta, tau, nodes, code"),
        (altered(beta=[1.0]), "beta of AskAt must be an array"),
        (altered(beta={"shape": [3], "values": [1.0]}), "beta of AskAt must be an array"),
        (altered(beta={"shape": [1], "values": [None]}), "beta of AskAt must hold numbers"),
        (altered(record="AskTogether"), "AskTogether, which has questions"),
        ('{"record": "AskTogether", "questions": 7}', "questions of AskTogether must be a list"),
        ('{"record": "AskTogether", "questions": [7]}', "questions of AskTogether must be one of"),
        (altered(view=None), "view of AskAt must be one of the records"),
        (altered().replace("1.0", "NaN"), "the message holds NaN, which is not JSON"),
    ],
)
def test_other_texts_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_json(text)


def test_answers_of_a_key_are_different_for_another() -> None:
    site = a_site()
    one, same_key, other = (site.digests(key) for key in ("a", "a", "b"))
    assert same(one, same_key)
    assert one.y != other.y
    assert site.answer(AskCensus(View(), "")).labels == ()
    assert len(set(site.answer(AskCensus(View(), "k")).labels)) == site.data.m
