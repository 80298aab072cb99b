"""A whole verification in seconds, in a process of its own that meets SIGKILL or a full disk at a chosen step.

The track is cpu-logic with two questions a task, and its trainers learn nothing; sandbox, socket, evaluation, journal
and ledger are the real ones. `scripts/attack/kills.py` kills at random, the tests at chosen steps.
"""

import contextlib
import hashlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness import cli, submission
from harness.isolation import meter
from harness.ledger import record
from harness.ledger.entries import Abandonment, Announced, Commitment
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


def make(place: Path, name: str, seconds: float) -> submission.Submission:
    """A submission that takes `seconds` and hands the base model back."""
    home = place / name
    home.mkdir()
    (home / "train.py").write_text(TRAINER.format(seconds=seconds))
    (home / "submission.toml").write_text(
        f'name = "{name}"\ntrack = "cpu-logic"\ntitle = "{name}"\nchange = "for a test"\ncontributors = ["tests"]\n'
    )
    return submission.load(home)


def build(place: Path, seconds: float) -> None:
    """Lay out place/: the tiny track, its baseline, the submissions one and two, and a key."""
    place.chmod(0o755)
    baseline = make(place, "quick-baseline", seconds)
    for name in ("one", "two"):
        make(place, name, seconds)
    generate(place / "key", "tester")
    # The digest is over files beside the track's, so a whole harness stands there, by links.
    (place / "harness" / "tracks").mkdir(parents=True)
    for path in (ROOT / "harness").iterdir():
        if path.name != "tracks":
            (place / "harness" / path.name).symlink_to(path)
    text = (ROOT / "harness" / "tracks" / "cpu-logic.toml").read_text()
    text = re.sub(r"^questions = \d+", "questions = 2", text, flags=re.MULTILINE)
    text = re.sub(r"^seconds = \d+", "seconds = 60", text, flags=re.MULTILINE)
    text, frozen = re.subn(
        r'\[baseline\]\nfolder = "baseline"\ntree_sha256 = "\w+"',
        f'[baseline]\nfolder = "{baseline.folder}"\ntree_sha256 = "{baseline.tree_sha256}"',
        text,
    )
    assert frozen == 1
    (place / "harness" / "tracks" / "cpu-logic.toml").write_text(text)


def last_round(root: bytes, tree_sha256: str, rounds: int) -> int:
    """In place of `control_round`: tests name a moment to be killed at, so the order must be known."""
    return rounds - 1


def use(place: Path) -> tracks.Track:
    """From here on, `cpu-logic` is this process's tiny track."""
    files.TRACKS = place / "harness" / "tracks"
    schedule.control_round = last_round
    return tracks.load("cpu-logic")


def state(place: Path) -> Path:
    """Where the place's sessions are kept: what `default_state` gives under XDG_STATE_HOME=place/state."""
    return place / "state" / "nano-r1"


# ---------------------------------------------------------------- a process that verifies


@dataclass(frozen=True)
class At:
    """`act` happens in the process at the n-th step that matches; see Teller for the steps."""

    pattern: str
    times: int
    act: Callable[[], None]


def die() -> None:
    """kill -9"""
    os.kill(os.getpid(), signal.SIGKILL)


def fill(folder: Path) -> None:
    """Leave no room on this disk."""
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


class Teller:
    """A reporter that writes each step to a file: `begin ARM RUN PHASE`, `advance` likewise, `say …`, `rename TO`."""

    def __init__(self, path: Path, at: At | None = None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._at, self._times, self._at_work = at, 0, ""

    def watch_renames(self) -> None:
        """Tell of each rename, just before it is made: that is where files are committed. Until the process ends."""
        sys.addaudithook(
            lambda event, told: self.tell(f"rename {os.fsdecode(told[1])}") if event == "os.rename" else None
        )

    def tell(self, line: str) -> None:
        os.write(self._file, line.replace("\n", " ").encode() + b"\n")
        if self._at is not None and re.match(self._at.pattern, line):
            self._times += 1
            if self._times == self._at.times:
                self._at.act()

    def begin(self, arm: str, run: int, phase: str, total: float) -> None:
        self._at_work = f"{arm} {run} {phase}"
        self.tell(f"begin {self._at_work}")

    def advance(self, done: float, note: str) -> None:
        self.tell(f"advance {self._at_work}")

    def finished(self, seconds: float) -> None:
        self.tell("finished")

    def say(self, text: str) -> None:
        self.tell(f"say {text}")


def session(place: Path, ledger: Path, names: list[str], entry: str | None, told: Path, at: At | None = None) -> None:
    """What a process does: verify these submissions of the place, or go on with `entry`. Exits with 0 when closed."""
    import torch

    torch.set_num_threads(1)  # a model this small is no faster on two cores, and far slower on two that are busy
    track, key, teller = use(place), load_key(place / "key"), Teller(told, at)
    teller.watch_renames()
    verifier = Verifier(Ledger(ledger), key, state(place), teller, threading.Event())
    if entry is not None:
        resume(entry, verifier)
    else:
        verify(track, [submission.load(place / name) for name in names], verifier, runs=1)


def command(place: Path, arguments: list[str], shown: Path, at: At | None = None) -> None:
    """What a process does: `nano-r1 ARGUMENTS` on the tiny track, its output in the file `shown`."""
    import torch

    torch.set_num_threads(1)
    use(place)
    os.environ["XDG_STATE_HOME"] = str(place / "state")
    file = os.open(shown, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    Teller(shown.with_suffix(".told"), at).watch_renames()
    sys.argv = ["nano-r1", *arguments]
    cli.main()


def sandboxed(verifier: int | None) -> list[int]:
    """Processes alive in a cgroup that this verifier made: a sandbox joins it before it becomes anything."""
    homes = meter.find_homes(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    alive: set[int] = set()
    for door in [door for home in set(homes.values()) for door in home.glob(f"nano-r1-{verifier}-*/cgroup.procs")]:
        with contextlib.suppress(OSError):  # gone between the two looks
            alive |= {int(pid) for pid in door.read_text().split()}
    return sorted(alive)


# ---------------------------------------------------------------- a process that appends


def entries(made: record.Record, evidence: Mapping[str, bytes], number: int) -> Iterator[Any]:
    """A fresh announcement, then what answers it: an abandonment or, every other time, (a record, its evidence)."""
    root, nonce = (hashlib.sha256(f"{what} {number}".encode()).digest() for what in ("root", "nonce"))
    said, name, secret = made.predicate, f"s{number}", hashlib.sha256(root + nonce).hexdigest()
    yield Commitment(
        id=f"e{number}",
        created_utc=said.created_utc,
        signer=said.signer,
        track=said.track,
        track_digest=said.track_digest,
        submissions=[Announced(name=name, tree_sha256=said.submission.tree_sha256)],
        runs=len(said.runs),
        commitment_sha256=secret,
    )
    if number % 2:
        yield Abandonment(
            id=f"a{number}",
            created_utc=said.created_utc,
            signer=said.signer,
            commitment=f"e{number}",
            submission=name,
            reason="for a test",
        )
        return
    claim = record.Commitment(entry=f"e{number}", commitment_sha256=secret, root_hex=root.hex(), nonce_hex=nonce.hex())
    submitted = said.submission.model_copy(update={"name": name})
    predicate = said.model_copy(update={"commitment": claim, "submission": submitted})
    yield made.model_copy(update={"predicate": predicate}), evidence


def append_for_ever(key: Path, folder: Path, made: Path, first: int, done: Connection) -> None:
    """What a process does: append to a ledger until it is killed; says (path, seconds) after each entry."""
    signing, ledger = load_key(key), Ledger(folder)
    template = record.load((made / "record.json").read_bytes())
    evidence = {name: (made / name).read_bytes() for name in template.predicate.files}
    for number in count(first):
        for said in entries(template, evidence, number):
            begun = time.monotonic()
            if isinstance(said, Commitment):
                path = ledger.commit(said, signing)
            elif isinstance(said, Abandonment):
                path = ledger.abandon(said, signing)
            else:
                path = ledger.add_record(*said, signing) / "record.json"
            done.send((path.relative_to(folder).as_posix(), time.monotonic() - begun))
