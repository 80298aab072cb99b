"""What a trainer imports: saving weights, and the standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wire import serve

from harness.client import Run, SaveError, connect
from harness.frozen import checkpoint
from harness.tracks.track import ROOT, Track


@pytest.fixture
def small(track: Track, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose base has a tied embedding in bfloat16 and a float32 norm."""
    import torch
    from safetensors.torch import save_file

    base, output = place / "base", place / "output"
    base.mkdir()
    output.mkdir()
    weights = {"embed.weight": torch.zeros(6, 4, dtype=torch.bfloat16), "norm.weight": torch.ones(4)}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setenv("NANO_R1_SOCKET", str(place / "s"))
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with serve(track, place / "s", base=base, output=output):
        yield connect()


def test_save_writes_what_the_strict_reader_accepts(small: Run) -> None:
    import torch
    from safetensors.torch import load
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Embedding(6, 4), nn.LayerNorm(4, bias=False)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.embed.weight  # tied: the base's file has no head.weight

    model = Model()
    path = small.save(model)
    assert path == small.output / "model.safetensors"
    checked = checkpoint.read(path, small.base / "model.safetensors")
    saved = load(checked.data)
    assert saved["embed.weight"].dtype == torch.bfloat16
    assert torch.equal(saved["embed.weight"], model.embed.weight.detach().bfloat16())
    assert torch.equal(saved["norm.weight"], model.norm.weight)
    assert [p.name for p in small.output.iterdir()] == ["model.safetensors"]
    shared = torch.randn(28)  # a dict of views into one buffer, one of them not contiguous
    state = {"embed.weight": shared[:24].view(4, 6).T, "norm.weight": shared[24:]}
    small.save(state)
    again = load(checkpoint.read(path, small.base / "model.safetensors").data)
    assert torch.equal(again["embed.weight"], state["embed.weight"].bfloat16())


def test_save_refuses_what_does_not_fit_and_leaves_the_old_file(small: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    good = {"embed.weight": torch.ones(6, 4), "norm.weight": torch.ones(4)}
    before = small.save(good).read_bytes()
    with pytest.raises(SaveError, match=r"'embed.weight' has shape \(4, 6\), the base has \(6, 4\)"):
        small.save({**good, "embed.weight": torch.ones(4, 6)})
    with pytest.raises(SaveError, match=r"no tensor 'norm.weight'"):
        small.save({"module.norm.weight": torch.ones(4), "embed.weight": torch.ones(6, 4)})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        small.save({**good, "norm.weight": torch.zeros(4)})
    assert [p.name for p in small.output.iterdir()] == ["model.safetensors"]
    assert (small.output / "model.safetensors").read_bytes() == before


def test_the_client_needs_the_standard_library_only() -> None:
    code = (
        "import sys, harness.client\n"
        "ours = sorted(m for m in sys.modules if m.startswith('harness'))\n"
        "assert ours == ['harness', 'harness.client'], ours\n"
        "assert not {'torch', 'numpy', 'safetensors', 'tokenizers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
