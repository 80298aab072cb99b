"""What a GPU track would need and cost, estimated before anyone rents a machine; refused where it cannot fit."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evaluation import reported
from harness.planning.declared import FILE, Declared, PlanError, Recipe, Shape, base_shape, declared
from harness.planning.footprint import Footprint, measure
from harness.planning.roofline import (
    MASTER,
    VLLM,
    concurrent,
    evaluation_seconds,
    grading_seconds,
    sampler_memory,
    sampling_seconds,
    training_seconds,
)
from harness.tracks.schema import GpuHardware, Track


@dataclass(frozen=True)
class Plan:
    """Bytes are on one GPU; `host_bytes` the host's. Tokens and GPU-hours are over all GPUs.

    `tensors`: of weights, `sharded` of them. `concurrent`: sequences that one GPU samples at a time. `verification`:
    the runs of both arms and a control run.
    """

    track: str
    hardware: str
    parameters: int
    tensors: int
    sharded: int
    memory: dict[str, int]
    memory_bytes: int
    usable_bytes: int
    concurrent: int
    host_bytes: int
    sampled_tokens: int
    trained_tokens: int
    reward_queries: int
    start_seconds: int
    sampling_seconds: float
    grading_seconds: float
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
    if hardware.gpus % recipe.shards:
        raise PlanError(f"{track.name}: {recipe.shards} shards cannot be laid out over {hardware.gpus} GPUs")
    shape = base_shape(track)
    footprint = measure(shape, recipe, track.sampling.max_new_tokens)
    estimated = estimate(track, hardware, shape, recipe, footprint, numbers)
    check(estimated, track, recipe)
    return estimated


def estimate(
    track: Track, hardware: GpuHardware, shape: Shape, recipe: Recipe, footprint: Footprint, numbers: Declared
) -> Plan:
    """The plan itself. Pure."""
    chip, assumed = numbers.chips[hardware.gpu], numbers.assumed
    longest = track.sampling.max_new_tokens
    if recipe.vllm_memory is not None:
        recipe = recipe.model_copy(update={"concurrent": concurrent(shape, recipe, hardware.gpu_memory_bytes, longest)})
    by_purpose = {**footprint.memory, **sampler_memory(shape, recipe, hardware.gpu_memory_bytes, longest)}
    sampling = sampling_seconds(
        shape, recipe, chip, assumed, gpus=hardware.gpus, completions=recipe.completions, longest=longest
    )
    training = training_seconds(shape, recipe, chip, assumed, gpus=hardware.gpus)
    grading = grading_seconds(recipe, assumed)
    seconds = recipe.start_seconds + recipe.steps * (sampling + grading + training) * assumed.overhead
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
        tensors=footprint.tensors,
        sharded=footprint.sharded,
        memory=by_purpose,
        memory_bytes=sum(by_purpose.values()),
        usable_bytes=int(hardware.gpu_memory_bytes * assumed.usable_memory),
        concurrent=recipe.concurrent,
        # Every rank reads the base's file; at the end one holds all weights in float32.
        host_bytes=shape.parameters * (hardware.gpus * recipe.bytes_per_weight + MASTER),
        sampled_tokens=total * recipe.completion_tokens,
        trained_tokens=total * (recipe.prompt_tokens + recipe.completion_tokens),
        reward_queries=total,
        start_seconds=recipe.start_seconds,
        sampling_seconds=recipe.steps * sampling,
        grading_seconds=recipe.steps * grading,
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
    layers = "every layer recomputed in the backward pass" if recipe.checkpointing else "all activations kept"
    sampler = "transformers" if recipe.vllm_memory is None else f"vLLM in {recipe.vllm_memory:.1%} of each GPU's memory"
    mfu, origin = recipe.training_mfu(assumed), "measured" if recipe.measured_mfu else "assumed"
    counted = ", counted as an L4" if hardware.gpu == "any" else ""
    return [
        f"{recipe.steps} steps of {recipe.prompts} prompts × {recipe.group} completions, no reference model",
        f"{recipe.prompt_tokens} tokens a prompt and {recipe.completion_tokens} a completion on average",
        f"all weights trained; float32 weights, gradients and Adam {states}; {layers}",
        f"{recipe.micro_tokens:,} tokens a micro-batch; log-probs {recipe.chunk_tokens:,} tokens at a time",
        f"sampling by {sampler}, {recipe.concurrent} sequences at a time, room for each to run to the limit",
        f"{hardware.gpu}{counted}: {chip.bf16_flops / 1e12:.0f} dense bf16 TFLOPS, "
        f"{chip.bandwidth_bytes / 1e12:.2f} TB/s",
        f"training reaches {mfu:.0%} of the peak ({origin}), decoding {assumed.decode_mbu:.0%} of the bandwidth "
        f"or {assumed.decode_mfu:.0%} of the peak, a decoding step at least {assumed.decode_step_seconds * 1000:g} ms",
        f"grading takes {assumed.grade_seconds * 1000:g} ms a completion and {assumed.grade_token_seconds * 1e6:g} "
        "microseconds a token, one after the other",
        f"{recipe.start_seconds} s before the first step, on the clock: CUDA, NCCL, vLLM's profiling and its graphs",
        f"evaluation in float32 on one GPU, whose float32 peak is {chip.fp32_flops / 1e12:.0f} TFLOPS",
        f"the steps take {assumed.overhead:g} times that; {assumed.usable_memory:.0%} of the memory is usable",
        f"${hardware.usd_per_gpu_hour_cents / 100:.2f} a GPU-hour",
    ]


def check(estimated: Plan, track: Track, recipe: Recipe) -> None:
    """Raises PlanError, with the first reason, unless the plan fits the memories and the track's budget."""
    budget, longest = track.budget, track.sampling.max_new_tokens
    weights = estimated.parameters * recipe.bytes_per_weight
    largest = max(estimated.memory, key=lambda name: estimated.memory[name])
    reasons = [
        (
            recipe.completion_tokens > longest,
            f"completions of {recipe.completion_tokens} tokens on average, and the track allows {longest}: raise "
            "sampling.max_new_tokens in the track's TOML",
        ),
        (
            estimated.memory_bytes > estimated.usable_bytes,
            f"{gb(estimated.memory_bytes)} a GPU, of which {gb(estimated.usable_bytes)} are usable; most of it is "
            f"{largest} ({gb(estimated.memory[largest])}): more shards, smaller micro-batches or a smaller share for "
            "vLLM would make room",
        ),
        (
            estimated.concurrent == 0,
            f"vLLM gets {gb(estimated.memory.get(VLLM, 0))} a GPU, which does not hold {gb(weights)} of weights and "
            "the cache of one sequence: a larger share, or shorter completions, would",
        ),
        (
            estimated.seconds > estimated.budget_seconds,
            f"{estimated.seconds:,.0f} s, {estimated.start_seconds} of them to start, and the budget is "
            f"{estimated.budget_seconds:,} s: fewer steps, fewer completions or shorter ones would",
        ),
        (
            estimated.host_bytes > budget.memory_bytes,
            f"{gb(estimated.host_bytes)} of the host's memory, and the budget is {gb(budget.memory_bytes)}: raise "
            "budget.memory_bytes in the track's TOML",
        ),
        (
            estimated.reward_queries > budget.reward_queries,
            f"{estimated.reward_queries:,} completions to grade, and the budget is {budget.reward_queries:,}: fewer "
            "steps or completions would",
        ),
        (
            recipe.group > budget.queries_per_prompt,
            f"{recipe.group} completions a prompt, and the track grades at most {budget.queries_per_prompt}: smaller "
            "groups would",
        ),
        (
            weights > budget.output_bytes,
            f"weights of {gb(weights)}, and the budget for output is {gb(budget.output_bytes)}: raise "
            "budget.output_bytes in the track's TOML",
        ),
    ]
    for does_not_fit, reason in reasons:
        if does_not_fit:
            raise PlanError(f"{estimated.track} does not fit: {reason}")


def gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
