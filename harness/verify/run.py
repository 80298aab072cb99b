"""One run: train a submission in the sandbox, read its weights strictly, ask the model fresh questions.

Nothing of a submission is imported here, and no line of its log is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.environment.development import step_after
from harness.environment.server import Environment
from harness.evaluation import judging, reported
from harness.evaluation.gated import Evaluation, evaluate
from harness.frozen import checkpoint
from harness.isolation import gpu, sandbox
from harness.isolation.command_line import INSIDE
from harness.isolation.load import Load, Share
from harness.ledger import record
from harness.tracks.track import Track
from harness.verify import clock
from harness.verify.clock import Clock
from harness.verify.executor import Interrupted, Reporter
from harness.verify.journal import RunResult
from harness.verify.schedule import RunSpec

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RunContext:
    """What all runs that one machine makes for a session have in common."""

    track: Track
    lease: gpu.Lease | None  # on a GPU track
    level: sandbox.Level
    reporter: Reporter
    cancel: threading.Event


@dataclass(frozen=True)
class Training:
    """A training that has ended. The environment is closed: its totals and its curve stay."""

    started_utc: str
    usage: sandbox.Usage
    environment: Environment
    meter: gpu.Meter | None
    share: Share


def make_run(spec: RunSpec, submission: Path, context: RunContext) -> RunResult:
    """Train `submission`, alone in a folder that the run may fill, and evaluate its weights.

    Whatever the submission does is a result. Raises Interrupted when `context.cancel` is set, RuntimeError on a fault
    of the harness.
    """
    output = submission.parent / "output"
    training = _train(spec, submission, output, context)
    usage, environment = training.usage, training.environment

    def result(
        run: record.Run | None = None, completions: list[list[int]] | None = None, failure: str | None = None
    ) -> RunResult:
        return RunResult(
            wall_ms=usage.wall_ms,
            run=run,
            completions=completions or [],
            curve=environment.curve,
            log=usage.log,
            failure=None if failure is None else f"{spec.label}: {failure}",
            share=training.share,
        )

    if usage.failure is not None:
        late = usage.failure.startswith("over the budget")  # of time: what it got of its cores may be why
        where = step_after(usage.log[-65_536:].decode(errors="replace"))  # numbers only, whatever the log holds
        return result(failure=f"{usage.failure}{where}, {training.share}" if late else usage.failure)
    if not spec.evaluated:
        return result()
    try:
        weights = checkpoint.read(output / "model.safetensors", context.track.base_folder / "model.safetensors")
    except checkpoint.CheckpointError as error:
        return result(failure=str(error))
    evaluation = _ask_heldout(spec, weights.data, context)
    benchmarks = _ask_benchmarks(spec, weights.data, context)
    totals = environment.totals()
    run = record.Run(
        run=spec.run,
        seed=spec.seed,
        started_utc=training.started_utc,
        wall_ms=usage.wall_ms,
        cpu_ms=usage.cpu_ms,
        peak_memory_bytes=usage.peak_memory_bytes,
        prompts=totals.prompts,
        reward_queries=totals.reward_queries,
        most_queries_per_prompt=totals.most_queries_per_prompt,
        sampled_tokens=totals.sampled_tokens,
        weights_sha256=weights.sha256,
        evaluate_ms=evaluation.evaluate_ms,
        tasks=evaluation.tasks,
        benchmarks=benchmarks or None,
        gpu=None if training.meter is None else record.GpuUse(**vars(training.meter.bill(usage.wall_ms))),
    )
    return result(run, evaluation.completions)


def _train(spec: RunSpec, submission: Path, output: Path, context: RunContext) -> Training:
    """Run train.py in the sandbox, with the environment at its socket and the meters on."""
    track, lease, reporter = context.track, context.lease, context.reporter
    output.mkdir()
    socket = submission.parent / "socket"
    track.check_sets()  # on a cluster this process may be a new one: read here, they are not read on the clock
    reporter.begin(spec.name, spec.run, "train", track.budget.seconds)
    if lease is not None:
        lease.wait_until_empty()
    meter = None if lease is None else lease.meter()
    devices = None if lease is None else lease.sandbox_devices(context.level)
    started = clock.utc_now()
    timer = Clock()
    base, weights = seen_folders(track, output, context.level)
    with (
        Environment(
            track,
            spec.train,
            spec.seed,
            socket,
            base=base,
            output=weights,
            clock=timer.elapsed_ms,
            control=spec.control,
        ) as environment,
        meter or nullcontext(),
    ):
        load = Load(track.hardware.cores)

        def start() -> None:
            timer.start()
            load.restart()

        usage = sandbox.run(
            ["train.py"],
            mounts=sandbox.Mounts(submission=submission, base=track.base_folder, output=output, socket=socket),
            limits=sandbox_limits(track),
            level=context.level,
            devices=devices,
            hooks=sandbox.Hooks(
                on_start=start,
                on_tick=_watcher(environment, meter, reporter),
                wait_until_free=None if meter is None else meter.wait_until_free,
                cancel=context.cancel,
            ),
            preload=track.budget.preload,
        )
        share = load.share(usage.cpu_ms)
    if context.cancel.is_set():
        raise Interrupted
    if environment.fault is not None:
        raise RuntimeError(f"the environment failed: {environment.fault.strip().splitlines()[-1]}")
    reporter.finished(usage.wall_ms / 1000)
    took = f"{usage.wall_ms / 1000:.1f} s {share}"
    reporter.say(f"{spec.name} {spec.label}: trained in {took}; {training_summary(environment)}")
    return Training(started, usage, environment, meter, share)


def seen_folders(track: Track, output: Path, level: sandbox.Level) -> tuple[str, str]:
    """Where a trainer sees the base model, and where it leaves its weights."""
    base, weights = (INSIDE.base, INSIDE.output) if level == "full" else (track.base_folder, output)
    return str(base), str(weights)


def _watcher(environment: Environment, meter: gpu.Meter | None, reporter: Reporter) -> Callable[[int], None]:
    """What is done at each tick of the sandbox, given the milliseconds so far."""
    shown_ms = 0

    def on_tick(elapsed_ms: int) -> None:
        nonlocal shown_ms
        if meter is not None:
            meter.check_exclusive()
        if elapsed_ms >= shown_ms + 1000:  # no more often: the run needs the cores
            shown_ms = elapsed_ms
            reporter.advance(elapsed_ms / 1000, training_summary(environment))

    return on_tick


def _ask_heldout(spec: RunSpec, weights: bytes, context: RunContext) -> Evaluation:
    """Ask the held-out questions that follow from the run's key."""
    track, reporter = context.track, context.reporter
    total = sum(suite.questions for suite in track.heldout.suites)
    reporter.begin(spec.name, spec.run, "evaluate", total)
    evaluation = _ask(context, total, evaluate, track, weights, spec.heldout)
    accuracy = judging.mean_accuracy(track, evaluation.tasks)
    by_task = ", ".join(f"{task} {row.correct / row.questions:.3f}" for task, row in evaluation.tasks.items())
    reporter.say(f"{spec.name} {spec.label}: held-out accuracy {accuracy:.4f} ({by_task})")
    return evaluation


def _ask_benchmarks(spec: RunSpec, weights: bytes, context: RunContext) -> dict[str, record.BenchmarkResult]:
    """Ask the fixed benchmarks that the track reports; they decide nothing."""
    track, reporter = context.track, context.reporter
    total = reported.count(track)
    if total:
        reporter.begin(spec.name, spec.run, "benchmarks", total)
    benchmarks = _ask(context, total, reported.ask, track, weights)
    if benchmarks:
        by_name = ", ".join(f"{name} {row.correct / row.questions:.3f}" for name, row in benchmarks.items())
        reporter.say(f"{spec.name} {spec.label}: reported, deciding nothing: {by_name}")
    return benchmarks


def _ask(context: RunContext, total: int, ask: Callable[..., Answer], *arguments: Any) -> Answer:
    """Ask a run's model. On GPUs in a process of its own that ends, since the next run starts on empty ones."""

    def on_progress(done: int) -> None:
        if context.cancel.is_set():
            raise Interrupted
        context.reporter.advance(done, f"{done}/{total} questions")

    if context.lease is None:
        return ask(*arguments, on_progress)
    return context.lease.in_own_process(ask, *arguments, on_progress=on_progress)


def training_summary(environment: Environment) -> str:
    """What the harness sees of the training: completions so far, accuracy over the last thousand or so."""
    count = right = 0
    for point in reversed(environment.curve):
        count, right = count + point["completions"], right + point["correct"]
        if count >= 1000:
            break
    if count == 0:
        return "starting"
    return f"{environment.totals().reward_queries:,} completions, {right / count:.3f} right lately"


def sandbox_limits(track: Track) -> sandbox.Limits:
    """The track's budget, as the sandbox takes it."""
    kept_elsewhere = {"reward_queries", "queries_per_prompt", "preload"}  # by the environment; and no limit
    budget = track.budget.model_dump(exclude=kept_elsewhere)
    return sandbox.Limits(**budget, cores=track.hardware.cores)
