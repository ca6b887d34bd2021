"""Small public data sets, each with its source and licence, and what R's lme4 makes of them.

``DATASETS`` maps a name to the description of that data set. Each loader returns a new
DataFrame, whose ``attrs`` hold the same description as a dict.
"""

import csv
import json
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

__all__ = [
    "DATASETS",
    "Column",
    "Dataset",
    "cbpp",
    "contraception",
    "in_r",
    "toenail",
]

# The CSV files, and what R makes of them; each with its source and licence beside it.
DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Column:
    """What is known about a column.

    Attributes
    ----------
    name
        Its name, here and in the CSV file.
    kind
        `int` or `float`; or the categories, the first of which is the reference.
    meaning
        Meaning and unit.
    """

    name: str
    kind: type[int] | type[float] | tuple[str, ...]
    meaning: str

    def values(self, texts: list[str]) -> pd.Series:
        """Turn the texts of the file into the values that they mean."""
        if isinstance(self.kind, tuple):
            return pd.Series(pd.Categorical(texts, categories=list(self.kind)))
        numbers = [self.kind(text) for text in texts]
        return pd.Series(numbers, dtype="int64" if self.kind is int else "float64")


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
        The columns, in the order of the file.
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
    columns: tuple[Column, ...]

    def as_attrs(self) -> dict[Hashable, Any]:
        """Return the description as a new dict, its columns as a dict of their meanings."""
        meanings = {column.name: column.meaning for column in self.columns}
        return {key: meanings if key == "columns" else v for key, v in asdict(self).items()}

    def load(self) -> pd.DataFrame:
        """Return the rows in a new DataFrame, with this description in its ``attrs``."""
        with (DATA / f"{self.name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        data = pd.DataFrame({c.name: c.values([row[c.name] for row in rows]) for c in self.columns})
        data.attrs = self.as_attrs()
        return data


_TOENAIL = Dataset(
    name="toenail",
    title="Toenail infection: a randomised trial of two oral antifungal treatments",
    source=(
        "M. De Backer, C. De Vroey, E. Lesaffre, I. Scheys and P. De Keyser (1998). Twelve weeks "
        "of continuous oral therapy for toenail onychomycosis caused by dermatophytes: a "
        "double-blind comparative trial of terbinafine 250 mg/day versus itraconazole 200 mg/day. "
        "Journal of the American Academy of Dermatology 38, S57–S63. "
        "doi:10.1016/S0190-9622(98)70486-4."
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
        Column("patient", int, "number of the patient; not consecutive"),
        Column(
            "treatment",
            ("itraconazole", "terbinafine"),
            "itraconazole (200 mg a day) or terbinafine (250 mg a day)",
        ),
        Column(
            "month",
            float,
            "time of the visit since the start, in months of 28 days",
        ),
        Column(
            "visit",
            int,
            "number of the visit, 1 to 7; planned for weeks 0, 4, 8, 12, 24, 36 and 48",
        ),
        Column(
            "outcome",
            int,
            "separation of the nail plate from its bed: 0 none or mild, 1 moderate or severe",
        ),
    ),
)

_CBPP = Dataset(
    name="cbpp",
    title="Contagious bovine pleuropneumonia: new cases in 15 herds over four periods",
    source=(
        "M. Lesnoff, G. Laval, P. Bonnet, S. Abdicho, A. Workalemahu, D. Kifle, A. Peyraud, "
        "R. Lancelot and F. Thiaucourt (2004). Within-herd spread of contagious bovine "
        "pleuropneumonia in Ethiopian highlands. Preventive Veterinary Medicine 64, 27–40."
    ),
    see_also="the help pages of lme4, where it is the example of a binomial outcome",
    carried_by="R package lme4 1.1-31, by Douglas Bates, Martin Maechler, Ben Bolker and others",
    licence="GPL (>= 2)",
    interest=(
        "Outcomes are counts out of herds of known size: binomial, of which lme4 reports the "
        "log-likelihood on a scale that changes with the number of nodes."
    ),
    rows=56,
    groups=15,
    group="herd",
    outcome="incidence",
    columns=(
        Column("herd", int, "number of the herd, 1 to 15"),
        Column(
            "period",
            ("1", "2", "3", "4"),
            "time of the blood samples, 1 to 4, a quarter each",
        ),
        Column("incidence", int, "number of new serological cases in the herd"),
        Column("size", int, "size of the herd at the beginning of the period"),
    ),
)

_CONTRACEPTION = Dataset(
    name="contraception",
    title="Contraceptive use of 1,934 women in 60 districts of Bangladesh",
    source="The Bangladesh Fertility Survey of 1988.",
    see_also=(
        "the help pages of mlmRev, which name F. Steele, I. Diamond and S. Amin (1996). "
        "Immunization uptake in rural Bangladesh: a multilevel analysis. Journal of the Royal "
        "Statistical Society, Series A 159, 289–299."
    ),
    carried_by="R package mlmRev 1.0-8, by Douglas Bates, Martin Maechler and Ben Bolker",
    licence="GPL (>= 2)",
    interest=(
        "Districts of very different size differ moderately (tau near 0.5), so that Laplace is off "
        "by a few hundredths of a standard error at most; and the log odds are a curve in age."
    ),
    rows=1934,
    groups=60,
    group="district",
    outcome="use",
    columns=(
        Column("woman", int, "number of the woman"),
        Column(
            "district",
            int,
            "number of the district, 1 to 61; nobody was asked in 54",
        ),
        Column("urban", ("N", "Y"), "whether she lives in a town: N no, Y yes"),
        Column("livch", ("0", "1", "2", "3+"), "number of living children"),
        Column("age", float, "her age in years, less the mean age"),
        Column("use", int, "whether she uses contraception: 0 no, 1 yes"),
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {dataset.name: dataset for dataset in (_TOENAIL, _CBPP, _CONTRACEPTION)}
)


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
    >>> from compendium.datasets import toenail
    >>> data = toenail()
    >>> data.shape
    (1908, 5)
    >>> data.attrs["licence"]
    'GPL-2'
    """
    return _TOENAIL.load()


def cbpp() -> pd.DataFrame:
    """Contagious bovine pleuropneumonia: 15 herds of zebu cattle, four periods.

    Returns
    -------
    pandas.DataFrame
        56 rows, one a herd and period, with the columns

        - ``herd`` (int64): number of the herd, the group;
        - ``period`` (category): ``"1"`` (the reference) to ``"4"``;
        - ``incidence`` (int64): number of new cases, the outcome;
        - ``size`` (int64): size of the herd, the number of trials.

        ``attrs`` holds ``DATASETS["cbpp"]`` as a dict: source, licence and more.

    Notes
    -----
    From Lesnoff et al. (2004), as carried by the R package lme4 (licence GPL, version 2 or later);
    `DATASETS` has the full reference. Not every herd was seen in every period.

    Examples
    --------
    >>> from compendium.datasets import cbpp
    >>> data = cbpp()
    >>> data["incidence"].sum(), data["size"].sum()
    (np.int64(99), np.int64(842))
    """
    return _CBPP.load()


def contraception() -> pd.DataFrame:
    """Contraceptive use in Bangladesh: 1,934 women in 60 districts.

    Returns
    -------
    pandas.DataFrame
        1,934 rows, one a woman, with the columns

        - ``woman`` (int64): number of the woman;
        - ``district`` (int64): number of the district, the group; there is no 54;
        - ``urban`` (category): whether she lives in a town, ``"N"`` (the reference) or ``"Y"``;
        - ``livch`` (category): number of living children, ``"0"`` (the reference), ``"1"``,
          ``"2"`` or ``"3+"``;
        - ``age`` (float64): her age in years, less the mean age;
        - ``use`` (int64): whether she uses contraception, 0 no, 1 yes; the outcome.

        ``attrs`` holds ``DATASETS["contraception"]`` as a dict: source, licence and more.

    Notes
    -----
    From the Bangladesh Fertility Survey of 1988, as carried by the R package mlmRev (licence GPL,
    version 2 or later); `DATASETS` has the full reference.

    Examples
    --------
    >>> from compendium.datasets import contraception
    >>> contraception().groupby("urban", observed=True)["use"].mean().round(3).to_dict()
    {'N': 0.342, 'Y': 0.516}
    """
    return _CONTRACEPTION.load()


def in_r(name: str) -> dict[str, Any]:
    """Return what R's lme4 and glmmTMB make of a data set.

    Parameters
    ----------
    name : str
        Name of a data set.

    Returns
    -------
    dict
        ``about``, with the versions of R and its packages; ``call``, the model as an R user writes
        it; ``terms``, R's names of the coefficients; ``glmer`` and ``maximum``, by the number of
        nodes as a str, with ``beta``, ``tau``, ``loglik`` and ``se``: what that call returns, and
        the maximum of lme4's objective on rows of 0/1 outcomes; ``glmmTMB``, the same with that
        package, for the Laplace approximation. The script that made them,
        ``tests/reference/fits.R``, says the rest.

    Examples
    --------
    >>> from compendium.datasets import in_r
    >>> round(in_r("cbpp")["maximum"]["25"]["tau"], 6)
    0.647518
    """
    if name not in DATASETS:
        raise ValueError(f"name must be one of {list(DATASETS)}, got {name!r}")
    values = json.loads((DATA / "fits.json").read_text(encoding="utf-8"))
    return {"about": values["about"], **values[name]}
