"""The fuzz of the kinds of answers, in small: the graders as they are keep every promise, weakened ones do not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from fuzzing import answers, graders
from fuzzing.tally import Tally, drive

from harness.answers import maths
from harness.answers.grade import Grade
from harness.evaluation.questions import KINDS
from harness.isolation import sandbox

SMALL = {"maths": 60, "code": 4}  # where another process grades; of the others two in a hundred


def fuzzed(name: str, inputs: int) -> Tally:
    tally = Tally()
    count = round(inputs / answers.SUBJECTS[name].share)
    drive(tally, answers.answer_cases(count, 1, tally, [name]), inputs)
    return tally


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maths, "CPU_SECONDS", maths.CPU_SECONDS)  # the fuzz sets it


@pytest.mark.parametrize("name", answers.SUBJECTS)
def test_every_promise_is_kept(name: str) -> None:
    if name == "maths" and find_spec("math_verify") is None:
        pytest.skip("math-verify is not installed (extra `tasks`)")
    if name == "code" and sandbox.isolation().reasons:
        pytest.skip("no sandbox on this machine")
    inputs = SMALL.get(name, answers.inputs_of(name, 2000))
    tally = fuzzed(name, inputs)
    assert tally.done == inputs and tally.findings == []
    if name in KINDS and name != "code":
        assert tally.total("correct") and tally.total("refused")


def raising(*arguments: Any) -> Grade:
    raise ValueError


def generous(*arguments: Any) -> Grade:
    return Grade(strict=False, lenient=True, answer=None)


@pytest.mark.parametrize("name", ["integer", "choice", "clue", "code"])
@pytest.mark.parametrize("weaker", [raising, generous])
def test_a_grader_that_raises_or_gives_points_away_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, name: str, weaker: Any
) -> None:
    monkeypatch.setattr(KINDS[name], "grade", weaker)
    assert fuzzed(name, 50).findings


def test_a_full_run_has_over_a_hundred_thousand_inputs_for_the_kinds_of_answers() -> None:
    assert graders.total(100_000) == 400_000 + 123_300
