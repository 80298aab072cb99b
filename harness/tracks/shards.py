"""A checkpoint in several safetensors files as one: what the strict reader compares with is a single file.

The joined file is a function of the shards alone: tensors by falling width and then by name, so that each stays
aligned, their bytes copied, the only metadata that the strict reader allows. Nothing is loaded: the weights pass
through in pieces. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.checkpoint import WIDTHS
from harness.errors import NanoR1Error

PIECE = 1 << 24  # bytes held in memory


class ShardError(NanoR1Error):
    """The files do not make one checkpoint; the message names the file."""


def join(path: Path, parts: Sequence[Path]) -> None:
    """Write the parts' tensors into one file, which appears whole or not at all. Raises ShardError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".joining.") as partial:
        for piece in _joined(parts):
            partial.write(piece)
        partial.flush()
        os.chmod(partial.name, 0o644)  # the sandbox user reads it too
        path.unlink(missing_ok=True)
        os.link(partial.name, path)


def is_joined(path: Path, parts: Sequence[Path]) -> bool:
    """Is this what `join` would write, byte for byte? Raises ShardError."""
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in _joined(parts)) and not file.read(1)


def _joined(parts: Sequence[Path]) -> Iterator[bytes]:
    """The joined file, piece by piece."""
    found: dict[str, tuple[Path, int, int]] = {}  # tensor -> file, first byte and how many there
    entries = {}
    for part in parts:
        try:
            with part.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                if name in found:
                    raise ShardError(f"{part}: tensor {name!r} stands in {found[name][0].name} too")
                begin, end = entry["data_offsets"]
                found[name] = part, 8 + length + begin, end - begin
                entries[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "width": WIDTHS[entry["dtype"]]}
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            if isinstance(error, ShardError):
                raise
            raise ShardError(f"{part} is not a safetensors file: delete it and fetch it again") from None
    order = sorted(found, key=lambda name: (-entries[name]["width"], name))
    joined: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        entry, size = entries[name], found[name][2]
        joined[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(joined, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        part, begin, left = found[name]
        with part.open("rb") as file:
            file.seek(begin)
            while left:
                piece = file.read(min(left, PIECE))
                if not piece:
                    raise ShardError(f"{part} breaks off inside tensor {name!r}: delete it and fetch it again")
                yield piece
                left -= len(piece)
