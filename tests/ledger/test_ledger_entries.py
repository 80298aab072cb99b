"""What an entry may say, and that it has one form only."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledger_samples import HOME, NOON, Keys, announcement, record, snapshot, status_entry

from harness.ledger.entries import fresh_id, parse_entry, status_change
from harness.ledger.errors import LedgerError
from harness.ledger.record import dump
from harness.ledger.rules import RULES
from harness.ledger.signature import LOG_NAMESPACE, RECORD_NAMESPACE, sign
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT


def test_ids_are_entry_names() -> None:
    first, second = (fresh_id(datetime(2026, 11, 20, 18, 15, 30, tzinfo=UTC)) for _ in range(2))
    assert first.startswith("20261120t181530-") and first != second
    assert announcement(first).id == first


def test_the_log_entry_must_be_canonical(ledger_copy: Path, keys: Keys) -> None:
    """A signer's own second spelling of an entry is refused, and so is an entry under another's path."""
    data = dump(announcement("third"))
    for name, content in [
        ("third", data.replace(b" ", b"  ", 1)),
        ("other", data),
        ("third", data.replace(b'"runs": 1', b'"runs": 1.0')),
        ("third", data.replace(b'"commitment",', b'"confession",')),
        ("third", data.replace(b'"runs": 1', b'"extra": 1,\n "runs": 1')),
        ("third", b"[]\n"),
    ]:
        assert content != data or name == "other"
        (ledger_copy / "log" / f"{name}.json").write_bytes(content)
        signed = sign(keys["alice"], LOG_NAMESPACE, content)
        (ledger_copy / "log" / f"{name}.json.sig").write_bytes(signed)
        with pytest.raises(LedgerError, match=f"log/{name}.json"):
            Ledger(ledger_copy).append(f"log/{name}.json", keys["alice"])
    record_space = sign(keys["alice"], RECORD_NAMESPACE, data)
    (ledger_copy / "log" / "third.json").write_bytes(data)
    (ledger_copy / "log" / "third.json.sig").write_bytes(record_space)
    with pytest.raises(LedgerError, match="namespace"):
        Ledger(ledger_copy).append("log/third.json", keys["alice"])


@pytest.mark.parametrize("name", ["../up", "record.json", "a/b", ".hidden", "", "a\nb"])
def test_evidence_cannot_leave_its_folder(ledger_copy: Path, keys: Keys, name: str) -> None:
    files = {name: b"x"}
    evil = record("no-kl", files={name: hashlib.sha256(b"x").hexdigest()})
    before = snapshot(ledger_copy.parent)
    with pytest.raises(LedgerError, match="not a plain file name"):
        Ledger(ledger_copy).add_record(evil, files, keys["alice"])
    assert snapshot(ledger_copy.parent) == before


def test_an_unknown_rule_or_status_is_refused(two_records: Path, keys: Keys) -> None:
    for status, rule, word in [("disputed", "R99", "R99"), ("disputed", "", "not a rule"), ("gone", "R1", "gone")]:
        with pytest.raises(LedgerError, match=word):
            status_change(HOME, status, rule, "why", "alice", NOON)
    with pytest.raises(LedgerError, match="record"):
        status_change("../elsewhere", "disputed", "R1", "why", "alice", NOON)
    data = dump(status_entry()).replace(b'"R13"', b'"R77"')
    signed = sign(keys["alice"], LOG_NAMESPACE, data)
    with pytest.raises(LedgerError, match="R77"):
        parse_entry("log/status-disputed.json", data, signed)


def test_every_rule_stands_in_contributing_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"(?m)^- \*\*(R[0-9]+)\.\s+([^*]+?)\.\*\*", text)) == RULES
