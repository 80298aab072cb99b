"""The command line of a sandbox, from `sh`, which joins the cgroup, to the supervisor with its plan."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.isolation import preload
from harness.isolation.contract import Devices, Invocation, Limits, Mounts, SandboxError
from harness.isolation.meter import Cgroup
from harness.isolation.output import whole_pages

HARNESS = Path(__file__).resolve().parents[1]
SUPERVISOR = Path(__file__).with_name("supervisor.py").read_text(encoding="utf-8")
SANDBOX_ID = 65534  # nobody, nogroup: what root becomes before it starts bubblewrap
GRACE_SECONDS = 2.0  # for helpers (a resource tracker, a data loader) to follow the main process out
# Where the mounts are inside.
INSIDE = Mounts(Path("/submission"), Path("/base"), Path("/output"), Path("/run/nano-r1.sock"))


def command_line(invocation: Invocation, group: Cgroup | None, channel: int, calls: int) -> list[str]:
    """The whole line. Raises SandboxError where the sandbox's user cannot read what is mounted.

    channel, calls: descriptors that the line inherits, of the supervisor's socket and of the filter of system calls.
    """
    asked, limits = invocation.mounts, invocation.limits
    socket = None if asked.socket is None else asked.socket.resolve()
    mounts = Mounts(asked.submission.resolve(), asked.base.resolve(), asked.output.resolve(), socket)
    rlimits = {"RLIMIT_CORE": 0}
    if invocation.level == "full":
        _admit(mounts)
        binds = [*_binds(mounts), *_device_binds(invocation.devices), *_preloader_binds(invocation.preload)]
        prefix = bwrap(limits, ["--seccomp", str(calls), *binds])
        submission, output = INSIDE.submission, INSIDE.output
        socket = None if socket is None else INSIDE.socket
        library, preloader = "/opt/nano-r1", preload.INSIDE
    else:
        prefix = []
        submission, output = mounts.submission, mounts.output
        library, preloader = str(HARNESS.parent), preload.FOLDER
        rlimits["RLIMIT_FSIZE"] = max(limits.output_bytes, limits.shm_bytes)
        if group is None:
            rlimits["RLIMIT_DATA"] = limits.memory_bytes
    plan = {
        "argv": [sys.executable, *invocation.argv],
        "environment": _environment(invocation, library, socket)
        | preload.environment(invocation.preload, preloader, library),
        "folder": str(submission),
        "output": str(output),
        "rlimits": rlimits,
        "grace_seconds": GRACE_SECONDS,
    }
    inner = [*prefix, sys.executable, "-I", "-S", "-c", f"{SUPERVISOR}\nsupervise({channel}, {plan!r})"]
    join = "" if group is None else "".join(f"echo $$ > {shlex.quote(str(file))} && " for file in group.join_files())
    return ["/bin/sh", "-c", f'{join}exec "$@"', "sh", *inner]


def bwrap(limits: Limits, binds: list[str]) -> list[str]:
    """setpriv and bubblewrap with everything that all sandboxes share; `binds` come last."""
    line = []
    if os.geteuid() == 0:
        line += [shutil.which("setpriv") or "setpriv", f"--reuid={SANDBOX_ID}", f"--regid={SANDBOX_ID}"]
        line += ["--clear-groups", "--no-new-privs"]
    line += [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-all", "--disable-userns"]
    line += ["--cap-drop", "ALL", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    line += ["--hostname", "nano-r1", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(name):
            line += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            line += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu"):
        line += ["--ro-bind-try", name, name]
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += ["--size", str(limits.shm_bytes), "--tmpfs", "/dev/shm", "--size", str(limits.shm_bytes), "--tmpfs", "/tmp"]
    # A page over the budget: a volume with its last page in use is over, one filled to the budget is not.
    output_bytes = whole_pages(limits.output_bytes) + os.sysconf("SC_PAGE_SIZE")
    line += ["--size", str(output_bytes), "--tmpfs", "/output"]
    for place in dict.fromkeys([sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent)]):
        if not Path(place).is_relative_to("/usr"):
            line += ["--ro-bind", place, place]
    for file in ("__init__.py", "client.py"):
        line += ["--ro-bind", str(HARNESS / file), f"/opt/nano-r1/harness/{file}"]
    # bubblewrap makes / and /dev writable tmpfs without a size.
    return [*line, *binds, "--remount-ro", "/dev", "--remount-ro", "/"]


def unreadable(path: Path) -> str | None:
    """Why the sandbox user cannot read this path, or None. Follows links; looks at mode bits, not at ACLs."""
    closed = _closed_part(path.resolve())
    return None if closed is None else closed[1]


def _closed_part(path: Path) -> tuple[Path, str] | None:
    """The first part of a path that keeps the sandbox user from reading it, and the sentence about it."""
    if os.geteuid() != 0:
        return None if os.access(path, os.R_OK) else (path, f"{path} is not readable by uid {os.geteuid()}")
    for part in [*reversed(path.parents), path]:
        try:
            status = part.stat()
        except OSError as error:
            return part, f"{part}: {error.strerror}"
        owner, group = status.st_uid == SANDBOX_ID, status.st_gid == SANDBOX_ID
        bits = status.st_mode >> (6 if owner else 3 if group else 0)
        needed = 1 if part != path else 5 if stat.S_ISDIR(status.st_mode) else 4
        if bits & needed != needed:
            why = f"{part} has mode {stat.S_IMODE(status.st_mode):04o}"
            return part, f"{path} is not readable by the sandbox user (uid {SANDBOX_ID}): {why}"
    return None


def _admit(mounts: Mounts) -> None:
    """Let the sandbox's user connect to the socket. Raises SandboxError where it cannot read a mount."""
    if mounts.socket is not None and os.geteuid() == 0:
        os.chown(mounts.socket, -1, SANDBOX_ID)
        mounts.socket.chmod(0o660)
    for folder in (mounts.submission, mounts.base):
        for path in [folder, *folder.rglob("*")]:
            if reason := unreadable(path):
                part, _ = _closed_part(path.resolve()) or (path, reason)
                if part.is_relative_to(folder):
                    raise SandboxError(f"{reason}; run `chmod -R go+rX {shlex.quote(str(folder))}`")
                raise SandboxError(f"{reason}; let others enter it (`chmod o+x`), or set TMPDIR to another folder")
    if mounts.socket is not None and (reason := unreadable(mounts.socket)):
        raise SandboxError(reason)


def _binds(mounts: Mounts) -> list[str]:
    line = ["--ro-bind", str(mounts.submission), str(INSIDE.submission)]
    line += ["--ro-bind", str(mounts.base), str(INSIDE.base)]
    return line if mounts.socket is None else [*line, "--ro-bind", str(mounts.socket), str(INSIDE.socket)]


def _device_binds(devices: Devices | None) -> list[str]:
    """--dev-bind, because /dev is made anew and a plain bind in it opens no device."""
    if devices is None:
        return []
    line = [word for node in devices.nodes for word in ("--dev-bind", str(node), str(node))]
    line += [word for folder in devices.folders for word in ("--ro-bind", str(folder), str(folder))]
    return line + [word for where, to in devices.links.items() for word in ("--symlink", to, where)]


def _preloader_binds(modules: Sequence[str]) -> list[str]:
    """Raises SandboxError where the sandbox's user cannot read it: Python would pass it over and run the submission."""
    if not modules:
        return []
    for path in (preload.FOLDER, preload.FOLDER / "sitecustomize.py"):
        if reason := unreadable(path):
            raise SandboxError(f"{reason}; run `chmod -R go+rX {shlex.quote(str(preload.FOLDER))}`")
    return ["--ro-bind", str(preload.FOLDER), str(preload.INSIDE)]


def _environment(invocation: Invocation, library: str, socket: Path | None) -> dict[str, str]:
    """The trainer's variables: these and no others."""
    environment = {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "nobody",  # there is no /etc/passwd to ask
        "LANG": "C.UTF-8",
        "PYTHONPATH": library,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(invocation.limits.cores),
    }
    if socket is not None:
        environment["NANO_R1_SOCKET"] = str(socket)
    return environment if invocation.devices is None else environment | invocation.devices.environment
