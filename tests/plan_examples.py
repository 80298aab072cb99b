"""Shapes, recipes and a chip for the tests of planning: small ones to compute by hand, and any."""

from hypothesis import strategies as st

from harness.planning.declared import Chip, Recipe, Shape
from harness.planning.footprint import Footprint
from harness.tracks.track import load

SMALL = Shape(
    layers=2, width=8, heads=2, kv_heads=1, head_width=4, intermediate=16, vocabulary=32, tied=True, qkv_bias=True
)
RECIPE = Recipe(
    start_seconds=7, steps=2, prompts=4, group=8, prompt_tokens=10, completion_tokens=20, shards=1,
    micro_tokens=64, chunk_tokens=16, checkpointing=True, vllm_memory=None, concurrent=8, bytes_per_weight=2,
)  # fmt: skip
FOOTPRINT = Footprint({"weights": 6 * 10**9, "activations and logits": 12 * 10**9}, tensors=338, sharded=0)
CHIP = Chip(fp32_flops=10**11, bf16_flops=10**12, bandwidth_bytes=10**9)
TRACK, HARDWARE = load("1xh100-logic"), load("1xh100-logic").hardware

shapes = st.builds(
    Shape, layers=st.integers(1, 64), width=st.integers(64, 8192), heads=st.integers(1, 64),
    kv_heads=st.integers(1, 16), head_width=st.sampled_from([32, 64, 128]), intermediate=st.integers(64, 32_768),
    vocabulary=st.integers(256, 200_000), tied=st.booleans(), qkv_bias=st.booleans(), qk_norm=st.booleans(),
)  # fmt: skip
recipes = st.builds(
    Recipe, start_seconds=st.integers(1, 1000), steps=st.integers(1, 500), prompts=st.integers(1, 1024),
    group=st.integers(2, 64), prompt_tokens=st.integers(1, 1024), completion_tokens=st.integers(1, 4096),
    shards=st.just(1), micro_tokens=st.integers(1024, 65_536),
    chunk_tokens=st.integers(256, 8192), checkpointing=st.booleans(), vllm_memory=st.sampled_from([None, 0.3, 0.6]),
    measured_mfu=st.sampled_from([None, 0.4]), concurrent=st.integers(1, 1024),
    bytes_per_weight=st.sampled_from([2, 4]),
)  # fmt: skip


def change(part, **changes):
    return part.model_copy(update=changes)
