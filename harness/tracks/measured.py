"""Which tracks were measured: `status = "measured"` is a claim, and the ledger holds what proves it.

Whoever copies a track's TOML copies its status too. So the claim holds while records/ has a record of this version of
the track, made with what decides its results today (its digest). Signatures are the audit's business.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.tracks.files import ROOT
from harness.tracks.schema import Track


def records_of(track: Track, ledger: Path = ROOT / "records") -> list[str]:
    """The folders of the track's records, as it is today."""
    folders = []
    for path in sorted(ledger.glob("*/record.json")):
        made_with = json.loads(path.read_text(encoding="utf-8"))["predicate"]
        if made_with["track"] == track.id and made_with["track_digest"] == track.digest:
            folders.append(path.parent.name)
    return folders


def false_claim(track: Track, ledger: Path = ROOT / "records") -> str | None:
    """Why a track that says it is measured is not; None if it is, or says that it is provisional."""
    if track.status == "provisional" or records_of(track, ledger):
        return None
    return (
        f'{track.id} says status = "measured", and {ledger.name}/ has no record of it as it is today: '
        'write "provisional" until a verification of its baseline is recorded'
    )
