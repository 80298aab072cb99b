"""The short trial before a session is announced: what is broken is found in seconds, and nothing is written."""

import threading
import time
from types import SimpleNamespace

import pytest
import tiny
from sessions import Listener, verifier_at

from harness import submission
from harness.isolation.sandbox import SandboxError
from harness.tracks import files
from harness.tracks import track as tracks
from harness.verify import trial
from harness.verify.executor import Interrupted, VerifyError

SCORE = (
    "from harness.client import connect\nrun = connect()\n"
    "run.score([(prompt.id, [run.end_token_id]) for prompt in run.prompts(4)])\n"
)


def try_out(place, source, cancel=None):
    """Returns the lines that were said, and the seconds that it took."""
    (place / "one" / "train.py").write_text(source, encoding="utf-8")
    listener, start = Listener(), time.monotonic()
    trial.try_out(
        tracks.load("cpu-logic"), [submission.load(place / "one")], verifier_at(place, listener, cancel=cancel)
    )
    return listener.lines, time.monotonic() - start


@pytest.mark.parametrize(
    ("source", "message", "log"),
    [
        ("import nothing_of_that_name\n", "exited with code 1", "No module named 'nothing_of_that_name'"),
        ("def main(:\n", "exited with code 1", "SyntaxError"),
        ("print('done')\n", "it ended without a score or weights", "done"),
        ("import os\nos.kill(os.getpid(), 9)\n", "was killed by signal 9", ""),
    ],
)
def test_a_broken_folder_is_found_before_anything_is_announced(tiny_place, source, message, log):
    with pytest.raises(VerifyError, match=rf"one fails a short trial, so nothing was announced: {message}") as caught:
        try_out(tiny_place, source)
    path = tiny.state_folder(tiny_place) / "trial.log"
    assert log in path.read_text(encoding="utf-8") and str(path) in str(caught.value)
    assert "nano-r1 train" in str(caught.value) and not (tiny_place / "records").exists()


def test_a_trial_ends_with_the_first_score(tiny_place):
    """What comes after it is the session's to find: a trial must tell nothing about a result."""
    lines, seconds = try_out(tiny_place, SCORE + "import time\ntime.sleep(50)\nraise SystemExit(3)\n")
    assert "one: a short trial before anything is announced" in lines and seconds < 30
    assert not (tiny_place / "records").exists()


def test_a_trial_preloads_what_the_track_does(tiny_place):
    path = files.TRACKS / "cpu-logic.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("reward_queries", 'preload = ["gone_from_here"]\nreward_queries', 1), encoding="utf-8")
    with pytest.raises(SandboxError, match="cannot import 'gone_from_here': ModuleNotFoundError"):
        try_out(tiny_place, SCORE)


def test_a_slow_start_is_no_failure(tiny_place, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 1)
    try_out(tiny_place, "import time\ntime.sleep(50)\n")


def test_the_baseline_is_not_tried(tiny_place):
    listener = Listener()
    trial.try_out(
        tracks.load("cpu-logic"), [submission.load(tiny_place / "quick-baseline")], verifier_at(tiny_place, listener)
    )
    assert not any("trial" in line for line in listener.lines)


def test_ctrl_c_during_a_trial_announces_nothing(tiny_place):
    cancel = threading.Event()
    threading.Timer(2, cancel.set).start()
    with pytest.raises(Interrupted, match="nothing was announced"):
        try_out(tiny_place, "import time\ntime.sleep(50)\n", cancel)
    assert not (tiny_place / "records").exists()


def test_a_busy_machine_is_named_before_the_announcement(tiny_place, monkeypatch):
    monkeypatch.setattr(trial, "load", SimpleNamespace(warning=lambda cores: f"busy: {cores} cores"))
    lines, _ = try_out(tiny_place, SCORE)
    assert lines[0] == "busy: 2 cores"
