"""The Josephus problem, every second person, from any start: who is left?

The fourth puzzle of microR1, which had 96 distinct questions: a look-up table. Here the circle has
up to 150 people and counting may start anywhere. With n = 2^m + l the survivor is the person 2l
places after the start (Graham, Knuth & Patashnik, Concrete Mathematics, §1.3).
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks


class Josephus:
    name = "josephus"
    distinct = 11_280  # sum of n for n = 10 … 150
    people = (10, 150)  # least and greatest number

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        n = stream.integer(*self.people)
        start = stream.integer(1, n)
        left = 2 * (n - (1 << (n.bit_length() - 1)))
        survivor = (start - 1 + left) % n + 1
        prompt = f"{n} people in a circle. Start at {start}: skip one, remove one, and so on. Who is left?"
        return prompt, str(survivor), {"n": n, "start": start}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), str(int(sample.target) + sample.metadata["n"])]
