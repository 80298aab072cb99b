"""GRPO as DeepSeekMath wrote it (Shao et al. 2024, arXiv:2402.03300, eq. 3-4 and Algorithm 1), on one GPU or many.

The reference of the GPU tracks. As in baseline/train.py: groups of G completions, reward 1 or 0, advantages as z-scores
within the group, PPO's clipped ratio against the sampler's log-probs, the mean over a completion's tokens first and
over completions second. Deleted from GRPO: KL to the base model, and with it the reference model; and groups without
variance, whose advantages are 0 (the mean still divides by all completions, so the gradient is the same). Added: where
the advantage is negative, which PPO's clip does not bound, the ratio counts as DUAL_CLIP at most, or one token that has
become far likelier would outweigh a minibatch (Ye et al. 2020, arXiv:1912.09729). Changed for GPUs:

- a language model's completions come from vLLM in this process (without it from transformers). Its weights are random
  at first, so the check before each update, that sampler and trainer give equal log-probs, fails unless every tensor
  arrived, the tied output head too. The ratio corrects for the difference that remains;
- rows that only pad the output head (Qwen2.5: 271 of 151,936) are no tokens: both leave them out;
- every rank samples for its own questions, then all ranks see all completions and each takes a share of equal length,
  in micro-batches. A completion's weight in the loss is fixed by the whole minibatch, and gradients are summed, so
  neither ranks nor micro-batches change the gradient (trl issue 6024: the loss was off by up to 4x);
- log-probs a few thousand tokens at a time, and again in the backward pass: [rows, T, vocabulary] never exists;
- rows are padded on the right, so attention is causal and needs no mask.

Weights and Adam's moments are float32 (bfloat16's spacing at 0.02 is 1.2e-4, so a step of 1e-6 would vanish), matrices
are multiplied in bfloat16. Above SHARD_ABOVE parameters all is sharded over the ranks (FSDP2), below it replicated.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

os.environ |= {  # read as torch and vLLM are imported
    "TORCH_COMPILE_DISABLE": "1",  # nothing is compiled
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else up to 32 idle processes a rank: vLLM sets it when torch has read it
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",  # batches differ in length, and would leave memory in pieces
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: tensors are handed over as they are
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the runner that was seen to take weights; a GPU would get another
    "VLLM_NO_USAGE_STATS": "1",  # no report to vLLM's makers
    "VLLM_LOGGING_LEVEL": "WARNING",  # else three lines a sync, of a log that has a limit
}

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from harness.client import Run, connect


@dataclass(frozen=True)
class Recipe:
    """What depends on the base model's size and on the GPUs. harness/planning/plan.toml has the same numbers."""

    steps: int  # rollouts; fewer if the budget ends first
    prompts: int  # questions a rollout, over all ranks
    group: int  # completions a question: G
    minibatches: int  # updates a rollout
    max_new_tokens: int  # or the track's limit, if that is less
    learning_rate: float  # kept after the ramp; without one it decays linearly to zero
    ramp: int = 0  # rollouts over which it rises
    checkpointing: bool = False  # keep only each layer's input and compute the rest again in the backward pass
    vllm: bool = False  # sample with vLLM: tracks of language models name it, tracks of the logic base do not

    def rate(self, step: int) -> float:
        return self.learning_rate * (min(1, (step + 1) / self.ramp) if self.ramp else 1 - step / self.steps)


SMALL = 10_000_000  # parameters: below, a base made for the logic tracks; above, a language model
LOGIC = Recipe(40, 32, 8, 8, 64, 4e-4)  # baseline/train.py's
# Provisional: never ran on a GPU. Rollouts: twice microR1's 512 (its rate rises to 5e-6); SimpleRL-Zoo's 1,024 × 8.
LANGUAGE = Recipe(150, 128, 8, 16, 1024, 3e-6, ramp=5, checkpointing=True, vllm=True)
LANGUAGE_RANKS = Recipe(100, 1024, 8, 16, 2048, 3e-6, ramp=5, checkpointing=True, vllm=True)

TEMPERATURE = 1.0  # sampling and scoring alike
BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.0  # AdamW's
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
DUAL_CLIP = 3.0  # c; verl's clip_ratio_c
DEAD_STD = 1e-4  # a group whose rewards vary less is dropped

MICRO_TOKENS = 32_768  # of a forward and backward pass, padding included
LOGIT_TOKENS = 2_048  # whose logits exist at once: 2,048 of 151,936 in float32 are 1.2 GB
SHARD_ABOVE = 2_000_000_000  # parameters; weight, gradient and two moments are 16 bytes each, so 32 GB a GPU
VLLM_MEMORY = 0.375  # of the GPU: its weights and its cache of keys and values
CONCURRENT = 256  # completions that vLLM samples at a time, and its largest graph
WARN_MISMATCH, MAX_MISMATCH = 0.1, 0.3  # nats a token between sampler and trainer; bfloat16 should give about 0.02

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
    """PPO's surrogate, clipped on both sides, token by token: three tensors of one shape -> objective, clipped?"""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages
    objective = torch.minimum(plain, ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages)
    objective = torch.where(advantages < 0, objective.maximum(DUAL_CLIP * advantages), objective)
    return objective, objective != plain


def token_weights(lengths: Tensor, rows: float) -> Tensor:
    """A token's weight in the mean over its completion and then over `rows` completions. [n] -> [lengths' sum]."""
    return (1 / (lengths * rows)).repeat_interleave(lengths)


def log_probs(head: nn.Module, hidden: Tensor, targets: Tensor, vocabulary: int) -> Tensor:
    """Log-probs of the targets, LOGIT_TOKENS at a time. [n, width], [n] -> [n], float32."""

    def some(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden)[:, :vocabulary].float() / TEMPERATURE
        return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)

    parts = zip(hidden.split(LOGIT_TOKENS), targets.split(LOGIT_TOKENS), strict=True)
    return torch.cat([checkpoint(some, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


# ---------------------------------------------------------------- the policy


class Policy(nn.Module):
    """The model, with log-probs in one forward(): FSDP gathers what is used within a forward, and no more."""

    def __init__(self, model: nn.Module, vocabulary: int):
        super().__init__()
        self.model, self.vocabulary = model, vocabulary

    def forward(self, ids: Tensor, sampled: Tensor) -> Tensor:
        """Log-probs of the tokens that were sampled, row by row. [rows, T], [rows, T] bool -> [sampled tokens]."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=torch.bfloat16 == COMPUTE):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            return log_probs(self.model.lm_head, hidden[sampled[:, 1:]], ids[:, 1:][sampled[:, 1:]], self.vocabulary)


def make_policy(model: nn.Module, vocabulary: int, recipe: Recipe, device: torch.device, shard: bool) -> Policy:
    """Put the model on the device in float32, or shard it part by part, with the same gradient."""
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(model, vocabulary)
    if shard:
        mixed = MixedPrecisionPolicy(COMPUTE, torch.float32, cast_forward_inputs=False)
        parts = [part for layer in model.model.layers for part in (layer.self_attn, layer.mlp)]
        for part in parts:  # one at a time on the device; gathered in bfloat16, as autocast rounds these weights anyway
            fully_shard(part.to(device, torch.float32), mp_policy=mixed)
        fully_shard(policy.to(device, torch.float32))  # norms and embeddings, which autocast would not round
        for module in (*parts, policy):  # sum, as the loss is normalised over all ranks already
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

    def __init__(self, run: Run, longest: int, vocabulary: int, world: int, device: torch.device):
        from vllm import LLM, SamplingParams
        from vllm.v1.sample.logits_processor import LogitsProcessor

        class OnlyTokens(LogitsProcessor):
            def __init__(self, *_): ...
            def update_state(self, _): ...
            def is_argmax_invariant(self): ...  # as good as False
            def apply(self, logits):
                logits[:, vocabulary:] = float("-inf")
                return logits

        options = {"max_tokens": longest, "ignore_eos": True, "stop_token_ids": [run.end_token_id]}
        # Log-probs of the sampled tokens alone, as one list: a dictionary a token would be a million of them.
        options |= {"logprobs": 0, "flat_logprobs": True, "detokenize": False}
        self.params = SamplingParams(temperature=TEMPERATURE, **options)
        engine = {"load_format": "dummy", "gpu_memory_utilization": VLLM_MEMORY, "max_num_seqs": CONCURRENT}
        # Graphs without a compiler, for each number of completions that there can be.
        graphs = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY", "max_cudagraph_capture_size": CONCURRENT}
        engine |= {"compilation_config": graphs} if CUDA else {"enforce_eager": True}
        self.llm = LLM(
            str(run.base),
            skip_tokenizer_init=True,  # token ids in, token ids out
            generation_config="vllm",  # not the model's own end tokens and penalties: the track has one end token
            dtype=COMPUTE,
            logprobs_mode="processed_logprobs",  # of the distribution sampled from: after the temperature
            logits_processors=[OnlyTokens],
            **engine,
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
    """transformers' own sampling. Random weights here too: `load` first."""

    def __init__(self, run: Run, longest: int, vocabulary: int, world: int, device: torch.device):
        config = AutoConfig.from_pretrained(run.base)
        self.model = AutoModelForCausalLM.from_config(config, dtype=COMPUTE, attn_implementation="eager")
        self.model.to(device).requires_grad_(False).eval()
        self.end_id, self.longest, self.device = run.end_token_id, longest, device
        self.model.generation_config.pad_token_id = self.end_id
        self.model.generation_config.suppress_tokens = list(range(vocabulary, config.vocab_size)) or None

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
    """Indices by rank and micro-batch, balanced over ranks. Padded, one has at most `most` tokens, or a single row."""
    out: list[list[list[int]]] = [[] for _ in range(ranks)]
    for batches, share in zip(out, balanced(lengths, ranks), strict=True):
        for index in share:  # longest first, so rows of similar length go together
            if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > most:
                batches.append([])
            batches[-1].append(index)
    passes = max(map(len, out))  # under FSDP all ranks have to make every pass: the last ones may be empty
    return [batches + [[]] * (passes - len(batches)) for batches in out]


def collate(rows: list[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and which of them were sampled, each [rows, longest], padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = [row.ids + [0] * (width - len(row.ids)) for row in rows]
    sampled = [[row.start <= t < len(row.ids) for t in range(width)] for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(sampled, device=device)


def accumulate(policy: Policy, rows: list[Row], count: float, rank: int, world: int, device: torch.device) -> Tensor:
    """Sum the ranks' gradients of the mean over `count` completions. Returns their [tokens, clipped tokens]."""
    sums = torch.zeros(2, device=device)
    for indices in micro_batches([len(row.ids) for row in rows], world, MICRO_TOKENS)[rank]:
        share = [rows[i] for i in indices] or rows[:1]
        counts = float(bool(indices))  # 0: nothing is left for this rank, but it makes as many passes as the others
        lengths = torch.tensor([len(row.logps) for row in share], device=device)
        advantages = torch.tensor([row.advantage for row in share], device=device).repeat_interleave(lengths)
        old_logp = torch.tensor([value for row in share for value in row.logps], device=device)
        logp = policy(*collate(share, device))
        objective, clipped = clipped_objective(logp, old_logp, advantages)
        (-counts * (objective * token_weights(lengths, count)).sum()).backward()
        sums += counts * torch.stack([lengths.sum().float(), clipped.sum().float()])
    if world > 1:  # FSDP has summed its gradients in the backward pass
        for tensor in (sums, *(p.grad for p in policy.parameters() if not isinstance(p.grad, DTensor))):
            dist.all_reduce(tensor)
    return sums


def check_agreement(policy: Policy, prompts: list[list[int]], drawn: list[Completion], device: torch.device) -> float:
    """Mean |sampler's log-prob - trainer's| a token, of completions by these weights. SystemExit over MAX_MISMATCH."""
    rows = [Row(prompt + ids, len(prompt), logps, 0.0) for prompt, (ids, logps) in zip(prompts, drawn, strict=True)]
    sampled = torch.tensor([value for row in rows for value in row.logps], device=device)
    with torch.no_grad():
        difference = (policy(*collate(rows, device)) - sampled).abs().mean().item()
    if not difference <= WARN_MISMATCH:
        words = (
            f"sampler and trainer disagree by {difference:.3g} nats a token: other weights, another temperature or end?"
        )
        print(f"warning: {words}", flush=True)
        if not difference <= MAX_MISMATCH:
            raise SystemExit(words)
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
    vocabulary = Tokenizer.from_file(str(run.base / "tokenizer.json")).get_vocab_size()
    # The sampler first: it asks what memory the GPU has left, and what it takes stays taken.
    longest = min(recipe.max_new_tokens, run.max_new_tokens)
    try:
        sampler = (VLLMSampler if recipe.vllm else PlainSampler)(run, longest, vocabulary, world, device)
    except ModuleNotFoundError:  # vLLM is not installed: a development run
        sampler = PlainSampler(run, longest, vocabulary, world, device)
    torch.manual_seed(run.seed + rank)  # now, as vLLM has set its own seed, which is the same on every rank
    policy = make_policy(model, vocabulary, recipe, device, shard)
    optimizer = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(run.seed)  # the same on every rank
    if rank == 0:
        ranks = f"{world} rank{'s' * (world > 1)} on {device.type}, {'sharded' if shard else 'whole'}"
        print(f"{parameters:,} parameters, {ranks}, {type(sampler).__name__}", flush=True)

    left = min(gather(run.seconds_left(), world))
    for step in range(recipe.steps):
        for parameter_group in optimizer.param_groups:
            parameter_group["lr"] = recipe.rate(step)

        # Sample: G completions of each of this rank's questions.
        start = time.monotonic()
        sampler.load(full_weights(policy))
        prompts = [prompt for prompt in run.prompts(-(-recipe.prompts // world)) for _ in range(recipe.group)]
        asked = [prompt.token_ids for prompt in prompts]
        drawn = sampler.sample(asked)
        mismatch = check_agreement(policy, asked[:: recipe.group][:8], drawn[:: recipe.group][:8], device)
        sampled = time.monotonic()

        # Score: the harness grades; the submission only learns right or wrong.
        scores = run.score([(prompt.id, ids) for prompt, (ids, _) in zip(prompts, drawn, strict=True)])
        graded = zip(prompts, drawn, scores, strict=True)
        own = [(p.token_ids, ids, logps, float(s.correct), float(s.formatted)) for p, (ids, logps), s in graded]
        scored = time.monotonic()

        # Learn: all ranks see all completions, in the order of the questions whatever the number of ranks.
        everyones, times = zip(*gather((own, run.seconds_left()), world), strict=True)
        groups = [part[i : i + recipe.group] for i in range(0, len(own), recipe.group) for part in everyones]
        prompt_ids, out_ids, logps, correct, formatted = zip(*(row for group in groups for row in group), strict=True)
        advantages, live = group_advantages(torch.tensor(correct).view(-1, recipe.group))
        answers = zip(prompt_ids, out_ids, logps, advantages.flatten().tolist(), strict=True)
        rows = [Row(prompt + out, len(prompt), logp, value) for prompt, out, logp, value in answers if value]
        before, left, tokens, n = left, min(times), sum(map(len, out_ids)), len(correct)
        sums, norms = torch.zeros(2, device=device), []
        for indices in torch.randperm(len(rows), generator=shuffle).chunk(recipe.minibatches) if rows else []:
            sums += accumulate(policy, [rows[i] for i in indices], n / recipe.minibatches, rank, world, device)
            norms.append(whole(nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)).item())
            optimizer.step()
            optimizer.zero_grad()

        log = {"reward": sum(correct) / n, "formatted": sum(formatted) / n, "length": tokens / n}
        log |= {"truncated": sum(ids[-1] != run.end_token_id for ids in out_ids) / n}
        log |= {"entropy": -sum(map(sum, logps)) / tokens, "dead_groups": 1 - live.float().mean().item()}
        log |= {"grad_norm": sum(norms) / max(1, len(norms)), "clipped": (sums[1] / sums[0].clamp(min=1)).item()}
        log |= {"mismatch": mismatch, "sample_s": sampled - start, "score_s": scored - sampled}
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
