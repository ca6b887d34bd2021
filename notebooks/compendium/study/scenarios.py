"""The scenarios of the study: the published settings, small groups, the published two sites."""

from __future__ import annotations

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
        }
        return Scenario(name, simulate.published_setting, parameters | {"noise": noise})

    settings = [setting(m, n, v) for m in (2, 10) for n in (500, 30) for v in (1, 4)]
    return [*settings, setting(10, 500, 1, noise=1.0)]


def _small_groups() -> list[Scenario]:
    def design(groups: int, rows: int, tau: float, percent: int) -> Scenario:
        parameters = {
            "groups": groups,
            "rows": rows,
            "tau": tau,
            "prevalence": percent / 100,
        }
        name = f"groups-{groups}x{rows}-tau{tau:g}-prev{percent}"
        return Scenario(name, simulate.small_groups, parameters)

    sizes, taus = (2, 5, 10), (0.5, 1.0, 2.0, 4.0)
    common = [design(m, n, tau, 20) for m in (50, 500) for n in sizes for tau in taus]
    return [
        *common,
        *(design(500, n, 2.0, percent) for percent in (5, 50) for n in sizes),
    ]


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in [
        *_published_settings(),
        *_small_groups(),
        Scenario("two-sites-noise", two_sites, {"site_intercepts": False}),
        Scenario("two-sites-intercepts", two_sites, {"site_intercepts": True}),
    ]
}
"""The scenarios of the study, by name."""

A_DOZEN = (
    *("sites-2x500-tau1", "sites-2x30-tau1", "sites-2x30-tau2"),
    *("sites-10x500-tau1", "sites-10x30-tau2"),
    *(
        "groups-50x2-tau1-prev20",
        "groups-50x5-tau2-prev20",
        "groups-50x10-tau2-prev20",
    ),
    *("groups-500x2-tau1-prev20", "groups-500x5-tau2-prev50"),
    *("two-sites-noise", "two-sites-intercepts"),
)
"""Names of scenarios of all kinds, of which a quick run takes a minute."""


def designs() -> pd.DataFrame:
    """Return what the scenarios have in common: their kind, numbers of groups and of rows, and tau.

    Returns
    -------
    DataFrame
        Indexed by scenario; columns `kind` ("sites", "groups" or "two sites"), `groups`, `rows` (of
        a group), `tau`, `prevalence` and `noise`, NaN where a scenario has no such parameter.
    """
    kinds = {
        simulate.published_setting: "sites",
        simulate.small_groups: "groups",
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
            **{key: given.get(key) for key in ("tau", "prevalence", "noise")},
        }
    whole = pd.DataFrame.from_dict(table, orient="index").rename_axis("scenario")
    return whole.astype(dict.fromkeys(("prevalence", "noise"), float))
