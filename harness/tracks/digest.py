"""What a track's digest covers: all that decides a result there, and nothing else.

- The track's TOML, which names the hashes of the base model's files and of the warm-up traces, and of a base on the
  Hub its revision.
- The code that decides on every track (FROZEN), the track's engine, and the files of its tasks with those of ours that
  they import. A training set's file names the revision and hashes of its data.
- The rendered prompts of a fixed probe set, which would show a generator that changed with Python or a package.

Computed from the files as they are in this checkout, without weights, network or sandbox.

The records of cpu-logic@4 and cpu-deduction@1 were made by code that has moved since. For these two the digest is over
the bytes of that code, kept in harness/tracks/standing/ and imported by nothing, with today's TOML and probes. So what
stands there is what those records were made by, and their digests stay. That today's code decides the same is not shown
by the digest but by the audit, which grades every completion of those records again with it. The folder goes when the
tracks' next versions are verified.
"""

from __future__ import annotations

import ast
import hashlib
import tomllib
from functools import cache
from typing import TYPE_CHECKING

from harness.tasks import SPLITS, TASKS, sample
from harness.tracks import files

if TYPE_CHECKING:
    from harness.tracks.schema import Track

# The code that decides results on every track, relative to harness/. Each file's path and bytes are hashed, comments
# too, so an edit or a move of one gives every track a new digest and supersedes its records (rule R10). Until
# cpu-logic@5 and cpu-deduction's next version are verified, these wait for it:
#   - the move to harness/frozen/ and a digest over the code alone, its parts named by role and not by path;
#   - environment.py, of which only the grader and the control scores decide: the socket server leaves it;
#   - judge.py and evaluate.py, which import harness.ledger.record and harness.tracks.track: both get plain numbers;
#   - ValueErrors of these files become harness.errors.NanoR1Error.
# The engines (harness/engines/), the tasks and harness/client.py wait with them; `ignore_imports` in pyproject.toml
# lists the imports that do.
FROZEN = [
    "keys.py",
    "tasks/task.py",
    "evaluate.py",
    "stats.py",
    "judge.py",
    "checkpoint.py",
    "environment.py",
]
PROBES = 16  # questions of each split of each generated task


def sources(track: Track) -> list[str]:
    """The source files that decide a result on the track, relative to harness/."""
    used = {source for task in track.tasks for source in task_sources(task)}
    return [*FROZEN, f"engines/{track.sampling.engine}.py", *sorted(used - set(FROZEN))]


def digest(track: Track) -> str:
    """SHA-256, in hex. Raises what a task's generator raises where its package is not installed."""
    total = hashlib.sha256()

    def add(label: str, data: bytes) -> None:
        total.update(f"{label}\0{len(data)}\0".encode() + data)

    toml = (files.TRACKS / f"{track.name}.toml").read_bytes()
    add("track", toml)
    if (trained := track.train.tasks) != tomllib.loads(toml.decode())["train"]["tasks"]:
        add("train", " ".join(trained).encode())  # a suite's tasks, in an order that stands in another file
    standing = _standing(track)
    for source in standing if standing is not None else sources(track):
        path = files.TRACKS.parent / source if standing is None else files.TRACKS / "standing" / f"{source}.txt"
        add(source, path.read_bytes())
    for name in (task for task in track.tasks if task not in track.train.sets):
        for split in SPLITS:
            for i in range(PROBES):
                probe = sample(TASKS[name], b"probe", split, i)
                add(probe.id, track.base.template.format(prompt=probe.prompt).encode())
    return total.hexdigest()


def _standing(track: Track) -> list[str] | None:
    """What the records of a track of before the move were made by, in the order of its digest; None for the others."""
    text = (files.TRACKS / "standing" / "sources.toml").read_text(encoding="utf-8")
    entry = tomllib.loads(text).get(track.id)
    return None if entry is None else list(entry["sources"])


@cache
def task_sources(name: str) -> frozenset[str]:
    """The task's file and those of ours that it imports, relative to harness/: a parent class decides results too.

    A package's __init__ only lists what there is, and is none of them.
    """
    task = TASKS[name]
    covered, modules = set[str](), [type(task).__module__, *getattr(task, "modules", ())]
    while modules:
        source = "/".join(modules.pop().split(".")[1:]) + ".py"
        path = files.TRACKS.parent / source
        if source in covered or not path.is_file():
            continue
        covered.add(source)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
                modules.append(str(node.module))
    return frozenset(covered)
