"""A supervised warm-up on the track's traces, then GRPO as DeepSeekMath wrote it, on one GPU.

The reference of 1xh100-deduction and gpu-smol: baseline-gpu/train.py (what that deletes from GRPO and changes stands
there), and `diff` shows what differs. Added: the policy first imitates the traces, WARMUP_EPOCHS times, the mean
cross-entropy over a trace's tokens first and over traces second, as in baseline-deduction/train.py. Deleted: ranks and
sharding, as these tracks have one GPU.
"""

import os
import time
from collections.abc import Iterable
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
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from harness.client import Run, connect


@dataclass(frozen=True)
class Recipe:
    """What depends on the base model's size. harness/planning/plan.toml has the same numbers."""

    steps: int  # rollouts; fewer if the budget ends first
    prompts: int  # questions a rollout
    group: int  # completions a question: G
    minibatches: int  # updates a rollout
    max_new_tokens: int  # or the track's limit, if that is less
    warmup_learning_rate: float  # on the traces; decays linearly to zero
    learning_rate: float  # kept after the ramp; without one it decays linearly to zero
    ramp: int = 0  # rollouts over which it rises
    checkpointing: bool = False  # keep only each layer's input and compute the rest again in the backward pass
    vllm: bool = False  # sample with vLLM: tracks of language models name it, tracks of the logic base do not

    def rate(self, step: int) -> float:
        return self.learning_rate * (min(1, (step + 1) / self.ramp) if self.ramp else 1 - step / self.steps)


SMALL = 10_000_000  # parameters: below, a base made for the logic tracks; above, a language model
LOGIC = Recipe(40, 32, 8, 8, 64, 3e-3, 4e-4)  # baseline-deduction/train.py's warm-up
# Provisional: never ran on a GPU. Rollouts: twice microR1's 512 (its rate rises to 5e-6).
LANGUAGE = Recipe(150, 128, 8, 16, 1024, 1e-5, 3e-6, ramp=5, checkpointing=True, vllm=True)

WARMUP_EPOCHS = 2  # passes over the track's traces
WARMUP_ROWS = 16  # traces an update

TEMPERATURE = 1.0  # sampling and scoring alike
BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.0  # AdamW's
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
DUAL_CLIP = 3.0  # c; verl's clip_ratio_c
DEAD_STD = 1e-4  # a group whose rewards vary less is dropped

MICRO_TOKENS = 16_384  # of a forward and backward pass, padding included
LOGIT_TOKENS = 1_024  # whose logits exist at once: 1,024 of 151,936 in float32 are 0.6 GB
VLLM_MEMORY = 0.375  # of the GPU: its weights and its cache of keys and values
CONCURRENT = 256  # completions that vLLM samples at a time, and its largest graph
WARN_MISMATCH, MAX_MISMATCH = 0.1, 0.3  # nats a token between sampler and trainer; bfloat16 should give about 0.02

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
    """The model, and the log-probs of what was sampled."""

    def __init__(self, model: nn.Module, vocabulary: int):
        super().__init__()
        self.model, self.vocabulary = model, vocabulary

    def forward(self, ids: Tensor, sampled: Tensor) -> Tensor:
        """Log-probs of the tokens that were sampled, row by row. [rows, T], [rows, T] bool -> [sampled tokens]."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=torch.bfloat16 == COMPUTE):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            targets = ids[:, 1:][sampled[:, 1:]]
            return log_probs(self.model.lm_head, hidden[sampled[:, 1:]], targets, self.vocabulary)


def make_policy(model: nn.Module, vocabulary: int, recipe: Recipe, device: torch.device) -> Policy:
    """Put the model on the device in float32."""
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Policy(model, vocabulary).to(device, torch.float32).train()


# ---------------------------------------------------------------- the samplers: load weights, sample completions

Completion = tuple[list[int], list[float]]  # token ids up to and including the end token, and their log-probs


class VLLMSampler:
    """A vLLM engine in this process. It starts with random weights: `load` first."""

    def __init__(self, run: Run, longest: int, vocabulary: int, device: torch.device):
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

    def __init__(self, run: Run, longest: int, vocabulary: int, device: torch.device):
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
    """Add the gradient of the mean over `count` completions. Returns [tokens, clipped tokens]."""
    sums = torch.zeros(2, device=device)
    for indices in micro_batches([len(row.ids) for row in rows], MICRO_TOKENS):
        share = [rows[i] for i in indices]
        lengths = torch.tensor([len(row.logps) for row in share], device=device)
        advantages = torch.tensor([row.advantage for row in share], device=device).repeat_interleave(lengths)
        old_logp = torch.tensor([value for row in share for value in row.logps], device=device)
        logp = policy(*collate(share, device))
        objective, clipped = clipped_objective(logp, old_logp, advantages)
        (-(objective * token_weights(lengths, count)).sum()).backward()
        sums += torch.stack([lengths.sum().float(), clipped.sum().float()])
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


# ---------------------------------------------------------------- the loop


def main() -> None:
    device = torch.device("cuda" if CUDA else "cpu")
    run = connect()
    model = AutoModelForCausalLM.from_pretrained(run.base, dtype="auto", attn_implementation="sdpa")
    parameters = sum(p.numel() for p in model.parameters())
    recipe = LOGIC if parameters < SMALL else LANGUAGE
    vocabulary = Tokenizer.from_file(str(run.base / "tokenizer.json")).get_vocab_size()
    # The sampler first: it asks what memory the GPU has left, and what it takes stays taken.
    longest = min(recipe.max_new_tokens, run.max_new_tokens)
    try:
        sampler = (VLLMSampler if recipe.vllm else PlainSampler)(run, longest, vocabulary, device)
    except ModuleNotFoundError:  # vLLM is not installed: a development run
        sampler = PlainSampler(run, longest, vocabulary, device)
    torch.manual_seed(run.seed)  # now, as vLLM has set its own seed
    policy = make_policy(model, vocabulary, recipe, device)
    traces = [Row([*trace.prompt_ids, *trace.token_ids], len(trace.prompt_ids), [], 0.0) for trace in run.warmup()]
    assert traces, "the track has no traces to imitate: baseline-gpu/train.py is for such tracks"
    warm_up(policy, traces, recipe.warmup_learning_rate, run.seed, device)
    optimizer = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, BETAS, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(run.seed)
    print(f"{parameters:,} parameters on {device.type}, {type(sampler).__name__}", flush=True)

    left = run.seconds_left()
    for step in range(recipe.steps):
        for parameter_group in optimizer.param_groups:
            parameter_group["lr"] = recipe.rate(step)

        # Sample: G completions of each question.
        start = time.monotonic()
        sampler.load(policy.model.state_dict().items())
        prompts = [prompt for prompt in run.prompts(recipe.prompts) for _ in range(recipe.group)]
        asked = [prompt.token_ids for prompt in prompts]
        drawn = sampler.sample(asked)
        few = slice(0, 8 * recipe.group, recipe.group)  # a completion each of eight questions
        mismatch = check_agreement(policy, asked[few], drawn[few], device)
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
        sums, norms = torch.zeros(2, device=device), []
        for indices in torch.randperm(len(rows), generator=shuffle).chunk(recipe.minibatches) if rows else []:
            sums += accumulate(policy, [rows[i] for i in indices], n / recipe.minibatches, device)
            norms.append(nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item())
            optimizer.step()
            optimizer.zero_grad()

        log = {"reward": rewards.mean().item(), "formatted": sum(score.formatted for score in scores) / n}
        log |= {"length": tokens / n, "truncated": sum(ids[-1] != run.end_token_id for ids, _ in drawn) / n}
        log |= {
            "entropy": -sum(sum(logps) for _, logps in drawn) / tokens,
            "dead_groups": 1 - live.float().mean().item(),
        }
        log |= {"grad_norm": sum(norms) / max(1, len(norms)), "clipped": (sums[1] / sums[0].clamp(min=1)).item()}
        log |= {"mismatch": mismatch, "sample_s": sampled - start, "score_s": scored - sampled}
        log |= {"learn_s": time.monotonic() - scored, "left_s": left}
        print(f"step {step + 1}/{recipe.steps}", *(f"{key} {value:.4g}" for key, value in log.items()), flush=True)
        if left < 3 * (before - left):  # this step's update, a whole step and the saving have to fit
            break

    run.save(policy.model)
    if isinstance(sampler, VLLMSampler):
        sampler.llm.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    main()
