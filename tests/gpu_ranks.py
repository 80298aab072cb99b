"""The GPU baselines as modules, a fixed minibatch, and what each of two ranks does with it; imported by each rank."""

from dataclasses import replace
from functools import cache

import torch
import torch.distributed as dist
import trainer_modules
from transformers import AutoModelForCausalLM

from harness.tracks.track import ROOT

BASE = ROOT / "harness" / "models" / "logic-base"
CPU = torch.device("cpu")
VOCABULARY = 360  # tokens of the base


@cache
def load_trainer(folder):
    """A baseline's train.py as a module that computes in float32."""
    module = trainer_modules.load(folder)
    module.COMPUTE = torch.float32
    return module


train = load_trainer("baseline-gpu")


def base_model():
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="sdpa")


def make_policy(shard=False, checkpointing=False):
    recipe = train.Recipe(1, 2, 4, 1, 24, 1e-3, checkpointing=checkpointing)
    return train.make_policy(base_model(), VOCABULARY, recipe, CPU, shard)


def fixed_rows(row=train.Row):
    """Eleven rows of unequal lengths, from 5 to 57 tokens."""
    random = torch.Generator().manual_seed(7)
    rows = []
    for i in range(11):
        start, length = 4 + i % 5, 1 + (i * 17) % 49
        ids = torch.randint(2, 360, (start + length,), generator=random).tolist()
        logps = (-13 + 4 * torch.rand(length, generator=random)).tolist()
        rows.append(row(ids, start, logps, (-1.0) ** i * (1 + i / 4)))
    return rows


def gradients(policy):
    """After `accumulate`: name to whole gradient, by the names of the model."""
    return {name: train.whole(p.grad).clone() for name, p in policy.named_parameters()}


def largest_difference(actual, expected):
    """Of two dictionaries of tensors: absolute, and relative to the largest element."""
    assert actual.keys() == expected.keys()
    difference = max((actual[name] - expected[name]).abs().max().item() for name in actual)
    return difference, difference / max(tensor.abs().max().item() for tensor in expected.values())


def update(rank, world, shard):
    """Accumulate the fixed minibatch, clip, step: gradients, weights, norm, which weights are sharded, sums."""
    policy = make_policy(shard, checkpointing=world > 1)
    sums = train.accumulate(policy, fixed_rows(), 16.0, rank, world, CPU)
    accumulated = gradients(policy)
    parameters = list(policy.parameters())
    norm = train.whole(torch.nn.utils.clip_grad_norm_(parameters, train.MAX_GRAD_NORM)).item()
    torch.optim.SGD(parameters, 0.1).step()
    weights = {name: tensor.clone() for name, tensor in train.full_weights(policy)}
    sharded = [isinstance(p, train.DTensor) for p in parameters]
    return accumulated, weights, norm, sharded, sums.tolist()


def on_policy_rows():
    """The fixed minibatch with the log-probs of the base in float32, so that every ratio is near 1."""
    policy, rows = make_policy(), fixed_rows()
    with torch.no_grad():
        logps = [policy(*train.collate([row], CPU)).tolist() for row in rows]
    return [replace(row, logps=values) for row, values in zip(rows, logps, strict=True)]


def gradient(rows, compute, rank=0, world=1):
    """Of the minibatch, as one vector; sharded over the ranks by FSDP2, and computed in `compute`."""
    train.COMPUTE = compute
    policy = make_policy(shard=world > 1)
    train.accumulate(policy, rows, 16.0, rank, world, CPU)
    assert all(isinstance(p, train.DTensor) for p in policy.parameters()) == (world > 1)
    train.COMPUTE = torch.float32
    return torch.cat([tensor.flatten() for _, tensor in sorted(gradients(policy).items())])


def ranked_bfloat16(rank, world, folder):
    """What one of many ranks does: its share of the gradient in bfloat16."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = gradient(torch.load(f"{folder}/rows", weights_only=False), torch.bfloat16, rank, world)
    if rank == 0:
        torch.save(found, f"{folder}/gradient")
    dist.barrier()
    dist.destroy_process_group()


def ranked(rank, world, folder):
    """What one of two ranks does: the update replicated, then sharded."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    train.MICRO_TOKENS = 90
    results = {shard: update(rank, world, shard) for shard in (False, True)}
    if rank == 0:
        torch.save(results, f"{folder}/results")
    dist.barrier()
    dist.destroy_process_group()
