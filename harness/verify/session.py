"""Verify submissions: announce, run in turn with the frozen baseline, evaluate, judge, sign, append.

One session may verify several submissions round-robin against one set of baseline runs, so that all of them meet the
same machine at the same hour. Each submission also makes a control run, on scores that say nothing. Every announcement
ends in records or abandonments; a killed session is resumed from what `harness.verify.journal` kept of it.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness import submission
from harness.frozen.keys import commitment
from harness.ledger import record
from harness.ledger.entries import AnnouncedSubmission, Announcement, fresh_id
from harness.ledger.signature import Key
from harness.ledger.store import Ledger
from harness.submission import Submission
from harness.tracks.files import restore
from harness.tracks.track import ROOT, Track, load
from harness.verify import clock
from harness.verify.close import Closing, Outcome, abandon
from harness.verify.executor import Executor, Interrupted, Reporter, VerifyError
from harness.verify.journal import Journal, JournalError, SavedSession, SessionSubmission, journals, session_lock
from harness.verify.local import LocalExecutor
from harness.verify.schedule import Schedule, participants_of


@dataclass(frozen=True)
class Verifier:
    """Who verifies and where: what all sessions of one process share."""

    ledger: Ledger
    key: Key
    state: Path  # where sessions are kept while they run
    reporter: Reporter
    cancel: threading.Event  # set (Ctrl-C), it abandons the session
    executor: Executor = field(default_factory=LocalExecutor)


def verify(
    track: Track, submissions: list[Submission], verifier: Verifier, *, runs: int, control: bool = True
) -> list[Outcome]:
    """Verify submissions on a track, `runs` times each. Without `control`: no control run, no valid result.

    Raises VerifyError before anything is announced, and when the harness or the machine fails later: then the session
    stays open, and `resume` continues from its finished runs. Raises Interrupted when `verifier.cancel` is set: the
    session is abandoned. Every failure of a submission is an outcome.
    """
    baseline = _baseline(track)
    check_submissions(track, submissions)
    ledger, reporter = verifier.ledger, verifier.reporter
    _check_standing(ledger, track)
    with session_lock(verifier.state):
        remove_stale_journals(verifier.state, ledger, reporter)
        for unfinished in ledger.open_announcements():
            if Journal(verifier.state, unfinished.id).has_session:
                reporter.say(f"{unfinished.id} was killed and is still open: {_resume_hint(unfinished.id, ledger)}")
        root, nonce = secrets.token_bytes(32), secrets.token_bytes(32)
        attestation = verifier.executor.attest(track, nonce, reporter, None)
        if verifier.cancel.is_set():
            raise Interrupted("nothing was announced")
        announcement = Announcement(
            id=fresh_id(datetime.now(UTC)),
            created_utc=clock.utc_now(),
            signer=verifier.key.identity,
            track=track.id,
            track_digest=track.digest,
            submissions=[AnnouncedSubmission(name=i.manifest.name, tree_sha256=i.tree_sha256) for i in submissions],
            runs=runs,
            commitment_sha256=commitment(root, nonce),
        )
        journal = Journal(verifier.state, announcement.id)
        items = reference_first(submissions, baseline)
        journal.create(items)
        session = SavedSession(
            announcement=announcement,
            ledger=str(ledger.folder.resolve()),
            public_key=verifier.key.public,
            announced=False,
            root_hex=root.hex(),
            nonce_hex=nonce.hex(),
            isolation=attestation.level,
            isolation_checks=attestation.checks,
            machine=attestation.machine,
            submissions=[session_submission(item, item in submissions) for item in items],
            control=control,
            cluster=verifier.executor.cluster,
        )
        _announce(session, journal, verifier)
        session = session.model_copy(update={"announced": True})
        return _run_and_close(session, track, journal, verifier)


def _baseline(track: Track) -> Submission:
    """The track's frozen baseline. Raises VerifyError if it was changed."""
    track.check_base()
    baseline = submission.load(ROOT / track.baseline.folder)
    if baseline.tree_sha256 != track.baseline.tree_sha256:
        raise VerifyError(
            f"{baseline.folder} is not the frozen baseline of {track.id}: its tree is {baseline.tree_sha256}, "
            f"the track names {track.baseline.tree_sha256}",
            advice=restore(baseline.folder, "if it is meant to be this one, write its tree_sha256 into the track"),
        )
    return baseline


def _check_standing(ledger: Ledger, track: Track) -> None:
    """Raises VerifyError if the record to beat was made by other rules: a verdict against it would be void."""
    folder = ledger.standing(track.id)
    if folder is None:
        return
    digest = record.load(ledger.read(f"{folder}/record.json")).predicate.track_digest
    if digest != track.digest:
        raise VerifyError(
            f"{folder} stands on {track.id} and was made under another digest ({digest[:8]}, now {track.digest[:8]})",
            advice=f"supersede it first: nano-r1 ledger status {folder} superseded --rule R10 --reason WHY",
        )


def check_submissions(track: Track, submissions: list[Submission]) -> None:
    """Raises VerifyError if one is for another track or named twice."""
    for item in submissions:
        if track.name not in item.manifest.every_track:
            names = ", ".join(map(repr, item.manifest.every_track))
            raise VerifyError(f"{item.folder}/submission.toml is for the track {names}, not {track.name!r}")
    if len({item.manifest.name for item in submissions}) < len(submissions):
        raise VerifyError("a submission is named twice")


def reference_first(submissions: list[Submission], baseline: Submission) -> list[Submission]:
    """The reference, then the others. The baseline as a submission is its own reference: its runs serve as both."""
    own = next((item for item in submissions if item.tree_sha256 == baseline.tree_sha256), None)
    return [own or baseline, *(item for item in submissions if item is not own)]


def session_submission(item: Submission, for_record: bool) -> SessionSubmission:
    """What a session keeps of a submission."""
    return SessionSubmission(name=item.manifest.name, tree_sha256=item.tree_sha256, for_record=for_record)


def _announce(session: SavedSession, journal: Journal, verifier: Verifier) -> None:
    """Keep the session, then announce it. Raises VerifyError if it was announced and something failed nevertheless."""
    ledger, entry = verifier.ledger, session.announcement.id
    try:
        journal.save_session(session)
        ledger.announce(session.announcement, verifier.key)
    except BaseException as error:
        if not ledger.interrupted():
            journal.remove()
            raise
        raise VerifyError(f"{_message(error)}. It is announced as {entry}: {_resume_hint(entry, ledger)}") from error
    verifier.reporter.say(f"announced as {entry} in {ledger.folder}")


def resume(entry: str, verifier: Verifier) -> list[Outcome]:
    """Continue a session that was killed: its finished runs stand, the others are made. Raises as `verify`."""
    with session_lock(verifier.state):
        journal = Journal(verifier.state, entry)
        session = journal.session()
        _check_open(session, journal, verifier)
        announcement, key, executor = session.announcement, verifier.key, verifier.executor
        if (key.identity, key.public) != (announcement.signer, session.public_key):
            raise VerifyError(
                f"{entry} was announced by {announcement.signer} with another key than this of {key.identity}"
            )
        track = load(announcement.track.partition("@")[0])
        if track.digest != announcement.track_digest:
            raise VerifyError(f"{entry} was announced for another {track.id}: check out the commit it was started on")
        track.check_base()
        if executor.cluster != session.cluster:
            place, how = ("on a cluster", "with") if session.cluster else ("on one machine", "without")
            raise VerifyError(f"{entry} was started {place}: resume it {how} --cluster")
        attestation = executor.attest(track, bytes.fromhex(session.nonce_hex), verifier.reporter, session.machine)
        if attestation.machine != session.machine:
            raise VerifyError(
                f"{entry} was started on another machine or with other packages: times measured here do not compare"
            )
        if attestation.level != session.isolation:
            failed = [name for name, ok in attestation.checks.items() if not ok]
            raise VerifyError(
                f"{entry} was started with isolation {session.isolation}; here it is {attestation.level}"
                + (f", for of the doctor's checks {', '.join(failed)} failed" if failed else ""),
                advice="`nano-r1 doctor` says why",
            )
        session = session.model_copy(update={"announced": True, "resumed": session.resumed + 1})
        verifier.reporter.say(f"resuming {entry}")
        return _run_and_close(session, track, journal, verifier)


def _check_open(session: SavedSession, journal: Journal, verifier: Verifier) -> None:
    """Raises VerifyError if the ledger does not list the session as open."""
    ledger, entry = verifier.ledger, session.announcement.id
    if ledger.folder.is_dir():
        ledger.repair()  # the kill may have come in the middle of an append
    if not _is_listed(ledger, entry):
        raise VerifyError(f"{entry} is not in {ledger.folder}: its ledger is {session.ledger}: name that with --ledger")
    if not _is_open(ledger, entry):
        journal.remove()
        raise VerifyError(f"{entry} is not open in {ledger.folder}: nothing is left to do, and its journal is removed")


def _run_and_close(session: SavedSession, track: Track, journal: Journal, verifier: Verifier) -> list[Outcome]:
    """Make the runs that are missing, then close every submission that is open."""
    announcement, ledger = session.announcement, verifier.ledger
    schedule = Schedule(
        track=track,
        participants=participants_of(session.submissions),
        runs=announcement.runs,
        root=bytes.fromhex(session.root_hex),
        control=session.control,
    )
    closing = Closing(session, schedule, journal, ledger, verifier.key)
    outcomes: list[Outcome] | None = None
    try:
        journal.save_session(session)
        try:
            verifier.executor.run(schedule, journal, verifier.reporter, verifier.cancel)
            outcomes = [closing.close(item) for item in schedule.participants if item.for_record]
        except (KeyboardInterrupt, Interrupted):
            abandon(ledger, verifier.key, announcement, None, "interrupted by the verifier")
    except Exception as error:
        raise VerifyError(
            f"{_message(error)}. The session is still open: {_resume_hint(announcement.id, ledger)}"
        ) from error
    journal.remove()
    if outcomes is None:
        raise Interrupted(f"{announcement.id} is closed as abandoned")
    return outcomes


def remove_stale_journals(state: Path, ledger: Ledger, reporter: Reporter) -> None:
    """Remove what kills left behind: sessions that are closed, or that were never announced."""
    if ledger.folder.is_dir():
        ledger.repair()
    for journal in journals(state):
        if not journal.has_session:
            journal.remove()
            continue
        try:
            session = journal.session()
        except JournalError as error:
            reporter.say(str(error))
            continue
        if session.ledger != str(ledger.folder.resolve()):
            continue
        entry = session.announcement.id
        if not _is_open(ledger, entry) and (_is_listed(ledger, entry) or not session.announced):
            journal.remove()


def _is_listed(ledger: Ledger, entry: str) -> bool:
    return any(listed.path == f"log/{entry}.json" for listed in ledger.entries())


def _is_open(ledger: Ledger, entry: str) -> bool:
    return any(announcement.id == entry for announcement in ledger.open_announcements())


def _resume_hint(entry: str, ledger: Ledger) -> str:
    return f"`nano-r1 verify --resume {entry} --ledger {ledger.folder}` continues from its finished runs"


def _message(error: BaseException) -> str:
    """An error as a sentence. Ours are sentences already."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    return str(error) if type(error).__module__.startswith("harness.") else f"{type(error).__name__}: {error}"
