"""`ranks`: acceptance/two_steps.py in the sandbox, on all GPUs of this machine, or on two CPU ranks at a tiny shape."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from acceptance.work import SHAPES
from harness.isolation import gpu, sandbox
from harness.tracks.track import ROOT, load
from harness.verify.run import sandbox_limits

CPU_RANKS = 2
SECONDS = 900  # loading eight times a model of 3B parameters among them


class RanksError(Exception):
    """The ranks did not make their two steps, or made them wrong; the message is one sentence."""


def config(name: str) -> dict[str, Any]:
    """Qwen2's configuration of a shape of acceptance/work.py."""
    shape = SHAPES[name]
    return {
        "vocab_size": shape.vocabulary, "hidden_size": shape.width, "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 32_768, "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        "rms_norm_eps": 1e-6, "tie_word_embeddings": shape.tied,
    }  # fmt: skip


def two_steps(name: str, lease: gpu.Lease | None) -> dict[str, Any]:
    """What rank 0 found, and how the sandbox was. Raises RanksError, gpu.GpuError, SandboxError."""
    level = sandbox.isolation().level
    work = {"config": config(name), "cpu_ranks": CPU_RANKS, "rows": 4, "prompt_tokens": 128, "new_tokens": 512}
    if lease is None:
        work |= {"prompt_tokens": 8, "new_tokens": 16}
    with tempfile.TemporaryDirectory(prefix="nano-r1-ranks-") as place:
        for folder in (Path(place), *(Path(place) / part for part in ("submission", "base", "output"))):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        mounts = sandbox.Mounts(*(Path(place) / part for part in ("submission", "base", "output")), None)
        shutil.copyfile(Path(__file__).with_name("two_steps.py"), mounts.submission / "train.py")
        shutil.copyfile(ROOT / "baseline-gpu" / "train.py", mounts.submission / "baseline.py")
        (mounts.submission / "work.json").write_text(json.dumps(work), encoding="utf-8")
        for file in mounts.submission.iterdir():
            file.chmod(0o644)
        limits = sandbox_limits(load("8xh100-logic"))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10
        cores = min(limits.cores, len(os.sched_getaffinity(0)))
        limits = dataclasses.replace(
            limits, seconds=SECONDS, cores=cores, memory_bytes=min(limits.memory_bytes, memory)
        )
        devices = None if lease is None else lease.sandbox_devices(level)
        usage = sandbox.run(["train.py"], mounts=mounts, limits=limits, level=level, devices=devices)
    lines = usage.log.decode(errors="replace").strip().splitlines()
    if usage.failure is not None:
        raise RanksError(f"{usage.failure}: {first_error(lines)}")
    found: dict[str, Any] = json.loads(lines[-1])
    if problem := wrong(found, SHAPES[name].parameters):
        raise RanksError(problem)
    return {**found, "shape": name, "isolation": level, "wall_seconds": usage.wall_ms / 1000}


def first_error(lines: list[str]) -> str:
    """Of the ranks' log: the error that came first. What torchrun says of it afterwards names no cause."""
    errors = [
        match[1] for line in lines if (match := re.match(r"(?:\[rank\d+\]: *)?([\w.]*(?:Error|Exception): .*)", line))
    ]
    return (errors or lines[-1:] or ["it printed nothing"])[0][:300]


def wrong(found: dict[str, Any], parameters: int) -> str | None:
    """What is wrong with two steps that came to their end, or None."""
    before, *_, after = found["margins"]
    if found["parameters"] != parameters:
        return f"the model has {found['parameters']:,} parameters, and its shape {parameters:,}"
    if found["sharded"] != found["tensors"]:
        return f"{found['sharded']} of {found['tensors']} tensors are sharded"
    if not found["agree"]:
        return "the ranks do not agree on the norm of the gradient or on log-probs"
    if not all(math.isfinite(norm) and norm > 0 for norm in found["norms"]):
        return f"the gradient has the norms {found['norms']}"
    if not after > before:
        return f"after two steps the rewarded rows are no likelier beside the others: {before:.4f}, then {after:.4f}"
    return None
