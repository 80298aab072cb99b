"""A record beside the one that stands on the board."""

import json
import re
import shutil

import pytest
from sessions import command

from harness.ledger import record
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT
from harness.verify.close import compare_with_board

BOARD = Ledger(ROOT / "records")
TRIM = "2026-11-21_cpu-logic_trim_3"


def faster(place, factor):
    """The standing record as another session might have made it, its runs `factor` times as long."""
    value = json.loads((ROOT / "records" / TRIM / "record.json").read_bytes())
    for number, run in enumerate(value["predicate"]["runs"]):
        run["wall_ms"] = int(run["wall_ms"] * factor) + number
    value["predicate"]["reference"]["wall_ms"] = [wall + 1 for wall in value["predicate"]["reference"]["wall_ms"]]
    (place / "record.json").write_bytes(record.dump(record.Record.model_validate_json(json.dumps(value))))
    return place


def test_a_dearer_record_would_not_beat_the_boards():
    for name in ("baseline_4", "no-waste_3"):
        found = compare_with_board(ROOT / "records" / f"2026-11-21_cpu-logic_{name}", BOARD)
        assert (found.name, found.beaten) == ("trim", False) and found.p_ppb > 900_000_000
        assert round(found.relative_cost_ppm.mean, -3) == 434_000


def test_a_far_cheaper_one_would_and_the_same_would_not(tmp_path):
    assert compare_with_board(faster(tmp_path, 0.5), BOARD).beaten
    assert not compare_with_board(faster(tmp_path, 1.0), BOARD).beaten


def test_a_cheap_one_that_is_not_valid_would_not(tmp_path):
    path = faster(tmp_path, 0.5) / "record.json"
    value = json.loads(path.read_bytes())
    value["predicate"]["isolation"] = "none"
    path.write_bytes(record.dump(record.Record.model_validate_json(json.dumps(value))))
    assert not compare_with_board(tmp_path, BOARD).beaten


def test_a_board_without_a_record_has_none_to_compare_with(tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.copy(ROOT / "records" / "allowed_signers", tmp_path / "empty")
    assert compare_with_board(faster(tmp_path, 0.5), Ledger(tmp_path / "empty")) is None


@pytest.mark.all  # six seconds: the whole command
def test_the_command_sets_its_verdict_beside_the_boards(tiny_place):
    ledger = tiny_place / "records"
    code, shown = command(
        tiny_place, "verify", tiny_place / "one", "--runs", 1, "--no-control", "--key", tiny_place / "key",
        "--ledger", ledger,
    )  # fmt: skip
    assert code == 0, shown
    lines = shown.splitlines()
    assert lines.index("one: a short trial before anything is announced") < next(
        i for i, line in enumerate(lines) if line.startswith("announced as ")
    )
    assert any(re.match(r"one run 1: trained in \d+\.\d s on \d\.\d of 2 cores", line) for line in lines)
    assert "(one run, so no interval)" in shown and "RECORD" not in shown
    assert "the board's record: trim 0.434 (0.408–0.463); yours would not beat it (p = " in shown
