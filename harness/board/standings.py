"""Who stands where on a track: which records are ranked, which are shown apart, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board import curves
from harness.errors import NanoR1Error
from harness.frozen import stats
from harness.ledger.errors import LedgerError
from harness.ledger.index import read_file
from harness.ledger.record import Interval, Predicate
from harness.ledger.state import RecordState, Session
from harness.ledger.store import Ledger, LoggedRecord
from harness.tracks.track import Track

CURVES = "curves.jsonl.xz"


class BoardError(NanoR1Error):
    """The board cannot be rendered or written; the message says which file is in the way."""


@dataclass(frozen=True)
class BoardRecord:
    """A record of the ledger, with its evidence for the charts."""

    folder: str
    predicate: Predicate
    state: RecordState  # whose word it is, and what has become of it
    code: str | None  # the submission's folder beside the ledger, if it is there
    curves: list[list[curves.Post]]  # one list per run; empty if the record has none
    origin: str | None = None  # what it is based on, relative to the leaderboard, if that is here

    @property
    def track(self) -> str:
        return self.predicate.track.partition("@")[0]

    @property
    def name(self) -> str:
        return self.predicate.submission.name

    @property
    def page(self) -> str:
        """Relative to the leaderboard."""
        return f"records/{self.folder}.md"

    @property
    def queries(self) -> Interval:
        """Completions graded until the weights passed the gate: mean over runs with its 95% t-interval, rounded."""
        low, mean, high = stats.t_interval([run.reward_queries for run in self.predicate.runs])
        return Interval(low=round(low), mean=round(mean), high=round(high))


@dataclass(frozen=True)
class Standings:
    """One track's records, sorted out."""

    track: Track
    ranked: list[BoardRecord]  # official, valid and verified, cheapest first
    history: list[BoardRecord]  # the same, oldest first
    apart: list[tuple[BoardRecord, list[str]]]  # oldest first, each with why it is not ranked
    changed: list[BoardRecord]  # disputed, withdrawn or superseded, oldest first
    standing: BoardRecord | None
    sessions: list[Session]  # all that were announced on it, oldest first

    @property
    def all_records(self) -> list[BoardRecord]:
        return [*self.ranked, *(record for record, _ in self.apart), *self.changed]

    @property
    def by_queries(self) -> list[BoardRecord]:
        """The ranked records, fewest reward queries first. In a tie the cheaper comes first."""
        return sorted(self.ranked, key=lambda record: record.queries.mean)

    @property
    def unanswered(self) -> list[Session]:
        """The sessions with a submission that has no record: abandoned, or still open."""
        return [session for session in self.sessions if session.abandoned or session.open]


def read_ledger(ledger: Path) -> tuple[list[BoardRecord], list[Session]]:
    """The records and the sessions of the log, oldest first. Raises BoardError; an empty folder is an empty ledger."""
    try:
        state, logged = Ledger(ledger).contents()
        folders = {item.folder for item in logged}
        records = [
            BoardRecord(
                item.folder,
                item.record.predicate,
                item.state,
                _code(ledger, item),
                _curves(ledger, item),
                _origin(ledger, item, folders),
            )
            for item in logged
        ]
    except LedgerError as error:
        raise BoardError(f"{ledger}: {error}") from None
    return records, list(state.sessions.values())


def _code(ledger: Path, item: LoggedRecord) -> str | None:
    """A ledger of one's own, such as the quick start's, has no submissions beside it: no link beats a dead one."""
    submission = item.record.predicate.submission
    is_home = submission.path in _homes(submission.name)
    return submission.path if is_home and (ledger.resolve().parent / submission.path).is_dir() else None


def _origin(ledger: Path, item: LoggedRecord, folders: Collection[str]) -> str | None:
    """A record's page, or the code of a submission. `folders`: of all records."""
    name = item.record.predicate.submission.based_on
    if name is None or name in folders:
        return name and f"records/{name}.md"
    return next((f"../{home}" for home in _homes(name) if (ledger.resolve().parent / home).is_dir()), None)


def _homes(name: str) -> list[str]:
    """Where a submission of that name may lie in the repository."""
    return [*([name] if name.partition("-")[0] == "baseline" else []), f"submissions/{name}"]


def _curves(ledger: Path, item: LoggedRecord) -> list[list[curves.Post]]:
    """The curves that the record lists by hash, if it lists any, without the control run's: its scores say nothing.

    Raises LedgerError or BoardError.
    """
    sha256 = item.record.predicate.files.get(CURVES)
    if sha256 is None:
        return []
    data = read_file(ledger, f"{item.folder}/{CURVES}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BoardError(f"{ledger / item.folder / CURVES}: its SHA-256 is not the one in record.json")
    try:
        control = item.record.predicate.control
        return [run for run in curves.read_curves(data) if control is None or run[0].run != control.run]
    except curves.CurvesError as error:
        raise BoardError(f"{ledger / item.folder / CURVES}: {error}") from None


def track_name(session: Session) -> str:
    return session.announcement.track.partition("@")[0]


def standings(track: Track, records: Sequence[BoardRecord], sessions: Sequence[Session] = ()) -> Standings:
    """`records`, `sessions`: of all tracks, oldest first."""
    own = [record for record in records if record.track == track.name]
    changed = [record for record in own if record.state.status != "verified"]
    judged = [(record, reasons_apart(record, track)) for record in own if record.state.status == "verified"]
    valid = [record for record, reasons in judged if not reasons]
    stood = [record for record in valid if record.state.stood]  # the log's order decides who stands
    history = sorted(valid, key=lambda record: record.predicate.created_utc)
    # In a tie the older comes first.
    ranked = sorted(history, key=lambda record: record.predicate.verdict.relative_cost_ppm.mean)
    apart = [(record, reasons) for record, reasons in judged if reasons]
    announced = [session for session in sessions if track_name(session) == track.name]
    return Standings(track, ranked, history, apart, changed, stood[-1] if stood else None, announced)


def reasons_apart(record: BoardRecord, track: Track) -> list[str]:
    """Why a record is not ranked; empty for one that is. The verdict's own reasons stand at the end."""
    predicate, reasons = record.predicate, []
    if record.state.authority == "self-reported":
        reasons.append("self-reported: its key is not listed for that day")
    if record.state.authority == "revoked":
        reasons.append("its key was revoked")
    if predicate.track != track.id:
        reasons.append(f"made on another version of the track, which is now at version {track.version}")
    if predicate.verdict.valid:  # else the verdict itself says so
        if predicate.isolation != "full":
            reasons.append("made without isolation")
        if len(predicate.runs) < track.verdict.runs:
            reasons.append(f"{len(predicate.runs)} of {track.verdict.runs} runs")
    if reasons or not predicate.verdict.valid:
        reasons += predicate.verdict.reasons or ([] if reasons else ["not valid"])
    return reasons


def reasons_no_record(record: BoardRecord) -> list[str]:
    """Why a valid record was none when it was set; empty for one that was."""
    verdict = record.predicate.verdict
    if verdict.record and not record.state.stood:
        return [f"tested against {verdict.standing or 'nothing'} on another branch, not against the one that stood"]
    return verdict.reasons


def ranks(intervals: Sequence[Interval]) -> list[str]:
    """1, 2, …; with ≈ where the interval overlaps the row above's: their order is not established."""
    overlaps = [i > 0 and interval.low <= intervals[i - 1].high for i, interval in enumerate(intervals)]
    return [f"{i} ≈" if overlap else str(i) for i, overlap in enumerate(overlaps, 1)]
