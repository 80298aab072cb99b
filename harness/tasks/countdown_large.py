"""Countdown with three numbers and a target of three digits: one size above what `countdown` trains on.

The words and the rules are those of harness/tasks/countdown.py.
"""

from __future__ import annotations

from harness.tasks.countdown import Countdown


class CountdownLarge(Countdown):
    name = "countdown-large"
    distinct = 26_213  # reachable ({a, b, c}, target) pairs, whatever the order; enumerated by the test
    numbers, middles, targets = (2, 40), (1, 400), (100, 250)
