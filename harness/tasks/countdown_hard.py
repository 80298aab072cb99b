"""Countdown with four numbers and a target of three digits: two sizes above what `countdown` trains on.

Any tree over the four numbers may be the gold one; results on the way are whole numbers from 1 to 999.
The grammar and the exact fractions of harness/tasks/countdown.py grade the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample
from harness.tasks.countdown import Countdown, whole


class CountdownHard(Countdown):
    name = "countdown-hard"
    distinct = 15_068_093  # reachable ({a, b, c, d}, target) pairs, whatever the order; enumerated by a long test
    numbers, middles, targets = (2, 50), (1, 999), (100, 999)

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            numbers = [stream.integer(*self.numbers) for _ in range(4)]
            drawn = self._combine(stream, numbers)
            if drawn is not None:
                break
        target, gold = drawn
        w, x, y, z = numbers
        prompt = f"Make {target} from {w}, {x}, {y} and {z}, each used once."
        return prompt, gold, {"numbers": numbers, "target": target}

    def _combine(self, stream: Stream, numbers: list[int]) -> tuple[int, str] | None:
        """Join two parts drawn at random until one is left: (value, expression), or None if a value will not do."""
        parts = [(number, str(number)) for number in numbers]
        while len(parts) > 1:
            left = parts.pop(stream.integer(0, len(parts) - 1))
            right = parts.pop(stream.integer(0, len(parts) - 1))
            op = stream.choice("+-*/")
            value = whole(op, left[0], right[0])
            if value is None or not self.middles[0] <= value <= self.middles[1]:
                return None
            parts.append((value, f"({left[1]}{op}{right[1]})"))
        value, gold = parts[0]
        return (value, gold[1:-1]) if self.targets[0] <= value <= self.targets[1] else None

    def attacks(self, sample: Sample) -> list[str]:
        w, x, y, z = sample.metadata["numbers"]
        of_three = super().attacks(replace(sample, metadata={**sample.metadata, "numbers": [x, y, z]}))
        return [
            *of_three, f"{w}{x}{y}{z}", f"{w}<{x}<{y}<{z}", f"{w} or {x} or {y} or {z}", f"{w}**{x}**{y}**{z}",
            f"{w} {x} {y} {z}", f"{w}/({x}-{x})/{y}/{z}", f"{sample.target}+{w}-{w}",
        ]  # fmt: skip
