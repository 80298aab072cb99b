"""What a verification keeps on disk while it runs, so that a killed one loses no finished run.

    <state>/lock                      held while a verification runs: two at once would slow each other down
    <state>/<entry>/session.json      what was announced, with the secret root: only its owner may enter the folder
    <state>/<entry>/submission-<n>/   the submissions as they were announced; 0 is the frozen baseline
    <state>/<entry>/run-<n>-<i>.json  run i of submission n, finished or failed: written once, whole
    <state>/<entry>/lost-<k>.json     on a cluster: a run whose machine was lost, and which is made again
    <state>/<entry>/workplace         where the run under way has its files: outside, for the sandbox's user to reach

A run that was under way when the session was killed has left nothing, and is made again with the same seed and
questions. A run that finished stands, whatever it found: taking a session up again cannot be used to try again.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_serializer, field_validator

from harness import submission
from harness.errors import NanoR1Error
from harness.ledger.log import Commitment
from harness.ledger.record import Lost, Machine, Run
from harness.submission import Submission


class JournalError(NanoR1Error):
    """A session that cannot be kept or taken up again; the message says why and what to do."""


def default_state() -> Path:
    """Where this user's sessions live: $XDG_STATE_HOME/nano-r1, usually ~/.local/state/nano-r1."""
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".local" / "state") / "nano-r1"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(Model):
    """One submission of a session. Member 0 is the reference; `wanted`: it gets a record or an abandonment."""

    name: str
    tree_sha256: str
    wanted: bool


class Session(Model):
    """All that is needed to go on with a session in another process."""

    commitment: Commitment
    ledger: str  # the folder that it is announced in
    public: str  # the key that announces it: no other can close it
    announced: bool  # False: no run was begun, and a kill may have come before the announcement
    root_hex: str
    nonce_hex: str
    isolation: Literal["full", "none"]
    isolation_checks: dict[str, bool]
    machine: Machine
    members: list[Member]
    control: bool  # does each submission make a control run?
    resumed: int = 0
    cluster: bool = False  # are its runs made on the nodes of a cluster?


class Trained(Model):
    """What one run has given: a bill and, if it was evaluated, its answers. `failure`: why it counts for nothing."""

    wall_ms: int
    run: Run | None  # None: failed, or the reference, which is not evaluated unless it is a submission itself
    completions: list[list[int]]
    curve: list[dict[str, Any]]
    log: bytes
    failure: str | None
    node: str | None = None  # of a cluster, where it was made

    @field_serializer("log")
    def _to_text(self, log: bytes) -> str:
        return base64.b64encode(log).decode()

    @field_validator("log", mode="before")
    @classmethod
    def _from_text(cls, log: bytes | str) -> bytes:
        return base64.b64decode(log) if isinstance(log, str) else log


Kept = TypeVar("Kept", Session, Trained, Lost)  # what a file of a session's folder may hold


class Journal:
    """One session's folder."""

    def __init__(self, state: Path, entry: str) -> None:
        self.folder = state / entry

    def begin(self, items: list[Submission]) -> None:
        """Keep copies of the submissions, so that an edit meanwhile changes nothing. Raises JournalError."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        try:
            for number, item in enumerate(items):
                home = self.place(number)
                home.mkdir()
                submission.snapshot(item.folder, item.tree_sha256, home)
            for path in [*self.folder.rglob("*"), self.folder, self.folder.parent]:
                _fsync(path)
        except BaseException as error:
            self.end()
            if isinstance(error, OSError):
                raise _unwritable(self.folder, error) from None
            raise

    @property
    def complete(self) -> bool:
        """Is there a session to go on with? Without one, nothing was announced yet, or `end` was interrupted."""
        return (self.folder / "session.json").exists()

    def save(self, session: Session) -> None:
        """Raises JournalError."""
        self._write("session.json", session.model_dump_json())

    def session(self) -> Session:
        """Raises JournalError."""
        return self._read("session.json", Session)

    def copy(self, number: int, tree_sha256: str, destination: Path) -> None:
        """A fresh copy of a submission: its times and inode numbers say nothing about when the session began.

        Raises JournalError.
        """
        try:
            destination.mkdir()
            submission.snapshot(self.place(number), tree_sha256, destination)
        except submission.SubmissionError:
            raise JournalError(
                f"{self.place(number)} is not what was announced (tree {tree_sha256[:12]}): put its files back"
            ) from None
        except OSError as error:
            raise _unwritable(destination, error) from None

    def files(self, number: int, tree_sha256: str) -> dict[str, bytes]:
        """A submission's files by path, to be sent to another machine. Raises JournalError."""
        with tempfile.TemporaryDirectory(prefix="nano-r1-") as work:
            copy = Path(work) / "submission"
            self.copy(number, tree_sha256, copy)
            return {path.as_posix(): (copy / path).read_bytes() for path in submission.tree_files(copy)}

    def place(self, number: int) -> Path:
        """The folder of a submission as it was announced."""
        return self.folder / f"submission-{number}"

    def keep(self, number: int, run: int, trained: Trained) -> None:
        """Raises JournalError."""
        self._write(f"run-{number}-{run}.json", trained.model_dump_json())

    def kept(self, number: int, run: int) -> Trained | None:
        """What an earlier process finished. Raises JournalError."""
        name = f"run-{number}-{run}.json"
        return self._read(name, Trained) if (self.folder / name).exists() else None

    def lose(self, lost: Lost) -> None:
        """Raises JournalError."""
        self._write(f"lost-{len(self.losses())}.json", lost.model_dump_json())

    def losses(self) -> list[Lost]:
        """The runs whose machines were lost, oldest first. Raises JournalError."""
        count = sum(1 for _ in self.folder.glob("lost-*.json"))
        return [self._read(f"lost-{number}.json", Lost) for number in range(count)]

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """An empty folder for one run. What a killed process left in its own is removed. Raises JournalError."""
        self._clear()
        place = Path(tempfile.gettempdir()) / f"nano-r1-{secrets.token_hex(8)}"
        self._write("workplace", str(place))  # first the note, then the folder: a kill between leaves nothing
        try:
            place.mkdir()
            place.chmod(0o755)
        except OSError as error:
            raise _unwritable(place, error) from None
        try:
            yield place
        finally:
            self._clear()

    def _clear(self) -> None:
        note = self.folder / "workplace"
        if note.exists():
            shutil.rmtree(note.read_text(), ignore_errors=True)
            note.unlink()

    def end(self) -> None:
        """The session is closed: forget it, root and all."""
        self._clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        temporary = self.folder / f".{name}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.folder / name)
            _fsync(self.folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _unwritable(self.folder / name, error) from None

    def _read(self, name: str, kind: type[Kept]) -> Kept:
        path = self.folder / name
        try:
            return kind.model_validate(json.loads(path.read_bytes()))
        except FileNotFoundError:
            known = ", ".join(journal.folder.name for journal in journals(self.folder.parent) if journal.complete)
            raise JournalError(f"no session is kept in {self.folder}; kept: {known or 'none'}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise JournalError(f"{path} cannot be read: {where}: {first['msg']}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise JournalError(f"{path} cannot be read: {error}") from None


def journals(state: Path) -> list[Journal]:
    """Every folder of a session, oldest first."""
    return [Journal(state, each.name) for each in sorted(state.iterdir()) if each.is_dir()] if state.is_dir() else []


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"cannot keep the session: {error.filename or path}: {error.strerror}")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Raises JournalError if this user has a verification under way on this machine."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(state / "lock", "a")  # noqa: SIM115  closed below; the kernel lets go however the process ends
    except OSError as error:
        raise JournalError(f"cannot write {error.filename or state}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"another verification is running here (it holds {state / 'lock'}): two at once would slow each "
                "other down; wait for it"
            ) from None
        yield
