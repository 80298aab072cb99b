"""A track: everything that fixes what a result means, read from one TOML file."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from harness.tasks import SPLITS, TASKS, sample

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent  # of the repository

Positive = Annotated[int, Field(gt=0)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

# What decides a result besides the TOML and the tasks. A change here changes every track's digest.
FROZEN = [
    "keys.py",
    "tasks/task.py",
    "engines/transformers.py",
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


class Suite(Part):
    task: str
    questions: Positive
    gate_ppm: Ppm


class Heldout(Part):
    """`control_ppm`: what a control run must stay below, on the mean and on every suite."""

    mean_gate_ppm: Ppm
    control_ppm: Ppm
    suites: list[Suite]


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
    heldout: Heldout
    sampling: Sampling
    verdict: VerdictRules
    baseline: Baseline
    packages: dict[str, str]

    @model_validator(mode="after")
    def _tasks_exist(self) -> Track:
        for task in [*self.train.tasks, *(suite.task for suite in self.heldout.suites)]:
            if task not in TASKS:
                raise ValueError(f"task {task!r} does not exist; tasks: {', '.join(TASKS)}")
        return self

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def base_folder(self) -> Path:
        return ROOT / self.base.folder

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a result on this track, and over nothing else.

        The TOML, the sources in FROZEN, the source of each task used, the base model's files and the
        rendered prompts of a fixed probe set (which would show a generator that changed with Python).
        """
        total = hashlib.sha256()

        def add(label: str, data: bytes) -> None:
            total.update(f"{label}\0{len(data)}\0".encode() + data)

        add("track", (HERE / f"{self.name}.toml").read_bytes())
        for name in FROZEN:
            add(name, (HERE.parent / name).read_bytes())
        for name in sorted({*self.train.tasks, *(suite.task for suite in self.heldout.suites)}):
            add(name, (HERE.parent / "tasks" / f"{name}.py").read_bytes())
            for split in SPLITS:
                for i in range(16):
                    probe = sample(TASKS[name], b"probe", split, i)
                    add(probe.id, self.base.template.format(prompt=probe.prompt).encode())
        for name in sorted(self.base.files):
            add(name, self.base.files[name].encode())
        return total.hexdigest()

    def check_base(self) -> None:
        """Raises TrackError unless each file of the base model is there and has the listed hash."""
        for name, wanted in self.base.files.items():
            path = self.base_folder / name
            if not path.is_file():
                raise TrackError(f"{path} is missing: restore it with `git checkout -- {self.base.folder}`")
            if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
                raise TrackError(f"{path} is not the base model of {self.id}: its SHA-256 differs from the track's")


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
