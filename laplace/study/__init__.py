"""A Monte Carlo study: scenarios, methods, replicates; one tidy table; performance measures.

>>> from laplace.study import Study
>>> study = Study(["groups-50x5-tau1-prev20"], ["laplace", "quadrature-25"], replicates=2)
>>> results = study.run(workers=1)
>>> len(results)  # two replicates, two methods, four estimands
16

`Study.run` takes a folder, in which it keeps what is finished; `performance` summarises, with Monte
Carlo standard errors. ``python -m laplace.study --help`` does the same from a command line.
"""

try:
    import joblib  # noqa: F401
    import pyarrow  # noqa: F401
    import threadpoolctl  # noqa: F401
    import tqdm  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"laplace.study needs {missing.name}: install the extra, pip install '.[study]' in a clone"
    ) from missing

from laplace.study.definition import Method, Scenario
from laplace.study.methods import METHODS, Estimate
from laplace.study.performance import failures, intervals, performance, shifts
from laplace.study.results import DamagedResultsWarning, content, load, save
from laplace.study.runner import Study
from laplace.study.scenarios import A_DOZEN, SCENARIOS, designs

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
    "failures",
    "intervals",
    "load",
    "performance",
    "save",
    "shifts",
]
