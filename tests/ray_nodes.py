"""A real Ray cluster on this machine, by `ray start` as docs/cluster.md says: a head without runs, and nodes with.

Each node has its own loopback address and its own core, so that two runs do not share one. The nodes run a copy of the
harness in which the track cpu-logic is tests/tiny.py's small one, on a single core.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tiny

from harness import submission
from harness.ledger.signature import generate
from harness.tracks.track import ROOT

HEAD = "127.0.0.2"  # 127.0.0.1 would be replaced by an address that others reach
CORES = sorted(os.sched_getaffinity(0))
RAY = {  # docs/cluster.md says why
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface, whatever address it is given
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_raylet_start_wait_time_s": "180",  # the tests' own: on a busy machine the default of 30 s is too short
}


def repository(place: Path, name: str, seconds: float, runs: int) -> Path:
    """A copy of the harness in place/name with the small track: two questions a task, one core, `runs` runs."""
    copy = place / name
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("harness", "leaderboard"):
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    tiny.make_submission(copy, "quick-baseline", seconds)
    path = copy / "harness" / "tracks" / "cpu-logic.toml"
    text = path.read_text(encoding="utf-8")
    for key, value in {"questions": 2, "seconds": 60, "cores": 1, "runs": runs}.items():
        text, count = re.subn(rf"^{key} = [\d_]+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count
    path.write_text(text, encoding="utf-8")
    freeze(copy)
    return copy


def freeze(copy: Path) -> None:
    """Name the copy's baseline, as it is now, in its track."""
    path = copy / "harness" / "tracks" / "cpu-logic.toml"
    text, count = re.subn(
        r'\[baseline\]\nfolder = "[\w-]+"\ntree_sha256 = "\w+"',
        f'[baseline]\nfolder = "quick-baseline"\ntree_sha256 = "{submission.tree_digest(copy / "quick-baseline")}"',
        path.read_text(encoding="utf-8"),
    )
    assert count == 1
    path.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- processes


def descendants(pid: int) -> list[int]:
    """All descendants of a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family - {pid})


def process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@dataclass
class RayNode:
    """One `ray start --block`."""

    process: subprocess.Popen[bytes]
    ip: str

    @property
    def raylet(self) -> int | None:
        return next((pid for pid in descendants(self.process.pid) if process_name(pid) == "raylet"), None)

    def sandboxed(self) -> list[int]:
        """Processes alive in a sandbox of a run on this node."""
        raylet = self.raylet
        return [pid for worker in descendants(raylet) for pid in tiny.sandboxed_processes(worker)] if raylet else []

    def kill(self) -> list[int]:
        """SIGKILL its raylet, as when a machine fails; returns the processes that were in its sandbox."""
        processes = self.sandboxed()
        os.kill(self.raylet or 0, signal.SIGKILL)
        return processes

    def end(self) -> None:
        processes = [self.process.pid, *descendants(self.process.pid)]
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class RayCluster:
    """The cluster: a head, and the nodes that were added."""

    def __init__(self, place: Path, code: Path) -> None:
        self._place, self._code, self.nodes = place, code, list[RayNode]()
        with socket.create_server((HEAD, 0)) as free:
            self._port = free.getsockname()[1]
        self.address = f"{HEAD}:{self._port}"

    def start(self) -> None:
        self.head = self._start(
            HEAD, CORES, self._code, "--head", f"--port={self._port}", "--include-dashboard=false",
            "--disable-usage-stats", f"--temp-dir={self._place / 'ray'}", "--num-cpus=0",
        )  # fmt: skip

    def add(self, number: int, code: Path | None = None) -> RayNode:
        """Node `number`, 0 or more, on a core of its own while there are enough. `code`: another harness."""
        offers = ["--num-cpus=1", '--resources={"nano-r1": 1}']
        core = CORES[number % len(CORES)]
        return self._start(f"127.0.0.{number + 3}", [core], code or self._code, f"--address={self.address}", *offers)

    def _start(self, ip: str, cores: list[int], code: Path, *options: str) -> RayNode:
        log = open(self._place / f"ray-{len(self.nodes)}.log", "wb")  # noqa: SIM115  the process keeps it
        line = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", "ray.scripts.scripts", "start"]
        line += [*options, f"--node-ip-address={ip}", "--object-store-memory=80000000", "--block"]
        process = subprocess.Popen(
            line, stdout=log, stderr=subprocess.STDOUT, cwd="/", env=os.environ | RAY | {"PYTHONPATH": str(code)}
        )
        node = RayNode(process, ip)
        self.nodes.append(node)
        deadline = time.monotonic() + 240  # on a busy machine
        while b"Ray runtime started" not in Path(log.name).read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, Path(log.name).read_text(encoding="utf-8")
            time.sleep(0.2)
        log.close()
        return node

    def end(self) -> None:
        for node in reversed(self.nodes):
            node.end()


@contextlib.contextmanager
def ray_cluster(place: Path, code: Path) -> Iterator[RayCluster]:
    cluster = RayCluster(place, code)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


# ---------------------------------------------------------------- the command


class Command:
    """`nano-r1 VERB …` in a process of its own, from the copy of the harness, on the ledger beside it."""

    def __init__(self, place: Path, code: Path, name: str, *arguments: str, verb: str = "verify") -> None:
        self._output = place / f"{name}.output"
        if not (place / "key").exists():
            generate(place / "key", "tester")
        line = [sys.executable, "-m", "harness.cli", verb, *arguments, "--ledger", str(code / "records")]
        line += ["--key", str(place / "key")] if verb == "verify" else []
        environment = os.environ | RAY | {"PYTHONPATH": str(code), "XDG_STATE_HOME": str(place / "state")}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, cwd=place, env=environment)

    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def wait(self, seconds: float = 300) -> int:
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
