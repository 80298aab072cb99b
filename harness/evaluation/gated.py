"""A track's held-out questions put to weights, by the frozen room's rules, with counts as a record has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import import_module

from harness.frozen import evaluation
from harness.frozen.evaluation import Counts, Generate
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.ledger.record import TaskResult
from harness.tasks import TASKS
from harness.tracks import rules
from harness.tracks.track import Track


@dataclass(frozen=True)
class Evaluation:
    """`completions[i]` answers `questions(track, key)[i]`: token ids, end token included."""

    completions: list[list[int]]
    tasks: dict[str, TaskResult]
    evaluate_ms: int


def engine(track: Track) -> Generate:
    """The track's engine; see harness/engines/."""
    generate: Generate = import_module(f"harness.engines.{track.sampling.engine}").generate
    return generate


def questions(track: Track, key: bytes) -> list[Sample]:
    """The held-out questions that `key` stands for, suite after suite."""
    return evaluation.questions(rules.suites(track), TASKS, key)


def tally(
    track: Track, grader: Grader, samples: list[Sample], completions: Iterable[list[int]]
) -> dict[str, TaskResult]:
    """Grade every completion with the track's grader and count by task."""
    return _results(evaluation.tally(rules.suites(track), grader, samples, completions))


def evaluate(
    track: Track, weights: bytes, key: bytes, on_progress: Callable[[int], None] = lambda done: None
) -> Evaluation:
    """Answer the held-out questions of `key` greedily with these (checked) weights, on the track's engine."""
    done = evaluation.evaluate(
        engine(track), rules.decoding(track), rules.grader(track), rules.suites(track), weights, key, on_progress
    )
    return Evaluation(done.completions, _results(done.tasks), done.evaluate_ms)


def _results(tasks: dict[str, Counts]) -> dict[str, TaskResult]:
    return {name: TaskResult(**asdict(counts)) for name, counts in tasks.items()}
