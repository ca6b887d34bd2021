"""The rows of one place, and its answers to the questions of a fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laplace.answers import (
    MARGIN_TOLERANCE,
    Census,
    Digests,
    Direction,
    Jeffreys,
    Known,
    Margins,
    Moments,
    Sketch,
    Triangle,
    Variation,
)
from laplace.arguments import Array, text_of
from laplace.contribution import AtZero, Contribution
from laplace.directions import separating
from laplace.families import Bernoulli, Binomial
from laplace.grouped import ROWS_AT_A_TIME, GroupedData
from laplace.later import linalg, pd
from laplace.likelihood import Likelihood, without_random_intercepts
from laplace.questions import ALL, Question, View
from laplace.reading.design import Design, Rows, read
from laplace.reading.frames import calling

# A digest has so many bytes: two of a million different ones are the same with probability 3e-8.
DIGEST_BYTES = 8
# A triangle with a larger ratio of its diagonal entries is inverted without a loss that counts.
WELL_CONDITIONED = 1e-3
# A column varies within a group where rows differ by more than this part of its largest entry.
VARIATION_TOLERANCE = 1e-10
GOLDEN_RATIO = 0.5 * (1.0 + 5.0**0.5)


@dataclass(frozen=True, eq=False)
class Site:
    """The rows of one place; make one with `from_arrays` or `from_formula`.

    It answers the questions of `laplace.questions`: see there what the answers disclose. An answer
    depends on the rows and the question alone. All rows of a group have to be at one site.

    Attributes
    ----------
    data : GroupedData
        The rows, validated and sorted by group.
    design : Design or None
        How a formula made the columns of X, where one did.
    dropped : int
        Number of rows that were left out, when asked to, for missing values.
    """

    data: GroupedData
    design: Design | None = None
    dropped: int = 0
    # data of views, which are made once; they can be made again from the rows at any time
    _views: dict[tuple[Any, ...], GroupedData] = field(default_factory=dict, repr=False)

    @classmethod
    def from_arrays(
        cls,
        y: Any,
        X: Any,
        groups: Any,
        *,
        family: str = Bernoulli.name,
        trials: Any = None,
        offset: Any = None,
        weights: Any = None,
        names: Sequence[str] | None = None,
    ) -> Site:
        """Check the rows, and sort them by group; the arguments are those of `laplace.fit`.

        Parameters
        ----------
        y, X, groups, family, trials, offset, weights, names
            As in `laplace.fit`.

        Returns
        -------
        Site

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; the message names it.

        Examples
        --------
        >>> import numpy as np, laplace
        >>> rng = np.random.default_rng(1)
        >>> groups = np.repeat(np.arange(40), 10)
        >>> y = rng.random(400) < 1 / (1 + np.exp(-rng.normal(size=40)[groups]))
        >>> here = groups < 25
        >>> sites = [laplace.Site.from_arrays(y[k], np.ones((k.sum(), 1)), groups[k])
        ...          for k in (here, ~here)]
        >>> apart = laplace.fit_sites(sites, nodes=9)
        >>> together = laplace.fit(y, np.ones((400, 1)), groups, nodes=9)
        >>> bool(np.allclose(apart.params, together.params, rtol=1e-10))
        True
        """
        return cls(
            GroupedData.from_arrays(
                y,
                X,
                groups,
                family=family,
                trials=trials,
                offset=offset,
                weights=weights,
                names=names,
            )
        )

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        groups: Any = None,
        *,
        family: str | None = None,
        offset: Any = None,
        weights: Any = None,
        missing: str = "raise",
        empty_cells: str = "raise",
    ) -> Site:
        """Make the columns of X from a formula; the arguments are those of `laplace.fit_formula`.

        Every site needs the same levels of each category, in the same order: make such columns
        categories with ``pandas.Categorical(values, categories=...)`` before.

        Parameters
        ----------
        formula, data, groups, family, offset, weights, missing, empty_cells
            As in `laplace.fit_formula`.

        Returns
        -------
        Site

        Raises
        ------
        TypeError, ValueError
            As `laplace.fit_formula` does for what concerns the rows.
        """
        rows = read(
            formula,
            data,
            groups,
            family=family,
            offset=offset,
            weights=weights,
            missing=missing,
            empty_cells=empty_cells,
            caller=calling(1),
            apart=True,
        )
        return cls.of(rows)

    @classmethod
    def of(cls, rows: Rows) -> Site:
        """Return the site of what a formula made of a DataFrame."""
        return cls(GroupedData.from_arrays(**rows.arguments), rows.design, rows.dropped)

    @property
    def has_given_offset(self) -> bool:
        """Whether an offset was given, besides what weights of counts add to it."""
        return self.data.has_given_offset

    @property
    def without_trials(self) -> int:
        """Number of rows without trials, which carry nothing."""
        if not isinstance(self.data.family, Binomial):  # other outcomes have none
            return 0
        return int(np.sum(self.data.largest == 0.0))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        return {**self.__dict__, "_views": {}}

    def answer(self, question: Question) -> Any:
        """Answer a question."""
        return question.of(self)

    # what has no parameters ---------------------------------------------------------------------

    def census(self, view: View = ALL, key: str = "") -> Census:
        """Count the rows and sum their columns; see `laplace.answers.Census`."""
        data = self._data(view)
        unit, squares = data.column_sizes
        design = self.design
        return Census(
            names=tuple(data.names),
            family=data.family.name,
            n=data.n,
            m=data.m,
            nobs=data.nobs,
            smallest=int(data.sizes.min()),
            largest=int(data.sizes.max()),
            outcomes=float(data.y.sum()),
            trials=_sum(data.trials),
            single=data.zero_one,
            mixed_groups=data.mixed_groups,
            has_offset=data.has_offset,
            gram=data.columns.gram,
            sums=data.columns.sums,
            with_offset=data.products(data.offset) if data.has_offset else np.zeros(data.p),
            plain=data.columns.plain,
            unit=unit,
            squares=squares,
            only_group=repr(data.labels.tolist()[0]) if data.m == 1 else "",
            coding=() if design is None else design.coding,
            stateful=() if design is None else design.made_of_rows,
            labels=tuple(_digest(key, [text_of(label).encode()]) for label in data.labels)
            if key
            else (),
            some_empty=self.without_trials > 0,
        )

    def known(self, scale: Array) -> Known:
        """Decompose X / scale of the rows with trials."""
        data = self.data
        some = data.largest > 0.0
        r = np.linalg.qr(data.X[some] / scale, mode="r")
        return Known(int(np.sum(~some)), np.asarray(r))

    def triangle(self, view: View, scale: Array, beta: Array) -> Triangle:
        """Decompose X / scale, or the weighted columns at `beta` if it is not empty."""
        if len(beta):
            return Triangle(self._weighted(view, beta)[1])
        return Triangle(_decomposed(self._data(view), scale)[1])

    def moments(self, view: View = ALL) -> Moments:
        """Return mean and variance of each column, over trials."""
        data = self._data(view)
        X, trials = np.asarray(data.X, dtype=float), data.multiplicity
        unit = np.abs(X).max(axis=0)
        unit[unit == 0.0] = 1.0  # taken out first, so that squares cannot overflow
        mean = np.average(X, axis=0, weights=trials)
        centred = (X - mean) / unit
        variance = np.average(centred**2, axis=0, weights=trials)
        return Moments(_sum(trials), mean, unit, variance, X.min(axis=0), X.max(axis=0))

    def variation(self, view: View = ALL) -> Variation:
        """Say which columns vary within groups, by more than rounding."""
        data = self._data(view)
        X, codes = data.X, data.codes
        # a column may be zero, in some unit: then nothing of it varies
        least = VARIATION_TOLERANCE * np.maximum(np.max(X, axis=0), -np.min(X, axis=0))
        within = np.zeros(data.p, dtype=bool)
        for first in range(0, data.n, ROWS_AT_A_TIME):
            part = slice(first, first + ROWS_AT_A_TIME)
            first_rows = X[data.starts[codes[part]]]
            within |= np.any(np.abs(X[part] - first_rows) > least, axis=0)
            if within.all():
                break
        return Variation(tuple(within.tolist()))

    # the likelihood -----------------------------------------------------------------------------

    def without(self, view: View, beta: Array) -> AtZero:
        """Evaluate the model without random intercepts."""
        return without_random_intercepts(self._data(view), beta)

    def at(self, view: View, beta: Array, tau: float, nodes: int) -> Contribution:
        """Evaluate the log-likelihood."""
        return Likelihood(self._data(view), nodes).at(beta, tau)

    # separation, and the soft penalty -----------------------------------------------------------

    def margins(self, view: View, direction: Array) -> Margins:
        """Project the signed rows on a direction."""
        data = self._data(view)
        projected = data.family.directions(data.y, np.asarray(data.X, dtype=float)) @ direction
        positive = projected > MARGIN_TOLERANCE * np.abs(projected).max()
        return Margins(
            float(projected.min()), float(projected.max()), int(positive.sum()), len(projected)
        )

    def direction(self, view: View, triangle: Array, scale: Array) -> Direction:
        """Search a separating direction by linear programming, and one with few columns.

        Exact: a direction d along which no row's likelihood falls and some rows' rise for ever
        (Albert and Anderson 1984); for 0/1 outcomes, (2 y - 1) x'd >= 0 in every row and > 0 in
        some. The orthogonal basis decides whether there is one: columns that are nearly
        combinations of others, as a year beside a constant, leave margins in the columns of X that
        the solver takes for zero.

        References
        ----------
        Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in
        logistic regression models. Biometrika 71, 1-10.
        """
        data = self._data(view)
        signed = data.family.directions(data.y, self._orthogonal(view, triangle))
        columns = data.family.directions(data.y, data.X / scale)
        return separating(signed, columns, triangle, scale)

    def jeffreys(self, view: View, beta: Array, triangle: Array) -> Jeffreys:
        """Sum what the derivatives of the soft penalty are made of."""
        data = self._data(view)
        X, family = np.asarray(data.X, dtype=float), data.family
        eta = X @ beta + data.offset
        b_2 = family.b_2(eta)
        diagonal = np.abs(np.diag(triangle))
        if diagonal.min() > WELL_CONDITIONED * diagonal.max():
            q = (np.sqrt(b_2)[:, None] * X) @ np.linalg.inv(triangle)
        else:
            q, own = self._weighted(view, beta)
            if not np.array_equal(own, triangle):
                q = _solved(triangle, np.sqrt(b_2)[:, None] * X)
        leverage = np.sum(q**2, axis=1)
        safe = np.where(b_2 > 0.0, b_2, 1.0)
        b_3, b_4 = family.b_3(eta) / safe, family.b_4(eta) / safe
        return Jeffreys(
            X.T @ (b_3 * leverage),
            X.T @ ((b_4 * leverage)[:, None] * X),
            _products(b_3[:, None] * X, q),
        )

    # what two fits share ------------------------------------------------------------------------

    def digests(self, key: str) -> Digests:
        """Return keyed digests of the rows in the order in which they were given."""
        data = self.data

        def digest(rows: NDArray[Any]) -> tuple[str]:
            return (_digest(key, [np.ascontiguousarray(rows).tobytes()]),)

        return Digests(
            digest(data.as_given(data.y)),
            digest(data.as_given(data.offset)),
            digest(data.as_given(data.largest)),
            digest(self._partition()),
        )

    def sketch(self, key: str, rows: int, scale: Array) -> Sketch:
        """Sum the rows of X / scale with random signs, so many times."""
        data = self.data
        seed = _digest(key, [data.as_given(data.y).tobytes(), self._partition().tobytes()])
        signs = np.random.default_rng(int(seed, 16)).integers(0, 2, (rows, data.n), dtype=np.int8)
        total = np.zeros((rows, data.p))
        for first in range(0, data.n, ROWS_AT_A_TIME):
            part = slice(first, first + ROWS_AT_A_TIME)
            total += (2.0 * signs[:, data.order[part]] - 1.0) @ (data.X[part] / scale)
        return Sketch(total / np.sqrt(rows))

    def _partition(self) -> NDArray[np.int64]:
        """Return the number of each row's group, counted in the order in which they come."""
        codes, _ = pd.factorize(self.data.as_given(self.data.codes))
        return codes.astype(np.int64)

    # after the fit, at the site -----------------------------------------------------------------

    def modes(self, beta: Array, tau: float) -> tuple[Array, Array]:
        """Return the mode of each group's random intercept and its standard deviation.

        Parameters
        ----------
        beta : ndarray of shape (p,)
            Coefficients.
        tau : float
            Standard deviation of the random intercepts.

        Returns
        -------
        mode, sd : ndarray of shape (m,)
            In the order of the labels; zero at tau = 0.
        """
        if tau == 0.0:
            return np.zeros(self.data.m), np.zeros(self.data.m)
        return Likelihood(self.data).modes(beta, tau)

    def random_effects(self, fit: Any) -> pd.DataFrame:
        """Return the mode of the random intercept of each group here, with a fit in hand.

        Parameters
        ----------
        fit : Fit
            Of this site and others.

        Returns
        -------
        DataFrame
            As `laplace.Fit.random_effects`.
        """
        effects: pd.DataFrame = fit.at(self).random_effects
        return effects

    def predict(self, fit: Any, *arguments: Any, **options: Any) -> pd.Series:
        """Predict with a fit in hand, also for the groups here.

        Parameters
        ----------
        fit : Fit
            Of this site and others.
        *arguments, **options
            Those of `laplace.Fit.predict`.
        """
        means: pd.Series = fit.at(self).predict(*arguments, **options)
        return means

    # views --------------------------------------------------------------------------------------

    def _data(self, view: View) -> GroupedData:
        """Return the rows of a view, in its columns."""
        if view is ALL:
            return self.data
        key = (view.every, view.rows, None if view.triangle is None else view.triangle.tobytes())
        if key not in self._views:
            self._views[key] = self._made(view)
        return self._views[key]

    def _made(self, view: View) -> GroupedData:
        data = self.data
        if view.every > 1 or view.rows:
            # some rows of some groups are a start, and nothing else
            start = view.rows > 0
            groups = np.arange(0, data.m, view.every) if start else spread(data.m, view.every)
            data = data.some(groups, view.rows or int(data.sizes.max()))
        if view.triangle is None:
            return data
        rows = View(view.every, view.rows)
        return data.with_columns(self._orthogonal(rows, view.triangle))

    def _orthogonal(self, view: View, triangle: Array) -> Array:
        """Return the columns of X R^-1.

        Where R is the triangle of these rows alone, they are those of their own decomposition.
        """
        data = self._data(view)
        scale = self.census(view).scale * np.sqrt(data.n)
        q, own = _decomposed(data, scale)
        if np.array_equal(own * scale / np.sqrt(data.n), triangle):
            return np.asarray(q * np.sqrt(data.n))
        return _solved(triangle, np.asarray(data.X, dtype=float))

    def _weighted(self, view: View, beta: Array) -> tuple[Array, Array]:
        """Decompose the columns, weighted by the root of b'' without random intercepts."""
        data = self._data(view)
        X = np.asarray(data.X, dtype=float)
        q, r = np.linalg.qr(np.sqrt(data.family.b_2(X @ beta + data.offset))[:, None] * X)
        return np.asarray(q), np.asarray(r)


def spread(groups: int, every: int) -> NDArray[np.intp]:
    """Return about every so many-th of some groups, so that no period of their labels is hit.

    Multiples of the golden ratio, modulo one, fill the interval evenly, and so do those of every
    second or every fifth of them: the groups whose multiple is smallest are taken.
    """
    if every == 1:
        return np.arange(groups)
    places = (np.arange(groups) * GOLDEN_RATIO) % 1.0
    return np.sort(np.argsort(places, kind="stable")[: -(-groups // every)])


def _decomposed(data: GroupedData, scale: Array) -> tuple[Array, Array]:
    """Return the QR decomposition of X / scale."""
    q, r = np.linalg.qr(data.X / scale)
    return np.asarray(q), np.asarray(r)


def _products(X: Array, q: Array) -> Array:
    """Return the sums of x_jk q_j q_j' over the rows j, for each column k; shape (p, p, p)."""
    p = q.shape[1]
    rows, columns = np.triu_indices(p)
    sums = np.zeros((X.shape[1], len(rows)))
    for first in range(0, len(X), ROWS_AT_A_TIME):
        part = slice(first, first + ROWS_AT_A_TIME)
        each = np.ascontiguousarray(q[part].T)
        sums += X[part].T @ np.vstack([each[k] * each[k:] for k in range(p)]).T
    products = np.empty((X.shape[1], p, p))
    products[:, rows, columns] = products[:, columns, rows] = sums
    return products


def _solved(triangle: Array, rows: Array) -> Array:
    """Return the rows times the inverse of a triangle, each to rounding."""
    return np.ascontiguousarray(
        linalg().solve_triangular(triangle, rows.T, trans="T", check_finite=False).T
    )


def _sum(rows: Array) -> float:
    """Sum an array, which may be a single number for all rows."""
    if rows.strides == (0,):
        return float(len(rows) * rows[0])
    return float(np.sum(rows))


def _digest(key: str, parts: Sequence[bytes]) -> str:
    """Return the keyed digest of some bytes."""
    digest = hashlib.blake2b(key=key.encode(), digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
