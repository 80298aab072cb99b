"""Appends under everything that happens to them: two writers, kill -9, a full disk, no right to write."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_samples import FILES, NONCE, SESSION_ROOT, Keys, abandonment, announcement, failing_files, record, snapshot

from harness.ledger.errors import LedgerError
from harness.ledger.signature import Key
from harness.ledger.store import Ledger


def write_many(folder: Path, key: Key, prefix: str, count: int, pipe: int | None = None) -> None:
    ledger = Ledger(folder)
    for number in range(count):
        ledger.announce(announcement(f"{prefix}{number}", key.identity), key)
        if pipe is not None:
            os.write(pipe, f"{prefix}{number}\n".encode())


def test_two_processes_append_at_once_and_nothing_is_lost(tmp_path: Path, keys: Keys) -> None:
    fork = multiprocessing.get_context("fork")
    folder = tmp_path / "records"
    writers = [fork.Process(target=write_many, args=(folder, keys[name], f"{name}-", 15)) for name in ("alice", "bob")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert {entry.path for entry in Ledger(folder).entries()} == {
        f"log/{name}-{number}.json" for name in ("alice", "bob") for number in range(15)
    }
    assert failing_files(folder) == set()


def test_killed_at_any_moment_no_entry_is_lost_or_halved(tmp_path: Path, keys: Keys) -> None:
    folder, chance = tmp_path / "records", random.Random(7)
    begun = time.monotonic()
    Ledger(folder).announce(announcement("timed"), keys["alice"])
    append_s = time.monotonic() - begun  # a disk may take a millisecond or a hundred
    done: set[str] = set()
    interrupted = 0
    for attempt in range(60):
        if attempt >= 15 and interrupted:  # a kill seldom misses every append, and then there are more of them
            break
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_many(folder, keys["alice"], f"k{attempt}-", 1000, writer)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as pipe:
            if attempt % 3:
                done.add(pipe.readline().strip())
            time.sleep(chance.random() * 2 * append_s)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            done |= set(pipe.read().split())
        ledger = Ledger(folder)
        ledger.entries()  # a reader is never stopped by what the writer left
        interrupted += ledger.repair()
        assert failing_files(folder) == set()
        assert done <= {entry.path[4:-5] for entry in ledger.entries()}
    ledger.announce(announcement("last"), keys["alice"])
    assert failing_files(folder) == set()
    assert len(done) >= 10
    assert interrupted > 0  # the kills did fall inside appends


class Killed(BaseException):
    """Stands in for SIGKILL at a chosen step: nothing of ours handles it."""


def test_stopped_before_each_rename_in_turn(
    tmp_path: Path, sample_ledger: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of an append, for a log entry and for a record: afterwards it is in, sample_ledger, or not at all."""
    real, outcomes = {name: getattr(os, name) for name in ("replace", "rename", "mkdir", "rmdir", "unlink")}, []

    def write(ledger: Ledger, kind: str) -> None:
        if kind == "record":
            ledger.add_record(record("no-kl"), FILES, keys["alice"])
        else:
            ledger.abandon(abandonment("end"), keys["alice"])

    for kind in ("entry", "record"):
        for stop in range(1, 60):
            folder = tmp_path / f"{kind}{stop}"
            ledger = Ledger(folder)
            ledger.announce(announcement(), keys["alice"])
            calls = 0

            def stopping(name: str) -> Callable[..., Any]:
                def step(*arguments: Any, **options: Any) -> Any:
                    nonlocal calls
                    calls += 1
                    if calls >= stop:  # noqa: B023
                        raise Killed
                    return real[name](*arguments, **options)

                return step

            for name in real:
                monkeypatch.setattr(os, name, stopping(name))
            try:
                write(ledger, kind)
                finished = True
            except Killed:
                finished = False
            monkeypatch.undo()
            left = (folder / ".next").exists()
            paths = [entry.path for entry in ledger.entries()]
            assert len(ledger.open_announcements()) == 1 or len(paths) == 2  # readable meanwhile
            ledger.repair()
            assert failing_files(folder) == set()
            assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".lock"]
            added = len(ledger.entries()) == 2
            assert added or not (finished or left)
            if not added:
                write(ledger, kind)
                assert failing_files(folder) == set()
            outcomes.append((kind, added, finished))
            if finished:
                break
    assert {outcome for outcome in outcomes if not outcome[2]} == {
        (kind, added, False) for kind in ("entry", "record") for added in (False, True)
    }


def test_a_full_disk_changes_nothing_and_says_so(ledger_copy: Path, keys: Keys) -> None:
    big = {"big.bin": b"x" * 200_000}
    large = record("no-kl", files={"big.bin": hashlib.sha256(big["big.bin"]).hexdigest()}, commitment={
        "entry": "third", "root_hex": SESSION_ROOT.hex(), "nonce_hex": NONCE.hex(),
        "commitment_sha256": hashlib.sha256(SESSION_ROOT + NONCE).hexdigest(),
    })  # fmt: skip
    ledger = Ledger(ledger_copy)
    ledger.announce(announcement("third"), keys["alice"])
    before = snapshot(ledger_copy)
    child = os.fork()
    if child == 0:  # no file may grow past 100 kB here: the write fails half-way, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            ledger.add_record(large, big, keys["alice"])
        except LedgerError as error:
            os._exit(3 if "cannot write the ledger" in str(error) and "nothing was added" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert snapshot(ledger_copy) == before
    ledger.add_record(large, big, keys["alice"])
    assert failing_files(ledger_copy) == set()


def test_no_right_to_write_is_named_as_the_reason(ledger_copy: Path, keys: Keys) -> None:
    before = snapshot(ledger_copy)
    child = os.fork()
    if child == 0:
        os.chdir(ledger_copy)  # the folders above it are private to whoever runs the tests
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        else:
            ledger_copy.chmod(0o500)
            (ledger_copy / ".lock").chmod(0o400)
        try:
            Ledger(Path()).announce(announcement("third"), keys["alice"])
        except LedgerError as error:
            os._exit(3 if "Permission denied; nothing was added" in str(error) else 4)
        os._exit(5)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ledger_copy.chmod(0o755)
    assert status == 3
    assert snapshot(ledger_copy) == before
    (ledger_copy.parent / "file").touch()
    with pytest.raises(LedgerError, match="cannot write the ledger"):
        Ledger(ledger_copy.parent / "file" / "records").announce(announcement(), keys["alice"])
