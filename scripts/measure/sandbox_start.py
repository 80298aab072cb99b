"""How long does a sandbox take to start? Measured on an empty trainer, beside a bare `python -c pass`.

    python scripts/measure/sandbox_start.py [STARTS]

Milliseconds from the call of harness.isolation.sandbox.run, median and 95th percentile:

    spawn        the cgroup is made, the command line built and its first process about to be started
    ready        the namespaces stand and the supervisor is about to start the trainer
    first line   the trainer's Python runs its first line
    over         the run has returned: all is dead, the cgroup removed

The sandbox's own start is `ready`. What follows it, up to the first line, is the trainer's Python, which a run
without a sandbox pays too: `bare first line` is that, from its spawn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.isolation import doctor, sandbox
from harness.isolation.watch import Channel

TRAINER = "import time\nprint(time.monotonic(), flush=True)\n"


def start(mounts: sandbox.Mounts) -> dict[str, float]:
    """Seconds from the call to each milestone."""
    milestones: dict[str, float] = {}
    read = Channel.read

    def timed_read(channel: Channel) -> bool:
        alive = read(channel)
        if "ready" in channel.report:
            milestones.setdefault("ready", time.monotonic())
        return alive

    Channel.read = timed_read  # type: ignore[assignment,method-assign]
    called = time.monotonic()
    try:
        usage = sandbox.run(
            ["train.py"],
            mounts=mounts,
            limits=doctor.LIMITS,
            level="full",
            hooks=sandbox.Hooks(on_start=lambda: milestones.setdefault("spawn", time.monotonic())),
        )
    finally:
        Channel.read = read  # type: ignore[method-assign]
    milestones["over"] = time.monotonic()
    if usage.failure is not None:
        raise SystemExit(f"{usage.failure}: {usage.log.decode(errors='replace')}")
    milestones["first line"] = float(usage.log)
    return {name: at - called for name, at in milestones.items()}


def bare(program: Path) -> dict[str, float]:
    called = time.monotonic()
    done = subprocess.run([sys.executable, str(program)], env={}, capture_output=True, check=True)
    return {"bare first line": float(done.stdout) - called, "bare over": time.monotonic() - called}


def main() -> None:
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as name:
        work = Path(name)
        work.chmod(0o755)
        for folder in ("submission", "base", "output"):
            (work / folder).mkdir(mode=0o755)
        (work / "submission" / "train.py").write_text(TRAINER, encoding="utf-8")
        mounts = sandbox.Mounts(work / "submission", work / "base", work / "output", socket=None)
        measured: dict[str, list[float]] = {}
        for _ in range(starts + 1):  # in turn, so that a drift of the machine falls on both
            times = start(mounts) | bare(work / "submission" / "train.py")
            for milestone, seconds in times.items():
                measured.setdefault(milestone, []).append(1000 * seconds)
    print(f"{starts} starts, load {os.getloadavg()[0]:.2f}")
    for milestone in ("spawn", "ready", "first line", "over", "bare first line", "bare over"):
        values = sorted(measured[milestone][1:])  # the first one reads files from the disk
        high = values[min(len(values) - 1, round(0.95 * len(values)))]
        print(f"{milestone:16s} median {statistics.median(values):6.1f} ms   95% {high:6.1f} ms")


if __name__ == "__main__":
    main()
