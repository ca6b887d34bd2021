"""A Monte Carlo study: scenarios, methods, replicates; one tidy table; performance measures.

>>> from compendium.study import Study
>>> study = Study(["groups-50x5-tau1-prev20"], ["laplace", "quadrature-9"], replicates=2)
>>> results = study.run(workers=1)
>>> len(results)  # two replicates, two methods, four estimands
16

`Study.run` takes a folder, in which it keeps what is finished; `performance` summarises, with Monte
Carlo standard errors. ``python -m compendium.study --help`` does the same from a command line.
"""

try:
    import joblib  # noqa: F401
    import pyarrow  # noqa: F401
    import threadpoolctl  # noqa: F401
    import tqdm  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"compendium.study needs {missing.name}: install the extra, pip install '.[study]' in a "
        "clone"
    ) from missing

from compendium.study.definition import Method, Scenario
from compendium.study.methods import METHODS, Estimate
from compendium.study.performance import (
    distances,
    failures,
    intervals,
    performance,
    shifts,
)
from compendium.study.results import (
    DamagedResultsWarning,
    content,
    load,
    save,
)
from compendium.study.runner import Study
from compendium.study.scenarios import A_DOZEN, SCENARIOS, designs

__all__ = [
    "A_DOZEN",
    "METHODS",
    "SCENARIOS",
    "DamagedResultsWarning",
    "Estimate",
    "Method",
    "Scenario",
    "Study",
    "content",
    "designs",
    "distances",
    "failures",
    "intervals",
    "load",
    "performance",
    "save",
    "shifts",
]
