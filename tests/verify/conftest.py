"""What the tests of sessions share."""

import pytest
import tiny

from harness.isolation import doctor
from harness.tracks import files
from harness.verify import schedule


@pytest.fixture(autouse=True)
def doctor_asked_once(monkeypatch):
    """Sessions of this process are told what the doctor found when the first of them began: two seconds a session."""
    monkeypatch.setattr(doctor, "isolation_checks", tiny.isolation_checks)


@pytest.fixture
def tiny_place(tmp_path, monkeypatch, request):
    """The tiny track, in this process too. An indirect parameter says how many seconds a run sleeps."""
    tiny.build_place(tmp_path, seconds=getattr(request, "param", 0.1))
    monkeypatch.setattr(files, "TRACKS", tmp_path / "harness" / "tracks")
    monkeypatch.setattr(schedule, "control_round", tiny.last_round)
    return tmp_path
