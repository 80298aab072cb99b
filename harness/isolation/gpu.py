"""The GPUs of a session: a lease of them, what they are, and what a run in the sandbox needs of them.

    lease            the track's GPUs among this machine's, or one sentence why they are not there
    describe         what they are, for the record: model, hashed UUID, driver, clocks, limits, modes, libraries
    sandbox_devices  the device files that a sandbox needs to compute on these GPUs and on no others
    meter            five readings a second while a run lasts, added up to its bill (gpu_meter.py)
    in_own_process   the verifier's own work on these GPUs, in a process that ends with it

All by NVML, from outside the sandbox (nvml.py); occupancy.py sees who is on a GPU. Sources:
https://github.com/truefoundry/trueforge/issues/466 and https://github.com/google/gvisor/issues/12876 for what CUDA
needs of /dev and /sys in a sandbox; NVIDIA's MIG user guide, "Device Nodes and Capabilities", for the nodes of MIG.

Nothing here has met a GPU yet: the tests speak to a library of their own in NVML's place (tests/nvml_standin.c).
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from harness.isolation import numa, occupancy
from harness.isolation.contract import Devices, Level
from harness.isolation.gpu_meter import GpuUsage, Meter
from harness.isolation.nvml import Device, GpuError, devices, library, mode, query

__all__ = ["GpuDescription", "GpuError", "GpuUsage", "Lease", "LeaseDescription", "Meter", "devices", "fits", "lease"]

# What NVML calls the models that tracks name. Any other name in a track is NVML's own ("NVIDIA L4").
MODELS = {"H100-SXM": "NVIDIA H100 80GB HBM3"}

DEV, SYS, DRIVER = Path("/dev"), Path("/sys"), Path("/proc/driver/nvidia")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class GpuDescription:
    """One GPU as NVML describes it, with the fields of a record's Gpu. None: the driver does not say."""

    model: str
    uuid_sha256: str  # sha256(nonce ‖ UUID)
    memory_bytes: int
    max_sm_clock_mhz: int | None
    max_memory_clock_mhz: int | None
    power_limit_milliwatts: int | None
    ecc: bool | None
    mig: bool | None
    persistence: bool | None


@dataclass(frozen=True)
class LeaseDescription:
    """The GPUs of a session, with the fields of a record's Gpus."""

    driver: str | None
    nvml: str | None
    cuda: str | None  # the newest version that the driver supports
    libraries: dict[str, str]  # versions of NVIDIA's wheels, Triton and vLLM
    devices: list[GpuDescription]


def fits(model: str, memory_bytes: int, name: str, has_bytes: int, mig: bool | None) -> bool:
    """Is a GPU what a track asks for? A slice of one (MIG) is no GPU of that model, but it is "any"."""
    return has_bytes >= memory_bytes and (model == "any" or (name == MODELS.get(model, model) and not mig))


def lease(model: str, count: int, memory_bytes: int) -> Lease:
    """The first `count` GPUs that are what the track asks for. Raises GpuError, which names both.

    model: "any", a key of MODELS, or NVML's own name; memory_bytes: of each GPU, at least.
    """
    present = devices()
    fitting = [gpu for gpu in present if fits(model, memory_bytes, gpu.name, gpu.memory_bytes, gpu.mig)]
    if len(fitting) < count:
        raise GpuError(
            f"the track is for {count} x {'any GPU' if model == 'any' else model} of {memory_bytes / 1e9:.0f} GB, "
            f"and here {'are' if len(present) > 1 else 'is'} {', '.join(map(str, present)) or 'none'}"
        )
    return Lease(tuple(fitting[:count]))


@dataclass(frozen=True)
class Lease:
    """The GPUs that a session computes on, the same ones for all its runs."""

    devices: tuple[Device, ...]

    def describe(self, nonce: bytes) -> LeaseDescription:
        """What they are. A UUID is hashed together with the session's nonce.

        The nonce is published with the record. So the hash cannot be looked up in a table made beforehand, nor tell
        that two records come from one GPU; but who knows a UUID can find it in a record, and the verifier can prove it.
        """
        version = query("nvmlSystemGetCudaDriverVersion_v2")
        return LeaseDescription(
            driver=query("nvmlSystemGetDriverVersion"),
            nvml=query("nvmlSystemGetNVMLVersion"),
            cuda=None if version is None else f"{version // 1000}.{version % 1000 // 10}",
            libraries=_libraries(),
            devices=[_description(device, nonce) for device in self.devices],
        )

    def sandbox_devices(self, level: Level) -> Devices:
        """What a sandbox is given to compute on these GPUs. Raises GpuError where it could not open them."""
        folder = _driver_folder()
        environment = {}
        if folder is not None and not _in_loader_cache("libcuda.so.1"):
            environment["LD_LIBRARY_PATH"] = str(folder)
        if level == "none":
            return Devices(environment=environment | self._variables(), cores=self._cores())
        nodes = [DEV / "nvidiactl", DEV / "nvidia-uvm"]
        nodes += [node for node in [DEV / "nvidia-uvm-tools"] if node.exists()]
        links: dict[str, str] = {}
        folders = [SYS / "devices/system/node", SYS / "module/nvidia", SYS / "module/nvidia_uvm"]
        for device in self.devices:
            minor = query("nvmlDeviceGetMinorNumber", device.handle)
            if minor is None:
                raise GpuError(f"the driver does not say which device file belongs to GPU {device.index}")
            nodes += [DEV / f"nvidia{minor}", *(_slices(minor) if device.mig else [])]
            if (link := _sysfs(device)) is not None:
                folders.append(link.resolve())
                links[str(link)] = str(link.resolve())
        for node in nodes:
            _check_openable(node)
        if folder is not None and not folder.is_relative_to("/usr") and not folder.is_relative_to("/lib"):
            folders.append(folder)
        return Devices(nodes, [folder for folder in folders if folder.is_dir()], links, environment, self._cores())

    def wait_until_empty(self) -> None:
        """Before a run: nobody may be on these GPUs. Raises GpuError, which names who is."""
        idle = [occupancy.IDLE_BYTES] * len(self.devices)
        occupant = occupancy.wait_until_none(lambda: occupancy.occupant(self.devices, idle))
        if occupant is not None:
            raise GpuError(f"{occupant}: a run needs its GPUs to itself; end what is on them")

    def meter(self) -> Meter:
        """For one run: a context to train in."""
        return Meter(self.devices)

    def in_own_process(
        self, work: Callable[..., Answer], *arguments: Any, on_progress: Callable[[int], None]
    ) -> Answer:
        """`work(*arguments, on_progress)` in a process of its own, that sees these GPUs alone and ends with its answer.

        For evaluations: what a process holds of a GPU (a context, torch's cache) it holds for as long as it lives, and
        the next run begins on empty GPUs. What goes in and comes out is pickled. Raises what `work` or `on_progress`
        raises, and RuntimeError if the process ends without an answer.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sender, self._variables(), work, arguments))
        process.start()
        sender.close()  # the process has the only other end: if it ends, there is nothing to wait for
        try:
            while isinstance(message := receiver.recv(), int):
                on_progress(message)
            process.join()
        except EOFError:
            process.join()
            raise RuntimeError(f"the process of {work.__name__} ended with exit code {process.exitcode}") from None
        finally:  # on_progress may raise, to stop
            process.kill()
            process.join()
            receiver.close()
        if isinstance(message, _Failed):
            raise message.error
        answer: Answer = message.answer
        return answer

    def _cores(self) -> list[int]:
        """This machine's cores, those near these GPUs first, the same number for each."""
        links = [_sysfs(device) for device in self.devices]
        nodes = [None if link is None else numa.node_of(link) for link in links]
        return numa.order(nodes, numa.node_cores(SYS / "devices/system/node"))

    def _variables(self) -> dict[str, str]:
        """What makes CUDA see these GPUs and no others."""
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(str(device.index) for device in self.devices),
        }


@dataclass(frozen=True)
class _Done:
    answer: Any


@dataclass(frozen=True)
class _Failed:
    error: Exception


def _work(sender: Connection, variables: dict[str, str], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What the process of `Lease.in_own_process` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the verifier, which ends this process
    os.environ |= variables  # before CUDA starts, which reads them once
    try:
        end: _Done | _Failed = _Done(work(*arguments, sender.send))
    except BrokenPipeError:  # nobody waits for the answer any more
        return
    except Exception as error:
        end = _Failed(error)
    sender.send(end)


def _description(device: Device, nonce: bytes) -> GpuDescription:
    handle, bindings = device.handle, library()
    return GpuDescription(
        model=device.name,
        uuid_sha256=hashlib.sha256(nonce + device.uuid.encode()).hexdigest(),
        memory_bytes=device.memory_bytes,
        max_sm_clock_mhz=query("nvmlDeviceGetMaxClockInfo", handle, bindings.NVML_CLOCK_SM),
        max_memory_clock_mhz=query("nvmlDeviceGetMaxClockInfo", handle, bindings.NVML_CLOCK_MEM),
        power_limit_milliwatts=query("nvmlDeviceGetPowerManagementLimit", handle),
        ecc=mode(query("nvmlDeviceGetEccMode", handle)),
        mig=mode(query("nvmlDeviceGetMigMode", handle)),
        persistence=mode(query("nvmlDeviceGetPersistenceMode", handle)),
    )


def _libraries() -> dict[str, str]:
    """Versions of what computes on a GPU besides the track's packages: NVIDIA's wheels, Triton, vLLM."""
    versions = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name.startswith("nvidia-") or name in ("triton", "vllm"):
            versions[name] = distribution.version
    return dict(sorted(versions.items()))


def _sysfs(device: Device) -> Path | None:
    """The link to a GPU's own folder among PCI devices: 0000:c1:00.0, where NVML's domain has eight digits."""
    address = query("nvmlDeviceGetPciInfo", device.handle)
    if address is None:
        return None
    link = SYS / "bus/pci/devices" / f"{address.domain:04x}:{address.bus:02x}:{address.device:02x}.0"
    return link if link.exists() else None


def _slices(minor: int) -> list[Path]:
    """The device files of a GPU's MIG instances, from the driver's own listing."""
    nodes = []
    for access in sorted((DRIVER / f"capabilities/gpu{minor}/mig").rglob("access")):
        for line in access.read_text(encoding="utf-8").splitlines():
            if line.startswith("DeviceFileMinor:"):
                nodes.append(DEV / f"nvidia-caps/nvidia-cap{int(line.split(':')[1])}")
    return nodes


def _check_openable(node: Path) -> None:
    """Raises GpuError unless a sandbox's user, nobody, could open this device file for reading and writing."""
    try:
        bits = node.stat().st_mode
    except OSError as error:
        raise GpuError(f"{node}: {error.strerror}; `sudo nvidia-modprobe -u -c 0` makes the driver's files") from None
    openable = os.access(node, os.R_OK | os.W_OK) if os.geteuid() else bits & 0o006 == 0o006
    if not openable:
        raise GpuError(f"{node} has mode {bits & 0o7777:04o}, and the sandbox's user has to open it: chmod a+rw {node}")


def _driver_folder() -> Path | None:
    """Where the driver's libraries lie: where this process has NVML from."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if "/libnvidia-ml.so" in line:
            return Path(line.split(maxsplit=5)[5]).parent
    return None


def _in_loader_cache(name: str) -> bool:
    """Does the loader know this library without being told where it is?"""
    cache = Path("/etc/ld.so.cache")
    return cache.is_file() and name.encode() + b"\0" in cache.read_bytes()
