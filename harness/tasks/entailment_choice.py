"""Propositional logic with four conclusions, of which one follows: 1, 2, 3 or 4, a quarter of the time each.

Premises as in harness/tasks/entailment.py. The four are of one kind, no two of them say the same, and none follows
from a single premise.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

from harness.tasks.entailment import (
    ASKED,
    Statement,
    consistent,
    draw_kinds,
    draw_names,
    draw_statement,
    entails,
    tell,
    write,
)
from harness.tasks.task import Sample, Stream, integer_attacks, is_integer


class EntailmentChoice:
    name = "entailment-choice"
    distinct = 1_860_480  # at least: one for each question of `entailment` that its distinct counts

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        count = stream.integer(2, 4)
        kind = ASKED[stream.integer(0, 2)]
        while True:
            premises = [draw_statement(stream, each, count + 1) for each in draw_kinds(stream, count)]
            if not consistent(premises, count + 1):
                continue
            verdicts = {option: entails(premises, option, count + 1) for option in statements(kind, count + 1)}
            right = [option for option, verdict in verdicts.items() if verdict is True]
            wrong = [option for option, verdict in verdicts.items() if verdict is False]
            if right and len(wrong) >= 3:
                break
        options = [wrong.pop(stream.integer(0, len(wrong) - 1)) for _ in range(3)]
        place = stream.integer(0, 3)
        options.insert(place, right[stream.integer(0, len(right) - 1)])
        names = draw_names(stream, count + 1)
        listed = " ".join(f"({i}) {write(option, names)}" for i, option in enumerate(options, 1))
        prompt = f"{tell(premises, names)} Which follows? {listed}. Answer with its number."
        return prompt, str(place + 1), {"premises": count, "conclusion": kind}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), f"({sample.target})", "1234", "1 2 3 4", "1, 2, 3, 4", "A", "all of them"]


def statements(kind: str, size: int) -> list[Statement]:
    """All of that kind, up to saying the same: "if C then B" is left out, being "if not-B then not-C"."""
    groups = combinations(range(size), 1 if kind == "fact" else 2)
    return [
        (kind, tuple(zip(letters, signs, strict=True)))
        for letters in groups
        for signs in product((False, True), repeat=len(letters))
    ]
