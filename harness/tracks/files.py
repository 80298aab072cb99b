"""Where a track's files lie, and whether those that a run needs are there and are the ones the track names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import NanoR1Error
from harness.files import sha256_of
from harness.tracks import shards

if TYPE_CHECKING:
    from harness.tracks.schema import Track

TRACKS = Path(__file__).resolve().parent  # a TOML file each
ROOT = TRACKS.parent.parent  # of the repository


class TrackError(NanoR1Error):
    """A track that does not exist or cannot be used; the message says what to do."""


def check_files(track: Track) -> None:
    """Raises TrackError unless each file of the base model, and of the traces, is there with the listed hash."""
    again = f"download it with `nano-r1 tracks fetch {track.name}`"
    for name, sha256 in track.base.files.items():
        path = track.base_folder / name
        _check(path, sha256, track.id, again if track.base.repo else _restore(path))
    if track.base.shards:
        path = track.base_folder / "model.safetensors"
        _check(path, None, track.id, again)
        if not shards.is_joined(path, [track.base_folder / name for name in track.base.shards]):
            raise TrackError(f"{path} is not its shards in one file: delete it and {again}")
    if track.warmup is not None:
        path = ROOT / track.warmup.file
        _check(path, track.warmup.sha256, track.id, _restore(path))


def check_sets(track: Track) -> None:
    """Download the training sets, once a process. Raises TrackError for one that cannot be had."""
    for name in track.train.sets:
        from harness.benchmarks import training_sets

        try:
            training_sets.ready(name)
        except training_sets.TrainingSetError as error:
            raise TrackError(
                f"{track.id} trains on {name}, which cannot be used here (`nano-r1 tracks fetch {track.name}` "
                f"downloads it): {error}"
            ) from None


def _check(path: Path, sha256: str | None, track: str, advice: str) -> None:
    if not path.is_file():
        raise TrackError(f"{path} is missing: {advice}")
    if sha256 is not None and sha256_of(path) != sha256:
        raise TrackError(f"{path} is not that of {track}: its SHA-256 differs from the track's; {advice}")


def _restore(path: Path) -> str:
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"restore it with `git checkout -- {shown}`"
