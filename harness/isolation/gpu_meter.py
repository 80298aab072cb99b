"""What a run takes of its GPUs: five readings a second while it lasts, added up to its bill.

The meter also sees who else is on the GPUs, and waits until none of the submission's processes holds one: only then
does the clock stop.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.isolation import occupancy
from harness.isolation.nvml import Device, GpuError, library, memory, query

READ_SECONDS = 0.2
MOST_MILLIWATTS = 10_000_000  # no board draws that: a counter that says more is not to be believed


@dataclass(frozen=True)
class GpuUsage:
    """The bill of one run, with the fields of a record's GpuUse. None: the driver does not say."""

    devices: int
    gpu_ms: int  # the wall time times the devices
    release_ms: int  # of the wall time: from when nothing was alive until nothing held a GPU
    readings: int  # of each GPU
    peak_memory_bytes: int | None  # of the fullest GPU, at any reading
    utilisation_ppm: int | None  # mean share of the time in which a kernel ran
    energy_millijoules: int | None  # of all GPUs
    energy_by: Literal["counter", "power"] | None  # the driver's counter, or its power integrated over the readings
    sm_clock_mhz: int | None  # mean
    memory_clock_mhz: int | None  # mean


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
    handle, bindings = device.handle, library()
    usage = memory(handle)
    rates = query("nvmlDeviceGetUtilizationRates", handle)
    return Reading(
        at_ns=time.monotonic_ns(),
        memory_bytes=None if usage is None else int(usage.used),
        utilisation_percent=None if rates is None else int(rates.gpu),
        power_milliwatts=query("nvmlDeviceGetPowerUsage", handle),
        energy_millijoules=query("nvmlDeviceGetTotalEnergyConsumption", handle),
        sm_clock_mhz=query("nvmlDeviceGetClockInfo", handle, bindings.NVML_CLOCK_SM),
        memory_clock_mhz=query("nvmlDeviceGetClockInfo", handle, bindings.NVML_CLOCK_MEM),
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


class EnergyCounter:
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
        self.counter, self.power = EnergyCounter(), Integral()
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


def bill(gauges: list[Gauge], wall_ms: int, release_ms: int) -> GpuUsage:
    """What a run took of all its GPUs. Energy is by one method for all of them: the better one that all support."""

    def every(values: Iterable[int | None]) -> list[int] | None:
        supported = [value for value in values if value is not None]
        return supported if len(supported) == len(gauges) else None

    def mean(values: Iterable[int | None]) -> int | None:
        supported = every(values)
        return None if supported is None else (2 * sum(supported) + len(supported)) // (2 * len(supported))

    peaks = every(gauge.peak_memory_bytes for gauge in gauges)
    counted = every(gauge.counter.total for gauge in gauges)
    drawn = every(gauge.power.value_seconds() for gauge in gauges)
    by: Literal["counter", "power"] | None = "counter" if counted else "power" if drawn else None
    return GpuUsage(
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
    """Reads these GPUs in a thread of its own from `with` to its end. One run each."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._gauges = [Gauge() for _ in devices]
        self._before: list[int] = []  # bytes in use when nobody was there
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, name="gpu-meter", daemon=True)
        self._family: set[int] = set()  # of the submission, all that were ever seen on a GPU
        self._intruder: str | None = None
        self._fault: str | None = None
        self.release_ms = 0

    def __enter__(self) -> Meter:
        self._read()
        self._before = [gauge.peak_memory_bytes or 0 for gauge in self._gauges]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._read()

    def _keep_reading(self) -> None:
        try:
            while not self._ended.wait(READ_SECONDS):
                self._read()
        except Exception as error:  # a thread has nobody to raise to
            self._fault = f"the GPUs could not be read any more: {type(error).__name__}: {error}"

    def _read(self) -> None:
        intruder = None
        for device, gauge in zip(self._devices, self._gauges, strict=True):
            gauge.add(read(device))
            for pid in (occupancy.holders(device) or set()) - self._family:
                if occupancy.may_descend_from(pid, os.getpid()):
                    self._family.add(pid)
                else:
                    intruder = occupancy.intruder(device, pid)
        self._intruder = intruder

    def check_exclusive(self) -> None:
        """While the run lasts. Raises GpuError if others are on its GPUs too: its time then says nothing."""
        if problem := self._fault or self._intruder:
            raise GpuError(problem)

    def wait_until_free(self) -> str | None:
        """When no process of the submission is left: wait until none holds a GPU. Why the run has failed, or None.

        Raises GpuError if it is somebody else who holds one. Ancestry tells nothing any more: a process whose sandbox
        was killed around it has another parent. But whatever is still alive now was never in the sandbox.
        """
        began = time.monotonic()
        allowed = [before + occupancy.IDLE_BYTES for before in self._before]

        def holder() -> str | None:
            for device in self._devices:
                for pid in (occupancy.holders(device) or set()) - self._family:
                    if occupancy.is_alive(pid):
                        raise GpuError(occupancy.intruder(device, pid))
            return occupancy.occupant(self._devices, allowed)

        held = occupancy.wait_until_none(holder)
        self.release_ms = round((time.monotonic() - began) * 1000)
        return None if held is None else f"{held}, {occupancy.RELEASE_SECONDS:.0f} s after its last process was gone"

    def bill(self, wall_ms: int) -> GpuUsage:
        """After the `with`; wall_ms is the run's, its wait for the GPUs included."""
        return bill(self._gauges, wall_ms, self.release_ms)
