"""The training sets of harness.benchmarks as tasks, so that `[train] tasks` of a track can name them.

Prompts go out and answers stay, as with generated questions: the environment draws them, with replacement, and grades
in the track's own form. One question in four lies on the held-out side by its text (harness.tasks.split_of) and is
never handed out; nor does anything gate on it: everyone may know it by heart.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.answers.attacks import attacks
from harness.answers.choice import strict as is_letter
from harness.answers.forms import asked
from harness.answers.latex import strict as is_latex
from harness.benchmarks import BENCHMARKS
from harness.benchmarks.pinned import SourceError
from harness.benchmarks.question import Question, stream
from harness.errors import NanoR1Error
from harness.tasks.task import Sample, Stream, is_integer, split_of

NAMES = [name for name, benchmark in BENCHMARKS.items() if benchmark.role == "training"]
WIDEST = 1 << 16  # what Stream.integer can tell apart


class TrainingSetError(NanoR1Error):
    """A training set that cannot be used here; the message says why and what to do."""


class TrainingSet:
    """One of NAMES as a task."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.distinct = BENCHMARKS[name].source.rows or 0  # at most: some rows no grader can decide

    @property
    def modules(self) -> list[str]:
        """What decides its questions and is imported by no statement here: for the digest of a track."""
        return [BENCHMARKS[self.name].convert.__module__]

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        """Raises SourceError where the data cannot be had."""
        known = questions(self.name)
        low = min(len(known), WIDEST)
        index = len(known)
        while index >= len(known):
            index = stream.integer(0, (len(known) - 1) // low) * low + stream.integer(0, low - 1)
        one = known[index]
        metadata = {"id": one.id, "grader": one.grader, **one.metadata}
        return asked(one, one.grader), one.target, metadata

    def accepts(self, sample: Sample, answer: str) -> bool:
        match sample.metadata["grader"]:
            case "integer":
                return is_integer(answer, sample.target)
            case "choice":
                return is_letter(answer, sample.target, 26)
            case _:
                return is_latex(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return attacks(sample.metadata["grader"], sample)


@cache
def questions(name: str) -> list[Question]:
    """Brought and checked once a process; rows that no grader can decide are left out. Raises SourceError."""
    return [item for item in stream(BENCHMARKS[name]) if isinstance(item, Question)]


def ready(name: str) -> int:
    """How many questions there are. Raises TrainingSetError if they cannot be had here, or none can be handed out."""
    try:
        known = questions(name)
    except SourceError as error:
        raise TrainingSetError(str(error)) from None
    if not any(split_of(name, asked(one, one.grader)) == "train" for one in known):
        raise TrainingSetError(f"{name} has no question to hand out: all its rows are left out")
    return len(known)
