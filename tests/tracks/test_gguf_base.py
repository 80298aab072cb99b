"""A base model from a GGUF file: the weights that it stands for, in an order that nothing but the file decides."""

import json

import numpy as np
import pytest
import tiny_gguf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.frozen import checkpoint
from harness.tracks import gguf_base
from harness.tracks.gguf_base import GGUFError, convert
from harness.tracks.schema import CONVERTED

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_gguf.write(folder.parent / "tiny.gguf")
    convert(folder.parent / "tiny.gguf", folder)
    return folder


def dequantised():
    """What llama.cpp's formats stand for, number by number: d·q + m of 32 numbers, or d·q."""
    out = {}
    for name, values in tiny_gguf.weights().items():
        if values.ndim == 1:
            out[name] = values
            continue
        four = name != "token_embd.weight"
        raw = gguf.quantize(values, gguf.GGMLQuantizationType.Q4_1 if four else gguf.GGMLQuantizationType.Q8_0)
        blocks = []
        for block in raw.reshape(-1, 20 if four else 34):
            d, *m = np.frombuffer(block[: 4 if four else 2].tobytes(), "<f2").astype(np.float64)
            q = np.frombuffer(block[4 if four else 2 :].tobytes(), np.uint8 if four else np.int8)
            blocks.append(np.concatenate([q & 15, q >> 4]) * d + m[0] if four else q * d)
        out[name] = np.concatenate(blocks).reshape(values.shape).astype(np.float32)
    return out


def test_each_weight_is_the_one_that_the_blocks_stand_for(base):
    found, expected = load_file(base / "model.safetensors"), dequantised()
    assert len(found) == len(expected)
    for name, values in expected.items():
        if name.split(".")[-2] in ("attn_q", "attn_k"):  # rows 2i and 2i+1 of a head are i and i + width/2 here
            heads = tiny_gguf.HEADS if "attn_q" in name else tiny_gguf.KV_HEADS
            heads_of = values.reshape(heads, -1, tiny_gguf.WIDTH)
            values = np.concatenate([heads_of[:, 0::2], heads_of[:, 1::2]], axis=1).reshape(values.shape)
        ours = found[gguf_base._name(name)]
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, torch.from_numpy(values).to(torch.bfloat16)), name


def test_transformers_loads_it(base):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert model.config.tie_word_embeddings and model.config.rope_parameters["rope_theta"] == 100_000
    assert model.config.rms_norm_eps == 1e-5  # and not the float32 nearest to it
    logits = model(torch.tensor([[1, 20, 30, 2]])).logits
    assert logits.shape == (1, 4, len(tiny_gguf.TOKENS)) and torch.isfinite(logits).all()


def test_the_tokenizer_splits_digits_and_gives_back_what_it_was_given(base):
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    text = "<|im_start|>user\nthe 1024th größte<|im_end|>\n"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    pieces = [tokenizer.id_to_token(i) for i in ids]
    assert pieces[0] == "<|im_start|>" and pieces.count("<|im_end|>") == 1 and "the" in pieces
    assert [piece for piece in pieces if piece.isdigit()] == list("1024")
    other = AutoTokenizer.from_pretrained(base)
    assert other.encode(text) == ids and other.eos_token == "<|im_end|>"


def test_a_second_conversion_gives_the_same_bytes_and_the_strict_reader_takes_them(base, tmp_path):
    convert(base.parent / "tiny.gguf", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*CONVERTED}
    assert all((tmp_path / name).read_bytes() == (base / name).read_bytes() for name in CONVERTED)
    model = tmp_path / "model.safetensors"
    assert checkpoint.read(model, base / "model.safetensors").data == model.read_bytes()
    header = json.loads(model.read_bytes()[8:].partition(b"}}")[0] + b"}}")
    assert header["__metadata__"] == {"format": "pt"}


NUMBERS = st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False)  # torch flushes those to zero on some CPUs


@settings(deadline=None)
@given(st.lists(NUMBERS))
def test_rounding_is_torchs(numbers):
    values = np.array([*numbers, 1 + 2**-8, 1 + 3 * 2**-8, -0.0], dtype=np.float32)  # with two ties
    theirs = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    assert gguf_base._bfloat16(values) == theirs


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "qwen2"}, "architecture is 'qwen2', and only 'llama'"),
        ({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', and only 'smollm'"),
        ({"kinds": [3] * 4 + [6] * (len(tiny_gguf.TOKENS) - 4)}, r"tokens of the kinds \[3, 6\]"),
        ({"extra": {"output.weight": np.zeros((4, 64), np.float32)}}, "tied embeddings: output.weight"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, changed, message):
    tiny_gguf.write(tmp_path / "other.gguf", **changed)
    (tmp_path / "base").mkdir()
    with pytest.raises(GGUFError, match=message):
        convert(tmp_path / "other.gguf", tmp_path / "base")
    assert not list((tmp_path / "base").iterdir())


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    for data in (b"", b"GGUF", b"not a model" * 100):
        (tmp_path / "x.gguf").write_bytes(data)
        with pytest.raises(GGUFError, match=r"x\.gguf cannot be read as GGUF"):
            convert(tmp_path / "x.gguf", tmp_path)
