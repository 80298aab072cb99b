"""Files are replaced whole or not at all."""

import os

import pytest

from harness import files


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.json"
    files.write(path, "één")
    assert path.read_bytes() == "één".encode()
    files.write(path, b"\x00two")
    assert path.read_bytes() == b"\x00two"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    files.write(path, "old")
    with pytest.raises(error), files.replacing(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_umask_holds(tmp_path):
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "none" / "a", "text")
