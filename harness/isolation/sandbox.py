"""One submission, run where it can do no harm and where nothing it does goes unbilled.

    sh         joins a fresh cgroup, then becomes
    setpriv    (only as root) uid 65534, no groups, no new privileges: root inside bubblewrap is no sandbox, it
               remounted /usr writable and wrote to the host; then becomes
    bwrap      own user, mount, pid, network, ipc, uts and cgroup namespaces, no capabilities; starts
    supervisor pid 1 inside: `_supervise` below, forty lines of standard library; starts
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

The clock is the verifier's and runs from the spawn until the cgroup is empty, whatever the supervisor says.

Why /output is a tmpfs. The kernel then enforces its size to the page and the submission meets an ordinary
"no space left on device"; nothing is written to the host while untrusted code runs. The supervisor passes a
descriptor of it out before the trainer starts, which keeps it alive after the namespaces are gone; once
everything is dead, `model.safetensors` alone is copied from it, if it is a plain file. Like /tmp and /dev/shm
it is charged to the memory budget.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import selectors
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import NanoR1Error
from harness.isolation.meter import Cgroup, MeterError, unavailable

Level = Literal["full", "none"]

HARNESS = Path(__file__).resolve().parents[1]
WEIGHTS = "model.safetensors"  # the one file that comes out
SANDBOX_ID = 65534  # nobody, nogroup: what root becomes before it starts bubblewrap
INSTALL = "sudo apt-get install -y bubblewrap"

GRACE_SECONDS = 2.0  # for helpers (a resource tracker, a data loader) to follow the main process out
OWN_PROCESSES = 3  # sh or bwrap, bwrap's second process while it sets up, the supervisor
TICK_SECONDS = 0.05


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

    At level none only the variables count: there a device file is open to whoever may open it.
    """

    nodes: list[Path] = field(default_factory=list)  # device files, to read and write
    folders: list[Path] = field(default_factory=list)  # to read
    links: dict[str, str] = field(default_factory=dict)  # where -> to what
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """The bill of one run and how it ended. `failure` is a sentence for people, None if all went well."""

    wall_ms: int  # from the spawn until nothing was alive
    cpu_ms: int
    peak_memory_bytes: int  # of all processes together; without a cgroup, of the largest one
    exit_code: int | None  # of the main process; -N: killed by signal N; None: it never ended by itself
    failure: str | None
    log: bytes  # stdout and stderr as they came, cut at log_bytes


@dataclass(frozen=True)
class Isolation:
    """What this machine can do. "full": namespaces and cgroups both work. Otherwise the reasons why not."""

    level: Level
    reasons: list[str]


# ---------------------------------------------------------------- what this machine can do


def isolation() -> Isolation:
    """Find out by starting an empty sandbox, in about 0.1 s. The doctor then tries to break out of one."""
    reasons = []
    unreachable = [reason for path in (Path(sys.executable), HARNESS / "client.py") if (reason := _closed(path))]
    if shutil.which("bwrap") is None:
        reasons.append(f"bubblewrap is not installed: {INSTALL}")
    elif platform.machine() not in _CALLS:
        reasons.append(f"no filter of system calls for {platform.machine()}: it knows {', '.join(_CALLS)}")
    elif os.geteuid() == 0 and shutil.which("setpriv") is None:
        reasons.append("setpriv is not installed: sudo apt-get install -y util-linux")
    elif unreachable:
        reasons.append(
            f"{unreachable[0]}; keep the repository in a folder that others may enter, "
            "and recreate .venv with /usr/bin/python3"
        )
    else:
        try:
            with _filter() as calls:
                trial = _bwrap(_SMALL, ["--setenv", "PYTHONPATH", "/opt/nano-r1", "--seccomp", str(calls)])
                trial += [sys.executable, "-c", "import harness.client"]
                done = subprocess.run(
                    trial, env={}, cwd="/", capture_output=True, text=True, timeout=30, check=False, pass_fds=[calls]
                )
            if done.returncode != 0:
                tail = (done.stdout + done.stderr).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
                reasons.append(f"bubblewrap does not work here (are user namespaces allowed?): {tail[0]}")
        except subprocess.TimeoutExpired:
            reasons.append("bubblewrap did not start a process within 30 s")
    unmetered = unavailable()
    if unmetered is not None:
        reasons.append(unmetered)
    return Isolation(level="none" if reasons else "full", reasons=reasons)


_SMALL = Limits(
    seconds=30, memory_bytes=1 << 28, shm_bytes=1 << 20, output_bytes=1 << 20, log_bytes=1 << 16, processes=16, cores=1
)


def _closed(path: Path) -> str | None:
    """Why the sandbox user cannot read this path, or None. Follows links; looks at mode bits, not at ACLs."""
    path = path.resolve()
    if os.geteuid() != 0:
        return None if os.access(path, os.R_OK) else f"{path} is not readable by uid {os.geteuid()}"
    for part in [*reversed(path.parents), path]:
        try:
            found = part.stat()
        except OSError as error:
            return f"{part}: {error.strerror}"
        mine, group = found.st_uid == SANDBOX_ID, found.st_gid == SANDBOX_ID
        bits = found.st_mode >> (6 if mine else 3 if group else 0)
        needed = 1 if part != path else 5 if stat.S_ISDIR(found.st_mode) else 4
        if bits & needed != needed:
            why = f"{part} has mode {stat.S_IMODE(found.st_mode):04o}"
            return f"{path} is not readable by the sandbox user (uid {SANDBOX_ID}): {why}"
    return None


# ---------------------------------------------------------------- one run


def run(
    argv: list[str],
    *,
    mounts: Mounts,
    limits: Limits,
    level: Level,
    on_start: Callable[[], None] | None = None,
    on_tick: Callable[[int], None] | None = None,
    devices: Devices | None = None,
    until_free: Callable[[], str | None] | None = None,
    cancel: threading.Event | None = None,
) -> Usage:
    """Run `python *argv` in the submission's folder and wait until nothing of it is alive.

    on_start is called as the clock starts, on_tick about ten times a second with the milliseconds since. Setting
    `cancel` ends the run with failure "cancelled"; an exception (KeyboardInterrupt too) ends it and goes on up.
    until_free is called when nothing of it is alive and the clock still runs: it waits for what the run held elsewhere,
    a GPU, and returns why the run has failed, or None.
    Whatever the submission does is in the Usage. Raises SandboxError where the machine fails, not the submission.
    Call it from a thread that outlives the run: the sandbox dies with the thread that started it.
    """
    try:
        group = Cgroup.create(limits.memory_bytes, limits.processes + OWN_PROCESSES)
    except MeterError as error:
        if level == "full":
            raise SandboxError(str(error)) from None
        group = None
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, _filter() as calls:
            command = _command(argv, mounts, limits, level, group, theirs.fileno(), calls, devices)
            return _watch(
                command, calls, ours, theirs, group, mounts, limits, level, on_start, on_tick, until_free, cancel
            )
    finally:
        if group is not None:
            group.remove()


def _watch(
    command: list[str],
    calls: int,
    ours: socket.socket,
    theirs: socket.socket,
    group: Cgroup | None,
    mounts: Mounts,
    limits: Limits,
    level: Level,
    on_start: Callable[[], None] | None,
    on_tick: Callable[[int], None] | None,
    until_free: Callable[[], str | None] | None,
    cancel: threading.Event | None,
) -> Usage:
    """Spawn, watch every budget until the supervisor says it is over or one is broken, kill, add up."""
    if on_start is not None:
        on_start()
    started = time.monotonic()
    with _on_cores(limits.cores):
        process = subprocess.Popen(
            command, env={}, cwd="/", umask=0o022, start_new_session=True, pass_fds=[theirs.fileno(), calls],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
        )  # fmt: skip
    theirs.close()
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    ours.setblocking(False)
    log = _Log(limits.log_bytes)
    report: dict[str, int] = {}  # what the supervisor has said so far: ready, exit, left, cpu_ms, peak_memory_bytes
    output: int | None = None  # descriptor of /output
    failure: str | None = None
    try:
        with process.stdout as pipe, selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(ours, selectors.EVENT_READ)
            looked = told = started
            cores = _Cores(limits.cores, started)
            alive = True
            while alive and failure is None and "left" not in report:
                for key, _ in selector.select(TICK_SECONDS):
                    if key.fileobj is pipe:
                        if not log.read(pipe.fileno()):
                            selector.unregister(pipe)
                    else:
                        alive, fds = _hear(ours, report)
                        output = fds[0] if fds else output
                now = time.monotonic()
                if cancel is not None and cancel.is_set():
                    failure = "cancelled"
                elif now - started > limits.seconds:
                    failure = f"over the budget of {limits.seconds} s"
                elif log.over:
                    failure = f"log over {limits.log_bytes} bytes"
                elif now - looked >= TICK_SECONDS:
                    looked = now
                    failure = _memory_failure(group, limits) or _output_failure(output, mounts, limits, level)
                    if group is not None and now - cores.since >= 1:
                        failure = failure or cores.failure(group.cpu_ms)
                if on_tick is not None and now - told >= 0.1:
                    told = now
                    on_tick(round((now - started) * 1000))
            ours.shutdown(socket.SHUT_WR)  # tells a supervisor that is still there to end it
            _await_death(process, group, ours, report)
            cpu_ms = report.get("cpu_ms", 0) if group is None else group.cpu_ms()
            failure = failure or cores.failure(lambda: cpu_ms)
            held = None if until_free is None else until_free()
            wall_ms = round((time.monotonic() - started) * 1000)
            while log.read(pipe.fileno()) and not log.over:
                pass
        if "ready" not in report and failure is None:
            raise SandboxError(f"the sandbox did not start: {log.text().decode(errors='replace')[-500:].strip()}")
        failure = (
            failure
            or _memory_failure(group, limits)
            or (f"log over {limits.log_bytes} bytes" if log.over else None)
            or _output_failure(output, mounts, limits, level)
            or _exit_failure(report, group, limits)
            or held
        )
        if failure is None and level == "full" and output is not None:
            failure = _collect(output, mounts.output, limits.output_bytes)
        return Usage(
            wall_ms=wall_ms,
            cpu_ms=cpu_ms,
            peak_memory_bytes=report.get("peak_memory_bytes", 0) if group is None else group.peak_memory_bytes(),
            exit_code=report.get("exit"),
            failure=failure,
            log=log.text(),
        )
    finally:
        if output is not None:
            os.close(output)
        if process.poll() is None:  # an exception on the way
            if group is not None:
                group.kill_all()
            process.kill()
            process.wait()


class _Log:
    """What came down the pipe, kept up to a limit, so that a flood fills neither memory nor disk."""

    def __init__(self, limit: int) -> None:
        self._kept, self._limit, self.over = bytearray(), limit, False

    def read(self, fd: int) -> bool:
        """Take what is there, at most 64 KiB. False: nothing there, or the end."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        room = self._limit - len(self._kept)
        self._kept += data[:room]
        self.over = self.over or len(data) > room
        return bool(data)

    def text(self) -> bytes:
        return bytes(self._kept)


def _hear(ours: socket.socket, report: dict[str, int]) -> tuple[bool, list[int]]:
    """Merge the supervisor's lines into the report. Returns (still connected, descriptors that came along)."""
    try:
        data, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    except BlockingIOError:
        return True, []
    except ConnectionError:
        return False, []
    for line in data.splitlines():  # each line is sent whole, and far shorter than the buffer
        report.update(json.loads(line))
    return bool(data), fds


def _await_death(
    process: subprocess.Popen[bytes], group: Cgroup | None, ours: socket.socket, report: dict[str, int]
) -> None:
    """Kill everything and return when nothing is alive. The clock still runs."""
    if group is None:
        # The supervisor kills its descendants and says what they used; then it goes.
        deadline = time.monotonic() + 5
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        while _hear(ours, report)[0] and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    else:
        deadline = time.monotonic() + 30  # a process deep in the kernel dies when it returns from there
        group.kill_all()
        while not group.is_empty():
            if time.monotonic() > deadline:
                raise SandboxError(f"{len(group.processes())} processes of the submission cannot be killed")
            time.sleep(0.002)
            group.kill_all()
    process.wait()


# ---------------------------------------------------------------- how a run can fail


class _Cores:
    """Has a run had more CPU time than its cores give? It is asked every second or so, for the time since it was last.

    A run begins on its cores (`_on_cores`). Taking others is not refused but found out: MKL learns their topology by
    moving from core to core with sched_setaffinity, and computed 1.5 times slower where that call was refused.
    """

    def __init__(self, count: int, started: float) -> None:
        self._count, self._had, self.since = count, 0, started

    def failure(self, cpu_ms: Callable[[], int]) -> str | None:
        """`cpu_ms` tells the CPU time so far. The clock is read before and after, so a late answer cannot be held
        against the run; the kernel's own figure can be a scheduler's tick old for each core, and is given two."""
        before = time.monotonic()
        total = cpu_ms()
        had, self._had = total - self._had, total
        wall_ms = round((time.monotonic() - self.since) * 1000)
        self.since = before
        if had <= self._count * (wall_ms + 20):
            return None
        return f"took {had} ms of CPU in {wall_ms} ms, and the track gives {self._count} core{'s' * (self._count > 1)}"


def _memory_failure(group: Cgroup | None, limits: Limits) -> str | None:
    if group is None:
        return None
    group.peak_memory_bytes()  # kernels that keep no peak want to be asked often
    return f"out of memory: the budget is {limits.memory_bytes} bytes" if group.oom_kills() else None


def _output_failure(output: int | None, mounts: Mounts, limits: Limits, level: Level) -> str | None:
    """The tmpfs has a page more than the budget; at level none a single file is limited, and the sum is checked."""
    if output is None:
        return None
    if level == "full":
        volume = os.fstatvfs(output)
        used = (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    else:
        used = 0
        for entry in os.scandir(mounts.output):
            with suppress(FileNotFoundError):  # a draft that was renamed meanwhile
                used += entry.stat(follow_symlinks=False).st_blocks * 512
    return f"output over {limits.output_bytes} bytes" if used > _pages(limits.output_bytes) else None


def _pages(size: int) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return (size + page - 1) // page * page


def _exit_failure(report: dict[str, int], group: Cgroup | None, limits: Limits) -> str | None:
    left, code = report.get("left", 0), report.get("exit")
    if left:
        noun = "process" if left == 1 else "processes"
        return f"left {left} {noun} running after its main process exited"
    if code is None:
        return "its sandbox was killed from outside"
    if "left" not in report:  # nobody counted: what was left may have seen to that
        return "its supervisor was gone before it had counted what was left running"
    if code == 0:
        return None
    ending = f"exited with code {code}" if code > 0 else f"was killed by signal {-code} ({signal.strsignal(-code)})"
    if group is not None and group.refused_forks():
        ending += f", after it met the limit of {limits.processes} processes and threads"
    return ending


def _collect(output: int, target: Path, limit: int) -> str | None:
    """Copy the weights out of a dead sandbox's /output. Returns the failure, or None.

    A missing file is left for the checkpoint reader to report.
    """
    try:
        source = os.open(WEIGHTS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=output)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{WEIGHTS} is not a plain file: {error.strerror}"
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(source)
        return f"{WEIGHTS} is not a plain file"
    with open(source, "rb") as file:
        if found.st_size > limit:  # sparse: a hole takes no space
            return f"output over {limit} bytes"
        try:
            with open(target / WEIGHTS, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
        except OSError as error:
            raise SandboxError(f"cannot copy the weights to {target}: {error.strerror}") from None
    return None


# ---------------------------------------------------------------- the command line


def _command(
    argv: list[str],
    mounts: Mounts,
    limits: Limits,
    level: Level,
    group: Cgroup | None,
    channel: int,
    calls: int,
    devices: Devices | None = None,
) -> list[str]:
    """The whole line, from `sh` to the supervisor's plan."""
    submission, base, output = mounts.submission.resolve(), mounts.base.resolve(), mounts.output.resolve()
    connection = None if mounts.socket is None else mounts.socket.resolve()
    rlimits = {"RLIMIT_CORE": 0}
    if level == "full":
        if connection is not None and os.geteuid() == 0:
            os.chown(connection, -1, SANDBOX_ID)
            connection.chmod(0o660)
        for place in (submission, base):
            for path in [place, *place.rglob("*")]:
                if reason := _closed(path):
                    raise SandboxError(f"{reason}; run `chmod -R go+rX {place}`")
        if connection is not None and (reason := _closed(connection)):
            raise SandboxError(reason)
        binds = ["--seccomp", str(calls)]
        binds += ["--ro-bind", str(submission), "/submission", "--ro-bind", str(base), "/base"]
        if connection is not None:
            binds += ["--ro-bind", str(connection), "/run/nano-r1.sock"]
            connection = Path("/run/nano-r1.sock")
        if devices is not None:
            binds += _device_binds(devices)
        prefix = _bwrap(limits, binds)
        submission, output = Path("/submission"), Path("/output")
        library = "/opt/nano-r1"
    else:
        prefix = []
        library = str(HARNESS.parent)
        rlimits["RLIMIT_FSIZE"] = max(limits.output_bytes, limits.shm_bytes)
        if group is None:
            rlimits["RLIMIT_DATA"] = limits.memory_bytes
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
        "OMP_NUM_THREADS": str(limits.cores),
    }
    if connection is not None:
        environment["NANO_R1_SOCKET"] = str(connection)
    if devices is not None:
        environment |= devices.environment
    plan = {
        "argv": [sys.executable, *argv],
        "environment": environment,
        "folder": str(submission),
        "output": str(output),
        "rlimits": rlimits,
        "grace_seconds": GRACE_SECONDS,
    }
    supervisor = f"{inspect.getsource(_supervise)}\n_supervise({channel}, {plan!r})"
    inner = [*prefix, sys.executable, "-I", "-S", "-c", supervisor]
    doors = [] if group is None else group.doors()
    join = "".join(f"echo $$ > {shlex.quote(str(door))} && " for door in doors)
    return ["/bin/sh", "-c", f'{join}exec "$@"', "sh", *inner]


def _device_binds(devices: Devices) -> list[str]:
    """--dev-bind, because /dev is made anew and a plain bind in it opens no device."""
    line = [word for node in devices.nodes for word in ("--dev-bind", str(node), str(node))]
    line += [word for folder in devices.folders for word in ("--ro-bind", str(folder), str(folder))]
    return line + [word for where, to in devices.links.items() for word in ("--symlink", to, where)]


def _bwrap(limits: Limits, binds: list[str]) -> list[str]:
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
    line += ["--size", str(_pages(limits.output_bytes) + os.sysconf("SC_PAGE_SIZE")), "--tmpfs", "/output"]
    for place in dict.fromkeys([sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent)]):
        if not Path(place).is_relative_to("/usr"):
            line += ["--ro-bind", place, place]
    for file in ("__init__.py", "client.py"):
        line += ["--ro-bind", str(HARNESS / file), f"/opt/nano-r1/harness/{file}"]
    # bubblewrap makes / and /dev writable tmpfs without a size.
    return [*line, *binds, "--remount-ro", "/dev", "--remount-ro", "/"]


def _supervise(channel: int, plan: dict) -> None:  # type: ignore[type-arg]
    """Runs inside the sandbox, from its source text alone: builtin annotations, imports within.

    Says, a JSON object a line: ready (with a descriptor of the output folder), exit, left + what children used.
    It imports what is written in C. The modules around _signal and _socket, and json, import enum and re, and
    these take longer than the namespaces and the rest of Python together: they would double the start.
    """
    import _signal as signal  # type: ignore[import-not-found]
    import _socket as socket
    import array
    import ctypes
    import os
    import resource
    import select
    import time

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one signal that Python would let through to a pid 1
    harness = socket.socket(fileno=channel)
    os.set_inheritable(channel, False)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: out of the trainer's reach
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us at level none too

    def say(fds: list[int], **what: int) -> None:
        line = ", ".join(f'"{name}": {value}' for name, value in what.items())
        harness.sendmsg([f"{{{line}}}\n".encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])

    def descendants() -> list[int]:
        parents = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if fields[0] not in "ZX" or int(fields[17]) > 1:  # the first thread may be gone while others work
                parents[int(name)] = int(fields[1])
        found = {os.getpid()}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {os.getpid()})

    for name, value in plan["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    output = os.open(plan["output"], os.O_RDONLY | os.O_DIRECTORY)
    os.chdir(plan["folder"])
    say([output], ready=1)
    os.close(output)
    normal = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ]
    main = os.posix_spawn(plan["argv"][0], plan["argv"], plan["environment"], setsigdef=normal, setsigmask=[])

    events = select.poll()
    events.register(harness, select.POLLIN)
    events.register(os.pidfd_open(main), select.POLLIN)
    ended = None
    childless = False
    while ended is None or not (childless or time.monotonic() - ended > plan["grace_seconds"]):
        if any(fd == channel for fd, _ in events.poll(200 if ended is None else 0)):
            break  # the harness wants the end, or is dead
        if ended is not None:
            time.sleep(0.005)
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == main:
                    ended = time.monotonic()
                    say([], exit=os.waitstatus_to_exitcode(reaped[1]))
        except ChildProcessError:
            childless = True
    # One that forks and exits all the time is in no listing of /proc; that there is a child, waitpid has said.
    left = 0 if childless else max(1, len(descendants()))
    for _ in range(400):
        for pid in descendants():
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.005)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_ms, peak = round((used.ru_utime + used.ru_stime) * 1000), used.ru_maxrss * 1024
    say([], left=left, cpu_ms=cpu_ms, peak_memory_bytes=peak)
    os._exit(0)


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """What this thread spawns in here inherits so many cores and no others; `_Cores` sees whether it takes more."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


# ---------------------------------------------------------------- the filter of system calls

_FAMILIES = [1, 2, 10, 16]  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that the network namespace divides
# By machine: the number seccomp knows it by, then those of the calls below.
_CALLS = {
    "x86_64": {
        "arch": 0xC000003E, "socket": 41, "prlimit64": 302, "add_key": 248, "request_key": 249, "keyctl": 250,
        "perf_event_open": 298, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    },
    "aarch64": {
        "arch": 0xC00000B7, "socket": 198, "prlimit64": 261, "add_key": 217, "request_key": 218, "keyctl": 219,
        "perf_event_open": 241, "bpf": 280, "userfaultfd": 282, "io_uring_setup": 425,
    },
}  # fmt: skip


@contextmanager
def _filter() -> Iterator[int]:
    """A descriptor to read the filter from. Each sandbox has its own, because reading moves the position."""
    calls = os.memfd_create("nano-r1-filter")
    try:
        os.write(calls, _program(_CALLS.get(platform.machine(), _CALLS["x86_64"])))
        os.lseek(calls, 0, os.SEEK_SET)
        yield calls
    finally:
        os.close(calls)


def _program(numbers: dict[str, int]) -> bytes:
    """The filter in classic BPF, see seccomp(2). Refused calls fail with an error that programs know to expect.

    io_uring is refused because it makes sockets behind the filter's back; prlimit64 on another process because
    the supervisor's limits are open to any process of its uid.
    """
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    number, arch, first = 0, 4, 16  # offsets of what is loaded: the call, the machine, the low half of argument 0
    allow, kill, error = 0x7FFF0000, 0x80000000, 0x00050000

    def line(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("<HBBI", code, then, otherwise, value)

    def only(call: str, permitted: list[int], number: int) -> bytes:
        """This call with one of these as its first argument, else the error."""
        tests = b"".join(line(equal, value, 0, 1) + line(give, allow) for value in permitted)
        body = line(load, first) + tests + line(give, error | number)
        return line(equal, numbers[call], 0, len(body) // 8) + body

    program = line(load, arch) + line(equal, numbers["arch"], 1) + line(give, kill) + line(load, number)
    program += line(at_least, 1 << 30, 0, 1) + line(give, error | 38)  # ENOSYS: the second table of x86 (x32)
    for call in ("add_key", "request_key", "keyctl", "perf_event_open", "bpf", "userfaultfd"):
        program += line(equal, numbers[call], 0, 1) + line(give, error | 1)  # EPERM
    program += line(equal, numbers["io_uring_setup"], 0, 1) + line(give, error | 38)
    program += only("socket", _FAMILIES, 97)  # EAFNOSUPPORT
    program += only("prlimit64", [0], 1)  # 0: itself
    return program + line(give, allow)
