"""What a run leaves: /output, held open by a descriptor, and its log."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from harness.isolation.contract import Level, SandboxError

WEIGHTS = "model.safetensors"  # the one file that comes out


class Log:
    """What came down the pipe, kept up to a limit, so that a flood fills neither memory nor disk."""

    def __init__(self, limit: int) -> None:
        self._kept, self._limit, self.over = bytearray(), limit, False

    def read(self, pipe: int) -> bool:
        """Take what is there, at most 64 KiB. False: nothing there, or the end."""
        try:
            data = os.read(pipe, 65536)
        except BlockingIOError:
            return False
        room = self._limit - len(self._kept)
        self._kept += data[:room]
        self.over = self.over or len(data) > room
        return bool(data)

    def text(self) -> bytes:
        return bytes(self._kept)


def whole_pages(size: int) -> int:
    """This many bytes, rounded up to whole pages: what a tmpfs counts."""
    page = os.sysconf("SC_PAGE_SIZE")
    return (size + page - 1) // page * page


def used_bytes(output: int, level: Level) -> int:
    """What the folder behind this descriptor takes: at level full a tmpfs of its own, else the files in it."""
    if level == "full":
        volume = os.fstatvfs(output)
        return (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    used = 0
    for entry in os.scandir(output):
        with suppress(FileNotFoundError):  # a draft that was renamed meanwhile
            used += entry.stat(follow_symlinks=False).st_blocks * 512
    return used


def copy_weights(output: int, target: Path, limit: int) -> str | None:
    """Copy the weights out of a dead sandbox's /output. Returns the failure, or None.

    A missing file is left for the checkpoint reader to report. Raises SandboxError where the copy cannot be written.
    """
    try:
        source = os.open(WEIGHTS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=output)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{WEIGHTS} is not a plain file: {error.strerror}"
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(source)
        return f"{WEIGHTS} is not a plain file"
    with open(source, "rb") as file:
        if status.st_size > limit:  # sparse: a hole takes no space
            return f"output over {limit} bytes"
        try:
            with open(target / WEIGHTS, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
        except OSError as error:
            raise SandboxError(f"cannot copy the weights to {target}: {error.strerror}") from None
    return None
