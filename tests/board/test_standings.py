"""Who stands where: what is ranked, what is shown apart, and why."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from board_ledger import BoardLedger, make_record, page, section

from harness.board.render import rendered
from harness.board.standings import ranks, read_ledger, standings
from harness.ledger.entries import status_change
from harness.tracks.track import load


def test_ranks_valid_official_records_by_cost_and_marks_overlap(ledger: BoardLedger) -> None:
    board = standings(load("cpu-logic"), read_ledger(ledger.folder)[0])
    assert [record.name for record in board.ranked] == ["no-kl", "drop-groups", "baseline"]
    costs = [record.predicate.verdict.relative_cost_ppm for record in board.ranked]
    assert ranks(costs) == ["1", "2 ≈", "3"]
    rows = [line for line in section(page(ledger), "Ranking").splitlines() if line.startswith("| ")][1:]
    assert [re.split(r" *\| *", row)[1:4] for row in rows] == [
        ["1", "no-kl", "0.610 (0.590–0.630)"],
        ["2 ≈", "drop-groups", "0.640 (0.620–0.660)"],
        ["3", "baseline", "1.000 (0.980–1.020)"],
    ]
    assert "| 99.3 ± 2.2 | 92.8% ± 0.4 | 25,600 | 0.61 M | 0.84 GiB | 2026-01-02 |" in rows[0]
    assert "[code](../submissions/no-kl) [record](../records/2026-01-02_cpu-logic_no-kl/record.json)" in rows[0]
    assert (
        "[log](../records/2026-01-02_cpu-logic_no-kl/log.txt.xz) [curve](curves/2026-01-02_cpu-logic_no-kl.svg)"
        in rows[0]
    )
    assert "[code](../baseline)" in rows[2]


@pytest.mark.parametrize(
    ("changes", "official", "reason"),
    [
        ({}, False, "self-reported"),
        ({"day": 31, "created_utc": "2026-02-02T00:00:00Z"}, True, "self-reported"),
        ({"isolation": "none"}, True, "without isolation"),
        ({"runs": 1}, True, "1 of 8 runs"),
        ({"track": "cpu-logic@9999"}, True, "made on another version"),
        (
            {"valid": False, "record": False, "reasons": ["nim accuracy is not above the gate"]},
            True,
            "nim accuracy is not",
        ),
    ],
)
def test_shows_apart_what_is_not_official_or_not_valid(
    ledger: BoardLedger, changes: dict[str, Any], official: bool, reason: str
) -> None:
    ledger.add(make_record("other", 0.2, **{"day": 9, **changes}), official=official)
    text = page(ledger)
    apart = section(text, "Apart")
    assert any("| other |" in line and reason in line for line in apart.splitlines())
    assert "| other |" not in section(text, "Ranking") + section(text, "History")
    assert "Standing record: **no-kl**" in text


def test_the_same_records_are_ranked_by_reward_queries_too(ledger: BoardLedger) -> None:
    """Fewest first by the mean over runs, whatever they cost; equal ones in the order of cost, marked as equal."""
    frugal = make_record("frugal", 0.9, 5)
    runs = [run.model_copy(update={"reward_queries": 12_000 + 100 * (run.run % 2)}) for run in frugal.predicate.runs]
    ledger.add(frugal.model_copy(update={"predicate": frugal.predicate.model_copy(update={"runs": runs})}))
    rows = [line for line in section(page(ledger), "By reward queries").splitlines() if line.startswith("| ")][1:]
    assert [re.split(r" *\| *", row)[1:4] for row in rows] == [
        ["1", "frugal", "12,050 (12,005–12,095)"],  # t(7, 97.5%) 2.365 times sigma 53.45 / √8
        ["2", "no-kl", "25,600"],
        ["3 ≈", "drop-groups", "25,600"],
        ["4 ≈", "baseline", "25,600"],
    ]


def test_one_run_has_no_interval(empty: BoardLedger) -> None:
    empty.add(make_record("quick", 0.9, runs=1))
    row = next(line for line in section(page(empty), "Apart").splitlines() if "| quick |" in line)
    assert "| 1 | 0.900 |" in row


@pytest.mark.parametrize("status", ["disputed", "withdrawn", "superseded"])
def test_a_record_whose_status_changed_is_shown_apart_with_rule_and_reason(ledger: BoardLedger, status: str) -> None:
    home = "2026-01-02_cpu-logic_no-kl"
    why = "see [this](http://x.example) <b>|</b> @them"
    moment = datetime(2026, 1, 20, tzinfo=UTC)
    ledger.ledger.set_status(status_change(home, status, "R13", why, "verifier", moment), ledger.listed)
    text = page(ledger)
    (row,) = [line for line in section(text, "Disputed, withdrawn or superseded").splitlines() if "no-kl" in line]
    assert f"**{status}** under R13: " in row and "http://x.example" not in row and "<b>" not in row
    assert "| no-kl |" not in section(text, "Ranking") + section(text, "History") + section(text, "Apart")
    assert "Standing record: **baseline**" in text  # what stood before it
    assert f"curves/{home}.svg" in rendered(ledger.folder)
    ledger.ledger.set_status(status_change(home, "verified", "R13", "cleared", "verifier", moment), ledger.listed)
    assert "Standing record: **no-kl**" in page(ledger) and "withdrawn or superseded" not in page(ledger)


def test_a_record_that_was_tested_against_another_is_ranked_but_is_no_record(ledger: BoardLedger) -> None:
    ledger.add(make_record("late", 0.2, 9), against=None)
    text = page(ledger)
    assert "Standing record: **no-kl**" in text and "| 1 | late |" in section(text, "Ranking")
    row = next(line for line in section(text, "History").splitlines() if "| late |" in line)
    assert "no: tested against nothing on another branch" in row


def test_records_of_a_revoked_key_are_shown_apart(ledger: BoardLedger) -> None:
    (ledger.folder / "revoked_keys").write_text(f"{ledger.listed.public}\n", encoding="utf-8")
    text = page(ledger)
    assert section(text, "Apart").count("its key was revoked") == 3 and "No record stands yet" in text


def test_history_is_in_date_order_and_says_which_were_records(ledger: BoardLedger) -> None:
    rows = section(page(ledger), "History").splitlines()
    rows = [row for row in rows if row.startswith("| 2026")]
    assert ["baseline" in rows[0], "no-kl" in rows[1], "drop-groups" in rows[2]] == [True] * 3 and len(rows) == 3
    assert "**record**" in rows[0] and "0.0040" in rows[1] and "no: relative cost is not below" in rows[2]


def test_the_front_page_names_the_standing_record(ledger: BoardLedger) -> None:
    front = rendered(ledger.folder)["README.md"].decode()
    assert "Standing record: **no-kl**" in front and "(cpu-logic.md)" in front and "curves/cpu-logic.svg" in front
    assert "mine" not in front
