"""Ledgers that the tests of the board render."""

from __future__ import annotations

from pathlib import Path

import pytest
from board_ledger import BoardLedger, curves, make_record


@pytest.fixture
def empty(tmp_path: Path) -> BoardLedger:
    return BoardLedger(tmp_path / "records")


@pytest.fixture
def ledger(empty: BoardLedger) -> BoardLedger:
    """The baseline, a better record, a valid one in its noise, and a self-reported one; the code of two beside it."""
    for code in ("baseline", "submissions/no-kl"):
        (empty.folder.parent / code).mkdir(parents=True)
    empty.add(make_record(day=1), curve=curves(8, 150, 1))
    empty.add(make_record("no-kl", 0.61, 2, standing_p_ppb=3_968_254), curve=curves(8, 92, 2))
    objection = "relative cost is not below the standing record's"
    empty.add(make_record("drop-groups", 0.64, 3, record=False, reasons=[objection]), curve=curves(8, 96, 3))
    empty.add(make_record("mine", 0.3, 4), official=False, curve=curves(8, 45, 4))
    return empty
