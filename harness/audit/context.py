"""A record, and what the log says of it that the record alone does not."""

from __future__ import annotations

from dataclasses import dataclass

from harness.frozen.judge import Standing
from harness.ledger.errors import CheckResult
from harness.ledger.record import Predicate, Record


@dataclass(frozen=True)
class RecordContext:
    folder: str
    record: Record
    opponent: Standing | None = None  # the record that it names as the standing one, if that ever stood before it
    incumbent: str | None = None  # the record that stood
    current: bool = True  # its track is just what this harness has: the same questions and the same grader
    graded: bool = False  # its completions are graded again

    @property
    def predicate(self) -> Predicate:
        return self.record.predicate

    def result(self, check: str, ok: bool, message: str, file: str = "record.json") -> CheckResult:
        """Of a check of one of the record's files."""
        return CheckResult(check, f"{self.folder}/{file}", ok, message)
