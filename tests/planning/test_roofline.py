"""The formulas by hand, and what the sampler's memory must never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import CHIP, RECIPE, SMALL, TRACK, change, recipes, shapes

from harness.planning.declared import declared
from harness.planning.roofline import (
    VLLM,
    concurrent,
    evaluation_seconds,
    forward_flops,
    grading_seconds,
    sampler_memory,
    sampling_seconds,
    training_seconds,
)


def test_the_formulas_by_hand():
    # q and o: 2·8·8; k and v: 2·8·4; three of 8·16 in the MLP
    assert SMALL.block == 128 + 64 + 384 == 576
    assert SMALL.multiplied == 2 * 576 + 32 * 8 == 1408
    assert SMALL.parameters == 1408 + 2 * (2 * 8 + (2 + 2) * 4) + 8 == 1480
    assert SMALL.kv_values == 2 * 2 * 1 * 4
    assert forward_flops(SMALL, 5, 7) == 5 * (2 * 1408 + 4 * 2 * 8 * 7)
    assert sampler_memory(SMALL, RECIPE, 10**6, 30) == {"sampler's weights": 2960, "KV cache": 8 * 40 * 16 * 2}


def test_vllm_takes_its_share_whatever_it_needs():
    vllm = change(RECIPE, vllm_memory=0.4)
    assert sampler_memory(SMALL, vllm, 10**6, 30) == {VLLM: 400_000}
    # nine tenths of the share, less 2,960 bytes of weights, hold sequences of 40 tokens and 1,280 bytes; at most the 8
    assert concurrent(SMALL, vllm, 10**6, 30) == 8
    assert concurrent(SMALL, vllm, 20_000, 30) == (0.4 * 20_000 * 0.9 - 2960) // 1280 == 3
    assert concurrent(SMALL, vllm, 8000, 30) == 0


def test_time_by_hand():
    assumed = change(declared().assumed, training_mfu=0.5, decode_mbu=0.5, decode_mfu=0.5, decode_step_seconds=0)
    length, tokens = 30, 32 * 30
    assert training_seconds(SMALL, RECIPE, CHIP, assumed, gpus=1) == 3 * forward_flops(SMALL, tokens, length / 2) / 5e11
    measured = change(RECIPE, measured_mfu=0.25)  # counts instead of what is assumed
    assert training_seconds(SMALL, measured, CHIP, assumed, gpus=1) == 3 * forward_flops(SMALL, tokens, 15) / 2.5e11
    assumed = change(assumed, grade_seconds=0.001, grade_token_seconds=0.0001)
    assert grading_seconds(RECIPE, assumed) == pytest.approx(32 * (0.001 + 20 * 0.0001))
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


@given(shapes, recipes, st.integers(1, 4096), st.integers(10**9, 10**11))
def test_a_shorter_limit_leaves_room_for_more_sequences(shape, recipe, longest, memory):
    assert concurrent(shape, recipe, memory, longest) >= concurrent(shape, recipe, memory, longest + 1)
    cache = sampler_memory(shape, change(recipe, vllm_memory=None), memory, longest)
    assert cache["KV cache"] < sampler_memory(shape, change(recipe, vllm_memory=None), memory, longest + 1)["KV cache"]
