"""A supervised warm-up on the track's traces, then GRPO as DeepSeekMath wrote it, on one GPU.

The reference of 1xh100-deduction. It is baseline-gpu/train.py (what that deletes from GRPO and changes for a GPU stands
there), and `diff` shows what differs. Added: the policy first imitates the traces, WARMUP_EPOCHS times, the mean
cross-entropy over a trace's tokens first and over traces second, as in baseline-deduction/train.py. Deleted: ranks and
sharding, as the track has one GPU.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from harness.client import Run, connect

# ---------------------------------------------------------------- constants


@dataclass(frozen=True)
class Recipe:
    """What depends on the base model's size. harness/planning/plan.toml has the same numbers."""

    steps: int  # rollouts; fewer if the budget ends first
    prompts: int  # questions a rollout
    group: int  # completions a question: G
    minibatches: int  # updates a rollout
    max_new_tokens: int  # or the track's limit, if that is less
    warmup_learning_rate: float  # decays linearly to zero
    learning_rate: float  # likewise
    checkpointing: bool  # keep only each layer's input and compute the rest again in the backward pass


SMALL = 10_000_000  # parameters: below, a base made for the logic tracks; above, a language model
LOGIC = Recipe(40, 32, 8, 8, 64, 3e-3, 4e-4, checkpointing=False)  # baseline-deduction/train.py's warm-up
# Provisional, since it never ran on a GPU: microR1's 512 completions a rollout, doubled.
LANGUAGE = Recipe(150, 128, 8, 4, 1024, 1e-5, 1e-6, checkpointing=True)

WARMUP_EPOCHS = 2  # passes over the track's traces
WARMUP_ROWS = 16  # traces an update

TEMPERATURE = 1.0  # sampling and scoring alike
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
DEAD_STD = 1e-4  # a group whose rewards vary less is dropped

MICRO_TOKENS = 32_768  # of a forward and backward pass, padding included
LOGIT_TOKENS = 2_048  # whose logits exist at once: 2,048 of 151,936 in float32 are 1.2 GB
VLLM_MEMORY = 0.42  # of the GPU: its weights and its cache of keys and values
MISMATCH = 0.1  # nats a token on average, between sampler and trainer; bfloat16 gives about 0.02

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
    """The model, and the log-probs of what was sampled."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, sampled: Tensor) -> Tensor:
        """Log-probs of the tokens that were sampled, row by row. [rows, T], [rows, T] bool -> [sampled tokens]."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=torch.bfloat16 == COMPUTE):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            return log_probs(self.model.lm_head, hidden[sampled[:, 1:]], ids[:, 1:][sampled[:, 1:]])


def make_policy(model: nn.Module, recipe: Recipe, device: torch.device) -> Policy:
    """Put the model on the device in float32."""
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Policy(model).to(device, torch.float32).train()


# ---------------------------------------------------------------- the samplers: load weights, sample completions

Completion = tuple[list[int], list[float]]  # token ids up to and including the end token, and their log-probs


class VLLMSampler:
    """A vLLM engine in this process. It starts with random weights: `load` first."""

    def __init__(self, run: Run, longest: int, seed: int):
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


def make_sampler(run: Run, longest: int, device: torch.device, seed: int) -> VLLMSampler | PlainSampler:
    try:
        return VLLMSampler(run, longest, seed)
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        return PlainSampler(run, longest, device, seed)


# ---------------------------------------------------------------- rows, the update and the warm-up


@dataclass(frozen=True)
class Row:
    """One completion to learn from, or a trace, which has neither log-probs nor an advantage."""

    ids: list[int]  # prompt and completion
    start: int  # where the completion begins
    logps: list[float]  # of its tokens, by the sampler
    advantage: float


def micro_batches(lengths: list[int], most: int) -> list[list[int]]:
    """Indices by micro-batch. Padded, one has at most `most` tokens, or a single row."""
    out: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # rows of similar length go together
        if not out or (len(out[-1]) + 1) * lengths[out[-1][0]] > most:
            out.append([])
        out[-1].append(index)
    return out


def collate(rows: list[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and which of them were sampled, each [rows, longest], padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = [row.ids + [0] * (width - len(row.ids)) for row in rows]
    sampled = [[row.start <= t < len(row.ids) for t in range(width)] for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(sampled, device=device)


def accumulate(policy: Policy, rows: list[Row], count: float, device: torch.device) -> Tensor:
    """Add the minibatch's gradient. `count`: completions that the mean divides by.

    Returns sums over the minibatch's tokens: [tokens, clipped, |log-prob - the sampler's|].
    """
    sums = torch.zeros(3, device=device)
    for indices in micro_batches([len(row.ids) for row in rows], MICRO_TOKENS):
        share = [rows[i] for i in indices]
        lengths = torch.tensor([len(row.logps) for row in share], device=device)
        advantages = torch.tensor([row.advantage for row in share], device=device).repeat_interleave(lengths)
        old_logp = torch.tensor([value for row in share for value in row.logps], device=device)
        logp = policy(*collate(share, device))
        objective, clipped = clipped_objective(logp, old_logp, advantages)
        (-(objective * token_weights(lengths, count)).sum()).backward()
        moved = (logp.detach() - old_logp).abs().sum()
        sums += torch.stack([lengths.sum().float(), clipped.sum().float(), moved])
    return sums


def imitate(policy: Policy, rows: list[Row], device: torch.device) -> float:
    """Add the gradient of the traces' cross-entropy, the mean over a trace's tokens, then over traces. Returns it."""
    total = 0.0
    for indices in micro_batches([len(row.ids) for row in rows], MICRO_TOKENS):
        share = [rows[i] for i in indices]
        lengths = torch.tensor([len(row.ids) - row.start for row in share], device=device)
        loss = -(policy(*collate(share, device)) * token_weights(lengths, len(rows))).sum()
        loss.backward()
        total += loss.item()
    return total


def warm_up(policy: Policy, rows: list[Row], rate: float, seed: int, device: torch.device) -> None:
    """Imitate the traces, all of them equally often; the learning rate decays linearly to zero."""
    optimizer = torch.optim.AdamW(policy.parameters(), rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle, start = torch.Generator().manual_seed(seed), time.monotonic()
    done, updates = 0, WARMUP_EPOCHS * -(-len(rows) // WARMUP_ROWS)
    for epoch in range(WARMUP_EPOCHS):
        total = 0.0
        for indices in torch.randperm(len(rows), generator=shuffle).split(WARMUP_ROWS):
            for parameter_group in optimizer.param_groups:
                parameter_group["lr"] = rate * (1 - done / updates)
            total += imitate(policy, [rows[i] for i in indices], device) * len(indices) / len(rows)
            nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
        print(f"warm-up {epoch + 1}/{WARMUP_EPOCHS} loss {total:.4g} {time.monotonic() - start:.4g} s", flush=True)


def check_agreement(policy: Policy, sampler: VLLMSampler | PlainSampler, device: torch.device) -> float:
    """Mean |sampler's log-prob - trainer's| a token, for eight random prompts. Raises SystemExit over MISMATCH."""
    fixed = torch.Generator().manual_seed(0)
    prompts = torch.randint(policy.model.config.vocab_size, (8, 16), generator=fixed).tolist()
    sampler.load(policy.model.state_dict().items())
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


# ---------------------------------------------------------------- the loop


def main() -> None:
    device = torch.device("cuda" if CUDA else "cpu")
    run = connect()
    model = AutoModelForCausalLM.from_pretrained(run.base, dtype="auto", attn_implementation="sdpa")
    parameters = sum(p.numel() for p in model.parameters())
    recipe = LOGIC if parameters < SMALL else LANGUAGE
    # The sampler first: it asks what memory the GPU has left, and what it takes stays taken.
    sampler = make_sampler(run, min(recipe.max_new_tokens, run.max_new_tokens), device, run.seed)
    policy = make_policy(model, recipe, device)
    traces = [Row([*trace.prompt_ids, *trace.token_ids], len(trace.prompt_ids), [], 0.0) for trace in run.warmup()]
    assert traces, "the track has no traces to imitate: baseline-gpu/train.py is for such tracks"
    warm_up(policy, traces, recipe.warmup_learning_rate, run.seed, device)
    optimizer = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(run.seed)
    mismatch = check_agreement(policy, sampler, device)
    print(f"{parameters:,} parameters on {device.type}, {type(sampler).__name__}, mismatch {mismatch:.2g}", flush=True)

    left = run.seconds_left()
    for step in range(recipe.steps):
        for parameter_group in optimizer.param_groups:
            parameter_group["lr"] = recipe.learning_rate * (1 - step / recipe.steps)

        # Sample: G completions of each question.
        start = time.monotonic()
        sampler.load(policy.model.state_dict().items())
        prompts = [prompt for prompt in run.prompts(recipe.prompts) for _ in range(recipe.group)]
        drawn = sampler.sample([prompt.token_ids for prompt in prompts])
        sampled = time.monotonic()

        # Score: the harness grades; the submission only learns right or wrong.
        scores = run.score([(prompt.id, ids) for prompt, (ids, _) in zip(prompts, drawn, strict=True)])
        scored = time.monotonic()

        # Learn: on all completions but those of groups without variance.
        rewards = torch.tensor([float(score.correct) for score in scores])
        advantages, live = group_advantages(rewards.view(-1, recipe.group))
        answers = zip(prompts, drawn, advantages.flatten().tolist(), strict=True)
        rows = [Row(p.token_ids + ids, len(p.token_ids), logps, value) for p, (ids, logps), value in answers if value]
        before, left, n, tokens = left, run.seconds_left(), len(scores), sum(len(ids) for ids, _ in drawn)
        sums, norms = torch.zeros(3, device=device), []
        for indices in torch.randperm(len(rows), generator=shuffle).chunk(recipe.minibatches) if rows else []:
            sums += accumulate(policy, [rows[i] for i in indices], n / recipe.minibatches, device)
            norms.append(nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item())
            optimizer.step()
            optimizer.zero_grad()

        trained, clipped, moved = sums.tolist()
        log = {"reward": rewards.mean().item(), "formatted": sum(score.formatted for score in scores) / n}
        log |= {"length": tokens / n, "truncated": sum(ids[-1] != run.end_token_id for ids, _ in drawn) / n}
        log |= {
            "entropy": -sum(sum(logps) for _, logps in drawn) / tokens,
            "dead_groups": 1 - live.float().mean().item(),
        }
        log |= {"grad_norm": sum(norms) / max(1, len(norms)), "clipped": clipped / max(1, trained)}
        log |= {"mismatch": moved / max(1, trained), "sample_s": sampled - start, "score_s": scored - sampled}
        log |= {"learn_s": time.monotonic() - scored, "left_s": left}
        print(f"step {step + 1}/{recipe.steps}", *(f"{key} {value:.4g}" for key, value in log.items()), flush=True)
        if left < 3 * (before - left):  # this step's update, a whole step and the saving have to fit
            break

    run.save(policy.model)
    if isinstance(sampler, VLLMSampler):
        sampler.llm.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    main()
