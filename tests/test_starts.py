"""Fits that start from the sites' own fits: the same maximum, in fewer rounds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import SITES, ask, distance, fitted, new_run, opened, study, written
from test_places import arrays, at_places

import laplace
from laplace.answers import numbers_of
from laplace.engines.own import Own
from laplace.engines.rules import size_of_answer
from laplace.messages import from_json, to_json
from laplace.questions import ALL
from laplace.sites import Sites
from laplace.starts import AskStart, Start

pytestmark = pytest.mark.filterwarnings("ignore::laplace.ApproximationWarning")
START = 'approve = "unattended"\nquestions = ["start"]'


@pytest.mark.parametrize(
    ("name", "sites", "rounds", "options"),
    [
        ("toenail", 2, 7, {"nodes": 1}),
        ("toenail", 3, 8, {"nodes": 1}),
        ("toenail", 5, 8, {"nodes": 1}),
        ("published", 2, 7, {"nodes": 1, "tau": 1.0}),
        ("published", 2, 8, {"nodes": 1}),
        ("5x500", 5, 7, {"nodes": 1}),
        ("cbpp", 3, 6, {"nodes": 1}),
        ("cbpp", 3, 13, {"nodes": "auto"}),
        ("contraception", 5, 7, {"nodes": 1, "tau": 1.0}),
    ],
)
def test_the_same_fit_in_fewer_rounds(
    tmp_path: Path, name: str, sites: int, rounds: int, options: dict[str, Any]
) -> None:
    of = study(name)
    with opened(written(tmp_path, of, SITES[:sites], policy_lines=START)) as gates:
        fit = fitted(gates, new_run(tmp_path, SITES[:sites], starts=True, **options))
        plain = fitted(gates, new_run(tmp_path, SITES[:sites], **options))
    assert fit.rounds <= rounds < plain.rounds
    # the search stops at 1e-7 standard errors, as with many rows
    assert np.nanmax(np.abs(fit.params - plain.params) / plain.bse) < 1e-7
    assert distance(fit, of.pooled(**options)) < 1e-6


@pytest.mark.parametrize("options", [{}, {"tau": 0.0}, {"penalty": "soft"}, {"tau": 2.0}], ids=str)
@pytest.mark.parametrize("name", ["cbpp", "2x30", "2x500", "10x30"])
def test_every_kind_of_fit_has_the_same_maximum(name: str, options: dict[str, Any]) -> None:
    rows = arrays(name)
    places = [Own(site) for site in at_places(rows, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = laplace.fit(**rows, **options)
        found = laplace.fit_sites(Sites(places, guarded=True, starts=True), **options)
    assert (found.converged, found.boundary) == (expected.converged, expected.boundary)
    shift = (found.params - expected.params) / expected.bse.fillna(1.0)
    assert np.max(np.abs(shift)) < 1e-7


def test_the_boundary_is_that_of_all_rows() -> None:
    """A search from the places' own fits stops early where the likelihood falls from tau = 0."""
    ended = {True: 0, False: 0}
    for seed in range(24):
        drawn = laplace.simulate.random_intercepts([60] * 6, [-0.5, 0.7], 0.2, seed=seed)
        rows = {"y": drawn.y, "X": drawn.X, "groups": drawn.groups}
        # a group at each place, none of which can estimate tau
        parts = [np.asarray(drawn.groups) == label for label in np.unique(drawn.groups)]
        places = [
            Own(laplace.Site.from_arrays(drawn.y[k], drawn.X[k], drawn.groups[k])) for k in parts
        ]
        for nodes in (1, 9):
            expected = laplace.fit(**rows, nodes=nodes)
            sites = Sites(places, guarded=True, starts=True)
            found = laplace.fit_sites(sites, nodes=nodes)
            assert (found.converged, found.boundary) == (expected.converged, expected.boundary)
            shift = (found.params - expected.params) / expected.bse.fillna(1.0)
            assert np.max(np.abs(shift)) < 1e-7
            ended[found.boundary] += 1
    assert min(ended.values()) > 10


def test_separation_at_one_place_or_at_all() -> None:
    rows = arrays("10x30")
    flag = np.asarray(rows["y"]) * (np.arange(300) % 5 == 0)
    X = np.column_stack([rows["X"], flag])
    places = [Own(site) for site in at_places({**rows, "X": X}, 3)]
    assert not places[0].start().plain.any()  # no fit of its own
    with pytest.raises(laplace.SeparationError, match=r"1\*x10 is never"):
        laplace.fit_sites(Sites(places, guarded=True, starts=True), nodes=1)
    # separated at one place only, where the column has one value for each outcome
    here = places[0].site.data.labels
    flag = np.where(np.isin(rows["groups"], here), flag, np.random.default_rng(1).random(300))
    rows = {**rows, "X": np.column_stack([rows["X"], flag])}
    places = [Own(site) for site in at_places(rows, 3)]
    assert not places[0].start().plain.any()
    found = laplace.fit_sites(Sites(places, guarded=True, starts=True), nodes=1)
    expected = laplace.fit(**rows, nodes=1)
    assert np.nanmax(np.abs(found.params - expected.params) / expected.bse) < 1e-7


def test_own_fits_are_those_of_the_place() -> None:
    rows = arrays("cbpp")
    alone = laplace.fit(**rows, nodes=1)
    start = Own(laplace.Site.from_arrays(**rows)).start()
    theta = np.linalg.solve(start.information, start.weighted)
    np.testing.assert_allclose(theta, [*alone.beta, np.log(alone.tau)], rtol=1e-10)
    np.testing.assert_allclose(start.information, -alone.contribution.hessian, rtol=1e-10)
    without = laplace.fit(**rows, tau=0.0)
    np.testing.assert_allclose(np.linalg.solve(start.plain, start.plain_weighted), without.beta)
    assert start.highest == pytest.approx(without.llf, rel=1e-13)
    # no common coefficients exceed the sum of the places' own maxima
    total = sum(
        (Own(site).start() for site in at_places(rows, 3)[1:]), Own(at_places(rows, 3)[0]).start()
    )
    assert total.highest > without.llf


def test_own_fits_warn_nobody_and_leave_the_filters_alone(monkeypatch) -> None:
    """Filters of warnings are those of the whole process, and another thread's, too."""

    def none(*_: Any, **__: Any) -> None:
        raise AssertionError("the filters of the process were changed")

    drawn = laplace.simulate.random_intercepts([3] * 8, [0.0, 4.0], 4.0, seed=3)
    rows = {"y": drawn.y, "X": drawn.X, "groups": drawn.groups}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(laplace.ApproximationWarning):
            laplace.fit(**rows, nodes=1)  # as a door would say
        monkeypatch.setattr(warnings, "catch_warnings", none)
        start = Own(laplace.Site.from_arrays(**rows)).start()
        monkeypatch.undo()
    assert start.plain.any()


def test_a_start_travels_as_json() -> None:
    start = Own(laplace.Site.from_arrays(**arrays("cbpp"))).start()
    again = from_json(to_json(start))
    assert isinstance(again, Start)
    np.testing.assert_array_equal(again.information, start.information)
    assert (again.highest, again.least, again.most) == (start.highest, start.least, start.most)
    assert isinstance(from_json(to_json(AskStart())), AskStart)


def test_a_policy_names_the_question_or_it_is_refused(tmp_path: Path) -> None:
    with opened(written(tmp_path, study("toenail"), ["north"], policy_lines=START)) as gates:
        one = gates["north"]
        start = ask(one, AskStart())
        assert numbers_of(start) == size_of_answer(AskStart, one.rows.p)
        beta = np.linalg.solve(start.plain, start.plain_weighted)
        exact = one.rows.site.without(ALL, beta)
        assert exact.least not in (start.least,)  # of a single patient: rounded
        assert start.least <= exact.least * (1 + 1e-9)
        assert start.most >= exact.most * (1 - 1e-9)
        assert "Your own fit, as you allow it" in one.preview()
