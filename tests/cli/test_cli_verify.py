"""What `nano-r1 verify` and `nano-r1 reproduce` refuse before anything is run."""

from pathlib import Path

import pytest
from nano import nano, refused


def test_a_broken_submission_is_named(tmp_path, key):
    folder = tmp_path / "mine"
    refused(nano("verify", folder, "--key", key), "not a folder")
    folder.mkdir()
    (folder / "submission.toml").write_text('name = "mine"', encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "no train.py")
    (folder / "train.py").write_text("", encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "submission.toml", "track")
    (folder / "submission.toml").write_text("name = [broken", encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "submission.toml", "not TOML")
    (folder / "submission.toml").write_text(
        'name = "other"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["a"]\n', encoding="utf-8"
    )
    refused(nano("verify", folder, "--key", key), "'other'", "'mine'")
    assert not (tmp_path / "records").exists()


def test_a_missing_or_open_key_is_refused(tmp_path, key):
    refused(nano("verify", "baseline", "--key", tmp_path / "none"), "none", "keygen")
    key.chmod(0o644)
    refused(nano("verify", "baseline", "--key", key), str(key))


@pytest.mark.parametrize("stranger", [Path("/dev/null"), Path("/etc/passwd")])
def test_odd_paths_do_not_trace(stranger, key):
    refused(nano("verify", stranger, "--key", key), str(stranger))


def test_resume_wants_a_session_that_is_kept_and_no_submissions(key, tmp_path):
    refused(nano("verify", "--resume", "20261121t010203-abcdef", "--key", key), "no session is kept", "kept: none")
    refused(nano("verify", "baseline", "--resume", "20261121t010203-abcdef", "--key", key), "not both")
    refused(nano("verify", "--key", key), "name the submissions")
    assert sorted(path.name for path in (tmp_path / "state" / "nano-r1").iterdir()) == ["lock"]
