"""The keys of a verification: everything derives from one root that is committed to first, revealed after."""

from __future__ import annotations

import hashlib
import hmac


def commitment(root: bytes, nonce: bytes) -> str:
    """What is published before the first run: sha256(root ‖ nonce), 32 bytes each, in hex."""
    return hashlib.sha256(root + nonce).hexdigest()


def derive(root: bytes, purpose: str, tree_sha256: str, run: int) -> bytes:
    """HMAC-SHA256(root, purpose/submission/run): 32 bytes that nobody could know before the root was revealed.

    Purposes: `train` (the training prompts), `heldout` (the questions), `seed`, `control` (scores that say nothing).
    """
    return hmac.digest(root, f"{purpose}/{tree_sha256}/{run}".encode(), "sha256")


def seed_of(root: bytes, tree_sha256: str, run: int) -> int:
    """The run's seed, 31 bits."""
    return int.from_bytes(derive(root, "seed", tree_sha256, run)[:4], "big") >> 1


def control_round(root: bytes, tree_sha256: str, rounds: int) -> int:
    """In which of the session's rounds the control run is made: the submission cannot know.

    Never in the first (number 0): a cheat that needs a note left by an earlier run finds one in the control run too.
    """
    return 1 + int.from_bytes(derive(root, "control round", tree_sha256, rounds)[:4], "big") % (rounds - 1)
