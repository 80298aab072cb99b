"""Does a task's grader hold? Gold answers must score, attacks must not, and constants must not pay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.tasks.task import SPLITS, Sample, Task, sample, score

QUESTIONS = 1000  # of each split


@dataclass(frozen=True)
class Validation:
    task: str
    gold_right: float  # share of gold answers graded right: must be 1
    attacks: int
    attacks_right: int  # must be 0
    best_constant: str  # the one answer that pays most,
    floor: float  # and how often it is right: what a policy earns without reading the question


def validate(task: Task) -> Validation:
    """Try every gold answer and every attack of some questions."""
    items = [sample(task, b"validate", split, i) for split in SPLITS for i in range(QUESTIONS)]
    attacks = [(item, attack) for item in items for attack in task.attacks(item)]
    constant = Counter(item.target for item in items).most_common(1)[0][0]

    def right(item: Sample, answer: str) -> bool:
        return score(task, item, f"<think></think><answer>{answer}</answer>").correct

    return Validation(
        task=task.name,
        gold_right=sum(right(item, item.target) for item in items) / len(items),
        attacks=len(attacks),
        attacks_right=sum(right(item, attack) for item, attack in attacks),
        best_constant=constant,
        floor=sum(right(item, constant) for item in items) / len(items),
    )
