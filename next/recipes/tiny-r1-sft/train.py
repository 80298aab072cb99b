"""Tiny R1's plain fine-tuning (github.com/MannanB/TinyR1, 2025): low-rank adapters imitate the traces, and that is all.

Changed from baseline-deduction/train.py, in the order of the file:

- no RL after the warm-up: no rollouts, rewards, policy loss, KL or sampler. The loss is the mean over a batch's
  completion tokens of -log pi(token), as in the warm-up of the baseline;
- only low-rank adapters of the query, value, up and down projections are trained: W + (ALPHA / RANK) B A, with B = 0
  at first and at rank 32. They are merged into W at the end;
- the learning rate rises for RISING updates before it falls to zero, and is that of adapters;
- AdamW with betas (0.9, 0.999); gradients are not clipped.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from harness.client import Trace, connect

# ---------------------------------------------------------------- constants

WARMUP_EPOCHS = 2  # passes over the traces
WARMUP_ROWS = 8  # traces an update
RANK = 32  # of the adapters
ALPHA = 64  # the adapters' update counts ALPHA / RANK times

WARMUP_LEARNING_RATE = 2e-3  # of the adapters; rises, then decays linearly to zero
RISING = 16  # updates in which it rises
BETAS = (0.9, 0.999)
WEIGHT_DECAY = 0.0

# ---------------------------------------------------------------- losses: pure functions on tensors


def cross_entropy(logp: Tensor, mask: Tensor) -> Tensor:
    """What a trace's tokens cost, the mean over all tokens of the batch. [rows, T], [rows, T] -> scalar."""
    return -(logp * mask).sum() / mask.sum()


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
    return model.lm_head(hidden[:, prompt_ids.shape[1] - 1 :]).log_softmax(-1)


def chosen(logps: Tensor, out_ids: Tensor) -> Tensor:
    """Log-prob of each token. [rows, T, V], [rows, T] -> [rows, T]."""
    return logps.gather(-1, out_ids[..., None])[..., 0]


def left_pad(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Lists of ids -> ids and mask, each [rows, longest]."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def right_pad(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """The same with the padding at the end, for completions."""
    ids, mask = left_pad([row[::-1] for row in rows], pad_id)
    return ids.flip(1), mask.flip(1)


# ---------------------------------------------------------------- the warm-up


def warm_up(policy: nn.Module, traces: list[Trace], pad_id: int) -> None:
    """Imitate the traces, all of them as often as one another."""
    adapters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(adapters, WARMUP_LEARNING_RATE, BETAS, weight_decay=WEIGHT_DECAY)
    clock, done, updates = time.monotonic(), 0, WARMUP_EPOCHS * -(-len(traces) // WARMUP_ROWS)
    for epoch in range(WARMUP_EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(traces)).split(WARMUP_ROWS):
            share = min((done + 1) / RISING, (updates - done) / (updates - RISING))
            for parameters in optimizer.param_groups:
                parameters["lr"] = WARMUP_LEARNING_RATE * share
            prompt_ids, prompt_mask = left_pad([traces[i].prompt_ids for i in rows], pad_id)
            out_ids, out_mask = right_pad([traces[i].token_ids for i in rows], pad_id)
            logp = chosen(forward(policy, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
            loss = cross_entropy(logp, out_mask)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            total += loss.item() * len(rows) / len(traces)
        print(f"warm-up {epoch + 1}/{WARMUP_EPOCHS} loss {total:.4g} {time.monotonic() - clock:.4g} s", flush=True)


# ---------------------------------------------------------------- all of it


def main() -> None:
    run = connect()
    torch.manual_seed(run.seed)
    policy = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32, attn_implementation="eager")
    replace(policy.requires_grad_(False), LowRank)
    warm_up(policy, run.warmup(), run.pad_token_id)
    replace(policy, LowRank.merged)
    run.save(policy)


if __name__ == "__main__":
    main()
