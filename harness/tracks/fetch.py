"""Download a track's base model from the Hub: exactly the listed files, of exactly the listed bytes, all or none.

They come through the Hub's own cache, so that an interrupted download is resumed and a model that is there already is
not downloaded twice. From there they are linked into a folder of plain files: the cache's snapshots are made of links
that lead out of the folder, and would lead nowhere in the sandbox. A base in shards becomes one file too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.benchmarks import remote
from harness.files import sha256_of
from harness.tracks import shards
from harness.tracks.files import TrackError
from harness.tracks.schema import Track


def fetch(track: Track, report: Callable[[str], None] = lambda line: None) -> dict[str, str]:
    """Fill `track.base_folder`. Returns the SHA-256 of each file whose hash the track does not know.

    `report` gets a line per file. Raises SourceError, ShardError, and TrackError for a track whose base model is of
    this repository; then the folder is as it was.
    """
    if track.base.repo is None:
        raise TrackError(f"the base model of {track.name} is part of this repository: {track.base.folder}")
    folder = track.base_folder
    if folder.is_dir():
        try:
            track.check_files()
        except (TrackError, shards.ShardError) as error:
            report(f"downloading again: {error}")
        else:
            report(f"{folder} is there already")
            return _unlisted(track)
    repository = remote.Repository(
        track.name, track.base.repo, track.base.revision, "model", listed_in=f"harness/tracks/{track.name}.toml"
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching.") as work:
        stage = Path(work) / "base"
        stage.mkdir()
        stage.chmod(0o755)  # whatever the umask: the sandbox user must be able to read it
        for name, sha256 in track.base.files.items():
            path = remote.download(repository, name, sha256)
            _place(path.resolve(), stage / name)
            checked = "as listed" if sha256 else f"SHA-256 {sha256_of(path)}, not listed"
            report(f"{name}: {path.stat().st_size:,} bytes, {checked}")
        if track.base.shards:
            report(f"joining {len(track.base.shards)} shards into model.safetensors")
            shards.join(stage / "model.safetensors", [stage / name for name in track.base.shards])
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(stage, folder)
    return _unlisted(track)


def _unlisted(track: Track) -> dict[str, str]:
    return {name: sha256_of(track.base_folder / name) for name in track.base.unknown}


def _place(path: Path, target: Path) -> None:
    """A second name where the file system allows one, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
    target.chmod(0o644)
