"""A track that says it is measured has a record in this repository's ledger, made with what decides its results now."""

from __future__ import annotations

from collections.abc import Iterator

from harness.ledger.errors import CheckResult
from harness.ledger.store import Ledger
from harness.tracks import track as tracks
from harness.tracks.measured import false_claim


def check_tracks(ledger: Ledger) -> Iterator[CheckResult]:
    """Of the repository's ledger alone: in somebody's own the tracks of others have no records."""
    readable, unreadable = tracks.load_all()
    for name, error in unreadable.items():
        yield CheckResult("track", f"{name}.toml", False, str(error))
    for track in readable:
        if track.status == "measured":
            claim = false_claim(track, ledger.folder)
            yield CheckResult("track", f"{track.name}.toml", claim is None, claim or "measured: it has a record")
