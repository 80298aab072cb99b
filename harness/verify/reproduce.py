"""Run a record's submission again and say whether it agrees. Nothing is signed, nothing is written.

Agreement: each quantity found here lies in the 99% prediction interval that the record's own runs give for
the mean of as many runs as were made here.
"""

from __future__ import annotations

import math
import secrets
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean

from harness import judge, submission
from harness.isolation import sandbox
from harness.ledger import record
from harness.tracks import track as tracks
from harness.tracks.track import ROOT
from harness.verify.journal import Journal, Member, alone
from harness.verify.session import Plan, Reporter, VerifyError, arms_for, in_order, leased, run_all


@dataclass(frozen=True)
class Comparison:
    quantity: str
    recorded: float
    low: float
    high: float
    found: float

    @property
    def agrees(self) -> bool:
        return self.low <= self.found <= self.high


def reproduce(
    item: record.Record, *, runs: int, state: Path, reporter: Reporter, cancel: threading.Event
) -> list[Comparison]:
    """Train and evaluate afresh, in turn with the baseline. Raises VerifyError if this is not the same problem."""
    predicate = item.predicate
    track = tracks.load(predicate.track.partition("@")[0])
    track.check_base()
    # Fixed benchmarks say nothing on whether a result can be had again, and would have to be brought first.
    track = track.model_copy(update={"heldout": track.heldout.model_copy(update={"report": []})})
    if track.digest != predicate.track_digest:
        raise VerifyError(f"the record is of another {track.id}: check out the commit that added it, then reproduce")
    source = submission.load(ROOT / predicate.submission.path)
    if source.tree_sha256 != predicate.submission.tree_sha256:
        raise VerifyError(f"{predicate.submission.path} is not what was recorded: restore it with git")
    if len(predicate.runs) < 2:
        raise VerifyError("the record has one run: no interval to agree with")
    baseline = submission.load(ROOT / track.baseline.folder)
    items = in_order([source], baseline)
    members = [Member(name=i.manifest.name, tree_sha256=i.tree_sha256, wanted=i is source) for i in items]
    arms = arms_for(members)
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as work, alone(state):
        journal = Journal(Path(work), "reproduction")
        journal.begin(items)
        level = sandbox.isolation().level
        root, lease = secrets.token_bytes(32), leased(track)
        run_all(arms, Plan(track, runs, root, lease, level, journal, False, reporter, cancel))
    arm, reference = next(each for each in arms if each.wanted), arms[0]
    if arm.failure or reference.failure:
        raise VerifyError(f"it did not finish here: {arm.failure or reference.failure}")
    made = [trained.run for trained in arm.done.values() if trained.run is not None]

    accuracy = [judge.mean_accuracy(track, run.tasks) for run in predicate.runs]
    found = [compare("mean accuracy", accuracy, [judge.mean_accuracy(track, run.tasks) for run in made])]
    if arm is not reference:
        walls = [trained.wall_ms for trained in reference.done.values()]
        here = [run.wall_ms / geometric_mean(walls) for run in made]
        then = judge.relative_costs(predicate.runs, predicate.reference)
        found.append(compare("relative cost", then, here))
    queries = [float(run.reward_queries) for run in predicate.runs]
    found.append(compare("reward queries", queries, [float(run.reward_queries) for run in made]))
    return found


def compare(quantity: str, recorded: list[float], here: list[float]) -> Comparison:
    """Prediction interval for the mean of len(here) further runs (Hahn & Meeker, Statistical Intervals, §4.8)."""
    from scipy.stats import t

    n, m = len(recorded), len(here)
    mean = sum(recorded) / n
    sigma = math.sqrt(sum((x - mean) ** 2 for x in recorded) / (n - 1))
    half = float(t.ppf(0.995, n - 1)) * sigma * math.sqrt(1 / n + 1 / m)
    return Comparison(quantity, mean, mean - half, mean + half, sum(here) / m)
