"""Linear equations in one unknown: `Solve 3x + 7 = 22.`

The third puzzle of microR1. Its generator kept every solution positive and small, so that a handful
of constants paid; here the solution is uniform over 48 values and the sign is part of the work.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks


class Linear:
    name = "linear"
    distinct = 46_464  # 11 slopes × 48 solutions × 88 offsets; all texts differ
    slopes, solutions, offsets = (2, 12), (1, 24), (6, 49)  # least and greatest, of the last two without the sign

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        slope = stream.integer(*self.slopes)
        x = stream.integer(*self.solutions) * (1 if stream.integer(0, 1) else -1)
        offset = stream.integer(*self.offsets) * (1 if stream.integer(0, 1) else -1)
        sign = "+" if offset > 0 else "-"
        prompt = f"Solve {slope}x {sign} {abs(offset)} = {slope * x + offset}."
        return prompt, str(x), {"slope": slope, "offset": offset, "right": slope * x + offset}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), f"x={sample.target}", f"x = {sample.target}"]
