"""The cores of a run on GPUs lie near its GPUs, the same number for each."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from harness.isolation import numa
from harness.isolation.budgets import on_cores

SOCKETS = {0: [*range(56), *range(112, 168)], 1: [*range(56, 112), *range(168, 224)]}  # two, with two threads a core


def test_eight_gpus_on_two_sockets_get_half_of_the_cores_on_each() -> None:
    order = numa.order([0, 0, 0, 0, 1, 1, 1, 1], SOCKETS)
    assert sorted(order) == list(range(224))
    assert Counter(core in SOCKETS[1] for core in order[:64]) == {False: 32, True: 32}  # sorted(…)[:64] gave 56 and 8


def test_one_gpu_gets_the_cores_of_its_own_socket() -> None:
    assert numa.order([1], SOCKETS)[:16] == list(range(56, 72))
    assert numa.order([1, 1], {0: [0, 1], 1: [2, 3]}) == [2, 3, 0, 1]  # more than its socket has: then the others


@pytest.mark.parametrize("nodes", [[], [None], [None, None], [5]])
def test_where_the_machine_does_not_say_nothing_is_preferred(nodes: list[int | None]) -> None:
    assert numa.order(nodes, SOCKETS) == []
    assert numa.order([0], {}) == []


def test_nodes_and_cores_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    for name, text in (("node0", "0-2,8\n"), ("node1", "3\n"), ("node2", "\n")):  # the last has memory only
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpulist").write_text(text, encoding="utf-8")
    assert numa.node_cores(tmp_path) == {0: [0, 1, 2, 8], 1: [3], 2: []}
    assert numa.node_of(tmp_path) is None
    for text, node in (("1\n", 1), ("-1\n", None)):
        (tmp_path / "numa_node").write_text(text, encoding="utf-8")
        assert numa.node_of(tmp_path) == node


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one core")
def test_a_run_begins_on_the_preferred_cores() -> None:
    mine = sorted(os.sched_getaffinity(0))
    with on_cores(1, [10_000, mine[1], mine[0]]):  # the first is none of ours
        assert os.sched_getaffinity(0) == {mine[1]}
    with on_cores(1):
        assert os.sched_getaffinity(0) == {mine[0]}
    assert sorted(os.sched_getaffinity(0)) == mine
