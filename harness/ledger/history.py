"""What git remembers of a ledger: whether the log was only ever appended to, and trust only ever narrowed.

Along the first-parent line each commit's checkpoint must be a prefix of today's log (RFC 6962 consistency). On a
branch that was merged in it cannot be one, for the other side's entries stand between: there each of its entries
must stand in today's log, in the same order among themselves. An entry is known by its hash, since a merge may
have had to move a record's folder.

Of allowed_signers the first-parent line must show that lines were only added and windows only narrowed, of
revoked_keys that keys were only added, and both must be what was committed last: who is believed is decided by
review, and what is reviewed are commits.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from harness.ledger import merkle
from harness.ledger.log import (
    TRUSTED,
    Entry,
    Fault,
    Finding,
    LedgerError,
    leaves,
    parse_checkpoint,
    parse_index,
)
from harness.ledger.signature import SignatureError, narrowed, parse_allowed_signers, parse_revoked_keys


class GitError(LedgerError):
    """Git cannot answer; the message says why."""


class NoRepository(GitError):
    """The folder is in no git repository, or git is not installed."""


class Git:
    """The repository around a folder, read through one `git cat-file --batch`. Raises GitError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix, shallow = self.ask("rev-parse", "--show-prefix", "--is-shallow-repository").split("\n")[:2]
        self.shallow = shallow == "true"  # a clone that was told to forget
        self._batch = subprocess.Popen(
            self._command("cat-file", "--batch"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment()
        )

    def __enter__(self) -> Git:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
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
        """The output of a git command. Raises GitError with git's own words."""
        try:
            done = subprocess.run(
                self._command(*arguments), capture_output=True, text=True, errors="replace", env=self._environment()
            )
        except FileNotFoundError:
            raise NoRepository("git is not installed") from None
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["git failed"])[0]
            raise (NoRepository if "not a git repository" in said else GitError)(said)
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

    def reader(self, commit: str) -> _At:
        return _At(self, commit)


class _At:
    """Reads a ledger's files as of a commit. Raises Fault."""

    def __init__(self, git: Git, commit: str) -> None:
        self._git, self._commit = git, commit

    def __call__(self, name: str) -> bytes:
        data = self._git.read(self._commit, name)
        if data is None:
            raise Fault("file", name, f"missing in commit {self._commit[:12]}")
        return data


def history(folder: Path, entries: Sequence[Entry], kept: bytes | None = None) -> Iterator[Finding]:
    """Today's log against what git remembers, and against a checkpoint that somebody kept (its three lines)."""
    sound: set[tuple[int, bytes]] = set()
    try:
        with Git(folder) as git:
            yield from _checkpoints(git, entries, sound)
            yield from _trusted(git)
    except NoRepository as error:
        yield Finding("history", "checkpoint", True, f"no history to compare: {error}")
    except GitError as error:
        yield Finding("history", "checkpoint", False, f"git cannot be asked: {error}")
    if kept is not None:
        yield _kept(kept, entries, sound)


def _checkpoints(git: Git, entries: Sequence[Entry], sound: set[tuple[int, bytes]]) -> Iterator[Finding]:
    """Is every checkpoint that git remembers consistent with today's log? Those that are go into `sound`."""
    line, found, bad = git.first_parents, dict[tuple[int, bytes], list[str]](), 0
    for commit in git.commits("checkpoint"):
        data = git.read(commit, "checkpoint")
        if data is None:  # the commit that removed it; the next older one still has it
            continue
        try:
            found.setdefault(parse_checkpoint(data), []).append(commit)
        except Fault as fault:
            bad += 1
            yield Finding("history", "checkpoint", False, f"in commit {commit[:12]} it is {fault.finding.message}")
    roots = merkle.prefix_roots(leaves(entries), {size for size, _ in found})
    places = {entry.sha256: place for place, entry in enumerate(entries)}
    merged = 0
    for (size, root), commits in found.items():
        if roots.get(size) == root:
            sound.add((size, root))
            continue
        trouble = next((_trouble(git, c, size, root, places) for c in commits if c not in line), None)
        if on_line := [commit for commit in commits if commit in line]:
            trouble = f"rewritten: the checkpoint of commit {on_line[0][:12]} (size {size}) is no prefix of today's log"
        if trouble:
            bad += 1
            yield Finding("history", "index", False, trouble)
        else:
            merged += 1
            sound.add((size, root))
    if not bad:
        short = " (this clone is shallow: older ones are not here)" if git.shallow else ""
        message = f"{len(found) - merged} checkpoints in git history{short}, each a prefix of today's log"
        if merged:
            message += f", and {merged} of merged branches, whose entries all stand in it in their order"
        yield Finding("history", "index", True, message)


def _trouble(git: Git, commit: str, size: int, root: bytes, places: dict[str, int]) -> str | None:
    """What is wrong with a merged branch's checkpoint, if anything: an entry lost, or moved before another."""
    here = f"the checkpoint of commit {commit[:12]}, on a merged branch,"
    try:
        log = parse_index(git.read(commit, "index") or b"")
    except Fault as fault:
        return f"{here} has no readable index beside it: {fault}"
    if not merkle.consistent(size, root, leaves(log)):
        return f"{here} does not belong to the index beside it"
    last = -1
    for entry in log[:size]:
        place = places.get(entry.sha256)
        if place is None:
            return f"lost: {entry.path} stands under {here} and not in today's log"
        if place < last:
            return f"reordered: {entry.path} stands under {here} after an entry that it now precedes"
        last = place
    return None


def _trusted(git: Git) -> Iterator[Finding]:
    """Are allowed_signers and revoked_keys as committed, and grew they as they may along the first-parent line?"""
    if not git.has_commits or git.read("HEAD", "checkpoint") is None:
        return  # a ledger that git does not keep
    line = git.first_parents
    for name in TRUSTED:
        path = git.folder / name
        now = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        if now != git.read("HEAD", name):
            message = "not what was committed last: commit the change, so that it stands in history, or undo it"
            yield Finding("trust", name, False, message)
            continue
        versions = [commit for commit in git.commits(name) if commit in line]
        gone = ((commit, _lost(name, git.read(commit, name) or b"", now or b"")) for commit in versions)
        lost = next((f"in commit {commit[:12]} {what}" for commit, what in gone if what), None)
        if versions:
            grown = f"{len(versions)} versions in git history: lines were only added, windows only narrowed"
            yield Finding("trust", name, lost is None, lost or grown)


def _lost(name: str, old: bytes, now: bytes) -> str | None:
    """What an older version said that today's does not say any more."""
    try:
        if name == "revoked_keys":
            gone = parse_revoked_keys(old.decode()) - parse_revoked_keys(now.decode())
            return f"{min(gone)} was revoked" if gone else None
        today = parse_allowed_signers(now.decode())
        for signer in parse_allowed_signers(old.decode()):
            if not any(narrowed(signer, other) for other in today):
                return f"{signer.identity} was listed with a window that today's does not lie in, or is gone"
    except (SignatureError, UnicodeDecodeError) as error:
        return f"or today it cannot be read: {error}"
    return None


def _kept(data: bytes, entries: Sequence[Entry], sound: set[tuple[int, bytes]]) -> Finding:
    """Does today's log go on from the checkpoint that somebody kept?"""
    try:
        size, root = parse_checkpoint(data)
    except Fault as fault:
        return Finding("kept checkpoint", "checkpoint", False, f"the one you kept is {fault.finding.message}")
    if merkle.consistent(size, root, leaves(entries)) or (size, root) in sound:
        return Finding("kept checkpoint", "index", True, f"goes on from the {size} entries of the one you kept")
    message = f"does not go on from the {size} entries of the one you kept: cut to {len(entries)}, or rewritten"
    return Finding("kept checkpoint", "index", False, message)
