"""The fuzz of the graders of fixed sets, in small: the graders as they are keep every promise, weakened ones do not."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import Any

import fuzz_graders
import pytest

from harness.answers import choice, clue, code, integer, maths
from harness.answers.grade import Grade
from harness.isolation import sandbox

SMALL = {"maths": 60, "code": 4}  # where another process grades; of the others two in a hundred


@pytest.mark.parametrize("name", fuzz_graders.DOORS)
def test_every_promise_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "maths" and find_spec("math_verify") is None:
        pytest.skip("math-verify is not installed (extra `tasks`)")
    if name == "code" and sandbox.isolation().reasons:
        pytest.skip("no sandbox on this machine")
    monkeypatch.setattr(maths, "CPU_SECONDS", 1)
    door = fuzz_graders.DOORS[name]
    count = SMALL.get(name, door.count // 50)
    assert fuzz_graders.run(name, door, count) >= count


def raising(*arguments: Any) -> Grade:
    raise ValueError


def generous(*arguments: Any) -> Grade:
    return Grade(strict=False, lenient=True, answer=None)


@pytest.mark.parametrize(("name", "module"), [("integer", integer), ("choice", choice), ("clue", clue), ("code", code)])
@pytest.mark.parametrize("weaker", [raising, generous])
def test_a_grader_that_raises_or_gives_points_away_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, weaker: Any
) -> None:
    monkeypatch.setattr(module, "grade", weaker)
    with pytest.raises((AssertionError, ValueError, ExceptionGroup)):
        fuzz_graders.run(name, fuzz_graders.DOORS[name], 50)


def test_the_command_counts_what_it_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz_graders.py", "--share", "0.001", "--only", "integer"])
    monkeypatch.setattr(maths, "CPU_SECONDS", maths.CPU_SECONDS)
    fuzz_graders.main()
    assert re.search(r"^\d+ inputs in all, and every promise kept$", capsys.readouterr().out, re.MULTILINE)
    assert sum(door.count for door in fuzz_graders.DOORS.values()) > 100_000
