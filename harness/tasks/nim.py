"""Single-pile nim, normal and misère: how many stones must the first player take to win?

The second puzzle of microR1, which had 92 distinct questions: a look-up table. Here the pile has up
to three digits, the limit varies, and the last stone wins or loses. Every position drawn is winnable.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks


class Nim:
    name = "nim"
    distinct = 11_575  # winnable (pile, limit, rule) triples; enumerated by the test
    piles, limits = (20, 999), (3, 9)  # least and greatest

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            pile, limit = self.draw_pile(stream), stream.integer(*self.limits)
            misere = bool(stream.integer(0, 1))
            # Leave a multiple of limit+1 (normal), or one more than a multiple (misère).
            take = (pile - misere) % (limit + 1)
            if take:
                break
        rule = "loses" if misere else "wins"
        prompt = f"Nim: {pile} stones, take 1 to {limit}, the last stone {rule}. Take how many first?"
        return prompt, str(take), {"pile": pile, "limit": limit, "misere": misere}

    def draw_pile(self, stream: Stream) -> int:
        return stream.integer(*self.piles)

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), str(int(sample.target) + sample.metadata["limit"] + 1)]
