"""Syllogisms of two, three and four terms: does the conclusion follow? Yes for half of them.

Aristotle's, with no group empty: the 24 valid moods of the textbooks, their premises in either order, the immediate
inferences from one premise, and chains of three. The answer is drawn apart for each kind of conclusion, so neither a
constant nor the conclusion alone is right more than half the time (reasoning-gym's syllogisms are 68–70% yes).
Terms are letters: nothing but the form decides. There are 2,325 forms, and either side of the split asks all of them:
what is held out is their letters.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

from harness.tasks.task import Stream
from harness.tasks.yes_no import YesNo

Statement = tuple[str, int, int]  # which kind, of which term, about which term
TEXT = {"all": "all {} are {}", "no": "no {} are {}", "some": "some {} are {}", "some-not": "some {} are not {}"}
OPPOSITE = {"all": "some-not", "some-not": "all", "no": "some", "some": "no"}
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
SIZES = (2, 3, 3, 4, 4)  # terms: the two-term questions are few


class Syllogism(YesNo):
    name = "syllogism"
    distinct = 0  # forms × names of the terms, whatever the order of the premises

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        size, kind = draw_kind(stream)
        valid = stream.integer(0, 1) == 1
        told, names = tell(stream, forms()[size, kind][valid], size)
        conclusion = write((kind, 0, size - 1), names)
        prompt = f"No group is empty. {told} Does it follow that {conclusion}? Answer yes or no."
        return prompt, "yes" if valid else "no", {"terms": size, "conclusion": kind}


def follows(premises: tuple[Statement, ...], conclusion: Statement, size: int) -> bool:
    """Is there no way for the premises to hold and the conclusion to fail?"""
    kind, subject, predicate = conclusion
    return not possible((*premises, (OPPOSITE[kind], subject, predicate)), size)


def possible(statements: tuple[Statement, ...], size: int) -> bool:
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
def forms() -> dict[tuple[int, str], dict[bool, list[tuple[Statement, ...]]]]:
    """By number of terms and kind of conclusion: premises from which it follows, and others.

    Premise i is about terms i and i + 1, either way round; the conclusion about the first and the last. Left out:
    a premise that is the conclusion, and kinds of conclusion that never follow.
    """
    found: dict[tuple[int, str], dict[bool, list[tuple[Statement, ...]]]] = {}
    for size, kind in product(sorted(set(SIZES)), TEXT):
        conclusion = (kind, 0, size - 1)
        split: dict[bool, list[tuple[Statement, ...]]] = {True: [], False: []}
        links = [[(k, *ends) for k in TEXT for ends in ((i, i + 1), (i + 1, i))] for i in range(size - 1)]
        for premises in product(*links):
            if conclusion not in premises:
                split[follows(premises, conclusion, size)].append(premises)
        if split[True]:
            found[size, kind] = split
    return found


def draw_kind(stream: Stream) -> tuple[int, str]:
    """How many terms, and what kind of conclusion."""
    size = SIZES[stream.integer(0, len(SIZES) - 1)]
    kinds = [kind for n, kind in forms() if n == size]
    return size, kinds[stream.integer(0, len(kinds) - 1)]


def tell(stream: Stream, options: list[tuple[Statement, ...]], size: int) -> tuple[str, list[str]]:
    """(One of the sets of premises in words and in random order, the letters that the terms were given)."""
    premises = list(options[stream.integer(0, len(options) - 1)])
    letters = list(LETTERS)
    names = [letters.pop(stream.integer(0, len(letters) - 1)) for _ in range(size)]
    told = [write(premises.pop(stream.integer(0, len(premises) - 1)), names) for _ in range(size - 1)]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in told), names


def write(statement: Statement, names: list[str]) -> str:
    kind, subject, predicate = statement
    return TEXT[kind].format(names[subject], names[predicate])
