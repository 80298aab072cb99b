"""The pool of processes: limits count the work alone, and whoever dies, stops or is interrupted is replaced."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.answers.pool import Pool, PoolError


def test_waiting_for_a_free_process_is_not_on_the_clock() -> None:
    """Four questions that take 0.6 s each wait for one process, whose limit is 2 s."""
    pool = Pool("tests.pool_worker", size=1, cpu_seconds=30, wall_seconds=2)
    answers: list[dict[str, Any] | None] = []
    threads = [threading.Thread(target=lambda: answers.append(pool.ask({"sleep": 0.6}))) for _ in range(4)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start > 2.3
    assert [given and given["slept"] for given in answers] == [0.6] * 4
    (first,) = {given["pid"] for given in answers if given}
    start = time.monotonic()
    assert pool.ask({"sleep": 60}) is None  # asked twice: in the used process, then in a fresh one
    assert 3.9 < time.monotonic() - start < 60
    after = pool.ask({"sleep": 0})
    assert after is not None and after["pid"] != first and not alive(first)
    pool.close()
    assert not alive(after["pid"])


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_process_that_is_stopped_blocks_nobody() -> None:
    """It reads nothing, so a question larger than a pipe cannot be written to it."""
    pool = Pool("tests.pool_worker", size=1, cpu_seconds=30, wall_seconds=2)
    first = pool.ask({"sleep": 0})
    assert first is not None
    os.kill(first["pid"], signal.SIGSTOP)
    start = time.monotonic()
    second = pool.ask({"sleep": 0, "text": "x" * (1 << 20)})
    assert second is not None and second["pid"] != first["pid"]
    assert 1.9 < time.monotonic() - start < 60
    pool.close()


def test_an_interrupted_question_does_not_answer_the_next_one() -> None:
    pool = Pool("tests.pool_worker", size=1, cpu_seconds=30, wall_seconds=30)
    first = pool.ask({"sleep": 0})
    assert first is not None

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.ask({"sleep": 2})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    second = pool.ask({"sleep": 0.1})
    assert second is not None and second["slept"] == 0.1 and second["pid"] != first["pid"]
    pool.close()


def test_a_pool_that_cannot_start_says_so() -> None:
    with pytest.raises(PoolError, match="no_such_module` did not start"):
        Pool("no_such_module", size=1, cpu_seconds=1, wall_seconds=1).ask({})
