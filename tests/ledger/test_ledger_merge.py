"""Two git branches that each add a record, merged."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_samples import (
    BOBS,
    FILES,
    HOME,
    Keys,
    RunGit,
    abandonment,
    add_session,
    announcement,
    commit_all,
    failures,
    history_results,
    merge_branch,
    merge_commit,
)

from harness.ledger.entries import StatusChange
from harness.ledger.errors import LedgerError
from harness.ledger.git import Git, GitError
from harness.ledger.merge import merge
from harness.ledger.store import Ledger


def test_a_merge_keeps_all_entries_of_both_sides(git: RunGit, forked_ledger: Path, keys: Keys) -> None:
    ours = [entry.path for entry in Ledger(forked_ledger).entries()]
    added = merge_branch(git, forked_ledger, keys["alice"])
    bobs = f"{BOBS}/record.json"
    assert added == ["log/bobs.json", bobs, "log/given-up.json"]
    assert [entry.path for entry in Ledger(forked_ledger).entries()] == [*ours, *added]
    commit_all(git, "merged")
    assert failures(forked_ledger) == []
    (history, *_) = [result.message for result in history_results(forked_ledger) if result.check == "history"]
    assert "2 of merged branches" in history
    # Bob's was not tested against Alice's, which now stands before it: it is a result, but it does not stand.
    state = Ledger(forked_ledger).state()
    assert state.standing("cpu-logic@1") == HOME
    assert not state.records[BOBS].stood
    assert merge_commit(forked_ledger, "theirs", keys["alice"]) == []


def test_a_branch_goes_on_after_a_merge_and_is_merged_again(git: RunGit, forked_ledger: Path, keys: Keys) -> None:
    merge_branch(git, forked_ledger, keys["alice"])
    commit_all(git, "merged")
    git("checkout", "-q", "theirs")
    Ledger(forked_ledger).announce(announcement("more", "bob"), keys["bob"])
    commit_all(git, "bob goes on")
    git("checkout", "-q", "main")
    assert merge_branch(git, forked_ledger, keys["alice"]) == ["log/more.json"]
    commit_all(git, "merged again")
    assert failures(forked_ledger) == []


def test_without_a_git_merge_the_files_are_brought_too(git: RunGit, forked_ledger: Path, keys: Keys) -> None:
    merge_commit(forked_ledger, "theirs", keys["alice"])
    assert failures(forked_ledger) == []
    assert (forked_ledger / BOBS / "train.log").read_bytes() == FILES["train.log"]


def test_two_records_of_one_name_on_one_day_both_stay(git: RunGit, committed_ledger: Path, keys: Keys) -> None:
    git("checkout", "-qb", "theirs")
    add_session(Ledger(committed_ledger), "bobs", keys["bob"], "baseline")
    commit_all(git, "bob's")
    git("checkout", "-q", "main")
    add_session(Ledger(committed_ledger), "alices", keys["alice"], "baseline")
    commit_all(git, "alice's")
    assert merge_branch(git, committed_ledger, keys["alice"]) == ["log/bobs.json", f"{HOME}_2/record.json"]
    commit_all(git, "merged")
    assert failures(committed_ledger) == []
    assert {item.folder: item.state.signer for item in Ledger(committed_ledger).records()} == {
        HOME: "alice",
        f"{HOME}_2": "bob",
    }
    # What their branch goes on to say of "their" committed_ledger would be read as of ours.
    git("checkout", "-q", "theirs")
    doubt = StatusChange(
        id="doubt", created_utc="2026-11-20T19:00:00Z", signer="bob", record=HOME, status="disputed", rule="R13",
        reason="?",
    )  # fmt: skip
    Ledger(committed_ledger).set_status(doubt, keys["bob"])
    commit_all(git, "bob doubts")
    git("checkout", "-q", "main")
    with pytest.raises(LedgerError, match=f"speaks of {HOME}, which is another record here"):
        merge_commit(committed_ledger, "theirs", keys["alice"])
    assert failures(committed_ledger) == []


def test_what_cannot_be_merged_changes_nothing(git: RunGit, forked_ledger: Path, keys: Keys, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in forked_ledger.rglob("*") if path.is_file()}
    Ledger(tmp_path / "other").announce(announcement("strange"), keys["alice"])
    with pytest.raises(LedgerError, match="not copies of one"):
        merge(Ledger(forked_ledger), lambda name: (tmp_path / "other" / name).read_bytes(), keys["alice"])
    with Git(forked_ledger) as reader:
        theirs = reader.reader(reader.commit("theirs"))

        def changed(name: str) -> bytes:
            return theirs(name) if not name.endswith("train.log") else b"other bytes"

        with pytest.raises(LedgerError, match=r"train\.log"):
            merge(Ledger(forked_ledger), changed, keys["alice"])
        with pytest.raises(GitError, match="no commit 'nowhere'"):
            reader.commit("nowhere")
        with pytest.raises(LedgerError, match="missing in commit"):
            reader.reader(reader.commit("main"))("nothing")
    assert {path: path.read_bytes() for path in forked_ledger.rglob("*") if path.is_file()} == before
    # Both sides closed the same submission: a person must decide which of the two it was.
    Ledger(forked_ledger).abandon(abandonment("mine", "first", "no-kl"), keys["alice"])
    with pytest.raises(LedgerError, match=r"given-up.* closed already"):
        merge_commit(forked_ledger, "theirs", keys["alice"])
