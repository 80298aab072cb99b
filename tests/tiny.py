"""A whole verification in seconds, in a process of its own that meets SIGKILL or a full disk at a chosen step.

The track is cpu-logic with two questions a task, and its trainers learn nothing; sandbox, socket, evaluation, journal
and ledger are the real ones. The doctor's probes run once a process of the tests, and sessions in its places are told
what it found: each start of one would cost two seconds more. `scripts/attack/kills.py` kills at random, the tests at
chosen steps.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import cli, submission
from harness.isolation import doctor, meter
from harness.ledger import record
from harness.ledger.entries import Abandonment, AnnouncedSubmission, Announcement
from harness.ledger.signature import generate, load_key
from harness.ledger.store import Ledger
from harness.tracks import files
from harness.tracks import track as tracks
from harness.tracks.track import ROOT
from harness.verify import schedule
from harness.verify.session import Verifier, resume, verify

# If the harness is gone it stays, for as long as nobody ends it: a sandbox that outlives its verifier is seen.
TRAINER = """
import shutil, time
from harness.client import connect
try:
    run = connect()
    run.score([(prompt.id, [run.end_token_id]) for prompt in run.prompts(4)])
    time.sleep({seconds})
    run.prompts(1)
except Exception:
    time.sleep(50)
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
"""


# ---------------------------------------------------------------- the place


def make_submission(place: Path, name: str, seconds: float) -> submission.Submission:
    """A submission that takes `seconds` and hands the base model back."""
    folder = place / name
    folder.mkdir()
    (folder / "train.py").write_text(TRAINER.format(seconds=seconds), encoding="utf-8")
    (folder / "submission.toml").write_text(
        f'name = "{name}"\ntrack = "cpu-logic"\ntitle = "{name}"\nchange = "for a test"\ncontributors = ["tests"]\n',
        encoding="utf-8",
    )
    return submission.load(folder)


def build_place(place: Path, seconds: float) -> None:
    """Lay out place/: the tiny track, its baseline, the submissions one and two, and a key."""
    place.chmod(0o755)
    baseline = make_submission(place, "quick-baseline", seconds)
    for name in ("one", "two"):
        make_submission(place, name, seconds)
    generate(place / "key", "tester")
    # The digest is over files beside the track's, so links make a whole harness there.
    (place / "harness" / "tracks").mkdir(parents=True)
    for path in (ROOT / "harness").iterdir():
        if path.name != "tracks":
            (place / "harness" / path.name).symlink_to(path)
    (place / "harness" / "tracks" / "standing").symlink_to(ROOT / "harness" / "tracks" / "standing")
    text = (ROOT / "harness" / "tracks" / "cpu-logic.toml").read_text(encoding="utf-8")
    text = re.sub(r"^questions = \d+", "questions = 2", text, flags=re.MULTILINE)
    text = re.sub(r"^seconds = \d+", "seconds = 60", text, flags=re.MULTILINE)
    # It takes seconds a start, and few trainers of these tests need it.
    text = re.sub(r"^preload = \[.*?^\]\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text, count = re.subn(
        r'\[baseline\]\nfolder = "baseline"\ntree_sha256 = "\w+"',
        f'[baseline]\nfolder = "{baseline.folder}"\ntree_sha256 = "{baseline.tree_sha256}"',
        text,
    )
    assert count == 1
    (place / "harness" / "tracks" / "cpu-logic.toml").write_text(text, encoding="utf-8")
    (place / "doctor.json").write_text(json.dumps([asdict(check) for check in isolation_checks()]), encoding="utf-8")


# What the doctor really finds on this machine.
isolation_checks = functools.cache(doctor.isolation_checks)


def last_round(root: bytes, tree_sha256: str, rounds: int) -> int:
    """In place of `control_round`: tests name a moment to be killed at, so the order must be known."""
    return rounds - 1


def install_track(place: Path) -> tracks.Track:
    """From here on, `cpu-logic` is this process's tiny track, and the doctor has been asked."""
    files.TRACKS = place / "harness" / "tracks"
    schedule.control_round = last_round
    known = [doctor.Check(**check) for check in json.loads((place / "doctor.json").read_text(encoding="utf-8"))]
    doctor.isolation_checks = lambda: known
    return tracks.load("cpu-logic")


def state_folder(place: Path) -> Path:
    """Where the place's sessions are kept: what `default_state` gives under XDG_STATE_HOME=place/state."""
    return place / "state" / "nano-r1"


# ---------------------------------------------------------------- a process that verifies


@dataclass(frozen=True)
class Trigger:
    """`action` is called in the process at the n-th step that matches; see StepRecorder for the steps."""

    pattern: str
    n: int
    action: Callable[[], None]


def kill_self() -> None:
    """kill -9"""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(folder: Path) -> None:
    """Leave no room on this disk."""
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


class StepRecorder:
    """A reporter that writes each step to a file: `begin NAME RUN PHASE`, `advance` likewise, `say …`, `rename TO`."""

    def __init__(self, path: Path, trigger: Trigger | None = None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._trigger, self._matches, self._phase = trigger, 0, ""

    def watch_renames(self) -> None:
        """Record each rename, just before it is made: that is where files are committed. Until the process ends."""
        sys.addaudithook(
            lambda event, paths: self.record(f"rename {os.fsdecode(paths[1])}") if event == "os.rename" else None
        )

    def record(self, step: str) -> None:
        os.write(self._file, step.replace("\n", " ").encode() + b"\n")
        if self._trigger is not None and re.match(self._trigger.pattern, step):
            self._matches += 1
            if self._matches == self._trigger.n:
                self._trigger.action()

    def begin(self, name: str, run: int, phase: str, total: float) -> None:
        self._phase = f"{name} {run} {phase}"
        self.record(f"begin {self._phase}")

    def advance(self, done: float, note: str) -> None:
        self.record(f"advance {self._phase}")

    def finished(self, seconds: float) -> None:
        self.record("finished")

    def say(self, text: str) -> None:
        self.record(f"say {text}")

    def node(self, name: str) -> "StepRecorder":
        return self


def run_session(
    place: Path, ledger: Path, names: list[str], entry: str | None, steps: Path, trigger: Trigger | None = None
) -> None:
    """What a process does: verify these submissions of the place, or resume `entry`. Exits with 0 when it is closed."""
    import torch

    torch.set_num_threads(1)  # a model this small is no faster on two cores, and far slower on two that are busy
    track, recorder = install_track(place), StepRecorder(steps, trigger)
    recorder.watch_renames()
    key = load_key(place / "key")
    verifier = Verifier(Ledger(ledger), key, state_folder(place), recorder, threading.Event())
    if entry is not None:
        resume(entry, verifier)
    else:
        verify(track, [submission.load(place / name) for name in names], verifier, runs=1)


def run_command(place: Path, arguments: list[str], output: Path, trigger: Trigger | None = None) -> None:
    """What a process does: `nano-r1 ARGUMENTS` on the tiny track; all that it prints goes to the file `output`."""
    import torch

    torch.set_num_threads(1)
    install_track(place)
    os.environ["XDG_STATE_HOME"] = str(place / "state")
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    StepRecorder(output.with_suffix(".steps"), trigger).watch_renames()
    sys.argv = ["nano-r1", *arguments]
    cli.main()


def sandboxed_processes(verifier: int | None) -> list[int]:
    """Processes alive in a cgroup that this verifier made: a sandbox joins it before it becomes anything."""
    homes = meter.find_homes(
        Path("/proc/self/mountinfo").read_text(encoding="utf-8"), Path("/proc/self/cgroup").read_text(encoding="utf-8")
    )
    alive: set[int] = set()
    for home in set(homes.values()):
        for members in home.glob(f"nano-r1-{verifier}-*/cgroup.procs"):
            with contextlib.suppress(OSError):  # the cgroup may be gone by now
                alive |= {int(pid) for pid in members.read_text(encoding="utf-8").split()}
    return sorted(alive)


# ---------------------------------------------------------------- a process that appends


def entries_of(made: record.Record, evidence: Mapping[str, bytes], number: int) -> Iterator[Any]:
    """A fresh announcement, then what answers it: an abandonment or, every other time, (a record, its evidence)."""
    root, nonce = (hashlib.sha256(f"{what} {number}".encode()).digest() for what in ("root", "nonce"))
    predicate, name, secret = made.predicate, f"s{number}", hashlib.sha256(root + nonce).hexdigest()
    yield Announcement(
        id=f"e{number}",
        created_utc=predicate.created_utc,
        signer=predicate.signer,
        track=predicate.track,
        track_digest=predicate.track_digest,
        submissions=[AnnouncedSubmission(name=name, tree_sha256=predicate.submission.tree_sha256)],
        runs=len(predicate.runs),
        commitment_sha256=secret,
    )
    if number % 2:
        yield Abandonment(
            id=f"a{number}",
            created_utc=predicate.created_utc,
            signer=predicate.signer,
            commitment=f"e{number}",
            submission=name,
            reason="for a test",
        )
        return
    claim = record.Opening(entry=f"e{number}", commitment_sha256=secret, root_hex=root.hex(), nonce_hex=nonce.hex())
    renamed = predicate.submission.model_copy(update={"name": name})
    answer = predicate.model_copy(update={"commitment": claim, "submission": renamed})
    yield made.model_copy(update={"predicate": answer}), evidence


def append_forever(key: Path, folder: Path, made: Path, first: int, done: Connection) -> None:
    """What a process does: append to a ledger until it is killed; sends (path, seconds) after each entry."""
    signing_key, ledger = load_key(key), Ledger(folder)
    template = record.load((made / "record.json").read_bytes())
    evidence = {name: (made / name).read_bytes() for name in template.predicate.files}
    for number in count(first):
        for entry in entries_of(template, evidence, number):
            start = time.monotonic()
            if isinstance(entry, Announcement):
                path = ledger.announce(entry, signing_key)
            elif isinstance(entry, Abandonment):
                path = ledger.abandon(entry, signing_key)
            else:
                path = ledger.add_record(*entry, signing_key) / "record.json"
            done.send((path.relative_to(folder).as_posix(), time.monotonic() - start))
