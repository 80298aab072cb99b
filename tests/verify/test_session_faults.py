"""A verification that meets a full disk, a second verification, or a clock that jumps."""

import json
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import forked
import pytest
import tiny
from sessions import Listener, assert_closed, command, failures, predicates, resumed, run_files, start

from harness.ledger.signature import load_key
from harness.ledger.store import Ledger
from harness.ledger.trust import allowed_line
from harness.verify import clock
from harness.verify.executor import VerifyError
from harness.verify.journal import RunResult, journals

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]


# ---------------------------------------------------------------- no room


@contextmanager
def volume(folder, size):
    """A disk of its own; only root can make one. Without, test_journal and test_ledger_staging limit file sizes."""
    folder.mkdir(parents=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip(f"no right to mount: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize(
    ("disk", "step", "message", "finished"),
    [
        (
            "state/nano-r1",
            (r"rename .*/workspace$", 2),
            r"cannot keep the session: .*run-1-0.json: No space left on device",
            1,
        ),
        ("records", (r"rename .*/run-1-1.json$", 1), r"No space left on device; nothing was added", 3),
    ],
)
def test_a_full_disk_leaves_the_session_open(tiny_place, disk, step, message, finished):
    with (tiny_place / "one" / "train.py").open("a", encoding="utf-8") as file:
        file.write("print('x' * 20_000)\n")  # more than fits where the note of the workspace was
    options = ["--key", tiny_place / "key", "--ledger", tiny_place / "records"]
    with volume(tiny_place / disk, "1m"):
        trigger = tiny.Trigger(*step, partial(tiny.fill_disk, tiny_place / disk))
        code, output = command(tiny_place, "verify", tiny_place / "one", "--runs", 1, *options, trigger=trigger)
        (announcement,) = Ledger(tiny_place / "records").open_announcements()
        assert code == 2 and "Traceback" not in output
        text = " ".join(output.split())
        assert re.search(message, text), text
        assert f"The session is still open: `nano-r1 verify --resume {announcement.id} --ledger" in text
        kept = run_files(tiny_place, announcement.id)
        assert len(kept) == finished
        assert not [
            path for path in (tiny.state_folder(tiny_place) / announcement.id).iterdir() if path.name.startswith(".")
        ]
        (tiny_place / disk / "filler").unlink()
        assert failures(tiny_place) == []

        code, output = command(tiny_place, "verify", "--resume", announcement.id, *options)
        assert code == 0, output
        (predicate,) = predicates(tiny_place)
        assert predicate.resumed == 1
        if finished == 3:
            assert predicate.control == RunResult.model_validate_json(kept["run-1-1.json"]).run
        assert_closed(tiny_place)


def test_an_announcement_that_the_ledger_took_keeps_its_session_whatever_fails_next(tiny_place):
    """Past the commit point it stands, though it could not be put in place: its root must not be lost."""
    (tiny_place / "records").mkdir()
    (tiny_place / "records" / "log").touch()  # where a folder should be
    with pytest.raises(VerifyError, match=r"the entry is safe, .* It is announced as .* --resume"):
        start(tiny_place)
    (journal,) = journals(tiny.state_folder(tiny_place))
    (tiny_place / "records" / "log").unlink()
    (outcome,) = resumed(tiny_place, journal.folder.name)
    assert outcome.folder is not None
    assert_closed(tiny_place)


# ---------------------------------------------------------------- two at once, and the clock


@pytest.mark.all  # fifteen seconds; the lock has its own tests
def test_a_second_verification_is_refused_with_exit_code_2(tiny_place):
    (tiny_place / "one" / "train.py").write_text(tiny.TRAINER.format(seconds=6), encoding="utf-8")
    first = forked.Process(
        target=tiny.run_session, args=(tiny_place, tiny_place / "records", ["one"], None, tiny_place / "steps", None)
    )
    first.start()
    try:
        deadline = time.monotonic() + 60
        while not (tiny_place / "steps").exists() or "begin" not in (tiny_place / "steps").read_text(encoding="utf-8"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (announcement,) = Ledger(tiny_place / "records").open_announcements()
        options = ["--key", tiny_place / "key", "--ledger", tiny_place / "elsewhere"]
        for arguments in (["verify", tiny_place / "two"], ["verify", "--resume", announcement.id]):
            code, output = command(tiny_place, *arguments, *options)
            assert code == 2 and "another verification is running here" in output and "Traceback" not in output
        assert not (tiny_place / "elsewhere").exists()
        first.join(120)
        assert first.exitcode == 0
    finally:
        first.kill()
        first.join()
    assert_closed(tiny_place)


def test_a_clock_that_was_set_back_makes_no_answer_older_than_its_announcement(tiny_place, monkeypatch):
    """And a key's window is compared with the announcement's time then: what was official when announced stays so."""
    key, now = load_key(tiny_place / "key"), datetime.now(UTC).replace(microsecond=0)
    (tiny_place / "records").mkdir()
    line = allowed_line(key.public, "tester", now - timedelta(minutes=5), now + timedelta(minutes=30))
    (tiny_place / "records" / "allowed_signers").write_text(f"{line}\n", encoding="utf-8")
    listener = Listener()
    yesterday = (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    listener.on_begin = lambda phase: monkeypatch.setattr(clock, "utc_now", lambda: yesterday)
    (outcome,) = start(tiny_place, listener)
    (item,) = Ledger(tiny_place / "records").records()
    announced = json.loads(next((tiny_place / "records" / "log").glob("*.json")).read_text(encoding="utf-8"))
    predicate = item.record.predicate
    assert predicate.runs[0].started_utc == yesterday  # the clock as it was: wall times come from another one
    assert predicate.created_utc == announced["created_utc"] > yesterday
    assert item.official and outcome.folder is not None
    assert_closed(tiny_place)
