"""Small signed ledgers for tests: entries by Alice and Bob, on one day, of a track that nobody runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.ledger import trust
from harness.ledger.check import check
from harness.ledger.entries import Abandonment, AnnouncedSubmission, Announcement, Status, StatusChange
from harness.ledger.errors import CheckResult
from harness.ledger.git import Git
from harness.ledger.history import history
from harness.ledger.merge import merge
from harness.ledger.record import Record
from harness.ledger.signature import RECORD_NAMESPACE, Key
from harness.ledger.store import Ledger

SESSION_ROOT, NONCE = b"r" * 32, b"n" * 32
DAY = "2026-11-20T18:15:30Z"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TREES = {"baseline": "a" * 64, "no-kl": "b" * 64}
FILES = {"completions.bin": b"\x00\x01\x02" * 40, "train.log": b"step 0 reward 0.2\n"}
HOME = "2026-11-20_cpu-logic_baseline"  # the folder of `record()`
BOBS = "2026-11-20_cpu-logic_no-kl"  # the folder of `record("no-kl")`

Keys = dict[str, Key]
RunGit = Callable[..., str]


def announcement(
    id: str = "first", signer: str = "alice", names: list[str] | None = None, **other: Any
) -> Announcement:
    submissions = [AnnouncedSubmission(name=name, tree_sha256=TREES[name]) for name in names or TREES]
    values: dict[str, Any] = {
        "created_utc": "2026-11-20T17:00:00Z", "track": "cpu-logic@1", "track_digest": "c" * 64, "runs": 1,
        "commitment_sha256": hashlib.sha256(SESSION_ROOT + NONCE).hexdigest(), **other,
    }  # fmt: skip
    return Announcement(id=id, signer=signer, submissions=submissions, **values)


def abandonment(id: str, of: str = "first", submission: str | None = None, signer: str = "alice") -> Abandonment:
    return Abandonment(
        id=id, created_utc=DAY, signer=signer, commitment=of, submission=submission, reason="killed by hand"
    )


def status_entry(
    status: Status = "disputed", record: str = HOME, signer: str = "alice", rule: str = "R13", **other: Any
) -> StatusChange:
    values = {"id": f"status-{status}", "created_utc": "2026-11-20T20:00:00Z", "reason": "it did not reproduce"}
    return StatusChange(signer=signer, record=record, status=status, rule=rule, **values | other)


def record(name: str = "baseline", **other: Any) -> Record:
    interval = {"low": 1, "mean": 2, "high": 3}
    predicate: dict[str, Any] = {
        "track": "cpu-logic@1",
        "track_digest": "c" * 64,
        "submission": {
            "name": name, "path": name, "tree_sha256": TREES[name], "title": "t", "change": "c", "contributors": ["Ada"]
        },
        "commitment": {
            "entry": "first", "root_hex": SESSION_ROOT.hex(), "nonce_hex": NONCE.hex(),
            "commitment_sha256": hashlib.sha256(SESSION_ROOT + NONCE).hexdigest(),
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


def against(standing: str | None) -> dict[str, Any]:
    """The verdict of a record that was judged against this one."""
    return record().predicate.verdict.model_dump() | {"standing": standing}


def list_signers(folder: Path, *keys: Key) -> None:
    """An allowed_signers file that lists these keys for a day from noon on."""
    folder.mkdir(exist_ok=True)
    lines = [trust.allowed_line(key.public, key.identity, NOON, NOON + timedelta(days=1)) for key in keys]
    (folder / "allowed_signers").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def failing_files(folder: Path) -> set[str]:
    """The files that `check` finds fault with."""
    return {result.file for result in check(folder) if not result.ok}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_session(ledger: Ledger, entry: str, key: Key, name: str, standing: str | None = None) -> Path:
    """A session of one submission, answered by a record. Returns the record's folder."""
    ledger.announce(announcement(entry, key.identity, [name]), key)
    claim = record().predicate.commitment.model_dump() | {"entry": entry}
    other = {"commitment": claim, "signer": key.identity, "verdict": against(standing)}
    return ledger.add_record(record(name, **other), FILES, key)


# ------------------------------------------------------------------ in git


def history_results(folder: Path, kept: bytes | None = None) -> list[CheckResult]:
    return list(history(folder, Ledger(folder).entries(), kept))


def failures(folder: Path, kept: bytes | None = None) -> list[tuple[str, str]]:
    """(check, file) of all that is wrong with the ledger and its history."""
    results = [*check(folder), *history_results(folder, kept)]
    return [(result.check, result.file) for result in results if not result.ok]


def commit_all(git: RunGit, message: str) -> None:
    git("add", "-A")
    git("commit", "-qm", message)


def merge_commit(folder: Path, commit: str, key: Key) -> list[str]:
    """Append to the ledger what it had in another commit."""
    with Git(folder) as reader:
        return merge(Ledger(folder), reader.reader(reader.commit(commit)), key)


def merge_branch(git: RunGit, folder: Path, key: Key, theirs: str = "theirs") -> list[str]:
    """As docs/ledger.md says."""
    git("merge", "--no-ff", "--no-commit", theirs, fails=True)  # index, checkpoint and checkpoint.sig conflict
    git("checkout", "HEAD", "--", "records")
    return merge_commit(folder, "MERGE_HEAD", key)


# ------------------------------------------------------------------ ssh-keygen

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def ssh_keygen(*arguments: str | Path, data: bytes = b"", zone: str = "UTC") -> subprocess.CompletedProcess[bytes]:
    """Run it with `data` on its standard input, in a time zone."""
    environment = {**os.environ, "TZ": zone}
    return subprocess.run(["ssh-keygen", *map(str, arguments)], input=data, capture_output=True, env=environment)


def ssh_accepts(
    folder: Path, line: str, armoured: bytes, data: bytes, when: datetime = NOON, namespace: str = RECORD_NAMESPACE,
    zone: str = "UTC",
) -> bool:  # fmt: skip
    """Does OpenSSH accept a signature as alice@lab's, with one line of allowed_signers, at this time?"""
    (folder / "signers").write_text(line + "\n", encoding="utf-8")
    (folder / "sig").write_bytes(armoured)
    who = ["-I", "alice@lab", "-n", namespace, "-s", folder / "sig", f"-Overify-time={when:%Y%m%d%H%M%SZ}"]
    return ssh_keygen("-Y", "verify", "-f", folder / "signers", *who, data=data, zone=zone).returncode == 0
