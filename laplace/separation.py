"""Outcomes that a combination of the columns of X separates, so that no finite maximum exists."""

from __future__ import annotations

import numpy as np

from laplace.answers import MARGIN_TOLERANCE, Direction
from laplace.arguments import Array, cut, listed, quoted
from laplace.contribution import COEFFICIENTS, AtZero, Contribution
from laplace.families import Bernoulli, Poisson
from laplace.later import pd
from laplace.newton import maximise
from laplace.objective import Problem, all_the_same

# Newton's steps on the way to infinity: by then its steps have the direction of a separation, and
# the likelihood still has digits.
STEPS_TO_INFINITY = 40
# How many of its last steps are tried.
STEPS_TRIED = 3


class SeparationError(ValueError):
    """The rows are separated by X, so that no finite maximum exists.

    Attributes
    ----------
    direction : pandas.Series
        Coefficients, one a column of X, along which the likelihood never falls.
    complete : bool
        True where the direction classifies every row without a tie.
    """

    def __init__(self, message: str, direction: pd.Series, complete: bool) -> None:
        super().__init__(message)
        self.direction = direction
        self.complete = complete

    def __reduce__(self) -> tuple[type[SeparationError], tuple[str, pd.Series, bool]]:
        """Pickle all arguments, so that the error can come back from another process."""
        return type(self), (str(self), self.direction, self.complete)


def check(problem: Problem) -> None:
    r"""Refuse outcomes that a linear combination of the columns of X separates.

    A single place answers by linear programming, which names few columns. Several places, and
    guarded ones, follow Newton's method without random intercepts: where it runs to infinity its
    last step is the direction, and one question certifies that no row at any place objects. Where
    it ends at a maximum nothing separates the outcomes: the residuals there are all nonzero and
    orthogonal to X, which is Stiemke's certificate that no direction does.

    Raises
    ------
    SeparationError
        If there is such a combination. The message and the attribute `direction` name it.
    """
    found = _direction(problem)
    if found is not None:
        raise _error(problem, found)


def check_variation(problem: Problem) -> None:
    """Refuse outcomes that are all at the same end of their range, where X separates them.

    An intercept does, and so does every column of one sign. A ridge penalty leaves constant columns
    free.

    Raises
    ------
    ValueError
        If the outcomes are, and no finite maximum exists.
    """
    reason = all_the_same(problem.census)
    if reason is None or problem.always_inside:
        return
    penalty = problem.penalty
    if (not penalty.bounds_all) if penalty is not None else _direction(problem) is not None:
        raise ValueError(
            f"{reason}: the likelihood has no finite maximum; rows with other outcomes are needed"
        )


def _direction(problem: Problem) -> Direction | None:
    """Return a direction that separates the outcomes; None where there is none."""
    single = len(problem.sites) == 1 and not problem.sites.guarded
    found = _of_single_place(problem) if single else _of_newtons_path(problem)
    return found if found is not None and np.any(found.weights) else None


def _of_single_place(problem: Problem) -> Direction:
    basis = problem.basis
    return problem.sites.direction(basis.triangle, problem.census.scale, basis.rows)


def _of_newtons_path(problem: Problem) -> Direction | None:
    """Return a direction of Newton's last steps that every row certifies; None if there is none."""
    objective, path = problem.likelihood(1), []

    def evaluate(coefficients: Array) -> AtZero:
        return objective.without(coefficients).of(COEFFICIENTS)

    def follow(coefficients: Array, _: Contribution) -> None:
        path.append(coefficients.copy())

    start = np.zeros(problem.census.p)
    ended = maximise(evaluate, start, stop=follow, tolerance=0.0, max_iterations=STEPS_TO_INFINITY)
    path.append(ended.theta)
    for earlier in path[-2 : -2 - STEPS_TRIED : -1]:
        direction = path[-1] - earlier
        certified = _certified(problem, direction) if np.any(direction) else None
        if certified is not None:
            return _with_few_columns(problem, direction, certified)
    return None


def _certified(problem: Problem, direction: Array) -> tuple[bool, int] | None:
    """Ask all rows; return whether no margin is zero and how many are not, or None if one fails."""
    basis = problem.basis
    # the question is put in the columns in which the others are, too
    asked = direction if basis.computed else basis.back(direction)
    margins = problem.sites.margins(asked, basis.view)
    if margins.most <= 0.0 or margins.least < -MARGIN_TOLERANCE * margins.most:
        return None
    return margins.least > MARGIN_TOLERANCE * margins.most, margins.positive


def _with_few_columns(problem: Problem, direction: Array, certified: tuple[bool, int]) -> Direction:
    """Leave out the columns that rounding alone brought in, if all rows still agree."""
    basis, scale = problem.basis, problem.census.scale
    weights = basis.back(direction) * scale
    small = np.abs(weights) <= MARGIN_TOLERANCE * np.abs(weights).max()
    if np.any(weights[small]):
        fewer = np.where(small, 0.0, weights)
        again = _certified(problem, basis.forward(fewer / scale))
        if again == certified:
            weights = fewer
    weights = weights / scale
    return Direction(weights / np.abs(weights).max(), *certified)


def _error(problem: Problem, found: Direction) -> SeparationError:
    """Say along which combination the outcomes are separated, and what can be done."""
    census = problem.census
    direction = pd.Series(found.weights, index=list(census.names), name="direction")
    used = direction[direction != 0.0]
    terms = [f"{weight:.4g}*{cut(str(name))}" for name, weight in used.items()]
    line = listed(terms, " + ", " + {} more terms").replace("+ -", "- ")
    if census.family != Bernoulli.name:
        what = (
            f"X separates y: along {line} the likelihood of no row falls, and that of some "
            "rises for ever"
        )
    elif found.complete:
        what = (
            f"X separates y completely: {line} is positive in every row with y = 1 and "
            "negative in every row with y = 0"
        )
    else:
        what = (
            f"X separates y: {line} is never negative where y = 1 and never positive where "
            f"y = 0, and not zero in {found.positive} of {census.n} rows"
        )
    ridge = "penalty='ridge' with a strength"
    remedies = ridge if census.family == Poisson.name else f"penalty='soft', or {ridge}"
    return SeparationError(
        f"{what}; so no finite maximum of the likelihood exists. Leave out or merge "
        f"{quoted(list(used.index))}, collect more rows, or add a penalty: {remedies}",
        direction,
        found.complete,
    )
