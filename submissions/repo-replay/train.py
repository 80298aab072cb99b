"""RePO (Li et al. 2025, arXiv:2506.09340): earlier completions of a question are replayed as a second group, with the
ratio to the policies that sampled them.

Changed from submissions/packed-no-kl/train.py, in the order of the file:

- the sampler returns all MAX_NEW_TOKENS columns, since completions of several rollouts are put together;
- a question has to come back to have earlier completions, and run.prompts always gives new ones. So the run asks for
  POOL questions once and goes through them epoch after epoch, each in another order;
- the last MEMORY completions of each question are kept, with the sampler's log-probs and their rewards. Once there are
  MEMORY, from the third epoch on, the REPLAYED among them with the highest rewards join the update (the source's
  reward-oriented strategy);
- J = J_on + J_off, each the clipped objective of GRPO, averaged over a completion's tokens and over its own group:
  the advantages of the replayed are z-scores among themselves, apart from those of the new completions (split
  normalisation), and their ratio π/π_then is clipped to 1 ± ε like any other;
- an advantage is 0 in a group without variance, new or replayed, and such groups are left out.
"""

import time

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 12  # rollouts
PROMPTS = 32  # questions a rollout
POOL = 96  # questions that come back: an epoch is POOL / PROMPTS rollouts
GROUP = 8  # completions a question: G_on
REPLAYED = 8  # earlier completions a question: G_off
MEMORY = 16  # completions kept a question
MINIBATCHES = 4  # updates a rollout
MAX_NEW_TOKENS = 112  # of the 128 that the track allows: longer searches seldom pay
TEMPERATURE = 1.0  # sampling and scoring alike

LEARNING_RATE = 4e-4  # decays linearly to zero
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.0
MAX_GRAD_NORM = 1.0
CLIP_RANGE = 0.2  # epsilon
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


def sequence_mean(values: Tensor, mask: Tensor, rows: float) -> Tensor:
    """Mean over each row's tokens, summed over rows and divided by `rows`. [rows, T], [rows, T] -> scalar."""
    return ((values * mask).sum(1) / mask.sum(1)).sum() / rows


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
    """Keys and values for one rollout, allocated once; transformers' attention calls `update` and `get_seq_length`."""

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

    def keep(self, rows: Tensor) -> None:
        self.store = self.store[:, :, rows]


@torch.inference_mode()
def rollout(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, end_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one completion a row until all have ended: ids, log-probs and mask, each [rows, T].

    The mask is 1 up to and including the end token. Log-probs are those of the distribution sampled from.
    Rows that have ended leave the batch as soon as they are a quarter of it.
    """
    rows, width = prompt_ids.shape
    lowest = torch.finfo(torch.float32).min
    cache = KVCache(model.config, rows, width + MAX_NEW_TOKENS)
    out_ids = torch.full((rows, MAX_NEW_TOKENS), end_id)
    out_logp = torch.zeros(rows, MAX_NEW_TOKENS)
    out_mask = torch.zeros(rows, MAX_NEW_TOKENS, dtype=torch.long)
    batch = torch.arange(rows)  # which completion each row of the batch is
    alive = torch.ones(rows, dtype=torch.bool)  # by row of the batch

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
        out_ids[batch[alive], t] = token[alive, 0]
        out_logp[batch[alive], t] = logp.gather(1, token)[alive, 0]
        out_mask[batch[alive], t] = 1
        alive &= token[:, 0] != end_id
        if not alive.any():
            break
        if alive.sum() <= 0.75 * len(batch):
            kept = alive.nonzero()[:, 0]
            batch, token, length, seen, alive = batch[kept], token[kept], length[kept], seen[kept], alive[kept]
            cache.keep(kept)
        ids, positions = token, (length + t)[:, None]
        mask = seen[:, None, : width + t + 1]
    return out_ids, out_logp, out_mask


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
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)
    pool = run.prompts(POOL)
    kinds = (torch.long, torch.float32, torch.long)  # ids, log-probs and mask
    memory = [torch.zeros(POOL, MEMORY, MAX_NEW_TOKENS, dtype=kind) for kind in kinds]
    memory.append(torch.zeros(POOL, MEMORY))  # rewards

    for step in range(STEPS):
        for parameters in optimizer.param_groups:
            parameters["lr"] = LEARNING_RATE * (1 - step / STEPS)

        # Sample: G completions of each of the next questions of the pool.
        clock = time.monotonic()
        epoch, part = divmod(step, POOL // PROMPTS)
        if part == 0:
            order = torch.randperm(POOL).split(PROMPTS)
        visited = order[part][:, None]  # [PROMPTS, 1] of the pool
        prompts = [pool[i] for i in visited[:, 0].tolist() for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        out_ids, old_logp, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
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

        # Replay: the best earlier completions of each question join the batch, then the new ones enter the memory.
        clock = time.monotonic()
        fresh = (out_ids, old_logp, out_mask, rewards.flatten())
        if epoch * GROUP >= MEMORY:
            best = memory[-1][visited[:, 0]].argsort(dim=1, descending=True, stable=True)[:, :REPLAYED]
            *earlier, earlier_rewards = (column[visited, best] for column in memory)  # [PROMPTS, REPLAYED, ...]
            out_ids, old_logp, out_mask = (
                torch.cat([new, old.flatten(0, 1)]) for new, old in zip(fresh[:3], earlier, strict=True)
            )
            prompt_ids, prompt_mask = (
                torch.cat([rows, rows[::GROUP].repeat_interleave(REPLAYED, 0)]) for rows in (prompt_ids, prompt_mask)
            )
            advantages = torch.cat([advantages, group_advantages(earlier_rewards).flatten()])
            lengths = out_mask.sum(1)
        slots = torch.arange(GROUP) + epoch * GROUP % MEMORY
        for column, new in zip(memory, fresh, strict=True):
            column[visited, slots] = new.view(PROMPTS, GROUP, *new.shape[1:])

        # Learn: MINIBATCHES updates on the completions of groups that have variance, alike in length within
        # a minibatch so that little is padding, the minibatches in random order.
        log = {"clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        live = advantages.nonzero()[:, 0]
        minibatches = [rows for rows in live[lengths[live].argsort()].chunk(MINIBATCHES) if len(rows)]
        for i in torch.randperm(len(minibatches)).tolist():
            rows, longest = minibatches[i], int(lengths[minibatches[i]].max())
            mask, ids = out_mask[rows, :longest], out_ids[rows, :longest]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], ids, mask)
            logp = chosen(logps, ids)
            objective, clipped = clipped_objective(logp, old_logp[rows, :longest], advantages[rows])
            # Of both groups, since REPLAYED is GROUP: each is divided by its own size.
            loss = -sequence_mean(objective, mask, rows=len(prompts) / MINIBATCHES)
            loss.backward()
            log["grad_norm"] += nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM).item() / MINIBATCHES
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                tokens = mask.sum() * MINIBATCHES
                log["clipped"] += ((clipped * mask).sum() / tokens).item()
                log["entropy"] += (-(logps.exp() * logps).sum(-1) * mask).sum().item() / tokens.item()
        learn_seconds = time.monotonic() - clock

        last = out_ids.gather(1, lengths[:, None] - 1)[: len(prompts), 0]
        log |= {
            "reward": rewards.mean().item(),
            "accuracy": sum(score.correct for score in scores) / len(scores),
            "formatted": sum(score.formatted for score in scores) / len(scores),
            "length": lengths[: len(prompts)].float().mean().item(),
            "truncated": (last != run.end_token_id).float().mean().item(),
            "dead_groups": (rewards.std(1) < STD_FLOOR).float().mean().item(),
            "replayed": (live >= len(prompts)).sum().item(),
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
