"""A base model from a GGUF file: what llama.cpp stores, as the files that transformers and vLLM read.

Bytes of the GGUF and this file decide the result, and no version of torch, transformers or tokenizers does:

- **Weights** are dequantised to float32 by the gguf package. That is exact but for one rounding a number, since a 4-bit
  or 8-bit count times a half-precision scale fits into 24 bits; then they are rounded to bfloat16, ties to even.
- llama.cpp stores the rows of the query and key projections in the order of its rotary embedding; they are put back.
- **Order**: tensors and JSON keys stand in a fixed order, and the safetensors header says nothing but `format: pt`.

Only what SmolLM2 uses is read: the llama architecture with tied embeddings, and a byte-level BPE tokenizer that splits
numbers into digits. For it `tokenizer.json` comes out byte for byte as its makers published it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from harness import files
from harness.errors import NanoR1Error
from harness.tracks import shards

INSTALL = "scripts/setup.sh gpu"
CONTROL, NORMAL = 3, 1  # llama.cpp's kinds of token
ROTATED = {"attn_q": "head_count", "attn_k": "head_count_kv"}  # whose rows are put back, and how many heads they have
NAMES = {  # of a layer's tensors, there and here
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GGUFError(NanoR1Error):
    """The file is no GGUF that this can read, or the gguf package is missing."""


def convert(source: Path, folder: Path) -> None:
    """Write the model's files (harness.tracks.schema.CONVERTED) into `folder`. Raises GGUFError, OSError."""
    try:
        gguf = importlib.import_module("gguf")
    except ImportError:
        raise GGUFError("a base model is read from a GGUF file, for which gguf is needed", advice=INSTALL) from None
    try:
        reader = gguf.GGUFReader(source)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, LookupError) as error:
        raise GGUFError(f"{source.name} cannot be read as GGUF: {error}") from None
    _check(source.name, values, {tensor.name for tensor in reader.tensors})
    for name, document in (
        ("config.json", _config(values)),
        ("generation_config.json", _token_ids(values)),
        ("tokenizer.json", _tokenizer(values)),
        ("tokenizer_config.json", _tokenizer_config(values)),
    ):
        files.write(folder / name, json.dumps(document, indent=2, ensure_ascii=False))
    files.write(folder / "chat_template.jinja", values["tokenizer.chat_template"])
    with files.replacing(folder / "model.safetensors") as file:
        for piece in _safetensors(reader.tensors, values, gguf.dequantize):
            file.write(piece)


def _check(name: str, values: dict[str, Any], tensors: set[str]) -> None:
    """Raises GGUFError for a model of another kind than those that are understood here."""
    expected = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.add_bos_token": False,
    }
    for key, value in expected.items():
        if values.get(key) != value:
            raise GGUFError(f"{name}: {key} is {values.get(key)!r}, and only {value!r} is understood")
    wanted = {"token_embd.weight", "output_norm.weight"}  # no output.weight: the head is the embedding
    wanted |= {f"blk.{i}.{part}.weight" for i in range(values["llama.block_count"]) for part in NAMES}
    if tensors != wanted:
        other = ", ".join(sorted(tensors ^ wanted)[:3])
        raise GGUFError(f"{name}: the tensors differ from those of a llama with tied embeddings: {other}")


# ---------------------------------------------------------------- weights


def _safetensors(tensors: Any, values: dict[str, Any], dequantize: Any) -> Iterator[bytes]:
    """The file, piece by piece: one tensor at a time is in memory."""
    named = {_name(tensor.name): tensor for tensor in tensors}
    shapes = {name: [int(n) for n in reversed(tensor.shape)] for name, tensor in named.items()}
    order, header = shards.layout({name: ("BF16", shape, 2 * prod(shape)) for name, shape in shapes.items()})
    yield header
    for name in order:
        tensor = named[name]
        weights = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shapes[name])
        part = tensor.name.split(".")[-2]
        if part in ROTATED:
            weights = _rotary_order(weights, values[f"llama.attention.{ROTATED[part]}"])
        yield _bfloat16(weights)


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    if not name.startswith("blk."):
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def _rotary_order(weights: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of each head from pairs that are rotated together (llama.cpp) to halves (transformers). [rows, width]."""
    rows, width = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _bfloat16(weights: np.ndarray[Any, Any]) -> bytes:
    """The upper half of each float32, rounded to nearest, ties to even. Finite numbers; little-endian."""
    bits = np.ascontiguousarray(weights, dtype="<f4").view("<u4")
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return bytes(rounded.astype("<u2").data)


# ---------------------------------------------------------------- the other files


def _token_ids(values: dict[str, Any]) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {name: values[f"tokenizer.ggml.{theirs}_token_id"] for name, theirs in names.items()}


def _config(values: dict[str, Any]) -> dict[str, Any]:
    width, heads = values["llama.embedding_length"], values["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        **_token_ids(values),
        "dtype": "bfloat16",
        "head_dim": width // heads,
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": values["llama.feed_forward_length"],
        "max_position_embeddings": values["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": values["llama.block_count"],
        "num_key_value_heads": values["llama.attention.head_count_kv"],
        "rms_norm_eps": _decimal(values["llama.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_theta": _decimal(values["llama.rope.freq_base"]), "rope_type": "default"},
        "tie_word_embeddings": True,
        "vocab_size": values["llama.vocab_size"],
    }


def _decimal(value: float) -> float:
    """The shortest decimal that the stored float32 stands for: 1e-05, and not 9.999999747378752e-06."""
    return float(np.format_float_scientific(np.float32(value), unique=True))


def _tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    if not {*kinds} <= {CONTROL, NORMAL}:
        raise GGUFError(f"tokens of the kinds {sorted({*kinds})}: only {NORMAL} and {CONTROL} are understood")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **flags}
            for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind == CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, _with_prefix(byte_level, False)]},
        "post_processor": None,
        "decoder": _with_prefix(byte_level, True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": values["tokenizer.ggml.merges"],
        },
    }


def _with_prefix(byte_level: dict[str, Any], add: bool) -> dict[str, Any]:
    return {"type": byte_level["type"], "add_prefix_space": add, **byte_level}


def _tokenizer_config(values: dict[str, Any]) -> dict[str, Any]:
    tokens, ids = values["tokenizer.ggml.tokens"], _token_ids(values)
    return {
        "bos_token": tokens[ids["bos_token_id"]],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[ids["eos_token_id"]],
        "model_max_length": values["llama.context_length"],
        "pad_token": tokens[ids["pad_token_id"]],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
