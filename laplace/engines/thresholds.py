"""The thresholds of a gate: what each is for, its default, and where that comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from laplace.engines.entries import check_names


@dataclass(frozen=True)
class Rule:
    """What is to be said of a threshold.

    Attributes
    ----------
    says : str
        What it asks for, in words; ``{}`` stands for the threshold.
    reason : str
        Why, and where the default comes from.
    least : bool
        Whether a larger threshold is stricter.
    whole : bool
        Whether it counts something.
    """

    says: str
    reason: str
    least: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a gate, with their defaults; `RULES` says what each is for.

    Where outcomes are binomial, an individual is a trial; otherwise it is a row.
    """

    least_rows: int = 10
    least_groups: int = 1
    least_events: int = 3
    least_cell: int = 3
    least_outcome_cell: int = 0
    least_varying: int = 3
    parameters_per_row: float = 0.33
    least_effective: float = 10.0
    effective_share: float = 0.02
    largest_share: float = 0.2
    least_difference: float = 2.0
    numbers_per_unknown: float = 1.0
    longest_step: float = 10.0
    smallest_tau: float = 0.01
    groups_at_zero: int = 1
    most_margins: int = 8
    most_refusals: int = 5


RULES = {
    "least_rows": Rule(
        "the site has at least {} individuals",
        "a sum of few can be taken apart. Ten is the threshold to which census providers move, as "
        "DataSHIELD's notes on nfilter.tab say",
        least=True,
        whole=True,
    ),
    "least_groups": Rule(
        "the site has at least {} groups",
        "a hospital that is one group cannot hide inside its own sum, whatever the threshold is; "
        "1 lets it decide for itself",
        least=True,
        whole=True,
    ),
    "least_events": Rule(
        "events and non-events are none, or at least {}",
        "DataSHIELD's default for a cell of a table, nfilter.tab; a site without events is fine",
        least=True,
        whole=True,
    ),
    "least_cell": Rule(
        "every count that a binary column, or a pair of them, makes is none, or at least {}; and "
        "so is the effective number of individuals in every column",
        "X'X of binary columns is these counts; DataSHIELD's default for a cell, nfilter.tab",
        least=True,
        whole=True,
    ),
    "least_outcome_cell": Rule(
        "every count that a binary column makes with the outcome is none, or at least {}",
        "the slopes at zero tell these counts. They are small wherever events are rare, and 0 lets "
        "them pass, as DataSHIELD's ds.glm does; raise it where the outcome itself is delicate",
        least=True,
        whole=True,
    ),
    "least_varying": Rule(
        "the individuals that a column sets apart from the others of their group are none, or at "
        "least {}",
        "reml=True asks of each column whether it varies within some group. Where it does so for a "
        "single patient, the answer is about that patient; DataSHIELD's default for a cell, "
        "nfilter.tab",
        least=True,
        whole=True,
    ),
    "parameters_per_row": Rule(
        "there are at most {} parameters for each individual",
        "a saturated model gives its rows away; DataSHIELD's default, nfilter.glm",
    ),
    "least_effective": Rule(
        "at the parameters that are asked about, effectively at least {} individuals carry a sum",
        "parameters can be chosen at which all rows but one are certain, so that the sum is that "
        "row. The effective number of weights w is (sum w)^2 / sum w^2; the same threshold as for "
        "rows",
        least=True,
    ),
    "effective_share": Rule(
        "these are at least {} of all individuals",
        "the honest fits that this package is tested with leave more than twice as many",
        least=True,
    ),
    "largest_share": Rule(
        "no individual carries more than {} of a sum",
        "the dominance rule of official statistics, for one contributor; stricter than usual, as "
        "many sums are sent",
    ),
    "least_difference": Rule(
        "what distinguishes an answer from an earlier one rests on at least {} individuals, "
        "effectively",
        "two sums that differ in one row give it away. Near the end of an honest fit a difference "
        "may rest on few rows of large covariates; below two it is a single one. Differences of "
        "three and more answers are not looked at",
        least=True,
    ),
    "numbers_per_unknown": Rule(
        "all answers together hold at most {} numbers for each number in the rows",
        "with as many equations as unknowns, the rows can be solved for: five honest answers gave "
        "all rows of a site of six",
    ),
    "longest_step": Rule(
        "the coefficients move the linear predictor by at most {} in root mean square, from those "
        "asked about before, or from zero",
        "a fit takes short steps; a move of 10 leads from certain to impossible",
    ),
    "smallest_tau": Rule(
        "tau is at least {}, unless the site has the groups that groups_at_zero asks for",
        "near zero the groups no longer share anything, and the answer without random intercepts "
        "holds sums of single groups; see groups_at_zero",
        least=True,
    ),
    "groups_at_zero": Rule(
        "below the smallest tau, also at tau = 0, the site has at least {} groups",
        "every fit begins without random intercepts; a site that raises this cannot take part in "
        "fits of which it would be a small part of the groups",
        least=True,
        whole=True,
    ),
    "most_margins": Rule(
        "at most {} directions are tried on the outcomes",
        "each tells whether one row objects; a fit tries at most 4",
        whole=True,
    ),
    "most_refusals": Rule(
        "at most {} questions are refused before the gate closes",
        "a refusal tells that a threshold was passed, which is one bit; an honest fit meets none",
        whole=True,
    ),
}


def checked_rules(table: Any, where: str) -> dict[str, float]:
    """Return the thresholds of a table, or say what is wrong with them."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table, as [rules]")
    check_names(table, RULES, where)
    for name, value in table.items():
        if type(value) not in (int, float) or not 0.0 <= value < float("inf"):
            raise ValueError(f"{name} of {where} must be a number of at least 0, got {value!r:.60}")
        if RULES[name].whole and value != int(value):
            raise ValueError(f"{name} of {where} must be a whole number, got {value!r:.60}")
    return dict(table)


def strictest(own: dict[str, float], agreed: dict[str, float]) -> Thresholds:
    """Return the thresholds of a policy, none of which undercuts what was agreed on."""
    values = asdict(replace(Thresholds(), **own))  # type: ignore[arg-type]
    for name, value in agreed.items():
        values[name] = (max if RULES[name].least else min)(values[name], value)
    return Thresholds(**values)


assert RULES.keys() == {field.name for field in fields(Thresholds)}
