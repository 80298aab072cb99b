"""The result of grading, and the one answer format that counts.

strict    the completion is `<think>…</think><answer>…</answer>` and the answer is right in exactly the asked form
lenient   what common evaluation harnesses accept: the last number, a boxed expression, "the answer is (C)"

Strict results are the ones that count. Lenient ones are reported beside them, so that a reader sees how much of a gap
is format, and never gate: each rule that finds an answer in free text is a rule that can be played.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import NanoR1Error
from harness.frozen import format

LONGEST = 1_000_000  # characters of a completion; a longer one has no answer
LONGEST_BOX = 500
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


class GraderError(NanoR1Error):
    """There is no grade: the question is of no known form. Never the completion's fault."""


@dataclass(frozen=True)
class Grade:
    """What one completion earned. `strict` implies `lenient`; `answer` is None without the format.

    `why` says in a sentence why an answer is not right, where the grader can know: out of time, which test failed.
    """

    strict: bool
    lenient: bool
    answer: str | None
    why: str | None = None


def answer_of(completion: str, longest: int = 200) -> str | None:
    """The text between the answer tags, or None without the format. Total, linear in the length.

    The format of harness.frozen.format, for answers that need `<` (inequalities, programs) or more room: at most
    `longest` characters.
    """
    return None if len(completion) > LONGEST else format.answer_of(completion, longest, brackets=True)


def last_box(text: str) -> tuple[str, str, str] | None:
    """What stands before the last `\\boxed{…}` or `\\fbox{…}` of a text, in it, and behind it; None without any.

    Braces in it are paired; one that never ends reaches to the end of the text, and its content is no answer: ""
    """
    start, command = max((text.rfind(command), command) for command in ("\\boxed{", "\\fbox{"))
    if start < 0:
        return None
    inside, depth = start + len(command), 1
    for brace in _BRACE.finditer(text, inside, inside + LONGEST_BOX):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[:start], text[inside : brace.start()], text[brace.end() :]
    return text[:start], "", ""


def final_part(completion: str) -> str:
    """Where lenient rules look: behind the thought, inside the answer tags if there are any. Total, linear.

    A thought that never ends has no final part: numbers met on the way are no answer.
    """
    if len(completion) > LONGEST or completion.count("<think>") > completion.count("</think>"):
        return ""
    part = completion.rpartition("</think>")[2]
    return part.rpartition("<answer>")[2].partition("</answer>")[0]
