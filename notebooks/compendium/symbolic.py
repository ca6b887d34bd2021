r"""Every formula of `laplace.derivatives`, derived by computer algebra and evaluated to any digit.

Nothing is copied here from the formulas as they are stated: the partial derivatives of g come from
its definition, and the derivatives along the mode from :math:`g_\mu(\hat\mu, \beta, \tau) = 0`. So
the module serves the chapter that derives the formulas, and the tests, as an independent source.
It needs SymPy, which the extra ``notebooks`` installs.

Two coefficients, :math:`\beta_1` and :math:`\beta_2`, stand for any two entries of :math:`\beta`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from laplace import derivatives
from laplace.derivatives import mode
from laplace.families import Array, Binomial, Family, named

MU, BETA_1, BETA_2, TAU = sp.symbols("mu beta_1 beta_2 tau")
ETA, TRIALS = sp.symbols("eta n")

CUMULANTS = {
    "bernoulli": sp.log(1 + sp.exp(ETA)),
    "binomial": TRIALS * sp.log(1 + sp.exp(ETA)),
    "poisson": sp.exp(ETA),
}
"""The cumulant function b of each family."""

LOG_NORMAL = -(MU**2) / (2 * TAU**2) - sp.log(TAU * sp.sqrt(2 * sp.pi))
"""Log density of the random intercept, the part of g that depends on tau."""

WORKING_DIGITS = 80  # leaves 50 after the cancellations in the derivatives of b


class G(sp.Function):  # type: ignore[misc]
    """A partial derivative of g, by its orders in mu, beta_1, beta_2 and tau, at a point."""

    nargs = (8,)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Raise the order in the variable by one."""
        orders = list(self.args[:4])
        orders[argindex - 5] += 1
        return G(*orders, *self.args[4:])

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        names = (r"\mu", r"\beta_1", r"\beta_2", r"\tau")
        index = "".join(n * int(k) for n, k in zip(names, self.args[:4], strict=True))
        text = f"g_{{{index}}}" if index else "g"
        return text if exp is None else f"{text}^{{{exp}}}"


MODE = sp.Function(r"\hat\mu")(BETA_1, BETA_2, TAU)
"""The mode, a function of the parameters."""


def g(u: int = 0, b1: int = 0, b2: int = 0, t: int = 0) -> sp.Expr:
    """Return a partial derivative of g at the mode, by its orders."""
    return G(u, b1, b2, t, MODE, BETA_1, BETA_2, TAU)


def slope(variable: sp.Symbol) -> sp.Expr:
    """Return the derivative of the mode: differentiate g_u = 0 along it and solve."""
    along = sp.Symbol("along")
    equation = g(u=1).diff(variable).subs(sp.Derivative(MODE, variable), along)
    return sp.solve(equation, along)[0]


def total(expression: sp.Expr, *variables: sp.Symbol) -> sp.Expr:
    """Differentiate along the mode, where g_u stays zero."""
    for variable in variables:
        expression = expression.diff(variable).subs(sp.Derivative(MODE, variable), slope(variable))
        expression = expression.subs(g(u=1), 0)
    return expression


def omega() -> sp.Expr:
    """Return the width of the integrand at its mode."""
    return (-g(u=2)) ** sp.Rational(-1, 2)


def laplace() -> sp.Expr:
    """Return l, the Laplace approximation of the log-likelihood."""
    return sp.log(sp.sqrt(2 * sp.pi) * omega()) + g()


def remainder() -> sp.Expr:
    r"""Return the leading term that Laplace leaves out, from the moments of a Gaussian.

    With :math:`\mu = \hat\mu + \hat\omega z`, the integrand is a Gaussian times the exponential
    of :math:`\epsilon g_{\mu\mu\mu}\hat\omega^3 z^3/6` and
    :math:`\epsilon^2 g_{\mu\mu\mu\mu}\hat\omega^4 z^4/24`, where :math:`\epsilon^2` counts
    orders of 1/n.
    """
    z, eps = sp.symbols("z epsilon")
    cubic = eps * g(u=3) * omega() ** 3 * z**3 / 6
    quartic = eps**2 * g(u=4) * omega() ** 4 * z**4 / 24
    expanded = sp.expand(1 + (cubic + quartic) + (cubic + quartic) ** 2 / 2)
    moments = {k: sp.factorial2(k - 1) if k % 2 == 0 else 0 for k in range(9)}
    polynomial = sp.Poly(expanded, z)
    average = sum(c * moments[k] for (k,), c in polynomial.terms())
    return sp.expand(average).coeff(eps, 2)


OMEGA = sp.Symbol(r"\hat\omega", positive=True)
"""The width, as a name for it in what is shown."""


def along(expression: sp.Expr, *variables: sp.Symbol) -> sp.Expr:
    """Differentiate along the mode as `total` does, but leave the mode's derivatives in place."""
    for variable in variables:
        expression = expression.diff(variable).subs(g(u=1), 0)
    return expression


def readable(expression: sp.Expr) -> sp.Expr:
    """Write an expression with names for the width and for the mode's derivatives."""
    names = {
        derivative: sp.Symbol(
            r"\hat\mu_{" + "".join(sp.latex(v) * int(k) for v, k in derivative.variable_count) + "}"
        )
        for derivative in expression.atoms(sp.Derivative)
    }
    return sp.expand(expression.xreplace(names).subs(g(u=2), -(OMEGA**-2)))


def is_zero(expression: sp.Expr) -> bool:
    """Say whether an expression in partial derivatives of g is identically zero."""
    expression = expression.subs(g(u=2), -(OMEGA**-2))
    atoms = {atom: sp.Symbol(f"a{k}") for k, atom in enumerate(expression.atoms(G))}
    return bool(sp.simplify(expression.xreplace(atoms)) == 0)


class B(sp.Function):  # type: ignore[misc]
    """A derivative of a cumulant function, whichever, by its order: B(r, eta)."""

    nargs = (2,)

    def fdiff(self, argindex: int = 2) -> sp.Expr:
        """Raise the order by one."""
        return B(self.args[0] + 1, self.args[1])

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return "b" + "'" * int(self.args[0])


BASES: dict[str, Callable[[], sp.Expr]] = {
    "mu": lambda: MODE,
    "omega": omega,
    "l": laplace,
    "remainder": remainder,
}


@cache
def derive(name: str, same: bool = False) -> sp.Expr:
    """Derive the expression that a function of `laplace.derivatives` computes.

    Parameters
    ----------
    name : str
        Name of the function, such as ``"g_uub"``, ``"omega_bb"`` or ``"l_1"``.
    same : bool
        Whether a second derivative in beta is taken twice in beta_1, not in beta_1 and beta_2.

    Returns
    -------
    sympy.Expr
        In partial derivatives of g at the mode.
    """
    name = {"mode": "mu", "l_1": "l_b", "l_2": "l_bb"}.get(name, name)
    base, _, suffix = name.partition("_")
    betas = [BETA_1, BETA_1 if same else BETA_2][: suffix.count("b")]
    if base == "g":
        orders = {"u": suffix.count("u"), "t": suffix.count("t")}
        return g(b1=betas.count(BETA_1), b2=betas.count(BETA_2), **orders)
    variables = betas + [TAU] * suffix.count("t")
    if base == "mu" and variables:
        return total(slope(variables[0]), *variables[1:])
    return total(BASES[base](), *variables)


class Point:
    """A group and a point, where every function of `laplace.derivatives` has its value.

    Parameters
    ----------
    x, y, beta, tau, family
        As the functions take them.
    u : float, optional
        Random intercept, for the partial derivatives of g; by default the mode.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        beta: Array,
        tau: float,
        family: Family,
        u: float | None = None,
    ) -> None:
        with mpmath.workdps(WORKING_DIGITS):
            self.x = [[mpmath.mpf(float(v)) for v in row] for row in x]
            self.y = [mpmath.mpf(float(v)) for v in y]
            self.tau = mpmath.mpf(tau)
            self.p = len(beta)
            self.family = family
            trials = family.trials if isinstance(family, Binomial) else np.ones(len(y))
            self.trials = [mpmath.mpf(float(n)) for n in trials]
            exact = [mpmath.mpf(float(b)) for b in beta]
            self.fixed = [mpmath.fdot(row, exact) for row in self.x]
            if u is not None:
                self._move_to(mpmath.mpf(u))
                return
            self._move_to(mpmath.mpf(mode(x, y, beta, tau, family)))
            for _ in range(2):  # Newton's method squares the error of a double each time
                slope, curvature = (
                    self._partial((1, 0, 0, 0), ()),
                    self._partial((2, 0, 0, 0), ()),
                )
                self._move_to(self.u - slope / curvature)

    def value(self, name: str) -> Array:
        """Evaluate a function from its derivation, with 50 digits, rounded at the very end.

        Parameters
        ----------
        name : str
            Name of the function.

        Returns
        -------
        ndarray
            Of the shape that the function has.
        """
        order = {"l_1": 1, "l_2": 2}.get(name, name.partition("_")[2].count("b"))
        with mpmath.workdps(WORKING_DIGITS):
            entries = product(range(self.p), repeat=order)
            values = [float(self._evaluate(name, entry)) for entry in entries]
        return np.array(values).reshape((self.p,) * order)

    def _move_to(self, u: Any) -> None:
        self.u = u
        self.rows: dict[int, list[Any]] = {}
        self.sums: dict[tuple[Any, ...], Any] = {}

    def _evaluate(self, name: str, entry: tuple[int, ...]) -> Any:
        if name == "mode":
            return self.u
        orders, function = _compiled(name, len(entry) == 2 and entry[0] == entry[1])
        return function(*[self._partial(order, entry) for order in orders])

    def _partial(self, order: tuple[int, ...], entry: Sequence[int]) -> Any:
        """Return a partial derivative of g, with beta_1 and beta_2 the given entries."""
        u, b1, b2, t = order
        normal = _log_normal(u, t)(self.u, self.tau) if b1 + b2 == 0 else 0
        return normal + (self._sum(u + b1 + b2, b1, b2, entry) if t == 0 else 0)

    def _sum(self, r: int, b1: int, b2: int, entry: Sequence[int]) -> Any:
        """Sum over rows the r-th derivative of the log density, times the covariates."""
        factors = tuple(sorted([entry[0]] * b1 + [entry[-1]] * b2 if b1 + b2 else []))
        if (r, factors) not in self.sums:
            rows = self._rows(r)
            for k in factors:
                rows = [value * row[k] for value, row in zip(rows, self.x, strict=True)]
            self.sums[r, factors] = mpmath.fsum(rows)
        return self.sums[r, factors]

    def _rows(self, r: int) -> list[Any]:
        """Return the r-th derivative of the log density of each row."""
        if r not in self.rows:
            of_row = _log_density(self.family.name, r)
            self.rows[r] = [
                of_row(y, eta + self.u, n)
                for y, eta, n in zip(self.y, self.fixed, self.trials, strict=True)
            ]
        return self.rows[r]


def random_group(rng: np.random.Generator, family: str, rows: int) -> tuple[Any, ...]:
    """Draw the arguments x, y, beta, tau and family of a group, with tau from 0.05 to 10.

    Parameters
    ----------
    rng : Generator
        Source of the random numbers.
    family : {"bernoulli", "binomial", "poisson"}
        Distribution of the outcomes.
    rows : int
        Number of rows.

    Returns
    -------
    tuple
        x of shape (rows, 2), y, beta of shape (2,), tau, and the family.
    """
    x, beta = 0.7 * rng.normal(size=(rows, 2)), rng.normal(size=2)
    tau = float(np.exp(rng.uniform(np.log(0.05), np.log(10.0))))
    if family == "poisson":
        return (
            x,
            rng.poisson(np.exp(x @ beta)).astype(float),
            beta,
            tau,
            named(family, None),
        )
    trials = rng.integers(1, 20, rows).astype(float) if family == "binomial" else np.ones(rows)
    y = np.floor(rng.random(rows) * (trials + 1.0))
    return (
        x,
        y,
        beta,
        tau,
        named(family, trials if family == "binomial" else None),
    )


def relative_errors(names: Sequence[str], group: tuple[Any, ...], u: float) -> dict[str, float]:
    """Compare functions of `laplace.derivatives` with their derivations, at one group.

    Parameters
    ----------
    names : sequence of str
        Names of the functions.
    group : tuple
        Arguments, as `random_group` returns them.
    u : float
        Random intercept, for the partial derivatives of g.

    Returns
    -------
    dict
        By name, the largest error over the largest value.
    """
    x, y, beta, tau, family = group
    at_u = Point(x, y, beta, tau, family, u)
    at_mode = Point(x, y, beta, tau, family)
    result = {}
    for name in names:
        partial = name.partition("_")[0] == "g"
        function = getattr(derivatives, name)
        value = function(x, y, *([u] if partial else []), beta, tau, family)
        truth = (at_u if partial else at_mode).value(name)
        result[name] = float(np.max(np.abs(value - truth)) / np.max(np.abs(truth)))
    return result


@cache
def _compiled(name: str, same: bool) -> tuple[list[tuple[int, ...]], Callable[..., Any]]:
    """Return the partial derivatives that an expression needs, and a function of them."""
    expression = derive(name, same)
    atoms = sorted(expression.atoms(G), key=lambda a: tuple(int(k) for k in a.args[:4]))
    symbols = sp.symbols(f"a:{len(atoms)}")
    replaced = expression.xreplace(dict(zip(atoms, symbols, strict=True)))
    orders = [tuple(int(k) for k in atom.args[:4]) for atom in atoms]
    function: Callable[..., Any] = sp.lambdify(symbols, replaced, "mpmath")
    return orders, function


@cache
def _log_normal(u: int, t: int) -> Callable[..., Any]:
    function: Callable[..., Any] = sp.lambdify((MU, TAU), LOG_NORMAL.diff(MU, u, TAU, t), "mpmath")
    return function


@cache
def _log_density(family: str, r: int) -> Callable[..., Any]:
    """Return the r-th derivative of the log density in eta, as a function of y, eta and n."""
    y = sp.Symbol("y")
    constant = {
        "bernoulli": sp.Integer(0),
        "binomial": sp.log(sp.binomial(TRIALS, y)),
        "poisson": -sp.log(sp.factorial(y)),
    }[family]
    density = y * ETA - CUMULANTS[family] + constant
    function: Callable[..., Any] = sp.lambdify((y, ETA, TRIALS), density.diff(ETA, r), "mpmath")
    return function
