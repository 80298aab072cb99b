"""Shards as one file: the same tensors, a header that the strict reader takes, and nothing half-written."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from harness.frozen import checkpoint
from harness.tracks import shards
from harness.tracks.shards import ShardError, is_joined, join

TENSORS = {
    "b.weight": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4),
    "a.weight": torch.arange(5, dtype=torch.float32),
    "c.weight": torch.ones(2, 2, dtype=torch.float16),
    "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
}


def write(folder, *groups):
    paths = []
    for number, names in enumerate(groups, 1):
        path = folder / f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: TENSORS[name] for name in names}, path, metadata={"format": "pt", "made_by": "someone"})
        paths.append(path)
    return paths


def test_the_joined_file_has_every_tensor_and_passes_the_strict_reader(tmp_path):
    parts = write(tmp_path, ["b.weight", "empty"], ["a.weight", "c.weight"])
    path = tmp_path / "model.safetensors"
    join(path, parts)
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert checkpoint.read(path, path).path == path
    assert is_joined(path, parts) and path.stat().st_mode & 0o777 == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, *(p.name for p in parts)])


def test_how_the_tensors_are_spread_makes_no_difference(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    join(tmp_path / "1", write(tmp_path / "one", ["a.weight"], ["b.weight", "c.weight", "empty"]))
    join(tmp_path / "2", write(tmp_path / "two", ["empty", "c.weight"], ["b.weight"], ["a.weight"]))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_other_byte_is_noticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("shards")
    parts, path = write(folder, ["a.weight", "b.weight"], ["c.weight", "empty"]), folder / "model.safetensors"
    join(path, parts)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    for corrupted in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole + b"\0"):
        path.write_bytes(corrupted)
        assert not is_joined(path, parts)


def test_pieces_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "PIECE", 7)
    parts, path = write(tmp_path, ["a.weight", "b.weight"], ["c.weight"]), tmp_path / "model.safetensors"
    join(path, parts)
    assert torch.equal(load_file(path)["b.weight"], TENSORS["b.weight"]) and is_joined(path, parts)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:5], "is not a safetensors file"),
        (lambda data: b"\xff" * 8 + data[8:], "is not a safetensors file"),
        (lambda data: data[:-1], "breaks off inside tensor"),
        (lambda data: data.replace(b'"BF16"', b'"BF99"'), "is not a safetensors file"),
    ],
)
def test_a_broken_shard_is_named_and_nothing_is_left(tmp_path, spoil, message):
    parts = write(tmp_path, ["b.weight"], ["a.weight", "c.weight"])
    parts[0].write_bytes(spoil(parts[0].read_bytes()))
    with pytest.raises(ShardError, match=message):
        join(tmp_path / "model.safetensors", parts)
    assert sorted(tmp_path.iterdir()) == sorted(parts)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    parts = write(tmp_path, ["a.weight"], ["a.weight", "b.weight"])
    with pytest.raises(ShardError, match=r"'a\.weight' stands in model-00001-of-00002\.safetensors too"):
        join(tmp_path / "model.safetensors", parts)


def test_the_header_is_canonical(tmp_path):
    path = tmp_path / "model.safetensors"
    join(path, write(tmp_path, list(TENSORS)))
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0 and header.pop("__metadata__") == {"format": "pt"}
    assert list(header) == ["a.weight", "b.weight", "c.weight", "empty"]  # float32 first, then by name
