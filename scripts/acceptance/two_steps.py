"""Two updates of a sharded policy, as baseline-gpu/train.py makes them: random weights, random ids, a rank a GPU.

scripts/gpu_acceptance.py runs it in the sandbox, with baseline-gpu/train.py beside it as baseline.py and what to do in
work.json. The last line of rank 0 is JSON.
"""

import json
import math
import time
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, Qwen2Config

import baseline

STEPS, LEARNING_RATE = 2, 1e-5
WORK = json.loads(Path(__file__).with_name("work.json").read_text(encoding="utf-8"))


def make_rows(log_probs, world):
    """The same rows on every rank: of two with one prompt, one is to become likelier and one less likely."""
    random = torch.Generator().manual_seed(1)
    length = WORK["prompt_tokens"] + WORK["new_tokens"]
    ids = torch.randint(0, WORK["config"]["vocab_size"], (WORK["rows"] * world, length), generator=random).tolist()
    rows = [baseline.Row(row, WORK["prompt_tokens"], [], (-1.0) ** i) for i, row in enumerate(ids)]
    sampler = log_probs(rows)
    return [baseline.Row(row.ids, row.start, logps, row.advantage) for row, logps in zip(rows, sampler, strict=True)]


def main():
    rank, world, device = baseline.join()
    torch.manual_seed(0)
    with device:  # on a GPU at once: eight ranks would fill the host's memory
        model = AutoModelForCausalLM.from_config(
            Qwen2Config(**WORK["config"]), dtype=torch.float32, attn_implementation="sdpa"
        )
    parameters = sum(p.numel() for p in model.parameters())
    recipe = baseline.Recipe(STEPS, 1, 1, 1, WORK["new_tokens"], LEARNING_RATE, checkpointing=True)
    policy = baseline.make_policy(model, WORK["config"]["vocab_size"], recipe, device, shard=True)
    del model
    sharded = sum(isinstance(p, DTensor) for p in policy.parameters())  # now: a forward pass leaves some gathered
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, baseline.BETAS, weight_decay=0.0)

    def log_probs(rows):
        found = []
        with torch.no_grad():
            for row in rows:  # every rank makes every pass
                found.append(policy(*baseline.collate([row], device)).tolist())
        return found

    def margin(rows):
        """How much likelier than the others those rows are that are to become likelier, in nats a token."""
        means = [math.fsum(logps) / len(logps) for logps in log_probs(rows)]
        return sum(mean * row.advantage for mean, row in zip(means, rows, strict=True)) / (len(rows) / 2)

    rows = make_rows(log_probs, world)
    margins, norms, seconds = [margin(rows)], [], []
    for _ in range(STEPS):
        start = time.monotonic()
        baseline.accumulate(policy, rows, float(len(rows)), rank, world, device)
        norms.append(float(baseline.whole(torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0))))
        optimizer.step()
        optimizer.zero_grad()
        if baseline.CUDA:
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - start)
        margins.append(margin(rows))
    memory = torch.cuda.max_memory_reserved() if baseline.CUDA else 0
    everyones = baseline.gather((norms, margins, sharded, memory), world)
    if rank == 0:
        found = {
            "ranks": world, "device": device.type, "backend": torch.distributed.get_backend() if world > 1 else None,
            "compute": str(baseline.COMPUTE), "parameters": parameters, "tensors": len(list(policy.parameters())),
            "sharded": min(part[2] for part in everyones), "norms": norms, "margins": margins, "seconds": seconds,
            "agree": all(part[:2] == (norms, margins) for part in everyones),
            "peak_memory_bytes": max(part[3] for part in everyones),
        }  # fmt: skip
        print(json.dumps(found), flush=True)
    if world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    baseline.CPU_RANKS = WORK["cpu_ranks"]
    baseline.launch()
    main()
