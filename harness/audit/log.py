"""All records of a log, in its order: each is put into context, and recomputed, on all cores if there are many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from harness.audit.context import RecordContext
from harness.audit.records import RecordAuditor
from harness.audit.workers import Batch, Workers
from harness.evaluation import judging
from harness.frozen.judge import Standing
from harness.ledger.errors import CheckResult
from harness.ledger.record import Record, Submission
from harness.ledger.state import State

BATCH, WAITING = 16, 32  # jobs that a process is given at once, and such batches that may wait for a process


@dataclass(frozen=True)
class OutdatedRecord:
    """What is kept of a record whose track is not just what this harness has: its status is known at the end only."""

    folder: str
    track: str
    submission: Submission
    difference: str


class LogAudit:
    """Give `check_record` to `harness.ledger.check.check`, its results to `in_order`, and call `finish` after it.

    All come in the order in which one process would find them.
    graded: the folders of the records whose completions are graded again.
    recorded: id and digest of each track that a record so far is of.
    """

    def __init__(self, folder: Path, repository: Path, graded: Set[str], processes: int) -> None:
        self._graded, self._auditor = graded, RecordAuditor(folder, repository)
        self.recorded: set[tuple[str, str]] = set()
        self._once_standing: dict[tuple[str, str], Standing] = {}  # by track id and folder
        self._outdated: list[OutdatedRecord] = []
        self._state: State | None = None
        self._queue: deque[CheckResult | tuple[Batch, int]] = deque()  # results to come: a batch, and which of its jobs
        self._batch = Batch()
        self._processes = processes
        self._workers = Workers(processes, folder, repository) if processes > 1 else None

    def __enter__(self) -> LogAudit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers is not None:
            self._workers.stop()

    def check_record(self, folder: str, record: Record, state: State) -> Iterator[CheckResult]:
        """The next sound record. Yields nothing where other processes check it: `in_order` does."""
        self._state = state
        predicate, summary = record.predicate, state.records[folder]
        self.recorded.add((predicate.track, predicate.track_digest))
        difference = self._auditor.track_difference(predicate)
        context = RecordContext(
            folder=folder, record=record, incumbent=summary.incumbent, current=difference is None,
            opponent=self._once_standing.get((predicate.track, predicate.verdict.standing or "")),
            graded=folder in self._graded,
        )  # fmt: skip
        if difference is not None:
            self._outdated.append(OutdatedRecord(folder, predicate.track, predicate.submission, difference))
        if summary.stood:
            self._once_standing[predicate.track, folder] = judging.standing_from(record, folder)
        if self._workers is not None:
            self._workers.exchange()
        for job in self._auditor.jobs(context, self._processes):
            if self._workers is None:
                yield from self._auditor.do(job)
            else:
                self._queue.append((self._batch, len(self._batch.jobs)))
                self._batch.jobs.append(job)
                if len(self._batch.jobs) == BATCH or job.part is not None:
                    self._submit_batch()

    def in_order(self, results: Iterable[CheckResult]) -> Iterator[CheckResult]:
        """These results, each after all that was found before it."""
        for result in results:
            self._queue.append(result)
            yield from self._take(wait=False)

    def finish(self) -> Iterator[CheckResult]:
        """After the last entry: the rest of the results, and whether records of another digest may be so."""
        self._submit_batch()
        yield from self._take(wait=True)
        for record in self._outdated:
            assert self._state is not None
            change, message = self._state.records[record.folder].change, record.difference
            replaced = change is not None and change.status in ("superseded", "withdrawn")  # no result any more
            if change is not None and replaced:
                entry = f"log/{change.id}.json says {change.status} under {change.rule}"
                message += f". Grading was not repeated, since the track moved on: {entry}"
            yield CheckResult("track digest", f"{record.folder}/record.json", replaced, message)
            yield from self._auditor.check_submission(record.folder, record.track, record.submission, replaced)

    def _take(self, *, wait: bool) -> Iterator[CheckResult]:
        while self._queue:
            first = self._queue[0]
            if isinstance(first, CheckResult):
                yield first
            else:
                batch, job = first
                while batch.results is None:
                    if not wait or self._workers is None:
                        return
                    self._workers.exchange(wait_seconds=None)
                yield from batch.results[job]
            self._queue.popleft()

    def _submit_batch(self) -> None:
        if self._batch.jobs and self._workers is not None:
            self._workers.submit(self._batch, WAITING)
            self._batch = Batch()
