"""TinyZero (Pan et al. 2025, github.com/Jiayi-Pan/TinyZero): PPO with a critic on countdown, by veRL's defaults.

Changed from baseline/train.py, in the order of the file:

- no groups: PROMPTS questions a rollout, one completion each, as many completions as before;
- a critic V, a second copy of the base whose output layer gives one number. Its loss, over all tokens s_t:
  0.5 max((V - R)^2, (clip(V, V_old - 0.5, V_old + 0.5) - R)^2), with a learning rate of its own;
- advantages by GAE at gamma = lambda = 1, so A_t = R_t - V(s_t), where R_t is the sum of rewards from token t on;
  then whitened over all tokens of the rollout;
- KL to the base in the reward, not in the loss: every token costs beta (log pi_old - log pi_ref), beta = 0.001;
- reward at the last token: 1 if right, 0.1 if only well formed;
- an entropy bonus of 0.001, and the mean over all tokens of a minibatch in both losses;
- constant learning rates, AdamW with veRL's betas (0.9, 0.999) and weight decay 0.01.
"""

import copy
import time

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 12  # rollouts
PROMPTS = 256  # questions a rollout, one completion each
MINIBATCHES = 4  # updates a rollout
MAX_NEW_TOKENS = 112  # of the 128 that the track allows: longer searches seldom pay
TEMPERATURE = 1.0  # sampling and scoring alike

LEARNING_RATE = 4e-4
CRITIC_LEARNING_RATE = 2e-3
BETAS = (0.9, 0.999)
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0  # of policy and critic each
CLIP_RANGE = 0.2  # epsilon
VALUE_CLIP_RANGE = 0.5  # how far a value counts as having moved in a rollout's updates
KL_COEFFICIENT = 0.001  # beta
ENTROPY_COEFFICIENT = 0.001
FORMAT_REWARD = 0.1

# ---------------------------------------------------------------- losses: pure functions on tensors


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all tokens of the batch. [rows, T], [rows, T] -> scalar."""
    return (values * mask).sum() / mask.sum()


def advantages_and_returns(rewards: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """GAE at gamma = lambda = 1, where it is the rewards to come less the value. Arguments and results: [rows, T].

    Advantages are whitened over all tokens; returns are what the critic is to predict.
    """
    returns = rewards.flip(1).cumsum(1).flip(1)
    advantages = returns - values
    mean = token_mean(advantages, mask)
    variance = token_mean((advantages - mean).square(), mask)
    return (advantages - mean) / (variance + 1e-8).sqrt(), returns


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate. [rows, T], [rows, T], [rows, T] -> objective [rows, T], clipped? [rows, T]."""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages
    return torch.minimum(plain, clipped), clipped < plain


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Half the squared error, the larger of plain and clipped. Four times [rows, T] -> scalar."""
    clipped = values.clamp(old_values - VALUE_CLIP_RANGE, old_values + VALUE_CLIP_RANGE)
    return token_mean(torch.maximum((values - returns).square(), (clipped - returns).square()), mask) / 2


# ---------------------------------------------------------------- the models, forwards


def hidden_states(
    model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor
) -> Tensor:
    """What a model has made of everything before each completion token: [rows, T, width].

    `prompt_ids` [rows, P] is left-padded, `out_ids` [rows, T] right-padded, so completions line up.
    """
    mask = torch.cat([prompt_mask, out_mask], 1)
    hidden = model.model(
        torch.cat([prompt_ids, out_ids], 1)[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, :-1],
    ).last_hidden_state
    return hidden[:, prompt_ids.shape[1] - 1 :]


def forward(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor) -> Tensor:
    """Log-probs of every next token at each completion position: [rows, T, vocabulary], float32."""
    hidden = hidden_states(model, prompt_ids, prompt_mask, out_ids, out_mask)
    return (model.lm_head(hidden) / TEMPERATURE).log_softmax(-1)


def estimate(critic: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor) -> Tensor:
    """The critic's value of the state before each completion token: [rows, T]."""
    return critic.lm_head(hidden_states(critic, prompt_ids, prompt_mask, out_ids, out_mask))[..., 0]


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


# ---------------------------------------------------------------- the loop


def main() -> None:
    run = connect()
    begun, tenths = time.monotonic(), 0
    torch.manual_seed(run.seed)
    policy = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32, attn_implementation="eager")
    reference = copy.deepcopy(policy).requires_grad_(False)
    critic = copy.deepcopy(policy)
    critic.lm_head = nn.Linear(policy.config.hidden_size, 1)
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), CRITIC_LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)

    for step in range(STEPS):
        # Sample: one completion of each question.
        clock = time.monotonic()
        prompts = run.prompts(PROMPTS)
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        out_ids, old_logp, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades; the submission only learns right or wrong, and well formed or not.
        clock = time.monotonic()
        lengths = out_mask.sum(1)
        scores = run.score(
            [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), lengths.tolist(), strict=True)]
        )
        outcomes = torch.tensor([1.0 if s.correct else FORMAT_REWARD if s.formatted else 0.0 for s in scores])
        score_seconds = time.monotonic() - clock

        # Learn: the reference's log-probs and the critic's values once, then MINIBATCHES updates of both models over
        # shuffled completions.
        clock = time.monotonic()
        with torch.no_grad():
            ref_logp = chosen(forward(reference, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
            old_values = estimate(critic, prompt_ids, prompt_mask, out_ids, out_mask)
        kl = (old_logp - ref_logp) * out_mask
        rewards = -KL_COEFFICIENT * kl
        rewards[torch.arange(len(prompts)), lengths - 1] += outcomes
        advantages, returns = advantages_and_returns(rewards, old_values, out_mask)
        log = {"clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0, "value_loss": 0.0}
        log["kl"] = token_mean(kl, out_mask).item()
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            logp = chosen(logps, out_ids[rows])
            objective, clipped = clipped_objective(logp, old_logp[rows], advantages[rows])
            entropy = -(logps.exp() * logps).sum(-1)
            loss = -token_mean(objective + ENTROPY_COEFFICIENT * entropy, mask)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            values = estimate(critic, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            critic_loss = value_loss(values, old_values[rows], returns[rows], mask)
            critic_loss.backward()
            nn.utils.clip_grad_norm_(critic.parameters(), MAX_GRAD_NORM)
            critic_optimizer.step()
            critic_optimizer.zero_grad()
            with torch.no_grad():
                log["value_loss"] += critic_loss.item() / MINIBATCHES
                log["clipped"] += token_mean(clipped, mask).item() / MINIBATCHES
                log["entropy"] += token_mean(entropy, mask).item() / MINIBATCHES
        learn_seconds = time.monotonic() - clock

        last = out_ids.gather(1, lengths[:, None] - 1)[:, 0]
        log |= {
            "reward": outcomes.mean().item(),
            "accuracy": sum(score.correct for score in scores) / len(scores),
            "formatted": sum(score.formatted for score in scores) / len(scores),
            "length": lengths.float().mean().item(),
            "truncated": (last != run.end_token_id).float().mean().item(),
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
