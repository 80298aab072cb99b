"""Can this machine run a track at all?"""

from __future__ import annotations

from pathlib import Path

from harness.errors import NanoR1Error
from harness.tracks.track import Track


class HardwareError(NanoR1Error):
    """The track needs GPUs that this machine does not have; the message says which."""


def check_gpus(track: Track) -> None:
    """Raises HardwareError where a GPU track would run without its GPUs: nothing that came of it could count."""
    if track.hardware.kind != "gpu":
        return
    here = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if here < track.hardware.gpus:
        raise HardwareError(
            f"{track.name} runs on {track.hardware.label}, and this machine has {here or 'none'}",
            advice=f"`nano-r1 tracks plan {track.name}` says what it would take",
        )
