"""A machine whose NVML is a stand-in: tests/nvml_standin.c, compiled to a shared library under NVML's name.

There is no GPU where the tests run, so this is the one place with a stand-in. NVIDIA's own bindings load it and call it
through the real boundary. Processes, sandboxes, pipes and clocks are real. What a real driver answers, `nano-r1 doctor`
shows on a machine that has one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.tracks.track import ROOT

needs_bindings = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

H100 = """driver 580.95.05
nvml 13.580.95.05
cuda 13000
devices 2
"""
for number in (0, 1):
    H100 += f"""{number}.name NVIDIA H100 80GB HBM3
{number}.uuid GPU-{number}0000000-1111-2222-3333-444444444444
{number}.minor {number}
{number}.pci 00000000:c{number}:00.0
{number}.memory_total 85520809984
{number}.memory_used 4194304
{number}.max_sm_clock 1980
{number}.max_memory_clock 2619
{number}.sm_clock 1755
{number}.memory_clock 2619
{number}.power_limit 700000
{number}.power 400000
{number}.energy 1000000
{number}.utilisation 50
{number}.ecc 1
{number}.mig 0
{number}.persistence 1
{number}.processes{" "}
{number}.graphics{" "}
"""

# What a program that meets the stand-in begins with. `state` changes lines of the file, whole, between two readings.
PRELUDE = """
import dataclasses, json, os, re, sys, threading, time
from pathlib import Path
from harness.isolation import gpu, occupancy, sandbox

def state(**lines):
    path = Path(os.environ["NVML_STANDIN"])
    text = path.read_text()
    for name, value in lines.items():
        name = name.replace("_", ".", 1)
        text = re.sub(rf"^{name} .*\\n", "" if value is None else f"{name} {value}\\n", text, flags=re.MULTILINE)
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)

def say(value):
    print(json.dumps(value, default=dataclasses.asdict))
"""

REFUSED = """
try:
    say(list(map(str, gpu.lease(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).devices)))
except gpu.GpuError as error:
    say(str(error))
"""

# A real sandbox beside the stand-in: the trainer sleeps, and the driver is told that its processes hold a GPU.
SANDBOX = """
place = Path(os.environ["PLACE"])
for name in ("submission", "base", "output"):
    (place / name).mkdir()
    (place / name).chmod(0o755)
(place / "submission" / "train.py").write_text("import time; time.sleep(1)")
limits = sandbox.Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 22, output_bytes=1 << 20, log_bytes=1 << 16, processes=24, cores=1
)
mounts = sandbox.Mounts(place / "submission", place / "base", place / "output", None)
lease = gpu.lease("H100-SXM", 1, 80_000_000_000)
held = []

def descendants():
    pids = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if occupancy.is_alive(int(name)) and occupancy.may_descend_from(int(name), os.getpid()):
            pids.append(int(name))
    return pids

def run(on_tick):
    with lease.meter() as meter:
        def tick(elapsed_ms):
            meter.check_exclusive()
            on_tick(elapsed_ms)
        usage = sandbox.run(
            ["train.py"], mounts=mounts, limits=limits, level="full",
            hooks=sandbox.Hooks(on_tick=tick, wait_until_free=meter.wait_until_free),
        )
    return usage, meter.bill(usage.wall_ms)

def hold(elapsed_ms):
    if not held and elapsed_ms > 300:
        held.extend(descendants())
        state(**{"0_processes": " ".join(map(str, held)), "0_memory_used": 9 << 30})
"""


class Machine:
    """A process that has the stand-in for its NVML."""

    def __init__(self, library: Path, place: Path) -> None:
        self.library, self.place, self.state = library, place, place / "nvml"
        self.state.write_text(H100, encoding="utf-8")

    def run(self, program: str, *arguments: str, **variables: str) -> Any:
        own = {"LD_LIBRARY_PATH": str(self.library), "NVML_STANDIN": str(self.state), "PYTHONPATH": str(ROOT)}
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, *arguments],
            env=environment | own | variables, capture_output=True, encoding="utf-8", timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def open_to_all(place: Path) -> None:
    """For the sandbox's user to reach."""
    for path in (place, *place.parents):
        if path.parent.is_relative_to("/tmp"):
            path.chmod(0o755)


def add_nodes(place: Path, *names: str) -> None:
    """Device files of the stand-in driver, in place/dev."""
    for name in names:
        path = place / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(0o666)
