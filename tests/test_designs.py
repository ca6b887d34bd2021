"""What `fit_many` says of designs that it cannot take: which one, what is wrong, what to do."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

import laplace

ROWS = laplace.simulate.random_intercepts([8] * 6, [-0.3, 0.8], 1.0, seed=3)
MAPPING = {"y": ROWS.y, "X": ROWS.X, "groups": ROWS.groups}


@pytest.mark.parametrize("place", [0, 2, 1200])
def test_an_error_says_of_which_design_it_is(place: int) -> None:
    """Also in a later part: no more than a thousand are taken up at a time."""
    designs: list[Any] = [ROWS] * (place + 2)
    designs[place] = np.ones(48), ROWS.X, ROWS.groups
    with pytest.raises(ValueError, match="y is 1 in every row") as caught:
        laplace.fit_many(iter(designs), nodes=1, tau=1.0)
    assert f"This is of designs[{place}]; with errors='return'" in "".join(
        traceback.format_exception(caught.value)
    )
    (error,) = (one for one in laplace.fit_many(designs, nodes=1, tau=1.0, errors="return")
                if isinstance(one, Exception))  # fmt: skip
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    ("design", "options", "words"),
    [
        ({**MAPPING, "tau": 1}, {"tau": 1}, "'tau' is given by a design, and to fit_many for all"),
        ({**MAPPING, "y": ROWS.y}, {"y": ROWS.y}, "'y' is given by a design, and to fit_many"),
        ({"y": ROWS.y, "groups": ROWS.groups}, {}, "y, X and groups, but 'X' is missing"),
        ({}, {}, "designs must hold y, X and groups, but 'y', 'X', 'groups' are missing"),
        ({**MAPPING, 1: 1}, {}, "designs must hold arguments of fit, and 1 is none of them: y, X,"),
        ({**MAPPING, "node": 1}, {}, "and 'node' is none of them: y, X, groups"),
    ],
)
def test_a_mapping_of_other_arguments(
    design: dict[Any, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        laplace.fit_many([design], **options)
    (error,) = laplace.fit_many([design], errors="return", **options)
    assert isinstance(error, TypeError)
    assert words in str(error)


def test_what_all_have_may_be_given_once() -> None:
    alone = laplace.fit(**MAPPING, nodes=1)
    (together,) = laplace.fit_many([{"y": ROWS.y}], X=ROWS.X, groups=ROWS.groups, nodes=1)
    np.testing.assert_allclose(together.params, alone.params, rtol=1e-12)


@pytest.mark.parametrize("designs", [tuple(MAPPING.values()), ROWS, MAPPING, "designs"])
def test_a_single_design_is_told_from_a_list(designs: Any) -> None:
    with pytest.raises(TypeError, match="for a single data set, give a list of one"):
        laplace.fit_many(designs)


def test_options_that_fit_has_not() -> None:
    with pytest.raises(TypeError, match=r"fit has no argument 'node', .* its arguments are y, X,"):
        laplace.fit_many([ROWS], node=1)
    with pytest.raises(ValueError, match="errors must be 'raise' or 'return', got"):
        laplace.fit_many([ROWS], errors=np.array(["raise", "x"]))
