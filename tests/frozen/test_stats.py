"""The formulas against hand-computed values, other implementations, and what must hold for any numbers."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.frozen.stats import StatsError, mann_whitney_less, ratio_interval, t_interval, t_test_greater

accuracies = st.lists(st.integers(0, 1024).map(lambda n: n / 1024), min_size=2, max_size=20)
times = st.lists(st.floats(1, 1e6), min_size=1, max_size=8)


# ---------------------------------------------------------------- t


def test_t_interval_by_hand() -> None:
    # mean 3, s = √2.5, t(0.975, 4) = 2.776445: half = 2.776445 · √0.5
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((1.036757, 3, 4.963243), abs=1e-6)
    assert t_interval([0.25]) == (0.25, 0.25, 0.25)
    with pytest.raises(StatsError):
        t_interval([])


def test_t_test_by_hand() -> None:
    # t = (3 - 1) / √0.5 = 2.828427 with 4 degrees of freedom: p = 0.023710
    assert t_test_greater([1, 2, 3, 4, 5], 1) == pytest.approx(0.023710, abs=1e-6)
    assert t_test_greater([1, 2, 3, 4, 5], 3) == pytest.approx(0.5)


def test_t_test_without_variance_or_with_one_run() -> None:
    assert t_test_greater([0.1] * 5, 0.09) == 0
    assert t_test_greater([0.1] * 5, 0.1) == 1
    assert t_test_greater([0.1] * 5, 0.11) == 1
    assert t_test_greater([0.9], 0.1) is None
    assert t_test_greater([], 0.1) is None


@given(accuracies, st.floats(0, 1))
def test_t_equals_scipy(values: list[float], threshold: float) -> None:
    p = t_test_greater(values, threshold)
    assert p is not None and 0 <= p <= 1
    assert p == t_test_greater(values[::-1], threshold)
    if len(set(values)) > 1:
        theirs = scipy.stats.ttest_1samp(values, threshold, alternative="greater")
        assert p == pytest.approx(theirs.pvalue, abs=1e-9)
        interval = theirs.confidence_interval(0.975)  # one-sided 97.5% bound = two-sided 95% low end
        assert t_interval(values)[0] == pytest.approx(interval.low, abs=1e-9)


@given(accuracies)
def test_t_interval_excludes_a_threshold_exactly_when_the_test_rejects_it(values: list[float]) -> None:
    low, mean, high = t_interval(values)
    assert low <= mean <= high
    p_low = t_test_greater(values, low)
    assert p_low is not None
    if len(set(values)) > 1:
        assert p_low == pytest.approx(0.025, abs=1e-6)


# ---------------------------------------------------------------- ratio


def test_ratio_by_hand() -> None:
    # logs: 0, ln 4 against 0, 0: ratio 2, error √((ln 4)²/2/2) = ln 2, freedom 1, t(0.975, 1) = 12.7062
    low, ratio, high = ratio_interval([1, 4], [1, 1])
    assert ratio == pytest.approx(2)
    assert math.log(high / 2) == pytest.approx(12.706205 * math.log(2), rel=1e-6)
    assert low * high == pytest.approx(ratio**2)


def test_ratio_of_one_value_has_no_interval() -> None:
    assert ratio_interval([3], [2]) == (pytest.approx(1.5),) * 3
    assert ratio_interval([3], [1, 4]) == (pytest.approx(1.5),) * 3
    assert ratio_interval([2, 2], [4, 4]) == (pytest.approx(0.5),) * 3


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, on nearly equal values
@given(times.filter(lambda v: len(v) > 1), times.filter(lambda v: len(v) > 1))
def test_ratio_equals_welch_on_logs(a: list[float], b: list[float]) -> None:
    low, ratio, high = ratio_interval(a, b)
    log_a, log_b = [math.log(v) for v in a], [math.log(v) for v in b]
    if len(set(a)) > 1 or len(set(b)) > 1:
        theirs = scipy.stats.ttest_ind(log_a, log_b, equal_var=False).confidence_interval(0.95)
        if math.isfinite(theirs.low) and theirs.high - theirs.low > 1e-6:  # scipy squares tiny variances away
            assert math.log(low) == pytest.approx(theirs.low, rel=1e-6, abs=1e-6)
            assert math.log(high) == pytest.approx(theirs.high, rel=1e-6, abs=1e-6)
    assert low <= ratio <= high
    assert ratio_interval(b, a) == pytest.approx((1 / high, 1 / ratio, 1 / low), rel=1e-9)


@given(times, times, st.sampled_from([0.001, 0.5, 1000.0]))
def test_ratio_knows_no_unit(a: list[float], b: list[float], unit: float) -> None:
    scaled = ratio_interval([v * unit for v in a], [v * unit for v in b])
    assert scaled[1] == pytest.approx(ratio_interval(a, b)[1], rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_ratio_refuses(a: list[float], b: list[float]) -> None:
    with pytest.raises(StatsError):
        ratio_interval(a, b)


# ---------------------------------------------------------------- Mann-Whitney


def test_mann_whitney_by_hand() -> None:
    assert mann_whitney_less([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 1 / 252
    assert mann_whitney_less([1, 2, 3, 4, 6], [5, 7, 8, 9, 10]) == 2 / 252
    assert mann_whitney_less([1, 2, 3, 4], [5, 6, 7, 8]) == 1 / 70  # 0.014: four runs can never be enough
    assert mann_whitney_less([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]) == 1
    # ties: pool 1 1 2 2, ranks 1.5 1.5 3.5 3.5; of 6 deals 1 has rank sum 3
    assert mann_whitney_less([1, 1], [2, 2]) == 1 / 6
    assert mann_whitney_less([1, 2], [1, 2]) == 5 / 6
    assert mann_whitney_less([7, 7, 7], [7, 7]) == 1


@given(st.integers(1, 8), st.integers(1, 8), st.randoms(use_true_random=False))
def test_mann_whitney_equals_scipy_without_ties(n: int, m: int, rng: random.Random) -> None:
    pool = rng.sample(range(1000), n + m)
    theirs = scipy.stats.mannwhitneyu(pool[:n], pool[n:], alternative="less", method="exact")
    assert mann_whitney_less(pool[:n], pool[n:]) == pytest.approx(theirs.pvalue, rel=1e-12)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_mann_whitney_equals_enumeration_with_ties(a: list[int], b: list[int]) -> None:
    def wins(first: list[int], second: list[int]) -> float:
        return sum((x > y) + (x == y) / 2 for x in first for y in second)

    pool, deals = [*a, *b], list(itertools.combinations(range(len(a) + len(b)), len(a)))
    as_small = 0
    for deal in deals:
        rest = [pool[i] for i in range(len(pool)) if i not in deal]
        as_small += wins([pool[i] for i in deal], rest) <= wins(a, b)
    assert mann_whitney_less(a, b) == as_small / len(deals)


def test_mann_whitney_at_twenty_a_side_and_with_an_empty_arm() -> None:
    assert mann_whitney_less(range(20), range(20, 40)) == 1 / math.comb(40, 20)
    with pytest.raises(StatsError):
        mann_whitney_less([], [1.0])


# ---------------------------------------------------------------- samples of a question


# ---------------------------------------------------------------- as a module


def test_importing_it_is_light() -> None:
    code = "import sys, harness.frozen.stats; print([m for m in ('scipy', 'numpy', 'torch') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout == "[]\n"
    )
