"""What Triton needs of a machine: a driver for the installed CUDA, and a C compiler with Python's headers.

Triton compiles a C module, with gcc and Python.h, when its first kernel is launched; vLLM launches one for every
attention. In the sandbox that happens on the clock, so it is tried before a session is announced.
https://github.com/triton-lang/triton/blob/main/python/triton/runtime/build.py
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from harness.isolation.nvml import query

# The oldest driver of each CUDA, by minor version compatibility: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
OLDEST_DRIVER = {12: 525, 13: 580}
RIGHT = "Triton 524800"  # what _launch prints for each GPU: the sum of 1 to 1024

# Runs inside the sandbox. Each GPU's kernel adds one to 0, 1, … 1023.
KERNEL = """
import torch
import triton
import triton.language as tl

@triton.jit
def _add_one(values, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(values + at, tl.load(values + at) + 1)

def _launch(devices):
    for device in devices:
        values = torch.arange(1024, dtype=torch.float32, device=device)
        with torch.cuda.device(device):
            _add_one[(4,)](values, SIZE=256)
        print("Triton", int(values.sum().item()))
"""


def has_triton() -> bool:
    """PyTorch's builds for CUDA bring it; where it is missing, nothing can want it."""
    return find_spec("triton") is not None


def missing_tools() -> str | None:
    """What is missing to compile as Triton does, and the command that installs it; None if nothing is."""
    if not has_triton():
        return None
    missing = []
    if not any(shutil.which(name, path=f"{sys.prefix}/bin:/usr/bin:/bin") for name in ("gcc", "clang")):
        missing.append("C compiler")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        missing.append("Python.h")
    if not missing:
        return None
    install = f"sudo apt-get install -y gcc libc6-dev python{sys.version_info.major}.{sys.version_info.minor}-dev"
    return f"Triton compiles in the sandbox, and there is no {' and no '.join(missing)}: {install}"


def old_driver() -> str | None:
    """Why the driver cannot run the installed PyTorch, or None. Raises GpuError where no driver answers."""
    newest, built = query("nvmlSystemGetCudaDriverVersion_v2"), cuda_major()
    if newest is None or built is None or newest // 1000 >= built:
        return None
    driver = query("nvmlSystemGetDriverVersion") or "this"
    oldest = f"install driver {OLDEST_DRIVER[built]} or newer" if built in OLDEST_DRIVER else "install a newer driver"
    has = f"{newest // 1000}.{newest % 1000 // 10}"
    return f"driver {driver} goes up to CUDA {has}, and the installed PyTorch is built for CUDA {built}: {oldest}"


def cuda_major() -> int | None:
    """The CUDA that the installed PyTorch is built for; None for a build without. PyTorch itself is not imported."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    written = re.search(
        r"^cuda\b.*= *'(\d+)", Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"), re.M
    )
    return int(written[1]) if written else None
