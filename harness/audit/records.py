"""One record: all that it claims, recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.audit import claims, evidence
from harness.audit.context import RecordContext
from harness.audit.evidence import Part
from harness.audit.submissions import SubmissionAudit
from harness.frozen.grader import Grader
from harness.ledger.errors import CheckResult
from harness.ledger.record import Predicate, Submission
from harness.tracks import rules
from harness.tracks import track as tracks
from harness.tracks.track import Track, TrackError


@dataclass(frozen=True)
class Job:
    """A part of a record's completions to grade again, or, where `part` is None, everything else to check of it."""

    context: RecordContext
    part: Part | None


class RecordAuditor:
    """Checks records one at a time. What several share (a track, a grader, a folder) is read once."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self._folder, self._submissions = folder, SubmissionAudit(repository)
        self._tracks: dict[str, Track | TrackError] = {}
        self._graders: dict[str, Grader] = {}

    def jobs(self, context: RecordContext, processes: int) -> list[Job]:
        """What there is to do for a record, in the order of its results, for so many processes."""
        parts = min(processes, len(context.predicate.all_runs)) if context.graded and context.current else 0
        return [Job(context, None), *(Job(context, Part(number, parts)) for number in range(parts))]

    def do(self, job: Job) -> Iterator[CheckResult]:
        if job.part is None:
            return self.check(job.context)
        track = self._track(job.context.predicate.track)
        assert isinstance(track, Track)
        return evidence.check_completions(job.context, self._folder, track, self._grader, job.part)

    def check(self, context: RecordContext) -> Iterator[CheckResult]:
        """All but the grading that follows from the record, its evidence, its submission and its track."""
        yield from claims.check_keys(context)
        yield from claims.check_isolation(context)
        yield from claims.check_cluster(context)
        yield from evidence.check_curves(context, self._folder)
        yield from claims.check_benchmarks(context)
        if not context.current:
            return  # another track's questions and grader would say nothing
        track = self._track(context.predicate.track)
        assert isinstance(track, Track)
        yield context.result("track digest", True, f"{track.id} is {track.digest[:12]}")
        yield from self.check_submission(context.folder, track.id, context.predicate.submission)
        yield from claims.check_hardware(context, track)
        yield from claims.check_reported(context, track)
        yield from claims.check_verdict(context, track)

    def check_submission(
        self, folder: str, track_id: str, recorded: Submission, replaced: bool = False
    ) -> Iterator[CheckResult]:
        """The code that ran is the code in the repository, and it is for the track.

        replaced: another version of the track took its place, and with it perhaps that of the baseline's folder: then
        git must remember the recorded one.
        """
        track = self._track(track_id) if replaced else None
        baseline = track.baseline if isinstance(track, Track) else None
        yield from self._submissions.check(folder, track_id, recorded, baseline)

    def track_difference(self, predicate: Predicate) -> str | None:
        """None if the record's track is just what this harness has; else in what it differs."""
        track = self._track(predicate.track)
        if isinstance(track, TrackError):
            return str(track)
        if (track.id, track.digest) == (predicate.track, predicate.track_digest):
            return None
        return f"{track.id} is {track.digest[:12]}, the record says {predicate.track} and {predicate.track_digest[:12]}"

    def _track(self, track_id: str) -> Track | TrackError:
        """The track of that name as it is today, whatever its version."""
        name = track_id.partition("@")[0]
        if name not in self._tracks:
            try:
                self._tracks[name] = tracks.load(name)
            except TrackError as error:
                self._tracks[name] = error
        return self._tracks[name]

    def _grader(self, track: Track) -> Grader:
        if track.id not in self._graders:
            self._graders[track.id] = rules.grader(track)
        return self._graders[track.id]
