"""A ledger folder: what was announced and what came of it, in order, append-only.

    records/index                        one line an entry: "<sha256 of its bytes> <its path>"
    records/checkpoint                   origin, number of lines, RFC 6962 root over the lines
    records/checkpoint.sig               its SSHSIG
    records/allowed_signers              whose signatures are official
    records/revoked_keys                 whose no longer count, whenever they were made (may be absent)
    records/log/<id>.json + .sig         announcements (before the first run), abandonments, changes of status
    records/<date>_<track>_<name>/       a record: record.json + .sig + the evidence that it lists by hash

Every submission of every announcement ends in one record or one abandonment, so a verifier cannot quietly
try again until a result pleases. `check` finds any changed byte in these files but for allowed_signers and
revoked_keys: nothing in a folder can vouch for the files that say whom to trust. There git history must
(`history`), and review. A line in allowed_signers is never removed, its window is narrowed: a listed name
under an unlisted key is an impostor. docs/ledger.md tells the life of a session, a key and a record.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.ledger.check import check_evidence
from harness.ledger.entries import (
    Abandonment,
    Announcement,
    LogEntry,
    SignedEntry,
    StatusChange,
    first_free,
    is_entry_path,
    parse_entry,
    record_folder,
)
from harness.ledger.errors import FileError, LedgerError
from harness.ledger.index import (
    Entry,
    read_entry,
    read_file,
    read_index,
    read_trust,
    sign_head,
    verify_checkpoint,
)
from harness.ledger.record import Record, dump
from harness.ledger.signature import LOG_NAMESPACE, RECORD_NAMESPACE, Key, sign
from harness.ledger.staging import interrupted, put_in_place, write_lock
from harness.ledger.state import RecordState, State, announcement_id, authority
from harness.ledger.trust import Trust


@dataclass(frozen=True)
class LoggedRecord:
    """A record in the log, and what it counts for today."""

    folder: str
    record: Record
    state: RecordState

    @property
    def official(self) -> bool:
        """Its signer was listed in allowed_signers when it was made, with a key that was not revoked since."""
        return self.state.authority == "official"


class Ledger:
    """A ledger folder. Made by the first append. Readers need no lock; writers take turns on `.lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # -------------------------------------------------------------- for readers; all raise LedgerError

    def read(self, name: str) -> bytes:
        """The bytes of one of its files, by its path inside it."""
        return read_file(self.folder, name)

    def entries(self) -> list[Entry]:
        """The index, oldest first."""
        return read_index(self.folder)

    def records(self) -> list[LoggedRecord]:
        """Every record, oldest first."""
        return self.contents()[1]

    def contents(self) -> tuple[State, list[LoggedRecord]]:
        """What all entries mean together, and every record in full, oldest first."""
        state = State(read_trust(self.folder))
        records = [(entry.folder, entry.content) for entry in self._replay(state) if isinstance(entry.content, Record)]
        return state, [LoggedRecord(folder, record, state.records[folder]) for folder, record in records]

    def state(self) -> State:
        """What all entries mean together: sessions, the records in brief, whom to trust."""
        state = State(read_trust(self.folder))
        for _ in self._replay(state):
            pass
        return state

    def open_announcements(self) -> list[Announcement]:
        """Announcements with a submission that has neither record nor abandonment, oldest first."""
        return [session.announcement for session in self.state().sessions.values() if session.open]

    def open_submissions(self, entry: str) -> list[str]:
        """The submissions of an announcement that have neither record nor abandonment."""
        return self.state().session(entry).open

    def standing(self, track_id: str) -> str | None:
        """The folder of the track's standing record, which a new one must beat, if there is one."""
        return self.state().standing(track_id)

    def interrupted(self) -> bool:
        """Did an append stop after its commit point, so that the next one, or `repair`, puts it in place?"""
        return interrupted(self.folder)

    def _replay(self, state: State) -> Iterator[SignedEntry]:
        """Every entry, read, verified and applied to the state. Raises FileError at the first that is not sound."""
        for line in self.entries():
            entry = read_entry(self.read, line)
            try:
                if isinstance(entry.content, Record):
                    authority(state.trust, entry)
                state.apply(entry)
            except LedgerError as error:
                raise FileError("entry", entry.path, str(error)) from None
            yield entry

    # -------------------------------------------------------------- for writers; all raise LedgerError

    def repair(self) -> bool:
        """Finish or drop an append that was interrupted; True if there was one. Each append begins with it."""
        with write_lock(self.folder) as was_interrupted:
            return was_interrupted

    def announce(self, announcement: Announcement, key: Key) -> Path:
        """Announce a session. Returns the entry's path."""
        return self._add_log_entry(announcement, key)

    def abandon(self, abandonment: Abandonment, key: Key) -> Path:
        """Close one submission of an announcement, or all that are open, without a record. Returns the entry's path."""
        return self._add_log_entry(abandonment, key)

    def set_status(self, change: StatusChange, key: Key) -> Path:
        """Change what a record counts for from now on. Returns the entry's path."""
        return self._add_log_entry(change, key)

    def add_record(self, record: Record, files: Mapping[str, bytes], key: Key) -> Path:
        """Sign a record and add it with its evidence: just the files in `predicate.files`. Returns its folder."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        if digests != record.predicate.files:
            raise LedgerError("the files given are not those that predicate.files lists")
        with write_lock(self.folder):
            folder = first_free(record_folder(record), lambda name: os.path.lexists(self.folder / name))
            entry = _signed(f"{folder}/record.json", record, key)
            self._extend(
                f"{folder}/record.json", entry, {f"{folder}/{name}": data for name, data in files.items()}, key
            )
        return self.folder / folder

    def append(self, path: str, key: Key) -> None:
        """List an entry whose files are in place already, such as one that came with a pull request.

        The entry keeps its author's signature; `key` signs the new checkpoint.
        """
        if not is_entry_path(path):
            raise LedgerError(f"{path!r} is not the path of an entry: log/<id>.json or <folder>/record.json")
        with write_lock(self.folder):
            self._extend(path, {}, {}, key)

    def publish(self, entries: Sequence[Entry], files: Mapping[str, bytes], key: Key) -> None:
        """Under the lock: put these files in place, and the log of these entries, signed."""
        put_in_place(self.folder, {**files, **sign_head(entries, key)})

    def _add_log_entry(self, entry: LogEntry, key: Key) -> Path:
        path = f"log/{entry.id}.json"
        with write_lock(self.folder):
            if os.path.lexists(self.folder / path):
                raise LedgerError(f"there is an entry {path} already")
            self._extend(path, _signed(path, entry, key), {}, key)
        return self.folder / path

    def _extend(self, path: str, entry_files: Mapping[str, bytes], evidence: Mapping[str, bytes], key: Key) -> None:
        """Under the lock: check that this entry may come next, and append it. No `entry_files`: they are in place."""
        entries = self.entries()
        if path in {entry.path for entry in entries}:
            raise LedgerError(f"{path} is in the index already")
        data = entry_files.get(path) or self.read(path)
        entry = parse_entry(path, data, entry_files.get(f"{path}.sig") or self.read(f"{path}.sig"))
        state = self._state_before(entries, entry, key)
        authority(state.trust, entry)
        state.apply(entry)
        if not entry_files and isinstance(entry.content, Record):
            for result in check_evidence(self.folder, entry, entry.content):
                if not result.ok:
                    raise LedgerError(f"{result.file}: {result.message}")
        self.publish([*entries, Entry(hashlib.sha256(data).hexdigest(), path)], {**entry_files, **evidence}, key)

    def _state_before(self, entries: Sequence[Entry], entry: SignedEntry, key: Key) -> State:
        """What must be known of the log to say whether this entry may come next.

        The signed checkpoint proves the index: which entries there are, their order and the hash of each. Whoever
        signed it had applied every entry up to there, by this very rule. So if that was a trusted key (this one, or
        one that is listed and not revoked), only the entries that this one refers to are read, and checked against
        their hashes: an append costs the same after ten entries and after ten thousand, but for reading the index and
        hashing its lines. Under a stranger's checkpoint every entry is read and applied.

        Nothing is lost by it. A file that was changed since is not read here, but neither is it vouched for: what
        gets signed is its old hash, and the audit still finds it.
        """
        trust = read_trust(self.folder)
        refuse_revoked(trust, key)
        if entries or os.path.lexists(self.folder / "checkpoint"):
            public = verify_checkpoint(self.read, entries)  # never sign over a log that somebody changed
            if public in trust.revoked or (public != key.public and public not in trust.keys):
                return self.state()
        state, content = State(trust), entry.content
        if isinstance(content, StatusChange):
            line = next((line for line in entries if line.path == f"{content.record}/record.json"), None)
            if line is not None and isinstance((record := read_entry(self.read, line)).content, Record):
                state.add_record(record, record.content)
        elif not isinstance(content, Announcement):
            session = announcement_id(content)
            start = next((i for i, line in enumerate(entries) if line.path == f"log/{session}.json"), len(entries))
            for line in entries[start:]:
                earlier = read_entry(self.read, line)
                if announcement_id(earlier.content) == session:
                    state.apply(earlier)
        return state


def refuse_revoked(trust: Trust, key: Key) -> None:
    """Raises LedgerError."""
    if key.public in trust.revoked:
        raise LedgerError(f"the key of {key.identity} is revoked: make another with `nano-r1 keygen`")


def _signed(path: str, content: LogEntry | Record, key: Key) -> dict[str, bytes]:
    """The entry's file and its signature's, by path. Raises LedgerError."""
    data = dump(content)
    signature = sign(key, RECORD_NAMESPACE if isinstance(content, Record) else LOG_NAMESPACE, data)
    signer = parse_entry(path, data, signature).signer  # refuse to write what could not be read
    if signer != key.identity:
        raise LedgerError(f"the entry says that {signer} signs it, but the key is {key.identity}'s")
    return {path: data, f"{path}.sig": signature}
