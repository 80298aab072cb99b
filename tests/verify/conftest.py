"""What the tests of sessions share."""

import pytest
import tiny

from harness.tracks import files
from harness.verify import schedule


@pytest.fixture
def tiny_place(tmp_path, monkeypatch):
    """The tiny track, in this process too. Its runs take 1.2 s: long enough to be reported while they train."""
    import torch

    tiny.build_place(tmp_path, seconds=1.2)
    monkeypatch.setattr(files, "TRACKS", tmp_path / "harness" / "tracks")
    monkeypatch.setattr(schedule, "control_round", tiny.last_round)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)
