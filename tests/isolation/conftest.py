"""What the tests of isolation share: the folders of a run, and a stand-in for NVML, compiled once."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nvml_machine import Machine
from sandbox_place import Place

from harness.tracks.track import ROOT

# Not in pytest's own folder: every session of pytest that starts closes that to the sandbox's user.


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="nano-r1-test-") as folder:
        yield Place(Path(folder))


@pytest.fixture(scope="session")
def nvml() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nano-r1-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        source, target = ROOT / "tests" / "nvml_standin.c", folder / "libnvidia-ml.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", target, source], check=True)
        yield folder


@pytest.fixture
def machine(nvml: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="nano-r1-test-") as folder:
        yield Machine(nvml, Path(folder))
