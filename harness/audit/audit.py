"""Audit a ledger offline: trust nothing that can be recomputed.

Each check yields results that name the file. No GPU, no network, no torch: signatures, the Merkle tree
and its history in git, submission trees, track digests, questions regenerated from the revealed root,
every stored completion graded again, statistics and verdict recomputed, the board rendered again.

It reads the log once, from its beginning, and keeps of a record only what later ones are compared with: ten
thousand records take a thousand times as long as ten, and little more memory. What follows from a record alone is
recomputed on all cores.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from harness.audit.line_ends import check_line_ends
from harness.audit.log import LogAudit
from harness.audit.pages import check_pages
from harness.audit.tracks import check_tracks
from harness.ledger.check import check
from harness.ledger.errors import CheckResult, LedgerError
from harness.ledger.history import history
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT

GRADING_COST = 500  # to grade a record's completions takes as long as to recompute the rest of so many records
START_COST = 900  # records' worth of work that are done before other processes have started


def audit(
    ledger: Ledger,
    board: Path | None,
    repository: Path = ROOT,
    *,
    sample: int | None = None,
    kept: bytes | None = None,
) -> Iterator[CheckResult]:
    """Every result, good and bad, in order.

    `repository` holds the submissions that the records name. `board` None: no leaderboard to compare. `sample`: grade
    the completions of so many records again, drawn afresh each time, and not of all; everything else is checked
    of all. `kept`: a checkpoint that somebody kept, which today's log must go on from.
    """
    failed = False
    for result in _results(ledger, board, repository, sample, kept):
        failed |= not result.ok
        yield result
    if failed:
        yield from check_line_ends(ledger.folder, repository)


def _results(
    ledger: Ledger, board: Path | None, repository: Path, sample: int | None, kept: bytes | None
) -> Iterator[CheckResult]:
    try:
        entries = ledger.entries()
    except LedgerError:
        yield from check(ledger.folder)  # which says why
        return
    folders = [entry.folder for entry in entries if entry.folder != "log"]
    size = len(folders) if sample is None else min(sample, len(folders))
    graded = set(random.SystemRandom().sample(folders, size))
    if sample is not None:
        names = ", ".join(sorted(graded)) or "none"
        yield CheckResult("sample", "index", True, f"{size} of {len(folders)} records are graded again: {names}")
    cost = len(folders) + GRADING_COST * size
    processes = len(os.sched_getaffinity(0)) if cost > START_COST else 1
    with LogAudit(ledger.folder, repository, graded, processes) as records:
        yield from records.in_order(check(ledger.folder, records.check_record))
        yield from records.finish()
    yield from history(ledger.folder, entries, kept)
    if ledger.folder.resolve() == (repository / "records").resolve():  # others' tracks have no records in one's own
        yield from check_tracks(records.recorded)
    if board is not None:
        yield from check_pages(ledger, board)
