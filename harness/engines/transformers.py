"""Greedy decoding with transformers, on whatever device torch has: token ids in, token ids out.

The engine contract is harness.frozen.evaluation.Generate: `generate(folder, weights, prompts, …)` loads the base
model's code and configuration from `folder`, which is the track's, and only the tensors from `weights`. float32
throughout: an evaluation that runs once can afford it, and greedy argmax is then as stable across batch shapes as it
gets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class KVCache:
    """Keys and values in buffers allocated once; `update` returns views of the part in use.

    The three methods that transformers' attention layers call on a cache, without its concatenation
    (quadratic copying) or its static cache (attention over the unused tail). Rows can be dropped when
    their sequence has ended.
    """

    is_compileable = False

    def __init__(self, layers: int, rows: int, heads: int, length: int, width: int, like: torch.Tensor) -> None:
        self.store = like.new_empty(layers, 2, rows, heads, length, width)
        self.used = 0

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.used + keys.shape[2]
        self.store[layer, 0, :, :, self.used : end] = keys
        self.store[layer, 1, :, :, self.used : end] = values
        if layer == len(self.store) - 1:
            self.used = end
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        return self.used

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self.store = self.store[:, :, rows]


def generate(
    folder: Path,
    weights: bytes,
    prompts: list[list[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    batch: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """The greedy completion of each prompt, end token included if it came within `max_new_tokens`.

    `weights` is a checked safetensors file (see harness.frozen.checkpoint). `on_progress` hears at each step how many
    prompts are done.
    """
    import torch
    from safetensors.torch import load
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, attn_implementation="eager", trust_remote_code=False
    )
    missing, unexpected = model.load_state_dict(load(weights), strict=False)
    untied = set(missing) - set(model.all_tied_weights_keys)
    if unexpected or untied:
        raise ValueError(f"the weights do not fit {folder}: unexpected {unexpected}, missing {sorted(untied)}")
    model.to("cuda" if torch.cuda.is_available() else "cpu", torch.float32).eval()

    # Similar lengths together: little padding, and batches of one task end together.
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    done: list[list[int]] = [[] for _ in prompts]
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]

            def on_step(ended: int, start: int = start) -> None:
                on_progress(start + ended)

            completions = _greedy(model, [prompts[i] for i in rows], end_id, max_new_tokens, on_step)
            for i, ids in zip(rows, completions, strict=True):
                done[i] = ids
            on_progress(start + len(rows))
    return done


def _greedy(
    model: Any, prompts: list[list[int]], end_id: int, max_new_tokens: int, on_step: Callable[[int], None]
) -> list[list[int]]:
    """One batch, left-padded. Rows leave the batch once a quarter of it has ended. `on_step`: how many have ended."""
    import torch

    device, config = model.device, model.config
    rows, width = len(prompts), max(map(len, prompts))
    ids = torch.full((rows, width), end_id, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
    length = torch.tensor([len(prompt) for prompt in prompts], device=device)
    real = torch.arange(width + max_new_tokens, device=device) >= (width - length)[:, None]  # [rows, width + new]
    cache = KVCache(
        config.num_hidden_layers,
        rows,
        config.num_key_value_heads,
        width + max_new_tokens,
        config.head_dim,
        torch.empty(0, device=device),
    )
    lowest = torch.finfo(torch.float32).min
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    allowed = causal & real[:, None, :width]  # [rows, query, key]
    positions = (torch.arange(width, device=device) - (width - length)[:, None]).clamp(min=0)
    mask = torch.where(allowed, 0.0, lowest)[:, None]

    out = torch.full((rows, max_new_tokens), -1, device=device)
    alive, ended = torch.arange(rows, device=device), torch.zeros(rows, dtype=torch.bool, device=device)
    for step in range(max_new_tokens):
        hidden = model.model(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state
        token = model.lm_head(hidden[:, -1]).argmax(-1)
        out[alive, step] = token
        ended |= token == end_id  # such a row goes on until it leaves, and what it says then is cut off
        left = int((~ended).sum())
        on_step(rows - left)
        if left == 0:
            break
        if left <= 0.75 * len(alive):
            rows_kept = (~ended).nonzero()[:, 0]
            alive, ended, token, real, length = (each[rows_kept] for each in (alive, ended, token, real, length))
            cache.keep(rows_kept)
        ids = token[:, None]
        positions = (length + step)[:, None]
        mask = torch.where(real[:, None, None, : width + step + 1], 0.0, lowest)

    completions = []
    for row in out.tolist():
        end = row.index(end_id) + 1 if end_id in row else len(row)
        completions.append(row[:end])
    return completions
