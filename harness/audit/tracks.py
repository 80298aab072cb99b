"""A track that says it is measured has a record in this repository's ledger, made with what decides its results now."""

from __future__ import annotations

from collections.abc import Iterator, Set

from harness.ledger.errors import CheckResult
from harness.tracks import track as tracks
from harness.tracks.measured import false_claim


def check_tracks(recorded: Set[tuple[str, str]]) -> Iterator[CheckResult]:
    """`recorded`: id and digest of each track that the repository's own ledger has a sound record of."""
    readable, unreadable = tracks.load_all()
    for name, error in unreadable.items():
        yield CheckResult("track", f"{name}.toml", False, str(error))
    for track in readable:
        if track.status == "measured":
            claim = false_claim(track, recorded)
            yield CheckResult("track", f"{track.name}.toml", claim is None, claim or "measured: it has a record")
