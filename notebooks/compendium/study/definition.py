"""What a study is made of, under names: scenarios, methods, and their random numbers."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from laplace.simulate import Simulated

if TYPE_CHECKING:
    from compendium.study.methods import Estimate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=-]*")
DIGITS = 16
# Data sets of a scenario, where nothing else is said.
REPLICATES = 200
# Packages whose functions go by their names alone, wherever they are kept.
OWN = ("laplace", "compendium")


@dataclass(frozen=True)
class Scenario:
    """A data-generating mechanism.

    Attributes
    ----------
    name : str
        Letters, digits and any of ``_.+=-``. Together with the study's seed and the replicate's
        number it decides the random numbers.
    draw : callable
        Called as ``draw(**parameters, seed=generator)``; returns `laplace.simulate.Simulated`.
    parameters : dict
        What JSON has: numbers, text, lists.
    methods : tuple of str
        Names of the methods that a study runs here where none are named; by default all.
    replicates : int
        How many data sets a study draws where it is not told.
    """

    name: str
    draw: Callable[..., Simulated]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    replicates: int = REPLICATES

    def data(self, generator: np.random.Generator) -> Simulated:
        """Draw one data set."""
        return self.draw(**self.parameters, seed=generator)

    @property
    def definition(self) -> dict[str, Any]:
        """The name, the function and its parameters, as JSON has them."""
        return _definition("scenario", self.name, self.draw, self.parameters)


@dataclass(frozen=True)
class Method:
    """A named fit.

    Attributes
    ----------
    name : str
        Letters, digits and any of ``_.+=-``.
    fit : callable
        Called as ``fit(data, **options)`` with `laplace.simulate.Simulated`; returns an `Estimate`.
        What it raises is recorded as a failure.
    options : dict
        What JSON has: numbers, text, lists.
    every : int
        It is run on every so many data sets only, from the first on.
    together : bool
        Whether `fit` is called with a list of data sets, and returns for each an `Estimate` or what
        it raised.
    """

    name: str
    fit: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    every: int = 1
    together: bool = False

    def __call__(self, data: Simulated) -> Estimate:
        """Fit one data set."""
        if not self.together:
            return cast("Estimate", self.fit(data, **self.options))
        (found,) = self.fit([data], **self.options)
        if isinstance(found, Exception):
            raise found
        return cast("Estimate", found)

    def each(self, data: Sequence[Simulated]) -> list[Estimate | Exception]:
        """Fit some data sets; what is raised stands in the place of the estimate."""
        if self.together:
            return list(self.fit(list(data), **self.options))
        return [self._attempt(one) for one in data]

    def _attempt(self, data: Simulated) -> Estimate | Exception:
        try:
            return self(data)
        except MemoryError:  # says something of the machine, and nothing of the method
            raise
        except Exception as error:
            return error

    @property
    def definition(self) -> dict[str, Any]:
        """The name, the function and its options, as JSON has them."""
        whole = _definition("method", self.name, self.fit, self.options)
        return whole if self.every == 1 else {**whole, "every": self.every}


def _definition(
    kind: str,
    name: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    if not NAME.fullmatch(name):
        raise ValueError(f"{kind} {name!r}: a name has letters, digits and any of _ . + = -")
    try:
        written = json.loads(canonical(dict(options)))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{kind} {name!r}: its parameters must be finite numbers, text or lists of them, so "
            f"that they can be written down ({error})"
        ) from None
    definition = {
        "name": name,
        "function": function.__qualname__,
        "parameters": written,
    }
    if function.__module__.partition(".")[0] not in OWN:  # whose code has a digest of its own
        definition["function"] = f"{function.__module__}.{function.__qualname__}"
        definition["code"] = _code(function)
    return definition


def _code(function: Callable[..., Any]) -> str:
    """Digest a function, so that a change of it is noticed."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:DIGITS]
    except (OSError, TypeError):
        return "unknown"


def canonical(value: Any) -> str:
    """Write as JSON, the same value always in the same way."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Digest the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:DIGITS]


def generator(seed: int, scenario: Scenario, replicate: int) -> np.random.Generator:
    """Return the source of random numbers of one replicate of one scenario."""
    name = int.from_bytes(hashlib.sha256(scenario.name.encode()).digest()[:16], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, name], spawn_key=(replicate,)))


N = TypeVar("N", Scenario, Method)


def named(argument: str, given: Sequence[str | N] | None, known: Mapping[str, N]) -> list[N]:
    """Return the scenarios or methods that were given, by name or as they are; by default all."""
    if given is None:
        return list(known.values())
    if isinstance(given, str):
        given = [given]
    found: dict[str, N] = {}
    for one in given:
        if isinstance(one, str) and one not in known:
            near = get_close_matches(one, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{argument}: there is no {one!r}; {hint}There are: {', '.join(known)}"
            )
        item = known[one] if isinstance(one, str) else one
        if item.name in found:
            raise ValueError(f"{argument}: {item.name!r} is given twice")
        found[item.name] = item
    if not found:
        raise ValueError(f"{argument} is empty; there are: {', '.join(known)}")
    return list(found.values())
