"""The verifier's side of a run: start it, watch every budget until it is over, end what is left, add up the bill."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from harness.isolation import preload
from harness.isolation.budgets import CoreTime, exit_failure, memory_failure, on_cores, output_failure
from harness.isolation.contract import Hooks, Invocation, SandboxError, Usage
from harness.isolation.meter import Cgroup
from harness.isolation.output import Log, copy_weights

TICK_SECONDS = 0.05


class Channel:
    """The verifier's end of the supervisor's socket, and what the supervisor has reported there so far."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        # Of ready, loaded, exit, left, cpu_ms, peak_memory_bytes those that have come.
        self.report: dict[str, int] = {}
        self.output: int | None = None  # descriptor of /output, owned by this object

    def read(self) -> bool:
        """Take what has come. False: the supervisor is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 4096, 1)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for line in data.splitlines():  # each line is sent whole, and far shorter than the buffer
            self.report.update(json.loads(line))
        if descriptors:
            self.output = descriptors[0]
        return bool(data)

    def go(self) -> None:
        """The interpreter has preloaded and may run the submission."""
        with suppress(ConnectionError):  # then the supervisor is gone, which `read` will say
            self.connection.send(b"g")

    def close(self) -> None:
        if self.output is not None:
            os.close(self.output)


class Watch:
    """One run. Without a cgroup (level none) the supervisor's report stands in for it."""

    def __init__(self, invocation: Invocation, hooks: Hooks, group: Cgroup | None, channel: Channel) -> None:
        self._mounts, self._limits, self._level = invocation.mounts, invocation.limits, invocation.level
        self._preferred_cores = [] if invocation.devices is None else invocation.devices.cores
        self._preload = invocation.preload
        self._hooks, self._group, self._channel = hooks, group, channel
        self._log = Log(self._limits.log_bytes)

    def run(self, line: list[str], theirs: socket.socket, calls: int) -> Usage:
        """Spawn the line, which inherits the supervisor's end of the socket and the filter; see `sandbox.run`."""
        if not self._preload:
            self._start_clock()
        with on_cores(self._limits.cores, self._preferred_cores):
            process = subprocess.Popen(
                line, env={}, cwd="/", umask=0o022, start_new_session=True, pass_fds=[theirs.fileno(), calls],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            )  # fmt: skip
        theirs.close()
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        try:
            with process.stdout as pipe:
                if self._preload:
                    self._until_loaded(pipe.fileno())
                    self._start_clock()
                    if not self._cancelled():
                        self._channel.go()
                return self._until_over(process, pipe.fileno())
        finally:
            self._channel.close()
            if process.poll() is None:  # an exception on the way
                if self._group is not None:
                    self._group.kill_all()
                process.kill()
                process.wait()

    def _start_clock(self) -> None:
        # Used so far: nothing, or what the imports took; the interpreter waits.
        self._cpu_ms_before = self._channel.report.get("loaded", 0) if self._group is None else self._group.cpu_ms()
        if self._hooks.on_start is not None:
            self._hooks.on_start()
        self._started = time.monotonic()
        self._cores = CoreTime(self._limits.cores, self._started)

    def _cpu_ms(self) -> int:
        """CPU time since the clock started; without a cgroup, known at the end only."""
        total = self._channel.report.get("cpu_ms", 0) if self._group is None else self._group.cpu_ms()
        return max(0, total - self._cpu_ms_before)

    def _until_loaded(self, pipe: int) -> None:
        """Until all is imported, or the run is cancelled. Raises SandboxError: no line of the submission has run."""
        report, deadline = self._channel.report, time.monotonic() + preload.SECONDS
        alive = True
        with self._listening(pipe) as selector:
            while "loaded" not in report and not self._cancelled():
                if time.monotonic() > deadline:
                    names = ", ".join(self._preload)
                    raise SandboxError(f"the track's modules were not imported within {preload.SECONDS} s: {names}")
                if not alive or "exit" in report:
                    what = "could not import the track's modules" if "ready" in report else "did not start"
                    why = memory_failure(self._group, self._limits) or self._last_words(pipe)
                    raise SandboxError(f"the sandbox {what}: {why or report}")
                alive = self._listen(selector, pipe)

    def _until_over(self, process: subprocess.Popen[bytes], pipe: int) -> Usage:
        report, group = self._channel.report, self._group
        failure = self._watch_budgets(pipe)
        self._channel.connection.shutdown(socket.SHUT_WR)  # tells a supervisor that is still there to end it
        self._kill(process)
        cpu_ms = self._cpu_ms()
        failure = failure or self._cores.failure(lambda: cpu_ms)
        held = None if self._hooks.wait_until_free is None else self._hooks.wait_until_free()
        wall_ms = round((time.monotonic() - self._started) * 1000)
        last_words = self._last_words(pipe)
        if "ready" not in report and failure is None:
            raise SandboxError(f"the sandbox did not start: {last_words}")
        return Usage(
            wall_ms=wall_ms,
            cpu_ms=cpu_ms,
            peak_memory_bytes=report.get("peak_memory_bytes", 0) if group is None else group.peak_memory_bytes(),
            exit_code=report.get("exit"),
            failure=failure or self._final_failure(held),
            log=self._log.text(),
        )

    def _watch_budgets(self, pipe: int) -> str | None:
        """Until the supervisor says that it is over, or is gone, or a budget is broken: then why."""
        looked = ticked = self._started
        alive, failure = True, None
        with self._listening(pipe) as selector:
            while alive and failure is None and "left" not in self._channel.report:
                alive = self._listen(selector, pipe)
                now = time.monotonic()
                failure = self._failure_so_far(now)
                if failure is None and now - looked >= TICK_SECONDS:
                    looked = now
                    failure = self._usage_failure(now)
                if self._hooks.on_tick is not None and now - ticked >= 0.1:
                    ticked = now
                    self._hooks.on_tick(round((now - self._started) * 1000))
        return failure

    @contextmanager
    def _listening(self, pipe: int) -> Iterator[selectors.BaseSelector]:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(self._channel.connection, selectors.EVENT_READ)
            yield selector

    def _listen(self, selector: selectors.BaseSelector, pipe: int) -> bool:
        """For a tick, take what comes from the log and the supervisor. False: the supervisor is gone."""
        alive = True
        for key, _ in selector.select(TICK_SECONDS):
            if key.fd != pipe:
                alive = self._channel.read()
            elif not self._log.read(pipe):
                selector.unregister(pipe)
        return alive

    def _last_words(self, pipe: int) -> str:
        """The end of the log, all of which has been read then."""
        while self._log.read(pipe) and not self._log.over:
            pass
        return self._log.text().decode(errors="replace")[-500:].strip()

    def _cancelled(self) -> bool:
        return self._hooks.cancel is not None and self._hooks.cancel.is_set()

    def _failure_so_far(self, now: float) -> str | None:
        """What costs nothing to ask."""
        if self._cancelled():
            return "cancelled"
        if now - self._started > self._limits.seconds:
            return f"over the budget of {self._limits.seconds} s"
        return self._log_failure()

    def _usage_failure(self, now: float) -> str | None:
        """What the kernel has to be asked for."""
        failure = memory_failure(self._group, self._limits)
        failure = failure or output_failure(self._channel.output, self._limits, self._level)
        if self._group is not None and now - self._cores.since >= 1:
            failure = failure or self._cores.failure(self._cpu_ms)
        return failure

    def _final_failure(self, held: str | None) -> str | None:
        """When nothing is alive; if all went well, the weights are copied out. `held`: by what the GPUs still are."""
        failure = (
            memory_failure(self._group, self._limits)
            or self._log_failure()
            or output_failure(self._channel.output, self._limits, self._level)
            or exit_failure(self._channel.report, self._group, self._limits)
            or held
        )
        if failure is None and self._level == "full" and self._channel.output is not None:
            return copy_weights(self._channel.output, self._mounts.output, self._limits.output_bytes)
        return failure

    def _log_failure(self) -> str | None:
        return f"log over {self._limits.log_bytes} bytes" if self._log.over else None

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill everything and return when nothing is alive. The clock still runs."""
        if self._group is None:
            # The supervisor kills its descendants and says what they used; then it goes.
            deadline = time.monotonic() + 5
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            while self._channel.read() and time.monotonic() < deadline:
                time.sleep(0.001)
            process.kill()
        else:
            deadline = time.monotonic() + 30  # a process deep in the kernel dies when it returns from there
            self._group.kill_all()
            while not self._group.is_empty():
                if time.monotonic() > deadline:
                    raise SandboxError(f"{len(self._group.processes())} processes of the submission cannot be killed")
                time.sleep(0.002)
                self._group.kill_all()
        process.wait()
