"""Appending what another copy of a log has and this one lacks, as after a merge of two git branches."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.ledger.entries import RECORD_PATH, SignedEntry, StatusChange, first_free
from harness.ledger.errors import FileError, LedgerError
from harness.ledger.git import Git
from harness.ledger.index import TRUSTED, Entry, Reader, parse_index, read_entry, verify_checkpoint
from harness.ledger.record import Record
from harness.ledger.signature import Key
from harness.ledger.staging import write_lock
from harness.ledger.state import authority
from harness.ledger.store import Ledger, refuse_revoked


def merge(ledger: Ledger, theirs: Reader, key: Key) -> list[str]:
    """Append the entries of the other copy that this one lacks, in its order. Returns their paths here.

    `theirs` reads the other copy's files. Their entries keep their bytes and signatures; `key` signs the new
    checkpoint. A record whose folder's name is taken here moves to the next free one (_2, _3, …). Whom to
    trust is not merged: that is for a person to decide. Raises LedgerError, and then nothing is changed.
    """
    with write_lock(ledger.folder):
        ours, other = ledger.entries(), parse_index(theirs("index"))
        verify_checkpoint(theirs, other)
        places = {entry.sha256: place for place, entry in enumerate(ours)}
        _check_same_origin(ours, other, places)
        missing = [entry for entry in other if entry.sha256 not in places]
        if not missing:
            return []
        state = ledger.state()
        refuse_revoked(state.trust, key)
        if ours:
            verify_checkpoint(ledger.read, ours)
        merged, files = list(ours), dict[str, bytes]()
        # Their name of a record -> its name here, where an earlier merge or this one had to change it.
        renamed = {entry.folder: ours[places[entry.sha256]].folder for entry in other if entry.sha256 in places}
        for entry in missing:
            merged.append(Entry(entry.sha256, _free_path(entry.path, {line.path for line in merged})))
            renamed[entry.folder] = merged[-1].folder
            signed = read_entry(theirs, entry, merged[-1].path)
            _check_reference(entry, signed, renamed)
            try:
                authority(state.trust, signed)
                state.apply(signed)
            except LedgerError as error:
                raise LedgerError(f"{entry.path} cannot follow this log: {error}") from None
            files |= _files_to_add(ledger, theirs, entry, signed)
        ledger.publish(merged, files, key)
    return [entry.path for entry in merged[len(ours) :]]


def trusted_only_there(git: Git, commit: str, ledger: Path) -> list[tuple[str, str]]:
    """(file, line) of allowed_signers and revoked_keys as of `commit` that the ledger lacks, for a person to add."""
    missing = []
    for name in TRUSTED:
        ours = (ledger / name).read_bytes().splitlines() if (ledger / name).is_file() else []
        lines = (git.read(commit, name) or b"").splitlines()
        missing += [(name, line.decode(errors="replace")) for line in lines if line not in ours]
    return missing


def _check_same_origin(ours: Sequence[Entry], theirs: Sequence[Entry], places: Mapping[str, int]) -> None:
    """`places`: of each of our entries in our log, by hash. Raises LedgerError."""
    shared = [places[entry.sha256] for entry in theirs if entry.sha256 in places]
    if shared != sorted(shared):
        raise LedgerError("the two logs have the same entries in another order: one of them was rewritten")
    if ours and theirs and (not shared or theirs[0].sha256 != ours[0].sha256):
        raise LedgerError("the two logs do not begin with the same entry: they are not copies of one")


def _free_path(path: str, taken: set[str]) -> str:
    """`path`, or for a record the first of its folder's names that no entry has taken. Raises LedgerError."""
    if path not in taken:
        return path
    if not RECORD_PATH.fullmatch(path):
        raise LedgerError(f"both logs have an entry {path}, with different bytes")
    base = re.sub(r"_[2-9]$", "", path.partition("/")[0])
    return f"{first_free(base, lambda folder: f'{folder}/record.json' in taken)}/record.json"


def _check_reference(entry: Entry, signed: SignedEntry, renamed: Mapping[str, str]) -> None:
    """Their entry must not speak of a record whose folder has another name here. Raises LedgerError."""
    content = signed.content
    record = content.record if isinstance(content, StatusChange) else None
    if isinstance(content, Record):
        record = content.predicate.verdict.standing
    if record is not None and renamed.get(record, record) != record:
        raise LedgerError(
            f"{entry.path} speaks of {record}, which is another record here (theirs would be {renamed[record]}): "
            "verify that submission again after the merge"
        )


def _files_to_add(ledger: Ledger, theirs: Reader, entry: Entry, signed: SignedEntry) -> dict[str, bytes]:
    """The files of their entry that must still be put in place here. Raises LedgerError."""
    files = {signed.path: theirs(entry.path), f"{signed.path}.sig": theirs(f"{entry.path}.sig")}
    present = list(files)
    if isinstance(signed.content, Record):
        present = [signed.folder]
        for name, digest in signed.content.predicate.files.items():
            files[f"{signed.folder}/{name}"] = data = theirs(f"{entry.folder}/{name}")
            if hashlib.sha256(data).hexdigest() != digest:
                raise FileError("evidence", f"{entry.folder}/{name}", "its SHA-256 is not the one in record.json")
    # A git merge may have put them here already; a record's folder is then here as a whole.
    if not any(os.path.lexists(ledger.folder / name) for name in present):
        return files
    for name, data in files.items():
        if not os.path.lexists(ledger.folder / name) or ledger.read(name) != data:
            raise LedgerError(f"{ledger.folder / name} is not the other log's: move {present[0]} away, then merge")
    return {}
