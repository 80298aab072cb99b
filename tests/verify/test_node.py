"""What a node of a cluster refuses, receives and clears away."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
from sessions import schedule_of

from harness import submission
from harness.tracks.track import load
from harness.verify.journal import JournalError
from harness.verify.node import RunRequest, attest_node, matching_track, unpack, version_of, workspace


def test_a_submission_travels_as_bytes_and_arrives_whole_or_not_at_all(tmp_path):
    schedule, journal = schedule_of(tmp_path)
    second = schedule.participants[1]
    files = journal.submission_files(1, second.tree_sha256)
    assert sorted(files) == ["submission.toml", "train.py"]
    version = version_of(schedule.track)
    request = RunRequest(version, schedule.spec(second, 0), second.tree_sha256, files, "n")
    (tmp_path / "a").mkdir()
    unpack(request, tmp_path / "a")
    assert submission.tree_digest(tmp_path / "a" / "submission") == second.tree_sha256
    (tmp_path / "b").mkdir()
    corrupted = dataclasses.replace(request, files=files | {"train.py": b"print()\n"})
    with pytest.raises(submission.SubmissionError):
        unpack(corrupted, tmp_path / "b")
    # The verifier sends nothing but what was announced.
    (journal.submission_folder(1) / "train.py").write_text("print()\n", encoding="utf-8")
    with pytest.raises(JournalError, match="submission-1 is not what was announced"):
        journal.submission_files(1, second.tree_sha256)


def test_a_node_with_another_harness_or_track_is_refused():
    version = version_of(load("cpu-logic"))
    assert matching_track(version).id == load("cpu-logic").id
    other = attest_node("0" * 64, version.track, version.track_digest, bytes(32))["refused"]
    assert "is not the verifier's" in other and "check out the same commit there" in other and "its harness" in other
    track = attest_node(version.code_sha256, version.track, "0" * 64, bytes(32))["refused"]
    assert "its track cpu-logic@" in track and "is not the verifier's" in track


def test_left_workspaces_of_dead_processes_are_removed(monkeypatch):
    with tempfile.TemporaryDirectory() as name:  # whose path is short enough for a socket
        monkeypatch.setattr(tempfile, "tempdir", name)
        dead, alive = Path(name, "nano-r1-node-4194305-ab"), Path(name, "nano-r1-node-1-ab")  # no pid is above 2**22
        dead.mkdir()
        alive.mkdir()
        with workspace() as place:
            assert place.stat().st_mode & 0o777 == 0o755 and not dead.exists() and alive.exists()
        assert not place.exists()
