"""The grader of a question of a fixed benchmark, by the name that the question carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.graders import choice, clue, code, integer, maths
from harness.graders.grade import Grade, GraderError


def grade(name: str, completion: str, *, prompt: str, target: str, metadata: Mapping[str, Any]) -> Grade:
    """Grade one completion. Total for completions; raises GraderError for a question that there is no grader for.

        integer   target: canonical digits
        maths     target: LaTeX, in `\\boxed{}` or not; the prompt is what an answer must not repeat
        choice    target: a capital letter; metadata: options, a list (26 letters where there is none)
        clue      metadata: solution, {letter: answer}
        code      metadata: form "function" with stub, entry_point and test; form "stdin" with tests, a list of
                  {input, output}, and perhaps time_limit_seconds and memory_limit_mb, both of one test

    Where a machine cannot grade at all: PoolError without math-verify, SandboxError without a sandbox.
    """
    match name:
        case "integer":
            return integer.grade(completion, target)
        case "maths":
            return maths.grade(completion, target, prompt)
        case "choice":
            return choice.grade(completion, target, len(metadata.get("options", range(26))))
        case "clue":
            return clue.grade(completion, _of(metadata, "solution"))
        case "code":
            return code.grade(completion, _exam(metadata))
    raise GraderError(f"there is no grader {name!r}; there are integer, maths, choice, clue and code")


def _exam(metadata: Mapping[str, Any]) -> code.Problem | code.Cases:
    match _of(metadata, "form"):
        case "function":
            stub, entry_point, test = (_of(metadata, key) for key in ("stub", "entry_point", "test"))
            return code.Problem(stub, entry_point, test)
        case "stdin":
            cases = tuple((_of(test, "input"), _of(test, "output")) for test in _of(metadata, "tests"))
            return code.Cases(cases, metadata.get("time_limit_seconds") or 0, metadata.get("memory_limit_mb") or 0)
        case form:
            raise GraderError(f"there is no grader for programs of form {form!r}; there are function and stdin")


def _of(metadata: Mapping[str, Any], key: str) -> Any:
    if key not in metadata:
        raise GraderError(f"this question cannot be graded: its metadata has no {key!r}")
    return metadata[key]
