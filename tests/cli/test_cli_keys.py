"""`nano-r1 keygen`."""

import errno
import os
import subprocess

import pytest
from nano import NANO, nano, refused

from harness.ledger import signature
from harness.tracks.track import ROOT


def test_keygen_refuses_to_overwrite_and_prints_a_line_for_allowed_signers(tmp_path):
    done = nano("keygen", "ada", "--key", tmp_path / "k", "--hours", 2)
    assert done.returncode == 0 and done.stdout.startswith("ada ") and "ssh-ed25519" in done.stdout
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    refused(nano("keygen", "ada", "--key", tmp_path / "k"), "k")


def test_a_second_key_is_sent_to_another_file_and_not_to_another_name(tmp_path):
    nano("keygen", "ada", "--key", tmp_path / "k")
    for left in ("k", "k.pub"):
        done = nano("keygen", "grace", "--key", tmp_path / "k")
        refused(done, f"{tmp_path}/{left} exists", "use it", "--key FILE")
        assert "another name" not in done.stderr
        (tmp_path / left).unlink()


def test_a_full_disk_leaves_no_empty_key(tmp_path):
    """A file may have no byte here, which write(2) says in the same way."""
    command = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *NANO, "keygen", "ada", "--key", str(tmp_path / "k")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    refused(done, f"cannot write {tmp_path}/k: File too large")
    assert list(tmp_path.iterdir()) == []


def test_without_its_public_half_no_private_half_is_left(tmp_path, monkeypatch):
    write = signature._write_new

    def full(path, data, mode):
        if path.suffix == ".pub":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data, mode)

    monkeypatch.setattr(signature, "_write_new", full)
    with pytest.raises(signature.SignatureError, match="No space left on device"):
        signature.generate(tmp_path / "k", "ada")
    assert list(tmp_path.iterdir()) == []
