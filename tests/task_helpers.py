"""What the tests of tasks share: completions around answers, text that no answer is, and all questions of a task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.frozen.draw import Stream, Task

PIECES = [
    *"0123456789+-*/() ", "<think>", "</think>", "<answer>", "</answer>", "\n", "٣", "３", "²", "½", "⁄", "−", "\u200b",
    "\x00", "\ud800", "**", "//", "1e9", "9" * 50, "(" * 30, "inf", "nan", "True", "0x1", "1_0", "é",
]  # fmt: skip


def completion(answer: str, thought: str = "so") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


class Rejected(Exception):
    """The draw would start over."""


class OneAttempt(Stream):
    """Replays the choices of `path`, then takes the first of each; notes how many choices there were."""

    def __init__(self, path: list[int], length: int) -> None:
        self.path, self.length, self.widths = path, length, list[int]()

    def integer(self, low: int, high: int) -> int:
        depth = len(self.widths)
        if depth == self.length:
            raise Rejected
        if depth == len(self.path):
            self.path.append(0)
        self.widths.append(high - low + 1)
        return low + self.path[depth]


def every_question(task: Task, length: int) -> Iterator[str]:
    """Each prompt that `draw` can make, by walking the tree of the `length` random integers of an attempt."""
    path: list[int] = []
    while True:
        stream = OneAttempt(path, length)
        with contextlib.suppress(Rejected):
            yield task.draw(stream)[0]
        while path and path[-1] == stream.widths[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1
