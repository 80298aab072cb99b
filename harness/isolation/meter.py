"""The bill: what a submission's processes used, read from their control group, wherever they hide.

A process can daemonise, fork twice or start a new session; rusage then loses sight of it (0.01 s seen of
0.51 s used). It cannot leave its cgroup. So CPU time, peak memory and "is anything still alive" come from
there. Linux has two generations of cgroups and one class covers both:

- v2: one tree; a new group is made under the nearest ancestor that this user may write and that hands
  down the memory and pids controllers (the root, a slice, or what systemd delegated to a user);
- v1 (also "hybrid"): a tree a controller. If a v2 tree without controllers is mounted beside them, it
  adds `cgroup.kill`, `cgroup.events` and `cpu.stat`; otherwise cpuacct counts the CPU.

A new group hangs under this process's own, so limits that hold for the verifier hold for the submission.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from harness.errors import NanoR1Error

_NAME = re.compile(r"nano-r1-(\d+)-[0-9a-f]{8}")
_NEEDED = {"memory": "peak memory and the memory limit", "pids": "the limit on processes", "cpu": "CPU time"}


class MeterError(NanoR1Error):
    """No cgroup can be made; the message says what can then not be metered, why, and what to do."""


class Cgroup:
    """One control group. `folders` has the group's directory for each of memory, pids and cpu.

    On v2 the three are the same directory. Make one with `create`.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._highest = 0  # of memory.current, for kernels before 5.19 that keep no peak

    @classmethod
    def create(cls, memory_bytes: int, processes: int) -> Cgroup:
        """A fresh, empty group with these limits (bytes without swap; processes and threads together).

        First kills and removes groups that a dead verifier left behind. Raises MeterError.
        """
        homes = find_homes(
            Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
            Path("/proc/self/cgroup").read_text(encoding="utf-8"),
        )
        missing = [what for kind, what in _NEEDED.items() if kind not in homes]
        if missing:
            raise MeterError(
                f"no cgroup for {', '.join(missing)}: no writable cgroup of this process hands it down. "
                "Run as root, or inside `systemd-run --user --scope -p Delegate=yes --pty bash`"
            )
        _sweep(homes)
        name = f"nano-r1-{os.getpid()}-{secrets.token_hex(4)}"
        group = cls({kind: home / name for kind, home in homes.items()})
        try:
            for folder in group._distinct():
                folder.mkdir()
            group._limit(memory_bytes, processes)
        except OSError as error:
            group.remove()
            raise MeterError(f"cannot set up a cgroup: {error}; run as root to be metered") from None
        return group

    def _limit(self, memory_bytes: int, processes: int) -> None:
        memory, pids = self._folders["memory"], self._folders["pids"]
        if (memory / "memory.max").exists():
            (memory / "memory.max").write_text(str(memory_bytes), encoding="utf-8")
            _write_if_there(memory / "memory.swap.max", "0")
            _write_if_there(memory / "memory.oom.group", "1")
        else:
            (memory / "memory.limit_in_bytes").write_text(str(memory_bytes), encoding="utf-8")
            _write_if_there(memory / "memory.memsw.limit_in_bytes", str(memory_bytes))
        (pids / "pids.max").write_text(str(processes), encoding="utf-8")

    def _distinct(self) -> list[Path]:
        return list(dict.fromkeys(self._folders.values()))

    def join_files(self) -> list[Path]:
        """The files into which a process writes its pid to join; a launcher does so before it execs."""
        return [folder / "cgroup.procs" for folder in self._distinct()]

    def cpu_ms(self) -> int:
        """User and system milliseconds of all processes that were ever in the group."""
        stat = self._folders["cpu"] / "cpu.stat"
        if stat.exists():
            return _field(stat, "usage_usec") // 1000
        return int((self._folders["cpu"] / "cpuacct.usage").read_text(encoding="utf-8")) // 1_000_000

    def peak_memory_bytes(self) -> int:
        """The most memory in use at once, page cache and tmpfs included.

        Before Linux 5.19 a v2 group keeps no peak: then the highest value at any call of this method.
        """
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            if (self._folders["memory"] / name).exists():
                return int((self._folders["memory"] / name).read_text(encoding="utf-8"))
        self._highest = max(
            self._highest, int((self._folders["memory"] / "memory.current").read_text(encoding="utf-8"))
        )
        return self._highest

    def oom_kills(self) -> int:
        """How many processes the kernel killed for going over the memory limit."""
        for name in ("memory.events", "memory.oom_control"):
            if (self._folders["memory"] / name).exists():
                return _field(self._folders["memory"] / name, "oom_kill")
        return 0

    def refused_forks(self) -> int:
        """How many new processes or threads the pids limit refused."""
        return _field(self._folders["pids"] / "pids.events", "max")

    def processes(self) -> list[int]:
        """Process ids alive in the group; empty also when the group is gone."""
        try:
            return [int(line) for line in (self._folders["cpu"] / "cgroup.procs").read_text(encoding="utf-8").split()]
        except OSError:
            return []

    def is_empty(self) -> bool:
        return not self.processes()

    def kill_all(self) -> None:
        """SIGKILL everything in the group, and anything it forks meanwhile."""
        _write_if_there(self._folders["pids"] / "pids.max", "0")  # nothing is born while we kill
        _write_if_there(self._folders["cpu"] / "cgroup.kill", "1")
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def remove(self) -> None:
        """Kill what is left and delete the group; waits up to 2 s. Safe to call twice."""
        deadline = time.monotonic() + 2
        while not self.is_empty() and time.monotonic() < deadline:
            self.kill_all()
            time.sleep(0.005)
        for folder in self._distinct():
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break  # the next `create` sweeps it
                    time.sleep(0.005)


def unavailable() -> str | None:
    """Why this process cannot have a cgroup of its own, or None when it can."""
    try:
        Cgroup.create(memory_bytes=1 << 24, processes=1).remove()
    except MeterError as error:
        return str(error)
    return None


def find_homes(mountinfo: str, own: str) -> dict[str, Path]:
    """Where a new group can be made: a directory for each of memory, pids and cpu that has one.

    mountinfo, own: the text of /proc/self/mountinfo and /proc/self/cgroup (see proc(5), cgroups(7)).
    """
    mounts = _mounts(mountinfo)
    homes: dict[str, Path] = {}
    for line in own.splitlines():
        number, controllers, inside = line.split(":", 2)
        kinds = ["v2"] if number == "0" and controllers == "" else controllers.split(",")
        for kind in kinds:
            if kind not in mounts:
                continue
            root, mount = mounts[kind]
            # In a container the mount may show a part of the tree only, with this process at its root.
            below = os.path.relpath(inside, root)
            folder = mount if below.startswith("..") or not (mount / below).is_dir() else mount / below
            if kind == "v2":
                home = _delegated(folder, mount)
                if home is not None:
                    homes.update(memory=home, pids=home, cpu=home)
                elif os.access(folder, os.W_OK):
                    homes["cpu"] = folder  # no controllers here, but it counts CPU time and kills
            elif kind in ("memory", "pids") and os.access(folder, os.W_OK):
                homes.setdefault(kind, folder)
            elif kind == "cpuacct" and os.access(folder, os.W_OK):
                homes.setdefault("cpuacct", folder)
    accounting = homes.pop("cpuacct", None)
    if accounting is not None:
        homes.setdefault("cpu", accounting)
    return homes


def _mounts(mountinfo: str) -> dict[str, tuple[str, Path]]:
    """v1 controller, or "v2" -> (the tree's directory that is mounted, where)."""
    mounts: dict[str, tuple[str, Path]] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, where = left.split()[3:5]
        kind, _, options = right.split(maxsplit=2)
        if kind == "cgroup2":
            mounts.setdefault("v2", (root, Path(where)))
        elif kind == "cgroup":
            for option in options.split(","):
                mounts.setdefault(option, (root, Path(where)))
    return mounts


def _delegated(own: Path, top: Path) -> Path | None:
    """The nearest v2 ancestor that may have a child of ours with memory and pids controllers.

    A group with processes in it cannot hand controllers down, so it is seldom `own` itself. Moving a process
    needs write access to the common ancestor's cgroup.procs, which is the directory returned.
    """
    for folder in [own, *own.parents]:
        control = folder / "cgroup.subtree_control"
        if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK) and control.exists():
            if not {"memory", "pids"} <= set(control.read_text(encoding="utf-8").split()):
                _write_if_there(control, "+memory +pids")
            if {"memory", "pids"} <= set(control.read_text(encoding="utf-8").replace("+", "").split()):
                return folder
        if folder == top:
            break
    return None


def _sweep(homes: dict[str, Path]) -> None:
    """Kill and remove the groups of verifiers that no longer run (their pid is in the name)."""
    names = {path.name for home in homes.values() for path in home.glob("nano-r1-*") if path.is_dir()}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match and not Path("/proc", match[1]).exists():
            Cgroup({kind: home / name for kind, home in homes.items()}).remove()


def _field(path: Path, key: str) -> int:
    """The number after `key` in a file of `key number` lines; 0 when it is not there."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.split()[0] == key:
            return int(line.split()[1])
    return 0


def _write_if_there(path: Path, text: str) -> None:
    """For knobs that a kernel may lack or refuse without harm."""
    with suppress(OSError):
        if path.exists():
            path.write_text(text, encoding="utf-8")
