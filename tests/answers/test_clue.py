"""Temporal Clue: all fields, in order."""

from __future__ import annotations

import time

import pytest
from graders import clue
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.clue import gold_lines
from harness.answers.grade import LONGEST

GOLD = {"A": "Miss Scarlet", "B": "Lead Pipe", "C": "11:30 PM", "D": "Mr. Green"}
grade, lenient, strict = clue.grade, clue.lenient, clue.strict
LINES = "A. Miss Scarlet\nB. Lead Pipe\nC. 11:30 PM\nD. Mr. Green"


def completion(answer: str) -> str:
    return f"<think>A. Miss Peach</think><answer>{answer}</answer>"


def test_the_gold_lines_are_right() -> None:
    assert gold_lines(GOLD) == LINES
    for answer in (LINES, f"\n{LINES}\n"):
        given = grade(completion(answer), GOLD)
        assert given.strict and given.lenient


@pytest.mark.parametrize("letter", GOLD)
def test_one_wrong_field_makes_all_wrong(letter: str) -> None:
    given = grade(completion(gold_lines({**GOLD, letter: "Kitchen"})), GOLD)
    assert not given.strict and not given.lenient
    given = grade(completion(gold_lines({key: value for key, value in GOLD.items() if key != letter})), GOLD)
    assert not given.strict and not given.lenient


@pytest.mark.parametrize(
    "answer",
    [
        LINES.replace("Scarlet", "scarlet"), LINES.replace(". ", ".", 1),
        "A) Miss Scarlet\nB) Lead Pipe\nC) 11:30 PM\nD) Mr. Green",
        LINES + "\nE. Hall",
        "\n".join(reversed(LINES.split("\n"))), f"So:\n{LINES}", f"{LINES}\nThat is all.", f"**{LINES}**",
    ],
)  # fmt: skip
def test_what_is_leniently_right_only(answer: str) -> None:
    given = grade(completion(answer), GOLD)
    assert not given.strict and given.lenient


@pytest.mark.parametrize(
    "answer",
    [
        "", "\n".join(GOLD.values()), "A. Miss Scarlet or Miss Peach\n" + LINES[16:], LINES + "\nA. Miss Peach",
        "A. Miss Scarlet, Miss Peach\nB. Lead Pipe\nC. 11:30 PM\nD. Mr. Green", LINES.replace("PM", "AM"),
        "A. B. C. D.",
    ],
)  # fmt: skip
def test_what_is_not_even_leniently_right(answer: str) -> None:
    assert not grade(completion(answer), GOLD).lenient


def test_a_puzzle_without_fields_is_met_by_nothing() -> None:
    assert not strict("", {}) and not lenient("", {})


PIECES = ["A. ", "B. ", "C) ", "Miss Scarlet", "Lead Pipe", "11:30 PM", "Mr. Green", "\n", "*", " ", "D: ", "\ud800",
"<think>", "</think>"]  # fmt: skip
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=20).map("".join))


@given(text=texts, gold=st.dictionaries(st.sampled_from("ABCDEFG"), st.text(max_size=20), max_size=4))
def test_total_and_strict_implies_lenient(text: str, gold: dict[str, str]) -> None:
    for solution in (gold, GOLD):
        for found in (grade(text, solution), grade(completion(text), solution)):
            assert found.lenient or not found.strict


VALUES = st.sampled_from(["Miss Scarlet", "Hall", "11:30 PM", "Mr. Green", "Knife"])


@given(st.dictionaries(st.sampled_from("ABCDEFG"), VALUES, min_size=1))
def test_every_gold_answer_is_right(gold: dict[str, str]) -> None:
    given = grade(completion(gold_lines(gold)), gold)
    assert given.strict and given.lenient


@pytest.mark.parametrize("piece", [*PIECES, "A. a\n", "* "])
def test_the_stated_worst_case(piece: str) -> None:
    text = (piece * LONGEST)[:LONGEST]
    start = time.process_time()
    lenient(text, GOLD)
    assert time.process_time() - start < 0.5
