"""What the entries of a log mean together: sessions and what closed them, records and what they count for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from harness.errors import meant
from harness.ledger.entries import (
    Abandonment,
    AnnouncedSubmission,
    Announcement,
    LogEntry,
    SignedEntry,
    Status,
    StatusChange,
)
from harness.ledger.errors import LedgerError
from harness.ledger.record import Record
from harness.ledger.signature import RECORD_NAMESPACE
from harness.ledger.trust import Trust

Authority = Literal["official", "self-reported", "revoked"]


@dataclass
class Session:
    """An announcement, the key that made it, and which of its submissions are closed, by which entry.

    `abandoned`: those of them that ended without a record, and the entry that says why.
    """

    announcement: Announcement
    public: str
    created: datetime
    closed: dict[str, str] = field(default_factory=dict)
    abandoned: dict[str, Abandonment] = field(default_factory=dict)

    @property
    def open(self) -> list[str]:
        return [submission.name for submission in self.announcement.submissions if submission.name not in self.closed]

    def close(self, name: str, path: str) -> None:
        """Raises LedgerError."""
        if name in self.closed:
            raise LedgerError(
                f"{name} of announcement {self.announcement.id} is closed already, by {self.closed[name]}"
            )
        if name not in self.open:
            raise LedgerError(f"announcement {self.announcement.id} does not announce {name}")
        self.closed[name] = path


@dataclass
class RecordState:
    """A record of the log in brief, and what has become of it.

    `listed`: its key was listed when it was signed; `authority` also asks whether that key was revoked since.
    `incumbent`: the record that stood when it was appended. `stood`: it was judged against that and took its place.
    """

    track: str
    signer: str
    public: str
    created: datetime
    authority: Authority
    listed: bool
    incumbent: str | None
    stood: bool
    change: StatusChange | None = None

    @property
    def status(self) -> Status:
        return self.change.status if self.change else "verified"

    @property
    def counts(self) -> bool:
        return self.authority == "official" and self.status == "verified"


@dataclass
class State:
    """The state after the entries so far. It holds no record, only a summary of each, so that a long log fits."""

    trust: Trust = field(default_factory=Trust)
    sessions: dict[str, Session] = field(default_factory=dict)  # by the id of the announcement
    records: dict[str, RecordState] = field(default_factory=dict)  # by folder
    once_standing: dict[str, list[str]] = field(default_factory=dict)  # by track id: folders, oldest first

    def standing(self, track_id: str, revoked: bool = False) -> str | None:
        """The record to beat: the latest that stood and still counts. `revoked`: as if no key had been revoked."""
        for folder in reversed(self.once_standing.get(track_id, [])):
            record = self.records[folder]
            if record.counts or (revoked and record.listed and record.status == "verified"):
                return folder
        return None

    def session(self, id: str) -> Session:
        """Raises LedgerError."""
        if id not in self.sessions:
            raise LedgerError(f"no sound announcement {id} stands in the index before it")
        return self.sessions[id]

    def apply(self, entry: SignedEntry) -> str:
        """Add the next entry, and describe its effect. Raises LedgerError if it cannot come next."""
        content = entry.content
        if isinstance(content, Announcement):
            return self._announce(entry, content)
        if isinstance(content, Abandonment):
            return self._abandon(entry, content)
        if isinstance(content, StatusChange):
            return self._change_status(entry, content)
        message = self._close_with_record(entry, content)
        self.add_record(entry, content)
        return message

    def add_record(self, entry: SignedEntry, record: Record) -> None:
        """Note a record, without asking whether it may come next.

        It stands if it is official, a record by its own verdict, and was judged against what stood here. A record that
        came by a merge may have been judged against another, on its branch: it is ranked, but it never stands, so
        nobody gains by choosing an opponent. What stood may have been signed by a key that was revoked since; a
        verifier may or may not have known that, so either opponent is right.
        """
        predicate = record.predicate
        try:
            by = authority(self.trust, entry)[0]
        except LedgerError:  # an impostor, which `check` reports
            by = "self-reported"
        is_listed = by == "official" or (
            by == "revoked" and self.trust.lists(entry.signer, entry.public, RECORD_NAMESPACE, entry.created)
        )
        incumbent = self.standing(predicate.track)
        opponents = (incumbent, self.standing(predicate.track, revoked=True))
        is_opponent = predicate.verdict.standing in opponents
        stood = is_listed and predicate.verdict.record and is_opponent
        self.records[entry.folder] = RecordState(
            track=predicate.track, signer=entry.signer, public=entry.public, created=entry.created, authority=by,
            listed=is_listed, incumbent=predicate.verdict.standing if is_opponent else incumbent, stood=stood,
        )  # fmt: skip
        if stood:
            self.once_standing.setdefault(predicate.track, []).append(entry.folder)

    def _announce(self, entry: SignedEntry, announcement: Announcement) -> str:
        names = [submission.name for submission in announcement.submissions]
        if len(set(names)) != len(names):
            raise LedgerError("a submission is announced twice")
        self.sessions[announcement.id] = Session(announcement, entry.public, entry.created)
        return f"announces {', '.join(names)}"

    def _abandon(self, entry: SignedEntry, abandonment: Abandonment) -> str:
        session = self.session(abandonment.commitment)
        names = session.open if abandonment.submission is None else [abandonment.submission]
        if not names:
            raise LedgerError(f"announcement {abandonment.commitment} is closed already")
        for name in names:
            session.close(name, entry.path)
            session.abandoned[name] = abandonment
        return f"closes {', '.join(names)} of {abandonment.commitment}: {abandonment.reason}"

    def _close_with_record(self, entry: SignedEntry, record: Record) -> str:
        predicate = record.predicate
        claim, submission = predicate.commitment, predicate.submission
        session = self.session(claim.entry)
        promised = session.announcement
        secret = bytes.fromhex(claim.root_hex) + bytes.fromhex(claim.nonce_hex)
        if not hashlib.sha256(secret).hexdigest() == claim.commitment_sha256 == promised.commitment_sha256:
            raise LedgerError(f"its root and nonce are not those that announcement {claim.entry} committed to")
        if AnnouncedSubmission(name=submission.name, tree_sha256=submission.tree_sha256) not in promised.submissions:
            raise LedgerError(f"announcement {claim.entry} does not announce {submission.name} with this tree digest")
        if (predicate.track, predicate.track_digest) != (promised.track, promised.track_digest):
            raise LedgerError(f"announcement {claim.entry} was made for another track or track digest")
        if len(predicate.runs) != promised.runs:
            raise LedgerError(f"announcement {claim.entry} announced {promised.runs} runs, not {len(predicate.runs)}")
        # The root is public once a session's first record is: only the same key may answer for the others.
        if (entry.signer, entry.public) != (promised.signer, session.public):
            raise LedgerError(f"announcement {claim.entry} was signed by another key or under another name")
        if entry.created < session.created:
            raise LedgerError(f"it is older than announcement {claim.entry}")
        session.close(submission.name, entry.path)
        return f"answers announcement {claim.entry}"

    def _change_status(self, entry: SignedEntry, change: StatusChange) -> str:
        record = self.records.get(change.record)
        if record is None:
            raise LedgerError(
                f"no sound record {change.record} stands in the index before it",
                advice=meant(change.record, self.records),
            )
        if entry.created < record.created:
            raise LedgerError(f"it is older than the record {change.record}")
        by, reason = authority(self.trust, entry)
        if by == "revoked":
            return f"has no effect ({reason})"
        own = (entry.signer, entry.public) == (record.signer, record.public)
        if by != "official" and not (own and change.status == "withdrawn" and record.authority == "self-reported"):
            raise LedgerError(
                f"only an official key may make {change.record} {change.status} ({reason}); "
                "the key that signed a self-reported record may withdraw it"
            )
        record.change = change
        return f"{change.record} is {change.status} under {change.rule}: {change.reason}"


def announcement_id(content: LogEntry | Record) -> str | None:
    """The announcement that an entry is, or closes; of a change of status None."""
    if isinstance(content, StatusChange):
        return None
    if isinstance(content, Announcement):
        return content.id
    return content.predicate.commitment.entry if isinstance(content, Record) else content.commitment


def authority(trust: Trust, entry: SignedEntry) -> tuple[Authority, str]:
    """Whether the signer's word is official, and why. Raises LedgerError for a listed name or key used as another's.

    An identity may be listed with several keys, one after the other: each counts in its own window.
    """
    name, when, namespace = entry.signer, entry.created, entry.namespace
    if entry.public in trust.revoked:
        return "revoked", f"revoked: the key that signed as {name} no longer counts"
    if trust.lists(name, entry.public, namespace, when):
        return "official", f"official: {name}"
    if name in trust.keys.get(entry.public, ()):
        return "self-reported", f"self-reported: {name} is not listed for {namespace} at {when:%Y-%m-%d %H:%M:%S} UTC"
    if name in trust.names:
        raise LedgerError(f"signed as {name}, who is listed with another key")
    if entry.public in trust.keys:
        raise LedgerError(f"signed as {name}, with a key that is listed for another identity")
    return "self-reported", f"self-reported: {name} is not in allowed_signers"
