"""Weights + fresh questions -> graded completions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from harness.environment import Grader
from harness.ledger.record import TaskResult
from harness.tasks import TASKS, Sample, sample
from harness.tracks.track import Track


@dataclass(frozen=True)
class Evaluation:
    """`completions[i]` answers `questions(track, key)[i]`: token ids, end token included."""

    completions: list[list[int]]
    tasks: dict[str, TaskResult]
    evaluate_ms: int


def questions(track: Track, key: bytes) -> list[Sample]:
    """The held-out questions that `key` stands for, suite after suite."""
    return [
        sample(TASKS[suite.task], key, "heldout", i) for suite in track.heldout.suites for i in range(suite.questions)
    ]


def tally(
    track: Track, grader: Grader, samples: list[Sample], completions: Iterable[list[int]]
) -> dict[str, TaskResult]:
    """Grade every completion with the track's grader and count by task. The audit calls this too."""
    counts = {suite.task: [0, 0, 0, 0, 0] for suite in track.heldout.suites}
    completions = list(completions)
    for item, ids, graded in zip(samples, completions, grader.grade_all(samples, completions), strict=True):
        row = counts[item.id.partition("/")[0]]
        row[0] += 1
        row[1] += graded.score.correct
        row[2] += graded.score.formatted
        row[3] += graded.truncated
        row[4] += len(ids)
    return {
        task: TaskResult(questions=q, correct=c, formatted=f, truncated=t, tokens=n)
        for task, (q, c, f, t, n) in counts.items()
    }


def evaluate(
    track: Track, weights: bytes, key: bytes, on_progress: Callable[[int], None] = lambda done: None
) -> Evaluation:
    """Answer the held-out questions of `key` greedily with these (checked) weights, on the track's engine."""
    generate = import_module(f"harness.engines.{track.sampling.engine}").generate
    start = time.monotonic()
    grader = Grader(track)
    samples = questions(track, key)
    completions = generate(
        track.base_folder,
        weights,
        [grader.prompt_ids(item) for item in samples],
        end_id=grader.end_id,
        max_new_tokens=track.sampling.max_new_tokens,
        batch=track.sampling.batch,
        on_progress=on_progress,
    )
    tasks = tally(track, grader, samples, completions)
    return Evaluation(completions, tasks, round((time.monotonic() - start) * 1000))
