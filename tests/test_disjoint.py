"""scripts/disjoint.py: counts what it draws, finds what meets, and says how long the whole would take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import disjoint
import pytest

from harness.overlap import fingerprint
from harness.tasks import SPLITS, TASKS, sample

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "disjoint.py", *arguments], capture_output=True, text=True
    )


def test_two_tasks_are_drawn_compared_and_timed() -> None:
    done = run("--task", "nim-hard", "--task", "micror1-nim", "--n", "300")
    assert done.returncode == 0, done.stderr
    rows = {
        cells[0]: cells[1:] for line in done.stdout.split("\n") if (cells := line.strip("│ ").replace("│", " ").split())
    }
    assert rows["nim-hard"][2] == rows["micror1-nim"][2] == "0"
    assert int(rows["nim-hard"][0]) > 290 and int(rows["micror1-nim"][0]) + int(rows["micror1-nim"][1]) == 92
    assert "100,000 questions a side would take" in done.stdout


def test_what_meets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides from the training side: every question of a small task meets itself."""
    task = TASKS["micror1-nim"]
    drawn = disjoint.draw(("micror1-nim", "train", range(400)))
    assert drawn.forms == {fingerprint(sample(task, b"disjoint, train", "train", i).prompt) for i in range(400)}
    other = disjoint.draw(("micror1-nim", "heldout", range(400)))
    assert drawn.forms.isdisjoint(other.forms) and drawn.seconds > 0
    monkeypatch.setattr(disjoint, "sample", lambda task, key, split, index: sample(task, b"one", SPLITS[0], index))
    assert (
        disjoint.draw(("micror1-nim", "train", range(400))).forms
        & disjoint.draw(("micror1-nim", "heldout", range(400))).forms
    )


def test_a_page_has_a_line_for_each_task() -> None:
    page = disjoint.page([["nim", "10", "9", "0", "1.0", "0.05"]], 10)
    assert "10 training questions and 10 held-out ones" in page and "| nim | 10 | 9 | 0 | 1.0 | 0.05 |" in page


def test_an_unknown_task_is_named() -> None:
    done = run("--task", "nimm")
    assert done.returncode == 2 and "there is no task nimm; tasks: countdown" in done.stderr
