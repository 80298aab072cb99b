"""The work of `throughput`: shapes of models, what one step is, and its FLOPs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.planning.declared import Shape, declared
from harness.planning.roofline import forward_flops


@dataclass(frozen=True)
class Work:
    """One step: `prompts` times `group` completions of `new_tokens` each, and one update in parts of `micro` rows."""

    prompts: int
    group: int
    prompt_tokens: int
    new_tokens: int
    micro: int
    vllm: float | None  # its share of the GPU's memory; None: each trainer's own loop
    steps: int  # timed, after one that is not

    @property
    def rows(self) -> int:
        return self.prompts * self.group


# 0.5B: Qwen2.5's config.json as public repositories quote it; 1.5B and 3B: harness/planning/plan.toml; tiny is ours.
SHAPES = {
    "tiny": Shape(
        layers=2, width=64, heads=2, kv_heads=1, head_width=32, intermediate=128, vocabulary=2048, tied=True,
        qkv_bias=True,
    ),
    "0.5b": Shape(
        layers=24, width=896, heads=14, kv_heads=2, head_width=64, intermediate=4864, vocabulary=151_936, tied=True,
        qkv_bias=True,
    ),
    "1.5b": declared().shapes["Qwen/Qwen2.5-1.5B-Instruct"],
    "3b": declared().shapes["Qwen/Qwen2.5-3B-Instruct"],
}  # fmt: skip
LANGUAGE = Work(prompts=32, group=8, prompt_tokens=128, new_tokens=512, micro=16, vllm=0.35, steps=3)
WORKS = {
    "tiny": Work(prompts=8, group=4, prompt_tokens=16, new_tokens=32, micro=8, vllm=None, steps=5),
    "0.5b": LANGUAGE,
    "1.5b": LANGUAGE,
    "3b": replace(LANGUAGE, vllm=0.2),  # weights, gradients and moments are 49 GB of an H100's 80
}
TRL = "1.16.0"
ARMS = {"ours": "baseline-gpu", "trl": f"TRL {TRL}"}
LEARNING_RATE = 1e-6  # as LANGUAGE in the baseline


def work_prompts(shape: Shape, work: Work) -> list[list[int]]:
    """Random ids; the first is the padding token and the last the end token, so neither is drawn."""
    import torch

    random = torch.Generator().manual_seed(0)
    return torch.randint(1, shape.vocabulary - 1, (work.prompts, work.prompt_tokens), generator=random).tolist()


def rewards(work: Work) -> list[float]:
    """Of a step's completions, group by group: right and wrong in turn."""
    return [float(i % 2) for i in range(work.rows)]


def step_flops(shape: Shape, work: Work) -> tuple[float, float]:
    """The model's FLOPs of one step: to sample (decoding alone), and to train. The head is for completions only."""
    sampled, length = work.rows * work.new_tokens, work.prompt_tokens + work.new_tokens
    decode = forward_flops(shape, sampled, work.prompt_tokens + work.new_tokens / 2)
    forward = forward_flops(shape, work.rows * length, length / 2)
    return decode, 3 * (forward - 2 * shape.embedding * work.rows * work.prompt_tokens)
