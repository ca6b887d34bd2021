"""Many fits in one call, and what they are for: the bootstrap, which is attached to `Fit` here."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from inspect import signature
from threading import Lock
from typing import Any

import numpy as np

from laplace.arguments import flag, quoted, shown
from laplace.basis import orthogonal_each
from laplace.bootstrap import bootstrap, simulated_test
from laplace.fit import ConvergenceWarning, Options, checked, fit
from laplace.many.convoy import Convoy, may_join
from laplace.many.intake import TakenIn, is_plain, take_in
from laplace.many.stack import Stack
from laplace.objective import Problem, problem_of
from laplace.parallel import are_large, check_workers, each_part, progress_bar
from laplace.questions import AskAt, AskCensus
from laplace.result import Fit
from laplace.site import Site
from laplace.sites import Sites
from laplace.verdict import ApproximationWarning, reference_nodes

# What a design may refuse, and what `errors="return"` returns.
REFUSALS = (TypeError, ValueError, ArithmeticError)
# Designs are taken up to so many at a time, and up to so many numbers in X: these stay in a cache.
# Where processes share them, parts are smaller, so that none has nothing to do.
MOST_DESIGNS = 1000
MOST_DESIGNS_OF_A_PROCESS = 100
MOST_NUMBERS = 2_000_000
# The arguments of `fit` that describe rows, and those that say what is asked of them.
OF_ROWS = {"y", "X", "groups", "family", "trials", "offset", "names"}
OF_SEARCH = ("nodes", "tau", "penalty", "strength")
# With any other argument of `fit` that is not at its default a design is fitted by itself.
DEFAULTS = {name: of.default for name, of in signature(fit).parameters.items()}


def fit_many(
    designs: Iterable[Any],
    *,
    workers: int = 1,
    errors: str = "raise",
    progress: bool = False,
    **options: Any,
) -> list[Fit | Exception]:
    """Fit the same model to many sets of rows.

    The results are those of `fit`. Data sets with as many columns are searched together, each by
    the same stages as alone, in compiled calls that evaluate all of them; those that leave any
    doubt go on by themselves. What is found for one does not depend on the others. How many
    questions the way took (`Fit.rounds`, `Fit.evaluations`) may differ from that of `fit`.

    Parameters
    ----------
    designs : iterable
        Each is ``y, X, groups`` (as a tuple, or what `laplace.simulate` returns), or a mapping of
        arguments of `fit`.
    workers : int
        Processes to share the work between; -1 is one a core. More than one needs joblib, takes a
        second or two to start, and is worth it from some thousands of fits on. Data sets of
        thousands of numbers each stay in this process whatever is given: its threads share them,
        and rows that travelled to others and back would take longer than their fits.
    errors : {"raise", "return"}
        What to do with data that `fit` refuses, as those that are separated: raise the error of the
        first; or put the error in the list, in the place of the fit, whatever its type.
    progress : bool
        Whether to show a progress bar, which needs tqdm.
    **options
        Further arguments of `fit`, the same for all.

    Returns
    -------
    list of Fit
        In the order of the designs. A fit that did not converge says so in `converged` and
        `message`, and one whose approximation is not to be trusted in `doubt()`; there is no
        warning.

    Raises
    ------
    TypeError, ValueError
        As `fit` does; and if an argument is not one of the above, or a design is not.
    ImportError
        If joblib or tqdm is needed and not installed.

    Examples
    --------
    >>> import laplace
    >>> designs = [laplace.simulate.random_intercepts([20] * 30, [-0.5, 1.0], 1.0, seed=seed)
    ...            for seed in (1, 2)]
    >>> [round(fit.llf, 4) for fit in laplace.fit_many(designs, tau=1)]
    [-346.5551, -324.1172]
    """
    if not isinstance(errors, str) or errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', got {shown(errors)}")
    processes = check_workers(workers)
    if not isinstance(designs, Iterable) or isinstance(designs, Mapping | str):
        raise TypeError(
            f"designs must be a list of designs, got {type(designs).__name__}; {LIST_OF_ONE}"
        )
    if unknown := [name for name in options if name not in DEFAULTS]:
        raise TypeError(
            f"fit has no argument {quoted(unknown)}, which fit_many would give it; its arguments "
            f"are {', '.join(DEFAULTS)}"
        )
    count = len(designs) if isinstance(designs, Sized) else None
    results: list[Fit | Exception] = []
    with progress_bar(flag("progress", progress), count) as advance:
        most = MOST_DESIGNS if processes == 1 else MOST_DESIGNS_OF_A_PROCESS
        parts = _parts(designs, most, options)
        first = list(itertools.islice(parts, 1))
        numbers = max((_numbers(part) / len(part) for part in first), default=0.0)
        each = each_part(
            fit_part,
            itertools.chain(first, parts),
            1 if are_large(numbers) else processes,
            options,
            numbers=numbers,
        )
        for part in each:
            if errors == "raise":
                for k, found in enumerate(part, len(results)):
                    if isinstance(found, Exception):
                        found.add_note(
                            f"This is of designs[{k}]; with errors='return', errors stand in the "
                            "list in the places of their fits."
                        )
                        raise found
            results += part
            advance(len(part))
    return results


_FILTERS = Lock()

LIST_OF_ONE = "for a single data set, give a list of one"

# A design as arguments of `fit`, or why it is none.
Design = Mapping[str, Any] | TypeError


def _parts(designs: Iterable[Any], most: int, options: Mapping[str, Any]) -> Iterator[list[Design]]:
    """Read designs as many at a time as are searched together."""
    part: list[Design] = []
    numbers = 0
    for design in designs:
        part.append(_read(design, options))
        numbers += _numbers(part[-1:])
        if len(part) >= most or numbers >= MOST_NUMBERS:
            yield part
            part, numbers = [], 0
    if part:
        yield part


def _numbers(designs: Sequence[Design]) -> int:
    """Return how many numbers X has in all of some designs, as far as that is known."""
    sizes = [getattr(of.get("X"), "size", 0) for of in designs if isinstance(of, Mapping)]
    return int(sum(size for size in sizes if isinstance(size, int | np.integer)))


def _read(design: Any, options: Mapping[str, Any]) -> Design:
    """Return a design as arguments of `fit`, or why it is none."""
    if not isinstance(design, Mapping):
        try:
            y, X, groups = design
        except (TypeError, ValueError):
            return TypeError(
                f"designs must hold (y, X, groups) or mappings of arguments of fit, got "
                f"{type(design).__name__}; {LIST_OF_ONE}"
            )
        design = {"y": y, "X": X, "groups": groups}
    names, given = list(design), {*design, *options}
    if unknown := [name for name in names if name not in DEFAULTS]:
        return TypeError(
            f"designs must hold arguments of fit, and {quoted(unknown)} is none of them: "
            f"{', '.join(DEFAULTS)}"
        )
    if missing := [name for name in ("y", "X", "groups") if name not in given]:
        verb = "is" if len(missing) == 1 else "are"
        return TypeError(f"designs must hold y, X and groups, but {quoted(missing)} {verb} missing")
    if twice := [name for name in names if name in options]:
        return TypeError(
            f"{quoted(twice)} is given by a design, and to fit_many for all designs; leave out one "
            "of the two"
        )
    return dict(design)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A design that may be searched together with others.

    Attributes
    ----------
    place : int
        Which design it is.
    site, problem : Site, Problem
        Its rows, and what they pose.
    rules : tuple of int
        The numbers of nodes to try.
    stack, of_stack : Stack or None, int
        Where its rows are with those of others, if they are, and which of them it is.
    """

    place: int
    site: Site
    problem: Problem
    rules: tuple[int, ...]
    stack: Stack | None = None
    of_stack: int = -1

    @property
    def kind(self) -> tuple[Any, ...]:
        """What those have in common that are searched together."""
        tau, X = self.problem.tau, self.site.data.X
        return X.shape[1], X.dtype, self.rules, tau is None, tau == 0.0, self.problem.family.name


def fit_part(
    designs: Sequence[Design], options: Mapping[str, Any], threads: int | None = None
) -> list[Fit | Exception]:
    """Fit some designs, those together that may be; return the fits, and why others are refused."""
    results: list[Fit | Exception | None] = [None] * len(designs)
    together: dict[tuple[Any, ...], list[Prepared]] = {}
    for one in _prepared(designs, options, threads):
        together.setdefault(one.kind, []).append(one)
    for prepared in together.values():
        for one, found in zip(prepared, search_together(prepared, threads), strict=True):
            results[one.place] = found
    return [
        fit_alone(design, options) if found is None else found
        for design, found in zip(designs, results, strict=True)
    ]


def search_together(prepared: Sequence[Prepared], threads: int | None) -> list[Fit | None]:
    """Search designs of one kind; None for those that have to be searched alone."""
    stack = prepared[0].stack
    if stack is not None and all(one.stack is stack for one in prepared):
        stack = stack.take(np.array([one.of_stack for one in prepared]))
    else:
        stack = Stack.of([one.site.data for one in prepared], threads)
    convoy = Convoy([one.problem for one in prepared], stack)
    fits: list[Fit | None] = []
    for one, result, evaluations in zip(
        prepared, convoy.run(prepared[0].rules), convoy.evaluations.tolist(), strict=True
    ):
        if result is None:
            fits.append(None)
            continue
        sites = one.problem.sites
        sites.note(AskAt, result.candidate.estimate.contribution, evaluations)
        fits.append(Fit.of(result, sites.asked, one.site))
    return fits


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a design asks for: its rows, as arguments of `fit`, and how they are to be searched."""

    place: int
    rows: Mapping[str, Any]
    options: Options


def _wanted(designs: Sequence[Design], options: Mapping[str, Any]) -> Iterator[Wanted]:
    """Yield designs, but for those that are refused, or ask for what is searched alone."""
    of_all = _asked(options)
    for place, design in enumerate(designs):
        if isinstance(design, TypeError) or not design.keys().isdisjoint(options):
            continue
        every = {**design, **options}
        # most designs hold rows and nothing else
        asked = of_all if design.keys() <= OF_ROWS else _asked(every)
        if asked is not None:
            yield Wanted(place, {name: every[name] for name in every if name in OF_ROWS}, asked)


def _asked(arguments: Mapping[str, Any]) -> Options | None:
    """Return how rows are to be searched; None where that is refused, or is for one alone."""
    others = arguments.keys() - OF_ROWS - {*OF_SEARCH}
    if any(name not in DEFAULTS or arguments[name] is not DEFAULTS[name] for name in others):
        return None
    try:
        asked = checked(*(arguments.get(name, DEFAULTS[name]) for name in OF_SEARCH))
    except REFUSALS:
        return None
    judged = reference_nodes(asked.rules[0]) is not None
    return asked if asked.penalty is None and judged else None


def _prepared(
    designs: Sequence[Design], options: Mapping[str, Any], threads: int | None
) -> list[Prepared]:
    """Check designs; those are left out that cannot be searched with others, or are refused."""
    plain: dict[int, list[Wanted]] = {}
    found: list[Prepared] = []
    alone: list[Wanted] = []
    for wanted in _wanted(designs, options):
        if is_plain(wanted.rows):
            plain.setdefault(wanted.rows["X"].shape[1], []).append(wanted)
        else:
            alone.append(wanted)
    for some in plain.values():
        try:
            taken = take_in([wanted.rows for wanted in some], threads)
        except REFUSALS:  # names that are wrong, for one
            alone += some
            continue
        for k, (wanted, problem) in enumerate(zip(some, _problems(taken, some), strict=True)):
            site = taken.sites[k]
            if problem is None or site is None:
                alone.append(wanted)
            elif may_join(problem):
                found.append(
                    Prepared(wanted.place, site, problem, wanted.options.rules, taken.stack, k)
                )
    for wanted in alone:
        try:
            site = Site.from_arrays(**wanted.rows)
            sites = Sites([site])
            census, tau = sites.census(), wanted.options.tau
            problem = problem_of(sites, census, tau, None, None)
        except REFUSALS:
            continue
        if may_join(problem) and (tau is not None or "tau" not in census.names):
            found.append(Prepared(wanted.place, site, problem, wanted.options.rules))
    return found


def _problems(taken: TakenIn, some: Sequence[Wanted]) -> list[Problem | None]:
    """Return the problems that data sets pose; None where a closer look is needed."""
    problems: list[Problem | None] = [None] * len(some)
    known = {k: census for k, census in enumerate(taken.censuses) if census is not None}
    if not known:
        return problems
    grams = np.array([census.gram for census in known.values()])
    bases = orthogonal_each(grams, [census.n for census in known.values()])
    for (k, census), basis in zip(known.items(), bases, strict=True):
        tau = some[k].options.tau
        if basis is None or (
            tau is None and (census.m < 2 or census.m == census.n or "tau" in census.names)
        ):
            continue
        sites = Sites([taken.sites[k]])
        sites.note(AskCensus, census, 1)
        problems[k] = Problem(sites, census, basis, tau, None)
    return problems


def fit_alone(design: Design, options: Mapping[str, Any]) -> Fit | Exception:
    """Fit one design by itself, or return why not."""
    if isinstance(design, TypeError):
        return design
    # the filters of warnings are of the process, not of a thread
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", ApproximationWarning)
        try:
            return fit(**design, **options)
        except REFUSALS as error:
            return error


# Attached here, so that the result of a fit need not know of the doors.
Fit.bootstrap = bootstrap
Fit._simulated_test = staticmethod(simulated_test)
