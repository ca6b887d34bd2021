"""The parts of a formula's text, and what cannot be one."""

from __future__ import annotations

import pytest

from laplace.reading.parse import FormulaText, parse, with_quoted_names


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ x", ("y", "", "x", (), ())),
        ('(y == "a~b") ~ x', ('(y == "a~b")', "", "x", (), ())),
        ("I(s / t) ~ x", ("I(s / t)", "", "x", (), ())),
        ("s/(s + f) ~ 1", ("s", "(s + f)", "1", (), ())),
        ("cbind(s, f) ~ x", ("s", "(s) + (f)", "x", (), ())),
        ("cbind(`a b`, n - `a b`) ~ x", ("`a b`", "(`a b`) + (n - `a b`)", "x", (), ())),
        ("y ~ (1|g)", ("y", "", "1", ("g",), ())),
        ("y ~ (1 | g) + x", ("y", "", "x", ("g",), ())),
        ("y ~ x + (1 | g) + z", ("y", "", "x  + z", ("g",), ())),
        ("y ~ (1 | g) - 1", ("y", "", "- 1", ("g",), ())),
        ("y ~ x + (1 | `a b`:class)", ("y", "", "x", ("a b", "class"), ())),
        ("y ~ x + f(1 | g)", ("y", "", "x + f(1 | g)", (), ())),
        ("y ~ x + offset(log(t))", ("y", "", "x", (), ("log(t)",))),
        ("y ~ offset(a) + x + offset(b - a)", ("y", "", "x", (), ("a", "b - a"))),
        ("y ~ offset + x", ("y", "", "offset + x", (), ())),
        ("y ~ . - z + (1 | g)", ("y", "", ". - z", ("g",), ())),
        ("y ~ age.c + log(age.c)", ("y", "", "`age.c` + log(`age.c`)", (), ())),
    ],
)
def test_formulas_are_taken_apart(formula: str, expected: tuple) -> None:
    assert parse(formula, ["age.c"]) == FormulaText(*expected)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y", "must read 'outcome ~ covariates', got 'y'"),
        ("~ x", "must read 'outcome ~ covariates'"),
        ("y ~ ", "must read 'outcome ~ covariates'"),
        ("a ~ b ~ c", "must read 'outcome ~ covariates'"),
        ("y ~ (x", "does not close a parenthesis"),
        ("y ~ x)", "closes a parenthesis that it did not open"),
        ('y ~ "x', "cannot be read"),
        ("a / b / c ~ x", r"'successes / trials' on the left, .* write I\(a / b / c\)"),
        ("a / ~ x", "must have 'successes / trials' on the left, got 'a /'"),
        ("cbind(a) ~ x", r"must have cbind\(successes, failures\)"),
        ("y ~ x | g", r"'\|' outside of parentheses, got 'x \| g'; write \(1 \| ward\)"),
        ("y ~ (x | g)", "no random slopes"),
        ("y ~ (1 + x | g)", "no random slopes"),
        ("y ~ (0 + x | g)", "none without an intercept"),
        ("y ~ (1 || g)", "one random intercept"),
        ("y ~ (1 | a) + (1 | b)", r"has 2 random intercepts, .* are \(1 \| class:school\)"),
        ("y ~ (1 | a/b)", r"which is two random intercepts, .* \(1 \| class:school\)"),
        ("y ~ (1 | factor(g))", "right of the bar name a column of groups"),
        ("y ~ (1 | )", "right of the bar name a column of groups"),
        ("y ~ x * (1 | g)", r"must add a random intercept to the covariates, as in '... \+ \(1"),
        ("y ~ x * (z + (1 | g))", "must add a random intercept"),
        ("y ~ x - (1 | g)", "must add a random intercept"),
        ("y ~ x:offset(t)", "must add an offset to the covariates"),
        ("y ~ x + offset()", "has an empty offset"),
        ("y ~ x - x.mean()", r"takes out x.mean\(\), .* write I\(... - x.mean\(\)\)"),
    ],
)
def test_what_is_no_formula_of_this_model_says_so(formula: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(formula)


def test_a_term_may_be_taken_out_where_it_is_one() -> None:
    text = "y ~ x * log(z) - log(z)"
    assert parse(text).right == "x * log(z) - log(z)"


def test_names_with_dots_are_quoted_where_they_are_columns() -> None:
    columns = ["age.c", "a.b.2", "x.mean"]
    text = "I(age.c == 'age.c') + a.b.2 + `age.c` + x.mean() + z.age.c + 1.5"
    assert with_quoted_names(text, columns) == (
        "I(`age.c` == 'age.c') + `a.b.2` + `age.c` + x.mean() + z.age.c + 1.5"
    )
    assert with_quoted_names("y ~ x", ["y", "x"]) == "y ~ x"


def test_a_formula_is_text() -> None:
    with pytest.raises(TypeError, match="formula must be a string, got int"):
        parse(3)
