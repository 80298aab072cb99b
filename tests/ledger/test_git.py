"""What git answers depends on the folder alone: not on a hook's variables, not on anybody's settings."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from git_repository import git as git_in
from ledger_samples import Keys, RunGit, commit_all, list_signers
from nano import nano

from harness.ledger.git import Git, GitError, NoRepository
from harness.ledger.history import history
from harness.ledger.store import Ledger
from harness.screen.pull_request import PullRequestError, top
from harness.tracks.track import ROOT

STRANGER = "mallory ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII\n"


def problems(folder: Path) -> list[tuple[str, str]]:
    return [(result.check, result.file) for result in history(folder, Ledger(folder).entries()) if not result.ok]


@pytest.fixture
def strangers(tmp_path: Path, committed_ledger: Path) -> Path:
    """Another repository, in which the same ledger is committed with a line that makes a stranger official."""
    folder = tmp_path / "strangers"
    shutil.copytree(committed_ledger, folder / "records")
    with (folder / "records" / "allowed_signers").open("a", encoding="utf-8") as file:
        file.write(STRANGER)
    git_in(folder, "init", "-qb", "main")
    git_in(folder, "add", "-A")
    git_in(folder, "commit", "-qm", "trust me")
    return folder


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{strangers}/.git", "GIT_WORK_TREE": "{strangers}"},
        {"GIT_DIR": "{strangers}/.git"},
        {"GIT_DIR": "../strangers/.git", "GIT_PREFIX": "records/"},
        {"GIT_DIR": ".git"},
        {"GIT_COMMON_DIR": "{strangers}/.git"},
        {"GIT_OBJECT_DIRECTORY": "{strangers}/.git/objects", "GIT_INDEX_FILE": "{strangers}/.git/index"},
        {"GIT_CEILING_DIRECTORIES": "{repository}"},
        {"GIT_NAMESPACE": "other", "GIT_GLOB_PATHSPECS": "1", "GIT_TRACE": "1", "GIT_TRACE_SETUP": "2"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": "{strangers}"},
        {"GIT_CONFIG_PARAMETERS": "'log.follow'='true' 'core.bare'='true'"},
        {"GIT_SHALLOW_FILE": "{strangers}/records/index"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_a_hooks_variables_do_not_lead_to_another_repository(
    monkeypatch: pytest.MonkeyPatch, committed_ledger: Path, strangers: Path, variables: dict[str, str]
) -> None:
    with (committed_ledger / "allowed_signers").open("a", encoding="utf-8") as file:
        file.write(STRANGER)
    before = problems(committed_ledger)
    assert ("trust", "allowed_signers") in before
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(strangers=strangers, repository=committed_ledger.parent))
    assert problems(committed_ledger) == before
    assert top(committed_ledger) == committed_ledger.parent


def test_nobodys_settings_change_what_history_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, git: RunGit, committed_ledger: Path
) -> None:
    """log.follow alone had the audit look at the commits of a file that was renamed."""
    path = committed_ledger / "allowed_signers"
    path.rename(committed_ledger / "elsewhere")
    commit_all(git, "moved away")
    (committed_ledger / "elsewhere").rename(path)
    commit_all(git, "and back")
    with Git(committed_ledger) as reader:
        commits, tree = reader.commits("allowed_signers"), reader.files("HEAD", "log")
    assert len(commits) == 3 and tree == {"log/first.json", "log/first.json.sig"}
    (tmp_path / ".gitconfig").write_text(
        "[log]\n follow = true\n showSignature = true\n[color]\n ui = always\n[diff]\n renames = copies\n"
        " relative = true\n noprefix = true\n[core]\n quotePath = true\n pager = false\n fsmonitor = false\n"
        "[format]\n pretty = oneline\n[safe]\n bareRepository = explicit\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    with Git(committed_ledger) as reader:
        assert (reader.commits("allowed_signers"), reader.files("HEAD", "log")) == (commits, tree)


def test_a_graft_hides_no_commit(git: RunGit, committed_ledger: Path) -> None:
    (committed_ledger / "note").write_text("x", encoding="utf-8")
    commit_all(git, "a second commit")
    with Git(committed_ledger) as reader:
        commits = reader.commits("checkpoint")
    (committed_ledger.parent / ".git" / "info" / "grafts").write_text(
        f"{git('rev-parse', 'HEAD').strip()}\n", encoding="utf-8"
    )
    with Git(committed_ledger) as reader:
        assert reader.commits("checkpoint") == commits


@pytest.mark.parametrize("name", ["a?b [c]", "[me]", "a::b", "*", "with space", "größe", ":(top)", "a\\b"])
def test_the_name_of_a_folder_means_itself(tmp_path: Path, keys: Keys, name: str) -> None:
    folder = tmp_path / name / "records"
    folder.parent.mkdir()
    list_signers(folder, keys["alice"])
    git_in(folder.parent.parent, "init", "-qb", "main")
    git_in(folder, "add", "-A")
    git_in(folder, "commit", "-qm", "listed")
    with Git(folder) as reader:
        (commit,) = reader.commits("allowed_signers")
        assert reader.read(commit, "allowed_signers") == (folder / "allowed_signers").read_bytes()
        assert reader.files(commit, "allowed_signers") == {"allowed_signers"}


def test_a_repository_that_is_broken_is_not_taken_for_none(git: RunGit, committed_ledger: Path) -> None:
    """Without a history nothing can be compared, and the audit passes; so a broken one must not look like none."""
    repository = committed_ledger.parent
    (repository / ".git" / "HEAD").unlink()
    with pytest.raises(GitError, match="git cannot read it") as caught:
        Git(committed_ledger)
    assert not isinstance(caught.value, NoRepository)
    shutil.rmtree(repository / ".git")
    (repository / ".git").write_text("gitdir: /gone/worktrees/x\n", encoding="utf-8")  # its repository was moved
    assert problems(committed_ledger) == [("history", "checkpoint")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_another_user_comes_with_the_command_that_allows_it(
    committed_ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    repository = committed_ledger.parent
    for path in [repository, repository / ".git"]:
        os.chown(path, 12345, 12345)
    allow = f"run `git config --global --add safe.directory {repository}`"
    with pytest.raises(GitError, match="dubious ownership") as caught:
        Git(committed_ledger)
    assert str(caught.value).endswith(allow)
    with pytest.raises(PullRequestError, match="dubious ownership") as gate:
        top(repository)
    assert str(gate.value).endswith(allow)
    (tmp_path / ".gitconfig").write_text(f"[safe]\n directory = {repository}\n", encoding="utf-8")
    assert problems(committed_ledger) == []


def test_in_a_hook_of_a_worktree_the_audit_reads_its_own_repository(
    tmp_path: Path, git: RunGit, committed_ledger: Path, strangers: Path
) -> None:
    """The real thing: git itself sets GIT_DIR for the hook, to that of the stranger's worktree."""
    with (committed_ledger / "allowed_signers").open("a", encoding="utf-8") as file:
        file.write(STRANGER)
    said = tmp_path / "said"
    hook = strangers / ".git" / "hooks" / "post-commit"
    program = shlex.join([sys.executable, "-m", "harness.cli", "audit", "--ledger", str(committed_ledger)])
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f"#!/bin/sh\nenv | grep ^GIT_DIR= >{said}\nPYTHONPATH={ROOT} {program} >>{said} 2>&1\n", encoding="utf-8"
    )
    hook.chmod(0o755)
    git_in(strangers, "worktree", "add", "-q", tmp_path / "worktree", "-b", "side")
    (tmp_path / "worktree" / "file").write_text("x", encoding="utf-8")
    git_in(tmp_path / "worktree", "add", "file")
    hooks = ["-c", f"core.hooksPath={hook.parent}"]
    git_in(tmp_path / "worktree", *hooks, "commit", "-qm", "in a worktree")
    output = said.read_text(encoding="utf-8")
    assert output.startswith(f"GIT_DIR={strangers}/.git/worktrees/worktree\n")
    alone = nano("audit", "--ledger", committed_ledger).stdout
    assert [line for line in output.splitlines() if "FAIL" in line] == [
        line for line in alone.splitlines() if "FAIL" in line
    ]
    assert any("allowed_signers" in line for line in output.splitlines() if "FAIL" in line)
