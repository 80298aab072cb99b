"""The command line of a sandbox without GPUs is, byte for byte, that of before there were any.

`tests/data/sandbox/line.json` was written by `python tests/isolation/test_sandbox_line.py` on the code of commit faad234, the
last without GPUs, for a machine that is made up below. Whoever changes the sandbox of the CPU tracks on purpose writes
it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.isolation import sandbox

WRITTEN = Path(__file__).parents[1] / "data" / "sandbox" / "line.json"
LIMITS = sandbox.Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 22, output_bytes=1 << 20, log_bytes=1 << 16, processes=24, cores=2
)
PLACE = Path("/srv/nano-r1-place")  # that does not exist, so nothing of this machine is looked at
LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}


def lines(patch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The lines of root, of an ordinary user with the environment's socket, and of a machine without isolation."""
    patch.setattr(sandbox, "_closed", lambda path: None)
    patch.setattr(sandbox, "HARNESS", Path("/opt/repository/harness"))
    patch.setattr(sys, "executable", "/opt/repository/.venv/bin/python")
    patch.setattr(sys, "prefix", "/opt/repository/.venv")
    patch.setattr(sys, "base_prefix", "/opt/python")
    patch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    patch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}[name])
    patch.setattr(os.path, "islink", lambda name: name in LINKS)
    patch.setattr(os.path, "isdir", lambda name: False)
    patch.setattr(os, "readlink", LINKS.__getitem__)
    made: dict[str, list[str]] = {}
    for name, user, level, socket in (
        ("root", 0, "full", None),
        ("user", 1000, "full", PLACE / "socket"),
        ("none", 1000, "none", PLACE / "socket"),
    ):
        patch.setattr(os, "geteuid", lambda user=user: user)
        mounts = sandbox.Mounts(PLACE / "submission", PLACE / "base", PLACE / "output", socket)
        line: list[Any] = sandbox._command(["train.py"], mounts, LIMITS, level, None, 5, 6)  # type: ignore[arg-type]
        code = next(i for i, word in enumerate(line) if "def _supervise" in word)
        source, _, plan = line[code].partition("\n_supervise(")  # its text would only be a second copy of it
        line[code] = f"{hashlib.sha256(source.encode()).hexdigest()} _supervise({plan}"
        made[name] = line
    return made


def test_the_line_without_gpus_is_that_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        found = lines(patch)
    assert found == json.loads(WRITTEN.read_text())


def test_a_line_with_devices_is_that_line_and_their_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = sandbox.Devices([Path("/dev/nvidia0")], [Path("/sys/module/nvidia")], {"/sys/a": "/sys/b"})
    bare = sandbox._command
    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "_command", lambda *arguments: bare(*arguments, devices))
        found = lines(patch)
    theirs = ["--dev-bind", "/dev/nvidia0", "/dev/nvidia0", "--ro-bind", "/sys/module/nvidia", "/sys/module/nvidia"]
    theirs += ["--symlink", "/sys/b", "/sys/a"]
    for name, before in json.loads(WRITTEN.read_text()).items():
        end = before.index("--remount-ro") if name != "none" else 0
        assert found[name] == before[:end] + theirs * (name != "none") + before[end:]


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        found = lines(patch)
    WRITTEN.write_text(json.dumps(found, indent=1) + "\n")
