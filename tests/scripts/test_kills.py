"""The random killer: a few real kills, and that it would see what it looks for."""

import shutil
import subprocess
import sys

import pytest

from harness.tracks.track import ROOT

sys.path.append(str(ROOT / "scripts"))
import kills


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_six_random_kills_break_nothing():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "kills.py", "--kills", "6", "--seed", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations" in done.stdout
    counted = [line.strip("│ ").split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert int({row[0].strip(): row[1] for row in counted}["all"]) == 6


@pytest.fixture
def watched(tmp_path):
    """A copy of the real ledger that was sound when it was last looked at."""
    shutil.copytree(ROOT / "records", tmp_path / "records", ignore=shutil.ignore_patterns(".lock", ".next*"))
    found, tally = kills.Watched(tmp_path / "records"), kills.Tally()
    found.look(tally, {entry.path for entry in found.ledger.entries()})
    assert tally.wrong == [] and tally.left == {"nothing": 1}
    return found


def wrong(watched, done=()):
    tally = kills.Tally()
    watched.look(tally, set(done))
    return tally.wrong


def test_a_lost_entry_is_seen(watched):
    assert "had returned" in wrong(watched, ["log/never.json"])[0]
    index = watched.ledger.folder / "index"
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:-1]))
    assert any("lost a line" in sentence for sentence in wrong(watched))


def test_a_piece_without_an_append_under_way_is_seen(watched):
    (watched.ledger.folder / "log" / "piece.json").write_text("{}")
    assert any("log/piece.json" in sentence and "before" in sentence for sentence in wrong(watched))
    (watched.ledger.folder / "log" / "piece.json").unlink()
    (watched.ledger.folder / ".next.tmp").mkdir()
    assert wrong(watched) == []  # just what a kill leaves, and the repair clears it
    (watched.ledger.folder / "checkpoint").write_bytes(b"")
    assert any("checkpoint" in sentence for sentence in wrong(watched))
