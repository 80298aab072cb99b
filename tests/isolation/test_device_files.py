"""Real character devices through the sandbox's binds: those of the lease can be opened inside, and no others."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import needs_sandbox
from nvml_machine import Machine, needs_bindings, open_to_all

NAMES = ("nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1")
ZERO = os.makedev(1, 5)  # the kernel's /dev/zero under another name: reads of it show that a device answers


@pytest.fixture
def devices() -> Iterator[Path]:
    """A folder in /dev with the driver's device files, made for this test alone."""
    folder = Path(f"/dev/nano-r1-test-{os.getpid()}")
    try:
        folder.mkdir()
        folder.chmod(0o755)
        for name in NAMES:
            os.mknod(folder / name, stat.S_IFCHR | 0o666, ZERO)
            (folder / name).chmod(0o666)
        (folder / NAMES[0]).open("rb").close()
    except PermissionError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"device files cannot be made or opened here: {error}")
    yield folder
    shutil.rmtree(folder)


RUN = """
place, gpu.DEV = Path(os.environ["PLACE"]), Path(os.environ["DEVICES"])
for name in ("submission", "base", "output"):
    (place / name).mkdir()
    (place / name).chmod(0o755)
(place / "submission" / "train.py").write_text(f'''
import os, stat
for name in {sys.argv[1:]!r}:
    path = {str(gpu.DEV)!r} + "/" + name
    try:
        with open(path, "r+b", buffering=0) as device:
            print(name, stat.S_ISCHR(os.fstat(device.fileno()).st_mode), device.read(2), device.write(b"x"))
    except OSError as error:
        print(name, error.strerror)
try:
    os.mknod("/tmp/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
except OSError as error:
    print("mknod", error.strerror)
''')
limits = sandbox.Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 22, output_bytes=1 << 20, log_bytes=1 << 16, processes=24, cores=1
)
mounts = sandbox.Mounts(place / "submission", place / "base", place / "output", None)
leased = gpu.lease("H100-SXM", 1, 80_000_000_000).sandbox_devices("full")
plain = sandbox.Devices(folders=leased.nodes)  # bound as files are: to read, and not as devices
answers = []
for given in (leased, plain):
    usage = sandbox.run(["train.py"], mounts=mounts, limits=limits, level="full", devices=given)
    answers.append([usage.failure, usage.log.decode().splitlines()])
say(answers)
"""


@needs_sandbox
@needs_bindings
def test_the_device_files_of_the_lease_open_inside_and_no_others(machine: Machine, devices: Path) -> None:
    open_to_all(machine.place)
    leased, plain = machine.run(RUN, *NAMES, PLACE=str(machine.place), DEVICES=str(devices))
    opened = [f"{name} True b'\\x00\\x00' 1" for name in NAMES[:3]]
    refused = ["nvidia1 No such file or directory", "mknod Operation not permitted"]
    assert leased == [None, [*opened, *refused]]
    assert plain == [None, [*(f"{name} Permission denied" for name in NAMES[:3]), *refused]]
