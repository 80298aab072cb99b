"""The gate of a pull request: what a branch changes, and what may not be changed together.

A submission comes alone. A branch that adds one and also changes what would judge it, or the ledger, or what runs this
gate, is refused, however harmless the change looks, so that nobody has to decide that in a hurry.

The branch is read from git's objects and never checked out. So the gate can run from a checkout of the *base*, and a
branch that changes the gate or the screen is judged by those that it would replace.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from harness import submission
from harness.board.markdown import plain
from harness.errors import NanoR1Error
from harness.ledger import git
from harness.screen.check import check
from harness.screen.findings import Finding, errors, finding, shown
from harness.screen.findings import markdown as findings_table
from harness.tracks import track as tracks

HARNESS = "harness"
LISTED = 20  # changed paths that a comment lists


class PullRequestError(NanoR1Error):
    """The branches cannot be compared; the message says why."""


@dataclass(frozen=True)
class Change:
    """One path that differs: A(dded), D(eleted), M(odified) or T(ype changed). Renames are a D and an A."""

    status: str
    path: str


@dataclass(frozen=True)
class Review:
    base: str  # commit where the branch left the base
    head: str
    changes: list[Change]
    refusals: list[str]  # sentences; a single one refuses the branch
    notes: list[str]
    submissions: dict[str, list[Finding]]  # by folder, those that the branch adds or changes

    @property
    def passed(self) -> bool:
        return not self.refusals and not any(errors(findings) for findings in self.submissions.values())


def review(repository: Path, base: str, head: str = "HEAD") -> Review:
    """Compare two commits of a repository, from where they parted. Raises PullRequestError."""
    target, tip = _commit(repository, base), _commit(repository, head)
    ancestor = _git(repository, "merge-base", target, tip, failing=f"{base} and {head} have no common history")
    start = ancestor.decode().strip()
    difference = _git(
        repository, "diff-tree", "-r", "--name-status", "--no-renames", "--ignore-submodules=none", "-z", start, tip
    )
    fields = difference.decode(errors="surrogateescape").split("\0")
    changes = [Change(status, path) for status, path in zip(fields[0::2], fields[1::2], strict=False)]
    refusals, notes = judge(changes, _recorded(repository, target))
    findings = {}
    for folder in submissions_of(changes):
        with tempfile.TemporaryDirectory(prefix="nano-r1-check-") as work:
            obstacle = _extract(repository, tip, folder, Path(work))
            findings[folder] = [obstacle] if obstacle else check(Path(work) / PurePosixPath(folder).name, repository)
    return Review(start, tip, changes, refusals, notes, findings)


# ---------------------------------------------------------------- the rules


def judge(changes: Sequence[Change], recorded: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(why the branch is refused, other notes). `recorded`: submission folder -> its record's folder."""
    refusals, notes = [], []
    for folder, record in sorted(recorded.items()):
        if not folder.startswith("submissions/"):
            continue  # the baseline: frozen by a track's version, and replaced with it
        touched = [change.path for change in changes if change.path.startswith(f"{folder}/")]
        if touched:
            refusals.append(
                f"{_names(touched)} belongs to {folder}, which is recorded in records/{record} and never changes "
                "again: restore it and submit a new folder"
            )
    kinds: dict[str, list[str]] = {}
    for change in changes:
        kinds.setdefault(kind(change.path), []).append(change.path)
    new = submissions_of(changes)
    if len(new) > 1:
        refusals.append(
            f"the branch adds or changes {len(new)} submissions ({_names(new)}), and each is read, verified and merged "
            "by itself: make a pull request for each"
        )
    for name, (what, remedy) in _NOT_TOGETHER.items():
        if new and name in kinds:
            refusals.append(f"the branch adds {_names(new)} and changes {what} ({_names(kinds[name])}): {remedy}")
    if "frozen" in kinds:
        notes.append(
            f"{_names(kinds['frozen'])} decides results: a track's digest changes with what it does. Raise the track's "
            "version or verify its standing records again, in the same piece of work"
        )
    if "ledger" in kinds and not new:
        notes.append("records/ or leaderboard/ changes: `nano-r1 audit` says whether `nano-r1` wrote it")
    return refusals, notes


_NOT_TOGETHER = {
    "frozen": ("what decides its result", "make two pull requests, with the change of the rules merged first"),
    "harness": ("the harness that will judge it", "make two pull requests"),
    "ledger": (
        "the ledger or the board",
        "leave these to the maintainer, whose `nano-r1 verify` writes them and who commits them separately",
    ),
    "other": ("other files of the project", "make two pull requests"),
}


def kind(path: str) -> str:
    """submission, frozen, harness, ledger or other."""
    parts = PurePosixPath(path).parts
    if path in frozen():
        return "frozen"
    if parts[0] == "submissions" and len(parts) > 2:
        return "submission"
    if parts[0] == HARNESS:
        return "harness"
    return "ledger" if parts[0] in ("records", "leaderboard") else "other"


@lru_cache(maxsize=1)
def frozen() -> frozenset[str]:
    """Every file that a track's digest covers, and the baseline that it names by digest; from the code itself."""
    files = set[str]()
    for name in tracks.names():
        track = tracks.load(name)
        files.add(f"{HARNESS}/tracks/{name}.toml")
        if track.base.folder is not None:  # else it is on the Hub, and the TOML has its hashes
            files |= {f"{track.base.folder}/{file}" for file in track.base.files}
        files |= {f"{HARNESS}/{source}" for source in track.sources}
        files |= {track.warmup.file} if track.warmup else set()
        folder = track.baseline.folder
        files |= {f"{folder}/{path.as_posix()}" for path in submission.tree_files(tracks.ROOT / folder)}
    return frozenset(files)


def submissions_of(changes: Iterable[Change]) -> list[str]:
    """The submission folders in which something is added or changed."""
    return sorted({
        "/".join(PurePosixPath(change.path).parts[:2])
        for change in changes
        if kind(change.path) == "submission" and change.status != "D"
    })  # fmt: skip


def _names(paths: Sequence[str]) -> str:
    names = ", ".join(shown(path) for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"


# ---------------------------------------------------------------- git


def _git(repository: Path, *arguments: str, failing: str = "git failed", stdin: bytes = b"") -> bytes:
    """The output of a git command that only reads. Raises PullRequestError, with `failing` and git's own words."""
    try:
        return git.run(repository, *arguments, stdin=stdin)
    except git.GitError as error:
        said = shown(error.args[0])
        if not error.advice:  # else git cannot be asked at all
            said = failing if said == git.SILENT else f"{failing}: {said}"
        raise PullRequestError(said, advice=error.advice) from None


def _commit(repository: Path, name: str) -> str:
    failing = f"{shown(name)} is no commit of {repository}; fetch it first"
    arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    return _git(repository, *arguments, failing=failing).decode().strip()


def top(folder: Path) -> Path:
    """The root of the repository that a folder is in. Raises PullRequestError."""
    output = _git(folder, "rev-parse", "--show-toplevel", failing=f"{folder} is in no git repository")
    return Path(os.fsdecode(output.removesuffix(b"\n")))


@dataclass(frozen=True)
class _Blob:
    mode: str
    name: str  # of the object
    size: int
    path: str


def _list(repository: Path, commit: str, folder: str) -> list[_Blob]:
    """Everything under a folder of a commit. A submodule has size 0."""
    listing = _git(repository, "ls-tree", "-r", "-l", "-z", commit, f"{folder}/")
    blobs = []
    for row in filter(None, os.fsdecode(listing).split("\0")):
        about, _, path = row.partition("\t")
        mode, _, name, size = about.split()
        blobs.append(_Blob(mode, name, int(size) if size.isdigit() else 0, path))
    return blobs


def _read(repository: Path, blobs: Sequence[_Blob]) -> list[bytes]:
    """The content of each, read by one process."""
    names = "".join(f"{blob.name}\n" for blob in blobs).encode()
    data, at, contents = _git(repository, "cat-file", "--batch", stdin=names), 0, []
    for blob in blobs:
        at = data.index(b"\n", at) + 1  # after `<name> blob <size>`
        contents.append(data[at : at + blob.size])
        at += blob.size + 1
    return contents


def _recorded(repository: Path, commit: str) -> dict[str, str]:
    """Submission folder -> folder of its first record, by the records of that commit."""
    blobs = [blob for blob in _list(repository, commit, "records") if blob.path.endswith("/record.json")]
    recorded: dict[str, str] = {}
    for blob, data in zip(blobs, _read(repository, blobs), strict=True):
        try:
            folder = json.loads(data)["predicate"]["submission"]["path"]
        except (ValueError, LookupError, TypeError):
            raise PullRequestError(f"{blob.path} at {commit[:12]} is no record: run `nano-r1 audit`") from None
        recorded.setdefault(folder, PurePosixPath(blob.path).parts[1])
    return recorded


def _extract(repository: Path, commit: str, folder: str, work: Path) -> Finding | None:
    """Write a folder of that commit as `work`/its name, or say why it cannot be a submission."""
    blobs = _list(repository, commit, folder)
    for blob in blobs:
        odd = not {"", ".", ".."}.isdisjoint(blob.path.split("/"))  # git itself makes no such tree; others can
        if odd or blob.mode not in ("100644", "100755"):
            inside = blob.path.removeprefix(f"{folder}/")
            return finding("files", inside, None, "a link, a submodule or a path that leaves the folder")
    if flood := submission.flood_in({blob.path.removeprefix(f"{folder}/"): blob.size for blob in blobs}):
        return finding("files", ".", None, f"the folder {flood}")
    try:
        for blob, data in zip(blobs, _read(repository, blobs), strict=True):
            path = work / blob.path.removeprefix("submissions/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        return finding("files", ".", None, f"cannot be written to a disk: {error.strerror}")
    return None


# ---------------------------------------------------------------- showing


def changed_files(result: Review) -> str:
    count = len(result.changes)
    return f"{count} changed file{'s' * (count != 1)}"


def markdown(result: Review) -> str:
    """For a comment on the pull request. Nothing in it can be more than text."""
    lines = [f"## Pull request gate: {'passed' if result.passed else 'refused'}", ""]
    lines += [f"- **refused**: {plain(sentence)}" for sentence in result.refusals]
    lines += [f"- note: {plain(sentence)}" for sentence in result.notes]
    lines += [""] * bool(result.refusals or result.notes)
    lines += [f"{changed_files(result)} between {result.base[:12]} and {result.head[:12]}.", ""]
    lines += [f"- {change.status} {plain(shown(change.path))}" for change in result.changes[:LISTED]]
    if len(result.changes) > LISTED:
        lines.append(f"- and {len(result.changes) - LISTED} more")
    lines += [""] * bool(result.changes)
    return "\n".join([*lines, findings_table(result.submissions)])
