"""scripts/measure/disjoint.py: counts what it draws, finds what meets, and says how long the whole would take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import disjoint
import pytest

from harness.benchmarks.overlap import fingerprint
from harness.frozen.draw import SPLITS, sample
from harness.tasks import GENERATED

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "measure" / "disjoint.py", *arguments],
        capture_output=True,
        encoding="utf-8",
    )


def test_two_tasks_are_drawn_compared_and_timed() -> None:
    done = run("--task", "nim-hard", "--task", "micror1-nim", "--n", "300")
    assert done.returncode == 0, done.stderr
    rows = {
        cells[0]: cells[1:] for line in done.stdout.split("\n") if (cells := line.strip("│ ").replace("│", " ").split())
    }
    assert rows["nim-hard"][0] == rows["micror1-nim"][0] == "300"
    assert rows["nim-hard"][3] == rows["micror1-nim"][3] == "0"
    assert int(rows["nim-hard"][1]) > 290 and int(rows["micror1-nim"][1]) + int(rows["micror1-nim"][2]) == 92
    assert "100,000 questions a side would take" in done.stdout


def test_what_was_drawn_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    which = ("nim", "heldout", range(50, 90))
    drawn = disjoint.draw(which, tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(disjoint, "draw_anew", None)
        assert disjoint.draw(which, tmp_path) == drawn
    monkeypatch.setattr(disjoint, "source", lambda: "changed since")
    assert disjoint.draw(which, tmp_path).forms == drawn.forms
    assert len(list(tmp_path.iterdir())) == 2 and file.exists()


def test_what_meets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides from the training side: every question of a small task meets itself."""
    task = GENERATED["micror1-nim"]
    drawn = disjoint.draw(("micror1-nim", "train", range(400)), None)
    assert drawn.forms == {fingerprint(sample(task, b"disjoint, train", "train", i).prompt) for i in range(400)}
    other = disjoint.draw(("micror1-nim", "heldout", range(400)), None)
    assert drawn.forms.isdisjoint(other.forms) and drawn.seconds > 0
    monkeypatch.setattr(disjoint, "sample", lambda task, key, split, index: sample(task, b"one", SPLITS[0], index))
    assert (
        disjoint.draw(("micror1-nim", "train", range(400)), None).forms
        & disjoint.draw(("micror1-nim", "heldout", range(400)), None).forms
    )


def test_a_page_has_a_line_for_each_task_and_names_those_that_are_missing() -> None:
    rows = {name: [name, "1,000", "900", "901", "0", "1.0"] for name in ("nim", "linear")}
    page = disjoint.page(rows)
    assert disjoint.rows_of(page) == rows and page.index("| linear |") < page.index("| nim | 1,000 | 900 | 901 | 0 |")
    assert "Not drawn yet: countdown, josephus," in page
    assert "Not drawn yet: none." in disjoint.page({name: [name, *rows["nim"][1:]] for name in GENERATED})


def test_a_page_keeps_its_rows_of_other_tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disjoint, "PAGE", tmp_path / "disjoint.md")
    monkeypatch.setattr(disjoint, "KEPT", tmp_path / "kept")
    for name in ("micror1-nim", "nim-hard", "micror1-nim"):
        monkeypatch.setattr(sys, "argv", ["disjoint.py", "--page", "--task", name, "--n", "50"])
        assert disjoint.main() == 0
    assert disjoint.rows_of((tmp_path / "disjoint.md").read_text(encoding="utf-8")).keys() == {
        "micror1-nim",
        "nim-hard",
    }
    assert [path.name for path in tmp_path.glob("*.*")] == ["disjoint.md"]


def test_an_unknown_task_is_named() -> None:
    done = run("--task", "nimm")
    assert done.returncode == 2 and "there is no task nimm; tasks: countdown" in done.stderr
