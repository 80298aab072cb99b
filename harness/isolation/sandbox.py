"""One submission, run where it can do no harm and where nothing it does goes unbilled.

    sh         joins a fresh cgroup, then becomes
    setpriv    (only as root) uid 65534, no groups, no new privileges: root inside bubblewrap is no sandbox, it
               remounted /usr writable and wrote to the host; then becomes
    bwrap      own user, mount, pid, network, ipc, uts and cgroup namespaces, no capabilities; starts
    supervisor pid 1 inside: supervisor.py, a hundred lines of standard library; starts
    trainer    the submission

Namespaces do not divide everything: a key left in the kernel's keyring could be read by the next run, and a vsock
socket leads out of a virtual machine whatever the network namespace. A filter of system calls (seccomp, on the
supervisor and all below it) refuses those, and a few with which much is broken and nothing is trained.

Why a supervisor. bubblewrap's own pid 1 kills what is left when the main process exits, which would hide a
background process. Ours waits, counts and reports it on a socket. It is not dumpable, so the trainer, though
of the same uid, can neither trace it nor borrow its descriptors; it ignores every signal it can, and nothing inside
a pid namespace can kill its pid 1. Should it die all the same before it has counted, the run has failed.
When it dies the kernel kills the whole namespace; and it dies when bwrap does, when
bwrap's parent (the verifier) does, or when the verifier's end of the socket closes. A verifier that is killed
with SIGKILL therefore takes its sandbox with it.

The clock is the verifier's and runs from the spawn until the cgroup is empty, whatever the supervisor says. Where a
track names modules to preload, it runs from when they are imported; nothing of the submission has been opened by then.

Why /output is a tmpfs. The kernel then enforces its size to the page and the submission meets an ordinary
"no space left on device"; nothing is written to the host while untrusted code runs. The supervisor passes a
descriptor of it out before the trainer starts, which keeps it alive after the namespaces are gone; once
everything is dead, `model.safetensors` alone is copied from it, if it is a plain file. Like /tmp and /dev/shm
it is charged to the memory budget.

This module is what others use. Behind it: contract.py (the types), command_line.py, supervisor.py, preload.py (what is
imported before the clock), seccomp.py, watch.py (the verifier's side of a run), budgets.py (how it can fail), output.py
(log and weights), meter.py (cgroup), obstacles.py (why none starts here).
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.isolation import command_line, obstacles, seccomp
from harness.isolation.contract import Devices, Hooks, Invocation, Level, Limits, Mounts, SandboxError, Usage
from harness.isolation.meter import Cgroup, MeterError, unavailable
from harness.isolation.watch import Channel, Watch

__all__ = [
    "Devices", "Hooks", "Isolation", "Level", "Limits", "Mounts", "SandboxError", "Usage",
    "isolation", "run",
]  # fmt: skip

INSTALL = "sudo apt-get install -y bubblewrap"
OWN_PROCESSES = 3  # sh or bwrap, bwrap's second process while it sets up, the supervisor


@dataclass(frozen=True)
class Isolation:
    """What this machine can do. "full": namespaces and cgroups both work. Otherwise the reasons why not."""

    level: Level
    reasons: list[str]


def isolation() -> Isolation:
    """Find out by starting an empty sandbox, in about 0.1 s. The doctor then tries to break out of one."""
    reasons = [reason for reason in (_bubblewrap_failure(), unavailable()) if reason is not None]
    return Isolation(level="none" if reasons else "full", reasons=reasons)


def run(
    argv: list[str],
    *,
    mounts: Mounts,
    limits: Limits,
    level: Level,
    devices: Devices | None = None,
    hooks: Hooks | None = None,
    preload: Sequence[str] = (),
) -> Usage:
    """Run `python *argv` in the submission's folder and wait until nothing of it is alive.

    `preload`: modules that its interpreter imports before the clock starts and before it opens anything of the
    submission's.

    Whatever the submission does is in the Usage. Raises SandboxError where the machine fails, not the submission, and
    what a hook raises.
    Call it from a thread that outlives the run: the sandbox dies with the thread that started it.
    """
    invocation = Invocation(argv, mounts, limits, level, devices, preload)
    try:
        group = Cgroup.create(limits.memory_bytes, limits.processes + OWN_PROCESSES)
    except MeterError as error:
        if level == "full":
            raise SandboxError(str(error)) from None
        group = None
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, seccomp.filter_descriptor() as calls:
            line = command_line.command_line(invocation, group, theirs.fileno(), calls)
            return Watch(invocation, hooks or Hooks(), group, Channel(ours)).run(line, theirs, calls)
    finally:
        if group is not None:
            group.remove()


_SMALL = Limits(
    seconds=30, memory_bytes=1 << 28, shm_bytes=1 << 20, output_bytes=1 << 20, log_bytes=1 << 16, processes=16, cores=1
)


def _bubblewrap_failure() -> str | None:
    """Why no sandbox can be started here, or None."""
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed: {INSTALL}"
    if platform.machine() not in seccomp.CALLS:
        return f"no filter of system calls for {platform.machine()}: it knows {', '.join(seccomp.CALLS)}"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv is not installed: sudo apt-get install -y util-linux"
    if os.geteuid() == 0 and (reason := obstacles.missing_uid(Path("/proc/self/uid_map").read_text(encoding="ascii"))):
        return reason
    if reason := obstacles.closed_folder(Path(sys.executable)):
        return reason
    with seccomp.filter_descriptor() as calls:
        line = command_line.bwrap(_SMALL, ["--setenv", "PYTHONPATH", "/opt/nano-r1", "--seccomp", str(calls)])
        line += [sys.executable, "-c", "import harness.client"]
        try:
            done = subprocess.run(
                line, env={}, cwd="/", capture_output=True, encoding="utf-8", timeout=30, check=False, pass_fds=[calls]
            )
        except subprocess.TimeoutExpired:
            return "bubblewrap did not start a process within 30 s: is the machine busy? Try again"
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return obstacles.explained(tail[0])
    return None
