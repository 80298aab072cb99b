"""The Josephus problem, every second person, with 151 to 2,000 people: larger than `josephus` trains on.

The words and the rule are those of harness/tasks/josephus.py.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.josephus import Josephus


class JosephusHard(Josephus):
    name = "josephus-hard"
    distinct = 1_989_675  # sum of n for n = 151 … 2000

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        n = stream.integer(151, 2000)
        start = stream.integer(1, n)
        left = 2 * (n - (1 << (n.bit_length() - 1)))
        survivor = (start - 1 + left) % n + 1
        prompt = f"{n} people in a circle. Start at {start}: skip one, remove one, and so on. Who is left?"
        return prompt, str(survivor), {"n": n, "start": start}
