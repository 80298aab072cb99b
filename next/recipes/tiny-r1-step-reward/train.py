"""Tiny R1's next step (github.com/MannanB/TinyR1, 2025): its GRPO with a reward a step, from a model of the outcome.

The project names the step and has no code for it; the formula is DeepSeekMath's process supervision (Shao et al. 2024,
arXiv:2402.03300, section 4.1.3), to whose reward model the project points.

Changed from baseline/train.py, in the order of the file:

- one update a rollout, so the ratio is 1 and nothing is clipped (at 0.1). For that the rollouts are smaller and more:
  48 of 64 completions, in all as many completions and updates as before;
- process supervision: the reward of every step of a group is z-scored over all steps of the group, and the advantage of
  a token is the sum of those at or after it, A_i,t = sum over j with index(j) >= t of (r_i,j - mean R) / std R;
- only low-rank adapters of the query, value, up and down projections are trained: W + (ALPHA / RANK) B A, with B = 0
  at first and at rank 32. They are merged into W at the end;
- a scorer, a second copy of the base whose output layer gives one number, learns in the run to predict the outcome
  (6 formatted + 10 correct) / 16 after each token, by cross-entropy;
- steps end at `;` and `</think>`, and the scorer's prediction there is their reward; the last token's is the outcome.
  For OUTCOME_STEPS rollouts, while the scorer knows little, the last token's reward is the only one;
- no KL term and no reference model; an entropy bonus of 0.01; the mean over all tokens of the batch;
- AdamW with betas (0.9, 0.999); the policy's gradients are not clipped.
"""

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 48  # rollouts
OUTCOME_STEPS = 8  # the first of them, without the scorer
PROMPTS = 8  # questions a rollout
GROUP = 8  # completions a question: G
MINIBATCHES = 1  # updates a rollout
MAX_NEW_TOKENS = 112  # of the 128 that the track allows: longer searches seldom pay
TEMPERATURE = 1.0  # sampling and scoring alike
RANK = 32  # of the adapters
ALPHA = 64  # the adapters' update counts ALPHA / RANK times
STEP_ENDS = (";", "</think>")  # tokens that end a step of the thought

LEARNING_RATE = 2e-3  # of the adapters; decays linearly to zero
SCORER_LEARNING_RATE = 2e-3
BETAS = (0.9, 0.999)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = float("inf")  # measured, not clipped
CLIP_RANGE = 0.1  # epsilon
ENTROPY_COEFFICIENT = 0.01
FORMAT_SHARE, CORRECT_SHARE = 6 / 16, 10 / 16  # of the outcome
STD_FLOOR = 1e-6  # added to a group's standard deviation

# ---------------------------------------------------------------- losses: pure functions on tensors


def process_advantages(rewards: Tensor, ends: Tensor) -> Tensor:
    """[questions, G, T] rewards, which count where `ends` is 1 -> [questions, G, T] advantages."""
    count = ends.sum((1, 2), keepdim=True)
    mean = (rewards * ends).sum((1, 2), keepdim=True) / count
    variance = ((rewards - mean).square() * ends).sum((1, 2), keepdim=True) / (count - 1)
    scores = (rewards - mean) / (variance.sqrt() + STD_FLOOR) * ends
    return scores.flip(2).cumsum(2).flip(2)


def clipped_objective(logp: Tensor, old_logp: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate. [rows, T], [rows, T], [rows, T] -> objective [rows, T], clipped? [rows, T]."""
    ratio = (logp - old_logp).exp()
    plain = ratio * advantages
    clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantages
    return torch.minimum(plain, clipped), clipped < plain


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all tokens of the batch. [rows, T], [rows, T] -> scalar."""
    return (values * mask).sum() / mask.sum()


# ---------------------------------------------------------------- low-rank adapters


class LowRank(nn.Module):
    """A frozen linear layer and a trained update of low rank: W + ALPHA / RANK * up down, which begins at W."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, RANK, bias=False)
        self.up = nn.Linear(RANK, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + ALPHA / RANK * self.up(self.down(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The linear layer with the update added to its weight."""
        self.linear.weight.add_(self.up.weight @ self.down.weight, alpha=ALPHA / RANK)
        return self.linear


def replace(policy: nn.Module, change: Callable[..., nn.Module]) -> None:
    """Put `change(layer)` in the place of each layer that is adapted."""
    for layer in policy.model.layers:
        layer.self_attn.q_proj = change(layer.self_attn.q_proj)
        layer.self_attn.v_proj = change(layer.self_attn.v_proj)
        layer.mlp.up_proj = change(layer.mlp.up_proj)
        layer.mlp.down_proj = change(layer.mlp.down_proj)


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


def outcome_logits(
    scorer: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, out_ids: Tensor, out_mask: Tensor
) -> Tensor:
    """The scorer's prediction of the outcome after each completion token, before the sigmoid: [rows, T]."""
    mask = torch.cat([prompt_mask, out_mask], 1)
    hidden = scorer.model(
        torch.cat([prompt_ids, out_ids], 1), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
    ).last_hidden_state
    return scorer.lm_head(hidden[:, prompt_ids.shape[1] :])[..., 0]


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
    scorer = copy.deepcopy(policy)
    scorer.lm_head = nn.Linear(policy.config.hidden_size, 1)
    step_ends = torch.tensor(AutoTokenizer.from_pretrained(run.base).convert_tokens_to_ids(STEP_ENDS))
    replace(policy.requires_grad_(False), LowRank)
    adapters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(adapters, LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)
    scorer_optimizer = torch.optim.AdamW(scorer.parameters(), SCORER_LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)

    for step in range(STEPS):
        for parameters in optimizer.param_groups:
            parameters["lr"] = LEARNING_RATE * (1 - step / STEPS)

        # Sample: G completions of each question.
        clock = time.monotonic()
        prompts = [prompt for prompt in run.prompts(PROMPTS) for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        out_ids, old_logp, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
        sample_seconds = time.monotonic() - clock

        # Score: the harness grades; the submission only learns right or wrong, and well formed or not.
        clock = time.monotonic()
        lengths = out_mask.sum(1)
        scores = run.score(
            [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), lengths.tolist(), strict=True)]
        )
        rewards = torch.tensor([FORMAT_SHARE * s.formatted + CORRECT_SHARE * s.correct for s in scores])
        rewards = rewards.view(PROMPTS, GROUP)
        score_seconds = time.monotonic() - clock

        # Learn: the scorer's rewards once, then MINIBATCHES updates of policy and scorer over shuffled completions.
        clock = time.monotonic()
        outcomes = rewards.flatten()[:, None]
        with torch.no_grad():
            predicted = outcome_logits(scorer, prompt_ids, prompt_mask, out_ids, out_mask).sigmoid()
        is_last = torch.arange(out_ids.shape[1]) == lengths[:, None] - 1
        ends = is_last | torch.isin(out_ids, step_ends) if step >= OUTCOME_STEPS else is_last
        step_rewards = torch.where(is_last, outcomes, predicted)
        groups = PROMPTS, GROUP, -1
        advantages = process_advantages(step_rewards.view(groups), ends.float().view(groups)).flatten(0, 1)
        log = {"clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0, "scorer_loss": 0.0}
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            logp = chosen(logps, out_ids[rows])
            objective, clipped = clipped_objective(logp, old_logp[rows], advantages[rows])
            entropy = -(logps.exp() * logps).sum(-1)
            loss = -token_mean(objective + ENTROPY_COEFFICIENT * entropy, mask)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(adapters, MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            logits = outcome_logits(scorer, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
            targets = outcomes[rows].expand_as(logits)
            costs = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            scorer_loss = token_mean(costs, mask)
            scorer_loss.backward()
            scorer_optimizer.step()
            scorer_optimizer.zero_grad()
            with torch.no_grad():
                log["scorer_loss"] += scorer_loss.item() / MINIBATCHES
                log["clipped"] += token_mean(clipped, mask).item() / MINIBATCHES
                log["entropy"] += token_mean(entropy, mask).item() / MINIBATCHES
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
    replace(policy, LowRank.merged)
    run.save(policy)


if __name__ == "__main__":
    main()
