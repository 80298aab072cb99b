"""Countdown: combine three numbers, each used once, with + - * / to make a target.

The first puzzle of microR1 (and of TinyZero). Two faults mended. Its targets came from left-to-right
templates, so that one shape of expression was always enough: here either tree is drawn. Its grader
called `eval` on model output, so `38<80<96` made 1: here a grammar with three rules is parsed and
evaluated in exact fractions.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample

_TOKEN = re.compile(r"0|[1-9][0-9]{0,2}|[-+*/()]", re.ASCII)


class Countdown:
    name = "countdown"
    distinct = 18_891  # reachable ({a, b, c}, target) pairs, whatever the order; enumerated by the test
    numbers, middles, targets = (2, 25), (1, 150), (10, 99)  # least and greatest
    tolerates = ("parentheses",)  # an expression in parentheses is the same expression

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            a, b, c = (stream.integer(*self.numbers) for _ in range(3))
            inner, outer = stream.choice("+-*/"), stream.choice("+-*/")
            leaf_first = stream.integer(0, 1)
            middle = whole(inner, a, b)
            if middle is None or not self.middles[0] <= middle <= self.middles[1]:
                continue
            value = whole(outer, c, middle) if leaf_first else whole(outer, middle, c)
            if value is not None and self.targets[0] <= value <= self.targets[1]:
                break
        gold = f"{c}{outer}({a}{inner}{b})" if leaf_first else f"({a}{inner}{b}){outer}{c}"
        numbers = [a, b, c]
        for i in (2, 1):  # Fisher-Yates: the order shown says nothing about the order used
            j = stream.integer(0, i)
            numbers[i], numbers[j] = numbers[j], numbers[i]
        x, y, z = numbers
        prompt = f"Make {value} from {x}, {y} and {z}, each used once."
        return prompt, gold, {"numbers": numbers, "target": value}

    def accepts(self, sample: Sample, answer: str) -> bool:
        tokens = _TOKEN.findall(answer)
        if len(answer) > 40 or "".join(tokens) != answer.replace(" ", ""):
            return False
        if sorted(int(t) for t in tokens if t.isdigit()) != sorted(sample.metadata["numbers"]):
            return False
        value, rest = _expression(tokens)
        return value == sample.metadata["target"] and not rest

    def attacks(self, sample: Sample) -> list[str]:
        x, y, z = sample.metadata["numbers"]
        target, gold = sample.metadata["target"], sample.target
        return [
            "", str(target), f"{x}{y}{z}", f"{x}<{y}<{z}", f"{gold}={target}", f"{gold}==({target})",
            f"{gold} or {gold}", f"{gold}+0", f"{gold}*1", f"{target}+{x}*0", f"-{gold}", f"+{gold}",
            f"{gold})", f"({gold}", f"{x}**{y}**{z}", f"{x}//{y}//{z}", f"{x}%{y}%{z}", f"{x}/({y}-{y})/{z}",
            f"({x}-{x})/({y}-{y})", f"{target} if {x} else {y}+{z}", "9**9**9**9", "(" * 150 + gold,
            f"{x} {y} {z}", f"{x}+{y}+{z}#{gold}", f"__import__('os').system('{gold}')", "1e400", "()", "+",
            gold.replace("(", "（"), gold + "\u200b", gold + "\n", sample.prompt[:200],
        ]  # fmt: skip


def whole(op: str, a: int, b: int) -> int | None:
    """The value of a question's step; None for a division that does not come out."""
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
    return a // b if b and a % b == 0 else None


def _apply(op: str, a: Fraction, b: Fraction) -> Fraction | None:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
    return a / b if b else None


# expression := term (('+' | '-') term)*     term := factor (('*' | '/') factor)*
# factor     := number | '(' expression ')'
# Each returns (value or None, tokens left). At most 40 characters come in, so depth is bounded.


def _expression(tokens: list[str]) -> tuple[Fraction | None, list[str]]:
    return _chain(tokens, "+-", _term)


def _term(tokens: list[str]) -> tuple[Fraction | None, list[str]]:
    return _chain(tokens, "*/", _factor)


def _chain(tokens: list[str], ops: str, operand: Any) -> tuple[Fraction | None, list[str]]:
    value, rest = operand(tokens)
    while value is not None and rest and rest[0] in ops:
        op = rest[0]
        right, rest = operand(rest[1:])
        value = None if right is None else _apply(op, value, right)
    return value, rest


def _factor(tokens: list[str]) -> tuple[Fraction | None, list[str]]:
    if tokens and tokens[0].isdigit():
        return Fraction(int(tokens[0])), tokens[1:]
    if tokens and tokens[0] == "(":
        value, rest = _expression(tokens[1:])
        if value is not None and rest and rest[0] == ")":
            return value, rest[1:]
    return None, tokens
