"""The evidence of a record: its completions graded again, and the curves that the harness saw of its training."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.audit.context import RecordContext
from harness.evaluation import gated
from harness.frozen.grader import Grader
from harness.frozen.keys import derive
from harness.ledger.errors import CheckResult
from harness.ledger.record import Run
from harness.tracks.track import Track

MAX_EVIDENCE_BYTES = 1 << 30  # of one decompressed file: a bomb is a failed check, not a crash
# What corrupted evidence may raise.
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, lzma.LZMAError)
COMPLETIONS, CURVES = "completions.jsonl.xz", "curves.jsonl.xz"


@dataclass(frozen=True)
class Part:
    """Part `number` of `parts`, of nearly equal size, of a record's runs in their order: what one process grades."""

    number: int = 0
    parts: int = 1

    @property
    def is_last(self) -> bool:
        return self.number == self.parts - 1

    def of(self, runs: Sequence[Run]) -> Sequence[Run]:
        return runs[len(runs) * self.number // self.parts : len(runs) * (self.number + 1) // self.parts]


ALL_RUNS = Part()


def check_completions(
    context: RecordContext, ledger: Path, track: Track, grader: Callable[[Track], Grader], part: Part = ALL_RUNS
) -> Iterator[CheckResult]:
    """Every completion of a part of the runs, graded again on questions regenerated from the root.

    The last part says whether the file can be read at all, and has one set for each run. `grader` may raise: a base
    model without its tokenizer is a failed check of the record, not the end of the audit.
    """
    predicate, runs = context.predicate, part.of(context.predicate.all_runs)
    root, tree = bytes.fromhex(predicate.commitment.root_hex), predicate.submission.tree_sha256
    wanted, stored, names = {run.run for run in runs}, dict[int, list[list[int]]](), set[int]()
    try:
        for line in map(json.loads, read_lines(ledger / context.folder / COMPLETIONS)):
            names.add(line["run"])
            if line["run"] in wanted:
                stored[line["run"]] = line["completions"]
    except UNREADABLE as error:
        if part.is_last:
            message = f"cannot be read: {type(error).__name__}: {error}"
            yield context.result("completions", False, message, COMPLETIONS)
        return
    for run in runs:
        try:
            of_track = grader(track)
            samples = gated.questions(track, derive(root, "heldout", tree, run.run))
            tasks = gated.tally(track, of_track, samples, stored.get(run.run, []))
        except UNREADABLE as error:
            same, message = False, f"cannot be graded: {type(error).__name__}: {error}"
        else:
            correct, questions = (
                sum(getattr(row, name) for row in tasks.values()) for name in ("correct", "questions")
            )
            recorded = sum(row.correct for row in run.tasks.values())
            same, message = tasks == run.tasks, f"{correct}/{questions} right; the record says {recorded}"
        yield context.result(f"run {run.run} re-graded", same, message, COMPLETIONS)
    if part.is_last:
        same = len(names) == len(predicate.all_runs)
        yield context.result("completions", same, "one set for each run", COMPLETIONS)


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
