"""A base model that is missing or another one is refused."""

import pytest

from harness.tracks.track import TrackError, load


def test_the_base_model_is_the_one_the_track_names():
    track = load("cpu-logic")
    track.check_base()
    present = {path.name for path in track.base_folder.iterdir() if path.suffix != ".md"}
    assert present == set(track.base.files)
    size = (track.base_folder / "model.safetensors").stat().st_size
    assert size <= 4_000_000


def test_a_changed_or_missing_base_is_refused(tmp_path):
    track = load("cpu-logic")
    base = track.base.model_copy(update={"folder": str(tmp_path), "files": {"config.json": "0" * 64}})
    moved = track.model_copy(update={"base": base})
    with pytest.raises(TrackError, match="is missing"):
        moved.check_base()
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrackError, match=r"its SHA-256 is 44136fa3.*, the track names 0000"):
        moved.check_base()
