"""The NVIDIA driver's own library, spoken to with NVIDIA's `nvidia-ml-py`, and the devices that it lists.

What a device or a driver does not support is None, never an error. Calls and units: NVML's reference,
https://docs.nvidia.com/deploy/nvml-api/.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.errors import NanoR1Error


class GpuError(NanoR1Error):
    """The GPUs that are asked for are not here, not free, or cannot be metered; the message says what to do."""


@cache
def library() -> Any:
    """NVIDIA's bindings, initialised once for this process. Raises GpuError."""
    try:
        import pynvml
    except ImportError:
        raise GpuError("nvidia-ml-py is not installed: scripts/setup.sh gpu") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise GpuError(f"the NVIDIA driver does not answer: {error}") from None
    return pynvml


def query(call: str, *arguments: Any) -> Any:
    """What NVML answers; None where the device, the driver or the bindings do not know this call. Raises GpuError."""
    bindings = library()
    function = getattr(bindings, call, None)
    if function is None:
        return None
    try:
        return function(*arguments)
    except bindings.NVMLError:
        return None


def mode(answer: Any) -> bool | None:
    """Of a mode, or of a pair (now, after the next reset): is it on now?"""
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
        return bool(mode(query("nvmlDeviceGetMigMode", self.handle)))

    def is_called(self, name: str) -> bool:
        return name == str(self.index) or (name.startswith("GPU-") and self.uuid.startswith(name))

    def __str__(self) -> str:
        return f"{self.name} ({self.memory_bytes / 1e9:.0f} GB{', in MIG mode' if self.mig else ''})"


def devices() -> list[Device]:
    """This machine's GPUs; with CUDA_VISIBLE_DEVICES set, as a scheduler does, those it names. Raises GpuError."""
    listed = []
    for index in range(query("nvmlDeviceGetCount") or 0):
        handle = query("nvmlDeviceGetHandleByIndex", index)
        name, uuid = query("nvmlDeviceGetName", handle), query("nvmlDeviceGetUUID", handle)
        total = memory(handle)
        if name and uuid and total:
            listed.append(Device(index, name, uuid, int(total.total), handle))
    return visible(listed, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(listed: list[Device], names: str | None) -> list[Device]:
    """The devices that CUDA_VISIBLE_DEVICES names, by index (in PCI order) or by the beginning of a UUID.

    Raises GpuError on a name that is none of them: CUDA would silently stop there.
    """
    if names is None:
        return listed
    chosen: dict[int, Device] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        matches = [device for device in listed if device.is_called(name)]
        if len(matches) != 1:
            raise GpuError(
                f"CUDA_VISIBLE_DEVICES names {name[:80]!r}, which is none of this machine's {len(listed)} GPUs"
            )
        chosen.setdefault(matches[0].index, matches[0])
    return list(chosen.values())


def memory(handle: Any) -> Any:
    """Bytes total and used. Version 2 does not count what the driver keeps for itself as used."""
    version = getattr(library(), "nvmlMemory_v2", None)
    second = None if version is None else query("nvmlDeviceGetMemoryInfo", handle, version)
    return query("nvmlDeviceGetMemoryInfo", handle) if second is None else second
