"""The fixed minibatch of the tests of the GPU baseline, and what each of two ranks does with it, in a light file."""

import importlib.util
import sys

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from harness.tracks.track import ROOT

SOURCE = ROOT / "baseline-gpu" / "train.py"
BASE = ROOT / "harness" / "models" / "logic-base"
CPU = torch.device("cpu")


def load():
    spec = importlib.util.spec_from_file_location("baseline_gpu_train", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up there
    spec.loader.exec_module(module)
    module.COMPUTE = torch.float32
    return module


train = load()


def base_model():
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="sdpa")


def make_policy(shard=False, checkpointing=False):
    torch.manual_seed(3)
    rule = train.Recipe(1, 2, 4, 1, 24, 1e-3, checkpointing)
    return train.make_policy(base_model(), rule, CPU, shard)


def fixed_rows():
    """Eleven rows of unequal lengths, from 5 to 57 tokens."""
    random = torch.Generator().manual_seed(7)
    rows = []
    for i in range(11):
        start, length = 4 + i % 5, 1 + (i * 17) % 49
        ids = torch.randint(2, 360, (start + length,), generator=random).tolist()
        logps = (-13 + 4 * torch.rand(length, generator=random)).tolist()
        rows.append(train.Row(ids, start, logps, (-1.0) ** i * (1 + i / 4)))
    return rows


def gradients(policy):
    """After `accumulate`: name to whole gradient, by the names of the model."""
    return {name: train.whole(p.grad).clone() for name, p in policy.named_parameters() if p.requires_grad}


CASES = [(shard, lora) for shard in (False, True) for lora in (0, 4)]


def update(rank, world, shard, lora):
    """Accumulate the fixed minibatch, reduce, clip, step: gradients, weights, norm, how many are sharded, sums."""
    train.LORA_RANK = lora
    policy = make_policy(shard, checkpointing=world > 1)
    sums = train.accumulate(policy, fixed_rows(), 16.0, rank, world, CPU)
    train.reduce_gradients(policy, world, shard)
    found = gradients(policy)
    trained = [p for p in policy.parameters() if p.requires_grad]
    norm = train.whole(torch.nn.utils.clip_grad_norm_(trained, train.MAX_GRAD_NORM)).item()
    torch.optim.SGD(trained, 0.1).step()
    weights = {name: tensor.clone() for name, tensor in train.full_weights(policy)}
    sharded = [isinstance(p, train.DTensor) for p in policy.parameters()]
    return found, weights, norm, sharded, [sum(each) for each in zip(*train.gather(sums.tolist(), world), strict=True)]


def ranked(rank, world, folder):
    """What one of two ranks does: each case in turn."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    train.MICRO_TOKENS = 90
    results = {case: update(rank, world, *case) for case in CASES}
    if rank == 0:
        torch.save(results, f"{folder}/found")
    dist.barrier()
    dist.destroy_process_group()
