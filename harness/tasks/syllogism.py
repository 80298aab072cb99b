"""Syllogisms of three and four terms: does the conclusion follow? Yes for half of them.

Aristotle's, with no group empty: the 24 valid moods of the textbooks, and chains of three premises, told in any order.
The quantifiers are drawn first, among those with which some arrangement of the terms is valid and some is not, and then
the answer: neither a constant nor the quantifiers are right more than half the time, so that the terms must be
followed (of reasoning-gym's syllogisms 68–70% are yes). Terms are letters: nothing but the form decides. There are 208
forms, and either side of the split asks all of them: what is held out is their letters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.yes_no import YesNo, draw_names

Statement = tuple[str, int, int]  # which kind, of which term, about which term
Form = tuple[Statement, ...]  # premises
TEXT = {"all": "all {} are {}", "no": "no {} are {}", "some": "some {} are {}", "some-not": "some {} are not {}"}
OPPOSITE = {"all": "some-not", "some-not": "all", "no": "some", "some": "no"}


@dataclass(frozen=True)
class Mood:
    """Forms that have the quantifiers in common. The conclusion is about the first and the last of `size` terms."""

    size: int
    premises: tuple[str, ...]
    conclusion: str
    valid: list[Form]
    invalid: list[Form]


class Syllogism(YesNo):
    name = "syllogism"
    # 48 forms of three terms and 160 of four × names of the terms, whatever the order of the premises
    distinct = 18_933_120

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        mood = draw_mood(stream, moods())
        valid = stream.integer(0, 1) == 1
        options = mood.valid if valid else mood.invalid
        names = draw_names(stream, mood.size)
        told = tell(stream, options[stream.integer(0, len(options) - 1)], names)
        conclusion = write((mood.conclusion, 0, mood.size - 1), names)
        prompt = f"No group is empty. {told} Does it follow that {conclusion}? Answer yes or no."
        metadata = {"premises": list(mood.premises), "conclusion": mood.conclusion}
        return prompt, "yes" if valid else "no", metadata


def follows(premises: Form, conclusion: Statement, size: int) -> bool:
    """Is there no way for the premises to hold and the conclusion to fail?"""
    kind, subject, predicate = conclusion
    return not possible((*premises, (OPPOSITE[kind], subject, predicate)), size)


def possible(statements: Form, size: int) -> bool:
    """Can all hold, with no group empty? Bit r of a set: things of region r, inside group i where bit i of r is 1.

    Universal statements empty regions, the others ask for one thing each, so filling all regions that are left is
    as good as any other way (monadic logic).
    """
    regions = range(1 << size)
    inside = [sum(1 << r for r in regions if r >> i & 1) for i in range(size)]
    allowed, needed = (1 << len(regions)) - 1, inside.copy()
    for kind, subject, predicate in statements:
        both, subject_only = inside[subject] & inside[predicate], inside[subject] & ~inside[predicate]
        match kind:
            case "all":
                allowed &= ~subject_only
            case "no":
                allowed &= ~both
            case "some":
                needed.append(both)
            case _:
                needed.append(subject_only)
    return all(allowed & need for need in needed)


@cache
def moods() -> tuple[Mood, ...]:
    """Those that can be valid and can be invalid.

    Premise i is about terms i and i + 1, either way round.
    """
    found: dict[tuple[int, tuple[str, ...], str], Mood] = {}
    for size, kind in product((3, 4), TEXT):
        links = [[(k, *ends) for k in TEXT for ends in ((i, i + 1), (i + 1, i))] for i in range(size - 1)]
        for form in product(*links):
            key = size, tuple(sorted(k for k, _, _ in form)), kind
            mood = found.setdefault(key, Mood(*key, [], []))
            (mood.valid if follows(form, (kind, 0, size - 1), size) else mood.invalid).append(form)
    return tuple(mood for mood in found.values() if mood.valid and mood.invalid)


def draw_mood(stream: Stream, among: tuple[Mood, ...]) -> Mood:
    """Of three terms as often as of four."""
    size = stream.integer(3, 4)
    options = [mood for mood in among if mood.size == size]
    return options[stream.integer(0, len(options) - 1)]


def tell(stream: Stream, form: Form, names: list[str]) -> str:
    """The premises in words and in random order."""
    premises = list(form)
    told = [write(premises.pop(stream.integer(0, len(premises) - 1)), names) for _ in form]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in told)


def write(statement: Statement, names: list[str]) -> str:
    kind, subject, predicate = statement
    return TEXT[kind].format(names[subject], names[predicate])
