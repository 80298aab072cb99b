"""What the GPUs are and what a run takes of them: by NVML, from outside the sandbox.

    lease    the track's GPUs among this machine's, or one sentence why they are not there
    attest   what they are, for the record: model, hashed UUID, driver, clocks, limits, modes, libraries
    doors    the device files that a sandbox needs to compute on these GPUs and on no others
    Meter    five readings a second while a run lasts, added up to its bill; it also sees who else is on the GPUs, and
             waits until none of the submission's processes holds one: only then does the clock stop
    apart    the verifier's own work on these GPUs, in a process that ends with it

NVML is the driver's own library, spoken to with NVIDIA's `nvidia-ml-py`. What a device or a driver does not support
is None, never an error. Sources: NVML's reference (https://docs.nvidia.com/deploy/nvml-api/) for calls and units;
https://github.com/truefoundry/trueforge/issues/466 and https://github.com/google/gvisor/issues/12876 for what CUDA
needs of /dev and /sys in a sandbox; NVIDIA's MIG user guide, "Device Nodes and Capabilities", for the nodes of MIG.

Nothing here has met a GPU yet: the tests speak to a library of their own in NVML's place (tests/nvml_standin.c).
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.errors import NanoR1Error
from harness.isolation import sandbox
from harness.ledger import record

READ_SECONDS = 0.2
RELEASE_SECONDS = 30.0  # as long as the sandbox waits for processes to die
RELEASE_POLL_SECONDS = 0.05
# A context alone takes 300 MiB and more; a GPU without one a few MiB. Provisional, until seen on the tracks' GPUs.
IDLE_BYTES = 256 << 20
MOST_MILLIWATTS = 10_000_000  # no board draws that: a counter that says more is not to be believed

# What NVML calls the models that tracks name. Any other name in a track is NVML's own ("NVIDIA L4").
MODELS = {"H100-SXM": "NVIDIA H100 80GB HBM3"}

DEV, SYS, DRIVER = Path("/dev"), Path("/sys"), Path("/proc/driver/nvidia")

Answer = TypeVar("Answer")


class GpuError(NanoR1Error):
    """The GPUs that are asked for are not here, not free, or cannot be metered; the message says what to do."""


# ---------------------------------------------------------------- NVML


@cache
def _library() -> Any:
    """NVIDIA's bindings, initialised once for this process. Raises GpuError."""
    try:
        import pynvml
    except ImportError:
        raise GpuError("nvidia-ml-py is not installed: pip install -c constraints.txt -e '.[gpu]'") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise GpuError(f"the NVIDIA driver does not answer: {error}") from None
    return pynvml


def _ask(call: str, *arguments: Any) -> Any:
    """What NVML answers; None where the device, the driver or the bindings do not know this call."""
    library = _library()
    function = getattr(library, call, None)
    if function is None:
        return None
    try:
        return function(*arguments)
    except library.NVMLError:
        return None


def _flag(answer: Any) -> bool | None:
    """Of a mode, or of a pair (now, after the next reset)."""
    now = answer[0] if isinstance(answer, (list, tuple)) else answer
    return None if now is None else bool(now)


@dataclass(frozen=True)
class Device:
    """One GPU of this machine. `index` is NVML's, in the order of PCI addresses."""

    index: int
    name: str
    uuid: str
    memory_bytes: int
    handle: Any

    @property
    def mig(self) -> bool:
        return bool(_flag(_ask("nvmlDeviceGetMigMode", self.handle)))

    def is_called(self, name: str) -> bool:
        return name == str(self.index) or (name.startswith("GPU-") and self.uuid.startswith(name))

    def __str__(self) -> str:
        return f"{self.name} ({self.memory_bytes / 1e9:.0f} GB{', in MIG mode' if self.mig else ''})"


def devices() -> list[Device]:
    """This machine's GPUs; with CUDA_VISIBLE_DEVICES set, as a scheduler does, those it names. Raises GpuError."""
    found = []
    for index in range(_ask("nvmlDeviceGetCount") or 0):
        handle = _ask("nvmlDeviceGetHandleByIndex", index)
        name, uuid = _ask("nvmlDeviceGetName", handle), _ask("nvmlDeviceGetUUID", handle)
        memory = _memory(handle)
        if name and uuid and memory:
            found.append(Device(index, name, uuid, int(memory.total), handle))
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(found: list[Device], named: str | None) -> list[Device]:
    """The devices that CUDA_VISIBLE_DEVICES names, by index (in PCI order) or by the beginning of a UUID.

    Raises GpuError on a name that is none of them: CUDA would silently stop there.
    """
    if named is None:
        return found
    chosen: dict[int, Device] = {}
    for name in filter(None, (part.strip() for part in named.split(","))):
        match = [each for each in found if each.is_called(name)]
        if len(match) != 1:
            raise GpuError(
                f"CUDA_VISIBLE_DEVICES names {name[:80]!r}, which is none of this machine's {len(found)} GPUs"
            )
        chosen.setdefault(match[0].index, match[0])
    return list(chosen.values())


def _memory(handle: Any) -> Any:
    """Bytes total and used. Version 2 does not count what the driver keeps for itself as used."""
    version = getattr(_library(), "nvmlMemory_v2", None)
    second = None if version is None else _ask("nvmlDeviceGetMemoryInfo", handle, version)
    return _ask("nvmlDeviceGetMemoryInfo", handle) if second is None else second


# ---------------------------------------------------------------- the track's GPUs among these


def fits(model: str, memory_bytes: int, name: str, has_bytes: int, mig: bool | None) -> bool:
    """Is a GPU what a track asks for? A slice of one (MIG) is no GPU of that model, but it is "any"."""
    return has_bytes >= memory_bytes and (model == "any" or (name == MODELS.get(model, model) and not mig))


def lease(model: str, count: int, memory_bytes: int) -> Lease:
    """The first `count` GPUs that are what the track asks for. Raises GpuError, which names both.

    model: "any", a key of MODELS, or NVML's own name; memory_bytes: of each GPU, at least.
    """
    here = devices()
    right = [each for each in here if fits(model, memory_bytes, each.name, each.memory_bytes, each.mig)]
    if len(right) < count:
        raise GpuError(
            f"the track is for {count} x {'any GPU' if model == 'any' else model} of {memory_bytes / 1e9:.0f} GB, "
            f"and here {'are' if len(here) > 1 else 'is'} {', '.join(map(str, here)) or 'none'}"
        )
    return Lease(tuple(right[:count]))


@dataclass(frozen=True)
class Lease:
    """The GPUs that a session computes on, the same ones for all its runs."""

    devices: tuple[Device, ...]

    def attest(self, nonce: bytes) -> record.Gpus:
        """What they are. A UUID is hashed together with the session's nonce.

        The nonce is published with the record. So the hash cannot be looked up in a table made beforehand, nor tell
        that two records come from one GPU; but who knows a UUID can find it in a record, and the verifier can prove it.
        """
        version = _ask("nvmlSystemGetCudaDriverVersion_v2")
        return record.Gpus(
            driver=_ask("nvmlSystemGetDriverVersion"),
            nvml=_ask("nvmlSystemGetNVMLVersion"),
            cuda=None if version is None else f"{version // 1000}.{version % 1000 // 10}",
            libraries=_libraries(),
            devices=[_attested(each, nonce) for each in self.devices],
        )

    def doors(self, level: sandbox.Level) -> sandbox.Devices:
        """What a sandbox is given to compute on these GPUs. Raises GpuError where it could not open them."""
        folder = _driver_folder()
        environment = {}
        if folder is not None and not _in_cache("libcuda.so.1"):
            environment["LD_LIBRARY_PATH"] = str(folder)
        if level == "none":
            return sandbox.Devices(environment=environment | self._chosen())
        nodes = [DEV / "nvidiactl", DEV / "nvidia-uvm"]
        nodes += [node for node in [DEV / "nvidia-uvm-tools"] if node.exists()]
        links: dict[str, str] = {}
        folders = [SYS / "devices/system/node", SYS / "module/nvidia", SYS / "module/nvidia_uvm"]
        for each in self.devices:
            minor = _ask("nvmlDeviceGetMinorNumber", each.handle)
            if minor is None:
                raise GpuError(f"the driver does not say which device file belongs to GPU {each.index}")
            nodes += [DEV / f"nvidia{minor}", *(_slices(minor) if each.mig else [])]
            address = _ask("nvmlDeviceGetPciInfo", each.handle)
            if address is not None:
                link = SYS / "bus/pci/devices" / _pci(address)
                if link.exists():
                    folders.append(link.resolve())
                    links[str(link)] = str(link.resolve())
        for node in nodes:
            _openable(node)
        if folder is not None and not folder.is_relative_to("/usr") and not folder.is_relative_to("/lib"):
            folders.append(folder)
        return sandbox.Devices(nodes, [each for each in folders if each.is_dir()], links, environment)

    def wait_until_empty(self) -> None:
        """Before a run: nobody may be on these GPUs. Raises GpuError, which names who is."""
        waited = _wait(lambda: _crowd(self.devices, [IDLE_BYTES] * len(self.devices)))
        if waited is not None:
            raise GpuError(f"{waited}: a run needs its GPUs to itself; end what is on them")

    def apart(self, work: Callable[..., Answer], *arguments: Any, on_progress: Callable[[int], None]) -> Answer:
        """`work(*arguments, on_progress)` in a process of its own, that sees these GPUs alone and ends with its answer.

        For evaluations: what a process holds of a GPU (a context, torch's cache) it holds for as long as it lives, and
        the next run begins on empty GPUs. What goes in and comes out is pickled. Raises what `work` or `on_progress`
        raises, and RuntimeError if the process ends without a word.
        """
        context = multiprocessing.get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_apart, args=(send, self._chosen(), work, arguments))
        process.start()
        send.close()  # the process has the only other end: if it ends, there is nothing to wait for
        try:
            while isinstance(said := receive.recv(), int):
                on_progress(said)
            process.join()
        except EOFError:
            process.join()
            raise RuntimeError(f"the process of {work.__name__} ended with exit code {process.exitcode}") from None
        finally:  # on_progress may raise, to stop
            process.kill()
            process.join()
            receive.close()
        if isinstance(said, _Failed):
            raise said.error
        answer: Answer = said.answer
        return answer

    def _chosen(self) -> dict[str, str]:
        """The variables that make CUDA see these GPUs and no others."""
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(str(each.index) for each in self.devices),
        }


@dataclass(frozen=True)
class _Done:
    answer: Any


@dataclass(frozen=True)
class _Failed:
    error: Exception


def _apart(told: Connection, variables: dict[str, str], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What the process of `Lease.apart` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the verifier, which ends this process
    os.environ |= variables  # before CUDA starts, which reads them once
    try:
        end: _Done | _Failed = _Done(work(*arguments, told.send))
    except BrokenPipeError:  # nobody waits for the answer any more
        return
    except Exception as error:
        end = _Failed(error)
    told.send(end)


def _attested(device: Device, nonce: bytes) -> record.Gpu:
    handle, library = device.handle, _library()
    return record.Gpu(
        model=device.name,
        uuid_sha256=hashlib.sha256(nonce + device.uuid.encode()).hexdigest(),
        memory_bytes=device.memory_bytes,
        max_sm_clock_mhz=_ask("nvmlDeviceGetMaxClockInfo", handle, library.NVML_CLOCK_SM),
        max_memory_clock_mhz=_ask("nvmlDeviceGetMaxClockInfo", handle, library.NVML_CLOCK_MEM),
        power_limit_milliwatts=_ask("nvmlDeviceGetPowerManagementLimit", handle),
        ecc=_flag(_ask("nvmlDeviceGetEccMode", handle)),
        mig=_flag(_ask("nvmlDeviceGetMigMode", handle)),
        persistence=_flag(_ask("nvmlDeviceGetPersistenceMode", handle)),
    )


def _libraries() -> dict[str, str]:
    """Versions of what computes on a GPU besides the track's packages: NVIDIA's wheels, Triton, vLLM."""
    found = {}
    for each in metadata.distributions():
        name = (each.metadata["Name"] or "").lower()
        if name.startswith("nvidia-") or name in ("triton", "vllm"):
            found[name] = each.version
    return dict(sorted(found.items()))


def _pci(address: Any) -> str:
    """As sysfs writes it, 0000:c1:00.0: NVML's domain has eight digits."""
    return f"{address.domain:04x}:{address.bus:02x}:{address.device:02x}.0"


def _slices(minor: int) -> list[Path]:
    """The device files of a GPU's MIG instances, from the driver's own listing."""
    found = []
    for access in sorted((DRIVER / f"capabilities/gpu{minor}/mig").rglob("access")):
        for line in access.read_text().splitlines():
            if line.startswith("DeviceFileMinor:"):
                found.append(DEV / f"nvidia-caps/nvidia-cap{int(line.split(':')[1])}")
    return found


def _openable(node: Path) -> None:
    """Raises GpuError unless a sandbox's user, nobody, could open this device file for reading and writing."""
    try:
        mode = node.stat().st_mode
    except OSError as error:
        raise GpuError(f"{node}: {error.strerror}; `sudo nvidia-modprobe -u -c 0` makes the driver's files") from None
    mine = os.access(node, os.R_OK | os.W_OK) if os.geteuid() else mode & 0o006 == 0o006
    if not mine:
        raise GpuError(f"{node} has mode {mode & 0o7777:04o}, and the sandbox's user has to open it: chmod a+rw {node}")


def _driver_folder() -> Path | None:
    """Where the driver's libraries lie: where this process has NVML from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/libnvidia-ml.so" in line:
            return Path(line.split(maxsplit=5)[5]).parent
    return None


def _in_cache(library: str) -> bool:
    """Does the loader know this library without being told where it is?"""
    known = Path("/etc/ld.so.cache")
    return known.is_file() and library.encode() + b"\0" in known.read_bytes()


# ---------------------------------------------------------------- who is on a GPU


def holders(device: Device) -> set[int] | None:
    """Process ids with a context on it, as this process's PID namespace numbers them. None: the driver does not say."""
    kinds = ("Compute", "Graphics", "MPSCompute")
    lists = [_ask(f"nvmlDeviceGet{kind}RunningProcesses", device.handle) for kind in kinds]
    if all(each is None for each in lists):
        return None
    return {int(process.pid) for each in lists if each is not None for process in each}


def ours(pid: int, verifier: int) -> bool:
    """Does this process descend from the verifier? One that is gone or going, or out of sight from here, may have.

    What a sandbox orphans is adopted by its supervisor: while a run lasts, no process of it has another ancestry.
    """
    if pid == verifier:  # it has a context of its own: then its GPU is not the submission's alone
        return False
    if not _alive(pid):
        return True
    while pid > 1:
        parent = _stat(pid)[1]
        if parent in (verifier, -1):
            return True
        pid = parent
    return False


def _alive(pid: int) -> bool:
    """Neither gone, nor a zombie, nor on its way out (PF_EXITING): in that state a driver still cleans up after it."""
    state, _, flags = _stat(pid)
    return state not in "ZX" and not flags & 4


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent and flags of a process, see proc_pid_stat(5); ("X", -1, 0) of one that is not to be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[1]), int(fields[6])
    except (OSError, IndexError):
        return "X", -1, 0


def _crowd(devices: Iterable[Device], allowed_bytes: list[int]) -> str | None:
    """Who or what is on these GPUs, with more than so many bytes in use; None if nobody is."""
    for device, allowed in zip(devices, allowed_bytes, strict=True):
        pids, memory = holders(device), _memory(device.handle)
        if pids:
            return f"GPU {device.index} is held by {', '.join(_called(pid) for pid in sorted(pids))}"
        if memory is not None and memory.used > allowed:
            return f"GPU {device.index} has {memory.used >> 20} MiB in use, by nobody that can be seen from here"
        if pids is None and memory is None:
            return f"GPU {device.index} tells neither its processes nor its memory"
    return None


def _stranger(device: Device, pid: int) -> str:
    return f"GPU {device.index} is held by {_called(pid)}, which is none of the submission's"


def _called(pid: int) -> str:
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"


def _wait(crowd: Callable[[], str | None]) -> str | None:
    """Ask until there is no crowd, for RELEASE_SECONDS at most; the last answer."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while (found := crowd()) is not None and time.monotonic() < deadline:
        time.sleep(RELEASE_POLL_SECONDS)
    return found


# ---------------------------------------------------------------- readings, added up


@dataclass(frozen=True)
class Reading:
    """One GPU at one moment of the monotonic clock. None: not supported."""

    at_ns: int
    memory_bytes: int | None = None
    utilisation_percent: int | None = None  # of the driver's last sample period (1/6 to 1 s) in which a kernel ran
    power_milliwatts: int | None = None  # since Ampere (GA100 excepted) the mean over a second
    energy_millijoules: int | None = None  # since the driver was loaded
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None


def read(device: Device) -> Reading:
    handle, library = device.handle, _library()
    memory = _memory(handle)
    rates = _ask("nvmlDeviceGetUtilizationRates", handle)
    return Reading(
        at_ns=time.monotonic_ns(),
        memory_bytes=None if memory is None else int(memory.used),
        utilisation_percent=None if rates is None else int(rates.gpu),
        power_milliwatts=_ask("nvmlDeviceGetPowerUsage", handle),
        energy_millijoules=_ask("nvmlDeviceGetTotalEnergyConsumption", handle),
        sm_clock_mhz=_ask("nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_SM),
        memory_clock_mhz=_ask("nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_MEM),
    )


class Integral:
    """The trapezoid rule over values read at uneven moments, in exact integers. A reading of None is bridged."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._twice = 0  # the integral times two, in value-nanoseconds
        self.ns = 0  # of time that it covers

    def add(self, at_ns: int, value: int | None) -> None:
        if value is None:
            return
        if self._last is not None:
            then, before = self._last
            self._twice += (before + value) * (at_ns - then)
            self.ns += at_ns - then
        self._last = at_ns, value

    def value_seconds(self) -> int | None:
        """The integral over seconds (of milliwatts: millijoules), rounded down. None: fewer than two readings."""
        return self._twice // 2_000_000_000 if self.ns else None

    def mean(self, scale: int = 1) -> int | None:
        """The mean over time, times `scale`, rounded to the nearest. None: fewer than two readings."""
        return (self._twice * scale + self.ns) // (2 * self.ns) if self.ns else None


class Counter:
    """How much an energy counter has grown, in millijoules, from its first reading to its last."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self.total: int | None = None

    def add(self, at_ns: int, value: int | None) -> None:
        if value is None:
            return
        if self._last is not None:
            then, before = self._last
            self.total = (self.total or 0) + growth(before, value, at_ns - then)
        self._last = at_ns, value


def growth(before: int, after: int, ns: int) -> int:
    """Millijoules between two readings of a counter, `ns` apart. Never negative.

    A counter that falls has wrapped at 32 bits, or began again at zero with the driver (what was before the reset is
    then lost). Of these the first that a board could have drawn in the time is taken; if none, nothing: the reading is
    wrong. A second is allowed for, because the driver brings the counter up to date ten times a second or less often.
    """
    possible = MOST_MILLIWATTS * (ns + 1_000_000_000) // 1_000_000_000
    for grown in (after - before, after - before + (1 << 32), after):
        if 0 <= grown <= possible:
            return grown
    return 0


class Gauge:
    """One GPU's readings, added up as they come: a run of three hours has fifty thousand."""

    def __init__(self) -> None:
        self.readings = 0
        self.peak_memory_bytes: int | None = None
        self.counter, self.power = Counter(), Integral()
        self.utilisation, self.sm_clock, self.memory_clock = Integral(), Integral(), Integral()

    def add(self, now: Reading) -> None:
        self.readings += 1
        if now.memory_bytes is not None:
            self.peak_memory_bytes = max(self.peak_memory_bytes or 0, now.memory_bytes)
        self.counter.add(now.at_ns, now.energy_millijoules)
        self.power.add(now.at_ns, now.power_milliwatts)
        self.utilisation.add(now.at_ns, now.utilisation_percent)
        self.sm_clock.add(now.at_ns, now.sm_clock_mhz)
        self.memory_clock.add(now.at_ns, now.memory_clock_mhz)


def bill(gauges: list[Gauge], wall_ms: int, release_ms: int) -> record.GpuUse:
    """What a run took of all its GPUs. Energy is by one method for all of them: the better one that all support."""

    def every(values: Iterable[int | None]) -> list[int] | None:
        known = [value for value in values if value is not None]
        return known if len(known) == len(gauges) else None

    def mean(values: Iterable[int | None]) -> int | None:
        known = every(values)
        return None if known is None else (2 * sum(known) + len(known)) // (2 * len(known))

    peaks = every(gauge.peak_memory_bytes for gauge in gauges)
    counted = every(gauge.counter.total for gauge in gauges)
    drawn = every(gauge.power.value_seconds() for gauge in gauges)
    by: Literal["counter", "power"] | None = "counter" if counted else "power" if drawn else None
    return record.GpuUse(
        devices=len(gauges),
        gpu_ms=wall_ms * len(gauges),
        release_ms=release_ms,
        readings=min(gauge.readings for gauge in gauges),
        peak_memory_bytes=None if peaks is None else max(peaks),
        utilisation_ppm=mean(gauge.utilisation.mean(10_000) for gauge in gauges),
        energy_millijoules=sum(counted) if counted else sum(drawn) if drawn else None,
        energy_by=by,
        sm_clock_mhz=mean(gauge.sm_clock.mean() for gauge in gauges),
        memory_clock_mhz=mean(gauge.memory_clock.mean() for gauge in gauges),
    )


class Meter:
    """Reads a lease's GPUs in a thread of its own from `with` to its end. One run each."""

    def __init__(self, lease: Lease) -> None:
        self._devices = lease.devices
        self._gauges = [Gauge() for _ in lease.devices]
        self._before: list[int] = []  # bytes in use when nobody was there
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_on, name="gpu-meter", daemon=True)
        self._ours: set[int] = set()  # of the submission, all that were ever seen on a GPU
        self._stranger: str | None = None
        self._fault: str | None = None
        self.release_ms = 0

    def __enter__(self) -> Meter:
        self._read()
        self._before = [gauge.peak_memory_bytes or 0 for gauge in self._gauges]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._read()

    def _read_on(self) -> None:
        try:
            while not self._over.wait(READ_SECONDS):
                self._read()
        except Exception as error:  # a thread has nobody to raise to
            self._fault = f"the GPUs could not be read any more: {type(error).__name__}: {error}"

    def _read(self) -> None:
        stranger = None
        for device, gauge in zip(self._devices, self._gauges, strict=True):
            gauge.add(read(device))
            for pid in (holders(device) or set()) - self._ours:
                if ours(pid, os.getpid()):
                    self._ours.add(pid)
                else:
                    stranger = _stranger(device, pid)
        self._stranger = stranger

    def alone(self) -> None:
        """While the run lasts. Raises GpuError if others are on its GPUs too: its time says nothing then."""
        if self._fault or self._stranger:
            raise GpuError(self._fault or self._stranger)

    def until_free(self) -> str | None:
        """When no process of the submission is left: wait until none holds a GPU. Why the run has failed, or None.

        Raises GpuError if it is somebody else who holds one. Ancestry tells nothing any more: a process whose sandbox
        was killed around it has another parent. But whatever is still alive now was never in the sandbox.
        """
        began = time.monotonic()
        allowed = [before + IDLE_BYTES for before in self._before]

        def crowd() -> str | None:
            for device in self._devices:
                for pid in (holders(device) or set()) - self._ours:
                    if _alive(pid):
                        raise GpuError(_stranger(device, pid))
            return _crowd(self._devices, allowed)

        held = _wait(crowd)
        self.release_ms = round((time.monotonic() - began) * 1000)
        return None if held is None else f"{held}, {RELEASE_SECONDS:.0f} s after its last process was gone"

    def bill(self, wall_ms: int) -> record.GpuUse:
        """After the `with`; wall_ms is the run's, its wait for the GPUs included."""
        return bill(self._gauges, wall_ms, self.release_ms)
