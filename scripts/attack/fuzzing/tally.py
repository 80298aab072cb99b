"""What a fuzz has done so far, and whether the process grew meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

GROWTH_BYTES = 50 << 20  # of this process, from a tenth of the way to the end


@dataclass
class Tally:
    """Kinds of input, how each was answered, and everything that should not have happened."""

    done: int = 0
    seconds: float = 0.0
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: tuple[float, str] = (0.0, "")  # seconds, kind
    grown: int = 0  # bytes
    findings: list[str] = field(default_factory=list)

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        self.outcomes[kind][outcome] += 1
        self.slowest = max(self.slowest, (seconds, kind))

    def total(self, outcome: str) -> int:
        return sum(counts[outcome] for counts in self.outcomes.values())


def memory() -> int:
    """Resident bytes of this process, without what is free and only kept by the allocator."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slow_again(seconds: float, limit: float, call: Callable[[], object]) -> float:
    """The least of three times where the first was over the limit: another process may have had the core."""
    for _ in range(2):
        if seconds > limit:
            begun = time.perf_counter()
            with contextlib.suppress(Exception):
                call()
            seconds = min(seconds, time.perf_counter() - begun)
    return seconds


def drive(
    tally: Tally, cases: Generator[None, None, None], count: int, on_case: Callable[[int], None] = lambda done: None
) -> None:
    """Run the cases to their end. Growth of memory counts after the first tenth: before, caches and arenas fill."""
    begun = time.monotonic()
    start = memory()
    try:
        with contextlib.closing(cases):
            for _ in cases:
                tally.done += 1
                if tally.done == count // 10:
                    start = memory()
                on_case(tally.done)
    finally:
        tally.seconds = time.monotonic() - begun
        tally.grown = memory() - start
    if tally.grown > GROWTH_BYTES:
        tally.findings.append(f"memory grew by {tally.grown >> 20} MiB")
