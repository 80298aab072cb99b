"""What a GPU track would need and cost, reckoned before anyone rents a machine. Pure functions of declared numbers.

A plan is a roofline, not a measurement: sampling reads the weights and the KV cache from memory at each step or is
bound by arithmetic, whichever takes longer; training is arithmetic. FLOPs a token are 2 a weight forward and 6 forward
and backward (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and those of attention, which that leaves out. Memory
is that of mixed-precision Adam with the states sharded (Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 3.1),
of activations with each layer recomputed (Chen et al. 2016, arXiv:1604.06174; what one layer keeps is counted after
Korthikanti et al. 2022, arXiv:2205.05198), and of vLLM beside it with weights of its own and a KV cache (Kwon et al.
2023, arXiv:2309.06180). How much of a chip's peak is reached is assumed; harness/planning/plan.toml says after whom.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import NanoR1Error
from harness.evaluation import reported
from harness.tracks.schema import GpuHardware, Track

FILE = Path(__file__).with_suffix(".toml")

MASTER, GRADIENT, ADAM = 4, 4, 8  # bytes a trained weight: all in float32, Adam with two moments
ACTIVATION, LOGIT = 2, 4  # bytes: bfloat16, and float32 for what the loss is computed from

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class PlanError(NanoR1Error):
    """The track cannot be planned, or the plan does not fit; the message says by how much and what to change."""


# ---------------------------------------------------------------- what is declared


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Assumed(Part):
    training_mfu: Share
    decode_mbu: Share
    decode_mfu: Share
    decode_step_seconds: Annotated[float, Field(ge=0)]
    overhead: Annotated[float, Field(ge=1)]
    usable_memory: Share


class Chip(Part):
    fp32_flops: Positive
    bf16_flops: Positive
    bandwidth_bytes: Positive


class Shape(Part):
    """A decoder-only transformer with gated MLPs and grouped-query attention: Llama, Qwen2, Qwen3."""

    layers: Positive
    width: Positive
    heads: Positive
    kv_heads: Positive
    head_width: Positive
    intermediate: Positive
    vocabulary: Positive
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def block(self) -> int:
        """Weights of one layer's matrices."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        return self.width * (2 * q + 2 * kv) + 3 * self.width * self.intermediate

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All weights; tied embeddings once."""
        small = 2 * self.width
        small += (self.heads + 2 * self.kv_heads) * self.head_width if self.qkv_bias else 0
        small += 2 * self.head_width if self.qk_norm else 0
        return self.layers * (self.block + small) + self.width + self.embedding * (1 if self.tied else 2)

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with: the look-up in the embedding is none, the head is."""
        return self.layers * self.block + self.embedding

    @property
    def kv_values(self) -> int:
        """Numbers that one token leaves in the KV cache."""
        return 2 * self.layers * self.kv_heads * self.head_width


class Recipe(Part):
    """See harness/planning/plan.toml."""

    start_seconds: Positive
    steps: Positive
    prompts: Positive
    group: Positive
    prompt_tokens: Positive
    completion_tokens: Positive
    shards: Positive
    micro_tokens: Positive
    chunk_tokens: Positive
    concurrent: Positive
    bytes_per_weight: Positive

    @property
    def completions(self) -> int:
        """A step's, over all GPUs."""
        return self.prompts * self.group


class Declared(Part):
    assumed: Assumed
    chips: dict[str, Chip]
    shapes: dict[str, Shape]
    recipes: dict[str, Recipe]


@cache
def declared() -> Declared:
    """The numbers of harness/planning/plan.toml. Raises PlanError."""
    try:
        return Declared.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise PlanError(f"{FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{FILE}: {error}") from None


def shape_of(config: object) -> Shape:
    """The shape that a config.json of a Llama, Qwen2 or Qwen3 describes. Raises PlanError."""
    if not isinstance(config, dict):
        raise PlanError("config.json is no JSON object")
    kind = config.get("model_type")
    if kind not in ("llama", "qwen2", "qwen3"):
        raise PlanError(f"config.json: model_type is {kind!r}, and only llama, qwen2 and qwen3 can be planned")
    try:
        return Shape.model_validate(
            {
                "layers": config["num_hidden_layers"],
                "width": config["hidden_size"],
                "heads": config["num_attention_heads"],
                "kv_heads": config["num_key_value_heads"],
                "head_width": config.get("head_dim")
                or int(str(config["hidden_size"])) // int(str(config["num_attention_heads"])),
                "intermediate": config["intermediate_size"],
                "vocabulary": config["vocab_size"],
                "tied": config["tie_word_embeddings"],
                "qkv_bias": kind == "qwen2",
                "qk_norm": kind == "qwen3",
            }
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise PlanError(f"config.json is not that of a {kind}: {str(error).partition(chr(10))[0]}") from None


# ---------------------------------------------------------------- memory


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


# ---------------------------------------------------------------- arithmetic and time


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


# ---------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Plan:
    """Bytes are on one GPU; `host_bytes` the host's. Tokens and GPU-hours are over all GPUs.

    `verification`: the runs of both arms and a control run.
    """

    track: str
    hardware: str
    parameters: int
    memory: dict[str, int]
    memory_bytes: int
    usable_bytes: int
    host_bytes: int
    sampled_tokens: int
    trained_tokens: int
    reward_queries: int
    start_seconds: int
    sampling_seconds: float
    training_seconds: float
    seconds: float
    budget_seconds: int
    gpu_hours: float
    usd: float
    evaluation_seconds: float
    verification_runs: int
    verification_evaluations: int
    verification_gpu_hours: float
    verification_usd: float
    assumptions: list[str]


def plan(track: Track) -> Plan:
    """What the track's declared recipe needs. Raises PlanError where it cannot be planned or does not fit."""
    numbers, hardware = declared(), track.hardware
    if not isinstance(hardware, GpuHardware):
        raise PlanError(f"{track.name} runs on CPUs, where it was measured: see docs/tracks/{track.name}.md")
    if hardware.gpu not in numbers.chips:
        raise PlanError(f"{FILE} has no chip {hardware.gpu!r}; chips: {', '.join(numbers.chips)}")
    if track.name not in numbers.recipes:
        raise PlanError(f"{FILE} has no recipe for {track.name}: add a table [recipes.{track.name}]")
    recipe = numbers.recipes[track.name]
    found = reckon(track, hardware, base_shape(track), recipe, numbers)
    check(found, track, recipe)
    return found


def base_shape(track: Track) -> Shape:
    """From the base model's config.json where it lies here, else as plan.toml has it; they must agree."""
    path, listed = track.base_folder / "config.json", declared().shapes.get(track.base.repo or "")
    try:
        found = shape_of(json.loads(path.read_text())) if path.is_file() else None
    except ValueError as error:
        raise PlanError(f"{path}: {error}") from None
    if found is not None and listed is not None and found != listed:
        raise PlanError(f"{path} describes another model than {FILE} does for {track.base.repo}: correct the latter")
    shape = found or listed
    if shape is None:
        raise PlanError(f"{FILE} has no shape for {track.base.repo}, and it was not fetched: add one, or fetch it")
    return shape


def reckon(track: Track, hardware: GpuHardware, shape: Shape, recipe: Recipe, numbers: Declared) -> Plan:
    """The plan itself. Pure."""
    chip, assumed = numbers.chips[hardware.gpu], numbers.assumed
    if hardware.gpus % recipe.shards:
        raise PlanError(f"{track.name}: {recipe.shards} shards cannot be laid out over {hardware.gpus} GPUs")
    needed = memory(shape, recipe, track.sampling.max_new_tokens)
    longest = track.sampling.max_new_tokens
    sampling = sampling_seconds(
        shape, recipe, chip, assumed, gpus=hardware.gpus, completions=recipe.completions, longest=longest
    )
    training = training_seconds(shape, recipe, chip, assumed, gpus=hardware.gpus)
    seconds = recipe.start_seconds + recipe.steps * (sampling + training) * assumed.overhead
    gpu_hours = seconds * hardware.gpus / 3600
    price = hardware.usd_per_gpu_hour_cents / 100
    questions = sum(suite.questions for suite in track.heldout.suites) + reported.most(track)
    evaluation = evaluation_seconds(track, shape, recipe, chip, assumed, questions)
    # The submission's runs, the baseline's in turn with them, a control run; the baseline's are timed and not asked.
    runs, evaluations = 2 * track.verdict.runs + 1, track.verdict.runs + 1
    verification = runs * gpu_hours + evaluations * evaluation * hardware.gpus / 3600
    total = recipe.steps * recipe.completions
    return Plan(
        track=track.id,
        hardware=hardware.label,
        parameters=shape.parameters,
        memory=needed,
        memory_bytes=sum(needed.values()),
        usable_bytes=int(hardware.gpu_memory_bytes * assumed.usable_memory),
        # Every rank reads the base's file; at the end one holds all weights in float32.
        host_bytes=shape.parameters * (hardware.gpus * recipe.bytes_per_weight + MASTER),
        sampled_tokens=total * recipe.completion_tokens,
        trained_tokens=total * (recipe.prompt_tokens + recipe.completion_tokens),
        reward_queries=total,
        start_seconds=recipe.start_seconds,
        sampling_seconds=recipe.steps * sampling,
        training_seconds=recipe.steps * training,
        seconds=seconds,
        budget_seconds=track.budget.seconds,
        gpu_hours=gpu_hours,
        usd=gpu_hours * price,
        evaluation_seconds=evaluation,
        verification_runs=runs,
        verification_evaluations=evaluations,
        verification_gpu_hours=verification,
        verification_usd=verification * price,
        assumptions=assumptions(hardware, recipe, numbers),
    )


def assumptions(hardware: GpuHardware, recipe: Recipe, numbers: Declared) -> list[str]:
    """In words, in the order in which they matter."""
    chip, assumed = numbers.chips[hardware.gpu], numbers.assumed
    states = "on each GPU" if recipe.shards == 1 else f"sharded over {recipe.shards} GPUs (FSDP2)"
    counted = ", counted as an L4" if hardware.gpu == "any" else ""
    return [
        f"{recipe.steps} steps of {recipe.prompts} prompts × {recipe.group} completions, no reference model",
        f"{recipe.prompt_tokens} tokens a prompt and {recipe.completion_tokens} a completion on average",
        f"all weights trained; float32 master weights, gradients and Adam {states}; every layer recomputed in the backward pass",
        f"{recipe.micro_tokens:,} tokens a micro-batch; log-probs {recipe.chunk_tokens:,} tokens at a time",
        f"vLLM resident on each GPU with {recipe.concurrent} sequences at a time, room for each to run to the limit",
        f"{hardware.gpu}{counted}: {chip.bf16_flops / 1e12:.0f} dense bf16 TFLOPS, "
        f"{chip.bandwidth_bytes / 1e12:.2f} TB/s",
        f"training reaches {assumed.training_mfu:.0%} of the peak, decoding {assumed.decode_mbu:.0%} of the bandwidth "
        f"or {assumed.decode_mfu:.0%} of the peak, a decoding step at least {assumed.decode_step_seconds * 1000:g} ms",
        f"{recipe.start_seconds} s before the first step, on the clock: CUDA, NCCL, vLLM's profiling and its graphs",
        f"evaluation in float32 on one GPU, whose float32 peak is {chip.fp32_flops / 1e12:.0f} TFLOPS",
        f"the steps take {assumed.overhead:g} times that; {assumed.usable_memory:.0%} of the memory is usable",
        f"${hardware.usd_per_gpu_hour_cents / 100:.2f} a GPU-hour",
    ]


def check(found: Plan, track: Track, recipe: Recipe) -> None:
    """Raises PlanError, with the first reason, unless the plan fits the memories and the track's budget."""
    if recipe.completion_tokens > track.sampling.max_new_tokens:
        raise PlanError(
            f"{found.track} does not fit: completions of {recipe.completion_tokens} tokens on average, and the track "
            f"allows {track.sampling.max_new_tokens}: raise sampling.max_new_tokens in the track's TOML"
        )
    if found.memory_bytes > found.usable_bytes:
        worst = max(found.memory, key=lambda name: found.memory[name])
        raise PlanError(
            f"{found.track} does not fit: {gb(found.memory_bytes)} a GPU, of which {gb(found.usable_bytes)} are "
            f"usable; most of it is {worst} ({gb(found.memory[worst])}): more shards, smaller micro-batches or "
            "fewer concurrent sequences would make room"
        )
    if found.seconds > found.budget_seconds:
        raise PlanError(
            f"{found.track} does not fit: {found.seconds:,.0f} s, {found.start_seconds} of them to start, and the "
            f"budget is {found.budget_seconds:,} s: fewer steps, fewer completions or shorter ones would"
        )
    budget = track.budget
    if found.host_bytes > budget.memory_bytes:
        raise PlanError(
            f"{found.track} does not fit: {gb(found.host_bytes)} of the host's memory, and the budget is "
            f"{gb(budget.memory_bytes)}: raise budget.memory_bytes in the track's TOML"
        )
    if found.reward_queries > budget.reward_queries:
        raise PlanError(
            f"{found.track} does not fit: {found.reward_queries:,} completions to grade, and the budget is "
            f"{budget.reward_queries:,}: fewer steps or completions would"
        )
    if recipe.group > budget.queries_per_prompt:
        raise PlanError(
            f"{found.track} does not fit: {recipe.group} completions a prompt, and the track grades at most "
            f"{budget.queries_per_prompt}: smaller groups would"
        )
    largest = found.parameters * recipe.bytes_per_weight
    if largest > budget.output_bytes:
        raise PlanError(
            f"{found.track} does not fit: weights of {gb(largest)}, and the budget for output is "
            f"{gb(budget.output_bytes)}: raise budget.output_bytes in the track's TOML"
        )


def gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
