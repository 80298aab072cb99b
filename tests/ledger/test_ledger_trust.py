"""allowed_signers and revoked_keys mean the same to us as to OpenSSH."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import NOON, Keys, needs_ssh_keygen, ssh_accepts, ssh_keygen

from harness.ledger import trust
from harness.ledger.signature import LOG_NAMESPACE, RECORD_NAMESPACE, Key, SignatureError, sign
from harness.ledger.trust import Signer

HOUR = timedelta(hours=1)
DATA = b'{"accuracy_ppm": 912345}\n'


@needs_ssh_keygen
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_windows_mean_the_same_to_both_wherever_one_checks(tmp_path: Path, key: Key, zone: str) -> None:
    line = trust.allowed_line(key.public, key.identity, NOON - HOUR, NOON + HOUR)
    signers = trust.parse_allowed_signers(line)
    armoured = sign(key, RECORD_NAMESPACE, DATA)
    second = timedelta(seconds=1)
    for when, good in [(NOON - HOUR - second, False), (NOON - HOUR, True), (NOON, True), (NOON + HOUR, True),
                       (NOON + HOUR + second, False)]:  # fmt: skip
        assert trust.listed(signers, "alice@lab", key.public, RECORD_NAMESPACE, when) is good
        assert ssh_accepts(tmp_path, line, armoured, DATA, when, zone=zone) is good


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("spaces", "good"),
    [("nano-r1-record-v1", True), ("nano-r1-*", True), ("nano-r?-record-v1", True), ("file,nano-r1-record-v1", True),
     ("nano-r1-log-v1", False), ("nano-r1", False), ("NANO-R1-record-v1", False)],
)  # fmt: skip
def test_namespace_patterns_mean_the_same_to_both(tmp_path: Path, key: Key, spaces: str, good: bool) -> None:
    line = f'alice@lab namespaces="{spaces}" {key.public}'
    signers = trust.parse_allowed_signers(line)
    assert trust.listed(signers, "alice@lab", key.public, RECORD_NAMESPACE, NOON) is good
    assert ssh_accepts(tmp_path, line, sign(key, RECORD_NAMESPACE, DATA), DATA) is good


def test_a_line_comes_back_as_it_was_written(key: Key) -> None:
    line = trust.allowed_line(f"{key.public} alice@lab", "alice@lab", NOON - HOUR, NOON + HOUR)
    assert line == (
        'alice@lab namespaces="nano-r1-record-v1,nano-r1-log-v1",valid-after="20261120110000Z",'
        f'valid-before="20261120130000Z" {key.public}'
    )
    signers = trust.parse_allowed_signers(f"# who may sign\n\n{line}\nbob {key.public}\n")
    spaces = (RECORD_NAMESPACE, LOG_NAMESPACE)
    assert signers == [
        Signer("alice@lab", key.public, spaces, NOON - HOUR, NOON + HOUR),
        Signer("bob", key.public),
    ]
    assert trust.listed(signers, "bob", key.public, "anything", NOON + 999 * HOUR)
    assert not trust.listed(signers, "carol", key.public, RECORD_NAMESPACE, NOON)
    assert not trust.listed(signers, "bob", key.public[:-4] + "AAAA", RECORD_NAMESPACE, NOON)
    with pytest.raises(SignatureError, match="not later"):
        trust.allowed_line(key.public, "alice@lab", NOON, NOON)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alice", "not of the form"),
        ("alice KEY trailing", "not of the form"),
        ("alice  KEY", "not of the form"),
        (" alice KEY", "not of the form"),
        ("alice KEY\r", "not of the form"),
        ("alice cert-authority KEY", "not of the form"),
        ('alice namespaces="a"valid-after="20260101000000Z" KEY', "not of the form"),
        ("alice ssh-rsa AAAA", "not of the form"),
        ("a,b KEY", "identity"),
        ("*@lab KEY", "identity"),
        ('alice namespaces="a",namespaces="b" KEY', "twice"),
        ('alice namespaces="!a" KEY', "namespace"),
        ('alice namespaces="" KEY', "namespace"),
        ('alice valid-after="20260101000000" KEY', "local time"),
        ('alice valid-after="20261301000000Z" KEY', "not a time"),
        ('alice valid-after="20260101000000Z",valid-before="20260101000000Z" KEY', "not later"),
        ("alice ssh-ed25519 AAAA", "cut short"),
        ("alice KEY=", "canonical"),
    ],
)
def test_bad_lines_are_refused_with_their_number(key: Key, line: str, reason: str) -> None:
    text = f"# first\nbob {key.public}\n{line.replace('KEY', key.public)}\n"
    with pytest.raises(SignatureError, match=rf"^line 3: .*{reason}"):
        trust.parse_allowed_signers(text)


@given(st.text(max_size=80))
def test_no_text_crashes_the_list(text: str) -> None:
    try:
        trust.parse_allowed_signers(f"alice {text}")
    except SignatureError as error:
        assert str(error).startswith("line ")


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", False),
        ("\n# nobody\n\n", False),
        ("BOB\n", False),
        ("BOB bob of the lab\n", False),
        ("# old\nBOB\nALICE\n", True),
        ("ALICE", True),
        ("ALICE # revoked-after 2030-01-01: OpenSSH knows no dates, so neither do we\n", True),
        ("ssh-ed25519 AAAA\n", None),
        ("alice ALICE\n", None),
        ("BOB\ngarbage\n", None),
    ],
)
def test_revoked_keys_mean_the_same_to_openssh(tmp_path: Path, keys: Keys, text: str, refused: bool | None) -> None:
    """None: neither can read the file, and so neither accepts anything. A space at a line's start is only ours."""
    text = text.replace("ALICE", keys["alice"].public).replace("BOB", keys["bob"].public)
    (tmp_path / "revoked_keys").write_text(text, encoding="utf-8")
    (tmp_path / "signers").write_text(f"alice {keys['alice'].public}\n", encoding="utf-8")
    (tmp_path / "sig").write_bytes(sign(keys["alice"], "file", b"data"))
    files = ["-f", tmp_path / "signers", "-s", tmp_path / "sig", "-r", tmp_path / "revoked_keys"]
    accepted = ssh_keygen("-Y", "verify", "-I", "alice", "-n", "file", *files, data=b"data").returncode == 0
    assert accepted is (refused is False)
    if refused is None:
        with pytest.raises(SignatureError, match="line"):
            trust.parse_revoked_keys(text)
    else:
        assert (keys["alice"].public in trust.parse_revoked_keys(text)) is refused
