"""Does the sandbox hold on this machine? Found out by trying to break out of one.

Three real runs, side by side, in about three seconds: a probe that tries everything a submission might, a
memory bomb, and a daemon that burns CPU after its main process has gone. What they find goes into each
record as `isolation_checks`.

And do the GPUs compute from inside one? Found out by a real kernel, whose result is compared: a machine whose
nvidia-smi answers inside a container may still refuse to compute there (https://github.com/NVIDIA/NemoClaw/issues/4016).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.isolation import gpu, sandbox

LIMITS = sandbox.Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 20, output_bytes=1 << 20, log_bytes=1 << 16, processes=16, cores=1
)

BOMB = "blocks = []\nwhile True:\n    blocks.append(bytearray(1 << 24))\n"

DAEMON = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            pass
"""


@dataclass(frozen=True)
class Check:
    """One thing that a submission must not be able to do, or that must be metered."""

    name: str
    ok: bool
    detail: str


def proven(checks: Mapping[str, bool]) -> sandbox.Level:
    """What a record may call its isolation: a sandbox that the doctor broke out of is used, but not vouched for."""
    return "full" if checks and all(checks.values()) else "none"


def checks() -> list[Check]:
    """All that `nano-r1 doctor` shows: how well a sandbox isolates, and what GPUs there are."""
    return [*isolation_checks(), gpus()]


def isolation_checks() -> list[Check]:
    """Try it all. Never raises: a sandbox that does not start is one failed check."""
    with tempfile.TemporaryDirectory(prefix="nano-r1-doctor-") as name, socket.create_server(("127.0.0.1", 0)) as host:
        work = Path(name)
        work.chmod(0o755)
        secret = work / "secret"
        secret.write_text("a file that anyone on the host may read")
        secret.chmod(0o644)
        told = {
            "port": host.getsockname()[1],
            "hidden": [str(secret), "/root", "/home", "/etc/shadow", "/etc/passwd", "/sys/fs/cgroup",
                       str(sandbox.HARNESS / "verify" / "session.py"), str(sandbox.HARNESS.parent / "records")],
            "readonly": ["/", "/usr", "/dev", "/etc", "/submission", "/base", "/opt/nano-r1/harness", sys.prefix],
            "capped": {"/dev/shm": 1 << 20, "/tmp": 1 << 20, "/output": (1 << 20) + os.sysconf("SC_PAGE_SIZE")},
            "variables": sorted(os.environ),
        }  # fmt: skip
        probe = f"{inspect.getsource(_probe)}\n_probe({told!r})\n"
        try:
            with ThreadPoolExecutor(3) as pool:
                probed, bombed, burned = pool.map(
                    lambda job: _run(work / job[0], job[1]), [("probe", probe), ("bomb", BOMB), ("daemon", DAEMON)]
                )
        except sandbox.SandboxError as error:
            return [Check("sandbox_starts", False, str(error))]
    try:
        lines = [json.loads(line) for line in probed.log.splitlines()]
    except ValueError:
        lines = []
    found = [Check(**line) for line in lines]
    if probed.exit_code != 0:
        last = probed.log.decode(errors="replace").strip().splitlines()[-1:]
        found.append(Check("probe_finished", False, " ".join([probed.failure or "", *last])))
    return [
        Check("sandbox_starts", True, f"and ends, in {min(probed.wall_ms, bombed.wall_ms)} ms"),
        *found,
        Check("memory_limited", "out of memory" in (bombed.failure or ""), bombed.failure or "a bomb went off"),
        Check("leftovers_detected", "left 1 process" in (burned.failure or ""), burned.failure or "not noticed"),
        Check("daemon_cpu_metered", burned.cpu_ms >= 300, f"{burned.cpu_ms} ms of a daemon that ran for 2 s"),
    ]


def _run(
    folder: Path,
    program: str,
    limits: sandbox.Limits = LIMITS,
    level: sandbox.Level = "full",
    devices: sandbox.Devices | None = None,
) -> sandbox.Usage:
    for name in ("submission", "base", "output"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o755)
    folder.chmod(0o755)
    (folder / "submission" / "train.py").write_text(program)
    (folder / "submission" / "train.py").chmod(0o644)
    mounts = sandbox.Mounts(folder / "submission", folder / "base", folder / "output", socket=None)
    return sandbox.run(["train.py"], mounts=mounts, limits=limits, level=level, devices=devices)


def _probe(told: dict) -> None:  # type: ignore[type-arg]
    """Runs inside the sandbox, from its source text alone. Prints a Check as JSON a line."""
    import ctypes
    import json
    import os
    import resource
    import signal
    import socket
    import time

    libc = ctypes.CDLL(None, use_errno=True)

    def say(name: str, ok: bool, detail: object) -> None:
        print(json.dumps({"name": name, "ok": ok, "detail": str(detail)}))

    def refused(result: int) -> tuple[bool, str]:
        return result != 0, os.strerror(ctypes.get_errno()) if result else "it was allowed"

    interfaces = [name for _, name in socket.if_nameindex()]
    try:
        socket.create_connection(("127.0.0.1", told["port"]), timeout=1)
        say("network_refused", False, "reached a port of the host")
    except OSError as error:
        say("network_refused", interfaces == ["lo"], f"{error}; interfaces {interfaces}")

    seen = []
    for path in told["hidden"]:
        try:
            os.stat(path)
            seen.append(path)
        except OSError:
            pass
    say("host_files_hidden", not seen, seen or f"{len(told['hidden'])} paths tried")

    written = []
    for folder in told["readonly"]:
        try:
            os.close(os.open(f"{folder}/nano-r1-probe", os.O_CREAT | os.O_WRONLY))
            written.append(folder)
        except OSError:
            pass
    say("host_files_unwritable", not written, written or f"{len(told['readonly'])} folders tried")

    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    say("host_processes_hidden", pids == [1, os.getpid()], f"sees processes {pids}")

    ours = {"PATH", "HOME", "USER", "LANG", "LC_CTYPE", "PWD", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM"}
    ours |= {"PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "OMP_NUM_THREADS"}
    leaked = set(os.environ) & set(told["variables"]) - ours
    try:
        with open("/proc/1/environ") as file:
            leaked.add(f"/proc/1/environ is readable ({len(file.read())} bytes)")
    except OSError:
        pass
    say("environment_hidden", not leaked, sorted(leaked) or f"{len(told['variables'])} variables looked for")

    extra = []
    for number in range(3, 256):
        try:
            os.fstat(number)
            extra.append(number)
        except OSError:
            pass
    say("no_descriptors_inherited", not extra, extra or "0, 1 and 2 only")

    os.kill(1, signal.SIGKILL)
    ok, why = refused(libc.ptrace(16, 1, 0, 0))  # PTRACE_ATTACH
    say("supervisor_untouchable", ok, f"SIGKILL ignored; ptrace: {why}")

    ok, why = refused(libc.mount(b"none", b"/usr", None, 32 | 4096, None))  # MS_REMOUNT | MS_BIND, without MS_RDONLY
    say("remount_refused", ok, why)
    ok, why = refused(libc.unshare(0x10000000))  # CLONE_NEWUSER
    say("user_namespaces_refused", ok, why)

    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    powerless = status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    nosuid = bool(os.statvfs("/usr").f_flag & os.ST_NOSUID)
    detail = f"uid {os.getuid()}, NoNewPrivs {status['NoNewPrivs']}, CapEff {status['CapEff']}, nosuid {nosuid}"
    say("setuid_gives_nothing", powerless and nosuid and os.getuid() != 0, detail)

    allowed = [] if status["Seccomp"] == "2" else ["no filter"]
    try:
        socket.socket(40, socket.SOCK_STREAM).close()  # AF_VSOCK: no namespace divides it
        allowed.append("a vsock")
    except OSError:
        pass
    try:
        resource.prlimit(1, resource.RLIMIT_NOFILE)
        allowed.append("the supervisor's limits")
    except OSError:
        pass
    say("calls_filtered", not allowed, allowed or "vsock and prlimit of another process refused")

    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
        say("clock_refused", False, "set the clock")
    except OSError as error:
        say("clock_refused", True, error.strerror)

    uncapped = []
    for folder, size in told["capped"].items():
        try:
            with open(f"{folder}/fill", "wb") as fill:
                fill.write(bytes(size + 1))
            uncapped.append(folder)
        except OSError:
            pass
        os.unlink(f"{folder}/fill")
    say("folders_capped", not uncapped, uncapped or ", ".join(told["capped"]))

    children: list[int] = []
    try:
        while len(children) < 64:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    say("processes_limited", len(children) < 64, f"{len(children)} more could be started")


# ---------------------------------------------------------------- GPUs

SIZE = 128  # of the matrices: small whole numbers, so that every way of multiplying them gives the same
COMPUTE = sandbox.Limits(
    seconds=120, memory_bytes=1 << 33, shm_bytes=1 << 28, output_bytes=1 << 20, log_bytes=1 << 20, processes=1024,
    cores=min(4, len(os.sched_getaffinity(0))),
)  # fmt: skip


def gpus() -> Check:
    """One line about this machine's GPUs. No failure even where there are none: a CPU track needs none."""
    hopeless = "GPU tracks cannot be verified here"
    try:
        found = gpu.devices()
    except gpu.GpuError as error:
        return Check("gpus", True, f"no GPU: {hopeless} ({error})")
    if not found:
        return Check("gpus", True, f"no GPU: {hopeless} (the driver lists none)")
    models = ", ".join(f"{count} x {name}" for name, count in Counter(str(each) for each in found).items())
    failure = kernel(gpu.Lease(tuple(found)), "full")
    says = "a kernel computes on each from inside the sandbox" if failure is None else f"{failure}: {hopeless}"
    return Check("gpus", True, f"{models}; {says}")


def kernel(lease: gpu.Lease, level: sandbox.Level) -> str | None:
    """Multiply two matrices on each of these GPUs from inside a sandbox. Why that gave no right result, or None."""
    try:
        return compute("cuda", len(lease.devices), level, lease.doors(level))
    except (gpu.GpuError, sandbox.SandboxError) as error:
        return str(error)


def compute(
    kind: Literal["cuda", "cpu"], count: int, level: sandbox.Level, devices: sandbox.Devices | None
) -> str | None:
    """`kernel`, on this kind of device. Raises SandboxError."""
    left = [[(3 * i + 5 * j) % 7 - 3 for j in range(SIZE)] for i in range(SIZE)]
    right = [[(2 * i + j * j) % 11 - 5 for j in range(SIZE)] for i in range(SIZE)]
    columns = list(zip(*right, strict=True))
    product = [sum(a * b for a, b in zip(row, column, strict=True)) for row in left for column in columns]
    wanted = hashlib.sha256(repr(product).encode()).hexdigest()
    program = f"{inspect.getsource(_multiply)}\n_multiply({kind!r}, {left!r}, {right!r})\n"
    with tempfile.TemporaryDirectory(prefix="nano-r1-doctor-") as name:
        Path(name).chmod(0o755)
        done = _run(Path(name) / "kernel", program, COMPUTE, level, devices)
    lines = done.log.decode(errors="replace").strip().splitlines()
    if done.failure is not None:
        return f"a kernel's program {done.failure} ({lines[-1] if lines else 'without a word'})"
    if lines[:1] == ["no GPU"]:
        return f"inside the sandbox there is no GPU ({' '.join(lines[1:])})"
    if lines != [wanted] * count:
        return f"{lines.count(wanted)} of {count} GPUs gave a right product from inside the sandbox"
    return None


def _multiply(kind: str, left: list, right: list) -> None:  # type: ignore[type-arg]
    """Runs inside the sandbox, from its source text alone. A line for each device: the SHA-256 of the product."""
    import hashlib

    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except Exception as error:
            print("no GPU", str(error).splitlines()[0], sep="\n")
        return
    for device in [f"cuda:{i}" for i in range(torch.cuda.device_count())] if kind == "cuda" else ["cpu"]:
        a, b = (torch.tensor(each, dtype=torch.float32, device=device) for each in (left, right))
        product = (a @ b).to("cpu", torch.int64).flatten().tolist()
        print(hashlib.sha256(repr(product).encode()).hexdigest())
