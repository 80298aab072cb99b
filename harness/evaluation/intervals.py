"""One model, many questions: what another draw of them would change. Floats out, no state; no verdict rests on it."""

from __future__ import annotations

import math
from statistics import NormalDist

from harness.frozen.stats import StatsError


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) for a proportion of `correct` in `n` independent questions, both within [0, 1].

    The score interval of Wilson (1927), without continuity correction; Brown, Cai & DasGupta (2001)
    say why not the usual p ± 1.96 √(p(1-p)/n). Raises StatsError unless 0 <= correct <= n and n > 0.
    """
    if not 0 <= correct <= n or n == 0:
        raise StatsError(f"{correct} correct of {n} questions is not a proportion")
    if not 0 < confidence < 1:
        raise StatsError(f"confidence {confidence} is not between 0 and 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, spread = correct / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(p * (1 - p) * spread + spread * spread / 4) / (1 + spread)
    # At 0 and n one end is exactly 0 or 1; the formula leaves the last bit to rounding.
    return (0.0 if correct == 0 else centre - half, 1.0 if correct == n else centre + half)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of k samples is right, from n samples of which `correct` were.

    Unbiased: 1 - C(n - correct, k) / C(n, k), Chen et al. (2021), "Evaluating Large Language Models
    Trained on Code", equation 1; in exact integers. Raises StatsError unless 0 <= correct <= n and 1 <= k <= n.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise StatsError(f"pass@{k} is not defined for {correct} correct of {n} samples")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)
