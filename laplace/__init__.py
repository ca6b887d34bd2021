r"""Random-intercept logistic and Poisson regression: Laplace, quadrature, and exact derivatives.

Rows j of group i follow :math:`y_{ij} \sim \mathrm{Bernoulli}(\pi_{ij})` with
:math:`\mathrm{logit}\,\pi_{ij} = x_{ij}'\beta + u_i` and :math:`u_i \sim N(0, \tau^2)`. A group's
likelihood is an integral over its random intercept; the Laplace approximation (``nodes=1``) or
adaptive Gauss-Hermite quadrature (``nodes=K``) replaces it. Values, gradients and Hessians are
exact derivatives of what is computed, and they add over groups.

Errors
------
`TypeError` says that an argument is of the wrong kind, as text where numbers are needed;
`ValueError` that its values are wrong, or that the data do not tell the parameters;
`SeparationError`, a `ValueError`, that X separates the outcomes; and `ArithmeticError` that a
computation failed. A message names the argument and the row, and what can be done.
`ConvergenceWarning` and `ApproximationWarning` say that a result is not to be trusted.

Glossary
--------
The symbols of the derivation, and their names in the code; p is the number of columns of X.

==================================  ==================  ======  ===============================
Symbol                              Name                Shape   Meaning
==================================  ==================  ======  ===============================
:math:`\beta`                       `beta`              (p,)    coefficients
:math:`\tau`                        `tau`               ()      SD of the random intercepts
:math:`\theta = (\beta, \log\tau)`  `theta`             (p+1,)  all parameters
:math:`\mu`, :math:`u_i`            `u`                 ()      a group's random intercept
:math:`\eta`                        `eta`               (n,)    linear predictor
:math:`b`                           `b`                 (n,)    cumulant function
:math:`b', b'', b''', b''''`        `b_1` to `b_4`      (n,)    its derivatives
:math:`g(\mu; \beta, \tau)`         `g`                 ()      log of the integrand
:math:`g_\mu`, ...                  `g_u` to `g_uuuu`   ()      derivatives in :math:`\mu`
:math:`g_\beta`, ...                `g_b` to `g_uuub`   (p,)    once in :math:`\beta`
:math:`g_{\beta\beta'}`, ...        `g_bb` to `g_uubb`  (p, p)  twice in :math:`\beta`
:math:`\hat\mu`                     `mode`              ()      mode of the integrand
:math:`\hat\mu_\beta`               `mu_b`              (p,)    its derivative
:math:`\hat\mu_{\beta\beta'}`       `mu_bb`             (p, p)  its second derivative
:math:`\hat\omega`                  `omega`             ()      width of the integrand
:math:`\hat\omega_\beta`            `omega_b`           (p,)    its derivative
:math:`\hat\omega_{\beta\beta'}`    `omega_bb`          (p, p)  its second derivative
:math:`l`                           `l`                 ()      approximate log-likelihood
:math:`l'`                          `l_1`               (p,)    its gradient
:math:`l''`                         `l_2`               (p, p)  its Hessian
:math:`z_k, w_k`                    `z`, `w`            (K,)    Gauss-Hermite nodes and weights
==================================  ==================  ======  ===============================
"""

from typing import Any

from laplace import derivatives, families, penalties, quadrature, simulate
from laplace.batch import fit_many
from laplace.bootstrap import Bootstrap
from laplace.contribution import Contribution
from laplace.fit import ConvergenceWarning, fit, fit_sites
from laplace.formula import fit_formula
from laplace.grouped import GroupedData
from laplace.inference.ratio import LikelihoodRatioTest
from laplace.likelihood import loglik
from laplace.newton import maximise
from laplace.result import Fit
from laplace.separation import SeparationError
from laplace.site import Site
from laplace.sites import Sites
from laplace.verdict import ApproximationWarning

__all__ = [
    "ApproximationWarning",
    "Bootstrap",
    "Contribution",
    "ConvergenceWarning",
    "Fit",
    "GroupedData",
    "LikelihoodRatioTest",
    "SeparationError",
    "Site",
    "Sites",
    "derivatives",
    "families",
    "fit",
    "fit_formula",
    "fit_many",
    "fit_sites",
    "loglik",
    "maximise",
    "penalties",
    "quadrature",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Return the version, which is looked up when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("laplace-glmm")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
