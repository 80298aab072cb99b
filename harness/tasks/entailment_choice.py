"""Propositional logic with four conclusions, of which one follows: 1, 2, 3 or 4, a quarter of the time each.

Premises as in harness/tasks/entailment.py. The four speak of the same two letters and differ in what they deny, and
none follows from a single premise.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks
from harness.tasks.entailment import (
    ASKED,
    Statement,
    draw_outline,
    draw_outlines,
    entails,
    sign,
    speak_of,
    tell,
    write,
)
from harness.tasks.yes_no import draw_names


class EntailmentChoice:
    name = "entailment-choice"
    distinct = 1_860_480  # at least: one for each question of `entailment` that its distinct counts

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        count = stream.integer(2, 4)
        kind = ASKED[stream.integer(0, 2)]
        _, letters = draw_outline(stream, "or", count + 1)
        options = versions(kind, *letters)
        while True:
            outlines = draw_outlines(stream, count)
            if speak_of(outlines, letters):
                premises = [sign(stream, outline) for outline in outlines]
                verdicts = [entails(premises, option, count + 1) for option in options]
                if verdicts.count(True) == 1 and verdicts.count(False) == 3:
                    break
        right, place = options.pop(verdicts.index(True)), stream.integer(0, 3)
        shown = [options.pop(stream.integer(0, len(options) - 1)) for _ in range(3)]
        shown.insert(place, right)
        names = draw_names(stream, count + 1)
        listed = " ".join(f"({i}) {write(option, names)}" for i, option in enumerate(shown, 1))
        prompt = f"{tell(premises, names)} Which follows? {listed}. Answer with its number."
        return prompt, str(place + 1), {"premises": count, "conclusion": kind}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), f"({sample.target})", "1234", "1 2 3 4", "1, 2, 3, 4", "A", "all of them"]


def versions(kind: str, first: int, second: int) -> list[Statement]:
    """The four that differ in what they deny: of facts, two about each letter."""
    if kind == "fact":
        return [(kind, ((letter, affirmed),)) for letter in (first, second) for affirmed in (True, False)]
    return [(kind, ((first, one), (second, other))) for one, other in product((True, False), repeat=2)]
