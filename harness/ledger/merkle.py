"""The Merkle tree hash of RFC 6962 §2.1: one number that stands for a list, in order.

Leaves and nodes are hashed under different prefixes, so that no node can be passed off as a leaf. The log
is short and every reader holds the whole of it, so consistency needs no proof: hash the first n leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


class Tree:
    """A list that grows, as the roots of its full subtrees: one for each bit set in its size, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        node, rest = hashlib.sha256(b"\x00" + leaf).digest(), self.size
        while rest & 1:  # two subtrees of one size make one of the next
            node, rest = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest(), rest >> 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The 32-byte tree hash of what was appended so far; of nothing, the SHA-256 of nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        node = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            node = hashlib.sha256(b"\x01" + peak + node).digest()
        return node


def root(leaves: Iterable[bytes]) -> bytes:
    """The 32-byte tree hash of the leaves."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def prefix_roots(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The tree hash of the first n leaves for each n in `sizes` that there is, in one pass over the leaves."""
    sizes, tree = set(sizes), Tree()
    roots = {0: tree.root()} if 0 in sizes else {}
    for leaf in leaves:
        tree.append(leaf)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    return roots


def consistent(old_size: int, old_root: bytes, leaves: Sequence[bytes]) -> bool:
    """Was a list of `old_size` leaves under `old_root` only ever appended to? Total: never raises."""
    return prefix_roots(leaves, [old_size]).get(old_size) == old_root
