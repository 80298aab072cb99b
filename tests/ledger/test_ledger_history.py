"""The log in real git repositories whose past somebody rewrote."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from ledger_samples import (
    NOON,
    Keys,
    RunGit,
    announcement,
    commit_all,
    failing_files,
    failures,
    history_results,
    merge_branch,
)

from harness.ledger import trust
from harness.ledger.git import Git, NoRepository
from harness.ledger.index import Entry, sign_head
from harness.ledger.signature import Key
from harness.ledger.store import Ledger

# ------------------------------------------------------------------ what a merge, or anything else, must not lose


def rewrite(folder: Path, key: Key, entries: list[Entry]) -> None:
    """Sign another log over the entries, as a forger with a key would."""
    for name, data in sign_head(entries, key).items():
        (folder / name).write_bytes(data)


def problems(folder: Path) -> list[str]:
    return [result.message for result in history_results(folder) if not result.ok]


def test_an_entry_that_a_merge_dropped_is_found(git: RunGit, forked_ledger: Path, keys: Keys) -> None:
    merge_branch(git, forked_ledger, keys["alice"])
    entries = [entry for entry in Ledger(forked_ledger).entries() if entry.path != "log/given-up.json"]
    rewrite(forked_ledger, keys["alice"], entries)
    for suffix in ("", ".sig"):
        (forked_ledger / "log" / f"given-up.json{suffix}").unlink()
    commit_all(git, "merged, but for one")
    assert failing_files(forked_ledger) == set()  # the folder alone looks sound
    assert failures(forked_ledger) == [("history", "index")]
    assert problems(forked_ledger)[0].startswith("lost: log/given-up.json")


def test_entries_that_a_merge_reordered_are_found(git: RunGit, committed_ledger: Path, keys: Keys) -> None:
    git("checkout", "-qb", "theirs")
    for name in ("x", "y"):
        Ledger(committed_ledger).announce(announcement(name, "bob"), keys["bob"])
    commit_all(git, "bob's")
    git("checkout", "-q", "main")
    Ledger(committed_ledger).announce(announcement("mine"), keys["alice"])
    commit_all(git, "alice's")
    merge_branch(git, committed_ledger, keys["alice"])
    first, mine, x, y = Ledger(committed_ledger).entries()
    assert (mine.path, x.path, y.path) == ("log/mine.json", "log/x.json", "log/y.json")
    rewrite(committed_ledger, keys["alice"], [first, mine, y, x])
    commit_all(git, "merged, in another order")
    assert [message.partition(":")[0] for message in problems(committed_ledger)] == ["reordered"]


def test_on_the_first_parent_line_a_log_may_only_grow(git: RunGit, forked_ledger: Path, keys: Keys) -> None:
    """The same entries with theirs first: every entry is there, but main's own past is no prefix any more."""
    merge_branch(git, forked_ledger, keys["alice"])
    entries = Ledger(forked_ledger).entries()
    rewrite(forked_ledger, keys["alice"], [entries[0], *entries[3:], *entries[1:3]])
    commit_all(git, "merged the wrong way round")
    assert [message.partition(":")[0] for message in problems(forked_ledger)] == ["rewritten"]


def test_a_log_cut_short_by_force_is_found_by_who_kept_a_checkpoint(
    git: RunGit, forked_ledger: Path, keys: Keys
) -> None:
    kept = (forked_ledger / "checkpoint").read_bytes()
    assert failures(forked_ledger, kept) == []
    git("reset", "-q", "--hard", "HEAD~1")
    Ledger(forked_ledger).announce(announcement("instead"), keys["alice"])
    commit_all(git, "as if nothing had been")
    assert failures(forked_ledger) == []  # git itself remembers nothing of it
    assert failures(forked_ledger, kept) == [("kept checkpoint", "index")]
    assert failures(forked_ledger, b"garbage") == [("kept checkpoint", "checkpoint")]


def test_a_kept_checkpoint_of_a_merged_branch_is_known_by_its_history(
    git: RunGit, forked_ledger: Path, keys: Keys
) -> None:
    git("checkout", "-q", "theirs")
    kept = (forked_ledger / "checkpoint").read_bytes()
    git("checkout", "-q", "main")
    assert failures(forked_ledger, kept) == [("kept checkpoint", "index")]
    merge_branch(git, forked_ledger, keys["alice"])
    commit_all(git, "merged")
    assert failures(forked_ledger, kept) == []


# ------------------------------------------------------------------ whom to trust


def test_allowed_signers_may_only_grow_and_windows_only_narrow(git: RunGit, committed_ledger: Path, keys: Keys) -> None:
    path = committed_ledger / "allowed_signers"
    text = path.read_text(encoding="utf-8")
    narrower = text.replace("20261121120000Z", "20261120230000Z", 1)
    extra = trust.allowed_line(keys["bob"].public, "carol", NOON, NOON + timedelta(hours=1))
    for changed, good in [
        (narrower, True),
        (f"{narrower}# carol joins\n{extra}\n", True),
        (text, False),  # the window is wide again
        (f"{narrower}# carol leaves\n", False),
        (narrower.splitlines()[0] + f"\n{extra}\n", False),  # without bob's line
        (f"{narrower}{extra}\n", True),  # a comment is nobody
        (f"{narrower}{extra}\n".replace("carol", "karol"), False),
    ]:
        path.write_text(changed, encoding="utf-8")
        assert failures(committed_ledger)[-1:] == [("trust", "allowed_signers")]  # not committed yet
        commit_all(git, "who may sign")
        assert (("trust", "allowed_signers") not in failures(committed_ledger)) is good, changed


def test_a_key_is_revoked_for_good(git: RunGit, committed_ledger: Path, keys: Keys) -> None:
    path = committed_ledger / "revoked_keys"
    path.write_text(f"{keys['bob'].public}\n", encoding="utf-8")
    assert failures(committed_ledger) == [("trust", "revoked_keys")]
    commit_all(git, "revoked")
    assert failures(committed_ledger) == []
    path.unlink()
    commit_all(git, "pardoned")
    assert failures(committed_ledger) == [("trust", "revoked_keys")]


# ------------------------------------------------------------------ where there is no history to ask


def test_without_git_or_commits_there_is_nothing_to_compare(
    git: RunGit, committed_ledger: Path, tmp_path: Path, keys: Keys
) -> None:
    shutil.copytree(committed_ledger, tmp_path / "plain")
    (only,) = history_results(tmp_path / "plain")
    assert only.ok and only.message.startswith("no history to compare")
    with pytest.raises(NoRepository):
        Git(tmp_path / "plain")
    shutil.rmtree(committed_ledger.parent / ".git")
    git("init", "-q")
    assert failures(committed_ledger) == []  # a repository without a commit
    (committed_ledger.parent / "other").mkdir()
    commit_all(git, "all of it")
    Ledger(committed_ledger.parent / "other").announce(announcement(), keys["alice"])
    assert failures(committed_ledger.parent / "other") == []  # a ledger that this repository does not keep


def test_a_repository_that_git_refuses_is_not_passed_over(committed_ledger: Path) -> None:
    (committed_ledger.parent / ".git" / "config").write_text("[core\n", encoding="utf-8")
    (problem,) = problems(committed_ledger)
    assert "git cannot be asked" in problem


def test_one_process_reads_all_commits(
    git: RunGit, committed_ledger: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        Ledger(committed_ledger).announce(announcement(f"s{number}"), keys["alice"])
        commit_all(git, f"session {number}")
    started: list[list[str]] = []
    real = subprocess.Popen.__init__

    def counting(self: subprocess.Popen[bytes], command: list[str], *rest: object, **options: object) -> None:
        started.append(command)
        real(self, command, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(subprocess.Popen, "__init__", counting)
    assert "13 checkpoints" in history_results(committed_ledger)[0].message
    assert len(started) < 10
