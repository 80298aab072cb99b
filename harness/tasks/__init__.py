"""The task suites, by name."""

from __future__ import annotations

from harness.tasks.countdown import Countdown
from harness.tasks.josephus import Josephus
from harness.tasks.linear import Linear
from harness.tasks.nim import Nim
from harness.tasks.task import SPLITS, Sample, Score, Split, Task, sample, score, split_of

TASKS: dict[str, Task] = {task.name: task for task in (Countdown(), Linear(), Nim(), Josephus())}

__all__ = ["SPLITS", "TASKS", "Sample", "Score", "Split", "Task", "sample", "score", "split_of"]
