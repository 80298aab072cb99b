"""What a verification keeps on disk while it runs, so that a killed one loses no finished run.

    <state>/lock                      held while a verification runs: two at once would slow each other down
    <state>/trial.log                 of the last submission that failed its trial before a session (`trial`)
    <state>/failed-<name>.log         of the last run of this submission that failed in a session
    <state>/<entry>/session.json      what was announced, with the secret root: only its owner may enter the folder
    <state>/<entry>/submission-<n>/   the submissions as they were announced; 0 is the frozen baseline
    <state>/<entry>/run-<n>-<i>.json  run i of submission n, finished or failed: written once, whole
    <state>/<entry>/lost-<k>.json     on a cluster: a run whose machine was lost, and which is made again
    <state>/<entry>/workspace         where the current run has its files: outside, for the sandbox's user to reach

A run that was under way when the session was killed leaves nothing, and is made again with the same seed and questions.
A run that finished stands, whatever its result: resuming a session cannot be used to try again.
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

from harness import files, submission
from harness.errors import NanoR1Error, first_problem
from harness.isolation.load import Share
from harness.ledger.entries import Announcement
from harness.ledger.record import LostRun, Machine, Run
from harness.submission import Submission


class JournalError(NanoR1Error):
    """A session that cannot be kept or resumed; the message says why and what to do."""


def default_state() -> Path:
    """Where this user's sessions live: $XDG_STATE_HOME/nano-r1, usually ~/.local/state/nano-r1."""
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".local" / "state") / "nano-r1"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionSubmission(Model):
    """One submission of a session. Number 0 is the reference; `for_record`: it gets a record or an abandonment."""

    name: str
    tree_sha256: str
    for_record: bool


class SavedSession(Model):
    """All that another process needs to resume a session."""

    announcement: Announcement
    ledger: str  # the folder that it is announced in
    public_key: str  # of the key that announces it: no other can close it
    announced: bool  # False: no run was started, and a kill may have come before the announcement
    root_hex: str
    nonce_hex: str
    isolation: Literal["full", "none"]
    isolation_checks: dict[str, bool]
    machine: Machine
    submissions: list[SessionSubmission]
    control: bool  # does each submission make a control run?
    resumed: int = 0
    cluster: bool = False  # are its runs made on the nodes of a cluster?


class RunResult(Model):
    """What one run gave: a bill and, if it was evaluated, its answers. `failure`: why it counts for nothing."""

    wall_ms: int
    run: Run | None  # None: failed, or the reference, which is not evaluated unless it is a submission itself
    completions: list[list[int]]
    curve: list[dict[str, Any]]
    log: bytes
    failure: str | None
    node: str | None = None  # of a cluster, where it was made
    share: Share | None = None  # of its cores: what the training got, and what other programs took

    @field_serializer("log")
    def _to_text(self, log: bytes) -> str:
        return base64.b64encode(log).decode()

    @field_validator("log", mode="before")
    @classmethod
    def _from_text(cls, log: bytes | str) -> bytes:
        return base64.b64decode(log) if isinstance(log, str) else log


Content = TypeVar("Content", SavedSession, RunResult, LostRun)  # what a file of a session's folder may hold


class Journal:
    """One session's folder."""

    def __init__(self, state: Path, entry: str) -> None:
        self.folder = state / entry

    def create(self, submissions: list[Submission]) -> None:
        """Make the folder, with copies of the submissions: a later edit changes nothing. Raises JournalError."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        try:
            for number, item in enumerate(submissions):
                copy = self.submission_folder(number)
                copy.mkdir()
                submission.snapshot(item.folder, item.tree_sha256, copy)
            for path in [*self.folder.rglob("*"), self.folder, self.folder.parent]:
                files.sync(path)
        except BaseException as error:
            self.remove()
            if isinstance(error, OSError):
                raise _unwritable(self.folder, error) from None
            raise

    def remove(self) -> None:
        """Forget a session that is closed, root and all."""
        self._clear_workspace()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------ the session

    @property
    def has_session(self) -> bool:
        """Can it be resumed? If not, nothing was announced yet, or `remove` was interrupted."""
        return (self.folder / "session.json").exists()

    def save_session(self, session: SavedSession) -> None:
        """Raises JournalError."""
        self._write("session.json", session.model_dump_json())

    def session(self) -> SavedSession:
        """Raises JournalError."""
        return self._read("session.json", SavedSession)

    # ------------------------------------------------------------ the submissions

    def submission_folder(self, number: int) -> Path:
        """A submission as it was announced."""
        return self.folder / f"submission-{number}"

    def copy_submission(self, number: int, tree_sha256: str, destination: Path) -> None:
        """A fresh copy of a submission: its times and inode numbers say nothing about when the session started.

        Raises JournalError.
        """
        source = self.submission_folder(number)
        try:
            destination.mkdir()
            submission.snapshot(source, tree_sha256, destination)
        except submission.SubmissionError:
            raise JournalError(
                f"{source} is not what was announced (tree {tree_sha256[:12]}): put its files back"
            ) from None
        except OSError as error:
            raise _unwritable(destination, error) from None

    def submission_files(self, number: int, tree_sha256: str) -> dict[str, bytes]:
        """A submission's files by path, to be sent to another machine. Raises JournalError."""
        with tempfile.TemporaryDirectory(prefix="nano-r1-") as folder:
            copy = Path(folder) / "submission"
            self.copy_submission(number, tree_sha256, copy)
            return {path.as_posix(): (copy / path).read_bytes() for path in submission.tree_files(copy)}

    # ------------------------------------------------------------ the runs

    def save_result(self, number: int, run: int, result: RunResult) -> None:
        """Raises JournalError."""
        self._write(f"run-{number}-{run}.json", result.model_dump_json())

    def result(self, number: int, run: int) -> RunResult | None:
        """What this run gave, if it has ended. Raises JournalError."""
        name = f"run-{number}-{run}.json"
        return self._read(name, RunResult) if (self.folder / name).exists() else None

    def save_loss(self, lost: LostRun) -> None:
        """Raises JournalError."""
        self._write(f"lost-{len(self.losses())}.json", lost.model_dump_json())

    def losses(self) -> list[LostRun]:
        """The runs whose machines were lost, oldest first. Raises JournalError."""
        count = sum(1 for _ in self.folder.glob("lost-*.json"))
        return [self._read(f"lost-{number}.json", LostRun) for number in range(count)]

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder for one run. What a killed process left in its own is removed. Raises JournalError."""
        self._clear_workspace()
        place = files.socket_parent() / f"nano-r1-{secrets.token_hex(8)}"
        self._write("workspace", str(place))  # first the note, then the folder: a kill between leaves nothing
        try:
            place.mkdir()
            place.chmod(0o755)
        except OSError as error:
            raise _unwritable(place, error) from None
        try:
            yield place
        finally:
            self._clear_workspace()

    def _clear_workspace(self) -> None:
        note = self.folder / "workspace"
        if note.exists():
            shutil.rmtree(note.read_text(encoding="utf-8"), ignore_errors=True)
            note.unlink()

    # ------------------------------------------------------------ its files

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        try:
            files.write(path, text, private=True)
        except OSError as error:
            raise JournalError(f"cannot keep the session: {path}: {error.strerror}") from None

    def _read(self, name: str, kind: type[Content]) -> Content:
        path = self.folder / name
        try:
            return kind.model_validate(json.loads(path.read_bytes()))
        except FileNotFoundError:
            names = ", ".join(journal.folder.name for journal in journals(self.folder.parent) if journal.has_session)
            raise JournalError(f"no session is kept in {self.folder}; kept: {names or 'none'}") from None
        except ValidationError as error:
            raise JournalError(f"{path} cannot be read: {first_problem(error)}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise JournalError(f"{path} cannot be read: {error}") from None


def journals(state: Path) -> list[Journal]:
    """Every session's folder, oldest first."""
    return [Journal(state, path.name) for path in sorted(state.iterdir()) if path.is_dir()] if state.is_dir() else []


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"cannot keep the session: {error.filename or path}: {error.strerror}")


@contextmanager
def session_lock(state: Path) -> Iterator[None]:
    """Raises JournalError if this user has a verification under way on this machine."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(state / "lock", "a", encoding="utf-8")  # noqa: SIM115  closed below; the kernel unlocks it however the process ends
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
