"""The Josephus problem, every second person, with 151 to 500 people: one size above what `josephus` trains on.

The words and the rule are those of harness/tasks/josephus.py.
"""

from __future__ import annotations

from harness.tasks.josephus import Josephus


class JosephusLarge(Josephus):
    name = "josephus-large"
    distinct = 113_925  # sum of n for n = 151 … 500
    people = (151, 500)
