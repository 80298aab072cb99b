"""The forms of answers are total, and no looser than they say."""

from __future__ import annotations

import time
from fractions import Fraction
from functools import cache

import pytest
from gym_questions import draws, needs_gym
from gym_solvers import SOLVERS
from hypothesis import given, settings
from hypothesis import strategies as st
from task_helpers import PIECES

from harness.frozen.format import Sample
from harness.tasks.gym import forms
from harness.tasks.gym.rules import Rule
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import Gym

pytestmark = needs_gym


SIGNS = [
    *PIECES,
    "x",
    "*",
    "**2",
    "/",
    "+ C",
    "i",
    ", ",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    ":",
    "True",
    "up ",
    "down ",
    "\n",
    "A=1,",
]
texts = st.one_of(
    st.text(max_size=200), st.lists(st.sampled_from(SIGNS), max_size=60).map(lambda parts: "".join(parts)[:200])
)


@cache
def question_of_each() -> tuple[tuple[Gym, Sample], ...]:
    return tuple((task, draws(task.dataset, 1)[0]) for task in GYM)


def check_total(text: str) -> None:
    for task, question in question_of_each():
        start = time.process_time()
        right = task.accepts(question, text)
        assert time.process_time() - start < 0.05
        assert (
            not right
            or not isinstance(task.form, Rule)
            or SOLVERS[task.dataset](Sample(question.id, question.prompt, text))
        )


@given(texts)
@settings(max_examples=60, deadline=None)
def test_graders_are_total(text: str) -> None:
    check_total(text)


@pytest.mark.long
@pytest.mark.timeout(1200)
@given(texts)
@settings(max_examples=3000, deadline=None)
def test_graders_are_total_on_over_100_000_texts(text: str) -> None:
    check_total(text)


BOMBS = [
    "(" * 200, "9" * 200, "," * 200, "-" * 200, "[" + "1," * 99 + "]", "x*" * 100, "1+" * 99, "2**9**9", "\ud800",
    '{"0":1' + ',"0":1' * 32 + "}", "A=1," * 50, "up " * 66,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_graded_at_once(bomb: str) -> None:
    for task, question in question_of_each():
        start = time.process_time()
        assert not task.accepts(question, bomb) and time.process_time() - start < 0.05


@given(st.integers(-(10**12), 10**12), st.text("0123456789-+.e ", max_size=15))
def test_an_integer_is_written_in_one_way(number: int, text: str) -> None:
    assert forms.integer(str(number)) == str(number)
    assert forms.integer(text) is None or str(int(text)) == text


@given(st.text("0123456789-+.e,", max_size=15))
def test_a_decimal_is_its_exact_value(text: str) -> None:
    number = forms.decimal(text)
    assert number is None or (Fraction(text) == Fraction(number) and "e" not in text and not text.startswith("+"))
