"""Syllogisms with four conclusions, of which one follows: the right number is 1, 2, 3 or 4, a quarter of the time each.

The forms of harness/tasks/syllogism.py. Chance is right one time in four instead of one in two, so there is more
for a small model to gain.
"""

from __future__ import annotations

from typing import Any

from harness.tasks.syllogism import TEXT, draw_kind, follows, forms, tell, write
from harness.tasks.task import Sample, Stream, integer_attacks, is_integer


class SyllogismChoice:
    name = "syllogism-choice"
    distinct = 0  # at least: valid forms × names of the terms, whatever the order of the premises

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        size, kind = draw_kind(stream)
        index = stream.integer(0, len(forms()[size, kind][True]) - 1)
        premises = forms()[size, kind][True][index]
        told, names = tell(stream, [premises], size)
        ends = ((0, size - 1), (size - 1, 0))
        wrong = [(k, *pair) for k in TEXT for pair in ends if not follows(premises, (k, *pair), size)]
        options = [wrong.pop(stream.integer(0, len(wrong) - 1)) for _ in range(3)]
        place = stream.integer(0, 3)
        options.insert(place, (kind, 0, size - 1))
        listed = " ".join(f"({i}) {write(option, names)}" for i, option in enumerate(options, 1))
        prompt = f"No group is empty. {told} Which follows? {listed}. Answer with its number."
        return prompt, str(place + 1), {"terms": size, "conclusion": kind}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), f"({sample.target})", "1234", "1 2 3 4", "1, 2, 3, 4", "A", "all of them"]
