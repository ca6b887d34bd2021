"""Who is compared: how each is called, what it computes, and how to say that it is missing.

Only the call that fits is timed. What a peer needs before it (a data frame, a sparse matrix, a
`GPModel`) is made outside of the clock; of ours, the whole public call is timed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.designs import Data

OURS = "ours"
R_SCRIPT = Path(__file__).with_name("peers.R")
R_TIMEOUT = 60.0  # seconds in which R has to name its packages

# A fit is what is timed; it returns a function that reads the estimates off afterwards.
Estimates = dict[str, Any]  # beta, tau, and what else there is
Fit = Callable[[], Callable[[], Estimates]]


@dataclass(frozen=True)
class Peer:
    """One way to fit the model.

    Attributes
    ----------
    label : str
        Name in tables.
    package : str
        Name of the package, of Python or of R.
    what : str
        What it computes, and with which settings.
    prepare : callable or None
        From the data and a number of threads to the function that is timed; None for peers in R.
    threads : bool
        Whether it uses several.
    """

    label: str
    package: str
    what: str
    prepare: Callable[[Data, int], Fit] | None
    threads: bool


def ours(data: Data, threads: int, **options: Any) -> Fit:
    """`laplace.fit`; the engine takes its threads from the environment."""
    import laplace

    def fit() -> Callable[[], Estimates]:
        found = laplace.fit(*data, **{"nodes": 1, **options})
        return lambda: {
            "beta": found.beta.tolist(),
            "tau": found.tau,
            "bse": found.bse.tolist(),
            "converged": found.converged,
            "iterations": found.iterations,
        }

    return fit


def gpboost(data: Data, threads: int, **params: Any) -> Fit:
    """`gpboost.GPModel.fit`, of a model that was not fitted before."""
    import gpboost
    import numpy as np

    y, X, groups = data
    model = gpboost.GPModel(
        group_data=groups, likelihood="bernoulli_logit", num_parallel_threads=threads
    )

    def fit() -> Callable[[], Estimates]:
        model.fit(y=y, X=X, params=params)
        return lambda: {
            "beta": np.ravel(model.get_coef()).tolist(),
            "tau": float(np.sqrt(np.ravel(model.get_cov_pars())[0])),
        }

    return fit


def gpboost_tight(data: Data, threads: int) -> Fit:
    """Fit with GPBoost to a tolerance at which it reaches the maximum."""
    return gpboost(data, threads, delta_rel_conv=1e-12)


def statsmodels(data: Data, threads: int) -> Fit:
    """`BinomialBayesMixedGLM.fit_vb`."""
    import numpy as np
    from scipy import sparse
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    y, X, groups = data
    _, column = np.unique(groups, return_inverse=True)
    m = int(column.max()) + 1
    Z = sparse.csr_matrix((np.ones(len(y)), (np.arange(len(y)), column)), shape=(len(y), m))
    model = BinomialBayesMixedGLM(y, X, Z, np.zeros(m, dtype=int))

    def fit() -> Callable[[], Estimates]:
        # its default, BFGS, would keep a square matrix of twice the number of groups
        found = model.fit_vb(fit_method="L-BFGS-B", rng=0)
        return lambda: {
            "beta": found.fe_mean.tolist(),
            "tau": float(np.exp(found.vcp_mean[0])),
        }

    return fit


PEERS = {
    OURS: Peer("laplace", "laplace-glmm", "Laplace, `laplace.fit` with `nodes=1`", ours, True),
    "gpboost": Peer(
        "GPBoost",
        "gpboost",
        "Laplace, at its defaults",
        gpboost,
        True,
    ),
    "gpboost-tight": Peer(
        "GPBoost, tight",
        "gpboost",
        "Laplace, with `delta_rel_conv=1e-12`, which reaches the maximum",
        gpboost_tight,
        True,
    ),
    "glmmTMB": Peer("glmmTMB", "glmmTMB", "Laplace, at its defaults", None, True),
    "lme4": Peer(
        "lme4",
        "lme4",
        "Laplace, `glmer` at its defaults (`nAGQ = 1`); from a million rows on without its "
        "derivative check (`calc.derivs = FALSE`)",
        None,
        False,
    ),
    "statsmodels": Peer(
        "statsmodels",
        "statsmodels",
        "no maximum likelihood: `BinomialBayesMixedGLM.fit_vb`, the means of a variational "
        "posterior under its default priors; with L-BFGS-B",
        statsmodels,
        False,
    ),
}


def installed() -> dict[str, str]:
    """Give the version of each package of the peers that is installed, and of R."""
    found = {}
    for peer in PEERS.values():
        if peer.prepare is not None:
            try:
                found[peer.package] = version(peer.package)
            except PackageNotFoundError:
                continue
    if shutil.which("Rscript") is None:
        return found
    packages = [peer.package for peer in PEERS.values() if peer.prepare is None]
    names = ", ".join(f'"{name}"' for name in packages)
    script = (
        f'cat("R", as.character(getRversion()), "\\n"); for (name in c({names})) '
        "if (nzchar(system.file(package = name))) "
        'cat(name, packageDescription(name)$Version, "\\n")'
    )
    try:
        said = subprocess.run(
            ["Rscript", "--vanilla", "-e", script],
            capture_output=True,
            text=True,
            timeout=R_TIMEOUT,
        ).stdout
    except (subprocess.TimeoutExpired, OSError):  # an R that does not start is none
        return found
    for line in said.splitlines():
        words = line.split()
        # a start-up script of the site may print lines of its own
        if len(words) == 2 and words[0] in ("R", *packages):
            found[words[0]] = words[1]
    return found


def missing(name: str, versions: dict[str, str]) -> str:
    """Say why a peer cannot be measured; empty if it can."""
    peer = PEERS[name]
    if peer.package in versions:
        return ""
    if peer.prepare is not None:
        return f"the Python package {peer.package} is not installed"
    if "R" not in versions:
        return "there is no Rscript on the PATH, or it does not start"
    return f"the R package {peer.package} is not installed"
