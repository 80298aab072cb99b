"""Single-pile nim with piles of four and five digits and limits of two digits: larger than `nim` trains on.

The words and the rule are those of harness/tasks/nim.py.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.tasks.nim import Nim


class NimHard(Nim):
    name = "nim-hard"
    distinct = 17_372_841  # winnable (pile, limit, rule) triples; counted by the test

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        while True:
            pile = 1000 * stream.integer(1, 99) + stream.integer(0, 999)  # one integer is at most 2**16 wide
            limit = stream.integer(10, 99)
            misere = bool(stream.integer(0, 1))
            take = (pile - misere) % (limit + 1)
            if take:
                break
        rule = "loses" if misere else "wins"
        prompt = f"Nim: {pile} stones, take 1 to {limit}, the last stone {rule}. Take how many first?"
        return prompt, str(take), {"pile": pile, "limit": limit, "misere": misere}
