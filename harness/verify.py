"""Verify submissions: announce, run in turn with the frozen baseline, evaluate, judge, sign, append.

One session may verify several submissions round-robin against one set of baseline runs, so that all of
them meet the same machine at the same hour. Every announcement ends in records or abandonments.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import platform
import secrets
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from harness import checkpoint, doctor, judge, sandbox, submission
from harness.environment import Environment
from harness.evaluate import evaluate
from harness.keys import commitment, derive, seed_of
from harness.ledger import log, record
from harness.ledger.log import Ledger
from harness.ledger.signature import Key
from harness.submission import Submission
from harness.tracks.track import ROOT, Track


class VerifyError(ValueError):
    """The verification cannot begin; the message says what to do."""


class Interrupted(Exception):
    """Ctrl-C: the session was closed as abandoned."""


# ---------------------------------------------------------------- what the session reports while it works


class Reporter(Protocol):
    """How a long session is shown; the command line has one with bars, tests have one that listens."""

    def begin(self, arm: str, run: int, phase: str, total: float) -> None: ...
    def advance(self, done: float, note: str) -> None: ...
    def finished(self, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How one submission's verification ended."""

    name: str
    folder: Path | None  # of the record; None if there is none
    verdict: record.Verdict | None
    reason: str | None  # why there is no record


@dataclass
class Arm:
    """One submission (or the reference) and what its runs have given so far."""

    name: str
    snapshot: Path
    tree_sha256: str
    evaluated: bool
    source: Submission | None
    runs: list[record.Run] = field(default_factory=list)
    walls: list[int] = field(default_factory=list)
    completions: list[list[list[int]]] = field(default_factory=list)
    curves: list[list[dict[str, Any]]] = field(default_factory=list)
    logs: list[bytes] = field(default_factory=list)
    failure: str | None = None


# ---------------------------------------------------------------- the session


def verify(
    track: Track,
    submissions: list[Submission],
    *,
    runs: int,
    ledger: Ledger,
    key: Key,
    reporter: Reporter,
    cancel: threading.Event,
) -> list[Outcome]:
    """Verify submissions on a track. `cancel` set (Ctrl-C) abandons the session and raises Interrupted.

    Raises VerifyError before anything is announced; after that, every failure is an outcome.
    """
    track.check_base()
    baseline = submission.load(ROOT / track.baseline.folder)
    if baseline.tree_sha256 != track.baseline.tree_sha256:
        raise VerifyError(
            f"{baseline.folder} is not the frozen baseline of {track.id}: restore it with "
            f"`git checkout -- {track.baseline.folder}`"
        )
    for item in submissions:
        if item.manifest.track != track.name:
            raise VerifyError(
                f"{item.folder}/submission.toml is for the track {item.manifest.track!r}, not {track.name!r}"
            )
    if len({item.manifest.name for item in submissions}) < len(submissions):
        raise VerifyError("a submission is named twice")

    isolation = sandbox.isolation()
    checks = {check.name: check.ok for check in doctor.checks()} if isolation.level == "full" else {}
    proven = doctor.proven(checks)
    reasons = [*isolation.reasons, *(f"`nano-r1 doctor`: {name} failed" for name, ok in checks.items() if not ok)]
    reporter.say("\n  ".join([f"isolation: {proven}", *reasons]))

    root, nonce = secrets.token_bytes(32), secrets.token_bytes(32)
    announcement = log.Commitment(
        id=log.fresh_id(datetime.now(UTC)),
        created_utc=utc_now(),
        signer=key.identity,
        track=track.id,
        track_digest=track.digest,
        submissions=[log.Announced(name=i.manifest.name, tree_sha256=i.tree_sha256) for i in submissions],
        runs=runs,
        commitment_sha256=commitment(root, nonce),
    )
    ledger.commit(announcement, key)
    entry = announcement.id
    reporter.say(f"announced as {entry} in {ledger.folder}")
    try:
        with tempfile.TemporaryDirectory(prefix="nano-r1-") as work:
            Path(work).chmod(0o755)
            arms = arms_for(submissions, baseline, Path(work))
            run_all(arms, track, runs, root, isolation.level, Path(work), reporter, cancel)
            return [
                _close(arm, arms[0], track, ledger, key, entry, root, nonce, proven, checks)
                for arm in arms
                if arm.source is not None
            ]
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Interrupted)
        if any(each.id == entry for each in ledger.open_commitments()):
            failed = f"the harness failed: {type(error).__name__}: {error}"
            abandon(ledger, key, entry, None, "interrupted by the verifier" if interrupted else failed)
        if interrupted:
            raise Interrupted(f"{entry} is closed as abandoned") from None
        raise


def arms_for(submissions: list[Submission], baseline: Submission, work: Path) -> list[Arm]:
    """The reference first. The baseline as a submission is its own reference: its runs serve as both."""
    own = next((item for item in submissions if item.tree_sha256 == baseline.tree_sha256), None)
    arms: list[Arm] = []
    for item in [own or baseline, *(s for s in submissions if s is not own)]:
        is_reference = not arms
        folder = work / f"submission-{len(arms)}"
        folder.mkdir()
        submission.snapshot(item, folder)
        wanted = not is_reference or own is not None
        arms.append(Arm(item.manifest.name, folder, item.tree_sha256, wanted, item if wanted else None))
    return arms


def run_all(
    arms: list[Arm],
    track: Track,
    runs: int,
    root: bytes,
    level: sandbox.Level,
    work: Path,
    reporter: Reporter,
    cancel: threading.Event,
) -> None:
    """R rounds; in each, every arm once, the order rotated so that no arm always follows the same other."""
    for run in range(runs):
        for turn in range(len(arms)):
            number = (run + turn) % len(arms)
            arm = arms[number]
            if arm.failure is None and any(other.source and other.failure is None for other in arms):
                # A name that says nothing: the submission can read the host's path of its socket in mountinfo.
                _run_one(arm, track, run, root, level, work / secrets.token_hex(8), reporter, cancel)
            if arms[0].failure is not None:  # nothing left to compare with
                for other in arms[1:]:
                    other.failure = other.failure or f"the frozen baseline failed: {arms[0].failure}"


def _run_one(
    arm: Arm,
    track: Track,
    run: int,
    root: bytes,
    level: sandbox.Level,
    place: Path,
    reporter: Reporter,
    cancel: threading.Event,
) -> None:
    """Train once in the sandbox, read the weights strictly, ask them fresh questions."""
    place.mkdir(mode=0o755)
    output = place / "output"
    output.mkdir()
    seed = seed_of(root, arm.tree_sha256, run)
    reporter.begin(arm.name, run, "train", track.budget.seconds)
    started = utc_now()
    clock = Clock()
    inside = level == "full"
    with Environment(
        track,
        derive(root, "train", arm.tree_sha256, run),
        seed,
        place / "socket",
        base="/base" if inside else str(track.base_folder),
        output="/output" if inside else str(output),
        clock=clock.elapsed_ms,
    ) as environment:
        shown = 0

        def tick(elapsed_ms: int) -> None:
            nonlocal shown
            if elapsed_ms >= shown + 1000:  # no oftener: the run needs the cores
                shown = elapsed_ms
                reporter.advance(elapsed_ms / 1000, progress(environment))

        usage = sandbox.run(
            ["train.py"],
            mounts=sandbox.Mounts(
                submission=arm.snapshot, base=track.base_folder, output=output, socket=place / "socket"
            ),
            limits=limits(track),
            level=level,
            on_start=clock.start,
            on_tick=tick,
            cancel=cancel,
        )
    if cancel.is_set():
        raise Interrupted
    if environment.fault is not None:
        raise RuntimeError(f"the environment failed: {environment.fault.strip().splitlines()[-1]}")
    arm.logs.append(usage.log)
    arm.curves.append(environment.curve)
    arm.walls.append(usage.wall_ms)
    reporter.finished(usage.wall_ms / 1000)
    reporter.say(f"{arm.name} run {run + 1}: trained in {usage.wall_ms / 1000:.1f} s, {progress(environment)}")
    if usage.failure is not None:
        arm.failure = f"run {run + 1}: {usage.failure}"
        reporter.say(f"{arm.name} {arm.failure}")
        return
    if not arm.evaluated:
        return
    try:
        checked = checkpoint.read(output / "model.safetensors", track.base_folder / "model.safetensors")
    except checkpoint.CheckpointError as error:
        arm.failure = f"run {run + 1}: {error}"
        reporter.say(f"{arm.name} {arm.failure}")
        return
    total = sum(suite.questions for suite in track.heldout.suites)
    reporter.begin(arm.name, run, "evaluate", total)

    def answered(done: int) -> None:
        if cancel.is_set():
            raise Interrupted
        reporter.advance(done, f"{done}/{total} questions")

    evaluation = evaluate(track, checked.data, derive(root, "heldout", arm.tree_sha256, run), answered)
    arm.completions.append(evaluation.completions)
    totals = environment.totals()
    arm.runs.append(
        record.Run(
            run=run,
            seed=seed,
            started_utc=started,
            wall_ms=usage.wall_ms,
            cpu_ms=usage.cpu_ms,
            peak_memory_bytes=usage.peak_memory_bytes,
            prompts=totals.prompts,
            reward_queries=totals.reward_queries,
            sampled_tokens=totals.sampled_tokens,
            weights_sha256=checked.sha256,
            evaluate_ms=evaluation.evaluate_ms,
            tasks=evaluation.tasks,
        )
    )
    accuracy = judge.mean_accuracy(track, evaluation.tasks)
    each = ", ".join(f"{task} {row.correct / row.questions:.3f}" for task, row in evaluation.tasks.items())
    reporter.say(f"{arm.name} run {run + 1}: held-out accuracy {accuracy:.4f} ({each})")


class Clock:
    """Milliseconds since the sandbox was spawned, by the harness's monotonic clock."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._start = time.monotonic()

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self._start) * 1000)


def progress(environment: Environment) -> str:
    """What the harness sees of the training: completions so far, accuracy over the last thousand or so."""
    count = right = 0
    for point in reversed(environment.curve):
        count, right = count + point["completions"], right + point["correct"]
        if count >= 1000:
            break
    if count == 0:
        return "starting"
    return f"{environment.totals().reward_queries:,} completions, {right / count:.3f} right lately"


def limits(track: Track) -> sandbox.Limits:
    budget = track.budget
    return sandbox.Limits(
        seconds=budget.seconds,
        memory_bytes=budget.memory_bytes,
        shm_bytes=budget.shm_bytes,
        output_bytes=budget.output_bytes,
        log_bytes=budget.log_bytes,
        processes=budget.processes,
        cores=track.hardware.cores,
    )


# ---------------------------------------------------------------- the end of a submission's verification


def _close(
    arm: Arm,
    reference: Arm,
    track: Track,
    ledger: Ledger,
    key: Key,
    entry: str,
    root: bytes,
    nonce: bytes,
    level: sandbox.Level,
    checks: dict[str, bool],
) -> Outcome:
    """A record if every run finished, else an abandonment that says why."""
    assert arm.source is not None
    manifest = arm.source.manifest
    if arm.failure is not None:
        abandon(ledger, key, entry, arm.name, arm.failure)
        return Outcome(arm.name, None, None, arm.failure)
    walls = record.Reference(tree_sha256=reference.tree_sha256, wall_ms=reference.walls)
    standing = standing_record(ledger, track)
    verdict = judge.judge(track, arm.runs, walls, level, standing)
    files = evidence(arm.completions, arm.curves, arm.logs)
    statement = record.Record(
        subject=[
            record.Subject(name=arm.name, digest={"sha256": arm.tree_sha256}),
            *(
                record.Subject(name=f"run-{run.run}/model.safetensors", digest={"sha256": run.weights_sha256})
                for run in arm.runs
            ),
        ],
        predicate=record.Predicate(
            track=track.id,
            track_digest=track.digest,
            submission=record.Submission(
                name=arm.name,
                path=track.baseline.folder if arm is reference else f"submissions/{arm.name}",
                tree_sha256=arm.tree_sha256,
                title=manifest.title,
                change=manifest.change,
                contributors=manifest.contributors,
            ),
            commitment=record.Commitment(
                entry=entry, commitment_sha256=commitment(root, nonce), root_hex=root.hex(), nonce_hex=nonce.hex()
            ),
            created_utc=utc_now(),
            signer=key.identity,
            isolation=level,
            isolation_checks=checks,
            machine=machine(track),
            runs=arm.runs,
            reference=walls,
            verdict=verdict,
            files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        ),
    )
    path = ledger.add_record(statement, files, key)
    return Outcome(arm.name, path, verdict, None)


def abandon(ledger: Ledger, key: Key, entry: str, name: str | None, reason: str) -> None:
    """Close a submission of a commitment, or all that are open, with the reason why there is no record."""
    printable = "".join(c if c.isprintable() else " " for c in reason)[:300]
    now = datetime.now(UTC)
    ledger.abandon(
        log.Abandonment(
            id=log.fresh_id(now),
            created_utc=utc_now(),
            signer=key.identity,
            commitment=entry,
            submission=name,
            reason=printable,
        ),
        key,
    )


def standing_record(ledger: Ledger, track: Track) -> judge.Standing | None:
    """The official record that a new one must beat: same version of the track, same rules."""
    folder = ledger.standing(track.id)
    return (
        judge.standing_from(record.load((ledger.folder / folder / "record.json").read_bytes()), folder)
        if folder
        else None
    )


def evidence(
    completions: list[list[list[int]]], curves: list[list[dict[str, Any]]], logs: list[bytes]
) -> dict[str, bytes]:
    """The other files of a record: held-out completions, harness-seen curves, the submission's log."""
    answers = _json_lines({"run": i, "completions": ids} for i, ids in enumerate(completions))
    points = _json_lines({"run": i, **point} for i, curve in enumerate(curves) for point in curve)
    log = b"".join(b"==== run %d ====\n%s\n" % (i, text) for i, text in enumerate(logs))
    return {
        "completions.jsonl.xz": lzma.compress(answers, preset=6),
        "curves.jsonl.xz": lzma.compress(points, preset=6),
        "log.txt.xz": lzma.compress(log, preset=6),
    }


def _json_lines(values: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values).encode()


def machine(track: Track) -> record.Machine:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return record.Machine(
        cpu=models[0] if models else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in sorted({*track.packages, "tokenizers", "safetensors"})},
    )


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
