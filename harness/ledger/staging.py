"""Putting several files of a ledger in place at once, so that a crash leaves all of them changed or none.

An append changes the entry's own files, the index, the checkpoint and its signature, and no file system renames
several files at once. So: write all of them, finished and signed, into .next.tmp; fsync; rename .next.tmp to .next.
That rename is the commit point. Then move the pieces to their places (the entry first, so no index line ever points
at nothing, then index, checkpoint, checkpoint.sig) and remove .next.

    killed before the rename: .next.tmp is left; the next writer deletes it, and nothing was added.
    killed after it:          .next is left; the next writer moves what has not been moved yet.

Either way the outcome is one of two, is reached by repeating the same steps, and needs no key. A full disk shows up
while writing .next.tmp, when nothing in place has been touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.files import sync
from harness.ledger.errors import LedgerError
from harness.ledger.index import HEAD

STAGING, STAGED = ".next.tmp", ".next"


def interrupted(folder: Path) -> bool:
    """Did an append stop after its commit point, so that the next writer puts it in place?"""
    return os.path.lexists(folder / STAGED)


@contextmanager
def write_lock(folder: Path) -> Iterator[bool]:
    """Hold the ledger's lock, with what an interrupted append left cleared up; yields whether there was anything.

    Raises LedgerError for any OSError inside, which says whether the entry was added.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, however the process ends
            yield _move_into_place(folder)
    except OSError as error:
        outcome = (
            "the entry is safe, and the next append puts it in place" if interrupted(folder) else "nothing was added"
        )
        raise LedgerError(f"cannot write the ledger: {error.filename or folder}: {error.strerror}; {outcome}") from None


def put_in_place(folder: Path, files: Mapping[str, bytes]) -> None:
    """Under the lock: write or replace these files, by their paths in the ledger, all or none. Raises OSError."""
    staging = folder / STAGING
    try:
        staging.mkdir()
        for name, data in files.items():
            path = staging / name
            path.parent.mkdir(exist_ok=True)
            with open(path, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for parent in {(staging / name).parent for name in files}:
            sync(parent)
        staging.rename(folder / STAGED)
    except BaseException:  # an interrupt too: nothing half-written
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync(folder)
    _move_into_place(folder)


def _move_into_place(folder: Path) -> bool:
    """Move what stands in .next to its place. Safe to repeat, whatever was moved before."""
    staging, staged = folder / STAGING, folder / STAGED
    was_interrupted = staging.exists() or staged.exists()
    if staging.exists():
        shutil.rmtree(staging)
    if staged.exists():
        for item in sorted(set(os.listdir(staged)) - set(HEAD)):
            if item == "log":
                (folder / "log").mkdir(exist_ok=True)
                for piece in sorted(os.listdir(staged / "log")):
                    os.replace(staged / "log" / piece, folder / "log" / piece)
                sync(folder / "log")
            else:
                os.replace(staged / item, folder / item)
        sync(folder)
        for name in HEAD:
            if (staged / name).exists():
                os.replace(staged / name, folder / name)
        sync(folder)
        shutil.rmtree(staged)
    return was_interrupted
