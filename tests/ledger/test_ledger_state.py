"""What becomes of sessions and records: closed submissions, changes of status, revoked and rotated keys."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_samples import (
    BOBS,
    FILES,
    HOME,
    NOON,
    TREES,
    Keys,
    abandonment,
    against,
    announcement,
    failing_files,
    list_signers,
    record,
    status_entry,
)

from harness.ledger import trust
from harness.ledger.check import check
from harness.ledger.entries import SignedEntry, Status
from harness.ledger.errors import LedgerError
from harness.ledger.state import State
from harness.ledger.store import Ledger

# ------------------------------------------------------------------ sessions


@given(st.lists(st.sampled_from(["commit", "baseline", "no-kl", "all"]), max_size=12))
def test_every_submission_is_closed_exactly_once(steps: list[str]) -> None:
    """`follow` against a model: a set of open names for the latest commitment."""
    state = State()
    still: set[str] = set()
    latest = ""
    for number, step in enumerate(steps):
        if step == "commit":
            latest, still = f"c{number}", set(TREES)
            state.apply(SignedEntry("", announcement(latest), "key"))
            continue
        closing = set(still) if step == "all" else {step} & still
        entry = abandonment(f"a{number}", of=latest or "none", submission=None if step == "all" else step)
        if closing:
            state.apply(SignedEntry("", entry, "key"))
            still -= closing
        else:
            with pytest.raises(LedgerError):
                state.apply(SignedEntry("", entry, "key"))
        if latest:
            assert set(state.sessions[latest].open) == still


def test_abandoning_a_session_closes_what_is_open(tmp_path: Path, keys: Keys) -> None:
    ledger = Ledger(tmp_path / "records")
    ledger.announce(announcement(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.abandon(abandonment("stop"), keys["alice"])
    assert ledger.open_announcements() == []
    with pytest.raises(LedgerError, match="closed already"):
        ledger.abandon(abandonment("stop-again"), keys["alice"])
    assert failing_files(tmp_path / "records") == set()


# ------------------------------------------------------------------ status


def statuses(folder: Path) -> dict[str, str]:
    return {item.folder: item.state.status for item in Ledger(folder).records()}


def test_the_latest_status_wins_and_only_a_verified_record_stands(two_records: Path, keys: Keys) -> None:
    ledger = Ledger(two_records)
    assert ledger.standing("cpu-logic@1") == HOME
    ledger.set_status(status_entry("disputed"), keys["alice"])
    assert statuses(two_records) == {HOME: "disputed", BOBS: "verified"}
    assert ledger.standing("cpu-logic@1") is None
    ledger.set_status(status_entry("verified", created_utc="2026-11-20T21:00:00Z"), keys["alice"])
    assert ledger.standing("cpu-logic@1") == HOME
    ledger.set_status(status_entry("superseded", rule="R10"), keys["alice"])
    (item,) = (item for item in ledger.records() if item.folder == HOME)
    assert item.state.change is not None
    assert (item.state.status, item.state.change.rule, item.state.change.reason) == (
        "superseded", "R10", "it did not reproduce",
    )  # fmt: skip
    assert failing_files(two_records) == set()
    messages = {result.file: result.message for result in check(two_records) if result.check == "status"}
    assert messages["log/status-superseded.json"] == f"{HOME} is superseded under R10: it did not reproduce"


def test_a_record_after_a_withdrawal_is_judged_against_what_stands_then(two_records: Path, keys: Keys) -> None:
    ledger = Ledger(two_records)
    own = record().predicate.commitment.model_dump()
    for number, standing in enumerate([HOME, f"{HOME}_2"]):
        ledger.announce(announcement(f"more{number}", names=["baseline"]), keys["alice"])
        claim = own | {"entry": f"more{number}"}
        ledger.add_record(record(commitment=claim, verdict=against(standing)), FILES, keys["alice"])
    assert ledger.standing("cpu-logic@1") == f"{HOME}_3"
    ledger.set_status(status_entry("withdrawn", f"{HOME}_3", rule="R3"), keys["alice"])
    assert ledger.standing("cpu-logic@1") == f"{HOME}_2"
    # One that was judged against the withdrawn record does not take its place: nobody chooses an opponent.
    for name, standing, stands in [("x", f"{HOME}_3", f"{HOME}_2"), ("y", f"{HOME}_2", f"{HOME}_5")]:
        ledger.announce(announcement(name, names=["baseline"]), keys["alice"])
        ledger.add_record(record(commitment=own | {"entry": name}, verdict=against(standing)), FILES, keys["alice"])
        assert ledger.standing("cpu-logic@1") == stands
    assert failing_files(two_records) == set()


def test_who_may_change_a_status(two_records: Path, keys: Keys) -> None:
    ledger = Ledger(two_records)
    for key, entry in [
        ("bob", status_entry("disputed", signer="bob")),  # somebody who is not listed, of another's record
        ("bob", status_entry("withdrawn", signer="bob")),
        ("bob", status_entry("disputed", BOBS, "bob")),  # of his own, but more than to withdraw it
        ("bob", status_entry("verified", BOBS, "bob")),
        ("carol", status_entry("withdrawn", BOBS, "carol")),
        ("alice", status_entry("disputed", created_utc="2026-11-22T00:00:00Z")),  # listed, but not for that day
    ]:
        with pytest.raises(LedgerError, match="only an official key"):
            ledger.set_status(entry, keys[key])
    with pytest.raises(LedgerError, match="no sound record"):
        ledger.set_status(status_entry(record="2026-11-20_cpu-logic_other"), keys["alice"])
    with pytest.raises(LedgerError, match="older than the record"):
        ledger.set_status(status_entry(created_utc="2026-11-20T18:00:00Z"), keys["alice"])
    ledger.set_status(status_entry("withdrawn", BOBS, "bob", "R12"), keys["bob"])  # his own self-reported record
    assert statuses(two_records) == {HOME: "verified", BOBS: "withdrawn"}
    ledger.set_status(status_entry("disputed", BOBS), keys["alice"])  # and an official key may do anything
    assert statuses(two_records)[BOBS] == "disputed"
    assert failing_files(two_records) == set()


def test_a_change_by_somebody_who_may_not_is_a_finding_and_has_no_effect(two_records: Path, keys: Keys) -> None:
    """Bob puts himself on the list, signs, and takes himself off it again."""
    listing = (two_records / "allowed_signers").read_text(encoding="utf-8")
    list_signers(two_records, keys["alice"], keys["bob"])
    Ledger(two_records).set_status(status_entry("withdrawn", signer="bob"), keys["bob"])
    assert failing_files(two_records) == set()
    (two_records / "allowed_signers").write_text(listing, encoding="utf-8")
    assert failing_files(two_records) == {"log/status-withdrawn.json"}


@given(statuses=st.lists(st.sampled_from(["verified", "disputed", "withdrawn", "superseded"]), max_size=6))
@settings(deadline=None, max_examples=20)
def test_the_state_after_any_changes_is_the_last_one(
    tmp_path_factory: pytest.TempPathFactory, keys: Keys, statuses: list[Status]
) -> None:
    folder = tmp_path_factory.mktemp("ledger") / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.announce(announcement(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    for number, status in enumerate(statuses):
        ledger.set_status(status_entry(status, id=f"c{number}"), keys["alice"])
    last = statuses[-1] if statuses else "verified"
    assert ledger.records()[0].state.status == last
    assert (ledger.standing("cpu-logic@1") == HOME) is (last == "verified")
    assert failing_files(folder) == set()


# ------------------------------------------------------------------ keys: rotation, several signers, revocation


def test_a_key_is_rotated_by_a_second_line_for_the_same_name(two_records: Path, keys: Keys) -> None:
    ledger = Ledger(two_records)
    with pytest.raises(LedgerError, match="listed with another key"):
        ledger.announce(announcement("third"), keys["new"])
    old = trust.allowed_line(keys["alice"].public, "alice", NOON, NOON + timedelta(hours=7))
    new = trust.allowed_line(keys["new"].public, "alice", NOON + timedelta(hours=7), NOON + timedelta(hours=9))
    (two_records / "allowed_signers").write_text(f"{old}\n{new}\n", encoding="utf-8")
    ledger.set_status(status_entry(), keys["new"])
    assert failing_files(two_records) == set()
    assert Ledger(two_records).records()[0].state.authority == "official"  # the old key, in the old window
    with pytest.raises(LedgerError, match="self-reported: alice is not listed"):
        ledger.set_status(status_entry("verified"), keys["alice"])  # its window is over


def test_several_signers_are_all_official_each_under_their_own_name(two_records: Path, keys: Keys) -> None:
    list_signers(two_records, keys["alice"], keys["bob"])
    assert {item.folder: item.official for item in Ledger(two_records).records()} == {HOME: True, BOBS: True}
    assert Ledger(two_records).standing("cpu-logic@1") == BOBS
    with pytest.raises(LedgerError, match="the key is bob's"):
        Ledger(two_records).set_status(status_entry(), keys["bob"])
    Ledger(two_records).set_status(status_entry(signer="bob"), keys["bob"])
    assert failing_files(two_records) == set()


def test_what_a_revoked_key_signed_stops_counting(two_records: Path, keys: Keys) -> None:
    list_signers(two_records, keys["alice"], keys["carol"])
    ledger = Ledger(two_records)
    ledger.set_status(status_entry("withdrawn", BOBS), keys["alice"])
    (two_records / "revoked_keys").write_text(f"# stolen\n{keys['alice'].public} alice\n", encoding="utf-8")
    assert ledger.standing("cpu-logic@1") is None
    assert {item.folder: item.state.authority for item in ledger.records()} == {HOME: "revoked", BOBS: "self-reported"}
    assert statuses(two_records)[BOBS] == "verified"  # her change of it has no effect either
    messages = {result.file: result.message for result in check(two_records) if result.check in ("signer", "status")}
    assert messages[f"{HOME}/record.json"] == "revoked: the key that signed as alice no longer counts"
    assert "has no effect" in messages["log/status-withdrawn.json"]
    # The checkpoint is hers too: somebody must sign it afresh, with the entry that says what happened.
    assert failing_files(two_records) == {"checkpoint"}
    with pytest.raises(LedgerError, match="is revoked"):
        ledger.announce(announcement("third"), keys["alice"])
    ledger.set_status(status_entry("withdrawn", rule="R11", signer="carol", id="revoked"), keys["carol"])
    assert failing_files(two_records) == set()


def test_one_who_beat_a_record_whose_key_is_revoked_later_stands(two_records: Path, keys: Keys) -> None:
    list_signers(two_records, keys["alice"], keys["bob"])
    (two_records / "revoked_keys").write_text(f"{keys['alice'].public}\n", encoding="utf-8")
    assert Ledger(two_records).standing("cpu-logic@1") == BOBS


def test_a_listed_name_under_an_unlisted_key_is_an_impostor(tmp_path: Path, keys: Keys) -> None:
    folder = tmp_path / "records"
    ledger = Ledger(folder)
    ledger.announce(announcement(), keys["alice"])  # self-reported: nobody is listed
    line = trust.allowed_line(keys["bob"].public, "alice", NOON, NOON + timedelta(days=1))
    (folder / "allowed_signers").write_text(f"{line}\n", encoding="utf-8")
    assert failing_files(folder) == {"log/first.json"}
    with pytest.raises(LedgerError, match="listed with another key"):
        ledger.announce(announcement("second"), keys["alice"])
    with pytest.raises(LedgerError, match="listed for another identity"):
        ledger.announce(announcement("second", "bob"), keys["bob"])


def test_outside_the_window_a_listed_signer_is_self_reported(ledger_copy: Path, keys: Keys) -> None:
    text = (ledger_copy / "allowed_signers").read_text(encoding="utf-8")
    (ledger_copy / "allowed_signers").write_text(
        text.replace("20261121120000Z", "20261120181529Z"), encoding="utf-8"
    )  # a second too short
    assert failing_files(ledger_copy) == set()
    assert Ledger(ledger_copy).standing("cpu-logic@1") is None
    messages = {result.file: result.message for result in check(ledger_copy) if result.check == "signer"}
    assert messages["log/first.json"] == "official: alice"
    assert "self-reported" in messages[f"{HOME}/record.json"]
