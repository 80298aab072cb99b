"""A copy of what a track's digest covers, where it can be changed."""

import shutil

import pytest

from harness.tracks import files
from harness.tracks.files import TRACKS
from harness.tracks.track import load


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The hashed sources in a folder where they can be changed."""
    sources = {*load("gpu-logic").sources, *load("cpu-deduction").sources}
    for name in [
        *sources,
        "tracks/fetch.py",
        *(f"tracks/{name}.toml" for name in ("cpu-logic", "cpu-deduction", "gpu-logic")),
    ]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((TRACKS.parent / name).read_bytes())
    shutil.copytree(TRACKS / "standing", tmp_path / "tracks" / "standing")
    monkeypatch.setattr(files, "TRACKS", tmp_path / "tracks")
    return tmp_path
