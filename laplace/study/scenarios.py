"""The scenarios of the study: the published settings, small groups, the published two sites."""

from __future__ import annotations

import numpy as np

from laplace import simulate
from laplace.simulate import Simulated
from laplace.study.definition import Scenario


def two_sites(*, site_intercepts: bool, seed: np.random.Generator) -> Simulated:
    """Draw the published two-site experiment with its published coefficients.

    Covariates, outcomes and the standard deviations of the noise are drawn anew each time; the
    coefficients are those of the published seed, as an estimand has to stay what it is.
    """
    return simulate.published_two_sites(
        int(seed.integers(2**32)),
        site_intercepts=site_intercepts,
        beta=simulate.published_two_sites().beta,
    )


def _published_settings() -> list[Scenario]:
    def setting(sites: int, patients: int, variance: int, noise: float = 0.0) -> Scenario:
        name = f"sites-{sites}x{patients}-tau{np.sqrt(variance):g}{'-noise' if noise else ''}"
        parameters = {"sites": sites, "patients": patients, "tau": float(np.sqrt(variance))}
        return Scenario(name, simulate.published_setting, parameters | {"noise": noise})

    settings = [setting(m, n, v) for m in (2, 10) for n in (500, 30) for v in (1, 4)]
    return [*settings, setting(10, 500, 1, noise=1.0)]


def _small_groups() -> list[Scenario]:
    def design(groups: int, rows: int, tau: float, percent: int) -> Scenario:
        parameters = {"groups": groups, "rows": rows, "tau": tau, "prevalence": percent / 100}
        name = f"groups-{groups}x{rows}-tau{tau:g}-prev{percent}"
        return Scenario(name, simulate.small_groups, parameters)

    sizes, taus = (2, 5, 10), (0.5, 1.0, 2.0, 4.0)
    common = [design(m, n, tau, 20) for m in (50, 500) for n in sizes for tau in taus]
    return [*common, *(design(500, n, 2.0, percent) for percent in (5, 50) for n in sizes)]


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
