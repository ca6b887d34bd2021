"""Every number in the text of the book is computed, a definition or a citation, and is reviewed."""

from __future__ import annotations

import inspect
import re
import tomllib
from ast import literal_eval
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
import prose
import pytest

import laplace
from compendium import datasets, published, reexamined, simulate, validation
from compendium.plots_answer import STEPS
from compendium.study import SCENARIOS, Study, designs, distances, load
from compendium.study.scenarios import GROUPS, PERCENT
from laplace import derivatives, quadrature
from laplace.inference import few_groups
from laplace.penalties import negative_huber
from laplace.strategy import STRATEGY

ROOT = Path(__file__).resolve().parents[1]
REVIEWED = tomllib.loads((ROOT / "tests" / "prose.toml").read_text(encoding="utf-8"))
PAGES = prose.pages()
KINDS = ("definition", "citation", "name", "tested", "computed")


@pytest.mark.parametrize("page", PAGES)
def test_every_sentence_with_a_number_is_reviewed(page: str) -> None:
    reviewed = REVIEWED.get(page, {})
    assert [s for s in PAGES[page] if s not in reviewed] == [], "say in prose.toml why, or compute"
    assert [s for s in reviewed if s not in PAGES[page]] == [], "it is no longer on the page"


def test_every_page_is_known_and_every_reason_is_of_a_kind() -> None:
    assert REVIEWED.keys() <= PAGES.keys()
    for sentences in REVIEWED.values():
        for reason in sentences.values():
            kind, _, words = reason.partition(": ")
            assert kind in KINDS
            assert len(words) > 5


def test_every_work_is_cited_and_every_citation_is_a_work() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")]
    cited = {
        key.strip()
        for text in texts
        for keys in re.findall(r"{cite:[pt]}`([^`]*)`", text)
        for key in keys.split(",")
    }
    works = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    assert cited == set(re.findall(r"@\w+\{(\w+),", works))


def test_every_test_that_is_named_exists() -> None:
    named = {
        found
        for sentences in REVIEWED.values()
        for reason in sentences.values()
        for found in re.findall(r"\btest_\w+\b(?!\.py)", reason)
    }
    assert named
    assert named <= globals().keys()


@pytest.mark.parametrize(
    "text",
    [
        "It takes 3 steps.",
        "It takes two steps.",
        "Twice as many.",
        "A half of them.",
        r"As $\sqrt2$ says.",
        "$$ x = 2 $$",
        "- In a list: a third of them.",
        "| a | 7 |",
        "See {doc}`a` for 5 more.",
    ],
)
def test_numbers_are_found(text: str) -> None:
    assert len(list(prose.sentences(text))) == 1


@pytest.mark.parametrize(
    "text", ["No number here.", "As `x_1` says.", "[a](b_2.md)", "```bash\nmake 2\n```", "(fig-2)="]
)
def test_names_and_code_are_no_numbers(text: str) -> None:
    assert list(prose.sentences(text)) == []


# What the reasons name ----------------------------------------------------------------------------


def said(page: str, part: str) -> str:
    """Return the one sentence of a page that holds some words."""
    (found,) = [sentence for sentence in PAGES[page] if part in sentence]
    return found


def parameters(chapter: str) -> dict[str, Any]:
    path = ROOT / "notebooks" / f"{chapter}.ipynb"
    known = papermill.inspect_notebook(path)
    return {name: literal_eval(one["default"]) for name, one in known.items()}


def outputs(chapter: str) -> str:
    """Return all text that the cells of a chapter put out, as stored."""
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    data = [o.get("data", {}) for cell in cells for o in cell.get("outputs", [])]
    return "\n".join(d.get("text/markdown", d.get("text/plain", "")) for d in data)


# What the first page says, and what a chapter put out that says the same.
FIRST_PAGE = {
    "but 12 of 17 formulas of its code are wrong": [
        ("03_two_sites", "12 of 17 formulas of the code are wrong"),
    ],
    "by up to 0.20 standard errors, while the approximation itself is off by 0.00024": [
        ("03_two_sites", "makes up 0.20 standard errors"),
        ("03_two_sites", "Laplace and 25 nodes differ by 0.00024 standard errors"),
    ],
    "that choice alone moves a coefficient by 0.24 standard errors": [
        ("03_two_sites", "Fixing it at 1 moves a coefficient by 0.24 standard errors"),
        ("03_two_sites", "With τ estimated, these data give τ = 0.00"),
    ],
    "In 56 % of the 144 data sets of the paper that have a maximum, the Laplace estimates that its "
    "authors published are more than one standard error off": [
        ("03_two_sites", "Of the 144 data sets of the paper that have a maximum"),
        ("03_two_sites", "the published LA is more than one standard error from it in 56 %"),
        ("03_two_sites", "Most of its distance is thus shrinkage"),
    ],
    "For 200 patients with six visits each and $\\tau = 2$, Laplace is off by 0.04 standard errors "
    "in a coefficient within patients, by 0.01 in the effect of a treatment of whole patients, "
    "and by 0.43 in $\\tau$": [
        ("04_quadrature", "200 patients with 6 visits each and τ = 2"),
        ("04_quadrature", "by 0.04 standard errors in a coefficient within patients"),
        (
            "04_quadrature",
            "by 0.01 in the effect of a treatment of whole patients, and by 0.43 in τ",
        ),
    ],
    "Among 15 herds there is no such group, and Laplace is off by 0.03 standard errors at most": [
        ("02_derivation", "cattle herds      15              0 %"),
        ("02_derivation", "cattle herds            0.029"),
    ],
    "61 % of the patients had the same outcome at every visit. There Laplace is off by 2.08 in the "
    "intercept and by 0.25 in the difference of the arms at the start, though by only 0.007 in "
    "what the trial asks": [
        ("02_derivation", "toenail trial    294             61 %"),
        ("05_real_data", "the coefficient `Intercept` is 2.08 standard errors off"),
        ("05_real_data", "treatment[T.terbinafine]       -0.250"),
        ("05_real_data", "treatment × month Laplace    -0.137  -0.274 to -0.001    0.049  -0.007"),
    ],
    "In groups of six rows with three events in ten, 5 nodes bring every estimate within a "
    "hundredth of a standard error "
    "at $\\tau = 0.5$, 15 at $\\tau = 2$, and 25 to 51 at $\\tau = 4$": [
        ("04_quadrature", "are 5 at τ = 0.5, 15 at τ = 2, 25 to 51 at τ = 4."),
    ],
    "within a tenth of a standard error for a treatment effect in all simulated scenarios, which "
    "have up to 500 groups": [
        (
            "06_monte_carlo",
            "within 0.1 standard errors, in 100 % of the scenarios in which at most",
        ),
    ],
    "For $\\tau$ it was so in 67 % of them, and in 28 % of those with 500 groups": [
        ("06_monte_carlo", "**For τ** it is close enough in 67 %"),
        ("06_monte_carlo", "at most a fifth have one outcome, it is 28 % with 500 groups."),
    ],
    "held the truth in 78 % of simulated data by maximum likelihood with the usual standard "
    "errors, and in 96 % with `reml=True`": [
        ("06_monte_carlo", "t intervals cover a treatment of sites in 96 %, z intervals in 78 %"),
    ],
}


def test_the_first_page_says_what_the_chapters_found() -> None:
    page = " ".join((ROOT / "book" / "index.md").read_text(encoding="utf-8").split())
    for sentence, found in FIRST_PAGE.items():
        assert sentence in page
        for chapter, words in found:
            text = outputs(chapter)
            assert words in text or words in " ".join(text.split()), (chapter, words)


def test_the_soft_penalty_is_what_is_written() -> None:
    page = "book/what_else.md"
    assert r"2\sqrt{\frac{p}{n}}" in said(page, r"\log\det")
    assert r"$-x^2/2$ for $|x| \le 1$ and $\tfrac12 - |x|$ beyond" in said(page, "$D(x)$ is")
    for x in (-2.5, -1.0, 0.0, 0.7, 3.0):
        d = -(x**2) / 2 if abs(x) <= 1 else 0.5 - abs(x)
        assert negative_huber(float(np.exp(x)))[0] == pytest.approx(d, abs=1e-14)
    drawn = simulate.small_groups(40, 5, 1.0, 0.4)
    shown = laplace.fit(*drawn, penalty="soft").summary()
    assert f"soft, strength {2 * np.sqrt(3 / 200):.4g}" in str(shown)


def test_formulas_of_the_first_chapter() -> None:
    """As they are typed there, against the textbook."""
    chapter = "notebooks/01_integral.ipynb"
    x, y, beta, tau = np.ones((7, 1)), np.array([1.0, 0, 0, 1, 0, 0, 0]), np.array([-0.3]), 1.7
    mode, omega = (f(x, y, beta, tau) for f in (derivatives.mode, derivatives.omega))
    pi = 1.0 / (1.0 + np.exp(-(x @ beta + mode)))

    assert r"g(\mu) &= \sum_j" in said(chapter, r"\begin{aligned}")
    assert r"- \frac{\mu^2}{2\tau^2} - \log(\tau\sqrt{2\pi})" in said(chapter, r"\begin{aligned}")
    normal = mode**2 / (2 * tau**2) + np.log(tau * np.sqrt(2 * np.pi))
    g = float(np.sum(y * np.log(pi) + (1 - y) * np.log(1 - pi)) - normal)
    assert g == pytest.approx(float(derivatives.g(x, y, mode, beta, tau)), rel=1e-12)

    gaussian = said(chapter, r"g(\mu) \approx")
    assert r"\frac{(\mu - \hat\mu)^2}{2\hat\omega^2}" in gaussian
    assert r"\left(-g_{\mu\mu}(\hat\mu)\right)^{-1/2}" in gaussian
    g_uu = float(derivatives.g_uu(x, y, mode, beta, tau))
    assert (-g_uu) ** (-1 / 2) == pytest.approx(omega, rel=1e-12)

    assert r"l = \log\left(\sqrt{2\pi}\,\hat\omega\right) + g(\hat\mu)." in said(chapter, "l = ")
    l = np.log(np.sqrt(2 * np.pi) * omega) + g  # noqa: E741
    assert l == pytest.approx(float(derivatives.l(x, y, beta, tau)), rel=1e-12)

    rule = said(chapter, r"\log L \approx")
    assert r"\sqrt{2}\,\hat\omega \sum_{k=1}^{K} w_k\, e^{z_k^2 + g(u_k)}" in rule
    assert r"u_k = \hat\mu + \sqrt{2}\,\hat\omega\, z_k" in rule
    z, w = np.polynomial.hermite.hermgauss(5)
    at = [float(derivatives.g(x, y, mode + np.sqrt(2) * omega * z_k, beta, tau)) for z_k in z]
    adaptive = np.log(np.sqrt(2) * omega * np.sum(w * np.exp(z**2 + at)))
    assert adaptive == pytest.approx(quadrature.adaptive(x, y, beta, tau, 5), rel=1e-12)
    z, w = np.polynomial.hermite.hermgauss(1)
    assert "$z_1 = 0$ and $w_1 = \\sqrt\\pi$" in said(chapter, "With one node")
    assert (z[0], w[0]) == (0.0, pytest.approx(np.sqrt(np.pi), rel=1e-15))


def test_two_nodes_can_be_worse_than_one() -> None:
    given = parameters("01_integral")
    rows, tau, beta = given["rows"], given["tau"], np.array([given["intercept"]])
    x = np.ones((rows, 1))
    worse = []
    for events in (given["events"], 0):
        y = np.repeat([1.0, 0.0], [events, rows - events])
        exact = quadrature.adaptive(x, y, beta, tau, 150)
        one, two = (abs(quadrature.adaptive(x, y, beta, tau, k) - exact) for k in (1, 2))
        worse.append(two > one)
    assert worse[1]  # the group without events
    at = x, y, derivatives.mode(x, y, beta, tau), beta, tau
    assert derivatives.g_uuuu(*at) < 0.0  # its kurtosis; the skewness is squared
    assert derivatives.g_uuu(*at) != 0.0


def test_limits_of_exponentials() -> None:
    """Where e^eta and its powers overflow, and where 1 - pi is rounded to zero."""
    sentence = said("notebooks/A_derivatives.ipynb", "*Overflow.*")
    typed = re.findall(r"above (\d+\.\d)", sentence)
    eta = np.arange(0.0, 1000.0, 0.01)
    with np.errstate(all="ignore"):
        e = np.exp(eta)
        pi = e / (1 + e)
        third, fourth = e * (1 - e) / (1 + e) ** 3, e * (1 - 4 * e + e**2) / (1 + e) ** 4
        fails = [~np.isfinite(a) for a in (pi, third, fourth, np.log(1 - pi))]
    assert typed == [f"{eta[np.argmax(fail)]:.1f}" for fail in fails]


def test_constants_of_the_published_algorithm() -> None:
    start = said("notebooks/03_two_sites.ipynb", "It starts at")
    assert f"the modes at {published.FIRST_MODE:g}" in start
    words = {100: "a hundred", 10: "ten"}
    assert f"up to {words[published.STEPS_PER_ROUND]} steps" in start
    assert f"{words[published.ROUNDS]} times" in start
    enough = said("notebooks/03_two_sites.ipynb", "rounds are")
    assert f"{words[published.ROUNDS]} rounds" in enough
    power = int(np.log10(published.TOLERANCE))
    assert f"$10^{{{power}}}$" in said("notebooks/03_two_sites.ipynb", "**`returned_mode`.**")


def test_sizes_of_the_published_experiment() -> None:
    assert len(published.PRINTED_BETA) == 10
    assert parameters("03_two_sites")["covariates"] == 10
    sentence = said("notebooks/03_two_sites.ipynb", "Coefficients and covariates are differences")
    assert simulate.PUBLISHED_RANGE == 10.0
    assert "times ten, so that they lie between $-10$ and $10$" in sentence


def test_what_is_said_of_the_data_sets_of_the_paper() -> None:
    page, figures = "notebooks/03_two_sites.ipynb", reexamined.stored()
    settings = said(page, "There are eight settings")
    assert "eight settings of twenty data sets each" in settings
    assert (figures["setting"].value_counts() == 20).all()
    assert figures["setting"].nunique() == 8
    assert "two or ten sites of 500 or of 30 patients" in settings
    assert set(figures["sites"]) == {2, 10}
    assert set(figures["rows"] / figures["sites"]) == {500, 30}
    assert "from zero to ten" in said(page, "They try strengths")
    assert list(reexamined.STRENGTHS) == list(range(11))
    fitted = said(page, "Each data set was fitted here")
    assert f"$\\tau = {reexamined.TAU:g}$" in fitted
    assert f"with {reexamined.MANY_NODES} adaptive nodes" in fitted
    assert f"from {reexamined.MANY_NODES} nodes" in said(page, "for each setting")
    assert figures["nodes"].max() < 0.01  # nearly the same maximum
    said(page, "With 30 rows or more in a site")
    assert figures["lme4"].max() < 0.01
    said(page, "below a hundredth")
    assert 0.005 < figures["LA"].min() < 0.015
    said(page, "reach from about a hundredth to above one")


def test_the_linear_predictors_of_the_published_data() -> None:
    said("notebooks/A_derivatives.ipynb", "beyond 36.7 in places, and short of 236.6")
    data = published.two_sites()
    assert 36.7 < (data.X @ data.beta).max() < 236.6
    said("notebooks/03_two_sites.ipynb", "without it, 12 of 17 formulas are wrong")


def test_the_rule_that_is_written_is_that_of_the_search() -> None:
    rule = said("notebooks/04_quadrature.ipynb", "If no parameter is predicted to move")
    assert STRATEGY.enough == 0.01
    assert "by more than a hundredth of its standard error" in rule
    assert f"no standard error by more than {100 * (STRATEGY.enough_ratio - 1):.0f} %" in rule


def test_nodes_of_lme4() -> None:
    tried = [int(nodes) for nodes in datasets.in_r("toenail")["maximum"]]
    assert max(tried) == 100
    said("notebooks/04_quadrature.ipynb", "## The ladder to a hundred nodes")


def test_random_designs_of_the_chapter() -> None:
    sentence = said("notebooks/04_quadrature.ipynb", "$\\tau$ from")
    least, most = validation.GROUPS
    smallest, largest = validation.ROWS_OF_A_GROUP
    low, high = validation.TAU
    assert f"{least} to {most} groups of {smallest} to {largest} rows" in sentence
    assert f"$\\tau$ from {low:g} to {high:g}" in sentence
    reference = inspect.signature(validation.predicted_shifts).parameters["reference_nodes"].default
    assert f"with {reference}, which shows" in said("notebooks/04_quadrature.ipynb", "which shows")


def test_the_map_of_the_chapter() -> None:
    page, words = "notebooks/04_quadrature.ipynb", {3: "three", 6: "six"}
    sentence = said(page, "The maps are for groups of")
    assert f"groups of {words[validation.MAP_ROWS]} rows" in sentence
    assert f"{words[round(10 * validation.MAP_PREVALENCE)]} in ten are events" in sentence
    assert f"of {validation.MAP_DRAWS} simulated" in said(page, "Each number is the median")
    groups, taus = validation.MAP_GROUPS, validation.MAP_TAUS
    ends = f"over {groups[0]:,} to {groups[-1]:,} groups and τ from {taus[0]:g} to {taus[-1]:g}"
    assert ends in said(page, "Three tables as maps")


def test_what_auto_accepts() -> None:
    assert STRATEGY.enough == 0.01
    for sentence in ("If no parameter is predicted", "nodes are *enough*"):
        assert "more than a hundredth of its standard error" in said(
            "notebooks/04_quadrature.ipynb", sentence
        )
    assert "than a hundredth of its" in said(
        "notebooks/06_monte_carlo.ipynb", "the default, raises"
    )


def test_the_flow_chart() -> None:
    """Its numbers of nodes are those that the first page has, and those of the study."""
    page = (ROOT / "book" / "what_else.md").read_text(encoding="utf-8")
    assert "Then nine, 25 or 51 nodes as tau grows." in page
    first, few, shares, small, moderate, large = STEPS
    assert (first.when, few.question) == ("two or three", "Are they about ten or fewer?")
    assert few_groups.VERY_FEW == 3
    assert few_groups.FEW == 10
    assert shares.when == "at most a fifth"
    assert f"up to {max(GROUPS)} groups" in shares.answer
    nodes = {1.0: 9, 2.0: 25}
    assert (small.when, small.answer) == ("at most 1", f"{nodes[1.0]} nodes are enough.")
    assert (moderate.question, moderate.answer) == ("Is τ at most 2?", "25 nodes are enough.")
    assert large.answer.startswith("51 nodes or more.")
    stored = load(datasets.DATA / "monte_carlo.parquet")
    cells = designs()
    cells = cells[cells["kind"] == "groups"]
    taken = stored[(stored["method"] == "auto") & stored["converged"]]
    taken = taken.groupby("scenario", observed=True)["nodes"].median().reindex(cells.index)
    for tau, enough in nodes.items():
        of_tau = taken[cells["tau"] == tau].dropna()
        assert (of_tau <= enough).mean() > 0.8
        assert of_tau.max() <= max(25, enough)
    assert (taken[cells["tau"] == 4.0].dropna() <= 51).mean() > 0.8
    assert "in all scenarios with between a fifth and two fifths of groups with one outcome" in page
    drawn = stored[stored["converged"] & (stored["estimand"] == "tau")]
    one = drawn.groupby("scenario", observed=True)["one_outcome"].mean().reindex(cells.index)
    off = distances(stored[stored["scenario"].isin(cells.index)], "laplace", "reference")
    off = off.xs("between", level="estimand").reindex(cells.index)
    off = off.loc[one.between(0.2, 0.4) & (off["compared"] >= off["drawn"] / 4), "median"]
    assert len(off) > 30
    assert (off <= 0.1).all()


def test_sizes_of_the_study() -> None:
    study = Study()
    (drawn,) = {study.drawn(scenario) for scenario in study.scenarios}
    words = f"{drawn} data sets for each of {len(SCENARIOS)} scenarios"
    assert words in said("book/rerun.md", "rests on a study")
    page = "notebooks/06_monte_carlo.ipynb"
    assert (len(GROUPS), len(PERCENT)) == (3, 3)
    assert "three shares of ones and three numbers of groups" in said(page, "Nine maps, for")


def test_what_is_said_of_data_sets() -> None:
    toenail = datasets.in_r("toenail")["maximum"]
    off = abs(toenail["25"]["loglik"] - toenail["100"]["loglik"])
    assert f"off by {off:.2f}." in said("the data set toenail", "off by")
    assert "tau near 4" in said("the data set toenail", "tau near")
    assert round(toenail["100"]["tau"]) == 4
    tau = datasets.in_r("contraception")["maximum"]["25"]["tau"]
    assert f"tau near {tau:.1f}" in said("the data set contraception", "tau near")
    title = said("the data set contraception", "women in")
    assert f"{datasets.DATASETS['contraception'].rows:,} women in" in title
    assert f"{datasets.DATASETS['contraception'].groups} districts" in title
    assert f"{datasets.DATASETS['cbpp'].groups} herds" in said("the data set cbpp", "new cases in")
