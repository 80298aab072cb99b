"""Every check of every file of a ledger that needs no more than the ledger itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness.ledger.entries import SignedEntry, StatusChange
from harness.ledger.errors import CheckResult, FileError, LedgerError
from harness.ledger.index import (
    HEAD,
    TRUSTED,
    Entry,
    read_entry,
    read_file,
    read_index,
    read_trust,
    verify_checkpoint,
)
from harness.ledger.record import Record
from harness.ledger.staging import STAGED, STAGING
from harness.ledger.state import State, authority
from harness.ledger.trust import Trust

RecordCheck = Callable[[str, Record, State], Iterator[CheckResult]]


def check(folder: Path, check_record: RecordCheck | None = None) -> Iterator[CheckResult]:
    """All files of a ledger, in one pass that keeps no record.

    `check_record(folder, record, state)` may check more of each sound record while it is at hand. The state is that of
    the log up to and with this record, and goes on to grow. Meant for a folder at rest: while somebody appends,
    the unfinished append is reported as what it would be after a crash.
    """
    try:
        entries = read_index(folder)
        state = State(read_trust(folder))
    except FileError as error:
        yield error.result
        return
    yield CheckResult("index", "index", True, f"{len(entries)} entries")
    if entries or os.path.lexists(folder / "checkpoint"):
        yield _check_checkpoint(folder, entries, state.trust)
    for entry in entries:
        yield from _check_entry(folder, entry, state, check_record)
    yield from _check_unlisted(folder, entries)
    for session in state.sessions.values():
        message = f"open: {', '.join(session.open)}" if session.open else "every submission is accounted for"
        yield CheckResult("closed", f"log/{session.announcement.id}.json", True, message)


def check_evidence(folder: Path, entry: SignedEntry, record: Record) -> Iterator[CheckResult]:
    """Is every file of the record's folder listed in the record, and unchanged?"""
    for name, digest in sorted(record.predicate.files.items()):
        try:
            same = hashlib.sha256(read_file(folder, f"{entry.folder}/{name}")).hexdigest() == digest
            message = "as recorded" if same else "its SHA-256 is not the one in record.json"
            yield CheckResult("evidence", f"{entry.folder}/{name}", same, message)
        except FileError as error:
            yield error.result
    listed = {*record.predicate.files, "record.json", "record.json.sig"}
    for name in sorted(set(os.listdir(folder / entry.folder)) - listed):
        yield CheckResult("evidence", f"{entry.folder}/{name}", False, "not listed in record.json")


def _check_checkpoint(folder: Path, entries: Sequence[Entry], trust: Trust) -> CheckResult:
    try:
        public = verify_checkpoint(partial(read_file, folder), entries)
    except FileError as error:
        return error.result
    if public in trust.revoked:
        message = "signed by a revoked key: sign the entry that says so (`nano-r1 ledger status`) with another"
        return CheckResult("checkpoint", "checkpoint", False, message)
    who = " or ".join(sorted(trust.keys.get(public, ()))) or "somebody who is not in allowed_signers"
    return CheckResult("checkpoint", "checkpoint", True, f"{len(entries)} entries, signed by {who}")


def _check_entry(folder: Path, line: Entry, state: State, check_record: RecordCheck | None) -> Iterator[CheckResult]:
    try:
        entry = read_entry(partial(read_file, folder), line)
    except FileError as error:
        yield error.result
        return
    yield CheckResult("hash", line.path, True, "as in the index")
    yield CheckResult("signature", f"{line.path}.sig", True, f"by {entry.public}")
    try:
        yield CheckResult("signer", line.path, True, authority(state.trust, entry)[1])
    except LedgerError as error:
        yield CheckResult("signer", line.path, False, str(error))
    sound = True
    kind = "status" if isinstance(entry.content, StatusChange) else "commitment"
    try:
        yield CheckResult(kind, line.path, True, state.apply(entry))
    except LedgerError as error:
        sound = False
        yield CheckResult(kind, line.path, False, str(error))
    if isinstance(entry.content, Record):
        yield from check_evidence(folder, entry, entry.content)
        if sound and check_record is not None:
            yield from check_record(entry.folder, entry.content, state)


def _check_unlisted(folder: Path, entries: Sequence[Entry]) -> Iterator[CheckResult]:
    """Files that belong to nothing. Records' folders are searched by `check_evidence`."""
    records = {entry.folder for entry in entries} - {"log"}
    top = {*HEAD, *TRUSTED, "log", ".lock", *records}
    logged = {name for entry in entries for name in (entry.path, f"{entry.path}.sig")}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        if name in (STAGED, STAGING):
            message = "an append is under way or was interrupted; the next one clears it"
            yield CheckResult("unlisted", name, False, message)
        elif name not in top:
            yield CheckResult("unlisted", name, False, "in no line of the index")
    if (folder / "log").is_symlink():
        yield CheckResult("unlisted", "log", False, "a symbolic link")
    elif (folder / "log").is_dir():
        for name in sorted(f"log/{name}" for name in os.listdir(folder / "log")):
            if name not in logged:
                yield CheckResult("unlisted", name, False, "in no line of the index")
