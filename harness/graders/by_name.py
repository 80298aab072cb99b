"""The grader of a question of a fixed benchmark, by the name that the question carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.graders import choice, clue, code, integer, maths
from harness.graders.grade import Grade


def grade(name: str, completion: str, *, prompt: str, target: str, metadata: Mapping[str, Any]) -> Grade:
    """Grade one completion. Total for completions; raises ValueError for a name or form that there is no grader for.

        integer   target: canonical digits
        maths     target: LaTeX, in `\\boxed{}` or not; the prompt is what an answer must not repeat
        choice    target: a capital letter; metadata: options, a list (26 letters where there is none)
        clue      metadata: solution, {letter: answer}
        code      metadata: form "function" with stub, entry_point and test; form "stdin" with tests, a list of
                  {input, output}, and seconds for all of them together if 15 are not enough
    """
    match name, metadata.get("form"):
        case "integer", _:
            return integer.grade(completion, target)
        case "maths", _:
            return maths.grade(completion, target, prompt)
        case "choice", _:
            return choice.grade(completion, target, len(metadata.get("options", range(26))))
        case "clue", _:
            return clue.grade(completion, metadata["solution"])
        case "code", "function":
            return code.grade(completion, code.Problem(metadata["stub"], metadata["entry_point"], metadata["test"]))
        case "code", "stdin":
            cases = tuple((test["input"], test["output"]) for test in metadata["tests"])
            return code.grade(completion, code.Cases(cases, metadata.get("seconds", code.LIMITS.seconds)))
    raise ValueError(f"there is no grader {name!r} for questions of form {metadata.get('form')!r}")
