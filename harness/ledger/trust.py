"""Whose signatures count: the files allowed_signers and revoked_keys, in the forms that OpenSSH reads.

Both are read as a strict part of what OpenSSH reads, so that `ssh-keygen -Y verify` and this code always agree.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TypeVar

from harness.ledger.signature import (
    ALGORITHM,
    LOG_NAMESPACE,
    RECORD_NAMESPACE,
    SignatureError,
    check_identity,
    public_bytes,
    public_line,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Signer:
    """One line of allowed_signers. No namespaces: any. No time: no bound; both bounds belong to the window."""

    identity: str
    public: str
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None


@dataclass(frozen=True)
class Trust:
    """The lines of allowed_signers, and the keys of revoked_keys."""

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


# ------------------------------------------------------------------ the two files

# OpenSSH reads a bare time in the time zone of whoever checks. The Z for UTC came with OpenSSH 9.1 (2022);
# an older one calls such a line invalid and refuses the signature, so it errs on the safe side.
_TIME = "%Y%m%d%H%M%SZ"
_OPTION = r'(?:namespaces|valid-after|valid-before)="[^"\\]*"'
_SIGNER = re.compile(rf"(\S+) (?:({_OPTION}(?:,{_OPTION})*) )?{ALGORITHM} ([A-Za-z0-9+/=]+)")
_PATTERN = re.compile(r"[A-Za-z0-9._@*?-]+")
_REVOKED = re.compile(rf"{ALGORITHM} ([A-Za-z0-9+/=]+)( [^\x00-\x1f\x7f]*)?")


def parse_allowed_signers(text: str) -> list[Signer]:
    """The lines of an allowed_signers file. Raises SignatureError naming the line.

    One plain identity a line, Ed25519 keys, UTC times, no negated patterns and no certificate authorities. Blank lines
    and `#` lines are skipped.
    """
    return _parse_lines(text, _parse_signer)


def parse_revoked_keys(text: str) -> frozenset[str]:
    """The keys `ssh-ed25519 AAAA…` of a revocation list. Raises SignatureError naming the line.

    The plain form that `ssh-keygen -Y verify -r` reads: one public key a line, a comment after it if you like. Blank
    lines and `#` lines are skipped. OpenSSH knows no date here: a revoked key is refused whenever it signed.
    """
    return frozenset(_parse_lines(text, _parse_revoked_key))


def allowed_line(public_key: str, identity: str, valid_after: datetime, valid_before: datetime) -> str:
    """The line (no newline) that lists a key for both namespaces, from and to these seconds, both included."""
    public = " ".join(public_key.split(" ")[:2])
    after, before = (moment.astimezone(UTC).strftime(_TIME) for moment in (valid_after, valid_before))
    namespaces = f"{RECORD_NAMESPACE},{LOG_NAMESPACE}"
    line = f'{identity} namespaces="{namespaces}",valid-after="{after}",valid-before="{before}" {public}'
    _parse_signer(line)
    return line


def _parse_lines(text: str, parse: Callable[[str], T]) -> list[T]:
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.startswith("#"):
            try:
                values.append(parse(line))
            except SignatureError as error:
                raise SignatureError(f"line {number}: {error}") from None
    return values


def _parse_signer(line: str) -> Signer:
    match = _SIGNER.fullmatch(line)
    if match is None:
        raise SignatureError(f'not of the form: identity namespaces="…",valid-after="…",… {ALGORITHM} AAAA…')
    identity, options, key = match.groups()
    check_identity(identity)
    public = _parse_public_key(key)
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


def _parse_revoked_key(line: str) -> str:
    match = _REVOKED.fullmatch(line)
    if match is None:
        raise SignatureError(f"not of the form: {ALGORITHM} AAAA… comment")
    return _parse_public_key(match[1])


def _parse_public_key(key: str) -> str:
    """`ssh-ed25519 AAAA…` from the base64 of a public key, which must be in its one form."""
    try:
        blob = base64.b64decode(key, validate=True)
    except ValueError:
        blob = None
    if blob is None or (public := public_line(public_bytes(blob))) != f"{ALGORITHM} {key}":
        raise SignatureError("its key is not canonical base64")
    return public


def _parse_time(text: str) -> datetime:
    try:
        if re.fullmatch(r"[0-9]{14}Z", text):
            return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise SignatureError(f"{text!r} is not a time in UTC, YYYYMMDDHHMMSSZ (without Z it would be local time)")
