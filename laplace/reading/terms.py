"""The terms of a formula, as `formulaic` reads them: their factors, as expressions and as names."""

from __future__ import annotations

from typing import Any


def factors(terms: Any) -> list[Any]:
    """Return the factors of the terms, each once, without numbers."""
    found = {factor.expr: factor for term in terms for factor in term.factors
             if factor.eval_method.value != "literal"}  # fmt: skip
    return list(found.values())


def expressions(terms: Any) -> list[str]:
    """Return the factors as expressions; those that are names in backticks."""
    return [f"`{factor.expr}`" if factor.eval_method.value == "lookup" else factor.expr
            for factor in factors(terms)]  # fmt: skip


def lookups(terms: Any) -> list[str]:
    """Return the factors that are names of columns."""
    return [factor.expr for factor in factors(terms) if factor.eval_method.value == "lookup"]
