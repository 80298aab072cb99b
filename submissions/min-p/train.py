"""Min-p sampling in the rollout (Nguyen et al. 2024, arXiv:2407.01082), and log-probs of what was sampled from.

Changed from baseline/train.py, in the order of the file:

- the sampler draws from the tokens whose probability is at least MIN_P times that of the likeliest one,
  V = {v : p(v) >= p_base max p}, renormalised over V;
- the sampler keeps V, and the policy's and the reference's log-probs are renormalised over the same V. So the ratio is
  of two distributions over the same tokens, and begins at 1 (as DeepSeek-V3.2 does for top-p: arXiv:2512.02556, 3.1).
"""

import copy
import math
import time

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 12  # rollouts
PROMPTS = 32  # questions a rollout
GROUP = 8  # completions a question: G
MINIBATCHES = 4  # updates a rollout
MAX_NEW_TOKENS = 112  # of the 128 that the track allows: longer searches seldom pay
TEMPERATURE = 1.0  # sampling and scoring alike
MIN_P = 0.05  # p_base

LEARNING_RATE = 4e-4  # decays linearly to zero
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
KL_COEFFICIENT = 0.01  # beta
DELTA_MAX = 2.6  # of log-probs in the KL; no gradient beyond, where one token's exponential outweighs the batch
STD_FLOOR = 1e-4  # added to a group's standard deviation

# ---------------------------------------------------------------- losses: pure functions on tensors


def group_advantages(rewards: Tensor) -> Tensor:
    """[questions, G] rewards -> [questions, G] advantages: the z-score within each group."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + STD_FLOOR)


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate. [rows, T], [rows, T], [rows] -> objective [rows, T], clipped? [rows, T]."""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages[:, None]
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages[:, None]
    return torch.minimum(plain, clipped), clipped < plain


def kl_k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy ‖ reference) a token, never negative. [rows, T] -> [rows, T]."""
    delta = (ref_logp - logp).clamp(max=DELTA_MAX)
    return delta.exp() - delta - 1


def sequence_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over each row's tokens, then over rows. [rows, T], [rows, T] -> scalar."""
    return ((values * mask).sum(1) / mask.sum(1)).mean()


# ---------------------------------------------------------------- the model, forwards


def min_p_set(logits: Tensor) -> Tensor:
    """Which tokens may be sampled: p(v) >= MIN_P max p. [rows, V] -> [rows, V], bool."""
    return logits >= logits.max(-1, keepdim=True).values + math.log(MIN_P)


def log_probs(logits: Tensor, kept: Tensor) -> Tensor:
    """Renormalised over the tokens kept; of the others the lowest float, whose exponential is 0. [..., V] twice."""
    return logits.masked_fill(~kept, torch.finfo(torch.float32).min).log_softmax(-1)


def forward(
    model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor, kept: Tensor
) -> Tensor:
    """Log-probs of every next token that `kept` has, at each completion position: [rows, T, vocabulary], float32.

    `prompt_ids` [rows, P] is left-padded, `out_ids` [rows, T] right-padded, so completions line up.
    """
    mask = torch.cat([prompt_mask, out_mask], 1)
    hidden = model.model(
        torch.cat([prompt_ids, out_ids], 1)[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, :-1],
    ).last_hidden_state
    return log_probs(model.lm_head(hidden[:, prompt_ids.shape[1] - 1 :]) / TEMPERATURE, kept)


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
def rollout(
    model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, end_id: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sample one completion a row until all have ended: ids, log-probs and mask, each [rows, T]; kept [rows, T, V].

    The mask is 1 up to and including the end token. Log-probs are those of the distribution sampled from, that over
    the tokens kept. After the end all tokens are kept.
    """
    rows, width = prompt_ids.shape
    lowest = torch.finfo(torch.float32).min
    cache = KVCache(model.config, rows, width + MAX_NEW_TOKENS)
    out_ids = torch.full((rows, MAX_NEW_TOKENS), end_id)
    out_logp = torch.zeros(rows, MAX_NEW_TOKENS)
    out_mask = torch.zeros(rows, MAX_NEW_TOKENS, dtype=torch.long)
    out_kept = torch.ones(rows, MAX_NEW_TOKENS, model.config.vocab_size, dtype=torch.bool)
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
        logits = model.lm_head(hidden[:, -1]) / TEMPERATURE
        kept = min_p_set(logits)
        logp = log_probs(logits, kept)
        token = torch.multinomial(logp.exp(), 1)
        out_ids[alive, t] = token[alive, 0]
        out_logp[alive, t] = logp.gather(1, token)[alive, 0]
        out_mask[alive, t] = 1
        out_kept[alive, t] = kept[alive]
        alive &= token[:, 0] != end_id
        if not alive.any():
            break
        ids, positions = token, (length + t)[:, None]
        mask = seen[:, None, : width + t + 1]
    return out_ids[:, : t + 1], out_logp[:, : t + 1], out_mask[:, : t + 1], out_kept[:, : t + 1]


def left_pad(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Lists of ids -> ids and mask, each [rows, longest]."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


# ---------------------------------------------------------------- the loop


def main() -> None:
    run = connect()
    begun, tenths = time.monotonic(), 0
    torch.manual_seed(run.seed)
    policy = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32, attn_implementation="eager")
    reference = copy.deepcopy(policy).requires_grad_(False)
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)

    for step in range(STEPS):
        for parameters in optimizer.param_groups:
            parameters["lr"] = LEARNING_RATE * (1 - step / STEPS)

        # Sample: G completions of each question.
        clock = time.monotonic()
        prompts = [prompt for prompt in run.prompts(PROMPTS) for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        out_ids, old_logp, out_mask, kept = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades; the submission only learns right or wrong.
        clock = time.monotonic()
        lengths = out_mask.sum(1)
        scores = run.score(
            [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), lengths.tolist(), strict=True)]
        )
        rewards = torch.tensor([float(score.correct) for score in scores]).view(PROMPTS, GROUP)
        advantages = group_advantages(rewards).flatten()
        score_seconds = time.monotonic() - clock

        # Learn: the reference's log-probs once, then MINIBATCHES updates over shuffled completions.
        clock = time.monotonic()
        with torch.no_grad():
            ref_logp = chosen(forward(reference, prompt_ids, prompt_mask, out_ids, out_mask, kept), out_ids)
        log = {"kl": 0.0, "clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask, kept[rows])
            logp = chosen(logps, out_ids[rows])
            objective, clipped = clipped_objective(logp, old_logp[rows], advantages[rows])
            kl = kl_k3(logp, ref_logp[rows])
            loss = -sequence_mean(objective - KL_COEFFICIENT * kl, mask)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                tokens = mask.sum() * MINIBATCHES
                log["kl"] += ((kl * mask).sum() / tokens).item()
                log["clipped"] += ((clipped * mask).sum() / tokens).item()
                log["entropy"] += (-(logps.exp() * logps).sum(-1) * mask).sum().item() / tokens.item()
        learn_seconds = time.monotonic() - clock

        last = out_ids.gather(1, lengths[:, None] - 1)[:, 0]
        log |= {
            "reward": rewards.mean().item(),
            "accuracy": sum(score.correct for score in scores) / len(scores),
            "formatted": sum(score.formatted for score in scores) / len(scores),
            "choices": ((kept.sum(-1) * out_mask).sum() / out_mask.sum()).item(),
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
    run.save(policy)


if __name__ == "__main__":
    main()
