"""SSHSIG signatures (openssh PROTOCOL.sshsig) with Ed25519, and the list of whose signatures count.

A record is signed over its exact bytes, so that a reader who trusts none of this code checks it with

    ssh-keygen -Y verify -f records/allowed_signers -I NAME -n nano-r1-record-v1 -s record.json.sig < record.json

and, once the key's narrow window is over, with `-Overify-time=20261120181530Z`, the record's created_utc.
Reading is stricter than OpenSSH's: one algorithm, one hash, one byte form. A signature that could be
written in two ways could be changed without anybody noticing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
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


def _pack(*strings: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(string)) + string for string in strings)


def _take(data: bytes) -> tuple[bytes, bytes]:
    """The string that `data` begins with, and the rest."""
    if len(data) < 4 or len(data) - 4 < (size := struct.unpack_from(">I", data)[0]):
        raise SignatureError("cut short")
    return data[4 : 4 + size], data[4 + size :]


def _unpack(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` strings, and nothing after them."""
    strings = []
    for _ in range(count):
        string, data = _take(data)
        strings.append(string)
    if data:
        raise SignatureError("bytes follow its end")
    return strings


def _armour(label: str, data: bytes) -> bytes:
    """The text form that OpenSSH writes: 70 columns of base64 between two marks."""
    text = base64.b64encode(data).decode()
    lines = [text[i : i + 70] for i in range(0, len(text), 70)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _dearmour(label: str, armoured: bytes) -> bytes:
    """The bytes inside, if they are in the one form that `_armour` writes."""
    lines = armoured.split(b"\n")
    try:
        data = base64.b64decode(b"".join(lines[1:-2]), validate=True)
    except ValueError:
        data = b""
    if _armour(label, data) != armoured:
        raise SignatureError(f"not the text form of an {label}")
    return data


def _public_line(raw: bytes) -> str:
    return f"{ALGORITHM} {base64.b64encode(_pack(ALGORITHM.encode(), raw)).decode()}"


def _public_raw(blob: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key in wire form."""
    name, rest = _take(blob)
    if name != ALGORITHM.encode():
        raise SignatureError(f"its algorithm is {name[:40]!r}; only {ALGORITHM} is used here")
    (raw,) = _unpack(rest, 1)
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
    blob = _pack(ALGORITHM.encode(), raw)
    # openssh PROTOCOL.key. Written here because the library's writer leaves the comment out, and the
    # comment is where the identity lives.
    check = secrets.token_bytes(4)
    secret = check + check + _pack(ALGORITHM.encode(), raw, seed + raw, identity.encode())
    secret += bytes(range(1, 1 + -len(secret) % 8))
    body = _KEY_MAGIC + _pack(b"none", b"none", b"") + struct.pack(">I", 1) + _pack(blob, secret)
    line = f"{_public_line(raw)} {identity}"
    public = path.with_name(path.name + ".pub")
    if public.exists():
        raise SignatureError(f"{public} exists; a key is never overwritten: choose another name or remove it")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, _armour("OPENSSH PRIVATE KEY", body), 0o600)
        _write_new(public, f"{line}\n".encode(), 0o644)
    except FileExistsError as error:
        raise SignatureError(f"{error.filename} exists; a key is never overwritten: choose another name") from None
    except OSError as error:
        raise SignatureError(f"cannot write {error.filename or path}: {error.strerror}") from None
    return line


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


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
        return _parse_key(_dearmour("OPENSSH PRIVATE KEY", data))
    except SignatureError as error:
        raise SignatureError(f"{path}: not a usable private key: {error}") from None


def _parse_key(body: bytes) -> Key:
    if not body.startswith(_KEY_MAGIC):
        raise SignatureError("not an OpenSSH private key")
    cipher, rest = _take(body[len(_KEY_MAGIC) :])
    _, rest = _take(rest)
    _, rest = _take(rest)
    if rest[:4] != struct.pack(">I", 1):
        raise SignatureError("it does not hold exactly one key")
    blob, secret = _unpack(rest[4:], 2)
    raw = _public_raw(blob)
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
    return Key(private, identity, _public_line(raw))


# ------------------------------------------------------------------ signatures


def _signed_bytes(namespace: str, data: bytes) -> bytes:
    return _MAGIC + _pack(namespace.encode(), b"", HASH.encode(), hashlib.sha512(data).digest())


def sign(key: Key, namespace: str, data: bytes) -> bytes:
    """The armoured SSHSIG of `data`: byte for byte what `ssh-keygen -Y sign` writes."""
    blob = base64.b64decode(key.public.split(" ")[1])
    signature = _pack(ALGORITHM.encode(), key.private.sign(_signed_bytes(namespace, data)))
    body = _pack(blob, namespace.encode(), b"", HASH.encode(), signature)
    return _armour("SSH SIGNATURE", _MAGIC + struct.pack(">I", 1) + body)


def verify(signature: bytes, namespace: str, data: bytes) -> str:
    """The public key `ssh-ed25519 AAAA…` that signed `data` in `namespace`. Raises SignatureError.

    It says who signed, not whether to believe them: that is `listed`.
    """
    body = _dearmour("SSH SIGNATURE", signature)
    if not body.startswith(_MAGIC + struct.pack(">I", 1)):
        raise SignatureError("not an SSHSIG of version 1")
    blob, space, reserved, hash_name, inner = _unpack(body[len(_MAGIC) + 4 :], 5)
    raw = _public_raw(blob)
    if space != namespace.encode():
        raise SignatureError(f"made for namespace {space[:80]!r}, not {namespace!r}")
    if reserved or hash_name != HASH.encode():
        raise SignatureError(f"its hash is {hash_name[:40]!r}; only {HASH} is used here, with nothing reserved")
    name, proof = _unpack(inner, 2)
    if name != ALGORITHM.encode():
        raise SignatureError(f"its algorithm is {name[:40]!r}; only {ALGORITHM} is used here")
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(proof, _signed_bytes(namespace, data))
    except InvalidSignature:
        raise SignatureError("the signature does not belong to these bytes") from None
    return _public_line(raw)


# ------------------------------------------------------------------ allowed_signers


@dataclass(frozen=True)
class Signer:
    """One line of allowed_signers. No namespaces: any. No time: no bound; both bounds belong to the window."""

    identity: str
    public: str
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None


# OpenSSH reads a bare time in the time zone of whoever checks. The Z for UTC came with OpenSSH 9.1 (2022);
# an older one calls such a line invalid and refuses the signature, so it errs on the safe side.
_TIME = "%Y%m%d%H%M%SZ"
_OPTION = r'(?:namespaces|valid-after|valid-before)="[^"\\]*"'
_LINE = re.compile(rf"(\S+) (?:({_OPTION}(?:,{_OPTION})*) )?{ALGORITHM} ([A-Za-z0-9+/=]+)")
_PATTERN = re.compile(r"[A-Za-z0-9._@*?-]+")


def parse_allowed_signers(text: str) -> list[Signer]:
    """The lines of an allowed_signers file. Raises SignatureError naming the line.

    A strict part of what OpenSSH reads, so that both always agree: one plain identity a line, Ed25519 keys,
    UTC times, no negated patterns and no certificate authorities. Blank lines and `#` lines are skipped.
    """
    signers = []
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.startswith("#"):
            try:
                signers.append(_parse_signer(line))
            except SignatureError as error:
                raise SignatureError(f"line {number}: {error}") from None
    return signers


def _parse_signer(line: str) -> Signer:
    match = _LINE.fullmatch(line)
    if match is None:
        raise SignatureError(f'not of the form: identity namespaces="…",valid-after="…",… {ALGORITHM} AAAA…')
    identity, options, key = match.groups()
    check_identity(identity)
    public = _parse_public(key)
    pairs = re.findall(r'([a-z-]+)="([^"]*)"', options or "")
    values = dict(pairs)
    if len(values) != len(pairs):
        raise SignatureError("an option stands there twice")
    namespaces = tuple(values["namespaces"].split(",")) if "namespaces" in values else ()
    for pattern in namespaces:
        if not _PATTERN.fullmatch(pattern):
            raise SignatureError(f"{pattern!r} is not a namespace or a pattern of * and ?")
    after, before = (_parse_time(values[name]) if name in values else None for name in ("valid-after", "valid-before"))
    if after and before and before <= after:  # OpenSSH refuses such a line too
        raise SignatureError("valid-before is not later than valid-after")
    return Signer(identity, public, namespaces, after, before)


def _parse_public(key: str) -> str:
    """`ssh-ed25519 AAAA…` from the base64 of a public key, which must be in its one form."""
    try:
        public = _public_line(_public_raw(base64.b64decode(key, validate=True)))
    except SignatureError:
        raise
    except ValueError:
        public = ""
    if public != f"{ALGORITHM} {key}":
        raise SignatureError("its key is not canonical base64")
    return public


def _parse_time(text: str) -> datetime:
    try:
        if re.fullmatch(r"[0-9]{14}Z", text):
            return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise SignatureError(f"{text!r} is not a time in UTC, YYYYMMDDHHMMSSZ (without Z it would be local time)")


def allowed_line(public_line: str, identity: str, valid_after: datetime, valid_before: datetime) -> str:
    """The line (no newline) that lists a key for both namespaces, from and to these seconds, both included."""
    public = " ".join(public_line.split(" ")[:2])
    after, before = (moment.astimezone(UTC).strftime(_TIME) for moment in (valid_after, valid_before))
    spaces = f"{RECORD_NAMESPACE},{LOG_NAMESPACE}"
    line = f'{identity} namespaces="{spaces}",valid-after="{after}",valid-before="{before}" {public}'
    _parse_signer(line)
    return line


def listed(signers: Iterable[Signer], identity: str, public: str, namespace: str, when: datetime) -> bool:
    """Does a line list this key under this identity, for this namespace, at this (aware) time?"""
    return any(
        signer.identity == identity
        and signer.public == public
        and (not signer.namespaces or any(fnmatchcase(namespace, pattern) for pattern in signer.namespaces))
        and (signer.valid_after is None or signer.valid_after <= when)
        and (signer.valid_before is None or when <= signer.valid_before)
        for signer in signers
    )


def narrowed(old: Signer, new: Signer) -> bool:
    """Does `new` list the same key as `old`, for the same uses, at no time at which `old` did not?"""
    return (
        (old.identity, old.public, old.namespaces) == (new.identity, new.public, new.namespaces)
        and (old.valid_after is None or (new.valid_after is not None and old.valid_after <= new.valid_after))
        and (old.valid_before is None or (new.valid_before is not None and new.valid_before <= old.valid_before))
    )


# ------------------------------------------------------------------ revoked_keys


_REVOKED = re.compile(rf"{ALGORITHM} ([A-Za-z0-9+/=]+)( [^\x00-\x1f\x7f]*)?")


def parse_revoked_keys(text: str) -> frozenset[str]:
    """The keys `ssh-ed25519 AAAA…` of a revocation list. Raises SignatureError naming the line.

    The plain form that `ssh-keygen -Y verify -r` reads, with which both always agree: one public key a line, a
    comment after it if you like. Blank lines and `#` lines are skipped. OpenSSH knows no date here: a revoked key
    is refused whenever it signed.
    """
    keys = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.startswith("#"):
            match = _REVOKED.fullmatch(line)
            try:
                if match is None:
                    raise SignatureError(f"not of the form: {ALGORITHM} AAAA… comment")
                keys.add(_parse_public(match[1]))
            except SignatureError as error:
                raise SignatureError(f"line {number}: {error}") from None
    return frozenset(keys)


@dataclass(frozen=True)
class Trust:
    """Whom to believe: the lines of allowed_signers, and the keys of revoked_keys."""

    signers: tuple[Signer, ...] = ()
    revoked: frozenset[str] = frozenset()

    @cached_property
    def names(self) -> dict[str, list[Signer]]:
        """The lines of each identity: several when its key was changed."""
        lines: dict[str, list[Signer]] = {}
        for signer in self.signers:
            lines.setdefault(signer.identity, []).append(signer)
        return lines

    @cached_property
    def keys(self) -> dict[str, set[str]]:
        """The identities that each key is listed for."""
        owners: dict[str, set[str]] = {}
        for signer in self.signers:
            owners.setdefault(signer.public, set()).add(signer.identity)
        return owners

    def lists(self, identity: str, public: str, namespace: str, when: datetime) -> bool:
        """Is this key listed under this identity, for this namespace, at this time, revoked or not?"""
        return listed(self.names.get(identity, ()), identity, public, namespace, when)
