"""Where a track's files lie, and whether one is there and is the one that the track names."""

from __future__ import annotations

from pathlib import Path

from harness.errors import NanoR1Error
from harness.files import sha256_of

TRACKS = Path(__file__).resolve().parent  # a TOML file each
ROOT = TRACKS.parent.parent  # of the repository


class TrackError(NanoR1Error):
    """A track that does not exist or cannot be used; the message says what to do."""


def check(path: Path, sha256: str | None, track: str, advice: str) -> None:
    """Raises TrackError, which says what to do, unless the file is there and, where a hash is given, has it."""
    if not path.is_file():
        raise TrackError(f"{path} is missing: {advice}")
    if sha256 is not None and sha256_of(path) != sha256:
        raise TrackError(f"{path} is not that of {track}: its SHA-256 differs from the track's; {advice}")


def restore(path: Path) -> str:
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"restore it with `git checkout -- {shown}`"
