"""All records of a log, in its order: each is put into context, and recomputed, on all cores if there are many."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Set
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from harness.audit.context import RecordContext
from harness.audit.records import RecordAuditor
from harness.evaluation import judging
from harness.frozen.judge import Standing
from harness.ledger.errors import CheckResult
from harness.ledger.record import Record, Submission
from harness.ledger.state import State

BATCH, WINDOW = 16, 32  # records that a process is given at once, and such batches in progress


@dataclass(frozen=True)
class OutdatedRecord:
    """What is kept of a record whose track is not just what this harness has: its status is known at the end only."""

    folder: str
    track: str
    submission: Submission
    difference: str


class LogAudit:
    """Give `check_record` to `harness.ledger.check.check`, and call `finish` after it.

    graded: the folders of the records whose completions are graded again.
    recorded: id and digest of each track that a record so far is of.
    """

    def __init__(self, folder: Path, repository: Path, graded: Set[str], processes: int) -> None:
        self._graded, self._auditor = graded, RecordAuditor(folder, repository)
        self.recorded: set[tuple[str, str]] = set()
        self._once_standing: dict[tuple[str, str], Standing] = {}  # by track id and folder
        self._outdated: list[OutdatedRecord] = []
        self._state: State | None = None
        self._batch: list[RecordContext] = []
        self._batches: deque[Future[list[CheckResult]]] = deque()
        self._pool = None
        if processes > 1:
            # Not forked: what the process that audits has loaded may have threads.
            self._pool = ProcessPoolExecutor(
                processes, mp_context=get_context("spawn"), initializer=_start, initargs=(folder, repository)
            )

    def __enter__(self) -> LogAudit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def check_record(self, folder: str, record: Record, state: State) -> Iterator[CheckResult]:
        """The next sound record. Yields results as they come in, which may be those of earlier records."""
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
        if self._pool is None:
            yield from self._auditor.check(context)
            return
        self._batch.append(context)
        if len(self._batch) == BATCH or context.graded:
            self._submit_batch()
        if len(self._batches) > WINDOW:
            yield from self._batches.popleft().result()

    def finish(self) -> Iterator[CheckResult]:
        """After the last entry: the rest of the results, and whether records of another digest may be so."""
        self._submit_batch()
        while self._batches:
            yield from self._batches.popleft().result()
        for record in self._outdated:
            assert self._state is not None
            change, message = self._state.records[record.folder].change, record.difference
            replaced = change is not None and change.status in ("superseded", "withdrawn")  # no result any more
            if change is not None and replaced:
                entry = f"log/{change.id}.json says {change.status} under {change.rule}"
                message += f". Grading was not repeated, since the track moved on: {entry}"
            yield CheckResult("track digest", f"{record.folder}/record.json", replaced, message)
            yield from self._auditor.check_submission(record.folder, record.track, record.submission, replaced)

    def _submit_batch(self) -> None:
        if self._batch and self._pool is not None:
            self._batches.append(self._pool.submit(_check, self._batch))
            self._batch = []


_auditor: RecordAuditor  # of this process, where it is one that `LogAudit` started


def _start(folder: Path, repository: Path) -> None:
    global _auditor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out
    _auditor = RecordAuditor(folder, repository)


def _check(contexts: list[RecordContext]) -> list[CheckResult]:
    return [result for context in contexts for result in _auditor.check(context)]
