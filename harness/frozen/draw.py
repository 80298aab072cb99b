"""What a task is, and how its questions are drawn: a function of (key, split, index) alone.

A task never sees the model, the clock or the file system, so whoever holds the key can draw a question again years
later.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from struct import unpack
from typing import Any, Literal, Protocol

from harness.frozen.format import Sample

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")

# One question in four can only ever be held out. The side is a function of the question itself, so
# two keys can never put the same question on both sides: a table of training prompts is worthless.
HELDOUT_SHARE = 4
_words = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,:]").findall


class Task(Protocol):
    """One file, one screen."""

    name: str
    distinct: int  # how many different questions `draw` can make, both splits together

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        """(prompt, gold answer, metadata) from a stream of random integers."""

    def accepts(self, sample: Sample, answer: str) -> bool:
        """Is this answer right? Total: never raises and never hangs, whatever the string."""

    def attacks(self, sample: Sample) -> list[str]:
        """Answers that must score 0 on this sample: constants, echoes, shotguns, bombs."""


class Stream:
    """Uniform integers from HMAC-SHA256(key, label ‖ counter): the same on every Python.

    `random.Random` promises reproducibility for `random()` only, not for `randrange` or `shuffle`,
    and consecutive integer seeds have produced overlapping data sets elsewhere (reasoning-gym).
    """

    def __init__(self, key: bytes, label: str) -> None:
        self._inner, self._outer = _keyed(key)
        self._label, self._counter = label.encode(), 0
        self._pool: list[int] = []  # of the last block, the next one last

    def integer(self, low: int, high: int) -> int:
        """Uniform in [low, high], both ends included, at most 2**16 values."""
        width = high - low + 1
        limit = 65536 - 65536 % width
        while True:
            if not self._pool:
                self._pool = self._block()
            value = self._pool.pop()
            if value < limit:  # rejection: no modulo bias
                return low + value % width

    def _block(self) -> list[int]:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(self._label + self._counter.to_bytes(4, "big"))
        outer.update(inner.digest())
        self._counter += 1
        return list(unpack(">16H", outer.digest())[::-1])

    def choice(self, options: str) -> str:
        """One character of `options`."""
        return options[self.integer(0, len(options) - 1)]


@lru_cache(64)
def _keyed(key: bytes) -> tuple[Any, Any]:
    """HMAC's two hashes (RFC 2104), the key taken in. Going on from copies takes a third of the time of hmac.digest."""
    block = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def split_of(task: str, prompt: str) -> Split:
    """Which side a question lives on for ever, by the hash of its normalised text."""
    # Words sorted: `from 3, 7 and 8` and `from 8, 3 and 7` are the same question.
    normal = " ".join([task, *sorted(_words(prompt.lower()))])
    digest = sha256(normal.encode()).digest()
    return "heldout" if int.from_bytes(digest[:4], "big") % HELDOUT_SHARE == 0 else "train"


def sample(task: Task, key: bytes, split: Split, index: int) -> Sample:
    """Question number `index` of a key's endless list for one split.

    Pure. Draws from HMAC(key, task/index/attempt) until the question falls on the wanted side. A task that says it is
    `published` (a training set) has no held-out side: everyone may know it by heart, so all of it is trained on.
    """
    whole = split == "train" and getattr(task, "published", False)
    attempt = 0
    while True:
        prompt, target, metadata = task.draw(Stream(key, f"{task.name}/{index}/{attempt}/"))
        if whole or split_of(task.name, prompt) == split:
            return Sample(f"{task.name}/{index}", prompt, target, metadata)
        attempt += 1
