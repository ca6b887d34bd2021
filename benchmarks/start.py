"""Times the import of laplace and its first fits, in this process, which has just begun.

``python -m benchmarks.start OUTPUT`` writes the seconds to a file, in JSON. With an empty folder
in NUMBA_CACHE_DIR they hold the compilation.
"""

import json
import sys
import time

begin = time.perf_counter()
import laplace  # noqa: E402

imported = time.perf_counter() - begin

import numpy as np  # noqa: E402

rng = np.random.default_rng(1)
groups = np.repeat(np.arange(20), 10)
X = np.column_stack([np.ones(200), rng.normal(size=200)])
outcomes = {
    "bernoulli": (rng.random(200) < 0.5).astype(float),
    "binomial": rng.binomial(3, 0.5, 200).astype(float),
    "poisson": rng.poisson(1.0, 200).astype(float),
}


def fit(family: str, nodes: int) -> float:
    """Time one fit."""
    trials = 3 if family == "binomial" else None
    begin = time.perf_counter()
    laplace.fit(outcomes[family], X, groups, family=family, trials=trials, nodes=nodes)
    return time.perf_counter() - begin


first = fit("bernoulli", 1)
others = sum(fit(family, nodes) for family in outcomes for nodes in (1, 5))
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump({"import": imported, "first": first, "all": first + others}, file)
