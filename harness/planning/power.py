"""What a number of runs can show: how far above a gate, or below the record's cost, a recipe must lie.

Judged are a one-sided t-test over runs at each gate and, between two sessions, a Welch test over four arms of wall
times (harness/frozen/judge.py). Where noise is normal both are noncentral t under a true difference, so the difference
that passes with a given chance has a closed form: no simulation. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import NanoR1Error
from harness.tracks.schema import Track

RUNS = (4, 5, 6, 8, 10, 12, 16, 20, 32)


class PowerError(NanoR1Error):
    """A question about noise that has no answer; the message says what to name."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations over runs of one recipe: of mean accuracy (0..1), and of wall time over its mean."""

    sigma: float
    cost_sigma: float


@dataclass(frozen=True)
class Row:
    runs: int
    margin: float  # of true mean accuracy above the gate
    relative_cost: float | None  # of the standing record's; None: so few runs cannot be a record


@dataclass(frozen=True)
class Power:
    track: str
    alpha: float
    chance: float
    noise: Noise
    question_sigma: float  # the part of sigma that comes from drawing so many questions, at the gate
    rows: list[Row]


def power(track: Track, noise: Noise, chance: float) -> Power:
    """What must be true of a recipe so that it passes with this chance, by number of runs."""
    alpha = track.verdict.alpha_ppb / 1e9
    gated = [suite.questions for suite in track.heldout.suites if suite.gate_ppm is not None]
    return Power(
        track=track.id,
        alpha=alpha,
        chance=chance,
        noise=noise,
        question_sigma=question_sigma(gated, track.heldout.mean_gate_ppm / 1e6),
        rows=[
            Row(runs, margin(runs, noise.sigma, alpha, chance), relative_cost(runs, noise.cost_sigma, alpha, chance))
            for runs in sorted({*RUNS, max(2, track.verdict.runs)})
        ],
    )


def noise_of(track: Track, sigma: float | None, cost_sigma: float | None) -> Noise:
    """The track's own figures, where none are given. Raises PowerError if it has none, or for one outside 0 to 1."""
    listed = track.noise
    if listed is not None:
        sigma = listed.sigma_ppm / 1e6 if sigma is None else sigma
        cost_sigma = listed.cost_sigma_ppm / 1e6 if cost_sigma is None else cost_sigma
    if sigma is None or cost_sigma is None:
        raise PowerError(
            f"{track.id} does not say how much its runs scatter",
            advice="name it with --sigma (of mean accuracy, as 0.013) and --cost-sigma (of wall time over its mean)",
        )
    for name, value in (("--sigma", sigma), ("--cost-sigma", cost_sigma)):
        if not 0 < value < 1:
            raise PowerError(f"{name} is {value:g}: it is a share, above 0 and below 1")
    return Noise(sigma, cost_sigma)


def margin(runs: int, sigma: float, alpha: float, chance: float) -> float:
    """How far the true mean must lie above a gate for `runs` runs (at least 2) to pass its t-test with that chance."""
    return _noncentrality(runs - 1, alpha, chance) * sigma / math.sqrt(runs)


def relative_cost(runs: int, cost_sigma: float, alpha: float, chance: float) -> float | None:
    """The true cost, over that of a standing record of another session, that is shown to be lower with that chance.

    Four arms of `runs` wall times count: the submission's, the record's, and the baseline's beside each. The exact
    Mann-Whitney test must agree; it knows one noise less, and only refuses where it cannot reach `alpha`: then None.
    """
    if 1 / math.comb(2 * runs, runs) >= alpha:
        return None
    return math.exp(-_noncentrality(4 * (runs - 1), alpha, chance) * cost_sigma * math.sqrt(4 / runs))


def question_sigma(questions: Sequence[int], accuracy: float) -> float:
    """Standard deviation of the mean over suites of so many independent questions, at one accuracy on each."""
    return math.sqrt(sum(accuracy * (1 - accuracy) / count for count in questions)) / len(questions)


def _noncentrality(freedom: float, alpha: float, chance: float) -> float:
    """The true difference, in standard errors, at which Student's t passes its one-sided limit with that chance."""
    from scipy.special import nctdtrinc, stdtrit

    return float(nctdtrinc(freedom, 1 - chance, stdtrit(freedom, 1 - alpha)))
