"""Programs that nobody trusts, in the sandbox: what the grader of programs runs its examiner with."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness import files
from harness.answers import exam
from harness.isolation import sandbox
from harness.isolation.sandbox import Limits, Mounts

HAND_OVER_SECONDS = 60  # for a script to read what it is given


def run(
    script: Path, arguments: Sequence[str], data: bytes, *, seconds: int, memory_bytes: int
) -> tuple[str | None, bytes]:
    """A harness.answers.code.ProgramRunner. Raises SandboxError where the machine cannot run a sandbox."""
    limits = Limits(
        seconds=seconds,
        memory_bytes=memory_bytes,
        shm_bytes=64 << 20,
        output_bytes=1 << 20,
        log_bytes=1 << 16,
        processes=32,
        cores=1,
    )
    with tempfile.TemporaryDirectory(prefix="nano-r1-exam-", dir=files.socket_parent()) as name:
        place = Path(name)
        for folder in (place / "submission", place / "base", place / "output"):
            folder.mkdir()
        (place / "submission" / script.name).write_bytes(script.read_bytes())
        for path in (place, *place.rglob("*")):  # the sandbox user must be able to read them, whatever the umask
            path.chmod(0o755)
        mounts = Mounts(place / "submission", place / "base", place / "output", place / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / "socket"))
            listener.listen(1)
            giver = threading.Thread(target=_hand_over, args=(listener, data))
            giver.start()
            try:
                usage = sandbox.run([*exam.FLAGS, script.name, *arguments], mounts=mounts, limits=limits, level="full")
            finally:
                with suppress(OSError):  # closed already if the script came
                    listener.shutdown(socket.SHUT_RDWR)
                giver.join()
    return usage.failure, usage.log


def _hand_over(listener: socket.socket, data: bytes) -> None:
    """To the first that comes, which is the examiner: no program runs before it has this. No second may come."""
    with suppress(OSError):
        connection, _ = listener.accept()
        listener.close()
        with connection:
            connection.settimeout(HAND_OVER_SECONDS)
            connection.sendall(data)
