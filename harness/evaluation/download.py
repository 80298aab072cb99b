"""Download all that a track needs: its base model, what it trains on, what it reports."""

from __future__ import annotations

from collections.abc import Callable

from harness.benchmarks import training_sets
from harness.evaluation import reported
from harness.tracks import fetch
from harness.tracks.track import Track


def download(track: Track, report: Callable[[str], None]) -> None:
    """Each file is checked against its pinned hash; `report` gets a line about each. Raises SourceError, TrackError."""
    benchmarks, left_out = reported.benchmarks(track)
    unlisted = {}
    if track.base.repo is not None or not (benchmarks or track.train.sets):
        unlisted = fetch.fetch(track, report)
        report(str(track.base_folder))
    for file, sha256 in unlisted.items():
        report(f'not listed yet, for [base.files]: "{file}" = "{sha256}"')
    for name in track.train.sets:
        report(f"{name}: {training_sets.ready(name):,} questions")
    for name in benchmarks:
        report(f"{name}: {len(reported.questions(name).items):,} questions")
    for name, reason in left_out.items():
        report(f"{name}: not asked: {reason}")
