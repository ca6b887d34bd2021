r"""The algorithm as published, its errors kept, each one switchable to its correction by name.

It is a record of an experiment, for replaying it; use `laplace.fit` for data. What differs from
`laplace.derivatives` is listed in `ERRORS`. Symbols are those of `laplace.derivatives`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from compendium.simulate import two_sites
from laplace import derivatives
from laplace.arguments import standard_deviation
from laplace.families import Array
from laplace.grouped import GroupedData
from laplace.simulate import Simulated

ERRORS = {
    "third_derivatives": "g_uuu, g_uub and g_ubb have the wrong sign",
    "g_uuuu": "g_uuuu has the wrong sign",
    "g_uuub": "g_uuub has the sum of 2 b''' x too many",
    "omega": "omega leaves tau at 1, whatever tau is",
    "mu_bb": "mu_bb counts one of two transposed terms twice, and is not symmetric",
    "omega_bb": "omega_bb has mu_bb where g_uuub mu_b' + g_uubb belongs, and is not symmetric",
    "stale_modes": "the modes are held while beta takes up to 100 steps",
    "returned_mode": "the search for a mode returns the value before its last update",
}
"""The errors that change a number, by the name that `fit` takes."""

PRINTED_BETA = (
    -0.02635409,
    0.2838822,
    -1.98640254,
    -5.12083263,
    1.09260947,
    -5.25923557,
    -2.03314193,
    -1.86771009,
    2.24603706,
    3.16022686,
)
"""The coefficients that the circulated notebook prints for its two sites, at tau = 1."""

PRINTED_TRUTH = (
    -0.0217251,
    0.35104993,
    -2.04337875,
    -5.75784864,
    1.19368298,
    -5.78128915,
    -2.31044591,
    -2.13129101,
    2.56380536,
    3.40715245,
)
"""The coefficients that it prints as those it simulated from."""

PRINTED_DECIMALS = 8

TOLERANCE = 1e-10
ROUNDS = 10
STEPS_PER_ROUND = 100
MODE_STEPS = 100
FIRST_MODE = 0.1


@dataclass(frozen=True, eq=False)
class PublishedFit:
    """What the published algorithm returns; ``numpy.asarray`` of it is `beta`.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Coefficients.
    modes : ndarray of shape (m,)
        Modes of the sites, as the algorithm holds them at the end.
    steps : int
        Steps in beta, over all rounds.
    converged : bool
        Whether the steps of the last round fell below the tolerance, and so did its change of
        beta.
    path : ndarray of shape (steps + 1, p), optional
        The coefficients before the first step and after each one; None where they were not kept.
    """

    beta: Array
    modes: Array
    steps: int
    converged: bool
    path: Array | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the coefficients."""
        return np.array(self.beta, dtype=dtype)


def fit(
    y: Any = None,
    X: Any = None,
    groups: Any = None,
    *,
    tau: Any = 1.0,
    correct: str | Iterable[str] = (),
) -> PublishedFit:
    """Run the published algorithm.

    Parameters
    ----------
    y, X, groups : array_like, optional
        Rows as `laplace.fit` takes them, a group a site, or simulated data in the place of all
        three; by default the published data.
    tau : float
        Standard deviation of the random intercepts, fixed; positive.
    correct : str or iterable of str
        Names of `ERRORS` to correct, or "all". By default every error is kept.

    Returns
    -------
    PublishedFit

    Raises
    ------
    ValueError
        If `correct` names no error, only some of y, X and groups are given, or an argument is not
        as described.

    Examples
    --------
    >>> import laplace
    >>> from compendium import published
    >>> published.fit().beta.round(8)[:3]
    array([-0.02635409,  0.2838822 , -1.98640254])
    """
    corrected = _names_of_errors(correct)
    if X is None and groups is None and (y is None or isinstance(y, Simulated)):
        y, X, groups = two_sites() if y is None else y
    elif y is None or X is None or groups is None:
        raise ValueError("give y, X and groups, or none of them for the published data")
    tau = standard_deviation("tau", tau)
    if tau == 0.0:
        raise ValueError("tau must be positive: the published algorithm divides by it")
    data = GroupedData.from_arrays(y, X, groups)
    ends = data.starts + data.sizes
    sites = [
        Site(data.X[i:k], data.y[i:k], tau, corrected)
        for i, k in zip(data.starts, ends, strict=True)
    ]
    # a maximiser that diverges is part of the record, and said by `converged`
    with np.errstate(all="ignore"):
        return _iterate(sites, np.zeros(data.p), fresh_modes="stale_modes" in corrected)


def _iterate(sites: list[Site], beta: Array, *, fresh_modes: bool) -> PublishedFit:
    """Take the rounds of steps in beta; the modes are renewed each round, or each step."""
    modes = np.full(len(sites), FIRST_MODE)
    small, change, path = False, np.inf, [beta]
    for _ in range(ROUNDS):
        before = beta
        for step in range(STEPS_PER_ROUND):
            if step == 0 or fresh_modes:
                modes = np.array([site.mode(u, beta) for site, u in zip(sites, modes, strict=True)])
            at = list(zip(sites, modes, strict=True))
            l_1 = np.sum([site.l_1(u, beta) for site, u in at], axis=0)
            l_2 = np.sum([site.l_2(u, beta) for site, u in at], axis=0)
            try:
                delta = np.linalg.solve(l_2.T, l_1)  # l_1 from the left, and l_2 not symmetric
            except np.linalg.LinAlgError:
                delta = np.full_like(beta, np.nan)
            if not np.all(np.isfinite(delta)):
                return PublishedFit(beta, modes, len(path) - 1, False, np.array(path))
            small = bool(np.max(np.abs(delta)) < TOLERANCE)
            if small:
                break
            beta = beta - delta
            path.append(beta)
        change = float(np.max(np.abs(beta - before)))
    converged = small and change < 1e3 * TOLERANCE
    return PublishedFit(beta, modes, len(path) - 1, converged, np.array(path))


class Site:
    """The published formulas for the rows of one site, at a random intercept u.

    The methods carry the names of `laplace.derivatives`.

    Parameters
    ----------
    x : ndarray of shape (n, p)
        Covariates.
    y : ndarray of shape (n,)
        Outcomes, 0 or 1.
    tau : float
        Standard deviation of the random intercepts.
    corrected : frozenset of str
        Names of `ERRORS` that are corrected.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        tau: float,
        corrected: frozenset[str] = frozenset(),
    ) -> None:
        self.x, self.y, self.tau, self.corrected = x, y, tau, corrected

    def mode(self, u: float, beta: Array) -> float:
        """Search for the mode from u."""
        for _ in range(MODE_STEPS):
            new = u - self.g_u(u, beta) / self.g_uu(u, beta)
            if abs(new - u) < TOLERANCE:
                return new if "returned_mode" in self.corrected else u
            u = new
        return u

    # These are as they should be.

    def g_u(self, u: float, beta: Array) -> float:
        return derivatives.g_u(self.x, self.y, u, beta, self.tau)

    def g_b(self, u: float, beta: Array) -> Array:
        return derivatives.g_b(self.x, self.y, u, beta, self.tau)

    def g_uu(self, u: float, beta: Array) -> float:
        return derivatives.g_uu(self.x, self.y, u, beta, self.tau)

    def g_ub(self, u: float, beta: Array) -> Array:
        return derivatives.g_ub(self.x, self.y, u, beta, self.tau)

    def g_bb(self, u: float, beta: Array) -> Array:
        return derivatives.g_bb(self.x, self.y, u, beta, self.tau)

    def g_uubb(self, u: float, beta: Array) -> Array:  # the published one is never called
        return derivatives.g_uubb(self.x, self.y, u, beta, self.tau)

    # These are not, unless corrected.

    def g_uuu(self, u: float, beta: Array) -> float:
        return self._sign_of_third * derivatives.g_uuu(self.x, self.y, u, beta, self.tau)

    def g_uub(self, u: float, beta: Array) -> Array:
        return self._sign_of_third * derivatives.g_uub(self.x, self.y, u, beta, self.tau)

    def g_ubb(self, u: float, beta: Array) -> Array:
        return self._sign_of_third * derivatives.g_ubb(self.x, self.y, u, beta, self.tau)

    @property
    def _sign_of_third(self) -> float:
        return 1.0 if "third_derivatives" in self.corrected else -1.0

    def g_uuuu(self, u: float, beta: Array) -> float:
        right = derivatives.g_uuuu(self.x, self.y, u, beta, self.tau)
        return right if "g_uuuu" in self.corrected else -right

    def g_uuub(self, u: float, beta: Array) -> Array:
        right = derivatives.g_uuub(self.x, self.y, u, beta, self.tau)
        if "g_uuub" in self.corrected:
            return right
        return right - 2.0 * derivatives.g_uub(self.x, self.y, u, beta, self.tau)

    def omega(self, u: float, beta: Array) -> float:
        tau = self.tau if "omega" in self.corrected else 1.0
        return float((-derivatives.g_uu(self.x, self.y, u, beta, tau)) ** -0.5)

    def mu_b(self, u: float, beta: Array) -> Array:
        return self.omega(u, beta) ** 2 * self.g_ub(u, beta)

    def mu_bb(self, u: float, beta: Array) -> Array:
        mu_b = self.mu_b(u, beta)
        cross = np.outer(mu_b, self.g_uub(u, beta))
        crosses = cross + (cross.T if "mu_bb" in self.corrected else cross)
        outer = np.outer(mu_b, mu_b) * self.g_uuu(u, beta)
        return self.omega(u, beta) ** 2 * (outer + crosses + self.g_ubb(u, beta))

    def omega_b(self, u: float, beta: Array) -> Array:
        along = self.g_uuu(u, beta) * self.mu_b(u, beta) + self.g_uub(u, beta)
        return 0.5 * self.omega(u, beta) ** 3 * along

    def omega_bb(self, u: float, beta: Array) -> Array:
        mu_b, mu_bb, omega = (
            self.mu_b(u, beta),
            self.mu_bb(u, beta),
            self.omega(u, beta),
        )
        g_uuu, g_uuub = self.g_uuu(u, beta), self.g_uuub(u, beta)
        first = g_uuu * mu_b + self.g_uub(u, beta)
        rest = mu_bb
        if "omega_bb" in self.corrected:
            rest = np.outer(g_uuub, mu_b) + self.g_uubb(u, beta)
        fourth = np.outer(mu_b, mu_b) * self.g_uuuu(u, beta) + np.outer(mu_b, g_uuub)
        second = mu_bb * g_uuu + fourth + rest
        return 0.75 * omega**5 * np.outer(first, first) + 0.5 * omega**3 * second

    def l_1(self, u: float, beta: Array) -> Array:
        along_omega = self.omega_b(u, beta) / self.omega(u, beta)
        return along_omega + self.g_u(u, beta) * self.mu_b(u, beta) + self.g_b(u, beta)

    def l_2(self, u: float, beta: Array) -> Array:
        omega, omega_b, mu_b = (
            self.omega(u, beta),
            self.omega_b(u, beta),
            self.mu_b(u, beta),
        )
        g_ub = self.g_ub(u, beta)
        return (
            self.omega_bb(u, beta) / omega
            - np.outer(omega_b, omega_b) / omega**2
            + self.mu_bb(u, beta) * self.g_u(u, beta)
            + np.outer(mu_b, mu_b * self.g_uu(u, beta) + g_ub)
            + np.outer(mu_b, g_ub)
            + self.g_bb(u, beta)
        )


def _names_of_errors(correct: str | Iterable[str]) -> frozenset[str]:
    """Return the names to correct, or say which one is unknown."""
    if correct == "all":
        return frozenset(ERRORS)
    names = frozenset([correct] if isinstance(correct, str) else correct)
    unknown = sorted(names - ERRORS.keys())
    if unknown:
        raise ValueError(
            f"correct names {unknown[0]!r}, which is no error of the published algorithm; "
            f"the names are {', '.join(ERRORS)}, and 'all'"
        )
    return names
