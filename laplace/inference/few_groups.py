"""What is said of a fit whose tau rests on few groups.

The figures are those of a simulation, tests/reference/few_groups.py: outcomes drawn from the model,
with a covariate that varies within groups and, from five groups on, one that is constant within
them; 0/1 outcomes in 30, 100 or 500 rows a group; tau of 0.5, 1 or 2; 300 data sets in each cell; 9
nodes. `COVERED` has how often 95 % intervals held the truth, in per cent of all data sets with so
many groups whose restricted fit has a maximum: of the coefficient of the column that is constant
within groups, and with two and three groups of the intercept. The coefficient of the column that
varies within groups was covered in 94 to 96 per cent by z intervals of maximum likelihood and by t
intervals of ``reml=True``, with any number of groups.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

# With fewer groups than this, something is said.
FEW = 10
# With so many or fewer, a population intercept can hardly be estimated.
VERY_FEW = 3
# Characters in a line of the summary.
WIDTH = 88


@dataclass(frozen=True)
class Covered:
    """How often 95 % intervals of a coefficient between groups held the truth, in per cent.

    Attributes
    ----------
    z : int
        z intervals by maximum likelihood.
    t : int
        t intervals of the restricted fit.
    """

    z: int
    t: int


# By number of groups; see above.
COVERED = {2: Covered(69, 99), 3: Covered(80, 97), 5: Covered(80, 95), 10: Covered(88, 95)}


def words(groups: int, *, reml: bool, penalised: bool) -> str | None:
    """Say what rests on few groups, in lines; None where there are enough.

    Parameters
    ----------
    groups : int
        Number of groups, of which tau was estimated.
    reml : bool
        Whether the fit is restricted.
    penalised : bool
        Whether it has a penalty.
    """
    if groups >= FEW:
        return None
    between = "of coefficients of columns that are constant within groups, the intercept included,"
    t = _figures(groups, "t")
    sentences = [f"tau rests on {groups} groups only."]
    if reml:
        sentences.append(f"In simulations, t intervals {between} covered {t} in place of 95 %.")
    else:
        without = ", without a penalty" if penalised else ""
        sentences.append(
            f"In simulations{without}, z intervals {between} covered {_figures(groups, 'z')} "
            f"instead of 95 %, and the t intervals of reml=True {t}."
        )
    if groups <= VERY_FEW:
        sentences.append(
            "A population intercept can hardly be estimated from so few groups. Coefficients of "
            "columns that vary within groups are not affected. The usual choice is a column of "
            "indicators for each group, with tau=0, in place of random intercepts."
        )
    return textwrap.fill(" ".join(sentences), WIDTH)


def _figures(groups: int, of: str) -> str:
    """Return what was found for a number of groups, or for those next to it."""
    below = max(k for k in COVERED if k <= groups)
    above = min(k for k in COVERED if k >= groups)
    one, other = (getattr(COVERED[k], of) for k in (below, above))
    if one == other:
        return f"{one} %"
    return f"{one} % (with {below} groups) to {other} % (with {above})"
