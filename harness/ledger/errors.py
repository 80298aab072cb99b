"""What can be wrong with a ledger: as an error for those who read or write it, and as a line of an audit."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import NanoR1Error


class LedgerError(NanoR1Error):
    """The ledger cannot be read or written, or an entry does not belong in it; the message says why."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check of one file. What is merely open or unofficial is `ok`, and the message says so."""

    check: str
    file: str
    ok: bool
    message: str


class FileError(LedgerError):
    """One thing that is wrong with one file of the ledger (a path inside it); `result` is the failed check."""

    def __init__(self, check: str, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.result = CheckResult(check, file, False, message)
