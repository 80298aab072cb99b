"""The formulas against hand-computed values, scipy and enumeration."""

from __future__ import annotations

import itertools

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.evaluation.intervals import pass_at_k, wilson
from harness.frozen.stats import StatsError


def test_wilson_by_hand() -> None:
    # z = 1.959964: centre (0.5 + 0.19207) / 1.38415, half √(0.25·0.38415 + 0.38415²/4) / 1.38415
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    # Wallis (2013), the case where the usual interval falls below 0
    assert wilson(1, 20) == pytest.approx((0.008881, 0.236131), abs=1e-6)


@given(
    st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95, 0.99])
)
def test_wilson_equals_scipy_and_holds_the_estimate(pair: tuple[int, int], confidence: float) -> None:
    correct, n = pair
    low, high = wilson(correct, n, confidence)
    theirs = scipy.stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= low <= correct / n <= high <= 1
    other_low, other_high = wilson(n - correct, n, confidence)
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("correct", "n", "confidence"), [(1, 0, 0.95), (0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)]
)
def test_wilson_refuses(correct: int, n: int, confidence: float) -> None:
    with pytest.raises(StatsError):
        wilson(correct, n, confidence)


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 3, 3) == 1  # no three wrong ones to draw
    assert pass_at_k(5, 0, 5) == 0
    for bad in ((5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)):
        with pytest.raises(StatsError):
            pass_at_k(*bad)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_with_a_hit(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    draws = list(itertools.combinations([1] * correct + [0] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))
