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
from typing import ClassVar

from harness.answers.grade import final_part
from harness.answers.kind import Kind, required
from harness.frozen.format import Sample

_LINE = re.compile(r"^[ \t*_#>-]{0,10}([A-Z])[.):][ \t*_]{0,10}([^\n]{1,100})$", re.MULTILINE)


def gold_lines(gold: Mapping[str, str]) -> str:
    """The one text that is right."""
    return "\n".join(f"{letter}. {value}" for letter, value in gold.items())


class Clue(Kind):
    """`metadata`: solution, {letter: value} in the order the puzzle asks; `target`: the lines that are right."""

    name: ClassVar[str] = "clue"
    longest: ClassVar[int] = 2000

    def ask(self, sample: Sample) -> str:
        return "The answer has a line for each question: its letter, a full stop, a space, and the name."

    def strict(self, sample: Sample, answer: str) -> bool:
        solution = required(sample, "solution")
        return bool(solution) and answer.strip("\n") == gold_lines(solution)

    def lenient(self, sample: Sample, completion: str) -> bool:
        solution, fields = required(sample, "solution"), dict(_LINE.findall(final_part(completion)))
        return bool(solution) and all(_plain(fields.get(key, "")) == _plain(value) for key, value in solution.items())

    def attacks(self, sample: Sample) -> list[str]:
        gold = sample.target
        lines = gold.splitlines()
        return ["", "A", "?", lines[0], "\n".join(lines[1:]), f"{gold}\n{lines[0]}", "A. or B.", sample.prompt[:200]]


def _plain(value: str) -> str:
    return " ".join(value.strip(" *_.\t\r").casefold().split())
