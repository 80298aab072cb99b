"""What the tests of isolation share: a stand-in for NVML, compiled once."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nvml_machine import Machine

from harness.tracks.track import ROOT


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    folder.chmod(0o755)
    source, target = ROOT / "tests" / "nvml_standin.c", folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", target, source], check=True)
    return folder


@pytest.fixture
def machine(nvml: Path) -> Iterator[Machine]:
    """Not in tmp_path: every session of pytest that starts closes the folder of them all to the sandbox's user."""
    with tempfile.TemporaryDirectory(prefix="nano-r1-test-") as folder:
        yield Machine(nvml, Path(folder))
