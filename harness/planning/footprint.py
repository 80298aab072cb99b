"""What training takes on one GPU, traced: the real model's operations, with tensors that have a shape and no content.

The baseline's policy is built from the base's shapes, sharded as on so many GPUs (FSDP2 over a process group that sends
nothing), and makes one update: Adam's step, and a micro-batch forward and backward while gradients and moments exist.
torch's own trackers of memory add up what is alive at once. It needs no GPU, and little memory.

The trackers' time grows with the square of the layers, and memory in proportion to them. So three and four layers are
traced, and the rest follows; a test compares it with a trace of all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.planning.declared import PlanError, Recipe, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh
    from torch.optim import Optimizer
    from transformers import PretrainedConfig

# What the trackers tell apart, by the name under which it is planned.
PURPOSES = {
    "weights": ("PARAM", "SHARDED_PARAM"),
    "gathered layers": ("UNSHARDED_PARAM", "ALL_GATHER", "REDUCE_SCATTER", "UNSHARDED_GRAD"),
    "gradients": ("GRAD", "SHARDED_GRAD"),
    "Adam": ("OPT",),
    "activations and logits": ("ACT", "TEMP", "INP", "BUFFER", "OTH"),
}


INSTALL = "scripts/setup.sh"
FEW = 3  # layers: while one is computed FSDP2 gathers another ahead, so fewer would not show all that is gathered


@dataclass(frozen=True)
class Footprint:
    """Bytes on one GPU at the fullest moment, by what for; the weights' tensors, and how many are sharded."""

    memory: dict[str, int]
    tensors: int
    sharded: int


@dataclass(frozen=True)
class Trace:
    """`moments`: what is alive, by what for, at the fullest moment of a pass, and of Adam's step unless sharded."""

    moments: list[dict[str, int]]
    tensors: int
    sharded: int


def measure(shape: Shape, recipe: Recipe, longest: int) -> Footprint:
    """Of an update of the recipe, with answers of `longest` tokens. Raises PlanError where torch is missing."""
    few, more = (trace(shape.model_copy(update={"layers": FEW + n}), recipe, longest) for n in (0, 1))
    left = shape.layers - FEW

    def follow(low: int, high: int) -> int:
        return low + left * (high - low)

    moments = [
        {purpose: follow(size, high[purpose]) for purpose, size in low.items()}
        for low, high in zip(few.moments, more.moments, strict=True)
    ]
    return Footprint(
        memory=max(moments, key=lambda moment: sum(moment.values())),
        tensors=follow(few.tensors, more.tensors),
        sharded=follow(few.sharded, more.sharded),
    )


def trace(shape: Shape, recipe: Recipe, longest: int) -> Trace:
    """One update with all layers that the shape has. Raises PlanError where torch is missing."""
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode
    except ModuleNotFoundError:
        raise PlanError("a plan traces the model with torch, which is not installed", advice=INSTALL) from None
    length = recipe.prompt_tokens + longest
    with _ranks(recipe.shards) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        return _trace(shape, recipe, rows=max(1, recipe.micro_tokens // length), length=length, mesh=mesh)


@contextlib.contextmanager
def _ranks(count: int) -> Iterator[DeviceMesh | None]:
    """A mesh of so many ranks, of which this process is the first and the others do not exist."""
    if count == 1:
        yield None
        return
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (count,))
    finally:
        dist.destroy_process_group()


def _trace(shape: Shape, recipe: Recipe, *, rows: int, length: int, mesh: DeviceMesh | None) -> Trace:
    import torch
    from torch.distributed.tensor import DTensor

    policy = _policy(shape, recipe, mesh)
    parameters = list(policy.parameters())
    optimizer = torch.optim.AdamW(parameters, foreach=True)  # as on CUDA by default
    ids = torch.zeros(rows, length, dtype=torch.long)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    if mesh is None:
        moments = [_fullest(policy, optimizer, ids, optimizer.step)]
    else:  # the tracker would count a shard's temporaries as if they were whole; they are less than what a pass gathers
        optimizer.step()
        moments = []
    moments.append(_fullest(policy, optimizer, ids, lambda: policy(ids).sum().backward()))
    return Trace(
        moments=moments,
        tensors=len(parameters),
        sharded=sum(isinstance(parameter, DTensor) for parameter in parameters),
    )


def _fullest(policy: nn.Module, optimizer: Optimizer, ids: Tensor, work: Callable[[], object]) -> dict[str, int]:
    """What is alive, by what for, when most is, while the work is done."""
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.distributed.fsdp import FSDPModule

    tracker: MemTracker
    if isinstance(policy, FSDPModule):
        tracker = FSDPMemTracker(policy, optimizer)
        tracker.track_inputs((ids,))
    else:
        tracker = MemTracker()
        tracker.track_external(policy, optimizer, ids)
    with tracker:
        work()
    (alive,) = tracker.get_tracker_snapshot("peak").values()
    by_kind = {getattr(kind, "name", kind): size for kind, size in alive.items()}
    return {purpose: sum(by_kind.get(kind, 0) for kind in kinds) for purpose, kinds in PURPOSES.items()}


def _policy(shape: Shape, recipe: Recipe, mesh: DeviceMesh | None) -> nn.Module:
    """The baseline's policy: float32 weights, bfloat16 arithmetic, attention and MLPs sharded, the rest in float32."""
    import torch
    from torch import nn
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.utils.checkpoint import checkpoint
    from transformers import AutoModelForCausalLM

    class Policy(nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Tensor) -> Tensor:
            """Log-probs of the completions' tokens, some at a time and again in the backward pass."""
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
                sampled = hidden[:, recipe.prompt_tokens - 1 :].flatten(0, 1)
                targets = ids[:, recipe.prompt_tokens :].flatten()
                parts = zip(*(torch.split(whole, recipe.chunk_tokens) for whole in (sampled, targets)), strict=True)
                return torch.cat([checkpoint(self.log_probs, *part, use_reentrant=False) for part in parts])

        def log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
            logits: Tensor = self.model.lm_head(hidden).float()
            return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)

    build: Any = AutoModelForCausalLM.from_config
    model = build(_config(shape), dtype=torch.float32, attn_implementation="sdpa")
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(model)
    if mesh is not None:
        mixed = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for layer in model.model.layers:
            for part in (layer.self_attn, layer.mlp):
                fully_shard(part, mesh=mesh, mp_policy=mixed)
        fully_shard(policy, mesh=mesh)
    return policy.train()


def _config(shape: Shape) -> PretrainedConfig:
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    kind: Any = Qwen2Config if shape.qkv_bias else Qwen3Config if shape.qk_norm else LlamaConfig
    config: PretrainedConfig = kind(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
    )
    return config
