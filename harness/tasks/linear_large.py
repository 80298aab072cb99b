"""Linear equations with larger solutions and offsets: one size above what `linear` trains on.

The words are those of harness/tasks/linear.py.
"""

from __future__ import annotations

from harness.tasks.linear import Linear


class LinearLarge(Linear):
    name = "linear-large"
    distinct = 237_600  # 11 slopes × 72 solutions × 300 offsets; all texts differ
    slopes, solutions, offsets = (2, 12), (25, 60), (50, 199)
