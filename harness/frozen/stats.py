"""The statistics behind a verdict: floats in, floats out, no state.

Two sources of noise are kept apart. Another draw of questions moves one run's accuracy: harness.evaluation.intervals.
Another seed moves the whole run: the tests and intervals here, over runs, which treat a run as one number. A verdict
rests on the second kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, mean, stdev, variance

from harness.frozen.errors import FrozenError


class StatsError(FrozenError):
    """Numbers that a formula is not defined for; the message says which and why."""


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(low, mean, high): Student's (1908) interval for the mean of the distribution that runs come from.

    One value has no interval: low = mean = high, and whoever shows it says "1 run".
    Raises StatsError without values.
    """
    if not values:
        raise StatsError("no values")
    centre = mean(values)
    half = 0.0 if len(values) == 1 else _t_quantile(len(values) - 1, confidence) * stdev(values) / len(values) ** 0.5
    return centre - half, centre, centre + half


def t_test_greater(values: Sequence[float], threshold: float) -> float | None:
    """p of Student's one-sample t-test of "the mean is not above `threshold`". None: fewer than 2 values.

    Runs that all agree have no variance and no t. Then p is 0 when they lie above the threshold, and 1
    otherwise: the limit of the test as the variance goes to 0.
    """
    if len(values) < 2:
        return None
    # `statistics` sums in exact fractions, so equal runs have a variance of exactly 0, in any order.
    centre, sigma = mean(values), stdev(values)
    if sigma == 0:
        return 0.0 if centre > threshold else 1.0
    return _t_above(len(values) - 1, (centre - threshold) * len(values) ** 0.5 / sigma)


def ratio_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(low, ratio, high) of geometric mean of `a` over geometric mean of `b`, two independent arms.

    Welch's (1947) interval for the difference of two means, on logarithms: times are skewed, their noise
    is in proportion to them, and a ratio read the other way round is the reciprocal. One value in an arm
    supports no interval: low = ratio = high. Raises StatsError unless every value is positive.
    """
    if not a or not b or min(*a, *b) <= 0:
        raise StatsError("a ratio of geometric means needs at least one value in each arm, all positive")
    log_a, log_b = [math.log(v) for v in a], [math.log(v) for v in b]
    difference = fmean(log_a) - fmean(log_b)
    ratio = math.exp(difference)
    if len(a) == 1 or len(b) == 1:
        return ratio, ratio, ratio
    part_a, part_b = variance(log_a) / len(a), variance(log_b) / len(b)
    error = math.sqrt(part_a + part_b)
    if error == 0:  # also where squares of tiny variances would vanish below
        return ratio, ratio, ratio
    # Welch-Satterthwaite, from the shares of the variance: no squares of tiny numbers.
    share = part_a / (part_a + part_b)
    freedom = 1 / (share**2 / (len(a) - 1) + (1 - share) ** 2 / (len(b) - 1))
    half = _t_quantile(freedom, confidence) * error
    return math.exp(difference - half), ratio, math.exp(difference + half)


def ratios_less(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """p of the one-sided test of "ratio a is not smaller than ratio b", each (numerators, denominators) or nothing.

    Welch's test for a sum of means, on logarithms: all arms are independent, and nothing stands for a
    ratio that is 1 by definition. An arm of one value, or no noise at all, supports no claim: 1. Raises
    StatsError unless every value is positive.
    """
    arms = [*a, *b]
    if any(not arm or min(arm) <= 0 for arm in arms):
        raise StatsError("a ratio needs at least one value in each arm, all positive")
    signs = [1, -1][: len(a)] + [-1, 1][: len(b)]
    logs = [[math.log(v) for v in arm] for arm in arms]
    if not logs or any(len(arm) == 1 for arm in logs):
        return 1.0
    difference = sum(sign * fmean(arm) for sign, arm in zip(signs, logs, strict=True))
    parts = [variance(arm) / len(arm) for arm in logs]
    if sum(parts) == 0:
        return 1.0
    shares = [part / sum(parts) for part in parts]
    freedom = 1 / sum(share**2 / (len(arm) - 1) for share, arm in zip(shares, logs, strict=True))
    return _t_above(freedom, -difference / math.sqrt(sum(parts)))


def mann_whitney_less(a: Sequence[float], b: Sequence[float]) -> float:
    """Exact p of the one-sided test of "`a` is not smaller than `b`" (Mann & Whitney 1947).

    The share of all ways to deal the pooled values into arms of these sizes whose first arm has a rank
    sum at most the observed one. Counted in integers, with mid-ranks for ties, so it is exact with ties
    too (scipy's `method="exact"` is not) and the same on every machine. With 5 a side the smallest p
    is 1/252 = 0.004, with 4 it is 1/70 = 0.014. Raises StatsError when an arm is empty.
    """
    if not a or not b:
        raise StatsError("a comparison needs at least one value in each arm")
    # Twice the mid-rank of each value: (values below) + (values not above) + 1.
    pool = [*a, *b]
    ranks = [sum(w < v for w in pool) + sum(w <= v for w in pool) + 1 for v in pool]
    observed = sum(ranks[: len(a)])
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in a)]  # ways[size][rank sum]
    for rank in ranks:
        for size in range(len(a), 0, -1):  # downwards: each value is dealt once
            for total, count in ways[size - 1].items():
                ways[size][total + rank] = ways[size].get(total + rank, 0) + count
    return sum(count for total, count in ways[-1].items() if total <= observed) / math.comb(len(pool), len(a))


# ---------------------------------------------------------------- Student's distribution


def _t_above(freedom: float, t: float) -> float:
    """P(T > t)."""
    from scipy.special import stdtr  # not scipy.stats, which takes three times as long to import

    return float(stdtr(freedom, -t))


def _t_quantile(freedom: float, confidence: float) -> float:
    """The t that leaves (1 - confidence) / 2 above it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))
