"""Chains of implications: does one end follow from the other? Yes for half of them.

Each premise links a letter to the next: an `if` or an `or`, which leads one way (and its contraposition back), or an
`if and only if`, which leads both. Premises are told in any order and each in any of its wordings. A question whose
answer is no differs from one whose answer is yes in one place: a link is turned into its converse, or a letter is
denied on one side of it. So all links must be followed.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.entailment import Literal, Statement, tell, write
from harness.tasks.yes_no import YesNo, draw_names

KINDS = ("if", "if", "or", "or", "iff")
Link = tuple[str, Literal, Literal]  # kind; the first implies the second


class Chain(YesNo):
    name = "chain"
    distinct = 1_860_480  # at least: the letters of four links, in any of 20·19·18·17·16 ways

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        premises, given = stream.integer(2, 4), stream.integer(0, 1) == 1  # is the chain's beginning a premise?
        size = premises - given
        bits = stream.integer(0, 2 ** (size + 1) - 1)
        ends = [(letter, bits >> letter & 1 == 1) for letter in range(size + 1)]
        one_way = stream.integer(0, size - 1)
        kinds = [KINDS[stream.integer(0, 3 if i == one_way else 4)] for i in range(size)]
        links = [*zip(kinds, ends[:-1], ends[1:], strict=True)]
        follows = stream.integer(0, 1) == 1
        begin, end = ends[0], ends[-1]
        if not follows:
            broken = stream.integer(0, 2 * size + 1)
            if broken > size:  # half of them
                kind, this, then = links[one_way]
                links[one_way] = kind, deny(this), deny(then)  # `if then, this`, by contraposition
            elif broken == size:
                end = deny(end)
            else:
                kind, this, then = links[broken]
                links[broken] = kind, deny(this), then
        names = draw_names(stream, size + 1)
        told = [word(stream, link) for link in links]
        if given:
            told.append(("fact", (begin,)))
            asked: Statement = ("fact", (end,))
        else:
            asked = word(stream, (KINDS[stream.integer(0, 3)], begin, end))
        shuffled = [told.pop(stream.integer(0, len(told) - 1)) for _ in range(premises)]
        prompt = f"{tell(shuffled, names)} Does it follow that {write(asked, names)}? Answer yes or no."
        return prompt, "yes" if follows else "no", {"kinds": kinds, "given": given}


def deny(literal: Literal) -> Literal:
    return literal[0], not literal[1]


def word(stream: Stream, link: Link) -> Statement:
    """The link as stated, by itself or by its contraposition; an `or` and an `iff` in either order."""
    kind, this, then = link
    choice = stream.integer(0, 3)
    if choice & 1:
        this, then = deny(then), deny(this)
    if kind == "or":
        this = deny(this)
    if kind == "iff" and choice & 2:
        this, then = then, this
    return kind, (this, then)
