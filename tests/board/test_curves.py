"""Curves by hand, and refusals of files that hold none."""

from __future__ import annotations

import contextlib
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board import curves
from harness.board.curves import CurvesError, Post, median, read_curves, smooth
from harness.board.standings import read_ledger
from harness.tracks.track import ROOT


def post(t_ms: int, completions: int, correct: int, **tasks: list[int]) -> Post:
    return Post(run=0, t_ms=t_ms, completions=completions, correct=correct, tasks=tasks)


def test_smoothing_by_hand() -> None:
    posts = [post(1000, 512, 0, nim=[512, 0]), post(2000, 512, 512), post(3000, 512, 256, nim=[256, 64])]
    assert smooth(posts, None) == [(1.0, 0.0), (2.0, 0.5), (3.0, 0.75)]  # the last has forgotten the first
    assert smooth(posts, "nim") == [(1.0, 0.0), (2.0, 0.0), (3.0, 0.25)]
    assert smooth([post(1000, 5000, 50), post(2000, 5000, 5000)], None) == [(1.0, 0.01), (2.0, 1.0)]
    assert smooth([], None) == [] and smooth(posts, "absent") == []


def test_the_median_line_by_hand() -> None:
    lines = [[(1.0, 0.0), (3.0, 1.0)], [(2.0, 0.2), (4.0, 0.2)], [(1.0, 0.6), (9.0, 0.6)]]
    assert median(lines, 1.0) == [(2.0, 0.5), (3.0, 0.6), (4.0, 0.6)]


@given(st.binary(max_size=200), st.booleans())
def test_reading_curves_is_total(data: bytes, packed: bool) -> None:
    with contextlib.suppress(CurvesError):
        read_curves(lzma.compress(data) if packed else data)


@pytest.mark.parametrize(
    "line",
    ['{"run":0}', '{"run":0,"t_ms":-1,"completions":1,"correct":1,"tasks":{}}', "[]", "NaN",
     '{"run":0,"t_ms":1,"completions":1,"correct":1,"tasks":{"nim":[1]}}',
     '{"run":0,"t_ms":1,"completions":1,"correct":2,"tasks":{}}',
     '{"run":0,"t_ms":1,"completions":1,"correct":1,"tasks":{"nim":[1,2]}}'],
)  # fmt: skip
def test_a_bad_line_of_curves_is_named(line: str) -> None:
    with pytest.raises(CurvesError, match="line 1"):
        read_curves(lzma.compress(line.encode()))


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_BYTES", 1000)
    with pytest.raises(CurvesError, match="at most 1000 bytes"):
        read_curves(lzma.compress(b"\n" * 10_000))


def test_a_control_runs_curve_is_not_drawn() -> None:
    """The median over nine would be of other runs than the accuracy beside it."""
    (ours,) = [
        record for record in read_ledger(ROOT / "records")[0] if record.folder == "2026-11-21_cpu-logic_baseline_4"
    ]
    assert ours.predicate.control is not None
    assert [run[0].run for run in ours.curves] == [run.run for run in ours.predicate.runs]
