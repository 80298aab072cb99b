"""The one answer format against a pattern that says it in another way, and what an integer is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.frozen.format import answer_of, is_integer, score
from harness.tasks.nim import Nim

PIECES = ["<think>", "</think>", "<answer>", "</answer>", "<", ">", "a", " ", "\n", "\u00a0", "<b>", "5", "\ud800"]
IN_FORM = re.compile(r"<think>([^<>]*)</think>\s?<answer>([^<>]{0,200})</answer>", re.ASCII)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_the_format_is_that_of_one_pattern(text: str) -> None:
    match = IN_FORM.fullmatch(text)
    assert answer_of(text) == (None if match is None else match[2].strip(" "))


@given(st.text("a 5\n\t\v\u2028", max_size=4), st.text("a 5\n\t\v\u2028", max_size=3), st.text("a 5\n", max_size=205))
def test_of_completions_near_the_form_too(thought: str, between: str, answer: str) -> None:
    text = f"<think>{thought}</think>{between}<answer>{answer}</answer>"
    match = IN_FORM.fullmatch(text)
    assert answer_of(text) == (None if match is None else match[2].strip(" "))


def test_an_answer_has_its_length_and_a_right_one_its_form() -> None:
    assert answer_of("<think></think><answer>" + "5" * 200 + "</answer>") == "5" * 200
    assert answer_of("<think></think><answer>" + "5" * 201 + "</answer>") is None
    assert answer_of("<think></think><answer>x < 3</answer>") is None
    assert answer_of("<think>2 > 1</think><answer>x < 3</answer>", brackets=True) == "x < 3"
    question = type("Question", (), {"target": "4"})()
    texts = ("<think></think><answer> 4</answer>", "<think></think><answer>5</answer>", "4")
    right, wrong, formless = (score(Nim(), question, text) for text in texts)
    assert (right.correct, right.formatted, right.answer) == (True, True, "4")
    assert (wrong.correct, wrong.formatted, wrong.answer) == (False, True, "5")
    assert (formless.correct, formless.formatted, formless.answer) == (False, False, None)


@pytest.mark.parametrize("integer", ["0", "7", "-7", "1234567890123"])
def test_an_integer_is_its_canonical_form(integer: str) -> None:
    assert is_integer(integer, integer)
    for other in (f"0{integer}", f"+{integer}", f"{integer}.0", f" {integer}", f"{integer}\n", "٧", "-0", "", "07"):
        assert not is_integer(other, integer)
        assert not is_integer(other, other)
