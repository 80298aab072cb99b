"""Integers by exact match: GSM8K, AIME, AIW.

Strict: the canonical form and nothing else, `-12`, `0`, `1234`. `1,234`, `+7`, `07`, `7.0`, `-0` and `٧` are not
canonical; the form is asked for and costs nothing to meet. Numbers are compared as text, so no number is too large.

Lenient: the number in the last `\\boxed{}`, else behind the last `####` or "answer" that has one, else the last number,
with `$`, thousands commas, a sign and `.00` read as people do (the `flexible-extract` of lm-evaluation-harness without
its known faults: docs/grader-bugs.md).

Worst case: linear in the completion, under 0.5 s for a million characters.
"""

from __future__ import annotations

import re
from typing import ClassVar

from harness.answers.grade import final_part
from harness.answers.kind import Kind
from harness.tasks.task import Sample, integer_attacks

_CANONICAL = re.compile(r"-?[1-9][0-9]*|0", re.ASCII)
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+|-?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"(?<!\w)(?<!\d\.)[-−]?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?", re.ASCII)
_BOX = re.compile(r"\\boxed\{([^{}]{0,200})\}")
_MARK = re.compile(r"####|\banswer\b", re.IGNORECASE)
_CHOICE = re.compile(r"\bor\b", re.IGNORECASE)


def gold_of(solution: str) -> str:
    """The canonical integer behind the last `####` of a GSM8K solution. Raises ValueError where there is none."""
    text = solution.rpartition("####")[2].strip()
    if "####" not in solution or not _GROUPED.fullmatch(text):
        raise ValueError(f"no integer behind '####' at the end of this solution: {solution[-60:]!r}")
    return _plain(text)


class Integer(Kind):
    """`target`: canonical digits (see gold_of); one that is not is met by no answer."""

    name: ClassVar[str] = "integer"

    def ask(self, sample: Sample) -> str:
        return "The answer is an integer in digits."

    def strict(self, sample: Sample, answer: str) -> bool:
        return answer == sample.target and _CANONICAL.fullmatch(answer) is not None

    def lenient(self, sample: Sample, completion: str) -> bool:
        number = _stated(final_part(completion))
        return number is not None and self.strict(sample, _plain(number))

    def attacks(self, sample: Sample) -> list[str]:
        return integer_attacks(sample)


def _stated(text: str) -> str | None:
    """The number that a text gives as its answer."""
    boxes = _BOX.findall(text)
    if boxes:
        lines = boxes[-1:]
    else:
        marks = [mark.end() for mark in _MARK.finditer(text)][-50:]
        lines = [line for end in reversed(marks) for line in text[end : end + 200].splitlines()]
    stated = next((line for line in lines if _NUMBER.search(line)), None)
    if stated is not None:
        # Behind the last `=` of the line that states it: "Answer: m+n = 256+37 = 293". A choice of two is no answer.
        numbers = [] if _CHOICE.search(stated) else _NUMBER.findall(stated.rpartition("=")[2])[:1]
    else:
        numbers = [] if boxes else _NUMBER.findall(text)[-1:]
    return numbers[0] if numbers else None


def _plain(number: str) -> str:
    """`$1,234.00` is 1234, `−5` is -5, `007` is 7; a fraction that is not zero stays."""
    sign = "-" if number[0] in "-−" else ""
    whole, _, part = number.lstrip("-−$").replace(",", "").partition(".")
    whole = whole.lstrip("0") or "0"
    if part.strip("0"):
        return f"{sign}{whole}.{part}"
    return f"{sign}{whole}" if whole != "0" else "0"
