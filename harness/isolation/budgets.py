"""How a run can fail: each budget that it can break, and how it can end. A failure is a sentence, or None."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.isolation.contract import Level, Limits
from harness.isolation.meter import Cgroup
from harness.isolation.output import used_bytes, whole_pages


@contextmanager
def on_cores(count: int, preferred: Sequence[int] = ()) -> Iterator[None]:
    """What this thread spawns in here inherits so many cores and no others; `CoreTime` sees whether it takes more.

    Those of `preferred` that this process may use come first, in that order.
    """
    mine = os.sched_getaffinity(0)
    order = [core for core in preferred if core in mine]
    os.sched_setaffinity(0, [*order, *sorted(mine - set(order))][:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


class CoreTime:
    """Has a run had more CPU time than its cores give? Asked every second or so, for the time since it was last asked.

    A run begins on its cores (`on_cores`). Taking others is not refused but found out: MKL learns their topology by
    moving from core to core with sched_setaffinity, and computed 1.5 times slower where that call was refused.
    """

    def __init__(self, count: int, started: float) -> None:
        self._count, self._used_ms, self.since = count, 0, started

    def failure(self, cpu_ms: Callable[[], int]) -> str | None:
        """`cpu_ms` returns the CPU time so far. The clock is read before and after, so a late answer cannot be held
        against the run; the kernel's own figure can be a scheduler's tick old for each core, and is given two."""
        before = time.monotonic()
        total = cpu_ms()
        used, self._used_ms = total - self._used_ms, total
        wall_ms = round((time.monotonic() - self.since) * 1000)
        self.since = before
        if used <= self._count * (wall_ms + 20):
            return None
        return f"took {used} ms of CPU in {wall_ms} ms, and the track gives {self._count} core{'s' * (self._count > 1)}"


def memory_failure(group: Cgroup | None, limits: Limits) -> str | None:
    if group is None:
        return None
    group.peak_memory_bytes()  # kernels that keep no peak want to be asked often
    return f"out of memory: the budget is {limits.memory_bytes} bytes" if group.oom_kills() else None


def output_failure(output: int | None, limits: Limits, level: Level) -> str | None:
    """The tmpfs has a page more than the budget; at level none a single file is limited, and the sum is checked."""
    if output is None or used_bytes(output, level) <= whole_pages(limits.output_bytes):
        return None
    return f"output over {limits.output_bytes} bytes"


def exit_failure(report: dict[str, int], group: Cgroup | None, limits: Limits) -> str | None:
    """How it ended, by the supervisor's report."""
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
