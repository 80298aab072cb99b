"""What the tests of answers share: the kinds of answers asked with plain values, and what a machine must have."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.answers import exam
from harness.answers.code import INSTALL, Cases, Code, Problem
from harness.answers.grade import Grade
from harness.answers.kind import Kind
from harness.evaluation import programs
from harness.evaluation.questions import KINDS
from harness.frozen.format import Sample

needs_compiler = pytest.mark.skipif(not Path(exam.COMPILER[0]).exists(), reason=f"no {exam.COMPILER[0]}: {INSTALL}")
needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed: scripts/setup.sh tasks"
)


def completion(answer: str, thought: str = "so") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


class Asked:
    """A kind and how a question of it follows from what a test varies."""

    def __init__(self, kind: Kind, question: Callable[..., Sample]) -> None:
        self.kind, self.question = kind, question

    def strict(self, answer: str, *about: Any) -> bool:
        return self.kind.strict(self.question(*about), answer)

    def lenient(self, text: str, *about: Any) -> bool:
        return self.kind.lenient(self.question(*about), text)

    def grade(self, text: str, *about: Any) -> Grade:
        return self.kind.grade(self.question(*about), text)


def _program(problem: Problem | Cases) -> Sample:
    if isinstance(problem, Problem):
        facts = {"stub": problem.prompt, "entry_point": problem.entry_point, "test": problem.tests}
        return Sample("q", "", "", {"form": "function", **facts})
    tests = [{"input": given, "output": expected} for given, expected in problem.cases]
    facts: dict[str, Any] = {"tests": tests, "time_limit_seconds": problem.seconds}
    if not problem.source:
        return Sample("q", "", "", {"form": "stdin", "memory_limit_mb": problem.megabytes, **facts})
    limit = int(problem.megabytes * (1 << 20))
    files = {"problem": problem.source.removesuffix(".cpp"), "files": dict(problem.files)}
    return Sample("q", "", "", {"form": "ioi", "memory_limit_bytes": limit, **facts, **files})


integer = Asked(KINDS["integer"], lambda gold: Sample("q", "", gold))
choice = Asked(KINDS["choice"], lambda gold, options: Sample("q", "", gold, {"options": ["?"] * options}))
clue = Asked(KINDS["clue"], lambda solution: Sample("q", "", "", {"solution": solution}))
maths = Asked(KINDS["maths"], lambda gold, problem="": Sample("q", problem, gold))
runs = Code(programs.run)
code = Asked(runs, _program)
failure, fault = runs.failure, runs.fault
