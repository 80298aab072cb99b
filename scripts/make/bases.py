"""What the scripts that make the small base models share: special tokens, tokenizer, shape of the model, training."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = "<|user|>{prompt}<|assistant|>"
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
LR_MUON, LR_ADAM = 0.02, 3e-3


def train_tokenizer(pieces: Sequence[pre_tokenizers.PreTokenizer], texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the texts, which `pieces` cut up first; then the tags, a token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(list(pieces))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,  # more than is needed: every word or phrase becomes one token, and training stops there
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(TAGS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template="{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    )


def digits_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Digits and punctuation stand alone, so numbers are read digit by digit."""
    pieces = [
        pre_tokenizers.Split(Regex(r"[-+*/%=();:,.]"), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    return train_tokenizer(pieces, texts)


def encode(tokenizer: PreTrainedTokenizerFast, pieces: Iterable[tuple[str, bool]]) -> tuple[list[int], list[int]]:
    """(ids, labels) of (text, is it to be learnt?); labels are -100 where it is not."""
    ids, labels = list[int](), list[int]()
    for text, learnt in pieces:
        some = tokenizer.encode(text)
        ids += some
        labels += some if learnt else [-100] * len(some)
    return ids, labels


def padded(
    rows: list[tuple[list[int], list[int]]], size: int, pad_id: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows, of (ids, labels), in batches of similar lengths in any order: each [size, length], right-padded."""
    rows.sort(key=lambda row: len(row[0]))
    for first in rng.sample(range(0, len(rows), size), len(rows) // size):
        chosen = rows[first : first + size]
        both = torch.full((2, size, len(chosen[-1][0])), -100)
        both[0] = pad_id
        for row, (ids, labels) in enumerate(chosen):
            both[0, row, : len(ids)], both[1, row, : len(ids)] = torch.tensor(ids), torch.tensor(labels)
        yield both[0], both[1]


def random_llama(
    tokenizer: PreTrainedTokenizerFast, width: int, layers: int, heads: int, hidden: int, attention: str
) -> LlamaForCausalLM:
    """A Llama with random weights in float32; `attention` is transformers' attn_implementation."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=1 / math.sqrt(width),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation=attention, dtype=torch.float32)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal (Jordan et al. 2024), in float32 (torch's own is in bfloat16, slow on many CPUs)."""

    def __init__(self, matrices: list[nn.Parameter], lr: float) -> None:
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 0.05)
                update = orthogonal(matrix.grad.lerp(momentum, 0.95))
                matrix.add_(update, alpha=-group["lr"] * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """With its singular values near 1, by five quintic Newton-Schulz steps, Jordan's coefficients."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the tokens that are learnt. [rows, length], [rows, length] -> scalar."""
    hidden = model.model(ids[:, :-1]).last_hidden_state
    learnt = labels[:, 1:] != -100
    return nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[:, 1:][learnt])


def train(
    model: LlamaForCausalLM,
    texts: Iterator[tuple[torch.Tensor, torch.Tensor]],
    updates: int,
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """Muon on the matrices, AdamW on embeddings and norms; the rates rise over 100 updates, then fall to zero.

    Prints every hundredth update; calls `after` with the number of updates done.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [Muon(matrices, LR_MUON), torch.optim.AdamW(others, LR_ADAM, (0.9, 0.98), weight_decay=0.0)]
    begun, average = time.monotonic(), 0.0
    for done, (ids, labels) in zip(range(updates), texts, strict=False):
        rate = min(1.0, (done + 1) / 100) * (1 - done / updates)
        for optimizer, peak in zip(optimizers, (LR_MUON, LR_ADAM), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        loss = loss_of(model, ids, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        average = loss.item() if done == 0 else 0.98 * average + 0.02 * loss.item()
        if done % 100 == 99:
            seconds = (time.monotonic() - begun) / (done + 1)
            print(f"{done + 1}/{updates} loss {average:.3f} {seconds:.2f} s/update", flush=True)
        after(done + 1)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # the sandbox user reads it


def generate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str], **options: object
) -> list[str]:
    """What the model writes after each text, at most 112 tokens, special tokens included."""
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    inputs.pop("token_type_ids", None)
    out = model.generate(**inputs, max_new_tokens=112, pad_token_id=tokenizer.pad_token_id, **options)
    return tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :])
