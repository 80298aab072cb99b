"""Token ids to a score: a track's tokenizer around its tasks. Training, evaluation and audit all grade here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.frozen.draw import Task
from harness.frozen.errors import FrozenError
from harness.frozen.format import Sample, Score, score


class TokenizerError(FrozenError):
    """The base model's folder has no tokenizer that fits the track; the message says why."""


@dataclass(frozen=True)
class Graded:
    """`truncated`: the end token never came. Such a completion is neither correct nor formatted."""

    score: Score
    truncated: bool


class Grader:
    """THE grader of a track. Total, and pure.

    folder: the base model's, with tokenizer.json and tokenizer_config.json. template: the chat template, with
    `{prompt}`. Raises TokenizerError.
    """

    def __init__(self, folder: Path, template: str, end_token: str, tasks: Mapping[str, Task]) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            pad_token = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["pad_token"]
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"{folder}: no usable tokenizer there: {error}") from None
        self.tasks, self._template = tasks, template
        self.vocabulary: int = self._tokenizer.get_vocab_size()  # a model may have more ids: they are no token
        self.end_id, self.pad_id = self._id(end_token), self._id(pad_token)

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise TokenizerError(f"the track's tokenizer has no token {token!r}")
        return found

    def prompt_ids(self, item: Sample) -> list[int]:
        """The question as token ids, the track's chat template applied."""
        return self.text_ids(self._template.format(prompt=item.prompt))

    def text_ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text_of(self, token_ids: Sequence[int]) -> str | None:
        """What is graded of a completion, given as the model sampled it, end token included; None if that never came.

        The end token stands once, at the end, and every id before it is one of the tokenizer's, which would skip any
        other in silence: a completion that breaks this has no text, and so no format. Special tokens before the end are
        text like any other, so they break the format rather than vanish.
        """
        if self.end_id not in token_ids:
            return None
        body = token_ids[:-1]
        if token_ids[-1] != self.end_id or self.end_id in body:
            return ""
        if body and not (min(body) >= 0 and max(body) < self.vocabulary):
            return ""
        # One at a time: as fast as a batch for these lengths, and it starts no threads in a process that forks.
        return str(self._tokenizer.decode(body, skip_special_tokens=False))

    def grade(self, item: Sample, token_ids: Sequence[int]) -> Graded:
        text = self.text_of(token_ids)
        return Graded(score(self.tasks[item.task], item, text or ""), truncated=text is None)

    def grade_all(self, items: Iterable[Sample], completions: Iterable[Sequence[int]]) -> list[Graded]:
        """`grade` for each pair. Raises ValueError if one list is longer than the other."""
        return [self.grade(item, ids) for item, ids in zip(items, completions, strict=True)]
