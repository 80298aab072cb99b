"""A lease: the track's GPUs or a refusal, what they are, who is on them, what a sandbox gets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvml_machine import H100, REFUSED, Machine, add_nodes, needs_bindings

from harness.isolation.gpu import fits
from harness.isolation.nvml import Device, GpuError, visible
from harness.tracks.track import ROOT


@needs_bindings
def test_the_description_says_what_the_driver_says(machine: Machine) -> None:
    program = "say(gpu.lease('H100-SXM', 2, 80_000_000_000).describe(bytes(32)))"
    description = machine.run(program)
    assert (description["driver"], description["nvml"], description["cuda"]) == ("580.95.05", "13.580.95.05", "13.0")
    assert description["libraries"]["nvidia-ml-py"]
    hashes = [device.pop("uuid_sha256") for device in description["devices"]]
    assert hashes == [
        hashlib.sha256(bytes(32) + f"GPU-{n}0000000-1111-2222-3333-444444444444".encode()).hexdigest() for n in (0, 1)
    ]
    assert description["devices"] == 2 * [
        {
            "model": "NVIDIA H100 80GB HBM3", "memory_bytes": 85_520_809_984, "max_sm_clock_mhz": 1980,
            "max_memory_clock_mhz": 2619, "power_limit_milliwatts": 700_000, "ecc": True, "mig": False,
            "persistence": True,
        }
    ]  # fmt: skip
    other = machine.run("say(gpu.lease('any', 1, 1).describe(bytes(31) + b'1'))")
    assert other["devices"][0]["uuid_sha256"] not in hashes
    assert "GPU-" not in json.dumps(other)


@needs_bindings
def test_what_a_driver_does_not_support_is_none_and_never_an_error(machine: Machine) -> None:
    machine.state.write_text(
        "devices 1\n0.name NVIDIA T4\n0.uuid GPU-0\n0.memory_total 16000000000\n0.memory_used 1048576\n",
        encoding="utf-8",
    )
    answers = machine.run("""
lease = gpu.lease("any", 1, 15_000_000_000)
lease.wait_until_empty()
with lease.meter() as meter:
    time.sleep(0.5)
    freed = meter.wait_until_free()
say([lease.describe(bytes(32)), freed, meter.bill(500)])
""")
    described, freed, used = answers
    device = described.pop("devices")[0]
    assert (described["driver"], described["nvml"], described["cuda"]) == (None, None, None)
    assert {name for name, value in device.items() if value is not None} == {"model", "uuid_sha256", "memory_bytes"}
    assert freed is None
    assert {name for name, value in used.items() if value is not None} == {
        "devices", "gpu_ms", "release_ms", "readings", "peak_memory_bytes",
    }  # fmt: skip


@needs_bindings
@pytest.mark.parametrize(
    ("state", "asked", "answer"),
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
    machine: Machine, state: str, asked: tuple[str, int, int], answer: object
) -> None:
    machine.state.write_text(state, encoding="utf-8")
    assert machine.run(REFUSED, *map(str, asked)) == answer


@needs_bindings
def test_without_a_driver_there_is_one_clear_error(machine: Machine, tmp_path: Path) -> None:
    machine.state.unlink()
    assert machine.run(REFUSED, "any", "1", "1") == "the NVIDIA driver does not answer: Driver Not Loaded"
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = machine.run(REFUSED, "any", "1", "1", LD_LIBRARY_PATH=str(empty))
    assert "does not answer" in answer and "Not Found" in answer
    blocked = "sys.modules['pynvml'] = None\n"
    assert "nvidia-ml-py is not installed: scripts/setup.sh gpu" in machine.run(blocked + REFUSED, "any", "1", "1")


@needs_bindings
def test_a_schedulers_choice_of_gpus_is_kept_to(machine: Machine) -> None:
    program = "say([device.index for device in gpu.devices()])"
    assert machine.run(program) == [0, 1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="1") == [1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="GPU-10000000") == [1]
    assert machine.run(program, CUDA_VISIBLE_DEVICES="") == []
    assert "names '7'" in machine.run(REFUSED, "any", "1", "1", CUDA_VISIBLE_DEVICES="0,7")


def a_device(index: int, uuid: str) -> Device:
    return Device(index, "NVIDIA L4", uuid, 24_000_000_000, None)


def test_gpus_are_named_by_index_or_by_the_beginning_of_a_uuid() -> None:
    listed = [a_device(0, "GPU-ab1"), a_device(1, "GPU-ab2"), a_device(2, "GPU-c")]
    assert visible(listed, None) == listed
    assert visible(listed, " 2, 0,2") == [listed[2], listed[0]]
    assert visible(listed, "GPU-c,GPU-ab2") == [listed[2], listed[1]]
    for wrong in ("3", "-1", "GPU-ab", "GPU-x", "MIG-GPU-c", "all"):
        with pytest.raises(GpuError, match="none of this machine's 3 GPUs"):
            visible(listed, wrong)


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.booleans())
def test_a_gpu_of_less_memory_never_fits(asked: int, has: int, mig: bool) -> None:
    assert fits("any", asked, "NVIDIA L4", has, mig) == (has >= asked)
    assert fits("NVIDIA L4", asked, "NVIDIA L4", has, mig) == (has >= asked and not mig)
    assert not fits("H100-SXM", asked, "NVIDIA L4", has, mig)


@needs_bindings
def test_a_run_begins_on_empty_gpus_only(machine: Machine) -> None:
    program = """
occupancy.RELEASE_SECONDS = 0.3
lease = gpu.lease("H100-SXM", 1, 80_000_000_000)
answers = []
def tell():
    try:
        lease.wait_until_empty()
        answers.append(None)
    except gpu.GpuError as error:
        answers.append(str(error))
tell()
state(**{"1_processes": sys.argv[1]})  # on the other GPU
tell()
state(**{"0_processes": sys.argv[1]})
tell()
state(**{"0_processes": "", "0_graphics": "999999999"})
tell()
state(**{"0_graphics": "", "0_memory_used": 3 << 30})
tell()
occupancy.RELEASE_SECONDS = 20
threading.Timer(0.5, lambda: state(**{"0_memory_used": 1 << 20})).start()  # a process that is just leaving
tell()
say(answers)
"""
    with subprocess.Popen(["sleep", "100"]) as other:
        answers = machine.run(program, str(other.pid))
        other.kill()
    advice = "a run needs its GPUs to itself; end what is on them"
    assert answers == [
        None,
        None,
        f"GPU 0 is held by process {other.pid} (sleep): {advice}",
        f"GPU 0 is held by process 999999999: {advice}",
        f"GPU 0 has 3072 MiB in use, by nobody that can be seen from here: {advice}",
        None,
    ]


WORK = """
import os, sys, time

def answer(kind, on_progress):
    on_progress(1)
    if kind == "raises":
        raise ValueError("wrong")
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
answers = [lease.in_own_process(work.answer, "answers", on_progress=heard.append), os.getpid(), heard[:]]
def stop(done):
    raise KeyboardInterrupt
for kind, on_progress in (("raises", heard.append), ("dies", heard.append), ("waits", stop)):
    begun = time.monotonic()
    try:
        lease.in_own_process(work.answer, kind, on_progress=on_progress)
    except BaseException as error:
        answers.append(f"{type(error).__name__}: {error}")
answers.append(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text())
say(answers)
"""


@needs_bindings
def test_the_verifiers_own_work_on_gpus_is_done_in_a_process_that_ends(machine: Machine) -> None:
    """It sees the session's GPUs alone; its answer, progress and errors arrive, and nothing of it stays."""
    (machine.place / "work.py").write_text(WORK, encoding="utf-8")
    paths = os.pathsep.join([str(machine.place), str(ROOT)])
    (pid, seen), verifier, heard, *errors, left = machine.run(APART, PYTHONPATH=paths, CUDA_VISIBLE_DEVICES="1")
    assert pid != verifier and seen == "1" and heard == [1, 2]
    assert errors == [
        "ValueError: wrong", "RuntimeError: the process of answer ended with exit code 7", "KeyboardInterrupt: ",
    ]  # fmt: skip
    assert len(left.split()) <= 1  # the spawner's own tracker of semaphores


DEVICES = """
place = Path(os.environ["PLACE"])
gpu.DEV, gpu.SYS, gpu.DRIVER = place / "dev", place / "sys", place / "driver"
try:
    devices = gpu.lease("any", int(sys.argv[1]), 1).sandbox_devices(sys.argv[2])
    say([list(map(str, devices.nodes)), list(map(str, devices.folders)), devices.links, devices.environment,
         devices.cores])
except gpu.GpuError as error:
    say(str(error))
"""


@needs_bindings
def test_the_devices_are_those_of_the_tracks_gpus_and_no_others(machine: Machine) -> None:
    place = machine.place
    add_nodes(place, "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia1", "nvidia-modeset")
    real = place / "sys/devices/pci0000:c0/0000:c0:00.0"
    for folder in (real, place / "sys/devices/system/node", place / "sys/module/nvidia", place / "sys/bus/pci/devices"):
        folder.mkdir(parents=True)
    (place / "sys/bus/pci/devices/0000:c0:00.0").symlink_to("../../../devices/pci0000:c0/0000:c0:00.0")
    (real / "numa_node").write_text("1\n", encoding="utf-8")
    for node, cores in (("node0", "0-1\n"), ("node1", "2-3\n")):
        (place / "sys/devices/system/node" / node).mkdir()
        (place / "sys/devices/system/node" / node / "cpulist").write_text(cores, encoding="utf-8")
    device_files, folders, links, environment, cores = machine.run(DEVICES, "1", "full", PLACE=str(place))
    dev, system = place / "dev", place / "sys"
    assert device_files == [f"{dev}/nvidiactl", f"{dev}/nvidia-uvm", f"{dev}/nvidia-uvm-tools", f"{dev}/nvidia0"]
    assert folders == [f"{system}/devices/system/node", f"{system}/module/nvidia", str(real), str(machine.library)]
    assert links == {f"{system}/bus/pci/devices/0000:c0:00.0": str(real)}
    assert environment == {"LD_LIBRARY_PATH": str(machine.library)}  # the loader would not find the driver's library
    assert cores == [2, 3, 0, 1]  # those of the GPU's own node first
    both = machine.run(DEVICES, "2", "full", PLACE=str(place))
    assert both[0] == [*device_files, f"{dev}/nvidia1"]
    bare = machine.run(DEVICES, "1", "none", PLACE=str(place), CUDA_VISIBLE_DEVICES="1")
    assert bare == [[], [], {}, {**environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}, []]


@needs_bindings
def test_of_a_gpu_in_slices_the_slices_are_given_too(machine: Machine) -> None:
    machine.state.write_text(H100.replace("0.mig 0", "0.mig 1"), encoding="utf-8")
    add_nodes(
        machine.place, "nvidiactl", "nvidia-uvm", "nvidia0", *(f"nvidia-caps/nvidia-cap{i}" for i in range(1, 40))
    )
    for path, minor in (("gpu0/mig/gi1", 12), ("gpu0/mig/gi1/ci0", 13), ("gpu1/mig/gi1", 30)):
        folder = machine.place / "driver/capabilities" / path
        folder.mkdir(parents=True)
        (folder / "access").write_text(
            f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n", encoding="utf-8"
        )
    device_files = machine.run(DEVICES, "1", "full", PLACE=str(machine.place))[0]
    assert device_files[3:] == [f"{machine.place}/dev/nvidia-caps/nvidia-cap{i}" for i in (12, 13)]


@needs_bindings
def test_a_device_file_that_the_sandbox_could_not_open_is_an_error(machine: Machine) -> None:
    dev = machine.place / "dev"
    answer = machine.run(DEVICES, "1", "full", PLACE=str(machine.place))
    assert answer.startswith(f"{dev}/nvidiactl: No such file or directory; `sudo nvidia-modprobe")
    add_nodes(machine.place, "nvidiactl", "nvidia-uvm", "nvidia0")
    (dev / "nvidia0").chmod(0o660)
    if os.geteuid() == 0:
        answer = machine.run(DEVICES, "1", "full", PLACE=str(machine.place))
        assert answer == f"{dev}/nvidia0 has mode 0660, and the sandbox's user has to open it: chmod a+rw {dev}/nvidia0"
