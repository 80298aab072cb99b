"""GRPO as DeepSeekMath wrote it (Shao et al. 2024, arXiv:2402.03300, eq. 3-4 and Algorithm 1), on one GPU or many.

A descendant of baseline/train.py, and the reference of the GPU tracks. The same as there, in the paper's terms: groups
of G completions, reward 1 or 0, advantages as z-scores within the group, PPO's clipped ratio against the log-probs
that the sampler kept, the mean over a completion's tokens first and over completions second. Deleted:

- KL to the base model, and with it the reference model: a third copy of the weights and a forward pass a rollout;
- groups without variance. Their advantages are 0 (within a tolerance: a standard deviation is a float), so without KL
  they teach nothing. The mean still divides by all completions, kept or dropped, so the gradient is the same.

Added: where the track has traces, the policy first imitates them, WARMUP_EPOCHS times, as in
baseline-deduction/train.py.

Changed, because a GPU asks for it:

- completions come from vLLM where it is installed, in the same process, with weights that stay resident (nothing is
  unloaded between rollouts). The engine starts with random weights, so the check before step 1, that it gives the
  trainer's log-probs, fails unless every tensor arrived, the tied output head too. Without vLLM (development on a
  CPU) the sampler is baseline/train.py's. The ratio corrects for what the two still differ by;
- every rank samples and posts completions for its own questions. Then all ranks see all completions, split them alike
  by token count, and each takes its share, in micro-batches. A completion's weight in the loss is fixed by the whole
  minibatch before anything is split, and gradients are summed, so neither ranks nor micro-batches change the gradient
  (trl issue 6024: normalised by micro-batch, the loss was off by up to 4x);
- log-probs a few thousand tokens at a time, and again in the backward pass: [rows, T, vocabulary] never exists;
- rows are padded on the right, so that attention is plainly causal and needs no mask.

The weights and Adam's moments are float32, matrices are multiplied in bfloat16. With bfloat16 weights a step of 1e-6
would vanish: next to a weight of 0.02 the spacing of bfloat16 is 1.2e-4. Above SHARD_ABOVE parameters all this is
sharded over the ranks (FSDP2), below it is replicated and gradients are all-reduced.

Started as one process on a machine with several GPUs it becomes torchrun; started by torchrun it is one rank.
"""

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from harness.client import Run, connect

# ---------------------------------------------------------------- constants


@dataclass(frozen=True)
class Recipe:
    """What depends on the base model's size and on the GPUs. harness/plan.toml plans with the same numbers."""

    steps: int  # rollouts; fewer if the budget ends first
    prompts: int  # questions a rollout, over all ranks
    group: int  # completions a question: G
    minibatches: int  # updates a rollout
    max_new_tokens: int  # or the track's limit, if that is less
    learning_rate: float  # decays linearly to zero; ten times that for LoRA
    warmup_learning_rate: float  # likewise
    checkpointing: bool  # keep a layer's input alone, compute the rest again in the backward pass


SMALL = 10_000_000  # parameters: below, a base made for the logic tracks; above, a language model
LOGIC = Recipe(40, 32, 8, 8, 64, 4e-4, 3e-3, checkpointing=False)  # baseline/train.py's
# Provisional, since neither ever ran on a GPU: microR1's 512 completions a rollout, doubled; SimpleRL-Zoo's 1,024 × 8.
LANGUAGE = Recipe(150, 128, 8, 4, 1024, 1e-6, 1e-5, checkpointing=True)  # on one rank
LANGUAGE_RANKS = Recipe(100, 1024, 8, 4, 2048, 1e-6, 1e-5, checkpointing=True)  # on several: as many for each of eight

WARMUP_EPOCHS = 2  # passes over the track's traces, where it has any
WARMUP_ROWS = 16  # traces an update

TEMPERATURE = 1.0  # sampling and scoring alike
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
DEAD_STD = 1e-4  # a group whose rewards vary less is dropped

LORA_RANK = 0  # 0: all weights are trained
LORA_ALPHA = 32

MICRO_TOKENS = 32_768  # of a forward and backward pass, padding included
LOGIT_TOKENS = 2_048  # whose logits exist at once: 2,048 of 151,936 in float32 are 1.2 GB
SHARD_ABOVE = 2_000_000_000  # parameters; weight, gradient and two moments are 16 bytes each, so 32 GB a GPU
VLLM_MEMORY = 0.42  # of the GPU: its weights and its cache of keys and values
MISMATCH = 0.1  # nats a token on average, between sampler and trainer; bfloat16 gives about 0.02

CPU_RANKS = 1  # on a machine without GPUs
CPU = torch.cpu.get_capabilities()
FAST_BF16 = bool(CPU.get("avx512_bf16") or CPU.get("amx_bf16"))
if torch.cuda.is_available():
    FAST_BF16 = torch.cuda.is_bf16_supported(including_emulation=False)
COMPUTE = torch.bfloat16 if FAST_BF16 else torch.float32

# ---------------------------------------------------------------- losses: pure functions on tensors


def group_advantages(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """[questions, G] rewards -> z-scores within each group [questions, G], has the group any variance? [questions]."""
    std = rewards.std(1, keepdim=True)
    return (rewards - rewards.mean(1, keepdim=True)) / (std + DEAD_STD), std[:, 0] > DEAD_STD


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate, token by token: three tensors of one shape -> objective, clipped?"""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages
    return torch.minimum(plain, clipped), clipped < plain


def token_weights(lengths: Tensor, rows: float) -> Tensor:
    """What a token weighs in the mean over its completion and then over `rows` of them. [n] -> [lengths' sum].

    The sum over any part of the tokens is that part's share of the mean, so sums of parts add up to the whole.
    """
    return (1 / (lengths * rows)).repeat_interleave(lengths)


def log_probs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probs of the targets, LOGIT_TOKENS at a time. [n, width], [n] -> [n], float32."""

    def some(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden).float() / TEMPERATURE
        return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)

    parts = zip(hidden.split(LOGIT_TOKENS), targets.split(LOGIT_TOKENS), strict=True)
    return torch.cat([checkpoint(some, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


# ---------------------------------------------------------------- the policy


class LoRA(nn.Module):
    """A linear layer, frozen, and a trained update of low rank beside it (Hu et al. 2021, arXiv:2106.09685)."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.lora_a = nn.Parameter(torch.empty(LORA_RANK, linear.in_features, dtype=linear.weight.dtype))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, LORA_RANK, dtype=linear.weight.dtype))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        update = functional.linear(functional.linear(x, self.lora_a), self.lora_b)
        return functional.linear(x, self.weight, self.bias) + LORA_ALPHA / LORA_RANK * update


class Policy(nn.Module):
    """The model, with log-probs in one forward(): FSDP gathers what is used within a forward, and no more."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.autocast = torch.bfloat16 == COMPUTE  # FSDP casts by itself

    def forward(self, ids: Tensor, sampled: Tensor) -> Tensor:
        """Log-probs of the tokens that were sampled, row by row. [rows, T], [rows, T] bool -> [sampled tokens]."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.autocast):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            return log_probs(self.model.lm_head, hidden[sampled[:, 1:]], ids[:, 1:][sampled[:, 1:]])


def make_policy(model: nn.Module, recipe: Recipe, device: torch.device, shard: bool) -> Policy:
    """Freeze and add what LoRA needs, put it on the device in float32, shard it layer by layer."""
    if LORA_RANK:
        model.requires_grad_(False)
        for layer in model.model.layers:
            for parent in list(layer.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, nn.Linear):
                        setattr(parent, name, LoRA(child))
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(model)
    if shard:
        policy.autocast = False
        mixed = MixedPrecisionPolicy(param_dtype=COMPUTE, reduce_dtype=torch.float32)
        for layer in model.model.layers:  # one whole layer on the device at a time
            fully_shard(layer.to(device, torch.float32), mp_policy=mixed)
        fully_shard(policy.to(device, torch.float32), mp_policy=mixed)
        for module in policy.modules():
            if isinstance(module, FSDPModule):  # sum, as the loss is normalised over all ranks already
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
    return policy.to(device, torch.float32).train()


def whole(tensor: Tensor) -> Tensor:
    """Of a sharded tensor, all of it: every rank has to ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """The model's weights by the names of its file, LoRA merged, a tied output head under both its names.

    One tensor at a time is whole. Every rank has to iterate to the end.
    """
    state = policy.model.state_dict()
    for name, tensor in state.items():
        if name.endswith((".lora_a", ".lora_b")):
            continue
        full, stem = whole(tensor), name.removesuffix("weight")
        if f"{stem}lora_a" in state:
            full = full + LORA_ALPHA / LORA_RANK * whole(state[f"{stem}lora_b"]) @ whole(state[f"{stem}lora_a"])
        yield name, full


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

        self.params = SamplingParams
        self.end_id, self.longest = run.end_token_id, longest
        self.llm = LLM(
            str(run.base),
            skip_tokenizer_init=True,  # token ids in, token ids out
            generation_config="vllm",  # not the model's own end tokens and penalties: the track has one end token
            load_format="dummy",
            dtype=COMPUTE,
            seed=seed,
            logprobs_mode="processed_logprobs",  # of the distribution sampled from: after the temperature
            gpu_memory_utilization=VLLM_MEMORY,
            enforce_eager=not torch.cuda.is_available(),
            compilation_config={"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"},  # graphs, but no compiler
            distributed_executor_backend="external_launcher" if world > 1 else None,  # use the ranks that are there
        )

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        cast = ((name, tensor.to(COMPUTE)) for name, tensor in weights)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": cast})
        if not self.llm.reset_prefix_cache():  # keys and values of the old weights
            raise RuntimeError("vLLM kept the keys and values of the old weights")

    def sample(self, prompts: list[list[int]], group: int) -> list[list[Completion]]:
        params = self.params(
            n=group,
            temperature=TEMPERATURE,
            max_tokens=self.longest,
            logprobs=0,  # of the sampled token alone
            flat_logprobs=True,  # as one list: a dictionary a token would be a million of them
            ignore_eos=True,
            stop_token_ids=[self.end_id],
            detokenize=False,
        )
        outputs = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [[(list(out.token_ids), list(out.logprobs.logprobs)) for out in output.outputs] for output in outputs]

    def close(self) -> None:
        """End the engine, and with it all process groups: those that it made live in the ranks' world."""
        self.llm.llm_engine.engine_core.shutdown()


class KVCache:
    """Keys and values for one rollout, allocated once; transformers' attention calls the two methods."""

    is_compileable = False

    def __init__(self, config, rows: int, length: int, dtype: torch.dtype, device: torch.device):
        heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, 2, rows, heads, length, getattr(config, "head_dim", None) or width)
        self.store, self.used = torch.empty(shape, dtype=dtype, device=device), 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_) -> tuple[Tensor, Tensor]:
        end = self.used + keys.shape[2]
        self.store[layer, 0, :, :, self.used : end] = keys
        self.store[layer, 1, :, :, self.used : end] = values
        if layer == len(self.store) - 1:
            self.used = end
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        return self.used


class PlainSampler:
    """Where vLLM is not installed: baseline/train.py's loop over tokens. Random weights, too: `load` first."""

    def __init__(self, run: Run, longest: int, device: torch.device, seed: int):
        config = AutoConfig.from_pretrained(run.base)
        self.model = AutoModelForCausalLM.from_config(config, dtype=COMPUTE, attn_implementation="eager")
        self.model.to(device).requires_grad_(False).eval()
        self.end_id, self.longest, self.device = run.end_token_id, longest, device
        self.random = torch.Generator(device).manual_seed(seed)

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        self.model.load_state_dict(dict(weights))

    @torch.inference_mode()
    def sample(self, prompts: list[list[int]], group: int) -> list[list[Completion]]:
        rows = [prompt for prompt in prompts for _ in range(group)]
        width, lowest = max(map(len, rows)), torch.finfo(COMPUTE).min
        padding = [width - len(row) for row in rows]  # on the left, so that completions line up
        ids = self._on([[self.end_id] * pad + row for pad, row in zip(padding, rows, strict=True)])
        seen = self._on([[0] * pad + [1] * (width - pad + self.longest) for pad in padding]).bool()
        positions = (seen[:, :width].cumsum(1) - 1).clamp(min=0)
        mask = seen[:, None, :width] & torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        cache = KVCache(self.model.config, len(rows), width + self.longest, COMPUTE, self.device)
        alive = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        tokens, logps = [], []
        for t in range(self.longest):
            bias = torch.where(mask[:, None], 0.0, lowest).to(COMPUTE)
            hidden = self.model.model(
                ids, attention_mask=bias, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state
            logp = (self.model.lm_head(hidden[:, -1]).float() / TEMPERATURE).log_softmax(-1)
            ids = torch.multinomial(logp.exp(), 1, generator=self.random)
            tokens.append(ids)
            logps.append(logp.gather(1, ids))
            alive &= ids[:, 0] != self.end_id
            if not alive.any():
                break
            positions, mask = positions[:, -1:] + 1, seen[:, None, : width + t + 1]
        drawn = []
        for row, values in zip(torch.cat(tokens, 1).tolist(), torch.cat(logps, 1).tolist(), strict=True):
            length = row.index(self.end_id) + 1 if self.end_id in row else len(row)
            drawn.append((row[:length], values[:length]))
        return [drawn[i : i + group] for i in range(0, len(drawn), group)]

    def _on(self, rows: list[list[int]]) -> Tensor:
        return torch.tensor(rows, device=self.device)


def make_sampler(run: Run, longest: int, world: int, device: torch.device, seed: int) -> VLLMSampler | PlainSampler:
    """vLLM if it is installed, else the plain one."""
    try:
        return VLLMSampler(run, longest, world, seed)
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        return PlainSampler(run, longest, device, seed)


# ---------------------------------------------------------------- rows, and who trains on which


@dataclass(frozen=True)
class Row:
    """One completion to learn from."""

    ids: list[int]  # prompt and completion
    start: int  # where the completion begins
    logps: list[float]  # of its tokens, by the sampler
    advantage: float


def balanced(lengths: list[int], bins: int) -> list[list[int]]:
    """Deal indices into bins of about equal total length: the longest first, each to the lightest bin so far.

    No bin is heavier than the mean by more than the longest length (Graham 1969, doi:10.1137/0117039).
    """
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
    out = []
    for share in balanced(lengths, ranks):  # each sorted, longest first, so rows of like length go together
        cut: list[list[int]] = []
        for index in share:
            if cut and (len(cut[-1]) + 1) * lengths[cut[-1][0]] <= most:
                cut[-1].append(index)
            else:
                cut.append([index])
        out.append(cut)
    passes = max(map(len, out))
    return [cut + [[] for _ in range(passes - len(cut))] for cut in out]


def collate(rows: list[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and which of them were sampled, each [rows, longest], padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = [row.ids + [0] * (width - len(row.ids)) for row in rows]
    sampled = [[row.start <= t < len(row.ids) for t in range(width)] for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(sampled, device=device)


# ---------------------------------------------------------------- the update


def accumulate(policy: Policy, rows: list[Row], count: float, rank: int, world: int, device: torch.device) -> Tensor:
    """Add this rank's share of the minibatch's gradient. `count`: completions that the mean divides by.

    Returns sums over this rank's tokens: [tokens, clipped, |log-prob - the sampler's|].
    """
    sums = torch.zeros(3, device=device)
    for indices in micro_batches([len(row.ids) for row in rows], world, MICRO_TOKENS)[rank]:
        share = [rows[i] for i in indices] or rows[:1]  # nothing left for this rank: a pass that counts for nothing
        lengths = torch.tensor([len(row.logps) for row in share], device=device)
        advantages = torch.tensor([row.advantage for row in share], device=device).repeat_interleave(lengths)
        old_logp = torch.tensor([value for row in share for value in row.logps], device=device)
        logp = policy(*collate(share, device))
        objective, clipped = clipped_objective(logp, old_logp, advantages)
        loss = -(objective * token_weights(lengths, count)).sum()
        (loss if indices else 0 * loss).backward()
        if indices:
            moved = (logp.detach() - old_logp).abs().sum()
            sums += torch.stack([lengths.sum().float(), clipped.sum().float(), moved])
    return sums


def imitate(policy: Policy, rows: list[Row], rank: int, world: int, device: torch.device) -> float:
    """Add this rank's share of the gradient of the traces' cross-entropy: the mean over a trace's tokens, then over
    traces. Returns its share of the loss."""
    total = 0.0
    for indices in micro_batches([len(row.ids) for row in rows], world, MICRO_TOKENS)[rank]:
        share = [rows[i] for i in indices] or rows[:1]  # nothing left for this rank: a pass that counts for nothing
        lengths = torch.tensor([len(row.ids) - row.start for row in share], device=device)
        loss = -(policy(*collate(share, device)) * token_weights(lengths, len(rows))).sum()
        (loss if indices else 0 * loss).backward()
        total += loss.item() if indices else 0.0
    return total


def warm_up(policy: Policy, rows: list[Row], rate: float, seed: int, rank: int, world: int, shard: bool) -> None:
    """Imitate the traces, all of them as often as one another; the learning rate decays linearly to zero."""
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle, device = torch.Generator().manual_seed(seed), trained[0].device  # the same on every rank
    clock, done, updates = time.monotonic(), 0, WARMUP_EPOCHS * -(-len(rows) // WARMUP_ROWS)
    for epoch in range(WARMUP_EPOCHS):
        total = 0.0
        for indices in torch.randperm(len(rows), generator=shuffle).split(WARMUP_ROWS):
            for parameter_group in optimizer.param_groups:
                parameter_group["lr"] = rate * (1 - done / updates)
            share = imitate(policy, [rows[i] for i in indices], rank, world, device)
            total += sum(gather(share, world)) * len(indices) / len(rows)
            reduce_gradients(policy, world, shard)
            nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
        if rank == 0:
            seconds = time.monotonic() - clock
            print(f"warm-up {epoch + 1}/{WARMUP_EPOCHS} loss {total:.4g} {seconds:.4g} s", flush=True)


def reduce_gradients(policy: Policy, world: int, shard: bool) -> None:
    """Sum the ranks' gradients. FSDP did so in the backward pass."""
    if world > 1 and not shard:
        for work in [dist.all_reduce(p.grad, async_op=True) for p in policy.parameters() if p.requires_grad]:
            work.wait()


def check_agreement(policy: Policy, sampler: VLLMSampler | PlainSampler, device: torch.device) -> float:
    """Mean |log-prob of the sampler - of the trainer| a token, on completions of eight fixed prompts of random ids.

    No question is spent. Raises SystemExit over MISMATCH.
    """
    fixed = torch.Generator().manual_seed(0)
    prompts = torch.randint(policy.model.config.vocab_size, (8, 16), generator=fixed).tolist()
    sampler.load(full_weights(policy))
    drawn = [completion for group in sampler.sample(prompts, 1) for completion in group]
    rows = [Row(prompt + ids, len(prompt), logps, 0.0) for prompt, (ids, logps) in zip(prompts, drawn, strict=True)]
    with torch.no_grad():
        logp = policy(*collate(rows, device))
    theirs = torch.tensor([value for row in rows for value in row.logps], device=device)
    difference = (logp - theirs).abs().mean().item()
    if not difference <= MISMATCH:
        raise SystemExit(
            f"sampler and trainer disagree by {difference:.3g} nats a token, more than {MISMATCH}: not the same "
            "weights, temperature or end token. Look at the sampler's `load` and at the engine's warnings."
        )
    return difference


# ---------------------------------------------------------------- ranks


def launch() -> None:
    """One process on a machine with several devices: become torchrun, with a rank a device.

    By number, not by name: the sandbox has a loopback interface, but nothing that knows what `localhost` is.
    """
    ranks = torch.cuda.device_count() or CPU_RANKS
    if ranks > 1 and "RANK" not in os.environ:
        options = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, f"--nproc-per-node={ranks}", sys.argv[0]]
        os.execv(sys.executable, command)


def join() -> tuple[int, int, torch.device]:
    """Rank, world size and this rank's device."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return rank, world, device


def gather(value, world: int) -> list:
    """The value of every rank, in their order."""
    out = [value]
    if world > 1:
        out = [None] * world
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
    faster = 10 if LORA_RANK else 1
    learning_rate = recipe.learning_rate * faster
    # The sampler first: it asks what memory the GPU has left, and what it takes stays taken.
    sampler = make_sampler(run, min(recipe.max_new_tokens, run.max_new_tokens), world, device, run.seed + rank)
    torch.manual_seed(run.seed)  # the engine left a seed of its own, and ranks have to agree on LoRA's first weights
    policy = make_policy(model, recipe, device, shard)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, learning_rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(run.seed)  # the same on every rank
    traces = [Row([*t.prompt_ids, *t.token_ids], len(t.prompt_ids), [], 0.0) for t in run.warmup()]
    if traces:
        warm_up(policy, traces, recipe.warmup_learning_rate * faster, run.seed, rank, world, shard)
    difference = check_agreement(policy, sampler, device)
    if rank == 0:
        ranks = f"{world} rank{'s' * (world > 1)} on {device.type}, {'sharded' if shard else 'whole'}"
        print(f"{parameters:,} parameters, {ranks}, {type(sampler).__name__}, mismatch {difference:.2g}", flush=True)

    left = min(gather(run.seconds_left(), world))
    for step in range(recipe.steps):
        for parameter_group in optimizer.param_groups:
            parameter_group["lr"] = learning_rate * (1 - step / recipe.steps)

        # Sample: G completions of each of this rank's questions.
        clock = time.monotonic()
        sampler.load(full_weights(policy))
        prompts = run.prompts(-(-recipe.prompts // world))
        drawn = sampler.sample([prompt.token_ids for prompt in prompts], recipe.group)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades; the submission only learns right or wrong.
        clock = time.monotonic()
        scores = run.score([(p.id, ids) for p, group in zip(prompts, drawn, strict=True) for ids, _ in group])
        rewards = torch.tensor([float(score.correct) for score in scores]).view(len(prompts), recipe.group)
        advantages, live = group_advantages(rewards)
        rows = [
            [
                Row(prompt.token_ids + ids, len(prompt.token_ids), logps, value)
                for (ids, logps), value in zip(group, values, strict=True)
                if alive
            ]
            for prompt, group, values, alive in zip(prompts, drawn, advantages.tolist(), live.tolist(), strict=True)
        ]
        all_ids = [ids for group in drawn for ids, _ in group]
        seen = {
            "reward": rewards.mean().item(),
            "formatted": sum(score.formatted for score in scores) / len(scores),
            "length": sum(map(len, all_ids)) / len(all_ids),
            "truncated": sum(ids[-1] != run.end_token_id for ids in all_ids) / len(all_ids),
            "entropy": -sum(sum(logps) for group in drawn for _, logps in group) / sum(map(len, all_ids)),
            "dead_groups": 1 - live.float().mean().item(),
        }
        score_seconds = time.monotonic() - clock

        # Learn: all ranks see all rows, in the order of the questions whatever the number of ranks.
        clock = time.monotonic()
        parts = gather((rows, seen, run.seconds_left()), world)
        questions = [group for question in zip(*(part[0] for part in parts), strict=True) for group in question]
        batch = [row for group in questions for row in group]
        count = len(rows) * world * recipe.group / recipe.minibatches  # with the rows that were dropped
        sums, norms = torch.zeros(3, device=device), []
        for indices in torch.randperm(len(batch), generator=shuffle).chunk(recipe.minibatches) if batch else []:
            sums += accumulate(policy, [batch[i] for i in indices], count, rank, world, device)
            reduce_gradients(policy, world, shard)
            norms.append(whole(nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM)).item())
            optimizer.step()
            optimizer.zero_grad()
        tokens, clipped, moved = map(sum, zip(*gather(sums.tolist(), world), strict=True))
        learn_seconds = time.monotonic() - clock

        before, left = left, min(part[2] for part in parts)
        log = {name: sum(part[1][name] for part in parts) / world for name in seen} | {
            "grad_norm": sum(norms) / max(1, len(norms)),
            "clipped": clipped / max(1, tokens),
            "mismatch": moved / max(1, tokens),
            "sample_s": sample_seconds,
            "score_s": score_seconds,
            "learn_s": learn_seconds,
            "left_s": left,
        }
        if rank == 0:
            line = " ".join(f"{key} {value:.4g}" for key, value in log.items())
            print(f"step {step + 1}/{recipe.steps} {line}", flush=True)
        if left < 3 * (before - left):  # this step's update, a whole step and the saving have to fit
            break

    weights = {name: tensor.cpu() for name, tensor in full_weights(policy) if rank == 0}  # every rank iterates
    if rank == 0:
        run.save(weights)
    if isinstance(sampler, VLLMSampler):
        sampler.close()
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    launch()
    main()
