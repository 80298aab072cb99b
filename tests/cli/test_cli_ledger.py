"""`nano-r1 ledger` and the options of `nano-r1 audit`, as a person meets them."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from git_repository import git
from ledger_samples import FILES, HOME, NOON, abandonment, announcement, record
from nano import nano, refused

from harness.ledger import signature, trust
from harness.ledger.store import Ledger

BOBS = "2026-11-20_cpu-logic_no-kl"


@pytest.fixture
def place(tmp_path):
    """A ledger with an official record of alice's, whose key stays listed, and a self-reported one of bob's."""
    folder = tmp_path / "records"
    folder.mkdir()
    for name in ("alice", "bob"):
        signature.generate(tmp_path / name, name)
    alice, bob = (signature.load_key(tmp_path / name) for name in ("alice", "bob"))
    line = trust.allowed_line(alice.public, "alice", NOON, NOON + timedelta(days=36_500))
    (folder / "allowed_signers").write_text(f"{line}\n", encoding="utf-8")
    ledger = Ledger(folder)
    ledger.announce(announcement(), alice)
    ledger.add_record(record(), FILES, alice)
    ledger.announce(announcement("second", "bob"), bob)
    claim = record().predicate.commitment.model_dump() | {"entry": "second"}
    ledger.add_record(record("no-kl", signer="bob", commitment=claim), FILES, bob)
    return tmp_path


def ledger(place, *arguments, key="alice"):
    return nano("ledger", *arguments, "--ledger", place / "records", *(["--key", place / key] if key else []))


def test_show_status_and_show_again(place):
    shown = ledger(place, "show", key=None)
    assert shown.returncode == 0
    assert f"record {HOME} by alice on cpu-logic@1: official, verified, stands" in shown.stdout
    assert f"record {BOBS} by bob on cpu-logic@1: self-reported, verified" in shown.stdout
    assert "session second by bob on cpu-logic@1: baseline, no-kl, open: baseline" in shown.stdout
    why = ("--rule", "R13", "--reason", "two machines say no")
    done = ledger(place, "status", place / "records" / HOME, "disputed", *why)
    assert done.returncode == 0 and "is disputed under R13" in done.stdout, done.stderr
    told = json.loads(ledger(place, "show", "--json", key=None).stdout)
    assert [(row["status"], row["rule"], row["reason"], row["stands"]) for row in told["records"]] == [
        ("disputed", "R13", "two machines say no", False),
        ("verified", None, None, False),
    ]
    assert [row["open"] for row in told["sessions"]] == [["no-kl"], ["baseline"]]
    done = ledger(place, "status", BOBS, "withdrawn", "--rule", "R12", "--reason", "mine, and wrong", key="bob")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ((HOME, "gone", "--rule", "R1", "--reason", "x"), "alice", ["status", "gone"]),
        ((HOME, "disputed", "--rule", "R99", "--reason", "x"), "alice", ["R99", "CONTRIBUTING.md"]),
        ((HOME, "disputed", "--rule", "R1", "--reason", "a\nb"), "alice", ["reason"]),
        (("nothing", "disputed", "--rule", "R1", "--reason", "x"), "alice", ["record", "nothing"]),
        (("2026-11-20_cpu-logic_other", "disputed", "--rule", "R1", "--reason", "x"), "alice", ["no sound record"]),
        ((HOME, "disputed", "--rule", "R1", "--reason", "x"), "bob", ["only an official key"]),
        ((HOME, "disputed", "--rule", "R1", "--reason", "x"), "none", ["no such key", "keygen"]),
    ],
)
def test_a_status_that_cannot_be_is_refused_and_nothing_written(place, arguments, key, words):
    before = {path: path.read_bytes() for path in (place / "records").rglob("*") if path.is_file()}
    refused(ledger(place, "status", *arguments, key=key), *words)
    assert {path: path.read_bytes() for path in (place / "records").rglob("*") if path.is_file()} == before


def test_a_lost_session_is_closed_by_hand(place):
    why = ("--reason", "the machine is gone")
    refused(ledger(place, "abandon", "nothing", *why), "nothing is not open", "ledger show")
    done = ledger(place, "abandon", "second", *why, key="bob")
    assert done.returncode == 0 and "closed without a record: baseline" in done.stdout, done.stderr
    shown = ledger(place, "show", key=None).stdout
    assert "second by bob on cpu-logic@1: baseline, no-kl, abandoned: baseline (the machine is gone)\n" in shown
    second = json.loads(ledger(place, "show", "--json", key=None).stdout)["sessions"][1]
    assert (second["open"], second["abandoned"]) == ([], {"baseline": "the machine is gone"})
    refused(ledger(place, "abandon", "second", *why, key="bob"), "second is not open")


def test_a_reason_that_somebody_signed_is_only_text(place):
    bob = signature.load_key(place / "bob")
    hostile = abandonment("end", of="second", signer="bob").model_copy(update={"reason": "\u009b2J\u202eall fine"})
    Ledger(place / "records").abandon(hostile, bob)
    assert "abandoned: baseline (\ufffd2J\ufffdall fine)" in ledger(place, "show", key=None).stdout


def test_repair_says_what_it_did(place):
    assert "nothing to repair" in ledger(place, "repair", key=None).stdout
    (place / "records" / ".next.tmp").mkdir()
    assert "cleared up" in ledger(place, "repair", key=None).stdout
    assert not (place / "records" / ".next.tmp").exists()
    refused(nano("ledger", "show", "--ledger", place / "none"), "not a folder")


def test_merge_names_what_it_appends_and_whom_only_they_list(place):
    refused(ledger(place, "merge", "--theirs", "x"), "not a git repository")
    git(place, "init", "-qb", "main")
    git(place, "add", "records")
    git(place, "commit", "-qm", "one")
    git(place, "checkout", "-qb", "theirs")
    signature.generate(place / "carol", "carol")
    carol = signature.load_key(place / "carol")
    line = trust.allowed_line(carol.public, "carol", NOON, NOON + timedelta(hours=1))
    with (place / "records" / "allowed_signers").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    Ledger(place / "records").announce(announcement("carols", "carol"), carol)
    git(place, "add", "records")
    git(place, "commit", "-qm", "carol's")
    git(place, "checkout", "-q", "main")
    refused(ledger(place, "merge", "--theirs", "nowhere"), "no commit 'nowhere'")
    done = ledger(place, "merge", "--theirs", "theirs")
    assert done.returncode == 0, done.stderr
    assert "appended log/carols.json" in done.stdout and "1 new from theirs" in done.stdout
    assert f"only theirs, add it if you vouch for it: allowed_signers: {line}" in done.stdout
    assert "carol" not in (place / "records" / "allowed_signers").read_text(encoding="utf-8")


def test_audit_against_a_kept_checkpoint_and_with_a_sample(place):
    folder = place / "records"
    kept = shutil.copy(folder / "checkpoint", place / "kept")
    Ledger(folder).announce(announcement("more"), signature.load_key(place / "alice"))
    done = nano("audit", "--ledger", folder, "--checkpoint", kept, "--sample", 0, "--json")
    told = json.loads(done.stdout)
    assert [row["ok"] for row in told if row["check"] == "kept checkpoint"] == [True]
    assert "0 of 2 records are graded again: none" in [row["message"] for row in told]
    Path(kept).write_text("nano-r1 log\n1\n" + "A" * 43 + "=\n", encoding="utf-8")
    done = nano("audit", "--ledger", folder, "--checkpoint", kept, "--sample", 0)
    assert done.returncode == 1 and "FAIL kept checkpoint" in done.stdout
    assert all(line.startswith("FAIL") for line in done.stdout.splitlines()[:-1])  # what passes is not said
    assert "\nok " in "\n" + nano("audit", "--ledger", folder, "--sample", 0, "--verbose").stdout
    assert done.stdout.rstrip().rpartition("\n")[2].partition(" checks, ")[0].isdigit()
    refused(nano("audit", "--ledger", folder, "--checkpoint", place / "none"), "none")
