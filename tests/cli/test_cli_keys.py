"""`nano-r1 keygen`."""

from nano import nano, refused


def test_keygen_refuses_to_overwrite_and_prints_a_line_for_allowed_signers(tmp_path):
    done = nano("keygen", "ada", "--key", tmp_path / "k", "--hours", 2)
    assert done.returncode == 0 and done.stdout.startswith("ada ") and "ssh-ed25519" in done.stdout
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    refused(nano("keygen", "ada", "--key", tmp_path / "k"), "k")
