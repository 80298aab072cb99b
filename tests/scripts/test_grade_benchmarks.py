"""The script that grades whole benchmarks, on the excerpts, and on the real files where they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grade_benchmarks
import pytest
from grade_benchmarks import FILES, Row
from real_data import WHOLE, needs

from harness.answers.grade import Grade
from harness.isolation import sandbox

ISOLATION = sandbox.isolation()
needs_sandbox = pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons))
needs_files = needs(*FILES)
DATA = Path(__file__).parents[1] / "data" / "graders"


def counts(rows: list[Row]) -> list[tuple[int, int]]:
    assert all(row.show() for row in rows), [row.wrong for row in rows]
    return [(row.as_they_should, row.graded) for row in rows]


@needs_files
def test_all_of_gsm8k() -> None:
    assert counts(list(grade_benchmarks.gsm8k(WHOLE))) == [(8792, 8792), (5 * 8792, 5 * 8792)]


@needs_files
def test_all_of_aiw_and_temporal_clue() -> None:
    right, wrong = counts(list(grade_benchmarks.aiw(WHOLE)))
    assert right[0] > 500 and wrong[0] == 5 * right[0]
    right, wrong = counts(list(grade_benchmarks.temporal_clue(WHOLE)))
    assert right == (64, 64) and wrong[0] > 1000


@needs_files
@needs_sandbox
@pytest.mark.long
def test_all_of_humaneval() -> None:
    assert counts(list(grade_benchmarks.humaneval(WHOLE))) == [(164, 164)] * 3


@pytest.mark.all
@needs_sandbox
@pytest.mark.slow
def test_some_of_humaneval() -> None:
    rows = [json.loads(line) for line in (DATA / "humaneval.jsonl").read_text(encoding="utf-8").splitlines()][:4]
    assert counts(list(grade_benchmarks.programs(rows))) == [(4, 4)] * 3


def test_a_grader_that_is_wrong_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("a table")
    row.add(Grade(strict=True, lenient=True, answer="5"), True, "one")
    assert row.show()
    row.add(Grade(strict=False, lenient=True, answer="5"), True, "two")
    row.add(Grade(strict=False, lenient=True, answer="5"), False, "three")
    row.add(Grade(strict=False, lenient=False, answer="5", why="SyntaxError: "), False, "four", "AssertionError")
    assert not row.show()
    assert "     1 of      4" in capsys.readouterr().out
    assert not Row("nothing was graded").show()


@pytest.mark.parametrize("arguments", [[], ["/no/such/folder"], [str(DATA)]])
def test_without_the_files_it_says_what_it_wants(arguments: list[str]) -> None:
    script = Path(grade_benchmarks.__file__)
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("grade_benchmarks: ") and done.stderr.count("\n") == 1
