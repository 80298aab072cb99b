"""A track's packages, imported before the clock starts: on a track of a minute, importing torch is not what is raced.

Where a track names modules to preload, `python train.py` is started with `preloader/sitecustomize.py` on its path. It
imports them and waits, before Python has opened train.py, for a byte at a descriptor. The harness starts the clock and
sends it. So none of the submission's lines run off the clock, and the submission can change nothing of what does: no
folder of its own is on the path or is the working directory, and every variable is the harness's.

Between harness and interpreter stands the supervisor, which passes the word on; a development run has none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).with_name("preloader")  # holds sitecustomize.py alone
INSIDE = Path("/opt/nano-r1-preload")  # where it is in the sandbox
VARIABLE = "NANO_R1_PRELOAD"  # the descriptor and the modules; the supervisor knows the name too
SECONDS = 120  # then the machine is at fault: importing torch and transformers takes 5 to 8 s


def environment(modules: Sequence[str], folder: Path, library: str) -> dict[str, str]:
    """The variables with which Python finds the preloader in `folder`; what starts it puts a descriptor before the
    modules. `library`: what PYTHONPATH is otherwise, and will be for train.py."""
    return {"PYTHONPATH": f"{folder}{os.pathsep}{library}", VARIABLE: " ".join(modules)} if modules else {}


class Imports:
    """The end of who starts a preloading interpreter without a supervisor, with these `variables` and `descriptor`."""

    def __init__(self, modules: Sequence[str], library: str) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.descriptor = self._theirs.fileno()
        self.variables = environment(modules, FOLDER, library)
        self.variables[VARIABLE] = f"{self.descriptor} {self.variables[VARIABLE]}"

    def wait(self) -> int | None:
        """When it has started: milliseconds of CPU time that its imports took. None: it has ended, or took too long."""
        self._theirs.close()
        self._ours.settimeout(SECONDS)
        try:
            told = self._ours.recv(32)
        except TimeoutError:
            return None
        return int(told) if told else None

    def go(self) -> None:
        """Let it run train.py, now that the clock has started."""
        with self._ours:
            self._ours.send(b"g")
