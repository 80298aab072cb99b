"""A question, a completion and what it earned: the one answer format, and what an integer is.

Vocabulary from openai/simple-evals and inspect_ai.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.frozen.draw import Task

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_COMPLETION = re.compile(r"<think>(.*)</think>\s?<answer>(.*)</answer>", re.ASCII | re.DOTALL)
_INTEGER = re.compile(r"-?[1-9][0-9]*|0", re.ASCII)


@dataclass(frozen=True)
class Sample:
    """One question. `target` is a gold answer in the form the grader accepts; `id` begins with the task's name."""

    id: str
    prompt: str
    target: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return self.id.partition("/")[0]


@dataclass(frozen=True)
class Score:
    """What one completion earned. `correct` implies `formatted`; `answer` is None without format."""

    correct: bool
    formatted: bool
    answer: str | None


def answer_of(completion: str, longest: int = 200, *, brackets: bool = False) -> str | None:
    """The text between the answer tags, spaces around it left out; None without the format. Total, linear.

    The completion is the two blocks, with one white space between them at most, and nothing else: each of the four tags
    stands once, and neither block has a `<` or `>`, so that nested, repeated or unclosed tags leave nothing to argue
    about. `brackets`: blocks may have them, for answers that need them (inequalities, programs).
    """
    if any(completion.count(tag) != 1 for tag in _TAGS):  # first: so the pattern has one way to match
        return None
    blocks = _COMPLETION.fullmatch(completion)
    if blocks is None or len(blocks[2]) > longest:
        return None
    if not brackets and any(sign in block for block in blocks.groups() for sign in "<>"):
        return None
    return blocks[2].strip(" ")


def score(task: Task, sample: Sample, completion: str) -> Score:
    """Grade one completion. Total."""
    answer = answer_of(completion)
    if answer is None:
        return Score(correct=False, formatted=False, answer=None)
    return Score(correct=task.accepts(sample, answer), formatted=True, answer=answer)


def is_integer(answer: str, target: str) -> bool:
    """ASCII digits, canonical form, exact match: `07`, `+7`, `7.0`, `-0` and `٧` are not `7`.

    Compared as text, so no number is too large.
    """
    return answer == target and _INTEGER.fullmatch(answer) is not None
