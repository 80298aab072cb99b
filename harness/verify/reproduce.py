"""Run a record's submission again and say whether it agrees. Nothing is signed, nothing is written.

Agreement: each quantity measured here lies in the 99% prediction interval that the record's own runs give for the mean
of as many runs as were made here. Where a run did not get its cores, its time says how busy the machine was and nothing
of the record: this machine cannot tell.
"""

from __future__ import annotations

import math
import secrets
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean

from harness import submission
from harness.evaluation import judging
from harness.isolation import load
from harness.ledger import record
from harness.ledger.git import Git, GitError
from harness.tracks import track as tracks
from harness.tracks.files import restore
from harness.tracks.track import ROOT, Track
from harness.verify.executor import Reporter, VerifyError
from harness.verify.journal import Journal, session_lock
from harness.verify.local import LocalExecutor
from harness.verify.schedule import Participant, Schedule, participants_of
from harness.verify.session import reference_first, session_submission


@dataclass(frozen=True)
class Comparison:
    """A quantity of the record, the interval that its mean here should lie in, and the mean measured here."""

    quantity: str
    recorded: float
    low: float
    high: float
    measured: float
    doubt: str = ""  # why this machine cannot tell, if it cannot

    @property
    def values(self) -> tuple[float, float, float, float]:
        return self.recorded, self.low, self.high, self.measured

    @property
    def agrees(self) -> bool:
        return self.low <= self.measured <= self.high

    @property
    def differs(self) -> bool:
        return not self.agrees and not self.doubt


def reproduce(
    original: record.Record, *, runs: int, state: Path, reporter: Reporter, cancel: threading.Event
) -> list[Comparison]:
    """Train and evaluate afresh, in turn with the baseline. Raises VerifyError if this is not the same problem."""
    predicate = original.predicate
    track = _same_track(predicate)
    source = submission.load(ROOT / predicate.submission.path)
    if source.tree_sha256 != predicate.submission.tree_sha256:
        raise VerifyError(
            f"{predicate.submission.path} is not what was recorded",
            advice=restore(source.folder, _check_out(predicate)),
        )
    if len(predicate.runs) < 2:
        raise VerifyError("the record has one run: no interval to agree with")
    items = reference_first([source], submission.load(ROOT / track.baseline.folder))
    schedule = Schedule(
        track=track,
        participants=participants_of([session_submission(item, item is source) for item in items]),
        runs=runs,
        root=secrets.token_bytes(32),
        control=False,
    )
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as folder, session_lock(state):
        journal = Journal(Path(folder), "reproduction")
        journal.create(items)
        if (warning := load.warning(track.hardware.cores)) is not None:
            reporter.say(warning)
        LocalExecutor().run(schedule, journal, reporter, cancel)
    reference = schedule.reference
    participant = next(item for item in schedule.participants if item.for_record)
    doubt = _doubt(schedule.participants, participant, predicate)
    if failure := participant.failure or reference.failure:
        raise VerifyError(f"{'cannot tell on this machine' if doubt else 'it did not finish here'}: {failure}")
    made = [result.run for result in participant.results.values() if result.run is not None]

    accuracy = [judging.mean_accuracy(track, run.tasks) for run in predicate.runs]
    comparisons = [compare("mean accuracy", accuracy, [judging.mean_accuracy(track, run.tasks) for run in made])]
    if participant is not reference:
        baseline_ms = geometric_mean([result.wall_ms for result in reference.results.values()])
        recorded = judging.relative_costs(predicate.runs, predicate.reference)
        cost = compare("relative cost", recorded, [run.wall_ms / baseline_ms for run in made])
        comparisons.append(replace(cost, doubt=doubt))
    queries = [float(run.reward_queries) for run in predicate.runs]
    comparisons.append(compare("reward queries", queries, [float(run.reward_queries) for run in made]))
    return comparisons


def _doubt(participants: list[Participant], own: Participant, predicate: record.Predicate) -> str:
    """Why times from here do not count: the first run that did not get its cores. Empty if all of them did."""
    usual = sum(run.cpu_ms for run in predicate.runs) / sum(run.wall_ms for run in predicate.runs)
    for participant in participants:
        for number, result in sorted(participant.results.items()):
            share = result.share
            if share is None:
                continue
            if share.busy:
                return f"{participant.name} run {number + 1} was made {share}"
            if participant is own and share.used < (1 - load.BUSY) * usual:  # a quota, or fewer cores than the track's
                return f"{participant.name} run {number + 1} was made {share}, and the record's runs on {usual:.1f}"
    return ""


def _same_track(predicate: record.Predicate) -> Track:
    """The record's track, without fixed benchmarks: they gate nothing. Raises VerifyError if it changed since."""
    track = tracks.load(predicate.track.partition("@")[0])
    track.check_base()
    track = track.model_copy(update={"heldout": track.heldout.model_copy(update={"report": []})})
    if track.digest != predicate.track_digest:
        theirs, ours = predicate.track, track.id
        if theirs == ours:
            theirs, ours = f"{theirs} {predicate.track_digest[:12]}", f"{ours} {track.digest[:12]}"
        raise VerifyError(
            f"the record is of {theirs}, and this is {ours}", advice=f"{_check_out(predicate)}, then reproduce"
        )
    return track


def _check_out(predicate: record.Predicate) -> str:
    """What leads to the commit that added the record."""
    for path in sorted((ROOT / "records").glob("*/record.json")):
        if predicate.commitment.nonce_hex.encode() in path.read_bytes():
            with suppress(GitError), Git(ROOT) as git:
                if commits := git.commits(path.relative_to(ROOT).as_posix()):
                    return f"run `git checkout {commits[-1][:12]}`, the commit that added it"
    return "check out the commit that added it"


def compare(quantity: str, recorded: list[float], measured: list[float]) -> Comparison:
    """Prediction interval for the mean of len(measured) further runs (Hahn & Meeker, Statistical Intervals, §4.8)."""
    from scipy.stats import t

    n, m = len(recorded), len(measured)
    mean = sum(recorded) / n
    sigma = math.sqrt(sum((x - mean) ** 2 for x in recorded) / (n - 1))
    half = float(t.ppf(0.995, n - 1)) * sigma * math.sqrt(1 / n + 1 / m)
    return Comparison(quantity, mean, mean - half, mean + half, sum(measured) / m)
