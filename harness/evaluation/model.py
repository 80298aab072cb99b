"""A model that transformers can load, asked the questions of a suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import NanoR1Error
from harness.evaluation.questions import Item

SAMPLING = {"temperature": 0.6, "top_p": 0.95}  # where a question is answered several times (AIME); once is greedy
# What a chat model is told below a question. The track's own chat template says it for the model of a track.
FORMAT = (
    "Think first, inside <think> and </think>. Then give the answer and nothing else inside <answer> and </answer>."
)


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class EvaluationError(NanoR1Error):
    """A model or a file of samples that cannot be used; the message says what to do."""


class Model:
    """A transformers model in a folder, or by name on the Hub, on whatever device torch has.

    `bare`: the question alone, as the CPU track's base was trained on it, without a word on the form of an answer.
    """

    prefill = ""  # what the chat template begins each answer with, from `<think>` on

    def __init__(self, folder: str, *, bare: bool, max_new_tokens: int, seed: int = 0) -> None:
        import torch

        self.tokenizer, self.model = _load(folder)
        self.prefill = _prefill(self.tokenizer)
        torch.manual_seed(seed)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.bare, self.max_new_tokens = bare, max_new_tokens
        end = self.model.generation_config.eos_token_id or self.tokenizer.eos_token_id
        self.end_ids = set(end) if isinstance(end, list) else {end}

    def prompt(self, item: Item) -> str:
        asked = f"{item.sample.prompt}\n\n{FORMAT} {item.kind.ask(item.sample)}".rstrip()
        text = item.sample.prompt if self.bare else asked
        return f"{text}\n" if self.tokenizer.chat_template is None else _rendered(self.tokenizer, text)

    def answer(
        self, items: Sequence[Item], samples: int, on_step: Callable[[int], None] = lambda tokens: None
    ) -> list[list[list[int]]]:
        """For each question `samples` completions as token ids, up to and with the end token.

        `on_step` is told how many tokens the longest of them has by now.
        """
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
                stopping_criteria=[_never_stop(on_step, inputs["input_ids"].shape[1])],
            )  # fmt: skip
        rows = [self._up_to_the_end(ids) for ids in out[:, inputs["input_ids"].shape[1] :].tolist()]
        return [rows[i * samples : (i + 1) * samples] for i in range(len(items))]

    def _up_to_the_end(self, ids: list[int]) -> list[int]:
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return ids[: ends[0] + 1] if ends else ids

    def text(self, ids: list[int]) -> str:
        """What is graded: with the `<think>` that the template wrote for the model, without the end token."""
        body = ids[:-1] if ids and ids[-1] in self.end_ids else ids
        return self.prefill + str(self.tokenizer.decode(body, skip_special_tokens=False))


def _rendered(tokenizer: Any, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _prefill(tokenizer: Any) -> str:
    """The thought that a chat template opens for the model, or opens and closes; empty for most.

    DeepSeek-R1's and QwQ's templates end in `<think>` and a new line, Qwen3's without thinking in an empty thought. The
    completion goes on from there, and by itself would be in no answer's format: its thought never began.
    """
    if tokenizer.chat_template is None:
        return ""
    marker = "the question"
    _, opened, rest = _rendered(tokenizer, marker).rpartition(marker)[2].rpartition("<think>")
    if rest.rstrip().endswith("</think>"):
        return opened + rest.rstrip()  # the model may put white space of its own before the answer
    return "" if rest.strip() else opened + rest


def _never_stop(on_step: Callable[[int], None], prompt_tokens: int) -> Callable[..., Any]:
    """A stopping criterion of transformers that only looks on."""
    import torch

    def criterion(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        on_step(ids.shape[1] - prompt_tokens)
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

    return criterion


# ---------------------------------------------------------------- where it is


def check_model(name: str) -> bool:
    """Is there such a model, in a folder or on the Hub? Asked before anything that takes long. True: all of it is here.

    Raises EvaluationError, a sentence for each way in which it is not.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise EvaluationError(
                f"{name} has no config.json",
                advice="with --suite, name a folder that holds a whole model: config.json, tokenizer and weights",
            )
        return True
    if path.exists():
        raise EvaluationError(f"{name} is a file", advice="with --suite, name the folder that holds the whole model")
    if not _HUB_NAME.fullmatch(name):
        raise EvaluationError(
            f"there is no folder {name}", advice="--model takes a folder, or a model's name on the Hub, owner/name"
        )
    return _is_in_the_cache(name)


def _is_in_the_cache(name: str) -> bool:
    """Ask the Hub, once: transformers would try each file six times."""
    import httpx
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    from harness.benchmarks import remote

    try:
        HfApi(endpoint=remote.endpoint()).model_info(name, timeout=remote.TIMEOUT_SECONDS)
    except RepositoryNotFoundError:
        raise EvaluationError(
            f"there is no folder {name}, and {remote.endpoint()} has no public model of that name",
            advice="look for a typing error; a private model needs HF_TOKEN",
        ) from None
    except (httpx.HTTPError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return True
        reason = "HF_HUB_OFFLINE is set" if remote.offline() else " ".join(str(error).split())[:200]
        raise EvaluationError(
            f"there is no folder {name}, and {remote.endpoint()} cannot be asked for a model of that name ({reason})",
            advice="check the path, or the connection",
        ) from None
    return False


def _load(folder: str) -> tuple[Any, Any]:
    """(tokenizer, model) as transformers loads them, on whatever device torch has. Raises EvaluationError.

    transformers fills weights that are missing, or that the config asks for in another shape, with random numbers, and
    passes over those that the config has no place for: what such a model answers is nobody's score.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    here = check_model(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=here)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=here
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
