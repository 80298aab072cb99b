"""Phi-decoding as the sampler of the rollout (Xu et al. 2025, arXiv:2503.13288): steps are chosen by foresight.

Changed from baseline/train.py, in the order of the file:

- a question's 8 completions are a beam of BEAM = 4 paths with 2 continuations each. For the first FORESIGHTS steps of
  STEP_TOKENS tokens, each continuation is a candidate step, and what follows it to the end is its foresight;
- F is the mean log-prob of the foresight's tokens, and the advantage of a step A = F - F of the step before;
- C is the share of a question's candidates whose foresight is in the same cluster: k-means on TF-IDF of its tokens;
- the next beam is drawn without replacement by the weights (softmax(A / ADVANTAGE_TEMPERATURE) + softmax(C)) / 2; the
  foresights are thrown away, and each path of the beam goes on from its step, twice. The last beam goes on to the end;
- so the sampler is three loops: `extend` is the baseline's, begun at any token. Log-probs are those of the policy,
  which drew every token; that some were then chosen is not in them.
"""

import copy
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
BEAM = 4  # paths a question, each continued GROUP / BEAM times
STEP_TOKENS = 16
FORESIGHTS = 2  # steps that are chosen by foresight
CLUSTERS = 3
ADVANTAGE_TEMPERATURE = 0.1

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

    def take(self, rows: Tensor) -> None:
        self.store = self.store[:, :, rows]

    def get_seq_length(self, layer: int = 0) -> int:
        return self.used


def cluster_shares(counts: Tensor) -> Tensor:
    """Of each candidate, the share of its question's in its own cluster. [questions, G, V] counts -> [questions, G].

    Five rounds of k-means on TF-IDF vectors of length 1, from the first candidates of different paths.
    """
    rarity = ((1 + counts.shape[1]) / (1 + (counts > 0).sum(1, keepdim=True))).log() + 1
    vectors = nn.functional.normalize(counts * rarity, dim=-1)
    centres = vectors[:, :: GROUP // BEAM][:, :CLUSTERS]
    for _ in range(5):
        member = nn.functional.one_hot(torch.cdist(vectors, centres).argmin(-1), CLUSTERS).float()  # [questions, G, K]
        centres = member.transpose(1, 2) @ vectors / member.sum(1).clamp(min=1)[..., None]
    return (member @ member.mean(1)[..., None])[..., 0]


def choose(advantage: Tensor, share: Tensor) -> Tensor:
    """Draw each question's next beam. [questions, G] twice -> [rows], the row that each row goes on from."""
    weights = ((advantage / ADVANTAGE_TEMPERATURE).softmax(1) + share.softmax(1)) / 2
    picked = torch.multinomial(weights, BEAM) + torch.arange(len(weights))[:, None] * GROUP
    return picked.flatten().repeat_interleave(GROUP // BEAM)


def extend(
    model: nn.Module,
    cache: KVCache,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    out: list[Tensor],
    start: int,
    end_id: int,
) -> None:
    """Sample tokens `start` and later of each completion until all have ended, in place.

    `out`: ids, log-probs and mask, each [rows, MAX_NEW_TOKENS]; what they hold from `start` on is overwritten.
    """
    rows, width = prompt_ids.shape
    lowest = torch.finfo(torch.float32).min
    out_ids, out_logp, out_mask = out
    out_ids[:, start:], out_logp[:, start:], out_mask[:, start:] = end_id, 0.0, 0
    alive = (out_ids[:, :start] != end_id).all(1)
    if not alive.any():
        return

    length = prompt_mask.sum(1)
    seen = torch.cat([prompt_mask, torch.ones(rows, MAX_NEW_TOKENS, dtype=torch.long)], 1).bool()
    if start:  # the last token before `start` is not in the cache, or is that of a foresight
        cache.used = width + start - 1
        ids, positions = out_ids[:, start - 1 : start], (length + start - 1)[:, None]
        mask = seen[:, None, : width + start]
    else:
        ids, positions = prompt_ids, (prompt_mask.cumsum(1) - 1).clamp(min=0)
        mask = seen[:, None, :width] & torch.ones(width, width, dtype=torch.bool).tril()  # [rows, query, key]
    for t in range(start, MAX_NEW_TOKENS):
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


@torch.inference_mode()
def rollout(model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, end_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one completion a row, GROUP rows a question: ids, log-probs and mask, each [rows, T].

    The mask is 1 up to and including the end token. Log-probs are those of the policy at each token.
    """
    rows, width = prompt_ids.shape
    cache = KVCache(model.config, rows, width + MAX_NEW_TOKENS)
    out = [torch.full((rows, MAX_NEW_TOKENS), end_id), torch.zeros(rows, MAX_NEW_TOKENS)]
    out.append(torch.zeros(rows, MAX_NEW_TOKENS, dtype=torch.long))
    value = torch.zeros(rows)  # F of the step before
    for start in range(0, FORESIGHTS * STEP_TOKENS, STEP_TOKENS):
        extend(model, cache, prompt_ids, prompt_mask, out, start, end_id)
        ids, logp, mask = (tensor[:, start + STEP_TOKENS :] for tensor in out)
        tokens = mask.sum(1)
        # A completion that ended in the step has no foresight: there F is the mean over all its tokens.
        whole = out[1].sum(1) / out[2].sum(1)
        foresight = torch.where(tokens > 0, logp.sum(1) / tokens.clamp(min=1), whole)
        counts = torch.zeros(rows, model.config.vocab_size).scatter_add_(1, ids, mask.float())
        advantage, counts = (foresight - value).view(-1, GROUP), counts.view(-1, GROUP, model.config.vocab_size)
        parents = choose(advantage, cluster_shares(counts))
        cache.take(parents)
        out, value = [tensor[parents] for tensor in out], foresight[parents]
    extend(model, cache, prompt_ids, prompt_mask, out, FORESIGHTS * STEP_TOKENS, end_id)
    longest = int(out[2].sum(1).max())
    return out[0][:, :longest], out[1][:, :longest], out[2][:, :longest]


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

        # Learn: the reference's log-probs once, then MINIBATCHES updates over shuffled completions.
        clock = time.monotonic()
        with torch.no_grad():
            ref_logp = chosen(forward(reference, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
        log = {"kl": 0.0, "clipped": 0.0, "entropy": 0.0, "grad_norm": 0.0}
        for rows in torch.randperm(len(prompts)).chunk(MINIBATCHES):
            mask = out_mask[rows]
            logps = forward(policy, prompt_ids[rows], prompt_mask[rows], out_ids[rows], mask)
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
