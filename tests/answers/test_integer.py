"""Integers: the real answers of GSM8K, canonical form, and the rules of the lenient result."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from graders import completion, integer
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.grade import LONGEST
from harness.answers.integer import gold_of

grade, lenient, strict = integer.grade, integer.lenient, integer.strict

EXCERPT = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "graders" / "gsm8k.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


# ---------------------------------------------------------------- GSM8K


def test_every_gold_answer_of_the_excerpt_is_right_and_its_neighbours_are_wrong() -> None:
    for problem in EXCERPT:
        gold = gold_of(problem["answer"])
        given = grade(completion(gold, problem["answer"]), gold)
        assert given.strict and given.lenient and given.answer == gold
        for wrong in (int(gold) + 1, int(gold) - 1, int(gold) * 10 + 3, -int(gold) or 7):
            given = grade(completion(str(wrong), problem["answer"]), gold)
            assert not given.strict and not given.lenient, (gold, wrong)


@pytest.mark.parametrize(
    ("solution", "gold"),
    [("so\n#### 72", "72"), ("#### 1,450,000", "1450000"), ("#### -3", "-3"), ("#### 5\n#### 6", "6"), ("####0 ", "0")],
)
def test_gold(solution: str, gold: str) -> None:
    assert gold_of(solution) == gold


@pytest.mark.parametrize(
    "solution", ["", "72", "####", "#### 1,23", "#### 7.5", "#### x", "#### 7 #", "#### ٧", "#### 1e3"]
)
def test_a_solution_without_an_integer_is_said(solution: str) -> None:
    with pytest.raises(ValueError, match="no integer behind '####'"):
        gold_of(solution)


# ---------------------------------------------------------------- strict


@pytest.mark.parametrize(
    "answer",
    [
        "1,234", "+1234", "01234", "1234.0", "1234.", "1.234e3", "$1234", "1234 clips", "-1234", "−1234", "١٢٣٤",
        "１２３４",
        "1234\n", "\n1234", "1234\u200b", "#### 1234", "\\boxed{1234}", "x=1234", "1234=1234", "1234 or 1235",
        "1233 1234",
        "I guess 1234", "int('1234')", "0x4d2", "1_234", "12 34", "", "None", "nan", "1234;", "<1234>", "1234" * 9,
    ],
)  # fmt: skip
def test_only_the_canonical_form_is_strictly_right(answer: str) -> None:
    assert strict("1234", "1234")
    assert not strict(answer, "1234")
    assert not grade(completion(answer), "1234").strict


@pytest.mark.parametrize("gold", ["", "1,234", "x", "07", "-0", "7.0", "nan"])
def test_a_gold_answer_that_is_no_integer_is_met_by_nothing(gold: str) -> None:
    assert not strict(gold, gold)
    assert not grade(completion(gold), gold).lenient


# ---------------------------------------------------------------- lenient


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 1234.", "Answer: $1,234.00", "### Answer: 1234", "#### 1234\nI hope this answer helps.",
        "\\boxed{1234}", "so \\boxed{3} is not it, \\boxed{1,234} is", "1234", "so we get 1 234 = 1234",
        "Answer: a+b = 1000+234 = 1234", "It is **1234**.", "3 times 400 is 1200, and 34 more: 1234, in total, so yes",
        "<think>7</think>1234 clips", "The final answer is:\n\n1234", "answer: 01234", "$1234",
    ],
)  # fmt: skip
def test_what_is_leniently_right(text: str) -> None:
    assert lenient(text, "1234")
    assert not grade(text, "1234").strict


@pytest.mark.parametrize(
    "text",
    [
        "", "The answer is 1235.", "The answer is 1234 or 1235.", "\\boxed{1235} although 1234", "#### 1234.5", "-1234",
        "<think>1234", "<think>1234</think>", "1234 apples, 3 left", "x1234", "1.1234", "\\boxed{x} 1234", "12,34",
    ],
)  # fmt: skip
def test_what_is_not_even_leniently_right(text: str) -> None:
    assert not lenient(text, "1234")


def test_a_negative_answer_keeps_its_sign() -> None:
    assert lenient("The answer is -5", "-5") and lenient("The answer is −5", "-5") and lenient("Answer: -$5", "-5")
    assert not lenient("The answer is 5", "-5") and not lenient("The answer is -5", "5")
    assert lenient("between 10-15", "15")


# ---------------------------------------------------------------- total

PIECES = [
    *"0123456789-+.,$ ", "−", "#### ", "answer", " is ", "\\boxed{", "}", "=", " or ", "\n", "<think>", "</think>",
    "<answer>",
    "</answer>", "٣", "²", "9" * 30, "\ud800", "\x00", "é", "1,234", ".00",
]  # fmt: skip
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(text=texts, gold=st.one_of(st.integers(-(10**25), 10**25).map(str), texts))
def test_total_and_strict_implies_lenient(text: str, gold: str) -> None:
    for found in (grade(text, gold), grade(completion(text), gold)):
        assert found.lenient or not found.strict
        if found.strict:
            assert found.answer == gold == str(int(gold))


@given(st.integers())
def test_every_integer_equals_itself_and_no_other(number: int) -> None:
    assert grade(completion(str(number)), str(number)).strict
    assert lenient(f"The answer is {number:,}.", str(number))
    assert not grade(completion(str(number + 1)), str(number)).lenient


@pytest.mark.parametrize("piece", [*PIECES, "-$", "1,", "1,111", "answer 1", "\\boxed{1}", "answer\n"])
def test_the_stated_worst_case(piece: str) -> None:
    text = (piece * LONGEST)[:LONGEST]
    start = time.process_time()
    integer.lenient(text, "1234")
    assert time.process_time() - start < 0.5
