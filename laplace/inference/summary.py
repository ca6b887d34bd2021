"""A fit in two tables, as text in a terminal and as HTML in a notebook."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laplace.later import pd

# The most digits that the numbers of a column may need, to share their decimals.
MOST_DIGITS = 7


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """A fit in two tables; print or display it.

    Attributes
    ----------
    overview : Series
        The model, the data, the method and how it went, a text each.
    estimates : DataFrame
        Estimates, standard errors, z, p-values and 95 % Wald intervals, a row a parameter; of a
        restricted fit t and its degrees of freedom in the place of z.
    """

    overview: pd.Series
    estimates: pd.DataFrame

    def _formatted(self) -> pd.DataFrame:
        """Return the estimates as text, in as many decimals as their standard errors need."""
        estimates = self.estimates
        shared = decimals_of(estimates["std. error"])
        columns = {name: _column(estimates[name], shared) for name in estimates.columns}
        for statistic in {"z", "t"} & set(columns):
            columns[statistic] = _column(estimates[statistic], 3)
            columns[f"P>|{statistic}|"] = [_p_value(p) for p in estimates[f"P>|{statistic}|"]]
        if "df" in columns:
            columns["df"] = _column(estimates["df"], 0)
        return pd.DataFrame(columns, index=estimates.index)

    def __str__(self) -> str:
        width = max(len(name) for name in self.overview.index) + 2
        indented = self.overview.str.replace("\n", "\n" + " " * width)
        head = "\n".join(f"{name:{width}}{text}" for name, text in indented.items())
        return f"{head}\n\n{self._formatted().to_string()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            head = self.overview.to_frame().to_html(header=False)
        return f"{head}\n{self._formatted().to_html()}"


def decimals_of(values: pd.Series) -> int | None:
    """Return the decimals that show four digits of the largest number and three of the smallest.

    None where they differ so much in size that this takes many digits.
    """
    finite = np.abs(values[np.isfinite(values) & (values != 0.0)].to_numpy())
    if not len(finite):
        return 4
    largest, smallest = np.floor(np.log10([finite.max(), finite.min()])).astype(int)
    decimals = int(max(0, 3 - largest, 2 - smallest))
    return decimals if max(largest + 1, 1) + decimals <= MOST_DIGITS else None


def _column(values: pd.Series, decimals: int | None) -> list[str]:
    """Format numbers with common decimals, or with four digits each."""
    if decimals is None:
        texts = [f"{value:#.4g}".rstrip(".") for value in values]
    else:
        texts = [f"{value:.{decimals}f}" for value in values]
    return ["" if np.isnan(value) else text for value, text in zip(values, texts, strict=True)]


def digits(value: float) -> str:
    """Format a number with four decimals, or four significant digits where that is more."""
    return f"{value:.4f}" if value == 0.0 or abs(value) >= 0.1 else f"{value:.4g}"


def _p_value(p: float) -> str:
    if np.isnan(p):
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"
