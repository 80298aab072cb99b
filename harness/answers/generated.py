"""Questions of a generated task, which asks for the form in its prompt and grades its own answers."""

from __future__ import annotations

from typing import ClassVar

from harness.answers.grade import Grade
from harness.answers.kind import Kind
from harness.frozen.draw import Task
from harness.frozen.format import Sample, score


class Generated(Kind):
    """Strict is what counts in training and for a gate: harness.frozen.format.score."""

    name: ClassVar[str] = "task"

    def __init__(self, task: Task) -> None:
        self.task = task

    def ask(self, sample: Sample) -> str:
        return ""

    def strict(self, sample: Sample, answer: str) -> bool:
        return self.task.accepts(sample, answer)

    def attacks(self, sample: Sample) -> list[str]:
        return self.task.attacks(sample)

    def grade(self, sample: Sample, completion: str) -> Grade:
        result = score(self.task, sample, completion)
        return Grade(result.correct, result.correct or self.lenient(sample, completion), result.answer)
