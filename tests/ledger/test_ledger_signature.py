"""Our signatures against the real ssh-keygen, both ways, and against everything that is not one."""

import base64
import contextlib
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import NOON, needs_ssh_keygen, ssh_accepts, ssh_keygen

from harness.ledger import signature, trust
from harness.ledger.signature import LOG_NAMESPACE, RECORD_NAMESPACE, SignatureError

HOUR = timedelta(hours=1)
DATA = b'{"accuracy_ppm": 912345}\n'


# ------------------------------------------------------------------ against ssh-keygen


@needs_ssh_keygen
def test_ssh_keygen_accepts_ours_and_refuses_one_byte_changed(tmp_path: Path, key: signature.Key) -> None:
    line = trust.allowed_line(key.public, key.identity, NOON - HOUR, NOON + HOUR)
    armoured = signature.sign(key, RECORD_NAMESPACE, DATA)
    assert ssh_accepts(tmp_path, line, armoured, DATA)
    assert not ssh_accepts(tmp_path, line, armoured, DATA.replace(b"9", b"8", 1))
    assert not ssh_accepts(tmp_path, line, armoured, DATA, namespace=LOG_NAMESPACE)
    assert not ssh_accepts(tmp_path, line.replace("alice@lab", "mallory"), armoured, DATA)


@needs_ssh_keygen
def test_ours_accepts_ssh_keygens_and_refuses_one_byte_changed(tmp_path: Path) -> None:
    assert ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "bob", "-f", tmp_path / "key").returncode == 0
    (tmp_path / "data").write_bytes(DATA)
    assert ssh_keygen("-Y", "sign", "-f", tmp_path / "key", "-n", RECORD_NAMESPACE, tmp_path / "data").returncode == 0
    theirs = (tmp_path / "data.sig").read_bytes()
    key = signature.load_key(tmp_path / "key")
    assert key.identity == "bob"
    assert f"{key.public} bob\n" == (tmp_path / "key.pub").read_text(encoding="utf-8")
    assert signature.verify(theirs, RECORD_NAMESPACE, DATA) == key.public
    assert signature.sign(key, RECORD_NAMESPACE, DATA) == theirs  # Ed25519 is deterministic: the same bytes
    with pytest.raises(SignatureError, match="does not belong to these bytes"):
        signature.verify(theirs, RECORD_NAMESPACE, DATA[:-2] + b"\n")


@needs_ssh_keygen
def test_ssh_keygen_reads_our_key_files(tmp_path: Path) -> None:
    line = signature.generate(tmp_path / "key", "carol")
    assert ssh_keygen("-y", "-f", tmp_path / "key").stdout.decode() == f"{line}\n"
    (tmp_path / "data").write_bytes(DATA)
    ssh_keygen("-Y", "sign", "-f", tmp_path / "key", "-n", LOG_NAMESPACE, tmp_path / "data")
    key = signature.load_key(tmp_path / "key")
    assert signature.sign(key, LOG_NAMESPACE, DATA) == (tmp_path / "data.sig").read_bytes()


@needs_ssh_keygen
def test_a_key_with_a_passphrase_or_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "ed25519", "-N", "secret", "-C", "bob", "-f", tmp_path / "locked")
    with pytest.raises(SignatureError, match="passphrase"):
        signature.load_key(tmp_path / "locked")
    ssh_keygen("-q", "-t", "ecdsa", "-N", "", "-C", "bob", "-f", tmp_path / "ecdsa")
    with pytest.raises(SignatureError, match=r"ecdsa-sha2-nistp256.*only ssh-ed25519"):
        signature.load_key(tmp_path / "ecdsa")
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "Bob of the lab", "-f", tmp_path / "spaced")
    with pytest.raises(SignatureError, match="ssh-keygen -c"):
        signature.load_key(tmp_path / "spaced")


# ------------------------------------------------------------------ keys


def test_a_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    line = signature.generate(path, "dave")
    assert line.startswith("ssh-ed25519 AAAA") and line.endswith(" dave")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    with pytest.raises(SignatureError, match="exists"):
        signature.generate(path, "dave")
    path.with_name("key.pub").unlink()
    with pytest.raises(SignatureError, match="exists"):
        signature.generate(path, "dave")
    assert path.read_bytes() == before
    assert "private" not in repr(signature.load_key(path))


@pytest.mark.parametrize("identity", ["", "a b", "a,b", "*", "a\n", "ä", "x" * 65, '"'])
def test_identities_that_mean_more_than_themselves_are_refused(tmp_path: Path, identity: str) -> None:
    with pytest.raises(SignatureError, match="identity"):
        signature.generate(tmp_path / "key", identity)
    assert not (tmp_path / "key").exists()


def test_unusable_key_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(SignatureError, match=r"no such key.*nano-r1 keygen"):
        signature.load_key(path)
    signature.generate(path, "erin")
    path.chmod(0o640)
    with pytest.raises(SignatureError, match="chmod 600"):
        signature.load_key(path)
    path.write_bytes(b"-----BEGIN RSA PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(SignatureError, match="not a usable private key"):
        signature.load_key(path)
    with pytest.raises(SignatureError, match="cannot be read"):
        signature.load_key(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SignatureError):
        signature.generate(tmp_path / "file" / "key", "erin")


@given(st.data())
def test_a_damaged_key_file_is_refused_or_the_same_key(key: signature.Key, data: st.DataObject) -> None:
    raw = key.private.private_bytes_raw()
    blob = base64.b64decode(key.public.split(" ")[1])
    check = b"1234"
    secret = check + check + signature.pack(b"ssh-ed25519", blob[-32:], raw + blob[-32:], b"alice@lab")
    secret += bytes(range(1, 1 + -len(secret) % 8))
    body = b"openssh-key-v1\0" + signature.pack(b"none", b"none", b"") + b"\0\0\0\1" + signature.pack(blob, secret)
    assert signature.parse_key(body).public == key.public
    position = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(SignatureError):
        assert signature.parse_key(bytes(changed)).public == key.public


# ------------------------------------------------------------------ signatures


@given(st.binary(max_size=300), st.sampled_from([RECORD_NAMESPACE, LOG_NAMESPACE]))
def test_round_trip(key: signature.Key, data: bytes, namespace: str) -> None:
    armoured = signature.sign(key, namespace, data)
    assert signature.verify(armoured, namespace, data) == key.public
    with pytest.raises(SignatureError):
        signature.verify(armoured, namespace, data + b"\0")
    with pytest.raises(SignatureError, match="namespace"):
        signature.verify(armoured, "file", data)


@given(st.data())
def test_a_signature_has_one_form_only(key: signature.Key, data: st.DataObject) -> None:
    armoured = signature.sign(key, RECORD_NAMESPACE, DATA)
    position = data.draw(st.integers(0, len(armoured)))
    kind = data.draw(st.sampled_from(["change", "insert", "delete"]))
    byte = data.draw(st.one_of(st.sampled_from(b"\n\r =A"), st.integers(0, 255)))
    after = armoured[position:] if kind == "insert" else armoured[position + 1 :]
    changed = armoured[:position] + (b"" if kind == "delete" else bytes([byte])) + after
    if changed != armoured:
        with pytest.raises(SignatureError):
            signature.verify(changed, RECORD_NAMESPACE, DATA)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for body in (data, b"SSHSIG\0\0\0\1" + data):
        with pytest.raises(SignatureError):
            signature.verify(signature.armour("SSH SIGNATURE", body), RECORD_NAMESPACE, DATA)
        with pytest.raises(SignatureError):
            signature.verify(body, RECORD_NAMESPACE, DATA)


def test_other_fields_are_refused(key: signature.Key) -> None:
    blob = base64.b64decode(key.public.split(" ")[1])
    space, proof = RECORD_NAMESPACE.encode(), signature.pack(b"ssh-ed25519", b"\0" * 64)

    def armour(*fields: bytes, version: bytes = b"\0\0\0\1", tail: bytes = b"") -> bytes:
        return signature.armour("SSH SIGNATURE", b"SSHSIG" + version + signature.pack(*fields) + tail)

    for armoured, reason in [
        (armour(blob, space, b"", b"sha512", proof), "does not belong"),
        (armour(blob, space, b"", b"sha512", proof, version=b"\0\0\0\2"), "version 1"),
        (armour(blob, space, b"", b"sha256", proof), "only sha512"),
        (armour(blob, space, b"x", b"sha512", proof), "nothing reserved"),
        (armour(blob, space, b"", b"sha512", proof, tail=b"x"), "bytes follow"),
        (armour(blob + b"x", space, b"", b"sha512", proof), "bytes follow"),
        (armour(blob, space, b"", b"sha512", proof + b"x"), "bytes follow"),
        (armour(signature.pack(b"ssh-rsa", b"x"), space, b"", b"sha512", proof), "only ssh-ed25519"),
        (armour(signature.pack(b"ssh-ed25519", b"x"), space, b"", b"sha512", proof), "not 32"),
        (armour(blob, space, b"", b"sha512", signature.pack(b"ssh-rsa", b"\0" * 64)), "only ssh-ed25519"),
        (armour(blob, space, b"", b"sha512", signature.pack(b"ssh-ed25519", b"\0")), "does not belong"),
        (armour(blob, space), "cut short"),
    ]:
        with pytest.raises(SignatureError, match=reason):
            signature.verify(armoured, RECORD_NAMESPACE, DATA)
