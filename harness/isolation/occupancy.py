"""Who is on a GPU: processes with a context, memory in use, and whether a process descends from the verifier."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.isolation.nvml import Device, memory, query

RELEASE_SECONDS = 30.0  # as long as the sandbox waits for processes to die
RELEASE_POLL_SECONDS = 0.05
# A context alone takes 300 MiB and more; a GPU without one a few MiB. Provisional, until seen on the tracks' GPUs.
IDLE_BYTES = 256 << 20


def holders(device: Device) -> set[int] | None:
    """Process ids with a context on it, as this process's PID namespace numbers them. None: the driver does not say."""
    kinds = ("Compute", "Graphics", "MPSCompute")
    lists = [query(f"nvmlDeviceGet{kind}RunningProcesses", device.handle) for kind in kinds]
    if all(processes is None for processes in lists):
        return None
    return {int(process.pid) for processes in lists if processes is not None for process in processes}


def may_descend_from(pid: int, verifier: int) -> bool:
    """Does process `pid` descend from the verifier? One that is gone or going, or out of sight from here, may have.

    What a sandbox orphans is adopted by its supervisor: while a run lasts, no process of it has another ancestry.
    """
    if pid == verifier:  # it has a context of its own: then its GPU is not the submission's alone
        return False
    if not is_alive(pid):
        return True
    while pid > 1:
        parent = _stat(pid)[1]
        if parent in (verifier, -1):
            return True
        pid = parent
    return False


def is_alive(pid: int) -> bool:
    """Neither gone, nor a zombie, nor on its way out (PF_EXITING): in that state a driver still cleans up after it."""
    state, _, flags = _stat(pid)
    return state not in "ZX" and not flags & 4


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent and flags of a process, see proc_pid_stat(5); ("X", -1, 0) of one that is not to be seen."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")  # its name may be any bytes
        fields = status.rpartition(")")[2].split()
        return fields[0], int(fields[1]), int(fields[6])
    except (OSError, IndexError):
        return "X", -1, 0


def occupant(devices: Sequence[Device], allowed_bytes: list[int]) -> str | None:
    """Who or what is on these GPUs, with more than so many bytes in use; None if nobody is."""
    for device, allowed in zip(devices, allowed_bytes, strict=True):
        pids, usage = holders(device), memory(device.handle)
        if pids:
            return f"GPU {device.index} is held by {', '.join(describe(pid) for pid in sorted(pids))}"
        if usage is not None and usage.used > allowed:
            return f"GPU {device.index} has {usage.used >> 20} MiB in use, by nobody that can be seen from here"
        if pids is None and usage is None:
            return f"GPU {device.index} tells neither its processes nor its memory"
    return None


def intruder(device: Device, pid: int) -> str:
    """The sentence about a process on this GPU that the submission did not start."""
    return f"GPU {device.index} is held by {describe(pid)}, which is none of the submission's"


def describe(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
        return f"process {pid} ({name.strip()})"
    except OSError:
        return f"process {pid}"


def wait_until_none(ask: Callable[[], str | None]) -> str | None:
    """Ask for an occupant until there is none, for RELEASE_SECONDS at most; the last answer."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while (answer := ask()) is not None and time.monotonic() < deadline:
        time.sleep(RELEASE_POLL_SECONDS)
    return answer
