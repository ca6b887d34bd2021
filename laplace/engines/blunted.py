"""What leaves a gate in the place of an exact answer, where that could spell out a row.

Least and largest values are those of a single row or group. A fit needs to know of them whether all
are of one sign, whether a column is constant, or about how large they are, and no more.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import numpy as np

from laplace.answers import MARGIN_TOLERANCE, Census, Margins, Moments
from laplace.arguments import text_of
from laplace.contribution import AtZero
from laplace.engines.rules import RefusedError, Rows, by_threshold
from laplace.questions import AskCensus
from laplace.site import DIGEST_BYTES
from laplace.starts import Start


def blunted(question: Any, answer: Any, rows: Rows, labels_key: bytes) -> Any:
    """Return what is sent instead of an answer.

    Parameters
    ----------
    question, answer : record
        The question, and the site's own answer.
    rows : Rows
        The rows.
    labels_key : bytes
        Key that the sites share; without one, no digest of a label is sent.

    Raises
    ------
    RefusedError
        If even that would tell too much.
    """
    if isinstance(answer, Census) and isinstance(question, AskCensus):
        return _census(answer, question.key, rows, labels_key)
    if isinstance(answer, Moments):
        return _moments(answer)
    if isinstance(answer, Margins):
        return _margins(answer, rows)
    return _rounded_ends(answer, rows) if isinstance(answer, AtZero | Start) else answer


def _census(answer: Census, key: str, rows: Rows, labels_key: bytes) -> Census:
    """Leave out labels and largest entries.

    The coordinator chooses the key of the digests: with it alone it could try all labels that there
    can be. The sites' own key is put before it.
    """
    labels: tuple[str, ...] = ()
    if key and labels_key:
        secret = hmac.new(labels_key, key.encode(), hashlib.sha256).digest()
        labels = tuple(
            hmac.new(secret, text_of(label).encode(), hashlib.sha256).hexdigest()[
                : 2 * DIGEST_BYTES
            ]
            for label in rows.site.data.labels
        )
        labels = tuple(sorted(labels))  # not in the order of the labels
    squares = np.diag(answer.gram)
    if not np.all(np.isfinite(squares)) or np.any((squares > 0.0) & (squares < 1e-200)):
        raise RefusedError("form", "a column has entries too large or too small; rescale it")
    zero = squares == 0.0
    return replace(
        answer,
        unit=np.where(zero, 1.0, np.sqrt(squares)),
        squares=np.where(zero, 0.0, 1.0),
        only_group="",
        labels=labels,
    )


def _moments(answer: Moments) -> Moments:
    """Say of the least and largest entry only whether they are the same."""
    deviation = answer.deviations
    # powers of two, so that nothing is rounded
    size = np.sqrt(answer.mean**2 + deviation**2)
    unit = np.where(size > 0.0, 2.0 ** np.ceil(np.log2(np.where(size > 0.0, size, 1.0))), 1.0)
    return Moments(
        answer.weight,
        answer.mean,
        unit,
        answer.variance * (answer.unit / unit) ** 2,
        answer.mean - deviation,
        answer.mean + deviation,
    )


def _margins(answer: Margins, rows: Rows) -> Margins:
    """Say only whether all margins are at least zero, and then how many are above."""
    limits = rows.thresholds
    if answer.most <= 0.0 or answer.least < -MARGIN_TOLERANCE * answer.most:
        return Margins(-1.0, 1.0, 0, answer.rows)
    rest = answer.rows - answer.positive
    for count in (answer.positive, rest):
        if 0 < count < limits.least_cell:
            raise by_threshold("least_cell", limits, "fewer rows are on one side of the direction")
    all_above = answer.least > MARGIN_TOLERANCE * answer.most
    return Margins(1.0 if all_above else 0.0, 1.0, answer.positive, answer.rows)


def _rounded_ends(answer: AtZero | Start, rows: Rows) -> AtZero | Start:
    """Round the information of the groups that tell least and most, where these have few rows."""
    data = rows.site.data
    if data.sum_by_group(rows.trials).min() >= rows.thresholds.least_rows:
        return answer
    return replace(answer, least=_rounded(answer.least, down=True), most=_rounded(answer.most))


def _rounded(size: float, down: bool = False) -> float:
    """Return a power of two, or one and a half times that, below or above."""
    if size <= 0.0:
        return 0.0
    power = 2.0 ** np.floor(np.log2(size))
    steps = [power, 1.5 * power, 2.0 * power]
    return float(max(s for s in steps if s <= size) if down else min(s for s in steps if s >= size))
