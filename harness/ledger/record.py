"""A record: what one verification found, in the shape of an in-toto Statement v1.

subject = the submission's tree digest and each run's weights digest; predicate = ours. Numbers in the
signed file are integers with their unit in the name (`wall_ms`, `accuracy_ppm`, `p_ppb`), so that every
reader in every language sees the same value; floats, NaN and duplicate keys are refused.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from harness.errors import NanoR1Error, first_problem

Count = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
# Text that a submitter wrote: one line of printable characters. Rendering escapes it again.
Line = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
# <date>_<track>_<name>: lower case and no dots, so that no path can leave the ledger.
RECORD_FOLDER = r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[a-z0-9-]{1,64}_[a-z0-9-]{1,64}(_[2-9])?"
# What a submission starts from: a record's folder, or the name of a submission or baseline.
Origin = Annotated[str, StringConstraints(pattern=rf"^({RECORD_FOLDER}|[a-z0-9][a-z0-9-]{{0,63}})$")]
# A paper, or a page without what could end a link in Markdown or change what it means.
Source = Annotated[
    str,
    StringConstraints(
        max_length=200,
        pattern=r"^(arXiv:[0-9]{4}\.[0-9]{4,5}(v[1-9][0-9]?)?|https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/?=%+#-]*)?)$",
    ),
]
Node = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]  # a machine of a cluster, for as long as it was up
Utc = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z$")]


def _absent(value: object) -> bool:
    return value is None


# A field that older records lack. Left out where it is None, so that their bytes still have one form.
Later = Field(default=None, exclude_if=_absent)


class RecordError(NanoR1Error):
    """The bytes are not a record; the message says where and why."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Submission(Model):
    """Who did what. Copied from submission.toml, whose bytes are part of the tree digest."""

    name: Name
    path: str  # in this repository: submissions/<name>, or baseline
    tree_sha256: Sha256
    title: Line
    change: Line  # what was changed from the baseline, in one line
    contributors: list[Line]
    based_on: Annotated[Origin | None, Later] = None
    source: Annotated[Source | None, Later] = None
    techniques: Annotated[list[Name] | None, Later] = None  # of harness.ledger.techniques, as it was then


class Opening(Model):
    """The commitment that this record answers, opened: the secret that it was the hash of."""

    entry: Name  # id of the commitment entry in the log
    commitment_sha256: Sha256  # sha256(root ‖ nonce), published before the first run
    root_hex: Sha256  # 32 bytes: every key of the session derives from it
    nonce_hex: Sha256  # 32 bytes


class TaskResult(Model):
    questions: Count
    correct: Count
    formatted: Count
    truncated: Count
    tokens: Count


class Interval(Model):
    low: int
    mean: int
    high: int


class BenchmarkResult(Model):
    """One model's answers to a fixed benchmark, each question asked once, greedily, and graded strictly."""

    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]  # of the data set
    questions_sha256: Sha256  # of all that was asked, with the gold answers: harness.evaluation.reported.digest
    questions: Annotated[int, Field(gt=0, le=2**53)]
    correct: Count
    formatted: Count
    truncated: Count
    too_long: Count  # questions that do not fit the model: not asked, and wrong
    tokens: Count
    accuracy_ppm: Interval  # 95%, Wilson's: over questions


class BenchmarkScore(Model):
    """Of all runs together. It decides nothing."""

    accuracy_ppm: Interval  # mean over runs, 95% t-interval; of one run Wilson's
    control_ppm: Interval | None  # the control run's, 95%, Wilson's


class GpuUse(Model):
    """What a run took of its GPUs, read from NVML five times a second. None: the driver does not say."""

    devices: Count
    gpu_ms: Count  # the wall time times the devices
    release_ms: Count  # of the wall time: from when nothing was alive until nothing held a GPU
    readings: Count  # of each GPU
    peak_memory_bytes: Count | None  # of the fullest GPU, at any reading
    utilisation_ppm: Count | None  # mean share of the time in which a kernel ran
    energy_millijoules: Count | None  # of all GPUs
    energy_by: Literal["counter", "power"] | None  # the driver's counter, or its power integrated over the readings
    sm_clock_mhz: Count | None  # mean
    memory_clock_mhz: Count | None  # mean


class Run(Model):
    """One training run, metered from outside, and the evaluation of the weights it left."""

    run: Count
    seed: Count
    started_utc: Utc
    wall_ms: Count
    cpu_ms: Count
    peak_memory_bytes: Count
    prompts: Count  # distinct training prompts handed out
    reward_queries: Count  # completions graded
    most_queries_per_prompt: Annotated[Count | None, Later] = None  # completions graded of the prompt with most
    sampled_tokens: Count  # tokens of those completions
    weights_sha256: Sha256
    evaluate_ms: Count
    tasks: dict[Name, TaskResult]  # held-out, by task
    benchmarks: Annotated[dict[Name, BenchmarkResult] | None, Later] = None  # on tracks that report fixed ones
    gpu: Annotated[GpuUse | None, Later] = None  # on GPU tracks

    @model_validator(mode="after")
    def _gpu_time_is_wall_time(self) -> Run:
        if self.gpu is not None and self.gpu.gpu_ms != self.wall_ms * self.gpu.devices:
            raise ValueError("gpu.gpu_ms is not wall_ms times gpu.devices")
        return self


class Reference(Model):
    """The frozen baseline, run in turn with the submission on the same machine."""

    tree_sha256: Sha256
    wall_ms: list[Count]


class GateTest(Model):
    """One gate: a one-sided one-sample t-test over runs. Accuracies in parts per million."""

    gate_ppm: Count
    accuracy_ppm: Interval  # mean over runs, 95% t-interval
    sigma_ppm: Count  # sample standard deviation over runs
    p_ppb: Count | None  # None: one run supports no test


class Verdict(Model):
    """All of it is a pure function of the numbers above and the track; the audit recomputes it."""

    gates: dict[Name, GateTest]  # "mean", and one for each gated task
    relative_cost_ppm: Interval  # wall time over the baseline's, ratio of geometric means, 95%
    standing: str | None  # folder of the record it was tested against
    standing_p_ppb: Count | None  # one-sided Mann-Whitney on relative cost
    control_ppm: Annotated[dict[Name, Count] | None, Later] = None  # the control run's accuracy, by gate
    valid: bool  # past every gate at the track's significance, control run below, in budget, fully isolated
    record: bool  # valid, and cheaper than the standing record at the track's significance
    reasons: list[Line]  # why not valid, or why valid but no record; empty for a record


class Gpu(Model):
    """One GPU as NVML describes it. None: the driver does not say."""

    model: Line
    uuid_sha256: Sha256  # sha256(nonce of the commitment ‖ UUID)
    memory_bytes: Count
    max_sm_clock_mhz: Count | None
    max_memory_clock_mhz: Count | None
    power_limit_milliwatts: Count | None
    ecc: bool | None
    mig: bool | None
    persistence: bool | None


class Gpus(Model):
    """The GPUs of a session, those that its track asks for and no others."""

    driver: Line | None
    nvml: Line | None
    cuda: Line | None  # the newest version that the driver supports
    libraries: dict[Line, Line]  # versions of NVIDIA's wheels, Triton and vLLM
    devices: list[Gpu]


class Machine(Model):
    cpu: Line
    cores: Count
    memory_bytes: Count
    kernel: Line
    python: Line
    packages: dict[str, str]
    gpu: Annotated[Gpus | None, Later] = None  # on GPU tracks


class LostRun(Model):
    """A run that did not end because the machine that made it was lost: no fault of the submission's.

    It was made again on another machine, with the same seed and the same questions.
    """

    submission: Name  # whose run: this one's, the baseline's, or another's of the same session
    run: Count
    node: Node
    lost_utc: Utc
    reason: Line


class Cluster(Model):
    """Where the runs of a session on several machines were made. The machines are alike: `machine` holds for each."""

    runs: list[Node]  # which machine made each run, the control run last
    reference: list[Node]  # and each run of the baseline
    lost: list[LostRun]  # of the whole session


class Predicate(Model):
    track: Line  # cpu-logic@1
    track_digest: Sha256
    submission: Submission
    commitment: Opening
    created_utc: Utc
    signer: Line  # identity to look up in allowed_signers
    isolation: Literal["full", "none"]
    isolation_checks: dict[str, bool]
    machine: Machine
    runs: list[Run]
    control: Annotated[Run | None, Later] = None  # one more run, on scores that say nothing; its number is len(runs)
    resumed: Annotated[Count | None, Later] = None  # times that a killed session was taken up again
    cluster: Annotated[Cluster | None, Later] = None  # None: every run was made on one machine, the verifier's
    benchmarks: Annotated[dict[Name, BenchmarkScore] | None, Later] = None  # reported, never gating
    reference: Reference
    verdict: Verdict
    files: dict[str, Sha256]  # every other file of the record's folder, by name

    @property
    def all_runs(self) -> list[Run]:
        """Every run whose weights were evaluated: the control run, where there is one, is the last."""
        return [*self.runs, *([self.control] if self.control else [])]


class Subject(Model):
    name: Line
    digest: dict[Literal["sha256"], Sha256]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: list[Subject]
    predicateType: Literal["urn:nano-r1:record:v1"] = "urn:nano-r1:record:v1"
    predicate: Predicate


def dump(value: BaseModel) -> bytes:
    """The only byte form of a record or a log entry: sorted keys, one space of indent, ASCII, a final newline."""
    return (canonical_json(value.model_dump(mode="json", by_alias=True)) + "\n").encode()


def canonical_json(value: Any, margin: str = "\n") -> str:
    """What json.dumps(value, sort_keys=True, indent=1) writes, in half its time: an audit writes every record."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    inside = margin + " "
    if isinstance(value, dict):
        parts = [
            f"{encode_basestring_ascii(key)}: {canonical_json(part, inside)}" for key, part in sorted(value.items())
        ]
        return "{" + inside + f",{inside}".join(parts) + margin + "}" if parts else "{}"
    if isinstance(value, list):
        parts = [canonical_json(part, inside) for part in value]
        return "[" + inside + f",{inside}".join(parts) + margin + "]" if parts else "[]"
    raise TypeError(f"{type(value).__name__} has no place in a record")


def load(data: bytes) -> Record:
    """Parse strictly. Raises RecordError on anything `dump` would not have written."""
    try:
        record = Record.model_validate_json(json.dumps(strict_json(data)))
    except ValidationError as error:
        raise RecordError(first_problem(error)) from None
    if dump(record) != data:
        raise RecordError("not in canonical form (key order, spacing or escapes differ)")
    return record


def strict_json(data: bytes) -> Any:
    """JSON without floats, NaN or duplicate keys. Raises RecordError."""

    def refuse(text: str) -> None:
        raise RecordError(f"number {text[:40]!r} is not an integer")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise RecordError("duplicate key")
        return dict(pairs)

    try:
        return json.loads(data, parse_float=refuse, parse_constant=refuse, object_pairs_hook=unique)
    except RecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {error}") from None
