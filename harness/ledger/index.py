"""The head of the log (index and checkpoint), and reading the files of a ledger.

index            one line an entry, oldest first: "<sha256 of its bytes> <its path>"
checkpoint       origin, number of lines, RFC 6962 root over the lines
checkpoint.sig   its SSHSIG
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.ledger import merkle
from harness.ledger.entries import SignedEntry, is_entry_path, parse_entry
from harness.ledger.errors import FileError
from harness.ledger.signature import LOG_NAMESPACE, Key, SignatureError, sign, verify
from harness.ledger.trust import Trust, parse_allowed_signers, parse_revoked_keys

ORIGIN = "nano-r1 log"
HEAD = ("index", "checkpoint", "checkpoint.sig")  # in the order in which they are put in place
TRUSTED = ("allowed_signers", "revoked_keys")  # written by people, never by the harness
_LINE = re.compile(r"([0-9a-f]{64}) ([a-z0-9_./-]{1,255})")
_CHECKPOINT = re.compile(rf"{ORIGIN}\n(0|[1-9][0-9]{{0,8}})\n([A-Za-z0-9+/]{{43}}=)\n".encode())

# The bytes of a file of a ledger, by its path inside it: a folder's, or a commit's. Raises FileError.
Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class Entry:
    """A line of the index."""

    sha256: str
    path: str

    @property
    def line(self) -> str:
        return f"{self.sha256} {self.path}"

    @property
    def folder(self) -> str:
        """The folder of a record; `log` for any other entry."""
        return self.path.partition("/")[0]


def read_file(folder: Path, relative: str) -> bytes:
    """The bytes of a regular file under the folder, never through a link. Raises FileError."""
    path = folder / relative
    try:
        if path.parent != folder and path.parent.is_symlink():
            raise FileError("file", relative, f"{path.parent.name} is a symbolic link")
        if not stat.S_ISREG(path.lstat().st_mode):
            raise FileError("file", relative, "not a regular file")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise FileError("file", relative, "missing") from None
    except OSError as error:
        raise FileError("file", relative, f"cannot be read: {error.strerror}") from None


# ------------------------------------------------------------------ the index


def parse_index(data: bytes) -> list[Entry]:
    """Raises FileError naming the line."""
    entries: list[Entry] = []
    paths: set[str] = set()
    text = data.decode("utf-8", "replace")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None or not is_entry_path(match[2]):
            raise FileError("index", "index", f"line {number} is not `<sha256> <path of an entry>`")
        if match[2] in paths:
            raise FileError("index", "index", f"line {number} lists {match[2]} again")
        paths.add(match[2])
        entries.append(Entry(match[1], match[2]))
    if data and not data.endswith(b"\n"):
        raise FileError("index", "index", "its last line is cut short")
    return entries


def read_index(folder: Path) -> list[Entry]:
    """The entries of a ledger, oldest first; none where there is no ledger yet. Raises FileError."""
    if not os.path.lexists(folder / "index"):
        if os.path.lexists(folder / "checkpoint"):
            raise FileError("index", "index", "missing, though there is a checkpoint")
        return []
    return parse_index(read_file(folder, "index"))


def leaves(entries: Sequence[Entry]) -> list[bytes]:
    """The Merkle leaves: the lines' bytes without newline."""
    return [entry.line.encode() for entry in entries]


# ------------------------------------------------------------------ the checkpoint


def make_checkpoint(entries: Sequence[Entry]) -> bytes:
    root = base64.b64encode(merkle.root(leaves(entries))).decode()
    return f"{ORIGIN}\n{len(entries)}\n{root}\n".encode()


def parse_checkpoint(data: bytes) -> tuple[int, bytes]:
    """(number of entries, Merkle root). Raises FileError."""
    match = _CHECKPOINT.fullmatch(data)
    if match is None:
        raise FileError("checkpoint", "checkpoint", f"not three lines: `{ORIGIN}`, a size, a base64 root")
    return int(match[1]), base64.b64decode(match[2])


def sign_head(entries: Sequence[Entry], key: Key) -> dict[str, bytes]:
    """Index, checkpoint and its signature for a log of these entries, by file name."""
    checkpoint = make_checkpoint(entries)
    index = "".join(f"{entry.line}\n" for entry in entries).encode()
    return {"index": index, "checkpoint": checkpoint, "checkpoint.sig": sign(key, LOG_NAMESPACE, checkpoint)}


def verify_checkpoint(read: Reader, entries: Sequence[Entry]) -> str:
    """The public key that signed the checkpoint over exactly these entries. Raises FileError naming the wrong file."""
    data = read("checkpoint")
    size, root = parse_checkpoint(data)
    try:
        public = verify(read("checkpoint.sig"), LOG_NAMESPACE, data)
    except SignatureError as error:
        # If the checkpoint still says what the index says, it is the signature that was changed.
        file = "checkpoint.sig" if data == make_checkpoint(entries) else "checkpoint"
        raise FileError("checkpoint", file, f"its signature is bad: {error}") from None
    if not merkle.consistent(size, root, leaves(entries)):
        raise FileError("checkpoint", "index", f"the {size} lines that the checkpoint signed were changed or cut")
    if size < len(entries):
        raise FileError("checkpoint", "index", f"{len(entries) - size} lines follow those that the checkpoint signed")
    return public


# ------------------------------------------------------------------ entries, and whom to trust


def read_entry(read: Reader, entry: Entry, path: str | None = None) -> SignedEntry:
    """Raises FileError if it is missing, changed, unsigned or malformed. `path`: where it belongs, if elsewhere."""
    data = read(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise FileError("hash", entry.path, "its SHA-256 is not the one in the index")
    return parse_entry(path or entry.path, data, read(f"{entry.path}.sig"))


def read_trust(folder: Path) -> Trust:
    """Whose signatures count; without the two files, nobody's. Raises FileError."""

    def text(name: str) -> str:
        return read_file(folder, name).decode() if os.path.lexists(folder / name) else ""

    name = "allowed_signers"
    try:
        signers = tuple(parse_allowed_signers(text(name)))
        name = "revoked_keys"
        return Trust(signers, parse_revoked_keys(text(name)))
    except (SignatureError, UnicodeDecodeError) as error:
        raise FileError("signers", name, str(error)) from None
