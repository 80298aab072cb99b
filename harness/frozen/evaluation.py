"""The gated evaluation: weights -> fresh questions -> graded completions -> counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.frozen.draw import Task, sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader


@dataclass(frozen=True)
class Counts:
    """Of one task's held-out questions. `truncated`: completions without an end token. `tokens`: of all completions."""

    questions: int
    correct: int
    formatted: int
    truncated: int
    tokens: int


@dataclass(frozen=True)
class Decoding:
    """How an engine decodes: the folder of the base model, the most tokens of a completion, sequences at a time."""

    folder: Path
    max_new_tokens: int
    batch: int


class Generate(Protocol):
    """An engine: the greedy completion of each prompt, end token included if it came. See harness/engines/."""

    def __call__(
        self,
        folder: Path,
        weights: bytes,
        prompts: list[list[int]],
        *,
        end_id: int,
        max_new_tokens: int,
        batch: int,
        on_progress: Callable[[int], None],
    ) -> list[list[int]]: ...


@dataclass(frozen=True)
class Evaluation:
    """`completions[i]` answers question i: token ids, end token included. `tasks`: counts by task."""

    completions: list[list[int]]
    tasks: dict[str, Counts]
    evaluate_ms: int


def questions(suites: Mapping[str, int], tasks: Mapping[str, Task], key: bytes) -> list[Sample]:
    """The held-out questions that `key` stands for, suite after suite. `suites`: how many of each task."""
    return [sample(tasks[name], key, "heldout", index) for name, count in suites.items() for index in range(count)]


def tally(
    suites: Mapping[str, int], grader: Grader, samples: Sequence[Sample], completions: Iterable[list[int]]
) -> dict[str, Counts]:
    """Grade every completion and count by task. The audit calls this too.

    Raises ValueError unless there is a completion for each question.
    """
    counts = {name: [0, 0, 0, 0, 0] for name in suites}
    completions = list(completions)
    for item, ids, graded in zip(samples, completions, grader.grade_all(samples, completions), strict=True):
        row = counts[item.task]
        row[0] += 1
        row[1] += graded.score.correct
        row[2] += graded.score.formatted
        row[3] += graded.truncated
        row[4] += len(ids)
    return {name: Counts(*row) for name, row in counts.items()}


def evaluate(
    generate: Generate,
    decoding: Decoding,
    grader: Grader,
    suites: Mapping[str, int],
    weights: bytes,
    key: bytes,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Answer the held-out questions of `key` greedily with these (checked) weights, and grade."""
    start = time.monotonic()
    samples = questions(suites, grader.tasks, key)
    completions = generate(
        decoding.folder,
        weights,
        [grader.prompt_ids(item) for item in samples],
        end_id=grader.end_id,
        max_new_tokens=decoding.max_new_tokens,
        batch=decoding.batch,
        on_progress=on_progress,
    )
    tasks = tally(suites, grader, samples, completions)
    return Evaluation(completions, tasks, round((time.monotonic() - start) * 1000))
