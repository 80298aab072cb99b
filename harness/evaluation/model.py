"""A model that transformers can load, asked the questions of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import NanoR1Error
from harness.evaluation.questions import Item

SAMPLING = {"temperature": 0.6, "top_p": 0.95}  # where a question is answered several times (AIME); once is greedy
# What a chat model is told below a question. The track's own chat template says it for the model of a track.
FORMAT = (
    "Think first, inside <think> and </think>. Then give the answer and nothing else inside <answer> and </answer>."
)


class EvaluationError(NanoR1Error):
    """A model or a file of samples that cannot be used; the message says what to do."""


class Model:
    """A transformers model in a folder, or by name on the Hub, on whatever device torch has.

    `bare`: the question alone, as the CPU track's base was trained on it, without a word on the form of an answer.
    """

    def __init__(self, folder: str, *, bare: bool, max_new_tokens: int, seed: int = 0) -> None:
        import torch

        self.tokenizer, self.model = _load(folder)
        torch.manual_seed(seed)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.bare, self.max_new_tokens = bare, max_new_tokens
        end = self.model.generation_config.eos_token_id or self.tokenizer.eos_token_id
        self.end_ids = set(end) if isinstance(end, list) else {end}

    def prompt(self, item: Item) -> str:
        asked = f"{item.sample.prompt}\n\n{FORMAT} {item.kind.ask(item.sample)}".rstrip()
        text = item.sample.prompt if self.bare else asked
        if self.tokenizer.chat_template is None:
            return f"{text}\n"
        messages = [{"role": "user", "content": text}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def answer(self, items: Sequence[Item], samples: int) -> list[list[list[int]]]:
        """For each question `samples` completions as token ids, up to and with the end token."""
        import torch

        texts = [self.prompt(item) for item in items]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(self.model.device)
        how: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if samples > 1:
            how = {"do_sample": True, "top_k": 0, **SAMPLING}
        with torch.inference_mode():
            out = self.model.generate(
                **inputs, **how, num_return_sequences=samples, max_new_tokens=self.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
        rows = [self._up_to_the_end(ids) for ids in out[:, inputs["input_ids"].shape[1] :].tolist()]
        return [rows[i * samples : (i + 1) * samples] for i in range(len(items))]

    def _up_to_the_end(self, ids: list[int]) -> list[int]:
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return ids[: ends[0] + 1] if ends else ids

    def text(self, ids: list[int]) -> str:
        body = ids[:-1] if ids and ids[-1] in self.end_ids else ids
        return str(self.tokenizer.decode(body, skip_special_tokens=False))


def _load(folder: str) -> tuple[Any, Any]:
    """(tokenizer, model) as transformers loads them, on whatever device torch has.

    transformers fills weights that are missing, or that the config asks for in another shape, with random numbers, and
    passes over those that the config has no place for: what such a model answers is nobody's score.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # of any class: its files are read by whatever code their fields name
        why = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise EvaluationError(f"{folder} is no model that transformers can load: {why}") from None
    model, report = loaded
    if unfit := _unfit(report):
        raise EvaluationError(
            f"{folder}: its weights do not fit its config.json: {unfit}; put both there from the same model"
        )
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _unfit(report: dict[str, Any]) -> str:
    """What transformers reports of weights and config that do not fit, a few names of each kind; empty if they do."""
    faults = {
        "missing": sorted(report["missing_keys"]),
        "of another shape": sorted(
            f"{name} {list(actual)}, not {list(expected)}" for name, actual, expected in report["mismatched_keys"]
        ),
        "without a place": sorted(report["unexpected_keys"]),
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:2])}{', …' if names[2:] else ''})"
        for what, names in faults.items()
        if names
    )
