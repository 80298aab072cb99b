"""Runs of a GPU baseline on a CPU: a small copy of it, what a real vLLM needs there, and a verification of it."""

import lzma
import os
import re
import shutil
from importlib.util import find_spec

import forked
import pytest
import tiny

from harness import submission
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT

REQUIRED = os.environ.get("NANO_R1_TEST_VLLM") == "1"  # scripts/test-vllm: without vLLM these tests fail there
needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None and not REQUIRED, reason="vLLM is not here: scripts/test-vllm"
)
ON_CPU = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "TORCH_COMPILE_DISABLE": "1"}


def small_copy(folder, name, baseline="baseline-gpu", track=("gpu-logic", "cpu-logic"), **constants):
    """A copy of a baseline as a submission: constants replaced, and a track of CPUs in place of one of GPUs."""
    home = folder / name
    shutil.copytree(ROOT / baseline, home, ignore=shutil.ignore_patterns("__pycache__"))
    text = (home / "train.py").read_text(encoding="utf-8")
    constants = {"LOGIC": "Recipe(2, 4, 4, 2, 48, 4e-4, checkpointing=True)"} | constants
    for constant, value in constants.items():
        text, count = re.subn(rf"^{constant} = .*$", f"{constant} = {value}", text, flags=re.MULTILINE)
        assert count == 1, constant
    (home / "train.py").write_text(text, encoding="utf-8")
    manifest = (home / "submission.toml").read_text(encoding="utf-8").replace(f'"{baseline}"', f'"{name}"')
    (home / "submission.toml").write_text(manifest.replace(f'"{track[0]}"', f'"{track[1]}"'), encoding="utf-8")
    return submission.load(home)


def verify(place, name, **budget):
    """Verify a submission of tests/tiny.py's place in the real sandbox: its record's predicate, and the log."""
    track = place / "harness" / "tracks" / "cpu-logic.toml"
    text = track.read_text(encoding="utf-8")
    for limit, value in {"seconds": 900, **budget}.items():
        text, count = re.subn(rf"^{limit} = [\d_]+", f"{limit} = {value}", text, flags=re.M)
        assert count == 1, limit
    track.write_text(text, encoding="utf-8")
    errors, ledger = place / "errors", place / "records"
    process = forked.Process(target=tiny.run_session, args=(place, ledger, [name], None, errors))
    process.start()
    process.join()
    assert process.exitcode == 0 and Ledger(ledger).records(), errors.read_text(encoding="utf-8")
    entry = Ledger(ledger).records()[0]
    log = lzma.decompress((ledger / entry.folder / "log.txt.xz").read_bytes()).decode()
    predicate = entry.record.predicate
    assert predicate.isolation == "full" and all(predicate.isolation_checks.values())
    return predicate, log
