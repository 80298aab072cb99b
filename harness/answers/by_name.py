"""The grader of a question of a fixed benchmark, by the name that the question carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.answers import choice, clue, code, integer, maths
from harness.answers.grade import Grade, GraderError


def grade(name: str, completion: str, *, prompt: str, target: str, metadata: Mapping[str, Any]) -> Grade:
    """Grade one completion. Total for completions; raises GraderError for a question that there is no grader for.

        integer   target: canonical digits
        maths     target: LaTeX, in `\\boxed{}` or not; the prompt is what an answer must not repeat
        choice    target: a capital letter; metadata: options, a list (26 letters where there is none)
        clue      metadata: solution, {letter: answer}
        code      metadata: form, and what it needs (_exam below)

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


def refusal(name: str, metadata: Mapping[str, Any]) -> str | None:
    """Why no machine can grade any answer to this question; None if one can. The same words for the same reason."""
    if name == "code" and code.paper_bytes(_exam(metadata)) > code.LONGEST_PAPER:
        return f"its tests are larger than {code.LONGEST_PAPER >> 20} MiB"
    return None


def _exam(metadata: Mapping[str, Any]) -> code.Problem | code.Cases:
    """By metadata's form. Limits are those of one test; 0 or None where the data set says nothing.

    function  stub, entry_point, test
    stdin     tests, a list of {input, output}; time_limit_seconds, memory_limit_mb
    ioi       the same, but memory_limit_bytes; problem and files, {name: content}, to compile problem.cpp with
    """
    form = _of(metadata, "form")
    if form == "function":
        return code.Problem(*(_of(metadata, key) for key in ("stub", "entry_point", "test")))
    if form not in ("stdin", "ioi"):
        raise GraderError(f"there is no grader for programs of form {form!r}; there are function, stdin and ioi")
    tests = _of(metadata, "tests")
    if any(isinstance(test, str) for test in tests):
        raise GraderError(
            f"{_of(metadata, 'problem')} has the names of its tests only: put inputs and outputs in place"
        )
    cases = tuple((_of(test, "input"), _of(test, "output")) for test in tests)
    seconds = metadata.get("time_limit_seconds") or 0
    if form == "stdin":
        return code.Cases(cases, seconds, metadata.get("memory_limit_mb") or 0)
    megabytes = (metadata.get("memory_limit_bytes") or 0) / (1 << 20)
    files = tuple(_of(metadata, "files").items())
    return code.Cases(cases, seconds, megabytes, f"{_of(metadata, 'problem')}.cpp", files)


def _of(metadata: Mapping[str, Any], key: str) -> Any:
    if key not in metadata:
        raise GraderError(f"this question cannot be graded: its metadata has no {key!r}")
    return metadata[key]
