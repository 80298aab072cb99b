"""What git remembers of a ledger: whether the log was only ever appended to, and trust only ever narrowed.

Along the first-parent line each commit's checkpoint must be a prefix of today's log (RFC 6962 consistency). On a
branch that was merged in it cannot be one, for the other side's entries stand between: there each of its entries
must stand in today's log, in the same order among themselves. An entry is known by its hash, since a merge may
have had to move a record's folder.

Of allowed_signers the first-parent line must show that lines were only added and windows only narrowed, of
revoked_keys that keys were only added, and both must be what was committed last: who is trusted is decided by
review, and what is reviewed are commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.ledger import merkle
from harness.ledger.errors import CheckResult, FileError
from harness.ledger.git import Git, GitError, NoRepository
from harness.ledger.index import TRUSTED, Entry, leaves, parse_checkpoint, parse_index
from harness.ledger.signature import SignatureError
from harness.ledger.trust import narrowed, parse_allowed_signers, parse_revoked_keys

Checkpoint = tuple[int, bytes]  # size and Merkle root


def history(folder: Path, entries: Sequence[Entry], kept: bytes | None = None) -> Iterator[CheckResult]:
    """Today's log against what git remembers, and against a checkpoint that somebody kept (its three lines)."""
    consistent: set[Checkpoint] = set()
    try:
        with Git(folder) as git:
            yield from _check_checkpoints(git, entries, consistent)
            yield from _check_trust(git)
    except NoRepository as error:
        yield CheckResult("history", "checkpoint", True, f"no history to compare: {error}")
    except GitError as error:
        yield CheckResult("history", "checkpoint", False, f"git cannot be asked: {error}")
    if kept is not None:
        yield _check_kept(kept, entries, consistent)


def _check_checkpoints(git: Git, entries: Sequence[Entry], consistent: set[Checkpoint]) -> Iterator[CheckResult]:
    """Is every checkpoint that git remembers consistent with today's log? Those that are go into `consistent`."""
    commits_of, failed = dict[Checkpoint, list[str]](), 0
    for commit in git.commits("checkpoint"):
        data = git.read(commit, "checkpoint")
        if data is None:  # the commit that removed it; the next older one still has it
            continue
        try:
            commits_of.setdefault(parse_checkpoint(data), []).append(commit)
        except FileError as error:
            failed += 1
            yield CheckResult("history", "checkpoint", False, f"in commit {commit[:12]} it is {error.result.message}")
    roots = merkle.prefix_roots(leaves(entries), {size for size, _ in commits_of})
    places = {entry.sha256: place for place, entry in enumerate(entries)}
    merged = 0
    for (size, root), commits in commits_of.items():
        if roots.get(size) != root:
            problem = _first_parent_problem(git, commits, size) or next(
                filter(None, (_branch_problem(git, commit, (size, root), places) for commit in commits)), None
            )
            if problem:
                failed += 1
                yield CheckResult("history", "index", False, problem)
                continue
            merged += 1
        consistent.add((size, root))
    if not failed:
        short = " (this clone is shallow: older ones are not here)" if git.shallow else ""
        message = f"{len(commits_of) - merged} checkpoints in git history{short}, each a prefix of today's log"
        if merged:
            message += f", and {merged} of merged branches, whose entries all stand in it in their order"
        yield CheckResult("history", "index", True, message)


def _first_parent_problem(git: Git, commits: Sequence[str], size: int) -> str | None:
    """A checkpoint that is no prefix of today's log must not be one of the branch itself."""
    for commit in commits:
        if commit in git.first_parents:
            return f"rewritten: the checkpoint of commit {commit[:12]} (size {size}) is no prefix of today's log"
    return None


def _branch_problem(git: Git, commit: str, checkpoint: Checkpoint, places: Mapping[str, int]) -> str | None:
    """What is wrong with a merged branch's checkpoint, if anything: an entry lost, or moved before another."""
    size, root = checkpoint
    name = f"the checkpoint of commit {commit[:12]}, on a merged branch,"
    try:
        log = parse_index(git.read(commit, "index") or b"")
    except FileError as error:
        return f"{name} has no readable index beside it: {error}"
    if not merkle.consistent(size, root, leaves(log)):
        return f"{name} does not belong to the index beside it"
    last = -1
    for entry in log[:size]:
        place = places.get(entry.sha256)
        if place is None:
            return f"lost: {entry.path} stands under {name} and not in today's log"
        if place < last:
            return f"reordered: {entry.path} stands under {name} after an entry that it now precedes"
        last = place
    return None


def _check_trust(git: Git) -> Iterator[CheckResult]:
    """Are allowed_signers and revoked_keys as committed, and did they change only as they may, by first parents?"""
    if not git.has_commits or git.read("HEAD", "checkpoint") is None:
        return  # a ledger that git does not keep
    for name in TRUSTED:
        path = git.folder / name
        today = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        if today != git.read("HEAD", name):
            message = "not what was committed last: commit the change, so that it stands in history, or undo it"
            yield CheckResult("trust", name, False, message)
            continue
        versions = [commit for commit in git.commits(name) if commit in git.first_parents]
        if versions:
            losses = ((commit, _loss(name, git.read(commit, name) or b"", today or b"")) for commit in versions)
            problem = next((f"in commit {commit[:12]} {loss}" for commit, loss in losses if loss), None)
            message = f"{len(versions)} versions in git history: lines were only added, windows only narrowed"
            yield CheckResult("trust", name, problem is None, problem or message)


def _loss(name: str, old: bytes, today: bytes) -> str | None:
    """What an older version said that today's does not say any more."""
    try:
        if name == "revoked_keys":
            missing = parse_revoked_keys(old.decode()) - parse_revoked_keys(today.decode())
            return f"{min(missing)} was revoked" if missing else None
        signers = parse_allowed_signers(today.decode())
        for signer in parse_allowed_signers(old.decode()):
            if not any(narrowed(signer, other) for other in signers):
                return f"{signer.identity} was listed with a window that today's does not lie in, or is gone"
    except (SignatureError, UnicodeDecodeError) as error:
        return f"or today it cannot be read: {error}"
    return None


def _check_kept(data: bytes, entries: Sequence[Entry], consistent: set[Checkpoint]) -> CheckResult:
    """Does today's log go on from the checkpoint that somebody kept?"""
    try:
        size, root = parse_checkpoint(data)
    except FileError as error:
        return CheckResult("kept checkpoint", "checkpoint", False, f"the one you kept is {error.result.message}")
    if merkle.consistent(size, root, leaves(entries)) or (size, root) in consistent:
        return CheckResult("kept checkpoint", "index", True, f"goes on from the {size} entries of the one you kept")
    message = f"does not go on from the {size} entries of the one you kept: cut to {len(entries)}, or rewritten"
    return CheckResult("kept checkpoint", "index", False, message)
