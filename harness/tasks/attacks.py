"""Attacks that every task is tried with, whatever its own list has: what the graders of other projects gave points for.

A task's author knows the mistakes that the task invites, and may forget those that all graders share: comparing the
beginning of an answer, looking for the right one anywhere in it, forgetting case, reading digits of other alphabets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, get_args

from harness.errors import NanoR1Error
from harness.frozen.draw import Task
from harness.frozen.format import Sample

# What a grader may take for the same answer, if its task says so in `tolerates`. Nothing else can be tolerated.
Tolerance = Literal["another case", "parentheses"]


class TaskError(NanoR1Error):
    """A task that says of itself what no task may."""


def tolerances(task: Task) -> frozenset[str]:
    """What the task's grader takes for the same answer. Raises TaskError."""
    declared: frozenset[str] = frozenset(getattr(task, "tolerates", ()))
    if unknown := sorted(declared - {*get_args(Tolerance)}):
        known = " and ".join(map(repr, get_args(Tolerance)))
        raise TaskError(f"{task.name} tolerates {unknown[0]!r}; all that a task may tolerate is {known}")
    return declared


def integer_attacks(sample: Sample) -> list[str]:
    """What graders of integer answers elsewhere have accepted."""
    target = sample.target
    wrong = str(int(target) + 1)
    arabic = target.translate({ord("0") + d: 0x660 + d for d in range(10)})
    return [
        "", " ", wrong, f"-{target}" if target != "0" else "-0", f"0{target}", f"+{target}",
        f"{target}.0", f"{target}e0", f"{target} or {wrong}", f"{wrong},{target}", f"I guess {target}",
        f"{target}={target}", f"\\boxed{{{target}}}", arabic, f"{target}\u200b", f"{target}\n",
        "9" * 100, "1" + "0" * 150, "9**9**9**9", "int('" + target + "')", sample.prompt[:200],
        " ".join(str(i) for i in range(60)), "None", "nan", "inf", "\x00",
    ]  # fmt: skip


def common_attacks(task: Task, sample: Sample) -> Iterator[tuple[str, str]]:
    """(kind of attack, answer that must score 0), but none that the task tolerates or that is the gold answer."""
    tolerated = tolerances(task)
    for kind, answers in _by_kind(sample.target).items():
        for answer in answers:
            if kind in tolerated or answer.strip(" ") == sample.target or _is_shorter(answer, sample.target):
                continue
            yield kind, answer
    yield "the question", sample.prompt[:200]


def _is_shorter(answer: str, gold: str) -> bool:
    """Is it the same decimal with a zero less behind the point? No wrong answer, though a task may refuse it."""
    return "." in answer and _DECIMAL.fullmatch(gold) is not None and answer == gold[:-1] and gold[-1] == "0"


_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")


def _by_kind(gold: str) -> dict[str, list[str]]:
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in gold)
    return {
        "junk behind": [
            f"{gold}x", f"{gold} x", f"{gold}?", f"{gold};", f"{gold}.", f"{gold} or so", f"{gold}, maybe",
            f"{gold}#", f"{gold}\nx", f"{gold}\n", f"{gold}\x00", f"{gold}\u200b",
        ],
        "junk before": [
            f"x{gold}", f"x {gold}", f"not {gold}", f"answer: {gold}", f"the answer is {gold}", f"x\n{gold}",
            f"\n{gold}", f"\u00a0{gold}",
        ],
        "repeated": [
            gold + gold, f"{gold} {gold}", f"{gold}, {gold}", f"{gold}\n{gold}", f"{gold} or {gold}",
            f"{gold} = {gold}",
        ],
        "another case": [gold.upper(), gold.lower(), gold.swapcase(), gold.title()],
        "a part": ["", gold[:-1], gold[1:], gold[:1], gold[-1:], gold[: len(gold) // 2]],
        "parentheses": [f"({gold})"],
        "surrounded": [
            f"[{gold}]", f"{{{gold}}}", f'"{gold}"', f"'{gold}'", f"`{gold}`", f"**{gold}**", f"_{gold}_", f"${gold}$",
            f"\\boxed{{{gold}}}",
        ],
        "another alphabet": [wide],
    }  # fmt: skip
