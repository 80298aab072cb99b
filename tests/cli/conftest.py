"""What the tests of the command share: a state folder of their own, and a key."""

import pytest
from nano import nano


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Sessions of the person who runs the tests are not looked at."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def key(tmp_path):
    assert nano("keygen", "tester", "--key", tmp_path / "key").returncode == 0
    return tmp_path / "key"
