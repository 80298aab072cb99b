"""Linear equations with x on both sides and larger numbers: `Solve 37x - 412 = 12x + 338.`

Two sizes above what `linear` trains on, in the same words.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.linear import Linear


class LinearHard(Linear):
    name = "linear-hard"
    # 8,439 slopes × 600 solutions × 1,900 offsets, less 1,080,812 with no offset on the right; all texts differ
    distinct = 8_439 * 600 * 1_900 - 1_080_812
    slopes, solutions, offsets = (13, 99), (1, 300), (50, 999)
    slopes_on_the_right = (2, 99)

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            left, right = stream.integer(*self.slopes), stream.integer(*self.slopes_on_the_right)
            x = stream.integer(*self.solutions) * (1 if stream.integer(0, 1) else -1)
            offset = stream.integer(*self.offsets) * (1 if stream.integer(0, 1) else -1)
            moved = (left - right) * x + offset  # the offset on the right
            if left != right and moved:
                break
        prompt = f"Solve {left}x {_signed(offset)} = {right}x {_signed(moved)}."
        return prompt, str(x), {"slopes": [left, right], "offsets": [offset, moved]}


def _signed(offset: int) -> str:
    return f"{'+' if offset > 0 else '-'} {abs(offset)}"
