"""Single-pile nim with piles of four and five digits and limits of two digits: two sizes above `nim`.

The words and the rule are those of harness/tasks/nim.py.
"""

from __future__ import annotations

from harness.frozen.draw import Stream
from harness.tasks.nim import Nim


class NimHard(Nim):
    name = "nim-hard"
    distinct = 17_372_841  # winnable (pile, limit, rule) triples; counted by the test
    piles, limits = (1000, 99_999), (10, 99)

    def draw_pile(self, stream: Stream) -> int:
        return 1000 * stream.integer(1, 99) + stream.integer(0, 999)  # one integer is at most 2**16 wide
