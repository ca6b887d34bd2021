"""The gate of a site: what honest fits get, and what attacks do not.

The truth is `laplace.fit_formula` of all rows in one place, which other tests hold against R.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies import SITES, Study, distance, fitted, new_run, opened, study, written

import laplace
from laplace.engines import audit, gate, letters, manifest, policy, rules, terms
from laplace.engines.asking import SiteRefusedError
from laplace.engines.thresholds import RULES, Thresholds, strictest
from laplace.messages import to_json
from laplace.questions import (
    ALL,
    AskAt,
    AskCensus,
    AskDigests,
    AskDirection,
    AskJeffreys,
    AskMargins,
    AskMoments,
    AskSketch,
    AskTriangle,
    AskWithout,
    View,
)
from laplace.starts import AskStart


def ask(
    one: gate.Gate,
    question: Any,
    number: int | None = None,
    run: str = "run",
    **changes: Any,
) -> Any:
    """Put a question to a gate by a letter; return the answer, or None where it was refused."""
    if number is None:
        number = one._last.get(run, 0) + 1
    parts = {
        "study": one.manifest.study,
        "manifest": one.manifest.digest,
        "run": run,
        "number": number,
        "site": one.policy.site,
        "question": question,
        "key": one.policy.key,
    }
    text = letters.question_letter(**{**parts, **changes})
    return letters.read(one.answer(text), letters.ANSWER, one.policy.key)[1]


def last(one: gate.Gate) -> dict[str, Any]:
    return one.log.entries[-1]


def refused_by(one: gate.Gate, rule: str) -> bool:
    """Whether the last entry of the log is a refusal by a rule, said in words."""
    entry = last(one)
    return (
        entry["kind"] == "refused"
        and entry["rule"] == rule
        and f"rule {rule!r}" in entry["why"]
        and "The coordinator learns only that this question was refused." in entry["why"]
        and len(entry["why"]) < 1000
    )


@pytest.fixture
def one(tmp_path: Path) -> Iterator[gate.Gate]:
    """Open the gate of a site that holds all rows of toenail."""
    with opened(written(tmp_path, study("toenail"), ["north"])) as gates:
        yield gates["north"]


# Honest fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 25, "auto"])
@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("toenail", 5),
        ("cbpp", 3),
        ("contraception", 5),
        ("2x500", 2),
        ("5x500", 5),
        ("published", 2),
    ],
)
def test_honest_fits_pass_under_the_default_policy(
    tmp_path: Path, name: str, sites: int, nodes: int | str
) -> None:
    of = study(name)
    with warnings.catch_warnings(), opened(written(tmp_path, of, SITES[:sites])) as gates:
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        fit = fitted(gates, new_run(tmp_path, SITES[:sites], nodes=nodes))
        assert distance(fit, of.pooled(nodes=nodes)) < 1e-12
        # the margin that the default thresholds leave
        assert max(each._past.numbers / each.rows.unknowns for each in gates.values()) < 0.8
        assert all(each._past.refusals == 0 for each in gates.values())


@pytest.mark.parametrize("name", ["2x30", "10x30"])
def test_sites_of_thirty_rows_are_refused_for_ten_columns(tmp_path: Path, name: str) -> None:
    sites = [f"site-{k}" for k in range(int(name.split("x")[0]))]
    with opened(written(tmp_path, study(name), sites)) as gates:
        with pytest.raises(SiteRefusedError, match="refused the question AskCensus") as said:
            fitted(gates, new_run(tmp_path, sites, nodes=1))
        assert said.value.sites == sites
        assert all(refused_by(each, "parameters_per_row") for each in gates.values())


@pytest.mark.parametrize(
    "options",
    [
        {"nodes": 1, "penalty": "ridge", "strength": 1.0},
        {"nodes": 1, "penalty": "soft"},
        {"nodes": 1, "tau": 1.0},
        {"nodes": 1, "tau": 0.0},
    ],
    ids=str,
)
def test_penalties_and_fixed_tau_pass(tmp_path: Path, options: dict[str, Any]) -> None:
    of = study("cbpp")
    lines = 'approve = "unattended"\nquestions = ["jeffreys"]'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        # the soft penalty sends more numbers than the default allows
        path = written(tmp_path, of, SITES[:2], policy_lines=lines, rules="numbers_per_unknown = 3")
        with opened(path) as gates:
            fit = fitted(gates, new_run(tmp_path, SITES[:2], **options))
        assert distance(fit, of.pooled(**options)) < 1e-12


def test_separation_is_certified_without_a_margin(tmp_path: Path) -> None:
    of = study("toenail")
    data = of.data.assign(flag=of.data["outcome"] * (of.data["patient"] % 2))
    of = replace(of, data=data, formula="outcome ~ month + flag")
    words = r"X separates y: 1\*flag is never"
    with (
        opened(written(tmp_path, of, SITES[:2])) as gates,
        pytest.raises(laplace.SeparationError, match=words) as said,
    ):
        fitted(gates, new_run(tmp_path, SITES[:2], nodes=1))
    assert f"not zero in {int(data['flag'].sum())} of {len(data)} rows" in str(said.value)


# Attacks: all refused, written down, nothing learnt ---------------------------------------------


def test_attack_parameters_at_which_one_row_carries_the_sum(one: gate.Gate) -> None:
    month = float(one.rows.site.data.X[:, 2].max())
    # what it would give: the whole answer is the row with the latest month, times its weight
    beta = np.array([-5000.0, 0.0, 5000.0 / month, 0.0])
    exact = one.rows.site.without(ALL, beta)
    X = one.rows.X[one.rows.X[:, 2] == month]
    assert len(X) < 3
    np.testing.assert_allclose(exact.hessian[:-1, :-1], -0.25 * X.T @ X, rtol=1e-6)
    # near enough to zero for the step, so that the effective number alone refuses
    generous = replace(one.rows.thresholds, longest_step=1e9, most_refusals=99)
    object.__setattr__(one.rows, "thresholds", generous)
    for question in (
        AskWithout(ALL, beta),
        AskAt(ALL, beta, 1.0, 1),
        AskTriangle(ALL, np.ones(4), beta),
    ):
        assert ask(one, question) is None
        assert last(one)["rule"] in ("least_effective", "effective_share", "largest_share")
        assert refused_by(one, last(one)["rule"])


def test_attack_one_misclassified_row_in_the_gradient(tmp_path: Path) -> None:
    """Weights are all zero, and the gradient is the one row that the others' sign misses."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=200)
    y = (x > 0).astype(int)
    y[17] = 1 - y[17]
    data = pd.DataFrame({"y": y, "x": x, "ward": np.arange(200) // 20})
    of = Study(data, "y ~ x", "ward")
    with opened(written(tmp_path, of, ["north"], rules="longest_step = 1e9")) as gates:
        beta = np.array([0.0, 1e6])
        np.testing.assert_allclose(
            gates["north"].rows.site.without(ALL, beta).gradient[:2],
            (1 if y[17] else -1) * np.array([1.0, x[17]]),
            rtol=1e-9,
        )
        assert ask(gates["north"], AskWithout(ALL, beta)) is None
        assert refused_by(gates["north"], "least_effective")


def test_attack_the_difference_of_two_sums(tmp_path: Path) -> None:
    """Two thresholds on a covariate, with one row between them: all others cancel."""
    x = np.sort(np.random.default_rng(4).normal(size=400))
    data = pd.DataFrame({"y": np.arange(400) % 2, "x": x, "ward": np.arange(400) // 20})
    of = Study(data, "y ~ x", "ward")
    steep = 1e5
    cuts = 0.5 * (x[199] + x[200]), 0.5 * (x[200] + x[201])
    betas = [np.array([-steep * cut, steep]) for cut in cuts]
    with opened(written(tmp_path, of, ["north"], rules="longest_step = 1e9")) as gates:
        one = gates["north"]
        exact = [one.rows.site.without(ALL, beta).gradient[:2] for beta in betas]
        np.testing.assert_allclose(abs(exact[1] - exact[0]), [1.0, abs(x[200])], rtol=1e-6)
        flat = replace(one.rows.thresholds, least_effective=0.0, effective_share=0.0)
        flat = replace(flat, largest_share=2.0, least_cell=0)
        object.__setattr__(one.rows, "thresholds", flat)
        one.rows.__dict__["_check_carried"] = lambda *_: None  # the other rules would refuse, too
        assert ask(one, AskWithout(ALL, betas[0])) is not None
        assert ask(one, AskWithout(ALL, betas[1])) is None
        assert refused_by(one, "least_difference")


def small(rows: int) -> Study:
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd")).round(1)
    return Study(data.assign(y=np.arange(rows) % 2, ward=1), "y ~ 0 + a + b + c + d", "ward")


def test_attack_six_rows_are_not_solved_for(tmp_path: Path) -> None:
    with opened(written(tmp_path, small(6), ["north"])) as gates:
        for beta in np.random.default_rng(1).normal(size=(5, 4)):
            ask(gates["north"], AskAt(ALL, beta, 1.0, 1))
        assert [e["rule"] for e in gates["north"].log.entries if e["kind"] == "refused"] == [
            "least_rows"
        ] * 5


def test_attack_more_numbers_than_the_rows_hold(tmp_path: Path) -> None:
    of, agreed = small(40), "rounds = 1000"
    path = written(tmp_path, of, ["north"], more=agreed)
    betas = np.random.default_rng(1).normal(size=(30, 4)) * 0.3
    with opened(path) as gates:
        answers = [ask(gates["north"], AskAt(ALL, beta, 1.0, 1)) for beta in betas[:15]]
        count = sum(answer is not None for answer in answers)
        # 21 numbers each; the rows hold five numbers for each of 40 individuals
        assert count == 40 * 5 // 21
        assert refused_by(gates["north"], "most_refusals")
    with opened(path) as gates:  # the budget outlasts the process
        assert ask(gates["north"], AskAt(ALL, betas[20], 1.0, 1)) is None


def with_cell(count: int) -> Study:
    """Rows where two binary columns are both 1 in so many rows."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"smokes": np.arange(300) < 60, "rare": np.zeros(300, bool)}).astype(int)
    data.loc[: count - 1, "rare"] = 1
    data.loc[200:219, "rare"] = 1
    data = data.assign(y=rng.integers(0, 2, 300), ward=np.arange(300) // 30)
    return Study(data, "y ~ smokes + rare", "ward")


def test_attack_two_way_counts_are_not_sent_where_they_are_small(tmp_path: Path) -> None:
    for count, answered in ((0, True), (1, False), (2, False), (3, True)):
        folder = tmp_path / str(count)
        folder.mkdir()
        with opened(written(folder, with_cell(count), ["north"])) as gates:
            census = ask(gates["north"], AskCensus(ALL, ""))
            assert (census is not None) == answered
            if answered:  # what the preview says that it is
                assert census.gram[1, 2] == count
            else:
                assert refused_by(gates["north"], "least_cell")
                assert "a cell of" in last(gates["north"])["why"]


def test_attack_margins_spell_out_no_row(one: gate.Gate) -> None:
    d = np.array([0.0, 1e6, 1e3, 1.0])
    exact = one.rows.site.margins(ALL, d)
    assert exact.most > 1e6  # the digits of a patient's row
    sent = ask(one, AskMargins(ALL, d))
    assert (sent.least, sent.most, sent.positive) == (-1.0, 1.0, 0)
    # a direction that all rows agree with tells a count, but of few rows not even that
    for k in range(rules.Thresholds().most_margins + 2):
        ask(one, AskMargins(ALL, d + k + 1.0))
    assert refused_by(one, "most_margins")


def test_margins_of_few_rows_are_refused(tmp_path: Path) -> None:
    of = with_cell(3)
    data = of.data.assign(flag=((of.data["y"] == 1) & (of.data.index % 100 == 7)) * 1.0)
    count = int(data["flag"].sum())
    assert 0 < count < 3
    of = Study(data.assign(flag=data["flag"] + 1e-9), "y ~ smokes + flag", "ward")
    with opened(written(tmp_path, of, ["north"], rules="least_cell = 0")) as gates:
        gates["north"].rows.__dict__["objection"] = None
        object.__setattr__(gates["north"].rows, "thresholds", Thresholds())
        direction = np.array([-1e-9, 0.0, 1.0])
        assert ask(gates["north"], AskMargins(ALL, direction)) is None
        assert refused_by(gates["north"], "least_cell")


@pytest.mark.parametrize(
    "formula",
    [
        "outcome ~ I(__import__('os').getpid())",
        "outcome ~ month + {__import__('os')}",
        "outcome ~ np.log(month)",
        "outcome ~ log(month + 1)",
        "outcome ~ log(exp(month))",
        "outcome ~ month.__class__",
        "outcome ~ eval(month)",
        "outcome ~ C(month, contr.sum)",
        "outcome ~ (month + treatment) ** 2",
        "outcome ~ month; import os",
        "outcome ~ (lambda: 1)()",
        "outcome ~ month | treatment",
        "outcome ~ month ~ treatment",
        "outcome ~ 2",
        "outcome ~ month +",
        "outcome ~",
        "log(outcome) ~ month",
        "outcome ~ `a\nb`",
        "x" * 3000,
    ],
)
def test_attack_a_formula_runs_no_code(tmp_path: Path, formula: str) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(
        f'study = "s"\npackage = "{laplace.__version__}"\nformula = {json.dumps(formula)}\n'
        'groups = "patient"\n'
    )
    with pytest.raises(ValueError, match=r"formula|must give"):
        manifest.read(path)


def test_formulas_make_the_columns_that_formulaic_makes() -> None:
    data = study("contraception").data
    for formula, plain in (
        ("use ~ age * urban + C(livch)", "use ~ age * urban + livch"),
        ("use ~ 0 + square(age):urban + exp(age)", "use ~ 0 + I(age**2):urban + np.exp(age)"),
        ("use ~ - 1 + urban:livch", "use ~ -1 + urban:livch"),
        ("use ~ `age` - age + cube(age)", "use ~ I(age**3)"),
    ):
        of = Study(data, formula, "district")
        table = {
            "study": "s",
            "package": "1",
            "formula": formula,
            "groups": "district",
            "columns": {n: {"levels": levels} for n, levels in of.levels().items()},
        }
        table["columns"] = {
            n: t for n, t in table["columns"].items() if n in terms.parse(formula).columns
        }
        site = manifest.of(table).site(data)
        expected = laplace.Site.from_formula(plain, data, "district")
        for rows in ("X", "y"):
            np.testing.assert_array_equal(
                site.data.as_given(getattr(site.data, rows)),
                expected.data.as_given(getattr(expected.data, rows)),
            )


def test_attack_the_difference_that_a_dropped_row_makes(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    with opened(path) as gates:
        assert ask(gates["north"], AskCensus(ALL, "")) is not None
    lines = (tmp_path / "north.csv").read_text().splitlines()
    (tmp_path / "north.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"would be the rows that changed.*a new name"):
        gate.Gate(policy.read(path[0]))
    # under a new name, which somebody at the site gave, there is a new budget
    path[0].write_text(path[0].read_text().replace('data = "first"', 'data = "second"'))
    with opened(path) as gates:
        assert gates["north"]._past.numbers == 0
        assert ask(gates["north"], AskCensus(ALL, "")) is not None


def test_another_manifest_of_the_same_rows_has_the_same_budget(tmp_path: Path) -> None:
    """A further study is no new budget, and no question of it is taken for one of the first."""
    of = study("toenail")
    path = written(tmp_path, of, ["north"])
    with opened(path) as gates:
        for k in range(3):
            question = AskAt(ALL, np.full(4, 0.1 * k), 1.0, 1)
            assert ask(gates["north"], question) is not None
        assert ask(gates["north"], AskCensus(ALL, "")).gram.shape == (4, 4)
        sent = gates["north"]._past.numbers
    text = (tmp_path / "manifest.toml").read_text().replace("treatment * month", "treatment")
    (tmp_path / "manifest.toml").write_text(text)
    with opened(path) as gates:
        assert gates["north"]._past.numbers == sent > 0
        assert gates["north"]._past.answered == set()
        assert ask(gates["north"], AskCensus(ALL, ""), run="second").gram.shape == (2, 2)
        assert ask(gates["north"], AskAt(ALL, np.zeros(2), 1.0, 1), run="second") is not None
        assert gates["north"]._past.numbers > sent


def test_attack_questions_about_some_of_the_rows(one: gate.Gate) -> None:
    for view in (View(every=2), View(rows=3), View(every=294)):
        assert ask(one, AskCensus(view, "")) is None
        assert refused_by(one, "form")


def test_attack_replayed_and_altered_letters(tmp_path: Path) -> None:
    (tmp_path / "north.key").write_text("k" * 32)
    lines = 'approve = "unattended"\nkey = "north.key"'
    with opened(written(tmp_path, study("toenail"), ["north"], policy_lines=lines)) as gates:
        one = gates["north"]
        question = AskAt(ALL, np.zeros(4), 1.0, 1)
        text = letters.question_letter(
            one.manifest.study, one.manifest.digest, "run", 1, "north", question, b"k" * 32
        )
        first = one.answer(text)
        numbers = one._past.numbers
        assert one.answer(text) == first  # the same again, which costs nothing
        assert last(one)["kind"] == "repeated"
        assert one._past.numbers == numbers
        altered = text.replace('"tau":1.0', '"tau":2.0')
        assert altered != text
        forged = letters.question_letter(
            one.manifest.study, one.manifest.digest, "run", 2, "north", question, b"guess" * 8
        )
        for strange in (altered, forged, text[:-1], text.replace("north", "south")):
            reply = json.loads(one.answer(strange))
            assert reply["answer"] is None
            assert refused_by(one, "letter")
        # the coordinator itself may not change its mind under a number, nor leave one out
        assert ask(one, AskAt(ALL, np.ones(4) * 0.1, 1.0, 1), number=1) is None
        assert "another question came under the same number" in last(one)["why"]
        assert ask(one, question, number=7) is None
        assert "one after the other" in last(one)["why"]
        assert one._past.numbers == numbers


def test_attack_another_manifest_study_or_site(one: gate.Gate) -> None:
    for changes in ({"manifest": "0" * 64}, {"study": "another"}, {"site": "south"}):
        assert ask(one, AskCensus(ALL, ""), **changes) is None
        assert f"it is for another {next(iter(changes))}" in last(one)["why"]
        assert refused_by(one, "letter")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_attack_numbers_that_are_none(one: gate.Gate, value: float) -> None:
    beta = np.array([0.0, value, 0.0, 0.0])
    for question in (AskAt(ALL, beta, 1.0, 1), AskAt(ALL, np.zeros(4), value, 1)):
        assert ask(one, question) is None
        assert refused_by(one, "form")
    triangle = np.eye(4)
    triangle[0, 1] = value
    assert ask(one, AskWithout(View(triangle=triangle), np.zeros(4))) is None
    assert refused_by(one, "form")


def test_attack_tau_of_zero_where_groups_are_few(tmp_path: Path) -> None:
    path = written(tmp_path, study("2x500"), ["north", "south"], rules="groups_at_zero = 5")
    with opened(path) as gates:
        one = gates["north"]
        for question in (
            AskAt(ALL, np.zeros(10), 0.0, 1),
            AskWithout(ALL, np.zeros(10)),
        ):
            assert ask(one, question) is None
            assert refused_by(one, "groups_at_zero")
        assert ask(one, AskAt(ALL, np.zeros(10), 0.001, 1)) is None
        assert refused_by(one, "smallest_tau")
        assert ask(one, AskAt(ALL, np.zeros(10), 1.0, 1)) is not None


def test_attack_too_many_rounds(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"], more="rounds = 3")
    with opened(path) as gates:
        for k in range(3):
            question = AskAt(ALL, np.full(4, 0.01 * k), 1.0, 1)
            assert ask(gates["north"], question) is not None
    with opened(path) as gates:  # also over a restart
        assert ask(gates["north"], AskAt(ALL, np.full(4, 0.5), 1.0, 1), run="next") is None
        assert refused_by(gates["north"], "rounds")
        # what was answered before is no new question
        assert ask(gates["north"], AskAt(ALL, np.zeros(4), 1.0, 1), run="next") is not None


def test_attack_a_long_step(one: gate.Gate) -> None:
    assert ask(one, AskAt(ALL, np.array([50.0, 0.0, 0.0, 0.0]), 1.0, 1)) is None
    assert refused_by(one, "longest_step")


def test_attack_text_where_numbers_belong(one: gate.Gate) -> None:
    good = json.loads(
        letters.question_letter(
            one.manifest.study,
            one.manifest.digest,
            "run",
            1,
            "north",
            AskAt(ALL, np.zeros(4), 1.0, 1),
            b"",
        )
    )

    def with_values(**changes: Any) -> str:
        letter = {**good, "question": {**good["question"], **changes}}
        letter["seal"] = letters._seal(letter, b"")
        return json.dumps(letter)

    for text in (
        with_values(tau="one"),
        with_values(tau=True),
        with_values(nodes=1.5),
        with_values(beta=[0, 0, 0, 0]),
        with_values(beta={"shape": [4], "values": ["a", 0, 0, 0]}),
        with_values(beta={"shape": [2**70], "values": []}),
        with_values(beta={"shape": [4], "values": [10**400, 0, 0, 0]}),
        with_values(record="__import__"),
        with_values(record="Census"),
        with_values(extra=1),
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        '{"kind": "question"}',
        "\ud800",
        "NaN",
        json.dumps({**good, "number": -1}),
        json.dumps({**good, "number": "1"}),
        json.dumps({**good, "study": 7}),
        json.dumps({**good, "run": "x" * 10_000}),
    ):
        assert json.loads(one.answer(text))["answer"] is None, text[:100]
        assert refused_by(one, "letter")
    # a gate that was sent all this is still open, and nothing was counted against the site
    assert one._past.refusals == 0
    assert ask(one, AskAt(ALL, np.zeros(4), 1.0, 1)) is not None


def test_wrong_shapes_and_unknown_questions_are_refused(one: gate.Gate) -> None:
    object.__setattr__(one.rows, "thresholds", replace(Thresholds(), most_refusals=99))
    eye = np.eye(4)
    for question, rule in (
        (AskAt(ALL, np.zeros(3), 1.0, 1), "form"),
        (AskAt(ALL, np.zeros((4, 1)), 1.0, 1), "form"),
        (AskAt(ALL, np.zeros(4), -1.0, 1), "form"),
        (AskAt(ALL, np.zeros(4), 1e9, 1), "form"),
        (AskWithout(ALL, np.zeros(0)), "form"),
        (AskMargins(ALL, np.zeros(5)), "form"),
        (AskTriangle(ALL, np.zeros(4), np.empty(0)), "form"),
        (AskWithout(View(triangle=np.ones((4, 4))), np.zeros(4)), "form"),
        (AskWithout(View(triangle=np.zeros((4, 4))), np.zeros(4)), "form"),
        (AskWithout(View(triangle=np.eye(3)), np.zeros(4)), "form"),
        (AskDigests("key"), "questions"),
        (AskSketch("key", 2000, np.ones(4)), "questions"),
        (AskDirection(ALL, eye, np.ones(4)), "questions"),
        (AskJeffreys(ALL, np.zeros(4), eye), "questions"),
        (AskStart(), "questions"),
    ):
        assert ask(one, question) is None, question
        assert refused_by(one, rule)


def test_a_triangle_that_is_not_of_all_rows_is_refused(tmp_path: Path) -> None:
    lines = 'approve = "unattended"\nquestions = ["jeffreys"]'
    path = written(tmp_path, study("toenail"), ["north"], policy_lines=lines)
    with opened(path) as gates:
        one = gates["north"]
        own = ask(one, AskTriangle(ALL, np.ones(4), np.zeros(4))).r
        assert ask(one, AskJeffreys(ALL, np.zeros(4), own)) is not None
        assert ask(one, AskJeffreys(ALL, np.zeros(4), own * 0.9)) is None
        assert "the triangle is not that of the rows of all places" in last(one)["why"]


def test_nodes_of_the_manifest(tmp_path: Path) -> None:
    with opened(written(tmp_path, study("toenail"), ["north"], more="nodes = [1]")) as gates:
        one = gates["north"]
        assert ask(one, AskAt(ALL, np.zeros(4), 1.0, 25)) is not None  # which judges the fit
        assert ask(one, AskAt(ALL, np.zeros(4), 1.0, 13)) is None
        assert refused_by(one, "form")


# What is sent in the place of an exact answer --------------------------------------------------


def test_no_least_or_largest_value_of_a_row_leaves(one: gate.Gate) -> None:
    data = one.rows.site.data
    exact = one.rows.site.moments(ALL)
    sent = ask(one, AskMoments(ALL))
    np.testing.assert_allclose(sent.deviations, exact.deviations, rtol=1e-14)
    np.testing.assert_array_equal(sent.mean, exact.mean)
    for column in (2, 3):  # the other ones are 0 or 1
        assert exact.most[column] not in (sent.most[column], sent.unit[column])
    census = ask(one, AskCensus(ALL, "a key of the coordinator"))
    assert census.labels == ()
    np.testing.assert_allclose(census.scale, one.rows.site.census(ALL).scale, rtol=1e-15)
    beta = np.array([0.1, 0.2, -0.1, 0.0])
    at = ask(one, AskWithout(ALL, beta))
    exact_at = one.rows.site.without(ALL, beta)
    assert (at.least, at.most) != (exact_at.least, exact_at.most)
    assert exact_at.least / 1.5 < at.least <= exact_at.least
    assert exact_at.most <= at.most < 1.51 * exact_at.most
    assert at.value == exact_at.value
    assert data.sizes.min() < 10  # so that they are those of single patients


def test_groups_of_many_rows_have_exact_information(tmp_path: Path) -> None:
    with opened(written(tmp_path, study("2x500"), ["north", "south"])) as gates:
        at = ask(gates["north"], AskWithout(ALL, np.zeros(10)))
        exact = gates["north"].rows.site.without(ALL, np.zeros(10))
        assert (at.least, at.most) == (exact.least, exact.most)


def test_a_constant_column_is_said_to_be_one() -> None:
    from laplace.engines.blunted import _moments

    X = np.column_stack([np.full(50, 3.0), np.zeros(50), np.linspace(-2, 5, 50)])
    sites = [laplace.Site.from_arrays(np.arange(50) % 2, X + k, np.arange(50) % 5) for k in (0, 1)]
    one, other = (_moments(site.moments()) for site in sites)
    assert one.deviations[:2].tolist() == [0.0, 0.0]
    assert one.deviations[2] == pytest.approx(X[:, 2].std(), rel=1e-14)
    assert (one + other).deviations[0] == pytest.approx(0.5)  # constant at each, not at both


def test_labels_are_found_at_two_sites_with_the_sites_own_key(tmp_path: Path) -> None:
    of = study("toenail")
    (tmp_path / "sites.key").write_text("s" * 32)
    lines = 'approve = "unattended"\nlabels_key = "sites.key"'
    paths = written(tmp_path, of, ["north", "south"], policy_lines=lines)
    with opened(paths) as gates:
        run = new_run(tmp_path, ["north", "south"], nodes=1, tau=0.0)
        assert fitted(gates, run).converged
    both = pd.concat([pd.read_csv(tmp_path / f"{s}.csv").head(400) for s in ("north", "south")])
    both.to_csv(tmp_path / "south.csv", index=False)
    paths[1].write_text(paths[1].read_text().replace("first", "second"))
    with opened(paths) as gates:
        run = new_run(tmp_path, ["north", "south"], nodes=1, tau=0.0)
        with pytest.raises(ValueError, match="north and south have rows of the same group"):
            fitted(gates, run)
        # who has only the coordinator's key cannot try labels
        census = ask(gates["north"], AskCensus(ALL, "key"), run="other")
        open_digests = gates["north"].rows.site.census(ALL, "key").labels
        assert not set(census.labels) & set(open_digests)


# The manifest and the policy --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('aprove = "once"', "has 'aprove', which is not known; is 'approve' meant"),
        ('approve = "always"', "approve of the policy north.toml must be one of 'once', 'each'"),
        ("questions = ['starts']", "has 'starts', which is not known; is 'start' meant"),
        ('key = "missing.key"', "the key missing.key cannot be read"),
        ("site = 'a/b'", "Cannot overwrite a value"),
        ("[rules]\nleast_row = 3", "has 'least_row', which is not known; is 'least_rows' meant"),
        ("[rules]\nleast_rows = -1", "least_rows of rules of the policy .* at least 0, got -1"),
        ("[rules]\nleast_rows = 'ten'", "must be a number of at least 0, got 'ten'"),
        ("[rules]\nleast_rows = 1.5", "must be a whole number, got 1.5"),
        ("[rules]\nlargest_share = nan", "must be a number of at least 0"),
        ("[rules", "north.toml is not TOML"),
    ],
)
def test_a_policy_with_a_mistake_is_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "north.toml"
    path.write_text(
        'site = "north"\ndata = "d"\nfile = "f.csv"\nmanifest = "manifest.toml"\n' + line + "\n"
    )
    with pytest.raises(ValueError, match=words):
        policy.read(path)


@pytest.mark.parametrize("name", ["site", "data", "file", "manifest"])
def test_a_policy_needs_its_entries(tmp_path: Path, name: str) -> None:
    given = {"site": "north", "data": "d", "file": "f.csv", "manifest": "manifest.toml"}
    path = tmp_path / "north.toml"
    lines = [f'{key} = "{value}"' for key, value in given.items() if key != name]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"must have {name!r}, a text"):
        policy.read(path)


GOOD: dict[str, Any] = {
    "study": "s",
    "package": laplace.__version__,
    "formula": "y ~ x + C(kind)",
    "groups": "ward",
    "columns": {"kind": {"levels": ["a", "b"]}, "x": {"unit": "years", "range": [0, 120]}},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"formular": "y ~ x"}, "has 'formular', which is not known; is 'formula' meant"),
        ({"study": ""}, "must have 'study', a text"),
        ({"nodes": [0]}, "nodes of the manifest must be a list of whole numbers from 1 to 200"),
        ({"nodes": 25}, "nodes of the manifest must be a list"),
        ({"rounds": 0}, "rounds of the manifest must be a whole number above zero"),
        ({"rounds": True}, "rounds of the manifest must be a whole number above zero"),
        ({"family": "normal"}, "family of the manifest must be one of 'bernoulli'"),
        ({"family": "binomial"}, "must be 'successes / trials ~ ...' where, and only where"),
        ({"missing": "omit"}, "missing of the manifest must be one of 'raise', 'drop'"),
        ({"groups": "x"}, "groups of the manifest is 'x', which is in the formula, too"),
        ({"columns": {}}, r"C\(kind\) needs the levels: add \[columns.kind\] with levels"),
        ({"columns": {"kinds": {}}}, "has 'kinds', which is not known; is 'kind' meant"),
        ({"columns": {"x": {"levels": ["a"]}}}, "must be two or more, all different"),
        ({"columns": {"x": {"range": [2, 1]}}}, "must be two numbers, the least first"),
        ({"columns": {"x": {"unit": 1}}}, "unit of column 'x' of the manifest must be a text"),
        ({"columns": {"x": {"level": []}}}, "has 'level', which is not known; is 'levels' meant"),
        ({"rules": {"least_rows": "1"}}, "least_rows of rules of the manifest must be a number"),
        ({"formula": "y ~ x + log(kind)"}, "column 'kind' of the manifest is a category"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(changes: dict[str, Any], words: str) -> None:
    manifest.of(GOOD)
    with pytest.raises(ValueError, match=words):
        manifest.of({**GOOD, **changes})


def frame(**changes: Any) -> pd.DataFrame:
    columns = {
        "y": [0, 1] * 20,
        "x": np.linspace(20, 80, 40),
        "kind": ["a", "b"] * 20,
        "ward": np.repeat(np.arange(4), 10),
    }
    return pd.DataFrame({**columns, **changes}).dropna(axis=1, how="all")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ward": None, "Ward": 1}, r"no column 'ward'; it has .*; is 'Ward' meant\?"),
        ({"kind": ["a", "c"] * 20}, "column 'kind' has 'c' in row 1 .and in 19 more.*, which the"),
        ({"x": ["12", "old"] * 20}, "column 'x' has 'old' in row 1 .*where a number belongs"),
        ({"x": np.linspace(20, 800, 40)}, "lies between 0 and 120 years by the manifest; look at"),
        ({"x": [np.nan, *range(39)]}, r"missing values in row 0 of data, in \['x'\]"),
        ({"y": [0, 2] * 20}, "y must be 0 or 1"),
    ],
)
def test_a_file_that_is_not_as_agreed_on(changes: dict[str, Any], words: str) -> None:
    agreed = manifest.of(GOOD)
    assert agreed.site(frame()).data.n == 40
    with pytest.raises(ValueError, match=words):
        agreed.site(frame(**changes))


def test_columns_in_another_order_and_of_another_type_are_the_same() -> None:
    agreed = manifest.of(GOOD)
    data = frame()
    first = agreed.site(data)
    for other in (
        data[data.columns[::-1]],
        data.assign(x=data["x"].astype(str), ward=data["ward"].astype(float)),
        data.assign(kind=pd.Categorical(data["kind"], categories=["b", "a", "z"])),
    ):
        site = agreed.site(other)
        np.testing.assert_array_equal(site.data.X, first.data.X)
        assert list(site.data.labels) == list(first.data.labels)


def test_an_empty_site_and_one_without_a_level_or_an_event() -> None:
    agreed = manifest.of(GOOD)
    with pytest.raises(ValueError, match=r"no rows, so that this site cannot take part"):
        agreed.site(frame().iloc[:0])
    site = agreed.site(frame(kind="a", y=0))
    assert site.data.names == agreed.site(frame()).data.names
    assert site.data.X[:, 2].tolist() == [0.0] * 40


def test_a_site_without_events_or_without_a_level_takes_part(tmp_path: Path) -> None:
    of = study("contraception")
    data = of.data.copy()
    labels = pd.unique(data["district"])
    quiet = data["district"].isin(labels[1::3])
    data.loc[quiet, "use"] = 0
    data.loc[data["district"].isin(labels[2::3]), "urban"] = "N"
    of = replace(of, data=data)
    with opened(written(tmp_path, of, SITES[:3])) as gates:
        assert gates["south"].rows.site.data.y.sum() == 0
        assert gates["east"].rows.site.data.X[:, 3].sum() == 0
        fit = fitted(gates, new_run(tmp_path, SITES[:3], nodes=1))
    assert distance(fit, of.pooled(nodes=1)) < 1e-11


def test_another_version_of_the_package_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    text = (tmp_path / "manifest.toml").read_text()
    (tmp_path / "manifest.toml").write_text(text.replace(laplace.__version__, "9.9.9"))
    with pytest.raises(ValueError, match=r"for version 9.9.9 of laplace, but this is"):
        gate.Gate(policy.read(path[0]))


def test_the_stricter_of_policy_and_manifest_counts() -> None:
    agreed = {"least_rows": 50, "largest_share": 0.5, "most_margins": 4}
    limits = strictest({"least_rows": 20, "largest_share": 0.1}, agreed)
    assert (limits.least_rows, limits.largest_share, limits.most_margins) == (50, 0.1, 4)
    assert {f.name for f in fields(Thresholds)} == RULES.keys()


def test_the_manifest_is_known_by_its_digest() -> None:
    first = manifest.of(GOOD).digest
    assert manifest.of({**GOOD, "nodes": []}).digest == first
    for changes in ({"rounds": 5}, {"nodes": [3]}, {"rules": {"least_rows": 20}}):
        assert manifest.of({**GOOD, **changes}).digest != first


# Approval, the preview and the log ---------------------------------------------------------------


def test_nothing_is_answered_before_somebody_agreed(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"], policy_lines="")
    with opened(path) as gates:
        assert ask(gates["north"], AskCensus(ALL, "")) is None
        assert refused_by(gates["north"], "approval")
        gates["north"].approve()
        assert ask(gates["north"], AskCensus(ALL, "")) is not None
    with opened(path) as gates:  # it is remembered
        assert gates["north"].approved
    path[0].write_text(path[0].read_text() + "least_rows = 20\n")
    with opened(path) as gates:  # for this policy alone
        assert not gates["north"].approved


def test_a_gate_closes_after_refusals_until_somebody_has_looked(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    question = AskAt(ALL, np.zeros(4), 1.0, 1)
    with opened(path) as gates:
        for _ in range(Thresholds().most_refusals):
            assert ask(gates["north"], AskAt(ALL, np.full(4, 99.0), 1.0, 1)) is None
        assert ask(gates["north"], question) is None
        assert refused_by(gates["north"], "most_refusals")
    with opened(path) as gates:  # it stays closed when it is started again
        assert ask(gates["north"], question) is None
        assert "look at the log, and approve again" in last(gates["north"])["why"]
        gates["north"].approve()
        assert ask(gates["north"], question) is not None
    with opened(path) as gates:
        assert ask(gates["north"], question, run="next") is not None


def test_each_question_is_agreed_to_where_the_policy_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"], policy_lines='approve = "each"')
    said: list[str] = []

    def only_census(words: str) -> bool:
        said.append(words)
        return words.startswith("AskCensus")

    one = gate.Gate(policy.read(path[0]), only_census)
    try:
        assert ask(one, AskCensus(ALL, "")) is not None
        assert ask(one, AskMoments(ALL)) is None
        assert refused_by(one, "approval")
        assert said[1].startswith("AskMoments: {")
    finally:
        one.close()


def test_the_preview_says_what_would_be_sent(tmp_path: Path, capsys) -> None:
    path = written(tmp_path, study("contraception"), ["north"])
    assert gate.main(["preview", str(path[0])]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "10 of these numbers are your one-way and two-way counts, of urban[T.Y], livch[T.1]",
        "45 numbers: the log-likelihood at parameters",
        "This is not differential privacy.",
        "A hospital that is one group cannot hide inside its own sum",
        "each learns the other's sums by subtracting its own",
        "Never: a row, a group label",
        "The rows pass the rules.",
        "No group label is sent",
    ):
        assert words in text, words
    for name in RULES:
        assert f"- {name} = " in text
    # an answer holds as many numbers as it says
    with opened(path) as gates:
        at = ask(gates["north"], AskAt(ALL, np.zeros(7), 1.0, 1))
        assert rules.numbers_of(at) == 45


def test_the_preview_of_rows_that_do_not_pass(tmp_path: Path, capsys) -> None:
    path = written(tmp_path, with_cell(1), ["north"])
    assert gate.main(["preview", str(path[0])]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Nothing would be answered. Refused by the rule 'least_cell'" in text


def test_the_log_holds_a_line_for_everything_and_no_row(one: gate.Gate) -> None:
    ask(one, AskCensus(ALL, ""))
    ask(one, AskAt(ALL, np.full(4, 99.0), 1.0, 1))
    kinds = [entry["kind"] for entry in audit.read(one.policy.log)]
    assert kinds == ["opened", "answered", "refused"]
    assert one.policy.log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["alter", "leave out", "swap", "put in"])
def test_a_log_that_was_altered_closes_the_gate(tmp_path: Path, change: str) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    with opened(path) as gates:
        for k in range(3):
            ask(gates["north"], AskAt(ALL, np.full(4, 0.1 * k), 1.0, 1))
        log = gates["north"].policy.log
    lines = log.read_text().splitlines()
    if change == "alter":
        lines[2] = lines[2].replace('"place":2', '"place":9')
    elif change == "leave out":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines.insert(2, lines[1])
    log.write_text("\n".join(lines) + "\n")
    with pytest.raises(audit.LogError, match=r"was altered at line [23]: .*Nothing is answered"):
        gate.Gate(policy.read(path[0]))


def test_a_line_that_was_not_finished_never_was(tmp_path: Path) -> None:
    """Its answer had not left the gate, as the line goes to the disk first."""
    path = written(tmp_path, study("toenail"), ["north"])
    question = AskAt(ALL, np.zeros(4), 1.0, 1)
    with opened(path) as gates:
        first = ask(gates["north"], question)
        log = gates["north"].policy.log
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    with opened(path) as gates:
        assert gates["north"]._past.numbers == 0
        assert to_json(ask(gates["north"], question)) == to_json(first)


def test_a_disk_that_is_full_lets_nothing_out(one: gate.Gate, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit.os, "fsync", full)
    with pytest.raises(audit.LogError, match="No space left on device; nothing is answered"):
        ask(one, AskCensus(ALL, ""))
    monkeypatch.undo()
    before = len(one.log.entries)
    assert ask(one, AskCensus(ALL, "")) is not None
    entries = list(audit.read(one.policy.log))
    assert len(entries) == before + 1


def test_a_clock_that_goes_backwards_matters_to_nobody(tmp_path: Path, monkeypatch) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    for k, seconds in enumerate((2e9, 1e9, 0.0)):
        monkeypatch.setattr(audit.time, "time", lambda seconds=seconds: seconds)
        with opened(path) as gates:
            assert ask(gates["north"], AskAt(ALL, np.full(4, 0.1 * k), 1.0, 1)) is not None
            assert len(gates["north"]._past.answered) == k + 1


def test_a_log_is_open_once(one: gate.Gate) -> None:
    with pytest.raises(audit.LogError, match="is open in another process; end that gate before"):
        gate.Gate(one.policy)


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    (tmp_path / "north.csv").unlink()
    assert gate.main(["preview", str(path[0])]) == 1
    assert "The gate stays closed: north.csv cannot be read" in capsys.readouterr().err


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    by_csv = gate.table(tmp_path / "north.csv")
    by_csv.to_parquet(tmp_path / "north.parquet")
    agreed = manifest.read(tmp_path / "manifest.toml")
    one, other = (agreed.site(gate.table(tmp_path / f"north.{s}")) for s in ("csv", "parquet"))
    np.testing.assert_array_equal(one.data.X, other.data.X)
    assert policy.read(path[0]).site == "north"
