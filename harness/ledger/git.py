"""Reading files and history of the git repository around a folder. Nothing here changes one."""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from pathlib import Path

from harness.ledger.errors import FileError, LedgerError


class GitError(LedgerError):
    """Git cannot answer; the message says why."""


class NoRepository(GitError):
    """The folder is in no git repository, or git is not installed."""


class Git:
    """The repository around a folder, read through one `git cat-file --batch`. Raises GitError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix, shallow = self.ask("rev-parse", "--show-prefix", "--is-shallow-repository").split("\n")[:2]
        self.shallow = shallow == "true"  # a clone without the older commits
        self._batch = subprocess.Popen(
            self._command("cat-file", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment()
        )

    def __enter__(self) -> Git:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._batch.stdin and self._batch.stdout
        self._batch.stdin.close()
        self._batch.stdout.close()
        self._batch.wait()

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "-C", str(self.folder), *arguments]

    def _environment(self) -> dict[str, str]:
        # Replacement objects would show another history than the one that was committed.
        return {**os.environ, "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}

    def ask(self, *arguments: str) -> str:
        """The output of a git command. Raises GitError with git's own message."""
        try:
            done = subprocess.run(
                self._command(*arguments), capture_output=True, text=True, errors="replace", env=self._environment()
            )
        except FileNotFoundError:
            raise NoRepository("git is not installed") from None
        if done.returncode != 0:
            message = (done.stderr.strip().splitlines() or ["git failed"])[0]
            raise (NoRepository if "not a git repository" in message else GitError)(message)
        return done.stdout

    def read(self, commit: str, name: str) -> bytes | None:
        """The file of that name in the folder, as of that commit; None if there is no such file."""
        assert self._batch.stdin and self._batch.stdout
        self._batch.stdin.write(f"{commit}:{self.prefix}{name}\n".encode())
        self._batch.stdin.flush()
        head = self._batch.stdout.readline().split()
        if len(head) != 3 or not head[2].isdigit():  # "<name> missing", or a name that no object can have
            return None
        data = self._batch.stdout.read(int(head[2]) + 1)[:-1]
        return data if head[1] == b"blob" else None

    def files(self, commit: str, under: str) -> set[str]:
        """The files that a commit has under a path, both relative to the folder; none without that commit."""
        try:
            return set(self.ask("ls-tree", "-r", "-z", "--name-only", commit, "--", under).split("\0")) - {""}
        except GitError:
            return set()

    def commits(self, *names: str) -> list[str]:
        """Every commit behind HEAD that touched one of these files, newest first; none before the first commit."""
        if not self.has_commits:
            return []
        return self.ask("log", "--full-history", "--format=%H", "HEAD", "--", *names).split()

    @cached_property
    def first_parents(self) -> set[str]:
        """The commits from HEAD down by first parents: what the branch itself was, without what was merged in."""
        return set(self.ask("rev-list", "--first-parent", "HEAD").split()) if self.has_commits else set()

    @cached_property
    def has_commits(self) -> bool:
        try:
            return bool(self.ask("rev-parse", "--verify", "--quiet", "HEAD"))
        except GitError:
            return False

    def commit(self, name: str) -> str:
        """The full id of a commit. Raises GitError."""
        try:
            return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except GitError:
            raise GitError(f"git knows no commit {name!r}") from None

    def reader(self, commit: str) -> CommitReader:
        return CommitReader(self, commit)


class CommitReader:
    """Reads a ledger's files as of a commit. Raises FileError."""

    def __init__(self, git: Git, commit: str) -> None:
        self._git, self._commit = git, commit

    def __call__(self, name: str) -> bytes:
        data = self._git.read(self._commit, name)
        if data is None:
            raise FileError("file", name, f"missing in commit {self._commit[:12]}")
        return data
