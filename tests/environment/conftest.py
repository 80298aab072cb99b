"""What the tests of the socket share: a track, its grader, a place for the socket, an environment, and the way in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wire import serve

from harness.client import Run, connect
from harness.environment.server import Environment
from harness.frozen.grader import Grader
from harness.tracks import rules
from harness.tracks.track import Track, load


@pytest.fixture(scope="session")
def track() -> Track:
    return load("cpu-logic")


@pytest.fixture(scope="session")
def grader(track: Track) -> Grader:
    return rules.grader(track)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name (socket paths have at most 107 bytes) that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="nr1-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def environment(track: Track, place: Path) -> Iterator[Environment]:
    with serve(track, place / "s", base=track.base_folder, output=place) as environment:
        yield environment
        assert environment.fault is None


@pytest.fixture
def join(environment: Environment, place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Connect as rank r of w, by the client's real way in."""

    def join(rank: int = 0, world: int = 1) -> Run:
        monkeypatch.setenv("NANO_R1_SOCKET", str(place / "s"))
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        return connect()

    return join
