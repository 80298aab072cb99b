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
import textwrap
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.isolation import compiler, gpu, sandbox
from harness.isolation.command_line import HARNESS

LIMITS = sandbox.Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 20, output_bytes=1 << 20, log_bytes=1 << 16, processes=16, cores=1
)

PROBE = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")

BOMB = "blocks = []\nwhile True:\n    blocks.append(bytearray(1 << 24))\n"

# Says every 10 ms of its own CPU time how much that is: on a busy machine it gets little, and must be billed for that.
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        said = 0
        while True:
            used = time.process_time_ns() // 1_000_000
            if used >= said + 10:
                said = used
                os.write(1, b"%d\\n" % used)
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
    with (
        tempfile.TemporaryDirectory(prefix="nano-r1-doctor-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        work = Path(name)
        work.chmod(0o755)
        probe = f"{PROBE}\nprobe({_host(work, server.getsockname()[1])!r})\n"
        try:
            with ThreadPoolExecutor(3) as pool:
                probed, bombed, burned = pool.map(
                    lambda job: _run(work / job[0], job[1]), [("probe", probe), ("bomb", BOMB), ("daemon", DAEMON)]
                )
        except sandbox.SandboxError as error:
            return [Check("sandbox_starts", False, str(error))]
    return [
        Check("sandbox_starts", True, f"and ends, in {min(probed.wall_ms, bombed.wall_ms)} ms"),
        *_probe_checks(probed),
        Check("memory_limited", "out of memory" in (bombed.failure or ""), bombed.failure or "a bomb went off"),
        Check("leftovers_detected", "left 1 process" in (burned.failure or ""), burned.failure or "not noticed"),
        _daemon_check(burned),
    ]


def _host(work: Path, port: int) -> dict[str, object]:
    """What there is on the host for the probe to look for. Leaves a secret in `work`."""
    secret = work / "secret"
    secret.write_text("a file that anyone on the host may read", encoding="utf-8")
    secret.chmod(0o644)
    return {
        "port": port,
        "hidden": [str(secret), "/root", "/home", "/etc/shadow", "/etc/passwd", "/sys/fs/cgroup",
                   str(HARNESS / "verify" / "session.py"), str(HARNESS.parent / "records")],
        "readonly": ["/", "/usr", "/dev", "/etc", "/submission", "/base", "/opt/nano-r1/harness", sys.prefix],
        "capped": {"/dev/shm": 1 << 20, "/tmp": 1 << 20, "/output": (1 << 20) + os.sysconf("SC_PAGE_SIZE")},
        "variables": sorted(os.environ),
    }  # fmt: skip


def _probe_checks(probed: sandbox.Usage) -> list[Check]:
    """What the probe printed, and whether it came to its end."""
    try:
        checks = [Check(**json.loads(line)) for line in probed.log.splitlines()]
    except (ValueError, TypeError):
        checks = []
    if probed.exit_code != 0 or not checks:  # what cannot be read has proven nothing
        last = probed.log.decode(errors="replace").strip().splitlines()[-1:]
        checks.append(Check("probe_finished", False, " ".join([probed.failure or "", *last])))
    return checks


def _daemon_check(burned: sandbox.Usage) -> Check:
    """Was the run billed for at least the CPU time that its daemon says it used?"""
    lines = burned.log.split()
    used = int(lines[-1]) if lines and lines[-1].isdigit() else 0
    return Check("daemon_cpu_metered", 0 < used <= burned.cpu_ms, f"{burned.cpu_ms} ms, of which a daemon used {used}")


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
    (folder / "submission" / "train.py").write_text(program, encoding="utf-8")
    (folder / "submission" / "train.py").chmod(0o644)
    mounts = sandbox.Mounts(folder / "submission", folder / "base", folder / "output", socket=None)
    return sandbox.run(["train.py"], mounts=mounts, limits=limits, level=level, devices=devices)


# ---------------------------------------------------------------- GPUs

SIZE = 128  # of the matrices: small whole numbers, so that every way of multiplying them gives the same
COMPUTE = sandbox.Limits(
    seconds=120, memory_bytes=1 << 33, shm_bytes=1 << 28, output_bytes=1 << 20, log_bytes=1 << 20, processes=1024,
    cores=min(4, len(os.sched_getaffinity(0))),
)  # fmt: skip


def gpus() -> Check:
    """One line about this machine's GPUs. No failure even where there are none: a CPU track needs none."""
    consequence = "GPU tracks cannot be verified here"
    try:
        devices = gpu.devices()
    except gpu.GpuError as error:
        return Check("gpus", True, f"no GPU: {consequence} ({error})")
    if not devices:
        return Check("gpus", True, f"no GPU: {consequence} (the driver lists none)")
    models = ", ".join(f"{count} x {name}" for name, count in Counter(map(str, devices)).items())
    failure = kernel(gpu.Lease(tuple(devices)), "full")
    outcome = "a kernel computes on each from inside the sandbox" if failure is None else f"{consequence}: {failure}"
    return Check("gpus", True, f"{models}; {outcome}")


def kernel(lease: gpu.Lease, level: sandbox.Level) -> str | None:
    """Multiply two matrices on each of these GPUs from inside a sandbox, and launch a kernel that Triton compiles.

    Why that gave no right result, with what to install, or None.
    """
    try:
        if failure := compiler.old_driver() or compiler.missing_tools():
            return failure
        return compute("cuda", len(lease.devices), level, lease.sandbox_devices(level))
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
    expected = hashlib.sha256(repr(product).encode()).hexdigest()
    program = f"{inspect.getsource(_multiply)}\ndevices = _multiply({kind!r}, {left!r}, {right!r})\n"
    triton = kind == "cuda" and compiler.has_triton()
    if triton:
        program += f"if devices:\n{textwrap.indent(compiler.KERNEL, '    ')}    _launch(devices)\n"
    with tempfile.TemporaryDirectory(prefix="nano-r1-doctor-") as name:
        Path(name).chmod(0o755)
        done = _run(Path(name) / "kernel", program, COMPUTE, level, devices)
    lines = done.log.decode(errors="replace").strip().splitlines()
    if done.failure is not None:
        return f"a kernel's program {done.failure} ({lines[-1] if lines else 'without a word'})"
    if lines[:1] == ["no GPU"]:
        return f"inside the sandbox there is no GPU ({' '.join(lines[1:])})"
    if lines[:count] != [expected] * count:
        return f"{lines.count(expected)} of {count} GPUs gave a right product from inside the sandbox"
    if triton and lines[count:] != [compiler.RIGHT] * count:
        return f"{lines.count(compiler.RIGHT)} of {count} GPUs ran a kernel of Triton's right from inside the sandbox"
    return None


def _multiply(kind: str, left: list, right: list) -> list:  # type: ignore[type-arg]
    """Runs inside the sandbox, from its source text alone. A line for each device: the SHA-256 of the product.

    Returns the devices.
    """
    import hashlib

    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except Exception as error:
            print("no GPU", str(error).splitlines()[0], sep="\n")
        return []
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if kind == "cuda" else ["cpu"]
    for device in devices:
        a, b = (torch.tensor(rows, dtype=torch.float32, device=device) for rows in (left, right))
        product = (a @ b).to("cpu", torch.int64).flatten().tolist()
        print(hashlib.sha256(repr(product).encode()).hexdigest())
    return devices
