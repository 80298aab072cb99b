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

from harness.answers.grade import Grade, answer_of, final_part

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


def strict(answer: str, gold: str) -> bool:
    return answer == gold and _CANONICAL.fullmatch(answer) is not None


def lenient(completion: str, gold: str) -> bool:
    text = final_part(completion)
    if boxes := _BOX.findall(text):
        lines = boxes[-1:]
    else:
        marks = [mark.end() for mark in _MARK.finditer(text)][-50:]
        lines = [line for end in reversed(marks) for line in text[end : end + 200].splitlines()]
    stated = next((line for line in lines if _NUMBER.search(line)), None)
    if stated is not None:
        # Behind the last `=` of the line that states it: "Answer: m+n = 256+37 = 293". A choice of two is no answer.
        found = [] if _CHOICE.search(stated) else _NUMBER.findall(stated.rpartition("=")[2])[:1]
    else:
        found = [] if boxes else _NUMBER.findall(text)[-1:]
    return bool(found) and strict(_plain(found[0]), gold)


def grade(completion: str, gold: str) -> Grade:
    """`gold` is canonical (see gold_of); one that is not is met by no answer."""
    answer = answer_of(completion)
    right = answer is not None and strict(answer, gold)
    return Grade(strict=right, lenient=right or lenient(completion, gold), answer=answer)


def _plain(number: str) -> str:
    """`$1,234.00` is 1234, `−5` is -5, `007` is 7; a fraction that is not zero stays."""
    sign = "-" if number[0] in "-−" else ""
    whole, _, part = number.lstrip("-−$").replace(",", "").partition(".")
    whole = whole.lstrip("0") or "0"
    if part.strip("0"):
        return f"{sign}{whole}.{part}"
    return f"{sign}{whole}" if whole != "0" else "0"
