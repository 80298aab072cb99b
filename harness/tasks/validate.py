"""Does a task's grader hold? Gold answers must score, attacks must not, and constants must not pay.

The attacks are the task's own and those that all tasks share (attacks.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from harness.frozen.draw import SPLITS, Task, sample
from harness.frozen.format import Sample, score
from harness.tasks import GENERATED
from harness.tasks.attacks import common_attacks, tolerances

QUESTIONS = 1000  # of each split,
CPU_SECONDS = 60.0  # or as many as are drawn and tried in that time: some puzzles take a fifth of a second to draw,
LEAST = 50  # but so many at least
CONSTANTS = 5  # where several answers are right, the commonest gold one need not be the one that is right most often
FAULTS = 5
PROCESSES = 2


@dataclass(frozen=True)
class Validation:
    task: str
    questions: int  # both splits together
    gold_right: float  # share of gold answers graded right: must be 1
    attacks: int
    attacks_right: int  # must be 0; a grader that raises counts as one that accepts
    best_constant: str  # of the CONSTANTS commonest gold answers the one that pays most,
    floor: float  # and how often it is right: what a policy earns without reading the question
    tolerates: tuple[str, ...]  # what the task says it takes for the same answer, and so is no attack
    faults: tuple[str, ...]  # what did not hold, an example each: at most FAULTS

    @property
    def holds(self) -> bool:
        return self.gold_right == 1 and not self.attacks_right


def validate(task: Task, *, questions: int = QUESTIONS, cpu_seconds: float = CPU_SECONDS) -> Validation:
    """Try every gold answer and every attack of some questions of each split."""
    items, gold_right, attacks, attacks_right = list[Sample](), 0, 0, 0
    faults = dict[str, str]()  # by kind
    end = time.process_time() + cpu_seconds
    for index in range(questions):
        if index >= LEAST and time.process_time() > end:
            break
        for split in SPLITS:
            item = sample(task, b"validate", split, index)
            items.append(item)
            if is_right(task, item, item.target) is True:
                gold_right += 1
            else:
                faults.setdefault("gold", f"refuses the gold answer {item.target!r} of {item.id}")
            for kind, attack in (*(("its own", attack) for attack in task.attacks(item)), *common_attacks(task, item)):
                attacks += 1
                verdict = is_right(task, item, attack)
                if verdict is not False:
                    attacks_right += 1
                    found = "accepts" if verdict is True else f"raises {verdict} on"
                    faults.setdefault(kind, f"{found} {attack!r} where {item.target!r} is right ({kind})")

    def right(item: Sample, answer: str) -> bool:
        return is_right(task, item, answer) is True

    commonest = Counter(item.target for item in items).most_common(CONSTANTS)
    floor, constant = max((sum(right(item, target) for item in items) / len(items), target) for target, _ in commonest)
    return Validation(
        task=task.name,
        questions=len(items),
        gold_right=gold_right / len(items),
        attacks=attacks,
        attacks_right=attacks_right,
        best_constant=constant,
        floor=floor,
        tolerates=tuple(sorted(tolerances(task))),
        faults=tuple(faults.values())[:FAULTS],
    )


def is_right(task: Task, item: Sample, answer: str) -> bool | str:
    """Does the grader accept it? The error's name if it raises, which no grader may."""
    try:
        return score(task, item, f"<think></think><answer>{answer}</answer>").correct
    except Exception as error:
        return type(error).__name__


def validate_all(names: Sequence[str]) -> Iterator[Validation]:
    """Registered tasks by name, in that order, each handed out as soon as it and those before it are done."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        yield from pool.map(_validate_named, names)


def _validate_named(name: str) -> Validation:
    return validate(GENERATED[name])
