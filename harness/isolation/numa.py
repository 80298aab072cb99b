"""Which cores a run on GPUs begins on: the same number near each of its GPUs.

On a machine of two sockets the first 64 cores are those of the first socket and a few more, while half of the GPUs hang
on the second: every copy between them and the host would cross the sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def order(gpu_nodes: Sequence[int | None], node_cores: dict[int, list[int]]) -> list[int]:
    """Cores by preference: in turn for each GPU the next core of its NUMA node, then those of nodes without a GPU.

    gpu_nodes: of each GPU; None where the machine does not say. node_cores: of each node, in ascending order.
    """
    left = {node: list(cores) for node, cores in sorted(node_cores.items())}
    found: list[int] = []
    while near := [node for node in gpu_nodes if node is not None and left.get(node)]:
        for node in near:
            if left[node]:
                found.append(left[node].pop(0))
    return found + [core for cores in left.values() for core in cores] if found else []


def node_of(device: Path) -> int | None:
    """The NUMA node of a PCI device's folder in sysfs. None where there is one node only, or none is told (-1)."""
    try:
        node = int((device / "numa_node").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def node_cores(nodes: Path) -> dict[int, list[int]]:
    """The cores of each NUMA node; `nodes` is /sys/devices/system/node."""
    found = {}
    for file in nodes.glob("node[0-9]*/cpulist"):
        found[int(file.parent.name.removeprefix("node"))] = _cores(file.read_text(encoding="utf-8").strip())
    return found


def _cores(text: str) -> list[int]:
    """Of "0-2,8": 0, 1, 2, 8. A node without cores says nothing."""
    cores: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return cores
