"""The index and the checkpoint as bytes."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.ledger.errors import LedgerError
from harness.ledger.index import parse_checkpoint, parse_index


def test_the_checkpoint_is_the_three_lines_it_says(sample_ledger: Path) -> None:
    origin, size, root, end = (sample_ledger / "checkpoint").read_text(encoding="utf-8").split("\n")
    assert (origin, size, end) == ("nano-r1 log", "4", "")
    assert len(base64.b64decode(root)) == 32


@given(st.binary(max_size=120), st.integers(0, 2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_crash_the_parsers(data: bytes, which: int) -> None:
    prefix = [b"", b"a" * 64 + b" log/", b"nano-r1 log\n"][which]
    for parse in (parse_index, parse_checkpoint):
        with contextlib.suppress(LedgerError):
            parse(prefix + data)
