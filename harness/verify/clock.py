"""The two clocks of a verification: a monotonic one that times the runs, and the calendar that dates what is signed."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Milliseconds since a run's clock started. Monotonic: nobody can set it."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._start = time.monotonic()

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self._start) * 1000)


def utc_now() -> str:
    """The machine's date and time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
