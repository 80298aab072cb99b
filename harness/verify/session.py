"""Verify submissions: announce, run in turn with the frozen baseline, evaluate, judge, sign, append.

One session may verify several submissions round-robin against one set of baseline runs, so that all of
them meet the same machine at the same hour. Each submission also makes a control run, on scores that say nothing.
Every announcement ends in records or abandonments; a killed session is taken up again from `harness.verify.journal`.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness import checkpoint, judge, submission
from harness.environment import Environment
from harness.errors import NanoR1Error
from harness.evaluate import evaluate
from harness.evaluation import reported
from harness.isolation import doctor, gpu, sandbox
from harness.keys import commitment, control_round, derive, seed_of
from harness.ledger import log, record
from harness.ledger.log import Ledger
from harness.ledger.signature import Key
from harness.submission import Submission
from harness.tracks.track import ROOT, Track, load
from harness.verify.journal import Journal, JournalError, Member, Session, Trained, alone, journals

Answer = TypeVar("Answer")


class VerifyError(NanoR1Error):
    """The verification cannot begin, or cannot go on for now; the message says what to do."""


class Interrupted(Exception):
    """Ctrl-C: the session was closed as abandoned."""


# ---------------------------------------------------------------- what the session reports while it works


class Reporter(Protocol):
    """How a long session is shown; the command line has one with bars, tests have one that listens."""

    def begin(self, arm: str, run: int, phase: str, total: float) -> None: ...
    def advance(self, done: float, note: str) -> None: ...
    def finished(self, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...
    def node(self, name: str) -> Reporter: ...  # one of its own for a node of a cluster, where runs go side by side


@dataclass(frozen=True)
class Outcome:
    """How one submission's verification ended."""

    name: str
    folder: Path | None  # of the record; None if there is none
    verdict: record.Verdict | None
    reason: str | None  # why there is no record
    benchmarks: dict[str, record.BenchmarkScore] | None = None  # on a track that reports fixed ones


@dataclass
class Arm:
    """One submission (or the reference, arm 0) and what its runs have given so far, the control run last."""

    number: int
    name: str
    tree_sha256: str
    wanted: bool  # is there to be a record? Only then are its runs evaluated and a control run made
    done: dict[int, Trained] = field(default_factory=dict)
    failure: str | None = None

    def add(self, run: int, trained: Trained) -> None:
        self.done[run] = trained
        self.failure = self.failure or trained.failure


@dataclass(frozen=True)
class Plan:
    """What every run of a session has in common."""

    track: Track
    runs: int
    root: bytes
    lease: gpu.Lease | None  # on a GPU track
    level: sandbox.Level
    journal: Journal
    control: bool  # make control runs
    reporter: Reporter
    cancel: threading.Event


@dataclass(frozen=True)
class Job:
    """One run, with its own keys alone: neither the root nor another run's keys follow from them."""

    name: str
    run: int
    wanted: bool
    seed: int
    train: bytes
    heldout: bytes
    control: bytes | None  # of the scores, in a control run


# ---------------------------------------------------------------- where the runs are made


@dataclass(frozen=True)
class Ready:
    """What the machine that makes the runs can prove, and what it is; several machines are alike in both."""

    level: sandbox.Level
    checks: dict[str, bool]
    machine: record.Machine


class Where(Protocol):
    """Where a session's runs are made: here, or on the nodes of a cluster (`harness.verify.cluster`)."""

    cluster: bool

    def ready(self, track: Track, nonce: bytes, reporter: Reporter, like: record.Machine | None) -> Ready:
        """Prove isolation and GPUs. `like`: the machine that an earlier process began the session on.

        Raises VerifyError, or an error of its own, if no run can be made there.
        """
        ...

    def run_all(self, arms: list[Arm], plan: Plan) -> None:
        """Make each run that is due and that the journal has not, keep it there, add it to its arm."""
        ...


class Here:
    """On this machine, one run after the other."""

    cluster = False

    def ready(self, track: Track, nonce: bytes, reporter: Reporter, like: record.Machine | None) -> Ready:
        lease = leased(track)
        try:
            for line in reported.ready(track):
                reporter.say(line)
        except reported.ReportedError as error:
            raise VerifyError(str(error)) from None
        level, checks = proven_isolation(reporter)
        return Ready(level, checks | proven_gpus(lease, level, reporter), machine(track, lease, nonce))

    def run_all(self, arms: list[Arm], plan: Plan) -> None:
        run_all(arms, plan)


HERE = Here()


# ---------------------------------------------------------------- the session


def verify(
    track: Track,
    submissions: list[Submission],
    *,
    runs: int,
    ledger: Ledger,
    key: Key,
    state: Path,
    reporter: Reporter,
    cancel: threading.Event,
    control: bool = True,
    where: Where = HERE,
) -> list[Outcome]:
    """Verify submissions on a track. `cancel` set (Ctrl-C) abandons the session and raises Interrupted.

    Without `control` no control run is made, and no result is valid.
    `state` is where sessions are kept while they run. Raises VerifyError before anything is announced, and when
    the harness or the machine fails later: then the session stays open, and `resume` goes on from its finished
    runs. Every failure of a submission is an outcome.
    """
    track.check_base()
    baseline = submission.load(ROOT / track.baseline.folder)
    if baseline.tree_sha256 != track.baseline.tree_sha256:
        raise VerifyError(
            f"{baseline.folder} is not the frozen baseline of {track.id}: restore it with "
            f"`git checkout -- {track.baseline.folder}`"
        )
    for item in submissions:
        if track.name not in item.manifest.every_track:
            named = ", ".join(map(repr, item.manifest.every_track))
            raise VerifyError(f"{item.folder}/submission.toml is for the track {named}, not {track.name!r}")
    if len({item.manifest.name for item in submissions}) < len(submissions):
        raise VerifyError("a submission is named twice")

    with alone(state):
        tidy(state, ledger, reporter)
        for left in ledger.open_commitments():
            if Journal(state, left.id).complete:
                reporter.say(f"{left.id} was killed and is still open: {resuming(left.id, ledger)}")
        root, nonce = secrets.token_bytes(32), secrets.token_bytes(32)
        proof = where.ready(track, nonce, reporter, None)
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
        journal = Journal(state, announcement.id)
        items = in_order(submissions, baseline)
        journal.begin(items)
        session = Session(
            commitment=announcement,
            ledger=str(ledger.folder.resolve()),
            public=key.public,
            announced=False,
            root_hex=root.hex(),
            nonce_hex=nonce.hex(),
            isolation=proof.level,
            isolation_checks=proof.checks,
            machine=proof.machine,
            members=[
                Member(name=item.manifest.name, tree_sha256=item.tree_sha256, wanted=item in submissions)
                for item in items
            ],
            control=control,
            cluster=where.cluster,
        )
        try:
            journal.save(session)
            ledger.commit(announcement, key)
        except BaseException as error:
            if not ledger.interrupted():
                journal.end()
                raise
            raise VerifyError(
                f"{plainly(error)}. It is announced as {announcement.id}: {resuming(announcement.id, ledger)}"
            ) from error
        reporter.say(f"announced as {announcement.id} in {ledger.folder}")
        session = session.model_copy(update={"announced": True})
        return _go_on(session, track, ledger, key, journal, reporter, cancel, where)


def resume(
    entry: str,
    *,
    ledger: Ledger,
    key: Key,
    state: Path,
    reporter: Reporter,
    cancel: threading.Event,
    where: Where = HERE,
) -> list[Outcome]:
    """Go on with a session that was killed: its finished runs stand, the others are made. Raises as `verify`."""
    with alone(state):
        journal = Journal(state, entry)
        session = journal.session()
        announced = session.commitment
        if ledger.folder.is_dir():
            ledger.repair()  # the kill may have come in the middle of an append
        if not is_listed(ledger, entry):
            raise VerifyError(
                f"{entry} is not in {ledger.folder}: its ledger is {session.ledger}: name that with --ledger"
            )
        if not is_open(ledger, entry):
            journal.end()
            raise VerifyError(
                f"{entry} is not open in {ledger.folder}: nothing is left to do, and its journal is removed"
            )
        if (key.identity, key.public) != (announced.signer, session.public):
            raise VerifyError(
                f"{entry} was announced by {announced.signer} with another key than this of {key.identity}"
            )
        track = load(announced.track.partition("@")[0])
        if track.digest != announced.track_digest:
            raise VerifyError(f"{entry} was announced for another {track.id}: check out the commit it was begun on")
        track.check_base()
        if where.cluster != session.cluster:
            begun, how = ("on a cluster", "with") if session.cluster else ("on one machine", "without")
            raise VerifyError(f"{entry} was begun {begun}: go on {how} --cluster")
        proof = where.ready(track, bytes.fromhex(session.nonce_hex), reporter, session.machine)
        if proof.machine != session.machine:
            raise VerifyError(
                f"{entry} was begun on another machine or with other packages: its times say nothing here"
            )
        if proof.level != session.isolation:
            raise VerifyError(f"{entry} was begun with isolation {session.isolation}; here it is {proof.level}")
        session = session.model_copy(update={"announced": True, "resumed": session.resumed + 1})
        reporter.say(f"going on with {entry}")
        return _go_on(session, track, ledger, key, journal, reporter, cancel, where)


def tidy(state: Path, ledger: Ledger, reporter: Reporter) -> None:
    """Forget what kills left behind: sessions that are closed, or that never came to be announced."""
    if ledger.folder.is_dir():
        ledger.repair()
    for journal in journals(state):
        if not journal.complete:
            journal.end()
            continue
        try:
            session = journal.session()
        except JournalError as error:
            reporter.say(str(error))
            continue
        if session.ledger != str(ledger.folder.resolve()):
            continue
        entry = session.commitment.id
        if not is_open(ledger, entry) and (is_listed(ledger, entry) or not session.announced):
            journal.end()


def is_listed(ledger: Ledger, entry: str) -> bool:
    return any(each.path == f"log/{entry}.json" for each in ledger.entries())


def is_open(ledger: Ledger, entry: str) -> bool:
    return any(each.id == entry for each in ledger.open_commitments())


def resuming(entry: str, ledger: Ledger) -> str:
    return f"`nano-r1 verify --resume {entry} --ledger {ledger.folder}` goes on from its finished runs"


def plainly(error: BaseException) -> str:
    """An error for people: ours are sentences already."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    return str(error) if type(error).__module__.startswith("harness") else f"{type(error).__name__}: {error}"


def proven_isolation(reporter: Reporter) -> tuple[sandbox.Level, dict[str, bool]]:
    """The level that a record made here and now may claim, with the checks that prove it."""
    isolation = sandbox.isolation()
    checks = {check.name: check.ok for check in doctor.isolation_checks()} if isolation.level == "full" else {}
    proven = doctor.proven(checks)
    reasons = [*isolation.reasons, *(f"`nano-r1 doctor`: {name} failed" for name, ok in checks.items() if not ok)]
    reporter.say("\n  ".join([f"isolation: {proven}", *reasons]))
    return proven, checks


def leased(track: Track) -> gpu.Lease | None:
    """The GPUs that a GPU track computes on, here. Raises VerifyError where they are not those that it asks for."""
    hardware = track.hardware
    if hardware.kind != "gpu":
        return None
    try:
        return gpu.lease(hardware.gpu, hardware.gpus, hardware.gpu_memory_bytes)
    except gpu.GpuError as error:
        raise VerifyError(f"{track.id} cannot be verified here: {error}") from None


def proven_gpus(lease: gpu.Lease | None, level: sandbox.Level, reporter: Reporter) -> dict[str, bool]:
    """On a GPU track, the check that a kernel computes on each GPU from inside a sandbox. Raises VerifyError if not."""
    if lease is None:
        return {}
    try:
        lease.wait_until_empty()
        failure = doctor.kernel(lease, sandbox.isolation().level)
    except gpu.GpuError as error:
        raise VerifyError(str(error)) from None
    if failure is not None:
        raise VerifyError(f"the GPUs of this machine cannot be used: {failure}")
    reporter.say(f"GPUs: {', '.join(map(str, lease.devices))}; a kernel computes on each from inside the sandbox")
    return {"gpu_kernel_computes": True} if level == "full" else {}


def _go_on(
    session: Session,
    track: Track,
    ledger: Ledger,
    key: Key,
    journal: Journal,
    reporter: Reporter,
    cancel: threading.Event,
    where: Where,
) -> list[Outcome]:
    """Make the runs that are missing, then close every submission that is open."""
    announced = session.commitment
    plan = Plan(
        track=track,
        runs=announced.runs,
        root=bytes.fromhex(session.root_hex),
        lease=None if where.cluster else leased(track),  # each node has its own
        level="full" if where.cluster else sandbox.isolation().level,  # no node is used without
        journal=journal,
        control=session.control,
        reporter=reporter,
        cancel=cancel,
    )
    arms = arms_for(session.members)
    outcomes: list[Outcome] | None = None
    try:
        journal.save(session)
        try:
            where.run_all(arms, plan)
            outcomes = [_close(arm, arms[0], plan, session, ledger, key) for arm in arms if arm.wanted]
        except (KeyboardInterrupt, Interrupted):
            abandon(ledger, key, announced, None, "interrupted by the verifier")
    except Exception as error:
        raise VerifyError(f"{plainly(error)}. The session is still open: {resuming(announced.id, ledger)}") from error
    journal.end()
    if outcomes is None:
        raise Interrupted(f"{announced.id} is closed as abandoned")
    return outcomes


def in_order(submissions: list[Submission], baseline: Submission) -> list[Submission]:
    """The reference first. The baseline as a submission is its own reference: its runs serve as both."""
    own = next((item for item in submissions if item.tree_sha256 == baseline.tree_sha256), None)
    return [own or baseline, *(item for item in submissions if item is not own)]


def arms_for(members: list[Member]) -> list[Arm]:
    return [Arm(number, each.name, each.tree_sha256, each.wanted) for number, each in enumerate(members)]


def run_all(arms: list[Arm], plan: Plan) -> None:
    """Make the runs here, one after the other. Runs that the journal has are not made again."""
    for turns in rounds(arms, plan):
        for arm, run in turns:
            if due(arm, arms):
                _run_once(arm, plan, run)
            settle(arms)


def rounds(arms: list[Arm], plan: Plan) -> list[list[tuple[Arm, int]]]:
    """A round a run; in each, every arm once, the order rotated so that no arm always follows the same other.

    With control runs there is a round more, and each submission's control run takes the round that follows from the
    root: the same places before and after it as any other, so that nothing outside tells it from them. A reference
    that is not to be recorded has no control run and rests in that round.
    """
    turns = [
        [arms[(number + turn) % len(arms)] for turn in range(len(arms))] for number in range(plan.runs + plan.control)
    ]
    return [
        [(arm, run) for arm in order if (run := _run_of(arm, plan, number)) is not None]
        for number, order in enumerate(turns)
    ]


def due(arm: Arm, arms: list[Arm]) -> bool:
    """Could another run of this arm still lead to a record?"""
    return arm.failure is None and any(each.wanted and each.failure is None for each in arms)


def settle(arms: list[Arm]) -> None:
    """Where the reference has failed there is nothing left to compare with."""
    if arms[0].failure is not None:
        for other in arms[1:]:
            other.failure = other.failure or f"the frozen baseline failed: {arms[0].failure}"


def _run_of(arm: Arm, plan: Plan, number: int) -> int | None:
    """Which run an arm makes in this round; None if it rests."""
    if not plan.control:
        return number
    control = control_round(plan.root, arm.tree_sha256, plan.runs + 1)
    if number == control:
        return plan.runs if arm.wanted else None
    return number - (number > control)


def _run_once(arm: Arm, plan: Plan, run: int) -> None:
    """One run of an arm, made or remembered. Number plan.runs is the control run."""
    trained = plan.journal.kept(arm.number, run)
    if trained is None:
        with plan.journal.workplace() as place:
            plan.journal.copy(arm.number, arm.tree_sha256, place / "submission")
            trained = train(
                job_of(arm, plan, run), plan.track, place, plan.lease, plan.level, plan.reporter, plan.cancel
            )
        plan.journal.keep(arm.number, run, trained)
    arm.add(run, trained)
    if trained.failure is not None:
        plan.reporter.say(f"{arm.name}: {trained.failure}")


def job_of(arm: Arm, plan: Plan, run: int) -> Job:
    """What follows from the root for this run. Number plan.runs is the control run."""
    return Job(
        name=arm.name,
        run=run,
        wanted=arm.wanted,
        seed=seed_of(plan.root, arm.tree_sha256, run),
        train=derive(plan.root, "train", arm.tree_sha256, run),
        heldout=derive(plan.root, "heldout", arm.tree_sha256, run),
        control=derive(plan.root, "control", arm.tree_sha256, run) if run == plan.runs else None,
    )


def train(
    job: Job,
    track: Track,
    place: Path,
    lease: gpu.Lease | None,
    level: sandbox.Level,
    reporter: Reporter,
    cancel: threading.Event,
) -> Trained:
    """Train place/submission once in the sandbox, read the weights strictly, ask them fresh questions."""
    label = f"run {job.run + 1}" if job.control is None else "control run"
    folder, output = place / "submission", place / "output"
    output.mkdir()
    track.check_sets()  # on a cluster this process may be a new one: read here, they are not read on the clock
    reporter.begin(job.name, job.run, "train", track.budget.seconds)
    if lease is not None:
        lease.wait_until_empty()
    meter = None if lease is None else gpu.Meter(lease)
    devices = None if lease is None else lease.doors(level)
    started = utc_now()
    clock = Clock()
    inside = level == "full"
    with (
        Environment(
            track,
            job.train,
            job.seed,
            place / "socket",
            base="/base" if inside else str(track.base_folder),
            output="/output" if inside else str(output),
            clock=clock.elapsed_ms,
            control=job.control,
        ) as environment,
        meter or nullcontext(),
    ):
        shown = 0

        def tick(elapsed_ms: int) -> None:
            nonlocal shown
            if meter is not None:
                meter.alone()
            if elapsed_ms >= shown + 1000:  # no oftener: the run needs the cores
                shown = elapsed_ms
                reporter.advance(elapsed_ms / 1000, progress(environment))

        usage = sandbox.run(
            ["train.py"],
            mounts=sandbox.Mounts(submission=folder, base=track.base_folder, output=output, socket=place / "socket"),
            limits=limits(track),
            level=level,
            on_start=clock.start,
            on_tick=tick,
            devices=devices,
            until_free=None if meter is None else meter.until_free,
            cancel=cancel,
        )
    if cancel.is_set():
        raise Interrupted
    if environment.fault is not None:
        raise RuntimeError(f"the environment failed: {environment.fault.strip().splitlines()[-1]}")
    reporter.finished(usage.wall_ms / 1000)
    reporter.say(f"{job.name} {label}: trained in {usage.wall_ms / 1000:.1f} s, {progress(environment)}")

    def trained(
        run: record.Run | None = None, completions: list[list[int]] | None = None, failure: str | None = None
    ) -> Trained:
        return Trained(
            wall_ms=usage.wall_ms,
            run=run,
            completions=completions or [],
            curve=environment.curve,
            log=usage.log,
            failure=None if failure is None else f"{label}: {failure}",
        )

    if usage.failure is not None:
        return trained(failure=usage.failure)
    if not job.wanted:
        return trained()
    try:
        checked = checkpoint.read(output / "model.safetensors", track.base_folder / "model.safetensors")
    except checkpoint.CheckpointError as error:
        return trained(failure=str(error))
    total = sum(suite.questions for suite in track.heldout.suites)
    reporter.begin(job.name, job.run, "evaluate", total)

    def answered(done: int) -> None:
        if cancel.is_set():
            raise Interrupted
        reporter.advance(done, f"{done}/{total} questions")

    evaluation = _put(lease, evaluate, track, checked.data, job.heldout, on_progress=answered)
    accuracy = judge.mean_accuracy(track, evaluation.tasks)
    each = ", ".join(f"{task} {row.correct / row.questions:.3f}" for task, row in evaluation.tasks.items())
    reporter.say(f"{job.name} {label}: held-out accuracy {accuracy:.4f} ({each})")
    total = reported.count(track)
    if total:
        reporter.begin(job.name, job.run, "benchmarks", total)
    benchmarks = _put(lease, reported.ask, track, checked.data, on_progress=answered)
    if benchmarks:
        each = ", ".join(f"{name} {row.correct / row.questions:.3f}" for name, row in benchmarks.items())
        reporter.say(f"{job.name} {label}: reported, deciding nothing: {each}")
    totals = environment.totals()
    found = record.Run(
        run=job.run,
        seed=job.seed,
        started_utc=started,
        wall_ms=usage.wall_ms,
        cpu_ms=usage.cpu_ms,
        peak_memory_bytes=usage.peak_memory_bytes,
        prompts=totals.prompts,
        reward_queries=totals.reward_queries,
        most_queries_per_prompt=totals.most_queries_per_prompt,
        sampled_tokens=totals.sampled_tokens,
        weights_sha256=checked.sha256,
        evaluate_ms=evaluation.evaluate_ms,
        tasks=evaluation.tasks,
        benchmarks=benchmarks or None,
        gpu=None if meter is None else meter.bill(usage.wall_ms),
    )
    return trained(found, evaluation.completions)


def _put(
    lease: gpu.Lease | None, ask: Callable[..., Answer], *arguments: Any, on_progress: Callable[[int], None]
) -> Answer:
    """Questions to a run's model. On GPUs in a process that ends, since the next run begins on empty ones."""
    if lease is None:
        return ask(*arguments, on_progress)
    return lease.apart(ask, *arguments, on_progress=on_progress)


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


def _close(arm: Arm, reference: Arm, plan: Plan, session: Session, ledger: Ledger, key: Key) -> Outcome:
    """A record if every run finished, else an abandonment that says why."""
    track, announced = plan.track, session.commitment
    if arm.name not in ledger.open_submissions(announced.id):
        return _closed_before(arm.name, announced.id, ledger)
    if arm.failure is not None:
        abandon(ledger, key, announced, arm.name, arm.failure)
        return Outcome(arm.name, None, None, arm.failure)
    manifest = submission.read_manifest(plan.journal.place(arm.number))
    made = [trained.run for _, trained in sorted(arm.done.items()) if trained.run is not None]
    runs, control = made[: plan.runs], made[plan.runs] if plan.control else None
    walls = [reference.done[run].wall_ms for run in range(plan.runs)]
    timed = record.Reference(tree_sha256=reference.tree_sha256, wall_ms=walls)
    verdict = judge.judge(track, runs, timed, session.isolation, standing_record(ledger, track), control)
    files = evidence(arm.done)
    weights = [(f"run-{run.run}/model.safetensors", run.weights_sha256) for run in made]
    statement = record.Record(
        subject=[
            record.Subject(name=name, digest={"sha256": digest})
            for name, digest in [(arm.name, arm.tree_sha256), *weights]
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
                entry=announced.id,
                commitment_sha256=announced.commitment_sha256,
                root_hex=session.root_hex,
                nonce_hex=session.nonce_hex,
            ),
            created_utc=no_earlier_than(announced),
            signer=key.identity,
            isolation=session.isolation,
            isolation_checks=session.isolation_checks,
            machine=session.machine,
            runs=runs,
            control=control,
            resumed=session.resumed,
            cluster=placed(arm, reference, plan) if session.cluster else None,
            benchmarks=(scores := reported.scores(runs, control)),
            reference=timed,
            verdict=verdict,
            files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        ),
    )
    path = ledger.add_record(statement, files, key)
    return Outcome(arm.name, path, verdict, None, scores)


def placed(arm: Arm, reference: Arm, plan: Plan) -> record.Cluster:
    """Which node made which run of a record, and what was lost on the way."""
    return record.Cluster(
        runs=[trained.node or "" for _, trained in sorted(arm.done.items())],
        reference=[reference.done[run].node or "" for run in range(plan.runs)],
        lost=plan.journal.losses(),
    )


def _closed_before(name: str, entry: str, ledger: Ledger) -> Outcome:
    """What came of a submission that was closed before its session was killed."""
    for listed in ledger.records():
        said = listed.record.predicate
        if (said.commitment.entry, said.submission.name) == (entry, name):
            return Outcome(name, ledger.folder / listed.folder, said.verdict, None, said.benchmarks)
    return Outcome(name, None, None, f"was abandoned before its session was killed: see {ledger.folder / 'log'}")


def abandon(ledger: Ledger, key: Key, announced: log.Commitment, name: str | None, reason: str) -> None:
    """Close a submission of a commitment, or all that are open, with the reason why there is no record."""
    printable = "".join(c if c.isprintable() else " " for c in reason)[:300]
    ledger.abandon(
        log.Abandonment(
            id=log.fresh_id(datetime.now(UTC)),
            created_utc=no_earlier_than(announced),
            signer=key.identity,
            commitment=announced.id,
            submission=name,
            reason=printable,
        ),
        key,
    )


def no_earlier_than(announced: log.Commitment) -> str:
    """Now, or the announcement's time if the machine's clock was set back since: an answer cannot be older."""
    return max(utc_now(), announced.created_utc)


def standing_record(ledger: Ledger, track: Track) -> judge.Standing | None:
    """The official record that a new one must beat: same version of the track, same rules."""
    folder = ledger.standing(track.id)
    return (
        judge.standing_from(record.load((ledger.folder / folder / "record.json").read_bytes()), folder)
        if folder
        else None
    )


def evidence(done: dict[int, Trained]) -> dict[str, bytes]:
    """The other files of a record: held-out completions, harness-seen curves, the submission's log."""
    runs = sorted(done.items())
    answers = _json_lines({"run": i, "completions": trained.completions} for i, trained in runs)
    points = _json_lines({"run": i, **point} for i, trained in runs for point in trained.curve)
    log = b"".join(b"==== run %d ====\n%s\n" % (i, trained.log) for i, trained in runs)
    return {
        "completions.jsonl.xz": lzma.compress(answers, preset=6),
        "curves.jsonl.xz": lzma.compress(points, preset=6),
        "log.txt.xz": lzma.compress(log, preset=6),
    }


def _json_lines(values: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values).encode()


def machine(track: Track, lease: gpu.Lease | None, nonce: bytes) -> record.Machine:
    """What the numbers are measured on; the nonce hides the GPUs' UUIDs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return record.Machine(
        cpu=models[0] if models else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in sorted({*track.packages, "tokenizers", "safetensors"})},
        gpu=None if lease is None else lease.attest(nonce),
    )


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
