"""The terms of a run in the sandbox: what it is given, how far it may go, what it is billed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import NanoR1Error

Level = Literal["full", "none"]


class SandboxError(NanoR1Error):
    """The sandbox itself could not be set up: the machine's fault, never the submission's."""


@dataclass(frozen=True)
class Limits:
    """A track's [budget], and its cores. At level none without a cgroup, memory is limited a process only."""

    seconds: int
    memory_bytes: int
    shm_bytes: int  # of /dev/shm, and of /tmp
    output_bytes: int
    log_bytes: int
    processes: int  # and threads
    cores: int


@dataclass(frozen=True)
class Mounts:
    """Host paths: two folders to read, the folder that receives the weights, the environment's socket.

    Inside they are /submission, /base, /output and /run/nano-r1.sock; at level none they keep their places.
    """

    submission: Path
    base: Path
    output: Path
    socket: Path | None


@dataclass(frozen=True)
class Devices:
    """What a sandbox is given to compute on GPUs with; `harness.isolation.gpu` knows what that is on this machine.

    At level none only the variables and the cores count: there a device file is open to whoever may open it.
    """

    nodes: list[Path] = field(default_factory=list)  # device files, to read and write
    folders: list[Path] = field(default_factory=list)  # to read
    links: dict[str, str] = field(default_factory=dict)  # where -> to what
    environment: dict[str, str] = field(default_factory=dict)
    cores: list[int] = field(default_factory=list)  # those near the GPUs first; empty: in the machine's own order


@dataclass(frozen=True)
class Invocation:
    """`python *argv` in the submission's folder, and all that it is given. `preload`: modules that it imports before
    the clock starts, see preload.py."""

    argv: list[str]
    mounts: Mounts
    limits: Limits
    level: Level
    devices: Devices | None = None
    preload: Sequence[str] = ()


@dataclass(frozen=True)
class Hooks:
    """How the caller takes part in a run. An exception from a hook (KeyboardInterrupt too) ends the run and is raised.

    `on_start` is called as the clock starts, at the spawn or when all is preloaded; `on_tick` about ten times a second
    with the milliseconds since.
    `wait_until_free` is called when no process of the run is alive and the clock still runs: it waits for what the run
    held elsewhere, a GPU, and returns why the run has failed, or None. Setting `cancel` ends the run with the failure
    "cancelled".
    """

    on_start: Callable[[], object] | None = None
    on_tick: Callable[[int], object] | None = None
    wait_until_free: Callable[[], str | None] | None = None
    cancel: threading.Event | None = None


@dataclass(frozen=True)
class Usage:
    """The bill of one run and how it ended. `failure` is a sentence for people, None if all went well.

    What was preloaded is in the peak of memory and in no time.
    """

    wall_ms: int  # from the start of the clock until nothing was alive
    cpu_ms: int  # likewise
    peak_memory_bytes: int  # of all processes together; without a cgroup, of the largest one
    exit_code: int | None  # of the main process; -N: killed by signal N; None: it never ended by itself
    failure: str | None
    log: bytes  # stdout and stderr as they came, cut at log_bytes
