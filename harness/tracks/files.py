"""Where a track's files lie, and whether one is there and is the one that the track names."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.errors import NanoR1Error
from harness.files import sha256_of

TRACKS = Path(__file__).resolve().parent  # a TOML file each
ROOT = TRACKS.parent.parent  # of the repository


class TrackError(NanoR1Error):
    """A track that does not exist or cannot be used; the message says what to do."""


def check(path: Path, sha256: str | None, track: str, download: str | None = None) -> None:
    """Raises TrackError, which says what to do, unless the file is there and, where a hash is given, has it.

    download: how to get it; None for a file that the repository holds.
    """
    if not path.is_file():
        raise TrackError(
            f"{path} is missing: {download or restore(path, 'put it there, or name another in the track')}"
        )
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        advice = download or restore(path, "if it is meant to be this file, write that SHA-256 into the track")
        raise TrackError(f"{path} is not that of {track}: its SHA-256 is {found}, the track names {sha256}; {advice}")


def restore(path: Path, otherwise: str) -> str:
    """What to do about a file or folder that is not as it should be: restore it, or what else where git cannot."""
    from harness.ledger import git

    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    place = next(folder for folder in path.resolve().parents if folder.is_dir())
    try:
        status = git.run(place, "status", "--porcelain", "-z", "--", str(path.resolve())).decode(errors="replace")
    except git.GitError:
        return otherwise
    # Of each path two letters: `??` git does not know it, `A` was never committed; others differ from the commit.
    if any(row[:2] != "??" and row[:1] != "A" for row in status.split("\0") if row[2:3] == " "):
        return f"restore it with `git checkout HEAD -- {shlex.quote(str(shown))}`"
    return otherwise
