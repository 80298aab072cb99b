"""microR1's Josephus problem, question for question: for parity with its published result, never for a gate.

github.com/tyler-romero/microR1, logicpuzzles.py at 45fe0a8. Only 96 distinct questions: a look-up table, which
`josephus` mends. The question text is theirs; the draw and the grader are ours. The survivor of n people, counted
from 0, is J(n) = (J(n - 1) + k) mod n (Graham, Knuth & Patashnik, Concrete Mathematics, §3.3).
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.josephus import Josephus


class MicroR1Josephus(Josephus):
    name = "micror1-josephus"
    distinct = 96  # circles of 5 … 20, every 2nd … 7th person

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        n, k = stream.integer(5, 20), stream.integer(2, 7)
        survivor = 0
        for people in range(2, n + 1):
            survivor = (survivor + k) % people
        ordinal = {2: "2nd", 3: "3rd"}.get(k, f"{k}th")
        prompt = (
            f"Josephus problem: In a circle of {n} people numbered 1 through {n}, every {ordinal} person is eliminated "
            "in order until only one person remains. Which position should you stand in to be the last remaining "
            "person? Answer with a number."
        )
        return prompt, str(survivor + 1), {"n": n, "k": k}
