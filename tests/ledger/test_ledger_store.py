"""Appending to a ledger: what is added, what is refused without a trace, and what an append reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import (
    FILES,
    HOME,
    Keys,
    abandonment,
    against,
    announcement,
    failing_files,
    record,
    snapshot,
    status_entry,
)

from harness.ledger.errors import LedgerError
from harness.ledger.store import Ledger


def test_an_empty_ledger_is_sound_and_the_first_append_makes_it(tmp_path: Path, keys: Keys) -> None:
    ledger = Ledger(tmp_path / "new" / "records")
    assert (ledger.entries(), ledger.open_announcements(), ledger.standing("x@1")) == ([], [], None)
    assert failing_files(ledger.folder) == set()
    assert not ledger.folder.exists()
    assert ledger.announce(announcement(), keys["alice"]) == ledger.folder / "log" / "first.json"
    assert failing_files(ledger.folder) == set()
    left = sorted(path.name for path in ledger.folder.iterdir())
    assert left == [".lock", "checkpoint", "checkpoint.sig", "index", "log"]
    # Without allowed_signers nobody is official, so there is nothing to beat.
    ledger.add_record(record(), FILES, keys["alice"])
    assert ledger.standing("cpu-logic@1") is None


def test_two_records_of_one_name_on_one_day_get_two_folders(ledger_copy: Path, keys: Keys) -> None:
    ledger = Ledger(ledger_copy)
    ledger.announce(announcement("third", names=["baseline"]), keys["alice"])
    claim = record().predicate.commitment.model_dump() | {"entry": "third"}
    home = ledger.add_record(record(commitment=claim, verdict=against(HOME)), FILES, keys["alice"])
    assert home.name == "2026-11-20_cpu-logic_baseline_2" == ledger.standing("cpu-logic@1")
    assert failing_files(ledger_copy) == set()


def test_an_entry_that_a_pull_request_brought_is_appended_in_place(
    ledger_copy: Path, tmp_path: Path, keys: Keys
) -> None:
    theirs = Ledger(tmp_path / "theirs")
    path = theirs.announce(announcement("from-bob", "bob"), keys["bob"])
    for suffix in ("", ".sig"):
        shutil.copy(f"{path}{suffix}", ledger_copy / "log")
    assert failing_files(ledger_copy) == {"log/from-bob.json", "log/from-bob.json.sig"}  # present, but in no line
    ledger = Ledger(ledger_copy)
    ledger.append("log/from-bob.json", keys["alice"])
    assert failing_files(ledger_copy) == set()
    with pytest.raises(LedgerError, match="in the index already"):
        ledger.append("log/from-bob.json", keys["alice"])
    for path_text in ("../x.json", "/etc/passwd", "log/../index", "index", "log/a.json/b", "allowed_signers"):
        with pytest.raises(LedgerError, match="not the path of an entry"):
            ledger.append(path_text, keys["alice"])
    with pytest.raises(LedgerError, match="missing"):
        ledger.append("log/absent.json", keys["alice"])


def test_a_ledger_needs_nothing_heavy() -> None:
    code = "import sys, harness.ledger.merge; print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]", done.stderr


# ------------------------------------------------------------------ refused


def refusals() -> Iterator[tuple[str, Callable[[Ledger, Keys], object]]]:
    claim = record().predicate.commitment.model_dump()
    submission = record("no-kl").predicate.submission.model_dump()

    def add(**other: Any) -> Callable[[Ledger, Keys], object]:
        return lambda ledger, keys: ledger.add_record(record("no-kl", **other), FILES, keys["alice"])

    yield "root and nonce", add(commitment=claim | {"root_hex": "0" * 64})
    yield "root and nonce", add(commitment=claim | {"commitment_sha256": "0" * 64})
    yield "no sound announcement nowhere", add(commitment=claim | {"entry": "nowhere"})
    yield "tree digest", add(submission=submission | {"tree_sha256": "0" * 64})
    yield "another track", add(track="cpu-logic@2")
    yield "another track", add(track_digest="0" * 64)
    yield "name@version", add(track="../../etc@1")
    yield "1 runs, not 2", add(runs=[run.model_dump() for run in record().predicate.runs] * 2)
    yield "older than", add(created_utc="2026-11-20T16:59:59Z")
    yield "not a time", add(created_utc="2026-13-20T16:59:59Z")
    yield "not those that predicate.files", add(files={})
    yield "alice signs it, but the key is bob's", lambda log, k: log.add_record(record("no-kl"), FILES, k["bob"])
    yield "another key", lambda log, k: log.add_record(record("no-kl", signer="bob"), FILES, k["bob"])
    yield "baseline of announcement first is closed", lambda log, k: log.add_record(record(), FILES, k["alice"])
    yield "closed already", lambda log, k: log.abandon(abandonment("x", submission="baseline"), k["alice"])
    yield "does not announce other", lambda log, k: log.abandon(abandonment("x", submission="other"), k["alice"])
    yield "already", lambda log, k: log.announce(announcement(), k["alice"])
    yield "announced twice", lambda log, k: log.announce(announcement("x", names=["no-kl", "no-kl"]), k["alice"])


@pytest.mark.parametrize(("reason", "write"), list(refusals()))
def test_entries_that_do_not_belong_are_refused_and_leave_no_trace(
    tmp_path: Path, keys: Keys, reason: str, write: Callable[..., object]
) -> None:
    ledger = Ledger(tmp_path / "records")
    ledger.announce(announcement(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    before = snapshot(ledger.folder)
    with pytest.raises(LedgerError, match=reason):
        write(ledger, keys)
    assert snapshot(ledger.folder) == before


@pytest.mark.parametrize("name", ["index", "checkpoint", "checkpoint.sig", "log/first.json"])
def test_nobody_signs_over_a_changed_log(ledger_copy: Path, keys: Keys, name: str) -> None:
    data = (ledger_copy / name).read_bytes()
    (ledger_copy / name).write_bytes(data.replace(b"1", b"2", 1) if b"1" in data else data[:-1])
    before = snapshot(ledger_copy)
    with pytest.raises(LedgerError):
        Ledger(ledger_copy).announce(announcement("third"), keys["alice"])
    assert snapshot(ledger_copy) == before


# ------------------------------------------------------------------ what an append reads


def test_an_append_under_a_known_checkpoint_reads_only_what_it_refers_to(
    two_records: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(two_records)
    ledger.announce(announcement("third", names=["no-kl"]), keys["alice"])
    read: list[str] = []
    real = Ledger.read
    monkeypatch.setattr(Ledger, "read", lambda self, name: read.append(name) or real(self, name))

    def entries() -> set[str]:
        return {name for name in read if name.endswith(".json")}

    ledger.announce(announcement("fourth"), keys["alice"])
    assert entries() == set()
    ledger.set_status(status_entry(), keys["alice"])
    assert entries() == {f"{HOME}/record.json"}
    read.clear()
    claim = record().predicate.commitment.model_dump() | {"entry": "third"}
    ledger.add_record(record("no-kl", commitment=claim), FILES, keys["alice"])
    assert entries() == {"log/third.json", "log/fourth.json", "log/status-disputed.json"}  # from its commitment on
    read.clear()
    ledger.announce(announcement("by-bob", "bob"), keys["bob"])
    ledger.announce(announcement("after-bob"), keys["alice"])  # bob is a stranger: everything is read and followed
    assert f"{HOME}/record.json" in entries()
    assert failing_files(two_records) == set()


def test_a_changed_entry_is_never_vouched_for(two_records: Path, keys: Keys) -> None:
    """What an append does not read keeps its old hash in the index, so the audit still finds it."""
    ledger = Ledger(two_records)
    ledger.announce(announcement("third"), keys["alice"])
    path = two_records / "log" / "first.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    ledger.announce(announcement("fourth"), keys["alice"])
    assert "log/first.json" in failing_files(two_records)
    with pytest.raises(LedgerError, match=r"log/first\.json"):
        ledger.add_record(record("no-kl"), FILES, keys["alice"])  # this one would rest on it
    entry = two_records / HOME / "record.json"
    entry.write_bytes(entry.read_bytes() + b"\n")
    with pytest.raises(LedgerError, match=HOME):
        ledger.set_status(status_entry(), keys["alice"])
