"""A pool of processes that answer questions and can be killed.

SIGALRM, which math-verify's own time limit is made of, works on a main thread only, clears the caller's alarm and does
not interrupt a long multiplication. A pool's own time limit often runs while a question waits for a free process. So:

- one process answers one question at a time, on its own main thread;
- its limit is **processor time of that process for that question**, set by itself before it begins (RLIMIT_CPU) and
  enforced by the kernel: neither waiting for a free process nor a busy machine counts;
- a limit on wall time, from the moment it has the question, is there for a process that sleeps or is stopped;
- a process that dies, or is killed, is replaced. A question that ends a used process is asked once more in a fresh one,
  so that no answer depends on the questions before it.

Callers may be threads. Processes are started when they are first needed, and end when their end of the pipe closes.
"""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import NanoR1Error

START_SECONDS = 120  # to import what it needs, on a busy machine
_ROOT = Path(__file__).resolve().parent.parent.parent


class PoolError(NanoR1Error):
    """A process of the pool could not be started: the machine's fault, never the question's."""


class Pool:
    """At most `size` processes of `python -m module`; each reads a JSON object a line and writes one a line."""

    def __init__(self, module: str, size: int, cpu_seconds: int, wall_seconds: float) -> None:
        self.module, self.cpu_seconds, self.wall_seconds = module, cpu_seconds, wall_seconds
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()  # None: not started yet
        for _ in range(size):
            self._idle.put(None)

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None if the question ended a fresh process: too long, too much memory, a crash.

        Waits for a free process first. After that it takes at most twice wall_seconds, and the start of a process.
        """
        data = json.dumps({**question, "cpu_seconds": self.cpu_seconds}).encode() + b"\n"
        process = self._idle.get()
        try:
            if process is not None:
                answer = process.ask(data, self.wall_seconds)
                if answer is not None:
                    return answer
                process.end()
                process = None
            process = _Process(self.module)
            answer = process.ask(data, self.wall_seconds)
            if answer is None:
                process.end()
                process = None
            return answer
        except BaseException:
            if process is not None:  # in the middle of a question: its answer must not be read as the next one
                process.end()
                process = None
            raise
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End the idle processes. The pool can be used again."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for process in idle:
            if process is not None:
                process.end()
            self._idle.put(None)


class _Process:
    def __init__(self, module: str) -> None:
        # The hash seed decides orders inside sympy; -P keeps the working directory off the path. In a session of its
        # own it does not get the terminal's Ctrl-C, which is for the caller.
        environment = {"PATH": os.defpath, "PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module], env=environment, cwd="/", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._write, self._read = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._write, False)
        self._left = b""
        try:
            ready = self._line(time.monotonic() + START_SECONDS) == b"ready"
        except BaseException:
            self.end()
            raise
        if not ready:
            self.end()
            raise PoolError(f"`{sys.executable} -m {module}` did not start; run it to see why")

    def ask(self, data: bytes, seconds: float) -> dict[str, Any] | None:
        """The answer, or None if there was none in time; then the process is of no more use."""
        deadline = time.monotonic() + seconds
        try:
            while data:
                if not _ready(self._write, select.POLLOUT, deadline):
                    return None
                data = data[os.write(self._write, data) :]
        except OSError:  # it is gone
            return None
        line = self._line(deadline)
        return None if line is None else json.loads(line)

    def _line(self, deadline: float) -> bytes | None:
        """The next line, or None at the end of the pipe or of the time."""
        while b"\n" not in self._left:
            more = os.read(self._read, 1 << 16) if _ready(self._read, select.POLLIN, deadline) else b""
            if not more:
                return None
            self._left += more
        line, _, self._left = self._left.partition(b"\n")
        return line

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _ready(descriptor: int, event: int, deadline: float) -> bool:
    """Wait until it can be read or written, or is closed at the other end. False: the time is over."""
    poll = select.poll()  # select() would refuse a descriptor above 1,023
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
