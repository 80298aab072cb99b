"""The Josephus problem, every second person, with 151 to 2,000 people: two sizes above what `josephus` trains on.

The words and the rule are those of harness/tasks/josephus.py.
"""

from __future__ import annotations

from harness.tasks.josephus import Josephus


class JosephusHard(Josephus):
    name = "josephus-hard"
    distinct = 1_989_675  # sum of n for n = 151 … 2000
    people = (151, 2000)
