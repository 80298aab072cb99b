"""Keys, ledgers and repositories that the tests of the ledger share."""

from __future__ import annotations

import shutil
from pathlib import Path

import git_repository
import pytest
from ledger_samples import (
    FILES,
    HOME,
    Keys,
    RunGit,
    abandonment,
    add_session,
    against,
    announcement,
    commit_all,
    list_signers,
    record,
)

from harness.ledger import signature
from harness.ledger.store import Ledger


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Alice has an old key and a new one; the others have one each."""
    folder, keys = tmp_path_factory.mktemp("keys"), {}
    for name, identity in [("alice", "alice"), ("new", "alice"), ("bob", "bob"), ("carol", "carol")]:
        signature.generate(folder / name, identity)
        keys[name] = signature.load_key(folder / name)
    return keys


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> signature.Key:
    path = tmp_path_factory.mktemp("keys") / "private" / "key"
    signature.generate(path, "alice@lab")
    return signature.load_key(path)


@pytest.fixture(scope="session")
def sample_ledger(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """A ledger with one of everything: an official record, a closed session, an open one, a stranger's. Read only."""
    folder = tmp_path_factory.mktemp("sample") / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.announce(announcement(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.abandon(abandonment("given-up", submission="no-kl"), keys["alice"])
    ledger.announce(announcement("second", "bob"), keys["bob"])
    return folder


@pytest.fixture
def ledger_copy(sample_ledger: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_ledger, tmp_path / "records"))


@pytest.fixture
def two_records(tmp_path: Path, keys: Keys) -> Path:
    """Alice (listed) made the record that stands; Bob (not listed) made one of the same day."""
    folder = tmp_path / "records"
    list_signers(folder, keys["alice"])
    ledger = Ledger(folder)
    ledger.announce(announcement(), keys["alice"])
    ledger.add_record(record(), FILES, keys["alice"])
    ledger.announce(announcement("second", "bob"), keys["bob"])
    claim = record().predicate.commitment.model_dump() | {"entry": "second"}
    ledger.add_record(record("no-kl", signer="bob", commitment=claim, verdict=against(HOME)), FILES, keys["bob"])
    return folder


# ------------------------------------------------------------------ in git


@pytest.fixture
def git(tmp_path: Path) -> RunGit:
    (tmp_path / "repository").mkdir()

    def run(*arguments: str, fails: bool = False) -> str:
        return git_repository.git(tmp_path / "repository", *arguments, fails=fails)

    run("init", "-q", "-b", "main")
    return run


@pytest.fixture
def committed_ledger(tmp_path: Path, git: RunGit, keys: Keys) -> Path:
    """Alice and Bob are listed. On main a session is announced, and committed."""
    folder = tmp_path / "repository" / "records"
    list_signers(folder, keys["alice"], keys["bob"])
    (folder.parent / ".gitignore").write_text("records/.lock\nrecords/.next*\n", encoding="utf-8")
    Ledger(folder).announce(announcement(), keys["alice"])
    commit_all(git, "announced")
    return folder


@pytest.fixture
def forked_ledger(git: RunGit, committed_ledger: Path, keys: Keys) -> Path:
    """Alice's record on main, Bob's on a branch: each judged against nothing, for nothing stood at the fork."""
    ledger = Ledger(committed_ledger)
    git("checkout", "-qb", "theirs")
    add_session(ledger, "bobs", keys["bob"], "no-kl")
    commit_all(git, "bob's record")
    ledger.abandon(abandonment("given-up", "first", "no-kl", "alice"), keys["alice"])
    commit_all(git, "and an entry of alice's on it")
    git("checkout", "-q", "main")
    add_session(ledger, "alices", keys["alice"], "baseline")
    commit_all(git, "alice's record")
    return committed_ledger
