"""nanoAhaMoment (Kazemnejad et al. 2025, github.com/McGill-NLP/nano-aha-moment): its reward and its policy gradient.

Changed from baseline/train.py, in the order of the file:

- rollouts of 64 completions, 16 questions with 4 each, and one update a rollout: the source's numbers. 48 of them, in
  all as many completions and updates as before;
- plain policy gradient, -A log pi a token: no ratio and no clipping, so the sampler keeps no log-probs;
- advantages are over the population's standard deviation (numpy's, without Bessel's correction), plus 1e-4;
- the loss is sum over tokens of (-A log pi + beta k3) / number of tokens in the rollout, beta = 0.001;
- reward = well formed + right, so 0, 1 or 2;
- a constant learning rate; AdamW with betas (0.9, 0.999).
"""

import copy
import time

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 48  # rollouts
PROMPTS = 16  # questions a rollout
GROUP = 4  # completions a question: G
MINIBATCHES = 1  # updates a rollout
MAX_NEW_TOKENS = 112  # of the 128 that the track allows: longer searches seldom pay
TEMPERATURE = 1.0  # sampling and scoring alike

LEARNING_RATE = 4e-4
BETAS = (0.9, 0.999)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
KL_COEFFICIENT = 0.001  # beta
DELTA_MAX = 2.6  # of log-probs in the KL; no gradient beyond, where one token's exponential outweighs the batch
STD_FLOOR = 1e-4  # added to a group's standard deviation

# ---------------------------------------------------------------- losses: pure functions on tensors


def group_advantages(rewards: Tensor) -> Tensor:
    """[questions, G] rewards -> [questions, G] advantages: the z-score within each group, as a population."""
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, correction=0, keepdim=True) + STD_FLOOR)


def kl_k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy ‖ reference) a token, never negative. [rows, T] -> [rows, T]."""
    delta = (ref_logp - logp).clamp(max=DELTA_MAX)
    return delta.exp() - delta - 1


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all tokens of the batch. [rows, T], [rows, T] -> scalar."""
    return (values * mask).sum() / mask.sum()


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
def rollout(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, end_id: int) -> tuple[Tensor, Tensor]:
    """Sample one completion a row until all have ended: ids and mask, each [rows, T].

    The mask is 1 up to and including the end token.
    """
    rows, width = prompt_ids.shape
    lowest = torch.finfo(torch.float32).min
    cache = KVCache(model.config, rows, width + MAX_NEW_TOKENS)
    out_ids = torch.full((rows, MAX_NEW_TOKENS), end_id)
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
        out_mask[alive, t] = 1
        alive &= token[:, 0] != end_id
        if not alive.any():
            break
        ids, positions = token, (length + t)[:, None]
        mask = seen[:, None, : width + t + 1]
    return out_ids[:, : t + 1], out_mask[:, : t + 1]


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
        # Sample: G completions of each question.
        clock = time.monotonic()
        prompts = [prompt for prompt in run.prompts(PROMPTS) for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        out_ids, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades; the submission only learns right or wrong, and well formed or not.
        clock = time.monotonic()
        lengths = out_mask.sum(1)
        scores = run.score(
            [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), lengths.tolist(), strict=True)]
        )
        rewards = torch.tensor([float(score.formatted) + float(score.correct) for score in scores])
        rewards = rewards.view(PROMPTS, GROUP)
        advantages = group_advantages(rewards).flatten()
        score_seconds = time.monotonic() - clock

        # Learn: the reference's log-probs once, then MINIBATCHES updates over shuffled completions.
        clock = time.monotonic()
        with torch.no_grad():
            ref_logp = chosen(forward(reference, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
        log = {"kl": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            logp = chosen(logps, out_ids[rows])
            kl = kl_k3(logp, ref_logp[rows])
            loss = token_mean(KL_COEFFICIENT * kl - advantages[rows, None] * logp, mask)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                tokens = mask.sum() * MINIBATCHES
                log["kl"] += ((kl * mask).sum() / tokens).item()
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
    run.save(policy)


if __name__ == "__main__":
    main()
