"""The base class of this room's errors. It imports nothing of ours, so it is not harness.errors.NanoR1Error."""

from __future__ import annotations


class FrozenError(ValueError):
    """What is wrong and where, in a sentence. `nano-r1` prints it as one line and exits with 2, as for NanoR1Error."""
