"""Files that no reader, crash or power cut sees half of, and the digest of a tree of files."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SOCKET_PATH = 107  # bytes that the path of a socket may have, see unix(7)
BELOW = 64  # of them for what comes below the temporary folder


def socket_parent() -> Path:
    """Where to make a short-lived folder with a socket in it: the temporary folder, or /tmp if its path is too long."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= SOCKET_PATH - BELOW else Path("/tmp")


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    It is written beside `path` under another name, flushed to the disk and renamed. `private`: only its owner may read
    it. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:  # an interrupt too
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Replace the file at `path`, or make it, in one step. Text is written as UTF-8. Raises OSError."""
    with replacing(path, private=private) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk: a power cut takes back what is not. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """In hex, of a file of any size. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over `<sha256>  <path>` lines, a line for each relative path: `sha256sum` of `sha256sum`'s output."""
    lines = [f"{sha256_of(folder / path)}  {path.as_posix()}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
