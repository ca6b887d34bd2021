"""The scenarios of the study.

A full factorial of groups says when which rule is enough; few sites, with the methods for them,
what to do there; the published settings and the published two sites what the published errors cost.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from compendium import simulate
from compendium.study.definition import Scenario
from laplace.simulate import Simulated


def two_sites(*, site_intercepts: bool, seed: np.random.Generator) -> Simulated:
    """Draw the published two-site experiment with its published coefficients.

    Covariates, outcomes and the standard deviations of the noise are drawn anew each time; the
    coefficients are those of the published seed, as an estimand has to stay what it is.
    """
    return simulate.two_sites(
        int(seed.integers(2**32)),
        site_intercepts=site_intercepts,
        beta=simulate.two_sites().beta,
    )


def _published_settings() -> list[Scenario]:
    def setting(sites: int, patients: int, variance: int, noise: float = 0.0) -> Scenario:
        name = f"sites-{sites}x{patients}-tau{np.sqrt(variance):g}{'-noise' if noise else ''}"
        parameters = {
            "sites": sites,
            "patients": patients,
            "tau": float(np.sqrt(variance)),
            "noise": noise,
        }
        return Scenario(name, simulate.published_setting, parameters, OF_PUBLISHED)

    settings = [setting(m, n, v) for m in (2, 10) for n in (500, 30) for v in (1, 4)]
    return [*settings, setting(10, 500, 1, noise=1.0)]


def _two_sites() -> list[Scenario]:
    kinds = {"two-sites-noise": False, "two-sites-intercepts": True}
    return [
        Scenario(name, two_sites, {"site_intercepts": intercepts}, OF_PUBLISHED)
        for name, intercepts in kinds.items()
    ]


def _factorial() -> list[Scenario]:
    def design(groups: int, rows: int, tau: float, percent: int) -> Scenario:
        parameters = {
            "groups": groups,
            "rows": rows,
            "tau": tau,
            "prevalence": percent / 100,
        }
        name = f"groups-{groups}x{rows}-tau{tau:g}-prev{percent}"
        return Scenario(name, simulate.small_groups, parameters, OF_FACTORIAL)

    return [design(*levels) for levels in product(GROUPS, ROWS, TAUS, PERCENT)]


def _few_sites() -> list[Scenario]:
    def design(sites: int, rows: int, tau: float, ratio: float) -> Scenario:
        kind = "few" if ratio == 1.0 else "unequal"
        parameters = {"sites": sites, "rows": rows, "tau": tau, "ratio": ratio}
        methods = OF_FEW if ratio == 1.0 else tuple(of for of in OF_FEW if of != "bootstrap")
        return Scenario(
            f"{kind}-{sites}x{rows}-tau{tau:g}", simulate.few_sites, parameters, methods
        )

    equal = [design(*levels, 1.0) for levels in product(SITES, ROWS_OF_SITES, TAUS_OF_SITES)]
    return [*equal, *(design(m, 100, tau, RATIO) for m, tau in product((5, 10), TAUS_OF_SITES))]


# The factorial of groups.
GROUPS, ROWS, TAUS, PERCENT = (10, 50, 500), (2, 5, 10, 30, 100), (0.5, 1.0, 2.0, 4.0), (5, 20, 50)
OF_FACTORIAL = ("laplace", "quadrature-9", "auto", "reference")
# Few sites, of equal sizes and of sizes of which the largest is so many times the smallest.
SITES, ROWS_OF_SITES, TAUS_OF_SITES, RATIO = (2, 3, 5, 10), (30, 100, 500), (0.5, 1.0), 20.0
OF_FEW = (
    *("laplace", "auto", "reference", "profile", "reml", "bootstrap"),
    *("soft", "site-dummies", "ignoring-sites"),
)
OF_PUBLISHED = (
    *("laplace", "auto", "reference", "site-dummies", "ignoring-sites"),
    *("ordinary-10", "as-published", "laplace-tau1"),
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in [*_factorial(), *_few_sites(), *_published_settings(), *_two_sites()]
}
"""The scenarios of the study, by name."""

A_DOZEN = (
    *("groups-10x30-tau1-prev20", "groups-50x2-tau1-prev20", "groups-50x5-tau2-prev20"),
    *("groups-50x10-tau2-prev20", "groups-500x2-tau1-prev20", "groups-500x5-tau2-prev50"),
    *("few-2x100-tau1", "few-5x100-tau1", "unequal-5x100-tau0.5"),
    *("sites-2x30-tau1", "sites-10x30-tau2", "two-sites-intercepts"),
)
"""Names of scenarios of all kinds, of which a quick run takes less than a minute."""


def designs() -> pd.DataFrame:
    """Return what the scenarios have in common: their kind, numbers of groups and of rows, and tau.

    Returns
    -------
    DataFrame
        Indexed by scenario; columns `kind` ("groups", "few sites", "sites" or "two sites"),
        `groups`, `rows` (of a group, on average), `tau`, `prevalence`, `ratio` (of the largest to
        the smallest group) and `noise`, NaN where a scenario has no such parameter.
    """
    kinds = {
        simulate.small_groups: "groups",
        simulate.few_sites: "few sites",
        simulate.published_setting: "sites",
        two_sites: "two sites",
    }
    table = {}
    for name, scenario in SCENARIOS.items():
        given = dict(scenario.parameters)
        if scenario.draw is two_sites:
            given |= {
                "groups": 2,
                "rows": 1000,
                "tau": float(given["site_intercepts"]),
            }
        table[name] = {
            "kind": kinds.get(scenario.draw, "other"),
            "groups": given.get("groups", given.get("sites")),
            "rows": given.get("rows", given.get("patients")),
            **{key: given.get(key) for key in ("tau", "prevalence", "ratio", "noise")},
        }
    whole = pd.DataFrame.from_dict(table, orient="index").rename_axis("scenario")
    return whole.astype(dict.fromkeys(("prevalence", "ratio", "noise"), float))
