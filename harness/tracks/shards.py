"""A checkpoint in several safetensors files as one: what the strict reader compares with is a single file.

The joined file is a function of the shards alone: tensors by falling width and then by name, so that each stays
aligned, their bytes copied, the only metadata that the strict reader allows. Nothing is loaded: the weights pass
through in pieces. Format: https://github.com/huggingface/safetensors#format

The strict reader, harness.frozen.checkpoint, cannot read shards: it refuses the metadata that their makers wrote into
them. The safetensors library hands out tensors, and this needs where their bytes lie.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import NanoR1Error
from harness.frozen.checkpoint import WIDTHS

PIECE = 1 << 24  # bytes held in memory


class ShardError(NanoR1Error):
    """The files do not make one checkpoint; the message names the file."""


@dataclass(frozen=True)
class Tensor:
    """What a header says of a tensor, and where its `size` bytes begin in the file."""

    file: Path
    begin: int
    size: int
    dtype: str
    shape: Any  # as the header has it


def join(path: Path, parts: Sequence[Path]) -> None:
    """Write the parts' tensors into one file, which appears whole or not at all. Raises ShardError, OSError."""
    with files.replacing(path) as whole:
        os.fchmod(whole.fileno(), 0o644)  # whatever the umask: the sandbox user reads it too
        for piece in _joined(parts):
            whole.write(piece)


def is_joined(path: Path, parts: Sequence[Path]) -> bool:
    """Is this what `join` would write, byte for byte? Raises ShardError."""
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in _joined(parts)) and not file.read(1)


def layout(tensors: dict[str, tuple[str, Any, int]]) -> tuple[list[str], bytes]:
    """(dtype, shape, bytes) of each tensor -> the order in which they follow, and all that stands before them."""
    order = sorted(tensors, key=lambda name: (-WIDTHS[tensors[name][0]], name))
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        dtype, shape, size = tensors[name]
        begin, end = end, end + size
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return order, len(text).to_bytes(8, "little") + text


def _joined(parts: Sequence[Path]) -> Iterator[bytes]:
    """The joined file, piece by piece."""
    tensors: dict[str, Tensor] = {}
    for part in parts:
        for name, tensor in _tensors(part).items():
            if name in tensors:
                raise ShardError(f"{part}: tensor {name!r} stands in {tensors[name].file.name} too")
            tensors[name] = tensor
    order, text = layout({name: (tensor.dtype, tensor.shape, tensor.size) for name, tensor in tensors.items()})
    yield text
    for name in order:
        yield from _bytes_of(name, tensors[name])


def _tensors(part: Path) -> dict[str, Tensor]:
    """What the shard's header lists, by name. Raises ShardError where it is not that of a safetensors file."""
    try:
        with part.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            _ = WIDTHS[entry["dtype"]]  # LookupError for a dtype that the strict reader does not know
            tensors[name] = Tensor(part, 8 + length + begin, end - begin, entry["dtype"], entry["shape"])
        return tensors
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
        raise ShardError(f"{part} is not a safetensors file: delete it and fetch it again") from None


def _bytes_of(name: str, tensor: Tensor) -> Iterator[bytes]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.begin)
        left = tensor.size
        while left:
            piece = file.read(min(left, PIECE))
            if not piece:
                raise ShardError(f"{tensor.file} breaks off inside tensor {name!r}: delete it and fetch it again")
            yield piece
            left -= len(piece)
