"""Maths answers: what math-verify is given, what is refused before and after it, and the pool it runs in."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator

import graders
import pytest
from graders import completion, needs_math_verify
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import maths
from harness.answers.latex_tokens import joined, tokens
from harness.answers.pool import Pool, PoolError

grade, strict = graders.maths.grade, graders.maths.strict


# ---------------------------------------------------------------- strict


@needs_math_verify
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "5"), ("5", "$5$"), ("5", "\\boxed{5}"), ("5", "x=5"), ("5", "5.0"), ("x=5", "5"), ("x=5", "x = 5"),
        ("5", "5."),
        ("\\frac{1}{2}", "1/2"), ("\\frac{1}{2}", "0.5"), ("\\frac{1}{2}", "\\dfrac12"),
        ("-\\frac{1}{2}", "\\frac{-1}{2}"),
        ("2\\sqrt{3}", "\\sqrt{12}"), ("1+\\sqrt{2}", "\\sqrt{2}+1"), ("x^2+2x+1", "2x + x^2 + 1"),
        ("\\pi r^2", "r^2\\pi"),
        ("(1,2)", "\\left(1, 2\\right)"), ("(1,\\frac{9}{2})", "(1,4.5)"), ("1,2", "2, 1"), ("\\{1,2\\}", "1,2"),
        ("[0,1)", "[0, 1)"), ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty, 2) \\cup (3, \\infty)"), ("90^\\circ", "90"),
        ("1{,}234", "1{,}234"), ("1,234", "1234"), ("1234", "1,234"), ("\\text{even}", "even"), ("\\text{(C)}", "C"),
        ("5\\text{ cm}", "5"), ("x>2", "2<x"), ("y=2x+3", "y = 3 + 2x"), ("2^{100}", "4^{50}"), ("\\$5", "5"),
        ("\\frac{x+2}{7}", "\\frac{x}{7}+\\frac{2}{7}"), ("2516_8", "2516"), ("2516_{8}", "2516_8"),
        ("2\\frac{1}{2}", "5/2"), ("\\frac{5}{2}", "2\\frac12"),
        ("3+2i", "2i+3"), ("1234", "1{,}234"), ("20\\%", "20"),
        ("20\\%", "20\\%"), ("x=1,y=2", "y=2,x=1"), ("y=2x+3", "2x+3=y"),
        ("(0,1)\\cup(2,3)", "(2,3)\\cup(0,1)"), ("\\pi", "π"), ("((1,2),(3,4))", "((1,2),(3,4.0))"),
        ("x \\in [0,1]", "[0,1]"),
    ],
)  # fmt: skip
def test_the_same_answer(gold: str, answer: str) -> None:
    assert strict(answer, gold)


@needs_math_verify
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("18", "17=18"), ("18", "\\boxed{17=18}"), ("18", "18=18"), ("18", "17+1=18"), ("18", "x=17=18"),
        ("18", "9\\cdot 2"),
        ("18", "\\frac{36}{2}"), ("18", "17+1"), ("18", "\\boxed{17} or \\boxed{18}"), ("18", "17,18"),
        ("18", "\\{18,19\\}"),
        ("18", "18 or 19"), ("18", "$18$ or $19$"), ("18", ""), ("18", "\\boxed{}"), ("18", "\\boxed{18"),
        ("18", "18\\text{ or }19"),
        ("\\frac{1}{2}", "\\frac{2}{4}"), ("\\frac{1}{3}", "0.333333"), ("\\frac{1}{2}", "\\frac{1}{3}"), ("5", "-5"),
        ("4", "4\\sqrt(2)"),
        ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2)", "1,2"), ("[0,1)", "(0,1]"), ("x>2", "2x>4"),
        ("x=5", "3x+7=22"), ("x=5", "y=5"),
        ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"), ("12:00", "1:00"), ("\\pm 2021", "2021"),
        ("1,2,\\ldots,n", "1,3,\\ldots,2n-1"),
        ("even", "neve"), ("5\\text{ cm}", "5\\text{ m}"), ("x^2", "x^2+C"), ("\\text{A}", "B"), ("2,3,4", "1,2,3"),
        ("1,2,2", "1,1,2"),
        ("D=(0,1)", "D=(0,1.5)"), ("1-\\frac{1}{e}", "1+\\frac{1}{e}"), ("3x-y+13=0", "3x+4y+14=0"),
        ("0.0000001", "0.0000002"),
        ("18", "\\text{18 or 19}"), ("18", "(17=18)"), ("18", "(x=17=18)"), ("24", "\\frac{48x}{2x}"), ("24", "x+24-x"),
        ("18", "17 \\Rightarrow 18"), ("18", "17 \\to 18"), ("18", "17\\mid 18"), ("18", "17 \\lor 18"),
        ("24", "\\frac{{48}}{2}"), ("24", "\\frac{+48}{2}"), ("24", "--24"), ("10", "\\binom{5}{2}"),
        ("3\\pi", "\\frac{{6}}{2}\\pi"), ("3\\pi", "\\frac{+6}{2}\\pi"), ("3\\pi", "\\binom{3}{1}\\pi"),
        ("2516_8", "2516_7"), ("2516", "2516_8"), ("24", "24_1"), ("24", "24_{23}"),
        ("18", "17;18"), ("18", "17\\\\18"), ("18", "１８"),
        ("\\frac{x}{2^{99}}", "\\frac{x}{2^{98}}"), ("0.1234567x", "0.1234569x"), ("(0.1234567,1)", "(0.1234569,1)"),
        ("x=1,y=2", "x=2,y=1"),
        ("x=1,y=2", "1,2"), ("((1,2),(3,4))", "((3,4),(1,2))"), ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty,2)"),
        ("20\\%", "21"), ("18", "\\sum_{i=1}^{18} 1"), ("2", "\\log_2 4"), ("18", "nan"), ("18", "\\infty"), ("", ""),
        ("18", "$"),
        ("3\\pi", "(1+2)\\pi"), ("6x", "2\\cdot 3x"), ("3+\\sqrt{2}", "1+2+\\sqrt{2}"), ("3+2i", "1+2+2i"),
        ("x^6", "x^{2+4}"), ("\\frac{\\sqrt{3}}{2}", "\\frac{2\\sqrt{3}}{4}"), ("x>5", "x>2+3"), ("16\\pi", "4^2\\pi"),
        ("\\begin{pmatrix}1\\\\5\\end{pmatrix}", "\\begin{pmatrix}1\\\\2+3\\end{pmatrix}"),
    ],
)  # fmt: skip
def test_not_the_same_answer(gold: str, answer: str) -> None:
    assert not strict(answer, gold)


@needs_math_verify
@pytest.mark.parametrize(
    ("problem", "gold", "echo"),
    [
        ("Compute $\\frac{1}{2}+\\frac{1}{3}$.", "\\frac{5}{6}", "\\frac{1}{2}+\\frac{1}{3}"),
        ("Compute 48/2.", "24", "48/2"),
        ("Solve $3x+7=22$.", "x=5", "3x+7=22"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "(x+1)^2"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "(1+x)^2"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "$(x + 1)^2$"),
        ("Factor $x^2-1$.", "(x-1)(x+1)", "x^2-1"),
        ("Factor $x^2-1$.", "(x-1)(x+1)", "-1+x^2"),
        ("Simplify $\\sqrt{18}$.", "3\\sqrt{2}", "\\sqrt{18}"),
        ("Find $\\sin(\\pi/6)$.", "\\frac{1}{2}", "\\sin(\\pi/6)"),
    ],
)
def test_an_echo_of_the_problem_is_no_answer(problem: str, gold: str, echo: str) -> None:
    assert not strict(echo, gold, problem)
    assert strict(gold, gold, problem)


@needs_math_verify
def test_the_gold_answer_may_stand_in_the_problem() -> None:
    assert strict("x^2-1", "x^2-1", "Is $x^2-1$ or $x^2+1$ reducible?")
    assert strict("0.5", "\\frac{1}{2}", "A coin shows heads with probability 0.5.")


# ---------------------------------------------------------------- both results


@needs_math_verify
def test_strict_and_lenient_apart() -> None:
    given = grade(completion("\\frac{1}{2}"), "\\frac{1}{2}")
    assert given.strict and given.lenient and given.answer == "\\frac{1}{2}" and given.why is None
    given = grade("So the answer is $\\boxed{\\frac12}$.", "\\frac{1}{2}")
    assert not given.strict and given.lenient and given.answer is None
    given = grade("So the answer is $\\boxed{\\frac13}$.", "\\frac{1}{2}")
    assert not given.strict and not given.lenient
    for unfinished in ("<think>so $\\boxed{\\frac12}$", "<think>$\\boxed{\\frac12}$</think>I do not know."):
        assert not grade(unfinished, "\\frac{1}{2}").lenient


@needs_math_verify
def test_a_gold_answer_that_cannot_be_read_is_met_by_itself_alone() -> None:
    gold = "\\frac{1}{"
    assert strict(gold, gold)
    for answer in ("1", "", "\\frac{1}{2}", "anything"):
        assert not grade(completion(answer), gold).strict


# ---------------------------------------------------------------- text


@given(st.text(max_size=200))
def test_tokens_are_total_and_stay_what_they_are(text: str) -> None:
    once = tokens(text)
    assert tokens(joined(once)) == once


def test_tokens() -> None:
    assert tokens("$\\boxed{ \\left( 1 ,\\; \\dfrac 12\\right) }$.") == ("(", "1", ",", "\\frac", "1", "2", ")")
    assert tokens("90^{\\circ}") == tokens("90^\\circ") == ("9", "0")
    assert joined(tokens("\\pi r")) == "\\pi r"
    assert tokens("\\") == ()


# ---------------------------------------------------------------- the pool

BOMBS = [
    "\\dfrac{5^{\\left(5^{\\left(5^{\\left(5^5\\right)}\\right)} - 4\\right)} - 5}{16}",
    "2003^{2002^{2001}}",
    "9^{9^{9^{9}}}",
    "100000000!",
    "\\sqrt{5^{5^{5^5}}}",
    "\\log_{2^5}(\\log_{2^4}(\\log_{2^3}(\\log_{2^2}(\\log_{2^1}x))))",
    "\\binom{10^9}{5\\cdot 10^8}",
    "(" * 200 + "1" + ")" * 200,
    "\\frac{1}{" * 80 + "2" + "}" * 80,
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """One process that gets one second."""
    pool = Pool("harness.answers.equivalence_worker", size=1, cpu_seconds=1, wall_seconds=20)
    monkeypatch.setitem(maths._pools, os.getpid(), pool)
    yield pool
    pool.close()


@needs_math_verify
@pytest.mark.parametrize("bomb", [BOMBS[0], *(pytest.param(bomb, marks=pytest.mark.long) for bomb in BOMBS[1:])])
@pytest.mark.parametrize("how", ["\\boxed{{{}}}", pytest.param("{}", marks=pytest.mark.long)])
def test_a_bomb_is_wrong_and_the_next_answer_is_right(bomb: str, how: str, quick: Pool) -> None:
    assert strict("1/2", "\\frac{1}{2}")
    start = time.monotonic()
    given = grade(completion(how.format(bomb)), "2\\sqrt{7}")
    assert not given.strict and not given.lenient
    assert given.why in ((maths.TOO_LONG,) if bomb == BOMBS[0] else (maths.TOO_LONG, None))
    assert time.monotonic() - start < 4 * quick.wall_seconds
    assert strict("1/2", "\\frac{1}{2}")


@needs_math_verify
def test_the_callers_alarm_is_left_alone_and_any_thread_may_ask() -> None:
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        right: list[bool] = []
        thread = threading.Thread(target=lambda: right.append(strict("1/2", "\\frac{1}{2}")))
        thread.start()
        thread.join()
        assert right == [True]
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@needs_math_verify
def test_a_killed_process_is_replaced(quick: Pool) -> None:
    assert strict("1/2", "\\frac{1}{2}")
    (before,) = quick._idle.queue
    assert before is not None
    os.kill(before._process.pid, signal.SIGKILL)
    assert strict("1/2", "\\frac{1}{2}")
    (after,) = quick._idle.queue
    assert after is not None and after._process.pid != before._process.pid
    assert strict("1/2", "\\frac{1}{2}") and list(quick._idle.queue) == [after]


def test_without_math_verify_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maths, "_pools", {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PoolError, match=r"math-verify, which is not installed: scripts/setup.sh tasks"):
        strict("1", "2")


# ---------------------------------------------------------------- total

PIECES = [
    *"0123456789xyn+-*/^=<>,.()[]{}$ !%", "\\frac{", "\\sqrt{", "\\boxed{", "\\text{", "}", "\\cdot ", "\\pi",
    "\\infty", "\\le ",
    "\\left(", "\\right)", "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\", "\\sum_{n=1}^{5}", "\\in ", "\\cup ",
    "^{2}", "or",
    "\\ldots", "\ud800", "\x00", "é", "５",
]  # fmt: skip
texts = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@needs_math_verify
@settings(max_examples=60, deadline=None)
@given(
    text=texts, gold=st.one_of(st.sampled_from(["5", "\\frac{1}{2}", "(1,2)", "x=5", "x^2+1", "\\text{even}"]), texts)
)
def test_total_and_strict_implies_lenient(text: str, gold: str) -> None:
    given = grade(completion(text), gold)
    assert given.lenient or not given.strict


@needs_math_verify
@settings(max_examples=60, deadline=None)
@given(st.integers(-10_000, 10_000), st.integers(1, 200), st.integers(-10_000, 10_000), st.integers(1, 200))
def test_fractions_are_equal_when_they_are(a: int, b: int, c: int, d: int) -> None:
    from fractions import Fraction

    gold = Fraction(a, b)
    assert strict(str(gold), f"\\frac{{{gold.numerator}}}{{{gold.denominator}}}")
    assert strict(str(Fraction(c, d)), str(gold)) == (Fraction(c, d) == gold)
