"""One final letter."""

from __future__ import annotations

import time

import pytest
from graders import choice
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.grade import LONGEST

LETTERS = "ABCDEFGHIJ"
grade, lenient, strict = choice.grade, choice.lenient, choice.strict


def completion(answer: str) -> str:
    return f"<think>A, B or I?</think><answer>{answer}</answer>"


@pytest.mark.parametrize("gold", LETTERS)
def test_the_one_letter_is_right_and_every_other_wrong(gold: str) -> None:
    for letter in LETTERS:
        given = grade(completion(letter), gold, 10)
        assert given.strict == given.lenient == (letter == gold)


@pytest.mark.parametrize(
    "answer",
    [
        "(C)",
        "c",
        "C.",
        "C or D",
        "CD",
        "C C",
        "A, B, C, D",
        "Ｃ",
        "С",
        "",
        "C\n",
        "\\boxed{C}",
        "**C**",
        "option C",
        "3",
        "C\u200b",
    ],
)
def test_nothing_but_the_letter_is_strictly_right(answer: str) -> None:
    assert strict("C", "C", 4)
    assert not grade(completion(answer), "C", 4).strict


def test_a_letter_that_was_not_offered_is_wrong_even_as_gold() -> None:
    assert strict("E", "E", 10)
    assert not grade(completion("E"), "E", 4).lenient
    assert not grade(completion(""), "", 4).lenient
    assert not grade(completion("AB"), "AB", 4).lenient


@pytest.mark.parametrize(
    "text",
    [
        "The answer is (C).", "The answer is C", "Answer: C", "**Answer:** C", "**Answer: C**", "ANSWER: **C**",
        "ANSWER: $C$",
        "Final answer: \\boxed{C}", "\\boxed{\\text{C}}", "\\boxed{(C)}", "so\n\n(C)", "C", "so\n**C**",
        "<think>A</think>C.",
        "The answer is A? No, the answer is C.", "The answer is C because I computed the integral.",
        "The answer is C. Note that A is a common distractor.", "The answer is C, A is wrong.",
        "Answer: A\nWait.\nAnswer: C", "The answer is $\\boxed{C}$", "Answer: Answer: C", "answer = C",
    ],
)  # fmt: skip
def test_what_is_leniently_right(text: str) -> None:
    assert lenient(text, "C", 10)
    assert not grade(text, "C", 10).strict


@pytest.mark.parametrize(
    "text",
    [
        "", "The answer is C or D.", "The answer is (C) and (D)", "Answer: C/D", "Answer: A, B, C", "Answer: C, D",
        "I think so",
        "\\boxed{C} \\boxed{D}", "\\boxed{CD}", "\\boxed{C, D}", "The answer is D. C was tempting.",
        "Answer seems to be A\nAnswer: D",
        "<think>The answer is C", "Cats", "Carbon", "C D", "the answer is Carbon", "The answer is C'est", "Answer: c",
    ],
)  # fmt: skip
def test_what_is_not_even_leniently_right(text: str) -> None:
    assert not lenient(text, "C", 10)


PIECES = [
    *"ABCIJ abc.,:*_$()=/&", "\n", "answer", "Answer", "ANSWER", " is ", "or", " and ", "\\boxed{", "\\text{", "}",
    "<think>",
    "</think>", "<answer>", "</answer>", "\ud800", "Ａ", "\x00",
]  # fmt: skip
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(text=texts, gold=st.one_of(st.sampled_from(LETTERS), texts), options=st.integers(-1, 40))
def test_total_and_strict_implies_lenient(text: str, gold: str, options: int) -> None:
    for found in (grade(text, gold, options), grade(completion(text), gold, options)):
        assert found.lenient or not found.strict
        if found.lenient:
            assert len(gold) == 1 and "A" <= gold <= "Z"


@given(texts)
def test_no_completion_is_right_for_two_letters(text: str) -> None:
    assert sum(grade(text, letter, 10).lenient for letter in LETTERS) <= 1


@pytest.mark.parametrize("piece", [*PIECES, "Answer: A", "answer is (", "Answer:    ", "A\n"])
def test_the_stated_worst_case(piece: str) -> None:
    text = (piece * LONGEST)[:LONGEST]
    start = time.process_time()
    lenient(text, "A", 10)
    assert time.process_time() - start < 0.5
