"""Fits one data set by one of Python's packages for mixed models, in their own environment.

``python benchmarks/packages.py NAME DATA OUTPUT`` reads a CSV file with the columns ``outcome``,
``group`` and covariates, and writes in JSON what the package returned, or how it failed. It imports
nothing of this repository, which that environment does not have. Every package is called as its own
documentation shows, at its defaults, with the Laplace approximation.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# What a package returned: beta, tau, their standard errors (se, se_tau), whether it said that it
# converged, and its own log-likelihood; what a package does not report is None.
Found = dict[str, Any]


def numbers(values: Any) -> list[float]:
    """Turn a vector of any kind into a list."""
    return [float(value) for value in np.ravel(np.asarray(values, dtype=float))]


def right_side(data: pd.DataFrame) -> str:
    """Name the covariates as a formula does."""
    return " + ".join(name for name in data if name not in ("outcome", "group"))


def glmm(data: pd.DataFrame) -> Found:
    """Fit by `glmm.fit`."""
    import glmm

    fit = glmm.fit(data, f"outcome ~ {right_side(data)} + (1 | group)", "binomial")
    return {
        "beta": numbers(fit.beta),
        "tau": float(np.sqrt(numbers(fit.tau2)[0])),
        "se": numbers(fit.se),
        "se_tau": numbers(fit.stddev_se)[0],
        "converged": bool(fit.converged),
        "own": float(fit.loglik),
    }


def mixedlm(data: pd.DataFrame) -> Found:
    """Fit by `mixedlm.glmer`."""
    import mixedlm

    formula = f"outcome ~ {right_side(data)} + (1 | group)"
    fit = mixedlm.glmer(formula, data, family=mixedlm.families.Binomial())
    return {
        "beta": numbers(list(fit.fixef().values())),
        "tau": numbers(fit.theta)[0],
        "se": numbers(np.sqrt(np.diag(np.asarray(fit.vcov())))),
        "se_tau": None,
        "converged": bool(fit.converged),
        "own": float(fit.logLik().value),
    }


def lme_python(data: pd.DataFrame) -> Found:
    """Fit by `lme_python.glmer`."""
    import lme_python
    import polars

    table = polars.DataFrame({name: data[name].to_list() for name in data})
    fit = lme_python.glmer(f"outcome ~ {right_side(data)} + (1 | group)", table, "binomial")
    return {
        "beta": numbers(fit.coefficients),
        "tau": numbers(fit.theta)[0],
        "se": numbers(fit.std_errors),
        "se_tau": None,
        "converged": bool(fit.converged),
        "own": float(fit.log_likelihood),
    }


def interlace(data: pd.DataFrame) -> Found:
    """Fit by `interlace.glmer`."""
    import interlace

    formula = f"outcome ~ {right_side(data)}"
    fit = interlace.glmer(formula, data, family="binomial", groups="group")
    return {
        "beta": numbers(fit.fe_params),
        "tau": float(np.sqrt(numbers(list(dict(fit.variance_components).values()))[0])),
        "se": numbers(fit.fe_bse),
        "se_tau": None,
        "converged": bool(fit.converged),
        "own": float(fit.llf),
    }


def matrix(data: pd.DataFrame) -> np.ndarray:
    """Give the covariates with a column of ones before them."""
    covariates = data.drop(columns=["outcome", "group"])
    return np.column_stack([np.ones(len(data)), covariates.to_numpy(dtype=float)])


def gpboost(data: pd.DataFrame) -> Found:
    """Fit by `gpboost.GPModel.fit`."""
    import gpboost

    model = gpboost.GPModel(group_data=data["group"], likelihood="bernoulli_logit")
    model.fit(y=data["outcome"].to_numpy(), X=matrix(data))
    coefficients = np.asarray(model.get_coef(std_err=True, format_pandas=False), dtype=float)
    beta, se = coefficients.reshape(2, -1)
    return {
        "beta": numbers(beta),
        "tau": float(np.sqrt(numbers(model.get_cov_pars(format_pandas=False))[0])),
        "se": numbers(se),
        "se_tau": None,
        "converged": None,
        "own": -float(model.get_current_neg_log_likelihood()),
    }


def statsmodels(data: pd.DataFrame) -> Found:
    """Fit by `BinomialBayesMixedGLM.fit_vb`, whose estimates are means of a posterior."""
    from scipy import sparse
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    labels, column = np.unique(data["group"], return_inverse=True)
    size = (len(data), len(labels))
    Z = sparse.csr_matrix((np.ones(len(data)), (np.arange(len(data)), column)), shape=size)
    outcome = data["outcome"].to_numpy()
    model = BinomialBayesMixedGLM(outcome, matrix(data), Z, np.zeros(len(labels), dtype=int))
    fit = model.fit_vb(rng=0)
    return {
        "beta": numbers(fit.fe_mean),
        "tau": float(np.exp(fit.vcp_mean[0])),
        "se": numbers(fit.fe_sd),
        "se_tau": None,
        "converged": None,
        "own": None,
    }


# Name of the package in a registry, and how it is called.
CALLS: dict[str, tuple[str, Callable[[pd.DataFrame], Found]]] = {
    "glmm": ("glmm", glmm),
    "mixedlm": ("mixedlm", mixedlm),
    "lme-python": ("lme-python", lme_python),
    "interlace": ("interlace-lme", interlace),
    "gpboost": ("gpboost", gpboost),
    "statsmodels": ("statsmodels", statsmodels),
}


def fitted(name: str, data: pd.DataFrame) -> dict[str, Any]:
    """Fit, and say with which version, what was warned of, or why there is no fit."""
    package, call = CALLS[name]
    record: dict[str, Any] = {"version": version(package)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            record |= call(data)
        except Exception as problem:  # whatever it is, it is what the table says of the package
            record["failed"] = f"{type(problem).__name__}: {problem}"
    # a text can name the folder of the environment, which is of no interest
    record["warnings"] = sorted({str(w.message).splitlines()[0] for w in caught})
    return record


def main(name: str, source: str, output: str) -> None:
    """Fit one data set by one package."""
    data = pd.read_csv(source, dtype={"group": str})
    # the columns are numbers of one type: some packages take integers for categories
    data = data.astype({column: float for column in data if column != "group"})
    record = fitted(name, data)
    Path(output).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
