"""The GPU baseline as it is started: one process, torchrun's two ranks, a verified run of two ranks."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import tiny
import torch
from gpu_ranks import BASE
from gpu_runs import ON_CPU, needs_vllm, small_copy, verify
from needs import needs_sandbox
from safetensors.torch import load_file

from harness.tracks.track import ROOT


@needs_vllm
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_on_vllm_ends_well(tmp_path, ranks):
    """The file as it is started, with the real engine: one process, and torchrun's two with an engine each."""
    recipe = "Recipe(2, 4, 4, 2, 48, 4e-4, checkpointing=True, vllm=True)"
    item = small_copy(tmp_path, f"vllm-{ranks}", CPU_RANKS=ranks, LOGIC=recipe)
    environment = {**ON_CPU, "PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(tmp_path / "out")}
    command = [sys.executable, str(item.folder / "train.py")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert done.returncode == 0 and "[rank0]: Traceback" not in done.stderr, done.stderr[-4000:]
    assert f"{ranks} rank{'s' * (ranks > 1)} on cpu, whole, VLLMSampler" in done.stdout, done.stdout
    assert "step 2/2" in done.stdout
    base, saved = load_file(BASE / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert any(not torch.equal(saved[name], base[name]) for name in base)


@needs_vllm
@needs_sandbox
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_on_vllm_is_verified_in_the_sandbox(tmp_path, ranks):
    """The engine starts without network, home and /sys; two ranks have one each (external_launcher)."""
    tiny.build_place(tmp_path, 0.1)
    name, recipe = f"vllm-{ranks}", "Recipe(1, 4, 4, 2, 24, 4e-4, vllm=True)"
    program = small_copy(tmp_path, name, CPU_RANKS=ranks, LOGIC=recipe).folder / "train.py"
    text = program.read_text(encoding="utf-8")
    start = 'os.environ |= {\n    "VLLM_CPU_KVCACHE_SPACE": "1",'  # the sandbox hands no variable in
    assert text.count("os.environ |= {") == 1
    program.write_text(text.replace("os.environ |= {", start), encoding="utf-8")
    predicate, log = verify(tmp_path, name, processes=512, memory_bytes=8 << 30, shm_bytes=1 << 30)
    assert log.count(f"{ranks} rank{'s' * (ranks > 1)} on cpu, whole, VLLMSampler") == 2, log
    assert log.count("step 1/1") == 2, log
    for run in (predicate.runs[0], predicate.control):
        assert (run.prompts, run.reward_queries) == (4, 16)
        print(name, f"{run.wall_ms} ms, {run.cpu_ms} ms of CPU, at most {run.peak_memory_bytes} bytes")


@pytest.mark.slow
def test_one_process_trains(tmp_path):
    """A development run: one rank, the plain sampler, a saved checkpoint that is not the base."""
    item = small_copy(tmp_path, "one-process")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(tmp_path / "out")}
    command = [sys.executable, str(item.folder / "train.py")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("step ")]
    assert len(steps) == 2 and all("grad_norm " in line and "dead_groups " in line for line in steps)
    base, saved = load_file(BASE / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in saved.items()} == {k: (v.shape, v.dtype) for k, v in base.items()}
    assert any(not torch.equal(saved[name], base[name]) for name in base)


@pytest.mark.slow
@pytest.mark.all
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.parametrize("name", ["whole", "sharded"])
def test_two_ranks_finish_a_verified_track_run(tmp_path, name):
    """The real verifier and its sandbox, which starts one process: it becomes torchrun with two gloo ranks.

    Once replicated, once sharded by FSDP2; a run and a control run each.
    """
    tiny.build_place(tmp_path, 0.1)
    small_copy(tmp_path, name, CPU_RANKS=2, **({"SHARD_ABOVE": 0} if name == "sharded" else {}))
    predicate, log = verify(tmp_path, name)
    for run in (predicate.runs[0], predicate.control):
        # Two steps of four questions, four completions each; each rank was handed half of them.
        assert (run.prompts, run.reward_queries) == (8, 32), log
        assert run.weights_sha256 != hashlib.sha256((BASE / "model.safetensors").read_bytes()).hexdigest()
        print(name, f"{run.wall_ms} ms, {run.cpu_ms} ms of CPU, at most {run.peak_memory_bytes} bytes")
    assert log.count(f"2 ranks on cpu, {name}") == 2 and log.count("step 2/2") == 2, log
