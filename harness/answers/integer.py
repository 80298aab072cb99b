"""Integers by exact match: GSM8K, AIME, AIW.

Strict: the canonical form and nothing else, `-12`, `0`, `1234` (harness.frozen.format.is_integer). The form is asked
for and costs nothing to meet.

Lenient: the number in the last `\\boxed{}`, else behind the last `####` or "answer" that has one, else the last number,
with `$`, thousands commas, a sign, a unit and `.00` read as people do; a box that holds two numbers, a fraction or a
power, or that never ends, states none (the `flexible-extract` of lm-evaluation-harness without its known faults:
docs/grader-bugs.md).

Worst case: linear in the completion, under 0.5 s for a million characters.
"""

from __future__ import annotations

import re
import string
from typing import ClassVar

from harness.answers.grade import LONGEST_BOX, final_part, last_box
from harness.answers.kind import Kind
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks

_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+|-?[0-9]+", re.ASCII)
_NUMBER = re.compile(
    r"(?<!\w)(?<!\d\.)[-−]?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"(?P<more>(?: [0-9]{1,9})?\s?/\s?[0-9]|\s?\^\s?\{?-?[0-9]*)?|(?P<fraction>\\[dtc]?frac.{0,40})",
    re.ASCII,
)
LONGEST_NUMBER = 10_000  # characters of one that is found only as the last of a text
_SPACES = re.compile(r"\\[,;:! ]|~")
_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z])\s*\^\s*(?:[0-9]|\{-?[0-9]\})|\^\s*(?:\\circ|\{\s*\\circ\s*\})")
_MARK = re.compile(r"####|\banswer\b", re.IGNORECASE)
_CHOICE = re.compile(r"\bor\b", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s$.*(]*(?:or|and|,|;|/|\||\\text\{\s*(?:or|and)\s*\})?[\s$*(]*", re.IGNORECASE)


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
        return is_integer(answer, sample.target)

    def lenient(self, sample: Sample, completion: str) -> bool:
        number = _stated(final_part(completion))
        return number is not None and self.strict(sample, _plain(number))

    def attacks(self, sample: Sample) -> list[str]:
        return integer_attacks(sample)


def _stated(text: str) -> str | None:
    """The number that a text gives as its answer."""
    if box := last_box(text):
        before, inside, _ = box
        another = last_box(before[-LONGEST_BOX:])
        if another and another[1] != inside and _BETWEEN.fullmatch(another[2]):  # \\boxed{17} or \\boxed{18}
            return None
        return _boxed(inside)
    marks = [mark.end() for mark in _MARK.finditer(text)][-50:]
    lines = [line for end in reversed(marks) for line in text[end : end + 200].splitlines()]
    stated = next((line for line in lines if _NUMBER.search(line)), None)
    if stated is None:
        last = max(map(text.rfind, string.digits))
        numbers = list(_NUMBER.finditer(text, max(0, last - LONGEST_NUMBER)))[-1:]
    else:
        # Behind the last `=` of the line that states it: "Answer: m+n = 256+37 = 293". A choice of two is no answer.
        numbers = [] if _CHOICE.search(stated) else list(_NUMBER.finditer(stated.rpartition("=")[2]))[:1]
    return _whole(numbers[0]) if numbers else None


def _boxed(inside: str) -> str | None:
    """The one number in a box, with words around it: not `\\frac34`, not `12, 18`, not `3/4`."""
    inside = (
        _WORDS.sub(_unit_or_number, _SPACES.sub("", inside.replace("{,}", ","))).replace("\\$", "$").replace("\\%", "%")
    )
    value = _POWER_OF_UNIT.sub("", inside).rpartition("=")[2]
    numbers = list(_NUMBER.finditer(value))
    if len(numbers) != 1 or re.search(r"[\\^_{}/|;+*!]", value.replace(numbers[0][0], "", 1)):
        return None
    return _whole(numbers[0])


def _unit_or_number(words: re.Match[str]) -> str:
    """A text without digits is a unit, and may be written with any signs: m/s."""
    return f" {words[1]} " if re.search(r"[0-9]", words[1]) else " u "


def _whole(found: re.Match[str]) -> str | None:
    """None where the number is a part of a fraction or of a power."""
    return None if found["more"] or found["fraction"] else found[0]


def _plain(number: str) -> str:
    """`$1,234.00` is 1234, `−5` is -5, `007` is 7; a fraction that is not zero stays."""
    sign = "-" if number[0] in "-−" else ""
    whole, _, part = number.lstrip("-−$").replace(",", "").partition(".")
    whole = whole.lstrip("0") or "0"
    if part.strip("0"):
        return f"{sign}{whole}.{part}"
    return f"{sign}{whole}" if whole != "0" else "0"
