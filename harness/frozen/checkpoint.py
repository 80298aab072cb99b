"""The strict safetensors reader: what may come out of a training run, byte for byte.

The file was written by untrusted code, so nothing is taken on trust. It is opened once, without following
links; its bytes are read once; those bytes are checked, hashed and handed back, and the path is never
opened again. Only `model.safetensors` is looked at: whatever else lies in the output folder is ignored.

What the safetensors library lets through and this reader does not: duplicate header keys, megabytes of
metadata, tensors nobody asked for, sparse files, NaN. Format:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from harness.frozen.errors import FrozenError

SLACK = 4096  # bytes by which a header may be longer than the base's: other order, spacing or padding
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes an element


class CheckpointError(FrozenError):
    """The file is not this track's checkpoint; the message names the tensor and what was expected."""


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: [begin, end) counts bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Checked:
    """A checkpoint that passed. `data` is the whole file as it was read, and what `sha256` is of."""

    path: Path
    sha256: str
    data: bytes


def read(path: Path, base: Path) -> Checked:
    """Read and check a checkpoint. `path` and `base` are files; `base` is the base model's.

    Raises CheckpointError.
    """
    layout, header_bytes = _base_layout(base)
    total = sum(tensor.end - tensor.begin for tensor in layout.values())
    data = _bytes_of(path, 8 + total + header_bytes + SLACK)
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(len(data) - 8, header_bytes + SLACK):
        raise CheckpointError(f"{path.name}: the header says it is {length} bytes long; the base's is {header_bytes}")
    found = _parse(data[8 : 8 + length], path.name)
    _same_layout(found, layout, total, path.name)  # before the size, so that a wrong tensor is named
    if len(data) != 8 + length + total:
        raise CheckpointError(f"{path.name} is {len(data)} bytes long; header and tensors make {8 + length + total}")
    _finite(data, found, 8 + length, path.name)
    return Checked(path, hashlib.sha256(data).hexdigest(), bytes(data))


# ---------------------------------------------------------------- the file


def _bytes_of(path: Path, largest: int) -> bytearray:
    """All bytes of an ordinary file of a sane size, from one open."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags)  # O_NONBLOCK: opening a FIFO must not wait for a writer
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} was not written: call run.save(model) before the program ends") from None
    except OSError as error:
        raise CheckpointError(
            f"{path.name} "
            f"{'is a symbolic link' if error.errno == errno.ELOOP else f'cannot be opened: {error.strerror}'}; "
            "it must be a regular file"
        ) from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise CheckpointError(f"{path.name} is not a regular file")
        if info.st_nlink != 1:
            raise CheckpointError(f"{path.name} has {info.st_nlink} hard links; it must have one name only")
        if info.st_size < 10:
            raise CheckpointError(
                f"{path.name} is {info.st_size} bytes long; a checkpoint has a header of more than that"
            )
        if info.st_size > largest:
            raise CheckpointError(
                f"{path.name} is {info.st_size} bytes long; the base's tensors make it {largest} at most"
            )
        # A hole reads as zeros that were never written. SEEK_HOLE and not st_blocks, which undercounts
        # on file systems that compress or that allocate late; where holes are unknown it gives the size.
        if os.lseek(fd, 0, os.SEEK_HOLE) < info.st_size:
            raise CheckpointError(f"{path.name} is sparse: part of it was never written")
        os.lseek(fd, 0, os.SEEK_SET)
        data = bytearray()
        while part := os.read(fd, info.st_size + 1 - len(data)):  # one byte more, to see that it ends there
            data += part
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    if len(data) != info.st_size:
        raise CheckpointError(f"{path.name} changed while it was read: something is still writing to it")
    return data


# ---------------------------------------------------------------- the header


def _base_layout(base: Path) -> tuple[dict[str, Tensor], int]:
    """(tensors, header length in bytes) of the base model, whose hash the track has checked."""
    with base.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    return _parse(header, str(base)), length


def _parse(header: bytes | bytearray, where: str) -> dict[str, Tensor]:
    """The header's tensors. Strict JSON: no duplicate keys, no floats, no keys but the format's."""

    def refuse(text: str) -> None:
        raise CheckpointError(f"{where}: the header has the number {text[:40]!r}; only counts are allowed")

    def count(text: str) -> int:
        if text.startswith("-"):  # -0 too: it is 0 here, and a fraction to the library that loads the file later
            refuse(text)
        return int(text)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise CheckpointError(
                f"{where}: the header has the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} twice"
            )
        return dict(pairs)

    try:
        text = header.decode("utf-8")
        raw = json.loads(text, parse_int=count, parse_float=refuse, parse_constant=refuse, object_pairs_hook=unique)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: the header is not JSON: {str(error)[:120]}") from None
    if not isinstance(raw, dict) or not text.startswith("{"):
        raise CheckpointError(f"{where}: the header is not a JSON object")
    if raw.pop("__metadata__", {"format": "pt"}) != {"format": "pt"}:
        raise CheckpointError(f'{where}: __metadata__ may only be {{"format": "pt"}}')
    return {name: _tensor(name, entry, where) for name, entry in raw.items()}


def _tensor(name: str, entry: Any, where: str) -> Tensor:
    """One entry of the header, its types checked and its length equal to what dtype and shape ask for."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(
            f"{where}: tensor {name[:80]!r}: expected dtype, shape and data_offsets, and nothing else"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise CheckpointError(
            f"{where}: tensor {name[:80]!r}: dtype "  # of a deep list the type alone: its repr recurses
            f"{dtype[:40] if isinstance(dtype, str) else type(dtype).__name__!r} is none of {', '.join(WIDTHS)}"
        )
    if not _counts(shape):
        raise CheckpointError(f"{where}: tensor {name[:80]!r}: the shape is not a list of counts")
    if not _counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * WIDTHS[dtype]:
        raise CheckpointError(f"{where}: tensor {name[:80]!r}: data_offsets do not span {dtype} {str(shape)[:80]}")
    return Tensor(dtype, tuple(shape), *offsets)


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**48 for n in value)  # True is no 1


def _same_layout(found: dict[str, Tensor], wanted: dict[str, Tensor], total: int, where: str) -> None:
    """The base's names, shapes and dtypes exactly; offsets that tile [0, total) without gap or overlap."""
    for name, tensor in wanted.items():
        if name not in found:
            raise CheckpointError(f"{where}: tensor {name!r} is missing")
        ours = found[name]
        if (ours.dtype, ours.shape) != (tensor.dtype, tensor.shape):
            raise CheckpointError(
                f"{where}: tensor {name!r} is {f'{ours.dtype} {list(ours.shape)}'[:80]}, "
                f"the base has {tensor.dtype} {list(tensor.shape)}"
            )
    for name in found:
        if name not in wanted:
            raise CheckpointError(f"{where}: tensor {name[:80]!r} is not in the base model")
    at = 0
    for name, tensor in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise CheckpointError(f"{where}: tensor {name!r} begins at byte {tensor.begin}, expected {at}")
        at = tensor.end
    if at != total:
        raise CheckpointError(f"{where}: the tensors end at byte {at}, expected {total}")


# ---------------------------------------------------------------- the numbers


def _finite(data: bytearray, found: dict[str, Tensor], start: int, where: str) -> None:
    """No NaN and no infinity in any tensor."""
    import torch

    dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    for name, tensor in found.items():
        count = prod(tensor.shape)
        if count == 0:
            continue
        values = torch.frombuffer(data, dtype=dtypes[tensor.dtype], count=count, offset=start + tensor.begin)
        bad = count - int(torch.isfinite(values).sum())
        if bad:
            raise CheckpointError(f"{where}: tensor {name!r} has {bad} of {count} values that are NaN or infinite")
