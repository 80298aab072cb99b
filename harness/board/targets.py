"""What it cost to reach part of the gate, read off the curves afterwards: a target that a record was not run for.

AlgoPerf scores again with relaxed targets, MLPerf scores the first checkpoint that passes; here no weights are kept on
the way, so it is the accuracy of the training completions that is asked. The line is that of the charts: at each post
the mean over the trailing WINDOW completions, from where there are as many.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.curves import WINDOW, Post, window_starts

SHARES = (50, 60, 70, 80, 90, 100)  # per cent of the gate


@dataclass(frozen=True)
class Reached:
    """What a run had used when its smoothed training accuracy first stood at a target."""

    wall_ms: int
    queries: int


@dataclass(frozen=True)
class Target:
    """Of all runs of a record. The medians are None unless more than half of the runs reached the target."""

    share: int  # per cent of the gate
    accuracy_ppm: int
    reached: int  # runs
    wall_ms: float | None
    queries: float | None


def first_reached(posts: Sequence[Post], accuracy_ppm: int) -> Reached | None:
    """The first post at which the last WINDOW completions are right that often; None if there is none.

    `posts`: of one run, in order of time. A window holds whole posts: somewhat fewer completions than WINDOW, or one
    larger post alone.
    """
    answered, right = [0], [0]
    for post in posts:
        answered.append(answered[-1] + post.completions)
        right.append(right[-1] + post.correct)
    for end, start in enumerate(window_starts(posts), 1):
        completions, correct = answered[end] - answered[start], right[end] - right[start]
        if answered[end] >= WINDOW and completions and correct * 1_000_000 >= accuracy_ppm * completions:
            return Reached(posts[end - 1].t_ms, answered[end])
    return None


def targets(runs: Sequence[Sequence[Post]], gate_ppm: int) -> list[Target]:
    """For each of SHARES, when the runs of a record reached that share of the gate."""
    found = []
    for share in SHARES:
        accuracy = -(-gate_ppm * share // 100)  # rounded up: whole parts per million
        reached = [first_reached(posts, accuracy) for posts in runs]
        wall, queries = (
            _median([getattr(moment, field) if moment else None for moment in reached])
            for field in ("wall_ms", "queries")
        )
        found.append(Target(share, accuracy, sum(moment is not None for moment in reached), wall, queries))
    return found


def _median(values: Sequence[int | None]) -> float | None:
    """A run that never got there counts as the last of all, so no lucky half stands for the whole."""
    middle = statistics.median([math.inf if value is None else value for value in values]) if values else math.inf
    return None if math.isinf(middle) else middle
