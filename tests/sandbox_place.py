"""The folders of a run, outside pytest's own: each session of pytest that starts closes those to the sandbox's user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from needs import needs_sandbox

from harness.isolation import sandbox
from harness.isolation.sandbox import Hooks, Level, Limits, Mounts, Usage

both_levels = pytest.mark.parametrize("level", [pytest.param("full", marks=needs_sandbox), "none"])

LIMITS = Limits(
    seconds=20, memory_bytes=1 << 28, shm_bytes=1 << 22, output_bytes=1 << 20, log_bytes=1 << 16, processes=24, cores=1
)


class Place:
    """A submission's folders on the host; `run` writes train.py and runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submission, self.base, self.output = folder / "submission", folder / "base", folder / "output"
        for path in [self.submission, self.base, self.output]:
            path.mkdir()
        for path in [folder, self.submission, self.base]:
            path.chmod(0o755)
        self.socket: Path | None = None

    def run(
        self,
        program: str,
        level: Level = "full",
        limits: Limits = LIMITS,
        hooks: Hooks | None = None,
        preload: Sequence[str] = (),
    ) -> Usage:
        (self.submission / "train.py").write_text(program, encoding="utf-8")
        mounts = Mounts(self.submission, self.base, self.output, self.socket)
        return sandbox.run(["train.py"], mounts=mounts, limits=limits, level=level, hooks=hooks, preload=preload)
