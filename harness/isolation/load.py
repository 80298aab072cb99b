"""How busy a machine is: what a run would get of its cores, and what it got.

Wall time decides a result, and a run that shares its cores with other programs takes longer than its recipe needs. That
is no fault of the submission and no property of the machine, so whoever reads a time is told of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from harness.isolation.budgets import on_cores

BUSY = 0.1  # of a run's cores: more than this taken by others, and its time says little about the recipe

_SPIN = """
import sys, time
end, before = time.monotonic() + float(sys.argv[1]), time.process_time()
while time.monotonic() < end:
    pass
print(time.process_time() - before)
"""


@dataclass(frozen=True)
class Share:
    """What a run got of its cores, on average over its time."""

    cores: int  # that it may use
    used: float  # that it computed on
    others: float  # that programs other than the run and the harness took of them

    @property
    def busy(self) -> bool:
        return self.others > BUSY * self.cores

    def __str__(self) -> str:
        """`on 1.1 of 2 cores`, and who had the rest if it was others."""
        taken = f", while other programs took {self.others:.1f} of them" if self.busy else ""
        return f"on {self.used:.1f} of {self.cores} cores{taken}"


class Load:
    """Watches the cores that a run begins on, from the moment it is made, or from its last `restart`."""

    def __init__(self, cores: int) -> None:
        self._cores = sorted(os.sched_getaffinity(0))[:cores]
        self._count = cores
        self.restart()

    def restart(self) -> None:
        self._before = self._now()

    def share(self, cpu_ms: int) -> Share:
        """Since the start. `cpu_ms`: of the run's processes; those of this process are no other program's."""
        wall, own, busy = (now - before for now, before in zip(self._now(), self._before, strict=True))
        used = cpu_ms / 1000 / wall
        return Share(self._count, used, min(max(busy / wall - own / wall - used, 0.0), float(len(self._cores))))

    def _now(self) -> tuple[float, float, float]:
        """Seconds: the clock, this process's CPU time, the CPU time of all programs on these cores."""
        return time.monotonic(), time.process_time(), _busy_seconds(self._cores)


def _busy_seconds(cores: list[int]) -> float:
    """CPU time spent on these cores since the machine was started, by anybody, the hypervisor included."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            rows = [line.split() for line in file if line.startswith("cpu")]
    except OSError:
        return 0.0
    wanted = {f"cpu{core}" for core in cores}
    # user, nice, system, then idle and iowait, then irq, softirq, steal; guests are part of user and nice (proc(5)).
    ticks = sum(int(row[i]) for row in rows if row[0] in wanted for i in (1, 2, 3, 6, 7, 8) if i < len(row))
    return ticks / os.sysconf("SC_CLK_TCK")


def free_cores(cores: int, seconds: float = 1.0) -> float:
    """How many of so many cores a run would get now: computes on all of them for this long, against all the others."""
    line = [sys.executable, "-I", "-S", "-c", _SPIN, str(seconds)]
    with on_cores(cores):
        started = [subprocess.Popen(line, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(cores)]
    spent = [process.communicate()[0] for process in started]
    return min(sum(float(text or 0) for text in spent) / seconds, float(cores))


def warning(cores: int) -> str | None:
    """What to say before a run whose time counts, if the machine is busy."""
    free = free_cores(cores)
    if free >= (1 - BUSY) * cores:
        return None
    return (
        f"this machine is busy: a run would get {free:.1f} of its {cores} cores now. CPU time is metered and wall time "
        "decides, so runs may end over the budget; stop what else is running"
    )
