"""The letters that carry a question to a gate, and an answer back: JSON, sealed.

A letter says which study, manifest, run and question it belongs to. Its seal is a keyed digest
(HMAC-SHA256) of the rest. With a key that the coordinator and the site share, nobody else can write
a letter or alter one; without a key the seal notices accidents alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from laplace.messages import from_json, to_json

QUESTION, ANSWER = "question", "answer"
PARTS = {
    QUESTION: {"kind", "study", "manifest", "run", "number", "site", "question", "seal"},
    ANSWER: {"kind", "study", "manifest", "run", "number", "site", "of", "answer", "after", "seal"},
}
# No question and no answer that a fit needs comes near this.
LONGEST = 16_000_000
LONGEST_NAME = 200
WRONG = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


class LetterError(ValueError):
    """A letter that cannot be read, or does not belong here; the message says why."""


class SealError(LetterError):
    """A letter whose seal is not that of its content and the key."""


def question_letter(
    study: str, manifest: str, run: str, number: int, site: str, question: Any, key: bytes
) -> str:
    """Return the letter that puts a question to a site."""
    return _sealed(
        {
            "kind": QUESTION,
            "study": study,
            "manifest": manifest,
            "run": run,
            "number": number,
            "site": site,
            "question": json.loads(to_json(question)),
        },
        key,
    )


def answer_letter(asked: dict[str, Any], text: str, answer: Any, after: str, key: bytes) -> str:
    """Return the letter that answers another; an answer of None is a refusal.

    Parameters
    ----------
    asked : dict
        The letter that is answered.
    text : str
        The same, as it came.
    answer : record or None
        The answer.
    after : str
        Digest of the last entry of the site's log.
    key : bytes
        The key.
    """
    return _sealed(
        {
            **{name: asked[name] for name in ("study", "manifest", "run", "number", "site")},
            "kind": ANSWER,
            "of": digest_of(text),
            "answer": None if answer is None else json.loads(to_json(answer)),
            "after": after,
        },
        key,
    )


def read(text: str, kind: str, key: bytes) -> tuple[dict[str, Any], Any]:
    """Return a letter and the question or the answer in it.

    Raises
    ------
    LetterError
        If it is no such letter, or its seal is broken.
    """
    if len(text) > LONGEST:
        raise LetterError(f"the letter is longer than {LONGEST} characters")
    try:
        letter = json.loads(text)
        whole = isinstance(letter, dict) and letter.get("kind") == kind
        if not whole or letter.keys() != PARTS[kind]:
            raise LetterError(f"the letter has to be a {kind} with {sorted(PARTS[kind])}")
        texts = PARTS[kind] - {"number", "question", "answer"}
        if not all(isinstance(letter[name], str) for name in texts):
            raise LetterError("the letter has something else where texts belong")
        if any(len(letter[name]) > LONGEST_NAME for name in texts):
            raise LetterError(f"the letter has a name of more than {LONGEST_NAME} characters")
        if type(letter["number"]) is not int or letter["number"] < 1:
            raise LetterError("the number of the letter has to be a whole number above zero")
        if not hmac.compare_digest(_seal(letter, key).encode(), letter["seal"].encode()):
            raise SealError(
                "the seal is broken: the letter was altered, or sealed with another key"
            )
        content = letter[kind]
        return letter, None if content is None else from_json(json.dumps(content))
    except LetterError:
        raise
    except WRONG as error:
        raise LetterError(f"the letter cannot be read: {error!s:.300}") from None


def digest_of(text: str) -> str:
    """Return the digest of a letter."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _sealed(letter: dict[str, Any], key: bytes) -> str:
    return json.dumps({**letter, "seal": _seal(letter, key)}, separators=(",", ":"))


def _seal(letter: dict[str, Any], key: bytes) -> str:
    rest = {name: value for name, value in letter.items() if name != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def content_of(text: str) -> tuple[dict[str, Any], Any]:
    """Return a letter of a log, whose chain of digests holds it, and what is in it."""
    letter = json.loads(text)
    content = letter[letter["kind"]]
    return letter, None if content is None else from_json(json.dumps(content))
