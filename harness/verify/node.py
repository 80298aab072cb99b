"""What happens on a node of a cluster: it shows what it is, and makes one run at a time with the run's own keys.

A node trains in its own sandbox, reads the weights, asks the questions, and hands back what the journal keeps of a run.
It is as trusted as the verifier: what it says, the record says.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness import files, submission
from harness.errors import NanoR1Error
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track
from harness.verify.executor import VerifyError
from harness.verify.local import LocalExecutor, lease_gpus
from harness.verify.run import RunContext, make_run
from harness.verify.schedule import RunSpec

HARNESS = ROOT / "harness"
REPORT_SECONDS = 5.0  # between two reports of a run's progress: the run needs the cores


class ClusterError(NanoR1Error):
    """A cluster that cannot make the runs, or cannot continue; the message says why and what to do."""


# ---------------------------------------------------------------- what is sent to a node


@dataclass(frozen=True)
class Version:
    """What a node must have as the verifier has it."""

    code_sha256: str
    track: str
    track_digest: str


@dataclass(frozen=True)
class RunRequest:
    """One run for a node."""

    version: Version
    spec: RunSpec
    tree_sha256: str
    files: dict[str, bytes]  # of the submission, by path
    node: str


def version_of(track: Track) -> Version:
    return Version(code_sha256(), track.name, track.digest)


@cache
def code_sha256() -> str:
    """SHA-256 over the harness's sources: besides what a track's digest covers, the sandbox and the meter count too."""
    return files.tree_sha256(HARNESS, [path.relative_to(HARNESS) for path in sorted(HARNESS.rglob("*.py"))])


# ---------------------------------------------------------------- what a node is called to do


def attest_node(code: str, name: str, digest: str, nonce: bytes) -> dict[str, Any]:
    """Is this node fit for the track, and what is it? Called with plain values only: the other side may be older.

    Returns {"refused": why} or {"machine": record.Machine as JSON, "checks": {name: passed}}.
    """
    reporter = ListReporter()
    try:
        track = matching_track(Version(code, name, digest))
        track.check_base()
        attestation = LocalExecutor().attest(track, nonce, reporter, None)
    except (ClusterError, tracks.TrackError, VerifyError) as error:
        return {"refused": str(error)}
    if attestation.level != "full":
        return {"refused": f"it cannot isolate a run: {'; '.join(reporter.lines)}"}
    has, may = attestation.machine.memory_bytes, track.budget.memory_bytes
    if has < may:
        return {"refused": f"it has {has} bytes of memory, and a run may use {may}"}
    return {"machine": attestation.machine.model_dump_json(), "checks": attestation.checks}


def run_on_node(request: RunRequest, mailbox: Any) -> str:
    """One run, on this node. Returns a RunResult as JSON."""
    # Ray cancels with KeyboardInterrupt, unless a script started the node and had the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    track = matching_track(request.version)
    with workspace() as place:
        unpack(request, place)
        reporter = RemoteReporter(mailbox, request.node)
        lease = lease_gpus(track)  # of the GPUs that Ray gives this task
        context = RunContext(track, lease, "full", reporter, threading.Event())
        result = make_run(request.spec, place / "submission", context)
    return result.model_dump_json()


def matching_track(version: Version) -> Track:
    """The track, if this node's harness is the verifier's. Raises ClusterError."""
    remedy = "check out the same commit there"
    if code_sha256() != version.code_sha256:
        raise ClusterError(
            f"its harness in {HARNESS} is not the verifier's ({code_sha256()[:12]}, not "
            f"{version.code_sha256[:12]}): {remedy}"
        )
    track = tracks.load(version.track)
    if track.digest != version.track_digest:
        raise ClusterError(
            f"its track {track.id} is not the verifier's ({track.digest[:12]}, not {version.track_digest[:12]}): "
            f"{remedy}"
        )
    return track


def unpack(request: RunRequest, place: Path) -> None:
    """The submission into place/submission. Raises SubmissionError if its digest is not the announced one."""
    received, folder = place / "received", place / "submission"
    for name, data in request.files.items():
        path = received / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder.mkdir()
    submission.snapshot(received, request.tree_sha256, folder)
    shutil.rmtree(received)


@contextmanager
def workspace() -> Iterator[Path]:
    """An empty folder for one run, which the sandbox's user can reach. Removes those of processes that were killed."""
    parent = files.socket_parent()
    for leftover in parent.glob("nano-r1-node-*"):
        if not Path("/proc", leftover.name.split("-")[3]).exists():
            shutil.rmtree(leftover, ignore_errors=True)
    place = parent / f"nano-r1-node-{os.getpid()}-{secrets.token_hex(8)}"
    place.mkdir()
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


# ---------------------------------------------------------------- how a node reports


class Mailbox:
    """An actor beside the verifier: the reports of the runs since it was last emptied."""

    def __init__(self) -> None:
        self._reports: list[tuple[str, str, tuple[Any, ...]]] = []

    def post(self, node: str, method: str, arguments: tuple[Any, ...]) -> None:
        self._reports.append((node, method, arguments))

    def take(self) -> list[tuple[str, str, tuple[Any, ...]]]:
        """Each report: the node, the method of its reporter, the arguments."""
        reports, self._reports = self._reports, []
        return reports


class RemoteReporter:
    """A run's reporter on its node: it posts to the session's mailbox, and seldom."""

    def __init__(self, mailbox: Any, node: str) -> None:
        self._mailbox, self._node, self._last_advance = mailbox, node, 0.0

    def begin(self, name: str, run: int, phase: str, total: float) -> None:
        self._post("begin", name, run, phase, total)

    def advance(self, done: float, note: str) -> None:
        if time.monotonic() - self._last_advance >= REPORT_SECONDS:
            self._last_advance = time.monotonic()
            self._post("advance", done, note)

    def finished(self, seconds: float) -> None:
        self._post("finished", seconds)

    def say(self, text: str) -> None:
        self._post("say", text)

    def node(self, name: str) -> RemoteReporter:
        return RemoteReporter(self._mailbox, name)

    def _post(self, method: str, *arguments: Any) -> None:
        self._mailbox.post.remote(self._node, method, arguments)  # nobody waits for an answer


class ListReporter(RemoteReporter):
    """Keeps the lines that it is given."""

    def __init__(self) -> None:
        super().__init__(None, "")
        self.lines: list[str] = []

    def _post(self, method: str, *arguments: Any) -> None:
        self.lines += map(str, arguments)
