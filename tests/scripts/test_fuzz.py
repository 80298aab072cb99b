"""The fuzz in small: no findings in the harness as it is, and some in each of several weakened ones."""

from __future__ import annotations

import json
import mmap
import re
import signal
import sys
from collections.abc import Callable, Generator
from typing import Any

import fuzz
import pytest
from fuzzing import checkpoint as files
from fuzzing import frames, graders
from fuzzing.tally import Tally, drive

from harness.environment import server, wire
from harness.frozen import checkpoint, format
from harness.tasks import josephus, linear, nim

Cases = Callable[[int, int, Tally], Generator[None, None, None]]


def fuzzed(cases: Cases, count: int, seed: int = 1) -> Tally:
    tally = Tally()
    total = count * len(graders.PUZZLES) if cases is graders.puzzle_cases else count
    drive(tally, cases(count, seed, tally), total)
    return tally


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that tests may be doing other work."""
    monkeypatch.setattr(files, "READ_SECONDS", 20.0)


# ---------------------------------------------------------------- the harness as it is


def test_checkpoints() -> None:
    tally = fuzzed(files.checkpoint_cases, 2500)
    assert tally.findings == []
    assert tally.done == 2500
    assert {*files.HEADER, *files.BYTES, *files.FILES, "good"} <= set(tally.outcomes)
    assert tally.outcomes["good"] == {"accepted": tally.outcomes["good"].total()}
    assert tally.total("accepted") > 200 and tally.total("refused") > 1500


@pytest.mark.all
def test_frames() -> None:
    tally = fuzzed(frames.frame_cases, 1000)
    assert tally.findings == []
    assert tally.done >= 1000
    assert min(tally.total(outcome) for outcome in ("granted", "refused", "closed", "unread")) > 12
    assert {"corrupted JSON", "corrupted rows", "corrupted bytes", "half a frame", "length too long"} <= set(
        tally.outcomes
    )


def test_graders() -> None:
    tally = fuzzed(graders.puzzle_cases, 2000)
    assert tally.findings == []
    for name in graders.PUZZLES:
        counts = tally.outcomes[f"{name}: an answer in its tags"]
        assert min(counts[outcome] for outcome in ("correct", "formatted", "refused")) > 100
        assert tally.outcomes[f"{name}: a hundred times too long"].total() > 5


# ---------------------------------------------------------------- weakened ones


def is_found(cases: Cases, count: int, finding: str) -> bool:
    """Is there such a finding? Stops at the first: a weakened harness may leave every other request unanswered."""
    tally = Tally()
    running = cases(count, 1, tally)
    for _ in running:
        if any(re.search(finding, entry) for entry in tally.findings):
            running.close()
            return True
    return any(re.search(finding, entry) for entry in tally.findings)


@pytest.mark.parametrize(
    ("name", "weaker", "finding"),
    [
        ("_finite", lambda *_: None, "NaN or infinite"),
        ("_same_layout", lambda *_: None, "other names, shapes or dtypes"),
        ("_counts", lambda value: True, r"TypeError|ValueError|AttributeError"),
        ("SLACK", -1, "refused a good file"),
    ],
)
def test_a_weakened_reader_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str, weaker: object, finding: str
) -> None:
    monkeypatch.setattr(checkpoint, name, weaker)
    assert is_found(files.checkpoint_cases, 800, finding)


def no_limits(self: server.Environment, session: Any, row: Any) -> int:
    return int(row[0])


def tokens_forgotten(self: server.Environment, items: list[Any], bodies: list[Any], scores: list[Any]) -> None:
    self._queries += len(items)


def trusting(frame: bytearray) -> Any:
    return json.loads(frame)


@pytest.mark.parametrize(
    ("owner", "name", "weaker", "finding"),
    [
        (server.Environment, "_check", no_limits, "expected refused|the environment failed"),
        (server.Environment, "_count", tokens_forgotten, "counted"),
        (wire, "parse", trusting, "not closed with a reason|the environment failed"),
        (server, "MAX_PROMPTS", 3, "got .*n must be 1 to 3"),
        (server.rules, "model_ids", lambda track: 1 << 62, "expected refused|the environment failed"),
    ],
)
def test_a_weakened_environment_is_found_out(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, weaker: object, finding: str
) -> None:
    monkeypatch.setattr(owner, name, weaker)
    assert is_found(frames.frame_cases, 600, finding)


def lenient(answer: str, target: str) -> bool:
    return answer.strip().isdecimal() and int(answer) == int(target)


def test_weakened_graders_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (josephus, linear, nim):
        monkeypatch.setattr(module, "is_integer", lenient)
    findings = fuzzed(graders.puzzle_cases, 600).findings
    assert {entry.partition(" ")[0] for entry in findings} == {"josephus", "linear", "nim"}


def test_a_lenient_format_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    anything = re.compile(r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", re.DOTALL)
    monkeypatch.setattr(format, "_COMPLETION", anything)
    assert fuzzed(graders.puzzle_cases, 600).findings


def test_memory_that_grows_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, read = [], checkpoint.read

    def leaking(*paths: Any) -> checkpoint.Checked:
        kept.append(mmap.mmap(-1, 1 << 20))  # pages of its own: bytes may be put where earlier tests freed some
        kept[-1].write(b"x" * (1 << 20))
        return read(*paths)

    monkeypatch.setattr(checkpoint, "read", leaking)
    assert any("memory grew by" in entry for entry in fuzzed(files.checkpoint_cases, 100).findings)


# ---------------------------------------------------------------- the command


def test_ctrl_c_shows_what_was_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def cut_short(count: int, seed: int, tally: Tally) -> Generator[None, None, None]:
        for number, _ in enumerate(graders.puzzle_cases(count, seed, tally)):
            if number == 50:
                signal.raise_signal(signal.SIGINT)
            yield

    monkeypatch.setitem(fuzz.DOORS, "graders", (cut_short, 100))
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "graders"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        assert fuzz.main() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    shown = capsys.readouterr().out
    assert "graders, seed 1: 50 in" in shown and "interrupted" in shown


def test_a_finding_is_shown_and_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint, "_finite", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "checkpoint", "--count", "500", "--seed", "2"])
    assert fuzz.main() == 1
    assert "NaN or infinite" in capsys.readouterr().out
