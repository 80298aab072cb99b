"""A record beside the one that stands on the board."""

import json
import re
import shutil

import pytest
from board_ledger import BoardLedger, make_record
from sessions import command

from harness.ledger import record
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT, load
from harness.verify.close import compare_with_board


@pytest.fixture
def board(tmp_path):
    """A board on which `no-kl` stands, at a relative cost of 0.61."""
    board = BoardLedger(tmp_path / "board")
    board.add(make_record())
    board.add(make_record("no-kl", 0.61, 2, standing_p_ppb=3_968_254))
    return Ledger(board.folder)


def faster(place, factor, **changes):
    """The standing record as another session might have made it, its runs `factor` times as long."""
    value = json.loads(record.dump(make_record("no-kl", 0.61, 3)))
    for number, run in enumerate(value["predicate"]["runs"]):
        run["wall_ms"] = int(run["wall_ms"] * factor) + number
        for suite in load("cpu-logic").heldout.suites:
            run["tasks"][suite.task] |= {"questions": suite.questions}
            if suite.gate_ppm is None:
                run["tasks"][suite.task] |= {"correct": 0, "formatted": 0, "truncated": 0}
    control = json.loads(json.dumps(value["predicate"]["runs"][0])) | {"run": len(value["predicate"]["runs"])}
    for result in control["tasks"].values():
        result["correct"] = result["questions"] // 4
        result["formatted"] = result["questions"]
    value["predicate"]["control"] = control
    value["predicate"]["reference"]["wall_ms"] = [
        wall + 900 * number for number, wall in enumerate(value["predicate"]["reference"]["wall_ms"])
    ]
    value["predicate"] |= changes
    (place / "record.json").write_bytes(record.dump(record.Record.model_validate_json(json.dumps(value))))
    return place


def test_a_dearer_record_would_not_beat_the_boards(tmp_path, board):
    found = compare_with_board(faster(tmp_path, 1.6), board)
    assert (found.name, found.beaten) == ("no-kl", False) and found.p_ppb > 900_000_000
    assert round(found.relative_cost_ppm.mean, -4) == 610_000


def test_a_far_cheaper_one_would_and_the_same_would_not(tmp_path, board):
    assert compare_with_board(faster(tmp_path, 0.5), board).beaten
    assert not compare_with_board(faster(tmp_path, 1.0), board).beaten


def test_a_cheap_one_that_is_not_valid_would_not(tmp_path, board):
    assert not compare_with_board(faster(tmp_path, 0.5, isolation="none"), board).beaten


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
    stands = Ledger(ROOT / "records").standing(load("cpu-logic").id) is not None
    assert ("the board's record: " in shown and "yours would not beat it (p = " in shown) == stands
