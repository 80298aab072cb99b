"""A question of a fixed benchmark finds its grader."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from harness.answers.by_name import grade
from harness.answers.code import INSTALL
from harness.answers.exam import COMPILER
from harness.answers.grade import GraderError
from harness.isolation import sandbox

ISOLATION = sandbox.isolation()
needs_sandbox = pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons))
needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed: pip install -e '.[tasks]'"
)
FUNCTION = {
    "form": "function",
    "stub": "def add(a, b):\n    pass\n",
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}
CASES = {
    "form": "stdin",
    "tests": [{"input": "2 3\n", "output": "5\n"}],
    "time_limit_seconds": 1.0,
    "memory_limit_mb": None,
}
IOI = {
    "form": "ioi",
    "problem": "twice",
    "files": {
        "grader.cpp": "#include <iostream>\nint twice(int);\n"
        "int main() { int x; std::cin >> x; std::cout << twice(x); }\n"
    },
    "tests": [{"input": "4", "output": "8"}],
    "time_limit_seconds": 2.0,
    "memory_limit_bytes": 1 << 30,
}
needs_compiler = pytest.mark.skipif(not Path(COMPILER[0]).exists(), reason=f"no {COMPILER[0]}: {INSTALL}")


@pytest.mark.parametrize(
    ("name", "target", "metadata", "right", "wrong"),
    [
        ("integer", "-3", {}, "-3", "3"),
        pytest.param("maths", "\\boxed{x=5}", {}, "5", "3x+7=22", marks=needs_math_verify),
        ("choice", "C", {"options": ["a", "b", "c"]}, "C", "B"),
        ("choice", "Z", {}, "Z", "B"),
        ("clue", "", {"solution": {"A": "Mrs. Peacock", "B": "Hall"}}, "A. Mrs. Peacock\nB. Hall",
        "A. Mrs. Peacock\nB. Study"),
        pytest.param("code", "", FUNCTION, "```python\ndef add(a, b):\n    return a + b\n```",
        "```python\nadd = max\n```", marks=needs_sandbox),
        pytest.param(
            "code", "", CASES, "```python\nprint(sum(map(int, input().split())))\n```", "```python\nprint(4)\n```",
            marks=needs_sandbox
        ),
        pytest.param(
            "code", "", IOI, "```cpp\nint twice(int x) { return 2 * x; }\n```",
            "```cpp\nint twice(int x) { return x; }\n```",
            marks=[needs_sandbox, needs_compiler],
        ),
    ],
)  # fmt: skip
def test_right_and_wrong(name: str, target: str, metadata: dict[str, Any], right: str, wrong: str) -> None:
    for answer, expected in ((right, True), (wrong, False)):
        completion = f"<think>so</think><answer>{answer}</answer>"
        given = grade(name, completion, prompt="Solve $3x+7=22$.", target=target, metadata=metadata)
        assert given.strict == given.lenient == expected


def test_a_letter_beyond_the_options_is_wrong_even_as_target() -> None:
    completion = "<think>so</think><answer>D</answer>"
    assert not grade("choice", completion, prompt="", target="D", metadata={"options": ["a", "b", "c"]}).lenient


@pytest.mark.parametrize(
    ("name", "metadata", "why"),
    [
        ("judge", {}, "there is no grader 'judge'"),
        ("", {}, "there is no grader ''"),
        ("code", {}, "its metadata has no 'form'"),
        ("code", {"form": "unit"}, "there is no grader for programs of form 'unit'"),
        ("code", {"form": "ioi", "problem": "nile", "tests": ["01-01"]}, "nile has the names of its tests only"),
        ("code", {"form": "function", "stub": ""}, "its metadata has no 'entry_point'"),
        ("code", {"form": "stdin", "tests": [{"input": ""}]}, "its metadata has no 'output'"),
        ("clue", {}, "its metadata has no 'solution'"),
    ],
)
def test_a_question_without_a_grader_is_said(name: str, metadata: dict[str, Any], why: str) -> None:
    with pytest.raises(GraderError, match=why):
        grade(name, "", prompt="", target="", metadata=metadata)
