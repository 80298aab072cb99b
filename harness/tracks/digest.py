"""What a track's digest covers: all that decides a result there, and nothing else.

- What the track's TOML says, but for what is only there to be read. It names the hashes of the base model's files and
  of the warm-up traces, and of a base on the Hub its revision.
- The code that decides on every track (FROZEN), the track's engine, and each of its tasks; of these two all files of
  ours that they import, since a parent class decides results too. A training set's file names the revision and hashes
  of its data.
- The rendered prompts of a fixed probe set, which would show a generator that changed with Python or a package.

Each part is named by its role, not by its path, and code is hashed by what it does (harness.tracks.source): a comment,
a docstring, the text of an error, a file that moved change no digest. Computed from the files as they are in this
checkout, without weights, network or sandbox.

The records of cpu-deduction@1 were made by code that has moved since, and was hashed byte by byte. For that track the
digest is over its TOML's bytes and the bytes of that code, kept in harness/tracks/standing/ and imported by nothing,
with today's probes. So what stands there is what those records were made by, and their digest stays. That today's code
decides the same is not shown by the digest but by the audit, which grades every completion of those records again with
it. The folder goes when the track's next version is verified.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.frozen.draw import SPLITS, sample
from harness.tasks import TASKS
from harness.tracks import files
from harness.tracks.source import canonical

if TYPE_CHECKING:
    from harness.tracks.schema import Track

# What decides on every track: the role in the digest, and the file below harness/ that plays it today.
FROZEN = {
    "answer format": "frozen/format.py",
    "draw of questions": "frozen/draw.py",
    "keys": "frozen/keys.py",
    "grader": "frozen/grader.py",
    "control scores": "frozen/control.py",
    "reader of weights": "frozen/checkpoint.py",
    "evaluation": "frozen/evaluation.py",
    "statistics": "frozen/stats.py",
    "judge": "frozen/judge.py",
    "errors": "frozen/errors.py",
}
# Files that tasks and engines import and that decide nothing: what an error is called, which answers a task is attacked
# with, how data is downloaded whose hash is pinned.
_DECIDE_NOTHING = {"errors.py", "files.py", "tasks/attacks.py", "benchmarks/remote.py"}
_SAYS_ONLY = {"title", "status", "noise"}  # keys of a track's TOML that are there to be read, and decide nothing
STANDING = "tracks/standing"  # below harness/
PROBES = 16  # questions of each split of each generated task


def sources(track: Track) -> list[str]:
    """The source files that decide a result on the track, relative to harness/."""
    parts = [_decide(_engine(track)), *(_decide(task_sources(task)) for task in track.tasks)]
    kept = [f"{STANDING}/sources.toml", *(f"{STANDING}/{name}.txt" for name in _standing(track) or ())]
    return [*FROZEN.values(), *sorted(set().union(*parts)), *(kept if len(kept) > 1 else [])]


def digest(track: Track) -> str:
    """SHA-256, in hex. Raises what a task's generator raises where its package is not installed."""
    total = hashlib.sha256()

    def add(label: str, data: bytes) -> None:
        total.update(f"{label}\0{len(data)}\0".encode() + data)

    written = (files.TRACKS / f"{track.name}.toml").read_bytes()
    toml, kept = tomllib.loads(written.decode()), _kept(track)
    decides = {key: value for key, value in toml.items() if key not in _SAYS_ONLY}
    add("track", written if kept else json.dumps(decides, sort_keys=True, ensure_ascii=False).encode())
    if (trained := track.train.tasks) != toml["train"]["tasks"]:
        add("train", " ".join(trained).encode())  # a suite's tasks, in an order that stands in another file
    for label, data in kept or _code(track):
        add(label, data)
    for name in (task for task in track.tasks if task not in track.train.sets):
        for split in SPLITS:
            for i in range(PROBES):
                probe = sample(TASKS[name], b"probe", split, i)
                add(probe.id, track.base.template.format(prompt=probe.prompt).encode())
    return total.hexdigest()


def _code(track: Track) -> list[tuple[str, bytes]]:
    """(role, what its code does) of all that decides."""
    return [
        *((role, _hash_of([source])) for role, source in FROZEN.items()),
        ("engine", _hash_of(_decide(_engine(track)))),
        *((f"task {name}", _hash_of(_decide(task_sources(name)))) for name in track.tasks),
    ]


def _hash_of(names: Iterable[str]) -> bytes:
    """Over what the files do, whatever they are called."""
    each = [hashlib.sha256(canonical(_path(name).read_text(encoding="utf-8"))).digest() for name in names]
    return hashlib.sha256(b"".join(sorted(each))).digest()


def _path(name: str) -> Path:
    return files.TRACKS.parent / name


# ---------------------------------------------------------------- which files


@cache
def task_sources(name: str) -> frozenset[str]:
    """The task's file and those of ours that it imports, and so on, relative to harness/.

    A package's __init__ only lists what there is, and is none of them.
    """
    task = TASKS[name]
    return _imported([type(task).__module__, *getattr(task, "modules", ())])


def _engine(track: Track) -> frozenset[str]:
    return _imported([f"harness.engines.{track.sampling.engine}"])


def _imported(modules: list[str]) -> frozenset[str]:
    covered = set[str]()
    while modules:
        source = "/".join(modules.pop().split(".")[1:]) + ".py"
        if source in covered or not _path(source).is_file():
            continue
        covered.add(source)
        for node in ast.walk(ast.parse(_path(source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
                modules.append(str(node.module))
    return frozenset(covered)


def _decide(names: Iterable[str]) -> set[str]:
    """Those that decide something and are no part of FROZEN, which is covered for every track."""
    return {name for name in names if name not in _DECIDE_NOTHING and not name.startswith("frozen/")}


# ---------------------------------------------------------------- what stands


def _standing(track: Track) -> list[str] | None:
    """What the records of a track of before the move were made by, in the order of its digest; None for the others."""
    entry = tomllib.loads(_path(f"{STANDING}/sources.toml").read_text(encoding="utf-8")).get(track.id)
    return None if entry is None else list(entry["sources"])


def _kept(track: Track) -> list[tuple[str, bytes]]:
    """(path of that time, bytes); empty where nothing is kept."""
    return [(name, _path(f"{STANDING}/{name}.txt").read_bytes()) for name in _standing(track) or ()]
