"""Attacks on a gate, each of which works on an open site: refused, written down, nothing learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies import (
    Study,
    ask,
    last,
    one_of_each,
    opened,
    refused_by,
    study,
    with_cell,
    written,
)

import laplace
from laplace.answers import numbers_of
from laplace.engines import audit, gate, language, letters, manifest, policy, rules
from laplace.engines.own import Own
from laplace.engines.thresholds import Thresholds
from laplace.questions import (
    ALL,
    AskAt,
    AskCensus,
    AskDigests,
    AskDirection,
    AskJeffreys,
    AskMargins,
    AskSketch,
    AskTriangle,
    AskVariation,
    AskWithout,
    View,
)
from laplace.starts import AskStart
from laplace.together import AskTogether


@pytest.fixture
def one(tmp_path: Path) -> Iterator[gate.Gate]:
    """Open the gate of a site that holds all rows of toenail."""
    with opened(written(tmp_path, study("toenail"), ["north"])) as gates:
        yield gates["north"]


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


def test_no_words_for_the_log_decide_which_rules_hold(one: gate.Gate) -> None:
    """Weights of less than a share of all are refused, whatever they are called."""
    few = np.zeros(one.rows.site.data.n)
    few[np.flatnonzero(one.rows.X.all(axis=1))[:20]] = 1.0
    assert one.rows.thresholds.effective_share * one.rows.individuals > 20
    for what in ("the weights", "the residuals"):
        with pytest.raises(rules.RefusedError, match=f"'effective_share'.* carry {what}"):
            one.rows.check_weights(few, what)


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
        one.rows.__dict__["_check_carried"] = lambda *_, **__: (
            None
        )  # the other rules would refuse, too
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


def test_attack_a_last_answer_that_overruns_the_budget(tmp_path: Path) -> None:
    """Of every kind: one number too many is not sent, and as many as are left are."""
    lines = f'approve = "unattended"\nquestions = {list(policy.FURTHER)}'
    with opened(written(tmp_path, study("toenail"), ["north"], policy_lines=lines)) as gates:
        one = gates["north"]

        def leave(numbers: float) -> None:
            budget = (one._past.numbers + numbers) / one.rows.unknowns
            loose = replace(Thresholds(), numbers_per_unknown=budget, most_refusals=99)
            object.__setattr__(one.rows, "thresholds", loose)

        kinds = set()
        for question in one_of_each(one.rows.site):
            size = numbers_of(Own(one.rows.site).answer(question))
            leave(size - 0.5)
            before = one._past.numbers
            assert ask(one, question) is None, question
            assert refused_by(one, "numbers_per_unknown")
            # nor as the second of two in one letter, of which nothing is sent then
            leave(size + 15 - 0.5)
            first = AskAt(ALL, np.full(4, 0.01 * len(kinds)), 1.0, 1)
            assert ask(one, AskTogether((first, question))) is None
            assert refused_by(one, "numbers_per_unknown")
            assert one._past.numbers == before
            leave(size + 0.5)
            assert numbers_of(ask(one, question)) == size
            assert one._past.numbers == before + size
            assert ask(one, question) is not None  # the same again holds nothing new
            leave(-1.0)
            assert ask(one, question) is not None
            kinds.add(type(question))
        assert kinds == {*rules.NEEDED, *(further.question for further in policy.FURTHER.values())}


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
            n: t for n, t in table["columns"].items() if n in language.parse(formula).columns
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
        (AskVariation(ALL), "questions"),
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


# What varies within groups, for reml=True --------------------------------------------------------

VARIATION = 'approve = "unattended"\nquestions = ["variation"]'


def test_attack_a_largest_value_by_weights_tried_one_after_the_other(tmp_path: Path) -> None:
    """A column varies if it does so by a part of its largest entry: that entry can be chosen."""
    with opened(written(tmp_path, study("toenail"), ["north"], policy_lines=VARIATION)) as gates:
        one = gates["north"]
        column, month = 2, one.rows.X[:, 2]
        codes = one.rows.site.data.codes
        first = month[one.rows.site.data.starts[codes]]
        furthest = np.abs(month - first).max()  # of a single patient

        def about(size: float) -> AskVariation:
            # month, plus so many ones
            inverse = np.eye(4)
            inverse[0, column] = size
            return AskVariation(View(triangle=np.linalg.inv(inverse)))

        low, high = 1e6, 1e14
        for _ in range(60):
            size = np.sqrt(low * high)
            varies = one.rows.site.answer(about(size)).within[column]
            low, high = (size, high) if varies else (low, size)
        assert low * 1e-10 == pytest.approx(furthest, rel=1e-6)
        assert ask(one, about(1e6)) is None
        assert refused_by(one, "form")
        assert "of the columns of the manifest alone" in last(one)["why"]


def with_one_change(count: int) -> Study:
    """Rows where a column varies within groups by so many patients' second visits."""
    data = pd.DataFrame({"ward": np.arange(300) // 10, "y": np.arange(300) % 2})
    sex = (data["ward"] % 2).astype(int)
    changed = data.index.isin(10 * np.arange(count) + 3)
    return Study(data.assign(sex=sex.where(~changed, 1 - sex)), "y ~ sex", "ward")


@pytest.mark.parametrize(("count", "answered"), [(0, True), (1, False), (2, False), (3, True)])
def test_attack_whether_a_single_patient_changed(
    tmp_path: Path, count: int, answered: bool
) -> None:
    of = with_one_change(count)
    with opened(written(tmp_path, of, ["north"], policy_lines=VARIATION)) as gates:
        one = gates["north"]
        # an open site would tell that somebody did
        assert one.rows.site.answer(AskVariation(ALL)).within == (False, count > 0)
        answer = ask(one, AskVariation(ALL))
        assert (answer is not None) == answered
        if answered:
            assert answer.within == (False, count > 0)
        else:
            assert refused_by(one, "least_varying")
            assert "individuals that sex sets apart from their group" in last(one)["why"]
            assert str(count) not in last(one)["why"].split("and there are")[1]


# Several questions in one letter -----------------------------------------------------------------


def test_attack_two_questions_in_one_letter_whose_difference_is_a_row(tmp_path: Path) -> None:
    x = np.sort(np.random.default_rng(4).normal(size=400))
    data = pd.DataFrame({"y": np.arange(400) % 2, "x": x, "ward": np.arange(400) // 20})
    of, steep = Study(data, "y ~ x", "ward"), 1e5
    cuts = 0.5 * (x[199] + x[200]), 0.5 * (x[200] + x[201])
    first, second = (AskWithout(ALL, np.array([-steep * cut, steep])) for cut in cuts)
    loose = (
        "longest_step = 1e9\nleast_effective = 0\neffective_share = 0\nlargest_share = 2\n"
        "least_cell = 0"
    )
    with opened(written(tmp_path, of, ["north"], rules=loose)) as gates:
        one = gates["north"]
        one.rows.__dict__["_check_carried"] = lambda *_, **__: None
        one.rows.__dict__["_check_columns"] = lambda *_: None
        assert ask(one, AskTogether((first, second))) is None
        assert refused_by(one, "least_difference")
        # nothing of it was sent, so that nothing counts against the honest half
        assert one._past.numbers == 0.0
        assert ask(one, first) is not None


def test_several_questions_are_checked_and_counted_one_by_one(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"], more="rounds = 4")
    asks = [AskAt(ALL, np.full(4, 0.01 * k), 1.0, 1) for k in range(9)]
    with opened(path) as gates:
        one = gates["north"]
        answer = ask(one, AskTogether((AskCensus(ALL, ""), asks[0], asks[1])))
        alone = one.rows.site.answer(asks[1])
        np.testing.assert_array_equal(answer.answers[2].hessian, alone.hessian)
        assert answer.answers[0].squares.tolist() == [1.0] * 4  # blunted, as alone
        assert one._past.numbers == numbers_of(answer)
        for strange, rule in (
            (AskTogether(()), "form"),
            (AskTogether(tuple(asks)), "form"),
            (AskTogether((AskTogether((asks[0],)),)), "questions"),
            (AskTogether((asks[0], AskStart())), "questions"),
            (AskTogether((asks[2], asks[3])), "rounds"),
        ):
            assert ask(one, strange) is None
            assert refused_by(one, rule)
        sent = one._past.numbers
    with opened(path) as gates:  # it is remembered
        assert gates["north"]._past.numbers == sent
        assert len(gates["north"]._past.answered) == 3


# A disk that somebody tries to fill --------------------------------------------------------------


def test_attack_a_letter_that_comes_again_and_again(tmp_path: Path) -> None:
    path = written(tmp_path, study("toenail"), ["north"])
    with opened(path) as gates:
        one = gates["north"]
        text = letters.question_letter(
            *(one.manifest.study, one.manifest.digest, "run", 1, "north"),
            *(AskAt(ALL, np.zeros(4), 1.0, 1), b""),
        )
        first = one.answer(text)
        assert all(one.answer(text) == first for _ in range(20))
        kinds = [entry["kind"] for entry in audit.read(one.policy.log)]
        assert kinds == ["opened", "answered", "repeated"]
    with opened(path) as gates:  # nor once more when it is opened again
        assert gates["north"].answer(text) == first
        assert last(gates["north"])["kind"] == "opened"


def test_attack_letters_without_end(one: gate.Gate, monkeypatch) -> None:
    monkeypatch.setattr(gate, "MOST_UNTOLD", 10)
    monkeypatch.setattr(gate, "MOST_AGAIN", 1)
    for k in range(30):
        assert json.loads(one.answer(f"strange {k}"))["answer"] is None
    kinds = [entry["kind"] for entry in one.log.entries]
    assert kinds == ["opened", *["refused"] * 10, "silent"]
    assert "not written down before" in last(one)["why"]
    one.approve()  # somebody has looked
    one.answer("strange again")
    assert refused_by(one, "letter")
    # the same question in one run after the other costs nothing, but has an end as well
    question = AskAt(ALL, np.zeros(4), 1.0, 1)
    for k in range(one.manifest.rounds):
        assert ask(one, question, run=f"run {k}") is not None
    assert ask(one, question, run="one more") is None
    assert refused_by(one, "rounds")
    assert "letters were answered" in last(one)["why"]
    one.approve()
    assert ask(one, question, run="after a look") is not None


def test_nodes_of_the_manifest(tmp_path: Path) -> None:
    with opened(written(tmp_path, study("toenail"), ["north"], more="nodes = [1]")) as gates:
        one = gates["north"]
        assert ask(one, AskAt(ALL, np.zeros(4), 1.0, 25)) is not None  # which judges the fit
        assert ask(one, AskAt(ALL, np.zeros(4), 1.0, 13)) is None
        assert refused_by(one, "form")
