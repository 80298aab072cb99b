"""A file that is not the track's: what is wrong, with the right hash, and a remedy that git can really give."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from git_repository import git

from harness.tracks.files import TrackError, check, restore

RIGHT = hashlib.sha256(b"right").hexdigest()
WRONG = hashlib.sha256(b"wrong").hexdigest()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A committed file in a folder whose name has glob characters."""
    folder = tmp_path / "a?b [c]"
    folder.mkdir()
    git(folder, "init", "-qb", "main")
    (folder / "model").write_bytes(b"right")
    (folder / ".gitignore").write_text("ignored\n", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    return folder / "model"


def refusal(path: Path, download: str | None = None) -> str:
    with pytest.raises(TrackError) as caught:
        check(path, RIGHT, "cpu-logic@4", download)
    return str(caught.value)


def test_the_right_file_passes(base: Path) -> None:
    check(base, RIGHT, "cpu-logic@4")
    check(base, None, "cpu-logic@4")


def test_a_committed_file_is_restored_by_the_command_that_is_named(base: Path) -> None:
    base.write_bytes(b"wrong")
    said = refusal(base)
    assert f"its SHA-256 is {WRONG}, the track names {RIGHT}" in said and said.endswith(
        f"git checkout HEAD -- '{base}'`"
    )
    git(base.parent, "add", "model")
    assert "git checkout HEAD" in refusal(base)  # staged, it is not the committed one either
    git(base.parent, "checkout", "HEAD", "--", base)
    check(base, RIGHT, "cpu-logic@4")
    base.unlink()
    assert refusal(base).endswith(f"is missing: restore it with `git checkout HEAD -- '{base}'`")


@pytest.mark.parametrize("name", ["new", "ignored"])
def test_one_who_adds_a_track_is_not_sent_to_git(base: Path, name: str) -> None:
    path = base.parent / name
    assert refusal(path).endswith("is missing: put it there, or name another in the track")
    path.write_bytes(b"wrong")
    said = refusal(path)
    assert "git" not in said and said.endswith("write that SHA-256 into the track") and WRONG in said
    git(base.parent, "add", "-f", name)
    assert "git checkout" not in refusal(path)


def test_a_file_as_committed_is_not_to_be_checked_out(base: Path) -> None:
    """The track is what changed."""
    base.write_bytes(b"wrong")
    git(base.parent, "commit", "-qam", "another base")
    assert "git checkout" not in refusal(base) and WRONG in refusal(base)


def test_without_git_and_from_the_hub(tmp_path: Path) -> None:
    assert restore(tmp_path / "x", "otherwise") == "otherwise"
    assert refusal(tmp_path / "x", "download it").endswith("is missing: download it")


def test_a_changed_folder_is_restored_and_a_new_one_is_not(base: Path) -> None:
    folder = base.parent / "baseline"
    folder.mkdir()
    (folder / "train.py").touch()
    assert restore(folder, "no") == restore(folder / "train.py", "no") == "no"
    git(base.parent, "add", "-A")
    git(base.parent, "commit", "-qm", "a baseline")
    shutil.rmtree(folder)
    assert "git checkout HEAD" in restore(folder, "no") and "git checkout HEAD" in restore(folder / "train.py", "no")
