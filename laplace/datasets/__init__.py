"""Small public data sets, each with its source and licence.

``DATASETS`` maps a name to the description of that data set. Each loader returns a new
DataFrame, whose ``attrs`` hold the same description as a dict.
"""

import csv
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DATASETS", "Dataset", "toenail"]


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set.

    Attributes
    ----------
    name
        Name of the loader, and of the CSV file.
    title
        One line saying what the data are.
    source
        Where the data were first published.
    see_also
        Where they are analysed with the model of this package.
    carried_by
        Where this copy was taken from; the script that took it is in ``tests/reference/``.
    licence
        Licence of that copy, as its carrier states it.
    interest
        Why the data are here.
    rows
        Number of rows.
    groups
        Number of groups.
    group
        The column that names the group.
    outcome
        The column that holds the outcome.
    columns
        Meaning and unit of each column, in the order of the file.
    """

    name: str
    title: str
    source: str
    see_also: str
    carried_by: str
    licence: str
    interest: str
    rows: int
    groups: int
    group: str
    outcome: str
    columns: tuple[tuple[str, str], ...]

    def as_attrs(self) -> dict[Hashable, Any]:
        """Return the description as a new dict, its columns too."""
        return {k: dict(v) if k == "columns" else v for k, v in asdict(self).items()}


_TOENAIL = Dataset(
    name="toenail",
    title="Toenail infection: a randomised trial of two oral antifungal treatments",
    source=(
        "M. De Backer, C. De Vroey, E. Lesaffre, I. Scheys and P. De Keyser (1998). Twelve weeks "
        "of continuous oral therapy for toenail onychomycosis caused by dermatophytes: a "
        "double-blind comparative trial of terbinafine 250 mg/day versus itraconazole 200 mg/day. "
        "Journal of the American Academy of Dermatology 38, S57–S63. "
        "doi:10.1016/S0190-9622(98)70486-4"
    ),
    see_also=(
        "E. Lesaffre and B. Spiessens (2001). On the effect of the number of quadrature points in "
        "a logistic random-effects model: an example. Applied Statistics 50(3), 325–335; "
        "G. Molenberghs and G. Verbeke (2005). Models for Discrete Longitudinal Data. Springer."
    ),
    carried_by="R package HSAUR3 1.0-13, by Torsten Hothorn and Brian S. Everitt",
    licence="GPL-2",
    interest=(
        "Patients differ so much (tau near 4) that the Laplace approximation is visibly off, "
        "and even 25 adaptive quadrature nodes leave the log-likelihood off by 0.02."
    ),
    rows=1908,
    groups=294,
    group="patient",
    outcome="outcome",
    columns=(
        ("patient", "number of the patient; not consecutive"),
        ("treatment", "itraconazole (200 mg a day) or terbinafine (250 mg a day)"),
        ("month", "time of the visit since the start, in months of 28 days"),
        ("visit", "number of the visit, 1 to 7; planned for weeks 0, 4, 8, 12, 24, 36 and 48"),
        (
            "outcome",
            "separation of the nail plate from its bed: 0 none or mild, 1 moderate or severe",
        ),
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({d.name: d for d in (_TOENAIL,)})


def toenail() -> pd.DataFrame:
    """Toenail infection: 294 patients, two treatments, up to seven visits each.

    Returns
    -------
    pandas.DataFrame
        1,908 rows, one a visit, by patient and visit, with the columns

        - ``patient`` (int64): number of the patient, the group; not consecutive;
        - ``treatment`` (category): ``"itraconazole"`` (first, so the reference) or
          ``"terbinafine"``;
        - ``month`` (float64): time of the visit since the start, in months of 28 days;
        - ``visit`` (int64): number of the visit, 1 to 7;
        - ``outcome`` (int64): separation of the nail plate from its bed, 0 none or mild,
          1 moderate or severe.

        ``attrs`` holds ``DATASETS["toenail"]`` as a dict: source, licence and more.

    Notes
    -----
    From the trial of De Backer et al. (1998), as carried by the R package HSAUR3 (licence GPL-2);
    `DATASETS` has the full reference.

    Examples
    --------
    >>> from laplace.datasets import toenail
    >>> data = toenail()
    >>> data.shape
    (1908, 5)
    >>> data.attrs["licence"]
    'GPL-2'
    """
    with files(__name__).joinpath("toenail.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    data = pd.DataFrame(
        {
            "patient": np.array([int(row["patient"]) for row in rows], dtype=np.int64),
            "treatment": pd.Categorical(
                [row["treatment"] for row in rows], categories=["itraconazole", "terbinafine"]
            ),
            "month": np.array([float(row["month"]) for row in rows], dtype=np.float64),
            "visit": np.array([int(row["visit"]) for row in rows], dtype=np.int64),
            "outcome": np.array([int(row["outcome"]) for row in rows], dtype=np.int64),
        }
    )
    data.attrs = _TOENAIL.as_attrs()
    return data
