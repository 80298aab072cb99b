"""A track: everything that fixes what a result means, read from one TOML file."""

from __future__ import annotations

import ast
import hashlib
import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from harness.tasks import SPLITS, TASKS, sample

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent  # of the repository

Positive = Annotated[int, Field(gt=0)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

# What decides a result besides the TOML, the engine and the tasks. A change here changes every track's digest.
FROZEN = [
    "keys.py",
    "tasks/task.py",
    "evaluate.py",
    "stats.py",
    "judge.py",
    "checkpoint.py",
    "environment.py",
]


class TrackError(ValueError):
    """A track that does not exist or cannot be used; the message says what to do."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hardware(Part):
    kind: Literal["cpu"]
    cores: Positive
    runs_in_turn: bool


class Budget(Part):
    seconds: Positive
    memory_bytes: Positive
    shm_bytes: Positive
    output_bytes: Positive
    log_bytes: Positive
    processes: Positive
    reward_queries: Positive
    queries_per_prompt: Positive


class Base(Part):
    folder: str
    template: str  # the chat template, with {prompt}
    end_token: str
    files: dict[str, Sha256]


class Train(Part):
    tasks: list[str]


class Warmup(Part):
    """Traces for supervised warm-up: a JSON object a line, of `task`, `prompt` and `completion`, none held out."""

    file: str
    sha256: Sha256


class Suite(Part):
    """Without a gate a suite is reported and decides nothing: questions larger than those trained on."""

    task: str
    questions: Positive
    gate_ppm: Ppm | None = None


class Heldout(Part):
    """`control_ppm`: what a control run must stay below on the mean. On each suite it must stay below the gate."""

    mean_gate_ppm: Ppm
    control_ppm: Ppm
    suites: list[Suite]

    @model_validator(mode="after")
    def _distinct_and_gated(self) -> Heldout:
        if len({suite.task for suite in self.suites}) < len(self.suites):
            raise ValueError("a task stands twice among the suites")
        if not self.gates:
            raise ValueError("no suite has a gate_ppm, so nothing could ever be refused")
        return self

    @property
    def gates(self) -> dict[str, int]:
        """Gate in ppm by task, of the suites that have one."""
        return {suite.task: suite.gate_ppm for suite in self.suites if suite.gate_ppm is not None}


class Sampling(Part):
    """Held-out questions are answered greedily, at most `max_new_tokens` each."""

    engine: Literal["transformers"]
    max_new_tokens: Positive
    batch: Positive


class VerdictRules(Part):
    runs: Positive
    alpha_ppb: Positive


class Baseline(Part):
    folder: str
    tree_sha256: Sha256


class Track(Part):
    name: str
    version: Positive
    title: str
    status: Literal["measured", "provisional"]
    hardware: Hardware
    budget: Budget
    base: Base
    train: Train
    warmup: Warmup | None = None
    heldout: Heldout
    sampling: Sampling
    verdict: VerdictRules
    baseline: Baseline
    packages: dict[str, str]

    @model_validator(mode="after")
    def _tasks_exist(self) -> Track:
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"task {task!r} does not exist; tasks: {', '.join(TASKS)}")
        return self

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def base_folder(self) -> Path:
        return ROOT / self.base.folder

    @property
    def tasks(self) -> list[str]:
        """Every task that is trained on or held out."""
        return sorted({*self.train.tasks, *(suite.task for suite in self.heldout.suites)})

    @property
    def sources(self) -> list[str]:
        """The source files that decide a result here, relative to harness/."""
        used = {source for name in self.tasks for source in _task_sources(name)}
        return [*FROZEN, f"engines/{self.sampling.engine}.py", *sorted(used - set(FROZEN))]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a result on this track, and over nothing else.

        The TOML (which names the hashes of the base model's files and of the warm-up traces), the sources and the
        rendered prompts of a fixed probe set (which would show a generator that changed with Python or a package).
        """
        total = hashlib.sha256()

        def add(label: str, data: bytes) -> None:
            total.update(f"{label}\0{len(data)}\0".encode() + data)

        add("track", (HERE / f"{self.name}.toml").read_bytes())
        for name in self.sources:
            add(name, (HERE.parent / name).read_bytes())
        for name in self.tasks:
            for split in SPLITS:
                for i in range(16):
                    probe = sample(TASKS[name], b"probe", split, i)
                    add(probe.id, self.base.template.format(prompt=probe.prompt).encode())
        return total.hexdigest()

    def check_base(self) -> None:
        """Raises TrackError unless each file of the base model, and of the traces, is there with the listed hash."""
        listed = {f"{self.base.folder}/{name}": sha256 for name, sha256 in self.base.files.items()}
        if self.warmup is not None:
            listed[self.warmup.file] = self.warmup.sha256
        for name, wanted in listed.items():
            path = ROOT / name
            if not path.is_file():
                raise TrackError(f"{path} is missing: restore it with `git checkout -- {name}`")
            if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
                raise TrackError(f"{path} is not that of {self.id}: its SHA-256 differs from the track's")


@cache
def _task_sources(name: str) -> frozenset[str]:
    """The task's file and those of ours that it imports, relative to harness/: a parent class decides results too."""
    found, left = set[str](), [type(TASKS[name]).__module__]
    while left:
        source = "/".join(left.pop().split(".")[1:]) + ".py"
        if source in found:
            continue
        found.add(source)
        for node in ast.walk(ast.parse((HERE.parent / source).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
                left.append(str(node.module))
    return frozenset(found)


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load(name: str) -> Track:
    """The track of that name. Raises TrackError."""
    path = HERE / f"{name}.toml"
    if name not in names():
        raise TrackError(f"there is no track {name!r}; tracks: {', '.join(names())}")
    try:
        return Track.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        raise TrackError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except tomllib.TOMLDecodeError as error:
        raise TrackError(f"{path}: {error}") from None
