"""The command line of a sandbox is, byte for byte, the one that was written down.

`tests/data/sandbox/line.json` is for a machine that is made up below, without GPUs. It was first written on the code of
commit faad234, the last without GPUs. Whoever changes the sandbox on purpose writes it anew:
`python tests/isolation/test_sandbox_line.py`. The supervisor's text, which stands in the line too, is compared with
the file that it comes from.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from harness.isolation import command_line, supervisor
from harness.isolation.contract import Devices, Invocation, Limits, Mounts

WRITTEN = Path(__file__).parents[1] / "data" / "sandbox" / "line.json"
LIMITS = Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 22, output_bytes=1 << 20, log_bytes=1 << 16, processes=24, cores=2
)
PLACE = Path("/srv/nano-r1-place")  # that does not exist, so nothing of this machine is looked at
LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}


def lines(patch: pytest.MonkeyPatch, devices: Devices | None = None) -> dict[str, list[str]]:
    """The lines of root, of an ordinary user with the environment's socket, and of a machine without isolation."""
    patch.setattr(command_line, "unreadable", lambda path: None)
    patch.setattr(command_line, "HARNESS", Path("/opt/repository/harness"))
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
        mounts = Mounts(PLACE / "submission", PLACE / "base", PLACE / "output", socket)
        invocation = Invocation(["train.py"], mounts, LIMITS, level, devices)  # type: ignore[arg-type]
        line = command_line.command_line(invocation, None, 5, 6)
        code = next(i for i, word in enumerate(line) if "def supervise" in word)
        source, _, plan = line[code].rpartition("\nsupervise(")
        assert source == Path(supervisor.__file__).read_text(encoding="utf-8")
        line[code] = f"supervisor.py supervise({plan}"
        made[name] = line
    return made


def test_the_line_is_the_one_that_was_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        made = lines(patch)
    assert made == json.loads(WRITTEN.read_text(encoding="utf-8"))


def test_a_line_with_devices_is_that_line_and_their_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices([Path("/dev/nvidia0")], [Path("/sys/module/nvidia")], {"/sys/a": "/sys/b"})
    with monkeypatch.context() as patch:
        made = lines(patch, devices)
    binds = ["--dev-bind", "/dev/nvidia0", "/dev/nvidia0", "--ro-bind", "/sys/module/nvidia", "/sys/module/nvidia"]
    binds += ["--symlink", "/sys/b", "/sys/a"]
    for name, bare in json.loads(WRITTEN.read_text(encoding="utf-8")).items():
        end = bare.index("--remount-ro") if name != "none" else 0
        assert made[name] == bare[:end] + binds * (name != "none") + bare[end:]


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        made = lines(patch)
    WRITTEN.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
