"""The training sets of harness.benchmarks as tasks, so that `[train] tasks` of a track can name them.

Prompts go out and answers stay, as with generated questions: the environment draws them, with replacement, and grades
in the track's own form. All of them: nothing is held out of a published set, and nothing gates on it, since everyone
may know it by heart.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.answers.choice import Choice
from harness.answers.integer import Integer
from harness.answers.kind import Kind
from harness.answers.latex import Latex
from harness.benchmarks import BENCHMARKS, TRAINING_SETS
from harness.benchmarks.pinned import SourceError
from harness.benchmarks.question import Question, stream
from harness.errors import NanoR1Error
from harness.frozen.draw import Stream
from harness.frozen.format import Sample
from harness.tasks import TASKS

WIDEST = 1 << 16  # what Stream.integer can tell apart
# What rewards an answer, by the grader that a question names. Mathematics by normal form: math-verify, which grades the
# benchmarks, may take seconds for one answer, and here the clock runs and a hostile trainer waits.
REWARDS: dict[str, Kind] = {"integer": Integer(), "choice": Choice(), "maths": Latex()}


class TrainingSetError(NanoR1Error):
    """A training set that cannot be used here; the message says why and what to do."""


class TrainingSet:
    """One of TRAINING_SETS as a task."""

    published = True  # so none of its questions is held out

    def __init__(self, name: str) -> None:
        self.name = name
        self.distinct = BENCHMARKS[name].source.rows or 0  # at most: some rows no grader can decide

    @property
    def modules(self) -> list[str]:
        """What decides its questions and is imported by no statement here: for the digest of a track."""
        return [BENCHMARKS[self.name].convert.__module__]

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        """Raises SourceError where the data cannot be had."""
        rows = questions(self.name)
        low = min(len(rows), WIDEST)
        index = len(rows)
        while index >= len(rows):
            index = stream.integer(0, (len(rows) - 1) // low) * low + stream.integer(0, low - 1)
        row = rows[index]
        return REWARDS[row.grader].question(row), row.target, {"id": row.id, "grader": row.grader, **row.metadata}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return REWARDS[sample.metadata["grader"]].strict(sample, answer)

    def attacks(self, sample: Sample) -> list[str]:
        return REWARDS[sample.metadata["grader"]].attacks(sample)


def register(name: str) -> None:
    """From here on the training set is a task, found in harness.tasks.TASKS: a track that trains on it was read."""
    if name not in TRAINING_SETS:
        raise TrainingSetError(f"{name} is no training set; there are {', '.join(TRAINING_SETS)}")
    TASKS.setdefault(name, TrainingSet(name))


@cache
def questions(name: str) -> list[Question]:
    """Downloaded and checked once a process; rows that no grader can decide are left out. Raises SourceError."""
    return [row for row in stream(BENCHMARKS[name]) if isinstance(row, Question)]


def ready(name: str) -> int:
    """How many questions there are. Raises TrainingSetError if they cannot be had here, or none can be handed out."""
    try:
        rows = questions(name)
    except SourceError as error:
        raise TrainingSetError(str(error)) from None
    if not rows:
        raise TrainingSetError(f"{name} has no question to hand out: all its rows are left out")
    return len(rows)
