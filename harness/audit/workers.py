"""Processes that check records beside the one that reads the log.

Not a ProcessPoolExecutor: in Python before 3.11.5 that one hangs when a process dies while work is on its way to it.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.audit.records import Job, RecordAuditor
from harness.errors import NanoR1Error
from harness.ledger.errors import CheckResult

Results = list[list[CheckResult]]  # of each job of a batch


class AuditError(NanoR1Error):
    """The audit itself failed, and says nothing of what it had not reached."""


class Batch:
    """Jobs that one process does."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.results: Results | None = None  # None: not done yet

    @property
    def folders(self) -> str:
        first, last = self.jobs[0].context.folder, self.jobs[-1].context.folder
        return first if first == last else f"{first} to {last}"


@dataclass
class Worker:
    process: BaseProcess
    connection: Connection
    batch: Batch | None = None  # what it is at


class Workers:
    """So many processes. All methods but `stop` may raise AuditError: a process failed or ended."""

    def __init__(self, count: int, folder: Path, repository: Path) -> None:
        self._waiting = deque[Batch]()
        self._workers: list[Worker] = []
        # Not forked: what this process has loaded may have threads. They inherit the mask: Ctrl-C is for this process.
        context = get_context("spawn")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there, folder, repository), daemon=True)
                process.start()
                there.close()  # the process has the only one, so that its end is seen here
                self._workers.append(Worker(process, here))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def submit(self, batch: Batch, most_waiting: int) -> None:
        """Have a batch done. Waits until at most so many are waiting for a process."""
        self._waiting.append(batch)
        self.exchange()
        while len(self._waiting) > most_waiting:
            self.exchange(wait_seconds=None)

    def exchange(self, wait_seconds: float | None = 0) -> None:
        """Take the results that are there, and give work to processes that have none. None: wait for a result."""
        busy = [worker for worker in self._workers if worker.batch is not None]
        ready = wait([worker.connection for worker in busy], wait_seconds) if busy else []
        for worker in busy:
            if worker.connection in ready:
                _receive(worker)
        for worker in self._workers:
            if worker.batch is None and self._waiting:
                worker.batch = self._waiting.popleft()
                try:
                    worker.connection.send(worker.batch.jobs)
                except OSError:
                    raise _ended(worker) from None

    def stop(self) -> None:
        """End the processes, whatever they are at."""
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()


def _receive(worker: Worker) -> None:
    assert worker.batch is not None
    try:
        answer: Results | str = worker.connection.recv()
    except (EOFError, OSError):
        raise _ended(worker) from None
    if isinstance(answer, str):
        raise AuditError(f"the audit failed at {worker.batch.folders}: {answer}")
    worker.batch.results, worker.batch = answer, None


def _ended(worker: Worker) -> AuditError:
    assert worker.batch is not None
    worker.process.join(1)
    message = f"a process of the audit ended (exit code {worker.process.exitcode}) at {worker.batch.folders}"
    return AuditError(message, advice="is there memory for one on each core?")


def _work(connection: Connection, folder: Path, repository: Path) -> None:
    """What each process runs, until it is ended or the one that started it is gone."""
    auditor = RecordAuditor(folder, repository)
    while True:
        try:
            jobs: list[Job] = connection.recv()
        except EOFError:
            return
        answer: Results | str
        try:
            answer = [list(auditor.do(job)) for job in jobs]
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        connection.send(answer)
