"""The answer format, and where lenient rules look."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.grade import LONGEST, answer_of, final_part
from harness.frozen import format

PIECES = ["<think>", "</think>", "<answer>", "</answer>", "<", ">", "a", " ", "\n", "<b>", "5", "\ud800", "\x00"]
pieces = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<think>so</think><answer>5</answer>", "5"),
        ("<think></think>\n<answer> 5 </answer>", "5"),
        ("<think>2 < 3 > 1, <b></think> <answer>x < 3</answer>", "x < 3"),
        ("<think>so</think><answer></answer>", ""),
        ("<think>so</think><answer>\n5\n</answer>", "\n5\n"),
        ("<think>so</think>\n\n<answer>5</answer>", None),
        (" <think>so</think><answer>5</answer>", None),
        ("<think>so</think><answer>5</answer>\n", None),
        ("<think>so</think>and<answer>5</answer>", None),
        ("<answer>5</answer>", None),
        ("<think>so<answer>5</answer></think>", None),
        ("<think><answer></think>5</answer>", None),
        ("<think>so</think><answer>5</answer><answer>6</answer>", None),
        ("<think>so</think></think><answer>5</answer>", None),
        ("<think><think>so</think><answer>5</answer>", None),
        ("<think>so</think><answer>" + "5" * 201 + "</answer>", None),
        ("<think>" + "a" * LONGEST + "</think><answer>5</answer>", None),
    ],
)
def test_the_format(completion: str, answer: str | None) -> None:
    assert answer_of(completion) == answer


@given(pieces)
def test_it_is_the_format_of_the_tasks_with_more_room(text: str) -> None:
    """Whatever the tasks take has the same answer here; what only this takes has a `<` or `>` in it."""
    strict = format.answer_of(text)
    if strict is not None:
        assert answer_of(text) == strict
    elif answer_of(text) is not None:
        inside = text.removeprefix("<think>").removesuffix("</answer>").replace("</think>", "").replace("<answer>", "")
        assert "<" in inside or ">" in inside


@pytest.mark.parametrize(
    ("completion", "part"),
    [
        ("so 5", "so 5"),
        ("<think>4</think> 5", " 5"),
        ("<think>4</think><answer>5</answer>", "5"),
        ("<think>4</think><answer>5", "5"),
        ("<think>4 is the answer", ""),  # cut off while thinking
        ("<think>a</think><answer>4</answer> no: <answer>5</answer> sure", "5"),
        ("a" * (LONGEST + 1), ""),
    ],
)
def test_lenient_rules_look_behind_the_thought(completion: str, part: str) -> None:
    assert final_part(completion) == part


@pytest.mark.parametrize("piece", PIECES)
def test_a_million_characters_take_no_time(piece: str) -> None:
    text = (piece * LONGEST)[:LONGEST]
    start = time.process_time()
    answer_of(text), final_part(text)
    assert time.process_time() - start < 0.3
