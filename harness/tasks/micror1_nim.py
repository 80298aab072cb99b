"""microR1's single-pile nim, question for question: for parity with its published result, never for a gate.

github.com/tyler-romero/microR1, logicpuzzles.py at 45fe0a8. Only 92 distinct questions: a look-up table. The
constant 2 is right for nearly half of them. Positions that cannot be won are asked too, and the gold answer is then
to take as many as allowed. `nim` mends all three. The question text and the gold rule are theirs; the draw and the
grader are ours.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.nim import Nim


class MicroR1Nim(Nim):
    name = "micror1-nim"
    distinct = 92  # piles of 5 … 50, limits 2 and 3

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        pile, limit = stream.integer(5, 50), stream.integer(2, 3)
        take = pile % (limit + 1) or limit
        prompt = (
            f"In Nim with {pile} stones, taking between 1 and {limit} per turn, what is the optimal number of stones "
            "you should take when moving first? Answer with a number."
        )
        return prompt, str(take), {"pile": pile, "limit": limit}
