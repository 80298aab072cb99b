"""NVML, and what is made of its answers.

There is no GPU where these tests run, so this is the one place with a stand-in: tests/nvml_standin.c, compiled here
to a shared library under NVML's name, which NVIDIA's own bindings load and call through the real boundary. Processes,
sandboxes, pipes and clocks are real. What a real driver answers, `nano-r1 doctor` shows on a machine that has one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.audit.audit import audit
from harness.isolation import gpu, sandbox
from harness.isolation.gpu import (
    MOST_MILLIWATTS,
    Counter,
    Device,
    Gauge,
    GpuError,
    Integral,
    Reading,
    bill,
    fits,
    growth,
    visible,
)
from harness.ledger import log, record
from harness.ledger.log import Finding
from harness.tracks.track import load

ROOT = Path(__file__).resolve().parents[2]
ISOLATION = sandbox.isolation()
needs_sandbox = pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons))
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
from harness.isolation import gpu, sandbox

def state(**lines):
    path = Path(os.environ["NVML_STANDIN"])
    text = path.read_text()
    for name, value in lines.items():
        name = name.replace("_", ".", 1)
        text = re.sub(rf"^{name} .*\\n", "" if value is None else f"{name} {value}\\n", text, flags=re.MULTILINE)
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)

def say(value):
    print(json.dumps(value))
"""


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    folder.chmod(0o755)
    source, target = ROOT / "tests" / "nvml_standin.c", folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", target, source], check=True)
    return folder


class Machine:
    """A process that has the stand-in for its NVML."""

    def __init__(self, library: Path, place: Path) -> None:
        self.library, self.place, self.state = library, place, place / "nvml"
        self.state.write_text(H100)

    def run(self, program: str, *arguments: str, **variables: str) -> Any:
        found = {"LD_LIBRARY_PATH": str(self.library), "NVML_STANDIN": str(self.state), "PYTHONPATH": str(ROOT)}
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, *arguments],
            env=environment | found | variables, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def machine(nvml: Path, tmp_path: Path) -> Machine:
    return Machine(nvml, tmp_path)


REFUSED = """
try:
    say(list(map(str, gpu.lease(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).devices)))
except gpu.GpuError as error:
    say(str(error))
"""

# ---------------------------------------------------------------- what is there


@needs_bindings
def test_the_attestation_says_what_the_driver_says(machine: Machine) -> None:
    program = "say(gpu.lease('H100-SXM', 2, 80_000_000_000).attest(bytes(32)).model_dump())"
    found = machine.run(program)
    assert (found["driver"], found["nvml"], found["cuda"]) == ("580.95.05", "13.580.95.05", "13.0")
    assert found["libraries"]["nvidia-ml-py"]
    hashes = [each.pop("uuid_sha256") for each in found["devices"]]
    assert hashes == [
        hashlib.sha256(bytes(32) + f"GPU-{n}0000000-1111-2222-3333-444444444444".encode()).hexdigest() for n in (0, 1)
    ]
    assert found["devices"] == 2 * [
        {
            "model": "NVIDIA H100 80GB HBM3", "memory_bytes": 85_520_809_984, "max_sm_clock_mhz": 1980,
            "max_memory_clock_mhz": 2619, "power_limit_milliwatts": 700_000, "ecc": True, "mig": False,
            "persistence": True,
        }
    ]  # fmt: skip
    other = machine.run("say(gpu.lease('any', 1, 1).attest(bytes(31) + b'1').model_dump())")
    assert other["devices"][0]["uuid_sha256"] not in hashes
    assert "GPU-" not in json.dumps(other)


@needs_bindings
def test_what_a_driver_does_not_support_is_none_and_never_an_error(machine: Machine) -> None:
    machine.state.write_text(
        "devices 1\n0.name NVIDIA T4\n0.uuid GPU-0\n0.memory_total 16000000000\n0.memory_used 1048576\n"
    )
    found = machine.run("""
lease = gpu.lease("any", 1, 15_000_000_000)
lease.wait_until_empty()
with gpu.Meter(lease) as meter:
    time.sleep(0.5)
    freed = meter.until_free()
say([lease.attest(bytes(32)).model_dump(), freed, meter.bill(500).model_dump()])
""")
    attested, freed, used = found
    device = attested.pop("devices")[0]
    assert (attested["driver"], attested["nvml"], attested["cuda"]) == (None, None, None)
    assert {name for name, value in device.items() if value is not None} == {"model", "uuid_sha256", "memory_bytes"}
    assert freed is None
    assert {name for name, value in used.items() if value is not None} == {
        "devices", "gpu_ms", "release_ms", "readings", "peak_memory_bytes",
    }  # fmt: skip


@needs_bindings
@pytest.mark.parametrize(
    ("state", "asked", "said"),
    [
        (H100, ("H100-SXM", 2, 80_000_000_000), ["NVIDIA H100 80GB HBM3 (86 GB)"] * 2),
        (H100, ("any", 1, 16_000_000_000), ["NVIDIA H100 80GB HBM3 (86 GB)"]),
        (H100, ("NVIDIA H100 80GB HBM3", 1, 85_520_809_984), ["NVIDIA H100 80GB HBM3 (86 GB)"]),
        (
            H100,
            ("H100-SXM", 8, 80_000_000_000),
            "the track is for 8 x H100-SXM of 80 GB, and here are NVIDIA H100 80GB HBM3 (86 GB), "
            "NVIDIA H100 80GB HBM3 (86 GB)",
        ),
        (
            H100.replace("H100 80GB HBM3", "H100 PCIe"),
            ("H100-SXM", 1, 80_000_000_000),
            "the track is for 1 x H100-SXM of 80 GB, and here are NVIDIA H100 PCIe (86 GB), NVIDIA H100 PCIe (86 GB)",
        ),
        (
            H100.replace("devices 2", "devices 1").replace("0.mig 0", "0.mig 1"),
            ("H100-SXM", 1, 80_000_000_000),
            "the track is for 1 x H100-SXM of 80 GB, and here is NVIDIA H100 80GB HBM3 (86 GB, in MIG mode)",
        ),
        (
            H100.replace("devices 2", "devices 1"),
            ("any", 1, 100_000_000_000),
            "the track is for 1 x any GPU of 100 GB, and here is NVIDIA H100 80GB HBM3 (86 GB)",
        ),
        ("devices 0\n", ("any", 1, 1), "the track is for 1 x any GPU of 0 GB, and here is none"),
    ],
)
def test_other_hardware_is_refused_and_both_are_named(
    machine: Machine, state: str, asked: tuple[str, int, int], said: object
) -> None:
    machine.state.write_text(state)
    assert machine.run(REFUSED, *map(str, asked)) == said


@needs_bindings
def test_without_a_driver_there_is_one_clear_error(machine: Machine, tmp_path: Path) -> None:
    machine.state.unlink()
    assert machine.run(REFUSED, "any", "1", "1") == "the NVIDIA driver does not answer: Driver Not Loaded"
    empty = tmp_path / "empty"
    empty.mkdir()
    said = machine.run(REFUSED, "any", "1", "1", LD_LIBRARY_PATH=str(empty))
    assert "does not answer" in said and "Not Found" in said
    blocked = "sys.modules['pynvml'] = None\n"
    assert "nvidia-ml-py is not installed: pip install" in machine.run(blocked + REFUSED, "any", "1", "1")


@needs_bindings
def test_a_schedulers_choice_of_gpus_is_kept_to(machine: Machine) -> None:
    program = "say([each.index for each in gpu.devices()])"
    assert machine.run(program) == [0, 1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="1") == [1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="GPU-10000000") == [1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="") == []
    assert "names '7'" in machine.run(REFUSED, "any", "1", "1", CUDA_VISIBLE_DEVICES="0,7")


def a_device(index: int, uuid: str) -> Device:
    return Device(index, "NVIDIA L4", uuid, 24_000_000_000, None)


def test_gpus_are_named_by_index_or_by_the_beginning_of_a_uuid() -> None:
    found = [a_device(0, "GPU-ab1"), a_device(1, "GPU-ab2"), a_device(2, "GPU-c")]
    assert visible(found, None) == found
    assert visible(found, " 2, 0,2") == [found[2], found[0]]
    assert visible(found, "GPU-c,GPU-ab2") == [found[2], found[1]]
    for wrong in ("3", "-1", "GPU-ab", "GPU-x", "MIG-GPU-c", "all"):
        with pytest.raises(GpuError, match="none of this machine's 3 GPUs"):
            visible(found, wrong)


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.booleans())
def test_a_gpu_of_less_memory_never_fits(asked: int, has: int, mig: bool) -> None:
    assert fits("any", asked, "NVIDIA L4", has, mig) == (has >= asked)
    assert fits("NVIDIA L4", asked, "NVIDIA L4", has, mig) == (has >= asked and not mig)
    assert not fits("H100-SXM", asked, "NVIDIA L4", has, mig)


# ---------------------------------------------------------------- what a run takes


def series(data: st.DataObject, values: st.SearchStrategy[int]) -> list[tuple[int, int]]:
    """Readings at uneven moments, up to 20 s apart."""
    count = data.draw(st.integers(2, 30))
    gaps = data.draw(st.lists(st.integers(0, 20 * 10**9), min_size=count, max_size=count))
    moments = [sum(gaps[: i + 1]) for i in range(count)]
    return [(at, data.draw(values)) for at in moments]


@given(st.data())
def test_power_is_integrated_as_the_closed_form_has_it(data: st.DataObject) -> None:
    """Between two readings power is a straight line, whose integral is their mean times the time."""
    points = series(data, st.integers(0, 2_000_000))
    integral = Integral()
    exact, area = Fraction(0), 0
    for at, value in points:
        integral.add(at, value)
        if data.draw(st.booleans()):
            integral.add(at, None)  # a reading that was refused changes nothing
    for (then, before), (at, value) in itertools.pairwise(points):
        exact += Fraction(before + value, 2) * Fraction(at - then, 10**9)
        area += at - then
    if area == 0:
        assert integral.value_seconds() is None and integral.mean() is None
        return
    found = integral.value_seconds()
    assert found is not None and 0 <= found == exact.__floor__()
    mean = integral.mean(10_000)
    assert mean is not None and abs(mean - exact * 10**9 / area * 10_000) <= Fraction(1, 2)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.lists(st.integers(1, 10**9), min_size=1, max_size=20))
def test_a_straight_rise_is_integrated_exactly_wherever_it_is_read(start: int, slope: int, gaps: list[int]) -> None:
    """Of a + b·t over T seconds the integral is a·T + b·T²/2."""
    integral, at = Integral(), 0
    for gap in [0, *gaps]:
        at += gap * 1_000_000  # whole milliseconds, in which the power is a whole number of milliwatts
        integral.add(at, start + slope * (at // 1_000_000))
    length = Fraction(at, 10**9)
    assert integral.value_seconds() == (start * length + slope * 1000 * length**2 / 2).__floor__()


@given(st.data())
def test_a_counter_that_wraps_has_counted_on(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(1, 60 * 10**9), min_size=1, max_size=30))
    start = data.draw(st.integers(0, 2**32 - 1))
    counter, at, drawn = Counter(), 0, 0
    counter.add(at, start)
    for gap in gaps:
        at += gap
        drawn += data.draw(st.integers(0, MOST_MILLIWATTS * gap // 10**9))
        counter.add(at, (start + drawn) % 2**32)
    assert counter.total == drawn


@given(st.lists(st.tuples(st.integers(0, 60 * 10**9), st.none() | st.integers(0, 2**64 - 1)), max_size=30))
def test_whatever_a_counter_says_its_growth_is_never_negative_nor_beyond_a_board(
    readings: list[tuple[int, int | None]],
) -> None:
    counter, at = Counter(), 0
    for gap, value in readings:
        at += gap
        counter.add(at, value)
    known = sum(value is not None for _, value in readings)
    assert (counter.total is None) == (known < 2)
    assert counter.total is None or 0 <= counter.total <= MOST_MILLIWATTS * (at // 10**9 + known + 1)


def test_a_counter_that_was_reset_goes_on_from_there() -> None:
    second = 10**9
    assert growth(1_000, 501_000, second) == 500_000
    assert growth(2**32 - 100, 50, second) == 150  # wrapped at 32 bits
    assert growth(900_000_000, 300_000, second) == 300_000  # began again at zero
    assert growth(10**12, 10**12 - 5, second) == 0  # neither: it is wrong
    assert growth(0, 10**12, second) == 0


def gauge(*readings: Reading) -> Gauge:
    made = Gauge()
    for each in readings:
        made.add(each)
    return made


def test_the_bill_of_two_gpus_by_hand() -> None:
    second = 10**9
    first = gauge(
        Reading(0, 100, 0, 100_000, 5_000, 1_000, 2_000),
        Reading(second, 900, 100, 300_000, 205_000, 2_000, 2_000),
        Reading(3 * second, 300, 100, 300_000, 805_000, 2_000, 2_000),
    )
    other = gauge(Reading(0, 50, 20, 100_000, None, 1_000, 2_000), Reading(second, 60, 20, 100_000, None, 1_000, 2_000))
    found = bill([first, other], 3_000, 40)
    assert (found.devices, found.gpu_ms, found.release_ms, found.readings) == (2, 6_000, 40, 2)
    assert found.peak_memory_bytes == 900
    # 0 to 100 in a second, then 100 for two: 250/3 percent; the other 20 percent throughout.
    assert found.utilisation_ppm == 516_667  # (833,333 + 200,000) / 2
    # Only one has a counter, so power it is: 200 W for a second and 300 for two, and 100 for one.
    assert (found.energy_millijoules, found.energy_by) == (200_000 + 600_000 + 100_000, "power")
    assert (found.sm_clock_mhz, found.memory_clock_mhz) == (1417, 2_000)
    alone = bill([first], 3_000, 0)
    assert (alone.energy_millijoules, alone.energy_by) == (800_000, "counter")
    nothing = bill([gauge(Reading(0), Reading(second))], 1_000, 0)
    assert (nothing.energy_millijoules, nothing.energy_by, nothing.peak_memory_bytes) == (None, None, None)


@needs_bindings
def test_a_meter_reads_while_the_gpus_work(machine: Machine) -> None:
    used = machine.run("""
lease = gpu.lease("H100-SXM", 2, 80_000_000_000)
with gpu.Meter(lease) as meter:
    time.sleep(0.5)
    state(**{"0_memory_used": 40_000_000_000, "0_energy": 1_300_000, "1_energy": 1_100_000})
    time.sleep(0.7)
    state(**{"0_memory_used": 10_000_000})
    freed = meter.until_free()
    state(**{"1_energy": 1_150_000})
assert freed is None
say(meter.bill(1_200).model_dump())
""")
    assert used["gpu_ms"] == 2_400 and 5 <= used["readings"] <= 9
    assert used["peak_memory_bytes"] == 40_000_000_000
    assert (used["energy_millijoules"], used["energy_by"]) == (300_000 + 150_000, "counter")
    assert used["utilisation_ppm"] == 500_000
    assert (used["sm_clock_mhz"], used["memory_clock_mhz"]) == (1755, 2619)


@needs_bindings
def test_without_a_counter_energy_is_the_integral_of_power(machine: Machine) -> None:
    machine.state.write_text(H100.replace("0.energy 1000000\n", "").replace("0.power 400000", "0.power 100000"))
    seconds, used = machine.run("""
lease = gpu.lease("H100-SXM", 1, 80_000_000_000)
began = time.monotonic()
with gpu.Meter(lease) as meter:
    time.sleep(1)
say([time.monotonic() - began, meter.bill(1_000).model_dump()])
""")
    assert used["energy_by"] == "power"
    assert 100_000 <= used["energy_millijoules"] <= 100_000 * seconds


# ---------------------------------------------------------------- who is on a GPU


@needs_bindings
def test_a_run_begins_on_empty_gpus_only(machine: Machine) -> None:
    program = """
gpu.RELEASE_SECONDS = 0.3
lease = gpu.lease("H100-SXM", 1, 80_000_000_000)
said = []
def tell():
    try:
        lease.wait_until_empty()
        said.append(None)
    except gpu.GpuError as error:
        said.append(str(error))
tell()
state(**{"1_processes": sys.argv[1]})  # on the other GPU
tell()
state(**{"0_processes": sys.argv[1]})
tell()
state(**{"0_processes": "", "0_graphics": "999999999"})
tell()
state(**{"0_graphics": "", "0_memory_used": 3 << 30})
tell()
gpu.RELEASE_SECONDS = 20
threading.Timer(0.5, lambda: state(**{"0_memory_used": 1 << 20})).start()  # a process that is just leaving
tell()
say(said)
"""
    with subprocess.Popen(["sleep", "100"]) as other:
        said = machine.run(program, str(other.pid))
        other.kill()
    alone = "a run needs its GPUs to itself; end what is on them"
    assert said == [
        None,
        None,
        f"GPU 0 is held by process {other.pid} (sleep): {alone}",
        f"GPU 0 is held by process 999999999: {alone}",
        f"GPU 0 has 3072 MiB in use, by nobody that can be seen from here: {alone}",
        None,
    ]


WORK = """
import os, sys, time

def answer(kind, on_progress):
    on_progress(1)
    if kind == "raises":
        raise ValueError("told")
    if kind == "dies":
        os._exit(7)
    if kind == "waits":
        time.sleep(1000)
    on_progress(2)
    return [os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]]
"""
APART = """
import work
lease, heard = gpu.lease("H100-SXM", 1, 80_000_000_000), []
answers = [lease.apart(work.answer, "answers", on_progress=heard.append), os.getpid(), heard[:]]
def stop(done):
    raise KeyboardInterrupt
for kind, on_progress in (("raises", heard.append), ("dies", heard.append), ("waits", stop)):
    begun = time.monotonic()
    try:
        lease.apart(work.answer, kind, on_progress=on_progress)
    except BaseException as error:
        answers.append(f"{type(error).__name__}: {error}")
answers.append(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text())
say(answers)
"""


@needs_bindings
def test_the_verifiers_own_work_on_gpus_is_done_in_a_process_that_ends(machine: Machine) -> None:
    """It sees the session's GPUs alone; its answer, progress and errors arrive, and nothing of it stays."""
    (machine.place / "work.py").write_text(WORK)
    paths = os.pathsep.join([str(machine.place), str(ROOT)])
    (pid, seen), verifier, heard, *errors, left = machine.run(APART, PYTHONPATH=paths, CUDA_VISIBLE_DEVICES="1")
    assert pid != verifier and seen == "1" and heard == [1, 2]
    assert errors == [
        "ValueError: told", "RuntimeError: the process of answer ended with exit code 7", "KeyboardInterrupt: ",
    ]  # fmt: skip
    assert len(left.split()) <= 1  # the spawner's own tracker of semaphores


def test_a_process_is_ours_if_it_descends_from_the_verifier() -> None:
    me = os.getpid()
    with subprocess.Popen(["sh", "-c", "sleep 100 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        grandchild = int(shell.stdout.readline())
        assert gpu.ours(shell.pid, me) and gpu.ours(grandchild, me) and gpu.ours(grandchild, shell.pid)
        assert not gpu.ours(me, shell.pid) and not gpu.ours(1, me)
        assert not gpu.ours(me, me)  # the verifier's own context is not the submission's
        os.kill(grandchild, 9)
        shell.kill()
    while gpu._alive(grandchild):  # the signal may reach it later than its parent
        time.sleep(0.01)
    assert gpu.ours(grandchild, me)  # gone: it may have been
    assert gpu.ours(2**30, me)


def opened(place: Path) -> None:
    """For the sandbox's user to reach."""
    for path in (place, *place.parents):
        if path.parent.is_relative_to("/tmp"):
            path.chmod(0o755)


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
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if gpu._alive(int(name)) and gpu.ours(int(name), os.getpid()):
            found.append(int(name))
    return found

def run(on_tick):
    with gpu.Meter(lease) as meter:
        def tick(elapsed_ms):
            meter.alone()
            on_tick(elapsed_ms)
        usage = sandbox.run(
            ["train.py"], mounts=mounts, limits=limits, level="full", on_tick=tick, until_free=meter.until_free
        )
    return usage, meter.bill(usage.wall_ms)

def hold(elapsed_ms):
    if not held and elapsed_ms > 300:
        held.extend(descendants())
        state(**{"0_processes": " ".join(map(str, held)), "0_memory_used": 9 << 30})
"""


@needs_bindings
@needs_sandbox
def test_the_clock_runs_until_the_gpu_is_free(machine: Machine) -> None:
    opened(machine.place)
    usage, bill, count = machine.run(
        SANDBOX
        + """
def leave():
    while any(os.path.exists(f"/proc/{pid}") for pid in held) or not held:
        time.sleep(0.01)
    time.sleep(1)  # the driver takes its time to clean up
    state(**{"0_processes": "", "0_memory_used": 5 << 20})
threading.Thread(target=leave, daemon=True).start()
usage, bill = run(hold)
say([dataclasses.asdict(usage) | {"log": ""}, bill.model_dump(), len(held)])
""",
        PLACE=str(machine.place),
    )
    assert usage["failure"] is None and count >= 2
    assert 800 <= bill["release_ms"] <= 5_000
    assert usage["wall_ms"] >= 1_000 + bill["release_ms"]
    assert bill["gpu_ms"] == usage["wall_ms"] and bill["peak_memory_bytes"] == 9 << 30


@needs_bindings
@needs_sandbox
def test_a_gpu_that_never_comes_free_fails_the_run(machine: Machine) -> None:
    opened(machine.place)
    usage, held = machine.run(
        SANDBOX
        + """
gpu.RELEASE_SECONDS = 1
usage, bill = run(hold)
say([dataclasses.asdict(usage) | {"log": ""}, held])
""",
        PLACE=str(machine.place),
    )
    names = ", ".join(f"process {pid}" for pid in sorted(held))
    assert re.sub(r" \(\w+\)", "", usage["failure"]) == f"GPU 0 is held by {names}, 1 s after its last process was gone"
    assert usage["wall_ms"] >= 2_000


@needs_bindings
@needs_sandbox
def test_somebody_else_on_the_gpu_ends_the_run_and_is_not_the_submissions_fault(machine: Machine) -> None:
    opened(machine.place)
    program = (
        SANDBOX
        + """
def intrude(elapsed_ms):
    if elapsed_ms > 300:
        state(**{"0_processes": sys.argv[1]})
began = time.monotonic()
try:
    run(intrude)
    say("nobody was noticed")
except gpu.GpuError as error:
    say([str(error), time.monotonic() - began])
"""
    )
    with subprocess.Popen(["sleep", "100"]) as other:
        said, seconds = machine.run(program, str(other.pid), PLACE=str(machine.place))
        other.kill()
    assert said == f"GPU 0 is held by process {other.pid} (sleep), which is none of the submission's"
    assert seconds < 15


# ---------------------------------------------------------------- what a sandbox is given


DOORS = """
place = Path(os.environ["PLACE"])
gpu.DEV, gpu.SYS, gpu.DRIVER = place / "dev", place / "sys", place / "driver"
try:
    doors = gpu.lease("any", int(sys.argv[1]), 1).doors(sys.argv[2])
    say([list(map(str, doors.nodes)), list(map(str, doors.folders)), doors.links, doors.environment])
except gpu.GpuError as error:
    say(str(error))
"""


def nodes(place: Path, *names: str) -> None:
    for name in names:
        path = place / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(0o666)


@needs_bindings
def test_the_doors_are_those_of_the_tracks_gpus_and_no_others(machine: Machine) -> None:
    place = machine.place
    nodes(place, "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia1", "nvidia-modeset")
    real = place / "sys/devices/pci0000:c0/0000:c0:00.0"
    for folder in (real, place / "sys/devices/system/node", place / "sys/module/nvidia", place / "sys/bus/pci/devices"):
        folder.mkdir(parents=True)
    (place / "sys/bus/pci/devices/0000:c0:00.0").symlink_to("../../../devices/pci0000:c0/0000:c0:00.0")
    found, folders, links, environment = machine.run(DOORS, "1", "full", PLACE=str(place))
    dev, system = place / "dev", place / "sys"
    assert found == [f"{dev}/nvidiactl", f"{dev}/nvidia-uvm", f"{dev}/nvidia-uvm-tools", f"{dev}/nvidia0"]
    assert folders == [f"{system}/devices/system/node", f"{system}/module/nvidia", str(real), str(machine.library)]
    assert links == {f"{system}/bus/pci/devices/0000:c0:00.0": str(real)}
    assert environment == {"LD_LIBRARY_PATH": str(machine.library)}  # the loader would not find the driver's library
    both = machine.run(DOORS, "2", "full", PLACE=str(place))
    assert both[0] == [*found, f"{dev}/nvidia1"]
    bare = machine.run(DOORS, "1", "none", PLACE=str(place), CUDA_VISIBLE_DEVICES="1")
    assert bare == [[], [], {}, {**environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}]


@needs_bindings
def test_a_gpu_in_slices_opens_the_doors_of_its_slices(machine: Machine) -> None:
    machine.state.write_text(H100.replace("0.mig 0", "0.mig 1"))
    nodes(machine.place, "nvidiactl", "nvidia-uvm", "nvidia0", *(f"nvidia-caps/nvidia-cap{i}" for i in range(1, 40)))
    for path, minor in (("gpu0/mig/gi1", 12), ("gpu0/mig/gi1/ci0", 13), ("gpu1/mig/gi1", 30)):
        folder = machine.place / "driver/capabilities" / path
        folder.mkdir(parents=True)
        (folder / "access").write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
    found = machine.run(DOORS, "1", "full", PLACE=str(machine.place))[0]
    assert found[3:] == [f"{machine.place}/dev/nvidia-caps/nvidia-cap{i}" for i in (12, 13)]


@needs_bindings
def test_a_door_that_the_sandbox_could_not_open_is_an_error(machine: Machine) -> None:
    dev = machine.place / "dev"
    said = machine.run(DOORS, "1", "full", PLACE=str(machine.place))
    assert said.startswith(f"{dev}/nvidiactl: No such file or directory; `sudo nvidia-modprobe")
    nodes(machine.place, "nvidiactl", "nvidia-uvm", "nvidia0")
    (dev / "nvidia0").chmod(0o660)
    if os.geteuid() == 0:
        said = machine.run(DOORS, "1", "full", PLACE=str(machine.place))
        assert said == f"{dev}/nvidia0 has mode 0660, and the sandbox's user has to open it: chmod a+rw {dev}/nvidia0"


# ---------------------------------------------------------------- a whole verification

# The tiny track of tests/tiny.py on a GPU: everything is real but NVML, the device files (plain ones) and, where the
# test says so, the kernel, which then multiplies on the CPU inside the sandbox.
VERIFY = """
import tiny
from harness.isolation import doctor
from harness import submission
from harness.ledger.log import Ledger
from harness.ledger.signature import load_key
from harness.verify.session import VerifyError, verify
place = Path(os.environ["PLACE"])
gpu.DEV, gpu.RELEASE_SECONDS = place / "dev", 0.5
if sys.argv[1] == "on the CPU":
    doctor.kernel = lambda lease, level: doctor.compute("cpu", len(lease.devices), level, lease.doors(level))
tiny.build(place, 1.5)
path = place / "harness" / "tracks" / "cpu-logic.toml"
gpus = 'kind = "gpu"\\ngpu = "H100-SXM"\\ngpus = 1\\ngpu_memory_bytes = 80_000_000_000\\n'
gpus += "usd_per_gpu_hour_cents = 300\\n"
path.write_text(path.read_text().replace('kind = "cpu"\\n', gpus))
try:
    outcomes = verify(
        tiny.use(place), [submission.load(place / "quick-baseline")], runs=1, ledger=Ledger(place / "records"),
        key=load_key(place / "key"), state=tiny.state(place), reporter=tiny.Teller(place / "told"),
        cancel=threading.Event(),
    )
    say([str(outcomes[0].folder), outcomes[0].reason])
except VerifyError as error:
    say(str(error))
"""


# Read by every Python that starts: a process that loads weights is on GPU 0 from then on until it ends, as one that
# computes with CUDA is.
HOLDS = """
import os, sys
from pathlib import Path

def hold(event, told):
    if event == "import" and told[0] == "safetensors.torch":
        path = Path(os.environ["NVML_STANDIN"])
        path.write_text(path.read_text().replace("0.living ", f"0.living {os.getpid()} "))

sys.addaudithook(hold)
"""


def verified(machine: Machine, kernel: str) -> Any:
    opened(machine.place)
    nodes(machine.place, "nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1")
    if machine.state.exists():
        machine.state.write_text(machine.state.read_text() + "0.living  \n")
    (machine.place / "sitecustomize.py").write_text(HOLDS)
    paths = os.pathsep.join([str(machine.place), str(ROOT), str(ROOT / "tests")])
    return machine.run(VERIFY, kernel, PLACE=str(machine.place), PYTHONPATH=paths, OMP_NUM_THREADS="1")


@pytest.mark.slow
@needs_bindings
@needs_sandbox
def test_a_verification_on_a_gpu_says_so_in_its_record(machine: Machine) -> None:
    folder, reason = verified(machine, "on the CPU")
    assert reason is None
    said = record.load((Path(folder) / "record.json").read_bytes()).predicate
    assert said.isolation == "full" and said.isolation_checks["gpu_kernel_computes"]
    assert said.machine.gpu is not None and len(said.machine.gpu.devices) == 1
    nonce = bytes.fromhex(said.commitment.nonce_hex)
    uuid = b"GPU-00000000-1111-2222-3333-444444444444"
    assert said.machine.gpu.devices[0].uuid_sha256 == hashlib.sha256(nonce + uuid).hexdigest()
    assert said.control is not None
    # Both were evaluated by a process that held the GPU, and neither stood in the way of what came after it.
    held = re.search(r"^0.living (.*)$", machine.state.read_text(), re.MULTILINE)
    assert held is not None and len(held[1].split()) == 2
    for run in [*said.runs, said.control]:
        assert run.gpu is not None and run.gpu.gpu_ms == run.wall_ms and run.gpu.readings >= 7
        assert run.gpu.utilisation_ppm == 500_000 and run.gpu.energy_by == "counter"
    assert [finding for finding in log.check(Path(folder).parent) if not finding.ok] == []


@pytest.mark.slow
@needs_bindings
@needs_sandbox
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (H100, "the GPUs of this machine cannot be used: inside the sandbox there is no GPU ("),
        (
            H100.replace("H100 80GB HBM3", "H100 PCIe"),
            "cpu-logic@4 cannot be verified here: the track is for 1 x H100-SXM of 80 GB, and here are NVIDIA H100",
        ),
        (
            H100.replace("0.processes ", "0.processes 999999999"),
            "GPU 0 is held by process 999999999: a run needs its GPUs to itself",
        ),
        (None, "cpu-logic@4 cannot be verified here: the NVIDIA driver does not answer: Driver Not Loaded"),
    ],
)
def test_a_machine_that_cannot_is_refused_before_anything_is_announced(
    machine: Machine, state: str | None, message: str
) -> None:
    if state is None:
        machine.state.unlink()
    else:
        machine.state.write_text(state)
    said = verified(machine, "on the GPU")
    assert said.startswith(message) and "\n" not in said
    assert not (machine.place / "records").exists() and not list((machine.place / "state").rglob("session.json"))


def test_the_audit_holds_the_gpus_of_a_record_against_its_tracks() -> None:
    track = load("8xh100-math")
    said = record.load((ROOT / "records" / "2026-11-21_cpu-logic_baseline_4" / "record.json").read_bytes())
    assert not list(audit._hardware("here", said, load("cpu-logic")))
    device = record.Gpu(
        model="NVIDIA H100 80GB HBM3", uuid_sha256="0" * 64, memory_bytes=85_520_809_984, max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2619, power_limit_milliwatts=700_000, ecc=True, mig=False, persistence=True,
    )  # fmt: skip

    def finding(model: str, count: int, metered: int) -> Finding:
        devices = [device.model_copy(update={"model": model})] * count
        gpus = record.Gpus(driver="580.95.05", nvml=None, cuda="13.0", libraries={}, devices=devices)
        used = bill([gauge(Reading(0), Reading(1))] * metered, 1_000, 0)
        made = said.predicate.model_copy(
            update={
                "machine": said.predicate.machine.model_copy(update={"gpu": gpus if count else None}),
                "runs": [run.model_copy(update={"gpu": used}) for run in said.predicate.runs],
                "control": None,
            }
        )
        (found,) = audit._hardware("here", said.model_copy(update={"predicate": made}), track)
        return found

    assert finding(device.model, 8, 8).ok
    assert not finding(device.model, 8, 7).ok and not finding(device.model, 7, 8).ok
    other = finding("NVIDIA A100-SXM4-80GB", 8, 8)
    assert not other.ok and other.message.endswith("NVIDIA A100-SXM4-80GB; the track is for 8 x H100-SXM")
    assert finding("", 0, 8).message == "no GPU; the track is for 8 x H100-SXM"
