"""LaTeX by normal form: what makes no difference, what makes one, and that it costs nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.latex import Latex, normal
from harness.frozen.format import Sample


def strict(answer: str, gold: str) -> bool:
    return Latex().strict(Sample("q", "", gold), answer)


@given(st.text(max_size=200), st.text(max_size=200))
def test_latex_is_graded_in_no_time_whatever_it_is(answer: str, gold: str) -> None:
    start = time.process_time()
    assert strict(answer, gold) is bool(normal(gold) and normal(answer) == normal(gold))
    assert strict(gold, gold) is bool(normal(gold))
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize("answer", ["9^{9^{9^{9}}}", "(1+\\sqrt{2})^{999999}", "\\left(" * 30, "{" * 200, "," * 200])
def test_a_tower_of_powers_costs_nothing(answer: str) -> None:
    """math-verify needs seconds for it, while the environment's clock runs and its lock is held."""
    start = time.process_time()
    for _ in range(1000):
        assert not strict(answer, "\\boxed{x^2+1}")
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\dfrac{1}{2}", "\\frac{1}{2}"), ("\\frac12", "\\frac{1}{2}"), ("1/2", "\\frac{1}{2}"),
        ("-1/2", "\\frac{-1}{2}"), ("\\sqrt2", "\\sqrt{2}"), ("\\left(1, 2\\right)", "(1,2)"), (" 5 ", "5"),
        ("$5$", "5"), ("5.", "5"), (".5", "0.5"), ("1,234", "1234"), ("1{,}234.5", "1234.5"),
        ("\\boxed{5}", "\\boxed{5}"),
        ("30^\\circ", "30^{\\circ}"), ("30", "30^\\circ"), ("50\\%", "50"), ("\\text{even}", "even"),
        ("x \\in [0, 1)", "x\\in[0,1)"), ("0.5", "\\frac{1}{2}"),
    ],
)  # fmt: skip
def test_what_makes_no_difference(answer: str, gold: str) -> None:
    assert strict(answer, gold) and strict(gold, answer)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("0.333", "\\frac{1}{3}"), ("0.5", "\\frac{2}{4}"),
        ("", ""), ("", "\\boxed{}"), ("(1,234)", "1234"), ("12", "1,2"),
        ("\\frac{1}{2}", "\\frac{2}{1}"),
        ("x+1", "1+x"), ("2\\sqrt{3}", "\\sqrt{12}"), ("-5", "5"), ("5 or 6", "5"), ("\\leftarrow", "arrow"),
        ("A", "a"),
    ],
)  # fmt: skip
def test_what_makes_one(answer: str, gold: str) -> None:
    assert not strict(answer, gold)
