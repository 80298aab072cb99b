"""How many runs a claim needs: against the tests that judge, on noise that is drawn."""

from __future__ import annotations

import json
import math
import random
import tomllib
from statistics import geometric_mean

import pytest
from nano import nano, refused
from pydantic import ValidationError

from harness.frozen import stats
from harness.planning import power
from harness.planning.power import Noise, PowerError, margin, noise_of, question_sigma, relative_cost
from harness.tracks.files import TRACKS
from harness.tracks.track import Track


def noisy(sigma_ppm: int = 8_000, cost_sigma_ppm: int = 40_000) -> Track:
    """cpu-logic with a table of noise in its TOML."""
    text = (TRACKS / "cpu-logic.toml").read_text(encoding="utf-8").partition("[noise]")[0]
    text += f"\n[noise]\nsigma_ppm = {sigma_ppm}\ncost_sigma_ppm = {cost_sigma_ppm}\n"
    return Track.model_validate(tomllib.loads(text))


def test_a_recipe_that_far_above_the_gate_passes_that_often() -> None:
    draw, sigma = random.Random(1), 0.013
    gap, passed = margin(8, sigma, 0.01, 0.8), 0
    for _ in range(2000):
        p = stats.t_test_greater([draw.gauss(0.85 + gap, sigma) for _ in range(8)], 0.85)
        passed += p is not None and p < 0.01
    assert 0.77 < passed / 2000 < 0.83  # 3 sigma of 2,000 draws are 0.027


def test_a_recipe_that_much_cheaper_is_shown_to_be_that_often() -> None:
    draw, sigma = random.Random(2), 0.04
    ratio, passed = relative_cost(8, sigma, 0.01, 0.8), 0
    assert ratio is not None
    for _ in range(1000):
        ours, baseline, theirs, other = (
            [mean * math.exp(draw.gauss(0, sigma)) for _ in range(8)] for mean in (60 * ratio, 150, 60, 150)
        )
        costs = [[wall / geometric_mean(by) for wall in walls] for walls, by in ((ours, baseline), (theirs, other))]
        both = stats.ratios_less([ours, baseline], [theirs, other]), stats.mann_whitney_less(*costs)
        passed += max(both) < 0.01
    assert 0.76 < passed / 1000 < 0.84


def test_by_hand() -> None:
    assert relative_cost(4, 0.04, 0.01, 0.9) is None  # 1 of 70 ways is p = 0.014
    assert margin(8, 0.01, 0.01, 0.5) == pytest.approx(0.01 * 2.998 / math.sqrt(8), rel=0.05)  # half-way: the limit
    assert question_sigma([1024] * 4, 0.85) == pytest.approx(math.sqrt(0.85 * 0.15 / 4096))


def test_the_noise_is_the_tracks_unless_it_is_given() -> None:
    assert noise_of(noisy(), None, None) == Noise(0.008, 0.04)
    assert noise_of(noisy(), 0.02, None) == Noise(0.02, 0.04)
    with pytest.raises(ValidationError, match="greater than 0"):
        noisy(sigma_ppm=0)
    with pytest.raises(PowerError, match=r"does not say how much its runs scatter; name it with --sigma"):
        noise_of(noisy().model_copy(update={"noise": None}), 0.02, None)
    with pytest.raises(PowerError, match=r"--sigma is 1\.3: it is a share"):
        noise_of(noisy(), 1.3, None)
    assert [row.margin for row in power.power(noisy(), Noise(0.008, 0.04), 0.9).rows] == sorted(
        (margin(runs, 0.008, 0.01, 0.9) for runs in power.RUNS), reverse=True
    )


def test_the_command() -> None:
    done = nano("power", "cpu-logic", "--sigma", "0.013", "--cost-sigma", "0.05")
    assert done.returncode == 0, done.stderr
    assert "scatters by 1.30 points, of which drawing its questions alone makes 0.69" in done.stdout
    assert "8 (the track's)" in done.stdout and "no test can pass" in done.stdout
    found = json.loads(nano("power", "--sigma", "0.013", "--cost-sigma", "0.05", "--chance", "0.5", "--json").stdout)
    (eight,) = [row for row in found["rows"] if row["runs"] == 8]
    assert round(eight["margin"], 4) == 0.0132
    refused(nano("power", "8xh100-math"), "8xh100-math@", "does not say", "--cost-sigma")
