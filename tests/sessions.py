"""Verifications on the track of tests/tiny.py: start one, kill it at a chosen step, resume it, see what is left."""

import signal
import threading
import time

import forked
import tiny

from harness import submission
from harness.ledger.check import check
from harness.ledger.signature import load_key
from harness.ledger.store import Ledger
from harness.tracks import track as tracks
from harness.verify.journal import Journal, journals
from harness.verify.schedule import Schedule, participants_of
from harness.verify.session import Verifier, resume, session_submission, verify


class Listener:
    """A reporter that keeps what it is told; `on_begin` is called with each phase that begins."""

    def __init__(self, on_begin=lambda phase: None):
        self.lines, self.phases, self.on_begin = [], [], on_begin

    def begin(self, name, run, phase, total):
        self.phases.append((name, run, phase))
        self.on_begin(phase)

    def advance(self, done, note):
        pass

    def finished(self, seconds):
        pass

    def say(self, text):
        self.lines.append(text)

    def trained(self):
        """(name, run) of each training, in order."""
        return [(name, run) for name, run, phase in self.phases if phase == "train"]


def schedule_of(folder, in_turn=True):
    """The schedule of two submissions, three runs each, before any run; and their journal, in `folder`."""
    items = [tiny.make_submission(folder, name, 0) for name in ("first", "second")]
    journal = Journal(folder / "state", "e")
    journal.create(items)
    participants = participants_of([session_submission(item, item is not items[0]) for item in items])
    track = tracks.load("cpu-logic")
    track = track.model_copy(update={"hardware": track.hardware.model_copy(update={"runs_in_turn": in_turn})})
    return Schedule(track, participants, runs=3, root=bytes(32), control=True), journal


def verifier_at(place, listener=None, ledger=None, key=None, cancel=None):
    return Verifier(
        ledger or Ledger(place / "records"),
        key or load_key(place / "key"),
        tiny.state_folder(place),
        listener or Listener(),
        cancel or threading.Event(),
    )


def start(place, listener=None, **other):
    """Verify the submission `one` here, with one run."""
    submissions = [submission.load(place / "one")]
    return verify(tracks.load("cpu-logic"), submissions, verifier_at(place, listener, **other), runs=1)


def resumed(place, entry, listener=None, **other):
    return resume(entry, verifier_at(place, listener, **other))


def killed(place, step, names=("one",), entry=None):
    """Verify, or resume `entry`, in a process that is killed at `step`, (pattern, n): see tiny.Trigger.

    Returns the session's entry, None if there is none yet.
    """
    trigger = tiny.Trigger(*step, tiny.kill_self)
    process = forked.Process(
        target=tiny.run_session, args=(place, place / "records", list(names), entry, place / "steps", trigger)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, (place / "steps").read_text(encoding="utf-8")
    deadline = time.monotonic() + 0.5  # later, the next verification on this machine would remove it
    while tiny.sandboxed_processes(process.pid):
        assert time.monotonic() < deadline, "the sandbox outlived its verifier"
        time.sleep(0.01)
    entries = [journal.folder.name for journal in journals(tiny.state_folder(place)) if journal.has_session]
    return entries[0] if entries else None


def command(place, *arguments, trigger=None):
    """`nano-r1 ARGUMENTS` in a process of its own. Returns (exit code, what it printed)."""
    output = place / "output"
    process = forked.Process(
        target=tiny.run_command, args=(place, [str(argument) for argument in arguments], output, trigger)
    )
    process.start()
    process.join(200)
    return process.exitcode, output.read_text(encoding="utf-8")


def run_files(place, entry):
    """The finished runs that a session's journal holds."""
    return {path.name: path.read_bytes() for path in (tiny.state_folder(place) / entry).glob("run-*.json")}


def predicates(place):
    """Of the records in the ledger, oldest first."""
    return [listed.record.predicate for listed in Ledger(place / "records").records()]


def failures(place):
    return [finding for finding in check(place / "records") if not finding.ok]


def assert_closed(place):
    """The ledger is whole and nothing in it is open; no journal is left."""
    assert failures(place) == [] and Ledger(place / "records").open_announcements() == []
    assert journals(tiny.state_folder(place)) == []
