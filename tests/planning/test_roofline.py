"""The formulas by hand, and what memory must never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import CHIP, RECIPE, SMALL, TRACK, change, recipes, shapes

from harness.planning.declared import declared
from harness.planning.roofline import evaluation_seconds, forward_flops, memory, sampling_seconds, training_seconds


def test_the_formulas_by_hand():
    # q and o: 2·8·8; k and v: 2·8·4; three of 8·16 in the MLP
    assert SMALL.block == 128 + 64 + 384 == 576
    assert SMALL.multiplied == 2 * 576 + 32 * 8 == 1408
    assert SMALL.parameters == 1408 + 2 * (2 * 8 + (2 + 2) * 4) + 8 == 1480
    assert SMALL.kv_values == 2 * 2 * 1 * 4
    assert forward_flops(SMALL, 5, 7) == 5 * (2 * 1408 + 4 * 2 * 8 * 7)
    assert memory(SMALL, RECIPE, 30) == {
        "weights": 2960, "gathered layers": 0, "master weights": 5920, "gradients": 5920, "Adam": 11_840,
        "activations": 64 * (16 + 6 * 8 + 16 + 8 + 64) * 2, "logits": 2 * 16 * 32 * 4,
        "sampler's weights": 2960, "KV cache": 8 * 40 * 16 * 2,
    }  # fmt: skip


def test_time_by_hand():
    assumed = change(declared().assumed, training_mfu=0.5, decode_mbu=0.5, decode_mfu=0.5, decode_step_seconds=0)
    length, tokens = 30, 32 * 30
    assert training_seconds(SMALL, RECIPE, CHIP, assumed, gpus=1) == 3 * forward_flops(SMALL, tokens, length / 2) / 5e11
    # 32 sequences in four waves of 8, each of 30 steps that read 2,960 bytes; 640 tokens that read 20 cached ones each
    read = 4 * 30 * 2960 + 640 * 20 * 16 * 2
    prefill = forward_flops(SMALL, 320, 5) / 5e11
    options = {"gpus": 1, "completions": 32, "longest": 30}
    assert sampling_seconds(SMALL, RECIPE, CHIP, assumed, **options) == pytest.approx(prefill + read / 5e8)
    slow = change(assumed, decode_step_seconds=0.01)
    assert sampling_seconds(SMALL, RECIPE, CHIP, slow, **options) == pytest.approx(prefill + 4 * 30 * 0.01)
    fast = change(CHIP, bandwidth_bytes=10**15)  # then arithmetic is what takes time
    whole = prefill + forward_flops(SMALL, 640, 20) / 5e11
    assert sampling_seconds(SMALL, RECIPE, fast, assumed, **options) == pytest.approx(whole)
    # 500 questions in two waves of the track's batch of 256, 512 steps each, a tenth of the FLOPs, 4 bytes a weight
    read = 2 * 512 * 1480 * 4 + 500 * 20 * 20 * 16 * 4
    seconds = forward_flops(SMALL, 5000, 5) / 5e10 + read / 5e8
    assert evaluation_seconds(TRACK, SMALL, RECIPE, CHIP, assumed, 500) == pytest.approx(seconds)


@given(shapes, recipes, st.sampled_from(["layers", "width", "intermediate", "vocabulary"]), st.integers(1, 4096))
def test_memory_grows_with_the_model(shape, recipe, what, longest):
    larger = change(shape, **{what: getattr(shape, what) * 2})
    assert larger.parameters > shape.parameters
    assert sum(memory(larger, recipe, longest).values()) > sum(memory(shape, recipe, longest).values())


@given(shapes, recipes, st.integers(1, 4096))
def test_memory_grows_with_the_batch_and_the_cache(shape, recipe, longest):
    before = memory(shape, recipe, longest)
    assert memory(shape, change(recipe, micro_tokens=recipe.micro_tokens * 2), longest)["activations"] == (
        2 * before["activations"]
    )
    twice = memory(shape, change(recipe, concurrent=recipe.concurrent * 2), longest)
    assert twice["KV cache"] == 2 * before["KV cache"]
    assert memory(shape, recipe, longest + 1)["KV cache"] > before["KV cache"]


@given(shapes, recipes, st.sampled_from([2, 4, 8]), st.integers(1, 4096))
def test_sharding_divides_what_is_sharded_and_nothing_else(shape, recipe, shards, longest):
    single, sharded = (memory(shape, change(recipe, shards=n), longest) for n in (1, shards))
    for name in ("weights", "master weights", "gradients", "Adam"):
        assert sharded[name] == -(-single[name] // shards)
    for name in ("activations", "logits", "sampler's weights", "KV cache"):
        assert sharded[name] == single[name]
    assert single["gathered layers"] == 0 < sharded["gathered layers"]
