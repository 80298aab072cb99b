"""A GGUF file of a small llama with SmolLM2's kind of tokenizer, and a wheel that carries it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS = 2, 64, 96, 4, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LETTERS = [chr(i) for i in [*range(33, 127), *range(161, 173), *range(174, 256)]] + [chr(256 + i) for i in range(68)]
TOKENS = [*SPECIAL, *LETTERS, "th", "the"]  # the bytes as byte-level BPE spells them, and two merges
MEMBER = "carrier/tiny.gguf"


def shapes() -> dict[str, tuple[int, ...]]:
    """By llama.cpp's names, in [rows, columns]."""
    head = WIDTH // HEADS
    parts = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (KV_HEADS * head, WIDTH),
        "attn_v": (KV_HEADS * head, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (HIDDEN, WIDTH),
        "ffn_up": (HIDDEN, WIDTH),
        "ffn_down": (WIDTH, HIDDEN),
    }
    layers = {f"blk.{i}.{part}.weight": shape for i in range(LAYERS) for part, shape in parts.items()}
    return {"token_embd.weight": (len(TOKENS), WIDTH), "output_norm.weight": (WIDTH,), **layers}


def weights() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.Generator(np.random.PCG64(7))
    return {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes().items()}


def write(path: Path, **changed: Any) -> None:
    """`changed`: other values of the keys `architecture`, `pre`, `kinds` and `extra` (one tensor more)."""
    import gguf

    writer = gguf.GGUFWriter(path, changed.get("architecture", "llama"))
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(changed.get("pre", "smollm"))
    writer.add_token_list(TOKENS)
    writer.add_token_types(changed.get("kinds", [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL))))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    for name, values in {**weights(), **changed.get("extra", {})}.items():
        kind = "F32" if values.ndim == 1 else "Q8_0" if name == "token_embd.weight" else "Q4_1"
        quantised = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quantize(values, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_wheel(folder: Path, name: str = "tiny-carrier", version: str = "1.2.3") -> str:
    """A wheel with the GGUF file in it. Returns its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "tiny.gguf")
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", MEMBER)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    (folder / "tiny.gguf").unlink()
    return hashlib.sha256(path.read_bytes()).hexdigest()
