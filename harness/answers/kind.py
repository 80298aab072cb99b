"""A kind of answer: how the form is asked for, how an answer is graded, and answers that must score 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from harness.answers.grade import Grade, GraderError, answer_of, final_part
from harness.frozen.format import Sample


class Kind(ABC):
    """One instance grades all questions of its kind. Total for completions, whatever they are.

    Raises GraderError for a question that is none of its kind; where a machine cannot grade at all, PoolError without
    math-verify and the program runner's error without a sandbox.
    """

    name: ClassVar[str]
    longest: ClassVar[int] = 200  # characters between the tags of an answer

    @abstractmethod
    def ask(self, sample: Sample) -> str:
        """The sentence below a question that says what an answer looks like; empty where the question says so."""

    @abstractmethod
    def strict(self, sample: Sample, answer: str) -> bool:
        """Is what stood between the tags right, in exactly the form that was asked for?"""

    @abstractmethod
    def attacks(self, sample: Sample) -> list[str]:
        """Answers that must score 0: what graders elsewhere have given points for. Each stands between the tags."""

    def lenient(self, sample: Sample, completion: str) -> bool:
        """Would a common evaluation harness accept it? Here: is it right but for the tags and white space?"""
        answer = final_part(completion).strip()
        return len(answer) <= self.longest and self.strict(sample, answer)

    def grade(self, sample: Sample, completion: str) -> Grade:
        answer = answer_of(completion, self.longest)
        right = answer is not None and self.strict(sample, answer)
        return Grade(strict=right, lenient=right or self.lenient(sample, completion), answer=answer)

    def refusal(self, sample: Sample) -> str | None:
        """Why no machine can grade any answer to this question; None if one can. The same words for the same reason."""
        return None

    def question(self, sample: Sample) -> str:
        """The question with the form of its answer. A track's chat template says where the answer goes."""
        return f"{sample.prompt}\n\n{self.ask(sample)}".rstrip()


def required(sample: Sample, key: str) -> Any:
    """What a question's metadata must have. Raises GraderError."""
    if key not in sample.metadata:
        raise GraderError(f"this question cannot be graded: its metadata has no {key!r}")
    return sample.metadata[key]
