"""Four arguments for one conclusion, of which one proves it: 1, 2, 3 or 4 is right a quarter of the time each.

The syllogisms of harness/tasks/syllogism.py. The four have quantifiers and terms in common and no two of them say the
same, so nothing but the arrangement of the terms tells them apart. Chance is right one time in four instead of one in
two: there is more for a small model to gain.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks
from harness.tasks.syllogism import Form, Mood, draw_mood, moods, tell, write
from harness.tasks.yes_no import draw_names


class SyllogismChoice:
    name = "syllogism-choice"
    # A valid form and three others × names of the terms, whatever the order of premises and arguments.
    distinct = 9_132_562_800

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        mood = draw_mood(stream, choices())
        wrong, options = mood.invalid, list[Form]()
        for _ in range(3):
            options.append(wrong[stream.integer(0, len(wrong) - 1)])
            wrong = [form for form in wrong if meaning(form) != meaning(options[-1])]
        place = stream.integer(0, 3)
        options.insert(place, mood.valid[stream.integer(0, len(mood.valid) - 1)])
        names = draw_names(stream, mood.size)
        listed = " ".join(f"({i}) {tell(stream, form, names)}" for i, form in enumerate(options, 1))
        conclusion = write((mood.conclusion, 0, mood.size - 1), names)
        prompt = f"No group is empty. Which of these proves that {conclusion}? {listed} Answer with its number."
        return prompt, str(place + 1), {"premises": list(mood.premises), "conclusion": mood.conclusion}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), f"({sample.target})", "1234", "1 2 3 4", "1, 2, 3, 4", "A", "all of them"]


@cache
def choices() -> tuple[Mood, ...]:
    """Moods with three invalid forms that differ in what they say."""
    return tuple(mood for mood in moods() if len({meaning(form) for form in mood.invalid}) >= 3)


def meaning(form: Form) -> frozenset[tuple[str, ...]]:
    """The same for premises that say the same: "no B are C" and "some B are C" can be turned round."""
    ends = ((kind, *((a, b) if kind in ("all", "some-not") else sorted((a, b)))) for kind, a, b in form)
    return frozenset((kind, str(a), str(b)) for kind, a, b in ends)
