"""Temporal Clue: a puzzle asks for several fields, and all of them must be right.

    A. Miss Scarlet
    B. Lead Pipe
    C. 11:30 PM

Strict: these lines, every letter once and in order, each value as the puzzle spells it, nothing else. The original
grader (bradhilton/temporal-clue) gives the share of right fields; guessing the two bonus rooms then pays in every
puzzle, so here a puzzle is right or wrong.

Lenient: for each letter the last line that begins with it, in any order and with anything around, case and bold marks
aside. All fields must still be right.

Worst case: linear in the completion, under 0.5 s for a million characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.answers.grade import Grade, answer_of, final_part

LONGEST_ANSWER = 2000
_LINE = re.compile(r"^[ \t*_#>-]{0,10}([A-Z])[.):][ \t*_]{0,10}([^\n]{1,100})$", re.MULTILINE)


def gold_lines(gold: Mapping[str, str]) -> str:
    """The one text that is right."""
    return "\n".join(f"{letter}. {value}" for letter, value in gold.items())


def strict(answer: str, gold: Mapping[str, str]) -> bool:
    return bool(gold) and answer.strip("\n") == gold_lines(gold)


def lenient(completion: str, gold: Mapping[str, str]) -> bool:
    said = dict(_LINE.findall(final_part(completion)))
    return bool(gold) and all(_plain(said.get(letter, "")) == _plain(value) for letter, value in gold.items())


def grade(completion: str, gold: Mapping[str, str]) -> Grade:
    """`gold` maps A, B, C, … to values, in the order the puzzle asks."""
    answer = answer_of(completion, LONGEST_ANSWER)
    right = answer is not None and strict(answer, gold)
    return Grade(strict=right, lenient=right or lenient(completion, gold), answer=answer)


def _plain(value: str) -> str:
    return " ".join(value.strip(" *_.\t\r").casefold().split())
