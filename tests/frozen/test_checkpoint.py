"""The strict reader: what a training run may leave, and everything else."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.frozen.checkpoint import SLACK, CheckpointError, read

LAYOUT: dict[str, tuple[str, list[int], int]] = {  # name: dtype, shape, bytes
    "embed.weight": ("F32", [3, 4], 48),
    "norm.weight": ("BF16", [4], 8),
    "scale": ("F32", [], 4),
}
TOTAL = 60


def header(order: list[str] | None = None) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    at = 0
    for name in order or list(LAYOUT):
        dtype, shape, size = LAYOUT[name]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return entries


def pack(entries: Any, body: bytes = bytes(TOTAL), pad: int = 0) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    text += b" " * pad
    return struct.pack("<Q", len(text)) + text + body


GOOD = pack({"__metadata__": {"format": "pt"}, **header()})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    path.write_bytes(GOOD)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def changed(name: str, **fields: Any) -> dict[str, Any]:
    entries = header()
    entries[name] = {**entries[name], **fields}
    return entries


# ---------------------------------------------------------------- what passes


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        pack(header()),
        pack(header(["scale", "norm.weight", "embed.weight"])),
        pack(header(), bytes(range(60)), pad=5),  # a header of odd length: tensors lie unaligned
        pack(dict(reversed(header().items()))),
        pack(header(), pad=SLACK),
    ],
)
def test_a_good_file_passes_and_its_bytes_come_back(path: Path, base: Path, data: bytes) -> None:
    path.write_bytes(data)
    checked = read(path, base)
    assert checked.data == data
    assert checked.sha256 == hashlib.sha256(data).hexdigest()
    assert checked.path == path


def test_the_bytes_that_were_checked_are_the_bytes_handed_back(path: Path, base: Path) -> None:
    path.write_bytes(GOOD)
    checked = read(path, base)
    path.write_bytes(b"swapped afterwards")
    assert checked.data == GOOD


def test_what_transformers_writes_passes(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load, save_file

    weights = {"b": torch.randn(8, 3), "a": torch.randn(5).bfloat16(), "c": torch.randn(2, 2, dtype=torch.float64)}
    save_file(weights, tmp_path / "base", metadata={"format": "pt"})
    save_file({name: w * 2 for name, w in weights.items()}, tmp_path / "model.safetensors")
    loaded = load(read(tmp_path / "model.safetensors", tmp_path / "base").data)
    assert all(torch.equal(loaded[name], w * 2) for name, w in weights.items())


def test_other_files_in_the_folder_are_ignored(path: Path, base: Path) -> None:
    path.write_bytes(GOOD)
    (path.parent / "tokenizer.json").write_text("{}", encoding="utf-8")
    (path.parent / "model-00001-of-00002.safetensors").symlink_to("/etc/passwd")
    assert read(path, base).data == GOOD


# ---------------------------------------------------------------- the header and the numbers

NAN, INFINITY = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))

BAD = {
    "missing tensor": (pack({k: v for k, v in header().items() if k != "scale"}), "'scale' is missing"),
    "renamed tensor": (
        pack({("scald" if k == "scale" else k): v for k, v in header().items()}),
        "'scale' is missing",
    ),
    "extra tensor": (
        pack({**header(), "more": {"dtype": "F32", "shape": [0], "data_offsets": [60, 60]}}),
        "'more' is not in the base model",
    ),
    "wrong shape": (pack(changed("embed.weight", shape=[4, 3])), r"is F32 \[4, 3\], the base has F32 \[3, 4\]"),
    "flattened shape": (pack(changed("embed.weight", shape=[12])), r"the base has F32 \[3, 4\]"),
    "wrong dtype": (pack(changed("norm.weight", dtype="F16")), r"is F16 \[4\], the base has BF16 \[4\]"),
    "unknown dtype": (pack(changed("norm.weight", dtype="F8_E4M3")), "dtype 'F8_E4M3' is none of"),
    "dtype no string": (pack(changed("norm.weight", dtype=["BF16"])), "is none of"),
    "dtype a deep list": (
        pack(json.dumps(header()).encode().replace(b'"BF16"', b"[" * 900 + b"]" * 900)),
        "dtype 'list' is none of",
    ),
    "bool in shape": (pack(changed("embed.weight", shape=[3, 4, True])), "not a list of counts"),
    "negative shape": (pack(changed("embed.weight", shape=[-3, -4])), "the number '-3'"),
    "minus zero": (
        pack(changed("embed.weight", data_offsets=[0, 48])).replace(b"[0, 48]", b"[-0,48]"),
        "the number '-0'",
    ),
    "huge shape": (pack(changed("embed.weight", shape=[2**60] * 9)), "not a list of counts"),
    "overflowing shape": (pack(changed("embed.weight", shape=[2**40] * 9)), "data_offsets do not span"),
    "shape null": (pack(changed("embed.weight", shape=None)), "not a list of counts"),
    "float in shape": (pack(changed("embed.weight", shape=[3, 4.0])), "the number '4.0'"),
    "offsets too short": (pack(changed("embed.weight", data_offsets=[0, 44])), "do not span"),
    "offsets of three": (pack(changed("embed.weight", data_offsets=[0, 24, 48])), "do not span"),
    "offsets reversed": (pack(changed("embed.weight", data_offsets=[48, 0])), "do not span"),
    "overlap": (pack(changed("norm.weight", data_offsets=[40, 48])), "'norm.weight' begins at byte 40, expected 48"),
    "same bytes twice": (
        pack({**header(), "embed.weight": {**header()["embed.weight"], "data_offsets": [12, 60]}}),
        "expected",
    ),
    "gap": (pack(changed("scale", data_offsets=[58, 62])), "'scale' begins at byte 58, expected 56"),
    "field missing": (pack({**header(), "scale": {"dtype": "F32", "shape": []}}), "and nothing else"),
    "field too many": (pack(changed("scale", note=1)), "and nothing else"),
    "entry is a list": (pack({**header(), "scale": []}), "and nothing else"),
    "other metadata": (pack({"__metadata__": {"format": "pt", "x": "y"}, **header()}), "__metadata__ may only be"),
    "empty metadata": (pack({"__metadata__": {}, **header()}), "__metadata__ may only be"),
    "null metadata": (pack({"__metadata__": None, **header()}), "__metadata__ may only be"),
    "duplicate name": (pack(json.dumps(header()).encode()[:-1] + b',"scale":{}}'), "key 'scale' twice"),
    "duplicate field": (
        pack(json.dumps(header()).encode().replace(b'"shape": []', b'"shape": [], "shape": []')),
        "key 'shape' twice",
    ),
    "nan in header": (pack(b'{"a": NaN}' + b" " * 100), "number 'NaN'"),
    "long integer": (pack(b'{"a": ' + b"9" * 4301 + b"}"), "not JSON|bytes long"),
    "not json": (pack(b"{" + b" " * 200), "not JSON"),
    "not utf-8": (pack(b'{"\xff": 1}' + b" " * 200), "not JSON"),
    "not an object": (pack(b"[]" + b" " * 200), "not a JSON object"),
    "space before": (pack(b" " + json.dumps(header()).encode()), "not a JSON object"),
    "bomb": (pack(b"[" * 4000), "not JSON"),
    "dict bomb": (pack(b'{"a":' * 800), "not JSON"),
    "empty header": (pack(b"", bytes(TOTAL + 8)), "header says it is 0 bytes long"),
    "trailing byte": (GOOD + b"\0", "header and tensors make"),
    "one byte short": (GOOD[:-1], "header and tensors make"),
    "header length 0": (bytes(8) + GOOD[8:], "header says it is 0 bytes"),
    "header length huge": (b"\xff" * 8 + GOOD[8:], "header says it is 18446744073709551615 bytes"),
    "empty": (b"", "is 0 bytes long"),
    "eight bytes": (GOOD[:8], "is 8 bytes long"),
    "header too long": (pack(header(), pad=2 * SLACK), "bytes long; the base's tensors make it"),
    "body twice": (GOOD + bytes(5000), "bytes long; the base's tensors make it"),
    "nan": (pack(header(), bytes(4) + NAN + bytes(52)), "'embed.weight' has 1 of 12 values that are NaN or infinite"),
    "infinity": (pack(header(), bytes(56) + INFINITY), "'scale' has 1 of 1 values"),
    "bfloat16 nan": (pack(header(), bytes(48) + b"\xff\xff" * 4 + bytes(4)), "'norm.weight' has 4 of 4 values"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_everything_else_is_refused_by_name(path: Path, base: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(path, base)
    assert len(str(caught.value)) < 400
    assert "model.safetensors" in str(caught.value)


# ---------------------------------------------------------------- the file


def test_no_file(path: Path, base: Path) -> None:
    with pytest.raises(CheckpointError, match=r"was not written: call run.save"):
        read(path, base)


def test_a_symbolic_link(path: Path, base: Path) -> None:
    path.symlink_to(base)
    with pytest.raises(CheckpointError, match="symbolic link"):
        read(path, base)


def test_a_hard_link(path: Path, base: Path) -> None:
    path.hardlink_to(base)
    with pytest.raises(CheckpointError, match="2 hard links"):
        read(path, base)


def test_a_fifo_does_not_hang(path: Path, base: Path) -> None:
    os.mkfifo(path)
    begun = time.monotonic()
    with pytest.raises(CheckpointError, match="not a regular file"):
        read(path, base)
    assert time.monotonic() - begun < 1


def test_a_folder_a_device_and_a_socket(path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="not a regular file"):
        read(Path("/dev/zero"), base)
    path.mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        read(path, base)
    path.rmdir()
    monkeypatch.chdir(path.parent)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
        with pytest.raises(CheckpointError, match="must be a regular file"):
            read(path, base)


def test_a_sparse_file(tmp_path: Path, path: Path) -> None:
    size = 1 << 20
    entry = {"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    base = tmp_path / "base"
    base.write_bytes(pack(entry, bytes(size)))
    with path.open("wb") as file:
        file.write(pack(entry, b""))
        file.truncate(base.stat().st_size)
    if path.stat().st_blocks * 512 >= size:
        pytest.skip("this file system has no sparse files")
    with pytest.raises(CheckpointError, match="sparse"):
        read(path, base)
    path.write_bytes(base.read_bytes())  # all zeros, but written
    assert read(path, base).data == base.read_bytes()


def test_a_huge_file_is_not_read(path: Path, base: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    begun = time.monotonic()
    with pytest.raises(CheckpointError, match="is 1099511627776 bytes long"):
        read(path, base)
    assert time.monotonic() - begun < 1


# ---------------------------------------------------------------- properties


@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3)), max_size=4))
@example(edits=[])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_bytes_are_refused_or_still_the_same_layout(
    tmp_path: Path, edits: list[tuple[int, bytes, int]]
) -> None:
    """Splices anywhere: never another exception, and what passes is what the library reads as the base's layout."""
    from safetensors.torch import load

    base, path = tmp_path / "base", tmp_path / "model.safetensors"
    base.write_bytes(GOOD)
    data = GOOD
    for at, new, cut in edits:
        data = data[:at] + new + data[at + cut :]
    path.write_bytes(data)
    try:
        checked = read(path, base)
    except CheckpointError:
        assert edits
        return
    assert checked.data == data
    tensors = load(data)
    dtypes = {"torch.float32": "F32", "torch.bfloat16": "BF16"}
    assert {n: (dtypes[str(t.dtype)], list(t.shape)) for n, t in tensors.items()} == {
        n: (dtype, shape) for n, (dtype, shape, _) in LAYOUT.items()
    }
    assert all(bool(t.isfinite().all()) for t in tensors.values())


scalars = (
    st.none() | st.booleans() | st.integers(-9, 99) | st.integers() | st.sampled_from(["F32", "BF16", "pt", "scale"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    name=st.sampled_from(["embed.weight", "norm.weight", "scale", "__metadata__", "more"]),
    field=st.sampled_from(["dtype", "shape", "data_offsets", None]),
    value=values,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_with_one_strange_value(tmp_path: Path, name: str, field: str | None, value: Any) -> None:
    base, path = tmp_path / "base", tmp_path / "model.safetensors"
    base.write_bytes(GOOD)
    entries = header()
    if field is None or name not in entries:
        entries[name] = value
    else:
        entries[name][field] = value
    path.write_bytes(pack(entries))
    if entries in (header(), {"__metadata__": {"format": "pt"}, **header()}) and "true" not in json.dumps(entries):
        read(path, base)
    else:
        with pytest.raises(CheckpointError):
            read(path, base)
