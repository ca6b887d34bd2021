"""The rules of a gate: whether a question may be answered, judged at what it asks about.

Each refusal is a `RefusedError` with a sentence for the site's own log: it names the rule and the
threshold, and holds no count of the rows. The coordinator learns only that it was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from laplace import questions
from laplace.answers import (
    Census,
    Jeffreys,
    Margins,
    Moments,
    Triangle,
    Variation,
    numbers_of,
)
from laplace.arguments import Array
from laplace.contribution import AtZero, Contribution
from laplace.engines.manifest import Manifest
from laplace.engines.policy import FURTHER
from laplace.engines.thresholds import RULES, Thresholds
from laplace.families import Poisson
from laplace.later import special
from laplace.local import TAU_LIMIT
from laplace.site import Site
from laplace.starts import AskStart, Start

# Every fit asks these.
NEEDED = (
    questions.AskCensus,
    questions.AskTriangle,
    questions.AskMoments,
    questions.AskWithout,
    questions.AskAt,
    questions.AskMargins,
)
ROUNDING = 1e-6
# Sums of a billion rows hold no smaller part of themselves.
SEEN = 1e-9
# So many numbers are kept of questions before, rather than computed again.
KEPT = 20_000_000

Point = tuple[Array, float]  # coefficients, and tau


class RefusedError(ValueError):
    """A question that is not answered.

    Attributes
    ----------
    rule : str
        The rule.
    """

    def __init__(self, rule: str, why: str) -> None:
        super().__init__(
            f"Refused by the rule {rule!r}: {why}. The coordinator learns only that this question "
            "was refused."
        )
        self.rule = rule


def by_threshold(rule: str, thresholds: Thresholds, what: str) -> RefusedError:
    """Return the refusal of a rule with a threshold."""
    threshold = getattr(thresholds, rule)
    says = RULES[rule].says.format(f"{threshold:g}")
    return RefusedError(rule, f"it asks that {says}, and {what}")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a site, as the rules see them.

    Attributes
    ----------
    site : laplace.Site
        The rows.
    manifest : Manifest
        What was agreed on.
    thresholds : Thresholds
        Of the policy and the manifest.
    """

    site: Site
    manifest: Manifest
    thresholds: Thresholds
    # weights and linear predictors at parameters, which can be computed again
    _profiles: dict[tuple[bytes, float], tuple[Array, Array]] = field(
        default_factory=dict, repr=False
    )

    @property
    def p(self) -> int:
        """Number of columns of X."""
        return self.site.data.p

    @cached_property
    def X(self) -> Array:  # noqa: N802
        """The columns, in float64."""
        return np.asarray(self.site.data.X, dtype=float)

    @cached_property
    def trials(self) -> Array:
        """Individuals of each row."""
        trials: Array = np.asarray(self.site.data.trials, dtype=float)
        return trials

    @property
    def individuals(self) -> float:
        """Number of all individuals."""
        return float(self.trials.sum())

    @property
    def unknowns(self) -> float:
        """How many numbers the rows hold, for each individual those of the columns of the file.

        A category counts as one less than it has levels; what is computed of other columns does not
        count.
        """
        parsed, agreed = self.manifest.parsed, self.manifest.columns
        names = [name for name in parsed.columns if name != parsed.trials]
        levels = [len(agreed[name].levels) if name in agreed else 0 for name in names]
        numbers = sum(max(count - 1, 1) for count in levels)
        return self.individuals * (numbers + self.site.data.has_offset)

    # the rows themselves ------------------------------------------------------------------------

    @cached_property
    def objection(self) -> RefusedError | None:
        """What speaks against every answer, whatever is asked; None where nothing does."""
        try:
            self._check_rows()
        except RefusedError as refused:
            return refused
        return None

    def _check_rows(self) -> None:
        data, limits, total = self.site.data, self.thresholds, self.individuals
        if total < limits.least_rows:
            raise by_threshold("least_rows", limits, "this site has fewer")
        if data.m < limits.least_groups:
            raise by_threshold("least_groups", limits, "this site has fewer")
        if data.p + 1 > limits.parameters_per_row * total:
            raise by_threshold("parameters_per_row", limits, "this site has too few individuals")
        events = float(np.sum(data.y))
        counts = data.family.name == Poisson.name
        self._check_count("least_events", events, "events")
        if not counts:
            self._check_count("least_events", total - events, "non-events")
        binary = [k for k in range(data.p) if np.all((self.X[:, k] == 0) | (self.X[:, k] == 1))]
        varying = [k for k in binary if np.ptp(self.X[:, k]) > 0]
        some: Array = np.column_stack([self.X[:, varying], data.y > 0 if counts else data.y])
        each: Array = some[:, : len(varying)] * self.trials[:, None]
        for i, k in enumerate(varying):
            name, size = data.names[k], float(each[:, i].sum())
            self._check_count("least_cell", size, f"individuals with {name} = 1")
            self._check_count("least_cell", total - size, f"individuals with {name} = 0")
            others = [*((data.names[j], some[:, q]) for q, j in enumerate(varying) if q < i)]
            for other, values in others:
                both = float(np.sum(each[:, i] * values))
                alone, rest = size - both, float(np.sum(self.trials * values)) - both
                for count in (both, alone, rest, total - both - alone - rest):
                    self._check_count("least_cell", count, f"a cell of {name} and {other}")
            if counts:
                continue
            both = float(np.sum(some[:, i] * data.y))
            for count in (both, size - both, events - both, total - size - events + both):
                what = f"a cell of {name} and the outcome"
                self._check_count("least_outcome_cell", count, what)
        self._check_columns(np.ones(data.n))

    def _check_count(self, rule: str, count: float, what: str) -> None:
        if 0.5 < count < getattr(self.thresholds, rule) - 0.5:
            raise by_threshold(rule, self.thresholds, f"there are fewer, but some: {what}")

    def _check_columns(self, weights: Array) -> None:
        """Check that nobody dominates the weighted squares of a column."""
        for k, name in enumerate(self.site.data.names):
            squares = weights * self.X[:, k] ** 2
            if not squares.any():
                continue
            if self._effective(squares) < self.thresholds.least_cell - ROUNDING:
                raise by_threshold("least_cell", self.thresholds, f"in {name} fewer carry the sum")

    def _effective(self, weights: Array) -> float:
        """Return the effective number of individuals, of weights of one individual of each row."""
        total = float(np.sum(self.trials * weights))
        squares = float(np.sum(self.trials * weights**2))
        return total**2 / squares if squares > 0.0 else 0.0

    # what is asked about ------------------------------------------------------------------------

    def profile(self, beta: Array, tau: float) -> tuple[Array, Array]:
        """Return the weight of an individual of each row, and the linear predictors.

        Raises
        ------
        RefusedError
            If the linear predictor is not finite.
        """
        key = beta.tobytes(), tau
        if key in self._profiles:
            return self._profiles[key]
        data = self.site.data
        modes, _ = self.site.modes(beta, tau)
        eta = self.X @ beta + data.offset + modes[data.codes]
        if not np.all(np.isfinite(eta)):
            raise RefusedError("form", "the linear predictor has to be finite")
        found = data.family.b_2(eta) / self.trials, eta
        if (len(self._profiles) + 1) * data.n <= KEPT:
            self._profiles[key] = found
        return found

    def check_parameters(self, beta: Array, tau: float, points: list[Point]) -> None:
        """Refuse parameters at which few individuals carry the sums, or what is new in them.

        Parameters
        ----------
        beta : ndarray of shape (p,)
            Coefficients.
        tau : float
            Standard deviation of the random intercepts.
        points : list of (ndarray, float)
            Those that were answered before.
        """
        data, limits = self.site.data, self.thresholds
        if tau < limits.smallest_tau and data.m < limits.groups_at_zero:
            rule = "smallest_tau" if tau > 0.0 else "groups_at_zero"
            raise by_threshold(rule, limits, "this site has too few groups for a smaller tau")
        weights, eta = self.profile(beta, tau)
        self.check_weights(weights, "the weights")
        self._check_residuals(eta)
        for other in points:
            before, eta_before = self.profile(*other)
            for now, then in (
                (weights, before),
                (data.family.b_1(eta) / self.trials, data.family.b_1(eta_before) / self.trials),
            ):
                change = np.abs(now - then)
                total = float(np.sum(self.trials * change))
                unseen = total <= SEEN * float(np.sum(self.trials * np.abs(now)))
                if not unseen and self._effective(change) < limits.least_difference:
                    what = "its difference from an earlier answer has fewer"
                    raise by_threshold("least_difference", limits, what)

    def _check_residuals(self, eta: Array) -> None:
        """Refuse residuals that few individuals carry; a share of all is not asked for.

        Of rare events, those that carry them are about as many as the events.
        """
        data = self.site.data
        if data.family.name == Poisson.name:
            sizes = np.abs(data.y - data.family.b_1(eta))
            self._check_carried(sizes, sizes**2, float(sizes.max()), "the residuals", share=False)
            return
        up, down = special().expit(-eta), special().expit(eta)  # of events, and of the others
        events, others = data.y, self.trials - data.y
        largest = max(
            np.max(up, where=events > 0, initial=0.0), np.max(down, where=others > 0, initial=0.0)
        )
        self._check_carried(
            events * up + others * down,
            events * up**2 + others * down**2,
            float(largest),
            "the residuals",
            share=False,
        )

    def check_weights(self, weights: Array, what: str) -> None:
        """Refuse weights of individuals that few carry."""
        self._check_carried(
            self.trials * weights,
            self.trials * weights**2,
            float(np.max(weights)),
            what,
            share=True,
        )
        self._check_columns(weights)

    def _check_carried(
        self, sizes: Array, squares: Array, largest: float, what: str, *, share: bool
    ) -> None:
        """Refuse sums that few individuals carry; with `share`, also few of all."""
        limits, total = self.thresholds, float(np.sum(sizes))
        if not total > 0.0 or not np.isfinite(total):
            raise by_threshold("least_effective", limits, f"{what} of all are zero")
        effective = total**2 / float(np.sum(squares))
        if effective < limits.least_effective - ROUNDING:
            raise by_threshold("least_effective", limits, f"fewer carry {what}")
        if share and effective < limits.effective_share * self.individuals:
            raise by_threshold("effective_share", limits, f"fewer carry {what}")
        if largest > limits.largest_share * total:
            raise by_threshold("largest_share", limits, f"one carries more of {what}")

    def check_least_varying(self) -> None:
        """Refuse to say which columns vary within groups, where few individuals make one do so."""
        data = self.site.data
        for k, varies in enumerate(self.site.variation(questions.ALL).within):
            if not varies:
                continue
            column = pd.DataFrame({"group": data.codes, "value": self.X[:, k], "of": self.trials})
            alike = column.groupby(["group", "value"])["of"].sum()
            apart = self.individuals - float(alike.groupby("group").max().sum())
            what = f"individuals that {data.names[k]} sets apart from their group"
            self._check_count("least_varying", apart, what)

    def distance(self, beta: Array, other: Array) -> float:
        """Return how far two vectors of coefficients are apart, in the linear predictor."""
        return float(np.sqrt(np.mean((self.X @ (beta - other)) ** 2)))


@dataclass
class Past:
    """What was asked about a data set before, over restarts, and how it ended.

    Attributes
    ----------
    answered : set of str
        Questions that were answered.
    numbers : float
        Numbers that were sent, those that are given twice counted once.
    points : list of (ndarray, float)
        Coefficients and tau that were asked about.
    margins, refusals : int
        Directions that were tried, and questions that were refused.
    """

    answered: set[str] = field(default_factory=set)
    numbers: float = 0.0
    points: list[Point] = field(default_factory=list)
    margins: int = 0
    refusals: int = 0

    def copy(self) -> Past:
        """Return one to which can be added."""
        return replace(self, answered=set(self.answered), points=list(self.points))

    def add(self, text: str, question: Any, answer: Any) -> None:
        """Take down a question that was answered."""
        if text in self.answered:
            return
        self.answered.add(text)
        self.numbers += numbers_of(answer)
        self.margins += isinstance(question, questions.AskMargins)
        beta = coefficients_of(question)
        if beta is not None:
            self.points.append((beta, getattr(question, "tau", 0.0)))
        if isinstance(answer, Start) and answer.plain.any():
            # the site's own fit is known from now on, and questions may begin there
            own = np.linalg.solve(answer.plain, answer.plain_weighted)
            self.points.append((np.asarray(own), 0.0))


def check(question: Any, text: str, rows: Rows, allowed: tuple[str, ...], past: Past) -> None:
    """Refuse a question that a rule speaks against; return where none does.

    How many numbers may be sent is judged by the answer: see `check_budget`.

    Parameters
    ----------
    question : record
        The question.
    text : str
        Its JSON: the same text is the same question, which costs nothing when it comes again.
    rows : Rows
        The rows.
    allowed : tuple of str
        What is answered beyond what every fit needs.
    past : Past
        What was asked before.

    Raises
    ------
    RefusedError
        With the sentence for the log.
    """
    limits = rows.thresholds
    if past.refusals >= limits.most_refusals:
        raise by_threshold(
            "most_refusals", limits, "as many were; look at the log, and approve again"
        )
    check_form(question, rows, allowed)
    if rows.objection is not None:
        raise rows.objection
    beta = coefficients_of(question)
    if beta is not None:
        earlier = [point[0] for point in past.points]
        # a question that the walk along tau has come to is near to one of those before it
        nearest = min(rows.distance(beta, b) for b in (np.zeros(rows.p), *earlier))
        if nearest > limits.longest_step:
            raise by_threshold("longest_step", limits, "this question is further away")
        rows.check_parameters(beta, getattr(question, "tau", 0.0), past.points)
    if isinstance(question, questions.AskJeffreys):
        _check_triangle(question, rows)
    if isinstance(question, questions.AskVariation):
        rows.check_least_varying()
    if text in past.answered:
        return
    if len(past.answered) >= rows.manifest.rounds:
        raise RefusedError(
            "rounds",
            f"the manifest has at most {rows.manifest.rounds} questions for a data set, and as "
            "many were answered",
        )
    if isinstance(question, questions.AskMargins) and past.margins >= limits.most_margins:
        raise by_threshold("most_margins", limits, "as many were")


def check_budget(answer: Any, text: str, rows: Rows, past: Past) -> None:
    """Refuse to send an answer that would hold more numbers than are left.

    Parameters
    ----------
    answer : record
        The answer, as it would be sent.
    text : str
        JSON of its question: an answer that was sent before holds no new number.
    rows : Rows
        The rows.
    past : Past
        What was asked before.

    Raises
    ------
    RefusedError
        With the sentence for the log.
    """
    if text in past.answered:
        return
    limits = rows.thresholds
    if past.numbers + numbers_of(answer) > limits.numbers_per_unknown * rows.unknowns:
        raise by_threshold("numbers_per_unknown", limits, "one more answer would hold more")


def check_form(question: Any, rows: Rows, allowed: tuple[str, ...]) -> None:
    """Refuse what is no question that a fit of the manifest asks."""
    kinds = (*NEEDED, *(FURTHER[name].question for name in allowed))
    name = type(question).__name__
    if not isinstance(question, kinds):
        reason = "its answer could spell out rows"
        if isinstance(question, tuple(further.question for further in FURTHER.values())):
            reason = "the policy does not name it under questions"
        raise RefusedError("questions", f"{name} is not answered, as {reason}")
    _check_numbers(name, question)
    view = getattr(question, "view", questions.ALL)
    if (view.every, view.rows) != (1, 0):
        raise RefusedError(
            "form",
            "questions about some of the rows are not answered: the difference "
            "of two answers would be the other rows",
        )
    if isinstance(question, questions.AskVariation) and view.triangle is not None:
        raise RefusedError(
            "form",
            "whether a column varies is told of the columns of the manifest alone: of sums of "
            "them, with weights tried one after the other, it would spell out a largest value",
        )
    triangles = [view.triangle, getattr(question, "triangle", None)]
    for triangle in [t for t in triangles if t is not None]:
        square = triangle.shape == (rows.p, rows.p) and np.array_equal(triangle, np.triu(triangle))
        if not square or np.linalg.cond(triangle) > 1e15:
            raise RefusedError(
                "form", f"a triangle has to be upper, invertible and of {rows.p} columns"
            )
    for one in ("beta", "direction", "scale"):
        vector = getattr(question, one, None)
        empty = one == "beta" and isinstance(question, questions.AskTriangle)
        if vector is not None and vector.shape != (rows.p,) and not (empty and vector.size == 0):
            raise RefusedError("form", f"{one} of {name} has to hold {rows.p} numbers")
    if isinstance(question, questions.AskTriangle) and not np.all(question.scale > 0.0):
        raise RefusedError("form", "the scale has to be above zero")
    if isinstance(question, questions.AskAt):
        if not rows.manifest.may_ask(question.nodes):
            raise RefusedError(
                "form", f"{question.nodes} nodes are not among those of the manifest"
            )
        if not 0.0 <= question.tau <= 2.0 * TAU_LIMIT:
            raise RefusedError("form", f"tau has to lie between 0 and {2.0 * TAU_LIMIT:g}")


def _check_numbers(name: str, value: Any) -> None:
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            _check_numbers(f"{one.name} of {name}", getattr(value, one.name))
    elif isinstance(value, np.ndarray | float) and not np.all(np.isfinite(value)):
        raise RefusedError("form", f"{name} has to be finite")


def coefficients_of(question: Any) -> Array | None:
    """Return the coefficients that a question is about, in the columns of X; None without any."""
    beta = getattr(question, "beta", None)
    if beta is None or not len(beta):
        return None
    view = getattr(question, "view", questions.ALL)
    if view.triangle is None:
        return np.asarray(beta)
    return np.asarray(np.linalg.solve(view.triangle, beta))


def _check_triangle(question: questions.AskJeffreys, rows: Rows) -> None:
    """Refuse a triangle that is not one of more rows than those here, or leverages of few rows.

    Of the rows of all places, no leverage is above that among the rows here.
    """
    data, X = rows.site.data, rows.X
    if question.view.triangle is not None:
        X = np.asarray(np.linalg.solve(question.view.triangle.T, X.T).T)
    eta = X @ question.beta + data.offset
    weighted = np.sqrt(data.family.b_2(eta))[:, None] * X
    q = np.linalg.solve(question.triangle.T, weighted.T).T
    if np.linalg.eigvalsh(q.T @ q)[-1] > 1.0 + ROUNDING:
        raise RefusedError("form", "the triangle is not that of the rows of all places")
    leverages = np.sum(q**2, axis=1) / rows.trials
    rows.check_weights(leverages, "the leverages")


def size_of_answer(kind: type, p: int) -> int:
    """Return how many numbers the answer to a question of a kind holds, before there is one.

    Parameters
    ----------
    kind : type
        A question that a gate may answer.
    p : int
        Number of columns of X; there are at least as many rows.

    Returns
    -------
    int
        What `laplace.answers.numbers_of` says of the answer.
    """
    column, square = np.zeros(p), np.zeros((p, p))
    theta, curvature = np.zeros(p + 1), np.zeros((p + 1, p + 1))
    shaped = {
        questions.AskCensus: Census(
            *((), "", 0, 0, 0.0, 0, 0, 0.0, 0.0, False, 0, False),
            *(square, column, column, False, column, column, "", (), (), ()),
        ),
        questions.AskTriangle: Triangle(square),
        questions.AskMoments: Moments(0.0, column, column, column, column, column),
        questions.AskWithout: AtZero(0.0, theta, curvature, 0.0, 0.0, 0.0, 0.0),
        questions.AskAt: Contribution(0.0, theta, curvature),
        questions.AskMargins: Margins(0.0, 0.0, 0, 0),
        questions.AskJeffreys: Jeffreys(column, square, np.zeros((p, p, p))),
        questions.AskVariation: Variation((False,) * p),
        AskStart: Start(curvature, theta, square, column, 0.0, 0.0, 0.0),
    }
    return numbers_of(shaped[kind])
