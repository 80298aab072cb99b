#!/usr/bin/env python3
"""Change a ledger at random, thousands of times, and see that the audit notices every time and names the file.

    scripts/attack/mutate_ledger.py --count 2000 --seed 1

Works on a copy of this repository's records and of the submissions that they name, in a git repository of its own.
Each change is of one of the kinds below, is audited, and is undone. The audit runs until it names a file that was
changed: first without grading completions again, and only if that finds nothing, in full.

A change counts as *named* if a failed check has the path of the changed file (of one of the two, where two
were exchanged). Exit code 1 if a single change went unnoticed or unnamed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.audit.audit import audit
from harness.ledger import git
from harness.ledger.errors import CheckResult
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT

PARTS = ("records", "submissions", "baseline", "baseline-deduction", "leaderboard", "README.md")
IGNORED = shutil.ignore_patterns("__pycache__", ".lock", ".next", ".next.tmp")


@dataclass(frozen=True)
class Outcome:
    kind: str
    files: tuple[str, ...]
    noticed: bool
    named: bool


# ---------------------------------------------------------------- the copy


def copy_repository(destination: Path) -> None:
    """What an audit reads, committed: on top of this repository's history, or of none where there is none."""
    if (ROOT / ".git").exists():
        git.run(ROOT, "clone", "-q", str(ROOT), str(destination))
    else:
        git.run(ROOT, "init", "-q", str(destination))
    for name in PARTS:  # as it is now, committed or not
        source, target = ROOT / name, destination / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=IGNORED)
        else:
            shutil.copyfile(source, target)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["add", "-A", "-f"], ["commit", "-q", "--allow-empty", "-m", "as it is"]):
        git.run(destination, *identity, *command)


def targets(repository: Path) -> list[str]:
    """Every file under records/, and of every submission that a record names; relative to the repository."""
    named = {item.record.predicate.submission.path for item in Ledger(repository / "records").records()}
    folders = [repository / "records", *(repository / path for path in sorted(named))]
    return [
        path.relative_to(repository).as_posix()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


# ---------------------------------------------------------------- kinds of change
#
# Each takes a file's bytes and gives others. What moves whole files is below.


def _position(data: bytes, rng: random.Random) -> int:
    return rng.randrange(max(1, len(data)))


def byte_flipped(data: bytes, rng: random.Random) -> bytes:
    at = _position(data, rng)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :] if data else b"\0"


def byte_replaced(data: bytes, rng: random.Random) -> bytes:
    at = _position(data, rng)
    return data[:at] + rng.choice([b"0", b"1", b"9", b"A", b" ", b"\n", b"#", b"\0"]) + data[at + 1 :]


def byte_inserted(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice([b"\n", b" ", b"#", b"\0", bytes([rng.randrange(256)])]) + data[at:]


def byte_deleted(data: bytes, rng: random.Random) -> bytes:
    at = _position(data, rng)
    return data[:at] + data[at + 1 :]


def line_deleted(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(max(1, len(lines)))]
    return b"".join(lines)


def line_duplicated(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def lines_exchanged(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def lines_shuffled(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def file_truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: _position(data, rng)]


WITHIN: list[Callable[[bytes, random.Random], bytes]] = [
    byte_flipped,
    byte_replaced,
    byte_inserted,
    byte_deleted,
    line_deleted,
    line_duplicated,
    lines_exchanged,
    lines_shuffled,
    file_truncated,
]
WHOLE = ["file_removed", "file_added", "file_renamed", "files_exchanged", "file_overwritten", "file_linked"]
KINDS = [*(change.__name__ for change in WITHIN), *WHOLE]


def change(repository: Path, kind: str, files: list[str], rng: random.Random) -> tuple[str, ...] | None:
    """Make one change. The paths that it concerns, or None if by chance nothing changed."""
    name = rng.choice(files)
    path = repository / name
    data = path.read_bytes()
    for edit in WITHIN:
        if edit.__name__ == kind:
            changed = edit(data, rng) if data else b"\n"
            path.write_bytes(changed)
            return (name,) if changed != data else None
    if kind == "file_removed":
        path.unlink()
        return (name,)
    if kind == "file_added":
        names = [f"{rng.randrange(16**6):06x}.json", "record.json.bak", ".hidden", "revoked_keys", "notes.txt"]
        added = path.parent / rng.choice(names)
        if added.exists():
            return None
        added.write_bytes(rng.choice([b"", data, rng.randbytes(40)]))
        return (added.relative_to(repository).as_posix(),)
    if kind == "file_renamed":
        moved = path.with_name(f"{path.name}.{rng.randrange(16**4):04x}")
        path.rename(moved)
        return (name, moved.relative_to(repository).as_posix())
    if kind == "file_linked":  # the very same bytes, but elsewhere: they could change behind the audit's back
        target = repository.parent / "elsewhere"
        target.write_bytes(data)
        path.unlink()
        path.symlink_to(target)
        return (name,)
    other = rng.choice(files)
    other_data = (repository / other).read_bytes()
    if other_data == data:
        return None
    path.write_bytes(other_data)
    if kind == "file_overwritten":
        return (name,)
    (repository / other).write_bytes(data)
    return (name, other)


def undo(repository: Path, files: tuple[str, ...], before: dict[str, bytes]) -> None:
    for name in files:
        path = repository / name
        path.unlink(missing_ok=True)
        if name in before:
            path.write_bytes(before[name])


# ---------------------------------------------------------------- does the audit notice?


def failures(repository: Path, *, full: bool) -> Iterator[CheckResult]:
    board = repository / "leaderboard" if full else None
    results = audit(Ledger(repository / "records"), board, repository, sample=None if full else 0)
    return (result for result in results if not result.ok)


def examine(repository: Path, files: tuple[str, ...]) -> tuple[bool, bool]:
    """(was anything wrong, was one of these files named). Stops at the first result that names one."""
    paths = {name.removeprefix("records/") for name in files} | set(files)
    noticed = False
    for full in (False, True):
        for result in failures(repository, full=full):
            noticed = True
            if result.file in paths:
                return True, True
        if noticed:
            break
    return noticed, False


def campaign(seed: int, count: int) -> list[Outcome]:
    """`count` changes, one after the other, each undone before the next."""
    rng, outcomes = random.Random(seed), list[Outcome]()
    with tempfile.TemporaryDirectory(prefix="nano-r1-mutate-") as temporary:
        repository = Path(temporary) / "repository"
        copy_repository(repository)
        files = targets(repository)
        before = {name: (repository / name).read_bytes() for name in files}
        assert not list(failures(repository, full=False)), "the ledger is not sound to begin with: run `nano-r1 audit`"
        while len(outcomes) < count:
            kind = KINDS[len(outcomes) % len(KINDS)]
            changed = change(repository, kind, files, rng)
            if changed is not None:
                outcomes.append(Outcome(kind, changed, *examine(repository, changed)))
                undo(repository, changed, before)
        assert not list(failures(repository, full=False)), "a change was not undone"
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    start = time.monotonic()
    shares = [options.count // options.jobs + (i < options.count % options.jobs) for i in range(options.jobs)]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        seeds = [options.seed * 1000 + i for i in range(options.jobs)]
        outcomes = [outcome for share in pool.map(campaign, seeds, shares) for outcome in share]
    tried = Counter(outcome.kind for outcome in outcomes)
    noticed = Counter(outcome.kind for outcome in outcomes if outcome.noticed)
    named = Counter(outcome.kind for outcome in outcomes if outcome.named)
    print(f"{'kind':20s} {'tried':>6s} {'noticed':>8s} {'named':>6s}")
    for kind in KINDS:
        print(f"{kind:20s} {tried[kind]:6d} {noticed[kind]:8d} {named[kind]:6d}")
    print(f"{'all':20s} {tried.total():6d} {noticed.total():8d} {named.total():6d}")
    touched = len({name for outcome in outcomes for name in outcome.files})
    print(f"{touched} paths touched, seed {options.seed}, {options.jobs} processes, {time.monotonic() - start:.0f} s")
    for outcome in outcomes:
        if not (outcome.noticed and outcome.named):
            print(f"MISSED {'the name of' if outcome.noticed else ''} {outcome.kind}: {', '.join(outcome.files)}")
    return 0 if named.total() == len(outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
