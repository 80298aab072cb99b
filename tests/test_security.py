"""SECURITY.md names files as the ones that keep its promises: they must be there, and say what it says they say."""

import re

from harness.ledger.record import Predicate
from harness.tracks.track import ROOT, load

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_file_that_it_names_is_there():
    named = set(re.findall(r"`((?:harness|docs|leaderboard|scripts)/[A-Za-z0-9_./-]*)`", TEXT))
    assert len(named) >= 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_its_figures_are_the_tracks():
    budget = load("cpu-logic").budget
    assert f"at most {budget.queries_per_prompt} completions a prompt and {budget.reward_queries:,} a run" in TEXT
    assert load("cpu-logic").verdict.alpha_ppb == 10_000_000 and "p < 0.01" in TEXT
    assert "counts that as `resumed`" in TEXT and "resumed" in Predicate.model_fields
