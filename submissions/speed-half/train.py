"""SPEED (Zhang et al. 2025, arXiv:2506.09016): a question is screened with few completions, and only if some are right
and some wrong does it get the rest.

Changed from submissions/packed-no-kl/train.py, in the order of the file:

- SCREENING completions (N_init) of each of SCREENED new questions give an estimate of the pass rate p. A question
  passes if 0 < p < 1 and then gets GROUP - SCREENING more (N_cont); the others are dropped. The reason (Theorem 3.1):
  the signal-to-noise ratio of the gradient from N completions is at most 4 N p (1 - p). So an update's batch has
  PROMPTS = 16 questions of GROUP = 16 completions instead of 32 of 8, as many completions as before;
- one sampling batch holds the continuation of the questions that passed last time and the screening of new ones
  (pre-fetching); what is complete and not needed yet waits (the sampling buffer). So the completions of the screening
  may come from the policy before the last updates; the ratio is against the log-probs that the sampler kept;
- the sampler returns all MAX_NEW_TOKENS columns, since completions of several sampling batches are put together;
- every group of a batch has variance, so there are none to leave out;
- in the log, accuracy, formatted and dead_groups are of the last screening, whose questions nobody chose; reward,
  length and truncated are of the batch that is learnt from.
"""

import time

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import connect

# ---------------------------------------------------------------- constants

STEPS = 12  # batches that are learnt from
PROMPTS = 16  # questions a batch
SCREENED = 32  # new questions a sampling batch
SCREENING = 4  # completions by which a question is judged: N_init
GROUP = 16  # completions a question that passed: N_init + N_cont
MINIBATCHES = 4  # updates a batch
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

    passed, ready, sampled = [], [], 0  # questions to be continued, questions with all completions; completions so far
    for step in range(STEPS):
        for parameters in optimizer.param_groups:
            parameters["lr"] = LEARNING_RATE * (1 - step / STEPS)

        # Sample and score until enough questions are ready: the rest of those that passed, and a screening of new ones.
        sample_seconds = score_seconds = 0.0
        while len(ready) < PROMPTS:
            clock = time.monotonic()
            fresh = run.prompts(SCREENED)
            sizes = [GROUP - SCREENING] * len(passed) + [SCREENING] * SCREENED
            questions = [group[0] for group in passed] + fresh
            prompts = [prompt for prompt, size in zip(questions, sizes, strict=True) for _ in range(size)]
            prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
            out_ids, old_logp, out_mask = rollout(policy, prompt_ids, prompt_mask, run.end_token_id)
            sampled += len(prompts)
            sample_seconds += time.monotonic() - clock

            # The harness grades; the submission only learns right or wrong.
            clock = time.monotonic()
            scores = run.score(
                [(p.id, ids[:n]) for p, ids, n in zip(prompts, out_ids.tolist(), out_mask.sum(1).tolist(), strict=True)]
            )
            right = torch.tensor([float(score.correct) for score in scores])
            columns = [column.split(sizes) for column in (out_ids, old_logp, out_mask, right)]
            groups = list(zip(questions, *columns, strict=True))  # question, [size, T] three times, [size]
            for (prompt, *first), (_, *more) in zip(passed, groups[: len(passed)], strict=True):
                ready.append((prompt, *(torch.cat(pair) for pair in zip(first, more, strict=True))))
            passed = [group for group in groups[len(passed) :] if 0 < group[-1].mean() < 1]
            screening = scores[-SCREENED * SCREENING :]
            score_seconds += time.monotonic() - clock
        batch, ready = ready[:PROMPTS], ready[PROMPTS:]
        questions, *columns = zip(*batch, strict=True)
        out_ids, old_logp, out_mask, rewards = (torch.cat(column) for column in columns)
        prompts = [prompt for prompt in questions for _ in range(GROUP)]
        prompt_ids, prompt_mask = left_pad([prompt.token_ids for prompt in prompts], run.pad_token_id)
        lengths, rewards = out_mask.sum(1), rewards.view(PROMPTS, GROUP)
        advantages = group_advantages(rewards).flatten()

        # Learn: MINIBATCHES updates on completions alike in length within a minibatch, so that little is padding, the
        # minibatches in random order.
        clock = time.monotonic()
        log = {"clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        minibatches = lengths.argsort().chunk(MINIBATCHES)
        for i in torch.randperm(len(minibatches)).tolist():
            rows, longest = minibatches[i], int(lengths[minibatches[i]].max())
            mask, ids = out_mask[rows, :longest], out_ids[rows, :longest]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], ids, mask)
            logp = chosen(logps, ids)
            objective, clipped = clipped_objective(logp, old_logp[rows, :longest], advantages[rows])
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

        last = out_ids.gather(1, lengths[:, None] - 1)[:, 0]
        log |= {
            "reward": rewards.mean().item(),
            "accuracy": sum(score.correct for score in screening) / len(screening),
            "formatted": sum(score.formatted for score in screening) / len(screening),
            "length": lengths.float().mean().item(),
            "truncated": (last != run.end_token_id).float().mean().item(),
            "dead_groups": 1 - len(passed) / SCREENED,
            "sample_s": sample_seconds,
            "score_s": score_seconds,
            "learn_s": learn_seconds,
            "left_s": run.seconds_left(),
        }
        print(f"step {step + 1}/{STEPS} " + " ".join(f"{key} {value:.4g}" for key, value in log.items()), flush=True)
        while 10 * log["accuracy"] >= tenths + 1:
            tenths += 1
            seconds = time.monotonic() - begun
            print(f"accuracy {tenths / 10:g} after {seconds:.1f} s, {sampled} completions", flush=True)
    run.save(policy)


if __name__ == "__main__":
    main()
