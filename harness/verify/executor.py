"""What a verification asks of the place where its runs are made: this machine (`local`) or a cluster (`cluster`)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from harness.errors import NanoR1Error
from harness.isolation import sandbox
from harness.ledger import record
from harness.tracks.track import Track
from harness.verify.journal import Journal
from harness.verify.schedule import Schedule


class VerifyError(NanoR1Error):
    """The verification cannot start, or cannot continue for now; the message says what to do."""


class Interrupted(Exception):
    """Ctrl-C: the session was closed as abandoned."""


class Reporter(Protocol):
    """How a long session is shown; the command line has one with bars, tests have one that listens."""

    def begin(self, name: str, run: int, phase: str, total: float) -> None: ...
    def advance(self, done: float, note: str) -> None: ...
    def finished(self, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...
    def node(self, name: str) -> Reporter: ...  # a reporter for one node of a cluster, where runs go side by side


@dataclass(frozen=True)
class Attestation:
    """What the machine that makes the runs is, and what it proved; the nodes of a cluster are alike in both."""

    level: sandbox.Level
    checks: dict[str, bool]
    machine: record.Machine


class Executor(Protocol):
    """Makes the runs of a session."""

    cluster: bool

    def attest(self, track: Track, nonce: bytes, reporter: Reporter, original: record.Machine | None) -> Attestation:
        """Prove isolation and GPUs. `original`: the machine that the session was started on, when it is resumed.

        Raises VerifyError, or an error of its own, if no run can be made there.
        """
        ...

    def run(self, schedule: Schedule, journal: Journal, reporter: Reporter, cancel: threading.Event) -> None:
        """Make each run that is due and that the journal lacks, save its result there, add it to the schedule.

        Raises Interrupted when `cancel` is set.
        """
        ...
