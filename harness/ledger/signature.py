"""SSHSIG signatures (openssh PROTOCOL.sshsig) with Ed25519, and the key files that make them.

A record is signed over its exact bytes, so that a reader who trusts none of this code checks it with

    ssh-keygen -Y verify -f records/allowed_signers -I NAME -n nano-r1-record-v1 -s record.json.sig < record.json

and, once the key's narrow window is over, with `-Overify-time=20261120181530Z`, the record's created_utc.
Reading is stricter than OpenSSH's: one algorithm, one hash, one byte form. A signature that could be
written in two ways could be changed without anybody noticing.

Key files are read and written here, not by `cryptography`: it drops the comment, and the comment is the identity.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.errors import NanoR1Error

RECORD_NAMESPACE = "nano-r1-record-v1"  # a record.json
LOG_NAMESPACE = "nano-r1-log-v1"  # a checkpoint, and every entry that is no record

ALGORITHM = "ssh-ed25519"
HASH = "sha512"
_MAGIC = b"SSHSIG"
_KEY_MAGIC = b"openssh-key-v1\0"
_IDENTITY = re.compile(r"[A-Za-z0-9._@-]{1,64}")


class SignatureError(NanoR1Error):
    """A key, a signature or a list of signers that cannot be used; the message says why and where."""


@dataclass(frozen=True)
class Key:
    """A private key in memory. `public` is `ssh-ed25519 AAAA…`, without the comment."""

    private: Ed25519PrivateKey = field(repr=False)
    identity: str
    public: str


# ------------------------------------------------------------------ the wire format: lengths and strings


def pack(*strings: bytes) -> bytes:
    """Each string behind its length, a 32-bit big-endian number."""
    return b"".join(struct.pack(">I", len(string)) + string for string in strings)


def _take(data: bytes) -> tuple[bytes, bytes]:
    """The string that `data` begins with, and the rest."""
    if len(data) < 4 or len(data) - 4 < (size := struct.unpack_from(">I", data)[0]):
        raise SignatureError("cut short")
    return data[4 : 4 + size], data[4 + size :]


def unpack(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` strings, and nothing after them."""
    strings = []
    for _ in range(count):
        string, data = _take(data)
        strings.append(string)
    if data:
        raise SignatureError("bytes follow its end")
    return strings


def armour(label: str, data: bytes) -> bytes:
    """The text form that OpenSSH writes: 70 columns of base64 between two marks."""
    text = base64.b64encode(data).decode()
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def dearmour(label: str, armoured: bytes) -> bytes:
    """The bytes inside, if they are in the one form that `armour` writes."""
    lines = armoured.split(b"\n")
    try:
        data = base64.b64decode(b"".join(lines[1:-2]), validate=True)
    except ValueError:
        data = b""
    if armour(label, data) != armoured:
        raise SignatureError(f"not the text form of an {label}")
    return data


def public_line(raw: bytes) -> str:
    """`ssh-ed25519 AAAA…` from the 32 bytes of a public key."""
    return f"{ALGORITHM} {base64.b64encode(pack(ALGORITHM.encode(), raw)).decode()}"


def public_bytes(blob: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key in wire form."""
    name, rest = _take(blob)
    if name != ALGORITHM.encode():
        raise SignatureError(f"its algorithm is {name[:40]!r}; only {ALGORITHM} is used here")
    (raw,) = unpack(rest, 1)
    if len(raw) != 32:
        raise SignatureError(f"its public key has {len(raw)} bytes, not 32")
    return raw


# ------------------------------------------------------------------ keys


def check_identity(identity: str) -> None:
    """Raises SignatureError. No pattern signs and no spaces: in allowed_signers the name must mean itself."""
    if not _IDENTITY.fullmatch(identity):
        raise SignatureError(f"{identity!r} is not an identity: 1 to 64 of the characters A-Z a-z 0-9 . _ @ -")


def generate(path: Path, identity: str) -> str:
    """Make a key: `path` (OpenSSH private key, mode 0600) and `path`.pub. Returns `ssh-ed25519 AAAA… identity`.

    Raises SignatureError if the identity is malformed or either file exists.
    """
    check_identity(identity)
    private = Ed25519PrivateKey.generate()
    raw, seed = private.public_key().public_bytes_raw(), private.private_bytes_raw()
    blob = pack(ALGORITHM.encode(), raw)
    check = secrets.token_bytes(4)
    secret = check + check + pack(ALGORITHM.encode(), raw, seed + raw, identity.encode())
    secret += bytes(range(1, 1 + -len(secret) % 8))
    body = _KEY_MAGIC + pack(b"none", b"none", b"") + struct.pack(">I", 1) + pack(blob, secret)
    line = f"{public_line(raw)} {identity}"
    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if os.path.lexists(file):
            raise SignatureError(
                f"{file} exists, and a key is never overwritten; use it, or put this one elsewhere with --key FILE"
            )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, armour("OPENSSH PRIVATE KEY", body), 0o600)
        try:
            _write_new(public, f"{line}\n".encode(), 0o644)
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        raise SignatureError(f"cannot write {error.filename or path}: {error.strerror}") from None
    return line


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """The whole file or none: on a full disk no empty key is left. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def load_key(path: Path) -> Key:
    """The Ed25519 private key in an OpenSSH key file; its comment is the identity. Raises SignatureError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(65536)
    except FileNotFoundError:
        raise SignatureError(f"{path}: there is no such key; `nano-r1 keygen` makes one") from None
    except OSError as error:
        raise SignatureError(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise SignatureError(f"{path}: others may read this private key; run `chmod 600 {path}`")
    try:
        return parse_key(dearmour("OPENSSH PRIVATE KEY", data))
    except SignatureError as error:
        raise SignatureError(f"{path}: not a usable private key: {error}") from None


def parse_key(body: bytes) -> Key:
    """A key from the bytes inside a key file (openssh PROTOCOL.key). Raises SignatureError."""
    if not body.startswith(_KEY_MAGIC):
        raise SignatureError("not an OpenSSH private key")
    cipher, rest = _take(body[len(_KEY_MAGIC) :])
    _, rest = _take(rest)
    _, rest = _take(rest)
    if rest[:4] != struct.pack(">I", 1):
        raise SignatureError("it does not hold exactly one key")
    blob, secret = unpack(rest[4:], 2)
    raw = public_bytes(blob)
    if cipher != b"none":
        raise SignatureError("a passphrase protects it; make a short-lived key without one: `nano-r1 keygen`")
    if len(secret) < 8 or secret[:4] != secret[4:8]:
        raise SignatureError("damaged")
    _, rest = _take(secret[8:])
    _, rest = _take(rest)
    pair, rest = _take(rest)
    comment, padding = _take(rest)
    if padding != bytes(range(1, 1 + len(padding))) or len(pair) != 64:
        raise SignatureError("damaged")
    private = Ed25519PrivateKey.from_private_bytes(pair[:32])
    if not raw == pair[32:] == private.public_key().public_bytes_raw():
        raise SignatureError("its two halves do not belong together")
    identity = comment.decode("utf-8", "replace")
    if not _IDENTITY.fullmatch(identity):
        raise SignatureError(f"its comment {identity!r} is not an identity; set one with `ssh-keygen -c`")
    return Key(private, identity, public_line(raw))


# ------------------------------------------------------------------ signatures


def _signed_bytes(namespace: str, data: bytes) -> bytes:
    return _MAGIC + pack(namespace.encode(), b"", HASH.encode(), hashlib.sha512(data).digest())


def sign(key: Key, namespace: str, data: bytes) -> bytes:
    """The armoured SSHSIG of `data`: byte for byte what `ssh-keygen -Y sign` writes."""
    blob = base64.b64decode(key.public.split(" ")[1])
    signature = pack(ALGORITHM.encode(), key.private.sign(_signed_bytes(namespace, data)))
    body = pack(blob, namespace.encode(), b"", HASH.encode(), signature)
    return armour("SSH SIGNATURE", _MAGIC + struct.pack(">I", 1) + body)


def verify(signature: bytes, namespace: str, data: bytes) -> str:
    """The public key `ssh-ed25519 AAAA…` that signed `data` in `namespace`. Raises SignatureError.

    It says who signed, not whether to trust them: that is harness.ledger.trust.
    """
    body = dearmour("SSH SIGNATURE", signature)
    if not body.startswith(_MAGIC + struct.pack(">I", 1)):
        raise SignatureError("not an SSHSIG of version 1")
    blob, signed_namespace, reserved, hash_name, inner = unpack(body[len(_MAGIC) + 4 :], 5)
    raw = public_bytes(blob)
    if signed_namespace != namespace.encode():
        raise SignatureError(f"made for namespace {signed_namespace[:80]!r}, not {namespace!r}")
    if reserved or hash_name != HASH.encode():
        raise SignatureError(f"its hash is {hash_name[:40]!r}; only {HASH} is used here, with nothing reserved")
    name, proof = unpack(inner, 2)
    if name != ALGORITHM.encode():
        raise SignatureError(f"its algorithm is {name[:40]!r}; only {ALGORITHM} is used here")
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(proof, _signed_bytes(namespace, data))
    except InvalidSignature:
        raise SignatureError("the signature does not belong to these bytes") from None
    return public_line(raw)
