"""Memory and time by a roofline. Pure functions of declared numbers.

A plan is a roofline, not a measurement: sampling reads the weights and the KV cache from memory at each step or is
bound by arithmetic, whichever takes longer; training is arithmetic. FLOPs a token are 2 a weight forward and 6 forward
and backward (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and those of attention, which that leaves out. Memory
is that of mixed-precision Adam with the states sharded (Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 3.1),
of activations with each layer recomputed (Chen et al. 2016, arXiv:1604.06174; what one layer keeps is counted after
Korthikanti et al. 2022, arXiv:2205.05198), and of vLLM beside it with weights of its own and a KV cache (Kwon et al.
2023, arXiv:2309.06180). How much of a chip's peak is reached is assumed; harness/planning/plan.toml says after whom.
"""

from __future__ import annotations

import math

from harness.planning.declared import Assumed, Chip, Recipe, Shape
from harness.tracks.schema import Track

MASTER, GRADIENT, ADAM = 4, 4, 8  # bytes a trained weight: all in float32, Adam with two moments
ACTIVATION, LOGIT = 2, 4  # bytes: bfloat16, and float32 for what the loss is computed from


def memory(shape: Shape, recipe: Recipe, max_new_tokens: int) -> dict[str, int]:
    """Bytes on one GPU, by what for. Sampler and trainer stay resident side by side."""
    n = shape.parameters
    q, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    tokens = recipe.micro_tokens
    layer = 6 * shape.width + 2 * q + 2 * kv + 4 * shape.intermediate  # numbers a token while one layer is recomputed
    # FSDP gathers a layer ahead of the one it computes, and the embedding (Zhao et al. 2023, arXiv:2304.11277).
    gathered = 0 if recipe.shards == 1 else 2 * shape.block + shape.embedding * (1 if shape.tied else 2)
    return {
        "weights": -(-n * recipe.bytes_per_weight // recipe.shards),
        "gathered layers": gathered * recipe.bytes_per_weight,
        "master weights": -(-n * MASTER // recipe.shards),
        "gradients": -(-n * GRADIENT // recipe.shards),
        "Adam": -(-n * ADAM // recipe.shards),
        "activations": tokens * (shape.layers * shape.width + layer) * ACTIVATION,
        "logits": 2 * min(tokens, recipe.chunk_tokens) * shape.vocabulary * LOGIT,  # and their gradient
        "sampler's weights": n * recipe.bytes_per_weight,
        "KV cache": recipe.concurrent
        * (recipe.prompt_tokens + max_new_tokens)
        * shape.kv_values
        * recipe.bytes_per_weight,
    }


def forward_flops(shape: Shape, tokens: float, context: float) -> float:
    """Of `tokens` tokens that each attend to `context` others: 2 a weight, and 4 a context token and query channel."""
    return tokens * (2 * shape.multiplied + 4 * shape.layers * shape.heads * shape.head_width * context)


def sampling_seconds(
    shape: Shape, recipe: Recipe, chip: Chip, assumed: Assumed, *, gpus: int, completions: int, longest: int
) -> float:
    """To sample `completions` answers over `gpus` GPUs, in waves, each as long as its longest answer."""
    mine = math.ceil(completions / gpus)
    waves = math.ceil(mine / recipe.concurrent)
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
    return 3 * forward_flops(shape, tokens, length / 2) / (chip.bf16_flops * assumed.training_mfu)


def evaluation_seconds(
    track: Track, shape: Shape, recipe: Recipe, chip: Chip, assumed: Assumed, questions: int
) -> float:
    """To answer `questions` as the engines do: on one GPU, in float32, the track's batch at a time."""
    exact = recipe.model_copy(update={"bytes_per_weight": 4, "concurrent": track.sampling.batch})
    slow = chip.model_copy(update={"bf16_flops": chip.fp32_flops})
    longest = track.sampling.max_new_tokens
    return sampling_seconds(shape, exact, slow, assumed, gpus=1, completions=questions, longest=longest)
