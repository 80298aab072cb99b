"""The Merkle tree hash of RFC 6962 §2.1: one number that stands for a list, in order.

Leaves and nodes are hashed under different prefixes, so that no node can be passed off as a leaf. The log
is short and every reader holds the whole of it, so consistency needs no proof: hash the first n leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte tree hash of the leaves; of no leaves, the SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1  # the largest power of two below the number of leaves
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def consistent(old_size: int, old_root: bytes, leaves: Sequence[bytes]) -> bool:
    """Was a list of `old_size` leaves under `old_root` only ever appended to? Total: never raises."""
    return 0 <= old_size <= len(leaves) and root(leaves[:old_size]) == old_root
