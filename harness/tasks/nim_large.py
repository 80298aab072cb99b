"""Single-pile nim with piles of four digits: one size above what `nim` trains on.

The words and the rule are those of harness/tasks/nim.py.
"""

from __future__ import annotations

from harness.tasks.nim import Nim


class NimLarge(Nim):
    name = "nim-large"
    distinct = 106_278  # winnable (pile, limit, rule) triples; counted by the test
    piles, limits = (1000, 9999), (3, 9)
