"""microR1's countdown, question for question: for parity with its published result, never for a gate.

github.com/tyler-romero/microR1, logicpuzzles.py at 45fe0a8: three numbers from 1 to 100 combined from left to
right, a division that does not come out becoming a product, targets from 1 to 1,000. One shape of expression is
therefore always enough, which `countdown` mends. The question text is theirs; the draw and the grader are ours:
theirs called `eval` on model output. Their prompt asked for the format in a system message; here a track's chat
template does.
"""

from __future__ import annotations

import operator
from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.countdown import Countdown

_APPLY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


class MicroR1Countdown(Countdown):
    name = "micror1-countdown"
    distinct = 1_374_423  # reachable ({a, b, c}, target) pairs, whatever the order; enumerated by the test

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            a, b, c = numbers = [stream.integer(1, 100) for _ in range(3)]
            inner = _operation(stream, a, b)
            middle = _APPLY[inner](a, b)
            outer = _operation(stream, middle, c)
            value = _APPLY[outer](middle, c)
            if 1 <= value <= 1000:
                break
        prompt = (
            f"Create an equation using only the numbers {numbers} that equals {value}. "
            "Use each number once with +, -, *, or /. Do not include an equals sign in the answer."
        )
        return prompt, f"({a}{inner}{b}){outer}{c}", {"numbers": numbers, "target": value}


def _operation(stream: Stream, left: int, right: int) -> str:
    op = stream.choice("+-*/")
    return "*" if op == "/" and left % right else op
