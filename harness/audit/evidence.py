"""The evidence of a record: its completions graded again, and the curves that the harness saw of its training."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.audit.context import RecordContext
from harness.evaluation import gated
from harness.frozen.grader import Grader
from harness.frozen.keys import derive
from harness.ledger.errors import CheckResult
from harness.tracks.track import Track

MAX_EVIDENCE_BYTES = 1 << 30  # of one decompressed file: a bomb is a failed check, not a crash
# What corrupted evidence may raise.
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, lzma.LZMAError)
COMPLETIONS, CURVES = "completions.jsonl.xz", "curves.jsonl.xz"


def check_completions(
    context: RecordContext, ledger: Path, track: Track, grader: Callable[[Track], Grader]
) -> Iterator[CheckResult]:
    """Every completion, graded again on questions regenerated from the root.

    `grader` may raise: a base model without its tokenizer is a failed check of the record, not the end of the audit.
    """
    predicate, runs = context.predicate, context.predicate.all_runs
    root, tree = bytes.fromhex(predicate.commitment.root_hex), predicate.submission.tree_sha256
    try:
        lines = map(json.loads, read_lines(ledger / context.folder / COMPLETIONS))
        stored = {line["run"]: line["completions"] for line in lines}
        for run in runs:
            samples = gated.questions(track, derive(root, "heldout", tree, run.run))
            tasks = gated.tally(track, grader(track), samples, stored.get(run.run, []))
            correct, questions = (
                sum(getattr(row, name) for row in tasks.values()) for name in ("correct", "questions")
            )
            recorded = sum(row.correct for row in run.tasks.values())
            message = f"{correct}/{questions} right; the record says {recorded}"
            yield context.result(f"run {run.run} re-graded", tasks == run.tasks, message, COMPLETIONS)
        yield context.result("completions", len(stored) == len(runs), "one set for each run", COMPLETIONS)
    except UNREADABLE as error:
        message = f"cannot be graded: {type(error).__name__}: {error}"
        yield context.result("completions", False, message, COMPLETIONS)


def check_curves(context: RecordContext, ledger: Path) -> Iterator[CheckResult]:
    """What the harness saw of the training adds up."""
    runs = context.predicate.all_runs
    try:
        counts = {run.run: 0 for run in runs}
        # Parsed at once: several times as fast.
        for point in json.loads(b"[%s]" % b",".join(read_lines(ledger / context.folder / CURVES))):
            counts[point["run"]] += point["completions"]
        same = counts == {run.run: run.reward_queries for run in runs}
        yield context.result("curves", same, "the curves add up to the reward queries", CURVES)
    except UNREADABLE as error:
        yield context.result("curves", False, f"cannot be read: {type(error).__name__}: {error}", CURVES)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of an xz file. Raises ValueError beyond MAX_EVIDENCE_BYTES, and whatever of UNREADABLE lzma raises."""
    with lzma.open(path) as file:
        left = MAX_EVIDENCE_BYTES
        while line := file.readline(left + 1):  # never more: the whole bomb may be one line
            left -= len(line)
            if left < 0:
                raise ValueError(f"{path.name} decompresses to more than {MAX_EVIDENCE_BYTES:,} bytes")
            yield line
