"""GRPO as DeepSeekMath wrote it (Shao et al. 2024, arXiv:2402.03300, eq. 3-4 and Algorithm 1), on one GPU or many.

The reference of the GPU tracks. As in baseline/train.py: groups of G completions, reward 1 or 0, advantages as z-scores
within the group, PPO's clipped ratio against the sampler's log-probs, the mean over a completion's tokens first and
over completions second. Deleted from GRPO:

- KL to the base model, and with it the reference model: a third copy of the weights and a forward pass a rollout;
- groups without variance: their advantages are 0, so without KL they teach nothing. The mean still divides by all
  completions, so the gradient is the same.

Changed for GPUs:

- completions come from vLLM in this process (without it from transformers), whose weights stay resident and are random
  at first: the check before step 1, that sampler and trainer give the same log-probs, fails unless every tensor
  arrived, the tied output head too. The ratio corrects for the difference that remains;
- every rank samples for its own questions, then all ranks see all completions and each takes a share of equal length,
  in micro-batches. A completion's weight in the loss is fixed by the whole minibatch, and gradients are summed, so
  neither ranks nor micro-batches change the gradient (trl issue 6024: the loss was off by up to 4x);
- log-probs a few thousand tokens at a time, and again in the backward pass: [rows, T, vocabulary] never exists;
- rows are padded on the right, so attention is causal and needs no mask.

Weights and Adam's moments are float32 (bfloat16's spacing at 0.02 is 1.2e-4, so a step of 1e-6 would vanish), matrices
are multiplied in bfloat16. Above SHARD_ABOVE parameters all is sharded over the ranks (FSDP2), below it replicated.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from harness.client import Run, connect

# ---------------------------------------------------------------- constants


@dataclass(frozen=True)
class Recipe:
    """What depends on the base model's size and on the GPUs. harness/planning/plan.toml has the same numbers."""

    steps: int  # rollouts; fewer if the budget ends first
    prompts: int  # questions a rollout, over all ranks
    group: int  # completions a question: G
    minibatches: int  # updates a rollout
    max_new_tokens: int  # or the track's limit, if that is less
    learning_rate: float  # decays linearly to zero
    checkpointing: bool  # keep only each layer's input and compute the rest again in the backward pass


SMALL = 10_000_000  # parameters: below, a base made for the logic tracks; above, a language model
LOGIC = Recipe(40, 32, 8, 8, 64, 4e-4, checkpointing=False)  # baseline/train.py's
# Provisional, since neither ever ran on a GPU: microR1's 512 completions a rollout, doubled; SimpleRL-Zoo's 1,024 × 8.
LANGUAGE = Recipe(150, 128, 8, 4, 1024, 1e-6, checkpointing=True)  # on one rank
LANGUAGE_RANKS = Recipe(100, 1024, 8, 4, 2048, 1e-6, checkpointing=True)  # on several: as many for each of eight

TEMPERATURE = 1.0  # sampling and scoring alike
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
DEAD_STD = 1e-4  # a group whose rewards vary less is dropped

MICRO_TOKENS = 32_768  # of a forward and backward pass, padding included
LOGIT_TOKENS = 2_048  # whose logits exist at once: 2,048 of 151,936 in float32 are 1.2 GB
SHARD_ABOVE = 2_000_000_000  # parameters; weight, gradient and two moments are 16 bytes each, so 32 GB a GPU
VLLM_MEMORY = 0.42  # of the GPU: its weights and its cache of keys and values
MISMATCH = 0.1  # nats a token on average, between sampler and trainer; bfloat16 gives about 0.02

CPU_RANKS = 1  # on a machine without GPUs
CUDA = torch.cuda.is_available()
BF16_CPU = any(map(torch.cpu.get_capabilities().get, ("avx512_bf16", "amx_bf16")))
BF16 = torch.cuda.is_bf16_supported(including_emulation=False) if CUDA else BF16_CPU
COMPUTE = torch.bfloat16 if BF16 else torch.float32

# ---------------------------------------------------------------- losses: pure functions on tensors


def group_advantages(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """[questions, G] rewards -> z-scores within each group, or 0 if it has no variance; has it any? [questions]."""
    std = rewards.std(1, keepdim=True)
    live = std > DEAD_STD
    return live * (rewards - rewards.mean(1, keepdim=True)) / (std + DEAD_STD), live[:, 0]


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate, token by token: three tensors of one shape -> objective, clipped?"""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages
    return torch.minimum(plain, clipped), clipped < plain


def token_weights(lengths: Tensor, rows: float) -> Tensor:
    """A token's weight in the mean over its completion and then over `rows` completions. [n] -> [lengths' sum]."""
    return (1 / (lengths * rows)).repeat_interleave(lengths)


def log_probs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probs of the targets, LOGIT_TOKENS at a time. [n, width], [n] -> [n], float32."""

    def some(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden).float() / TEMPERATURE
        return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)

    parts = zip(hidden.split(LOGIT_TOKENS), targets.split(LOGIT_TOKENS), strict=True)
    return torch.cat([checkpoint(some, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


# ---------------------------------------------------------------- the policy


class Policy(nn.Module):
    """The model, with log-probs in one forward(): FSDP gathers what is used within a forward, and no more."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, sampled: Tensor) -> Tensor:
        """Log-probs of the tokens that were sampled, row by row. [rows, T], [rows, T] bool -> [sampled tokens]."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=torch.bfloat16 == COMPUTE):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            return log_probs(self.model.lm_head, hidden[sampled[:, 1:]], ids[:, 1:][sampled[:, 1:]])


def make_policy(model: nn.Module, recipe: Recipe, device: torch.device, shard: bool) -> Policy:
    """Put the model on the device in float32, or shard it layer by layer."""
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(model)
    if shard:
        mixed = MixedPrecisionPolicy(param_dtype=COMPUTE, reduce_dtype=torch.float32)
        for layer in model.model.layers:  # one whole layer on the device at a time
            fully_shard(layer.to(device, torch.float32), mp_policy=mixed)
        fully_shard(policy.to(device, torch.float32), mp_policy=mixed)
        for module in (*model.model.layers, policy):  # sum, as the loss is normalised over all ranks already
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return policy.to(device, torch.float32).train()


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded tensor: every rank has to call this at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of the model's file, one whole tensor at a time. Every rank has to iterate to the end."""
    return ((name, whole(tensor)) for name, tensor in policy.model.state_dict().items())


# ---------------------------------------------------------------- the samplers: load weights, sample completions

Completion = tuple[list[int], list[float]]  # token ids up to and including the end token, and their log-probs


class VLLMSampler:
    """A vLLM engine in this process, one a rank. It starts with random weights: `load` first."""

    def __init__(self, run: Run, longest: int, world: int, seed: int):
        os.environ |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: tensors are handed over as they are
            "VLLM_USE_V2_MODEL_RUNNER": "0",  # the runner that was seen to take weights; a GPU would get another
            "VLLM_NO_USAGE_STATS": "1",  # no report to vLLM's makers
            "VLLM_LOGGING_LEVEL": "WARNING",  # else three lines a sync, of a log that has a limit
        }
        from vllm import LLM, SamplingParams

        self.params = SamplingParams(
            temperature=TEMPERATURE,
            max_tokens=longest,
            logprobs=0,  # only the sampled token's
            flat_logprobs=True,  # as one list: a dictionary a token would be a million of them
            ignore_eos=True,
            stop_token_ids=[run.end_token_id],
            detokenize=False,
        )
        self.llm = LLM(
            str(run.base),
            skip_tokenizer_init=True,  # token ids in, token ids out
            generation_config="vllm",  # not the model's own end tokens and penalties: the track has one end token
            load_format="dummy",
            dtype=COMPUTE,
            seed=seed,
            logprobs_mode="processed_logprobs",  # of the distribution sampled from: after the temperature
            gpu_memory_utilization=VLLM_MEMORY,
            enforce_eager=not CUDA,
            compilation_config={"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"},  # graphs, but no compiler
            distributed_executor_backend="external_launcher" if world > 1 else None,  # use the ranks that are there
        )

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        cast = ((name, tensor.to(COMPUTE)) for name, tensor in weights)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": cast})
        if not self.llm.reset_prefix_cache():  # keys and values of the old weights
            raise RuntimeError("vLLM kept the keys and values of the old weights")

    def sample(self, prompts: list[list[int]]) -> list[Completion]:
        """One completion a prompt; a prompt that is given G times in a row is read once."""
        outputs = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], self.params, use_tqdm=False)
        return [(list(out.token_ids), list(out.logprobs.logprobs)) for output in outputs for out in output.outputs]


class PlainSampler:
    """transformers' own sampling, where vLLM is not installed. Random weights here too: `load` first."""

    def __init__(self, run: Run, longest: int, device: torch.device, seed: int):
        config = AutoConfig.from_pretrained(run.base)
        self.model = AutoModelForCausalLM.from_config(config, dtype=COMPUTE, attn_implementation="eager")
        self.model.to(device).requires_grad_(False).eval()
        self.end_id, self.longest, self.device = run.end_token_id, longest, device
        self.model.generation_config.pad_token_id = self.end_id
        torch.manual_seed(seed)

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        self.model.load_state_dict(dict(weights))

    def sample(self, prompts: list[list[int]]) -> list[Completion]:
        width = max(map(len, prompts))  # padded on the left, so that completions line up
        padding = [width - len(prompt) for prompt in prompts]
        ids = [[self.end_id] * pad + prompt for pad, prompt in zip(padding, prompts, strict=True)]
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding], device=self.device)
        options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "max_new_tokens": self.longest}
        options |= {"eos_token_id": self.end_id, "return_dict_in_generate": True, "output_scores": True}
        output = self.model.generate(torch.tensor(ids, device=self.device), attention_mask=mask, **options)
        logps = self.model.compute_transition_scores(output.sequences, output.scores, normalize_logits=True)
        drawn = []
        for row, values in zip(output.sequences[:, width:].tolist(), logps.tolist(), strict=True):
            length = row.index(self.end_id) + 1 if self.end_id in row else len(row)
            drawn.append((row[:length], values[:length]))
        return drawn


def make_sampler(run: Run, longest: int, world: int, device: torch.device, seed: int) -> VLLMSampler | PlainSampler:
    try:
        return VLLMSampler(run, longest, world, seed)
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        return PlainSampler(run, longest, device, seed)


# ---------------------------------------------------------------- rows: their split over ranks, and the update


@dataclass(frozen=True)
class Row:
    """One completion to learn from."""

    ids: list[int]  # prompt and completion
    start: int  # where the completion begins
    logps: list[float]  # of its tokens, by the sampler
    advantage: float


def balanced(lengths: list[int], bins: int) -> list[list[int]]:
    """Indices in bins of about equal total length: the longest first, each to the lightest bin (Graham 1969)."""
    out: list[list[int]] = [[] for _ in range(bins)]
    totals = [0] * bins
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        lightest = totals.index(min(totals))
        out[lightest].append(index)
        totals[lightest] += lengths[index]
    return out


def micro_batches(lengths: list[int], ranks: int, most: int) -> list[list[list[int]]]:
    """Indices by rank and micro-batch, balanced over ranks. Padded, one has at most `most` tokens, or a single row.

    Each rank has equally many, the last ones maybe empty: under FSDP all ranks have to make every pass.
    """
    out: list[list[list[int]]] = [[] for _ in range(ranks)]
    for batches, share in zip(out, balanced(lengths, ranks), strict=True):
        for index in share:  # longest first, so rows of similar length go together
            if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > most:
                batches.append([])
            batches[-1].append(index)
    passes = max(map(len, out))
    return [batches + [[]] * (passes - len(batches)) for batches in out]


def collate(rows: list[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and which of them were sampled, each [rows, longest], padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = [row.ids + [0] * (width - len(row.ids)) for row in rows]
    sampled = [[row.start <= t < len(row.ids) for t in range(width)] for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(sampled, device=device)


def accumulate(policy: Policy, rows: list[Row], count: float, rank: int, world: int, device: torch.device) -> Tensor:
    """Add this rank's share of the gradient, and sum the ranks'. `count`: completions that the mean divides by.

    Returns sums over the minibatch's tokens: [tokens, clipped, |log-prob - the sampler's|].
    """
    sums = torch.zeros(3, device=device)
    for indices in micro_batches([len(row.ids) for row in rows], world, MICRO_TOKENS)[rank]:
        share = [rows[i] for i in indices] or rows[:1]
        counts = float(bool(indices))  # 0: nothing is left for this rank, but it makes as many passes as the others
        lengths = torch.tensor([len(row.logps) for row in share], device=device)
        advantages = torch.tensor([row.advantage for row in share], device=device).repeat_interleave(lengths)
        old_logp = torch.tensor([value for row in share for value in row.logps], device=device)
        logp = policy(*collate(share, device))
        objective, clipped = clipped_objective(logp, old_logp, advantages)
        (-counts * (objective * token_weights(lengths, count)).sum()).backward()
        moved = (logp.detach() - old_logp).abs().sum()
        sums += counts * torch.stack([lengths.sum().float(), clipped.sum().float(), moved])
    if world > 1:  # FSDP has summed its gradients in the backward pass
        for tensor in (sums, *(p.grad for p in policy.parameters() if not isinstance(p.grad, DTensor))):
            dist.all_reduce(tensor)
    return sums


def check_agreement(policy: Policy, sampler: VLLMSampler | PlainSampler, device: torch.device) -> float:
    """Mean |sampler's log-prob - trainer's| a token, for eight random prompts. Raises SystemExit over MISMATCH."""
    fixed = torch.Generator().manual_seed(0)
    prompts = torch.randint(policy.model.config.vocab_size, (8, 16), generator=fixed).tolist()
    sampler.load(full_weights(policy))
    drawn = zip(prompts, sampler.sample(prompts), strict=True)
    rows = [Row(prompt + ids, len(prompt), logps, 0.0) for prompt, (ids, logps) in drawn]
    with torch.no_grad():
        logp = policy(*collate(rows, device))
    sampled = torch.tensor([value for row in rows for value in row.logps], device=device)
    difference = (logp - sampled).abs().mean().item()
    if not difference <= MISMATCH:
        raise SystemExit(
            f"sampler and trainer disagree by {difference:.3g} nats a token, more than {MISMATCH}: not the same "
            "weights, temperature or end token. Look at the sampler's `load` and at the engine's warnings."
        )
    return difference


# ---------------------------------------------------------------- ranks


def launch() -> None:
    """One process on a machine with several devices becomes torchrun, with a rank a device."""
    ranks = torch.cuda.device_count() or CPU_RANKS
    if ranks > 1 and "RANK" not in os.environ:  # by number, as the sandbox cannot resolve `localhost`
        options = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
        torchrun = ["-m", "torch.distributed.run", *options, f"--nproc-per-node={ranks}", sys.argv[0]]
        os.execv(sys.executable, [sys.executable, *torchrun])


def join() -> tuple[int, int, torch.device]:
    """Rank, world size and this rank's device."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if CUDA else torch.device("cpu")
    if CUDA:
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if CUDA else "gloo")
    return rank, world, device


def gather(value, world: int) -> list:
    """The value of every rank, in their order."""
    out = [value] * world
    if world > 1:
        dist.all_gather_object(out, value)
    return out


# ---------------------------------------------------------------- the loop


def main() -> None:
    rank, world, device = join()
    run = connect()
    model = AutoModelForCausalLM.from_pretrained(run.base, dtype="auto", attn_implementation="sdpa")
    parameters = sum(p.numel() for p in model.parameters())
    recipe = LOGIC if parameters < SMALL else LANGUAGE if world == 1 else LANGUAGE_RANKS
    shard = world > 1 and parameters > SHARD_ABOVE
    # The sampler first: it asks what memory the GPU has left, and what it takes stays taken.
    sampler = make_sampler(run, min(recipe.max_new_tokens, run.max_new_tokens), world, device, run.seed + rank)
    policy = make_policy(model, recipe, device, shard)
    optimizer = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(run.seed)  # the same on every rank
    mismatch = check_agreement(policy, sampler, device)
    if rank == 0:
        ranks = f"{world} rank{'s' * (world > 1)} on {device.type}, {'sharded' if shard else 'whole'}"
        print(f"{parameters:,} parameters, {ranks}, {type(sampler).__name__}, mismatch {mismatch:.2g}", flush=True)

    left = min(gather(run.seconds_left(), world))
    for step in range(recipe.steps):
        for parameter_group in optimizer.param_groups:
            parameter_group["lr"] = recipe.learning_rate * (1 - step / recipe.steps)

        # Sample: G completions of each of this rank's questions.
        start = time.monotonic()
        sampler.load(full_weights(policy))
        prompts = [prompt for prompt in run.prompts(-(-recipe.prompts // world)) for _ in range(recipe.group)]
        drawn = sampler.sample([prompt.token_ids for prompt in prompts])
        sampled = time.monotonic()

        # Score: the harness grades; the submission only learns right or wrong.
        scores = run.score([(prompt.id, ids) for prompt, (ids, _) in zip(prompts, drawn, strict=True)])
        graded = zip(prompts, drawn, scores, strict=True)
        part = [(p.token_ids, ids, logps, float(s.correct), float(s.formatted)) for p, (ids, logps), s in graded]
        scored = time.monotonic()

        # Learn: all ranks see all completions, in the order of the questions whatever the number of ranks.
        parts, times = zip(*gather((part, run.seconds_left()), world), strict=True)
        groups = [part[i : i + recipe.group] for i in range(0, len(part), recipe.group) for part in parts]
        prompt_ids, out_ids, logps, correct, formatted = zip(*itertools.chain(*groups), strict=True)
        advantages, live = group_advantages(torch.tensor(correct).view(-1, recipe.group))
        answers = zip(prompt_ids, out_ids, logps, advantages.flatten().tolist(), strict=True)
        rows = [Row(prompt + out, len(prompt), logp, value) for prompt, out, logp, value in answers if value]
        before, left, tokens, n = left, min(times), sum(map(len, out_ids)), len(correct)
        sums, norms = torch.zeros(3, device=device), []
        for indices in torch.randperm(len(rows), generator=shuffle).chunk(recipe.minibatches) if rows else []:
            sums += accumulate(policy, [rows[i] for i in indices], n / recipe.minibatches, rank, world, device)
            norms.append(whole(nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)).item())
            optimizer.step()
            optimizer.zero_grad()

        trained, clipped, moved = sums.tolist()
        log = {"reward": sum(correct) / n, "formatted": sum(formatted) / n, "length": tokens / n}
        log |= {"truncated": sum(ids[-1] != run.end_token_id for ids in out_ids) / n}
        log |= {"entropy": -sum(map(sum, logps)) / tokens, "dead_groups": 1 - live.float().mean().item()}
        log |= {"grad_norm": sum(norms) / max(1, len(norms)), "clipped": clipped / max(1, trained)}
        log |= {"mismatch": moved / max(1, trained), "sample_s": sampled - start, "score_s": scored - sampled}
        if rank == 0:
            log |= {"learn_s": time.monotonic() - scored, "left_s": left}
            print(f"step {step + 1}/{recipe.steps}", *(f"{key} {value:.4g}" for key, value in log.items()), flush=True)
        if left < 3 * (before - left):  # this step's update, a whole step and the saving have to fit
            break

    weights = {name: tensor.cpu() for name, tensor in full_weights(policy) if rank == 0}  # every rank iterates
    if rank == 0:
        run.save(weights)
    if isinstance(sampler, VLLMSampler):
        sampler.llm.llm_engine.engine_core.shutdown()  # and with it all process groups: the engine's are in them
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    launch()
    main()
