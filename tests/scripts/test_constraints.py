"""constraints-gpu.txt is constraints.txt and what vLLM adds; that it resolves is what scripts/resolve-gpu asks."""

from __future__ import annotations

from harness.tracks.track import ROOT

OLDER = {"numpy", "numpy-typing-compat", "setuptools"}  # vLLM, or what it needs, allows no newer one


def pins(name: str) -> dict[str, str]:
    lines = [
        line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    found = dict(line.split("==") for line in lines)
    assert len(found) == len(lines)
    return {package.lower().replace("_", "-"): version for package, version in found.items()}


def test_a_gpu_machine_installs_what_the_records_were_made_with() -> None:
    """Where it fails after a change of constraints.txt: scripts/resolve-gpu --write."""
    records, gpu = pins("constraints.txt"), pins("constraints-gpu.txt")
    assert {name: gpu.get(name) for name in records if name not in OLDER} == {
        name: version for name, version in records.items() if name not in OLDER
    }
    assert {"vllm", "triton", "nvidia-nccl-cu13", "trl"} <= gpu.keys()


def test_the_pins_of_vllm_that_contradicted_each_other() -> None:
    """mistral-common wants numpy below 2.4 on Python 3.11 and 3.12, vLLM setuptools below 81 from 3.12 on."""
    gpu = pins("constraints-gpu.txt")
    assert tuple(map(int, gpu["numpy"].split(".")[:2])) < (2, 4)
    assert int(gpu["setuptools"].split(".")[0]) < 81
