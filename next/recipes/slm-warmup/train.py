"""SFT with LoRA, then buffered GRPO: "How to Fine-Tune Small Language Models to Think" (A. Biswas, July 2025).

Changed from baseline-deduction/train.py, in the order of the file:

- a buffer: 512 completions are collected with one policy before the updates on them, of 64 questions instead of 32,
  half as many times. An update sees as many completions as the baseline's;
- no KL term and no reference model, as the source advises;
- LoRA of rank 32 on the seven matrices of each layer, in the warm-up and in RL: W + (alpha / r) B A, of which only
  A and B are trained. It is merged into W before the weights are saved;
- the reward is 0.85 for a right answer and 0.15 for the form: 0, 0.15 or 1.
"""

import time

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import AutoModelForCausalLM

from harness.client import Trace, connect

# ---------------------------------------------------------------- constants

WARMUP_EPOCHS = 2  # passes over the traces
WARMUP_ROWS = 8  # traces an update
WARMUP_LEARNING_RATE = 2e-3  # decays linearly to zero

STEPS = 5  # times that the buffer is filled
PROMPTS = 64  # questions in the buffer: 512 completions
GROUP = 8  # completions a question: G
MINIBATCHES = 8  # updates on a buffer
MAX_NEW_TOKENS = 80  # of the 112 that the track allows: longer searches are rare
TEMPERATURE = 1.0  # sampling and scoring alike
CORRECT_REWARD, FORMAT_REWARD = 0.85, 0.15

LORA_RANK = 32  # r; a quarter of the model's width
LORA_ALPHA = 64
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

LEARNING_RATE = 8e-4  # decays linearly to zero
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
STD_FLOOR = 1e-4  # added to a group's standard deviation

# ---------------------------------------------------------------- losses: pure functions on tensors


def cross_entropy(logp: Tensor, mask: Tensor) -> Tensor:
    """What a trace's tokens cost, the mean over all tokens of the batch. [rows, T], [rows, T] -> scalar."""
    return -(logp * mask).sum() / mask.sum()


def group_advantages(rewards: Tensor) -> Tensor:
    """[questions, G] rewards -> [questions, G] advantages: the z-score within each group."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + STD_FLOOR)


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate. [rows, T], [rows, T], [rows] -> objective [rows, T], clipped? [rows, T]."""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages[:, None]
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages[:, None]
    return torch.minimum(plain, clipped), clipped < plain


def sequence_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over each row's tokens, then over rows. [rows, T], [rows, T] -> scalar."""
    return ((values * mask).sum(1) / mask.sum(1)).mean()


# ---------------------------------------------------------------- LoRA


class LoRA(nn.Module):
    """A frozen matrix W [out, in] becomes W + alpha/r B A. B begins at zero, so the model begins as it was."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.a = nn.Parameter((2 * torch.rand(LORA_RANK, weight.shape[1]) - 1) / weight.shape[1] ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], LORA_RANK))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + LORA_ALPHA / LORA_RANK * (self.b @ self.a)


def lora_targets(model: nn.Module) -> list[nn.Module]:
    return [module for name, module in model.named_modules() if name.endswith(LORA_TARGETS)]


# ---------------------------------------------------------------- the model, forwards


def forward(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor) -> Tensor:
    """Log-probs of every next token at each completion position: [rows, T, vocabulary], float32.

    `prompt_ids` [rows, P] is left-padded, `out_ids` [rows, T] right-padded, so completions line up.
    """
    mask = torch.cat([prompt_mask, out_mask], 1)
    hidden = model.model(
        torch.cat([prompt_ids, out_ids], 1)[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, :-1],
    ).last_hidden_state
    return (model.lm_head(hidden[:, prompt_ids.shape[1] - 1 :]) / TEMPERATURE).log_softmax(-1)


def chosen(logps: Tensor, out_ids: Tensor) -> Tensor:
    """Log-prob of the token that was sampled. [rows, T, V], [rows, T] -> [rows, T]."""
    return logps.gather(-1, out_ids[..., None])[..., 0]


# ---------------------------------------------------------------- the sampler


class KVCache:
    """Keys and values for one rollout, allocated once; transformers' attention calls the two methods."""

    is_compileable = False

    def __init__(self, config, rows: int, length: int):
        shape = (config.num_hidden_layers, 2, rows, config.num_key_value_heads, length, config.head_dim)
        self.store, self.used = torch.empty(shape), 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_) -> tuple[Tensor, Tensor]:
        end = self.used + keys.shape[2]
        self.store[layer, 0, :, :, self.used : end] = keys
        self.store[layer, 1, :, :, self.used : end] = values
        if layer == len(self.store) - 1:
            self.used = end
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        return self.used


@torch.inference_mode()
def rollout(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, end_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one completion a row until all have ended: ids, log-probs and mask, each [rows, T].

    The mask is 1 up to and including the end token. Log-probs are those of the distribution sampled from.
    """
    rows, width = prompt_ids.shape
    lowest = torch.finfo(torch.float32).min
    cache = KVCache(model.config, rows, width + MAX_NEW_TOKENS)
    out_ids = torch.full((rows, MAX_NEW_TOKENS), end_id)
    out_logp = torch.zeros(rows, MAX_NEW_TOKENS)
    out_mask = torch.zeros(rows, MAX_NEW_TOKENS, dtype=torch.long)
    alive = torch.ones(rows, dtype=torch.bool)

    length = prompt_mask.sum(1)
    seen = torch.cat([prompt_mask, torch.ones(rows, MAX_NEW_TOKENS, dtype=torch.long)], 1).bool()
    ids, positions = prompt_ids, (prompt_mask.cumsum(1) - 1).clamp(min=0)
    mask = seen[:, None, :width] & torch.ones(width, width, dtype=torch.bool).tril()  # [rows, query, key]
    for t in range(MAX_NEW_TOKENS):
        bias = torch.where(mask[:, None], 0.0, lowest)
        hidden = model.model(
            ids, attention_mask=bias, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state
        logp = (model.lm_head(hidden[:, -1]) / TEMPERATURE).log_softmax(-1)
        token = torch.multinomial(logp.exp(), 1)
        out_ids[alive, t] = token[alive, 0]
        out_logp[alive, t] = logp.gather(1, token)[alive, 0]
        out_mask[alive, t] = 1
        alive &= token[:, 0] != end_id
        if not alive.any():
            break
        ids, positions = token, (length + t)[:, None]
        mask = seen[:, None, : width + t + 1]
    return out_ids[:, : t + 1], out_logp[:, : t + 1], out_mask[:, : t + 1]


def left_pad(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Lists of ids -> ids and mask, each [rows, longest]."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def right_pad(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The same with the padding at the end, for completions that were not sampled here."""
    ids, mask = left_pad([row[::-1] for row in rows], pad_id)
    return ids.flip(1), mask.flip(1)


# ---------------------------------------------------------------- the warm-up


def warm_up(policy: nn.Module, traces: list[Trace], pad_id: int) -> None:
    """Imitate the traces, all of them as often as one another."""
    optimizer = torch.optim.AdamW(policy.parameters(), WARMUP_LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)
    clock, done, updates = time.monotonic(), 0, WARMUP_EPOCHS * -(-len(traces) // WARMUP_ROWS)
    for epoch in range(WARMUP_EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(traces)).split(WARMUP_ROWS):
            for parameters in optimizer.param_groups:
                parameters["lr"] = WARMUP_LEARNING_RATE * (1 - done / updates)
            prompt_ids, prompt_mask = left_pad([traces[i].prompt_ids for i in rows], pad_id)
            out_ids, out_mask = right_pad([traces[i].token_ids for i in rows], pad_id)
            logp = chosen(forward(policy, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
            loss = cross_entropy(logp, out_mask)
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            total += loss.item() * len(rows) / len(traces)
        print(f"warm-up {epoch + 1}/{WARMUP_EPOCHS} loss {total:.4g} {time.monotonic() - clock:.4g} s", flush=True)


# ---------------------------------------------------------------- the loop


def main() -> None:
    run = connect()
    begun, tenths = time.monotonic(), 0
    torch.manual_seed(run.seed)
    policy = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32, attn_implementation="eager")
    policy.requires_grad_(False)
    for module in lora_targets(policy):
        parametrize.register_parametrization(module, "weight", LoRA(module.weight))
    warm_up(policy, run.warmup(), run.pad_token_id)
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)

    for step in range(STEPS):
        for parameters in optimizer.param_groups:
            parameters["lr"] = LEARNING_RATE * (1 - step / STEPS)

        # Sample: G completions of each question.
        clock = time.monotonic()
        prompts = [prompt for prompt in run.prompts(PROMPTS) for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        with parametrize.cached():  # W + alpha/r B A is computed once a rollout, not once a token
            out_ids, old_logp, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades, answer and form.
        clock = time.monotonic()
        lengths = out_mask.sum(1)
        scores = run.score(
            [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), lengths.tolist(), strict=True)]
        )
        rewards = torch.tensor([CORRECT_REWARD * score.correct + FORMAT_REWARD * score.formatted for score in scores])
        rewards = rewards.view(PROMPTS, GROUP)
        advantages = group_advantages(rewards).flatten()
        score_seconds = time.monotonic() - clock

        # Learn: MINIBATCHES updates over the shuffled buffer.
        clock = time.monotonic()
        log = {"clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            logp = chosen(logps, out_ids[rows])
            objective, clipped = clipped_objective(logp, old_logp[rows], advantages[rows])
            loss = -sequence_mean(objective, mask)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                tokens = mask.sum() * MINIBATCHES
                log["clipped"] += ((clipped * mask).sum() / tokens).item()
                log["entropy"] += (-(logps.exp() * logps).sum(-1) * mask).sum().item() / tokens.item()
        learn_seconds = time.monotonic() - clock

        last = out_ids.gather(1, lengths[:, None] - 1)[:, 0]
        log |= {
            "reward": rewards.mean().item(),
            "accuracy": sum(score.correct for score in scores) / len(scores),
            "formatted": sum(score.formatted for score in scores) / len(scores),
            "length": lengths.float().mean().item(),
            "truncated": (last != run.end_token_id).float().mean().item(),
            "dead_groups": (rewards.std(1) < STD_FLOOR).float().mean().item(),
            "sample_s": sample_seconds,
            "score_s": score_seconds,
            "learn_s": learn_seconds,
            "left_s": run.seconds_left(),
        }
        print(f"step {step + 1}/{STEPS} " + " ".join(f"{key} {value:.4g}" for key, value in log.items()), flush=True)
        while 10 * log["accuracy"] >= tenths + 1:
            tenths += 1
            seconds, done = time.monotonic() - begun, (step + 1) * len(prompts)
            print(f"accuracy {tenths / 10:g} after {seconds:.1f} s, {done} completions", flush=True)
    for module in lora_targets(policy):
        parametrize.remove_parametrizations(module, "weight")  # leaves the merged matrix
    run.save(policy)


if __name__ == "__main__":
    main()
