"""The random killer: a few real kills, and that it would see what it looks for."""

import shutil
import subprocess
import sys

import kills
import pytest

from harness.tracks.track import ROOT


@pytest.mark.all  # at chosen steps: tests/verify/test_session_resume.py
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_six_random_kills_break_nothing():
    command = [sys.executable, kills.__file__, "--kills", "6", "--seed", "2"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=280)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "0 violations" in process.stdout
    rows = [line.strip("│ ").split("│") for line in process.stdout.splitlines() if line.startswith("│")]
    assert int({row[0].strip(): row[1] for row in rows}["all"]) == 6


@pytest.fixture
def watched(tmp_path):
    """A copy of the real ledger that was sound when it was last inspected."""
    shutil.copytree(ROOT / "records", tmp_path / "records", ignore=shutil.ignore_patterns(".lock", ".next*"))
    watched, tally = kills.WatchedLedger(tmp_path / "records"), kills.Tally()
    watched.inspect(tally, {entry.path for entry in watched.ledger.entries()})
    assert tally.violations == [] and tally.left == {"nothing": 1}
    return watched


def violations(watched, done=()):
    tally = kills.Tally()
    watched.inspect(tally, set(done))
    return tally.violations


def test_a_lost_entry_is_seen(watched):
    assert "had returned" in violations(watched, ["log/never.json"])[0]
    index = watched.ledger.folder / "index"
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:-1]))
    assert any("lost a line" in sentence for sentence in violations(watched))


def test_a_piece_without_an_append_under_way_is_seen(watched):
    (watched.ledger.folder / "log" / "piece.json").write_text("{}", encoding="utf-8")
    assert any("log/piece.json" in sentence and "before" in sentence for sentence in violations(watched))
    (watched.ledger.folder / "log" / "piece.json").unlink()
    (watched.ledger.folder / ".next.tmp").mkdir()
    assert violations(watched) == []  # just what a kill leaves, and the repair clears it
    (watched.ledger.folder / "checkpoint").write_bytes(b"")
    assert any("checkpoint" in sentence for sentence in violations(watched))
