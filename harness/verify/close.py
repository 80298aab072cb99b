"""How a submission's verification ends: in a judged, signed record with its evidence, or in an abandonment."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import files, submission
from harness.evaluation import judging, reported
from harness.frozen.judge import Standing
from harness.ledger import record
from harness.ledger.entries import Abandonment, Announcement, fresh_id
from harness.ledger.signature import Key
from harness.ledger.store import Ledger
from harness.tracks.track import Track, load
from harness.verify import clock
from harness.verify.journal import Journal, RunResult, SavedSession
from harness.verify.schedule import Participant, Schedule


@dataclass(frozen=True)
class Outcome:
    """How one submission's verification ended."""

    name: str
    folder: Path | None  # of the record; None if there is none
    verdict: record.Verdict | None
    reason: str | None  # why there is no record
    benchmarks: dict[str, record.BenchmarkScore] | None = None  # on a track that reports fixed ones
    log: Path | None = None  # of the run that failed


@dataclass(frozen=True)
class Closing:
    """A session whose runs have all been made, and what closes it."""

    session: SavedSession
    schedule: Schedule
    journal: Journal
    ledger: Ledger
    key: Key

    def close(self, participant: Participant) -> Outcome:
        """A record if every run of the participant finished, else an abandonment."""
        announcement, name = self.session.announcement, participant.name
        if name not in self.ledger.open_submissions(announcement.id):
            return self._earlier_outcome(name)
        if participant.failure is not None:
            log = self._keep_log(participant)  # first: with the abandonment the journal goes
            abandon(self.ledger, self.key, announcement, name, participant.failure)
            return Outcome(name, None, None, participant.failure, log=log)
        evidence = evidence_of(participant.results)
        statement = self._statement(participant, evidence)
        folder = self.ledger.add_record(statement, evidence, self.key)
        return Outcome(name, folder, statement.predicate.verdict, None, statement.predicate.benchmarks)

    def _keep_log(self, participant: Participant) -> Path | None:
        """What the run that failed printed, beside the journals until the next one of that name fails."""
        logs = [result.log for result in participant.results.values() if result.failure is not None]
        if not logs:
            return None  # it was not the participant's own run: the baseline's
        path = self.journal.folder.parent / f"failed-{participant.name}.log"
        files.write(path, logs[-1], private=True)
        return path

    def _earlier_outcome(self, name: str) -> Outcome:
        """What came of a submission that was closed before its session was killed."""
        for entry in self.ledger.records():
            predicate = entry.record.predicate
            if (predicate.commitment.entry, predicate.submission.name) == (self.session.announcement.id, name):
                folder = self.ledger.folder / entry.folder
                return Outcome(name, folder, predicate.verdict, None, predicate.benchmarks)
        log_folder = self.ledger.folder / "log"
        return Outcome(name, None, None, f"was abandoned before its session was killed: see {log_folder}")

    def _statement(self, participant: Participant, evidence: dict[str, bytes]) -> record.Record:
        """What is signed: the runs, the verdict, and the hashes of weights and evidence."""
        made = [result.run for _, result in sorted(participant.results.items()) if result.run is not None]
        weights = [(f"run-{run.run}/model.safetensors", run.weights_sha256) for run in made]
        return record.Record(
            subject=[
                record.Subject(name=name, digest={"sha256": digest})
                for name, digest in [(participant.name, participant.tree_sha256), *weights]
            ],
            predicate=self._predicate(participant, made, evidence),
        )

    def _predicate(
        self, participant: Participant, made: list[record.Run], evidence: dict[str, bytes]
    ) -> record.Predicate:
        session, schedule, track = self.session, self.schedule, self.schedule.track
        announcement = session.announcement
        manifest = submission.read_manifest(self.journal.submission_folder(participant.number))
        runs, control = made[: schedule.runs], made[schedule.runs] if schedule.control else None
        reference = schedule.reference
        timed = record.Reference(
            tree_sha256=reference.tree_sha256,
            wall_ms=[reference.results[run].wall_ms for run in range(schedule.runs)],
        )
        return record.Predicate(
            track=track.id,
            track_digest=track.digest,
            submission=record.Submission(
                name=participant.name,
                path=track.baseline.folder if participant is reference else f"submissions/{participant.name}",
                tree_sha256=participant.tree_sha256,
                title=manifest.title,
                change=manifest.change,
                contributors=manifest.contributors,
                based_on=manifest.based_on,
                source=manifest.source,
                techniques=manifest.techniques,
            ),
            commitment=record.Opening(
                entry=announcement.id,
                commitment_sha256=announcement.commitment_sha256,
                root_hex=session.root_hex,
                nonce_hex=session.nonce_hex,
            ),
            created_utc=no_earlier_than(announcement),
            signer=self.key.identity,
            isolation=session.isolation,
            isolation_checks=session.isolation_checks,
            machine=session.machine,
            runs=runs,
            control=control,
            resumed=session.resumed,
            cluster=self._cluster(participant) if session.cluster else None,
            benchmarks=reported.scores(runs, control),
            reference=timed,
            verdict=judging.judge(track, runs, timed, session.isolation, standing_record(self.ledger, track), control),
            files={name: hashlib.sha256(data).hexdigest() for name, data in evidence.items()},
        )

    def _cluster(self, participant: Participant) -> record.Cluster:
        """Which node made which run of a record, and which runs were lost on the way."""
        reference = self.schedule.reference.results
        return record.Cluster(
            runs=[result.node or "" for _, result in sorted(participant.results.items())],
            reference=[reference[run].node or "" for run in range(self.schedule.runs)],
            lost=self.journal.losses(),
        )


def abandon(ledger: Ledger, key: Key, announcement: Announcement, name: str | None, reason: str) -> None:
    """Close a submission of an announcement, or all that are open, with the reason why there is no record."""
    printable = "".join(c if c.isprintable() else " " for c in reason)[:300]
    ledger.abandon(
        Abandonment(
            id=fresh_id(datetime.now(UTC)),
            created_utc=no_earlier_than(announcement),
            signer=key.identity,
            commitment=announcement.id,
            submission=name,
            reason=printable,
        ),
        key,
    )


def no_earlier_than(announcement: Announcement) -> str:
    """Now, or the announcement's time if the machine's clock was set back since: an answer cannot be older."""
    return max(clock.utc_now(), announcement.created_utc)


def standing_record(ledger: Ledger, track: Track) -> Standing | None:
    """The official record that a new one must beat: same version of the track, same rules."""
    folder = ledger.standing(track.id)
    if not folder:
        return None
    return judging.standing_from(record.load((ledger.folder / folder / "record.json").read_bytes()), folder)


@dataclass(frozen=True)
class BoardComparison:
    """A record beside the one that stands on another ledger, the board's."""

    name: str  # of the standing record
    relative_cost_ppm: record.Interval
    p_ppb: int  # that the record costs no less
    beaten: bool  # would it be the board's record, if an official session found the same?


def compare_with_board(made: Path, board: Ledger) -> BoardComparison | None:
    """Judge a record (its folder) against the board's standing one; None where none stands. Raises LedgerError."""
    predicate = record.load((made / "record.json").read_bytes()).predicate
    track = load(predicate.track.partition("@")[0])
    standing = standing_record(board, track)
    if standing is None:
        return None
    verdict = judging.judge(
        track, predicate.runs, predicate.reference, predicate.isolation, standing, predicate.control
    )
    best = record.load(board.read(f"{standing.folder}/record.json")).predicate
    assert verdict.standing_p_ppb is not None
    return BoardComparison(best.submission.name, best.verdict.relative_cost_ppm, verdict.standing_p_ppb, verdict.record)


def evidence_of(results: dict[int, RunResult]) -> dict[str, bytes]:
    """The other files of a record: held-out completions, harness-seen curves, the submission's log."""
    runs = sorted(results.items())
    answers = _json_lines({"run": number, "completions": result.completions} for number, result in runs)
    points = _json_lines({"run": number, **point} for number, result in runs for point in result.curve)
    logs = b"".join(b"==== run %d ====\n%s\n" % (number, result.log) for number, result in runs)
    return {
        "completions.jsonl.xz": lzma.compress(answers, preset=6),
        "curves.jsonl.xz": lzma.compress(points, preset=6),
        "log.txt.xz": lzma.compress(logs, preset=6),
    }


def _json_lines(values: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values).encode()
