"""A verification that is killed, or meets a full disk, a second one or a clock that jumps; and how it goes on."""

import json
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import forked
import pytest
import tiny

from harness import submission
from harness.ledger.check import check
from harness.ledger.signature import generate, load_key
from harness.ledger.store import Ledger
from harness.ledger.trust import allowed_line
from harness.tracks import files
from harness.tracks import track as tracks
from harness.verify import clock, schedule
from harness.verify.executor import Interrupted, VerifyError
from harness.verify.journal import Journal, RunResult, journals
from harness.verify.session import Verifier, resume, verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]


class Listener:
    def __init__(self):
        self.lines, self.begun = [], []
        self.on_begin = lambda: None

    def begin(self, arm, run, phase, total):
        self.begun.append((arm, run, phase))
        self.on_begin()

    def advance(self, done, note):
        pass

    def finished(self, seconds):
        pass

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The tiny track, in this process too. Its runs take 1.2 s: long enough to be told of while they train."""
    import torch

    tiny.build(tmp_path, seconds=1.2)
    monkeypatch.setattr(files, "TRACKS", tmp_path / "harness" / "tracks")
    monkeypatch.setattr(schedule, "control_round", tiny.last_round)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def killed(place, at, names=("one",), entry=None):
    """Verify, or go on, in a process that is killed there. Returns the session's entry, None if there is none yet."""
    process = forked.CONTEXT.Process(
        target=tiny.session,
        args=(place, place / "records", list(names), entry, place / "told", tiny.At(*at, tiny.die)),
    )
    process.start()
    process.join(120)
    told = (place / "told").read_text()
    assert process.exitcode == -signal.SIGKILL, told
    deadline = time.monotonic() + 0.5  # later, the next verification on this machine would sweep it
    while tiny.sandboxed(process.pid):
        assert time.monotonic() < deadline, "the sandbox outlived its verifier"
        time.sleep(0.01)
    kept = [journal.folder.name for journal in journals(tiny.state(place)) if journal.has_session]
    return kept[0] if kept else None


def go_on(place, entry, listener=None, **other):
    return resume(entry, verifier(place, listener or Listener(), **other))


def begin(place, listener, **other):
    return verify(
        tracks.load("cpu-logic"), [submission.load(place / "one")], verifier(place, listener, **other), runs=1
    )


def verifier(place, listener, ledger=None, key=None, cancel=None):
    return Verifier(
        ledger or Ledger(place / "records"), key or load_key(place / "key"), tiny.state(place), listener,
        cancel or threading.Event(),
    )  # fmt: skip


def snapshot(*folders):
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def runs_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("run-*.json")}


def failures(place):
    return [finding for finding in check(place / "records") if not finding.ok]


def is_sound(place):
    """Whole, closed, nothing left over: not in the ledger, not of the journal, not of a sandbox."""
    ledger = Ledger(place / "records")
    assert failures(place) == [] and ledger.open_commitments() == []
    assert journals(tiny.state(place)) == []


# ---------------------------------------------------------------- kill -9


# Where it is killed, and the runs (submission-run) finished by then: 0-0 is the baseline's, 1-1 the control run.
MOMENTS = {
    "announced, its line not yet in the index": ((r"rename .*/records/index$", 1), []),
    "training": ((r"advance one 0 train", 1), ["0-0"]),
    "evaluating": ((r"advance one 0 evaluate", 1), ["0-0"]),
    "about to keep a run": ((r"rename .*/run-1-0.json$", 1), ["0-0"]),
    "between two runs": ((r"rename .*/workspace$", 3), ["0-0", "1-0"]),
    "about to append the record": ((r"rename .*/\.next$", 2), ["0-0", "1-0", "1-1"]),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_session_goes_on_from_its_finished_runs(place, moment):
    at, finished = MOMENTS[moment]
    entry = killed(place, at)
    folder = Journal(tiny.state(place), entry).folder
    kept = runs_of(folder)
    assert sorted(kept) == [f"run-{name}.json" for name in finished]
    note = folder / "workspace"
    workspace = note.read_text() if note.exists() else None

    listener = Listener()
    (outcome,) = go_on(place, entry, listener)
    made = {("quick-baseline", 0): "0-0", ("one", 0): "1-0", ("one", 1): "1-1"}
    again = [made[arm, run] for arm, run, phase in listener.begun if phase == "train"]
    assert again == [name for name in made.values() if name not in finished]

    said = Ledger(place / "records").records()[0].record.predicate
    assert outcome.folder == place / "records" / Ledger(place / "records").records()[0].folder
    assert said.resumed == 1 and said.commitment.entry == entry
    for name, data in kept.items():
        before = RunResult.model_validate_json(data)
        if name == "run-0-0.json":
            assert said.reference.wall_ms == [before.wall_ms]
        else:
            now = said.control if name == "run-1-1.json" else said.runs[0]
            assert now == before.run  # its start and its weights among all the rest
    is_sound(place)
    assert workspace is None or not Path(workspace).exists()


def test_killed_between_two_records(place):
    """One submission has its record; the other's append had not come to its commit point."""
    entry = killed(place, (r"rename .*/\.next$", 3), names=("one", "two"))
    (first,) = Ledger(place / "records").records()
    listener = Listener()
    one, two = go_on(place, entry, listener)
    assert listener.begun == []  # every run was finished
    assert one.folder == place / "records" / first.folder and one.verdict == first.record.predicate.verdict
    assert [item.record.predicate.submission.name for item in Ledger(place / "records").records()] == ["one", "two"]
    assert [item.record.predicate.resumed for item in Ledger(place / "records").records()] == [0, 1]
    assert two.folder is not None
    is_sound(place)


def test_killed_in_the_middle_of_an_append(place):
    """Past the commit point of the first record: it counts, though the index does not list it yet."""
    entry = killed(place, (r"rename .*/records/index$", 2), names=("one", "two"))
    assert Ledger(place / "records").records() == []
    one, two = go_on(place, entry)
    first, second = (place / "records" / item.folder for item in Ledger(place / "records").records())
    assert (one.folder, two.folder) == (first, second)
    is_sound(place)


def test_killed_in_the_middle_of_the_last_append_there_is_nothing_left_to_do(place):
    entry = killed(place, (r"rename .*/checkpoint.sig$", 2))
    with pytest.raises(VerifyError, match=r"not open .* nothing is left to do"):
        go_on(place, entry)
    assert len(Ledger(place / "records").records()) == 1
    is_sound(place)
    with pytest.raises(ValueError, match="no session is kept"):
        go_on(place, entry)


def test_killed_twice(place):
    entry = killed(place, (r"rename .*/workspace$", 2))
    before = runs_of(tiny.state(place) / entry)
    assert killed(place, (r"advance one 1 evaluate", 1), entry=entry) == entry
    between = runs_of(tiny.state(place) / entry)
    assert list(before) == ["run-0-0.json"] and sorted(between) == ["run-0-0.json", "run-1-0.json"]
    assert before.items() <= between.items()
    go_on(place, entry)
    (item,) = Ledger(place / "records").records()
    assert item.record.predicate.resumed == 2
    assert item.record.predicate.runs[0] == RunResult.model_validate_json(between["run-1-0.json"]).run
    is_sound(place)


def test_a_run_that_failed_before_the_kill_stands(place):
    """Taking a session up again is no second chance."""
    (place / "one" / "train.py").write_text("raise SystemExit(3)\n")
    entry = killed(place, (r"rename .*/\.next$", 2))
    (place / "one" / "train.py").write_text(tiny.TRAINER.format(seconds=0))
    listener = Listener()
    (outcome,) = go_on(place, entry, listener)
    assert listener.begun == [] and outcome.folder is None and "exited with code 3" in outcome.reason
    is_sound(place)


def test_the_next_verification_names_what_was_killed_and_clears_what_never_began(place):
    assert killed(place, (r"rename .*/\.next$", 1)) is not None  # one step before it is announced
    assert Ledger(place / "records").entries() == []
    entry = killed(place, (r"rename .*/workspace$", 1))
    assert [journal.folder.name for journal in journals(tiny.state(place))] == [entry]
    listener, cancel = Listener(), threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        begin(place, listener, cancel=cancel)
    assert any(f"{entry} was killed" in line and f"--resume {entry} --ledger" in line for line in listener.lines)
    with pytest.raises(Interrupted):  # Ctrl-C while going on closes it
        go_on(place, entry, cancel=cancel)
    is_sound(place)


# ---------------------------------------------------------------- what a session cannot go on with


@pytest.fixture(scope="module")
def once_killed(tmp_path_factory):
    place = tmp_path_factory.mktemp("killed")
    tiny.build(place, seconds=0.1)
    return place, killed(place, (r"rename .*/workspace$", 2))


def other_key(place, entry):
    generate(place / "other", "tester")
    return {"key": load_key(place / "other")}


def other_name(place, entry):
    generate(place / "other", "somebody")
    return {"key": load_key(place / "other")}


def other_ledger(place, entry):
    return {"ledger": Ledger(place / "elsewhere")}


def other_track(place, entry):
    with (place / "harness" / "tracks" / "cpu-logic.toml").open("a") as file:
        file.write("# changed\n")


def other_machine(place, entry):
    path = tiny.state(place) / entry / "session.json"
    path.write_text(path.read_text().replace('"cores":', '"cores":1'))  # 2 cores become 12


def other_isolation(place, entry):
    path = tiny.state(place) / entry / "session.json"
    path.write_text(path.read_text().replace('"isolation":"full"', '"isolation":"none"'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_key, "announced by tester with another key"),
        (other_name, "announced by tester with another key than this of somebody"),
        (other_ledger, r"not in .*elsewhere: its ledger is .*/records: name that with --ledger"),
        (other_track, "announced for another cpu-logic@"),
        (other_machine, "started on another machine"),
        (other_isolation, "started with isolation none; here it is full"),
    ],
)
def test_a_session_goes_on_only_as_it_began(once_killed, tmp_path, monkeypatch, change, message):
    original, entry = once_killed
    place = tmp_path / "place"
    shutil.copytree(original, place, symlinks=True)
    monkeypatch.setattr(files, "TRACKS", place / "harness" / "tracks")
    other = change(place, entry) or {}
    before = snapshot(tiny.state(place), place / "records")
    assert any(path.name == "run-0-0.json" for path in before)
    with pytest.raises(VerifyError, match=message):
        go_on(place, entry, **other)
    assert snapshot(tiny.state(place), place / "records") == before
    assert not (place / "elsewhere").exists()


def test_a_changed_copy_of_a_submission_is_refused_and_can_be_put_back(once_killed, tmp_path, monkeypatch):
    original, entry = once_killed
    place = tmp_path / "place"
    shutil.copytree(original, place, symlinks=True)
    monkeypatch.setattr(files, "TRACKS", place / "harness" / "tracks")
    source = tiny.state(place) / entry / "submission-1" / "train.py"
    text = source.read_text()
    source.write_text(f"{text}# changed\n")
    before = snapshot(place / "records")
    with pytest.raises(VerifyError, match=f"submission-1 is not what was announced .*still open.* --resume {entry}"):
        go_on(place, entry)
    assert snapshot(place / "records") == before
    source.write_text(text)
    assert go_on(place, entry)[0].folder is not None
    is_sound(place)


# ---------------------------------------------------------------- no room


@contextmanager
def volume(folder, size):
    """A disk of its own; only root can make one. Without, test_journal and test_ledger_staging limit file sizes."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no right to mount: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def nano(place, *arguments, at=None):
    """The command, in a process of its own. Returns (exit code, what it printed)."""
    shown = place / "shown"
    process = forked.CONTEXT.Process(target=tiny.command, args=(place, [str(a) for a in arguments], shown, at))
    process.start()
    process.join(200)
    return process.exitcode, shown.read_text()


@pytest.mark.parametrize(
    ("disk", "filled_before", "message", "finished"),
    [
        (
            "state/nano-r1",
            r"rename .*/workspace$",
            r"cannot keep the session: .*run-1-0.json: No space left on device",
            1,
        ),
        ("records", r"rename .*/run-1-1.json$", r"No space left on device; nothing was added", 3),
    ],
)
def test_a_full_disk_leaves_the_session_open(place, disk, filled_before, message, finished):
    with (place / "one" / "train.py").open("a") as file:
        file.write("print('x' * 20_000)\n")  # more than fits where the note of the workspace was
    options = ["--key", place / "key", "--ledger", place / "records"]
    with volume(place / disk, "1m"):
        times = 2 if finished == 1 else 1
        at = tiny.At(filled_before, times, partial(tiny.fill, place / disk))
        code, shown = nano(place, "verify", place / "one", "--runs", 1, *options, at=at)
        (left,) = Ledger(place / "records").open_commitments()
        assert code == 2 and "Traceback" not in shown
        told = " ".join(shown.split())
        assert re.search(message, told), told
        assert f"The session is still open: `nano-r1 verify --resume {left.id} --ledger" in told
        kept = runs_of(tiny.state(place) / left.id)
        assert len(kept) == finished
        assert not [path for path in (tiny.state(place) / left.id).iterdir() if path.name.startswith(".")]
        (place / disk / "filler").unlink()
        assert failures(place) == []

        code, shown = nano(place, "verify", "--resume", left.id, *options)
        assert code == 0, shown
        (item,) = Ledger(place / "records").records()
        assert item.record.predicate.resumed == 1
        if finished == 3:
            assert item.record.predicate.control == RunResult.model_validate_json(kept["run-1-1.json"]).run
        is_sound(place)


def test_an_announcement_that_the_ledger_took_keeps_its_session_whatever_fails_next(place):
    """Past the commit point it stands, though it could not be put in place: its root must not be lost."""
    (place / "records").mkdir()
    (place / "records" / "log").touch()  # where a folder should be
    with pytest.raises(VerifyError, match=r"the entry is safe, .* It is announced as .* --resume"):
        begin(place, Listener())
    (journal,) = journals(tiny.state(place))
    (place / "records" / "log").unlink()
    (outcome,) = go_on(place, journal.folder.name)
    assert outcome.folder is not None
    is_sound(place)


# ---------------------------------------------------------------- two at once, and the clock


def test_a_second_verification_is_refused_with_exit_code_2(place):
    (place / "one" / "train.py").write_text(tiny.TRAINER.format(seconds=6))
    first = forked.CONTEXT.Process(
        target=tiny.session, args=(place, place / "records", ["one"], None, place / "told", None)
    )
    first.start()
    try:
        deadline = time.monotonic() + 60
        while not (place / "told").exists() or "begin" not in (place / "told").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (under_way,) = Ledger(place / "records").open_commitments()
        options = ["--key", place / "key", "--ledger", place / "elsewhere"]
        for arguments in (["verify", place / "two"], ["verify", "--resume", under_way.id]):
            code, shown = nano(place, *arguments, *options)
            assert code == 2 and "another verification is running here" in shown and "Traceback" not in shown
        assert not (place / "elsewhere").exists()
        first.join(120)
        assert first.exitcode == 0
    finally:
        first.kill()
        first.join()
    is_sound(place)


def test_a_clock_that_was_set_back_makes_no_answer_older_than_its_announcement(place, monkeypatch):
    """And a key's window is held against the announcement's time then: what was official when announced stays so."""
    key, now = load_key(place / "key"), datetime.now(UTC).replace(microsecond=0)
    (place / "records").mkdir()
    line = allowed_line(key.public, "tester", now - timedelta(minutes=5), now + timedelta(minutes=30))
    (place / "records" / "allowed_signers").write_text(f"{line}\n")
    listener = Listener()
    yesterday = (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    listener.on_begin = lambda: monkeypatch.setattr(clock, "utc_now", lambda: yesterday)
    (outcome,) = begin(place, listener)
    (item,) = Ledger(place / "records").records()
    announced = json.loads(next((place / "records" / "log").glob("*.json")).read_text())
    said = item.record.predicate
    assert said.runs[0].started_utc == yesterday  # the clock as it was: wall times come from another one
    assert said.created_utc == announced["created_utc"] > yesterday
    assert item.official and outcome.folder is not None
    is_sound(place)


def test_a_key_whose_window_has_passed_still_closes_its_session(place):
    entry = killed(place, (r"rename .*/\.next$", 2))
    key, now = load_key(place / "key"), datetime.now(UTC).replace(microsecond=0)
    announced = json.loads((place / "records" / "log" / f"{entry}.json").read_text())["created_utc"]
    until = datetime.strptime(announced, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    line = allowed_line(key.public, "tester", now - timedelta(hours=1), until)
    (place / "records" / "allowed_signers").write_text(f"{line}\n")
    go_on(place, entry)
    (item,) = Ledger(place / "records").records()
    assert not item.official  # announced in the window, signed after it: self-reported
    is_sound(place)
