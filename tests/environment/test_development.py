"""The environment that connect() starts while a recipe is being developed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.environment.training import development_key
from harness.tracks.track import ROOT, load


def development(place: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NANO_R1_SOCKET", "RANK", "WORLD_SIZE")}
    env = {**kept, "PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(place / "out"), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=place, capture_output=True, encoding="utf-8", timeout=60
    )


def test_connect_starts_a_development_environment_and_ends_it(place: Path) -> None:
    code = (
        "from harness.client import connect\n"
        "run = connect()\n"
        "prompts = run.prompts(4)\n"
        "print(run.seed, run.output, run.base, len(prompts), run.score([(prompts[0].id, [])])[0].correct)\n"
        "print(sorted(p.token_ids for p in prompts))\n"
    )
    first, second, other = (development(place, code, NANO_R1_SEED=seed) for seed in ("5", "5", "6"))
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout.splitlines()[0] == f"5 {place / 'out'} {load('cpu-logic').base_folder} 4 False"
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[1] != other.stdout.splitlines()[1]


def test_the_development_environment_outlives_nobody(place: Path) -> None:
    """A trainer that is killed cannot stop its environment; the environment notices by itself."""
    code = (
        "import os, signal, glob\n"
        "from harness.client import connect\n"
        "run = connect()\n"
        "print(run._connection.getpeername(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = development(place, code)
    path = done.stdout.strip()
    assert path.endswith("/socket"), done.stderr
    for _ in range(100):
        if not Path(path).exists():
            shutil.rmtree(Path(path).parent)
            return
        time.sleep(0.05)
    pytest.fail("the development environment is still there")


def test_a_development_environment_that_cannot_start_says_why(place: Path) -> None:
    done = development(place, "from harness.client import connect; connect()", NANO_R1_TRACK="cpu-magic")
    assert "nano-r1: there is no track 'cpu-magic'; did you mean cpu-logic?" in done.stderr
    assert "EnvironmentRefused: the development environment did not start" in done.stderr
    assert "TrackError" not in done.stderr  # the child's message, without a traceback


def test_development_keys_differ_by_seed() -> None:
    assert len({development_key(seed) for seed in range(100)}) == 100
