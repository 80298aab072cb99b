"""The log under everything that happens to logs: two writers, kill -9, a full disk, and changed bytes."""

import base64
import contextlib
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.ledger import merkle, signature
from harness.ledger.log import (
    Abandonment,
    Announced,
    Commitment,
    Ledger,
    LedgerError,
    Signed,
    State,
    check,
    follow,
    fresh_id,
    parse_checkpoint,
    parse_index,
)
from harness.ledger.record import Record, dump, load

ROOT, NONCE = b"r" * 32, b"n" * 32
DAY = "2026-11-20T18:15:30Z"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TREES = {"baseline": "a" * 64, "no-kl": "b" * 64}
FILES = {"completions.bin": b"\x00\x01\x02" * 40, "train.log": b"step 0 reward 0.2\n"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, signature.Key]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        signature.generate(folder / name, name)
    return {name: signature.load_key(folder / name) for name in ("alice", "bob")}


def commitment(id: str = "first", signer: str = "alice", names: list[str] | None = None, **other: Any) -> Commitment:
    submissions = [Announced(name=name, tree_sha256=TREES[name]) for name in names or TREES]
    values: dict[str, Any] = {
        "created_utc": "2026-11-20T17:00:00Z", "track": "cpu-logic@1", "track_digest": "c" * 64, "runs": 1,
        "commitment_sha256": hashlib.sha256(ROOT + NONCE).hexdigest(), **other,
    }  # fmt: skip
    return Commitment(id=id, signer=signer, submissions=submissions, **values)


def abandonment(id: str, of: str = "first", submission: str | None = None, signer: str = "alice") -> Abandonment:
    return Abandonment(
        id=id, created_utc=DAY, signer=signer, commitment=of, submission=submission, reason="killed by hand"
    )


def record(name: str = "baseline", **other: Any) -> Record:
    interval = {"low": 1, "mean": 2, "high": 3}
    predicate: dict[str, Any] = {
        "track": "cpu-logic@1",
        "track_digest": "c" * 64,
        "submission": {
            "name": name, "path": name, "tree_sha256": TREES[name], "title": "t", "change": "c", "contributors": ["Ada"]
        },
        "commitment": {
            "entry": "first", "root_hex": ROOT.hex(), "nonce_hex": NONCE.hex(),
            "commitment_sha256": hashlib.sha256(ROOT + NONCE).hexdigest(),
        },
        "created_utc": DAY,
        "signer": "alice",
        "isolation": "full",
        "isolation_checks": {},
        "machine": {"cpu": "c", "cores": 2, "memory_bytes": 1, "kernel": "k", "python": "p", "packages": {}},
        "runs": [{
            "run": 0, "seed": 1, "started_utc": DAY, "wall_ms": 1, "cpu_ms": 1, "peak_memory_bytes": 1, "prompts": 1,
            "reward_queries": 1, "sampled_tokens": 1, "weights_sha256": "d" * 64, "evaluate_ms": 1, "tasks": {},
        }],
        "reference": {"tree_sha256": "a" * 64, "wall_ms": [1]},
        "verdict": {
            "gates": {}, "relative_cost_ppm": interval, "standing": None, "standing_p_ppb": None,
            "valid": True, "record": True, "reasons": [],
        },
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
        **other,
    }  # fmt: skip
    return Record.model_validate({"subject": [{"name": name, "digest": {"sha256": "d" * 64}}], "predicate": predicate})


HOME = "2026-11-20_cpu-logic_baseline"


def against(standing: str | None) -> dict[str, Any]:
    """The verdict of a record that was judged against this one."""
    return record().predicate.verdict.model_dump() | {"standing": standing}


def list_signers(folder: Path, *keys: signature.Key) -> None:
    folder.mkdir(exist_ok=True)
    lines = [signature.allowed_line(key.public, key.identity, NOON, NOON + timedelta(days=1)) for key in keys]
    (folder / "allowed_signers").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, signature.Key]) -> Path:
    """A ledger with one of everything: an official record, a closed session, an open one, a stranger's."""
    folder = tmp_path_factory.mktemp("whole") / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.commit(commitment(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.abandon(abandonment("given-up", submission="no-kl"), keys["alice"])
    ledger.commit(commitment("second", "bob"), keys["bob"])
    return folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "records"))


def bad(folder: Path) -> set[str]:
    """The files that `check` finds fault with."""
    return {finding.file for finding in check(folder) if not finding.ok}


# ------------------------------------------------------------------ the ordinary journey


def test_one_of_everything_checks_clean(whole: Path) -> None:
    assert bad(whole) == set()
    findings = {(finding.check, finding.file): finding.message for finding in check(whole)}
    home = "2026-11-20_cpu-logic_baseline"
    assert findings["signer", f"{home}/record.json"] == "official: alice"
    assert findings["signer", "log/second.json"] == "self-reported: bob is not in allowed_signers"
    assert findings["commitment", f"{home}/record.json"] == "answers commitment first"
    assert findings["closed", "log/second.json"] == "open: baseline, no-kl"
    assert findings["closed", "log/first.json"] == "every submission is accounted for"
    assert ("evidence", f"{home}/train.log") in findings
    ledger = Ledger(whole)
    assert [session.id for session in ledger.open_commitments()] == ["second"]
    assert ledger.standing("cpu-logic@1") == home
    assert ledger.standing("cpu-logic@2") is None
    assert [(item.folder, item.official) for item in ledger.records()] == [(home, True)]
    assert load((whole / home / "record.json").read_bytes()) == record()
    size, root = parse_checkpoint((whole / "checkpoint").read_bytes())
    lines = (whole / "index").read_bytes().splitlines()
    assert (size, root) == (4, merkle.root(lines))


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_ssh_keygen_alone_checks_a_record_and_the_checkpoint(whole: Path) -> None:
    def accepts(file: Path, namespace: str, identity: str, data: bytes) -> bool:
        command = ["ssh-keygen", "-Y", "verify", "-f", str(whole / "allowed_signers"), "-I", identity, "-n", namespace,
                   "-s", f"{file}.sig", "-Overify-time=20261120181530Z"]  # fmt: skip
        return subprocess.run(command, input=data, capture_output=True).returncode == 0

    file = whole / "2026-11-20_cpu-logic_baseline" / "record.json"
    data = file.read_bytes()
    assert accepts(file, "nano-r1-record-v1", "alice", data)
    assert not accepts(file, "nano-r1-record-v1", "alice", data.replace(b"true", b"True", 1))
    entry = whole / "log" / "first.json"
    assert accepts(entry, "nano-r1-log-v1", "alice", entry.read_bytes())


def test_an_empty_ledger_is_sound_and_the_first_append_makes_it(tmp_path: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(tmp_path / "new" / "records")
    assert (ledger.entries(), ledger.open_commitments(), ledger.standing("x@1")) == ([], [], None)
    assert bad(ledger.folder) == set()
    assert not ledger.folder.exists()
    assert ledger.commit(commitment(), keys["alice"]) == ledger.folder / "log" / "first.json"
    assert bad(ledger.folder) == set()
    left = sorted(path.name for path in ledger.folder.iterdir())
    assert left == [".lock", "checkpoint", "checkpoint.sig", "index", "log"]
    # Without allowed_signers nobody is official, so there is nothing to beat.
    ledger.add_record(record(), FILES, keys["alice"])
    assert ledger.standing("cpu-logic@1") is None


def test_two_records_of_one_name_on_one_day_get_two_folders(copied: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(copied)
    ledger.commit(commitment("third", names=["baseline"]), keys["alice"])
    claim = record().predicate.commitment.model_dump() | {"entry": "third"}
    home = ledger.add_record(record(commitment=claim, verdict=against(HOME)), FILES, keys["alice"])
    assert home.name == "2026-11-20_cpu-logic_baseline_2" == ledger.standing("cpu-logic@1")
    assert bad(copied) == set()


def test_abandoning_a_session_closes_what_is_open(tmp_path: Path, keys: dict[str, signature.Key]) -> None:
    ledger = Ledger(tmp_path / "records")
    ledger.commit(commitment(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.abandon(abandonment("stop"), keys["alice"])
    assert ledger.open_commitments() == []
    with pytest.raises(LedgerError, match="closed already"):
        ledger.abandon(abandonment("stop-again"), keys["alice"])
    assert bad(tmp_path / "records") == set()


def test_an_entry_that_a_pull_request_brought_is_appended_in_place(
    copied: Path, tmp_path: Path, keys: dict[str, signature.Key]
) -> None:
    theirs = Ledger(tmp_path / "theirs")
    path = theirs.commit(commitment("from-bob", "bob"), keys["bob"])
    for suffix in ("", ".sig"):
        shutil.copy(f"{path}{suffix}", copied / "log")
    assert bad(copied) == {"log/from-bob.json", "log/from-bob.json.sig"}  # present, but in no line
    ledger = Ledger(copied)
    ledger.append("log/from-bob.json", keys["alice"])
    assert bad(copied) == set()
    with pytest.raises(LedgerError, match="in the index already"):
        ledger.append("log/from-bob.json", keys["alice"])
    for path_text in ("../x.json", "/etc/passwd", "log/../index", "index", "log/a.json/b", "allowed_signers"):
        with pytest.raises(LedgerError, match="not the path of an entry"):
            ledger.append(path_text, keys["alice"])
    with pytest.raises(LedgerError, match="missing"):
        ledger.append("log/absent.json", keys["alice"])


def test_ids_are_entry_names() -> None:
    first, second = (fresh_id(datetime(2026, 11, 20, 18, 15, 30, tzinfo=UTC)) for _ in range(2))
    assert first.startswith("20261120t181530-") and first != second
    assert commitment(first).id == first


# ------------------------------------------------------------------ what must not be written


def refusals() -> Iterator[tuple[str, Callable[[Ledger, dict[str, signature.Key]], object]]]:
    claim = record().predicate.commitment.model_dump()
    submission = record("no-kl").predicate.submission.model_dump()

    def add(**other: Any) -> Callable[[Ledger, dict[str, signature.Key]], object]:
        return lambda ledger, keys: ledger.add_record(record("no-kl", **other), FILES, keys["alice"])

    yield "root and nonce", add(commitment=claim | {"root_hex": "0" * 64})
    yield "root and nonce", add(commitment=claim | {"commitment_sha256": "0" * 64})
    yield "no sound commitment nowhere", add(commitment=claim | {"entry": "nowhere"})
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
    yield "baseline of commitment first is closed", lambda log, k: log.add_record(record(), FILES, k["alice"])
    yield "closed already", lambda log, k: log.abandon(abandonment("x", submission="baseline"), k["alice"])
    yield "does not announce other", lambda log, k: log.abandon(abandonment("x", submission="other"), k["alice"])
    yield "already", lambda log, k: log.commit(commitment(), k["alice"])
    yield "announced twice", lambda log, k: log.commit(commitment("x", names=["no-kl", "no-kl"]), k["alice"])


@pytest.mark.parametrize(("reason", "write"), list(refusals()))
def test_entries_that_do_not_belong_are_refused_and_leave_no_trace(
    tmp_path: Path, keys: dict[str, signature.Key], reason: str, write: Callable[..., object]
) -> None:
    ledger = Ledger(tmp_path / "records")
    ledger.commit(commitment(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    before = snapshot(ledger.folder)
    with pytest.raises(LedgerError, match=reason):
        write(ledger, keys)
    assert snapshot(ledger.folder) == before


@pytest.mark.parametrize("name", ["../up", "record.json", "a/b", ".hidden", "", "a\nb"])
def test_evidence_cannot_leave_its_folder(copied: Path, keys: dict[str, signature.Key], name: str) -> None:
    files = {name: b"x"}
    evil = record("no-kl", files={name: hashlib.sha256(b"x").hexdigest()})
    before = snapshot(copied.parent)
    with pytest.raises(LedgerError, match="not a plain file name"):
        Ledger(copied).add_record(evil, files, keys["alice"])
    assert snapshot(copied.parent) == before


def test_a_listed_name_under_an_unlisted_key_is_an_impostor(tmp_path: Path, keys: dict[str, signature.Key]) -> None:
    folder = tmp_path / "records"
    ledger = Ledger(folder)
    ledger.commit(commitment(), keys["alice"])  # self-reported: nobody is listed
    line = signature.allowed_line(keys["bob"].public, "alice", NOON, NOON + timedelta(days=1))
    (folder / "allowed_signers").write_text(f"{line}\n")
    assert bad(folder) == {"log/first.json"}
    with pytest.raises(LedgerError, match="listed with another key"):
        ledger.commit(commitment("second"), keys["alice"])
    with pytest.raises(LedgerError, match="listed for another identity"):
        ledger.commit(commitment("second", "bob"), keys["bob"])


def test_outside_the_window_a_listed_signer_is_self_reported(copied: Path, keys: dict[str, signature.Key]) -> None:
    text = (copied / "allowed_signers").read_text()
    (copied / "allowed_signers").write_text(text.replace("20261121120000Z", "20261120181529Z"))  # a second too short
    assert bad(copied) == set()
    assert Ledger(copied).standing("cpu-logic@1") is None
    messages = {finding.file: finding.message for finding in check(copied) if finding.check == "signer"}
    assert messages["log/first.json"] == "official: alice"
    assert "self-reported" in messages["2026-11-20_cpu-logic_baseline/record.json"]


# ------------------------------------------------------------------ changed bytes


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_any_changed_byte_is_found_and_the_file_named(copied: Path) -> None:
    files = sorted(set(snapshot(copied)) - {".lock", "allowed_signers"})
    assert len(files) == 13
    chance = random.Random(20261120)
    for attempt in range(160):
        name = files[attempt % len(files)]
        path, data = copied / name, bytearray((copied / name).read_bytes())
        original = bytes(data)
        position = chance.randrange(len(data))
        data[position] = chance.choice([byte for byte in b'\n "a0A=\x00\xff' if byte != data[position]])
        path.write_bytes(data)
        assert name in bad(copied), f"byte {position} of {name}"
        path.write_bytes(original)
    assert bad(copied) == set()


def test_any_changed_byte_of_a_listed_key_or_name_is_found(copied: Path, keys: dict[str, signature.Key]) -> None:
    text = (copied / "allowed_signers").read_text()
    body = keys["alice"].public.split(" ")[1]
    for position in [*range(5), *range(text.index(body), text.index(body) + len(body))]:
        byte = "B" if text[position] != "B" else "C"
        (copied / "allowed_signers").write_text(text[:position] + byte + text[position + 1 :])
        assert bad(copied), position


def test_lost_added_and_reordered_things_are_found(copied: Path) -> None:
    home = "2026-11-20_cpu-logic_baseline"
    original = snapshot(copied)
    for name in sorted(set(original) - {".lock", "allowed_signers"}):
        (copied / name).unlink()
        assert bad(copied), name
        (copied / name).write_bytes(original[name])
    for name in ("extra", f"{home}/extra", "log/extra.json", "log/.hidden"):
        (copied / name).write_bytes(b"")
        assert bad(copied) == {name}
        (copied / name).unlink()
    (copied / "other").mkdir()
    assert bad(copied) == {"other"}
    (copied / "other").rmdir()
    lines = original["index"].decode().splitlines(keepends=True)
    for changed in (lines[::-1], lines[:-1], lines[1:], [*lines, lines[0]], []):
        (copied / "index").write_text("".join(changed))
        assert "index" in bad(copied)
    (copied / "index").write_bytes(original["index"])
    assert bad(copied) == set()


def test_links_and_odd_files_are_never_followed(copied: Path, tmp_path: Path) -> None:
    for name in ("index", "log/first.json", "log/first.json.sig", "2026-11-20_cpu-logic_baseline/train.log"):
        shutil.move(copied / name, tmp_path / "outside")
        (copied / name).symlink_to(tmp_path / "outside")  # the very same bytes
        assert name in bad(copied)
        (copied / name).unlink()
        os.mkfifo(copied / name)
        assert name in bad(copied)
        (copied / name).unlink()
        shutil.move(tmp_path / "outside", copied / name)
    for name in ("log", "2026-11-20_cpu-logic_baseline"):
        shutil.move(copied / name, tmp_path / "outside")
        (copied / name).symlink_to(tmp_path / "outside")
        assert any(file.startswith(name) for file in bad(copied))
        (copied / name).unlink()
        shutil.move(tmp_path / "outside", copied / name)
    assert bad(copied) == set()


@pytest.mark.parametrize("name", ["index", "checkpoint", "checkpoint.sig", "log/first.json"])
def test_nobody_signs_over_a_changed_log(copied: Path, keys: dict[str, signature.Key], name: str) -> None:
    data = (copied / name).read_bytes()
    (copied / name).write_bytes(data.replace(b"1", b"2", 1) if b"1" in data else data[:-1])
    before = snapshot(copied)
    with pytest.raises(LedgerError):
        Ledger(copied).commit(commitment("third"), keys["alice"])
    assert snapshot(copied) == before


@given(st.binary(max_size=120), st.integers(0, 2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_crash_the_parsers(data: bytes, which: int) -> None:
    prefix = [b"", b"a" * 64 + b" log/", b"nano-r1 log\n"][which]
    for parse in (parse_index, parse_checkpoint):
        with contextlib.suppress(LedgerError):
            parse(prefix + data)


@given(st.lists(st.sampled_from(["commit", "baseline", "no-kl", "all"]), max_size=12))
def test_every_submission_is_closed_exactly_once(steps: list[str]) -> None:
    """`follow` against a model: a set of open names for the latest commitment."""
    state = State()
    still: set[str] = set()
    latest = ""
    for number, step in enumerate(steps):
        if step == "commit":
            latest, still = f"c{number}", set(TREES)
            follow(state, Signed("", commitment(latest), "key"))
            continue
        wanted = set(still) if step == "all" else {step} & still
        said = abandonment(f"a{number}", of=latest or "none", submission=None if step == "all" else step)
        if wanted:
            follow(state, Signed("", said, "key"))
            still -= wanted
        else:
            with pytest.raises(LedgerError):
                follow(state, Signed("", said, "key"))
        if latest:
            assert set(state.sessions[latest].open) == still


# ------------------------------------------------------------------ two writers, kill -9, no room, no right


def write_many(folder: Path, key: signature.Key, prefix: str, count: int, said: Any = None) -> None:
    ledger = Ledger(folder)
    for number in range(count):
        ledger.commit(commitment(f"{prefix}{number}", key.identity), key)
        if said is not None:
            os.write(said, f"{prefix}{number}\n".encode())


def test_two_processes_append_at_once_and_nothing_is_lost(tmp_path: Path, keys: dict[str, signature.Key]) -> None:
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
    assert bad(folder) == set()


def test_killed_at_any_moment_no_entry_is_lost_or_halved(tmp_path: Path, keys: dict[str, signature.Key]) -> None:
    folder, chance = tmp_path / "records", random.Random(7)
    begun = time.monotonic()
    Ledger(folder).commit(commitment("timed"), keys["alice"])
    append_s = time.monotonic() - begun  # a disk may take a millisecond or a hundred
    done: set[str] = set()
    interrupted = 0
    for attempt in range(15):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write_many(folder, keys["alice"], f"k{attempt}-", 1000, writer)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            if attempt % 3:
                done.add(pipe.readline().strip())
            time.sleep(chance.random() * 2 * append_s)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            done |= set(pipe.read().split())
        ledger = Ledger(folder)
        ledger.entries()  # a reader is never stopped by what the writer left
        interrupted += ledger.repair()
        assert bad(folder) == set()
        assert done <= {entry.path[4:-5] for entry in ledger.entries()}
    ledger.commit(commitment("last"), keys["alice"])
    assert bad(folder) == set()
    assert len(done) >= 10
    assert interrupted > 0  # the kills did fall inside appends


class Killed(BaseException):
    """Stands in for SIGKILL at a chosen step: nothing of ours handles it."""


def test_stopped_before_each_rename_in_turn(
    tmp_path: Path, whole: Path, keys: dict[str, signature.Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of an append, for a log entry and for a record: afterwards it is in, whole, or not at all."""
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
            ledger.commit(commitment(), keys["alice"])
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
            assert len(ledger.open_commitments()) == 1 or len(paths) == 2  # readable meanwhile
            ledger.repair()
            assert bad(folder) == set()
            assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".lock"]
            added = len(ledger.entries()) == 2
            assert added or not (finished or left)
            if not added:
                write(ledger, kind)
                assert bad(folder) == set()
            outcomes.append((kind, added, finished))
            if finished:
                break
    assert {outcome for outcome in outcomes if not outcome[2]} == {
        (kind, added, False) for kind in ("entry", "record") for added in (False, True)
    }


def test_a_full_disk_changes_nothing_and_says_so(copied: Path, keys: dict[str, signature.Key]) -> None:
    big = {"big.bin": b"x" * 200_000}
    large = record("no-kl", files={"big.bin": hashlib.sha256(big["big.bin"]).hexdigest()}, commitment={
        "entry": "third", "root_hex": ROOT.hex(), "nonce_hex": NONCE.hex(),
        "commitment_sha256": hashlib.sha256(ROOT + NONCE).hexdigest(),
    })  # fmt: skip
    ledger = Ledger(copied)
    ledger.commit(commitment("third"), keys["alice"])
    before = snapshot(copied)
    child = os.fork()
    if child == 0:  # no file may grow past 100 kB here: the write fails half-way, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            ledger.add_record(large, big, keys["alice"])
        except LedgerError as error:
            os._exit(3 if "cannot write the ledger" in str(error) and "nothing was added" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert snapshot(copied) == before
    ledger.add_record(large, big, keys["alice"])
    assert bad(copied) == set()


def test_no_right_to_write_is_said_plainly(copied: Path, keys: dict[str, signature.Key]) -> None:
    before = snapshot(copied)
    child = os.fork()
    if child == 0:
        os.chdir(copied)  # the folders above it are private to whoever runs the tests
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        else:
            copied.chmod(0o500)
            (copied / ".lock").chmod(0o400)
        try:
            Ledger(Path()).commit(commitment("third"), keys["alice"])
        except LedgerError as error:
            os._exit(3 if "Permission denied; nothing was added" in str(error) else 4)
        os._exit(5)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    copied.chmod(0o755)
    assert status == 3
    assert snapshot(copied) == before
    (copied.parent / "file").touch()
    with pytest.raises(LedgerError, match="cannot write the ledger"):
        Ledger(copied.parent / "file" / "records").commit(commitment(), keys["alice"])


def test_the_log_entry_must_be_canonical(copied: Path, keys: dict[str, signature.Key]) -> None:
    """A signer's own second spelling of an entry is refused, and so is an entry under another's path."""
    data = dump(commitment("third"))
    for name, content in [
        ("third", data.replace(b" ", b"  ", 1)),
        ("other", data),
        ("third", data.replace(b'"runs": 1', b'"runs": 1.0')),
        ("third", data.replace(b'"commitment",', b'"confession",')),
        ("third", data.replace(b'"runs": 1', b'"extra": 1,\n "runs": 1')),
        ("third", b"[]\n"),
    ]:
        assert content != data or name == "other"
        (copied / "log" / f"{name}.json").write_bytes(content)
        signed = signature.sign(keys["alice"], signature.LOG_NAMESPACE, content)
        (copied / "log" / f"{name}.json.sig").write_bytes(signed)
        with pytest.raises(LedgerError, match=f"log/{name}.json"):
            Ledger(copied).append(f"log/{name}.json", keys["alice"])
    record_space = signature.sign(keys["alice"], signature.RECORD_NAMESPACE, data)
    (copied / "log" / "third.json").write_bytes(data)
    (copied / "log" / "third.json.sig").write_bytes(record_space)
    with pytest.raises(LedgerError, match="namespace"):
        Ledger(copied).append("log/third.json", keys["alice"])


def test_the_module_needs_nothing_heavy() -> None:
    code = "import sys, harness.ledger.log; print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stderr


def test_the_checkpoint_is_the_three_lines_it_says(whole: Path) -> None:
    origin, size, root, end = (whole / "checkpoint").read_text().split("\n")
    assert (origin, size, end) == ("nano-r1 log", "4", "")
    assert len(base64.b64decode(root)) == 32
