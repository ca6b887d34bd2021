"""The gate of a site: what honest fits get, what is sent, the preview and the log.

The truth is `laplace.fit_formula` of all rows in one place, which other tests hold against R.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies import (
    SITES,
    ask,
    distance,
    fitted,
    last,
    new_run,
    one_of_each,
    opened,
    refused_by,
    study,
    with_cell,
    written,
)

import laplace
from laplace.answers import numbers_of
from laplace.engines import audit, gate, manifest, policy, rules
from laplace.engines.asking import SiteRefusedError
from laplace.engines.own import Own
from laplace.engines.thresholds import RULES, Thresholds
from laplace.messages import to_json
from laplace.questions import (
    ALL,
    AskAt,
    AskCensus,
    AskJeffreys,
    AskMoments,
    AskTriangle,
    AskWithout,
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


RESTRICTED = 'approve = "unattended"\nquestions = ["variation"]'


@pytest.mark.parametrize(
    ("name", "sites", "nodes", "rules"),
    [
        ("published", 2, 1, ""),
        ("published", 2, "auto", ""),
        ("toenail", 2, 25, ""),
        ("5x500", 5, 25, "numbers_per_unknown = 2"),
    ],
)
def test_restricted_fits_pass_where_the_policy_allows_them(
    tmp_path: Path, name: str, sites: int, nodes: int | str, rules: str
) -> None:
    of, options = study(name), {"nodes": nodes, "reml": True}
    path = written(tmp_path, of, SITES[:sites], policy_lines=RESTRICTED, rules=rules)
    with warnings.catch_warnings(), opened(path) as gates:
        warnings.simplefilter("ignore", laplace.ApproximationWarning)
        fit = fitted(gates, new_run(tmp_path, SITES[:sites], **options))
        together = of.pooled(**options)
        asked = len(gates["north"]._past.answered)
        text = " ".join(gates["north"].preview().split())
    # its tau is the root of a slope that is taken by differences
    assert distance(fit, together) < 1e-9
    assert fit.reml_criterion == pytest.approx(together.reml_criterion, rel=1e-12)
    assert fit.df_resid.to_numpy() == pytest.approx(together.df_resid.to_numpy(), rel=1e-6)
    assert fit.rounds < 0.9 * asked  # points of a difference travel together
    assert asked <= manifest.Manifest("", "", "", "").rounds  # by default
    assert (
        f"4. For reml=True, as you allow it: of each of the {fit.params.size - 1} columns" in text
    )


def test_restricted_fits_are_refused_where_no_policy_allows_them(tmp_path: Path) -> None:
    with opened(written(tmp_path, study("published"), SITES[:2])) as gates:
        with pytest.raises(SiteRefusedError, match="refused the question AskVariation"):
            fitted(gates, new_run(tmp_path, SITES[:2], nodes=1, reml=True))
        for each in gates.values():
            assert refused_by(each, "questions")
            assert "as the policy does not name it under questions" in last(each)["why"]
            assert len(each._past.answered) <= 2  # before many numbers were sent
            assert "For reml=True, as you allow it" not in each.preview()


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
        one = gates["north"]
        assert numbers_of(ask(one, AskAt(ALL, np.zeros(7), 1.0, 1))) == 45
        assert numbers_of(ask(one, AskWithout(ALL, np.zeros(7)))) == 45 + 4
        assert numbers_of(ask(one, AskCensus(ALL, ""))) == 64


@pytest.mark.parametrize("p", [1, 2, 3, 6, 11])
def test_an_answer_holds_as_many_numbers_as_was_said_before(p: int) -> None:
    drawn = laplace.simulate.random_intercepts([40] * 10, [0.3] * p, 1.0, seed=1)
    place = Own(laplace.Site.from_arrays(drawn.y, drawn.X, drawn.groups))
    sizes = {
        type(question): numbers_of(place.answer(question)) for question in one_of_each(place.site)
    }
    assert sizes == {kind: rules.size_of_answer(kind, p) for kind in sizes}
    further = {one.question for one in policy.FURTHER.values()}
    assert sizes.keys() == {*rules.NEEDED, *further}
    # by hand: what is symmetric is sent twice, and known by one half and the diagonal
    half = p * (p + 1) // 2
    assert sizes[AskWithout] - sizes[AskAt] == 4
    assert sizes[AskTriangle] == half
    assert sizes[AskJeffreys] == p + half + p * half


def test_the_preview_says_what_is_allowed_beyond_what_every_fit_needs(tmp_path: Path) -> None:
    lines = f'approve = "unattended"\nquestions = {list(policy.FURTHER)}'
    with opened(written(tmp_path, study("toenail"), ["north"], policy_lines=lines)) as gates:
        text = " ".join(gates["north"].preview().split())
    assert "4. Your own fit, as you allow it: 37 numbers, your estimates" in text
    assert "5. The sums of the soft penalty, as you allow it: 54 numbers a round." in text
    assert "6. For reml=True, as you allow it: of each of the 4 columns" in text


@pytest.mark.filterwarnings("ignore::laplace.ApproximationWarning")
def test_the_summary_and_the_logs_count_the_same_numbers(tmp_path: Path, capsys) -> None:
    with opened(written(tmp_path, study("toenail"), SITES[:2])) as gates:
        fit = fitted(gates, new_run(tmp_path, SITES[:2], nodes=1))
        assert fit.numbers == sum(each._past.numbers for each in gates.values())
        north, paths = gates["north"]._past.numbers, [each.policy.log for each in gates.values()]
    gate._print_log(paths[0])
    said = re.findall(r", (\d+) numbers", capsys.readouterr().out)
    assert sum(map(int, said)) == north


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
