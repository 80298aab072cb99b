"""Propositional logic: do the premises entail the conclusion? Decided by a truth table; yes for half of them.

Every question needs at least two premises: a conclusion that one of them entails alone is not asked. Premises can
always hold together, so that nothing follows from a contradiction, and they speak of all that the conclusion speaks
of. The answer is drawn last, between a yes and a no that differ only in what is negated and which way an "if" goes, so
that nothing else tells it. (reasoning-gym asks for any conclusion that follows, and gives full marks for the premises
joined by "and".)
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.yes_no import YesNo, draw_names

TEXT = {"fact": "{}", "if": "if {} then {}", "or": "{} or {}", "iff": "{} if and only if {}"}
ASKED = ("fact", "if", "or")  # kinds of conclusion
TRIES = 60  # to find a yes and a no for the kinds and letters of the premises drawn; then others are
Literal = tuple[int, bool]  # which letter, and whether it is affirmed
Statement = tuple[str, tuple[Literal, ...]]
Outline = tuple[str, tuple[int, ...]]  # a statement without what is denied


class Entailment(YesNo):
    name = "entailment"
    # At least: chains of three ifs (20·19·18·17 letters, 2**4 signs), whatever the order of the premises.
    distinct = 1_860_480

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        count = stream.integer(2, 4)  # of premises, over one letter more
        asked = draw_outline(stream, ASKED[stream.integer(0, 2)], count + 1)
        conclusion = sign(stream, asked)
        found: dict[bool, list[Statement]] = {}
        while len(found) < 2:
            found, outlines = {}, draw_outlines(stream, count)
            for _ in range(TRIES if speak_of(outlines, asked[1]) else 0):
                premises = [sign(stream, outline) for outline in outlines]
                verdict = entails(premises, conclusion, count + 1)
                if verdict is not None:
                    found.setdefault(verdict, premises)
                if len(found) == 2:
                    break
        answer = stream.integer(0, 1) == 1
        names = draw_names(stream, count + 1)
        prompt = f"{tell(found[answer], names)} Does it follow that {write(conclusion, names)}? Answer yes or no."
        metadata = {"premises": [kind for kind, _ in outlines], "conclusion": conclusion[0]}
        return prompt, "yes" if answer else "no", metadata


def entails(premises: list[Statement], conclusion: Statement, size: int) -> bool | None:
    """By truth table. None where the question is unfit: one premise is enough or told twice, or they contradict."""
    wanted, all_hold = table(conclusion, size), -1
    for premise in premises:
        holds = table(premise, size)
        if not holds & ~wanted:
            return None
        all_hold &= holds
    return None if not all_hold or len(set(premises)) < len(premises) else not all_hold & ~wanted


@cache
def table(statement: Statement, size: int) -> int:
    """The column of the truth table: bit r is the truth in row r, where letter i is true if bit i of r is 1."""
    rows = (1 << (1 << size)) - 1
    kind, literals = statement
    columns = [sum(1 << r for r in range(1 << size) if bool(r >> i & 1) is affirmed) for i, affirmed in literals]
    match kind:
        case "fact":
            return columns[0]
        case "if":
            return rows & ~columns[0] | columns[1]
        case "or":
            return columns[0] | columns[1]
    return rows & ~(columns[0] ^ columns[1])


def draw_outlines(stream: Stream, count: int) -> list[Outline]:
    """Kinds and letters of the premises, over one letter more than there are premises."""
    kinds = list(TEXT)
    return [draw_outline(stream, kinds[stream.integer(0, len(kinds) - 1)], count + 1) for _ in range(count)]


def draw_outline(stream: Stream, kind: str, size: int) -> Outline:
    first = stream.integer(0, size - 1)
    second = (first + stream.integer(1, size - 1)) % size
    return kind, (first,) if kind == "fact" else (first, second)


def speak_of(outlines: list[Outline], wanted: tuple[int, ...]) -> bool:
    """Does each of these letters stand in a premise?"""
    return set(wanted) <= {letter for _, letters in outlines for letter in letters}


def sign(stream: Stream, outline: Outline) -> Statement:
    """Affirm or deny each letter, in either order."""
    options = readings(outline)
    return options[stream.integer(0, len(options) - 1)]


@cache
def readings(outline: Outline) -> list[Statement]:
    kind, letters = outline
    signs = list(product((False, True), repeat=len(letters)))
    orders = [letters, letters[::-1]][: len(letters)]
    return [(kind, tuple(zip(order, each, strict=True))) for order in orders for each in signs]


def tell(premises: list[Statement], names: list[str]) -> str:
    texts = [write(premise, names) for premise in premises]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts)


def write(statement: Statement, names: list[str]) -> str:
    kind, literals = statement
    return TEXT[kind].format(*(names[letter] if affirmed else f"not-{names[letter]}" for letter, affirmed in literals))
