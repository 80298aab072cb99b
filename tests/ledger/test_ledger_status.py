"""What becomes of records: changes of status, revoked and rotated keys, and appends that do not read the whole log."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ledger_log import FILES, HOME, NOON, against, commitment, list_signers, record

from harness.ledger import signature
from harness.ledger.log import (
    Ledger,
    LedgerError,
    Status,
    StatusChange,
    check,
    parse_entry,
    status_change,
)
from harness.ledger.record import dump
from harness.ledger.rules import RULES
from harness.tracks.track import ROOT

LATER = "2026-11-20T20:00:00Z"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, signature.Key]:
    """Alice has an old key and a new one; the others have one each."""
    folder, made = tmp_path_factory.mktemp("keys"), {}
    for name, identity in [("alice", "alice"), ("new", "alice"), ("bob", "bob"), ("carol", "carol")]:
        signature.generate(folder / name, identity)
        made[name] = signature.load_key(folder / name)
    return made


def change(
    status: Status = "disputed", record: str = HOME, signer: str = "alice", rule: str = "R13", **other: Any
) -> StatusChange:
    values = {"id": f"status-{status}", "created_utc": LATER, "reason": "it did not reproduce", **other}
    return StatusChange(signer=signer, record=record, status=status, rule=rule, **values)


@pytest.fixture
def folder(tmp_path: Path, keys: dict[str, signature.Key]) -> Path:
    """Alice (listed) made the record that stands; Bob (not listed) made one of the same day."""
    folder = tmp_path / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.commit(commitment(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.commit(commitment("second", "bob"), keys["bob"])
    own = record().predicate.commitment.model_dump() | {"entry": "second"}
    ledger.add_record(record("no-kl", signer="bob", commitment=own, verdict=against(HOME)), FILES, keys["bob"])
    return folder


BOBS = "2026-11-20_cpu-logic_no-kl"


def bad(folder: Path) -> set[str]:
    return {finding.file for finding in check(folder) if not finding.ok}


def statuses(folder: Path) -> dict[str, str]:
    return {item.folder: item.known.status for item in Ledger(folder).records()}


# ------------------------------------------------------------------ status


def test_the_latest_status_wins_and_only_a_verified_record_stands(folder: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(folder)
    assert ledger.standing("cpu-logic@1") == HOME
    ledger.set_status(change("disputed"), keys["alice"])
    assert statuses(folder) == {HOME: "disputed", BOBS: "verified"}
    assert ledger.standing("cpu-logic@1") is None
    ledger.set_status(change("verified", created_utc="2026-11-20T21:00:00Z"), keys["alice"])
    assert ledger.standing("cpu-logic@1") == HOME
    ledger.set_status(change("superseded", rule="R10"), keys["alice"])
    (item,) = (item for item in ledger.records() if item.folder == HOME)
    assert item.known.change is not None
    assert (item.known.status, item.known.change.rule, item.known.change.reason) == (
        "superseded", "R10", "it did not reproduce",
    )  # fmt: skip
    assert bad(folder) == set()
    said = {finding.file: finding.message for finding in check(folder) if finding.check == "status"}
    assert said["log/status-superseded.json"] == f"{HOME} is superseded under R10: it did not reproduce"


def test_a_record_after_a_withdrawal_is_judged_against_what_stands_then(
    folder: Path, keys: dict[str, signature.Key]
) -> None:
    ledger = Ledger(folder)
    own = record().predicate.commitment.model_dump()
    for number, standing in enumerate([HOME, f"{HOME}_2"]):
        ledger.commit(commitment(f"more{number}", names=["baseline"]), keys["alice"])
        claim = own | {"entry": f"more{number}"}
        ledger.add_record(record(commitment=claim, verdict=against(standing)), FILES, keys["alice"])
    assert ledger.standing("cpu-logic@1") == f"{HOME}_3"
    ledger.set_status(change("withdrawn", f"{HOME}_3", rule="R3"), keys["alice"])
    assert ledger.standing("cpu-logic@1") == f"{HOME}_2"
    # One that was judged against the withdrawn record does not take its place: nobody chooses an opponent.
    for name, standing, stands in [("x", f"{HOME}_3", f"{HOME}_2"), ("y", f"{HOME}_2", f"{HOME}_5")]:
        ledger.commit(commitment(name, names=["baseline"]), keys["alice"])
        ledger.add_record(record(commitment=own | {"entry": name}, verdict=against(standing)), FILES, keys["alice"])
        assert ledger.standing("cpu-logic@1") == stands
    assert bad(folder) == set()


def test_who_may_change_a_status(folder: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(folder)
    for key, entry in [
        ("bob", change("disputed", signer="bob")),  # somebody who is not listed, of another's record
        ("bob", change("withdrawn", signer="bob")),
        ("bob", change("disputed", BOBS, "bob")),  # of his own, but more than to withdraw it
        ("bob", change("verified", BOBS, "bob")),
        ("carol", change("withdrawn", BOBS, "carol")),
        ("alice", change("disputed", created_utc="2026-11-22T00:00:00Z")),  # listed, but not for that day
    ]:
        with pytest.raises(LedgerError, match="only an official key"):
            ledger.set_status(entry, keys[key])
    with pytest.raises(LedgerError, match="no sound record"):
        ledger.set_status(change(record="2026-11-20_cpu-logic_other"), keys["alice"])
    with pytest.raises(LedgerError, match="older than the record"):
        ledger.set_status(change(created_utc="2026-11-20T18:00:00Z"), keys["alice"])
    ledger.set_status(change("withdrawn", BOBS, "bob", "R12"), keys["bob"])  # his own self-reported record
    assert statuses(folder) == {HOME: "verified", BOBS: "withdrawn"}
    ledger.set_status(change("disputed", BOBS), keys["alice"])  # and an official key may do anything
    assert statuses(folder)[BOBS] == "disputed"
    assert bad(folder) == set()


def test_a_change_by_somebody_who_may_not_is_a_finding_and_has_no_effect(
    folder: Path, keys: dict[str, signature.Key]
) -> None:
    """Bob puts himself on the list, signs, and takes himself off it again."""
    listing = (folder / "allowed_signers").read_text()
    list_signers(folder, keys["alice"], keys["bob"])
    Ledger(folder).set_status(change("withdrawn", signer="bob"), keys["bob"])
    assert bad(folder) == set()
    (folder / "allowed_signers").write_text(listing)
    assert bad(folder) == {"log/status-withdrawn.json"}


def test_an_unknown_rule_or_status_is_refused(folder: Path, keys: dict[str, signature.Key]) -> None:
    for status, rule, word in [("disputed", "R99", "R99"), ("disputed", "", "not a rule"), ("gone", "R1", "gone")]:
        with pytest.raises(LedgerError, match=word):
            status_change(HOME, status, rule, "why", "alice", NOON)
    with pytest.raises(LedgerError, match="record"):
        status_change("../elsewhere", "disputed", "R1", "why", "alice", NOON)
    data = dump(change()).replace(b'"R13"', b'"R77"')
    signed = signature.sign(keys["alice"], signature.LOG_NAMESPACE, data)
    with pytest.raises(LedgerError, match="R77"):
        parse_entry("log/status-disputed.json", data, signed)


def test_every_rule_stands_in_contributing_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert dict(re.findall(r"(?m)^- \*\*(R[0-9]+)\.\s+([^*]+?)\.\*\*", text)) == RULES


# ------------------------------------------------------------------ keys: rotation, several signers, revocation


def test_a_key_is_rotated_by_a_second_line_for_the_same_name(folder: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(folder)
    with pytest.raises(LedgerError, match="listed with another key"):
        ledger.commit(commitment("third"), keys["new"])
    old = signature.allowed_line(keys["alice"].public, "alice", NOON, NOON + timedelta(hours=7))
    new = signature.allowed_line(keys["new"].public, "alice", NOON + timedelta(hours=7), NOON + timedelta(hours=9))
    (folder / "allowed_signers").write_text(f"{old}\n{new}\n")
    ledger.set_status(change(), keys["new"])
    assert bad(folder) == set()
    assert Ledger(folder).records()[0].known.authority == "official"  # the old key, in the old window
    with pytest.raises(LedgerError, match="self-reported: alice is not listed"):
        ledger.set_status(change("verified"), keys["alice"])  # its window is over


def test_several_signers_are_all_official_each_under_their_own_name(
    folder: Path, keys: dict[str, signature.Key]
) -> None:
    list_signers(folder, keys["alice"], keys["bob"])
    assert {item.folder: item.official for item in Ledger(folder).records()} == {HOME: True, BOBS: True}
    assert Ledger(folder).standing("cpu-logic@1") == BOBS
    with pytest.raises(LedgerError, match="the key is bob's"):
        Ledger(folder).set_status(change(), keys["bob"])
    Ledger(folder).set_status(change(signer="bob"), keys["bob"])
    assert bad(folder) == set()


def test_what_a_revoked_key_signed_stops_counting(folder: Path, keys: dict[str, signature.Key]) -> None:
    list_signers(folder, keys["alice"], keys["carol"])
    ledger = Ledger(folder)
    ledger.set_status(change("withdrawn", BOBS), keys["alice"])
    (folder / "revoked_keys").write_text(f"# stolen\n{keys['alice'].public} alice\n")
    assert ledger.standing("cpu-logic@1") is None
    assert {item.folder: item.known.authority for item in ledger.records()} == {HOME: "revoked", BOBS: "self-reported"}
    assert statuses(folder)[BOBS] == "verified"  # her change of it has no effect either
    messages = {finding.file: finding.message for finding in check(folder) if finding.check in ("signer", "status")}
    assert messages[f"{HOME}/record.json"] == "revoked: the key that signed as alice no longer counts"
    assert "has no effect" in messages["log/status-withdrawn.json"]
    # The checkpoint is hers too: somebody must sign it afresh, with the entry that says what happened.
    assert bad(folder) == {"checkpoint"}
    with pytest.raises(LedgerError, match="is revoked"):
        ledger.commit(commitment("third"), keys["alice"])
    ledger.set_status(change("withdrawn", rule="R11", signer="carol", id="said"), keys["carol"])
    assert bad(folder) == set()


def test_one_who_beat_a_record_whose_key_is_revoked_later_stands(folder: Path, keys: dict[str, signature.Key]) -> None:
    list_signers(folder, keys["alice"], keys["bob"])
    (folder / "revoked_keys").write_text(f"{keys['alice'].public}\n")
    assert Ledger(folder).standing("cpu-logic@1") == BOBS


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", False),
        ("\n# nobody\n\n", False),
        ("BOB\n", False),
        ("BOB bob of the lab\n", False),
        ("# old\nBOB\nALICE\n", True),
        ("ALICE", True),
        ("ALICE # revoked-after 2030-01-01: OpenSSH knows no dates, so neither do we\n", True),
        ("ssh-ed25519 AAAA\n", None),
        ("alice ALICE\n", None),
        ("BOB\ngarbage\n", None),
    ],
)
def test_revoked_keys_mean_the_same_to_openssh(
    tmp_path: Path, keys: dict[str, signature.Key], text: str, refused: bool | None
) -> None:
    """None: neither can read the file, and so neither accepts anything. A space at a line's start is only ours."""
    text = text.replace("ALICE", keys["alice"].public).replace("BOB", keys["bob"].public)
    (tmp_path / "revoked_keys").write_text(text)
    (tmp_path / "signers").write_text(f"alice {keys['alice'].public}\n")
    (tmp_path / "sig").write_bytes(signature.sign(keys["alice"], "file", b"data"))
    command = ["ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "signers"), "-I", "alice", "-n", "file",
               "-s", str(tmp_path / "sig"), "-r", str(tmp_path / "revoked_keys")]  # fmt: skip
    accepted = subprocess.run(command, input=b"data", capture_output=True).returncode == 0
    assert accepted is (refused is False)
    if refused is None:
        with pytest.raises(signature.SignatureError, match="line"):
            signature.parse_revoked_keys(text)
    else:
        assert (keys["alice"].public in signature.parse_revoked_keys(text)) is refused


def test_an_unreadable_revocation_list_is_named(folder: Path) -> None:
    for text in ("ssh-rsa AAAA\n", " ssh-ed25519 AAAA\n", "\xff"):
        (folder / "revoked_keys").write_bytes(text.encode("latin-1"))
        assert bad(folder) == {"revoked_keys"}
        with pytest.raises(LedgerError, match="revoked_keys"):
            Ledger(folder).standing("cpu-logic@1")


# ------------------------------------------------------------------ what an append reads


def test_an_append_under_a_known_checkpoint_reads_only_what_it_refers_to(
    folder: Path, keys: dict[str, signature.Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(folder)
    ledger.commit(commitment("third", names=["no-kl"]), keys["alice"])
    read: list[str] = []
    real = Ledger._read
    monkeypatch.setattr(Ledger, "_read", lambda self, name: read.append(name) or real(self, name))

    def entries() -> set[str]:
        return {name for name in read if name.endswith(".json")}

    ledger.commit(commitment("fourth"), keys["alice"])
    assert entries() == set()
    ledger.set_status(change(), keys["alice"])
    assert entries() == {f"{HOME}/record.json"}
    read.clear()
    claim = record().predicate.commitment.model_dump() | {"entry": "third"}
    ledger.add_record(record("no-kl", commitment=claim), FILES, keys["alice"])
    assert entries() == {"log/third.json", "log/fourth.json", "log/status-disputed.json"}  # from its commitment on
    read.clear()
    ledger.commit(commitment("by-bob", "bob"), keys["bob"])
    ledger.commit(commitment("after-bob"), keys["alice"])  # bob is a stranger: everything is read and followed
    assert f"{HOME}/record.json" in entries()
    assert bad(folder) == set()


def test_a_changed_entry_is_never_vouched_for(folder: Path, keys: dict[str, signature.Key]) -> None:
    """What an append does not read keeps its old hash in the index, so the audit still finds it."""
    ledger = Ledger(folder)
    ledger.commit(commitment("third"), keys["alice"])
    path = folder / "log" / "first.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    ledger.commit(commitment("fourth"), keys["alice"])
    assert "log/first.json" in bad(folder)
    with pytest.raises(LedgerError, match=r"log/first\.json"):
        ledger.add_record(record("no-kl"), FILES, keys["alice"])  # this one would rest on it
    entry = folder / HOME / "record.json"
    entry.write_bytes(entry.read_bytes() + b"\n")
    with pytest.raises(LedgerError, match=HOME):
        ledger.set_status(change(), keys["alice"])


@given(statuses=st.lists(st.sampled_from(["verified", "disputed", "withdrawn", "superseded"]), max_size=6))
@settings(deadline=None, max_examples=20)
def test_the_state_after_any_changes_is_the_last_one(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, signature.Key], statuses: list[Status]
) -> None:
    folder = tmp_path_factory.mktemp("ledger") / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.commit(commitment(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    for number, status in enumerate(statuses):
        ledger.set_status(change(status, id=f"c{number}"), keys["alice"])
    last = statuses[-1] if statuses else "verified"
    assert ledger.records()[0].known.status == last
    assert (ledger.standing("cpu-logic@1") == HOME) is (last == "verified")
    assert bad(folder) == set()
