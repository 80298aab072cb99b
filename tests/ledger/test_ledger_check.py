"""A sound ledger checks clean, and any changed byte, file or line in it is found and named."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from ledger_samples import HOME, Keys, failing_files, needs_ssh_keygen, record, snapshot, ssh_keygen

from harness.ledger import merkle
from harness.ledger.check import check
from harness.ledger.errors import LedgerError
from harness.ledger.index import parse_checkpoint
from harness.ledger.record import load
from harness.ledger.store import Ledger


def test_one_of_everything_checks_clean(sample_ledger: Path) -> None:
    assert failing_files(sample_ledger) == set()
    messages = {(result.check, result.file): result.message for result in check(sample_ledger)}
    assert messages["signer", f"{HOME}/record.json"] == "official: alice"
    assert messages["signer", "log/second.json"] == "self-reported: bob is not in allowed_signers"
    assert messages["commitment", f"{HOME}/record.json"] == "answers announcement first"
    assert messages["closed", "log/second.json"] == "open: baseline, no-kl"
    assert messages["closed", "log/first.json"] == "every submission is accounted for"
    assert ("evidence", f"{HOME}/train.log") in messages
    ledger = Ledger(sample_ledger)
    assert [session.id for session in ledger.open_announcements()] == ["second"]
    assert ledger.standing("cpu-logic@1") == HOME
    assert ledger.standing("cpu-logic@2") is None
    assert [(item.folder, item.official) for item in ledger.records()] == [(HOME, True)]
    assert load((sample_ledger / HOME / "record.json").read_bytes()) == record()
    size, root = parse_checkpoint((sample_ledger / "checkpoint").read_bytes())
    lines = (sample_ledger / "index").read_bytes().splitlines()
    assert (size, root) == (4, merkle.root(lines))


@needs_ssh_keygen
def test_ssh_keygen_alone_checks_a_record_and_the_checkpoint(sample_ledger: Path) -> None:
    def accepts(file: Path, namespace: str, data: bytes) -> bool:
        who = ["-f", sample_ledger / "allowed_signers", "-I", "alice", "-n", namespace]
        options = [*who, "-s", f"{file}.sig", "-Overify-time=20261120181530Z"]
        return ssh_keygen("-Y", "verify", *options, data=data).returncode == 0

    file = sample_ledger / HOME / "record.json"
    data = file.read_bytes()
    assert accepts(file, "nano-r1-record-v1", data)
    assert not accepts(file, "nano-r1-record-v1", data.replace(b"true", b"True", 1))
    entry = sample_ledger / "log" / "first.json"
    assert accepts(entry, "nano-r1-log-v1", entry.read_bytes())


def test_any_changed_byte_is_found_and_the_file_named(ledger_copy: Path) -> None:
    files = sorted(set(snapshot(ledger_copy)) - {".lock", "allowed_signers"})
    assert len(files) == 13
    chance = random.Random(20261120)
    for attempt in range(160):
        name = files[attempt % len(files)]
        path, data = ledger_copy / name, bytearray((ledger_copy / name).read_bytes())
        original = bytes(data)
        position = chance.randrange(len(data))
        data[position] = chance.choice([byte for byte in b'\n "a0A=\x00\xff' if byte != data[position]])
        path.write_bytes(data)
        assert name in failing_files(ledger_copy), f"byte {position} of {name}"
        path.write_bytes(original)
    assert failing_files(ledger_copy) == set()


def test_any_changed_byte_of_a_listed_key_or_name_is_found(ledger_copy: Path, keys: Keys) -> None:
    text = (ledger_copy / "allowed_signers").read_text(encoding="utf-8")
    body = keys["alice"].public.split(" ")[1]
    for position in [*range(5), *range(text.index(body), text.index(body) + len(body))]:
        byte = "B" if text[position] != "B" else "C"
        (ledger_copy / "allowed_signers").write_text(text[:position] + byte + text[position + 1 :], encoding="utf-8")
        assert failing_files(ledger_copy), position


def test_lost_added_and_reordered_things_are_found(ledger_copy: Path) -> None:
    original = snapshot(ledger_copy)
    for name in sorted(set(original) - {".lock", "allowed_signers"}):
        (ledger_copy / name).unlink()
        assert failing_files(ledger_copy), name
        (ledger_copy / name).write_bytes(original[name])
    for name in ("extra", f"{HOME}/extra", "log/extra.json", "log/.hidden"):
        (ledger_copy / name).write_bytes(b"")
        assert failing_files(ledger_copy) == {name}
        (ledger_copy / name).unlink()
    (ledger_copy / "other").mkdir()
    assert failing_files(ledger_copy) == {"other"}
    (ledger_copy / "other").rmdir()
    lines = original["index"].decode().splitlines(keepends=True)
    for changed in (lines[::-1], lines[:-1], lines[1:], [*lines, lines[0]], []):
        (ledger_copy / "index").write_text("".join(changed), encoding="utf-8")
        assert "index" in failing_files(ledger_copy)
    (ledger_copy / "index").write_bytes(original["index"])
    assert failing_files(ledger_copy) == set()


def test_links_and_odd_files_are_never_followed(ledger_copy: Path, tmp_path: Path) -> None:
    for name in ("index", "log/first.json", "log/first.json.sig", f"{HOME}/train.log"):
        shutil.move(ledger_copy / name, tmp_path / "outside")
        (ledger_copy / name).symlink_to(tmp_path / "outside")  # the very same bytes
        assert name in failing_files(ledger_copy)
        (ledger_copy / name).unlink()
        os.mkfifo(ledger_copy / name)
        assert name in failing_files(ledger_copy)
        (ledger_copy / name).unlink()
        shutil.move(tmp_path / "outside", ledger_copy / name)
    for name in ("log", HOME):
        shutil.move(ledger_copy / name, tmp_path / "outside")
        (ledger_copy / name).symlink_to(tmp_path / "outside")
        assert any(file.startswith(name) for file in failing_files(ledger_copy))
        (ledger_copy / name).unlink()
        shutil.move(tmp_path / "outside", ledger_copy / name)
    assert failing_files(ledger_copy) == set()


def test_an_unreadable_revocation_list_is_named(two_records: Path) -> None:
    for text in ("ssh-rsa AAAA\n", " ssh-ed25519 AAAA\n", "\xff"):
        (two_records / "revoked_keys").write_bytes(text.encode("latin-1"))
        assert failing_files(two_records) == {"revoked_keys"}
        with pytest.raises(LedgerError, match="revoked_keys"):
            Ledger(two_records).standing("cpu-logic@1")
