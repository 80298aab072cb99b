"""The one way in which git is called here, and the reading of a repository's files and history.

What git answers must depend on the folder alone. In a hook git itself sets GIT_DIR and others, which would have it
read another repository than the one around the folder; and a user's settings change what some commands list. So each
call gets an environment without git's variables, the settings below, and commands whose output no setting changes.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cached_property
from pathlib import Path

from harness.ledger.errors import FileError, LedgerError

SETTINGS = {
    "color.ui": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.fsmonitor": "false",  # neither this nor a hook starts a program
    "core.hooksPath": os.devnull,
    "commit.gpgSign": "false",
    "log.follow": "false",
    "log.showSignature": "false",
}
VARIABLES = {
    "LC_ALL": "C",  # its messages are looked at
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
    "GIT_GRAFT_FILE": os.devnull,  # grafts and replacement objects show another history than the one committed
    "GIT_LITERAL_PATHSPECS": "1",  # a name may have `?`, `*` and `[` in it
    "GIT_NO_LAZY_FETCH": "1",  # from git 2.45 on: nothing is asked of a network
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


SILENT = "git failed and did not say why"


class GitError(LedgerError):
    """Git cannot answer; the message says why."""


class NoRepository(GitError):
    """The folder is in no git repository, or git is not installed."""


def command(folder: Path, *arguments: str) -> list[str]:
    """The command line that asks about the repository around a folder; to be run with `environment`."""
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    return ["git", "-C", str(folder), "--no-pager", *settings, *arguments]


def environment() -> dict[str, str]:
    """This process's variables without git's own. The user's settings stay: only they can allow a folder of another
    user (safe.directory)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | VARIABLES


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """The output of a git command. Raises GitError with git's own message."""
    try:
        done = subprocess.run(
            command(folder, *arguments), input=stdin, capture_output=True, check=False, env=environment()
        )
    except FileNotFoundError:
        raise NoRepository("git is not installed", advice="run `sudo apt-get install -y git`") from None
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        raise _failure(folder, done.stderr.decode(errors="replace"))
    return done.stdout


def _failure(folder: Path, said: str) -> GitError:
    message = (said.strip().splitlines() or [SILENT])[0]
    if allow := re.search(r"git config --global --add safe\.directory .+", said):
        return GitError(message, advice=f"another user owns it. If you trust it, run `{allow[0].strip()}`")
    if "not a git repository" not in message:
        return GitError(message)
    # One that is there but broken is no reason to go on as if there were no history.
    for place in [folder.resolve(), *folder.resolve().parents]:
        if os.path.lexists(place / ".git"):
            return GitError(f"{place / '.git'} is there, but git cannot read it: {message}")
    return NoRepository(message)


class Git:
    """The repository around a folder, read through one `git cat-file --batch`. Raises GitError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix, shallow = self.ask("rev-parse", "--show-prefix", "--is-shallow-repository").split("\n")[:2]
        self.shallow = shallow == "true"  # a clone without the older commits
        self._batch = subprocess.Popen(
            command(folder, "cat-file", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )

    def __enter__(self) -> Git:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._batch.stdin and self._batch.stdout
        self._batch.stdin.close()
        self._batch.stdout.close()
        self._batch.wait()

    def ask(self, *arguments: str) -> str:
        """The output of a git command; a name in it that is not UTF-8 survives. Raises GitError."""
        return run(self.folder, *arguments).decode(errors="surrogateescape")

    def read(self, commit: str, name: str) -> bytes | None:
        """The file of that name in the folder, as of that commit; None if there is no such file."""
        assert self._batch.stdin and self._batch.stdout
        self._batch.stdin.write(f"{commit}:{self.prefix}{name}\n".encode(errors="surrogateescape"))
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
        return self.ask("rev-list", "--full-history", "HEAD", "--", *names).split()

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
