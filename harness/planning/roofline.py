"""The sampler's memory, and time by a roofline. Pure functions of declared numbers.

A plan is a roofline, not a measurement: sampling reads the weights and the KV cache from memory at each step or is
bound by arithmetic, whichever takes longer; training is arithmetic. FLOPs a token are 2 a weight forward and 6 forward
and backward (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and those of attention, which that leaves out. vLLM
takes its share of the memory at the start, for weights of its own and a KV cache (Kwon et al. 2023, arXiv:2309.06180);
what the trainer needs beside it is traced, not computed (harness/planning/footprint.py). How much of a chip's peak is
reached is assumed; harness/planning/plan.toml says after whom.
"""

from __future__ import annotations

import math

from harness.planning.declared import Assumed, Chip, Recipe, Shape
from harness.tracks.schema import Track

MASTER = 4  # bytes a trained weight: float32
VLLM = "vLLM, from its start"
VLLM_HOLDS = 0.9  # of what vLLM takes: weights and cache. The rest is its own activations and graphs; a guess of ours


def cache_bytes(shape: Shape, recipe: Recipe, max_new_tokens: int) -> int:
    """Of one sequence that runs to the limit, in the KV cache."""
    return (recipe.prompt_tokens + max_new_tokens) * shape.kv_values * recipe.bytes_per_weight


def concurrent(shape: Shape, recipe: Recipe, gpu_memory_bytes: int, max_new_tokens: int) -> int:
    """Sequences that vLLM's cache holds to their limit, at most the recipe's; 0 where not even its weights fit."""
    left = (recipe.vllm_memory or 0) * gpu_memory_bytes * VLLM_HOLDS - shape.parameters * recipe.bytes_per_weight
    return max(0, min(recipe.concurrent, int(left // cache_bytes(shape, recipe, max_new_tokens))))


def sampler_memory(shape: Shape, recipe: Recipe, gpu_memory_bytes: int, max_new_tokens: int) -> dict[str, int]:
    """Bytes on one GPU: all that vLLM takes, whatever it needs of it, or what transformers needs."""
    if recipe.vllm_memory is not None:
        return {VLLM: int(recipe.vllm_memory * gpu_memory_bytes)}
    weights = shape.parameters * recipe.bytes_per_weight
    return {"sampler's weights": weights, "KV cache": recipe.concurrent * cache_bytes(shape, recipe, max_new_tokens)}


def forward_flops(shape: Shape, tokens: float, context: float) -> float:
    """Of `tokens` tokens that each attend to `context` others: 2 a weight, and 4 a context token and query channel."""
    return tokens * (2 * shape.multiplied + 4 * shape.layers * shape.heads * shape.head_width * context)


def sampling_seconds(
    shape: Shape, recipe: Recipe, chip: Chip, assumed: Assumed, *, gpus: int, completions: int, longest: int
) -> float:
    """To sample `completions` answers over `gpus` GPUs, in waves, each as long as its longest answer."""
    mine = math.ceil(completions / gpus)
    waves = math.ceil(mine / max(1, recipe.concurrent))
    context = recipe.prompt_tokens + recipe.completion_tokens / 2
    tokens = mine * recipe.completion_tokens
    cached = tokens * context * shape.kv_values * recipe.bytes_per_weight
    read = waves * longest * shape.parameters * recipe.bytes_per_weight + cached
    arithmetic = forward_flops(shape, tokens, context) / (chip.bf16_flops * assumed.decode_mfu)
    prefill = forward_flops(shape, mine * recipe.prompt_tokens, recipe.prompt_tokens / 2)
    decode = max(read / (chip.bandwidth_bytes * assumed.decode_mbu), arithmetic)
    return prefill / (chip.bf16_flops * assumed.decode_mfu) + max(decode, waves * longest * assumed.decode_step_seconds)


def training_seconds(shape: Shape, recipe: Recipe, chip: Chip, assumed: Assumed, *, gpus: int) -> float:
    """One step's forward and backward, in model FLOPs: that layers are recomputed is in the share that is reached."""
    length = recipe.prompt_tokens + recipe.completion_tokens
    tokens = math.ceil(recipe.completions / gpus) * length
    return 3 * forward_flops(shape, tokens, length / 2) / (chip.bf16_flops * recipe.training_mfu(assumed))


def grading_seconds(recipe: Recipe, assumed: Assumed) -> float:
    """One step's completions of all GPUs, one after the other: while the harness grades, the GPUs wait."""
    return recipe.completions * (assumed.grade_seconds + recipe.completion_tokens * assumed.grade_token_seconds)


def evaluation_seconds(
    track: Track, shape: Shape, recipe: Recipe, chip: Chip, assumed: Assumed, questions: int
) -> float:
    """To answer `questions` as the engines do: on one GPU, in float32, the track's batch at a time."""
    exact = recipe.model_copy(update={"bytes_per_weight": 4, "concurrent": track.sampling.batch})
    slow = chip.model_copy(update={"bf16_flops": chip.fp32_flops})
    longest = track.sampling.max_new_tokens
    return sampling_seconds(shape, exact, slow, assumed, gpus=1, completions=questions, longest=longest)
