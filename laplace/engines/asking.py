"""The coordinator's side: it puts the questions of a fit to sites that it reaches by letters.

A fit is a function of the answers. Whoever has these can make it again: a coordinator that was
killed begins anew, and every question that was answered before is read, not asked.

Letters are what takes time. A question that was asked before in the same fit is not asked again,
and questions that do not wait for one another travel in one letter.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

from laplace.answers import numbers_of
from laplace.arguments import quoted
from laplace.engines import letters
from laplace.fit import AUTO, fit_sites
from laplace.messages import to_json
from laplace.questions import AskAt, AskCensus, AskWithout
from laplace.result import Fit
from laplace.sites import Sites
from laplace.starts import AskStart
from laplace.together import AskTogether, each_of


@dataclass(frozen=True)
class Run:
    """A fit, as the coordinator plans it.

    Attributes
    ----------
    study, manifest : str
        Name of the study, and digest of its manifest.
    sites : tuple of str
        Names of the sites, in the order in which their answers are added.
    run : str
        What tells this run from others; drawn at random.
    nodes, tau, penalty, strength
        As in `laplace.fit_sites`.
    starts : bool
        Whether to start from the sites' own fits.
    reml : bool
        Whether tau maximises the restricted criterion, as in `laplace.fit_sites`.
    """

    study: str
    manifest: str
    sites: tuple[str, ...]
    run: str
    nodes: int | str = AUTO
    tau: float | None = None
    penalty: str | None = None
    strength: float | None = None
    starts: bool = False
    reml: bool = False

    @classmethod
    def new(cls, study: str, manifest: str, sites: Sequence[str], **options: Any) -> Run:
        """Return a run that has not begun."""
        if not sites or len(set(sites)) != len(sites):
            raise ValueError(f"sites must be one name or more, all different; got {quoted(sites)}")
        return cls(study, manifest, tuple(sites), secrets.token_hex(8), **options)

    def without(self, names: Sequence[str]) -> Run:
        """Return a new run without some of the sites."""
        unknown = [name for name in names if name not in self.sites]
        if unknown:
            raise ValueError(f"{quoted(unknown)} is no site of the run: {quoted(self.sites)}")
        left = tuple(name for name in self.sites if name not in names)
        if not left:
            raise ValueError("no site would be left")
        return replace(self, sites=left, run=secrets.token_hex(8))

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Return what `to_json` wrote."""
        try:
            parts = json.loads(text)
            return cls(**{**parts, "sites": tuple(parts["sites"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"this is no run of a fit: {error}") from None


class SiteRefusedError(RuntimeError):
    """Sites that do not answer a question; what they said of it stays with them.

    Attributes
    ----------
    sites : list of str
        Their names.
    """

    def __init__(self, sites: list[str], question: Any) -> None:
        kinds = ", ".join(type(one).__name__ for one in each_of(question))
        super().__init__(
            f"{quoted(sites)} refused the question {kinds}. Why stands in the log of the site: ask "
            "its administrator. The refusal stands as the answer in this run. Once the site has "
            "other rules, or is left out by its name, begin a new run"
        )
        self.sites = sites


# Takes the number of a question and the question; returns the answer of each site, None if refused.
Exchange = Callable[[int, Any], Mapping[str, Any]]


class _Place:
    """A site that is reached by letters alone."""

    def answer(self, question: Any) -> NoReturn:
        """Refuse: questions go to all sites at once."""
        raise TypeError("this site is asked by letters, together with the others")


def fit_run(run: Run, exchange: Exchange) -> Fit:
    """Fit by the answers of sites.

    Parameters
    ----------
    run : Run
        What to fit.
    exchange : callable
        Puts a question to all sites.

    Returns
    -------
    Fit

    Raises
    ------
    SiteRefusedError
        If a site refuses a question.
    TypeError, ValueError, SeparationError
        As `laplace.fit_sites` does.
    """
    return fit_sites(
        _ByLetters(run, exchange),
        nodes=run.nodes,
        tau=run.tau,
        penalty=run.penalty,
        strength=run.strength,
        reml=run.reml,
    )


class _ByLetters(Sites):
    """Sites that are reached by letters, each of which counts.

    Parameters
    ----------
    run : Run
        What is fitted.
    exchange : callable
        Puts a question to all sites.
    """

    def __init__(self, run: Run, exchange: Exchange) -> None:
        places = [_Place() for _ in run.sites]
        super().__init__(places, names=run.sites, guarded=True, starts=run.starts)
        self._run = run
        self._exchange = exchange
        self._known: dict[str, list[Any]] = {}
        self._letters = self._numbers = self._of_likelihood = 0

    @property
    def rounds(self) -> int:
        """How many letters went to each site."""
        return self._letters

    @property
    def evaluations(self) -> int:
        """How many questions in them asked for the log-likelihood."""
        return self._of_likelihood

    @property
    def numbers(self) -> int:
        """How many numbers the sites sent so far, all together."""
        return self._numbers

    def each(self, question: Any) -> list[Any]:
        """Put a question to all sites, unless it was answered; return their answers, one each."""
        asked = [self._as_sent(question)]
        wants_starts = self.starts and self._run.penalty is None and self._run.tau != 0.0
        if isinstance(question, AskCensus) and wants_starts:  # neither waits for the other
            asked.append(AskStart())
        self._put(asked)
        return self._known[to_json(asked[0])]

    def ahead(self, questions: Sequence[Any]) -> None:
        """Put questions to all sites, in one letter."""
        self._put(list(map(self._as_sent, questions)))

    def _as_sent(self, question: Any) -> Any:
        """Return a question so that it is the same whenever the fit is made again."""
        keyed = isinstance(question, AskCensus) and question.key
        return replace(question, key=self._run.run) if keyed else question

    def _put(self, questions: list[Any]) -> None:
        """Send what was not answered yet."""
        asked = {to_json(question): question for question in questions}
        asked = {text: one for text, one in asked.items() if text not in self._known}
        if not asked:
            return
        several = len(asked) > 1
        question = AskTogether(tuple(asked.values())) if several else next(iter(asked.values()))
        self._letters += 1
        answers = self._exchange(self._letters, question)
        refused = [name for name in self.names if answers[name] is None]
        if refused:
            raise SiteRefusedError(refused, question)
        came = [answers[name] for name in self.names]
        self._numbers += sum(map(numbers_of, came))
        for k, (text, one) in enumerate(asked.items()):
            self._known[text] = [answer.answers[k] for answer in came] if several else came
            self._of_likelihood += isinstance(one, AskAt | AskWithout)


def by_letters(
    run: Run, keys: Mapping[str, bytes], carry: Callable[[int, dict[str, str]], Mapping[str, str]]
) -> Exchange:
    """Return an exchange that seals letters, has them carried, and reads the answers.

    Parameters
    ----------
    run : Run
        What to fit.
    keys : mapping
        The key that is shared with each site; a site without one has an empty key.
    carry : callable
        Takes the number of a question and a letter for each site; returns theirs.
    """

    def exchange(number: int, question: Any) -> dict[str, Any]:
        asked = {
            name: letters.question_letter(
                run.study, run.manifest, run.run, number, name, question, keys.get(name, b"")
            )
            for name in run.sites
        }
        answered = carry(number, asked)
        return {
            name: opened(answered[name], asked[name], keys.get(name, b""), name)
            for name in run.sites
        }

    return exchange


def opened(text: str, asked: str, key: bytes, site: str) -> Any:
    """Return the answer of a site in a letter, or None where it was refused.

    Raises
    ------
    LetterError
        If it is no answer to what was asked.
    """
    try:
        letter, answer = letters.read(text, letters.ANSWER, key)
    except letters.SealError as error:
        raise letters.LetterError(
            f"{error}; compare the key of {site!r} here with the one at the site"
        ) from None
    except letters.LetterError as error:
        raise letters.LetterError(f"the answer of {site!r} cannot be read: {error}") from None
    if letter["of"] != letters.digest_of(asked):
        raise letters.LetterError(
            f"the letter of {site!r} answers another question; is the gate of an older run still "
            "answering?"
        )
    return answer
