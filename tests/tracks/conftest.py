"""A copy of what a track's digest covers, where it can be changed."""

import shutil

import pytest

from harness.tracks import files
from harness.tracks.digest import task_sources
from harness.tracks.files import TRACKS
from harness.tracks.track import load

NAMES = ("cpu-logic", "cpu-deduction", "gpu-logic")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The hashed sources in a folder where they can be changed."""
    tracks = [load(name) for name in NAMES]
    sources = {source for track in tracks for source in track.sources if not source.startswith("tracks/")}
    sources |= {source for track in tracks for task in track.tasks for source in task_sources(task)}
    for name in [*sources, "tracks/fetch.py", *(f"tracks/{name}.toml" for name in NAMES)]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((TRACKS.parent / name).read_bytes())
    shutil.copytree(TRACKS / "standing", tmp_path / "tracks" / "standing")
    monkeypatch.setattr(files, "TRACKS", tmp_path / "tracks")
    return tmp_path
