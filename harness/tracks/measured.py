"""Which tracks were measured: `status = "measured"` is a claim, and the ledger holds what proves it.

Whoever copies a track's TOML copies its status too. So the claim holds while records/ has a record of this version of
the track, made with what decides its results today (its digest). Signatures are the audit's business.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

from harness.tracks.files import ROOT
from harness.tracks.schema import Track


def recorded(ledger: Path = ROOT / "records") -> set[tuple[str, str]]:
    """Id and digest of each track that the ledger has a record of."""
    predicates = (json.loads(path.read_text(encoding="utf-8"))["predicate"] for path in ledger.glob("*/record.json"))
    return {(predicate["track"], predicate["track_digest"]) for predicate in predicates}


def false_claim(track: Track, recorded: Set[tuple[str, str]]) -> str | None:
    """Why a track that says it is measured is not; None if it is, or says that it is provisional."""
    if track.status == "provisional" or (track.id, track.digest) in recorded:
        return None
    return (
        f'{track.id} says status = "measured", and records/ has no record of it as it is today: '
        'write "provisional" until a verification of its baseline is recorded'
    )
