"""microR1's linear equations, question for question: for parity with its published result, never for a gate.

github.com/tyler-romero/microR1, logicpuzzles.py at 45fe0a8: 21 solutions, so a constant is right one time in 21.
The question text is theirs; the draw and the grader are ours: theirs took whatever `float` takes, `7.0` or `٧`.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.linear import Linear


class MicroR1Linear(Linear):
    name = "micror1-linear"
    distinct = 105_000  # 50 slopes × 21 solutions × 100 offsets; all texts differ

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            x, slope, offset = stream.integer(-10, 10), stream.integer(1, 50), stream.integer(-50, 50)
            if offset:
                break
        right = slope * x + offset
        prompt = (
            f"Solve for x in the equation: {slope}x {'+' if offset > 0 else '-'} {abs(offset)} = {right}\n"
            "Answer with just the number (the value of x)."
        )
        return prompt, str(x), {"slope": slope, "offset": offset, "right": right}
