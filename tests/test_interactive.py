"""The interactive figure: its table is the package's, and the same at every call."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from compendium.interactive import REACH, SIZES, TAUS, Explorer, explorer
from compendium.plots import COLOURS
from laplace import derivatives, quadrature

BETA = np.zeros(1)
SMALL = {"rows": 3, "events": 1, "tau": 2.0, "sizes": [2, 3], "taus": [0.5, 2.0]}


@pytest.fixture(scope="module")
def figure() -> Explorer:
    return explorer()


def table_of(figure: Explorer) -> dict:
    found = re.findall(r'<script type="application/json">(.*?)</script>', figure.html, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def integral(x: np.ndarray, y: np.ndarray, tau: float) -> float:
    """Log-likelihood by the trapezoidal rule, on which the figure does not rely.

    Of smooth functions that fall to nothing on both sides it is right to the last digits.
    """
    u = np.linspace(-12.0, 12.0, 2401) * max(tau, 1.0)
    g = np.array([derivatives.g(x, y, value, BETA, tau) for value in u])
    return float(g.max() + np.log(np.sum(np.exp(g - g.max())) * (u[1] - u[0])))


def test_the_table_has_every_setting(figure: Explorer) -> None:
    table = table_of(figure)
    assert table["sizes"] == list(SIZES)
    assert [float(tau) for tau in table["taus"]] == list(TAUS)
    assert table["rules"] == ["Laplace", "5 nodes", "10 nodes"]
    for rows, of_size in zip(table["sizes"], table["settings"], strict=True):
        assert len(of_size) == len(TAUS)
        assert all(len(of_tau) == rows + 1 for of_tau in of_size)


@pytest.mark.parametrize("draw", range(30))
def test_the_table_is_what_the_functions_say(figure: Explorer, draw: int) -> None:
    table = table_of(figure)
    rng = np.random.default_rng(draw)
    i, j = rng.integers(len(SIZES)), rng.integers(len(TAUS))
    rows, tau = SIZES[i], TAUS[j]
    # every third at the ends, where the hill leans most
    events = int([0, rows, rng.integers(rows + 1)][draw % 3])
    x, y = np.ones((rows, 1)), (np.arange(rows) < events).astype(float)
    mode, omega, loglik, errors, heights, at_nodes = table["settings"][i][j][events]

    true_mode, true_omega = (f(x, y, BETA, tau) for f in (derivatives.mode, derivatives.omega))
    assert mode == pytest.approx(true_mode, abs=0.0051)
    assert omega == pytest.approx(true_omega, abs=0.00051)

    top = derivatives.g(x, y, true_mode, BETA, tau)
    for places, stored in ((table["t"], heights), (table["nodes"], at_nodes)):
        u = true_mode + true_omega * np.array(places)
        true = [1000 * np.exp(derivatives.g(x, y, value, BETA, tau) - top) for value in u]
        np.testing.assert_allclose(stored, true, atol=0.6, rtol=0)
    at = quadrature.adaptive_nodes(x, y, BETA, tau, 5)
    np.testing.assert_allclose((at - true_mode) / true_omega, table["nodes"], atol=1e-4)
    gaussian = 1000 * np.exp(-0.5 * np.array(table["t"]) ** 2)
    np.testing.assert_allclose(table["gaussian"], gaussian, atol=0.5)

    truth = integral(x, y, tau)
    assert loglik == pytest.approx(truth, abs=0.000051)
    values = [derivatives.l(x, y, BETA, tau)]
    values += [quadrature.adaptive(x, y, BETA, tau, nodes) for nodes in (5, 10)]
    for text, value in zip(errors, values, strict=True):
        if text == "< 1e-10":
            assert abs(value - truth) <= 1.001e-10
        else:
            assert float(text) == pytest.approx(abs(value - truth), rel=0.051)
            assert re.fullmatch(r"\d\.\de-\d\d", text)


def test_the_hill_comes_down_within_the_grid_and_the_axes(figure: Explorer) -> None:
    table = table_of(figure)
    for of_tau in (of_tau for of_size in table["settings"] for of_tau in of_size):
        for mode, omega, _, _, heights, _ in of_tau:
            assert max(heights) == 1000
            assert max(heights[0], heights[-1]) <= 1
            u = mode + omega * np.array(table["t"])
            outside = np.abs(u) > REACH * TAUS[-1]
            assert np.all(np.array(heights)[outside] <= 20)


def test_the_drawing_begins_where_the_sliders_do() -> None:
    html = explorer(**SMALL).html
    table = table_of(explorer(**SMALL))
    mode, omega, loglik, errors, heights, at_nodes = table["settings"][1][1][1]
    (origin, unit), (bottom, per_mille) = table["x"], table["y"]

    def drawn(name: str) -> np.ndarray:
        points = re.search(rf'<polyline class="{name}" points="([^"]*)"', html)[1]
        return np.array([point.split(",") for point in points.split()], dtype=float)

    x = origin + unit * (mode + omega * np.array(table["t"]))
    for name, of in (("curve", heights), ("gaussian", table["gaussian"])):
        np.testing.assert_allclose(drawn(name)[:, 0], x, atol=0.051)
        np.testing.assert_allclose(drawn(name)[:, 1], bottom - per_mille * np.array(of), atol=0.051)
    squares = re.findall(r"M([\d.]+) [\d.]+V([\d.]+)m-3 -3h6v6h-6z", html)
    x = origin + unit * (mode + omega * np.array(table["nodes"]))
    y = bottom - per_mille * np.array(at_nodes)
    np.testing.assert_allclose(np.array(squares, dtype=float), np.c_[x, y], atol=0.051)

    assert re.findall(r'name="(\w+)" min="0" max="(\d+)" value="(\d+)"', html) == [
        ("rows", "1", "1"),
        ("events", "3", "1"),
        ("tau", "1", "1"),
    ]
    for name, text in (
        ("events", "1 of 3"),
        ("tau", "2"),
        ("mode", f"{mode:.2f}".replace("-", "−")),
        ("omega", f"{omega:.2f}"),
        ("loglik", f"{loglik:.4f}".replace("-", "−")),
    ):
        shown = re.findall(rf'data-show="{name}">([^<]*)<', html)
        assert shown
        assert set(shown) == {text}
    assert re.findall(r'<strong data-show="([^"]*)">([^<]*)</strong>', html) == [
        (rule, error.replace("<", "&lt;"))
        for rule, error in zip(table["rules"], errors, strict=True)
    ]


def test_the_same_arguments_give_the_same_bytes(figure: Explorer) -> None:
    assert explorer(**SMALL).html == explorer(**SMALL).html
    turned = SMALL | {"sizes": (3, 2, 3), "taus": [2, 0.5]}
    assert explorer(**turned).html == explorer(**SMALL).html
    assert repr(explorer(**SMALL)) == repr(figure)
    assert figure._repr_html_() == figure.html


def test_figures_that_differ_share_no_id() -> None:
    ids = [
        set(re.findall(r'\bid="([^"]*)"', explorer(**(SMALL | {"events": events})).html))
        for events in (0, 1)
    ]
    assert len(ids[0]) == len(ids[1]) == 3
    assert not ids[0] & ids[1]


def test_it_is_light_and_asks_nothing_of_a_network(figure: Explorer) -> None:
    assert len(figure.html.encode()) < 200_000
    without_namespace = figure.html.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(|\bimport\b", without_namespace)
    assert "$" not in figure.html  # every blank of the template is filled


def test_its_colours_are_those_of_the_other_figures(figure: Explorer) -> None:
    for name, kind in (("curve", "truth"), ("gaussian", "laplace"), ("nodes", "quadrature")):
        assert (
            f'stroke="{COLOURS[kind]}"' in re.search(rf'<\w+ class="{name}"[^>]*>', figure.html)[0]
        )


def test_it_begins_with_any_tau_and_any_number_of_nodes() -> None:
    table = table_of(explorer(rows=4, events=4, tau=0.7, nodes=1, sizes=[2], taus=[1.0]))
    assert table["sizes"] == [2, 4]
    assert table["taus"] == ["0.7", "1"]
    assert table["rules"] == ["Laplace", "5 nodes", "10 nodes"]
    assert table["nodes"] == [0.0]
    far = table_of(explorer(rows=2, tau=100.0, nodes=200, sizes=[], taus=[]))
    assert far["rules"] == ["Laplace", "5 nodes", "10 nodes", "200 nodes"]
    assert max(map(abs, far["nodes"])) <= far["t"][-1]  # others lie where nothing is to be seen


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"rows": 0}, ValueError, "rows must be between 1 and 40, got 0"),
        ({"rows": 41}, ValueError, "rows must be between 1 and 40, got 41"),
        ({"rows": 2.0}, TypeError, r"rows must be a whole number, got 2\.0"),
        ({"rows": True}, TypeError, "rows must be a whole number, got True"),
        ({"events": 13}, ValueError, "events must be between 0 and 12, got 13"),
        ({"events": -1}, ValueError, "events must be between 0 and 12, got -1"),
        ({"tau": 0}, ValueError, "tau must be positive and finite, got 0"),
        ({"tau": float("nan")}, ValueError, "tau must be positive and finite, got nan"),
        ({"tau": "3"}, TypeError, "tau must be a number, got '3'"),
        ({"nodes": 0}, ValueError, "nodes must be between 1"),
        ({"sizes": [2, 99]}, ValueError, "each of sizes must be between 1 and 40, got 99"),
        ({"taus": [-1.0]}, ValueError, r"each of taus must be positive and finite, got -1\.0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(wrong: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        explorer(**wrong)
