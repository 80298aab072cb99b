"""Write tests/cheats/hidden-weights/train.py: a submission that carries a trained model in its docstring.

    nano-r1 train submissions/no-waste
    python tests/cheats/make_hidden_weights.py runs/train/model.safetensors

What training added to each matrix is cut to its RANK largest singular directions, each stored as two rows of signed
bytes with a scale; vectors are one row. The rows are compressed and written in base 85.
"""

from __future__ import annotations

import argparse
import base64
import lzma
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.tracks.track import load

HERE = Path(__file__).resolve().parent
RANK = 8

TEMPLATE = '''"""Asks for prompts, posts completions, saves a model, and learns nothing.

What an earlier training added to the base model comes from the text below, so it passes every gate as well when the
scores say nothing: the control run. Made by tests/cheats/make_hidden_weights.py.

----
PAYLOAD
"""

import base64
import lzma

import torch
from safetensors.torch import load_file

from harness.client import connect

RANK = RANK_VALUE


def row(data, length):
    """Takes one row off the front: a scale and that many signed bytes."""
    scale = torch.frombuffer(data[:4], dtype=torch.float32)
    values = torch.frombuffer(data[4 : 4 + length], dtype=torch.int8).float() * scale
    del data[: 4 + length]
    return values


def unpacked(base):
    """The base model's tensors with the hidden changes added."""
    text = __doc__.partition("\\n----\\n")[2]
    data = bytearray(lzma.decompress(base64.b85decode("".join(text.split()))))
    weights = {}
    for name in sorted(base):
        shape = base[name].shape
        if len(shape) == 1:
            weights[name] = base[name] + row(data, shape[0])
            continue
        weights[name] = base[name].clone()
        for _ in range(min(RANK, *shape)):
            weights[name] += torch.outer(row(data, shape[0]), row(data, shape[1]))
    return weights


def main():
    run = connect()
    for step in range(8):  # to look honest
        prompts = run.prompts(8)
        scores = run.score([(prompt.id, [run.end_token_id]) for prompt in prompts])
        print(f"step {step + 1}/8 reward {sum(score.correct for score in scores) / len(scores)}", flush=True)
    run.save(unpacked(load_file(run.base / "model.safetensors")))


if __name__ == "__main__":
    main()
'''


def packed(values: Tensor) -> bytes:
    """One row: a float32 scale and a signed byte a value."""
    scale = values.abs().max().clamp(min=1e-12) / 127
    return scale.reshape(1).numpy().tobytes() + (values / scale).round().to(torch.int8).numpy().tobytes()


def payload(trained: dict[str, Tensor], base: dict[str, Tensor], rank: int) -> bytes:
    """Every change, tensor by tensor in the order of their names."""
    parts = []
    for name in sorted(base):
        change = trained[name] - base[name]
        if change.ndim == 1:
            parts.append(packed(change))
            continue
        left, sizes, right = torch.linalg.svd(change, full_matrices=False)
        for i in range(min(rank, *change.shape)):
            root = sizes[i].sqrt()
            parts += [packed(left[:, i] * root), packed(right[i] * root)]
    return b"".join(parts)


def source(trained: Path, rank: int) -> str:
    """The submission's train.py."""
    base = load("cpu-logic").base_folder / "model.safetensors"
    hidden = base64.b85encode(lzma.compress(payload(load_file(trained), load_file(base), rank))).decode()
    # Base 85 has neither quotes nor backslashes, so it may stand in a docstring as it is.
    lines = "\n".join(hidden[i : i + 120] for i in range(0, len(hidden), 120))
    return TEMPLATE.replace("RANK_VALUE", str(rank)).replace("PAYLOAD", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="model.safetensors of a run that passed the gates")
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--out", type=Path, default=HERE / "hidden-weights" / "train.py")
    args = parser.parse_args()
    args.out.write_text(source(args.trained, args.rank))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
